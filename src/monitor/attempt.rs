//! One attempt to reach a server: a login and the first question, which may take longer than a check.
//!
//! Both go on when the check that began them is over. A server that hangs and comes back would otherwise find nothing but broken
//! handshakes, and lock this host out for everybody; and one that is far away would be let in again and again too late in a check
//! to be asked anything.

use std::future::pending;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::asking::{Extent, Told};
use super::connection::{self, Connection};
use super::target::Target;
use crate::reach::Ways;
use crate::topology::CheckResult;

/// An attempt under way. It is given up when this is dropped.
pub(super) struct Attempt {
    /// One task.
    task: JoinSet<Outcome>,
    begun: Instant,
}

/// What becomes of an attempt.
pub(super) type Outcome = Result<Opened, CheckResult>;

/// A connection, and what was answered to the first question over it.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) told: Told,
    /// When that was asked.
    pub(super) asked: Instant,
}

impl Attempt {
    pub(super) fn begin(target: Target, ways: Ways, extent: Extent) -> Attempt {
        let mut task = JoinSet::new();
        task.spawn(open(target, ways, extent));
        Attempt { task, begun: Instant::now() }
    }

    /// What becomes of it. There is no other outcome after the first.
    pub(super) async fn outcome(&mut self) -> Outcome {
        match self.task.join_next().await {
            Some(Ok(outcome)) => outcome,
            // Whatever an answer did there, it took only the task of the attempt along.
            Some(Err(_)) => Err(CheckResult::Malformed("its answer could not be handled".to_owned())),
            None => pending().await,
        }
    }

    /// Whether it has gone on for so long that the other end has most likely forgotten it.
    pub(super) fn is_too_old(&self) -> bool {
        self.begun.elapsed() >= ATTEMPT_TIME_MAX
    }
}

/// The question has the time of a whole check, as it has over a connection that is there.
async fn open(target: Target, ways: Ways, extent: Extent) -> Outcome {
    let timeout = target.timeout;
    let mut connection = connection::open(target, ways).await?;
    let asked = Instant::now();
    let told = connection.ask(extent, (asked + timeout).into_std()).await?;
    Ok(Opened { connection, told, asked })
}

/// How long one attempt may take, over several checks.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(15);
