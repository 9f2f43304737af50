//! Who takes the writes of a cluster: derived from what the configuration and the servers say, never guessed.
//!
//! Rule: no certain writer, no writes. Two servers that both take writes are never both used, and neither is one of
//! them picked: which of the two holds the data that counts is for an operator to say.

use std::fmt;

use super::{Belief, Condition, Writable};
use crate::config::{Cluster, Role, RoleSetting, Topology};

/// What a server is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerRole {
    /// Not known; used for nothing.
    Unknown,
    /// The only one that takes writes.
    Primary,
    /// Takes no writes.
    Replica,
    /// Takes writes, and is not alone in that; used for nothing.
    Contested,
    /// The configuration says primary and the server says `read_only`; used for nothing.
    ReadOnlyPrimary,
}

impl ServerRole {
    /// Whether a server of this role belongs to a pool of that one.
    pub fn serves(self, role: Role) -> bool {
        match self {
            ServerRole::Primary => role == Role::Primary,
            ServerRole::Replica => role == Role::Replica,
            ServerRole::Unknown | ServerRole::Contested | ServerRole::ReadOnlyPrimary => false,
        }
    }
}

impl fmt::Display for ServerRole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            ServerRole::Unknown => "of unknown role",
            ServerRole::Primary => "primary",
            ServerRole::Replica => "replica",
            ServerRole::Contested => "contested primary",
            ServerRole::ReadOnlyPrimary => "read-only primary",
        })
    }
}

/// The role of each server of `cluster`, in its order. `beliefs` has one entry a server.
pub(super) fn roles<'a>(cluster: &Cluster, beliefs: impl Iterator<Item = &'a Belief> + Clone) -> Vec<ServerRole> {
    let mut roles: Vec<ServerRole> = cluster
        .servers
        .iter()
        .zip(beliefs.clone())
        .map(|(server, belief)| own_role(cluster.topology, server.role, belief))
        .collect();
    match cluster.topology {
        Topology::Static => {}
        Topology::Replication => contest(cluster, beliefs, &mut roles),
    }
    roles
}

/// What a server is by what is said of it alone.
fn own_role(topology: Topology, setting: RoleSetting, belief: &Belief) -> ServerRole {
    match (topology, setting, belief.writable()) {
        (_, RoleSetting::Replica, _) => ServerRole::Replica,
        (Topology::Replication, RoleSetting::Primary, Some(Writable::No)) => ServerRole::ReadOnlyPrimary,
        (_, RoleSetting::Primary, _) => ServerRole::Primary,
        // What a server that is not up said before it went away may not be so any more when it comes back.
        (_, RoleSetting::Auto, _) if belief.condition() != Condition::Up => ServerRole::Unknown,
        (_, RoleSetting::Auto, Some(Writable::Yes)) => ServerRole::Primary,
        (_, RoleSetting::Auto, Some(Writable::No)) => ServerRole::Replica,
        (_, RoleSetting::Auto, None) => ServerRole::Unknown,
    }
}

/// Takes the primary's role from those who are not alone in it.
fn contest<'a>(cluster: &Cluster, beliefs: impl Iterator<Item = &'a Belief> + Clone, roles: &mut [ServerRole]) {
    let is_configured = |index: &usize| cluster.servers[*index].role == RoleSetting::Primary;
    let usable: Vec<bool> = beliefs.clone().map(|belief| belief.condition() == Condition::Up).collect();
    let configured_exists = (0..roles.len()).any(|index| is_configured(&index));
    let writers: Vec<usize> =
        (0..roles.len()).filter(|&index| usable[index] && roles[index] == ServerRole::Primary).collect();
    if configured_exists {
        // The operator has said who writes. Whoever else takes writes is a mistake waiting to be used.
        let (named, others): (Vec<usize>, Vec<usize>) = writers.into_iter().partition(is_configured);
        others.iter().for_each(|&index| roles[index] = ServerRole::Contested);
        if named.len() > 1 {
            named.iter().for_each(|&index| roles[index] = ServerRole::Contested);
        }
    } else if writers.len() > 1 {
        writers.iter().for_each(|&index| roles[index] = ServerRole::Contested);
    } else if !beliefs.clone().all(Belief::is_checked) {
        // Somebody was not asked yet and may take writes too.
        writers.iter().for_each(|&index| roles[index] = ServerRole::Unknown);
    }
}
