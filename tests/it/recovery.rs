//! A Galera cluster that loses its nodes in every way there is, and what sqluice makes of it: who gets reads and writes, what
//! the situation is called, and whether the advice, taken as an operator would take it, leads out of it.

mod closed;
mod links;

use std::fs;

use crate::harness::checker::Load;
use crate::harness::{Account, Client, Engine, Galera, Server, Sqluice, Start, eventually};

/// Cluster `shop` whose nodes tell who is who, and a user for each pool.
fn configuration(galera: &Galera, check_timeout: &str) -> String {
    let mut text = format!(
        "[cluster.shop]\ntopology = \"galera\"\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
         check_interval = \"100ms\"\ncheck_timeout = \"{check_timeout}\"\nhold_timeout = \"60s\"\n\n"
    );
    for (index, server) in galera.servers.iter().enumerate() {
        text += &format!("[[cluster.shop.server]]\nname = \"n{}\"\naddress = \"{}\"\n\n", index + 1, server.address);
    }
    text + POOLS_AND_USERS
}

const POOLS_AND_USERS: &str = "[pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\n\
    [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\nfallback = \"write\"\n\n\
    [[user]]\nname = \"app\"\npassword = \"app\"\npool = \"write\"\n\n\
    [[user]]\nname = \"other\"\npassword = \"other\"\npool = \"read\"\n\n";

/// A cluster with two balancers in front of it, which do not talk to each other: each engine sees each situation.
struct Stage {
    galera: Galera,
    sqluice: Sqluice,
    on_epoll: Sqluice,
}

impl Stage {
    fn before(galera: Galera, check_timeout: &str) -> Stage {
        let start = |engine| {
            Start::new(engine, configuration(&galera, check_timeout)).run_with_servers_up(galera.servers.len())
        };
        let (sqluice, on_epoll) = (start(Engine::IoUring), start(Engine::Epoll));
        let stage = Stage { galera, sqluice, on_epoll };
        stage.await_situation(WHOLE);
        stage
    }

    fn balancers(&self) -> [&Sqluice; 2] {
        [&self.sqluice, &self.on_epoll]
    }

    fn node(&self, index: usize) -> &Server {
        &self.galera.servers[index]
    }

    #[track_caller]
    fn await_situation(&self, expected: &str) {
        self.balancers().into_iter().for_each(|sqluice| await_situation(sqluice, expected));
    }

    /// The usable members of a pool, as indices of nodes.
    fn usable(&self, pool: &str) -> Vec<usize> {
        usable(&self.sqluice, pool)
    }

    #[track_caller]
    fn await_usable(&self, pool: &str, expected: &[usize]) {
        for sqluice in self.balancers() {
            eventually(&format!("pool {pool} has {expected:?}"), || (usable(sqluice, pool) == expected).then_some(()));
        }
    }

    /// Until some node has the writes; its index.
    #[track_caller]
    fn await_writer(&self) -> usize {
        eventually("a node has the writes", || self.usable("write").first().copied())
    }

    /// Until another node has the writes, and both balancers say so; its index.
    #[track_caller]
    fn await_writer_after(&self, old: usize) -> usize {
        let next = eventually("the writes move", || self.usable("write").first().copied().filter(|node| *node != old));
        self.await_usable("write", &[next]);
        next
    }

    /// New sessions of app are at that node, whichever balancer they come through.
    #[track_caller]
    fn check_writes_at(&self, node: usize) {
        self.await_usable("write", &[node]);
        for sqluice in self.balancers() {
            assert_eq!(port_of(&mut sqluice.app()), self.node(node).address.port());
        }
    }

    /// `sqluice doctor` says all of this, and that it needs an operator.
    #[track_caller]
    fn doctor_says(&self, parts: &[&str]) {
        let page = doctor(&self.sqluice, Outcome::NeedsOperator);
        for part in parts {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
    }

    /// Starts a node that gets what it lacks from that one: a donor does not keep the writes.
    fn rejoin(&self, node: usize, donor: usize) {
        self.galera.start_node(node, &[&format!("--wsrep-sst-donor=n{}", donor + 1)]);
    }

    /// A node's name and address, as they stand in advice.
    fn label(&self, index: usize) -> String {
        format!("n{} ({})", index + 1, self.node(index).address)
    }
}

fn usable(sqluice: &Sqluice, pool: &str) -> Vec<usize> {
    let status = sqluice.status();
    let pools = status["pools"].as_array().expect("there are pools");
    let pool = pools.iter().find(|row| row["name"] == pool).expect("the pool is configured");
    let names = pool["usable"].as_array().expect("a list of names").iter();
    names.map(|name| name.as_str().expect("a name")[1..].parse::<usize>().expect("a number") - 1).collect()
}

#[track_caller]
fn await_situation(sqluice: &Sqluice, expected: &str) {
    eventually(&format!("the situation is {expected:?}"), || {
        (sqluice.status()["clusters"][0]["situation"] == expected).then_some(())
    });
}

/// What the exit code of `sqluice doctor` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Well,
    NeedsOperator,
}

