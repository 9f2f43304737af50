//! Connections that rest between the statements and transactions of different sessions, and are lent.
//!
//! A connection rests on the worker whose session had it last. Each session goes for its own first, then for the one that
//! has rested longest, then for a new one; where the server has as many as it may have, it waits. Of a server that is
//! full, a worker keeps its share: what it has beyond that goes when others wait. How a session comes to a replica's is in
//! `replicas`.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    config::Reuse,
    pool::{Owner as Last, Rest},
    protocol::capability::Capabilities,
    session::{HomeWant, Input, Loan, Parking, ServerFacts, Side, Want},
    slab::Key,
    topology::{Failure, Place, Report, Resting, ServerId, UserIndex},
};

use super::{
    connection::Connection,
    departing::Farewell,
    lease::Search,
    mailbox::Order,
    turn::{Owner, Stage, Tenant, Timer, Worker},
};

/// Who may share a connection: sessions of one user whose clients were promised the same, and named one collation, which a
/// reset of MariaDB's goes back to. Where servers are told whose a connection is, also of one address: the server has chosen
/// the account by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// A replica's connection is read-only, and never home's.
    pub(super) side: Side,
    pub(super) user: UserIndex,
    pub(super) capabilities: Capabilities,
    collation: Option<u16>,
    origin: Option<IpAddr>,
}

/// A connection that rests.
#[derive(Debug)]
pub(super) struct Lendable {
    pub(super) connection: Connection,
    facts: ServerFacts,
    schema: Option<Vec<u8>>,
    place: Place,
    _counted: Resting,
}

/// Connections that nobody has wanted for this long are closed.
const REST_MAX: Duration = Duration::from_secs(60);

/// How often those are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// A connection that rests so long is not missed by its worker's own sessions when others wait for its place.
const UNUSED: Duration = Duration::from_secs(1);

const COM_QUIT: [u8; 5] = [1, 0, 0, 0, 0x01];

impl Lendable {
    pub(super) fn server(&self) -> ServerId {
        self.facts.id
    }

    pub(super) fn has_schema(&self) -> bool {
        self.schema.is_some()
    }
}

impl Worker {
    /// A session needs a home connection for a command.
    pub(super) fn lease_home(&mut self, key: Key, want: &HomeWant, avoid: Option<ServerId>) {
        let searches = self.tenants.get(key).is_some_and(|tenant| tenant.lease.search.is_some());
        if avoid.is_none() || !searches {
            self.begin_search_for_home(key, want);
        }
        if let Some(failed) = avoid {
            self.search_on(key, failed);
        }
        self.find_or_wait(key);
        self.hand_over(key);
    }

    fn begin_search_for_home(&mut self, key: Key, want: &HomeWant) {
        let Some(pool) = self.pool_of(key) else { return };
        let cluster = self.table.config.pool(pool).cluster;
        let deadline = self.now + self.table.config.cluster(cluster).hold_timeout;
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let HomeWant { required, has_schema, may_be_reset, last, ref fresh } = *want;
        let fresh = fresh.clone();
        let want = Want {
            required,
            avoid: None,
            is_bounded: false,
            lead: None,
            has_schema,
            may_be_reset,
            last: Some(last),
            fresh,
        };
        tenant.lease.search = Some(Search { want, tried: Vec::new(), deadline });
    }

    /// Tells the session of what its search came to at once.
    pub(super) fn hand_over(&mut self, key: Key) {
        if let Some(place) = self.found.iter().position(|(searcher, _)| *searcher == key) {
            let (_, input) = self.found.swap_remove(place);
            self.answer(key, input);
        }
    }

    /// Lends a resting connection to a session that searches for one, if there is one that fits.
    pub(super) fn lend(&mut self, key: Key) -> Option<()> {
        let tenant = self.tenants.get(key)?;
        let user = self.table.user(tenant.session.user()?)?;
        let config = self.table.user_config(user);
        if config.reuse != Reuse::Transaction || self.resting.is_empty() {
            return None;
        }
        let search = tenant.lease.search.as_ref()?;
        let servers = self.usable_servers(key)?;
        let kind = tenant.kind(Side::Server, user, search.want.required);
        let (has_schema, may_be_reset) = (search.want.has_schema, search.want.may_be_reset);
        let fits = |rest: &Rest<Kind, Lendable>| rest.kind == kind && servers.contains(&rest.connection.facts.id);
        let last = search.want.last.map(|count| Last { session: tenant.session.id().0, count });
        if let Some(own) = last.and_then(|last| self.resting.take_own(last, fits)) {
            return self.attach(key, Side::Server, own.connection, true);
        }
        let lent = self.resting.take_longest(|rest| {
            fits(rest) && may_be_reset && rest.is_for_others && (has_schema || rest.connection.schema.is_none())
        })?;
        self.attach(key, Side::Server, lent.connection, false)
    }

