//! Read-only transactions whose snapshot is at the replica.

use super::{
    statements::{ID, execute, prepare},
    *,
};

/// A read-only transaction that has read at the replica.
fn with_snapshot(script: Script) -> Play {
    let mut play = Play::of(script);
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.said();
    play
}

/// The transaction is refused and over, and the next one is at home from its beginning.
fn assert_refused(mut play: Play, command: &[u8], what: &str) {
    play.send(command);
    let (sequence, code, message) = error_of(&play.stage.take_client());
    assert_eq!((sequence, code), (1, 1213), "{what}");
    assert!(message.contains("try restarting transaction"), "{message}");
    assert_eq!(play.said_to_home(), ["ROLLBACK"], "{what}");
    assert_eq!((play.activity(), &play.waiting[..]), ("idle", &b""[..]), "{what}");
    play.stage.to_replica.clear();
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server, "{what}: the second time nothing is in the way");
}

#[test]
fn a_statement_that_would_read_a_second_snapshot_is_refused() {
    for text in [
        "SELECT a INTO @x FROM t",
        "SELECT @x := a FROM t",
        "SET @x = (SELECT MAX(a) FROM t)",
        "CALL p()",
        "EXECUTE s",
        "SELECT @@hostname, a FROM t",
        "/* sqluice: primary */ SELECT a FROM t",
        "SELECT CONNECTION_ID(), a FROM t",
    ] {
        assert_refused(with_snapshot(Script::default()), &query(text), text);
    }
    let long = query(&format!("SELECT a FROM t WHERE b = '{}'", "x".repeat(super::super::COMMAND_MAX)));
    for cut in [1000, usize::MAX] {
        assert_refused(with_snapshot(Script { cut, ..Script::default() }), &long, "a long text");
    }
}

#[test]
fn an_execution_that_must_be_at_home_is_refused() {
    let mut play = Play::new();
    prepare(&mut play, "SELECT a INTO @x FROM t");
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.said();
    assert_refused(play, &execute(ID, None), "an execution");
}

#[test]
fn what_reads_no_table_or_writes_is_answered_by_home() {
    for text in [
        "SELECT @@hostname",
        "SET @x = 5",
        "SELECT @x := 5",
        "INSERT INTO t VALUES (1)",
        "WITH c AS (SELECT 1) DELETE FROM t",
        "SELECT a FROM t FOR UPDATE",
        "SAVEPOINT a",
        "SELECT * FROM information_schema.processlist",
        "SHOW VARIABLES",
    ] {
        let mut play = with_snapshot(Script::default());
        assert_eq!(play.goes(&query(text)), Side::Server, "{text}");
    }
}

#[test]
fn where_there_is_no_snapshot_nothing_is_refused() {
    let mut play = Play::new();
    play.sets("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "tx_isolation", "READ-COMMITTED");
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    play.read("SELECT a FROM t");
    assert_eq!(play.goes(&query("SELECT a INTO @x FROM t")), Side::Server);
}

#[test]
fn a_transaction_that_changed_its_session_at_the_replica_cannot_be_committed() {
    let mut play = with_snapshot(Script::default());
    assert_eq!(play.goes(&query("SELECT f_set(a) FROM t")), Side::Replica);
    let end = end_with(READ_ONLY_TRANSACTION, &state_change());
    play.reply(Side::Replica, &stream(&[vec![1], column("v"), b"\x019".to_vec(), end]));
    play.stage.take_client();
    assert_eq!(play.said_to_home(), [""; 0], "its other reads are of the replica's snapshot");
    assert_refused(play, &query("COMMIT"), "a function that set a variable");
}

#[test]
fn where_every_read_sees_what_is_committed_home_learns_of_a_hidden_change_at_once() {
    let mut play = Play::new();
    play.sets("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "tx_isolation", "READ-COMMITTED");
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.said();
    assert_eq!(play.goes(&query("SELECT f_set(a) FROM t")), Side::Replica);
    let end = end_with(READ_ONLY_TRANSACTION, &state_change());
    play.reply(Side::Replica, &stream(&[vec![1], column("v"), b"\x019".to_vec(), end]));
    play.stage.take_client();
    assert_eq!(play.said_to_home(), ["SELECT f_set(a) FROM t"]);
    play.stage.to_replica.clear();
    play.at_home("COMMIT", AUTOCOMMIT, b"");
    play.sets("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "tx_isolation", "REPEATABLE-READ");
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    assert_eq!(play.read("SELECT @u1"), Side::Server, "and nothing is refused");
}

#[test]
fn a_refused_write_leaves_the_snapshot_where_it_is() {
    for lacking in [Capabilities::NONE, Capabilities::DEPRECATE_EOF] {
        let mut play = with_snapshot(Script { lacking, ..Script::default() });
        // The last that home said had changed something.
        let changed = StatusFlags(READ_ONLY_TRANSACTION.0 | StatusFlags::SESSION_STATE_CHANGED.0);
        play.at_home("SET time_zone = '+01:00'", changed, &variable("time_zone", "+01:00"));
        assert_eq!(play.goes(&query("INSERT INTO t (a) VALUES (1)")), Side::Server);
        play.reply(Side::Server, &error(1, 1792));
        play.stage.take_client();
        assert_eq!(play.goes(&query("SELECT * FROM u ORDER BY id")), Side::Replica, "{:?}", play.said);
    }
}
