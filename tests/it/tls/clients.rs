//! Clients that do more with TLS than most: certificates of their own, resumed sessions, bytes where none belong, ends in the
//! middle.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::harness::{Engine, run};

/// An authority with certificates of it, in a folder: `NAME.pem` and `NAME.key`.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        fs::write(folder.join(name).with_extension("pem"), certificate.pem()).expect("the folder is ours");
        Authority { issuer: rcgen::Issuer::new(parameters, key) }
    }

    fn issue(&self, folder: &Path, name: &str) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(folder.join(name).with_extension("pem"), certificate.pem()).expect("the folder is ours");
        fs::write(folder.join(name).with_extension("key"), key.serialize_pem()).expect("the folder is ours");
    }
}

#[test]
fn who_must_show_a_certificate_gets_in_with_a_good_one_only() {
    let server = Server::shared(Flavour::MySql97);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let at = |name: &str| folder.path().join(name).display().to_string();
    Authority::new(folder.path(), "trusted").issue(folder.path(), "friend");
    Authority::new(folder.path(), "other").issue(folder.path(), "stranger");
    on_both_engines(|engine| {
        let lines =
            format!("tls = \"required\"\ntls_client_ca = \"{}\"\nrequire_client_certificate = true", at("trusted.pem"));
        let sqluice = Start::new(engine, cluster(server) + &user("app", "app")).listener(&lines).run_with_servers_up(1);
        let attempt = |name: Option<&str>| {
            let own = name.map(|name| {
                [
                    format!("--ssl-cert={}", at(&format!("{name}.pem"))),
                    format!("--ssl-key={}", at(&format!("{name}.key"))),
                ]
            });
            let own = own.iter().flatten().map(String::as_str);
            let options: Vec<&str> =
                ["--ssl-mode=REQUIRED", "-e", "SELECT CURRENT_USER()"].into_iter().chain(own).collect();
            cli(Flavour::MySql97, sqluice.address, "app", &options)
        };
        assert_eq!(attempt(Some("friend")).expect_success("a good certificate").trim(), "app@%");
        // Clients of TLS 1.3 have sent their login by then, and just see the connection end.
        for (name, complaint) in [(None, "peer sent no certificates"), (Some("stranger"), "UnknownIssuer")] {
            assert!(!attempt(name).success, "{name:?} gets in");
            eventually("the log says why", || sqluice.log().contains(complaint).then_some(()));
        }
    });
}

#[test]
fn sessions_of_clients_are_resumed_and_bytes_count_by_where_they_stand() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, cluster(server) + &user("app", "app")).listener("").run_with_servers_up(1);
        let (host, port) = (sqluice.address.ip().to_string(), sqluice.address.port().to_string());
        let said = python("tls_edges.py", &[&host, &port, "app", "app"]).expect_success("tls_edges.py");
        let expected = [
            "resumed in TLSv1.2: True",
            "resumed in TLSv1.3: True",
            "ClientHello in the segment of the SSLRequest: logged in",
            "login in clear behind the SSLRequest: alert",
            "close_notify in the middle of a command: closed",
            "end without close_notify: closed",
        ];
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
        sqluice.await_no_sessions();
        assert_eq!(sqluice.log().matches("logged in session").count(), 7, "{}", sqluice.log());
    });
}

/// A certificate and its key in a folder, valid until so long after 1970.
fn expiring(folder: &Path, end: Duration) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(vec!["db.example".to_owned()]).expect("a name");
    parameters.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
    let certificate = parameters.self_signed(&key).expect("a certificate");
    fs::write(folder.join("own.pem"), certificate.pem()).expect("the folder is ours");
    fs::write(folder.join("own.key"), key.serialize_pem()).expect("the folder is ours");
}

#[test]
fn a_certificate_that_expires_is_warned_of_and_a_check_reads_all_that_is_named() {
    let server = Server::shared(Flavour::MariaDb10);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right");
    let day_and_half = Duration::from_secs(36 * 3600);
    expiring(folder.path(), now + day_and_half);
    let lines = format!("tls_certificate = \"{}\"\ntls_key = \"{}\"", at("own.pem"), at("own.key"));
    let body = cluster(server) + &user("app", "app");
    let sqluice = Start::new(Engine::IoUring, body).listener(&lines).run_with_servers_up(1);
    let check =
        || run(Command::new(env!("CARGO_BIN_EXE_sqluice")).args(["check", "--config"]).arg(sqluice.config_path()));
    let logged = |words: &str| eventually(words, || sqluice.log().contains(words).then_some(()));

    logged("its certificate expires soon: whole days left: 1");
    let checked = check();
    assert!(checked.success && checked.stderr.contains("listener app: its certificate expires soon"), "{checked:?}");
    assert!(sqluice.command(&["status"]).expect_success("status").contains("1 days left"));

    expiring(folder.path(), now - day_and_half);
    logged("its certificate has expired");
    let checked = check();
    assert!(checked.success && checked.stderr.contains("listener app: its certificate has expired"), "{checked:?}");
    assert!(sqluice.command(&["status"]).expect_success("status").contains("HAS EXPIRED"));

    fs::remove_file(folder.path().join("own.key")).expect("it is there");
    let checked = check();
    assert!(!checked.success, "a file is missing");
    for part in ["own.key", "cannot be read", "write the path of a readable PEM file"] {
        assert!(checked.stderr.contains(part), "{part}: {}", checked.stderr);
    }
}
