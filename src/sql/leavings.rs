//! What a statement leaves of that which those before it left: for the next one that asks about them.

use super::{
    Dialect, Family,
    comment::{Comments, Versioned},
    lexer::{Kind, Lexer},
    table::is_word,
};

/// Whether a text names a table, or may do so. When in doubt, it does.
pub fn may_use_a_table(text: &[u8], dialect: Dialect) -> bool {
    let mut lexer = Lexer::new(text, dialect, Comments::new(Versioned::Code));
    let mut is_first = true;
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End => return false,
            Kind::Broken(_) => return true,
            Kind::Sign(b';') => is_first = true,
            Kind::Sign(b'(') if is_first => {}
            _ => {
                let is_harmless = |word: &&str| is_word(&lexer, token, word);
                let was_first = std::mem::take(&mut is_first);
                if was_first && !WITHOUT_TABLES.iter().any(is_harmless) || is_word(&lexer, token, "from") {
                    return true;
                }
            }
        }
    }
}

/// First words of statements that use no table but one behind FROM.
const WITHOUT_TABLES: [&str; 13] = [
    "select",
    "set",
    "do",
    "begin",
    "start",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "unlock",
    "use",
    "deallocate",
    "xa",
];

/// Whether FOUND_ROWS() may be another one behind a text of one statement that did not fail. When in doubt, it may.
pub fn may_set_found_rows(text: &[u8], dialect: Dialect) -> bool {
    let mut lexer = Lexer::new(text, dialect, Comments::new(Versioned::Code));
    let first = lexer.next();
    let is_one_of = |words: &[&str]| words.iter().any(|word| is_word(&lexer, first, word));
    // Most reads are told by that; the lists are long.
    if is_one_of(&["select"]) {
        return true;
    }
    let is_mariadb = matches!(dialect.family, Family::MariaDb { .. });
    if is_one_of(&["explain", "describe", "desc"]) {
        // Of a table, it is a SHOW COLUMNS.
        return !["select", "insert", "replace", "update", "delete"].iter().any(|word| has_word(lexer, word));
    }
    if is_one_of(&["show"]) {
        let second = lexer.next();
        return !SHOWS_WITHOUT_QUERY.iter().any(|word| is_word(&lexer, second, word));
    }
    let keeps = is_one_of(&KEEP_FOUND_ROWS) || (is_mariadb && is_one_of(&["update", "do"]));
    !keeps || has_word(lexer, "select")
}

/// First words of statements that keep FOUND_ROWS() as it was, if there is no query inside.
const KEEP_FOUND_ROWS: [&str; 29] = [
    "insert",
    "replace",
    "delete",
    "create",
    "drop",
    "alter",
    "truncate",
    "rename",
    "set",
    "begin",
    "start",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "use",
    "lock",
    "unlock",
    "prepare",
    "deallocate",
    "get",
    "grant",
    "revoke",
    "analyze",
    "check",
    "checksum",
    "flush",
    "handler",
    "xa",
];

/// Behind SHOW; the others are queries inside the server.
const SHOWS_WITHOUT_QUERY: [&str; 7] =
    ["warnings", "errors", "create", "grants", "processlist", "privileges", "binary"];

/// Whether a word stands in the rest of a text; or what cannot be read.
fn has_word(mut lexer: Lexer<'_>, word: &str) -> bool {
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End => return false,
            Kind::Broken(_) => return true,
            _ if is_word(&lexer, token, word) => return true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::ClientCharset;

    const DIALECT: Dialect = Dialect {
        no_backslash_escapes: false,
        ansi_quotes: false,
        family: Family::MariaDb { version: 101_119 },
        charset: ClientCharset::Utf8,
    };

    #[test]
    fn statements_without_a_table_are_known() {
        for text in [
            "SELECT 1",
            "/* INSERT */ (select @a)",
            "SET @a = 1; COMMIT",
            "USE shop",
            "SELECT f('FROM t')",
            "XA COMMIT 'a'",
            "",
        ] {
            assert!(!may_use_a_table(text.as_bytes(), DIALECT), "{text}");
        }
        for text in ["SELECT a FROM t", "INSERT INTO t VALUES (1)", "SHOW TABLES", "SELECT 1; TABLE t", "SELECT 'a"] {
            assert!(may_use_a_table(text.as_bytes(), DIALECT), "{text}");
        }
    }

    #[test]
    fn found_rows_outlive_what_has_no_query_in_it() {
        for text in
            ["INSERT INTO t VALUES ('select')", "/* x */ set @a = 1", "SHOW CREATE TABLE t", "DESC SELECT 1", "COMMIT"]
        {
            assert!(!may_set_found_rows(text.as_bytes(), DIALECT), "{text}");
        }
        for text in
            ["SELECT 1", "INSERT INTO t SELECT 1", "SET @a = (select 1)", "SHOW TABLES", "DESC t", "", "(SELECT 1)"]
        {
            assert!(may_set_found_rows(text.as_bytes(), DIALECT), "{text}");
        }
        let mysql = Dialect { family: Family::MySql { version: 90_700 }, ..DIALECT };
        assert!(!may_set_found_rows(b"UPDATE t SET a = 1", DIALECT));
        assert!(may_set_found_rows(b"UPDATE t SET a = 1", mysql));
    }
}
