//! Writing: tries of received spans at the end of a turn, and bytes that wait for room.
//!
//! A try is run by the kernel while it takes it from the submission queue, never later, and posts a completion only when
//! not everything was written. So once the queue has been taken, a try that said nothing is over, and its buffers are
//! free. It costs no completion, and the wait that follows its submission in the same system call is not ended by it.

use std::mem;
use std::os::fd::AsRawFd;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};

use super::{Life, Socket, Uring};
use crate::io::buffer::Span;
use crate::io::event::{Errno, Event, SocketId};
use crate::io::operation::{Kind, Tag};
use crate::io::send::{TRY, Telling, Try};
use crate::io::socket;

/// What a socket is to write.
pub(super) enum Sending {
    Nothing,
    /// Spans of this turn; in flight from its end to the next turn's beginning.
    Try(Try),
    /// In flight: bytes from `offset` on are still to be written.
    Bytes {
        buffer: Vec<u8>,
        offset: usize,
    },
}

impl Uring {
    pub(in crate::io) fn send(&mut self, id: SocketId, span: Span) -> Result<(), Span> {
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.is_open()) else { return Ok(()) };
        match &mut socket.sending {
            _ if span.is_empty() => Ok(()),
            Sending::Nothing => {
                socket.sending = Sending::Try(Try::One(span));
                self.tries.push(id);
                Ok(())
            }
            Sending::Try(spans) => spans.add(span, &mut self.messages),
            Sending::Bytes { .. } => panic!("one send at a time"),
        }
    }

    pub(in crate::io) fn await_sent(&mut self, id: SocketId) -> bool {
        let Some(socket) = self.open(id) else { return false };
        let waits = matches!(socket.sending, Sending::Try(_));
        if waits {
            socket.telling = Telling::End;
        }
        waits
    }

    pub(in crate::io) fn send_bytes(&mut self, id: SocketId, buffer: Vec<u8>) {
        let Some(socket) = self.open(id) else { return };
        assert!(matches!(socket.sending, Sending::Nothing), "one send at a time");
        if buffer.is_empty() {
            self.ready.push(Event::SentBytes { id, result: Ok(()), buffer });
            return;
        }
        socket.sending = Sending::Bytes { buffer, offset: 0 };
        self.arm_send_bytes(id);
    }

    pub(in crate::io) fn shutdown_write(&mut self, id: SocketId) {
        let Some(socket) = self.open(id) else { return };
        match socket.sending {
            Sending::Nothing => socket::shutdown_write(&socket.fd),
            Sending::Try(_) | Sending::Bytes { .. } => socket.life = Life::ShutdownAfterSend,
        }
    }

    /// Queues the tries of this turn. True: somebody waits for the end of one of them, so this turn must not.
    pub(super) fn submit_tries(&mut self) -> bool {
        let mut hurry = false;
        for place in 0..self.tries.len() {
            let id = self.tries[place];
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            hurry |= socket.telling == Telling::End || socket.life != Life::Open;
            let Some(entry) = socket.try_entry() else { continue };
            // SAFETY: spans and message are owned by the socket's slot, as is the descriptor. They are let go of at the
            // completion (`sent`), or when the kernel has taken the whole queue and posted none (`conclude_tries`).
            unsafe { self.submit(entry, Tag::new(Kind::Send, id)) };
        }
        hurry
    }

    /// Ends the tries of this turn, after the ring was entered: those that are not over yet have written everything.
    pub(super) fn conclude_tries(&mut self, completed: &[cqueue::Entry], events: &mut Vec<Event>) {
        for entry in completed {
            if let Some(Tag { kind: Kind::Send, cancel: false, owner }) = Tag::from_bits(entry.user_data()) {
                self.in_flight -= 1;
                self.sent(owner, entry.result(), events);
            }
        }
        let mut tries = mem::take(&mut self.tries);
        for id in tries.drain(..) {
            self.conclude_try(id, events);
        }
        self.tries = tries;
    }

    fn conclude_try(&mut self, id: SocketId, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        match mem::replace(&mut socket.sending, Sending::Nothing) {
            Sending::Try(spans) => spans.whole(&mut self.messages),
            // Its completion came.
            other => return socket.sending = other,
        }
        self.in_flight -= 1;
        if socket.telling == Telling::End || socket.life != Life::Open {
            if socket.is_open() && mem::replace(&mut socket.telling, Telling::Rest) == Telling::End {
                events.push(Event::Sent { id, unsent: Vec::new() });
            }
            self.after_send(id);
        }
    }

    /// The completion of a send: of bytes, or of a try that did not write everything.
    fn sent(&mut self, id: SocketId, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stale += 1;
            return;
        };
        match mem::replace(&mut socket.sending, Sending::Nothing) {
            Sending::Nothing => unreachable!("a completion without a send"),
            Sending::Try(spans) => {
                let telling = mem::replace(&mut socket.telling, Telling::Rest);
                let event = spans.over(result, &mut self.messages).event(id, telling);
                events.extend(event.filter(|_| socket.is_open()));
            }
            Sending::Bytes { buffer, offset } => return self.sent_bytes(id, buffer, offset, result, events),
        }
        self.after_send(id);
    }

    fn sent_bytes(&mut self, id: SocketId, buffer: Vec<u8>, offset: usize, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if !socket.is_open() {
            return self.after_send(id);
        }
        let offset = offset + result.max(0) as usize;
        let unfinished = match -result {
            ..=0 => offset < buffer.len(),
            libc::EAGAIN | libc::EINTR => true,
            _ => false,
        };
        if unfinished {
            socket.sending = Sending::Bytes { buffer, offset };
            return self.arm_send_bytes(id);
        }
        let result = if result < 0 { Err(Errno(-result)) } else { Ok(()) };
        events.push(Event::SentBytes { id, result, buffer });
        self.after_send(id);
    }

    /// What waited for the end of the send in flight.
    fn after_send(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        match socket.life {
            Life::Open => {}
            Life::ShutdownAfterSend => {
                socket::shutdown_write(&socket.fd);
                socket.life = Life::Open;
            }
            Life::Closing => self.remove_if_finished(id),
        }
    }

    fn arm_send_bytes(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let Sending::Bytes { buffer, offset } = &socket.sending else {
            return;
        };
        let bytes = &buffer[*offset..];
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(socket.fd.as_raw_fd()), bytes.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: the slot owns the vector, which is neither touched nor dropped before the completion (`sent`); its
        // heap memory does not move with the slot.
        unsafe { self.submit(entry, Tag::new(Kind::Send, id)) };
    }
}

impl Socket {
    /// The operation that tries the spans of this turn. MSG_DONTWAIT makes it a try. MSG_WAITALL makes a partial write
    /// count as a failure, so that with SKIP_SUCCESS every incomplete write posts a completion, with what was written.
    fn try_entry(&mut self) -> Option<squeue::Entry> {
        const FLAGS: i32 = TRY | libc::MSG_WAITALL;
        let fd = Fd(self.fd.as_raw_fd());
        let entry = match &mut self.sending {
            Sending::Try(Try::One(span)) => {
                opcode::Send::new(fd, span.as_ptr(), span.len() as u32).flags(FLAGS).build()
            }
            Sending::Try(Try::Several(message)) => {
                opcode::SendMsg::new(fd, message.header()).flags(FLAGS as u32).build()
            }
            Sending::Nothing | Sending::Bytes { .. } => return None,
        };
        Some(entry.flags(squeue::Flags::SKIP_SUCCESS))
    }
}
