//! Where the parts of a COM_STMT_EXECUTE are, of one that is looked into as a whole and of one of which only the beginning
//! is; and what another server must get of it.

use crate::protocol::{
    command::{Command, ReplyShape},
    reader::{Malformed, Reader},
    statement::StatementId,
    writer::Writer,
};

/// EXECUTE flags that ask for a cursor.
const CURSOR_FLAGS: u8 = 0x07;

/// EXECUTE flag: a parameter count follows, and each type has a name.
const PARAMETER_COUNT_AVAILABLE: u8 = 0x08;

/// In a bulk execution's flags: the types of the parameters are in it.
const BULK_SENDS_TYPES: u8 = 0x80;

/// Parameters of an execution that is not looked into as a whole, of which the types are remembered.
const LONG_PARAMETERS_MAX: usize = 4096;

/// What a replica must get of a client's execution.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session::split) enum ForReplica {
    /// The same, with this number in it.
    Number(StatementId),
    /// This payload, with types that the client has not sent this time.
    Payload(Vec<u8>),
}

/// Where the parts of a COM_STMT_EXECUTE are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session::split) struct Execution {
    pub(in crate::session::split) wants_cursor: bool,
    /// Behind the flags and counts: where the NULL bits begin.
    bitmap: std::ops::Range<usize>,
    /// The types of the parameters are in it.
    pub(super) binds: bool,
    pub(in crate::session::split) types: std::ops::Range<usize>,
    /// Where the values begin.
    values: usize,
}

impl Execution {
    /// Reads a payload. `None` for one with attributes of the query's own, or that is no execution of such a statement.
    pub(in crate::session::split) fn parse(
        payload: &[u8],
        parameters: u16,
        query_attributes: bool,
    ) -> Option<Execution> {
        Self::read(payload, parameters, query_attributes).ok().flatten()
    }

    fn read(payload: &[u8], parameters: u16, query_attributes: bool) -> Result<Option<Execution>, Malformed> {
        let mut reader = Reader::new(payload);
        let at = |reader: &Reader<'_>| payload.len() - reader.len();
        reader.skip(5, "command and statement id")?;
        let flags = reader.u8("flags")?;
        reader.skip(4, "iteration count")?;
        // With query attributes agreed on, a statement that has parameters always gives their count and names.
        let has_names = query_attributes && (parameters > 0 || flags & PARAMETER_COUNT_AVAILABLE != 0);
        if has_names && reader.lenenc("parameter count")? != u64::from(parameters) {
            return Ok(None);
        }
        let wants_cursor = flags & CURSOR_FLAGS != 0;
        let start = at(&reader);
        if parameters == 0 {
            let nowhere = start..start;
            return Ok(Some(Execution {
                wants_cursor,
                bitmap: nowhere.clone(),
                binds: false,
                types: nowhere,
                values: start,
            }));
        }
        reader.skip(usize::from(parameters).div_ceil(8), "NULL bits")?;
        let bitmap = start..at(&reader);
        let binds = reader.u8("new parameters bound")? != 0;
        let first_type = at(&reader);
        for _ in 0..if binds { parameters } else { 0 } {
            reader.skip(2, "parameter type")?;
            if has_names {
                reader.lenenc_bytes("parameter name")?;
            }
        }
        let values = at(&reader);
        Ok(Some(Execution { wants_cursor, bitmap, binds, types: first_type..values, values }))
    }

    /// The payload with another statement id, and with `types` in place of those that it does not have.
    pub(in crate::session::split) fn write(&self, payload: &[u8], id: StatementId, types: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + types.len());
        let mut writer = Writer::new(&mut out);
        writer.bytes(&payload[..1]);
        writer.u32(id.0);
        writer.bytes(&payload[5..self.bitmap.end]);
        writer.u8(1);
        writer.bytes(types);
        writer.bytes(&payload[self.values..]);
        out
    }
}

/// Where the parts of an execution are of which only the beginning is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LongExecution {
    /// The types of the parameters are in it.
    pub(super) binds: bool,
    /// Where the types begin, or would.
    pub(in crate::session::split) types: usize,
    /// Where the values begin; where the types begin if they are not read.
    pub(super) values: usize,
    /// The types are too many to be remembered, or have names.
    pub(super) is_unseen: bool,
}

