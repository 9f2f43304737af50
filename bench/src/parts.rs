//! What is not a table of requests: memory of idle sessions, how workers share them, allocations, and the split of a login.
//!
//! Each is a command of its own, and a run that is recorded or smoked has them all. All of them stand in front of the
//! stand-in server.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::backend::{Backend, Choice};
use crate::candidate::{Candidate, Programs, Surroundings};
use crate::case::Case;
use crate::launch::Placement;
use crate::login_cost::{Piece, Split, Whole};
use crate::monitoring::Checks;
use crate::run::{Comparisons, Outcome, Pace, Plan, Row};
use crate::spread::{Spread, Trials};
use crate::statistics::summary;
use crate::{allocations, idle_memory, login_cost, monitoring, progress, routing_table, run, spread, steps};

/// One part alone.
#[derive(Subcommand)]
pub(crate) enum Part {
    /// Count how often a worker allocates for a query; exits with 1 when it does so for point selects or prepared ones
    Allocations {
        /// Of each case; a tenth of that where the result has a megabyte
        #[arg(long, default_value_t = FULL.queries)]
        queries: usize,
    },
    /// Measure what an idle session costs each candidate in memory
    IdleMemory {
        #[arg(long, default_value_t = FULL.sessions)]
        sessions: usize,
        /// What is measured; all where nothing is given
        #[arg(long, value_delimiter = ',')]
        candidates: Vec<Candidate>,
        #[command(flatten)]
        programs: Programs,
    },
    /// Measure how evenly the balancer's workers share a few long sessions
    Spread {
        #[arg(long, default_value_t = FULL.trials.workers)]
        workers: usize,
        #[arg(long, default_value_t = FULL.trials.sessions)]
        sessions: usize,
        #[arg(long, default_value_t = FULL.trials.count)]
        trials: usize,
        #[command(flatten)]
        programs: Programs,
    },
    /// Time each step of the data path and of a login, and count its instructions under valgrind
    Micro,
    /// Time how the routing table of a large site changes, and how a worker takes the next one
    RoutingTable {
        #[arg(long, default_value_t = FULL.site.servers)]
        servers: usize,
        #[arg(long, default_value_t = FULL.site.users)]
        users: usize,
    },
    /// Measure the CPU time that health checks cost the balancer while no client is there
    Monitoring {
        /// Of two servers each
        #[arg(long, default_value_t = FULL.checks.clusters)]
        clusters: usize,
        #[command(flatten)]
        programs: Programs,
    },
    /// Split what a short connection costs the balancer: kernel, password, packets, rest
    LoginCost {
        /// How often the whole is measured
        #[arg(long, default_value_t = FULL.rounds)]
        rounds: usize,
        #[command(flatten)]
        programs: Programs,
    },
}

/// How much of each part is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    queries: usize,
    sessions: usize,
    trials: Trials,
    /// Of the whole login.
    rounds: usize,
    window: Duration,
    /// For each piece of a login, and each step of the data path.
    piece_time: Duration,
    /// Of the data path, from the first on.
    steps: usize,
    site: routing_table::Site,
    checks: Checks,
}

pub(crate) const FULL: Extent = Extent {
    queries: 10_000,
    sessions: 5000,
    trials: Trials { workers: 4, sessions: 16, count: 20 },
    rounds: 5,
    window: Duration::from_secs(1),
    piece_time: Duration::from_millis(100),
    steps: usize::MAX,
    site: routing_table::Site { servers: 1000, users: 10_000, repetitions: 200 },
    checks: Checks { clusters: 100, interval: Duration::from_millis(500), window: Duration::from_secs(10) },
};

/// Each part once and shortly.
pub(crate) const SMOKE: Extent = Extent {
    queries: 400,
    sessions: 50,
    trials: Trials { count: 1, ..FULL.trials },
    rounds: 1,
    // Long enough for a tick of the clock that tells kernel from user time.
    window: Duration::from_millis(300),
    piece_time: Duration::ZERO,
    steps: 1,
    site: routing_table::Site { servers: 20, users: 20, repetitions: 10 },
    checks: Checks { clusters: 2, window: Duration::from_millis(300), ..FULL.checks },
};

/// Connections that log in side by side while the whole of a login is measured.
const LOGIN_CONNECTIONS: usize = 8;

