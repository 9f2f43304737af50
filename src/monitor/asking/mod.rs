//! What a server is asked in each check, in the words of its family and as its cluster's topology wants to know it.

mod galera;
mod group;
mod replication;
mod role;

use std::time::Instant;

use mysql_async::Conn;

use crate::config::Topology;
use crate::protocol::version::ServerVersion;
use crate::topology::{CheckResult, Seen, View, Writable};
use galera::Node;
use group::Group;
use replication::Replication;
use role::Role;

/// What a server says of itself.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// `None` where there is nobody to ask.
    pub(super) writable: Option<Writable>,
    /// How it sees the others of its cluster.
    pub(super) view: View,
    /// `None` where it cannot tell how far it is.
    pub(super) seen: Option<Seen>,
    /// Whether a part of the answer did not come in time: then its connection is of no more use.
    pub(super) is_cut_short: bool,
}

/// How much a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Everything,
    /// Without what it lately did not answer.
    Essentials,
}

/// The questions to one server over one connection, and what it has shown that it does not understand.
#[derive(Debug)]
pub(super) enum Asking {
    /// Roles are configured.
    Role(Role),
    /// Roles follow from who replicates from whom.
    Replication(Replication),
    /// Roles follow from how the nodes see their group.
    Node(Node),
    /// The members of a group say who is what.
    Group(Group),
}

impl Asking {
    pub(super) fn new(topology: Topology, version: ServerVersion) -> Asking {
        match topology {
            Topology::Replication => Asking::Replication(Replication::new(version)),
            Topology::GroupReplication => Asking::Group(Group::new(version)),
            Topology::Galera => Asking::Node(Node::new(version)),
            Topology::Static => Asking::Role(Role::new(version)),
        }
    }

    /// One check. Whoever has not told all at the deadline has told what it has told.
    pub(super) async fn ask(
        &mut self,
        client: &mut Conn,
        extent: Extent,
        deadline: Instant,
    ) -> Result<Told, CheckResult> {
        match self {
            Asking::Role(role) => role.ask(client).await,
            Asking::Node(node) => node.ask(client).await,
            Asking::Replication(replication) => replication.ask(client, extent, deadline).await,
            Asking::Group(group) => group.ask(client).await,
        }
    }

    /// Whether a new connection may be told more than this one.
    pub(super) fn is_outdated(&self) -> bool {
        match self {
            Asking::Role(_) | Asking::Node(_) | Asking::Group(_) => false,
            Asking::Replication(replication) => replication.is_outdated(),
        }
    }
}
