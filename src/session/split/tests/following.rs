//! The session's state goes with it; what cannot be carried keeps reads at home; what the client did not ask for does not
//! reach it.

use super::*;

/// What the replica is told before the next read, after its values were asked for.
fn told(play: &mut Play) -> Vec<String> {
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.said_to_replica().into_iter().filter(|text| !text.starts_with("SELECT @@SESSION")).collect()
}

#[test]
fn other_defaults_of_a_replica_are_made_those_of_home() {
    let mut values = Script::default().replica_values;
    values[1] = "+05:00";
    let mut play = Play::of(Script { replica_values: values, ..Script::default() });
    assert_eq!(told(&mut play), ["SET SESSION time_zone='SYSTEM'"]);
}

#[test]
fn settings_go_with_the_session_once_each() {
    for has_read in [false, true] {
        let mut play = Play::new();
        if has_read {
            told(&mut play);
        }
        play.sets("SET time_zone = '+02:00'", "time_zone", "+02:00");
        assert_eq!(told(&mut play), ["SET SESSION time_zone='+02:00'"]);
        assert_eq!(told(&mut play), [""; 0]);
    }
}

#[test]
fn literals_of_user_variables_go_with_the_session() {
    let mut play = Play::new();
    play.at_home("SET @a = 5, @b = 'text'", AUTOCOMMIT, &state_change());
    assert_eq!(told(&mut play), ["SET @`a`=5, @`b`='text'"]);
    assert_eq!(play.read("SELECT @a, @never"), Side::Replica);
    play.at_home("SET @a = (SELECT 1)", AUTOCOMMIT, &state_change());
    play.at_home("SET @c = 1", AUTOCOMMIT, b"");
    assert_eq!(play.read("SELECT @a"), Side::Server);
}

#[test]
fn a_user_variable_that_may_have_changed_unseen_is_read_at_home() {
    for text in [
        "CALL p()",
        "SELECT 1 INTO @a",
        "SELECT @a := 1",
        "INSERT INTO has_trigger VALUES (1)",
        "DO stored()",
        "EXECUTE statement",
    ] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        play.at_home("SET @a = 5", AUTOCOMMIT, b"");
        play.at_home(text, AUTOCOMMIT, b"");
        assert_eq!(play.read("SELECT @a"), Side::Server, "{text}");
    }
}

#[test]
fn the_schema_goes_with_the_session() {
    let mut play = Play::new();
    told(&mut play);
    play.at_home("USE shop", AUTOCOMMIT, &schema("shop"));
    assert_eq!(told(&mut play), ["USE shop"]);
    assert_eq!(play.goes(&command(0x02, b"other")), Side::Server);
    play.reply(Side::Server, &packet(1, &ok_with(AUTOCOMMIT, &schema("other"))));
    play.stage.take_client();
    assert_eq!(told(&mut play), ["USE other"]);
}

#[test]
fn a_session_without_schema_leaves_a_replica_that_has_one() {
    let mut play = Play::of(Script { user: "any", schema: Some("shop"), ..Script::default() });
    told(&mut play);
    play.at_home("DROP DATABASE shop", AUTOCOMMIT, &schema(""));
    told(&mut play);
    assert_eq!(play.introduction.take().expect("a second login").database, None);
}

#[test]
fn roles_go_with_the_session() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.at_home("SET ROLE auditor", AUTOCOMMIT, b"");
    assert_eq!(told(&mut play), ["SET ROLE auditor"]);
}

/// COM_RESET_CONNECTION, answered.
pub(super) fn reset(play: &mut Play) {
    assert_eq!(play.goes(&command(0x1F, b"")), Side::Server);
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    assert_eq!(play.stage.take_client(), packet(1, &ok(AUTOCOMMIT)));
}

#[test]
fn another_user_begins_at_servers_of_its_own() {
    let mut play = Play::new();
    told(&mut play);
    play.stage.to_replica.clear();
    play.stage.change_user("split", "secret");
    assert_eq!(play.stage.to_replica, command(0x01, b""), "the replica hears a goodbye");
    assert!(play.stage.wishes.iter().any(|wish| matches!(wish, Output::ReleaseReplica)));
    play.stage.to_replica.clear();
    play.stage.leased(HOME);
    play.stage.server_lets_in();
    play.stage.take_client();
    play.serve();
    assert_eq!(play.said_to_home().len(), 2, "values and tracking, again");
    // The client has not forgotten what it wrote before: a replica has to be seen past that.
    assert!((0..10).any(|_| play.read("SELECT a FROM t") == Side::Replica), "reads leave home again");
}

