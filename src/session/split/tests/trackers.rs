//! What the client sees of what its server tells: what it asked for, byte for byte, whatever we asked for.

use super::{
    statements::{ID, execute, prepare},
    *,
};

/// Home says OK with these trackers; what the client hears in place of all of them.
fn heard(play: &mut Play, text: &str, status: StatusFlags, trackers: &[u8]) -> Vec<u8> {
    play.at_home(text, status, trackers)
}

fn plain(status: StatusFlags) -> Vec<u8> {
    packet(1, &ok(status))
}

fn with(status: StatusFlags, trackers: &[u8]) -> Vec<u8> {
    packet(1, &ok_with(status, trackers))
}

fn mysql() -> Script {
    Script { is_mysql: true, user: "any", ..Script::default() }
}

fn with_attributes(text: &str) -> Vec<u8> {
    command(0x03, &[&[0, 1], text.as_bytes()].concat())
}

/// As [`Play::at_home`], where texts have attributes before them.
fn at_mysql(play: &mut Play, text: &str, status: StatusFlags, trackers: &[u8]) -> Vec<u8> {
    assert_eq!(play.goes(&with_attributes(text)), Side::Server, "{text}");
    // An empty block is one, too.
    let ok = OkPacket { status, trackers: Some(trackers.to_vec()), ..OkPacket::default() };
    play.reply(Side::Server, &packet(1, &encoded(OK_HEADER, ok, true)));
    play.stage.take_client()
}

fn transaction_state(state: &str) -> Vec<u8> {
    let mut data = Vec::new();
    Writer::new(&mut data).lenenc_bytes(state.as_bytes());
    tracker(5, &data)
}

fn no_trackers(status: StatusFlags) -> Vec<u8> {
    packet(1, &encoded(OK_HEADER, OkPacket { status, trackers: Some(Vec::new()), ..OkPacket::default() }, true))
}

#[test]
fn home_is_asked_for_what_the_client_has_and_for_more() {
    for (is_mysql, tells, begins, ends) in [
        (false, "redirect_url,autocommit", "'redirect_url,autocommit,*', ", "state_change=ON"),
        (false, "*", "'*', ", "state_change=ON"),
        (false, "", "'*', ", "state_change=ON"),
        (true, "my_own, autocommit", "'my_own,autocommit,character_set_client,", "gtids='ALL_GTIDS'"),
        (true, "*", "'*', ", "gtids='ALL_GTIDS'"),
    ] {
        let script = Script { is_mysql, home_tells: [tells, "0", "0"], home_tells_gtids: "ALL_GTIDS", ..mysql() };
        let mut play = Play::entering(script);
        play.serve();
        play.send(&if is_mysql { with_attributes("INSERT") } else { query("INSERT") });
        let said = play.said_to_home();
        let told = said[1].strip_prefix("SET SESSION session_track_system_variables=").expect("the second is about it");
        assert!(told.starts_with(begins) && told.ends_with(ends), "{tells}: {told}");
    }
}

#[test]
fn an_end_of_results_has_no_flag_that_only_we_asked_for() {
    let changed = StatusFlags(AUTOCOMMIT.0 | StatusFlags::SESSION_STATE_CHANGED.0);
    let rows = |status| stream(&[vec![1], column("a"), eof(status), b"\x011".to_vec(), eof(status)]);
    for cut in [1, 2, 3, 7, usize::MAX] {
        let mut play = Play::of(Script { cut, lacking: Capabilities::DEPRECATE_EOF, ..Script::default() });
        assert_eq!(play.goes(&query("SELECT @a := 1")), Side::Server);
        play.reply(Side::Server, &rows(changed));
        assert_eq!(play.stage.take_client(), rows(AUTOCOMMIT), "cut at {cut}");
        assert_eq!(play.activity(), "idle");
        assert_eq!(play.goes(&query("SELECT * FROM mysql.user")), Side::Server);
        play.reply(Side::Server, &rows(changed));
        assert_eq!(play.stage.take_client(), rows(changed), "that one is MariaDB's own");
    }
}

