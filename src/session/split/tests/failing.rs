//! Servers that fail, and sessions that are ended from elsewhere.

use super::*;

/// A session whose read is at the replica, unanswered.
fn reading(cut: usize) -> Play {
    let mut play = Play::cut(cut);
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Replica);
    play
}

#[test]
fn a_read_that_the_replica_does_not_run_is_run_once_at_home() {
    for code in [1290, 1792, 1836, 1047, 1053] {
        for cut in [1, 2, 3, usize::MAX] {
            let mut play = reading(cut);
            play.reply(Side::Replica, &error(1, code));
            assert_eq!(play.stage.take_server(), query("SELECT a FROM t"), "{code}, cut at {cut}");
            assert_eq!(play.stage.take_client(), b"", "the client hears nothing of it");
            let result = play.result();
            play.reply(Side::Server, &result);
            assert_eq!(play.stage.take_client(), result);
            assert_eq!(play.activity(), "idle");
            assert!(payloads(&play.stage.to_replica).all(|payload| payload == [0x01]), "at most a goodbye");
        }
    }
}

#[test]
fn an_error_behind_a_part_of_the_reply_is_not_a_reason_to_begin_again() {
    let mut play = reading(usize::MAX);
    let begun = stream(&[vec![1], column("a")]);
    play.reply(Side::Replica, &begun);
    play.reply(Side::Replica, &error(3, 1290));
    assert_eq!(play.stage.take_client(), [begun, error(3, 1290)].concat());
    assert_eq!((play.stage.take_server(), play.activity()), (vec![], "idle"));
}

#[test]
fn a_replica_that_is_lost_before_its_reply_is_replaced_by_home() {
    let mut play = reading(usize::MAX);
    play.closed(Side::Replica);
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
    let result = play.result();
    play.reply(Side::Server, &result);
    assert_eq!(play.stage.take_client(), result);
}

#[test]
fn a_replica_that_is_lost_inside_its_reply_costs_the_reply_and_not_the_session() {
    let result = Play::new().result();
    let mut ends = vec![0];
    while let Some(header) = Header::parse(&result[ends[ends.len() - 1]..]) {
        ends.push(ends[ends.len() - 1] + HEADER_LENGTH + header.payload_length as usize);
    }
    for (sequence, end) in (1..).zip(&ends).skip(1).take(ends.len() - 2) {
        let mut play = reading(usize::MAX);
        play.reply(Side::Replica, &result[..*end]);
        play.stage.take_client();
        play.closed(Side::Replica);
        let (heard, code, _) = error_of(&play.stage.take_client());
        assert_eq!((heard, code), (sequence, 1158), "lost after {end} bytes");
        assert_eq!((play.activity(), play.stage.take_server()), ("idle", vec![]));
        play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
    }
    let mut play = reading(usize::MAX);
    play.reply(Side::Replica, &result[..ends[2] - 1]);
    play.closed(Side::Replica);
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone), "no error can be put inside a packet");
}

#[test]
fn a_replica_that_does_not_speak_the_protocol_is_given_up() {
    let mut play = reading(usize::MAX);
    play.reply(Side::Replica, &packet(1, b""));
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
    assert!(play.stage.wishes.iter().any(|wish| matches!(wish, Output::ReleaseReplica)));
}

#[test]
fn a_read_without_any_replica_runs_at_home_and_none_is_asked_for_again_at_once() {
    let mut play = Play::of(Script { has_replica: false, user: "any", ..Script::default() });
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
    play.script.has_replica = true;
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
    play.stage.now += Duration::from_secs(1);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
}

#[test]
fn a_replica_that_refuses_the_login_or_greets_with_an_error_is_not_the_clients_trouble() {
    for greeting in [packet(0, b"\xff\x10\x04Too many connections"), packet(0, b"HTTP/1.1 400 Bad Request")] {
        let mut play = Play::new();
        play.waiting = play.stage.show(Side::Client, &query("SELECT a FROM t"));
        play.stage.wishes.clear();
        play.stage.tell(Input::ReplicaLeased(facts(REPLICA)));
        play.reply(Side::Replica, &greeting);
        assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
        assert_eq!(play.stage.take_client(), b"");
        assert!(play.stage.wishes.iter().any(|wish| matches!(wish, Output::Report(ServerId(REPLICA), _))));
    }
}

