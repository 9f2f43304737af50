//! Commands and replies pass through: heads are looked at, bytes are not touched.
//!
//! One command is under way at a time. A client that sends the next one early (connectors send a PREPARE and its
//! EXECUTE together) is heard when the reply before it is over, so a reply always belongs to a known command.
//!
//! [`Relay`] follows both directions and says what a piece of bytes means ([`Move`]); what is not plain forwarding is
//! carried out by the session below.

use crate::protocol::{
    capability::Capabilities,
    command::{Answer, Command},
    error_code::Error,
    kill::{self, KillStatement},
    packet::{HEADER_LENGTH, Header, Peeked, Walker, peek_packet},
    response::ErrPacket,
    result_set::{Framing, Progress, Reply, ReplyShape},
    status::StatusFlags,
};

use super::{
    DrainReason, Ending, Output, Session, Side, State, Step, Surroundings,
    errand::{Kill, KillId},
    errors,
    frontend::LOGIN_PACKET_MAX,
};

/// The command phase of a session with one server.
pub(super) struct Relay {
    framing: Framing,
    /// COM_QUERY carries a block of attributes before the text.
    query_attributes: bool,
    /// The client agreed to send files of its own.
    local_files: bool,
    /// What the server said last of transaction and session.
    status: StatusFlags,
    pub(super) exchange: Exchange,
}

/// What is under way between two commands of the client.
pub(super) enum Exchange {
    /// Nothing: the next bytes are the client's, and begin a command.
    Idle,
    /// A command passes that the server does not answer.
    OneWay(Walker),
    /// A command passes, its reply is awaited, or follows.
    Busy(Busy),
    /// A command is swallowed, to be answered with an error.
    Refusing(Walker, Error),
    /// The client kills a session that it knows by our number.
    Killing(Box<Kill>),
    /// Both directions pass unseen until one side closes.
    Tunnel,
}

/// A command with a reply. Over when both have passed.
pub(super) struct Busy {
    upload: Upload,
    reply: Option<Reply>,
    /// The server has begun to answer.
    is_answered: bool,
}

/// What still comes from the client.
enum Upload {
    /// The rest of the command.
    Command(Walker),
    /// A file for LOAD DATA LOCAL: packets up to an empty one. `None` between two packets.
    File(Option<Walker>),
    /// Nothing.
    Done {
        /// The sequence id that the server's next packet has if it has not answered yet.
        answer_sequence: u8,
    },
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
    /// A whole command that the session itself must handle.
    Own { command: OwnCommand, length: usize },
    /// The packet does not begin a command.
    OutOfOrder,
    /// The server says why it is about to hang up, in this many bytes.
    ServerGoodbye { length: usize },
    /// The server sent what cannot be.
    ServerFault,
}

/// Commands that are not simply forwarded.
pub(super) enum OwnCommand {
    ChangeUser,
    Kill(KillId),
}

impl Relay {
    pub(super) fn new(capabilities: Capabilities, status: StatusFlags) -> Relay {
        Relay {
            framing: Framing::of(capabilities),
            query_attributes: capabilities.contains(Capabilities::QUERY_ATTRIBUTES),
            local_files: capabilities.contains(Capabilities::LOCAL_FILES),
            status,
            exchange: Exchange::Idle,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.exchange, Exchange::Idle)
    }

    /// Between two commands and outside a transaction.
    pub(super) fn may_leave(&self) -> bool {
        self.is_idle() && !self.status.contains(StatusFlags::IN_TRANS)
    }

