//! What a split session may rely on at the nodes of a Galera cluster, which know no positions to be waited for: they are
//! told to wait by themselves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::checker::Load;
use crate::harness::{
    Account, Client, Engine, Galera, Server, Shape, Sqluice, Start, eventually, fresh_name, on_both_engines,
    split_galera, split_galera_of_equals,
};
use crate::maintenance::session_of;
use crate::splitting::account;

#[test]
fn a_node_that_lacks_what_was_written_before_is_waited_for_also_after_a_reset() {
    let galera = Galera::start();
    the_node_with_the_writes_is_drained_and_nobody_notices(&galera);
    let nodes = &galera.servers[1..];
    nodes.iter().for_each(Server::listen);
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, split_galera(&galera)).run_with_servers_up(3);
        let database = galera.primary().fresh_database();
        let mut client = sqluice.login(&account(&database)).unwrap_or_else(|error| panic!("app logs in: {error}"));
        let mut reads = 0;
        for is_reset in [false, true, true] {
            if is_reset {
                client.ask(Shape::Single, b"\x1F").ok();
            }
            let table = fresh_name("t");
            let stopped = Stopped::new(nodes);
            // Behind a definition of its own, the session asks the node for views, which waits as well.
            galera.primary().direct().execute(&format!("CREATE TABLE {database}.{table} (n INT PRIMARY KEY)"));
            let tables = stopped.read(&mut client, &format!("SHOW TABLES LIKE '{table}'"));
            assert_eq!(tables, [[Some(table.clone())]], "reset: {is_reset}");
            let stopped = Stopped::new(nodes);
            client.execute(&format!("INSERT INTO {table} VALUES (1)"));
            let rows = stopped.read(&mut client, &format!("SELECT n FROM {table}"));
            assert_eq!(rows, [[Some("1".to_owned())]], "reset: {is_reset}");
            reads += nodes.iter().map(|node| node.heard(&format!("SELECT n FROM {table}"))).sum::<usize>();
        }
        assert!(reads > 1, "reads ran at nodes, also after a reset");
        drop((client, sqluice));
        connections_that_sessions_share_wait_when_they_are_told_to(&galera, engine);
    });
}

/// Another node gets the writes, and whoever is at the one that is drained goes on there.
fn the_node_with_the_writes_is_drained_and_nobody_notices(galera: &Galera) {
    let sqluice = Start::new(Engine::IoUring, split_galera_of_equals(galera)).run_with_servers_up(3);
    let writer = || {
        let status = sqluice.status();
        let name = status["pools"].as_array()?.iter().find(|pool| pool["name"] == "write")?["usable"][0].as_str()?;
        Some(name.to_owned())
    };
    let first = eventually("a node has the writes", writer);
    let load = Load::start(sqluice.address, galera.primary(), 8);
    load.await_writes(3);
    let told = sqluice.command(&["drain", &first, "--budget", "10m"]).expect_success("sqluice drain");
    assert!(told.ends_with(&format!("nobody is at {first} any more\n")), "{told}");
    let second = eventually("another node has the writes", || writer().filter(|second| *second != first));
    load.await_writes(3);
    sqluice.command(&["enable", &first]).expect_success("sqluice enable");
    load.await_writes(3);
    let place = second.strip_prefix("db").and_then(|number| number.parse::<usize>().ok()).expect("a number");
    load.stop(&galera.servers[place - 1]).expect_quiet("the node with the writes is drained");
}

/// How long a row takes at the other nodes, in seconds.
const LATE: u64 = 8;

#[test]
fn another_node_may_take_its_time_to_have_what_a_session_wrote() {
    let galera = Galera::start();
    let database = galera.primary().fresh_database();
    galera.primary().direct().execute(&format!("CREATE TABLE {database}.t (n INT PRIMARY KEY)"));
    galera.await_all();
    let others = &galera.servers[1..];
    others.iter().for_each(|node| applies_late(node, &database));
    on_both_engines(|engine| {
        galera.primary().root(&format!("DELETE FROM {database}.t"));
        galera.await_all();
        let (_sqluice, mut client) = leaves_behind_its_write(&galera, engine, &database);
        let waits = || others.iter().map(|node| node.heard("wsrep_sync_wait=1 FOR SELECT 1")).sum::<usize>();
        let (before, written) = (waits(), Instant::now());
        client.execute("INSERT INTO t VALUES (2)");
        assert!(written.elapsed() > Duration::from_secs(LATE - 2), "it waited: {:?}", written.elapsed());
        assert_eq!(waits() - before, 1, "and was not broken off");
        assert_eq!(client.value("SELECT COUNT(*) FROM t"), "2");
    });
    // A node that gives up says so, and the client hears it.
    others.iter().for_each(|node| {
        node.root("SET GLOBAL wsrep_provider_options = 'repl.causal_read_timeout=PT2S'");
    });
    galera.primary().root(&format!("DELETE FROM {database}.t"));
    galera.await_all();
    let (_sqluice, mut client) = leaves_behind_its_write(&galera, Engine::IoUring, &database);
    let error = client.query("INSERT INTO t VALUES (2)").failed();
    assert_eq!((error.code, &*error.state), (1205, "HY000"), "{error}");
    eventually("the node has all", || client.query("INSERT INTO t VALUES (2)").error.is_none().then_some(()));
    assert_eq!(client.value("SELECT COUNT(*) FROM t"), "2");
}

