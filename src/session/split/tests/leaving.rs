//! Homes and replicas that an operator takes out of use: when a session leaves, what it proves before, and who stays.

use super::*;
use crate::{
    protocol::error_code::Error,
    session::{Displacement, LeaseFailure},
    topology::{Answer, CheckResult, Service, View, Writable},
};

/// The servers that can be homes.
const FIRST: u32 = 3;
const SECOND: u32 = 4;

const BUDGET: Duration = Duration::from_secs(30);

impl Play {
    /// A session of a user by name that has set something.
    fn settled() -> Play {
        let mut play = Play::of(Script { user: "followed", home: FIRST, schema: Some("shop"), ..Script::default() });
        play.sets("SET time_zone = '+02:00'", "time_zone", "+02:00");
        play.said();
        play
    }

    /// The operator takes the home out of use; there is another one.
    fn drain(&mut self) {
        self.hand_writes_over();
        self.drain_the_only_one();
    }

    fn drain_the_only_one(&mut self) {
        self.beliefs.serve(ServerId(FIRST), Service::draining(BUDGET, 1, self.stage.now));
        self.stage.table = self.beliefs.table();
        self.stage.tell(Input::Displaced(Displacement::Drained));
        self.serve();
    }

    /// A session of a user whose pool is that of the replicas, of which there are two.
    pub(super) fn of_reader() -> Play {
        let mut play = Play::of(Script { user: "reading", home: FIRST, schema: Some("shop"), ..Script::default() });
        play.sets("SET time_zone = '+02:00'", "time_zone", "+02:00");
        play.said();
        for server in [FIRST, SECOND] {
            let answer = Answer { writable: Some(Writable::No), view: View::Unasked, contact: None };
            play.beliefs.check(ServerId(server), &CheckResult::Answered(answer), play.stage.now);
        }
        play
    }

    /// The second server is the primary now.
    pub(super) fn hand_writes_over(&mut self) {
        for (server, writable) in [(FIRST, Writable::No), (SECOND, Writable::Yes)] {
            let answer = Answer { writable: Some(writable), view: View::Unasked, contact: None };
            self.beliefs.check(ServerId(server), &CheckResult::Answered(answer), self.stage.now);
        }
        self.stage.table = self.beliefs.table();
    }

    fn end_of_budget(&mut self) {
        self.stage.tell(Input::Displaced(Displacement::OutOfUse));
        self.serve();
    }

    /// Sessions that were ended at the first server because it was taken out of use.
    fn turned_out(&self) -> u32 {
        self.stage.table.server(self.stage.table.place(ServerId(FIRST)).expect("it is configured")).load.turned_out()
    }

    pub(super) fn wishes<T>(&mut self, read: impl Fn(&Output) -> Option<T>) -> Option<T> {
        let place = self.stage.wishes.iter().position(|wish| read(wish).is_some())?;
        read(&self.stage.wishes.remove(place))
    }

    fn is_set_aside(&mut self) -> bool {
        let server = self.wishes(|wish| if let Output::SetAside(server) = wish { Some(*server) } else { None });
        server == Some(ServerId(FIRST))
    }

    fn goes_back(&mut self) -> bool {
        self.wishes(|wish| matches!(wish, Output::TakeBack).then_some(())).is_some()
    }

    fn has_arrived(&mut self) -> bool {
        self.wishes(|wish| matches!(wish, Output::DropAside).then_some(())).is_some()
    }

    /// Another home is wanted, connected, and lets the session in.
    fn is_let_in(&mut self) {
        let wanted = self.wishes(|wish| matches!(wish, Output::LeaseHome(..)).then_some(()));
        wanted.expect("another home is wanted");
        self.stage.tell(Input::Leased(facts(SECOND)));
        self.stage.server_lets_in();
        self.serve();
    }

    fn moves(&mut self) {
        assert!(self.is_set_aside(), "said: {:?}", self.said);
        self.is_let_in();
        assert!(self.has_arrived(), "said: {:?}", self.said);
        assert_eq!(self.stage.session.server().map(|server| server.id), Some(ServerId(SECOND)));
    }

