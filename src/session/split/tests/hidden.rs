//! Reads that do more than their texts show.

use super::{
    statements::{ID, execute, prepare},
    *,
};

impl Play {
    /// A result of one row, whose end says that the session changed.
    fn changing_result(&self) -> Vec<u8> {
        let status = AUTOCOMMIT | StatusFlags::SESSION_STATE_CHANGED;
        match self.script.lacking.contains(Capabilities::DEPRECATE_EOF) {
            true => stream(&[vec![1], column("v"), eof(AUTOCOMMIT), b"\x019".to_vec(), eof(status)]),
            false => stream(&[vec![1], column("v"), b"\x019".to_vec(), end_with(AUTOCOMMIT, &state_change())]),
        }
    }
}

#[test]
fn a_read_that_changed_its_session_is_run_at_home_too_and_stays_there() {
    for lacking in [Capabilities::NONE, Capabilities::DEPRECATE_EOF] {
        for cut in [1, 5, usize::MAX] {
            let mut play = Play::of(Script { lacking, cut, ..Script::default() });
            play.read("SELECT a FROM t");
            play.said();
            assert_eq!(play.goes(&query("SELECT * FROM v")), Side::Replica);
            let result = play.changing_result();
            play.reply(Side::Replica, &result);
            assert!(!play.stage.take_client().is_empty(), "the client has the replica's reply");
            assert_eq!(play.said_to_home(), ["SELECT * FROM v"], "cut at {cut}");
            let is_release = |wish: &Output| matches!(wish, Output::ReleaseReplica);
            assert!(play.stage.wishes.iter().any(is_release), "it is not as home is any more");
            play.stage.to_replica.clear();
            assert_eq!(play.read("SELECT @u1"), Side::Server, "nobody knows what the view did");
            assert_eq!(play.said_to_home(), [""; 0], "once");
        }
    }
}

#[test]
fn a_command_that_follows_at_once_waits_until_home_has_caught_up() {
    let mut play = Play::new();
    assert_eq!(play.goes(&query("SELECT * FROM v")), Side::Replica);
    play.unanswered = "FROM v";
    let result = play.changing_result();
    play.reply(Side::Replica, &result);
    play.stage.take_client();
    play.stage.take_server();
    play.send(&query("SELECT @u1"));
    assert_eq!(play.stage.take_server(), b"");
    play.unanswered = "(none)";
    let result = play.result();
    play.reply(Side::Server, &result);
    assert_eq!(play.stage.take_server(), query("SELECT @u1"));
}

#[test]
fn a_statement_that_sets_variables_for_itself_changes_nothing() {
    for text in
        ["SET STATEMENT max_statement_time=9 FOR SELECT 1", "SELECT /*+ SET_VAR(sort_buffer_size=1000000) */ a FROM t"]
    {
        let mut play = Play::new();
        assert_eq!(play.goes(&query(text)), Side::Replica);
        let result = play.changing_result();
        play.reply(Side::Replica, &result);
        play.stage.take_client();
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "{text}");
    }
}

#[test]
fn a_prepared_read_that_changed_its_session_is_run_at_home_too() {
    let mut play = Play::new();
    prepare(&mut play, "SELECT * FROM v");
    play.said();
    let execute = execute(ID, None);
    play.send(&execute);
    assert_ne!(play.stage.to_replica, b"");
    play.stage.to_replica.clear();
    let result = play.changing_result();
    play.reply(Side::Replica, &result);
    play.stage.take_client();
    assert_eq!(play.said_to_home().len(), 1);
    play.stage.to_replica.clear();
    assert_eq!(play.goes(&execute), Side::Server);
}
