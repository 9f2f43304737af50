//! The loop: wait for the kernel, handle everything that happened, submit once.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tracing::{error, warn};

use crate::{
    config::{PoolIndex, limits},
    io::{Event, Io, SocketId},
    pool::Waiters,
    session::{Ending, Input, Session, SessionId, Side, Surroundings},
    slab::{Key, Slab},
    topology::RoutingTable,
};

use super::{
    Company, connection::Connection, counters, departing::Departing, lease::Lease, mailbox::Mailbox, timers::Timers,
};

/// One worker.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) io: Io,
    pub(super) company: Arc<Company>,
    pub(super) mailbox: Mailbox,
    pub(super) table: Arc<RoutingTable>,
    /// The time of this turn.
    pub(super) now: Instant,
    pub(super) tenants: Slab<Tenant>,
    pub(super) session_keys: HashMap<SessionId, Key>,
    /// Whose each socket is, by the socket's slot. With the whole name: an event of this turn may be older than the
    /// close of its socket, and the slot be used again.
    pub(super) owners: Vec<Option<(SocketId, Owner)>>,
    pub(super) departing: Slab<Departing>,
    pub(super) waiters: Waiters<Key, PoolIndex>,
    /// When the waiting are offered the servers again even if nobody said that there is a place.
    pub(super) waiters_retry: Option<Instant>,
    pub(super) timers: Timers<Timer>,
    pub(super) sessions_made: u32,
    /// Turns the choice among equally loaded servers.
    pub(super) tie_break: u32,
    pub(super) listeners: HashMap<u32, Arc<str>>,
    pub(super) stage: Stage,
}

/// How far the worker's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// No new clients; sessions leave as they can.
    Draining,
    /// End now.
    Stopped,
}

/// A session in its place: with its sockets and what it holds.
pub(super) struct Tenant {
    pub(super) session: Session,
    /// The client's address and port, for logs and listings.
    pub(super) address: Arc<str>,
    pub(super) client: Connection,
    pub(super) server: Option<Connection>,
    /// Boxed, since most sessions have none.
    pub(super) replica: Option<Box<Connection>>,
    pub(super) errand: Option<Connection>,
    pub(super) lease: Lease,
    /// The deadline for which a timer is set.
    pub(super) timer: Option<Instant>,
    pub(super) born: Instant,
}

const _: () = assert!(size_of::<Tenant>() <= limits::SESSION_STATE_BYTES / 2, "names and secrets take the other half");

impl Tenant {
    pub(super) fn connection(&mut self, side: Side) -> Option<&mut Connection> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Server => self.server.as_mut(),
            Side::Replica => self.replica.as_deref_mut(),
            Side::Errand => self.errand.as_mut(),
        }
    }
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Session(Key, Side),
    Departing(Key),
}

/// What a deadline concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Session(Key),
    Connecting(Key),
    Departing(Key),
}

impl Worker {
    pub(super) fn new(index: usize, io: Io, mailbox: Mailbox, company: Arc<Company>) -> Worker {
        let table = company.settings.table.load_full();
        Worker {
            index,
            io,
            mailbox,
            table,
            now: Instant::now(),
            tenants: Slab::default(),
            session_keys: HashMap::new(),
            owners: Vec::new(),
            departing: Slab::default(),
            waiters: Waiters::new(limits::WAITERS_MAX),
            waiters_retry: None,
            timers: Timers::new(),
            sessions_made: 0,
            tie_break: index as u32,
            listeners: HashMap::new(),
            stage: Stage::Open,
            company,
        }
    }

    /// Runs until it is told to stop, or is drained and has nobody left.
    pub(super) fn run(mut self) {
        let mut events = Vec::with_capacity(1024);
        while !self.is_over() {
            if let Err(failure) = self.io.turn(self.next_deadline(), &mut events) {
                error!(worker = self.index, error = %failure, "the ring failed: the worker ends");
                return;
            }
            self.now = Instant::now();
            for event in events.drain(..) {
                let concerned = self.concerned(&event);
                self.guarded(concerned, |worker| worker.happened(event));
            }
            self.deadlines();
        }
    }

    fn is_over(&self) -> bool {
        match self.stage {
            Stage::Open => false,
            // What was written to those who leave is still on its way out.
            Stage::Draining => self.tenants.len() == 0 && self.departing.len() == 0,
            Stage::Stopped => true,
        }
    }

