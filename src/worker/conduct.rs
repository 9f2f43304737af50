//! Moving bytes between a session's sockets as its steps say, and carrying out what it asks for.

use tracing::debug;

use crate::{
    io::{Io, Span},
    session::{DrainReason, Ending, Input, Output, Side, Step, Surroundings},
    slab::Key,
    topology::Report,
};

use super::{
    connection::Connection,
    counters,
    departing::Farewell,
    gate::Visitor,
    strangers::Stranger,
    turn::{Tenant, Worker},
};

impl Worker {
    /// Bytes came from one side of a session.
    pub(super) fn received(&mut self, key: Key, side: Side, span: Span) {
        let counter = if side == Side::Client {
            &self.mailbox.counters.client_bytes
        } else {
            &self.mailbox.counters.server_bytes
        };
        counters::add(counter, span.len() as u64);
        if side == Side::Server && !self.unanswered.is_empty() {
            self.note_first_reply(key);
        }
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(connection) = tenant.connection(side) else { return };
        if connection.is_sealed() {
            return self.received_records(key, side, span.bytes());
        }
        if connection.inbox.is_empty() {
            self.show(key, side, span);
        } else {
            tenant.keep(side, span);
        }
        self.pump(key);
    }

    /// Shows a received buffer to the session, and passes on what it says to, straight from the buffer.
    pub(super) fn show(&mut self, key: Key, side: Side, span: Span) {
        let mut rest = Some(span);
        while let Some(mut span) = rest {
            let Some(tenant) = self.tenants.get_mut(key) else { return };
            let surroundings =
                Surroundings { table: &self.table, rsa: &self.company.settings.rsa, now: self.now, tick: self.tick };
            rest = match tenant.session.step(side, span.bytes(), surroundings) {
                Step::Forward { to, length } if length == span.len() => {
                    tenant.forward(&mut self.io, side, to, span);
                    None
                }
                Step::Forward { to, length } => {
                    tenant.forward(&mut self.io, side, to, span.split_to(length));
                    Some(span)
                }
                Step::Renumber { to, length, at, number } => {
                    let mut first = span.split_to(length);
                    first.overwrite(at, &number);
                    tenant.forward(&mut self.io, side, to, first);
                    (!span.is_empty()).then_some(span)
                }
                Step::Consume { length } => {
                    if tenant.session.is_logging_in() {
                        span.wipe(length);
                    }
                    span.advance(length);
                    (!span.is_empty()).then_some(span)
                }
                Step::NeedBytes { .. } | Step::Wait => {
                    tenant.keep(side, span);
                    None
                }
            };
            let did_anything = self.carry_out(key);
            if let Some(span) = rest.take_if(|_| did_anything && self.awaits_records(key, side)) {
                return self.received_records(key, side, span.bytes());
            }
        }
    }

