//! What the session learns from replies, beside what servers tell of it (`trackers`).

use std::time::Instant;

use crate::{
    protocol::{
        error_code::Error,
        result_set::ReplyEnd,
        statement::{Prepared, StatementId},
        status::StatusFlags,
    },
    sql::{self, Class, Classification, Effects, Reason},
};

use super::{
    super::Side,
    Home, Kind, Split,
    asking::{conditions::Conditions, retained::Repetition},
    lent::Lent,
    pins::text_statements::Reading,
    plan::{TOLD_BY_TEXT, text_of},
};

/// Effects after which a server says, without more, that something changed.
const EXPLAINED: Effects = Effects::SESSION_VARIABLES
    .with(Effects::COMPUTED_VARIABLES)
    .with(Effects::CHARACTER_SETS)
    .with(Effects::AUTOCOMMIT)
    .with(Effects::SERVER_BOUND)
    .with(Effects::GLOBAL_VARIABLES)
    .with(Effects::ACCOUNT)
    .with(Effects::ROLE)
    .with(Effects::USER_VARIABLES)
    .with(Effects::COMPUTED_USER_VARIABLES)
    .with(Effects::SCHEMA)
    .with(Effects::CREATES_TEMPORARY_TABLE)
    .with(Effects::DROPS_TABLE)
    .with(Effects::PREPARES)
    .with(Effects::DEALLOCATES)
    .with(Effects::NEXT_TRANSACTION)
    .with(Effects::LAST_INSERT_ID);

/// Effects of code that is not in the text.
pub(super) const HIDDEN: Effects =
    Effects::STORED_CODE.with(Effects::ANYTHING).with(Effects::UNSEEN).with(Effects::EXECUTES);

/// Variables set by the text: with several in one statement that fails, some may be set.
const SETTINGS: Effects = Effects::SESSION_VARIABLES
    .with(Effects::COMPUTED_VARIABLES)
    .with(Effects::CHARACTER_SETS)
    .with(Effects::USER_VARIABLES);

/// Errors by which a server says that it did not run this statement, and that another may.
const NOT_HERE: [Error; 3] = [Error::OPTION_PREVENTS_STATEMENT, Error::READ_ONLY_TRANSACTION, Error::READ_ONLY_MODE];

/// Errors by which it says that it runs none: it is being stopped, or is a Galera node outside of its cluster.
const NOT_ANY: [Error; 2] = [Error::SERVER_SHUTDOWN, Error::UNKNOWN_COMMAND];

/// Errors of a statement that was killed, or took as long as it may.
const FINAL: [Error; 4] =
    [Error::QUERY_INTERRUPTED, Error::CONNECTION_KILLED, Error::STATEMENT_TIMEOUT, Error::QUERY_TIMEOUT];

/// What is left of the session to be done when a command is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum After {
    #[default]
    Nothing,
    /// Replica and tracking are as before the login.
    Reset,
    /// The transaction is over, and one in step with it is open at the replica.
    Commit,
    /// The transaction is refused, and must be rolled back.
    RollBack,
    /// The client was told that its transaction is lost.
    Abandon,
    /// The replica's connection is not as home's any more: home must run what made it so.
    Repeat,
}

impl Split {
    /// The first packet of a prepare reply. Gives the number that the client gets in place of the server's.
    pub(in crate::session) fn prepared(&mut self, payload: &[u8]) -> Option<StatementId> {
        let (Kind::Prepare(preparation), Ok(prepared)) = (&mut self.current.kind, Prepared::parse(payload)) else {
            return None;
        };
        self.current.leaves_conditions = prepared.warnings > 0;
        preparation.at_home = Some(prepared.id);
        preparation.parameters = prepared.parameters;
        let number = if self.lent.is_some() { self.statements.number_for(preparation) } else { None };
        preparation.id = Some(number.unwrap_or(prepared.id));
        number
    }

