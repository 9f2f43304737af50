//! The home connection of a session that may get another one.
//!
//! Such a session gives it back between transactions (`backend_reuse = "transaction"`), or keeps it until its server fails
//! the session or is not the one to write to any more ([`Tenure`]). Without one it is between two statements, unless
//! something is left on it that the next one cannot be given (`pins`), or that the next statement may ask for
//! (`Aftermath`). The connection that it gets may be the one it had, which is as it left it; or another session's, which is
//! reset first; or a new one. What the session has set is in the `journal`, and is put on.

use std::{sync::Arc, time::Duration};

use crate::{
    protocol::{command::Command, status::StatusFlags},
    sql::{self, Class, Effects, Needs, Reason},
    topology::ServerId,
};

use super::{
    super::{HomeWant, Loan, Side},
    Home, Kind, Split,
    chore::Chore,
    missing::Next,
    plan::{OF_THE_LAST, text_of},
    reading::Reading,
    stay::Bond,
    values::Values,
};

/// How long a connection is kept for a statement that may ask what the one before it left there.
pub(super) const HOLD: Duration = Duration::from_millis(250);

/// Home connections in a row that may be lost while they are made ready for one command.
const LOSSES_MAX: u32 = 3;

/// When a session lets its home connection go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) enum Tenure {
    /// Behind each transaction: other sessions use it, too.
    #[default]
    Transaction,
    /// Only when its server fails the session, or is not the one to write to any more.
    Session,
}

/// How a session that may change its home connection stands to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lent {
    tenure: Tenure,
    /// It has one.
    is_here: bool,
    /// The one that it has was made ready, and whatever it was told since is on it.
    is_settled: bool,
    fit: Fit,
    /// Kept although nothing of the session binds it: for a statement that asks about the last one.
    is_held: bool,
    /// Nothing of the session was on it, beside what it may be kept for, when the last command was over.
    is_free: bool,
    /// What bound the session to it then.
    bond: Option<Bond>,
    aftermath: Aftermath,
    /// What a sequence gave the session last, which a connection remembers.
    drawn: Aftermath,
    insert_id: InsertId,
    /// Where the last one was.
    server: Option<ServerId>,
    /// The session's count of the connection that it gave back last.
    parked: u64,
    /// It is another server now, whose position nobody knows: it must say that it has all that was written and seen.
    must_wait: bool,
    losses: u32,
    /// Something of the connection changed that nothing can put on another.
    is_stuck: bool,
    /// The journal's version that was looked at, and whether it can be written as SQL.
    written: Option<(u32, bool)>,
    /// The client waits for the end of its login: the sequence id of that packet.
    pub(super) welcome: Option<u8>,
}

/// What was put on a connection.
#[derive(Clone, Debug, Default)]
struct Fit {
    /// It was another session's.
    needs_reset: bool,
    /// It was, or had that taken off by a reset.
    was_ever_reset: bool,
    /// It has the character set of whoever logged in there.
    needs_collation: bool,
    /// A reset does not make it as new: a role stays.
    is_tainted: bool,
    schema: Option<Vec<u8>>,
    /// Its values of the variables that are compared; none until it was asked.
    values: Option<Values>,
    /// The journal's version.
    applied: Option<u32>,
    autocommit: bool,
    role: Option<Vec<u8>>,
    insert_id: u64,
    /// It reads texts so, for a statement to be prepared, and not as the session's settings have it.
    reading: Option<Arc<Reading>>,
}

/// What the last statement left on its connection: counts of rows, warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Aftermath {
    /// Nothing that anybody asks for.
    #[default]
    Nothing,
    /// It is there as long as the connection is.
    There,
    /// The connection is another one now.
    Lost,
}

/// What LAST_INSERT_ID() is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InsertId {
    /// Never made, or asked for: this.
    Known(u64),
    /// A statement may have made one that only the connection knows.
    #[default]
    Unasked,
    /// It was on a connection that was lost.
    Lost,
}

impl Lent {
    /// A session that logged in at a connection of its own, which goes back when it is ready.
    pub(super) fn logged_in(
        tenure: Tenure,
        schema: Option<Vec<u8>>,
        server: Option<ServerId>,
        status: StatusFlags,
    ) -> Lent {
        let autocommit = status.contains(StatusFlags::AUTOCOMMIT);
        let fit = Fit { schema, autocommit, ..Fit::default() };
        let is_settled = tenure == Tenure::Session;
        let insert_id = InsertId::Known(0);
        Lent { tenure, is_here: true, is_settled, fit, is_free: true, server, insert_id, ..Lent::default() }
    }

