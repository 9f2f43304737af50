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

#[test]
fn settings_that_hidden_code_may_have_made_are_asked_for() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.read("SELECT a FROM t");
    play.at_home("CALL p()", AUTOCOMMIT, b"");
    let value = |name| if name == "div_precision_increment" { "8" } else { value_of(name) };
    play.script.replica_values = names(false).map(value).collect();
    play.said();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    let said = play.said();
    assert!(said[0].0 == Side::Server && said[0].1.starts_with("SELECT @@SESSION."), "{said:?}");
    assert_eq!(said[1..], [(Side::Replica, "SET SESSION div_precision_increment=8".to_owned())]);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert_eq!(play.said(), [], "once");
}

fn with_views(views: &[&'static str]) -> Play {
    Play::of(Script { user: "any", views: views.to_vec(), ..Script::default() })
}

#[test]
fn a_view_that_does_more_than_read_is_read_at_home() {
    for text in ["SELECT * FROM v_set", "select w from shop.`V_Set` as a", "SELECT 1 FROM t, (SELECT * FROM v_out) b"] {
        let mut play = with_views(&["v_set", "v_out"]);
        assert_eq!(play.read(text), Side::Server, "{text}, before the views were known");
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        assert_eq!(play.read(text), Side::Server, "{text}");
        assert_eq!(play.views_asked, 1);
        prepare(&mut play, text);
        assert_eq!(play.goes(&execute(ID, None)), Side::Server, "{text}, prepared");
    }
    let mut play = with_views(&["v_set"]);
    for text in ["SELECT a FROM v_settings", "SELECT 'v_set' FROM t", "SELECT a FROM t /* v_set */"] {
        assert_eq!(play.read(text), Side::Replica, "{text}");
    }
}

#[test]
fn a_session_that_may_have_made_a_view_asks_for_views_again() {
    let mut play = with_views(&[]);
    assert_eq!(play.read("SELECT * FROM v_set"), Side::Replica);
    play.script.views = vec!["v_set"];
    play.at_home("CREATE VIEW v_set AS SELECT f_set(1)", AUTOCOMMIT, &position("0-1-5"));
    assert_eq!(play.read("SELECT * FROM v_set"), Side::Server);
    assert_eq!(play.views_asked, 2);
    play.stage.now += Duration::from_secs(60);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert_eq!(play.views_asked, 3, "others may have made some");
}

#[test]
fn a_server_that_does_not_tell_of_views_is_asked_again_later() {
    let mut play = with_views(&["v_set"]);
    play.script.refused = ("information_schema.views", 1969);
    for _ in 0..2 {
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    }
    assert_eq!(play.views_asked, 1);
}

#[test]
fn where_a_missing_key_means_the_last_row_made_reads_stay_at_home() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.sets("SET sql_auto_is_null = 1", "sql_auto_is_null", "ON");
    assert_eq!(play.read("SELECT a FROM t WHERE id IS NULL"), Side::Server);
    play.sets("SET sql_auto_is_null = 0", "sql_auto_is_null", "OFF");
    assert_eq!(play.read("SELECT a FROM t WHERE id IS NULL"), Side::Replica);
}

#[test]
fn a_one_shot_keeps_reads_at_home_until_its_transaction_is_certainly_over() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    play.at_home("SET TRANSACTION READ ONLY", AUTOCOMMIT, b"");
    assert_eq!(play.goes(&query("INSERT INTO t VALUES (1)")), Side::Server);
    play.reply(Side::Server, &error(1, 1792));
    play.stage.take_client();
    for _ in 0..2 {
        assert_eq!(play.read("SELECT 1"), Side::Server, "perhaps the server still has it");
    }
    play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, &position("0-1-5"));
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.at_home("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", AUTOCOMMIT, b"");
    play.at_home("BEGIN", TRANSACTION, b"");
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server);
    let rows = stream(&[vec![1], column("a"), end_with(TRANSACTION, b"")]);
    play.reply(Side::Server, &rows);
    play.at_home("COMMIT", AUTOCOMMIT, b"");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
}
