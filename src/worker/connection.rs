//! One socket of a session: bytes that wait to be understood, bytes that wait to be written, and back-pressure.
//!
//! Bytes on their way through stay in the buffer that the kernel filled: a forward is tried straight from it. Only
//! what a slow peer does not take at once, and what a session cannot use yet, is copied out, so that a ring buffer
//! never waits for a peer. Both copies are bounded: past a high-water mark the other side is not read any more.

use std::collections::VecDeque;

use crate::{
    config::limits::{OVERFLOW_HIGH_WATER, OVERFLOW_LOW_WATER, SEND_SPANS_MAX},
    io::{Io, SocketId, Span},
};

/// One socket of a session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: SocketId,
    pub(super) inbox: Inbox,
    out: Outbox,
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

    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// Bytes to be written, in order: what the kernel has, then `spans`, then `bytes`.
#[derive(Debug)]
struct Outbox {
    writing: Writing,
    /// Received buffers that follow a send under way. Empty unless `writing` is `Spans`.
    spans: VecDeque<Span>,
    /// Copied or own bytes.
    bytes: Vec<u8>,
    /// Bytes of all three together.
    queued: usize,
}

/// What the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Nothing,
    /// Received buffers, tried without waiting.
    Spans,
    /// Bytes of ours, written as the peer takes them.
    Bytes,
    /// No more: the peer takes nothing any more. What comes to be written is dropped.
    Broken,
}

impl Connection {
    pub(super) fn new(socket: SocketId) -> Connection {
        let out = Outbox { writing: Writing::Nothing, spans: VecDeque::new(), bytes: Vec::new(), queued: 0 };
        Connection { socket, inbox: Inbox::default(), out, paused: false }
    }

    /// Passes a received buffer on.
    pub(super) fn forward(&mut self, io: &mut Io, span: Span) {
        self.out.queued += span.len();
        match self.out.writing {
            Writing::Broken => self.out.queued = 0,
            Writing::Nothing => {
                self.out.writing = Writing::Spans;
                io.send(self.socket, [span]);
            }
            Writing::Spans if self.out.bytes.is_empty() && self.out.spans.len() < SEND_SPANS_MAX => {
                self.out.spans.push_back(span)
            }
            Writing::Spans | Writing::Bytes => self.append(span.bytes()),
        }
    }

    /// Writes bytes of our own, after all that came before.
    pub(super) fn write(&mut self, io: &mut Io, bytes: Vec<u8>) {
        self.out.queued += bytes.len();
        match self.out.writing {
            Writing::Broken => self.out.queued = 0,
            Writing::Nothing => {
                self.out.writing = Writing::Bytes;
                io.send_bytes(self.socket, bytes);
            }
            Writing::Spans | Writing::Bytes => self.append(&bytes),
        }
    }

    /// Puts bytes at the end; spans that wait go before them.
    fn append(&mut self, bytes: &[u8]) {
        for span in self.out.spans.drain(..) {
            self.out.bytes.extend_from_slice(span.bytes());
        }
        self.out.bytes.extend_from_slice(bytes);
    }

    /// A try to write received buffers is over.
    pub(super) fn sent(&mut self, io: &mut Io, sent: usize, unsent: Vec<Span>) {
        self.out.queued -= sent;
        self.out.writing = Writing::Nothing;
        if !unsent.is_empty() {
            self.keep(unsent);
        }
        self.write_on(io);
    }

    /// The peer takes no more for now: the ring buffers go back, their bytes wait here.
    fn keep(&mut self, unsent: Vec<Span>) {
        let mut kept = Vec::with_capacity(self.out.queued);
        for span in unsent.into_iter().chain(self.out.spans.drain(..)) {
            kept.extend_from_slice(span.bytes());
        }
        kept.append(&mut self.out.bytes);
        self.out.bytes = kept;
    }

    /// Bytes of ours are written.
    pub(super) fn sent_bytes(&mut self, io: &mut Io, written: usize) {
        self.out.queued -= written;
        self.out.writing = Writing::Nothing;
        self.write_on(io);
    }

    fn write_on(&mut self, io: &mut Io) {
        if !self.out.spans.is_empty() {
            self.out.writing = Writing::Spans;
            io.send(self.socket, self.out.spans.drain(..));
        } else if !self.out.bytes.is_empty() {
            self.out.writing = Writing::Bytes;
            io.send_bytes(self.socket, std::mem::take(&mut self.out.bytes));
        }
    }

    /// The peer takes nothing any more; what it sent before is still read.
    pub(super) fn stop_writing(&mut self) {
        self.out = Outbox { writing: Writing::Broken, spans: VecDeque::new(), bytes: Vec::new(), queued: 0 };
    }

    /// Nothing is left to write.
    pub(super) fn is_flushed(&self) -> bool {
        matches!(self.out.writing, Writing::Nothing | Writing::Broken)
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
