//! The listening sockets of an engine, and which of them rest because the system has no room for another client.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::event::SocketId;
use super::operation::Slots;
use super::socket;

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

/// Clients that are told so in one rest of a listener, so that telling them does not become all that a worker does.
const TOLD_MAX: u32 = 64;

pub(super) struct Listeners {
    slots: Slots<Listener>,
    /// What clients are told that there is no descriptor for.
    refusal: Vec<u8>,
    /// One descriptor that is kept back for telling them; absent while another thread has it.
    spare: Option<File>,
}

impl Listeners {
    pub(super) fn new() -> Listeners {
        Listeners { slots: Slots::new(LISTENERS_MAX), refusal: Vec::new(), spare: None }
    }

    pub(super) fn refuse_with(&mut self, refusal: Vec<u8>) {
        self.refusal = refusal;
        self.spare = spare_descriptor();
    }

    /// Gives the spare descriptor to one waiting client after the other, for as long as it takes to tell them. Says how
    /// many heard it. Another thread may take the descriptor meanwhile, for a client that it then serves: here, clients
    /// wait until one is free again, which is the next spare one.
    pub(super) fn refuse_waiting(&mut self, id: SocketId) -> u32 {
        let Some(listener) = self.slots.get_mut(id).filter(|_| !self.refusal.is_empty()) else { return 0 };
        drop(self.spare.take());
        let mut told = 0;
        while told < TOLD_MAX && socket::refuse_waiting(&listener.fd, &self.refusal) {
            told += 1;
        }
        self.spare = spare_descriptor();
        told
    }

    /// The first descriptor that is free is kept back, before clients take it.
    pub(super) fn keep_spare(&mut self) {
        if self.spare.is_none() && !self.refusal.is_empty() {
            self.spare = spare_descriptor();
        }
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

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Listener {
    /// Lets the listener rest.
    pub(super) fn pause(&mut self) {
        self.state = Accepting::Paused { until: Instant::now() + ACCEPT_PAUSE };
    }
}
