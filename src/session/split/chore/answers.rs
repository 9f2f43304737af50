//! What servers answer to our own statements, taken in.

use std::time::Instant;

use crate::{
    protocol::{statement::StatementId, status::StatusFlags},
    session::{
        Side,
        split::{
            FoundRows, Home, RowCount, Split, Tracking,
            journal::{trackers::is_on, values::Values},
            lent::Lent,
        },
    },
};

use super::{Answer, Chore, Unsayable};

impl Split {
    /// Takes in an answer. An error sends the command home.
    pub(super) fn answered(
        &mut self,
        chore: Chore,
        answer: Answer,
        status: StatusFlags,
        now: Instant,
    ) -> Result<(), Unsayable> {
        if chore.is_question() {
            self.was_asked(chore.side());
        }
        match (chore, answer) {
            (Chore::HomeValues, Answer::Row(values)) => self.learn_home(values),
            (Chore::HomeChanges, Answer::Row(values)) if self.journal.awaits_baseline() => {
                let values = values.into_iter().map(Option::unwrap_or_default);
                self.journal.set_baseline(Values::new(self.family, values));
            }
            (Chore::HomeChanges, Answer::Row(values)) => self.learn_unseen(values),
            (Chore::HomeChanges, _) => self.pins.hidden(),
            (Chore::Tracking, Answer::Done) => {
                self.home_has_settings(status);
                if let Home::Silent(tracking) = &mut self.home {
                    self.home = Home::Telling(std::mem::take(tracking));
                }
            }
            (Chore::HomeValues | Chore::Tracking, _) => self.home = Home::Unable,
            (Chore::ReturnTracking, Answer::Done) if self.may_not_speak_of_gtids(status) => self.owe_gtids(),
            (Chore::ReturnTracking, Answer::Done) => self.tracking_returned(),
            (Chore::ReturnTracking, _) if matches!(self.home, Home::Owing(_)) => self.tracking_returned(),
            // Most likely somebody killed it. The command finds our own values, as any command that hides what it does.
            (Chore::ReturnTracking, _) => self.current.is_about_tracking = false,
            (Chore::Ping, _) => {
                if std::mem::take(&mut self.owes_count) {
                    (self.last_count, self.home_counts_as_query) = (RowCount::Zero, false);
                }
            }
            (Chore::RollBack, _) => self.rolled_back(),
            (Chore::Repeat, answer) => self.was_repeated(matches!(answer, Answer::Refused(_))),
            (Chore::Position, Answer::Row(values)) => {
                match position_in(&values).and_then(|text| self.parse_position(text)) {
                    Some(position) => self.sight.home_is_at(position),
                    None => self.sight.in_vain(now),
                }
            }
            (Chore::Position, _) => self.sight.in_vain(now),
            (Chore::Wait, Answer::Row(values)) if values == [Some(b"0".to_vec())] => self.replica_has_all(),
            (Chore::Wait, Answer::Row(_) | Answer::Done | Answer::Refused(_)) => self.sight.in_vain(now),
            (Chore::Views, Answer::Column(names)) => self.views_answered(Some(names), now),
            (Chore::Views, Answer::Refused(_) | Answer::Done) => self.views_answered(None, now),
            (Chore::Prepare(id), Answer::Prepared { id: there, definitions, .. }) => {
                self.prepared_there(id, there, definitions.0);
            }
            (Chore::Prepare(id), Answer::Refused(_)) => self.statements.is_unfit(id),
            (Chore::HomeWait, Answer::Row(_)) => self.with_lent(Lent::has_all),
            (Chore::HomeWaits | Chore::HomeWaitsNoMore, Answer::Done) => {}
            (Chore::HomeReset, Answer::Done) => self.with_lent(Lent::was_reset),
            (Chore::HomeCollation, Answer::Done) => self.with_lent(Lent::has_collation),
            (Chore::HomeSchema, Answer::Done) => self.home_took_schema(),
            (Chore::HomeReading(id), answer) => return self.home_reads_as(id, answer == Answer::Done),
            (Chore::HomePrepare(id), Answer::Prepared { id: there, parameters, definitions }) => {
                self.with_lent(Lent::is_done_with_reading);
                return self.prepared_for_home(id, there, parameters, definitions);
            }
            (Chore::HomeTheirs, Answer::Row(values)) => {
                let mut values = Values::new(self.family, values.into_iter().map(Option::unwrap_or_default));
                values.share(self.journal.baseline());
                self.with_lent(|lent| lent.has_values(values));
            }
            (Chore::HomeSettings, Answer::Done) => self.home_has_settings(status),
            (Chore::HomeRole, Answer::Done) => self.home_has_role(),
            (Chore::InsertId, Answer::Row(values)) => {
                let id = position_in(&values).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
                self.owes_count = self.last == Side::Server && self.last_count == RowCount::Zero;
                self.with_lent(|lent| lent.has_insert_id(id.unwrap_or(0)));
            }
            (Chore::Stock, Answer::Row(values)) => self.take_stock(Some(values)),
            (Chore::Stock, _) => self.take_stock(None),
            (Chore::Proof, Answer::Row(values)) => return self.compare_stock(&values),
            (Chore::HomePrepare(_), _) => {
                self.with_lent(Lent::is_done_with_reading);
                return Err(Unsayable);
            }
            (
                Chore::HomeWait
                | Chore::HomeWaits
                | Chore::HomeWaitsNoMore
                | Chore::HomeReset
                | Chore::HomeCollation
                | Chore::HomeSchema
                | Chore::HomeTheirs
                | Chore::HomeSettings
                | Chore::HomeRole
                | Chore::InsertId
                | Chore::Proof,
                _,
            ) => return Err(Unsayable),
            (_, answer) => return self.replica_answered(chore, answer, status),
        }
        Ok(())
    }

