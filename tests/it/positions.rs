//! How far each server of a replication set is seen to be, and where its statements are said to go, on real servers.

use crate::harness::{Engine, Flavour, Server, Sqluice, Start, Trio, eventually};

/// A check that takes too long makes a position unknown until the next one; here it may take as long as anything may.
fn config(servers: &[Server]) -> String {
    let mut text = String::from(
        "[cluster.shop]\ntopology = \"replication\"\nmonitor = { user = \"monitor\", password = \"monitor\" }\n\
         check_interval = \"50ms\"\ncheck_timeout = \"60s\"\n\n",
    );
    for (index, server) in servers.iter().enumerate() {
        text += &format!("[[cluster.shop.server]]\nname = \"db{}\"\naddress = \"{}\"\n\n", index + 1, server.address);
    }
    text + "[pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\n\
            [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\nfallback = \"write\"\n\n\
            [[user]]\nname = \"app\"\npassword = \"app\"\nsplit = { write = \"write\", read = \"read\" }\n\n"
}

/// The position of the server at that place, as the status shows it.
fn seen(sqluice: &Sqluice, index: usize) -> Option<String> {
    let status = sqluice.status();
    let position = &status["clusters"][0]["servers"][index]["position"];
    assert!(position.is_string() || position.is_null(), "{status}");
    position.as_str().map(str::to_owned)
}

fn await_seen(sqluice: &Sqluice, index: usize, expected: &str) {
    let is_there = || (seen(sqluice, index).as_deref() == Some(expected)).then_some(());
    eventually(&format!("the server at place {index} is seen at {expected}"), is_there);
}

/// All that a primary has committed, in the words of its status.
fn committed(primary: &Server) -> String {
    let sql = match primary.flavour.is_mariadb() {
        true => "SELECT @@gtid_binlog_pos",
        false => "SELECT REPLACE(@@GLOBAL.gtid_executed, '\\n', '')",
    };
    primary.root(sql).trim().to_owned()
}

/// Functions differ between the families and their versions: what one of them lacks may be a stored function there.
fn check_explained(sqluice: &Sqluice) {
    let explained = |sql: &str| sqluice.command(&["explain", "--user", "app", sql]).expect_success("explain");
    let read = explained("SELECT UPPER(name) FROM t");
    assert!(read.starts_with("the statement goes to server db2\n"), "{read}");
    assert!(read.contains("it is a read that any replica answers: plain read\n"), "{read}");
    let write = explained("SELECT no_such_function(name) FROM t");
    assert!(write.starts_with("the statement goes to server db1\n"), "{write}");
    assert!(write.contains("unknown function, at `no_such_function`\n"), "{write}");
}

#[test]
fn replicas_are_seen_where_they_are() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        let sqluice = Start::new(Engine::Epoll, config(&trio.servers)).run_with_servers_up(3);
        let before = committed(trio.primary());
        (0..3).for_each(|index| await_seen(&sqluice, index, &before));
        check_explained(&sqluice);

        // One replica stays behind; where it is does not follow the primary.
        trio.replicas()[0].stop_applying();
        trio.primary().direct().execute("CREATE TABLE test.t (id INT PRIMARY KEY)");
        let after = committed(trio.primary());
        assert_ne!(before, after);
        await_seen(&sqluice, 0, &after);
        await_seen(&sqluice, 2, &after);
        await_seen(&sqluice, 1, &before);
        trio.replicas()[0].start_applying();
        await_seen(&sqluice, 1, &after);

        // A server that was in trouble is not taken at its word of before.
        trio.replicas()[1].kill();
        sqluice.await_health("db3", "down");
        assert_eq!(seen(&sqluice, 2), None, "{flavour:?}");
        trio.restart(2);
        await_seen(&sqluice, 2, &after);
    }
}

#[test]
fn a_write_that_went_astray_makes_a_replica_look_no_further() {
    let trio = Trio::start(Flavour::MariaDb10);
    let sqluice = Start::new(Engine::Epoll, config(&trio.servers)).run_with_servers_up(3);
    let before = committed(trio.primary());
    let [first, second] = trio.replicas() else { panic!("there are two") };
    first.stop_applying();
    first.root("CREATE TABLE test.astray (id INT PRIMARY KEY)");
    assert_ne!(committed(first), before, "the write is in the replica's own binary log");
    trio.primary().direct().execute("CREATE TABLE test.t (id INT PRIMARY KEY)");
    // By then all were asked again.
    await_seen(&sqluice, 2, &committed(second));
    await_seen(&sqluice, 0, &committed(trio.primary()));
    assert_eq!(seen(&sqluice, 1), Some(before));
}

#[test]
fn a_server_without_gtids_is_up_and_has_no_position() {
    let options = [
        (Flavour::MySql97, "--gtid-mode=OFF_PERMISSIVE"),
        // Without a binary log there is nothing that a replica could follow.
        (Flavour::MariaDb10, "--skip-log-bin"),
    ];
    for (flavour, option) in options {
        let server = [Server::start(flavour, &[option])];
        server[0].direct().execute("CREATE TABLE test.t (id INT PRIMARY KEY)");
        let sqluice = Start::new(Engine::Epoll, config(&server)).run_with_servers_up(1);
        assert_eq!(seen(&sqluice, 0), None, "{flavour:?}");
    }
}
