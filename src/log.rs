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

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line for people, coloured when stderr is a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the logs could not be started: the process has them already, from here or from a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyStarted;

/// The one filter of the process. It is global because what it filters is: a process has one default subscriber.
static FILTER: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Sends all events of the process from `level` upwards to stderr.
pub fn start(level: LevelFilter, format: Format) -> Result<(), AlreadyStarted> {
    let (filter, handle) = reload::Layer::new(level);
    let events = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let events = match format {
        Format::Text => events.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => events.json().flatten_event(true).with_target(false).boxed(),
    };
    // The filter stands below the format so that it sees the registry itself, whichever format is chosen.
    tracing_subscriber::registry().with(filter).with(events).try_init().map_err(|_| AlreadyStarted)?;
    FILTER.set(handle).map_err(|_| AlreadyStarted)
}

/// Changes the level of the running logs; without [`start`] there is nothing to change and nothing happens.
pub fn set_level(level: LevelFilter) {
    if let Some(filter) = FILTER.get() {
        // Fails only when the subscriber is gone, and then there is nobody to filter for.
        let _ = filter.reload(level);
    }
}
