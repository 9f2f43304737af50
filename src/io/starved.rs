//! Sockets that found no free buffer, in the order in which they get one.
//!
//! A socket that is armed again may take every buffer there is, so that others armed in the same moment get none. Those
//! go to the front: each socket in the list is served before any is served twice.

use std::collections::VecDeque;

use super::buffer::{Group, Pool};
use super::event::SocketId;

/// Whether a socket received anything since it last waited for a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    Yes,
    No,
}

/// The waiting sockets of both groups. A socket is in at most one place, so the lists are bounded by the open sockets.
#[derive(Default)]
pub(super) struct Starved {
    waiting: [VecDeque<SocketId>; 2],
}

impl Starved {
    pub(super) fn add(&mut self, group: Group, id: SocketId, served: Served) {
        let waiting = &mut self.waiting[group as usize];
        match served {
            Served::Yes => waiting.push_back(id),
            Served::No => waiting.push_front(id),
        }
    }

    /// Takes out the sockets that may try again now, and tells of each. No more than there are free buffers: the others
    /// would only come back.
    pub(super) fn feed(&mut self, pool: &Pool, lucky: &mut Vec<SocketId>) {
        for group in Group::ALL {
            let waiting = &mut self.waiting[group as usize];
            let count = waiting.len().min(pool.available(group));
            lucky.extend(waiting.drain(..count));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// The socket waits no more. Rare, so it may search.
    pub(super) fn forget(&mut self, id: SocketId) {
        for waiting in &mut self.waiting {
            waiting.retain(|other| *other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::GroupLimits;
    use super::*;

    #[test]
    fn each_is_served_before_any_is_served_twice() {
        const SOCKETS: u32 = 7;
        let two = GroupLimits { buffers: 2, size: 64 };
        let pool = Pool::new(two, two);
        let mut starved = Starved::default();
        for slot in 0..SOCKETS {
            let id = SocketId { slot, generation: 0 };
            starved.add(Group::Small, id, Served::Yes);
        }
        let mut counts = [0; SOCKETS as usize];
        for _ in 0..SOCKETS * 10 {
            let mut lucky = Vec::new();
            starved.feed(&pool, &mut lucky);
            assert_eq!(lucky.len(), 2);
            // The first takes both buffers.
            counts[lucky[0].slot()] += 1;
            starved.add(Group::Small, lucky[0], Served::Yes);
            starved.add(Group::Small, lucky[1], Served::No);
        }
        assert_eq!(counts, [10; SOCKETS as usize]);
    }
}
