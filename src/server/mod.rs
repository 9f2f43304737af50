//! The process: start, signals, reload, drain, end.
//!
//! | file | what is in it |
//! |---|---|
//! | `opening` | the order of a start, and everything that can go wrong in it |
//! | `control` | the control thread's loop: orders, workers that end |
//! | `answering` | operators' questions and orders, as they come from the admin API |
//! | `status` | what the process says of itself |
//! | `mail` | what workers are told, through mailboxes that may be full |
//! | `reload` | from a changed file to a changed process, or to the reasons why not |
//! | `listeners` | the addresses clients connect to, over the life of the process |
//! | `door` | the status page's address, over the life of the process |
//! | `replies` | how long servers took to reply |
//! | `signals` | signals as orders |
//! | `notify` | what the service manager is told |
//! | `watchdog` | signs of life for the service manager |
//! | `socket_file` | a UNIX socket's file, which goes away with it |
//!
//! [`run`] is the command: it ends when a signal says so. [`start`] gives the same process to a program that has its
//! own `main`, like the demo. What is *not* here: bytes of clients (`worker`), health (`monitor`), and what operators
//! see (`admin`).

mod activation;
mod answering;
mod control;
mod door;
mod listeners;
mod mail;
mod notify;
mod opening;
mod reload;
mod replies;
mod signals;
mod socket_file;
mod status;
mod watchdog;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::config::{self, Config, ConfigErrors, ListenAddress};
use crate::io::forbid_core_dumps;
use crate::log;
use crate::topology::RoutingTable;

pub use activation::HandedOver;
pub use control::WorkerEnded;
pub use door::CannotOpen;
pub use listeners::BindError;
pub use opening::StartError;

use control::{Control, Order, Source};
use notify::ServiceManager;

/// Why [`run`] did not end well.
#[derive(Debug)]
pub enum RunError {
    /// The file is not a configuration.
    Config(ConfigErrors),
    /// The process could not be started.
    Start(StartError),
    /// A worker ended by itself.
    Worker(WorkerEnded),
}

impl fmt::Display for RunError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Config(errors) => errors.fmt(out),
            RunError::Start(error) => error.fmt(out),
            RunError::Worker(ended) => ended.fmt(out),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs in the foreground, on this thread and the workers', until a signal or a failure ends it. Starts the logs.
pub fn run(path: &Path) -> Result<(), RunError> {
    let config = Config::load(path).map_err(RunError::Config)?;
    // Somebody who has started logs already keeps them as they are.
    let _ = log::start(&config.log);
    tracing::info!("sqluice {} starts with {}", env!("CARGO_PKG_VERSION"), path.display());
    guard_secrets(&config);
    let runtime = control_runtime().map_err(RunError::Start)?;
    let ended = runtime.block_on(async {
        let (orders, inbox) = mpsc::channel(control::ORDERS_MAX);
        // Before anything else, so that a signal that comes early waits instead of killing.
        signals::watch(orders).map_err(StartError::Runtime).map_err(RunError::Start)?;
        let source = Source::File(path.to_path_buf());
        let control = Control::open(config, source, service_manager()).await.map_err(RunError::Start)?;
        control.run(inbox).await.map_err(RunError::Worker)
    });
    // A check in the middle of a name look-up has a thread of its own; nobody waits for that.
    runtime.shutdown_background();
    if let Err(error) = &ended {
        tracing::error!("{error}");
    }
    ended
}

/// Keeps what is secret in the process, and says where it lies open.
fn guard_secrets(config: &Config) {
    if !config.process.core_dumps
        && let Err(error) = forbid_core_dumps()
    {
        tracing::warn!("core dumps cannot be forbidden, and would hold passwords: {error}");
    }
    warn_of_exposed_files(config);
}

fn warn_of_exposed_files(config: &Config) {
    for file in &config.exposed_files {
        tracing::warn!("{}", config::exposed(file));
    }
}

/// Starts the whole process on threads of its own. It ends when the returned value is dropped.
///
/// The logs stay as the caller has them, no signal is caught, no service manager is told, and there is no file to
/// load again.
pub fn start(config: Config) -> Result<Running, StartError> {
    let (orders, inbox) = mpsc::channel(control::ORDERS_MAX);
    let (opened, opening) = std::sync::mpsc::sync_channel(1);
    let body = move || {
        let runtime = match control_runtime() {
            Ok(runtime) => runtime,
            Err(error) => return deliver(&opened, Err(error)),
        };
        let ended = runtime.block_on(async {
            match Control::open(config, Source::Fixed, ServiceManager::Absent).await {
                Ok(control) => {
                    deliver(&opened, Ok(Facts { listeners: control.addresses(), table: control.table() }))?;
                    control.run(inbox).await
                }
                Err(error) => deliver(&opened, Err(error)),
            }
        });
        runtime.shutdown_background();
        ended
    };
    let control = thread::Builder::new().name("sqluice-control".into()).spawn(body).map_err(StartError::Runtime)?;
    let facts = opening.recv().expect("the control thread says how the start went before it ends")?;
    Ok(Running { orders, listeners: facts.listeners, table: facts.table, control: Some(control) })
}

/// A process that runs on threads of this one. Dropping it ends it now, and waits for that.
///
/// Starting, ending and dropping it block, so none of them belongs inside an async runtime.
#[derive(Debug)]
pub struct Running {
    orders: mpsc::Sender<Order>,
    listeners: Vec<(String, ListenAddress)>,
    table: Arc<ArcSwap<RoutingTable>>,
    control: Option<JoinHandle<Result<(), WorkerEnded>>>,
}

impl Running {
    /// Names and bound addresses, in the order of the configuration; never port 0.
    pub fn listeners(&self) -> &[(String, ListenAddress)] {
        &self.listeners
    }

    /// Users, pools and servers with their health, as the workers see them now.
    pub fn table(&self) -> Arc<RoutingTable> {
        self.table.load_full()
    }

    /// Takes no more clients, lets sessions end at their next transaction end, at most for `shutdown_timeout`, and
    /// waits for it.
    pub fn drain(mut self) -> Result<(), WorkerEnded> {
        self.end(Order::Drain)
    }

    /// Ends now, and waits for it.
    pub fn stop(mut self) -> Result<(), WorkerEnded> {
        self.end(Order::Stop)
    }

    fn end(&mut self, order: Order) -> Result<(), WorkerEnded> {
        let Some(control) = self.control.take() else { return Ok(()) };
        // An inbox that is closed belongs to a process that is ending already.
        let _ = self.orders.blocking_send(order);
        control.join().expect("the control thread does not panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(ended) = self.end(Order::Stop) {
            tracing::error!("{ended}");
        }
    }
}

/// What a start in threads tells the starter.
struct Facts {
    listeners: Vec<(String, ListenAddress)>,
    table: Arc<ArcSwap<RoutingTable>>,
}

type Opened = Result<Facts, StartError>;

/// The starter waits for exactly this one value, so it cannot be gone.
fn deliver(to: &std::sync::mpsc::SyncSender<Opened>, opened: Opened) -> Result<(), WorkerEnded> {
    to.send(opened).expect("the starter waits for the outcome");
    Ok(())
}

fn control_runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)
}

/// A service manager that cannot be reached is no reason not to serve.
fn service_manager() -> ServiceManager {
    ServiceManager::from_environment().unwrap_or_else(|error: io::Error| {
        tracing::warn!("the service manager named by NOTIFY_SOCKET cannot be reached: {error}");
        ServiceManager::Absent
    })
}
