//! One thread, one ring: carries out what its sessions ask for.
//!
//! - `turn` is the loop: wait for the kernel, handle everything that happened, read the mail, submit once;
//! - `conduct` moves bytes between a session's sockets as its steps say, and carries out its outputs;
//! - `lease` finds and reserves servers, `connecting` connects them, `waiting` serves who waits for one;
//! - `aside` keeps home connections while their sessions are made ready at another server;
//! - `lending` keeps home connections that rest between the transactions of different sessions;
//! - `connection` is one socket: bytes that wait, and back-pressure;
//! - `departing` are sockets that outlive their session until what was written is out;
//! - `reception` takes clients in and shares them among the workers; `anteroom` has those whose balancer must say first whose
//!   they are; `gate` counts by address; `strangers` make way who do not log in; `turning_away` tells those who get no session;
//! - `sealing` is TLS on a socket, between the bytes of the wire and those that sessions see;
//! - `displacing` and `unanswered` look at what another routing table means to sessions, and at the first replies by it;
//! - `mailbox`, `counters`, `reply_times` and `timers` are what their names say.
//!
//! A session and its buffers stay on one worker. Workers share the routing table, counters, and messages, nothing else.

mod anteroom;
mod aside;
mod conduct;
mod connecting;
mod connection;
mod counters;
mod departing;
mod displacing;
mod gate;
mod inquiring;
mod lease;
mod lending;
mod mailbox;
mod pace;
mod post;
mod reception;
mod replicas;
mod reply_times;
mod sealing;
mod strangers;
mod timers;
mod travelling;
mod turn;
mod turning_away;
mod unanswered;
mod waiting;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, OnceLock, atomic::AtomicU32, mpsc},
    thread::{self, JoinHandle},
};

use arc_swap::ArcSwap;

pub use counters::Counters;
pub use mailbox::{Asker, Handle, Order, SessionRow, Undelivered};
pub use reply_times::ReplyTimes;
pub use turning_away::REASONS;

use crate::{
    accounts::Directory,
    config::limits,
    io::{Engine, Io, set_cpu_affinity, wake_up_time},
    outside::Outside,
    protocol::auth::RsaKey,
    tls::Terms,
    topology::{Report, RoutingTable},
};

use gate::Gate;
use turn::Worker;

/// What all workers are started with.
pub struct Settings {
    /// Threads.
    pub count: usize,
    /// Each to a CPU of its own.
    pub pin: bool,
    /// Each looks a while for what comes next before it sleeps, where that pays.
    pub busy_poll: bool,
    /// Which of the kernel's ways to use.
    pub engine: Engine,
    /// Sessions that the process may have.
    pub sessions_max: u32,
    /// Users, pools, servers.
    pub table: Arc<ArcSwap<RoutingTable>>,
    /// The way to the monitor.
    pub reports: tokio::sync::mpsc::Sender<Report>,
    /// For clients that send their password over RSA.
    pub rsa: Arc<RsaKey>,
    /// What is known of users without an entry in the configuration.
    pub directory: Arc<Directory>,
    /// What is known of servers outside of the configuration.
    pub outside: Arc<Outside>,
    /// TLS towards clients and servers, for connections that begin now.
    pub terms: Arc<ArcSwap<Terms>>,
    /// Told the index of each worker whose thread has ended, for whatever reason.
    pub deaths: tokio::sync::mpsc::UnboundedSender<usize>,
}

/// What the workers share with each other.
struct Company {
    settings: Settings,
    /// Sessions of the process. The ledger: one more in `Worker::take_in`; one less in `Worker::strike_out` when no session came of
    /// it, and for every end of one, and for all that are
    /// left when a worker is dropped. A worker's burden goes the same way, from `Worker::accepted` or `Handle::adopt` on,
    /// so that clients on their way between two workers count.
    sessions: AtomicU32,
    /// Those of them whose clients have not shown who they are.
    strangers: AtomicU32,
    /// How many connections addresses have, and how many of their logins have failed.
    gate: Arc<Gate>,
    /// All workers; set once all have started.
    handles: OnceLock<Vec<Handle>>,
}

/// The running workers.
pub struct Workers {
    handles: Vec<Handle>,
    engine: String,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// The ways to the workers, by index.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// What the workers use of the kernel, in one line for the log.
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// Tells all workers that the routing table has changed.
    pub fn wake(&self) -> impl Fn() + Clone + Send + Sync + 'static {
        let handles = self.handles.clone();
        move || {
            for handle in &handles {
                // A full mailbox has an unread order in it: the worker looks at the table when it reads that.
                let _ = handle.send(Order::TableChanged);
            }
        }
    }

    /// Waits until every worker has ended.
    pub fn join(self) {
        for thread in self.threads {
            // A worker that panicked has been reported by `deaths`.
            let _ = thread.join();
        }
    }
}

