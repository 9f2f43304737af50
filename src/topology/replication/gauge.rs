//! Whether a replica is too far behind to be read from, so that one at the limit does not come and go.

use std::time::Duration;

/// How far one replica is behind.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::topology) struct Gauge {
    lag: Option<Duration>,
    is_lagging: bool,
}

impl Gauge {
    /// What was measured; absent where it cannot be, which changes nothing.
    pub(in crate::topology) fn note(&mut self, lag: Option<Duration>, max: Duration) {
        self.lag = lag;
        let Some(lag) = lag else { return };
        self.is_lagging = if self.is_lagging { lag > max / 2 } else { lag > max };
    }

    pub(in crate::topology) fn lag(&self) -> Option<Duration> {
        self.lag
    }

    /// Whether it was further behind than it may be, and has not been closer than half of that since.
    pub(in crate::topology) fn is_lagging(&self) -> bool {
        self.is_lagging
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(max: u64, lags: &[(Option<u64>, bool)]) {
        let mut gauge = Gauge::default();
        for (index, (lag, expected)) in lags.iter().enumerate() {
            gauge.note(lag.map(Duration::from_secs), Duration::from_secs(max));
            assert_eq!(gauge.is_lagging(), *expected, "step {index}");
        }
    }

    #[test]
    fn who_lagged_comes_back_below_half() {
        let steps = [(0, false), (10, false), (11, true), (10, true), (6, true), (5, false), (9, false)];
        check(10, &steps.map(|(lag, expected)| (Some(lag), expected)));
        check(0, &[(Some(0), false), (Some(1), true), (Some(0), false)]);
    }

    #[test]
    fn what_cannot_be_measured_changes_nothing() {
        check(10, &[(None, false), (Some(11), true), (None, true), (Some(1), false), (None, false)]);
    }
}
