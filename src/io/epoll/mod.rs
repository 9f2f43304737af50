//! The epoll engine: the same face where io_uring is not to be had (containers forbid it by default).
//!
//! Level-triggered. A receive is called only after readiness, and once per readiness unless it filled its buffer; a send
//! is called at the end of a turn, for all that came for the socket. The interest of a socket is changed only when the
//! kernel reports something nobody wants, so a short pause costs no system call.

mod accept;
mod interest;
mod receive;
mod send;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockAddr;

use super::IoLimits;
use super::adaptive::Adaptive;
use super::buffer::Pool;
use super::event::{Errno, Event, Full, SocketId};
use super::listener::Listeners;
use super::operation::{Kind, Slots, Tag};
use super::patience::Patience;
use super::send::{Messages, Telling};
use super::socket;
use super::starved::{Served, Starved};
use super::wake::WakeHandle;

use interest::{Interest, control};
use receive::Receive;
use send::Sending;

/// Readiness events taken from the kernel in one turn.
const EVENTS_MAX: usize = 1024;

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
    listeners: Listeners,
    /// Exactly the sockets whose state is `Receive::Starved`.
    starved: Starved,
    /// Reused by `feed_starved`.
    lucky: Vec<SocketId>,
    messages: Messages,
    /// The sockets with spans to be tried at the end of this turn.
    tries: Vec<SocketId>,
    /// Results of calls made since the last turn; the next one gives them out.
    ready: Vec<Event>,
    /// Whether the last turn gave out results without asking the kernel. Never twice in a row: sockets that have news
    /// must not wait for ones that keep sending.
    skipped_kernel: bool,
    patience: Patience,
    readiness: Vec<libc::epoll_event>,
    waker: WakeHandle,
    stale: u64,
}

struct Socket {
    fd: OwnedFd,
    receive: Receive,
    served: Served,
    adaptive: Adaptive,
    sending: Sending,
    /// What is to be told of the try.
    telling: Telling,
    interest: Interest,
    /// Our direction ends when what is waiting to be written is written.
    shutdown_after_send: bool,
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
            listeners: Listeners::new(),
            starved: Starved::default(),
            lucky: Vec::new(),
            messages: Messages::new(),
            tries: Vec::new(),
            ready: Vec::new(),
            skipped_kernel: false,
            patience: Patience::none(),
            readiness: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
            waker,
            stale: 0,
        })
    }

    pub(super) fn be_patient(&mut self, patience: Patience) {
        self.patience = patience;
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
                socket.sending = Sending::Connect;
                self.watch(id);
            }
            result => self.ready.push(Event::Connected { id, result }),
        }
        Ok(id)
    }

    /// Closing the descriptor takes it out of the epoll set.
    pub(super) fn close(&mut self, id: SocketId) {
        self.try_now(id);
        let Some(socket) = self.sockets.remove(id) else {
            return;
        };
        if socket.receive == Receive::Starved {
            self.starved.forget(id);
        }
    }

    /// One turn: see `Io::turn`.
    pub(super) fn turn(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        self.make_tries();
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
        let count = self.wait(timeout)?;
        self.patience.saw(count);
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

    /// Waits for readiness, and looks for it first if that is worth its time. How many sockets have it.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        const NOW: Option<Duration> = Some(Duration::ZERO);
        if timeout != NOW && self.patience.is_willing(Instant::now) {
            let mut seen = Ok(0);
            let mut sees = || {
                seen = wait(&self.epoll, &mut self.readiness, NOW);
                !matches!(seen, Ok(0))
            };
            if sees() || self.patience.look(timeout, sees) {
                return seen;
            }
        }
        wait(&self.epoll, &mut self.readiness, timeout)
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
        let waits = matches!(socket.sending, Sending::Connect | Sending::Bytes { .. });
        if waits && flags & (WRITABLE | BROKEN) != 0 {
            events.extend(self.write(id));
        }
        if flags & (READABLE | BROKEN) != 0 {
            self.read(id, events);
        }
        self.unwatch_unwanted(id, flags);
    }

    fn woken(&mut self, events: &mut Vec<Event>) {
        let mut count = [0_u8; 8];
        // SAFETY: the eight bytes live through the call. It does not block: the eventfd is readable, and only this
        // thread reads it.
        unsafe { libc::read(self.waker.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
        self.waker.clear();
        events.push(Event::Woken);
    }
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
