//! Homes that die, are demoted, or refuse what they are told: where the session goes on, and what its client hears.

use super::*;
use crate::{
    session::{Displacement, LeaseFailure},
    topology::Failure,
};

/// The servers that can be homes.
const FIRST: u32 = 3;
const SECOND: u32 = 4;

const READ_ONLY: &str = "The MariaDB server is running with the --read-only option so it cannot execute this statement";

const SHUTDOWN: &str = "Server shutdown in progress";

impl Play {
    /// A session of a user by name that has set something.
    fn followed() -> Play {
        let mut play = Play::of(Script { user: "followed", home: FIRST, schema: Some("shop"), ..Script::default() });
        play.sets("SET time_zone = '+02:00'", "time_zone", "+02:00");
        play.said();
        play
    }

    fn wished<T>(&mut self, read: impl Fn(&Output) -> Option<T>) -> Option<T> {
        let place = self.stage.wishes.iter().position(|wish| read(wish).is_some())?;
        read(&self.stage.wishes.remove(place))
    }

    /// A home is wanted, and not this one.
    fn wants_another_home(&mut self) -> Option<Option<ServerId>> {
        self.wished(|wish| match wish {
            Output::LeaseHome(_, avoid) => Some(*avoid),
            _ => None,
        })
    }

    fn was_released(&mut self) -> bool {
        self.stage.to_server.clear();
        self.wished(|wish| matches!(wish, Output::Release).then_some(())).is_some()
    }

    fn reported(&mut self) -> Option<(ServerId, Failure)> {
        self.wished(|wish| match wish {
            Output::Report(server, failure) => Some((*server, *failure)),
            _ => None,
        })
    }

    /// The home that is wanted is connected, and lets the session in.
    fn gets_home(&mut self, id: u32) {
        self.wants_another_home().expect("a home is wanted");
        self.was_released();
        self.stage.tell(Input::Leased(facts(id)));
        let response = self.stage.server_lets_in_with(&self.greeting);
        assert_eq!(response.user, b"followed");
        assert_eq!(response.database.as_deref(), Some(&b"shop"[..]));
        self.serve();
    }

    fn displace(&mut self, why: Displacement) {
        self.stage.tell(Input::Displaced(why));
        self.serve();
    }

    /// Home answers with an error.
    fn refuses(&mut self, code: u16, words: &str) {
        let [low, high] = code.to_le_bytes();
        let payload = [&[0xFF, low, high], &b"#HY000"[..], words.as_bytes()].concat();
        self.reply(Side::Server, &packet(1, &payload));
    }

    /// The next command runs at another home, which was made like the first one.
    fn goes_on(&mut self, text: &str) {
        self.send(&query(text));
        self.gets_home(SECOND);
        assert_eq!(self.stage.take_server(), query(text), "said: {:?}", self.said);
        let said = self.said_to_home();
        assert!(said.iter().any(|said| said.contains("time_zone='+02:00'")), "{said:?}");
        self.reply(Side::Server, &packet(1, &ok_with(AUTOCOMMIT, b"")));
        assert_eq!(self.stage.take_client(), packet(1, &ok(AUTOCOMMIT)));
    }

    /// The client hears this error, and nothing else.
    fn hears(&mut self, code: u16, state: &str) {
        let heard = self.stage.take_client();
        let error = ErrPacket::parse(&heard[HEADER_LENGTH..]).expect("an error");
        let (sequence, was, _) = error_of(&heard);
        let state_was = error.state.map(|state| String::from_utf8_lossy(&state).into_owned());
        assert_eq!((sequence, was, state_was.as_deref()), (1, code, Some(state)));
    }
}

#[test]
fn a_home_that_dies_between_two_statements_is_not_noticed() {
    let mut play = Play::followed();
    play.closed(Side::Server);
    assert_eq!(play.activity(), "idle");
    assert_eq!(play.reported(), Some((ServerId(FIRST), Failure::Reset)));
    assert!(play.was_released());
    play.goes_on("UPDATE t SET a = 1");
    // And the second one has the same rights.
    play.closed(Side::Server);
    assert_eq!(play.activity(), "idle");
}