    /// The members of the session's pool, or of the first fallback that has any, without those that have failed it.
    fn usable_servers(&self, key: Key) -> Option<Vec<ServerId>> {
        let search = self.tenants.get(key)?.lease.search.as_ref();
        let has_failed =
            |id: &ServerId| search.is_some_and(|search| search.tried.iter().any(|(server, _)| server == id));
        let members = self.table.chain(self.pool_of(key)?).map(|pool| {
            let members = self.table.pool(pool).members.iter();
            members.map(|index| self.table.server(*index).id).filter(|id| !has_failed(id)).collect::<Vec<_>>()
        });
        members.into_iter().find(|members| !members.is_empty())
    }

    /// Gives a session a connection that rested.
    pub(super) fn attach(&mut self, key: Key, side: Side, lendable: Lendable, is_own: bool) -> Option<()> {
        let Lendable { connection, facts, schema, place, _counted } = lendable;
        self.own(connection.socket, Owner::Session(key, side));
        let config_count = self.config_count;
        let tenant = self.tenants.get_mut(key)?;
        match side {
            Side::Replica => {
                tenant.replica = Some(Box::new(connection));
                (tenant.lease.replica_place, tenant.lease.replica_config_count) = (Some(place), config_count);
            }
            Side::Server | Side::Client | Side::Errand => {
                tenant.server = Some(connection);
                (tenant.lease.place, tenant.lease.config_count) = (Some(place), config_count);
            }
        }
        tenant.lease.is_lent = true;
        self.found.push((key, Input::Lent(Loan { side, facts, is_own, schema })));
        Some(())
    }

    /// A session gives a connection back.
    pub(super) fn park(&mut self, key: Key, parking: Parking) {
        let user = self.tenants.get(key).and_then(|tenant| self.table.user(tenant.session.user()?));
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some((connection, place, config_count)) = tenant.detach(parking.side) else { return };
        let is_of_now = config_count == self.config_count;
        let owner = Last { session: tenant.session.id().0, count: parking.count };
        let user = user.filter(|user| self.table.user_config(*user).reuse == Reuse::Transaction);
        let kind = user.map(|user| tenant.kind(parking.side, user, parking.required));
        // Whatever was too much for that server, nobody else would have the client read again.
        self.read_on(key, Side::Client);
        let Parking { facts, schema, is_for_others, .. } = parking;
        let _counted = place.load().rest();
        let server = facts.id;
        let lendable = Lendable { connection, facts, schema, place, _counted };
        match kind {
            Some(kind) if is_of_now && self.stage == Stage::Open && lendable.connection.may_rest() => {
                match self.must_share(server) || !self.takes_sessions(server) {
                    true => self.dismiss(lendable),
                    false => {
                        self.lay_to_rest(Rest { owner, kind, is_for_others, since: self.now, connection: lendable })
                    }
                }
            }
            Some(_) | None => self.dismiss(lendable),
        }
        self.serve_soon |= !self.waiters.is_empty();
    }

    fn lay_to_rest(&mut self, mut rest: Rest<Kind, Lendable>) {
        // Its end must be noticed.
        rest.connection.connection.resume(&mut self.io);
        let socket = rest.connection.connection.socket;
        let key = self.resting.push(rest);
        self.own(socket, Owner::Resting(key));
        if !self.is_sweeping {
            self.is_sweeping = true;
            self.timers.set(self.now + SWEEP, Timer::Sweep);
        }
    }

    /// Says goodbye to a server. The place is free when the server has closed, too: until then it counts the connection.
    fn dismiss(&mut self, lendable: Lendable) {
        let Lendable { mut connection, place, _counted, .. } = lendable;
        connection.write(&mut self.io, COM_QUIT.to_vec());
        self.depart(connection, Some(place), Farewell::UntilForgotten);
    }

    /// Whether others wait for this server while this worker has more than its share of it.
    fn must_share(&self, server: ServerId) -> bool {
        let Some(index) = self.table.place(server) else { return true };
        let entry = self.table.server(index);
        let others_wait = entry.load.waiting() as usize > self.waiters.len();
        others_wait && entry.max_connections > 0 && self.places_at(server) + 1 > self.share_of(entry.max_connections)
    }

    fn share_of(&self, max_connections: u32) -> usize {
        let workers = self.company.handles.get().map_or(1, Vec::len).max(1);
        max_connections as usize / workers
    }

    /// Connections of this worker's sessions at a server.
    fn places_at(&self, server: ServerId) -> usize {
        let is_there = |facts: &ServerFacts| facts.id == server;
        let at = |facts: Option<&ServerFacts>| usize::from(facts.is_some_and(is_there));
        let sessions = self.tenants.iter().map(|(_, tenant)| &tenant.session);
        let lent: usize = sessions.map(|session| at(session.server()) + at(session.replica())).sum();
        lent + self.resting.iter().filter(|rest| is_there(&rest.connection.facts)).count()
    }

    /// All places are taken that a session may use: one that rests and is of no use to it makes room.
    pub(super) fn make_room(&mut self, key: Key) {
        let Some(servers) = self.usable_servers(key) else { return };
        if let Some(rest) = self.resting.take_longest(|rest| servers.contains(&rest.connection.facts.id)) {
            self.dismiss(rest.connection);
        }
    }

