//! Where load and candidates are pointed at.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::certificate::remembering;
use crate::reply::Comparison;

/// The database with the tables, at a real server. Made at the start, dropped at the end.
pub(crate) const SCHEMA: &str = "sqluice_bench";

/// Whom the load logs in as.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Where requests go, and what is expected of it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The server's own, whatever stands before it.
    pub(crate) primary: SocketAddr,
    /// Where the same data is read, if it is a cluster.
    pub(crate) replica: Option<SocketAddr>,
    pub(crate) account: Account,
    pub(crate) comparison: Comparison,
    pub(crate) failovers: Failovers,
    /// Nothing where it is asked in clear.
    pub(crate) encryption: Option<Encryption>,
}

/// TLS towards a target.
#[derive(Clone, Debug)]
pub(crate) struct Encryption {
    pub(crate) begin: Begin,
    pub(crate) config: Arc<ClientConfig>,
}

/// Where TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// After the server's greeting, as the protocol has it.
    AfterGreeting,
    /// With the first byte, as programs have it that do not know the protocol.
    AtOnce,
}

/// What the load does when it is told, in answer to a login, to go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failovers {
    /// It goes there.
    Follow,
    /// It fails.
    Refuse,
}

impl Target {
    /// The stand-in server, which lets everybody in; the account is for the candidates that authenticate.
    pub(crate) fn stand_in(address: SocketAddr) -> Target {
        let account = Account { user: "bench".to_owned(), password: "bench-password".to_owned() };
        let (comparison, failovers) = (Comparison::Bytes, Failovers::Follow);
        Target { address, primary: address, replica: None, account, comparison, failovers, encryption: None }
    }

    /// The same server, reached through what listens there.
    pub(crate) fn through(&self, address: SocketAddr) -> Target {
        Target { address, ..self.clone() }
    }

    /// The same, for connections that go on with their last TLS session.
    pub(crate) fn remembering(&self) -> Target {
        let remember = |encryption: &Encryption| Encryption { config: remembering(&encryption.config), ..*encryption };
        Target { encryption: self.encryption.as_ref().map(remember), ..self.clone() }
    }
}
