//! Replicas for the reads of sessions: each has a connection of its own, or they share those of the worker.
//!
//! Who has its own waits for none: without a replica, reads go to the primary. Where connections are shared, a session has
//! one for one statement, and stays with the server where it read last while that is fair. Of several servers it gets the
//! one with the fewest connections in use, and waits where all are taken.

use std::time::Instant;

use tracing::warn;

use crate::{
    config::{PoolIndex, Reuse},
    pool::{Owner as Last, Rest},
    route::{self, Question, Refusal},
    session::{Input, LastReplica, LeaseFailure, ReplicaWant, Side},
    slab::Key,
    topology::{ServerId, ServerIndex, UserIndex},
};

use super::{
    lease::Miss,
    lending::{Kind, Lendable},
    turn::Worker,
};

/// A session's search for a connection to a replica that is lent.
#[derive(Debug)]
pub(super) struct ReplicaSearch {
    want: ReplicaWant,
    /// When the read goes to the primary instead.
    pub(super) deadline: Instant,
}

impl Worker {
    /// Finds a replica for the session's next read.
    pub(super) fn lease_replica(&mut self, key: Key, want: Box<ReplicaWant>) {
        if want.shared.is_some() && self.begin_replica_search(key, *want.clone()).is_some() {
            self.find_or_wait(key);
            return self.hand_over(key);
        }
        if self.find_own_replica(key, &want).is_none() {
            self.answer(key, Input::ReplicaFailed);
        }
    }

    /// A search that may wait: half of what a session may wait is left for the primary.
    fn begin_replica_search(&mut self, key: Key, want: ReplicaWant) -> Option<()> {
        let user = self.reader(key)?;
        let config = self.table.user_config(user);
        let pool = config.split.as_ref().filter(|_| config.reuse == Reuse::Transaction)?.read;
        let cluster = self.table.config.pool(pool).cluster;
        let deadline = self.now + self.table.config.cluster(cluster).hold_timeout / 2;
        let lease = &mut self.tenants.get_mut(key)?.lease;
        lease.is_lent = true;
        lease.replica_search = Some(Box::new(ReplicaSearch { want, deadline }));
        Some(())
    }

    fn reader(&self, key: Key) -> Option<UserIndex> {
        self.table.user(self.tenants.get(key)?.session.user()?)
    }

    /// A connection of the session's own.
    fn find_own_replica(&mut self, key: Key, want: &ReplicaWant) -> Option<()> {
        let tie_break = self.next_tie_break();
        let pool = self.table.user_config(self.reader(key)?).split.as_ref()?.read;
        let question = question(want, pool, tie_break);
        let found = route::decide(&self.table, &question).ok()?;
        // The fallback of a read pool is where the session is at home already.
        if found.pool != pool {
            return None;
        }
        self.connect_replica(key, pool, found.server).ok()
    }

    fn connect_replica(&mut self, key: Key, pool: PoolIndex, server: ServerIndex) -> Result<(), Refusal> {
        let entry = self.table.server(server);
        // Another worker may have taken the last place since the server was chosen.
        let place = entry.load.reserve(entry.max_connections).ok_or(Refusal::AllFull)?;
        let reply_times = self.reply_times(pool, server);
        if let Err(error) = self.connect(key, Side::Replica, server, reply_times) {
            warn!(server = &*self.table.server(server).name, %error, "cannot make a socket for a replica");
            return Err(Refusal::NoServer);
        }
        self.tenants.get_mut(key).ok_or(Refusal::NoServer)?.lease.replica_place = Some(place);
        Ok(())
    }

    /// A connection that is lent, or a new one. Where there is no replica at all the search is over.
    pub(super) fn find_shared_replica(&mut self, key: Key) -> Result<(), Miss> {
        match self.try_shared_replica(key) {
            Ok(()) => {
                self.forget_replica_search(key);
                Ok(())
            }
            Err(Refusal::AllFull) => {
                self.make_room(key);
                Err(Miss::Refused)
            }
            Err(Refusal::NoServer) => {
                self.forget_replica_search(key);
                self.found.push((key, Input::ReplicaFailed));
                Ok(())
            }
        }
    }

    fn try_shared_replica(&mut self, key: Key) -> Result<(), Refusal> {
        let tie_break = self.next_tie_break();
        let server = self.choose_replica(key, tie_break).ok_or(Refusal::NoServer)??;
        if self.lend_replica(key, server).is_some() {
            return Ok(());
        }
        let pool = self.pool_of(key).ok_or(Refusal::NoServer)?;
        self.connect_replica(key, pool, server)
    }