#[test]
fn a_session_that_is_killed_does_not_go_on_elsewhere() {
    let mut play = Play::followed();
    play.stage.session.is_to_be_killed(play.stage.now);
    // Whoever kills it may have to wait for the server, and the server for its disk.
    play.stage.now += Duration::from_secs(300);
    play.closed(Side::Server);
    assert_eq!(play.stage.ending(), Some(Ending::Killed));
}

#[test]
fn a_session_whose_server_refuses_to_kill_it_goes_on_elsewhere() {
    let mut play = Play::followed();
    play.stage.session.is_to_be_killed(play.stage.now);
    play.stage.session.is_not_to_be_killed();
    play.closed(Side::Server);
    assert_eq!((play.stage.ending(), play.activity()), (None, "idle"));
    // Of two, one may.
    let mut play = Play::followed();
    play.stage.session.is_to_be_killed(play.stage.now);
    play.stage.session.is_to_be_killed(play.stage.now);
    play.stage.session.is_not_to_be_killed();
    play.closed(Side::Server);
    assert_eq!(play.stage.ending(), Some(Ending::Killed));
    // Nobody says what came of the first one, and the second one is refused.
    let mut play = Play::followed();
    for _ in 0..2 {
        play.stage.session.is_to_be_killed(play.stage.now);
        play.stage.now += Duration::from_secs(660);
    }
    play.closed(Side::Server);
    assert_eq!((play.stage.ending(), play.activity()), (None, "idle"));
    play.stage.session.is_to_be_killed(play.stage.now);
    play.stage.session.is_not_to_be_killed();
    play.goes_on("SELECT 1");
    play.closed(Side::Server);
    assert_eq!((play.stage.ending(), play.activity()), (None, "idle"));
}

#[test]
fn a_home_that_takes_no_writes_any_more_is_left_at_once() {
    let mut play = Play::followed();
    play.displace(Displacement::Demoted);
    assert!(play.was_released());
    play.goes_on("UPDATE t SET a = 1");
}

#[test]
fn a_home_that_is_down_is_left_at_once() {
    let mut play = Play::followed();
    play.displace(Displacement::Down);
    assert!(play.was_released());
    play.goes_on("SELECT 1");
}

