//! `[users]`: who may log in beside the `[[user]]` entries, and how they are served.

use std::time::Duration;

use super::value::Choice;
use super::{Account, User};

/// Those who may log in without an entry of their own.
#[derive(Debug)]
pub struct Newcomers {
    /// Who knows them.
    pub source: Source,
    /// How all of them are served. Its name is empty, and its verifier leaves the judging to the servers.
    pub route: User,
    /// How long a password that a server has accepted is kept.
    pub learn_ttl: Duration,
}

/// Where it is known who they are.
#[derive(Debug)]
pub enum Source {
    /// In the accounts of the servers of the route's cluster.
    Servers {
        /// Who may read these.
        account: Account,
        /// How often they are read, if nobody is missed.
        refresh_interval: Duration,
    },
    /// Nowhere before they log in: the servers judge.
    Learn,
}

/// `source` of `[users]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceWord {
    /// Nobody but the `[[user]]` entries.
    Config,
    /// [`Source::Servers`].
    Servers,
    /// [`Source::Learn`].
    Learn,
}

impl Choice for SourceWord {
    const ALL: &'static [(&'static str, Self)] =
        &[("config", SourceWord::Config), ("servers", SourceWord::Servers), ("learn", SourceWord::Learn)];
}

impl Source {
    /// As it is written.
    pub fn word(&self) -> SourceWord {
        match self {
            Source::Servers { .. } => SourceWord::Servers,
            Source::Learn => SourceWord::Learn,
        }
    }
}
