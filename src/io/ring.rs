//! The io_uring itself: setting it up with the flags this kernel has, filling its submission queue, entering the kernel
//! once a turn, and copying out what completed. Knows no sockets.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, IoUring, cqueue, squeue};

use super::patience::Patience;

/// Operations queued before the kernel must be entered in the middle of a turn. Small on purpose: the queue is written
/// round and round, and 512 entries (32 KiB) stay in the cache.
const SUBMISSIONS: u32 = 512;

/// Completions the kernel can post between two turns without setting them aside in its own memory.
const COMPLETIONS: u32 = 4096;

/// How often a submission is tried again when the kernel has no memory for it right now.
const FLUSH_TRIES: usize = 10_000;

/// The ways to set up a ring, best first. `Setup` says what each gives.
const SETUPS: [Setup; 4] = [Setup::DeferredNoArray, Setup::Deferred, Setup::Cooperative, Setup::Plain];

/// How completions get their work done, which decides most of the ring's cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    /// As `Deferred`, and without the indirection array of the submission queue (kernel 6.6).
    DeferredNoArray,
    /// Work waits for our own enter: no interrupts, whole batches (kernel 6.1).
    Deferred,
    /// Work is done at the next system call, without an interrupt (kernel 5.19).
    Cooperative,
    /// As it comes.
    Plain,
}

impl Setup {
    fn apply(self, builder: &mut Builder) {
        builder.setup_cqsize(COMPLETIONS).setup_submit_all();
        match self {
            Setup::DeferredNoArray => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_no_sqarray();
            }
            Setup::Deferred => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
            }
            Setup::Cooperative => {
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
            Setup::Plain => {}
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Setup::DeferredNoArray => "SINGLE_ISSUER, DEFER_TASKRUN, NO_SQARRAY",
            Setup::Deferred => "SINGLE_ISSUER, DEFER_TASKRUN (no NO_SQARRAY: kernel before 6.6)",
            Setup::Cooperative => "COOP_TASKRUN (no DEFER_TASKRUN: refused by the kernel)",
            Setup::Plain => "no task-run flags (refused by the kernel)",
        })
    }
}

/// How long a turn may wait for the next completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    For(Duration),
    Forever,
}

impl Wait {
    fn at_most(self) -> Option<Duration> {
        match self {
            Wait::No => Some(Duration::ZERO),
            Wait::For(duration) => Some(duration),
            Wait::Forever => None,
        }
    }
}

/// One thread's io_uring.
pub(super) struct Ring {
    ring: IoUring,
    setup: Setup,
    patience: Patience,
    /// Copied out of the completion queue and not handled yet.
    completed: Vec<cqueue::Entry>,
}

