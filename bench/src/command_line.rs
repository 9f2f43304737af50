//! The command line, and what it makes of a run.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::backend::{Backend, Choice};
use crate::candidate::{Candidate, Programs};
use crate::case::Case;
use crate::launch::Placement;
use crate::load::{Arrivals, Mode};
use crate::output::Files;
use crate::parts::{self, Extent, Part};
use crate::relay;
use crate::run::{Comparisons, Pace, Plan};
use crate::target::Account;
use crate::targets;

/// Under strace: enough requests for a count, at a tenth of the speed.
const TRACE_WINDOW: Duration = Duration::from_millis(500);

/// Benchmark harness of sqluice
#[derive(Parser)]
#[command(version)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measure candidates under load, in turns, and print a table
    Run(Box<RunOptions>),
    /// Print a run that was kept, and draw it
    Report(ReportOptions),
    /// Serve as the server behind the candidates; writes its address on standard output
    StandIn {
        #[arg(long, default_value_t = any_port())]
        listen: SocketAddr,
        /// Listen there as well, as a replica of itself
        #[arg(long)]
        replica: Option<SocketAddr>,
    },
    /// Serve as a relay; writes its address on standard output
    Relay {
        /// The server to relay to
        #[arg(long)]
        to: SocketAddr,
        #[arg(long)]
        on: relay::Runtime,
    },
    /// Put load on an address where the stand-in server, or something in front of it, listens; writes `warm` when the
    /// measured window opens, and the replies in it when it is over
    Load {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, default_value = "point-select")]
        case: Case,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Length of the measured window
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Whether a login that is told to go elsewhere goes there, at most eight times in a row
        #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
        follow_instant_failovers: bool,
        #[command(flatten)]
        timetable: TimetableOptions,
    },
    #[command(flatten)]
    Part(Part),
    /// Repeat a step, for `micro`
    #[command(hide = true)]
    RepeatStep {
        #[arg(long)]
        step: String,
        #[arg(long)]
        times: u64,
    },
    /// Become another program: on one CPU, and ended when the bench ends
    #[command(hide = true)]
    Launch {
        #[arg(long)]
        cpu: usize,
        #[arg(long)]
        parent: u32,
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
}

/// What stands behind the candidates.
#[derive(Args)]
pub(crate) struct ServerOptions {
    /// `stand-in` answers from memory; `mariadb` and `mysql` are started for the run, with the scripts of `tests/servers`;
    /// an address is that of a server that runs
    #[arg(long, default_value = "stand-in", value_name = "stand-in|mariadb|mysql|ADDRESS")]
    backend: Choice,
    /// The account at a server given by its address. It needs all rights on the database `sqluice_bench`, which is made
    /// for the run and dropped after it
    #[arg(long, requires = "password_env")]
    user: Option<String>,
    /// The environment variable that has its password
    #[arg(long, value_name = "VARIABLE", requires = "user")]
    password_env: Option<String>,
}

impl ServerOptions {
    pub(crate) fn open(&self, plan: &Plan, placement: &Placement, directory: &Path) -> Result<Backend, Box<dyn Error>> {
        let account = self.user.as_ref().zip(self.password_env.as_ref()).map(|(user, variable)| {
            let password = std::env::var(variable).map_err(|error| format!("{variable}: {error}"))?;
            Ok::<_, String>(Account { user: user.clone(), password })
        });
        let connections = plan.loads.iter().map(|(_, connections)| *connections).max().unwrap_or(0);
        Backend::open(self.backend, account.transpose()?, connections, placement.stand_in, directory)
    }
}

/// When requests are sent.
#[derive(Args)]
pub(crate) struct TimetableOptions {
    /// Open loop: so many requests a second over all connections, whatever the replies do. Latency counts from the moment
    /// that a request is due
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// How the requests of an open loop lie in time
    #[arg(long, default_value = "poisson")]
    arrivals: Arrivals,
}

impl TimetableOptions {
    pub(crate) fn mode(&self) -> Mode {
        self.rate.map_or(Mode::Closed, |rate| Mode::Open { rate, arrivals: self.arrivals })
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        Ok(_) | Err(_) => Err("a number above 0 is needed".to_owned()),
    }
}

