//! Error codes: those that are sent to clients, each with its SQL state, and those of servers that mean
//! something to a balancer.
//!
//! The SQL state decides what a connection pool does: class `08` makes it throw the connection away and
//! reconnect, `28` and `42` do not, `40` invites to run the transaction again.

use std::fmt;

/// The number in an ERR packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u16);

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A code with the SQL state that belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error {
    /// The number.
    pub code: ErrorCode,
    /// Five ASCII letters or digits.
    pub state: [u8; 5],
}

impl Error {
    /// 1040: too many connections.
    pub const TOO_MANY_CONNECTIONS: Self = Self::new(1040, b"08004");
    /// 1043: the handshake cannot be understood.
    pub const BAD_HANDSHAKE: Self = Self::new(1043, b"08S01");
    /// 1044: this user may not use that database.
    pub const DATABASE_ACCESS_DENIED: Self = Self::new(1044, b"42000");
    /// 1045: wrong password or unknown user.
    pub const ACCESS_DENIED: Self = Self::new(1045, b"28000");
    /// 1047: a command that is not known, or (from Galera) a node that is not ready.
    pub const UNKNOWN_COMMAND: Self = Self::new(1047, b"08S01");
    /// 1049: unknown database.
    pub const UNKNOWN_DATABASE: Self = Self::new(1049, b"42000");
    /// 1053: the server is shutting down.
    pub const SERVER_SHUTDOWN: Self = Self::new(1053, b"08S01");
    /// 1064: a statement that cannot be parsed.
    pub const PARSE_ERROR: Self = Self::new(1064, b"42000");
    /// 1065: an empty statement.
    pub const EMPTY_QUERY: Self = Self::new(1065, b"42000");
    /// 1094: no connection has the id of a KILL.
    pub const NO_SUCH_THREAD: Self = Self::new(1094, b"HY000");
    /// 1095: this user may not kill that connection.
    pub const KILL_DENIED: Self = Self::new(1095, b"HY000");
    /// 1105: an error without a number of its own.
    pub const UNKNOWN_ERROR: Self = Self::new(1105, b"HY000");
    /// 1129: a host is blocked after too many failed connections.
    pub const HOST_BLOCKED: Self = Self::new(1129, b"HY000");
    /// 1130: a host may not connect.
    pub const HOST_NOT_ALLOWED: Self = Self::new(1130, b"HY000");
    /// 1152: a connection was aborted.
    pub const ABORTING_CONNECTION: Self = Self::new(1152, b"08S01");
    /// 1153: a packet longer than allowed.
    pub const PACKET_TOO_LARGE: Self = Self::new(1153, b"08S01");
    /// 1156: a packet with the wrong sequence id.
    pub const PACKETS_OUT_OF_ORDER: Self = Self::new(1156, b"08S01");
    /// 1158: reading from the other end failed.
    pub const NET_READ_ERROR: Self = Self::new(1158, b"08S01");
    /// 1159: the other end did not answer in time.
    pub const NET_READ_INTERRUPTED: Self = Self::new(1159, b"08S01");
    /// 1160: writing to the other end failed.
    pub const NET_WRITE_ERROR: Self = Self::new(1160, b"08S01");
    /// 1161: the other end did not take the bytes in time.
    pub const NET_WRITE_INTERRUPTED: Self = Self::new(1161, b"08S01");
    /// 1184: a new connection was aborted.
    pub const NEW_ABORTING_CONNECTION: Self = Self::new(1184, b"08S01");
    /// 1203: this user has as many connections as it may have.
    pub const TOO_MANY_USER_CONNECTIONS: Self = Self::new(1203, b"42000");
    /// 1205: waited too long for a lock.
    pub const LOCK_WAIT_TIMEOUT: Self = Self::new(1205, b"HY000");
    /// 1213: the transaction was rolled back and may be run again.
    pub const DEADLOCK: Self = Self::new(1213, b"40001");
    /// 1226: a limit of this user is reached.
    pub const USER_LIMIT_REACHED: Self = Self::new(1226, b"42000");
    /// 1227: forbidden by policy.
    pub const SPECIFIC_ACCESS_DENIED: Self = Self::new(1227, b"42000");
    /// 1235: a feature that is not supported here.
    pub const NOT_SUPPORTED_YET: Self = Self::new(1235, b"42000");
    /// 1243: no prepared statement has this id.
    pub const UNKNOWN_STATEMENT: Self = Self::new(1243, b"HY000");
    /// 1251: the client cannot do the authentication that is needed.
    pub const NOT_SUPPORTED_AUTH_MODE: Self = Self::new(1251, b"08004");
    /// 1290: an option of the server, mostly `--read-only`, forbids the statement.
    pub const OPTION_PREVENTS_STATEMENT: Self = Self::new(1290, b"HY000");
    /// 1317: the statement was interrupted.
    pub const QUERY_INTERRUPTED: Self = Self::new(1317, b"70100");
    /// 1421: a fetch without an open cursor.
    pub const NO_CURSOR: Self = Self::new(1421, b"HY000");
    /// 1615: a prepared statement does not fit its server any more, and must be prepared again.
    pub const NEEDS_PREPARE: Self = Self::new(1615, b"HY000");
    /// 1698: the account does not use a password.
    pub const ACCESS_DENIED_NO_PASSWORD: Self = Self::new(1698, b"28000");
    /// 1792: a write in a read-only transaction.
    pub const READ_ONLY_TRANSACTION: Self = Self::new(1792, b"25006");
    /// 1820: the password has expired; only changing it is allowed.
    pub const MUST_CHANGE_PASSWORD: Self = Self::new(1820, b"HY000");
    /// 1836: the server is in read-only mode.
    pub const READ_ONLY_MODE: Self = Self::new(1836, b"HY000");
    /// 1862: the password has expired and the client cannot handle that.
    pub const MUST_CHANGE_PASSWORD_LOGIN: Self = Self::new(1862, b"HY000");
    /// 1927: the connection was killed (MariaDB).
    pub const CONNECTION_KILLED: Self = Self::new(1927, b"70100");
    /// 1969: the statement ran into its time limit (MariaDB).
    pub const STATEMENT_TIMEOUT: Self = Self::new(1969, b"70100");
    /// 2059: an authentication plugin that cannot be loaded; from a client's side.
    pub const AUTH_PLUGIN_CANNOT_LOAD: Self = Self::new(2059, b"HY000");
    /// 3024: the statement ran into its time limit (MySQL).
    pub const QUERY_TIMEOUT: Self = Self::new(3024, b"HY000");
    /// 3032: the server is in offline mode (MySQL).
    pub const OFFLINE_MODE: Self = Self::new(3032, b"HY000");
    /// 3100: a plugin's observer failed; Group Replication rolled the transaction back.
    pub const OBSERVER_ERROR: Self = Self::new(3100, b"HY000");
    /// 3101: rolled back by Group Replication; may be run again.
    pub const ROLLED_BACK_BY_PLUGIN: Self = Self::new(3101, b"40000");
    /// 3159: only secure transport is allowed.
    pub const SECURE_TRANSPORT_REQUIRED: Self = Self::new(3159, b"HY000");
    /// 3168: the server is not available.
    pub const SERVER_NOT_AVAILABLE: Self = Self::new(3168, b"HY000");
    /// 3169: the session was killed.
    pub const SESSION_KILLED: Self = Self::new(3169, b"HY000");
    /// 4031: the connection was idle for too long (MySQL).
    pub const CLIENT_INTERACTION_TIMEOUT: Self = Self::new(4031, b"HY000");

    const fn new(code: u16, state: &[u8; 5]) -> Self {
        Self { code: ErrorCode(code), state: *state }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.code, self.state.escape_ascii())
    }
}