    pub(super) fn activity(&self) -> &'static str {
        match &self.exchange {
            Exchange::Idle if self.status.contains(StatusFlags::IN_TRANS) => "in transaction",
            Exchange::Idle => "idle",
            Exchange::Killing(_) => "killing",
            Exchange::Tunnel => "tunnel",
            Exchange::OneWay(_) | Exchange::Busy(_) | Exchange::Refusing(..) => "command",
        }
    }

    pub(super) fn pins(&self) -> Vec<&'static str> {
        let mut pins = Vec::new();
        if self.status.contains(StatusFlags::IN_TRANS) {
            pins.push("transaction");
        }
        match self.exchange {
            Exchange::Idle => {}
            Exchange::Tunnel => pins.push("tunnel"),
            Exchange::OneWay(_) | Exchange::Busy(_) | Exchange::Refusing(..) | Exchange::Killing(_) => {
                pins.push("command")
            }
        }
        pins
    }

    fn client(&mut self, bytes: &[u8]) -> Move {
        match &mut self.exchange {
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
                let step = Step::Forward { length: walked.consumed };
                match walked.finished {
                    true => self.over(step),
                    false => Move::Pass(step),
                }
            }
            Exchange::Refusing(walker, error) => {
                let (walked, error, sequence) = (walker.walk(bytes), *error, walker.last_sequence().wrapping_add(1));
                if !walked.finished {
                    return Move::Pass(Step::Consume { length: walked.consumed });
                }
                self.exchange = Exchange::Idle;
                Move::Refuse { length: walked.consumed, sequence, error }
            }
            Exchange::Killing(_) => Move::Pass(Step::Wait),
            Exchange::Tunnel => Move::Pass(Step::Forward { length: bytes.len() }),
        }
    }

    fn over(&mut self, step: Step) -> Move {
        self.exchange = Exchange::Idle;
        Move::Over(step)
    }

    /// The first bytes of a command.
    fn command(&mut self, bytes: &[u8]) -> Move {
        let Some(header) = Header::parse(bytes) else { return Move::Pass(Step::NeedBytes { at_least: HEADER_LENGTH }) };
        if header.sequence != 0 {
            return Move::OutOfOrder;
        }
        if header.payload_length == 0 {
            return self.refuse(bytes, Error::UNKNOWN_COMMAND);
        }
        let Some(&code) = bytes.get(HEADER_LENGTH) else {
            return Move::Pass(Step::NeedBytes { at_least: HEADER_LENGTH + 1 });
        };
        let command = Command::from(code);
        match command.answer() {
            Answer::Forward(_)
                if command == Command::Query && header.payload_length as usize <= kill::KILL_TEXT_MAX =>
            {
                self.short_query(header, bytes)
            }
            Answer::Forward(_) if command == Command::StmtExecute => self.execute(header, bytes),
            Answer::Forward(shape) => self.begin(shape, bytes),
            Answer::NoReply => self.one_way(bytes),
            Answer::Quit => Move::Quit,
            Answer::ChangeUser => self.own(OwnCommand::ChangeUser, header, bytes),
            Answer::Kill => self.kill_command(header, bytes),
            Answer::Tunnel => {
                self.exchange = Exchange::Tunnel;
                Move::Begin(Step::Forward { length: bytes.len() })
            }
            Answer::Refuse(error) => self.refuse(bytes, error),
        }
    }

    fn begin(&mut self, shape: ReplyShape, bytes: &[u8]) -> Move {
        let mut walker = Walker::new();
        let walked = walker.walk(bytes);
        let upload = if walked.finished { Upload::done(&walker) } else { Upload::Command(walker) };
        self.exchange =
            Exchange::Busy(Busy { upload, reply: Some(Reply::new(shape, self.framing)), is_answered: false });
        Move::Begin(Step::Forward { length: walked.consumed })
    }

    /// Whether the client asks for a cursor stands behind the statement's number.
    fn execute(&mut self, header: Header, bytes: &[u8]) -> Move {
        const FLAGS: usize = HEADER_LENGTH + 5;
        const CURSOR_FLAGS: u8 = 0x07;
        let has_flags = header.payload_length as usize > FLAGS - HEADER_LENGTH;
        match bytes.get(FLAGS) {
            None if has_flags => Move::Pass(Step::NeedBytes { at_least: FLAGS + 1 }),
            Some(flags) if has_flags && flags & CURSOR_FLAGS != 0 => self.begin(ReplyShape::Cursor, bytes),
            Some(_) | None => self.begin(ReplyShape::ResultSet, bytes),
        }
    }

    fn one_way(&mut self, bytes: &[u8]) -> Move {
        let mut walker = Walker::new();
        let walked = walker.walk(bytes);
        if !walked.finished {
            self.exchange = Exchange::OneWay(walker);
        }
        Move::Begin(Step::Forward { length: walked.consumed })
    }

    fn refuse(&mut self, bytes: &[u8], error: Error) -> Move {
        self.exchange = Exchange::Refusing(Walker::new(), error);
        self.client(bytes)
    }

    /// A command that must be here as a whole. One that is too long for that is refused.
    fn own(&mut self, command: OwnCommand, header: Header, bytes: &[u8]) -> Move {
        let length = HEADER_LENGTH + header.payload_length as usize;
        if length > LOGIN_PACKET_MAX {
            return self.refuse(bytes, Error::UNKNOWN_COMMAND);
        }
        if bytes.len() < length {
            return Move::Pass(Step::NeedBytes { at_least: length });
        }
        Move::Own { command, length }
    }

    /// A query so short that it may be a KILL. Only this packet's bytes are looked at: the next one's may be there, too.
    fn short_query(&mut self, header: Header, bytes: &[u8]) -> Move {
        let length = HEADER_LENGTH + header.payload_length as usize;
        let packet = &bytes[..length.min(bytes.len())];
        let is_whole = packet.len() == length;
        match self.text(packet) {
            Some([first, ..]) if !may_begin_kill(*first) => self.begin(ReplyShape::ResultSet, bytes),
            Some([]) | None if is_whole => self.begin(ReplyShape::ResultSet, bytes),
            Some(text) if is_whole => match kill::recognise(text) {
                Some(KillStatement { id, id_range, names_query: false, .. }) => {
                    let from_payload = length - text.len() - HEADER_LENGTH;
                    let digits = id_range.start + from_payload..id_range.end + from_payload;
                    self.kill(KillId::text(id, digits), header, bytes)
                }
                Some(_) | None => self.begin(ReplyShape::ResultSet, bytes),
            },
            Some(_) | None => Move::Pass(Step::NeedBytes { at_least: length }),
        }
    }

    /// What is there of the text in a COM_QUERY. Where there are attributes, only a command without any is looked into.
    fn text<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        let rest = packet.get(HEADER_LENGTH + 1..)?;
        match (self.query_attributes, rest) {
            (false, text) => Some(text),
            (true, [0, _, text @ ..]) => Some(text),
            (true, _) => None,
        }
    }

    fn kill_command(&mut self, header: Header, bytes: &[u8]) -> Move {
        let length = HEADER_LENGTH + header.payload_length as usize;
        let needed = length.min(HEADER_LENGTH + 5);
        if bytes.len() < needed {
            return Move::Pass(Step::NeedBytes { at_least: needed });
        }
        match bytes[HEADER_LENGTH + 1..needed] {
            [a, b, c, d] => self.kill(KillId::binary(u32::from_le_bytes([a, b, c, d])), header, bytes),
            _ => self.begin(ReplyShape::Simple, bytes),
        }
    }

    /// A number that is not one of ours is the server's own, and the server's to understand.
    fn kill(&mut self, id: KillId, header: Header, bytes: &[u8]) -> Move {
        match id.session() {
            Some(_) => self.own(OwnCommand::Kill(id), header, bytes),
            None => self.begin(ReplyShape::Simple, bytes),
        }
    }

    fn server(&mut self, bytes: &[u8]) -> Move {
        match &mut self.exchange {
            Exchange::Busy(_) => self.reply(bytes),
            Exchange::Tunnel => Move::Pass(Step::Forward { length: bytes.len() }),
            Exchange::Idle | Exchange::OneWay(_) => goodbye(bytes),
            Exchange::Refusing(..) | Exchange::Killing(_) => Move::ServerFault,
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
        let Ok(followed) = reply.follow(bytes) else { return Move::ServerFault };
        let step = Step::Forward { length: followed.consumed };
        match followed.progress {
            Progress::More => Move::Pass(step),
            // A server that asks for a file of a client that never offered any is not to be trusted with one, and none
            // can be asked for while the client still sends something else.
            Progress::LocalInfile if !self.local_files || !busy.is_sent() => Move::ServerFault,
            Progress::LocalInfile => {
                busy.upload = Upload::File(None);
                Move::Pass(step)
            }
            Progress::Done(end) => {
                self.status = end.status.unwrap_or(self.status);
                busy.reply = None;
                match busy.is_over() {
                    true => self.over(step),
                    false => Move::Pass(step),
                }
            }
        }
    }

    /// The sequence id of an error that takes the place of the rest of the reply; `None` where no error can be put in.
    fn error_sequence(&self) -> Option<u8> {
        let busy = match &self.exchange {
            Exchange::Busy(busy) => busy,
            // A command of one packet that nobody has answered.
            Exchange::Killing(_) => return Some(1),
            Exchange::Idle | Exchange::OneWay(_) | Exchange::Refusing(..) | Exchange::Tunnel => return None,
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

/// Whether a statement with this first byte may be a KILL: the letter, or what may stand before it.
fn may_begin_kill(first: u8) -> bool {
    matches!(first, b'k' | b'K' | b'/' | b'#' | b'-' | b' ' | b'\t' | b'\n' | b'\r')
}

impl Busy {
    /// A short command of ours that has been sent whole.
    pub(super) fn sent(shape: ReplyShape, framing: Framing) -> Busy {
        Busy {
            upload: Upload::Done { answer_sequence: 1 },
            reply: Some(Reply::new(shape, framing)),
            is_answered: false,
        }
    }

    fn is_over(&self) -> bool {
        self.reply.is_none() && self.is_sent()
    }

    /// Nothing of it comes from the client any more.
    fn is_sent(&self) -> bool {
        matches!(self.upload, Upload::Done { .. })
    }

    fn upload(&mut self, bytes: &[u8]) -> Step {
        match &mut self.upload {
            Upload::Done { .. } => Step::Wait,
            Upload::Command(walker) => {
                let walked = walker.walk(bytes);
                if walked.finished {
                    self.upload = Upload::done(walker);
                }
                Step::Forward { length: walked.consumed }
            }
            Upload::File(Some(walker)) => {
                let walked = walker.walk(bytes);
                if walked.finished {
                    self.upload = Upload::File(None);
                }
                Step::Forward { length: walked.consumed }
            }
            Upload::File(None) => self.file_packet(bytes),
        }
    }

    /// The beginning of a file's next packet; an empty one ends the file.
    fn file_packet(&mut self, bytes: &[u8]) -> Step {
        let Some(header) = Header::parse(bytes) else { return Step::NeedBytes { at_least: HEADER_LENGTH } };
        if header.payload_length == 0 {
            self.file_is_over(header.sequence.wrapping_add(1));
            return Step::Forward { length: HEADER_LENGTH };
        }
        let mut walker = Walker::new();
        let walked = walker.walk(bytes);
        self.upload = Upload::File((!walked.finished).then_some(walker));
        Step::Forward { length: walked.consumed }
    }

    fn file_is_over(&mut self, answer_sequence: u8) {
        self.upload = Upload::Done { answer_sequence };
        // A server that gave up the file has begun to answer already.
        if let Some(reply) = self.reply.as_mut().filter(|reply| reply.wants_file()) {
            reply.infile_sent();
            reply.set_sequence(answer_sequence);
        }
    }
}

impl Upload {
    fn done(walker: &Walker) -> Upload {
        Upload::Done { answer_sequence: walker.last_sequence().wrapping_add(1) }
    }
}

impl Session {
    /// Bytes of either side in the command phase.
    pub(super) fn relay_step(&mut self, from: Side, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        let State::Relay(relay) = &mut self.state else { unreachable!("the caller looked at the state") };
        let what = match from {
            Side::Client => relay.client(bytes),
            Side::Server => relay.server(bytes),
            Side::Errand => return self.errand_step(bytes, surroundings),
        };
        match what {
            Move::Pass(step) => step,
            Move::Begin(step) => {
                self.commands += 1;
                step
            }
            Move::Over(step) => {
                self.leave_if_asked();
                step
            }
            other => self.carry_out(other, bytes, surroundings),
        }
    }

    /// All that is not plain forwarding.
    fn carry_out(&mut self, what: Move, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        match what {
            Move::Pass(step) | Move::Begin(step) | Move::Over(step) => step,
            Move::Quit => {
                self.say_goodbye_to_server();
                self.close(Ending::Quit);
                Step::Consume { length: bytes.len() }
            }
            Move::Refuse { length, sequence, error } => {
                self.commands += 1;
                self.send_error(sequence, &errors::refused_command(error));
                self.leave_if_asked();
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

    /// A drain that waited for the end of a command or transaction.
    pub(super) fn leave_if_asked(&mut self) {
        if self.draining.is_some()
            && let State::Relay(relay) = &self.state
            && relay.may_leave()
        {
            self.leave();
        }
    }

    /// Gives up the server because the session goes on as another user.
    fn leave_server(&mut self) {
        // A reason to leave that was this user's or this server's has been met with that.
        self.draining.take_if(|reason| *reason != DrainReason::Shutdown);
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
    }
}
