//! One run: every candidate under the same loads, in turns, so that what the machine does meanwhile hits all alike.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::by_name;
use crate::candidate::{self, Candidate, NotStarted, Programs, Running, Surroundings};
use crate::case::Case;
use crate::launch::Placement;
use crate::load::{Arrivals, Fault, Generator, Load, Mode, Tally};
use crate::progress::Progress;
use crate::split;
use crate::statistics::{Figures, Latency, median};
use crate::system_calls::{SystemCalls, Tracer};
use crate::target::Target;
use crate::usage::{Usage, peak_memory, reset_peak_memory};

/// What a run measures.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Cases with the number of connections.
    pub(crate) loads: Vec<(Case, usize)>,
    pub(crate) pace: Pace,
    pub(crate) candidates: Vec<Candidate>,
    /// Who is measured under which case.
    pub(crate) takes_part: fn(Candidate, Case) -> bool,
    pub(crate) rounds: usize,
    /// Measured after the rounds.
    pub(crate) comparisons: Comparisons,
    /// Of each measured window.
    pub(crate) window: Duration,
    /// Before each window.
    pub(crate) warm_up: Duration,
    /// Of the pass in which system calls are counted, if they are.
    pub(crate) trace_window: Option<Duration>,
}

impl Plan {
    /// How often a candidate is measured in a round.
    fn passes(&self, candidate: Candidate) -> usize {
        let passes = |case: Case| match self.pace {
            Pace::Both { .. } if case.has_open_pass() => 2,
            Pace::Closed | Pace::Open { .. } | Pace::Both { .. } => 1,
        };
        let cases = self.loads.iter().map(|(case, _)| *case);
        cases.filter(|case| (self.takes_part)(candidate, *case)).map(passes).sum()
    }
}

/// What is compared by itself, in rounds of its own: the parties of a set one right after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparisons {
    pub(crate) sets: Vec<Vec<Party>>,
    pub(crate) rounds: usize,
}

impl Comparisons {
    fn passes(&self) -> usize {
        self.sets.iter().map(Vec::len).sum::<usize>() * self.rounds
    }
}

/// A candidate under a load in a closed loop, as one of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Party {
    pub(crate) case: Case,
    pub(crate) connections: usize,
    pub(crate) candidate: Candidate,
}

impl Party {
    pub(crate) fn is_of(self, row: &Row) -> bool {
        (self.case, self.connections, self.candidate, Mode::Closed)
            == (row.case, row.connections, row.candidate, row.mode)
    }
}

/// What a run found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) rows: Vec<Row>,
    /// A row for each party of each comparison.
    pub(crate) comparisons: Vec<Vec<Row>>,
}

impl Findings {
    pub(crate) fn has_failed(&self) -> bool {
        let mut rows = self.rows.iter().chain(self.comparisons.iter().flatten());
        rows.any(|row| matches!(row.outcome, Outcome::Failed(_)))
    }
}

/// Which loops are run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    Closed,
    /// All cases at this rate.
    Open {
        rate: f64,
        arrivals: Arrivals,
    },
    /// All cases in a closed loop. Those with an open pass then also at this part of what the middle candidate did
    /// there, the same for all, so that their latencies can be compared.
    Both {
        part: f64,
        arrivals: Arrivals,
    },
}

/// A candidate under one load, over all rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(with = "by_name")]
    pub(crate) case: Case,
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    #[serde(with = "by_name")]
    pub(crate) candidate: Candidate,
    pub(crate) outcome: Outcome,
    /// Nothing where the candidate has no process, was not measured, or nobody asked; counted in the closed loop only.
    pub(crate) system_calls: Option<SystemCalls>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// One entry a round.
    Measured(Vec<Figures>),
    /// Not on this machine.
    Absent(String),
    /// An open loop's rate was more than it could do, in at least one round. Requests a second.
    RateNotHeld {
        #[serde(rename = "asked_per_second")]
        asked: f64,
        #[serde(rename = "reached_per_second")]
        reached: f64,
    },
    /// Did not start, or gave wrong or no replies.
    Failed(String),
}

/// Runs the plan; what ends or fails underway stands in the rows.
pub(crate) fn run(
    plan: &Plan,
    placement: &Placement,
    server: &Target,
    programs: &Programs,
    directory: &Path,
) -> Findings {
    let surroundings = Surroundings { cpu: placement.candidate, workers: 1, server, programs, directory };
    let start = |&candidate: &Candidate| Contestant { candidate, running: candidate::start(candidate, &surroundings) };
    let contestants: Vec<_> = plan.candidates.iter().map(start).collect();
    let serving = contestants.iter().filter(|contestant| contestant.running.is_ok());
    let passes: usize = serving.map(|contestant| plan.passes(contestant.candidate)).sum();
    let progress = Progress::new(passes * plan.rounds + plan.comparisons.passes());
    let mut contest = Contest { plan, placement, server, directory, contestants, progress };
    let rows = contest.measure();
    Findings { rows, comparisons: contest.compare() }
}

