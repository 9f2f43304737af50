//! Accepting clients: one multishot accept for each listener, and a rest when the system has no room.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};

use super::Uring;
use crate::io::event::{Errno, Event, SocketId};
use crate::io::listener::Accepting;
use crate::io::operation::{Kind, Tag};
use crate::io::socket;

impl Uring {
    pub(in crate::io) fn listen(&mut self, key: u32, fd: OwnedFd) {
        // A nonblocking listener would give the accept back with EAGAIN on some kernels instead of waiting. Changing it
        // cannot fail on an open descriptor.
        let _ = socket::set_nonblocking(&fd, false);
        match self.listeners.insert(key, fd) {
            Some(id) => self.arm_accept(id),
            None => self.ready.push(Event::AcceptFailed { key, error: Errno(libc::ENFILE), told: 0 }),
        }
    }

    pub(in crate::io) fn refuse_with(&mut self, words: Vec<u8>) {
        self.listeners.refuse_with(words);
    }

    pub(in crate::io) fn stop_listening(&mut self, key: u32) {
        if let Some((id, listener)) = self.listeners.with_key(key) {
            match mem::replace(&mut listener.state, Accepting::Stopping) {
                Accepting::Armed => self.cancel(Tag::new(Kind::Accept, id)),
                Accepting::Paused { .. } | Accepting::Stopping => self.listeners.remove(id),
            }
        }
        self.ready.retain(|event| !matches!(event, Event::AcceptFailed { key: other, .. } if *other == key));
    }

    pub(super) fn accepted(&mut self, id: SocketId, entry: &cqueue::Entry, events: &mut Vec<Event>) {
        let result = entry.result();
        let socket = (result >= 0).then(|| {
            // SAFETY: the kernel made this descriptor for us with this completion; nobody else knows it.
            unsafe { OwnedFd::from_raw_fd(result) }
        });
        let Some(listener) = self.listeners.get_mut(id) else {
            self.stale += 1;
            return;
        };
        let key = listener.key;
        if listener.state == Accepting::Stopping {
            // A client that came after the cancellation: its descriptor is closed here.
            drop(socket);
            if !cqueue::more(entry.flags()) {
                self.listeners.remove(id);
            }
            return;
        }
        if let Some(socket) = socket {
            events.push(Event::Accepted { key, socket });
        }
        if cqueue::more(entry.flags()) {
            return;
        }
        if result >= 0 || socket::is_one_clients_error(-result) {
            return self.arm_accept(id);
        }
        listener.pause();
        let (error, told) = (Errno(-result), self.listeners.refuse_waiting(id));
        events.push(Event::AcceptFailed { key, error, told });
    }

    fn arm_accept(&mut self, id: SocketId) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        listener.state = Accepting::Armed;
        let entry = opcode::AcceptMulti::new(Fd(listener.fd.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build();
        // SAFETY: no addresses; the slot keeps the listener's descriptor until the last completion.
        unsafe { self.submit(entry, Tag::new(Kind::Accept, id)) };
    }

    /// Arms the listeners whose pause is over; gives back the time at which the next one's is, or `until`.
    pub(super) fn retry_accepts(&mut self, until: Option<Instant>) -> Option<Instant> {
        while let Some((id, pause_end)) = self.listeners.first_paused() {
            if pause_end > Instant::now() {
                return Some(until.map_or(pause_end, |until| until.min(pause_end)));
            }
            self.listeners.keep_spare();
            self.arm_accept(id);
        }
        until
    }
}
