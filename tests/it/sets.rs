//! The sets of servers that other tests rely on are what they claim to be.

use crate::harness::{Flavour, Galera, Server, Trio, eventually};

fn rows(server: &Server) -> String {
    server.root("SELECT COUNT(*) FROM test.t").trim().to_owned()
}

#[test]
fn replicas_follow_lag_and_stop() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        let mut primary = trio.primary().direct();
        primary.execute("CREATE TABLE test.t (id INT PRIMARY KEY)");
        primary.execute("INSERT INTO test.t VALUES (1)");
        trio.await_replicas();
        for replica in trio.replicas() {
            assert_eq!(rows(replica), "1", "{flavour:?}");
            assert_eq!(replica.direct().query("INSERT INTO test.t VALUES (9)").failed().code, 1290, "{flavour:?}");
        }
        // A stopped replica stays behind while the other goes on, and gets everything afterwards.
        let [stopped, other] = trio.replicas() else { panic!("there are two") };
        stopped.stop_applying();
        other.lag(1);
        primary.execute("INSERT INTO test.t VALUES (2)");
        eventually("the delayed replica has the row", || (rows(other) == "2").then_some(()));
        assert_eq!(rows(stopped), "1", "{flavour:?}");
        stopped.start_applying();
        trio.await_replicas();
        assert_eq!(rows(stopped), "2", "{flavour:?}");
        // A replica that was killed follows again.
        stopped.kill();
        primary.execute("INSERT INTO test.t VALUES (3)");
        trio.restart(1);
        trio.await_replicas();
        assert_eq!(rows(stopped), "3", "{flavour:?}");
        assert_eq!(stopped.direct().query("INSERT INTO test.t VALUES (9)").failed().code, 1290, "{flavour:?}");
    }
}

#[test]
fn each_node_of_a_galera_cluster_has_what_the_others_write() {
    let galera = Galera::start();
    galera.servers[0].direct().execute("CREATE TABLE test.t (id INT PRIMARY KEY)");
    for (id, server) in galera.servers.iter().enumerate() {
        galera.await_all();
        server.direct().execute(&format!("INSERT INTO test.t VALUES ({id})"));
    }
    galera.await_all();
    for server in &galera.servers {
        assert_eq!(rows(server), "3");
    }
}
