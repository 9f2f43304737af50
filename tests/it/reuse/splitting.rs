//! `backend_reuse = "transaction"` where reads go to replicas: the connections to all servers are shared.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{connections_at, prepare, together, watched};
use crate::compare::{Parameter, execute_payload};
use crate::harness::{
    Client, Cutter, Engine, Flavour, Server, Shape, Sqluice, Start, Trio, eventually, fresh_name, on_both_engines,
    split_at,
};
use crate::splitting::{account, assert_nothing_goes_backwards, trio_database};

const FLAVOURS: [Flavour; 2] = [Flavour::MariaDb10, Flavour::MySql97];

/// Servers that take so many connections each.
fn lending(engine: Engine, servers: &[(SocketAddr, usize)]) -> Sqluice {
    let addresses: Vec<SocketAddr> = servers.iter().map(|(address, _)| *address).collect();
    let shares = "backend_reuse = \"transaction\"\nsplit = {";
    let mut body = split_at(&addresses).replacen("split = {", shares, 1).replace("\"30s\"", "\"120s\"");
    for (index, (_, connections)) in servers.iter().enumerate() {
        let name = format!("name = \"db{}\"\n", index + 1);
        body = body.replacen(&name, &format!("{name}max_connections = {connections}\n"), 1);
    }
    Start::new(engine, body).run_with_servers_up(servers.len())
}

/// A set whose servers take so many connections each.
fn lending_trio(engine: Engine, trio: &Trio, connections: [usize; 3]) -> Sqluice {
    let addresses = trio.servers.each_ref().map(|server| server.address);
    lending(engine, &[0, 1, 2].map(|index| (addresses[index], connections[index])))
}

/// The one number that a statement gives.
fn number_of(client: &mut Client, execution: &[u8]) -> i64 {
    let rows = client.ask(Shape::Results, execution).ok().rows;
    i64::from_le_bytes(rows[0][2..].try_into().expect("a BIGINT"))
}

#[test]
fn reads_leave_and_writes_share_the_connections_of_the_primary() {
    const CLIENTS: i64 = 8;
    const ROUNDS: i64 = 5;
    for flavour in FLAVOURS {
        let trio = Trio::shared(flavour);
        on_both_engines(|engine| {
            eprintln!("{flavour:?}, {engine:?}");
            let sqluice = lending_trio(engine, trio, [2, 1, 1]);
            let database = trio_database(trio);
            let text = fresh_name("lent_read");
            let make = format!("CREATE TABLE {database}.c (id INT PRIMARY KEY, n BIGINT NOT NULL)");
            trio.primary().direct().execute(&make);
            thread::scope(|scope| {
                for number in 0..CLIENTS {
                    let (sqluice, database, text) = (&sqluice, &database, &text);
                    scope.spawn(move || {
                        count_up(&mut sqluice.login(&account(database)).expect("app logs in"), number, text)
                    });
                }
            });
            let sum = trio.primary().direct().value(&format!("SELECT SUM(n) FROM {database}.c"));
            assert_eq!(sum, (CLIENTS * ROUNDS * 2).to_string());
            assert!(trio.heard(&text).1 > 0, "reads went to replicas");
            let servers = &sqluice.status()["clusters"][0]["servers"];
            let connections = [0, 1, 2].map(|index| servers[index]["connections"].as_u64().expect("a number"));
            assert!(connections.iter().zip([2, 1, 1]).all(|(count, most)| *count <= most), "{servers}");
        });
    }

    /// Reads what it has written, each time: by itself and in transactions.
    fn count_up(client: &mut Client, number: i64, text: &str) {
        client.execute(&format!("SET @me = {number}"));
        client.execute(&format!("INSERT INTO c VALUES ({number}, 0)"));
        let read = prepare(client, &format!("SELECT n FROM c WHERE id = ? AND '{text}' <> ''"));
        let write = prepare(client, "UPDATE c SET n = n + ? WHERE id = ?");
        let capabilities = client.capabilities;
        let read = execute_payload(capabilities, read, 0, &[Parameter::Number(number)]);
        let write = execute_payload(capabilities, write, 0, &[Parameter::Number(1), Parameter::Number(number)]);
        for round in 1..=ROUNDS {
            client.ask(Shape::Results, &write).ok();
            assert_eq!(number_of(client, &read), round * 2 - 1, "client {number}");
            client.execute("BEGIN");
            client.ask(Shape::Results, &write).ok();
            assert_eq!(number_of(client, &read), round * 2, "client {number}, in its transaction");
            client.execute("COMMIT");
            assert_eq!(number_of(client, &read), round * 2, "client {number}");
            assert_eq!(client.value("SELECT @me"), number.to_string());
        }
    }
}

