//! Reads that ran at a replica, as the client sent them: home runs them again, where the replica fails one, or where a later
//! statement asks home what became of it.
//!
//! What fails finds no rows, and FOUND_ROWS() is still that of the query before it. So where the last read failed there are
//! two: that one has the error, the other the rows.

use crate::session::split::Split;

/// Which read home is to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session::split) enum Repetition {
    /// The last one.
    OfLast,
    /// The one before it that found rows.
    OfFound,
    /// A question has found a single row since: one of ours does the same.
    Neither,
}

/// Invariant: each is no longer than a command that is looked into (`COMMAND_MAX`), but for the types of its parameters.
#[derive(Debug, Default)]
pub(in crate::session::split) struct Retained {
    /// The one under way at the replica, or else the last one there.
    last: Read,
    /// FOUND_ROWS() of the replica is that of the last one.
    last_found: bool,
    /// The query that the replica's FOUND_ROWS() is of, if it is not the last one.
    found: Read,
}

/// One of them.
#[derive(Debug, Default)]
struct Read {
    command: Vec<u8>,
    /// An error ended it.
    has_failed: bool,
    /// It may find something else by now.
    is_stale: bool,
}

impl Retained {
    /// A read begins at the replica.
    pub(super) fn begin(&mut self, payload: &[u8]) {
        if std::mem::take(&mut self.last_found) {
            std::mem::swap(&mut self.last, &mut self.found);
        }
        self.last.command.clear();
        self.last.command.extend_from_slice(payload);
        (self.last.has_failed, self.last.is_stale) = (false, false);
    }

    /// The last read has found rows, and perhaps failed behind that.
    pub(super) fn found_rows(&mut self, has_failed: bool) {
        self.last_found = true;
        self.last.has_failed = has_failed;
    }

    /// The session is another one now, or what it reads.
    pub(in crate::session::split) fn grow_stale(&mut self) {
        (self.last.is_stale, self.found.is_stale) = (true, true);
    }

    /// FOUND_ROWS() of the replica is not that of a read any more.
    pub(super) fn lose_found_rows(&mut self) {
        match self.that_found_rows() {
            Repetition::OfFound => self.found.is_stale = true,
            Repetition::OfLast | Repetition::Neither => self.last.is_stale = true,
        }
    }

    /// The last read.
    pub(in crate::session::split) fn last(&self) -> &[u8] {
        &self.last.command
    }

    pub(super) fn last_mut(&mut self) -> &mut [u8] {
        &mut self.last.command
    }

    pub(super) fn both(&self) -> [&[u8]; 2] {
        [&self.last.command, &self.found.command]
    }

    pub(super) fn both_mut(&mut self) -> [&mut Vec<u8>; 2] {
        [&mut self.last.command, &mut self.found.command]
    }

    pub(super) fn last_has_found_rows(&self) -> bool {
        self.last_found
    }

    /// Which one the replica's FOUND_ROWS() is of, if it is one of these.
    pub(in crate::session::split) fn that_found_rows(&self) -> Repetition {
        let is_last = self.last_found || self.found.command.is_empty();
        if is_last { Repetition::OfLast } else { Repetition::OfFound }
    }

    fn read(&self, what: Repetition) -> Option<&Read> {
        match what {
            Repetition::OfLast => Some(&self.last),
            Repetition::OfFound => Some(&self.found),
            Repetition::Neither => None,
        }
    }

    /// Whether it may find something else than it did at the replica.
    pub(in crate::session::split) fn is_stale(&self, what: Repetition) -> bool {
        self.read(what).is_some_and(|read| read.is_stale)
    }

    pub(in crate::session::split) fn has_failed(&self, what: Repetition) -> bool {
        self.read(what).is_some_and(|read| read.has_failed)
    }

    pub(in crate::session::split) fn of(&self, what: Repetition) -> &[u8] {
        self.read(what).map_or(&[], |read| &read.command)
    }
}

impl Split {
    pub(in crate::session::split) fn repeated(&self, what: Repetition) -> &[u8] {
        self.retained.of(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_kept_until_another_one_has_found_rows() {
        let mut retained = Retained::default();
        let reads = [("a", true, "a"), ("b", false, "a"), ("c", false, "a"), ("d", true, "d"), ("e", false, "d")];
        for (read, finds, found) in reads {
            retained.begin(read.as_bytes());
            if finds {
                retained.found_rows(false);
            }
            let of_found = retained.of(retained.that_found_rows());
            assert_eq!((retained.last(), of_found), (read.as_bytes(), found.as_bytes()));
        }
    }
}
