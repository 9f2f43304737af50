//! Finding a server for a session and reserving a place at it; what a session holds, and gives back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use crate::{
    config::PoolIndex,
    latency::Histogram,
    pool::Waiting,
    route::{self, Decision, Question, Refusal},
    session::{Input, Lead, LeaseFailure, Side, Want},
    slab::Key,
    topology::{self, Place, ServerEntry, ServerId, ServerIndex, ServerLoad},
};

use super::{
    connecting::Connecting, counters, departing::Farewell, mailbox::Order, pace::LoginPlace, replicas::ReplicaSearch,
    turn::Worker,
};

/// What a session holds, and how far it is on its way to a server.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// Its place among the sessions of its user.
    user: Option<topology::Seat>,
    /// Its place at its server.
    pub(super) place: Option<Place>,
    /// The same at its replica.
    pub(super) replica_place: Option<Place>,
    /// The same at the server of an errand.
    errand_place: Option<Place>,
    /// The worker's count of configurations when the connection to the server was made or lent.
    pub(super) config_count: u64,
    /// The same of the connection to the replica.
    pub(super) replica_config_count: u64,
    /// The session has been lent a connection, or has given one back.
    pub(super) is_lent: bool,
    /// Its place among those who log in at its server.
    pub(super) login: Option<LoginPlace>,
    /// Wanted, and not yet had.
    pub(super) search: Option<Search>,
    /// The same of a replica's connection, where sessions share them.
    pub(super) replica_search: Option<Box<ReplicaSearch>>,
    /// The server that is being connected, for the session or its errand.
    pub(super) connecting: Option<Connecting>,
}

/// A search for a server.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) want: Want,
    /// Servers that failed it, and when; at most as many as the pools have.
    pub(super) tried: Vec<(ServerId, Instant)>,
    /// When the session gives up.
    pub(super) deadline: Instant,
}

/// Why a session was not given a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// There is none for it now.
    Refused,
    /// As many log in already as may at once.
    Paced,
}

/// How often the waiting are offered the servers although nobody said that there is a place.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// How long a session leaves a server alone that has failed it.
pub(super) const REST: Duration = Duration::from_secs(1);

impl Lease {
    /// How the connection to the server ends: others wait for the place of one that was lent.
    pub(super) fn farewell(&self) -> Farewell {
        if self.is_lent { Farewell::UntilForgotten } else { Farewell::WhenWritten }
    }

    /// The places at server and replica, to be given back.
    pub(super) fn into_places(self) -> (Option<Place>, Option<Place>) {
        (self.place, self.replica_place)
    }
}

impl Worker {
    /// Starts or continues the search for a server.
    pub(super) fn lease(&mut self, key: Key, want: Want) {
        match want.avoid {
            Some(failed) => {
                if want.is_bounded && self.is_search_over(key) {
                    let failure = self.failure(key);
                    return self.answer(key, Input::LeaseFailed(failure));
                }
                self.search_on(key, failed);
                self.want_instead(key, want);
            }
            None => {
                if let Err(failure) = self.begin_search(key, want) {
                    return self.answer(key, Input::LeaseFailed(failure));
                }
            }
        }
        self.find_or_wait(key);
        self.hand_over(key);
    }

    fn begin_search(&mut self, key: Key, want: Want) -> Result<(), LeaseFailure> {
        let Some(tenant) = self.tenants.get_mut(key) else { return Ok(()) };
        let name = tenant.session.user().unwrap_or_default();
        let user = self.table.user(name).ok_or(LeaseFailure::UserGone)?;
        let config = self.table.user_config(user);
        // COM_CHANGE_USER: the place of the user before is free before the next one is asked for.
        tenant.lease.user = None;
        let limit = config.max_connections;
        let seat = self
            .table
            .user_load(user)
            .reserve(limit)
            .ok_or(LeaseFailure::UserFull { limit: limit.unwrap_or(u32::MAX) })?;
        let cluster = self.table.config.pool(config.pool).cluster;
        let deadline = self.now + self.table.config.cluster(cluster).hold_timeout;
        tenant.lease.user = Some(seat);
        tenant.lease.search = Some(Search { want, tried: Vec::new(), deadline });
        Ok(())
    }

    /// The server that was found has failed the session: not that one again, for now.
    pub(super) fn search_on(&mut self, key: Key, failed: ServerId) {
        if let Some(search) = self.tenants.get_mut(key).and_then(|tenant| tenant.lease.search.as_mut()) {
            search.tried.retain(|(server, _)| *server != failed);
            search.tried.push((failed, self.now));
        }
    }

    fn is_search_over(&self, key: Key) -> bool {
        let search = self.tenants.get(key).and_then(|tenant| tenant.lease.search.as_ref());
        search.is_none_or(|search| search.deadline <= self.now)
    }

