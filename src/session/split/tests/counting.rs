//! Counts of rows are those of the statement that left them, wherever that ran, or they are missed.

use super::diagnostics::{any, warns};
use super::following::reset;
use super::*;

/// A query that finds rows at the replica.
pub(super) fn finds(play: &mut Play) {
    assert_eq!(play.read("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"), Side::Replica);
}

#[test]
fn found_rows_are_those_of_the_last_query_whatever_came_behind_it() {
    for text in
        ["INSERT INTO t VALUES (1)", "SET @a = 1", "BEGIN", "UPDATE t SET a = 1", "/* nothing */", "# nothing\n ;"]
    {
        let mut play = any();
        finds(&mut play);
        play.at_home(text, AUTOCOMMIT, b"");
        assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica, "{text}");
        play.at_home(text, AUTOCOMMIT, b"");
        assert_eq!(play.read("SELECT ROW_COUNT()"), Side::Server, "{text}");
    }
    for text in ["INSERT INTO t SELECT 1", "SET @a = (SELECT MAX(a) FROM t)"] {
        let mut play = any();
        finds(&mut play);
        play.at_home(text, AUTOCOMMIT, b"");
        assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server, "{text}");
    }
    let mut play = any();
    finds(&mut play);
    assert_eq!(play.goes(&query("DELETE FROM t")), Side::Server);
    play.reply(Side::Server, &error(1, 1451));
    play.stage.take_client();
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica, "what fails finds nothing");
}

#[test]
fn rows_of_a_cursor_are_not_those_that_were_found() {
    let mut play = any();
    finds(&mut play);
    assert_eq!(play.goes(&command(0x1C, &[7, 0, 0, 0, 1, 0, 0, 0])), Side::Server);
    play.reply(Side::Server, &error(1, 1421));
    play.stage.take_client();
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica);
    assert_eq!(play.read("SELECT @@error_count"), Side::Server);
}

#[test]
fn home_is_not_asked_where_it_is_while_its_found_rows_may_be_asked_for() {
    let mut play = Play::new();
    for _ in 0..10 {
        assert_eq!(play.read("SELECT a FROM t LOCK IN SHARE MODE"), Side::Server);
    }
    play.said();
    assert_eq!(play.read("SHOW CREATE TABLE t"), Side::Server);
    assert_eq!(play.said_to_home(), [""; 0]);
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert_eq!(play.said_to_home(), ["SELECT @@GLOBAL.gtid_binlog_pos"]);
}

#[test]
fn what_ran_at_home_is_not_run_again_for_a_question() {
    let mut play = any();
    finds(&mut play);
    play.at_home("SET @a = @a + 1", AUTOCOMMIT, b"");
    play.closed(Side::Replica);
    play.said();
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"]);
}

/// A read that the replica fails, and home with it.
pub(super) fn fails_everywhere(play: &mut Play) {
    assert_eq!(play.goes(&query("SELECT b FROM t")), Side::Replica);
    play.reply(Side::Replica, &error(1, 1054));
    assert_eq!(play.stage.take_server(), query("SELECT b FROM t"));
    play.reply(Side::Server, &error(1, 1054));
    play.stage.take_client();
    play.said();
}

#[test]
fn home_finds_the_rows_of_the_last_query_that_did_not_fail() {
    for failures in 1..4 {
        let mut play = any();
        finds(&mut play);
        (0..failures).for_each(|_| fails_everywhere(&mut play));
        assert_eq!(play.read("SELECT FOUND_ROWS(), LAST_INSERT_ID()"), Side::Server);
        assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"], "behind {failures}");
        assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server, "of home's question by now");
    }
    let mut play = any();
    finds(&mut play);
    fails_everywhere(&mut play);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    fails_everywhere(&mut play);
    assert_eq!(play.read("SELECT FOUND_ROWS(), LAST_INSERT_ID()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT a FROM t"]);
}

/// Whether a question is refused that nobody can answer any more.
pub(super) fn is_missed(play: &mut Play, text: &str) -> bool {
    play.send(&query(text));
    let is_refusal = |payload: &[u8]| payload[0] == 0xFF && u16::from_le_bytes([payload[1], payload[2]]) == 1235;
    let client = play.stage.take_client();
    client.get(HEADER_LENGTH..).is_some_and(is_refusal)
}

