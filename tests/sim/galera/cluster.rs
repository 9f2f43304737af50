//! A Galera cluster as it really is: who reaches whom, which view of the group each node has installed, and what it says.
//!
//! Nodes that lose each other go on with the view they have until the group [settles](Cluster::settle): in between they say
//! Primary and Synced, as real ones do for seconds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqluice::topology::galera::{Connection, Desync, Group, LocalState, Queries, Readiness, Status, View};
use sqluice::topology::{Answer, CheckResult, View as AnyView, Writable};

use crate::setting::contact;

pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Instant,
    /// Whether nodes tell each other addresses of their own; else all have the same word in that place.
    has_addresses: bool,
    histories: u64,
}

/// One node.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) process: Process,
    /// Those of one island reach each other.
    pub(super) island: usize,
    /// The last view of a group that goes on which it has installed.
    pub(super) installed: Installed,
    /// In its group; `Initialized`: outside of the primary component.
    pub(super) state: LocalState,
    readiness: Readiness,
    /// How many of its group it sees while it waits for a majority.
    sees: usize,
    pub(super) desync: Desync,
    pub(super) queries: Queries,
    pub(super) writable: Writable,
    replicated: u64,
    started: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// Nobody listens.
    Dead,
    /// Nobody listens until it has found a group.
    Starting,
    Running,
    /// Connections are accepted, and nothing answers.
    Hung,
    /// It has said good-bye to its group.
    Leaving,
}

/// A view of the group as a member has installed it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Installed {
    history: u64,
    number: u64,
    pub(super) members: BTreeSet<usize>,
}

impl Cluster {
    /// All nodes in one group, since long.
    pub(super) fn new(nodes: usize, has_addresses: bool, now: Instant) -> Cluster {
        let installed = Installed { history: 1, number: 7, members: (0..nodes).collect() };
        let node = Node {
            process: Process::Running,
            island: 0,
            installed,
            state: LocalState::Synced,
            readiness: Readiness::Ready,
            sees: nodes,
            desync: Desync::Off,
            queries: Queries::Accepted,
            writable: Writable::Yes,
            replicated: 0,
            started: now,
        };
        Cluster { nodes: vec![node; nodes], now, has_addresses, histories: 1 }
    }

    /// What a check of that node comes to.
    pub(super) fn answer(&self, node: usize) -> CheckResult {
        match self.nodes[node].process {
            Process::Dead | Process::Starting => CheckResult::Refused,
            Process::Hung => CheckResult::TimedOut,
            Process::Running | Process::Leaving => {
                let view = self.view(node);
                let writable = Some(view.writable);
                CheckResult::Answered(Answer {
                    writable,
                    view: AnyView::Galera(Box::new(view)),
                    contact: Some(contact()),
                })
            }
        }
    }

    /// What a node says of its group, if it says anything.
    pub(super) fn claim(&self, node: usize) -> Option<View> {
        let speaks = matches!(self.nodes[node].process, Process::Running | Process::Leaving);
        speaks.then(|| self.view(node))
    }

    fn view(&self, index: usize) -> View {
        let node = &self.nodes[index];
        let (is_leaving, is_member) = (node.process == Process::Leaving, node.state != LocalState::Initialized);
        let (status, connection) = match (is_leaving, is_member) {
            (true, _) => (Status::Disconnected, Connection::Closed),
            (false, true) => (Status::Primary, Connection::Open),
            (false, false) => (Status::NonPrimary, Connection::Open),
        };
        let is_counted = status == Status::Primary;
        // A joiner shows the number that the group had before it came.
        let number = node.installed.number - u64::from(node.state == LocalState::Joining);
        let members = if is_counted { node.installed.members.clone() } else { BTreeSet::from([index]) };
        let size = if is_counted { members.len() } else { node.sees };
        View {
            status,
            connection,
            readiness: if is_counted { node.readiness } else { Readiness::NotReady },
            state: node.state,
            group: Group {
                history: format!("{:08x}-e58a-11f1-a9ad-6f0767e17f3f", node.installed.history).into(),
                number: is_counted.then_some(number),
                size: u32::try_from(size).expect("few"),
                members: members.into_iter().map(|member| self.address(member)).collect(),
            },
            desync: node.desync,
            queries: node.queries,
            writable: node.writable,
            committed: Some(node.replicated),
            replicated: node.replicated,
            uptime: Duration::from_secs(self.now.duration_since(node.started).as_secs()),
        }
    }