#[derive(Args)]
pub(crate) struct RunOptions {
    /// Each part once and shortly: exits with 1 when a candidate gives wrong or no replies, whatever it took
    #[arg(long)]
    smoke: bool,
    /// Length of a measured window
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often each candidate is measured under each load; 5 where nothing is given, with `--record` 3
    #[arg(long)]
    rounds: Option<usize>,
    /// Numbers of connections; in the case `idle`, of idle ones
    #[arg(long, value_delimiter = ',', default_value = "64")]
    connections: Vec<usize>,
    /// What is asked; all cases where nothing is given
    #[arg(long = "case", value_delimiter = ',')]
    cases: Vec<Case>,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    timetable: TimetableOptions,
    /// The open pass of a run without `--rate`: at this part of what the middle one of the candidates does in a closed
    /// loop, the same rate for all. 0 leaves the pass out
    #[arg(long, default_value_t = 0.5)]
    open_part: f64,
    /// What is measured; all where nothing is given
    #[arg(long, value_delimiter = ',')]
    candidates: Vec<Candidate>,
    /// The candidate that the others' CPU time is compared with
    #[arg(long, default_value = "relay")]
    pub(crate) base: Candidate,
    #[command(flatten)]
    pub(crate) programs: Programs,
    /// Leave out the pass under strace that counts system calls
    #[arg(long)]
    no_system_calls: bool,
    #[command(flatten)]
    pub(crate) files: Files,
    /// The full run: every load that a promise or the README names. Keeps it in bench/results and writes the README's
    /// figures
    #[arg(long, conflicts_with_all = ["smoke", "cases", "candidates", "connections", "seconds", "rate", "open_part", "base", "backend"])]
    pub(crate) record: bool,
}

/// What is done with a run that was kept.
#[derive(Args)]
pub(crate) struct ReportOptions {
    /// A file that `--json` wrote; the recorded run where nothing is given
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) files: Files,
    /// Draw the picture in bench/results anew, and write the figures in the README, from the recorded run
    #[arg(long, conflicts_with = "from")]
    pub(crate) write_readme: bool,
}

impl RunOptions {
    pub(crate) fn plan(&self) -> Plan {
        let all_if_none = |cases: &[Case]| {
            if cases.is_empty() { Case::ALL.to_vec() } else { cases.to_vec() }
        };
        let candidates = if self.candidates.is_empty() { Candidate::ALL.to_vec() } else { self.candidates.clone() };
        // Who is named is measured under everything that it can do.
        let takes_part = if self.candidates.is_empty() { Candidate::is_usual_in } else { Candidate::can_do };
        let cases = all_if_none(&self.cases);
        let pace = self.pace();
        if self.smoke {
            let (window, warm_up) = (Duration::from_millis(100), Duration::from_millis(20));
            let loads = cases.into_iter().map(|case| (case, 3)).collect();
            let trace_window = Some(window);
            return Plan {
                loads,
                pace,
                candidates,
                takes_part,
                rounds: 1,
                comparisons: Comparisons::default(),
                window,
                warm_up,
                trace_window,
            };
        }
        let seconds = if self.record { targets::RECORD_SECONDS } else { self.seconds };
        let window = Duration::from_secs_f64(seconds);
        let warm_up = warm_up(window);
        let loads = if self.record { targets::RECORD_LOADS.to_vec() } else { all_pairs(&cases, &self.connections) };
        let trace_window = (!self.no_system_calls).then_some(TRACE_WINDOW);
        let comparisons = if self.record { targets::comparisons() } else { Comparisons::default() };
        Plan { loads, pace, candidates, takes_part, rounds: self.rounds(), comparisons, window, warm_up, trace_window }
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.record { targets::RECORD_ROUNDS } else { 5 })
    }

    /// How much of the parts that are no table of requests; only a run of everything has them.
    pub(crate) fn parts(&self) -> Option<Extent> {
        match (self.smoke, self.record) {
            (true, _) => Some(parts::SMOKE),
            (false, true) => Some(parts::FULL),
            (false, false) => None,
        }
    }

    fn pace(&self) -> Pace {
        let arrivals = self.timetable.arrivals;
        match (self.timetable.rate, self.open_part) {
            (Some(rate), _) => Pace::Open { rate, arrivals },
            (None, part) if part > 0.0 => Pace::Both { part, arrivals },
            (None, _) => Pace::Closed,
        }
    }
}

/// Each case with each number of connections.
fn all_pairs(cases: &[Case], connections: &[usize]) -> Vec<(Case, usize)> {
    cases.iter().flat_map(|&case| connections.iter().map(move |&connections| (case, connections))).collect()
}

/// What a candidate gets to settle before a window: buffers grow, connections find their pace.
pub(crate) fn warm_up(window: Duration) -> Duration {
    (window / 4).min(Duration::from_secs(1))
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, ValueEnum};

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn names_on_the_command_line_are_those_of_the_table() {
        for case in Case::ALL {
            assert_eq!(case.to_possible_value().expect("not hidden").get_name(), case.name());
        }
        for runtime in relay::Runtime::value_variants() {
            assert_eq!(runtime.to_possible_value().expect("not hidden").get_name(), runtime.name());
        }
        for candidate in Candidate::ALL {
            assert_eq!(candidate.to_possible_value().expect("not hidden").get_name(), candidate.name());
        }
    }

    #[test]
    fn smoke_runs_every_part_once() {
        let line = CommandLine::try_parse_from(["sqluice-bench", "run", "--smoke"]).expect("a good command line");
        let Command::Run(options) = line.command else { panic!("the run command") };
        let plan = options.plan();
        assert_eq!((plan.loads.len(), plan.candidates.len(), plan.rounds), (Case::ALL.len(), Candidate::ALL.len(), 1));
    }
}
