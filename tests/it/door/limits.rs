//! Limits against abuse, each with real sockets: who is turned away is told why, counted, and does not harm the others.

use super::*;
use crate::harness::{Engine, Flavour, Server, Start, cluster, on_both_engines, user};

const HERE: [u8; 4] = [127, 0, 0, 1];
const THERE: [u8; 4] = [127, 6, 0, 1];

fn start(engine: Engine, listener: &str, more: &str) -> Sqluice {
    let server = Server::shared(Flavour::MariaDb10);
    Start::new(engine, more.to_owned() + &cluster(server) + &user("app", "app"))
        .listener(&format!("tls = \"disabled\"\n{listener}"))
        .admin("http = \"127.0.0.1:0\"")
        .run_with_servers_up(1)
}

fn app_from(from: [u8; 4], sqluice: &Sqluice) -> Result<Client, ServerError> {
    login_from(from, sqluice, b"", &Account::new("app", "app"))
}

#[test]
fn a_listener_lets_in_whom_its_lists_let_in() {
    on_both_engines(|engine| {
        let lists = "allow_from = [\"127.0.0.0/8\"]\ndeny_from = [\"127.6.0.0/16\"]";
        let sqluice = start(engine, lists, "");
        app_from(HERE, &sqluice).expect("it is in a network that is allowed").ping();
        let error = app_from(THERE, &sqluice).expect_err("it is in one that is denied");
        assert_eq!((error.code, error.state.as_str()), (1130, ""), "{error}");
        assert!(error.message.contains("127.6.0.1"), "{error}");
        assert_eq!(turned_away(&sqluice, "not_allowed"), 1);
        await_line(&sqluice, &["client turned away", "NotAllowed", "127.6.0.1"]);
    });
}

#[test]
fn a_user_logs_in_from_its_networks_only_and_elsewhere_as_with_a_wrong_password() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let app = user("app", "app").trim_end().to_owned() + "\ndeny_from = [\"127.6.0.0/16\"]\n\n";
        let sqluice = Start::new(engine, cluster(server) + &app + &user("other", "other"))
            .admin("http = \"127.0.0.1:0\"")
            .run_with_servers_up(1);
        app_from(HERE, &sqluice).expect("it is not denied").ping();
        let right = app_from(THERE, &sqluice).expect_err("it is denied");
        let wrong = login_from(THERE, &sqluice, b"", &Account::new("app", "wrong")).expect_err("it is denied");
        assert_eq!((right.code, &right), (1045, &wrong), "nobody is told that the password was right");
        login_from(THERE, &sqluice, b"", &Account::new("other", "other")).expect("another user is not denied").ping();
        assert_eq!(counted(&sqluice, "sqluice_sessions_ended_total{reason=\"host_not_allowed\"}"), 2);
        await_line(&sqluice, &["host_not_allowed", "127.6.0.1"]);
    });
}

#[test]
fn an_address_whose_logins_fail_too_often_is_turned_away_and_others_are_not() {
    on_both_engines(|engine| {
        let sqluice = start(engine, "", "[limits]\nfailed_logins = 5\n\n");
        let mut steady = app_from(THERE, &sqluice).expect("app logs in");
        for _ in 0..5 {
            let error = login_from(THERE, &sqluice, b"", &Account::new("app", "guess")).expect_err("a wrong password");
            assert_eq!(error.code, 1045, "{error}");
        }
        // The failure is counted as the session ends, right behind the error.
        let error = eventually("it is turned away", || app_from(THERE, &sqluice).err());
        assert_eq!(error.code, 1129, "{error}");
        assert!(error.message.contains("127.6.0.1") && error.message.contains("seconds"), "{error}");
        steady.ping();
        app_from(HERE, &sqluice).expect("nobody failed from there").ping();
        assert!(turned_away(&sqluice, "failed_logins") >= 1);
        await_line(&sqluice, &["client turned away", "FailedLogins", "127.6.0.1"]);
    });
}

