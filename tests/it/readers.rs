//! Users of replicas whose replica is shut down, or dies: they go on at another one, and never see less than they saw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Account, Client, Engine, Flavour, Galera, Group, Reply, Server, Sqluice, Start, Trio, eventually,
};
use crate::maintenance::{Keeper, await_end, session_of};
use crate::promotion::await_following;

/// How far the replica is behind that is left over: whoever comes there has to wait for what the other one has shown.
const DELAY_SECONDS: u32 = 2;

const READERS: usize = 6;

/// How the replica goes.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// `SHUTDOWN`.
    Shutdown,
    /// `kill -9`.
    Kill,
}

/// A primary and two replicas, of which the last one is behind.
#[derive(Clone, Copy)]
enum Set<'s> {
    /// By [`DELAY_SECONDS`].
    Replicating(&'s Trio),
    /// While it is locked.
    Grouped(&'s Group),
    /// The same.
    Wsrep(&'s Galera),
}

impl<'s> Set<'s> {
    fn servers(self) -> &'s [Server; 3] {
        match self {
            Set::Replicating(trio) => &trio.servers,
            Set::Grouped(group) => &group.servers,
            Set::Wsrep(galera) => &galera.servers,
        }
    }

    fn topology(self) -> &'static str {
        match self {
            Set::Replicating(_) => "\"replication\"",
            Set::Grouped(_) => "\"group-replication\"",
            // A node that is locked is a donor to the others.
            Set::Wsrep(_) => "\"galera\"\ndonor_reads = \"always\"",
        }
    }

    /// What makes the first one the primary, where nothing of its own does.
    fn role(self, index: usize) -> &'static str {
        match (self, index) {
            (Set::Replicating(_) | Set::Grouped(_), _) => "",
            (Set::Wsrep(_), 0) => "role = \"primary\"\n",
            (Set::Wsrep(_), _) => "role = \"replica\"\n",
        }
    }

    /// The last one applies nothing while this is there; none where it is late anyway.
    fn lock_last(self) -> Option<Client> {
        match self {
            Set::Replicating(_) => None,
            Set::Grouped(_) | Set::Wsrep(_) => {
                let mut client = self.servers()[2].direct();
                client.execute("FLUSH TABLES WITH READ LOCK");
                Some(client)
            }
        }
    }
}

/// A primary `db1` and its replicas, of which nobody falls back to the primary.
fn in_front_of(set: Set<'_>, engine: Engine) -> Sqluice {
    let mut text = format!(
        "[cluster.set]\ntopology = {}\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
         check_interval = \"500ms\"\ncheck_timeout = \"5s\"\nhold_timeout = \"30s\"\n",
        set.topology()
    );
    for (index, server) in set.servers().iter().enumerate() {
        let (name, address, role) = (index + 1, server.address, set.role(index));
        text += &format!("[[cluster.set.server]]\nname = \"db{name}\"\naddress = \"{address}\"\n{role}");
    }
    text += "[pool.read]\ncluster = \"set\"\nrole = \"replica\"\n\
             [[user]]\nname = \"app\"\npassword = \"app\"\npool = \"read\"\n";
    Start::new(engine, text).workers(2).run_with_servers_up(3)
}

fn login(sqluice: &Sqluice) -> Client {
    sqluice.login(&Account::new("app", "app").database("test")).expect("app logs in")
}

/// Counts at the primary until it is told to end.
fn count_up(primary: &Server, is_over: &AtomicBool) {
    let mut writer = primary.direct();
    while !is_over.load(Ordering::Relaxed) {
        writer.execute("UPDATE test.count SET n = n + 1");
        thread::sleep(Duration::from_millis(5));
    }
}

fn count(server: &Server) -> u64 {
    server.root("SELECT n FROM test.count").trim().parse().expect("a number")
}

/// Reads the count until it is told to end, which never falls. The longest that a read took.
fn read_on(client: &mut Client, is_over: &AtomicBool) -> Duration {
    let (mut last, mut longest) = (0, Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let reply = client.query("SELECT n FROM test.count");
        if is_broken_off(&reply) {
            continue;
        }
        let now: u64 = reply.ok().text_rows()[0][0].as_deref().expect("a count").parse().expect("a number");
        assert!(now >= last, "{now} was read behind {last}");
        (last, longest) = (now, longest.max(begun.elapsed()));
    }
    longest
}

/// Whether MySQL ended a result that had begun: it looks whether it shuts down before each row.
fn is_broken_off(reply: &Reply) -> bool {
    reply.packets.len() > 1 && reply.error.as_ref().is_some_and(|error| error.code == 1053)
}

