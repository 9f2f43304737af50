//! A run as a file would have it, for the tests of what is made from one.

use crate::candidate::Candidate;
use crate::case::Case;
use crate::load::Mode;
use crate::machine::Machine;
use crate::record::Record;
use crate::run::{Comparisons, Findings, Outcome, Pace, Plan, Row};
use crate::statistics::{Figures, Latency};
use crate::system_calls::{Named, SystemCalls};

/// One measurement in which only the CPU time matters.
pub(crate) fn figures(cpu_us: f64) -> Figures {
    Figures {
        requests_per_second: 12_345.6,
        cpu_us_per_request: Some(cpu_us),
        kernel_share: Some(0.75),
        voluntary_switches_per_request: Some(0.5),
        latency_us: Latency { p50: 100.0, p90: 200.0, p99: 300.0, p99_9: 400.0, max: 5000.0 },
        peak_memory_mib: Some(3.25),
    }
}

/// A row with one round.
pub(crate) fn row(case: Case, connections: usize, candidate: Candidate, outcome: Outcome) -> Row {
    Row { case, mode: Mode::Closed, connections, candidate, outcome, system_calls: None }
}

/// Everybody with point selects over 64 connections: relay 10 microseconds, HAProxy 15, the balancer 12.
pub(crate) fn record() -> Record {
    let candidate = |candidate, outcome| row(Case::PointSelect, 64, candidate, outcome);
    let most = vec![Named { name: "io_uring_enter".to_owned(), per_request: 0.25 }];
    let rows = vec![
        candidate(Candidate::Relay, Outcome::Measured(vec![figures(10.0)])),
        Row {
            system_calls: Some(SystemCalls::Counted { per_request: 0.25, most }),
            ..candidate(Candidate::Sqluice, Outcome::Measured(vec![figures(12.0)]))
        },
        Row {
            system_calls: Some(SystemCalls::Unknown("strace is not installed".to_owned())),
            ..candidate(Candidate::Haproxy, Outcome::Measured(vec![figures(15.0)]))
        },
        candidate(Candidate::ProxySql, Outcome::Absent("not given".to_owned())),
        candidate(Candidate::MySqlRouter, Outcome::Failed("no reply".to_owned())),
    ];
    let second = std::time::Duration::from_secs(1);
    let plan = Plan {
        loads: vec![(Case::PointSelect, 64)],
        pace: Pace::Closed,
        candidates: Candidate::ALL.to_vec(),
        takes_part: |_, _| true,
        rounds: 1,
        comparisons: Comparisons::default(),
        window: second,
        warm_up: second,
        trace_window: None,
    };
    let findings = Findings { rows, comparisons: Vec::new() };
    Record::new(&plan, Candidate::Relay, Machine::default(), findings, None)
}