    fn address(&self, node: usize) -> Box<str> {
        if self.has_addresses { format!("10.0.0.{}:3306", node + 1).into() } else { "AUTO".into() }
    }

    /// A client commits at a node; it cannot while a member of the node's group is lost and the group has not noticed.
    pub(super) fn write(&mut self, node: usize) {
        let it = &self.nodes[node];
        let hears_all = it.installed.members.iter().all(|&member| self.is_in_touch(node, member));
        let can = it.process == Process::Running
            && !matches!(it.state, LocalState::Initialized | LocalState::Joining)
            && it.readiness == Readiness::Ready
            && (it.queries, it.writable) == (Queries::Accepted, Writable::Yes);
        if can && hears_all {
            self.nodes[node].replicated += 1;
        }
    }

    fn is_in_touch(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.nodes[one], &self.nodes[other]);
        other.process == Process::Running && other.island == one.island && other.installed == one.installed
    }
}

/// What happens to nodes.
impl Cluster {
    pub(super) fn crash(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        (node.process, node.state) = (Process::Dead, LocalState::Initialized);
    }

    /// Its group goes on without it at once.
    pub(super) fn leave(&mut self, node: usize) {
        if self.nodes[node].process != Process::Running {
            return self.crash(node);
        }
        let mut left = self.nodes[node].installed.clone();
        let rest: Vec<usize> =
            (0..self.nodes.len()).filter(|&other| other != node && self.is_in_touch(node, other)).collect();
        if self.nodes[node].state != LocalState::Initialized {
            left.members.remove(&node);
            left.number += 1;
            rest.into_iter().for_each(|other| self.nodes[other].installed = left.clone());
        }
        self.nodes[node].process = Process::Leaving;
    }

    pub(super) fn start(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if matches!(node.process, Process::Dead | Process::Leaving) {
            (node.process, node.state) = (Process::Starting, LocalState::Initialized);
            (node.desync, node.queries, node.writable) = (Desync::Off, Queries::Accepted, Writable::Yes);
        }
    }

    pub(super) fn hang(&mut self, node: usize) {
        let process = &mut self.nodes[node].process;
        *process = match *process {
            Process::Running => Process::Hung,
            Process::Hung => Process::Running,
            other => other,
        };
    }

    /// Somebody takes a node out of step, or lets it back.
    pub(super) fn set_desync(&mut self, node: usize, desync: Desync) {
        let node = &mut self.nodes[node];
        match (desync, node.state) {
            (Desync::ByHand, LocalState::Synced) => (node.desync, node.state) = (desync, LocalState::Donor),
            (Desync::Off, LocalState::Donor) => (node.desync, node.state) = (desync, LocalState::Joined),
            _ => {}
        }
    }

    /// A state transfer goes one step on.
    pub(super) fn advance(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.process != Process::Running || node.desync == Desync::ByHand {
            return;
        }
        node.state = match node.state {
            LocalState::Joining | LocalState::Donor => LocalState::Joined,
            LocalState::Joined => LocalState::Synced,
            other => other,
        };
        if node.state == LocalState::Synced {
            node.readiness = Readiness::Ready;
        }
    }

    /// Starts a group with that node alone: with the data it has, or as if it had none.
    pub(super) fn begin(&mut self, node: usize, keeps_history: bool) {
        if !matches!(self.nodes[node].process, Process::Dead | Process::Starting) {
            return;
        }
        self.histories += 1;
        let history = if keeps_history { self.nodes[node].installed.history } else { self.histories };
        self.start(node);
        self.form(Installed { history, number: 1, members: BTreeSet::from([node]) });
    }

    /// After a crash of all they find each other again without anybody's help, and count from the beginning.
    pub(super) fn recover(&mut self) {
        if self.nodes.iter().all(|node| matches!(node.process, Process::Dead | Process::Starting)) {
            (0..self.nodes.len()).for_each(|node| self.start(node));
            let history = self.nodes[0].installed.history;
            self.nodes.iter_mut().for_each(|node| node.island = 0);
            self.form(Installed { history, number: 1, members: (0..self.nodes.len()).collect() });
        }
    }

    /// `pc.bootstrap`: those that wait together for a majority go on without one.
    pub(super) fn bootstrap(&mut self, node: usize) {
        let together = self.present(self.nodes[node].island);
        let has_group = together.iter().any(|&node| self.nodes[node].state != LocalState::Initialized);
        if together.contains(&node) && !has_group {
            self.go_on(&together);
        }
    }
}

