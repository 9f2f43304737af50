//! Sessions whose servers are not what they were when the sessions came to them.

use std::time::Instant;

use crate::{
    config::Role,
    session::{Displacement, Input, Side},
    slab::Key,
    topology::{Condition, ServerId, ServerIndex, ServerRole, Service},
};

use super::turn::{Timer, Worker};

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
        let Some(server) = replica(self) else { return };
        match self.service(server) {
            Service::InUse if !self.is_to_be_left(server) => {}
            Service::InUse | Service::Draining { .. } => self.tell(key, Input::ReplicaDrained),
            Service::OutOfUse { .. } => {
                self.tell(key, Input::ReplicaOutOfUse);
                if replica(self).is_some() {
                    self.closed(key, Side::Replica);
                }
            }
        }
    }

    /// Whether sessions may come to a server. Nobody has a say in one outside of the configuration.
    pub(super) fn takes_sessions(&self, server: ServerId) -> bool {
        server.is_outside() || self.table.place(server).is_some_and(|place| self.table.server(place).keeps_sessions())
    }

    /// Whether an operator, here or there, takes a server out of use. One that is no longer configured has its own way out.
    fn is_to_be_left(&self, server: ServerId) -> bool {
        self.table.place(server).is_some_and(|place| !self.table.server(place).keeps_sessions())
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
        let place = self.table.place(home)?;
        let pool = self.pool_of(key)?;
        let is_for_writes = self.table.config.pool(pool).role == Role::Primary;
        let health = &self.table.server(place).health;
        if health.condition == Condition::Down {
            let is_gone = (is_for_writes && self.has_successor(place)) || self.overdue_at(place) <= self.now;
            return Some(if is_gone { Displacement::Gone } else { Displacement::Down });
        }
        match self.service(home) {
            Service::InUse if !self.is_to_be_left(home) => {}
            Service::InUse | Service::Draining { .. } => return Some(Displacement::Drained),
            Service::OutOfUse { .. } => return Some(Displacement::OutOfUse),
        }
        let is_member = |pool| self.table.pool(pool).members.contains(&place);
        if !is_for_writes || health.condition != Condition::Up || self.table.chain(pool).any(is_member) {
            return None;
        }
        Some(if health.role == ServerRole::Yielding { Displacement::Yields } else { Displacement::Demoted })
    }

    /// When a server that is down has been so for longer than its sessions may wait.
    fn overdue_at(&self, place: ServerIndex) -> Instant {
        let server = self.table.server(place);
        server.health.since + self.table.config.cluster(server.cluster).server_timeout
    }

    /// Looks at the servers again when the next one will be overdue.
    pub(super) fn await_overdue(&mut self) {
        let down = (0..self.table.servers.len()).map(ServerIndex);
        let down = down.filter(|place| self.table.server(*place).health.condition == Condition::Down);
        let next = down.map(|place| self.overdue_at(place)).filter(|at| *at > self.now).min();
        if let Some(next) = next.filter(|next| self.overdue.is_none_or(|set| *next < set)) {
            self.overdue = Some(next);
            self.timers.set(next, Timer::Overdue);
        }
    }

    /// Some server is overdue.
    pub(super) fn overdue(&mut self) {
        self.overdue = None;
        self.look_at_all_servers();
    }

    /// Whether each session may stay at its servers.
    pub(super) fn look_at_all_servers(&mut self) {
        for key in self.tenants.keys() {
            self.guarded(Some(key), |worker| worker.look_at_servers(key));
        }
        self.await_overdue();
    }

    /// Whether another server of its cluster takes the writes by now. When a server that hung goes on, a commit that comes
    /// to it then would be acknowledged, and lost.
    fn has_successor(&self, place: ServerIndex) -> bool {
        let old = self.table.server(place);
        let mut others =
            self.table.servers.iter().filter(|server| server.cluster == old.cluster && server.id != old.id);
        others.any(|server| server.health.condition == Condition::Up && server.health.role == ServerRole::Primary)
    }

    fn is_down(&self, server: ServerId) -> bool {
        let place = self.table.place(server);
        place.is_some_and(|place| self.table.server(place).health.condition == Condition::Down)
    }
}
