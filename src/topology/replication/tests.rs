//! Sets of three servers that say what servers say, and who may write and be read then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Channel, Identity, Past, Receiving, Sources, View};
use crate::protocol::gtid::{GtidHistory, GtidPosition};
use crate::topology::testing::{config, config_with};
use crate::topology::{
    Answer, Beliefs, CheckResult, Condition, Fitness, RoutingTable, Seen, ServerId, ServerRole, View as AnyView,
    Writable,
};

const SERVERS: [&str; 3] = [
    "name = \"db1\"\naddress = \"10.0.0.1:3306\"",
    "name = \"db2\"\naddress = \"10.0.0.2:3306\"",
    "name = \"db3\"\naddress = \"10.0.0.3:3306\"",
];

/// What one server says in one check.
#[derive(Clone)]
struct Says {
    writable: Writable,
    sources: Sources,
    /// The state of its binary log.
    history: &'static str,
}

fn writes(history: &'static str) -> Says {
    Says { writable: Writable::Yes, sources: Sources::Told(Vec::new()), history }
}

fn reads(history: &'static str) -> Says {
    Says { writable: Writable::No, ..writes(history) }
}

fn follows(source: u32, history: &'static str) -> Says {
    Says { sources: Sources::Told(vec![channel(source)]), ..reads(history) }
}

/// A channel to the server of that number over which all goes well.
fn channel(source: u32) -> Channel {
    Channel {
        host: format!("10.0.0.{source}"),
        port: 3306,
        source: Some(Identity { server_id: source, uuid: None }),
        receiving: Receiving::Connected,
        applying: true,
        behind: Some(Duration::ZERO),
        delay: Duration::ZERO,
        received: None,
        error: String::new(),
        heartbeat: None,
    }
}

impl Says {
    fn but_writable(self) -> Says {
        Says { writable: Writable::Yes, ..self }
    }

    /// The same with another state of its channel.
    fn with(mut self, change: impl Fn(&mut Channel)) -> Says {
        if let Sources::Told(channels) = &mut self.sources {
            channels.iter_mut().for_each(change);
        }
        self
    }
}

struct Set {
    beliefs: Beliefs,
    ids: Vec<ServerId>,
    now: Instant,
}

impl Set {
    fn new() -> Set {
        Set::of(config(&SERVERS))
    }

    fn with_lag(max: &str) -> Set {
        let cluster = format!(
            "topology = \"replication\"\nmonitor = {{ user = \"m\", password = \"m\" }}\nmax_replica_lag = \"{max}\""
        );
        Set::of(config_with(&cluster, &SERVERS))
    }

    fn of(config: Arc<crate::config::Config>) -> Set {
        let now = Instant::now();
        let beliefs = Beliefs::new(config, now);
        let ids = beliefs.ids().collect();
        Set { beliefs, ids, now }
    }

    /// db1 has written ten transactions, which the others have.
    fn healthy() -> Set {
        let mut set = Set::new();
        (0..2).for_each(|_| set.hear([writes("0-1-10"), follows(1, "0-1-10"), follows(1, "0-1-10")]));
        set.expect([ServerRole::Primary, ServerRole::Replica, ServerRole::Replica]);
        set
    }

    /// Each server's check, one after the other; a second passes between two rounds.
    fn hear(&mut self, says: [Says; 3]) {
        self.now += Duration::from_secs(1);
        for (place, says) in says.into_iter().enumerate() {
            self.hear_one(place, says);
        }
    }

    fn hear_one(&mut self, place: usize, says: Says) {
        self.now += Duration::from_millis(1);
        let asked = self.now;
        let history = GtidHistory::parse_mariadb(says.history.as_bytes(), b"").expect("a history");
        let position = GtidPosition::parse_mariadb(says.history.as_bytes()).expect("a position");
        let identity = Identity { server_id: place as u32 + 1, uuid: None };
        let view = View { asked, identity, history: Some(Arc::new(history)), sources: says.sources };
        let seen = Seen { asked, applied: position.clone(), committed: Some(position) };
        self.beliefs.see(self.ids[place], Some(seen));
        let answer = Answer { writable: Some(says.writable), view: AnyView::Replication(view), contact: None };
        self.beliefs.check(self.ids[place], &CheckResult::Answered(answer), self.now);
    }

