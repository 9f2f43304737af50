//! Home connections that come for a command and go behind it.

use super::{statements::prepare_at, *};
use crate::session::{HomeWant, LeaseFailure, Loan, Parking};

/// Who a connection is lent by.
pub(super) enum Lender {
    /// It is the session's own.
    Own,
    /// Another session had it, with this schema.
    Other(Option<&'static str>),
}

impl Play {
    /// A session that has logged in, and has given its first connection back.
    pub(super) fn lent() -> Play {
        let mut play = Play::of(Script { user: "lent", schema: Some("shop"), ..Script::default() });
        let parking = play.parked().expect("nothing keeps the connection of a login");
        assert!(parking.is_for_others);
        assert_eq!(parking.schema.as_deref(), Some(&b"shop"[..]));
        play
    }

    pub(super) fn wish<T>(&mut self, read: impl Fn(&Output) -> Option<T>) -> Option<T> {
        let place = self.stage.wishes.iter().position(|wish| read(wish).is_some())?;
        read(&self.stage.wishes.remove(place))
    }

    pub(super) fn parked(&mut self) -> Option<Parking> {
        self.wish(|wish| match wish {
            Output::Park(parking) => Some((**parking).clone()),
            _ => None,
        })
    }

    pub(super) fn wants_home(&mut self) -> Option<HomeWant> {
        self.wish(|wish| match wish {
            Output::LeaseHome(want, _) => Some(want.clone()),
            _ => None,
        })
    }

    /// The worker lends a connection, and the server answers what is said on it.
    pub(super) fn lend(&mut self, lender: Lender) {
        self.wants_home().expect("a connection is wanted");
        let (is_own, schema) = match lender {
            Lender::Own => (true, Some("shop")),
            Lender::Other(schema) => (false, schema),
        };
        let schema = schema.map(|schema| schema.as_bytes().to_vec());
        self.stage.tell(Input::Lent(Loan { side: Side::Server, facts: facts(HOME), is_own, schema }));
        self.serve();
    }

    /// A query runs on a connection of this lender, and is answered with OK.
    pub(super) fn runs_on(&mut self, lender: Lender, text: &str, status: StatusFlags, trackers: &[u8]) {
        self.send(&query(text));
        self.lend(lender);
        assert_eq!(self.stage.take_server(), query(text), "said: {:?}", self.said);
        self.answered(status, trackers);
    }

    fn answered(&mut self, status: StatusFlags, trackers: &[u8]) {
        self.reply(Side::Server, &packet(1, &ok_with(status, trackers)));
        let heard = self.stage.take_client();
        assert_eq!((heard[4], heard[7]), (0x00, status.0 as u8), "{heard:?}");
    }
}

const COMMITTED: StatusFlags = AUTOCOMMIT;

#[test]
fn a_transaction_has_one_connection_and_the_next_one_its_own_without_a_word() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
    assert!(play.parked().is_none());
    assert_eq!(play.goes(&query("UPDATE t SET a = 1")), Side::Server);
    play.answered(TRANSACTION, b"");
    assert!(play.parked().is_none());
    assert_eq!(play.goes(&query("COMMIT")), Side::Server);
    play.answered(COMMITTED, b"");
    assert_eq!(play.parked().map(|parking| parking.count), Some(2));
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
    assert_eq!(play.said(), []);
}

#[test]
fn what_the_session_has_set_is_put_on_a_connection_of_another() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "SET time_zone = '+02:00', @a = 5", AUTOCOMMIT, &variable("time_zone", "+02:00"));
    assert!(play.parked().is_some(), "nothing is left on it that anybody asks for");
    play.said();
    play.runs_on(Lender::Other(Some("elsewhere")), "COMMIT", COMMITTED, b"");
    let said = play.said_to_home();
    assert_eq!((said[0].as_str(), said[1].as_str()), ("RESET", "USE shop"), "a reset comes first: {said:?}");
    let settings = said.last().expect("settings");
    for part in ["session_track_state_change=ON", "autocommit=1", "SESSION time_zone='+02:00'", "@`a`=5"] {
        assert!(settings.contains(part), "{part} is not in {settings}");
    }
}

