//! What SET assigns.

use super::*;

fn value(value: ValueKind, text: &[u8]) -> String {
    let of = |span: Span| String::from_utf8_lossy(span.of(text)).into_owned();
    match value {
        ValueKind::Literal(span) => format!("literal {}", of(span)),
        ValueKind::Names { charset, collation: None } => format!("names {}", of(charset)),
        ValueKind::Names { charset, collation: Some(collation) } => format!("names {} {}", of(charset), of(collation)),
        ValueKind::CharacterSet(span) => format!("charset {}", of(span)),
        ValueKind::Characteristics(span) => format!("characteristics {}", of(span)),
        ValueKind::Role(span) => format!("role {}", of(span)),
        ValueKind::Expression(span) => format!("expression {}", of(span)),
    }
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    for dialect in [MYSQL, MARIADB] {
        let text = text.as_bytes();
        let found: Vec<_> = assignments(text, dialect)
            .map(|one| {
                let name = String::from_utf8_lossy(one.name.of(text)).into_owned();
                format!("{:?} {name} {}", one.scope, value(one.value, text))
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn user_variables_have_literals_or_expressions() {
    check("SET @x = 1", &["User @x literal 1"]);
    check("set @x := 'a b', @`y z`=-1.5 ;", &["User @x literal 'a b'", "User @`y z` literal -1.5"]);
    check("SET @x = _utf8mb4'a', @y = NULL", &["User @x literal _utf8mb4'a'", "User @y literal NULL"]);
    check("SET @x = CONCAT('a', 'b'), @y = 2", &["User @x expression CONCAT('a', 'b')", "User @y literal 2"]);
    check("SET @x = @y := 1", &["User @x expression @y := 1"]);
    check("SET @x = ON", &["User @x expression ON"]);
    check("SET @x = 1; SET @y = 2", &["User @x literal 1"]);
    check("/*!50000 SET @x = 1 */", &["User @x literal 1"]);
}

#[test]
fn scopes_follow_the_spelling() {
    check("SET a = 1", &["Session a literal 1"]);
    check("SET SESSION a = ON, LOCAL b = 'x'", &["Session a literal ON", "Session b literal 'x'"]);
    check(
        "SET @@a = 1, @@session.b = 2, @@local . c = 3",
        &["Session a literal 1", "Session b literal 2", "Session c literal 3"],
    );
    check(
        "SET GLOBAL a = 1, b = 2, SESSION c = 3, @@d = 4",
        &["Global a literal 1", "Global b literal 2", "Session c literal 3", "Session d literal 4"],
    );
    check("SET @@global.a = 1, b = 2", &["Global a literal 1", "Session b literal 2"]);
    check("SET PERSIST a = 1, @@persist_only.b = 2", &["Persist a literal 1", "Persist b literal 2"]);
    check("SET GLOBAL k.key_buffer_size = 5", &["Global k.key_buffer_size literal 5"]);
    check("SET a = DEFAULT", &["Session a expression DEFAULT"]);
    check("SET `a` = (SELECT 1, 2), b = 1", &["Session `a` expression (SELECT 1, 2)", "Session b literal 1"]);
}

#[test]
fn forms_without_a_variable_are_told_apart() {
    check("SET NAMES utf8mb4", &["Session NAMES names utf8mb4"]);
    check(
        "SET NAMES 'latin1' COLLATE latin1_bin, @x = 1",
        &["Session NAMES names 'latin1' latin1_bin", "User @x literal 1"],
    );
    check("SET NAMES DEFAULT", &["Session NAMES expression DEFAULT"]);
    check("SET CHARACTER SET gbk, a = 1", &["Session CHARACTER charset gbk", "Session a literal 1"]);
    check("SET charset 'gbk'", &["Session charset charset 'gbk'"]);
    check(
        "SET TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
        &["OneShotTransaction TRANSACTION characteristics READ ONLY, ISOLATION LEVEL SERIALIZABLE"],
    );
    check("SET SESSION TRANSACTION READ ONLY", &["Session TRANSACTION characteristics READ ONLY"]);
    check("SET GLOBAL TRANSACTION READ ONLY", &["Global TRANSACTION characteristics READ ONLY"]);
    check("SET @@tx_isolation = 'SERIALIZABLE'", &["OneShotTransaction tx_isolation literal 'SERIALIZABLE'"]);
    check("SET tx_isolation = 'SERIALIZABLE'", &["Session tx_isolation literal 'SERIALIZABLE'"]);
    check("SET ROLE a, b", &["Session ROLE role a, b"]);
    check("SET PASSWORD = 'secret'", &["Account PASSWORD expression = 'secret'"]);
}

#[test]
fn what_is_no_set_assigns_nothing() {
    check("SELECT 1", &[]);
    check("", &[]);
    check("SET", &[]);
    check("SET 5 = 1", &[]);
    check("SET @x", &[]);
}

#[test]
fn a_set_statement_lasts_for_a_statement() {
    assert_eq!(assignments(b"SET STATEMENT max_statement_time = 1 FOR SELECT 1", MARIADB).count(), 0);
    let check = |text: &str, expected: &[&str]| {
        let names = variables_for_a_statement(text.as_bytes(), MARIADB);
        let names: Vec<_> = names.map(|name| String::from_utf8_lossy(name.of(text.as_bytes())).into_owned()).collect();
        assert_eq!(names, expected, "{text}");
    };
    check("SET STATEMENT max_statement_time = 1 FOR SELECT 1", &["max_statement_time"]);
    check("/* a */ set statement a=1, `b`:='for' , c = IF(1, d, 2) for SELECT e = 1", &["a", "`b`", "c"]);
    check("SET STATEMENT = 1", &[]);
    check("SET max_statement_time = 1", &[]);
    check("SELECT a = 1", &[]);
}
