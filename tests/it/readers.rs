//! Users of replicas whose replica is shut down, or dies: they go on at another one, and never see less than they saw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Account, Client, Engine, Flavour, Sqluice, Start, Trio, eventually};
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

/// A primary `db1` and its replicas, of which nobody falls back to the primary.
fn in_front_of(trio: &Trio, engine: Engine) -> Sqluice {
    let mut text =
        "[cluster.set]\ntopology = \"replication\"\nmonitor = { user = \"monitor\", password = \"monitor\" }\n\
                    check_interval = \"500ms\"\ncheck_timeout = \"5s\"\nhold_timeout = \"30s\"\n"
            .to_owned();
    for (index, server) in trio.servers.iter().enumerate() {
        text += &format!("[[cluster.set.server]]\nname = \"db{}\"\naddress = \"{}\"\n", index + 1, server.address);
    }
    text += "[pool.read]\ncluster = \"set\"\nrole = \"replica\"\n\
             [[user]]\nname = \"app\"\npassword = \"app\"\npool = \"read\"\n";
    Start::new(engine, text).workers(2).run_with_servers_up(3)
}

fn login(sqluice: &Sqluice) -> Client {
    sqluice.login(&Account::new("app", "app").database("test")).expect("app logs in")
}

/// Counts at the primary until it is told to end.
fn count_up(trio: &Trio, is_over: &AtomicBool) {
    let mut writer = trio.primary().direct();
    while !is_over.load(Ordering::Relaxed) {
        writer.execute("UPDATE test.count SET n = n + 1");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads the count until it is told to end, which never falls. The longest that a read took.
fn read_on(client: &mut Client, is_over: &AtomicBool) -> Duration {
    let (mut last, mut longest) = (0, Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let now: u64 = client.value("SELECT n FROM test.count").parse().expect("a number");
        assert!(now >= last, "{now} was read behind {last}");
        (last, longest) = (now, longest.max(begun.elapsed()));
    }
    longest
}

/// The second replica goes while readers are at work there, idle there with what they have set, and bound to it.
fn lose_replica(trio: &Trio, engine: Engine, loss: Loss) {
    let sqluice = in_front_of(trio, engine);
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
        let counting = scope.spawn(|| count_up(trio, &is_over));
        let reading: Vec<_> = readers.iter_mut().map(|client| scope.spawn(|| read_on(client, &is_lost))).collect();
        // Ends all of them, also when something fails here.
        let ends = Ends([&is_lost, &is_over]);
        let shown = trio.servers[1].root("SELECT n FROM test.count").trim().parse::<u64>().expect("a number");
        eventually("both have counted on", || {
            let now: u64 = trio.servers[1].root("SELECT n FROM test.count").trim().parse().expect("a number");
            (now > shown + 100).then_some(())
        });
        match loss {
            Loss::Shutdown => drop(trio.servers[1].root("SHUTDOWN")),
            Loss::Kill => trio.servers[1].kill(),
        }
        sqluice.await_health("db2", "down");
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
    eprintln!("{:?}, {engine:?}, {loss:?}: longest read {longest:?}", trio.servers[0].flavour);
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
            lose_replica(&trio, engine, loss);
            await_end(&trio.servers[1]);
            trio.restart_as_replica(1);
            await_following(&trio.servers[1], trio.primary());
        }
    }
}
