//! The control thread's loop: orders, operators' questions, workers that end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::door::Door;
use super::listeners::{Listeners, Notice};
use super::notify::{Message, ServiceManager};
use super::reload::Source;
use super::replies::{self, Counted, LastMinute};
use super::socket_file::SocketFile;
use super::watchdog::Watchdog;
use crate::admin::drain::{self, Guest, Stake, Upkeep};
use crate::admin::explain::{self, Asked};
use crate::admin::metrics::{Metrics, Totals};
use crate::admin::shapes::{
    CertificateStatus, DrainStatus, InstantFailoverStatus, ListenerStatus, ProcessStatus, SessionCount, SessionStatus,
    SplitCounts, Status,
};
use crate::admin::{self, Question, report, shapes};
use crate::config::{self, ListenAddress, RedirectMode};
use crate::failover::Promoter;
use crate::monitor::{Monitor, Remembrance};
use crate::protocol::redirect::Target;
use crate::session::Ending;
use crate::tls;
use crate::topology::{Existing, Redirect, RoutingTable, ServerId};
use crate::worker::{self, Counters, Handle, SessionRow, Undelivered, Workers};

/// Orders that may wait; a signal that comes beyond that waits with its sender.
pub(super) const ORDERS_MAX: usize = 8;

/// How often the files of certificates and keys are looked at: a few calls of the kernel each.
const FILES_INTERVAL: Duration = Duration::from_secs(1);

/// How often certificates that expire soon are warned of.
const REMINDER_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// How often a worker with a full mailbox is tried again, and how many times: it reads its mail once a turn, so two
/// seconds without are a worker that hangs.
pub(super) const MAIL_RETRY: Duration = Duration::from_millis(10);
const MAIL_TRIES_MAX: usize = 200;

/// What the process is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Read the configuration again.
    Reload,
    /// Drain; the second time, stop.
    Terminate,
    /// Take no more clients, and end when the last session has ended.
    Drain,
    /// End now.
    Stop,
}

/// A worker ended without being told to. The process cannot go on as configured, and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerEnded {
    /// Its number.
    pub worker: usize,
}

impl fmt::Display for WorkerEnded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "worker {} ended by itself; the process ends, to be started again", self.worker)
    }
}

impl std::error::Error for WorkerEnded {}

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Clients are accepted.
    Serving,
    /// No new clients. Who is still there at the deadline is cut off.
    Draining { until: Instant },
}

/// Everything the control thread owns.
pub(super) struct Control {
    pub(super) source: Source,
    pub(super) table: Arc<ArcSwap<RoutingTable>>,
    pub(super) workers: Workers,
    pub(super) listeners: Listeners,
    /// Certificates and keys.
    pub(super) keeper: tls::Keeper,
    pub(super) monitor: Monitor,
    pub(super) promoter: Promoter,
    pub(super) manager: ServiceManager,
    pub(super) phase: Phase,
    pub(super) started: Instant,
    pub(super) door: Door,
    pub(super) last_minute: LastMinute,
    pub(super) watchdog: Watchdog,
    pub(super) questions: mpsc::Receiver<Question>,
    /// The number of each worker whose thread has ended.
    pub(super) deaths: mpsc::UnboundedReceiver<usize>,
    /// Removes the admin socket's file at the end.
    pub(super) _admin_file: SocketFile,
}

/// How the loop goes on after something happened.
enum Next {
    GoOn,
    End,
}