    /// More of a reply that tells what a statement's parameters and columns look like.
    pub(in crate::session) fn described(&mut self, bytes: &[u8]) {
        if let Kind::Prepare(preparation) = &mut self.current.kind
            && preparation.id.is_some()
        {
            preparation.definitions.add(bytes);
        }
    }

    /// Home may run the read in the replica's place. It cannot tell what became of a statement that ran elsewhere, nor
    /// show the snapshot of a transaction that has read elsewhere.
    pub(in crate::session) fn may_repeat(&self) -> bool {
        let asks_replica = self.current.classification.class == Class::ReadOfConnection;
        self.current.at == Side::Replica && !asks_replica && !self.replicas.have_snapshot()
    }

    /// Whether an error says that the statement was not run here.
    pub(in crate::session) fn is_not_here(code: u16) -> bool {
        NOT_HERE.iter().any(|error| error.code.0 == code)
    }

    /// Whether an error of a replica is the client's to hear: home would not know of the KILL, and would take as long.
    pub(in crate::session) fn is_final(code: u16) -> bool {
        FINAL.iter().any(|error| error.code.0 == code)
    }

    /// Whether an error says that the server runs nothing.
    pub(in crate::session) fn is_of_no_use(code: u16) -> bool {
        NOT_ANY.iter().any(|error| error.code.0 == code)
    }

    /// The read under way is repeated at home: what home must get.
    pub(in crate::session) fn repeat_at_home(&mut self) -> Vec<u8> {
        self.current.at = Side::Server;
        self.current.changes_unseen = self.may_change_unseen(self.retained.last());
        self.counts.count_repeated();
        self.repetition(Repetition::OfLast)
    }

    /// The command under way is over.
    pub(in crate::session) fn finished(&mut self, end: ReplyEnd, status: StatusFlags, now: Instant) -> After {
        let error = end.error;
        // An error has no flags: those are of the reply before.
        let status = if error.is_some() { status.without(StatusFlags::SESSION_STATE_CHANGED) } else { status };
        self.note_last(end);
        if self.current.at == Side::Replica {
            return self.read_at_replica(status, now);
        }
        self.note_owed_position(end);
        if matches!(self.current.kind, Kind::Reset) && error.is_none() {
            return self.was_reset();
        }
        if let Kind::Prepare(_) = self.current.kind {
            match (std::mem::replace(&mut self.current.kind, Kind::Other), error) {
                (Kind::Prepare(preparation), None) => self.prepared_by_client(preparation),
                _ => self.statements.forget_last(),
            }
            return After::Nothing;
        }
        let is_over = self.ends_transaction(error) || !status.contains(StatusFlags::IN_TRANS);
        if is_over {
            self.looked_in_transaction = false;
        }
        self.note_cursor(error, status);
        self.note_late_schema(status);
        self.executed(end, status, now);
        self.looked_in_transaction &= status.contains(StatusFlags::IN_TRANS);
        match self.replicas.get_mut().filter(|replica| is_over && replica.in_transaction) {
            Some(replica) => {
                replica.is_outlived = true;
                After::Commit
            }
            None => After::Nothing,
        }
    }

    /// What fails may have committed before: a definition of a table, a procedure. The next OK packet tells of that.
    fn note_owed_position(&mut self, end: ReplyEnd) {
        let is_told = end.status.is_some() && !matches!(self.current.kind, Kind::Prepare(_));
        self.may_owe_position = end.error.is_some() || self.may_owe_position && !is_told;
    }

    /// One transaction may follow another at once, and the status never says so.
    fn ends_transaction(&self, error: Option<u16>) -> bool {
        let ends = Effects::BEGINS_TRANSACTION.with(Effects::ENDS_TRANSACTION).with(Effects::IMPLICIT_COMMIT);
        error.is_none() && self.current.classification.effects.intersects(ends)
    }

    /// What home's answer to the command under way has to count in place of what it counts.
    pub(super) fn recount(&self) -> Option<u16> {
        if self.current.recounts { self.conditions.count() } else { None }
    }

