//! What is remembered of one server's replication beyond what it says now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gauge::Gauge;
use super::track::Track;
use super::{Channel, View};
use crate::protocol::gtid::{GtidHistory, GtidPosition};

/// One server's past.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) gauge: Gauge,
    /// It took writes and another server does so now, without its having been seen to give them up.
    pub(super) fence: Option<Fence>,
    /// It was not up at some time while another server was the primary, and was not seen to be a replica since.
    pub(super) was_away: bool,
    /// What it had when it was last asked, the newest first. One of them is older than the last answer of any other server
    /// that is asked as often.
    histories: [Option<Sample>; 3],
    errant: Errant,
}

/// What a former primary was last seen to have before another server took over.
#[derive(Debug)]
pub(super) struct Fence {
    pub(super) had: Option<Arc<GtidHistory>>,
    pub(super) origin: Origin,
}

/// Who has seen that another server took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This process.
    Seen,
    /// The one before it; what happened between the two nobody has seen.
    Recalled,
}

#[derive(Debug, Clone)]
struct Sample {
    asked: Instant,
    history: Arc<GtidHistory>,
}

/// Transactions that the primary does not have.
#[derive(Debug, Default)]
struct Errant {
    found: Option<GtidHistory>,
    /// Looks at the primary in a row that found some.
    looks: u32,
}

impl Memory {
    /// Takes in what the server said.
    pub(super) fn hear(&mut self, view: &View) {
        let is_new = self.histories[0].as_ref().is_none_or(|sample| sample.asked < view.asked);
        if let Some(history) = view.history.as_ref().filter(|_| is_new) {
            let sample = Sample { asked: view.asked, history: Arc::clone(history) };
            self.histories.rotate_right(1);
            self.histories[0] = Some(sample);
        }
    }

    /// Takes in how far behind it is.
    pub(super) fn measure(&mut self, view: &View, applied: Option<&GtidPosition>, track: &Track, max: Duration) {
        let live = || view.channels().iter().filter(|channel| channel.is_live());
        let told = live().filter_map(Channel::lag).max();
        let delay = live().map(|channel| channel.delay).max().unwrap_or_default();
        let seen = applied.and_then(|applied| track.lag(applied, view.asked)).map(|lag| lag.saturating_sub(delay));
        self.gauge.note(told.max(seen), max);
    }

    /// All that it was last seen to have.
    pub(super) fn last(&self) -> Option<&Arc<GtidHistory>> {
        self.histories[0].as_ref().map(|sample| &sample.history)
    }

    /// All that it was seen to have before a moment: a replica asked later may well have more than its source then had.
    fn before(&self, moment: Instant) -> Option<&GtidHistory> {
        let samples = self.histories.iter().flatten();
        samples.filter(|sample| sample.asked <= moment).map(|sample| &*sample.history).next()
    }

    /// Whether a server that this one replicates from has all that this one was seen to have by then.
    pub(super) fn is_part_of(&self, source: &Memory) -> bool {
        let of_source = source.histories[0].as_ref();
        of_source.is_some_and(|sample| self.before(sample.asked).is_some_and(|mine| sample.history.covers(mine)))
    }

    /// Looks for transactions that the primary lacks, whoever wrote them: also the last ones of a former primary may be there
    /// and nowhere else. With semi-synchronous replication a replica has for a moment what the primary has not committed
    /// yet, so only what is found again and again counts. Who has several sources has others' transactions rightly.
    pub(super) fn compare(&mut self, view: &View, primary: &View) {
        let (Some(mine), Some(theirs)) = (self.before(primary.asked), &primary.history) else { return };
        let has_one_source = view.channels().len() <= 1;
        match mine.astray_from(theirs, view.identity.server_id).filter(|_| has_one_source) {
            Some(found) => {
                let looks = self.errant.looks.saturating_add(1);
                self.errant = Errant { found: Some(found), looks };
            }
            None => self.errant = Errant::default(),
        }
    }

    /// Transactions that only this server has, or at least the primary has not.
    pub(super) fn errant(&self) -> Option<&GtidHistory> {
        self.errant.found.as_ref().filter(|_| self.errant.looks >= LOOKS)
    }
}

/// So many times something must be missing at the primary.
const LOOKS: u32 = 3;
