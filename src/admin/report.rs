//! Clusters, servers and pools of a routing table, as the status shows them.

use std::collections::HashMap;
use std::time::Instant;

use super::drain;
use super::shapes::{
    ClusterStatus, ExistingSessions, FailoverMode, FailoverOrigin, InstantFailoverStatus, PoolStatus, ReplyTimes,
    ServerStatus, SuccessionStatus,
};
use crate::config::{Balance, Cluster, ClusterIndex, Pool, PoolIndex, RedirectMode, Role, Server, Topology};
use crate::protocol::redirect::Target;
use crate::topology::{
    Existing, Origin, Redirect, RoutingTable, ServerEntry, ServerId, ServerRole, Service, Succession,
};

/// What is believed of each server at `now`, and how it replied of late, in the order of the configuration. `awaited` are
/// those that are to be primaries, with what is said of each.
pub fn clusters(
    table: &RoutingTable,
    replies: &HashMap<ServerId, ReplyTimes>,
    awaited: &HashMap<ServerId, String>,
    now: Instant,
) -> Vec<ClusterStatus> {
    let clusters = table.config.clusters.iter().enumerate();
    clusters
        .map(|(index, cluster)| cluster_status(table, ClusterIndex(index), cluster, replies, awaited, now))
        .collect()
}

/// Whether clients are sent elsewhere, and that so many were.
pub fn instant_failover(redirect: &Redirect, sent: u64) -> InstantFailoverStatus {
    let Redirect { settings, existing, origin } = redirect;
    InstantFailoverStatus {
        mode: match settings.mode {
            RedirectMode::Off => FailoverMode::Off,
            RedirectMode::On => FailoverMode::On,
            RedirectMode::All => FailoverMode::All,
        },
        target: settings.target.as_ref().map(Target::to_string),
        error_code: settings.error_code,
        existing: match existing {
            Existing::Stay => ExistingSessions::Stay,
            Existing::Leave => ExistingSessions::Drain,
        },
        origin: match origin {
            Origin::Configuration => FailoverOrigin::Configuration,
            Origin::Command => FailoverOrigin::Command,
        },
        sent,
        notes: Vec::new(),
    }
}

fn cluster_status(
    table: &RoutingTable,
    index: ClusterIndex,
    cluster: &Cluster,
    replies: &HashMap<ServerId, ReplyTimes>,
    awaited: &HashMap<ServerId, String>,
    now: Instant,
) -> ClusterStatus {
    let shown = |(entry, server): (&ServerEntry, _)| {
        let status = server_status(entry, server, replies.get(&entry.id).copied(), now);
        let reason = awaited.get(&entry.id).cloned().unwrap_or(status.reason);
        ServerStatus { reason, ..status }
    };
    let entry = &table.clusters[index.0];
    let entries = table.servers.iter().filter(|entry| entry.cluster == index);
    let topology = match cluster.topology {
        Topology::Replication => "replication",
        Topology::GroupReplication => "group-replication",
        Topology::Static => "static",
        Topology::Galera => "galera",
    };
    ClusterStatus {
        name: cluster.name.clone(),
        topology: topology.to_string(),
        situation: entry.situation.to_string(),
        alarms: entry.alarms.clone(),
        advice: entry.advice.clone(),
        servers: entries.zip(&cluster.servers).map(shown).collect(),
    }
}

fn server_status(entry: &ServerEntry, server: &Server, replies: Option<ReplyTimes>, now: Instant) -> ServerStatus {
    let greeting = entry.greeting.as_ref();
    let begun = match entry.service {
        Service::Draining { since, connections, .. } => Some((since, connections)),
        Service::InUse | Service::OutOfUse { .. } => None,
    };
    ServerStatus {
        name: server.name.clone(),
        address: server.address.to_string(),
        role: entry.health.role.to_string(),
        state: entry.health.condition.to_string(),
        fitness: entry.health.fitness.to_string(),
        reason: entry.health.reason.to_string(),
        since_seconds: now.saturating_duration_since(entry.health.since).as_secs(),
        service: entry.service.to_string(),
        drain_seconds_left: drain::seconds_left(entry.service, now),
        drain_seconds: begun.map(|(since, _)| now.saturating_duration_since(since).as_secs()),
        drain_connections: begun.map(|(_, connections)| connections),
        weight: entry.weight,
        connections: entry.load.connections(),
        resting: entry.load.resting(),
        waiting: entry.load.waiting(),
        max_connections: (entry.max_connections != 0).then_some(entry.max_connections),
        version: greeting.map(|greeting| String::from_utf8_lossy(&greeting.version_text).into_owned()),
        position: position(entry),
        lag_seconds: entry.progress.lag().map(|lag| lag.as_secs_f64()),
        replies,
    }
}

