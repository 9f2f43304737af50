//! The one byte of collation in the handshake: what may be sent to which server, and what it says about
//! the bytes of a statement.

use super::version::Family;

/// `utf8mb4_general_ci`, known to every server since 5.5.
pub const UTF8MB4_GENERAL_CI: u8 = 45;

/// `utf8mb4_0900_ai_ci`, the default of MySQL 8 and later; unknown to MariaDB.
pub const UTF8MB4_0900_AI_CI: u8 = 255;

/// The collation to name to a server in place of the one that a client named.
///
/// MariaDB 10.11 takes an id that it does not know for latin1, silently: characters would be lost. Of the
/// ids that fit into a byte, only MySQL 8's default is unknown there, and the nearest thing is sent.
pub fn for_server(family: Family, collation: u8) -> u8 {
    match (family, collation) {
        (Family::MariaDb, UTF8MB4_0900_AI_CI) => UTF8MB4_GENERAL_CI,
        // Zero is no collation; some clients send it for "the server's own".
        (_, 0) => UTF8MB4_GENERAL_CI,
        (_, known) => known,
    }
}

/// What the bytes of a statement in some character set may look like to something that searches for ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes below 0x80 are always ASCII characters.
    AsciiSafe,
    /// The second byte of a character may be 0x5C, a backslash, or another ASCII byte: big5, cp932, gb18030, gbk, sjis.
    AsciiInside,
    /// Characters of two or four bytes; servers refuse these as a client's character set.
    Wide,
}

/// The encoding behind a collation id of one byte.
pub fn encoding(collation: u8) -> Encoding {
    match collation {
        1 | 84 | 13 | 88 | 28 | 87 | 95 | 96 | 248..=250 => Encoding::AsciiInside,
        35 | 90 | 128..=151 | 159 => Encoding::Wide,
        54..=56 | 60..=62 | 101..=124 | 160..=183 => Encoding::Wide,
        _ => Encoding::AsciiSafe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mariadb_never_hears_of_the_default_of_mysql_8() {
        assert_eq!(for_server(Family::MariaDb, 255), 45);
        assert_eq!(for_server(Family::MySql, 255), 255);
        assert_eq!(for_server(Family::MariaDb, 8), 8);
        assert_eq!(for_server(Family::MySql, 0), 45);
    }

    #[test]
    fn only_a_few_encodings_hide_a_backslash() {
        assert_eq!(encoding(45), Encoding::AsciiSafe);
        assert_eq!(encoding(28), Encoding::AsciiInside);
        assert_eq!(encoding(54), Encoding::Wide);
    }
}
