//! Replication sets in every kind of trouble: what is noticed, who is still read from, and who may write. One set a test,
//! since its servers are what takes time.

use std::thread;

use serde_json::Value;

use crate::harness::checker::Load;
use crate::harness::{Cutter, Disk, Engine, Flavour, Group, Server, Sqluice, Start, Trio, eventually};
use crate::maintenance::{drain, service};

/// A check that takes too long would count as silence; here it may take as long as anything may.
fn config(topology: &str, servers: &[Server]) -> String {
    let mut text = format!(
        "[cluster.shop]\ntopology = \"{topology}\"\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
         check_interval = \"50ms\"\ncheck_timeout = \"60s\"\nmax_replica_lag = \"1s\"\n\n",
    );
    for (index, server) in servers.iter().enumerate() {
        text += &format!("[[cluster.shop.server]]\nname = \"db{}\"\naddress = \"{}\"\n\n", index + 1, server.address);
    }
    text + "[pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\n\
            [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\nfallback = \"write\"\n\n\
            [[user]]\nname = \"app\"\npassword = \"app\"\npool = \"read\"\n\n"
}

/// What the status says of the set.
struct Shown<'a>(&'a Sqluice);

impl Shown<'_> {
    fn cluster(&self) -> Value {
        self.0.status()["clusters"][0].clone()
    }

    fn field(&self, server: usize, field: &str) -> String {
        let cluster = self.cluster();
        cluster["servers"][server][field].as_str().unwrap_or_else(|| panic!("no {field} in {cluster:#}")).to_owned()
    }

    #[track_caller]
    fn await_field(&self, server: usize, field: &str, expected: &str) {
        let is_so = || (self.field(server, field) == expected).then_some(());
        eventually(&format!("{field} of db{} is {expected}", server + 1), is_so);
    }

    #[track_caller]
    fn await_unfit(&self, server: usize, reason: &str) {
        eventually(&format!("db{} is unfit: {reason}", server + 1), || {
            let is_so = self.field(server, "fitness") == "unfit" && self.field(server, "reason").starts_with(reason);
            is_so.then_some(())
        });
    }

    #[track_caller]
    fn await_fit(&self, server: usize) {
        self.await_field(server, "fitness", "fit");
    }

    /// Waits until some alarm says so.
    #[track_caller]
    fn await_alarm(&self, words: &str) {
        eventually(words, || self.cluster()["alarms"].to_string().contains(words).then_some(()));
    }

    #[track_caller]
    fn await_no_alarm(&self) {
        eventually("nothing is wrong", || (self.cluster()["alarms"] == Value::Array(Vec::new())).then_some(()));
    }
}

fn receiving(server: &Server, verb: &str) {
    server.root(&format!("{verb} {} IO_THREAD", if server.flavour.is_mariadb() { "SLAVE" } else { "REPLICA" }));
}

fn set_writable(server: &Server, writable: bool) {
    server.root(match (server.flavour.is_mariadb(), writable) {
        (_, true) => "SET GLOBAL read_only = OFF",
        (true, false) => "SET GLOBAL read_only = ON",
        (false, false) => "SET GLOBAL super_read_only = ON",
    });
}

/// What an operator says to make a replica the primary.
fn promote(server: &Server) {
    server.root(match server.flavour.is_mariadb() {
        true => "STOP SLAVE; RESET SLAVE ALL",
        false => "STOP REPLICA; RESET REPLICA ALL",
    });
    set_writable(server, true);
}

