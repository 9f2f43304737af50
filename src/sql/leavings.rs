//! What a statement leaves of that which those before it left: for the next one that asks about them.

use super::{
    Dialect, Family,
    comment::{Comments, Versioned},
    lexer::{Kind, Lexer, Token},
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
                let is_harmless = |word: &&str| lexer.is_word(token, word);
                let was_first = std::mem::take(&mut is_first);
                if was_first && is_without_table(lexer, token) {
                    continue;
                }
                if was_first && !WITHOUT_TABLES.iter().any(is_harmless) || lexer.is_word(token, "from") {
                    return true;
                }
            }
        }
    }
}

/// Whether a statement uses no table by the words behind its first.
fn is_without_table(mut lexer: Lexer<'_>, first: Token) -> bool {
    let next = lexer.next();
    let of_schema = || lexer.is_one_of({ lexer }.next(), &["database", "schema"]);
    let shows_schema = lexer.is_word(first, "show") && lexer.is_word(next, "create") && of_schema();
    shows_schema || lexer.is_word(first, "flush") && lexer.is_one_of(next, &["status", "privileges", "logs"])
}

/// First words of statements that use no table but one behind FROM.
const WITHOUT_TABLES: [&str; 15] = [
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
    "help",
    "kill",
];

/// Whether a text of one statement is a query that surely finds one row, neither more nor none.
pub fn finds_one_row(text: &[u8], dialect: Dialect) -> bool {
    let mut lexer = Lexer::new(text, dialect, Comments::new(Versioned::Code));
    let first = lexer.next();
    let shows_count = lexer.is_word(first, "show") && lexer.is_word({ lexer }.next(), "count");
    shows_count || lexer.is_word(first, "select") && !MORE_ROWS_OR_NONE.iter().any(|word| has_word(lexer, word))
}

/// Words of a query that may find another number of rows than one.
const MORE_ROWS_OR_NONE: [&str; 12] =
    ["from", "where", "having", "group", "limit", "offset", "fetch", "union", "except", "intersect", "minus", "into"];

/// What becomes of FOUND_ROWS().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it was.
    Kept,
    /// It is another one.
    Found,
    /// Another one if it changed rows, and else perhaps: the queries inside were not needed if there was no row to ask for.
    WithRows,
    /// Either: the text does not tell.
    Unknown,
}

/// What the one statement that is left of a text makes of it, if it does not fail.
pub(super) fn finding(mut lexer: Lexer<'_>) -> Finding {
    let first = lexer.next();
    // Most reads are told by that; the lists are long.
    if first.kind == Kind::Sign(b'(') || lexer.is_one_of(first, &["select", "with", "table"]) {
        return Finding::Found;
    }
    if lexer.is_one_of(first, &KEEP_FOUND_ROWS) {
        return Finding::Kept;
    }
    let Some((_, verb)) = VERBS.iter().find(|(word, _)| lexer.is_word(first, word)) else { return Finding::Unknown };
    match verb {
        Verb::Begin if lexer.is_word({ lexer }.next(), "not") => Finding::Unknown,
        Verb::Set if is_set_statement(lexer) => behind_set_statements(lexer).map_or(Finding::Unknown, finding),
        Verb::Delete | Verb::Update => changing(*verb, lexer),
        Verb::Insert if !inserts_query(&mut { lexer }) => inside(lexer),
        Verb::Do | Verb::Set if is_mariadb(lexer) => inside(lexer),
        verb if finds_rows(*verb, lexer) => Finding::Found,
        _ => Finding::Kept,
    }
}

/// What queries in the expressions of what is left make of it.
fn inside(lexer: Lexer<'_>) -> Finding {
    match finds_inside(lexer) {
        false => Finding::Kept,
        true if PERHAPS.iter().any(|word| has_word(lexer, word)) => Finding::Unknown,
        true => Finding::Found,
    }
}

/// What may have a query in an expression not run at all.
const PERHAPS: [&str; 9] = ["if", "ifnull", "nullif", "coalesce", "case", "elt", "and", "or", "xor"];

fn is_mariadb(lexer: Lexer<'_>) -> bool {
    matches!(lexer.dialect.family, Family::MariaDb { .. })
}

fn is_set_statement(lexer: Lexer<'_>) -> bool {
    is_mariadb(lexer) && lexer.is_word({ lexer }.next(), "statement")
}