/// The second replica goes while readers are at work there, idle there with what they have set, and bound to it.
fn lose_replica(set: Set<'_>, engine: Engine, loss: Loss) {
    let servers = set.servers();
    let sqluice = in_front_of(set, engine);
    sqluice.await_role("db1", "primary");
    sqluice.command(&["disable", "db3"]).expect_success("sqluice disable");
    let mut readers: Vec<Client> = (0..READERS).map(|_| login(&sqluice)).collect();
    let mut keeper = Keeper::new(&sqluice, "app");
    let mut in_transaction = login(&sqluice);
    sqluice.command(&["enable", "db3"]).expect_success("sqluice enable");
    assert!(sqluice.sessions().iter().all(|session| session["server"] == "db2"));
    in_transaction.execute("BEGIN");
    in_transaction.value("SELECT n FROM test.count");
    let (is_over, is_lost) = (AtomicBool::new(false), AtomicBool::new(false));
    let longest = thread::scope(|scope| {
        let counting = scope.spawn(|| count_up(&servers[0], &is_over));
        let reading: Vec<_> = readers.iter_mut().map(|client| scope.spawn(|| read_on(client, &is_lost))).collect();
        // Ends all of them, also when something fails here.
        let ends = Ends([&is_lost, &is_over]);
        let shown = count(&servers[1]);
        eventually("both have counted on", || (count(&servers[1]) > shown + 100).then_some(()));
        let lock = set.lock_last();
        eventually("the last one is behind", || (count(&servers[1]) > count(&servers[2]) + 5).then_some(()));
        match loss {
            Loss::Shutdown => drop(servers[1].root("SHUTDOWN")),
            Loss::Kill => servers[1].kill(),
        }
        sqluice.await_health("db2", "down");
        if lock.is_some() {
            // Whoever does not wait there for more reads too little now.
            thread::sleep(Duration::from_secs(1));
        }
        drop(lock);
        keeper.keeps_all();
        eventually("all read on", || {
            let sessions = sqluice.sessions();
            let at_third = sessions.iter().filter(|session| session["server"] == "db3").count();
            (at_third > READERS).then_some(())
        });
        thread::sleep(Duration::from_secs(u64::from(DELAY_SECONDS)));
        drop(ends);
        counting.join().expect("the primary counts");
        reading.into_iter().map(|reader| reader.join().expect("no reader sees an error")).max()
    });
    eprintln!("{}, {:?}, {engine:?}, {loss:?}: longest read {longest:?}", set.topology(), servers[0].flavour);
    for client in readers.iter().chain([&keeper.client]) {
        assert_eq!(session_of(&sqluice, client)["server"], "db3");
    }
    assert_eq!(in_transaction.await_close().map(|error| error.code), None, "what it had begun to read is gone");
}

/// Tells the threads to end.
struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }
}

#[test]
fn readers_of_a_replica_that_goes_read_on_at_another_one_and_see_no_less() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        trio.primary().direct().execute("CREATE TABLE test.count (n BIGINT)");
        trio.primary().direct().execute("INSERT INTO test.count VALUES (1)");
        trio.await_replicas();
        trio.servers[2].lag(DELAY_SECONDS);
        for (engine, loss) in [(Engine::IoUring, Loss::Shutdown), (Engine::Epoll, Loss::Kill)] {
            lose_replica(Set::Replicating(&trio), engine, loss);
            await_end(&trio.servers[1]);
            trio.restart_as_replica(1);
            await_following(&trio.servers[1], trio.primary());
        }
    }
}

fn begin_to_count(primary: &Server) {
    primary.direct().execute("CREATE TABLE test.count (id INT PRIMARY KEY, n BIGINT)");
    primary.direct().execute("INSERT INTO test.count VALUES (1, 1)");
}

#[test]
fn readers_of_a_member_of_a_group_that_goes_read_on_at_another_one_and_see_no_less() {
    for (engine, loss) in [(Engine::IoUring, Loss::Shutdown), (Engine::Epoll, Loss::Kill)] {
        let group = Group::start();
        begin_to_count(&group.servers[0]);
        lose_replica(Set::Grouped(&group), engine, loss);
    }
}

#[test]
fn readers_of_a_galera_node_that_goes_read_on_at_another_one_and_see_no_less() {
    let galera = Galera::start();
    begin_to_count(galera.primary());
    for (engine, loss) in [(Engine::IoUring, Loss::Shutdown), (Engine::Epoll, Loss::Kill)] {
        galera.await_all();
        lose_replica(Set::Wsrep(&galera), engine, loss);
        await_end(&galera.servers[1]);
        galera.start_node(1, &[]);
    }
}
