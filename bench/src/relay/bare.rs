//! The bare relay: what a balancer on this ring would cost if it knew nothing of MySQL but packet heads.
//!
//! It has the data path's duties (boundaries of packets, order, back-pressure, both ends' close) and none of the
//! session's: no login, no choice of server, no state of a reply. So it is the limit to stay close to.

use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::SockAddr;
use sqluice::config::limits::{OVERFLOW_HIGH_WATER, OVERFLOW_LOW_WATER};
use sqluice::io::{self, Engine, Event, Io, IoLimits, SocketId, Span};
use sqluice::protocol::packet::Walker;

use crate::launch::LISTENING;

/// Serves until the process is ended.
pub(crate) fn serve(server: SocketAddr, engine: Engine) -> Result<(), Box<dyn Error>> {
    let limits = IoLimits::default();
    let (mut io, report) = Io::new(engine, limits)?;
    eprintln!("{report}");
    io.look_before_sleeping(io::wake_up_time()?);
    let listener = TcpListener::from(io::socket::listen_tcp((Ipv4Addr::LOCALHOST, 0).into())?);
    let address = listener.local_addr()?;
    io.listen(0, listener.into());
    writeln!(std::io::stdout(), "{LISTENING}{address}")?;
    let mut relay = Relay { server: server.into(), sides: Vec::new() };
    relay.sides.resize_with(limits.sockets_max, || None);
    let mut events = Vec::new();
    loop {
        io.turn(None, &mut events)?;
        for event in events.drain(..) {
            relay.handle(&mut io, event);
        }
    }
}

struct Relay {
    server: SockAddr,
    /// Indexed by the socket's slot. Both sides of a pair are there, or none.
    sides: Vec<Option<Side>>,
}

/// One of the two sockets of a pair, as the place where the other's bytes go.
struct Side {
    id: SocketId,
    peer: SocketId,
    /// Boundaries of the packets that come from here.
    packets: Walker,
    output: Output,
    /// The other side has ended: close both once the output is written.
    last: bool,
}

/// Bytes on their way out of a socket.
enum Output {
    /// Straight through: what comes is with the ring until the end of the turn.
    Direct,
    /// The ring has as much as it takes in a turn: a copy of the rest waits for that.
    Behind(Vec<u8>),
    /// The socket takes no more. A copy of `writing` bytes is being written, and what came since is copied behind it. Past
    /// the balancer's high-water mark the other side is paused.
    Full { writing: usize, behind: Vec<u8> },
}

impl Relay {
    fn handle(&mut self, io: &mut Io, event: Event) {
        match event {
            Event::Accepted { socket, .. } => self.open_pair(io, socket),
            Event::AcceptFailed { error, .. } => eprintln!("accept: {error}"),
            Event::Connected { id, result: Ok(()) } => {
                if let Some(side) = self.side(id) {
                    let peer = side.peer;
                    io.receive(id);
                    io.receive(peer);
                }
            }
            Event::Received { id, span } => self.pass_on(io, id, span),
            Event::Sent { id, unsent } => self.sent(io, id, &unsent),
            Event::SentBytes { id, result: Ok(()), .. } => self.copy_sent(io, id),
            Event::Ended { id } => self.ended(io, id),
            Event::Connected { id, result: Err(_) }
            | Event::SentBytes { id, result: Err(_), .. }
            | Event::Failed { id, .. }
            | Event::SendFailed { id, .. } => self.close_pair(io, id),
            Event::Woken => {}
        }
    }

    fn side(&mut self, id: SocketId) -> Option<&mut Side> {
        // An event of this turn may be older than the close of its socket, and the slot be used again.
        self.sides[id.slot()].as_mut().filter(|side| side.id == id)
    }

    fn open_pair(&mut self, io: &mut Io, client: OwnedFd) {
        let Ok(outgoing) = io::socket::outgoing(&self.server) else {
            return;
        };
        let Ok(client) = io.adopt(client) else { return };
        let Ok(server) = io.connect(outgoing, &self.server) else {
            return io.close(client);
        };
        for (id, peer) in [(client, server), (server, client)] {
            self.sides[id.slot()] =
                Some(Side { id, peer, packets: Walker::new(), output: Output::Direct, last: false });
        }
    }