#[test]
fn a_change_that_an_end_of_results_does_not_tell_is_still_known_to_us() {
    let mut play = Play::of(Script { user: "any", lacking: Capabilities::DEPRECATE_EOF, ..Script::default() });
    let changed = StatusFlags(AUTOCOMMIT.0 | StatusFlags::SESSION_STATE_CHANGED.0);
    assert_eq!(play.goes(&query("SELECT stored()")), Side::Server);
    play.reply(Side::Server, &stream(&[vec![1], column("a"), eof(changed), b"\x011".to_vec(), eof(changed)]));
    play.stage.take_client();
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
}

#[test]
fn what_servers_tell_all_their_clients_passes() {
    let mut play = Play::of(Script { home_tells: ["sort_buffer_size", "0", "1"], ..Script::default() });
    let size = variable("sort_buffer_size", "1");
    let all =
        [variable("time_zone", "+02:00"), size.clone(), schema("shop"), state_change(), position("0-1-5")].concat();
    let expected = with(AUTOCOMMIT, &[size, state_change()].concat());
    assert_eq!(heard(&mut play, "SET sort_buffer_size = 1", AUTOCOMMIT, &all), expected);
    let mut play = Play::of(Script { home_tells_gtids: "OWN_GTID", ..mysql() });
    let position = mysql_position("3e11fa47-71ca-11e1-9e33-c80aa9429562:23");
    assert_eq!(at_mysql(&mut play, "INSERT INTO t VALUES (1)", AUTOCOMMIT, &position), with(AUTOCOMMIT, &position));
}

#[test]
fn of_several_variables_in_one_tracker_the_wanted_ones_pass() {
    let pair = |name: &str, value: &str| {
        let mut pair = Vec::new();
        Writer::new(&mut pair).lenenc_bytes(name.as_bytes());
        Writer::new(&mut pair).lenenc_bytes(value.as_bytes());
        pair
    };
    let mut play = Play::new();
    let own = [pair("time_zone", "SYSTEM"), pair("autocommit", "ON")].concat();
    let all = [pair("sql_mode", ""), own.clone()].concat();
    assert_eq!(
        heard(&mut play, "SET sql_mode = ''", AUTOCOMMIT, &tracker(0, &all)),
        with(AUTOCOMMIT, &tracker(0, &own))
    );
}

#[test]
fn an_empty_block_is_the_servers_own() {
    let mut play = Play::of(mysql());
    let begun = transaction_state("T_______");
    assert_eq!(at_mysql(&mut play, "START TRANSACTION", TRANSACTION, &begun), with(TRANSACTION, &begun));
    assert_eq!(at_mysql(&mut play, "COMMIT AND CHAIN", TRANSACTION, b""), no_trackers(TRANSACTION));
    let position = mysql_position("3e11fa47-71ca-11e1-9e33-c80aa9429562:23");
    assert_eq!(at_mysql(&mut play, "COMMIT AND CHAIN", TRANSACTION, &position), no_trackers(TRANSACTION));
    assert_eq!(at_mysql(&mut play, "SET @a = 1; BEGIN", TRANSACTION, b""), no_trackers(TRANSACTION));
    assert_eq!(at_mysql(&mut play, "SET @a = 1; BEGIN", TRANSACTION, &position), no_trackers(TRANSACTION));
    assert_eq!(at_mysql(&mut play, "SET @a = 1", TRANSACTION, &state_change()), plain(TRANSACTION));
    // Into a table that knows no transactions.
    assert_eq!(at_mysql(&mut play, "INSERT INTO t VALUES (1)", TRANSACTION, &position), plain(TRANSACTION));
    let over = transaction_state("________");
    let both = [position.clone(), over.clone()].concat();
    assert_eq!(at_mysql(&mut play, "COMMIT", AUTOCOMMIT, &both), with(AUTOCOMMIT, &over));
    assert_eq!(at_mysql(&mut play, "INSERT INTO t VALUES (1)", AUTOCOMMIT, &position), plain(AUTOCOMMIT));
}

