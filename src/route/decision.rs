//! One routing decision: pure, without allocation, made of one verdict a server.

use std::fmt;

use super::balance::{self, Candidate};
use crate::config::PoolIndex;
use crate::protocol::capability::Capabilities;
use crate::topology::{Condition, RoutingTable, ServerId, ServerIndex, ServerRole};

/// What is asked of [`decide`].
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Where the session wants to go.
    pub pool: PoolIndex,
    /// Servers that have just failed this session.
    pub excluded: &'a [ServerId],
    /// What the session's client has been promised.
    pub required: Capabilities,
    /// A turn counter where the pool goes round robin, else a random number.
    pub tie_break: u32,
}

/// A server was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The server.
    pub server: ServerIndex,
    /// The pool it was found in: the wanted one or one of its fallbacks.
    pub pool: PoolIndex,
}

/// No server was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There are servers, and each has as many connections as it may have: one will become free.
    AllFull,
    /// Neither the pool nor its fallbacks have a usable server.
    NoServer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Refusal::AllFull => "all usable servers have as many connections as they may have",
            Refusal::NoServer => "no usable server",
        })
    }
}

/// Picks a server for a session, in the wanted pool or else in its fallback, the fallback of that, and so on.
///
/// A full pool does not fall back: its sessions wait for a place rather than flood the servers of another pool.
pub fn decide(table: &RoutingTable, question: &Question<'_>) -> Result<Decision, Refusal> {
    for pool in table.chain(question.pool) {
        let verdicts = table.pool(pool).candidates().map(|server| (server, verdict(table, pool, server, question)));
        let usable = verdicts.clone().filter_map(|(server, verdict)| verdict.candidate(server));
        if let Some(picked) = balance::pick(table.config.pool(pool).balance, usable, question.tie_break) {
            return Ok(Decision { server: picked.server, pool });
        }
        if verdicts.into_iter().any(|(_, verdict)| verdict.is_full()) {
            return Err(Refusal::AllFull);
        }
    }
    Err(Refusal::NoServer)
}

/// Whether a server may be picked for a question, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Usable {
        /// Connections it has now.
        connections: u32,
        /// Its share.
        weight: u32,
    },
    /// It may not.
    Unusable(Obstacle),
}

/// Why a server may not be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It is not up.
    NotUp(Condition),
    /// It is up and has another role than the pool.
    OtherRole(ServerRole),
    /// Its name has not been looked up.
    NoAddress,
    /// It has just failed this session.
    Excluded,
    /// It lacks what the client has been promised.
    Lacks(Capabilities),
    /// It has as many connections as it may have.
    Full {
        /// That many.
        max: u32,
    },
}

/// The verdict over one server of a pool's cluster. Load comes last: who is full is usable otherwise.
pub fn verdict(table: &RoutingTable, pool: PoolIndex, server: ServerIndex, question: &Question<'_>) -> Verdict {
    let entry = table.server(server);
    let connections = entry.load.connections();
    let missing = missing(question.required, entry.capabilities());
    let obstacle = if entry.health.condition != Condition::Up {
        Obstacle::NotUp(entry.health.condition)
    } else if !entry.serves(table.config.pool(pool).role) {
        Obstacle::OtherRole(entry.health.role)
    } else if entry.endpoint.is_none() {
        Obstacle::NoAddress
    } else if question.excluded.contains(&entry.id) {
        Obstacle::Excluded
    } else if missing != Capabilities::NONE {
        Obstacle::Lacks(missing)
    } else if entry.max_connections != 0 && connections >= entry.max_connections {
        Obstacle::Full { max: entry.max_connections }
    } else {
        return Verdict::Usable { connections, weight: entry.weight };
    };
    Verdict::Unusable(obstacle)
}

/// What was promised and is not offered. Bit 0 is no promise: to MySQL it means long passwords, to MariaDB that the
/// peer is *not* MariaDB.
fn missing(required: Capabilities, offered: Option<Capabilities>) -> Capabilities {
    required.without(Capabilities::LONG_PASSWORD).without(offered.unwrap_or(Capabilities::NONE))
}

impl Verdict {
    fn candidate(self, server: ServerIndex) -> Option<Candidate> {
        match self {
            Verdict::Usable { connections, weight } => Some(Candidate { server, connections, weight }),
            Verdict::Unusable(_) => None,
        }
    }

    pub(super) fn is_full(self) -> bool {
        matches!(self, Verdict::Unusable(Obstacle::Full { .. }))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Usable { connections: 1, weight } => write!(out, "usable: 1 connection, weight {weight}"),
            Verdict::Usable { connections, weight } => {
                write!(out, "usable: {connections} connections, weight {weight}")
            }
            Verdict::Unusable(obstacle) => write!(out, "not used: {obstacle}"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NotUp(condition) => write!(out, "{condition}"),
            Obstacle::OtherRole(role) => write!(out, "{role}"),
            Obstacle::NoAddress => out.write_str("its name has not been looked up"),
            Obstacle::Excluded => out.write_str("it has just failed this session"),
            Obstacle::Lacks(missing) => write!(out, "lacks capabilities the client was promised ({missing:?})"),
            Obstacle::Full { max } => write!(out, "full: {max} connections"),
        }
    }
}
