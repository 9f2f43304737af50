//! What replies say of the session: learnt, and kept from a client that did not ask for it.

use std::time::Instant;

use crate::{
    protocol::{
        error_code::Error,
        response::OkPacket,
        result_set::ReplyEnd,
        session_track::{self, Tracker},
        statement::Prepared,
        status::StatusFlags,
        writer::Writer,
    },
    sql::{self, Class, Classification, Effects, Reason},
};

use super::{
    super::Side,
    Home, Kind, Split, Tracking,
    conditions::Conditions,
    journal::Noted,
    lent::Lent,
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
const HIDDEN: Effects = Effects::STORED_CODE.with(Effects::ANYTHING).with(Effects::UNSEEN).with(Effects::EXECUTES);

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
    /// The replica's connection is not as home's any more: home must run what made it so.
    Repeat,
}

impl Split {
    /// Learns from an OK packet of the command under way, and writes it as the client must see it.
    pub(in crate::session) fn absorb(&mut self, ok: &mut OkPacket) {
        let trackers = ok.trackers.take().unwrap_or_default();
        self.current.has_trackers = !trackers.is_empty();
        match self.current.at {
            Side::Server => self.learn(&trackers),
            _ => self.current.state_changed |= tells_of_state(&trackers),
        }
        let wanted = match &self.home {
            Home::Silent(tracking) | Home::Telling(tracking) if self.client_tracks => filter(&trackers, tracking),
            _ => Vec::new(),
        };
        ok.trackers = (!wanted.is_empty()).then_some(wanted);
    }

    fn learn(&mut self, trackers: &[u8]) {
        for tracker in session_track::iterate(trackers) {
            match tracker {
                Ok(Tracker::SystemVariables(changes)) => {
                    for (name, value) in changes.iterate() {
                        self.variable_changed(name, value);
                    }
                }
                Ok(Tracker::Schema(schema)) => self.journal.set_schema(schema),
                Ok(Tracker::StateChange) => self.current.state_changed = true,
                Ok(Tracker::Gtids(gtids)) => self.committed(gtids),
                Ok(Tracker::TransactionCharacteristics(_) | Tracker::TransactionState(_) | Tracker::Unknown(_)) => {}
                Err(_) => self.pins.hidden(),
            }
        }
    }

    fn variable_changed(&mut self, name: &[u8], value: &[u8]) {
        if name == b"last_gtid" {
            return self.committed(value);
        }
        if name == b"last_insert_id" && self.lent.is_some() {
            // Asked for before the connection goes; MariaDB tells of ours, too.
            return self.with_lent(Lent::has_another_insert_id);
        }
        match self.journal.variable_changed(name, value) {
            Noted::ServerBound => self.pins.bind_to_server(name),
            Noted::Tracking => self.tracking_changed(name, value),
            Noted::Portable | Noted::Ignored => {}
        }
    }

    /// The client chooses what it is told of.
    fn tracking_changed(&mut self, name: &[u8], value: &[u8]) {
        self.pins.own_tracking();
        let (Home::Silent(tracking) | Home::Telling(tracking)) = &mut self.home else { return };
        match name {
            b"session_track_system_variables" => tracking.variables = value.to_vec(),
            b"session_track_schema" => tracking.schema = is_on(value),
            b"session_track_state_change" => tracking.state_change = is_on(value),
            b"session_track_gtids" => tracking.gtids = !value.eq_ignore_ascii_case(b"OFF"),
            _ => {}
        }
    }

    fn committed(&mut self, gtids: &[u8]) {
        if let Some(position) = self.parse_position(gtids) {
            self.sight.committed(position);
            self.current.has_position = true;
        }
    }

    /// The first packet of a prepare reply.
    pub(in crate::session) fn prepared(&mut self, payload: &[u8]) {
        if let (Kind::Prepare(preparation), Ok(prepared)) = (&mut self.current.kind, Prepared::parse(payload)) {
            preparation.id = Some(prepared.id);
            preparation.parameters = prepared.parameters;
        }
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
        self.counts.count_repeated();
        self.repetition()
    }

