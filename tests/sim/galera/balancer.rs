//! One balancer before a Galera cluster: which nodes it reaches, what it has heard of each, and the rules that its tables
//! must keep by that, whatever the truth is.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqluice::config::Config;
use sqluice::route::{Refusal, decide};
use sqluice::topology::galera::{Connection, LocalState, Queries, Readiness, Status, View};
use sqluice::topology::{
    Answer, Beliefs, CheckResult, Condition, Failure, RoutingTable, ServerId, ServerRole, View as AnyView, Writable,
};

use super::cluster::Cluster;
use crate::random::Random;
use crate::setting::question;

pub(super) struct Balancer {
    beliefs: Beliefs,
    /// What follows from the beliefs, made anew when they say something else.
    pub(super) table: RoutingTable,
    ids: Vec<ServerId>,
    /// Whether packets come through between here and each node.
    pub(super) reaches: Vec<bool>,
    /// Findings that have not arrived yet, oldest first.
    in_flight: VecDeque<Finding>,
    pub(super) heard: Vec<Heard>,
    /// Views of groups that go on, as they were first heard of, and who has ever said to be in each.
    known: Vec<(View, BTreeSet<usize>)>,
    /// Findings that have arrived.
    arrivals: u64,
    /// The arrival that brought the newest of the known views, and the step of the world it came in.
    news: (u64, u64),
    /// Who has the writes.
    pub(super) writer: Option<usize>,
    /// Who had them in the last table in which somebody had.
    last_writer: Option<usize>,
}

/// What came of the last check of a node.
#[derive(Clone, Default)]
pub(super) struct Heard {
    pub(super) view: Option<View>,
    /// The step of the world in which it was asked.
    pub(super) asked: u64,
    /// The arrival that brought it.
    arrival: u64,
    /// Whether it answered; else `view` is older.
    is_answer: bool,
    /// For each of its last answers, the newest first, whether clients had committed there since the one before.
    writes: VecDeque<bool>,
}

struct Finding {
    node: usize,
    asked: u64,
    result: CheckResult,
}

impl Balancer {
    pub(super) fn new(config: Arc<Config>, now: Instant) -> Balancer {
        let mut beliefs = Beliefs::new(config, now);
        let ids: Vec<ServerId> = beliefs.ids().collect();
        Balancer {
            table: beliefs.table(),
            reaches: vec![true; ids.len()],
            heard: vec![Heard::default(); ids.len()],
            beliefs,
            ids,
            in_flight: VecDeque::new(),
            known: Vec::new(),
            arrivals: 0,
            news: (0, 0),
            writer: None,
            last_writer: None,
        }
    }

    /// Asks a node. The answer may be lost, or come twice.
    pub(super) fn ask(&mut self, node: usize, cluster: &Cluster, step: u64, random: &mut Random) {
        let is_lost = !self.reaches[node] || random.once_in(30);
        let result = if is_lost { CheckResult::TimedOut } else { cluster.answer(node) };
        for _ in 0..if random.once_in(30) { 2 } else { 1 } {
            self.in_flight.push_back(Finding { node, asked: step, result: result.clone() });
        }
        if self.in_flight.len() > IN_FLIGHT_MAX {
            self.arrive(cluster, step, random);
        }
    }

    /// Findings of one node arrive in order, those of several in any. Whoever is out of date then is asked again.
    pub(super) fn arrive(&mut self, cluster: &Cluster, step: u64, random: &mut Random) {
        if self.in_flight.is_empty() {
            return;
        }
        let node = self.in_flight[random.below(self.in_flight.len())].node;
        let first = self.in_flight.iter().position(|finding| finding.node == node).expect("this one at least");
        let finding = self.in_flight.remove(first).expect("it was just found");
        self.take(finding, cluster, step);
        for id in self.beliefs.take_outdated() {
            let node = self.ids.iter().position(|other| *other == id).expect("it is configured");
            self.ask(node, cluster, step, random);
        }
    }