/// What `sqluice doctor` prints when it has come to that.
#[track_caller]
fn doctor(sqluice: &Sqluice, expected: Outcome) -> String {
    let finished = sqluice.command(&["doctor", "--cluster", "shop"]);
    let outcome = if finished.success { Outcome::Well } else { Outcome::NeedsOperator };
    assert_eq!(outcome, expected, "{}{}", finished.stdout, finished.stderr);
    finished.stdout
}

#[track_caller]
fn port_of(client: &mut Client) -> u16 {
    client.value("SELECT @@port").parse().expect("a port is a number")
}

const WHOLE: &str = "all nodes in the group";

#[test]
fn the_group_is_followed_through_every_situation_and_the_advice_leads_out_of_it() {
    let galera = Galera::start();
    let stage = Stage::before(galera, "5s");
    let first = stage.await_writer();
    let readers: Vec<usize> = (0..3).filter(|node| *node != first).collect();
    stage.await_usable("read", &readers);
    assert_eq!(doctor(&stage.sqluice, Outcome::Well), format!("cluster shop: {WHOLE}\n"));

    let second = what_an_operator_sets_is_followed(&stage, first);
    nodes_stop_and_return(&stage, second);
    a_state_transfer_is_seen(&stage, second);
    let third = the_writer_is_killed_under_load(&stage, second);
    two_nodes_are_killed(&stage, third);
    all_nodes_stop(&stage, third);
    all_nodes_are_killed(&stage);
}

/// Out of step, and no queries; returns the node that has the writes at the end.
fn what_an_operator_sets_is_followed(stage: &Stage, first: usize) -> usize {
    stage.node(first).root("SET GLOBAL wsrep_desync = ON");
    let second = stage.await_writer_after(first);
    let third = 3 - first - second;
    stage.await_usable("read", &[third]);
    stage.doctor_says(&[
        &format!("! {}: wsrep_desync is ON", stage.label(first)),
        &format!("when the work on {} is done: `SET GLOBAL wsrep_desync = OFF` there", stage.label(first)),
    ]);
    // The last two out of step still serve.
    stage.node(third).root("SET GLOBAL wsrep_desync = ON");
    stage.await_usable("read", &[]);
    let mut reader = stage.sqluice.login(&Account::new("other", "other")).expect("a reader logs in");
    assert_eq!(port_of(&mut reader), stage.node(second).address.port());
    stage.node(second).root("SET GLOBAL wsrep_desync = ON");
    eventually("all serve again", || (stage.usable("read").len() == 2).then_some(()));
    assert_eq!(stage.usable("write"), [second]);
    stage.node(second).root("SET GLOBAL wsrep_desync = OFF");
    stage.await_usable("read", &[]);
    [first, third].into_iter().for_each(|node| _ = stage.node(node).root("SET GLOBAL wsrep_desync = OFF"));
    eventually("all are in step", || (stage.usable("read").len() == 2).then_some(()));
    eventually("all is well", || stage.sqluice.command(&["doctor"]).success.then_some(()));
    assert_eq!(stage.usable("write"), [second], "nothing flips back");

    stage.node(third).root("SET GLOBAL wsrep_reject_queries = ALL");
    stage.await_usable("read", &[first]);
    stage.doctor_says(&["`SET GLOBAL wsrep_reject_queries = NONE` there"]);
    stage.node(third).root("SET GLOBAL wsrep_reject_queries = NONE");
    eventually("it is back", || (stage.usable("read").len() == 2).then_some(()));
    second
}

/// One, then another; the last one serves alone. Then both again.
fn nodes_stop_and_return(stage: &Stage, writer: usize) {
    let [one, other] = others(writer);
    stage.node(one).stop();
    stage.await_situation("one node stopped");
    stage.doctor_says(&[&format!("when the work on {} is done, start it", stage.label(one))]);
    stage.node(other).stop();
    stage.await_situation("two nodes stopped");
    stage.doctor_says(&[&format!("one at a time: n{} first", one.min(other) + 1)]);
    stage.check_writes_at(writer);
    stage.galera.start_node(one, &[]);
    stage.rejoin(other, one);
    stage.await_situation(WHOLE);
    assert_eq!(stage.usable("write"), [writer], "nothing flips back");
}

