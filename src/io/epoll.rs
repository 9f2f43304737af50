//! The epoll engine: the same face where io_uring is not to be had (containers forbid it by default).
//!
//! Level-triggered. A receive is called only after readiness, and once per readiness unless it filled its buffer; a send
//! is called at once. The interest of a socket is changed only when the kernel reports something nobody wants, so a short
//! pause costs no system call.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockAddr;

use super::adaptive::Adaptive;
use super::buffer::{Pool, Span};
use super::event::{Errno, Event, Full, SocketId};
use super::operation::{Kind, Slots, Tag};
use super::send::{self, Messages};
use super::socket;
use super::starved::{Served, Starved};
use super::wake::WakeHandle;
use super::{ACCEPT_PAUSE, IoLimits, LISTENERS_MAX};

/// Readiness events taken from the kernel in one turn.
const EVENTS_MAX: usize = 1024;

/// Receives of one socket in one turn: enough to follow a stream, few enough to be fair.
const RECEIVES_PER_TURN: usize = 4;

/// Clients accepted from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 64;

/// The eventfd's name: it has no slot.
const WAKER: SocketId = SocketId { slot: 0, generation: 0 };

const READABLE: u32 = libc::EPOLLIN as u32;
const WRITABLE: u32 = libc::EPOLLOUT as u32;
/// Reported whether asked for or not.
const BROKEN: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

pub(super) struct Epoll {
    epoll: OwnedFd,
    pool: Rc<Pool>,
    sockets: Slots<Socket>,
    listeners: Slots<Listener>,
    /// Exactly the sockets whose state is `Receive::Starved`.
    starved: Starved,
    /// Reused by `feed_starved`.
    lucky: Vec<SocketId>,
    messages: Messages,
    /// Results of calls made since the last turn; the next one gives them out.
    ready: Vec<Event>,
    /// Whether the last turn gave out results without asking the kernel. Never twice in a row: sockets that have news
    /// must not wait for ones that keep sending.
    skipped_kernel: bool,
    readiness: Vec<libc::epoll_event>,
    waker: WakeHandle,
    stale: u64,
}

struct Socket {
    fd: OwnedFd,
    receive: Receive,
    served: Served,
    adaptive: Adaptive,
    waiting: Waiting,
    interest: Interest,
    /// Our direction ends when what is waiting to be written is written.
    shutdown_after_send: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receive {
    Idle,
    Wanted,
    Starved,
    Over,
}

/// What waits until the socket takes bytes.
enum Waiting {
    Nothing,
    Connect,
    Bytes { buffer: Vec<u8>, offset: usize },
}

/// What the kernel was told to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// Not in the epoll set, which is the only way not to hear of a hang-up.
    Nothing,
    Watched(u32),
}

struct Listener {
    key: u32,
    fd: OwnedFd,
    /// None: watched.
    paused_until: Option<Instant>,
}

impl Epoll {
    pub(super) fn new(limits: &IoLimits) -> io::Result<Epoll> {
        // SAFETY: a system call without pointers.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let waker = WakeHandle::new()?;
        let tag = Tag::new(Kind::Wake, WAKER);
        control(&epoll, libc::EPOLL_CTL_ADD, waker.as_raw_fd(), READABLE, tag)?;
        Ok(Epoll {
            epoll,
            pool: Pool::new(limits.small, limits.large),
            sockets: Slots::new(limits.sockets_max),
            listeners: Slots::new(LISTENERS_MAX),
            starved: Starved::default(),
            lucky: Vec::new(),
            messages: Messages::new(),
            ready: Vec::new(),
            skipped_kernel: false,
            readiness: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
            waker,
            stale: 0,
        })
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
        // It cannot fail on an open descriptor.
        let _ = socket::set_nonblocking(&fd, true);
        let listener = Listener { key, fd, paused_until: None };
        match self.listeners.insert(listener) {
            Ok(id) => self.watch_listener(id),
            Err(_) => self.ready.push(Event::AcceptFailed { key, error: Errno(libc::ENFILE) }),
        }
    }

