//! The one place where workers find the table in force.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::RoutingTable;

/// Puts tables where workers find them, and keeps the old ones until no worker has them any more: whoever lets go of a
/// table last frees every server of it, which is not to happen on the data path.
///
/// Invariant: of the tables in `retired` all but the last were in use when that one was retired, so there are at most one
/// more than their users.
#[derive(Debug)]
pub struct Publication {
    shared: Arc<ArcSwap<RoutingTable>>,
    retired: Vec<Arc<RoutingTable>>,
}

impl Publication {
    /// Workers look at `shared`.
    pub fn new(shared: Arc<ArcSwap<RoutingTable>>) -> Publication {
        Publication { shared, retired: Vec::new() }
    }

    /// The table in force.
    pub fn current(&self) -> Arc<RoutingTable> {
        self.shared.load_full()
    }

    /// Puts another one in its place, and frees those that nobody uses any more.
    pub fn publish(&mut self, next: RoutingTable) {
        self.free_unused();
        self.retired.push(self.shared.swap(Arc::new(next)));
    }

    /// Frees the tables that nobody uses any more; with the last of a configuration go the passwords of users whom it alone has.
    pub fn free_unused(&mut self) {
        self.retired.retain(|table| Arc::strong_count(table) > 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::topology::Beliefs;
    use crate::topology::testing::config;

    #[test]
    fn a_table_that_nobody_uses_any_more_is_freed_by_who_publishes_the_next() {
        let mut beliefs = Beliefs::new(config(&["name = \"db1\"\naddress = \"10.0.0.1:3306\""]), Instant::now());
        let mut publication = Publication::new(Arc::new(ArcSwap::from_pointee(beliefs.table())));
        let worker = publication.current();
        let first = Arc::downgrade(&worker);
        publication.publish(beliefs.table());
        publication.publish(beliefs.table());
        drop(worker);
        assert!(first.upgrade().is_some(), "a worker frees no table");
        publication.publish(beliefs.table());
        assert!(first.upgrade().is_none(), "nobody has it");
        assert_eq!(publication.retired.len(), 1, "the one before this");
    }

    #[test]
    fn the_last_retired_table_need_not_wait_for_the_next() {
        let mut beliefs = Beliefs::new(config(&["name = \"db1\"\naddress = \"10.0.0.1:3306\""]), Instant::now());
        let mut publication = Publication::new(Arc::new(ArcSwap::from_pointee(beliefs.table())));
        let worker = publication.current();
        publication.publish(beliefs.table());
        publication.free_unused();
        let first = Arc::downgrade(&worker);
        drop(worker);
        assert!(first.upgrade().is_some(), "it was in use");
        publication.free_unused();
        assert!(first.upgrade().is_none(), "nobody has it");
    }
}
