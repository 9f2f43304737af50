//! Commands and replies pass through: heads are looked at, bytes are not touched.
//!
//! One command is under way at a time. A client that sends the next one early (connectors send a PREPARE and its
//! EXECUTE together) is heard when the reply before it is over, so a reply always belongs to a known command.
//!
//! [`Relay`] follows both directions and says what a piece of bytes means ([`Move`]): `commands` looks at what a client
//! begins, `exchange` keeps what is under way. What is not plain forwarding is carried out by the session below.

use std::time::Instant;

use crate::latency::Tick;
use crate::protocol::{
    capability::Capabilities,
    command::ReplyShape,
    error_code::Error,
    packet::{HEADER_LENGTH, Peeked, peek_packet},
    response::ErrPacket,
    result_set::{Framing, Progress},
    statement::StatementId,
    status::StatusFlags,
};

use super::{
    DrainReason, Ending, Output, Session, Side, State, Step, Surroundings,
    errand::KillId,
    errors,
    exchange::{Busy, Exchange, Upload},
    frontend::LOGIN_PACKET_MAX,
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
    /// What the server said last of transaction and session.
    pub(super) status: StatusFlags,
    pub(super) exchange: Exchange,
    /// Reads may go to another server.
    pub(super) split: Option<Box<Split>>,
    pub(super) onward: Onward,
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

/// What a piece of bytes means.
pub(super) enum Move {
    /// Nothing but this.
    Pass(Step),
    /// A command begins, and passes.
    Begin(Step),
    /// What was under way has come to its end with these bytes.
    Over(Step),
    /// The client is done.
    Quit,
    /// A swallowed command is over: answer it with this error.
    Refuse { length: usize, sequence: u8, error: Error },
    /// A server must be made ready before the command can go there.
    Ready(Side),
    /// Another packet goes to a server in place of a whole command of the client.
    Say { side: Side, packet: Vec<u8>, shape: ReplyShape, length: usize },
    /// This beginning of a command goes home in place of the first `length` bytes.
    Head { packet: Vec<u8>, length: usize },
    /// A command that nobody answers is over with this.
    Silent(Step),
    /// A packet of the reply is the client's in another form.
    Rewritten { length: usize, packet: Vec<u8>, is_over: bool },
    /// The replica did not run the read: home must.
    Repeat { length: usize },
    /// Home did not run the statement: another home must.
    RefusedAtHome { length: usize, code: u16 },
    /// Home runs no more of the transaction.
    TransactionRefused { length: usize, sequence: u8 },
    /// The replica said what it must not.
    ReplicaFault,
    /// The last command of a session that is recalled is swallowed.
    Farewell { length: usize, sequence: u8 },
    /// A whole command that the session itself must handle.
    Own { command: OwnCommand, length: usize },
    /// The packet does not begin a command.
    OutOfOrder,
    /// The server says why it is about to hang up, in this many bytes.
    ServerGoodbye { length: usize },
    /// The server sent what cannot be.
    ServerFault,
}

impl Move {
    /// The same with another number for the statement in the packet that passes.
    pub(super) fn under(self, number: StatementId) -> Move {
        let renumbered = |step| match step {
            Step::Forward { to, length } => {
                let at = HEADER_LENGTH + StatementId::OFFSET;
                Step::Renumber { to, length, at, number: number.0.to_le_bytes() }
            }
            other => other,
        };
        match self {
            Move::Pass(step) => Move::Pass(renumbered(step)),
            Move::Begin(step) => Move::Begin(renumbered(step)),
            Move::Over(step) => Move::Over(renumbered(step)),
            Move::Silent(step) => Move::Silent(renumbered(step)),
            other => other,
        }
    }
}

/// Commands that are not simply forwarded.
pub(super) enum OwnCommand {
    ChangeUser,
    Kill(KillId),
}

impl Relay {
    pub(super) fn new(capabilities: Capabilities, status: StatusFlags, split: Option<Box<Split>>) -> Relay {
        let tracking = if split.is_some() { Capabilities::SESSION_TRACK } else { Capabilities::NONE };
        Relay {
            server_capabilities: capabilities | tracking,
            framing: Framing::of(capabilities),
            query_attributes: capabilities.contains(Capabilities::QUERY_ATTRIBUTES),
            local_files: capabilities.contains(Capabilities::LOCAL_FILES),
            status,
            exchange: Exchange::Idle,
            split,
            onward: Onward::default(),
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

    fn server(&mut self, bytes: &[u8], now: Instant) -> Move {
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

impl Session {
    /// Bytes of either side in the command phase.
    pub(super) fn relay_step(&mut self, from: Side, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        if from == Side::Server && self.server.is_none() {
            // Said behind the last reply of a connection that was given back: its end follows, and is seen there.
            return Step::Consume { length: bytes.len() };
        }
        let State::Relay(relay) = &mut self.state else { unreachable!("the caller looked at the state") };
        let what = match from {
            Side::Client => relay.client(bytes, surroundings),
            Side::Replica if relay.has_unwanted_rest() => return self.rest_step(bytes, surroundings),
            Side::Server if relay.awaits_pong() => return self.pong_step(bytes),
            Side::Server | Side::Replica if matches!(relay.exchange, Exchange::Preparing(_)) => {
                return self.preparing_step(from, bytes, surroundings);
            }
            Side::Server => relay.server(bytes, surroundings.now),
            Side::Replica => relay.replica(bytes, surroundings.now),
            Side::Errand => return self.errand_step(bytes, surroundings),
        };
        match what {
            Move::Pass(step) => step,
            Move::Begin(step) => {
                self.count_command(surroundings.tick);
                self.tied_since.get_or_insert(surroundings.now);
                self.remember_home(surroundings);
                step
            }
            Move::Over(step) => {
                self.time_reply(from, surroundings.tick);
                self.command_over(surroundings);
                step
            }
            other => self.carry_out(other, from, bytes, surroundings),
        }
    }

    /// All that is not plain forwarding.
    fn carry_out(&mut self, what: Move, from: Side, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        match what {
            Move::Pass(step) | Move::Begin(step) | Move::Over(step) => step,
            Move::Ready(side) => {
                self.make_ready(side, true, surroundings);
                // Nothing may be missing where the command goes instead: then nothing would come to show it again.
                match self.split().is_some_and(|split| split.is_decided()) {
                    true => self.relay_step(Side::Client, bytes, surroundings),
                    false => Step::Wait,
                }
            }
            Move::Say { side, packet, shape, length } => {
                self.count_command(surroundings.tick);
                if let State::Relay(relay) = &mut self.state {
                    relay.begin_whole(side, shape);
                }
                self.outputs.push_back(Output::Send(side, packet));
                self.remember_home(surroundings);
                Step::Consume { length }
            }
            Move::Head { packet, length } => {
                self.count_command(surroundings.tick);
                self.outputs.push_back(Output::Send(Side::Server, packet));
                Step::Consume { length }
            }
            Move::Silent(step) => {
                self.commands += 1;
                self.command_over(surroundings);
                step
            }
            Move::Rewritten { length, packet, is_over } => {
                self.outputs.push_back(Output::Send(Side::Client, packet));
                if is_over {
                    self.time_reply(from, surroundings.tick);
                    self.command_over(surroundings);
                }
                Step::Consume { length }
            }
            Move::Repeat { length } => {
                self.repeat_read(surroundings);
                Step::Consume { length }
            }
            Move::RefusedAtHome { length, code } => {
                self.refused_at_home(code, surroundings);
                Step::Consume { length }
            }
            Move::TransactionRefused { length, sequence } => {
                self.lose_transaction(sequence, surroundings);
                Step::Consume { length }
            }
            Move::ReplicaFault => {
                self.replica_closed(surroundings);
                Step::Consume { length: bytes.len() }
            }
            Move::Quit => {
                self.leave_connections_behind();
                self.say_goodbye_to_server();
                self.close(Ending::Quit);
                Step::Consume { length: bytes.len() }
            }
            Move::Refuse { length, sequence, error } => {
                self.commands += 1;
                let refusal = self.split_mut().and_then(|split| split.refusal.take());
                if !self.split().is_some_and(Split::is_silent) {
                    self.send_error(sequence, &refusal.unwrap_or_else(|| errors::refused_command(error)));
                }
                self.command_over(surroundings);
                Step::Consume { length }
            }
            Move::Farewell { length, sequence } => {
                self.commands += 1;
                self.say_farewell(sequence, surroundings);
                Step::Consume { length }
            }
            Move::Own { command, length } => {
                self.commands += 1;
                let payload = &bytes[HEADER_LENGTH..length];
                match command {
                    OwnCommand::Kill(id) => self.kill(id, payload, surroundings),
                    OwnCommand::ChangeUser => {
                        self.leave_server();
                        self.change_user(payload, 1, surroundings);
                    }
                }
                Step::Consume { length }
            }
            Move::OutOfOrder => {
                self.say_goodbye_to_server();
                self.deny(0, errors::packets_out_of_order(), Ending::ClientProtocol);
                Step::Consume { length: bytes.len() }
            }
            Move::ServerGoodbye { .. } | Move::ServerFault if self.may_lose_home() => {
                self.home_broke(surroundings);
                Step::Consume { length: bytes.len() }
            }
            Move::ServerGoodbye { .. } if self.outlives_home() => {
                self.home_broke(surroundings);
                Step::Consume { length: bytes.len() }
            }
            Move::ServerGoodbye { length } => {
                self.outputs.push_back(Output::Send(Side::Client, bytes[..length].to_vec()));
                self.close(Ending::ServerGone);
                Step::Consume { length: bytes.len() }
            }
            Move::ServerFault => {
                self.server_left(Ending::ServerProtocol);
                Step::Consume { length: bytes.len() }
            }
        }
    }

    /// A command goes to a server.
    fn count_command(&mut self, now: Tick) {
        self.commands += 1;
        self.asked_at = now;
    }

    /// A server has replied to the command under way. What the client ends itself has no reply.
    fn time_reply(&self, from: Side, now: Tick) {
        let server = match from {
            Side::Server => self.server.as_ref(),
            Side::Replica => self.replica(),
            Side::Client | Side::Errand => None,
        };
        if let Some(server) = server {
            server.reply_times.count(now.since(self.asked_at));
        }
    }

    /// A drain that waited for the end of a command or transaction.
    pub(super) fn leave_if_asked(&mut self) {
        self.leave_if_told();
        if self.draining.is_some()
            && let State::Relay(relay) = &self.state
            && relay.may_leave()
        {
            self.leave_as_asked();
        }
    }

    /// Gives up the servers because the session goes on as another user.
    fn leave_server(&mut self) {
        self.leave_replica();
        // A reason to leave that was this user's or this server's has been met with that.
        self.draining.take_if(|reason| !matches!(reason, DrainReason::Shutdown | DrainReason::Recalled));
        self.say_goodbye_to_server();
        self.last_server = self.server.take().map(|server| server.name);
        self.outputs.push_back(Output::Release);
    }

    /// The server is gone: whoever waits for a reply gets an error in its place, and nothing is sent twice.
    pub(super) fn server_left(&mut self, ending: Ending) {
        let State::Relay(relay) = &self.state else { return };
        match relay.error_sequence() {
            Some(sequence) => {
                let name = self.server.as_ref().map_or("?", |server| &server.name);
                self.deny(sequence, errors::server_lost(name), ending);
            }
            None => self.close(ending),
        }
    }

    pub(super) fn busy_with_own_command(&mut self) {
        if let State::Relay(relay) = &mut self.state {
            relay.exchange = Exchange::Busy(Busy::sent(ReplyShape::Simple, relay.framing));
        }
    }

    pub(super) fn become_idle(&mut self) {
        if let State::Relay(relay) = &mut self.state {
            relay.exchange = Exchange::Idle;
        }
        self.leave_if_asked();
        self.let_connections_go(None);
    }
}