fn position(entry: &ServerEntry) -> Option<String> {
    let seen = entry.progress.last()?;
    match entry.health.role {
        ServerRole::Replica => Some(seen.applied.to_string()),
        ServerRole::Unknown
        | ServerRole::Primary
        | ServerRole::Yielding
        | ServerRole::Contested
        | ServerRole::Deposed
        | ServerRole::ReadOnlyPrimary => seen.committed.as_ref().map(ToString::to_string),
    }
}

/// How each change of a primary went.
pub fn successions(kept: &[Succession], now: Instant) -> Vec<SuccessionStatus> {
    let status = |change: &Succession| {
        let phases = &change.phases;
        let begin = phases.last_good_reply.unwrap_or(phases.detected);
        let after = |moment: Instant| moment.saturating_duration_since(begin).as_secs_f64();
        SuccessionStatus {
            cluster: change.cluster.clone(),
            number: change.number,
            from: change.from.clone(),
            to: change.to.clone(),
            seconds_ago: now.saturating_duration_since(phases.rerouted).as_secs(),
            last_good_reply: phases.last_good_reply.map(after),
            detected: after(phases.detected),
            decided: phases.decided.map(after),
            rerouted: after(phases.rerouted),
            first_reply: phases.first_reply.map(after),
        }
    };
    kept.iter().map(status).collect()
}

/// Each pool and who can be picked in it, in the order of the configuration.
pub fn pools(table: &RoutingTable) -> Vec<PoolStatus> {
    let pools = table.config.pools.iter().enumerate();
    pools.map(|(index, pool)| pool_status(table, PoolIndex(index), pool)).collect()
}

fn pool_status(table: &RoutingTable, index: PoolIndex, pool: &Pool) -> PoolStatus {
    let role = match pool.role {
        Role::Primary => "primary",
        Role::Replica => "replica",
    };
    let balance = match pool.balance {
        Balance::LeastConnections => "least-connections",
        Balance::RoundRobin => "round-robin",
        Balance::Random => "random",
    };
    let members = &table.pool(index).members;
    PoolStatus {
        name: pool.name.clone(),
        cluster: table.config.cluster(pool.cluster).name.clone(),
        role: role.to_string(),
        balance: balance.to_string(),
        fallback: pool.fallback.map(|fallback| table.config.pool(fallback).name.clone()),
        usable: members.iter().map(|&member| table.server(member).name.to_string()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::explain::tests::config;
    use super::*;
    use crate::topology::Beliefs;

    #[test]
    fn a_status_has_every_server_and_pool_of_the_configuration_and_no_secret() {
        let now = Instant::now();
        let table = Beliefs::new(Arc::new(config()), now).table();
        let awaited = HashMap::from([(table.servers[1].id, "to be the primary".to_owned())]);
        let shown = clusters(&table, &HashMap::new(), &awaited, now);
        let reasons = shown[0].servers.iter().map(|server| &*server.reason);
        assert_eq!(reasons.collect::<Vec<_>>(), [&*table.servers[0].health.reason.to_string(), "to be the primary"]);
        let servers: Vec<_> = shown[0].servers.iter().map(|server| (&*server.name, &*server.state)).collect();
        assert_eq!(servers, [("db1", "unknown"), ("db2", "unknown")]);
        let bounds: Vec<_> = shown[0].servers.iter().map(|server| server.max_connections).collect();
        assert_eq!(bounds, [None, Some(7)]);
        let shown_pools = pools(&table);
        assert_eq!((&*shown_pools[1].balance, shown_pools[1].fallback.as_deref()), ("round-robin", Some("write")));
        assert!(shown_pools.iter().all(|pool| pool.usable.is_empty()));
        let json = serde_json::to_string(&(shown, shown_pools)).expect("shapes are JSON");
        assert!(!json.contains("hidden"), "{json}");
    }
}