impl Control {
    /// Runs until the process is to end, ends the workers, and waits for them.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), WorkerEnded> {
        let mut failed = None;
        let mut alive = self.workers.handles().len();
        let mut looks = interval(FILES_INTERVAL);
        let mut reminders = interval(REMINDER_INTERVAL);
        let mut period = tokio::time::interval(replies::PERIOD);
        loop {
            let next = tokio::select! {
                Some(order) = orders.recv() => self.obey(order).await,
                Some(question) = self.questions.recv() => self.answer(question).await,
                Some(worker) = self.deaths.recv() => {
                    alive -= 1;
                    self.worker_ended(worker, &mut failed).await
                }
                _ = looks.tick() => {
                    self.keeper.look_at_files(&self.table.load().config);
                    Next::GoOn
                }
                _ = reminders.tick() => {
                    self.keeper.remind();
                    Next::GoOn
                }
                () = self.watchdog.tick() => {
                    self.look_after_workers();
                    Next::GoOn
                }
                _ = period.tick() => {
                    self.last_minute.keep(Counted::by(self.workers.handles()), Instant::now());
                    Next::GoOn
                }
                () = deadline(self.phase) => {
                    tracing::warn!("shutdown_timeout is over; sessions that are cut off: {}", self.sessions());
                    Next::End
                }
            };
            if matches!(next, Next::End) || alive == 0 {
                break;
            }
        }
        self.end().await;
        failed.map_or(Ok(()), Err)
    }

    /// A manager that hears nothing for as long as it said starts the process again.
    fn look_after_workers(&mut self) {
        match self.watchdog.all_answer(self.workers.handles()) {
            true => self.tell_manager(&Message::Watchdog),
            false => tracing::warn!("a worker does not answer; the service manager is not told that all is well"),
        }
    }

    async fn obey(&mut self, order: Order) -> Next {
        match (order, self.phase) {
            (Order::Reload, _) => {
                // What came of it is in the log; who sent a signal has nowhere else to look.
                let _ = self.reload().await;
                Next::GoOn
            }
            (Order::Terminate | Order::Drain, Phase::Serving) => {
                self.drain().await;
                Next::GoOn
            }
            (Order::Drain, Phase::Draining { .. }) => Next::GoOn,
            (Order::Stop, _) | (Order::Terminate, Phase::Draining { .. }) => {
                tracing::info!("ends now; sessions that are cut off: {}", self.sessions());
                Next::End
            }
        }
    }

    /// Takes no more clients. Workers end by themselves when their last session has.
    async fn drain(&mut self) {
        let timeout = self.table.load().config.process.shutdown_timeout;
        tracing::info!("takes no more clients and waits up to {timeout:?} for sessions to end: {}", self.sessions());
        self.tell_manager(&Message::Stopping);
        self.phase = Phase::Draining { until: Instant::now() + timeout };
        self.tell_workers(|| worker::Order::Drain).await;
        // The workers' copies are closed by them; with ours the addresses are free.
        self.listeners.close();
    }

    async fn worker_ended(&mut self, worker: usize, failed: &mut Option<WorkerEnded>) -> Next {
        if matches!(self.phase, Phase::Draining { .. }) {
            return Next::GoOn;
        }
        // Its listening sockets would go on collecting clients that nobody serves, so the process does not stay.
        let ended = WorkerEnded { worker };
        tracing::error!("{ended}; the other workers are drained");
        *failed = Some(ended);
        self.drain().await;
        Next::GoOn
    }

    pub(super) async fn end(mut self) {
        if self.phase == Phase::Serving {
            self.tell_manager(&Message::Stopping);
        }
        self.listeners.close();
        self.tell_workers(|| worker::Order::Stop).await;
        self.workers.join();
        tracing::info!("ended");
    }

    async fn answer(&mut self, question: Question) -> Next {
        // Who asked may have gone away meanwhile; an answer that nobody reads is dropped.
        match question {
            Question::Status(answer) => drop(answer.send(self.status())),
            Question::Sessions { limit, answer } => self.collect_sessions(limit, answer),
            Question::Explain { user, sql, answer } => {
                let asked = Asked { user: &user, sql: sql.as_deref() };
                let explained = explain::online(&self.table.load(), &asked);
                drop(answer.send(explained.map_err(|unknown| unknown.to_string())));
            }
            Question::Reload(answer) => drop(answer.send(self.reload().await)),
            Question::Switchover { server, mode, answer } => {
                let promoter = self.promoter.clone();
                // It takes its time, and the loop does not wait for it.
                tokio::spawn(async move { drop(answer.send(promoter.switchover(&server, mode).await)) });
            }
            Question::Upkeep { server, what, answer } => self.keep_up(&server, what, answer),
            Question::InstantFailover { mode, target, existing, answer } => {
                self.instant_failover(mode, target, existing, answer);
            }
            Question::Health(answer) => drop(answer.send(self.shown_phase())),
            Question::Metrics(answer) => drop(answer.send(self.metrics())),
        }
        Next::GoOn
    }

    /// Sends clients elsewhere, or not any more, as an operator says; in a task of its own: the loop does not wait for a disk.
    fn instant_failover(
        &self,
        mode: RedirectMode,
        target: Option<Target>,
        existing: Existing,
        answer: oneshot::Sender<Result<InstantFailoverStatus, String>>,
    ) {
        let Some(settings) = self.table.load().redirect.settings.commanded(mode, target) else {
            let why = "nobody says where to: give --target HOST:PORT, or write it in the file";
            return drop(answer.send(Err(why.to_owned())));
        };
        let (table, steering) = (Arc::clone(&self.table), self.monitor.steering());
        let handles = self.workers.handles().to_vec();
        tokio::spawn(async move {
            let remembrance = steering.redirect(Redirect::commanded(settings, existing)).await;
            let status = InstantFailoverStatus {
                notes: forgotten(remembrance).into_iter().collect(),
                ..instant_failover_status(&table.load(), &handles)
            };
            tracing::info!("{}", admin::table::instant_failover(&status).trim_end());
            drop(answer.send(Ok(status)));
        });
    }

    /// Asks every worker, in a task of its own: the loop does not wait for them.
    fn collect_sessions(&self, limit: usize, answer: oneshot::Sender<Vec<SessionStatus>>) {
        let handles = self.workers.handles().to_vec();
        tokio::spawn(async move {
            let rows = session_rows(&handles, limit).await;
            drop(answer.send(rows.into_iter().map(session_status).collect()));
        });
    }

    /// Takes a server out of use or into it, and tells who is there; in a task of its own, as above.
    fn keep_up(&self, server: &str, what: Upkeep, answer: oneshot::Sender<Result<DrainStatus, String>>) {
        let id = match drain::find(&self.table.load(), server) {
            Ok(id) => id,
            Err(unknown) => return drop(answer.send(Err(unknown))),
        };
        let (table, steering) = (Arc::clone(&self.table), self.monitor.steering());
        let handles = self.workers.handles().to_vec();
        tokio::spawn(async move {
            let forgotten = match what.service(connections_to(&table.load(), id), Instant::now()) {
                Some(service) => forgotten(steering.serve(id, service).await),
                None => None,
            };
            let guests =
                session_rows(&handles, usize::MAX).await.into_iter().filter_map(|row| guest(row, id)).collect();
            let table = table.load();
            let place = table.place(id).ok_or_else(|| "a reload has removed the server".to_owned());
            drop(answer.send(place.map(|place| {
                let mut status = drain::status(&table, place, guests, Instant::now());
                status.notes.extend(forgotten);
                status
            })));
        });
    }

    fn metrics(&self) -> Metrics {
        let replies = Counted::by(self.workers.handles()).named(&self.table.load());
        Metrics { status: self.status(), started_seconds: self.started_seconds(), totals: self.totals(), replies }
    }

    /// The wall clock may have been set since the start: then this moves with it, as it must to be compared with others.
    fn started_seconds(&self) -> f64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(self.started.elapsed()).as_secs_f64()
    }

    fn totals(&self) -> Totals {
        let counters = || self.workers.handles().iter().map(Handle::counters);
        let sum =
            |of: fn(&Counters) -> &AtomicU64| counters().map(|counters| of(counters).load(Ordering::Relaxed)).sum();
        let turned_away = |(index, reason): (usize, &&'static str)| {
            (*reason, counters().map(|counters| counters.turned_away[index].load(Ordering::Relaxed)).sum())
        };
        let ended = |ending: Ending| (ending.name(), counters().map(|counters| counters.ended(ending)).sum());
        Totals {
            accepted: sum(|counters| &counters.accepted),
            accepts_failed: sum(|counters| &counters.accepts_failed),
            turned_away: worker::REASONS.iter().enumerate().map(turned_away).collect(),
            client_bytes: sum(|counters| &counters.client_bytes),
            server_bytes: sum(|counters| &counters.server_bytes),
            faults: sum(|counters| &counters.faults),
            waits: sum(|counters| &counters.waits),
            waits_expired: sum(|counters| &counters.waits_expired),
            ended: Ending::ALL.into_iter().map(ended).collect(),
        }
    }

    fn status(&self) -> Status {
        let table = self.table.load();
        let replies = self.last_minute.until(Counted::by(self.workers.handles()), Instant::now());
        Status {
            process: ProcessStatus {
                version: env!("CARGO_PKG_VERSION").to_string(),
                pid: std::process::id(),
                phase: self.shown_phase(),
                uptime_seconds: self.started.elapsed().as_secs(),
                engine: self.workers.engine().to_string(),
                workers: self.workers.handles().len(),
                table_epoch: table.epoch,
                http: self.door.address().map(|address| address.to_string()),
            },
            sessions: self.session_count(&table),
            split: self.split_counts(&table),
            instant_failover: Some(instant_failover_status(&table, self.workers.handles())),
            listeners: self.listener_status(),
            clusters: report::clusters(&table, &replies, Instant::now()),
            pools: report::pools(&table),
            successions: report::successions(&self.monitor.successions(), Instant::now()),
        }
    }

    fn listener_status(&self) -> Vec<ListenerStatus> {
        let terms = self.keeper.terms().load_full();
        let status = |(settings, bound): (&config::Listener, &ListenAddress)| ListenerStatus {
            name: settings.name.clone(),
            address: bound.to_string(),
            extra: settings.extra,
            tls: settings.tls.demand.to_string(),
            certificate: terms.front(&settings.mark()).map(|front| certificate_status(front.identity())),
        };
        self.listeners.iter().map(status).collect()
    }

    fn shown_phase(&self) -> shapes::Phase {
        match self.phase {
            Phase::Serving => shapes::Phase::Serving,
            Phase::Draining { .. } => shapes::Phase::Draining,
        }
    }

    fn session_count(&self, table: &RoutingTable) -> SessionCount {
        let by_worker = self.sessions_by_worker();
        SessionCount { current: by_worker.iter().sum(), max: table.config.process.max_sessions.into(), by_worker }
    }

    /// The workers' counts together, where any user is split.
    fn split_counts(&self, table: &RoutingTable) -> Option<SplitCounts> {
        table.config.routes().any(|user| user.split.is_some()).then_some(())?;
        let mut sum = SplitCounts::default();
        for handle in self.workers.handles() {
            let routes = &handle.counters().routes;
            sum.reads_at_replicas += routes.at_replicas();
            sum.reads_repeated += routes.repeated();
            for (bond, count) in routes.reads_at_home().filter(|(_, count)| *count > 0) {
                *sum.reads_at_primary.entry(bond.text().to_owned()).or_default() += count;
            }
            for (reason, count) in routes.others().filter(|(_, count)| *count > 0) {
                *sum.other_statements.entry(reason.text().to_owned()).or_default() += count;
            }
        }
        Some(sum)
    }

    fn sessions(&self) -> u64 {
        self.sessions_by_worker().iter().sum()
    }

    fn sessions_by_worker(&self) -> Vec<u64> {
        self.workers.handles().iter().map(|handle| handle.counters().sessions.load(Ordering::Relaxed)).collect()
    }

    /// Names and bound addresses of the listeners.
    pub(super) fn addresses(&self) -> Vec<(String, ListenAddress)> {
        self.listeners.iter().map(|(settings, bound)| (settings.name.clone(), bound.clone())).collect()
    }

    /// The table that the workers decide by.
    pub(super) fn table(&self) -> Arc<ArcSwap<RoutingTable>> {
        Arc::clone(&self.table)
    }

    pub(super) fn tell_manager(&self, message: &Message<'_>) {
        if let Err(error) = self.manager.tell(message) {
            tracing::warn!("the service manager was not told {message:?}: {error}");
        }
    }

    /// Tells the workers about listeners. A socket that a worker cannot be given is left to the others.
    pub(super) async fn give_notice(&self, notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                Notice::Stop { key } => self.tell_workers(|| worker::Order::StopListening { key }).await,
                Notice::Listen { worker, key, mark, socket } => {
                    let order = || {
                        let socket = socket.try_clone().ok()?;
                        Some((worker::Order::Listen { key, mark: Arc::clone(&mark), socket }, ()))
                    };
                    deliver(worker, &self.workers.handles()[worker], order).await;
                }
            }
        }
    }

    async fn tell_workers(&self, order: impl Fn() -> worker::Order) {
        for (worker, handle) in self.workers.handles().iter().enumerate() {
            deliver(worker, handle, || Some((order(), ()))).await;
        }
    }
}

