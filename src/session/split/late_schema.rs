//! Word of a schema that comes late. MySQL executes a statement under the schema that it was prepared under and switches back,
//! and tells of that in its next OK packet: of another command, where rows end with an EOF packet.

use crate::{
    protocol::{
        session_track::{self, Tracker},
        statement::StatementId,
    },
    sql::{self, Effects},
};

use super::{Kind, Split, absorb::HIDDEN, retained::Repetition, statements::Statement};

impl Split {
    /// Whether home tells of an execution's schema behind it. So must the connection that tells the client.
    pub(super) fn tells_later_of_schema(&self, statement: &Statement) -> bool {
        self.eof_tells_nothing
            && self.client_tracks
            && matches!(self.family, sql::Family::MySql { .. })
            && statement.meaning != self.journal.meaning()
    }

    /// A read was run at home, too. When the client sent it, the session may have had the statement's schema.
    pub(super) fn note_schema_of_repetition(&mut self, what: Repetition) {
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
