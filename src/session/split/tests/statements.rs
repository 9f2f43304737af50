//! Prepared statements, and statements that ask about the one before.

use super::*;

const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const LONG_DATA: u8 = 0x18;
const CLOSE: u8 = 0x19;
const RESET: u8 = 0x1A;
pub(super) const ID: u8 = 7;

/// The client prepares a statement, which home knows as [`ID`].
pub(super) fn prepare(play: &mut Play, text: &str) {
    prepare_as(play, text, ID);
}

fn prepare_as(play: &mut Play, text: &str, id: u8) {
    assert_eq!(play.goes(&command(PREPARE, text.as_bytes())), Side::Server);
    let parameters = text.bytes().filter(|byte| *byte == b'?').count() as u8;
    let reply = play.prepared(id, parameters);
    play.reply(Side::Server, &reply);
    assert_eq!(play.stage.take_client(), reply);
}

/// Home prepares, under this number, what it was asked to; gives the number that the client is told.
pub(super) fn prepare_at(play: &mut Play, text: &str, id: u8) -> u32 {
    let parameters = text.bytes().filter(|byte| *byte == b'?').count() as u8;
    let mut reply = play.prepared(id, parameters);
    play.reply(Side::Server, &reply);
    let heard = play.stage.take_client();
    let number: [u8; 4] = heard[HEADER_LENGTH + 1..][..4].try_into().expect("four bytes");
    reply[HEADER_LENGTH + 1..][..4].copy_from_slice(&number);
    assert_eq!(heard, reply, "nothing but the number is another");
    u32::from_le_bytes(number)
}

/// An execution with one parameter, an INT of 7, with its type or without; or without parameters.
pub(super) fn execute(id: u8, binds: Option<bool>) -> Vec<u8> {
    execute_as(id.into(), binds)
}

pub(super) fn execute_as(id: u32, binds: Option<bool>) -> Vec<u8> {
    let mut rest = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
    if let Some(binds) = binds {
        rest.extend([0, u8::from(binds)]);
        rest.extend(if binds { &[3, 0][..] } else { &[] });
        rest.extend([7, 0, 0, 0]);
    }
    command(EXECUTE, &rest)
}

/// Runs an execution; gives where it came, and how.
fn run(play: &mut Play, command: &[u8]) -> (Side, Vec<u8>) {
    play.send(command);
    assert_eq!(play.waiting, b"", "said: {:?}", play.said);
    let side = if play.stage.to_server.is_empty() { Side::Replica } else { Side::Server };
    let sent = std::mem::take(play.stage.sent(side));
    let result = play.result();
    play.reply(side, &result);
    assert_eq!(play.stage.take_client(), result);
    (side, sent)
}

fn any() -> Play {
    Play::of(Script { user: "any", ..Script::default() })
}

#[test]
fn a_prepared_read_is_executed_at_the_replica_under_its_number_there() {
    for (cut, lacking) in [(1, Capabilities::NONE), (3, Capabilities::DEPRECATE_EOF), (usize::MAX, Capabilities::NONE)]
    {
        let mut play = Play::of(Script { cut, lacking, ..Script::default() });
        prepare(&mut play, "SELECT a FROM t WHERE a = ?");
        for binds in [true, false] {
            assert_eq!(
                run(&mut play, &execute(ID, Some(binds))),
                (Side::Replica, execute(REPLICA_STATEMENT, Some(binds))),
                "cut at {cut}"
            );
        }
        let prepares = play.said_to_replica().iter().filter(|text| text.starts_with("PREPARE")).count();
        assert_eq!(prepares, 1);
    }
}

#[test]
fn a_prepared_write_is_executed_at_home() {
    let mut play = Play::new();
    prepare(&mut play, "UPDATE t SET a = ?");
    assert_eq!(run(&mut play, &execute(ID, Some(true))), (Side::Server, execute(ID, Some(true))));
}