#[test]
fn replicas_are_read_from_only_while_they_follow_closely() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        let mut primary = trio.primary().direct();
        primary.execute("CREATE TABLE test.t (id INT PRIMARY KEY)");
        trio.await_replicas();
        let sqluice = Start::new(Engine::Epoll, config("replication", &trio.servers)).run_with_servers_up(3);
        let shown = Shown(&sqluice);
        (1..3).for_each(|server| shown.await_fit(server));
        shown.await_no_alarm();
        let [troubled, sound] = trio.replicas() else { panic!("there are two") };
        let sound_port = sound.address.port().to_string();

        // Its applier waits for a lock.
        let mut locking = troubled.direct();
        locking.execute("LOCK TABLES test.t READ");
        primary.execute("INSERT INTO test.t VALUES (1)");
        shown.await_unfit(1, "further behind its primary than max_replica_lag (1.0 s)");
        // Nor may the other one be late; nothing is written after that.
        shown.await_fit(2);
        for _ in 0..4 {
            assert_eq!(sqluice.app().value("SELECT @@port"), sound_port);
        }
        locking.execute("UNLOCK TABLES");
        shown.await_fit(1);

        // Its threads do not run.
        troubled.stop_applying();
        shown.await_unfit(1, "does not apply what it receives");
        troubled.start_applying();
        shown.await_fit(1);
        receiving(troubled, "STOP");
        shown.await_unfit(1, "does not reach its source");
        receiving(troubled, "START");
        shown.await_fit(1);

        // It hears nothing any more, over a connection that stands.
        let link = Cutter::before(trio.primary().address);
        troubled.follow_at(link.address);
        shown.await_fit(1);
        link.hush();
        primary.execute("INSERT INTO test.t VALUES (10)");
        shown.await_unfit(1, "further behind its primary than max_replica_lag (1.0 s)");
        link.speak();
        shown.await_fit(1);

        // Who may not ask for it is told so, and measures by GTIDs alone.
        let unprivileged = config("replication", &trio.servers)
            .replace("{ user = \"monitor\", password = \"monitor\" }", "{ user = \"other\", password = \"other\" }");
        let unprivileged = Start::new(Engine::Epoll, unprivileged).run_with_servers_up(3);
        Shown(&unprivileged).await_alarm("db2 does not show its replication to the monitor's account");
        troubled.stop_applying();
        primary.execute("INSERT INTO test.t VALUES (11)");
        Shown(&unprivileged).await_unfit(1, "further behind its primary than max_replica_lag (1.0 s)");
        troubled.start_applying();
        Shown(&unprivileged).await_fit(1);
        drop(unprivileged);
        shown.await_fit(1);

        // It breaks by a row that it should not have.
        troubled.root("SET sql_log_bin = 0; SET GLOBAL read_only = OFF; INSERT INTO test.t VALUES (2)");
        shown.await_alarm("db2 is a replica and takes writes");
        set_writable(troubled, false);
        primary.execute("INSERT INTO test.t VALUES (2)");
        shown.await_unfit(1, "does not apply what it receives: ");
        troubled.root(match flavour.is_mariadb() {
            true => "SET sql_log_bin = 0; DELETE FROM test.t WHERE id = 2",
            false => "SET GLOBAL super_read_only = OFF; SET sql_log_bin = 0; DELETE FROM test.t WHERE id = 2",
        });
        set_writable(troubled, false);
        troubled.start_applying();
        shown.await_fit(1);
        shown.await_no_alarm();

        // It is meant to be behind, and is not more than that.
        troubled.lag(3600);
        primary.execute("INSERT INTO test.t VALUES (3)");
        sound.root("SELECT 1");
        shown.await_fit(1);

        // Both are of no use: the fallback is, at once.
        trio.replicas().iter().for_each(Server::stop_applying);
        (1..3).for_each(|server| shown.await_unfit(server, "does not apply what it receives"));
        assert_eq!(sqluice.app().value("SELECT @@port"), trio.primary().address.port().to_string());
        sound.start_applying();
        shown.await_fit(2);

        // A transaction of its own.
        if !flavour.is_mariadb() {
            sound.root("SET GLOBAL super_read_only = OFF");
        }
        sound.root("CREATE TABLE test.astray (id INT PRIMARY KEY)");
        set_writable(sound, false);
        shown.await_alarm("db3 has transactions that the primary does not have");
    }
}

/// While the thread that receives waits for room on a full disk, whoever asks MariaDB for the state of replication waits, too.
#[test]
fn a_replica_that_hangs_when_it_is_asked_for_its_replication_is_measured_by_its_position() {
    let disk = Disk::start(2);
    let primary = Server::start(Flavour::MariaDb10, &[]);
    let crowded = Server::start(Flavour::MariaDb10, &[&format!("--relay-log={}", disk.path("relay"))]);
    crowded.follow(&primary);
    let servers = [primary, crowded];
    let short = config("replication", &servers).replace("\"60s\"", "\"1s\"");
    let sqluice = Start::new(Engine::Epoll, short).run_with_servers_up(2);
    let [primary, crowded] = &servers;
    let shown = Shown(&sqluice);
    shown.await_fit(1);

    primary.root(
        "CREATE TABLE test.large (content LONGBLOB); SET SESSION binlog_format = ROW; \
         INSERT INTO test.large VALUES (REPEAT('x', 3000000))",
    );
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SHOW ALL SLAVES STATUS%'";
    eventually("the question hangs", || (crowded.root(waiting).trim() != "0").then_some(()));
    shown.await_unfit(1, "further behind its primary than max_replica_lag (1.0 s)");
    assert_eq!((shown.field(1, "state"), shown.field(1, "role")), ("up".to_owned(), "replica".to_owned()));
    // Nobody else waits for it.
    set_writable(primary, false);
    shown.await_field(0, "role", "replica");
    set_writable(primary, true);
    shown.await_field(0, "role", "primary");
    assert_eq!(sqluice.app().value("SELECT @@port"), primary.address.port().to_string());
}

