//! How far each server was seen to have come, beside the routing table: a position changes with every check, and a new
//! table for each would be much work for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::protocol::gtid::GtidPosition;

/// What a server said of its position in one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was asked: what was committed before that is part of the answer.
    pub asked: Instant,
    /// What it has applied of other servers' transactions. What it wrote by itself is not in it: a write that
    /// went astray to a replica of MariaDB would make it look further than it is.
    pub applied: GtidPosition,
    /// All that it has in its own history, if it keeps one; what a primary has committed.
    pub committed: Option<GtidPosition>,
}

/// What was last seen of a server's position. Nothing, if it cannot tell, or since it was last in trouble: a server that
/// crashed may have come back with less than it had.
#[derive(Debug, Default)]
pub struct Progress {
    last: ArcSwapOption<Seen>,
    /// Milliseconds, one more than the lag; 0: not measured.
    lag: AtomicU64,
}

impl Progress {
    /// What was seen last.
    pub fn last(&self) -> Option<Arc<Seen>> {
        self.last.load_full()
    }

    /// Whether it was seen to have applied all of `position`. Takes no lock and counts no reference.
    pub fn has_applied(&self, position: &GtidPosition) -> bool {
        self.last.load().as_ref().is_some_and(|seen| seen.applied.covers(position))
    }

    /// Whether all of `position` was seen here, applied or in its own history: what a server that writes go to must have.
    pub fn has(&self, position: &GtidPosition) -> bool {
        let covers = |seen: &Arc<Seen>| {
            let own = seen.committed.as_ref().is_some_and(|committed| committed.covers(position));
            own || seen.applied.covers(position)
        };
        self.last.load().as_ref().is_some_and(covers)
    }

    /// Whether it told of any position.
    pub fn is_known(&self) -> bool {
        self.last.load().is_some()
    }

    /// How far it is behind its primary, as far as that can be measured; none, too, at a primary.
    pub fn lag(&self) -> Option<Duration> {
        self.lag.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_millis)
    }

    pub(crate) fn note_lag(&self, lag: Option<Duration>) {
        let milliseconds = |lag: Duration| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1);
        self.lag.store(lag.map_or(0, milliseconds), Ordering::Relaxed);
    }

    pub(super) fn note(&self, seen: Option<Seen>) {
        self.last.store(seen.map(Arc::new));
    }
}
