//! Whether a server is used, for what, how well, and why: the outcome of all that is believed of it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::ServerRole;

/// Whether a server is used, for what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether it is used.
    pub condition: Condition,
    /// For what.
    pub role: ServerRole,
    /// How well it can do that.
    pub fitness: Fitness,
    /// A phrase for people: what was last heard of it, or why it is not fit. Never empty. It holds no measure that
    /// changes with each check, since a change of it makes a new routing table.
    pub reason: Arc<str>,
    /// Since when it is in this condition.
    pub since: Instant,
}

impl fmt::Display for Health {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.condition {
            Condition::Up => match self.fitness {
                Fitness::Fit => write!(out, "{}, {}", self.condition, self.role),
                Fitness::LastResort | Fitness::Leaving | Fitness::Unfit => {
                    write!(out, "{}, {}, {}", self.condition, self.role, self.fitness)
                }
            },
            Condition::Unknown | Condition::Down => self.condition.fmt(out),
        }
    }
}

/// Whether a server is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Nothing certain was heard yet; not used.
    Unknown,
    /// Answers; used.
    Up,
    /// Does not answer, or answers that it cannot serve; not used.
    Down,
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Condition::Unknown => "unknown",
            Condition::Up => "up",
            Condition::Down => "down",
        })
    }
}

/// How well a server that is up can do what its role asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fitness {
    /// It would only do harm: its data are old, or it does not let itself be used. Never a member of a pool.
    Unfit,
    /// Its own operator has told it that it is to be left: never a member of a pool, and who is there goes on elsewhere
    /// where nothing is lost with that.
    Leaving,
    /// A member of its pools only where nobody is fit.
    LastResort,
    /// Nothing speaks against it.
    Fit,
}

impl fmt::Display for Fitness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Fitness::Unfit => "unfit",
            Fitness::Leaving => "leaving",
            Fitness::LastResort => "last resort",
            Fitness::Fit => "fit",
        })
    }
}
