//! What a server tells of the session: home is made to tell more than the client asked for, and all of that is learnt and
//! taken out again, so that the client sees what its server alone would have told it.
//!
//! A client that names the variables which decide about this, to set or to read them, is given its own values back first
//! (`Chore::ReturnTracking`). From then on home tells what the client wants and nothing else, and everything stays there.

use crate::{
    protocol::{
        response::OkPacket,
        session_track::{self, Tracker, VariableChanges},
        status::StatusFlags,
        writer::Writer,
    },
    session::{
        Side,
        split::{Home, Split, lent::Lent},
    },
    sql::{self, Classification, Effects, Needs, Reason},
};

use super::Noted;

/// The beginning of the names of all variables that decide what a server tells. A pattern may end behind it.
const TRACKING_VARIABLES: &[u8] = b"session_track";

/// What a server would tell the client of changes without us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session::split) struct Tracking {
    /// Names between commas, or `*`, as the server has them.
    pub(in crate::session::split) variables: Vec<u8>,
    pub(in crate::session::split) schema: bool,
    pub(in crate::session::split) state_change: bool,
    /// MySQL's: `OFF`, `OWN_GTID`, `ALL_GTIDS`. Nothing on MariaDB.
    pub(in crate::session::split) gtids: Vec<u8>,
}

impl Tracking {
    /// The names that it tells of, without those that say nothing or could not be written into a statement.
    pub(in crate::session::split) fn names(&self) -> impl Iterator<Item = &str> {
        let is_plain = |name: &&[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.*".contains(byte));
        let names = self.variables.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.filter(is_plain).filter_map(|name| std::str::from_utf8(name).ok()).filter(|name| !name.is_empty())
    }

    pub(in crate::session::split) fn has_gtids(&self) -> bool {
        !self.gtids.is_empty() && !self.gtids.eq_ignore_ascii_case(b"OFF")
    }

    fn tells_of(&self, name: &[u8]) -> bool {
        self.names().any(|known| known == "*" || known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// A new value of one of [`TRACKING_VARIABLES`].
    fn changed(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"session_track_system_variables" => self.variables = value.to_vec(),
            b"session_track_schema" => self.schema = is_on(value),
            b"session_track_state_change" => self.state_change = is_on(value),
            b"session_track_gtids" => self.gtids = value.to_vec(),
            _ => {}
        }
    }
}

/// Whether a variable's value, as servers write it, means yes.
pub(in crate::session::split) fn is_on(value: &[u8]) -> bool {
    value == b"1" || value.eq_ignore_ascii_case(b"ON")
}

/// Variables that may make the same read find other rows.
const DECIDE_ABOUT_ROWS: [&[u8]; 6] = [
    b"sql_select_limit",
    b"time_zone",
    b"character_set_client",
    b"character_set_connection",
    b"collation_connection",
    b"max_join_size",
];

impl Split {
    /// Learns from an OK packet of the command under way, and writes it as the client must see it.
    pub(in crate::session) fn absorb(&mut self, ok: &mut OkPacket) {
        let Some(trackers) = ok.trackers.take() else { return };
        self.current.has_trackers = !trackers.is_empty();
        let hides_schema = self.current.at == Side::Server && self.is_schema_of_repetition(&trackers);
        let is_known = |tracker| match tracker {
            Ok(Tracker::Schema(schema)) => schema == self.journal.schema().unwrap_or_default(),
            _ => false,
        };
        let knows_schema = session_track::iterate(&trackers).any(is_known);
        match self.current.at {
            Side::Server => self.learn(&trackers),
            _ => self.current.state_changed |= tells_of_state(&trackers),
        }
        ok.trackers = match self.asked_for() {
            Some(tracking) => {
                let kept = match hides_schema {
                    true => filter(&trackers, &Tracking { schema: false, ..tracking.clone() }),
                    false => filter(&trackers, tracking),
                };
                let kept = self.in_time(kept, knows_schema);
                (!kept.is_empty() || self.may_tell_nothing(&trackers, ok.status)).then_some(kept)
            }
            None => Some(trackers),
        };
    }

    /// Whether MySQL would have sent the client an empty block. It does when a transaction took the place of one before
    /// it, as with COMMIT AND CHAIN: something changed, and all is as it was told.
    fn may_tell_nothing(&self, trackers: &[u8], status: StatusFlags) -> bool {
        let begins = self.current.classification.effects.contains(Effects::BEGINS_TRANSACTION);
        let is_chained = self.told_transaction && begins && status.contains(StatusFlags::IN_TRANS);
        let has_position = || session_track::iterate(trackers).any(|tracker| matches!(tracker, Ok(Tracker::Gtids(_))));
        // Where EOF packets had no room for a position, it is told of behind them as of nothing.
        let is_told_in_time = !self.eof_tells_nothing || matches!(self.home, Home::Owing(_));
        let is_own = trackers.is_empty() && is_told_in_time && !self.hears_late_of_position();
        is_own || (is_chained && (trackers.is_empty() || has_position()))
    }

    /// Whether home's word of nothing may be about a position that an error had no room for, which only we asked for. A
    /// transaction in which nothing may be said of positions goes on, so nothing was committed.
    fn hears_late_of_position(&self) -> bool {
        match &self.home {
            Home::Silent(tracking) | Home::Telling(tracking) => self.may_owe_position && !tracking.has_gtids(),
            Home::Owing(_) | Home::Unknown | Home::Returned | Home::Unable => false,
        }
    }

    /// What the client asked for, if its server was asked for more.
    fn asked_for(&self) -> Option<&Tracking> {
        match &self.home {
            Home::Silent(tracking) | Home::Telling(tracking) | Home::Owing(tracking) => Some(tracking),
            Home::Unknown | Home::Returned | Home::Unable => None,
        }
    }

    /// Whether the flag of state changes in the reply's EOF packets, which say no more, is taken for one that home sets
    /// only because of what it was asked for.
    pub(in crate::session) fn hides_changes_in_eof(&self) -> bool {
        self.eof_tells_nothing && self.current.changes_unseen && matches!(self.home, Home::Telling(_))
    }

    /// Whether the command may change what its reply need not tell of. Of a plain read MariaDB says by itself that
    /// something changed, when it reads a view of another schema.
    pub(in crate::session::split) fn may_change_unseen(&self, payload: &[u8]) -> bool {
        match self.current.sets_for_itself {
            true => self.sets_what_is_not_told(payload),
            false => {
                self.eof_tells_nothing
                    && (!self.current.classification.effects.is_empty()
                        || self.reads_hidden_view(payload)
                        || self.was_refused(payload))
            }
        }
    }

    /// Whether a command sets variables for itself alone. MariaDB tells of them with the values that they had meanwhile.
    pub(in crate::session::split) fn sets_for_itself(&self, payload: &[u8]) -> bool {
        if let sql::Family::MySql { .. } = self.family {
            return false;
        }
        let text = self.text_of_statement(payload).unwrap_or_default().trim_ascii_start();
        let may_set = match text {
            [b'/' | b'#' | b'-', ..] => true,
            [set @ .., _] => set.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"set")),
            [] => false,
        };
        may_set && sql::variables_for_a_statement(text, self.reading).next().is_some()
    }

