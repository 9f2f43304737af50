//! Commands and replies pass through: heads are looked at, bytes are not touched.
//!
//! One command is under way at a time. A client that sends the next one early (connectors send a PREPARE and its
//! EXECUTE together) is heard when the reply before it is over, so a reply always belongs to a known command.
//!
//! [`Relay`] follows both directions and says what a piece of bytes means ([`Move`]): `commands` looks at what a client
//! begins, `exchange` keeps what is under way. What is not plain forwarding is carried out by the session (`carrying`).

use std::time::Instant;

use crate::protocol::{
    capability::Capabilities,
    error_code::ErrorCode,
    packet::{Peeked, peek_packet},
    response::ErrPacket,
    result_set::{Framing, Progress},
    status::StatusFlags,
};

use super::{
    SessionId, Side, Step, Surroundings,
    errand::is_refusal,
    exchange::{Exchange, Upload},
    login::LOGIN_PACKET_MAX,
    moves::Move,
    onward::Onward,
    parting::Parting,
    split::Split,
};

/// The command phase of a session with one server.
pub(super) struct Relay {
    /// What the server and we agreed on: the client's capabilities, and session tracking where reads are split off.
    pub(super) server_capabilities: Capabilities,
    pub(super) framing: Framing,
    /// COM_QUERY carries a block of attributes before the text.
    pub(super) query_attributes: bool,
    /// The client agreed to send files of its own.
    local_files: bool,
    /// Whether a text may hold several statements, if the client has chosen that since its login.
    pub(super) allows_many_statements: Option<bool>,
    /// What the server said last of transaction and session.
    pub(super) status: StatusFlags,
    pub(super) exchange: Exchange,
    /// Reads may go to another server.
    pub(super) split: Option<Box<Split>>,
    pub(super) onward: Onward,
    /// The session that the command under way kills; behind that, the one that it was refused to kill.
    pub(super) victim: Option<SessionId>,
    unfollowed: Unfollowed,
}

/// Why nobody follows what a session has set, where nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unfollowed {
    /// Its server does not tell of it.
    #[default]
    Untold,
    /// It could go nowhere with it.
    NoOtherServer,
    /// No table has its server, so nothing says what others would need.
    Outside,
}

impl Unfollowed {
    fn text(self) -> &'static str {
        match self {
            Unfollowed::Untold => "its server does not tell what it has set",
            Unfollowed::NoOtherServer => "its user's pools lead to no other server",
            Unfollowed::Outside => "its server is not configured",
        }
    }
}

impl Relay {
    pub(super) fn new(capabilities: Capabilities, status: StatusFlags, split: Option<Box<Split>>) -> Relay {
        let tracking = if split.is_some() { Capabilities::SESSION_TRACK } else { Capabilities::NONE };
        Relay {
            server_capabilities: capabilities | tracking,
            framing: Framing::of(capabilities),
            query_attributes: capabilities.contains(Capabilities::QUERY_ATTRIBUTES),
            local_files: capabilities.contains(Capabilities::LOCAL_FILES),
            allows_many_statements: None,
            status,
            exchange: Exchange::Idle,
            split,
            onward: Onward::default(),
            victim: None,
            unfollowed: Unfollowed::default(),
        }
    }

    /// At a server whose OK packets have this to be told of other servers.
    pub(super) fn telling(self, onward: Onward) -> Relay {
        Relay { onward, ..self }
    }

    /// Of a session that cannot move, for this reason, if it is one that does not.
    pub(super) fn staying(self, unfollowed: Unfollowed) -> Relay {
        Relay { unfollowed, ..self }
    }

    pub(super) fn is_preparing(&self) -> bool {
        matches!(self.exchange, Exchange::Preparing(_))
    }

