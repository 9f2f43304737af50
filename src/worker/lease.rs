//! Finding a server for a session, reserving a place at it, connecting; and waiting when there is none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::SockAddr;
use tracing::{debug, warn};

use crate::{
    config::PoolIndex,
    io::{self, Errno, SocketId},
    pool::{Served, Waiting},
    route::{self, Explanation, Question, Refusal},
    session::{Input, LeaseFailure, ReplicaWant, ServerFacts, Side, Want},
    slab::Key,
    topology::{self, Failure, Place, Report, ServerEntry, ServerId, ServerIndex},
};

use super::{
    connection::Connection,
    departing::Farewell,
    mailbox::Order,
    turn::{Owner, Timer, Worker},
};

/// What a session holds, and how far it is on its way to a server.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// Its place among the sessions of its user.
    user: Option<topology::Seat>,
    /// Its place at its server.
    place: Option<Place>,
    /// The same at its replica.
    replica_place: Option<Place>,
    /// The same at the server of an errand.
    errand_place: Option<Place>,
    /// Wanted, and not yet had.
    search: Option<Search>,
    /// The server that is being connected, for the session or its errand.
    connecting: Option<Connecting>,
}

/// A search for a server.
#[derive(Debug)]
struct Search {
    want: Want,
    /// Servers that failed it, and when; at most as many as the pools have.
    tried: Vec<(ServerId, Instant)>,
    /// When the session gives up.
    deadline: Instant,
}

#[derive(Debug)]
struct Connecting {
    side: Side,
    server: ServerFacts,
    deadline: Instant,
}

/// How often the waiting are offered the servers although nobody said that there is a place.
const RETRY: Duration = Duration::from_millis(100);

/// How long a session leaves a server alone that has failed it.
const REST: Duration = Duration::from_secs(1);

impl Lease {
    /// The places at server and replica, to be given back.
    pub(super) fn into_places(self) -> (Option<Place>, Option<Place>) {
        (self.place, self.replica_place)
    }
}