    fn refuse(&mut self, place: usize) {
        self.now += Duration::from_millis(1);
        self.beliefs.check(self.ids[place], &CheckResult::Refused, self.now);
    }

    fn table(&mut self) -> RoutingTable {
        self.beliefs.table()
    }

    #[track_caller]
    fn expect(&mut self, roles: [ServerRole; 3]) {
        let table = self.table();
        let found: Vec<ServerRole> = table
            .servers
            .iter()
            .map(|server| match server.health.condition {
                Condition::Up => server.health.role,
                Condition::Down | Condition::Unknown => ServerRole::Unknown,
            })
            .collect();
        assert_eq!(found, roles, "{:#?}", table.clusters);
        let write = table.config.pool_by_name("write").expect("it is in the configuration");
        let writers = table.pool(write).members.len();
        assert_eq!(writers, roles.iter().filter(|role| **role == ServerRole::Primary).count());
    }

    /// How fit the last two are.
    #[track_caller]
    fn expect_fitness(&mut self, fitness: [Fitness; 2]) {
        let table = self.table();
        let found = [&table.servers[1], &table.servers[2]].map(|server| server.health.fitness);
        assert_eq!(found, fitness, "{:?}", [&table.servers[1].health, &table.servers[2].health]);
    }

    fn reason(&mut self, place: usize) -> String {
        self.table().servers[place].health.reason.to_string()
    }

    #[track_caller]
    fn expect_alarm(&mut self, words: &str) {
        let alarms = &self.table().clusters[0].alarms;
        assert!(alarms.iter().any(|alarm| alarm.contains(words)), "no {words:?} in {alarms:#?}");
    }

    #[track_caller]
    fn expect_no_alarm(&mut self) {
        assert_eq!(self.table().clusters[0].alarms, [""; 0]);
    }
}

use Fitness::{Fit, LastResort, Unfit};
use ServerRole::{Contested, Deposed, Primary, Replica, Unknown};

#[test]
fn a_healthy_set_raises_no_alarm() {
    let mut set = Set::healthy();
    set.expect_no_alarm();
    set.expect_fitness([Fit, Fit]);
}

#[test]
fn a_replica_that_takes_writes_is_a_replica() {
    let mut set = Set::healthy();
    set.hear_one(1, follows(1, "0-1-10").but_writable());
    set.expect([Primary, Replica, Replica]);
    set.expect_alarm("db2 is a replica and takes writes: say SET GLOBAL read_only = 1 there");
    assert_eq!(set.reason(1), "takes writes, but replicates from db1, so it is no primary");
}

#[test]
fn a_replica_that_was_written_to_contests_its_source() {
    let mut set = Set::healthy();
    set.hear([writes("0-1-11"), follows(1, "0-1-11,0-2-12").but_writable(), follows(1, "0-1-11")]);
    set.hear([writes("0-1-13"), follows(1, "0-1-11,0-2-12").but_writable(), follows(1, "0-1-13")]);
    set.expect([Contested, Contested, Replica]);
    set.expect_alarm("db1 and db2 take writes, and it is not certain whose history counts: nothing is written");
}

#[test]
fn two_that_write_without_following_each_other_are_both_left_alone() {
    let mut set = Set::healthy();
    set.hear_one(1, writes("0-1-10"));
    set.expect([Contested, Contested, Replica]);
    set.hear([reads("0-1-10"), writes("0-1-10"), follows(1, "0-1-10")]);
    set.expect([Replica, Primary, Replica]);
}

#[test]
fn in_a_ring_only_the_one_that_takes_writes_is_the_primary() {
    let mut set = Set::new();
    set.hear([follows(2, "0-1-10").but_writable(), follows(1, "0-1-10"), follows(1, "0-1-10")]);
    set.expect([Primary, Replica, Replica]);
    set.hear_one(1, follows(1, "0-1-10").but_writable());
    set.expect([Contested, Contested, Replica]);
}

