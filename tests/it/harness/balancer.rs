//! A running sqluice: its configuration in a folder of its own, its process, its log.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::panicking;

use serde_json::Value;

use super::Engine;
use super::deadline::{eventually, within};
use super::process::{Process, signal};
use super::script::{Finished, run};
use super::servers::Server;
use super::wire::{Account, Client, ServerError};

/// What a test chooses; everything else of the configuration is the same for all.
#[derive(Debug)]
pub(crate) struct Start {
    engine: Engine,
    workers: usize,
    process: String,
    listener: String,
    /// More lines of `[admin]`.
    admin: String,
    log_level: &'static str,
    body: String,
    environment: Vec<(String, String)>,
    launcher: Launcher,
    /// Where clients connect to, where it matters.
    address: Option<SocketAddr>,
    /// Kept as long as the process runs.
    files: Option<tempfile::TempDir>,
}

/// Who opens the listener `app`.
#[derive(Clone, Copy, Debug)]
enum Launcher {
    Itself,
    /// systemd's program to try socket activation with.
    Socket,
    /// The process itself, which may open so many descriptors.
    Bounded(usize),
}

impl Launcher {
    fn command(self, listener: SocketAddr) -> Command {
        let program = env!("CARGO_BIN_EXE_sqluice");
        match self {
            Launcher::Itself => Command::new(program),
            Launcher::Socket => {
                let mut command = Command::new("systemd-socket-activate");
                command.arg(format!("--listen={listener}")).arg("--fdname=app").arg(program);
                command
            }
            Launcher::Bounded(descriptors) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={descriptors}:{descriptors}")).arg(program);
                command
            }
        }
    }
}

impl Start {
    /// `body` holds the clusters, pools and users; see [`cluster`] and [`user`].
    pub(crate) fn new(engine: Engine, body: impl Into<String>) -> Start {
        Start {
            engine,
            workers: 2,
            process: "shutdown_timeout = \"1s\"\n".to_owned(),
            listener: "tls = \"disabled\"\n".to_owned(),
            admin: String::new(),
            log_level: "debug",
            body: body.into(),
            environment: Vec::new(),
            launcher: Launcher::Itself,
            address: None,
            files: None,
        }
    }

    pub(crate) fn workers(mut self, workers: usize) -> Start {
        self.workers = workers;
        self
    }

    /// More lines of `[process]`, in place of `shutdown_timeout = "1s"`.
    pub(crate) fn process(mut self, lines: &str) -> Start {
        self.process = format!("{lines}\n");
        self
    }

    /// More lines of `[[listener]]`, in place of `tls = "disabled"`.
    pub(crate) fn listener(mut self, lines: &str) -> Start {
        self.listener = format!("{lines}\n");
        self
    }

    /// More lines of `[admin]`.
    pub(crate) fn admin(mut self, lines: &str) -> Start {
        self.admin = format!("{lines}\n");
        self
    }

    pub(crate) fn log_level(mut self, level: &'static str) -> Start {
        self.log_level = level;
        self
    }

    /// A variable of the process's environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Start {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Clients connect to this address; else the listener is on the loopback.
    pub(crate) fn at(mut self, address: SocketAddr) -> Start {
        self.address = Some(address);
        self
    }

    /// With so many descriptors at most.
    pub(crate) fn descriptors_max(mut self, count: usize) -> Start {
        self.launcher = Launcher::Bounded(count);
        self
    }

    /// The listener is opened by a service manager, who starts the process when a client comes.
    pub(crate) fn activated(mut self) -> Start {
        self.launcher = Launcher::Socket;
        self
    }

    /// A folder that the configuration names files of.
    pub(crate) fn files(mut self, folder: tempfile::TempDir) -> Start {
        self.files = Some(folder);
        self
    }

    /// Starts the process and waits until its listener accepts and its admin socket answers.
    #[track_caller]
    pub(crate) fn run(self) -> Sqluice {
        let folder = tempfile::Builder::new().prefix("sqluice-it-lb-").tempdir().expect("a folder can be made");
        let address = self.address.unwrap_or_else(free_address);
        let mut sqluice = Sqluice { address, child: None, start: self, folder };
        sqluice.write_config(&sqluice.start.body);
        sqluice.launch();
        sqluice
    }

    /// [`Start::run`], then waits until `count` servers are up, so that a test of routing starts from a known state.
    #[track_caller]
    pub(crate) fn run_with_servers_up(self, count: usize) -> Sqluice {
        let sqluice = self.run();
        sqluice.await_servers_up(count);
        sqluice
    }
}