impl Worker {
    /// Starts or continues the search for a server.
    pub(super) fn lease(&mut self, key: Key, want: Want) {
        match want.avoid {
            Some(failed) => self.search_on(key, failed),
            None => {
                if let Err(failure) = self.begin_search(key, want) {
                    return self.answer(key, Input::LeaseFailed(failure));
                }
            }
        }
        self.find_or_wait(key);
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
    fn search_on(&mut self, key: Key, failed: ServerId) {
        if let Some(search) = self.tenants.get_mut(key).and_then(|tenant| tenant.lease.search.as_mut()) {
            search.tried.retain(|(server, _)| *server != failed);
            search.tried.push((failed, self.now));
        }
    }

    fn find_or_wait(&mut self, key: Key) {
        if self.pool_of(key).is_some_and(|pool| self.waiters.any_for(pool)) {
            // Whoever comes stands behind those who wait already.
            self.wait(key);
            return self.serve_waiters();
        }
        if self.find(key).is_err() {
            self.wait(key);
        }
    }

    fn wait(&mut self, key: Key) {
        let Some(waiting) = self.waiting(key) else { return };
        if self.waiters.push(waiting).is_err() {
            let why = "too many sessions wait for a server".to_owned();
            return self.answer(key, Input::LeaseFailed(LeaseFailure::ServersFull(why)));
        }
        self.waiters_retry.get_or_insert(self.now + RETRY);
    }

    fn waiting(&self, key: Key) -> Option<Waiting<Key, PoolIndex>> {
        let pool = self.pool_of(key)?;
        let search = self.tenants.get(key)?.lease.search.as_ref()?;
        let marks = self.members(pool).map(|server| server.load.wait()).collect();
        Some(Waiting { session: key, pool, deadline: search.deadline, marks })
    }

    /// Where the session's user belongs, by the table of this moment.
    fn pool_of(&self, key: Key) -> Option<PoolIndex> {
        let user = self.table.user(self.tenants.get(key)?.session.user()?)?;
        Some(self.table.user_config(user).pool)
    }

    fn members(&self, pool: PoolIndex) -> impl Iterator<Item = &ServerEntry> {
        self.table
            .chain(pool)
            .flat_map(|pool| self.table.pool(pool).members.iter())
            .map(|&index| self.table.server(index))
    }

    /// Picks a server, takes a place at it and begins to connect.
    fn find(&mut self, key: Key) -> Result<(), Refusal> {
        loop {
            let tie_break = self.next_tie_break();
            let pool = self.pool_of(key).ok_or(Refusal::NoServer)?;
            let Some(search) = self.tenants.get(key).and_then(|tenant| tenant.lease.search.as_ref()) else {
                return Ok(());
            };
            let resting: Vec<ServerId> = search.tried.iter().map(|(server, _)| *server).collect();
            let question =
                Question { pool, excluded: &resting, required: search.want.required, fresh: None, tie_break };
            let server = route::decide(&self.table, &question)?.server;
            let entry = self.table.server(server);
            let id = entry.id;
            // Another worker may have taken the last place meanwhile: then the next decision sees it full.
            let Some(place) = entry.load.reserve(entry.max_connections) else { continue };
            match self.connect(key, Side::Server, server) {
                Ok(()) => {
                    if let Some(tenant) = self.tenants.get_mut(key) {
                        tenant.lease.place = Some(place);
                    }
                    return Ok(());
                }
                Err(error) => {
                    drop(place);
                    self.search_on(key, id);
                    let server = &*self.table.server(server).name;
                    warn!(server, %error, "cannot make a socket for a server; raise the limit of open files");
                }
            }
        }
    }

    fn next_tie_break(&mut self) -> u32 {
        self.tie_break = self.tie_break.wrapping_add(1);
        self.tie_break
    }

    /// Begins to connect. An error is one of ours, for want of descriptors or memory: the server has not heard of it, and
    /// must not be believed to be down.
    fn connect(&mut self, key: Key, side: Side, server: ServerIndex) -> std::io::Result<()> {
        let entry = self.table.server(server);
        let endpoint = entry.endpoint.as_ref().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let timeout = self.table.config.cluster(entry.cluster).connect_timeout;
        let facts = ServerFacts {
            id: entry.id,
            name: Arc::clone(&entry.name),
            login_timeout: timeout,
            thread_id: 0,
            is_local: matches!(endpoint, topology::Endpoint::Unix(_)),
        };
        let address = socket_address(endpoint)?;
        let socket = io::socket::outgoing(&address)?;
        let socket = self.io.connect(socket, &address).map_err(|_| std::io::ErrorKind::QuotaExceeded)?;
        self.own(socket, Owner::Session(key, side));
        let deadline = self.now + timeout;
        self.timers.set(deadline, Timer::Connecting(key));
        let Some(tenant) = self.tenants.get_mut(key) else { return Ok(()) };
        tenant.lease.connecting = Some(Connecting { side, server: facts, deadline });
        match side {
            Side::Server => tenant.server = Some(Connection::new(socket)),
            Side::Replica => tenant.replica = Some(Box::new(Connection::new(socket))),
            Side::Errand => tenant.errand = Some(Connection::new(socket)),
            Side::Client => unreachable!("clients connect to us"),
        }
        Ok(())
    }

    /// A connect has ended, one way or the other.
    pub(super) fn connected(&mut self, socket: SocketId, result: Result<(), Errno>) {
        let Some(Owner::Session(key, side)) = self.owner(socket) else { return };
        let Some(connecting) = self.tenants.get_mut(key).and_then(|tenant| tenant.lease.connecting.take()) else {
            return;
        };
        match (result, side) {
            (Ok(()), Side::Errand) => {
                self.io.receive(socket);
                self.tell(key, Input::ErrandConnected(connecting.server));
            }
            (Ok(()), Side::Replica) => {
                self.io.receive(socket);
                self.tell(key, Input::ReplicaLeased(connecting.server));
            }
            // The configuration has changed meanwhile: a session must not settle where it would be sent away.
            (Ok(()), _) if self.table.place(connecting.server.id).is_none() => {
                self.give_up_server(key);
                self.find_or_wait(key);
            }
            (Ok(()), _) => {
                self.io.receive(socket);
                self.tell(key, Input::Leased(connecting.server));
            }
            (Err(error), _) => {
                debug!(server = &*connecting.server.name, %error, "cannot connect");
                let failure = if error.is_timeout() { Failure::TimedOut } else { Failure::Refused };
                self.connect_failed(key, side, connecting.server.id, failure);
            }
        }
    }

    /// The deadline of a connect has come.
    pub(super) fn connecting_due(&mut self, key: Key, at: Instant) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(connecting) = tenant.lease.connecting.take_if(|connecting| connecting.deadline == at) else { return };
        self.connect_failed(key, connecting.side, connecting.server.id, Failure::TimedOut);
    }

