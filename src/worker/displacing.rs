//! Sessions whose servers are not what they were when the sessions came to them.

use crate::{
    config::Role,
    session::{Displacement, Input, Side},
    slab::Key,
    topology::{Condition, ServerId, ServerRole, Service},
};

use super::turn::Worker;

impl Worker {
    /// The routing table is another one: whether the session may stay at its servers.
    pub(super) fn look_at_servers(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get(key) else { return };
        let replica = tenant.session.replica().map(|replica| replica.id);
        let is_at_replica = tenant.session.works_at().is_some_and(|server| Some(server.id) == replica);
        if is_at_replica && replica.is_some_and(|replica| self.is_down(replica)) {
            self.closed(key, Side::Replica);
        }
        self.look_at_replica(key);
        self.look_at_aside(key);
        if let Some(why) = self.displacement(key) {
            self.tell(key, Input::Displaced(why));
        }
    }

    /// Whether the session may stay with its replica.
    fn look_at_replica(&mut self, key: Key) {
        let replica = |worker: &Worker| Some(worker.tenants.get(key)?.session.replica()?.id);
        match replica(self).map_or(Service::InUse, |server| self.service(server)) {
            Service::InUse => {}
            Service::Draining { .. } => self.tell(key, Input::ReplicaDrained),
            Service::OutOfUse { .. } => {
                self.tell(key, Input::ReplicaOutOfUse);
                if replica(self).is_some() {
                    self.closed(key, Side::Replica);
                }
            }
        }
    }

    /// Whether sessions may come to a server.
    pub(super) fn takes_sessions(&self, server: ServerId) -> bool {
        self.table.place(server).is_some_and(|place| self.table.server(place).service.is_in_use())
    }

    /// What an operator wants of a server. One that is no longer configured has its own way out.
    pub(super) fn service(&self, server: ServerId) -> Service {
        self.table.place(server).map_or(Service::InUse, |place| self.table.server(place).service)
    }

    /// The session has just come to its home, while the table may have changed.
    pub(super) fn look_at_home(&mut self, key: Key) {
        if let Some(why) = self.displacement(key) {
            self.answer(key, Input::Displaced(why));
        }
    }

    /// Why the session cannot stay with its home server, if it cannot.
    fn displacement(&self, key: Key) -> Option<Displacement> {
        let home = self.tenants.get(key)?.session.server()?.id;
        if self.is_down(home) {
            return Some(Displacement::Down);
        }
        match self.service(home) {
            Service::InUse => {}
            Service::Draining { .. } => return Some(Displacement::Drained),
            Service::OutOfUse { .. } => return Some(Displacement::OutOfUse),
        }
        let pool = self.pool_of(key)?;
        let place = self.table.place(home)?;
        let is_for_writes = self.table.config.pool(pool).role == Role::Primary;
        let health = &self.table.server(place).health;
        let is_member = |pool| self.table.pool(pool).members.contains(&place);
        if !is_for_writes || health.condition != Condition::Up || self.table.chain(pool).any(is_member) {
            return None;
        }
        Some(if health.role == ServerRole::Yielding { Displacement::Yields } else { Displacement::Demoted })
    }

    fn is_down(&self, server: ServerId) -> bool {
        let place = self.table.place(server);
        place.is_some_and(|place| self.table.server(place).health.condition == Condition::Down)
    }
}
