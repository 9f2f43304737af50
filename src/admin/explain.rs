//! Where a user's statements go, and why: from the running process's routing table, or offline from a configuration.
//!
//! Online the answer is the one decision that `route` makes, with its reasons. Offline no server was asked, so the
//! answer is the pools in their order and what each server would have to be.

use crate::admin::shapes::{CandidateExplanation, Explanation, PoolExplanation, Verdict};
use crate::config::{Balance, Config, Pool, PoolIndex, Role, RoleSetting, Server, Topology};
use crate::route::{self, Explained, Question, Sight, Step};
use crate::topology::RoutingTable;

/// Who is asked about, and for which statement.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The statement, where one was given.
    pub sql: Option<&'a str>,
}

/// There is no such user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownUser {
    /// Who was asked about.
    pub user: String,
}

impl std::fmt::Display for UnknownUser {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "no user `{}` in the configuration: a login of that name is refused", self.user)
    }
}

/// What the running process would do now.
pub fn online(table: &RoutingTable, asked: &Asked<'_>) -> Result<Explanation, UnknownUser> {
    let pool = pool_of(&table.config, asked)?;
    let explained = route::explain(table, &Question::without_a_session(pool));
    let chosen = explained.outcome.map(|decision| table.server(decision.server).name.to_string());
    let outcome = match &chosen {
        Ok(server) => format!("{} goes to server {server}", asked.user),
        Err(refusal) => format!("{} goes nowhere now: {refusal}", asked.user),
    };
    let pools = explained.steps.iter().map(pool_online).collect();
    Ok(explanation(&table.config, asked, pool, Answer { pools, server: chosen.ok(), outcome, notes: Vec::new() }))
}

/// What follows from a configuration alone.
pub fn offline(config: &Config, asked: &Asked<'_>) -> Result<Explanation, UnknownUser> {
    let pool = pool_of(config, asked)?;
    let pools: Vec<PoolExplanation> = chain(config, pool).map(|pool| pool_offline(config, pool)).collect();
    let outcome = format!("{} goes to pool {}", asked.user, config.pool(pool).name);
    let notes = vec![
        "this is from the configuration alone: which server is up, which is the primary and how loaded they are is \
         unknown offline; ask the running process without --config"
            .to_string(),
    ];
    Ok(explanation(config, asked, pool, Answer { pools, server: None, outcome, notes }))
}

/// The part of an explanation that differs between online and offline.
struct Answer {
    pools: Vec<PoolExplanation>,
    server: Option<String>,
    outcome: String,
    notes: Vec<String>,
}

fn explanation(config: &Config, asked: &Asked<'_>, pool: PoolIndex, answer: Answer) -> Explanation {
    let pool = config.pool(pool).name.clone();
    let mut notes = answer.notes;
    if asked.sql.is_some() {
        notes.push("the statement makes no difference: every statement of a user goes to the user's pool".to_string());
    }
    Explanation {
        user: asked.user.to_string(),
        rule: format!("user {} has pool {pool}, for every statement", asked.user),
        pool,
        pools: answer.pools,
        server: answer.server,
        outcome: answer.outcome,
        notes,
    }
}

fn pool_of(config: &Config, asked: &Asked<'_>) -> Result<PoolIndex, UnknownUser> {
    let user = config.user(asked.user.as_bytes());
    user.map(|user| user.pool).ok_or_else(|| UnknownUser { user: asked.user.to_string() })
}

/// A pool and its fallbacks. Ends: the configuration has no circle of them.
fn chain(config: &Config, first: PoolIndex) -> impl Iterator<Item = &Pool> {
    std::iter::successors(Some(config.pool(first)), |pool| pool.fallback.map(|next| config.pool(next)))
}

fn pool_online(step: &Step) -> PoolExplanation {
    PoolExplanation {
        pool: step.pool.clone(),
        rule: pool_rule(&step.cluster, step.role, step.balance),
        candidates: step.servers.iter().map(candidate_online).collect(),
    }
}

fn candidate_online(explained: &Explained) -> CandidateExplanation {
    let verdict = match explained.verdict {
        route::Verdict::Usable { .. } if explained.picked => Verdict::Chosen,
        route::Verdict::Usable { .. } => Verdict::Passed,
        route::Verdict::Unusable(_) => Verdict::Excluded,
    };
    let why = match explained.verdict {
        route::Verdict::Usable { connections, weight, sight: Sight::Anything } => {
            format!("connections {connections}, weight {weight}")
        }
        route::Verdict::Usable { connections, weight, sight } => {
            format!("connections {connections}, weight {weight}, {sight}")
        }
        route::Verdict::Unusable(obstacle) => obstacle.to_string(),
    };
    let reason = format!("{why} ({})", explained.heard);
    CandidateExplanation { server: explained.server.to_string(), verdict, reason }
}

fn pool_offline(config: &Config, pool: &Pool) -> PoolExplanation {
    let cluster = config.cluster(pool.cluster);
    let candidates = cluster.servers.iter().map(|server| candidate_offline(server, cluster.topology, pool.role));
    PoolExplanation {
        pool: pool.name.clone(),
        rule: pool_rule(&cluster.name, pool.role, pool.balance),
        candidates: candidates.collect(),
    }
}