#[test]
fn a_transaction_waits_for_a_home_that_is_down_and_not_for_one_that_has_a_successor() {
    let mut play = Play::followed();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.displace(Displacement::Down);
    assert!(!play.was_released());
    play.displace(Displacement::Gone);
    assert!(play.was_released());
    play.send(&query("COMMIT"));
    play.hears(1213, "40001");
    play.goes_on("UPDATE t SET a = 1");

    let mut bound = Play::followed();
    bound.at_home("CREATE TEMPORARY TABLE mine (a INT)", TRANSACTION, b"");
    bound.displace(Displacement::Down);
    assert_eq!(bound.stage.ending(), None);
    bound.displace(Displacement::Gone);
    assert_eq!(bound.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn a_session_leaves_behind_the_statement_that_is_under_way() {
    let mut play = Play::followed();
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
    play.displace(Displacement::Demoted);
    assert!(!play.was_released());
    play.reply(Side::Server, &packet(1, &ok_with(AUTOCOMMIT, b"")));
    assert_eq!(play.stage.take_client(), packet(1, &ok(AUTOCOMMIT)));
    assert!(play.was_released());
}

#[test]
fn state_that_cannot_be_taken_along_ends_the_session() {
    for statement in ["CREATE TEMPORARY TABLE mine (a INT)", "LOCK TABLES t READ", "SELECT GET_LOCK('l', 1)"] {
        let mut play = Play::followed();
        play.at_home(statement, AUTOCOMMIT, b"");
        play.displace(Displacement::Demoted);
        assert!(play.was_released(), "{statement}");
        play.send(&query("SELECT 1"));
        play.hears(1053, "08S01");
        assert_eq!(play.stage.ending(), Some(Ending::Drained), "{statement}");
    }
}

#[test]
fn a_refused_write_is_run_once_by_the_next_home() {
    let refusals = [
        (1290, READ_ONLY),
        (1836, "Running in read-only mode"),
        (1047, "WSREP has not yet prepared node for application use"),
    ];
    for (code, words) in refusals {
        let mut play = Play::followed();
        assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
        play.refuses(code, words);
        assert_eq!(play.stage.take_client(), b"", "the client waits");
        assert_eq!(play.reported(), Some((ServerId(FIRST), Failure::StatementRefused { code })));
        let avoided = play.stage.wishes.iter().find_map(|wish| match wish {
            Output::LeaseHome(_, avoid) => Some(*avoid),
            _ => None,
        });
        assert_eq!(avoided, Some(Some(ServerId(FIRST))));
        play.gets_home(SECOND);
        assert_eq!(play.stage.take_server(), query("UPDATE t SET a = 1"));
        play.reply(Side::Server, &packet(1, &ok_with(AUTOCOMMIT, b"")));
        assert_eq!(play.stage.take_client(), packet(1, &ok(AUTOCOMMIT)));
        // The next one begins anew.
        assert_eq!(play.goes(&query("UPDATE t SET a = 2")), Side::Server);
    }
}

#[test]
fn what_changes_the_connection_alone_goes_on_at_the_next_home_when_its_server_shuts_down() {
    for text in ["BEGIN", "START TRANSACTION", "SET autocommit = 1", "SET SESSION sql_mode = ''", "USE shop"] {
        let mut play = Play::followed();
        assert_eq!(play.goes(&query(text)), Side::Server, "{text}");
        play.refuses(1053, SHUTDOWN);
        assert_eq!(play.stage.take_client(), b"", "{text}: the client waits");
        play.gets_home(SECOND);
        assert_eq!(play.stage.take_server(), query(text));
    }
}

#[test]
fn what_was_or_may_have_been_executed_is_not_run_again() {
    for (text, code, words) in [
        ("LOAD DATA INFILE '/x' INTO TABLE t", 1290, "running with the --secure-file-priv option"),
        ("CALL p()", 1290, READ_ONLY),
        ("UPDATE t SET a = 1", 1205, "Lock wait timeout exceeded"),
        ("UPDATE t SET a = 1", 1053, SHUTDOWN),
        ("COMMIT", 1053, SHUTDOWN),
        ("SET @a = f()", 1053, SHUTDOWN),
        ("BEGIN; UPDATE t SET a = 1", 1053, SHUTDOWN),
    ] {
        let mut play = Play::followed();
        assert_eq!(play.goes(&query(text)), Side::Server);
        play.refuses(code, words);
        play.hears(code, "HY000");
        assert!(play.wants_another_home().is_none());
    }
}

#[test]
fn a_refused_write_waits_no_longer_than_it_may() {
    let mut play = Play::followed();
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
    play.refuses(1290, READ_ONLY);
    // The table still calls it the primary, and so it is tried again.
    play.gets_home(FIRST);
    assert_eq!(play.stage.take_server(), query("UPDATE t SET a = 1"));
    play.stage.now += Duration::from_secs(60);
    play.refuses(1290, READ_ONLY);
    play.hears(1290, "HY000");
    assert_ne!(play.activity(), "closing");
}

#[test]
fn a_refused_command_that_is_too_long_to_be_kept_says_so_and_the_session_goes_on() {
    let mut play = Play::followed();
    let long = format!("INSERT INTO t VALUES ('{}')", "x".repeat(super::super::COMMAND_MAX));
    assert_eq!(play.goes(&query(&long)), Side::Server);
    play.refuses(1290, READ_ONLY);
    let (_, code, message) = error_of(&play.stage.take_client());
    assert_eq!(code, 1290);
    assert!(message.ends_with(" KiB is not kept for the next primary)"), "{message}");
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
}

#[test]
fn a_write_for_which_no_home_is_found_is_answered_and_the_session_goes_on() {
    let mut play = Play::followed();
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
    play.refuses(1290, READ_ONLY);
    assert!(play.wants_another_home().is_some());
    play.stage.tell(Input::LeaseFailed(LeaseFailure::NoServer("there is no primary".into())));
    play.hears(1158, "08S01");
    play.goes_on("UPDATE t SET a = 2");
}

#[test]
fn a_transaction_that_cannot_be_committed_is_lost_and_the_session_goes_on() {
    let mut play = Play::followed();
    play.at_home("BEGIN", TRANSACTION, b"");
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
    play.refuses(1290, READ_ONLY);
    play.hears(1213, "40001");
    assert!(play.was_released(), "with its connection, the server forgets the transaction");
    play.goes_on("BEGIN");
}

#[test]
fn a_transaction_at_a_demoted_home_is_lost_with_its_next_statement() {
    let mut play = Play::followed();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.displace(Displacement::Demoted);
    assert!(!play.was_released());
    play.send(&query("UPDATE t SET a = 1"));
    play.hears(1213, "40001");
    assert!(play.was_released());
    play.goes_on("BEGIN");
}

#[test]
fn a_transaction_at_a_demoted_home_may_still_be_rolled_back() {
    let mut play = Play::followed();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.displace(Displacement::Demoted);
    play.at_home("ROLLBACK", AUTOCOMMIT, b"");
    assert!(play.was_released());
    play.goes_on("BEGIN");
}

#[test]
fn a_transaction_whose_home_dies_is_lost_with_its_next_statement() {
    let mut play = Play::followed();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.closed(Side::Server);
    assert_eq!(play.activity(), "in transaction");
    play.send(&query("COMMIT"));
    play.hears(1213, "40001");
    play.goes_on("BEGIN");
}

#[test]
fn a_rollback_of_a_transaction_whose_home_died_is_no_error() {
    let mut play = Play::followed();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.closed(Side::Server);
    play.goes_on("ROLLBACK");
}

#[test]
fn a_statement_of_a_transaction_is_lost_with_its_home() {
    let mut play = Play::followed();
    play.at_home("BEGIN", TRANSACTION, b"");
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
    play.closed(Side::Server);
    play.hears(1213, "40001");
    play.goes_on("BEGIN");
}

#[test]
fn a_commit_that_is_lost_is_in_doubt() {
    for text in ["COMMIT", "CREATE TABLE u (a INT)", "CALL p()"] {
        let mut play = Play::followed();
        play.at_home("BEGIN", TRANSACTION, b"");
        assert_eq!(play.goes(&query(text)), Side::Server);
        play.closed(Side::Server);
        play.hears(1158, "08007");
        assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
    }
}

#[test]
fn a_write_that_is_lost_ends_the_session() {
    for why in [None, Some(Displacement::Down)] {
        let mut play = Play::followed();
        assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
        match why {
            None => play.closed(Side::Server),
            Some(why) => play.displace(why),
        }
        play.hears(1158, "08S01");
        assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
        assert!(play.wants_another_home().is_none());
    }
}

#[test]
fn a_read_that_is_lost_before_it_was_answered_is_run_once_more() {
    let mut play = Play::followed();
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Server);
    play.closed(Side::Server);
    play.gets_home(SECOND);
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
    play.closed(Side::Server);
    play.hears(1158, "08S01");
}

#[test]
fn a_home_that_lacks_what_the_session_wrote_is_waited_for() {
    let mut play = Play::followed();
    play.at_home("UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-5"));
    play.closed(Side::Server);
    play.see(SECOND, "0-1-4");
    play.send(&query("SELECT a FROM t"));
    play.gets_home(SECOND);
    assert_eq!(play.stage.take_server(), b"");
    play.time_out();
    assert_eq!(play.stage.take_server(), b"");
    play.see(SECOND, "0-1-5");
    play.time_out();
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
}