#[test]
fn rows_that_a_question_of_ours_took_the_place_of_are_missed() {
    for is_failing in [true, false] {
        let mut play = Play::new();
        for _ in 0..10 {
            assert_eq!(play.read("SELECT a FROM t LOCK IN SHARE MODE"), Side::Server);
        }
        play.said();
        match is_failing {
            true => fails_everywhere(&mut play),
            false => assert_eq!(play.read("SELECT b FROM t"), Side::Replica),
        }
        assert_eq!(is_missed(&mut play, "SELECT FOUND_ROWS()"), is_failing);
    }
    let mut play = Play::new();
    assert!(!is_missed(&mut play, "SELECT FOUND_ROWS()"), "no query was before ours");
    let mut play = Play::new();
    for _ in 0..10 {
        assert_eq!(play.read("SELECT a FROM t LOCK IN SHARE MODE"), Side::Server);
    }
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server);
    fails_everywhere(&mut play);
    assert!(!is_missed(&mut play, "SELECT FOUND_ROWS()"), "it is one row, of the client's question and of ours");
}

#[test]
fn rows_found_at_a_replica_that_was_asked_something_since_are_found_by_home() {
    let mut play = any();
    finds(&mut play);
    play.closed(Side::Replica);
    fails_everywhere(&mut play);
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server, "the connection is another one");
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"]);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica);
}

#[test]
fn found_rows_of_home_outlive_a_reset_where_the_family_has_it_so() {
    let text = |text: &str| command(0x03, &[&[0, 1], text.as_bytes()].concat());
    let run = |play: &mut Play, words: &str| {
        let side = play.goes(&text(words));
        let result = play.result();
        play.reply(side, &result);
        play.stage.take_client();
        side
    };
    let mut play = Play::of(Script { user: "any", ..Script::of(true) });
    assert_eq!(run(&mut play, "SELECT a FROM t FOR SHARE"), Side::Server);
    play.said();
    assert_eq!(play.goes(&command(0x1F, b"")), Side::Server);
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    for keeps in ["SET @a = 1", "BEGIN", "SELECT FOUND_ROWS()", "SHOW WARNINGS", "SELECT ROW_COUNT()"] {
        assert_eq!(run(&mut play, keeps), Side::Server, "{keeps}");
        let questions = play.said_to_home().into_iter().filter(|text| text.starts_with("SELECT"));
        assert_eq!(questions.collect::<Vec<_>>(), [""; 0], "before {keeps}");
    }
    assert_eq!(run(&mut play, "SELECT a FROM t"), Side::Replica);
    let said = play.said();
    let asks_home =
        |(side, text): &(Side, String)| *side == Side::Server && text.starts_with("SELECT @@SESSION.sql_mode");
    assert!(said.iter().any(asks_home), "its values are the defaults of now: {said:?}");
    assert_eq!(run(&mut play, "SELECT a FROM t"), Side::Replica);
    assert_eq!(play.said(), [], "once");
}

#[test]
fn rows_found_at_a_replica_and_changed_at_home_may_be_asked_for_at_once() {
    for text in ["SET @a = 1", "DO 1", "DO f(1)", "BEGIN", "# nothing"] {
        let mut play = any();
        finds(&mut play);
        play.at_home(text, AUTOCOMMIT, b"");
        play.said();
        assert_eq!(play.read("SELECT FOUND_ROWS(), ROW_COUNT()"), Side::Server, "{text}");
        assert_eq!(
            play.said_to_home(),
            ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", "PING"],
            "which counts no rows"
        );
    }
    let mut play = any();
    finds(&mut play);
    assert_eq!(play.goes(&command(0x0E, b"")), Side::Server);
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    play.stage.take_client();
    play.said();
    assert_eq!(play.read("SELECT FOUND_ROWS(), ROW_COUNT()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", "PING"]);
    assert_eq!(play.read("SELECT FOUND_ROWS(), ROW_COUNT()"), Side::Server);
    assert_eq!(play.said_to_home(), [""; 0]);
}

#[test]
fn what_leaves_the_rows_that_were_found_runs_at_home() {
    let mut play = any();
    finds(&mut play);
    for text in ["SHOW CREATE TABLE t", "EXPLAIN SELECT a FROM t", "VALUES (1)"] {
        assert_eq!(play.read(text), Side::Server, "{text}");
    }
    play.said();
    assert_eq!(play.read("SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"]);
}