    /// A server has answered a question of ours, which is a query, too.
    fn was_asked(&mut self, side: Side) {
        if side == Side::Server {
            self.with_lent(Lent::was_asked);
        }
        if side == self.found && self.found_there == FoundRows::OfQuery {
            self.found_there = FoundRows::OfQuestion;
        }
    }

    pub(super) fn replica_answered(
        &mut self,
        chore: Chore,
        answer: Answer,
        status: StatusFlags,
    ) -> Result<(), Unsayable> {
        let (version, schema) = (self.journal.version(), self.journal.schema().map(<[u8]>::to_vec));
        let attempt = (version, self.journal.meaning());
        let role = self.journal.role().map(<[u8]>::to_vec);
        let replica = self.replicas.get_mut().ok_or(Unsayable)?;
        match (chore, answer) {
            (Chore::ReplicaValues, Answer::Row(values)) => {
                let mut values = Values::new(self.family, values.into_iter().map(Option::unwrap_or_default));
                values.share(self.journal.baseline());
                // Without them, settings are only those that the session has changed.
                (replica.values, replica.applied) = (Some(values), None);
            }
            (Chore::Reset, Answer::Done) => {
                replica.must_reset = false;
                replica.lacks_autocommit = !status.contains(StatusFlags::AUTOCOMMIT);
            }
            (Chore::Collation, Answer::Done) => replica.needs_collation = false,
            (Chore::Schema, Answer::Done) => replica.schema = schema,
            (Chore::Settings, Answer::Done) => replica.applied = Some(version),
            (Chore::Role, Answer::Done) => replica.set_role(role),
            (Chore::Begin, Answer::Done) => replica.set_transaction(true),
            (Chore::Commit, Answer::Done) => replica.set_transaction(false),
            // What it cannot take on now it may take on after the next change.
            (Chore::Schema | Chore::Settings | Chore::Role, Answer::Refused(_)) => replica.refused = Some(attempt),
            _ => return Err(Unsayable),
        }
        Ok(())
    }

    fn learn_home(&mut self, values: Vec<Option<Vec<u8>>>) {
        let mut values = values.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        let (variables, schema, state_change) = (next(), next(), next());
        let gtids = if self.knows_gtid_tracker() { next() } else { Vec::new() };
        if self.waiting.variable().is_some() {
            self.waiting = self.waiting.told(&next());
        }
        let tracking = Tracking { variables, schema: is_on(&schema), state_change: is_on(&state_change), gtids };
        self.journal.set_baseline(Values::new(self.family, values));
        self.tells_by_itself = tracking.clone();
        self.home = Home::Silent(tracking);
    }

    /// What code that nobody saw has set, and home did not tell of.
    fn learn_unseen(&mut self, values: Vec<Option<Vec<u8>>>) {
        self.may_have_set_unseen = false;
        let values = Values::new(self.family, values.into_iter().map(Option::unwrap_or_default));
        for (name, value) in values.iterate() {
            if !self.journal.has(name, value) {
                self.variable_changed(name, value);
            }
        }
    }

    pub(super) fn replica_has_all(&mut self) {
        let version = self.sight.version();
        if let Some(replica) = self.replicas.get_mut() {
            replica.had = version;
        }
    }

    /// A statement whose result would look otherwise there than the client was told stays at home.
    fn prepared_there(&mut self, id: StatementId, there: StatementId, definitions: u64) {
        let told = self.statements.find(id).map(|statement| statement.definitions);
        self.statements.prepared_at_replica(id, there);
        if told != Some(definitions) {
            self.statements.is_unfit(id);
        }
    }
}

fn position_in(values: &[Option<Vec<u8>>]) -> Option<&[u8]> {
    values.first()?.as_deref()
}
