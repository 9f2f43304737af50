//! What operators have ordered, in a form that outlives the process: servers taken out of use, clients sent elsewhere.
//!
//! A file of it names servers as the configuration does and has times of the wall clock, as nothing else means the same to
//! the next process. What the configuration of that one does not have any more is dropped, and said.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Existing, Redirect, Service};
use crate::config::{InstantFailover, RedirectMode, redirect_target};

/// Orders that hold until somebody takes them back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// By the names of cluster and server: who is taken out of use.
    #[serde(default)]
    pub servers: BTreeMap<String, BTreeMap<String, Withdrawal>>,
    /// The last `sqluice failover`, while it is obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instant_failover: Option<Sending>,
}

/// A server that is taken out of use, in seconds after 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// When that was ordered.
    pub since: u64,
    /// Whoever is still there then is ended; absent: nobody may be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Clients that are sent elsewhere, or let in, against what the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// What was ordered.
    pub order: Whereto,
    /// What becomes of sessions that are there.
    pub existing: Existing,
    /// What the file said at that time: another file is a later word, and obeyed.
    pub over: Whereto,
}

/// Who is sent, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereto {
    /// Who.
    pub mode: RedirectMode,
    /// `host:port`.
    pub target: Option<String>,
}

/// One moment, by the clock that nobody sets and by the one that outlives a process.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Of this process.
    pub instant: Instant,
    /// Since 1970.
    pub wall: Duration,
}

/// What became of one order of the process before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recalled {
    /// The server, `CLUSTER/NAME`, is what it was ordered to be.
    Server(String, Service),
    /// That server is not configured any more.
    UnknownServer(String),
    /// Clients are treated as was ordered.
    InstantFailover(RedirectMode),
    /// The file says something else of instant failover than it did then.
    Overruled,
}

impl Withdrawal {
    /// None for a server in use.
    pub(super) fn of(service: Service, now: Moment) -> Option<Withdrawal> {
        match service {
            Service::InUse => None,
            Service::Draining { since, until, .. } => {
                Some(Withdrawal { since: now.to_wall(since), until: Some(now.to_wall(until)) })
            }
            Service::OutOfUse { since } => Some(Withdrawal { since: now.to_wall(since), until: None }),
        }
    }

    /// What that is now. Nobody is at a server when a process starts, so nobody is counted.
    pub(super) fn service(self, now: Moment) -> Service {
        let since = now.to_instant(self.since);
        match self.until.map(|until| now.to_instant(until)) {
            Some(until) if until > now.instant => Service::Draining { since, until, connections: 0 },
            Some(_) | None => Service::OutOfUse { since },
        }
    }
}

impl Sending {
    /// None while the file is obeyed.
    pub(super) fn of(redirect: &Redirect, file: &InstantFailover) -> Option<Sending> {
        redirect.is_commanded().then(|| Sending {
            order: Whereto::of(&redirect.settings),
            existing: redirect.existing,
            over: Whereto::of(file),
        })
    }

    /// The same order again; none where the file is another one, or the order can no longer be obeyed.
    pub(super) fn again(&self, file: &InstantFailover) -> Option<Redirect> {
        if self.over != Whereto::of(file) {
            return None;
        }
        let target = self.order.target.as_deref().map(redirect_target).transpose().ok()?;
        Some(Redirect::commanded(file.commanded(self.order.mode, target)?, self.existing))
    }
}

impl Whereto {
    fn of(settings: &InstantFailover) -> Whereto {
        Whereto { mode: settings.mode, target: settings.target.as_ref().map(ToString::to_string) }
    }
}

impl Moment {
    fn to_wall(self, at: Instant) -> u64 {
        let ahead = at.saturating_duration_since(self.instant);
        (self.wall + ahead).saturating_sub(self.instant.saturating_duration_since(at)).as_secs()
    }

    /// What was before the machine's start counts as now. The wall clock may have been set meanwhile: nothing is waited for
    /// longer than an operator can ask for.
    fn to_instant(self, wall: u64) -> Instant {
        let wall = Duration::from_secs(wall);
        let past = self.instant.checked_sub(self.wall.saturating_sub(wall)).unwrap_or(self.instant);
        past + wall.saturating_sub(self.wall).min(Service::BUDGET_MAX)
    }
}

impl fmt::Display for Recalled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recalled::Server(name, service) => write!(
                out,
                "server {name} is {service}, as an operator said before the start; `sqluice enable {name}` takes it back"
            ),
            Recalled::UnknownServer(name) => {
                write!(
                    out,
                    "server {name} was taken out of use before the start, and is not configured any more: forgotten"
                )
            }
            Recalled::InstantFailover(mode) => {
                write!(out, "instant failover: {mode}, as `sqluice failover` said before the start")
            }
            Recalled::Overruled => write!(
                out,
                "instant failover: as the file says, which has changed since `sqluice failover` spoke before the start"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
