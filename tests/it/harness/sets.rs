//! Servers that hold the same data: a primary with two replicas, and a Galera cluster.

use super::servers::{Flavour, Server, free_address, script, server_script};

/// What is committed survives a kill: otherwise a replica's data and its binary log disagree, and it stops for good.
const DURABLE: &str = "--innodb-flush-log-at-trx-commit=2";

/// A primary and two replicas that follow it by GTID. The replicas are read-only, also after [`Trio::restart`].
#[derive(Debug)]
pub(crate) struct Trio {
    /// The primary first.
    pub(crate) servers: [Server; 3],
}

impl Trio {
    pub(crate) fn start(flavour: Flavour) -> Trio {
        let servers = [(); 3].map(|()| Server::start(flavour, &[DURABLE]));
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
        let options = [DURABLE, read_only];
        server.restart(if index == 0 { &options[..1] } else { &options });
    }

    /// Until both replicas have applied everything that the primary has committed by now.
    #[track_caller]
    pub(crate) fn await_replicas(&self) {
        let position = position(self.primary());
        for replica in self.replicas() {
            await_position(replica, &position);
        }
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

/// All that a primary has committed, as GTIDs.
fn position(primary: &Server) -> String {
    let sql = match primary.flavour.is_mariadb() {
        true => "SELECT @@gtid_binlog_pos",
        false => "SELECT REPLACE(@@GLOBAL.gtid_executed, '\\n', '')",
    };
    primary.root(sql).trim().to_owned()
}

#[track_caller]
fn await_position(replica: &Server, position: &str) {
    let sql = match replica.flavour.is_mariadb() {
        true => format!("SELECT MASTER_GTID_WAIT('{position}', 60)"),
        false => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 60)"),
    };
    let why = || replica.root(if replica.flavour.is_mariadb() { "SHOW SLAVE STATUS" } else { "SHOW REPLICA STATUS" });
    assert_eq!(replica.root(&sql).trim(), "0", "{} does not get to {position}: {}", replica.address, why());
}

/// Three nodes of MariaDB 10.11, each of which takes writes.
#[derive(Debug)]
pub(crate) struct Galera {
    pub(crate) servers: [Server; 3],
}

impl Galera {
    pub(crate) fn start() -> Galera {
        let servers = [(); 3].map(|()| Server::prepare(Flavour::MariaDb10));
        let port = servers[0].address.port().to_string();
        let mut arguments = vec!["seed", &port];
        arguments.extend(servers.iter().map(Server::folder_text));
        script("servers/galera", &arguments);

        let group = [(); 3].map(|()| free_address());
        let members = group.map(|address| address.to_string()).join(",");
        for (index, server) in servers.iter().enumerate() {
            let port = server.address.port().to_string();
            let [group, transfer] = [group[index], free_address()].map(|address| address.port().to_string());
            let name = format!("n{}", index + 1);
            let mut arguments = vec!["start", server.folder_text(), &name, &port, &group, &transfer, &members];
            if index == 0 {
                arguments.push("--wsrep-new-cluster");
            }
            script("servers/galera", &arguments);
        }
        Galera { servers }
    }

    /// Until every node has applied what any of them has committed by now.
    #[track_caller]
    pub(crate) fn await_all(&self) {
        for server in &self.servers {
            assert_eq!(server.root("SET wsrep_sync_wait = 1; SELECT 1 FROM mysql.db LIMIT 1").trim(), "1");
        }
    }
}
