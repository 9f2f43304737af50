//! What a command that is over made of ROW_COUNT() and FOUND_ROWS(), and whether a read may still be run again for them.

use crate::{
    protocol::{error_code::Error, result_set::ReplyEnd, statement::StatementId},
    session::{
        Side,
        split::{FoundRows, Kind, RowCount, Split, absorb::HIDDEN},
    },
    sql::{Classification, Effects, Finding, Needs, Ran, Reason},
};

use super::retained::Repetition;

/// Errors of a statement that had not begun to work: of its text, of names in it and rights on them, and of what locks,
/// transactions and options forbid.
const REFUSALS: [u16; 25] = [
    1044, 1046, 1049, 1051, 1052, 1054, 1055, 1056, 1060, 1064, 1066, 1099, 1100, 1109, 1140, 1142, 1143, 1146, 1193,
    1227, 1241, 1290, 1305, 1370, 1792,
];

impl Split {
    /// Where to ask about the command that is over. Commands that are no statement leave nothing behind.
    pub(in crate::session::split) fn note_last(&mut self, end: ReplyEnd) {
        let at = self.current.at;
        self.current.replaces = match self.current.kind {
            Kind::Other => return self.note_command(end),
            // It leaves conditions, and no count of rows.
            Kind::Prepare(_) => Needs::NONE,
            // FOUND_ROWS() is still that of the query.
            Kind::Fetch => {
                self.counted_at(at, RowCount::OfQuery);
                Needs::ROW_COUNT
            }
            Kind::Query | Kind::Execute | Kind::Reset | Kind::Unseen => {
                self.counted_at(at, self.row_count(end));
                match self.finding(end) {
                    Finding::Kept => Needs::ROW_COUNT,
                    Finding::Found => {
                        self.found_rows(at, end.error.is_some());
                        Needs::ROW_COUNT.with(Needs::FOUND_ROWS)
                    }
                    Finding::WithRows | Finding::Unknown => {
                        self.may_have_found_rows(at);
                        self.current.may_replace = Needs::FOUND_ROWS;
                        Needs::ROW_COUNT
                    }
                }
            }
        };
        let leaves_some = end.error.is_some() || end.warnings > 0;
        let is_elsewhere = at == Side::Replica || self.gives_home_back();
        self.conditions.counted((is_elsewhere && end.error.is_none()).then_some(end.warnings));
        self.current.leaves_conditions |= leaves_some;
        if leaves_some || !self.current.keeps_conditions {
            self.conditions.left(at, leaves_some);
            self.current.replaces = self.current.replaces.with(Needs::WARNINGS);
        }
    }

    /// A command that is no statement was answered: the count of rows is its own, as is the error if it failed.
    fn note_command(&mut self, end: ReplyEnd) {
        let is_plain_text = end.status.is_none() && end.error.is_none();
        if is_plain_text {
            return;
        }
        let is_like_query = end.error.is_some() || self.current.ends_like_query;
        let count = if is_like_query { RowCount::OfQuery } else { RowCount::Zero };
        self.counted_at(self.current.at, count);
        self.current.replaces = Needs::ROW_COUNT;
        match end.error {
            Some(_) => {
                self.current.leaves_conditions = true;
                self.conditions.left(self.current.at, true);
                self.conditions.one_more();
            }
            None if self.current.recounts => {}
            // To MySQL COM_STMT_RESET is a new statement.
            None => self.conditions.counted(self.gives_home_back().then_some(0)),
        }
    }

    /// What the command that is over made of FOUND_ROWS().
    fn finding(&self, end: ReplyEnd) -> Finding {
        let ReplyEnd { results, had_rows, changed_rows, error, .. } = end;
        let is_refused = |code| REFUSALS.contains(&code) || self.current.at == Side::Replica;
        let may_have_begun = end.broke_off || !error.is_some_and(is_refused);
        let runs_code = self.current.classification.effects.intersects(HIDDEN);
        let ran = Ran { results, had_rows, changed_rows, has_failed: error.is_some(), may_have_begun };
        match self.current.kind {
            Kind::Reset => Finding::Kept,
            _ if error == Some(Error::UNKNOWN_STATEMENT.code.0) => Finding::Kept,
            _ if results == 0 && !may_have_begun && !runs_code => Finding::Kept,
            _ => self.current.findings.behind(ran),
        }
    }

    /// FOUND_ROWS() is that of the command that is over, or as it was.
    fn may_have_found_rows(&mut self, at: Side) {
        if at == Side::Replica {
            self.retained.lose_found_rows();
        }
        (self.found, self.found_there) = match self.found_there {
            _ if at != self.found => (Side::Server, FoundRows::Unknown),
            FoundRows::AsOfQuestion => (at, FoundRows::OfQuery),
            known => (at, known),
        };
    }

    /// FOUND_ROWS() is that of the command that is over.
    fn found_rows(&mut self, at: Side, has_failed: bool) {
        let is_like_ours = self.current.finds_one_row;
        (self.found, self.found_there) = (at, if is_like_ours { FoundRows::AsOfQuestion } else { FoundRows::OfQuery });
        if at == Side::Replica && !self.only_asks() {
            self.retained.found_rows(has_failed);
        } else if at == Side::Replica && !is_like_ours {
            self.retained.lose_found_rows();
        }
    }

    fn counted_at(&mut self, at: Side, count: RowCount) {
        (self.last, self.last_count, self.owes_count) = (at, count, false);
        if at == Side::Server {
            self.home_counts_as_query = count == RowCount::OfQuery;
        }
    }

    /// The OK of a statement says how many rows it changed; but that of MariaDB's HELP is one of a query.
    fn row_count(&self, end: ReplyEnd) -> RowCount {
        let may_be_query = self.current.classification.reason == Reason::Administration;
        match end {
            ReplyEnd { error: Some(_), .. } | ReplyEnd { has_rows: true, .. } => RowCount::OfQuery,
            ReplyEnd { changed_rows: true, .. } => RowCount::Some,
            ReplyEnd { .. } if may_be_query => RowCount::Some,
            ReplyEnd { .. } => RowCount::Zero,
        }
    }

    fn reads_user_variables(&self) -> bool {
        [Repetition::OfLast, Repetition::OfFound].into_iter().any(|what| {
            let command = self.retained.of(what);
            let prepared = StatementId::of_command(command).and_then(|id| self.statements.find(id));
            memchr::memchr(b'@', prepared.map_or(command, |statement| &statement.text)).is_some()
        })
    }

    /// What was read at the replica may not be read again by now, as far as this session goes.
    pub(in crate::session::split) fn note_stale_reads(&mut self, end: ReplyEnd) {
        let Classification { effects, reason, statements, .. } = self.current.classification;
        let tells_of_all = statements == 1 && !effects.intersects(Effects::IMPLICIT_COMMIT);
        let has_written = end.changed_rows || self.current.has_position || reason == Reason::NotARead && !tells_of_all;
        let sets = Effects::USER_VARIABLES.with(Effects::COMPUTED_USER_VARIABLES);
        if has_written || effects.intersects(Effects::ROLE) || effects.intersects(sets) && self.reads_user_variables() {
            self.retained.grow_stale();
        }
    }
}
