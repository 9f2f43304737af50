//! When requests are due: at once after each reply, or by a timetable that does not care for replies.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// How a load decides when to send.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Closed loop: each connection sends again when its reply is there. The load follows the candidate's speed.
    Closed,
    /// Open loop: so many requests a second over all connections, whatever the replies do. Latency counts from the
    /// moment a request was due, so a stall is charged with every request that waited for its end.
    Open {
        /// Requests a second, above 0.
        #[serde(rename = "requests_per_second")]
        rate: f64,
        arrivals: Arrivals,
    },
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Closed => f.write_str("closed"),
            Mode::Open { rate, arrivals } => write!(f, "{} {rate:.0}/s", arrivals.name()),
        }
    }
}

/// How the requests of an open loop lie in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrivals {
    /// All gaps are equal
    Constant,
    /// Each moment is as likely as any other, as if many strangers asked
    Poisson,
}

impl Arrivals {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Arrivals::Constant => "constant",
            Arrivals::Poisson => "poisson",
        }
    }
}

/// When one connection's requests are due, counted from the start of the load. Never ends, never goes back.
#[derive(Clone, Debug)]
pub(super) struct Timetable {
    gaps: Gaps,
    next: Duration,
}

#[derive(Clone, Debug)]
enum Gaps {
    Constant(Duration),
    Exponential { mean: Duration, random: Rng },
}

impl Timetable {
    /// The share of connection `index` of `connections`. Evenly spaced connections take turns; random ones are each
    /// seeded with their index, and together they are what one random timetable of the whole rate would be.
    pub(super) fn new(rate: f64, arrivals: Arrivals, index: usize, connections: usize) -> Timetable {
        let gap = Duration::from_secs_f64(connections as f64 / rate);
        match arrivals {
            Arrivals::Constant => {
                Timetable { gaps: Gaps::Constant(gap), next: Duration::from_secs_f64(index as f64 / rate) }
            }
            Arrivals::Poisson => {
                let mut gaps = Gaps::Exponential { mean: gap, random: Rng::with_seed(index as u64) };
                let next = gaps.next();
                Timetable { gaps, next }
            }
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let due = self.next;
        self.next += self.gaps.next();
        due
    }
}

impl Gaps {
    fn next(&mut self) -> Duration {
        match self {
            Gaps::Constant(gap) => *gap,
            // The inverse of the exponential distribution; 1 - [0, 1) is never 0.
            Gaps::Exponential { mean, random } => mean.mul_f64(-(1.0 - random.f64()).ln()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of all connections that are due in the first `seconds`.
    fn due_in(seconds: u64, rate: f64, arrivals: Arrivals, connections: usize) -> Vec<Duration> {
        let mut all: Vec<_> = (0..connections)
            .flat_map(|index| {
                let mut timetable = Timetable::new(rate, arrivals, index, connections);
                std::iter::from_fn(move || Some(timetable.next())).take_while(|due| due.as_secs() < seconds)
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn all_connections_together_keep_the_rate() {
        for connections in [1, 7, 64] {
            let constant = due_in(10, 5000.0, Arrivals::Constant, connections).len();
            assert!((49_999..=50_001).contains(&constant), "{constant}");
            // Four standard deviations of a Poisson count around its mean; seeded, so it does not change.
            let poisson = due_in(10, 5000.0, Arrivals::Poisson, connections).len() as f64;
            assert!((poisson - 50_000.0).abs() < 4.0 * 50_000_f64.sqrt(), "{poisson}");
        }
    }

    #[test]
    fn constant_arrivals_of_several_connections_are_evenly_spaced() {
        let due = due_in(1, 1000.0, Arrivals::Constant, 8);
        for pair in due.windows(2) {
            assert!((pair[1] - pair[0]).abs_diff(Duration::from_millis(1)) < Duration::from_micros(1), "{pair:?}");
        }
    }

    /// The number of arrivals in equal intervals has its mean as its variance: neither regular nor clumped.
    #[test]
    fn poisson_arrivals_are_as_random_as_they_should_be_and_the_same_each_time() {
        let due = due_in(100, 1000.0, Arrivals::Poisson, 8);
        assert_eq!(due, due_in(100, 1000.0, Arrivals::Poisson, 8));
        let mut counts = vec![0.0; 1000];
        for moment in &due {
            counts[usize::try_from(moment.as_millis() / 100).expect("below 1000")] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        assert!((0.8..1.2).contains(&(variance / mean)), "variance {variance}, mean {mean}");
    }

    #[test]
    fn a_timetable_does_not_go_back() {
        let mut timetable = Timetable::new(1e6, Arrivals::Poisson, 3, 4);
        let mut last = Duration::ZERO;
        for _ in 0..10_000 {
            let due = timetable.next();
            assert!(due >= last);
            last = due;
        }
    }
}