/// A running sqluice. Dropping it ends the process and shows the log if the test failed.
#[derive(Debug)]
pub(crate) struct Sqluice {
    /// Where clients connect to. Each instance has an address of its own, so ports cannot collide.
    pub(crate) address: SocketAddr,
    child: Option<Child>,
    start: Start,
    folder: tempfile::TempDir,
}

impl Sqluice {
    fn launch(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let child = self
            .start
            .launcher
            .command(self.address)
            .arg("run")
            .arg("--config")
            .arg(self.config_path())
            .envs(self.start.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the log can be written"))
            .spawn()
            .expect("the binary can be run");
        self.child = Some(child);
        self.await_ready();
    }

    /// Ends the process, and starts another one with the same files.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Ends the process; [`Sqluice::start_again`] must follow.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        signal(self.process(), "TERM");
        assert!(self.await_end(), "a stop that was asked for is a success");
    }

    /// Starts another process with the files of the one that has ended.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.launch();
    }

    /// The process crashes, and another one goes on with the same files.
    #[track_caller]
    pub(crate) fn kill_and_restart(&mut self) {
        signal(self.process(), "KILL");
        self.await_end();
        self.start_again();
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.as_ref().expect("the process runs until the guard is dropped").id())
    }

    /// Logs in through sqluice.
    pub(crate) fn login(&self, account: &Account<'_>) -> Result<Client, ServerError> {
        Client::login(self.address, account)
    }

    /// A session of app/app.
    #[track_caller]
    pub(crate) fn app(&self) -> Client {
        match self.login(&Account::new("app", "app")) {
            Ok(client) => client,
            Err(error) => panic!("app/app cannot log in through sqluice: {error}"),
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("sqluice.toml")
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    /// Writes the configuration with another body; takes effect at the next reload.
    pub(crate) fn write_config(&self, body: &str) {
        fs::write(self.config_path(), self.configuration(body)).expect("the configuration can be written");
    }

    fn configuration(&self, body: &str) -> String {
        format!(
            "[process]\nworkers = {}\npin_workers = false\nio = \"{}\"\nstate_directory = \"{}\"\n{}\n[log]\nlevel = \"{}\"\n\n\
             [admin]\nsocket = \"{}\"\n{}\n[[listener]]\nname = \"app\"\naddress = \"{}\"\n{}\n{body}",
            self.start.workers,
            self.start.engine.setting(),
            self.folder().join("state").display(),
            self.start.process,
            self.start.log_level,
            self.admin_socket().display(),
            self.start.admin,
            self.address,
            self.start.listener,
        )
    }

    /// Runs a command of the binary against this process.
    pub(crate) fn command(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sqluice"));
        run(command.args(arguments).arg("--socket").arg(self.admin_socket()))
    }

    /// `sqluice status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let text = self.command(&["status", "--json"]).expect_success("sqluice status --json");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("status is not JSON ({error}): {text}"))
    }

    /// `sqluice sessions --json`, the rows.
    #[track_caller]
    pub(crate) fn sessions(&self) -> Vec<Value> {
        let text = self.command(&["sessions", "--json"]).expect_success("sqluice sessions --json");
        let value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("sessions is not JSON ({error}): {text}"));
        rows_of(value, "sessions")
    }

    /// The state of a server, as in `sqluice status`.
    #[track_caller]
    pub(crate) fn health(&self, server: &str) -> String {
        let status = self.status();
        let row = servers_of(&status).into_iter().find(|row| row["name"] == server);
        let row = row.unwrap_or_else(|| panic!("no server {server} in {status:#}"));
        row["state"].as_str().unwrap_or_else(|| panic!("no state in {row:#}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn await_health(&self, server: &str, health: &str) {
        eventually(&format!("{server} is {health}"), || (self.health(server) == health).then_some(()));
    }

    /// Until a server is believed to have a role.
    #[track_caller]
    pub(crate) fn await_role(&self, server: &str, role: &str) {
        let has_it = |row: &Value| row["name"] == server && row["role"] == role;
        eventually(&format!("{server} is {role}"), || servers_of(&self.status()).iter().any(has_it).then_some(()));
    }

    #[track_caller]
    pub(crate) fn await_servers_up(&self, count: usize) {
        eventually(&format!("{count} servers are up"), || {
            let up = servers_of(&self.status()).iter().filter(|row| row["state"] == "up").count();
            (up == count).then_some(())
        });
    }

    /// Until no session is left; a client's close arrives in its own time.
    #[track_caller]
    pub(crate) fn await_no_sessions(&self) {
        eventually("all sessions are over", || self.sessions().is_empty().then_some(()));
    }

    /// SIGHUP, which nothing answers; `sqluice reload` waits for the outcome.
    pub(crate) fn hang_up(&self) {
        signal(self.process(), "HUP");
    }

    /// Waits until the process has ended by itself; returns whether it ended with success.
    #[track_caller]
    pub(crate) fn await_end(&mut self) -> bool {
        let child = self.child.as_mut().expect("the process was started");
        let status = eventually("sqluice has ended", || child.try_wait().expect("the child is ours"));
        status.success()
    }

    #[track_caller]
    fn await_ready(&mut self) {
        let ready = within(super::WAIT_MAX, || {
            let child = self.child.as_mut().expect("the process was started");
            if let Some(status) = child.try_wait().expect("the child is ours") {
                panic!("sqluice ended at its start ({status})");
            }
            // In this order: a client is what a service manager waits for.
            let accepts = greets(self.address) && UnixStream::connect(self.folder.path().join("admin.sock")).is_ok();
            accepts.then_some(())
        });
        assert!(ready.is_some(), "sqluice is not ready after {:?}", super::WAIT_MAX);
    }
}

/// Whether a listener of sqluice answers: it greets, or refuses with a packet when no server is known yet.
fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let timeout = Some(std::time::Duration::from_secs(5));
    stream.set_read_timeout(timeout).expect("a socket takes a timeout");
    stream.read_exact(&mut [0; 5]).is_ok()
}

