//! What the same bytes mean depends on the session: its server's family, its `sql_mode`, its character set.

/// What a statement's text is read with. Taken when the statement is sent: a later SET does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// A backslash in a string is an ordinary character (status flag 0x0200 of both families).
    pub no_backslash_escapes: bool,
    /// `"` quotes names and not strings (MariaDB's status flag 0x8000; MySQL tells only by `sql_mode`).
    pub ansi_quotes: bool,
    /// The servers that will read the text.
    pub family: Family,
    /// The session's `character_set_client`.
    pub charset: ClientCharset,
}

/// The two dialects. The version is a number as in `/*!80034 … */`: 10.11.19 is `101119`, 8.0.34 is `80034`.
///
/// A pool whose servers differ gives the lowest: a function that one of them lacks may be a stored one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// MySQL, Percona Server.
    MySql {
        /// Lowest version of the pool's servers.
        version: u32,
    },
    /// MariaDB, Galera clusters of it.
    MariaDb {
        /// Lowest version of the pool's servers.
        version: u32,
    },
}

/// How the bytes from 0x80 in a statement are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCharset {
    /// utf8mb3 and utf8mb4: no byte of a longer character is ASCII, and such characters may stand in bare names.
    Utf8,
    /// One byte a character. Outside of quotes a high byte may be a blank (0xA0 in latin1) and is not judged.
    SingleByte,
    /// gbk and gb18030: lead 81–FE, and a second byte that may be 40–7E, among them backtick and backslash.
    Gbk,
    /// big5: lead A1–F9, second byte 40–7E or A1–FE.
    Big5,
    /// sjis and cp932: lead 81–9F or E0–FC, second byte 40–7E or 80–FC.
    Sjis,
    /// Any other: no text with a byte from 0x80 is judged.
    Unknown,
}

impl ClientCharset {
    /// By the name of a character set, as `character_set_client` gives it, in any case.
    pub fn from_name(name: &[u8]) -> ClientCharset {
        const NAMES: [(&str, ClientCharset); 22] = [
            ("utf8mb4", ClientCharset::Utf8),
            ("utf8mb3", ClientCharset::Utf8),
            ("utf8", ClientCharset::Utf8),
            ("latin1", ClientCharset::SingleByte),
            ("latin2", ClientCharset::SingleByte),
            ("latin5", ClientCharset::SingleByte),
            ("latin7", ClientCharset::SingleByte),
            ("ascii", ClientCharset::SingleByte),
            ("binary", ClientCharset::SingleByte),
            ("cp1250", ClientCharset::SingleByte),
            ("cp1251", ClientCharset::SingleByte),
            ("cp1256", ClientCharset::SingleByte),
            ("cp1257", ClientCharset::SingleByte),
            ("cp850", ClientCharset::SingleByte),
            ("cp852", ClientCharset::SingleByte),
            ("koi8r", ClientCharset::SingleByte),
            ("koi8u", ClientCharset::SingleByte),
            ("gbk", ClientCharset::Gbk),
            ("gb18030", ClientCharset::Gbk),
            ("big5", ClientCharset::Big5),
            ("sjis", ClientCharset::Sjis),
            ("cp932", ClientCharset::Sjis),
        ];
        let known = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        known.map_or(ClientCharset::Unknown, |(_, charset)| *charset)
    }

    /// By the id of a collation, as the handshake gives it.
    pub fn from_collation(id: u16) -> ClientCharset {
        // MariaDB: NO PAD collations are 1024 above their like, and those of UCA 14 begin at 2048.
        match if id < 2048 { id & 1023 } else { id } {
            33 | 76 | 83 | 192..=215 | 223 | 576 | 577 | 2048..=2303 => ClientCharset::Utf8,
            45 | 46 | 224..=247 | 255..=323 | 608 | 609 | 2304..=2559 => ClientCharset::Utf8,
            5 | 8 | 11 | 15 | 31 | 47..=49 | 63 | 65 | 94 => ClientCharset::SingleByte,
            28 | 87 | 248..=250 => ClientCharset::Gbk,
            1 | 84 => ClientCharset::Big5,
            13 | 88 | 95 | 96 => ClientCharset::Sjis,
            _ => ClientCharset::Unknown,
        }
    }

    /// Whether the two bytes are one character whose second byte may look like ASCII.
    pub(super) fn joins(self, lead: u8, second: u8) -> bool {
        match self {
            ClientCharset::Gbk => matches!(lead, 0x81..=0xFE) && matches!(second, 0x40..=0x7E | 0x80..=0xFE),
            ClientCharset::Big5 => matches!(lead, 0xA1..=0xF9) && matches!(second, 0x40..=0x7E | 0xA1..=0xFE),
            ClientCharset::Sjis => {
                matches!(lead, 0x81..=0x9F | 0xE0..=0xFC) && matches!(second, 0x40..=0x7E | 0x80..=0xFC)
            }
            ClientCharset::Utf8 | ClientCharset::SingleByte | ClientCharset::Unknown => false,
        }
    }

    /// Whether strings need no more than a search for their quote and the backslash.
    pub(super) fn is_ascii_safe(self) -> bool {
        matches!(self, ClientCharset::Utf8 | ClientCharset::SingleByte)
    }
}
