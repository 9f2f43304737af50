//! Sockets that outlive their session: what was written is still delivered, within a time.

use std::time::{Duration, Instant};

use crate::{
    io::{SocketId, Span},
    session::Ending,
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
    /// When it is closed, whatever it lacks.
    until: Instant,
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
    /// The same; and its place is free only when the server has had the time to forget it, too.
    UntilForgotten,
}

/// A peer that does not take its last bytes, or does not close when it has them, is not waited for longer. A client that is
/// told to leave is: what it has not taken may be a reply, which its server has finished.
const LINGER: Duration = Duration::from_secs(2);

/// A server closes a connection first, and takes it from its list of threads then: a new one that is made in between
/// would be one more than it may have.
const FORGETTING: Duration = Duration::from_millis(20);

impl Worker {
    /// Lets a socket go, after what was written to it.
    pub(super) fn depart(&mut self, connection: Connection, place: Option<Place>, farewell: Farewell) {
        self.depart_within(LINGER, connection, place, farewell);
    }

    /// Lets a client go, after what was written to it.
    pub(super) fn depart_client(&mut self, client: Connection, ending: Ending) {
        let hears = !matches!(ending, Ending::Quit | Ending::ClientGone);
        let farewell = if hears { Farewell::UntilPeerCloses } else { Farewell::WhenWritten };
        // No client can have itself told to leave: these are no more than the sessions that there were.
        let is_told_to_leave = matches!(ending, Ending::Drained | Ending::Redirected);
        let shutdown_timeout = self.table.config.process.shutdown_timeout;
        let time = if is_told_to_leave { shutdown_timeout.max(LINGER) } else { LINGER };
        self.depart_within(time, client, None, farewell);
    }

    fn depart_within(&mut self, time: Duration, mut connection: Connection, place: Option<Place>, farewell: Farewell) {
        connection.end_tls(&mut self.io);
        let (socket, until) = (connection.socket, self.now + time);
        let key = self.departing.insert(Departing { connection, farewell, until, place });
        self.own(socket, Owner::Departing(key));
        self.timers.set(until, Timer::Departing(key));
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
            Farewell::UntilPeerCloses | Farewell::UntilForgotten => {
                self.io.shutdown_write(departing.connection.socket);
                departing.connection.resume(&mut self.io);
                if departing.until > self.now + LINGER {
                    departing.until = self.now + LINGER;
                    self.timers.set(departing.until, Timer::Departing(key));
                }
            }
        }
    }

    /// Closes a departing socket.
    pub(super) fn departed(&mut self, key: Key) {
        let Some(departing) = self.departing.remove(key) else { return };
        self.shut(departing.connection.socket);
        match (departing.farewell, departing.place) {
            (Farewell::UntilForgotten, Some(place)) => {
                self.forgetting.push_back((self.now + FORGETTING, place));
                self.timers.set(self.now + FORGETTING, Timer::Forgetting);
            }
            (_, place) => self.free(place),
        }
    }

    /// Servers have had the time to forget connections that they have closed.
    pub(super) fn forgotten(&mut self) {
        while self.forgetting.front().is_some_and(|(at, _)| *at <= self.now) {
            let place = self.forgetting.pop_front().map(|(_, place)| place);
            self.free(place);
        }
    }

    /// Closes a socket now.
    pub(super) fn shut(&mut self, socket: SocketId) {
        self.disown(socket);
        self.io.close(socket);
    }
}
