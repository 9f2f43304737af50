//! Views as servers gave them (MariaDB 10.11.19, Galera 26.4.23), and what is made of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::Role;
use crate::topology::testing::{config_with, introduces_with};
use crate::topology::{Beliefs, CheckResult, Failure, RoutingTable, ServerId, Writable};

mod advice;
mod situations;
mod writers;

/// A cluster `shop` of nodes n1, n2, … and a balancer that hears them.
struct Stage {
    beliefs: Beliefs,
    ids: Vec<ServerId>,
    begin: Instant,
    now: Instant,
}

const TICK: Duration = Duration::from_millis(500);
const HISTORY: &str = "0fbf749b-e58a-11f1-a9ad-6f0767e17f3f";

impl Stage {
    fn new(nodes: usize) -> Stage {
        Stage::with("", &vec![""; nodes])
    }

    /// With settings of the cluster and of each of its servers.
    fn with(settings: &str, servers: &[&str]) -> Stage {
        let server = |(index, more): (usize, &&str)| {
            format!("name = \"n{0}\"\naddress = \"10.0.0.{0}:3306\"\n{more}", index + 1)
        };
        let servers: Vec<String> = servers.iter().enumerate().map(server).collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let cluster = format!("topology = \"galera\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n{settings}");
        // Nodes have run for hours when the balancer starts.
        let begin = Instant::now() + Duration::from_secs(100_000);
        let beliefs = Beliefs::new(config_with(&cluster, &servers), begin);
        Stage { ids: beliefs.ids().collect(), beliefs, begin, now: begin }
    }

    /// All nodes in one view, heard so often that the writer is chosen.
    fn whole(nodes: usize) -> Stage {
        let mut stage = Stage::new(nodes);
        for _ in 0..2 {
            stage.all_say(&synced(7, nodes));
        }
        stage
    }

    fn tick(&mut self) -> &mut Stage {
        self.now += TICK;
        self
    }

    /// A node, counted from 1, answers.
    fn says(&mut self, node: usize, view: &View) -> &mut Stage {
        let uptime = view.uptime + self.now.duration_since(self.begin);
        let view = View { uptime, ..view.clone() };
        self.hears(node, &introduces_with(view.writable, crate::topology::View::Galera(Box::new(view))))
    }

    fn all_say(&mut self, view: &View) -> &mut Stage {
        self.tick();
        (1..=self.ids.len()).for_each(|node| _ = self.says(node, view));
        self
    }

    fn hears(&mut self, node: usize, result: &CheckResult) -> &mut Stage {
        self.beliefs.check(self.ids[node - 1], result, self.now);
        self
    }

    fn refuses(&mut self, node: usize) -> &mut Stage {
        self.hears(node, &CheckResult::Refused)
    }

    /// Often enough to be taken out.
    fn is_silent(&mut self, node: usize) -> &mut Stage {
        self.hears(node, &CheckResult::TimedOut).hears(node, &CheckResult::TimedOut)
    }

    fn table(&mut self) -> RoutingTable {
        self.beliefs.table()
    }

    fn entry(&mut self) -> ClusterEntry {
        self.table().clusters[0].clone()
    }

    fn situation(&mut self) -> String {
        self.entry().situation.to_string()
    }

    /// The members of the pools, by number.
    fn members(&mut self, role: Role) -> Vec<usize> {
        let table = self.table();
        let pool = table.config.pools.iter().position(|pool| pool.role == role).expect("both are configured");
        table.pools[pool].members.iter().map(|member| member.0 + 1).collect()
    }

    #[track_caller]
    fn check(&mut self, writer: Option<usize>, readers: &[usize]) -> &mut Stage {
        let found = (self.members(Role::Primary), self.members(Role::Replica));
        assert_eq!(found, (writer.into_iter().collect(), readers.to_vec()));
        self
    }

    #[track_caller]
    fn check_situation(&mut self, expected: &str) -> &mut Stage {
        assert_eq!(self.situation(), expected);
        self
    }

    fn reason(&mut self, node: usize) -> Arc<str> {
        Arc::clone(&self.table().servers[node - 1].health.reason)
    }
}

/// Of the view with that number and so many members.
fn synced(number: u64, size: usize) -> View {
    View {
        status: Status::Primary,
        connection: Connection::Open,
        readiness: Readiness::Ready,
        state: LocalState::Synced,
        group: Group {
            history: HISTORY.into(),
            number: Some(number),
            size: u32::try_from(size).expect("few"),
            members: (1..=size).map(|node| format!("10.0.0.{node}:3306").into()).collect(),
        },
        desync: Desync::Off,
        queries: Queries::Accepted,
        writable: Writable::Yes,
        committed: Some(100),
        replicated: 0,
        uptime: Duration::from_secs(10_000),
    }
}

fn donor(number: u64, size: usize) -> View {
    View { state: LocalState::Donor, ..synced(number, size) }
}

fn desynced(number: u64, size: usize) -> View {
    View { desync: Desync::ByHand, ..donor(number, size) }
}

/// While it applies what it was sent: it shows the number of the view that it was last part of.
fn joining(old: u64, size: usize) -> View {
    View { state: LocalState::Joining, readiness: Readiness::NotReady, ..synced(old, size) }
}

/// Alone, or with so many others, and without a majority.
fn non_primary(members: &[&str]) -> View {
    View {
        status: Status::NonPrimary,
        readiness: Readiness::NotReady,
        state: LocalState::Initialized,
        group: Group {
            history: HISTORY.into(),
            number: None,
            size: u32::try_from(members.len()).expect("few"),
            members: members.iter().map(|&member| member.into()).collect(),
        },
        ..synced(0, 0)
    }
}

fn disconnected() -> View {
    View { status: Status::Disconnected, connection: Connection::Closed, ..non_primary(&[]) }
}
