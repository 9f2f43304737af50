//! TLS with the clients and servers that there are: by the command-line clients of both families and a Python driver.

mod certified;
mod clients;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::harness::{
    ALL_FLAVOURS, Account, Finished, Flavour, Server, Start, client_cli, cluster, eventually, on_both_engines, python,
    user,
};

fn cli(client: Flavour, address: SocketAddr, name: &str, options: &[&str]) -> Finished {
    let (host, port) = (format!("--host={}", address.ip()), format!("--port={}", address.port()));
    let (user, password) = (format!("--user={name}"), format!("--password={name}"));
    let mut arguments = vec![host.as_str(), &port, &user, &password, "--batch", "--skip-column-names"];
    arguments.extend(options);
    client_cli(client, &arguments)
}

/// The option by which each client insists on TLS without asking who answers.
fn insistence(client: Flavour) -> &'static [&'static str] {
    match client {
        Flavour::MariaDb10 => &["--ssl"],
        Flavour::MariaDb11 => &["--ssl", "--skip-ssl-verify-server-cert"],
        Flavour::MySql97 => &["--ssl-mode=REQUIRED"],
    }
}

/// The clients that can log in at a server of that flavour: MySQL's own has no native password any more.
fn clients_for(server: Flavour) -> Vec<Flavour> {
    ALL_FLAVOURS.into_iter().filter(|client| *client != Flavour::MySql97 || server == Flavour::MySql97).collect()
}

const LONG: &str = "SELECT LENGTH(REPEAT('x', 3000000)), REPEAT('z', 3000000)";

#[test]
fn where_tls_is_required_every_client_uses_it_and_nobody_goes_without() {
    for flavour in ALL_FLAVOURS {
        let server = Server::shared(flavour);
        on_both_engines(|engine| {
            let body = cluster(server) + &user("app", "app");
            let sqluice = Start::new(engine, body).listener("tls = \"required\"").run_with_servers_up(1);
            let refused = sqluice.login(&Account::new("app", "app")).expect_err("it is in clear");
            assert_eq!(refused.code, 3159, "{refused}");
            for client in clients_for(flavour) {
                let attempt = |address| {
                    let options = [insistence(client), &["-e", LONG]].concat();
                    cli(client, address, "app", &options).expect_success(&format!("{client:?} at {flavour:?}"))
                };
                let through = attempt(sqluice.address);
                assert_eq!(through.trim().len(), "3000000 ".len() + 3_000_000, "{client:?}");
            }
            let (host, port) = (sqluice.address.ip().to_string(), sqluice.address.port().to_string());
            let said = python("tls.py", &[&host, &port, "app", "app"]).expect_success("PyMySQL");
            assert_eq!(said.lines().collect::<Vec<_>>(), ["TLSv1.2 3000000", "TLSv1.3 3000000"], "{said}");
        });
    }
}

/// Stock clients of MariaDB 11.4 and later want TLS and know who answers. They trust this name of the loopback no more
/// than any other: only `localhost`, `127.0.0.1` and `::1` are spared.
#[test]
fn a_stock_client_of_mariadb_11_needs_nothing_but_its_password() {
    let server = Server::shared(Flavour::MariaDb11);
    on_both_engines(|engine| {
        let body = cluster(server) + &user("app", "app") + &user("other", "other");
        let sqluice = Start::new(engine, body).listener("").run_with_servers_up(1);
        let ask = ["-e", "SELECT CURRENT_USER()"];
        for name in ["app", "other"] {
            let said = cli(Flavour::MariaDb11, sqluice.address, name, &ask).expect_success("the stock client");
            assert_eq!(said.trim(), format!("{name}@%"));
        }
        assert!(sqluice.folder().join("state/self-signed.pem").exists(), "it will be the same after a restart");
    });
}

/// A login in the way of caching_sha2_password says nothing of the certificate, so that the check is seen to be made.
#[test]
fn a_certificate_that_nothing_speaks_for_is_refused_by_the_client() {
    let server = Server::shared(Flavour::MySql97);
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, cluster(server) + &user("app", "app")).listener("").run_with_servers_up(1);
        let stock = cli(Flavour::MariaDb11, sqluice.address, "app", &["-e", "SELECT 1"]);
        assert!(!stock.success && stock.stderr.contains("self-signed certificate"), "{}", stock.stderr);
        let insistent = [insistence(Flavour::MariaDb11), &["-e", "SELECT 1"]].concat();
        cli(Flavour::MariaDb11, sqluice.address, "app", &insistent).expect_success("who does not ask");
    });
}

#[test]
fn a_user_known_by_a_hash_alone_gives_its_password_inside_tls() {
    let server = Server::shared(Flavour::MySql97);
    on_both_engines(|engine| {
        let hash = "*5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3";
        let hashed = &format!("[[user]]\nname = \"app\"\npassword_hash = \"{hash}\"\npool = \"main\"\n");
        let sqluice = Start::new(engine, cluster(server) + hashed).listener("").run_with_servers_up(1);
        let options = ["--ssl-mode=REQUIRED", "-e", "SELECT CURRENT_USER()"];
        let said = cli(Flavour::MySql97, sqluice.address, "app", &options).expect_success("MySQL's client");
        assert_eq!(said.trim(), "app@%");
    });
}

/// A server's own certificates, where it has made some.
fn authority_of(server: &Server) -> String {
    server.data("ca.pem").display().to_string()
}

