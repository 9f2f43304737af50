//! A network in memory with the face of the other engines, for tests: connections that are slow, full, cut, reset and
//! refused by seed, completions that come late, cancellations that lose their race; on a clock that only tests move.
//!
//! [`Network`] is what lies between the engine and the far ends, which are scripts of a test ([`Far`]). The engine keeps
//! the promises of its face (`Io`) and nothing beyond them. Buffers, slots, starved sockets and tries are those of the
//! real engines.
//!
//! `network` has what lies between, `kernel` what becomes of the engine's sockets in a turn; here is what a worker asks for.
//!
//! What it does not do: it never fails in a way in which the kernel does not.

mod dice;
mod kernel;
mod network;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockAddr;

use super::IoLimits;
use super::adaptive::Adaptive;
use super::buffer::{Group, Pool, Span};
use super::event::{Errno, Event, Full, SocketId};
use super::operation::Slots;
use super::patience::Patience;
use super::send::{Messages, Telling, Try};
use super::starved::{Served, Starved};
use super::wake::WakeHandle;

pub(crate) use self::dice::Dice;
pub(crate) use self::network::{End, Far, Network};

use self::network::WireId;

/// The engine.
pub(super) struct Simulated {
    network: Network,
    pool: Rc<Pool>,
    sockets: Slots<Socket>,
    listeners: Vec<u32>,
    /// Exactly the sockets whose state is `Receive::Starved`.
    starved: Starved,
    messages: Messages,
    tries: Vec<SocketId>,
    ready: Vec<Event>,
    waker: WakeHandle,
}

struct Socket {
    /// What stands for the connection where callers ask the system about it.
    _token: OwnedFd,
    wire: WireId,
    receive: Receive,
    served: Served,
    adaptive: Adaptive,
    sending: Sending,
    telling: Telling,
    shutdown_after_send: bool,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    Idle,
    Wanted,
    /// Cancelled too late: what it has got already is still told.
    Stopping,
    Starved,
    Over,
}

enum Sending {
    Nothing,
    Try(Try),
    Connect { due: Instant, result: Result<(), Errno> },
    Bytes { buffer: Vec<u8>, offset: usize },
}

enum Life {
    Open,
    /// Closed; what was in flight ends then, and keeps its buffer until then.
    Closing {
        until: Instant,
        _late: Option<Span>,
    },
}

impl Simulated {
    pub(super) fn new(limits: &IoLimits, network: Network) -> io::Result<Simulated> {
        Ok(Simulated {
            network,
            pool: Pool::new(limits.small, limits.large),
            sockets: Slots::new(limits.sockets_max),
            listeners: Vec::new(),
            starved: Starved::default(),
            messages: Messages::new(),
            tries: Vec::new(),
            ready: Vec::new(),
            waker: WakeHandle::new()?,
        })
    }

    pub(super) fn now(&self) -> Instant {
        self.network.now()
    }

    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    pub(super) fn wake_handle(&self) -> WakeHandle {
        self.waker.clone()
    }

    pub(super) fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    pub(super) fn stale_count(&self) -> u64 {
        0
    }

    // What a worker asks for.

    /// The clock stands while nothing happens: there is nothing to be patient about.
    pub(super) fn be_patient(&mut self, _patience: Patience) {}

    pub(super) fn listen(&mut self, key: u32, _socket: OwnedFd) {
        self.listeners.push(key);
    }

    pub(super) fn refuse_with(&mut self, _words: Vec<u8>) {}

    pub(super) fn stop_listening(&mut self, key: u32) {
        self.listeners.retain(|other| *other != key);
    }

    pub(super) fn adopt(&mut self, socket: OwnedFd) -> Result<SocketId, (OwnedFd, Full)> {
        let wire = self.network.0.borrow_mut().tokens.remove(&socket.as_raw_fd());
        self.keep(socket, wire.expect("only what was accepted is adopted"))
    }

    fn keep(&mut self, token: OwnedFd, wire: WireId) -> Result<SocketId, (OwnedFd, Full)> {
        let socket = Socket {
            _token: token,
            wire,
            receive: Receive::Idle,
            served: Served::No,
            adaptive: Adaptive::new(),
            sending: Sending::Nothing,
            telling: Telling::Rest,
            shutdown_after_send: false,
            life: Life::Open,
        };
        self.sockets.insert(socket).map_err(|socket| (socket._token, Full))
    }

    pub(super) fn connect(&mut self, socket: OwnedFd, address: &SockAddr) -> Result<SocketId, (OwnedFd, Full)> {
        let address = address.as_socket().expect("servers are reached over TCP");
        let mut state = self.network.0.borrow_mut();
        let wire = state.new_wire();
        let mut due = state.later();
        let mut result = Ok(());
        if state.refusing.contains(&address) {
            result = Err(Errno(libc::ECONNREFUSED));
        } else if state.silent.contains(&address) {
            (due, result) = (state.now + CONNECT_TIMEOUT, Err(Errno(libc::ETIMEDOUT)));
            state.coming.push(due);
        } else {
            state.calls.push_back((address, wire));
        }
        drop(state);
        let id = self.keep(socket, wire)?;
        self.sockets.get_mut(id).expect("kept just now").sending = Sending::Connect { due, result };
        Ok(id)
    }

    pub(super) fn receive(&mut self, id: SocketId) {
        let Some(socket) = self.open(id) else { return };
        if let Receive::Idle | Receive::Stopping = socket.receive {
            socket.receive = Receive::Wanted;
        }
    }

