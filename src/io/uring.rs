//! The io_uring engine: what is asked of sockets becomes operations, what completes becomes events.
//!
//! An operation in flight owns its buffer and its descriptor until its last completion, so a closed socket keeps its
//! slot until the kernel has let go of everything; only then is the descriptor closed. A cancellation is a request: the
//! operation may still succeed, and what it brings after a close is given back (bytes to their pool, an accepted
//! descriptor to the system).

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode, squeue};
use socket2::SockAddr;

use super::adaptive::Adaptive;
use super::buffer::{Pool, Span};
use super::event::{Errno, Event, Full, SocketId};
use super::operation::{Kind, Slots, Tag};
use super::ring::{Ring, Setup, Wait};
use super::send::{self, Message, Messages};
use super::socket;
use super::starved::{Served, Starved};
use super::wake::WakeHandle;
use super::{ACCEPT_PAUSE, IoLimits, LISTENERS_MAX};

/// Name of the one operation that watches the wake handle; it has no slot.
const WAKER: SocketId = SocketId { slot: 0, generation: 0 };

/// How often a dropped engine enters the kernel to let its operations end.
const DRAIN_TURNS: usize = 1000;

pub(super) struct Uring {
    ring: Ring,
    pool: Rc<Pool>,
    sockets: Slots<Socket>,
    listeners: Slots<Listener>,
    /// Exactly the sockets whose state is `Receive::Starved`.
    starved: Starved,
    /// Reused by `feed_starved`.
    lucky: Vec<SocketId>,
    messages: Messages,
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
    /// The address a connect in flight reads.
    connecting: Option<Box<SockAddr>>,
    life: Life,
}

/// Where the receiving side of a socket is. In the states with an operation in flight its last completion decides what
/// comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receive {
    /// Nobody wants bytes.
    Idle,
    /// In flight and wanted.
    Armed,
    /// In flight, cancelled, not wanted.
    Stopping,
    /// In flight, cancelled, wanted again afterwards.
    Restarting,
    /// Wanted, waiting for a free buffer.
    Starved,
    /// The peer has finished, or the connection broke: there will be no more bytes.
    Over,
}

impl Receive {
    fn is_in_flight(self) -> bool {
        matches!(self, Receive::Armed | Receive::Stopping | Receive::Restarting)
    }
}

/// What the one send in flight owns.
enum Sending {
    Nothing,
    One(Span),
    Several(Box<Message>),
    /// Bytes from `offset` on are still to be written.
    Bytes {
        buffer: Vec<u8>,
        offset: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// Our direction ends as soon as the send in flight is over.
    ShutdownAfterSend,
    /// Waiting for the last completion.
    Closing,
}

struct Listener {
    key: u32,
    fd: OwnedFd,
    state: Accepting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    Armed,
    /// The system had no descriptors or memory; to be tried again then.
    Paused {
        until: Instant,
    },
    Stopping,
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
            listeners: Slots::new(LISTENERS_MAX),
            starved: Starved::default(),
            lucky: Vec::new(),
            messages: Messages::new(),
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

    pub(super) fn listen(&mut self, key: u32, fd: OwnedFd) {
        // A nonblocking listener would give the accept back with EAGAIN on some kernels instead of waiting. Changing it
        // cannot fail on an open descriptor.
        let _ = socket::set_nonblocking(&fd, false);
        let listener = Listener { key, fd, state: Accepting::Armed };
        match self.listeners.insert(listener) {
            Ok(id) => self.arm_accept(id),
            Err(_) => self.ready.push(Event::AcceptFailed { key, error: Errno(libc::ENFILE) }),
        }
    }

    pub(super) fn stop_listening(&mut self, key: u32) {
        let mut armed = None;
        let mut paused = None;
        for (id, listener) in self.listeners.iter_mut() {
            if listener.key != key {
                continue;
            }
            match listener.state {
                Accepting::Armed => {
                    listener.state = Accepting::Stopping;
                    armed = Some(id);
                }
                Accepting::Paused { .. } => paused = Some(id),
                Accepting::Stopping => {}
            }
        }
        if let Some(id) = armed {
            self.cancel(Tag::new(Kind::Accept, id));
        }
        if let Some(id) = paused {
            self.listeners.remove(id);
        }
        self.ready.retain(|event| {
            !matches!(event, Event::Accepted { key: other, .. } | Event::AcceptFailed { key: other, .. } if *other == key)
        });
    }

    pub(super) fn adopt(&mut self, fd: OwnedFd) -> Result<SocketId, (OwnedFd, Full)> {
        let socket = Socket {
            fd,
            receive: Receive::Idle,
            served: Served::No,
            adaptive: Adaptive::new(),
            sending: Sending::Nothing,
            connecting: None,
            life: Life::Open,
        };
        self.sockets.insert(socket).map_err(|socket| (socket.fd, Full))
    }

