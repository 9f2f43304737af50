//! What the kernel is told to watch of a socket. Changed only when it reports something nobody wants.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::receive::Receive;
use super::send::Sending;
use super::{BROKEN, Epoll, READABLE, Socket, WRITABLE};
use crate::io::event::{Errno, Event, SocketId};
use crate::io::operation::{Kind, Tag};

/// What the kernel was told to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Not in the epoll set, which is the only way not to hear of a hang-up.
    Nothing,
    Watched(u32),
}

impl Epoll {
    /// Makes sure that the kernel watches for everything the socket waits for. Never takes anything away.
    pub(super) fn watch(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let wanted = socket.wanted();
        match socket.interest {
            Interest::Watched(mask) if mask & wanted == wanted => {}
            Interest::Watched(mask) => self.set_interest(id, Interest::Watched(mask | wanted)),
            Interest::Nothing => self.set_interest(id, Interest::Watched(wanted)),
        }
    }

    /// Takes away what was reported and nobody wants, or it would be reported again at once.
    pub(super) fn unwatch_unwanted(&mut self, id: SocketId, flags: u32) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let Interest::Watched(mask) = socket.interest else {
            return;
        };
        let wanted = socket.wanted();
        if wanted == 0 && flags & BROKEN != 0 {
            self.set_interest(id, Interest::Nothing);
        } else if mask & flags & !wanted != 0 {
            self.set_interest(id, Interest::Watched(wanted));
        }
    }

    fn set_interest(&mut self, id: SocketId, interest: Interest) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let (operation, mask) = match (socket.interest, interest) {
            (Interest::Nothing, Interest::Nothing) => return,
            (Interest::Nothing, Interest::Watched(mask)) => (libc::EPOLL_CTL_ADD, mask),
            (Interest::Watched(_), Interest::Watched(mask)) => (libc::EPOLL_CTL_MOD, mask),
            (Interest::Watched(_), Interest::Nothing) => (libc::EPOLL_CTL_DEL, 0),
        };
        socket.interest = interest;
        let tag = Tag::new(Kind::Receive, id);
        if let Err(error) = control(&self.epoll, operation, socket.fd.as_raw_fd(), mask, tag) {
            // The system's limit of watches: without one the socket is of no use.
            socket.interest = Interest::Nothing;
            let error = Errno::from(error);
            self.ready.push(Event::Failed { id, error });
        }
    }
}

impl Socket {
    /// The readiness that would be of use now.
    pub(super) fn wanted(&self) -> u32 {
        let read = match self.receive {
            Receive::Wanted => READABLE,
            Receive::Idle | Receive::Starved | Receive::Over => 0,
        };
        let write = match self.sending {
            Sending::Nothing | Sending::Try(_) => 0,
            Sending::Connect | Sending::Bytes { .. } => WRITABLE,
        };
        read | write
    }
}

pub(super) fn control(epoll: &OwnedFd, operation: i32, fd: RawFd, mask: u32, tag: Tag) -> io::Result<()> {
    let mut event = libc::epoll_event { events: mask, u64: tag.to_bits() };
    // SAFETY: the event lives through the call, which copies it.
    if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &mut event) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
