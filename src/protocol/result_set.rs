//! Follows the reply to a command by the heads of its packets, and says where it ends and with which status.
//!
//! Rows are never parsed and nothing is stored: a header, one or two bytes of payload, and the rest is
//! skipped. Only the packets that begin or end something are looked at further, and of those at most
//! [`HEAD_MAX`] bytes. The bytes may be cut anywhere.
//!
//! What makes it more than counting packets:
//! * the same first byte means different things at different places. 0x00 is OK or a binary row, 0xFB a
//!   request for a file or a NULL, 0xFE an end or a row of 16 MiB, so that position and length decide;
//! * with DEPRECATE_EOF there is no packet between column definitions and rows, and none at all behind the
//!   definitions of a prepare reply;
//! * the two families announce left-out column definitions at two ends of the same packet.

use std::fmt;

use super::{
    capability::Capabilities,
    packet::{HEADER_LENGTH, Header, HeaderParts, PAYLOAD_MAX},
    reader::{Malformed, Reader},
    response::{EOF_HEADER, ERR_HEADER, EofPacket, OK_HEADER},
    statement::Prepared,
    status::StatusFlags,
};

/// Bytes of a payload that are ever needed: header, two length-encoded integers and status of an OK packet.
const HEAD_MAX: usize = 21;

/// First byte of a request for a file of the client's.
const LOCAL_INFILE_HEADER: u8 = 0xFB;

/// The error code of MariaDB's progress reports, which are no errors.
const PROGRESS_CODE: u16 = 0xFFFF;

/// More columns than any server sends; a count beyond it is taken for a broken stream.
const COLUMNS_MAX: u64 = 0xFFFF;

/// What kind of reply a command gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyShape {
    /// One packet: OK, ERR or EOF.
    Simple,
    /// One packet of text without a header byte.
    Statistics,
    /// OK, ERR, a request for a file, or rows; and again while the status announces more.
    ResultSet,
    /// A statement id, then definitions of parameters and columns.
    Prepare,
    /// Column definitions up to an end, without a count in front.
    FieldList,
    /// Rows of a cursor up to an end, without definitions.
    Fetch,
}

/// What the handshake agreed on that changes how replies are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// No EOF packets; an OK packet with header 0xFE ends rows.
    pub deprecate_eof: bool,
    /// MySQL's flag before the column count.
    pub optional_metadata: bool,
    /// MariaDB's flag after the column count.
    pub cache_metadata: bool,
    /// MariaDB's progress reports.
    pub progress: bool,
}

impl Framing {
    /// The framing on a connection with these capabilities.
    pub fn of(capabilities: Capabilities) -> Framing {
        Framing {
            deprecate_eof: capabilities.contains(Capabilities::DEPRECATE_EOF),
            optional_metadata: capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA),
            cache_metadata: capabilities.contains(Capabilities::MARIADB_CACHE_METADATA),
            progress: capabilities.contains(Capabilities::MARIADB_PROGRESS),
        }
    }
}

/// How far [`Reply::follow`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Bytes that belong to the reply and may be passed on.
    pub consumed: usize,
    /// What comes next.
    pub progress: Progress,
}

/// What comes after the bytes that were followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More of the reply. All bytes were consumed, except in front of a broken packet: the next call, with what
    /// was not consumed, gives the error.
    More,
    /// The server wants a file. The client answers with packets up to an empty one; then call
    /// [`Reply::infile_sent`]. A client that did not agree to LOCAL_FILES must not be asked.
    LocalInfile,
    /// Nothing: the reply is over.
    Done(ReplyEnd),
}

/// How a reply ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyEnd {
    /// The session's status; `None` after an error, statistics, or a prepare without EOF packets.
    pub status: Option<StatusFlags>,
    /// The code of the error that ended it.
    pub error: Option<u16>,
}

/// The server broke the protocol; the stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A packet that begins or ends something is cut or lies.
    Malformed(Malformed),
    /// A packet that cannot stand at this place.
    Unexpected {
        /// Its first byte; `None` for an empty packet.
        first_byte: Option<u8>,
    },
}

