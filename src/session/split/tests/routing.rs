//! Which server a command goes to.

use super::*;

#[test]
fn home_is_asked_for_its_values_and_made_to_tell_of_changes_before_the_first_command() {
    for cut in [1, 2, 3, usize::MAX] {
        let mut play = Play::entering(Script { cut, ..Script::default() });
        let early = play.stage.show(Side::Client, &query("INSERT INTO t VALUES (1)"));
        assert_eq!(early, query("INSERT INTO t VALUES (1)"), "the first command waits");
        play.waiting = early;
        play.serve();
        let said = play.said_to_home();
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with("SELECT @@SESSION.session_track_system_variables, "), "{said:?}");
        assert!(
            said[1].starts_with(
                "SET SESSION session_track_system_variables='autocommit,character_set_client,time_zone,*', "
            ),
            "{said:?}"
        );
        assert_eq!(play.stage.take_server(), query("INSERT INTO t VALUES (1)"));
        assert_eq!(play.stage.take_client(), b"", "the client hears nothing of it");
    }
}

#[test]
fn a_home_that_cannot_tell_of_changes_keeps_everything() {
    let mut play = Play::entering(Script { ..Script::default() });
    play.unanswered = "SET SESSION session_track";
    play.serve();
    play.reply(Side::Server, &error(1, 1193));
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
    assert_eq!(play.activity(), "idle");
}

#[test]
fn a_plain_read_goes_to_a_replica_that_was_made_like_home() {
    for cut in [1, 2, 3, 7, usize::MAX] {
        let mut play = Play::of(Script { cut, schema: Some("shop"), ..Script::default() });
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "cut at {cut}");
        let introduction = play.introduction.take().expect("we logged in");
        assert_eq!(
            (introduction.user.as_slice(), introduction.database.as_deref()),
            (&b"split"[..], Some(&b"shop"[..]))
        );
        let said = play.said();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].1.starts_with("SELECT @@SESSION.sql_mode"), "{said:?}");
        assert_eq!(play.read("SELECT b FROM t"), Side::Replica);
        assert_eq!(play.said(), [], "a replica is made ready once");
    }
}

#[test]
fn both_framings_pass_unchanged() {
    for cut in [1, 2, 3, usize::MAX] {
        let mut play = Play::of(Script { cut, lacking: Capabilities::DEPRECATE_EOF, ..Script::default() });
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "cut at {cut}");
        play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, &position("0-1-5"));
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "cut at {cut}");
    }
}

#[test]
fn what_is_not_certainly_a_read_goes_home() {
    let mut play = Play::new();
    for text in [
        "INSERT INTO t VALUES (1)",
        "SELECT a FROM t FOR UPDATE",
        "SELECT a FROM t LOCK IN SHARE MODE",
        "SELECT unknown_function(a) FROM t",
        "SELECT a INTO @x FROM t",
        "SELECT @x := a FROM t",
        "SELECT LAST_INSERT_ID()",
        "SELECT CONNECTION_ID()",
        "SELECT GET_LOCK('a', 1)",
        "SELECT a FROM t; DELETE FROM t",
        "WITH c AS (SELECT 1) UPDATE t SET a = 1",
        "/*! DELETE FROM t */",
        "CALL p()",
        "EXPLAIN ANALYZE SELECT a FROM t",
        "SHOW PROCESSLIST",
        "FROBNICATE",
        "SELECT 'unterminated",
        "/* sqluice: primary */ SELECT a FROM t",
        "",
    ] {
        assert_eq!(play.goes(&query(text)), Side::Server, "{text}");
        play.reply(Side::Server, &error(1, 1064));
        assert_eq!(play.stage.take_client(), error(1, 1064));
    }
    assert_eq!(play.stage.session.activity(), "idle");
}

#[test]
fn commands_that_are_no_statement_go_home() {
    for (code, rest) in [(0x0E, &b""[..]), (0x02, b"shop"), (0x1B, &[0, 0]), (0x04, b"t\0"), (0x09, b"")] {
        let mut play = Play::new();
        assert_eq!(play.goes(&command(code, rest)), Side::Server, "{code:#x}");
    }
}

#[test]
fn a_command_that_is_too_long_to_be_looked_into_goes_home_whole() {
    let text = format!("SELECT '{}'", "x".repeat(super::super::COMMAND_MAX));
    for cut in [1000, usize::MAX] {
        let mut play = Play::cut(cut);
        assert_eq!(play.goes(&query(&text)), Side::Server);
        play.reply(Side::Server, &error(1, 1064));
        assert_eq!(play.stage.take_client(), error(1, 1064));
        assert_eq!(play.read("SELECT a FROM t"), Side::Server, "it may have written");
    }
}

#[test]
fn a_transaction_is_at_home_as_a_whole() {
    let mut play = Play::new();
    play.at_home("BEGIN", TRANSACTION, b"");
    for _ in 0..2 {
        assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server);
        let rows = stream(&[vec![1], column("a"), end_with(TRANSACTION, b"")]);
        play.reply(Side::Server, &rows);
    }
    play.at_home("COMMIT", AUTOCOMMIT, &position("0-1-5"));
    play.stage.take_client();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
}