    pub(super) fn pause(&mut self, id: SocketId) {
        let loses_race = self.network.0.borrow_mut().dice.once_in(2);
        let Some(socket) = self.open(id) else { return };
        match socket.receive {
            Receive::Wanted if loses_race => socket.receive = Receive::Stopping,
            Receive::Wanted => socket.receive = Receive::Idle,
            Receive::Starved => {
                socket.receive = Receive::Idle;
                self.starved.forget(id);
            }
            Receive::Idle | Receive::Stopping | Receive::Over => {}
        }
    }

    pub(super) fn send(&mut self, id: SocketId, span: Span) -> Result<(), Span> {
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.is_open()) else { return Ok(()) };
        match &mut socket.sending {
            _ if span.is_empty() => Ok(()),
            Sending::Nothing => {
                socket.sending = Sending::Try(Try::One(span));
                self.tries.push(id);
                Ok(())
            }
            Sending::Try(spans) => spans.add(span, &mut self.messages),
            Sending::Connect { .. } | Sending::Bytes { .. } => panic!("one send at a time"),
        }
    }

    pub(super) fn await_sent(&mut self, id: SocketId) -> bool {
        let Some(socket) = self.open(id) else { return false };
        let waits = matches!(socket.sending, Sending::Try(_));
        if waits {
            socket.telling = Telling::End;
        }
        waits
    }

    pub(super) fn send_bytes(&mut self, id: SocketId, buffer: Vec<u8>) {
        let Some(socket) = self.open(id) else { return };
        assert!(matches!(socket.sending, Sending::Nothing), "one send at a time");
        socket.sending = Sending::Bytes { buffer, offset: 0 };
    }

    pub(super) fn shutdown_write(&mut self, id: SocketId) {
        self.try_now(id);
        let Some(socket) = self.open(id) else { return };
        match socket.sending {
            Sending::Bytes { .. } => socket.shutdown_after_send = true,
            Sending::Nothing | Sending::Try(_) | Sending::Connect { .. } => self.finish(id, End::Finished),
        }
    }

    /// The far end sees the end behind what was sent, or a reset where bytes of its own were not read.
    pub(super) fn close(&mut self, id: SocketId) {
        self.try_now(id);
        let Some(socket) = self.open(id) else { return };
        let (receive, group, wire) = (socket.receive, socket.adaptive.group(), socket.wire);
        if receive == Receive::Starved {
            self.starved.forget(id);
        }
        // A receive that was not cancelled in time has a buffer until the kernel lets go of it.
        let late = matches!(receive, Receive::Wanted | Receive::Stopping).then(|| self.pool.take(group)).flatten();
        let mut state = self.network.0.borrow_mut();
        let until = state.later();
        let wire = &mut state.wires[wire.0];
        match wire.to_worker.pieces.is_empty() {
            true => wire.to_far.finish(End::Finished),
            false => wire.reset(),
        }
        drop(state);
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.sending = Sending::Nothing;
            socket.life = Life::Closing { until, _late: late };
        }
    }

    fn open(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(id).filter(|socket| socket.is_open())
    }

    fn finish(&mut self, id: SocketId, end: End) {
        let Some(wire) = self.open(id).map(|socket| socket.wire) else { return };
        self.network.0.borrow_mut().wires[wire.0].to_far.finish(end);
    }

    /// One turn: see `Io::turn`. It does not wait: the test moves the clock.
    pub(super) fn turn(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        let mut state = self.network.0.borrow_mut();
        // What is due is done behind this turn.
        state.busy |= until.is_some_and(|until| until <= state.now);
        state.until = until;
        drop(state);
        for id in mem::take(&mut self.tries) {
            self.try_now(id);
        }
        self.feed_starved();
        for event in mem::take(&mut self.ready) {
            if event.socket().is_none_or(|id| self.open(id).is_some()) {
                events.push(event);
            }
        }
        if self.waker.clear() {
            events.push(Event::Woken);
        }
        self.accept(events);
        for id in self.shuffled() {
            self.complete(id, events);
        }
        self.network.0.borrow_mut().busy |= !events.is_empty();
        Ok(())
    }

    /// All sockets, in the order in which the kernel happens to look at them.
    fn shuffled(&mut self) -> Vec<SocketId> {
        let mut ids: Vec<SocketId> = self.sockets.iter_mut().map(|(id, _)| id).collect();
        let dice = &mut self.network.0.borrow_mut().dice;
        for place in (1..ids.len()).rev() {
            ids.swap(place, dice.below(place + 1));
        }
        ids
    }

    fn accept(&mut self, events: &mut Vec<Event>) {
        let mut state = self.network.0.borrow_mut();
        let now = state.now;
        let mut later = VecDeque::new();
        while let Some((due, key, wire)) = state.arrivals.pop_front() {
            if due > now || !self.listeners.contains(&key) {
                later.push_back((due, key, wire));
                continue;
            }
            let (token, _) = UnixStream::pair().expect("a test has descriptors");
            state.tokens.insert(token.as_raw_fd(), wire);
            events.push(Event::Accepted { key, socket: token.into() });
        }
        state.arrivals = later;
    }

    fn feed_starved(&mut self) {
        let mut lucky = Vec::new();
        self.starved.feed(&self.pool, &mut lucky);
        for id in lucky {
            if let Some(socket) = self.open(id) {
                socket.receive = Receive::Wanted;
                socket.served = Served::No;
            }
        }
    }
}

/// How long a connect takes that nobody answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(130);
