//! Three real MariaDB servers: a primary and two replicas, in the demo's folder, on free ports of 127.0.0.1.
//!
//! Their data folders are made once and copied. Replication uses GTIDs. Nobody but this process can log in as root:
//! each start sets its password before the first connection.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use socket2::{Domain, Socket, Type};
use tokio::process::{Child, Command};

use super::failure::{Failure, Trying};
use super::folder::{self, Folder};
use super::{Accounts, MEMBERS};

/// How long a server may take until it answers, and a replica until it has caught up.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at a server that is starting: there is no event to wait for.
const START_POLL: Duration = Duration::from_millis(50);
/// How long a killed server may take to be gone, and how often it is looked at: nothing can be awaited in a drop.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
const KILL_POLL: Duration = Duration::from_millis(2);
/// Where servers live that are not in everybody's PATH.
const MORE_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"];
/// Small, so that three servers fit on any machine and start at once.
const SIZES: [&str; 3] = ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--performance-schema=OFF"];

/// The programs of an installed MariaDB.
#[derive(Debug)]
pub(super) struct Programs {
    server: PathBuf,
    install: PathBuf,
}

impl Programs {
    /// Looks for mariadbd and its mariadb-install-db.
    pub(super) fn find() -> Option<Programs> {
        Some(Programs { server: find("mariadbd")?, install: find("mariadb-install-db")? })
    }