    /// A statement ran at home.
    fn executed(&mut self, end: ReplyEnd, status: StatusFlags, now: Instant) {
        let error = end.error;
        self.note_stale_reads(end);
        let effects = self.current.classification.effects;
        let hides_code = effects.intersects(HIDDEN) || self.reads_what_may_hide_code();
        match error {
            None => {
                self.pins.executed(effects);
                self.note_views(effects);
                self.note_locks(effects);
                self.note_text_statements(effects);
                self.told_by_text(effects);
            }
            Some(_) if effects.contains(Effects::COMPUTED_USER_VARIABLES) => self.journal.forget_user_variables(),
            Some(_) if effects.intersects(SETTINGS) && !self.sets_one_thing() => self.pins.hidden(),
            Some(_) if effects.intersects(SETTINGS) => {}
            Some(_) if effects.intersects(Effects::ANYTHING) || self.current.classification.statements > 1 => {
                self.pins.executed(effects);
                self.pins.hidden();
            }
            Some(_) => {}
        }
        // Of `SET @@name` MariaDB tells only by its text. A connection that is lent is not asked behind every such statement.
        let may_set = effects.intersects(Effects::ANYTHING) && matches!(self.family, sql::Family::MariaDb { .. });
        self.may_have_set_unseen |= may_set && self.lent.is_none();
        match hides_code {
            true if self.only_triggers_may_run() => self.journal.doubt_user_variables(),
            true => self.journal.forget_user_variables(),
            false => {}
        }
        // A statement that sets variables for itself has the flag for that alone, unless it may run what nobody sees.
        let is_explained = self.current.sets_for_itself && !hides_code;
        let says_more = !is_explained && (self.current.state_changed || self.has_unexplained(status));
        if hides_code && end.has_rows && self.tells_nothing_behind_rows() {
            self.pins.hidden();
        }
        if says_more && (effects.intersects(HIDDEN) || !effects.intersects(EXPLAINED)) && !self.is_plain_command() {
            self.pins.hidden();
        }
        if self.current.has_position {
            self.sight.wrote(now);
        }
        // What follows a commit in the same command may have seen more than that.
        let may_look_again = effects.intersects(Effects::ANYTHING.with(Effects::EXECUTES).with(Effects::UNSEEN))
            || self.current.classification.statements > 1;
        if self.looks_at_data() && (may_look_again || !self.current.has_position) {
            self.sight.looked_home(self.current.classification.class != Class::Read, now);
        }
        self.looked_in_transaction |= self.looks_at_data() || self.may_have_snapshot();
        if !self.is_plain_command() {
            let is_done = error.is_none();
            let has_ended = is_done && (self.current.has_position || effects.contains(Effects::ENDS_TRANSACTION));
            let is_for_next = is_done && effects.contains(Effects::NEXT_TRANSACTION);
            self.pins.transaction(is_for_next, status.contains(StatusFlags::IN_TRANS), has_ended);
        }
    }

    /// Of several settings some hold though the statement failed; one alone that failed was not set.
    fn sets_one_thing(&self) -> bool {
        let Classification { effects, statements, .. } = self.current.classification;
        let runs_more = effects.intersects(HIDDEN.with(Effects::COMPUTED_VARIABLES));
        let is_plain = statements == 1 && effects.intersects(TOLD_BY_TEXT) && !runs_more;
        let text = if is_plain { self.executed_text() } else { None };
        text.is_some_and(|text| sql::is_one_assignment(&text, self.reading))
    }

    /// Locks that a statement took or released.
    fn note_locks(&mut self, effects: Effects) {
        if !effects.intersects(Effects::TAKES_USER_LOCK.with(Effects::RELEASES_USER_LOCK)) {
            return;
        }
        match self.executed_text() {
            Some(text) => self.pins.user_locks.called(&text, self.reading),
            None if effects.contains(Effects::TAKES_USER_LOCK) => self.pins.user_locks.took_some(),
            None => {}
        }
    }

