//! How a server sees itself in asynchronous replication: whom it follows, how well, and how far it is behind.

mod fitness;
mod gauge;
mod graph;
mod line;
mod memory;
mod past;
#[cfg(test)]
mod tests;
mod track;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::gtid::{GtidHistory, GtidPosition};
pub(super) use gauge::Gauge;
pub(super) use line::Line;
pub use past::{Past, Pasts};
pub(super) use track::Track;

/// A server's own view of its replication at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// When it was asked.
    pub asked: Instant,
    /// Who it is.
    pub identity: Identity,
    /// All transactions that it has; absent where it cannot tell.
    pub history: Option<Arc<GtidHistory>>,
    /// Whom it follows.
    pub sources: Sources,
}

/// Who a server is to the servers that replicate from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@server_uuid`; absent at MariaDB.
    pub uuid: Option<Box<str>>,
}

/// What a server told of those that it replicates from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// All of them; none: it replicates from nobody.
    Told(Vec<Channel>),
    /// The monitor's account may not ask, or the server does not understand the question: its words.
    Denied(Arc<str>),
    /// It answered everything else and not this: the statement waits inside the server, as during a STOP REPLICA.
    Silent,
}

/// One source of a server and how replication from it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The host as the replica was told it.
    pub host: String,
    /// The port of the source.
    pub port: u16,
    /// Who the source said it is; absent until it was reached once.
    pub source: Option<Identity>,
    /// The thread that receives.
    pub receiving: Receiving,
    /// Whether the thread that applies runs.
    pub applying: bool,
    /// `Seconds_Behind_Source`; absent where that is NULL.
    pub behind: Option<Duration>,
    /// How far it is meant to stay behind.
    pub delay: Duration,
    /// All that was received, as far as that is known by GTIDs.
    pub received: Option<GtidPosition>,
    /// What stopped a thread, in the server's words; empty when nothing did.
    pub error: String,
    /// How long the source may be silent before it sends a sign of life, by which a promotion knows one that hangs; zero where it
    /// sends none. Absent where that is not told: only MariaDB does.
    pub heartbeat: Option<Duration>,
}

/// A heartbeat that comes more seldom is not waited for by a promotion: soon after, the replica gives the connection up by itself.
pub(crate) const HEARTBEAT_MAX: Duration = Duration::from_secs(15);

/// The thread that receives from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiving {
    /// The source sends, or would if there was anything.
    Connected,
    /// It tries to reach the source.
    Connecting,
    /// It was stopped, or has given up.
    Stopped,
}

impl View {
    /// Its channels; none where they were not told.
    pub fn channels(&self) -> &[Channel] {
        match &self.sources {
            Sources::Told(channels) => channels,
            Sources::Denied(_) | Sources::Silent => &[],
        }
    }

    /// Why it does not show them.
    pub fn denial(&self) -> Option<&str> {
        match &self.sources {
            Sources::Denied(words) => Some(words),
            Sources::Told(_) | Sources::Silent => None,
        }
    }
}

impl Channel {
    /// Whether anything may still come over it: a channel whose two threads were both stopped follows nobody.
    pub fn is_live(&self) -> bool {
        self.applying || self.receiving != Receiving::Stopped
    }

    /// Whether a source that hangs would long look like one that has nothing to send.
    pub(super) fn has_slow_pulse(&self) -> bool {
        self.heartbeat.is_some_and(|period| period.is_zero() || period > HEARTBEAT_MAX)
    }

    /// How far behind the source it says it is, beyond what it is meant to be; absent where it cannot tell.
    pub fn lag(&self) -> Option<Duration> {
        self.behind.map(|behind| behind.saturating_sub(self.delay))
    }
}