impl From<Malformed> for ReplyError {
    fn from(malformed: Malformed) -> Self {
        ReplyError::Malformed(malformed)
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Malformed(malformed) => malformed.fmt(formatter),
            ReplyError::Unexpected { first_byte: Some(byte) } => write!(formatter, "unexpected packet {byte:#04x}"),
            ReplyError::Unexpected { first_byte: None } => formatter.write_str("unexpected empty packet"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Follows one reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What the next packet is, or, inside a packet, the one after it.
    state: State,
    position: Position,
    /// The head of a packet that was cut inside it; `Position::Head` says how much is there.
    head: [u8; HEAD_MAX],
    framing: Framing,
    /// Results may follow each other.
    may_have_more_results: bool,
    /// What an injected packet would have to carry.
    next_sequence: u8,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first one of a result.
    First,
    /// A column definition; `left > 0` of them come.
    Definition { left: u32 },
    /// The EOF behind column definitions.
    DefinitionsEnd,
    /// A row, or in a field list a definition, or the end.
    Row,
    /// The row of a procedure's OUT parameters, or its end, behind which another result comes in any case: without
    /// DEPRECATE_EOF, MySQL announces it in the EOF behind the definitions and takes it back in the one behind the row.
    OutParameters,
    /// The only packet: OK, ERR or EOF.
    Only,
    /// The only packet: text.
    Text,
    /// The first one of a prepare reply.
    Prepare,
    /// A definition in a prepare reply; `left > 0` of them come, and then those of `columns`.
    PreparedDefinition { left: u16, columns: u16 },
    /// The EOF behind definitions in a prepare reply.
    PreparedEnd { columns: u16 },
    /// None before the client has sent a file.
    InfileWanted,
    /// None.
    Over(ReplyEnd),
}

/// Where in a packet the bytes were cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Between two packets.
    Between,
    /// In the header of a packet.
    Header(HeaderParts),
    /// In the head of a payload, of which `held` bytes are in `Reply::head`.
    Head { header: Header, held: u8 },
    /// Behind what is needed: `left` bytes of this piece go by unseen, and then another piece if `is_continued`.
    Body { left: u32, is_continued: bool },
    /// In the header of a later piece.
    NextPiece(HeaderParts),
}

impl Reply {
    /// Stands before the reply to a command of one packet.
    pub fn new(shape: ReplyShape, framing: Framing) -> Reply {
        let state = match shape {
            ReplyShape::Simple => State::Only,
            ReplyShape::Statistics => State::Text,
            ReplyShape::ResultSet => State::First,
            ReplyShape::Prepare => State::Prepare,
            ReplyShape::FieldList | ReplyShape::Fetch => State::Row,
        };
        Reply {
            state,
            position: Position::Between,
            head: [0; HEAD_MAX],
            framing,
            may_have_more_results: shape == ReplyShape::ResultSet,
            next_sequence: 1,
        }
    }

