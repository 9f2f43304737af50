//! What the kernel does with the engine's sockets: it writes what there is room for, and says what has come.

use super::*;

impl Simulated {
    pub(super) fn complete(&mut self, id: SocketId, events: &mut Vec<Event>) {
        let now = self.now();
        let Some(socket) = self.sockets.get_mut(id) else { return };
        match socket.life {
            Life::Closing { until, .. } if until <= now => {
                self.network.0.borrow_mut().busy = true;
                self.sockets.remove(id);
            }
            Life::Closing { .. } => {}
            Life::Open => {
                events.extend(self.write(id));
                self.read(id, events);
            }
        }
    }

    /// Writes what this turn has for the socket, as much as fits.
    pub(super) fn try_now(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let spans = match mem::replace(&mut socket.sending, Sending::Nothing) {
            Sending::Try(spans) => spans,
            other => return socket.sending = other,
        };
        let bytes = spans.bytes();
        let result = self.network.0.borrow_mut().write(socket.wire, &bytes);
        let telling = mem::replace(&mut socket.telling, Telling::Rest);
        self.ready.extend(spans.over(result, &mut self.messages).event(id, telling));
    }

    /// Goes on with what waits for room, or for its connect.
    fn write(&mut self, id: SocketId) -> Option<Event> {
        let now = self.now();
        let socket = self.sockets.get_mut(id)?;
        let result = match &mut socket.sending {
            Sending::Nothing | Sending::Try(_) => return None,
            Sending::Connect { due, .. } if *due > now => return None,
            Sending::Connect { result, .. } => {
                let result = *result;
                socket.sending = Sending::Nothing;
                return Some(Event::Connected { id, result });
            }
            Sending::Bytes { buffer, offset } => {
                match self.network.0.borrow_mut().write(socket.wire, &buffer[*offset..]) {
                    written if written >= 0 => *offset += written as usize,
                    error if error == -libc::ENOBUFS => {}
                    error => return socket.bytes_over(id, Err(Errno(-error))),
                }
                if *offset < buffer.len() {
                    return None;
                }
                Ok(())
            }
        };
        let event = socket.bytes_over(id, result);
        if mem::take(&mut socket.shutdown_after_send) {
            self.finish(id, End::Finished);
        }
        event
    }

    /// Receives what is there, as far as this turn's share goes.
    fn read(&mut self, id: SocketId, events: &mut Vec<Event>) {
        for _ in 0..RECEIVES_PER_TURN {
            let Some(socket) = self.sockets.get_mut(id) else { return };
            if !matches!(socket.receive, Receive::Wanted | Receive::Stopping) {
                return;
            }
            if let Sending::Connect { .. } = socket.sending {
                return;
            }
            let mut state = self.network.0.borrow_mut();
            let now = state.now;
            let way = &state.wires[socket.wire.0].to_worker;
            if let Some(end) = way.over() {
                socket.receive = Receive::Over;
                events.push(match end {
                    End::Finished => Event::Ended { id },
                    End::Reset => Event::Failed { id, error: Errno(libc::ECONNRESET) },
                });
                return;
            }
            if way.pieces.front().is_none_or(|(due, _)| *due > now) {
                return;
            }
            let group = socket.adaptive.group();
            let Some(mut span) = self.pool.take(group) else {
                drop(state);
                return self.starve(id, group);
            };
            let most = 1 + state.dice.below(self.pool.size(group));
            let bytes = state.wires[socket.wire.0].to_worker.take(most, now);
            span.fill(|room| {
                room[..bytes.len()].copy_from_slice(&bytes);
                bytes.len()
            });
            socket.served = Served::Yes;
            socket.adaptive.received(bytes.len(), &self.pool);
            if socket.receive == Receive::Stopping {
                socket.receive = Receive::Idle;
            }
            events.push(Event::Received { id, span });
        }
    }

    fn starve(&mut self, id: SocketId, group: Group) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if socket.receive == Receive::Stopping {
            socket.receive = Receive::Idle;
        } else if !socket.adaptive.gives_way(&self.pool) {
            socket.receive = Receive::Starved;
            self.starved.add(group, id, socket.served);
        }
    }
}

impl Socket {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.life, Life::Open)
    }

    fn bytes_over(&mut self, id: SocketId, result: Result<(), Errno>) -> Option<Event> {
        match mem::replace(&mut self.sending, Sending::Nothing) {
            Sending::Bytes { buffer, .. } => Some(Event::SentBytes { id, result, buffer }),
            Sending::Nothing | Sending::Try(_) | Sending::Connect { .. } => None,
        }
    }
}

/// Receives of one socket in one turn.
const RECEIVES_PER_TURN: usize = 4;
