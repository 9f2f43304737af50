//! Replica connections that come for a read and go behind it.

use super::{super::lent::unreset::Waiting, lending::Lender, statements::execute_as, *};
use crate::session::{LastReplica, Loan, Parking};

/// A session that has logged in, given its home back, and read once at a replica.
fn shared() -> Play {
    shared_of(Script::default())
}

fn shared_of(script: Script) -> Play {
    let mut play = Play::of(Script { user: "shared", schema: Some("shop"), ..script });
    assert_eq!(
        play.parked().map(|parking| parking.side),
        Some(Side::Server),
        "nothing keeps the connection of a login"
    );
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    let parking = play.replica_parked();
    assert_eq!((parking.is_for_others, parking.schema), (true, Some(b"shop".to_vec())));
    play.said();
    play
}

impl Play {
    fn replica_parked(&mut self) -> Parking {
        let parking = self.parked().expect("nothing keeps the replica's connection behind a read");
        assert_eq!(parking.side, Side::Replica);
        parking
    }

    /// When a replica is wanted next, a connection to it is lent that was made so long before the session's last read, or
    /// after it.
    fn rests(&mut self, server: u32, lender: Lender, age: Age) {
        let (is_own, schema) = match lender {
            Lender::Own => (true, Some("shop")),
            Lender::Other(schema) => (false, schema),
        };
        let since = match age {
            Age::Older => self.stage.now,
            Age::Younger => self.stage.now + Duration::from_secs(1),
        };
        let schema = schema.map(|schema| schema.as_bytes().to_vec());
        let facts = ServerFacts { since, ..facts(server) };
        self.loan = Some(Loan { side: Side::Replica, facts, is_own, schema });
    }

    fn reclaims(&mut self) -> Option<LastReplica> {
        self.wish(|wish| match wish {
            Output::ReclaimReplica(last) => Some(*last),
            _ => None,
        })
    }
}

/// When a connection was made: before the session read there last, or after that.
enum Age {
    Older,
    Younger,
}

#[test]
fn a_read_gives_its_connection_back_and_the_next_one_has_it_again_without_a_word() {
    let mut play = shared();
    for _ in 0..3 {
        play.rests(REPLICA, Lender::Own, Age::Older);
        assert_eq!(play.read("SELECT b FROM t"), Side::Replica);
        let count = play.replica_parked().count;
        let last = play.wanted.as_ref().and_then(|want| want.shared.as_ref()?.last).expect("it had one");
        assert_eq!((last.server, last.count + 1), (ServerId(REPLICA), count));
        assert_eq!(play.said(), []);
    }
}

#[test]
fn a_connection_of_another_is_reset_and_made_like_home_in_two_round_trips() {
    let mut play = shared();
    play.runs_on(Lender::Own, "SET time_zone = '+02:00'", AUTOCOMMIT, &variable("time_zone", "+02:00"));
    play.runs_on(Lender::Own, "SET ROLE auditor", AUTOCOMMIT, b"");
    play.said();
    play.round_trips = 0;
    play.rests(REPLICA, Lender::Other(Some("elsewhere")), Age::Older);
    assert_eq!(play.read("SELECT b FROM t"), Side::Replica);
    let said = play.said_to_replica();
    let kinds: Vec<&str> = said.iter().filter_map(|text| text.split(' ').next()).collect();
    assert_eq!(kinds, ["RESET", "USE", "SELECT", "SET", "SET"], "{said:?}");
    assert!(said[3].contains("time_zone='+02:00'"), "{said:?}");
    assert_eq!(play.round_trips, 2);
}

#[test]
fn a_role_outlives_a_reset_so_its_connection_is_for_nobody_else() {
    let mut play = shared();
    play.runs_on(Lender::Own, "SET ROLE auditor", AUTOCOMMIT, b"");
    while play.parked().is_some() {}
    play.rests(REPLICA, Lender::Own, Age::Older);
    assert_eq!(play.read("SELECT b FROM t"), Side::Replica);
    assert!(!play.replica_parked().is_for_others);
}

#[test]
fn at_the_server_of_its_last_read_a_session_sees_no_older_state() {
    let mut play = shared();
    play.rests(REPLICA, Lender::Other(Some("shop")), Age::Older);
    assert_eq!(play.read("SELECT b FROM t"), Side::Replica);
    let said = play.said();
    assert!(!said.iter().any(|(side, text)| *side == Side::Server || text.contains("GTID")), "{said:?}");
}