#[test]
fn another_node_of_a_galera_cluster_waits_before_it_is_home() {
    let mut play = Play::followed();
    play.stage.session.split_mut().expect("the session is followed").replicas_wait = true;
    play.closed(Side::Server);
    play.goes_on("UPDATE t SET a = 1");
    let waits = |play: &mut Play| play.said_to_home().iter().filter(|said| said.contains("wsrep_sync_wait")).count();
    play.closed(Side::Server);
    play.unanswered = "wsrep_sync_wait";
    play.send(&query("SELECT a FROM t"));
    play.gets_home(FIRST);
    assert_eq!((waits(&mut play), play.stage.take_server()), (1, Vec::new()), "nothing is read before it has answered");
    // The next one is at the same server, which has not said that it has all.
    play.unanswered = "never said";
    play.closed(Side::Server);
    play.gets_home(FIRST);
    assert_eq!((waits(&mut play), play.stage.take_server()), (1, query("SELECT a FROM t")));
}

impl Play {
    /// A session of a Galera cluster whose next home does not answer when it is to say that it has all.
    fn waits_for_another_node() -> Play {
        let mut play = Play::followed();
        play.stage.session.split_mut().expect("the session is followed").replicas_wait = true;
        play.closed(Side::Server);
        play.reported().expect("the first one was lost");
        play.unanswered = "wsrep_sync_wait";
        play.send(&query("SELECT a FROM t"));
        play.gets_home(SECOND);
        assert_eq!(play.said_to_home().iter().filter(|said| said.contains("wsrep_sync_wait")).count(), 1);
        play
    }

