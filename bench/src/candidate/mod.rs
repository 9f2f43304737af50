//! What can be measured, and how each is started: one process with one worker, between the load and the same server.

pub(crate) mod configuration;

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sqluice::io::{Engine, Io, IoLimits};

use crate::case::Case;
use crate::certificate::{Certificate, Files};
use crate::launch::{Cpu, Process, free_address, last_words};
use crate::load;
use crate::relay;
use crate::reply::Comparison;
use crate::target::{Begin, Encryption, Target};

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
    /// The balancer on io_uring, with reads split from the rest to a replica
    SqluiceSplit,
    /// The same on epoll
    SqluiceSplitEpoll,
    /// The balancer on io_uring, with TLS towards the client
    SqluiceTls,
    /// The same with TLS towards the server, too
    #[value(name = "sqluice-tls-both")]
    SqluiceTlsBoth,
    /// Passes bytes on, on monoio
    RelayMonoio,
    /// The same on tokio-uring
    RelayTokioUring,
    /// HAProxy in TCP mode
    Haproxy,
    /// HAProxy in TCP mode, with TLS towards the client from the first byte on: it does not know where MySQL begins it
    HaproxyTls,
    /// ProxySQL, where its path is given
    #[value(name = "proxysql")]
    ProxySql,
    /// MySQL Router passing connections through, where its path is given
    #[value(name = "mysql-router")]
    MySqlRouter,
}

