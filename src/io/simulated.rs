//! A network in memory with the face of the other engines, for tests: connections that are slow, full, cut, reset and
//! refused by seed, completions that come late, cancellations that lose their race; on a clock that only tests move.
//!
//! [`Network`] is what lies between the engine and the far ends, which are scripts of a test ([`Far`]). The engine keeps
//! the promises of its face (`Io`) and nothing beyond them. Buffers, slots, starved sockets and tries are those of the
//! real engines.
//!
//! What it does not do: it never fails in a way in which the kernel does not.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
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

/// Bytes that one direction of a connection takes before its reader reads: between these.
const ROOM: [usize; 2] = [600, 60_000];

/// The longest way of a piece of bytes, a completion or a connect.
const DELAY_MAX: Duration = Duration::from_millis(40);

/// How long a connect takes that nobody answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(130);

/// Receives of one socket in one turn.
const RECEIVES_PER_TURN: usize = 4;

/// Repeatable pseudo-random numbers (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) % bound.max(1) as u64) as usize
    }

    /// True once in `count` times.
    pub(crate) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A time up to `most`, mostly a short one.
    pub(crate) fn delay(&mut self, most: Duration) -> Duration {
        match self.below(3) {
            0 => Duration::ZERO,
            1 => most / 100,
            _ => most * self.below(100) as u32 / 100,
        }
    }
}

/// How a direction of a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order: what was sent before arrives.
    Finished,
    /// At once.
    Reset,
}

/// One direction of a connection.
struct Way {
    /// With the time at which each arrives, in order.
    pieces: VecDeque<(Instant, Vec<u8>)>,
    room: usize,
    end: Option<End>,
}

impl Way {
    fn held(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }

    fn send(&mut self, bytes: &[u8], due: Instant) {
        if bytes.is_empty() {
            return;
        }
        let last = self.pieces.back().map_or(due, |(last, _)| *last);
        self.pieces.push_back((due.max(last), bytes.to_vec()));
    }

    /// Takes out up to `length` bytes that have arrived.
    fn take(&mut self, length: usize, now: Instant) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < length && self.pieces.front().is_some_and(|(due, _)| *due <= now) {
            let piece = &mut self.pieces.front_mut().expect("there is one").1;
            let count = piece.len().min(length - taken.len());
            taken.extend(piece.drain(..count));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        taken
    }

    fn finish(&mut self, end: End) {
        if self.end != Some(End::Reset) {
            self.end = Some(end);
        }
        if end == End::Reset {
            self.pieces.clear();
        }
    }

    /// The end, once everything before it was taken.
    fn over(&self) -> Option<End> {
        self.end.filter(|_| self.pieces.is_empty())
    }
}

struct Wire {
    to_worker: Way,
    to_far: Way,
}

