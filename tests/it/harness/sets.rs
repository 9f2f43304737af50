//! Servers that hold the same data: a primary with two replicas, and a Galera cluster.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use super::network::Network;
use super::servers::{Flavour, Server, free_address, running, script, server_script};
use super::statements::heard;

/// What is committed survives a kill: otherwise a replica's data and its binary log disagree, and it stops for good.
/// And app may make stored functions, as an account without SUPER may only then beside a binary log.
const OPTIONS: [&str; 2] = ["--innodb-flush-log-at-trx-commit=2", "--log-bin-trust-function-creators=ON"];

/// A primary and two replicas that follow it by GTID. The replicas are read-only, also after [`Trio::restart`].
#[derive(Debug)]
pub(crate) struct Trio {
    /// The primary first.
    pub(crate) servers: [Server; 3],
}

impl Trio {
    pub(crate) fn start(flavour: Flavour) -> Trio {
        // Side by side: most of a start is waiting.
        let servers = thread::scope(|scope| {
            let starts = [(); 3].map(|()| scope.spawn(|| Server::start(flavour, &OPTIONS)));
            starts.map(|start| start.join().expect("the server starts"))
        });
        let port = servers[0].address.port().to_string();
        for replica in &servers[1..] {
            server_script(&["replicate", replica.folder_text(), &port]);
        }
        let trio = Trio { servers };
        // Something to wait for, so that both are known to have begun.
        trio.primary().direct().execute("CREATE TABLE test.begun (id INT PRIMARY KEY)");
        trio.await_replicas();
        trio
    }

    /// One of each flavour for tests that change nothing of the servers themselves; each statement is kept.
    pub(crate) fn shared(flavour: Flavour) -> &'static Trio {
        static SHARED: [OnceLock<Trio>; 3] = [const { OnceLock::new() }; 3];
        SHARED[flavour as usize].get_or_init(|| {
            let trio = Trio::start(flavour);
            trio.servers.iter().for_each(Server::listen);
            trio
        })
    }

    /// How many statements with this text reached the primary, and any replica.
    pub(crate) fn heard(&self, text: &str) -> (usize, usize) {
        (self.primary().heard(text), self.replicas().iter().map(|replica| replica.heard(text)).sum())
    }

    pub(crate) fn primary(&self) -> &Server {
        &self.servers[0]
    }

    pub(crate) fn replicas(&self) -> &[Server] {
        &self.servers[1..]
    }

    /// The same data and role after [`Server::kill`]; by index as in [`Trio::servers`].
    pub(crate) fn restart(&self, index: usize) {
        let server = &self.servers[index];
        let read_only = if server.flavour.is_mariadb() { "--read-only=ON" } else { "--super-read-only=ON" };
        let [durable, trusting] = OPTIONS;
        let options = [durable, trusting, read_only];
        server.restart(if index == 0 { &OPTIONS } else { &options });
    }

    /// [`Trio::restart`] of a server that is no primary any more.
    pub(crate) fn restart_as_replica(&self, index: usize) {
        let server = &self.servers[index];
        let read_only = if server.flavour.is_mariadb() { "--read-only=ON" } else { "--super-read-only=ON" };
        let [durable, trusting] = OPTIONS;
        server.restart(&[durable, trusting, read_only]);
    }

    /// Until both replicas have applied everything that the primary has committed by now.
    #[track_caller]
    pub(crate) fn await_replicas(&self) {
        let position = self.primary().position();
        self.replicas().iter().for_each(|replica| replica.await_position(&position));
    }
}

/// Which statements reached a server.
impl Server {
    /// Keeps every statement from now on, for [`Server::heard`]; a restart ends it.
    pub(crate) fn listen(&self) {
        let file = self.statements();
        let file = file.to_str().expect("the folder's name is ASCII");
        self.root(&format!(
            "SET GLOBAL log_output = 'FILE', GLOBAL general_log_file = '{file}', GLOBAL general_log = ON"
        ));
    }

    /// How many statements with this text app has run here.
    pub(crate) fn heard(&self, text: &str) -> usize {
        // Not all of it need be UTF-8: clients speak other character sets as well.
        let log = fs::read(self.statements()).expect("the server was told to listen");
        heard(&String::from_utf8_lossy(&log), text)
    }

    fn statements(&self) -> PathBuf {
        Path::new(self.folder_text()).join("statements.log")
    }
}

/// What a replica can be told; of no use on a primary.
impl Server {
    /// Applies everything `seconds` after the primary committed it; 0 ends that.
    pub(crate) fn lag(&self, seconds: u32) {
        self.root(&match self.flavour.is_mariadb() {
            true => format!("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = {seconds}; START SLAVE"),
            false => format!("STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}; START REPLICA"),
        });
    }

    /// Receives, but applies nothing until [`Server::start_applying`].
    pub(crate) fn stop_applying(&self) {
        self.root(&format!("STOP {} SQL_THREAD", self.replica_word()));
    }