#[test]
fn with_each_loan_mysql_is_told_the_character_sets_of_the_login() {
    let text = |text: &str| command(0x03, &[&[0, 1], text.as_bytes()].concat());
    let mut play = Play::of(Script { user: "lent", schema: Some("shop"), ..Script::of(true) });
    play.parked().expect("nothing keeps the connection of a login");
    for round in 0..2 {
        play.send(&text("SET @a = 5"));
        play.lend(Lender::Other(Some("shop")));
        play.stage.take_server();
        play.answered(AUTOCOMMIT, b"");
        let said = play.said_to_home();
        assert!(said.iter().any(|text| text.contains("character_set_results=45")), "loan {round}: {said:?}");
        play.parked().expect("nothing keeps it");
    }
}

#[test]
fn state_that_cannot_be_put_on_keeps_the_connection() {
    for (begin, end) in [
        ("CREATE TEMPORARY TABLE mine (a INT)", "DROP TEMPORARY TABLE mine"),
        ("LOCK TABLES t READ", "UNLOCK TABLES"),
        ("HANDLER t OPEN", "HANDLER t CLOSE"),
        ("PREPARE s FROM 'SELECT 1'", "DEALLOCATE PREPARE s"),
        ("PREPARE s FROM 'SELECT 1'; PREPARE `S` FROM 'SELECT 2'", "DROP PREPARE s"),
    ] {
        let mut play = Play::lent();
        play.runs_on(Lender::Own, begin, AUTOCOMMIT, b"");
        assert!(play.parked().is_none() && play.stage.session.poll_timeout().is_none(), "{begin}");
        assert_eq!(play.goes(&query(end)), Side::Server);
        play.answered(AUTOCOMMIT, b"");
        if play.stage.session.poll_timeout().is_some() {
            play.time_out();
        }
        assert!(play.parked().is_some(), "{end}");
    }
}

#[test]
fn a_statement_that_was_prepared_twice_under_one_name_is_gone_with_it_and_no_other_is() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "PREPARE s FROM 'SELECT 1'", AUTOCOMMIT, b"");
    for (text, is_kept) in [
        ("PREPARE other FROM 'SELECT 2'", true),
        ("PREPARE s FROM 'SELECT 3'", true),
        ("DEALLOCATE PREPARE s", true),
        ("DEALLOCATE PREPARE unseen", true),
        ("DEALLOCATE PREPARE other", false),
    ] {
        assert_eq!(play.goes(&query(text)), Side::Server);
        play.answered(AUTOCOMMIT, b"");
        assert_eq!(play.parked().is_none(), is_kept, "{text}");
    }
}

#[test]
fn a_connection_is_kept_a_moment_for_who_asks_about_the_last_statement() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "UPDATE t SET a = 1", AUTOCOMMIT, b"");
    assert!(play.parked().is_none());
    assert_eq!(play.goes(&query("SELECT ROW_COUNT()")), Side::Server);
    let result = play.result();
    play.reply(Side::Server, &result);
    assert_eq!(play.stage.take_client(), result);
    play.time_out();
    assert!(play.parked().is_some(), "nobody asked");
    // The connection is another one: what is asked about is not there.
    play.send(&query("SELECT ROW_COUNT()"));
    play.lend(Lender::Other(Some("shop")));
    let refusal = play.stage.take_client();
    assert_eq!((refusal[4], u16::from_le_bytes([refusal[5], refusal[6]])), (0xFF, 1235));
}

