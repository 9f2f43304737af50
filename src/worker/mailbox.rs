//! How a worker is told things: a bounded queue beside the ring, and a bell that wakes the ring.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, TrySendError},
    },
    time::Instant,
};

use serde::Serialize;
use tokio::sync::oneshot;

use crate::{
    io::WakeHandle,
    session::{Found, SessionId},
    slab::Key,
    tls::Front,
    topology::ServerId,
};

use super::Counters;

/// Something a worker is told.
#[derive(Debug)]
pub enum Order {
    /// There is a new routing table.
    TableChanged,
    /// Accept clients here. Each worker gets a socket of its own on the address, a UNIX socket goes to one worker.
    Listen {
        /// The listener's number, the same on every worker.
        key: u32,
        /// What it is known by ([`Listener::mark`](crate::config::Listener::mark)).
        mark: Arc<str>,
        /// The listening socket.
        socket: OwnedFd,
    },
    /// Accept no more clients there.
    StopListening {
        /// The listener's number.
        key: u32,
    },
    /// Tell what sessions there are.
    Sessions {
        /// No more than so many.
        limit: usize,
        /// The place for the answer.
        answer: oneshot::Sender<Vec<SessionRow>>,
    },
    /// Answer, as a sign of life.
    Echo(oneshot::Sender<()>),
    /// Take no more clients; end each session at its next moment outside a transaction.
    Drain,
    /// End now.
    Stop,
    /// Another worker accepted this client and has more to do than this one.
    Adopt {
        /// The client.
        arrival: Arrival,
    },
    /// Another worker's session wants to kill one of this worker's.
    FindSession {
        /// The session that is looked for.
        id: SessionId,
        /// Its end is wanted, and not only that of its statement.
        is_to_end: bool,
        /// Who asks.
        asker: Asker,
    },
    /// The answer to `FindSession`.
    Found {
        /// The session that asked.
        asker: Asker,
        /// Which session it asked for.
        id: SessionId,
        /// What became of that.
        found: Found,
    },
    /// A session of this user wants this one ended, which had no connection to a server when it was looked for.
    KillHomeless {
        /// The session.
        id: SessionId,
        /// Whose both are.
        user: Box<[u8]>,
    },
    /// The end of this session, which was asked for by `FindSession`, is not carried out.
    KillRefused {
        /// The session.
        id: SessionId,
    },
    /// A server has a free place, and somebody waits for one.
    PlaceFreed,
    /// A client found no place at another worker: one that does not log in is to make way.
    WayWanted,
    /// Another worker's sessions wait for a place at a server.
    PlaceWanted,
}

/// A client that was accepted.
#[derive(Debug)]
pub struct Arrival {
    pub(super) socket: OwnedFd,
    /// The mark of the listener that it came to.
    pub(super) listener: Option<Arc<str>>,
    /// When it connected.
    pub(super) since: Instant,
    /// What its listener says of TLS, if it offers any.
    pub(super) front: Option<Arc<Front>>,
}

/// A session of some worker.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub(super) worker: usize,
    pub(super) session: Key,
}

/// One session, as `sqluice sessions` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct SessionRow {
    /// The number under which the client knows it, and that `KILL` takes.
    pub id: u32,
    /// The worker that has it.
    pub worker: usize,
    /// The client's user; empty before it has proven who it is.
    pub user: String,
    /// The client's address.
    pub address: String,
    /// The server in use.
    pub server: Option<String>,
    /// The same for the process, or the one that its connection to stands by.
    #[serde(skip)]
    pub home: Option<ServerId>,
    /// The replica that its reads go to.
    #[serde(skip)]
    pub reads_at: Option<ServerId>,
    /// The replica that its reads go to.
    pub replica: Option<String>,
    /// The server used before that one.
    pub last_server: Option<String>,
    /// What it is doing.
    pub state: &'static str,
    /// Why it could not leave its server now.
    pub pins: Vec<&'static str>,
    /// Why it could not go on at another server now, if its own was taken out of use.
    pub ties: Vec<&'static str>,
    /// For how long something has tied it to its server.
    pub tied_seconds: Option<u64>,
    /// Commands so far.
    pub commands: u64,
    /// Seconds since the client connected.
    pub age_seconds: u64,
}

/// Why an order did not get into the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// It has as many unread orders as it may have.
    Full,
    /// The worker has ended.
    Ended,
}

/// The way to one worker.
#[derive(Clone)]
pub struct Handle {
    orders: mpsc::SyncSender<Order>,
    bell: WakeHandle,
    counters: Arc<Counters>,
    /// Sessions of the worker, with those on their way to it.
    burden: Arc<AtomicU32>,
}

impl Handle {
    /// Tells the worker something.
    ///
    /// # Errors
    /// When the worker has as many unread orders as it may have, or has ended.
    pub fn send(&self, order: Order) -> Result<(), Undelivered> {
        self.try_send(order).map_err(|refused| match refused {
            TrySendError::Full(_) => Undelivered::Full,
            TrySendError::Disconnected(_) => Undelivered::Ended,
        })
    }

    fn try_send(&self, order: Order) -> Result<(), TrySendError<Order>> {
        self.orders.try_send(order)?;
        self.bell.wake();
        Ok(())
    }

    /// What the worker has done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn burden(&self) -> &AtomicU32 {
        &self.burden
    }

    /// Gives a client to this worker, whose burden counts it already; gives it back if its mailbox takes no more.
    pub(super) fn adopt(&self, arrival: Arrival) -> Result<(), Arrival> {
        match self.try_send(Order::Adopt { arrival }) {
            Err(
                TrySendError::Full(Order::Adopt { arrival }) | TrySendError::Disconnected(Order::Adopt { arrival }),
            ) => {
                self.burden.fetch_sub(1, Ordering::Relaxed);
                Err(arrival)
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The worker's own end.
pub(super) struct Mailbox {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) counters: Arc<Counters>,
    pub(super) burden: Arc<AtomicU32>,
}

/// A mailbox and the way to it.
pub(super) fn mailbox(orders_max: usize, bell: WakeHandle) -> (Handle, Mailbox) {
    let (sender, receiver) = mpsc::sync_channel(orders_max);
    let counters = Arc::new(Counters::default());
    let burden = Arc::new(AtomicU32::new(0));
    let handle = Handle { orders: sender, bell, counters: Arc::clone(&counters), burden: Arc::clone(&burden) };
    (handle, Mailbox { orders: receiver, counters, burden })
}
