//! `backend_reuse = "transaction"` on real servers: many clients over few connections, and nobody meets what another left.

mod dying;
mod prepared;
mod splitting;

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::compare::{Parameter, execute_payload};
use crate::harness::{
    Account, Client, Cutter, Engine, Flavour, Server, ServerError, Shape, Sqluice, Start, eventually, fresh_name,
    on_both_engines,
};

const FLAVOURS: [Flavour; 2] = [Flavour::MariaDb11, Flavour::MySql97];

/// Of everybody who is to get a connection: turns take their time.
const PATIENT: &str = "hold_timeout = \"60s\"";

/// A server, and sqluice in front of it that opens at most so many connections there.
struct House {
    server: &'static Server,
    sqluice: Sqluice,
    database: String,
}

impl House {
    fn open(engine: Engine, flavour: Flavour, connections: usize) -> House {
        let server = Server::shared(flavour);
        House::of(server, Start::new(engine, House::configuration(server.address, connections)))
    }

    fn configuration(address: std::net::SocketAddr, connections: usize) -> String {
        format!(
            "[cluster.main]\ntopology = \"static\"\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
             check_interval = \"100ms\"\ncheck_timeout = \"5s\"\n{PATIENT}\n\n\
             [[cluster.main.server]]\nname = \"s1\"\naddress = \"{address}\"\nrole = \"primary\"\n\
             max_connections = {connections}\n\n[pool.main]\ncluster = \"main\"\nrole = \"primary\"\n\n\
             [[user]]\nname = \"app\"\npassword = \"app\"\npool = \"main\"\nbackend_reuse = \"transaction\"\n"
        )
    }

    /// A house whose sessions lend each other their connections: between two workers, one is closed for another.
    fn of_one_worker(engine: Engine, flavour: Flavour) -> House {
        let server = Server::shared(flavour);
        House::of(server, Start::new(engine, House::configuration(server.address, 1)).workers(1))
    }

    fn of(server: &'static Server, start: Start) -> House {
        let sqluice = start.run_with_servers_up(1);
        let database = server.fresh_database();
        server.direct().execute(&format!(
            "CREATE TABLE {database}.t (id INT AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, n INT NOT NULL)"
        ));
        House { server, sqluice, database }
    }

    fn client(&self) -> Client {
        let account = Account::new("app", "app").database(&self.database);
        self.sqluice.login(&account).unwrap_or_else(|error| panic!("app logs in: {error}"))
    }

    /// A house whose server is reached through `cutter`.
    fn behind(engine: Engine, flavour: Flavour, cutter: &Cutter) -> House {
        House::of(Server::shared(flavour), Start::new(engine, House::configuration(cutter.address, 1)))
    }

    fn kill_all_connections(&self) {
        let text =
            format!("SELECT id FROM information_schema.processlist WHERE user = 'app' AND db = '{}'", self.database);
        for id in self.server.root(&text).lines() {
            self.server.root(&format!("KILL {id}"));
        }
    }

    /// What a statement is told that gets no connection. Everybody else may wait for one.
    #[track_caller]
    fn refused(&self, client: &mut Client, sql: &str) -> ServerError {
        self.set_patience(PATIENT, "hold_timeout = \"1s\"");
        let error = client.query(sql).failed();
        self.set_patience("hold_timeout = \"1s\"", PATIENT);
        error
    }

    #[track_caller]
    fn set_patience(&self, before: &str, now: &str) {
        let path = self.sqluice.config_path();
        let configuration = fs::read_to_string(&path).expect("it was written");
        fs::write(&path, configuration.replace(before, now)).expect("it can be written");
        self.sqluice.command(&["reload"]).expect_success("a reload");
        // Each worker answers, and has looked at its mail before.
        self.sqluice.sessions();
    }

    /// What the status says of the server.
    fn counted(&self, what: &str) -> u64 {
        self.sqluice.status()["clusters"][0]["servers"][0][what].as_u64().expect("a number")
    }
}

fn in_houses(connections: usize, test: impl Fn(&House)) {
    for flavour in FLAVOURS {
        on_both_engines(|engine| {
            eprintln!("{flavour:?}, {engine:?}");
            test(&House::open(engine, flavour, connections));
        });
    }
}

