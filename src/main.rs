//! The `sqluice` command: the command line to a configuration, to the process or to its admin API; nothing else.
//!
//! Exit codes: 0 done, 1 failed, 2 the command line or the configuration is wrong, 3 the running process could not be
//! reached.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hyper::Method;
use serde::de::DeserializeOwned;
use sqluice::admin::client::{self, ClientError};
use sqluice::admin::doctor::{self, Outcome};
use sqluice::admin::drain::{self, Progress};
use sqluice::admin::explain::{self, Asked};
use sqluice::admin::shapes::{
    DrainStatus, Explanation, InstantFailoverStatus, Reloaded, SessionStatus, Status, Switchover,
};
use sqluice::admin::{self, table};
use sqluice::config::password::{self, PasswordRefused};
use sqluice::config::{self, Config, ConfigErrors};
use sqluice::demo;
use sqluice::server::{self, RunError};
use sqluice::tls;

/// What a password was in is wiped when it is freed, in whichever library.
#[global_allocator]
static MEMORY: sqluice::io::Wiping = sqluice::io::Wiping::new();

const DEFAULT_CONFIG: &str = "/etc/sqluice/sqluice.toml";
const DEFAULT_SOCKET: &str = "/run/sqluice/admin.sock";

/// An io_uring, thread-per-core layer-7 load balancer for MySQL and MariaDB.
#[derive(Debug, Parser)]
#[command(name = "sqluice", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground; the log goes to stderr
    Run(ConfigFile),
    /// Validate a configuration file
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Show the effective settings with their defaults, secrets masked
        #[arg(long)]
        print: bool,
    },
    /// Show the whole thing on this machine, with nothing to configure
    ///
    /// A primary and two replicas (real MariaDB servers if they are installed), the balancer in front of them, traffic,
    /// a primary that dies and comes back, and a live view of where each statement goes.
    Demo {
        /// Leave the traffic to you, and every server alive
        #[arg(long)]
        no_traffic: bool,
        /// Use the built-in servers, even where MariaDB is installed
        #[arg(long)]
        stand_in: bool,
        /// Whether clients that are told to go elsewhere when they log in go there, at most eight times in a row
        #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
        follow_instant_failovers: bool,
        /// End after this time instead of at Ctrl-C
        #[arg(long, value_name = "N")]
        seconds: Option<u64>,
    },
    /// Say which pool and server a user's statement goes to, and why
    ///
    /// Asks the running process, or with --config answers from the file alone, where the servers' health is unknown.
    Explain {
        /// Answer from this file instead of the running process
        #[arg(long, value_name = "FILE", conflicts_with = "socket")]
        config: Option<PathBuf>,
        /// The admin socket of the running process
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// Who sends the statement
        #[arg(long)]
        user: String,
        /// The statement
        sql: Option<String>,
    },
    /// Show listeners, clusters, servers and their roles, connections and sessions
    Status {
        #[command(flatten)]
        process: RunningProcess,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Print again every second, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Say what is wrong with the clusters, and what to do next
    ///
    /// Exit code 0 if all is well, 1 if something needs an operator. Nothing is ever done at the servers.
    Doctor {
        #[command(flatten)]
        process: RunningProcess,
        /// Only this cluster
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// Show one row a session
    Sessions {
        #[command(flatten)]
        process: RunningProcess,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a server out of use: its sessions go on at others, each at the end of its transaction
    ///
    /// Shows who is still there, and why, until nobody is. Whoever cannot leave is ended when the time is over, with error
    /// 1053. What has begun goes on when this command is interrupted; `enable` takes it back.
    Drain {
        #[command(flatten)]
        process: RunningProcess,
        /// Its name, or CLUSTER/NAME
        server: String,
        /// How long its sessions may take to leave
        #[arg(long, default_value = "30s")]
        budget: String,
        /// Only say how many sessions could leave now, and who blocks
        #[arg(long)]
        dry_run: bool,
    },
    /// Use a server again
    Enable {
        #[command(flatten)]
        process: RunningProcess,
        /// Its name, or CLUSTER/NAME
        server: String,
    },
    /// Take a server out of use at once: whoever cannot go on elsewhere is ended
    Disable {
        #[command(flatten)]
        process: RunningProcess,
        /// Its name, or CLUSTER/NAME
        server: String,
    },
    /// Send clients to another balancer at once, or let them in again
    ///
    /// Each new client is told so in answer to its login, by an error that some connectors follow and people can read.
    /// Holds, also over a restart, until the next such command, or a file with another [instant_failover].
    Failover {
        #[command(flatten)]
        process: RunningProcess,
        /// Who is sent: nobody, the clients of all listeners but extra ones and UNIX sockets, or everybody
        mode: FailoverMode,
        /// Where to [default: as the last command or the configuration says]
        #[arg(long, value_name = "HOST:PORT")]
        target: Option<String>,
        /// What becomes of sessions that are there: with `drain`, each goes at the end of its transaction
        #[arg(long, default_value = "stay")]
        existing: Existing,
    },
    /// Make a server the primary of its cluster
    ///
    /// The present primary hands over when everything is there; for a server that is too far behind, writes are not held: it
    /// has 30 s to come near. When the primary is gone, the server takes its place if no other one has received more. Needs
    /// `failover` in the configuration of the cluster.
    Switchover {
        #[command(flatten)]
        process: RunningProcess,
        /// Its name, or CLUSTER/NAME
        server: String,
        /// Only print what would be done, with its SQL, and how far the server is behind
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the running process read its configuration again, and say what changed
    Reload(RunningProcess),
    /// Read a password from stdin and print the forms that a configuration may hold
    HashPassword,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// How to find the running process.
#[derive(Debug, Args)]
struct RunningProcess {
    /// The admin socket [default: /run/sqluice/admin.sock]
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The configuration file that names the admin socket
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Who is sent elsewhere.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FailoverMode {
    Off,
    On,
    All,
}

/// What becomes of sessions when clients are sent elsewhere.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Existing {
    Stay,
    Drain,
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
enum Failure {
    /// It was tried.
    Failed(String),
    /// The configuration is wrong.
    BadConfig(String),
    /// There is no running process to be found.
    Unreachable(String),
    /// The log says why already.
    Logged,
    /// What was printed says that something is wrong.
    Unwell,
}

type Done = Result<(), Failure>;

fn main() -> ExitCode {
    let CommandLine { command } = CommandLine::parse();
    let (code, reason) = match perform(command) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(reason)) => (1, reason),
        Err(Failure::Logged | Failure::Unwell) => return ExitCode::from(1),
        Err(Failure::BadConfig(reason)) => (2, reason),
        Err(Failure::Unreachable(reason)) => (3, reason),
    };
    eprintln!("{reason}");
    ExitCode::from(code)
}

fn perform(command: Command) -> Done {
    match command {
        Command::Run(file) => run(&file.config),
        Command::Check { file, print } => check(&file.config, print),
        Command::Demo { no_traffic, stand_in, follow_instant_failovers, seconds } => demo(demo::Options {
            traffic: if no_traffic { demo::Traffic::None } else { demo::Traffic::Own },
            backing: if stand_in { demo::Backing::StandIn } else { demo::Backing::RealIfFound },
            failovers: if follow_instant_failovers { demo::Failovers::Follow } else { demo::Failovers::Tell },
            duration: seconds.map(Duration::from_secs),
        }),
        Command::Explain { config, socket, user, sql } => {
            let asked = Asked { user: &user, sql: sql.as_deref() };
            explain(config.as_deref(), socket.as_deref(), &asked)
        }
        Command::Status { process, json, watch: false } => show(&status_page(&process.socket()?, json)?),
        Command::Status { process, json, watch: true } => watch_status(&process.socket()?, json),
        Command::Doctor { process, cluster } => doctor(&process.socket()?, cluster.as_deref()),
        Command::Sessions { process, json } => sessions(&process.socket()?, json),
        Command::Reload(process) => reload(&process.socket()?),
        Command::Switchover { process, server, dry_run } => switchover(&process.socket()?, &server, dry_run),
        Command::HashPassword => hash_password(),
        Command::Drain { process, server, dry_run: true, .. } => {
            show(&drain::page(&upkeep(&process.socket()?, Method::GET, "/v1/drain", &[("server", &server)])?))
        }
        Command::Drain { process, server, budget, .. } => drain(&process.socket()?, &server, &budget),
        Command::Enable { process, server } => {
            show(&drain::in_use(&upkeep(&process.socket()?, Method::POST, "/v1/enable", &[("server", &server)])?))
        }
        Command::Disable { process, server } => {
            show(&drain::page(&upkeep(&process.socket()?, Method::POST, "/v1/disable", &[("server", &server)])?))
        }
        Command::Failover { process, mode, target, existing } => {
            failover(&process.socket()?, mode, target.as_deref(), existing)
        }
    }
}

fn run(config: &Path) -> Done {
    server::run(config).map_err(|error| match error {
        RunError::Config(errors) => bad_config(&errors),
        RunError::Start(_) | RunError::Worker(_) => Failure::Logged,
    })
}

fn check(file: &Path, print: bool) -> Done {
    let config = load(file)?;
    for exposed in &config.exposed_files {
        eprintln!("warning: {}", config::exposed(exposed));
    }
    let of_certificates = tls::check(&config).map_err(|refusal| Failure::BadConfig(refusal.to_string()))?;
    for warning in of_certificates {
        eprintln!("warning: {warning}");
    }
    if print {
        return show(&config::print(&config));
    }
    show(&format!("{}: ok\n", file.display()))
}

fn demo(options: demo::Options) -> Done {
    demo::run(options).map_err(|failure| Failure::Failed(failure.to_string()))
}

fn explain(config: Option<&Path>, socket: Option<&Path>, asked: &Asked<'_>) -> Done {
    let explanation = match config {
        Some(file) => explain::offline(&load(file)?, asked).map_err(|unknown| Failure::Failed(unknown.to_string()))?,
        None => {
            let mut pairs = vec![("user", asked.user)];
            pairs.extend(asked.sql.map(|sql| ("sql", sql)));
            let path = client::with_query("/v1/explain", &pairs);
            parsed::<Explanation>(&ask(socket.unwrap_or(Path::new(DEFAULT_SOCKET)), Method::GET, &path)?)?
        }
    };
    show(&table::explanation(&explanation))
}

fn status_page(socket: &Path, json: bool) -> Result<String, Failure> {
    let body = ask(socket, Method::GET, "/v1/status")?;
    if json { Ok(raw(&body)) } else { parsed::<Status>(&body).map(|status| table::status(&status)) }
}

fn doctor(socket: &Path, cluster: Option<&str>) -> Done {
    let status = parsed::<Status>(&ask(socket, Method::GET, "/v1/status")?)?;
    let diagnosis = doctor::examine(&status, cluster).map_err(Failure::BadConfig)?;
    show(&diagnosis.page)?;
    match diagnosis.outcome {
        Outcome::Well => Ok(()),
        Outcome::NeedsOperator => Err(Failure::Unwell),
    }
}

/// Goes on when the process does not answer: it may be restarting, which is what somebody watches for.
fn watch_status(socket: &Path, json: bool) -> Done {
    const CLEAR: &str = "\x1b[H\x1b[2J";
    show(&status_page(socket, json)?)?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let page = match status_page(socket, json) {
            Ok(page) => page,
            Err(Failure::Unreachable(reason)) if !json => format!("{reason}\n"),
            Err(Failure::Unreachable(_)) => continue,
            Err(other) => return Err(other),
        };
        show(&if json { page } else { format!("{CLEAR}{page}") })?;
    }
}

fn sessions(socket: &Path, json: bool) -> Done {
    let body = ask(socket, Method::GET, "/v1/sessions")?;
    if json {
        return show(&raw(&body));
    }
    show(&table::sessions(&parsed::<Vec<SessionStatus>>(&body)?))
}

fn reload(socket: &Path) -> Done {
    let body = ask(socket, Method::POST, "/v1/reload")?;
    show(&table::reloaded(&parsed::<Reloaded>(&body)?))
}

fn switchover(socket: &Path, server: &str, dry_run: bool) -> Done {
    let rehearse = if dry_run { "true" } else { "false" };
    let path = client::with_query("/v1/switchover", &[("server", server), ("rehearse", rehearse)]);
    let body = ask_within(admin::SWITCHOVER_TIMEOUT + Duration::from_secs(5), socket, Method::POST, &path)?;
    let lines = parsed::<Switchover>(&body)?.lines;
    show(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

fn upkeep(socket: &Path, method: Method, path: &str, pairs: &[(&str, &str)]) -> Result<DrainStatus, Failure> {
    parsed(&ask(socket, method, &client::with_query(path, pairs))?)
}

/// Begins to drain a server, and shows what comes of it until nobody is there any more.
fn drain(socket: &Path, server: &str, budget: &str) -> Done {
    let before = upkeep(socket, Method::GET, "/v1/drain", &[("server", server)])?;
    let mut status = upkeep(socket, Method::POST, "/v1/drain", &[("server", server), ("budget", budget)])?;
    let (mut shown, mut after_the_end) = (None, 0);
    loop {
        let news = drain::without_times(&status);
        if shown.as_ref() != Some(&news) {
            let has_read_notes = shown.is_some_and(|shown: DrainStatus| shown.notes == news.notes);
            show(&if has_read_notes { drain::news(&status) } else { drain::page(&status) })?;
            shown = Some(news);
        }
        match drain::progress(&status) {
            Progress::Done => {
                return show(&format!("{}nobody is at {server} any more\n", drain::outcome(&before, &status)));
            }
            Progress::TakenBack => return Err(Failure::Failed(format!("{server} was taken into use again"))),
            Progress::Ending if after_the_end > AFTER_THE_END_MAX => {
                let outcome = drain::outcome(&before, &status);
                return Err(Failure::Failed(format!(
                    "{outcome}{} connections to {server} do not end",
                    status.connections
                )));
            }
            Progress::Ending => after_the_end += 1,
            Progress::Going => {}
        }
        std::thread::sleep(DRAIN_LOOK);
        status = upkeep(socket, Method::GET, "/v1/drain", &[("server", server)])?;
    }
}

/// Between two looks at a server that is being drained.
const DRAIN_LOOK: Duration = Duration::from_millis(250);

/// Looks at one whose time is over: what was said to it and to clients is written out within seconds.
const AFTER_THE_END_MAX: u32 = 40;

fn failover(socket: &Path, mode: FailoverMode, target: Option<&str>, existing: Existing) -> Done {
    let mode = match mode {
        FailoverMode::Off => "off",
        FailoverMode::On => "on",
        FailoverMode::All => "all",
    };
    let existing = match existing {
        Existing::Stay => "stay",
        Existing::Drain => "drain",
    };
    let mut pairs = vec![("mode", mode), ("existing", existing)];
    pairs.extend(target.map(|target| ("target", target)));
    let body = ask(socket, Method::POST, &client::with_query("/v1/failover", &pairs))?;
    show(&table::instant_failover(&parsed::<InstantFailoverStatus>(&body)?))
}

fn hash_password() -> Done {
    let stdin = std::io::stdin().lock();
    let mut input = Vec::with_capacity(password::INPUT_BYTES_MAX);
    let read = if stdin.is_terminal() {
        eprint!("password (it is shown while you type): ");
        std::io::BufRead::read_until(&mut stdin.take(password::INPUT_BYTES_MAX as u64), b'\n', &mut input)
    } else {
        stdin.take(password::INPUT_BYTES_MAX as u64).read_to_end(&mut input)
    };
    read.map_err(|error| Failure::Failed(format!("the password cannot be read: {error}")))?;
    let forms = password::forms(input).map_err(|refused| {
        let reason = match refused {
            PasswordRefused::Empty => "no password came in",
            PasswordRefused::Unusable => "servers take no such password: it has a NUL byte or more than 256 bytes",
        };
        Failure::Failed(reason.to_string())
    })?;
    show(&forms)
}

impl RunningProcess {
    /// The socket that was named, directly or by a configuration file.
    fn socket(&self) -> Result<PathBuf, Failure> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(file)) => Ok(load(file)?.admin.socket),
            (None, None) => Ok(PathBuf::from(DEFAULT_SOCKET)),
        }
    }
}

fn load(file: &Path) -> Result<Config, Failure> {
    Config::load(file).map_err(|errors| bad_config(&errors))
}

fn bad_config(errors: &ConfigErrors) -> Failure {
    Failure::BadConfig(errors.to_string())
}

/// One request to the running process; the answer is JSON.
fn ask(socket: &Path, method: Method, path: &str) -> Result<Vec<u8>, Failure> {
    ask_within(client::REQUEST_TIMEOUT, socket, method, path)
}

/// As [`ask`], for what takes its time.
fn ask_within(patience: Duration, socket: &Path, method: Method, path: &str) -> Result<Vec<u8>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("the request cannot be made: {error}")))?;
    let answer = runtime.block_on(client::request_within(patience, socket, method, path));
    answer.map(|body| body.to_vec()).map_err(|error| match error {
        ClientError::Unreachable { .. } => Failure::Unreachable(error.to_string()),
        ClientError::Refused { status: 422, .. } => Failure::BadConfig(error.to_string()),
        ClientError::Refused { .. } => Failure::Failed(error.to_string()),
    })
}

/// An answer of another release may have another shape.
fn parsed<Shape: DeserializeOwned>(body: &[u8]) -> Result<Shape, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let version = env!("CARGO_PKG_VERSION");
        Failure::Failed(format!(
            "the running process gave an answer that sqluice {version} does not understand: {error}"
        ))
    })
}

/// The answer as it came, on a line of its own.
fn raw(body: &[u8]) -> String {
    format!("{}\n", String::from_utf8_lossy(body))
}

/// Prints to stdout. A reader that has enough, like `head`, is no failure.
fn show(text: &str) -> Done {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::Failed(format!("cannot print: {error}"))),
        Ok(()) => Ok(()),
    }
}
