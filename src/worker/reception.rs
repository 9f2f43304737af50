//! Taking clients in, and sharing them among the workers.
//!
//! The kernel spreads new connections over the workers' sockets by a hash, which is uneven while there are few. So the
//! worker that accepts a client passes it to the one with the fewest sessions, unless that is itself.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    config::{Entrance, Listener},
    io::socket::client_address,
    session::{Admission, Birth, ClientWay, Session, SessionId, Side, TlsOffer},
};

use super::{
    connection::Connection,
    counters,
    lease::Lease,
    mailbox::{Arrival, Handle},
    sealing::Security,
    turn::{Owner, Stage, Tenant, Worker},
};

/// Clients beyond `max_sessions` that are let in far enough to be told so in words; more are just closed.
const TURNED_AWAY_MAX: u32 = 64;

impl Worker {
    /// A client was accepted here, by the listener `key`.
    pub(super) fn accepted(&mut self, key: u32, socket: OwnedFd) {
        counters::add(&self.mailbox.counters.accepted, 1);
        let terms = self.company.settings.terms.load();
        let front = self.listeners.get(&key).and_then(|name| terms.front(name)).map(Arc::clone);
        let entrance = self.entrance(key);
        match self.hand_on(Arrival { socket, entrance, front }) {
            HandedOn::Yes => {}
            HandedOn::No(arrival) => self.take_in(arrival),
        }
    }

    /// Which way the clients of a listener come in. One that has just left the configuration was there for clients.
    fn entrance(&self, key: u32) -> Entrance {
        let name = self.listeners.get(&key);
        let listener = name.and_then(|name| self.table.config.listeners.iter().find(|open| *open.name == **name));
        listener.map_or(Entrance::Ordinary, Listener::entrance)
    }

    /// Gives a client to the worker with the fewest sessions. If that is this one, or the other has no room in its
    /// mailbox, the client stays, and this worker's burden counts it.
    fn hand_on(&self, arrival: Arrival) -> HandedOn {
        let Some(handles) = self.company.handles.get().filter(|handles| !handles.is_empty()) else {
            self.mailbox.burden.fetch_add(1, Ordering::Relaxed);
            return HandedOn::No(arrival);
        };
        let idlest = burden_idlest(handles, self.index);
        if idlest == self.index {
            return HandedOn::No(arrival);
        }
        match handles[idlest].adopt(arrival) {
            Ok(()) => HandedOn::Yes,
            Err(arrival) => {
                self.mailbox.burden.fetch_add(1, Ordering::Relaxed);
                HandedOn::No(arrival)
            }
        }
    }

    /// Makes a session for a client; the worker's burden counts it already.
    pub(super) fn take_in(&mut self, arrival: Arrival) {
        let Some(admission) = self.admit() else {
            self.mailbox.burden.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        if self.settle(arrival, admission).is_none() {
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

    fn settle(&mut self, arrival: Arrival, admission: Admission) -> Option<()> {
        let Arrival { socket, entrance, front } = arrival;
        let address = client_address(&socket).ok()?;
        let way = if address.is_some() { ClientWay::Open } else { ClientWay::UnixSocket };
        // The servers' user tables call the other end of a UNIX socket this.
        let host: Arc<str> = address.map_or("localhost".into(), |address| address.ip().to_string().into());
        let address = address.map_or_else(|| Arc::clone(&host), |address| address.to_string().into());
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).ok()?;
        let id = self.next_session_id();
        let login_timeout = self.table.config.limits.login_timeout;
        let counts = Arc::clone(&self.mailbox.counters.routes);
        let tls = front.as_ref().map(|front| TlsOffer { demand: front.demand(), fingerprint: front.fingerprint() });
        let birth = Birth { id, host, seed, login_timeout, counts, entrance, admission, way, tls };
        let socket = self.io.adopt(socket).ok()?;
        let session = Session::new(birth, self.surroundings());
        let tenant = Tenant {
            session,
            address,
            client: Connection::new(socket, front.map_or(Security::Clear, Security::Offered)),
            server: None,
            replica: None,
            errand: None,
            aside: None,
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

/// What became of a client that another worker has more time for.
enum HandedOn {
    Yes,
    No(Arrival),
}

/// Counts one more session for the worker that has the fewest, `own` if it is one of those, and names it. Counted as it is
/// chosen: workers that accept in the same moment must not all choose the same one.
fn burden_idlest(handles: &[Handle], own: usize) -> usize {
    loop {
        let burdens = handles.iter().map(|handle| handle.burden().load(Ordering::Relaxed)).enumerate();
        let (idlest, burden) =
            burdens.min_by_key(|&(index, burden)| (burden, index != own)).expect("a worker is one of them");
        let burdened = handles[idlest].burden();
        if burdened.compare_exchange(burden, burden + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return idlest;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::{super::mailbox::mailbox, *};
    use crate::io::{Engine, Io, IoLimits};

    #[test]
    fn workers_that_accept_in_the_same_moment_share_the_clients_evenly() {
        const WORKERS: usize = 4;
        const CLIENTS_EACH: usize = 5000;
        let (io, _) = Io::new(Engine::Epoll, IoLimits::default()).expect("an engine");
        let handles: Vec<Handle> = (0..WORKERS).map(|_| mailbox(1, io.wake_handle()).0).collect();
        let start = Barrier::new(WORKERS);
        thread::scope(|scope| {
            for own in 0..WORKERS {
                let (handles, start) = (&handles, &start);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..CLIENTS_EACH {
                        burden_idlest(handles, own);
                    }
                });
            }
        });
        let burdens: Vec<u32> = handles.iter().map(|handle| handle.burden().load(Ordering::Relaxed)).collect();
        assert_eq!(burdens, [CLIENTS_EACH as u32; WORKERS]);
    }

    #[test]
    fn a_worker_keeps_its_client_unless_another_has_fewer() {
        let (io, _) = Io::new(Engine::Epoll, IoLimits::default()).expect("an engine");
        let handles: Vec<Handle> = (0..3).map(|_| mailbox(1, io.wake_handle()).0).collect();
        assert_eq!(burden_idlest(&handles, 1), 1);
        assert_eq!(burden_idlest(&handles, 1), 0);
        assert_eq!(burden_idlest(&handles, 1), 2);
        assert_eq!(burden_idlest(&handles, 2), 2);
    }
}