#[test]
fn clients_take_turns_at_one_connection_and_keep_what_they_have_set() {
    in_houses(1, |house| {
        let [mut first, mut second] = [house.client(), house.client()];
        first.execute("SET @who = 'first', SESSION sort_buffer_size = 300000, time_zone = '+03:00'");
        second.execute("SET @who = 'second', sql_mode = 'ANSI_QUOTES'");
        for _ in 0..3 {
            assert_eq!(first.value("SELECT CONCAT(@who, @@sort_buffer_size, @@time_zone)"), "first300000+03:00");
            assert_eq!(second.value("SELECT CONCAT(@who, @@sql_mode)"), "secondANSI_QUOTES");
            assert_eq!(second.value("SELECT @@time_zone"), "SYSTEM");
            assert_eq!(first.value("SELECT DATABASE()"), house.database);
        }
        first.execute("SET autocommit = 0");
        assert_eq!(second.value("SELECT @@autocommit"), "1");
        assert_eq!(first.value("SELECT @@autocommit"), "0");
        first.execute("COMMIT");
        assert_eq!(second.value("SELECT @@autocommit"), "1");
        second.execute("USE information_schema");
        assert_eq!(first.value("SELECT DATABASE()"), house.database);
        assert_eq!(second.value("SELECT DATABASE()"), "information_schema");
    });
}

#[test]
fn what_a_sequence_gave_is_not_asked_of_another_connection() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11] {
        on_both_engines(|engine| {
            let house = House::open(engine, flavour, 1);
            let [mut first, mut second] = [house.client(), house.client()];
            first.execute("CREATE SEQUENCE numbers");
            assert_eq!(first.value("SELECT NEXTVAL(numbers)"), "1");
            assert_eq!(first.value("SELECT LASTVAL(numbers)"), "1", "at once");
            assert_eq!(second.value("SELECT 'taken'"), "taken");
            for text in ["SELECT LASTVAL(numbers)", "SELECT PREVIOUS VALUE FOR numbers"] {
                let error = first.query(text).failed();
                assert_eq!(error.code, 1235, "{error}");
            }
            first.execute("BEGIN");
            assert_eq!(first.value("SELECT NEXT VALUE FOR numbers"), "2");
            assert_eq!(first.value("SELECT LASTVAL(numbers)"), "2");
            first.execute("COMMIT");
        });
    }
}

/// How many connections user app has at a server, where he may have `bound`. A server shows one for a while after it was
/// closed, when another one has its place already: where there are too many, those count that a second look finds again.
fn connections_at(server: &Server, database: &str, bound: usize) -> usize {
    let text = format!("SELECT id FROM information_schema.processlist WHERE user = 'app' AND db = '{database}'");
    let look = || -> HashSet<String> { server.root(&text).lines().map(str::to_owned).collect() };
    let first = look();
    if first.len() <= bound { first.len() } else { first.intersection(&look()).count() }
}

#[test]
fn three_hundred_clients_work_over_twenty_connections() {
    const CLIENTS: usize = 300;
    const CONNECTIONS: usize = 20;
    const ROUNDS: usize = 3;
    in_houses(CONNECTIONS, |house| {
        let most = AtomicUsize::new(0);
        let count = || {
            most.fetch_max(connections_at(house.server, &house.database, CONNECTIONS), Ordering::Relaxed);
        };
        watched(count, || {
            let clients = together(0..CLIENTS, |number| {
                let mut client = house.client();
                let statements = Statements::prepare(&mut client);
                (number, client, statements)
            });
            together(clients, |(number, mut client, mut statements)| {
                for round in 0..ROUNDS {
                    work(&mut client, house, number, round);
                    if (number + round) % ROUNDS == 0 {
                        statements.work(&mut client, number, round);
                    }
                }
            });
        });
        let most = most.into_inner();
        assert!((1..=CONNECTIONS).contains(&most), "there were {most} connections at once");
        let rows = house.server.direct().value(&format!("SELECT COUNT(*) FROM {}.t", house.database));
        assert_eq!(rows, (CLIENTS * (ROUNDS * 3 + 1)).to_string());
    });
}

/// Looks again and again while there is work; the end of that, whichever it is, ends both.
fn watched(look: impl Fn() + Sync, work: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                look();
            }
        });
        let end = catch_unwind(AssertUnwindSafe(work));
        is_over.store(true, Ordering::Relaxed);
        watch.join().expect("it only looks");
        end.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// All of them do a part at once, and all must do it well; nobody waits for one who has failed.
fn together<One: Send, Done: Send>(all: impl IntoIterator<Item = One>, part: impl Fn(One) -> Done + Sync) -> Vec<Done> {
    let part = &part;
    thread::scope(|scope| {
        let parts: Vec<_> = all.into_iter().map(|one| scope.spawn(move || part(one))).collect();
        parts.into_iter().map(|part| part.join().expect("no client saw what is another's")).collect()
    })
}

