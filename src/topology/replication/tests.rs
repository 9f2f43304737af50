//! Sets of three servers that say what servers say, and who may write and be read then.

mod reading;
mod returning;

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
use ServerRole::{Contested, Deposed, Primary, Replica, Unknown, Yielding};

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

#[test]
fn a_server_that_a_reload_adds_takes_nothing_from_the_primary_while_it_is_asked() {
    let mut set = Set::of(config(&SERVERS[..2]));
    for _ in 0..2 {
        set.hear_one(0, writes("0-1-10"));
        set.hear_one(1, follows(1, "0-1-10"));
    }
    set.beliefs.apply(config(&SERVERS), set.now);
    set.ids = set.beliefs.ids().collect();
    set.expect([ServerRole::Primary, ServerRole::Replica, ServerRole::Unknown]);
    // One that takes writes too is a contest all the same, as soon as it is heard.
    set.hear_one(2, writes("0-3-10"));
    set.expect([ServerRole::Contested, ServerRole::Replica, ServerRole::Contested]);
}
