//! The io_uring engine: what is asked of sockets becomes operations, what completes becomes events.
//!
//! An operation in flight owns its buffer and its descriptor until its last completion, so a closed socket keeps its
//! slot until the kernel has let go of everything; only then is the descriptor closed. A cancellation is a request: the
//! operation may still succeed, and what it brings after a close is given back (bytes to their pool, an accepted
//! descriptor to the system).
//!
//! `accept`, `connect`, `receive` and `send` are what their names say, `cancel` ends operations early; the turn and the
//! end are here.

mod accept;
mod cancel;
mod connect;
mod receive;
mod send;

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode, squeue};
use socket2::SockAddr;

use super::IoLimits;
use super::adaptive::Adaptive;
use super::buffer::Pool;
use super::event::{Event, Full, SocketId};
use super::listener::{ACCEPT_PAUSE, Accepting, Listeners};
use super::operation::{Kind, Slots, Tag};
use super::patience::Patience;
use super::ring::{Ring, Setup, Wait};
use super::send::{Messages, Telling};
use super::starved::{Served, Starved};
use super::wake::WakeHandle;

use receive::Receive;
use send::Sending;

/// Name of the one operation that watches the wake handle; it has no slot.
const WAKER: SocketId = SocketId { slot: 0, generation: 0 };

/// How often a dropped engine enters the kernel to let its operations end.
const DRAIN_TURNS: usize = 1000;

pub(super) struct Uring {
    ring: Ring,
    pool: Rc<Pool>,
    sockets: Slots<Socket>,
    listeners: Listeners,
    /// Exactly the sockets whose state is `Receive::Starved`.
    starved: Starved,
    /// Reused by `feed_starved`.
    lucky: Vec<SocketId>,
    messages: Messages,
    /// Exactly the sockets with spans to be tried at the end of this turn, in the order of their first span.
    tries: Vec<SocketId>,
    /// Events that happened without the kernel's help; the next turn gives them out.
    ready: Vec<Event>,
    batch: Vec<cqueue::Entry>,
    waker: WakeHandle,
    /// The eight bytes the eventfd is read into. Boxed: the address is with the kernel.
    wake_count: Box<u64>,
    /// Operations submitted or queued whose last completion has not been reaped.
    in_flight: usize,
    /// The engine is being dropped: nothing is armed any more.
    ending: bool,
    /// Completions whose owner is gone. Only late answers to cancellations can be.
    stale: u64,
}

struct Socket {
    fd: OwnedFd,
    receive: Receive,
    served: Served,
    adaptive: Adaptive,
    sending: Sending,
    /// What is to be told of the try under way.
    telling: Telling,
    /// The address a connect in flight reads.
    connecting: Option<Box<SockAddr>>,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// Our direction ends as soon as the send in flight is over.
    ShutdownAfterSend,
    /// Waiting for the last completion.
    Closing,
}

