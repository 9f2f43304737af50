//! A worker over a network in memory, between clients and servers that are cut, reset, slow, silent and full by seed, while
//! servers are drained and lost. What the architecture promises is looked at all the time, and at the end everything must
//! have been given back. Statements are done once; whatever they depend on, a transaction or a variable of their session, is
//! there, on whichever connection they come to a server, and nothing of another session's.
//!
//! In some seeds clients, servers or both are inside TLS.
//!
//! `SQLUICE_SIMULATION_SEED=N` runs one seed and says what happened.

mod client;
mod control;
mod departing;
mod line;
mod sealing;
mod server;

use std::{os::unix::net::UnixStream, time::Duration};

use super::*;
use crate::{
    config::limits::OVERFLOW_HIGH_WATER,
    io::{Dice, Event, GroupLimits, IoLimits, Network},
    session::Side,
};

use client::Client;
use control::Control;
use sealing::{FarTerms, Sealing};
use server::{Servers, Tally};

/// How the sessions of a seed stand to their servers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// One server each, of a pool.
    Pooled,
    /// A primary, and replicas for reads.
    Split,
    /// The primary, of which they give back connections between transactions.
    Lent,
    /// Both.
    Shared,
}

/// Seeds of a test run for each way, and one that no run had before.
const SEEDS: u64 = 60;

/// Clients of one seed.
const CLIENTS: usize = 12;

/// So few buffers that sockets wait for one.
const IO: IoLimits = IoLimits {
    sockets_max: 64,
    small: GroupLimits { buffers: 8, size: 256 },
    large: GroupLimits { buffers: 4, size: 1024 },
};

/// What is inside a record of TLS is there with its last byte, however long ago the others came.
const RECORD_BYTES: usize = 16 << 10;

/// Turns without a step of the clock: more is a loop that does not end.
const TURNS_AT_ONCE: usize = 5_000;

/// No seed takes longer, on its own clock: every wait has a deadline, and these are its sums.
const LONGEST: Duration = Duration::from_secs(1_200);

/// What came of a seed.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    logins: usize,
    /// Those of them that were inside TLS.
    sealed: usize,
    replies: usize,
    /// Clients that were told an error.
    errors: usize,
    /// Clients whose connection ended without a word.
    cut: usize,
    /// Clients that gave up on a server that hangs.
    gave_up: usize,
    servers: Tally,
}

/// A worker and who talks to it.
struct World {
    way: Way,
    network: Network,
    control: Control,
    worker: Worker,
    events: Vec<Event>,
    dice: Dice,
    clients: Vec<Client>,
    servers: Servers,
    far_terms: FarTerms,
    outcome: Outcome,
    began: Instant,
}

impl World {
    fn new(seed: u64, way: Way) -> World {
        let network = Network::new(seed);
        let sealing = Sealing::of(seed);
        let servers = Servers::new(seed, way, &sealing, &network);
        let mut control = Control::new(seed, way, &sealing, &servers.addresses, network.now());
        let worker = worker(&network, control.table(), &sealing);
        let began = network.now();
        let dice = Dice::new(seed ^ 0xC0FFEE);
        World {
            way,
            network,
            control,
            worker,
            events: Vec::new(),
            dice,
            clients: Vec::new(),
            servers,
            far_terms: sealing.far_terms(),
            outcome: Outcome::default(),
            began,
        }
    }

    /// Runs to the end of all clients, and of what they leave behind.
    fn run(mut self) -> Outcome {
        let mut coming = CLIENTS;
        let mut turns = 0;
        loop {
            self.worker.turn(&mut self.events).expect("the network does not fail");
            self.check();
            if coming > 0 && self.dice.once_in(6) {
                coming -= 1;
                let number = (CLIENTS - coming) as u32;
                let far = self.network.connect(1);
                let (back, now) = (&self.far_terms.back, self.network.now());
                self.clients.push(Client::new(number, self.way, back, far, &mut self.dice, now));
            }
            self.servers.act(&self.network);
            self.control.act(&self.worker.company, self.network.now());
            self.clients_act();
            if coming == 0 && self.clients.is_empty() && self.is_settled() {
                break;
            }
            turns += 1;
            assert!(turns < TURNS_AT_ONCE, "the worker goes round in circles");
            if !self.network.was_busy() {
                turns = 0;
                self.advance(coming > 0);
            }
        }
        self.check_end();
        self.outcome.servers = self.servers.tally;
        self.outcome
    }

