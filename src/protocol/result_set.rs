//! Follows the reply to a command by the heads of its packets, and says where it ends and with which status.
//!
//! Rows are never parsed and nothing is stored: a header, one or two bytes of payload, and the rest is
//! skipped. Only the packets that begin or end something are looked at further, and of those at most
//! `HEAD_MAX` bytes. The bytes may be cut anywhere.
//!
//! What makes it more than counting packets:
//! * the same first byte means different things at different places. 0x00 is OK or a binary row, 0xFB a
//!   request for a file or a NULL, 0xFE an end or a row of 16 MiB, so that position and length decide;
//! * with DEPRECATE_EOF there is no packet between column definitions and rows, and none at all behind the
//!   definitions of a prepare reply;
//! * where a server leaves column definitions out, the EOF packet behind them is still there.

use std::fmt;

use super::{
    capability::Capabilities,
    packet::{HEADER_LENGTH, Header, HeaderParts, PAYLOAD_MAX},
    reader::{Malformed, Reader},
    response::{EOF_HEADER, ERR_HEADER, EofPacket, OK_HEADER},
    statement::Prepared,
    status::StatusFlags,
};

/// Bytes of a payload that are ever needed: header, two length-encoded integers, status and warnings of an OK packet.
const HEAD_MAX: usize = 23;

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
    /// As [`ReplyShape::ResultSet`], of a statement that may open a cursor: then the rows are left to be fetched.
    Cursor,
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
    /// MySQL's flag behind the column count, and at the end of a prepare reply's first packet. (The manual puts it
    /// in front of the count; MySQL 9.7 sends it behind.)
    pub optional_metadata: bool,
    /// MariaDB's flag behind the column count.
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
    /// Warnings that its last packet counts; 0 where that has no status.
    pub warnings: u16,
    /// Its last result has rows, or could have.
    pub has_rows: bool,
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
    may_open_cursor: bool,
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
    /// The row of a procedure's output parameters, or its end. MySQL announces the result that follows in the
    /// EOF before the row, and with EOF packets forgets it in the one behind.
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
    /// The EOF behind definitions of parameters that were left out; those of the columns are left out too.
    PreparedEndOfParameters,
    /// None before the client has sent a file.
    InfileWanted,
    /// None.
    Over(ReplyEnd),
}