    /// Goes through `bytes` and stops behind the reply's last byte, behind a request for a file, or in front of
    /// a packet that cannot be.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Followed, ReplyError> {
        let mut consumed = 0;
        loop {
            if self.position == Position::Between {
                match self.state {
                    State::Over(end) => {
                        return Ok(Followed { consumed, progress: Progress::Done(end) });
                    }
                    State::InfileWanted => {
                        return Ok(Followed { consumed, progress: Progress::LocalInfile });
                    }
                    State::Row => consumed += self.skip_rows(&bytes[consumed..]),
                    _ => {}
                }
            }
            let rest = &bytes[consumed..];
            if rest.is_empty() {
                return Ok(Followed { consumed, progress: Progress::More });
            }
            match self.advance(rest) {
                Ok(advanced) => consumed += advanced,
                // What came before is good and belongs to the client, so that an error can be put behind it.
                Err(_) if consumed > 0 && !self.is_inside_packet() => {
                    return Ok(Followed { consumed, progress: Progress::More });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The client's empty packet went by: OK, ERR or another result comes next.
    pub fn infile_sent(&mut self) {
        debug_assert_eq!(self.state, State::InfileWanted);
        if self.state == State::InfileWanted {
            self.state = State::First;
        }
    }

    /// The sequence id of an ERR packet put behind what was followed: one more than the last header's.
    pub fn next_sequence(&self) -> u8 {
        self.next_sequence
    }

    /// Sets [`next_sequence`](Self::next_sequence) where packets of the client's were the last ones: before the
    /// reply to a command of several pieces, or after a file.
    pub fn set_sequence(&mut self, next: u8) {
        self.next_sequence = next;
    }

    /// Part of a packet was followed, and presumably passed on: nothing can be put behind it.
    pub fn is_inside_packet(&self) -> bool {
        self.position != Position::Between
    }

    /// The hot path: whole rows of one piece, as many as there are. Leaves alone what may be anything else.
    #[inline]
    fn skip_rows(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&[a, b, c, d, first_byte]) = bytes[at..].first_chunk() {
            let header = Header::from_bytes([a, b, c, d]);
            let end = at + HEADER_LENGTH + header.payload_length as usize;
            let is_row = first_byte < EOF_HEADER && header.payload_length > 0 && !header.is_continued();
            if !is_row || end > bytes.len() {
                break;
            }
            self.next_sequence = header.sequence.wrapping_add(1);
            at = end;
        }
        at
    }

    /// Goes on by one step: a header, a head, or what there is of a payload. `bytes` are not empty.
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, ReplyError> {
        match self.position {
            Position::Between => self.begin_packet(bytes),
            Position::Header(mut parts) => {
                let (taken, header) = parts.take(bytes);
                self.position = match header {
                    Some(header) => Position::Head { header, held: 0 },
                    None => Position::Header(parts),
                };
                // An empty packet has no byte that would bring us here again.
                if header.is_some_and(|header| header.payload_length == 0) {
                    self.take_head(&[])?;
                }
                Ok(taken)
            }
            Position::Head { .. } => self.take_head(bytes),
            Position::Body { left, is_continued } => {
                let skipped = bytes.len().min(left as usize);
                self.position = body(left - skipped as u32, is_continued);
                Ok(skipped)
            }
            Position::NextPiece(mut parts) => {
                let (taken, header) = parts.take(bytes);
                self.position = Position::NextPiece(parts);
                if let Some(header) = header {
                    self.next_sequence = header.sequence.wrapping_add(1);
                    self.position = body(header.payload_length, header.is_continued());
                }
                Ok(taken)
            }
        }
    }

    /// Takes header and head at once when both are there; otherwise goes on byte by byte.
    fn begin_packet(&mut self, bytes: &[u8]) -> Result<usize, ReplyError> {
        if let Some(header) = Header::parse(bytes) {
            let end = HEADER_LENGTH + head_length(header);
            if let Some(head) = bytes.get(HEADER_LENGTH..end) {
                self.begin_body(header, head)?;
                return Ok(end);
            }
        }
        self.position = Position::Header(HeaderParts::default());
        self.advance(bytes)
    }

    /// Gathers the head of a packet that was cut there.
    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, ReplyError> {
        let Position::Head { header, held } = self.position else { unreachable!("only called inside a head") };
        let held = usize::from(held);
        let wanted = head_length(header);
        let taken = bytes.len().min(wanted - held);
        self.head[held..held + taken].copy_from_slice(&bytes[..taken]);
        self.position = Position::Head { header, held: (held + taken) as u8 };
        if held + taken == wanted {
            let head = self.head;
            self.begin_body(header, &head[..wanted])?;
        }
        Ok(taken)
    }

    /// Decides what a packet is, by its header and head. Changes nothing if it cannot be.
    fn begin_body(&mut self, header: Header, head: &[u8]) -> Result<(), ReplyError> {
        self.state = self.state_after(header, head)?;
        self.next_sequence = header.sequence.wrapping_add(1);
        self.position = body(header.payload_length - head.len() as u32, header.is_continued());
        Ok(())
    }

    fn state_after(&self, header: Header, head: &[u8]) -> Result<State, ReplyError> {
        let unexpected = ReplyError::Unexpected { first_byte: head.first().copied() };
        let first_byte = match head.first() {
            Some(&ERR_HEADER) => return self.after_error(head),
            Some(&byte) => byte,
            // Statistics are plain text, which may be no text.
            None if self.state == State::Text => 0,
            None => return Err(unexpected),
        };
        match self.state {
            State::First => self.after_first(header, head),
            State::Definition { left } => Ok(self.before_definitions(left - 1)),
            State::DefinitionsEnd => {
                let status = end_status(header, head)?;
                let is_cursor = status.contains(StatusFlags::CURSOR_EXISTS);
                let is_out_parameters = status.contains(StatusFlags::PS_OUT_PARAMS);
                Ok(match self.after_result(status) {
                    after if is_cursor => after,
                    State::First if is_out_parameters => State::OutParameters,
                    _ => State::Row,
                })
            }
            State::Row if self.is_row(header, first_byte)? => Ok(State::Row),
            State::Row => Ok(self.after_result(end_status(header, head)?)),
            State::OutParameters if self.is_row(header, first_byte)? => Ok(State::OutParameters),
            State::OutParameters => end_status(header, head).map(|_| State::First),
            State::Only if matches!(first_byte, OK_HEADER | EOF_HEADER) => Ok(over(Some(end_status(header, head)?))),
            State::Text => Ok(over(None)),
            State::Prepare if first_byte == OK_HEADER => self.after_prepare(head),
            State::PreparedDefinition { left: 1, columns } if !self.framing.deprecate_eof => {
                Ok(State::PreparedEnd { columns })
            }
            State::PreparedDefinition { left: 1, columns } => Ok(before_prepared_columns(columns, None)),
            State::PreparedDefinition { left, columns } => Ok(State::PreparedDefinition { left: left - 1, columns }),
            State::PreparedEnd { columns } => Ok(before_prepared_columns(columns, Some(end_status(header, head)?))),
            State::Only | State::Prepare | State::InfileWanted | State::Over(_) => Err(unexpected),
        }
    }

    /// An error ends everything, whatever was announced before it; a progress report changes nothing.
    fn after_error(&self, head: &[u8]) -> Result<State, ReplyError> {
        let code = Reader::new(&head[1..]).u16("error code")?;
        if code == PROGRESS_CODE && self.framing.progress {
            return Ok(self.state);
        }
        Ok(State::Over(ReplyEnd { status: None, error: Some(code) }))
    }

    fn after_first(&self, header: Header, head: &[u8]) -> Result<State, ReplyError> {
        match head[0] {
            LOCAL_INFILE_HEADER => Ok(State::InfileWanted),
            OK_HEADER if !self.is_count_behind_flag(header) => Ok(self.after_result(end_status(header, head)?)),
            _ => self.after_column_count(Reader::new(head)),
        }
    }

    /// MySQL's flag "no definitions follow" looks like an OK packet, but those are longer.
    fn is_count_behind_flag(&self, header: Header) -> bool {
        const SHORTEST_OK: u32 = 7;
        self.framing.optional_metadata && header.payload_length < SHORTEST_OK
    }

    fn after_column_count(&self, mut reader: Reader<'_>) -> Result<State, ReplyError> {
        let mut definitions_follow = true;
        if self.framing.optional_metadata {
            definitions_follow = reader.u8("metadata flag")? != 0;
        }
        let count = reader.lenenc("column count")?;
        if self.framing.cache_metadata && !reader.is_empty() {
            definitions_follow = reader.u8("metadata flag")? != 0;
        }
        if count == 0 || count > COLUMNS_MAX {
            return Err(Malformed { field: "column count" }.into());
        }
        Ok(self.before_definitions(if definitions_follow { count as u32 } else { 0 }))
    }

    /// Where definitions are left out, the EOF behind them is still there.
    fn before_definitions(&self, left: u32) -> State {
        match left {
            0 if self.framing.deprecate_eof => State::Row,
            0 => State::DefinitionsEnd,
            left => State::Definition { left },
        }
    }

    fn after_result(&self, status: StatusFlags) -> State {
        if self.may_have_more_results && status.contains(StatusFlags::MORE_RESULTS) {
            return State::First;
        }
        over(Some(status))
    }

    fn after_prepare(&self, head: &[u8]) -> Result<State, ReplyError> {
        let prepared = Prepared::parse(head)?;
        let flag = head.get(Prepared::LENGTH).filter(|_| self.framing.optional_metadata);
        if flag == Some(&0) {
            return Ok(over(None));
        }
        Ok(match prepared.parameters {
            0 => before_prepared_columns(prepared.columns, None),
            left => State::PreparedDefinition { left, columns: prepared.columns },
        })
    }

    /// Whether a packet among rows is one, or else their end.
    fn is_row(&self, header: Header, first_byte: u8) -> Result<bool, ReplyError> {
        if first_byte != EOF_HEADER || header.is_continued() {
            // A first column of 16 MiB and more begins with 0xFE too, and then the piece is a full one.
            return Ok(true);
        }
        if !self.framing.deprecate_eof && header.payload_length as usize > EofPacket::LENGTH {
            return Err(ReplyError::Unexpected { first_byte: Some(first_byte) });
        }
        Ok(false)
    }
}

/// How much of a payload is needed.
fn head_length(header: Header) -> usize {
    HEAD_MAX.min(header.payload_length as usize)
}

/// The position before `left` bytes of a piece.
fn body(left: u32, is_continued: bool) -> Position {
    match (left, is_continued) {
        (0, false) => Position::Between,
        (0, true) => Position::NextPiece(HeaderParts::default()),
        (left, is_continued) => Position::Body { left, is_continued },
    }
}

fn over(status: Option<StatusFlags>) -> State {
    State::Over(ReplyEnd { status, error: None })
}

/// What comes in a prepare reply when the definitions of parameters, if any, are through.
fn before_prepared_columns(columns: u16, status: Option<StatusFlags>) -> State {
    match columns {
        0 => over(status),
        left => State::PreparedDefinition { left, columns: 0 },
    }
}

/// The status in an EOF packet, or in an OK packet under either of its headers.
fn end_status(header: Header, head: &[u8]) -> Result<StatusFlags, ReplyError> {
    let mut reader = Reader::new(head);
    let first_byte = reader.u8("packet header")?;
    if first_byte == EOF_HEADER && header.payload_length as usize <= EofPacket::LENGTH {
        reader.u16("warnings")?;
    } else if matches!(first_byte, OK_HEADER | EOF_HEADER) {
        reader.lenenc("affected rows")?;
        reader.lenenc("insert id")?;
    } else {
        return Err(ReplyError::Unexpected { first_byte: Some(first_byte) });
    }
    Ok(StatusFlags(reader.u16("status flags")?))
}

const _: () = assert!(PAYLOAD_MAX > HEAD_MAX, "the head of a packet lies in its first piece");
const _: () = assert!(size_of::<Reply>() <= 64);

/// Fuzz entry: the first two bytes choose shape, framing and cut; cutting must not change what is found.
pub fn fuzz_reply(bytes: &[u8]) {
    const SHAPES: [ReplyShape; 6] = [
        ReplyShape::ResultSet,
        ReplyShape::Prepare,
        ReplyShape::Simple,
        ReplyShape::FieldList,
        ReplyShape::Fetch,
        ReplyShape::Statistics,
    ];
    let Some((&[choice, step], stream)) = bytes.split_first_chunk() else {
        return;
    };
    let shape = SHAPES[usize::from(choice & 0x0F) % SHAPES.len()];
    let framing = Framing {
        deprecate_eof: choice & 0x10 != 0,
        optional_metadata: choice & 0x20 != 0,
        cache_metadata: choice & 0x40 != 0,
        progress: choice & 0x80 != 0,
    };
    let whole = follow_all(Reply::new(shape, framing), stream, usize::MAX);
    assert_eq!(whole, follow_all(Reply::new(shape, framing), stream, usize::from(step).max(1)));
}

/// What became of a reply: the offsets of requests for files, and its end.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    files: Vec<usize>,
    /// Where the reply ended, and how; `None` if it did not, or broke.
    end: Option<(usize, ReplyEnd, u8)>,
    error: Option<ReplyError>,
}

/// Follows a reply that arrives in slices of `step` bytes. Files are taken for sent at once.
fn follow_all(mut reply: Reply, stream: &[u8], step: usize) -> Outcome {
    let mut outcome = Outcome { files: Vec::new(), end: None, error: None };
    let mut offset = 0;
    for mut slice in stream.chunks(step.min(stream.len().max(1))) {
        loop {
            let followed = match reply.follow(slice) {
                Ok(followed) => followed,
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            };
            offset += followed.consumed;
            slice = &slice[followed.consumed..];
            match followed.progress {
                Progress::More if slice.is_empty() => break,
                Progress::More => assert!(!reply.is_inside_packet(), "only whole packets come before an error"),
                Progress::LocalInfile => {
                    outcome.files.push(offset);
                    reply.infile_sent();
                }
                Progress::Done(end) => {
                    outcome.end = Some((offset, end, reply.next_sequence()));
                    return outcome;
                }
            }
        }
    }
    outcome
}