    fn advance(&mut self, more_come: bool) {
        let actors = self.clients.iter().filter_map(Client::wakes).chain(self.servers.wakes());
        let arrival = more_come.then(|| self.network.now() + Duration::from_millis(5));
        let orders = self.control.wakes().filter(|_| more_come || !self.clients.is_empty());
        let any = self.network.advance(actors.chain(arrival).chain(orders));
        assert!(any, "somebody waits for ever: {:?}", self.outcome);
        assert!(self.network.now() < self.began + LONGEST, "a wait has no end: {:?}", self.outcome);
    }

    fn clients_act(&mut self) {
        let (now, outcome) = (self.network.now(), &mut self.outcome);
        self.clients.retain_mut(|client| {
            client.act(now, outcome);
            !client.is_over()
        });
    }

    /// What is true at every moment.
    fn check(&mut self) {
        assert_eq!(self.worker.mailbox.counters.faults.load(Ordering::SeqCst), 0, "a fault of ours");
        let pool = IO.small.buffers * IO.small.size + IO.large.buffers * IO.large.size;
        for key in self.worker.tenants.keys() {
            let Some(tenant) = self.worker.tenants.get_mut(key) else { continue };
            for side in [Side::Client, Side::Server, Side::Replica, Side::Errand] {
                let Some(connection) = tenant.connection(side) else { continue };
                let waiting = connection.waiting();
                let bound = OVERFLOW_HIGH_WATER + 2 * pool + RECORD_BYTES;
                assert!(waiting <= bound, "{waiting} bytes wait at {side:?}");
            }
        }
    }

    /// Nothing of a session is left but connections that rest.
    fn is_settled(&self) -> bool {
        let worker = &self.worker;
        let is_left = worker.tenants.len() > 0 || worker.departing.len() > 0 || !worker.forgetting.is_empty();
        !is_left && worker.io.socket_count() == worker.resting.len()
    }

    /// Everything is where it was before the first client came.
    fn check_end(&mut self) {
        let worker = &mut self.worker;
        assert_eq!(worker.io.free_buffers(), (IO.small.buffers, IO.large.buffers), "buffers are missing");
        assert_eq!(worker.io.socket_count(), worker.owners.iter().flatten().count(), "a socket has no owner");
        assert!(worker.session_keys.is_empty() && worker.waiters.is_empty() && worker.found.is_empty());
        assert!(worker.strangers.is_empty() && worker.travellers.is_empty());
        assert_eq!(worker.company.strangers.load(Ordering::SeqCst), 0);
        assert_eq!(worker.company.sessions.load(Ordering::SeqCst), 0);
        assert_eq!(worker.mailbox.burden.load(Ordering::SeqCst), 0);
        let taken: u32 = worker.table.servers.iter().map(|server| server.load.connections()).sum();
        assert_eq!(taken as usize, worker.resting.len(), "places are missing");
        assert!(worker.table.servers.iter().all(|server| server.load.waiting() == 0));
    }
}

fn worker(network: &Network, table: RoutingTable, sealing: &Sealing) -> Worker {
    let mark = table.config.listeners[0].mark().into();
    let terms = sealing.terms(&table.config);
    let settings = Settings { terms, ..settings(Engine::Epoll, 1, Arc::new(table)) };
    let io = Io::simulated(IO, network.clone());
    let (handle, mailbox) = mailbox::mailbox(limits::MAILBOX_ORDERS, io.wake_handle());
    let company = Arc::new(Company {
        settings,
        sessions: AtomicU32::new(0),
        strangers: AtomicU32::new(0),
        gate: Arc::new(Gate::new(1)),
        handles: OnceLock::new(),
    });
    // Nobody connects to it: clients come over the network in memory.
    let (socket, _) = UnixStream::pair().expect("a test has descriptors");
    handle.send(Order::Listen { key: 1, mark, socket: socket.into() }).expect("a fresh mailbox has room");
    let _ = company.handles.set(vec![handle]);
    Worker::new(0, io, mailbox, company)
}