    fn connect_failed(&mut self, key: Key, side: Side, server: ServerId, failure: Failure) {
        self.report(Report { server, failure });
        match side {
            Side::Errand => {
                self.end_errand(key);
                self.tell(key, Input::ErrandFailed);
            }
            Side::Replica => {
                self.release_replica(key);
                self.tell(key, Input::ReplicaFailed);
            }
            Side::Client | Side::Server => {
                self.give_up_server(key);
                self.search_on(key, server);
                self.find_or_wait(key);
            }
        }
    }

    /// Drops a server connection that never came about.
    fn give_up_server(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let (connection, place) = (tenant.server.take(), tenant.lease.place.take());
        if let Some(connection) = connection {
            self.shut(connection.socket);
        }
        self.free(place);
    }

    /// The session gives up its server; what was written to it is still delivered.
    pub(super) fn release(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let place = tenant.lease.place.take();
        let connection = tenant.server.take();
        // Whatever was too much for that server, nobody else would have the client read again.
        self.read_on(key, Side::Client);
        match connection {
            Some(connection) => self.depart(connection, place, Farewell::WhenWritten),
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
        let began = match self.table.place(server) {
            Some(index) => {
                // An errand is short and may not wait: it counts, and no bound refuses it.
                let place = self.table.server(index).load.reserve(0);
                if let Some(tenant) = self.tenants.get_mut(key) {
                    tenant.lease.errand_place = place;
                }
                self.connect(key, Side::Errand, index).is_ok()
            }
            None => false,
        };
        if !began {
            self.end_errand(key);
            self.answer(key, Input::ErrandFailed);
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

    /// Finds a replica for the session's reads. Nobody waits for one: without any, reads go to the primary.
    pub(super) fn lease_replica(&mut self, key: Key, want: &ReplicaWant) {
        if self.find_replica(key, want).is_none() {
            self.answer(key, Input::ReplicaFailed);
        }
    }

    fn find_replica(&mut self, key: Key, want: &ReplicaWant) -> Option<()> {
        let tie_break = self.next_tie_break();
        let user = self.table.user(self.tenants.get(key)?.session.user()?)?;
        let pool = self.table.user_config(user).split.as_ref()?.read;
        let fresh = want.fresh.as_ref();
        let question = Question { pool, excluded: &want.avoid, required: want.required, fresh, tie_break };
        let found = route::decide(&self.table, &question).ok()?;
        // The fallback of a read pool is where the session is at home already.
        if found.pool != pool {
            return None;
        }
        let entry = self.table.server(found.server);
        let place = entry.load.reserve(entry.max_connections)?;
        if let Err(error) = self.connect(key, Side::Replica, found.server) {
            warn!(server = &*self.table.server(found.server).name, %error, "cannot make a socket for a replica");
            return None;
        }
        self.tenants.get_mut(key)?.lease.replica_place = Some(place);
        Some(())
    }

    pub(super) fn release_replica(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let place = tenant.lease.replica_place.take();
        tenant.lease.connecting.take_if(|connecting| connecting.side == Side::Replica);
        let connection = tenant.replica.take();
        // Whatever was too much for that replica, nobody else would have the client read again.
        self.read_on(key, Side::Client);
        match connection {
            Some(connection) => self.depart(*connection, place, Farewell::WhenWritten),
            None => self.free(place),
        }
    }

    /// Offers the servers to the waiting, first come, first served.
    pub(super) fn serve_waiters(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let empty = crate::pool::Waiters::new(crate::config::limits::WAITERS_MAX);
        let mut waiters = std::mem::replace(&mut self.waiters, empty);
        let now = self.now;
        waiters.serve(|waiting| {
            if let Some(search) = self.tenants.get_mut(waiting.session).and_then(|tenant| tenant.lease.search.as_mut())
            {
                search.tried.retain(|(_, at)| *at + REST > now);
            }
            // A session that ends by a fault is served, too: it waits no more.
            let mut found = Ok(());
            self.guarded(Some(waiting.session), |worker| found = worker.find(waiting.session));
            match found {
                Ok(()) => Served::Yes,
                Err(_) if route::decide(&self.table, &Question::without_a_session(waiting.pool)).is_ok() => {
                    Served::NotThis
                }
                Err(_) => Served::Nobody,
            }
        });
        self.waiters = waiters;
    }

    /// After a change of the configuration the waiting may belong elsewhere: they queue again, in their order.
    pub(super) fn requeue_waiters(&mut self) {
        for key in self.waiters.take_all() {
            self.guarded(Some(key), |worker| worker.wait(key));
        }
    }

    /// The session has what it searched for.
    pub(super) fn end_search(&mut self, key: Key) {
        if let Some(tenant) = self.tenants.get_mut(key) {
            tenant.lease.search = None;
        }
    }

    /// The deadlines of the waiting, and their retry.
    pub(super) fn waiters_due(&mut self) {
        if self.waiters_retry.is_some_and(|at| at <= self.now) {
            self.serve_waiters();
            self.waiters_retry = (!self.waiters.is_empty()).then_some(self.now + RETRY);
        }
        if self.waiters.next_deadline().is_none_or(|at| at > self.now) {
            return;
        }
        for key in self.waiters.expire(self.now) {
            let failure = self.failure(key);
            self.guarded(Some(key), |worker| worker.tell(key, Input::LeaseFailed(failure)));
        }
    }

    /// Why a session has found no server, in words.
    fn failure(&self, key: Key) -> LeaseFailure {
        let search = self.tenants.get(key).and_then(|tenant| tenant.lease.search.as_ref());
        let (Some(search), Some(pool)) = (search, self.pool_of(key)) else { return LeaseFailure::UserGone };
        let question = Question { pool, excluded: &[], required: search.want.required, fresh: None, tie_break: 0 };
        let why = in_one_line(&route::explain(&self.table, &question));
        match route::decide(&self.table, &question) {
            Err(Refusal::AllFull) => LeaseFailure::ServersFull(why),
            Ok(_) | Err(Refusal::NoServer) => LeaseFailure::NoServer(why),
        }
    }
}

fn socket_address(endpoint: &topology::Endpoint) -> std::io::Result<SockAddr> {
    match endpoint {
        topology::Endpoint::Tcp(address) => Ok(SockAddr::from(*address)),
        topology::Endpoint::Unix(path) => SockAddr::unix(path),
    }
}

/// An explanation as an error message has it: each pool with its servers and why each was not used.
fn in_one_line(explanation: &Explanation) -> String {
    let mut line = String::new();
    for step in &explanation.steps {
        let separator = if line.is_empty() { "" } else { "; " };
        line += &format!("{separator}pool {}", step.pool);
        for (place, explained) in step.servers.iter().enumerate() {
            let separator = if place == 0 { ": " } else { ", " };
            line += &format!("{separator}{} {} ({})", explained.server, explained.verdict, explained.heard);
        }
    }
    line
}