#[test]
fn the_next_command_asks_whether_somebody_waits_for_a_connection_that_is_kept() {
    for is_wanted in [false, true] {
        let mut play = Play::lent();
        play.runs_on(Lender::Own, "UPDATE t SET a = 1", AUTOCOMMIT, b"");
        play.send(&query("UPDATE t SET a = 2"));
        assert!(play.wish(|wish| matches!(wish, Output::Yield).then_some(())).is_some());
        play.stage.tell(Input::Yield { is_wanted });
        play.serve();
        assert_eq!(play.parked().is_some(), is_wanted);
        if is_wanted {
            play.lend(Lender::Own);
        }
        assert_eq!(play.stage.take_server(), query("UPDATE t SET a = 2"));
    }
}

#[test]
fn last_insert_id_is_asked_for_before_the_connection_goes_and_put_on_the_next_one() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
    assert_eq!(play.goes(&query("INSERT INTO t VALUES (1)")), Side::Server);
    play.answered(TRANSACTION, b"");
    assert_eq!(play.goes(&query("COMMIT")), Side::Server);
    play.script.insert_id = "42";
    play.answered(COMMITTED, b"");
    assert_eq!(play.said_to_home(), ["SELECT LAST_INSERT_ID()"]);
    assert!(play.parked().is_some());
    play.runs_on(Lender::Other(Some("shop")), "BEGIN", TRANSACTION, b"");
    let said = play.said_to_home();
    assert!(said.last().is_some_and(|settings| settings.contains("last_insert_id=42")), "{said:?}");
}

#[test]
fn a_reset_leaves_no_last_insert_id_to_be_put_on_the_next_connection() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
    play.script.insert_id = "42";
    play.time_out();
    assert!(play.parked().is_some());
    play.send(&command(0x1F, b""));
    play.lend(Lender::Own);
    play.stage.take_server();
    play.answered(AUTOCOMMIT, b"");
    assert!(play.parked().is_some());
    play.said();
    play.runs_on(Lender::Other(Some("shop")), "BEGIN", TRANSACTION, b"");
    let said = play.said_to_home();
    assert!(said.iter().all(|settings| !settings.contains("last_insert_id")), "{said:?}");
}

#[test]
fn a_connection_that_was_kept_for_an_insert_is_asked_for_its_id_and_goes() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
    play.script.insert_id = "43";
    play.time_out();
    assert_eq!(play.said_to_home(), ["SELECT LAST_INSERT_ID()"]);
    assert!(play.parked().is_some());
    assert_eq!(play.activity(), "idle");
    play.send(&query("SELECT a FROM t WHERE id = LAST_INSERT_ID()"));
    play.lend(Lender::Other(Some("shop")));
    assert_eq!(play.stage.take_server(), query("SELECT a FROM t WHERE id = LAST_INSERT_ID()"));
}

#[test]
fn a_connection_that_breaks_with_nothing_on_it_is_replaced() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "UPDATE t SET a = 1", AUTOCOMMIT, b"");
    play.closed(Side::Server);
    assert_eq!(play.activity(), "idle", "it was only kept");
    play.send(&query("UPDATE t SET a = 2"));
    play.unanswered = "@@SESSION";
    play.lend(Lender::Other(Some("shop")));
    play.closed(Side::Server);
    play.unanswered = "(none)";
    play.stage.to_server.clear();
    play.lend(Lender::Other(Some("shop")));
    assert_eq!(play.stage.take_server(), query("UPDATE t SET a = 2"), "sent once, to the one that was ready");
    play.closed(Side::Server);
    assert_eq!(play.activity(), "closing", "nobody knows whether it was executed");
}

#[test]
fn a_command_for_which_there_is_no_connection_gets_an_error_and_the_session_goes_on() {
    let mut play = Play::lent();
    play.send(&query("SELECT 1"));
    assert!(play.wants_home().is_some());
    play.stage.tell(Input::LeaseFailed(LeaseFailure::ServersFull("all are taken".into())));
    play.serve();
    let error = play.stage.take_client();
    assert_eq!((error[3], error[4], u16::from_le_bytes([error[5], error[6]])), (1, 0xFF, 1040));
    play.runs_on(Lender::Own, "COMMIT", COMMITTED, b"");
}

