//! What an operator wants of a server, whatever the checks say of it.

use std::fmt;
use std::time::{Duration, Instant};

/// Whether an operator lets a server be used.
///
/// It belongs to the server's name in this process: it outlives reloads, changes of role, and a restart of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Service {
    /// It is used for whatever it is fit for.
    #[default]
    InUse,
    /// It is being taken out: nobody new comes, and whoever is there leaves as soon as nothing is lost with that.
    Draining {
        /// Since when.
        since: Instant,
        /// Whoever is still there then is ended.
        until: Instant,
        /// Connections to it when that began: what is left of them is the progress.
        connections: u32,
    },
    /// Nobody may be there.
    OutOfUse {
        /// Since when.
        since: Instant,
    },
}

impl Service {
    /// Nobody waits longer for a server to become free.
    pub const BUDGET_MAX: Duration = Duration::from_secs(24 * 3600);

    /// Begins to take a server out, now, with so much time for those who have these connections there.
    pub fn draining(budget: Duration, connections: u32, now: Instant) -> Service {
        Service::Draining { since: now, until: now + budget, connections }
    }

    /// Whether sessions may come to the server.
    pub fn is_in_use(self) -> bool {
        self == Service::InUse
    }

    /// When those who are still there are ended; none where nobody is there, or nobody has to go.
    pub fn ends(self) -> Option<Instant> {
        match self {
            Service::Draining { until, .. } => Some(until),
            Service::InUse | Service::OutOfUse { .. } => None,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Service::InUse => "in use",
            Service::Draining { .. } => "draining",
            Service::OutOfUse { .. } => "out of use",
        })
    }
}