#[test]
fn an_empty_block_behind_an_error_is_about_a_position_that_the_client_did_not_ask_for() {
    for (home_tells_gtids, expected) in [("OFF", plain(AUTOCOMMIT)), ("OWN_GTID", no_trackers(AUTOCOMMIT))] {
        let mut play = Play::of(Script { home_tells_gtids, ..mysql() });
        assert_eq!(play.goes(&with_attributes("ALTER TABLE missing ADD c INT")), Side::Server);
        play.reply(Side::Server, &error(1, 1146));
        play.stage.take_client();
        // It ends with an OK, but with none that tells anything.
        assert_eq!(play.goes(&command(0x16, b"SELECT a FROM t")), Side::Server);
        let answer = play.prepared(7, 0);
        play.reply(Side::Server, &answer);
        play.stage.take_client();
        assert_eq!(at_mysql(&mut play, "SET @a = 1", AUTOCOMMIT, b""), expected, "{home_tells_gtids}");
        assert_eq!(at_mysql(&mut play, "SET @a = 1", AUTOCOMMIT, b""), no_trackers(AUTOCOMMIT), "that is another");
    }
}

#[test]
fn a_client_that_names_what_decides_gets_its_own_back_first() {
    const BACK: &str = "SET SESSION session_track_system_variables='autocommit,character_set_client,time_zone', \
                        SESSION session_track_schema=ON, SESSION session_track_state_change=OFF";
    for text in [
        "SET session_track_system_variables = 'time_zone,sql_mode'",
        "SELECT @@SESSION_TRACK_SYSTEM_VARIABLES",
        "SHOW VARIABLES LIKE 'session_track%'",
        "PREPARE s FROM 'SET session_track_schema = OFF'",
        "SELECT 1; SET session_track_schema = OFF",
        "SET STATEMENT session_track_schema = OFF FOR SELECT 1",
    ] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
        play.said();
        play.at_home(text, AUTOCOMMIT, b"");
        assert_eq!(play.said_to_home(), [BACK], "{text}");
        let mode = variable("sql_mode", "");
        assert_eq!(heard(&mut play, "SET sql_mode = ''", AUTOCOMMIT, &mode), with(AUTOCOMMIT, &mode));
        assert_eq!(play.read("SELECT a FROM t"), Side::Server, "nobody tells us any more");
        assert_eq!(play.said(), []);
    }
}

#[test]
fn in_a_transaction_mysql_gives_all_back_but_positions() {
    let mut play = Play::of(mysql());
    at_mysql(&mut play, "BEGIN", TRANSACTION, b"");
    play.said();
    let set = "SET session_track_transaction_info = 'STATE'";
    assert_eq!(at_mysql(&mut play, set, TRANSACTION, b""), no_trackers(TRANSACTION), "which is all that MySQL tells");
    let back = play.said_to_home();
    assert!(back[0].ends_with("SESSION session_track_state_change=OFF"), "{back:?}");
    let (position, over) = (mysql_position("3e11fa47-71ca-11e1-9e33-c80aa9429562:23"), transaction_state("________"));
    let both = [position, over.clone()].concat();
    assert_eq!(at_mysql(&mut play, "COMMIT", AUTOCOMMIT, &both), with(AUTOCOMMIT, &over));
    at_mysql(&mut play, "SHOW WARNINGS", AUTOCOMMIT, b"");
    assert_eq!(play.said_to_home(), [""; 0], "a SET of ours would leave none");
    at_mysql(&mut play, "SELECT a FROM t", AUTOCOMMIT, b"");
    at_mysql(&mut play, "SELECT a FROM t", AUTOCOMMIT, b"");
    assert_eq!(play.said_to_home(), ["SET SESSION session_track_gtids='OFF'"], "once");
}

#[test]
fn a_prepared_text_that_names_what_decides_counts_when_it_is_prepared() {
    let mut play = Play::new();
    play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
    play.said();
    play.send(&command(0x16, b"SET session_track_state_change = ?"));
    assert!(play.said_to_home()[0].starts_with("SET SESSION session_track_system_variables='autocommit"));
}

#[test]
fn a_server_that_does_not_give_it_back_runs_the_command_all_the_same() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
    play.unanswered = "SET SESSION session_track";
    play.send(&query("SET session_track_schema = OFF"));
    play.stage.to_server.clear();
    play.reply(Side::Server, &error(1, 1317));
    assert_eq!(play.stage.take_server(), query("SET session_track_schema = OFF"));
}

