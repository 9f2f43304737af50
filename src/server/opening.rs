//! The order of a start: everything that can be refused is tried before the first client is accepted.

use std::fmt;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::activation::{Handed, HandedOver};
use super::control::{Control, Phase, Source};
use super::door::{CannotOpen, Door};
use super::listeners::{BindError, Listeners};
use super::notify::{Message, ServiceManager, watchdog_patience};
use super::replies::LastMinute;
use super::socket_file::SocketFile;
use super::watchdog::Watchdog;
use crate::accounts::{self, Directory};
use crate::admin;
use crate::config::limits::{self, Bytes};
use crate::config::{Config, IoEngine};
use crate::failover::Promoter;
use crate::io::{Engine, raise_open_files_limit};
use crate::monitor::{Chronicle, Monitor, this_moment};
use crate::outside::{self, Outside};
use crate::protocol::auth::RsaKey;
use crate::reach::Ways;
use crate::tls;
use crate::topology::Beliefs;
use crate::worker;

/// Only the owner of the process may use the admin socket: it shows addresses and names, and it takes orders.
const ADMIN_SOCKET_MODE: u32 = 0o600;

/// Open files that have nothing to do with sessions: the rings, the monitor's connections, the logs, the admin API.
const FILES_BESIDE_SESSIONS: u64 = 256;

/// Why the process did not start. Each says what an operator would look at.
#[derive(Debug)]
pub enum StartError {
    /// The control thread or its runtime cannot be made.
    Runtime(io::Error),
    /// A socket that the service manager has opened cannot be used.
    HandedOver(HandedOver),
    /// A listener's address cannot be listened on.
    Listen(BindError),
    /// The admin socket cannot be made.
    AdminSocket {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A certificate or a key cannot be used.
    Tls(tls::Refusal),
    /// The status page's address cannot be listened on.
    Http(CannotOpen),
    /// No RSA key for `caching_sha2_password`.
    RsaKey(String),
    /// A worker cannot be started.
    Workers(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Runtime(error) => write!(out, "cannot start the control thread: {error}"),
            StartError::HandedOver(error) => error.fmt(out),
            StartError::Listen(error) => error.fmt(out),
            StartError::AdminSocket { path, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(out, "admin socket {}: something else is there; is sqluice running already?", path.display())
            }
            StartError::AdminSocket { path, error } => {
                write!(out, "admin socket {}: {error}{}", path.display(), advice_on_socket(path, error))
            }
            StartError::Tls(refusal) => write!(out, "TLS: {refusal}"),
            StartError::Http(error) => error.fmt(out),
            StartError::RsaKey(error) => write!(out, "cannot make an RSA key: {error}"),
            StartError::Workers(error) => write!(out, "cannot start the workers: {error}"),
        }
    }
}

/// What to do where the admin socket cannot be made.
fn advice_on_socket(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(Path::new("/")).display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            ": make {folder} a folder of the user that sqluice runs as (the systemd unit does), or name another place by \
             `[admin] socket`"
        ),
        io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem => {
            format!(": make the folder {folder}, or name another place by `[admin] socket`")
        }
        _ => String::new(),
    }
}

impl std::error::Error for StartError {}

