//! `backend_reuse = "transaction"` where reads go to replicas: the connections to the primary are shared, those to the
//! replicas are the sessions' own.

use std::thread;

use super::prepare;
use crate::compare::{Parameter, execute_payload};
use crate::harness::{
    Client, Cutter, Engine, Flavour, Shape, Sqluice, Start, Trio, eventually, fresh_name, on_both_engines, split_at,
};
use crate::splitting::{account, trio_database};

const FLAVOURS: [Flavour; 2] = [Flavour::MariaDb10, Flavour::MySql97];

/// Servers at these addresses, of which the first takes so many connections.
fn lending(engine: Engine, addresses: &[std::net::SocketAddr], connections: usize) -> Sqluice {
    let first = "name = \"db1\"\n";
    let body = split_at(addresses).replacen(first, &format!("{first}max_connections = {connections}\n"), 1).replacen(
        "split = {",
        "backend_reuse = \"transaction\"\nsplit = {",
        1,
    );
    Start::new(engine, body).run_with_servers_up(addresses.len())
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
            let sqluice = lending(engine, &trio.servers.each_ref().map(|server| server.address), 2);
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
            assert!(servers[0]["connections"].as_u64().expect("a number") <= 2, "{servers}");
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
            let sqluice = lending(engine, &[trio.servers[0].address, cutter.address], 1);
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