#[test]
fn a_home_that_cannot_be_asked_tells_what_the_client_wants() {
    let mut play = Play::entering(Script { user: "any", ..Script::default() });
    play.unanswered = "SET SESSION session_track";
    play.send(&query("SET @a = 1"));
    play.stage.to_server.clear();
    play.reply(Side::Server, &error(1, 1231));
    play.stage.take_server();
    let answer = with(AUTOCOMMIT, &[variable("sort_buffer_size", "1"), state_change()].concat());
    play.reply(Side::Server, &answer);
    assert_eq!(play.stage.take_client(), answer);
}

#[test]
fn a_variable_that_another_one_stands_for_goes_with_the_session() {
    for (text, expected) in [
        ("SET sql_safe_updates = 1", Some("SET SESSION sql_safe_updates=1")),
        ("SET @@session.sql_notes = 'off'", Some("SET SESSION sql_notes='off'")),
        ("SET sql_notes = DEFAULT", None),
        ("SET NAMES latin1, sql_notes = @@global.sql_notes", None),
    ] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        play.sets(text, "autocommit", "ON");
        let side = play.read("SELECT a FROM t");
        let said = play.said_to_replica();
        match expected {
            Some(setting) => assert_eq!((side, &*said[1]), (Side::Replica, setting), "{text}"),
            None => assert_eq!(side, Side::Server, "{text}"),
        }
    }
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.sets("SET sql_mode = ''; SET sql_notes = 0", "autocommit", "ON");
    assert_eq!(play.read("SELECT a FROM t"), Side::Server, "which of them, nobody knows");
}

#[test]
fn a_condition_that_means_the_last_insert_is_one_for_home() {
    for told in ["sql_auto_is_null", "autocommit"] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        play.sets("SET sql_auto_is_null = 1", told, "ON");
        assert_eq!(play.read("SELECT a FROM t WHERE id IS NULL"), Side::Server);
        play.sets("SET sql_auto_is_null = 0", told, "OFF");
        assert_eq!(play.read("SELECT a FROM t WHERE id IS NULL"), Side::Replica);
    }
}

#[test]
fn a_position_that_an_end_of_results_did_not_tell_does_not_show_as_nothing() {
    let mut play = Play::of(Script { lacking: Capabilities::DEPRECATE_EOF, ..mysql() });
    assert_eq!(at_mysql(&mut play, "DO 1", AUTOCOMMIT, b""), plain(AUTOCOMMIT));
}

#[test]
fn a_character_set_brings_its_own_collation() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.sets("SET collation_connection = utf8mb4_bin", "collation_connection", "utf8mb4_bin");
    play.sets("SET character_set_connection = latin1", "character_set_connection", "latin1");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    let said = play.said_to_replica();
    assert!(said.contains(&"SET SESSION character_set_connection='latin1'".to_owned()), "{said:?}");
}

#[test]
fn the_collation_of_a_set_character_set_is_asked_of_home() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.sets("SET CHARACTER SET latin1", "character_set_connection", "utf8mb4");
    play.said();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    let said = play.said();
    assert!(said.iter().any(|(side, text)| *side == Side::Server && text.starts_with("SELECT @@SESSION.")), "{said:?}");
    let expected = "connection='utf8mb4', SESSION collation_connection='utf8mb4_general_ci'";
    assert!(said.iter().any(|(side, text)| *side == Side::Replica && text.contains(expected)), "{said:?}");
}

#[test]
fn a_collation_of_which_its_character_set_is_told_goes_with_the_session() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.sets("SET collation_connection = utf8mb4_bin", "character_set_connection", "utf8mb4");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    let said = play.said_to_replica();
    let expected = "connection='utf8mb4', SESSION collation_connection='utf8mb4_bin'";
    assert!(said.iter().any(|text| text.contains(expected)), "MariaDB 11: {said:?}");
}