/// What one client does, and must find: all of it its own.
fn work(client: &mut Client, house: &House, number: usize, round: usize) {
    let zone = format!("+0{}:00", number % 10);
    client.execute(&format!("SET @me = {number}, time_zone = '{zone}'"));
    assert_eq!(client.value("SELECT CONCAT(@me, @@time_zone)"), format!("{number}{zone}"));
    client.execute("BEGIN");
    client.execute(&format!("INSERT INTO t (client, n) VALUES ({number}, {round})"));
    let id = client.value("SELECT LAST_INSERT_ID()");
    assert_eq!(client.value(&format!("SELECT client FROM t WHERE id = {id}")), number.to_string());
    client.execute("COMMIT");
    assert_eq!(client.value("SELECT LAST_INSERT_ID()"), id);
    client.execute(&format!("INSERT INTO t (client, n) VALUES ({number}, {round}), ({number}, {round})"));
    // A client that was slow to ask is told that it was, and never another's number.
    let asked = client.query("SELECT ROW_COUNT()");
    match asked.error.as_ref().map(|error| error.code) {
        Some(code) => assert_eq!(code, 1235),
        None => assert_eq!(asked.text_rows()[0][0].as_deref(), Some("2")),
    }
    let second = client.value("SELECT LAST_INSERT_ID()");
    assert_eq!(client.value(&format!("SELECT client FROM t WHERE id = {second}")), number.to_string());
    assert_eq!(
        client.value("SELECT @@sql_mode LIKE '%ANSI%'"),
        if number.is_multiple_of(7) && round > 0 { "1" } else { "0" }
    );
    if number.is_multiple_of(7) {
        client.execute("SET sql_mode = 'ANSI'");
    }
    match number % 10 {
        0 => with_a_temporary_table(client, number),
        1 => with_a_lock(client, number),
        3 => with_another_schema(client, house),
        _ => {}
    }
}

fn with_a_temporary_table(client: &mut Client, number: usize) {
    client.execute("CREATE TEMPORARY TABLE mine (a INT)");
    client.execute(&format!("INSERT INTO mine VALUES ({number})"));
    assert_eq!(client.value("SELECT a FROM mine"), number.to_string());
    client.execute("DROP TEMPORARY TABLE mine");
}

fn with_a_lock(client: &mut Client, number: usize) {
    assert_eq!(client.value(&format!("SELECT GET_LOCK('reuse_{number}', 0)")), "1");
    assert_eq!(client.value(&format!("SELECT IS_USED_LOCK('reuse_{number}') = CONNECTION_ID()")), "1");
    assert_eq!(client.value(&format!("SELECT RELEASE_LOCK('reuse_{number}')")), "1");
}

const COUNT: &str = "SELECT COUNT(*) FROM t WHERE client = ? AND n <= ?";

/// Statements that a client has open as long as it lives.
struct Statements {
    insert: u32,
    count: u32,
}

impl Statements {
    fn prepare(client: &mut Client) -> Statements {
        let insert = prepare(client, "INSERT INTO t (client, n) VALUES (?, ?)");
        let count = prepare(client, COUNT);
        Statements { insert, count }
    }

    /// Both are executed, once in the client's life, and find what it has written; now and then one is closed and prepared
    /// anew before that.
    fn work(&mut self, client: &mut Client, number: usize, round: usize) {
        if number.is_multiple_of(5) {
            client.command(&[&[0x19], &self.count.to_le_bytes()[..]].concat());
            self.count = prepare(client, COUNT);
        }
        let [number, last] = [number, round].map(|number| i64::try_from(number).expect("a small number"));
        let parameters = [Parameter::Number(number), Parameter::Number(last)];
        client.ask(Shape::Results, &execute_payload(client.capabilities, self.insert, 0, &parameters)).ok();
        let counted =
            client.ask(Shape::Results, &execute_payload(client.capabilities, self.count, 0, &parameters)).ok();
        assert_eq!(counted.rows, [[&[0, 0][..], &((last + 1) * 3 + 1).to_le_bytes()].concat()], "of client {number}");
    }
}

/// COM_STMT_PREPARE; gives the statement's number.
fn prepare(client: &mut Client, text: &str) -> u32 {
    let reply = client.ask(Shape::Prepare, &[&[0x16], text.as_bytes()].concat()).ok();
    u32::from_le_bytes(reply.packets[0][1..5].try_into().expect("four bytes"))
}