    fn close_pair(&mut self, io: &mut Io, id: SocketId) {
        let Some(peer) = self.side(id).map(|side| side.peer) else { return };
        for id in [id, peer] {
            self.sides[id.slot()] = None;
            io.close(id);
        }
    }

    fn pass_on(&mut self, io: &mut Io, id: SocketId, span: Span) {
        let Some(side) = self.side(id) else { return };
        side.follow(span.bytes());
        let peer = side.peer;
        if let Some(target) = self.side(peer) {
            target.put(io, span);
            if target.waiting() > OVERFLOW_HIGH_WATER {
                io.pause(id);
            }
        }
    }

    fn sent(&mut self, io: &mut Io, id: SocketId, unsent: &[Span]) {
        let Some(side) = self.side(id) else { return };
        let source = side.peer;
        side.after_try(io, unsent);
        if side.waiting() > OVERFLOW_HIGH_WATER {
            io.pause(source);
        }
        self.close_if_last(io, id);
    }

    fn copy_sent(&mut self, io: &mut Io, id: SocketId) {
        let Some(side) = self.side(id) else { return };
        let source = side.peer;
        side.after_copy(io);
        if side.waiting() <= OVERFLOW_LOW_WATER {
            io.receive(source);
        }
        self.close_if_last(io, id);
    }

    /// Nothing more comes from this side. What came before is still to be written to the other.
    fn ended(&mut self, io: &mut Io, id: SocketId) {
        let Some(side) = self.side(id) else { return };
        if !side.packets.is_between_packets() {
            eprintln!("a connection ended inside a packet");
        }
        let peer = side.peer;
        if let Some(target) = self.side(peer) {
            target.last = true;
        }
        self.close_if_last(io, peer);
    }

    fn close_if_last(&mut self, io: &mut Io, id: SocketId) {
        if self.side(id).is_some_and(|side| side.last && side.is_written(io)) {
            self.close_pair(io, id);
        }
    }
}

impl Side {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let walked = self.packets.walk(bytes);
            bytes = &bytes[walked.consumed..];
        }
    }

    /// Writes a span to this socket, behind what is on its way.
    fn put(&mut self, io: &mut Io, span: Span) {
        match &mut self.output {
            Output::Direct => {
                if let Err(span) = io.send(self.id, span)
                    && io.await_sent(self.id)
                {
                    self.output = Output::Behind(span.bytes().to_vec());
                }
            }
            Output::Behind(copy) | Output::Full { behind: copy, .. } => copy.extend_from_slice(span.bytes()),
        }
    }

    /// Copied bytes that are not written.
    fn waiting(&self) -> usize {
        match &self.output {
            Output::Direct => 0,
            Output::Behind(copy) => copy.len(),
            Output::Full { writing, behind } => writing + behind.len(),
        }
    }

    /// Whether nothing is on its way. If something is, an event tells when that is written.
    fn is_written(&mut self, io: &mut Io) -> bool {
        if matches!(self.output, Output::Direct) && io.await_sent(self.id) {
            self.output = Output::Behind(Vec::new());
        }
        matches!(self.output, Output::Direct)
    }

    /// The spans of a turn were tried, and left `unsent`.
    fn after_try(&mut self, io: &mut Io, unsent: &[Span]) {
        let mut copy = Vec::new();
        for span in unsent {
            copy.extend_from_slice(span.bytes());
        }
        if let Output::Behind(behind) = &self.output {
            copy.extend_from_slice(behind);
        }
        self.write(io, copy);
    }

    /// A copy is written; perhaps there is more.
    fn after_copy(&mut self, io: &mut Io) {
        let Output::Full { behind, .. } = &mut self.output else { unreachable!("a copy was being written") };
        let copy = std::mem::take(behind);
        self.write(io, copy);
    }

    fn write(&mut self, io: &mut Io, copy: Vec<u8>) {
        if copy.is_empty() {
            self.output = Output::Direct;
            return;
        }
        self.output = Output::Full { writing: copy.len(), behind: Vec::new() };
        io.send_bytes(self.id, copy);
    }
}
