//! The loop: wait for the kernel, handle everything that happened, submit once.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tracing::error;

use crate::{
    config::{PoolIndex, limits},
    io::{Event, Io, SocketId},
    latency::Tick,
    pool::{Resting, Waiters},
    protocol::proxy::Route,
    session::{Ending, Input, Session, SessionId, Side, Surroundings},
    slab::{Key, Slab},
    topology::{Place, RoutingTable, ServerId},
};

use super::{
    Company,
    anteroom::Introduced,
    aside::Aside,
    connection::Connection,
    counters,
    departing::Departing,
    gate::Presence,
    inquiring::Inquirers,
    lease::Lease,
    lending::{Kind, Lendable},
    mailbox::Mailbox,
    pace::Paces,
    strangers::Strangers,
    timers::Timers,
    turning_away::{Lines, no_place_left},
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
    /// The same, as replies are timed: since `began`.
    pub(super) tick: Tick,
    began: Instant,
    pub(super) tenants: Slab<Tenant>,
    pub(super) session_keys: HashMap<SessionId, Key>,
    /// Exactly the sessions whose clients have not shown who they are, and those in the anteroom.
    pub(super) strangers: Strangers,
    /// Whose each socket is, by the socket's slot. With the whole name: an event of this turn may be older than the
    /// close of its socket, and the slot be used again.
    pub(super) owners: Vec<Option<(SocketId, Owner)>>,
    /// Connections of balancers that have not said yet whose they are.
    pub(super) anteroom: Slab<Introduced>,
    pub(super) departing: Slab<Departing>,
    pub(super) waiters: Waiters<Key, PoolIndex>,
    /// When the waiting are offered the servers again even if nobody said that there is a place.
    pub(super) waiters_retry: Option<Instant>,
    /// Not later than the first deadline of those who wait, so that a turn need not look at all of them.
    pub(super) waiters_deadline: Option<Instant>,
    /// Who logs in where just now.
    pub(super) paces: Paces,
    /// When the first server that is down will have been so for too long, if a timer is set for that.
    pub(super) overdue: Option<Instant>,
    /// New primaries that have answered no client here yet; at most as many as there are clusters.
    pub(super) unanswered: Vec<ServerId>,
    pub(super) timers: Timers<Timer>,
    pub(super) sessions_made: u32,
    /// Turns the choice among equally loaded servers.
    pub(super) tie_break: u32,
    pub(super) inquirers: Inquirers,
    /// Sessions whose clients' proofs take milliseconds to judge, each once: one is judged a turn, behind everything else.
    pub(super) reckoners: VecDeque<Key>,
    /// Sessions that wait until the name of a server outside of the configuration is looked up.
    pub(super) travellers: Vec<Key>,
    /// The marks of the open listeners, by their numbers.
    pub(super) listeners: HashMap<u32, Arc<str>>,
    pub(super) stage: Stage,
    /// Connections between two sessions.
    pub(super) resting: Resting<Kind, Lendable>,
    /// What came of searches, and their sessions have not been told of: connections that were lent, or that there is none.
    pub(super) found: Vec<(Key, Input)>,
    /// Places of connections that their servers have closed, and when they are free.
    pub(super) forgetting: VecDeque<(Instant, Place)>,
    /// The waiting are served at the end of this turn.
    pub(super) serve_soon: bool,
    /// The other workers are told at the end of this turn that somebody waits here.
    pub(super) asks_others: bool,
    /// A timer is set for connections that rest too long.
    pub(super) is_sweeping: bool,
    /// Counts configurations.
    pub(super) config_count: u64,
    /// What the log has said of clients that were turned away.
    pub(super) lines: Lines,
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
    /// From where to where it connected, for servers that are to be told; boxed, since most are not.
    pub(super) route: Option<Box<Route>>,
    /// It counts among the connections of its address.
    pub(super) _presence: Option<Presence>,
    pub(super) client: Connection,
    pub(super) server: Option<Connection>,
    /// Boxed, since most sessions have none.
    pub(super) replica: Option<Box<Connection>>,
    pub(super) errand: Option<Connection>,
    /// The home connection that it goes back to, unless it arrives at another one.
    pub(super) aside: Option<Box<Aside>>,
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

    /// Sees to it that a timer is set for the session's deadline.
    pub(super) fn set_timer(&mut self, key: Key, timers: &mut Timers<Timer>) {
        let deadline = self.session.poll_timeout();
        if let Some(at) = deadline
            && self.timer.is_none_or(|set| set > at)
        {
            self.timer = deadline;
            timers.set(at, Timer::Session(key));
        }
    }
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Session(Key, Side),
    /// Of a balancer that has not said yet whose it is.
    Introduced(Key),
    Departing(Key),
    Resting(Key),
    /// Of a session, and standing by.
    Aside(Key),
}