/// The statement that a SET STATEMENT is for, which is no other of them however many stand before it.
fn behind_set_statements(mut lexer: Lexer<'_>) -> Option<Lexer<'_>> {
    while skip_to(&mut lexer, &["for"]) {
        let mut ahead = lexer;
        let first = ahead.next();
        if !(ahead.is_word(first, "set") && is_set_statement(ahead)) {
            return Some(lexer);
        }
        lexer = ahead;
    }
    None
}

/// What a statement makes of it that changes or deletes rows. MariaDB may look up IN (SELECT …) in an index, which is no
/// query.
fn changing(verb: Verb, mut lexer: Lexer<'_>) -> Finding {
    let joins = if let Verb::Delete = verb { deletes_from_several(&mut lexer) } else { updates_several(&mut lexer) };
    match lexer.dialect.family {
        _ if joins => Finding::Found,
        Family::MySql { .. } if matches!(verb, Verb::Update) => Finding::WithRows,
        _ if inside(lexer) != Finding::Found => inside(lexer),
        Family::MariaDb { .. } if LOOKED_UP.iter().any(|word| has_word(lexer, word)) => Finding::Unknown,
        _ => Finding::WithRows,
    }
}

/// What may stand before a query that becomes a lookup.
const LOOKED_UP: [&str; 4] = ["in", "any", "some", "all"];

/// Whether what is left of a text, which is one statement, holds statements of its own behind semicolons.
pub(super) fn holds_statements(mut lexer: Lexer<'_>) -> bool {
    const CODE: [&str; 5] = ["procedure", "function", "trigger", "event", "package"];
    const BLOCKS: [&str; 7] = ["begin", "if", "case", "loop", "while", "repeat", "declare"];
    let first = lexer.next();
    let makes_code = lexer.is_one_of(first, &["create", "alter"]) && CODE.iter().any(|word| has_word(lexer, word));
    let is_transaction = lexer.is_word(first, "begin") && !lexer.is_word({ lexer }.next(), "not");
    makes_code || lexer.is_one_of(first, &BLOCKS) && !is_transaction
}

/// Whether a statement with this first word finds rows, by what is left of it.
fn finds_rows(verb: Verb, mut lexer: Lexer<'_>) -> bool {
    let is_mariadb = is_mariadb(lexer);
    match verb {
        Verb::Begin => false,
        Verb::Analyze => has_word(lexer, "select"),
        Verb::Create => is_mariadb && creates_table(lexer) && has_word(lexer, "select"),
        Verb::Do => !is_mariadb || finds_inside(lexer),
        Verb::Explain if is_mariadb => explaining_finds(lexer),
        Verb::Explain => lexer.is_word({ lexer }.next(), "analyze") || explained(&mut lexer).is_none(),
        Verb::Insert => inserts_query(&mut lexer) || finds_inside(lexer),
        Verb::Set => is_mariadb && finds_inside(lexer),
        Verb::Show => !shows_without_query(lexer),
        Verb::Delete | Verb::Update => changing(verb, lexer) != Finding::Kept,
        Verb::Values => !is_mariadb || ORDERED_OR_JOINED.iter().any(|word| has_word(lexer, word)),
    }
}

/// First words of statements that find rows or not, depending on what follows.
#[derive(Clone, Copy)]
enum Verb {
    Analyze,
    Begin,
    Create,
    Delete,
    Do,
    Explain,
    Insert,
    Set,
    Show,
    Update,
    Values,
}

const VERBS: [(&str, Verb); 14] = [
    ("insert", Verb::Insert),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("replace", Verb::Insert),
    ("set", Verb::Set),
    ("begin", Verb::Begin),
    ("show", Verb::Show),
    ("do", Verb::Do),
    ("create", Verb::Create),
    ("explain", Verb::Explain),
    ("describe", Verb::Explain),
    ("desc", Verb::Explain),
    ("analyze", Verb::Analyze),
    ("values", Verb::Values),
];

/// First words of statements that keep FOUND_ROWS() as it was, whatever they hold.
const KEEP_FOUND_ROWS: [&str; 31] = [
    "commit",
    "rollback",
    "start",
    "savepoint",
    "release",
    "use",
    "drop",
    "alter",
    "truncate",
    "rename",
    "lock",
    "unlock",
    "prepare",
    "deallocate",
    "get",
    "grant",
    "revoke",
    "check",
    "checksum",
    "optimize",
    "repair",
    "flush",
    "handler",
    "xa",
    "signal",
    "kill",
    "help",
    "reset",
    "change",
    "stop",
    "purge",
];

/// Behind SHOW, and behind SHOW FULL; the others are queries inside the server.
const SHOWS_WITHOUT_QUERY: [&str; 13] = [
    "warnings",
    "errors",
    "create",
    "grants",
    "processlist",
    "privileges",
    "binary",
    "engine",
    "master",
    "profiles",
    "binlog",
    "relaylog",
    "replicas",
];

fn shows_without_query(mut lexer: Lexer<'_>) -> bool {
    let mut what = lexer.next();
    if lexer.is_word(what, "full") {
        what = lexer.next();
    }
    lexer.is_one_of(what, &SHOWS_WITHOUT_QUERY)
}

/// What makes rows of rows.
const ORDERED_OR_JOINED: [&str; 5] = ["order", "limit", "union", "except", "intersect"];

/// What makes a query in an expression one that finds rows, though it has no table: the others are computed with the
/// expression.
const NEED_ROWS: [&str; 24] = [
    "where",
    "having",
    "union",
    "except",
    "intersect",
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "group_concat",
    "bit_and",
    "bit_or",
    "bit_xor",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "var_pop",
    "var_samp",
    "variance",
    "json_arrayagg",
    "json_objectagg",
    "over",
];

/// Whether a query in the expressions of what is left finds rows.
fn finds_inside(mut lexer: Lexer<'_>) -> bool {
    let (mut depth, mut is_in_query, mut asks_for_any, mut begins) = (0_u32, false, false, false);
    loop {
        let token = lexer.next();
        let is = |words: &[&str]| lexer.is_one_of(token, words);
        match token.kind {
            Kind::End => return false,
            Kind::Broken(_) => return true,
            Kind::Sign(b'(') => (depth, begins) = (depth + 1, true),
            Kind::Sign(b')') => (depth, begins, asks_for_any) = (depth.saturating_sub(1), false, false),
            Kind::Word if begins && is(&["with", "values", "table"]) => return true,
            Kind::Word if begins && is(&["select"]) && asks_for_any => return true,
            Kind::Word if is(&["select"]) => (is_in_query, begins) = (true, false),
            Kind::Word if is(&["exists"]) => (asks_for_any, begins) = (true, false),
            Kind::Word if depth > 0 && is_in_query && is(&["from"]) && !lexer.is_word({ lexer }.next(), "dual") => {
                return true;
            }
            Kind::Word if depth > 0 && is_in_query && is(&NEED_ROWS) => return true,
            _ => (asks_for_any, begins) = (false, false),
        }
    }
}

/// Goes to the values of an INSERT; `true` if it has a query in their place.
fn inserts_query(lexer: &mut Lexer<'_>) -> bool {
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End => return false,
            Kind::Broken(_) => return true,
            _ if lexer.is_one_of(token, &["values", "value", "set"]) => return false,
            _ if lexer.is_one_of(token, &["select", "with", "table"]) => return true,
            _ => {}
        }
    }
}

