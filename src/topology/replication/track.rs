//! Where the primary was when, so that a replica's position tells how far it is behind in time.
//!
//! `Seconds_Behind_Source` is 0 at a replica that has applied all it received and receives nothing any more, as over a
//! link that is silent and not closed. Its position stands still, and the primary's does not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::protocol::gtid::GtidPosition;

/// Positions of one primary, the oldest first.
///
/// Invariant: rising in time, each covered by the next, at most `SAMPLES_MAX`.
#[derive(Debug, Default)]
pub(in crate::topology) struct Track {
    samples: VecDeque<(Instant, GtidPosition)>,
    /// When the primary was last asked.
    asked: Option<Instant>,
}

impl Track {
    /// The primary was there when it was asked. Samples are kept so that a lag of `max` is seen well.
    pub(in crate::topology) fn note(&mut self, position: &GtidPosition, asked: Instant, max: Duration) {
        self.asked = Some(asked);
        // What the primary has lost in a crash no replica will ever be seen to have.
        self.samples.retain(|(_, sample)| position.covers(sample));
        let is_new =
            self.samples.back().is_none_or(|(since, last)| last != position && asked >= *since + max / SPACING);
        if is_new {
            self.samples.push_back((asked, position.clone()));
        }
        while self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    /// Another server is the primary.
    pub(in crate::topology) fn clear(&mut self) {
        *self = Track::default();
    }

    /// How far behind a server surely is that had applied `position` when it was asked. It stands still while the primary
    /// is not heard: whether it goes on writing nobody knows.
    pub(in crate::topology) fn lag(&self, position: &GtidPosition, asked: Instant) -> Option<Duration> {
        let until = asked.min(self.asked?);
        let missed = self.samples.iter().find(|(_, sample)| !position.covers(sample));
        Some(missed.map_or(Duration::ZERO, |(since, _)| until.saturating_duration_since(*since)))
    }
}

/// Samples within the longest lag that is tolerated.
const SPACING: u32 = 16;

/// Four times the longest lag that is tolerated.
const SAMPLES_MAX: usize = 4 * SPACING as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::position;

    const MAX: Duration = Duration::from_secs(16);

    /// A primary that commits one transaction a second, looked at each second.
    fn busy(seconds: u64, begin: Instant) -> Track {
        let mut track = Track::default();
        (0..=seconds).for_each(|at| track.note(&position(at), begin + Duration::from_secs(at), MAX));
        track
    }

    #[test]
    fn a_replica_is_as_far_behind_as_what_it_lacks_is_old() {
        let begin = Instant::now();
        let track = busy(30, begin);
        let at = |seconds| begin + Duration::from_secs(seconds);
        let lag = |applied, asked| track.lag(&position(applied), at(asked)).map(|lag| lag.as_secs());
        assert_eq!(lag(30, 30), Some(0));
        assert_eq!(lag(29, 30), Some(0));
        assert_eq!(lag(20, 30), Some(9));
        assert_eq!(lag(20, 25), Some(4), "it was asked earlier than the primary");
        assert_eq!(lag(20, 90), Some(9), "where the primary is by then nobody knows");
        assert_eq!(Track::default().lag(&position(1), begin), None);
    }

    #[test]
    fn an_idle_primary_leaves_nobody_behind() {
        let begin = Instant::now();
        let mut track = busy(3, begin);
        (4..500).for_each(|at| track.note(&position(3), begin + Duration::from_secs(at), MAX));
        let asked = begin + Duration::from_secs(499);
        assert_eq!(track.lag(&position(3), asked), Some(Duration::ZERO));
        assert_eq!(track.lag(&position(2), asked), Some(Duration::from_secs(496)));
    }

    #[test]
    #[cfg_attr(miri, ignore = "10000 samples, to get past the bound")]
    fn a_track_is_bounded_and_shows_at_least_four_times_the_bound() {
        let begin = Instant::now();
        let track = busy(10_000, begin);
        assert_eq!(track.samples.len(), SAMPLES_MAX);
        let lag = track.lag(&position(0), begin + Duration::from_secs(10_000)).expect("the primary was heard");
        assert!(lag >= MAX * 4 - MAX / SPACING, "{lag:?}");
    }

    #[test]
    fn what_a_primary_lost_in_a_crash_is_not_waited_for() {
        let begin = Instant::now();
        let mut track = busy(30, begin);
        track.note(&position(25), begin + Duration::from_secs(40), MAX);
        assert_eq!(track.lag(&position(25), begin + Duration::from_secs(50)), Some(Duration::ZERO));
    }
}