    pub(super) fn stop_listening(&mut self, key: u32) {
        let found = self.listeners.iter_mut().find(|(_, listener)| listener.key == key);
        let Some((id, _)) = found else { return };
        self.unwatch_listener(id);
        self.listeners.remove(id);
    }

    pub(super) fn adopt(&mut self, fd: OwnedFd) -> Result<SocketId, (OwnedFd, Full)> {
        let socket = Socket {
            fd,
            receive: Receive::Idle,
            served: Served::No,
            adaptive: Adaptive::new(),
            waiting: Waiting::Nothing,
            interest: Interest::Nothing,
            shutdown_after_send: false,
        };
        self.sockets.insert(socket).map_err(|socket| (socket.fd, Full))
    }

    pub(super) fn connect(&mut self, fd: OwnedFd, address: &SockAddr) -> Result<SocketId, (OwnedFd, Full)> {
        let id = self.adopt(fd)?;
        let socket = self.sockets.get_mut(id).expect("adopted just now");
        // It cannot fail on an open descriptor.
        let _ = socket::set_nonblocking(&socket.fd, true);
        match socket::connect_now(&socket.fd, address) {
            Err(Errno(libc::EINPROGRESS)) => {
                socket.waiting = Waiting::Connect;
                self.watch(id);
            }
            result => self.ready.push(Event::Connected { id, result }),
        }
        Ok(id)
    }

    pub(super) fn receive(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.receive == Receive::Idle {
            socket.receive = Receive::Wanted;
            self.watch(id);
        }
    }

    pub(super) fn pause(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        match socket.receive {
            Receive::Wanted => socket.receive = Receive::Idle,
            Receive::Starved => {
                socket.receive = Receive::Idle;
                self.starved.forget(id);
            }
            Receive::Idle | Receive::Over => {}
        }
    }

    pub(super) fn send(&mut self, id: SocketId, spans: impl IntoIterator<Item = Span>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        assert!(!matches!(socket.waiting, Waiting::Bytes { .. }), "one send at a time");
        let mut spans = spans.into_iter().filter(|span| !span.is_empty());
        let Some(first) = spans.next() else {
            self.ready.push(Event::Sent { id, sent: 0, unsent: Vec::new() });
            return;
        };
        let fd = socket.fd.as_raw_fd();
        let event = match spans.next() {
            None => {
                let result = send_now(fd, first.bytes());
                send::sent_one(id, first, result)
            }
            Some(second) => {
                let mut message = self.messages.take();
                message.fill([first, second].into_iter().chain(spans));
                // SAFETY: the header and the spans it points to live in `message` through the call.
                let result = unsafe { libc::sendmsg(fd, message.header(), send::TRY) };
                let event = message.sent(id, result_of(result));
                self.messages.give_back(message);
                event
            }
        };
        self.ready.push(event);
    }

    pub(super) fn send_bytes(&mut self, id: SocketId, buffer: Vec<u8>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        assert!(!matches!(socket.waiting, Waiting::Bytes { .. }), "one send at a time");
        socket.waiting = Waiting::Bytes { buffer, offset: 0 };
        if let Some(event) = self.write(id) {
            self.ready.push(event);
        } else {
            self.watch(id);
        }
    }

    pub(super) fn shutdown_write(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        match socket.waiting {
            Waiting::Bytes { .. } => socket.shutdown_after_send = true,
            Waiting::Nothing | Waiting::Connect => socket::shutdown_write(&socket.fd),
        }
    }

    /// Closing the descriptor takes it out of the epoll set.
    pub(super) fn close(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.remove(id) else {
            return;
        };
        if socket.receive == Receive::Starved {
            self.starved.forget(id);
        }
    }