    fn finds_nobody(&mut self) {
        self.stage.tell(Input::LeaseFailed(LeaseFailure::NoServer("there is no primary".into())));
        self.serve();
    }

    pub(super) fn hears_of(&mut self, code: u16, state: &str) {
        let heard = self.stage.take_client();
        let error = ErrPacket::parse(&heard[HEADER_LENGTH..]).expect("an error");
        let (sequence, was, _) = error_of(&heard);
        let state_was = error.state.map(|state| String::from_utf8_lossy(&state).into_owned());
        assert_eq!((sequence, was, state_was.as_deref()), (1, code, Some(state)));
    }
}

#[test]
fn an_idle_session_leaves_when_another_home_is_proven_to_be_the_same() {
    let mut play = Play::settled();
    play.drain();
    let asked = play.said_to_home();
    assert!(asked.iter().any(|said| said.contains("DATABASE()") && said.contains("@@SESSION.time_zone")), "{asked:?}");
    play.moves();
    let said = play.said_to_home();
    let put = said.iter().position(|said| said.contains("time_zone='+02:00'")).expect("it is put on");
    let proven = said.iter().position(|said| said.contains("DATABASE()")).expect("it is asked for");
    assert!(put < proven, "{said:?}");
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
}

#[test]
fn a_session_leaves_at_the_end_of_its_transaction() {
    let mut play = Play::settled();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.drain();
    play.at_home("UPDATE t SET a = 1", TRANSACTION, b"");
    assert!(!play.is_set_aside());
    play.at_home("COMMIT", AUTOCOMMIT, &position("0-1-5"));
    play.see(SECOND, "0-1-5");
    play.moves();
}

#[test]
fn a_session_does_not_leave_before_its_client_could_ask_about_the_last_statement() {
    let mut play = Play::settled();
    play.at_home("UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-5"));
    play.see(SECOND, "0-1-5");
    play.drain();
    assert!(!play.is_set_aside());
    assert_eq!(play.goes(&query("SELECT ROW_COUNT()")), Side::Server, "it is still there to be asked");
    let result = play.result();
    play.reply(Side::Server, &result);
    play.stage.take_client();
    assert!(!play.is_set_aside());
    play.time_out();
    play.moves();
}

#[test]
fn a_statement_that_asks_about_no_other_runs_at_the_next_home() {
    let mut play = Play::settled();
    play.at_home("UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-5"));
    play.see(SECOND, "0-1-5");
    play.drain();
    play.send(&query("UPDATE t SET a = 2"));
    play.stage.take_server();
    play.moves();
    assert_eq!(play.stage.take_server(), query("UPDATE t SET a = 2"));
}

#[test]
fn a_session_that_is_not_the_same_elsewhere_stays_until_it_sets_something_else() {
    let mut play = Play::settled();
    play.drain();
    assert!(play.is_set_aside());
    play.script.stock = "something else";
    play.is_let_in();
    assert!(play.goes_back() && !play.has_arrived());
    play.stage.take_server();
    assert_eq!(play.stage.session.ties(), ["no other server took on what it has set"]);
    play.at_home("UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-5"));
    play.see(SECOND, "0-1-5");
    assert!(!play.is_set_aside());
    play.script.stock = "the same";
    play.sets("SET time_zone = '+03:00'", "time_zone", "+03:00");
    play.moves();
}

#[test]
fn a_session_that_another_server_refuses_stays() {
    let mut play = Play::settled();
    play.drain();
    assert!(play.is_set_aside());
    let wanted = play.wishes(|wish| matches!(wish, Output::LeaseHome(..)).then_some(()));
    wanted.expect("another home is wanted");
    play.stage.tell(Input::Leased(facts(SECOND)));
    let mut greeting = Vec::new();
    server_greeting().encode(&mut greeting);
    play.stage.show(Side::Server, &packet(0, &greeting));
    play.stage.take_server();
    play.stage.show(Side::Server, &error(2, 1045));
    assert!(play.goes_back());
    play.stage.take_server();
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
}