#[test]
fn each_server_is_told_the_types_that_only_the_other_one_heard() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t WHERE a = ?");
    assert_eq!(run(&mut play, &execute(ID, Some(true))).0, Side::Replica);
    play.at_home("BEGIN", TRANSACTION, b"");
    assert_eq!(run(&mut play, &execute(ID, Some(false))), (Side::Server, execute(ID, Some(true))));
    play.at_home("COMMIT", AUTOCOMMIT, b"");
    assert_eq!(run(&mut play, &execute(ID, Some(false))), (Side::Replica, execute(REPLICA_STATEMENT, Some(false))));
    play.closed(Side::Replica);
    assert_eq!(run(&mut play, &execute(ID, Some(false))), (Side::Replica, execute(REPLICA_STATEMENT, Some(true))));
}

#[test]
fn an_execution_that_the_replica_failed_is_repeated_at_home_with_its_types() {
    for cause in ["refused", "lost"] {
        let mut play = any();
        prepare(&mut play, "SELECT a FROM t WHERE a = ?");
        run(&mut play, &execute(ID, Some(true)));
        play.send(&execute(ID, Some(false)));
        match cause {
            "lost" => play.closed(Side::Replica),
            _ => play.reply(Side::Replica, &error(1, 1290)),
        }
        assert_eq!(play.stage.take_server(), execute(ID, Some(true)), "{cause}");
    }
}

#[test]
fn cursors_and_parameters_sent_in_parts_stay_at_home() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t WHERE a = ?");
    let mut cursor = execute(ID, Some(true));
    cursor[HEADER_LENGTH + 5] = 1;
    assert_eq!(play.goes(&cursor), Side::Server);
    let rows = stream(&[vec![1], column("a"), end_with(AUTOCOMMIT, b"")]);
    play.reply(Side::Server, &rows);
    for length in [10, super::super::COMMAND_MAX] {
        let mut play = any();
        prepare(&mut play, "SELECT a FROM t WHERE a = ?");
        let part = command(LONG_DATA, &[&[ID, 0, 0, 0, 0, 0][..], &vec![b'x'; length]].concat());
        assert_eq!(play.goes(&part), Side::Server);
        assert_eq!(run(&mut play, &execute(ID, Some(true))).0, Side::Server, "{length} bytes are there only");
        assert_eq!(run(&mut play, &execute(ID, Some(true))).0, Side::Replica, "they were used up");
    }
}

#[test]
fn an_execution_that_closes_a_cursor_closes_it_where_it_is() {
    for resets in [false, true] {
        let mut play = any();
        prepare(&mut play, "SELECT a FROM t");
        let mut cursor = execute(ID, None);
        cursor[HEADER_LENGTH + 5] = 1;
        assert_eq!(run(&mut play, &cursor).0, Side::Server);
        if resets {
            assert_eq!(play.goes(&command(RESET, &[ID, 0, 0, 0])), Side::Server);
            play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
            play.stage.take_client();
        } else {
            assert_eq!(run(&mut play, &execute(ID, None)).0, Side::Server, "a FETCH behind it must find no cursor");
        }
        assert_eq!(run(&mut play, &execute(ID, None)).0, Side::Replica);
    }
}

#[test]
fn definitions_that_a_replica_tells_anew_are_homes_to_tell() {
    let anew = stream(&[vec![1, 1], column("b"), b"\x011".to_vec(), end_with(AUTOCOMMIT, b"")]);
    let known = stream(&[vec![1, 0], b"\x011".to_vec(), end_with(AUTOCOMMIT, b"")]);
    for cut in [1, 5, 30, usize::MAX] {
        let mut play = any();
        if let State::Relay(relay) = &mut play.stage.session.state {
            relay.framing.cache_metadata = true;
        }
        prepare(&mut play, "SELECT ? FROM t");
        play.send(&execute(ID, Some(true)));
        assert_eq!(std::mem::take(&mut play.stage.to_replica), execute(REPLICA_STATEMENT, Some(true)));
        play.reply(Side::Replica, &known);
        assert_eq!(play.stage.take_client(), known, "what the client knows is known to both");
        play.send(&execute(ID, Some(true)));
        play.stage.to_replica.clear();
        let (first, rest) = anew.split_at(cut.max(6).min(anew.len()));
        play.reply(Side::Replica, first);
        assert_eq!(play.stage.take_server(), execute(ID, Some(true)), "cut at {cut}");
        play.reply(Side::Server, &anew);
        rest.chunks(cut).for_each(|bytes| play.reply(Side::Replica, bytes));
        assert_eq!(play.stage.take_client(), anew);
        assert_eq!(run(&mut play, &execute(ID, Some(true))).0, Side::Server);
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica, "the replica is kept");
    }
}

