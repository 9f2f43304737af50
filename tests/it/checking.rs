//! The load that keeps books finds what is done to its rows; otherwise its silence would prove nothing.

use crate::harness::checker::{Fault, Load, Phase};
use crate::harness::{Engine, Flavour, Server, Start, Trio, split_trio};

#[test]
fn the_checker_finds_nothing_where_nothing_is_wrong() {
    let server = Server::shared(Flavour::MariaDb10);
    let load = Load::start(server.address, server, 3);
    load.await_writes(20);
    let report = load.stop(server);
    report.expect_clean("a server by itself");
    assert!(report.errors.is_empty(), "{report}");
}

#[test]
fn a_split_set_keeps_every_row_and_shows_each_session_what_it_wrote() {
    let trio = Trio::shared(Flavour::MariaDb10);
    let sqluice = Start::new(Engine::IoUring, split_trio(trio)).run_with_servers_up(3);
    let load = Load::start(sqluice.address, trio.primary(), 4);
    load.await_writes(20);
    let report = load.stop(trio.primary());
    report.expect_clean("a primary and two replicas");
    let phases = [Phase::Login, Phase::Write, Phase::Read, Phase::Transaction, Phase::Commit];
    assert_eq!(phases.map(|phase| report.errors_in(phase)), [0; 5], "{report}");
}

#[test]
fn the_checker_finds_rows_that_were_lost_repeated_or_made_up() {
    let server = Server::shared(Flavour::MariaDb10);
    let load = Load::start(server.address, server, 3);
    load.await_writes(20);
    let table = load.table().to_owned();
    let mut meddler = server.direct();
    // The reads of client 0 go back, client 1 has a row twice, and a row of client 2 is not its own.
    meddler.execute(&format!("DELETE FROM {table} WHERE client = 0 AND number < 10"));
    meddler.execute(&format!(
        "INSERT INTO {table} (client, number) SELECT client, number FROM {table} WHERE client = 1 AND number = 3"
    ));
    load.await_writes(5);
    meddler.execute(&format!("INSERT INTO {table} (client, number) VALUES (2, 1000000)"));
    let report = load.stop(server);
    let has = |fault: fn(&Fault) -> bool| report.faults.iter().any(fault);
    assert!(has(|fault| matches!(fault, Fault::Lost { client: 0, number: 1 })), "{report}");
    assert!(has(|fault| matches!(fault, Fault::WentBackwards { client: 0, .. })), "{report}");
    assert!(has(|fault| matches!(fault, Fault::Repeated { client: 1, number: 3, times: 2 })), "{report}");
    assert!(has(|fault| matches!(fault, Fault::Strange { client: 2, number: 1_000_000 })), "{report}");
    assert!(!has(|fault| matches!(fault, Fault::Torn { .. } | Fault::NoAnswer { .. })), "{report}");
}
