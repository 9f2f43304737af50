//! The kernel: our own small io_uring, epoll as its fallback, sockets and buffers. The only `unsafe`.
//!
//! A worker owns one [`Io`] and runs it like this:
//!
//! ```text
//! loop {
//!     io.turn(next_deadline, &mut events)?;      // submit everything, wait, collect: one system call on io_uring
//!     for event in events.drain(..) { … }        // asks for more: receive, send, close …
//! }
//! ```
//!
//! The face is shaped by completions. Bytes arrive as a [`Span`] of a buffer that the kernel filled, and the cheap way to
//! forward them is [`Io::send`] of that span: a try at the end of the turn, all spans of a socket together, which never
//! waits for a slow peer. What it gives back unsent is to be copied into bounded memory and written with
//! [`Io::send_bytes`], which waits; so ring buffers never wait for a peer.
//!
//! What this module does not do: it knows no protocol, has no timers beyond the end of a turn, and keeps no limits per
//! session.
//!
//! | file | what is in it |
//! |---|---|
//! | `event` | events, `SocketId`, `Errno` |
//! | `buffer` | receive buffers and the spans of them |
//! | `patience` | whether a thread looks a while before it sleeps |
//! | `adaptive` | which buffer group a socket receives into |
//! | `starved` | sockets that wait for a free buffer |
//! | `send` | what a try to send owns and what its result means |
//! | `listener` | the listening sockets of an engine, and their rests |
//! | `socket` | listeners and outgoing sockets with their options |
//! | `operation` | slots, and the names of operations in flight |
//! | `ring` | the io_uring itself |
//! | `uring`, `epoll` | the two engines |
//! | `probe` | whether io_uring can be used, and the report |
//! | `simulated` | for tests: a network in memory with the same face |
//! | `wake` | waking a worker from another thread |
//! | `wiping` | memory that is wiped when it is given back |
//! | `system` | settings of process and thread |
#![allow(unsafe_code)]

mod adaptive;
mod buffer;
mod epoll;
mod event;
mod listener;
mod locked;
mod operation;
mod patience;
mod probe;
mod ring;
mod send;
#[cfg(test)]
mod simulated;
pub mod socket;
mod starved;
mod system;
mod uring;
mod wake;
mod wiping;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockAddr;

pub use self::buffer::{BUFFER_COUNT_MAX, BUFFER_SIZE_MAX, GroupLimits, Span};
pub use self::event::{Errno, Event, Full, SocketId};
pub use self::listener::LISTENERS_MAX;
pub use self::locked::{LOCKED_BYTES, Locked};
pub use self::patience::wake_up_time;
pub use self::probe::{EngineReport, KernelVersion, Refusal};
pub use self::send::SEND_SPANS_MAX;
#[cfg(test)]
pub(crate) use self::simulated::{Dice, End, Far, Network};
pub use self::system::{
    forbid_core_dumps, inherited_files, monotonic_microseconds, raise_open_files_limit, set_cpu_affinity,
};
pub use self::wake::WakeHandle;
pub use self::wiping::Wiping;

use self::buffer::{Group, Pool};
use self::epoll::Epoll;
use self::patience::Patience;
use self::uring::Uring;

/// Which of the kernel's interfaces is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// io_uring where it works, else epoll; the report says which and why.
    Auto,
    /// io_uring, or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// The sizes of one engine. With the defaults the buffers are 4 MiB, whatever the number of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoLimits {
    /// Sockets open at the same time, clients' and servers'.
    pub sockets_max: usize,
    /// Buffers for commands and short replies.
    pub small: GroupLimits,
    /// Buffers for streams.
    pub large: GroupLimits,
}

impl Default for IoLimits {
    fn default() -> IoLimits {
        IoLimits {
            sockets_max: 20_000,
            small: GroupLimits { buffers: 512, size: 4 * 1024 },
            large: GroupLimits { buffers: 64, size: 32 * 1024 },
        }
    }
}

impl IoLimits {
    /// What is wrong with the sizes, if anything.
    fn fault(&self) -> Option<&'static str> {
        for group in [self.small, self.large] {
            if !group.buffers.is_power_of_two() || group.buffers > BUFFER_COUNT_MAX {
                return Some("the number of receive buffers must be a power of two up to 32768");
            }
            if group.size == 0 || group.size > BUFFER_SIZE_MAX {
                return Some("a receive buffer must have 1 to 32768 bytes");
            }
        }
        if self.sockets_max == 0 || self.sockets_max > operation::SLOTS_MAX {
            return Some("the number of sockets must be 1 to 16777216");
        }
        None
    }
}