    /// Whether what it sets for itself is nothing that home would tell the client of: then the flag of state changes behind
    /// its rows, which has no names, is for us.
    pub(in crate::session::split) fn sets_what_is_not_told(&self, payload: &[u8]) -> bool {
        let text = self.text_of_statement(payload).filter(|_| self.eof_tells_nothing && self.current.sets_for_itself);
        let (Some(text), Some(asked)) = (text, self.asked_for()) else { return false };
        let is_told = |name: sql::Span| asked.tells_of(sql::unquoted(name.of(text)));
        !asked.state_change && !sql::variables_for_a_statement(text, self.reading).any(is_told)
    }

    /// Whether a variable was set only as long as the command under way ran.
    fn is_set_for_itself(&self, name: &[u8]) -> bool {
        let text = if self.current.sets_for_itself { self.executed_text() } else { None };
        text.is_some_and(|text| {
            let mut names = sql::variables_for_a_statement(&text, self.reading);
            names.any(|set| sql::unquoted(set.of(&text)).eq_ignore_ascii_case(name))
        })
    }

    fn learn(&mut self, trackers: &[u8]) {
        for tracker in session_track::iterate(trackers) {
            match tracker {
                Ok(Tracker::SystemVariables(changes)) => {
                    let outlasts = |(name, _): &(&[u8], &[u8])| !self.is_set_for_itself(name);
                    let lasting: Vec<(&[u8], &[u8])> = changes.iterate().filter(outlasts).collect();
                    for (name, value) in lasting {
                        if name == b"character_set_connection" && !names_variable(trackers, b"collation_connection") {
                            self.journal.collation_follows();
                        }
                        self.variable_changed(name, value);
                    }
                }
                Ok(Tracker::Schema(schema)) => {
                    if self.journal.schema() != Some(schema) {
                        self.retained.grow_stale();
                    }
                    self.journal.set_schema(schema);
                }
                Ok(Tracker::StateChange) => self.current.state_changed = true,
                Ok(Tracker::Gtids(gtids)) => self.committed(gtids),
                Ok(Tracker::TransactionState(state)) => self.told_transaction = state.starts_with(b"T"),
                Ok(Tracker::TransactionCharacteristics(_) | Tracker::Unknown(_)) => {}
                Err(_) => self.pins.hidden(),
            }
        }
        self.learn_untold(trackers);
    }

