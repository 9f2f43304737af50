//! When the primary dies, when it comes back, and when all is over.

use std::time::Duration;

/// The primary is away for at most this long, so that nobody watches an outage for minutes.
const OUTAGE_MAX: Duration = Duration::from_secs(8);
/// Without an end: the first outage begins after this, and one follows another with this in between.
const PERIOD: Duration = Duration::from_secs(30);
/// A restarted server recovers its data and is checked before it gets statements: writes wait for that, too.
const RECOVERY_MAX: Duration = Duration::from_secs(22);

/// What happens next, as time since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Kill,
    Revive,
    End,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// From the start to the end; `None`: until Ctrl-C.
    duration: Option<Duration>,
    outages: Outages,
}

/// Whether the primary dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outages {
    Staged,
    None,
}

impl Plan {
    pub(super) fn new(duration: Option<Duration>, outages: Outages) -> Plan {
        Plan { duration, outages }
    }

    /// The act number `index`, from 0, and its time; `None` when nothing more happens by itself.
    pub(super) fn act(&self, index: u32) -> Option<(Duration, Act)> {
        let end = self.duration.map(|duration| (duration, Act::End));
        match (self.outages, self.duration, index) {
            (Outages::None, _, 0) | (Outages::Staged, Some(_), 2) => end,
            (Outages::None, _, _) | (Outages::Staged, Some(_), 3..) => None,
            (Outages::Staged, _, _) => Some(self.outage_act(index)),
        }
    }

    fn outage_act(&self, index: u32) -> (Duration, Act) {
        let begin = self.duration.map_or(PERIOD / 3, |duration| duration / 3) + PERIOD * (index / 2);
        if index.is_multiple_of(2) { (begin, Act::Kill) } else { (begin + self.outage(), Act::Revive) }
    }

    /// How long the primary is away: a third of the time.
    fn outage(&self) -> Duration {
        self.duration.map_or(OUTAGE_MAX, |duration| duration / 3).min(OUTAGE_MAX)
    }

    /// How long statements wait for a primary: longer than the outage, so that they can be seen to go on.
    pub(super) fn hold_timeout(&self) -> Duration {
        self.outage() + RECOVERY_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(plan: Plan, count: u32) -> Vec<Option<(u64, Act)>> {
        (0..count).map(|index| plan.act(index).map(|(time, act)| (time.as_secs(), act))).collect()
    }

    #[test]
    fn with_an_end_the_primary_is_away_in_the_middle_third() {
        let plan = Plan::new(Some(Duration::from_secs(21)), Outages::Staged);
        assert_eq!(acts(plan, 4), [Some((7, Act::Kill)), Some((14, Act::Revive)), Some((21, Act::End)), None]);
    }

    #[test]
    fn a_long_demo_has_no_long_outage() {
        let plan = Plan::new(Some(Duration::from_secs(600)), Outages::Staged);
        assert_eq!(acts(plan, 3), [Some((200, Act::Kill)), Some((208, Act::Revive)), Some((600, Act::End))]);
    }

    #[test]
    fn without_an_end_outages_go_on_in_turn() {
        let plan = Plan::new(None, Outages::Staged);
        let expected = [(10, Act::Kill), (18, Act::Revive), (40, Act::Kill), (48, Act::Revive)];
        assert_eq!(acts(plan, 4), expected.map(Some));
    }

    #[test]
    fn without_outages_only_the_end_is_left() {
        assert_eq!(acts(Plan::new(None, Outages::None), 2), [None, None]);
        let plan = Plan::new(Some(Duration::from_secs(5)), Outages::None);
        assert_eq!(acts(plan, 2), [Some((5, Act::End)), None]);
    }

    #[test]
    fn writes_wait_longer_than_any_outage() {
        for seconds in [1, 20, 600] {
            let plan = Plan::new(Some(Duration::from_secs(seconds)), Outages::Staged);
            let (killed, revived) = (plan.act(0).expect("a kill").0, plan.act(1).expect("a return").0);
            assert!(plan.hold_timeout() > revived - killed);
        }
    }
}
