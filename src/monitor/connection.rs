//! The connection that a server is asked over, and what its errors mean.

use std::net::SocketAddr;
use std::time::Instant;

use super::asking::{Asking, Extent, Told};
use super::target::Target;
use crate::protocol::auth::Credential;
use crate::reach::{Inquiry, Introduction, Ways, look_up};
use crate::topology::{Blame, CheckResult, Contact, Endpoint};

/// A server that was reached.
pub(super) struct Connection {
    contact: Contact,
    /// Absent without an account: then there is nobody to ask.
    inquiry: Option<Inquiry>,
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
        self.inquiry.is_some()
    }

    /// Asks the server about itself.
    pub(super) async fn ask(&mut self, extent: Extent, deadline: Instant) -> Result<Told, CheckResult> {
        match &mut self.inquiry {
            Some(inquiry) => self.asking.ask(inquiry, extent, deadline).await,
            None => Ok(Told::default()),
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
    let inquiry = match (&target.account, login) {
        (Some(_), Ok(entered)) => Some(Inquiry::begin(entered)),
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
    Ok(Connection { contact: Contact { endpoint, greeting: facts }, inquiry, asking })
}

fn is_refused_stranger(failure: &CheckResult) -> bool {
    matches!(failure, CheckResult::LoginRefused { code, .. } if Blame::of(*code) == Blame::Credentials)
}

/// The user name of a visit without an account.
const STRANGER: &str = "sqluice";