    fn sets_variables(&self) -> bool {
        self.current.classification.effects.contains(Effects::SESSION_VARIABLES)
    }

    /// Variables that a SET has set and the server does not tell of: MySQL those that it was not asked for, MariaDB
    /// `@@name` without a scope, MariaDB 11 those that share a word with one that it was asked for before, of which it
    /// tells in their place.
    pub(in crate::session::split) fn learn_untold(&mut self, trackers: &[u8]) {
        if !self.sets_variables() {
            return;
        }
        let Some(text) = self.executed_text() else { return };
        if self.current.classification.statements > 1 {
            // Only the first of them would be read.
            if matches!(self.family, sql::Family::MariaDb { .. }) && memchr::memmem::find(&text, b"@@").is_some() {
                self.pins.bind_for_good();
            }
            return;
        }
        for assignment in
            sql::assignments(&text, self.reading).filter(|assignment| is_untold(assignment, &text, trackers))
        {
            let name = sql::unquoted(assignment.name.of(&text)).to_ascii_lowercase();
            match plain_value(assignment.value, &text) {
                Some(value) => self.variable_changed(&name, value),
                None => self.pins.bind_for_good(),
            }
        }
    }

    pub(in crate::session::split) fn variable_changed(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"last_gtid" => return self.committed(value),
            // Asked for before the connection goes; MariaDB tells of ours, too.
            b"last_insert_id" if self.lent.is_some() => return self.with_lent(Lent::has_another_insert_id),
            // It may stand for another variable that one of several statements has set: see `learn_untold`.
            b"autocommit" if self.sets_variables() && self.current.classification.statements > 1 => self.pins.hidden(),
            // With it, a condition means the row that was inserted last, which only home knows.
            b"sql_auto_is_null" if is_on(value) => self.pins.bind_to_server(name),
            b"sql_auto_is_null" => self.pins.release_from_server(name),
            _ => {}
        }
        if DECIDE_ABOUT_ROWS.contains(&name) && self.journal.value(name) != Some(value) {
            self.retained.grow_stale();
        }
        match self.journal.variable_changed(name, value) {
            Noted::ServerBound => self.pins.bind_to_server(name),
            Noted::Tracking => self.tracking_changed(name, value),
            Noted::Portable | Noted::Ignored => {}
        }
    }

    /// Code that nobody has seen chose what the client is told of.
    fn tracking_changed(&mut self, name: &[u8], value: &[u8]) {
        self.pins.own_tracking();
        if let Home::Silent(tracking) | Home::Telling(tracking) = &mut self.home {
            tracking.changed(name, value);
        }
    }

    fn committed(&mut self, gtids: &[u8]) {
        if let Some(position) = self.parse_position(gtids) {
            self.sight.committed(position);
            self.current.has_position = true;
        }
    }

    /// Home tells again what the client asked for, and nothing else.
    pub(in crate::session::split) fn tracking_returned(&mut self) {
        self.home = Home::Returned;
        self.pins.own_tracking();
    }

    /// Whether home would refuse a SET of what it tells of positions.
    pub(in crate::session::split) fn may_not_speak_of_gtids(&self, status: StatusFlags) -> bool {
        self.knows_gtid_tracker() && status.contains(StatusFlags::IN_TRANS)
    }

    /// Home tells again what the client asked for, and of positions as long as its transaction lasts.
    pub(in crate::session::split) fn owe_gtids(&mut self) {
        if let Home::Telling(Tracking { gtids, .. }) = &mut self.home {
            let gtids = std::mem::take(gtids);
            self.home = Home::Owing(Tracking { variables: b"*".to_vec(), schema: true, state_change: true, gtids });
            self.pins.own_tracking();
        }
    }
}

/// Whether a command is about what servers tell: then it must find what the client asked for.
pub(in crate::session::split) fn is_about_tracking(text: Option<&[u8]>, classification: &Classification) -> bool {
    let Classification { effects, needs, reason, .. } = classification;
    let may_name_it = effects.intersects(Effects::SERVER_BOUND.with(Effects::PREPARES))
        || needs.contains(Needs::SERVER)
        || matches!(reason, Reason::ServerShow | Reason::SetStatement);
    let names_it =
        |text: &[u8]| text.windows(TRACKING_VARIABLES.len()).any(|part| part.eq_ignore_ascii_case(TRACKING_VARIABLES));
    may_name_it && text.is_some_and(names_it)
}

