//! One run: every candidate under the same loads, in turns, so that what the machine does meanwhile hits all alike.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::candidate::{self, Candidate, NotStarted, Programs, Running, Surroundings};
use crate::case::Case;
use crate::launch::{Placement, Process};
use crate::load::{Fault, Generator, Load, Tally};
use crate::statistics::{Figures, Latency};
use crate::usage::{Usage, peak_memory, reset_peak_memory};

/// What a run measures.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) cases: Vec<Case>,
    pub(crate) connections: Vec<usize>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) rounds: usize,
    /// Of each measured window.
    pub(crate) window: Duration,
    /// Before each window.
    pub(crate) warm_up: Duration,
}

/// A candidate under one load, over all rounds.
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) connections: usize,
    pub(crate) candidate: Candidate,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// One entry a round.
    Measured(Vec<Figures>),
    /// Not on this machine.
    Absent(String),
    /// Did not start, or gave wrong or no replies.
    Failed(String),
}

/// Runs the plan; what ends or fails underway stands in the rows.
pub(crate) fn run(plan: &Plan, placement: &Placement, programs: &Programs, directory: &Path) -> io::Result<Vec<Row>> {
    let log = directory.join("stand-in.log");
    let (_server, server) = Process::start_own(placement.stand_in, &["stand-in"], &log)?;
    let surroundings = Surroundings { cpu: placement.candidate, server, programs, directory };
    let mut contestants: Vec<_> = plan
        .candidates
        .iter()
        .map(|&candidate| Contestant { candidate, running: candidate::start(candidate, &surroundings) })
        .collect();
    let mut rows = Vec::new();
    for &case in &plan.cases {
        for &connections in &plan.connections {
            eprintln!("{} with {connections} connections ...", case.name());
            rows.extend(measure_all(plan, placement, case, connections, &mut contestants));
        }
    }
    Ok(rows)
}

struct Contestant {
    candidate: Candidate,
    running: Result<Running, NotStarted>,
}

/// All rounds of one load. Who goes first changes from round to round.
fn measure_all(
    plan: &Plan,
    placement: &Placement,
    case: Case,
    connections: usize,
    contestants: &mut [Contestant],
) -> Vec<Row> {
    let mut rows: Vec<_> = contestants
        .iter()
        .map(|contestant| Row {
            case,
            connections,
            candidate: contestant.candidate,
            outcome: contestant.before_rounds(),
        })
        .collect();
    let mut turns: VecDeque<usize> = (0..contestants.len()).collect();
    for _ in 0..plan.rounds {
        for &turn in &turns {
            if let (Outcome::Measured(rounds), Ok(running)) = (&mut rows[turn].outcome, &mut contestants[turn].running)
            {
                match measure(plan, placement, case, connections, running) {
                    Ok(figures) => rounds.push(figures),
                    Err(why) => rows[turn].outcome = Outcome::Failed(why),
                }
            }
        }
        turns.rotate_left(1.min(turns.len()));
    }
    rows
}

impl Contestant {
    fn before_rounds(&self) -> Outcome {
        match &self.running {
            Ok(_) => Outcome::Measured(Vec::new()),
            Err(NotStarted::Absent(why)) => Outcome::Absent(why.clone()),
            Err(NotStarted::Failed(why)) => Outcome::Failed(why.clone()),
        }
    }
}

fn measure(
    plan: &Plan,
    placement: &Placement,
    case: Case,
    connections: usize,
    running: &mut Running,
) -> Result<Figures, String> {
    let load = Load { address: running.address, case, connections };
    let window = measure_window(plan, placement, &load, running.process_id());
    match (window, running.ended()) {
        (_, Ok(Some(status))) => Err(format!("ended underway with {status}")),
        (_, Err(error)) => Err(error.to_string()),
        (Err(error), Ok(None)) => Err(error),
        (Ok(window), Ok(None)) if window.tally.replies == 0 => Err(Fault::NoReply.to_string()),
        (Ok(window), Ok(None)) => Ok(window.figures()),
    }
}

/// What one window had.
struct Window {
    length: Duration,
    tally: Tally,
    /// Of the candidate's process.
    used: Option<(Usage, u64)>,
}

fn measure_window(plan: &Plan, placement: &Placement, load: &Load, process: Option<u32>) -> Result<Window, String> {
    let of_process = |error: io::Error| format!("what the process uses: {error}");
    process.map_or(Ok(()), reset_peak_memory).map_err(of_process)?;
    let generator = Generator::start(load, &placement.generators).map_err(|fault| fault.to_string())?;
    generator.run_for(plan.warm_up).map_err(|fault| fault.to_string())?;
    let before = process.map(Usage::of).transpose().map_err(of_process)?;
    let opened = Instant::now();
    generator.open_window();
    generator.run_for(plan.window).map_err(|fault| fault.to_string())?;
    generator.close_window();
    let length = opened.elapsed();
    let after = process.map(Usage::of).transpose().map_err(of_process)?;
    let peak = process.map(peak_memory).transpose().map_err(of_process)?;
    let tally = generator.finish().map_err(|fault| fault.to_string())?;
    let used = before.zip(after).zip(peak).map(|((before, after), peak)| (after.since(&before), peak));
    Ok(Window { length, tally, used })
}

impl Window {
    fn figures(&self) -> Figures {
        let requests = self.tally.replies as f64;
        let used = self.used.as_ref();
        Figures {
            requests_per_second: requests / self.length.as_secs_f64(),
            cpu_us_per_request: used.map(|(usage, _)| usage.cpu.as_secs_f64() * 1e6 / requests),
            kernel_share: used.and_then(|(usage, _)| usage.kernel_share()),
            switches_per_request: used.map(|(usage, _)| usage.voluntary_switches as f64 / requests),
            latency_us: self.latency(),
            peak_memory_mib: used.map(|(_, peak)| *peak as f64 / f64::from(1 << 20)),
        }
    }

    fn latency(&self) -> Latency {
        let at = |quantile| self.tally.latency.value_at_quantile(quantile) as f64 / 1000.0;
        Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: self.tally.latency.max() as f64 / 1000.0,
        }
    }
}
