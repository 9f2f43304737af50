//! KILL with the connection id that a client was given, whatever worker and server its session is on.

use std::thread;

use crate::compare::relay;
use crate::harness::wire::query_payload;
use crate::harness::{
    Account, Client, Engine, Flavour, Server, Shape, Sqluice, Start, cluster, eventually, on_both_engines,
    on_each_flavour, user,
};

/// On several workers, so that the killer and the killed are often on different ones.
fn on_four_workers(engine: Engine, server: &Server) -> Sqluice {
    Start::new(engine, cluster(server) + &user("app", "app") + &user("other", "other"))
        .workers(4)
        .run_with_servers_up(1)
}

/// Until the server runs a statement that holds `marker`.
pub(crate) fn await_running(server: &Server, marker: &str) {
    // The pattern is put together so that it does not find itself.
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE CONCAT('%', '{marker}', '%') AND info NOT LIKE '%processlist%'"
    );
    eventually("the statement runs", || (server.root(&sql).trim() != "0").then_some(()));
}

/// Starts a statement that lasts until it is killed; gives its session.
fn sleeping(sqluice: &Sqluice, server: &Server, marker: &str) -> Client {
    let mut client = sqluice.app();
    let sql = format!("SELECT SLEEP(1000), '{marker}'");
    client.command(&query_payload(client.capabilities, &sql));
    await_running(server, marker);
    client
}

#[test]
fn kill_query_ends_the_statement_and_not_the_session() {
    on_each_flavour(|engine, server| {
        let sqluice = on_four_workers(engine, server);
        let mut killer = sqluice.app();
        for (number, statement) in
            ["KILL QUERY {}", "kill /* the statement */ query\n{} ;", "Kill Query {};"].iter().enumerate()
        {
            let mut victim = sleeping(&sqluice, server, &format!("victim{number}"));
            killer.execute(&statement.replace("{}", &victim.connection_id().to_string()));
            let reply = victim.reply(Shape::Results).expect("the statement is answered");
            // MySQL ends SLEEP() with a result, MariaDB with an error.
            assert!(reply.error.as_ref().is_none_or(|error| error.code == 1317), "{reply:?}");
            assert_eq!(victim.value("SELECT 'alive'"), "alive");
        }
    });
}

#[test]
fn kill_ends_the_session_whether_it_works_or_waits() {
    on_each_flavour(|engine, server| {
        let sqluice = on_four_workers(engine, server);
        let mut killer = sqluice.app();
        let mut idle: Vec<Client> = (0..8).map(|_| sqluice.app()).collect();
        for (number, victim) in idle.iter_mut().enumerate() {
            let form = ["KILL {}", "kill connection {}", "KILL HARD {}"]
                [number % if server.flavour.is_mariadb() { 3 } else { 2 }];
            killer.execute(&form.replace("{}", &victim.connection_id().to_string()));
            victim.await_close();
        }
        let mut busy = sleeping(&sqluice, server, "busy");
        killer.execute(&format!("KILL {}", busy.connection_id()));
        busy.await_close();
        killer.ping();
        eventually("only the killer is left", || (sqluice.sessions().len() == 1).then_some(()));
    });
}

#[test]
fn the_kill_command_of_the_protocol_works_too() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11] {
        let server = Server::shared(flavour);
        on_both_engines(|engine| {
            let sqluice = on_four_workers(engine, server);
            let mut killer = sqluice.app();
            let mut victim = sqluice.app();
            killer.ask(Shape::Single, &[&[0x0C], &victim.connection_id().to_le_bytes()[..]].concat()).ok();
            victim.await_close();
            let error = killer.ask(Shape::Single, &[0x0C, 0xEE, 0xFF, 0xFF, 0x0F]).failed();
            assert_eq!(error.code, 1094, "{error}");
            killer.ping();
        });
    }
}