impl Candidate {
    pub(crate) const ALL: [Candidate; 15] = [
        Candidate::Direct,
        Candidate::Relay,
        Candidate::RelayEpoll,
        Candidate::Sqluice,
        Candidate::SqluiceEpoll,
        Candidate::SqluiceSplit,
        Candidate::SqluiceSplitEpoll,
        Candidate::SqluiceTls,
        Candidate::SqluiceTlsBoth,
        Candidate::RelayMonoio,
        Candidate::RelayTokioUring,
        Candidate::Haproxy,
        Candidate::HaproxyTls,
        Candidate::ProxySql,
        Candidate::MySqlRouter,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Candidate::Direct => "direct",
            Candidate::Relay => "relay",
            Candidate::RelayEpoll => "relay-epoll",
            Candidate::Sqluice => "sqluice",
            Candidate::SqluiceEpoll => "sqluice-epoll",
            Candidate::SqluiceSplit => "sqluice-split",
            Candidate::SqluiceSplitEpoll => "sqluice-split-epoll",
            Candidate::SqluiceTls => "sqluice-tls",
            Candidate::SqluiceTlsBoth => "sqluice-tls-both",
            Candidate::RelayMonoio => "relay-monoio",
            Candidate::RelayTokioUring => "relay-tokio-uring",
            Candidate::Haproxy => "haproxy",
            Candidate::HaproxyTls => "haproxy-tls",
            Candidate::ProxySql => "proxysql",
            Candidate::MySqlRouter => "mysql-router",
        }
    }

    /// What the balancer calls the way to the kernel that this candidate takes.
    pub(crate) fn engine(self) -> &'static str {
        if self.needs_io_uring() { "io_uring" } else { "epoll" }
    }

    /// Whether it sends reads to another server than writes.
    pub(crate) fn splits(self) -> bool {
        matches!(self, Candidate::SqluiceSplit | Candidate::SqluiceSplitEpoll)
    }

    /// Where TLS towards the client begins, if there is any.
    pub(crate) fn encrypts(self) -> Option<Begin> {
        match self {
            Candidate::SqluiceTls | Candidate::SqluiceTlsBoth => Some(Begin::AfterGreeting),
            Candidate::HaproxyTls => Some(Begin::AtOnce),
            _ => None,
        }
    }

    /// Without TLS there is nothing to resume.
    pub(crate) fn can_do(self, case: Case) -> bool {
        case != Case::ShortResumed || self.encrypts().is_some()
    }

    /// Whether a run that names no candidates measures it: a split says something where there are reads to be sent
    /// elsewhere, TLS for a single statement and a login, and beyond that both cost a run its time.
    pub(crate) fn is_usual_in(self, case: Case) -> bool {
        let is_short = matches!(case, Case::PointSelect | Case::Short | Case::ShortResumed);
        let has_reads = matches!(case, Case::PointSelect | Case::Prepared | Case::ReadWrite);
        self.can_do(case) && (is_short || self.encrypts().is_none()) && (has_reads || !self.splits())
    }

    fn needs_io_uring(self) -> bool {
        match self {
            Candidate::Relay
            | Candidate::Sqluice
            | Candidate::SqluiceSplit
            | Candidate::SqluiceTls
            | Candidate::SqluiceTlsBoth
            | Candidate::RelayMonoio
            | Candidate::RelayTokioUring => true,
            Candidate::Direct
            | Candidate::RelayEpoll
            | Candidate::SqluiceEpoll
            | Candidate::SqluiceSplitEpoll
            | Candidate::Haproxy
            | Candidate::HaproxyTls
            | Candidate::ProxySql
            | Candidate::MySqlRouter => false,
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Programs {
    /// The balancer; the one built beside this program where nothing is given
    #[arg(long, value_name = "PATH", default_value_os_t = beside("sqluice"))]
    pub(crate) sqluice: PathBuf,
    /// HAProxy; from PATH where nothing is given
    #[arg(long, value_name = "PATH", default_value = "haproxy")]
    pub(crate) haproxy: PathBuf,
    /// ProxySQL; not measured where nothing is given
    #[arg(long, value_name = "PATH")]
    pub(crate) proxysql: Option<PathBuf>,
    /// MySQL Router; not measured where nothing is given
    #[arg(long, value_name = "PATH")]
    pub(crate) mysql_router: Option<PathBuf>,
}

impl Default for Programs {
    fn default() -> Programs {
        Programs { sqluice: beside("sqluice"), haproxy: "haproxy".into(), proxysql: None, mysql_router: None }
    }
}

/// A program in the same directory as this one.
fn beside(name: &str) -> PathBuf {
    std::env::current_exe().map_or_else(|_| PathBuf::from(name), |own| own.with_file_name(name))
}

/// What every candidate stands in.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) cpu: Cpu,
    /// Of the balancer; the others have one thread.
    pub(crate) workers: usize,
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
    address: SocketAddr,
    /// None where it is asked in clear.
    encryption: Option<Encryption>,
    /// None where the load goes straight to the server.
    process: Option<Process>,
}

impl Running {
    /// The server, reached through it.
    pub(crate) fn target(&self, server: &Target) -> Target {
        Target { encryption: self.encryption.clone(), ..server.through(self.address) }
    }

    /// The process whose use of CPU and memory counts.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<String>> {
        self.process.as_mut().map_or(Ok(None), Process::ended)
    }
}

/// Starts the balancer with another configuration than that of a load, made for its address and its directory, and waits
/// as [`start`] does.
pub(crate) fn start_configured(
    candidate: Candidate,
    surroundings: &Surroundings<'_>,
    configuration: impl FnOnce(SocketAddr, &Path) -> String,
) -> Result<Running, NotStarted> {
    require_engine(candidate)?;
    let log = surroundings.directory.join(format!("{}.log", candidate.name()));
    let mut running = start_balancer(candidate, surroundings, &log, configuration)?;
    await_service(&mut running, surroundings.server, &log)?;
    Ok(running)
}

