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
        self.condition.fmt(out)?;
        if self.condition != Condition::Up {
            return Ok(());
        }
        // "up, unknown" would contradict itself.
        let of = if self.role == ServerRole::Unknown { "role " } else { "" };
        write!(out, ", {of}{}", self.role)?;
        match self.fitness {
            Fitness::Fit => Ok(()),
            Fitness::LastResort | Fitness::Leaving | Fitness::Unfit => write!(out, ", {}", self.fitness),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_a_server_that_is_up_is_told_for_what_it_is_used() {
        let check = |condition, role, fitness, expected: &str| {
            let health = Health { condition, role, fitness, reason: Arc::from("answers"), since: Instant::now() };
            assert_eq!(health.to_string(), expected);
        };
        check(Condition::Up, ServerRole::Replica, Fitness::Fit, "up, replica");
        check(Condition::Up, ServerRole::Replica, Fitness::LastResort, "up, replica, last resort");
        check(Condition::Up, ServerRole::Unknown, Fitness::Fit, "up, role unknown");
        check(Condition::Down, ServerRole::Unknown, Fitness::Fit, "down");
        assert_eq!(ServerRole::Unknown.to_string(), "unknown", "a word for tables, JSON and labels");
    }
}