#[test]
fn a_primary_that_returns_after_a_failover_is_not_used() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        let mut sqluice = Start::new(Engine::Epoll, config("replication", &trio.servers)).run_with_servers_up(3);
        let shown = Shown(&sqluice);
        shown.await_field(0, "role", "primary");
        // All that it has was seen before it goes.
        trio.await_replicas();

        trio.servers[0].kill();
        shown.await_field(0, "state", "down");
        // They have lost their source, and there is nobody newer.
        (1..3).for_each(|server| shown.await_field(server, "fitness", "last resort"));
        assert_ne!(sqluice.app().value("SELECT @@port"), trio.servers[0].address.port().to_string());
        promote(&trio.servers[1]);
        shown.await_field(1, "role", "primary");

        trio.restart(0);
        shown.await_field(0, "role", "deposed primary");
        shown.await_alarm("db1 took writes before another server took over, and still does");
        assert_eq!(shown.field(1, "role"), "primary");
        // With the new one gone there is none, whatever the old one says of itself.
        trio.servers[1].kill();
        shown.await_field(1, "state", "down");
        assert_eq!(shown.field(0, "role"), "deposed primary");
        // The next process has heard nothing of that but from the one before it.
        sqluice.restart();
        let shown = Shown(&sqluice);
        shown.await_field(0, "state", "up");
        assert_eq!(shown.field(0, "role"), "deposed primary");
        set_writable(&trio.servers[0], false);
        shown.await_field(0, "role", "replica");
        set_writable(&trio.servers[0], true);
        shown.await_field(0, "role", "primary");
    }
}

/// Under clients who read and write, in transactions and out of them: a secondary, which leaves the group and comes back,
/// and the primary. Then the first one is the primary again.
fn members_are_drained_one_after_the_other(group: &Group, sqluice: &Sqluice) {
    let shown = Shown(sqluice);
    let load = Load::start(sqluice.address, &group.servers[0], 10);
    load.await_writes(3);
    drain(sqluice, "db2");
    group.servers[1].root("STOP GROUP_REPLICATION");
    load.await_writes(3);
    group.servers[1].root("START GROUP_REPLICATION USER = 'repl', PASSWORD = 'repl'");
    sqluice.command(&["enable", "db2"]).expect_success("sqluice enable");
    shown.await_fit(1);

    let told = sqluice.command(&["drain", "db1", "--dry-run"]).expect_success("sqluice drain --dry-run");
    assert!(told.contains("group_replication_set_as_primary() for db2 or db3"), "{told}");
    thread::scope(|scope| {
        let drained = scope.spawn(|| drain(sqluice, "db1"));
        eventually("db1 is draining", || (service(sqluice, "db1") == "draining").then_some(()));
        eventually("whoever began something there has ended it", || {
            let is_tied = |session: &Value| session["server"] == "db1" && session["ties"] != Value::Array(Vec::new());
            (!sqluice.sessions().iter().any(is_tied)).then_some(())
        });
        make_primary_of_group(group, 1);
        load.await_writes(3);
        drained.join().expect("the drain comes to its end");
    });
    shown.await_field(1, "role", "primary");
    sqluice.command(&["enable", "db1"]).expect_success("sqluice enable");
    load.await_writes(3);
    let report = load.stop(&group.servers[1]);
    report.expect_clean("members of a group are drained");
    assert!(report.errors.is_empty(), "nobody notices");
    make_primary_of_group(group, 0);
    shown.await_field(0, "role", "primary");
}

fn make_primary_of_group(group: &Group, member: usize) {
    let uuid = group.servers[member].root("SELECT @@server_uuid");
    group.servers[member].root(&format!("SELECT group_replication_set_as_primary('{}')", uuid.trim()));
}

#[test]
fn the_members_of_a_group_say_who_is_the_primary() {
    let group = Group::start();
    let body = config("group-replication", &group.servers)
        .replace("check_timeout", "hold_timeout = \"60s\"\ncheck_timeout")
        .replace("pool = \"read\"", "split = { write = \"write\", read = \"read\" }");
    let sqluice = Start::new(Engine::Epoll, body).run_with_servers_up(3);
    let shown = Shown(&sqluice);
    shown.await_field(0, "role", "primary");
    for server in 1..3 {
        shown.await_field(server, "role", "replica");
        shown.await_fit(server);
    }
    shown.await_no_alarm();
    members_are_drained_one_after_the_other(&group, &sqluice);

    // Who leaves the group lives, and is not used.
    group.servers[2].root("STOP GROUP_REPLICATION");
    shown.await_unfit(2, "is OFFLINE in its group");
    group.servers[2].root("START GROUP_REPLICATION USER = 'repl', PASSWORD = 'repl'");
    shown.await_fit(2);

    // The group makes another one its primary, and takes the old one back as a secondary.
    group.servers[0].root("STOP GROUP_REPLICATION");
    shown.await_unfit(0, "is OFFLINE in its group");
    let is_primary = |server: usize| shown.field(server, "role") == "primary";
    let new = eventually("there is another primary", || (1..3).find(|server| is_primary(*server)));
    group.servers[new].direct().execute("CREATE TABLE test.t (id INT PRIMARY KEY)");

    // Whoever is left alone without the others having said goodbye has no majority.
    let other = 3 - new;
    group.servers[new].kill();
    shown.await_unfit(other, "sees no majority of its group: 1 of 2 online");
}