    /// What the server says of its version, such as `10.11.19-MariaDB`.
    pub(super) async fn version(&self) -> Result<String, Failure> {
        let output = Command::new(&self.server).args(["--no-defaults", "--version"]).output().await;
        let text = String::from_utf8_lossy(&output.trying("asking mariadbd for its version")?.stdout).into_owned();
        let version = text.split_once("Ver ").and_then(|(_, behind)| behind.split_whitespace().next());
        version.map(str::to_owned).ok_or_else(|| Failure::new("mariadbd does not say its version"))
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// See the module. Dropping it kills the servers, by their own process ids.
#[derive(Debug)]
pub(super) struct Servers {
    programs: Programs,
    folder: PathBuf,
    /// `--user=root`, without which a server refuses to run as root.
    as_root: bool,
    root_password: String,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    id: u32,
    port: u16,
    /// Bound and not listening: keeps the port while the server is down, so that no client of somebody else gets it.
    _reserved: Socket,
    /// `None` while it is killed.
    process: Option<Child>,
}

impl Servers {
    /// Starts all three, with the demo's accounts, database and table, and waits until the replicas have them.
    pub(super) async fn start(programs: Programs, folder: &Folder, accounts: &Accounts) -> Result<Servers, Failure> {
        let as_root = folder.owner().trying("looking at the demo's folder")? == 0;
        let mut servers = Servers {
            programs,
            folder: folder.path().to_owned(),
            as_root,
            root_password: super::random_password().trying("making a password")?,
            members: Vec::new(),
        };
        servers.prepare()?;
        for index in 0..MEMBERS {
            servers.members.push(Member::reserve(index as u32 + 1).trying("finding a free port")?);
            servers.launch(index).await?;
        }
        servers.fill(accounts).await?;
        for index in 1..MEMBERS {
            servers.follow(index, accounts).await?;
        }
        Ok(servers)
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.port).collect()
    }

    /// `kill -9` of the primary.
    pub(super) async fn kill_primary(&mut self) -> Result<(), Failure> {
        match self.members[0].process.take() {
            Some(mut process) => process.kill().await.trying("killing the primary"),
            None => Ok(()),
        }
    }

    /// Starts the primary again, on its data and its port. It is there when it has recovered; nobody waits for that.
    pub(super) fn revive_primary(&mut self) -> Result<(), Failure> {
        self.spawn(0)
    }

    /// Makes the data folders: the first by MariaDB's own script, the others as its copies.
    ///
    /// Blocks for a second or a few. So Ctrl-C waits for it, and no part of the script is left behind at work.
    fn prepare(&self) -> Result<(), Failure> {
        let first = self.data_folder(0);
        let mut install = process::Command::new(&self.programs.install);
        install.arg("--no-defaults").arg(format!("--datadir={}", first.display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]).args(SIZES);
        install.args(self.as_root.then_some("--user=root")).stdin(Stdio::null()).process_group(0);
        let output = install.output().trying("running mariadb-install-db")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure::new(format!("mariadb-install-db failed ({}): {}", output.status, said.trim())));
        }
        for index in 1..MEMBERS {
            folder::copy(&first, &self.data_folder(index)).trying("copying a data folder")?;
        }
        let statements = format!(
            "SET sql_log_bin = 0;\nSET PASSWORD FOR root@localhost = PASSWORD('{}');\n\
             DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';\nFLUSH PRIVILEGES;\n",
            self.root_password
        );
        std::fs::write(self.init_file(), statements).trying("writing the servers' first statements")
    }

    fn data_folder(&self, index: usize) -> PathBuf {
        self.folder.join(format!("data{}", index + 1))
    }

    fn socket(&self, index: usize) -> PathBuf {
        self.folder.join(format!("db{}.sock", index + 1))
    }

    fn log(&self, index: usize) -> PathBuf {
        self.folder.join(format!("db{}.log", index + 1))
    }

    fn init_file(&self) -> PathBuf {
        self.folder.join("init.sql")
    }

    /// Starts a server and waits until it answers.
    async fn launch(&mut self, index: usize) -> Result<(), Failure> {
        self.spawn(index)?;
        let started = Instant::now();
        loop {
            let refused = match self.connect(index).await {
                Ok(connection) => return connection.disconnect().await.trying("leaving a server"),
                Err(error) => error,
            };
            let process = self.members[index].process.as_mut().expect("it was just spawned");
            if let Some(status) = process.try_wait().trying("looking at a server")? {
                let said = last_lines(&self.log(index));
                return Err(Failure::new(format!("mariadbd ended at its start ({status}): {said}")));
            }
            if started.elapsed() > START_TIMEOUT {
                return Err(Failure::new(format!("mariadbd does not answer after {START_TIMEOUT:?}: {refused}")));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    fn spawn(&mut self, index: usize) -> Result<(), Failure> {
        let member = &self.members[index];
        let mut command = Command::new(&self.programs.server);
        command.arg("--no-defaults");
        for (option, path) in [
            ("datadir", self.data_folder(index)),
            ("socket", self.socket(index)),
            ("log-error", self.log(index)),
            ("init-file", self.init_file()),
            ("pid-file", self.folder.join(format!("db{}.pid", index + 1))),
        ] {
            command.arg(format!("--{option}={}", path.display()));
        }
        command.arg(format!("--port={}", member.port)).arg(format!("--server-id={}", member.id));
        command.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--log-bin=binlog", "--log-slave-updates"]);
        command.args((index > 0).then_some("--read-only=ON")).args(self.as_root.then_some("--user=root")).args(SIZES);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own, so that the terminal's Ctrl-C reaches the demo alone.
        command.process_group(0).kill_on_drop(true);
        self.members[index].process = Some(command.spawn().trying("starting mariadbd")?);
        Ok(())
    }

    /// The demo's database, table and accounts, on the primary.
    async fn fill(&self, accounts: &Accounts) -> Result<(), Failure> {
        let mut primary = self.connect(0).await.trying("connecting to the primary")?;
        for statement in accounts.statements() {
            primary.query_drop(&statement).await.trying("setting up the primary")?;
        }
        primary.disconnect().await.trying("leaving the primary")
    }

    /// Makes a server the primary's replica and waits until it has what is there.
    async fn follow(&self, index: usize, accounts: &Accounts) -> Result<(), Failure> {
        let mut primary = self.connect(0).await.trying("connecting to the primary")?;
        let position: Option<String> =
            primary.query_first("SELECT @@gtid_binlog_pos").await.trying("asking for the GTID")?;
        primary.disconnect().await.trying("leaving the primary")?;
        let mut replica = self.connect(index).await.trying("connecting to a replica")?;
        let change = format!(
            "CHANGE MASTER TO master_host = '127.0.0.1', master_port = {}, master_user = 'replication', \
             master_password = '{}', master_use_gtid = slave_pos, master_connect_retry = 1",
            self.members[0].port, accounts.service_password
        );
        replica.query_drop(change).await.trying("setting up replication")?;
        replica.query_drop("START SLAVE").await.trying("starting replication")?;
        let wait = format!("SELECT MASTER_GTID_WAIT('{}', {})", position.unwrap_or_default(), START_TIMEOUT.as_secs());
        let waited: Option<i64> = replica.query_first(wait).await.trying("waiting for a replica")?;
        replica.disconnect().await.trying("leaving a replica")?;
        if waited == Some(0) { Ok(()) } else { Err(Failure::new("a replica does not follow the primary")) }
    }

    async fn connect(&self, index: usize) -> mysql_async::Result<Conn> {
        let options = OptsBuilder::default().user(Some("root")).pass(Some(&self.root_password));
        Conn::new(options.socket(self.socket(index).to_str()).stmt_cache_size(0)).await
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for process in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            // An error says that it has ended already.
            let _ = process.start_kill();
        }
        // Their folder is removed next, so they must be gone.
        for process in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            let killed = Instant::now();
            while matches!(process.try_wait(), Ok(None)) && killed.elapsed() < KILL_TIMEOUT {
                std::thread::sleep(KILL_POLL);
            }
        }
    }
}

impl Member {
    fn reserve(id: u32) -> std::io::Result<Member> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let port = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
        Ok(Member { id, port, _reserved: socket, process: None })
    }
}

/// The end of a server's log, on one line.
fn last_lines(log: &Path) -> String {
    /// Enough for the reason, which comes last or almost.
    const LINES_MAX: usize = 5;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join(" | ")
}