/// What a deadline concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Session(Key),
    Connecting(Key),
    Introduced(Key),
    Departing(Key),
    Sweep,
    Forgetting,
    Overdue,
}

impl Worker {
    pub(super) fn new(index: usize, mut io: Io, mailbox: Mailbox, company: Arc<Company>) -> Worker {
        let table = company.settings.table.load_full();
        io.refuse_with(no_place_left());
        let now = Instant::now();
        Worker {
            index,
            io,
            mailbox,
            table,
            now,
            tick: Tick::default(),
            began: now,
            tenants: Slab::default(),
            session_keys: HashMap::new(),
            strangers: Strangers::new(),
            owners: Vec::new(),
            anteroom: Slab::default(),
            departing: Slab::default(),
            waiters: Waiters::new(limits::WAITERS_MAX),
            waiters_retry: None,
            waiters_deadline: None,
            paces: Paces::new(limits::LOGINS_AT_SERVER_MAX),
            overdue: None,
            unanswered: Vec::new(),
            timers: Timers::new(),
            inquirers: Inquirers::default(),
            reckoners: VecDeque::new(),
            travellers: Vec::new(),
            sessions_made: 0,
            tie_break: index as u32,
            listeners: HashMap::new(),
            stage: Stage::Open,
            resting: Resting::default(),
            found: Vec::new(),
            forgetting: VecDeque::new(),
            serve_soon: false,
            asks_others: false,
            is_sweeping: false,
            config_count: 0,
            lines: Lines::default(),
            company,
        }
    }

    /// Runs until it is told to stop, or is drained and has nobody left.
    pub(super) fn run(mut self) {
        let mut events = Vec::with_capacity(1024);
        while !self.is_over() {
            if let Err(failure) = self.turn(&mut events) {
                error!(worker = self.index, error = %failure, "the ring failed: the worker ends");
                return;
            }
        }
    }

