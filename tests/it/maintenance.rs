//! What an operator does on a normal day: takes one server after the other out of use, restarts it, and nobody notices.

use std::thread;

use serde_json::Value;

use crate::compare::execute_payload;
use crate::harness::checker::{Load, Phase};
use crate::harness::{
    Account, Client, Engine, Flavour, Server, Shape, Sqluice, Start, Trio, cluster, cluster_on, eventually,
    free_address, user,
};
use crate::promotion::{await_following, await_primary, in_front_of, set};

/// At work while the servers are restarted.
const CLIENTS: u32 = 100;

/// Longer than the test takes: what is ended at its end is ended by `disable`.
const BUDGET: &str = "10m";

/// Servers may have as many clients as two of them have together while sessions move; and no replica has temporary tables of
/// its primary's sessions, which it would lose when it is restarted.
fn prepare(server: &Server) {
    server.root("SET GLOBAL max_connections = 1000");
    if server.flavour.is_mariadb() {
        server.root("SET GLOBAL binlog_format = 'ROW'");
    }
}

/// What `sqluice sessions` says of the session of this client.
pub(crate) fn session_of(sqluice: &Sqluice, client: &Client) -> Value {
    let mine = |session: &Value| session["id"] == client.greeting.connection_id;
    sqluice.sessions().into_iter().find(mine).expect("the session is there")
}

/// A session that has set this and that, and keeps it wherever it goes.
pub(crate) struct Keeper {
    pub(crate) client: Client,
    prepared: u32,
}

impl Keeper {
    pub(crate) fn new(sqluice: &Sqluice, user: &'static str) -> Keeper {
        let mut client = sqluice.login(&Account::new(user, user).database("test")).expect("the user logs in");
        client.execute("SET @who = 'me', time_zone = '+03:00'");
        let payload = [&[0x16][..], b"SELECT CONCAT(@who, ' ', @@time_zone, ' ', DATABASE())"].concat();
        let reply = client.ask(Shape::Prepare, &payload).ok();
        let prepared = u32::from_le_bytes(reply.packets[0][1..5].try_into().expect("four bytes"));
        Keeper { client, prepared }
    }

    pub(crate) fn keeps_all(&mut self) {
        assert_eq!(self.client.value("SELECT CONCAT(@who, ' ', @@time_zone, ' ', DATABASE())"), "me +03:00 test");
        let payload = execute_payload(self.client.capabilities, self.prepared, 0, &[]);
        let reply = self.client.ask(Shape::Results, &payload).ok();
        assert!(reply.rows[0].ends_with(b"me +03:00 test"), "{reply:?}");
    }
}

/// Until nobody of this process is at the server any more; what the command printed.
pub(crate) fn drain(sqluice: &Sqluice, server: &str) -> String {
    let told = sqluice.command(&["drain", server, "--budget", BUDGET]).expect_success("sqluice drain");
    assert!(told.ends_with(&format!("nobody is at {server} any more\n")), "{told}");
    told
}

/// The server is stopped and started as the replica that it is, and used again.
fn restart(sqluice: &Sqluice, trio: &Trio, index: usize, primary: usize) {
    let name = format!("db{}", index + 1);
    trio.servers[index].stop();
    sqluice.await_health(&name, "down");
    trio.restart_as_replica(index);
    prepare(&trio.servers[index]);
    await_following(&trio.servers[index], &trio.servers[primary]);
    let told = sqluice.command(&["enable", &name]).expect_success("sqluice enable");
    assert!(told.contains("is in use"), "{told}");
    sqluice.await_servers_up(3);
}

pub(crate) fn service(sqluice: &Sqluice, server: &str) -> String {
    let status = sqluice.status();
    let servers = status["clusters"][0]["servers"].as_array().expect("the cluster has servers").clone();
    let row = servers.into_iter().find(|row| row["name"] == server).expect("it is configured");
    row["service"].as_str().expect("a text").to_owned()
}

/// No other server can show what a transaction has begun to read at one that is out of use.
fn a_snapshot_ends_with_its_replica(sqluice: &Sqluice, trio: &Trio) {
    trio.primary().direct().execute("CREATE TABLE test.seen (a INT)");
    trio.await_replicas();
    let mut reader = sqluice.login(&Account::new("app", "app").database("test")).expect("the user logs in");
    reader.execute("START TRANSACTION READ ONLY");
    reader.execute("SELECT a FROM seen");
    let replica = session_of(sqluice, &reader)["replica"].as_str().expect("the read ran at a replica").to_owned();
    let told = sqluice.command(&["drain", &replica, "--dry-run"]).expect_success("sqluice drain --dry-run");
    assert!(told.contains("transaction"), "{told}");
    sqluice.command(&["disable", &replica]).expect_success("sqluice disable");
    let error = reader.query("SELECT a FROM seen").failed();
    assert_eq!((error.code, &*error.state), (1053, "08S01"), "{error}");
    sqluice.command(&["enable", &replica]).expect_success("sqluice enable");
}