fn run(seed: u64, way: Way) -> Outcome {
    match std::panic::catch_unwind(|| World::new(seed, way).run()) {
        Ok(outcome) => outcome,
        Err(_) => panic!("seed {seed} fails, {way:?}; SQLUICE_SIMULATION_SEED={seed} runs it alone"),
    }
}

/// Runs all seeds; gives what came of them.
fn run_all(way: Way) -> Option<Vec<Outcome>> {
    if let Some(seed) = std::env::var("SQLUICE_SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok()) {
        eprintln!("{:?}", run(seed, way));
        return None;
    }
    let another = getrandom::u64().expect("the system has random numbers") % 1_000_000_000;
    eprintln!("{way:?}: seeds 0 to {SEEDS}, and {another}");
    let outcomes: Vec<Outcome> = (0..SEEDS).chain([another]).map(|seed| run(seed, way)).collect();
    // All of it happens, and mostly it goes well.
    let counts: [fn(&Outcome) -> usize; 5] =
        [|all| all.logins, |all| all.replies, |all| all.errors, |all| all.cut, |all| all.gave_up];
    let [logins, replies, errors, cut, gave_up] = counts.map(|count| sum(&outcomes, count));
    eprintln!("{logins} logins, {replies} replies, {errors} errors, {cut} cut, {gave_up} gave up");
    assert!(logins > CLIENTS * SEEDS as usize / 2);
    assert!(replies > logins);
    assert!(errors > 0 && cut > 0 && gave_up > 0);
    let [clients, servers] = [sum(&outcomes, |all| all.sealed), sum(&outcomes, |all| all.servers.sealed)];
    eprintln!("inside TLS: {clients} clients, {servers} logins at servers");
    assert!(clients > SEEDS as usize && servers > SEEDS as usize);
    Some(outcomes)
}

fn sum(outcomes: &[Outcome], count: impl Fn(&Outcome) -> usize) -> usize {
    outcomes.iter().map(count).sum()
}

#[test]
fn no_fate_of_connections_breaks_a_promise() {
    run_all(Way::Pooled);
}

#[test]
fn no_fate_of_connections_breaks_a_promise_to_split_sessions() {
    let Some(outcomes) = run_all(Way::Split) else { return };
    assert_happens(&outcomes, "reads at replicas", |servers| servers.reads_at_replicas);
    assert_happens(&outcomes, "statements that find a variable", |servers| servers.signed);
    assert_happens(&outcomes, "statements that find none", |servers| servers.unsigned);
    assert_happens(&outcomes, "statements of transactions", |servers| servers.within);
}

#[test]
fn no_fate_of_connections_breaks_a_promise_to_sessions_whose_connections_are_lent() {
    let Some(outcomes) = run_all(Way::Lent) else { return };
    assert_happens(&outcomes, "connections for another session", |servers| servers.resets);
    assert_happens(&outcomes, "statements that find a variable", |servers| servers.signed);
    assert_happens(&outcomes, "statements that find none", |servers| servers.unsigned);
    assert_happens(&outcomes, "statements of transactions", |servers| servers.within);
}

#[test]
fn no_fate_of_connections_breaks_a_promise_to_split_sessions_whose_connections_are_lent() {
    let Some(outcomes) = run_all(Way::Shared) else { return };
    assert_happens(&outcomes, "reads at replicas", |servers| servers.reads_at_replicas);
    assert_happens(&outcomes, "connections for another session", |servers| servers.resets);
    assert_happens(&outcomes, "statements that find a variable", |servers| servers.signed);
    assert_happens(&outcomes, "statements that find none", |servers| servers.unsigned);
    assert_happens(&outcomes, "statements of transactions", |servers| servers.within);
}

/// More than once a seed.
fn assert_happens(outcomes: &[Outcome], what: &str, count: impl Fn(&Tally) -> usize) {
    let all = sum(outcomes, |outcome| count(&outcome.servers));
    eprintln!("{what}: {all}");
    assert!(all > outcomes.len(), "{what}: {all}");
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for way in [Way::Pooled, Way::Split, Way::Lent, Way::Shared] {
        (0..6).for_each(|seed| assert_eq!(run(seed, way), run(seed, way), "seed {seed}, {way:?}"));
    }
}
