//! The connection that a server is asked over, and what its errors mean.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::{Conn, OptsBuilder};
use tokio::time::timeout_at;

use super::asking::{Asking, Extent, Told};
use super::watch::Target;
use crate::protocol::auth::Credential;
use crate::protocol::gtid::GTID_TEXT_BYTES_MAX;
use crate::reach::{Introduction, Ways, legible, library_failure, login_failure, look_up};
use crate::topology::{Blame, CheckResult, Contact, Endpoint};

/// A server that was reached.
pub(super) struct Connection {
    contact: Contact,
    /// Absent without an account: then there is nobody to ask.
    client: Option<Conn>,
    asking: Asking,
}

/// Connects to a server: looks its name up, lets it introduce itself, and leaves a connection to ask over.
pub(super) async fn open(target: Target, ways: Ways) -> Result<Connection, CheckResult> {
    let mut failure = CheckResult::Unreachable("its name has no address".to_owned());
    for endpoint in look_up(&target.address).await? {
        match open_somewhere(endpoint, &target, &ways).await {
            Ok(connection) => return Ok(connection),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

/// Whether a check ended because the server does not let its account in, or in a broken handshake: then asking often does harm.
pub(super) fn is_refused_account(result: &CheckResult) -> bool {
    match result {
        CheckResult::LoginRefused { code, .. } => Blame::of(*code) != Blame::Full,
        CheckResult::Unbelieved(_) => true,
        _ => false,
    }
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

/// At the address that sessions use, or, while that is full, at the extra port beside it.
async fn open_somewhere(endpoint: Endpoint, target: &Target, ways: &Ways) -> Result<Connection, CheckResult> {
    let opened = open_at(endpoint.clone(), target, ways).await;
    let is_full = |code: u16| Blame::of(code) == Blame::Full;
    match (&opened, beside(&endpoint, target.extra_port)) {
        (Err(CheckResult::LoginRefused { code, .. }), Some(extra)) if is_full(*code) => {
            let connection = open_at(extra, target, ways).await?;
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

async fn open_at(endpoint: Endpoint, target: &Target, ways: &Ways) -> Result<Connection, CheckResult> {
    let way = target.way(ways, endpoint.clone());
    let user = target.account.as_ref().map_or(STRANGER, |account| account.user.as_str());
    let password = target.account.as_ref().map(|account| account.password.clone());
    let credential = password.map_or(Credential::Empty, Credential::of_password);
    let Introduction { facts, login } = way.introduce(user, &credential, target.timeout).await?;
    let client = match (&target.account, login) {
        (Some(account), Ok(entered)) => Some(client(way.lead(entered, &account.user, &account.password).await?).await?),
        (Some(_), Err(failure)) => return Err(failure),
        // Whoever refuses a stranger answers.
        (None, Err(failure)) if !is_refused_stranger(&failure) => return Err(failure),
        (None, Ok(entered)) => {
            entered.quit().await?;
            None
        }
        (None, Err(_)) => None,
    };
    let asking = Asking::new(target.topology, facts.version);
    Ok(Connection { contact: Contact { endpoint, greeting: facts }, client, asking })
}

fn is_refused_stranger(failure: &CheckResult) -> bool {
    matches!(failure, CheckResult::LoginRefused { code, .. } if Blame::of(*code) == Blame::Credentials)
}

async fn client(options: OptsBuilder) -> Result<Conn, CheckResult> {
    let options = options
        .tcp_keepalive(Some(KEEPALIVE))
        // Known values, so that the library does not ask for them.
        .max_allowed_packet(Some(ANSWER_BYTES_MAX))
        .wait_timeout(Some(28_800));
    Conn::new(options).await.map_err(login_failure)
}

pub(super) fn statement_failure(error: mysql_async::Error) -> CheckResult {
    match error {
        mysql_async::Error::Server(error) => {
            CheckResult::StatementFailed { code: error.code, message: legible(error.message.as_bytes()) }
        }
        other => library_failure(other),
    }
}

/// The user name of a visit without an account.
const STRANGER: &str = "sqluice";

/// Of an answer to a check: two positions, and some bytes for the rest. Most have less than 200.
const ANSWER_BYTES_MAX: usize = 2 * (GTID_TEXT_BYTES_MAX + 1) + 1024;

/// So that a connection whose other end has vanished is closed in the end.
const KEEPALIVE: Duration = Duration::from_secs(10);
