//! What a statement leaves for those that ask about it, counts of rows and conditions, while commands that are no statements
//! come in between: those run at the primary, and what they answer depends on a read that ran at a replica.

use crate::compare::Recorder;
use crate::harness::Shape;
use crate::trackers::same_everywhere;

const PING: &[u8] = b"\x0E";
const SCHEMA: &[u8] = b"\x02information_schema";
const NO_SCHEMA: &[u8] = b"\x02no_such_schema";
const SEVERAL_STATEMENTS: &[u8] = b"\x1B\0\0";

/// One row, one row and a condition, an error.
const READS: [&str; 3] = ["SELECT 1", "SELECT 1 / 0", "SELECT no_such_column"];

/// Each read with each command behind it, and then what `ask` asks.
fn ask_behind_commands(ask: impl Fn(&mut Recorder)) {
    same_everywhere(|_, session| {
        for read in READS {
            for command in [PING, SCHEMA, NO_SCHEMA, SEVERAL_STATEMENTS] {
                session.query(read);
                session.ask(Shape::Single, command);
                ask(session);
            }
        }
    });
}

#[test]
fn commands_that_are_no_statements_count_the_conditions_of_the_statement_before() {
    ask_behind_commands(|session| {
        session.ask(Shape::Single, PING);
        session.query("SHOW COUNT(*) WARNINGS");
        session.ask(Shape::Single, PING);
    });
}

#[test]
fn a_reset_statement_leaves_no_conditions_to_count() {
    same_everywhere(|_, session| {
        let statement = session.prepare("SELECT 1 / 0");
        session.execute(statement, 0, &[]);
        session.ask(Shape::Single, PING);
        session.ask(Shape::Single, &[&b"\x1A"[..], &statement.to_le_bytes()].concat());
        session.ask(Shape::Single, PING);
        session.query("SHOW WARNINGS");
        session.query("SELECT ROW_COUNT()");
    });
}

#[test]
fn commands_that_are_no_statements_have_a_count_of_rows_of_their_own() {
    ask_behind_commands(|session| {
        session.query("SELECT ROW_COUNT()");
    });
    ask_behind_commands(|session| {
        session.query("SELECT FOUND_ROWS()");
    });
}

#[test]
fn an_error_of_a_command_that_is_no_statement_is_told_of() {
    ask_behind_commands(|session| {
        session.query("SHOW WARNINGS");
    });
}

#[test]
fn rows_of_a_cursor_leave_the_conditions_of_the_statement_before() {
    same_everywhere(|_, session| {
        let statement = session.prepare("SELECT 1 UNION ALL SELECT 2");
        session.execute(statement, 1, &[]).ok();
        session.query("SELECT 1 / 0").ok();
        let one_row = [&b"\x1C"[..], &statement.to_le_bytes(), &1_u32.to_le_bytes()].concat();
        session.ask(Shape::Rows, &one_row);
        session.query("SELECT @@warning_count").ok();
    });
}

/// What may come between a query and the question how many rows it found.
const RESET: &[u8] = b"\x1F";

#[test]
fn rows_that_were_found_outlive_a_reset_of_the_session() {
    same_everywhere(|_, session| {
        for hint in ["", "/* sqluice: primary */ "] {
            for between in ["SET @a = 1", "SET sql_mode = 'ANSI_QUOTES'", "BEGIN", "COMMIT", "DO 1"] {
                session.query(&format!("{hint}SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3"));
                session.ask(Shape::Single, RESET);
                session.query("SELECT FOUND_ROWS()");
                session.query(&format!("{hint}SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3"));
                session.ask(Shape::Single, RESET);
                session.query(between);
                session.query("SELECT FOUND_ROWS(), @@sql_mode");
                session.query("SELECT @a, @@sql_mode");
            }
        }
    });
}

#[test]
fn both_counts_of_rows_may_be_asked_for_at_once() {
    ask_behind_commands(|session| {
        session.query("SELECT FOUND_ROWS(), ROW_COUNT()");
    });
    same_everywhere(|_, session| {
        for between in ["SET @a = 1", "DO 1", "DO SLEEP(0)", "BEGIN", "COMMIT", "# nothing"] {
            session.query("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3");
            session.query(between);
            session.query("SELECT ROW_COUNT(), FOUND_ROWS()");
            session.query("SELECT FOUND_ROWS(), ROW_COUNT()");
        }
    });
}