    /// Waits for something to happen, and does what follows from it. `events` is empty before and after.
    pub(super) fn turn(&mut self, events: &mut Vec<Event>) -> std::io::Result<()> {
        self.io.turn(self.next_deadline(), events)?;
        self.now = self.io.now();
        self.tick = Tick::after_beginning(self.now.saturating_duration_since(self.began));
        for event in events.drain(..) {
            let owner = event.socket().and_then(|socket| self.owner(socket));
            let concerned = match owner {
                Some(Owner::Session(key, _) | Owner::Aside(key)) => Some(key),
                Some(Owner::Introduced(_) | Owner::Departing(_) | Owner::Resting(_)) | None => None,
            };
            self.guarded(concerned, |worker| worker.happened(event, owner));
        }
        self.deadlines();
        if let Some(key) = self.reckoners.pop_front() {
            self.guarded(Some(key), |worker| worker.tell(key, Input::Reckon));
        }
        Ok(())
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
        Surroundings { table: &self.table, rsa: &self.company.settings.rsa, now: self.now, tick: self.tick }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let reckoning = (!self.reckoners.is_empty()).then_some(self.now);
        [self.timers.next(), self.waiters_deadline, self.waiters_retry, reckoning].into_iter().flatten().min()
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

    /// `owner` is that of the event's socket. An event may be older than the close of its socket; then there is none.
    fn happened(&mut self, event: Event, owner: Option<Owner>) {
        match event {
            Event::Received { span, .. } => match owner {
                Some(Owner::Session(key, side)) => self.received(key, side, span),
                Some(Owner::Introduced(key)) => self.header_received(key, &span),
                // It says why it hangs up.
                Some(Owner::Resting(key)) => self.resting_failed(key),
                Some(Owner::Aside(key)) => self.aside_lost(key),
                // Whatever a departing peer still says, nobody hears it.
                Some(Owner::Departing(_)) | None => {}
            },
            Event::Sent { unsent, .. } => match owner {
                Some(Owner::Session(key, side)) => self.sent(key, side, &unsent),
                Some(Owner::Departing(key)) => self.departing_sent(key, &unsent),
                Some(Owner::Resting(key)) => {
                    if let Some(lendable) = self.resting.get_mut(key) {
                        lendable.connection.sent(&mut self.io, &unsent);
                    }
                }
                // What was written to it before it was set aside was answered.
                Some(Owner::Introduced(_) | Owner::Aside(_)) | None => {}
            },
            Event::SentBytes { result: Ok(()), buffer, .. } => self.bytes_sent(owner, buffer.len()),
            Event::SentBytes { result: Err(_), .. } | Event::SendFailed { .. } => self.send_failed(owner),
            Event::Ended { .. } | Event::Failed { .. } => self.failed(owner),
            Event::Connected { id, result } => self.connected(id, result),
            Event::Accepted { key, socket } => self.accepted(key, socket),
            Event::AcceptFailed { key, error, told } => self.accept_failed(key, error, told),
            Event::Woken => self.read_mail(),
        }
    }

    fn bytes_sent(&mut self, owner: Option<Owner>, written: usize) {
        match owner {
            Some(Owner::Session(key, side)) => {
                if let Some(connection) = self.tenants.get_mut(key).and_then(|tenant| tenant.connection(side)) {
                    connection.sent_bytes(&mut self.io, written);
                }
                self.relieve(key, side);
            }
            Some(Owner::Departing(key)) => self.departing_sent_bytes(key, written),
            Some(Owner::Resting(key)) => {
                if let Some(lendable) = self.resting.get_mut(key) {
                    lendable.connection.sent_bytes(&mut self.io, written);
                }
            }
            Some(Owner::Introduced(_) | Owner::Aside(_)) | None => {}
        }
    }

    /// A server that gives up in the middle of a command has said why: what it sent is read to its end. A client that
    /// cannot be written to is gone.
    fn send_failed(&mut self, owner: Option<Owner>) {
        match owner {
            Some(Owner::Session(key, side @ (Side::Server | Side::Replica))) => {
                if let Some(server) = self.tenants.get_mut(key).and_then(|tenant| tenant.connection(side)) {
                    server.stop_writing();
                }
                self.relieve(key, side);
            }
            _ => self.failed(owner),
        }
    }

    fn failed(&mut self, owner: Option<Owner>) {
        match owner {
            Some(Owner::Session(key, side)) => self.closed(key, side),
            Some(Owner::Introduced(key)) => self.not_introduced(key, "it hung up"),
            Some(Owner::Departing(key)) => self.departed(key),
            Some(Owner::Resting(key)) => self.resting_failed(key),
            Some(Owner::Aside(key)) => self.aside_lost(key),
            None => {}
        }
    }

    fn deadlines(&mut self) {
        while let Some((at, timer)) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Session(key) => self.guarded(Some(key), |worker| worker.session_due(key, at)),
                Timer::Connecting(key) => self.guarded(Some(key), |worker| worker.connecting_due(key, at)),
                Timer::Introduced(key) => self.not_introduced(key, "it took too long"),
                Timer::Departing(key) => self.departed(key),
                Timer::Forgetting => self.guarded(None, Worker::forgotten),
                Timer::Overdue => self.guarded(None, Worker::overdue),
                Timer::Sweep => self.guarded(None, Worker::sweep),
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
            tenant.set_timer(key, &mut self.timers);
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
        let counted = self.tenants.len() + self.anteroom.len();
        self.company.sessions.fetch_sub(counted as u32, Ordering::Relaxed);
        self.company.strangers.fetch_sub(self.strangers.len() as u32, Ordering::Relaxed);
    }
}
