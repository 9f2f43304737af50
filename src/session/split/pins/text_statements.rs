//! Statements that a session has prepared by text and runs by name: which there are, and what they ask for.

use crate::{
    session::split::{Split, journal::Journal, plan::OF_THE_LAST},
    sql::{self, Dialect, NamedStatement, Needs, StatementText},
};

/// Each once, however often it was prepared under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session::split) struct TextStatements {
    known: Vec<TextStatement>,
    /// There may be some under other names.
    unknown: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct TextStatement {
    name: Vec<u8>,
    /// Of the statement before the one that executes it.
    asks: Needs,
}

/// What a text is read with.
#[derive(Clone, Copy, Debug)]
pub(in crate::session::split) struct Reading<'a> {
    pub(in crate::session::split) text: &'a [u8],
    pub(in crate::session::split) dialect: Dialect,
    pub(in crate::session::split) journal: &'a Journal,
}

impl Reading<'_> {
    /// What a statement's own text asks for. Of one that was computed nothing is known.
    fn asks(self, text: StatementText) -> Needs {
        let string = match text {
            StatementText::String(span) => Some(span.of(self.text)),
            StatementText::Variable(span) => self.journal.user_variable(span.of(self.text)),
            StatementText::Computed => None,
        };
        string.map_or(Needs::NONE, |string| sql::needs_of_string(string, self.dialect))
    }

    fn name(self, name: sql::Span) -> Vec<u8> {
        sql::unquoted(name.of(self.text)).to_ascii_lowercase()
    }
}

impl TextStatements {
    /// More than this are not told apart any more.
    const MAX: usize = 64;

    pub(super) fn any(&self) -> bool {
        self.unknown || !self.known.is_empty()
    }

    /// This text was executed.
    pub(in crate::session::split) fn executed(&mut self, reading: Reading<'_>) {
        for statement in sql::named_statements(reading.text, reading.dialect) {
            match statement {
                NamedStatement::Prepared { name, text } => self.prepared(reading.name(name), reading.asks(text)),
                NamedStatement::Deallocated(name) => self.gave_up(&reading.name(name)),
                NamedStatement::Executed(_) | NamedStatement::ExecutedText(_) => {}
            }
        }
    }

    /// One was prepared by a text that cannot be read.
    pub(in crate::session::split) fn prepared_some(&mut self) {
        self.unknown = true;
    }

    fn prepared(&mut self, name: Vec<u8>, asks: Needs) {
        self.gave_up(&name);
        self.known.push(TextStatement { name, asks });
        self.unknown |= self.known.len() > Self::MAX;
        self.known.truncate(Self::MAX);
    }

    fn gave_up(&mut self, name: &[u8]) {
        self.known.retain(|known| known.name != name);
    }

    /// What the statements ask for that a text executes, among them those that it prepares itself.
    fn asked_by(&self, reading: Reading<'_>) -> Needs {
        let asked = sql::named_statements(reading.text, reading.dialect).map(|statement| match statement {
            NamedStatement::Prepared { text, .. } | NamedStatement::ExecutedText(text) => reading.asks(text),
            NamedStatement::Executed(name) => self.asks(&reading.name(name)),
            NamedStatement::Deallocated(_) => Needs::NONE,
        });
        asked.fold(Needs::NONE, Needs::with)
    }

    fn asks(&self, name: &[u8]) -> Needs {
        self.known.iter().find(|known| known.name == name).map_or(Needs::NONE, |known| known.asks)
    }
}

impl Split {
    /// What is executed by text may ask for what the statement before has left.
    pub(in crate::session::split) fn note_asked_by_text(&mut self, payload: &[u8]) {
        if !self.current.classification.effects.contains(sql::Effects::EXECUTES) {
            return;
        }
        let Some(text) = self.text_of_statement(payload) else { return };
        let reading = Reading { text, dialect: self.reading, journal: &self.journal };
        let asked = self.pins.text_statements.asked_by(reading);
        let needs = &mut self.current.classification.needs;
        *needs = needs.with(asked.without(asked.without(OF_THE_LAST)));
    }
}
