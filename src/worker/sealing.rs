//! TLS on a socket: what was received is opened before a session sees it, what is written is sealed before the socket does.
//!
//! Plaintext comes in buffers like those that the kernel fills, and records leave in such buffers, so that everything else
//! treats both as it treats bytes in clear. All that one receive brought is opened before any of it is shown: what it leads
//! to may take the socket away from its session, and records that nobody has taken would be missing to the next.

use std::sync::Arc;

use tracing::debug;

use crate::{
    io::{Io, SocketId, Span},
    session::{Input, Side},
    slab::Key,
    tls::{Back, Channel, Front, Received},
};

use super::{connection::Connection, turn::Worker};

/// What a connection knows of TLS.
#[derive(Debug)]
pub(super) enum Security {
    /// Nothing: it is in clear, and stays so.
    Clear,
    /// In clear; the client may begin it.
    Offered(Arc<Front>),
    /// In clear; we begin it if the server can.
    Wanted(Arc<Back>),
    /// It has begun.
    Sealed(Box<Channel>),
}

/// What one receive brought.
#[derive(Debug, Default)]
struct Opened {
    spans: Vec<Span>,
    /// What there was no buffer for, behind the spans.
    rest: Vec<u8>,
    end: Option<End>,
}

/// Why no more can come.
#[derive(Debug)]
enum End {
    /// The peer said so.
    Closed,
    Failed(rustls::Error),
}

/// Room that records take beyond their plaintext: a header, a nonce and a tag, for as many as a buffer makes.
const RECORD_OVERHEAD: usize = 128;

impl Connection {
    /// Begins TLS; what is written from now on goes through it.
    fn begin_tls(&mut self, io: &mut Io) -> Result<(), rustls::Error> {
        let channel = match &self.security {
            Security::Offered(front) => Channel::accept(front)?,
            Security::Wanted(back) => Channel::connect(back)?,
            Security::Clear | Security::Sealed(_) => unreachable!("a session begins TLS once, where it may"),
        };
        self.security = Security::Sealed(Box::new(channel));
        self.write_records(io, 0);
        Ok(())
    }

    fn channel(&mut self) -> Option<&mut Channel> {
        match &mut self.security {
            Security::Sealed(channel) => Some(channel),
            Security::Clear | Security::Offered(_) | Security::Wanted(_) => None,
        }
    }

    /// What was agreed on with the peer, where TLS has begun.
    pub(super) fn agreement(&self) -> Option<String> {
        match &self.security {
            Security::Sealed(channel) => channel.agreement(),
            Security::Clear | Security::Offered(_) | Security::Wanted(_) => None,
        }
    }

    pub(super) fn is_sealed(&self) -> bool {
        matches!(self.security, Security::Sealed(_))
    }

    /// TLS has begun and the peer has not said anything yet: bytes that came with those before are its records.
    fn awaits_records(&self) -> bool {
        matches!(&self.security, Security::Sealed(channel) if channel.is_untouched())
    }

    pub(super) fn seal(&mut self, io: &mut Io, plaintext: &[u8]) {
        let Some(channel) = self.channel() else { return };
        channel.seal(plaintext);
        self.write_records(io, plaintext.len());
    }

    /// Writes what TLS has to say; `length` bytes of it were just given to it.
    fn write_records(&mut self, io: &mut Io, length: usize) {
        while let Some(channel) = self.channel().filter(|channel| channel.has_records()) {
            match io.compose(length + RECORD_OVERHEAD, |room| channel.take_records(room)) {
                Some(span) => self.pass(io, span),
                None => {
                    let mut bytes = vec![0; length + RECORD_OVERHEAD];
                    let written = channel.take_records(&mut bytes);
                    bytes.truncate(written);
                    self.put(io, bytes);
                }
            }
        }
    }

    fn open(&mut self, io: &mut Io, mut wire: &[u8]) -> Opened {
        let mut opened = Opened::default();
        let Some(channel) = self.channel() else { return opened };
        while opened.end.is_none() {
            match channel.receive(&mut wire) {
                Ok(Received::Plaintext(0)) => break,
                Ok(Received::Plaintext(length)) => opened.take(io, channel, length),
                Ok(Received::End) => opened.end = Some(End::Closed),
                Err(error) => opened.end = Some(End::Failed(error)),
            }
        }
        self.write_records(io, 0);
        opened
    }

    /// Nothing more will be said.
    pub(super) fn end_tls(&mut self, io: &mut Io) {
        if let Some(channel) = self.channel() {
            channel.end();
            self.write_records(io, 0);
        }
    }
}

impl Opened {
    /// Takes `length` bytes of plaintext that wait.
    fn take(&mut self, io: &mut Io, channel: &mut Channel, length: usize) {
        let mut left = length;
        while left > 0 && self.rest.is_empty() {
            let Some(span) = io.compose(left, |room| channel.take_plaintext(room)) else { break };
            left -= span.len();
            self.spans.push(span);
        }
        let at = self.rest.len();
        self.rest.resize(at + left, 0);
        let mut room = &mut self.rest[at..];
        while !room.is_empty() {
            let taken = channel.take_plaintext(room);
            room = &mut room[taken..];
        }
    }
}

impl Worker {
    /// A session begins TLS on one side.
    pub(super) fn start_tls(&mut self, key: Key, side: Side) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(connection) = tenant.connection(side) else { return };
        if let Err(error) = connection.begin_tls(&mut self.io) {
            self.answer(key, Input::TlsFailed(side, error.to_string()));
        }
    }

    /// Whether what is left of bytes in clear are records, because the session began TLS behind the first of them.
    pub(super) fn awaits_records(&mut self, key: Key, side: Side) -> bool {
        self.connection(key, side).is_some_and(|connection| connection.awaits_records())
    }

    /// Records came: what is inside is treated like bytes that came in clear.
    pub(super) fn received_records(&mut self, key: Key, side: Side, wire: &[u8]) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(connection) = tenant.connection(side) else { return };
        let socket = connection.socket;
        let Opened { spans, rest, end } = connection.open(&mut self.io, wire);
        for span in spans {
            match self.connection_of(key, side, socket) {
                Some(connection) if connection.inbox.is_empty() => self.show(key, side, span),
                Some(connection) => connection.inbox.push(span.bytes()),
                None => return,
            }
        }
        if let Some(connection) = self.connection_of(key, side, socket) {
            connection.inbox.push(&rest);
        }
        self.pump(key);
        if self.connection_of(key, side, socket).is_some() {
            self.ended(key, side, end);
        }
    }

    /// The inbox has records, because the session began TLS behind what was in front of them.
    pub(super) fn open_inbox(&mut self, key: Key, side: Side) {
        let Some(connection) = self.connection(key, side) else { return };
        let wire = connection.inbox.take();
        self.received_records(key, side, &wire);
    }

    fn ended(&mut self, key: Key, side: Side, end: Option<End>) {
        match end {
            None => {}
            Some(End::Closed) => self.closed(key, side),
            Some(End::Failed(error)) => {
                debug!(worker = self.index, ?side, %error, "TLS failed");
                self.tell(key, Input::TlsFailed(side, error.to_string()));
            }
        }
    }

    fn connection(&mut self, key: Key, side: Side) -> Option<&mut Connection> {
        self.tenants.get_mut(key)?.connection(side)
    }

    /// Nothing, if the session has been given another socket on that side, or none.
    fn connection_of(&mut self, key: Key, side: Side, socket: SocketId) -> Option<&mut Connection> {
        self.connection(key, side).filter(|connection| connection.socket == socket)
    }
}
