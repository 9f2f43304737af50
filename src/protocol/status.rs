//! Status flags: what a server says of the session at the end of each reply.

use std::{
    fmt,
    ops::{BitAnd, BitOr},
};

/// The two bytes of status in OK and EOF packets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StatusFlags(pub u16);

impl StatusFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// A transaction is open. With `autocommit=0` it is set from the first use of a table on.
    pub const IN_TRANS: Self = Self(0x0001);
    /// `autocommit` is on.
    pub const AUTOCOMMIT: Self = Self(0x0002);
    /// Another result of the same reply follows.
    pub const MORE_RESULTS: Self = Self(0x0008);
    /// A statement used a bad index.
    pub const NO_GOOD_INDEX_USED: Self = Self(0x0010);
    /// A statement used no index.
    pub const NO_INDEX_USED: Self = Self(0x0020);
    /// A cursor was opened: no rows follow, they are fetched.
    pub const CURSOR_EXISTS: Self = Self(0x0040);
    /// A fetch reached the end of its cursor.
    pub const LAST_ROW_SENT: Self = Self(0x0080);
    /// The session's current database is gone.
    pub const DB_DROPPED: Self = Self(0x0100);
    /// A backslash in a string is an ordinary character.
    pub const NO_BACKSLASH_ESCAPES: Self = Self(0x0200);
    /// The result of a prepared statement has other columns than before.
    pub const METADATA_CHANGED: Self = Self(0x0400);
    /// The statement went to the slow log.
    pub const QUERY_WAS_SLOW: Self = Self(0x0800);
    /// This result holds the output parameters of a procedure.
    pub const PS_OUT_PARAMS: Self = Self(0x1000);
    /// The open transaction is a read-only one.
    pub const IN_TRANS_READONLY: Self = Self(0x2000);
    /// Session state changed; in an OK packet the changes follow.
    pub const SESSION_STATE_CHANGED: Self = Self(0x4000);
    /// MariaDB only: double quotes enclose names, not strings.
    pub const ANSI_QUOTES: Self = Self(0x8000);

    /// All of `others` are set.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// These flags without `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl BitAnd for StatusFlags {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for StatusFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for StatusFlags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#06x}", self.0)
    }
}