    /// Received buffers of a turn were tried. Past the high-water mark of what is left, the side it came from is not read.
    pub(super) fn sent(&mut self, key: Key, side: Side, unsent: &[Span]) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(to) = tenant.connection(side) else { return };
        to.sent(&mut self.io, unsent);
        for from in opposite(side) {
            tenant.hold_back(&mut self.io, *from);
        }
    }

    /// Shows the session the bytes that wait, as long as it uses any: one side's may wait for what the other side says.
    pub(super) fn pump(&mut self, key: Key) {
        while self.tenants.get(key).is_some_and(Tenant::has_waiting_bytes) {
            let mut progress = false;
            for side in [Side::Client, Side::Server, Side::Replica, Side::Errand] {
                progress |= self.pump_side(key, side);
            }
            if !progress {
                return;
            }
        }
    }

    fn pump_side(&mut self, key: Key, side: Side) -> bool {
        let Some(tenant) = self.tenants.get_mut(key) else { return false };
        let surroundings =
            Surroundings { table: &self.table, rsa: &self.company.settings.rsa, now: self.now, tick: self.tick };
        let Tenant { session, client, server, replica, errand, .. } = tenant;
        let connection = match side {
            Side::Client => Some(&mut *client),
            Side::Server => server.as_mut(),
            Side::Replica => replica.as_deref_mut(),
            Side::Errand => errand.as_mut(),
        };
        let Some(connection) = connection.filter(|connection| !connection.inbox.is_empty()) else { return false };
        match session.step(side, connection.inbox.bytes(), surroundings) {
            Step::Forward { to, length } => {
                let bytes = connection.inbox.bytes()[..length].to_vec();
                connection.inbox.advance(length);
                self.forward_copy(key, side, to, bytes);
            }
            Step::Renumber { to, length, at, number } => {
                let mut bytes = connection.inbox.bytes()[..length].to_vec();
                bytes[at..at + number.len()].copy_from_slice(&number);
                connection.inbox.advance(length);
                self.forward_copy(key, side, to, bytes);
            }
            Step::Consume { length } => connection.inbox.advance(length),
            Step::NeedBytes { at_least } => {
                debug_assert!(at_least > connection.inbox.bytes().len(), "a session must not ask for what it has");
                if side != Side::Client || !connection.is_congested() {
                    connection.resume(&mut self.io);
                }
                return self.carry_out(key);
            }
            Step::Wait => {
                if connection.is_overfed() {
                    connection.pause(&mut self.io);
                }
                return self.carry_out(key);
            }
        }
        if self.carry_out(key) && self.awaits_records(key, side) {
            self.open_inbox(key, side);
        }
        self.read_on(key, side);
        true
    }

    fn forward_copy(&mut self, key: Key, from: Side, to: Side, bytes: Vec<u8>) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(to) = tenant.connection(to) else { return };
        to.write(&mut self.io, bytes);
        tenant.hold_back(&mut self.io, from);
    }

    /// Some of what waited for `side` is written: perhaps the opposite side may be read again.
    pub(super) fn relieve(&mut self, key: Key, side: Side) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        if tenant.connection(side).is_none_or(|connection| !connection.is_relieved()) {
            return;
        }
        for from in opposite(side) {
            self.read_on(key, *from);
        }
        if side == Side::Client {
            self.read_on(key, side);
            // A client may wait to be read although much of what it sent waits: the session wants more of that.
            self.pump(key);
        }
    }

    /// Reads a side again, unless what comes of it could not be written, or what came of it was not used yet.
    pub(super) fn read_on(&mut self, key: Key, side: Side) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        // What a client sends is passed on, or answered by us.
        let is_answerable = side != Side::Client || !tenant.client.is_congested();
        let is_congested = |to: &Side| tenant.connection(*to).is_some_and(|to| to.is_congested());
        if !is_answerable || opposite(side).iter().any(is_congested) {
            return;
        }
        if let Some(connection) = tenant.connection(side).filter(|connection| !connection.is_overfed()) {
            connection.resume(&mut self.io);
        }
    }

    /// Tells a session something, does what it asks for, and shows it the bytes that waited for that.
    pub(super) fn tell(&mut self, key: Key, input: Input) {
        self.answer(key, input);
        self.pump(key);
    }

    /// Tells a session something in answer to what it asks for, and does what it asks for then. Whoever carries out the
    /// first shows it the bytes that wait: from here, each of many commands that wait would be handled inside the one
    /// before, until the stack is full.
    pub(super) fn answer(&mut self, key: Key, input: Input) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let surroundings =
            Surroundings { table: &self.table, rsa: &self.company.settings.rsa, now: self.now, tick: self.tick };
        tenant.session.handle(input, surroundings);
        self.carry_out(key);
    }

    /// The peer of one side has closed, or the connection broke.
    pub(super) fn closed(&mut self, key: Key, side: Side) {
        // A session goes on without an errand or a replica, perhaps with the next one: this one's socket must be gone before.
        match side {
            Side::Errand => self.end_errand(key),
            Side::Replica => self.release_replica(key),
            Side::Client | Side::Server => {}
        }
        self.tell(key, Input::Closed(side));
    }

    /// Carries out what the session asked for. Says whether there was anything.
    pub(super) fn carry_out(&mut self, key: Key) -> bool {
        let mut any = false;
        while let Some(tenant) = self.tenants.get_mut(key) {
            let Some(output) = tenant.session.poll_output() else {
                tenant.set_timer(key, &mut self.timers);
                break;
            };
            any = true;
            self.perform(key, output);
        }
        any
    }

    fn perform(&mut self, key: Key, output: Output) {
        match output {
            Output::StartTls(side) => self.start_tls(key, side),
            Output::Send(side, bytes) => {
                if let Some(connection) = self.tenants.get_mut(key).and_then(|tenant| tenant.connection(side)) {
                    connection.write(&mut self.io, bytes);
                    // Only a client can make us answer as often as it likes.
                    if side == Side::Client && connection.is_congested() {
                        connection.pause(&mut self.io);
                    }
                }
            }
            Output::Inquire => self.inquire(key),
            Output::Reckon => self.reckoners.push_back(key),
            Output::Doubt => self.company.settings.directory.doubt(self.now),
            Output::Learnt { user, password } => self.learnt(key, &user, &password),
            Output::Unlearnt { user, password } => self.company.settings.directory.unlearn(&user, &password),
            Output::Lease(want) => {
                self.known(key);
                self.lease(key, want);
            }
            Output::Release => self.release(key),
            Output::LeaseHome(want, avoid) => self.lease_home(key, &want, avoid),
            Output::Park(parking) => self.park(key, *parking),
            Output::Yield => self.answer_yield(key),
            Output::SetAside(server) => self.set_aside(key, server),
            Output::TakeBack => self.take_back(key),
            Output::DropAside => self.drop_aside(key),
            Output::LeaseReplica(want) => self.lease_replica(key, want),
            Output::ReclaimReplica(last) => self.reclaim_replica(key, last),
            Output::ReleaseReplica => self.release_replica(key),
            Output::FindSession { id, is_to_end } => self.find_session(key, id, is_to_end),
            Output::KillHomeless(id) => self.kill_homeless(key, id),
            Output::KillRefused(id) => self.kill_was_refused(id),
            Output::Errand(server) => self.errand(key, server),
            Output::EndErrand => self.end_errand(key),
            Output::Settled => self.settled(key),
            Output::Report(server, failure) => self.report(Report { server, failure }),
            Output::Entered => self.entered(key),
            Output::Close(ending) => self.end(key, ending),
        }
    }

    /// Tells the monitor of a failure. When it has no room for more it has enough to check.
    pub(super) fn report(&mut self, report: Report) {
        debug!(worker = self.index, ?report, "a server failed a session");
        let _ = self.company.settings.reports.try_send(report);
    }

    /// The session has a server and passes commands from now on.
    fn entered(&mut self, key: Key) {
        self.end_search(key);
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(user) = tenant.session.user() else { return };
        debug!(
            session = %tenant.session.id(),
            user = %String::from_utf8_lossy(user),
            server = tenant.session.server().map(|server| &*server.name),
            tls = tenant.client.agreement(),
            server_tls = tenant.server.as_ref().and_then(Connection::agreement),
            "logged in"
        );
        if self.table.user(user).is_none() {
            self.answer(key, Input::Drain(DrainReason::UserRemoved));
        }
        self.look_at_home(key);
    }

    /// The session has another home.
    fn settled(&mut self, key: Key) {
        self.end_search(key);
        self.look_at_home(key);
    }

    /// The session is over: what was written to its peers is still delivered, then their sockets are closed.
    fn end(&mut self, key: Key, ending: Ending) {
        let Some(tenant) = self.evict(key) else { return };
        self.log_end(&tenant, ending);
        self.note_failed_login(&tenant, ending);
        self.mailbox.counters.count_end(ending);
        let Tenant { client, server, replica, errand, aside, lease, .. } = tenant;
        aside.into_iter().for_each(|aside| self.dismiss_aside(*aside));
        let server_farewell = lease.farewell();
        let (place, replica_place) = lease.into_places();
        self.depart_client(client, ending);
        match server {
            Some(server) => self.depart(server, place, server_farewell),
            None => self.free(place),
        }
        match replica {
            Some(replica) => self.depart(*replica, replica_place, server_farewell),
            None => self.free(replica_place),
        }
        if let Some(errand) = errand {
            self.depart(errand, None, Farewell::WhenWritten);
        }
    }

    /// Who guesses passwords is to be kept from going on.
    fn note_failed_login(&self, tenant: &Tenant, ending: Ending) {
        let is_failed_login = matches!(ending, Ending::LoginDenied | Ending::HostNotAllowed);
        let per_minute = self.table.config.limits.failed_logins.filter(|_| is_failed_login);
        if let Some((per_minute, address)) = per_minute.zip(tenant.session.origin()) {
            self.company.gate.login_failed(Visitor::of(address), per_minute, self.now);
        }
    }

    fn log_end(&self, tenant: &Tenant, ending: Ending) {
        let session = &tenant.session;
        let user = String::from_utf8_lossy(session.user().unwrap_or_default());
        let server = session.server().map(|server| &*server.name);
        let (id, host, reason, commands) = (session.id().0, &*tenant.address, ending.name(), session.commands());
        match ending {
            Ending::Quit | Ending::ClientGone | Ending::Drained | Ending::Redirected | Ending::Killed => {
                debug!(session = id, %user, client = host, server, reason, commands, "session ended");
            }
            Ending::Fault => {
                tracing::error!(session = id, %user, client = host, server, reason, commands, "session ended")
            }
            Ending::LoginDenied
            | Ending::HostNotAllowed
            | Ending::LoginTimeout
            | Ending::ServerDenied
            | Ending::ServerGone
            | Ending::NoServer
            | Ending::Limit
            | Ending::ClientProtocol
            | Ending::ServerProtocol
            | Ending::ClientTls => {
                tracing::info!(session = id, %user, client = host, server, reason, commands, "session ended");
            }
        }
    }

    /// Takes a session out of all lists.
    fn evict(&mut self, key: Key) -> Option<Tenant> {
        let tenant = self.tenants.remove(key)?;
        self.session_keys.remove(&tenant.session.id());
        self.no_stranger_any_more(Stranger::Session(key), tenant.born);
        self.waiters.remove(key);
        counters::subtract(&self.mailbox.counters.sessions, 1);
        counters::add(&self.mailbox.counters.commands, tenant.session.commands());
        self.strike_out();
        Some(tenant)
    }

    /// Ends a session without a word: after a fault of ours, or when the process ends now.
    pub(super) fn abandon(&mut self, key: Key, ending: Ending) {
        let Some(tenant) = self.evict(key) else { return };
        self.log_end(&tenant, ending);
        self.mailbox.counters.count_end(ending);
        let Tenant { client, server, replica, errand, aside, lease, .. } = tenant;
        aside.into_iter().for_each(|aside| self.shut_aside(*aside));
        for connection in [Some(client), server, replica.map(|replica| *replica), errand].into_iter().flatten() {
            self.shut(connection.socket);
        }
        let (place, replica_place) = lease.into_places();
        self.free(place);
        self.free(replica_place);
    }
}