    /// Asks all, and hears all that is under way, in the order of the nodes: nothing is lost.
    pub(super) fn hear_all(&mut self, cluster: &Cluster, step: u64) {
        while let Some(finding) = self.in_flight.pop_front() {
            self.take(finding, cluster, step);
        }
        for node in 0..self.ids.len() {
            let result = if self.reaches[node] { cluster.answer(node) } else { CheckResult::TimedOut };
            self.take(Finding { node, asked: step, result }, cluster, step);
        }
        self.beliefs.take_outdated();
    }

    fn take(&mut self, finding: Finding, cluster: &Cluster, step: u64) {
        self.arrivals += 1;
        self.beliefs.check(self.ids[finding.node], &finding.result, self.moment(cluster.now));
        let view = match finding.result {
            CheckResult::Answered(Answer { view: AnyView::Galera(view), .. }) => Some(*view),
            _ => None,
        };
        if let Some(view) = view.as_ref().filter(|view| is_counted(view)) {
            self.know(finding.node, view, step);
        }
        self.heard[finding.node].note(view, finding.asked, self.arrivals);
        self.check_rules();
    }

    /// No two findings arrive at one moment, even if the world stands still meanwhile.
    fn moment(&self, now: Instant) -> Instant {
        now + Duration::from_nanos(self.arrivals)
    }

    fn know(&mut self, node: usize, view: &View, step: u64) {
        if let Some((_, said_by)) = self.known.iter_mut().find(|(known, _)| are_same(known, view)) {
            said_by.insert(node);
            return;
        }
        self.known.push((view.clone(), BTreeSet::from([node])));
        self.news = (self.arrivals, step);
    }

    /// A session found nobody listening: what the node said last is of the past, as after a check that finds that.
    pub(super) fn report_refused(&mut self, node: usize, now: Instant) {
        self.heard[node].is_answer = false;
        self.beliefs.report(self.ids[node], Failure::Refused, self.moment(now));
        self.check_rules();
    }

    pub(super) fn reload(&mut self, now: Instant) {
        self.beliefs.apply(Arc::clone(self.beliefs.config()), now);
        self.check_rules();
    }
}

/// What must hold by what was heard.
impl Balancer {
    fn check_rules(&mut self) {
        if let Some(table) = self.beliefs.next_table(&self.table) {
            self.table = table;
        }
        let writers = members(&self.table, "write");
        assert!(writers.len() <= 1, "two writers");
        self.writer = writers.first().copied();
        if let Some(writer) = self.writer {
            self.check_writer(writer);
        }
        self.check_reads();
    }

    fn check_writer(&mut self, writer: usize) {
        let entry = &self.table.servers[writer];
        let heard = &self.heard[writer];
        let view = heard.view.as_ref().expect("the writer was heard");
        assert_eq!((entry.health.condition, view.writable), (Condition::Up, Writable::Yes));
        assert!(serves(view), "the writer does not say that it serves");
        let is_beaten = !self.is_proven(view) && self.proven().iter().any(|proven| is_one_history(proven, view));
        let is_of_now = heard.is_answer && heard.arrival >= self.news.0;
        assert!(!(is_of_now && is_beaten && self.is_left(view)), "writes at a node that the majority has left");
        if let Some(old) = self.last_writer.replace(writer).filter(|old| *old != writer) {
            self.check_flip(old, writer);
        }
    }

    /// Writes leave a node that could keep them only for one that others write to.
    fn check_flip(&self, old: usize, new: usize) {
        let health = &self.table.servers[old].health;
        let heard = &self.heard[old];
        let could_write = heard.view.as_ref().is_some_and(|view| view.writable == Writable::Yes);
        let is_as_fit = health.condition == Condition::Up
            && health.role == ServerRole::Replica
            && health.fitness >= self.table.servers[new].health.fitness;
        // Nobody has gone from its view to another one.
        let is_kept = health.condition == Condition::Up
            && heard.is_answer
            && heard.view.as_ref().is_some_and(|view| is_in_step(view) && !self.is_left(view));
        // Perhaps at a node of the same part that is out of step by now.
        let is_of_part = |heard: &&Heard| match (&heard.view, &self.heard[new].view) {
            (Some(view), Some(new)) => view == new || are_same(view, new),
            _ => false,
        };
        let is_forced = self.heard.iter().filter(is_of_part).any(Heard::is_written_to);
        assert!(
            !(could_write && (is_as_fit || is_kept)) || is_forced,
            "the writes flip from n{} to n{}",
            old + 1,
            new + 1
        );
    }

