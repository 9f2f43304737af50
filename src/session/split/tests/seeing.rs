//! A session sees what it wrote, and never an older state than it saw before.

use super::*;

const WAIT: &str = "SELECT MASTER_GTID_WAIT(";

fn writes(play: &mut Play, gtid: &str) {
    play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, &position(gtid));
}

/// Reads at home until the session asks home for its position.
fn reads_until_asked(play: &mut Play) -> Vec<(Side, String)> {
    for _ in 0..10 {
        play.said();
        play.read("SELECT a FROM t");
        if play.said.iter().any(|(_, text)| text.contains("@@GLOBAL.gtid")) {
            return play.said();
        }
    }
    panic!("home was never asked");
}

#[test]
fn a_write_is_waited_for_at_the_replica_once() {
    for cut in [1, 3, usize::MAX] {
        let mut play = Play::cut(cut);
        writes(&mut play, "0-1-5");
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "cut at {cut}");
        let said = play.said_to_replica();
        assert!(said.last().is_some_and(|text| text.starts_with("SELECT MASTER_GTID_WAIT('0-1-5'")), "{said:?}");
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        assert_eq!(play.said(), []);
        writes(&mut play, "0-1-6");
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        assert_eq!(play.said_to_replica().len(), 1);
    }
}

#[test]
fn a_replica_that_is_known_to_have_the_write_is_not_asked_for_it() {
    let mut play = Play::new();
    writes(&mut play, "0-1-5");
    play.see(REPLICA, "0-1-5");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert!(!play.said().iter().any(|(_, text)| text.starts_with(WAIT)));
    writes(&mut play, "0-1-6");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert!(play.said().iter().any(|(_, text)| text.starts_with(WAIT)), "it was seen at 5 only");
}

#[test]
fn a_replica_that_does_not_catch_up_is_left_alone_for_a_while() {
    for (wait, limit) in [("-1", None), ("0", Some("gtid"))] {
        let mut play = Play::of(Script { wait, ..Script::default() });
        play.script.refused = limit.map_or(("", 0), |_| ("GTID_WAIT", 1193));
        writes(&mut play, "0-1-5");
        assert_eq!(play.read("SELECT a FROM t"), Side::Server);
        play.said();
        assert_eq!(play.read("SELECT a FROM t"), Side::Server);
        assert_eq!(play.said(), [], "it is not waited for again at once");
    }
}

#[test]
fn the_write_of_a_transaction_is_that_of_its_commit() {
    let mut play = Play::new();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.at_home("INSERT INTO t VALUES (1)", TRANSACTION, b"");
    play.at_home("COMMIT", AUTOCOMMIT, &position("0-1-7"));
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert!(play.said_to_replica().last().is_some_and(|text| text.contains("'0-1-7'")));
}

#[test]
fn after_reads_at_home_the_replica_must_have_what_home_had() {
    let mut play = Play::new();
    assert_eq!(play.read("SELECT a FROM t LOCK IN SHARE MODE"), Side::Server);
    assert_eq!(play.read("SELECT a FROM t"), Side::Server, "it is cheaper to stay, at first");
    let said = reads_until_asked(&mut play);
    let said: Vec<&str> = said
        .iter()
        .map(|(_, text)| text.as_str())
        .filter(|text| text.contains("gtid") || text.starts_with(WAIT))
        .collect();
    assert!(matches!(said[..], ["SELECT @@GLOBAL.gtid_binlog_pos", wait] if wait.contains("'0-1-100'")), "{said:?}");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
}

#[test]
fn a_home_that_cannot_say_where_it_is_keeps_the_reads() {
    for position in [None, Some("")] {
        let mut play = Play::of(Script { position, ..Script::default() });
        play.read("SELECT a FROM t LOCK IN SHARE MODE");
        reads_until_asked(&mut play);
        assert_eq!(play.read("SELECT a FROM t"), Side::Server, "{position:?}");
        assert_eq!(play.stage.ending(), None);
    }
}

#[test]
fn what_a_command_saw_behind_its_own_commit_counts_too() {
    for text in ["INSERT INTO t VALUES (1); SELECT a FROM u", "CALL p()", "EXECUTE s"] {
        let mut play = Play::new();
        play.at_home(text, AUTOCOMMIT, &position("0-1-5"));
        assert_eq!(play.read("SELECT a FROM t"), Side::Server, "{text}");
        assert!(!play.said().iter().any(|(_, text)| text.starts_with(WAIT)));
    }
}