/// Why there is no engine.
#[derive(Debug)]
pub enum EngineError {
    /// The limits contradict the kernel's or our own bounds.
    Limits(&'static str),
    /// io_uring was asked for and cannot be used.
    IoUring(Refusal),
    /// Not even epoll could be set up.
    Epoll(io::Error),
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Limits(fault) => formatter.write_str(fault),
            EngineError::IoUring(refusal) => {
                write!(formatter, "io_uring cannot be used: {refusal}")
            }
            EngineError::Epoll(error) => write!(formatter, "epoll cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for EngineError {}

/// One thread's sockets. Made on the thread that uses it, which is the only one that may.
pub struct Io {
    engine: AnyEngine,
    now: Instant,
    limits: IoLimits,
    /// Buffers for bytes that are made here; none before the first are.
    workshop: Option<Rc<Pool>>,
}

// The larger variant is the ordinary one, and there is one value per thread.
#[allow(clippy::large_enum_variant)]
enum AnyEngine {
    Uring(Uring),
    Epoll(Epoll),
    #[cfg(test)]
    Simulated(simulated::Simulated),
}

impl AnyEngine {
    fn now(&self) -> Instant {
        match self {
            AnyEngine::Uring(_) | AnyEngine::Epoll(_) => Instant::now(),
            #[cfg(test)]
            AnyEngine::Simulated(engine) => engine.now(),
        }
    }
}

/// Calls the same method of whichever engine is in use.
macro_rules! on_engine {
    ($io:expr, $engine:ident => $call:expr) => {
        match &mut $io.engine {
            AnyEngine::Uring($engine) => $call,
            AnyEngine::Epoll($engine) => $call,
            #[cfg(test)]
            AnyEngine::Simulated($engine) => $call,
        }
    };
}

impl Io {
    /// Sets up an engine for the calling thread.
    pub fn new(wanted: Engine, limits: IoLimits) -> Result<(Io, EngineReport), EngineError> {
        if let Some(fault) = limits.fault() {
            return Err(EngineError::Limits(fault));
        }
        let refusal = match wanted {
            Engine::Epoll => Refusal::NotWanted,
            Engine::Auto | Engine::IoUring => match probe::io_uring(&limits) {
                Ok(engine) => {
                    let report = EngineReport::io_uring(engine.setup(), limits);
                    return Ok((Io::with(AnyEngine::Uring(engine), limits), report));
                }
                Err(refusal) if wanted == Engine::IoUring => {
                    return Err(EngineError::IoUring(refusal));
                }
                Err(refusal) => refusal,
            },
        };
        let engine = Epoll::new(&limits).map_err(EngineError::Epoll)?;
        let report = EngineReport::epoll(refusal, limits);
        Ok((Io::with(AnyEngine::Epoll(engine), limits), report))
    }

    /// Over a network in memory.
    #[cfg(test)]
    pub(crate) fn simulated(limits: IoLimits, network: Network) -> Io {
        let engine = simulated::Simulated::new(&limits, network).expect("an eventfd");
        Io::with(AnyEngine::Simulated(engine), limits)
    }

    fn with(engine: AnyEngine, limits: IoLimits) -> Io {
        Io { engine, now: Instant::now(), limits, workshop: None }
    }

    /// From now on looks a while for what comes next before it sleeps, where that pays: where being woken takes `wake_up`
    /// (see [`wake_up_time`]).
    pub fn look_before_sleeping(&mut self, wake_up: Duration) {
        on_engine!(self, engine => engine.be_patient(Patience::new(wake_up)));
    }

    /// Accepts clients on a bound and listening socket until `stop_listening`: an `Accepted` event each. Beyond
    /// [`LISTENERS_MAX`] the socket is closed and an `AcceptFailed` event says ENFILE.
    pub fn listen(&mut self, key: u32, socket: OwnedFd) {
        on_engine!(self, engine => engine.listen(key, socket));
    }

    /// What clients are told, and then closed, when the system has no descriptor for one more. One is kept back for that.
    pub fn refuse_with(&mut self, words: Vec<u8>) {
        on_engine!(self, engine => engine.refuse_with(words));
    }

    /// Accepts no more clients on the listener with this key and closes its socket.
    pub fn stop_listening(&mut self, key: u32) {
        on_engine!(self, engine => engine.stop_listening(key));
    }

    /// Takes over a connected socket. Nothing is received before `receive`.
    pub fn adopt(&mut self, socket: OwnedFd) -> Result<SocketId, (OwnedFd, Full)> {
        on_engine!(self, engine => engine.adopt(socket))
    }

    /// Takes over an unconnected socket and connects it: a `Connected` event follows. Nothing is to be received or sent
    /// before it. A deadline is the caller's: `close` ends the attempt.
    pub fn connect(&mut self, socket: OwnedFd, address: &SockAddr) -> Result<SocketId, (OwnedFd, Full)> {
        on_engine!(self, engine => engine.connect(socket, address))
    }

    /// Starts or resumes receiving, until `pause`, the end or an error.
    pub fn receive(&mut self, id: SocketId) {
        on_engine!(self, engine => engine.receive(id));
    }

    /// Stops receiving, so that the peer's bytes stay in the kernel and slow it down. Bytes that the kernel has handed
    /// over already still arrive as events, and so may the end or an error.
    pub fn pause(&mut self, id: SocketId) {
        on_engine!(self, engine => engine.pause(id));
    }

    /// Puts a span behind what this socket is to write when the turn ends. Then all of it is tried at once, as much as
    /// fits, and the spans are free again. The next turn tells of it only if not everything was written (`Sent`,
    /// `SendFailed`), or if `await_sent` asked.
    ///
    /// # Errors
    /// Gives the span back when the socket has [`SEND_SPANS_MAX`] of them in this turn.
    ///
    /// # Panics
    /// While a `send_bytes` of this socket is not over.
    pub fn send(&mut self, id: SocketId, span: Span) -> Result<(), Span> {
        on_engine!(self, engine => engine.send(id, span))
    }

    /// Whether spans of this turn wait to be tried. If so, a `Sent` (or `SendFailed`) follows for certain, without
    /// waiting for anything else: for who has something to do afterwards.
    #[must_use]
    pub fn await_sent(&mut self, id: SocketId) -> bool {
        on_engine!(self, engine => engine.await_sent(id))
    }

    /// A span of bytes that are made here instead of received, to be sent like any other: `write` is given room for
    /// `length` bytes, or as much as one buffer has, and says how many it wrote. These buffers are as many as those that
    /// are received into, and the kernel never has them. None: all are in use.
    pub fn compose(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Option<Span> {
        let IoLimits { small, large, .. } = self.limits;
        let workshop = self.workshop.get_or_insert_with(|| Pool::new(small, large));
        let (first, second) = match length <= small.size {
            true => (Group::Small, Group::Large),
            false => (Group::Large, Group::Small),
        };
        let mut span = workshop.take(first).or_else(|| workshop.take(second))?;
        span.fill(write);
        Some(span)
    }

    /// Writes all of `bytes`, waiting for room as long as it takes: one `SentBytes` event, with the vector. `close` ends
    /// it early.
    ///
    /// # Panics
    /// While another `send_bytes` of this socket is not over, or spans of this turn wait to be tried.
    pub fn send_bytes(&mut self, id: SocketId, bytes: Vec<u8>) {
        on_engine!(self, engine => engine.send_bytes(id, bytes));
    }

    /// Ends our direction after what is being sent: the peer sees the end, and can still send.
    pub fn shutdown_write(&mut self, id: SocketId) {
        on_engine!(self, engine => engine.shutdown_write(id));
    }

    /// Closes the socket. No event of it is given out from now on; a `send` asked for before is still tried, a
    /// `send_bytes` is cut off. The descriptor is closed when the kernel has let go of it.
    pub fn close(&mut self, id: SocketId) {
        on_engine!(self, engine => engine.close(id));
    }

    /// A handle for other threads to end this thread's wait with.
    #[must_use]
    pub fn wake_handle(&self) -> WakeHandle {
        match &self.engine {
            AnyEngine::Uring(engine) => engine.wake_handle(),
            AnyEngine::Epoll(engine) => engine.wake_handle(),
            #[cfg(test)]
            AnyEngine::Simulated(engine) => engine.wake_handle(),
        }
    }

    /// Submits everything asked for, waits until something happens or `until` has come, and adds what happened to
    /// `events`. Returns without an event after a signal, or when it only had something of its own to do.
    ///
    /// # Errors
    /// Only when the engine itself is broken; what goes wrong with sockets is an event.
    pub fn turn(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        on_engine!(self, engine => engine.turn(until, events))?;
        self.now = self.engine.now();
        Ok(())
    }

    /// The time at which the last turn ended. Costs no system call, and is the same for all events of a turn.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Number of sockets whose slot is in use, closed ones in the kernel's hands included.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        match &self.engine {
            AnyEngine::Uring(engine) => engine.socket_count(),
            AnyEngine::Epoll(engine) => engine.socket_count(),
            #[cfg(test)]
            AnyEngine::Simulated(engine) => engine.socket_count(),
        }
    }

    /// Completions that came for nobody: answers to cancellations that were too late.
    #[must_use]
    pub fn stale_count(&self) -> u64 {
        match &self.engine {
            AnyEngine::Uring(engine) => engine.stale_count(),
            AnyEngine::Epoll(engine) => engine.stale_count(),
            #[cfg(test)]
            AnyEngine::Simulated(engine) => engine.stale_count(),
        }
    }

    /// Receive buffers that are free, small and large. A worker whose sessions keep spans for later must copy them out
    /// before this reaches zero.
    #[must_use]
    pub fn free_buffers(&self) -> (usize, usize) {
        let pool = match &self.engine {
            AnyEngine::Uring(engine) => engine.pool(),
            AnyEngine::Epoll(engine) => engine.pool(),
            #[cfg(test)]
            AnyEngine::Simulated(engine) => engine.pool(),
        };
        (pool.available(buffer::Group::Small), pool.available(buffer::Group::Large))
    }
}