impl Drop for Sqluice {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(Process(child.id()), "TERM");
            let ended = within(std::time::Duration::from_secs(20), || child.try_wait().expect("the child is ours"));
            if ended.is_none() {
                child.kill().expect("the child is ours");
                child.wait().expect("the child is ours");
            }
            self.judge(ended.is_some());
        }
    }
}

impl Sqluice {
    /// After the end: shows the log of a failed test; a panic in the log, or a process that did not stop, fails any test.
    fn judge(&self, ended: bool) {
        let log = self.log();
        if panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(200);
            eprintln!("--- the end of sqluice's log\n{}\n---", lines[from..].join("\n"));
            return;
        }
        assert!(ended, "sqluice did not end after SIGTERM; its log:\n{log}");
        assert!(!log.contains("panicked at"), "sqluice panicked:\n{log}");
    }
}

/// A static cluster `main` with one server, the primary, and a pool of the same name.
pub(crate) fn cluster(server: &Server) -> String {
    static_cluster(&[server], "primary")
}

/// A static cluster `main` of servers `s1`, `s2` …, all members of their pool `main`: replicas, as only one server of a
/// cluster can be its primary.
pub(crate) fn cluster_on(servers: &[&Server]) -> String {
    static_cluster(servers, "replica")
}

fn static_cluster(servers: &[&Server], role: &str) -> String {
    let mut text = String::from(
        "[cluster.main]\ntopology = \"static\"\nmonitor = { user = \"monitor\", password = \"monitor\" }\n\
         check_interval = \"100ms\"\ncheck_timeout = \"5s\"\nhold_timeout = \"10s\"\n\n",
    );
    for (index, server) in servers.iter().enumerate() {
        text += &format!(
            "[[cluster.main.server]]\nname = \"s{}\"\naddress = \"{}\"\nrole = \"{role}\"\n\n",
            index + 1,
            server.address
        );
    }
    text + &format!("[pool.main]\ncluster = \"main\"\nrole = \"{role}\"\n\n")
}

/// A user of pool `main` with a cleartext password.
pub(crate) fn user(name: &str, password: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\npool = \"main\"\n\n")
}

/// Every server of a status, whatever cluster it is in.
fn servers_of(status: &Value) -> Vec<Value> {
    let clusters = rows_of(status["clusters"].clone(), "clusters");
    clusters.into_iter().flat_map(|cluster| rows_of(cluster["servers"].clone(), "servers")).collect()
}

fn rows_of(value: Value, what: &str) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        other => panic!("{what} is not a list: {other:#}"),
    }
}

/// A free port on a loopback address that only this instance uses.
fn free_address() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = (std::process::id().wrapping_mul(251).wrapping_add(count)).to_be_bytes();
    let listener =
        TcpListener::bind((std::net::Ipv4Addr::new(127, 77, high, low), 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}
