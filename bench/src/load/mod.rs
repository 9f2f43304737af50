//! The load generator: one thread a CPU, each with its own runtime and its share of the connections.
//!
//! Closed loop: each connection sends its next request when the reply to the last is there, so the load follows the
//! candidate's speed. That is right for the cost of a request, and flatters the tail of the latency: a stall delays
//! requests that are then never counted as late. [`Arrival`] is where a load with a timetable of its own goes.

mod client;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use client::Client;
pub(crate) use client::{Fault, PASSWORD, USER};

use crate::case::{Case, Exchange, Replies};
use crate::launch::{Cpu, pin_thread};
use crate::wire::ResultEnd;

/// How long a login may take, and a reply that is outstanding when the load stops.
const PATIENCE: Duration = Duration::from_secs(10);
/// Logins of one thread under way together: fewer than wait to be accepted without loss.
const LOGINS_AT_ONCE: usize = 32;
/// How often a thread looks whether all its connections have stopped.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The longest latency that is told from a longer one.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// What is asked of a candidate in one measurement.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) case: Case,
    /// Connections that send requests; in [`Case::Idle`] those that do not, beside the one that does.
    pub(crate) connections: usize,
}

/// When a connection's next request is due. Latency counts from there, not from the moment of sending: under a
/// timetable, a late reply is charged with the wait of the requests behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// Closed loop: as soon as the last reply is there.
    OnReply,
}

impl Arrival {
    fn due(self, replied: Instant) -> Instant {
        match self {
            Arrival::OnReply => replied,
        }
    }
}

/// What came back in a measured window.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) replies: u64,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Tally {
    fn new() -> Tally {
        let longest = u64::try_from(LATENCY_MAX.as_nanos()).expect("a minute of nanoseconds");
        Tally {
            replies: 0,
            latency: Histogram::new_with_bounds(1, longest, 3).expect("three digits, 1 below the longest"),
        }
    }

    fn record(&mut self, latency: Duration) {
        self.replies += 1;
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, other: &Tally) {
        self.replies += other.replies;
        self.latency.add(&other.latency).expect("the same bounds");
    }
}

/// A running load. It goes through warm-up, the measured window, and its end; dropping it stops it too.
pub(crate) struct Generator {
    phase: Arc<AtomicPhase>,
    reports: Receiver<Report>,
    threads: usize,
}

/// Of one thread.
enum Report {
    /// All its connections are logged in and send.
    Ready,
    Ended(Result<Tally, Fault>),
}

impl Generator {
    /// Returns when every connection is logged in.
    pub(crate) fn start(load: &Load, cpus: &[Cpu]) -> Result<Generator, Fault> {
        let phase = Arc::new(AtomicPhase::new());
        let (sender, reports) = mpsc::channel();
        let shares = shares(load, cpus.len());
        let generator = Generator { phase: phase.clone(), reports, threads: shares.len() };
        for (share, cpu) in shares.into_iter().zip(cpus) {
            let (cpu, load, phase, sender) = (*cpu, load.clone(), phase.clone(), sender.clone());
            thread::Builder::new()
                .name("load".to_owned())
                .spawn(move || run_thread(cpu, &load, share, phase, &sender))
                .map_err(|error| Fault::Socket { doing: "starting a thread", error })?;
        }
        for _ in 0..generator.threads {
            match generator.reports.recv() {
                Ok(Report::Ready) => {}
                Ok(Report::Ended(Err(fault))) => return Err(fault),
                Ok(Report::Ended(Ok(_))) | Err(_) => return Err(Fault::NoReply),
            }
        }
        Ok(generator)
    }

    /// Replies from here on count.
    pub(crate) fn open_window(&self) {
        self.phase.set(Phase::Measure);
    }

    /// Lets the load go on; returns early when it fails.
    pub(crate) fn run_for(&self, time: Duration) -> Result<(), Fault> {
        match self.reports.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(Report::Ended(Err(fault))) => Err(fault),
            Ok(Report::Ended(Ok(_)) | Report::Ready) | Err(RecvTimeoutError::Disconnected) => Err(Fault::NoReply),
        }
    }

    /// Replies from here on do not count; nothing new is sent.
    pub(crate) fn close_window(&self) {
        self.phase.set(Phase::Stop);
    }

    /// Waits for the outstanding replies and sums up what the window had.
    pub(crate) fn finish(self) -> Result<Tally, Fault> {
        self.close_window();
        let mut total = Tally::new();
        for _ in 0..self.threads {
            match self.reports.recv() {
                Ok(Report::Ended(Ok(tally))) => total.add(&tally),
                Ok(Report::Ended(Err(fault))) => return Err(fault),
                Ok(Report::Ready) | Err(_) => return Err(Fault::NoReply),
            }
        }
        Ok(total)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.phase.set(Phase::Stop);
    }
}

