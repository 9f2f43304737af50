//! Replica connections that sessions share: lent for a read, given back behind it.
//!
//! What the last read left on its connection is there as long as nobody else had that: who asks about it has it back
//! (`Next::Reclaim`), and is answered by home otherwise, which runs the read again for that. A session must not see an
//! older state than it saw before: at the server where it read last it does not; at another one, what it may have seen is
//! asked for first.

use std::time::Instant;

use crate::{
    session::{
        Loan, Output, Session, Side, State, Surroundings,
        door::required,
        split::{
            Split,
            chore::{Chore, missing::Next, readying::Stage},
            sight::Demand,
        },
    },
    sql::Family,
};

impl Split {
    /// What is missing before a read where there is no replica: the one that the last read was at, if it can say what this
    /// one asks; else any. Home is asked where it is before a replica is held for that.
    pub(in crate::session::split) fn next_without_replica(&self, now: Instant) -> Next {
        if !self.gives_home_back() {
            return Next::Lease;
        }
        if self.replicas.last().is_some() && self.leaves_what_the_last_left() {
            return Next::Reclaim;
        }
        let had = self.replicas.known().map_or(0, |replica| replica.had);
        match self.sight.demand(had, now) {
            _ if self.replicas_wait => Next::Lease,
            Demand::AskHome => Next::Say(Chore::Position),
            Demand::StayHome => Next::Ready(Side::Server),
            Demand::Nothing | Demand::Position(_) => Next::Lease,
        }
    }

    /// FOUND_ROWS() of the last query, which ran at a replica, outlives the command at hand.
    fn leaves_what_the_last_left(&self) -> bool {
        self.current.keeps_found_rows() && self.found == Side::Replica
    }

    /// The connection that was given back is another session's by now, or gone; or there is another one in its place.
    pub(in crate::session::split) fn last_replica_is_gone(&mut self) {
        let Some(before) = self.replicas.forget_parked() else { return };
        self.statements.forget_replica();
        self.conditions.forget_replica();
        let follows = self.replicas.get_mut().is_some_and(|replica| replica.follows(&before));
        if before.read_at.is_some() && !follows {
            self.sight.left_replica();
        }
    }

    /// Nothing of home's connection is asked for behind a read at a replica.
    fn may_spare_home(&self) -> bool {
        let is_left_behind = self.is_void() && !self.current.keeps_found_rows() && !self.current.keeps_conditions;
        let is_asked_for = self.has_aftermath() && !is_left_behind;
        self.gives_home_back() && self.has_home() && !is_asked_for && !self.must_ask_insert_id()
    }

    /// Whether a connection that is reset for this session lacks the character sets of its login. MySQL gives it the server's
    /// own; MariaDB those of the handshake, where there was no room for the number of a collation of two bytes.
    pub(super) fn loses_collation_at_reset(&self) -> bool {
        match self.family {
            Family::MySql { .. } => !self.journal.was_reset(),
            Family::MariaDb { .. } => self.login.collation > u16::from(u8::MAX),
        }
    }

    /// Whether a statement may ask home, or the connection of the last read, what became of the last one.
    pub(super) fn may_be_asked_about(&self, side: Side) -> bool {
        self.last == side || self.found == side || self.conditions.at() == side
    }
}

impl Session {
    /// A connection to a replica is lent.
    pub(super) fn replica_lent(&mut self, loan: Loan, surroundings: Surroundings<'_>) {
        let Some(Stage::Leasing | Stage::Reclaiming) = self.stage() else {
            return self.outputs.push_back(Output::ReleaseReplica);
        };
        if let Some(split) = self.split_mut() {
            let needs_collation = split.loses_collation_at_reset();
            split.replicas.lent(loan, needs_collation, surroundings.table);
            split.last_replica_is_gone();
        }
        self.set_stage(Stage::Looking);
        self.look_what_is_missing(surroundings);
    }

    /// Asks for the connection of the last read.
    pub(in crate::session::split) fn reclaim_replica(&mut self) {
        if let Some(last) = self.split().and_then(|split| split.replicas.last()) {
            self.set_stage(Stage::Reclaiming);
            // The worker answers at once.
            self.deadline = None;
            self.outputs.push_back(Output::ReclaimReplica(last));
        }
    }

    /// A read may have to wait for a replica: nobody else waits for what it does not need.
    pub(in crate::session::split) fn spare_home(&mut self) {
        if self.may_do_without_home() && self.split().is_some_and(Split::may_spare_home) {
            self.park_home();
        }
    }

    /// Behind a read: gives the replica's connection back.
    pub(super) fn let_replica_go(&mut self) {
        let State::Relay(relay) = &self.state else { return };
        let is_decided = relay.split.as_deref().is_some_and(Split::is_decided);
        if relay.is_idle() && !is_decided {
            self.park_replica();
        }
    }

    /// Gives the replica's connection back, if nothing is on it that keeps it.
    pub(super) fn park_replica(&mut self) {
        let required = required(self.capabilities);
        let count = self.parkings + 1;
        let parking = self.split_mut().filter(|split| split.gives_home_back()).and_then(|split| {
            let may_be_reset = split.resets_replicas();
            split.replicas.park(required, count, may_be_reset)
        });
        if let Some(parking) = parking {
            self.parkings = count;
            self.outputs.push_back(Output::Park(Box::new(parking)));
        }
    }

    /// Behind a command: gives back whatever nothing of the session keeps.
    pub(in crate::session) fn let_connections_go(&mut self, now: Option<Instant>) {
        self.let_replica_go();
        self.let_home_go(now);
    }

    /// The session ends: connections with nothing of it left serve the next one.
    pub(in crate::session) fn leave_connections_behind(&mut self) {
        self.let_replica_go();
        self.leave_replica();
        self.leave_home_behind();
    }
}
