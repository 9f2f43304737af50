//! What a read does that its text does not show: a view may call stored functions, which write, and change the session.
//!
//! A replica's connection is read-only, so a hidden write fails there and is run at home, as any read that a replica
//! refuses. A hidden change of the session cannot be prevented. The replica tells of it, behind the reply: then home runs
//! the read too, for the sake of that change alone, and the replica's connection, which has it as well, is given up.

use std::time::Instant;

use crate::{
    protocol::status::StatusFlags,
    session::split::{Split, absorb::After, journal::variables::has_new_names},
};

impl Split {
    /// What a replica's connection is told behind all other settings, so that none of them undoes it.
    pub(in crate::session::split) fn guarded(&self, settings: Option<Vec<u8>>) -> Vec<u8> {
        let read_only = if has_new_names(self.family) { "transaction_read_only" } else { "tx_read_only" };
        let begun = settings.map_or_else(|| b"SET ".to_vec(), |settings| [&*settings, b", "].concat());
        let guard = format!("SESSION session_track_state_change=1, SESSION {read_only}=1");
        [begun, guard.into_bytes()].concat()
    }

    /// A read was answered at the replica.
    pub(in crate::session::split) fn read_at_replica(&mut self, status: StatusFlags, now: Instant) -> After {
        let Some(replica) = self.replicas.get_mut() else { return After::Nothing };
        replica.set_read(now);
        let has_changed = self.current.state_changed || self.has_unexplained(status);
        if !has_changed || self.changes_for_itself() {
            return After::Nothing;
        }
        self.learn_refusal();
        if self.replicas.have_snapshot() && !self.journal.reads_what_is_committed() {
            self.stained = true;
            return After::Nothing;
        }
        self.owes_home = true;
        After::Repeat
    }

    /// A statement may set variables for itself alone, and tell of that.
    fn changes_for_itself(&self) -> bool {
        let text = self.executed_text().unwrap_or_default().to_ascii_lowercase();
        [&b"set_var"[..], b"statement"].iter().any(|word| memchr::memmem::find(&text, word).is_some())
    }

    /// Home has run the read whose hidden changes it lacked. What they are is not known even now.
    pub(in crate::session::split) fn home_caught_up(&mut self) {
        if std::mem::take(&mut self.owes_home) {
            self.journal.forget_user_variables();
            self.pins.hidden();
        }
    }
}
