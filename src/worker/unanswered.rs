//! New primaries that have answered no client of this worker yet: the first reply ends the post-mortem of their coming.

use crate::{
    config::Role,
    session::Side,
    slab::Key,
    topology::{Condition, Failure, Report, RoutingTable, ServerId, ServerRole},
};

use super::turn::Worker;

impl Worker {
    /// Another table is in force than `old`: whoever is a primary in it and was none before is waited for.
    pub(super) fn note_new_primaries(&mut self, old: &RoutingTable) {
        let before: Vec<ServerId> = primaries(old).collect();
        let now: Vec<ServerId> = primaries(&self.table).collect();
        self.unanswered.retain(|server| now.contains(server));
        self.unanswered.extend(now.into_iter().filter(|server| !before.contains(server)));
    }

    /// A server says something to a session: if that answers a client's statement at a new primary, the monitor is told.
    pub(super) fn note_first_reply(&mut self, key: Key) {
        let Some(session) = self.tenants.get(key).map(|tenant| &tenant.session) else { return };
        let server = session.server().filter(|_| session.is_busy_at(Side::Server)).map(|server| server.id);
        let Some(place) = self.unanswered.iter().position(|waited| Some(*waited) == server) else { return };
        let is_for_writes = self.pool_of(key).is_some_and(|pool| self.table.config.pool(pool).role == Role::Primary);
        if is_for_writes {
            let server = self.unanswered.swap_remove(place);
            self.report(Report { server, failure: Failure::Answered });
        }
    }
}

fn primaries(table: &RoutingTable) -> impl Iterator<Item = ServerId> + '_ {
    let is_primary =
        |health: &crate::topology::Health| health.condition == Condition::Up && health.role == ServerRole::Primary;
    table.servers.iter().filter(move |server| is_primary(&server.health)).map(|server| server.id)
}
