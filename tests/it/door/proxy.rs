//! Headers of the PROXY protocol, from a balancer in front of us and to the servers behind.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::harness::{Flavour, Server, Start, cluster, free_address, on_both_engines, user};

const LISTENER: &str = "tls = \"disabled\"\nproxy_protocol_from = [\"127.9.0.0/16\"]";
const BALANCER: [u8; 4] = [127, 9, 0, 1];
const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 3306\r\n";

/// The same in binary, with something behind the addresses.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xcb\x00\x71\x07\xc6\x33\x64\x01\x12\x67\x0c\xea\x04\x00\x01\x00";
const BINARY_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// A server that believes headers of this machine, with an account that only one address of the documentation may use.
fn believing_server() -> Server {
    let server = Server::start(Flavour::MariaDb10, &["--proxy-protocol-networks=127.0.0.0/8"]);
    server.root(
        "CREATE USER byhost@'203.0.113.7' IDENTIFIED VIA mysql_native_password USING PASSWORD('byhost'); \
         CREATE USER monitored@'127.0.0.1' IDENTIFIED VIA mysql_native_password USING PASSWORD('monitored')",
    );
    server
}

fn start(engine: crate::harness::Engine, body: String) -> Sqluice {
    Start::new(engine, body).listener(LISTENER).admin("http = \"127.0.0.1:0\"").run_with_servers_up(1)
}

fn sending(cluster: String, version: &str) -> String {
    cluster.replace("role = \"primary\"\n\n[pool", &format!("role = \"primary\"\nsend_proxy = \"{version}\"\n\n[pool"))
}

#[test]
fn a_client_behind_a_balancer_keeps_its_address_up_to_the_servers_accounts() {
    let server = believing_server();
    on_both_engines(|engine| {
        for (version, header) in [("v1", LINE), ("v2", BINARY)] {
            let body = sending(cluster(&server), version) + &user("byhost", "byhost") + &user("app", "app");
            let sqluice = start(engine, body);
            let account = Account::new("byhost", "byhost");
            let mut client = login_from(BALANCER, &sqluice, header, &account).expect("the account is for its address");
            assert_eq!(client.value("SELECT USER()"), "byhost@203.0.113.7");
            assert_eq!(client.value("SELECT CURRENT_USER()"), "byhost@203.0.113.7");
            assert_eq!(addresses(&sqluice), [IpAddr::from([203, 0, 113, 7])]);
            await_line(&sqluice, &["logged in", "byhost"]);
            // From elsewhere the same account is refused, by the server.
            let direct = sqluice.login(&account).expect_err("the account is for another address");
            assert_eq!(direct.code, 1045, "{direct}");
            let wrong = login_from(BALANCER, &sqluice, header, &Account::new("app", "wrong")).expect_err("wrong");
            assert!(wrong.message.contains("'app'@'203.0.113.7'"), "{wrong}");
            await_line(&sqluice, &["login_denied", "203.0.113.7:4711"]);
        }
    });
}

#[test]
fn a_balancer_s_own_connection_has_its_own_address() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = start(engine, cluster(server) + &user("app", "app"));
        for header in [BINARY_LOCAL, b"PROXY UNKNOWN\r\n"] {
            let mut client = login_from(BALANCER, &sqluice, header, &Account::new("app", "app")).expect("app logs in");
            client.ping();
            assert_eq!(addresses(&sqluice), [IpAddr::from(BALANCER)]);
            client.quit();
            sqluice.await_no_sessions();
        }
    });
}

#[test]
fn a_header_may_come_in_pieces() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = start(engine, cluster(server) + &user("app", "app"));
        let mut stream = connect_from(BALANCER, sqluice.address, &BINARY[..1]);
        stream.set_nodelay(true).expect("a socket takes options");
        for byte in &BINARY[1..] {
            stream.write_all(std::slice::from_ref(byte)).expect("sqluice waits for the rest");
        }
        let mut client = Client::over(stream).expect("a greeting");
        client.authenticate(&Account::new("app", "app")).expect("app logs in");
        assert_eq!(addresses(&sqluice), [IpAddr::from([203, 0, 113, 7])]);
    });
}

#[test]
fn a_balancer_that_does_not_say_whose_connection_it_is_is_closed_and_counted() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let limits = "[limits]\nlogin_timeout = \"1s\"\n\n";
        let sqluice = start(engine, limits.to_owned() + &cluster(server) + &user("app", "app"));
        let silent = connect_from(BALANCER, sqluice.address, b"");
        let endless = connect_from(BALANCER, sqluice.address, &[b"PROXY ", &[b'x'; 200][..]].concat());
        let wrong = connect_from(BALANCER, sqluice.address, b"\x55\0\0\x01 a login without a header");
        let half = connect_from(BALANCER, sqluice.address, &BINARY[..20]);
        let gone = connect_from(BALANCER, sqluice.address, &LINE[..20]);
        drop(gone);
        for stream in [silent, endless, wrong, half] {
            assert_eq!(read_to_close(stream), b"", "nobody there understands a greeting");
        }
        eventually("all five are counted", || (turned_away(&sqluice, "proxy_header") == 5).then_some(()));
        await_line(&sqluice, &["client turned away", "127.9.0.1"]);
        // Whoever is no balancer is not believed: its header is a broken login.
        let stranger = connect_from([127, 8, 0, 1], sqluice.address, LINE);
        assert_eq!(read_to_close(stranger)[4], 0x0A, "it is greeted, and then refused");
        sqluice.await_no_sessions();
        sqluice.app().ping();
    });
}

