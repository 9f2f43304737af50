//! The servers, what is believed of each, and the routing table made of it.
//!
//! What the servers were heard to say goes in ([`Beliefs::check`], [`Beliefs::report`]); one immutable
//! [`RoutingTable`] for all workers comes out. Nothing here asks a server or reads a clock: `monitor` does.
//!
//! Three things outlive a table and are shared by all of them: the [`ServerLoad`] and the [`UserLoad`] counters, and the
//! [`Progress`] of each server.

mod belief;
mod beliefs;
mod cluster;
pub mod galera;
mod greeting;
pub mod group;
mod health;
mod heard;
mod known;
mod load;
mod offer;
mod orders;
mod progress;
mod publication;
mod redirect;
mod registry;
pub mod replication;
mod service;
mod standing;
mod succession;
mod table;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code, reason = "the fuzz target needs a part of it"))]
pub(crate) mod testing;
mod views;
mod writer;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use belief::{Belief, Blame, FollowUp, Thresholds};
pub use beliefs::Beliefs;
pub use cluster::{ClusterEntry, Situation};
pub use greeting::GreetingFacts;
#[cfg(test)]
pub(crate) use greeting::captured;
pub use health::{Condition, Fitness, Health};
pub use heard::{Answer, CheckResult, Contact, Failure, Report, View, Writable};
pub use load::{Place, Resting, Seat, ServerLoad, UserLoad, Waiter};
pub use offer::Offer;
pub use orders::{Moment, Orders, Recalled};
pub use progress::{Progress, Seen};
pub use publication::Publication;
pub use redirect::{Existing, Origin, Redirect};
pub use registry::Registry;
pub use service::Service;
pub use succession::{Phases, Succession, Successions};
pub use table::{Change, PoolEntry, RoutingTable, ServerEntry};
pub use views::Views;
pub use writer::ServerRole;

/// A server, for as long as the process lives: the same (cluster, server) name has the same id in every table.
///
/// Never used again for another name, so an id that a worker kept over a reload cannot point at a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u32);

impl ServerId {
    /// Configured servers count from 0, those outside of the configuration from here.
    const OUTSIDE: u32 = 1 << 31;

    /// The number of the `count`-th server outside of the configuration; none if that many are too many.
    pub fn outside(count: u32) -> Option<ServerId> {
        (count < ServerId::OUTSIDE).then(|| ServerId(ServerId::OUTSIDE + count))
    }

    /// Whether the server was never configured: no table has it.
    pub fn is_outside(self) -> bool {
        self.0 >= ServerId::OUTSIDE
    }
}

/// A place in [`RoutingTable::servers`]; means nothing in another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerIndex(pub usize);

/// A place in the users of a table's configuration; means nothing in another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserIndex(pub usize);

/// Where to connect to: a name has been looked up already.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(out, "{address}"),
            Endpoint::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}
