//! The service manager's watchdog: it hears that all is well for as long as the control thread and every worker answer.
//!
//! A thread that hangs serves nobody and ends nothing: then the manager hears nothing, and starts the process again.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::mail::RETRY;
use crate::worker::{Handle, Order, Undelivered};

/// Rounds in the time after which the manager gives up: one may fail for a reason that goes by.
const ROUNDS: u32 = 4;

/// Asks all workers for a sign of life, one round after the other.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Absent where no manager waits for signs.
    interval: Option<Interval>,
    round: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// For a manager that gives up after `patience` without a sign. Needs a tokio runtime.
    pub(super) fn new(patience: Option<Duration>) -> Watchdog {
        let interval = patience.map(|patience| {
            let mut interval = interval((patience / ROUNDS).max(Duration::from_millis(1)));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Watchdog { interval, round: None }
    }

    /// Waits for the next moment to look at the workers; for ever, if nobody wants to know.
    pub(super) async fn tick(&mut self) {
        match &mut self.interval {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Whether all workers have answered since the last look; asks them again if so.
    pub(super) fn all_answer(&mut self, workers: &[Handle]) -> bool {
        let all_answer = self.round.as_ref().is_none_or(JoinHandle::is_finished);
        if all_answer {
            self.round = Some(tokio::spawn(ask_all(workers.to_vec())));
        }
        all_answer
    }
}

async fn ask_all(workers: Vec<Handle>) {
    for worker in &workers {
        ask(worker).await;
    }
}

/// Returns when the worker has answered. One that has ended is told of elsewhere.
async fn ask(worker: &Handle) {
    loop {
        let (answer, answered) = oneshot::channel();
        match worker.send(Order::Echo(answer)) {
            Ok(()) => return answered.await.unwrap_or_default(),
            Err(Undelivered::Ended) => return,
            Err(Undelivered::Full) => sleep(RETRY).await,
        }
    }
}