#[test]
fn another_server_or_one_that_may_have_been_started_anew_must_have_what_was_read() {
    for (server, age) in [(1, Age::Older), (REPLICA, Age::Younger)] {
        let mut play = shared();
        play.rests(server, Lender::Other(Some("shop")), age);
        play.send(&query("SELECT b FROM t"));
        // Nobody waits for a home and holds a replica.
        assert_eq!(play.replica_parked().facts.id, ServerId(server));
        play.rests(server, Lender::Own, Age::Older);
        play.lend(Lender::Own);
        let said = play.said();
        let asked = said.iter().position(|(side, text)| *side == Side::Server && text.contains("@@GLOBAL.gtid"));
        let waited = said.iter().position(|(side, text)| *side == Side::Replica && text.contains("GTID_WAIT"));
        assert!(asked.is_some() && asked < waited, "{said:?}");
        assert_eq!(std::mem::take(&mut play.stage.to_replica), query("SELECT b FROM t"));
    }
}

#[test]
fn who_asks_about_its_last_read_has_its_connection_back() {
    let mut play = shared();
    play.send(&query("SELECT FOUND_ROWS()"));
    assert_eq!(play.reclaims().map(|last| last.server), Some(ServerId(REPLICA)));
    play.rests(REPLICA, Lender::Own, Age::Older);
    let loan = play.loan.take().expect("it rests");
    play.stage.tell(Input::Lent(loan));
    play.serve();
    assert_eq!(std::mem::take(&mut play.stage.to_replica), query("SELECT FOUND_ROWS()"));
    assert_eq!(play.said(), []);
}

#[test]
fn where_that_is_another_sessions_by_now_home_runs_the_read_again_and_is_asked() {
    let mut play = shared();
    play.send(&query("SELECT FOUND_ROWS()"));
    assert!(play.reclaims().is_some());
    play.stage.tell(Input::ReplicaFailed);
    play.serve();
    play.lend(Lender::Own);
    assert_eq!(play.said_to_home(), ["SELECT a FROM t"], "the read before");
    assert_eq!(play.stage.take_server(), query("SELECT FOUND_ROWS()"));
}

