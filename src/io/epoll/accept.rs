//! Accepting clients: a few from each listener that has any, and a rest when the system has no room.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

use super::interest::control;
use super::{Epoll, READABLE};
use crate::io::event::{Errno, Event, SocketId};
use crate::io::listener::Accepting;
use crate::io::operation::{Kind, Tag};
use crate::io::socket;

/// Clients accepted from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 64;

impl Epoll {
    pub(in crate::io) fn listen(&mut self, key: u32, fd: OwnedFd) {
        // It cannot fail on an open descriptor.
        let _ = socket::set_nonblocking(&fd, true);
        match self.listeners.insert(key, fd) {
            Some(id) => self.watch_listener(id),
            None => self.ready.push(Event::AcceptFailed { key, error: Errno(libc::ENFILE), told: 0 }),
        }
    }

    pub(in crate::io) fn refuse_with(&mut self, words: Vec<u8>) {
        self.listeners.refuse_with(words);
    }

    pub(in crate::io) fn stop_listening(&mut self, key: u32) {
        let Some((id, _)) = self.listeners.with_key(key) else { return };
        self.unwatch_listener(id);
        self.listeners.remove(id);
    }

    pub(super) fn accept(&mut self, id: SocketId, events: &mut Vec<Event>) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get_mut(id) else {
                return;
            };
            let key = listener.key;
            match accept_now(listener.fd.as_raw_fd()) {
                Ok(socket) => events.push(Event::Accepted { key, socket }),
                Err(Errno(libc::EAGAIN)) => return,
                Err(error) if socket::is_one_clients_error(error.0) => {}
                Err(error) => {
                    listener.pause();
                    self.unwatch_listener(id);
                    let told = self.listeners.refuse_waiting(id);
                    events.push(Event::AcceptFailed { key, error, told });
                    return;
                }
            }
        }
    }

    /// Several workers may watch the same listener: EPOLLEXCLUSIVE wakes one of them.
    fn watch_listener(&mut self, id: SocketId) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        listener.state = Accepting::Armed;
        let mask = READABLE | libc::EPOLLEXCLUSIVE as u32;
        let tag = Tag::new(Kind::Accept, id);
        let fd = listener.fd.as_raw_fd();
        if let Err(error) = control(&self.epoll, libc::EPOLL_CTL_ADD, fd, mask, tag) {
            listener.pause();
            let (key, error) = (listener.key, Errno::from(error));
            self.ready.push(Event::AcceptFailed { key, error, told: 0 });
        }
    }

    fn unwatch_listener(&mut self, id: SocketId) {
        let Some(listener) = self.listeners.get_mut(id) else {
            return;
        };
        let tag = Tag::new(Kind::Accept, id);
        // Fails when it was not watched, which is what is wanted.
        let _ = control(&self.epoll, libc::EPOLL_CTL_DEL, listener.fd.as_raw_fd(), 0, tag);
    }

    /// Watches the listeners again whose pause is over; gives back the time at which the next one's is, or `until`.
    pub(super) fn retry_accepts(&mut self, until: Option<Instant>) -> Option<Instant> {
        while let Some((id, pause_end)) = self.listeners.first_paused() {
            if pause_end > Instant::now() {
                return Some(until.map_or(pause_end, |until| until.min(pause_end)));
            }
            self.listeners.keep_spare();
            self.watch_listener(id);
        }
        until
    }
}

fn accept_now(listener: RawFd) -> Result<OwnedFd, Errno> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no address is asked for.
    let socket = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    if socket < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}
