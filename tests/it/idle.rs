//! Clients that say nothing cost those that work nothing.

use std::time::Duration;

use crate::harness::{Client, Flavour, Process, Server, Start, cluster, on_both_engines, user};

const IDLE: usize = 999;

/// What the whole process spends on a number of queries, one after the other: the least of some rounds.
fn cost(process: Process, client: &mut Client) -> Duration {
    const QUERIES: usize = 1000;
    let round = |_| {
        let before = process.cpu_time();
        (0..QUERIES).for_each(|_| assert_eq!(client.value("SELECT 1"), "1"));
        process.cpu_time().saturating_sub(before)
    };
    (0..4).map(round).min().expect("there are rounds")
}

#[test]
fn a_query_costs_as_much_beside_a_thousand_idle_clients_as_alone() {
    let server = Server::start(Flavour::MariaDb10, &["--max-connections=1100"]);
    on_both_engines(|engine| {
        // One worker has them all. Without its looks before it sleeps, which it takes on its own account.
        let start = Start::new(engine, cluster(&server) + &user("app", "app")).workers(1).process("busy_poll = false");
        let sqluice = start.run_with_servers_up(1);
        let mut client = sqluice.app();
        let alone = cost(sqluice.process(), &mut client);
        let idle: Vec<Client> = (0..IDLE).map(|_| sqluice.app()).collect();
        let beside = cost(sqluice.process(), &mut client);
        assert_eq!(sqluice.sessions().len(), IDLE + 1, "all of them are there");
        eprintln!("{engine:?}: {alone:?} alone, {beside:?} beside {IDLE} idle clients");
        assert!(beside < alone * 2, "{engine:?}: {alone:?} alone, {beside:?} beside {IDLE} idle clients");
        drop(idle);
    });
}