#[test]
fn a_replica_of_a_primary_that_is_gone_takes_its_place_only_when_it_follows_it_no_more() {
    let mut set = Set::healthy();
    set.refuse(0);
    let cut_off = |channel: &mut Channel| {
        channel.receiving = Receiving::Connecting;
        channel.behind = None;
    };
    set.hear_one(1, follows(1, "0-1-10").but_writable().with(cut_off));
    set.expect([Unknown, Replica, Replica]);
    set.hear_one(1, writes("0-1-10"));
    set.expect([Unknown, Primary, Replica]);
}

#[test]
fn a_switchover_leaves_nobody_fenced() {
    let mut set = Set::healthy();
    set.hear_one(0, reads("0-1-10"));
    set.expect([Replica, Replica, Replica]);
    set.hear([follows(2, "0-1-10"), writes("0-1-10,0-2-11"), follows(2, "0-1-10")]);
    set.expect([Replica, Primary, Replica]);
    set.hear([follows(2, "0-1-10,0-2-12"), writes("0-1-10,0-2-12"), follows(2, "0-1-10,0-2-12")]);
    set.expect_no_alarm();
    set.hear([writes("0-1-10,0-2-12"), follows(1, "0-1-10,0-2-12"), follows(1, "0-1-10,0-2-12")]);
    set.expect([Primary, Replica, Replica]);
}

/// db1 is gone, db2 has taken over with all that db1 had, and db1 is back as it was.
fn returned(had_by_old: &'static str) -> Set {
    let mut set = Set::healthy();
    set.refuse(0);
    set.hear_one(1, writes("0-1-10"));
    set.hear_one(2, follows(2, "0-1-10"));
    set.expect([Unknown, Primary, Replica]);
    set.hear_one(1, writes("0-1-10,0-2-12"));
    set.hear_one(0, writes(had_by_old));
    set.hear_one(0, writes(had_by_old));
    set
}

#[test]
fn a_primary_that_returns_is_not_used_before_it_was_seen_read_only() {
    let mut set = returned("0-1-10");
    set.expect([Deposed, Primary, Replica]);
    set.expect_alarm("db1 took writes before another server took over, and still does");
    // The new one goes away: then there is none.
    set.refuse(1);
    set.expect([Deposed, Unknown, Replica]);
    set.hear_one(0, reads("0-1-10"));
    set.expect([Replica, Unknown, Replica]);
    set.hear_one(0, writes("0-1-10"));
    set.expect([Primary, Unknown, Replica]);
}

#[test]
fn a_primary_that_returns_as_a_replica_is_one() {
    let mut set = returned("0-1-10");
    let history = "0-1-10,0-2-12";
    set.hear([follows(2, history).but_writable(), writes(history), follows(2, history)]);
    set.expect([Replica, Primary, Replica]);
    set.expect_alarm("db1 is a replica and takes writes");
}

#[test]
fn a_primary_that_returns_with_more_than_was_taken_over_leaves_none_certain() {
    let mut set = returned("0-1-11");
    set.expect([Deposed, Contested, Replica]);
    set.expect_alarm("db2 and db1 take writes, and it is not certain whose history counts");
    set.hear_one(0, reads("0-1-11"));
    set.expect([Replica, Primary, Replica]);
}

#[test]
fn what_an_old_primary_was_seen_to_have_counts_even_if_it_lost_it() {
    let mut set = Set::healthy();
    set.hear_one(0, writes("0-1-11"));
    set.refuse(0);
    set.hear_one(1, writes("0-1-10"));
    set.expect([Unknown, Primary, Replica]);
    set.hear_one(0, writes("0-1-10"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Deposed, Contested, Replica]);
}

#[test]
fn a_server_that_was_away_from_the_beginning_takes_nothing_from_the_primary() {
    let mut set = Set::new();
    set.refuse(0);
    set.hear_one(1, writes("0-1-10,0-2-12"));
    set.hear_one(2, follows(2, "0-1-10,0-2-12"));
    set.expect([Unknown, Primary, Replica]);
    set.hear_one(0, writes("0-1-10"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Deposed, Primary, Replica]);
}

#[test]
fn the_memory_of_a_failover_outlives_a_reload() {
    let mut set = returned("0-1-10");
    set.beliefs.apply(config(&SERVERS), set.now);
    set.expect([Deposed, Primary, Replica]);
}