/// Starts a candidate and waits until a query through it gets the right reply.
pub(crate) fn start(candidate: Candidate, surroundings: &Surroundings<'_>) -> Result<Running, NotStarted> {
    require_engine(candidate)?;
    let log = surroundings.directory.join(format!("{}.log", candidate.name()));
    let mut running = match candidate {
        Candidate::Direct => Running { address: surroundings.server.address, encryption: None, process: None },
        Candidate::Relay => start_relay(surroundings, relay::Runtime::IoUring, &log)?,
        Candidate::RelayEpoll => start_relay(surroundings, relay::Runtime::Epoll, &log)?,
        Candidate::RelayMonoio => start_relay(surroundings, relay::Runtime::Monoio, &log)?,
        Candidate::RelayTokioUring => start_relay(surroundings, relay::Runtime::TokioUring, &log)?,
        Candidate::Sqluice
        | Candidate::SqluiceEpoll
        | Candidate::SqluiceSplit
        | Candidate::SqluiceSplitEpoll
        | Candidate::SqluiceTls
        | Candidate::SqluiceTlsBoth => start_sqluice(candidate, surroundings, &log)?,
        Candidate::Haproxy | Candidate::HaproxyTls => start_haproxy(candidate, surroundings, &log)?,
        Candidate::ProxySql => start_proxysql(surroundings, &log)?,
        Candidate::MySqlRouter => start_mysql_router(surroundings, &log)?,
    };
    await_service(&mut running, surroundings.server, &log)?;
    Ok(running)
}

fn await_service(running: &mut Running, server: &Target, log: &Path) -> Result<(), NotStarted> {
    let deadline = Instant::now() + START_TIME_MAX;
    loop {
        let Err(fault) = load::try_once(&running.target(server), Case::PointSelect) else {
            return Ok(());
        };
        if let Some(status) = running.ended()? {
            return Err(NotStarted::Failed(format!("ended with {status}: {}", last_words(log))));
        }
        if Instant::now() > deadline {
            return Err(NotStarted::Failed(format!("does not serve: {fault}; its last words: {}", last_words(log))));
        }
        thread::sleep(ATTEMPT_INTERVAL);
    }
}

/// Fails where this kernel, or the container around us, has something against the io_uring that a candidate needs.
pub(crate) fn require_engine(candidate: Candidate) -> Result<(), NotStarted> {
    if !candidate.needs_io_uring() {
        return Ok(());
    }
    Io::new(Engine::IoUring, IoLimits::default()).map(drop).map_err(|refusal| NotStarted::Absent(refusal.to_string()))
}

fn start_relay(surroundings: &Surroundings<'_>, runtime: relay::Runtime, log: &Path) -> Result<Running, NotStarted> {
    let server = surroundings.server.address.to_string();
    let arguments = ["relay", "--to", &server, "--on", runtime.name()];
    let (process, address) = Process::start_own(surroundings.cpu, &arguments, log)?;
    Ok(Running { address, encryption: None, process: Some(process) })
}

fn start_sqluice(candidate: Candidate, surroundings: &Surroundings<'_>, log: &Path) -> Result<Running, NotStarted> {
    if candidate.splits() && surroundings.server.replica.is_none() {
        return Err(NotStarted::Absent("only the stand-in server has a replica".to_owned()));
    }
    if candidate == Candidate::SqluiceTlsBoth && surroundings.server.comparison == Comparison::Shape {
        return Err(NotStarted::Absent("only the stand-in server is known to have TLS".to_owned()));
    }
    let (files, encryption) = encryption(candidate, surroundings)?.unzip();
    let running = start_balancer(candidate, surroundings, log, |address, directory| {
        configuration::sqluice(candidate, surroundings.workers, address, surroundings.server, directory, files.as_ref())
    })?;
    Ok(Running { encryption, ..running })
}

/// A certificate for a candidate that has to have one, and TLS that trusts it.
fn encryption(
    candidate: Candidate,
    surroundings: &Surroundings<'_>,
) -> Result<Option<(Files, Encryption)>, NotStarted> {
    let Some(begin) = candidate.encrypts() else { return Ok(None) };
    let failed = |error: &dyn fmt::Display| NotStarted::Failed(format!("a certificate: {error}"));
    let certificate = Certificate::make().map_err(|error| failed(&error))?;
    let directory = new_directory(surroundings, &format!("{}-certificate", candidate.name()))?;
    let config = certificate.for_client().map_err(|error| failed(&error))?;
    Ok(Some((certificate.write(&directory)?, Encryption { begin, config })))
}

