//! The claims of this module: a table of statements, and properties over it.

mod assigned;
mod properties;
mod table;

use super::*;
use crate::testing::rounds;
use table::Row;

const MYSQL: Dialect = Dialect { family: Family::MySql { version: 90_700 }, ..MARIADB };

const MARIADB: Dialect = Dialect {
    no_backslash_escapes: false,
    ansi_quotes: false,
    family: Family::MariaDb { version: 101_100 },
    charset: ClientCharset::Utf8,
};

/// The dialects that a row is for.
fn dialects(row: &Row) -> Vec<Dialect> {
    let dialects: &[Dialect] = match &*row.families {
        "mysql" => &[MYSQL],
        "mariadb" => &[MARIADB],
        _ => &[MYSQL, MARIADB],
    };
    dialects.iter().map(|dialect| in_mode(*dialect, row.mode.as_deref())).collect()
}

fn in_mode(dialect: Dialect, mode: Option<&str>) -> Dialect {
    match mode {
        None => dialect,
        Some("ansi_quotes") => Dialect { ansi_quotes: true, ..dialect },
        Some("no_backslash_escapes") => Dialect { no_backslash_escapes: true, ..dialect },
        Some(charset) => Dialect { charset: ClientCharset::from_name(charset.as_bytes()), ..dialect },
    }
}