    /// The session has no home, which was not taken for lost, and gets one with its next statement.
    fn lives_on_at_another_node(&mut self) {
        assert_eq!((self.stage.ending(), self.activity(), self.reported()), (None, "idle", None));
        assert!(self.was_released());
        self.said.clear();
        self.unanswered = "never said";
        self.goes_on("SELECT b FROM t");
    }
}

#[test]
fn a_node_is_given_the_time_that_it_gives_itself() {
    let mut play = Play::waits_for_another_node();
    // Where nobody has set another one.
    let of_node = play.stage.now + Duration::from_secs(30);
    assert!(play.stage.session.poll_timeout().is_some_and(|deadline| deadline > of_node), "it is not broken off");
    play.stage.now = of_node;
    assert_eq!((play.wants_another_home(), play.stage.take_client()), (None, Vec::new()));
    play.refuses(1205, "Lock wait timeout exceeded; try restarting transaction");
    play.hears(1205, "HY000");
    play.lives_on_at_another_node();
}

#[test]
fn a_node_that_never_has_all_is_not_lost() {
    let mut play = Play::waits_for_another_node();
    play.time_out();
    play.hears(1205, "HY000");
    play.lives_on_at_another_node();
}

#[test]
fn a_node_that_does_not_answer_its_checks_is_lost_while_it_is_waited_for() {
    let mut play = Play::waits_for_another_node();
    play.displace(Displacement::Down);
    play.unanswered = "never said";
    play.gets_home(FIRST);
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
}

#[test]
fn another_node_of_a_percona_xtradb_cluster_is_told_to_wait_in_words_that_it_knows() {
    const WAIT: [&str; 3] = ["SET SESSION wsrep_sync_wait=1", "SELECT 1", "SET SESSION wsrep_sync_wait=DEFAULT"];
    let read = command(0x03, &[&[0, 1], &b"SELECT a FROM t"[..]].concat());
    let mut play = Play::of(Script { user: "followed", home: FIRST, schema: Some("shop"), ..Script::of(true) });
    play.stage.session.split_mut().expect("the session is followed").replicas_wait = true;
    // Behind the goodbye to the one before.
    let said = |play: &mut Play| play.said_to_home().into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
    play.closed(Side::Server);
    play.unanswered = "SELECT 1";
    play.send(&read);
    play.gets_home(SECOND);
    assert_eq!(said(&mut play), WAIT[..2]);
    assert_eq!(play.stage.take_server(), b"", "nothing is read before it has answered");
    play.unanswered = "(none)";
    play.closed(Side::Server);
    play.gets_home(FIRST);
    let said = said(&mut play);
    assert_eq!(said[..3], WAIT, "{said:?}");
    assert!(said[3..].iter().all(|text| !text.contains("wsrep_sync_wait")), "{said:?}");
    assert_eq!(play.stage.take_server(), read);
}