    /// Statements that were prepared or deallocated by text.
    fn note_text_statements(&mut self, effects: Effects) {
        if !effects.intersects(Effects::PREPARES.with(Effects::DEALLOCATES)) {
            return;
        }
        match self.executed_text() {
            Some(text) => {
                let reading = Reading { text: &text, dialect: self.reading, journal: &self.journal };
                self.pins.text_statements.executed(reading);
            }
            None if effects.contains(Effects::PREPARES) => self.pins.text_statements.prepared_some(),
            None => {}
        }
    }

    /// Where results end with EOF packets, these say that something changed, and not what.
    pub(super) fn has_unexplained(&self, status: StatusFlags) -> bool {
        self.eof_tells_nothing && status.contains(StatusFlags::SESSION_STATE_CHANGED) && !self.current.has_trackers
    }

    /// A plain read may run stored code: a view's, or what a replica refused for some reason.
    fn reads_what_may_hide_code(&self) -> bool {
        let is_plain = self.current.classification.effects.is_empty() && !self.current.sets_for_itself;
        self.current.changes_unseen && is_plain
    }

    /// MySQL's EOF packets do not even say that something changed.
    fn tells_nothing_behind_rows(&self) -> bool {
        self.eof_tells_nothing && matches!(self.family, sql::Family::MySql { .. })
    }

    fn is_plain_command(&self) -> bool {
        matches!(self.current.kind, Kind::Other)
    }

    /// What only the statement's text tells.
    fn told_by_text(&mut self, effects: Effects) {
        if !effects.intersects(TOLD_BY_TEXT.with(Effects::DROPS_TABLE)) {
            return;
        }
        let dialect = self.reading;
        if let Some(text) = self.executed_text() {
            let text = text.as_slice();
            if effects.contains(Effects::USER_VARIABLES) && !effects.contains(Effects::COMPUTED_USER_VARIABLES) {
                self.journal.assigned(text, dialect);
            }
            if effects.contains(Effects::COMPUTED_USER_VARIABLES) {
                self.journal.may_have_assigned(text, dialect);
            }
            match effects.contains(Effects::ROLE) {
                // The others must not be said again with it.
                true if self.current.classification.statements > 1 => self.pins.hidden(),
                true => self.journal.set_role(text),
                false => {}
            }
            if effects.contains(Effects::CHARACTER_SETS) {
                self.journal.named(text, dialect);
                // The collation that it gives is the schema's, of which no server tells.
                let is_set = |assignment: sql::Assignment| matches!(assignment.value, sql::ValueKind::CharacterSet(_));
                self.may_have_set_unseen |= sql::assignments(text, dialect).any(is_set);
            }
            self.note_tables(text, effects, dialect);
            if !self.current.has_trackers {
                self.learn_untold(&[]);
            }
            if effects.contains(Effects::SERVER_BOUND) {
                self.note_bound_variables(text, dialect);
            }
        } else if effects.contains(Effects::SERVER_BOUND) {
            self.pins.bind_for_good();
        }
    }

    /// Variables bound to the server that a SET gave values, or their defaults again.
    fn note_bound_variables(&mut self, text: &[u8], dialect: sql::Dialect) {
        let is_alone = self.current.classification.statements == 1;
        let mut is_any = false;
        for assignment in sql::assignments(text, dialect).filter(|assignment| assignment.scope == sql::Scope::Session) {
            let name = assignment.name.of(text);
            if !sql::is_server_bound(name) {
                continue;
            }
            is_any = true;
            let value = assignment.value.span().of(text);
            let is_default = value.eq_ignore_ascii_case(b"DEFAULT");
            if is_default { self.pins.release_from_server(name) } else { self.pins.bind_to_server(name) }
        }
        // Of several statements only the first was read.
        if !is_alone || !is_any {
            self.pins.bind_for_good();
        }
    }

