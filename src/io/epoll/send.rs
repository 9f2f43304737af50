//! Writing: tries of received spans at the end of a turn, and bytes that wait for room.

use std::mem;
use std::os::fd::{AsRawFd, RawFd};

use super::Epoll;
use crate::io::buffer::Span;
use crate::io::event::{Errno, Event, SocketId};
use crate::io::send::{TRY, Telling, Try};
use crate::io::socket;

/// What a socket is to write, or waits for before it can.
pub(super) enum Sending {
    Nothing,
    /// Spans of this turn.
    Try(Try),
    Connect,
    Bytes {
        buffer: Vec<u8>,
        offset: usize,
    },
}

impl Epoll {
    pub(in crate::io) fn send(&mut self, id: SocketId, span: Span) -> Result<(), Span> {
        let Some(socket) = self.sockets.get_mut(id) else { return Ok(()) };
        match &mut socket.sending {
            _ if span.is_empty() => Ok(()),
            Sending::Nothing => {
                socket.sending = Sending::Try(Try::One(span));
                self.tries.push(id);
                Ok(())
            }
            Sending::Try(spans) => spans.add(span, &mut self.messages),
            Sending::Connect | Sending::Bytes { .. } => panic!("one send at a time"),
        }
    }

    pub(in crate::io) fn await_sent(&mut self, id: SocketId) -> bool {
        let Some(socket) = self.sockets.get_mut(id) else { return false };
        let waits = matches!(socket.sending, Sending::Try(_));
        if waits {
            socket.telling = Telling::End;
        }
        waits
    }

    pub(in crate::io) fn send_bytes(&mut self, id: SocketId, buffer: Vec<u8>) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        assert!(matches!(socket.sending, Sending::Nothing), "one send at a time");
        socket.sending = Sending::Bytes { buffer, offset: 0 };
        if let Some(event) = self.write(id) {
            self.ready.push(event);
        } else {
            self.watch(id);
        }
    }

    pub(in crate::io) fn shutdown_write(&mut self, id: SocketId) {
        self.try_now(id);
        let Some(socket) = self.sockets.get_mut(id) else { return };
        match socket.sending {
            Sending::Bytes { .. } => socket.shutdown_after_send = true,
            Sending::Nothing | Sending::Try(_) | Sending::Connect => socket::shutdown_write(&socket.fd),
        }
    }

    /// Makes the tries of this turn.
    pub(super) fn make_tries(&mut self) {
        let mut tries = mem::take(&mut self.tries);
        for id in tries.drain(..) {
            self.try_now(id);
        }
        self.tries = tries;
    }

    /// Writes what this turn has for the socket, as much as fits.
    pub(super) fn try_now(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let mut spans = match mem::replace(&mut socket.sending, Sending::Nothing) {
            Sending::Try(spans) => spans,
            other => return socket.sending = other,
        };
        let result = send_spans(socket.fd.as_raw_fd(), &mut spans);
        let telling = mem::replace(&mut socket.telling, Telling::Rest);
        self.ready.extend(spans.over(result, &mut self.messages).event(id, telling));
    }

    /// Goes on with what waits for room. Some: it is over.
    pub(super) fn write(&mut self, id: SocketId) -> Option<Event> {
        let socket = self.sockets.get_mut(id)?;
        let result = match &mut socket.sending {
            Sending::Nothing | Sending::Try(_) => return None,
            Sending::Connect => {
                socket.sending = Sending::Nothing;
                let result = socket::take_error(&socket.fd);
                return Some(Event::Connected { id, result });
            }
            Sending::Bytes { buffer, offset } => write_all(socket.fd.as_raw_fd(), buffer, offset)?,
        };
        let sending = mem::replace(&mut socket.sending, Sending::Nothing);
        let Sending::Bytes { buffer, .. } = sending else {
            unreachable!("bytes were waiting");
        };
        if mem::take(&mut socket.shutdown_after_send) {
            socket::shutdown_write(&socket.fd);
        }
        Some(Event::SentBytes { id, result, buffer })
    }
}

fn send_spans(fd: RawFd, spans: &mut Try) -> i32 {
    match spans {
        Try::One(span) => send_now(fd, span.bytes()),
        Try::Several(message) => {
            // SAFETY: the header and the spans it points to live in `message` through the call.
            result_of(unsafe { libc::sendmsg(fd, message.header(), TRY) })
        }
    }
}

/// Bytes written, or the negative error number, as a completion would say it.
fn send_now(fd: RawFd, bytes: &[u8]) -> i32 {
    // SAFETY: the bytes live through the call.
    result_of(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), TRY) })
}

fn result_of(returned: isize) -> i32 {
    if returned < 0 {
        -Errno::last().0
    } else {
        // At most `SEND_SPANS_MAX` buffers of `BUFFER_SIZE_MAX`, or what `write_all` cut to size.
        returned as i32
    }
}

/// Writes from `offset` on as much as the socket takes. None: it takes no more for now.
fn write_all(fd: RawFd, buffer: &[u8], offset: &mut usize) -> Option<Result<(), Errno>> {
    while *offset < buffer.len() {
        let end = buffer.len().min(*offset + i32::MAX as usize);
        match send_now(fd, &buffer[*offset..end]) {
            sent if sent >= 0 => *offset += sent as usize,
            error => match -error {
                libc::EAGAIN => return None,
                libc::EINTR => {}
                error => return Some(Err(Errno(error))),
            },
        }
    }
    Some(Ok(()))
}
