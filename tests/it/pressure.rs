//! One side that does not read stops the other side of its own session, and nothing else; memory stays bounded.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::compare::relay;
use crate::harness::wire::{framed, query_payload};
use crate::harness::{
    Account, Client, Engine, Flavour, Link, Network, Process, Server, Shape, Sqluice, Start, cluster, cluster_on,
    eventually, on_both_engines, user,
};

/// What the whole process may grow by while one session is stuck: many times what a session may hold, far less than it
/// was sent.
pub(crate) const GROWTH_MAX_KIB: u64 = 64 * 1024;

/// Until a process's memory stands still: everything that can be buffered is.
pub(crate) fn settled_kib(process: Process) -> u64 {
    let mut last = (process.resident_kib(), Instant::now());
    eventually("the memory stands still", || {
        let now = process.resident_kib();
        if now.abs_diff(last.0) > 256 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

fn is_responsive(sqluice: &Sqluice, steady: &mut Client) {
    for _ in 0..50 {
        steady.ping();
        sqluice.app().quit();
    }
}

#[test]
fn a_client_that_does_not_read_stops_its_own_server_connection_only() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let server = Server::shared(flavour);
        on_both_engines(|engine| {
            // One worker, so that the stuck session and the others share everything.
            let sqluice = Start::new(engine, cluster(server) + &user("app", "app")).workers(1).run_with_servers_up(1);
            let mut steady = sqluice.app();
            is_responsive(&sqluice, &mut steady);
            let before = settled_kib(sqluice.process());

            let mut stuck: Vec<Client> = (0..4).map(|_| sqluice.app()).collect();
            let sql = "WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 500) SELECT n, REPEAT('x', 400000) FROM s";
            for client in &mut stuck {
                client.command(&query_payload(client.capabilities, sql));
            }
            let during = settled_kib(sqluice.process());
            assert!(during < before + GROWTH_MAX_KIB, "grew from {before} to {during} KiB, with 800 MB on the way");
            is_responsive(&sqluice, &mut steady);

            // Nothing was lost while it waited.
            for client in &mut stuck[..2] {
                let reply = client.reply(Shape::Results).expect("the whole result arrives").ok();
                assert_eq!(reply.rows.len(), 500);
                assert!(reply.rows.iter().all(|row| row.len() >= 400_000));
            }
            drop(stuck);
            is_responsive(&sqluice, &mut steady);
        });
    }
}

#[test]
fn a_server_that_does_not_read_stops_its_own_client_only() {
    let servers = [Server::start(Flavour::MariaDb10, &[]), Server::start(Flavour::MariaDb10, &[])];
    on_both_engines(|engine| {
        let body = (cluster_on(&[&servers[0], &servers[1]]) + &user("app", "app"))
            .replace("check_timeout = \"5s\"", "check_timeout = \"55s\"");
        let sqluice = Start::new(engine, body).workers(1).run_with_servers_up(2);
        let mut clients = [sqluice.app(), sqluice.app()];
        clients.sort_by_key(|client| client.connection_id());
        let on_first = |client: &mut Client| client.value("SELECT @@port") == servers[0].address.port().to_string();
        let [mut one, mut two] = clients;
        let (mut sender, mut steady) = if on_first(&mut one) {
            (one, two)
        } else {
            assert!(on_first(&mut two));
            (two, one)
        };
        let before = settled_kib(sqluice.process());

        servers[0].pause();
        // 40 MiB, which the server's limit allows.
        let sql = format!("SELECT LENGTH('{}')", "u".repeat(40 * 1024 * 1024));
        let bytes = framed(&query_payload(sender.capabilities, &sql), &mut 0);
        let mut writing = sender.socket().try_clone().expect("a socket can be shared");
        let writer = thread::spawn(move || std::io::Write::write_all(&mut writing, &bytes));
        let during = settled_kib(sqluice.process());
        assert!(!writer.is_finished(), "40 MiB are not swallowed");
        assert!(during < before + GROWTH_MAX_KIB, "grew from {before} to {during} KiB");
        for _ in 0..50 {
            steady.ping();
        }
        servers[0].resume();
        writer.join().expect("writing does not panic").expect("the rest goes out");
        let mut reply = None;
        while reply.is_none() {
            let packet = sender.read().expect("the statement is answered");
            reply = (packet.payload.starts_with(b"\x0841943040")).then_some(());
        }
    });
}

/// Longer than a connection may stay without a sign of its other host.
const LONG_PAUSE: Duration = Duration::from_secs(40);

/// As a dump into a disk that is full does, or a load that waits for a lock: only the servers bound that.
#[test]
fn whoever_does_not_read_for_a_while_is_waited_for() {
    thread::scope(|scope| {
        for engine in [Engine::IoUring, Engine::Epoll] {
            scope.spawn(move || a_client_does_not_read_for_a_while(engine));
            scope.spawn(move || a_server_does_not_read_for_a_while(engine));
        }
    });
}

fn a_client_does_not_read_for_a_while(engine: Engine) {
    let sqluice = relay(engine, Server::shared(Flavour::MariaDb10));
    let mut client = sqluice.app();
    let sql = "SELECT seq, REPEAT('x', 4000) FROM test.seq_1_to_20000";
    client.command(&query_payload(client.capabilities, sql));
    thread::sleep(LONG_PAUSE);
    assert_eq!(client.reply(Shape::Results).expect("the whole result arrives").ok().rows.len(), 20_000);
}

fn a_server_does_not_read_for_a_while(engine: Engine) {
    let server = Server::start(Flavour::MariaDb10, &[]);
    let body = cluster(&server).replace("check_timeout = \"5s\"", "check_timeout = \"55s\"") + &user("app", "app");
    let sqluice = Start::new(engine, body).run_with_servers_up(1);
    let mut client = sqluice.app();
    server.pause();
    let sql = format!("SELECT LENGTH('{}')", "u".repeat(40 * 1024 * 1024));
    let bytes = framed(&query_payload(client.capabilities, &sql), &mut 0);
    let mut writing = client.socket().try_clone().expect("a socket can be shared");
    let writer = thread::spawn(move || std::io::Write::write_all(&mut writing, &bytes));
    thread::sleep(LONG_PAUSE);
    server.resume();
    writer.join().expect("writing does not panic").expect("the rest goes out");
    eventually("the answer", || {
        client.read().expect("it is answered").payload.starts_with(b"\x0841943040").then_some(())
    });
}

/// Its host does not say that it is gone, and what was sent to it is never acknowledged.
#[test]
fn a_client_whose_host_is_gone_amid_a_result_is_given_up() {
    let server = Server::shared(Flavour::MariaDb10);
    let network = Network::start(1);
    let sqluice = Start::new(Engine::IoUring, cluster(server) + &user("app", "app"))
        .listener("")
        .at(network.here(0))
        .run_with_servers_up(1);
    let (host, port) = (format!("--host={}", sqluice.address.ip()), format!("--port={}", sqluice.address.port()));
    let sql = "SELECT SLEEP(0.001), REPEAT('x', 4000) FROM test.seq_1_to_1000000";
    let arguments = [&host, &port, "--user=app", "--password=app", "--quick", "--batch", "-e", sql];
    let mut client = network.start_client_cli(0, Flavour::MariaDb10, &arguments);
    let is_busy = |row: &Value| row["user"] == "app" && row["state"] == "command";
    eventually("the result is under way", || sqluice.sessions().iter().any(is_busy).then_some(()));
    network.cut(0, Link::Front);
    sqluice.await_no_sessions();
    client.kill().expect("it is ours, and does not know yet");
    client.wait().expect("it is ours");
}

#[test]
fn a_result_read_byte_by_byte_arrives_whole() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = relay(engine, server);
        let mut client = sqluice.login(&Account::new("app", "app")).expect("app logs in");
        client.command(&query_payload(client.capabilities, "SELECT seq, REPEAT('z', 100) FROM test.seq_1_to_2000"));
        let mut socket = client.socket().try_clone().expect("a socket can be shared");
        let mut packet = |_: u32| {
            let mut header = [0; 4];
            header.iter_mut().for_each(|byte| one_byte(&mut socket, byte));
            let mut payload = vec![0; usize::from(header[0]) + (usize::from(header[1]) << 8)];
            payload.iter_mut().for_each(|byte| one_byte(&mut socket, byte));
            payload
        };
        // The count and two definitions, the rows, the OK behind them.
        let packets: Vec<Vec<u8>> = (0..3 + 2000 + 1).map(&mut packet).collect();
        assert_eq!(packets[0], [2]);
        assert!(packets[3..2003].iter().all(|row| row.ends_with(&[b'z'; 100])));
        assert_eq!(packets[2003][0], 0xFE);
    });
}

fn one_byte(socket: &mut impl Read, byte: &mut u8) {
    socket.read_exact(std::slice::from_mut(byte)).expect("the result goes on");
}