/// What came of the parts that were asked for; the others are empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Parts {
    pub(crate) allocations: Vec<allocations::Row>,
    pub(crate) idle_memory: Vec<idle_memory::Row>,
    pub(crate) spread: Vec<Spread>,
    pub(crate) login_whole: Vec<Whole>,
    pub(crate) login_pieces: Vec<Piece>,
    #[serde(default)]
    pub(crate) steps: Vec<steps::Row>,
    #[serde(default)]
    pub(crate) routing_table: Vec<routing_table::Row>,
    #[serde(default)]
    pub(crate) monitoring: Vec<monitoring::Row>,
}

/// Where the parts are measured: each with a directory of its own below this one.
pub(crate) struct Site<'a> {
    placement: &'a Placement,
    programs: &'a Programs,
    directory: PathBuf,
    server: Backend,
}

impl Site<'_> {
    pub(crate) fn open<'a>(
        placement: &'a Placement,
        programs: &'a Programs,
        directory: &Path,
    ) -> Result<Site<'a>, Box<dyn Error>> {
        let directory = directory.join("parts");
        fs::create_dir(&directory)?;
        let server = Backend::open(Choice::StandIn, None, 0, placement.stand_in, &directory)?;
        Ok(Site { placement, programs, directory, server })
    }

    /// Gives a part its surroundings.
    fn inside<T>(
        &self,
        part: &str,
        measure: impl FnOnce(&Surroundings<'_>) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        let directory = self.directory.join(part);
        fs::create_dir(&directory)?;
        measure(&Surroundings {
            cpu: self.placement.candidate,
            workers: 1,
            server: &self.server.target,
            programs: self.programs,
            directory: &directory,
        })
    }

    /// All parts.
    pub(crate) fn measure(&self, extent: &Extent, candidates: &[Candidate]) -> Result<Parts, Box<dyn Error>> {
        let mut parts = self.allocations(extent.queries)?;
        parts.idle_memory = self.idle_memory(candidates, extent.sessions)?.idle_memory;
        parts.spread = self.spread(extent.trials)?.spread;
        let login = self.login_cost(extent)?;
        let steps = steps(extent)?.steps;
        parts.routing_table = routing_table(extent.site)?.routing_table;
        parts.monitoring = self.monitoring(extent.checks)?.monitoring;
        Ok(Parts { login_whole: login.login_whole, login_pieces: login.login_pieces, steps, ..parts })
    }

    /// One of them.
    pub(crate) fn measure_one(&self, part: &Part) -> Result<Parts, Box<dyn Error>> {
        match part {
            Part::Allocations { queries } => self.allocations(*queries),
            Part::IdleMemory { sessions, candidates, .. } => {
                let candidates = if candidates.is_empty() { &Candidate::ALL } else { &candidates[..] };
                self.idle_memory(candidates, *sessions)
            }
            Part::Spread { workers, sessions, trials, .. } => {
                self.spread(Trials { workers: *workers, sessions: *sessions, count: *trials })
            }
            Part::Micro => steps(&FULL),
            Part::RoutingTable { servers, users } => {
                routing_table(routing_table::Site { servers: *servers, users: *users, ..FULL.site })
            }
            Part::Monitoring { clusters, .. } => self.monitoring(Checks { clusters: *clusters, ..FULL.checks }),
            Part::LoginCost { rounds, .. } => self.login_cost(&Extent { rounds: *rounds, ..FULL }),
        }
    }

    fn allocations(&self, queries: usize) -> Result<Parts, Box<dyn Error>> {
        progress::say("allocations of a worker");
        let allocations = self.inside("allocations", |surroundings| allocations::count(queries, surroundings))?;
        Ok(Parts { allocations, ..Parts::default() })
    }

    fn idle_memory(&self, candidates: &[Candidate], sessions: usize) -> Result<Parts, Box<dyn Error>> {
        progress::say("memory of idle sessions");
        let idle_memory = self
            .inside("idle-memory", |surroundings| Ok(idle_memory::measure_all(candidates, sessions, surroundings)))?;
        Ok(Parts { idle_memory, ..Parts::default() })
    }

    fn spread(&self, trials: Trials) -> Result<Parts, Box<dyn Error>> {
        progress::say("sessions of each worker");
        let spread = self.inside("spread", |surroundings| {
            let measured = ENGINES.map(|candidate| spread::measure(candidate, trials, surroundings));
            Ok(measured.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })?;
        Ok(Parts { spread, ..Parts::default() })
    }

    fn monitoring(&self, checks: Checks) -> Result<Parts, Box<dyn Error>> {
        progress::say("health checks");
        let row = self.inside("monitoring", |surroundings| monitoring::measure(checks, surroundings))?;
        Ok(Parts { monitoring: vec![row], ..Parts::default() })
    }

    fn login_cost(&self, extent: &Extent) -> Result<Parts, Box<dyn Error>> {
        progress::say("the split of a login");
        let window = extent.window;
        let plan = Plan {
            loads: vec![(Case::Short, LOGIN_CONNECTIONS)],
            pace: Pace::Closed,
            candidates: ENGINES.to_vec(),
            takes_part: |_, _| true,
            rounds: extent.rounds,
            comparisons: Comparisons::default(),
            window,
            warm_up: window / 4,
            trace_window: None,
        };
        let findings = self.inside("login-cost", |surroundings| {
            Ok(run::run(&plan, self.placement, surroundings.server, surroundings.programs, surroundings.directory))
        })?;
        let login_whole =
            findings.rows.iter().map(whole).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let login_pieces = login_cost::pieces(extent.piece_time);
        Ok(Parts { login_whole, login_pieces, ..Parts::default() })
    }
}

fn steps(extent: &Extent) -> Result<Parts, Box<dyn Error>> {
    progress::say("steps of the data path");
    Ok(Parts { steps: steps::measure(extent.steps, extent.piece_time)?, ..Parts::default() })
}

fn routing_table(site: routing_table::Site) -> Result<Parts, Box<dyn Error>> {
    progress::say("changes of the routing table");
    Ok(Parts { routing_table: routing_table::measure(site)?, ..Parts::default() })
}

/// The balancer on both engines.
const ENGINES: [Candidate; 2] = [Candidate::Sqluice, Candidate::SqluiceEpoll];

/// What a row of short connections says of the whole cycle; `None` where it was not measured on this machine.
fn whole(row: &Row) -> Result<Option<Whole>, String> {
    let name = row.candidate.name();
    match &row.outcome {
        Outcome::Measured(rounds) => {
            let figures = summary(rounds).ok_or("no rounds")?;
            let cpu = figures.cpu_us_per_request.zip(figures.kernel_share);
            let (us, kernel_share) = cpu.ok_or_else(|| format!("{name}: too short a time to see the kernel's part"))?;
            Ok(Some(Whole { candidate: row.candidate, us, kernel_share }))
        }
        Outcome::Absent(_) => Ok(None),
        Outcome::RateNotHeld { .. } => Err(format!("{name}: a closed loop has no rate to hold")),
        Outcome::Failed(why) => Err(format!("{name}: {why}")),
    }
}

impl Part {
    /// Where what it measures is; allocations and steps are counted in this very program.
    pub(crate) fn programs(&self) -> Programs {
        match self {
            Part::Allocations { .. } | Part::Micro | Part::RoutingTable { .. } => Programs::default(),
            Part::IdleMemory { programs, .. }
            | Part::Spread { programs, .. }
            | Part::Monitoring { programs, .. }
            | Part::LoginCost { programs, .. } => programs.clone(),
        }
    }
}

impl Parts {
    /// A candidate did not serve, or a point select was not free of allocations.
    pub(crate) fn has_failed(&self) -> bool {
        self.allocations.iter().any(allocations::Row::breaks_promise)
            || self.idle_memory.iter().any(|row| matches!(row.outcome, idle_memory::Outcome::Failed(_)))
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, "allocations of a worker", &self.allocations)?;
        write_lines(f, "memory of idle sessions", &self.idle_memory)?;
        write_lines(f, "sessions of each worker", &self.spread)?;
        let splits: Vec<_> = self.login_whole.iter().map(|whole| Split { whole, pieces: &self.login_pieces }).collect();
        write_lines(f, "the split of a login", &splits)?;
        f.write_str(&login_cost::list(&self.login_pieces))?;
        write_lines(f, "steps of the data path", &self.steps)?;
        write_lines(f, "changes of the routing table", &self.routing_table)?;
        write_lines(f, "health checks", &self.monitoring)
    }
}

/// Nothing at all for a part that was not measured.
fn write_lines(f: &mut fmt::Formatter<'_>, title: &str, rows: &[impl fmt::Display]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}")?;
    rows.iter().try_for_each(|row| writeln!(f, "  {row}"))?;
    writeln!(f)
}