fn start_balancer(
    candidate: Candidate,
    surroundings: &Surroundings<'_>,
    log: &Path,
    configuration: impl FnOnce(SocketAddr, &Path) -> String,
) -> Result<Running, NotStarted> {
    let Some(program) = find_program(&surroundings.programs.sqluice) else {
        let path = surroundings.programs.sqluice.display();
        return Err(NotStarted::Failed(format!("{path} is not there: `cargo build --release` makes it")));
    };
    let directory = new_directory(surroundings, candidate.name())?;
    let config = directory.join("sqluice.toml");
    let address = free_address()?;
    fs::write(&config, configuration(address, &directory))?;
    start_with(surroundings.cpu, &program, &["run", "--config", utf8(&config)], address, log)
}

/// Where a balancer that was started in this directory is asked for its status.
pub(crate) fn admin_socket(candidate: Candidate, directory: &Path) -> PathBuf {
    configuration::admin_socket(&directory.join(candidate.name()))
}

fn start_haproxy(candidate: Candidate, surroundings: &Surroundings<'_>, log: &Path) -> Result<Running, NotStarted> {
    let Some(program) = find_program(&surroundings.programs.haproxy) else {
        return Err(NotStarted::Absent(format!("{} is not installed", surroundings.programs.haproxy.display())));
    };
    let config = surroundings.directory.join(format!("{}.cfg", candidate.name()));
    let address = free_address()?;
    let (files, encryption) = encryption(candidate, surroundings)?.unzip();
    let certificate = files.map(|files| files.both);
    fs::write(&config, configuration::haproxy(address, surroundings.server.address, certificate.as_deref()))?;
    let running = start_with(surroundings.cpu, &program, &["-db", "-f", utf8(&config)], address, log)?;
    Ok(Running { encryption, ..running })
}

/// In the foreground, where ProxySQL has no parent of its own that would start it again, and without its monitor.
fn start_proxysql(surroundings: &Surroundings<'_>, log: &Path) -> Result<Running, NotStarted> {
    let program = find_given(surroundings.programs.proxysql.as_deref(), "--proxysql")?;
    let directory = new_directory(surroundings, "proxysql")?;
    let config = directory.join("proxysql.cnf");
    let address = free_address()?;
    fs::write(&config, configuration::proxysql(address, free_address()?, surroundings.server, &directory))?;
    let arguments = [
        "--foreground",
        "--exit-on-error",
        "--initial",
        "--no-monitor",
        "--no-version-check",
        "--idle-threads",
        "--datadir",
        utf8(&directory),
        "--config",
        utf8(&config),
    ];
    start_with(surroundings.cpu, &program, &arguments, address, log)
}

fn start_mysql_router(surroundings: &Surroundings<'_>, log: &Path) -> Result<Running, NotStarted> {
    let program = find_given(surroundings.programs.mysql_router.as_deref(), "--mysql-router")?;
    let directory = new_directory(surroundings, "mysql-router")?;
    let config = directory.join("mysqlrouter.conf");
    let address = free_address()?;
    fs::write(&config, configuration::mysql_router(address, surroundings.server.address, &directory))?;
    start_with(surroundings.cpu, &program, &["--config", utf8(&config)], address, log)
}

/// A rival that is measured only where it is pointed at. A path that leads nowhere is a mistake, not an absence.
fn find_given(path: Option<&Path>, option: &str) -> Result<PathBuf, NotStarted> {
    let path = path.ok_or_else(|| NotStarted::Absent(format!("not given: `{option} PATH` measures it")))?;
    find_program(path)
        .ok_or_else(|| NotStarted::Failed(format!("`{option} {}`: there is no such file", path.display())))
}

fn new_directory(surroundings: &Surroundings<'_>, name: &str) -> io::Result<PathBuf> {
    let directory = surroundings.directory.join(name);
    fs::create_dir(&directory)?;
    Ok(directory)
}

fn start_with(
    cpu: Cpu,
    program: &Path,
    arguments: &[&str],
    address: SocketAddr,
    log: &Path,
) -> Result<Running, NotStarted> {
    let process = Process::start(cpu, program, arguments, log)?;
    Ok(Running { address, encryption: None, process: Some(process) })
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
