//! Clients that have not shown who they are, and who of them makes way.
//!
//! To connect and say nothing costs nothing, and takes a session's place for as long as a login may take. So that such
//! connections keep nobody out, they hold half of the places at most, and none that a newcomer needs: the one that has been
//! at it longest ends, once it has had its time. Connections of a balancer that has not said whose they are count with them.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Instant};

use crate::{config::limits::LOGIN_TIME_MIN, session::Input, slab::Key};

use super::{mailbox::Order, turn::Worker};

/// Those of one worker, the first to come first.
pub(super) type Strangers = BTreeSet<(Instant, Stranger)>;

/// One of them, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stranger {
    Session(Key),
    /// In the anteroom.
    Introduced(Key),
}

impl Worker {
    /// Before a newcomer, which is counted as a session already, is given a place. Where nobody here can make way, somebody
    /// at another worker does: not for this newcomer any more, but for the next one.
    pub(super) fn make_way(&mut self) {
        let is_full = self.company.sessions.load(Ordering::Relaxed) > self.company.settings.sessions_max;
        if (is_full || self.has_many_strangers()) && !self.dismiss_stranger() {
            let handles = self.company.handles.get().map_or(&[][..], Vec::as_slice);
            for (_, handle) in handles.iter().enumerate().filter(|(index, _)| *index != self.index) {
                // A full mailbox is one that others have asked, too.
                let _ = handle.send(Order::WayWanted);
            }
        }
    }

    /// Another worker's newcomer found no place.
    pub(super) fn way_wanted(&mut self) {
        let is_full = self.company.sessions.load(Ordering::Relaxed) >= self.company.settings.sessions_max;
        if is_full || self.has_many_strangers() {
            self.dismiss_stranger();
        }
    }

    fn has_many_strangers(&self) -> bool {
        self.company.strangers.load(Ordering::Relaxed) >= self.company.settings.sessions_max.div_ceil(2)
    }

    /// Ends the one that has been at it longest, if it has had its time.
    fn dismiss_stranger(&mut self) -> bool {
        let first = self.strangers.first().copied();
        let late = first.filter(|(since, _)| self.now.saturating_duration_since(*since) >= LOGIN_TIME_MIN);
        match late {
            Some((_, Stranger::Session(key))) => self.tell(key, Input::Timeout),
            Some((_, Stranger::Introduced(key))) => self.not_introduced(key, "it made way for others"),
            None => return false,
        }
        true
    }

    pub(super) fn stranger_came(&mut self, stranger: Stranger, since: Instant) {
        if self.strangers.insert((since, stranger)) {
            self.company.strangers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A client has shown who it is.
    pub(super) fn known(&mut self, key: Key) {
        if let Some(since) = self.tenants.get(key).map(|tenant| tenant.born) {
            self.no_stranger_any_more(Stranger::Session(key), since);
        }
    }

    /// Of no consequence for whoever was none.
    pub(super) fn no_stranger_any_more(&mut self, stranger: Stranger, since: Instant) {
        if self.strangers.remove(&(since, stranger)) {
            self.company.strangers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
