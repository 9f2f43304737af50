//! What is said of a statement.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use super::Span;
use super::hint::Hint;

/// Where a statement may run, by its text alone. In order: of several statements in one text the strictest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// On any server that has the data, for a session whose variables are the same there.
    Read,
    /// A read that answers about the statement before it: on the connection where that one ran.
    ReadOfConnection,
    /// `START TRANSACTION READ ONLY`, alone: with the whole transaction it begins, on one replica.
    ReadOnlyTransaction,
    /// On the primary.
    Primary,
}

/// What was found out about a text of one or more statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classification {
    /// Where it may run.
    pub class: Class,
    /// The rule that decided the class.
    pub reason: Reason,
    /// The token that the rule met; empty at the end of the text if nothing decided but the whole.
    pub token: Span,
    /// The first hint in a comment.
    pub hint: Option<Hint>,
    /// What it does, or may do, to the session.
    pub effects: Effects,
    /// What of the session it reads.
    pub needs: Needs,
    /// How many statements there are; 0 for blanks and comments alone.
    pub statements: u32,
}

macro_rules! set_of_bits {
    ($(#[$doc:meta])* $name:ident: $bits:ty { $($(#[$bit_doc:meta])* $bit:ident = $number:expr, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name($bits);

        impl $name {
            /// Nothing.
            pub const NONE: $name = $name(0);
            $($(#[$bit_doc])* pub const $bit: $name = $name(1 << $number);)*

            const NAMES: &[($name, &'static str)] = &[$(($name::$bit, $text)),*];

            /// All of `other` is in it.
            pub const fn contains(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }

            /// Some of `other` is in it.
            pub const fn intersects(self, other: $name) -> bool {
                self.0 & other.0 != 0
            }

            /// Nothing is in it.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Both; for constants.
            pub const fn with(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// Without `other`.
            pub const fn without(self, other: $name) -> $name {
                $name(self.0 & !other.0)
            }

            /// A few words for each.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::NAMES.iter().filter(move |(bit, _)| self.contains(*bit)).map(|(_, name)| *name)
            }
        }

        impl BitOr for $name {
            type Output = $name;

            fn bitor(self, other: $name) -> $name {
                self.with(other)
            }
        }

        impl BitOrAssign for $name {
            fn bitor_assign(&mut self, other: $name) {
                *self = self.with(other);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_set().entries(self.names()).finish()
            }
        }
    };
}

set_of_bits! {
    /// What a text does, or may do, to its session. When in doubt, it does.
    Effects: u64 {
        /// BEGIN, START TRANSACTION, COMMIT AND CHAIN.
        BEGINS_TRANSACTION = 0, "begins a transaction";
        /// COMMIT, ROLLBACK; not ROLLBACK TO SAVEPOINT.
        ENDS_TRANSACTION = 1, "ends the transaction";
        /// A statement that commits what went before, most often for changing a table's definition.
        IMPLICIT_COMMIT = 2, "commits implicitly";
        /// COMMIT RELEASE: the server closes the connection.
        DISCONNECTS = 3, "disconnects";
        /// Any XA statement.
        XA = 4, "XA";
        /// SET TRANSACTION without a scope: for the next transaction only.
        NEXT_TRANSACTION = 5, "characteristics of the next transaction";
        /// `SET autocommit`.
        AUTOCOMMIT = 6, "autocommit";
        /// SET of session variables that can be set again elsewhere; `assignments` tells which.
        SESSION_VARIABLES = 7, "session variables";
        /// SET of a session variable to what is not a literal: the value is known only from the server.
        COMPUTED_VARIABLES = 8, "computed session variables";
        /// SET NAMES, SET CHARACTER SET.
        CHARACTER_SETS = 9, "character sets";
        /// SET of a variable that only makes sense at the server where it is set, such as gtid_next or timestamp.
        SERVER_BOUND = 10, "a variable bound to the server";
        /// SET GLOBAL, SET PERSIST.
        GLOBAL_VARIABLES = 11, "global variables";
        /// SET PASSWORD and the like.
        ACCOUNT = 12, "the account";
        /// SET ROLE.
        ROLE = 13, "the role";
        /// SET of user variables to literals only: can be replayed.
        USER_VARIABLES = 14, "user variables";
        /// An assignment to a user variable of what only the server knows.
        COMPUTED_USER_VARIABLES = 15, "computed user variables";
        /// SET sql_mode: how later texts are read.
        SQL_MODE = 35, "sql_mode";
        /// USE.
        SCHEMA = 16, "the default schema";
        /// CREATE TEMPORARY TABLE or SEQUENCE.
        CREATES_TEMPORARY_TABLE = 17, "creates a temporary table";
        /// DROP TABLE with or without TEMPORARY: one table less, perhaps a temporary one.
        DROPS_TABLE = 18, "drops a table";
        /// LOCK TABLES, FLUSH TABLES WITH READ LOCK or FOR EXPORT.
        LOCKS_TABLES = 19, "locks tables";
        /// UNLOCK TABLES.
        UNLOCKS_TABLES = 20, "unlocks tables";
        /// LOCK INSTANCE FOR BACKUP, BACKUP STAGE, BACKUP LOCK.
        LOCKS_INSTANCE = 21, "locks the instance";
        /// UNLOCK INSTANCE, BACKUP STAGE END, BACKUP UNLOCK.
        UNLOCKS_INSTANCE = 22, "unlocks the instance";
        /// GET_LOCK.
        TAKES_USER_LOCK = 23, "takes a user lock";
        /// RELEASE_LOCK.
        RELEASES_USER_LOCK = 24, "releases a user lock";
        /// RELEASE_ALL_LOCKS.
        RELEASES_ALL_USER_LOCKS = 25, "releases all user locks";
        /// PREPARE name FROM text.
        PREPARES = 26, "prepares by text";
        /// EXECUTE name or EXECUTE IMMEDIATE text: whatever was prepared, or is in the text.
        EXECUTES = 27, "executes by text";
        /// DEALLOCATE PREPARE, DROP PREPARE.
        DEALLOCATES = 28, "deallocates by text";
        /// HANDLER … OPEN.
        OPENS_HANDLER = 29, "opens a handler";
        /// HANDLER … CLOSE.
        CLOSES_HANDLER = 30, "closes a handler";
        /// LAST_INSERT_ID with an argument.
        LAST_INSERT_ID = 31, "last_insert_id";
        /// A stored function or a trigger may run. It may assign user variables, take locks, make temporary tables.
        STORED_CODE = 32, "stored functions or triggers";
        /// CALL, DO, EXECUTE, a compound statement, an unknown verb: anything may happen.
        ANYTHING = 33, "anything";
        /// The text was cut or cannot be read to its end: there may be more to it.
        UNSEEN = 34, "what was not seen";
        /// A statement that begins like a read changes or locks data, whatever else keeps it from being one.
        WRITES = 36, "writes or locks data";
    }
}

set_of_bits! {
    /// What of its session a text reads.
    Needs: u16 {
        /// User variables; `user_variables` tells which.
        USER_VARIABLES = 0, "user variables";
        /// Session variables that a session carries with it.
        SESSION_VARIABLES = 1, "session variables";
        /// FOUND_ROWS(), of the statement before.
        FOUND_ROWS = 2, "FOUND_ROWS";
        /// ROW_COUNT(), of the statement before.
        ROW_COUNT = 3, "ROW_COUNT";
        /// LAST_INSERT_ID(), of the last statement that made one, however long ago.
        LAST_INSERT_ID = 4, "LAST_INSERT_ID";
        /// The warnings and errors of the statement before.
        WARNINGS = 5, "warnings";
        /// The connection itself: its number, its locks, its place in the process list.
        CONNECTION = 6, "the connection";
        /// What one server says of itself.
        SERVER = 7, "the server";
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident => $text:literal;)*) => {
        /// The rule that decided. Each has a name for counters and explanations.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Reason] = &[$(Reason::$reason),*];

            /// A few words for people; also the label of a counter.
            pub fn text(self) -> &'static str {
                match self {
                    $(Reason::$reason => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// Nothing in it needs the primary.
    PlainRead => "plain read";
    /// Blanks and comments only.
    Empty => "no statement";
    /// Its first word is that of a statement that changes something.
    NotARead => "not a read";
    /// It changes the session only.
    ChangesSession => "changes the session";
    /// It begins, ends or names a transaction.
    Transaction => "transaction";
    /// START TRANSACTION READ ONLY.
    ReadOnlyTransaction => "read-only transaction";
    /// Its first word is none that is known.
    UnknownStatement => "unknown statement";
    /// CALL, EXECUTE, a compound statement.
    Program => "program";
    /// DO.
    Evaluates => "evaluates expressions";
    /// A statement about the server and not about its data.
    Administration => "administration";
    /// FOR UPDATE.
    ForUpdate => "FOR UPDATE";
    /// FOR SHARE.
    ForShare => "FOR SHARE";
    /// LOCK IN SHARE MODE.
    LockInShareMode => "LOCK IN SHARE MODE";
    /// INTO a variable or a file, or INTO a table.
    Into => "INTO";
    /// UPDATE, DELETE, INSERT, REPLACE in a statement that begins like a read.
    HoldsAWrite => "holds a write";
    /// PROCEDURE behind a SELECT.
    Procedure => "PROCEDURE";
    /// `:=`.
    Assignment => "user variable assignment";
    /// NEXT VALUE FOR, PREVIOUS VALUE FOR, `.nextval`, `.currval`.
    Sequence => "sequence";
    /// A function that is not on the list of harmless ones.
    UnknownFunction => "unknown function";
    /// `schema.function(`, or a name in quotes before a parenthesis.
    StoredFunction => "stored function";
    /// A built-in function that needs its parenthesis at once, with a blank before it: perhaps a stored one.
    BlankBeforeParenthesis => "blank before a parenthesis";
    /// A known function whose result differs from server to server.
    ServerFunction => "function of the server";
    /// A known function about this connection.
    ConnectionFunction => "function of the connection";
    /// GET_LOCK and its like.
    UserLock => "user lock";
    /// LAST_INSERT_ID.
    LastInsertId => "LAST_INSERT_ID";
    /// FOUND_ROWS, ROW_COUNT, warnings: about the statement before.
    PreviousStatement => "about the statement before";
    /// A system variable whose value differs from server to server.
    ServerVariable => "variable of the server";
    /// information_schema, performance_schema, sys, mysql.
    ServerSchema => "schema of the server";
    /// A SHOW whose result differs from server to server.
    ServerShow => "SHOW of the server";
    /// EXPLAIN ANALYZE and ANALYZE execute what they explain.
    ExplainExecutes => "EXPLAIN that executes";
    /// EXPLAIN FOR CONNECTION.
    ExplainConnection => "EXPLAIN of a connection";
    /// SET STATEMENT with a variable that is not known to be harmless.
    SetStatement => "SET STATEMENT";
    /// A quote or comment without an end.
    Unterminated => "unterminated text";
    /// Bytes that servers may read differently.
    Bytes => "uncertain bytes";
    /// An executable comment that servers may read differently.
    ExecutableComment => "executable comment";
    /// The text was cut.
    TooLong => "too long to be judged";
}