/// A text that goes home is answered with these packets.
fn is_answered(play: &mut Play, text: &str, answer: &[u8]) {
    assert_eq!(play.goes(&query(text)), Side::Server, "{text}");
    play.reply(Side::Server, answer);
    play.stage.take_client();
    play.said();
}

const MORE: StatusFlags = StatusFlags(AUTOCOMMIT.0 | StatusFlags::MORE_RESULTS.0);

/// OK, with more results behind it.
fn ok_before_more() -> Vec<u8> {
    encoded(OK_HEADER, OkPacket { status: MORE, ..OkPacket::default() }, true)
}

#[test]
fn rows_of_a_result_before_an_error_are_those_that_were_found() {
    let rows = || vec![vec![1], column("a"), end_with(MORE, b"")];
    let failure = || error(1, 1146)[HEADER_LENGTH..].to_vec();
    for (text, results, side) in [
        ("SELECT 1 FOR UPDATE; SELECT a FROM missing", rows(), Side::Server),
        ("SET @a = 1; SELECT a FROM missing", vec![ok_before_more()], Side::Replica),
        ("INSERT INTO t SELECT 1; SELECT a FROM missing", vec![ok_before_more()], Side::Server),
    ] {
        let mut play = any();
        finds(&mut play);
        is_answered(&mut play, text, &stream(&[results, vec![failure()]].concat()));
        assert_eq!(play.read("SELECT FOUND_ROWS()"), side, "{text}");
        assert_eq!(play.said_to_home(), [""; 0], "{text}");
    }
}

#[test]
fn what_may_have_found_rows_leaves_nobody_to_say_how_many() {
    let ok = || packet(1, &ok_with(AUTOCOMMIT, b""));
    for (text, answer) in [
        ("CALL p()", ok()),
        ("EXECUTE s", ok()),
        ("CALL p()", error(1, 1644)),
        ("DELETE FROM t WHERE a IN (SELECT a FROM u)", ok()),
        ("SELECT a FROM t FOR UPDATE", error(1, 1242)),
        ("SET @a = 1; CALL p()", stream(&[ok_before_more(), ok_with(AUTOCOMMIT, b"")])),
    ] {
        let mut play = any();
        finds(&mut play);
        is_answered(&mut play, text, &answer);
        assert!(is_missed(&mut play, "SELECT FOUND_ROWS()"), "{text}");
        assert!(is_missed(&mut play, "SET @a = 1; SELECT FOUND_ROWS()"), "{text}");
        assert_eq!(play.read("SELECT 1 FOR UPDATE; SELECT FOUND_ROWS()"), Side::Server, "{text}: those of that query");
        assert!(!is_missed(&mut play, "SELECT FOUND_ROWS()"), "{text}");
    }
    let mut play = any();
    finds(&mut play);
    is_answered(&mut play, "CALL p()", &stream(&[vec![1], column("a"), end_with(MORE, b""), ok_with(AUTOCOMMIT, b"")]));
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server, "its rows are told");
    let mut play = any();
    assert_eq!(play.read("SELECT a FROM t LOCK IN SHARE MODE"), Side::Server);
    is_answered(&mut play, "CALL p()", &ok());
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server, "whatever it found, home says it");
}

#[test]
fn rows_that_a_question_of_ours_took_the_place_of_stay_missed_behind_a_write() {
    for text in ["INSERT INTO t VALUES (1)", "SET @a = 1; SET @b = 2"] {
        let mut play = Play::new();
        for _ in 0..10 {
            assert_eq!(play.read("SELECT a FROM t LOCK IN SHARE MODE"), Side::Server);
        }
        fails_everywhere(&mut play);
        play.at_home(text, AUTOCOMMIT, b"");
        assert!(is_missed(&mut play, "SELECT FOUND_ROWS()"), "{text}");
        assert!(is_missed(&mut play, "SET @a = 1; SELECT FOUND_ROWS()"), "{text}");
        assert!(!is_missed(&mut play, "SELECT 1 FOR UPDATE; SELECT FOUND_ROWS()"), "{text}");
    }
}

#[test]
fn a_replica_is_asked_about_its_last_read_while_tables_are_locked_at_home() {
    let mut play = any();
    finds(&mut play);
    play.at_home("LOCK TABLES u READ", AUTOCOMMIT, b"");
    play.said();
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica);
    assert_eq!(play.read("SELECT a FROM u"), Side::Server);
}