impl Set {
    /// The process ends, and the next one knows what it left.
    fn restarted(self) -> Set {
        let pasts = self.beliefs.pasts();
        let text = serde_json::to_string(&pasts).expect("they are text");
        let mut next = Set { now: self.now, ..Set::new() };
        next.beliefs.recall(&serde_json::from_str(&text).expect("it was just written"));
        next
    }
}

#[test]
fn the_memory_of_a_failover_outlives_the_process() {
    let mut set = returned("0-1-10").restarted();
    set.refuse(1);
    set.hear_one(2, follows(2, "0-1-10,0-2-12"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Deposed, Unknown, Replica]);
    // Read-only, and yet the one with the history that counts.
    set.hear_one(1, reads("0-1-10,0-2-12"));
    set.hear_one(1, reads("0-1-10,0-2-12"));
    set.expect([Deposed, Replica, Replica]);
    set.hear_one(0, reads("0-1-10"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Primary, Replica, Replica]);
}

#[test]
fn whoever_this_process_made_the_primary_stays_it_whatever_the_old_one_brings_back() {
    let replace = |set: &mut Set| {
        let change = (set.ids[0], set.ids[1]);
        set.beliefs.hold_writes("shop");
        set.beliefs.let_write("shop", Some(change));
    };
    let mut set = Set::healthy();
    replace(&mut set);
    set.refuse(0);
    set.hear_one(1, writes("0-1-10"));
    set.hear_one(2, follows(2, "0-1-10"));
    for mut set in [set.restarted(), {
        let mut set = Set::healthy();
        replace(&mut set);
        set.refuse(0);
        set
    }] {
        set.refuse(0);
        set.hear_one(1, writes("0-1-10,0-2-12"));
        set.hear_one(2, follows(2, "0-1-10,0-2-12"));
        (0..2).for_each(|_| set.hear_one(0, writes("0-1-11")));
        set.expect([Deposed, Primary, Replica]);
        // Whoever tried to close it failed, and it takes writes again.
        set.hear_one(0, reads("0-1-11"));
        set.hear_one(0, writes("0-1-11"));
        set.expect([Deposed, Primary, Replica]);
        // It has followed the new one: what comes then somebody else has decided.
        set.hear_one(0, follows(2, "0-1-11,0-2-12"));
        set.hear_one(0, writes("0-1-11,0-2-12"));
        set.expect([Contested, Contested, Replica]);
    }
}

#[test]
fn who_was_made_the_primary_again_between_two_processes_is_it() {
    let mut set = returned("0-1-10").restarted();
    let history = "0-1-20,0-2-12";
    set.hear([writes(history), follows(1, history), follows(1, history)]);
    set.expect([Primary, Replica, Replica]);
    // One process has seen it all, and knows that nobody has closed it since.
    let mut set = returned("0-1-10");
    set.hear([writes(history), follows(1, history), follows(1, history)]);
    set.expect([Deposed, Replica, Replica]);
}

#[test]
fn a_primary_that_was_replaced_between_two_processes_is_not_used_when_it_comes_back() {
    let mut set = Set::healthy().restarted();
    set.refuse(0);
    set.hear_one(1, writes("0-1-10,0-2-12"));
    set.hear_one(2, follows(2, "0-1-10,0-2-12"));
    set.expect([Unknown, Primary, Replica]);
    set.refuse(1);
    set.hear_one(0, writes("0-1-10"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Deposed, Unknown, Replica]);
}

#[test]
fn a_past_that_names_strangers_means_nothing() {
    let mut set = Set::new();
    let past =
        |writer: &str| Past { writer: writer.to_owned(), fenced: [("db1".to_owned(), None)].into(), replaced: None };
    set.beliefs.recall(&[("shop".to_owned(), past("db9")), ("elsewhere".to_owned(), past("db2"))].into());
    set.hear([writes("0-1-10"), follows(1, "0-1-10"), follows(1, "0-1-10")]);
    set.expect([Primary, Replica, Replica]);
    assert_eq!(set.beliefs.pasts()["shop"], Past { writer: "db1".to_owned(), ..Past::default() });
}

