//! Servers that die, hang and come back; and the end of sqluice itself.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::compare::relay;
use crate::harness::wire::{framed, query_payload};
use crate::harness::{
    Account, Client, Engine, Flavour, Server, Shape, Sqluice, Start, cluster, cluster_on, eventually, on_both_engines,
    signal, user,
};
use crate::maintenance::session_of;

fn two_servers(flavour: Flavour) -> [Server; 2] {
    [Server::start(flavour, &[]), Server::start(flavour, &[])]
}

fn in_front_of(engine: Engine, servers: &[Server; 2]) -> Sqluice {
    Start::new(engine, cluster_on(&[&servers[0], &servers[1]]) + &user("app", "app")).workers(2).run_with_servers_up(2)
}

fn is_on(client: &mut Client, server: &Server) -> bool {
    client.value("SELECT @@port") == server.address.port().to_string()
}

#[test]
fn a_killed_server_ends_its_sessions_at_once_and_no_others() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let servers = two_servers(flavour);
        on_both_engines(|engine| {
            let sqluice = in_front_of(engine, &servers);
            let mut clients: Vec<Client> = (0..10).map(|_| sqluice.app()).collect();
            let (mut doomed, mut lucky): (Vec<Client>, Vec<Client>) =
                clients.drain(..).partition_map_by(|client| is_on(client, &servers[0]));
            assert_eq!((doomed.len(), lucky.len()), (5, 5));
            // One is in the middle of a statement, one in a transaction, the others wait for a command.
            let mut busy = doomed.pop().expect("there are five");
            busy.command(&query_payload(busy.capabilities, "SELECT SLEEP(1000)"));
            let sleeps = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(1000)'";
            eventually("the statement runs", || (servers[0].root(sleeps).trim() == "1").then_some(()));
            doomed[0].execute("BEGIN");

            servers[0].kill();
            let reply = busy.reply(Shape::Results).expect("an error takes the place of the answer");
            let error = reply.error.expect("the statement cannot succeed");
            assert!(error.state.starts_with("08"), "{error}");
            busy.await_close();
            for client in &mut doomed {
                if let Some(error) = client.await_close() {
                    assert!(error.state.starts_with("08"), "{error}");
                }
            }
            lucky.iter_mut().for_each(Client::ping);
            // New sessions go elsewhere without an error, even before the checks have noticed.
            for _ in 0..6 {
                assert!(is_on(&mut sqluice.app(), &servers[1]));
            }
            sqluice.await_health("s1", "down");

            servers[0].restart(&[]);
            sqluice.await_health("s1", "up");
            eventually("the server that came back is used", || is_on(&mut sqluice.app(), &servers[0]).then_some(()));
        });
    }
}

/// [`Iterator::partition`] with a question that changes what it asks.
trait PartitionMapBy: Iterator + Sized {
    fn partition_map_by(self, mut is_left: impl FnMut(&mut Self::Item) -> bool) -> (Vec<Self::Item>, Vec<Self::Item>) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for mut item in self {
            if is_left(&mut item) { left.push(item) } else { right.push(item) }
        }
        (left, right)
    }
}

impl<I: Iterator> PartitionMapBy for I {}

#[test]
fn a_server_that_dies_in_the_middle_of_a_result_leaves_whole_packets() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let server = Server::start(flavour, &[]);
        on_both_engines(|engine| {
            let sqluice = relay(engine, &server);
            let mut client = sqluice.app();
            // Far more than all buffers on the way hold, so the server is still sending when it dies.
            let sql = "WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT n, REPEAT('x', 500000) FROM s";
            client.command(&query_payload(client.capabilities, sql));
            let first = client.expect_packet();
            assert_eq!(first.payload[0], 2, "two columns");
            for _ in 0..5 {
                client.expect_packet();
            }
            server.kill();
            // Either an ERR in its place in the sequence, or a close; never a packet that is something else.
            let mut packets = 0;
            while let Ok(packet) = client.read() {
                packets += 1;
                if packet.payload[0] == 0xFF {
                    let error = crate::harness::ServerError::parse(&packet.payload);
                    assert!(error.state.starts_with("08"), "{error}");
                }
            }
            assert!(packets < 900, "the server died before the end");
            server.restart(&[]);
            sqluice.await_health("s1", "up");
            sqluice.app().ping();
        });
    }
}

#[test]
fn a_server_that_hangs_is_left_out_and_taken_back() {
    let servers = two_servers(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let body = (cluster_on(&[&servers[0], &servers[1]]) + &user("app", "app"))
            .replace("check_timeout = \"5s\"", "check_timeout = \"500ms\"\nconnect_timeout = \"1s\"");
        let sqluice = Start::new(engine, body).run_with_servers_up(2);
        servers[0].pause();
        eventually("the hung server is not up", || (sqluice.health("s1") != "up").then_some(()));
        for _ in 0..4 {
            assert!(is_on(&mut sqluice.app(), &servers[1]));
        }
        servers[0].resume();
        sqluice.await_health("s1", "up");
    });
}