fn verdict(found: &Classification) -> &'static str {
    match found.class {
        Class::Read => "read",
        Class::ReadOfConnection => "connection",
        Class::ReadOnlyTransaction => "read only",
        Class::Primary => found.reason.text(),
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// What is wrong with a row, for people.
fn mistake(row: &Row, dialect: Dialect) -> Option<String> {
    let found = classify(&row.text, dialect, true);
    let effects = sorted(found.effects.names());
    let needs = sorted(found.needs.names());
    let is_right = verdict(&found) == row.verdict
        && row.effects.as_ref().is_none_or(|expected| *expected == effects)
        && row.needs.as_ref().is_none_or(|expected| *expected == needs)
        && (found.class != Class::Read || found.effects.is_empty());
    let text = String::from_utf8_lossy(&row.text);
    (!is_right).then(|| {
        format!("line {}: {text}\n    {} expected, {} {effects:?} {needs:?}", row.line, row.verdict, verdict(&found))
    })
}

#[test]
fn every_statement_of_the_table_is_judged_as_it_says() {
    let rows = table::rows();
    assert!(rows.len() > 900, "the table was read");
    let rows = crate::testing::sample(rows, 40);
    let mistakes = rows.iter().flat_map(|row| dialects(row).into_iter().filter_map(|dialect| mistake(row, dialect)));
    let mistakes: Vec<_> = mistakes.collect();
    assert!(mistakes.is_empty(), "{} mistakes\n{}", mistakes.len(), mistakes.join("\n"));
}

#[test]
fn every_reason_stands_in_the_table_or_is_named_here() {
    // Texts that are too long have a test of their own.
    let elsewhere = [Reason::PlainRead, Reason::ReadOnlyTransaction, Reason::TooLong];
    let rows = table::rows();
    for reason in Reason::ALL {
        let is_there = rows.iter().any(|row| row.verdict == reason.text());
        assert!(is_there || elsewhere.contains(reason), "{reason:?} is in no row");
    }
}

#[track_caller]
fn deciding(text: &str) -> String {
    let found = classify(text.as_bytes(), MARIADB, true);
    String::from_utf8_lossy(found.token.of(text.as_bytes())).into_owned()
}

#[test]
fn the_token_that_decides_is_named() {
    assert_eq!(deciding("SELECT a FROM t FOR UPDATE"), "UPDATE");
    assert_eq!(deciding("SELECT a, my_function (1) FROM t"), "my_function");
    assert_eq!(deciding("SELECT 1; INSERT INTO t VALUES (1)"), "INSERT");
    assert_eq!(deciding("SELECT @@server_id"), "server_id");
    assert_eq!(deciding("SELECT * FROM `mysql`.user"), "`mysql`");
    assert_eq!(deciding("EXPLAIN REPLACE t VALUES (1)"), "REPLACE");
    assert_eq!(deciding("SHOW STATUS"), "SHOW");
    assert_eq!(deciding("SELECT 1"), "");
}

#[test]
fn a_doubled_backtick_is_a_part_of_its_name_wherever_it_stands() {
    for (text, expected) in [
        ("SELECT `a``b` FROM `t`", "read"),
        ("SELECT ```a`, `b```, ````, `c` FROM t", "read"),
        ("SELECT `a`` FOR UPDATE` FROM t", "read"),
        ("SELECT a AS `b``; DELETE FROM t; ``c` FROM t", "read"),
        ("SELECT t.`a``b`.`c``(1)` FROM t", "read"),
        ("SELECT * FROM `a``mysql`.user", "read"),
        ("SELECT * FROM `mysql```.user", "read"),
        ("SELECT `a``b` FROM t FOR UPDATE", "FOR UPDATE"),
        ("SELECT `a```, ```b` FROM t FOR UPDATE", "FOR UPDATE"),
        ("SELECT `a``b`(1)", "stored function"),
        ("SELECT s.`a``b`(1)", "stored function"),
        ("SELECT `s``t`.nextval FROM t", "sequence"),
        ("SELECT `a`` FROM t", "unterminated text"),
    ] {
        for dialect in [MARIADB, MYSQL] {
            let found = classify(text.as_bytes(), dialect, true);
            assert_eq!(verdict(&found), expected, "{text}");
        }
    }
}

#[test]
fn statements_are_counted_without_the_empty_ones() {
    let count = |text: &str| classify(text.as_bytes(), MYSQL, true).statements;
    assert_eq!(count(""), 0);
    assert_eq!(count(" ; /* */ ;"), 0);
    assert_eq!(count("SELECT ';'"), 1);
    assert_eq!(count("SELECT 1;"), 1);
    assert_eq!(count("SELECT 1;; SELECT 2; -- three"), 2);
}

#[test]
fn a_cut_text_is_the_primarys_and_may_hold_more() {
    let found = classify(b"SELECT a FROM t WHERE b = ", MYSQL, false);
    assert_eq!((found.class, found.reason), (Class::Primary, Reason::TooLong));
    assert!(found.effects.contains(Effects::UNSEEN));
    let found = classify(b"INSERT INTO t VALUES ('cut in a str", MYSQL, false);
    assert_eq!((found.class, found.reason), (Class::Primary, Reason::NotARead));
    assert!(found.effects.contains(Effects::UNSEEN));
}

#[track_caller]
fn hint(text: &str) -> String {
    match classify(text.as_bytes(), MARIADB, true).hint {
        None => "none".to_owned(),
        Some(Hint::Primary) => "primary".to_owned(),
        Some(Hint::Replica) => "replica".to_owned(),
        Some(Hint::Server(name)) => format!("server {}", String::from_utf8_lossy(name.of(text.as_bytes()))),
    }
}

#[test]
fn hints_are_found_in_comments_and_nowhere_else() {
    assert_eq!(hint("/* sqluice: primary */ SELECT 1"), "primary");
    assert_eq!(hint("SELECT 1 /*SQLUICE:REPLICA*/"), "replica");
    assert_eq!(hint("SELECT /* sqluice:  server=db2 */ 1"), "server db2");
    assert_eq!(hint("/* sqluice: server=db-2.example:3306 */SELECT 1"), "server db-2.example:3306");
    assert_eq!(hint("/* sqluice: primary *//* sqluice: replica */ SELECT 1"), "primary");
    assert_eq!(hint("SELECT '/* sqluice: primary */'"), "none");
    assert_eq!(hint("/* sqluice: anything */ SELECT 1"), "none");
    assert_eq!(hint("/* sqluice: server= */ SELECT 1"), "none");
    assert_eq!(hint("/* sqluice: server=a b */ SELECT 1"), "none");
    assert_eq!(hint("-- sqluice: primary\nSELECT 1"), "none");
    assert_eq!(hint("/* nosqluice: primary */ SELECT 1"), "none");
}

#[test]
fn a_function_is_known_from_the_version_that_has_it() {
    let class = |family| {
        let text = b"SELECT JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$'))";
        classify(text, Dialect { family, ..MYSQL }, true).class
    };
    assert_eq!(class(Family::MySql { version: 90_700 }), Class::Read);
    assert_eq!(class(Family::MySql { version: 50_744 }), Class::Primary);
    assert_eq!(class(Family::MariaDb { version: 101_100 }), Class::Read);
    assert_eq!(class(Family::MariaDb { version: 100_500 }), Class::Primary);
    let md5 = |family| classify(b"SELECT MD5('a')", Dialect { family, ..MYSQL }, true).class;
    assert_eq!(md5(Family::MySql { version: 80_400 }), Class::Read);
    assert_eq!(md5(Family::MySql { version: 90_700 }), Class::Primary);
}

#[test]
fn character_sets_are_known_by_name_and_by_collation() {
    assert_eq!(ClientCharset::from_name(b"UTF8MB4"), ClientCharset::Utf8);
    assert_eq!(ClientCharset::from_name(b"gb18030"), ClientCharset::Gbk);
    assert_eq!(ClientCharset::from_name(b"klingon"), ClientCharset::Unknown);
    assert_eq!(ClientCharset::from_collation(255), ClientCharset::Utf8);
    assert_eq!(ClientCharset::from_collation(8), ClientCharset::SingleByte);
    assert_eq!(ClientCharset::from_collation(28), ClientCharset::Gbk);
    // MariaDB's big5_chinese_nopad_ci and utf8mb4_uca1400_ai_ci.
    assert_eq!(ClientCharset::from_collation(1025), ClientCharset::Big5);
    assert_eq!(ClientCharset::from_collation(2304), ClientCharset::Utf8);
}

#[test]
fn user_variables_are_listed_as_they_stand() {
    let text = br#"SELECT @a, @`b c`, @'d' FROM t WHERE e = '@no' AND f = @a -- @no"#;
    let names: Vec<_> =
        user_variables(text, MYSQL).map(|span| String::from_utf8_lossy(span.of(text)).into_owned()).collect();
    assert_eq!(names, ["@a", "@`b c`", "@'d'", "@a"]);
}

#[test]
fn statements_for_statements_need_no_room_of_their_own() {
    let text = "SET STATEMENT max_statement_time=1 FOR ".repeat(rounds(100_000, 20) as usize) + "SELECT 1";
    let dialect = Dialect { family: Family::MariaDb { version: 101_119 }, ..MYSQL };
    assert_eq!(classify(text.as_bytes(), dialect, true).class, Class::Read);
    assert_eq!(Findings::of_one(text.as_bytes(), dialect), Findings::of_one(b"SELECT 1", dialect));
}
