//! A load that keeps its own books, to be compared with what the servers have at the end.
//!
//! Clients append numbered rows to a table, outside and inside transactions, and read them back on the same session.
//! Each keeps what it was told: written, refused, or nothing certain. [`Load::stop`] compares that with the table, so
//! that a row which was acknowledged and lost, one that is there twice, or a read of an older state than before is a
//! fault of whoever stood between. Times are reported and never judged.

mod client;
mod judge;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::deadline::eventually;
use super::servers::{Server, fresh_name};
pub(crate) use client::Phase;
use client::{Diary, Habit};
pub(crate) use judge::Fault;

/// Clients at work until [`Load::stop`].
#[derive(Debug)]
pub(crate) struct Load {
    table: String,
    shared: Arc<Shared>,
    begun: Instant,
    /// What was done to the servers, each with its beginning.
    trials: Vec<(&'static str, Instant)>,
    clients: JoinHandle<Vec<Diary>>,
}

/// What the clients and the test tell each other.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// Writes that each client was told are done.
    acknowledged: Vec<AtomicU64>,
}

impl Load {
    /// Makes a table at `primary` and lets user app's `clients` append to it through `address`.
    pub(crate) fn start(address: SocketAddr, primary: &Server, clients: u32) -> Load {
        Load::of(Habit::plain, address, primary, clients)
    }

    /// The same of users app and other, who write as text, as prepared statements, and by way of temporary tables.
    pub(crate) fn varied(address: SocketAddr, primary: &Server, clients: u32) -> Load {
        Load::of(Habit::varied, address, primary, clients)
    }

    fn of(habit: fn(u32) -> Habit, address: SocketAddr, primary: &Server, clients: u32) -> Load {
        let table = format!("test.{}", fresh_name("ledger"));
        // No unique key over the rows' names: a row that was written twice must be there twice.
        primary.direct().execute(&format!(
            "CREATE TABLE {table} (id BIGINT AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, number INT NOT NULL, \
             KEY (client, number)) ENGINE = InnoDB"
        ));
        let acknowledged = (0..clients).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), acknowledged });
        let (at_work, name) = (Arc::clone(&shared), table.clone());
        let clients = thread::spawn(move || client::run_all(address, &name, habit, &at_work));
        Load { table, shared, begun: Instant::now(), trials: Vec::new(), clients }
    }

    /// Where the rows are, as `schema.table`.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// From now on this is done to the servers: the report tells the longest gap that it led to.
    pub(crate) fn try_out(&mut self, what: &'static str) {
        self.trials.push((what, Instant::now()));
    }

    /// Until each client has had `writes` more acknowledged than now.
    #[track_caller]
    pub(crate) fn await_writes(&self, writes: u64) {
        let counts = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let wanted: Vec<u64> = self.shared.acknowledged.iter().map(|count| counts(count) + writes).collect();
        eventually("each client writes on", || {
            assert!(!self.clients.is_finished(), "the clients end when they are told to");
            self.shared.acknowledged.iter().zip(&wanted).all(|(count, &wanted)| counts(count) >= wanted).then_some(())
        });
    }

    /// Ends the clients and compares their books with what `primary` has.
    #[track_caller]
    pub(crate) fn stop(self, primary: &Server) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        let diaries = self.clients.join().expect("the clients do not panic");
        let sql = format!("SELECT client, number, COUNT(*) FROM {} GROUP BY client, number", self.table);
        let rows = primary.direct().rows(&sql).iter().map(|row| judge::Stored::parse(row)).collect::<Vec<_>>();
        Report::new(&diaries, judge::faults(&diaries, &rows), self.begun.elapsed(), &self.trials)
    }
}

/// What the clients lived through, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Report {
    /// Nothing of this may happen, whatever happened to the servers.
    pub(crate) faults: Vec<Fault>,
    /// What clients were told instead of an answer: phase, code and state, with how often and the first message.
    pub(crate) errors: BTreeMap<(Phase, String), (usize, String)>,
    /// Between two writes that were acknowledged one after the other, whichever clients made them.
    pub(crate) longest_gap: Duration,
    /// The same of the writes of one client.
    pub(crate) longest_gap_of_a_client: Duration,
    /// The first of these two of each trial.
    gaps: Vec<(&'static str, Duration)>,
    text: String,
}

