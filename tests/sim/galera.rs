//! A Galera cluster whose nodes come, go, hang, part and are misled by operators, before several balancers that see different
//! parts of it. What a balancer hears is late, lost, or told twice. One node has the writes, or none, and the others' choice is
//! the same as soon as they see the same.

mod balancer;
mod cluster;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqluice::config::Config;
use sqluice::topology::Writable;
use sqluice::topology::galera::{Desync, Queries};

use crate::for_each_seed;
use crate::random::Random;
use crate::setting::config;
use balancer::{Balancer, members};
use cluster::Cluster;

/// Of each seed; with all fixed seeds together 100,000.
const STEPS: u64 = 2_500;
const STEP: Duration = Duration::from_millis(100);

#[test]
fn balancers_that_see_the_same_have_one_writer_that_is_certainly_in_the_group() {
    for_each_seed(|random| {
        let mut world = World::new(random);
        for _ in 0..STEPS {
            world.step();
        }
        world.heal();
    });
}

/// The cluster as it really is, and those who watch it.
struct World {
    random: Random,
    config: Arc<Config>,
    cluster: Cluster,
    balancers: Vec<Balancer>,
    step: u64,
    /// The last step in which anything changed that a check could tell.
    changed: u64,
}

impl World {
    fn new(mut random: Random) -> World {
        // Nodes have run for long when a balancer starts.
        let began = Instant::now();
        let nodes = 2 + random.below(4);
        let config = config("galera", nodes);
        let mut cluster = Cluster::new(nodes, !random.once_in(4), began);
        cluster.now += Duration::from_secs(1_000);
        let balancers = (0..1 + random.below(3)).map(|_| Balancer::new(Arc::clone(&config), cluster.now)).collect();
        World { random, config, cluster, balancers, step: 0, changed: 0 }
    }

    fn step(&mut self) {
        self.tick();
        let node = self.random.below(self.cluster.nodes.len());
        match self.random.below(200) {
            0..=9 => self.happen(node),
            10..=14 => self.cluster.settle(self.cluster.nodes[node].island),
            15..=24 => self.cluster.advance(node),
            25..=59 => return self.write(),
            60..=63 => return self.trouble_balancer(node),
            64 if self.random.once_in(4) => return self.calm(),
            65 if self.random.once_in(4) => self.split_brain(),
            65..=119 => return self.arrive(),
            _ => return self.ask(node),
        }
        self.changed = self.step;
    }

    fn tick(&mut self) {
        self.step += 1;
        self.cluster.now += STEP;
    }

    /// Something that nobody wanted, or an operator.
    fn happen(&mut self, node: usize) {
        let cluster = &mut self.cluster;
        match self.random.below(24) {
            0..=1 => cluster.crash(node),
            2..=3 => cluster.leave(node),
            4..=7 => cluster.start(node),
            8..=9 => cluster.hang(node),
            10..=12 => {
                let islands = 1 + self.random.below(2);
                cluster.nodes.iter_mut().for_each(|node| node.island = self.random.below(islands));
            }
            13..=14 => cluster.nodes.iter_mut().for_each(|node| node.island = 0),
            15..=16 => cluster.set_desync(node, *self.random.pick(&[Desync::Off, Desync::ByHand])),
            17 => {
                cluster.nodes[node].queries =
                    *self.random.pick(&[Queries::Accepted, Queries::Accepted, Queries::Rejected])
            }
            18 => cluster.nodes[node].writable = *self.random.pick(&[Writable::Yes, Writable::Yes, Writable::No]),
            19..=20 => cluster.bootstrap(node),
            21 => cluster.recover(),
            _ => cluster.begin(node, self.random.once_in(2)),
        }
    }

    /// Both halves are made to go on, and some balancers see only one of them for a while.
    fn split_brain(&mut self) {
        let half = |node: usize| node % 2;
        for (index, node) in self.cluster.nodes.iter_mut().enumerate() {
            node.island = half(index);
        }
        for island in [0, 1] {
            self.cluster.settle(island);
            self.cluster.bootstrap(island);
        }
        let see_one_half = self.random.once_in(2);
        for (index, balancer) in self.balancers.iter_mut().enumerate().filter(|_| see_one_half) {
            balancer.reaches.iter_mut().enumerate().for_each(|(node, reaches)| *reaches = half(node) == half(index));
        }
    }

    /// Clients write through each balancer, and sometimes past all of them.
    fn write(&mut self) {
        self.balancers.iter().filter_map(|balancer| balancer.writer).for_each(|writer| self.cluster.write(writer));
        if self.random.once_in(50) {
            self.cluster.write(self.random.below(self.cluster.nodes.len()));
        }
    }

    fn trouble_balancer(&mut self, node: usize) {
        let now = self.cluster.now;
        let place = self.random.below(self.balancers.len());
        match self.random.below(12) {
            0 => self.balancers[place] = Balancer::new(Arc::clone(&self.config), now),
            1..=2 => self.balancers[place].reload(now),
            3..=5 => self.balancers[place].reaches[node] ^= true,
            6..=8 => self.balancers[place].reaches.fill(true),
            _ => self.balancers[place].report_refused(node, now),
        }
    }

    fn ask(&mut self, node: usize) {
        let place = self.random.below(self.balancers.len());
        self.balancers[place].ask(node, &self.cluster, self.step, &mut self.random);
    }

    fn arrive(&mut self) {
        let place = self.random.below(self.balancers.len());
        self.balancers[place].arrive(&self.cluster, self.step, &mut self.random);
        self.balancers[place].check_truth(&self.cluster, self.changed);
    }

    /// For a while nothing happens, and all balancers see the same.
    fn calm(&mut self) {
        (0..self.cluster.nodes.len()).for_each(|island| self.cluster.settle(island));
        self.changed = self.step;
        let reaches = self.balancers[0].reaches.clone();
        self.balancers.iter_mut().for_each(|balancer| balancer.reaches.clone_from(&reaches));
        (0..CALM).for_each(|_| self.hear_all());
        let mut writers: Vec<usize> = self.balancers.iter().filter_map(|balancer| balancer.writer).collect();
        writers.dedup();
        assert!(writers.len() <= 1, "balancers that see the same have different writers: {writers:?}");
    }

    fn hear_all(&mut self) {
        self.tick();
        self.write();
        for balancer in &mut self.balancers {
            balancer.hear_all(&self.cluster, self.step);
            balancer.check_truth(&self.cluster, self.changed);
        }
    }

    /// All is well again: all nodes are in one group, and each balancer finds that.
    fn heal(&mut self) {
        let nodes = self.cluster.nodes.len();
        for node in 0..nodes {
            self.cluster.nodes[node].island = 0;
            self.cluster.crash(node);
        }
        self.cluster.recover();
        self.changed = self.step;
        self.balancers.iter_mut().for_each(|balancer| balancer.reaches.fill(true));
        self.calm();
        for balancer in &self.balancers {
            let table = &balancer.table;
            assert_eq!(table.clusters[0].situation.to_string(), "all nodes in the group");
            assert_eq!((members(table, "write").len(), members(table, "read").len()), (1, nodes - 1));
        }
    }
}

/// Rounds in which every node is asked, after which balancers that see the same agree.
const CALM: usize = 40;
