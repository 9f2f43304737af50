//! The measured part of a load, which all its threads share.

use std::sync::OnceLock;
use std::time::Instant;

/// Opened once, closed once, in this order. Before it is opened the load warms up; when it is closed the load ends.
#[derive(Debug, Default)]
pub(super) struct Window {
    opened: OnceLock<Instant>,
    closed: OnceLock<Instant>,
}

impl Window {
    pub(super) fn open(&self) {
        self.opened.get_or_init(Instant::now);
    }

    pub(super) fn close(&self) {
        self.closed.get_or_init(Instant::now);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get().is_some()
    }

    pub(super) fn is_closed_at(&self, moment: Instant) -> bool {
        self.closed.get().is_some_and(|closed| *closed <= moment)
    }

    /// Whether what happened at this moment counts.
    pub(super) fn has(&self, moment: Instant) -> bool {
        self.opened.get().is_some_and(|opened| *opened <= moment) && !self.is_closed_at(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_opening_and_closing_counts() {
        let window = Window::default();
        let before = Instant::now();
        assert!(!window.has(before) && !window.is_closed());
        window.open();
        let inside = Instant::now();
        assert!(window.has(inside) && !window.has(before));
        window.close();
        let after = Instant::now();
        assert!(window.has(inside) && !window.has(after) && !window.has(before));
        assert!(window.is_closed_at(after) && !window.is_closed_at(inside));
    }
}
