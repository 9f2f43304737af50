//! Servers that live, and whose links are cut: from each other while clients still reach them, from sqluice while the others
//! still have them, and both halves made to go on. Neither end of a cut link is told.

use super::*;
use crate::harness::checker::Phase;
use crate::harness::{Distant, Link, Network};

#[test]
fn nodes_that_are_cut_off_lose_their_clients_and_get_them_back() {
    let stage = Stage::before(Galera::start_on(Network::start(3)), "3s");
    let first = stage.await_writer();
    let load = Load::start(stage.sqluice.address, stage.node(first), 4);
    load.await_writes(20);

    let second = the_writer_is_cut_off_from_its_group(&stage, &load, first);
    let third = the_writer_is_cut_off_from_sqluice(&stage, &load, second);
    both_halves_go_on(&stage, &load, third);

    stage.galera.await_all();
    load.stop(stage.node(third)).expect_clean("links of Galera nodes are cut");
}

/// sqluice still reaches it, and it answers. Returns the node that has the writes then.
fn the_writer_is_cut_off_from_its_group(stage: &Stage, load: &Load, writer: usize) -> usize {
    stage.galera.network().cut(writer, Link::Back);
    let next = stage.await_writer_after(writer);
    stage.await_situation("one node cut off");
    load.await_writes(20);
    assert_eq!(stage.usable("read"), [3 - writer - next]);
    stage.doctor_says(&[
        &format!("{} is non-Primary: it sees only itself of its group", stage.label(writer)),
        &format!("repair the network between {} and the others", stage.label(writer)),
        "Do not set pc.bootstrap there",
    ]);
    stage.galera.network().mend(writer, Link::Back);
    stage.await_situation(WHOLE);
    load.await_writes(20);
    assert_eq!(stage.usable("write"), [next], "nothing flips back");
    next
}

/// The group goes on with it as if nothing had happened.
fn the_writer_is_cut_off_from_sqluice(stage: &Stage, load: &Load, writer: usize) -> usize {
    stage.galera.network().cut(writer, Link::Front);
    let next = stage.await_writer_after(writer);
    load.await_writes(20);
    stage.await_situation("one node out of reach from here");
    stage.doctor_says(&[&format!("the group still has {}", stage.label(writer)), "nothing is to be done to the group"]);
    stage.galera.network().mend(writer, Link::Front);
    stage.await_situation(WHOLE);
    load.await_writes(20);
    assert_eq!(stage.usable("write"), [next], "nothing flips back");
    next
}

/// An operator tells a node that has no majority to go on, against the advice; then follows what is said of that.
fn both_halves_go_on(stage: &Stage, load: &Load, writer: usize) {
    let [stray, other] = others(writer);
    stage.galera.network().cut(stray, Link::Back);
    stage.await_situation("one node cut off");
    stage.node(stray).root("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'");
    stage.await_situation("split brain: two parts take writes");
    load.await_writes(20);
    // One part is used, by both balancers.
    stage.await_usable("write", &[writer]);
    stage.await_usable("read", &[other]);
    stage.doctor_says(&[
        &format!("only the part of n{} is used here", writer + 1),
        "Stop mariadbd on every node of the other part",
        "keep a copy of the data",
        "on each stopped node delete grastate.dat",
    ]);
    stage.node(stray).stop();
    stage.galera.network().mend(stray, Link::Back);
    fs::remove_file(stage.node(stray).data("grastate.dat")).expect("a stopped node has one");
    stage.galera.start_node(stray, &["--wsrep-sst-method=copy", &format!("--wsrep-sst-donor=n{}", other + 1)]);
    stage.await_situation(WHOLE);
    load.await_writes(20);
    assert_eq!(stage.usable("write"), [writer]);
    stage.galera.await_all();
    // In step, and with the rows that were written while it was away.
    let rows = |node: usize| stage.node(node).root(&format!("SELECT COUNT(*) FROM {} WHERE id <= 100", load.table()));
    assert_eq!(rows(stray), rows(writer));
}

#[test]
fn a_replica_with_a_silent_source_is_not_read_from_and_a_primary_out_of_reach_is_waited_for() {
    let set = Distant::start();
    let [primary, replica] = &set.servers;
    let sqluice = Start::new(Engine::Epoll, replicating(&set)).run_with_servers_up(2);
    let await_usable = |pool: &str, expected: &[usize]| {
        eventually(&format!("pool {pool} has {expected:?}"), || (usable(&sqluice, pool) == expected).then_some(()));
    };
    await_usable("write", &[0]);
    await_usable("read", &[1]);
    let load = Load::start(sqluice.address, primary, 4);
    load.await_writes(20);

    set.network.cut(1, Link::Back);
    await_usable("read", &[]);
    let told = replica.root("SHOW SLAVE STATUS").matches("Yes").count();
    assert!(told >= 2, "the replica itself takes its link for sound");
    let mut reader = sqluice.login(&Account::new("other", "other")).expect("a reader logs in");
    assert_eq!(port_of(&mut reader), primary.address.port(), "the primary is read from");
    set.network.mend(1, Link::Back);
    await_usable("read", &[1]);

    set.network.cut(0, Link::Front);
    await_usable("write", &[]);
    let mut reader = sqluice.login(&Account::new("other", "other")).expect("a reader logs in");
    assert_eq!(port_of(&mut reader), replica.address.port(), "reads go on");
    set.network.mend(0, Link::Front);
    await_usable("write", &[0]);
    load.await_writes(20);
    let report = load.stop(primary);
    report.expect_clean("links of a replication set are cut");
    assert_eq!(report.errors_in(Phase::Login), 0, "logins wait for the primary");
}

fn replicating(set: &Distant) -> String {
    let mut text = "[cluster.shop]\ntopology = \"replication\"\nmonitor = { user = \"monitor\", password = \"monitor\" }\n\
                    check_interval = \"100ms\"\ncheck_timeout = \"3s\"\nhold_timeout = \"60s\"\nmax_replica_lag = \"2s\"\n\n"
        .to_owned();
    for (index, server) in set.servers.iter().enumerate() {
        text += &format!("[[cluster.shop.server]]\nname = \"n{}\"\naddress = \"{}\"\n\n", index + 1, server.address);
    }
    text + POOLS_AND_USERS
}
