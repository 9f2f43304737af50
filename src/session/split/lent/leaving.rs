//! Whether a home connection may go: what binds the session to it, and what its next statement may ask of it.

use crate::{
    protocol::{command::Command, status::StatusFlags},
    session::{
        Side,
        split::{Home, Kind, Split, plan::text_of, stay::Bond},
    },
    sql::{Class, Effects, Reason},
};

use super::Lent;

impl Split {
    /// Whether a text may leave a LAST_INSERT_ID() that only its connection knows.
    pub(in crate::session::split) fn may_insert(&self, text: Option<&[u8]>) -> bool {
        let classification = &self.current.classification;
        let only_changes = |first: &u8| matches!(first.to_ascii_lowercase(), b'u' | b'd');
        let hides = classification.effects.intersects(Effects::ANYTHING.with(Effects::UNSEEN).with(Effects::EXECUTES));
        let writes = classification.class != Class::Read && classification.reason == Reason::NotARead;
        hides || (writes && !text.and_then(<[u8]>::first).is_some_and(only_changes))
    }

    /// What a command means for a connection that is lent.
    pub(in crate::session::split) fn look_for_lent(&mut self, payload: &[u8]) {
        self.note_waiting(payload);
        let Some((&code, rest)) = payload.split_first() else { return self.current.may_insert = true };
        self.current.asks_what_was_drawn = self.asks_what_was_drawn(payload);
        let prepared = self.executing.and_then(|id| self.statements.find(id));
        self.current.may_insert = match Command::from(code) {
            Command::Query => self.may_insert(text_of(payload, self.query_attributes)),
            Command::StmtExecute | Command::StmtBulkExecute => {
                self.may_insert(prepared.map(|statement| statement.text.as_slice()))
            }
            // The server keeps that for the connection, whoever has it.
            Command::SetOption => {
                self.lent.iter_mut().for_each(|lent| lent.stick());
                false
            }
            _ => rest.is_empty() && matches!(self.current.kind, Kind::Unseen),
        };
    }

    /// Whether a statement may ask what its connection drew from a sequence last.
    fn asks_what_was_drawn(&self, payload: &[u8]) -> bool {
        const WORDS: [&[u8]; 3] = [b"lastval", b"previous", b"currval"];
        let is_of_sequence = self.current.classification.reason == Reason::Sequence;
        let text = self.text_of_statement(payload).filter(|_| is_of_sequence).unwrap_or_default().to_ascii_lowercase();
        WORDS.iter().any(|word| memchr::memmem::find(&text, word).is_some())
    }

    /// Whether what a statement may do unseen is what triggers do: then a session that gives its connection back goes on.
    pub(in crate::session::split) fn only_triggers_may_run(&self) -> bool {
        let hides = Effects::ANYTHING.with(Effects::UNSEEN).with(Effects::EXECUTES);
        let classification = &self.current.classification;
        self.may_change_home() && classification.reason == Reason::NotARead && !classification.effects.intersects(hides)
    }

    /// What binds the session to its home connection outside of transactions.
    pub(super) fn binding_home(&mut self) -> Option<Bond> {
        let bound = self.pins.binding_home();
        let version = self.journal.version();
        let lent = self.lent.as_deref_mut()?;
        if lent.written.is_none_or(|(looked_at, _)| looked_at != version) {
            lent.written = Some((version, self.journal.is_writable()));
        }
        let is_written = lent.written.is_some_and(|(_, is_writable)| is_writable);
        let is_stuck = lent.is_stuck;
        let is_telling = matches!(self.home, Home::Telling(_));
        self.binding(bound, is_written && !is_stuck && is_telling)
    }

    fn binding(&self, pinned: Option<Bond>, is_known: bool) -> Option<Bond> {
        pinned
            .or((!self.journal.is_portable() || !is_known).then_some(Bond::Hidden))
            .or((!self.journal.knows_all_user_variables()).then_some(Bond::UserVariable))
            .or(self.statements.bind_home().then_some(Bond::PreparedStatement))
    }

    /// Whether the session would lose something with its home connection, outside of transactions.
    pub(in crate::session::split) fn is_bound(&self) -> bool {
        self.lent.is_none() || self.bond_to_home().is_some()
    }

    /// What the session would lose with its home connection, outside of transactions.
    pub(in crate::session::split) fn bond_to_home(&self) -> Option<Bond> {
        let lent = self.lent.as_deref()?;
        // Before its first command a session has nothing that its next home would lack.
        let is_fresh = matches!(self.home, Home::Unknown | Home::Silent(_)) && !self.journal.was_reset();
        let is_known = is_fresh || (matches!(self.home, Home::Telling(_)) && self.journal.is_writable());
        self.binding(self.pins.binding_home(), is_known && !lent.is_stuck)
    }

    /// Whether the home connection may go back now, after a command.
    pub(super) fn lets_home_go(&mut self, status: StatusFlags) -> bool {
        let goes_back = |lent: &Lent| lent.goes_back() && lent.is_here && lent.welcome.is_none();
        let is_here = self.lent.as_deref().is_some_and(goes_back);
        let in_step = self.replicas.get().is_some_and(|replica| replica.in_transaction);
        let is_quiet = is_here && !in_step && !self.awake.awaits_pong();
        let is_outside = is_quiet && !status.contains(StatusFlags::IN_TRANS);
        let bond = if is_outside { self.binding_home() } else { None };
        let is_free = is_outside && bond.is_none();
        self.with_lent(|lent| (lent.is_free, lent.is_held, lent.bond) = (is_free, false, bond));
        is_free
    }

    /// Whether the connection should be kept a moment for what the last statement left on it.
    pub(in crate::session::split) fn has_aftermath(&self) -> bool {
        let is_there = self.lent.as_deref().is_some_and(|lent| lent.has_aftermath);
        is_there && self.may_be_asked_about(Side::Server)
    }

    /// Whether the connection must be asked for LAST_INSERT_ID() before it goes.
    pub(in crate::session::split) fn must_ask_insert_id(&self) -> bool {
        self.lent.as_deref().is_some_and(Lent::asks_insert_id)
    }
}
