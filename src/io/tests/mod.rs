//! The engines' promises, each checked on both of them.

mod churn;
mod closing;
mod flow;
mod peers;
mod trying;
mod turning;

use std::collections::VecDeque;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::*;

/// Far more than anything here takes: reaching it means that something is lost.
const LOST: Duration = Duration::from_secs(60);

/// Runs a check on each engine of this machine, asleep while it waits and looking. Where io_uring is forbidden only
/// epoll can be checked.
fn on_both_engines(limits: IoLimits, check: impl Fn(&mut Driver)) {
    for engine in [Engine::IoUring, Engine::Epoll] {
        for wake_up in [Duration::ZERO, Duration::from_micros(50)] {
            on(engine, wake_up, limits, &check);
        }
    }
}

fn on(engine: Engine, wake_up: Duration, limits: IoLimits, check: &impl Fn(&mut Driver)) {
    match Io::new(engine, limits) {
        Ok((mut io, report)) => {
            eprintln!("{report}");
            io.look_before_sleeping(wake_up);
            check(&mut Driver::new(io));
        }
        Err(EngineError::IoUring(refusal @ Refusal::Probe(_))) => panic!("io_uring is there: {refusal}"),
        Err(EngineError::IoUring(refusal)) => eprintln!("not checked on io_uring: {refusal}"),
        Err(error) => panic!("{error}"),
    }
}

/// Small limits with this many buffers, each of 256 bytes (small) and 1 KiB (large).
fn tiny(buffers: usize) -> IoLimits {
    IoLimits { sockets_max: 64, small: GroupLimits { buffers, size: 256 }, large: GroupLimits { buffers, size: 1024 } }
}

/// An engine, and the events it has given out that no check has looked at.
struct Driver {
    io: Io,
    events: VecDeque<Event>,
    batch: Vec<Event>,
}

impl Driver {
    fn new(io: Io) -> Driver {
        Driver { io, events: VecDeque::new(), batch: Vec::new() }
    }

    /// One turn that waits until something happens.
    fn turn(&mut self) {
        let lost = Instant::now() + LOST;
        self.io.turn(Some(lost), &mut self.batch).expect("a turn");
        assert!(Instant::now() < lost, "nothing happened");
        self.events.extend(self.batch.drain(..));
    }

    /// The next event.
    fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            self.turn();
        }
    }

    /// The next event of this socket; other sockets' events stay.
    fn next_of(&mut self, id: SocketId) -> Event {
        loop {
            let found = self.events.iter().position(|event| event.socket() == Some(id));
            if let Some(place) = found {
                return self.events.remove(place).expect("found");
            }
            self.turn();
        }
    }

    fn received(&mut self, id: SocketId) -> Span {
        match self.next_of(id) {
            Event::Received { span, .. } => span,
            other => panic!("expected bytes: {other:?}"),
        }
    }

    /// Receives exactly these bytes, however they are cut.
    fn expect_bytes(&mut self, id: SocketId, expected: &[u8]) {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.extend_from_slice(self.received(id).bytes());
        }
        assert_eq!(got, expected);
    }

    /// Sends spans, and gives back what was not written.
    fn try_to_send(&mut self, id: SocketId, spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
        for span in spans {
            self.io.send(id, span).expect("no more than a turn takes");
        }
        assert!(self.io.await_sent(id));
        match self.next_of(id) {
            Event::Sent { unsent, .. } => unsent,
            other => panic!("expected the end of a send: {other:?}"),
        }
    }

    /// Turns until no closed socket is in the kernel's hands any more.
    fn settle(&mut self, sockets: usize) {
        while self.io.socket_count() > sockets {
            self.turn();
        }
    }

    /// Whatever the kernel knows up to now has become an event afterwards: a byte sent after it has arrived.
    fn fence(&mut self) {
        let (mut peer, id) = self.pair();
        for _ in 0..3 {
            self.io.receive(id);
            std::io::Write::write_all(&mut peer, b"f").expect("room");
            drop(self.received(id));
        }
        let before = self.io.socket_count();
        self.io.close(id);
        self.settle(before - 1);
    }

    /// An adopted socket and its other end.
    fn pair(&mut self) -> (UnixStream, SocketId) {
        let (peer, ours) = UnixStream::pair().expect("pair");
        peer.set_read_timeout(Some(LOST)).expect("option");
        peer.set_write_timeout(Some(LOST)).expect("option");
        let id = self.io.adopt(ours.into()).expect("a slot");
        (peer, id)
    }

    /// An adopted TCP socket and its other end.
    fn tcp_pair(&mut self) -> (TcpStream, SocketId) {
        let (listener, address) = listener();
        let peer = TcpStream::connect(address).expect("connect");
        peer.set_read_timeout(Some(LOST)).expect("option");
        let (ours, _) = socket2::SockRef::from(&listener).accept().expect("accept");
        let id = self.io.adopt(ours.into()).expect("a slot");
        (peer, id)
    }
}

fn listener() -> (OwnedFd, SocketAddr) {
    let listener = socket::listen_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("listen");
    let address = socket2::SockRef::from(&listener).local_addr().expect("bound");
    let address = address.as_socket().expect("an IP address");
    (listener, address)
}

/// The peer sees that the descriptor is closed: after the bytes still under way comes the end, or a reset.
fn expect_closed(peer: &mut impl Read) {
    let mut buffer = [0; 4096];
    loop {
        match peer.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("not closed: {error}"),
        }
    }
}

/// Fills the way to a peer that does not read, and gives back how much went in and what did not.
fn fill(driver: &mut Driver, from: &mut UnixStream, source: SocketId, target: SocketId) -> (usize, Vec<Span>) {
    use std::io::Write;
    let mut total = 0;
    driver.io.receive(source);
    loop {
        from.write_all(&[b'x'; 200]).expect("we read it");
        let span = driver.received(source);
        let given = span.len();
        let unsent = driver.try_to_send(target, [span]);
        total += given - length_of(&unsent);
        if !unsent.is_empty() {
            return (total, unsent);
        }
    }
}

fn length_of(spans: &[Span]) -> usize {
    spans.iter().map(Span::len).sum()
}

/// Repeatable pseudo-random numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        eprintln!("seed {seed}");
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
