//! KILL: the client names a session by the number that our greeting gave it, the server knows another.
//!
//! The worker finds where the session works. If that is our own server, the statement goes there with the server's
//! number in place of ours; if it is another, a second connection logs in there as the same user, says the one
//! statement and closes (an *errand*), so that the server's own rules decide who may kill whom. The session that is killed
//! is told before, so that it does not take the end of its connection for the loss of its server and goes on elsewhere; and
//! again, if the server refuses.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use crate::protocol::{
    error_code::{Error, ErrorCode},
    packet::{Peeked, peek_packet},
    response::{ErrPacket, OK_HEADER, OkPacket},
};

use super::{
    Found, KillTargets, Output, ServerFacts, ServerWay, Session, SessionId, Side, State, Step, Surroundings,
    door::{Door, Introduction, Knock, required},
    errors,
    exchange::Exchange,
    login::{LOGIN_PACKET_MAX, Login},
};

/// How long after it was asked for a kill may break the connection of its session: the server may be slow to let whoever
/// kills in, and slow to carry it out. Who asked says when it was refused, unless that is gone, too.
const KILL_TIME: Duration = Duration::from_secs(600);

/// Kills of this session that were asked for, and that nobody has said were refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KillsAsked {
    count: u32,
    last: Option<Instant>,
}

impl KillsAsked {
    fn add(&mut self, now: Instant) {
        self.count = if self.may_come(now) { self.count + 1 } else { 1 };
        self.last = Some(now);
    }

    fn take_back(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    fn may_come(&self, now: Instant) -> bool {
        self.count > 0 && self.last.is_some_and(|last| now < last + KILL_TIME)
    }
}

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
    AtDoor { door: Door, login: Login, way: ServerWay },
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

    /// The session that is to end, as long as no server was asked for that.
    fn unsaid(&self) -> Option<SessionId> {
        let is_said = matches!(self.stage, Stage::Asked);
        self.id.session().filter(|_| !is_said && !self.id.query_only)
    }
}

impl Session {
    /// The client kills one of our sessions. `command` is the whole payload.
    pub(super) fn kill(&mut self, id: KillId, command: &[u8], surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &mut self.state else { unreachable!("commands come in the command phase") };
        let session = id.session().expect("the relay hands over our own numbers only");
        let is_to_end = !id.query_only;
        relay.exchange = Exchange::Killing(Box::new(Kill { command: command.to_vec(), id, stage: Stage::Finding }));
        // Another worker may be asked, and may have no time to answer.
        self.deadline = Some(surroundings.now + self.login_timeout);
        self.outputs.push_back(Output::FindSession { id: session, is_to_end });
    }

    /// Somebody kills this session: unless its server refuses that, the connection there breaks now, and is not replaced.
    pub fn is_to_be_killed(&mut self, now: Instant) {
        self.kills_asked.add(now);
    }

    /// The server has refused to kill this session, or could not be asked to.
    pub fn is_not_to_be_killed(&mut self) {
        self.kills_asked.take_back();
    }

