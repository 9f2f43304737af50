//! A cluster whose servers die, hang, come back, change roles and lie to each other's faces; checks and workers' reports
//! of it arrive in any order and late. What is believed of it must never lead a write to a doubtful place.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqluice::route::{Refusal, decide};
use sqluice::topology::{
    Answer, Beliefs, CheckResult, Condition, Failure, Place, RoutingTable, ServerId, View, Writable,
};

use crate::for_each_seed;
use crate::random::Random;
use crate::setting::{FALL, RISE, config, contact, question};

const STEPS: usize = 1_000;
const STEP: Duration = Duration::from_millis(100);

#[test]
fn writes_go_to_one_certain_primary_or_nowhere() {
    for_each_seed(|random| {
        let mut world = World::new(random);
        for _ in 0..STEPS {
            world.step();
            world.check_rules();
        }
        world.heal();
        world.check_recovery();
    });
}

/// The servers as they really are, what was heard of each, and what sqluice believes.
struct World {
    random: Random,
    now: Instant,
    servers: Vec<Server>,
    beliefs: Beliefs,
    /// Findings that have not arrived yet, oldest first.
    in_flight: VecDeque<(usize, CheckResult)>,
    places: Vec<Place>,
    last_epoch: u64,
}

/// One server.
struct Server {
    id: ServerId,
    state: State,
    writable: Writable,
    /// What it last said of writes, as far as that has arrived.
    heard: Option<Writable>,
    /// Checks in a row that said nothing good.
    failures: u32,
    /// Nobody listened there, and it has not answered since.
    refused: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Alive,
    Hung,
    Dead,
    Full,
    /// Its monitor account is wrong.
    Locked,
    Babbling,
}