/// Goes to the end of the tables of a DELETE; `true` if there are several.
fn deletes_from_several(lexer: &mut Lexer<'_>) -> bool {
    let mut token = lexer.next();
    while lexer.is_one_of(token, &["low_priority", "quick", "ignore"]) {
        token = lexer.next();
    }
    !lexer.is_word(token, "from") || joins_tables(lexer, &["where", "order", "limit", "returning"])
}

/// Goes to the SET of an UPDATE; `true` if it is of several tables.
fn updates_several(lexer: &mut Lexer<'_>) -> bool {
    joins_tables(lexer, &["set"])
}

/// Goes behind one of these words, or to the end; `true` if tables are joined before.
fn joins_tables(lexer: &mut Lexer<'_>, ends: &[&str]) -> bool {
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End => return false,
            Kind::Broken(_) | Kind::Sign(b',' | b'(') => return true,
            _ if lexer.is_one_of(token, &["join", "straight_join", "using"]) => return true,
            _ if lexer.is_one_of(token, ends) => return false,
            _ => {}
        }
    }
}

/// Whether a CREATE is one of a table.
fn creates_table(mut lexer: Lexer<'_>) -> bool {
    let mut token = lexer.next();
    while lexer.is_one_of(token, &["or", "replace", "temporary"]) {
        token = lexer.next();
    }
    lexer.is_word(token, "table")
}