    /// Whether a connection that breaks now was killed.
    pub(super) fn is_killed(&self, now: Instant) -> bool {
        self.kills_asked.may_come(now)
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
            State::Frontend(_) | State::Leasing(_) | State::Entering(_) | State::Severed(_) | State::Ended => None,
        }
    }

    pub(super) fn session_found(&mut self, id: SessionId, found: Found) {
        let Some(kill) = self.killing().filter(|kill| kill.looks_for(id)) else { return };
        let query_only = kill.id.query_only;
        match found {
            Found::At(targets) => self.kill_at(targets),
            Found::Nobody => self.refuse_kill(&errors::unknown_session(id)),
            Found::Homeless(user) | Found::Reading(user, _) if !self.is_of_user(&user) => {
                self.refuse_kill(&errors::not_owner(id));
            }
            Found::Reading(_, statement) if query_only => {
                self.kill_at(KillTargets { session: statement, statement });
            }
            // Without a home, a session ends here; what it reads ends with its connection to the replica.
            Found::Homeless(_) | Found::Reading(..) => {
                if !query_only {
                    self.outputs.push_back(Output::KillHomeless(id));
                }
                self.acknowledge_kill();
            }
        }
    }

    fn is_of_user(&self, user: &[u8]) -> bool {
        self.account.as_ref().is_some_and(|account| account.user == user)
    }

    fn refuse_kill(&mut self, error: &ErrPacket) {
        self.deadline = None;
        self.send_error(1, error);
        self.become_idle();
    }

    fn acknowledge_kill(&mut self) {
        let State::Relay(relay) = &self.state else { return };
        let mut payload = Vec::with_capacity(16);
        OkPacket { status: relay.status, ..OkPacket::default() }.encode(OK_HEADER, self.capabilities, &mut payload);
        self.deadline = None;
        self.send_packet(Side::Client, 1, &payload);
        self.become_idle();
    }

    /// The session works at servers: its server is told, with its own number.
    fn kill_at(&mut self, targets: KillTargets) {
        let own_server = self.server.as_ref().map(|server| server.id);
        let Some(kill) = self.killing() else { return };
        let target = if kill.id.query_only { targets.statement } else { targets.session };
        kill.stage = Stage::Calling;
        kill.command = kill.id.rewrite(&kill.command, target.thread_id);
        if own_server == Some(target.server) {
            let (command, victim) = (std::mem::take(&mut kill.command), kill.unsaid());
            if let State::Relay(relay) = &mut self.state {
                relay.victim = victim;
            }
            self.send_packet(Side::Server, 0, &command);
            self.deadline = None;
            return self.busy_with_own_command();
        }
        self.outputs.push_back(Output::Errand(target.server));
    }

    pub(super) fn errand_connected(&mut self, server: &ServerFacts, surroundings: Surroundings<'_>) {
        let deadline = surroundings.now + server.greeting_timeout;
        let account = self.account.as_ref().expect("a session in its command phase has an account");
        let login = Login {
            user: account.user.clone(),
            database: None,
            collation: 45,
            max_packet: 1 << 24,
            attributes: Vec::new(),
        };
        let Some(kill) = self.killing() else { return };
        kill.stage = Stage::AtDoor { door: Door::Connected, login, way: server.way };
        self.deadline = Some(deadline);
    }

    pub(super) fn errand_step(&mut self, received: &[u8], surroundings: Surroundings<'_>) -> Step {
        match peek_packet(received, LOGIN_PACKET_MAX) {
            Peeked::NeedBytes { at_least } => Step::NeedBytes { at_least },
            Peeked::TooLong => {
                self.errand_failed();
                Step::Consume { length: received.len() }
            }
            Peeked::Complete { payload, sequence, length } => {
                self.errand_packet(payload, sequence, surroundings);
                Step::Consume { length }
            }
        }
    }

    fn errand_packet(&mut self, payload: &[u8], sequence: u8, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &mut self.state else { return };
        let Exchange::Killing(kill) = &mut relay.exchange else { return };
        let knock = match &mut kill.stage {
            Stage::Finding | Stage::Calling => return,
            Stage::Asked => return self.errand_answered(payload),
            Stage::AtDoor { door, login, way } => {
                let account = self.account.as_ref().expect("a session in its command phase has an account");
                let who = Introduction {
                    user: account.name_at_server(),
                    credential: &account.credential,
                    login,
                    capabilities: self.capabilities,
                    required: required(self.capabilities),
                    host: &self.host,
                    way: *way,
                };
                door.packet(payload, &who)
            }
        };
        match knock {
            Knock::Answer(answer) => self.answer_at_door(Side::Errand, sequence, answer, surroundings.now),
            Knock::Open { .. } => {
                kill.stage = Stage::Asked;
                let command = std::mem::take(&mut kill.command);
                self.send_packet(Side::Errand, 0, &command);
            }
            Knock::Refused(error) if Session::is_sent_on(&error, surroundings) => self.errand_failed(),
            Knock::Refused(error) => {
                self.give_up_unsaid_kill();
                self.send_error(1, &error);
                self.end_errand();
            }
            Knock::Unusable(_) | Knock::Malformed => self.errand_failed(),
        }
    }

    /// The other server's OK or ERR is the client's answer.
    fn errand_answered(&mut self, payload: &[u8]) {
        let is_refused = ErrPacket::parse(payload).is_ok_and(|error| is_refusal(error.code));
        if let Some(kill) = self.killing().filter(|kill| is_refused && !kill.id.query_only) {
            let victim = kill.id.session().expect("the relay hands over our own numbers only");
            self.outputs.push_back(Output::KillRefused(victim));
        }
        self.send_packet(Side::Client, 1, payload);
        self.end_errand();
    }

    /// The other server cannot be asked: the session to be killed is as good as unknown.
    pub(super) fn errand_failed(&mut self) {
        let Some(kill) = self.killing() else { return };
        let session = kill.id.session().expect("the relay hands over our own numbers only");
        self.give_up_unsaid_kill();
        self.send_error(1, &errors::unknown_session(session));
        self.end_errand();
    }

    /// Nobody will be asked to carry out the kill under way, if there is one that nobody was asked to.
    pub(super) fn give_up_unsaid_kill(&mut self) {
        if let Some(victim) = self.killing().and_then(|kill| kill.unsaid()) {
            self.outputs.push_back(Output::KillRefused(victim));
        }
    }

    /// The session's own server has replied to its KILL.
    pub(super) fn note_refused_kill(&mut self) {
        if let State::Relay(relay) = &mut self.state
            && let Some(victim) = relay.victim.take()
        {
            self.outputs.push_back(Output::KillRefused(victim));
        }
    }

    fn end_errand(&mut self) {
        self.deadline = None;
        self.outputs.push_back(Output::EndErrand);
        self.become_idle();
    }
}

/// Whether a server that answers a KILL with this error does not carry it out. Whoever kills itself hears that it was
/// interrupted.
pub(super) fn is_refusal(code: ErrorCode) -> bool {
    [Error::NO_SUCH_THREAD, Error::KILL_DENIED, Error::SPECIFIC_ACCESS_DENIED].iter().any(|error| error.code == code)
}