/// Those that are compared, and how.
struct Contest<'a> {
    plan: &'a Plan,
    placement: &'a Placement,
    server: &'a Target,
    directory: &'a Path,
    contestants: Vec<Contestant>,
    progress: Progress,
}

struct Contestant {
    candidate: Candidate,
    running: Result<Running, NotStarted>,
}

/// One load, and what is known of each candidate under it.
struct Trial {
    rows: Vec<Row>,
    /// Whose row each is: indexes of the contestants.
    places: Vec<usize>,
    /// Indexes of rows, in the order of this round.
    turns: VecDeque<usize>,
}

impl Contest<'_> {
    fn measure(&mut self) -> Vec<Row> {
        let first = match self.plan.pace {
            Pace::Closed | Pace::Both { .. } => Mode::Closed,
            Pace::Open { rate, arrivals } => Mode::Open { rate, arrivals },
        };
        let trials = self.plan.loads.iter().map(|&(case, connections)| self.trial(case, first, connections)).collect();
        let mut measured = self.measure_all(trials, self.plan.rounds);
        if let Some(window) = self.plan.trace_window {
            measured.iter_mut().for_each(|trial| self.count_all_system_calls(window, &mut trial.rows));
        }
        let open = measured.iter().filter_map(|trial| self.open_trial(trial)).collect();
        let open = self.measure_all(open, self.plan.rounds);
        measured.into_iter().chain(open).flat_map(|trial| trial.rows).collect()
    }

    /// Also parties of different loads have nothing between them here.
    fn compare(&mut self) -> Vec<Vec<Row>> {
        let trials = self.plan.comparisons.sets.iter().filter_map(|parties| self.comparison(parties)).collect();
        let measured = self.measure_all(trials, self.plan.comparisons.rounds);
        measured.into_iter().map(|trial| trial.rows).collect()
    }

    /// Nothing where one of them does not run.
    fn comparison(&self, parties: &[Party]) -> Option<Trial> {
        let runs = |contestant: &Contestant, party: &Party| {
            contestant.candidate == party.candidate && contestant.running.is_ok()
        };
        let place = |party| self.contestants.iter().position(|contestant| runs(contestant, party));
        let places = parties.iter().map(place).collect::<Option<Vec<_>>>()?;
        let row = |party: &Party| Row::before_rounds(*party, Mode::Closed, Outcome::Measured(Vec::new()));
        Some(Trial { rows: parties.iter().map(row).collect(), turns: (0..places.len()).collect(), places })
    }

    fn trial(&self, case: Case, mode: Mode, connections: usize) -> Trial {
        let row = |contestant: &Contestant| {
            let party = Party { case, connections, candidate: contestant.candidate };
            Row::before_rounds(party, mode, contestant.before_rounds())
        };
        let takes_part = |place: &usize| (self.plan.takes_part)(self.contestants[*place].candidate, case);
        let places: Vec<usize> = (0..self.contestants.len()).filter(takes_part).collect();
        let rows = places.iter().map(|&place| row(&self.contestants[place])).collect();
        Trial { rows, turns: (0..places.len()).collect(), places }
    }

    /// The same load at a rate that all can hold, if the plan has such a pass.
    fn open_trial(&self, closed: &Trial) -> Option<Trial> {
        let Pace::Both { part, arrivals } = self.plan.pace else { return None };
        let load = closed.rows.first().filter(|row| row.case.has_open_pass())?;
        let rate = middle_rate(&closed.rows)? * part;
        Some(self.trial(load.case, Mode::Open { rate, arrivals }, load.connections))
    }

    /// All loads once, then all again: also two loads are compared by what was measured at nearly the same time. Who goes
    /// first changes from round to round.
    fn measure_all(&mut self, mut trials: Vec<Trial>, rounds: usize) -> Vec<Trial> {
        for round in 1..=rounds {
            for Trial { rows, places, turns } in &mut trials {
                if let Some(row) = rows.first() {
                    self.progress.load(&format!("round {round}: {}", row.load()));
                }
                for &turn in &*turns {
                    self.measure_one(places[turn], &mut rows[turn]);
                }
                turns.rotate_left(1.min(turns.len()));
            }
        }
        trials
    }

    /// One round of one candidate, unless it is out.
    fn measure_one(&mut self, place: usize, row: &mut Row) {
        let (Outcome::Measured(rounds), Ok(running)) = (&mut row.outcome, &mut self.contestants[place].running) else {
            return;
        };
        let (case, connections, mode) = (row.case.name(), row.connections, row.mode);
        let round = rounds.len() + 1;
        self.progress
            .step(&format!("{case}, {connections} connections, {mode}: {}, round {round}", row.candidate.name()));
        let target = running.target(self.server);
        let load = Load { target, case: row.case, mode: row.mode, connections: row.connections };
        let measured = split::watched(row.candidate, &load.target, load.case, || {
            measure(self.plan, self.placement, &load, running)
        });
        match measured {
            Ok(Round::Held(figures)) => rounds.push(figures),
            Ok(Round::NotHeld { asked, reached }) => row.outcome = Outcome::RateNotHeld { asked, reached },
            Err(why) => row.outcome = Outcome::Failed(why),
        }
    }

    /// One pass for each candidate that has given replies and has a process.
    fn count_all_system_calls(&self, window: Duration, rows: &mut [Row]) {
        for row in rows {
            let contestant = self.contestants.iter().find(|contestant| contestant.candidate == row.candidate);
            if let Some(contestant) = contestant
                && let (Outcome::Measured(_), Ok(running)) = (&row.outcome, &contestant.running)
                && let Some(process) = running.process_id()
            {
                let target = running.target(self.server);
                let load = Load { target, case: row.case, mode: row.mode, connections: row.connections };
                let count =
                    |window| self.count_system_calls(window, &load, process).unwrap_or_else(SystemCalls::Unknown);
                // Under strace a candidate may take longer than that for its first megabyte.
                row.system_calls = Some(match count(window) {
                    SystemCalls::Unknown(_) => count(window * 4),
                    counted @ SystemCalls::Counted { .. } => counted,
                });
            }
        }
    }

    fn count_system_calls(&self, window: Duration, load: &Load, process: u32) -> Result<SystemCalls, String> {
        let of_load = |fault: Fault| fault.to_string();
        let generator = Generator::start(load, &self.placement.generators).map_err(of_load)?;
        generator.run_for(self.plan.warm_up).map_err(of_load)?;
        let tracer = Tracer::attach(process, self.placement.stand_in, self.directory)?;
        generator.open_window();
        generator.run_for(window).map_err(of_load)?;
        // The load goes on meanwhile, so that what is counted is work and not its end.
        let calls = tracer.detach()?;
        let tally = generator.finish().map_err(of_load)?;
        Ok(SystemCalls::of(&calls, tally.replies))
    }
}

