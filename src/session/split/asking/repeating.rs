//! Executions of prepared statements that ran at a replica, kept so that home can run them again (`retained`) whatever the
//! client does with their statements meanwhile: it may close them, bind other types, or send parts of parameters.

use crate::{
    protocol::statement::StatementId,
    session::split::{Split, chore::words::com_query, plan::packet, statements::execution::Execution},
};

use super::retained::{Repetition, Retained};

/// Finds one row, and leaves conditions as they are.
const QUESTION: &[u8] = b"SELECT @@warning_count";

/// Numbers of statements that the client has closed, and that home may have to execute again. No client is given one.
const ASIDE: [StatementId; 2] = [StatementId(0xFFFF_FFF0), StatementId(0xFFFF_FFF1)];

impl Split {
    /// Keeps a read that goes to the replica: to be run at home, if the replica fails it, or if a later statement asks home
    /// what became of it. What only asks is not to be asked for.
    pub(in crate::session::split) fn retain_for_repetition(&mut self, payload: &[u8]) {
        if self.only_asks() {
            return;
        }
        self.retained.begin(payload);
        // What was prepared last may be another one by then.
        if let Some(id) = self.executing.map(|id| self.statements.resolve(id)) {
            self.retained.last_mut()[StatementId::OFFSET..][..4].copy_from_slice(&id.0.to_le_bytes());
        }
    }

    /// The client binds other types to a statement: what is kept of its executions without any gets those of its time.
    pub(in crate::session::split) fn keep_types(&mut self, id: StatementId) {
        let Some(statement) = self.statements.find(id) else { return };
        for payload in self.retained.executions_mut(statement.id) {
            match Execution::parse(payload, statement.parameters, self.query_attributes) {
                Some(execution) if statement.lacks_types_in(&execution) => {
                    *payload = execution.write(payload, statement.id, statement.types());
                }
                Some(_) | None => {}
            }
        }
    }

    /// The client closes a statement: if home may have to execute it again, it is kept under another number.
    pub(in crate::session::split) fn close_or_put_aside(&mut self, id: StatementId) {
        let id = self.statements.resolve(id);
        if !self.retained.executes(id) {
            return self.statements.close(id);
        }
        for aside in ASIDE.into_iter().filter(|aside| !self.retained.executes(*aside)) {
            self.statements.close_later(aside);
        }
        match ASIDE.into_iter().find(|aside| self.statements.find(*aside).is_none()) {
            Some(aside) => {
                self.statements.put_aside(id, aside);
                self.retained.executions_mut(id).for_each(|payload| {
                    payload[StatementId::OFFSET..][..4].copy_from_slice(&aside.0.to_le_bytes());
                });
            }
            None => self.statements.close(id),
        }
    }

    /// Whether home can run again what it must. An execution needs its statement, and would use up the parts of parameters
    /// that the client has sent for its next one, or close its cursor.
    pub(super) fn can_repeat(&self) -> bool {
        let Some(id) = StatementId::of_command(self.repeated(self.repetition_before())) else { return true };
        self.statements.find(id).is_some_and(|statement| !statement.long_data && !statement.has_cursor)
    }

    /// What home must get of a read that ran at a replica.
    pub(in crate::session::split) fn repetition(&mut self, what: Repetition) -> Vec<u8> {
        if what == Repetition::Neither {
            return packet(&com_query(self.query_attributes, QUESTION));
        }
        let retained = std::mem::take(&mut self.retained);
        let said = self.executed_again(retained.of(what));
        self.retained = retained;
        said
    }

    fn executed_again(&mut self, payload: &[u8]) -> Vec<u8> {
        let query_attributes = self.query_attributes;
        let execution = StatementId::of_command(payload).and_then(|id| {
            self.statements.change(id, |statement| {
                let execution = Execution::parse(payload, statement.parameters, query_attributes)?;
                statement.bind_again(payload, &execution)
            })
        });
        execution.flatten().map_or_else(|| self.renumbered(payload), |rewritten| packet(&rewritten))
    }

    /// A command as the client sent it, under home's number for its statement.
    pub(in crate::session::split) fn renumbered(&self, payload: &[u8]) -> Vec<u8> {
        let mut said = packet(payload);
        self.renumber(&mut said);
        said
    }
}

impl Retained {
    fn executes(&self, id: StatementId) -> bool {
        self.both().iter().any(|payload| StatementId::of_command(payload) == Some(id))
    }

    fn executions_mut(&mut self, id: StatementId) -> impl Iterator<Item = &mut Vec<u8>> {
        self.both_mut().into_iter().filter(move |payload| StatementId::of_command(payload) == Some(id))
    }
}
