//! A read-only transaction has one snapshot. Where its reads have gone to a replica, the snapshot is there, and a statement
//! that must run at home would read another, later one. Such a transaction is rolled back and its client told to run it
//! again, as after a deadlock; from then on the user's transactions stay at home, where nothing is in their way.

use crate::{
    protocol::{command::Command, error_code::Error},
    session::{
        moves::Move,
        relay::Relay,
        split::{Kind, Split, absorb::After},
    },
    sql::{self, Effects, Reason},
};

impl Relay {
    /// Answers the command at hand with an error in place of a second snapshot.
    pub(in crate::session::split) fn refuse_transaction(&mut self, bytes: &[u8]) -> Move {
        if let Some(split) = self.split.as_deref_mut() {
            split.after = After::RollBack;
            split.owes_rollback = true;
            if let Some(user) = &split.user {
                user.keep_transactions_home();
            }
        }
        self.refuse(bytes, Error::DEADLOCK)
    }
}

impl Split {
    /// Whether the command at hand, of which this is the beginning at least, would read another snapshot at home than the
    /// transaction has at the replica; or comes too late, as home lacks what the transaction changed there.
    pub(in crate::session::split) fn would_read_anew(&self, payload: &[u8], head: &[u8]) -> bool {
        if !self.replicas.have_snapshot() || self.journal.reads_what_is_committed() {
            return false;
        }
        match self.current.kind {
            Kind::Query | Kind::Execute => self.stained || self.may_read_tables(payload),
            // Too long to be looked into.
            Kind::Unseen => {
                let command = head.first().map(|code| Command::from(*code));
                matches!(command, Some(Command::Query | Command::StmtExecute))
            }
            Kind::Prepare(_) | Kind::Reset | Kind::Fetch | Kind::Other => false,
        }
    }

    fn may_read_tables(&self, payload: &[u8]) -> bool {
        let is_told_by_reason = match self.current.classification.reason {
            // A write is refused in such a transaction, unless it is no write.
            Reason::NotARead => self.current.classification.effects.intersects(Effects::OPENS_HANDLER),
            Reason::HoldsAWrite | Reason::Transaction | Reason::ReadOnlyTransaction | Reason::Empty => false,
            // These read what is committed, in any transaction.
            Reason::ForUpdate | Reason::ForShare | Reason::LockInShareMode => false,
            // What a server says of itself is in no snapshot.
            Reason::ServerSchema | Reason::ServerShow | Reason::Administration | Reason::PreviousStatement => false,
            _ => true,
        };
        let text = self.text_of_command(payload);
        is_told_by_reason && text.is_none_or(|text| sql::may_use_a_table(text, self.reading))
    }

    /// Home's transaction is over, and with it the one that was in step with it.
    pub(in crate::session::split) fn rolled_back(&mut self) {
        self.owes_rollback = false;
        self.looked_in_transaction = false;
        if let Some(replica) = self.replicas.get_mut() {
            replica.is_outlived = true;
        }
    }

    /// Whether the user's read-only transactions have found a replica in their way.
    pub(in crate::session::split) fn keeps_transactions_home(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.keeps_transactions_home())
    }
}
