//! Logs: structured events on stderr, as text or JSON, at a level that can change while the process runs.
//!
//! What goes into an event is the caller's promise: no password, no literal of a statement, ever. Nothing here
//! filters secrets out; the types that hold them cannot be printed.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// Why the logs could not be started: the process has them already, from here or from a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyStarted;

/// The one filter of the process. It is global because what it filters is: a process has one default subscriber.
static FILTER: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Sends the events of the process to stderr, from the configured level upwards and in the configured format.
pub fn start(log: &Log) -> Result<(), AlreadyStarted> {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let events = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let events = match log.format {
        LogFormat::Text => events.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => events.json().flatten_event(true).boxed(),
    };
    // The filter stands below the format so that it sees the registry itself, whichever format is chosen.
    tracing_subscriber::registry().with(filter).with(events).try_init().map_err(|_| AlreadyStarted)?;
    FILTER.set(handle).map_err(|_| AlreadyStarted)
}

/// Changes the level of the running logs; without [`start`] there is nothing to change and nothing happens.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = FILTER.get() {
        // Fails only when the subscriber is gone, and then there is nobody to filter for.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