    fn check_reads(&self) {
        let table = &self.table;
        let (readers, writers) = (members(table, "read"), members(table, "write"));
        let decision = decide(table, &question(table, "read", 0));
        let is_reachable = !readers.is_empty() || !writers.is_empty();
        assert_eq!(decision == Err(Refusal::NoServer), !is_reachable, "nobody is read from while somebody could be");
        for reader in readers {
            assert_eq!(table.servers[reader].health.condition, Condition::Up);
            let view = self.heard[reader].view.as_ref().expect("a reader was heard");
            assert!(serves(view), "a reader does not say that it serves");
        }
    }

    /// Whether a node that was in this view says now that it is in another.
    fn is_left(&self, view: &View) -> bool {
        let said_by = self.known.iter().filter(|(known, _)| are_same(known, view)).flat_map(|(_, said_by)| said_by);
        let now = |node: &usize| Some(&self.heard[*node]).filter(|heard| heard.is_answer)?.view.as_ref();
        said_by.filter_map(now).any(|now| is_counted(now) && !are_same(now, view))
    }

    /// Views that the majority of their own members said they have, since the newest was heard of.
    fn proven(&self) -> Vec<&View> {
        let words = self.heard.iter().filter_map(|heard| heard.view.as_ref()).filter(|view| is_counted(view));
        words.filter(|view| self.is_proven(view)).collect()
    }

    fn is_proven(&self, view: &View) -> bool {
        let words = self.heard.iter().filter(|heard| heard.is_answer && heard.arrival >= self.news.0);
        let sharers = words.filter(|heard| heard.view.as_ref().is_some_and(|said| are_same(said, view)));
        sharers.count() * 2 > view.group.size as usize
    }
}

/// What must hold for a balancer that has asked every node since anything changed.
impl Balancer {
    pub(super) fn check_truth(&self, cluster: &Cluster, changed: u64) {
        if !self.is_up_to_date(cluster, changed) {
            return;
        }
        let claims: Vec<Option<View>> = (0..self.ids.len()).map(|node| self.claim(cluster, node)).collect();
        let used: Vec<usize> = [members(&self.table, "write"), members(&self.table, "read")].concat();
        match self.expected(&claims) {
            Expected::Nobody => assert!(used.is_empty(), "{used:?} are used, and nobody is in a group that goes on"),
            Expected::One(view) => self.check_one(&claims, &view),
            Expected::Several => {
                let parts = used.iter().map(|&node| &cluster.nodes[node].installed);
                assert!(parts.clone().all(|part| Some(part) == parts.clone().next()), "two parts are used");
            }
        }
    }

    fn check_one(&self, claims: &[Option<View>], view: &View) {
        let is_usable = |claim: &&View| are_same(claim, view) && serves(claim);
        let usable: Vec<&View> = claims.iter().flatten().filter(is_usable).collect();
        let (writers, readers) = (members(&self.table, "write"), members(&self.table, "read"));
        for &node in writers.iter().chain(&readers) {
            let claim = claims[node].as_ref().expect("who is used answers");
            assert!(is_usable(&claim), "n{} is used, and is not of the group that counts", node + 1);
        }
        assert_eq!(
            writers.is_empty() && readers.is_empty(),
            usable.is_empty(),
            "nobody is used while somebody could be"
        );
        let is_synced = |node: &usize| claims[*node].as_ref().is_some_and(|claim| claim.state == LocalState::Synced);
        if usable.iter().any(|claim| claim.state == LocalState::Synced) {
            assert!(readers.iter().all(is_synced), "a last resort is read from while a node is in step");
        }
        let is_known = self.heard.iter().filter(|heard| heard.is_answer).all(|heard| !heard.writes.is_empty());
        let has_contender = usable.iter().any(|claim| claim.writable == Writable::Yes);
        assert!(!(is_known && has_contender && writers.is_empty()), "nobody has the writes while somebody could");
    }