#[test]
fn types_that_were_not_seen_are_not_made_up() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t WHERE a = ?");
    let mut long = execute(ID, Some(true))[HEADER_LENGTH + 1..].to_vec();
    long.resize(super::super::COMMAND_MAX + 10, b'x');
    assert_eq!(run(&mut play, &command(EXECUTE, &long)).0, Side::Server);
    assert_eq!(run(&mut play, &execute(ID, Some(false))), (Side::Server, execute(ID, Some(false))));
    assert_eq!(run(&mut play, &execute(ID, Some(true))).0, Side::Replica);
}

#[test]
fn a_statement_is_closed_at_both() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t");
    run(&mut play, &execute(ID, None));
    assert_eq!(play.goes(&command(CLOSE, &[ID, 0, 0, 0])), Side::Server);
    prepare_as(&mut play, "SELECT b FROM t", ID + 1);
    play.said();
    run(&mut play, &execute(ID + 1, None));
    assert_eq!(play.said_to_replica(), [format!("CLOSE {REPLICA_STATEMENT}"), "PREPARE SELECT b FROM t".into()]);
}

#[test]
fn a_closed_or_unknown_statement_is_homes_to_complain_of() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t");
    play.goes(&command(CLOSE, &[ID, 0, 0, 0]));
    assert_eq!(play.goes(&execute(ID, None)), Side::Server);
    play.reply(Side::Server, &error(1, 1243));
    assert_eq!(play.goes(&execute(200, None)), Side::Server);
}

#[test]
fn a_statement_that_looks_otherwise_at_the_replica_stays_at_home() {
    let mut play = Play::new();
    prepare(&mut play, "SELECT a FROM t");
    play.script.column = "b";
    for _ in 0..2 {
        assert_eq!(run(&mut play, &execute(ID, None)), (Side::Server, execute(ID, None)));
    }
    let prepares = play.said_to_replica().iter().filter(|text| text.starts_with("PREPARE")).count();
    assert_eq!((prepares, play.introduction.take().is_some()), (1, true));
}

#[test]
fn a_statement_that_the_replica_does_not_prepare_keeps_nothing_else_at_home() {
    let mut play = Play::of(Script { user: "any", refused: ("PREPARE", 1146), ..Script::default() });
    prepare(&mut play, "SELECT a FROM fresh");
    assert_eq!(run(&mut play, &execute(ID, None)).0, Side::Server);
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
}

#[test]
fn a_statement_that_was_prepared_under_other_settings_stays_at_home() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t");
    play.at_home("USE other", AUTOCOMMIT, &schema("other"));
    assert_eq!(run(&mut play, &execute(ID, None)).0, Side::Server);
}

#[test]
fn minus_one_is_the_statement_prepared_last_and_none_after_a_failure() {
    let last = [&[EXECUTE][..], &[0xFF; 4], &[0, 1, 0, 0, 0]].concat();
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t");
    assert_eq!(run(&mut play, &packet(0, &last)), (Side::Replica, execute(REPLICA_STATEMENT, None)));
    assert_eq!(play.goes(&command(PREPARE, b"nonsense")), Side::Server);
    play.reply(Side::Server, &error(1, 1064));
    play.stage.take_client();
    assert_eq!(play.goes(&packet(0, &last)), Side::Server, "there is none");
    play.reply(Side::Server, &error(1, 1243));
    play.stage.take_client();

    prepare(&mut play, "SELECT a FROM t");
    let long = format!("SELECT '{}'", "x".repeat(super::super::COMMAND_MAX));
    prepare_as(&mut play, &long, ID + 1);
    assert_eq!(play.goes(&packet(0, &last)), Side::Server, "it was too long to be kept");
}