#[test]
fn without_autocommit_everything_is_at_home() {
    let mut play = Play::new();
    play.at_home("SET autocommit=0", StatusFlags::NONE, &variable("autocommit", "OFF"));
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server);
}

#[test]
fn a_read_only_transaction_is_open_on_both_and_ends_on_both() {
    for ending in ["COMMIT", "ROLLBACK"] {
        let mut play = Play::new();
        play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
        for _ in 0..2 {
            assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        }
        let said = play.said_to_replica();
        assert_eq!(said[1..], ["START TRANSACTION READ ONLY"], "once, behind the question for values");
        assert_eq!(play.stage.session.pins(), ["transaction"]);
        let heard = play.at_home(ending, AUTOCOMMIT, b"");
        assert_eq!(heard, packet(1, &ok(AUTOCOMMIT)));
        assert_eq!(play.said_to_replica(), ["COMMIT"]);
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        assert_eq!(play.said(), []);
    }
}

#[test]
fn a_read_only_transaction_that_has_read_at_home_stays_there() {
    let mut play = Play::new();
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    assert_eq!(play.goes(&query("SELECT stored(a) FROM t")), Side::Server);
    let rows = stream(&[vec![1], column("a"), end_with(READ_ONLY_TRANSACTION, b"")]);
    play.reply(Side::Server, &rows);
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server, "it has a snapshot there");
}

#[test]
fn a_hint_does_not_send_a_write_to_a_replica() {
    for text in [
        "/* sqluice: replica */ UPDATE t SET a = 1",
        "/* sqluice: replica */ INSERT INTO t VALUES (1)",
        "/* sqluice: server=db1 */ DELETE FROM t",
        "/* sqluice: replica */ SELECT a FROM t FOR UPDATE",
        "/* sqluice: replica */ SELECT NEXT VALUE FOR s",
        // Another reason comes first.
        "/* sqluice: replica */ WITH x AS (SELECT f() AS a) DELETE FROM t",
        "/* sqluice: replica */ SELECT stored(a) FROM t FOR UPDATE",
        "/* sqluice: replica */ SELECT @@hostname, a FROM t LOCK IN SHARE MODE",
        "/* sqluice: replica */ SELECT stored(a) FROM t INTO OUTFILE '/tmp/a'",
        "/* sqluice: replica */ SELECT stored(a), NEXTVAL(s) FROM t",
        "/* sqluice: replica */ KILL QUERY 5",
        "/* sqluice: replica */ FLUSH TABLES",
    ] {
        let mut play = Play::new();
        assert_eq!(play.goes(&query(text)), Side::Server, "{text}");
    }
    let mut play = Play::new();
    assert_eq!(play.read("/* sqluice: replica */ SELECT stored(a) FROM t"), Side::Replica);
}

#[test]
fn a_read_only_transaction_has_one_snapshot() {
    let mut play = Play::new();
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    for text in ["SELECT a FROM t", "SELECT stored(a) FROM t", "/* sqluice: server=db2 */ SELECT a FROM t"] {
        assert_eq!(play.read(text), Side::Replica, "{text}");
    }
    assert!(!play.stage.wishes.iter().any(|wish| matches!(wish, Output::ReleaseReplica)));
}

#[test]
fn a_consistent_snapshot_is_of_its_own_moment() {
    let mut play = Play::new();
    play.at_home("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", READ_ONLY_TRANSACTION, b"");
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server, "home has the snapshot");
}

#[test]
fn a_replica_with_another_autocommit_opens_no_transaction_of_its_own() {
    let mut play = Play::of(Script { replica_status: StatusFlags::NONE, ..Script::default() });
    if play.read("SELECT a FROM t") == Side::Replica {
        let said = play.said_to_replica();
        assert!(said.iter().any(|text| text.contains("autocommit=1")), "{said:?}");
    }
}

#[test]
fn a_transaction_that_follows_another_at_once_does_not_keep_its_snapshot() {
    for next in ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "START TRANSACTION READ ONLY"] {
        let mut play = Play::new();
        play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        play.said();
        play.at_home(next, READ_ONLY_TRANSACTION, b"");
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        assert_eq!(play.said_to_replica(), ["COMMIT", "START TRANSACTION READ ONLY"], "after {next}");
    }
}

#[test]
fn a_read_is_timed_at_the_replica_that_ran_it() {
    let counted = |server: Option<&ServerFacts>| {
        let mut sum = crate::latency::Distribution::default();
        sum.add(&server.expect("the session has it").reply_times);
        sum.len()
    };
    let mut play = Play::new();
    let session = |play: &Play| (counted(play.stage.session.server()), counted(play.stage.session.replica()));
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert_eq!(session(&play), (0, 1), "what we say on our own account is not timed");
    play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
    assert_eq!(session(&play), (1, 1));
}

#[test]
fn what_a_server_says_of_itself_is_read_at_home_without_naming_its_schema_too() {
    for name in ["information_schema", "performance_schema", "mysql", "sys", "INFORMATION_SCHEMA"] {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        play.at_home(&format!("USE {name}"), AUTOCOMMIT, &schema(name));
        assert_eq!(play.read("SELECT COUNT(*) FROM processlist"), Side::Server, "{name}");
        play.at_home("USE shop", AUTOCOMMIT, &schema("shop"));
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    }
}
