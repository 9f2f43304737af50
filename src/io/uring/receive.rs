//! Receiving, into buffers that the kernel picks: one multishot receive for each socket that is read, or, for a stream,
//! one receive for each buffer. A multishot receive takes all that waits in the socket at once, which of a stream is more
//! than a turn can pass on.

use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};

use super::Uring;
use crate::io::adaptive::Helping;
use crate::io::event::{Errno, Event, SocketId};
use crate::io::operation::{Kind, Tag};
use crate::io::starved::Served;

/// Where the receiving side of a socket is. In the states with an operation in flight its last completion decides what
/// comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    /// Nobody wants bytes.
    Idle,
    /// In flight and wanted.
    Armed,
    /// In flight, cancelled, not wanted.
    Stopping,
    /// In flight, cancelled, wanted again afterwards.
    Restarting,
    /// Wanted, waiting for a free buffer.
    Starved,
    /// The peer has finished, or the connection broke: there will be no more bytes.
    Over,
}

impl Receive {
    pub(super) fn is_in_flight(self) -> bool {
        matches!(self, Receive::Armed | Receive::Stopping | Receive::Restarting)
    }
}

impl Uring {
    pub(in crate::io) fn receive(&mut self, id: SocketId) {
        let Some(socket) = self.open(id) else { return };
        match socket.receive {
            Receive::Idle => self.arm_receive(id),
            Receive::Stopping => socket.receive = Receive::Restarting,
            Receive::Armed | Receive::Restarting | Receive::Starved | Receive::Over => {}
        }
    }

    pub(in crate::io) fn pause(&mut self, id: SocketId) {
        let Some(socket) = self.open(id) else { return };
        match socket.receive {
            Receive::Armed => {
                socket.receive = Receive::Stopping;
                self.cancel(Tag::new(Kind::Receive, id));
            }
            Receive::Restarting => socket.receive = Receive::Stopping,
            Receive::Starved => {
                socket.receive = Receive::Idle;
                self.starved.forget(id);
            }
            Receive::Idle | Receive::Stopping | Receive::Over => {}
        }
    }

    pub(super) fn received(&mut self, id: SocketId, entry: &cqueue::Entry, events: &mut Vec<Event>) {
        let result = entry.result();
        let length = result.max(0) as usize;
        // Taken also when the bytes are not wanted any more: dropping the span returns the buffer.
        let span = cqueue::buffer_select(entry.flags()).map(|buffer| self.pool.filled(buffer, length));
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stale += 1;
            return;
        };
        if socket.is_open()
            && length > 0
            && let Some(span) = span
        {
            events.push(Event::Received { id, span });
            socket.served = Served::Yes;
            let moves = socket.adaptive.received(length, &self.pool);
            if moves && socket.receive == Receive::Armed && cqueue::more(entry.flags()) {
                socket.receive = Receive::Restarting;
                self.cancel(Tag::new(Kind::Receive, id));
            }
        }
        if !cqueue::more(entry.flags()) {
            self.receive_over(id, result, events);
        }
    }

    /// The last completion of a receive.
    fn receive_over(&mut self, id: SocketId, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let wanted = matches!(socket.receive, Receive::Armed | Receive::Restarting);
        socket.receive = Receive::Idle;
        if !socket.is_open() {
            return self.remove_if_finished(id);
        }
        match -result {
            0 => {
                socket.receive = Receive::Over;
                events.push(Event::Ended { id });
            }
            libc::ENOBUFS if wanted && socket.adaptive.gives_way(&self.pool) => self.arm_receive(id),
            libc::ENOBUFS if wanted => {
                socket.receive = Receive::Starved;
                self.starved.add(socket.adaptive.group(), id, socket.served);
            }
            ..0 | libc::ECANCELED | libc::EAGAIN | libc::EINTR if wanted => self.arm_receive(id),
            ..0 | libc::ECANCELED | libc::EAGAIN | libc::EINTR | libc::ENOBUFS => {}
            error => {
                socket.receive = Receive::Over;
                events.push(Event::Failed { id, error: Errno(error) });
            }
        }
    }

    fn arm_receive(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.receive = Receive::Armed;
        let fd = Fd(socket.fd.as_raw_fd());
        let group = socket.adaptive.group();
        let entry = match socket.adaptive.helping() {
            Helping::All => opcode::RecvMulti::new(fd, group as u16).build(),
            Helping::One => opcode::Recv::new(fd, ptr::null_mut(), self.pool.size(group) as u32)
                .buf_group(group as u16)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
        };
        // SAFETY: the kernel writes only into buffers of the registered groups, which `self.pool` keeps; the slot keeps
        // the descriptor until the last completion, which `receive_over` handles.
        unsafe { self.submit(entry, Tag::new(Kind::Receive, id)) };
    }

    pub(super) fn feed_starved(&mut self) {
        let mut lucky = mem::take(&mut self.lucky);
        self.starved.feed(&self.pool, &mut lucky);
        for id in lucky.drain(..) {
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.served = Served::No;
            }
            self.arm_receive(id);
        }
        self.lucky = lucky;
    }
}