#[test]
fn the_next_replica_must_have_what_the_last_one_showed() {
    let mut play = Play::new();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.closed(Side::Replica);
    play.said();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert!(play.said().iter().any(|(_, text)| text.starts_with(WAIT)));
}

#[test]
fn a_time_keeps_reads_at_home_behind_every_kind_of_write() {
    for trackers in [vec![], position("0-1-5")] {
        let mut play = Play::of(Script { user: "within", ..Script::default() });
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, &trackers);
        assert_eq!(play.read("SELECT a FROM t"), Side::Server, "{trackers:?}");
        play.stage.now += Duration::from_millis(200);
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        assert!(!play.said().iter().any(|(_, text)| text.starts_with(WAIT)));
    }
}

#[test]
fn who_may_see_any_state_waits_for_none() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    writes(&mut play, "0-1-5");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert!(!play.said().iter().any(|(_, text)| text.starts_with(WAIT)));
}

#[test]
fn mysqls_texts_with_attributes_and_its_positions_are_understood() {
    const GTID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:23";
    let text = |text: &str| command(0x03, &[&[0, 1], text.as_bytes()].concat());
    for cut in [1, 3, usize::MAX] {
        let mut play = Play::of(Script { cut, ..Script::of(true) });
        assert_eq!(play.goes(&text("INSERT INTO t VALUES (1)")), Side::Server);
        play.reply(Side::Server, &packet(1, &ok_with(AUTOCOMMIT, &mysql_position(GTID))));
        assert_eq!(play.stage.take_client(), packet(1, &ok(AUTOCOMMIT)), "nobody asked for it");
        assert_eq!(play.goes(&text("SELECT a FROM t")), Side::Replica, "cut at {cut}");
        let said = play.said_to_replica();
        assert!(
            said.last().is_some_and(|text| text.contains(&format!("WAIT_FOR_EXECUTED_GTID_SET('{GTID}'"))),
            "{said:?}"
        );
        let result = play.result();
        play.reply(Side::Replica, &result);
        play.stage.take_client();
        let with_an_attribute = [&[1, 1, 0, 1, 3, 0, 1, b'a', 1, 0, 0, 0], &b"SELECT a FROM t"[..]].concat();
        assert_eq!(play.goes(&command(0x03, &with_an_attribute)), Side::Server);
    }
}

#[test]
fn a_client_that_asks_mysql_for_positions_gets_them() {
    let text = |text: &str| command(0x03, &[&[0, 1], text.as_bytes()].concat());
    let mut play = Play::of(Script::of(true));
    play.goes(&text("SET session_track_gtids = OWN_GTID"));
    play.reply(Side::Server, &packet(1, &ok_with(AUTOCOMMIT, &variable("session_track_gtids", "OWN_GTID"))));
    play.stage.take_client();
    play.goes(&text("INSERT INTO t VALUES (1)"));
    let answer = packet(1, &ok_with(AUTOCOMMIT, &mysql_position("3e11fa47-71ca-11e1-9e33-c80aa9429562:23")));
    play.reply(Side::Server, &answer);
    assert_eq!(play.stage.take_client(), answer);
}

/// A session that reads at nodes of a Galera cluster.
fn of_galera() -> Play {
    let mut play = Play::new();
    play.stage.session.split_mut().expect("the session is split").replicas_wait = true;
    play
}

/// What the replica was told to set; and it was not asked for anything that makes it wait.
fn settings(play: &mut Play) -> Vec<String> {
    let said = play.said_to_replica();
    assert!(!said.iter().any(|text| text.contains("GTID") || text == "RESET"), "{said:?}");
    said.into_iter().filter(|text| text.starts_with("SET")).collect()
}

#[test]
fn a_galera_node_waits_by_itself_before_every_read_and_show() {
    let mut play = of_galera();
    writes(&mut play, "0-1-7");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert_eq!(settings(&mut play), ["SET SESSION wsrep_sync_wait=9"]);
}

#[test]
fn a_galera_node_is_not_reset_because_it_would_wait_for_nothing_any_more() {
    let mut play = of_galera();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    for _ in 0..2 {
        assert_eq!(play.goes(&command(0x1F, b"")), Side::Server);
        play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
        play.stage.take_client();
        (play.introduction, play.said) = (None, Vec::new());
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        assert!(play.introduction.is_some(), "it is another connection");
        assert_eq!(settings(&mut play), ["SET SESSION wsrep_sync_wait=9"]);
    }
}
