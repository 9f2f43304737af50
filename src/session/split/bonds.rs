//! What keeps a statement at home that a replica could run.

use crate::{
    protocol::{statement::StatementId, status::StatusFlags},
    sql::{self, Class, Classification, Effects, Hint, Needs, Reason},
};

use super::{
    super::{Side, Surroundings},
    Home, Kind, Split,
    plan::OF_THE_LAST,
    statements::{Definitions, execution::Execution},
    stay::{Bond, Stay},
};

/// Texts that replicas refused and a session remembers.
const REFUSED_MAX: usize = 64;

impl Split {
    /// Why the command stays at home, if it does.
    pub(super) fn reason_to_stay(
        &self,
        payload: &[u8],
        status: StatusFlags,
        surroundings: Surroundings<'_>,
    ) -> Option<Stay> {
        let classification = self.current.classification;
        match (classification.class, classification.hint) {
            (_, Some(Hint::Primary)) => return Some(Stay::Read(Bond::Hint)),
            (Class::Read, _) => {}
            (Class::ReadOfConnection, _) if self.asks_replica_of_its_last(payload) => {}
            // Whatever it calls, it reads in the one snapshot, and cannot write.
            (_, None) if self.replicas.have_snapshot() && may_call_stored_code(&classification) => {}
            (_, Some(Hint::Replica | Hint::Server(_))) if may_be_forced(&classification) => {}
            _ => return Some(Stay::Text(classification.reason)),
        }
        self.bond(payload, status, surroundings).map(Stay::Read)
    }

    /// What keeps a read at home.
    fn bond(&self, payload: &[u8], status: StatusFlags, surroundings: Surroundings<'_>) -> Option<Bond> {
        let needs = self.current.classification.needs;
        if !self.reads_leave {
            return Some(Bond::OnePool);
        }
        // A question for what a read left is no transaction; home would run the read again for it, and that is one.
        let only_asks = self.current.classification.class == Class::ReadOfConnection;
        let pin = if only_asks { self.pins.binding_questions() } else { self.pins.binding_reads() };
        if pin.is_some() {
            return pin;
        }
        if !only_asks && self.journal.schema().is_some_and(sql::is_server_schema) {
            return Some(Bond::ServerSchema);
        }
        if self.has_missed && !only_asks {
            return Some(Bond::Missed);
        }
        if let Some(bond) = self.bond_of_transaction(status) {
            return Some(bond);
        }
        if self.journal.finds_last_insert() {
            return Some(Bond::ServerBound);
        }
        if let Kind::Execute = self.current.kind
            && let Some(bond) = self.bond_of_execution(payload)
        {
            return Some(bond);
        }
        if needs.intersects(OF_THE_LAST) && self.last_for(needs) != Side::Replica {
            return Some(Bond::PreviousStatement);
        }
        // Elsewhere it would leave things as they are, where they are not those that count.
        if self.current.keeps_conditions && self.current.classification.class == Class::Read {
            return Some(Bond::PreviousStatement);
        }
        // It leaves the rows that were found, and has a count of its own: one statement may ask for both.
        if self.current.keeps_found_rows() && self.current.classification.class == Class::Read {
            return Some(Bond::PreviousStatement);
        }
        if needs.contains(Needs::USER_VARIABLES) && !self.knows_user_variables(payload) {
            return Some(Bond::UserVariable);
        }
        if !self.journal.is_portable() || !matches!(self.home, Home::Telling(_)) {
            return Some(Bond::Hidden);
        }
        if self.chose_statements && self.current.classification.statements > 1 {
            return Some(Bond::OtherSettings);
        }
        if self.reads_hidden_view(payload) {
            return Some(Bond::View);
        }
        if self.replicas.are_resting(surroundings.now) {
            return Some(Bond::NoReplica);
        }
        self.was_refused(payload).then_some(Bond::Refused)
    }