impl Uring {
    /// Sets up ring, buffers and wake handle for the calling thread.
    pub(super) fn new(limits: &IoLimits) -> io::Result<Uring> {
        let ring = Ring::new()?;
        if !ring.has_needed_features() {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        let pool = Pool::registered(limits.small, limits.large, ring.inner())?;
        let mut engine = Uring {
            ring,
            pool,
            sockets: Slots::new(limits.sockets_max),
            listeners: Listeners::new(),
            starved: Starved::default(),
            lucky: Vec::new(),
            messages: Messages::new(),
            tries: Vec::new(),
            ready: Vec::new(),
            batch: Vec::new(),
            waker: WakeHandle::new()?,
            wake_count: Box::new(0),
            in_flight: 0,
            ending: false,
            stale: 0,
        };
        engine.arm_waker();
        Ok(engine)
    }

    pub(super) fn setup(&self) -> Setup {
        self.ring.setup()
    }

    pub(super) fn be_patient(&mut self, patience: Patience) {
        self.ring.be_patient(patience);
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
        self.stale
    }

    // What a worker asks for.

    pub(super) fn adopt(&mut self, fd: OwnedFd) -> Result<SocketId, (OwnedFd, Full)> {
        let socket = Socket {
            fd,
            receive: Receive::Idle,
            served: Served::No,
            adaptive: Adaptive::new(),
            sending: Sending::Nothing,
            telling: Telling::Rest,
            connecting: None,
            life: Life::Open,
        };
        self.sockets.insert(socket).map_err(|socket| (socket.fd, Full))
    }

    pub(super) fn close(&mut self, id: SocketId) {
        let Some(socket) = self.open(id) else { return };
        socket.life = Life::Closing;
        let receive = socket.receive;
        let waits_for_room = matches!(socket.sending, Sending::Bytes { .. });
        let connects = socket.connecting.is_some();
        match receive {
            Receive::Armed => self.cancel(Tag::new(Kind::Receive, id)),
            Receive::Starved => self.starved.forget(id),
            Receive::Idle | Receive::Stopping | Receive::Restarting | Receive::Over => {}
        }
        if waits_for_room {
            self.cancel(Tag::new(Kind::Send, id));
        }
        if connects {
            self.cancel(Tag::new(Kind::Connect, id));
        }
        self.remove_if_finished(id);
    }

    /// One turn: see `Io::turn`.
    pub(super) fn turn(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        self.feed_starved();
        let until = self.retry_accepts(until);
        // The starved may be waiting for the very buffers that the tries give back.
        let hurry = self.submit_tries() || (!self.tries.is_empty() && !self.starved.is_empty());
        let wait = match until {
            _ if hurry || !self.ready.is_empty() => Wait::No,
            None => Wait::Forever,
            Some(until) => match until.checked_duration_since(Instant::now()) {
                Some(duration) if !duration.is_zero() => Wait::For(duration),
                _ => Wait::No,
            },
        };
        self.ring.enter(wait)?;
        let mut batch = mem::take(&mut self.batch);
        self.ring.swap_completed(&mut batch);
        self.conclude_tries(&batch, events);
        self.give_out_ready(events);
        for entry in batch.drain(..) {
            self.complete(&entry, events);
        }
        self.batch = batch;
        Ok(())
    }

    // What the kernel says.

    fn give_out_ready(&mut self, events: &mut Vec<Event>) {
        for event in self.ready.drain(..) {
            let closed = match event.socket() {
                Some(id) => !self.sockets.get_mut(id).is_some_and(|socket| socket.is_open()),
                None => false,
            };
            if !closed {
                events.push(event);
            }
        }
    }

    fn complete(&mut self, entry: &cqueue::Entry, events: &mut Vec<Event>) {
        let Some(tag) = Tag::from_bits(entry.user_data()) else {
            self.stale += 1;
            return;
        };
        if tag.cancel {
            return self.cancel_missed(tag);
        }
        if tag.kind != Kind::Send && !cqueue::more(entry.flags()) {
            self.in_flight -= 1;
        }
        match tag.kind {
            Kind::Receive => self.received(tag.owner, entry, events),
            // Handled before everything else.
            Kind::Send => {}
            Kind::Connect => self.connected(tag.owner, entry.result(), events),
            Kind::Accept => self.accepted(tag.owner, entry, events),
            Kind::Wake => self.woken(events),
        }
    }

    fn woken(&mut self, events: &mut Vec<Event>) {
        self.waker.clear();
        if !self.ending {
            self.arm_waker();
        }
        events.push(Event::Woken);
    }

    // How it becomes operations.

    fn arm_waker(&mut self) {
        let target: *mut u64 = &mut *self.wake_count;
        let entry = opcode::Read::new(Fd(self.waker.as_raw_fd()), target.cast(), 8).build();
        // SAFETY: the box and the eventfd belong to the engine, whose end waits for all operations; nobody reads the
        // number.
        unsafe { self.submit(entry, Tag::new(Kind::Wake, WAKER)) };
    }

    /// # Safety
    /// As for `Ring::push`: addresses and descriptor of `entry` stay valid until the last completion with this tag.
    unsafe fn submit(&mut self, entry: squeue::Entry, tag: Tag) {
        self.in_flight += 1;
        // SAFETY: passed on from the caller.
        unsafe { self.ring.push(&entry.user_data(tag.to_bits())) };
    }

    fn open(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(id).filter(|socket| socket.is_open())
    }

    /// Frees the slot and closes the descriptor of a closed socket that has nothing in flight.
    fn remove_if_finished(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let idle =
            !socket.receive.is_in_flight() && matches!(socket.sending, Sending::Nothing) && socket.connecting.is_none();
        if socket.life == Life::Closing && idle {
            self.sockets.remove(id);
        }
    }
}

impl Drop for Uring {
    /// Ends all operations before the memory they use goes away.
    fn drop(&mut self) {
        let cancel_all = opcode::AsyncCancel2::new(CancelBuilder::any().all())
            .build()
            .user_data(Tag::new(Kind::Wake, WAKER).cancellation().to_bits());
        let mut events = Vec::new();
        self.ending = true;
        let ids: Vec<_> = self.sockets.iter_mut().map(|(id, _)| id).collect();
        for id in ids {
            self.close(id);
        }
        for (_, listener) in self.listeners.iter_mut() {
            listener.state = Accepting::Stopping;
        }
        for _ in 0..DRAIN_TURNS {
            if self.in_flight == 0 {
                break;
            }
            // SAFETY: a cancellation has no addresses.
            unsafe { self.ring.push(&cancel_all) };
            let soon = Instant::now() + ACCEPT_PAUSE;
            if self.turn(Some(soon), &mut events).is_err() {
                break;
            }
            events.clear();
        }
        if self.in_flight > 0 || self.pool.unregister(self.ring.inner()).is_err() {
            // The kernel may still write: leaking the memory is the one safe way out.
            mem::forget(Rc::clone(&self.pool));
        }
    }
}

impl Socket {
    fn is_open(&self) -> bool {
        self.life != Life::Closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_socket_keeps_less_than_a_hundred_bytes() {
        assert!(size_of::<Socket>() <= 92, "{}", size_of::<Socket>());
    }
}
