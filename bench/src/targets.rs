//! What the balancer promises, as ratios within one run, and what a run says of it.
//!
//! The promises are data: a new one is a line in [`TARGETS`]. A run prints them and exits alike whether they are reached,
//! since they depend on time and on what else the machine does.

use std::fmt;

use crate::candidate::Candidate;
use crate::case::Case;
use crate::parts::Parts;
use crate::record::Record;
use crate::run::{Comparisons, Party};
use crate::statistics::Figures;
use crate::statistics::{added_p50_ratios, cpu_ratios, median, middle_half, p50_ratios, throughput_ratios};
use crate::{allocations, routing_table, spread};

/// One promise.
pub(crate) struct Target {
    pub(crate) promise: &'static str,
    quantity: Quantity,
    pub(crate) bound: Bound,
}

/// What is measured.
#[derive(Clone, Copy)]
enum Quantity {
    /// CPU time per request of the first by that of the second.
    Cpu(Party, Party),
    /// Requests a second of the first by those of the second.
    Throughput(Party, Party),
    /// Median latency of the first by that of the second.
    Latency(Party, Party),
    /// What each of two adds to the median latency of a third, a direct connection: the first by the second.
    AddedLatency(Party, Party, Party),
    /// Allocations of the workers per query of a case, of the candidate that has most.
    Allocations(Case, &'static [Candidate]),
    /// KiB of a candidate's own memory for a session that waits.
    IdleMemory(Candidate),
    /// Sessions of the fullest worker by the mean of all, in the worst trial.
    Spread(Candidate),
    /// Nanoseconds of a step.
    Step(&'static str),
    /// Of a step over a long text, in GB/s.
    Rate(&'static str),
    /// Milliseconds that a change of the routing table takes.
    TableChange(&'static str),
    /// Percent of a core that health checks take.
    Monitoring,
}

/// What is promised of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    Within(f64, f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
            Bound::Within(least, most) => (least..=most).contains(&value),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtMost(most) => write!(f, "≤ {most:.2}"),
            Bound::AtLeast(least) => write!(f, "≥ {least:.2}"),
            Bound::Within(least, most) => write!(f, "{least:.2} to {most:.2}"),
        }
    }
}

/// What a run says of a promise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Reached(f64),
    Missed(f64),
    /// The run did not have what it takes.
    NotMeasured,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Reached(_) => "yes",
            Verdict::Missed(_) => "**no**",
            Verdict::NotMeasured => "not measured",
        })
    }
}

impl Verdict {
    /// The measured value, as it is shown.
    pub(crate) fn value(self) -> String {
        match self {
            Verdict::Reached(value) | Verdict::Missed(value) => format!("{value:.2}"),
            Verdict::NotMeasured => "-".to_owned(),
        }
    }
}

use Bound::{AtLeast, AtMost, Within};
use Candidate::{Direct, Haproxy, ProxySql, Relay, Sqluice, SqluiceEpoll, SqluiceSplit, SqluiceSplitEpoll};
use Case::{Idle, PointSelect, Prepared, ReadWrite, Result1M, Result64K, Short};
use Quantity::{
    AddedLatency, Allocations, Cpu, IdleMemory, Latency, Monitoring, Rate, Spread, Step, TableChange, Throughput,
};

const fn party(case: Case, connections: usize, candidate: Candidate) -> Party {
    Party { case, connections, candidate }
}

const fn target(promise: &'static str, quantity: Quantity, bound: Bound) -> Target {
    Target { promise, quantity, bound }
}

/// Two candidates under the same load.
const fn both(case: Case, connections: usize, first: Candidate, second: Candidate) -> (Party, Party) {
    (party(case, connections, first), party(case, connections, second))
}

const fn cpu(of: (Party, Party)) -> Quantity {
    Cpu(of.0, of.1)
}

const fn throughput(of: (Party, Party)) -> Quantity {
    Throughput(of.0, of.1)
}

/// Connections at which each case stands in the promises and in a recorded run.
pub(crate) const FEW: usize = 16;
pub(crate) const MANY: usize = 64;
pub(crate) const VERY_MANY: usize = 1000;
pub(crate) const IDLE: usize = 5000;

/// The balancer on both engines, without and with reads split to a replica.
const WHOLE: [Candidate; 2] = [Sqluice, SqluiceEpoll];
const SPLIT: [Candidate; 2] = [SqluiceSplit, SqluiceSplitEpoll];