#[test]
fn the_last_transactions_of_a_lost_primary_are_reported_where_they_are() {
    let mut set = Set::healthy();
    let parted = || [follows(2, "0-1-10,0-2-15"), writes("0-1-10,0-2-15"), follows(2, "0-1-12,0-2-15")];
    (0..5).for_each(|_| set.hear(parted()));
    set.expect_alarm("db3 has transactions that the primary does not have: 0-1-12");
}

#[test]
fn transactions_of_one_replica_alone_are_reported_when_they_stay() {
    let mut set = Set::healthy();
    let strayed = || [writes("0-1-20"), follows(1, "0-1-20,0-2-11"), follows(1, "0-1-20")];
    set.hear(strayed());
    set.hear(strayed());
    set.expect_no_alarm();
    (0..3).for_each(|_| set.hear(strayed()));
    set.expect_alarm("db2 has transactions that the primary does not have: 0-2-11");
    set.hear([writes("0-1-20,0-2-11"), follows(1, "0-1-20,0-2-11"), follows(1, "0-1-20")]);
    set.expect_no_alarm();
}

#[test]
fn what_a_replica_got_after_the_primary_was_asked_is_nobody_s_mistake() {
    let mut set = Set::healthy();
    for (primary, replica) in [("0-1-11", "0-1-12"), ("0-1-13", "0-1-14"), ("0-1-15", "0-1-16"), ("0-1-17", "0-1-18")] {
        set.hear([writes(primary), follows(1, replica), follows(1, replica)]);
    }
    set.expect_no_alarm();
}

#[test]
fn a_replica_whose_threads_do_not_run_is_not_read_from() {
    let check = |change: fn(&mut Channel), reason: &str| {
        let mut set = Set::healthy();
        set.hear_one(1, follows(1, "0-1-10").with(change));
        set.expect_fitness([Unfit, Fit]);
        assert_eq!(set.reason(1), reason);
        set.hear_one(1, follows(1, "0-1-10"));
        set.expect_fitness([Fit, Fit]);
    };
    check(|channel| channel.receiving = Receiving::Connecting, "does not reach its source");
    check(|channel| channel.receiving = Receiving::Stopped, "does not reach its source");
    check(|channel| channel.applying = false, "does not apply what it receives");
    check(
        |channel| (channel.applying, channel.error) = (false, "Duplicate entry '1'".to_owned()),
        "does not apply what it receives: Duplicate entry '1'",
    );
    check(|channel| (channel.applying, channel.receiving) = (false, Receiving::Stopped), "its replication is stopped");
}

#[test]
fn a_read_only_server_that_follows_nobody_is_not_read_from_while_there_is_a_primary() {
    let mut set = Set::healthy();
    set.hear_one(1, reads("0-1-10"));
    set.expect_fitness([Unfit, Fit]);
    assert_eq!(set.reason(1), "read-only, and replicates from nobody");
    set.refuse(0);
    set.expect_fitness([LastResort, Fit]);
}

#[test]
fn without_a_primary_those_that_lost_it_are_read_from() {
    let mut set = Set::healthy();
    set.refuse(0);
    let cut_off = |channel: &mut Channel| channel.receiving = Receiving::Connecting;
    (1..3).for_each(|place| set.hear_one(place, follows(1, "0-1-10").with(cut_off)));
    set.expect_fitness([LastResort, LastResort]);
    let table = set.table();
    let read = table.config.pool_by_name("read").expect("it is in the configuration");
    assert_eq!(table.pool(read).members.len(), 2);
}

#[test]
fn whoever_may_promote_says_which_replica_would_notice_late_that_its_primary_hangs() {
    let with_heartbeats = |settings: &str, seconds: [u64; 2]| {
        let cluster = format!("topology = \"replication\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n{settings}");
        let mut set = Set::of(config_with(&cluster, &SERVERS));
        set.hear_one(0, writes("0-1-10"));
        for (place, seconds) in [1, 2].into_iter().zip(seconds) {
            let beats = |channel: &mut Channel| channel.heartbeat = Some(Duration::from_secs(seconds));
            set.hear_one(place, follows(1, "0-1-10").with(beats));
        }
        set
    };
    let promotes = "failover = \"manual\"\nadmin = { user = \"a\", password = \"a\" }\nreplication = { user = \"r\", password = \"r\" }";
    with_heartbeats("", [30, 0]).expect_no_alarm();
    with_heartbeats(promotes, [15, 1]).expect_no_alarm();
    with_heartbeats(promotes, [1, 30])
        .expect_alarm("db3 would notice late that its primary hangs (heartbeat period 30 s");
    with_heartbeats(promotes, [0, 1])
        .expect_alarm("db2 would notice late that its primary hangs (heartbeat period 0 s");
}

