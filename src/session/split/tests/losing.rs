//! Readers whose replica is lost: who goes on, where, and what must be there.

use super::*;
use crate::{
    protocol::{error_code::Error, response::ErrPacket},
    session::Displacement,
    topology::{Answer, CheckResult, View, Writable},
};

/// The replica that the session reads from, and the primary, which replicas' users come to as well.
const REPLICA_HOME: u32 = 3;
const PRIMARY: u32 = 4;

const SELECT: &str = "SELECT a FROM t";

impl Play {
    /// A session at a replica, which was seen to have `had` when its primary had `written`.
    fn reading(had: &str, written: &str) -> Play {
        let mut play = Play::of_reader();
        play.hand_writes_over();
        play.see(REPLICA_HOME, had);
        play.see(PRIMARY, written);
        play.stage.now += Duration::from_millis(100);
        play
    }

    fn is_left(&mut self) -> bool {
        self.stage.to_server.clear();
        self.wishes(|wish| matches!(wish, Output::Release).then_some(())).is_some()
    }

    /// A home is wanted, connected, and lets the session in.
    fn comes_to(&mut self, server: u32) {
        self.wishes(|wish| matches!(wish, Output::LeaseHome(..)).then_some(())).expect("a home is wanted");
        self.is_left();
        self.stage.tell(Input::Leased(facts(server)));
        self.stage.server_lets_in();
        self.serve();
    }

    fn looks_again(&mut self) -> Vec<u8> {
        self.time_out();
        self.stage.take_server()
    }

    /// What the server says in place of a reply.
    fn refuses_with(&mut self, code: u16) {
        self.reply(Side::Server, &error(1, code));
    }

    fn answers(&mut self, server: u32, writable: Writable) {
        let answer = Answer { writable: Some(writable), view: View::Unasked, contact: None };
        self.beliefs.check(ServerId(server), &CheckResult::Answered(answer), self.stage.now);
        self.stage.table = self.beliefs.table();
    }
}

#[test]
fn a_reader_goes_on_where_all_is_that_its_lost_replica_can_have_shown() {
    for why in [None, Some(Displacement::Down)] {
        let mut play = Play::reading("0-1-7", "0-1-8");
        match why {
            None => play.closed(Side::Server),
            Some(why) => play.stage.tell(Input::Displaced(why)),
        }
        assert_eq!((play.stage.ending(), play.activity()), (None, "idle"));
        assert!(play.is_left());
        play.send(&query(SELECT));
        play.comes_to(REPLICA_HOME);
        assert_eq!(
            play.stage.take_server(),
            b"",
            "the primary was asked before the loss, and the replica read further"
        );
        play.see(PRIMARY, "0-1-9");
        assert_eq!(play.looks_again(), b"", "the replica is behind that");
        play.see(REPLICA_HOME, "0-1-8");
        assert_eq!(play.looks_again(), b"");
        play.see(REPLICA_HOME, "0-1-9");
        assert_eq!(play.looks_again(), query(SELECT));
        assert!(play.said_to_home().iter().any(|said| said.contains("time_zone='+02:00'")), "with what it has set");
    }
}

#[test]
fn the_next_home_had_better_be_where_the_lost_one_was() {
    let mut play = Play::reading("0-1-7", "0-1-8");
    play.closed(Side::Server);
    play.send(&query(SELECT));
    let fresh = |wish: &Output| if let Output::LeaseHome(want, _) = wish { Some(want.fresh.clone()) } else { None };
    let fresh = play.wishes(fresh).expect("a home is wanted");
    assert_eq!(fresh.map(|position| position.to_string()).as_deref(), Some("0-1-7"));
}

#[test]
fn a_reader_waits_no_longer_for_more_than_there_was_at_the_loss() {
    let mut play = Play::reading("0-1-7", "0-1-8");
    play.closed(Side::Server);
    play.see(PRIMARY, "0-1-9");
    play.see(REPLICA_HOME, "0-1-8");
    play.send(&query(SELECT));
    play.comes_to(REPLICA_HOME);
    assert_eq!(play.looks_again(), b"");
    play.see(PRIMARY, "0-1-50");
    play.see(REPLICA_HOME, "0-1-9");
    assert_eq!(play.looks_again(), query(SELECT));
}

#[test]
fn a_reader_goes_on_at_the_primary() {
    let mut play = Play::reading("0-1-7", "0-1-8");
    play.closed(Side::Server);
    play.send(&query(SELECT));
    play.comes_to(PRIMARY);
    assert_eq!(play.stage.take_server(), b"");
    play.see(PRIMARY, "0-1-8");
    assert_eq!(play.looks_again(), query(SELECT));
}

#[test]
fn a_read_that_was_not_answered_is_run_again_and_once() {
    for shuts_down in [false, true] {
        let mut play = Play::reading("0-1-7", "0-1-8");
        assert_eq!(play.goes(&query(SELECT)), Side::Server);
        match shuts_down {
            true => play.refuses_with(1053),
            false => play.closed(Side::Server),
        }
        assert_eq!(play.stage.take_client(), b"");
        play.see(PRIMARY, "0-1-8");
        play.comes_to(PRIMARY);
        assert_eq!(play.stage.take_server(), query(SELECT));
        play.closed(Side::Server);
        play.hears_of(1158, "08S01");
        assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
    }
}