#[test]
fn whoever_cannot_leave_a_server_that_hangs_is_told_in_the_end() {
    let server = Server::start(Flavour::MariaDb10, &[]);
    on_both_engines(|engine| {
        let body = (cluster(&server) + &user("app", "app")).replace(
            "check_timeout = \"5s\"",
            "check_timeout = \"1s\"\nconnect_timeout = \"1s\"\nserver_timeout = \"1s\"",
        );
        let sqluice = Start::new(engine, body).run_with_servers_up(1);
        let (mut idle, mut busy) = (sqluice.app(), sqluice.app());
        idle.execute("BEGIN");
        busy.command(&query_payload(busy.capabilities, "SELECT SLEEP(1000)"));
        server.pause();
        let error = busy.reply(Shape::Results).expect("an error takes the place of the answer").error;
        assert!(error.as_ref().is_some_and(|error| error.state.starts_with("08")), "{error:?}");
        // Nothing on its connection has changed, and nothing tells when it would.
        idle.await_close();
        server.resume();
        sqluice.await_health("s1", "up");
    });
}

/// All checks but the first are an hour away: what sessions live through has to cause the next one.
#[test]
fn a_burst_of_broken_connections_causes_a_check_at_once() {
    let server = Server::start(Flavour::MariaDb10, &[]);
    on_both_engines(|engine| {
        let body = cluster(&server).replace("check_interval = \"100ms\"", "check_interval = \"1h\"");
        let sqluice = Start::new(engine, body + &user("app", "app")).run_with_servers_up(1);
        let mut clients: Vec<Client> = (0..4).map(|_| sqluice.app()).collect();
        server.kill();
        sqluice.await_health("s1", "down");
        clients.iter_mut().for_each(|client| drop(client.await_close()));
        server.restart(&[]);
        // And so does whoever waits for it.
        eventually("a session gets in", || sqluice.login(&Account::new("app", "app")).ok()).ping();
    });
}

#[test]
fn a_login_into_a_server_that_hangs_ends_up_elsewhere() {
    let servers = two_servers(Flavour::MariaDb10);
    on_both_engines(|engine| {
        // The checks are slow to notice, so the session's own deadline has to.
        let body = (cluster_on(&[&servers[0], &servers[1]]) + &user("app", "app"))
            .replace("check_timeout = \"5s\"", "check_timeout = \"30s\"\nconnect_timeout = \"500ms\"")
            .replace("hold_timeout = \"10s\"", "hold_timeout = \"30s\"");
        let sqluice = Start::new(engine, body).run_with_servers_up(2);
        servers[0].pause();
        let mut clients: Vec<Client> = (0..4).map(|_| sqluice.app()).collect();
        assert!(clients.iter_mut().all(|client| is_on(client, &servers[1])));
        servers[0].resume();
        sqluice.await_health("s1", "up");
    });
}

#[test]
fn without_any_server_clients_wait_and_then_get_an_error() {
    let server = Server::start(Flavour::MariaDb10, &[]);
    server.kill();
    on_both_engines(|engine| {
        let body = cluster(&server) + &user("app", "app");
        let sqluice = Start::new(engine, body.replace("hold_timeout = \"10s\"", "hold_timeout = \"300ms\"")).run();
        sqluice.await_health("s1", "down");
        // It may be told instead of the greeting: what to offer is not known before a server was seen.
        let error = sqluice.login(&Account::new("app", "app")).expect_err("there is no server");
        assert!(error.state.is_empty() || error.state.starts_with("08"), "{error}");
        assert!(!error.message.is_empty());

        sqluice.write_config(&body.replace("hold_timeout = \"10s\"", "hold_timeout = \"60s\""));
        sqluice.command(&["reload"]).expect_success("reload");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                eventually("a login", || sqluice.login(&Account::new("app", "app")).ok()).value("SELECT 'in'")
            });
            server.restart(&[]);
            assert_eq!(waiting.join().expect("the session gets in"), "in");
        });
        server.kill();
    });
}

