//! What can be measured, and how each is started: one process with one worker, between the load and the same server.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sqluice::io::{Engine, Io, IoLimits};

use crate::backend::Target;
use crate::case::Case;
use crate::launch::{Cpu, Process, last_line};
use crate::load;

/// How long a candidate may take from its start to the first right reply.
const START_TIME_MAX: Duration = Duration::from_secs(15);
/// Between two attempts to get that reply; there is no event to wait for that all candidates have.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Candidate {
    /// Nothing between: what the load and the server can do
    Direct,
    /// Passes packets on by their heads and knows nothing else, on io_uring: the limit to stay close to
    Relay,
    /// The same on epoll
    RelayEpoll,
    /// The balancer on io_uring
    Sqluice,
    /// The balancer on epoll
    SqluiceEpoll,
    /// HAProxy in TCP mode
    Haproxy,
}

impl Candidate {
    pub(crate) const ALL: [Candidate; 6] = [
        Candidate::Direct,
        Candidate::Relay,
        Candidate::RelayEpoll,
        Candidate::Sqluice,
        Candidate::SqluiceEpoll,
        Candidate::Haproxy,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Candidate::Direct => "direct",
            Candidate::Relay => "relay",
            Candidate::RelayEpoll => "relay-epoll",
            Candidate::Sqluice => "sqluice",
            Candidate::SqluiceEpoll => "sqluice-epoll",
            Candidate::Haproxy => "haproxy",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) sqluice: PathBuf,
    pub(crate) haproxy: PathBuf,
}

impl Programs {
    /// The balancer that was built beside this program; HAProxy from PATH.
    pub(crate) fn new(sqluice: Option<PathBuf>, haproxy: Option<PathBuf>) -> io::Result<Programs> {
        let beside = std::env::current_exe()?.with_file_name("sqluice");
        Ok(Programs {
            sqluice: sqluice.unwrap_or(beside),
            haproxy: haproxy.unwrap_or_else(|| PathBuf::from("haproxy")),
        })
    }
}

/// What every candidate stands in.
pub(crate) struct Surroundings<'a> {
    pub(crate) cpu: Cpu,
    pub(crate) server: &'a Target,
    pub(crate) programs: &'a Programs,
    /// Configurations and logs; gone after the run.
    pub(crate) directory: &'a Path,
}

/// Why there is no candidate to measure.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// This machine does not have it. The table says so; the run is still good.
    Absent(String),
    /// It should be there and is not, or does not serve: the run has failed.
    Failed(String),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> NotStarted {
        NotStarted::Failed(error.to_string())
    }
}

/// A candidate that serves.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// None where the load goes straight to the server.
    process: Option<Process>,
}

impl Running {
    /// The process whose use of CPU and memory counts.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<String>> {
        self.process.as_mut().map_or(Ok(None), Process::ended)
    }
}

/// Starts a candidate and waits until a query through it gets the right reply.
pub(crate) fn start(candidate: Candidate, surroundings: &Surroundings<'_>) -> Result<Running, NotStarted> {
    if let (Candidate::Relay | Candidate::Sqluice, Some(refusal)) = (candidate, io_uring_refusal()) {
        return Err(NotStarted::Absent(refusal));
    }
    let log = surroundings.directory.join(format!("{}.log", candidate.name()));
    let mut running = match candidate {
        Candidate::Direct => Running { address: surroundings.server.address, process: None },
        Candidate::Relay => start_relay(surroundings, "io_uring", &log)?,
        Candidate::RelayEpoll => start_relay(surroundings, "epoll", &log)?,
        Candidate::Sqluice => start_sqluice(surroundings, "io_uring", &log)?,
        Candidate::SqluiceEpoll => start_sqluice(surroundings, "epoll", &log)?,
        Candidate::Haproxy => start_haproxy(surroundings, &log)?,
    };
    await_service(&mut running, surroundings.server, &log)?;
    Ok(running)
}

fn await_service(running: &mut Running, server: &Target, log: &Path) -> Result<(), NotStarted> {
    let deadline = Instant::now() + START_TIME_MAX;
    loop {
        let Err(fault) = load::try_once(&server.through(running.address), Case::PointSelect) else {
            return Ok(());
        };
        if let Some(status) = running.ended()? {
            return Err(NotStarted::Failed(format!("ended with {status}: {}", last_line(log))));
        }
        if Instant::now() > deadline {
            return Err(NotStarted::Failed(format!("does not serve: {fault}; its last words: {}", last_line(log))));
        }
        thread::sleep(ATTEMPT_INTERVAL);
    }
}

