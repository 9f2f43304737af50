//! Commands: the first byte of what a client sends, and what becomes of each.

use super::error_code::Error;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// 0x00, internal to servers.
    Sleep,
    /// 0x01: ends the connection; there is no answer.
    Quit,
    /// 0x02: changes the database.
    InitDb,
    /// 0x03: a statement as text.
    Query,
    /// 0x04: the columns of a table; deprecated.
    FieldList,
    /// 0x05: removed from servers.
    CreateDb,
    /// 0x06: removed from servers.
    DropDb,
    /// 0x07: flushes tables, logs or privileges.
    Refresh,
    /// 0x08: stops the server.
    Shutdown,
    /// 0x09: a line of numbers.
    Statistics,
    /// 0x0A: the list of processes.
    ProcessInfo,
    /// 0x0B, internal to servers.
    Connect,
    /// 0x0C: kills a connection by its number.
    ProcessKill,
    /// 0x0D: writes debug information to the server's log.
    Debug,
    /// 0x0E: are you there?
    Ping,
    /// 0x0F, internal to servers.
    Time,
    /// 0x10, internal to servers.
    DelayedInsert,
    /// 0x11: a new login on this connection.
    ChangeUser,
    /// 0x12: the binary log as an endless stream.
    BinlogDump,
    /// 0x13: removed from servers.
    TableDump,
    /// 0x14, internal to servers.
    ConnectOut,
    /// 0x15: a replica says who it is.
    RegisterReplica,
    /// 0x16: prepares a statement.
    StmtPrepare,
    /// 0x17: executes a prepared statement.
    StmtExecute,
    /// 0x18: a part of a parameter; there is no answer, not even an error.
    StmtSendLongData,
    /// 0x19: forgets a prepared statement; there is no answer.
    StmtClose,
    /// 0x1A: resets a prepared statement.
    StmtReset,
    /// 0x1B: turns several statements in a query on or off.
    SetOption,
    /// 0x1C: rows of a cursor.
    StmtFetch,
    /// 0x1D, internal to servers.
    Daemon,
    /// 0x1E: the binary log from a GTID set on, as an endless stream (MySQL).
    BinlogDumpGtid,
    /// 0x1F: puts the session back to where it was after its login.
    ResetConnection,
    /// 0x20: clones a server (MySQL).
    Clone,
    /// 0x21: joins a group's messages (MySQL).
    SubscribeGroupReplicationStream,
    /// 0xFA: executes a prepared statement for many rows of parameters (MariaDB).
    StmtBulkExecute,
    /// Any other byte.
    Unknown(u8),
}

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

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes to the server, whose reply has this shape.
    Forward(ReplyShape),
    /// It goes to the server, which does not reply.
    NoReply,
    /// The client leaves.
    Quit,
    /// The client logs in again.
    ChangeUser,
    /// It names a connection by a number that must be translated.
    Kill,
    /// The command and its reply; from there on both sides speak when they like.
    Tunnel,
    /// It is answered here, with this error.
    Refuse(Error),
}

/// Bytes and commands, in both directions.
const COMMANDS: [(u8, Command); 35] = [
    (0x00, Command::Sleep),
    (0x01, Command::Quit),
    (0x02, Command::InitDb),
    (0x03, Command::Query),
    (0x04, Command::FieldList),
    (0x05, Command::CreateDb),
    (0x06, Command::DropDb),
    (0x07, Command::Refresh),
    (0x08, Command::Shutdown),
    (0x09, Command::Statistics),
    (0x0A, Command::ProcessInfo),
    (0x0B, Command::Connect),
    (0x0C, Command::ProcessKill),
    (0x0D, Command::Debug),
    (0x0E, Command::Ping),
    (0x0F, Command::Time),
    (0x10, Command::DelayedInsert),
    (0x11, Command::ChangeUser),
    (0x12, Command::BinlogDump),
    (0x13, Command::TableDump),
    (0x14, Command::ConnectOut),
    (0x15, Command::RegisterReplica),
    (0x16, Command::StmtPrepare),
    (0x17, Command::StmtExecute),
    (0x18, Command::StmtSendLongData),
    (0x19, Command::StmtClose),
    (0x1A, Command::StmtReset),
    (0x1B, Command::SetOption),
    (0x1C, Command::StmtFetch),
    (0x1D, Command::Daemon),
    (0x1E, Command::BinlogDumpGtid),
    (0x1F, Command::ResetConnection),
    (0x20, Command::Clone),
    (0x21, Command::SubscribeGroupReplicationStream),
    (0xFA, Command::StmtBulkExecute),
];

impl From<u8> for Command {
    fn from(byte: u8) -> Self {
        match byte {
            0x00..=0x21 => COMMANDS[usize::from(byte)].1,
            0xFA => Command::StmtBulkExecute,
            unknown => Command::Unknown(unknown),
        }
    }
}

impl Command {
    /// The byte on the wire.
    pub fn byte(self) -> u8 {
        if let Command::Unknown(byte) = self {
            return byte;
        }
        let found = COMMANDS.iter().find(|(_, command)| *command == self);
        found.expect("every known command is in the table").0
    }

    /// What becomes of it.
    pub fn answer(self) -> Answer {
        use ReplyShape::{Fetch, FieldList, Prepare, ResultSet, Simple, Statistics};
        match self {
            Command::Quit => Answer::Quit,
            Command::Query | Command::ProcessInfo | Command::StmtExecute | Command::StmtBulkExecute => {
                Answer::Forward(ResultSet)
            }
            // SET_OPTION and DEBUG end with 0xFE where others have 0x00; both are one packet.
            Command::InitDb
            | Command::Refresh
            | Command::Debug
            | Command::Ping
            | Command::RegisterReplica
            | Command::StmtReset
            | Command::SetOption
            | Command::ResetConnection => Answer::Forward(Simple),
            Command::FieldList => Answer::Forward(FieldList),
            Command::Statistics => Answer::Forward(Statistics),
            Command::StmtPrepare => Answer::Forward(Prepare),
            Command::StmtFetch => Answer::Forward(Fetch),
            Command::StmtSendLongData | Command::StmtClose => Answer::NoReply,
            Command::ChangeUser => Answer::ChangeUser,
            Command::ProcessKill => Answer::Kill,
            Command::BinlogDump | Command::BinlogDumpGtid => Answer::Tunnel,
            // Whoever stops a server talks to that server, not to a balancer that would choose one.
            Command::Shutdown => Answer::Refuse(Error::SPECIFIC_ACCESS_DENIED),
            Command::Clone | Command::SubscribeGroupReplicationStream => Answer::Refuse(Error::NOT_SUPPORTED_YET),
            Command::Sleep
            | Command::CreateDb
            | Command::DropDb
            | Command::Connect
            | Command::Time
            | Command::DelayedInsert
            | Command::TableDump
            | Command::ConnectOut
            | Command::Daemon
            | Command::Unknown(_) => Answer::Refuse(Error::UNKNOWN_COMMAND),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_command_and_comes_back() {
        for byte in 0..=u8::MAX {
            assert_eq!(Command::from(byte).byte(), byte);
        }
        for (byte, command) in COMMANDS {
            assert_eq!(Command::from(byte), command);
        }
    }

    #[test]
    fn what_servers_do_not_know_is_refused_with_their_error() {
        for byte in [0x00, 0x05, 0x1D, 0xFB, 0xFE, 0x22] {
            assert_eq!(Command::from(byte).answer(), Answer::Refuse(Error::UNKNOWN_COMMAND), "{byte:#x}");
        }
    }
}
