//! The commands that ask a running process, and the shapes of their JSON.

use serde_json::Value;

use crate::compare::relay;
use crate::harness::{Account, Flavour, Server, Start, cluster, cluster_on, eventually, on_both_engines, user};

#[track_caller]
fn has_keys(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "no {key} in {value:#}");
    }
}

#[test]
fn status_tells_listeners_clusters_servers_and_pools() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = relay(engine, server);
        let _client = sqluice.app();
        let status = sqluice.status();
        has_keys(&status, &["process", "sessions", "listeners", "clusters", "pools"]);
        has_keys(
            &status["process"],
            &["version", "pid", "phase", "uptime_seconds", "engine", "workers", "table_epoch"],
        );
        assert_eq!(status["process"]["pid"], sqluice.process().0);
        assert!(
            status["process"]["engine"].as_str().is_some_and(|name| name.starts_with(engine.setting())),
            "{status:#}"
        );
        assert_eq!(status["listeners"][0]["address"], sqluice.address.to_string());
        let row = &status["clusters"][0]["servers"][0];
        has_keys(row, &["name", "address", "role", "state", "reason", "weight", "connections", "version"]);
        assert_eq!((&row["name"], &row["state"], &row["role"]), (&"s1".into(), &"up".into(), &"primary".into()));
        assert_eq!(row["connections"], 1);
        assert!(row["version"].as_str().is_some_and(|version| version.contains("MariaDB")), "{row:#}");
        assert_eq!(status["pools"][0]["usable"][0], "s1");
        let text = sqluice.command(&["status"]).expect_success("status");
        assert!(text.contains("s1") && text.contains("main"), "{text}");
    });
}

#[test]
fn sessions_tells_a_row_for_each() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = relay(engine, server);
        assert!(sqluice.sessions().is_empty());
        let mut clients: Vec<_> = (0..5).map(|_| sqluice.app()).collect();
        clients[0].execute("BEGIN");
        let rows = eventually("five rows", || Some(sqluice.sessions()).filter(|rows| rows.len() == 5));
        for row in &rows {
            has_keys(row, &["id", "worker", "user", "address", "server", "state", "pins", "commands", "age_seconds"]);
            assert_eq!((&row["user"], &row["server"]), (&"app".into(), &"s1".into()));
        }
        let local = clients[0].socket().local_addr().expect("a socket has an address").to_string();
        let row = rows.iter().find(|row| row["id"] == clients[0].connection_id()).expect("the first session is listed");
        assert_eq!(row["address"], local);
        let text = sqluice.command(&["sessions"]).expect_success("sessions");
        assert!(text.contains(&local), "{text}");
        clients.into_iter().for_each(crate::harness::Client::quit);
        sqluice.await_no_sessions();
    });
}

#[test]
fn explain_tells_the_server_and_why_not_the_others() {
    let servers = [Server::shared(Flavour::MariaDb10), Server::shared(Flavour::MariaDb11)];
    on_both_engines(|engine| {
        let body =
            cluster_on(&servers).replace("name = \"s2\"", "name = \"s2\"\nmax_connections = 1") + &user("app", "app");
        let sqluice = Start::new(engine, body).run_with_servers_up(2);
        let text = sqluice.command(&["explain", "--user", "app", "SELECT 1"]).expect_success("explain");
        for word in ["app", "main", "s1", "s2"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
        assert!(!sqluice.command(&["explain", "--user", "nobody", "SELECT 1"]).success);
    });
}

#[test]
fn a_process_that_is_not_there_is_an_exit_code_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let socket = folder.path().join("none.sock");
    for command in ["status", "sessions", "reload"] {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_sqluice"))
            .args([command, "--socket"])
            .arg(&socket)
            .output()
            .expect("the binary can be run")
            .status;
        assert_eq!(status.code(), Some(3), "{command}");
    }
}

#[test]
fn the_admin_socket_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, cluster(server) + &user("app", "app")).run();
        let mode = std::fs::metadata(sqluice.admin_socket()).expect("the socket is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let path = sqluice.admin_socket();
        drop(sqluice);
        assert!(!path.exists(), "it is removed at the end");
    });
}

#[test]
fn passwords_and_statements_never_reach_the_log_or_the_status() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let body = cluster(server)
            + &user("app", "app").replace(
                "\"app\"\npool",
                "\"a-secret-word\"\nbackend_password = \"app\"\nbackend_user = \"app\"\npool",
            );
        let sqluice = Start::new(engine, body).log_level("trace").run_with_servers_up(1);
        let mut client = sqluice.login(&Account::new("app", "a-secret-word")).expect("app logs in");
        client.execute("SELECT 'a-secret-literal'");
        client.query("SELECT 'a-secret-literal' FROM missing").failed();
        let _ = sqluice.login(&Account::new("app", "a-secret-guess"));
        let said = sqluice.status().to_string() + &sqluice.command(&["sessions"]).stdout;
        client.quit();
        sqluice.await_no_sessions();
        for text in [said, sqluice.log()] {
            assert!(!text.contains("a-secret"), "{text}");
        }
    });
}
