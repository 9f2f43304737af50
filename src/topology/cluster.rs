//! What is to be said of a whole cluster.

/// What is wrong with a cluster, for people. Holds no measure that changes with each check, since a change of it makes a
/// new routing table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterEntry {
    /// What is wrong, a sentence each; empty when nothing is.
    pub alarms: Vec<String>,
}