    pub(super) fn is_busy_at(&self, side: Side) -> bool {
        matches!(&self.exchange, Exchange::Busy(busy) if busy.at == side)
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.exchange, Exchange::Idle | Exchange::Parting(Parting::Awaited))
    }

    /// Between two commands and outside a transaction.
    pub(super) fn may_leave(&self) -> bool {
        self.is_idle() && !self.status.contains(StatusFlags::IN_TRANS)
    }

    pub(super) fn activity(&self) -> &'static str {
        match &self.exchange {
            Exchange::Idle if self.status.contains(StatusFlags::IN_TRANS) => "in transaction",
            Exchange::Idle => "idle",
            Exchange::Parting(_) => "leaving",
            Exchange::Killing(_) => "killing",
            Exchange::Tunnel => "tunnel",
            Exchange::Preparing(preparing) if !preparing.command_waits() => "idle",
            Exchange::OneWay(_) | Exchange::Busy(_) | Exchange::Refusing(..) | Exchange::Preparing(_) => "command",
        }
    }

    pub(super) fn pins(&self) -> Vec<&'static str> {
        let mut pins = Vec::new();
        if self.status.contains(StatusFlags::IN_TRANS) {
            pins.push("transaction");
        }
        match self.exchange {
            Exchange::Idle | Exchange::Parting(_) => {}
            Exchange::Tunnel => pins.push("tunnel"),
            Exchange::OneWay(_)
            | Exchange::Busy(_)
            | Exchange::Refusing(..)
            | Exchange::Preparing(_)
            | Exchange::Killing(_) => pins.push("command"),
        }
        pins.extend(self.split.iter().flat_map(|split| split.pins()));
        pins
    }

    /// Why the session could not go on at another server now.
    pub(super) fn ties(&self) -> Vec<&'static str> {
        let mut ties = self.pins();
        let more = match self.split.as_deref() {
            Some(split) if split.may_be_moved() || split.gives_home_back() => split.ties(),
            Some(_) | None => vec![self.unfollowed.text()],
        };
        ties.extend(more.into_iter().filter(|tie| !ties.contains(tie)).collect::<Vec<_>>());
        ties
    }

    pub(super) fn client(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Move {
        match &mut self.exchange {
            Exchange::Idle if self.split.is_some() => self.split_command(bytes, surroundings),
            Exchange::Idle => self.command(bytes),
            Exchange::Busy(busy) => {
                let step = busy.upload(bytes);
                match busy.is_over() {
                    true => self.over(step),
                    false => Move::Pass(step),
                }
            }
            Exchange::OneWay(walker) => {
                let walked = walker.walk(bytes);
                let step = Step::Forward { to: Side::Server, length: walked.consumed };
                match walked.finished {
                    true => self.over(step),
                    false => Move::Pass(step),
                }
            }
            Exchange::Refusing(..) => self.swallow(bytes),
            Exchange::Parting(_) => self.last_command(bytes, surroundings),
            Exchange::Killing(_) | Exchange::Preparing(_) => Move::Pass(Step::Wait),
            Exchange::Tunnel => Move::Pass(Step::Forward { to: Side::Server, length: bytes.len() }),
        }
    }

    /// More of a command that is refused.
    pub(super) fn swallow(&mut self, bytes: &[u8]) -> Move {
        let Exchange::Refusing(walker, error) = &mut self.exchange else { unreachable!("the caller looked") };
        let (walked, error, sequence) = (walker.walk(bytes), *error, walker.last_sequence().wrapping_add(1));
        if !walked.finished {
            return Move::Pass(Step::Consume { length: walked.consumed });
        }
        self.exchange = Exchange::Idle;
        Move::Refuse { length: walked.consumed, sequence, error }
    }

    fn over(&mut self, step: Step) -> Move {
        self.exchange = Exchange::Idle;
        Move::Over(step)
    }

    pub(super) fn server(&mut self, bytes: &[u8], now: Instant) -> Move {
        match &mut self.exchange {
            Exchange::Busy(busy) if busy.at != Side::Server => Move::ServerFault,
            Exchange::Busy(_) if self.split.is_some() => self.split_reply(bytes, now),
            Exchange::Busy(_) => self.reply(bytes),
            Exchange::Tunnel => Move::Pass(Step::Forward { to: Side::Client, length: bytes.len() }),
            Exchange::Idle | Exchange::OneWay(_) | Exchange::Parting(_) => goodbye(bytes),
            Exchange::Refusing(..) | Exchange::Killing(_) | Exchange::Preparing(_) => Move::ServerFault,
        }
    }

    fn reply(&mut self, bytes: &[u8]) -> Move {
        let Exchange::Busy(busy) = &mut self.exchange else { unreachable!("the caller looked at the exchange") };
        let Some(reply) = &mut busy.reply else { return Move::ServerFault };
        busy.is_answered = true;
        // A server that gives up a file says so at once and goes on reading it.
        if reply.wants_file() {
            reply.infile_sent();
        }
        if self.onward.is_watching() {
            return self.reply_onward(bytes);
        }
        let Ok(followed) = reply.follow(bytes) else { return Move::ServerFault };
        self.progressed(followed.consumed, followed.progress)
    }

    /// What comes of a piece of a reply that was followed.
    pub(super) fn progressed(&mut self, consumed: usize, progress: Progress) -> Move {
        let Exchange::Busy(busy) = &mut self.exchange else { unreachable!("the caller looked at the exchange") };
        let step = Step::Forward { to: Side::Client, length: consumed };
        match progress {
            Progress::More => Move::Pass(step),
            // A server that asks for a file of a client that never offered any is not to be trusted with one, and none
            // can be asked for while the client still sends something else.
            Progress::LocalInfile if !self.local_files || !busy.is_sent() => Move::ServerFault,
            Progress::LocalInfile => {
                busy.upload = Upload::File(None);
                Move::Pass(step)
            }
            Progress::Done(end) => {
                if busy.at == Side::Server {
                    self.status = end.status.unwrap_or(self.status);
                }
                busy.reply = None;
                self.victim.take_if(|_| !end.error.is_some_and(|code| is_refusal(ErrorCode(code))));
                match busy.is_over() {
                    true => self.over(step),
                    false => Move::Pass(step),
                }
            }
        }
    }

    /// The sequence id of an error that takes the place of the rest of the reply; `None` where no error can be put in.
    pub(super) fn error_sequence(&self) -> Option<u8> {
        let busy = match &self.exchange {
            Exchange::Busy(busy) => busy,
            // A command of one packet that nobody has answered.
            Exchange::Killing(_) => return Some(1),
            Exchange::Preparing(preparing) => {
                let repeats = self.split.as_deref().is_some_and(Split::repeats_read);
                return (preparing.command_waits() || repeats).then_some(1);
            }
            Exchange::Idle | Exchange::OneWay(_) | Exchange::Refusing(..) | Exchange::Parting(_) | Exchange::Tunnel => {
                return None;
            }
        };
        let reply = busy.reply.as_ref()?;
        match &busy.upload {
            _ if reply.is_inside_packet() => None,
            Upload::File(_) => None,
            _ if busy.is_answered => Some(reply.next_sequence()),
            Upload::Done { answer_sequence } => Some(*answer_sequence),
            Upload::Command(walker) => Some(walker.last_sequence().wrapping_add(1)),
        }
    }
}

/// A server that speaks between two replies says why it hangs up (MySQL's error 4031), or is no MySQL server.
fn goodbye(bytes: &[u8]) -> Move {
    match peek_packet(bytes, LOGIN_PACKET_MAX) {
        Peeked::Complete { payload, length, .. } if ErrPacket::parse(payload).is_ok() => Move::ServerGoodbye { length },
        Peeked::NeedBytes { at_least } => Move::Pass(Step::NeedBytes { at_least }),
        Peeked::Complete { .. } | Peeked::TooLong => Move::ServerFault,
    }
}