    /// Another worker's sessions wait for a place: one that rests here unused, or beyond this worker's share, goes.
    pub(super) fn place_wanted(&mut self) {
        let waited_for = |server: ServerId| {
            let index = self.table.place(server)?;
            let entry = self.table.server(index);
            let is_beyond = self.places_at(server) > self.share_of(entry.max_connections);
            (entry.load.waiting() > 0 && entry.max_connections > 0).then_some(is_beyond)
        };
        let now = self.now;
        let may_go: Vec<(ServerId, bool)> =
            self.table.servers.iter().filter_map(|server| Some((server.id, waited_for(server.id)?))).collect();
        let goes = |rest: &Rest<Kind, Lendable>| {
            let of = may_go.iter().find(|(server, _)| *server == rest.connection.facts.id);
            of.is_some_and(|(_, is_beyond)| *is_beyond || rest.since + UNUSED <= now)
        };
        if let Some(rest) = self.resting.take_longest(goes) {
            self.dismiss(rest.connection);
        }
    }

    /// Tells the other workers that somebody waits here.
    pub(super) fn ask_for_places(&mut self) {
        for (index, handle) in self.company.handles.get().into_iter().flatten().enumerate() {
            if index != self.index {
                // With a full mailbox it is asked again with the next retry.
                let _ = handle.send(Order::PlaceWanted);
            }
        }
    }

    /// Whether somebody waits for a place at the server where the session is at home.
    pub(super) fn answer_yield(&mut self, key: Key) {
        let server = self.tenants.get(key).and_then(|tenant| tenant.session.server());
        let load = server.and_then(|server| self.table.place(server.id)).map(|index| &self.table.server(index).load);
        // Without its server in the table nobody may keep it.
        let is_wanted = load.is_none_or(|load| load.waiting() > 0);
        self.answer(key, Input::Yield { is_wanted });
    }

    /// Its server has closed a connection that rests, or says something that nobody asked for.
    pub(super) fn resting_failed(&mut self, key: Key) {
        let Some(Rest { connection: Lendable { connection, facts, place, _counted, .. }, .. }) = self.resting.take(key)
        else {
            return;
        };
        self.report(Report { server: facts.id, failure: Failure::Reset });
        self.shut(connection.socket);
        self.free(Some(place));
    }

    /// Closes what has rested for too long.
    pub(super) fn sweep(&mut self) {
        self.dismiss_since(self.now.checked_sub(REST_MAX).unwrap_or(self.now));
        self.is_sweeping = !self.resting.is_empty();
        if self.is_sweeping {
            self.timers.set(self.now + SWEEP, Timer::Sweep);
        }
    }

    /// Closes all that rest: the configuration they were made by is gone, or the worker ends.
    pub(super) fn dismiss_all(&mut self) {
        self.dismiss_since(self.now);
    }

    /// Closes those that rest at servers which are taken out of use.
    pub(super) fn dismiss_drained(&mut self) {
        let servers: Vec<ServerId> = self.resting.iter().map(|rest| rest.connection.facts.id).collect();
        let drained: Vec<ServerId> = servers.into_iter().filter(|server| !self.takes_sessions(*server)).collect();
        while let Some(rest) = self.resting.take_longest(|rest| drained.contains(&rest.connection.facts.id)) {
            self.dismiss(rest.connection);
        }
    }

    fn dismiss_since(&mut self, since: Instant) {
        while let Some(rest) = self.resting.take_longest(|rest| rest.since <= since) {
            self.dismiss(rest.connection);
        }
    }

    /// The configuration is another one.
    pub(super) fn reconfigured(&mut self) {
        self.config_count += 1;
        self.dismiss_all();
        let (config, table) = (&self.table.config, &self.table);
        let is_configured =
            |pool: &str, server| config.pools.iter().any(|known| known.name == pool) && table.place(server).is_some();
        self.mailbox.counters.reply_times.forget_unused(is_configured);
    }
}

impl Tenant {
    /// Who may share its connections with it.
    pub(super) fn kind(&self, side: Side, user: UserIndex, capabilities: Capabilities) -> Kind {
        // The client's address, where servers are told of it.
        let origin = self.route.as_ref().map(|route| route.source.ip());
        Kind { side, user, capabilities, collation: self.session.collation(), origin }
    }

    /// Takes a connection from the session, with its place and the count of configurations that it was made under.
    fn detach(&mut self, side: Side) -> Option<(Connection, Place, u64)> {
        self.lease.is_lent = true;
        match side {
            Side::Replica => {
                let connection = self.replica.take()?;
                Some((*connection, self.lease.replica_place.take()?, self.lease.replica_config_count))
            }
            Side::Server | Side::Client | Side::Errand => {
                self.lease.search = None;
                Some((self.server.take()?, self.lease.place.take()?, self.lease.config_count))
            }
        }
    }
}
