//! The proof of splitting: a session cannot tell a primary with replicas from one server, whatever it does.
//!
//! Programs of random steps run twice, in step: directly at the primary, and through sqluice. Every packet must be
//! equal. `SQLUICE_ORACLE_SEED` and `SQLUICE_ORACLE_PROGRAMS` choose other programs, or more of them, than a usual run.

use std::time::Duration;

use crate::harness::{Engine, Flavour, Galera, Server, Sqluice, Start, Trio, lend_trio, split_galera, split_trio};
use generate::{catching_up, generate, giving_way};
use judge::{Ending, Trial, shrink};
use program::Program;
use schema::SpareEngine;

mod generate;
mod judge;
mod pieces;
mod play;
mod program;
#[path = "../sim/random.rs"]
mod random;
mod rival;
mod schema;

/// Steps of a program: long enough for states to meet, short enough to be shrunk quickly.
const STEPS: usize = 50;
/// A run shows so many failures at most, each shrunk.
const FAILURES_MAX: usize = 5;

/// What is not answered by then hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// A step that was only slow makes a program that is shrunk less well, nothing else.
const PATIENCE_WHILE_SHRINKING: Duration = Duration::from_secs(3);

/// Servers that a session must not be able to tell from their primary.
struct Set<'a> {
    primary: &'a Server,
    spare: SpareEngine,
    configuration: String,
    /// Waits until every server has what the primary has.
    settle: &'a dyn Fn(),
    replicas: &'a [Server],
    pace: Pace,
    tenure: Tenure,
}

/// How long a session has its connection to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tenure {
    Session,
    /// There is one, which every session gives back between its transactions.
    Transaction,
}

/// How close behind the primary the replicas are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    AtOnce,
    Lagging,
}

