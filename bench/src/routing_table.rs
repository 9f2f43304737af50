//! What it takes to change the routing table of a large site: the control thread makes the next one, workers take it.
//!
//! In this process, with the library's own types, in the way of the control thread and of a worker: the figures are those
//! of the code alone.

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use sqluice::config::{self, Config, Environment};
use sqluice::topology::{Beliefs, CheckResult, Publication, RoutingTable, Writable};

use crate::statistics::median;

/// In clusters of this many.
const CLUSTER: usize = 10;

/// How large a site, and how often each thing is done there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) servers: usize,
    pub(crate) users: usize,
    pub(crate) repetitions: usize,
}

/// One thing that is done, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) median_us: f64,
    pub(crate) longest_us: f64,
}

/// A server turned, as the promise names it.
pub(crate) const NEXT_TABLE: &str = "a server turned: the next table, published";

/// What a worker has of it.
pub(crate) const TAKEN: &str = "a worker takes the next table";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<46} {:>10.1} us, longest {:>10.1} us", self.what, self.median_us, self.longest_us)
    }
}

impl Row {
    fn new(what: &str, times: &[Duration]) -> Row {
        let us: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        let longest_us = us.iter().copied().fold(0.0, f64::max);
        Row { what: what.to_owned(), median_us: median(&us).unwrap_or_default(), longest_us }
    }
}

/// All of it, one thing after the other.
pub(crate) fn measure(site: Site) -> Result<Vec<Row>, Box<dyn Error>> {
    let text = configuration(site);
    let config = Arc::new(parse(&text)?);
    let mut beliefs = Beliefs::new(Arc::clone(&config), Instant::now());
    let ids: Vec<_> = beliefs.ids().collect();
    ids.iter().for_each(|&id| beliefs.check(id, &answers(), Instant::now()));
    let shared = Arc::new(ArcSwap::from_pointee(beliefs.table()));
    let mut publication = Publication::new(Arc::clone(&shared));
    let mut quiet = Vec::new();
    for turn in 0..site.repetitions {
        let begun = Instant::now();
        beliefs.check(ids[turn % ids.len()], &answers(), begun);
        assert!(beliefs.next_table(&publication.current()).is_none(), "it said the same before");
        quiet.push(begun.elapsed());
    }
    let worker = Worker::start(shared);
    let mut turned = Vec::new();
    for turn in 0..site.repetitions {
        let result = if turn % 2 == 0 { CheckResult::Refused } else { answers() };
        let begun = Instant::now();
        beliefs.check(ids[turn / 2 % ids.len()], &result, begun);
        let current = publication.current();
        let next = beliefs.next_table(&current).ok_or("a server turned, and the table says the same")?;
        black_box(next.changes_since(&current));
        let epoch = next.epoch;
        publication.publish(next);
        turned.push(begun.elapsed());
        drop(current);
        worker.await_table(epoch);
    }
    let mut reloaded = Vec::new();
    let mut read = Vec::new();
    for _ in 0..site.repetitions.div_ceil(10) {
        let begun = Instant::now();
        let config = Arc::new(parse(&text)?);
        black_box(config::changes(beliefs.config(), &config));
        read.push(begun.elapsed());
        let begun = Instant::now();
        beliefs.apply(config, begun);
        let next = beliefs.next_table(&publication.current()).ok_or("another configuration makes another table")?;
        let epoch = next.epoch;
        publication.publish(next);
        reloaded.push(begun.elapsed());
        worker.await_table(epoch);
    }
    Ok(vec![
        Row::new("a check that finds nothing new", &quiet),
        Row::new(NEXT_TABLE, &turned),
        Row::new("a reload: the file, read and proven", &read),
        Row::new("a reload: the next table, published", &reloaded),
        Row::new(TAKEN, &worker.stop()),
    ])
}

/// A thread that takes each table as a worker does.
struct Worker {
    seen: Arc<AtomicU64>,
    thread: thread::JoinHandle<Vec<Duration>>,
}

/// Tells the worker to end.
const END: u64 = u64::MAX;

impl Worker {
    fn start(shared: Arc<ArcSwap<RoutingTable>>) -> Worker {
        let mut table = shared.load_full();
        let seen = Arc::new(AtomicU64::new(table.epoch));
        let told = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let mut times = Vec::new();
            while told.load(Ordering::Acquire) != END {
                if Arc::ptr_eq(&shared.load(), &table) {
                    thread::yield_now();
                    continue;
                }
                let begun = Instant::now();
                table = shared.load_full();
                times.push(begun.elapsed());
                // It may have been told to end meanwhile.
                let _ =
                    told.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| (seen != END).then_some(table.epoch));
            }
            times
        });
        Worker { seen, thread }
    }

    fn await_table(&self, epoch: u64) {
        while self.seen.load(Ordering::Acquire) < epoch {
            thread::yield_now();
        }
    }

    /// How long each table took.
    fn stop(self) -> Vec<Duration> {
        self.seen.store(END, Ordering::Release);
        self.thread.join().expect("it has nothing to panic for")
    }
}

fn parse(text: &str) -> Result<Config, Box<dyn Error>> {
    let environment = Environment { online_cpus: 1, variable: &|_| None, file: &|_| Err(ErrorKind::NotFound.into()) };
    Config::parse(text, "bench.toml", &environment).map_err(|errors| errors.to_string().into())
}

/// Clusters of a primary and replicas, a pool for each cluster's primary, and users spread over the pools.
fn configuration(site: Site) -> String {
    let mut text = "[[listener]]\nname = \"bench\"\naddress = \"127.0.0.1:0\"\n".to_owned();
    let clusters = site.servers.div_ceil(CLUSTER);
    for cluster in 0..clusters {
        text.push_str(&format!(
            "[cluster.c{cluster}]\ntopology = \"replication\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n\
             [pool.p{cluster}]\ncluster = \"c{cluster}\"\nrole = \"replica\"\n"
        ));
        for server in 0..CLUSTER.min(site.servers - cluster * CLUSTER) {
            let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + (cluster * CLUSTER + server) as u16));
            text.push_str(&format!("[[cluster.c{cluster}.server]]\nname = \"db{server}\"\naddress = \"{address}\"\n"));
        }
    }
    for user in 0..site.users {
        let pool = user % clusters;
        text.push_str(&format!("[[user]]\nname = \"u{user}\"\npassword = \"p{user}\"\npool = \"p{pool}\"\n"));
    }
    text
}

fn answers() -> CheckResult {
    micro::answer(Some(Writable::No))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_at_a_small_site_too() {
        let rows = measure(Site { servers: 13, users: 20, repetitions: 4 }).expect("a good configuration");
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row.longest_us >= row.median_us && row.longest_us > 0.0), "{rows:?}");
    }
}
