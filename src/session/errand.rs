//! KILL: the client names a session by the number that our greeting gave it, the server knows another.
//!
//! The worker finds where the session works. If that is our own server, the statement goes there with the server's
//! number in place of ours; if it is another, a second connection logs in there as the same user, says the one
//! statement and closes (an *errand*), so that the server's own rules decide who may kill whom.

use std::ops::Range;

use crate::protocol::packet::{Peeked, peek_packet};

use super::{
    KillTargets, Output, ServerFacts, Session, SessionId, Side, State, Step, Surroundings,
    entering::{Door, Introduction, Knock, required},
    errors,
    exchange::Exchange,
    frontend::{LOGIN_PACKET_MAX, Login},
};

/// A KILL under way.
pub(super) struct Kill {
    /// The command as the client sent it.
    command: Vec<u8>,
    id: KillId,
    stage: Stage,
}

enum Stage {
    /// The worker looks for the session.
    Finding,
    /// The session's server is being connected.
    Calling,
    /// The second connection logs in.
    AtDoor { door: Door, login: Login, is_local: bool },
    /// The statement is sent.
    Asked,
}

/// The number in a KILL.
pub(super) struct KillId {
    number: u64,
    /// Only the statement under way is meant, not the session.
    query_only: bool,
    place: Place,
}

/// Where the number stands in the command's payload.
enum Place {
    /// Digits of a statement's text.
    Text(Range<usize>),
    /// The four bytes after COM_PROCESS_KILL.
    Binary,
}

impl KillId {
    pub(super) fn text(number: u64, query_only: bool, digits: Range<usize>) -> KillId {
        KillId { number, query_only, place: Place::Text(digits) }
    }

    pub(super) fn binary(number: u32) -> KillId {
        KillId { number: u64::from(number), query_only: false, place: Place::Binary }
    }

    /// The session meant, if the number is one of ours.
    pub(super) fn session(&self) -> Option<SessionId> {
        SessionId::from_kill(self.number)
    }

    /// The command with the server's own number in place of ours.
    fn rewrite(&self, command: &[u8], thread_id: u32) -> Vec<u8> {
        let mut rewritten = command.to_vec();
        match &self.place {
            Place::Text(digits) => {
                rewritten.splice(digits.clone(), thread_id.to_string().into_bytes());
            }
            Place::Binary => rewritten[1..5].copy_from_slice(&thread_id.to_le_bytes()),
        }
        rewritten
    }
}

impl Kill {
    fn looks_for(&self, session: SessionId) -> bool {
        matches!(self.stage, Stage::Finding) && self.id.session() == Some(session)
    }
}

impl Session {
    /// The client kills one of our sessions. `command` is the whole payload.
    pub(super) fn kill(&mut self, id: KillId, command: &[u8], surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &mut self.state else { unreachable!("commands come in the command phase") };
        let session = id.session().expect("the relay hands over our own numbers only");
        relay.exchange = Exchange::Killing(Box::new(Kill { command: command.to_vec(), id, stage: Stage::Finding }));
        // Another worker may be asked, and may have no time to answer.
        self.deadline = Some(surroundings.now + self.login_timeout);
        self.outputs.push_back(Output::FindSession(session));
    }

    fn killing(&mut self) -> Option<&mut Kill> {
        match &mut self.state {
            State::Relay(relay) => match &mut relay.exchange {
                Exchange::Killing(kill) => Some(kill),
                Exchange::Idle
                | Exchange::OneWay(_)
                | Exchange::Busy(_)
                | Exchange::Refusing(..)
                | Exchange::Preparing(_)
                | Exchange::Parting(_)
                | Exchange::Tunnel => None,
            },
            State::Frontend(_) | State::Leasing(_) | State::Entering(_) | State::Ended => None,
        }
    }

