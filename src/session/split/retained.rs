//! Reads that ran at a replica, as the client sent them: home runs them again, where the replica fails one, or where a later
//! statement asks home what became of it.
//!
//! What fails finds no rows, and FOUND_ROWS() is still that of the query before it. So where the last read failed there are
//! two: that one has the error, the other the rows.

use super::Split;

/// Which read home is to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    /// The last one.
    OfLast,
    /// The one before it that found rows.
    OfFound,
}

/// Invariant: each is no longer than a command that is looked into (`COMMAND_MAX`), but for the types of its parameters.
#[derive(Debug, Default)]
pub(super) struct Retained {
    /// The one under way at the replica, or else the last one there.
    last: Vec<u8>,
    /// FOUND_ROWS() of the replica is that of the last one.
    last_found: bool,
    /// The query that the replica's FOUND_ROWS() is of, if it is not the last one.
    found: Vec<u8>,
}

impl Retained {
    /// A read begins at the replica.
    pub(super) fn begin(&mut self, payload: &[u8]) {
        if std::mem::take(&mut self.last_found) {
            std::mem::swap(&mut self.last, &mut self.found);
        }
        self.last.clear();
        self.last.extend_from_slice(payload);
    }

    /// The last read has found rows.
    pub(super) fn found_rows(&mut self) {
        self.last_found = true;
    }

    /// The last read.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    pub(super) fn last_mut(&mut self) -> &mut [u8] {
        &mut self.last
    }

    pub(super) fn both(&self) -> [&[u8]; 2] {
        [&self.last, &self.found]
    }

    pub(super) fn both_mut(&mut self) -> [&mut Vec<u8>; 2] {
        [&mut self.last, &mut self.found]
    }

    /// Which one the replica's FOUND_ROWS() is of.
    pub(super) fn that_found_rows(&self) -> Repetition {
        let is_last = self.last_found || self.found.is_empty();
        if is_last { Repetition::OfLast } else { Repetition::OfFound }
    }

    pub(super) fn of(&self, what: Repetition) -> &[u8] {
        match what {
            Repetition::OfLast => &self.last,
            Repetition::OfFound => &self.found,
        }
    }
}

impl Split {
    pub(super) fn repeated(&self, what: Repetition) -> &[u8] {
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
                retained.found_rows();
            }
            let of_found = retained.of(retained.that_found_rows());
            assert_eq!((retained.last(), of_found), (read.as_bytes(), found.as_bytes()));
        }
    }
}