#[test]
fn a_read_that_home_cannot_run_again_leaves_nobody_to_say_what_it_found() {
    let mut play = any();
    finds(&mut play);
    play.at_home("LOCK TABLES u READ", AUTOCOMMIT, b"");
    play.unanswered = "SQL_CALC_FOUND_ROWS";
    play.send(&query("SELECT FOUND_ROWS(), LAST_INSERT_ID()"));
    play.reply(Side::Server, &error(1, 1100));
    let (_, code, _) = error_of(&play.stage.take_client());
    assert_eq!((code, play.stage.take_server()), (1235, vec![]));
    assert!(is_missed(&mut play, "SELECT FOUND_ROWS()"));
    assert_eq!(play.read("SELECT ROW_COUNT()"), Side::Server);
}

/// A write that changes rows.
fn changes_rows(play: &mut Play) {
    let counts = OkPacket { affected: 3, status: AUTOCOMMIT, ..OkPacket::default() };
    is_answered(play, "UPDATE t SET a = 1", &packet(1, &encoded(OK_HEADER, counts, true)));
}

#[test]
fn what_both_servers_know_a_part_of_is_asked_for_in_vain_unless_home_can_say_both() {
    let mut play = any();
    finds(&mut play);
    changes_rows(&mut play);
    assert!(is_missed(&mut play, "SELECT FOUND_ROWS(), ROW_COUNT()"));
    assert_eq!(play.read("SELECT ROW_COUNT()"), Side::Server, "by itself");
    let mut play = any();
    finds(&mut play);
    is_answered(&mut play, "DO 1", &packet(1, &ok_with(AUTOCOMMIT, b"")));
    assert_eq!(play.read("SELECT FOUND_ROWS(), ROW_COUNT()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", "PING"], "it changed none");
    let mut play = any();
    assert_eq!(warns(&mut play, "SELECT CAST(a AS SIGNED) FROM t"), Side::Replica);
    play.at_home("SET @a = 1", AUTOCOMMIT, b"");
    play.said();
    assert_eq!(play.read("SELECT @@warning_count, ROW_COUNT()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT CAST(a AS SIGNED) FROM t", "PING"]);
    let mut play = any();
    finds(&mut play);
    assert_eq!(warns(&mut play, "INSERT IGNORE INTO t VALUES (1)"), Side::Server);
    assert!(is_missed(&mut play, "SELECT FOUND_ROWS(), @@warning_count"));
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica, "by itself");
}

#[test]
fn the_single_row_of_a_question_is_found_again_without_its_query() {
    for question in ["SELECT @@warning_count", "SHOW COUNT(*) WARNINGS", "SELECT FOUND_ROWS()"] {
        let mut play = any();
        assert_eq!(warns(&mut play, "SELECT CAST(a AS SIGNED) FROM t"), Side::Replica);
        assert_eq!(play.read(question), Side::Replica, "{question}");
        play.said();
        assert_eq!(play.read("SELECT FOUND_ROWS(), LAST_INSERT_ID()"), Side::Server);
        assert_eq!(play.said_to_home(), ["SELECT @@warning_count"], "{question}");
    }
}