#[test]
fn a_login_that_a_replica_refuses_for_the_users_own_reasons_is_not_its_failure() {
    for (code, is_reported) in [(1049, false), (1044, false), (1820, false), (1045, true), (1040, true)] {
        let mut play = Play::new();
        play.waiting = play.stage.show(Side::Client, &query("SELECT a FROM t"));
        play.stage.wishes.clear();
        play.stage.tell(Input::ReplicaLeased(facts(REPLICA)));
        let mut greeting = Vec::new();
        play.greeting.encode(&mut greeting);
        play.stage.show(Side::Replica, &packet(0, &greeting));
        play.stage.to_replica.clear();
        play.reply(Side::Replica, &error(2, code));
        assert_eq!(play.stage.take_server(), query("SELECT a FROM t"), "{code}");
        let is_report = |wish: &Output| matches!(wish, Output::Report(ServerId(REPLICA), _));
        assert_eq!(play.stage.wishes.iter().any(is_report), is_reported, "{code}");
    }
}

#[test]
fn whatever_a_replica_takes_too_long_for_home_runs_the_read() {
    for unanswered in ["SELECT @@SESSION.sql_mode", "SET SESSION time_zone", "GTID_WAIT", "USE shop"] {
        let mut play = Play::new();
        play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, &position("0-1-5"));
        play.sets("SET time_zone = '+02:00'", "time_zone", "+02:00");
        play.read("SELECT a FROM t");
        play.at_home("USE shop", AUTOCOMMIT, &schema("shop"));
        play.sets("SET time_zone = '+03:00'", "time_zone", "+03:00");
        play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, &position("0-1-6"));
        if unanswered.contains("sql_mode") {
            play.closed(Side::Replica);
            play.stage.now += Duration::from_secs(2);
        }
        play.unanswered = unanswered;
        play.send(&query("SELECT b FROM t"));
        assert_eq!(play.stage.take_server(), b"", "it waits for {unanswered}");
        play.stage.to_replica.clear();
        play.time_out();
        assert_eq!(play.stage.take_server(), query("SELECT b FROM t"), "{unanswered}");
        assert_eq!(play.stage.take_client(), b"");
    }
}

#[test]
fn a_login_at_a_replica_has_a_deadline() {
    let mut play = Play::new();
    play.waiting = play.stage.show(Side::Client, &query("SELECT a FROM t"));
    play.stage.wishes.clear();
    play.stage.tell(Input::ReplicaLeased(facts(REPLICA)));
    assert_eq!(play.stage.session.poll_timeout(), Some(play.stage.now + Duration::from_secs(2)));
    play.time_out();
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
}