    /// One turn: see `Io::turn`.
    pub(super) fn turn(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        self.feed_starved();
        let until = self.retry_accepts(until);
        if !self.ready.is_empty() && !self.skipped_kernel {
            self.skipped_kernel = true;
            self.give_out_ready(events);
            return Ok(());
        }
        self.skipped_kernel = false;
        let timeout = match until {
            _ if !self.ready.is_empty() => Some(Duration::ZERO),
            None => None,
            Some(until) => Some(until.saturating_duration_since(Instant::now())),
        };
        let count = wait(&self.epoll, &mut self.readiness, timeout)?;
        self.give_out_ready(events);
        for index in 0..count {
            let libc::epoll_event { events: flags, u64: bits } = self.readiness[index];
            let Some(tag) = Tag::from_bits(bits) else {
                self.stale += 1;
                continue;
            };
            match tag.kind {
                Kind::Accept => self.accept(tag.owner, events),
                Kind::Wake => self.woken(events),
                Kind::Receive | Kind::Send | Kind::Connect => self.socket_is_ready(tag.owner, flags, events),
            }
        }
        Ok(())
    }

    // What the kernel says.

    fn give_out_ready(&mut self, events: &mut Vec<Event>) {
        for event in self.ready.drain(..) {
            let closed = match event.socket() {
                Some(id) => self.sockets.get_mut(id).is_none(),
                None => false,
            };
            if !closed {
                events.push(event);
            }
        }
    }

