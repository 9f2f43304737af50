//! Real servers, started through `tests/servers/server`. libtest has no end of the run to stop them at, so one keeper
//! process waits for the end of this process and then ends every server that still runs.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::deadline::eventually;
use super::process::{Process, signal};
use super::script::{in_tests, run};
use super::wire::{Account, Client};

/// A server program, by family and major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    MariaDb10,
    MariaDb11,
    MySql97,
}

pub(crate) const ALL_FLAVOURS: [Flavour; 3] = [Flavour::MariaDb10, Flavour::MariaDb11, Flavour::MySql97];

impl Flavour {
    /// Its name for the scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Flavour::MariaDb10 => "mariadb10",
            Flavour::MariaDb11 => "mariadb11",
            Flavour::MySql97 => "mysql97",
        }
    }

    pub(crate) fn is_mariadb(self) -> bool {
        self != Flavour::MySql97
    }
}

/// A running server on 127.0.0.1. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) flavour: Flavour,
    pub(crate) address: SocketAddr,
    pub(super) folder: PathBuf,
}

impl Server {
    /// The one server of its flavour that all tests of this run share; they keep to databases of their own.
    pub(crate) fn shared(flavour: Flavour) -> &'static Server {
        static SHARED: [OnceLock<Server>; 3] = [const { OnceLock::new() }; 3];
        SHARED[flavour as usize].get_or_init(|| Server::start(flavour, &[]))
    }

    /// A server of its own for a test that changes or kills it; `options` as on the server's command line.
    pub(crate) fn start(flavour: Flavour, options: &[&str]) -> Server {
        let server = Server::prepare(flavour);
        server.launch(options);
        server
    }

    /// A MariaDB whose host has this one PAM service.
    pub(crate) fn start_with_pam(flavour: Flavour, service: &str, rules: &str, options: &[&str]) -> Server {
        let server = Server::prepare(flavour);
        let services = server.folder.join("pam.d");
        fs::create_dir_all(&services).expect("a folder can be made");
        fs::write(services.join(service), rules).expect("a file can be written");
        server.launch(&[&["--plugin-load-add=auth_pam"], options].concat());
        server
    }

    /// Its place and its port, before anything is there.
    pub(super) fn prepare(flavour: Flavour) -> Server {
        Server::prepare_at(flavour, free_address())
    }

    /// The same with an address that nobody else may use.
    pub(super) fn prepare_at(flavour: Flavour, address: SocketAddr) -> Server {
        Server { flavour, address, folder: runs().join(fresh_name(flavour.name())) }
    }

    fn launch(&self, options: &[&str]) {
        let port = self.address.port().to_string();
        let mut arguments = vec!["start", self.flavour.name(), self.folder_text(), &port];
        arguments.extend(options);
        server_script(&arguments);
    }

    /// SIGKILL, as a crash would be seen from outside; returns when the process is gone.
    pub(crate) fn kill(&self) {
        if let Some(process) = running(&self.folder) {
            // A paused process does not end by itself; SIGKILL needs no cooperation.
            signal(process, "KILL");
            eventually("the killed server is gone", || (!process.is_running()).then_some(()));
            // MySQL takes its dead predecessor for alive, and does not start, until somebody has asked how that one ended.
            // MariaDB has no such file.
            let _ = fs::remove_file(self.folder.join("socket.lock"));
        }
    }

    /// SIGTERM, as a service is stopped; returns when the process is gone.
    pub(crate) fn stop(&self) {
        server_script(&["stop", self.folder_text()]);
    }

    /// A file in the folder of its data.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.folder.join("data").join(name)
    }

    /// The same data on the same port after [`Server::kill`].
    pub(crate) fn restart(&self, options: &[&str]) {
        self.launch(options);
    }

    /// SIGSTOP: connects still succeed, nothing answers.
    pub(crate) fn pause(&self) {
        server_script(&["pause", self.folder_text()]);
    }

    pub(crate) fn resume(&self) {
        server_script(&["resume", self.folder_text()]);
    }

    /// Runs SQL as root over the server's UNIX socket; rows without headings, columns with tabs between.
    #[track_caller]
    pub(crate) fn root(&self, sql: &str) -> String {
        server_script(&["sql", self.folder_text(), "--batch", "--skip-column-names", "-e", sql])
    }

    /// A connection that does not go through sqluice.
    #[track_caller]
    pub(crate) fn direct(&self) -> Client {
        Client::login(self.address, &Account::new("app", "app")).expect("app/app can log in directly")
    }

    /// A new empty database with a name that no other test of this run has.
    pub(crate) fn fresh_database(&self) -> String {
        let name = fresh_name("d");
        self.direct().execute(&format!("CREATE DATABASE {name}"));
        name
    }

    pub(super) fn folder_text(&self) -> &str {
        self.folder.to_str().expect("the folder's name is ASCII")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() && running(&self.folder).is_none() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(15)..];
            eprintln!("--- the end of the log of {}, which has ended\n{}", self.address, last.join("\n"));
        }
        self.kill();
        // What remains is the keeper's to delete; losing the space earlier is all that this saves.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A name that is unique in this run.
pub(crate) fn fresh_name(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A port that nothing uses now, below those that the kernel gives to outgoing connections: a server that is killed and
/// started again needs its port again, and one of the kernel's may belong to some client by then.
pub(crate) fn free_address() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + std::process::id().wrapping_mul(331).wrapping_add(count) % 22_000;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("10,000 to 31,999")));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The folder of this run's servers, with the keeper that empties it.
fn runs() -> &'static Path {
    static RUNS: OnceLock<(PathBuf, Child, ChildStdin)> = OnceLock::new();
    let (folder, _, _) = RUNS.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("sqluice-it-").tempdir().expect("a folder can be made").keep();
        // The pipe to the keeper closes with this process, however it ends: that is the signal.
        let mut keeper = Command::new(in_tests("servers/server"))
            .arg("keep")
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the script can be run");
        let pipe = keeper.stdin.take().expect("stdin is piped");
        (folder, keeper, pipe)
    });
    folder
}

#[track_caller]
pub(super) fn server_script(arguments: &[&str]) -> String {
    script("servers/server", arguments)
}

/// Runs a script of the `tests` folder, which must succeed.
#[track_caller]
pub(super) fn script(path: &str, arguments: &[&str]) -> String {
    let what = format!("tests/{path} {}", arguments.join(" "));
    run(Command::new(in_tests(path)).args(arguments)).expect_success(&what)
}

pub(super) fn running(folder: &Path) -> Option<Process> {
    let finished = run(Command::new(in_tests("servers/server")).arg("status").arg(folder));
    finished.stdout.trim().parse().ok().map(Process)
}