#[test]
fn a_home_that_does_not_answer_us_ends_the_session() {
    let mut play = Play::entering(Script::default());
    play.unanswered = "SELECT @@SESSION";
    play.send(&query("SELECT 1"));
    play.time_out();
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn home_lost_while_the_replica_works_ends_the_session_with_an_error() {
    let mut play = reading(usize::MAX);
    play.stage.tell(Input::Closed(Side::Server));
    let (sequence, code, _) = error_of(&play.stage.take_client());
    assert_eq!((sequence, code), (1, 1158));
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn a_replica_lost_while_home_answers_us_does_not_mix_up_replies() {
    for cause in ["closed", "spoke"] {
        let mut play = Play::new();
        play.read("SELECT a FROM t");
        play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
        for _ in 0..3 {
            play.read("SELECT a FROM t");
        }
        play.unanswered = "SELECT @@GLOBAL.gtid";
        play.send(&query("SELECT b FROM t"));
        assert!(play.said_to_home().last().is_some_and(|text| text.contains("gtid")));
        match cause {
            "closed" => play.closed(Side::Replica),
            _ => play.reply(Side::Replica, &packet(0, b"\xff\x1d\x04#08S01bye")),
        }
        play.script.has_replica = false;
        let answer = play.row(&["0-1-9"]);
        play.reply(Side::Server, &answer);
        assert_eq!(play.stage.take_client(), b"", "the answer was to us");
        assert_eq!(play.stage.take_server(), query("SELECT b FROM t"));
        let result = play.result();
        play.reply(Side::Server, &result);
        assert_eq!(play.stage.take_client(), result);
    }
}

#[test]
fn a_lease_is_not_given_up_for_what_was_waited_for_before_it() {
    let mut play = Play::new();
    play.read("SELECT a FROM t");
    play.closed(Side::Replica);
    play.read("SELECT a FROM t");
    play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
    for _ in 0..3 {
        play.read("SELECT a FROM t");
    }
    play.unanswered = "SELECT @@GLOBAL.gtid";
    play.send(&query("SELECT b FROM t"));
    play.stage.tell(Input::Closed(Side::Replica));
    let answer = play.row(&["0-1-9"]);
    play.stage.show(Side::Server, &answer);
    assert!(play.stage.wishes.iter().any(|wish| matches!(wish, Output::LeaseReplica(_))));
    assert_eq!(play.stage.session.poll_timeout(), None, "the worker ends it");
}

#[test]
fn a_replica_that_says_goodbye_behind_its_last_answer_is_not_sent_the_read() {
    let mut play = Play::new();
    play.unanswered = "SELECT @@SESSION.sql_mode";
    play.send(&query("SELECT a FROM t"));
    play.script.has_replica = false;
    let values = play.row(&play.script.replica_values.clone());
    let both = [values, packet(0, b"\xff\x1d\x04#08S01bye")].concat();
    play.stage.to_replica.clear();
    play.reply(Side::Replica, &both);
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
    let result = play.result();
    play.reply(Side::Server, &result);
    assert_eq!(play.stage.take_client(), result);
}

#[test]
fn a_lease_that_fails_late_does_not_disturb_what_is_under_way() {
    let mut play = Play::entering(Script::default());
    play.unanswered = "SET SESSION session_track";
    play.serve();
    play.stage.tell(Input::ReplicaFailed);
    play.stage.tell(Input::ReplicaLeased(facts(REPLICA)));
    assert!(play.stage.wishes.iter().any(|wish| matches!(wish, Output::ReleaseReplica)), "nobody waits for it");
    play.send(&query("INSERT INTO t VALUES (1)"));
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    assert_eq!((play.stage.take_client(), play.stage.take_server()), (vec![], query("INSERT INTO t VALUES (1)")));
}

#[test]
fn a_replica_lost_with_the_snapshot_of_a_transaction_is_the_end_of_the_session() {
    for is_reading in [false, true] {
        let mut play = Play::new();
        play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
        play.read("SELECT a FROM t");
        if is_reading {
            play.goes(&query("SELECT a FROM t"));
        }
        play.stage.tell(Input::Closed(Side::Replica));
        assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
        assert_eq!(play.stage.take_client().is_empty(), !is_reading, "who waits for a reply gets an error");
    }
}

#[test]
fn a_transaction_whose_first_read_the_replica_did_not_run_is_at_home_from_then_on() {
    let mut play = Play::new();
    play.at_home("START TRANSACTION READ ONLY", READ_ONLY_TRANSACTION, b"");
    assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Replica);
    play.reply(Side::Replica, &error(1, 1290));
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
    let rows = stream(&[vec![1], column("a"), end_with(READ_ONLY_TRANSACTION, b"")]);
    play.reply(Side::Server, &rows);
    play.stage.take_client();
    assert_eq!(play.goes(&query("SELECT b FROM t")), Side::Server);
}

#[test]
fn home_does_not_take_a_session_for_idle_that_reads_elsewhere() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    let mut pings = 0;
    for _ in 0..60 {
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        play.stage.now += Duration::from_secs(1);
        pings += play.said_to_home().len();
    }
    assert!((5..=6).contains(&pings), "{pings} in a minute");
}