/// A query may run at a replica, where it found rows; each of these texts finds some itself or leaves it at that.
#[test]
fn found_rows_are_those_of_the_servers() {
    const TEXTS: [&str; 47] = [
        "INSERT INTO t VALUES ((SELECT 9))",
        "INSERT INTO t VALUES ((SELECT MAX(a) FROM t2))",
        "INSERT INTO t SET a = (SELECT 9 FROM DUAL)",
        "INSERT INTO t SELECT 9",
        "INSERT INTO t (SELECT 9 FROM t2)",
        "INSERT INTO t VALUES (TRIM(LEADING 'x' FROM 'xy') = 'y')",
        "REPLACE INTO t SELECT 1",
        "DELETE FROM t WHERE a = 77",
        "DELETE FROM t WHERE a = (SELECT 77)",
        "DELETE FROM t WHERE a = (SELECT MAX(a) FROM t2)",
        "DELETE FROM t WHERE a = 9 AND EXISTS (SELECT 1 FROM t2 WHERE t2.a = 1)",
        "DELETE t FROM t, t2 WHERE t.a = t2.a",
        "DELETE FROM t USING t JOIN t2 ON t.a = t2.a",
        "INSERT INTO t VALUES (1), (2)",
        "UPDATE t SET a = 1",
        "UPDATE t SET a = (SELECT 9)",
        "UPDATE t SET a = (SELECT MAX(a) FROM t2)",
        "UPDATE t, t2 SET t.a = 9 WHERE t.a = t2.a",
        "CREATE TABLE t3 AS SELECT 1",
        "DROP TABLE t3",
        "CREATE VIEW v AS SELECT a FROM t",
        "ALTER VIEW v AS SELECT 1",
        "DROP VIEW v",
        "DO 1",
        "DO (SELECT 1)",
        "DO 1 IN (SELECT 1)",
        "DO (SELECT COUNT(*))",
        "DO (SELECT 1 WHERE 1 = 0)",
        "DO (SELECT a FROM t LIMIT 1)",
        "DO EXISTS (SELECT 1)",
        "SET @a = (SELECT 1)",
        "SET @a = (SELECT 1 FROM DUAL)",
        "SET @a = (SELECT MAX(a) FROM t)",
        "SET @b = 1, @a = 1 IN (SELECT a FROM t)",
        "SET @a = (SELECT 1 UNION SELECT 1)",
        "EXPLAIN t",
        "EXPLAIN SELECT 1",
        "EXPLAIN SELECT * FROM t2",
        "EXPLAIN INSERT INTO t SELECT 1",
        "SHOW TABLES",
        "SHOW CREATE TABLE t",
        "SHOW COUNT(*) WARNINGS",
        "SHOW PROFILES",
        "SHOW PRIVILEGES",
        "BEGIN",
        "COMMIT",
        "HELP 'no such topic'",
    ];
    same_everywhere(|flavour, session| {
        session.query("CREATE TABLE t (a INT)").ok();
        session.query("CREATE TABLE t2 (a INT)").ok();
        session.query("INSERT INTO t2 VALUES (1), (2)").ok();
        let of_family: &[&str] = match flavour.is_mariadb() {
            true => &[
                "VALUES (1), (2)",
                "VALUES (1), (2) ORDER BY 1",
                "ANALYZE UPDATE t SET a = 1 WHERE 1 = 0",
                "SET STATEMENT max_statement_time = 10 FOR INSERT INTO t VALUES (1)",
                "# nothing",
                "# nothing\n ;",
            ],
            false => &["VALUES ROW(1)", "TABLE t2", "INSERT INTO t TABLE t2", "EXPLAIN TABLE t2"],
        };
        for text in TEXTS.iter().chain(of_family) {
            session.query("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3").ok();
            session.query(text).ok();
            session.query(&format!("SELECT FOUND_ROWS() /* {text} */")).ok();
        }
    });
}