impl<'a> Set<'a> {
    fn of_trio(trio: &'a Trio, settle: &'a dyn Fn()) -> Set<'a> {
        let (primary, replicas) = (trio.primary(), trio.replicas());
        Set {
            primary,
            spare: SpareEngine::MyIsam,
            configuration: split_trio(trio),
            settle,
            replicas,
            pace: Pace::AtOnce,
            tenure: Tenure::Session,
        }
    }

    fn of_galera(galera: &'a Galera, settle: &'a dyn Fn()) -> Set<'a> {
        let (primary, replicas) = (galera.primary(), &galera.servers[1..]);
        Set {
            primary,
            spare: SpareEngine::InnoDb,
            configuration: split_galera(galera),
            settle,
            replicas,
            pace: Pace::AtOnce,
            tenure: Tenure::Session,
        }
    }

    fn sqluice(&self, engine: Engine) -> Sqluice {
        let workers = match (self.tenure, engine) {
            // On one worker the connection goes from session to session; between two, it is closed for another.
            (Tenure::Transaction, Engine::IoUring) => 1,
            (Tenure::Transaction, Engine::Epoll) | (Tenure::Session, _) => 2,
        };
        Start::new(engine, self.configuration.clone()).workers(workers).log_level("info").run_with_servers_up(3)
    }

    fn program(&self, seed: u64) -> Program {
        let program = generate(seed, self.primary.flavour, STEPS);
        match (self.tenure, self.pace) {
            (Tenure::Transaction, _) => giving_way(program),
            (Tenure::Session, Pace::Lagging) => catching_up(program),
            (Tenure::Session, Pace::AtOnce) => program,
        }
    }

    /// The schemas of all programs first, and once the wait for them: a replica that lags is slow to have them.
    fn trials(&self, programs: impl Iterator<Item = Program>) -> Vec<Trial> {
        let mut primary = self.primary.direct();
        let trials = programs.map(|program| Trial::prepare(program, &mut primary, self.primary, self.spare)).collect();
        (self.settle)();
        trials
    }

    /// Plays the programs of these seeds, half of them on each engine; panics with those that differ.
    #[track_caller]
    fn prove(&self, seeds: std::ops::Range<u64>) {
        let flavour = self.primary.flavour;
        self.replicas.iter().for_each(Server::listen);
        let trials = self.trials(seeds.map(|seed| self.program(seed)));
        let mut failures = Vec::new();
        let mut forgotten = 0;
        for (half, engine) in [Engine::IoUring, Engine::Epoll].into_iter().enumerate() {
            let sqluice = self.sqluice(engine);
            for trial in trials.iter().filter(|trial| trial.program.seed % 2 == half as u64) {
                if failures.len() == FAILURES_MAX {
                    break;
                }
                match self.try_out(trial, &sqluice) {
                    Ok(Ending::Whole) => {}
                    Ok(Ending::Forgotten) => forgotten += 1,
                    Err(failure) => {
                        eprintln!("{flavour:?}, {engine:?}: {failure}");
                        failures.push(failure);
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{} programs can tell sqluice from the server; see above", failures.len());
        assert!(forgotten <= trials.len() / 2, "{forgotten} of {} programs ended early: too many", trials.len());
        // Every program reads this table many times; nothing else does. Applying what the primary wrote is no statement.
        // Most steps are no reads, or bound to the primary; with fewer at replicas, programs have proven nothing.
        let reads: usize = self.replicas.iter().map(|replica| replica.heard("FROM t1")).sum();
        eprintln!("{flavour:?}: {reads} reads of {} programs ran at replicas, {forgotten} ended early", trials.len());
        assert!(
            reads >= trials.len() / 2,
            "{reads} reads of {} programs ran at replicas: too few to prove anything",
            trials.len()
        );
    }

    /// What is wrong with a program, if anything is, at its shortest.
    fn try_out(&self, trial: &Trial, sqluice: &Sqluice) -> Result<Ending, String> {
        let first = match trial.run(self.primary, sqluice, self.settle, PATIENCE) {
            Ok(ending) => return Ok(ending),
            Err(difference) => difference,
        };
        let again = |program: &Program| {
            let trials = self.trials(std::iter::once(program.clone()));
            trials[0].run(self.primary, sqluice, self.settle, PATIENCE_WHILE_SHRINKING).err()
        };
        let short = shrink(&trial.program, first.index, |program| again(program).map(|difference| difference.index));
        let why = again(&short).map_or_else(|| first.describe() + "  (not every time)\n", |last| last.describe());
        Err(format!("{short}{why}"))
    }
}

/// The seeds of a run; the environment may ask for others.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number: {text}")))
    };
    let first = number("SQLUICE_ORACLE_SEED").unwrap_or(1);
    first..first + number("SQLUICE_ORACLE_PROGRAMS").unwrap_or(usual)
}

fn replicas_cannot_be_told(flavour: Flavour) {
    let trio = Trio::start(flavour);
    Set::of_trio(&trio, &|| trio.await_replicas()).prove(seeds(40));
}

#[test]
fn replicas_of_mariadb_10_cannot_be_told_from_their_primary() {
    replicas_cannot_be_told(Flavour::MariaDb10);
}

#[test]
fn replicas_of_mariadb_11_cannot_be_told_from_their_primary() {
    replicas_cannot_be_told(Flavour::MariaDb11);
}

#[test]
fn replicas_of_mysql_cannot_be_told_from_their_primary() {
    replicas_cannot_be_told(Flavour::MySql97);
}

/// Sessions that share one connection to the primary, each with its own to a replica.
fn shared_connections_cannot_be_told(flavour: Flavour) {
    let trio = Trio::start(flavour);
    let settle = || trio.await_replicas();
    let configuration = lend_trio(&trio, 1);
    Set { configuration, tenure: Tenure::Transaction, ..Set::of_trio(&trio, &settle) }.prove(seeds(20));
}

#[test]
fn a_shared_connection_to_mariadb_cannot_be_told_from_one_of_its_own() {
    shared_connections_cannot_be_told(Flavour::MariaDb11);
}

#[test]
fn a_shared_connection_to_mysql_cannot_be_told_from_one_of_its_own() {
    shared_connections_cannot_be_told(Flavour::MySql97);
}

#[test]
fn nodes_of_a_galera_cluster_cannot_be_told_from_one() {
    let galera = Galera::start();
    // In steps of three, a table's next number depends on whether the server has it open.
    galera.primary().root(
        "SET GLOBAL wsrep_auto_increment_control = OFF; \
         SET GLOBAL auto_increment_increment = 1, GLOBAL auto_increment_offset = 1",
    );
    Set::of_galera(&galera, &|| galera.await_all()).prove(seeds(40));
}

#[test]
fn replicas_that_lag_cannot_be_told_from_their_primary() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        trio.replicas()[0].lag(1);
        trio.replicas()[1].lag(1);
        let settle = || trio.await_replicas();
        let set = Set { pace: Pace::Lagging, ..Set::of_trio(&trio, &settle) };
        set.prove(seeds(10));
    }
}
