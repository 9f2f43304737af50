//! How evenly the balancer's workers share a few long sessions: while there are few, the kernel's own spread is not even.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqluice::admin::shapes::Status;

use crate::by_name;
use crate::candidate::{self, Candidate, NotStarted, Surroundings};
use crate::case::Case;
use crate::load;
use crate::statistics::median;

/// How long the balancer may take to forget the sessions of the last trial.
const END_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How a number of trials went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    #[serde(with = "by_name")]
    pub(crate) candidate: Candidate,
    pub(crate) workers: usize,
    pub(crate) sessions: usize,
    /// Largest number of sessions on a worker by the mean of all, of each trial.
    pub(crate) ratios: Vec<f64>,
}

impl Spread {
    /// Of all trials.
    pub(crate) fn worst(&self) -> f64 {
        self.ratios.iter().copied().fold(0.0, f64::max)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worst = self.worst();
        let middle = median(&self.ratios).unwrap_or_default();
        write!(
            f,
            "{:<18} {} sessions on {} workers, the fullest by the mean: worst {worst:.2}, median {middle:.2} of {} trials",
            self.candidate.name(),
            self.sessions,
            self.workers,
            self.ratios.len()
        )
    }
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trials {
    pub(crate) workers: usize,
    pub(crate) sessions: usize,
    pub(crate) count: usize,
}

/// The sessions of a trial log in at the same time. `None` where the engine is not to be had.
pub(crate) fn measure(
    candidate: Candidate,
    trials: Trials,
    surroundings: &Surroundings<'_>,
) -> Result<Option<Spread>, Box<dyn Error>> {
    let surroundings = &Surroundings { workers: trials.workers, ..*surroundings };
    let running = match candidate::start(candidate, surroundings) {
        Ok(running) => running,
        Err(NotStarted::Absent(_)) => return Ok(None),
        Err(NotStarted::Failed(why)) => return Err(why.into()),
    };
    let target = running.target(surroundings.server);
    let socket = candidate::admin_socket(candidate, surroundings.directory);
    let sessions = || sessions_by_worker(&surroundings.programs.sqluice, &socket);
    let mut ratios = Vec::new();
    for _ in 0..trials.count {
        await_empty(sessions)?;
        let by_worker =
            load::hold(&target, Case::PointSelect, trials.sessions, sessions).map_err(|fault| fault.to_string())??;
        let total: u64 = by_worker.iter().sum();
        if total != trials.sessions as u64 || by_worker.len() != trials.workers {
            return Err(format!("{} sessions are open, and the status says {by_worker:?}", trials.sessions).into());
        }
        ratios.push(fullest_by_mean(&by_worker));
    }
    let Trials { workers, sessions, .. } = trials;
    Ok(Some(Spread { candidate, workers, sessions, ratios }))
}

fn fullest_by_mean(by_worker: &[u64]) -> f64 {
    let total: u64 = by_worker.iter().sum();
    let fullest = by_worker.iter().copied().max().unwrap_or_default();
    fullest as f64 * by_worker.len() as f64 / total as f64
}

/// The balancer tells nobody when a session is over, so it is asked.
fn await_empty(sessions: impl Fn() -> Result<Vec<u64>, String>) -> Result<(), String> {
    let deadline = Instant::now() + END_TIME_MAX;
    loop {
        let by_worker = sessions()?;
        if by_worker.iter().all(|count| *count == 0) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("sessions that have quit are still there: {by_worker:?}"));
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

fn sessions_by_worker(sqluice: &Path, socket: &Path) -> Result<Vec<u64>, String> {
    let asked = Command::new(sqluice).args(["status", "--json", "--socket"]).arg(socket).output();
    let output = asked.map_err(|error| format!("`sqluice status`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`sqluice status`: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let status: Status =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("`sqluice status --json`: {error}"))?;
    Ok(status.sessions.by_worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_spread_is_one_and_a_single_busy_worker_is_their_number() {
        assert_eq!(fullest_by_mean(&[4, 4, 4, 4]), 1.0);
        assert_eq!(fullest_by_mean(&[5, 4, 4, 3]), 1.25);
        assert_eq!(fullest_by_mean(&[16, 0, 0, 0]), 4.0);
    }
}
