//! The primary changes, and clients go on: by another tool's promotion under load, and after a kill -9.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::compare::execute_payload;
use crate::harness::checker::Load;
use crate::harness::{
    Account, Client, Engine, Flavour, Server, Shape, Sqluice, Start, Trio, eventually, on_both_engines, split_trio,
};

/// Each kind of session: reads to the replicas, and all by name to the primary.
const USERS: [&str; 2] = ["app", "other"];

/// A set whose primary changes.
struct Set {
    trio: Trio,
    primary: Cell<usize>,
}

impl Set {
    fn start(flavour: Flavour) -> Set {
        Set { trio: Trio::start(flavour), primary: Cell::new(0) }
    }

    fn primary(&self) -> &Server {
        &self.trio.servers[self.primary.get()]
    }

    fn in_front(&self, engine: Engine) -> Sqluice {
        let by_name = "[[user]]\nname = \"other\"\npassword = \"other\"\npool = \"write\"\n";
        let sqluice = Start::new(engine, split_trio(&self.trio) + by_name).workers(2).run_with_servers_up(3);
        sqluice.await_role(&self.name(), "primary");
        sqluice
    }

    /// What sqluice calls the primary.
    fn name(&self) -> String {
        format!("db{}", self.primary.get() + 1)
    }

    /// What an operator does, or a tool: makes the next server the primary, and the others its replicas.
    fn promote(&self) -> usize {
        let old = self.primary.get();
        let new = (old + 1) % self.trio.servers.len();
        let [from, to] = [old, new].map(|index| &self.trio.servers[index]);
        from.set_read_only(true);
        to.await_position(&from.position());
        to.make_primary();
        self.follow(new);
        new
    }

    /// Whoever runs follows the new primary.
    fn follow(&self, new: usize) {
        let to = &self.trio.servers[new];
        for (index, server) in self.trio.servers.iter().enumerate() {
            if index != new && server.is_running() {
                server.follow(to);
            }
        }
        self.primary.set(new);
    }
}

/// A client that writes numbered rows and reads them back.
struct Writer {
    client: Client,
    number: usize,
    rows: usize,
    longest: Duration,
    /// A prepared statement, by its number.
    prepared: u32,
}

impl Writer {
    fn new(sqluice: &Sqluice, number: usize) -> Writer {
        let user = USERS[number % USERS.len()];
        let mut client = sqluice.login(&Account::new(user, user).database("test")).expect("the user logs in");
        client.execute(&format!("SET @who = 'client {number}', time_zone = '+03:00'"));
        let payload = [&[0x16][..], b"SELECT CONCAT(@who, ' ', @@time_zone, ' ', DATABASE())"].concat();
        let reply = client.ask(Shape::Prepare, &payload).ok();
        let prepared = u32::from_le_bytes(reply.packets[0][1..5].try_into().expect("four bytes"));
        Writer { client, number, rows: 0, longest: Duration::ZERO, prepared }
    }

    /// Writes a row, and reads it.
    fn write(&mut self, table: &str) {
        let begun = Instant::now();
        let (number, row) = (self.number, self.rows + 1);
        self.client.execute(&format!("INSERT INTO {table} VALUES ({number}, {row})"));
        self.rows = row;
        self.longest = self.longest.max(begun.elapsed());
        let seen = self.client.value(&format!("SELECT MAX(n) FROM {table} WHERE client = {number}"));
        assert_eq!(seen, row.to_string(), "client {number} reads what it wrote");
    }

    fn keeps_what_it_has_set(&mut self) {
        let kept = self.client.value("SELECT CONCAT(@who, ' ', @@time_zone, ' ', DATABASE())");
        assert_eq!(kept, format!("client {} +03:00 test", self.number));
        let payload = execute_payload(self.client.capabilities, self.prepared, 0, &[]);
        let reply = self.client.ask(Shape::Results, &payload).ok();
        assert!(reply.rows[0].ends_with(kept.as_bytes()), "{reply:?}");
    }
}

fn fresh_table(set: &Set) -> String {
    let table = crate::harness::fresh_name("rows");
    set.primary().direct().execute(&format!("CREATE TABLE test.{table} (client INT, n INT)"));
    table
}

/// Every acknowledged row is there, and once.
fn check_rows(set: &Set, table: &str, writers: &[Writer]) {
    for Writer { number, rows, .. } in writers {
        let sql = format!("SELECT CONCAT(COUNT(*), ' ', COUNT(DISTINCT n)) FROM test.{table} WHERE client = {number}");
        assert_eq!(set.primary().root(&sql).trim(), format!("{rows} {rows}"), "rows of client {number}");
    }
}

