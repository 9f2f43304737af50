//! What one worker has done so far.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::reply_times::ReplyTimes;
use crate::session::{Ending, RouteCounts};

/// Counts of one worker. Only the worker writes them; anyone may read them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Sessions now.
    pub sessions: AtomicU64,
    /// Clients accepted so far.
    pub accepted: AtomicU64,
    /// Commands of the sessions that have ended.
    pub commands: AtomicU64,
    /// Bytes received from clients.
    pub client_bytes: AtomicU64,
    /// Bytes received from servers.
    pub server_bytes: AtomicU64,
    /// Descriptors that could not be accepted, because the process has too many open.
    pub accepts_failed: AtomicU64,
    /// Faults of ours that ended a session.
    pub faults: AtomicU64,
    /// Times that a session had to wait for a server.
    pub waits: AtomicU64,
    /// Of those, the ones that ended without a server.
    pub waits_expired: AtomicU64,
    /// How long servers took to reply.
    pub reply_times: ReplyTimes,
    /// Where the statements of split sessions ran.
    pub routes: Arc<RouteCounts>,
    ended: [AtomicU64; Ending::ALL.len()],
}

impl Counters {
    /// Sessions that ended for this reason.
    pub fn ended(&self, ending: Ending) -> u64 {
        self.ended[ending.index()].load(Ordering::Relaxed)
    }

    pub(super) fn count_end(&self, ending: Ending) {
        add(&self.ended[ending.index()], 1);
    }
}

/// Adds to a counter that has one writer: cheaper than an atomic addition.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// Subtracts from a counter that has one writer.
pub(super) fn subtract(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_sub(amount), Ordering::Relaxed);
}