fn with_another_schema(client: &mut Client, house: &House) {
    client.execute("USE information_schema");
    assert_eq!(client.value("SELECT DATABASE()"), "information_schema");
    client.execute(&format!("USE {}", house.database));
    assert_eq!(client.value("SELECT DATABASE()"), house.database);
}

#[test]
fn who_waits_too_long_for_a_connection_is_told_so_and_may_try_again() {
    for flavour in FLAVOURS {
        on_both_engines(|engine| {
            let house = House::open(engine, flavour, 1);
            let [mut first, mut second] = [house.client(), house.client()];
            first.execute("BEGIN");
            let error = house.refused(&mut second, "SELECT 1");
            assert_eq!((error.code, error.state.as_str()), (1040, "08004"), "{error}");
            assert!(error.message.contains("full: 1 connections"), "{error}");
            first.execute("COMMIT");
            assert_eq!(second.value("SELECT 2"), "2");
            assert_eq!(first.value("SELECT 3"), "3");
        });
    }
}

#[test]
fn state_of_the_connection_keeps_it_until_it_is_gone() {
    for flavour in FLAVOURS {
        on_both_engines(|engine| {
            let house = House::open(engine, flavour, 1);
            let [mut first, mut second] = [house.client(), house.client()];
            let bound = [
                ("CREATE TEMPORARY TABLE mine (a INT)", "DROP TEMPORARY TABLE mine", "temporary table"),
                ("SELECT GET_LOCK('reuse', 0)", "SELECT RELEASE_LOCK('reuse')", "user lock"),
                ("LOCK TABLES t READ", "UNLOCK TABLES", "locked tables"),
                ("HANDLER t OPEN", "HANDLER t CLOSE", "open handler"),
                ("BEGIN", "ROLLBACK", "transaction"),
            ];
            for (begin, end, what) in bound {
                first.execute(begin);
                let error = house.refused(&mut second, "SELECT 1");
                assert_eq!(error.code, 1040, "{begin}: {error}");
                let pins: Vec<String> = house.sqluice.sessions().iter().map(|row| row["pins"].to_string()).collect();
                assert!(pins.iter().any(|pins| pins.contains(what)), "{what} is not in {pins:?}");
                first.execute(end);
                assert_eq!(second.value("SELECT 2"), "2", "{flavour:?}, {end}");
            }
        });
    }
}

#[test]
fn a_connection_that_dies_between_two_statements_is_replaced_unseen() {
    in_houses(2, |house| {
        let [mut first, mut second] = [house.client(), house.client()];
        first.execute("SET @kept = 'here', time_zone = '+02:00'");
        second.execute("SET @kept = 'there'");
        let statement = prepare(&mut second, "SELECT CONCAT(@@time_zone, ?)");
        let execution = execute_payload(second.capabilities, statement, 0, &[Parameter::Text("!")]);
        for round in 0..3 {
            eventually("all connections rest", || {
                (house.counted("resting") == house.counted("connections")).then_some(())
            });
            house.kill_all_connections();
            assert_eq!(first.value("SELECT CONCAT(@kept, @@time_zone)"), "here+02:00", "round {round}");
            assert_eq!(second.ask(Shape::Results, &execution).ok().rows, [b"\0\0\x07SYSTEM!"], "round {round}");
            assert_eq!(second.value("SELECT @kept"), "there", "round {round}");
        }
    });
}