#[test]
fn a_read_whose_replica_is_lost_is_run_on_whatever_connection_of_the_primary_is_lent() {
    for flavour in FLAVOURS {
        let trio = Trio::shared(flavour);
        let cutter = Cutter::before(trio.servers[1].address);
        on_both_engines(|engine| {
            eprintln!("{flavour:?}, {engine:?}");
            let sqluice = lending(engine, &[(trio.servers[0].address, 1), (cutter.address, 1)]);
            let database = trio_database(trio);
            let [mut first, mut second] = [(); 2].map(|()| sqluice.login(&account(&database)).expect("app logs in"));
            let statement = prepare(&mut first, "SELECT n + 40 FROM t WHERE id = 2 AND ? <> ''");
            eventually("the reply of a replica is lost", || {
                // The one connection to the primary is another's now.
                second.execute("UPDATE t SET n = 1 WHERE id = 1");
                let text = fresh_name("lent_again");
                cutter.arm(&text);
                let cuts = cutter.cuts();
                let execution = execute_payload(first.capabilities, statement, 0, &[Parameter::Text(&text)]);
                assert_eq!(number_of(&mut first, &execution), 42);
                (cutter.cuts() > cuts).then_some(())
            });
            assert_eq!(first.value("SELECT COUNT(*) FROM t"), "3", "the session goes on");
            assert_eq!(second.value("SELECT COUNT(*) FROM t"), "3");
            cutter.arm("nothing has this in it");
        });
    }
}

#[test]
fn three_hundred_split_clients_work_over_twenty_connections() {
    const CLIENTS: usize = 300;
    const CONNECTIONS: [usize; 3] = [8, 6, 6];
    for (flavour, engine) in FLAVOURS.into_iter().zip([Engine::IoUring, Engine::Epoll]) {
        eprintln!("{flavour:?}, {engine:?}");
        let trio = Trio::shared(flavour);
        let sqluice = lending_trio(engine, trio, CONNECTIONS);
        let database = trio_database(trio);
        let text = fresh_name("one_of_many");
        trio.primary().direct().execute(&format!("CREATE TABLE {database}.c (id INT PRIMARY KEY, n BIGINT NOT NULL)"));
        let most = [(); 3].map(|()| AtomicUsize::new(0));
        let count = || {
            for (place, bound) in CONNECTIONS.into_iter().enumerate() {
                let count = connections_at(&trio.servers[place], &database, bound);
                most[place].fetch_max(count, Ordering::Relaxed);
            }
        };
        watched(count, || {
            let log_in = |number| (number, sqluice.login(&account(&database)).expect("app logs in"));
            let clients = together(0..CLIENTS, log_in);
            together(clients, |(number, mut client)| one_of_many(&mut client, number, &text));
        });
        let most = most.map(AtomicUsize::into_inner);
        assert!(most.iter().zip(CONNECTIONS).all(|(most, bound)| *most <= bound), "{flavour:?}: {most:?} at once");
        assert!(trio.heard(&text).1 > CLIENTS, "{flavour:?}: reads went to replicas");
        let sum = trio.primary().direct().value(&format!("SELECT SUM(n) FROM {database}.c"));
        assert_eq!(sum, (CLIENTS * 2).to_string());
    }
}