    fn bond_of_execution(&self, payload: &[u8]) -> Option<Bond> {
        let Some(statement) = StatementId::of_command(payload).and_then(|id| self.statements.find(id)) else {
            return Some(Bond::UnknownStatement);
        };
        match Execution::parse(payload, statement.parameters, self.query_attributes) {
            None => Some(Bond::QueryAttributes),
            Some(execution) if execution.wants_cursor || statement.has_cursor => Some(Bond::Cursor),
            Some(_) if statement.is_unfit || statement.is_told_anew => Some(Bond::Unfit),
            Some(_) if statement.long_data => Some(Bond::LongData),
            Some(_) if self.tells_later_of_schema(statement) => Some(Bond::OtherSettings),
            Some(execution) if statement.lacks_types(&execution) => Some(Bond::UnknownTypes),
            Some(_) if statement.meaning != self.journal.meaning() && !statement.is_at_replica() => {
                Some(Bond::OtherSettings)
            }
            Some(_) => None,
        }
    }

    /// Inside a transaction everything is at home, but for one that cannot write and has not read there.
    fn bond_of_transaction(&self, status: StatusFlags) -> Option<Bond> {
        if !status.contains(StatusFlags::AUTOCOMMIT) {
            return Some(Bond::AutocommitOff);
        }
        if !status.contains(StatusFlags::IN_TRANS) {
            return None;
        }
        let cannot_write = status.contains(StatusFlags::IN_TRANS_READONLY);
        let has_begun_here = self.looked_in_transaction || self.keeps_transactions_home();
        (!cannot_write || (has_begun_here && !self.replicas.have_snapshot())).then_some(Bond::Transaction)
    }

    /// A replica refused this statement, though its text is a read: perhaps a view of it writes.
    pub(super) fn was_refused(&self, payload: &[u8]) -> bool {
        !self.refused.is_empty() && self.refused.contains(&self.fingerprint(payload))
    }

    /// Tells texts apart. Of an execution, the text of its statement.
    fn fingerprint(&self, payload: &[u8]) -> u64 {
        let mut hash = Definitions::default();
        let prepared = StatementId::of_command(payload).and_then(|id| self.statements.find(id));
        hash.add(prepared.map_or(payload.get(1..).unwrap_or_default(), |statement| &statement.text));
        hash.0
    }

    /// A replica said that it does not run the read: it is not tried again.
    pub(super) fn learn_refusal(&mut self) {
        let fingerprint = self.fingerprint(self.retained.last());
        if self.refused.contains(&fingerprint) {
            return;
        }
        if self.refused.len() == REFUSED_MAX {
            self.refused.remove(0);
        }
        self.refused.push(fingerprint);
    }

    /// Only the replica where the last statement ran can say what became of it. It is asked as it is, and of nothing more.
    fn asks_replica_of_its_last(&self, payload: &[u8]) -> bool {
        let Classification { needs, statements, .. } = self.current.classification;
        let of_session = Needs::USER_VARIABLES.with(Needs::SESSION_VARIABLES);
        let is_as_home = || self.replicas.known().is_none_or(|known| known.applied == Some(self.journal.version()));
        let uses_no_table =
            || self.text_of_statement(payload).is_some_and(|text| !sql::may_use_a_table(text, self.reading));
        self.last_for(needs) == Side::Replica
            && needs.without(OF_THE_LAST).without(of_session).is_empty()
            && statements == 1
            && (!needs.intersects(of_session) || is_as_home())
            && (needs.contains(Needs::WARNINGS) || uses_no_table())
    }

    fn knows_user_variables(&self, payload: &[u8]) -> bool {
        let text = self.text_of_statement(payload);
        text.is_some_and(|text| self.journal.knows_user_variables(text, self.reading))
    }
}

/// Not a read only because it calls what may be a stored function.
fn may_call_stored_code(classification: &Classification) -> bool {
    matches!(classification.reason, Reason::UnknownFunction | Reason::StoredFunction | Reason::BlankBeforeParenthesis)
        && may_be_forced(classification)
}

/// A statement that its author may send to a replica though it is not certainly a read: it must look like one, and not do
/// anything to the session.
fn may_be_forced(classification: &Classification) -> bool {
    let looks_like_a_read = matches!(
        classification.reason,
        Reason::PlainRead
            | Reason::UnknownFunction
            | Reason::StoredFunction
            | Reason::BlankBeforeParenthesis
            | Reason::ServerFunction
            | Reason::ConnectionFunction
            | Reason::ServerVariable
            | Reason::ServerSchema
            | Reason::ServerShow
    );
    let harmless = Effects::STORED_CODE;
    looks_like_a_read && classification.effects.without(harmless).is_empty() && classification.statements == 1
}