/// Puts an order into a worker's mailbox, however often that takes within reason. What is made with the order (the
/// place for its answer) comes back once it is there; nothing does when the worker has ended, which its death tells.
async fn deliver<Made>(
    worker: usize,
    handle: &Handle,
    make: impl Fn() -> Option<(worker::Order, Made)>,
) -> Option<Made> {
    for _ in 0..MAIL_TRIES_MAX {
        let Some((order, made)) = make() else {
            tracing::error!("no more open files: worker {worker} cannot be told");
            return None;
        };
        match handle.send(order) {
            Ok(()) => return Some(made),
            Err(Undelivered::Ended) => return None,
            Err(Undelivered::Full) => tokio::time::sleep(MAIL_RETRY).await,
        }
    }
    tracing::error!("worker {worker} does not read its orders");
    None
}

/// Ticks from one interval from now on. Ticks that were missed while the thread was busy are not made up for.
fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

/// The moment at which draining is over; never while clients are served.
async fn deadline(phase: Phase) {
    match phase {
        Phase::Serving => std::future::pending().await,
        Phase::Draining { until } => tokio::time::sleep_until(until.into()).await,
    }
}

fn certificate_status(identity: &tls::Identity) -> CertificateStatus {
    CertificateStatus {
        subject: identity.subject().to_owned(),
        is_self_signed: identity.is_made_here(),
        expires: identity.expires(),
        days_left: identity.days_left(),
    }
}

