//! Waiting for events. The deadlines only keep a broken build from hanging; no test measures time.

use std::time::{Duration, Instant};

/// Far above anything that a loaded machine needs.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Polls `condition` until it gives a value; panics with `what` after [`WAIT_MAX`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    match within(WAIT_MAX, &mut condition) {
        Some(value) => value,
        None => panic!("waited {WAIT_MAX:?} in vain: {what}"),
    }
}

/// Polls `condition` until it gives a value or `time` is over.
pub(crate) fn within<T>(time: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