    pub(super) fn connect(&mut self, fd: OwnedFd, address: &SockAddr) -> Result<SocketId, (OwnedFd, Full)> {
        let id = self.adopt(fd)?;
        let socket = self.sockets.get_mut(id).expect("adopted just now");
        if address.is_unix() {
            // Such a connect never waits for a network; a full backlog is an error at once.
            let result = socket::connect_now(&socket.fd, address);
            self.ready.push(Event::Connected { id, result });
            return Ok(id);
        }
        let address = socket.connecting.insert(Box::new(address.clone()));
        let entry = opcode::Connect::new(Fd(socket.fd.as_raw_fd()), address.as_ptr().cast(), address.len()).build();
        // SAFETY: the address is boxed and owned by the socket's slot, as is the descriptor; both stay until the
        // connect's completion, which `connected` handles.
        unsafe { self.submit(entry, Tag::new(Kind::Connect, id)) };
        Ok(id)
    }

    pub(super) fn receive(&mut self, id: SocketId) {
        let Some(socket) = self.open(id) else { return };
        match socket.receive {
            Receive::Idle => self.arm_receive(id),
            Receive::Stopping => socket.receive = Receive::Restarting,
            Receive::Armed | Receive::Restarting | Receive::Starved | Receive::Over => {}
        }
    }

    pub(super) fn pause(&mut self, id: SocketId) {
        let Some(socket) = self.open(id) else { return };
        match socket.receive {
            Receive::Armed => {
                socket.receive = Receive::Stopping;
                self.cancel(Tag::new(Kind::Receive, id));
            }
            Receive::Restarting => socket.receive = Receive::Stopping,
            Receive::Starved => {
                socket.receive = Receive::Idle;
                self.starved.forget(id);
            }
            Receive::Idle | Receive::Stopping | Receive::Over => {}
        }
    }

    pub(super) fn send(&mut self, id: SocketId, spans: impl IntoIterator<Item = Span>) {
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.is_open()) else {
            return;
        };
        assert!(matches!(socket.sending, Sending::Nothing), "one send at a time");
        let mut spans = spans.into_iter().filter(|span| !span.is_empty());
        let Some(first) = spans.next() else {
            self.ready.push(Event::Sent { id, sent: 0, unsent: Vec::new() });
            return;
        };
        let entry = match spans.next() {
            None => socket.send_one(first),
            Some(second) => {
                let mut message = self.messages.take();
                message.fill([first, second].into_iter().chain(spans));
                socket.send_several(message)
            }
        };
        // SAFETY: spans and message are owned by the socket's slot, as is the descriptor; `sent` releases them at the
        // completion.
        unsafe { self.submit(entry, Tag::new(Kind::Send, id)) };
    }

    pub(super) fn send_bytes(&mut self, id: SocketId, buffer: Vec<u8>) {
        let Some(socket) = self.open(id) else { return };
        assert!(matches!(socket.sending, Sending::Nothing), "one send at a time");
        if buffer.is_empty() {
            self.ready.push(Event::SentBytes { id, result: Ok(()), buffer });
            return;
        }
        socket.sending = Sending::Bytes { buffer, offset: 0 };
        self.arm_send_bytes(id);
    }

    pub(super) fn shutdown_write(&mut self, id: SocketId) {
        let Some(socket) = self.open(id) else { return };
        match socket.sending {
            Sending::Nothing => socket::shutdown_write(&socket.fd),
            Sending::One(_) | Sending::Several(_) | Sending::Bytes { .. } => socket.life = Life::ShutdownAfterSend,
        }
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
        let wait = match until {
            _ if !self.ready.is_empty() => Wait::No,
            None => Wait::Forever,
            Some(until) => match until.checked_duration_since(Instant::now()) {
                Some(duration) if !duration.is_zero() => Wait::For(duration),
                _ => Wait::No,
            },
        };
        self.ring.enter(wait)?;
        self.give_out_ready(events);
        let mut batch = mem::take(&mut self.batch);
        self.ring.swap_completed(&mut batch);
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
        if !cqueue::more(entry.flags()) {
            self.in_flight -= 1;
        }
        match tag.kind {
            Kind::Receive => self.received(tag.owner, entry, events),
            Kind::Send => self.sent(tag.owner, entry.result(), events),
            Kind::Connect => self.connected(tag.owner, entry.result(), events),
            Kind::Accept => self.accepted(tag.owner, entry, events),
            Kind::Wake => self.woken(events),
        }
    }