#[test]
fn a_goodbye_needs_no_connection_and_leaves_one_that_was_kept() {
    let mut play = Play::lent();
    play.send(&packet(0, &[0x01]));
    assert!(play.wants_home().is_none());
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "UPDATE t SET a = 1", AUTOCOMMIT, b"");
    play.send(&packet(0, &[0x01]));
    assert!(play.parked().is_some(), "the next session has it");
}

/// A session of a user whose connections are lent, which has logged in at one that another session left there.
fn lent_at_login(version: &[u8]) -> Play {
    let greeting = Greeting { version: version.to_vec(), ..server_greeting() };
    let mut beliefs = beliefs(&greeting);
    let mut stage = Stage::between(beliefs.table(), Admission::Welcome);
    stage.log_in("lent", "secret", Some("shop"));
    stage.wishes.clear();
    let loan = Loan { side: Side::Server, facts: facts(HOME), is_own: false, schema: None };
    stage.tell(Input::Lent(loan));
    assert_eq!(stage.take_client(), b"", "the schema may not exist");
    let mut play = Play {
        stage,
        beliefs,
        greeting,
        waiting: Vec::new(),
        said: Vec::new(),
        introduction: None,
        at_door: false,
        unanswered: "(none)",
        is_guarded: false,
        views_asked: 0,
        round_trips: 0,
        loan: None,
        wanted: None,
        script: Script::default(),
    };
    play.serve();
    play
}

#[test]
fn a_login_may_be_at_a_connection_that_another_session_left() {
    let mut play = lent_at_login(b"5.5.5-10.11.19-MariaDB");
    let said = play.said_to_home();
    assert_eq!(
        (said[0].as_str(), said[1].as_str()),
        ("RESET", "USE shop"),
        "MariaDB's reset leaves its login's: {said:?}"
    );
    play.stage.take_client();
    assert!(play.parked().is_some());
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
}

#[test]
fn a_login_at_a_connection_that_is_lent_ends_with_what_the_server_tells_behind_one() {
    let variables =
        [variable("autocommit", "ON"), variable("character_set_client", "utf8mb4"), variable("time_zone", "SYSTEM")];
    for (version, variables) in [(&b"5.5.5-10.11.19-MariaDB"[..], Vec::new()), (b"11.8.6-MariaDB", variables.concat())]
    {
        let mut play = lent_at_login(version);
        let told = [variables, schema("shop")].concat();
        assert_eq!(play.stage.take_client(), packet(2, &ok_with(AUTOCOMMIT, &told)));
    }
}

#[test]
fn what_went_with_a_connection_is_missed_behind_statements_that_would_have_left_it() {
    let send = |play: &mut Play, text: &str| {
        play.send(&query(text));
        if play.stage.wishes.iter().any(|wish| matches!(wish, Output::LeaseHome(..))) {
            play.lend(Lender::Own);
        }
        if play.wish(|wish| matches!(wish, Output::Yield).then_some(())).is_some() {
            play.stage.tell(Input::Yield { is_wanted: false });
            play.serve();
        }
    };
    let runs = |play: &mut Play, text: &str| {
        send(play, text);
        assert_eq!(play.stage.take_server(), query(text));
    };
    let is_missed = |play: &mut Play, text: &str| {
        send(play, text);
        let refusal = play.stage.take_client();
        assert_eq!((refusal[4], u16::from_le_bytes([refusal[5], refusal[6]])), (0xFF, 1235), "{text}");
    };
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "UPDATE t SET a = 1", AUTOCOMMIT, b"");
    play.time_out();
    assert!(play.parked().is_some());
    play.runs_on(Lender::Other(Some("shop")), "SET @a = 1", AUTOCOMMIT, b"");
    is_missed(&mut play, "SELECT FOUND_ROWS()");
    runs(&mut play, "DELETE FROM t");
    play.reply(Side::Server, &error(1, 1146));
    play.stage.take_client();
    is_missed(&mut play, "SELECT FOUND_ROWS()");
    for answered in ["SHOW ERRORS", "SELECT a FROM t FOR UPDATE", "SELECT FOUND_ROWS()"] {
        runs(&mut play, answered);
        let result = play.result();
        play.reply(Side::Server, &result);
        play.stage.take_client();
    }
}

