//! The claims of this module.

use super::*;

const MARIADB: Dialect = Dialect {
    no_backslash_escapes: false,
    ansi_quotes: false,
    family: Family::MariaDb { version: 101_100 },
    charset: ClientCharset::Utf8,
};

#[track_caller]
fn check(text: &str, class: Class, reason: Reason) {
    let found = classify(text.as_bytes(), MARIADB, true);
    assert_eq!((found.class, found.reason), (class, reason), "{text}");
}

#[test]
fn the_word_that_decides_is_named() {
    check("SELECT a, count(*) FROM t WHERE b = 'x' GROUP BY a", Class::Read, Reason::PlainRead);
    check("SELECT f(1)", Class::Primary, Reason::UnknownFunction);
    check("SELECT a FROM t WHERE a=1.5for update", Class::Primary, Reason::ForUpdate);
    check("SELECT 1; INSERT INTO t VALUES (1)", Class::Primary, Reason::NotARead);
}