impl Wire {
    fn reset(&mut self) {
        self.to_worker.finish(End::Reset);
        self.to_far.finish(End::Reset);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct WireId(usize);

struct State {
    now: Instant,
    dice: Dice,
    wires: Vec<Wire>,
    /// Clients that were not accepted yet, each with its listener.
    arrivals: VecDeque<(Instant, u32, WireId)>,
    /// Connects that their servers have not seen yet.
    calls: VecDeque<(SocketAddr, WireId)>,
    /// The wires behind descriptors that were accepted.
    tokens: HashMap<RawFd, WireId>,
    /// Servers that refuse, and that do not answer.
    refusing: Vec<SocketAddr>,
    silent: Vec<SocketAddr>,
    /// When the worker wants to be woken.
    until: Option<Instant>,
    /// Completions under way, by the time at which they come.
    coming: Vec<Instant>,
    /// Anything has happened since a test last asked.
    busy: bool,
}

impl State {
    fn wire(&mut self) -> WireId {
        let mut way = || {
            let room = ROOM[0] + self.dice.below(ROOM[1] - ROOM[0]);
            Way { pieces: VecDeque::new(), room, end: None }
        };
        let wire = Wire { to_worker: way(), to_far: way() };
        self.wires.push(wire);
        WireId(self.wires.len() - 1)
    }

    /// When something arrives that begins now.
    fn later(&mut self) -> Instant {
        self.busy = true;
        let due = self.now + self.dice.delay(DELAY_MAX);
        self.coming.push(due);
        due
    }
}

/// What lies between a worker and the far ends.
#[derive(Clone)]
pub(crate) struct Network(Rc<RefCell<State>>);

/// The other end of a connection of the worker's.
pub(crate) struct Far {
    network: Network,
    wire: WireId,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Network {
        Network(Rc::new(RefCell::new(State {
            // Nothing that reads the real clock at the start may be later.
            now: Instant::now() + Duration::from_secs(60),
            dice: Dice::new(seed),
            wires: Vec::new(),
            arrivals: VecDeque::new(),
            calls: VecDeque::new(),
            tokens: HashMap::new(),
            refusing: Vec::new(),
            silent: Vec::new(),
            until: None,
            coming: Vec::new(),
            busy: false,
        })))
    }

    pub(crate) fn now(&self) -> Instant {
        self.0.borrow().now
    }

    /// A client connects to the listener.
    pub(crate) fn connect(&self, listener: u32) -> Far {
        let mut state = self.0.borrow_mut();
        let wire = state.wire();
        let due = state.later();
        state.arrivals.push_back((due, listener, wire));
        Far { network: self.clone(), wire }
    }

    /// A connect that a server has not seen yet.
    pub(crate) fn called(&self) -> Option<(SocketAddr, Far)> {
        let mut state = self.0.borrow_mut();
        let (address, wire) = state.calls.pop_front()?;
        state.busy = true;
        Some((address, Far { network: self.clone(), wire }))
    }

    /// Connects to this server are refused from now on, or not any more.
    pub(crate) fn refuse(&self, server: SocketAddr, refuses: bool) {
        let refusing = &mut self.0.borrow_mut().refusing;
        refusing.retain(|other| *other != server);
        refusing.extend(refuses.then_some(server));
    }

    /// Nobody answers connects to this server from now on, or somebody does.
    pub(crate) fn silence(&self, server: SocketAddr, is_silent: bool) {
        let silent = &mut self.0.borrow_mut().silent;
        silent.retain(|other| *other != server);
        silent.extend(is_silent.then_some(server));
    }

    /// Whether anything has happened since the last question.
    pub(crate) fn was_busy(&self) -> bool {
        mem::take(&mut self.0.borrow_mut().busy)
    }

    /// Goes on to the next moment at which anything is due, here, for the worker or for the test; false: nothing is.
    pub(crate) fn advance(&self, also: impl Iterator<Item = Instant>) -> bool {
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.coming.retain(|due| *due > now);
        let wires = state.wires.iter().flat_map(|wire| [&wire.to_worker, &wire.to_far]);
        let pieces = wires.flat_map(|way| way.pieces.iter().map(|(due, _)| *due));
        let due = pieces.chain(state.until).chain(state.coming.iter().copied()).chain(also);
        let Some(next) = due.filter(|due| *due > now).min() else { return false };
        state.now = next;
        true
    }
}

impl Far {
    /// Sends as many of the bytes as there is room for, in pieces that arrive one after the other.
    pub(crate) fn send(&self, bytes: &[u8]) -> usize {
        let mut state = self.network.0.borrow_mut();
        let way = &state.wires[self.wire.0].to_worker;
        if way.end.is_some() {
            return bytes.len();
        }
        let length = bytes.len().min(way.room.saturating_sub(way.held()));
        let mut rest = &bytes[..length];
        while !rest.is_empty() {
            let (first, behind) = rest.split_at(1 + state.dice.below(rest.len()));
            let due = state.later();
            state.wires[self.wire.0].to_worker.send(first, due);
            rest = behind;
        }
        length
    }

    /// What has arrived.
    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut state = self.network.0.borrow_mut();
        let now = state.now;
        let bytes = state.wires[self.wire.0].to_far.take(usize::MAX, now);
        state.busy |= !bytes.is_empty();
        bytes
    }

    /// How the worker has ended its direction, if it has.
    pub(crate) fn over(&self) -> Option<End> {
        self.network.0.borrow().wires[self.wire.0].to_far.over()
    }

    /// Says and hears no more.
    pub(crate) fn hang_up(&self, end: End) {
        let mut state = self.network.0.borrow_mut();
        state.busy = true;
        let wire = &mut state.wires[self.wire.0];
        match end {
            End::Finished => wire.to_worker.finish(End::Finished),
            End::Reset => wire.reset(),
        }
    }
}

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
        let wire = state.wire();
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

    // What the kernel says.

    fn complete(&mut self, id: SocketId, events: &mut Vec<Event>) {
        let now = self.now();
        let Some(socket) = self.sockets.get_mut(id) else { return };
        match socket.life {
            Life::Closing { until, .. } if until <= now => {
                self.network.0.borrow_mut().busy = true;
                self.sockets.remove(id);
            }
            Life::Closing { .. } => {}
            Life::Open => {
                events.extend(self.write(id));
                self.read(id, events);
            }
        }
    }

