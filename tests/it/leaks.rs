//! Clients that come and go in every way leave nothing behind; bytes that are no protocol harm nobody.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::wire::{framed, query_payload};
use crate::harness::{
    Account, Client, Engine, Flavour, Server, Sqluice, Start, cluster, eventually, on_both_engines, user,
};

const CONNECTS: u32 = 10_000;

fn quiet(engine: Engine, server: &Server) -> Sqluice {
    quiet_with(engine, server, "")
}

/// The same with more lines of `[limits]`.
fn quiet_with(engine: Engine, server: &Server, limits: &str) -> Sqluice {
    // A tenth of the clients fail to log in.
    let limits = format!("[limits]\nfailed_logins = 0\n{limits}\n\n");
    Start::new(engine, limits + &cluster(server) + &user("app", "app")).log_level("info").run_with_servers_up(1)
}

/// One client, ended in one of the ways that clients end.
fn come_and_go(sqluice: &Sqluice, way: u32) {
    match way % 10 {
        0 => sqluice.app().quit(),
        1 => drop(sqluice.app()),
        2 => {
            let mut client = sqluice.app();
            client.command(&query_payload(client.capabilities, "SELECT REPEAT('q', 100000)"));
        }
        3 => {
            let _ = sqluice.login(&Account::new("app", "wrong"));
        }
        4 => {
            let client = Client::connect(sqluice.address).expect("sqluice greets");
            client.socket().shutdown(Shutdown::Write).expect("the socket is open");
        }
        5 => {
            // Half a handshake response.
            let mut client = Client::connect(sqluice.address).expect("sqluice greets");
            client.write_raw(&[60, 0, 0, 1, 0x85, 0xA6]).expect("the socket is open");
        }
        6 => drop(Client::connect(sqluice.address)),
        7 => {
            // Gone before the greeting, with a reset.
            let stream = TcpStream::connect(sqluice.address).expect("the listener accepts");
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket takes options");
        }
        8 => drop(TcpStream::connect(sqluice.address)),
        _ => {
            let mut stream = TcpStream::connect(sqluice.address).expect("the listener accepts");
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: sqluice\r\n\r\n");
        }
    }
}

#[test]
fn ten_thousand_clients_leave_nothing_behind() {
    let server = Server::start(Flavour::MariaDb10, &[]);
    on_both_engines(|engine| {
        let sqluice = quiet(engine, &server);
        let process = sqluice.process();
        let settle = || {
            sqluice.await_no_sessions();
            let connections = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'";
            eventually("the server has no connection of a client", || {
                (server.root(connections).trim() == "0").then_some(())
            });
        };
        // The first thousand make the process as big as this load needs it to be.
        (0..CONNECTS / 10).for_each(|way| come_and_go(&sqluice, way));
        settle();
        let descriptors = process.descriptors();
        let resident = process.resident_kib();
        (0..CONNECTS).for_each(|way| come_and_go(&sqluice, way));
        settle();
        eventually("the descriptors are closed", || (process.descriptors() <= descriptors).then_some(()));
        let now = process.resident_kib();
        // A leak of one KiB a client would be 10 MiB.
        assert!(now < resident + 8 * 1024, "grew from {resident} to {now} KiB over {CONNECTS} clients");
        sqluice.app().ping();
    });
}

/// How long rounds of chaos go on on each engine; where nobody asks for more, one follows the first.
fn soak_time() -> Duration {
    let minutes = std::env::var("SQLUICE_SOAK_MINUTES").map(|text| text.parse().expect("a number of minutes"));
    Duration::from_secs(minutes.unwrap_or(0) * 60 / 2)
}

/// Sessions in the middle of all kinds of work lose their server, clients come while it is dead, the configuration is read
/// again, and all is well behind it.
fn chaos(sqluice: &Sqluice, server: &Server) {
    let mut clients: Vec<Client> = (0..50).map(|_| sqluice.app()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        match number % 3 {
            0 => _ = client.execute("BEGIN"),
            1 => client.command(&query_payload(client.capabilities, "SELECT SLEEP(1000)")),
            _ => client.command(&query_payload(client.capabilities, "SELECT REPEAT('q', 10000000)")),
        }
    }
    server.kill();
    // Those of them that do not log in.
    (0..100).map(|way| 4 + way % 6).for_each(|way| come_and_go(sqluice, way));
    drop(clients);
    server.restart(&[]);
    sqluice.command(&["reload"]).expect_success("a reload");
    sqluice.await_servers_up(1);
    (0..200).for_each(|way| come_and_go(sqluice, way));
    sqluice.await_no_sessions();
}

