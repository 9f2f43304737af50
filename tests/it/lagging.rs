//! A planned change to a replica that is behind, under a load that notices each error.
//!
//! The replica is kept from applying by a lock that somebody holds there, as a backup or a long query may: it goes on
//! receiving, and nothing about it is broken.

use std::thread;

use crate::harness::checker::Load;
use crate::harness::{Client, Finished, Flavour, Server, Sqluice, Trio, eventually};
use crate::promotion::{await_following, await_primary, in_front_that_holds, is_read_only, set};

/// How long writes may wait for a primary.
const HOLD: &str = "20s";

#[test]
fn writes_get_no_error_for_what_a_candidate_is_behind() {
    // They mostly wait.
    thread::scope(|scope| {
        for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
            scope.spawn(move || hand_over_to_one_that_is_behind(flavour));
        }
    });
}

fn hand_over_to_one_that_is_behind(flavour: Flavour) {
    let trio = set(flavour);
    let sqluice = in_front_that_holds(&trio, "manual", "5s", HOLD);
    let load = Load::start(sqluice.address, trio.primary(), 4);
    load.await_writes(10);
    await_primary(&sqluice, "db1");
    trio.await_replicas();
    let mut scene = Scene { trio, sqluice, load };
    let lock = scene.stays_behind();
    scene.is_given_up_when_it_cannot_be();
    scene.catches_up(lock);
    scene.falls_behind_when_writes_are_held();
    let report = scene.load.stop(&scene.trio.servers[1]);
    report.expect_quiet(&format!("{flavour:?}: planned changes to a replica that is behind"));
}

/// db1 is the primary, until db2 is.
struct Scene {
    trio: Trio,
    sqluice: Sqluice,
    load: Load,
}

impl Scene {
    /// db2 is not waited for longer than a while, and nobody notices. What keeps it behind.
    fn stays_behind(&mut self) -> Lock {
        self.load.try_out("a candidate that stays behind");
        let [first, second, _] = &self.trio.servers;
        let lock = Lock::on(second, self.load.table());
        self.await_lag(1.0);
        let told = self.sqluice.command(&["switchover", "db2", "--dry-run"]).expect_success("switchover --dry-run");
        assert!(told.contains(" s behind db1; writes are held when it is at most 2.5 s behind"), "{told}");
        let refused = self.switch_over_and(|| self.load.await_writes(20));
        assert!(!refused.success, "{refused:?}");
        let lag = seconds(&refused.stderr, "db2 is ", " s behind db1");
        assert!(lag.is_some_and(|lag| lag >= 30.0), "{}", refused.stderr);
        assert!(refused.stderr.contains("nothing was held"), "{}", refused.stderr);
        assert_eq!(self.holds(), 0, "{}", self.sqluice.log());
        assert!(!is_read_only(first) && is_read_only(second));
        assert!(!self.reason().contains("to be the primary"), "that is over");
        lock
    }

    /// What makes a change impossible while the candidate is waited for ends that at once.
    fn is_given_up_when_it_cannot_be(&mut self) {
        let second = &self.trio.servers[1];
        let word = if second.flavour.is_mariadb() { "SLAVE" } else { "REPLICA" };
        let refused = self.switch_over_and(|| _ = second.root(&format!("STOP {word} IO_THREAD")));
        assert!(!refused.success && refused.stderr.contains("db2 does not receive from db1"), "{refused:?}");
        assert_eq!(self.holds(), 0, "{}", self.sqluice.log());
        second.root(&format!("START {word} IO_THREAD"));
        // It is connected again a moment later.
        await_following(second, &self.trio.servers[0]);
    }

    /// When db2 is near, the change goes on.
    fn catches_up(&mut self, lock: Lock) {
        self.load.try_out("a candidate that catches up while it is waited for");
        let done = self.switch_over_and(|| {
            self.load.await_writes(10);
            assert_eq!(self.holds(), 0, "{}", self.sqluice.log());
            lock.release();
        });
        let done = done.expect_success("switchover");
        assert!(done.contains("db2: come near db1") && done.contains("db2 is the primary"), "{done}");
        await_primary(&self.sqluice, "db2");
        self.load.await_writes(10);
        let [first, second, third] = &self.trio.servers;
        await_following(first, second);
        await_following(third, second);
    }

    /// What nobody could see before costs a pause: it ends before writes get errors.
    fn falls_behind_when_writes_are_held(&mut self) {
        self.load.try_out("a candidate that falls behind when writes are held");
        let [first, second, _] = &self.trio.servers;
        let before = self.holds();
        let mut writer = second.direct();
        writer.execute("BEGIN");
        writer.execute("INSERT INTO test.begun VALUES (50)");
        let (failed, lock) = thread::scope(|scope| {
            let asked = scope.spawn(|| self.sqluice.command(&["switchover", "db1"]));
            eventually("writes are held", || (self.holds() > before).then_some(()));
            let lock = Lock::on(first, "test.begun");
            writer.execute("COMMIT");
            (asked.join().expect("the command ends"), lock)
        });
        let left = seconds(&failed.stderr, "db1: have everything: not done within ", " s, while writes are held");
        assert!(left.is_some_and(|left| left <= 15.0), "{}", failed.stderr);
        assert!(failed.stderr.contains("everything was taken back"), "{}", failed.stderr);
        lock.release();
        self.load.await_writes(10);
    }

    /// What came of a change to db2, in which something is done as soon as it is waited for.
    fn switch_over_and(&self, act: impl FnOnce()) -> Finished {
        thread::scope(|scope| {
            let asked = scope.spawn(|| self.sqluice.command(&["switchover", "db2"]));
            eventually("db2 is waited for", || {
                self.reason().contains("to be the primary when it is at most 2.5 s behind db1").then_some(())
            });
            assert!(self.sqluice.log().contains("switchover of cluster set: db2: come near db1"));
            act();
            asked.join().expect("the command ends")
        })
    }

    /// How often writes were held.
    fn holds(&self) -> usize {
        self.sqluice.log().matches("let open transactions end").count()
    }

    /// What the status says of db2.
    fn reason(&self) -> String {
        let status = self.sqluice.status();
        status["clusters"][0]["servers"][1]["reason"].as_str().expect("a server has a reason").to_owned()
    }

    /// Until the checks see that db2 is so many seconds behind.
    fn await_lag(&self, seconds: f64) {
        eventually("the checks see that db2 is behind", || {
            let lag = self.sqluice.status()["clusters"][0]["servers"][1]["lag_seconds"].as_f64()?;
            (lag >= seconds).then_some(())
        });
    }
}

/// The number between these words.
fn seconds(text: &str, before: &str, behind: &str) -> Option<f64> {
    let (head, _) = text.split_once(behind)?;
    head.rsplit_once(before)?.1.parse().ok()
}

/// Keeps a replica from applying what is written to a table, until its release.
struct Lock(Client);

impl Lock {
    /// Shared locks on all rows, and on the gaps between them.
    fn on(replica: &Server, table: &str) -> Lock {
        let mut client = replica.direct();
        client.execute("BEGIN");
        client.query(&format!("SELECT * FROM {table} LOCK IN SHARE MODE")).ok();
        Lock(client)
    }

    fn release(mut self) {
        self.0.execute("ROLLBACK");
    }
}