#[test]
fn the_error_of_a_statement_that_changes_only_the_session_is_not_asked_of_another_connection() {
    for text in ["USE no_such_schema", "SET no_such_variable = 1", "COMMIT"] {
        let mut play = Play::lent();
        play.send(&query(text));
        play.lend(Lender::Own);
        assert_eq!(play.stage.take_server(), query(text));
        play.reply(Side::Server, &error(1, 1049));
        play.stage.take_client();
        assert!(play.parked().is_none(), "{text}: somebody may ask");
        play.time_out();
        assert!(play.parked().is_some(), "{text}: nobody asked");
        play.send(&query("SHOW ERRORS"));
        play.lend(Lender::Other(Some("shop")));
        let refusal = play.stage.take_client();
        assert_eq!((refusal[4], u16::from_le_bytes([refusal[5], refusal[6]])), (0xFF, 1235), "{text}");
    }
}

/// A command ends with this error.
fn fails(play: &mut Play, code: u16) {
    play.reply(Side::Server, &error(1, code));
    play.stage.take_client();
}

/// A question is answered with an error, at another connection than the one that knows the answer.
fn is_missed_elsewhere(play: &mut Play, text: &str) {
    play.send(&query(text));
    play.lend(Lender::Other(Some("shop")));
    let refusal = play.stage.take_client();
    assert_eq!((refusal[4], u16::from_le_bytes([refusal[5], refusal[6]])), (0xFF, 1235), "{text}");
}

#[test]
fn conditions_that_outlive_a_statement_are_waited_for_behind_it() {
    let text = |text: &str| command(0x03, &[&[0, 1], text.as_bytes()].concat());
    for is_mysql in [false, true] {
        let command = |words: &str| if is_mysql { text(words) } else { query(words) };
        for words in ["XA END 'a'", "ROLLBACK", "SET @a = 1"] {
            let script = Script { user: "lent", schema: Some("shop"), ..Script::of(is_mysql) };
            let mut play = Play::of(script);
            play.parked().expect("nothing keeps the connection of a login");
            play.send(&command("XA END 'a'"));
            play.lend(Lender::Own);
            assert_eq!(play.stage.take_server(), command("XA END 'a'"));
            fails(&mut play, 1399);
            play.send(&command(words));
            play.wish(|wish| matches!(wish, Output::Yield).then_some(())).expect("it was kept");
            play.stage.tell(Input::Yield { is_wanted: false });
            play.serve();
            assert_eq!(play.stage.take_server(), command(words));
            play.answered(AUTOCOMMIT, b"");
            assert_eq!(play.parked().is_some(), is_mysql, "{words}: MySQL has forgotten the error");
            if !is_mysql {
                play.time_out();
                assert!(play.parked().is_some(), "{words}: nobody asked");
                is_missed_elsewhere(&mut play, "SHOW ERRORS");
            }
        }
    }
}

