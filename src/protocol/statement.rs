//! Prepared statements: their ids in commands, and the reply to a prepare.

use super::{
    command::Command,
    reader::{Malformed, Reader},
};

/// A server's number for a prepared statement; means something on one connection only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatementId(pub u32);

impl StatementId {
    /// MariaDB: the statement prepared last, whose reply the client has not waited for.
    pub const LAST_PREPARED: Self = Self(0xFFFF_FFFF);

    /// Where the id stands in the payload of each command that has one.
    pub const OFFSET: usize = 1;

    /// The id that a command's payload names; `None` for a command without one, or a payload that is cut before its end.
    pub fn of_command(payload: &[u8]) -> Option<Self> {
        let has_id = matches!(
            Command::from(*payload.first()?),
            Command::StmtExecute
                | Command::StmtSendLongData
                | Command::StmtClose
                | Command::StmtReset
                | Command::StmtFetch
                | Command::StmtBulkExecute
        );
        let bytes = payload.get(Self::OFFSET..)?.first_chunk()?;
        has_id.then_some(Self(u32::from_le_bytes(*bytes)))
    }
}

/// The first packet of a reply to COM_STMT_PREPARE. Its first byte is 0, but it is no OK packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The new statement's number.
    pub id: StatementId,
    /// Columns of its result; 0 if it has none.
    pub columns: u16,
    /// Its parameters.
    pub parameters: u16,
    /// How many warnings there are.
    pub warnings: u16,
}

impl Prepared {
    /// Bytes of the payload; with MySQL's OPTIONAL_RESULTSET_METADATA one more.
    pub const LENGTH: usize = 12;

    /// Reads the payload, header byte included.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8("packet header")? != 0 {
            return Err(Malformed { field: "packet header" });
        }
        let id = StatementId(reader.u32("statement id")?);
        let columns = reader.u16("column count")?;
        let parameters = reader.u16("parameter count")?;
        reader.skip(1, "filler")?;
        Ok(Self { id, columns, parameters, warnings: reader.u16("warnings")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_commands_name_a_statement() {
        assert_eq!(StatementId::of_command(&[0x17, 1, 2, 0, 0, 0]), Some(StatementId(0x201)));
        assert_eq!(StatementId::of_command(&[0xFA, 0xFF, 0xFF, 0xFF, 0xFF]), Some(StatementId::LAST_PREPARED));
        assert_eq!(StatementId::of_command(&[0x03, 1, 2, 0, 0, 0]), None);
        assert_eq!(StatementId::of_command(&[0x19, 1, 2, 0]), None);
        assert_eq!(StatementId::of_command(&[]), None);
    }

    #[test]
    fn a_prepare_reply_gives_id_and_counts() {
        let payload = [0, 1, 0, 0, 0, 2, 0, 3, 0, 0, 4, 0];
        let expected = Prepared { id: StatementId(1), columns: 2, parameters: 3, warnings: 4 };
        assert_eq!(Prepared::parse(&payload), Ok(expected));
        assert_eq!(Prepared::parse(&payload[..11]), Err(Malformed { field: "warnings" }));
    }
}
