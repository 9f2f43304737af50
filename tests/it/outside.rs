//! Sessions that go where a server sends them, to addresses that are not in the configuration.

use crate::harness::wire::query_payload;
use crate::harness::{Client, Engine, Flavour, Server, Shape, Sqluice, Start, eventually, on_both_engines, user};
use crate::killing::await_running;
use crate::redirecting::{behind, failover, refusal};

/// A balancer before a server, with these lines for its cluster, which follows to any address.
fn before(engine: Engine, server: &Sqluice, more: &str) -> Sqluice {
    let body = format!(
        "[cluster.main]\ntopology = \"static\"\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
         check_interval = \"100ms\"\ncheck_timeout = \"5s\"\nhold_timeout = \"300ms\"\nconnect_timeout = \"30s\"\n\
         follow_redirects = \"any\"\n{more}\n[[cluster.main.server]]\nname = \"s1\"\naddress = \"{}\"\nrole = \"primary\"\n\n\
         [pool.main]\ncluster = \"main\"\nrole = \"primary\"\n\n",
        server.address
    );
    Start::new(engine, body + &user("app", "app")).workers(4).run_with_servers_up(1)
}

/// Where a client's session is.
fn server_of(front: &Sqluice, client: &Client) -> String {
    let sessions = front.sessions();
    let mine = sessions.iter().find(|session| session["id"] == client.connection_id()).expect("it is there");
    mine["server"].as_str().expect("it has a server").to_owned()
}

#[test]
fn a_session_goes_where_it_is_sent_and_is_found_there_by_a_kill() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let (leaving, other) = (behind(engine, server), behind(engine, server));
        let front = before(engine, &leaving, "");
        failover(&leaving, &["on", "--target", &other.address.to_string()]);
        let mut killer = front.app();
        let mut victims: Vec<Client> = (0..4).map(|_| front.app()).collect();
        for victim in &mut victims {
            assert_eq!(
                (victim.value("SELECT 1"), server_of(&front, victim)),
                ("1".to_owned(), other.address.to_string())
            );
            killer.execute(&format!("KILL {}", victim.connection_id()));
            victim.await_close();
        }
        eventually("only the killer is left there", || (other.sessions().len() == 1).then_some(()));

        // Two hops, the second to a name.
        let name = format!("localhost:{}", server.address.port());
        failover(&other, &["on", "--target", &name]);
        for _ in 0..4 {
            let mut victim = front.app();
            assert_eq!(server_of(&front, &victim), name);
            assert_eq!(victim.value("SELECT @@port"), server.address.port().to_string());
            let marker = format!("{engine:?} {}", victim.connection_id());
            victim.command(&query_payload(victim.capabilities, &format!("SELECT SLEEP(1000), '{marker}'")));
            await_running(server, &marker);
            killer.execute(&format!("KILL QUERY {}", victim.connection_id()));
            let reply = victim.reply(Shape::Results).expect("the statement is answered");
            assert!(reply.error.as_ref().is_none_or(|error| error.code == 1317), "{reply:?}");
            assert_eq!(victim.value("SELECT 'alive'"), "alive");
        }
        // Nobody has removed a server that was never configured.
        front.command(&["reload"]).expect_success("sqluice reload");
        assert!(!front.sessions().is_empty(), "every worker knows of it");
        assert_eq!(killer.value("SELECT 'alive'"), "alive");
    });
}

#[test]
fn a_circle_through_this_balancer_itself_ends() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let leaving = behind(engine, server);
        let front = before(engine, &leaving, "");
        failover(&leaving, &["on", "--target", &front.address.to_string()]);
        let error = refusal(front.address);
        assert_eq!((error.code, error.state.as_str()), (1158, "08S01"), "{error}");
        assert!(error.message.contains("more than 8 servers in a row send their clients on"), "{error}");
        eventually("nobody goes round any more", || front.sessions().is_empty().then_some(()));
    });
}

#[test]
fn whoever_a_server_sends_sessions_to_must_speak_tls_as_it_does() {
    let server = Server::shared(Flavour::MariaDb10);
    let with_tls =
        |text: String| Start::new(Engine::Epoll, text).listener("tls = \"preferred\"").run_with_servers_up(1);
    let body = || {
        let target = "[instant_failover]\ntarget = \"lb2:1\"\n\n".to_owned();
        target + &crate::harness::cluster(server) + &user("app", "app") + &user("monitor", "monitor")
    };
    let (leaving, other) = (with_tls(body()), with_tls(body()));
    let front = before(Engine::Epoll, &leaving, "tls = \"required\"");
    failover(&leaving, &["on", "--target", &other.address.to_string()]);
    let mut client = front.app();
    assert_eq!((client.value("SELECT 1"), server_of(&front, &client)), ("1".to_owned(), other.address.to_string()));
    let is_sealed = |line: &str| line.contains("logged in") && line.contains("user=app") && line.contains("tls=\"TLS");
    assert!(other.log().lines().any(is_sealed), "{}", other.log());

    // This one has no TLS: it does not get the login.
    let plain = behind(Engine::Epoll, server);
    failover(&leaving, &["on", "--target", &plain.address.to_string()]);
    let error = refusal(front.address);
    assert!(error.message.contains("does not offer TLS"), "{error}");
    assert!(plain.sessions().is_empty() && !plain.log().contains("user=app"));
}