#[test]
fn what_a_statement_sets_for_itself_is_no_setting_of_the_session() {
    for is_prepared in [false, true] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        let text = "SET STATEMENT max_statement_time=7, sort_buffer_size=300000 FOR SELECT a FROM t FOR UPDATE";
        let trackers = [variable("max_statement_time", "7.000000"), variable("time_zone", "+01:00"), state_change()];
        let told = stream(&[vec![1], column("v"), end_with(AUTOCOMMIT, &trackers.concat())]);
        match is_prepared {
            false => assert_eq!(play.goes(&query(text)), Side::Server),
            true => {
                prepare(&mut play, text);
                assert_eq!(play.goes(&execute(ID, None)), Side::Server);
            }
        }
        play.reply(Side::Server, &told);
        play.stage.take_client();
        play.said();
        assert!((0..4).any(|_| play.read("SELECT a FROM t") == Side::Replica), "reads leave home still");
        let said = play.said_to_replica().join("; ");
        assert!(said.contains("time_zone='+01:00'") && !said.contains("max_statement_time=7"), "{said}");
    }
}

#[test]
fn the_flag_of_what_a_statement_sets_for_itself_is_told_where_its_server_would_tell_it() {
    let changed = |play: &Play| {
        let status = AUTOCOMMIT | StatusFlags::SESSION_STATE_CHANGED;
        assert!(play.script.lacking.contains(Capabilities::DEPRECATE_EOF));
        stream(&[vec![1], column("v"), eof(status), b"\x019".to_vec(), eof(status)])
    };
    for (hint, side) in [("/* sqluice: primary */ ", Side::Server), ("", Side::Replica)] {
        for (setting, is_told) in [("max_statement_time=9", false), ("max_statement_time=9, time_zone='+01:00'", true)]
        {
            let mut play = Play::of(Script { user: "any", lacking: Capabilities::DEPRECATE_EOF, ..Script::default() });
            let text = format!("{hint}SET STATEMENT {setting} FOR SELECT 1");
            let ran = play.goes(&query(&text));
            assert_eq!(ran, if is_told { Side::Server } else { side }, "{text}");
            let reply = changed(&play);
            play.reply(ran, &reply);
            let silent = stream(&[vec![1], column("v"), eof(AUTOCOMMIT), b"\x019".to_vec(), eof(AUTOCOMMIT)]);
            assert_eq!(play.stage.take_client(), if is_told { reply } else { silent }, "{text}");
            if !is_told {
                assert!(
                    (0..4).any(|_| play.read("SELECT a FROM t") == Side::Replica),
                    "{text}: it has changed nothing"
                );
            }
        }
    }
}

#[test]
fn word_of_a_schema_that_eof_packets_had_no_room_for_comes_with_what_the_client_asked_for() {
    let begun = || {
        let mut play = Play::of(Script {
            user: "any",
            schema: Some("shop"),
            lacking: Capabilities::DEPRECATE_EOF,
            ..Script::default()
        });
        let text = "SELECT other.f(1)";
        assert_eq!(play.goes(&query(text)), Side::Server);
        let status = AUTOCOMMIT | StatusFlags::SESSION_STATE_CHANGED;
        play.reply(Side::Server, &stream(&[vec![1], column("v"), eof(status), b"\x019".to_vec(), eof(status)]));
        play.stage.take_client();
        play
    };
    let (ours, theirs) = (variable("default_week_format", "3"), variable("time_zone", "+01:00"));
    let late = schema("shop");
    let mut play = begun();
    let early = [&ours[..], &late].concat();
    assert_eq!(play.at_home("SET default_week_format = 3", AUTOCOMMIT, &early), plain(AUTOCOMMIT));
    let told = play.at_home("SET time_zone = '+01:00'", AUTOCOMMIT, &theirs);
    assert_eq!(told, with(AUTOCOMMIT, &[&theirs[..], &late].concat()), "as its server would tell it now");
    assert_eq!(play.at_home("SET time_zone = '+01:00'", AUTOCOMMIT, &theirs), with(AUTOCOMMIT, &theirs), "once");

    let mut play = begun();
    let both = [&theirs[..], &late].concat();
    assert_eq!(play.at_home("SET time_zone = '+01:00'", AUTOCOMMIT, &both), with(AUTOCOMMIT, &both));
    let mut play = begun();
    for text in ["USE shop", "USE other"] {
        let new = schema(&text[4..]);
        assert_eq!(play.at_home(text, AUTOCOMMIT, &new), with(AUTOCOMMIT, &new), "{text}");
    }
}