#[test]
fn what_is_asked_about_the_last_statement_is_asked_where_it_ran() {
    for text in ["SELECT FOUND_ROWS()", "SHOW WARNINGS", "SELECT ROW_COUNT()", "SHOW COUNT(*) ERRORS"] {
        let mut play = any();
        play.at_home("INSERT INTO t VALUES (1)", AUTOCOMMIT, b"");
        assert_eq!(play.read(text), Side::Server, "{text}");
        assert_eq!(play.read("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"), Side::Replica);
        play.said();
        assert_eq!(play.read(text), Side::Replica, "{text}");
        assert_eq!(play.said(), []);
    }
}

#[test]
fn a_ping_is_not_the_last_statement() {
    for text in ["SELECT FOUND_ROWS()", "SHOW WARNINGS"] {
        let mut play = any();
        assert_eq!(play.read("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"), Side::Replica);
        play.goes(&command(0x0E, b""));
        play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
        play.stage.take_client();
        assert_eq!(play.read(text), Side::Replica, "{text}");
    }
}

#[test]
fn a_prepared_question_about_the_last_statement_is_asked_where_it_ran() {
    for is_early in [true, false] {
        let mut play = any();
        if is_early {
            prepare(&mut play, "SELECT FOUND_ROWS()");
        }
        assert_eq!(play.read("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"), Side::Replica);
        if !is_early {
            prepare(&mut play, "SELECT FOUND_ROWS()");
        }
        assert_eq!(run(&mut play, &execute(ID, None)), (Side::Replica, execute(REPLICA_STATEMENT, None)));
    }
}

#[test]
fn warnings_of_a_prepare_are_at_home() {
    let mut play = any();
    assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
    prepare(&mut play, "SELECT b FROM t");
    play.said();
    assert_eq!(play.read("SHOW WARNINGS"), Side::Server);
    assert_eq!(play.said(), []);
}

#[test]
fn home_runs_the_last_read_too_before_it_is_asked_about_it() {
    for cut in [1, 3, usize::MAX] {
        let mut play = Play::of(Script { cut, user: "any", ..Script::default() });
        assert_eq!(play.read("SELECT a FROM t"), Side::Replica);
        play.said();
        play.send(&query("GET DIAGNOSTICS @n = NUMBER"));
        assert_eq!(play.said_to_home(), ["SELECT a FROM t"], "cut at {cut}");
        assert_eq!(play.stage.take_server(), query("GET DIAGNOSTICS @n = NUMBER"));
        assert_eq!(play.stage.take_client(), b"");
    }
}

#[test]
fn a_repeated_execution_has_its_types() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t WHERE a = ?");
    run(&mut play, &execute(ID, Some(true)));
    run(&mut play, &execute(ID, Some(false)));
    play.unanswered = "\u{7}";
    play.send(&query("GET DIAGNOSTICS @n = NUMBER"));
    let said = play.said_to_home();
    let whole = String::from_utf8_lossy(&execute(ID, Some(true))[HEADER_LENGTH + 1..]).into_owned();
    assert_eq!(said, [whole]);
}

#[test]
fn what_a_lost_replica_could_have_told_of_its_last_read_home_finds_out_again() {
    let mut play = any();
    assert_eq!(play.read("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"), Side::Replica);
    play.closed(Side::Replica);
    play.said();
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Server);
    assert_eq!(play.said_to_home(), ["SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1"]);
}

/// Whether a question is refused that nobody can answer any more.
fn is_missed(play: &mut Play, text: &str) -> bool {
    play.send(&query(text));
    let client = play.stage.take_client();
    let is_refused = !client.is_empty() && error_of(&client).1 == 1235;
    assert_eq!(is_refused, play.stage.take_server().is_empty(), "{text}: {client:?}");
    is_refused
}

