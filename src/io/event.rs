//! What the kernel's completions become: the events a worker handles, and the small names in them.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use super::buffer::Span;

/// Names an open socket of one engine. After `close` the name is dead: what is asked of it does nothing, and no event
/// carries it any more, even when its slot is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl SocketId {
    /// The slot: below the engine's `sockets_max`, and shared by no other open socket. Good as an index of a side table.
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// The engine has as many sockets as its limits allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// An error number of the operating system.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Whether the other side went away, as against an error of ours or of the network between.
    #[must_use]
    pub fn is_disconnect(self) -> bool {
        matches!(self.0, libc::ECONNRESET | libc::EPIPE | libc::ENOTCONN)
    }

    /// Whether the other side did not answer in time.
    #[must_use]
    pub fn is_timeout(self) -> bool {
        self.0 == libc::ETIMEDOUT
    }

    pub(super) fn last() -> Errno {
        Errno::from(io::Error::last_os_error())
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from(*self).fmt(formatter)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Errno({}: {self})", self.0)
    }
}

/// Something that happened on a worker's engine. Events of one socket come in the order in which they happened.
#[derive(Debug)]
pub enum Event {
    /// A client connected to the listener `key`.
    Accepted {
        /// As given to `listen`.
        key: u32,
        /// The client's socket; closed when dropped.
        socket: OwnedFd,
    },
    /// The listener `key` could not accept, for want of descriptors or memory. It tries again by itself after a pause.
    AcceptFailed {
        /// As given to `listen`.
        key: u32,
        /// Mostly EMFILE or ENFILE.
        error: Errno,
        /// Clients that were told so, and closed.
        told: u32,
    },
    /// A connect that `connect` began has ended. After an error the socket is only good for `close`.
    Connected {
        /// The socket.
        id: SocketId,
        /// Whether it is connected now.
        result: Result<(), Errno>,
    },
    /// Bytes came; never zero of them.
    Received {
        /// The socket.
        id: SocketId,
        /// The bytes, in the kernel-filled buffer.
        span: Span,
    },
    /// The peer has finished sending. Sending to it may still work. Comes at most once per socket.
    Ended {
        /// The socket.
        id: SocketId,
    },
    /// The connection is broken, seen by a receive. The socket is only good for `close`.
    Failed {
        /// The socket.
        id: SocketId,
        /// What broke it.
        error: Errno,
    },
    /// A `send` found the connection broken; nothing more can be written. What the peer had sent before is still received,
    /// up to `Ended` or `Failed`: a server that gives up in the middle of a command says why.
    SendFailed {
        /// The socket.
        id: SocketId,
        /// What broke it.
        error: Errno,
    },
    /// What `send` was given in the turn before was tried, and not everything was written; or everything was, and
    /// `await_sent` asked to hear of it. Comes before all other events of its turn.
    Sent {
        /// The socket.
        id: SocketId,
        /// What was not written, in order; the first may be the rest of a span. Empty: all was written.
        unsent: Vec<Span>,
    },
    /// A `send_bytes` is over.
    SentBytes {
        /// The socket.
        id: SocketId,
        /// Whether all was written. An error means what it means in `SendFailed`.
        result: Result<(), Errno>,
        /// The buffer that was given, unchanged, to be used again.
        buffer: Vec<u8>,
    },
    /// Another thread called `WakeHandle::wake` since the last such event.
    Woken,
}

impl Event {
    /// The socket this event is about.
    #[must_use]
    pub fn socket(&self) -> Option<SocketId> {
        match self {
            Event::Connected { id, .. }
            | Event::Received { id, .. }
            | Event::Ended { id }
            | Event::Failed { id, .. }
            | Event::SendFailed { id, .. }
            | Event::Sent { id, .. }
            | Event::SentBytes { id, .. } => Some(*id),
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Woken => None,
        }
    }
}