impl Tenant {
    /// Keeps bytes that the session cannot use yet.
    pub(super) fn keep(&mut self, side: Side, mut span: Span) {
        if let Some(connection) = self.connection(side) {
            connection.inbox.push(span.bytes());
        }
        if self.session.is_logging_in() {
            span.wipe(span.len());
        }
    }

    /// Passes bytes on.
    fn forward(&mut self, io: &mut Io, from: Side, to: Side, span: Span) {
        let Some(to) = self.connection(to) else { return };
        to.forward(io, span);
        self.hold_back(io, from);
    }

    /// A side whose bytes wait past the high-water mark of who gets them is not read until they are written.
    fn hold_back(&mut self, io: &mut Io, from: Side) {
        let is_congested = |to: &Side| self.connection(*to).is_some_and(|to| to.is_congested());
        if opposite(from).iter().any(is_congested)
            && let Some(from) = self.connection(from)
        {
            from.pause(io);
        }
    }

    /// There are bytes that the session could not use when they came.
    fn has_waiting_bytes(&self) -> bool {
        let replica = self.replica.as_deref();
        let beside = self.server.iter().chain(replica).chain(&self.errand);
        !self.client.inbox.is_empty() || beside.into_iter().any(|connection| !connection.inbox.is_empty())
    }
}

/// Those whose bytes go to `side`, and who get its bytes.
fn opposite(side: Side) -> &'static [Side] {
    match side {
        Side::Client => &[Side::Server, Side::Replica],
        Side::Server | Side::Replica | Side::Errand => &[Side::Client],
    }
}