/// What a recorded run measures: what the promises name, and what the README shows beside them. Loads that are compared
/// stand next to each other.
pub(crate) const RECORD_LOADS: [(Case, usize); 11] = [
    (PointSelect, 1),
    (Idle, IDLE),
    (PointSelect, MANY),
    (Prepared, MANY),
    (PointSelect, VERY_MANY),
    (ReadWrite, MANY),
    (Case::Row4K, MANY),
    (Result64K, FEW),
    (Result1M, FEW),
    (Short, FEW),
    (Case::ShortResumed, FEW),
];
/// Its rounds and windows: many short ones, as a machine is slow for seconds at a time, and more of them where a promise
/// hangs on it. On two CPUs it takes a quarter of an hour.
pub(crate) const RECORD_ROUNDS: usize = 3;
const COMPARISON_ROUNDS: usize = 21;
pub(crate) const RECORD_SECONDS: f64 = 0.4;

pub(crate) const TARGETS: [Target; 29] = [
    target("point select, 64 connections: CPU / relay", cpu(both(PointSelect, MANY, Sqluice, Relay)), AtMost(1.15)),
    target("point select, 64 connections: CPU / HAProxy", cpu(both(PointSelect, MANY, Sqluice, Haproxy)), AtMost(0.90)),
    target(
        "point select, 1000 connections: CPU / relay",
        cpu(both(PointSelect, VERY_MANY, Sqluice, Relay)),
        AtMost(1.15),
    ),
    target(
        "point select, 1000 connections: CPU / HAProxy",
        cpu(both(PointSelect, VERY_MANY, Sqluice, Haproxy)),
        AtMost(0.85),
    ),
    target(
        "point select, 64 connections, epoll engine: CPU / HAProxy",
        cpu(both(PointSelect, MANY, SqluiceEpoll, Haproxy)),
        AtMost(0.95),
    ),
    target(
        "point select, 1 connection: p50 added to direct / HAProxy's",
        AddedLatency(party(PointSelect, 1, Sqluice), party(PointSelect, 1, Haproxy), party(PointSelect, 1, Direct)),
        AtMost(1.0),
    ),
    target(
        "prepared statements, 64 connections: CPU / text protocol",
        Cpu(party(Prepared, MANY, Sqluice), party(PointSelect, MANY, Sqluice)),
        Within(0.95, 1.05),
    ),
    target("64 KiB results: throughput / HAProxy", throughput(both(Result64K, FEW, Sqluice, Haproxy)), AtLeast(1.0)),
    target("64 KiB results: CPU per MiB / relay", cpu(both(Result64K, FEW, Sqluice, Relay)), AtMost(1.10)),
    target("1 MiB results: throughput / HAProxy", throughput(both(Result1M, FEW, Sqluice, Haproxy)), AtLeast(1.0)),
    target("1 MiB results: CPU per MiB / relay", cpu(both(Result1M, FEW, Sqluice, Relay)), AtMost(1.10)),
    target(
        "1 active beside 5,000 idle sessions: CPU / 1 alone",
        Cpu(party(Idle, IDLE, Sqluice), party(PointSelect, 1, Sqluice)),
        AtMost(1.05),
    ),
    target(
        "1 active beside 5,000 idle sessions: p50 / 1 alone",
        Latency(party(Idle, IDLE, Sqluice), party(PointSelect, 1, Sqluice)),
        AtMost(1.05),
    ),
    target("memory per idle session, both sides: KiB", IdleMemory(Sqluice), AtMost(4.0)),
    target("memory per idle session, both sides, epoll engine: KiB", IdleMemory(SqluiceEpoll), AtMost(4.0)),
    target("allocations per point select", Allocations(PointSelect, &WHOLE), AtMost(0.0)),
    target("allocations per prepared statement", Allocations(Prepared, &WHOLE), AtMost(0.0)),
    target("allocations per point select at a replica", Allocations(PointSelect, &SPLIT), AtMost(0.0)),
    target("allocations per prepared statement at a replica", Allocations(Prepared, &SPLIT), AtMost(0.0)),
    target("16 long sessions on 4 workers: fullest / mean", Spread(Sqluice), AtMost(1.25)),
    target("16 long sessions on 4 workers, epoll engine: fullest / mean", Spread(SqluiceEpoll), AtMost(1.25)),
    target(
        "point select with split on, 64 connections: CPU / by user name",
        cpu(both(PointSelect, MANY, SqluiceSplit, Sqluice)),
        AtMost(1.15),
    ),
    target(
        "point select with split on, 64 connections, epoll engine: CPU / by user name",
        cpu(both(PointSelect, MANY, SqluiceSplitEpoll, SqluiceEpoll)),
        AtMost(1.15),
    ),
    target("classification of a statement of 100 bytes: ns", Step(micro::CLASSIFY_SHORT), AtMost(150.0)),
    target("classification of a statement of 64 KiB: GB/s", Rate(micro::CLASSIFY_LONG), AtLeast(1.0)),
    target(
        "1,000 servers, 10,000 users: next table after one turned: ms",
        TableChange(routing_table::NEXT_TABLE),
        AtMost(20.0),
    ),
    target("1,000 servers, 10,000 users: a worker takes it: ms", TableChange(routing_table::TAKEN), AtMost(0.01)),
    target("health checks of 200 servers every 500 ms: % of a core", Monitoring, AtMost(2.0)),
    target("short connections: CPU per cycle / ProxySQL", cpu(both(Short, FEW, Sqluice, ProxySql)), AtMost(0.70)),
];

