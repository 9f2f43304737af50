//! Word of a schema that comes late. MySQL executes a statement under the schema that it was prepared under and switches back,
//! and tells of that in its next OK packet: of another command, where rows end with an EOF packet. MariaDB does the same for
//! stored code of another schema, but only in an OK packet that has something else to tell: it tells us more than the client.

use crate::{
    protocol::{
        session_track::{self, Tracker},
        statement::StatementId,
        status::StatusFlags,
    },
    session::{
        Side,
        split::{Kind, Split, absorb::HIDDEN, asking::retained::Repetition, statements::Statement},
    },
    sql::{self, Effects},
};

impl Split {
    /// Whether home tells of an execution's schema behind it. So must the connection that tells the client.
    pub(in crate::session::split) fn tells_later_of_schema(&self, statement: &Statement) -> bool {
        self.eof_tells_nothing
            && self.client_tracks
            && matches!(self.family, sql::Family::MySql { .. })
            && statement.meaning != self.journal.meaning()
    }

    /// Rows have ended with an EOF packet that flags a change: word of a schema may come behind another command.
    pub(in crate::session::split) fn note_late_schema(&mut self, status: StatusFlags) {
        let is_mariadb = matches!(self.family, sql::Family::MariaDb { .. });
        self.late_schema |= is_mariadb && self.client_tracks && self.has_unexplained(status);
    }

    /// Of what the client is told, the word of a schema only where its server would have told it: with something else that
    /// the client asked for. `is_known`: it has that schema.
    pub(super) fn in_time(&mut self, mut kept: Vec<u8>, is_known: bool) -> Vec<u8> {
        if !self.late_schema || self.current.at != Side::Server {
            return kept;
        }
        let is_schema = |tracker: &Result<Tracker<'_>, _>| matches!(tracker, Ok(Tracker::Schema(_)));
        let tells_schema = session_track::iterate(&kept).any(|tracker| is_schema(&tracker));
        let tells_more = session_track::iterate(&kept).any(|tracker| !is_schema(&tracker));
        let may_be_new = Effects::SCHEMA.with(Effects::ANYTHING).with(Effects::EXECUTES).with(Effects::UNSEEN);
        let is_plain = matches!(self.current.kind, Kind::Query | Kind::Execute)
            && !self.current.classification.effects.intersects(may_be_new);
        match (tells_schema, tells_more) {
            (true, false) if is_plain && is_known => {
                self.owes_schema = true;
                kept.clear();
            }
            (true, _) => (self.late_schema, self.owes_schema) = (false, false),
            (false, true) if self.owes_schema => {
                (self.late_schema, self.owes_schema) = (false, false);
                session_track::append_schema(&mut kept, self.journal.schema().unwrap_or_default());
            }
            (false, _) => {}
        }
        kept
    }

    /// A read was run at home, too. When the client sent it, the session may have had the statement's schema.
    pub(in crate::session::split) fn note_schema_of_repetition(&mut self, what: Repetition) {
        let repeated = StatementId::of_command(self.repeated(what)).and_then(|id| self.statements.find(id));
        self.owes_no_schema |= repeated.is_some_and(|statement| self.tells_later_of_schema(statement));
    }

    /// Whether home says that the session has a schema only because it has run a read again.
    pub(super) fn is_schema_of_repetition(&mut self, trackers: &[u8]) -> bool {
        let is_possible = std::mem::take(&mut self.owes_no_schema);
        let is_old = |tracker| matches!(tracker, Ok(Tracker::Schema(schema)) if Some(schema) == self.journal.schema());
        let may_be_new = self.current.classification.effects.intersects(Effects::SCHEMA.with(HIDDEN));
        let is_query = matches!(self.current.kind, Kind::Query);
        is_possible && is_query && !may_be_new && session_track::iterate(trackers).any(is_old)
    }
}
