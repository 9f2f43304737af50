//! Looks after the clusters whose primary may be replaced without anybody being asked.
//!
//! What starts an attempt is what the health checks believe. What decides it is what the servers themselves say in the
//! attempt: this file never knows better than `plan`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Mode, Promoter};
use crate::config::{Cluster, ClusterIndex, Failover};
use crate::topology::{Condition, RoutingTable, ServerEntry, ServerRole};

/// What is remembered of one cluster between two looks.
#[derive(Debug, Default)]
struct Memory {
    /// Attempts in a row that came to nothing.
    vain: u32,
    next: Option<Instant>,
    /// The reason that was logged last: each is said once.
    said: Option<String>,
    /// When everything was last seen to be in its place.
    settled: Option<Instant>,
}

/// What a cluster needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// Its primary is down.
    Primary,
    /// It has a primary, and a server beside it that is neither that nor a replica of it.
    Rejoin,
}

/// Runs until the process ends.
pub(super) async fn watch(promoter: Promoter) {
    let mut memories: HashMap<String, Memory> = HashMap::new();
    loop {
        let table = promoter.table.load_full();
        let automatic = |cluster: &Cluster| {
            cluster.promotion.as_ref().is_some_and(|promotion| promotion.failover == Failover::Automatic)
        };
        let clusters = table.config.clusters.iter().enumerate().filter(|(_, cluster)| automatic(cluster));
        for (index, cluster) in clusters {
            let memory = memories.entry(cluster.name.clone()).or_default();
            look_after(&promoter, &table, ClusterIndex(index), memory).await;
        }
        memories.retain(|name, _| table.config.clusters.iter().any(|cluster| cluster.name == *name));
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn look_after(promoter: &Promoter, table: &Arc<RoutingTable>, index: ClusterIndex, memory: &mut Memory) {
    let cluster = table.config.cluster(index);
    let now = Instant::now();
    let need = need(cluster, table.servers.iter().filter(|server| server.cluster == index), memory.settled, now);
    if need == Need::Nothing {
        return;
    }
    if memory.next.is_some_and(|next| now < next) {
        return;
    }
    let Some(work) = promoter.work(table, index) else { return };
    let outcome = match need {
        Need::Primary => work.promote(None, Mode::Act).await,
        Need::Rejoin | Need::Nothing => work.rejoin().await,
    };
    match outcome {
        // Who has come back since is looked at once more.
        Ok(_) => *memory = Memory { settled: Some(now), ..Memory::default() },
        Err(said) => memory.note_failure(cluster, said),
    }
}

impl Memory {
    /// Says a reason that is new, and waits longer each time.
    fn note_failure(&mut self, cluster: &Cluster, said: Vec<String>) {
        let reason = said.last().cloned().unwrap_or_default();
        if self.said.as_ref() != Some(&reason) {
            tracing::warn!("cluster {}: {reason}", cluster.name);
            self.said = Some(reason);
        }
        let pause = cluster.check_interval.saturating_mul(1 << self.vain.min(8)).min(PAUSE_MAX);
        self.vain = self.vain.saturating_add(1);
        self.next = Some(Instant::now() + pause);
    }
}

/// What is believed of the servers, as far as it matters here. `servers` are those of the cluster.
fn need<'t>(
    cluster: &Cluster,
    servers: impl Iterator<Item = &'t ServerEntry>,
    settled: Option<Instant>,
    now: Instant,
) -> Need {
    let servers: Vec<&ServerEntry> = servers.collect();
    let up = |server: &&&ServerEntry| server.health.condition == Condition::Up;
    let is_replica = |server: &&ServerEntry| server.health.role == ServerRole::Replica;
    let may_write: Vec<&&ServerEntry> = servers.iter().filter(up).filter(|server| !is_replica(server)).collect();
    if may_write.is_empty() {
        // As long as it takes for `fall` checks: a server that is started again at once is better than another one.
        let patience = cluster.check_interval.saturating_mul(cluster.fall.saturating_sub(1));
        let is_lost = |server: &&&ServerEntry| {
            server.health.condition == Condition::Down && now.saturating_duration_since(server.health.since) >= patience
        };
        let any_up = servers.iter().any(|server| up(&server));
        return if any_up && servers.iter().any(|server| is_lost(&server)) { Need::Primary } else { Need::Nothing };
    }
    if may_write.iter().any(|server| server.health.role == ServerRole::Yielding) {
        return Need::Nothing;
    }
    // One that takes writes and is not alone in that, or that has come back and may follow nobody.
    let is_new = |server: &&ServerEntry| settled.is_none_or(|settled| server.health.since > settled);
    let is_odd = |server: &&ServerEntry| server.health.role != ServerRole::Primary && !is_replica(server);
    match servers.iter().filter(up).any(|server| is_odd(server) || is_new(server)) {
        true => Need::Rejoin,
        false => Need::Nothing,
    }
}

/// Between two looks at the routing table, which cost nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Between two attempts that come to nothing.
const PAUSE_MAX: Duration = Duration::from_secs(10);
