//! What a client's bytes begin: most commands simply pass, a few are answered or carried out here.
//!
//! Only heads are looked at: the command byte, an EXECUTE's flags, and the text of a query that is short enough to be a
//! KILL and may begin like one.

use crate::protocol::{
    command::{Answer, Command, ReplyShape},
    error_code::Error,
    kill::{self, KillStatement},
    packet::{HEADER_LENGTH, Header, Walker},
    result_set::Reply,
};

use super::{
    Side, Step,
    errand::KillId,
    exchange::{Busy, Exchange, Upload},
    login::LOGIN_PACKET_MAX,
    moves::{Move, OwnCommand},
    relay::Relay,
};

impl Relay {
    /// The first bytes of a command.
    pub(super) fn command(&mut self, bytes: &[u8]) -> Move {
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
            Answer::Forward(shape) if command == Command::SetOption => self.set_option(shape, header, bytes),
            Answer::Forward(shape) => self.begin(shape, bytes),
            Answer::NoReply => self.one_way(bytes),
            Answer::Quit => Move::Quit,
            Answer::ChangeUser => self.own(OwnCommand::ChangeUser, header, bytes),
            Answer::Kill => self.kill_command(header, bytes),
            Answer::Tunnel => {
                self.exchange = Exchange::Tunnel;
                Move::Begin(Step::Forward { to: Side::Server, length: bytes.len() })
            }
            Answer::Refuse(error) => self.refuse(bytes, error),
        }
    }

    fn begin(&mut self, shape: ReplyShape, bytes: &[u8]) -> Move {
        let mut walker = Walker::new();
        let walked = walker.walk(bytes);
        let upload = if walked.finished { Upload::done(&walker) } else { Upload::Command(walker) };
        let reply = Some(Reply::new(shape, self.framing));
        self.exchange = Exchange::Busy(Busy { at: Side::Server, upload, reply, is_answered: false });
        Move::Begin(Step::Forward { to: Side::Server, length: walked.consumed })
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

    /// A connection keeps what was chosen, also behind COM_CHANGE_USER: so the session's next one is logged in to with that.
    fn set_option(&mut self, shape: ReplyShape, header: Header, bytes: &[u8]) -> Move {
        let needed = HEADER_LENGTH + (header.payload_length as usize).min(3);
        if bytes.len() < needed {
            return Move::Pass(Step::NeedBytes { at_least: needed });
        }
        match bytes[HEADER_LENGTH + 1..needed] {
            [0, 0] => self.allows_many_statements = Some(true),
            [1, 0] => self.allows_many_statements = Some(false),
            // The server knows none of the others, and says so.
            _ => {}
        }
        self.begin(shape, bytes)
    }

    fn one_way(&mut self, bytes: &[u8]) -> Move {
        let mut walker = Walker::new();
        let walked = walker.walk(bytes);
        if !walked.finished {
            self.exchange = Exchange::OneWay(walker);
        }
        Move::Begin(Step::Forward { to: Side::Server, length: walked.consumed })
    }

    /// A command of one packet that goes out as a whole.
    pub(super) fn begin_whole(&mut self, at: Side, shape: ReplyShape) {
        self.exchange = Exchange::Busy(Busy { at, ..Busy::sent(shape, self.framing) });
    }

    pub(super) fn refuse(&mut self, bytes: &[u8], error: Error) -> Move {
        self.exchange = Exchange::Refusing(Walker::new(), error);
        self.swallow(bytes)
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
                Some(KillStatement { id, id_range, query_only, names_query: false }) => {
                    let from_payload = length - text.len() - HEADER_LENGTH;
                    let digits = id_range.start + from_payload..id_range.end + from_payload;
                    self.kill(KillId::text(id, query_only, digits), header, bytes)
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
}

/// Whether a statement with this first byte may be a KILL: the letter, or what may stand before it.
fn may_begin_kill(first: u8) -> bool {
    matches!(first, b'k' | b'K' | b'/' | b'#' | b'-' | b' ' | b'\t' | b'\n' | b'\r')
}
