//! The listening sockets of an engine, and which of them rest because the system has no room for another client.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::event::SocketId;
use super::operation::Slots;

/// Listeners one engine can have.
pub const LISTENERS_MAX: usize = 1024;

/// How long a listener rests when the system has no descriptors or memory for another client.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Listener {
    pub(super) key: u32,
    pub(super) fd: OwnedFd,
    pub(super) state: Accepting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepting {
    Armed,
    /// The system had no descriptors or memory; to be tried again then.
    Paused {
        until: Instant,
    },
    /// Cancelled, and the kernel has not said yet that it is over.
    Stopping,
}

pub(super) struct Listeners {
    slots: Slots<Listener>,
}

impl Listeners {
    pub(super) fn new() -> Listeners {
        Listeners { slots: Slots::new(LISTENERS_MAX) }
    }

    /// None: there are as many as there may be, and the socket is closed.
    pub(super) fn insert(&mut self, key: u32, fd: OwnedFd) -> Option<SocketId> {
        self.slots.insert(Listener { key, fd, state: Accepting::Armed }).ok()
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Listener> {
        self.slots.get_mut(id)
    }

    pub(super) fn remove(&mut self, id: SocketId) {
        self.slots.remove(id);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SocketId, &mut Listener)> {
        self.slots.iter_mut()
    }

    /// The listener with this key that accepts, or will again.
    pub(super) fn with_key(&mut self, key: u32) -> Option<(SocketId, &mut Listener)> {
        self.iter_mut().find(|(_, listener)| listener.key == key && listener.state != Accepting::Stopping)
    }

    /// The paused listener that is to be tried first, and when.
    pub(super) fn first_paused(&mut self) -> Option<(SocketId, Instant)> {
        let paused = self.iter_mut().filter_map(|(id, listener)| match listener.state {
            Accepting::Paused { until } => Some((id, until)),
            Accepting::Armed | Accepting::Stopping => None,
        });
        paused.min_by_key(|(_, until)| *until)
    }
}

impl Listener {
    /// Lets the listener rest.
    pub(super) fn pause(&mut self) {
        self.state = Accepting::Paused { until: Instant::now() + ACCEPT_PAUSE };
    }
}
