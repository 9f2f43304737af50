//! What the servers of a cluster say of their replication when a promotion is planned. Values only: `survey` asks.

use std::time::Duration;

use crate::protocol::gtid::{GtidHistory, GtidPosition};
use crate::protocol::version::Family;

/// One configured server and what came of asking it.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// Of servers that are equally far, the highest is promoted; 0: never.
    pub(super) priority: u32,
    pub(super) sighting: Sighting,
}

/// What came of asking a server.
#[derive(Debug, Clone)]
pub(super) enum Sighting {
    /// It told.
    Told(Box<State>),
    /// Nobody listens there: it surely does nothing.
    Dead,
    /// No answer, or one that tells nothing: it may do anything.
    Silent(String),
}

/// What a server says of itself.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) family: Family,
    pub(super) server_id: u32,
    pub(super) read_only: bool,
    /// Whether what it applies is in its own binary log, so that others can follow it.
    pub(super) keeps_history: bool,
    /// All that it has.
    pub(super) history: GtidPosition,
    /// The same, with who wrote what.
    pub(super) transactions: GtidHistory,
    pub(super) link: Link,
}

/// Whom a server follows.
#[derive(Debug, Clone)]
pub(super) enum Link {
    /// Nobody.
    None,
    One(Source),
    /// More than one: not a set that can be turned round.
    Several,
}

/// The server that a replica follows.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) server_id: u32,
    /// Whether the replica is connected to it and receives.
    pub(super) receives: bool,
    /// Number of the error that keeps it from that; 0: none.
    pub(super) link_error: u16,
    /// What changes with everything that comes from it.
    pub(super) pulse: String,
    /// After how long without anything else a heartbeat comes; absent where that is not told.
    pub(super) heartbeat: Option<Duration>,
    pub(super) applier: Applier,
    pub(super) uses_gtid: bool,
    /// All that it has, and has received to apply later.
    pub(super) received: GtidPosition,
    /// How long it waits on purpose before it applies, in seconds.
    pub(super) delay: u32,
}

impl Source {
    /// Whether the server has answered since the replica called it last: also a refusal, as of one connection too many, is
    /// an answer. Errors of 2000 to 2999 are of the replica's own client library.
    pub(super) fn answers(&self) -> bool {
        self.receives || !(self.link_error == 0 || (2000..3000).contains(&self.link_error))
    }
}

/// The thread that applies what was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Applier {
    Runs,
    /// With its last error, which is empty if somebody stopped it.
    Stopped(String),
}

impl Member {
    /// What it told, if it did.
    pub(super) fn state(&self) -> Option<&State> {
        match &self.sighting {
            Sighting::Told(state) => Some(state),
            Sighting::Dead | Sighting::Silent(_) => None,
        }
    }

    /// Whom it follows, if that is one server.
    pub(super) fn source(&self) -> Option<&Source> {
        match &self.state()?.link {
            Link::One(source) => Some(source),
            Link::None | Link::Several => None,
        }
    }
}
