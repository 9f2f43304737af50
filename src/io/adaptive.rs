//! Which buffer group a socket receives into, and whether bursts of it are welcome.
//!
//! Commands and short replies fit small buffers, of which there are many; a result that streams would cut itself into
//! thousands of them. So each socket begins small, moves to the large group when it often fills small buffers, and back
//! when what it receives would have fitted a small one again, or when there are no large ones.
//!
//! A socket that also fills one large buffer after the other has more to give than can be passed on in a turn. It is a
//! stream, and gets one buffer at a time: the rest stays in its receive queue, where the peer feels it.

use super::buffer::{Group, Pool};

/// What a full small buffer counts; one that was not full takes one off. So replies a little over a small buffer, each a
/// full and a short receive, come to the large group too, and a long one now and then does not.
const FULL_COUNTS: u8 = 2;

/// The count that makes a stream: that of four full buffers in a row.
const COUNT_TO_LARGE: u8 = 8;

/// Receives in a row that would have fitted a small buffer and end a stream. More than the other way: moving costs a
/// cancellation, and a stream's last receives are short by nature.
const SHORT_TO_SMALL: u8 = 8;

/// Full large buffers in a row that make a stream: half of what one send takes.
const FULL_TO_STREAM: u8 = 8;

/// What a socket may be given of what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helping {
    /// Everything, a buffer after the other.
    All,
    /// One buffer, and the next when that was handled.
    One,
}

/// A socket's place, and how near it is to moving.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adaptive {
    group: Group,
    /// How much speaks for the other group.
    count: u8,
    /// Full large buffers in a row, up to `FULL_TO_STREAM`: then it is a stream, until it leaves the group.
    full: u8,
}

impl Adaptive {
    pub(super) fn new() -> Adaptive {
        Adaptive { group: Group::Small, count: 0, full: 0 }
    }

    pub(super) fn group(self) -> Group {
        self.group
    }

    pub(super) fn helping(self) -> Helping {
        if self.full == FULL_TO_STREAM { Helping::One } else { Helping::All }
    }

    /// Takes note of a receive of `length` bytes. True: the socket has moved to the other group, or become a stream.
    pub(super) fn received(&mut self, length: usize, pool: &Pool) -> bool {
        let small = pool.size(Group::Small);
        let (other, count_max) = match self.group {
            Group::Small => (Group::Large, COUNT_TO_LARGE),
            Group::Large => (Group::Small, SHORT_TO_SMALL),
        };
        self.count = match self.group {
            Group::Small if length >= small => self.count + FULL_COUNTS,
            Group::Small => self.count.saturating_sub(1),
            Group::Large if length <= small => self.count + 1,
            Group::Large => 0,
        };
        if self.count >= count_max {
            *self = Adaptive { group: other, count: 0, full: 0 };
            return true;
        }
        self.follows_stream(length >= pool.size(Group::Large))
    }

    /// True: with this receive the socket has become a stream.
    fn follows_stream(&mut self, is_full: bool) -> bool {
        if self.group == Group::Small || self.helping() == Helping::One {
            return false;
        }
        self.full = if is_full { self.full + 1 } else { 0 };
        self.helping() == Helping::One
    }

    /// The group has no free buffer. True: it was the large one, and small ones are left, so the socket goes there. A
    /// stream waits: small buffers would cut it into pieces, and large ones come back with every turn.
    pub(super) fn gives_way(&mut self, pool: &Pool) -> bool {
        let is_stream = self.helping() == Helping::One;
        let gives_way = self.group == Group::Large && !is_stream && pool.available(Group::Small) > 0;
        if gives_way {
            *self = Adaptive::new();
        }
        gives_way
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
    fn replies_a_little_over_a_small_buffer_come_to_large_ones() {
        let mut lengths = [SMALL, 5].repeat(6);
        check(&lengths, Group::Small);
        lengths.extend([SMALL, 5]);
        check(&lengths, Group::Large);
        check(&[SMALL, 5, 5, 5].repeat(100), Group::Small);
    }

    #[test]
    fn without_large_buffers_a_stream_goes_on_in_small_ones() {
        let limits = GroupLimits { buffers: 1, size: SMALL };
        let pool = Pool::new(limits, limits);
        let large = Adaptive { group: Group::Large, ..Adaptive::new() };
        let mut adaptive = large;
        assert!(adaptive.gives_way(&pool));
        assert_eq!(adaptive.group(), Group::Small);
        let _last = pool.take(Group::Small).expect("one is free");
        assert!(!{ large }.gives_way(&pool));
        assert!(!adaptive.gives_way(&pool));
    }

    #[test]
    fn a_socket_that_keeps_filling_large_buffers_is_a_stream_until_it_leaves_their_group() {
        const LARGE: usize = 1024;
        let pool = Pool::new(GroupLimits { buffers: 1, size: SMALL }, GroupLimits { buffers: 1, size: LARGE });
        let mut adaptive = Adaptive { group: Group::Large, ..Adaptive::new() };
        let after = |adaptive: &mut Adaptive, lengths: &[usize]| {
            lengths.iter().fold(false, |_, length| adaptive.received(*length, &pool))
        };
        assert!(!after(&mut adaptive, &[LARGE; 7]));
        assert!(!after(&mut adaptive, &[LARGE - 1]));
        assert!(!after(&mut adaptive, &[LARGE; 7]));
        assert_eq!(adaptive.helping(), Helping::All);
        assert!(after(&mut adaptive, &[LARGE]), "the receive under way must be ended");
        assert_eq!(adaptive.helping(), Helping::One);
        assert!(!after(&mut adaptive, &[LARGE, 5, LARGE, LARGE - 1]));
        assert_eq!(adaptive.helping(), Helping::One);
        assert!(!{ adaptive }.gives_way(&pool));
        assert!(after(&mut adaptive, &[5; 8]));
        assert_eq!((adaptive.group(), adaptive.helping()), (Group::Small, Helping::All));
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