impl World {
    fn new(mut random: Random) -> World {
        let now = Instant::now();
        let count = 1 + random.below(4);
        let beliefs = Beliefs::new(config("replication", count), now);
        let servers = beliefs.ids().enumerate().map(|(index, id)| Server {
            id,
            state: State::Alive,
            writable: if index == 0 { Writable::Yes } else { Writable::No },
            heard: None,
            failures: 0,
            refused: false,
        });
        World {
            servers: servers.collect(),
            random,
            now,
            beliefs,
            in_flight: VecDeque::new(),
            places: Vec::new(),
            last_epoch: 0,
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let server = self.random.below(self.servers.len());
        match self.random.below(20) {
            0 => self.misbehave(server),
            1 => self.change_role(server),
            2 => self.report(server),
            3 => self.reload(),
            4..=7 => self.arrive(),
            8..=9 => self.use_servers(),
            _ => self.ask(server),
        }
    }

    fn misbehave(&mut self, server: usize) {
        let states =
            [State::Alive, State::Alive, State::Hung, State::Dead, State::Full, State::Locked, State::Babbling];
        self.servers[server].state = *self.random.pick(&states);
    }

    /// Also without asking the others: then there are two that take writes, or none.
    fn change_role(&mut self, server: usize) {
        self.servers[server].writable = *self.random.pick(&[Writable::Yes, Writable::No]);
        if self.random.once_in(2) {
            let others = self.servers.iter_mut().enumerate().filter(|(index, _)| *index != server);
            others.for_each(|(_, other)| other.writable = Writable::No);
        }
    }

    fn ask(&mut self, server: usize) {
        let result = self.servers[server].answer();
        self.in_flight.push_back((server, result));
        if self.in_flight.len() > 3 {
            self.arrive();
        }
    }

    /// Findings of one server arrive in order, those of several in any.
    fn arrive(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let any = self.random.below(self.in_flight.len());
        let server = self.in_flight[any].0;
        let first = self.in_flight.iter().position(|(other, _)| *other == server).expect("this one at least");
        let (server, result) = self.in_flight.remove(first).expect("it was just found");
        self.servers[server].hear(&result);
        self.beliefs.check(self.servers[server].id, &result, self.now);
    }

    fn report(&mut self, server: usize) {
        let failures = [
            Failure::Refused,
            Failure::Reset,
            Failure::TimedOut,
            Failure::Malformed,
            Failure::LoginRefused { code: 1040 },
            Failure::LoginRefused { code: 1045 },
            Failure::LoginRefused { code: 1129 },
        ];
        let failure = *self.random.pick(&failures);
        let server = &mut self.servers[server];
        server.refused |= matches!(failure, Failure::Refused | Failure::LoginRefused { code: 1129 });
        self.beliefs.report(server.id, failure, self.now);
    }

    /// The same servers again: nothing that is known of them may be lost.
    fn reload(&mut self) {
        let before = self.beliefs.table();
        self.beliefs.apply(config("replication", self.servers.len()), self.now);
        let after = self.beliefs.table();
        for (old, new) in before.servers.iter().zip(&after.servers) {
            assert_eq!((old.id, &old.health), (new.id, &new.health));
            assert!(Arc::ptr_eq(&old.load, &new.load));
        }
    }

    fn use_servers(&mut self) {
        let table = self.beliefs.table();
        if self.random.once_in(3) && !self.places.is_empty() {
            let any = self.random.below(self.places.len());
            self.places.swap_remove(any).release();
        }
        let tie_break = self.random.next() as u32;
        if let Ok(decision) = decide(&table, &question(&table, "read", tie_break)) {
            let server = table.server(decision.server);
            let place = server.load.reserve(server.max_connections);
            self.places.push(place.expect("the decision has just found a place"));
        }
    }

    fn check_rules(&mut self) {
        let table = self.beliefs.table();
        assert!(table.epoch > self.last_epoch);
        self.last_epoch = table.epoch;
        self.check_writers(&table);
        self.check_reads(&table);
        for entry in &table.servers {
            assert!(entry.max_connections == 0 || entry.load.connections() <= entry.max_connections);
            assert!(!entry.health.reason.is_empty());
        }
    }

    fn check_writers(&self, table: &RoutingTable) {
        let write = table.config.pool_by_name("write").expect("it is in the configuration");
        let writers = &table.pool(write).members;
        assert!(writers.len() <= 1, "two writers");
        let Some(writer) = writers.first().map(|writer| writer.0) else { return };
        assert_eq!(table.servers[writer].health.condition, Condition::Up);
        assert_eq!(self.servers[writer].heard, Some(Writable::Yes), "the writer did not say that it takes writes");
        for (index, server) in self.servers.iter().enumerate() {
            let may_write = server.heard == Some(Writable::Yes) && !server.refused && server.failures < FALL;
            assert_eq!(
                may_write && table.servers[index].health.condition == Condition::Up,
                index == writer,
                "server {index}"
            );
        }
        let decision = decide(table, &question(table, "write", 0));
        assert!(matches!(decision, Ok(_) | Err(Refusal::AllFull)), "there is a writer and no way to it");
    }

    fn check_reads(&self, table: &RoutingTable) {
        let is_reachable = |pool| {
            let pool = table.config.pool_by_name(pool).expect("it is in the configuration");
            !table.pool(pool).members.is_empty()
        };
        let decision = decide(table, &question(table, "read", 0));
        assert_eq!(decision == Err(Refusal::NoServer), !is_reachable("read") && !is_reachable("write"));
        if let Ok(decision) = decision {
            let server = &self.servers[decision.server.0];
            assert!(!server.refused || server.heard.is_some());
            assert_eq!(table.server(decision.server).health.condition, Condition::Up);
        }
    }

    /// All is well again: one server takes writes, all answer, and everything in flight has arrived. Whoever it is was
    /// seen read-only before, as an operator would make sure of.
    fn heal(&mut self) {
        let primary = self.random.below(self.servers.len());
        for server in &mut self.servers {
            (server.state, server.writable) = (State::Alive, Writable::No);
        }
        self.hear_all();
        self.servers[primary].writable = Writable::Yes;
        self.hear_all();
    }

    fn hear_all(&mut self) {
        for _ in 0..RISE {
            (0..self.servers.len()).for_each(|server| self.ask(server));
            while !self.in_flight.is_empty() {
                self.arrive();
            }
        }
    }

    fn check_recovery(&mut self) {
        let table = self.beliefs.table();
        let members = |pool: &str| {
            let pool = table.config.pool_by_name(pool).expect("it is in the configuration");
            table.pool(pool).members.iter().map(|member| member.0).collect::<Vec<_>>()
        };
        let that_say = |writable: Writable| {
            let servers = self.servers.iter().enumerate();
            servers.filter(move |(_, server)| server.writable == writable).map(|(index, _)| index).collect::<Vec<_>>()
        };
        assert_eq!(members("write"), that_say(Writable::Yes));
        assert_eq!(members("read"), that_say(Writable::No));
        self.places.clear();
        assert!(table.servers.iter().all(|server| server.load.connections() == 0));
    }
}

impl Server {
    fn answer(&self) -> CheckResult {
        let refusal = |code| CheckResult::LoginRefused { code, message: "not you".to_owned() };
        match self.state {
            State::Alive => answered(self.writable),
            State::Hung => CheckResult::TimedOut,
            State::Dead => CheckResult::Refused,
            State::Full => refusal(1040),
            State::Locked => refusal(1045),
            State::Babbling => CheckResult::Malformed("a packet of 16777215 bytes".to_owned()),
        }
    }

    fn hear(&mut self, result: &CheckResult) {
        match result {
            CheckResult::Answered(answer) => {
                self.heard = answer.writable;
                (self.failures, self.refused) = (0, false);
            }
            CheckResult::LoginRefused { .. } => self.failures = 0,
            CheckResult::Refused => self.refused = true,
            _ => self.failures += 1,
        }
    }
}

fn answered(writable: Writable) -> CheckResult {
    CheckResult::Answered(Answer { writable: Some(writable), view: View::Unasked, contact: Some(contact()) })
}
