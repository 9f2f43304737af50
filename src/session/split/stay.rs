//! Why a command stays at home, and how often each reason was met.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sql::Reason;

/// Why a command runs at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// By its text alone.
    Text(Reason),
    /// Though its text is a read.
    Read(Bond),
}

macro_rules! bonds {
    ($($(#[$doc:meta])* $bond:ident => $text:literal;)*) => {
        /// What keeps a read at home.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bond {
            $($(#[$doc])* $bond,)*
        }

        impl Bond {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Bond] = &[$(Bond::$bond),*];

            /// A few words for people; also the label of a counter.
            pub fn text(self) -> &'static str {
                match self {
                    $(Bond::$bond => $text,)*
                }
            }
        }
    };
}

bonds! {
    /// A hint in the statement.
    Hint => "hint";
    /// A transaction is open.
    Transaction => "transaction";
    /// `autocommit` is off.
    AutocommitOff => "autocommit is off";
    /// The session has a temporary table.
    TemporaryTable => "temporary table";
    /// LOCK TABLES, FLUSH TABLES WITH READ LOCK.
    LockedTables => "locked tables";
    /// LOCK INSTANCE, BACKUP STAGE.
    LockedInstance => "locked instance";
    /// GET_LOCK.
    UserLock => "user lock";
    /// SET TRANSACTION without a scope.
    NextTransaction => "characteristics of the next transaction";
    /// An XA transaction.
    Xa => "XA transaction";
    /// A variable that means something at one server only.
    ServerBound => "variable bound to the server";
    /// The client chose what its server tells of the session.
    OwnTracking => "session tracking of its own";
    /// Something changed, and nothing says what.
    Hidden => "state that cannot be carried";
    /// A user variable whose value only home knows.
    UserVariable => "user variable";
    /// It asks about the statement before, which ran at home.
    PreviousStatement => "about the statement before";
    /// The session is in information_schema, performance_schema, sys or mysql.
    ServerSchema => "in a schema of the server";
    /// It asked before for what no server alone could tell.
    Missed => "asked what two servers know";
    /// A prepared statement that is not kept.
    UnknownStatement => "unknown prepared statement";
    /// It was prepared under settings that the session has changed since, or is for others than the replica has.
    OtherSettings => "prepared under other settings";
    /// It opens a cursor, or closes one.
    Cursor => "cursor";
    /// Parameters were sent in parts.
    LongData => "long data";
    /// The replica did not prepare it as home did.
    Unfit => "prepared otherwise at the replica";
    /// The types of its parameters were not seen.
    UnknownTypes => "unknown parameter types";
    /// It carries attributes.
    QueryAttributes => "query attributes";
    /// A replica refused it before.
    Refused => "refused by a replica";
    /// It names a view that does more than read, or whose text the user may not see.
    View => "view over stored code";
    /// No replica can be had.
    NoReplica => "no replica";
    /// No replica has what the session has seen.
    NotFresh => "no replica is fresh enough";
    /// The user's reads go where its writes go.
    OnePool => "one pool";
    /// A prepared statement that only one connection knows.
    PreparedStatement => "prepared statement";
    /// HANDLER.
    OpenHandler => "open handler";
}

/// How many statements of split sessions ran where. Counted by one worker, read by all.
#[derive(Debug)]
pub struct RouteCounts {
    at_replica: AtomicU64,
    repeated: AtomicU64,
    /// By the numbers of [`Bond`].
    reads_at_home: [AtomicU64; Bond::ALL.len()],
    /// By the numbers of [`Reason`].
    others: [AtomicU64; Reason::ALL.len()],
}

impl Default for RouteCounts {
    fn default() -> Self {
        RouteCounts {
            at_replica: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            reads_at_home: [const { AtomicU64::new(0) }; Bond::ALL.len()],
            others: [const { AtomicU64::new(0) }; Reason::ALL.len()],
        }
    }
}

impl RouteCounts {
    /// Reads that replicas ran.
    pub fn at_replicas(&self) -> u64 {
        self.at_replica.load(Ordering::Relaxed)
    }

    /// Reads that a replica did not run and home ran in its place.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Reads that stayed at home, by reason.
    pub fn reads_at_home(&self) -> impl Iterator<Item = (Bond, u64)> + '_ {
        Bond::ALL.iter().map(|bond| (*bond, self.reads_at_home[*bond as usize].load(Ordering::Relaxed)))
    }

    /// Statements that are no reads, by reason.
    pub fn others(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|reason| (*reason, self.others[*reason as usize].load(Ordering::Relaxed)))
    }

    pub(super) fn count_replica(&self) {
        add(&self.at_replica);
    }

    pub(super) fn count_repeated(&self) {
        add(&self.repeated);
    }

    pub(super) fn count_home(&self, why: Stay) {
        match why {
            Stay::Text(reason) => add(&self.others[reason as usize]),
            Stay::Read(bond) => add(&self.reads_at_home[bond as usize]),
        }
    }
}

/// There is one writer.
fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let counts = RouteCounts::default();
        for bond in Bond::ALL {
            counts.count_home(Stay::Read(*bond));
        }
        for reason in Reason::ALL {
            counts.count_home(Stay::Text(*reason));
        }
        assert!(counts.reads_at_home().all(|(_, count)| count == 1));
        assert!(counts.others().all(|(_, count)| count == 1));
        counts.count_replica();
        assert_eq!(counts.at_replicas(), 1);
    }
}
