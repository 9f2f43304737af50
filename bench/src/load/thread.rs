//! The connections of one CPU: logged in together, driven until the window is closed, and their sum.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::arrival::{Mode, Timetable};
use super::pacer::Pacer;
use super::{Client, Fault, Load, Tally, Window};
use crate::case::Case;
use crate::launch::{Cpu, pin_thread};
use crate::program::{Exchange, Program};
use crate::reply::Oracle;
use crate::target::Target;

/// How long a login may take, and a reply that is outstanding when the load stops.
const PATIENCE: Duration = Duration::from_secs(10);
/// Logins of one thread under way together: fewer than wait to be accepted without loss.
const LOGINS_AT_ONCE: usize = 32;
/// How often a thread looks whether all its connections have stopped.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The bound of an open loop's backlog, in time: what is due for longer is dropped, and the rate is not held.
const BACKLOG_MAX: Duration = Duration::from_secs(1);

/// Of one thread.
pub(super) enum Report {
    /// All its connections are logged in and send.
    Ready,
    Ended(Result<Tally, Fault>),
}

/// Returns how many threads it are.
pub(super) fn start_all(
    load: &Load,
    cpus: &[Cpu],
    window: &Arc<Window>,
    reports: &Sender<Report>,
) -> Result<usize, Fault> {
    let shares = shares(load, cpus.len());
    let count = shares.len();
    for (share, cpu) in shares.into_iter().zip(cpus) {
        let (cpu, load, window, reports) = (*cpu, load.clone(), window.clone(), reports.clone());
        thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || run(cpu, &load, share, window, &reports))
            .map_err(|error| Fault::Socket { doing: "starting a thread", error })?;
    }
    Ok(count)
}

/// Connections of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    /// The number of the first active one, of all.
    first: usize,
    active: usize,
    idle: usize,
}

/// Splits the connections evenly; threads that would have none are not started.
fn shares(load: &Load, threads: usize) -> Vec<Share> {
    let (active, idle) = (active_connections(load), load.connections);
    let idle = if load.case == Case::Idle { idle } else { 0 };
    let part = |total: usize, thread: usize| total / threads + usize::from(thread < total % threads);
    let mut first = 0;
    let mut shares = Vec::new();
    for thread in 0..threads {
        let share = Share { first, active: part(active, thread), idle: part(idle, thread) };
        first += share.active;
        shares.push(share);
    }
    shares.retain(|share| share.active + share.idle > 0);
    shares
}

fn active_connections(load: &Load) -> usize {
    if load.case == Case::Idle { 1 } else { load.connections }
}

fn run(cpu: Cpu, load: &Load, share: Share, window: Arc<Window>, reports: &Sender<Report>) {
    let result = match pin_thread(cpu) {
        Ok(()) => run_on_ring(drive(load, share, window, reports)),
        Err(error) => Err(Fault::Socket { doing: "pinning the load generator", error }),
    };
    // Nobody listens any more when the measurement has been given up.
    let _ = reports.send(Report::Ended(result));
}

pub(super) fn run_on_ring<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new().with_entries(4096).enable_timer().build();
    runtime.map_err(|error| Fault::Socket { doing: "starting the load generator's runtime", error })?.block_on(future)
}

/// A connection and what it repeats.
type Asker = (Client, Program);

/// What the tasks of one thread share.
struct Shared {
    window: Arc<Window>,
    mode: Mode,
    pacer: Rc<Pacer>,
    tally: RefCell<Tally>,
    /// Tasks that have not ended.
    running: Cell<usize>,
    /// Of the first task that failed.
    fault: Cell<Option<Fault>>,
}

async fn drive(load: &Load, share: Share, window: Arc<Window>, reports: &Sender<Report>) -> Result<Tally, Fault> {
    let idle = log_in_all(0..share.idle, |_| {
        let target = load.target.clone();
        async move { Client::log_in(&target, 0).await }
    })
    .await?;
    let active = prepare_clients(&load.target, load.case, share.first..share.first + share.active).await?;
    let (pacer, pacing) = Pacer::start().map_err(|error| Fault::Socket { doing: "making a timer", error })?;
    let shared = Rc::new(Shared {
        window,
        mode: load.mode,
        pacer,
        tally: RefCell::new(Tally::new()),
        running: Cell::new(share.active),
        fault: Cell::new(None),
    });
    // Only now: connections that work would keep the others from logging in.
    let start = Instant::now();
    for (index, (client, program)) in (share.first..).zip(active) {
        let schedule = Schedule::new(load, index, start);
        let requester = Requester::new(load, client, program);
        monoio::spawn(work(requester, schedule, shared.clone()));
    }
    // The run may have been given up meanwhile.
    let _ = reports.send(Report::Ready);
    let worked = wait_for_all(&shared).await;
    shared.pacer.end();
    pacing.await;
    worked?;
    for client in idle {
        client.quit().await?;
    }
    Ok(shared.tally.replace(Tally::new()))
}

