//! What came back in a measured window.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is told from a longer one.
const LATENCY_MAX: Duration = Duration::from_secs(60);
/// The part of the due requests that must have been answered inside the window, for the rate to count as held.
const HELD_PART: f64 = 0.95;

#[derive(Debug)]
pub(crate) struct Tally {
    /// That came inside the window.
    pub(crate) replies: u64,
    /// In nanoseconds. In a closed loop of the replies inside the window; in an open loop of the requests that were due
    /// in it, also when their reply came later.
    pub(crate) latency: Histogram<u64>,
    /// Requests of an open loop that were never sent, since the backlog was at its bound.
    pub(crate) dropped: u64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        let longest = u64::try_from(LATENCY_MAX.as_nanos()).expect("a minute of nanoseconds");
        Tally {
            replies: 0,
            latency: Histogram::new_with_bounds(1, longest, 3).expect("three digits, 1 below the longest"),
            dropped: 0,
        }
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn add(&mut self, other: &Tally) {
        self.replies += other.replies;
        self.dropped += other.dropped;
        self.latency.add(&other.latency).expect("the same bounds");
    }

    /// Whether an open loop's requests were answered as fast as they came. One request a connection may be under way
    /// when the window closes.
    pub(crate) fn is_rate_held(&self, connections: usize) -> bool {
        let due = self.latency.len() as f64;
        self.dropped == 0 && self.replies as f64 + connections as f64 >= due * HELD_PART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(replies: u64, due: u64, dropped: u64) -> Tally {
        let mut tally = Tally { replies, dropped, ..Tally::new() };
        (0..due).for_each(|_| tally.record(Duration::from_micros(100)));
        tally
    }

    #[test]
    fn latencies_of_threads_add_up_and_a_very_long_one_still_counts() {
        let mut total = tally(1, 1, 2);
        let mut other = tally(1, 0, 3);
        other.record(LATENCY_MAX * 10);
        total.add(&other);
        assert_eq!((total.replies, total.dropped), (2, 5));
        assert_eq!(total.latency.value_at_quantile(0.5) / 1000, 100);
        assert!(total.latency.max() >= 59_000_000_000);
    }

    #[test]
    fn a_rate_is_held_when_nearly_all_is_answered_and_nothing_dropped() {
        assert!(tally(1000, 1000, 0).is_rate_held(1));
        assert!(tally(949, 1000, 0).is_rate_held(1), "one may be under way");
        assert!(!tally(900, 1000, 0).is_rate_held(1));
        assert!(tally(900, 1000, 0).is_rate_held(64));
        assert!(!tally(1000, 1000, 1).is_rate_held(64));
    }
}