    fn is_up_to_date(&self, cluster: &Cluster, changed: u64) -> bool {
        let is_asked = |heard: &Heard| heard.asked > changed && heard.asked > self.news.1;
        let is_believed = |node: usize| match self.claim(cluster, node) {
            Some(_) => self.heard[node].is_answer && self.table.servers[node].health.condition == Condition::Up,
            None => self.table.servers[node].health.condition == Condition::Down,
        };
        self.heard.iter().all(is_asked) && (0..self.ids.len()).all(is_believed)
    }

    /// What a node says that can be reached from here.
    fn claim(&self, cluster: &Cluster, node: usize) -> Option<View> {
        cluster.claim(node).filter(|_| self.reaches[node])
    }
}

fn is_one_history(one: &View, other: &View) -> bool {
    one.group.history == other.group.history
}

/// Whose view counts, by what all say at one moment.
enum Expected {
    Nobody,
    One(Box<View>),
    /// It cannot be told: only who had the writes before may go on, with its own.
    Several,
}

impl Balancer {
    fn expected(&self, claims: &[Option<View>]) -> Expected {
        let claims: Vec<&View> = claims.iter().flatten().filter(|claim| is_counted(claim)).collect();
        let sharers = |view: &View| claims.iter().filter(|claim| are_same(claim, view)).count();
        let size = |view: &View| view.group.size as usize;
        let is_proven = |view: &View| sharers(view) * 2 > size(view);
        // The best of its history: it has its majority, or no other has and it is the newest.
        let rank = |view: &View| (is_proven(view), !self.is_left(view), view.group.number);
        let is_best =
            |view: &&View| claims.iter().all(|other| !is_one_history(view, other) || rank(other) <= rank(view));
        let is_kept = |view: &&View| {
            let writers = self.last_writer.and_then(|writer| self.heard[writer].view.as_ref());
            writers.is_some_and(|writers| are_same(writers, view)) && !self.is_left(view)
        };
        let parts = claims.iter().copied().filter(|view| is_proven(view) || is_best(view) || is_kept(view));
        let Some(first) = parts.clone().next() else { return Expected::Nobody };
        let is_alone = parts.clone().all(|part| are_same(part, first));
        // More nodes than members: two views that look alike.
        match is_alone && sharers(first) <= size(first) {
            true => Expected::One(Box::new(first.clone())),
            false => Expected::Several,
        }
    }
}

impl Heard {
    /// Whether clients keep committing there.
    fn is_written_to(&self) -> bool {
        self.writes.iter().filter(|grew| **grew).count() >= STEADY
    }

    fn note(&mut self, view: Option<View>, asked: u64, arrival: u64) {
        match (&self.view, &view) {
            // It has been started again, and counts from the beginning.
            (Some(old), Some(new)) if new.uptime < old.uptime => self.writes.clear(),
            (Some(old), Some(new)) => {
                self.writes.push_front(new.replicated > old.replicated);
                self.writes.truncate(WRITES_KEPT);
            }
            (None, _) | (_, None) => {}
        }
        (self.asked, self.arrival, self.is_answer) = (asked, arrival, view.is_some());
        self.view = view.or(self.view.take());
    }
}

/// Whether a node says that it belongs to a group that goes on, and knows which.
fn is_counted(view: &View) -> bool {
    view.status == Status::Primary && view.connection == Connection::Open && view.state != LocalState::Joining
}

/// Whether a node says that nothing is missing.
fn is_in_step(view: &View) -> bool {
    serves(view) && view.state == LocalState::Synced
}

/// Whether a node says that it runs statements.
fn serves(view: &View) -> bool {
    is_counted(view) && view.readiness == Readiness::Ready && view.queries == Queries::Accepted
}

fn are_same(one: &View, other: &View) -> bool {
    is_counted(one) && is_counted(other) && one.group == other.group
}

/// The members of a pool, as places in the table.
pub(super) fn members(table: &RoutingTable, pool: &str) -> Vec<usize> {
    let pool = table.config.pool_by_name(pool).expect("it is in the configuration");
    table.pool(pool).members.iter().map(|member| member.0).collect()
}

/// More than that wait until one arrives.
const IN_FLIGHT_MAX: usize = 6;

/// So many answers tell whether a node is written to.
const WRITES_KEPT: usize = 100;

/// Fewer answers that tell of writes are no reason to leave a writer.
const STEADY: usize = 5;