    pub(super) fn session_found(&mut self, id: SessionId, targets: Option<KillTargets>) {
        let own_server = self.server.as_ref().map(|server| server.id);
        let Some(kill) = self.killing().filter(|kill| kill.looks_for(id)) else { return };
        let Some(targets) = targets else {
            self.deadline = None;
            self.send_error(1, &errors::unknown_session(id));
            return self.become_idle();
        };
        let target = if kill.id.query_only { targets.statement } else { targets.session };
        kill.stage = Stage::Calling;
        kill.command = kill.id.rewrite(&kill.command, target.thread_id);
        if own_server == Some(target.server) {
            let command = std::mem::take(&mut kill.command);
            self.send_packet(Side::Server, 0, &command);
            self.deadline = None;
            return self.busy_with_own_command();
        }
        self.outputs.push_back(Output::Errand(target.server));
    }

    pub(super) fn errand_connected(&mut self, server: &ServerFacts, surroundings: Surroundings<'_>) {
        let deadline = surroundings.now + server.login_timeout;
        let account = self.account.as_ref().expect("a session in its command phase has an account");
        let login = Login {
            user: account.user.clone(),
            database: None,
            collation: 45,
            max_packet: 1 << 24,
            attributes: Vec::new(),
        };
        let Some(kill) = self.killing() else { return };
        kill.stage = Stage::AtDoor { door: Door::Connected, login, is_local: server.is_local };
        self.deadline = Some(deadline);
    }

    pub(super) fn errand_step(&mut self, received: &[u8], _: Surroundings<'_>) -> Step {
        match peek_packet(received, LOGIN_PACKET_MAX) {
            Peeked::NeedBytes { at_least } => Step::NeedBytes { at_least },
            Peeked::TooLong => {
                self.errand_failed();
                Step::Consume { length: received.len() }
            }
            Peeked::Complete { payload, sequence, length } => {
                self.errand_packet(payload, sequence);
                Step::Consume { length }
            }
        }
    }

    fn errand_packet(&mut self, payload: &[u8], sequence: u8) {
        let State::Relay(relay) = &mut self.state else { return };
        let Exchange::Killing(kill) = &mut relay.exchange else { return };
        let knock = match &mut kill.stage {
            Stage::Finding | Stage::Calling => return,
            Stage::Asked => return self.errand_answered(payload),
            Stage::AtDoor { door, login, is_local } => {
                let account = self.account.as_ref().expect("a session in its command phase has an account");
                let who = Introduction {
                    user: account.name_at_server(),
                    credential: &account.credential,
                    login,
                    capabilities: self.capabilities,
                    required: required(self.capabilities),
                    host: &self.host,
                    is_local: *is_local,
                };
                door.packet(payload, &who)
            }
        };
        match knock {
            Knock::Say(payload) => {
                self.send_packet(Side::Errand, sequence.wrapping_add(1), &payload);
            }
            Knock::Command(payload) => {
                self.send_packet(Side::Errand, 0, &payload);
            }
            Knock::Listen => {}
            Knock::Open { .. } => {
                kill.stage = Stage::Asked;
                let command = std::mem::take(&mut kill.command);
                self.send_packet(Side::Errand, 0, &command);
            }
            Knock::Refused(error) => {
                self.send_error(1, &error);
                self.end_errand();
            }
            Knock::Unusable(_) | Knock::Malformed => self.errand_failed(),
        }
    }

    /// The other server's OK or ERR is the client's answer.
    fn errand_answered(&mut self, payload: &[u8]) {
        self.send_packet(Side::Client, 1, payload);
        self.end_errand();
    }

    /// The other server cannot be asked: the session to be killed is as good as unknown.
    pub(super) fn errand_failed(&mut self) {
        let Some(kill) = self.killing() else { return };
        let session = kill.id.session().expect("the relay hands over our own numbers only");
        self.send_error(1, &errors::unknown_session(session));
        self.end_errand();
    }

    fn end_errand(&mut self) {
        self.deadline = None;
        self.outputs.push_back(Output::EndErrand);
        self.become_idle();
    }
}