#[test]
fn an_address_has_its_connections_and_the_next_one_is_told_so() {
    on_both_engines(|engine| {
        let sqluice = start(engine, "", "[limits]\nconnections_per_address = 2\n\n");
        let first = app_from(THERE, &sqluice).expect("the first of two");
        let second = app_from(THERE, &sqluice).expect("the second of two");
        let error = app_from(THERE, &sqluice).expect_err("a third one");
        assert_eq!(error.code, 1040, "{error}");
        assert!(error.message.contains("127.6.0.1"), "{error}");
        app_from(HERE, &sqluice).expect("another address has its own").ping();
        assert_eq!(turned_away(&sqluice, "connections_per_address"), 1);
        first.quit();
        eventually("the first one's place is free", || app_from(THERE, &sqluice).ok()).ping();
        drop(second);
    });
}

#[test]
fn clients_that_no_descriptor_is_left_for_are_told_so_and_come_in_when_there_is_one() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        // Nobody who is silent leaves while the test runs.
        let body = "[limits]\nlogin_timeout = \"1h\"\n\n".to_owned() + &cluster(server) + &user("app", "app");
        // One worker: while one tells a client so, another could take the descriptor that it does that with.
        let start = Start::new(engine, body).admin("http = \"127.0.0.1:0\"").workers(1).descriptors_max(100);
        let sqluice = start.run_with_servers_up(1);
        let mut steady = sqluice.app();
        let mut silent = Vec::new();
        let first = loop {
            assert!(silent.len() < 1000, "the descriptors do not run out");
            match Client::connect(sqluice.address) {
                Ok(client) => silent.push(client),
                Err(error) => break error,
            }
        };
        assert_eq!((first.code, first.state.as_str()), (1040, ""), "{first}");
        for _ in 0..20 {
            let error = Client::connect(sqluice.address).expect_err("there is no descriptor for it");
            assert_eq!(error.code, 1040, "{error}");
        }
        steady.ping();
        drop(silent);
        eventually("clients come in again", || sqluice.login(&Account::new("app", "app")).ok()).ping();
        assert!(turned_away(&sqluice, "no_descriptor") >= 21);
        await_line(&sqluice, &["cannot accept clients"]);
    });
}

/// Whoever connects and says nothing has its time, and then makes way for those who log in.
#[test]
fn clients_that_do_not_log_in_keep_nobody_out() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let body = "[limits]\nlogin_timeout = \"1h\"\n\n".to_owned() + &cluster(server) + &user("app", "app");
        let start = Start::new(engine, body).admin("http = \"127.0.0.1:0\"").process("max_sessions = 8\n");
        let sqluice = start.run_with_servers_up(1);
        let mut steady = sqluice.app();
        let silent: Vec<Client> = (0..8).filter_map(|_| Client::connect(sqluice.address).ok()).collect();
        assert!(silent.len() >= 7, "there are places for them");
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..7 {
            clients.push(eventually("it logs in", || sqluice.login(&Account::new("app", "app")).ok()));
        }
        clients.iter_mut().for_each(Client::ping);
        steady.ping();
        let error = sqluice.login(&Account::new("app", "app")).expect_err("there is no place, and nobody to make way");
        assert_eq!(error.code, 1040, "{error}");
        assert!(counted(&sqluice, "sqluice_sessions_ended_total{reason=\"login_timeout\"}") >= 6);
        drop(silent);
    });
}

/// No more do connections of a balancer that never says whose they are: neither those that come without one, nor its own others.
#[test]
fn connections_that_await_a_header_keep_nobody_out() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let body = "[limits]\nlogin_timeout = \"1h\"\n\n".to_owned() + &cluster(server) + &user("app", "app");
        let start = Start::new(engine, body).admin("http = \"127.0.0.1:0\"").process("max_sessions = 8\n");
        let start = start.listener("tls = \"disabled\"\nproxy_protocol_from = [\"127.9.0.0/16\"]");
        let sqluice = start.run_with_servers_up(1);
        let silent: Vec<TcpStream> = (0..100).map(|_| connect_from(BALANCER, sqluice.address, b"")).collect();
        let mut clients: Vec<Client> = Vec::new();
        for (from, header) in [(HERE, &b""[..]), (BALANCER, HEADER)].repeat(4) {
            let login = || login_from(from, &sqluice, header, &Account::new("app", "app")).ok();
            clients.push(eventually("it logs in", login));
        }
        clients.iter_mut().for_each(Client::ping);
        assert!(turned_away(&sqluice, "proxy_header") >= 8, "those that were there made way");
        drop(silent);
    });
}

const BALANCER: [u8; 4] = [127, 9, 0, 1];
const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 3306\r\n";
