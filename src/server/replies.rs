//! How long servers took to reply: what all workers have counted together, and what is new of it in the last minute.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::admin::metrics::Replies;
use crate::admin::shapes::ReplyTimes;
use crate::latency::Distribution;
use crate::topology::{RoutingTable, ServerId};
use crate::worker::Handle;

/// How often what has been counted is kept, to be compared with later.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// So many of them: a minute, with the one that is kept at its end.
const KEPT_MAX: usize = 6;

/// Since the start, by pool and server.
pub(super) struct Counted(HashMap<(String, ServerId), Distribution>);

impl Counted {
    /// What the workers have counted until now.
    pub(super) fn by(workers: &[Handle]) -> Counted {
        let mut sums: HashMap<(String, ServerId), Distribution> = HashMap::new();
        for worker in workers {
            worker.counters().reply_times.for_each(|pool, server, times| {
                sums.entry((pool.to_owned(), server)).or_default().add(times);
            });
        }
        Counted(sums)
    }

    /// Those of servers that are configured, with their names, in the order of these.
    pub(super) fn named(self, table: &RoutingTable) -> Vec<Replies> {
        let named = self.0.into_iter().filter_map(|((pool, server), times)| {
            let server = table.server(table.place(server)?);
            let cluster = table.config.cluster(server.cluster).name.clone();
            Some(Replies { cluster, pool, server: server.name.to_string(), times })
        });
        let mut rows: Vec<Replies> = named.collect();
        rows.sort_by(|a, b| (&a.cluster, &a.pool, &a.server).cmp(&(&b.cluster, &b.pool, &b.server)));
        rows
    }

    fn by_server(self) -> HashMap<ServerId, Distribution> {
        let mut sums: HashMap<ServerId, Distribution> = HashMap::new();
        for ((_, server), times) in self.0 {
            sums.entry(server).or_default().merge(&times);
        }
        sums
    }
}

/// What had been counted at some moments of the last minute.
pub(super) struct LastMinute {
    /// The oldest first; never empty.
    kept: VecDeque<(Instant, HashMap<ServerId, Distribution>)>,
}

impl LastMinute {
    /// Nothing was counted before `start`.
    pub(super) fn new(start: Instant) -> LastMinute {
        LastMinute { kept: VecDeque::from([(start, HashMap::new())]) }
    }

    /// To be called once each [`PERIOD`].
    pub(super) fn keep(&mut self, counted: Counted, now: Instant) {
        self.kept.push_back((now, counted.by_server()));
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
    }

    /// What is new since the oldest that is kept; servers without a reply are left out.
    pub(super) fn until(&self, counted: Counted, now: Instant) -> HashMap<ServerId, ReplyTimes> {
        let (begin, before) = self.kept.front().expect("one is always kept");
        let seconds = now.saturating_duration_since(*begin).as_secs_f64();
        let new = counted.by_server().into_iter().filter_map(|(server, times)| {
            let times = before.get(&server).map_or(times.clone(), |before| times.since(before));
            Some((server, shown(&times, seconds)?))
        });
        new.collect()
    }
}

fn shown(times: &Distribution, seconds: f64) -> Option<ReplyTimes> {
    let quantile = |share| times.quantile(share).map(|time| time.as_secs_f64());
    Some(ReplyTimes {
        seconds,
        count: times.len(),
        p50_seconds: quantile(0.5)?,
        p95_seconds: quantile(0.95)?,
        p99_seconds: quantile(0.99)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Histogram;

    fn counted(histogram: &Histogram) -> Counted {
        let mut sum = Distribution::default();
        sum.add(histogram);
        Counted(HashMap::from([(("write".to_owned(), ServerId(1)), sum)]))
    }

    #[test]
    fn only_the_last_minute_is_shown() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let (histogram, mut minute) = (Histogram::default(), LastMinute::new(start));
        histogram.count(1_000_000);
        for second in (10..=60).step_by(10) {
            minute.keep(counted(&histogram), at(second));
        }
        assert!(minute.until(counted(&histogram), at(65)).is_empty(), "the slow one was before the minute");
        for _ in 0..99 {
            histogram.count(100);
        }
        histogram.count(10_000);
        let shown = minute.until(counted(&histogram), at(65))[&ServerId(1)];
        assert_eq!((shown.seconds, shown.count), (55.0, 100));
        assert_eq!((shown.p50_seconds, shown.p99_seconds), (104e-6, 104e-6));
    }
}