/// A node without a position asks for all data, from a donor that does not give them yet. The transfer is stopped as the
/// advice says: the joiner first, then the donor's end of it.
fn a_state_transfer_is_seen(stage: &Stage, writer: usize) {
    let [joiner, donor] = others(writer);
    let hold = stage.node(donor).data("hold");
    stage.node(joiner).stop();
    stage.await_situation("one node stopped");
    let state = stage.node(joiner).data("grastate.dat");
    let position = fs::read_to_string(&state).expect("a stopped node has one");
    fs::remove_file(&state).expect("it was just read");
    fs::write(&hold, "").expect("the data folder is there");
    stage.galera.launch_node(joiner, &[&format!("--wsrep-sst-donor=n{}", donor + 1)]);
    stage.await_situation("a node is joining");
    let (from, to) = (stage.label(donor), stage.label(joiner));
    let page = doctor(&stage.sqluice, Outcome::Well);
    assert!(page.contains(&format!("wait: {from} gives {to} its data")), "{page}");
    assert!(page.contains(&format!("to stop the transfer: first keep {to} away")), "{page}");
    assert_eq!((stage.usable("write"), stage.usable("read")), (vec![writer], vec![]));
    stage.node(joiner).kill();
    fs::remove_file(&hold).expect("it was just made");
    stage.await_usable("read", &[donor]);
    fs::write(&state, position).expect("the data folder is there");
    stage.rejoin(joiner, donor);
    stage.await_situation(WHOLE);
    assert_eq!(stage.usable("write"), [writer]);
}

/// The group needs its own time to be sure; nothing that was acknowledged is lost. Returns the node that has the writes then.
fn the_writer_is_killed_under_load(stage: &Stage, writer: usize) -> usize {
    let loads = stage.balancers().map(|sqluice| Load::start(sqluice.address, stage.node(writer), 2));
    let await_writes = || loads.iter().for_each(|load| load.await_writes(20));
    await_writes();
    let another = Start::new(Engine::IoUring, configuration(&stage.galera, "5s")).run_with_servers_up(3);
    eventually("another balancer makes the same choice", || (usable(&another, "write") == [writer]).then_some(()));
    drop(another);
    stage.node(writer).kill();
    let next = stage.await_writer_after(writer);
    stage.await_situation("one node crashed");
    await_writes();
    stage.doctor_says(&[&format!("start {} again", stage.label(writer)), "do not bootstrap anything"]);
    stage.rejoin(writer, 3 - writer - next);
    stage.await_situation(WHOLE);
    await_writes();
    assert_eq!(stage.usable("write"), [next], "nothing flips back");
    stage.galera.await_all();
    for load in loads {
        load.stop(stage.node(next)).expect_clean("the writer of a Galera cluster is killed");
    }
    next
}

/// The last one waits without a majority, until the operator tells it to go on.
fn two_nodes_are_killed(stage: &Stage, survivor: usize) {
    let lost = others(survivor);
    lost.iter().for_each(|&node| stage.node(node).kill());
    stage.await_situation("two nodes crashed, one left non-Primary");
    assert_eq!((stage.usable("write"), stage.usable("read")), (vec![], vec![]));
    let bootstrap = "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'";
    stage.doctor_says(&[
        "make sure, on the hosts, that no mariadbd runs",
        &format!("on {} and on no other node: `{bootstrap}`", stage.label(survivor)),
    ]);
    stage.node(survivor).root(bootstrap);
    stage.await_usable("write", &[survivor]);
    stage.check_writes_at(survivor);
    stage.galera.start_node(lost[0], &[]);
    stage.rejoin(lost[1], lost[0]);
    stage.await_situation(WHOLE);
    assert_eq!(stage.usable("write"), [survivor]);
}

/// The last to leave is named, and is indeed the one that Galera lets be bootstrapped.
fn all_nodes_stop(stage: &Stage, last: usize) {
    let first = others(last);
    stage.node(first[0]).stop();
    stage.await_situation("one node stopped");
    stage.node(first[1]).stop();
    stage.await_situation("two nodes stopped");
    stage.node(last).stop();
    stage.await_situation("all nodes stopped");
    stage.doctor_says(&[&format!("{} was the last to leave", stage.label(last)), "`safe_to_bootstrap: 1`"]);
    let state = |node: usize| fs::read_to_string(stage.node(node).data("grastate.dat")).expect("Galera leaves it");
    assert!(state(last).contains("safe_to_bootstrap: 1"), "{}", state(last));
    stage.galera.start_node(last, &["--wsrep-new-cluster"]);
    stage.await_usable("write", &[last]);
    first.iter().for_each(|&node| stage.galera.start_node(node, &[]));
    stage.await_situation(WHOLE);
}

/// Started again all together, they go on by themselves, as the advice says.
fn all_nodes_are_killed(stage: &Stage) {
    stage.galera.servers.iter().for_each(Server::kill);
    stage.await_situation("all nodes crashed");
    stage.doctor_says(&["all together: `systemctl start mariadb` on each", "mariadbd --wsrep-recover"]);
    (0..3).for_each(|node| stage.galera.launch_node(node, &[]));
    (0..3).for_each(|node| stage.galera.await_synced(node));
    stage.await_situation(WHOLE);
    for sqluice in stage.balancers() {
        let writer = eventually("a node has the writes", || usable(sqluice, "write").first().copied());
        assert_eq!(port_of(&mut sqluice.app()), stage.node(writer).address.port());
    }
}

fn others(node: usize) -> [usize; 2] {
    [(node + 1) % 3, (node + 2) % 3]
}