    /// Writes what this turn has for the socket, as much as fits.
    fn try_now(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let spans = match mem::replace(&mut socket.sending, Sending::Nothing) {
            Sending::Try(spans) => spans,
            other => return socket.sending = other,
        };
        let bytes = spans.bytes();
        let result = self.network.0.borrow_mut().write(socket.wire, &bytes);
        let telling = mem::replace(&mut socket.telling, Telling::Rest);
        self.ready.extend(spans.over(result, &mut self.messages).event(id, telling));
    }

    /// Goes on with what waits for room, or for its connect.
    fn write(&mut self, id: SocketId) -> Option<Event> {
        let now = self.now();
        let socket = self.sockets.get_mut(id)?;
        let result = match &mut socket.sending {
            Sending::Nothing | Sending::Try(_) => return None,
            Sending::Connect { due, .. } if *due > now => return None,
            Sending::Connect { result, .. } => {
                let result = *result;
                socket.sending = Sending::Nothing;
                return Some(Event::Connected { id, result });
            }
            Sending::Bytes { buffer, offset } => {
                match self.network.0.borrow_mut().write(socket.wire, &buffer[*offset..]) {
                    written if written >= 0 => *offset += written as usize,
                    error if error == -libc::ENOBUFS => {}
                    error => return socket.bytes_over(id, Err(Errno(-error))),
                }
                if *offset < buffer.len() {
                    return None;
                }
                Ok(())
            }
        };
        let event = socket.bytes_over(id, result);
        if mem::take(&mut socket.shutdown_after_send) {
            self.finish(id, End::Finished);
        }
        event
    }

    /// Receives what is there, as far as this turn's share goes.
    fn read(&mut self, id: SocketId, events: &mut Vec<Event>) {
        for _ in 0..RECEIVES_PER_TURN {
            let Some(socket) = self.sockets.get_mut(id) else { return };
            if !matches!(socket.receive, Receive::Wanted | Receive::Stopping) {
                return;
            }
            if let Sending::Connect { .. } = socket.sending {
                return;
            }
            let mut state = self.network.0.borrow_mut();
            let now = state.now;
            let way = &state.wires[socket.wire.0].to_worker;
            if let Some(end) = way.over() {
                socket.receive = Receive::Over;
                events.push(match end {
                    End::Finished => Event::Ended { id },
                    End::Reset => Event::Failed { id, error: Errno(libc::ECONNRESET) },
                });
                return;
            }
            if way.pieces.front().is_none_or(|(due, _)| *due > now) {
                return;
            }
            let group = socket.adaptive.group();
            let Some(mut span) = self.pool.take(group) else {
                drop(state);
                return self.starve(id, group);
            };
            let most = 1 + state.dice.below(self.pool.size(group));
            let bytes = state.wires[socket.wire.0].to_worker.take(most, now);
            span.fill(|room| {
                room[..bytes.len()].copy_from_slice(&bytes);
                bytes.len()
            });
            socket.served = Served::Yes;
            socket.adaptive.received(bytes.len(), &self.pool);
            if socket.receive == Receive::Stopping {
                socket.receive = Receive::Idle;
            }
            events.push(Event::Received { id, span });
        }
    }

    fn starve(&mut self, id: SocketId, group: Group) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if socket.receive == Receive::Stopping {
            socket.receive = Receive::Idle;
        } else if !socket.adaptive.gives_way(&self.pool) {
            socket.receive = Receive::Starved;
            self.starved.add(group, id, socket.served);
        }
    }
}

impl Socket {
    fn is_open(&self) -> bool {
        matches!(self.life, Life::Open)
    }

    fn bytes_over(&mut self, id: SocketId, result: Result<(), Errno>) -> Option<Event> {
        match mem::replace(&mut self.sending, Sending::Nothing) {
            Sending::Bytes { buffer, .. } => Some(Event::SentBytes { id, result, buffer }),
            Sending::Nothing | Sending::Try(_) | Sending::Connect { .. } => None,
        }
    }
}

impl State {
    /// Writes some of the bytes, as a completion says it.
    fn write(&mut self, wire: WireId, bytes: &[u8]) -> i32 {
        let way = &self.wires[wire.0].to_far;
        if way.end.is_some() {
            return -libc::EPIPE;
        }
        let room = way.room.saturating_sub(way.held());
        if self.dice.once_in(30) {
            // There is memory again soon.
            self.later();
            return -libc::ENOBUFS;
        }
        let fitting = bytes.len().min(room);
        let length = if self.dice.once_in(4) { self.dice.below(fitting + 1) } else { fitting };
        if fitting > 0 {
            let due = self.later();
            self.wires[wire.0].to_far.send(&bytes[..length], due);
        }
        length as i32
    }
}
