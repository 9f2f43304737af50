//! What a home connection that was lent lacks to be like the one before, and what it has been given.

use crate::{
    protocol::status::StatusFlags,
    session::split::{
        Home, Kind, RowCount, Split,
        chore::{Chore, missing::Next},
        journal::Unwritable,
    },
    sql::{Needs, Reason},
};

use super::{Drawn, InsertId, Lent};

impl Split {
    /// What home lacks before a command may go there; `None` also for a session whose home is its own.
    pub(in crate::session::split) fn home_lacks(&self, status: StatusFlags) -> Option<Next> {
        let lent = self.lent.as_deref()?;
        if !lent.is_here {
            return Some(Next::LeaseHome);
        }
        if lent.must_wait {
            // MariaDB waits for nothing on a connection that was reset.
            return Some(if lent.fit.was_ever_reset { Next::LeaveHome } else { Next::Say(self.wait_for_cluster()) });
        }
        if let Some(next) = self.lacks_unreset_home(lent) {
            return Some(next);
        }
        if lent.is_settled && self.missing_at_home().is_none() {
            return None;
        }
        if lent.is_held && self.is_void() {
            return Some(Next::Yield);
        }
        if lent.fit.schema.is_some() && self.schema_for_home().is_none() {
            return Some(Next::LeaveHome);
        }
        self.missing_on_home(status).next().map(Next::Say)
    }

    /// What must be said to the home connection that was lent, in this order.
    pub(in crate::session::split) fn missing_on_home(&self, status: StatusFlags) -> impl Iterator<Item = Chore> {
        let missing = self.lent.as_deref().filter(|lent| lent.is_here).map(|lent| {
            let fit = &lent.fit;
            // Only with what it tells of can home be made as it was.
            let is_telling = matches!(self.home, Home::Telling(_));
            let is_applied = fit.applied == Some(self.journal.version());
            let is_as_it_was = is_applied
                && fit.autocommit == status.contains(StatusFlags::AUTOCOMMIT)
                && !matches!(lent.insert_id, InsertId::Known(id) if id != fit.insert_id);
            [
                (Chore::HomeReset, fit.needs_reset),
                (Chore::HomeCollation, fit.needs_collation),
                (Chore::HomeSchema, self.schema_for_home() != fit.schema.as_deref()),
                (Chore::HomeTheirs, is_telling && !is_applied && fit.values.is_none()),
                (Chore::HomeSettings, is_telling && !is_as_it_was),
                (Chore::HomeRole, is_telling && fit.role.as_deref() != self.journal.role()),
            ]
        });
        missing.into_iter().flatten().filter_map(|(chore, is_missing)| is_missing.then_some(chore))
    }

    /// The statement that makes a lent connection like the one before: what home is made to tell, and what the session
    /// has set, or had from its first connection.
    pub(in crate::session::split) fn home_settings(&self, status: StatusFlags) -> Result<Vec<u8>, Unwritable> {
        let autocommit = if status.contains(StatusFlags::AUTOCOMMIT) { 1 } else { 0 };
        let mut statement = format!("{}, SESSION autocommit={autocommit}", self.full_tracking_statement()).into_bytes();
        if let Some(Lent { insert_id: InsertId::Known(id @ 1..), .. }) = self.lent.as_deref() {
            statement.extend_from_slice(format!(", SESSION last_insert_id={id}").as_bytes());
        }
        let theirs = self.lent.as_deref().and_then(|lent| lent.fit.values.as_ref());
        if let Some(settings) = self.journal.settings(theirs, std::iter::empty())? {
            statement.extend_from_slice(b", ");
            statement.extend_from_slice(settings.strip_prefix(b"SET ").unwrap_or(&settings));
        }
        Ok(statement)
    }