/// An execution with one parameter of this type and value; with the type, or without.
fn execution_of(kind: u8, value: &[u8], binds: bool) -> Vec<u8> {
    let mut rest = vec![ID, 0, 0, 0, 0, 1, 0, 0, 0, 0, u8::from(binds)];
    if binds {
        rest.extend([kind, 0]);
    }
    rest.extend(value);
    command(EXECUTE, &rest)
}

const DOUBLE: u8 = 5;
const LONG: u8 = 3;

#[test]
fn what_a_closed_statement_left_at_a_replica_is_missed_where_home_would_have_to_tell() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t");
    run(&mut play, &execute(ID, None));
    assert_eq!(play.goes(&command(CLOSE, &[ID, 0, 0, 0])), Side::Server);
    play.said();
    assert!(is_missed(&mut play, "GET DIAGNOSTICS @n = NUMBER"));
    assert_eq!(play.said_to_home(), [""; 0], "nothing is run that is not there");
    assert_eq!(play.read("SELECT FOUND_ROWS()"), Side::Replica, "which knows");
    assert_eq!(play.read("SELECT a FROM t"), Side::Server);
    assert!(!is_missed(&mut play, "GET DIAGNOSTICS @n = NUMBER"));
}

#[test]
fn parts_of_parameters_are_not_used_up_by_an_earlier_execution() {
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t WHERE a = ?");
    run(&mut play, &execute(ID, Some(true)));
    assert_eq!(play.goes(&command(LONG_DATA, &[ID, 0, 0, 0, 0, 0, b'x'])), Side::Server);
    play.said();
    assert!(is_missed(&mut play, "SELECT FOUND_ROWS(), LAST_INSERT_ID()"));
    assert_eq!(play.said_to_home(), [""; 0]);
}

#[test]
fn the_statement_that_was_prepared_last_is_the_one_of_its_time() {
    let last = [&[EXECUTE][..], &[0xFF; 4], &[0, 1, 0, 0, 0]].concat();
    let mut play = any();
    prepare(&mut play, "SELECT a FROM t");
    assert_eq!(run(&mut play, &packet(0, &last)).0, Side::Replica);
    prepare_as(&mut play, "SELECT b FROM t", ID + 1);
    play.said();
    play.send(&query("SELECT FOUND_ROWS(), LAST_INSERT_ID()"));
    let executed = String::from_utf8_lossy(&execute(ID, None)[HEADER_LENGTH + 1..]).into_owned();
    assert_eq!(play.said_to_home(), [executed]);
}

#[test]
fn an_earlier_execution_is_run_again_with_its_own_types_and_leaves_the_clients() {
    for says_types in [false, true] {
        let mut play = any();
        prepare(&mut play, "SELECT a FROM t WHERE a = ?");
        let earlier = |binds| execution_of(LONG, &7_i32.to_le_bytes(), binds);
        let later = |binds| execution_of(DOUBLE, &2.5_f64.to_le_bytes(), binds);
        assert_eq!(run(&mut play, &earlier(true)).0, Side::Replica);
        assert_eq!(run(&mut play, &earlier(says_types)).0, Side::Replica);
        play.send(&later(true));
        play.stage.to_replica.clear();
        play.reply(Side::Replica, &error(1, 1146));
        assert_eq!(play.stage.take_server(), later(true));
        play.reply(Side::Server, &error(1, 1146));
        play.stage.take_client();
        play.said();
        assert_eq!(play.read("SELECT FOUND_ROWS(), LAST_INSERT_ID()"), Side::Server);
        let executed = String::from_utf8_lossy(&earlier(true)[HEADER_LENGTH + 1..]).into_owned();
        assert_eq!(play.said_to_home(), [executed], "{says_types}");
        play.at_home("BEGIN", TRANSACTION, b"");
        assert_eq!(run(&mut play, &later(false)), (Side::Server, later(true)), "home was told the earlier ones since");
    }
}
