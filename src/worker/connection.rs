//! One socket of a session: bytes that wait to be understood, bytes that wait to be written, and back-pressure.
//!
//! Bytes on their way through stay in the buffer that the kernel filled: a forward is tried straight from it. Only
//! what a slow peer does not take at once, and what a session cannot use yet, is copied out, so that a ring buffer
//! never waits for a peer. Both copies are bounded: past a high-water mark the other side is not read any more.
//!
//! Where TLS has begun, what is written goes through `sealing` first; everything below is then about its records.

use crate::{
    config::limits::{OVERFLOW_HIGH_WATER, OVERFLOW_LOW_WATER},
    io::{Io, SocketId, Span},
};

use super::sealing::Security;

/// One socket of a session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: SocketId,
    pub(super) inbox: Inbox,
    out: Outbox,
    pub(super) security: Security,
    /// Not read for now: what it sent is not needed yet, or cannot be passed on yet.
    paused: bool,
}

/// Bytes received that the session cannot use yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Bytes of it that are used up; `start <= bytes.len()`.
    start: usize,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn advance(&mut self, length: usize) {
        self.start += length;
        if self.is_empty() {
            // Most sessions never use it again: an idle one keeps no memory for it.
            *self = Inbox::default();
        }
    }

    /// Takes out what waits.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(self);
        all.bytes.drain(..all.start);
        all.bytes
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// Bytes to be written. Received buffers are with the ring from the moment they are forwarded; what is kept here is
/// what they, or the peer, made wait.
#[derive(Debug)]
struct Outbox {
    writing: Writing,
    /// Copied or own bytes, behind what `writing` says.
    bytes: Vec<u8>,
    /// `bytes`, and those of ours that the kernel has.
    queued: usize,
}

/// What goes before the bytes that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// Nothing that would have to be waited for; perhaps the ring has buffers to try at the end of this turn.
    Nothing,
    /// Such buffers: the ring tells when they have been tried.
    Buffers,
    /// Bytes of ours, written as the peer takes them.
    Bytes,
    /// No more: the peer takes nothing any more. What comes to be written is dropped.
    Broken,
}

impl Connection {
    pub(super) fn new(socket: SocketId, security: Security) -> Connection {
        let out = Outbox { writing: Writing::Nothing, bytes: Vec::new(), queued: 0 };
        Connection { socket, inbox: Inbox::default(), out, security, paused: false }
    }

    /// Passes a received buffer on.
    pub(super) fn forward(&mut self, io: &mut Io, span: Span) {
        match self.security {
            Security::Sealed(_) => self.seal(io, span.bytes()),
            Security::Clear | Security::Offered(_) | Security::Wanted(_) => self.pass(io, span),
        }
    }

    /// Writes bytes of our own, after all that came before.
    pub(super) fn write(&mut self, io: &mut Io, bytes: Vec<u8>) {
        match self.security {
            Security::Sealed(_) => self.seal(io, &bytes),
            Security::Clear | Security::Offered(_) | Security::Wanted(_) => self.put(io, bytes),
        }
    }

    /// Has the socket try a buffer, after all that came before.
    pub(super) fn pass(&mut self, io: &mut Io, span: Span) {
        match self.out.writing {
            Writing::Broken => {}
            Writing::Nothing => {
                if let Err(span) = io.send(self.socket, span) {
                    self.keep(span.bytes());
                    self.follow_buffers(io);
                }
            }
            Writing::Buffers | Writing::Bytes => self.keep(span.bytes()),
        }
    }

    /// Has the socket write bytes, after all that came before.
    pub(super) fn put(&mut self, io: &mut Io, bytes: Vec<u8>) {
        if self.out.writing == Writing::Nothing {
            self.follow_buffers(io);
        }
        match self.out.writing {
            Writing::Broken => {}
            Writing::Nothing => {
                self.out.queued += bytes.len();
                self.out.writing = Writing::Bytes;
                io.send_bytes(self.socket, bytes);
            }
            Writing::Buffers | Writing::Bytes => self.keep(&bytes),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.out.queued += bytes.len();
        self.out.bytes.extend_from_slice(bytes);
    }

    /// If the ring has buffers to try in this turn, what is written from now on waits for them.
    fn follow_buffers(&mut self, io: &mut Io) -> bool {
        let waits = io.await_sent(self.socket);
        if waits {
            self.out.writing = Writing::Buffers;
        }
        waits
    }

    /// The buffers of a turn have been tried. The peer takes no more of them for now: their bytes wait here, and the
    /// buffers go back to the ring.
    pub(super) fn sent(&mut self, io: &mut Io, unsent: &[Span]) {
        let left: usize = unsent.iter().map(Span::len).sum();
        if left > 0 {
            let behind = std::mem::take(&mut self.out.bytes);
            self.out.bytes.reserve_exact(left + behind.len());
            for span in unsent {
                self.keep(span.bytes());
            }
            self.out.bytes.extend_from_slice(&behind);
        }
        self.write_on(io);
    }

    /// Bytes of ours are written.
    pub(super) fn sent_bytes(&mut self, io: &mut Io, written: usize) {
        self.out.queued -= written;
        self.write_on(io);
    }

    fn write_on(&mut self, io: &mut Io) {
        if self.out.bytes.is_empty() {
            self.out.writing = Writing::Nothing;
        } else {
            self.out.writing = Writing::Bytes;
            io.send_bytes(self.socket, std::mem::take(&mut self.out.bytes));
        }
    }

    /// The peer takes nothing any more; what it sent before is still read.
    pub(super) fn stop_writing(&mut self) {
        self.out = Outbox { writing: Writing::Broken, bytes: Vec::new(), queued: 0 };
    }

    /// Nothing is left to write. If something is, the ring tells when that has changed.
    pub(super) fn is_flushed(&mut self, io: &mut Io) -> bool {
        match self.out.writing {
            Writing::Nothing => !self.follow_buffers(io),
            Writing::Broken => true,
            Writing::Buffers | Writing::Bytes => false,
        }
    }

    /// Nothing that came from it waits, and it can be written to.
    pub(super) fn may_rest(&self) -> bool {
        self.inbox.is_empty() && self.out.writing != Writing::Broken
    }

    /// Bytes of either direction that wait here.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.out.queued + self.inbox.len()
    }