/// Requests a second of the candidate in the middle: one very slow rival does not leave all the others half asleep.
fn middle_rate(rows: &[Row]) -> Option<f64> {
    median(&rows.iter().filter_map(|row| Some(row.median()?.requests_per_second)).collect::<Vec<_>>())
}

impl Row {
    fn before_rounds(party: Party, mode: Mode, outcome: Outcome) -> Row {
        let Party { case, connections, candidate } = party;
        Row { case, mode, connections, candidate, outcome, system_calls: None }
    }
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

/// What came of one round.
enum Round {
    Held(Figures),
    NotHeld { asked: f64, reached: f64 },
}

fn measure(plan: &Plan, placement: &Placement, load: &Load, running: &mut Running) -> Result<Round, String> {
    let window = measure_window(plan, placement, load, running.process_id());
    match (window, running.ended()) {
        (_, Ok(Some(status))) => Err(format!("ended underway with {status}")),
        (_, Err(error)) => Err(error.to_string()),
        (Err(error), Ok(None)) => Err(error),
        (Ok(window), Ok(None)) if window.tally.replies == 0 => Err(Fault::NoReply.to_string()),
        (Ok(window), Ok(None)) => Ok(window.judge(load)),
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
    fn judge(&self, load: &Load) -> Round {
        let figures = self.figures();
        match load.mode {
            Mode::Open { rate, .. } if !self.tally.is_rate_held(load.connections) => {
                Round::NotHeld { asked: rate, reached: figures.requests_per_second }
            }
            Mode::Open { .. } | Mode::Closed => Round::Held(figures),
        }
    }

    fn figures(&self) -> Figures {
        let requests = self.tally.replies as f64;
        let used = self.used.as_ref();
        Figures {
            requests_per_second: requests / self.length.as_secs_f64(),
            cpu_us_per_request: used.map(|(usage, _)| usage.cpu.as_secs_f64() * 1e6 / requests),
            kernel_share: used.and_then(|(usage, _)| usage.kernel_share()),
            voluntary_switches_per_request: used.map(|(usage, _)| usage.voluntary_switches as f64 / requests),
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
