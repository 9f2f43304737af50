//! Which buffer group a socket receives into.
//!
//! Commands and short replies fit small buffers, of which there are many; a result that streams would cut itself into
//! thousands of them. So each socket begins small, moves to the large group when it keeps filling small buffers, and
//! back when what it receives would have fitted a small one again.

use super::buffer::{Group, Pool};

/// Full small buffers in a row that make a stream.
const FULL_TO_LARGE: u8 = 4;

/// Receives in a row that would have fitted a small buffer and end a stream. More than the other way: moving costs a
/// cancellation, and a stream's last receives are short by nature.
const SHORT_TO_SMALL: u8 = 8;

/// A socket's place, and how near it is to moving.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adaptive {
    group: Group,
    /// Receives in a row that speak for the other group.
    streak: u8,
}

impl Adaptive {
    pub(super) fn new() -> Adaptive {
        Adaptive { group: Group::Small, streak: 0 }
    }

    pub(super) fn group(self) -> Group {
        self.group
    }

    /// Takes note of a receive of `length` bytes. True: the socket has moved to the other group.
    pub(super) fn received(&mut self, length: usize, pool: &Pool) -> bool {
        let small = pool.size(Group::Small);
        let (speaks_for_other, other, streak_max) = match self.group {
            Group::Small => (length >= small, Group::Large, FULL_TO_LARGE),
            Group::Large => (length <= small, Group::Small, SHORT_TO_SMALL),
        };
        self.streak = if speaks_for_other { self.streak + 1 } else { 0 };
        if self.streak < streak_max {
            return false;
        }
        *self = Adaptive { group: other, streak: 0 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::GroupLimits;
    use super::*;

    const SMALL: usize = 64;

    /// The group after receives of these lengths.
    fn check(lengths: &[usize], expected: Group) {
        let small = GroupLimits { buffers: 1, size: SMALL };
        let large = GroupLimits { buffers: 1, size: 1024 };
        let pool = Pool::new(small, large);
        let mut adaptive = Adaptive::new();
        for &length in lengths {
            adaptive.received(length, &pool);
        }
        assert_eq!(adaptive.group(), expected, "after {lengths:?}");
    }

    #[test]
    fn a_stream_moves_to_large_buffers_and_commands_stay_in_small_ones() {
        check(&[], Group::Small);
        check(&[10, 20, SMALL, SMALL, SMALL], Group::Small);
        check(&[SMALL, SMALL, SMALL, 1, SMALL], Group::Small);
        check(&[SMALL; 4], Group::Large);
    }

    #[test]
    fn a_stream_that_becomes_a_conversation_moves_back() {
        let mut lengths = vec![SMALL; 4];
        lengths.extend([5; 7]);
        check(&lengths, Group::Large);
        lengths.push(5);
        check(&lengths, Group::Small);
        let mut interrupted = vec![SMALL; 4];
        interrupted.extend([5, 5, 5, 5, 5, 5, 5, 1024, 5]);
        check(&interrupted, Group::Large);
    }
}
