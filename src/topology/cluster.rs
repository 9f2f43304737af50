//! What is to be said of a whole cluster.

use std::fmt;

use super::galera;

/// What has happened to a cluster, what is wrong, and what to do: for people. Holds no measure that changes with each check,
/// since a change of it makes a new routing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterEntry {
    /// What has happened.
    pub situation: Situation,
    /// What is wrong, a sentence each; empty when nothing is.
    pub alarms: Vec<String>,
    /// The next steps for an operator, in order; empty when there is nothing to do.
    pub advice: Vec<String>,
}

/// What has happened to a cluster, where its topology has names for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// Its servers one by one are all there is to tell.
    Unnamed,
    /// Of a Galera cluster.
    Galera(galera::Situation),
}

impl ClusterEntry {
    /// Of a cluster whose topology has no names for what can happen to it.
    pub fn unnamed(alarms: &[String]) -> ClusterEntry {
        ClusterEntry { situation: Situation::Unnamed, alarms: alarms.to_vec(), advice: Vec::new() }
    }
}

impl fmt::Display for Situation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Situation::Unnamed => Ok(()),
            Situation::Galera(situation) => situation.fmt(out),
        }
    }
}