#[test]
fn trackers_that_the_client_did_not_ask_for_do_not_reach_it() {
    for cut in [1, 2, 3, usize::MAX] {
        let mut play = Play::cut(cut);
        let all = [variable("sort_buffer_size", "1"), state_change(), position("0-1-5")].concat();
        let heard = play.at_home("SET SESSION sort_buffer_size = 1", AUTOCOMMIT, &all);
        assert_eq!(heard, packet(1, &ok(AUTOCOMMIT)), "cut at {cut}");
        let own = [variable("time_zone", "+02:00"), schema("shop")].concat();
        let heard = play.at_home("SET time_zone = '+02:00'", AUTOCOMMIT, &[own.clone(), state_change()].concat());
        assert_eq!(heard, packet(1, &ok_with(AUTOCOMMIT, &own)), "cut at {cut}");
    }
}

#[test]
fn trackers_at_the_end_of_rows_are_taken_out_too() {
    for cut in [1, 2, 3, usize::MAX] {
        let mut play = Play::cut(cut);
        assert_eq!(play.goes(&query("SELECT @a := 1")), Side::Server);
        let rows = |end: Vec<u8>| stream(&[vec![1], column("a"), b"\x011".to_vec(), end]);
        play.reply(Side::Server, &rows(end_with(AUTOCOMMIT, &state_change())));
        assert_eq!(play.stage.take_client(), rows(end_with(AUTOCOMMIT, b"")), "cut at {cut}");
    }
}

#[test]
fn a_client_that_knows_no_trackers_reads_texts_as_it_expects_them() {
    for cut in [1, 2, 3, usize::MAX] {
        let mut play = Play::of(Script { cut, lacking: Capabilities::SESSION_TRACK, ..Script::default() });
        assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
        let packet_of = |tracks, trackers: &[u8]| {
            let ok = OkPacket { status: AUTOCOMMIT, info: b"Rows matched: 1".to_vec(), ..OkPacket::default() };
            packet(1, &encoded(OK_HEADER, OkPacket { trackers: some(trackers), ..ok }, tracks))
        };
        play.reply(Side::Server, &packet_of(true, &position("0-1-5")));
        assert_eq!(play.stage.take_client(), packet_of(false, b""), "cut at {cut}");
        play.goes(&query("UPDATE t SET a = 1"));
        play.reply(Side::Server, &packet_of(true, b""));
        assert_eq!(play.stage.take_client(), packet_of(false, b""), "cut at {cut}");
    }
}

#[test]
fn settings_of_a_failed_statement_are_not_guessed() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    assert_eq!(play.goes(&query("SET time_zone = '+02:00', nonsense = 1")), Side::Server);
    play.reply(Side::Server, &error(1, 1193));
    play.stage.take_client();
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
}

#[test]
fn one_setting_that_failed_was_not_set_and_binds_nothing() {
    for (text, side) in [
        ("SET no_such_variable = 1", Side::Replica),
        ("SET NAMES bogus", Side::Replica),
        ("SET @@time_zone = 'bogus'", Side::Replica),
        ("SET time_zone = (SELECT zone FROM t)", Side::Server),
        ("SET time_zone = f()", Side::Server),
        ("SET NAMES utf8mb4, time_zone = 'bogus'", Side::Server),
        ("SET time_zone = '+01:00'; SET no_such_variable = 1", Side::Server),
    ] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        assert_eq!(play.goes(&query(text)), Side::Server);
        play.reply(Side::Server, &error(1, 1193));
        play.stage.take_client();
        assert_eq!(play.read("SELECT a FROM t"), side, "{text}");
    }
}

#[test]
fn a_client_that_turns_trackers_on_gets_them() {
    let mut play = Play::new();
    play.sets("SET session_track_state_change = 1", "session_track_state_change", "ON");
    let heard = play.at_home("SET @a = 1", AUTOCOMMIT, &state_change());
    assert_eq!(heard, packet(1, &ok_with(AUTOCOMMIT, &state_change())));
    play.sets(
        "SET session_track_system_variables = 'sort_buffer_size'",
        "session_track_system_variables",
        "sort_buffer_size",
    );
    let heard = play.at_home("SET sort_buffer_size = 1", AUTOCOMMIT, &variable("sort_buffer_size", "1"));
    assert_eq!(heard, packet(1, &ok_with(AUTOCOMMIT, &variable("sort_buffer_size", "1"))));
}

#[test]
fn a_one_shot_waits_for_its_transaction() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.at_home("SET TRANSACTION READ ONLY", AUTOCOMMIT, b"");
    assert_eq!(play.goes(&command(0x0E, b"")), Side::Server);
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    play.stage.take_client();
    assert_eq!(play.read("SELECT a FROM t"), Side::Server, "a ping is no transaction");
    play.at_home("BEGIN", TRANSACTION, b"");
    play.at_home("COMMIT", AUTOCOMMIT, b"");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
}