fn rolling_restart(flavour: Flavour) {
    let trio = set(flavour);
    trio.servers.iter().for_each(prepare);
    let sqluice = in_front_of(&trio, "manual");
    await_primary(&sqluice, "db1");
    a_snapshot_ends_with_its_replica(&sqluice, &trio);
    let load = Load::varied(sqluice.address, trio.primary(), CLIENTS);
    let mut keepers = ["app", "other"].map(|user| Keeper::new(&sqluice, user));
    load.await_writes(3);

    for replica in [1, 2] {
        let name = format!("db{}", replica + 1);
        drain(&sqluice, &name);
        restart(&sqluice, &trio, replica, 0);
        load.await_writes(3);
        keepers.iter_mut().for_each(Keeper::keeps_all);
    }

    // The primary, with a session that cannot leave it and one that will.
    let mut bound = sqluice.login(&Account::new("other", "other").database("test")).expect("the user logs in");
    bound.execute("CREATE TEMPORARY TABLE mine (a INT)");
    let mut transaction = sqluice.login(&Account::new("app", "app").database("test")).expect("the user logs in");
    transaction.execute("BEGIN");
    transaction.execute(&format!("INSERT INTO {} (client, number) VALUES ({CLIENTS}, 1)", load.table()));
    let told = sqluice.command(&["drain", "db1", "--dry-run"]).expect_success("sqluice drain --dry-run");
    assert!(told.contains("is in use") && told.contains("temporary table"), "{told}");
    assert!(told.contains("sqluice switchover db2 or db3"), "{told}");

    let told = thread::scope(|scope| {
        let drained = scope.spawn(|| drain(&sqluice, "db1"));
        eventually("db1 is draining", || (service(&sqluice, "db1") == "draining").then_some(()));
        assert!(sqluice.command(&["reload"]).success);
        assert_eq!(service(&sqluice, "db1"), "draining", "a reload changes nothing of it");
        // Whoever began something brings it to its end; then all wait for the next primary, but for these two.
        eventually("all others wait", || {
            let at_work =
                |session: &Value| session["server"] == "db1" && !session["ties"].as_array().unwrap().is_empty();
            let ids = [bound.greeting.connection_id, transaction.greeting.connection_id].map(Value::from);
            let sessions = sqluice.sessions();
            sessions.iter().filter(|session| at_work(session)).all(|session| ids.contains(&session["id"])).then_some(())
        });
        transaction.execute("COMMIT");
        bound.execute("INSERT INTO mine VALUES (1)");
        sqluice.command(&["switchover", "db2"]).expect_success("sqluice switchover");
        load.await_writes(3);
        assert_eq!(bound.value("SELECT a FROM mine"), "1", "it stays where it has that");
        assert_eq!(session_of(&sqluice, &bound)["server"], "db1");
        let told = sqluice.command(&["disable", "db1"]).expect_success("sqluice disable");
        assert!(told.contains("out of use"), "{told}");
        let error = bound.query("SELECT a FROM mine").failed();
        assert_eq!((error.code, &*error.state), (1053, "08S01"), "{error}");
        drained.join().expect("the drain comes to its end")
    });
    assert!(told.contains("temporary table"), "who blocks is shown: {told}");
    assert!(told.contains(" left, 1 ended with error 1053"), "{told}");
    restart(&sqluice, &trio, 0, 1);
    load.await_writes(3);
    keepers.iter_mut().for_each(Keeper::keeps_all);
    transaction.execute("DO 1");

    let committed = format!("SELECT COUNT(*) FROM {} WHERE client = {CLIENTS}", load.table());
    assert_eq!(trio.servers[1].root(&committed).trim(), "1");
    trio.servers[1].direct().execute(&format!("DELETE FROM {} WHERE client = {CLIENTS}", load.table()));
    let report = load.stop(&trio.servers[1]);
    report.expect_clean(&format!("{flavour:?}: each server restarted under {CLIENTS} clients"));
    assert!(report.errors.is_empty(), "nobody was bound of those");
    servers_are_shut_down_without_a_word_to_us(&sqluice, &trio);
}