    /// The text that was executed; none of a command without any.
    pub(super) fn executed_text(&self) -> Option<Vec<u8>> {
        let command = if self.current.at == Side::Replica { self.retained.last() } else { &self.at_home };
        match self.current.kind {
            Kind::Query => text_of(command, self.query_attributes).map(<[u8]>::to_vec),
            Kind::Execute => {
                self.executing.and_then(|id| self.statements.find(id)).map(|statement| statement.text.clone())
            }
            Kind::Prepare(_) | Kind::Reset | Kind::Fetch | Kind::Other | Kind::Unseen => None,
        }
    }

    /// Temporary tables that a statement made or dropped. The names are those of the text: of several statements in one,
    /// only the first is read.
    fn note_tables(&mut self, text: &[u8], effects: Effects, dialect: sql::Dialect) {
        let makes = effects.contains(Effects::CREATES_TEMPORARY_TABLE);
        let drops = effects.contains(Effects::DROPS_TABLE) && self.pins.has_temporary_tables();
        if makes && self.current.classification.statements > 1 {
            return self.pins.hidden();
        }
        let names = sql::tables_named(text, dialect).filter(|_| makes || drops);
        for name in names.take(if makes { 1 } else { usize::MAX }) {
            let schema = name.schema.map(|schema| schema.of(text)).or(self.journal.schema()).unwrap_or_default();
            let full = [plain(schema), b".", plain(name.table.of(text))].concat();
            if makes { self.pins.temporary_table_made(full) } else { self.pins.table_dropped(&full) }
        }
    }

    /// Whether the statement may have seen or changed data.
    fn looks_at_data(&self) -> bool {
        let classification = &self.current.classification;
        match self.current.kind {
            // The rows of a cursor were found when it was opened.
            Kind::Fetch | Kind::Other | Kind::Prepare(_) | Kind::Reset => false,
            Kind::Unseen => true,
            Kind::Query | Kind::Execute => {
                let is_about_session = matches!(
                    classification.reason,
                    Reason::ChangesSession | Reason::Transaction | Reason::ReadOnlyTransaction | Reason::Empty
                );
                let computes = Effects::COMPUTED_USER_VARIABLES.with(Effects::COMPUTED_VARIABLES).with(HIDDEN);
                !is_about_session || classification.effects.intersects(computes)
            }
        }
    }

    /// A transaction that begins with more than READ ONLY may have its snapshot already.
    fn may_have_snapshot(&self) -> bool {
        let Classification { class, effects, .. } = self.current.classification;
        effects.contains(Effects::BEGINS_TRANSACTION)
            && !effects.contains(Effects::ENDS_TRANSACTION)
            && class != Class::ReadOnlyTransaction
    }

    fn was_reset(&mut self) -> After {
        self.journal.reset();
        self.pins = super::pins::Pins::default();
        (self.stained, self.may_have_set_unseen, self.late_schema, self.owes_schema) = (false, false, false, false);
        self.statements.clear();
        (self.told_transaction, self.has_missed) = (false, false);
        if let Some(replica) = self.replicas.known_mut() {
            replica.home_was_reset();
        }
        self.with_lent(Lent::forgot_ids);
        self.conditions = Conditions::default();
        // Its values are now those that the server gives to new sessions, which may be others than at the login.
        match self.home {
            Home::Telling(_) | Home::Silent(_) | Home::Returned | Home::Owing(_)
                if self.keeps_found_rows_at_reset() =>
            {
                self.journal.await_baseline();
                self.home = Home::Silent(self.tells_by_itself.clone());
            }
            Home::Telling(_) | Home::Silent(_) | Home::Returned | Home::Owing(_) => self.home = Home::Unknown,
            Home::Unknown | Home::Unable => {}
        }
        After::Reset
    }

    /// FOUND_ROWS() of home's last query outlives a reset.
    fn keeps_found_rows_at_reset(&self) -> bool {
        self.found == Side::Server && !self.gives_home_back()
    }
}

/// A name without its quotes.
fn plain(name: &[u8]) -> &[u8] {
    let unquoted = |quote: &[u8]| name.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    unquoted(b"`").or(unquoted(b"\"")).unwrap_or(name)
}