/// What one client does, and must find: its own settings, statements and rows, wherever it reads.
fn one_of_many(client: &mut Client, number: usize, text: &str) {
    let zone = format!("+0{}:00", number % 10);
    client.execute(&format!("SET @me = {number}, time_zone = '{zone}'"));
    client.execute(&format!("INSERT INTO c VALUES ({number}, 0)"));
    let read = prepare(client, &format!("SELECT n FROM c WHERE id = ? AND '{text}' <> ''"));
    let write = prepare(client, "UPDATE c SET n = n + ? WHERE id = ?");
    let id = i64::try_from(number).expect("a small number");
    let read = execute_payload(client.capabilities, read, 0, &[Parameter::Number(id)]);
    let write = execute_payload(client.capabilities, write, 0, &[Parameter::Number(1), Parameter::Number(id)]);
    let own = format!("SELECT CONCAT(@me, @@time_zone, '-', n) FROM c WHERE id = @me AND '{text}' <> ''");
    for round in 1..=2 {
        client.ask(Shape::Results, &write).ok();
        assert_eq!(number_of(client, &read), round, "client {number}");
        for _ in 0..3 {
            assert_eq!(client.value(&own), format!("{number}{zone}-{round}"));
        }
        assert_eq!(client.rows(&format!("SELECT SQL_CALC_FOUND_ROWS id FROM c WHERE id = {number} LIMIT 0")).len(), 0);
        // A client that was slow to ask about what ran at the primary is told that it was, and never another's number.
        let asked = client.query("SELECT FOUND_ROWS()");
        match asked.error.as_ref().map(|error| error.code) {
            Some(code) => assert_eq!(code, 1235),
            None => assert_eq!(asked.text_rows()[0][0].as_deref(), Some("1"), "client {number}"),
        }
        if number.is_multiple_of(10) {
            client.execute("START TRANSACTION READ ONLY");
            assert_eq!(number_of(client, &read), round);
            client.execute("COMMIT");
        }
    }
}

#[test]
fn no_read_of_clients_that_share_goes_backwards_though_a_replica_lags() {
    for (flavour, engine) in FLAVOURS.into_iter().zip([Engine::Epoll, Engine::IoUring]) {
        eprintln!("{flavour:?}, {engine:?}");
        let trio = Trio::start(flavour);
        trio.servers.iter().for_each(Server::listen);
        trio.replicas()[0].lag(1);
        assert_nothing_goes_backwards(&trio, &lending_trio(engine, &trio, [3, 2, 2]), 30);
    }
}

/// Reads that last, one begun after the other has reached its replica; with the place of that.
fn sleepers(trio: &Trio, count: usize, log_in: impl Fn() -> Client) -> Vec<(Client, usize)> {
    let begin = |_| {
        let mut client = log_in();
        let text = fresh_name("sleeps_");
        client.command(format!("\x03SELECT n, SLEEP(100), '{text}' FROM t WHERE id = 1").as_bytes());
        let place =
            eventually("the read runs at a replica", || (1..3).find(|&place| trio.servers[place].heard(&text) > 0));
        (client, place)
    };
    (0..count).map(begin).collect()
}

#[test]
fn each_read_goes_to_the_replica_with_the_least_to_do() {
    for flavour in FLAVOURS {
        let trio = Trio::shared(flavour);
        on_both_engines(|engine| {
            eprintln!("{flavour:?}, {engine:?}");
            let sqluice = lending_trio(engine, trio, [8, 8, 8]);
            let database = trio_database(trio);
            let log_in = || sqluice.login(&account(&database)).expect("app logs in");
            let mut killer = log_in();
            let mut wake = |sleepers: &mut Vec<(Client, usize)>, place: usize| {
                for (mut client, _) in sleepers.extract_if(.., |(_, at)| *at == place) {
                    killer.execute(&format!("KILL QUERY {}", client.connection_id()));
                    // What an interrupted SLEEP comes to is the server's to say.
                    client.reply(Shape::Results).expect("it is answered");
                }
            };
            let mut client = log_in();
            let mut place_of_a_read = || {
                let text = fresh_name("one_more");
                assert_eq!(client.value(&format!("SELECT n + 40, '{text}' FROM t WHERE id = 2")), "42");
                let places = (0..3).filter(|&place| trio.servers[place].heard(&text) > 0).collect::<Vec<_>>();
                assert_eq!(places.len(), 1, "it ran once");
                places[0]
            };
            let mut asleep = sleepers(trio, 6, log_in);
            assert_eq!(asleep.iter().filter(|(_, place)| *place == 1).count(), 3, "they are spread evenly");
            wake(&mut asleep, 2);
            assert_eq!(place_of_a_read(), 2, "nobody else reads there");
            asleep.extend(sleepers(trio, 3, log_in));
            wake(&mut asleep, 1);
            assert_eq!(place_of_a_read(), 1, "the next one of the same session");
            wake(&mut asleep, 2);
        });
    }
}