#[test]
fn a_prepared_set_is_no_secret() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.send(&command(0x16, b"SET @a = 5"));
    play.stage.take_server();
    play.reply(Side::Server, &packet(1, &[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(play.goes(&command(0x17, &[7, 0, 0, 0, 0, 1, 0, 0, 0])), Side::Server);
    play.reply(Side::Server, &packet(1, &ok_with(AUTOCOMMIT, &state_change())));
    play.stage.take_client();
    assert_eq!(play.read("SELECT @a"), Side::Replica);
    assert_eq!(play.said_to_replica()[1..], ["SET @`a`=5"]);
}

#[test]
fn a_prepared_statement_makes_a_temporary_table_too() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.send(&command(0x16, b"CREATE TEMPORARY TABLE x (a INT)"));
    play.stage.take_server();
    play.reply(Side::Server, &packet(1, &[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    play.goes(&command(0x17, &[7, 0, 0, 0, 0, 1, 0, 0, 0]));
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    play.stage.take_client();
    assert_eq!(play.read("SELECT a FROM x"), Side::Server);
}

#[test]
fn a_reset_asks_home_anew_and_reaches_the_replica() {
    for is_lost in [false, true] {
        let mut play = Play::of(Script { user: "any", schema: Some("shop"), ..Script::default() });
        play.sets("SET time_zone = '+02:00'", "time_zone", "+02:00");
        assert_eq!(told(&mut play), ["SET SESSION time_zone='+02:00'"]);
        reset(&mut play);
        let said = play.said_to_home();
        assert!(
            said.iter().any(|text| text.starts_with("SELECT @@SESSION.")),
            "its values are the defaults of now: {said:?}"
        );
        assert!(said.iter().any(|text| text.starts_with("SET SESSION session_track")), "{said:?}");
        play.introduction = None;
        if is_lost {
            play.closed(Side::Replica);
        }
        // The login's character sets may have the names of the server's own, and are others.
        assert_eq!(told(&mut play), ["RESET"]);
        assert_eq!(play.introduction.take().map(|login| login.database), is_lost.then(|| Some(b"shop".to_vec())));
        assert_eq!(told(&mut play), [""; 0]);
    }
}

#[test]
fn a_question_behind_a_reset_finds_the_replica_reset_and_the_next_read_finds_it_guarded() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.sets("SET time_zone = '+02:00'", "time_zone", "+02:00");
    assert_eq!(play.read("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"), Side::Replica);
    reset(&mut play);
    play.said();
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica, "{:?}", play.said);
    assert_eq!(play.said_to_replica(), ["RESET"], "no question of ours comes between");
    let place = names(false).position(|name| name == "lc_time_names").expect("it is compared");
    play.script.replica_values[place] = "ja_JP";
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    let said = play.said_to_replica();
    assert!(said[0].starts_with("SELECT @@SESSION."), "{said:?}");
    assert_eq!(said[1..], ["SET SESSION lc_time_names='en_US'"], "what it lacks of home's values is made good");
}

#[test]
fn defaults_that_show_in_results_or_errors_are_made_those_of_home() {
    for (is_mysql, family) in [(false, "tx_isolation"), (true, "transaction_isolation")] {
        for name in ["lc_messages", "sql_big_selects", "sql_safe_updates", family] {
            let mut script = Script { user: "any", ..Script::of(is_mysql) };
            let place = names(is_mysql).position(|known| known == name).expect("it is compared");
            script.replica_values[place] = "other";
            let mut play = Play::of(script);
            let text = if is_mysql { command(0x03, b"\0\x01SELECT a FROM t") } else { query("SELECT a FROM t") };
            assert_eq!(play.goes(&text), Side::Replica);
            let said = play.said_to_replica();
            assert_eq!(said.last(), Some(&format!("SET SESSION {name}={}", value_of(name))));
        }
    }
}

#[test]
fn a_replica_that_lacks_the_schema_is_tried_again_after_the_next_use() {
    let mut play = Play::of(Script { user: "any", refused: ("USE fresh", 1049), ..Script::default() });
    told(&mut play);
    play.at_home("USE fresh", AUTOCOMMIT, &schema("fresh"));
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
    play.at_home("USE shop", AUTOCOMMIT, &schema("shop"));
    assert_eq!(told(&mut play), ["USE fresh", "USE shop"]);
}

#[test]
fn a_statement_behind_set_role_is_not_run_a_second_time() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    let both = "SET ROLE auditor; INSERT INTO t VALUES (1)";
    assert_eq!(play.goes(&query(both)), Side::Server);
    let more = StatusFlags(AUTOCOMMIT.0 | StatusFlags::MORE_RESULTS.0);
    play.reply(Side::Server, &stream(&[ok_with(more, b""), ok_with(AUTOCOMMIT, b"")]));
    play.stage.take_client();
    play.read("SELECT a FROM t");
    let said = play.said_to_replica();
    assert!(!said.iter().any(|text| text.contains("INSERT")), "{said:?}");
}

#[test]
fn a_statement_that_failed_may_have_assigned_a_user_variable() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.at_home("SET @a = 5", AUTOCOMMIT, b"");
    assert_eq!(play.goes(&query("SELECT a INTO @a FROM t")), Side::Server);
    play.reply(Side::Server, &error(1, 1172));
    assert_eq!(play.goes(&query("SELECT @a")), Side::Server);
}

