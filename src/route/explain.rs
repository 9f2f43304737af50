//! A decision with its reasons, for people.

use std::fmt;
use std::sync::Arc;

use super::decision::{Decision, Question, Refusal, Verdict, decide, verdict};
use crate::config::{Balance, PoolIndex, Role};
use crate::topology::RoutingTable;

/// How a decision came about: one step a pool that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The wanted pool, then its fallbacks as far as they were looked at.
    pub steps: Vec<Step>,
    /// What was decided.
    pub outcome: Result<Decision, Refusal>,
}

/// One pool that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub pool: String,
    /// Its cluster's name.
    pub cluster: String,
    /// Which role its members have.
    pub role: Role,
    /// How one of them is picked.
    pub balance: Balance,
    /// Every server of the cluster.
    pub servers: Vec<Explained>,
}

/// One server that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Its name in its cluster.
    pub server: Arc<str>,
    /// Whether it may be used, and why not.
    pub verdict: Verdict,
    /// What was last heard of it.
    pub heard: Arc<str>,
    /// Whether it was picked.
    pub picked: bool,
}

/// Decides as [`decide`] does, and says why.
pub fn explain(table: &RoutingTable, question: &Question<'_>) -> Explanation {
    let outcome = decide(table, question);
    let mut steps = Vec::new();
    for pool in table.chain(question.pool) {
        steps.push(step(table, pool, question, outcome));
        let ends_here = match outcome {
            Ok(decision) => decision.pool == pool,
            Err(Refusal::AllFull) => steps.last().is_some_and(Step::is_full),
            Err(Refusal::NoServer) => false,
        };
        if ends_here {
            break;
        }
    }
    Explanation { steps, outcome }
}

fn step(table: &RoutingTable, pool: PoolIndex, question: &Question<'_>, outcome: Result<Decision, Refusal>) -> Step {
    let settings = table.config.pool(pool);
    let servers = table.pool(pool).candidates().map(|server| Explained {
        server: Arc::clone(&table.server(server).name),
        verdict: verdict(table, pool, server, question),
        heard: Arc::clone(&table.server(server).health.reason),
        picked: outcome.is_ok_and(|decision| (decision.server, decision.pool) == (server, pool)),
    });
    Step {
        pool: settings.name.clone(),
        cluster: table.config.cluster(settings.cluster).name.clone(),
        role: settings.role,
        balance: settings.balance,
        servers: servers.collect(),
    }
}

impl Step {
    fn is_full(&self) -> bool {
        self.servers.iter().any(|server| server.verdict.is_full())
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let how_reached = if index == 0 { "" } else { "fallback: " };
            writeln!(out, "{how_reached}{step}")?;
        }
        match &self.outcome {
            Ok(_) => Ok(()),
            Err(refusal) => writeln!(out, "{refusal}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Primary => "the primary",
            Role::Replica => "the replicas",
        };
        let balance = match self.balance {
            Balance::LeastConnections => "fewest connections for its weight",
            Balance::RoundRobin => "round robin",
            Balance::Random => "random",
        };
        write!(out, "pool {}: {role} of cluster {}, {balance}", self.pool, self.cluster)?;
        self.servers.iter().try_for_each(|server| write!(out, "\n  {server}"))
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.picked { "->" } else { "  " };
        write!(out, "{mark} {}: {} ({})", self.server, self.verdict, self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::{answers, config, position, table, table_at};
    use crate::topology::{CheckResult, Writable};

    fn check(results: &[CheckResult], pool: &str, expected: &str) {
        let servers: Vec<String> = (0..results.len())
            .map(|index| format!("name = \"db{index}\"\naddress = \"10.0.0.{index}:3306\"\nmax_connections = 1"))
            .collect();
        let table = table(config(&servers.iter().map(String::as_str).collect::<Vec<_>>()), results);
        let _place = table.servers.last().map(|server| server.load.reserve(0));
        let pool = table.config.pool_by_name(pool).unwrap();
        let question = Question::without_a_session(pool);
        assert_eq!(explain(&table, &question).to_string(), expected);
    }

    #[test]
    fn each_server_has_its_reason() {
        check(
            &[answers(Writable::Yes), answers(Writable::No), CheckResult::Refused, answers(Writable::No)],
            "read",
            "pool read: the replicas of cluster shop, fewest connections for its weight\n\
             \x20    db0: not used: primary (answers)\n\
             \x20 -> db1: usable: 0 connections, weight 100 (answers)\n\
             \x20    db2: not used: down (connection refused)\n\
             \x20    db3: not used: full: 1 connections (answers)\n",
        );
    }

    #[test]
    fn who_was_seen_fresh_is_shown_where_it_matters() {
        let servers = ["name = \"db0\"\naddress = \"10.0.0.1:1\"", "name = \"db1\"\naddress = \"10.0.0.2:1\""];
        let table = table_at(config(&servers), &[answers(Writable::No), answers(Writable::No)], &[Some(3), Some(9)]);
        let fresh = position(4);
        let pool = table.config.pool_by_name("read").unwrap();
        let question = Question { fresh: Some(&fresh), ..Question::without_a_session(pool) };
        assert_eq!(
            explain(&table, &question).to_string(),
            "pool read: the replicas of cluster shop, fewest connections for its weight\n\
             \x20    db0: usable: 0 connections, weight 100, not yet seen to have what the session has seen (answers)\n\
             \x20 -> db1: usable: 0 connections, weight 100, seen to have what the session has seen (answers)\n",
        );
    }

    #[test]
    fn the_way_over_a_fallback_is_shown() {
        check(
            &[answers(Writable::Yes), CheckResult::TimedOut],
            "read",
            "pool read: the replicas of cluster shop, fewest connections for its weight\n\
             \x20    db0: not used: primary (answers)\n\
             \x20    db1: not used: unknown (no answer (1 of 2))\n\
             fallback: pool write: the primary of cluster shop, fewest connections for its weight\n\
             \x20 -> db0: usable: 0 connections, weight 100 (answers)\n\
             \x20    db1: not used: unknown (no answer (1 of 2))\n",
        );
    }

    #[test]
    fn where_nobody_can_be_picked_the_last_line_says_so() {
        check(
            &[answers(Writable::No), answers(Writable::Yes)],
            "write",
            "pool write: the primary of cluster shop, fewest connections for its weight\n\
             \x20    db0: not used: replica (answers)\n\
             \x20    db1: not used: full: 1 connections (answers)\n\
             all usable servers have as many connections as they may have\n",
        );
    }
}