    /// The command under way is over.
    pub(in crate::session) fn finished(&mut self, end: ReplyEnd, status: StatusFlags, now: Instant) -> After {
        let error = end.error;
        self.note_last(end);
        if self.current.at == Side::Replica {
            return self.read_at_replica(status);
        }
        if matches!(self.current.kind, Kind::Reset) && error.is_none() {
            return self.was_reset();
        }
        if let Kind::Prepare(_) = self.current.kind {
            match (std::mem::replace(&mut self.current.kind, Kind::Other), error) {
                (Kind::Prepare(preparation), None) => self.statements.prepared(preparation),
                _ => self.statements.forget_last(),
            }
            return After::Nothing;
        }
        let is_over = self.ends_transaction(error) || !status.contains(StatusFlags::IN_TRANS);
        if is_over {
            self.looked_in_transaction = false;
        }
        self.executed(error, status, now);
        self.looked_in_transaction &= status.contains(StatusFlags::IN_TRANS);
        match self.replicas.get_mut().filter(|replica| is_over && replica.in_transaction) {
            Some(replica) => {
                replica.is_outlived = true;
                After::Commit
            }
            None => After::Nothing,
        }
    }

    /// One transaction may follow another at once, and the status never says so.
    fn ends_transaction(&self, error: Option<u16>) -> bool {
        let ends = Effects::BEGINS_TRANSACTION.with(Effects::ENDS_TRANSACTION).with(Effects::IMPLICIT_COMMIT);
        error.is_none() && self.current.classification.effects.intersects(ends)
    }

    /// Where to ask about the command that is over. Commands that are no statement leave nothing behind.
    fn note_last(&mut self, end: ReplyEnd) {
        let at = self.current.at;
        match self.current.kind {
            Kind::Other => return,
            // It leaves conditions, and no count of rows.
            Kind::Prepare(_) => {}
            Kind::Query | Kind::Execute | Kind::Reset | Kind::Unseen => self.last = at,
        }
        let leaves_some = end.error.is_some() || end.warnings > 0;
        if leaves_some || !self.current.keeps_conditions {
            self.conditions.left(at, leaves_some);
        }
    }

    /// A statement ran at home.
    fn executed(&mut self, error: Option<u16>, status: StatusFlags, now: Instant) {
        let effects = self.current.classification.effects;
        match error {
            None => {
                self.pins.executed(effects);
                self.note_views(effects);
                self.told_by_text(effects);
            }
            Some(_) if effects.contains(Effects::COMPUTED_USER_VARIABLES) => self.journal.forget_user_variables(),
            // Some of several settings may hold.
            Some(_) if effects.intersects(SETTINGS) => self.pins.hidden(),
            Some(_) if effects.intersects(Effects::ANYTHING) || self.current.classification.statements > 1 => {
                self.pins.executed(effects);
                self.pins.hidden();
            }
            Some(_) => {}
        }
        match effects.intersects(HIDDEN) {
            true if self.only_triggers_may_run() => self.journal.doubt_user_variables(),
            true => self.journal.forget_user_variables(),
            false => {}
        }
        let says_more = self.current.state_changed || self.has_unexplained(status);
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
        let may_be_next = !effects.contains(Effects::NEXT_TRANSACTION) && !self.is_plain_command();
        if may_be_next && !status.contains(StatusFlags::IN_TRANS) {
            self.pins.transaction_over();
        }
    }

