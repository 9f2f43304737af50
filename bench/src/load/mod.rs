//! The load generator: one thread a CPU, each with its own runtime and its share of the connections.
//!
//! - `arrival` says when requests are due: after each reply, or by a timetable;
//! - `pacer` wakes connections at that moment;
//! - `thread` drives the connections of one CPU, `client` is one of them, `login` its login, `stream` its bytes;
//! - `shape` judges replies whose bytes are not known beforehand;
//! - `window` and `tally` are what is measured when, and what came of it.

mod arrival;
mod client;
mod fault;
mod login;
mod pacer;
mod shape;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod thread;
mod window;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use client::Client;
use thread::Report;
use window::Window;

pub(crate) use arrival::{Arrivals, Mode};
pub(crate) use fault::Fault;
pub(crate) use tally::Tally;

use crate::case::Case;
use crate::launch::Cpu;
use crate::program::Exchange;
use crate::reply::Oracle;
use crate::target::Target;

/// What is asked of a candidate in one measurement.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) target: Target,
    pub(crate) case: Case,
    pub(crate) mode: Mode,
    /// Connections that send requests; in [`Case::Idle`] those that do not, beside the one that does.
    pub(crate) connections: usize,
}

/// A running load. It goes through warm-up, the measured window, and its end; dropping it stops it too.
pub(crate) struct Generator {
    window: Arc<Window>,
    reports: Receiver<Report>,
    threads: usize,
}

impl Generator {
    /// Returns when every connection is logged in.
    pub(crate) fn start(load: &Load, cpus: &[Cpu]) -> Result<Generator, Fault> {
        let window = Arc::new(Window::default());
        let (sender, reports) = mpsc::channel();
        let threads = thread::start_all(load, cpus, &window, &sender)?;
        let generator = Generator { window, reports, threads };
        for _ in 0..generator.threads {
            match generator.reports.recv() {
                Ok(Report::Ready) => {}
                Ok(Report::Ended(Err(fault))) => return Err(fault),
                Ok(Report::Ended(Ok(_))) | Err(_) => return Err(Fault::NoReply),
            }
        }
        Ok(generator)
    }

    /// Replies from here on count.
    pub(crate) fn open_window(&self) {
        self.window.open();
    }

    /// Lets the load go on; returns early when it fails.
    pub(crate) fn run_for(&self, time: Duration) -> Result<(), Fault> {
        match self.reports.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(Report::Ended(Err(fault))) => Err(fault),
            Ok(Report::Ended(Ok(_)) | Report::Ready) | Err(RecvTimeoutError::Disconnected) => Err(Fault::NoReply),
        }
    }

    /// Replies from here on do not count; nothing new is sent, but for what an open loop still owes.
    pub(crate) fn close_window(&self) {
        self.window.close();
    }

    /// Waits for the outstanding replies and sums up what the window had.
    pub(crate) fn finish(self) -> Result<Tally, Fault> {
        self.close_window();
        let mut total = Tally::new();
        for _ in 0..self.threads {
            match self.reports.recv() {
                Ok(Report::Ended(Ok(tally))) => total.add(&tally),
                Ok(Report::Ended(Err(fault))) => return Err(fault),
                Ok(Report::Ready) | Err(_) => return Err(Fault::NoReply),
            }
        }
        Ok(total)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.window.close();
    }
}

/// One login, one exchange of the case with the reply judged, then quit: does this address serve?
pub(crate) fn try_once(target: &Target, case: Case) -> Result<(), Fault> {
    thread::run_on_ring(thread::within_patience(async {
        let oracle = Oracle::new(target.comparison);
        let (mut client, mut program) = thread::prepare_client(target, case, 0, &oracle).await?;
        client.exchange(program.next()).await?;
        client.quit().await
    }))
}

/// One statement after the other on one connection, none with rows in its reply.
pub(crate) fn execute(target: &Target, statements: impl IntoIterator<Item = String>) -> Result<(), Fault> {
    thread::run_on_ring(async {
        let mut client = thread::within_patience(Client::log_in_with(target, None, 0)).await?;
        for statement in statements {
            let mut exchange = Exchange::setup(statement.as_bytes());
            thread::within_patience(client.exchange(&mut exchange)).await?;
        }
        client.quit().await
    })
}

/// Logs in `connections`, lets each ask `each` times to warm up and as often again; `look` is called before and after
/// the second part, while all are logged in.
pub(crate) fn repeat(
    target: &Target,
    case: Case,
    connections: usize,
    each: usize,
    mut look: impl FnMut(),
) -> Result<(), Fault> {
    thread::run_on_ring(async {
        let clients = thread::prepare_clients(target, case, 0..connections).await?;
        let clients = thread::ask_all(clients, each).await?;
        look();
        let clients = thread::ask_all(clients, each).await?;
        look();
        for (client, _) in clients {
            client.quit().await?;
        }
        Ok(())
    })
}

/// Logs in `connections`, lets each ask once, and calls `look` while they are all idle.
pub(crate) fn hold<T>(target: &Target, case: Case, connections: usize, look: impl FnOnce() -> T) -> Result<T, Fault> {
    thread::run_on_ring(async {
        let clients = thread::prepare_clients(target, case, 0..connections).await?;
        let clients = thread::ask_all(clients, 1).await?;
        let seen = look();
        for (client, _) in clients {
            client.quit().await?;
        }
        Ok(seen)
    })
}