#[test]
fn servers_are_spoken_to_inside_tls_as_much_as_is_asked() {
    // Both have made a certificate of their own.
    for (flavour, schema) in [(Flavour::MariaDb11, "information_schema"), (Flavour::MySql97, "performance_schema")] {
        let server = Server::shared(flavour);
        let asked = format!("SELECT variable_value FROM {schema}.session_status WHERE variable_name = 'Ssl_version'");
        on_both_engines(|engine| {
            for (demand, expected) in [("disabled", ""), ("preferred", "TLSv1.3"), ("required", "TLSv1.3")] {
                let body = with_tls(server, &format!("tls = \"{demand}\"")) + &user("app", "app");
                let sqluice = Start::new(engine, body).run_with_servers_up(1);
                assert_eq!(sqluice.app().value(&asked), expected, "{flavour:?} {demand}");
                let mut client = sqluice.app();
                assert_eq!(client.value("SELECT LENGTH(REPEAT('x', 3000000))"), "3000000");
                assert_eq!(client.value("SELECT REPEAT('z', 3000000)").len(), 3_000_000);
            }
        });
    }
}

#[test]
fn a_server_is_believed_by_its_authority_and_by_its_name() {
    let server = Server::shared(Flavour::MySql97);
    let ca = authority_of(server);
    on_both_engines(|engine| {
        let start = |tls: &str| Start::new(engine, with_tls(server, tls) + &user("app", "app"));
        let believed = start(&format!("tls = \"verify-ca\"\ntls_ca = \"{ca}\"")).run_with_servers_up(1);
        assert_eq!(believed.app().value("SELECT 1"), "1");
        // Its certificate is for a name of its own making; and the public authorities do not know it.
        for (tls, why) in [
            (format!("tls = \"verify-full\"\ntls_ca = \"{ca}\"\n"), "not valid for name"),
            ("tls = \"verify-ca\"\n".to_owned(), "UnknownIssuer"),
        ] {
            let sqluice = start(&tls).run();
            eventually("the log says why", || sqluice.log().contains(why).then_some(()));
            assert_ne!(sqluice.health("s1"), "up");
            sqluice.login(&Account::new("app", "app")).expect_err("there is no server that is believed");
        }
    });
}

/// A cluster of one server that is spoken to so; who is refused by it is told at once.
fn with_tls(server: &Server, lines: &str) -> String {
    cluster(server)
        .replace("hold_timeout = \"10s\"", "hold_timeout = \"200ms\"")
        .replace("[[cluster.main.server]]\n", &format!("[[cluster.main.server]]\n{lines}\n"))
}

#[test]
fn certificates_are_read_again_when_their_files_change_and_bad_ones_change_nothing() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = |name: &str| folder.path().join(name);
        let write = |name: &str| {
            let made = rcgen::generate_simple_self_signed(vec!["db.example".to_owned()]).expect("a certificate");
            fs::write(file(&format!("{name}.key")), made.signing_key.serialize_pem()).expect("the key can be written");
            fs::write(file(&format!("{name}.pem")), made.cert.pem()).expect("the certificate can be written");
            base64(&made.cert.pem())
        };
        let (certificate, key) = (file("own.pem"), file("own.key"));
        let first = write("own");
        let lines = format!("tls_certificate = \"{}\"\ntls_key = \"{}\"", certificate.display(), key.display());
        let sqluice = Start::new(engine, cluster(server) + &user("app", "app")).listener(&lines).run_with_servers_up(1);
        let shown = || {
            let (host, port) = (sqluice.address.ip().to_string(), sqluice.address.port().to_string());
            python("certificate.py", &[&host, &port]).expect_success("a handshake").trim().to_owned()
        };
        assert_eq!(shown(), first);
        let second = write("own");
        eventually("the new certificate is shown", || (shown() == second).then_some(()));
        fs::write(&certificate, "nothing").expect("the certificate can be written");
        eventually("the bad file is complained of", || sqluice.log().contains("stay in use").then_some(()));
        assert_eq!(shown(), second);
        let reload = sqluice.command(&["reload"]);
        assert!(!reload.success && reload.stderr.contains("own.pem"), "{}", reload.stderr);
        assert_eq!(shown(), second);
        let third = write("other");
        let configuration = fs::read_to_string(sqluice.config_path()).expect("the configuration is there");
        let names_other = configuration.replace("own.pem", "other.pem").replace("own.key", "other.key");
        fs::write(sqluice.config_path(), names_other).expect("the configuration can be written");
        sqluice.hang_up();
        eventually("SIGHUP brings the certificate that is named now", || (shown() == third).then_some(()));
    });
}

/// What stands between the first and the last line of a PEM file.
fn base64(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

/// Bytes that are no handshake end their own session, and no other.
#[test]
fn whoever_breaks_a_handshake_ends_alone() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, cluster(server) + &user("app", "app")).listener("").run_with_servers_up(1);
        let mut bystander = sqluice.app();
        for garbage in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xFF, 0xFF, 1, 2, 3], &[0x15, 3, 3, 0, 2, 2, 48], b""]
        {
            let mut stream = TcpStream::connect(sqluice.address).expect("it listens");
            let mut head = [0; 4];
            stream.read_exact(&mut head).expect("a greeting");
            let mut greeting = vec![0; usize::from(head[0])];
            stream.read_exact(&mut greeting).expect("a greeting");
            let request = [&[32, 0, 0, 1], &0x0000_8A00_u32.to_le_bytes()[..], &[0; 28], garbage].concat();
            stream.write_all(&request).expect("it is read");
            stream.shutdown(Shutdown::Write).expect("the socket is ours");
            let mut rest = Vec::new();
            // A reset is as good an end as any.
            let _ = stream.read_to_end(&mut rest);
        }
        assert_eq!(bystander.value("SELECT 1"), "1");
        drop(bystander);
        sqluice.await_no_sessions();
    });
}
