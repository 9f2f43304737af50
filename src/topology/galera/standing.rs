//! What a node may be used for, by what it says and what the others say.

use std::fmt;

use super::view::{Connection, Desync, LocalState, Queries, Readiness, Status, View};

/// What speaks for a node or against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In step with the majority.
    Synced,
    /// Gives another node its data: may be behind, and while it copies files its writes wait.
    Donor,
    /// Out of step because an operator wanted it: may be behind.
    Desynced,
    /// Behind a state transfer it gave, and catching up; runs statements.
    CatchingUp,
    /// Receives its data, or applies what came meanwhile.
    Joining,
    /// Its view of the group is not that of the majority: it hangs, or is cut off and does not know it yet.
    OtherView,
    /// It belongs to one of two halves that each take writes without the other.
    Rival,
    /// An operator lets it answer no statement.
    Rejecting,
    /// It asks to be left alone: no new work, while what is under way may end.
    Leaving,
    /// Its group has lost the majority.
    NonPrimary,
    /// It belongs to no group.
    Disconnected,
    /// It refuses statements for another reason.
    NotReady,
}

/// Whether a node's view of the group is the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accord {
    /// It is, or it was asked before the newest view was known and will be asked again.
    Same,
    /// It is not.
    Other,
    /// It is one of two that both may go on, and it is not known which one is to.
    Rival,
}

impl Standing {
    /// The first thing that speaks against a node counts. Its own words come before those of others.
    pub(super) fn of(view: &View, accord: Accord) -> Standing {
        if view.status == Status::Disconnected || view.connection == Connection::Closed {
            return Standing::Disconnected;
        }
        match (view.status, view.state, view.readiness) {
            (_, LocalState::Joining, _) | (_, LocalState::Joined, Readiness::NotReady) => return Standing::Joining,
            (Status::NonPrimary, _, _) => return Standing::NonPrimary,
            (_, _, Readiness::NotReady) | (_, LocalState::Initialized | LocalState::Broken, _) => {
                return Standing::NotReady;
            }
            (_, LocalState::Donor | LocalState::Joined | LocalState::Synced, Readiness::Ready) => {}
        }
        match (view.queries, accord, view.desync, view.state) {
            (Queries::Rejected, ..) => Standing::Rejecting,
            (Queries::Unwanted, ..) => Standing::Leaving,
            (_, Accord::Other, ..) => Standing::OtherView,
            (_, Accord::Rival, ..) => Standing::Rival,
            (_, _, Desync::ByHand, _) => Standing::Desynced,
            (_, _, Desync::Off, LocalState::Donor) => Standing::Donor,
            (_, _, Desync::Off, LocalState::Joined) => Standing::CatchingUp,
            (_, _, Desync::Off, _) => Standing::Synced,
        }
    }

    /// Whether it runs statements, and only a better one is a reason not to use it.
    pub(super) fn is_last_resort(self) -> bool {
        matches!(self, Standing::Donor | Standing::Desynced | Standing::CatchingUp)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Standing::Synced => "synced",
            Standing::Donor => "donor of a state transfer",
            Standing::Desynced => "wsrep_desync is ON",
            Standing::CatchingUp => "catches up behind a state transfer",
            Standing::Joining => "joining: receives what it lacks",
            Standing::OtherView => "its view of the group is not the majority's: it hangs or is cut off",
            Standing::Rival => "belongs to one of two halves that both take writes",
            Standing::Rejecting => "wsrep_reject_queries is set",
            Standing::Leaving => "pxc_maint_mode is set: it takes no new work",
            Standing::NonPrimary => "non-Primary: its group has lost the majority",
            Standing::Disconnected => "belongs to no group",
            Standing::NotReady => "wsrep_ready is OFF",
        })
    }
}
