//! The whole thing on one machine with nothing to configure: a primary and two replicas, the balancer in front,
//! clients of two users, a primary that dies and comes back, and a view of where each statement goes.
//!
//! | file | what is in it |
//! |---|---|
//! | `cluster` | the three servers, real (`mariadb`) or built in ([`standin`](crate::standin)) |
//! | `accounts`, `configuration`, `folder` | what they and the balancer are set up with, and where it lies |
//! | `plan` | when the primary dies and comes back |
//! | `traffic` | the clients, and what they report |
//! | `ledger` | what has happened so far, counted |
//! | `view`, `screen` | what is shown, and how it gets to the terminal |
//! | `summary` | what is said at the end, and whether all went as it should |
//!
//! It makes a folder under the system's temporary one, listens on 127.0.0.1 only, and removes and stops at its end
//! whatever it has made and started, also after Ctrl-C.

mod accounts;
mod cluster;
mod configuration;
mod failure;
mod folder;
mod ledger;
mod mariadb;
mod plan;
mod screen;
mod stage;
mod summary;
mod traffic;
mod view;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::server;

pub use failure::Failure;

use accounts::{Accounts, READER, WRITER, random_password};
use cluster::{Cluster, Started};
use configuration::Configuration;
use failure::Trying;
use folder::Folder;
use plan::{Outages, Plan};
use stage::Stage;
use summary::Summary;

/// Servers of the demo: a primary and two replicas.
const MEMBERS: usize = 3;

/// What the person at the command line wants to see.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether clients of the demo's own are at work.
    pub traffic: Traffic,
    /// What the three servers are.
    pub backing: Backing,
    /// What the clients do that are told, in answer to their login, to go elsewhere.
    pub failovers: Failovers,
    /// How long it goes on; `None`: until Ctrl-C.
    pub duration: Option<Duration>,
}

/// What a client does that is sent elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failovers {
    /// It goes there.
    Follow,
    /// It tells the error.
    Tell,
}

/// Who uses the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Clients of the demo's own, and the primary dies under them.
    Own,
    /// Nobody but the person who watches; no server dies.
    None,
}

/// What the three servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Real MariaDB servers, if they are installed and start; else built-in ones.
    RealIfFound,
    /// Built-in stand-in servers.
    StandIn,
}

/// Runs the demo to its end, on standard output.
///
/// # Errors
/// What could not be started, or what did not go as it should have.
pub fn run(options: Options) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().trying("starting the demo's runtime")?;
    let folder = Folder::create().trying("making the demo's folder")?;
    let accounts = Accounts::new().trying("making a password")?;
    let outages = match options.traffic {
        Traffic::Own => Outages::Staged,
        Traffic::None => Outages::None,
    };
    let plan = Plan::new(options.duration, outages);
    let mut signals = runtime.block_on(async { Signals::catch() }).trying("catching Ctrl-C")?;
    say("Starting a primary and two replicas ...\n")?;
    let started = start_cluster(&runtime, &mut signals, options.backing, &folder, &accounts)?;
    let Started { mut cluster, made_of } = started;
    let port = free_port().trying("finding a free port")?;
    let configuration = write_configuration(port, &folder, &cluster, &accounts, plan)?;
    let config = Config::load(&configuration).trying("reading the demo's own configuration")?;
    // Starting and stopping it block, so both are outside of the runtime.
    let balancer = server::start(config).trying("starting the balancer")?;
    let stage = Stage {
        balancer: &balancer,
        port,
        plan,
        traffic: options.traffic,
        failovers: options.failovers,
        made_of,
        status_command: format!("{} status --config {}", program(), configuration.display()),
    };
    let ledger = runtime.block_on(stage.play(&mut cluster, &mut signals))?;
    let ended = Instant::now();
    // A primary that is away now, because somebody ended the demo early, cannot be asked.
    let rows = runtime.block_on(cluster.row_count()).ok();
    balancer.stop().trying("stopping the balancer")?;
    let summary = Summary::new(&ledger, rows, options.traffic, ended);
    say(&summary.text())?;
    summary.verdict()
}

fn start_cluster(
    runtime: &Runtime,
    signals: &mut Signals,
    backing: Backing,
    folder: &Folder,
    accounts: &Accounts,
) -> Result<Started, Failure> {
    runtime.block_on(async {
        tokio::select! {
            started = Cluster::start(backing, folder, accounts) => started,
            () = signals.wait() => Err(Failure::new("ended before it had begun")),
        }
    })
}

fn write_configuration(
    port: u16,
    folder: &Folder,
    cluster: &Cluster,
    accounts: &Accounts,
    plan: Plan,
) -> Result<PathBuf, Failure> {
    let path = folder.path().join("sqluice.toml");
    let hold_timeout = plan.hold_timeout();
    let configuration =
        Configuration { port, folder: folder.path(), server_ports: &cluster.ports(), accounts, hold_timeout };
    fs::write(&path, configuration.text()).trying("writing the balancer's configuration")?;
    Ok(path)
}

/// How a shell calls this program: `cargo run` has put it nowhere on the PATH.
fn program() -> String {
    let (path, folder) = (env::var_os("PATH").unwrap_or_default(), env::current_dir().unwrap_or_default());
    env::current_exe().map_or_else(|_| NAME.to_owned(), |own| called(&own, &path, &folder))
}

/// By its name, where that finds it, else by its path from the folder at hand: a longer one may not fit a terminal.
fn called(own: &Path, path: &OsStr, folder: &Path) -> String {
    let found = env::split_paths(path).map(|folder| folder.join(NAME)).find(|file| file.is_file());
    match found.and_then(|file| file.canonicalize().ok()) {
        Some(file) if file == own => NAME.to_owned(),
        Some(_) | None => own.strip_prefix(folder).unwrap_or(own).display().to_string(),
    }
}

const NAME: &str = "sqluice";

/// A port that is free now; nobody is likely to take it before the balancer does.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn say(text: &str) -> Result<(), Failure> {
    screen::write_out(text).trying("writing to standard output")
}

/// The signals that end the demo in good order.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Must be called within a runtime.
    fn catch() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_by_its_name_only_where_that_finds_it() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("its path");
        let [bin, built] = ["bin", "built"].map(|name| root.join(name));
        let program = |folder: &Path| {
            fs::create_dir(folder).and_then(|()| fs::write(folder.join(NAME), "")).expect("a file can be made");
            folder.join(NAME)
        };
        let (installed, own) = (program(&bin), program(&built));
        let path = env::join_paths([root.join("none"), bin]).expect("no colon in it");
        assert_eq!(called(&installed, &path, Path::new("/")), NAME);
        assert_eq!(called(&own, &path, Path::new("/elsewhere")), own.display().to_string());
        assert_eq!(called(&own, &path, &root), "built/sqluice");
    }
}