    /// So much waits to be written that the other side must not be read.
    pub(super) fn is_congested(&self) -> bool {
        self.out.queued > OVERFLOW_HIGH_WATER
    }

    /// The other side may be read again.
    pub(super) fn is_relieved(&self) -> bool {
        self.out.queued <= OVERFLOW_LOW_WATER
    }

    /// So much waits to be understood that this side must not be read, unless the session wants more of it.
    pub(super) fn is_overfed(&self) -> bool {
        self.inbox.len() > OVERFLOW_LOW_WATER
    }

    /// Stops reading.
    pub(super) fn pause(&mut self, io: &mut Io) {
        if !self.paused {
            self.paused = true;
            io.pause(self.socket);
        }
    }

    /// Reads again.
    pub(super) fn resume(&mut self, io: &mut Io) {
        if self.paused {
            self.paused = false;
            io.receive(self.socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use crate::{
        config::limits::SEND_SPANS_MAX,
        io::{Engine, Event, IoLimits},
    };

    use super::*;

    /// A connection on each engine of this machine, and its other end.
    fn on_both_engines(check: impl Fn(&mut Io, &mut Connection, UnixStream)) {
        for engine in [Engine::Auto, Engine::Epoll] {
            let (mut io, report) = Io::new(engine, IoLimits::default()).expect("an engine");
            eprintln!("{report}");
            let (peer, ours) = UnixStream::pair().expect("pair");
            let mut connection = Connection::new(io.adopt(ours.into()).expect("a slot"), Security::Clear);
            check(&mut io, &mut connection, peer);
        }
    }

    /// A received buffer with these bytes.
    fn span_of(io: &mut Io, bytes: &[u8]) -> Span {
        let (mut peer, ours) = UnixStream::pair().expect("pair");
        let id = io.adopt(ours.into()).expect("a slot");
        peer.write_all(bytes).expect("room");
        io.receive(id);
        let mut events = Vec::new();
        loop {
            io.turn(None, &mut events).expect("a turn");
            for event in events.drain(..) {
                if let Event::Received { span, .. } = event {
                    io.close(id);
                    return span;
                }
            }
        }
    }

    /// Turns until everything is written.
    fn flush(io: &mut Io, connection: &mut Connection) {
        let mut events = Vec::new();
        while !connection.is_flushed(io) {
            io.turn(None, &mut events).expect("a turn");
            for event in events.drain(..) {
                match event {
                    Event::Sent { unsent, .. } => connection.sent(io, &unsent),
                    Event::SentBytes { result: Ok(()), buffer, .. } => connection.sent_bytes(io, buffer.len()),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn received_and_own_bytes_of_one_turn_go_out_in_their_order() {
        on_both_engines(|io, connection, mut peer| {
            let mut span = span_of(io, b"received, more received");
            connection.forward(io, span.split_to(8));
            connection.write(io, b" our own".to_vec());
            connection.forward(io, span);
            connection.write(io, b" the end".to_vec());
            flush(io, connection);
            let mut bytes = [0; 39];
            peer.read_exact(&mut bytes).expect("all of it");
            assert_eq!(&bytes, b"received our own, more received the end");
        });
    }

    #[test]
    fn more_buffers_than_one_turn_takes_go_out_in_their_order() {
        on_both_engines(|io, connection, mut peer| {
            let bytes: Vec<u8> = (0..3 * SEND_SPANS_MAX as u8).collect();
            let mut span = span_of(io, &bytes);
            while !span.is_empty() {
                connection.forward(io, span.split_to(1));
            }
            flush(io, connection);
            let mut got = vec![0; bytes.len()];
            peer.read_exact(&mut got).expect("all of it");
            assert_eq!(got, bytes);
        });
    }

    #[test]
    fn a_peer_that_does_not_read_makes_bytes_wait_and_gets_all_of_them() {
        on_both_engines(|io, connection, mut peer| {
            let mut total = 0;
            while !connection.is_congested() {
                // Before anything is forwarded: `span_of` turns, and hears of nothing else.
                for span in [b'a', b'b', b'c'].map(|letter| span_of(io, &[letter; 1000])) {
                    connection.forward(io, span);
                    total += 1000;
                }
                let mut events = Vec::new();
                io.turn(Some(io.now()), &mut events).expect("a turn");
                for event in events {
                    if let Event::Sent { unsent, .. } = event {
                        connection.sent(io, &unsent);
                    }
                }
            }
            let reader = std::thread::spawn(move || {
                let mut bytes = vec![0; total];
                peer.read_exact(&mut bytes).expect("all of it");
                bytes
            });
            flush(io, connection);
            assert!(connection.is_relieved());
            let bytes = reader.join().expect("content");
            for (piece, letter) in bytes.chunks(1000).zip([b'a', b'b', b'c'].into_iter().cycle()) {
                assert!(piece.iter().all(|byte| *byte == letter));
            }
        });
    }
}