/// One login, one exchange of the case with every byte compared, then quit: does this address serve?
pub(crate) fn try_once(address: SocketAddr, case: Case) -> Result<(), Fault> {
    let load = Load { address, case, connections: 1 };
    run_on_ring(async {
        let replies = Replies::new(ResultEnd::OkPacket);
        within_patience(async {
            let (mut client, mut exchange) = prepare_client(&load, &replies).await?;
            client.exchange(&mut exchange).await?;
            client.quit().await
        })
        .await
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measure,
    Stop,
}

struct AtomicPhase(AtomicU8);

impl AtomicPhase {
    fn new() -> AtomicPhase {
        AtomicPhase(AtomicU8::new(Phase::WarmUp as u8))
    }

    fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    fn load(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            _ => Phase::Stop,
        }
    }
}

/// Connections of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    active: usize,
    idle: usize,
}

/// Splits the connections evenly; threads that would have none are not started.
fn shares(load: &Load, threads: usize) -> Vec<Share> {
    let (active, idle) = match load.case {
        Case::Idle => (1, load.connections),
        Case::PointSelect | Case::Prepared | Case::Row4K | Case::Result64K | Case::Result1M | Case::Short => {
            (load.connections, 0)
        }
    };
    let part = |total: usize, thread: usize| total / threads + usize::from(thread < total % threads);
    (0..threads)
        .map(|thread| Share { active: part(active, thread), idle: part(idle, thread) })
        .filter(|share| share.active + share.idle > 0)
        .collect()
}

fn run_thread(cpu: Cpu, load: &Load, share: Share, phase: Arc<AtomicPhase>, reports: &Sender<Report>) {
    let result = match pin_thread(cpu) {
        Ok(()) => run_on_ring(drive(load, share, phase, reports)),
        Err(error) => Err(Fault::Socket { doing: "pinning the load generator", error }),
    };
    // Nobody listens any more when the measurement has been given up.
    let _ = reports.send(Report::Ended(result));
}

fn run_on_ring<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new().with_entries(4096).enable_timer().build();
    runtime.map_err(|error| Fault::Socket { doing: "starting the load generator's runtime", error })?.block_on(future)
}

/// What the tasks of one thread share.
struct Shared {
    phase: Arc<AtomicPhase>,
    arrival: Arrival,
    tally: RefCell<Tally>,
    /// Tasks that have not ended.
    running: Cell<usize>,
    /// Of the first task that failed.
    fault: Cell<Option<Fault>>,
}

async fn drive(load: &Load, share: Share, phase: Arc<AtomicPhase>, reports: &Sender<Report>) -> Result<Tally, Fault> {
    let replies = Rc::new(Replies::new(ResultEnd::OkPacket));
    let reply_length = replies.text(load.case.table()).len();
    let address = load.address;
    let idle = log_in_all(share.idle, || Client::log_in(address, reply_length)).await?;
    let active = log_in_all(share.active, || {
        let (load, replies) = (load.clone(), replies.clone());
        async move { prepare_client(&load, &replies).await }
    })
    .await?;
    let shared = Rc::new(Shared {
        phase,
        arrival: Arrival::OnReply,
        tally: RefCell::new(Tally::new()),
        running: Cell::new(share.active),
        fault: Cell::new(None),
    });
    // Only now: connections that work would keep the others from logging in.
    for (client, exchange) in active {
        spawn_connection(load, client, exchange, shared.clone());
    }
    // The run may have been given up meanwhile.
    let _ = reports.send(Report::Ready);
    wait_for_all(&shared).await?;
    for client in idle {
        client.quit().await?;
    }
    Ok(shared.tally.replace(Tally::new()))
}

/// Logs in `count` connections, some at a time.
async fn log_in_all<T: 'static, F>(count: usize, log_in: impl Fn() -> F) -> Result<Vec<T>, Fault>
where
    F: Future<Output = Result<T, Fault>> + 'static,
{
    let mut logged_in = Vec::with_capacity(count);
    while logged_in.len() < count {
        let batch = (count - logged_in.len()).min(LOGINS_AT_ONCE);
        let logins: Vec<_> = (0..batch).map(|_| monoio::spawn(within_patience(log_in()))).collect();
        for login in logins {
            logged_in.push(login.await?);
        }
    }
    Ok(logged_in)
}

