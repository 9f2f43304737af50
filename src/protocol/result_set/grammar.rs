//! Which packet may come at which place of a reply, and what comes behind it.
//!
//! The same first byte means different things at different places. 0x00 is OK or a binary row, 0xFB a request for a file or
//! a NULL, 0xFE an end or a row of 16 MiB, so that place and length decide. Nothing here knows how the bytes were cut.

use crate::protocol::{
    capability::Capabilities,
    command::ReplyShape,
    packet::Header,
    reader::{Malformed, Reader},
    response::{EOF_HEADER, ERR_HEADER, EofPacket, OK_HEADER},
    statement::Prepared,
    status::StatusFlags,
};

use super::ReplyError;

/// First byte of a request for a file of the client's.
const LOCAL_INFILE_HEADER: u8 = 0xFB;

/// The error code of MariaDB's progress reports, which are no errors.
const PROGRESS_CODE: u16 = 0xFFFF;

/// More columns than any server sends; a count beyond it is taken for a broken stream.
const COLUMNS_MAX: u64 = 0xFFFF;

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

/// How a reply ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyEnd {
    /// The session's status; `None` after an error, statistics, or a prepare without EOF packets.
    pub status: Option<StatusFlags>,
    /// The code of the error that ended it.
    pub error: Option<u16>,
    /// That came in the midst of a result.
    pub broke_off: bool,
    /// Warnings that its last packet counts; 0 where that has no status.
    pub warnings: u16,
    /// Its last result has rows, or could have.
    pub has_rows: bool,
    /// Any of its results has, or could have.
    pub had_rows: bool,
    /// Its last packet counts rows that were changed.
    pub changed_rows: bool,
    /// Results that it brought to their end; 255 stands for more.
    pub results: u8,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
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
pub(in crate::protocol) enum Expected {
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

/// A place in a reply, and what decides which packets may come there.
#[derive(Clone, Debug)]
pub(super) struct Grammar {
    /// What the next packet is.
    state: State,
    framing: Framing,
    /// Results may follow each other.
    may_have_more_results: bool,
    may_open_cursor: bool,
    /// Results that have ended.
    results: u8,
    /// One of them had rows.
    had_rows: bool,
}

impl Grammar {
    /// Stands before a reply.
    pub(super) fn new(shape: ReplyShape, framing: Framing) -> Grammar {
        let state = match shape {
            ReplyShape::Simple => State::Only,
            ReplyShape::Statistics => State::Text,
            ReplyShape::ResultSet | ReplyShape::Cursor => State::First,
            ReplyShape::Prepare => State::Prepare,
            ReplyShape::FieldList | ReplyShape::Fetch => State::Row,
        };
        Grammar {
            state,
            framing,
            may_have_more_results: matches!(shape, ReplyShape::ResultSet | ReplyShape::Cursor),
            may_open_cursor: shape == ReplyShape::Cursor,
            results: 0,
            had_rows: false,
        }
    }

    /// What the next packet is.
    pub(super) fn state(&self) -> State {
        self.state
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

    /// Goes on behind a packet, by its header and head. Changes nothing if it cannot be.
    pub(super) fn take(&mut self, header: Header, head: &[u8]) -> Result<(), ReplyError> {
        let (before, next) = (self.state, self.state_after(header, head)?);
        let is_report = head.first() == Some(&ERR_HEADER);
        if next == State::First && !is_report {
            self.results = self.results.saturating_add(1);
            self.had_rows |= before != State::First;
        }
        self.state = next;
        Ok(())
    }

    /// The client has sent the file: OK, ERR or another result comes next.
    pub(super) fn file_sent(&mut self) {
        debug_assert_eq!(self.state, State::InfileWanted);
        if self.state == State::InfileWanted {
            self.state = State::First;
        }
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
        let (results, had_rows) = (self.results, self.had_rows);
        let broke_off = !matches!(self.state, State::First | State::Only | State::Prepare | State::Text);
        Ok(State::Over(ReplyEnd { error: Some(code), broke_off, results, had_rows, ..ReplyEnd::default() }))
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
        if self.may_have_more_results && has_more {
            return State::First;
        }
        let results = self.results.saturating_add(1);
        State::Over(ReplyEnd { results, had_rows: self.had_rows || end.has_rows, ..end })
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
    let mut affected = 0;
    if first_byte == EOF_HEADER && header.payload_length as usize <= EofPacket::LENGTH {
        warnings = reader.u16("warnings")?;
        status = reader.u16("status flags")?;
    } else if matches!(first_byte, OK_HEADER | EOF_HEADER) {
        affected = reader.lenenc("affected rows")?;
        reader.lenenc("insert id")?;
        status = reader.u16("status flags")?;
        warnings = reader.u16("warnings")?;
    } else {
        return Err(ReplyError::Unexpected { first_byte: Some(first_byte) });
    }
    let has_rows = first_byte == EOF_HEADER;
    let status = Some(StatusFlags(status));
    Ok(ReplyEnd { status, warnings, has_rows, changed_rows: affected > 0 && !has_rows, ..ReplyEnd::default() })
}