    fn received(&mut self, id: SocketId, entry: &cqueue::Entry, events: &mut Vec<Event>) {
        let result = entry.result();
        let length = result.max(0) as usize;
        // Taken also when the bytes are not wanted any more: dropping the span returns the buffer.
        let span = cqueue::buffer_select(entry.flags()).map(|buffer| self.pool.filled(buffer, length));
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stale += 1;
            return;
        };
        if socket.is_open()
            && length > 0
            && let Some(span) = span
        {
            events.push(Event::Received { id, span });
            socket.served = Served::Yes;
            let moves = socket.adaptive.received(length, &self.pool);
            if moves && socket.receive == Receive::Armed && cqueue::more(entry.flags()) {
                socket.receive = Receive::Restarting;
                self.cancel(Tag::new(Kind::Receive, id));
            }
        }
        if !cqueue::more(entry.flags()) {
            self.receive_over(id, result, events);
        }
    }

    /// The last completion of a multishot receive.
    fn receive_over(&mut self, id: SocketId, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let wanted = matches!(socket.receive, Receive::Armed | Receive::Restarting);
        socket.receive = Receive::Idle;
        if !socket.is_open() {
            return self.remove_if_finished(id);
        }
        match -result {
            0 => {
                socket.receive = Receive::Over;
                events.push(Event::Ended { id });
            }
            libc::ENOBUFS if wanted => {
                socket.receive = Receive::Starved;
                self.starved.add(socket.adaptive.group(), id, socket.served);
            }
            ..0 | libc::ECANCELED | libc::EAGAIN | libc::EINTR if wanted => self.arm_receive(id),
            ..0 | libc::ECANCELED | libc::EAGAIN | libc::EINTR | libc::ENOBUFS => {}
            error => {
                socket.receive = Receive::Over;
                events.push(Event::Failed { id, error: Errno(error) });
            }
        }
    }

    fn sent(&mut self, id: SocketId, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stale += 1;
            return;
        };
        let open = socket.is_open();
        match mem::replace(&mut socket.sending, Sending::Nothing) {
            Sending::Nothing => unreachable!("a completion without a send"),
            Sending::One(_) | Sending::Several(_) if !open => {}
            Sending::One(span) => events.push(send::sent_one(id, span, result)),
            Sending::Several(mut message) => {
                events.push(message.sent(id, result));
                self.messages.give_back(message);
            }
            Sending::Bytes { buffer, offset } => {
                return self.sent_bytes(id, buffer, offset, result, events);
            }
        }
        self.after_send(id);
    }

    fn sent_bytes(&mut self, id: SocketId, buffer: Vec<u8>, offset: usize, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if !socket.is_open() {
            return self.after_send(id);
        }
        let offset = offset + result.max(0) as usize;
        let unfinished = match -result {
            ..=0 => offset < buffer.len(),
            libc::EAGAIN | libc::EINTR => true,
            _ => false,
        };
        if unfinished {
            socket.sending = Sending::Bytes { buffer, offset };
            return self.arm_send_bytes(id);
        }
        let result = if result < 0 { Err(Errno(-result)) } else { Ok(()) };
        events.push(Event::SentBytes { id, result, buffer });
        self.after_send(id);
    }

    /// What waited for the end of the send in flight.
    fn after_send(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        match socket.life {
            Life::Open => {}
            Life::ShutdownAfterSend => {
                socket::shutdown_write(&socket.fd);
                socket.life = Life::Open;
            }
            Life::Closing => self.remove_if_finished(id),
        }
    }

    fn connected(&mut self, id: SocketId, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stale += 1;
            return;
        };
        socket.connecting = None;
        if !socket.is_open() {
            return self.remove_if_finished(id);
        }
        let result = if result < 0 { Err(Errno(-result)) } else { Ok(()) };
        events.push(Event::Connected { id, result });
    }

    fn accepted(&mut self, id: SocketId, entry: &cqueue::Entry, events: &mut Vec<Event>) {
        let result = entry.result();
        let socket = (result >= 0).then(|| {
            // SAFETY: the kernel made this descriptor for us with this completion; nobody else knows it.
            unsafe { OwnedFd::from_raw_fd(result) }
        });
        let Some(listener) = self.listeners.get_mut(id) else {
            self.stale += 1;
            return;
        };
        let key = listener.key;
        if listener.state == Accepting::Stopping {
            // A client that came after the cancellation: its descriptor is closed here.
            drop(socket);
            if !cqueue::more(entry.flags()) {
                self.listeners.remove(id);
            }
            return;
        }
        if let Some(socket) = socket {
            events.push(Event::Accepted { key, socket });
        }
        if cqueue::more(entry.flags()) {
            return;
        }
        if result >= 0 || socket::is_one_clients_error(-result) {
            return self.arm_accept(id);
        }
        let until = Instant::now() + ACCEPT_PAUSE;
        listener.state = Accepting::Paused { until };
        let error = Errno(-result);
        events.push(Event::AcceptFailed { key, error });
    }

    fn woken(&mut self, events: &mut Vec<Event>) {
        self.waker.clear();
        if !self.ending {
            self.arm_waker();
        }
        events.push(Event::Woken);
    }

    /// A cancellation found nothing to cancel. Mostly the operation has completed by itself; but one whose socket
    /// became ready just then is out of the kernel's sight for a moment, and goes back to waiting afterwards.
    fn cancel_missed(&mut self, tag: Tag) {
        let still_in_flight = match tag.kind {
            Kind::Accept => {
                self.listeners.get_mut(tag.owner).is_some_and(|listener| listener.state == Accepting::Stopping)
            }
            Kind::Receive => self.sockets.get_mut(tag.owner).is_some_and(|socket| {
                matches!(socket.receive, Receive::Stopping | Receive::Restarting)
                    || (socket.receive == Receive::Armed && !socket.is_open())
            }),
            Kind::Send => self
                .sockets
                .get_mut(tag.owner)
                .is_some_and(|socket| matches!(socket.sending, Sending::Bytes { .. }) && !socket.is_open()),
            Kind::Connect => {
                self.sockets.get_mut(tag.owner).is_some_and(|socket| socket.connecting.is_some() && !socket.is_open())
            }
            Kind::Wake => false,
        };
        if still_in_flight {
            self.cancel(Tag { cancel: false, ..tag });
        } else {
            self.stale += 1;
        }
    }

    // How it becomes operations.

    fn arm_receive(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.receive = Receive::Armed;
        socket.served = Served::No;
        let group = socket.adaptive.group() as u16;
        let entry = opcode::RecvMulti::new(Fd(socket.fd.as_raw_fd()), group).build();
        // SAFETY: the kernel writes only into buffers of the registered groups, which `self.pool` keeps; the slot keeps
        // the descriptor until the last completion, which `receive_over` handles.
        unsafe { self.submit(entry, Tag::new(Kind::Receive, id)) };
    }

    fn arm_send_bytes(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let Sending::Bytes { buffer, offset } = &socket.sending else {
            return;
        };
        let bytes = &buffer[*offset..];
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(socket.fd.as_raw_fd()), bytes.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: the slot owns the vector, which is neither touched nor dropped before the completion (`sent`); its
        // heap memory does not move with the slot.
        unsafe { self.submit(entry, Tag::new(Kind::Send, id)) };
    }

    fn arm_accept(&mut self, id: SocketId) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        listener.state = Accepting::Armed;
        let entry = opcode::AcceptMulti::new(Fd(listener.fd.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build();
        // SAFETY: no addresses; the slot keeps the listener's descriptor until the last completion.
        unsafe { self.submit(entry, Tag::new(Kind::Accept, id)) };
    }

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

    /// Asks the kernel to end an operation early. Its last completion comes either way.
    fn cancel(&mut self, tag: Tag) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(tag.to_bits()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(tag.cancellation().to_bits());
        // SAFETY: a cancellation names an operation by number; it has no addresses.
        unsafe { self.ring.push(&entry) };
    }

    fn feed_starved(&mut self) {
        let mut lucky = mem::take(&mut self.lucky);
        self.starved.feed(&self.pool, &mut lucky);
        for id in lucky.drain(..) {
            self.arm_receive(id);
        }
        self.lucky = lucky;
    }

    /// Arms the listeners whose pause is over; gives back the time at which the next one's is, or `until`.
    fn retry_accepts(&mut self, until: Option<Instant>) -> Option<Instant> {
        while let Some((id, pause_end)) = self.first_paused() {
            if pause_end > Instant::now() {
                return Some(until.map_or(pause_end, |until| until.min(pause_end)));
            }
            self.arm_accept(id);
        }
        until
    }

    /// The paused listener that is to be tried first.
    fn first_paused(&mut self) -> Option<(SocketId, Instant)> {
        let paused = self.listeners.iter_mut().filter_map(|(id, listener)| match listener.state {
            Accepting::Paused { until } => Some((id, until)),
            Accepting::Armed | Accepting::Stopping => None,
        });
        paused.min_by_key(|(_, until)| *until)
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

    fn raw(&self) -> Fd {
        Fd(self.fd.as_raw_fd())
    }

    /// MSG_DONTWAIT makes it a try: the kernel completes it at once, with what fitted.
    fn send_one(&mut self, span: Span) -> squeue::Entry {
        let entry = opcode::Send::new(self.raw(), span.as_ptr(), span.len() as u32).flags(send::TRY).build();
        self.sending = Sending::One(span);
        entry
    }

    fn send_several(&mut self, mut message: Box<Message>) -> squeue::Entry {
        let entry = opcode::SendMsg::new(self.raw(), message.header()).flags(send::TRY as u32).build();
        self.sending = Sending::Several(message);
        entry
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