    /// Where it was, or is.
    pub(super) fn server(&self) -> Option<ServerId> {
        self.server
    }

    /// Whether it goes back between transactions.
    pub(super) fn goes_back(&self) -> bool {
        self.tenure == Tenure::Transaction
    }

    /// A session whose client waits for its OK, and that is lent its first connection.
    pub(super) fn borrowing(sequence: u8) -> Lent {
        Lent { welcome: Some(sequence), is_free: true, insert_id: InsertId::Known(0), ..Lent::default() }
    }

    pub(super) fn is_here(&self) -> bool {
        self.is_here
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    pub(super) fn hold(&mut self) {
        self.is_held = true;
    }

    /// It is not only kept, but used again.
    pub(super) fn stay(&mut self) {
        self.is_held = false;
    }

    pub(super) fn is_free(&self) -> bool {
        self.is_free
    }

    pub(super) fn was_ever_reset(&self) -> bool {
        self.fit.was_ever_reset
    }

    pub(super) fn bond(&self) -> Option<Bond> {
        self.bond
    }

    /// A new connection was logged in to. A session that was reset has other character sets than its login on MySQL.
    pub(super) fn opened(&mut self, schema: Option<Vec<u8>>, status: StatusFlags, needs_reset: bool) {
        let autocommit = status.contains(StatusFlags::AUTOCOMMIT);
        self.fit = Fit { needs_reset, schema, autocommit, ..Fit::default() };
        self.is_here = true;
    }

    /// A connection of the worker's was lent.
    pub(super) fn borrowed(&mut self, loan: &Loan, is_first: bool) {
        self.is_here = true;
        if !loan.is_own {
            let schema = loan.schema.clone();
            let fit = Fit { needs_reset: true, was_ever_reset: true, schema, ..Fit::default() };
            self.fit = Fit { needs_collation: is_first, ..fit };
        }
    }

    /// Another connection than the last one: what the last statement left is not there.
    pub(super) fn is_another(&mut self) {
        if self.aftermath == Aftermath::There {
            self.aftermath = Aftermath::Lost;
        }
    }

    /// Nor is what was drawn from sequences.
    pub(super) fn is_another_connection(&mut self) {
        self.is_another();
        if self.drawn == Aftermath::There {
            self.drawn = Aftermath::Lost;
        }
    }

    /// The connection was lost or given up. Whether another may be tried for the command that waits.
    pub(super) fn lost(&mut self) -> bool {
        self.gone();
        self.losses += 1;
        self.losses <= LOSSES_MAX
    }

    /// The connection is not here any more.
    pub(super) fn gone(&mut self) {
        (self.is_here, self.is_held, self.is_settled) = (false, false, false);
        if self.insert_id == InsertId::Unasked {
            self.insert_id = InsertId::Lost;
        }
        self.is_another_connection();
    }

    pub(super) fn is_ready(&mut self) {
        self.losses = 0;
        self.is_settled = self.is_here && self.tenure == Tenure::Session;
    }

    /// The connection goes back under this count: whether others may have it after a reset, and its schema.
    pub(super) fn park(&mut self, count: u64) -> (bool, Option<Vec<u8>>) {
        (self.is_here, self.is_held) = (false, false);
        self.parked = count;
        (!self.fit.is_tainted, self.fit.schema.clone())
    }

    pub(super) fn parked(&self) -> u64 {
        self.parked
    }

    /// Its server has what was to be waited for.
    pub(super) fn has_all(&mut self) {
        self.must_wait = false;
    }

    pub(super) fn was_reset(&mut self) {
        self.fit.needs_reset = false;
        self.fit.applied = None;
    }

    pub(super) fn has_values(&mut self, values: Values) {
        self.fit.values = Some(values);
    }

    pub(super) fn has_collation(&mut self) {
        self.fit.needs_collation = false;
    }

    /// The connection has a LAST_INSERT_ID() that nobody else knows.
    pub(super) fn has_another_insert_id(&mut self) {
        self.insert_id = InsertId::Unasked;
    }

    /// The statement before was repeated: what it leaves is there.
    pub(super) fn was_repeated(&mut self) {
        self.aftermath = Aftermath::There;
    }

    /// A statement was prepared on the connection: the warnings of the one before are gone.
    pub(super) fn lost_warnings(&mut self) {
        self.is_another();
    }

    /// Settings were put on for a statement: what it has then is not known, and what the last one left is gone.
    pub(super) fn has_reading(&mut self, reading: Arc<Reading>) {
        (self.fit.reading, self.fit.values) = (Some(reading), None);
        self.is_settled = false;
        self.is_another();
    }

    /// The statement was prepared, or will not be: the session's own settings are wanted again.
    pub(super) fn is_done_with_reading(&mut self) {
        if self.fit.reading.is_some() {
            self.fit.applied = None;
        }
    }

    pub(super) fn reading(&self) -> Option<&Reading> {
        self.fit.reading.as_deref()
    }

    pub(super) fn has_insert_id(&mut self, id: u64) {
        self.insert_id = InsertId::Known(id);
        self.fit.insert_id = id;
        // To ask for it was a statement, too.
        self.is_another();
    }

    /// The client changed the connection in a way that nothing can repeat elsewhere.
    pub(super) fn stick(&mut self) {
        self.is_stuck = true;
        self.fit.is_tainted = true;
    }

    /// The command under way puts an end to what the last statement left.
    fn asks_insert_id(&self) -> bool {
        self.insert_id == InsertId::Unasked
    }
}

impl Split {
    pub(super) fn with_lent(&mut self, change: impl FnOnce(&mut Lent)) {
        if let Some(lent) = self.lent.as_deref_mut() {
            change(lent);
        }
    }

