//! Where a user's statements go, and why: from the running process's routing table, or offline from a configuration.
//!
//! Online the answer is the one decision that `route` makes, with its reasons. Offline no server was asked, so the
//! answer is the pools in their order and what each server would have to be.

use super::shapes::{CandidateExplanation, Explanation, PoolExplanation, StatementExplanation, Verdict};
use super::statement;
use crate::config::{Balance, Config, Freshness, Pool, PoolIndex, Role, RoleSetting, Server, Split, Topology, User};
use crate::protocol::version::ServerVersion;
use crate::route::{self, Destination, Explained, Question, Sight, Step};
use crate::sql::Hint;
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
    let user = user_of(&table.config, asked)?;
    let wanted = Wanted::of(&table.config, user, asked, table.lowest_version(user.pool));
    let explained = route::explain(table, &Question::without_a_session(wanted.pool));
    let chosen = explained.outcome.map(|decision| table.server(decision.server).name.to_string());
    let outcome = match &chosen {
        Ok(server) => format!("{} goes to server {server}", wanted.subject),
        Err(refusal) => format!("{} goes nowhere now: {refusal}", wanted.subject),
    };
    let pools = explained.steps.iter().map(pool_online).collect();
    Ok(wanted.explanation(&table.config, Answer { pools, server: chosen.ok(), outcome, notes: Vec::new() }))
}

/// What follows from a configuration alone.
pub fn offline(config: &Config, asked: &Asked<'_>) -> Result<Explanation, UnknownUser> {
    let wanted = Wanted::of(config, user_of(config, asked)?, asked, None);
    let pools: Vec<PoolExplanation> = chain(config, wanted.pool).map(|pool| pool_offline(config, pool)).collect();
    let outcome = format!("{} goes to pool {}", wanted.subject, config.pool(wanted.pool).name);
    let mut notes = vec![
        "this is from the configuration alone: which server is up, which is the primary and how loaded they are is \
         unknown offline; ask the running process without --config"
            .to_string(),
    ];
    if wanted.statement.is_some() {
        notes.push(
            "the functions of the oldest servers are taken: which the servers have is unknown offline".to_string(),
        );
    }
    Ok(wanted.explanation(config, Answer { pools, server: None, outcome, notes }))
}

/// The part of an explanation that differs between online and offline.
struct Answer {
    pools: Vec<PoolExplanation>,
    server: Option<String>,
    outcome: String,
    notes: Vec<String>,
}

/// The part that is the same: which pool, and by which rule.
struct Wanted {
    user: String,
    /// Who or what goes there.
    subject: String,
    rule: String,
    pool: PoolIndex,
    statement: Option<StatementExplanation>,
    notes: Vec<String>,
}

impl Wanted {
    fn of(config: &Config, user: &User, asked: &Asked<'_>, lowest: Option<ServerVersion>) -> Wanted {
        match (user.split, asked.sql) {
            (None, _) => Wanted::whole(config, user, asked),
            (Some(split), None) => Wanted {
                notes: vec!["write the statement behind the user to see which of the two pools it is for".to_string()],
                ..Wanted::home(config, user, split)
            },
            (Some(split), Some(text)) => Wanted::statement(config, user, split, text, lowest),
        }
    }

    fn whole(config: &Config, user: &User, asked: &Asked<'_>) -> Wanted {
        let makes_no_difference =
            "the statement makes no difference: every statement of a user goes to the user's pool";
        Wanted {
            user: user.name.clone(),
            subject: user.name.clone(),
            rule: format!("user {} has pool {}, for every statement", user.name, config.pool(user.pool).name),
            pool: user.pool,
            statement: None,
            notes: asked.sql.map(|_| makes_no_difference.to_string()).into_iter().collect(),
        }
    }

    /// Where a session is whose reads are split.
    fn home(config: &Config, user: &User, split: Split) -> Wanted {
        let (home, read) = (&config.pool(user.pool).name, &config.pool(split.read).name);
        Wanted {
            user: user.name.clone(),
            subject: user.name.clone(),
            rule: format!("user {} is at home in pool {home}; what is surely a read goes to pool {read}", user.name),
            pool: user.pool,
            statement: None,
            notes: Vec::new(),
        }
    }