/// Starts the workers.
///
/// # Errors
/// When a thread or its ring cannot be made; those that were started are stopped again.
pub fn spawn(settings: Settings) -> io::Result<Workers> {
    let gate = Arc::new(Gate::new(getrandom::u64()?));
    let (sessions, strangers) = (AtomicU32::new(0), AtomicU32::new(0));
    hire(&Arc::new(Company { settings, sessions, strangers, gate, handles: OnceLock::new() }))
}

fn hire(company: &Arc<Company>) -> io::Result<Workers> {
    let mut handles = Vec::new();
    let mut threads = Vec::new();
    let mut engine = String::new();
    for index in 0..company.settings.count {
        match start(index, company) {
            Ok((handle, thread, report)) => {
                handles.push(handle);
                threads.push(thread);
                engine = report;
            }
            Err(error) => {
                // The others see that the company is not complete, and end.
                let _ = company.handles.set(Vec::new());
                for handle in handles {
                    let _ = handle.send(Order::Stop);
                }
                return Err(error);
            }
        }
    }
    let _ = company.handles.set(handles.clone());
    for handle in &handles {
        let _ = handle.send(Order::TableChanged);
    }
    Ok(Workers { handles, engine, threads })
}

type Started = (Handle, JoinHandle<()>, String);

/// Starts one worker: its ring is made on its own thread, as the kernel wants it.
fn start(index: usize, company: &Arc<Company>) -> io::Result<Started> {
    let (ready, started) = mpsc::sync_channel::<io::Result<(Handle, String)>>(1);
    let shared = Arc::clone(company);
    let thread = thread::Builder::new().name(format!("sqluice-worker-{index}")).spawn(move || {
        let obituary = Obituary { index, deaths: shared.settings.deaths.clone() };
        if shared.settings.pin {
            pin(index);
        }
        match Io::new(shared.settings.engine, io_limits(&shared.settings)) {
            Ok((mut io, report)) => {
                if shared.settings.busy_poll {
                    look_before_sleeping(index, &mut io);
                }
                let (handle, mailbox) = mailbox::mailbox(limits::MAILBOX_ORDERS, io.wake_handle());
                let _ = ready.send(Ok((handle, report.to_string())));
                Worker::new(index, io, mailbox, shared).run();
            }
            Err(error) => {
                let _ = ready.send(Err(io::Error::other(error.to_string())));
            }
        }
        drop(obituary);
    })?;
    let (handle, report) = started.recv().map_err(|_| io::Error::other("a worker ended while it started"))??;
    Ok((handle, thread, report))
}

fn pin(index: usize) {
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if let Err(error) = set_cpu_affinity(index % cpus) {
        tracing::warn!(worker = index, %error, "cannot pin the worker to a CPU");
    }
}

fn look_before_sleeping(index: usize, io: &mut Io) {
    match wake_up_time() {
        Ok(wake_up) => {
            tracing::debug!(worker = index, ?wake_up, "a worker looks for what comes next before it sleeps");
            io.look_before_sleeping(wake_up);
        }
        Err(error) => tracing::warn!(worker = index, %error, "busy_poll: cannot measure how long a wake-up takes"),
    }
}

fn io_limits(settings: &Settings) -> crate::io::IoLimits {
    // The client's and the server's socket of each session, and a few that are on their way out.
    let sockets = settings.sessions_max as usize * 2 + 1024;
    crate::io::IoLimits {
        sockets_max: sockets,
        small: crate::io::GroupLimits { buffers: limits::SMALL_BUFFERS, size: limits::SMALL_BUFFER_BYTES },
        large: crate::io::GroupLimits { buffers: limits::LARGE_BUFFERS, size: limits::LARGE_BUFFER_BYTES },
    }
}

/// Says that a worker has ended, however it ends.
struct Obituary {
    index: usize,
    deaths: tokio::sync::mpsc::UnboundedSender<usize>,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        let _ = self.deaths.send(self.index);
    }
}

// The sum of bytes printed at start and the engine's own bounds stand on these.
const _: () =
    assert!(size_of::<turn::Tenant>() <= limits::SESSION_STATE_BYTES / 2, "half is for what a session points to");
const _: () = assert!(size_of::<Order>() <= limits::ORDER_BYTES);
const _: () = assert!(size_of::<crate::topology::Report>() <= limits::REPORT_BYTES);
const _: () = assert!(limits::LISTENERS_MAX <= crate::io::LISTENERS_MAX);
const _: () = assert!(limits::SEND_SPANS_MAX <= crate::io::SEND_SPANS_MAX);
