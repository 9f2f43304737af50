//! The fuzz entry: hostile texts in every dialect.

use super::classification::Class;
use super::{ClientCharset, Dialect, Family, assignments, classify, user_variables};

const CHARSETS: [ClientCharset; 6] = [
    ClientCharset::Utf8,
    ClientCharset::SingleByte,
    ClientCharset::Gbk,
    ClientCharset::Big5,
    ClientCharset::Sjis,
    ClientCharset::Unknown,
];

/// Fuzz entry: the first byte chooses the dialect. Spans lie in the text, and a cut text is never a read.
pub fn fuzz_sql(bytes: &[u8]) {
    let Some((&choice, text)) = bytes.split_first() else {
        return;
    };
    let dialect = Dialect {
        no_backslash_escapes: choice & 1 != 0,
        ansi_quotes: choice & 2 != 0,
        family: if choice & 4 != 0 { Family::MySql { version: 90_700 } } else { Family::MariaDb { version: 101_100 } },
        charset: CHARSETS[usize::from(choice >> 3) % CHARSETS.len()],
    };
    let found = classify(text, dialect, true);
    assert!(found.token.start <= found.token.end && found.token.range().end <= text.len());
    assert_eq!(classify(text, dialect, false).class, Class::Primary);
    for span in user_variables(text, dialect) {
        assert_eq!(span.of(text)[0], b'@');
    }
    for assignment in assignments(text, dialect) {
        let _ = assignment.name.of(text);
        let _ = assignment.value.span().of(text);
    }
}