    /// Where results end with EOF packets, these say that something changed, and not what.
    pub(super) fn has_unexplained(&self, status: StatusFlags) -> bool {
        self.eof_tells_nothing && status.contains(StatusFlags::SESSION_STATE_CHANGED) && !self.current.has_trackers
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
            self.note_tables(text, effects, dialect);
            if effects.contains(Effects::SESSION_VARIABLES) && self.sets_what_is_not_told(text, dialect) {
                self.pins.bind_for_good();
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
        match self.current.kind {
            Kind::Query => text_of(&self.retained, self.query_attributes).map(<[u8]>::to_vec),
            Kind::Execute => {
                self.executing.and_then(|id| self.statements.find(id)).map(|statement| statement.text.clone())
            }
            Kind::Prepare(_) | Kind::Reset | Kind::Other | Kind::Unseen => None,
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

    /// Whether a SET names a variable that the server does not tell of.
    fn sets_what_is_not_told(&self, text: &[u8], dialect: sql::Dialect) -> bool {
        let of_session = |scope| matches!(scope, sql::Scope::Session);
        matches!(self.family, sql::Family::MySql { .. })
            && sql::assignments(text, dialect).any(|assignment| {
                let name = assignment.name.of(text);
                // It tells of characteristics under the names of two variables.
                let is_told = matches!(assignment.value, sql::ValueKind::Characteristics(_))
                    || super::words::is_told_by_mysql(name);
                of_session(assignment.scope) && !sql::is_server_bound(name) && !is_told
            })
    }

    /// Whether the statement may have seen or changed data.
    fn looks_at_data(&self) -> bool {
        let classification = &self.current.classification;
        match self.current.kind {
            Kind::Other | Kind::Prepare(_) | Kind::Reset => false,
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
        self.statements.clear();
        self.conditions = Conditions::default();
        // Its values are now those that the server gives to new sessions, which may be others than at the login.
        if let Home::Telling(_) | Home::Silent(_) = self.home {
            self.home = Home::Unknown;
        }
        After::Reset
    }
}

fn tells_of_state(trackers: &[u8]) -> bool {
    session_track::iterate(trackers).any(|tracker| tracker == Ok(Tracker::StateChange))
}

/// A name without its quotes.
fn plain(name: &[u8]) -> &[u8] {
    let unquoted = |quote: &[u8]| name.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    unquoted(b"`").or(unquoted(b"\"")).unwrap_or(name)
}

/// Those trackers that the server would have sent the client without us.
fn filter(trackers: &[u8], tracking: &Tracking) -> Vec<u8> {
    let mut out = Vec::new();
    for tracker in session_track::iterate(trackers) {
        match tracker {
            Ok(Tracker::SystemVariables(changes)) => {
                for (name, value) in changes.iterate().filter(|(name, _)| tracking.names(name)) {
                    let mut inner = Vec::new();
                    let mut writer = Writer::new(&mut inner);
                    writer.lenenc_bytes(name);
                    writer.lenenc_bytes(value);
                    write_tracker(&mut out, 0, &inner);
                }
            }
            Ok(Tracker::Schema(schema)) if tracking.schema => write_text_tracker(&mut out, 1, b"", schema),
            Ok(Tracker::StateChange) if tracking.state_change => write_tracker(&mut out, 2, b"1"),
            Ok(Tracker::Gtids(gtids)) if tracking.gtids => write_text_tracker(&mut out, 3, b"\0", gtids),
            // Nobody but the client asks for these.
            Ok(Tracker::TransactionCharacteristics(text)) => write_text_tracker(&mut out, 4, b"", text),
            Ok(Tracker::TransactionState(text)) => write_text_tracker(&mut out, 5, b"", text),
            _ => {}
        }
    }
    out
}

fn write_text_tracker(out: &mut Vec<u8>, kind: u8, head: &[u8], text: &[u8]) {
    let mut data = head.to_vec();
    Writer::new(&mut data).lenenc_bytes(text);
    write_tracker(out, kind, &data);
}

fn write_tracker(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    let mut writer = Writer::new(out);
    writer.u8(kind);
    writer.lenenc_bytes(data);
}

/// Whether a variable's value, as servers write it, means yes.
pub(super) fn is_on(value: &[u8]) -> bool {
    value == b"1" || value.eq_ignore_ascii_case(b"ON")
}

impl Tracking {
    fn names(&self, name: &[u8]) -> bool {
        self.variables == b"*" || self.variables.split(|byte| *byte == b',').any(|known| known.trim_ascii() == name)
    }
}
