//! Home connections that must not have been reset.
//!
//! A MariaDB node of a Galera cluster heeds no `wsrep_sync_wait` on a connection that was reset, however that is set. Where
//! connections are lent, they are reset between two sessions: one that relies on the node to wait gets a connection that
//! never was.

use crate::{
    protocol::command::Command,
    session::split::{
        Kind, Split,
        chore::{Chore, missing::Next},
    },
    sql::Family,
};

use super::Lent;

/// The variable that has a node wait until it has all that the cluster had committed before.
pub(super) const SYNC_WAIT: &str = "wsrep_sync_wait";

/// Whether a session has to do with this at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session::split) enum Waiting {
    /// Its servers have no such variable, or heed it on every connection.
    #[default]
    Alike,
    /// They do not heed it on a connection that was reset.
    UnlessReset,
    /// The same, and they are told to wait in every session.
    AlwaysUnlessReset,
}

impl Waiting {
    pub(in crate::session::split) fn at(is_galera: bool, family: Family) -> Waiting {
        match family {
            Family::MariaDb { .. } if is_galera => Waiting::UnlessReset,
            Family::MariaDb { .. } | Family::MySql { .. } => Waiting::Alike,
        }
    }

    /// What home is asked for beside its other values.
    pub(in crate::session::split) fn variable(self) -> Option<&'static str> {
        (self != Waiting::Alike).then_some(SYNC_WAIT)
    }

    /// What home says of itself.
    pub(in crate::session::split) fn told(self, value: &[u8]) -> Waiting {
        match self {
            Waiting::Alike => Waiting::Alike,
            Waiting::UnlessReset | Waiting::AlwaysUnlessReset if value == b"0" => Waiting::UnlessReset,
            Waiting::UnlessReset | Waiting::AlwaysUnlessReset => Waiting::AlwaysUnlessReset,
        }
    }
}

impl Split {
    /// Takes note of whether the command at hand has home wait.
    pub(super) fn note_waiting(&mut self, payload: &[u8]) {
        let may_wait = self.waiting != Waiting::Alike && matches!(self.current.kind, Kind::Query | Kind::Execute);
        let is_long = payload.first().is_none_or(|code| Command::from(*code) == Command::StmtBulkExecute);
        let text = if may_wait && !is_long { self.text_of_statement(payload) } else { None };
        self.current.has_home_wait = text.is_some_and(names_sync_wait);
    }

    /// Whether the command at hand is for a connection that was never reset.
    pub(super) fn needs_unreset_home(&self) -> bool {
        self.waiting == Waiting::AlwaysUnlessReset || self.current.has_home_wait
    }

    /// What is missing on a home connection that was reset, where that matters. What of the session is on it already counts
    /// for more.
    pub(in crate::session::split) fn lacks_unreset_home(&self, lent: &Lent) -> Option<Next> {
        let is_wrong = lent.was_ever_reset() && lent.is_free() && self.needs_unreset_home();
        let is_asked_first = is_wrong && self.must_ask_insert_id();
        let next = if is_asked_first { Next::Say(Chore::InsertId) } else { Next::LeaveHome };
        is_wrong.then_some(next)
    }
}

/// Whether the variable's name is anywhere in a text: also where it is not the variable, which costs a new connection.
fn names_sync_wait(text: &[u8]) -> bool {
    text.windows(SYNC_WAIT.len()).any(|word| word.eq_ignore_ascii_case(SYNC_WAIT.as_bytes()))
}