    /// What home lacks before a command may go there; `None` also for a session whose home is its own.
    pub(super) fn home_lacks(&self, status: StatusFlags) -> Option<Next> {
        let lent = self.lent.as_deref()?;
        if !lent.is_here {
            return Some(Next::LeaseHome);
        }
        if lent.must_wait {
            // MariaDB waits for nothing on a connection that was reset.
            return Some(if lent.fit.was_ever_reset { Next::LeaveHome } else { Next::Say(Chore::HomeWait) });
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
    pub(super) fn missing_on_home(&self, status: StatusFlags) -> impl Iterator<Item = Chore> {
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

    /// Whether what is asked about is gone with the connection of the last statement.
    pub(super) fn has_lost_the_last(&self) -> bool {
        let needs = self.current.classification.needs;
        self.lent.as_deref().is_some_and(|lent| {
            let is_of_home = needs.intersects(OF_THE_LAST) && self.last_for(needs) == Side::Server;
            let is_lost = is_of_home && lent.aftermath == Aftermath::Lost;
            let is_drawn_elsewhere = lent.drawn == Aftermath::Lost && self.current.asks_what_was_drawn;
            let is_lost = is_lost || is_drawn_elsewhere;
            lent.is_here && (is_lost || needs.contains(Needs::LAST_INSERT_ID) && lent.insert_id == InsertId::Lost)
        })
    }

    /// Whether a statement may ask what its connection drew from a sequence last.
    fn asks_what_was_drawn(&self, payload: &[u8]) -> bool {
        const WORDS: [&[u8]; 3] = [b"lastval", b"previous", b"currval"];
        let is_of_sequence = self.current.classification.reason == Reason::Sequence;
        let text = self.text_of_statement(payload).filter(|_| is_of_sequence).unwrap_or_default().to_ascii_lowercase();
        WORDS.iter().any(|word| memchr::memmem::find(&text, word).is_some())
    }

    /// The command under way does not ask about the statement before, and puts an end to what that left.
    pub(super) fn is_void(&self) -> bool {
        let asks = self.current.classification.needs.intersects(OF_THE_LAST);
        !asks && !matches!(self.current.kind, Kind::Fetch | Kind::Other)
    }

    /// The statement that makes a lent connection like the one before: what home is made to tell, and what the session
    /// has set, or had from its first connection.
    pub(super) fn home_settings(&self, status: StatusFlags) -> Result<Vec<u8>, super::journal::Unwritable> {
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
    pub(super) fn home_has_settings(&mut self, status: StatusFlags) {
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
    pub(super) fn home_took_schema(&mut self) {
        let schema = self.schema_for_home().map(<[u8]>::to_vec);
        self.with_lent(|lent| {
            lent.fit.schema = schema;
            lent.is_settled = false;
            lent.is_another();
        });
    }

    pub(super) fn home_has_role(&mut self) {
        let role = self.journal.role();
        if let Some(lent) = self.lent.as_deref_mut().filter(|lent| lent.fit.role.as_deref() != role) {
            lent.fit.role = self.journal.role().map(<[u8]>::to_vec);
            lent.fit.is_tainted |= lent.fit.role.is_some();
        }
    }

    /// A command ran at home: whatever it changed holds there.
    pub(super) fn home_is_in_step(&mut self, status: StatusFlags) {
        let leaves = self.leaves_aftermath();
        let may_insert = self.current.may_insert;
        let draws = self.current.classification.reason == Reason::Sequence;
        let Some(lent) = self.lent.as_deref_mut() else { return };
        lent.aftermath = leaves.unwrap_or(lent.aftermath);
        if draws {
            lent.drawn = Aftermath::There;
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

    /// What the command leaves for the next one to ask; `None` where it leaves what was there.
    fn leaves_aftermath(&self) -> Option<Aftermath> {
        match self.current.kind {
            // A command to prepare has become a statement by now: it may have left warnings, and no count of rows.
            Kind::Other | Kind::Prepare(_) => self.current.leaves_conditions.then_some(Aftermath::There),
            Kind::Reset => Some(Aftermath::Nothing),
            Kind::Query | Kind::Execute | Kind::Fetch | Kind::Unseen => {
                Some(match self.current.classification.reason {
                    Reason::ChangesSession | Reason::Transaction | Reason::ReadOnlyTransaction | Reason::Empty => {
                        Aftermath::Nothing
                    }
                    _ => Aftermath::There,
                })
            }
        }
    }

    /// Whether a text may leave a LAST_INSERT_ID() that only its connection knows.
    pub(super) fn may_insert(&self, text: Option<&[u8]>) -> bool {
        let classification = &self.current.classification;
        let only_changes = |first: &u8| matches!(first.to_ascii_lowercase(), b'u' | b'd');
        let hides = classification.effects.intersects(Effects::ANYTHING.with(Effects::UNSEEN).with(Effects::EXECUTES));
        let writes = classification.class != Class::Read && classification.reason == Reason::NotARead;
        hides || (writes && !text.and_then(<[u8]>::first).is_some_and(only_changes))
    }

    /// Whether there is a home connection now.
    pub(super) fn has_home(&self) -> bool {
        self.lent.as_deref().is_none_or(Lent::is_here)
    }

    /// What a command means for a connection that is lent.
    pub(super) fn look_for_lent(&mut self, payload: &[u8]) {
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

    /// A command that no server is needed for.
    pub(super) fn is_farewell(&self, payload: &[u8]) -> bool {
        let ends = |code: &u8| matches!(Command::from(*code), Command::Quit | Command::ChangeUser);
        self.lent.is_some() && payload.first().is_some_and(ends)
    }

    /// Whether what a statement may do unseen is what triggers do: then a session that gives its connection back goes on.
    pub(super) fn only_triggers_may_run(&self) -> bool {
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
    pub(super) fn is_bound(&self) -> bool {
        self.lent.is_none() || self.bond_to_home().is_some()
    }

    /// What the session would lose with its home connection, outside of transactions.
    pub(super) fn bond_to_home(&self) -> Option<Bond> {
        let lent = self.lent.as_deref()?;
        // Before its first command a session has nothing that its next home would lack.
        let is_fresh = matches!(self.home, Home::Unknown | Home::Silent(_)) && !self.journal.was_reset();
        let is_known = is_fresh || (matches!(self.home, Home::Telling(_)) && self.journal.is_writable());
        self.binding(self.pins.binding_home(), is_known && !lent.is_stuck)
    }

    /// Whether the session may get another home connection.
    pub(in crate::session) fn may_change_home(&self) -> bool {
        self.lent.is_some()
    }

    /// Whether the home connection goes back between transactions.
    pub(super) fn gives_home_back(&self) -> bool {
        self.lent.as_deref().is_some_and(Lent::goes_back)
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
    pub(super) fn has_aftermath(&self) -> bool {
        let is_there = self.lent.as_deref().is_some_and(|lent| lent.aftermath == Aftermath::There);
        is_there && self.may_be_asked_about(Side::Server)
    }

    /// Whether the connection must be asked for LAST_INSERT_ID() before it goes.
    pub(super) fn must_ask_insert_id(&self) -> bool {
        self.lent.as_deref().is_some_and(Lent::asks_insert_id)
    }

    /// What the next home connection must be like.
    pub(super) fn want_home(&self, required: crate::protocol::capability::Capabilities) -> HomeWant {
        let last = self.lent.as_deref().map_or(0, Lent::parked);
        let must_wait = self.lent.as_deref().is_some_and(|lent| lent.must_wait);
        let may_be_reset = !must_wait && !self.needs_unreset_home();
        HomeWant { required, has_schema: self.journal.schema().is_some(), may_be_reset, last }
    }

    pub(super) fn moved_to(&mut self, server: ServerId) {
        let knows_no_positions = self.replicas_wait && matches!(self.family, sql::Family::MariaDb { .. });
        if let Some(lent) = self.lent.as_deref_mut() {
            let before = lent.server.replace(server);
            lent.must_wait |= knows_no_positions && before.is_some_and(|before| before != server);
        }
    }
}
