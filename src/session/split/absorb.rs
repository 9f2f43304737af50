//! What replies say of the session: learnt, and kept from a client that did not ask for it.

use std::time::Instant;

use crate::{
    protocol::{
        error_code::Error,
        response::OkPacket,
        session_track::{self, Tracker},
        statement::Prepared,
        status::StatusFlags,
        writer::Writer,
    },
    sql::{self, Class, Effects, Reason},
};

use super::{super::Side, Home, Kind, Split, Tracking, journal::Noted, plan::text_of};

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

/// Errors by which a server says that it did not run a statement, and that another may.
const NOT_HERE: [Error; 4] =
    [Error::OPTION_PREVENTS_STATEMENT, Error::READ_ONLY_TRANSACTION, Error::READ_ONLY_MODE, Error::UNKNOWN_COMMAND];

/// What is left of the session to be done when a command is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum After {
    #[default]
    Nothing,
    /// Replica and tracking are as before the login.
    Reset,
    /// The transaction is over, and one in step with it is open at the replica.
    Commit,
}

impl Split {
    /// Learns from an OK packet of the command under way, and writes it as the client must see it.
    pub(in crate::session) fn absorb(&mut self, ok: &mut OkPacket) {
        let trackers = ok.trackers.take().unwrap_or_default();
        self.current.has_trackers = !trackers.is_empty();
        if self.current.at == Side::Server {
            self.learn(&trackers);
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
        match self.journal.variable_changed(name, value) {
            Noted::ServerBound => self.pins.bind_to_server(),
            Noted::Tracking => self.pins.own_tracking(),
            Noted::Portable | Noted::Ignored => {}
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

    /// A reply may be looked at for errors that send the read elsewhere.
    pub(in crate::session) fn may_repeat(&self) -> bool {
        self.current.at == Side::Replica
            && !self.replicas.get().is_some_and(|replica| replica.in_transaction && replica.was_read)
    }

    /// Whether an error says that the statement was not run here.
    pub(in crate::session) fn is_not_here(code: u16) -> bool {
        NOT_HERE.iter().any(|error| error.code.0 == code)
    }

    /// The read under way is repeated at home: what home must get.
    pub(in crate::session) fn repeat_at_home(&mut self) -> Vec<u8> {
        self.current.at = Side::Server;
        self.counts.count_repeated();
        self.repetition()
    }

    /// The command under way is over.
    pub(in crate::session) fn finished(&mut self, error: Option<u16>, status: StatusFlags, now: Instant) -> After {
        self.last = self.current.at;
        if self.current.at == Side::Replica {
            if let Some(replica) = self.replicas.get_mut() {
                replica.was_read = true;
            }
            return After::Nothing;
        }
        if matches!(self.current.kind, Kind::Reset) && error.is_none() {
            return self.was_reset();
        }
        if let Kind::Prepare(_) = self.current.kind {
            if let (Kind::Prepare(preparation), None) = (std::mem::replace(&mut self.current.kind, Kind::Other), error)
            {
                self.statements.prepared(preparation);
            }
            return After::Nothing;
        }
        self.executed(error, status, now);
        let is_over = !status.contains(StatusFlags::IN_TRANS);
        if is_over {
            self.looked_in_transaction = false;
        }
        let in_step = self.replicas.get().is_some_and(|replica| replica.in_transaction);
        if is_over && in_step { After::Commit } else { After::Nothing }
    }

    /// A statement ran at home.
    fn executed(&mut self, error: Option<u16>, status: StatusFlags, now: Instant) {
        let effects = self.current.classification.effects;
        let text_was_kept = matches!(self.current.kind, Kind::Query);
        match error {
            None => {
                self.pins.executed(effects);
                if text_was_kept {
                    self.told_by_text(effects);
                }
            }
            // Some of several settings may hold.
            Some(_) if effects.intersects(SETTINGS) => self.pins.hidden(),
            Some(_) if effects.intersects(Effects::ANYTHING) || self.current.classification.statements > 1 => {
                self.pins.executed(effects);
                self.pins.hidden();
            }
            Some(_) => {}
        }
        if effects.intersects(HIDDEN) {
            self.journal.forget_user_variables();
        }
        let says_more = self.current.state_changed || self.has_unexplained(status);
        if says_more && (effects.intersects(HIDDEN) || !effects.intersects(EXPLAINED)) && !self.is_plain_command() {
            self.pins.hidden();
        }
        if self.looks_at_data() && !self.current.has_position {
            self.sight.looked_home(self.current.classification.class != Class::Read, now);
        }
        if self.looks_at_data() {
            self.looked_in_transaction = true;
        }
        if !status.contains(StatusFlags::IN_TRANS) && !effects.contains(Effects::NEXT_TRANSACTION) {
            self.pins.transaction_over();
        }
    }

    /// Where results end with EOF packets, these say that something changed, and not what.
    fn has_unexplained(&self, status: StatusFlags) -> bool {
        self.eof_tells_nothing && status.contains(StatusFlags::SESSION_STATE_CHANGED) && !self.current.has_trackers
    }

    fn is_plain_command(&self) -> bool {
        matches!(self.current.kind, Kind::Other)
    }

    /// What only the statement's text tells.
    fn told_by_text(&mut self, effects: Effects) {
        let dialect = self.reading;
        let retained = std::mem::take(&mut self.retained);
        if let Some(text) = text_of(&retained, self.query_attributes) {
            if effects.contains(Effects::USER_VARIABLES) && !effects.contains(Effects::COMPUTED_USER_VARIABLES) {
                self.journal.assigned(text, dialect);
            }
            if effects.contains(Effects::COMPUTED_USER_VARIABLES) {
                self.journal.may_have_assigned(text, dialect);
            }
            if effects.contains(Effects::ROLE) {
                self.journal.set_role(text);
            }
            self.note_tables(text, effects, dialect);
            if effects.contains(Effects::SESSION_VARIABLES) && self.sets_what_is_not_told(text, dialect) {
                self.pins.bind_to_server();
            }
        }
        self.retained = retained;
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
                of_session(assignment.scope) && !super::readying::is_told_by_mysql(assignment.name.of(text))
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

    fn was_reset(&mut self) -> After {
        self.journal.reset();
        self.pins = super::pins::Pins::default();
        self.statements.clear();
        if let Home::Telling(tracking) = &mut self.home {
            self.home = Home::Silent(std::mem::take(tracking));
        }
        After::Reset
    }
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
            Ok(Tracker::Schema(schema)) if tracking.schema => {
                let mut inner = Vec::new();
                Writer::new(&mut inner).lenenc_bytes(schema);
                write_tracker(&mut out, 1, &inner);
            }
            Ok(Tracker::StateChange) if tracking.state_change => write_tracker(&mut out, 2, b"1"),
            _ => {}
        }
    }
    out
}

fn write_tracker(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    let mut writer = Writer::new(out);
    writer.u8(kind);
    writer.lenenc_bytes(data);
}

impl Tracking {
    fn names(&self, name: &[u8]) -> bool {
        self.variables == b"*" || self.variables.split(|byte| *byte == b',').any(|known| known.trim_ascii() == name)
    }
}