#[test]
fn a_stop_lets_transactions_finish_and_refuses_new_sessions() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let database = server.fresh_database();
        let body = cluster(server) + &user("app", "app");
        let mut sqluice = Start::new(engine, body).process("shutdown_timeout = \"60s\"").run_with_servers_up(1);
        let mut working = sqluice.login(&Account::new("app", "app").database(&database)).expect("app logs in");
        working.execute("CREATE TABLE t (id INT) ENGINE = InnoDB");
        working.execute("BEGIN");
        working.execute("INSERT INTO t VALUES (1)");
        let mut idle = sqluice.app();
        signal(sqluice.process(), "TERM");
        // The idle session is told to go, by an error that drivers understand, or just by the close.
        if let Some(error) = idle.await_close() {
            assert_eq!((error.code, error.state.as_str()), (1053, "08S01"), "{error}");
        }
        eventually("nobody is let in", || match TcpStream::connect(sqluice.address) {
            Err(_) => Some(()),
            Ok(_) => None,
        });
        working.execute("INSERT INTO t VALUES (2)");
        working.execute("COMMIT");
        working.await_close();
        assert!(sqluice.await_end(), "a stop that was asked for is a success");
        let rows = server.direct().value(&format!("SELECT COUNT(*) FROM {database}.t"));
        assert_eq!(rows, "2");
    });
}

/// A client that has asked for so many rows of 8 KB, each by a command of its own, and reads none.
fn asking_for(sqluice: &Sqluice, rows: usize) -> Client {
    let mut client = sqluice.app();
    let command = framed(&query_payload(client.capabilities, "SELECT REPEAT('x', 8000)"), &mut 0);
    client.write_raw(&command.repeat(rows)).expect("so few bytes are taken");
    client
}

fn commands(sqluice: &Sqluice, client: &Client) -> usize {
    session_of(sqluice, client)["commands"].as_u64().expect("a number") as usize
}

/// How many such rows stop a client that does not read: what waits here, beside what the kernel keeps, is past its bound.
fn rows_that_are_too_many(sqluice: &Sqluice) -> usize {
    let client = asking_for(sqluice, 2_000);
    let mut last = (commands(sqluice, &client), Instant::now());
    eventually("no more commands are taken", || {
        let now = commands(sqluice, &client);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

#[test]
fn a_stop_lets_slow_clients_read_what_their_server_has_finished() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let body = cluster(server) + &user("app", "app");
        let mut sqluice = Start::new(engine, body).process("shutdown_timeout = \"60s\"").run_with_servers_up(1);
        let too_many = rows_that_are_too_many(&sqluice);
        assert!((20..2_000).contains(&too_many), "{too_many} rows");
        // What the kernel keeps is not the same each time.
        let slow = [16, 14, 12, 10].map(|fewer| (too_many - fewer, asking_for(&sqluice, too_many - fewer)));
        for (rows, client) in &slow {
            eventually("the server has finished all that it was asked for", || {
                let is_idle = session_of(&sqluice, client)["state"] == "idle";
                (is_idle && commands(&sqluice, client) == *rows).then_some(())
            });
        }
        signal(sqluice.process(), "TERM");
        // Longer than a peer is waited for that has been told all.
        thread::sleep(Duration::from_secs(3));
        for (rows, mut client) in slow {
            for row in 0..rows {
                client.expect_new_reply();
                let reply = client.reply(Shape::Results);
                let reply = reply.unwrap_or_else(|error| panic!("{row} of {rows} rows have come, then: {error}")).ok();
                assert_eq!(reply.rows[0].len(), 3 + 8_000);
            }
            client.await_close();
        }
        assert!(sqluice.await_end());
    });
}

#[test]
fn a_stop_does_not_wait_longer_than_it_may() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let mut sqluice = Start::new(engine, cluster(server) + &user("app", "app"))
            .process("shutdown_timeout = \"200ms\"")
            .run_with_servers_up(1);
        let mut stuck = sqluice.app();
        stuck.execute("BEGIN");
        stuck.execute("SELECT 1 FROM mysql.db LIMIT 1");
        signal(sqluice.process(), "TERM");
        stuck.await_close();
        assert!(sqluice.await_end());

        let mut sqluice = relay(engine, server);
        let mut client = sqluice.app();
        signal(sqluice.process(), "INT");
        client.await_close();
        sqluice.await_end();
    });
}

/// MySQL says why before it closes an idle connection; MariaDB just closes it.
#[test]
fn a_client_hears_why_the_server_hung_up_on_it() {
    for (flavour, reason) in [(Flavour::MySql97, Some(4031)), (Flavour::MariaDb10, None)] {
        let server = Server::shared(flavour);
        on_both_engines(|engine| {
            let sqluice = relay(engine, server);
            let mut client = sqluice.app();
            client.execute("SET wait_timeout = 1");
            assert_eq!(client.await_close().map(|error| error.code), reason, "{flavour:?}");
            sqluice.await_no_sessions();
        });
    }
}

#[test]
fn a_client_that_vanishes_frees_its_server_connection() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = relay(engine, server);
        let mut client = sqluice.app();
        let id = client.value("SELECT CONNECTION_ID()");
        client.command(&query_payload(client.capabilities, "SELECT SLEEP(2)"));
        drop(client);
        eventually("the server's connection is gone", || {
            let sql = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}");
            (server.root(&sql).trim() == "0").then_some(())
        });
        sqluice.await_no_sessions();
    });
}
