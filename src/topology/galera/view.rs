//! What one node of a Galera cluster says of itself and of its group.

use std::time::Duration;

use crate::topology::Writable;

/// A node's answer, as its `wsrep_` status has it (MariaDB 10.11, Galera 26.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// `wsrep_cluster_status`.
    pub status: Status,
    /// `wsrep_connected`: it is attached to a group.
    pub connection: Connection,
    /// `wsrep_ready`: it runs statements. OFF is error 1047 for whatever reads a table.
    pub readiness: Readiness,
    /// `wsrep_local_state`.
    pub state: LocalState,
    /// The view of the group that it has installed; of a node outside the primary component without a number.
    pub group: Group,
    /// `@@wsrep_desync`: an operator has taken it out of step. As a donor it is out of step without this.
    pub desync: Desync,
    /// `@@wsrep_reject_queries`, and `@@pxc_maint_mode` where there is one. No status variable shows them.
    pub queries: Queries,
    /// `@@read_only`.
    pub writable: Writable,
    /// `wsrep_last_committed`: how far it is. Absent while it has no position.
    pub committed: Option<u64>,
    /// `wsrep_replicated`: transactions that clients have committed here since it started, those of other nodes not counted.
    pub replicated: u64,
    /// `Uptime`: since its start, in whole seconds.
    pub uptime: Duration,
}

/// Whether a node belongs to the part of the group that may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Primary,
    /// It has lost the majority of its group.
    NonPrimary,
    /// It belongs to no group: it is being stopped, or does not run Galera at all.
    Disconnected,
}

/// Whether a node is attached to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It is.
    Open,
    /// It is not.
    Closed,
}

/// Whether a node runs statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It refuses all that reads a table.
    NotReady,
}

/// How far a node is in step with its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalState {
    /// Not in a group, or in one without a majority.
    Initialized,
    /// Receives what it lacks.
    Joining,
    /// Gives a node what that lacks, or was taken out of step by hand: the group does not wait for it.
    Donor,
    /// Has received what it lacked, and applies what came meanwhile.
    Joined,
    /// In step.
    Synced,
    /// Found that its data are not those of the group, or says something that no version seen here says.
    Broken,
}

/// A view of the group. Members in touch with each other have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    /// `wsrep_cluster_state_uuid`: whose history it is.
    pub history: Box<str>,
    /// `wsrep_cluster_conf_id`: grows with each member that comes or goes, and starts anew when the whole group does.
    /// Absent outside the primary component.
    pub number: Option<u64>,
    /// `wsrep_cluster_size`: its members, arbitrators too.
    pub size: u32,
    /// `wsrep_incoming_addresses`, in order: its members by name, where each has told its own. Two halves that were both made
    /// to go on have the same history, number and size. Empty where not all of them are listed.
    pub members: Vec<Box<str>>,
}

/// Whether an operator has taken a node out of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desync {
    /// No.
    Off,
    /// The group does not wait for it; it may be behind.
    ByHand,
}

/// Whether an operator lets a node run statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// Yes.
    Accepted,
    /// It answers 1047 to all of them.
    Rejected,
    /// Percona XtraDB Cluster: it still runs them, and wants no new ones, since it is about to be shut down or worked on.
    Unwanted,
}

impl View {
    /// The view of the group that goes on, if this node says that it is in it. A node that still receives its data shows
    /// the number that the group had when it was last part of it.
    pub(super) fn primary_group(&self) -> Option<&Group> {
        let counts = self.status == Status::Primary
            && self.connection == Connection::Open
            && self.state != LocalState::Joining
            && self.group.number.is_some();
        counts.then_some(&self.group)
    }

    /// Whether it is in a group that has lost its majority.
    pub(super) fn lacks_majority(&self) -> bool {
        self.status == Status::NonPrimary && self.state != LocalState::Joining && self.connection == Connection::Open
    }

    /// Whether it gives another node its data. Out of step by hand is the same state with a variable set.
    pub(super) fn is_donor(&self) -> bool {
        self.state == LocalState::Donor && self.desync == Desync::Off && self.primary_group().is_some()
    }
}