#[test]
fn names_of_user_variables_are_compared_as_the_server_does() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.at_home("SET @É = 5", AUTOCOMMIT, b"");
    play.at_home("SELECT 1 INTO @é", AUTOCOMMIT, b"");
    assert_eq!(play.read("SELECT @É"), Side::Server);
}

#[test]
fn what_cannot_be_carried_keeps_reads_at_home_until_it_ends() {
    for (begin, trackers, end) in [
        ("CREATE TEMPORARY TABLE x (a INT)", state_change(), Some("DROP TEMPORARY TABLE x")),
        ("LOCK TABLES t WRITE", vec![], Some("UNLOCK TABLES")),
        ("SELECT GET_LOCK('a', 1)", vec![], Some("SELECT RELEASE_LOCK('a')")),
        ("SELECT GET_LOCK('a', 1)", vec![], Some("SELECT RELEASE_ALL_LOCKS()")),
        ("CALL p()", state_change(), None),
        ("SET timestamp = 1000", variable("timestamp", "1000"), Some("SET @@session.timestamp = DEFAULT")),
        (
            "SET binlog_format = ROW, sql_log_off = 1",
            vec![],
            Some("SET sql_log_off = DEFAULT, binlog_format = DEFAULT"),
        ),
        ("SET rand_seed1 = 5", vec![], None),
        ("SET sql_log_bin = 0", variable("sql_log_bin", "OFF"), None),
        ("SET session_track_schema = 0", variable("session_track_schema", "OFF"), None),
    ] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        play.at_home(begin, AUTOCOMMIT, &trackers);
        assert_eq!(play.read("SELECT a FROM t"), Side::Server, "{begin}");
        assert!(!play.stage.session.pins().is_empty(), "{begin}");
        if let Some(end) = end {
            play.at_home(end, AUTOCOMMIT, b"");
            assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "{end}");
        }
        reset(&mut play);
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "a reset ends {begin}");
    }
}

#[test]
fn characteristics_of_all_transactions_are_told_by_mysql() {
    let mut play = Play::of(Script { is_mysql: true, user: "any", ..Script::default() });
    let mut command = query("\0\x01SET SESSION TRANSACTION READ ONLY");
    assert_eq!(play.goes(&command), Side::Server);
    play.reply(Side::Server, &packet(1, &ok_with(AUTOCOMMIT, &variable("transaction_read_only", "ON"))));
    command = query("\0\x01SELECT a FROM t");
    assert_eq!(play.goes(&command), Side::Replica);
}

#[test]
fn mariadb_tells_nothing_of_a_variable_with_two_signs_and_no_scope() {
    for (text, expected) in [
        ("SET @@time_zone = '+02:00'", "SET SESSION time_zone='+02:00'"),
        ("SET @@`Sql_Notes` = false, @u = 1", "SET SESSION sql_notes=0, @`u`=1"),
        ("SET @@max_sort_length=64", "SET SESSION max_sort_length=64"),
    ] {
        let mut play = Play::new();
        play.at_home(text, AUTOCOMMIT, b"");
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "{text}");
        assert_eq!(play.said_to_replica()[1..], [expected], "{text}");
    }
    for text in [
        "SET @@time_zone = DEFAULT",
        "SET @@time_zone = @@global.time_zone",
        "SET @@character_set_results = NULL",
        "SET @@sql_mode = 'it''s'",
        "SET @u = 1; SET @@time_zone = '+01:00'",
    ] {
        let mut play = Play::new();
        play.at_home(text, AUTOCOMMIT, b"");
        assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server, "{text}");
    }
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.at_home("SET @@session.time_zone = DEFAULT", AUTOCOMMIT, &variable("time_zone", "SYSTEM"));
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "it is told of this");
}