/// Logs in a connection for each index, some at a time.
async fn log_in_all<T: 'static, F>(indexes: Range<usize>, log_in: impl Fn(usize) -> F) -> Result<Vec<T>, Fault>
where
    F: Future<Output = Result<T, Fault>> + 'static,
{
    let mut logged_in = Vec::with_capacity(indexes.len());
    let mut rest = indexes;
    while !rest.is_empty() {
        let logins: Vec<_> =
            rest.by_ref().take(LOGINS_AT_ONCE).map(|index| monoio::spawn(within_patience(log_in(index)))).collect();
        for login in logins {
            logged_in.push(login.await?);
        }
    }
    Ok(logged_in)
}

/// One connection, until the window is closed.
async fn work(mut requester: Requester, mut schedule: Schedule, shared: Rc<Shared>) {
    if let Err(fault) = repeat(&mut requester, &mut schedule, &shared).await {
        shared.fault.set(Some(fault));
    } else if let Err(fault) = requester.quit().await {
        shared.fault.set(Some(fault));
    }
    shared.running.set(shared.running.get() - 1);
}

async fn repeat(requester: &mut Requester, schedule: &mut Schedule, shared: &Shared) -> Result<(), Fault> {
    while let Some(due) = schedule.next(shared).await {
        requester.request().await?;
        shared.replied(due);
    }
    Ok(())
}

/// What is asked of a session's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resumption {
    Unasked,
    /// The next one has something to go on with.
    Next,
    Due,
}

/// What one connection asks over and over.
enum Requester {
    Steady {
        client: Client,
        program: Program,
    },
    /// The whole session is the request: connect, log in, one exchange, quit.
    Sessions {
        target: Target,
        program: Program,
        /// The one that was logged in before the start.
        first: Option<Client>,
        resumption: Resumption,
    },
}

impl Requester {
    fn new(load: &Load, client: Client, program: Program) -> Requester {
        match load.case {
            Case::Short => {
                let (target, resumption) = (load.target.clone(), Resumption::Unasked);
                Requester::Sessions { target, program, first: Some(client), resumption }
            }
            Case::ShortResumed => {
                let (target, resumption) = (load.target.remembering(), Resumption::Next);
                Requester::Sessions { target, program, first: Some(client), resumption }
            }
            Case::PointSelect
            | Case::Prepared
            | Case::Row4K
            | Case::Result64K
            | Case::Result1M
            | Case::Idle
            | Case::ReadWrite => Requester::Steady { client, program },
        }
    }

    async fn request(&mut self) -> Result<(), Fault> {
        match self {
            Requester::Steady { client, program } => client.exchange(program.next()).await,
            Requester::Sessions { target, program, first, resumption } => {
                if let Some(first) = first.take() {
                    first.quit().await?;
                }
                let mut client = Client::log_in(target, program.longest_reply()).await?;
                client.exchange(program.next()).await?;
                match resumption {
                    Resumption::Unasked => client.quit().await,
                    Resumption::Next => {
                        *resumption = Resumption::Due;
                        client.quit().await
                    }
                    Resumption::Due => client.quit_resumed().await,
                }
            }
        }
    }

    async fn quit(self) -> Result<(), Fault> {
        match self {
            Requester::Steady { client, .. } | Requester::Sessions { first: Some(client), .. } => client.quit().await,
            Requester::Sessions { first: None, .. } => Ok(()),
        }
    }
}

/// When one connection's requests are due.
enum Schedule {
    OnReply,
    Timetable { start: Instant, timetable: Timetable },
}

impl Schedule {
    fn new(load: &Load, index: usize, start: Instant) -> Schedule {
        match load.mode {
            Mode::Closed => Schedule::OnReply,
            Mode::Open { rate, arrivals } => {
                let timetable = Timetable::new(rate, arrivals, index, active_connections(load));
                Schedule::Timetable { start, timetable }
            }
        }
    }