#[test]
fn another_tools_promotion_costs_a_pause_and_no_error() {
    const CLIENTS: usize = 8;
    const ENOUGH: usize = 20;
    for flavour in [Flavour::MariaDb11, Flavour::MySql97] {
        let set = Set::start(flavour);
        on_both_engines(|engine| {
            let table = fresh_table(&set);
            let sqluice = set.in_front(engine);
            let rows: [AtomicUsize; CLIENTS] = [const { AtomicUsize::new(0) }; CLIENTS];
            let is_over = AtomicBool::new(false);
            // It keeps books of transactions, too, which may be refused.
            let books = Load::start(sqluice.address, set.primary(), 2);
            let more = |than: usize| {
                eventually("all clients write", || {
                    rows.iter().all(|rows| rows.load(Ordering::Relaxed) >= than).then_some(())
                });
                rows.iter().map(|rows| rows.load(Ordering::Relaxed)).max().expect("there are clients")
            };
            let mut writers: Vec<Writer> = thread::scope(|scope| {
                let load = (0..CLIENTS).map(|number| {
                    let (sqluice, table, rows, is_over) = (&sqluice, &table, &rows, &is_over);
                    scope.spawn(move || {
                        let mut writer = Writer::new(sqluice, number);
                        while !is_over.load(Ordering::Relaxed) {
                            writer.write(table);
                            rows[number].store(writer.rows, Ordering::Relaxed);
                        }
                        writer
                    })
                });
                let load: Vec<_> = load.collect();
                let ends = Ends(&is_over);
                let before = more(ENOUGH);
                set.promote();
                more(before + ENOUGH);
                drop(ends);
                load.into_iter().map(|client| client.join().expect("no client sees an error")).collect()
            });
            books.stop(set.primary()).expect_quiet(&format!("{flavour:?}, {engine:?}: promotion by another tool"));
            let gap = writers.iter().map(|writer| writer.longest).max();
            eprintln!("{flavour:?}, {engine:?}: longest write {gap:?}");
            check_rows(&set, &table, &writers);
            writers.iter_mut().for_each(Writer::keeps_what_it_has_set);
            for session in sqluice.sessions() {
                assert_eq!(session["server"], set.name().as_str(), "nobody stays: {session}");
            }
        });
    }
}

#[test]
fn a_session_ends_when_it_is_killed_and_goes_on_when_its_killer_may_not() {
    for flavour in [Flavour::MariaDb11, Flavour::MySql97] {
        let set = Set::start(flavour);
        on_both_engines(|engine| {
            let table = fresh_table(&set);
            let sqluice = set.in_front(engine);
            // Only the first may kill another user's session.
            let [mut killer, mut stranger] =
                USERS.map(|user| sqluice.login(&Account::new(user, user)).expect("the user logs in"));
            // On either worker.
            for number in 0..6 {
                let mut victim = Writer::new(&sqluice, number * USERS.len());
                let id = victim.client.connection_id();
                let error = stranger.query(&format!("KILL {id}")).failed();
                assert!(matches!(error.code, 1094 | 1095), "{error}");
                // Its connection breaks, as if its server had.
                let home = victim.client.value("/* sqluice: primary */ SELECT CONNECTION_ID()");
                set.primary().root(&format!("KILL {home}"));
                victim.write(&table);
                victim.keeps_what_it_has_set();
                killer.execute(&format!("KILL {id}"));
                victim.client.await_close();
            }
        });
    }
}

/// Tells the load to end, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn after_a_kill_clients_wait_for_the_next_primary() {
    for flavour in [Flavour::MariaDb11, Flavour::MySql97] {
        let set = Set::start(flavour);
        on_both_engines(|engine| {
            let table = fresh_table(&set);
            let sqluice = set.in_front(engine);
            let mut writers: Vec<Writer> = (0..4).map(|number| Writer::new(&sqluice, number)).collect();
            writers.iter_mut().for_each(|writer| writer.write(&table));
            // Nothing that was acknowledged may be lost with the primary, which needs no luck then.
            let (old, new) = (set.primary.get(), (set.primary.get() + 1) % 3);
            let [from, to] = [old, new].map(|index| &set.trio.servers[index]);
            to.await_position(&from.position());
            let mut in_transaction = writers.split_off(2);
            in_transaction.iter_mut().for_each(|writer| {
                writer.client.execute("BEGIN");
                writer.client.execute(&format!("INSERT INTO {table} VALUES ({}, 1000)", writer.number));
            });

            from.kill();
            sqluice.await_health(&set.name(), "down");
            for writer in &mut in_transaction {
                let error =
                    writer.client.query(&format!("INSERT INTO {table} VALUES ({}, 1001)", writer.number)).failed();
                assert_eq!((error.code, &*error.state), (1213, "40001"), "{error}");
            }
            writers.append(&mut in_transaction);
            let mut writers: Vec<Writer> = thread::scope(|scope| {
                let waiting = writers.into_iter().map(|mut writer| {
                    let table = &table;
                    scope.spawn(move || {
                        writer.write(table);
                        writer
                    })
                });
                let waiting: Vec<_> = waiting.collect();
                // A session that waits has no server.
                eventually("all of them wait", || {
                    sqluice.sessions().iter().all(|session| session["state"] == "command").then_some(())
                });
                to.make_primary();
                set.follow(new);
                waiting.into_iter().map(|client| client.join().expect("no client sees an error")).collect()
            });
            check_rows(&set, &table, &writers);
            writers.iter_mut().for_each(Writer::keeps_what_it_has_set);
            // For the next round.
            set.trio.restart_as_replica(old);
            from.follow(to);
            from.await_position(&to.position());
        });
    }
}
