//! Sockets that outlive their session: what was written is still delivered, within a time.

use std::time::Duration;

use crate::{
    io::{SocketId, Span},
    slab::Key,
    topology::Place,
};

use super::{
    connection::Connection,
    turn::{Owner, Timer, Worker},
};

/// A socket on its way out.
pub(super) struct Departing {
    connection: Connection,
    farewell: Farewell,
    /// The server's place that this connection still takes.
    place: Option<Place>,
}

/// When a departing socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// As soon as everything is written.
    WhenWritten,
    /// When the peer has closed, too: if bytes of it arrive at a closed socket, the kernel resets the connection, and
    /// the peer may lose the error that it was sent.
    UntilPeerCloses,
}

/// A peer that does not take its last bytes, or does not close, is not waited for longer.
const LINGER: Duration = Duration::from_secs(2);

impl Worker {
    /// Lets a socket go, after what was written to it.
    pub(super) fn depart(&mut self, connection: Connection, place: Option<Place>, farewell: Farewell) {
        let socket = connection.socket;
        let key = self.departing.insert(Departing { connection, farewell, place });
        self.own(socket, Owner::Departing(key));
        self.timers.set(self.now + LINGER, Timer::Departing(key));
        self.departing_written(key);
    }

    pub(super) fn departing_sent(&mut self, key: Key, unsent: &[Span]) {
        if let Some(departing) = self.departing.get_mut(key) {
            departing.connection.sent(&mut self.io, unsent);
        }
        self.departing_written(key);
    }

    pub(super) fn departing_sent_bytes(&mut self, key: Key, written: usize) {
        if let Some(departing) = self.departing.get_mut(key) {
            departing.connection.sent_bytes(&mut self.io, written);
        }
        self.departing_written(key);
    }

    fn departing_written(&mut self, key: Key) {
        let Some(departing) = self.departing.get_mut(key) else { return };
        if !departing.connection.is_flushed(&mut self.io) {
            return;
        }
        match departing.farewell {
            Farewell::WhenWritten => self.departed(key),
            Farewell::UntilPeerCloses => {
                self.io.shutdown_write(departing.connection.socket);
                departing.connection.resume(&mut self.io);
            }
        }
    }

    /// Closes a departing socket.
    pub(super) fn departed(&mut self, key: Key) {
        let Some(departing) = self.departing.remove(key) else { return };
        self.shut(departing.connection.socket);
        self.free(departing.place);
    }

    /// Closes a socket now.
    pub(super) fn shut(&mut self, socket: SocketId) {
        self.disown(socket);
        self.io.close(socket);
    }
}