    /// Returns when the next request is to be sent: the moment that it was due. Latency counts from there, so a late
    /// reply is charged with the wait of the requests behind it. `None` when the load is over.
    async fn next(&mut self, shared: &Shared) -> Option<Instant> {
        let (start, timetable) = match self {
            Schedule::OnReply => return (!shared.window.is_closed()).then(Instant::now),
            Schedule::Timetable { start, timetable } => (*start, timetable),
        };
        loop {
            let due = start + timetable.next();
            shared.pacer.until(due).await;
            // The window is closed behind what was due in it: that is still sent.
            if shared.window.is_closed_at(due) {
                return None;
            }
            if due.elapsed() <= BACKLOG_MAX {
                return Some(due);
            }
            shared.dropped(due);
        }
    }
}

impl Shared {
    /// Counts a reply to the request that was due at `due`.
    fn replied(&self, due: Instant) {
        let now = Instant::now();
        let mut tally = self.tally.borrow_mut();
        tally.replies += u64::from(self.window.has(now));
        let counted = match self.mode {
            Mode::Closed => now,
            Mode::Open { .. } => due,
        };
        if self.window.has(counted) {
            tally.record(now.saturating_duration_since(due));
        }
    }

    fn dropped(&self, due: Instant) {
        self.tally.borrow_mut().dropped += u64::from(self.window.has(due));
    }
}

/// Until every task has ended, one has failed, or one does not get its reply after the end.
async fn wait_for_all(shared: &Shared) -> Result<(), Fault> {
    let mut stopped_at = None;
    while shared.running.get() > 0 {
        if let Some(fault) = shared.fault.take() {
            return Err(fault);
        }
        if shared.window.is_closed() {
            shared.pacer.end();
            if stopped_at.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(Fault::NoReply);
            }
        }
        monoio::time::sleep(LOOK_INTERVAL).await;
    }
    shared.fault.take().map_or(Ok(()), Err)
}

/// Logs in the connections with these indexes.
pub(super) async fn prepare_clients(target: &Target, case: Case, indexes: Range<usize>) -> Result<Vec<Asker>, Fault> {
    let oracle = Rc::new(Oracle::new(target.comparison));
    log_in_all(indexes, |index| {
        let (target, oracle) = (target.clone(), oracle.clone());
        async move { prepare_client(&target, case, index, &oracle).await }
    })
    .await
}

/// Lets all connections ask `times` times, side by side.
pub(super) async fn ask_all(askers: Vec<Asker>, times: usize) -> Result<Vec<Asker>, Fault> {
    let ask = |(mut client, mut program): Asker| async move {
        for _ in 0..times {
            within_patience(client.exchange(program.next())).await?;
        }
        Ok((client, program))
    };
    let tasks: Vec<_> = askers.into_iter().map(|asker| monoio::spawn(ask(asker))).collect();
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await?);
    }
    Ok(done)
}

/// Logs in and gets what the connection with this index repeats.
pub(super) async fn prepare_client(
    target: &Target,
    case: Case,
    index: usize,
    oracle: &Oracle,
) -> Result<(Client, Program), Fault> {
    let table = case.table();
    let program = match case {
        Case::ReadWrite => Program::read_write(index, oracle),
        Case::PointSelect
        | Case::Prepared
        | Case::Row4K
        | Case::Result64K
        | Case::Result1M
        | Case::Short
        | Case::ShortResumed
        | Case::Idle => Program::repeat(Exchange::query(table, oracle)),
    };
    let mut client = Client::log_in(target, program.longest_reply()).await?;
    if case == Case::Prepared {
        let statement_id = client.prepare(Exchange::prepare(table, oracle)).await?;
        return Ok((client, Program::repeat(Exchange::execute(table, statement_id, oracle))));
    }
    Ok((client, program))
}

pub(super) async fn within_patience<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    monoio::time::timeout(PATIENCE, future).await.unwrap_or(Err(Fault::NoReply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(case: Case, connections: usize, threads: usize, expected: &[(usize, usize, usize)]) {
        let target = Target::stand_in(([127, 0, 0, 1], 1).into());
        let load = Load { target, case, mode: Mode::Closed, connections };
        let expected: Vec<_> = expected.iter().map(|&(first, active, idle)| Share { first, active, idle }).collect();
        assert_eq!(shares(&load, threads), expected);
    }

    #[test]
    fn connections_are_spread_and_none_is_lost() {
        check(Case::PointSelect, 64, 1, &[(0, 64, 0)]);
        check(Case::PointSelect, 7, 3, &[(0, 3, 0), (3, 2, 0), (5, 2, 0)]);
        check(Case::PointSelect, 1, 3, &[(0, 1, 0)]);
        check(Case::Idle, 5, 2, &[(0, 1, 3), (1, 0, 2)]);
    }
}