impl Control {
    /// Starts everything; when this returns, clients are accepted.
    pub(super) async fn open(config: Config, source: Source, manager: ServiceManager) -> Result<Control, StartError> {
        let started = Instant::now();
        let config = Arc::new(config);
        check_open_files(&config);
        // First of all, because it is also what keeps a second process with the same configuration from starting.
        let (admin_socket, admin_file) = bind_admin_socket(&config)?;
        let handed = Handed::from_environment().map_err(StartError::HandedOver)?;
        handed.check(&config.listeners).map_err(StartError::HandedOver)?;
        let mut listeners = Listeners::new(config.process.workers, handed);
        let plan = listeners.prepare(&config.listeners).map_err(StartError::Listen)?;
        let (questions, questions_inbox) = mpsc::channel(admin::QUESTIONS_MAX);
        let mut door = Door::new(questions.clone());
        let door_plan = door.prepare(&config.admin).map_err(StartError::Http)?;
        tracing::info!(
            "memory for sessions and buffers: {} at most, should every peer stop reading in the same moment",
            Bytes(limits::worst_case_bytes(&config).bytes())
        );

        let mut keeper = tls::Keeper::new(config.process.state_directory.clone());
        let terms = keeper.prove(&config).map_err(StartError::Tls)?;
        keeper.put_in_force(terms);
        let mut beliefs = Beliefs::new(Arc::clone(&config), Instant::now());
        let chronicle = open_chronicle(&config, &mut beliefs);
        let table = Arc::new(ArcSwap::from_pointee(beliefs.table()));
        let (reports, reports_inbox) = mpsc::channel(limits::REPORTS_MAX);
        let (deaths, deaths_inbox) = mpsc::unbounded_channel();
        let rsa = RsaKey::generate().map_err(|error| StartError::RsaKey(error.to_string()))?;
        let directory = Arc::new(Directory::default());
        let outside = Arc::new(Outside::default());
        let workers = worker::spawn(worker::Settings {
            count: config.process.workers,
            pin: config.process.pin_workers,
            busy_poll: config.process.busy_poll,
            engine: engine(config.process.io),
            sessions_max: config.process.max_sessions,
            table: Arc::clone(&table),
            reports,
            rsa: Arc::new(rsa),
            directory: Arc::clone(&directory),
            outside: Arc::clone(&outside),
            terms: keeper.terms(),
            deaths,
        })
        .map_err(StartError::Workers)?;
        tracing::info!("{}", workers.engine());

        let ways = Ways::new(keeper.terms());
        let monitor =
            Monitor::start(beliefs, chronicle, ways.clone(), Arc::clone(&table), workers.wake(), reports_inbox);
        first_round(&monitor, &config).await;

        tokio::spawn(outside::resolve_on(outside, workers.wake()));
        tokio::spawn(accounts::read_on(directory, ways.clone(), Arc::clone(&table), workers.wake()));
        let promoter = Promoter::new(Arc::clone(&table), monitor.steering(), ways);
        promoter.watch();
        let notices = listeners.swap(plan);
        door.swap(door_plan, &config.admin);
        tokio::spawn(serve_admin(admin_socket, questions));
        let control = Control {
            source,
            table,
            workers,
            listeners,
            keeper,
            monitor,
            promoter,
            manager,
            phase: Phase::Serving,
            started,
            door,
            last_minute: LastMinute::new(started),
            watchdog: Watchdog::new(watchdog_patience()),
            questions: questions_inbox,
            deaths: deaths_inbox,
            _admin_file: admin_file,
        };
        control.give_notice(notices).await;
        control.tell_manager(&Message::Ready);
        control.say_ready();
        Ok(control)
    }

    fn say_ready(&self) {
        let addresses: Vec<String> =
            self.addresses().into_iter().map(|(name, address)| format!("{name} {address}")).collect();
        let addresses = addresses.join(", ");
        tracing::info!("ready: {addresses}");
        self.tell_manager(&Message::Status(&format!("serving on {addresses}")));
    }
}

fn bind_admin_socket(config: &Config) -> Result<(UnixListener, SocketFile), StartError> {
    let path = &config.admin.socket;
    let (socket, file) = SocketFile::listen(path, ADMIN_SOCKET_MODE)
        .map_err(|error| StartError::AdminSocket { path: path.clone(), error })?;
    Ok((UnixListener::from(socket), file))
}

async fn serve_admin(socket: UnixListener, questions: mpsc::Sender<admin::Question>) {
    // Without it, clients are still served; only the commands are not.
    if let Err(error) = admin::serve(socket, questions).await {
        tracing::error!("the admin API ended: {error}");
    }
}

/// Raises the limit of open files, and says so if the configured sessions do not fit: each has two sockets.
fn check_open_files(config: &Config) {
    let sessions = u64::from(config.process.max_sessions);
    let sockets = config.listeners.len() as u64 * config.process.workers as u64 * 2;
    let needed = sessions * 2 + sockets + FILES_BESIDE_SESSIONS;
    match raise_open_files_limit() {
        Ok(limit) if limit < needed => tracing::warn!(
            "the limit of open files is {limit}, but max_sessions = {sessions} needs {needed}: about {} sessions fit; \
             raise the limit (LimitNOFILE= of the unit, ulimit -n) or lower max_sessions",
            limit.saturating_sub(sockets + FILES_BESIDE_SESSIONS) / 2,
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!("the limit of open files cannot be raised: {error}"),
    }
}

/// Tells the beliefs what the process before has left.
fn open_chronicle(config: &Config, beliefs: &mut Beliefs) -> Option<Chronicle> {
    let (chronicle, memoir) = Chronicle::open(&config.process.state_directory)?;
    beliefs.recall(&memoir.pasts);
    for recalled in beliefs.obey_again(&memoir.orders, this_moment()) {
        tracing::warn!("{recalled}");
    }
    Some(chronicle)
}

/// Lets the monitor ask every server once, so that the first clients find a table that knows something. A cluster that
/// does not answer must not keep the others from being served.
async fn first_round(monitor: &Monitor, config: &Config) {
    let timeout = config.clusters.iter().map(|cluster| cluster.check_timeout).max().unwrap_or(Duration::ZERO);
    if !monitor.ready(timeout).await {
        tracing::warn!(
            "not every server has answered its first check in {timeout:?}; clients are accepted all the same"
        );
    }
}

fn engine(configured: IoEngine) -> Engine {
    match configured {
        IoEngine::Auto => Engine::Auto,
        IoEngine::IoUring => Engine::IoUring,
        IoEngine::Epoll => Engine::Epoll,
    }
}