    /// The search goes on for something else than it began with.
    fn want_instead(&mut self, key: Key, want: Want) {
        if let Some(search) = self.tenants.get_mut(key).and_then(|tenant| tenant.lease.search.as_mut()) {
            search.want = want;
        }
    }

    pub(super) fn find_or_wait(&mut self, key: Key) {
        if self.travel(key) {
            return;
        }
        if self.pool_of(key).is_some_and(|pool| self.waiters.any_for(pool)) {
            // Whoever comes stands behind those who wait already.
            self.begin_wait(key);
            self.serve_soon = true;
            return;
        }
        if self.find(key).is_err() {
            self.begin_wait(key);
        }
    }

    fn begin_wait(&mut self, key: Key) {
        counters::add(&self.mailbox.counters.waits, 1);
        self.wait(key);
    }

    pub(super) fn wait(&mut self, key: Key) {
        let Some(waiting) = self.waiting(key) else { return self.end_replica_search(key) };
        let deadline = waiting.deadline;
        if self.waiters.push(waiting).is_err() {
            let why = "too many sessions wait for a server".to_owned();
            let input = self.failed_search(key, LeaseFailure::ServersFull(why));
            return self.answer(key, input);
        }
        self.asks_others = true;
        self.waiters_retry.get_or_insert(self.now + RETRY);
        self.waiters_deadline = Some(self.waiters_deadline.map_or(deadline, |first| first.min(deadline)));
    }

    fn waiting(&self, key: Key) -> Option<Waiting<Key, PoolIndex>> {
        let pool = self.pool_of(key)?;
        let lease = &self.tenants.get(key)?.lease;
        let of_replica = lease.replica_search.as_ref().map(|search| search.deadline);
        let deadline = of_replica.or(lease.search.as_ref().map(|search| search.deadline))?;
        let marks = self.members(pool).map(|server| server.load.wait()).collect();
        Some(Waiting { session: key, pool, deadline, marks })
    }

    /// Where the session's user looks for what the session searches, by the table of this moment.
    pub(super) fn pool_of(&self, key: Key) -> Option<PoolIndex> {
        let tenant = self.tenants.get(key)?;
        let config = self.table.user_config(self.table.user(tenant.session.user()?)?);
        match tenant.lease.replica_search {
            Some(_) => config.split.as_ref().map(|split| split.read),
            None => Some(config.pool),
        }
    }

    fn members(&self, pool: PoolIndex) -> impl Iterator<Item = &ServerEntry> {
        self.table
            .chain(pool)
            .flat_map(|pool| self.table.pool(pool).members.iter())
            .map(|&index| self.table.server(index))
    }

    /// Picks a server, takes a place at it and begins to connect.
    pub(super) fn find(&mut self, key: Key) -> Result<(), Miss> {
        if self.tenants.get(key).is_some_and(|tenant| tenant.lease.replica_search.is_some()) {
            return self.find_shared_replica(key);
        }
        if self.lend(key).is_some() {
            return Ok(());
        }
        let Some(search) = self.tenants.get(key).and_then(|tenant| tenant.lease.search.as_ref()) else {
            return Ok(());
        };
        let mut resting: Vec<ServerId> = search.tried.iter().map(|(server, _)| *server).collect();
        let mut is_paced = false;
        loop {
            let tie_break = self.next_tie_break();
            let pool = self.pool_of(key).ok_or(Miss::Refused)?;
            let Some(search) = self.tenants.get(key).and_then(|tenant| tenant.lease.search.as_ref()) else {
                return Ok(());
            };
            let (required, fresh) = (search.want.required, search.want.fresh.as_ref());
            let question =
                Question { excluded: &resting, required, fresh, tie_break, ..Question::without_a_session(pool) };
            let preferred = self.preferred(search.want.lead.as_ref(), &question);
            let server = match preferred.map_or_else(|| route::decide(&self.table, &question), Ok) {
                Ok(decision) => decision.server,
                Err(_) if is_paced => return Err(Miss::Paced),
                Err(refusal) => {
                    if refusal == Refusal::AllFull {
                        self.make_room(key);
                    }
                    return Err(Miss::Refused);
                }
            };
            let id = self.table.server(server).id;
            let Some(login) = self.paces.login(id, self.now) else {
                is_paced = true;
                resting.push(id);
                continue;
            };
            let entry = self.table.server(server);
            // Another worker may have taken the last place meanwhile: then the next decision sees it full.
            let Some(place) = entry.load.reserve(entry.max_connections) else { continue };
            let reply_times = self.reply_times(pool, server);
            match self.connect(key, Side::Server, server, reply_times) {
                Ok(()) => {
                    if let Some(tenant) = self.tenants.get_mut(key) {
                        tenant.lease.place = Some(place);
                        tenant.lease.login = Some(login);
                    }
                    return Ok(());
                }
                Err(error) => {
                    drop(place);
                    resting.push(id);
                    self.search_on(key, id);
                    let server = &*self.table.server(server).name;
                    warn!(server, %error, "cannot make a socket for a server; raise the limit of open files");
                }
            }
        }
    }