fn spawn_connection(load: &Load, client: Client, exchange: Exchange, shared: Rc<Shared>) {
    let load = load.clone();
    monoio::spawn(async move {
        let result = match load.case {
            Case::Short => repeat_sessions(&load, client, exchange, &shared).await,
            Case::PointSelect | Case::Prepared | Case::Row4K | Case::Result64K | Case::Result1M | Case::Idle => {
                repeat_exchange(client, exchange, &shared).await
            }
        };
        if let Err(fault) = result {
            shared.fault.set(Some(fault));
        }
        shared.running.set(shared.running.get() - 1);
    });
}

async fn repeat_exchange(mut client: Client, mut exchange: Exchange, shared: &Shared) -> Result<(), Fault> {
    let mut due = Instant::now();
    while shared.phase.load() != Phase::Stop {
        client.exchange(&mut exchange).await?;
        due = shared.replied(due);
    }
    client.quit().await
}

/// The whole session is the request: connect, log in, one exchange, quit.
async fn repeat_sessions(load: &Load, first: Client, mut exchange: Exchange, shared: &Shared) -> Result<(), Fault> {
    first.quit().await?;
    let mut due = Instant::now();
    while shared.phase.load() != Phase::Stop {
        let mut client = Client::log_in(load.address, exchange.reply.len()).await?;
        client.exchange(&mut exchange).await?;
        client.quit().await?;
        due = shared.replied(due);
    }
    Ok(())
}

impl Shared {
    /// Counts a reply to the request that was due at `due`; returns when the next one is.
    fn replied(&self, due: Instant) -> Instant {
        let now = Instant::now();
        if self.phase.load() == Phase::Measure {
            self.tally.borrow_mut().record(now.saturating_duration_since(due));
        }
        self.arrival.due(now)
    }
}

/// Until every task has ended, one has failed, or one does not get its reply after the end.
async fn wait_for_all(shared: &Shared) -> Result<(), Fault> {
    let mut stopped_at = None;
    while shared.running.get() > 0 {
        if let Some(fault) = shared.fault.take() {
            return Err(fault);
        }
        if shared.phase.load() == Phase::Stop && stopped_at.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Err(Fault::NoReply);
        }
        monoio::time::sleep(LOOK_INTERVAL).await;
    }
    shared.fault.take().map_or(Ok(()), Err)
}

/// Logs in and gets the case's request ready to be repeated.
async fn prepare_client(load: &Load, replies: &Replies) -> Result<(Client, Exchange), Fault> {
    let table = load.case.table();
    let query = Exchange::query(table, replies);
    let mut client = Client::log_in(load.address, query.reply.len()).await?;
    let exchange = match load.case {
        Case::Prepared => {
            let statement_id = client.prepare(Exchange::prepare(table, replies)).await?;
            Exchange::execute(table, statement_id, replies)
        }
        Case::PointSelect | Case::Row4K | Case::Result64K | Case::Result1M | Case::Short | Case::Idle => query,
    };
    Ok((client, exchange))
}

async fn within_patience<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    monoio::time::timeout(PATIENCE, future).await.unwrap_or(Err(Fault::NoReply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(case: Case, connections: usize, threads: usize, expected: &[(usize, usize)]) {
        let load = Load { address: ([127, 0, 0, 1], 1).into(), case, connections };
        let expected: Vec<_> = expected.iter().map(|&(active, idle)| Share { active, idle }).collect();
        assert_eq!(shares(&load, threads), expected);
    }

    #[test]
    fn connections_are_spread_and_none_is_lost() {
        check(Case::PointSelect, 64, 1, &[(64, 0)]);
        check(Case::PointSelect, 7, 3, &[(3, 0), (2, 0), (2, 0)]);
        check(Case::PointSelect, 1, 3, &[(1, 0)]);
        check(Case::Idle, 5, 2, &[(1, 3), (0, 2)]);
    }

    #[test]
    fn latencies_of_threads_add_up_and_a_very_long_one_still_counts() {
        let mut total = Tally::new();
        let mut other = Tally::new();
        other.record(Duration::from_micros(100));
        other.record(LATENCY_MAX * 10);
        total.add(&other);
        assert_eq!(total.replies, 2);
        assert_eq!(total.latency.value_at_quantile(0.5) / 1000, 100);
        assert!(total.latency.max() >= 59_000_000_000);
    }
}