#[test]
fn a_replica_that_lags_comes_back_below_half() {
    let mut set = Set::with_lag("10s");
    let behind = |seconds, delay| {
        follows(1, "0-1-10").with(move |channel| {
            channel.behind = Some(Duration::from_secs(seconds));
            channel.delay = Duration::from_secs(delay);
        })
    };
    set.hear([writes("0-1-10"), behind(11, 0), behind(3_605, 3_600)]);
    set.expect_fitness([Unfit, Fit]);
    assert_eq!(set.reason(1), "further behind its primary than max_replica_lag (10.0 s)");
    let before = set.table();
    set.hear_one(1, behind(9, 0));
    assert!(set.beliefs.next_table(&before).is_none(), "another lag is no other table");
    assert_eq!(before.servers[1].progress.lag(), Some(Duration::from_secs(9)));
    set.hear_one(1, behind(5, 0));
    set.expect_fitness([Fit, Fit]);
}

#[test]
fn where_all_lag_reads_go_to_the_fallback() {
    let mut set = Set::with_lag("1s");
    let behind = || follows(1, "0-1-10").with(|channel| channel.behind = Some(Duration::from_secs(2)));
    set.hear([writes("0-1-10"), behind(), behind()]);
    let table = set.table();
    let read = table.config.pool_by_name("read").expect("it is in the configuration");
    assert!(table.pool(read).members.is_empty());
    set.expect([Primary, Replica, Replica]);
}

#[test]
fn a_link_that_is_silent_is_noticed_by_the_positions() {
    let mut set = Set::with_lag("5s");
    let primary = ["0-1-11", "0-1-12", "0-1-13", "0-1-14", "0-1-15", "0-1-16", "0-1-17", "0-1-18", "0-1-19"];
    set.hear([writes("0-1-10"), follows(1, "0-1-10"), follows(1, "0-1-10")]);
    for (round, history) in primary.into_iter().enumerate() {
        set.hear([writes(history), follows(1, "0-1-10"), follows(1, history)]);
        let expected = if round > 4 { Unfit } else { Fit };
        set.expect_fitness([expected, Fit]);
    }
}

#[test]
fn a_server_that_does_not_show_its_replication_is_used_with_an_alarm() {
    let mut set = Set::healthy();
    let words = "ERROR 1227: Access denied; you need (at least one of) the SLAVE MONITOR privilege(s)";
    set.hear_one(1, Says { sources: Sources::Denied(words.into()), ..reads("0-1-10") });
    set.hear_one(2, Says { sources: Sources::Silent, ..reads("0-1-10") });
    set.expect([Primary, Replica, Replica]);
    set.expect_fitness([Fit, Fit]);
    set.expect_alarm("db2 does not show its replication to the monitor's account (ERROR 1227");
}

#[test]
fn sources_are_known_by_what_they_say_and_else_by_their_address() {
    let mut set = Set::healthy();
    let translated = |channel: &mut Channel| channel.host = "192.168.1.1".to_owned();
    let hear = |set: &mut Set, says: Says| set.hear([writes("0-1-10"), says.but_writable(), follows(1, "0-1-10")]);
    hear(&mut set, follows(1, "0-1-10").with(translated));
    set.expect([Primary, Replica, Replica]);
    hear(&mut set, follows(1, "0-1-10").with(|channel| channel.source = None));
    set.expect([Primary, Replica, Replica]);
    let foreign = |channel: &mut Channel| {
        (channel.source, channel.host) = (Some(Identity { server_id: 77, uuid: None }), "10.9.9.9".to_owned());
    };
    hear(&mut set, follows(1, "0-1-10").with(foreign));
    set.expect([Contested, Contested, Replica]);
}
