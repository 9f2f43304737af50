//! Capability flags: what client and server agree on in the handshake.

use std::{
    fmt,
    ops::{BitAnd, BitOr, BitOrAssign, Not},
};

/// A set of capabilities: the 32 flags of MySQL in the low half, MariaDB's extended ones in the high half.
///
/// On the wire the high half stands in four bytes that MySQL keeps zero, and counts only where
/// [`LONG_PASSWORD`](Self::LONG_PASSWORD) is clear: MariaDB reads that flag as "this is MySQL".
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// Everything that MySQL has flags for.
    pub const ALL_MYSQL: Self = Self(0xFFFF_FFFF);

    /// Always set by MySQL. Clear from a MariaDB peer: the extended capabilities are meant.
    pub const LONG_PASSWORD: Self = Self::bit(0);
    /// Affected rows counts the rows found, not those changed.
    pub const FOUND_ROWS: Self = Self::bit(1);
    /// Column definitions carry two bytes of flags.
    pub const LONG_FLAG: Self = Self::bit(2);
    /// The handshake response names a database.
    pub const CONNECT_WITH_DB: Self = Self::bit(3);
    /// `database.table.column` is not allowed.
    pub const NO_SCHEMA: Self = Self::bit(4);
    /// zlib compression of everything after the login.
    pub const COMPRESS: Self = Self::bit(5);
    /// An ODBC client; without effect.
    pub const ODBC: Self = Self::bit(6);
    /// The client is willing to send files for `LOAD DATA LOCAL`.
    pub const LOCAL_FILES: Self = Self::bit(7);
    /// Spaces are allowed between a function's name and its parenthesis.
    pub const IGNORE_SPACE: Self = Self::bit(8);
    /// The protocol of 4.1 and later; the only one spoken here.
    pub const PROTOCOL_41: Self = Self::bit(9);
    /// `interactive_timeout` applies in place of `wait_timeout`.
    pub const INTERACTIVE: Self = Self::bit(10);
    /// TLS, begun by an SSLRequest.
    pub const SSL: Self = Self::bit(11);
    /// Client-side only; without effect.
    pub const IGNORE_SIGPIPE: Self = Self::bit(12);
    /// OK and EOF packets carry status flags.
    pub const TRANSACTIONS: Self = Self::bit(13);
    /// Old name of the 4.1 protocol; set for old clients.
    pub const RESERVED: Self = Self::bit(14);
    /// The authentication response of 4.1 and later, behind a one-byte length.
    pub const SECURE_CONNECTION: Self = Self::bit(15);
    /// Several statements in one query; implies several results.
    pub const MULTI_STATEMENTS: Self = Self::bit(16);
    /// Several results to one query.
    pub const MULTI_RESULTS: Self = Self::bit(17);
    /// Several results to one prepared statement.
    pub const PS_MULTI_RESULTS: Self = Self::bit(18);
    /// Authentication plugins have names and may be switched.
    pub const PLUGIN_AUTH: Self = Self::bit(19);
    /// The handshake response carries connection attributes.
    pub const CONNECT_ATTRS: Self = Self::bit(20);
    /// The authentication response stands behind a length-encoded length.
    pub const PLUGIN_AUTH_LENENC: Self = Self::bit(21);
    /// An expired password gives a restricted session, not a refusal.
    pub const CAN_HANDLE_EXPIRED_PASSWORDS: Self = Self::bit(22);
    /// OK packets carry session state changes.
    pub const SESSION_TRACK: Self = Self::bit(23);
    /// No EOF packets: an OK packet with header 0xFE ends rows. Changes the framing of every result.
    pub const DEPRECATE_EOF: Self = Self::bit(24);
    /// MySQL 8: a byte behind the column count says whether column definitions follow.
    pub const OPTIONAL_RESULTSET_METADATA: Self = Self::bit(25);
    /// Zstandard compression of everything after the login.
    pub const ZSTD_COMPRESSION: Self = Self::bit(26);
    /// MySQL 8.0.23: parameters in front of a query's text.
    pub const QUERY_ATTRIBUTES: Self = Self::bit(27);
    /// Several authentication factors.
    pub const MULTI_FACTOR_AUTHENTICATION: Self = Self::bit(28);
    /// Kept by MySQL for more flags; the progress reports of old MariaDB.
    pub const CAPABILITY_EXTENSION: Self = Self::bit(29);
    /// Client-side only.
    pub const SSL_VERIFY_SERVER_CERT: Self = Self::bit(30);
    /// Client-side only.
    pub const REMEMBER_OPTIONS: Self = Self::bit(31);

    /// Progress reports (ERR packets with code 0xFFFF) come before the reply of long statements.
    pub const MARIADB_PROGRESS: Self = Self::bit(32);
    /// The removed COM_MULTI; never to be offered.
    pub const MARIADB_COM_MULTI: Self = Self::bit(33);
    /// COM_STMT_BULK_EXECUTE.
    pub const MARIADB_STMT_BULK_OPERATIONS: Self = Self::bit(34);
    /// One more text in each column definition.
    pub const MARIADB_EXTENDED_METADATA: Self = Self::bit(35);
    /// A byte behind the column count says whether column definitions follow.
    pub const MARIADB_CACHE_METADATA: Self = Self::bit(36);
    /// A bulk statement answers with one row a unit.
    pub const MARIADB_BULK_UNIT_RESULTS: Self = Self::bit(37);

    const fn bit(number: u32) -> Self {
        Self(1 << number)
    }

    /// Joins the two halves as they stand on the wire; the extended half counts only without LONG_PASSWORD.
    pub fn from_wire(flags: u32, extended: u32) -> Self {
        let low = Self(u64::from(flags));
        if low.contains(Self::LONG_PASSWORD) { low } else { low | Self(u64::from(extended) << 32) }
    }

    /// The four bytes that both families have.
    pub fn low(self) -> u32 {
        self.0 as u32
    }

    /// MariaDB's four bytes: zero where LONG_PASSWORD is set.
    pub fn extended(self) -> u32 {
        if self.contains(Self::LONG_PASSWORD) { 0 } else { (self.0 >> 32) as u32 }
    }

    /// All of `others` are in this set.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// At least one of `others` is in this set.
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// This set without `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Both sets together, where `|` cannot be used: in constants.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Capabilities {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Not for Capabilities {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}+{:#x}", self.0 as u32, self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extended_half_counts_only_for_a_peer_that_is_not_mysql() {
        // The greeting of MariaDB 10.11.
        let mariadb = Capabilities::from_wire(0x81FF_F7FE, 0x1D);
        assert!(mariadb.contains(Capabilities::MARIADB_CACHE_METADATA | Capabilities::MARIADB_PROGRESS));
        assert!(!mariadb.intersects(Capabilities::SSL | Capabilities::MARIADB_BULK_UNIT_RESULTS));
        assert_eq!((mariadb.low(), mariadb.extended()), (0x81FF_F7FE, 0x1D));
        let mysql = Capabilities::from_wire(0xDFFF_FFFF, 0x1D);
        assert_eq!(mysql, Capabilities(0xDFFF_FFFF));
        assert_eq!((mariadb | Capabilities::LONG_PASSWORD).extended(), 0);
    }

    #[test]
    fn sets_are_cut_and_joined() {
        let both = Capabilities::SSL | Capabilities::COMPRESS;
        assert_eq!(both.without(Capabilities::SSL), Capabilities::COMPRESS);
        assert_eq!(both & !Capabilities::SSL, Capabilities::COMPRESS);
        assert!(both.intersects(Capabilities::SSL | Capabilities::ODBC));
        assert!(!both.contains(Capabilities::SSL | Capabilities::ODBC));
    }
}
