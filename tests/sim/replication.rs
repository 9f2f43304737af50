//! A replication set in which links break, histories part, operators promote and forget, and primaries come back. What each
//! server says arrives late, and the balancer is started anew in the middle of it all. By what was heard, and never by less,
//! there is one writer or none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqluice::config::Config;
use sqluice::protocol::gtid::{GtidHistory, GtidPosition};
use sqluice::route::{Refusal, decide};
use sqluice::topology::replication::{Channel, Identity, Receiving, Sources, View as ReplicationView};
use sqluice::topology::{
    Answer, Beliefs, CheckResult, Condition, Failure, Fitness, RoutingTable, Seen, ServerId, ServerRole, View, Writable,
};

use crate::for_each_seed;
use crate::random::Random;
use crate::setting::{config, contact, question};

/// Of each seed; with all fixed seeds together 100,000.
const STEPS: usize = 2_500;
const STEP: Duration = Duration::from_millis(100);
const SERVERS: usize = 3;

/// Between two processes.
const UNSEEN_STEPS_MAX: usize = 60;

#[test]
fn the_writer_is_the_only_one_that_can_be_or_there_is_none() {
    for_each_seed(|random| {
        let mut world = World::new(random);
        for _ in 0..STEPS {
            world.step();
            world.check_rules();
        }
    });
}

/// A transaction: who wrote it first, and which of its own it was.
type Transaction = (u64, u64);

/// The servers as they really are, what was heard of each, and what sqluice believes.
struct World {
    random: Random,
    config: Arc<Config>,
    now: Instant,
    servers: Vec<Server>,
    beliefs: Beliefs,
    /// Findings that have not arrived yet, oldest first.
    in_flight: VecDeque<(usize, CheckResult, Option<Heard>)>,
    next_uuid: u64,
    /// Who was the writer in the last table that had one.
    last_writer: Option<usize>,
}

/// One server.
struct Server {
    id: ServerId,
    uuid: u64,
    state: State,
    writable: bool,
    /// Its transactions in the order in which it has them.
    chain: Vec<Transaction>,
    source: Option<usize>,
    is_linked: bool,
    is_applying: bool,
    is_slow: bool,
    heard: Option<Heard>,
    fence: Fence,
}

/// Whether a server was succeeded without having been heard to take no writes, and was not heard so since.
#[derive(Clone, Copy, PartialEq)]
enum Fence {
    Off,
    /// This process has seen it.
    Seen,
    /// The one before it has. What happened between the two nobody saw.
    Recalled,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Alive,
    Hung,
    Dead,
}

/// What a server said.
#[derive(Clone)]
struct Heard {
    writable: bool,
    follows: Option<usize>,
    has: BTreeSet<Transaction>,
    is_applying: bool,
}

