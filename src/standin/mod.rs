//! A small MySQL server for the demo and the tests: real logins, a few statements, and faults on request.
//!
//! It keeps what the field's contract needs (handshake, packets, status flags, MySQL's own errors) and nothing of
//! a database: rows live in a [`Store`] that the stand-ins of one cluster share, so a write to the primary is on
//! the replicas at once. Each stand-in runs on a thread of its own, so a test may block on its handle.
//!
//! ```
//! use sqluice::standin::{Account, Fault, Options, StandIn};
//!
//! let primary = StandIn::start(Options::maria_db(1, vec![Account::native("app", "secret")])).unwrap();
//! let replica = StandIn::start(Options {
//!     server_id: 2,
//!     read_only: true,
//!     ..primary.options().clone()
//! })
//! .unwrap();
//! assert_ne!(primary.address(), replica.address());
//! primary.arm("INSERT INTO visits", Fault::CloseAfterCommand);
//! primary.fail(); // like kill -9: the listener and all sessions are gone
//! primary.recover(); // on the same port
//! ```

mod answer;
mod evaluate;
mod execute;
mod fault;
mod host;
mod lexer;
mod login;
mod node;
mod parser;
mod prepared;
mod refusal;
mod reply;
mod server;
mod session;
mod statement;
mod store;
#[cfg(test)]
mod tests;
mod variables;
mod wire;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

pub use fault::Fault;
pub use host::StandIn;
pub use store::Store;

use crate::protocol::auth::Plugin;
use crate::protocol::version::Family;

/// Who may log in, from anywhere.
#[derive(Clone)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// The user's password; empty for none.
    pub password: String,
    /// How the password is proved. A client that names another plugin is told to switch.
    pub plugin: Plugin,
}

impl Account {
    /// An account with mysql_native_password.
    pub fn native(user: &str, password: &str) -> Account {
        Account { user: user.into(), password: password.into(), plugin: Plugin::NativePassword }
    }

    /// An account with caching_sha2_password.
    pub fn caching_sha2(user: &str, password: &str) -> Account {
        Account { user: user.into(), password: password.into(), plugin: Plugin::CachingSha2Password }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Account")
            .field("user", &self.user)
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}

/// What a stand-in is from its start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@hostname`.
    pub hostname: String,
    /// Whose server it passes for: its capabilities, its default plugin, its words. MariaDB has no `super_read_only`.
    pub family: Family,
    /// `@@version`, without the `5.5.5-` that MariaDB 10 puts before it in its greeting.
    pub version: String,
    /// Who may log in.
    pub accounts: Vec<Account>,
    /// Whether it starts as a replica: `@@read_only` is 1, and writes are refused with 1290.
    pub read_only: bool,
    /// Sessions at a time; the next one is refused with 1040.
    pub max_connections: u32,
    /// The rows: give the servers of one cluster the same.
    pub store: Store,
}

impl Options {
    /// A writable MariaDB on a free port of 127.0.0.1, with a store of its own.
    pub fn maria_db(server_id: u32, accounts: Vec<Account>) -> Options {
        Options {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            server_id,
            hostname: format!("standin{server_id}"),
            family: Family::MariaDb,
            version: "10.11.0-MariaDB-standin".into(),
            accounts,
            read_only: false,
            max_connections: 1000,
            store: Store::new(),
        }
    }

    /// A writable MySQL on a free port of 127.0.0.1, with a store of its own.
    pub fn mysql(server_id: u32, accounts: Vec<Account>) -> Options {
        let options = Options::maria_db(server_id, accounts);
        Options { family: Family::MySql, version: "8.4.0-standin".into(), ..options }
    }
}
