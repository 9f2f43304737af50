//! The control thread's loop: orders, workers that end, and what is looked at from time to time.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::door::Door;
use super::listeners::{Listeners, Notice};
use super::mail::deliver;
use super::notify::{Message, ServiceManager};
use super::replies::{self, Counted, LastMinute};
use super::socket_file::SocketFile;
use super::watchdog::Watchdog;
use crate::admin::Question;
use crate::config::ListenAddress;
use crate::failover::Promoter;
use crate::monitor::Monitor;
use crate::tls;
use crate::topology::RoutingTable;
use crate::worker::{self, Workers};

/// Orders that may wait; a signal that comes beyond that waits with its sender.
pub(super) const ORDERS_MAX: usize = 8;

/// How often the files of certificates and keys are looked at: a few calls of the kernel each.
const FILES_INTERVAL: Duration = Duration::from_secs(1);

/// How often certificates that expire soon are warned of.
const REMINDER_INTERVAL: Duration = Duration::from_secs(24 * 3600);

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

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// This file, read again by each reload.
    File(PathBuf),
    /// The program that started us; it stays as it is.
    Fixed,
}

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
                Some(question) = self.questions.recv() => {
                    self.answer(question).await;
                    Next::GoOn
                }
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

    fn sessions(&self) -> u64 {
        self.sessions_by_worker().iter().sum()
    }

    pub(super) fn sessions_by_worker(&self) -> Vec<u64> {
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
