//! What lies between a worker and the far ends: connections with little room, in which bytes take their time.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::dice::Dice;

/// How a direction of a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order: what was sent before arrives.
    Finished,
    /// At once.
    Reset,
}

/// One direction of a connection.
pub(super) struct Way {
    /// With the time at which each arrives, in order.
    pub(super) pieces: VecDeque<(Instant, Vec<u8>)>,
    pub(super) room: usize,
    pub(super) end: Option<End>,
}

impl Way {
    pub(super) fn held(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }

    pub(super) fn send(&mut self, bytes: &[u8], due: Instant) {
        if bytes.is_empty() {
            return;
        }
        let last = self.pieces.back().map_or(due, |(last, _)| *last);
        self.pieces.push_back((due.max(last), bytes.to_vec()));
    }

    /// Takes out up to `length` bytes that have arrived.
    pub(super) fn take(&mut self, length: usize, now: Instant) -> Vec<u8> {
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

    pub(super) fn finish(&mut self, end: End) {
        if self.end != Some(End::Reset) {
            self.end = Some(end);
        }
        if end == End::Reset {
            self.pieces.clear();
        }
    }

    /// The end, once everything before it was taken.
    pub(super) fn over(&self) -> Option<End> {
        self.end.filter(|_| self.pieces.is_empty())
    }
}

pub(super) struct Wire {
    pub(super) to_worker: Way,
    pub(super) to_far: Way,
}

impl Wire {
    pub(super) fn reset(&mut self) {
        self.to_worker.finish(End::Reset);
        self.to_far.finish(End::Reset);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WireId(pub(super) usize);

pub(super) struct State {
    pub(super) now: Instant,
    pub(super) dice: Dice,
    pub(super) wires: Vec<Wire>,
    /// Clients that were not accepted yet, each with its listener.
    pub(super) arrivals: VecDeque<(Instant, u32, WireId)>,
    /// Connects that their servers have not seen yet.
    pub(super) calls: VecDeque<(SocketAddr, WireId)>,
    /// The wires behind descriptors that were accepted.
    pub(super) tokens: HashMap<RawFd, WireId>,
    /// Servers that refuse, and that do not answer.
    pub(super) refusing: Vec<SocketAddr>,
    pub(super) silent: Vec<SocketAddr>,
    /// When the worker wants to be woken.
    pub(super) until: Option<Instant>,
    /// Completions under way, by the time at which they come.
    pub(super) coming: Vec<Instant>,
    /// Anything has happened since a test last asked.
    pub(super) busy: bool,
}

impl State {
    pub(super) fn new_wire(&mut self) -> WireId {
        let mut way = || {
            let room = ROOM[0] + self.dice.below(ROOM[1] - ROOM[0]);
            Way { pieces: VecDeque::new(), room, end: None }
        };
        let wire = Wire { to_worker: way(), to_far: way() };
        self.wires.push(wire);
        WireId(self.wires.len() - 1)
    }

    /// When something arrives that begins now.
    pub(super) fn later(&mut self) -> Instant {
        self.busy = true;
        let due = self.now + self.dice.delay(DELAY_MAX);
        self.coming.push(due);
        due
    }

    /// Writes some of the bytes, as a completion says it.
    pub(super) fn write(&mut self, wire: WireId, bytes: &[u8]) -> i32 {
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

/// What lies between a worker and the far ends.
#[derive(Clone)]
pub(crate) struct Network(pub(super) Rc<RefCell<State>>);

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
        let wire = state.new_wire();
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

/// Bytes that one direction of a connection takes before its reader reads: between these.
const ROOM: [usize; 2] = [600, 60_000];

/// The longest way of a piece of bytes, a completion or a connect.
const DELAY_MAX: Duration = Duration::from_millis(40);
