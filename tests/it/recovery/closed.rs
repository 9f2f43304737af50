//! A server that lets in nobody but administrators, while it lives and answers.

use crate::harness::{Engine, Flavour, Server, Start, eventually};

/// Two clusters of the one server: the account that checks it is an administrator in the second.
fn configuration(server: &Server) -> String {
    let cluster = |name: &str, account: &str| {
        format!(
            "[cluster.{name}]\ntopology = \"replication\"\nmonitor = {{ user = \"{account}\", password = \"{account}\" }}\n\
             check_interval = \"100ms\"\ncheck_timeout = \"5s\"\nhold_timeout = \"60s\"\n\n\
             [[cluster.{name}.server]]\nname = \"of-{name}\"\naddress = \"{}\"\n\n\
             [pool.{name}]\ncluster = \"{name}\"\nrole = \"primary\"\n\n",
            server.address
        )
    };
    cluster("plain", "monitor")
        + &cluster("strong", "admin")
        + "[[user]]\nname = \"app\"\npassword = \"app\"\npool = \"strong\"\n\n"
}

#[test]
fn a_server_in_offline_mode_is_left_whoever_checks_it() {
    let server = Server::start(Flavour::MySql97, &[]);
    server.root(
        "CREATE USER admin@'%' IDENTIFIED BY 'admin'; GRANT CONNECTION_ADMIN, REPLICATION CLIENT ON *.* TO admin@'%'",
    );
    let sqluice = Start::new(Engine::Epoll, configuration(&server)).run_with_servers_up(2);
    assert_eq!(sqluice.app().value("SELECT 1"), "1");
    server.root("SET GLOBAL offline_mode = ON");
    for name in ["of-plain", "of-strong"] {
        sqluice.await_health(name, "down");
        eventually("it is told why", || {
            let page = sqluice.command(&["status"]).expect_success("sqluice status");
            page.lines().any(|line| line.contains(name) && line.contains("ERROR 3032")).then_some(())
        });
    }
    server.root("SET GLOBAL offline_mode = OFF");
    sqluice.await_servers_up(2);
    assert_eq!(sqluice.app().value("SELECT 1"), "1");
}
