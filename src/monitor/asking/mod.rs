//! What a server is asked in each check, in the words of its family and as its cluster's topology wants to know it.

mod galera;
mod role;

use mysql_async::Conn;

use crate::config::Topology;
use crate::protocol::version::ServerVersion;
use crate::topology::{CheckResult, Seen, View, Writable};
use galera::Node;
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
}

/// The questions to one server over one connection, and what it has shown that it does not understand.
#[derive(Debug)]
pub(super) enum Asking {
    /// Who takes writes, and how far a server is.
    Role(Role),
    /// The same, and how a Galera node sees its group.
    Node(Node),
}

impl Asking {
    pub(super) fn new(topology: Topology, version: ServerVersion) -> Asking {
        match topology {
            Topology::Replication | Topology::Static => Asking::Role(Role::new(version)),
            Topology::Galera => Asking::Node(Node::new(version)),
        }
    }

    /// One check.
    pub(super) async fn ask(&mut self, client: &mut Conn) -> Result<Told, CheckResult> {
        match self {
            Asking::Role(role) => role.ask(client).await,
            Asking::Node(node) => node.ask(client).await,
        }
    }
}
