//! What a server is among the others of its cluster: what it is used for, how well it does that, and why.

use std::sync::Arc;

use super::{Belief, Fitness, ServerId, ServerRole, Service};
use crate::config::Server;

/// One server of a cluster, as whoever judges the cluster sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) id: ServerId,
    pub(super) server: &'a Server,
    pub(super) belief: &'a Belief,
    /// What an operator wants of it.
    pub(super) service: Service,
}

/// What a server is among the others. It counts while the server is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) role: ServerRole,
    pub(super) fitness: Fitness,
    /// Why, where that is more than that it answers.
    pub(super) note: Option<Arc<str>>,
}

impl Standing {
    pub(super) fn new(role: ServerRole) -> Standing {
        let note = match role {
            ServerRole::Contested => Some("takes writes, and is not the only one: no certain primary"),
            ServerRole::ReadOnlyPrimary => Some("configured as primary, but it says read_only"),
            ServerRole::Unknown => Some("takes writes; waits until the other servers were asked too"),
            ServerRole::Yielding => Some("another server is being made the primary"),
            ServerRole::Primary | ServerRole::Replica | ServerRole::Deposed => None,
        };
        Standing { role, fitness: Fitness::Fit, note: note.map(Arc::from) }
    }

    /// The same with a reason in words.
    pub(super) fn because(self, note: impl Into<Arc<str>>) -> Standing {
        Standing { note: Some(note.into()), ..self }
    }
}
