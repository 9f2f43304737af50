//! Taking clients in, and sharing them among the workers.
//!
//! The kernel spreads new connections over the workers' sockets by a hash, which is uneven while there are few. So the
//! worker that accepts a client passes it to the one with the fewest sessions, unless that is itself.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crate::{
    config::{Entrance, Listener},
    io::{
        SocketId,
        socket::{client_address, own_address},
    },
    protocol::proxy::Route,
    session::{Admission, Birth, ClientWay, Session, SessionId, Side, TlsOffer},
    tls::Front,
};

use super::{
    connection::Connection,
    counters,
    gate::{Presence, Visitor},
    lease::Lease,
    mailbox::{Arrival, Handle},
    sealing::Security,
    strangers::Stranger,
    turn::{Owner, Stage, Tenant, Worker},
    turning_away::TurnedAway,
};

/// Clients beyond `max_sessions` that are let in far enough to be told so in words; more are just closed.
const TURNED_AWAY_MAX: u32 = 64;

impl Worker {
    /// A client was accepted here, by the listener `key`.
    pub(super) fn accepted(&mut self, key: u32, socket: OwnedFd) {
        counters::add(&self.mailbox.counters.accepted, 1);
        let terms = self.company.settings.terms.load();
        let listener = self.listeners.get(&key).map(Arc::clone);
        let front = listener.as_ref().and_then(|mark| terms.front(mark)).map(Arc::clone);
        match self.hand_on(Arrival { socket, listener, since: self.now, front }) {
            HandedOn::Yes => {}
            HandedOn::No(arrival) => self.take_in(arrival),
        }
    }

    /// What is configured of the listener that a client came to; nothing, if it has just left the configuration.
    pub(super) fn listener_of(&self, guest: &Guest) -> Option<&Listener> {
        self.listener_marked(guest.listener.as_deref()?)
    }

    pub(super) fn listener_marked(&self, mark: &str) -> Option<&Listener> {
        self.table.config.listeners.iter().find(|open| open.mark() == mark)
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
        self.company.sessions.fetch_add(1, Ordering::Relaxed);
        if self.receive_guest(arrival).is_none() {
            self.strike_out();
        }
    }

    /// One session less: it ended, or none came of a client.
    pub(super) fn strike_out(&self) {
        self.company.sessions.fetch_sub(1, Ordering::Relaxed);
        self.mailbox.burden.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a client's socket over, and asks whose connection it is.
    fn receive_guest(&mut self, arrival: Arrival) -> Option<()> {
        let Arrival { socket, listener, since, front } = arrival;
        let peer = client_address(&socket).ok()?;
        let destination = self.table.config.sends_proxy_headers().then(|| own_address(&socket)).flatten();
        let socket = self.io.adopt(socket).ok()?;
        let guest = Guest { socket, listener, since, front, destination };
        let proxies = self.listener_of(&guest).map_or(&[][..], |listener| &listener.proxies);
        match peer.filter(|peer| proxies.iter().any(|network| network.contains(peer.ip()))) {
            Some(balancer) => self.await_header(guest, balancer),
            None => self.seat(guest, peer),
        }
        Some(())
    }

    /// Gives a client its session, if it may have one. `origin` is its address; it has none behind a UNIX socket.
    pub(super) fn seat(&mut self, guest: Guest, origin: Option<SocketAddr>) {
        self.make_way();
        match self.judge(&guest, origin) {
            Ok(standing) => {
                let socket = guest.socket;
                if self.settle(guest, origin, standing).is_none() {
                    self.shut(socket);
                    self.strike_out();
                }
            }
            Err(why) => self.turn_away(guest, origin, why),
        }
    }

    /// Whether a client may have a session, by where it comes from and by what there is already.
    fn judge(&self, guest: &Guest, origin: Option<SocketAddr>) -> Result<Standing, TurnedAway> {
        let admission = self.admission().ok_or(TurnedAway::Full)?;
        let Some(address) = origin.map(|origin| origin.ip()) else { return Ok(Standing { admission, presence: None }) };
        if self.listener_of(guest).is_some_and(|listener| !listener.access.admits(address)) {
            return Err(TurnedAway::NotAllowed);
        }
        let (limits, gate, visitor) = (&self.table.config.limits, &self.company.gate, Visitor::of(address));
        let wait = limits.failed_logins.and_then(|per_minute| gate.wait(visitor, per_minute, self.now));
        if let Some(wait) = wait {
            return Err(TurnedAway::FailedLogins { wait });
        }
        let presence = match limits.connections_per_address {
            Some(max) => Some(gate.enter(visitor, max).ok_or(TurnedAway::AddressFull)?),
            None => None,
        };
        Ok(Standing { admission, presence })
    }

    /// Whether there is a place for a session that is counted already. `None`: not even to be told after a login.
    pub(super) fn admission(&self) -> Option<Admission> {
        let max = self.company.settings.sessions_max;
        let sessions = self.company.sessions.load(Ordering::Relaxed);
        match self.stage {
            _ if sessions > max.saturating_add(TURNED_AWAY_MAX) => None,
            Stage::Draining | Stage::Stopped => Some(Admission::Closing),
            Stage::Open if sessions > max => Some(Admission::Full),
            Stage::Open => Some(Admission::Welcome),
        }
    }

    fn settle(&mut self, guest: Guest, origin: Option<SocketAddr>, standing: Standing) -> Option<()> {
        let entrance = self.listener_of(&guest).map_or(Entrance::Ordinary, Listener::entrance);
        let Guest { socket, since, front, destination, .. } = guest;
        let way = if origin.is_some() { ClientWay::Open } else { ClientWay::UnixSocket };
        // The servers' user tables call the other end of a UNIX socket this.
        let host: Arc<str> = origin.map_or("localhost".into(), |origin| origin.ip().to_string().into());
        let address = origin.map_or_else(|| Arc::clone(&host), |origin| origin.to_string().into());
        let route = origin.zip(destination).map(|(source, destination)| Box::new(Route { source, destination }));
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).ok()?;
        let id = self.next_session_id();
        let login_timeout = self.table.config.limits.login_timeout;
        let counts = Arc::clone(&self.mailbox.counters.routes);
        let tls = front.as_ref().map(|front| TlsOffer { demand: front.demand(), fingerprint: front.fingerprint() });
        let Standing { admission, presence } = standing;
        let origin = origin.map(|origin| origin.ip());
        let birth = Birth { id, host, origin, seed, since, login_timeout, counts, entrance, admission, way, tls };
        let session = Session::new(birth, self.surroundings());
        let tenant = Tenant {
            session,
            address,
            route,
            _presence: presence,
            client: Connection::new(socket, front.map_or(Security::Clear, Security::Offered)),
            server: None,
            replica: None,
            errand: None,
            aside: None,
            lease: Lease::default(),
            timer: None,
            born: since,
        };
        let key = self.tenants.insert(tenant);
        self.session_keys.insert(id, key);
        self.stranger_came(Stranger::Session(key), since);
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

/// A client whose socket is ours, and that has no session yet.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) socket: SocketId,
    /// The listener that it came to, by name.
    pub(super) listener: Option<Arc<str>>,
    /// When it connected.
    pub(super) since: Instant,
    pub(super) front: Option<Arc<Front>>,
    /// Where it connected to; known where servers are to be told.
    pub(super) destination: Option<SocketAddr>,
}

/// How a client stands that may have a session.
struct Standing {
    admission: Admission,
    presence: Option<Presence>,
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
