//! What is asked about earlier statements is asked where it is, and home knows of every error.

use super::*;

fn any() -> Play {
    Play::of(Script { user: "any", ..Script::default() })
}

/// The end of rows with this many warnings.
fn end_with_warnings(warnings: u16) -> Vec<u8> {
    encoded(EOF_HEADER, OkPacket { status: AUTOCOMMIT, warnings, ..OkPacket::default() }, true)
}

/// Runs a query that leaves warnings; says where.
fn warns(play: &mut Play, text: &str) -> Side {
    let side = play.goes(&query(text));
    let rows = stream(&[vec![1], column("a"), end_with_warnings(1)]);
    play.reply(side, &rows);
    assert_eq!(play.stage.take_client(), rows);
    side
}

#[test]
fn a_read_that_fails_at_a_replica_is_homes_to_answer() {
    for code in [1146, 1054, 1064, 1242, 1213] {
        for cut in [1, 3, usize::MAX] {
            let mut play = Play::of(Script { cut, user: "any", ..Script::default() });
            assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Replica);
            play.reply(Side::Replica, &error(1, code));
            assert_eq!(play.stage.take_server(), query("SELECT a FROM t"), "{code}, cut at {cut}");
            let answer = error(1, code + 1);
            play.reply(Side::Server, &answer);
            assert_eq!(play.stage.take_client(), answer, "the client hears home's");
            for text in ["SHOW WARNINGS", "SHOW COUNT(*) ERRORS", "SELECT @@error_count"] {
                assert_eq!(play.read(text), Side::Server, "{text}");
            }
            play.said();
            assert_eq!(play.goes(&query("GET DIAGNOSTICS @n = NUMBER")), Side::Server);
            assert_eq!(play.said(), [], "it knows already");
        }
    }
}

#[test]
fn a_read_that_was_ended_by_force_is_not_begun_again() {
    for code in [1317, 1927, 1969, 3024] {
        let mut play = any();
        assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Replica);
        play.reply(Side::Replica, &error(1, code));
        assert_eq!((play.stage.take_client(), play.stage.take_server()), (error(1, code), vec![]));
    }
}

#[test]
fn a_question_about_the_last_statement_is_not_answered_by_another_server() {
    let mut play = any();
    assert_eq!(play.read("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"), Side::Replica);
    assert_eq!(play.goes(&query("SELECT FOUND_ROWS()")), Side::Replica);
    play.closed(Side::Replica);
    let (_, code, _) = error_of(&play.stage.take_client());
    assert_eq!((code, play.stage.take_server(), play.activity()), (1158, vec![], "idle"));
}

#[test]
fn what_only_shows_warnings_is_not_what_left_them() {
    let mut play = any();
    assert_eq!(warns(&mut play, "SELECT CAST(a AS SIGNED) FROM t"), Side::Replica);
    assert_eq!(play.read("SHOW WARNINGS"), Side::Replica);
    play.said();
    play.send(&query("GET DIAGNOSTICS @n = NUMBER"));
    assert_eq!(play.said_to_home(), ["SELECT CAST(a AS SIGNED) FROM t"]);
}

#[test]
fn conditions_outlive_statements_without_a_table_where_the_family_has_it_so() {
    let mut play = any();
    play.at_home("SET @a = 1", AUTOCOMMIT, b"");
    assert_eq!(play.read("SELECT 1"), Side::Replica, "there is nothing to outlive anything");
    assert_eq!(warns(&mut play, "INSERT IGNORE INTO t VALUES (1)"), Side::Server);
    assert_eq!(play.read("SELECT 1"), Side::Server);
    assert_eq!(play.read("SHOW WARNINGS"), Side::Server);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.at_home("SET @a = 1", AUTOCOMMIT, b"");
    assert_eq!(play.read("SHOW WARNINGS"), Side::Replica, "home has those of the INSERT still");
    assert_eq!(warns(&mut play, "SELECT CAST(a AS SIGNED) FROM t"), Side::Replica);
    play.at_home("SET @a = 1", AUTOCOMMIT, b"");
    assert_eq!(play.read("SHOW WARNINGS"), Side::Replica);
}

