//! How often a worker allocates for a query, once its sessions are logged in: not at all is what the data path promises.
//!
//! The whole balancer runs in this process, so that its worker's allocations can be counted: the same configuration, the
//! same threads, real sockets, and the stand-in server in a process of its own.

use std::error::Error;
use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};
use sqluice::config::Config;
use sqluice::server;

use crate::by_name;
use crate::candidate::{self, Candidate, NotStarted, Surroundings, configuration};
use crate::case::Case;
use crate::split;
use crate::target::Target;
use crate::{launch, load};

/// As every worker's thread is called.
const WORKER: &str = "sqluice-worker";

/// What is counted.
const CASES: [Case; 6] =
    [Case::PointSelect, Case::Prepared, Case::Row4K, Case::Result64K, Case::Result1M, Case::ReadWrite];

/// One case on one engine of the balancer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(with = "by_name")]
    pub(crate) candidate: Candidate,
    #[serde(with = "by_name")]
    pub(crate) case: Case,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Of all workers, over so many queries.
    Counted { queries: u64, allocations: u64, bytes: u64 },
    /// The engine is not to be had on this machine.
    Absent(String),
}

impl Row {
    /// Allocations a query.
    pub(crate) fn per_query(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Counted { queries, allocations, .. } => Some(allocations as f64 / queries as f64),
            Outcome::Absent(_) => None,
        }
    }

    /// Whether the promise of no allocation is broken where it is given: for statements with short replies.
    pub(crate) fn breaks_promise(&self) -> bool {
        let is_promised = match self.case {
            Case::PointSelect | Case::Prepared => true,
            Case::Row4K
            | Case::Result64K
            | Case::Result1M
            | Case::Short
            | Case::ShortResumed
            | Case::Idle
            | Case::ReadWrite => false,
        };
        match self.outcome {
            Outcome::Counted { allocations, .. } => is_promised && allocations > 0,
            Outcome::Absent(_) => false,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18} {:<13}", self.candidate.name(), self.case.name())?;
        match &self.outcome {
            Outcome::Counted { queries, allocations, bytes } => {
                let each = *allocations as f64 / *queries as f64;
                write!(f, " {allocations:>8} in {queries:>6} queries, {each:>7.3} a query, {bytes:>10} bytes")
            }
            Outcome::Absent(why) => write!(f, " skipped: {why}"),
        }
    }
}

const CANDIDATES: [Candidate; 4] =
    [Candidate::Sqluice, Candidate::SqluiceEpoll, Candidate::SqluiceSplit, Candidate::SqluiceSplitEpoll];

/// Sessions that ask at the same time.
const CONNECTIONS: usize = 8;

/// Counts over `queries` queries of each case, on both engines, in front of the stand-in server.
pub(crate) fn count(queries: usize, surroundings: &Surroundings<'_>) -> Result<Vec<Row>, Box<dyn Error>> {
    counting_alloc::start();
    let mut rows = Vec::new();
    for candidate in CANDIDATES {
        match candidate::require_engine(candidate) {
            Ok(()) => rows.extend(count_engine(candidate, queries, surroundings)?),
            Err(NotStarted::Absent(why)) => {
                rows.extend(cases(candidate).map(|case| Row {
                    candidate,
                    case,
                    outcome: Outcome::Absent(why.clone()),
                }));
            }
            Err(NotStarted::Failed(why)) => return Err(why.into()),
        }
    }
    Ok(rows)
}

/// What is counted of a candidate.
fn cases(candidate: Candidate) -> impl Iterator<Item = Case> {
    CASES.into_iter().filter(move |case| candidate.is_usual_in(*case))
}

fn count_engine(
    candidate: Candidate,
    queries: usize,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let directory = surroundings.directory.join(format!("{}-inside", candidate.name()));
    fs::create_dir(&directory)?;
    let address = launch::free_address()?;
    let file = directory.join("sqluice.toml");
    let server = surroundings.server;
    fs::write(&file, configuration::sqluice(candidate, 1, address, server, &directory, None))?;
    let running = server::start(Config::load(&file)?)?;
    let row = |case| {
        let target = server.through(address);
        let outcome = split::watched(candidate, &target, case, || count_case(&target, case, queries))?;
        Ok(Row { candidate, case, outcome })
    };
    let rows = cases(candidate).map(row).collect();
    running.stop()?;
    rows
}

fn count_case(target: &Target, case: Case, queries: usize) -> Result<Outcome, String> {
    // A megabyte a query: fewer say as much.
    let queries = if case == Case::Result1M { queries.div_ceil(10) } else { queries };
    let each = queries.div_ceil(CONNECTIONS);
    let mut looks = Vec::new();
    load::repeat(target, case, CONNECTIONS, each, || looks.push(of_workers())).map_err(|fault| fault.to_string())?;
    let (before, after) = (looks[0], looks[1]);
    let queries = (each * CONNECTIONS) as u64;
    Ok(Outcome::Counted { queries, allocations: after.0 - before.0, bytes: after.1 - before.1 })
}

/// Number and bytes of all allocations of the workers that run.
fn of_workers() -> (u64, u64) {
    let mut total = (0, 0);
    for allocated in counting_alloc::by_thread() {
        // A thread that has ended is none of the running balancer's.
        let name = fs::read_to_string(format!("/proc/self/task/{}/comm", allocated.thread)).unwrap_or_default();
        if name.starts_with(WORKER) {
            total = (total.0 + allocated.count, total.1 + allocated.bytes);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: Case, allocations: u64) -> Row {
        Row { candidate: Candidate::Sqluice, case, outcome: Outcome::Counted { queries: 10, allocations, bytes: 0 } }
    }

    #[test]
    fn only_short_replies_are_promised_to_cost_nothing() {
        assert!(row(Case::PointSelect, 1).breaks_promise() && row(Case::Prepared, 1).breaks_promise());
        assert!(!row(Case::PointSelect, 0).breaks_promise() && !row(Case::Result1M, 1).breaks_promise());
    }
}