#[test]
fn a_write_on_a_shared_connection_whose_reply_is_lost_is_not_sent_again() {
    for flavour in FLAVOURS {
        let cutter = Cutter::before(Server::shared(flavour).address);
        on_both_engines(|engine| {
            let house = House::behind(engine, flavour, &cutter);
            house.client().execute("INSERT INTO t (client, n) VALUES (1, 1)");
            let mut client = house.client();
            let text = fresh_name("once");
            cutter.arm(&text);
            client.command(&[b"\x03UPDATE t SET n = n + 10 WHERE '", text.as_bytes(), b"' <> ''"].concat());
            if let Ok(reply) = client.reply(Shape::Results) {
                let error = reply.failed();
                assert!(error.state.starts_with("08"), "{error}");
            }
            let mut direct = house.server.direct();
            assert_eq!(direct.value(&format!("SELECT n FROM {}.t", house.database)), "11", "{flavour:?}");
            assert_eq!(house.client().value("SELECT n FROM t"), "11", "others go on");
        });
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_or_works_takes_no_place_with_it() {
    in_houses(1, |house| {
        let mut first = house.client();
        let leavers: Vec<Client> = (0..5).map(|_| house.client()).collect();
        first.execute("BEGIN");
        for mut leaver in leavers {
            leaver.try_command(b"\x03SELECT 1").expect("it can be sent");
        }
        first.execute("INSERT INTO t (client, n) VALUES (1, 1)");
        drop(first);
        let mut next = house.client();
        assert_eq!(next.value("SELECT COUNT(*) FROM t"), "0", "the transaction was rolled back");
        drop(next);
        house.sqluice.await_no_sessions();
        eventually("the one connection rests or is gone", || {
            (house.counted("connections") == house.counted("resting")).then_some(())
        });
        assert_eq!(house.counted("waiting"), 0);
    });
}

#[test]
fn a_session_without_a_schema_gets_a_connection_without_one() {
    in_houses(1, |house| {
        let mut with = house.client();
        let mut without = house.sqluice.login(&Account::new("app", "app")).expect("app logs in");
        for _ in 0..2 {
            assert_eq!(with.value("SELECT DATABASE()"), house.database);
            assert_eq!(without.value("SELECT DATABASE() IS NULL"), "1");
        }
        let error = without.query("SELECT * FROM t").failed();
        assert_eq!(error.code, 1046, "{error}");
        let unknown = house.sqluice.login(&Account::new("app", "app").database("no_such_schema"));
        let code = unknown.err().map(|error| error.code);
        assert!(code.is_some_and(|code| [1044, 1049].contains(&code)), "{code:?}");
    });
}

#[test]
fn a_role_is_the_sessions_own() {
    in_houses(1, |house| {
        let role = fresh_name("role");
        house.server.root(&format!("CREATE ROLE {role}; GRANT {role} TO app@'%'"));
        let [mut first, mut second] = [house.client(), house.client()];
        first.execute(&format!("SET ROLE {role}"));
        for _ in 0..2 {
            let current = second.rows("SELECT CURRENT_ROLE()")[0][0].clone();
            assert!(current.is_none_or(|role| role == "NONE"), "nobody else has it");
            assert!(first.value("SELECT CURRENT_ROLE()").contains(&role));
        }
        house.server.root(&format!("DROP ROLE {role}"));
    });
}

#[test]
fn a_client_may_reset_its_session_or_go_on_as_another() {
    in_houses(1, |house| {
        let [mut first, mut second] = [house.client(), house.client()];
        first.execute("SET @mine = 1, time_zone = '+05:00'");
        assert_eq!(second.value("SELECT @mine IS NULL"), "1");
        first.ask(Shape::Single, b"\x1f").ok();
        assert_eq!(second.value("SELECT 1"), "1");
        assert_eq!(first.value("SELECT CONCAT(@@time_zone, @mine IS NULL)"), "SYSTEM1");
        assert_eq!(first.value("SELECT DATABASE()"), house.database);
        first.execute("SET @mine = 2");
        first.change_user(&Account::new("app", "app")).expect("app is still app");
        assert_eq!(second.value("SELECT @mine IS NULL"), "1");
        assert_eq!(first.value("SELECT @mine IS NULL AND DATABASE() IS NULL"), "1");
    });
}

#[test]
fn writes_outside_of_transactions_take_turns_too() {
    in_houses(1, |house| {
        let [mut first, mut second] = [house.client(), house.client()];
        for round in 1..=3 {
            for (client, number) in [(&mut first, 1), (&mut second, 2)] {
                client.execute(&format!("INSERT INTO t (client, n) VALUES ({number}, {round})"));
            }
            for (client, number) in [(&mut first, 1), (&mut second, 2)] {
                let text = "SELECT client FROM t WHERE id = LAST_INSERT_ID()";
                assert_eq!(client.value(text), number.to_string(), "round {round}");
                assert_eq!(client.execute(&format!("UPDATE t SET n = 0 WHERE client = {number}")).packets.len(), 1);
            }
        }
    });
}

#[test]
fn one_connection_goes_round_among_the_clients_of_all_workers() {
    const CLIENTS: usize = 12;
    in_houses(1, |house| {
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                scope.spawn(move || {
                    let mut client = house.client();
                    client.execute(&format!("SET @me = {number}"));
                    for _ in 0..5 {
                        client.execute("BEGIN");
                        client.execute(&format!("INSERT INTO t (client, n) VALUES ({number}, 1)"));
                        assert_eq!(client.value("SELECT @me"), number.to_string());
                        client.execute("COMMIT");
                    }
                });
            }
        });
        let count = house.server.direct().value(&format!("SELECT COUNT(*) FROM {}.t", house.database));
        assert_eq!(count, (CLIENTS * 5).to_string());
    });
}
