//! Taking clients in, and sharing them among the workers.
//!
//! The kernel spreads new connections over the workers' sockets by a hash, which is uneven while there are few. So the
//! worker that accepts a client passes it to the one with the fewest sessions, unless that is itself.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    io::socket::prepare_accepted,
    session::{Admission, Birth, Session, SessionId, Side},
};

use super::{
    connection::Connection,
    counters,
    lease::Lease,
    mailbox::Handle,
    turn::{Owner, Stage, Tenant, Worker},
};

/// Clients beyond `max_sessions` that are let in far enough to be told so in words; more are just closed.
const TURNED_AWAY_MAX: u32 = 64;

impl Worker {
    /// A client was accepted here.
    pub(super) fn accepted(&mut self, socket: OwnedFd) {
        counters::add(&self.mailbox.counters.accepted, 1);
        let handed_on = match self.idlest_colleague() {
            Some(colleague) => colleague.adopt(socket),
            None => Err(socket),
        };
        if let Err(socket) = handed_on {
            self.mailbox.burden.fetch_add(1, Ordering::Relaxed);
            self.take_in(socket);
        }
    }

    /// The worker that has fewer sessions than all others, and than this one.
    fn idlest_colleague(&self) -> Option<&Handle> {
        let handles = self.company.handles.get()?;
        let burden = |index: usize| handles[index].burden().load(Ordering::Relaxed);
        let idlest = (0..handles.len()).min_by_key(|&index| (burden(index), index != self.index))?;
        (idlest != self.index).then(|| &handles[idlest])
    }

    /// Makes a session for a client; the worker's burden counts it already.
    pub(super) fn take_in(&mut self, socket: OwnedFd) {
        let Some(admission) = self.admit() else {
            self.mailbox.burden.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        if self.settle(socket, admission).is_none() {
            self.company.sessions.fetch_sub(1, Ordering::Relaxed);
            self.mailbox.burden.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts one more session of the process, and says whether there is a place for it. `None`: not even to be told.
    fn admit(&self) -> Option<Admission> {
        let settings = &self.company.settings;
        let sessions = self.company.sessions.fetch_add(1, Ordering::Relaxed);
        if sessions >= settings.sessions_max.saturating_add(TURNED_AWAY_MAX) {
            self.company.sessions.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(match self.stage {
            Stage::Draining | Stage::Stopped => Admission::Closing,
            Stage::Open if sessions >= settings.sessions_max => Admission::Full,
            Stage::Open => Admission::Welcome,
        })
    }

    fn settle(&mut self, socket: OwnedFd, admission: Admission) -> Option<()> {
        let address = prepare_accepted(&socket).ok()?;
        // The servers' user tables call the other end of a UNIX socket this.
        let host: Arc<str> = address.map_or("localhost".into(), |address| address.ip().to_string().into());
        let address = address.map_or_else(|| Arc::clone(&host), |address| address.to_string().into());
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).ok()?;
        let id = self.next_session_id();
        let login_timeout = self.table.config.limits.login_timeout;
        let counts = Arc::clone(&self.mailbox.counters.routes);
        let birth = Birth { id, host, seed, login_timeout, counts, admission };
        let socket = self.io.adopt(socket).ok()?;
        let session = Session::new(birth, self.surroundings());
        let tenant = Tenant {
            session,
            address,
            client: Connection::new(socket),
            server: None,
            replica: None,
            errand: None,
            lease: Lease::default(),
            timer: None,
            born: self.now,
        };
        let key = self.tenants.insert(tenant);
        self.session_keys.insert(id, key);
        self.own(socket, Owner::Session(key, Side::Client));
        counters::add(&self.mailbox.counters.sessions, 1);
        self.io.receive(socket);
        self.carry_out(key);
        Some(())
    }

    /// A number that no session of this worker has.
    fn next_session_id(&mut self) -> SessionId {
        loop {
            self.sessions_made = self.sessions_made.wrapping_add(1);
            let id = SessionId::new(self.index, self.sessions_made);
            if !self.session_keys.contains_key(&id) {
                return id;
            }
        }
    }
}
