//! What is asked about earlier statements is asked where it is, and home knows of every error.

use super::counting::{fails_everywhere, finds, is_missed};
use super::*;

pub(super) fn any() -> Play {
    Play::of(Script { user: "any", ..Script::default() })
}

/// The end of rows with this many warnings.
fn end_with_warnings(warnings: u16) -> Vec<u8> {
    encoded(EOF_HEADER, OkPacket { status: AUTOCOMMIT, warnings, ..OkPacket::default() }, true)
}

/// Runs a query that leaves warnings; says where.
pub(super) fn warns(play: &mut Play, text: &str) -> Side {
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
    assert!(is_missed(&mut play, "SELECT FOUND_ROWS(), DATABASE()"), "home would find rows of the other schema");
    assert_eq!(play.said_to_home(), [""; 0]);
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
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
    assert_eq!(play.read("SHOW WARNINGS"), Side::Server, "there are others now");

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
    let in_another_schema = || {
        let mut play = any();
        finds(&mut play);
        play.at_home("USE shop", AUTOCOMMIT, &schema("shop"));
        play
    };
    let mut play = in_another_schema();
    assert_eq!(play.read("SELECT a FROM t; SELECT FOUND_ROWS()"), Side::Server, "the replica is in another schema");
    let mut play = in_another_schema();
    assert!(is_missed(&mut play, "SELECT a, FOUND_ROWS() FROM t"), "so would home have been");
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
fn a_question_does_not_take_what_was_set_for_the_next_transaction() {
    let mut play = any();
    assert_eq!(warns(&mut play, "SELECT CAST(a AS SIGNED) FROM t"), Side::Replica);
    play.at_home("SET TRANSACTION READ ONLY", AUTOCOMMIT, b"");
    play.said();
    assert_eq!(play.read("SELECT @@warning_count"), Side::Replica);
    assert_eq!(play.said_to_home(), [""; 0]);
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
}