    pub(crate) fn start_applying(&self) {
        self.root(&format!("START {} SQL_THREAD", self.replica_word()));
    }

    /// MySQL no longer knows the older word, MariaDB's statements are documented with it.
    fn replica_word(&self) -> &'static str {
        if self.flavour.is_mariadb() { "SLAVE" } else { "REPLICA" }
    }
}

/// What makes a server a primary, or a replica of another one, by hand.
impl Server {
    /// All that it has committed as a primary, as GTIDs.
    pub(crate) fn position(&self) -> String {
        let sql = match self.flavour.is_mariadb() {
            true => "SELECT @@gtid_binlog_pos",
            false => "SELECT REPLACE(@@GLOBAL.gtid_executed, '\\n', '')",
        };
        self.root(sql).trim().to_owned()
    }

    /// Until it has applied all of a position.
    #[track_caller]
    pub(crate) fn await_position(&self, position: &str) {
        let sql = match self.flavour.is_mariadb() {
            true => format!("SELECT MASTER_GTID_WAIT('{position}', 60)"),
            false => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 60)"),
        };
        let why = || self.root(if self.flavour.is_mariadb() { "SHOW SLAVE STATUS" } else { "SHOW REPLICA STATUS" });
        assert_eq!(self.root(&sql).trim(), "0", "{} does not get to {position}: {}", self.address, why());
    }

    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        let value = if is_read_only { "ON" } else { "OFF" };
        self.root(&match self.flavour.is_mariadb() {
            true => format!("SET GLOBAL read_only = {value}"),
            false => format!("SET GLOBAL super_read_only = {value}; SET GLOBAL read_only = {value}"),
        });
    }

    /// A replica that has everything takes writes from now on.
    pub(crate) fn make_primary(&self) {
        let word = self.replica_word();
        self.root(&format!("STOP {word}; RESET {word} ALL"));
        self.set_read_only(false);
    }

    /// Replicates from another server, after whatever it has.
    pub(crate) fn follow(&self, primary: &Server) {
        self.follow_at(primary.address);
    }

    /// The same, of whatever is behind that address.
    pub(crate) fn follow_at(&self, address: SocketAddr) {
        let word = self.replica_word();
        self.root(&format!("STOP {word}"));
        if self.flavour.is_mariadb() {
            self.root("SET GLOBAL gtid_slave_pos = @@gtid_current_pos");
        }
        server_script(&["replicate", self.folder_text(), &address.port().to_string()]);
    }

    pub(crate) fn is_running(&self) -> bool {
        running(&self.folder).is_some()
    }
}

/// Three members of a replication group of MySQL, the first of which takes writes.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) servers: [Server; 3],
}

impl Group {
    pub(crate) fn start() -> Group {
        let addresses = [(); 3].map(|()| free_address());
        let seeds = addresses.map(|address| address.to_string()).join(",");
        let servers = thread::scope(|scope| {
            let starts = addresses.map(|address| {
                let options = [
                    "--plugin-load-add=group_replication.so".to_owned(),
                    "--performance-schema=ON".to_owned(),
                    "--report-host=127.0.0.1".to_owned(),
                    "--loose-group-replication-group-name=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee".to_owned(),
                    "--loose-group-replication-start-on-boot=OFF".to_owned(),
                    "--loose-group-replication-recovery-get-public-key=ON".to_owned(),
                    format!("--loose-group-replication-local-address={address}"),
                    format!("--loose-group-replication-group-seeds={seeds}"),
                ];
                scope.spawn(move || Server::start(Flavour::MySql97, &options.each_ref().map(String::as_str)))
            });
            starts.map(|start| start.join().expect("the server starts"))
        });
        for (index, server) in servers.iter().enumerate() {
            server.root(
                "SET sql_log_bin = 0; GRANT SELECT ON performance_schema.replication_group_members TO monitor@'%'; \
                 SET sql_log_bin = 1; RESET BINARY LOGS AND GTIDS",
            );
            let begin = if index == 0 { "SET GLOBAL group_replication_bootstrap_group = ON; " } else { "" };
            server.root(&format!(
                "{begin}START GROUP_REPLICATION USER = 'repl', PASSWORD = 'repl'; \
                 SET GLOBAL group_replication_bootstrap_group = OFF"
            ));
        }
        Group { servers }
    }
}

/// A primary of MariaDB 10.11 and a replica of it, each on a host of its own.
#[derive(Debug)]
pub(crate) struct Distant {
    /// The primary first.
    pub(crate) servers: [Server; 2],
    pub(crate) network: Network,
}

