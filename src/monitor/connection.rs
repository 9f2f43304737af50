//! The connection that a server is asked over, and what its errors mean.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, IoError, OptsBuilder, Row, Value};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::introduction::{Introduction, introduce};
use super::watch::{Account, Target};
use crate::config::ServerAddress;
use crate::protocol::auth::Credential;
use crate::protocol::gtid::{GTID_TEXT_BYTES_MAX, GtidPosition};
use crate::protocol::version::Family;
use crate::topology::{Blame, CheckResult, Contact, Endpoint, GreetingFacts, Seen, Writable};

/// A server that was reached.
pub(super) struct Connection {
    contact: Contact,
    /// Absent without an account: then there is nobody to ask.
    client: Option<Conn>,
    subject: Subject,
}

/// What a server is asked about, in one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    RoleAndPosition,
    /// It has said that it does not know positions.
    Role,
}

/// What a server says of itself.
pub(super) struct Told {
    /// `None` where there is nobody to ask.
    pub(super) writable: Option<Writable>,
    /// `None` where it cannot tell.
    pub(super) seen: Option<Seen>,
}

/// Connects to a server: looks its name up, lets it introduce itself, and leaves a connection to ask over.
pub(super) async fn open(target: Target) -> Result<Connection, CheckResult> {
    let mut failure = CheckResult::Unreachable("its name has no address".to_owned());
    for endpoint in look_up(&target.address).await? {
        match open_at(endpoint, &target).await {
            Ok(connection) => return Ok(connection),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

/// Whether a check ended because the server does not let its account in: then asking often does harm.
pub(super) fn is_refused_account(result: &CheckResult) -> bool {
    matches!(result, CheckResult::LoginRefused { code, .. } if Blame::of(*code) != Blame::Full)
}

impl Connection {
    /// What this connection told of the server.
    pub(super) fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Whether it can be asked more than once.
    pub(super) fn can_ask(&self) -> bool {
        self.client.is_some()
    }

    /// Asks whether the server takes writes, and how far it is in its primary's history.
    pub(super) async fn ask(&mut self) -> Result<Told, CheckResult> {
        let Some(client) = &mut self.client else { return Ok(Told { writable: None, seen: None }) };
        let asked = Instant::now();
        let mut answer = client.query_first(question(&self.contact.greeting, self.subject)).await;
        if self.subject == Subject::RoleAndPosition && answer.as_ref().is_err_and(is_unknown_variable) {
            self.subject = Subject::Role;
            answer = client.query_first(question(&self.contact.greeting, self.subject)).await;
        }
        let values = answer.map_err(statement_failure)?.map(Row::unwrap).unwrap_or_default();
        let (role, position) = values.split_at(ROLE_COLUMNS.min(values.len()));
        if role.is_empty() {
            return Err(CheckResult::Malformed("no row for its read_only".to_owned()));
        }
        let writable = if role.iter().any(is_on) { Writable::No } else { Writable::Yes };
        Ok(Told { writable: Some(writable), seen: position_of(self.contact.greeting.version.family, position, asked) })
    }
}

/// Columns of every [`question`] that are on where the server takes no writes; what follows is about its position.
const ROLE_COLUMNS: usize = 2;

/// `super_read_only` came with MySQL 5.7.8 and does not exist in MariaDB. A position is cut one byte behind the longest
/// that is read, so that no set of GTIDs, however long, makes an answer too large for a check.
fn question(facts: &GreetingFacts, subject: Subject) -> &'static str {
    let version = facts.version;
    let has_super_read_only = (version.major, version.minor, version.patch) >= (5, 7, 8);
    match (version.family, subject) {
        (Family::MariaDb, Subject::RoleAndPosition) => {
            "SELECT @@read_only, 0, @@log_bin, LEFT(@@GLOBAL.gtid_slave_pos, 65537), LEFT(@@GLOBAL.gtid_current_pos, 65537)"
        }
        (Family::MySql, Subject::RoleAndPosition) if has_super_read_only => {
            "SELECT @@read_only, @@super_read_only, @@GLOBAL.gtid_mode, LEFT(@@GLOBAL.gtid_executed, 65537)"
        }
        (Family::MySql, Subject::Role) if has_super_read_only => "SELECT @@read_only, @@super_read_only",
        (Family::MariaDb, Subject::Role) | (Family::MySql, _) => "SELECT @@read_only, 0",
    }
}

fn is_unknown_variable(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(error) if error.code == UNKNOWN_SYSTEM_VARIABLE)
}

/// What the columns of a [`question`] behind the role say; nothing, where there are none.
fn position_of(family: Family, columns: &[Value], asked: Instant) -> Option<Seen> {
    match (family, columns) {
        (Family::MariaDb, [log_bin, applied, committed]) => {
            let applied = GtidPosition::parse_mariadb(text(applied)?).ok()?;
            // Without a binary log there is no history, and its position stands still.
            let committed = text(committed).filter(|_| is_on(log_bin));
            let committed = committed.and_then(|text| GtidPosition::parse_mariadb(text).ok());
            Some(Seen { asked, applied, committed })
        }
        // In every other mode there may be transactions without a GTID, which no position tells of.
        (Family::MySql, [Value::Bytes(mode), executed]) if mode.eq_ignore_ascii_case(b"ON") => {
            let executed = GtidPosition::parse_mysql(text(executed)?).ok()?;
            Some(Seen { asked, applied: executed.clone(), committed: Some(executed) })
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// Whether a variable is on. It is a number; later versions of MariaDB have words for it, of which all but OFF forbid writes.
fn is_on(value: &Value) -> bool {
    match value {
        Value::Int(number) => *number != 0,
        Value::UInt(number) => *number != 0,
        Value::Bytes(text) => text != b"0" && !text.eq_ignore_ascii_case(b"OFF"),
        Value::NULL | Value::Float(_) | Value::Double(_) | Value::Date(..) | Value::Time(..) => true,
    }
}

async fn look_up(address: &ServerAddress) -> Result<Vec<Endpoint>, CheckResult> {
    match address {
        ServerAddress::Unix(path) => Ok(vec![Endpoint::Unix(path.clone())]),
        ServerAddress::Tcp { host, port } => {
            let found = lookup_host((host.as_str(), *port)).await;
            let found =
                found.map_err(|error| CheckResult::Unreachable(format!("{host} cannot be looked up: {error}")))?;
            Ok(found.take(ADDRESSES_MAX).map(Endpoint::Tcp).collect())
        }
    }
}

async fn open_at(endpoint: Endpoint, target: &Target) -> Result<Connection, CheckResult> {
    let user = target.account.as_ref().map_or(STRANGER, |account| account.user.as_str());
    let password = target.account.as_ref().map(|account| account.password.clone());
    let credential = password.map_or(Credential::Empty, Credential::of_password);
    let Introduction { facts, login } = match &endpoint {
        Endpoint::Tcp(address) => {
            introduce(connect(*address, target.timeout).await?, &endpoint, user, &credential).await?
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| failure_of(&error))?;
            introduce(stream, &endpoint, user, &credential).await?
        }
    };
    let client = match (&target.account, login) {
        (Some(account), Ok(())) => Some(client(&endpoint, account).await?),
        (Some(_), Err(failure)) => return Err(failure),
        // Whoever refuses a stranger answers.
        (None, Err(failure)) if !is_refused_stranger(&failure) => return Err(failure),
        (None, Ok(()) | Err(_)) => None,
    };
    Ok(Connection { contact: Contact { endpoint, greeting: facts }, client, subject: Subject::RoleAndPosition })
}

fn is_refused_stranger(failure: &CheckResult) -> bool {
    matches!(failure, CheckResult::LoginRefused { code, .. } if Blame::of(*code) == Blame::Credentials)
}

/// Only this part may be given up when it takes too long: the server has not begun to count a handshake yet.
async fn connect(address: SocketAddr, patience: Duration) -> Result<TcpStream, CheckResult> {
    match timeout(patience, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| failure_of(&error)),
        Err(_) => Err(CheckResult::TimedOut),
    }
}

async fn client(endpoint: &Endpoint, account: &Account) -> Result<Conn, CheckResult> {
    let password = std::str::from_utf8(account.password.expose());
    let password = password.map_err(|_| CheckResult::Malformed("the monitor's password is not UTF-8".to_owned()))?;
    let options = OptsBuilder::default()
        .user(Some(account.user.as_str()))
        .pass(Some(password))
        .prefer_socket(false)
        .stmt_cache_size(0)
        .tcp_keepalive(Some(KEEPALIVE))
        // Known values, so that the library does not ask for them.
        .max_allowed_packet(Some(ANSWER_BYTES_MAX))
        .wait_timeout(Some(28_800));
    let options = match endpoint {
        Endpoint::Tcp(address) => options.ip_or_hostname(address.ip().to_string()).tcp_port(address.port()),
        Endpoint::Unix(path) => options.socket(Some(path.display().to_string())),
    };
    Conn::new(options).await.map_err(login_failure)
}

fn login_failure(error: mysql_async::Error) -> CheckResult {
    match error {
        mysql_async::Error::Server(error) => {
            CheckResult::LoginRefused { code: error.code, message: legible(error.message.as_bytes()) }
        }
        other => library_failure(other),
    }
}

fn statement_failure(error: mysql_async::Error) -> CheckResult {
    match error {
        mysql_async::Error::Server(error) => {
            CheckResult::StatementFailed { code: error.code, message: legible(error.message.as_bytes()) }
        }
        other => library_failure(other),
    }
}

fn library_failure(error: mysql_async::Error) -> CheckResult {
    match error {
        mysql_async::Error::Io(IoError::Io(error)) => failure_of(&error),
        mysql_async::Error::Driver(DriverError::ConnectionClosed) => CheckResult::Reset,
        other => CheckResult::Malformed(legible(other.to_string().as_bytes())),
    }
}

/// What an error of a socket says of the server behind it.
pub(super) fn failure_of(error: &io::Error) -> CheckResult {
    match error.kind() {
        // No socket at a UNIX path means that nobody listens there.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => CheckResult::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => CheckResult::Reset,
        io::ErrorKind::TimedOut => CheckResult::TimedOut,
        _ => CheckResult::Unreachable(error.to_string()),
    }
}

/// A server's words as they may stand in a log: one line, printable, not long.
pub(super) fn legible(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(WORDS_BYTES_MAX)]);
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The user name of a visit without an account.
const STRANGER: &str = "sqluice";

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Of a server's message in our reasons and logs.
const WORDS_BYTES_MAX: usize = 256;

/// Of an answer to a check: two positions, and some bytes for the rest. Most have less than 200.
const ANSWER_BYTES_MAX: usize = 2 * (GTID_TEXT_BYTES_MAX + 1) + 1024;

/// `ER_UNKNOWN_SYSTEM_VARIABLE`: before MariaDB 10.0.2 and MySQL 5.6.5 there were no GTIDs.
const UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

/// So that a connection whose other end has vanished is closed in the end.
const KEEPALIVE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::version::ServerVersion;
    use crate::topology::captured::mysql_9_7;

    fn question_to(text: &str, subject: Subject) -> &'static str {
        let version = ServerVersion::parse(text.as_bytes()).unwrap();
        question(&GreetingFacts { version, ..mysql_9_7() }, subject)
    }

    #[test]
    fn super_read_only_is_asked_where_it_exists() {
        assert_eq!(question_to("9.7.4-2", Subject::Role), "SELECT @@read_only, @@super_read_only");
        assert_eq!(question_to("5.7.7", Subject::Role), "SELECT @@read_only, 0");
        assert_eq!(question_to("11.8.6-MariaDB", Subject::Role), "SELECT @@read_only, 0");
    }

    #[test]
    fn no_answer_is_too_long_and_a_cut_position_is_none() {
        let cut = format!(", {})", GTID_TEXT_BYTES_MAX + 1);
        assert_eq!(question_to("11.8.6-MariaDB", Subject::RoleAndPosition).matches(&cut).count(), 2);
        assert_eq!(question_to("9.7.4-2", Subject::RoleAndPosition).matches(&cut).count(), 1);
        let long = "0-1-1,".repeat(GTID_TEXT_BYTES_MAX);
        let columns = [Value::Int(1), bytes(&long[..=GTID_TEXT_BYTES_MAX]), bytes("0-1-1")];
        assert_eq!(position_of(Family::MariaDb, &columns, Instant::now()), None);
    }

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn a_position_is_what_surely_tells_of_every_transaction() {
        let asked = Instant::now();
        let mariadb = |text: &str| GtidPosition::parse_mariadb(text.as_bytes()).unwrap();
        let check = |log_bin: &str, committed| {
            let columns = [bytes(log_bin), bytes("0-1-4"), bytes("0-1-9")];
            let seen = Seen { asked, applied: mariadb("0-1-4"), committed };
            assert_eq!(position_of(Family::MariaDb, &columns, asked), Some(seen));
        };
        check("1", Some(mariadb("0-1-9")));
        check("0", None);
        let executed = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:7";
        let seen = |mode| position_of(Family::MySql, &[bytes(mode), bytes(executed)], asked);
        let position = GtidPosition::parse_mysql(executed.as_bytes()).unwrap();
        assert_eq!(seen("ON"), Some(Seen { asked, applied: position.clone(), committed: Some(position) }));
        assert_eq!((seen("OFF"), seen("ON_PERMISSIVE"), seen("OFF_PERMISSIVE")), (None, None, None));
        assert_eq!(position_of(Family::MySql, &[], asked), None);
    }

    #[test]
    fn only_what_is_surely_off_is_off() {
        let text = |text: &str| is_on(&Value::Bytes(text.as_bytes().to_vec()));
        assert!(!text("0") && !text("OFF") && !is_on(&Value::Int(0)));
        assert!(text("1") && text("ON") && text("NO_LOCK_NO_ADMIN") && is_on(&Value::UInt(1)) && is_on(&Value::NULL));
    }

    #[test]
    fn a_socket_s_error_says_what_it_means() {
        let check = |kind: io::ErrorKind, expected| assert_eq!(failure_of(&kind.into()), expected, "{kind}");
        check(io::ErrorKind::ConnectionRefused, CheckResult::Refused);
        check(io::ErrorKind::NotFound, CheckResult::Refused);
        check(io::ErrorKind::ConnectionReset, CheckResult::Reset);
        check(io::ErrorKind::UnexpectedEof, CheckResult::Reset);
        check(io::ErrorKind::TimedOut, CheckResult::TimedOut);
        check(io::ErrorKind::HostUnreachable, CheckResult::Unreachable("host unreachable".to_owned()));
    }

    #[test]
    fn a_server_s_words_stay_on_one_line() {
        assert_eq!(legible(b"one\ntwo\x1b[31m\xff"), "one two [31m\u{fffd}");
        assert_eq!(legible(&[b'a'; 1000]).len(), WORDS_BYTES_MAX);
    }
}