#[test]
fn a_lent_connection_is_lent_to_clients_of_one_address_only() {
    let server = believing_server();
    on_both_engines(|engine| {
        let user = user("app", "app").trim_end().to_owned() + "\nbackend_reuse = \"transaction\"\n\n";
        let sqluice = start(engine, sending(cluster(&server), "v2") + &user);
        let other = b"PROXY TCP4 203.0.113.8 198.51.100.1 4711 3306\r\n";
        let account = Account::new("app", "app");
        let mut first = login_from(BALANCER, &sqluice, LINE, &account).expect("app logs in");
        let mut second = login_from(BALANCER, &sqluice, other, &account).expect("app logs in");
        for _ in 0..5 {
            assert_eq!(first.value("SELECT USER()"), "app@203.0.113.7");
            assert_eq!(second.value("SELECT USER()"), "app@203.0.113.8");
        }
    });
}

/// HAProxy as balancer in front of sqluice, or between sqluice and a server.
struct HaProxy {
    child: Child,
    _folder: tempfile::TempDir,
    ports: Vec<u16>,
}

impl HaProxy {
    /// One proxy for each of `lines`, of which each is a `bind` option, the server's address, and its options.
    fn start(lines: &[(&str, SocketAddr, &str)]) -> HaProxy {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut text =
            String::from("defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n");
        let mut ports = Vec::new();
        for (bind, server, options) in lines {
            let port = free_address().port();
            text += &format!("listen p{port}\n bind 127.0.0.1:{port} {bind}\n server s {server} {options}\n");
            ports.push(port);
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, text).expect("the file can be written");
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(&file).stderr(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("haproxy is installed");
        for port in &ports {
            eventually("haproxy listens", || TcpStream::connect(("127.0.0.1", *port)).is_ok().then_some(()));
        }
        HaProxy { child, _folder: folder, ports }
    }

    fn address(&self, index: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[index]))
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }
}

#[test]
fn haproxy_in_front_passes_its_clients_addresses_on() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = start(engine, cluster(server) + &user("app", "app"));
        let haproxy = HaProxy::start(&[
            ("", sqluice.address, "source 127.9.0.1 send-proxy"),
            ("", sqluice.address, "source 127.9.0.1 send-proxy-v2"),
            ("", sqluice.address, "source 127.9.0.1 send-proxy-v2 check check-send-proxy inter 100ms"),
        ]);
        for index in 0..3 {
            let client = connect_from([127, 5, 0, 7], haproxy.address(index), b"");
            let mut client = Client::over(client).expect("a greeting");
            client.authenticate(&Account::new("app", "app")).expect("app logs in");
            assert!(addresses(&sqluice).contains(&IpAddr::from([127, 5, 0, 7])), "{:?}", addresses(&sqluice));
        }
    });
}

#[test]
fn a_server_that_insists_on_a_header_is_checked_and_used() {
    let server = believing_server();
    on_both_engines(|engine| {
        // `accept-proxy` closes whoever comes without a header.
        let haproxy = HaProxy::start(&[("accept-proxy", server.address, "send-proxy-v2")]);
        for version in ["v1", "v2"] {
            let body = sending(cluster(&server), version).replace(
                &format!("address = \"{}\"", server.address),
                &format!("address = \"{}\"", haproxy.address(0)),
            );
            let sqluice = start(engine, body + &user("byhost", "byhost"));
            let mut client =
                login_from(BALANCER, &sqluice, LINE, &Account::new("byhost", "byhost")).expect("byhost logs in");
            assert_eq!(client.value("SELECT USER()"), "byhost@203.0.113.7");
        }
    });
}

#[test]
fn a_server_that_insists_on_a_header_tells_its_accounts() {
    let server = Server::shared(Flavour::MariaDb10);
    server.root(
        "CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'reader'; GRANT SELECT ON mysql.global_priv TO reader@'%'; \
         CREATE USER IF NOT EXISTS listed@'%' IDENTIFIED BY 'listed'",
    );
    let haproxy = HaProxy::start(&[("accept-proxy", server.address, "")]);
    for version in ["v1", "v2"] {
        let (own, asked) = (format!("\"{}\"", server.address), format!("\"{}\"", haproxy.address(0)));
        let body = sending(cluster(server), version).replace(&own, &asked)
            + "[users]\nsource = \"servers\"\npool = \"main\"\naccount = { user = \"reader\", password = \"reader\" }\n";
        let sqluice = start(crate::harness::Engine::IoUring, body);
        let mut client = eventually("the accounts are read", || sqluice.login(&Account::new("listed", "listed")).ok());
        assert_eq!(client.value("SELECT CURRENT_USER()"), "listed@%");
    }
}
