//! Looks after the clusters whose primary may be replaced without anybody being asked.
//!
//! What starts an attempt is what the health checks believe. What decides it is what the servers themselves say in the
//! attempt: this file never knows better than `plan`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

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

/// Runs until the process ends. Each cluster has a task of its own: a server that does not answer delays no other cluster.
pub(super) async fn watch(promoter: Promoter) {
    let mut watched: HashMap<String, JoinHandle<()>> = HashMap::new();
    loop {
        watched.retain(|_, task| !task.is_finished());
        let table = promoter.table.load_full();
        for cluster in table.config.clusters.iter().filter(|cluster| is_automatic(cluster)) {
            let name = cluster.name.clone();
            watched.entry(name.clone()).or_insert_with(|| tokio::spawn(watch_cluster(promoter.clone(), name)));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn is_automatic(cluster: &Cluster) -> bool {
    cluster.promotion.as_ref().is_some_and(|promotion| promotion.failover == Failover::Automatic)
}

/// Runs until the configuration says otherwise.
async fn watch_cluster(promoter: Promoter, name: String) {
    let mut memory = Memory::default();
    loop {
        let table = promoter.table.load_full();
        let is_it = |cluster: &Cluster| cluster.name == name && is_automatic(cluster);
        let Some(index) = table.config.clusters.iter().position(is_it) else { return };
        look_after(&promoter, &table, ClusterIndex(index), &mut memory).await;
        sleep(LOOK_INTERVAL).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::{answers, config_with, table};
    use crate::topology::{CheckResult, Writable};

    /// What a cluster of three needs, in which each server was asked once, some time later.
    #[track_caller]
    fn check(results: [CheckResult; 3], settled: bool, later: Duration, expected: Need) {
        let settings = "topology = \"replication\"\nmonitor = { user = \"m\", password = \"m\" }\n\
                        failover = \"automatic\"\nreplication = { user = \"r\", password = \"r\" }";
        let servers: Vec<String> =
            (1..4).map(|number| format!("name = \"db{number}\"\naddress = \"10.0.0.{number}:3306\"")).collect();
        let table = table(config_with(settings, &servers.iter().map(String::as_str).collect::<Vec<_>>()), &results);
        let now = Instant::now();
        let cluster = &table.config.clusters[0];
        assert_eq!(need(cluster, table.servers.iter(), settled.then_some(now), now + later), expected, "{results:?}");
    }

    #[test]
    fn a_primary_is_replaced_when_it_was_down_for_some_checks_and_not_before() {
        let (writes, reads) = (|| answers(Writable::Yes), || answers(Writable::No));
        let (soon, late) = (Duration::ZERO, Duration::from_secs(60));
        check([writes(), reads(), reads()], true, late, Need::Nothing);
        check([CheckResult::Refused, reads(), reads()], true, soon, Need::Nothing);
        check([CheckResult::Refused, reads(), reads()], true, late, Need::Primary);
        check([writes(), CheckResult::Refused, reads()], true, late, Need::Nothing);
        // With nobody up, nobody can take its place.
        check([CheckResult::Refused, CheckResult::Refused, CheckResult::Refused], true, late, Need::Nothing);
        // Nothing is lost that is only closed.
        check([reads(), reads(), reads()], true, late, Need::Nothing);
    }

    #[test]
    fn who_comes_back_is_looked_at() {
        let (writes, reads) = (|| answers(Writable::Yes), || answers(Writable::No));
        check([writes(), writes(), reads()], true, Duration::ZERO, Need::Rejoin);
        check([writes(), reads(), reads()], false, Duration::ZERO, Need::Rejoin);
    }
}
