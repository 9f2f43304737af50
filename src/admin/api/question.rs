//! What an operator can ask of the process.

use tokio::sync::oneshot;

use crate::admin::drain::Upkeep;
use crate::admin::metrics::Metrics;
use crate::admin::shapes::{DrainStatus, Explanation, InstantFailoverStatus, Phase, Reloaded, SessionStatus, Status};
use crate::config::RedirectMode;
use crate::failover::{Mode, NotPromoted};
use crate::protocol::redirect::Target;
use crate::topology::Existing;

/// Why a reload changed nothing, in lines for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadRefused {
    /// The file is not a configuration: one `file:line:column: …` a line.
    BadConfig(Vec<String>),
    /// The file is good, and the system or the state of the process does not allow it.
    Impossible(Vec<String>),
}

/// What an operator asks. Each carries the place for its one answer.
#[derive(Debug)]
pub enum Question {
    /// The whole process at one moment.
    Status(oneshot::Sender<Status>),
    /// One row a session.
    Sessions {
        /// No more than so many.
        limit: usize,
        /// The place for the answer.
        answer: oneshot::Sender<Vec<SessionStatus>>,
    },
    /// Where this user's statement goes and why; `Err` says why there is no explanation.
    Explain {
        /// The user's name.
        user: String,
        /// The statement, where one was given.
        sql: Option<String>,
        /// The place for the answer.
        answer: oneshot::Sender<Result<Explanation, String>>,
    },
    /// Read the configuration again; on `Err` nothing changed.
    Reload(oneshot::Sender<Result<Reloaded, ReloadRefused>>),
    /// Make this server the primary of its cluster.
    Switchover {
        /// `NAME` or `CLUSTER/NAME`.
        server: String,
        /// Whether it is done.
        mode: Mode,
        /// The place for the answer: what was done, one line each.
        answer: oneshot::Sender<Result<Vec<String>, NotPromoted>>,
    },
    /// Take a server out of use or into it, or only look who is there.
    Upkeep {
        /// `NAME` or `CLUSTER/NAME`.
        server: String,
        /// What is to be done with it.
        what: Upkeep,
        /// The place for the answer; `Err` says why there is no such server.
        answer: oneshot::Sender<Result<DrainStatus, String>>,
    },
    /// Send clients to another balancer, or not any more.
    InstantFailover {
        /// Who is sent.
        mode: RedirectMode,
        /// Where to, if not where the configuration or the last command says.
        target: Option<Target>,
        /// What becomes of sessions.
        existing: Existing,
        /// The place for the answer; `Err` says why nothing changed.
        answer: oneshot::Sender<Result<InstantFailoverStatus, String>>,
    },
    /// Alive, and in which phase.
    Health(oneshot::Sender<Phase>),
    /// All that is counted.
    Metrics(oneshot::Sender<Metrics>),
}