/// Whether a SET's assignment is to a variable of the session that the reply does not name.
fn is_untold(assignment: &sql::Assignment, text: &[u8], trackers: &[u8]) -> bool {
    const OF_TRANSACTIONS: [&[u8]; 4] =
        [b"transaction_isolation", b"transaction_read_only", b"tx_isolation", b"tx_read_only"];
    // SET NAMES and its like, as words: of them all servers tell.
    const OF_CHARACTERS: [&[u8]; 4] = [b"names", b"charset", b"character", b"char"];
    let name = assignment.name.of(text);
    let is_one_of = |names: &[&[u8]]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    match assignment.value {
        _ if assignment.scope != sql::Scope::Session || is_one_of(&OF_CHARACTERS) => false,
        // The text tells what becomes of these.
        _ if sql::is_server_bound(name) => false,
        sql::ValueKind::Characteristics(_) => !OF_TRANSACTIONS.iter().any(|name| names_variable(trackers, name)),
        _ => !names_variable(trackers, name),
    }
}

fn names_variable(trackers: &[u8], name: &[u8]) -> bool {
    session_track::iterate(trackers).any(|tracker| match tracker {
        Ok(Tracker::SystemVariables(changes)) => changes.iterate().any(|(known, _)| known.eq_ignore_ascii_case(name)),
        _ => false,
    })
}

/// A value that a server takes as it is written: a number, a word, a string without anything to escape.
fn plain_value(value: sql::ValueKind, text: &[u8]) -> Option<&[u8]> {
    let sql::ValueKind::Literal(literal) = value else { return None };
    let literal = literal.of(text);
    if let Some(inner) = literal.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'")) {
        return inner.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"'\\".contains(byte)).then_some(inner);
    }
    let is = |word: &str| literal.eq_ignore_ascii_case(word.as_bytes());
    match literal {
        _ if is("TRUE") => Some(b"1"),
        _ if is("FALSE") => Some(b"0"),
        _ if is("ON") || is("OFF") => Some(literal),
        _ if is("DEFAULT") || is("NULL") => None,
        _ => literal.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').then_some(literal),
    }
}

/// Whether trackers say that something changed, and not what.
fn tells_of_state(trackers: &[u8]) -> bool {
    session_track::iterate(trackers).any(|tracker| tracker == Ok(Tracker::StateChange))
}

/// Those trackers that the server would have sent the client without us, byte for byte.
fn filter(trackers: &[u8], tracking: &Tracking) -> Vec<u8> {
    let mut kept = Vec::with_capacity(trackers.len());
    let mut rest = session_track::iterate(trackers);
    let mut start = 0;
    while let Some(tracker) = rest.next() {
        let end = trackers.len() - rest.left();
        let is_wanted = match tracker {
            Ok(Tracker::SystemVariables(changes)) => {
                if changes.iterate().all(|(name, _)| tracking.tells_of(name)) {
                    true
                } else {
                    keep_some(changes, tracking, &mut kept);
                    false
                }
            }
            Ok(Tracker::Schema(_)) => tracking.schema,
            Ok(Tracker::StateChange) => tracking.state_change,
            Ok(Tracker::Gtids(_)) => tracking.has_gtids(),
            // We ask for none of these.
            Ok(Tracker::TransactionCharacteristics(_) | Tracker::TransactionState(_) | Tracker::Unknown(_)) => true,
            Err(_) => false,
        };
        if is_wanted {
            kept.extend_from_slice(&trackers[start..end]);
        }
        start = end;
    }
    kept
}

/// Of a tracker with several variables those that are wanted.
fn keep_some(changes: VariableChanges<'_>, tracking: &Tracking, kept: &mut Vec<u8>) {
    const SYSTEM_VARIABLES: u8 = 0;
    let mut pairs = Vec::new();
    for (name, value) in changes.iterate().filter(|(name, _)| tracking.tells_of(name)) {
        let mut writer = Writer::new(&mut pairs);
        writer.lenenc_bytes(name);
        writer.lenenc_bytes(value);
    }
    if !pairs.is_empty() {
        let mut writer = Writer::new(kept);
        writer.u8(SYSTEM_VARIABLES);
        writer.lenenc_bytes(&pairs);
    }
}