/// A session that has written a row and must go on at another node, which applies that late.
fn leaves_behind_its_write(galera: &Galera, engine: Engine, database: &str) -> (Sqluice, Client) {
    let sqluice = Start::new(engine, split_galera_of_equals(galera)).run_with_servers_up(3);
    let mut client = sqluice.login(&account(database)).unwrap_or_else(|error| panic!("app logs in: {error}"));
    client.execute("INSERT INTO t VALUES (1)");
    assert_eq!(session_of(&sqluice, &client)["server"], "db1");
    sqluice.command(&["disable", "db1"]).expect_success("sqluice disable");
    (sqluice, client)
}

/// A row with the number 1 that another node has written takes this one some seconds; it is in step all the while.
fn applies_late(node: &Server, database: &str) {
    node.listen();
    node.root("SET GLOBAL slave_run_triggers_for_rbr = YES");
    node.root(&format!(
        "SET SESSION wsrep_on = OFF; CREATE TRIGGER {database}.late BEFORE INSERT ON {database}.t FOR EACH ROW \
         DO IF(NEW.n = 1, SLEEP({LATE}), 0)"
    ));
}

/// One connection to the first node goes round among sessions, which write at another node and read at this one.
fn connections_that_sessions_share_wait_when_they_are_told_to(galera: &Galera, engine: Engine) {
    let first = "name = \"db1\"\n";
    let user = "[[user]]\nname = \"shares\"\npassword = \"shares\"\nbackend_user = \"app\"\n\
                backend_password = \"app\"\npool = \"write\"\nbackend_reuse = \"transaction\"\n";
    let body = split_galera(galera).replacen(first, &format!("{first}max_connections = 1\n"), 1) + user;
    let sqluice = Start::new(engine, body).run_with_servers_up(3);
    let database = galera.primary().fresh_database();
    let mut other = galera.servers[1].direct();
    other.execute(&format!("CREATE TABLE {database}.t (n INT PRIMARY KEY)"));
    galera.await_all();
    let account = Account::new("shares", "shares").database(&database);
    let mut clients = [(); 3].map(|()| sqluice.login(&account).unwrap_or_else(|error| panic!("it logs in: {error}")));
    for round in 0..6 {
        let client = &mut clients[round % 3];
        let read = format!("SELECT n FROM t WHERE n = {round}");
        client.execute("SET SESSION wsrep_sync_wait = 1");
        let stopped = Stopped::new(&galera.servers[..1]);
        other.execute(&format!("INSERT INTO {database}.t VALUES ({round})"));
        let rows = stopped.read(client, &read);
        assert_eq!(rows, [[Some(round.to_string())]], "{read}");
        client.execute("SET SESSION wsrep_sync_wait = DEFAULT");
    }
    let stopped = Stopped::new(&galera.servers[..1]);
    other.execute(&format!("INSERT INTO {database}.t VALUES (6)"));
    // The session keeps its connection behind this, as it may have set anything.
    let rows = stopped.read(&mut clients[0], "SET STATEMENT wsrep_sync_wait = 1 FOR SELECT n FROM t WHERE n = 6");
    assert_eq!(rows, [[Some("6".to_owned())]]);
}

/// Nodes that apply nothing.
struct Stopped(Vec<Client>);

impl Stopped {
    fn new(nodes: &[Server]) -> Stopped {
        let lock = |node: &Server| {
            let mut client = node.direct();
            client.execute("FLUSH TABLES WITH READ LOCK");
            client
        };
        Stopped(nodes.iter().map(lock).collect())
    }

    /// What a session reads while they go on only when the read waits for them.
    fn read(mut self, client: &mut Client, read: &str) -> Vec<Vec<Option<String>>> {
        let is_answered = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let rows = client.rows(read);
                is_answered.store(true, Ordering::Release);
                rows
            });
            eventually("the read waits at a node, or is answered too early", || {
                let waits = self.0.iter_mut().any(is_waited_for);
                (waits || is_answered.load(Ordering::Acquire)).then_some(())
            });
            for node in &mut self.0 {
                node.execute("UNLOCK TABLES");
            }
            reader.join().expect("the read is answered")
        })
    }
}

/// Whether a read of sqluice is under way there; the first one on a connection may be a question of its own.
fn is_waited_for(node: &mut Client) -> bool {
    let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'app' AND \
                 command = 'Query' AND (info LIKE 'SHOW %' OR info LIKE '%SELECT n %' OR \
                 info LIKE '%information_schema.views%')";
    node.value(count) != "0"
}