    pub(super) fn surroundings(&self) -> Surroundings<'_> {
        Surroundings { table: &self.table, rsa: &self.company.settings.rsa, now: self.now }
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.waiters.next_deadline(), self.waiters_retry].into_iter().flatten().min()
    }

    /// Does something for a session. A fault of ours ends the session that it concerns, and nothing else.
    pub(super) fn guarded(&mut self, concerned: Option<Key>, something: impl FnOnce(&mut Worker)) {
        if catch_unwind(AssertUnwindSafe(|| something(self))).is_err() {
            counters::add(&self.mailbox.counters.faults, 1);
            error!(worker = self.index, "an internal fault ended one session; please report it with the lines above");
            if let Some(key) = concerned {
                self.abandon(key, Ending::Fault);
            }
        }
    }

    fn concerned(&self, event: &Event) -> Option<Key> {
        let owner = match event {
            Event::Received { id, .. }
            | Event::Ended { id }
            | Event::Failed { id, .. }
            | Event::SendFailed { id, .. }
            | Event::Connected { id, .. }
            | Event::Sent { id, .. }
            | Event::SentBytes { id, .. } => self.owner(*id),
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Woken => None,
        };
        match owner? {
            Owner::Session(key, _) => Some(key),
            Owner::Departing(_) => None,
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Received { id, span } => match self.owner(id) {
                Some(Owner::Session(key, side)) => self.received(key, side, span),
                // Whatever a departing peer still says, nobody hears it.
                Some(Owner::Departing(_)) | None => {}
            },
            Event::Sent { id, sent, unsent } => match self.owner(id) {
                Some(Owner::Session(key, side)) => {
                    if let Some(connection) = self.tenants.get_mut(key).and_then(|tenant| tenant.connection(side)) {
                        connection.sent(&mut self.io, sent, unsent);
                    }
                    self.relieve(key, side);
                }
                Some(Owner::Departing(key)) => self.departing_sent(key, sent, unsent),
                None => {}
            },
            Event::SentBytes { id, result, buffer } => self.bytes_sent(id, result.is_ok(), buffer.len()),
            Event::Ended { id } => match self.owner(id) {
                Some(Owner::Session(key, side)) => self.closed(key, side),
                Some(Owner::Departing(key)) => self.departed(key),
                None => {}
            },
            Event::Failed { id, .. } => self.failed(id),
            Event::SendFailed { id, .. } => self.send_failed(id),
            Event::Connected { id, result } => self.connected(id, result),
            Event::Accepted { socket, .. } => self.accepted(socket),
            Event::AcceptFailed { key, error } => {
                counters::add(&self.mailbox.counters.accepts_failed, 1);
                let listener = self.listeners.get(&key).map_or("?", |name| name);
                warn!(listener, %error, "cannot accept a client; raise the limit of open files");
            }
            Event::Woken => self.read_mail(),
        }
    }

    fn bytes_sent(&mut self, id: SocketId, all: bool, written: usize) {
        if !all {
            return self.send_failed(id);
        }
        match self.owner(id) {
            Some(Owner::Session(key, side)) => {
                if let Some(connection) = self.tenants.get_mut(key).and_then(|tenant| tenant.connection(side)) {
                    connection.sent_bytes(&mut self.io, written);
                }
                self.relieve(key, side);
            }
            Some(Owner::Departing(key)) => self.departing_sent_bytes(key, written),
            None => {}
        }
    }

    /// A server that gives up in the middle of a command has said why: what it sent is read to its end. A client that
    /// cannot be written to is gone.
    fn send_failed(&mut self, id: SocketId) {
        match self.owner(id) {
            Some(Owner::Session(key, side @ (Side::Server | Side::Replica))) => {
                if let Some(server) = self.tenants.get_mut(key).and_then(|tenant| tenant.connection(side)) {
                    server.stop_writing();
                }
                self.relieve(key, side);
            }
            _ => self.failed(id),
        }
    }

    fn failed(&mut self, id: SocketId) {
        match self.owner(id) {
            Some(Owner::Session(key, side)) => self.closed(key, side),
            Some(Owner::Departing(key)) => self.departed(key),
            None => {}
        }
    }

    fn deadlines(&mut self) {
        while let Some((at, timer)) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Session(key) => self.guarded(Some(key), |worker| worker.session_due(key, at)),
                Timer::Connecting(key) => self.guarded(Some(key), |worker| worker.connecting_due(key, at)),
                Timer::Departing(key) => self.departed(key),
            }
        }
        self.guarded(None, Worker::waiters_due);
    }

    fn session_due(&mut self, key: Key, at: Instant) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        if tenant.timer == Some(at) {
            tenant.timer = None;
        }
        if tenant.session.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.tell(key, Input::Timeout);
        } else {
            self.set_timer(key);
        }
    }

    /// Sees to it that a timer is set for the session's deadline.
    pub(super) fn set_timer(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let deadline = tenant.session.poll_timeout();
        if let Some(at) = deadline
            && tenant.timer.is_none_or(|set| set > at)
        {
            tenant.timer = deadline;
            self.timers.set(at, Timer::Session(key));
        }
    }

    pub(super) fn owner(&self, socket: SocketId) -> Option<Owner> {
        let (known, owner) = self.owners.get(socket.slot()).copied().flatten()?;
        (known == socket).then_some(owner)
    }

    pub(super) fn own(&mut self, socket: SocketId, owner: Owner) {
        if self.owners.len() <= socket.slot() {
            self.owners.resize(socket.slot() + 1, None);
        }
        self.owners[socket.slot()] = Some((socket, owner));
    }

    pub(super) fn disown(&mut self, socket: SocketId) {
        if self.owner(socket).is_some() {
            self.owners[socket.slot()] = None;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.company.sessions.fetch_sub(self.tenants.len() as u32, Ordering::Relaxed);
    }
}
