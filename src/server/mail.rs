//! What the control thread tells workers, through mailboxes that may be full.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::worker::{Handle, Order, SessionRow, Undelivered};

/// How often a worker with a full mailbox is tried again, and how many times: it reads its mail once a turn, so two
/// seconds without are a worker that hangs.
pub(super) const RETRY: Duration = Duration::from_millis(10);
const TRIES_MAX: usize = 200;

/// Puts an order into a worker's mailbox, however often that takes within reason. What is made with the order (the
/// place for its answer) comes back once it is there; nothing does when the worker has ended, which its death tells.
pub(super) async fn deliver<Made>(
    worker: usize,
    handle: &Handle,
    make: impl Fn() -> Option<(Order, Made)>,
) -> Option<Made> {
    for _ in 0..TRIES_MAX {
        let Some((order, made)) = make() else {
            tracing::error!("no more open files: worker {worker} cannot be told");
            return None;
        };
        match handle.send(order) {
            Ok(()) => return Some(made),
            Err(Undelivered::Ended) => return None,
            Err(Undelivered::Full) => sleep(RETRY).await,
        }
    }
    tracing::error!("worker {worker} does not read its orders");
    None
}

/// The sessions of all workers by their numbers, so many at most.
pub(super) async fn session_rows(handles: &[Handle], limit: usize) -> Vec<SessionRow> {
    let mut asked = Vec::new();
    for (worker, handle) in handles.iter().enumerate() {
        let order = || {
            let (answer, answered) = oneshot::channel();
            Some((Order::Sessions { limit, answer }, answered))
        };
        asked.extend(deliver(worker, handle, order).await);
    }
    let mut sessions = Vec::new();
    for answered in asked {
        // A worker that ends before it answers has no sessions.
        sessions.extend(answered.await.unwrap_or_default());
    }
    sessions.sort_by_key(|session| session.id);
    sessions.truncate(limit);
    sessions
}