#[test]
fn rounds_of_chaos_leave_nothing_behind() {
    let server = Server::start(Flavour::MariaDb10, &[]);
    on_both_engines(|engine| {
        let sqluice = quiet(engine, &server);
        let process = sqluice.process();
        // The first round makes the process as big as this load needs it to be.
        chaos(&sqluice, &server);
        let (descriptors, resident) = (process.descriptors(), process.resident_kib());
        let (began, mut rounds) = (Instant::now(), 0);
        while rounds == 0 || began.elapsed() < soak_time() {
            chaos(&sqluice, &server);
            rounds += 1;
            eventually("the descriptors are closed", || (process.descriptors() <= descriptors).then_some(()));
            let now = process.resident_kib();
            println!("round {rounds}: {} descriptors, {now} KiB", process.descriptors());
            assert!(now < resident + 8 * 1024, "grew from {resident} to {now} KiB over {rounds} rounds");
        }
        assert!(!sqluice.log().contains("internal fault"), "{}", sqluice.log());
        sqluice.app().ping();
    });
}

#[test]
fn a_handshake_that_does_not_go_on_is_ended() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = quiet_with(engine, server, "login_timeout = \"1s\"");
        let descriptors = sqluice.process().descriptors();
        let mut silent: Vec<TcpStream> =
            (0..50).map(|_| TcpStream::connect(sqluice.address).expect("the listener accepts")).collect();
        for stream in &mut silent {
            stream.set_read_timeout(Some(crate::harness::WAIT_MAX)).expect("a socket takes a timeout");
            let mut rest = Vec::new();
            // The greeting and perhaps an error, then the end.
            stream.read_to_end(&mut rest).expect("sqluice closes");
        }
        drop(silent);
        eventually("the descriptors are closed", || (sqluice.process().descriptors() <= descriptors).then_some(()));
    });
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = quiet(engine, server);
        let mut steady = sqluice.app();
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        for round in 0..300_u32 {
            let mut bytes = vec![0; (round as usize * 7) % 900 + 1];
            for byte in &mut bytes {
                // xorshift64: the same garbage in every run.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                *byte = random as u8;
            }
            match round % 4 {
                // Instead of a handshake response; as its payload; instead of a command; as a command's payload.
                0 => raw_after_greeting(&sqluice, &bytes),
                1 => raw_after_greeting(&sqluice, &framed(&bytes, &mut 1)),
                2 => raw_after_login(&sqluice, &bytes),
                _ => raw_after_login(&sqluice, &framed(&bytes, &mut 0)),
            }
            if round % 50 == 0 {
                steady.ping();
            }
        }
        steady.ping();
        sqluice.app().ping();
    });
}

fn raw_after_greeting(sqluice: &Sqluice, bytes: &[u8]) {
    let mut client = Client::connect(sqluice.address).expect("sqluice greets");
    let _ = client.write_raw(bytes);
    let _ = client.socket().shutdown(Shutdown::Write);
    client.await_close();
}

fn raw_after_login(sqluice: &Sqluice, bytes: &[u8]) {
    let mut client = sqluice.app();
    // The first byte must not be a command that harms the server.
    let mut bytes = bytes.to_vec();
    if let Some(command) = bytes.get_mut(4) {
        *command |= 0x80;
    }
    let _ = client.write_raw(&bytes);
    let _ = client.socket().shutdown(Shutdown::Write);
    client.await_close();
}

#[test]
fn packets_out_of_order_are_refused() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = quiet(engine, server);
        let mut client = sqluice.app();
        client.write_raw(&framed(&query_payload(client.capabilities, "SELECT 1"), &mut 5)).expect("the socket is open");
        let error = client.await_close().expect("an error tells why");
        assert_eq!((error.code, error.state.as_str()), (1156, "08S01"), "{error}");
        // A login response longer than anyone's.
        let mut client = Client::connect(sqluice.address).expect("sqluice greets");
        let _ = client.write_raw(&framed(&vec![0x20; 4 * 1024 * 1024], &mut 1));
        client.await_close();
        sqluice.app().ping();
    });
}