#[test]
fn what_begins_at_the_only_writer_waits_for_another_one() {
    let mut play = Play::settled();
    play.drain_the_only_one();
    assert!(!play.is_set_aside(), "there is nowhere to go");
    play.send(&query("UPDATE t SET a = 1"));
    assert!(play.is_set_aside());
    assert_eq!(play.stage.take_client(), b"");
    play.finds_nobody();
    play.hears_of(1158, "08S01");
    assert!(play.goes_back(), "the session has lost nothing");
    play.wishes(|wish| matches!(wish, Output::LeaseHome(..)).then_some(()));
    play.hand_writes_over();
    play.send(&query("UPDATE t SET a = 1"));
    play.stage.take_server();
    play.moves();
    assert_eq!(play.stage.take_server(), query("UPDATE t SET a = 1"));
}

#[test]
fn a_server_that_is_taken_back_keeps_its_sessions() {
    let mut play = Play::settled();
    play.at_home("UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-5"));
    play.see(SECOND, "0-1-5");
    play.drain();
    play.beliefs.serve(ServerId(FIRST), Service::InUse);
    play.stage.table = play.beliefs.table();
    play.time_out();
    assert!(!play.is_set_aside());
    assert_eq!(play.goes(&query("UPDATE t SET a = 2")), Side::Server);
}

#[test]
fn whoever_is_bound_stays_until_its_bond_ends() {
    let mut play = Play::settled();
    play.at_home("CREATE TEMPORARY TABLE mine (a INT)", AUTOCOMMIT, b"");
    play.drain();
    play.at_home("INSERT INTO mine VALUES (1)", AUTOCOMMIT, b"");
    assert!(!play.is_set_aside());
    assert_eq!(play.stage.session.ties(), ["temporary table"]);
    assert!(play.stage.session.tied_since().is_some());
    play.at_home("DROP TEMPORARY TABLE mine", AUTOCOMMIT, &position("0-1-5"));
    play.see(SECOND, "0-1-5");
    play.time_out();
    play.moves();
    assert_eq!(play.stage.session.ties(), [""; 0]);
}

#[test]
fn whoever_is_still_bound_at_the_end_hears_so_with_the_next_command() {
    for statement in ["CREATE TEMPORARY TABLE mine (a INT)", "LOCK TABLES t READ", "SELECT GET_LOCK('l', 1)"] {
        let mut play = Play::settled();
        play.at_home(statement, AUTOCOMMIT, b"");
        play.drain();
        play.end_of_budget();
        assert!(play.wishes(|wish| matches!(wish, Output::Release).then_some(())).is_some());
        assert_eq!((play.stage.ending(), play.stage.take_client()), (None, Vec::new()), "nothing is said unasked");
        play.send(&query("SELECT 1"));
        play.hears_of(1053, "08S01");
        assert_eq!(play.stage.ending(), Some(Ending::Drained), "{statement}");
        assert_eq!(play.turned_out(), 1, "{statement}");
    }
}

#[test]
fn a_client_that_goes_without_a_command_hears_nothing() {
    let mut play = Play::settled();
    play.at_home("LOCK TABLES t READ", AUTOCOMMIT, b"");
    play.drain();
    play.end_of_budget();
    play.send(&command(0x01, b""));
    assert_eq!((play.stage.ending(), play.stage.take_client()), (Some(Ending::Quit), Vec::new()));
}

#[test]
fn what_is_under_way_at_the_end_is_answered_with_it() {
    let mut play = Play::settled();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.drain();
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
    play.end_of_budget();
    play.hears_of(1053, "08S01");
    assert_eq!(play.stage.ending(), Some(Ending::Drained));
}

#[test]
fn who_could_leave_at_the_end_leaves_without_an_error() {
    let mut play = Play::settled();
    play.drain_the_only_one();
    play.end_of_budget();
    assert!(play.wishes(|wish| matches!(wish, Output::Release).then_some(())).is_some());
    play.stage.take_server();
    play.hand_writes_over();
    play.send(&query("UPDATE t SET a = 1"));
    play.is_let_in();
    assert_eq!(play.stage.take_server(), query("UPDATE t SET a = 1"));
    assert_eq!(play.turned_out(), 0);
}

