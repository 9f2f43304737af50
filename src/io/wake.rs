//! Waking a worker from another thread: an eventfd that its engine watches.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends another thread's wait in `Io::turn` with `Event::Woken`. Cheap when the worker was already woken and has not
/// looked yet.
#[derive(Debug, Clone)]
pub struct WakeHandle {
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    eventfd: OwnedFd,
    /// Whether the eventfd was written and the worker has not cleared it yet.
    rung: AtomicBool,
}

impl WakeHandle {
    pub(super) fn new() -> io::Result<WakeHandle> {
        // Blocking: io_uring gives a read of a nonblocking eventfd back with EAGAIN instead of waiting. A write cannot
        // block, because `rung` keeps the counter at one.
        // SAFETY: a system call without pointers.
        let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if eventfd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let eventfd = unsafe { OwnedFd::from_raw_fd(eventfd) };
        Ok(WakeHandle { bell: Arc::new(Bell { eventfd, rung: AtomicBool::new(false) }) })
    }

    /// Wakes the worker. What was written to memory before is visible to it when it handles `Event::Woken`.
    pub fn wake(&self) {
        if self.bell.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the eight bytes live through the call.
        let written = unsafe { libc::write(self.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        debug_assert_eq!(written, 8, "an eventfd takes a one");
    }

    /// The worker has seen the wake, if there was one, which it says. The next `wake` writes again, so the mailbox must be looked at after this.
    pub(super) fn clear(&self) -> bool {
        // A swap and not a store: it reads what the last `wake` wrote, so what was put into the mailbox before a
        // swallowed wake is visible from here on.
        self.bell.rung.swap(false, Ordering::AcqRel)
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.bell.eventfd.as_raw_fd()
    }
}