    fn socket_is_ready(&mut self, id: SocketId, flags: u32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stale += 1;
            return;
        };
        let waits = !matches!(socket.waiting, Waiting::Nothing);
        if waits && flags & (WRITABLE | BROKEN) != 0 {
            events.extend(self.write(id));
        }
        if flags & (READABLE | BROKEN) != 0 {
            self.read(id, events);
        }
        self.unwatch_unwanted(id, flags);
    }

    /// Receives what is there, as far as this turn's share goes.
    fn read(&mut self, id: SocketId, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.receive != Receive::Wanted {
            return;
        }
        for _ in 0..RECEIVES_PER_TURN {
            let group = socket.adaptive.group();
            let Some(mut span) = self.pool.take(group) else {
                socket.receive = Receive::Starved;
                self.starved.add(group, id, socket.served);
                return;
            };
            match receive_now(socket.fd.as_raw_fd(), &mut span) {
                Ok(0) => {
                    socket.receive = Receive::Over;
                    events.push(Event::Ended { id });
                    return;
                }
                Ok(length) => {
                    let filled = length == self.pool.size(group);
                    socket.served = Served::Yes;
                    socket.adaptive.received(length, &self.pool);
                    events.push(Event::Received { id, span });
                    if !filled {
                        return;
                    }
                }
                Err(Errno(libc::EAGAIN | libc::EINTR)) => return,
                Err(error) => {
                    socket.receive = Receive::Over;
                    events.push(Event::Failed { id, error });
                    return;
                }
            }
        }
    }

    /// Goes on with what waits for room. Some: it is over.
    fn write(&mut self, id: SocketId) -> Option<Event> {
        let socket = self.sockets.get_mut(id)?;
        let result = match &mut socket.waiting {
            Waiting::Nothing => return None,
            Waiting::Connect => {
                socket.waiting = Waiting::Nothing;
                let result = socket::take_error(&socket.fd);
                return Some(Event::Connected { id, result });
            }
            Waiting::Bytes { buffer, offset } => write_all(socket.fd.as_raw_fd(), buffer, offset)?,
        };
        let waiting = std::mem::replace(&mut socket.waiting, Waiting::Nothing);
        let Waiting::Bytes { buffer, .. } = waiting else {
            unreachable!("bytes were waiting");
        };
        if std::mem::take(&mut socket.shutdown_after_send) {
            socket::shutdown_write(&socket.fd);
        }
        Some(Event::SentBytes { id, result, buffer })
    }

    fn accept(&mut self, id: SocketId, events: &mut Vec<Event>) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get_mut(id) else {
                return;
            };
            let key = listener.key;
            match accept_now(listener.fd.as_raw_fd()) {
                Ok(socket) => events.push(Event::Accepted { key, socket }),
                Err(Errno(libc::EAGAIN)) => return,
                Err(error) if socket::is_one_clients_error(error.0) => {}
                Err(error) => {
                    listener.paused_until = Some(Instant::now() + ACCEPT_PAUSE);
                    self.unwatch_listener(id);
                    events.push(Event::AcceptFailed { key, error });
                    return;
                }
            }
        }
    }

    fn woken(&mut self, events: &mut Vec<Event>) {
        let mut count = [0_u8; 8];
        // SAFETY: the eight bytes live through the call. It does not block: the eventfd is readable, and only this
        // thread reads it.
        unsafe { libc::read(self.waker.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
        self.waker.clear();
        events.push(Event::Woken);
    }

    // What the kernel watches.

    /// Makes sure that the kernel watches for everything the socket waits for. Never takes anything away.
    fn watch(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let wanted = socket.wanted();
        match socket.interest {
            Interest::Watched(mask) if mask & wanted == wanted => {}
            Interest::Watched(mask) => self.set_interest(id, Interest::Watched(mask | wanted)),
            Interest::Nothing => self.set_interest(id, Interest::Watched(wanted)),
        }
    }

    /// Takes away what was reported and nobody wants, or it would be reported again at once.
    fn unwatch_unwanted(&mut self, id: SocketId, flags: u32) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let Interest::Watched(mask) = socket.interest else {
            return;
        };
        let wanted = socket.wanted();
        if wanted == 0 && flags & BROKEN != 0 {
            self.set_interest(id, Interest::Nothing);
        } else if mask & flags & !wanted != 0 {
            self.set_interest(id, Interest::Watched(wanted));
        }
    }

    fn set_interest(&mut self, id: SocketId, interest: Interest) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let (operation, mask) = match (socket.interest, interest) {
            (Interest::Nothing, Interest::Nothing) => return,
            (Interest::Nothing, Interest::Watched(mask)) => (libc::EPOLL_CTL_ADD, mask),
            (Interest::Watched(_), Interest::Watched(mask)) => (libc::EPOLL_CTL_MOD, mask),
            (Interest::Watched(_), Interest::Nothing) => (libc::EPOLL_CTL_DEL, 0),
        };
        socket.interest = interest;
        let tag = Tag::new(Kind::Receive, id);
        if let Err(error) = control(&self.epoll, operation, socket.fd.as_raw_fd(), mask, tag) {
            // The system's limit of watches: without one the socket is of no use.
            socket.interest = Interest::Nothing;
            let error = Errno::from(error);
            self.ready.push(Event::Failed { id, error });
        }
    }

    /// Several workers may watch the same listener: EPOLLEXCLUSIVE wakes one of them.
    fn watch_listener(&mut self, id: SocketId) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        listener.paused_until = None;
        let mask = READABLE | libc::EPOLLEXCLUSIVE as u32;
        let tag = Tag::new(Kind::Accept, id);
        let fd = listener.fd.as_raw_fd();
        if let Err(error) = control(&self.epoll, libc::EPOLL_CTL_ADD, fd, mask, tag) {
            listener.paused_until = Some(Instant::now() + ACCEPT_PAUSE);
            let (key, error) = (listener.key, Errno::from(error));
            self.ready.push(Event::AcceptFailed { key, error });
        }
    }

    fn unwatch_listener(&mut self, id: SocketId) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        let tag = Tag::new(Kind::Accept, id);
        // Fails when it was not watched, which is what is wanted.
        let _ = control(&self.epoll, libc::EPOLL_CTL_DEL, listener.fd.as_raw_fd(), 0, tag);
    }

    fn feed_starved(&mut self) {
        let mut lucky = std::mem::take(&mut self.lucky);
        self.starved.feed(&self.pool, &mut lucky);
        for id in lucky.drain(..) {
            let Some(socket) = self.sockets.get_mut(id) else {
                continue;
            };
            socket.receive = Receive::Wanted;
            socket.served = Served::No;
            self.watch(id);
        }
        self.lucky = lucky;
    }

    /// Watches the listeners again whose pause is over; gives back the time at which the next one's is, or `until`.
    fn retry_accepts(&mut self, until: Option<Instant>) -> Option<Instant> {
        while let Some((id, pause_end)) = self.first_paused() {
            if pause_end > Instant::now() {
                return Some(until.map_or(pause_end, |until| until.min(pause_end)));
            }
            self.watch_listener(id);
        }
        until
    }

    /// The paused listener that is to be tried first.
    fn first_paused(&mut self) -> Option<(SocketId, Instant)> {
        let paused = self.listeners.iter_mut().filter_map(|(id, listener)| Some((id, listener.paused_until?)));
        paused.min_by_key(|(_, until)| *until)
    }
}

