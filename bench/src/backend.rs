//! The server behind the candidates.

use std::net::SocketAddr;

use crate::reply::Comparison;

/// The database that the load makes at a real server, and drops at the end.
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
    pub(crate) account: Account,
    pub(crate) comparison: Comparison,
}

impl Target {
    /// The stand-in server, which lets everybody in; the account is for the candidates that authenticate.
    pub(crate) fn stand_in(address: SocketAddr) -> Target {
        let account = Account { user: "bench".to_owned(), password: "bench-password".to_owned() };
        Target { address, account, comparison: Comparison::Bytes }
    }

    /// The same server, reached through what listens there.
    pub(crate) fn through(&self, address: SocketAddr) -> Target {
        Target { address, ..self.clone() }
    }
}