/// Whom the promises compare, each set once.
pub(crate) fn comparisons() -> Comparisons {
    let mut sets: Vec<Vec<Party>> = Vec::new();
    for parties in TARGETS.iter().map(|target| target.quantity.parties()) {
        if !parties.is_empty() && !sets.contains(&parties) {
            sets.push(parties);
        }
    }
    Comparisons { sets, rounds: COMPARISON_ROUNDS }
}

impl Quantity {
    fn parties(self) -> Vec<Party> {
        match self {
            Cpu(one, other) | Throughput(one, other) | Latency(one, other) => vec![one, other],
            AddedLatency(one, other, direct) => vec![one, other, direct],
            Allocations(..) | IdleMemory(_) | Spread(_) | Step(_) | Rate(_) | TableChange(_) | Monitoring => Vec::new(),
        }
    }

    /// What the run has of it: a value a round where it is a ratio.
    fn measured(self, record: &Record) -> Option<Vec<f64>> {
        let two = |ratios: fn(&[Figures], &[Figures]) -> Vec<f64>, parties| {
            record.compared(parties).map(|[one, other]| ratios(one, other))
        };
        let parts = record.parts.as_ref();
        match self {
            Cpu(one, other) => two(cpu_ratios, [one, other]),
            Throughput(one, other) => two(throughput_ratios, [one, other]),
            Latency(one, other) => two(p50_ratios, [one, other]),
            AddedLatency(one, other, direct) => {
                let [one, other, direct] = record.compared([one, other, direct])?;
                Some(added_p50_ratios(one, other, direct))
            }
            Allocations(case, candidates) => one(allocations(parts?, case, candidates)),
            IdleMemory(candidate) => one(idle_memory(parts?, candidate)),
            Spread(candidate) => one(spread(parts?, candidate)),
            Step(name) => one(step(parts?, name)),
            Rate(name) => one(step(parts?, name).map(|nanoseconds| micro::LONG_LENGTH as f64 / nanoseconds)),
            TableChange(what) => one(table_change(parts?, what)),
            Monitoring => one(parts?.monitoring.first().map(|row| row.percent_of_a_core)),
        }
    }
}

fn one(value: Option<f64>) -> Option<Vec<f64>> {
    value.map(|value| vec![value])
}

impl Target {
    pub(crate) fn verdict(&self, record: &Record) -> Verdict {
        let middle = self.quantity.measured(record).and_then(|values| median(&values));
        match middle.filter(|value| value.is_finite()) {
            Some(value) if self.bound.holds(value) => Verdict::Reached(value),
            Some(value) => Verdict::Missed(value),
            None => Verdict::NotMeasured,
        }
    }

    /// How far the rounds lie apart, where there are some.
    fn middle_half(&self, record: &Record) -> String {
        let values = self.quantity.measured(record).filter(|values| values.len() > 1);
        let bounds = values.and_then(|values| middle_half(&values));
        bounds.map_or_else(|| "-".to_owned(), |(least, most)| format!("{least:.2} to {most:.2}"))
    }
}

fn allocations(parts: &Parts, case: Case, candidates: &[Candidate]) -> Option<f64> {
    let rows = parts.allocations.iter().filter(|row| row.case == case && candidates.contains(&row.candidate));
    rows.filter_map(allocations::Row::per_query).reduce(f64::max)
}

fn idle_memory(parts: &Parts, candidate: Candidate) -> Option<f64> {
    let row = parts.idle_memory.iter().find(|row| row.candidate == candidate)?;
    Some(row.per_session()? / 1024.0)
}

fn spread(parts: &Parts, candidate: Candidate) -> Option<f64> {
    parts.spread.iter().find(|spread| spread.candidate == candidate).map(spread::Spread::worst)
}

fn step(parts: &Parts, name: &str) -> Option<f64> {
    parts.steps.iter().find(|row| row.step == name).map(|row| row.nanoseconds)
}

