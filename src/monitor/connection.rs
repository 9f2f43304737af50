//! The connection that a server is asked over, and what its errors mean.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::{Conn, DriverError, IoError, OptsBuilder};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{timeout, timeout_at};

use super::asking::{Asking, Extent, Told};
use super::introduction::{Introduction, introduce};
use super::watch::{Account, Target};
use crate::config::ServerAddress;
use crate::protocol::auth::Credential;
use crate::protocol::gtid::GTID_TEXT_BYTES_MAX;
use crate::topology::{Blame, CheckResult, Contact, Endpoint};

/// A server that was reached.
pub(super) struct Connection {
    contact: Contact,
    /// Absent without an account: then there is nobody to ask.
    client: Option<Conn>,
    asking: Asking,
}

/// Connects to a server: looks its name up, lets it introduce itself, and leaves a connection to ask over.
pub(super) async fn open(target: Target) -> Result<Connection, CheckResult> {
    let mut failure = CheckResult::Unreachable("its name has no address".to_owned());
    for endpoint in look_up(&target.address).await? {
        match open_somewhere(endpoint, &target).await {
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

    /// Asks the server about itself.
    pub(super) async fn ask(&mut self, extent: Extent, deadline: Instant) -> Result<Told, CheckResult> {
        let Some(client) = &mut self.client else { return Ok(Told::default()) };
        match timeout_at(deadline.into(), self.asking.ask(client, extent, deadline)).await {
            Ok(told) => told,
            Err(_) => Err(CheckResult::TimedOut),
        }
    }

    /// Whether a new connection may be told more than this one.
    pub(super) fn is_outdated(&self) -> bool {
        self.asking.is_outdated()
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

/// At the address that sessions use, or, while that is full, at the extra port beside it.
async fn open_somewhere(endpoint: Endpoint, target: &Target) -> Result<Connection, CheckResult> {
    let opened = open_at(endpoint.clone(), target).await;
    let is_full = |code: u16| Blame::of(code) == Blame::Full;
    match (&opened, beside(&endpoint, target.extra_port)) {
        (Err(CheckResult::LoginRefused { code, .. }), Some(extra)) if is_full(*code) => {
            let connection = open_at(extra, target).await?;
            // It is not for sessions.
            Ok(Connection { contact: Contact { endpoint, ..connection.contact }, ..connection })
        }
        _ => opened,
    }
}

/// Another port of the same host.
fn beside(endpoint: &Endpoint, port: Option<u16>) -> Option<Endpoint> {
    match endpoint {
        Endpoint::Tcp(address) => port.map(|port| Endpoint::Tcp(SocketAddr::new(address.ip(), port))),
        Endpoint::Unix(_) => None,
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
    let asking = Asking::new(target.topology, facts.version);
    Ok(Connection { contact: Contact { endpoint, greeting: facts }, client, asking })
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

pub(super) fn statement_failure(error: mysql_async::Error) -> CheckResult {
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

/// So that a connection whose other end has vanished is closed in the end.
const KEEPALIVE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
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
