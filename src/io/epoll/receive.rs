//! Receiving: only what readiness was told of, into buffers taken for the call.

use std::os::fd::{AsRawFd, RawFd};

use super::Epoll;
use crate::io::buffer::Span;
use crate::io::event::{Errno, Event, SocketId};
use crate::io::starved::Served;

/// Receives of one socket in one turn: enough to follow a stream, few enough to be fair.
const RECEIVES_PER_TURN: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    Idle,
    Wanted,
    Starved,
    Over,
}

impl Epoll {
    pub(in crate::io) fn receive(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.receive == Receive::Idle {
            socket.receive = Receive::Wanted;
            self.watch(id);
        }
    }

    pub(in crate::io) fn pause(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        match socket.receive {
            Receive::Wanted => socket.receive = Receive::Idle,
            Receive::Starved => {
                socket.receive = Receive::Idle;
                self.starved.forget(id);
            }
            Receive::Idle | Receive::Over => {}
        }
    }

    /// Receives what is there, as far as this turn's share goes.
    pub(super) fn read(&mut self, id: SocketId, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.receive != Receive::Wanted {
            return;
        }
        for _ in 0..RECEIVES_PER_TURN {
            let group = socket.adaptive.group();
            let Some(mut span) = self.pool.take(group) else {
                if socket.adaptive.gives_way(&self.pool) {
                    continue;
                }
                socket.receive = Receive::Starved;
                self.starved.add(group, id, socket.served);
                return;
            };
            match receive_now(socket.fd.as_raw_fd(), &mut span) {
                Ok(0) => {
                    socket.receive = Receive::Over;
                    events.push(Event::Ended { id });
                    return;
                }
                Ok(length) => {
                    let filled = length == self.pool.size(group);
                    socket.served = Served::Yes;
                    socket.adaptive.received(length, &self.pool);
                    events.push(Event::Received { id, span });
                    if !filled {
                        return;
                    }
                }
                Err(Errno(libc::EAGAIN | libc::EINTR)) => return,
                Err(error) => {
                    socket.receive = Receive::Over;
                    events.push(Event::Failed { id, error });
                    return;
                }
            }
        }
    }

    pub(super) fn feed_starved(&mut self) {
        let mut lucky = std::mem::take(&mut self.lucky);
        self.starved.feed(&self.pool, &mut lucky);
        for id in lucky.drain(..) {
            let Some(socket) = self.sockets.get_mut(id) else {
                continue;
            };
            socket.receive = Receive::Wanted;
            socket.served = Served::No;
            self.watch(id);
        }
        self.lucky = lucky;
    }
}

/// Receives into the whole of `span`, which then has the length of what came.
fn receive_now(fd: RawFd, span: &mut Span) -> Result<usize, Errno> {
    // SAFETY: the span is fresh from the pool, so its buffer is ours alone, as long as the span says.
    let received = unsafe { libc::recv(fd, span.as_mut_ptr().cast(), span.len(), libc::MSG_DONTWAIT) };
    if received < 0 {
        return Err(Errno::last());
    }
    span.truncate(received as usize);
    Ok(received as usize)
}
