//! Stock clients of MariaDB 11.4 and later on another host: they believe a certificate that nobody has signed only if the OK
//! of their login says of it what nobody can who does not know their password. On the loopback they do not ask.

use super::*;
use crate::harness::{Finished, Flavour, Network, Server, Start, cluster, on_both_engines, user};

/// One user for each way in which a password may be known here and be proved to both sides.
fn users(server: &Server) -> String {
    let stored = "SELECT JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv WHERE User = 'signed'";
    let hashed =
        |name: &str, hash: &str| format!("[[user]]\nname = \"{name}\"\npassword_hash = \"{hash}\"\npool = \"main\"\n");
    let newcomers =
        "[users]\nsource = \"servers\"\naccount = { user = \"app\", password = \"app\" }\npool = \"main\"\n";
    [
        user("app", "app"),
        hashed("other", "*023494FBCDFBF9C93B6B2663B348A1C4A939B247"),
        hashed("signed", server.root(stored).trim()),
        "backend_user = \"service\"\nbackend_password = \"service-secret\"\n".to_owned(),
        newcomers.to_owned(),
    ]
    .concat()
}

/// MariaDB's client on the host, with no more options than it needs to find us.
fn log_in(network: &Network, to: SocketAddr, user: &str, password: &str, options: &[&str]) -> Finished {
    let (host, port) = (format!("--host={}", to.ip()), format!("--port={}", to.port()));
    let (user, password) = (format!("--user={user}"), format!("--password={password}"));
    let asked = ["--batch", "--skip-column-names", "-e", "SELECT SUBSTRING_INDEX(USER(), '@', 1)"];
    let arguments = [&[host.as_str(), &port, &user, &password], &asked[..], options].concat();
    network.client_cli(0, Flavour::MariaDb11, &arguments)
}

#[test]
fn a_stock_client_on_another_host_believes_the_certificate_that_was_made_here() {
    let server = Server::shared(Flavour::MariaDb11);
    let network = Network::start(1);
    on_both_engines(|engine| {
        let body = cluster(server) + &users(server);
        let sqluice = Start::new(engine, body).listener("").at(network.here(0)).run_with_servers_up(1);
        let log_in = |user, password, options: &[&str]| log_in(&network, sqluice.address, user, password, options);
        let signing = ["--default-auth=client_ed25519"];
        for (user, password, options, at_server) in [
            ("app", "app", &[][..], "app"),
            ("other", "other", &[], "other"),
            // It is switched to the plugin of its hash, with another salt.
            ("other", "other", &signing, "other"),
            ("signed", "signed", &[], "service"),
            ("repl", "repl", &[], "repl"),
        ] {
            let what = format!("{user} {options:?}");
            assert_eq!(log_in(user, password, options).expect_success(&what).trim(), at_server, "{what}");
            let guessed = log_in(user, "guessed", options);
            assert!(!guessed.success && guessed.stderr.contains("Access denied"), "{what}: {}", guessed.stderr);
        }
        // In this way nothing can be said of the certificate, which shows that it is looked at.
        let unassured = log_in("app", "app", &["--default-auth=caching_sha2_password"]);
        assert!(!unassured.success && unassured.stderr.contains("self-signed certificate"), "{}", unassured.stderr);
    });
}

/// What a server says of its own certificate is not for our clients: they see ours, or none.
#[test]
fn what_a_server_says_of_its_certificate_reaches_no_client() {
    let server = Server::shared(Flavour::MariaDb11);
    on_both_engines(|engine| {
        for tls in ["disabled", "required"] {
            let lines = format!("[[cluster.main.server]]\ntls = \"{tls}\"\n");
            let body = cluster(server).replace("[[cluster.main.server]]\n", &lines) + &user("app", "app");
            let sqluice = Start::new(engine, body).run_with_servers_up(1);
            assert!(has_assurance(&server.direct()), "the server says it, also to who has no TLS");
            assert!(!has_assurance(&sqluice.app()), "the server is spoken to with tls = {tls:?}");
        }
    });
}

/// Whether the OK of the login has MariaDB's hash of password and certificate: a byte 1 and 64 digits.
fn has_assurance(client: &Client) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
    client.login_ok.windows(65).any(|info| info[0] == 1 && info[1..].iter().all(is_digit))
}