/// How the group decides.
impl Cluster {
    /// The nodes of an island agree on who is there, and on whether they have the majority.
    pub(super) fn settle(&mut self, island: usize) {
        let mut parts = self.parts(island);
        // A group that meets another one gives up.
        parts.split_off(parts.len().min(1)).iter().flatten().for_each(|&node| self.crash(node));
        let present = self.present(island);
        match parts.pop() {
            Some(part) => self.take_in(&part, island),
            None => self.wait(&present),
        }
    }

    /// The nodes of an island that have a majority of the view they share.
    fn parts(&self, island: usize) -> Vec<BTreeSet<usize>> {
        let members =
            self.present(island).into_iter().filter(|&node| self.nodes[node].state != LocalState::Initialized);
        let mut parts: Vec<BTreeSet<usize>> = Vec::new();
        for node in members {
            let known = parts.iter_mut().find(|part| part.iter().all(|&other| self.is_in_touch(node, other)));
            match known {
                Some(part) => _ = part.insert(node),
                None => parts.push(BTreeSet::from([node])),
            }
        }
        parts.retain(|part| part.iter().all(|&node| part.len() * 2 > self.nodes[node].installed.members.len()));
        parts
    }

    fn present(&self, island: usize) -> BTreeSet<usize> {
        let is_there = |node: &Node| node.island == island && node.process == Process::Running;
        (0..self.nodes.len()).filter(|&node| is_there(&self.nodes[node])).collect()
    }

    /// A part with a majority goes on, with whoever else is there.
    fn take_in(&mut self, part: &BTreeSet<usize>, island: usize) {
        let is_there =
            |node: &Node| node.island == island && matches!(node.process, Process::Running | Process::Starting);
        let all: BTreeSet<usize> = (0..self.nodes.len()).filter(|&node| is_there(&self.nodes[node])).collect();
        let old = self.nodes[*part.first().expect("a part has members")].installed.clone();
        if all == old.members && *part == all {
            return;
        }
        let next = Installed { number: old.number + 1, members: all, ..old };
        let joiners: Vec<usize> = next.members.difference(part).copied().collect();
        for &joiner in &joiners {
            self.join(joiner);
        }
        let donor = part.iter().find(|&&node| self.nodes[node].state == LocalState::Synced);
        if let Some(&donor) = donor.filter(|_| !joiners.is_empty()) {
            self.nodes[donor].state = LocalState::Donor;
        }
        next.members.iter().for_each(|&node| self.nodes[node].installed = next.clone());
    }

    fn join(&mut self, joiner: usize) {
        let now = self.now;
        let joiner = &mut self.nodes[joiner];
        if joiner.process == Process::Starting {
            (joiner.process, joiner.started, joiner.replicated) = (Process::Running, now, 0);
        }
        (joiner.state, joiner.readiness, joiner.desync) = (LocalState::Joining, Readiness::NotReady, Desync::Off);
    }

    /// Nobody has a majority, unless all that it takes are back together.
    fn wait(&mut self, present: &BTreeSet<usize>) {
        for &node in present {
            (self.nodes[node].state, self.nodes[node].sees) = (LocalState::Initialized, present.len());
            (self.nodes[node].readiness, self.nodes[node].desync) = (Readiness::NotReady, Desync::Off);
        }
        let Some(last) = present.iter().map(|&node| &self.nodes[node].installed).max() else { return };
        let back = present.iter().filter(|&&node| self.nodes[node].installed == *last).count();
        if back * 2 > last.members.len() {
            self.go_on(present);
        }
    }

    /// These go on from the newest view that any of them had.
    fn go_on(&mut self, together: &BTreeSet<usize>) {
        let newest = together.iter().map(|&node| self.nodes[node].installed.clone()).max().expect("somebody is there");
        let (had_it, lacked_it): (Vec<usize>, Vec<usize>) =
            together.iter().partition(|&&node| self.nodes[node].installed == newest);
        self.form(Installed { number: newest.number + 1, members: had_it.into_iter().collect(), ..newest });
        if !lacked_it.is_empty() {
            self.settle(self.nodes[lacked_it[0]].island);
        }
    }

    fn form(&mut self, installed: Installed) {
        for node in installed.members.clone() {
            let now = self.now;
            let node = &mut self.nodes[node];
            if node.process == Process::Starting {
                (node.process, node.started, node.replicated) = (Process::Running, now, 0);
            }
            (node.state, node.readiness, node.desync) = (LocalState::Synced, Readiness::Ready, Desync::Off);
            node.installed = installed.clone();
        }
    }
}