impl Distant {
    pub(crate) fn start() -> Distant {
        let network = Network::start(2);
        let servers = [0, 1].map(|host| {
            let server = Server::prepare_at(Flavour::MariaDb10, network.front(host, port_on(host)));
            let port = port_on(host).to_string();
            let mut arguments =
                vec!["start", server.flavour.name(), server.folder_text(), &port, "--bind-address=0.0.0.0"];
            arguments.extend(OPTIONS);
            network.script(host, "servers/server", &arguments);
            server
        });
        servers[1].root(&format!(
            "SET GLOBAL read_only = ON; \
             CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = 'repl', MASTER_PASSWORD = 'repl', \
             MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1; START SLAVE",
            Network::back(0),
            port_on(0),
        ));
        let set = Distant { servers, network };
        set.servers[0].direct().execute("CREATE TABLE test.begun (id INT PRIMARY KEY)");
        set.servers[1].await_position(&set.servers[0].position());
        set
    }
}

/// A server's port on its host. Each has another, as a server's number is made of it.
fn port_on(host: usize) -> u16 {
    3_301 + u16::try_from(host).expect("few hosts")
}

/// Three nodes of MariaDB 10.11, each of which takes writes.
#[derive(Debug)]
pub(crate) struct Galera {
    pub(crate) servers: [Server; 3],
    /// For each node what the script wants to start it: its name and its ports, and the addresses of all.
    places: [[String; 5]; 3],
    /// Of nodes that have hosts of their own; else they share this one.
    network: Option<Network>,
}

impl Galera {
    pub(crate) fn start() -> Galera {
        let servers = [(); 3].map(|()| Server::prepare(Flavour::MariaDb10));
        let group = [(); 3].map(|()| free_address());
        let members = group.map(|address| address.to_string()).join(",");
        let places = std::array::from_fn(|index| {
            let [port, group, transfer] =
                [servers[index].address, group[index], free_address()].map(|address| address.port().to_string());
            [format!("n{}", index + 1), port, group, transfer, members.clone()]
        });
        Galera { servers, places, network: None }.begin()
    }

    /// Each node on a host of its own.
    pub(crate) fn start_on(network: Network) -> Galera {
        let address = |host: usize| network.front(host, port_on(host));
        let servers = [0, 1, 2].map(|host| Server::prepare_at(Flavour::MariaDb10, address(host)));
        let members = [0, 1, 2].map(|host| format!("{}:4567", Network::back(host))).join(",");
        let places = [0, 1, 2].map(|host| {
            let port = port_on(host).to_string();
            [format!("n{}", host + 1), port, "4567".to_owned(), "4568".to_owned(), members.clone()]
        });
        Galera { servers, places, network: Some(network) }.begin()
    }

    fn begin(self) -> Galera {
        let port = free_address().port().to_string();
        let mut arguments = vec!["seed", &port];
        arguments.extend(self.servers.iter().map(Server::folder_text));
        script("servers/galera", &arguments);
        self.start_node(0, &["--wsrep-new-cluster"]);
        self.start_node(1, &[]);
        self.start_node(2, &[]);
        self
    }

    /// The hosts of the nodes.
    pub(crate) fn network(&self) -> &Network {
        self.network.as_ref().expect("the nodes have hosts of their own")
    }

    /// Starts a node that does not run, and waits until it is in step with the others.
    pub(crate) fn start_node(&self, index: usize, options: &[&str]) {
        self.node_script("start", index, options);
    }

    /// Starts a node that cannot be in step yet.
    pub(crate) fn launch_node(&self, index: usize, options: &[&str]) {
        self.node_script("launch", index, options);
    }

    /// Until a node that was launched is in step.
    pub(crate) fn await_synced(&self, index: usize) {
        script("servers/galera", &["await", self.servers[index].folder_text()]);
    }

    fn node_script(&self, verb: &str, index: usize, options: &[&str]) {
        let mut arguments = vec![verb, self.servers[index].folder_text()];
        arguments.extend(self.places[index].iter().map(String::as_str));
        arguments.extend(OPTIONS);
        let own = self.network.as_ref().map(|_| self.own_options(index)).unwrap_or_default();
        arguments.extend(own.iter().map(String::as_str));
        arguments.extend(options);
        match &self.network {
            Some(network) => network.script(index, "servers/galera", &arguments),
            None => script("servers/galera", &arguments),
        };
    }

    /// On a host of its own: the others reach it by one address, clients by another.
    fn own_options(&self, index: usize) -> Vec<String> {
        let (inside, outside) = (Network::back(index), self.servers[index].address);
        vec![
            "--bind-address=0.0.0.0".to_owned(),
            format!("--wsrep-node-address={inside}"),
            format!("--wsrep-node-incoming-address={outside}"),
            format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://{inside}:4567;ist.recv_addr={inside}:4568;gcache.size=16M"
            ),
        ]
    }

    pub(crate) fn primary(&self) -> &Server {
        &self.servers[0]
    }

    /// Until every node has applied what any of them has committed by now.
    #[track_caller]
    pub(crate) fn await_all(&self) {
        for server in &self.servers {
            assert_eq!(server.root("SET wsrep_sync_wait = 1; SELECT 1 FROM mysql.db LIMIT 1").trim(), "1");
        }
    }
}