#[test]
fn found_rows_behind_a_commit_are_those_of_their_connection_or_an_error() {
    for lender in [Lender::Own, Lender::Other(Some("shop"))] {
        for behind in ["COMMIT", "SET @a = 1", "SAVEPOINT a"] {
            let mut play = Play::lent();
            play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
            finds_in_transaction(&mut play);
            assert_eq!(play.goes(&query(behind)), Side::Server);
            play.answered(COMMITTED, b"");
            assert!(play.parked().is_some(), "{behind}: hardly anybody asks");
            match lender {
                Lender::Other(_) => is_missed_elsewhere(&mut play, "SELECT FOUND_ROWS()"),
                Lender::Own => {
                    play.send(&query("SELECT FOUND_ROWS()"));
                    play.lend(Lender::Own);
                    assert_eq!(play.stage.take_server(), query("SELECT FOUND_ROWS()"), "{behind}");
                }
            }
        }
    }
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
    assert_eq!(play.goes(&query("COMMIT")), Side::Server);
    play.answered(COMMITTED, b"");
    play.send(&query("SELECT ROW_COUNT()"));
    play.lend(Lender::Other(Some("shop")));
    assert_eq!(play.stage.take_server(), query("SELECT ROW_COUNT()"), "as many as behind what was put on");
}

/// A transaction finds rows at home.
fn finds_in_transaction(play: &mut Play) {
    assert_eq!(play.goes(&query("SELECT a FROM t FOR UPDATE")), Side::Server);
    let end = encoded(EOF_HEADER, OkPacket { status: TRANSACTION, ..OkPacket::default() }, true);
    play.reply(Side::Server, &stream(&[vec![1], column("a"), end]));
    play.stage.take_client();
}

/// A session in whose transaction rows were found and inserted, behind its COMMIT.
fn has_inserted() -> Play {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
    finds_in_transaction(&mut play);
    assert_eq!(play.goes(&query("INSERT INTO t VALUES (1)")), Side::Server);
    play.answered(TRANSACTION, b"");
    assert_eq!(play.goes(&query("COMMIT")), Side::Server);
    play.answered(COMMITTED, b"");
    assert_eq!(play.said_to_home(), ["SELECT LAST_INSERT_ID()"]);
    assert!(play.parked().is_some());
    play
}

#[test]
fn a_question_of_ours_takes_no_count_of_rows_unnoticed() {
    let mut play = has_inserted();
    play.send(&query("SELECT ROW_COUNT()"));
    play.lend(Lender::Own);
    assert_eq!(play.said_to_home(), ["PING"], "which counts no rows, as the COMMIT");
    assert_eq!(play.stage.take_server(), query("SELECT ROW_COUNT()"));
    let mut play = has_inserted();
    play.send(&query("SELECT FOUND_ROWS()"));
    play.lend(Lender::Own);
    let refusal = play.stage.take_client();
    assert_eq!((refusal[4], u16::from_le_bytes([refusal[5], refusal[6]])), (0xFF, 1235));
    let mut play = has_inserted();
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
    assert_eq!(play.said(), [], "what does not ask costs nothing");
}

#[test]
fn the_error_of_a_command_that_is_no_statement_is_waited_for() {
    let mut play = Play::lent();
    play.send(&command(0x02, b"no_such_schema"));
    play.lend(Lender::Own);
    fails(&mut play, 1049);
    assert!(play.parked().is_none(), "somebody may ask");
    play.time_out();
    assert!(play.parked().is_some(), "nobody asked");
    is_missed_elsewhere(&mut play, "SHOW ERRORS");
}

#[test]
fn a_variable_that_a_prepared_statement_made_keeps_the_connection_until_it_has_a_value() {
    let mut play = Play::lent();
    play.send(&command(0x16, b"SET @u1 = ?"));
    play.lend(Lender::Own);
    play.stage.take_server();
    prepare_at(&mut play, "SET @u1 = ?", 7);
    assert!(play.parked().is_none(), "it is NULL, and of a type of its own");
    assert_eq!(play.goes(&query("SET @u1 = 5")), Side::Server);
    play.answered(AUTOCOMMIT, b"");
    assert!(play.parked().is_some());
    play.send(&command(0x16, b"SET @u1 = ?"));
    play.lend(Lender::Own);
    play.stage.take_server();
    prepare_at(&mut play, "SET @u1 = ?", 8);
    assert!(play.parked().is_some(), "it was there");
}