#[test]
fn home_is_not_forgotten_during_a_long_read() {
    let ping = command(0x0E, b"");
    let long_read = || {
        let mut play = Play::of(Script { user: "any", ..Script::default() });
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        assert_eq!(play.goes(&query("SELECT a FROM t")), Side::Replica);
        play
    };
    for cut in [1, usize::MAX] {
        let mut play = long_read();
        for _ in 0..3 {
            play.time_out();
            assert_eq!(play.stage.take_server(), ping);
            packet(1, &ok(AUTOCOMMIT)).chunks(cut).for_each(|bytes| play.reply(Side::Server, bytes));
        }
        let result = play.result();
        play.reply(Side::Replica, &result);
        assert_eq!(play.stage.take_client(), result, "the client hears nothing of it");
        play.time_out();
        assert_eq!((play.stage.take_server(), play.stage.session.poll_timeout()), (vec![], None));
    }
    // The answer may come behind the end of the read, before that of the next command.
    let mut play = long_read();
    play.time_out();
    assert_eq!(play.stage.take_server(), ping);
    let result = play.result();
    play.reply(Side::Replica, &result);
    assert_eq!(play.goes(&query("INSERT INTO t VALUES (1)")), Side::Server);
    play.reply(Side::Server, &[packet(1, &ok(AUTOCOMMIT)), error(1, 1062)].concat());
    assert_eq!(play.stage.take_client(), [result, error(1, 1062)].concat());
    // Home may have closed the session all the same.
    let mut play = long_read();
    play.time_out();
    play.reply(Side::Server, &error(1, 4031));
    assert_eq!(play.stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn an_idle_replica_that_closes_is_replaced_when_it_is_wanted() {
    let mut play = Play::of(Script { user: "any", ..Script::default() });
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    play.closed(Side::Replica);
    assert_eq!(play.activity(), "idle");
    play.introduction = None;
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    assert!(play.introduction.is_some(), "it is logged in again");
}

#[test]
fn the_number_that_a_kill_needs_is_that_of_the_server_that_works() {
    let mut play = reading(usize::MAX);
    assert_eq!(play.stage.session.works_at().map(|server| server.id), Some(ServerId(REPLICA)));
    let result = play.result();
    play.reply(Side::Replica, &result);
    assert_eq!(play.stage.session.works_at().map(|server| server.id), Some(ServerId(HOME)));
}

#[test]
fn a_drain_waits_for_a_command_that_waits_for_its_server() {
    for unanswered in ["SELECT @@SESSION.sql_mode", "(none)"] {
        let mut play = Play::new();
        play.unanswered = unanswered;
        play.send(&query("SELECT a FROM t"));
        play.stage.tell(Input::Drain(DrainReason::Shutdown));
        assert_eq!(play.stage.ending(), None, "a command is answered first");
        if play.is_preparing() {
            let values = play.row(&play.script.replica_values.clone());
            play.stage.to_replica.clear();
            play.reply(Side::Replica, &values);
        }
        assert_eq!(play.stage.sent(Side::Replica).as_slice(), query("SELECT a FROM t"));
        play.stage.to_replica.clear();
        let result = play.result();
        play.reply(Side::Replica, &result);
        assert_eq!(play.stage.take_client(), result);
        assert_eq!(play.stage.ending(), Some(Ending::Drained));
        assert_eq!((play.stage.take_server(), play.stage.to_replica), (command(1, b""), command(1, b"")));
    }
}

#[test]
fn a_drain_does_not_wait_for_what_nobody_waits_for() {
    let mut play = Play::entering(Script::default());
    play.stage.tell(Input::Drain(DrainReason::Shutdown));
    play.serve();
    assert_eq!(play.stage.ending(), Some(Ending::Drained));
}

#[test]
fn a_client_that_leaves_takes_both_servers_with_it() {
    let mut play = Play::new();
    play.read("SELECT a FROM t");
    play.send(&command(0x01, b""));
    assert_eq!((play.stage.take_server(), play.stage.to_replica.as_slice()), (command(1, b""), &command(1, b"")[..]));
    assert_eq!(play.stage.ending(), Some(Ending::Quit));
}

#[test]
fn commands_that_are_sent_early_are_heard_in_turn() {
    for cut in [1, 3, usize::MAX] {
        let mut play = Play::cut(cut);
        let texts =
            ["INSERT INTO t VALUES (1)", "SELECT a FROM t", "SELECT b FROM t", "SELECT c FROM t", "SELECT d FROM t"];
        let all: Vec<u8> = texts.iter().flat_map(|text| query(text)).collect();
        play.send(&all);
        for text in texts {
            let side = if play.stage.to_server.is_empty() { Side::Replica } else { Side::Server };
            assert_eq!(std::mem::take(play.stage.sent(side)), query(text), "cut at {cut}");
            let answer = if text.starts_with("INSERT") { packet(1, &ok(AUTOCOMMIT)) } else { play.result() };
            play.reply(side, &answer);
            assert_eq!(play.stage.take_client(), answer);
        }
    }
}

proptest::proptest! {
    #[test]
    fn hostile_servers_end_a_session_at_worst(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..200),
        cut in 1_usize..50,
        step in 0_usize..5,
    ) {
        let mut play = Play::of(Script { cut, ..Script::default() });
        let side = match step {
            0 => {
                play.unanswered = "SELECT @@SESSION.sql_mode";
                play.send(&query("SELECT a FROM t"));
                Side::Replica
            }
            1 => {
                play.send(&query("SELECT a FROM t"));
                Side::Replica
            }
            2 => {
                play.send(&query("INSERT INTO t VALUES (1)"));
                Side::Server
            }
            3 => {
                play.send(&command(0x16, b"SELECT a FROM t WHERE a = ?"));
                Side::Server
            }
            _ => {
                play = Play::entering(Script { cut, ..Script::default() });
                Side::Server
            }
        };
        play.stage.show(side, &bytes);
        play.pump();
        play.stage.show(side, &bytes);
        play.stage.tell(Input::Closed(Side::Replica));
        play.pump();
        play.stage.tell(Input::Closed(Side::Server));
    }
}

/// A replica may take a login's time to let a session in, and not longer; the read is answered by home then.
#[test]
fn a_replica_that_does_not_let_a_session_in_is_not_waited_for_longer_than_a_login_may_take() {
    let mut play = Play::new();
    play.waiting = query("SELECT a FROM t");
    play.pump();
    assert!(matches!(play.stage.wishes.pop(), Some(Output::LeaseReplica(_))));
    play.stage.tell(Input::ReplicaLeased(facts(REPLICA)));
    let patience = |play: &Play| play.stage.session.poll_timeout().expect("a deadline") - play.stage.now;
    assert_eq!(patience(&play), Duration::from_secs(2), "to greet");
    play.stage.show(Side::Replica, &greeting_packet());
    assert_eq!(patience(&play), Duration::from_secs(10), "to let us in");
    play.time_out();
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t"));
}

#[test]
fn a_home_that_does_not_let_a_session_in_is_not_waited_for_longer_than_a_login_may_take() {
    let mut play = Play::lent();
    play.send(&query("BEGIN"));
    play.wants_home().expect("a connection is wanted");
    play.stage.tell(Input::Leased(facts(HOME)));
    let patience = |play: &Play| play.stage.session.poll_timeout().expect("a deadline") - play.stage.now;
    assert_eq!(patience(&play), Duration::from_secs(2), "to greet");
    play.stage.show(Side::Server, &greeting_packet());
    assert_eq!(patience(&play), Duration::from_secs(10), "to let us in");
    play.stage.take_server();
    play.time_out();
    play.wants_home().expect("another connection is wanted");
}