    /// The server where the session read last, if it may stay there; else the one with the fewest connections in use.
    fn choose_replica(&self, key: Key, tie_break: u32) -> Option<Result<ServerIndex, Refusal>> {
        let want = &self.tenants.get(key)?.lease.replica_search.as_ref()?.want;
        let pool = self.pool_of(key)?;
        let lendable = self.lendable_replicas(key)?;
        let question = Question { lendable: &lendable, ..question(want, pool, tie_break) };
        let last = want.shared.as_ref()?.last.and_then(|last| self.table.place(last.server));
        let may_stay = |server: &ServerIndex| {
            let is_member = self.table.pool(pool).candidates().any(|member| member == *server);
            let verdict = route::verdict(&self.table, pool, *server, &question);
            is_member && verdict.is_usable() && route::is_fair(&self.table, pool, *server)
        };
        if let Some(server) = last.filter(may_stay) {
            return Some(Ok(server));
        }
        Some(match route::decide(&self.table, &question) {
            // The fallback of a read pool is where the session is at home already.
            Ok(found) if found.pool != pool => Err(Refusal::NoServer),
            Ok(found) => Ok(found.server),
            Err(refusal) => Err(refusal),
        })
    }

    /// Servers with a connection at rest that the session may have.
    fn lendable_replicas(&self, key: Key) -> Option<Vec<ServerId>> {
        let borrower = self.borrower(key)?;
        let fitting = self.resting.iter().filter(|rest| borrower.may_have(rest));
        Some(fitting.map(|rest| rest.connection.server()).collect())
    }

    fn borrower(&self, key: Key) -> Option<Borrower> {
        let tenant = self.tenants.get(key)?;
        let want = &tenant.lease.replica_search.as_ref()?.want;
        let shared = want.shared.as_ref()?;
        let kind = tenant.kind(Side::Replica, self.reader(key)?, want.required);
        let last = shared.last.map(|last| self.last_of(key, last.count));
        Some(Borrower { kind, last: last.flatten(), has_schema: shared.has_schema })
    }

    fn last_of(&self, key: Key, count: u64) -> Option<Last> {
        Some(Last { session: self.tenants.get(key)?.session.id().0, count })
    }

    fn lend_replica(&mut self, key: Key, server: ServerIndex) -> Option<()> {
        let id = self.table.server(server).id;
        let borrower = self.borrower(key)?;
        let is_there = |rest: &Rest<Kind, Lendable>| rest.connection.server() == id && borrower.may_have(rest);
        if let Some(own) = borrower.last.and_then(|last| self.resting.take_own(last, is_there)) {
            return self.attach(key, Side::Replica, own.connection, true);
        }
        let lent = self.resting.take_longest(is_there)?;
        self.attach(key, Side::Replica, lent.connection, false)
    }

    /// The session asks about its last read: only the connection where that ran can say.
    pub(super) fn reclaim_replica(&mut self, key: Key, last: LastReplica) {
        let own = self.last_of(key, last.count).and_then(|owner| {
            self.resting
                .take_own(owner, |rest| rest.kind.side == Side::Replica && rest.connection.server() == last.server)
        });
        match own.and_then(|own| self.attach(key, Side::Replica, own.connection, true)) {
            Some(()) => self.hand_over(key),
            None => self.answer(key, Input::ReplicaFailed),
        }
    }

    fn forget_replica_search(&mut self, key: Key) {
        if let Some(tenant) = self.tenants.get_mut(key) {
            tenant.lease.replica_search = None;
        }
    }

    /// A search for a replica cannot go on: the read goes to the primary.
    pub(super) fn end_replica_search(&mut self, key: Key) {
        if self.tenants.get(key).is_some_and(|tenant| tenant.lease.replica_search.is_some()) {
            self.forget_replica_search(key);
            self.answer(key, Input::ReplicaFailed);
        }
    }

    /// What a session is told whose search was in vain.
    pub(super) fn failed_search(&mut self, key: Key, failure: LeaseFailure) -> Input {
        let search = self.tenants.get_mut(key).and_then(|tenant| tenant.lease.replica_search.take());
        if search.is_some() { Input::ReplicaFailed } else { Input::LeaseFailed(failure) }
    }
}

/// Who borrows a replica's connection.
struct Borrower {
    kind: Kind,
    last: Option<Last>,
    has_schema: bool,
}

impl Borrower {
    /// Whether it may have a connection: its own as it is, another's after a reset.
    fn may_have(&self, rest: &Rest<Kind, Lendable>) -> bool {
        let is_own = self.last == Some(rest.owner);
        let is_for_all = rest.is_for_others && (self.has_schema || !rest.connection.has_schema());
        rest.kind == self.kind && (is_own || is_for_all)
    }
}

fn question(want: &ReplicaWant, pool: PoolIndex, tie_break: u32) -> Question<'_> {
    let fresh = want.fresh.as_ref();
    Question { pool, excluded: &want.avoid, required: want.required, fresh, lendable: &[], tie_break }
}