fn instant_failover_status(table: &RoutingTable, handles: &[Handle]) -> InstantFailoverStatus {
    let sent = handles.iter().map(|handle| handle.counters().ended(Ending::Redirected)).sum();
    report::instant_failover(&table.redirect, sent)
}

fn connections_to(table: &RoutingTable, server: ServerId) -> u32 {
    table.place(server).map_or(0, |place| table.server(place).load.connections())
}

/// What an operator should know of an order that the next process will not.
fn forgotten(remembrance: Option<Remembrance>) -> Option<String> {
    match remembrance? {
        Remembrance::Kept => None,
        Remembrance::UntilRestart(why) => Some(format!("a restart of sqluice forgets this: {why}")),
    }
}

/// The sessions of all workers by their numbers, so many at most.
async fn session_rows(handles: &[Handle], limit: usize) -> Vec<SessionRow> {
    let mut asked = Vec::new();
    for (worker, handle) in handles.iter().enumerate() {
        let order = || {
            let (answer, answered) = oneshot::channel();
            Some((worker::Order::Sessions { limit, answer }, answered))
        };
        asked.extend(deliver(worker, handle, order).await);
    }
    let mut sessions = Vec::new();
    for answered in asked {
        // A worker that ends before it answers has no sessions.
        sessions.extend(answered.await.unwrap_or_default());
    }
    sessions.sort_by_key(|session| session.id);
    sessions.truncate(limit);
    sessions
}

/// The session as a guest of a server, if it is one.
fn guest(row: SessionRow, server: ServerId) -> Option<Guest> {
    let stake = match (row.home, row.reads_at) {
        (Some(home), _) if home == server => Stake::Home,
        (_, Some(replica)) if replica == server => Stake::Reads,
        _ => return None,
    };
    Some(Guest { session: session_status(row), stake })
}

fn session_status(row: SessionRow) -> SessionStatus {
    SessionStatus {
        id: row.id,
        worker: row.worker,
        user: row.user,
        address: row.address,
        server: row.server,
        replica: row.replica,
        last_server: row.last_server,
        state: row.state.to_string(),
        pins: row.pins.into_iter().map(str::to_string).collect(),
        ties: row.ties.into_iter().map(str::to_string).collect(),
        tied_seconds: row.tied_seconds,
        commands: row.commands,
        age_seconds: row.age_seconds,
    }
}