fn table_change(parts: &Parts, what: &str) -> Option<f64> {
    parts.routing_table.iter().find(|row| row.what == what).map(|row| row.median_us / 1000.0)
}

/// As a table that a terminal shows well and Markdown takes.
pub(crate) fn render(record: &Record) -> String {
    let mut text = "| promise (`/`: a ratio within a round) | must be | is | middle half of the rounds | reached |\n\
        |---|---|---|---|---|\n"
        .to_owned();
    for target in &TARGETS {
        let verdict = target.verdict(record);
        let (promise, bound, value) = (target.promise, target.bound, verdict.value());
        text.push_str(&format!("| {promise} | {bound} | {value} | {} | {verdict} |\n", target.middle_half(record)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Outcome;
    use crate::steps;
    use crate::testing::{figures, record, row};

    fn check(promise: &str, record: &Record, expected: Verdict) {
        let target = TARGETS.iter().find(|target| target.promise == promise).expect("a promise");
        assert_eq!(target.verdict(record), expected, "{promise}");
    }

    #[test]
    fn a_promise_is_judged_by_the_rows_it_names() {
        let record = record();
        check("point select, 64 connections: CPU / relay", &record, Verdict::Missed(1.2));
        check("point select, 64 connections: CPU / HAProxy", &record, Verdict::Reached(0.8));
        check("point select, 1000 connections: CPU / relay", &record, Verdict::NotMeasured);
        check("short connections: CPU per cycle / ProxySQL", &record, Verdict::NotMeasured);
    }

    #[test]
    fn added_latency_counts_from_the_direct_connection() {
        let mut record = record();
        record.rows = [(Candidate::Direct, 40.0), (Candidate::Sqluice, 70.0), (Candidate::Haproxy, 80.0)]
            .map(|(candidate, p50)| {
                let mut round = figures(1.0);
                round.latency_us.p50 = p50;
                row(Case::PointSelect, 1, candidate, Outcome::Measured(vec![round]))
            })
            .to_vec();
        check("point select, 1 connection: p50 added to direct / HAProxy's", &record, Verdict::Reached(0.75));
    }

    #[test]
    fn promises_beside_the_table_are_judged_by_their_parts() {
        let mut record = record();
        check("allocations per point select", &record, Verdict::NotMeasured);
        let allocations = |case, allocations| allocations::Row {
            candidate: Candidate::Sqluice,
            case,
            outcome: allocations::Outcome::Counted { queries: 4, allocations, bytes: 64 },
        };
        let step = |step: &str, nanoseconds| steps::Row {
            step: step.to_owned(),
            nanoseconds,
            instructions: steps::Instructions::Absent("no valgrind".to_owned()),
        };
        record.parts = Some(Parts {
            allocations: vec![allocations(Case::PointSelect, 0), allocations(Case::Prepared, 1)],
            spread: vec![spread::Spread {
                candidate: Candidate::Sqluice,
                workers: 4,
                sessions: 16,
                ratios: vec![1.0, 1.5, 1.25],
            }],
            steps: vec![
                step(micro::CLASSIFY_SHORT, 120.0),
                step(micro::CLASSIFY_LONG, 2.0 * micro::LONG_LENGTH as f64),
            ],
            ..Parts::default()
        });
        check("allocations per point select", &record, Verdict::Reached(0.0));
        check("allocations per prepared statement", &record, Verdict::Missed(0.25));
        check("allocations per point select at a replica", &record, Verdict::NotMeasured);
        check("16 long sessions on 4 workers: fullest / mean", &record, Verdict::Missed(1.5));
        check("classification of a statement of 100 bytes: ns", &record, Verdict::Reached(120.0));
        check("classification of a statement of 64 KiB: GB/s", &record, Verdict::Missed(0.5));
        check("memory per idle session, both sides: KiB", &record, Verdict::NotMeasured);
    }

    #[test]
    fn what_promises_share_is_compared_once() {
        let comparisons = comparisons().sets;
        let idle = [party(Idle, IDLE, Sqluice), party(PointSelect, 1, Sqluice)];
        assert_eq!(comparisons.iter().filter(|parties| **parties == idle).count(), 1);
        assert!(comparisons.iter().all(|parties| (2..=3).contains(&parties.len())));
    }

    #[test]
    fn bounds_hold_up_to_their_edges() {
        assert!(Bound::AtMost(1.15).holds(1.15) && !Bound::AtMost(1.15).holds(1.16));
        assert!(Bound::AtLeast(1.0).holds(1.0) && !Bound::AtLeast(1.0).holds(0.99));
        assert!(Bound::Within(0.95, 1.05).holds(0.95) && !Bound::Within(0.95, 1.05).holds(1.06));
    }
}
