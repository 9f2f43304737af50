//! The home connection of a session that may get another one.
//!
//! Such a session gives it back between transactions (`backend_reuse = "transaction"`), or keeps it until its server fails
//! the session or is not the one to write to any more ([`Tenure`]). Without one it is between two statements, unless
//! something is left on it that the next one cannot be given (`pins`), or that the next statement may ask for. The connection that it gets may be the one it had, which is as it left it; or another session's, which is
//! reset first; or a new one. What the session has set is in the `journal`, and is put on.

pub(super) mod lending;
mod sharing;
pub(super) mod unreset;
mod welcome;

mod fitting;
mod leaving;

use std::{sync::Arc, time::Duration};

use crate::{
    protocol::{command::Command, status::StatusFlags},
    sql::Needs,
    topology::ServerId,
};

use super::{
    super::{HomeWant, Loan, Side},
    Kind, Split,
    journal::{reading::Reading, values::Values},
    plan::OF_THE_LAST,
    stay::Bond,
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
    /// The last statement left something on it that the next one is likely to ask for: counts of rows, warnings.
    has_aftermath: bool,
    /// What of the last statements it alone knows.
    left: Needs,
    /// What of the last statements went with the connection that it was on.
    lost: Needs,
    /// What a sequence gave the session last, which a connection remembers.
    drawn: Drawn,
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

/// Where is what a sequence gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Drawn {
    /// None was asked.
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
    pub(super) fn borrowed(&mut self, loan: &Loan, needs_collation: bool) {
        self.is_here = true;
        if !loan.is_own {
            let schema = loan.schema.clone();
            let fit = Fit { needs_reset: true, was_ever_reset: true, schema, ..Fit::default() };
            self.fit = Fit { needs_collation, ..fit };
        }
    }

    /// Another connection than the last one: what the last statement left is not there.
    pub(super) fn is_another(&mut self) {
        self.lose(OF_THE_LAST);
        if std::mem::take(&mut self.has_aftermath) {
            self.lost = OF_THE_LAST;
        }
    }

    /// What the connection knew of this is gone.
    fn lose(&mut self, needs: Needs) {
        let kept = self.left.without(needs);
        self.lost = self.lost.with(self.left.without(kept));
        self.left = kept;
    }

    /// A question of ours was a query, too: the counts of rows are its own now. Where the connection is the session's own,
    /// the session knows whether they are asked for (`FoundRows`).
    pub(super) fn was_asked(&mut self) {
        if self.goes_back() {
            self.lose(Needs::FOUND_ROWS.with(Needs::ROW_COUNT));
        }
    }

    /// Nor is what was drawn from sequences.
    pub(super) fn is_another_connection(&mut self) {
        self.is_another();
        if self.drawn == Drawn::There {
            self.drawn = Drawn::Lost;
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
    pub(super) fn was_repeated(&mut self, leaves: Needs) {
        self.has_aftermath = true;
        self.left = self.left.with(leaves);
        self.lost = self.lost.without(leaves);
    }

    /// Whether some of this went with the connection that it was on.
    pub(super) fn has_lost(&self, needs: Needs) -> bool {
        self.lost.intersects(needs)
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

    /// The client had its connection reset: LAST_INSERT_ID() is 0 there, and nothing was drawn from a sequence.
    pub(super) fn forgot_ids(&mut self) {
        (self.insert_id, self.fit.insert_id, self.drawn) = (InsertId::Known(0), 0, Drawn::Nothing);
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

    /// Whether what is asked about is gone with the connection of the last statement.
    pub(super) fn has_lost_the_last(&self) -> bool {
        let needs = self.current.classification.needs;
        self.lent.as_deref().is_some_and(|lent| {
            let is_of_home = needs.intersects(OF_THE_LAST) && self.last_for(needs) == Side::Server;
            let is_lost = is_of_home && lent.has_lost(needs);
            let is_drawn_elsewhere = lent.drawn == Drawn::Lost && self.current.asks_what_was_drawn;
            let is_lost = is_lost || is_drawn_elsewhere;
            lent.is_here && (is_lost || needs.contains(Needs::LAST_INSERT_ID) && lent.insert_id == InsertId::Lost)
        })
    }

    /// The command under way does not ask about the statement before, and puts an end to what that left.
    pub(super) fn is_void(&self) -> bool {
        let asks = self.current.classification.needs.intersects(OF_THE_LAST);
        !asks && !matches!(self.current.kind, Kind::Fetch | Kind::Other)
    }

    /// Whether there is a home connection now.
    pub(super) fn has_home(&self) -> bool {
        self.lent.as_deref().is_none_or(Lent::is_here)
    }

    /// A command that no server is needed for.
    pub(super) fn is_farewell(&self, payload: &[u8]) -> bool {
        let ends = |code: &u8| matches!(Command::from(*code), Command::Quit | Command::ChangeUser);
        self.lent.is_some() && payload.first().is_some_and(ends)
    }

    /// Whether the session may get another home connection.
    pub(in crate::session) fn may_change_home(&self) -> bool {
        self.lent.is_some()
    }

    /// Whether the home connection goes back between transactions.
    pub(in crate::session) fn gives_home_back(&self) -> bool {
        self.lent.as_deref().is_some_and(Lent::goes_back)
    }

    /// What the next home connection must be like.
    pub(super) fn want_home(&self, required: crate::protocol::capability::Capabilities) -> HomeWant {
        let last = self.lent.as_deref().map_or(0, Lent::parked);
        let must_wait = self.lent.as_deref().is_some_and(|lent| lent.must_wait);
        let may_be_reset = !must_wait && !self.needs_unreset_home();
        HomeWant {
            required,
            has_schema: self.journal.schema().is_some(),
            may_be_reset,
            last,
            fresh: self.had_at_last_home(),
        }
    }

    pub(super) fn moved_to(&mut self, server: ServerId) {
        self.last_seen = None;
        let knows_no_positions = self.replicas_wait;
        if let Some(lent) = self.lent.as_deref_mut() {
            let before = lent.server.replace(server);
            lent.must_wait |= knows_no_positions && before.is_some_and(|before| before != server);
        }
    }
}