/// What the next packet may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// OK or ERR.
    Answer,
    /// The first packet of a prepare reply, or ERR.
    Prepared,
    /// The OK that ends rows.
    RowsEnd,
    /// An EOF packet, or a row.
    Eof,
    /// Nothing that says anything of the session.
    Nothing,
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
            ReplyShape::ResultSet | ReplyShape::Cursor => State::First,
            ReplyShape::Prepare => State::Prepare,
            ReplyShape::FieldList | ReplyShape::Fetch => State::Row,
        };
        Reply {
            state,
            position: Position::Between,
            head: [0; HEAD_MAX],
            framing,
            may_have_more_results: matches!(shape, ReplyShape::ResultSet | ReplyShape::Cursor),
            may_open_cursor: shape == ReplyShape::Cursor,
            next_sequence: 1,
        }
    }

    /// Goes through `bytes` and stops behind the reply's last byte, behind a request for a file, or in front of
    /// a packet that cannot be.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Followed, ReplyError> {
        let (consumed, progress) = self.follow_until(bytes, |_, _| false)?;
        Ok(Followed { consumed, progress: progress.expect("nothing stops it") })
    }

    /// The same, but stops as well between two packets where `stop`, shown what comes next, says so; then there is no
    /// progress to tell of.
    pub(super) fn follow_until(
        &mut self,
        bytes: &[u8],
        stop: impl Fn(&Reply, &[u8]) -> bool,
    ) -> Result<(usize, Option<Progress>), ReplyError> {
        let mut consumed = 0;
        loop {
            if self.position == Position::Between {
                match self.state {
                    State::Over(end) => return Ok((consumed, Some(Progress::Done(end)))),
                    State::InfileWanted => return Ok((consumed, Some(Progress::LocalInfile))),
                    State::Row => consumed += self.skip_rows(&bytes[consumed..]),
                    _ => {}
                }
            }
            let rest = &bytes[consumed..];
            if rest.is_empty() {
                return Ok((consumed, Some(Progress::More)));
            }
            if self.position == Position::Between && stop(self, rest) {
                return Ok((consumed, None));
            }
            match self.advance(rest) {
                Ok(advanced) => consumed += advanced,
                // What came before is good and belongs to the client, so that an error can be put behind it.
                Err(_) if consumed > 0 && !self.is_inside_packet() => {
                    return Ok((consumed, Some(Progress::More)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the next packet may be, where it may be more than a row or a definition.
    pub(super) fn expects(&self) -> Expected {
        match self.state {
            State::First | State::Only => Expected::Answer,
            State::Prepare => Expected::Prepared,
            State::Row | State::OutParameters if self.framing.deprecate_eof => Expected::RowsEnd,
            State::Row
            | State::OutParameters
            | State::DefinitionsEnd
            | State::PreparedEnd { .. }
            | State::PreparedEndOfParameters => Expected::Eof,
            _ => Expected::Nothing,
        }
    }

    /// The server has asked for a file and not been told of its end.
    pub fn wants_file(&self) -> bool {
        self.state == State::InfileWanted && self.position == Position::Between
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
            // MySQL 9.7, where a statement that had a cursor is executed without one: an OK in place of rows and both ends.
            State::DefinitionsEnd if first_byte == OK_HEADER => Ok(self.after_result(end_of(header, head)?)),
            State::DefinitionsEnd => Ok(self.after_definitions(end_of(header, head)?)),
            State::Row if self.is_row(header, first_byte)? => Ok(State::Row),
            State::Row => Ok(self.after_result(end_of(header, head)?)),
            State::OutParameters if self.is_row(header, first_byte)? => Ok(State::OutParameters),
            State::OutParameters => {
                end_of(header, head)?;
                Ok(State::First)
            }
            State::Only if matches!(first_byte, OK_HEADER | EOF_HEADER) => Ok(State::Over(end_of(header, head)?)),
            State::Text => Ok(State::Over(ReplyEnd::default())),
            State::Prepare if first_byte == OK_HEADER => self.after_prepare(head),
            State::PreparedDefinition { left: 1, columns } if !self.framing.deprecate_eof => {
                Ok(State::PreparedEnd { columns })
            }
            State::PreparedDefinition { left: 1, columns } => Ok(before_prepared_columns(columns, ReplyEnd::default())),
            State::PreparedDefinition { left, columns } => Ok(State::PreparedDefinition { left: left - 1, columns }),
            State::PreparedEnd { columns } => Ok(before_prepared_columns(columns, end_of(header, head)?)),
            State::PreparedEndOfParameters => {
                end_of(header, head)?;
                Ok(State::PreparedEnd { columns: 0 })
            }
            State::Only | State::Prepare | State::InfileWanted | State::Over(_) => Err(unexpected),
        }
    }

    /// An error ends everything, whatever was announced before it; a progress report changes nothing.
    fn after_error(&self, head: &[u8]) -> Result<State, ReplyError> {
        let code = Reader::new(&head[1..]).u16("error code")?;
        if code == PROGRESS_CODE && self.framing.progress {
            return Ok(self.state);
        }
        Ok(State::Over(ReplyEnd { error: Some(code), ..ReplyEnd::default() }))
    }

    fn after_first(&self, header: Header, head: &[u8]) -> Result<State, ReplyError> {
        match head[0] {
            LOCAL_INFILE_HEADER => Ok(State::InfileWanted),
            OK_HEADER => Ok(self.after_result(end_of(header, head)?)),
            _ => self.after_column_count(Reader::new(head)),
        }
    }

    fn after_column_count(&self, mut reader: Reader<'_>) -> Result<State, ReplyError> {
        let count = reader.lenenc("column count")?;
        if count == 0 || count > COLUMNS_MAX {
            return Err(Malformed { field: "column count" }.into());
        }
        let has_flag = self.framing.optional_metadata || self.framing.cache_metadata;
        let definitions_follow = !has_flag || reader.is_empty() || reader.u8("metadata flag")? != 0;
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

    fn after_definitions(&self, end: ReplyEnd) -> State {
        let status = end.status.unwrap_or_default();
        if self.has_opened_cursor(status) {
            return self.after_result(end);
        }
        if status.contains(StatusFlags::PS_OUT_PARAMS | StatusFlags::MORE_RESULTS) {
            return State::OutParameters;
        }
        State::Row
    }

    /// MariaDB sets the flag also while a stored program has a cursor of its own open. A reply with such a result has
    /// more results to come, and a reply with a cursor for the client has none.
    fn has_opened_cursor(&self, status: StatusFlags) -> bool {
        self.may_open_cursor
            && status.contains(StatusFlags::CURSOR_EXISTS)
            && !status.contains(StatusFlags::MORE_RESULTS)
    }

    fn after_result(&self, end: ReplyEnd) -> State {
        let has_more = end.status.is_some_and(|status| status.contains(StatusFlags::MORE_RESULTS));
        if self.may_have_more_results && has_more { State::First } else { State::Over(end) }
    }

    fn after_prepare(&self, head: &[u8]) -> Result<State, ReplyError> {
        let Prepared { parameters, columns, .. } = Prepared::parse(head)?;
        if self.framing.optional_metadata && head.get(Prepared::LENGTH) == Some(&0) {
            return Ok(match (parameters, columns) {
                _ if self.framing.deprecate_eof => State::Over(ReplyEnd::default()),
                (0, 0) => State::Over(ReplyEnd::default()),
                (0, _) | (_, 0) => State::PreparedEnd { columns: 0 },
                (_, _) => State::PreparedEndOfParameters,
            });
        }
        Ok(match parameters {
            0 => before_prepared_columns(columns, ReplyEnd::default()),
            left => State::PreparedDefinition { left, columns },
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

/// What comes in a prepare reply when the definitions of parameters, if any, are through.
fn before_prepared_columns(columns: u16, end: ReplyEnd) -> State {
    match columns {
        0 => State::Over(end),
        left => State::PreparedDefinition { left, columns: 0 },
    }
}

/// What an EOF packet says, or an OK packet under either of its headers.
fn end_of(header: Header, head: &[u8]) -> Result<ReplyEnd, ReplyError> {
    let mut reader = Reader::new(head);
    let first_byte = reader.u8("packet header")?;
    let (status, warnings);
    if first_byte == EOF_HEADER && header.payload_length as usize <= EofPacket::LENGTH {
        warnings = reader.u16("warnings")?;
        status = reader.u16("status flags")?;
    } else if matches!(first_byte, OK_HEADER | EOF_HEADER) {
        reader.lenenc("affected rows")?;
        reader.lenenc("insert id")?;
        status = reader.u16("status flags")?;
        warnings = reader.u16("warnings")?;
    } else {
        return Err(ReplyError::Unexpected { first_byte: Some(first_byte) });
    }
    Ok(ReplyEnd { status: Some(StatusFlags(status)), error: None, warnings, has_rows: first_byte == EOF_HEADER })
}

const _: () = assert!(PAYLOAD_MAX > HEAD_MAX, "the head of a packet lies in its first piece");
const _: () = assert!(size_of::<Reply>() <= 64);

/// Fuzz entry: the first two bytes choose shape, framing and cut; cutting must not change what is found.
pub fn fuzz_reply(bytes: &[u8]) {
    const SHAPES: [ReplyShape; 7] = [
        ReplyShape::ResultSet,
        ReplyShape::Cursor,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{corpus, packet::write_packet};

    const EOF_MODE: Framing =
        Framing { deprecate_eof: false, optional_metadata: false, cache_metadata: false, progress: false };
    const OK_MODE: Framing = Framing { deprecate_eof: true, ..EOF_MODE };

    /// OK packet: nothing affected, this status, no warnings.
    fn ok(header: u8, status: u8) -> Vec<u8> {
        vec![header, 0, 0, status, 0, 0, 0]
    }

    fn eof(status: u8) -> Vec<u8> {
        vec![0xFE, 0, 0, status, 0]
    }

    fn packets(payloads: &[&[u8]]) -> Vec<u8> {
        let mut stream = Vec::new();
        let mut sequence = 1;
        for payload in payloads {
            sequence = write_packet(&mut stream, sequence, payload);
        }
        stream
    }

    /// The reply must end with the last of the packets, with this status or error, in any cut. Rows are not looked at.
    fn check(shape: ReplyShape, framing: Framing, payloads: &[&[u8]], expected: ReplyEnd) {
        let stream = packets(payloads);
        let whole = follow_all(Reply::new(shape, framing), &stream, usize::MAX);
        let has_rows = whole.end.is_some_and(|(_, end, _)| end.has_rows);
        let expected = ReplyEnd { has_rows, ..expected };
        let pieces = payloads.iter().map(|payload| payload.len() / PAYLOAD_MAX + 1).sum::<usize>() as u8;
        assert_eq!(whole.end, Some((stream.len(), expected, pieces.wrapping_add(1))), "{payloads:02x?}");
        for step in if stream.len() < 1000 { 1..40 } else { 65_535..65_537 } {
            assert_eq!(follow_all(Reply::new(shape, framing), &stream, step), whole, "in steps of {step}");
        }
    }

    fn check_error(shape: ReplyShape, framing: Framing, payloads: &[&[u8]], expected: ReplyError) {
        let stream = packets(payloads);
        for step in [usize::MAX, 1, 2, 3, 7] {
            let outcome = follow_all(Reply::new(shape, framing), &stream, step);
            assert_eq!((outcome.error, outcome.end), (Some(expected), None), "{payloads:02x?} in steps of {step}");
        }
    }

    fn status(bits: u16) -> ReplyEnd {
        ReplyEnd { status: Some(StatusFlags(bits)), ..ReplyEnd::default() }
    }

    const NO_STATUS: ReplyEnd = ReplyEnd { status: None, error: None, warnings: 0, has_rows: false };

    fn error(code: u16) -> ReplyEnd {
        ReplyEnd { error: Some(code), ..ReplyEnd::default() }
    }

    const SYNTAX_ERROR: &[u8] = b"\xFF\x28\x04#42000no";
    const UNEXPECTED_ROW: ReplyError = ReplyError::Unexpected { first_byte: Some(0xFE) };

    #[test]
    fn warnings_are_those_of_the_last_result() {
        let with = |warnings| ReplyEnd { warnings, ..status(2) };
        let (eof, ok) = ([0xFE, 9, 1, 2, 0], [0, 0, 0, 2, 0, 9, 1]);
        check(ReplyShape::ResultSet, EOF_MODE, &[&[1], b"def", &[0xFE, 0, 0, 2, 0], &eof], with(265));
        check(ReplyShape::ResultSet, OK_MODE, &[&ok], with(265));
        check(ReplyShape::ResultSet, OK_MODE, &[&[0, 0, 0, 0x0A, 0, 9, 1], &[0, 0, 0, 2, 0, 0, 0]], with(0));
    }

    #[test]
    fn a_reply_tells_whether_its_last_result_had_rows() {
        let has_rows = |framing, payloads: &[&[u8]]| {
            let outcome = follow_all(Reply::new(ReplyShape::ResultSet, framing), &packets(payloads), usize::MAX);
            outcome.end.map(|(_, end, _)| end.has_rows)
        };
        assert_eq!(has_rows(EOF_MODE, &[&[1], b"def", &eof(2), &eof(2)]), Some(true));
        assert_eq!(has_rows(OK_MODE, &[&[1], b"def", &ok(0xFE, 2)]), Some(true));
        assert_eq!(has_rows(OK_MODE, &[&ok(0, 2)]), Some(false));
        assert_eq!(has_rows(OK_MODE, &[SYNTAX_ERROR]), Some(false));
    }

    #[test]
    fn captured_replies_end_with_their_last_byte() {
        let replies = corpus::replies();
        assert!(replies.len() > 500, "the corpus is there: {}", replies.len());
        for reply in replies {
            let start = Reply::new(reply.shape, reply.framing);
            let whole = follow_all(start.clone(), &reply.bytes, usize::MAX);
            let end = whole.end.unwrap_or_else(|| panic!("{} did not end: {whole:?}", reply.title));
            assert_eq!(end.0, reply.bytes.len(), "{} {:?}", reply.title, reply.framing);
            assert_eq!(!whole.files.is_empty(), reply.title == "LOAD_DATA_LOCAL", "{}", reply.title);
        }
    }

    #[test]
    fn captured_replies_end_alike_in_every_cut() {
        for reply in corpus::replies() {
            let start = Reply::new(reply.shape, reply.framing);
            let whole = follow_all(start.clone(), &reply.bytes, usize::MAX);
            for step in (1..40).chain([61, 127, 251]) {
                assert_eq!(follow_all(start.clone(), &reply.bytes, step), whole, "{} in steps of {step}", reply.title);
            }
        }
    }

    #[test]
    fn bytes_behind_a_captured_reply_are_left() {
        for reply in corpus::replies() {
            let mut bytes = reply.bytes.clone();
            bytes.extend_from_slice(&[7, 0, 0, 1, 0xFE, 0xFF, 0]);
            let outcome = follow_all(Reply::new(reply.shape, reply.framing), &bytes, usize::MAX);
            assert_eq!(outcome.end.map(|end| end.0), Some(reply.bytes.len()), "{}", reply.title);
        }
    }

    #[test]
    fn one_packet_is_a_whole_reply() {
        for framing in [EOF_MODE, OK_MODE] {
            check(ReplyShape::Simple, framing, &[&ok(0, 2)], status(2));
            check(ReplyShape::Simple, framing, &[&ok(0xFE, 2)], status(2));
            check(ReplyShape::Simple, framing, &[&eof(2)], status(2));
            check(ReplyShape::Simple, framing, &[SYNTAX_ERROR], error(1064));
            check(ReplyShape::Statistics, framing, &[b"Uptime: 1"], NO_STATUS);
            check(ReplyShape::Statistics, framing, &[b""], NO_STATUS);
            check(ReplyShape::ResultSet, framing, &[&ok(0, 3)], status(3));
        }
    }

    #[test]
    fn rows_end_in_the_way_that_was_agreed_on() {
        check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"\x03def", &eof(2), b"\x011", &eof(0x22)], status(0x22));
        check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"\x03def", b"\x011", &ok(0xFE, 0x22)], status(0x22));
        check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"\x03def", &ok(0xFE, 2)], status(2));
    }

    #[test]
    fn the_status_is_found_behind_numbers_of_any_width() {
        let wide = [&[0xFE][..], &[0xFE; 9], &[0xFE; 9], &[0x21, 0x40, 0, 0], b"\x00\x03abc"].concat();
        check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"\x03def", &wide], status(0x4021));
    }

    #[test]
    fn first_bytes_of_rows_mean_nothing_but_the_end() {
        // An empty value or a binary row, a NULL, and a value of 64 KiB.
        let long = [&[0xFD, 0, 0, 1][..], &[b'x'; 1 << 16]].concat();
        check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(2), b"\x00", b"\xFB", &long, &eof(2)], status(2));
        check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"d", b"\x00", b"\xFB", &long, &ok(0xFE, 2)], status(2));
    }

    #[test]
    fn a_row_of_16_mib_is_not_the_end_though_it_begins_like_it() {
        let mut row = vec![0xFF; PAYLOAD_MAX + 9];
        row[..9].copy_from_slice(&[0xFE, 0, 0, 0, 1, 0, 0, 0, 0]);
        check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"d", &row, b"\x01x", &ok(0xFE, 2)], status(2));
        row.truncate(PAYLOAD_MAX);
        check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(2), &row, &eof(2)], status(2));
        // A later piece begins with data, here with what would be an error.
        row.resize(2 * PAYLOAD_MAX, 0xFF);
        check(ReplyShape::Fetch, OK_MODE, &[&row, &ok(0xFE, 0x80)], status(0x80));
    }

    #[test]
    fn a_cursor_ends_a_reply_behind_its_column_definitions() {
        check(ReplyShape::Cursor, EOF_MODE, &[b"\x01", b"d", &eof(0x42)], status(0x42));
        check(ReplyShape::Cursor, OK_MODE, &[b"\x01", b"d", &ok(0xFE, 0x42)], status(0x42));
        check(ReplyShape::Fetch, EOF_MODE, &[b"\x00\x00", &eof(0xC2)], status(0xC2));
        check(ReplyShape::Fetch, EOF_MODE, &[SYNTAX_ERROR], error(1064));
    }

    #[test]
    fn an_ok_behind_column_definitions_ends_a_result() {
        check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &ok(0, 2)], status(2));
    }

    #[test]
    fn rows_follow_while_a_stored_program_has_a_cursor_of_its_own() {
        let call: [&[u8]; 6] = [b"\x01", b"d", &eof(0x4A), b"\x011", &eof(0x4A), &ok(0, 2)];
        for shape in [ReplyShape::ResultSet, ReplyShape::Cursor] {
            check(shape, EOF_MODE, &call, status(2));
        }
        check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(0x42), b"\x011", &eof(0x42)], status(0x42));
    }

    #[test]
    fn results_follow_each_other_while_more_are_announced() {
        let call: [&[u8]; 7] = [b"\x01", b"d", b"\x011", &ok(0xFE, 0x0A), &ok(0, 0x0A), b"\x01", b"d"];
        let end = ok(0xFE, 0x0A);
        let ok = ok(0, 2);
        check(ReplyShape::ResultSet, OK_MODE, &[&call[..], &[&end, &ok]].concat(), status(2));
        check(ReplyShape::ResultSet, OK_MODE, &[&call[..], &[&end, SYNTAX_ERROR]].concat(), error(1064));
        // A status announces results only where there can be some.
        check(ReplyShape::Simple, OK_MODE, &[&[0, 0, 0, 0x0A, 0, 0, 0]], status(0x0A));
    }

    #[test]
    fn a_result_behind_output_parameters_is_announced_before_them() {
        // MySQL 9.7; MariaDB announces it twice.
        let announcement = [0xFE, 0, 0, 0x0A, 0x10];
        for end in [eof(2), announcement.to_vec()] {
            let payloads: [&[u8]; 6] = [b"\x01", b"d", &announcement, b"\0\0\x07", &end, &ok(0, 2)];
            check(ReplyShape::ResultSet, EOF_MODE, &payloads, status(2));
        }
    }

    #[test]
    fn an_error_ends_a_reply_anywhere() {
        let packets: [&[u8]; 4] = [b"\x02", b"d", b"d", b"\x00\x00"];
        for before in 0..=packets.len() {
            let payloads = [&packets[..before], &[SYNTAX_ERROR]].concat();
            check(ReplyShape::ResultSet, OK_MODE, &payloads, error(1064));
        }
        check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", SYNTAX_ERROR], error(1064));
        check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(2), b"\x00", SYNTAX_ERROR], error(1064));
        check(ReplyShape::Prepare, EOF_MODE, &[SYNTAX_ERROR], error(1064));
        check(ReplyShape::FieldList, OK_MODE, &[SYNTAX_ERROR], error(1064));
        check(ReplyShape::Statistics, OK_MODE, &[SYNTAX_ERROR], error(1064));
    }

    #[test]
    fn progress_reports_are_passed_over_only_if_agreed_on() {
        let report = b"\xFF\xFF\xFF\x01\x01\x02\xC4\x09\x00\x04copy";
        let framing = Framing { progress: true, ..OK_MODE };
        check(ReplyShape::ResultSet, framing, &[report, report, &ok(0, 2)], status(2));
        check(ReplyShape::Simple, framing, &[report, SYNTAX_ERROR], error(1064));
        check(ReplyShape::ResultSet, framing, &[b"\x01", report, b"d", report, b"\x011", report, &eof(2)], status(2));
        check(ReplyShape::ResultSet, OK_MODE, &[report], error(0xFFFF));
    }

    #[test]
    fn definitions_may_be_left_out() {
        let framing = Framing { cache_metadata: true, ..OK_MODE };
        check(ReplyShape::ResultSet, framing, &[b"\x01\x00", b"\x011", &ok(0xFE, 2)], status(2));
        check(ReplyShape::ResultSet, framing, &[b"\x01\x01", b"d", b"\x011", &ok(0xFE, 2)], status(2));
        let framing = Framing { optional_metadata: true, ..EOF_MODE };
        check(ReplyShape::ResultSet, framing, &[b"\x01\x00", &eof(2), b"\x011", &eof(2)], status(2));
        check(ReplyShape::ResultSet, framing, &[&ok(0, 2)], status(2));
    }

    /// First packet of a prepare reply.
    fn prepared(columns: u8, parameters: u8) -> Vec<u8> {
        vec![0, 1, 0, 0, 0, columns, 0, parameters, 0, 0, 0, 0]
    }

    #[test]
    fn a_prepare_reply_is_counted() {
        let eof = &eof(2)[..];
        check(ReplyShape::Prepare, OK_MODE, &[&prepared(0, 0)], NO_STATUS);
        check(ReplyShape::Prepare, EOF_MODE, &[&prepared(0, 0)], NO_STATUS);
        check(ReplyShape::Prepare, OK_MODE, &[&prepared(2, 0), b"c", b"c"], NO_STATUS);
        check(ReplyShape::Prepare, OK_MODE, &[&prepared(0, 1), b"p"], NO_STATUS);
        check(ReplyShape::Prepare, OK_MODE, &[&prepared(1, 2), b"p", b"p", b"c"], NO_STATUS);
        check(ReplyShape::Prepare, EOF_MODE, &[&prepared(2, 0), b"c", b"c", eof], status(2));
        check(ReplyShape::Prepare, EOF_MODE, &[&prepared(0, 1), b"p", eof], status(2));
        check(ReplyShape::Prepare, EOF_MODE, &[&prepared(1, 2), b"p", b"p", eof, b"c", eof], status(2));
    }

    #[test]
    fn a_prepare_reply_without_definitions_keeps_its_eofs() {
        let hidden = |columns, parameters| [prepared(columns, parameters), vec![0]].concat();
        let framing = Framing { optional_metadata: true, ..EOF_MODE };
        let eof = &eof(2)[..];
        check(ReplyShape::Prepare, framing, &[&hidden(0, 0)], NO_STATUS);
        check(ReplyShape::Prepare, framing, &[&hidden(1, 0), eof], status(2));
        check(ReplyShape::Prepare, framing, &[&hidden(1, 3), eof, eof], status(2));
        let framing = Framing { deprecate_eof: true, ..framing };
        check(ReplyShape::Prepare, framing, &[&hidden(1, 3)], NO_STATUS);
    }

    #[test]
    fn a_field_list_has_no_count() {
        check(ReplyShape::FieldList, EOF_MODE, &[b"\x03def", b"\x03def", &eof(2)], status(2));
        check(ReplyShape::FieldList, OK_MODE, &[&ok(0xFE, 2)], status(2));
    }

    #[test]
    fn a_file_is_asked_for_once_and_more_results_may_follow() {
        let mut reply = Reply::new(ReplyShape::ResultSet, OK_MODE);
        let request = packets(&[b"\xFBname", b"next"]);
        let followed = Followed { consumed: 9, progress: Progress::LocalInfile };
        assert_eq!(reply.follow(&request), Ok(followed));
        assert_eq!(reply.next_sequence(), 2);
        assert_eq!(reply.follow(&request[9..]), Ok(Followed { consumed: 0, ..followed }), "not before the file");
        reply.infile_sent();
        reply.set_sequence(4);
        assert_eq!(reply.next_sequence(), 4);
        let outcome = follow_all(reply, &packets(&[&ok(0, 0x0A), &ok(0, 2)]), 3);
        assert_eq!(outcome.end.unwrap().1, status(2));
        // A NULL in the first column of a row is no request.
        check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"d", b"\xFB", &ok(0xFE, 2)], status(2));
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let empty = ReplyError::Unexpected { first_byte: None };
        let cut = |field| ReplyError::Malformed(Malformed { field });
        check_error(ReplyShape::ResultSet, OK_MODE, &[b""], empty);
        check_error(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"d", b""], empty);
        check_error(ReplyShape::Simple, OK_MODE, &[b"\x01"], ReplyError::Unexpected { first_byte: Some(1) });
        check_error(ReplyShape::Prepare, OK_MODE, &[b"\x01"], ReplyError::Unexpected { first_byte: Some(1) });
        check_error(ReplyShape::Prepare, OK_MODE, &[b"\x00\x01"], cut("statement id"));
        check_error(ReplyShape::ResultSet, OK_MODE, &[b"\x00\x00"], cut("insert id"));
        check_error(ReplyShape::ResultSet, OK_MODE, &[b"\xFF\x01"], cut("error code"));
        check_error(ReplyShape::ResultSet, OK_MODE, &[b"\xFD\x00\x00\x01"], cut("column count"));
        check_error(
            ReplyShape::ResultSet,
            EOF_MODE,
            &[b"\x01", b"d", b"d"],
            ReplyError::Unexpected { first_byte: Some(b'd') },
        );
        check_error(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(2), &ok(0xFE, 2)], UNEXPECTED_ROW);
    }

    #[test]
    fn an_error_can_be_put_behind_whole_packets_only() {
        let stream = packets(&[b"\x01", b"d", b"\x011"]);
        let mut reply = Reply::new(ReplyShape::ResultSet, OK_MODE);
        assert_eq!((reply.next_sequence(), reply.is_inside_packet()), (1, false));
        reply.follow(&stream).unwrap();
        assert_eq!((reply.next_sequence(), reply.is_inside_packet()), (4, false));
        for cut in [1, 4, 5] {
            let mut reply = reply.clone();
            reply.follow(&[2, 0, 0, 4, 1, b'x'][..cut]).unwrap();
            assert!(reply.is_inside_packet(), "{cut} bytes of a row went by");
        }
        reply.follow(&[0xFF, 0xFF, 0xFF, 4, 1]).unwrap();
        reply.follow(&vec![0; PAYLOAD_MAX - 1]).unwrap();
        assert!(reply.is_inside_packet(), "a full piece is followed by another");
        reply.follow(&[0, 0, 0, 5]).unwrap();
        assert_eq!((reply.next_sequence(), reply.is_inside_packet()), (6, false));
    }

    #[test]
    fn what_comes_before_a_broken_packet_is_good() {
        let stream = packets(&[b"\x01", b"d", b"\x011", &[0xFE, 0]]);
        let mut reply = Reply::new(ReplyShape::ResultSet, OK_MODE);
        let good = stream.len() - 6;
        assert_eq!(reply.follow(&stream), Ok(Followed { consumed: good, progress: Progress::More }));
        assert_eq!(reply.follow(&stream[good..]), Err(ReplyError::Malformed(Malformed { field: "warnings" })));
        assert_eq!((reply.next_sequence(), reply.is_inside_packet()), (4, false));
    }

    /// Payloads of one result, without what ends it.
    fn any_result(framing: Framing) -> impl Strategy<Value = Vec<Vec<u8>>> {
        let has_flag = framing.optional_metadata || framing.cache_metadata;
        let row = (0u8..0xFC, prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(first, rest)| [vec![first], rest].concat());
        let definition = prop::collection::vec(any::<u8>(), 0..40).prop_map(|rest| [vec![3], rest].concat());
        (any::<bool>(), prop::collection::vec(definition, 1..5), prop::collection::vec(row, 0..8)).prop_map(
            move |(hidden, definitions, rows)| {
                let hidden = hidden && has_flag;
                let mut payloads = vec![vec![definitions.len() as u8]];
                if has_flag {
                    payloads[0].push(u8::from(!hidden));
                }
                payloads.extend(if hidden { Vec::new() } else { definitions });
                if !framing.deprecate_eof {
                    payloads.push(eof(2));
                }
                payloads.extend(rows);
                payloads
            },
        )
    }

    fn any_framing() -> impl Strategy<Value = Framing> {
        any::<[bool; 4]>().prop_map(|[deprecate_eof, optional_metadata, cache_metadata, progress]| Framing {
            deprecate_eof,
            optional_metadata,
            cache_metadata,
            progress,
        })
    }

    fn any_results() -> impl Strategy<Value = (Framing, Vec<Vec<Vec<u8>>>)> {
        any_framing().prop_flat_map(|framing| (Just(framing), prop::collection::vec(any_result(framing), 1..4)))
    }

    proptest! {
        #[test]
        fn any_results_are_followed_to_their_end_in_any_cut(
            (framing, results) in any_results(),
            step in 1usize..100,
        ) {
            let end = |status| if framing.deprecate_eof { ok(0xFE, status) } else { eof(status) };
            let count = results.len();
            let mut payloads = Vec::new();
            for (place, result) in results.into_iter().enumerate() {
                payloads.extend(result);
                payloads.push(end(if place + 1 < count { 0x0A } else { 0x02 }));
            }
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let stream = packets(&payloads);
            let outcome = follow_all(Reply::new(ReplyShape::ResultSet, framing), &stream, step);
            prop_assert_eq!(outcome.error, None);
            let expected = ReplyEnd { has_rows: true, ..status(2) };
            prop_assert_eq!(outcome.end.map(|end| (end.0, end.1)), Some((stream.len(), expected)));
        }

        #[test]
        fn hostile_replies_are_followed_alike_in_every_cut(bytes: Vec<u8>) {
            fuzz_reply(&bytes);
        }

        #[test]
        fn hostile_packets_are_followed_alike_in_every_cut(
            choice: u8,
            step: u8,
            payloads in prop::collection::vec(prop::collection::vec(
                prop_oneof![Just(0u8), Just(1), Just(2), Just(0xFB), Just(0xFE), Just(0xFF), any::<u8>()], 0..30), 0..8),
        ) {
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            fuzz_reply(&[vec![choice, step], packets(&payloads)].concat());
        }
    }
}