#[test]
fn a_text_that_counts_its_own_rows_has_no_read_run_again() {
    for text in
        ["UPDATE t SET a = 1; SELECT ROW_COUNT()", "SELECT a FROM t FOR UPDATE; SELECT FOUND_ROWS(), ROW_COUNT()"]
    {
        let mut play = any();
        finds(&mut play);
        play.said();
        assert_eq!(play.read(text), Side::Server);
        assert_eq!(play.said_to_home(), [""; 0], "{text}");
    }
    let mut play = any();
    finds(&mut play);
    play.said();
    assert_eq!(play.read("SELECT FOUND_ROWS() FROM t FOR UPDATE; SELECT 1"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"]);
}

#[test]
fn a_read_is_not_run_again_where_it_may_find_something_else() {
    let combined = "SELECT FOUND_ROWS(), LAST_INSERT_ID()";
    let asks = |text: &str, trackers: &[u8]| {
        let mut play = any();
        finds(&mut play);
        play.at_home(text, AUTOCOMMIT, trackers);
        play.said();
        is_missed(&mut play, combined)
    };
    assert!(asks("USE other", &schema("other")));
    assert!(asks("SET sql_select_limit = 2", &variable("sql_select_limit", "2")));
    assert!(asks("CREATE TABLE u (a INT)", b""));
    assert!(!asks("INSERT INTO t VALUES (1)", b""), "it counts none");
    assert!(asks("DO f()", &position("0-1-7")));
    assert!(!asks("SET @a = 1", b""));
    assert!(!asks("SET group_concat_max_len = 5", &variable("group_concat_max_len", "5")));
    let mut play = any();
    finds(&mut play);
    changes_rows(&mut play);
    assert!(is_missed(&mut play, combined));
    let mut play = any();
    play.at_home("SET @a = 1", AUTOCOMMIT, b"");
    assert_eq!(play.read("SELECT a FROM t WHERE a > @a"), Side::Replica);
    play.at_home("SET @a = 2", AUTOCOMMIT, b"");
    assert!(is_missed(&mut play, combined));
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica, "it is still there");
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
    assert!(!is_missed(&mut play, combined), "another one");
}

#[test]
fn a_read_that_breaks_off_leaves_its_count_where_it_ran() {
    let mut play = any();
    finds(&mut play);
    assert_eq!(play.goes(&query("SELECT a, (SELECT b FROM u) FROM t")), Side::Replica);
    play.reply(Side::Replica, &stream(&[vec![1], column("a"), error(1, 1242)[HEADER_LENGTH..].to_vec()]));
    play.stage.take_client();
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica);
    let mut play = any();
    finds(&mut play);
    assert_eq!(play.goes(&query("SELECT a, (SELECT b FROM u) FROM t")), Side::Replica);
    play.reply(Side::Replica, &stream(&[vec![1], column("a"), error(1, 1242)[HEADER_LENGTH..].to_vec()]));
    play.stage.take_client();
    assert!(is_missed(&mut play, "SELECT FOUND_ROWS(), LAST_INSERT_ID()"));
}

#[test]
fn who_has_asked_in_vain_reads_at_home_until_it_is_reset() {
    let mut play = any();
    finds(&mut play);
    changes_rows(&mut play);
    assert!(is_missed(&mut play, "SELECT FOUND_ROWS(), ROW_COUNT()"));
    for _ in 0..10 {
        assert_eq!(play.read("SELECT a FROM t"), Side::Server, "as soon as it cannot be told apart from one server");
        assert!(!is_missed(&mut play, "SELECT FOUND_ROWS(), ROW_COUNT()"));
        let result = play.result();
        play.reply(Side::Server, &result);
        play.stage.take_client();
        play.stage.take_server();
    }
    reset(&mut play);
    assert!((0..10).any(|_| play.read("SELECT a FROM t") == Side::Replica), "reads leave home again");
}

/// The question is inside a statement that is executed by text: home runs the query again for it, and for no other.
#[test]
fn what_is_executed_by_text_is_looked_into_for_what_it_asks() {
    for (before, text, asks) in [
        ("PREPARE q FROM 'SELECT FOUND_ROWS()'", "EXECUTE `Q`", true),
        ("SET @q = 'SELECT FOUND_ROWS()'; PREPARE q FROM @q", "EXECUTE q", true),
        ("SET @q = 'SELECT FOUND_ROWS()'", "PREPARE q FROM @q; EXECUTE q", true),
        ("DO 1", "EXECUTE IMMEDIATE 'SELECT FOUND_ROWS()'", true),
        ("DO 1", "PREPARE q FROM 'SELECT FOUND_ROWS()'; EXECUTE q", true),
        ("PREPARE q FROM 'SELECT 1'", "EXECUTE q", false),
        ("PREPARE r FROM 'SELECT FOUND_ROWS()'; PREPARE q FROM 'SELECT 1'", "EXECUTE q", false),
        ("PREPARE q FROM 'SELECT FOUND_ROWS()'; PREPARE q FROM 'SELECT 1'", "EXECUTE q", false),
        ("PREPARE q FROM 'SELECT FOUND_ROWS()'; DEALLOCATE PREPARE q", "EXECUTE q", false),
        ("DO 1", "EXECUTE IMMEDIATE 'SELECT 1'", false),
    ] {
        let mut play = any();
        for text in before.split("; ") {
            play.at_home(text, AUTOCOMMIT, b"");
        }
        finds(&mut play);
        play.said();
        assert_eq!(play.read(text), Side::Server, "{text}");
        let again: &[&str] = if asks { &["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"] } else { &[] };
        assert_eq!(play.said_to_home(), again, "{before}; {text}");
    }
}