    /// Home was made like the journal says.
    pub(in crate::session::split) fn home_has_settings(&mut self, status: StatusFlags) {
        let version = self.journal.version();
        if let Some(lent) = self.lent.as_deref_mut() {
            (lent.fit.applied, lent.fit.reading) = (Some(version), None);
            lent.fit.autocommit = status.contains(StatusFlags::AUTOCOMMIT);
            if let InsertId::Known(id) = lent.insert_id {
                lent.fit.insert_id = id;
            }
        }
    }

    pub(super) fn home_has_schema(&mut self) {
        if let Some(lent) = self.lent.as_deref_mut() {
            lent.fit.schema = self.journal.schema().map(<[u8]>::to_vec);
        }
    }

    /// It was given a schema.
    pub(in crate::session::split) fn home_took_schema(&mut self) {
        let schema = self.schema_for_home().map(<[u8]>::to_vec);
        self.with_lent(|lent| {
            lent.fit.schema = schema;
            lent.is_settled = false;
            lent.is_another();
        });
    }

    pub(in crate::session::split) fn home_has_role(&mut self) {
        let role = self.journal.role();
        if let Some(lent) = self.lent.as_deref_mut().filter(|lent| lent.fit.role.as_deref() != role) {
            lent.fit.role = self.journal.role().map(<[u8]>::to_vec);
            lent.fit.is_tainted |= lent.fit.role.is_some();
        }
    }

    /// A command ran at home: whatever it changed holds there.
    pub(in crate::session::split) fn home_is_in_step(&mut self, status: StatusFlags) {
        let (has_aftermath, replaced, left) = (self.leaves_aftermath(), self.current.replaces, self.left_by_last());
        let may_insert = self.current.may_insert;
        let draws = self.current.classification.reason == Reason::Sequence;
        let Some(lent) = self.lent.as_deref_mut() else { return };
        lent.has_aftermath = has_aftermath.unwrap_or(lent.has_aftermath);
        lent.left = lent.left.without(replaced).with(left);
        lent.lost = lent.lost.without(replaced);
        if draws {
            lent.drawn = Drawn::There;
        }
        if may_insert {
            lent.insert_id = InsertId::Unasked;
        }
        if matches!(self.home, Home::Telling(_)) {
            lent.fit.applied = Some(self.journal.version());
        }
        lent.fit.autocommit = status.contains(StatusFlags::AUTOCOMMIT);
        if lent.fit.schema.as_deref() != self.journal.schema() {
            self.home_has_schema();
        }
        self.home_has_role();
    }

    /// Whether the command leaves something for the next one to ask; `None` where it leaves what was there.
    fn leaves_aftermath(&self) -> Option<bool> {
        match self.current.kind {
            // A command to prepare has become a statement by now: it may have left warnings, and no count of rows.
            Kind::Other | Kind::Prepare(_) => self.current.leaves_conditions.then_some(true),
            Kind::Reset => Some(false),
            Kind::Query | Kind::Execute | Kind::Fetch | Kind::Unseen => {
                let only_changes_session = matches!(
                    self.current.classification.reason,
                    Reason::ChangesSession | Reason::Transaction | Reason::ReadOnlyTransaction | Reason::Empty
                );
                let keeps_conditions = self.current.keeps_conditions && self.conditions.are_anywhere();
                match only_changes_session && !self.current.leaves_conditions {
                    true if keeps_conditions => None,
                    only_changes_session => Some(!only_changes_session),
                }
            }
        }
    }

    /// What the command left that no other connection says: of its counts of rows, only that none was changed.
    fn left_by_last(&self) -> Needs {
        let replaces = self.current.replaces;
        let is_everywhere = matches!(self.current.kind, Kind::Reset) || self.last_count == RowCount::Zero;
        let counts = if is_everywhere { replaces.without(Needs::ROW_COUNT) } else { replaces };
        let conditions = if self.current.leaves_conditions { Needs::WARNINGS } else { Needs::NONE };
        counts.without(Needs::WARNINGS).with(conditions).with(self.current.may_replace)
    }
}