#[test]
fn a_session_whose_state_nobody_follows_stays_until_the_end() {
    let mut stage = Stage::working();
    stage.tell(Input::Displaced(Displacement::Drained));
    assert_eq!(stage.session.ties(), ["its user's pools lead to no other server"]);
    stage.show(Side::Client, &query("SELECT 1"));
    assert_eq!(stage.take_server(), query("SELECT 1"));
    stage.show(Side::Server, &result());
    stage.take_client();
    stage.tell(Input::Displaced(Displacement::OutOfUse));
    // However the command is cut.
    stage.cut = 3;
    stage.show(Side::Client, &query("SELECT 1"));
    assert_eq!(error_of(&stage.take_client()).1, 1053);
    assert_eq!(stage.ending(), Some(Ending::Drained));
}

#[test]
fn a_reader_at_a_replica_leaves_for_one_that_has_what_it_may_have_seen() {
    let mut play = Play::of_reader();
    play.see(FIRST, "0-1-7");
    play.drain_the_only_one();
    assert!(play.is_set_aside());
    play.is_let_in();
    assert!(!play.has_arrived(), "it may have seen what the other one lacks");
    play.see(SECOND, "0-1-7");
    play.time_out();
    assert!(play.has_arrived(), "said: {:?}", play.said);
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server);
    assert_eq!(play.stage.session.server().map(|server| server.id), Some(ServerId(SECOND)));
}

#[test]
fn what_a_reader_saw_since_the_last_check_is_waited_for() {
    let mut play = Play::of_reader();
    play.see(FIRST, "0-1-7");
    play.see(SECOND, "0-1-7");
    play.stage.now += Duration::from_millis(300);
    play.drain_the_only_one();
    assert!(play.is_set_aside());
    play.is_let_in();
    assert!(!play.has_arrived(), "it may have seen what came since");
    play.see(FIRST, "0-1-8");
    play.time_out();
    assert!(!play.has_arrived(), "the other one lacks that");
    play.see(SECOND, "0-1-8");
    play.time_out();
    assert!(play.has_arrived(), "said: {:?}", play.said);
}

#[test]
fn a_reader_stays_where_no_server_tells_how_far_it_is() {
    let mut play = Play::of_reader();
    play.drain_the_only_one();
    assert!(!play.is_set_aside());
    assert_eq!(play.stage.session.ties(), ["no other server is known to have what it wrote or saw"]);
}

#[test]
fn a_reader_whose_replica_is_lost_is_not_taken_back_in_time() {
    let mut play = Play::of_reader();
    play.stage.tell(Input::Closed(Side::Server));
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn a_replica_that_takes_no_writes_says_so_to_its_readers() {
    let mut play = Play::of_reader();
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
    let refusal = ErrPacket::new(Error::OPTION_PREVENTS_STATEMENT, "running with the --read-only option");
    let mut payload = Vec::new();
    refusal.encode(&mut payload);
    play.reply(Side::Server, &packet(1, &payload));
    assert_eq!(error_of(&play.stage.take_client()).1, 1290);
}

#[test]
fn what_nobody_else_is_known_to_have_is_not_left_behind() {
    let mut play = Play::of_reader();
    play.at_home("UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-5"));
    play.drain_the_only_one();
    assert!(!play.is_set_aside());
    assert_eq!(play.stage.session.ties(), ["no other server is known to have what it wrote or saw"]);
    play.end_of_budget();
    play.send(&query("SELECT 1"));
    play.hears_of(1053, "08S01");
}

#[test]
fn a_replica_is_left_between_two_reads() {
    let mut play = Play::of(Script { user: "moving", home: FIRST, ..Script::default() });
    let released = |play: &mut Play| play.wishes(|wish| matches!(wish, Output::ReleaseReplica).then_some(())).is_some();
    play.see(FIRST, "0-1-7");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.stage.tell(Input::ReplicaDrained);
    assert!(released(&mut play));
    play.stage.to_replica.clear();

    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Replica);
    play.stage.tell(Input::ReplicaDrained);
    assert!(!released(&mut play));
    let result = play.result();
    play.reply(Side::Replica, &result);
    assert_eq!(play.stage.take_client(), result);
    assert!(released(&mut play));
}
