//! What the health checks of many servers cost the balancer while no client is there.

use std::error::Error;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::candidate::{self, Candidate, NotStarted, Surroundings, configuration};
use crate::usage::Usage;

/// Before the window: all connections are made, and each server was asked a few times.
const WARM_UP: Duration = Duration::from_secs(3);

/// How many servers, how often, how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checks {
    /// Each a primary and a replica, both of them addresses of the one server that is there.
    pub(crate) clusters: usize,
    pub(crate) interval: Duration,
    pub(crate) window: Duration,
}

/// CPU time of the whole process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) servers: usize,
    pub(crate) interval_ms: u64,
    pub(crate) percent_of_a_core: f64,
    pub(crate) us_per_check: f64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { servers, interval_ms, percent_of_a_core, us_per_check } = self;
        write!(
            f,
            "{servers} servers every {interval_ms} ms: {percent_of_a_core:.2} % of a core, {us_per_check:.1} us a check"
        )
    }
}

/// On whichever engine this machine has.
pub(crate) fn measure(checks: Checks, surroundings: &Surroundings<'_>) -> Result<Row, Box<dyn Error>> {
    let Checks { clusters, interval, window } = checks;
    let text =
        |address, directory: &_| configuration::monitored(clusters, interval, address, surroundings.server, directory);
    let running = match candidate::start_configured(Candidate::SqluiceEpoll, surroundings, text) {
        Ok(running) => running,
        Err(NotStarted::Absent(why) | NotStarted::Failed(why)) => return Err(why.into()),
    };
    let process = running.process_id().ok_or("the balancer is a process")?;
    thread::sleep(WARM_UP);
    let (before, begun) = (Usage::of(process)?, Instant::now());
    thread::sleep(window);
    let (used, took) = (Usage::of(process)?.since(&before).cpu.as_secs_f64(), begun.elapsed().as_secs_f64());
    let servers = 2 * clusters;
    Ok(Row {
        servers,
        interval_ms: interval.as_millis() as u64,
        percent_of_a_core: 100.0 * used / took,
        us_per_check: 1e6 * used / took * interval.as_secs_f64() / servers as f64,
    })
}