#[test]
fn elsewhere_the_next_statement_makes_conditions_forgotten() {
    let text = |text: &str| command(0x03, &[&[0, 1], text.as_bytes()].concat());
    let mut play = Play::of(Script { user: "any", ..Script::of(true) });
    assert_eq!(play.goes(&text("INSERT IGNORE INTO t VALUES (1)")), Side::Server);
    let rows = encoded(OK_HEADER, OkPacket { status: AUTOCOMMIT, warnings: 1, ..OkPacket::default() }, true);
    play.reply(Side::Server, &packet(1, &rows));
    for text_of in ["SELECT 1", "SHOW WARNINGS"] {
        assert_eq!(play.goes(&text(text_of)), Side::Replica, "{text_of}");
        let result = play.result();
        play.reply(Side::Replica, &result);
    }
}

/// A query that finds rows at the replica.
fn finds(play: &mut Play) {
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
    for text in ["INSERT INTO t SELECT 1", "CALL p()", "SET @a = (SELECT MAX(a) FROM t)"] {
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
fn a_question_is_answered_with_the_settings_of_its_time() {
    let mut play = any();
    finds(&mut play);
    play.said();
    play.sets("SET sql_mode = 'ANSI_QUOTES'", "sql_mode", "ANSI_QUOTES");
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica);
    assert_eq!(play.said_to_replica(), ["SET SESSION sql_mode='ANSI_QUOTES'"]);
}

#[test]
fn a_question_is_answered_in_the_schema_of_its_time() {
    let mut play = any();
    finds(&mut play);
    play.at_home("USE other", AUTOCOMMIT, &schema("other"));
    play.said();
    assert_eq!(play.read("SELECT FOUND_ROWS(), DATABASE()"), Side::Replica);
    assert_eq!(play.said_to_replica(), ["USE other"]);
    let mut play = Play::of(Script { user: "any", refused: ("USE other", 1044), ..Script::default() });
    finds(&mut play);
    play.at_home("USE other", AUTOCOMMIT, &schema("other"));
    play.said();
    assert_eq!(play.read("SELECT FOUND_ROWS(), DATABASE()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"]);
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
fn fails_everywhere(play: &mut Play) {
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

#[test]
fn conditions_that_went_when_home_ran_an_earlier_read_again_are_missed() {
    let about = "SELECT FOUND_ROWS(), LAST_INSERT_ID()";
    let mut play = any();
    finds(&mut play);
    fails_everywhere(&mut play);
    assert_eq!(play.read("SHOW WARNINGS"), Side::Server, "its error");
    assert_eq!(play.read(about), Side::Server);
    assert!(is_missed(&mut play, "SHOW WARNINGS") && is_missed(&mut play, "SELECT @@error_count"));
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert_eq!(play.read("SHOW WARNINGS"), Side::Replica, "there are others now");

    let mut play = any();
    finds(&mut play);
    assert_eq!(warns(&mut play, "INSERT IGNORE INTO t VALUES (1)"), Side::Server);
    assert_eq!(play.read(about), Side::Server);
    assert!(is_missed(&mut play, "SHOW WARNINGS"));

    let mut play = any();
    finds(&mut play);
    play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
    assert_eq!(play.read(about), Side::Server);
    assert_eq!(play.read("SHOW WARNINGS"), Side::Server, "there were none");
}

#[test]
fn a_read_that_was_ended_by_force_has_an_error_and_no_rows() {
    let is_killed = |play: &mut Play| {
        finds(play);
        assert_eq!(play.goes(&query("SELECT b FROM t")), Side::Replica);
        play.reply(Side::Replica, &error(1, 1317));
        play.stage.take_client();
        play.said();
    };
    let mut play = any();
    is_killed(&mut play);
    assert_eq!(play.read("SELECT FOUND_ROWS(), LAST_INSERT_ID()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"]);
    assert_eq!(play.read("SHOW WARNINGS"), Side::Replica, "there is the error");
    let mut play = any();
    is_killed(&mut play);
    play.at_home("GET DIAGNOSTICS @n = NUMBER", AUTOCOMMIT, b"");
    assert_eq!(play.said_to_home(), ["SELECT b FROM t"]);
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica, "there are the rows still");
    let mut play = any();
    is_killed(&mut play);
    assert_eq!(play.read("SELECT @@error_count, FOUND_ROWS(), LAST_INSERT_ID()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", "SELECT b FROM t"]);
}

/// Whether a question is refused that nobody can answer any more.
fn is_missed(play: &mut Play, text: &str) -> bool {
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
fn several_statements_in_a_text_stay_where_they_were_allowed_or_forbidden() {
    let mut play = any();
    assert_eq!(play.goes(&query("SELECT a FROM t; SELECT b FROM t")), Side::Replica);
    let mut play = any();
    assert_eq!(play.goes(&command(0x1B, &[1, 0])), Side::Server);
    play.reply(Side::Server, &packet(1, &eof(AUTOCOMMIT)));
    play.stage.take_client();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert_eq!(play.goes(&query("SELECT a FROM t; SELECT b FROM t")), Side::Server);
}

#[test]
fn a_question_that_reads_data_as_well_is_no_mere_question() {
    for text in ["SELECT a FROM t; SELECT FOUND_ROWS()", "SELECT a, FOUND_ROWS() FROM t"] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        assert_eq!(play.read("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"), Side::Replica);
        play.at_home("USE shop", AUTOCOMMIT, &schema("shop"));
        assert_eq!(play.read(text), Side::Server, "{text}: the replica is in another schema");
    }
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
fn until_home_was_asked_behind_a_reset_texts_are_read_with_care() {
    let text = |text: &str| command(0x03, &[&[0, 1], text.as_bytes()].concat());
    let mut play = Play::of(Script { user: "any", ..Script::of(true) });
    let place = names(true).position(|name| name == "character_set_client").expect("it is compared");
    play.script.replica_values[place] = "gbk";
    assert_eq!(play.goes(&command(0x1F, b"")), Side::Server);
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    let split = |play: &Play| match &play.stage.session.state {
        State::Relay(relay) => relay.split.as_deref().map(|split| split.journal.charset()),
        _ => None,
    };
    assert_eq!(split(&play), Some(sql::ClientCharset::Unknown));
    play.send(&text("SELECT a FROM t"));
    assert_eq!(split(&play), Some(sql::ClientCharset::from_name(b"gbk")));
}

#[test]
fn the_error_of_a_command_for_a_statement_that_is_not_there_comes_to_the_conditions_of_the_read_before() {
    let text = |text: &str| command(0x03, &[&[0, 1], text.as_bytes()].concat());
    let about = |code: u8| command(code, &[77, 0, 0, 0, 0, 1, 0, 0, 0]);
    for (what, code) in [("execute", 0x17), ("fetch", 0x1C), ("reset", 0x1A)] {
        let mut play = Play::of(Script { user: "any", ..Script::of(true) });
        assert_eq!(play.goes(&text("SELECT 1 / 0")), Side::Replica);
        play.reply(Side::Replica, &stream(&[vec![1], column("a"), end_with_warnings(1)]));
        play.stage.take_client();
        play.said();
        assert_eq!(play.goes(&about(code)), Side::Server, "{what}");
        assert_eq!(play.said_to_home(), ["SELECT 1 / 0"], "{what}: home has its warnings, to which the error comes");
        play.reply(Side::Server, &error(1, 1243));
        play.stage.take_client();
        assert_eq!(play.goes(&text("SELECT @@warning_count")), Side::Server, "{what}");
    }
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

#[test]
fn a_question_does_not_take_what_was_set_for_the_next_transaction() {
    let mut play = any();
    assert_eq!(warns(&mut play, "SELECT CAST(a AS SIGNED) FROM t"), Side::Replica);
    play.at_home("SET TRANSACTION READ ONLY", AUTOCOMMIT, b"");
    play.said();
    assert_eq!(play.read("SELECT @@warning_count"), Side::Replica);
    assert_eq!(play.said_to_home(), [""; 0]);
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
}