impl Report {
    fn new(diaries: &[Diary], faults: Vec<Fault>, lasted: Duration, trials: &[(&'static str, Instant)]) -> Report {
        let mut errors = BTreeMap::new();
        for error in diaries.iter().flat_map(|diary| &diary.errors) {
            let known = errors.entry((error.phase, error.code.clone())).or_insert_with(|| (0, error.message.clone()));
            known.0 += 1;
        }
        let mut all: Vec<Instant> = diaries.iter().flat_map(|diary| diary.acknowledged_at.iter().copied()).collect();
        all.sort();
        let longest_gap_of_a_client = diaries.iter().map(|diary| longest_gap(&diary.acknowledged_at)).max();
        Report {
            faults,
            errors,
            longest_gap: longest_gap(&all),
            longest_gap_of_a_client: longest_gap_of_a_client.unwrap_or_default(),
            gaps: gaps(trials, &all),
            text: counts(diaries, lasted),
        }
    }

    /// How many errors clients got in a phase.
    pub(crate) fn errors_in(&self, phase: Phase) -> usize {
        self.errors.iter().filter(|((at, _), _)| *at == phase).map(|(_, (count, _))| count).sum()
    }

    /// Shows the report, and panics if anything in it may not be.
    #[track_caller]
    pub(crate) fn expect_clean(&self, what: &str) {
        eprintln!("--- {what}\n{self}");
        assert!(self.faults.is_empty(), "{what}: {} faults", self.faults.len());
    }
}

impl Report {
    /// The same, and nobody may have been told of an error but in a transaction.
    #[track_caller]
    pub(crate) fn expect_quiet(&self, what: &str) {
        self.expect_clean(what);
        let outside = [Phase::Login, Phase::Write, Phase::Read].map(|phase| self.errors_in(phase));
        assert_eq!(outside, [0; 3], "{what}: errors at logins, writes and reads outside transactions");
    }
}

fn longest_gap(times: &[Instant]) -> Duration {
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// The longest gap that ended after the beginning of a trial, and not after that of the next one.
fn gaps(trials: &[(&'static str, Instant)], all: &[Instant]) -> Vec<(&'static str, Duration)> {
    let ends = trials.iter().skip(1).map(|(_, begun)| *begun).chain(all.last().copied());
    let span = |((what, begun), end): (&(&'static str, Instant), Instant)| {
        let of_it = all.windows(2).filter(|pair| *begun < pair[1] && pair[1] <= end);
        (*what, of_it.map(|pair| pair[1] - pair[0]).max().unwrap_or_default())
    };
    trials.iter().zip(ends).map(span).collect()
}

fn counts(diaries: &[Diary], lasted: Duration) -> String {
    let sum = |count: fn(&Diary) -> usize| diaries.iter().map(count).sum::<usize>();
    format!(
        "{} clients, {:.1} s: {} writes acknowledged ({} in transactions), {} refused, {} of unknown fate; {} reads, {} logins",
        diaries.len(),
        lasted.as_secs_f64(),
        sum(|diary| diary.acknowledged_at.len()),
        sum(|diary| diary.count(client::Fate::Acknowledged, client::Kind::Transaction)),
        sum(|diary| diary.count_fate(client::Fate::Refused)),
        sum(|diary| diary.count_fate(client::Fate::Unknown)),
        sum(|diary| diary.reads),
        sum(|diary| diary.logins),
    )
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.text)?;
        let (gap, own) = (self.longest_gap.as_secs_f64(), self.longest_gap_of_a_client.as_secs_f64());
        writeln!(out, "longest gap between acknowledged writes: {gap:.3} s, of one client: {own:.3} s")?;
        for (what, gap) in &self.gaps {
            writeln!(out, "  of these, {what}: {:.3} s", gap.as_secs_f64())?;
        }
        for ((phase, code), (count, message)) in &self.errors {
            writeln!(out, "error {phase}, {count} times: {code}: {message}")?;
        }
        for fault in self.faults.iter().take(FAULTS_SHOWN_MAX) {
            writeln!(out, "FAULT: {fault}")?;
        }
        match self.faults.len().saturating_sub(FAULTS_SHOWN_MAX) {
            0 => Ok(()),
            more => writeln!(out, "… and {more} faults more"),
        }
    }
}

/// Of a report's text.
const FAULTS_SHOWN_MAX: usize = 20;