impl Socket {
    /// The readiness that would be of use now.
    fn wanted(&self) -> u32 {
        let read = match self.receive {
            Receive::Wanted => READABLE,
            Receive::Idle | Receive::Starved | Receive::Over => 0,
        };
        let write = match self.waiting {
            Waiting::Nothing => 0,
            Waiting::Connect | Waiting::Bytes { .. } => WRITABLE,
        };
        read | write
    }
}

// The system calls.

fn control(epoll: &OwnedFd, operation: i32, fd: RawFd, mask: u32, tag: Tag) -> io::Result<()> {
    let mut event = libc::epoll_event { events: mask, u64: tag.to_bits() };
    // SAFETY: the event lives through the call, which copies it.
    if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &mut event) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Waits for readiness; none after the timeout or a signal.
fn wait(epoll: &OwnedFd, readiness: &mut [libc::epoll_event], timeout: Option<Duration>) -> io::Result<usize> {
    // Rounded up, or the last millisecond before a deadline would be spent turning round and round.
    let timeout = match timeout {
        None => -1,
        Some(timeout) => i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
    };
    // SAFETY: the kernel writes at most as many events as the slice has.
    let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), readiness.as_mut_ptr(), readiness.len() as i32, timeout) };
    if count >= 0 {
        return Ok(count as usize);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        error => Err(error),
    }
}

/// Receives into the whole of `span`, which then has the length of what came.
fn receive_now(fd: RawFd, span: &mut Span) -> Result<usize, Errno> {
    // SAFETY: the span is fresh from the pool, so its buffer is ours alone, as long as the span says.
    let received = unsafe { libc::recv(fd, span.as_mut_ptr().cast(), span.len(), libc::MSG_DONTWAIT) };
    if received < 0 {
        return Err(Errno::last());
    }
    span.truncate(received as usize);
    Ok(received as usize)
}

/// Bytes written, or the negative error number, as a completion would say it.
fn send_now(fd: RawFd, bytes: &[u8]) -> i32 {
    // SAFETY: the bytes live through the call.
    result_of(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), send::TRY) })
}

fn result_of(returned: isize) -> i32 {
    if returned < 0 {
        -Errno::last().0
    } else {
        // At most `SEND_SPANS_MAX` buffers of `BUFFER_SIZE_MAX`, or what `write_all` cut to size.
        returned as i32
    }
}

/// Writes from `offset` on as much as the socket takes. None: it takes no more for now.
fn write_all(fd: RawFd, buffer: &[u8], offset: &mut usize) -> Option<Result<(), Errno>> {
    while *offset < buffer.len() {
        let end = buffer.len().min(*offset + i32::MAX as usize);
        match send_now(fd, &buffer[*offset..end]) {
            sent if sent >= 0 => *offset += sent as usize,
            error => match -error {
                libc::EAGAIN => return None,
                libc::EINTR => {}
                error => return Some(Err(Errno(error))),
            },
        }
    }
    Some(Ok(()))
}

fn accept_now(listener: RawFd) -> Result<OwnedFd, Errno> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no address is asked for.
    let socket = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    if socket < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}
