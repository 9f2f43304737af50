//! The TLS of one connection, between two buffers: what came over the wire goes in as records and comes out as
//! plaintext, what is to be said goes in as plaintext and comes out as records. Whoever owns the socket moves both.
//!
//! Bounds: of received bytes at most one unfinished record is kept (64 KiB while the handshake goes on), because all
//! plaintext is taken after each [`Channel::receive`]. Of bytes to be sent nothing is kept once the handshake is over, because
//! all records are taken after each [`Channel::seal`]; before it, what the session says, which is one packet of a login.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{ClientConnection, Connection, Error, ServerConnection};

use super::{Back, Front};

/// One connection's TLS.
pub struct Channel {
    connection: Connection,
    /// Nothing has come for it yet.
    is_untouched: bool,
}

/// What came of received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes of plaintext wait to be taken; none while the handshake goes on.
    Plaintext(usize),
    /// The peer says no more (close_notify); all that it said before has been taken.
    End,
}

impl Channel {
    /// Our side of a client's connection.
    ///
    /// # Errors
    /// None that a peer could cause.
    pub fn accept(front: &Front) -> Result<Channel, Error> {
        ServerConnection::new(Arc::clone(front.config())).map(|connection| Channel::new(connection.into()))
    }

    /// Our side of a connection to a server. The first records are ready.
    ///
    /// # Errors
    /// None that a peer could cause.
    pub fn connect(back: &Back) -> Result<Channel, Error> {
        let connection = ClientConnection::new(Arc::clone(back.config()), back.name().clone())?;
        Ok(Channel::new(connection.into()))
    }

    fn new(mut connection: Connection) -> Channel {
        // Ours are the bounds above: a part of a packet that is refused could not be said later.
        connection.set_buffer_limit(None);
        Channel { connection, is_untouched: true }
    }

    /// Nothing has come for it yet: bytes that were received with those before the handshake are records, too.
    pub fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Takes bytes of the wire, all of them if the plaintext is taken each time. Records may be ready afterwards, also after
    /// an error, where they say why.
    ///
    /// # Errors
    /// When the peer breaks the protocol, cannot be believed, or does not believe us; then nothing more comes of it.
    pub fn receive(&mut self, wire: &mut &[u8]) -> Result<Received, Error> {
        self.is_untouched = false;
        loop {
            if !wire.is_empty() {
                self.connection.read_tls(wire).map_err(|error| Error::General(error.to_string()))?;
            }
            let state = self.connection.process_new_packets()?;
            match state.plaintext_bytes_to_read() {
                0 if state.peer_has_closed() => return Ok(Received::End),
                0 if wire.is_empty() => return Ok(Received::Plaintext(0)),
                0 => {}
                waiting => return Ok(Received::Plaintext(waiting)),
            }
        }
    }

    /// Moves plaintext into a buffer; says how much there was.
    pub fn take_plaintext(&mut self, into: &mut [u8]) -> usize {
        // Without plaintext it says that it would block, or that the peer has ended; both are told by `receive`.
        self.connection.reader().read(into).unwrap_or(0)
    }

    /// Makes records of plaintext. While the handshake goes on it waits; after a failure nobody would read it.
    pub fn seal(&mut self, plaintext: &[u8]) {
        // Without a limit all of it is taken, and the only error is that of the failure, which `receive` has told.
        let _ = self.connection.writer().write_all(plaintext);
    }

    /// Records are ready.
    pub fn has_records(&self) -> bool {
        self.connection.wants_write()
    }

    /// Moves records into a buffer; says how many bytes.
    pub fn take_records(&mut self, mut into: &mut [u8]) -> usize {
        self.connection.write_tls(&mut into).expect("a slice takes what there is room for")
    }

    /// Tells the peer that nothing more will be said.
    pub fn end(&mut self) {
        self.connection.send_close_notify();
    }

    /// What the two agreed on, for the log; nothing before they have.
    pub fn agreement(&self) -> Option<String> {
        let suite = self.connection.negotiated_cipher_suite()?;
        let version = self.connection.protocol_version()?;
        let kind = self.connection.handshake_kind()?;
        Some(format!("{version:?} {:?} {kind:?}", suite.suite()))
    }
}

impl fmt::Debug for Channel {
    /// Nothing of keys or bytes.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Channel").field("is_handshaking", &self.connection.is_handshaking()).finish_non_exhaustive()
    }
}