#[test]
fn a_read_only_transaction_keeps_its_replica_to_its_end() {
    let mut play = shared();
    play.runs_on(Lender::Own, "START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    play.rests(REPLICA, Lender::Own, Age::Older);
    for _ in 0..2 {
        assert_eq!(play.read("SELECT b FROM t"), Side::Replica);
        assert!(play.parked().is_none(), "its snapshot is there");
    }
    assert_eq!(play.goes(&query("COMMIT")), Side::Server);
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    assert!(play.said_to_replica().contains(&"COMMIT".to_owned()));
    let sides = [play.parked(), play.parked()].map(|parking| parking.map(|parking| parking.side));
    assert_eq!(sides, [Some(Side::Replica), Some(Side::Server)]);
}

#[test]
fn a_statement_is_prepared_where_it_is_executed_and_is_there_as_long_as_nobody_else_has_the_connection() {
    let mut play = shared();
    play.send(&command(0x16, b"SELECT a FROM t WHERE a = ?"));
    play.lend(Lender::Own);
    play.stage.take_server();
    let id = super::statements::prepare_at(&mut play, "SELECT a FROM t WHERE a = ?", 7);
    let prepared = |lender: Lender, play: &mut Play| {
        play.said();
        play.rests(REPLICA, lender, Age::Older);
        play.send(&execute_as(id, Some(true)));
        let sent = std::mem::take(&mut play.stage.to_replica);
        assert_eq!(sent, execute_as(REPLICA_STATEMENT.into(), Some(true)), "{:?}", play.said);
        let result = play.result();
        play.reply(Side::Replica, &result);
        assert_eq!(play.stage.take_client(), result);
        play.said_to_replica().iter().any(|text| text.starts_with("PREPARE"))
    };
    assert!(prepared(Lender::Own, &mut play));
    assert!(!prepared(Lender::Own, &mut play));
    assert!(prepared(Lender::Other(Some("shop")), &mut play), "that one is another");
}

#[test]
fn a_statement_that_was_closed_is_prepared_again_where_home_must_run_it_again() {
    const TEXT: &str = "SELECT a FROM t WHERE a = ?";
    let mut play = shared();
    for _ in 0..3 {
        play.send(&command(0x16, TEXT.as_bytes()));
        play.lend(Lender::Own);
        play.stage.take_server();
        let id = super::statements::prepare_at(&mut play, TEXT, 7);
        play.rests(REPLICA, Lender::Own, Age::Older);
        play.send(&execute_as(id, Some(true)));
        play.stage.to_replica.clear();
        let result = play.result();
        play.reply(Side::Replica, &result);
        play.stage.take_client();
        play.send(&command(0x19, &id.to_le_bytes()));
        while play.parked().is_some() {}
    }
    play.said();
    play.send(&query("GET DIAGNOSTICS @n = NUMBER"));
    play.lend(Lender::Own);
    let executed = execute_as(REPLICA_STATEMENT.into(), Some(true))[HEADER_LENGTH + 1..].to_vec();
    let mut said = play.said_to_home();
    said.retain(|text| !text.starts_with("CLOSE"));
    assert_eq!(said, [format!("PREPARE {TEXT}"), String::from_utf8_lossy(&executed).into_owned()]);
    assert_eq!(play.stage.take_server(), query("GET DIAGNOSTICS @n = NUMBER"));
}

#[test]
fn a_session_that_ends_leaves_its_connection_to_others() {
    let mut play = shared();
    play.runs_on(Lender::Own, "START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    play.rests(REPLICA, Lender::Own, Age::Older);
    assert_eq!(play.read("SELECT b FROM t"), Side::Replica);
    play.send(&packet(0, &[0x01]));
    assert!(play.parked().is_none(), "a transaction is open on it");
    assert!(play.wish(|wish| matches!(wish, Output::ReleaseReplica).then_some(())).is_some());
}

#[test]
fn a_home_that_is_kept_for_a_question_goes_when_a_read_puts_an_end_to_that() {
    let mut play = shared();
    play.runs_on(Lender::Own, "UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-9"));
    assert!(play.parked().is_none(), "somebody may ask about it");
    play.rests(REPLICA, Lender::Own, Age::Older);
    assert_eq!(play.read("SELECT b FROM t"), Side::Replica);
    assert_eq!(play.parked().map(|parking| parking.side), Some(Side::Server));
}

#[test]
fn home_is_asked_for_what_it_did_not_tell_before_a_replica_is_held_for_the_read() {
    let mut play = shared();
    let told = variable("character_set_connection", "utf8mb4");
    play.runs_on(Lender::Own, "SET CHARACTER SET latin1", AUTOCOMMIT, &told);
    assert_eq!(play.parked().map(|parking| parking.side), Some(Side::Server));
    play.wanted = None;
    play.rests(REPLICA, Lender::Own, Age::Older);
    play.send(&query("SELECT b FROM t"));
    assert!(
        play.wanted.is_none(),
        "who waits for home would give it back, and who waits for a replica gives home back"
    );
    play.lend(Lender::Own);
    assert_eq!(std::mem::take(&mut play.stage.to_replica), query("SELECT b FROM t"), "{:?}", play.said);
}

#[test]
fn a_read_for_which_there_is_no_replica_goes_to_a_home_that_is_borrowed_for_it() {
    let mut play = shared();
    play.script.has_replica = false;
    play.send(&query("SELECT b FROM t"));
    play.lend(Lender::Other(Some("shop")));
    assert_eq!(play.stage.take_server(), query("SELECT b FROM t"));
}

#[test]
fn who_has_a_galera_node_wait_gets_a_home_that_was_never_reset() {
    for text in ["SET SESSION wsrep_sync_wait = 1", "SET STATEMENT WSREP_SYNC_WAIT = 1 FOR SELECT a FROM t"] {
        let mut play = Play::lent();
        play.stage.session.split_mut().expect("it is split").waiting = Waiting::UnlessReset;
        play.runs_on(Lender::Other(Some("shop")), "SET time_zone = '+02:00'", AUTOCOMMIT, b"");
        assert!(play.parked().is_some());
        play.send(&query(text));
        let want = play.wants_home().expect("a connection is wanted");
        assert!(!want.may_be_reset);
        let loan = Loan { side: Side::Server, facts: facts(HOME), is_own: true, schema: Some(b"shop".to_vec()) };
        play.stage.tell(Input::Lent(loan));
        play.serve();
        assert!(play.wish(|wish| matches!(wish, Output::Release).then_some(())).is_some(), "its own was reset");
        assert!(play.wants_home().is_some_and(|want| !want.may_be_reset), "{text}");
    }
}

#[test]
fn a_galera_nodes_connection_is_for_nobody_else() {
    let mut play = Play::of(Script { user: "shared", schema: Some("shop"), ..Script::default() });
    play.stage.session.split_mut().expect("the session is split").replicas_wait = true;
    play.parked();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert!(!play.replica_parked().is_for_others, "after a reset it would wait for nothing");
}
