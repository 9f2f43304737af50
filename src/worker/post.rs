//! Reading the mail: what the control thread and the other workers say.

use std::sync::Arc;

use crate::{
    session::{DrainReason, Ending, Found, Input, KillTarget, KillTargets, ServerFacts, Session, SessionId},
    slab::Key,
    topology::RoutingTable,
};

use super::{
    mailbox::{Asker, Order, SessionRow},
    turn::{Stage, Tenant, Worker},
};

impl Worker {
    pub(super) fn read_mail(&mut self) {
        while let Ok(order) = self.mailbox.orders.try_recv() {
            self.guarded(None, |worker| worker.obey(order));
        }
        self.answer_inquirers();
        self.send_travellers();
        // A full mailbox had no room to say so.
        if !Arc::ptr_eq(&self.company.settings.table.load(), &self.table) {
            self.guarded(None, Worker::look_at_table);
        }
    }

    /// Tells each session that is asked to leave for a reason.
    fn send_away(&mut self, reason: impl Fn(&Tenant, &RoutingTable) -> Option<DrainReason>) {
        for key in self.tenants.keys() {
            let reason = self.tenants.get(key).and_then(|tenant| reason(tenant, &self.table));
            if let Some(reason) = reason {
                self.guarded(Some(key), |worker| worker.tell(key, Input::Drain(reason)));
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::TableChanged => self.look_at_table(),
            Order::Listen { key, mark, socket } => {
                self.listeners.insert(key, mark);
                self.io.listen(key, socket);
            }
            Order::StopListening { key } => {
                self.listeners.remove(&key);
                self.io.stop_listening(key);
            }
            Order::Sessions { limit, answer } => {
                let rows = self.tenants.iter().take(limit).map(|(_, tenant)| self.row(tenant)).collect();
                // Who asked may have gone meanwhile.
                let _ = answer.send(rows);
            }
            // Who asked may have gone meanwhile.
            Order::Echo(answer) => answer.send(()).unwrap_or_default(),
            Order::Drain => self.drain(),
            Order::Stop => self.stop(),
            Order::Adopt { arrival } => self.take_in(arrival),
            Order::FindSession { id, is_to_end, asker } => self.answer_asker(id, is_to_end, asker),
            Order::Found { asker: Asker { session, .. }, id, found } => {
                self.guarded(Some(session), |worker| worker.tell(session, Input::SessionFound(id, found)));
            }
            Order::KillHomeless { id, user } => self.end_homeless(id, &user),
            Order::KillRefused { id } => self.spare(id),
            Order::PlaceFreed => self.serve_waiters(),
            Order::PlaceWanted => self.place_wanted(),
            Order::WayWanted => self.way_wanted(),
        }
    }

    fn look_at_table(&mut self) {
        let table = self.company.settings.table.load_full();
        let config_changed = !Arc::ptr_eq(&table.config, &self.table.config);
        let redirect_changed = table.redirect != self.table.redirect;
        let old = std::mem::replace(&mut self.table, table);
        self.note_new_primaries(&old);
        if config_changed {
            // They leave as soon as they can.
            self.reconfigured();
            self.send_away(removed);
        }
        self.dismiss_drained();
        if redirect_changed {
            self.recall();
        }
        self.look_at_all_servers();
        // A server that is back may be full: whoever has its connections must know of those who wait.
        self.requeue_waiters();
        self.serve_waiters();
    }

    /// Tells each session that it may have to go elsewhere, or may stay.
    fn recall(&mut self) {
        for key in self.tenants.keys() {
            self.guarded(Some(key), |worker| worker.tell(key, Input::Recall));
        }
    }

    fn drain(&mut self) {
        self.stage = Stage::Draining;
        self.dismiss_all();
        for key in self.listeners.keys().copied().collect::<Vec<_>>() {
            self.listeners.remove(&key);
            self.io.stop_listening(key);
        }
        self.send_away(|_, _| Some(DrainReason::Shutdown));
    }

    /// Cuts off whoever is still there, as a server does that is killed; each has its line in the log all the same.
    fn stop(&mut self) {
        self.stage = Stage::Stopped;
        for key in self.tenants.keys() {
            self.abandon(key, Ending::Drained);
        }
    }

    fn row(&self, tenant: &Tenant) -> SessionRow {
        let session = &tenant.session;
        SessionRow {
            id: session.id().0,
            worker: self.index,
            user: String::from_utf8_lossy(session.user().unwrap_or_default()).into_owned(),
            address: tenant.address.to_string(),
            server: session.server().map(|server| server.name.to_string()),
            home: session.server().map(|server| server.id),
            reads_at: session.replica().map(|server| server.id),
            replica: session.replica().map(|replica| replica.name.to_string()),
            last_server: session.last_server().map(|name| name.to_string()),
            state: session.activity(),
            pins: session.pins(),
            ties: session.ties(),
            tied_seconds: session.tied_since().map(|since| self.now.saturating_duration_since(since).as_secs()),
            commands: session.commands(),
            age_seconds: self.now.duration_since(tenant.born).as_secs(),
        }
    }

    /// Finds where a session works, here or on another worker.
    pub(super) fn find_session(&mut self, key: Key, id: SessionId, is_to_end: bool) {
        if id.worker() == self.index {
            let found = self.found(id, is_to_end);
            return self.answer(key, Input::SessionFound(id, found));
        }
        let asker = Asker { worker: self.index, session: key };
        let asked = self
            .company
            .handles
            .get()
            .and_then(|handles| handles.get(id.worker()))
            .is_some_and(|handle| handle.send(Order::FindSession { id, is_to_end, asker }).is_ok());
        if !asked {
            self.answer(key, Input::SessionFound(id, Found::Nobody));
        }
    }

    fn answer_asker(&mut self, id: SessionId, is_to_end: bool, asker: Asker) {
        let found = self.found(id, is_to_end);
        if let Some(handle) = self.company.handles.get().and_then(|handles| handles.get(asker.worker)) {
            // With its mailbox full the asker's own deadline answers for us.
            let _ = handle.send(Order::Found { asker, id, found });
        }
    }

    fn found(&mut self, id: SessionId, is_to_end: bool) -> Found {
        let tenant = self.session_keys.get(&id).and_then(|key| self.tenants.get_mut(*key));
        let Some(session) = tenant.map(|tenant| &mut tenant.session) else { return Found::Nobody };
        match (kill_targets(session), session.user()) {
            (Some(targets), _) => {
                if is_to_end {
                    session.is_to_be_killed(self.now);
                }
                Found::At(targets)
            }
            (None, Some(user)) if session.is_homeless() => match session.works_at().and_then(kill_target) {
                Some(statement) => Found::Reading(user.into(), statement),
                None => Found::Homeless(user.into()),
            },
            (None, _) => Found::Nobody,
        }
    }

    /// A session that somebody wanted to kill is not killed, on whichever worker it is.
    pub(super) fn kill_was_refused(&mut self, id: SessionId) {
        if id.worker() == self.index {
            return self.spare(id);
        }
        if let Some(handle) = self.company.handles.get().and_then(|handles| handles.get(id.worker())) {
            // Of a worker with a full mailbox the session hears nothing: what it was told before is true for a while only.
            let _ = handle.send(Order::KillRefused { id });
        }
    }

    fn spare(&mut self, id: SessionId) {
        let tenant = self.session_keys.get(&id).and_then(|key| self.tenants.get_mut(*key));
        if let Some(tenant) = tenant {
            tenant.session.is_not_to_be_killed();
        }
    }

    /// Ends a session of the killer's user, on whichever worker it is.
    pub(super) fn kill_homeless(&mut self, killer: Key, id: SessionId) {
        let user = self.tenants.get(killer).and_then(|tenant| tenant.session.user());
        let Some(user) = user.map(Box::from) else { return };
        if id.worker() == self.index {
            return self.end_homeless(id, &user);
        }
        if let Some(handle) = self.company.handles.get().and_then(|handles| handles.get(id.worker())) {
            // A worker with a full mailbox does not end it; the killer sees it live on, and says it again.
            let _ = handle.send(Order::KillHomeless { id, user });
        }
    }

    fn end_homeless(&mut self, id: SessionId, user: &[u8]) {
        let Some(key) = self.session_keys.get(&id).copied() else { return };
        if self.tenants.get(key).is_some_and(|tenant| tenant.session.user() == Some(user)) {
            self.guarded(Some(key), |worker| worker.tell(key, Input::Killed));
        }
    }
}

/// Where a session works; nowhere, if it has not come to a server, or has left the last one.
fn kill_targets(session: &Session) -> Option<KillTargets> {
    Some(KillTargets { session: kill_target(session.server()?)?, statement: kill_target(session.works_at()?)? })
}

fn kill_target(server: &ServerFacts) -> Option<KillTarget> {
    (server.thread_id != 0).then_some(KillTarget { server: server.id, thread_id: server.thread_id })
}

/// The session's user or server is no longer in the configuration.
fn removed(tenant: &Tenant, table: &RoutingTable) -> Option<DrainReason> {
    let session = &tenant.session;
    if session.user().is_some_and(|user| table.user(user).is_none()) {
        return Some(DrainReason::UserRemoved);
    }
    let server = session.server()?;
    (!server.id.is_outside() && table.place(server.id).is_none()).then_some(DrainReason::ServerRemoved)
}