#[test]
fn an_unknown_id_is_an_error_and_ones_own_is_the_end() {
    on_each_flavour(|engine, server| {
        let sqluice = on_four_workers(engine, server);
        let mut client = sqluice.app();
        for statement in ["KILL 4000000001", "KILL QUERY 4000000001"] {
            let error = client.query(statement).failed();
            assert_eq!((error.code, error.state.as_str()), (1094, "HY000"), "{error}");
        }
        client.ping();
        let own = client.connection_id();
        client.command(&query_payload(client.capabilities, &format!("KILL {own}")));
        client.await_close();
        sqluice.app().ping();
    });
}

#[test]
fn a_user_may_not_kill_anothers_session() {
    on_each_flavour(|engine, server| {
        let sqluice = on_four_workers(engine, server);
        let mut victim = sqluice.app();
        let mut killer = sqluice.login(&Account::new("other", "other")).expect("other logs in");
        for statement in [format!("KILL {}", victim.connection_id()), format!("KILL QUERY {}", victim.connection_id())]
        {
            let error = killer.query(&statement).failed();
            // "You are not owner of thread": the server's decision about its own accounts.
            assert!(matches!(error.code, 1094 | 1095), "{error}");
        }
        victim.ping();
        killer.ping();
    });
}

#[test]
fn many_sessions_kill_each_other_without_harm_to_the_rest() {
    on_both_engines(|engine| {
        let server = Server::shared(Flavour::MariaDb10);
        let sqluice = on_four_workers(engine, server);
        let mut bystanders: Vec<Client> = (0..8).map(|_| sqluice.app()).collect();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut killer = sqluice.app();
                    for _ in 0..25 {
                        let mut victim = sqluice.app();
                        killer.execute(&format!("KILL {}", victim.connection_id()));
                        victim.await_close();
                    }
                });
            }
            for _ in 0..50 {
                bystanders.iter_mut().for_each(Client::ping);
            }
        });
        bystanders.iter_mut().for_each(Client::ping);
    });
}

#[test]
fn a_kill_inside_other_statements_is_left_to_the_server() {
    on_both_engines(|engine| {
        let server = Server::shared(Flavour::MariaDb10);
        let sqluice = relay(engine, server);
        let mut client = sqluice.app();
        // Not statements that kill: strings, names, and a multi-statement whose ids are the server's own.
        assert_eq!(client.value("SELECT 'KILL 1'"), "KILL 1");
        client.query("KILL").failed();
        client.query("KILL QUERY").failed();
        client.query("KILLER 1").failed();
        client.ping();
    });
}

/// Until a session has given its connection back.
fn await_homeless(sqluice: &Sqluice, client: &Client) {
    eventually("the session has no server", || {
        let is_it = |row: &serde_json::Value| row["id"] == client.connection_id() && row["server"].is_null();
        sqluice.sessions().iter().any(is_it).then_some(())
    });
}

#[test]
fn a_session_that_has_lent_its_connection_away_is_killed_by_its_own_user() {
    let server = Server::shared(Flavour::MariaDb10);
    let lends =
        |name| user(name, name).replace("pool = \"main\"\n", "pool = \"main\"\nbackend_reuse = \"transaction\"\n");
    on_both_engines(|engine| {
        let body = cluster(server) + &lends("app") + &lends("other");
        let sqluice = Start::new(engine, body).workers(4).run_with_servers_up(1);
        let mut killer = sqluice.app();
        let mut stranger = sqluice.login(&Account::new("other", "other")).expect("other logs in");
        for _ in 0..4 {
            let mut victim = sqluice.app();
            victim.ping();
            await_homeless(&sqluice, &victim);
            let id = victim.connection_id();
            killer.execute(&format!("KILL QUERY {id}"));
            let error = stranger.query(&format!("KILL {id}")).failed();
            assert_eq!(error.code, 1095, "{error}");
            victim.ping();
            await_homeless(&sqluice, &victim);
            killer.execute(&format!("KILL {id}"));
            victim.await_close();
        }
    });
}
