//! Questions about the statements before: where what they ask for is, and what home is made to say of it.
//!
//! Counts of rows and conditions are on the connection of the statement that left them. A question for several of them may
//! find some at home and some at the replica. Home runs the replica's read again then, if that takes away nothing that home
//! is asked for as well; else nobody can answer, and the question is refused.

pub(super) mod conditions;
mod counting;
mod repeating;
pub(super) mod retained;

use crate::{protocol::response::ErrPacket, sql::Needs};

use super::{
    super::{Side, errors},
    FoundRows, RowCount, Split,
    plan::OF_THE_LAST,
};

use retained::Repetition;

/// What a question asks for that only one server knows, by where that is.
#[derive(Clone, Copy, Debug)]
struct Parts {
    at_home: Needs,
    at_replica: Needs,
}

impl Parts {
    fn are_apart(self) -> bool {
        !self.at_home.is_empty() && !self.at_replica.is_empty()
    }
}

impl Split {
    /// Where that statement ran which another one asks about.
    pub(super) fn last_for(&self, needs: Needs) -> Side {
        match self.parts(needs) {
            Parts { at_home, .. } if !at_home.is_empty() => Side::Server,
            Parts { at_replica, .. } if !at_replica.is_empty() => Side::Replica,
            _ => self.last,
        }
    }

    /// The count of a query is the same at home where a query was the last statement, and where there are no conditions, any
    /// server says so.
    fn parts(&self, needs: Needs) -> Parts {
        let is_at_replica_alone = self.last == Side::Replica && !self.home_counts_as_query;
        let counts_any = self.last_count != RowCount::OfQuery || is_at_replica_alone;
        let asks_counts = needs.contains(Needs::FOUND_ROWS) || counts_any && needs.contains(Needs::ROW_COUNT);
        let places = [
            (Needs::WARNINGS, self.conditions.at(), self.conditions.are_anywhere() || !asks_counts),
            (Needs::ROW_COUNT, self.last, counts_any),
            (Needs::FOUND_ROWS, self.found, true),
        ];
        let mut parts = Parts { at_home: Needs::NONE, at_replica: Needs::NONE };
        for (need, side, is_there_alone) in places {
            match side {
                _ if !is_there_alone || !needs.contains(need) => {}
                Side::Replica => parts.at_replica = parts.at_replica.with(need),
                _ => parts.at_home = parts.at_home.with(need),
            }
        }
        parts
    }

    /// Whether home must run the last read first.
    pub(super) fn repeats_before(&self) -> bool {
        self.must_repeat_before() && self.can_repeat()
    }

    /// The same, whether it can or not.
    fn must_repeat_before(&self) -> bool {
        let needs = self.current.classification.needs;
        let adds_to_replica_s = self.current.adds_conditions && self.conditions.are_at_replica();
        let asks_replica_s = needs.intersects(OF_THE_LAST) && self.last_for(needs) == Side::Replica;
        let asks_what_can_be_repeated = !self.retained.is_stale(self.repetition_before());
        let asks = asks_what_can_be_repeated && (asks_replica_s || self.asks_of_both_servers());
        self.owes_home || adds_to_replica_s || asks
    }

    /// Which read that is.
    pub(super) fn repetition_before(&self) -> Repetition {
        let needs = self.current.classification.needs;
        let asks_rows = needs.contains(Needs::FOUND_ROWS) && self.found == Side::Replica;
        let asks_more = needs.contains(Needs::WARNINGS) && self.conditions.at() == Side::Replica;
        match self.that_found_rows() {
            _ if self.owes_home || !asks_rows => Repetition::OfLast,
            // Which would find others again.
            Repetition::Neither if asks_more => Repetition::OfLast,
            read => read,
        }
    }

    /// Which one FOUND_ROWS() of the replica is of.
    fn that_found_rows(&self) -> Repetition {
        match self.found_there {
            FoundRows::AsOfQuestion => Repetition::Neither,
            FoundRows::OfQuery | FoundRows::OfQuestion | FoundRows::Unknown => self.retained.that_found_rows(),
        }
    }

    /// One statement asks for what is at home and for what is at the replica, and home can be made to say both.
    fn asks_of_both_servers(&self) -> bool {
        let parts = self.parts(self.current.classification.needs);
        parts.are_apart() && self.can_join(parts)
    }