pub(crate) fn await_end(server: &Server) {
    eventually("the server has ended", || (!server.is_running()).then_some(()));
}

/// SHUTDOWN, of a replica and then of the primary, db2: what begins there goes elsewhere or waits, and sessions go on as far
/// as their server lets them.
fn servers_are_shut_down_without_a_word_to_us(sqluice: &Sqluice, trio: &Trio) {
    let is_mariadb = trio.servers[0].flavour.is_mariadb();
    let load = Load::start(sqluice.address, &trio.servers[1], 10);
    load.await_writes(3);
    trio.servers[0].root("SHUTDOWN");
    sqluice.await_health("db1", "down");
    load.await_writes(3);
    await_end(&trio.servers[0]);
    trio.restart_as_replica(0);
    await_following(&trio.servers[0], &trio.servers[1]);
    sqluice.await_servers_up(3);

    let mut idle = Keeper::new(sqluice, "other");
    trio.servers[1].root(if is_mariadb { "SHUTDOWN WAIT FOR ALL REPLICAS" } else { "SHUTDOWN" });
    sqluice.await_health("db2", "down");
    await_end(&trio.servers[1]);
    sqluice.command(&["switchover", "db3"]).expect_success("sqluice switchover");
    await_primary(sqluice, "db3");
    load.await_writes(3);
    idle.keeps_all();
    let report = load.stop(&trio.servers[2]);
    report.expect_clean("a replica and a primary shut down");
    assert_eq!(report.errors_in(Phase::Login) + report.errors_in(Phase::Read), 0, "whoever comes finds a server");
}

#[test]
fn each_server_of_a_set_is_restarted_and_no_client_notices() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        rolling_restart(flavour);
    }
}

/// Two static replicas, one of which is drained: a session there that has set something, and one in a transaction.
#[test]
fn readers_at_a_replica_leave_for_another_one_with_what_they_have_set() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let server = Server::shared(flavour);
        // One server under two addresses: they have the same accounts and positions.
        let body = cluster_on(&[server, server]).replacen("\"127.0.0.1:", "\"localhost:", 1) + &user("app", "app");
        let sqluice = Start::new(Engine::Epoll, body).run_with_servers_up(2);
        let mut keepers = [(); 4].map(|()| Keeper::new(&sqluice, "app"));
        let mut reader = sqluice.login(&Account::new("app", "app").database("test")).expect("app logs in");
        while session_of(&sqluice, &reader)["server"] != "s1" {
            reader = sqluice.login(&Account::new("app", "app").database("test")).expect("app logs in");
        }
        reader.execute("BEGIN");
        reader.execute("SELECT 1");
        let told = sqluice.command(&["drain", "s1", "--dry-run"]).expect_success("sqluice drain --dry-run");
        assert!(told.contains("2 sessions could leave now, 1 stay") && told.contains("transaction"), "{told}");
        thread::scope(|scope| {
            let drained = scope.spawn(|| drain(&sqluice, "s1"));
            eventually("all others are at s2", || {
                let at_first = |session: &Value| session["server"] == "s1";
                let sessions = sqluice.sessions();
                let mine = Value::from(reader.greeting.connection_id);
                sessions.iter().filter(|session| at_first(session)).all(|session| session["id"] == mine).then_some(())
            });
            keepers.iter_mut().for_each(Keeper::keeps_all);
            reader.execute("COMMIT");
            let told = drained.join().expect("the drain comes to its end");
            assert!(told.contains("3 sessions: 3 left, 0 ended"), "{told}");
        });
        assert_eq!(session_of(&sqluice, &reader)["server"], "s2");
        assert_eq!(reader.value("SELECT 1"), "1", "{flavour:?}");
    }
}

#[test]
fn a_server_that_is_full_is_still_checked_at_its_extra_port() {
    let free = free_address();
    let port = format!("--extra-port={}", free.port());
    let server = Server::start(Flavour::MariaDb10, &["--max-connections=10", &port, "--extra-max-connections=5"]);
    let mut guests = Vec::new();
    let refused = loop {
        match Client::login(server.address, &Account::new("app", "app")) {
            Ok(guest) => guests.push(guest),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code, 1040);
    let with_port = |port: u16| {
        cluster(&server).replace("name = \"s1\"", &format!("name = \"s1\"\nextra_port = {port}")) + &user("app", "app")
    };
    let sqluice = Start::new(Engine::Epoll, with_port(free.port())).run_with_servers_up(1);
    // Sessions go where they belong, and find a place when there is one.
    guests.truncate(5);
    assert_eq!(sqluice.app().value("SELECT @@port"), server.address.port().to_string());
}