    /// The server that another one has sent the session to, if that may serve it.
    fn preferred(&self, lead: Option<&Lead>, question: &Question<'_>) -> Option<Decision> {
        let Some(&Lead::Configured(wanted)) = lead else { return None };
        let others = self.table.servers.iter().map(|server| server.id).filter(|id| *id != wanted);
        let excluded: Vec<ServerId> = others.chain(question.excluded.iter().copied()).collect();
        route::decide(&self.table, &Question { excluded: &excluded, ..*question }).ok()
    }

    /// Where replies are timed to sessions that this pool sends to that server.
    pub(super) fn reply_times(&self, pool: PoolIndex, server: ServerIndex) -> Arc<Histogram> {
        let (pool, server) = (&self.table.config.pool(pool).name, self.table.server(server).id);
        self.mailbox.counters.reply_times.of(pool, server)
    }

    pub(super) fn next_tie_break(&mut self) -> u32 {
        self.tie_break = self.tie_break.wrapping_add(1);
        self.tie_break
    }

    /// The session gives up its server; what was written to it is still delivered.
    pub(super) fn release(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let farewell = tenant.lease.farewell();
        let place = tenant.lease.place.take();
        self.serve_soon |= tenant.lease.login.take().is_some() && !self.waiters.is_empty();
        let connection = tenant.server.take();
        // Whatever was too much for that server, nobody else would have the client read again.
        self.read_on(key, Side::Client);
        match connection {
            Some(connection) => self.depart(connection, place, farewell),
            None => self.free(place),
        }
    }

    /// Gives a place back, and tells all workers if somebody waits for it.
    pub(super) fn free(&mut self, place: Option<Place>) {
        let Some(place) = place else { return };
        if place.release() == 0 {
            return;
        }
        for handle in self.company.handles.get().into_iter().flatten() {
            // With a full mailbox the worker's own retry finds the place.
            let _ = handle.send(Order::PlaceFreed);
        }
    }

    /// Connects to another server for one statement.
    pub(super) fn errand(&mut self, key: Key, server: ServerId) {
        if self.begin_errand(key, server).is_none() {
            self.end_errand(key);
            self.answer(key, Input::ErrandFailed);
        }
    }

    fn begin_errand(&mut self, key: Key, server: ServerId) -> Option<()> {
        if server.is_outside() {
            let outside = self.company.settings.outside.server(server)?;
            self.reserve_errand(key, &outside.load);
            return self.connect_outside(key, Side::Errand, &outside).ok();
        }
        let index = self.table.place(server)?;
        let load = Arc::clone(&self.table.server(index).load);
        self.reserve_errand(key, &load);
        // An errand's statement is ours, and not timed.
        self.connect(key, Side::Errand, index, Arc::default()).ok()
    }

    /// An errand is short and may not wait: it counts, and no bound refuses it.
    fn reserve_errand(&mut self, key: Key, load: &Arc<ServerLoad>) {
        if let Some(tenant) = self.tenants.get_mut(key) {
            tenant.lease.errand_place = load.reserve(0);
        }
    }

    pub(super) fn end_errand(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let place = tenant.lease.errand_place.take();
        // Its deadline must not find it: the session's own server would be given up in its place.
        tenant.lease.connecting.take_if(|connecting| connecting.side == Side::Errand);
        match tenant.errand.take() {
            Some(connection) => self.depart(connection, place, Farewell::WhenWritten),
            None => self.free(place),
        }
    }

    pub(super) fn release_replica(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let (place, farewell) = (tenant.lease.replica_place.take(), tenant.lease.farewell());
        tenant.lease.connecting.take_if(|connecting| connecting.side == Side::Replica);
        let connection = tenant.replica.take();
        // Whatever was too much for that replica, nobody else would have the client read again.
        self.read_on(key, Side::Client);
        match connection {
            Some(connection) => self.depart(*connection, place, farewell),
            None => self.free(place),
        }
    }

    /// The session has what it searched for.
    pub(super) fn end_search(&mut self, key: Key) {
        if let Some(tenant) = self.tenants.get_mut(key) {
            tenant.lease.search = None;
            self.serve_soon |= tenant.lease.login.take().is_some() && !self.waiters.is_empty();
        }
    }
}
