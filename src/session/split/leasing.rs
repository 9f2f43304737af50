//! A session's replica comes and goes: it is leased, logged in to as the client, and given up.
//!
//! Whatever goes wrong with it sends home what was to be made ready there.

use crate::{
    protocol::{
        packet::{Peeked, peek_packet},
        status::StatusFlags,
    },
    topology::Failure,
};

use super::{
    super::{
        Ending, Output, ServerFacts, ServerWay, Session, Side, State, Step, Surroundings,
        door::{Door, Introduction, Knock, required},
        exchange::Exchange,
        login::LOGIN_PACKET_MAX,
        refusals::concerns_operator,
    },
    Split,
    chore::readying::Stage,
};

impl Session {
    pub(super) fn lease_replica(&mut self, surroundings: Surroundings<'_>) {
        let required = required(self.capabilities);
        let want = self.split_mut().and_then(|split| split.want_replica(required, surroundings));
        match want {
            Some(want) => {
                self.spare_home();
                self.set_stage(Stage::Leasing);
                // The worker has a deadline of its own, and answers.
                self.deadline = None;
                self.outputs.push_back(Output::LeaseReplica(Box::new(want)));
            }
            None => self.ready(Side::Server, surroundings),
        }
    }

    /// A replica is connected.
    pub(in crate::session) fn replica_leased(&mut self, facts: ServerFacts, surroundings: Surroundings<'_>) {
        let Some(Stage::Leasing) = self.stage() else {
            return self.outputs.push_back(Output::ReleaseReplica);
        };
        self.deadline = Some(surroundings.now + facts.greeting_timeout);
        if let Some(split) = self.split_mut() {
            split.login.database = split.journal.schema().map(<[u8]>::to_vec);
            let must_reset = split.journal.was_reset() && split.resets_replicas();
            split.replicas.leased(facts, split.journal.schema(), must_reset, surroundings.table);
            split.last_replica_is_gone();
        }
        self.set_stage(Stage::AtDoor(Box::new(Door::Connected)));
    }

    /// There is no replica now.
    pub(in crate::session) fn no_replica(&mut self, surroundings: Surroundings<'_>) {
        let is_reclaimed = matches!(self.stage(), Some(Stage::Reclaiming));
        if let Some(split) = self.split_mut() {
            match is_reclaimed {
                true => split.last_replica_is_gone(),
                false => split.replicas.none_found(surroundings.now),
            }
        }
        if let Some(Stage::Leasing | Stage::Reclaiming) = self.stage() {
            self.ready(Side::Server, surroundings);
        }
    }

    pub(super) fn door_step(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        match peek_packet(bytes, LOGIN_PACKET_MAX) {
            Peeked::NeedBytes { at_least } => Step::NeedBytes { at_least },
            Peeked::TooLong => {
                self.replica_failed(Some(Failure::Malformed), surroundings);
                Step::Consume { length: bytes.len() }
            }
            Peeked::Complete { payload, sequence, length } => {
                self.door_packet(payload, sequence, surroundings);
                Step::Consume { length }
            }
        }
    }

    fn door_packet(&mut self, payload: &[u8], sequence: u8, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &mut self.state else { return };
        let Exchange::Preparing(preparing) = &mut relay.exchange else { return };
        let Stage::AtDoor(door) = &mut preparing.stage else { return };
        let Some(split) = relay.split.as_deref() else { return };
        let account = self.account.as_ref().expect("a session in its command phase has an account");
        let who = Introduction {
            user: account.name_at_server(),
            credential: &account.credential,
            login: &split.login,
            capabilities: relay.server_capabilities,
            required: required(self.capabilities),
            host: &self.host,
            way: split.replica().map_or(ServerWay::OPEN, |replica| replica.way),
        };
        match door.packet(payload, &who) {
            Knock::Answer(answer) => self.answer_at_door(Side::Replica, sequence, answer, surroundings.now),
            Knock::Open { thread_id, ok } => {
                if let Some(replica) = self.split_mut().and_then(|split| split.replicas.get_mut()) {
                    replica.facts.thread_id = thread_id;
                    replica.lacks_autocommit = !ok.status.contains(StatusFlags::AUTOCOMMIT);
                }
                self.set_stage(Stage::Looking);
                self.look_what_is_missing(surroundings);
            }
            Knock::Refused(error) if Session::is_sent_on(&error, surroundings) => {
                self.replica_failed(Some(Failure::Leaving), surroundings);
            }
            Knock::Refused(error) => {
                let failure = Failure::LoginRefused { code: error.code.0 };
                self.replica_failed(concerns_operator(&error).then_some(failure), surroundings)
            }
            Knock::Unusable(_) => self.replica_failed(None, surroundings),
            Knock::Malformed => self.replica_failed(Some(Failure::Malformed), surroundings),
        }
    }

    /// A replica is of no use to the session, for now; the monitor hears why.
    pub(super) fn replica_failed(&mut self, failure: Option<Failure>, surroundings: Surroundings<'_>) {
        let server = self.split().and_then(Split::replica).map(|replica| replica.id);
        if let (Some(server), Some(failure)) = (server, failure) {
            self.outputs.push_back(Output::Report(server, failure));
        }
        self.replica_lost(surroundings);
    }

    /// The replica is gone: another one next time.
    pub(in crate::session) fn give_up_replica(&mut self, surroundings: Surroundings<'_>) {
        if let Some(split) = self.split_mut()
            && let Some(server) = split.replica().map(|replica| replica.id)
        {
            split.replicas.has_failed(server, surroundings.now);
        }
        self.leave_replica();
    }

    /// The replica is gone, or must go. What was to be made ready there goes home.
    pub(super) fn replica_lost(&mut self, surroundings: Surroundings<'_>) {
        if self.split().is_some_and(|split| split.replicas.have_snapshot()) {
            return self.snapshot_lost();
        }
        self.give_up_replica(surroundings);
        // What home was asked is answered before it is told anything else, and another home is found before it is used.
        let is_for_home = self.is_home_asked() || self.split().is_some_and(Split::is_moving);
        if self.preparing().is_some() && !is_for_home {
            self.ready(Side::Server, surroundings);
        }
    }

    /// Gives up the replica.
    pub(in crate::session) fn leave_replica(&mut self) {
        let is_at_door = self.is_at_door(Side::Replica);
        let Some(split) = self.split_mut() else { return };
        let Some(replica) = split.replicas.take() else { return };
        split.statements.forget_replica();
        split.conditions.forget_replica();
        if replica.read_at.is_some() {
            split.sight.left_replica();
        }
        split.looked_in_transaction |= replica.in_transaction;
        split.ready.take_if(|side| *side == Side::Replica);
        const COM_QUIT: [u8; 5] = [1, 0, 0, 0, 0x01];
        if !is_at_door {
            self.outputs.push_back(Output::Send(Side::Replica, COM_QUIT.to_vec()));
        }
        self.outputs.push_back(Output::ReleaseReplica);
    }

    /// The replica's connection was closed.
    pub(in crate::session) fn replica_closed(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &self.state else { return };
        if relay.is_busy_at(Side::Replica) {
            return self.read_failed(surroundings);
        }
        self.replica_lost(surroundings);
    }

    /// The transaction's snapshot is gone with its replica, as it would be with a server of the session's own.
    pub(in crate::session) fn snapshot_lost(&mut self) {
        self.leave_replica();
        self.say_goodbye_to_server();
        self.server_left(Ending::ServerGone);
    }
}
