//! Where the warnings and errors are that SHOW WARNINGS and GET DIAGNOSTICS tell of.
//!
//! They stay at the server whose statement left them. MySQL forgets them with the next statement. MariaDB keeps them until
//! a statement uses a table, or leaves some of its own: `SELECT 1` in between does not make them go away. MySQL counts them
//! again in its answers to commands that are no statements, which home answers for whichever server ran the last one.

use crate::session::Side;

/// Which of a session's servers have conditions of its statements, and whose count.
#[derive(Debug)]
pub(in crate::session::split) struct Conditions {
    /// Where the last statement ran that left some, or made those before it forgotten.
    at: Side,
    at_home: bool,
    at_replica: bool,
    /// Those of home, which count, went when it ran an earlier read again.
    are_lost: bool,
    /// How many the last statement left, if home's connection cannot tell.
    counted: Option<u16>,
}

impl Default for Conditions {
    fn default() -> Conditions {
        Conditions { at: Side::Server, at_home: false, at_replica: false, are_lost: false, counted: None }
    }
}

impl Conditions {
    /// Where they are asked for.
    pub(in crate::session::split) fn at(&self) -> Side {
        self.at
    }

    /// Whether those that count are the replica's, and there are some.
    pub(super) fn are_at_replica(&self) -> bool {
        self.at == Side::Replica && self.at_replica
    }

    /// Whether any server has some; also those that count no more.
    pub(in crate::session::split) fn are_anywhere(&self) -> bool {
        self.at_home || self.at_replica
    }

    /// A statement left some there, or made those before it forgotten.
    pub(in crate::session::split) fn left(&mut self, at: Side, some: bool) {
        (self.at, self.are_lost) = (at, false);
        match at {
            Side::Replica => self.at_replica = some,
            _ => self.at_home = some,
        }
    }

    /// The last statement left so many, of which home's connection cannot tell; `None` if it can.
    pub(in crate::session::split) fn counted(&mut self, count: Option<u16>) {
        self.counted = count;
    }

    /// A command failed that adds its error to what is there.
    pub(super) fn one_more(&mut self) {
        self.counted = self.counted.map(|count| count.saturating_add(1));
    }

    /// What an answer of home's has to count, if it is not what home counts.
    pub(in crate::session::split) fn count(&self) -> Option<u16> {
        self.counted
    }

    /// The replica's last read was run at home, too.
    pub(in crate::session::split) fn repeated(&mut self) {
        self.left(Side::Server, self.at_replica);
    }

    /// Those that count are home's, and there are some.
    pub(super) fn are_at_home(&self) -> bool {
        self.at == Side::Server && self.at_home
    }

    /// Home ran an earlier read again while its own counted.
    pub(super) fn lose(&mut self) {
        self.are_lost = true;
    }

    /// Nobody knows any more what was left.
    pub(super) fn are_lost(&self) -> bool {
        self.are_lost
    }

    /// The replica's connection is gone.
    pub(in crate::session::split) fn forget_replica(&mut self) {
        self.at_replica = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_a_lost_replica_count_still_and_are_found_at_home() {
        let mut conditions = Conditions::default();
        conditions.left(Side::Replica, true);
        assert!(conditions.are_anywhere());
        conditions.repeated();
        conditions.forget_replica();
        assert_eq!((conditions.at(), conditions.are_anywhere()), (Side::Server, true));
        conditions.left(Side::Server, false);
        assert!(!conditions.are_anywhere());
    }
}