/// Goes behind the first word of the statement that is explained; `None` for the columns of a table.
fn explained(lexer: &mut Lexer<'_>) -> Option<bool> {
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End | Kind::Broken(_) => return None,
            _ if lexer.is_one_of(token, &["select", "table"]) => return Some(true),
            _ if lexer.is_one_of(token, &["insert", "replace", "update", "delete"]) => return Some(false),
            _ => {}
        }
    }
}

/// MariaDB explains a query without a table, and several that are put together, by rows that it finds.
fn explaining_finds(mut lexer: Lexer<'_>) -> bool {
    let Some(is_query) = explained(&mut lexer) else { return true };
    let has_table = |mut lexer: Lexer<'_>| skip_to(&mut lexer, &["from"]) && !lexer.is_word({ lexer }.next(), "dual");
    is_query && (!has_table(lexer) || ORDERED_OR_JOINED[2..].iter().any(|word| has_word(lexer, word)))
}

/// Goes behind the next of these words; `false` if there is none.
fn skip_to(lexer: &mut Lexer<'_>, words: &[&str]) -> bool {
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End | Kind::Broken(_) => return false,
            _ if lexer.is_one_of(token, words) => return true,
            _ => {}
        }
    }
}

/// Whether a word stands in the rest of a text; or what cannot be read.
fn has_word(mut lexer: Lexer<'_>, word: &str) -> bool {
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End => return false,
            Kind::Broken(_) => return true,
            _ if lexer.is_word(token, word) => return true,
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
            "SHOW CREATE DATABASE shop",
            "FLUSH STATUS",
            "HELP 'x'",
            "",
        ] {
            assert!(!may_use_a_table(text.as_bytes(), DIALECT), "{text}");
        }
        for text in [
            "SELECT a FROM t",
            "INSERT INTO t VALUES (1)",
            "SHOW TABLES",
            "SELECT 1; TABLE t",
            "SELECT 'a",
            "FLUSH TABLES t",
            "SHOW CREATE TABLE t",
        ] {
            assert!(may_use_a_table(text.as_bytes(), DIALECT), "{text}");
        }
    }

    #[test]
    fn questions_that_find_one_row_are_known() {
        for text in
            ["SELECT FOUND_ROWS(), ROW_COUNT()", "/* x */ select @@warning_count AS 'from'", "SHOW COUNT(*) WARNINGS"]
        {
            assert!(finds_one_row(text.as_bytes(), DIALECT), "{text}");
        }
        for text in [
            "SHOW WARNINGS",
            "SELECT FOUND_ROWS() LIMIT 0",
            "SELECT ROW_COUNT() UNION ALL SELECT 1",
            "SELECT 1 WHERE ROW_COUNT() = 0",
            "SELECT ROW_COUNT() HAVING 1 = 0",
            "SELECT FOUND_ROWS() FROM t",
            "SELECT 'open",
        ] {
            assert!(!finds_one_row(text.as_bytes(), DIALECT), "{text}");
        }
    }

    /// What servers do: a text, and whether FOUND_ROWS() is another one behind it on MariaDB 10.11 and 11.8, and on MySQL
    /// 9.7. `aftermath::found_rows_are_those_of_the_servers` asks them.
    const FOUND_ROWS: [(&str, bool, bool); 55] = [
        ("SELECT 1", true, true),
        ("(SELECT 1)", true, true),
        ("INSERT INTO t VALUES ('select')", false, false),
        ("INSERT INTO t VALUES ((SELECT 9))", false, false),
        ("INSERT INTO t VALUES ((SELECT 9 FROM DUAL))", false, false),
        ("INSERT INTO t VALUES ((SELECT MAX(a) FROM t2))", true, true),
        ("INSERT INTO t SET a = (SELECT MAX(a) FROM t2)", true, true),
        ("INSERT INTO t VALUES (TRIM(LEADING 'x' FROM 'xy'))", false, false),
        ("INSERT INTO t SELECT 9", true, true),
        ("INSERT INTO t (SELECT 9 FROM t2)", true, true),
        ("REPLACE INTO t SELECT 1", true, true),
        ("DELETE FROM t WHERE a = 77", false, false),
        ("DELETE FROM t WHERE a = (SELECT 77)", false, false),
        ("DELETE FROM t WHERE a = (SELECT MAX(a) FROM t2)", true, true),
        ("DELETE FROM t WHERE EXISTS (SELECT 1 FROM t2)", true, true),
        ("DELETE t FROM t, t2 WHERE t.a = t2.a", true, true),
        ("DELETE FROM t USING t JOIN t2 ON t.a = t2.a", true, true),
        ("UPDATE t SET a = 1", false, true),
        ("UPDATE t SET a = (SELECT 9)", false, true),
        ("UPDATE t SET a = (SELECT MAX(a) FROM t2)", true, true),
        ("UPDATE t, t2 SET t.a = 9 WHERE t.a = t2.a", true, true),
        ("CREATE TABLE t3 AS SELECT 1", true, false),
        ("DROP TABLE t3", false, false),
        ("CREATE VIEW v AS SELECT a FROM t", false, false),
        ("ALTER VIEW v AS SELECT 1", false, false),
        ("DROP VIEW v", false, false),
        ("DO 1", false, true),
        ("DO (SELECT 1)", false, true),
        ("DO 1 IN (SELECT 1)", false, true),
        ("DO (SELECT COUNT(*))", true, true),
        ("DO (SELECT 1 WHERE 1 = 0)", true, true),
        ("DO (SELECT a FROM t LIMIT 1)", true, true),
        ("DO EXISTS (SELECT 1)", true, true),
        ("/* x */ set @a = 1", false, false),
        ("SET @a = (SELECT 1)", false, false),
        ("SET @a = (SELECT 1 FROM DUAL)", false, false),
        ("SET @a = (SELECT MAX(a) FROM t)", true, false),
        ("SET @b = 1, @a = 1 IN (SELECT a FROM t)", true, false),
        ("SET @a = (SELECT 1 UNION SELECT 1)", true, false),
        ("EXPLAIN t", true, true),
        ("DESC SELECT 1", true, false),
        ("EXPLAIN SELECT * FROM t", false, false),
        ("EXPLAIN SELECT * FROM t UNION SELECT * FROM t2", true, false),
        ("EXPLAIN INSERT INTO t SELECT 1", false, false),
        ("SHOW TABLES", true, true),
        ("SHOW FULL TABLES", true, true),
        ("SHOW CREATE TABLE t", false, false),
        ("SHOW COUNT(*) WARNINGS", true, true),
        ("SHOW ENGINES", true, true),
        ("SHOW PROFILES", false, false),
        ("SHOW PRIVILEGES", false, false),
        ("BEGIN", false, false),
        ("COMMIT", false, false),
        ("OPTIMIZE TABLE t", false, false),
        ("HELP 'x'", false, false),
    ];

    /// Whether FOUND_ROWS() may be another one behind a text of one statement that did not fail.
    fn may_set_found_rows(text: &[u8], dialect: Dialect) -> bool {
        finding(Lexer::new(text, dialect, Comments::new(Versioned::Code))) != Finding::Kept
    }

    #[test]
    fn found_rows_outlive_what_finds_none() {
        let mysql = Dialect { family: Family::MySql { version: 90_700 }, ..DIALECT };
        for (text, on_mariadb, on_mysql) in FOUND_ROWS {
            assert_eq!(may_set_found_rows(text.as_bytes(), DIALECT), on_mariadb, "MariaDB: {text}");
            assert_eq!(may_set_found_rows(text.as_bytes(), mysql), on_mysql, "MySQL: {text}");
        }
        for (text, finds) in [
            ("VALUES (1), (2)", false),
            ("VALUES (1), (2) ORDER BY 1", true),
            ("ANALYZE SELECT 1", true),
            ("SET STATEMENT max_statement_time = 10 FOR SELECT 1", true),
            ("SET STATEMENT max_statement_time = 10 FOR INSERT INTO t VALUES (1)", false),
        ] {
            assert_eq!(may_set_found_rows(text.as_bytes(), DIALECT), finds, "MariaDB: {text}");
        }
        for (text, finds) in [
            ("VALUES ROW(1)", true),
            ("TABLE t", true),
            ("INSERT INTO t TABLE t2", true),
            ("EXPLAIN ANALYZE SELECT * FROM t", true),
            ("EXPLAIN TABLE t", false),
        ] {
            assert_eq!(may_set_found_rows(text.as_bytes(), mysql), finds, "MySQL: {text}");
        }
        for text in ["", "CALL p()", "EXECUTE s", "SET @a = 'open"] {
            assert!(may_set_found_rows(text.as_bytes(), DIALECT), "{text}");
        }
    }
}