fn candidate_offline(server: &Server, topology: Topology, wanted: Role) -> CandidateExplanation {
    let configured = match server.role {
        RoleSetting::Auto => None,
        RoleSetting::Primary => Some(Role::Primary),
        RoleSetting::Replica => Some(Role::Replica),
    };
    let (verdict, reason) = match configured {
        Some(role) if role != wanted => (Verdict::Excluded, format!("configured as {}", role_name(role))),
        Some(role) => (Verdict::Open, format!("configured as {}; used while it is up", role_name(role))),
        None => (Verdict::Open, wanted_of(topology, wanted).to_string()),
    };
    CandidateExplanation { server: server.name.clone(), verdict, reason }
}

/// What a server whose role is its own to tell must say.
fn wanted_of(topology: Topology, wanted: Role) -> &'static str {
    match (topology, wanted) {
        (Topology::Replication, Role::Primary) => "used while it is up and the only one that takes writes",
        (Topology::Replication, Role::Replica) => "used while it is up and says read_only",
        (Topology::Static | Topology::Galera, Role::Primary | Role::Replica) => "used while it is up",
    }
}

fn pool_rule(cluster: &str, role: Role, balance: Balance) -> String {
    let role = match role {
        Role::Primary => "the primary",
        Role::Replica => "the replicas",
    };
    let balance = match balance {
        Balance::LeastConnections => "fewest connections for its weight",
        Balance::RoundRobin => "one after the other",
        Balance::Random => "by chance",
    };
    format!("{role} of cluster {cluster}, {balance}")
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::config::Environment;
    use crate::topology::Beliefs;

    const SHOP: &str = r#"
        [[listener]]
        name = "app"
        address = "127.0.0.1:3306"
        [cluster.shop]
        topology = "replication"
        monitor = { user = "monitor", password = "hidden" }
        [[cluster.shop.server]]
        name = "db1"
        address = "10.0.0.11:3306"
        role = "primary"
        [[cluster.shop.server]]
        name = "db2"
        address = "10.0.0.12:3306"
        max_connections = 7
        [pool.write]
        cluster = "shop"
        role = "primary"
        [pool.read]
        cluster = "shop"
        role = "replica"
        balance = "round-robin"
        fallback = "write"
        [[user]]
        name = "reader"
        password = "hidden"
        pool = "read"
    "#;

    pub(crate) fn config() -> Config {
        let environment = Environment {
            online_cpus: 1,
            variable: &|_| None,
            file: &|_| Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        };
        Config::parse(SHOP, "test.toml", &environment).expect("a good configuration")
    }

    /// Pools with their candidates, as `pool: server verdict (reason)`.
    fn shown(explanation: &Explanation) -> Vec<String> {
        let line = |pool: &PoolExplanation, candidate: &CandidateExplanation| {
            format!("{}: {} {:?} ({})", pool.pool, candidate.server, candidate.verdict, candidate.reason)
        };
        let pools = explanation.pools.iter();
        pools.flat_map(|pool| pool.candidates.iter().map(move |candidate| line(pool, candidate))).collect()
    }

    #[test]
    fn offline_each_server_is_told_what_it_would_have_to_be() {
        let asked = Asked { user: "reader", sql: None };
        let explanation = offline(&config(), &asked).expect("the user exists");
        assert_eq!(explanation.outcome, "reader goes to pool read");
        assert_eq!(explanation.server, None);
        assert!(explanation.notes[0].contains("unknown offline"));
        assert_eq!(
            shown(&explanation),
            [
                "read: db1 Excluded (configured as primary)",
                "read: db2 Open (used while it is up and says read_only)",
                "write: db1 Open (configured as primary; used while it is up)",
                "write: db2 Open (used while it is up and the only one that takes writes)",
            ]
        );
    }

    #[test]
    fn online_the_answer_is_the_routes_own() {
        let table = Beliefs::new(Arc::new(config()), Instant::now()).table();
        let asked = Asked { user: "reader", sql: Some("SELECT 1") };
        let explanation = online(&table, &asked).expect("the user exists");
        assert_eq!(explanation.outcome, "reader goes nowhere now: no usable server");
        assert_eq!(explanation.server, None);
        assert!(explanation.notes[0].starts_with("the statement makes no difference"));
        let all_unknown = |line: &String| line.contains("Excluded (unknown");
        assert!(shown(&explanation).iter().all(all_unknown), "{:?}", shown(&explanation));
        assert_eq!(shown(&explanation).len(), 4, "the pool and its fallback");
    }

    #[test]
    fn a_user_that_does_not_exist_is_said_so() {
        let asked = Asked { user: "nobody", sql: None };
        let table = Beliefs::new(Arc::new(config()), Instant::now()).table();
        assert_eq!(offline(&config(), &asked), Err(UnknownUser { user: "nobody".into() }));
        assert_eq!(online(&table, &asked), Err(UnknownUser { user: "nobody".into() }));
    }
}