    fn statement(config: &Config, user: &User, split: Split, text: &str, lowest: Option<ServerVersion>) -> Wanted {
        let found = statement::look(text, lowest);
        let destination = route::destination(&found);
        let mut notes = vec![
            "the text was read as that of a session that has not changed its sql_mode or character set".to_string(),
        ];
        notes.extend(note_of(destination, split.freshness).map(str::to_string));
        if let Some(Hint::Server(_)) = found.hint {
            notes.push("the hint names a server, which is not followed".to_string());
        }
        Wanted {
            subject: "the statement".to_string(),
            pool: match destination {
                Destination::Replica => split.read,
                Destination::Home | Destination::LikeTheLast => user.pool,
            },
            statement: Some(statement::explanation(text, &found)),
            notes,
            ..Wanted::home(config, user, split)
        }
    }

    fn explanation(self, config: &Config, answer: Answer) -> Explanation {
        Explanation {
            user: self.user,
            rule: self.rule,
            statement: self.statement,
            pool: config.pool(self.pool).name.clone(),
            pools: answer.pools,
            server: answer.server,
            outcome: answer.outcome,
            notes: answer.notes.into_iter().chain(self.notes).collect(),
        }
    }
}

/// What a session's own past may change.
fn note_of(destination: Destination, freshness: Freshness) -> Option<&'static str> {
    match (destination, freshness) {
        (Destination::Home, _) => None,
        (Destination::LikeTheLast, _) => Some("it goes where the statement before it ran, which is mostly at home"),
        (Destination::Replica, Freshness::OwnWrites) => Some(
            "a session may keep it at home: in a transaction, with a temporary table and the like (its pins), or where \
             waiting for the replica to have what the session has seen would take longer",
        ),
        (Destination::Replica, Freshness::Within(_) | Freshness::Any) => {
            Some("a session may keep it at home: in a transaction, with a temporary table and the like (its pins)")
        }
    }
}

fn user_of<'c>(config: &'c Config, asked: &Asked<'_>) -> Result<&'c User, UnknownUser> {
    let user = config.user(asked.user.as_bytes());
    user.ok_or_else(|| UnknownUser { user: asked.user.to_string() })
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
        (Topology::GroupReplication, Role::Primary) => "used while it is up and its group's primary",
        (Topology::GroupReplication, Role::Replica) => "used while it is up and online in its group",
        (Topology::Galera, Role::Primary) => "used while it is the node that has the writes",
        (Topology::Galera, Role::Replica) => "used while it is in step with the group and another one has the writes",
        (Topology::Static, Role::Primary | Role::Replica) => "used while it is up",
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
        [[user]]
        name = "app"
        password = "hidden"
        split = { write = "write", read = "read" }
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

    /// Where a statement of the user whose reads are split goes, and why.
    fn check_split(sql: &str, pool: &str, class: &str, reason: &str) {
        let asked = Asked { user: "app", sql: Some(sql) };
        let table = Beliefs::new(Arc::new(config()), Instant::now()).table();
        let (offline, online) = (offline(&config(), &asked).unwrap(), online(&table, &asked).unwrap());
        assert_eq!(offline.outcome, format!("the statement goes to pool {pool}"));
        assert_eq!(online.outcome, "the statement goes nowhere now: no usable server");
        for explanation in [offline, online] {
            let statement = explanation.statement.expect("its text matters");
            assert_eq!((&*explanation.pool, &*statement.class, &*statement.reason), (pool, class, reason), "{sql}");
            assert_eq!(explanation.rule, "user app is at home in pool write; what is surely a read goes to pool read");
        }
    }

    #[test]
    fn a_split_goes_by_the_statement() {
        check_split("SELECT a FROM t", "read", "a read that any replica answers", "plain read");
        check_split("SELECT a FROM t FOR UPDATE", "write", "a statement for the primary", "FOR UPDATE");
        check_split("SHOW WARNINGS", "write", "a read about the statement before it", "about the statement before");
        let hinted = "/* sqluice: primary */ SELECT a FROM t";
        check_split(hinted, "write", "a read that any replica answers", "plain read");
        check_split("/* sqluice: replica */ DELETE FROM t", "write", "a statement for the primary", "not a read");
        let explanation = offline(&config(), &Asked { user: "app", sql: None }).unwrap();
        assert_eq!((explanation.outcome.as_str(), explanation.statement), ("app goes to pool write", None));
    }

    #[test]
    fn a_user_that_does_not_exist_is_said_so() {
        let asked = Asked { user: "nobody", sql: None };
        let table = Beliefs::new(Arc::new(config()), Instant::now()).table();
        assert_eq!(offline(&config(), &asked), Err(UnknownUser { user: "nobody".into() }));
        assert_eq!(online(&table, &asked), Err(UnknownUser { user: "nobody".into() }));
    }
}
