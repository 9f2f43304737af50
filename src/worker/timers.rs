//! Deadlines of one worker: the earliest first, each checked by its owner when it comes.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// Deadlines with the key of whom they concern.
///
/// A deadline that was moved or is no longer wanted is not searched for: it comes up once and is found to be stale.
/// There are at most a few of one session, so the heap is bounded with the sessions.
#[derive(Debug)]
pub(super) struct Timers<K: Ord> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(super) fn new() -> Self {
        Timers { heap: BinaryHeap::new() }
    }

    pub(super) fn set(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// One deadline that has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Timers;

    #[test]
    fn deadlines_come_in_their_order_and_not_early() {
        let start = Instant::now();
        let second = start + Duration::from_secs(1);
        let mut timers = Timers::new();
        timers.set(second, 'b');
        timers.set(start, 'a');
        assert_eq!(timers.next(), Some(start));
        assert_eq!(timers.pop_due(start), Some((start, 'a')));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(timers.pop_due(second), Some((second, 'b')));
    }
}