#[test]
fn a_home_that_never_has_what_the_session_wrote_is_no_home() {
    let mut play = Play::followed();
    play.at_home("UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-5"));
    play.closed(Side::Server);
    play.see(SECOND, "0-1-4");
    play.send(&query("SELECT a FROM t"));
    play.gets_home(SECOND);
    play.stage.now += Duration::from_secs(60);
    play.stage.tell(Input::Timeout);
    play.hears(1158, "08S01");
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn whoever_leaves_a_demoted_home_sees_all_that_was_there() {
    let mut play = Play::followed();
    play.see(FIRST, "0-1-7");
    play.displace(Displacement::Demoted);
    play.see(SECOND, "0-1-6");
    play.send(&query("SELECT a FROM t"));
    play.gets_home(SECOND);
    assert_eq!(play.stage.take_server(), b"", "another session's write may have been seen");
    play.see(SECOND, "0-1-7");
    play.time_out();
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
}

#[test]
fn what_a_replica_was_asked_is_answered_before_anything_else_is_said_there() {
    let mut play = Play::of(Script { user: "moving", home: FIRST, ..Script::default() });
    play.see(FIRST, "0-1-7");
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.at_home("UPDATE t SET a = 1", AUTOCOMMIT, &position("0-1-8"));
    play.unanswered = "GTID_WAIT";
    play.send(&query("SELECT a FROM t"));
    play.said();
    play.displace(Displacement::Demoted);
    assert_eq!(play.said_to_replica(), [""; 0], "the answer to the wait comes first");
    play.unanswered = "(none)";
    let answer = play.row(&["0"]);
    play.reply(Side::Replica, &answer);
    assert_eq!(play.stage.take_client(), b"");
    let result = play.result();
    assert_eq!(std::mem::take(&mut play.stage.to_replica), query("SELECT a FROM t"));
    play.reply(Side::Replica, &result);
    assert_eq!(play.stage.take_client(), result);
}

#[test]
fn a_read_that_finds_no_replica_after_its_home_was_left_goes_to_the_next_home() {
    let mut play = Play::of(Script { user: "moving", home: FIRST, has_replica: false, ..Script::default() });
    play.displace(Displacement::Demoted);
    assert!(play.was_released());
    play.send(&query("SELECT a FROM t"));
    assert_eq!(play.stage.take_server(), b"", "there is no home");
    assert_eq!(play.wants_another_home(), Some(None));
    play.stage.tell(Input::Leased(facts(SECOND)));
    play.stage.server_lets_in();
    play.serve();
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
}

#[test]
fn a_session_that_keeps_its_home_says_nothing_there_that_others_do_not() {
    let said = [("split", HOME), ("moving", FIRST)].map(|(user, home)| {
        let mut play = Play::entering(Script { user, home, ..Script::default() });
        play.serve();
        play.read("SELECT a FROM t");
        play.sets("SET NAMES latin1", "character_set_client", "latin1");
        play.at_home("CALL p()", AUTOCOMMIT, b"");
        play.sets("SET time_zone = '+01:00'", "time_zone", "+01:00");
        play.at_home("BEGIN", TRANSACTION, b"");
        play.at_home("COMMIT", AUTOCOMMIT, b"");
        play.said_to_home()
    });
    assert_eq!(said[0], said[1]);
}

#[test]
fn a_transaction_at_a_home_that_hands_over_may_end_there() {
    let mut play = Play::followed();
    play.at_home("BEGIN", TRANSACTION, b"");
    play.displace(Displacement::Yields);
    play.at_home("UPDATE t SET a = 1", TRANSACTION, b"");
    play.at_home("COMMIT", AUTOCOMMIT, &position("0-1-5"));
    assert!(play.was_released());
    play.see(SECOND, "0-1-5");
    play.goes_on("BEGIN");
}
