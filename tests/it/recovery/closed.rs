//! Servers that live and answer, and have been closed by their own operators: `offline_mode`, `pxc_maint_mode`.

use std::net::SocketAddr;

use sqluice::standin::{self, Options, StandIn};

use crate::harness::{
    Account, Client, Engine, Flavour, Server, Sqluice, Start, eventually, on_both_engines, split_group,
};

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

/// Three stand-ins that tell what nodes of Percona XtraDB Cluster 8.0 do.
fn group() -> Vec<StandIn> {
    let account = |name: &str| standin::Account::native(name, name);
    let first = Options::mysql(1, ["monitor", "app", "reader"].map(account).to_vec());
    let nodes = (1..=3).map(|server_id| Options { server_id, ..first.clone() });
    let nodes: Vec<StandIn> = nodes.map(|options| StandIn::start(options).expect("a stand-in starts")).collect();
    StandIn::form_group(&nodes);
    nodes
}

/// Where a session of this client is, by the name of the node.
fn node_of(sqluice: &Sqluice, client: &Client) -> String {
    let sessions = sqluice.sessions();
    let mine = sessions.iter().find(|session| session["id"] == client.greeting.connection_id);
    mine.and_then(|session| session["server"].as_str()).expect("the session is at a node").to_owned()
}

/// Has the node's own operator say this of it, and waits until it is seen.
fn maintain(sqluice: &Sqluice, nodes: &[StandIn], name: &str, mode: &str, fitness: &str) {
    let place = name.strip_prefix("db").and_then(|number| number.parse::<usize>().ok()).expect("a number");
    let mut operator = Client::login(nodes[place - 1].address(), &Account::new("app", "app")).expect("it logs in");
    operator.execute(&format!("SET GLOBAL pxc_maint_mode = '{mode}'"));
    eventually("the node's word is heard", || {
        let servers = sqluice.status()["clusters"][0]["servers"].as_array()?.clone();
        let row = servers.into_iter().find(|row| row["name"] == name)?;
        (row["fitness"] == fitness).then_some(())
    });
}

#[test]
fn a_node_whose_own_operator_takes_it_out_is_left_as_in_a_drain() {
    on_both_engines(|engine| {
        let nodes = group();
        let addresses: Vec<SocketAddr> = nodes.iter().map(StandIn::address).collect();
        let reads = "[[user]]\nname = \"reader\"\npassword = \"reader\"\npool = \"read\"\n";
        let sqluice = Start::new(engine, split_group(&addresses) + reads).run_with_servers_up(3);
        let mut idle = sqluice.app();
        idle.execute("CREATE TABLE visits (n INT)");
        idle.execute("SET time_zone = '+03:00'");
        let mut busy = sqluice.app();
        busy.execute("BEGIN");
        busy.execute("INSERT INTO visits VALUES (1)");
        for mode in ["MAINTENANCE", "SHUTDOWN"] {
            let left = node_of(&sqluice, &busy);
            maintain(&sqluice, &nodes, &left, mode, "leaving");
            eventually("who is free leaves", || (node_of(&sqluice, &idle) != left).then_some(()));
            assert_eq!(idle.value("SELECT @@time_zone"), "+03:00", "with what it has set");
            assert_eq!(node_of(&sqluice, &busy), left, "{mode}: a transaction comes to its end first");
            let page = sqluice.command(&["status"]).expect_success("sqluice status");
            let told = page.lines().find(|line| line.contains(&*left)).expect("the node has a line");
            assert!(told.contains("leaving") && told.contains("pxc_maint_mode"), "{told}");
            busy.execute("COMMIT");
            eventually("then it leaves, too", || (node_of(&sqluice, &busy) != left).then_some(()));
            maintain(&sqluice, &nodes, &left, "DISABLED", "fit");
            busy.execute("BEGIN");
            busy.execute("INSERT INTO visits VALUES (2)");
        }
        busy.execute("COMMIT");
        assert_eq!(idle.value("SELECT COUNT(*) FROM visits"), "3");

        let reader = sqluice.login(&Account::new("reader", "reader")).expect("the user logs in");
        let left = node_of(&sqluice, &reader);
        maintain(&sqluice, &nodes, &left, "MAINTENANCE", "leaving");
        eventually("a user of replicas goes to another one", || (node_of(&sqluice, &reader) != left).then_some(()));
        maintain(&sqluice, &nodes, &left, "DISABLED", "fit");
        eventually("the node is used again", || {
            let readers = [(); 4].map(|()| sqluice.login(&Account::new("reader", "reader")).expect("the user logs in"));
            readers.iter().any(|reader| node_of(&sqluice, reader) == left).then_some(())
        });
    });
}