impl World {
    fn new(random: Random) -> World {
        let now = Instant::now();
        let config = config("replication", SERVERS);
        let beliefs = Beliefs::new(Arc::clone(&config), now);
        let servers = beliefs.ids().enumerate().map(|(index, id)| Server {
            id,
            uuid: index as u64 + 1,
            state: State::Alive,
            writable: index == 0,
            chain: Vec::new(),
            source: (index > 0).then_some(0),
            is_linked: true,
            is_applying: true,
            is_slow: false,
            heard: None,
            fence: Fence::Off,
        });
        World {
            servers: servers.collect(),
            random,
            config,
            now,
            beliefs,
            in_flight: VecDeque::new(),
            next_uuid: SERVERS as u64 + 1,
            last_writer: None,
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let server = self.random.below(SERVERS);
        match self.random.below(40) {
            8 => self.report(server),
            9 if self.random.once_in(4) => self.restart(),
            9 => self.beliefs.apply(Arc::clone(&self.config), self.now),
            21..=28 => self.arrive(),
            29.. => self.ask(server),
            chance => self.happen(chance, server),
        }
    }

    /// What becomes of the servers, whoever watches.
    fn happen(&mut self, chance: usize, server: usize) {
        match chance {
            0 => self.servers[server].state = *self.random.pick(&[State::Alive, State::Hung, State::Dead]),
            1 => self.servers[server].is_linked = self.random.once_in(2),
            2 => self.servers[server].is_applying = self.random.once_in(2),
            3 => self.servers[server].is_slow = self.random.once_in(3),
            4 => self.servers[server].writable = self.random.once_in(2),
            5 => self.promote(server),
            6 => self.repoint(server),
            7 => self.rebuild(server),
            8..=14 => self.write(server),
            _ => self.replicate(),
        }
    }

    /// The balancer ends. Another one begins some time later, and knows what this one has kept.
    fn restart(&mut self) {
        let kept = serde_json::to_string(&self.beliefs.pasts()).expect("names and texts are JSON");
        for _ in 0..self.random.below(UNSEEN_STEPS_MAX) {
            self.now += STEP;
            let (chance, server) = (self.random.below(21), self.random.below(SERVERS));
            self.happen(chance, server);
        }
        self.beliefs = Beliefs::new(Arc::clone(&self.config), self.now);
        self.beliefs.recall(&serde_json::from_str(&kept).expect("it was just written"));
        self.in_flight.clear();
        for (server, id) in self.servers.iter_mut().zip(self.beliefs.ids()) {
            (server.id, server.heard) = (id, None);
            if server.fence == Fence::Seen {
                server.fence = Fence::Recalled;
            }
        }
    }

    /// Most operators demote the old one and point the others at the new one; some forget.
    fn promote(&mut self, server: usize) {
        let old = self.servers[server].source;
        (self.servers[server].source, self.servers[server].writable) = (None, true);
        for other in (0..SERVERS).filter(|other| *other != server) {
            if self.random.once_in(2) {
                (self.servers[other].source, self.servers[other].is_applying) = (Some(server), true);
            }
            if self.random.once_in(2) {
                self.servers[other].writable = false;
            }
        }
        if let Some(old) = old.filter(|_| !self.random.once_in(4)) {
            self.servers[old].writable = false;
        }
    }

    fn repoint(&mut self, server: usize) {
        let source = self.random.below(SERVERS);
        self.servers[server].source = (source != server).then_some(source);
        (self.servers[server].is_linked, self.servers[server].is_applying) = (true, true);
    }

    /// A copy of another server with an identity of its own.
    fn rebuild(&mut self, server: usize) {
        let source = (server + 1) % SERVERS;
        self.servers[server].chain = self.servers[source].chain.clone();
        self.servers[server].uuid = self.next_uuid;
        self.next_uuid += 1;
        self.repoint(server);
        self.servers[server].writable = false;
    }

    /// Somebody writes there, through sqluice or not.
    fn write(&mut self, server: usize) {
        let server = &mut self.servers[server];
        if server.state == State::Alive && server.writable {
            let own = server.chain.iter().filter(|(uuid, _)| *uuid == server.uuid).count() as u64;
            server.chain.push((server.uuid, own + 1));
        }
    }

    /// Each replica gets one transaction, or breaks at one that does not follow its own.
    fn replicate(&mut self) {
        for place in 0..SERVERS {
            let Some(source) = self.servers[place].source else { continue };
            if !self.servers[place].is_receiving(&self.servers) || self.servers[place].is_slow {
                continue;
            }
            let theirs = self.servers[source].chain.clone();
            let mine = &mut self.servers[place];
            let goes_on = mine.chain.last().is_none_or(|last| theirs.get(mine.chain.len() - 1) == Some(last));
            match theirs.get(mine.chain.len()) {
                Some(next) if goes_on && mine.is_applying => mine.chain.push(*next),
                _ => mine.is_applying &= goes_on,
            }
        }
    }

    fn ask(&mut self, server: usize) {
        let (result, heard) = self.servers[server].answer(&self.servers, self.now);
        self.in_flight.push_back((server, result, heard));
        if self.in_flight.len() > 4 {
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
        let first = self.in_flight.iter().position(|(other, ..)| *other == server).expect("this one at least");
        let (server, result, heard) = self.in_flight.remove(first).expect("it was just found");
        if let CheckResult::Answered(Answer { view: View::Replication(view), .. }) = &result {
            self.beliefs.see(self.servers[server].id, Some(position(view)));
        }
        self.beliefs.check(self.servers[server].id, &result, self.now);
        if let Some(heard) = heard {
            let is_over = !heard.writable || (heard.follows.is_some() && heard.follows == self.last_writer);
            if is_over {
                self.servers[server].fence = Fence::Off;
            }
            self.servers[server].heard = Some(heard);
            self.forgive();
        }
    }

    /// Between two processes somebody may have taken the writes from the successor and given them back: that shows in a
    /// successor which takes none, and has nothing that the old primary lacks.
    fn forgive(&mut self) {
        let successor = self.last_writer.and_then(|writer| self.servers[writer].heard.clone());
        let Some(successor) = successor.filter(|successor| !successor.writable) else { return };
        for server in self.servers.iter_mut().filter(|server| server.fence == Fence::Recalled) {
            if server.heard.as_ref().is_some_and(|heard| heard.has.is_superset(&successor.has)) {
                server.fence = Fence::Off;
            }
        }
    }

    fn report(&mut self, server: usize) {
        let failure = *self.random.pick(&[Failure::Refused, Failure::Reset, Failure::TimedOut]);
        self.beliefs.report(self.servers[server].id, failure, self.now);
    }

    fn check_rules(&mut self) {
        let table = self.beliefs.table();
        self.check_writer(&table);
        self.check_reads(&table);
    }

    fn check_writer(&mut self, table: &RoutingTable) {
        let write = table.config.pool_by_name("write").expect("it is in the configuration");
        let writers = &table.pool(write).members;
        assert!(writers.len() <= 1, "two writers");
        let Some(writer) = writers.first().map(|writer| writer.0) else { return };
        let heard = |place: usize| self.servers[place].heard.as_ref();
        let says = heard(writer).expect("it was heard");
        assert!(says.writable, "the writer did not say that it takes writes");
        assert!(self.servers[writer].fence == Fence::Off, "a writer that was succeeded is back");
        for (place, entry) in table.servers.iter().enumerate().filter(|(place, _)| *place != writer) {
            let Some(other) = heard(place).filter(|other| other.writable) else { continue };
            match entry.health.role {
                _ if entry.health.condition != Condition::Up => {}
                ServerRole::Replica => assert!(other.follows.is_some(), "a second writer that follows nobody"),
                ServerRole::Deposed => assert!(other.has.is_subset(&says.has), "a history that does not go on"),
                other => panic!("a second writer, {other}, beside the one"),
            }
        }
        if let Some(old) = self.last_writer.replace(writer).filter(|old| *old != writer) {
            let old = &mut self.servers[old];
            let follows = old.heard.as_ref().and_then(|heard| heard.follows) == Some(writer);
            if old.heard.as_ref().is_some_and(|heard| heard.writable) && !follows {
                old.fence = Fence::Seen;
            }
        }
    }

    fn check_reads(&self, table: &RoutingTable) {
        let pool = |name| table.pool(table.config.pool_by_name(name).expect("it is in the configuration"));
        let decision = decide(table, &question(table, "read", 0));
        let is_reachable = !pool("read").members.is_empty() || !pool("write").members.is_empty();
        assert_eq!(decision == Err(Refusal::NoServer), !is_reachable, "nobody is read from while somebody could be");
        for member in &pool("read").members {
            let heard = self.servers[member.0].heard.as_ref().expect("it was heard");
            assert!(heard.follows.is_none() || heard.is_applying, "read from a replica that stands still");
            assert_ne!(table.server(*member).health.fitness, Fitness::Unfit);
        }
    }
}

impl Server {
    fn is_receiving(&self, servers: &[Server]) -> bool {
        let source = self.source.map(|source| &servers[source]);
        self.is_linked && self.state == State::Alive && source.is_some_and(|source| source.state == State::Alive)
    }

    fn answer(&self, servers: &[Server], now: Instant) -> (CheckResult, Option<Heard>) {
        match self.state {
            State::Hung => return (CheckResult::TimedOut, None),
            State::Dead => return (CheckResult::Refused, None),
            State::Alive => {}
        }
        let history = GtidHistory::parse_mysql(self.history().as_bytes()).expect("a set that is not too long");
        let channels = self.source.map(|source| self.channel(servers, source)).into_iter().collect();
        let view = ReplicationView {
            asked: now,
            identity: identity(self.uuid),
            history: Some(Arc::new(history)),
            sources: Sources::Told(channels),
        };
        let writable = if self.writable { Writable::Yes } else { Writable::No };
        let answer = Answer { writable: Some(writable), view: View::Replication(view), contact: Some(contact()) };
        let heard = Heard {
            writable: self.writable,
            follows: self.source,
            has: self.chain.iter().copied().collect(),
            is_applying: self.is_applying,
        };
        (CheckResult::Answered(answer), Some(heard))
    }

    fn channel(&self, servers: &[Server], source: usize) -> Channel {
        let is_receiving = self.is_receiving(servers);
        let seconds = if self.is_slow { 100 } else { 0 };
        Channel {
            host: format!("10.0.0.{}", source + 1),
            port: 3306,
            source: Some(identity(servers[source].uuid)),
            receiving: if is_receiving { Receiving::Connected } else { Receiving::Connecting },
            applying: self.is_applying,
            behind: (is_receiving && self.is_applying).then_some(Duration::from_secs(seconds)),
            delay: Duration::ZERO,
            received: None,
            error: String::new(),
            heartbeat: None,
        }
    }

    /// As MySQL prints it: `uuid:1-3:5`.
    fn history(&self) -> String {
        let mut sources: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (uuid, number) in &self.chain {
            sources.entry(*uuid).or_default().push(number.to_string());
        }
        // Servers write one after the other, so the numbers of one are without a gap.
        let part = |(uuid, numbers): (&u64, &Vec<String>)| {
            let [first, .., last] = numbers.as_slice() else { return format!("{}:{}", name(*uuid), numbers[0]) };
            format!("{}:{first}-{last}", name(*uuid))
        };
        sources.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

fn identity(uuid: u64) -> Identity {
    Identity { server_id: uuid as u32, uuid: Some(name(uuid).into_boxed_str()) }
}

fn name(uuid: u64) -> String {
    format!("00000000-0000-0000-0000-{uuid:012x}")
}

fn position(view: &ReplicationView) -> Seen {
    let history = view.history.as_ref().expect("it tells").to_string();
    let position = GtidPosition::parse_mysql(history.as_bytes()).expect("it was printed by a history");
    Seen { asked: view.asked, applied: position.clone(), committed: Some(position) }
}
