//! How a node left its group, as the others tell afterwards by what they say of it.

use std::time::{Duration, Instant};

use super::view::{Group, View};

/// A node does not answer any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Absence {
    pub(super) since: Instant,
    pub(super) departure: Departure,
    /// The view of the group that it was part of.
    pub(super) group: Option<Group>,
}

/// How a node left its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// Not known yet, or nobody was left to tell.
    Open,
    /// It said good-bye: the group went on without it at once.
    Stopped,
    /// The group had to wait for it, or lost its majority.
    Lost,
    /// It did not: the group still has it, and goes on.
    OutOfReach,
}

impl Absence {
    /// Takes in what a node that answers says so long afterwards.
    pub(super) fn hear(&mut self, view: &View, later: Duration) {
        let is_counted = self.is_counted(view);
        self.departure = match (self.departure, self.tell(view, later)) {
            (Departure::Open, Some(told)) => told,
            (Departure::Lost, _) if is_counted && later >= PATIENCE => Departure::OutOfReach,
            (Departure::OutOfReach, Some(told)) if !is_counted => told,
            (known, _) => known,
        };
    }

    fn tell(&self, view: &View, later: Duration) -> Option<Departure> {
        if view.lacks_majority() {
            return Some(Departure::Lost);
        }
        let (now, then) = (view.primary_group()?, self.group.as_ref());
        let has_shrunk = |then: &Group| now.history == then.history && now.number > then.number && now.size < then.size;
        if then.is_some_and(has_shrunk) {
            return Some(Departure::Stopped);
        }
        (later >= GOODBYE_TIME).then_some(Departure::Lost)
    }

    /// Takes in that a node has committed since that moment. Without a member that is lost nobody can, until the group has
    /// another view.
    pub(super) fn hear_of_commits(&mut self, view: &View, since: Instant) {
        if self.is_counted(view) && since >= self.since + GOODBYE_TIME {
            self.departure = Departure::OutOfReach;
        }
    }

    /// Whether the group that the node was part of has not changed.
    fn is_counted(&self, view: &View) -> bool {
        view.primary_group().is_some() && view.primary_group() == self.group.as_ref()
    }
}

/// Whether clients have committed at a node between two answers, in one view of the group.
pub(super) fn has_committed(before: &View, now: &View) -> bool {
    now.replicated > before.replicated && now.uptime >= before.uptime && now.primary_group() == before.primary_group()
}

/// No group waits so long for a member (`evs.inactive_timeout` is 15 s by default).
const PATIENCE: Duration = Duration::from_secs(60);

/// In this time at most the others know that a node has been stopped; for a lost one they wait for seconds
/// (`evs.suspect_timeout`).
const GOODBYE_TIME: Duration = Duration::from_secs(1);