impl Ring {
    /// Sets up the best ring this kernel allows. The calling thread is the only one that may use it.
    pub(super) fn new() -> io::Result<Ring> {
        let mut refused = io::Error::from_raw_os_error(libc::ENOSYS);
        for setup in SETUPS {
            let mut builder = IoUring::builder();
            setup.apply(&mut builder);
            match builder.build(SUBMISSIONS) {
                Ok(ring) => {
                    let completed = Vec::with_capacity(COMPLETIONS as usize);
                    return Ok(Ring { ring, setup, patience: Patience::none(), completed });
                }
                // A flag this kernel does not know.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    pub(super) fn setup(&self) -> Setup {
        self.setup
    }

    /// Whether the kernel keeps completions it has no room for, and takes a timeout with the enter. Both are older than
    /// the kernel floor; without them this engine would be wrong, not only slow.
    pub(super) fn has_needed_features(&self) -> bool {
        let parameters = self.ring.params();
        parameters.is_feature_nodrop() && parameters.is_feature_ext_arg()
    }

    pub(super) fn inner(&self) -> &IoUring {
        &self.ring
    }

    /// Queues an operation. A full queue is handed to the kernel first; nothing is lost.
    ///
    /// # Safety
    /// Every address and descriptor in `entry` stays valid until the operation's last completion has been reaped.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: passed on from the caller.
        if unsafe { self.ring.submission().push(entry) }.is_ok() {
            return;
        }
        self.flush();
        // SAFETY: passed on from the caller.
        unsafe { self.ring.submission().push(entry) }.expect("a flushed queue has room");
    }

    /// Empties the submission queue.
    ///
    /// # Panics
    /// When the kernel takes nothing for `FLUSH_TRIES` times: it is out of memory.
    fn flush(&mut self) {
        for _ in 0..FLUSH_TRIES {
            match self.ring.submit() {
                Err(error) if !is_passing(&error) => panic!("io_uring_enter: {error}"),
                _ => {}
            }
            // The kernel may be waiting for room in the completion queue.
            self.drain();
            if self.ring.submission().is_empty() {
                return;
            }
        }
        panic!("the kernel takes no more operations");
    }

    pub(super) fn be_patient(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Submits everything queued and waits for a completion as told: the one system call of a turn, unless a look is
    /// worth one more. Does not wait, and makes no call that has nothing to do, when completions are already here.
    /// Afterwards the kernel has taken all of the queue, and what it posted by then is here.
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let is_here = !self.completed.is_empty() || !self.ring.completion().is_empty();
        let wait = if is_here || self.looks_and_sees(wait)? { Wait::No } else { wait };
        let result = match wait {
            Wait::No if self.has_nothing_to_do() => Ok(0),
            Wait::No => self.ring.submit(),
            Wait::Forever => self.ring.submit_and_wait(1),
            Wait::For(duration) => {
                let timeout = Timespec::from(duration);
                let arguments = SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(1, &arguments)
            }
        };
        self.drain();
        match result {
            Ok(_) => {}
            // ETIME: the wait is over; EINTR: a signal.
            Err(error) if error.raw_os_error() == Some(libc::ETIME) || is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        if !self.ring.submission().is_empty() {
            self.flush();
        }
        Ok(())
    }

    /// Submits everything queued and looks for a completion, or for work that makes one, if that is worth its time.
    fn looks_and_sees(&mut self, wait: Wait) -> io::Result<bool> {
        if wait == Wait::No || !self.patience.is_willing(Instant::now) {
            return Ok(false);
        }
        if !self.has_nothing_to_do() {
            match self.ring.submit() {
                Err(error) if !is_passing(&error) => return Err(error),
                _ => {}
            }
        }
        let ring = &mut self.ring;
        let mut sees = || !ring.completion().is_empty() || ring.submission().taskrun();
        Ok(sees() || self.patience.look(wait.at_most(), sees))
    }

    fn has_nothing_to_do(&mut self) -> bool {
        let submission = self.ring.submission();
        // Without the flag that tells of waiting task work the kernel must be asked.
        submission.is_empty() && self.setup != Setup::Plain && !submission.taskrun() && !submission.cq_overflow()
    }

    /// Copies the completion queue out, also what the kernel had set aside when the queue was full.
    ///
    /// # Panics
    /// When the kernel keeps what it set aside for `FLUSH_TRIES` times.
    fn drain(&mut self) {
        let before = self.completed.len();
        self.completed.extend(self.ring.completion());
        self.patience.saw(self.completed.len() - before);
        let mut tries = 0..FLUSH_TRIES;
        while self.ring.submission().cq_overflow() {
            tries.next().expect("the kernel hands out what it set aside");
            // An enter with an overflow moves the set-aside completions into the queue emptied above.
            match self.ring.submit() {
                Err(error) if !is_passing(&error) => panic!("io_uring_enter: {error}"),
                _ => self.completed.extend(self.ring.completion()),
            }
        }
    }

    /// Exchanges what completed for an empty vector, so that handling it may queue new operations.
    pub(super) fn swap_completed(&mut self, batch: &mut Vec<cqueue::Entry>) {
        debug_assert!(batch.is_empty());
        std::mem::swap(&mut self.completed, batch);
    }
}

/// Errors of an enter that the next one does not have.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

#[cfg(test)]
mod tests {
    use io_uring::opcode;

    use super::*;

    fn nop(number: u64) -> squeue::Entry {
        opcode::Nop::new().build().user_data(number)
    }

    /// None where io_uring is forbidden; the engine's own tests say so.
    fn ring() -> Option<Ring> {
        Ring::new().ok()
    }

    fn reap(ring: &mut Ring) -> Vec<u64> {
        let mut batch = Vec::new();
        ring.swap_completed(&mut batch);
        batch.iter().map(cqueue::Entry::user_data).collect()
    }

    #[test]
    fn a_full_submission_queue_loses_nothing() {
        let Some(mut ring) = ring() else { return };
        let count = u64::from(SUBMISSIONS) * 3 + 7;
        for number in 0..count {
            // SAFETY: a no-op has no addresses.
            unsafe { ring.push(&nop(number)) };
        }
        ring.enter(Wait::No).expect("enter");
        assert_eq!(reap(&mut ring), (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_completion_queue_loses_nothing_and_keeps_the_order() {
        let Some(mut ring) = ring() else { return };
        let count = u64::from(COMPLETIONS) * 2 + 100;
        for number in 0..count {
            // SAFETY: a no-op has no addresses.
            unsafe { ring.push(&nop(number)) };
        }
        assert!(ring.ring.submission().cq_overflow() || !ring.completed.is_empty());
        ring.enter(Wait::No).expect("enter");
        assert_eq!(reap(&mut ring), (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn a_wait_ends_when_its_time_is_over() {
        let Some(mut ring) = ring() else { return };
        ring.enter(Wait::For(Duration::from_millis(1))).expect("enter");
        assert!(reap(&mut ring).is_empty());
    }
}