impl LongExecution {
    /// Bytes of a payload that tell all this: flags, counts, NULL bits and types.
    pub(super) const LENGTH_MAX: usize = 32 + 65_536 / 8 + 2 * LONG_PARAMETERS_MAX;

    pub(in crate::session::split) fn parse(
        payload: &[u8],
        parameters: u16,
        query_attributes: bool,
    ) -> Result<LongExecution, Malformed> {
        let mut reader = Reader::new(payload);
        let at = |reader: &Reader<'_>| payload.len() - reader.len();
        reader.skip(5, "command and statement id")?;
        let flags = reader.u8("flags")?;
        let is_bulk = payload.first().is_some_and(|code| Command::from(*code) == Command::StmtBulkExecute);
        let mut has_names = false;
        let binds = match is_bulk {
            true => {
                reader.u8("more flags")?;
                flags & BULK_SENDS_TYPES != 0
            }
            false => {
                reader.skip(4, "iteration count")?;
                has_names = query_attributes && parameters > 0;
                let count = if has_names { reader.lenenc("parameter count")? } else { u64::from(parameters) };
                if count != u64::from(parameters) {
                    return Err(Malformed { field: "parameter count" });
                }
                reader.skip(usize::from(parameters).div_ceil(8), "NULL bits")?;
                reader.u8("new parameters bound")? != 0
            }
        };
        let types = at(&reader);
        let is_unseen = binds && (has_names || usize::from(parameters) > LONG_PARAMETERS_MAX);
        if binds && !is_unseen {
            reader.skip(2 * usize::from(parameters), "parameter types")?;
        }
        Ok(LongExecution { binds, types, values: at(&reader), is_unseen })
    }

    /// Where the types are in a payload that has them.
    pub(super) fn types_in<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        &payload[self.types..self.values]
    }

    pub(in crate::session::split) fn wants_cursor(&self, payload: &[u8]) -> bool {
        self.shape(payload) == ReplyShape::Cursor
    }

    pub(super) fn shape(&self, payload: &[u8]) -> ReplyShape {
        const CURSOR_FLAGS: u8 = 0x07;
        let is_bulk = Command::from(payload[0]) == Command::StmtBulkExecute;
        match payload[5] & CURSOR_FLAGS {
            0 => ReplyShape::ResultSet,
            _ if is_bulk => ReplyShape::ResultSet,
            _ => ReplyShape::Cursor,
        }
    }

    /// The beginning with another statement id, and with types that it does not have.
    pub(in crate::session::split) fn write(&self, payload: &[u8], id: StatementId, types: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&payload[..self.types]);
        out[start + StatementId::OFFSET..][..4].copy_from_slice(&id.0.to_le_bytes());
        match Command::from(payload[0]) {
            Command::StmtBulkExecute => out[start + 5] |= BULK_SENDS_TYPES,
            _ => out[start + self.types - 1] = 1,
        }
        out.extend_from_slice(types);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_query_attributes_parameters_have_a_count_and_names() {
        let payload = [0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0xFE, 0, 0, 2, b'v', b'3'];
        let execution = Execution::parse(&payload, 1, true).unwrap();
        assert_eq!(execution.types, 13..16);
        let bare = [0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 2, b'v', b'3'];
        let mut sent = payload.to_vec();
        sent[1] = 7;
        let execution = Execution::parse(&bare, 1, true).unwrap();
        assert_eq!(execution.write(&bare, StatementId(7), &payload[13..16]), sent);
    }

    #[test]
    fn attributes_and_cursors_are_seen() {
        let payload = [0x17, 5, 0, 0, 0, 0x09, 1, 0, 0, 0, 0];
        assert!(Execution::parse(&payload, 0, true).unwrap().wants_cursor);
        let with_attribute = [0x17, 5, 0, 0, 0, 0x08, 1, 0, 0, 0, 1, 0, 1, 3, 0, 1, b'a'];
        assert_eq!(Execution::parse(&with_attribute, 0, true), None);
        assert_eq!(Execution::parse(&payload[..7], 0, false), None);
    }
}