    /// Whether home still says its part when it has run the replica's read. That none were changed, it can be made to count
    /// again.
    fn can_join(&self, parts: Parts) -> bool {
        let keeps_count = self.last_count == RowCount::Zero;
        let keeps_found_rows = !self.retained.last_has_found_rows();
        (keeps_count || !parts.at_home.contains(Needs::ROW_COUNT))
            && !parts.at_home.contains(Needs::WARNINGS)
            && (keeps_found_rows || !parts.at_home.contains(Needs::FOUND_ROWS))
    }

    /// Home has run the replica's read. An error is what it has to tell of it.
    pub(super) fn was_repeated(&mut self, has_failed: bool) {
        let what = self.repetition_before();
        let leaves = self.leavings_of_repetition(what);
        self.owes_count |= self.parts(self.current.classification.needs).at_home.contains(Needs::ROW_COUNT);
        (self.last, self.last_count, self.home_counts_as_query) = (Side::Server, RowCount::OfQuery, true);
        if leaves.contains(Needs::FOUND_ROWS) {
            let there = match what {
                // The replica's has not.
                _ if has_failed && !self.retained.has_failed(what) => FoundRows::Unknown,
                Repetition::Neither => FoundRows::AsOfQuestion,
                Repetition::OfLast | Repetition::OfFound => FoundRows::OfQuery,
            };
            (self.found, self.found_there) = (Side::Server, there);
        } else if self.found == Side::Server && self.retained.last_has_found_rows() {
            self.found_there = FoundRows::OfQuestion;
        }
        match self.conditions.are_at_home() {
            true => self.conditions.lose(),
            false if leaves.contains(Needs::WARNINGS) => self.conditions.repeated(),
            false => {}
        }
        self.note_schema_of_repetition(what);
        self.home_caught_up();
        self.with_lent(|lent| lent.was_repeated(leaves));
    }

    /// What is at home of a read at the replica that home has run, too.
    fn leavings_of_repetition(&self, what: Repetition) -> Needs {
        let has_rows = self.found == Side::Replica && what == self.that_found_rows();
        let leaves = if has_rows { OF_THE_LAST } else { OF_THE_LAST.without(Needs::FOUND_ROWS) };
        match what {
            Repetition::OfLast => leaves,
            // The error of the last one may still be asked for.
            Repetition::OfFound | Repetition::Neither => leaves.without(Needs::WARNINGS),
        }
    }

    /// Whether a question of ours was asked where the last query had found rows, and no query has found any since.
    pub(super) fn took_found_rows(&self, side: Side) -> bool {
        self.found == side && self.found_there == FoundRows::OfQuestion
    }

    /// Conditions that nobody has are none at home, too.
    fn is_at_replica_only(&self, needs: Needs) -> bool {
        let is_there = |need| match need {
            Needs::WARNINGS => self.conditions.are_anywhere(),
            _ => true,
        };
        let parts = self.parts(needs);
        [Needs::WARNINGS, Needs::FOUND_ROWS].into_iter().any(|need| parts.at_replica.contains(need) && is_there(need))
    }

    /// Why the session cannot be told what it asks home about the statements before, if it cannot.
    pub(super) fn loss_of_the_last(&self) -> Option<ErrPacket> {
        let needs = self.current.classification.needs;
        let asks_found_rows = needs.contains(Needs::FOUND_ROWS);
        match self.found_there {
            _ if self.has_lost_the_last() => Some(errors::aftermath_lost()),
            _ if needs.intersects(OF_THE_LAST) && self.must_repeat_before() && !self.can_repeat() => {
                Some(errors::read_lost())
            }
            _ if needs.contains(Needs::WARNINGS) && self.conditions.are_lost() => Some(errors::conditions_lost()),
            _ if self.parts(needs).are_apart() => Some(errors::counts_apart()),
            // Home could not run that read as it was.
            _ if self.is_at_replica_only(needs) => Some(errors::counts_apart()),
            FoundRows::Unknown if asks_found_rows => Some(errors::found_rows_unknown()),
            FoundRows::OfQuestion if asks_found_rows && self.found == Side::Server => Some(errors::found_rows_lost()),
            _ => None,
        }
    }
}
