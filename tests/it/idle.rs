//! Clients that say nothing cost those that work nothing.

use std::time::Duration;

use crate::harness::{Client, Flavour, Process, Server, Start, cluster, eventually, on_both_engines, user};

const IDLE: usize = 999;

/// What the whole process spends on a number of queries, one after the other.
fn cost(process: Process, client: &mut Client) -> Duration {
    const QUERIES: usize = 1000;
    let before = process.cpu_time();
    (0..QUERIES).for_each(|_| assert_eq!(client.value("SELECT 1"), "1"));
    process.cpu_time().saturating_sub(before)
}

#[test]
fn a_query_costs_as_much_beside_a_thousand_idle_clients_as_alone() {
    let server = Server::start(Flavour::MariaDb10, &["--max-connections=1100"]);
    on_both_engines(|engine| {
        // One worker has them all. Without its looks before it sleeps, which it takes on its own account.
        let start = Start::new(engine, cluster(&server) + &user("app", "app")).workers(1).process("busy_poll = false");
        let sqluice = start.run_with_servers_up(1);
        let mut client = sqluice.app();
        let alone = (0..4).map(|_| cost(sqluice.process(), &mut client)).min().expect("there are rounds");
        let idle: Vec<Client> = (0..IDLE).map(|_| sqluice.app()).collect();
        // Were each of them looked at for a query, it would be ten times as much in every round; others on this machine make it
        // twice as much in some.
        eventually(&format!("{engine:?}: less than twice {alone:?} beside {IDLE} idle clients"), || {
            (cost(sqluice.process(), &mut client) < alone * 2).then_some(())
        });
        assert_eq!(sqluice.sessions().len(), IDLE + 1, "all of them are there");
        drop(idle);
    });
}