/// What this kernel, or the container around us, has against io_uring.
fn io_uring_refusal() -> Option<String> {
    Io::new(Engine::IoUring, IoLimits::default()).err().map(|refusal| refusal.to_string())
}

fn start_relay(surroundings: &Surroundings<'_>, engine: &str, log: &Path) -> Result<Running, NotStarted> {
    let server = surroundings.server.address.to_string();
    let arguments = ["relay", "--to", &server, "--engine", engine];
    let (process, address) = Process::start_own(surroundings.cpu, &arguments, log)?;
    Ok(Running { address, process: Some(process) })
}

fn start_sqluice(surroundings: &Surroundings<'_>, engine: &str, log: &Path) -> Result<Running, NotStarted> {
    let Some(program) = find_program(&surroundings.programs.sqluice) else {
        let path = surroundings.programs.sqluice.display();
        return Err(NotStarted::Failed(format!("{path} is not there: `cargo build --release` makes it")));
    };
    let directory = surroundings.directory.join(format!("sqluice-{engine}"));
    fs::create_dir(&directory)?;
    let config = directory.join("sqluice.toml");
    let address = free_address()?;
    fs::write(&config, sqluice_config(engine, address, surroundings.server, &directory))?;
    start_with(surroundings.cpu, &program, &["run", "--config", utf8(&config)], address, log)
}

fn start_haproxy(surroundings: &Surroundings<'_>, log: &Path) -> Result<Running, NotStarted> {
    let Some(program) = find_program(&surroundings.programs.haproxy) else {
        return Err(NotStarted::Absent(format!("{} is not installed", surroundings.programs.haproxy.display())));
    };
    let config = surroundings.directory.join("haproxy.cfg");
    let address = free_address()?;
    fs::write(&config, haproxy_config(address, surroundings.server.address))?;
    start_with(surroundings.cpu, &program, &["-db", "-f", utf8(&config)], address, log)
}

fn start_with(
    cpu: Cpu,
    program: &Path,
    arguments: &[&str],
    address: SocketAddr,
    log: &Path,
) -> Result<Running, NotStarted> {
    let process = Process::start(cpu, program, arguments, log)?;
    Ok(Running { address, process: Some(process) })
}

/// One worker, no pinning of its own (the bench pins the process), and one server that never changes.
fn sqluice_config(engine: &str, address: SocketAddr, server: &Target, directory: &Path) -> String {
    let (account, server) = (&server.account, server.address);
    let socket = directory.join("admin.sock");
    format!(
        r#"[process]
workers = 1
pin_workers = false
io = "{engine}"

[log]
level = "warn"

[admin]
socket = "{socket}"

[[listener]]
name = "bench"
address = "{address}"

[cluster.bench]
topology = "static"
monitor = {{ user = "{user}", password = "{password}" }}

[[cluster.bench.server]]
name = "stand-in"
address = "{server}"
role = "primary"
max_connections = 10000

[pool.bench]
cluster = "bench"
role = "primary"

[[user]]
name = "{user}"
password = "{password}"
pool = "bench"
"#,
        socket = socket.display(),
        user = account.user,
        password = account.password,
    )
}

/// TCP mode with one thread and least connections. Without timeouts it warns; these are longer than any run.
fn haproxy_config(address: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend bench
    bind {address}
    default_backend servers
backend servers
    balance leastconn
    server stand-in {server}
"
    )
}

/// An address that nothing listens on. Another process could take the port before the candidate does; then the
/// candidate ends at its start and says why.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A path as it is, or a bare name in PATH and where system programs are.
pub(crate) fn find_program(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|directory| directory.join(program)).find(|file| file.is_file())
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("the temporary directory's name is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_and_by_path_and_otherwise_not() {
        assert!(find_program(Path::new("sh")).is_some());
        assert_eq!(find_program(Path::new("/bin/sh")), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find_program(Path::new("no-such-program-of-anybody")), None);
        assert_eq!(find_program(Path::new("/no/such/program")), None);
    }
}
