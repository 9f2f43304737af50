//! What is heard of a server: the results of checks, and the failures that workers met.

use std::fmt;
use std::sync::Arc;

use super::{Endpoint, GreetingFacts, ServerId, galera, group, replication};

/// What one check of a server found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// It answered.
    Answered(Answer),
    /// Nobody listens at its address.
    Refused,
    /// The connection broke.
    Reset,
    /// No answer within `check_timeout`.
    TimedOut,
    /// Its name cannot be looked up, or there is no way to its network.
    Unreachable(String),
    /// It refused our login.
    LoginRefused {
        /// The server's error code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// It let us in and refused to answer.
    StatementFailed {
        /// The server's error code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// TLS with it failed: one of the two was not believed, or does not have it.
    Unbelieved(String),
    /// It said something that is not the protocol.
    Malformed(String),
}

impl fmt::Display for CheckResult {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckResult::Answered(_) => out.write_str("answered"),
            CheckResult::Refused => out.write_str("connection refused"),
            CheckResult::Reset => out.write_str("connection broken"),
            CheckResult::TimedOut => out.write_str("no answer in time"),
            CheckResult::Unreachable(why) => out.write_str(why),
            CheckResult::LoginRefused { code, message } => write!(out, "login refused: ERROR {code}: {message}"),
            CheckResult::StatementFailed { code, message } => write!(out, "check refused: ERROR {code}: {message}"),
            CheckResult::Unbelieved(why) => write!(out, "TLS failed: {why}"),
            CheckResult::Malformed(why) => write!(out, "not understood: {why}"),
        }
    }
}

/// A server's answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it takes writes; absent where the cluster has no monitor account to ask with.
    pub writable: Option<Writable>,
    /// How it sees the servers it belongs to.
    pub view: View,
    /// What a new connection to it told; absent when an old one was asked.
    pub contact: Option<Contact>,
}

/// How a server sees itself among the others of its cluster; what it is asked for depends on the cluster's topology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum View {
    /// It was not asked, or its cluster's topology has nothing to ask for.
    #[default]
    Unasked,
    /// A node of a Galera cluster.
    Galera(Box<galera::View>),
    /// Whom it replicates from.
    Replication(replication::View),
    /// The group that it is a member of.
    Group(group::View),
}

/// Whether a server says that it takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writable {
    /// Neither `read_only` nor `super_read_only`.
    Yes,
    /// One of them is on.
    No,
}

/// What is learnt with each new connection to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Where the name led to.
    pub endpoint: Endpoint,
    /// How the server introduced itself.
    pub greeting: Arc<GreetingFacts>,
}

/// A worker's report of a server that failed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Which server.
    pub server: ServerId,
    /// What happened.
    pub failure: Failure,
}

/// How a server failed a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens at its address.
    Refused,
    /// A connection broke.
    Reset,
    /// No answer in time.
    TimedOut,
    /// It refused a session's login.
    LoginRefused {
        /// The server's error code.
        code: u16,
    },
    /// It said something that is not the protocol.
    Malformed,
    /// It refused a statement in a way that says something of its role.
    StatementRefused {
        /// The server's error code.
        code: u16,
    },
    /// It sends its clients elsewhere.
    Leaving,
    /// It did not fail: sessions wait for a server, and it may be the next one that takes them.
    Awaited,
    /// It did not fail: it has become the primary, and answered a client's statement for the first time since.
    Answered,
}