#[test]
fn a_node_that_has_left_its_group_has_run_nothing() {
    for (status, is_client_to_hear) in [(AUTOCOMMIT, false), (TRANSACTION, true)] {
        let mut play = Play::reading("0-1-7", "0-1-8");
        if status == TRANSACTION {
            play.at_home("BEGIN", TRANSACTION, b"");
        }
        assert_eq!(play.goes(&query(SELECT)), Side::Server);
        let refusal = ErrPacket::new(Error::UNKNOWN_COMMAND, "WSREP has not yet prepared node for application use");
        let mut payload = Vec::new();
        refusal.encode(&mut payload);
        play.reply(Side::Server, &packet(1, &payload));
        assert_eq!(!play.stage.take_client().is_empty(), is_client_to_hear, "what the transaction saw is nowhere else");
        if !is_client_to_hear {
            play.see(PRIMARY, "0-1-8");
            play.comes_to(PRIMARY);
            assert_eq!(play.stage.take_server(), query(SELECT));
        }
    }
}

#[test]
fn what_changes_the_connection_alone_goes_on_when_the_replica_shuts_down() {
    for text in ["BEGIN", "SET autocommit = 1", "USE shop"] {
        let mut play = Play::reading("0-1-7", "0-1-8");
        assert_eq!(play.goes(&query(text)), Side::Server, "{text}");
        play.refuses_with(1053);
        play.see(PRIMARY, "0-1-8");
        play.comes_to(PRIMARY);
        assert_eq!((play.stage.take_server(), play.stage.take_client()), (query(text), Vec::new()));
    }
}

#[test]
fn a_read_of_which_the_client_has_seen_something_is_not_run_again() {
    let mut play = Play::reading("0-1-7", "0-1-8");
    assert_eq!(play.goes(&query(SELECT)), Side::Server);
    let result = play.result();
    play.reply(Side::Server, &result[..result.len() - 11]);
    play.closed(Side::Server);
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn whoever_has_more_at_its_replica_than_can_be_told_ends_with_it() {
    for (statement, status, trackers) in [
        ("BEGIN", TRANSACTION, Vec::new()),
        ("SET autocommit = 0", StatusFlags::IN_TRANS, Vec::new()),
        ("CREATE TEMPORARY TABLE mine (a INT)", AUTOCOMMIT, Vec::new()),
        ("SELECT GET_LOCK('l', 1)", AUTOCOMMIT, Vec::new()),
        ("UPDATE t SET a = 1", AUTOCOMMIT, Vec::new()),
        ("UPDATE t SET a = 1", AUTOCOMMIT, position("0-9-1")),
    ] {
        let mut play = Play::reading("0-1-7", "0-1-8");
        play.at_home(statement, status, &trackers);
        play.closed(Side::Server);
        assert_eq!(play.stage.ending(), Some(Ending::ServerGone), "{statement}");
    }
}

#[test]
fn nothing_but_a_read_that_is_under_way_outlives_the_replica() {
    for text in ["UPDATE t SET a = 1", "CALL p()", "SELECT a FROM t FOR UPDATE"] {
        for code in [None, Some(1053)] {
            let mut play = Play::reading("0-1-7", "0-1-8");
            assert_eq!(play.goes(&query(text)), Side::Server);
            match code {
                Some(code) => {
                    play.refuses_with(code);
                    play.hears_of(code, "HY000");
                }
                None => {
                    play.closed(Side::Server);
                    play.hears_of(1158, "08S01");
                    assert_eq!(play.stage.ending(), Some(Ending::ServerGone), "{text}");
                }
            }
        }
    }
}

#[test]
fn another_primary_tells_nothing_of_what_was_lost() {
    let mut play = Play::reading("0-1-7", "0-1-8");
    play.closed(Side::Server);
    play.answers(REPLICA_HOME, Writable::Yes);
    play.see(PRIMARY, "0-1-9");
    play.see(REPLICA_HOME, "0-1-9");
    play.send(&query(SELECT));
    play.comes_to(PRIMARY);
    assert_eq!(play.stage.take_server(), b"", "it is not certain who is the primary");
    play.answers(PRIMARY, Writable::No);
    play.answers(REPLICA_HOME, Writable::Yes);
    assert_eq!(play.looks_again(), command(0x01, b""));
    play.hears_of(1158, "08S01");
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn a_primary_that_lacks_what_the_replica_had_is_not_believed() {
    let mut play = Play::reading("0-1-9", "0-1-8");
    play.closed(Side::Server);
    play.see(PRIMARY, "0-1-8");
    play.send(&query(SELECT));
    play.comes_to(PRIMARY);
    assert_eq!(play.looks_again(), b"");
    play.stage.now += Duration::from_secs(60);
    play.stage.tell(Input::Timeout);
    play.hears_of(1158, "08S01");
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn a_reader_of_a_lost_galera_node_waits_at_the_next_one_for_what_the_group_has() {
    let mut play = Play::reading("0-1-7", "0-1-8");
    play.stage.session.split_mut().expect("the session is followed").replicas_wait = true;
    play.closed(Side::Server);
    assert_eq!((play.stage.ending(), play.activity()), (None, "idle"));
    play.unanswered = "wsrep_sync_wait";
    play.send(&query(SELECT));
    play.comes_to(PRIMARY);
    let said = play.said_to_home();
    assert_eq!(said.iter().filter(|said| said.contains("wsrep_sync_wait")).count(), 1, "{said:?}");
    assert_eq!(play.stage.take_server(), b"", "nothing is read before it has answered");
}
