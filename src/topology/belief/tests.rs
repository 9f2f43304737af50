//! Each step is something that is heard of a server, with what is then believed of it.

use super::*;
use crate::topology::Answer;

const THRESHOLDS: Thresholds = Thresholds { fall: 3, rise: 2, silence: Duration::from_secs(60) };
/// Between two steps of a test.
const STEP: Duration = Duration::from_millis(500);

/// Something that is heard of a server.
enum Heard {
    Check(CheckResult),
    Report(Failure, FollowUp),
}

fn writable() -> Heard {
    answer(Writable::Yes)
}

fn read_only() -> Heard {
    answer(Writable::No)
}

fn answer(writable: Writable) -> Heard {
    Heard::Check(CheckResult::Answered(Answer { writable: Some(writable), view: View::Unasked, contact: None }))
}

fn silence() -> Heard {
    Heard::Check(CheckResult::TimedOut)
}

fn refused() -> Heard {
    Heard::Check(CheckResult::Refused)
}

fn reset() -> Heard {
    Heard::Check(CheckResult::Reset)
}

fn login_refused(code: u16) -> Heard {
    Heard::Check(CheckResult::LoginRefused { code, message: "no".to_owned() })
}

/// Hears one thing a step and expects condition, what is known of writes, and the reason after each.
fn check(steps: &[(Heard, Condition, Option<Writable>, &str)]) {
    let begin = Instant::now();
    let mut belief = Belief::new(begin);
    for (number, (heard, condition, writable, reason)) in steps.iter().enumerate() {
        let now = begin + STEP * number as u32;
        match heard {
            Heard::Check(result) => belief.check(result, THRESHOLDS, now),
            Heard::Report(failure, follow_up) => {
                assert_eq!(belief.report(*failure, now), *follow_up, "step {number}")
            }
        }
        let found = (belief.condition(), belief.writable(), &**belief.reason());
        assert_eq!(found, (*condition, *writable, *reason), "step {number}");
    }
}

use Condition::{Down, Unknown, Up};
const YES: Option<Writable> = Some(Writable::Yes);
const NO: Option<Writable> = Some(Writable::No);

#[test]
fn the_first_answer_brings_a_server_up() {
    check(&[(writable(), Up, YES, "answers"), (read_only(), Up, NO, "answers")]);
}

#[test]
fn silence_keeps_what_is_known_until_it_has_lasted() {
    check(&[
        (writable(), Up, YES, "answers"),
        (silence(), Up, YES, "no answer (1 of 3)"),
        (silence(), Up, YES, "no answer (2 of 3)"),
        (silence(), Down, YES, "no answer for 1.5 s"),
        (silence(), Down, YES, "no answer for 1.5 s"),
        (writable(), Down, YES, "answers again (1 of 2)"),
        (read_only(), Up, NO, "answers"),
    ]);
}

#[test]
fn silence_that_lasts_takes_a_server_down_before_many_checks_have_failed() {
    let begin = Instant::now();
    let patient = Thresholds { fall: 100, silence: STEP * 3, ..THRESHOLDS };
    let mut belief = Belief::new(begin);
    let silent = |belief: &mut Belief, step: u32| {
        belief.check(&CheckResult::TimedOut, patient, begin + STEP * step);
        belief.condition()
    };
    assert_eq!((silent(&mut belief, 5), silent(&mut belief, 9)), (Unknown, Unknown), "it has never answered");
    let answer = Answer { writable: Some(Writable::Yes), view: View::Unasked, contact: None };
    belief.check(&CheckResult::Answered(answer), patient, begin + STEP * 10);
    assert_eq!((silent(&mut belief, 14), silent(&mut belief, 15)), (Up, Down), "one check may be chance");
    assert_eq!(&**belief.reason(), "no answer for 2.5 s");
}

#[test]
fn an_answer_ends_the_count_of_failures() {
    check(&[
        (read_only(), Up, NO, "answers"),
        (silence(), Up, NO, "no answer (1 of 3)"),
        (reset(), Up, NO, "connection broken (2 of 3)"),
        (read_only(), Up, NO, "answers"),
        (silence(), Up, NO, "no answer (1 of 3)"),
    ]);
}

#[test]
fn a_refused_connection_counts_at_once() {
    check(&[
        (writable(), Up, YES, "answers"),
        (refused(), Down, YES, "connection refused"),
        (writable(), Down, YES, "answers again (1 of 2)"),
        (refused(), Down, YES, "connection refused"),
        (writable(), Down, YES, "answers again (1 of 2)"),
        (writable(), Up, YES, "answers"),
    ]);
}

#[test]
fn a_server_never_heard_is_not_called_down_for_being_slow() {
    check(&[
        (silence(), Unknown, None, "no answer (1 of 3)"),
        (silence(), Unknown, None, "no answer (2 of 3)"),
        (silence(), Down, None, "no answer"),
    ]);
}

#[test]
fn a_server_never_heard_is_down_by_its_first_failure() {
    check(&[(refused(), Down, None, "connection refused")]);
    check(&[(reset(), Down, None, "connection broken")]);
    let unreachable = CheckResult::Unreachable("db1 cannot be looked up: no such name".to_owned());
    check(&[(Heard::Check(unreachable), Down, None, "db1 cannot be looked up: no such name")]);
}

#[test]
fn a_full_server_and_a_refused_account_are_not_ill() {
    for code in [1040, 1203, 1226, 1045, 1698] {
        let reason = format!("login refused: ERROR {code}: no");
        check(&[
            (login_refused(code), Unknown, None, &reason),
            (writable(), Up, YES, "answers"),
            (silence(), Up, YES, "no answer (1 of 3)"),
            (login_refused(code), Up, YES, &reason),
            (silence(), Up, YES, "no answer (1 of 3)"),
            (refused(), Down, YES, "connection refused"),
            (login_refused(code), Down, YES, &reason),
        ]);
    }
}

#[test]
fn a_server_that_sends_everybody_away_is_down_at_once() {
    for code in [1129, 1130, 1053, 3032] {
        let reason = format!("login refused: ERROR {code}: no");
        check(&[(writable(), Up, YES, "answers"), (login_refused(code), Down, YES, &reason)]);
    }
}

#[test]
fn an_unclear_error_counts_like_a_broken_connection() {
    let failed = || Heard::Check(CheckResult::StatementFailed { code: 1105, message: "oh".to_owned() });
    check(&[
        (writable(), Up, YES, "answers"),
        (failed(), Up, YES, "check refused: ERROR 1105: oh (1 of 3)"),
        (failed(), Up, YES, "check refused: ERROR 1105: oh (2 of 3)"),
        (failed(), Down, YES, "check refused: ERROR 1105: oh"),
    ]);
}

#[test]
fn a_worker_that_was_refused_takes_the_server_down() {
    check(&[
        (writable(), Up, YES, "answers"),
        (Heard::Report(Failure::Refused, FollowUp::Check), Down, YES, "connection refused"),
        (writable(), Down, YES, "answers again (1 of 2)"),
        (writable(), Up, YES, "answers"),
    ]);
}

#[test]
fn one_broken_session_causes_a_check_and_no_more() {
    for failure in [Failure::Reset, Failure::TimedOut, Failure::Malformed, Failure::LoginRefused { code: 1105 }] {
        check(&[(writable(), Up, YES, "answers"), (Heard::Report(failure, FollowUp::Check), Up, YES, "answers")]);
    }
}

#[test]
fn refused_sessions_are_judged_by_the_error() {
    let report = |code, follow_up| Heard::Report(Failure::LoginRefused { code }, follow_up);
    check(&[
        (writable(), Up, YES, "answers"),
        (report(1040, FollowUp::Nothing), Up, YES, "answers"),
        (report(1226, FollowUp::Nothing), Up, YES, "answers"),
        (report(1045, FollowUp::Alarm), Up, YES, "answers"),
        (report(1129, FollowUp::Check), Down, YES, "login refused with error 1129"),
    ]);
}

#[test]
fn who_sends_its_clients_elsewhere_is_up_and_leaving_for_a_while() {
    let begin = Instant::now();
    let mut belief = Belief::new(begin);
    let answered = CheckResult::Answered(Answer { writable: Some(Writable::Yes), view: View::Unasked, contact: None });
    belief.check(&answered, THRESHOLDS, begin);
    assert_eq!(belief.report(Failure::Leaving, begin), FollowUp::Nothing);
    belief.check(&answered, THRESHOLDS, begin + LEAVING_TIME - STEP);
    assert_eq!((belief.condition(), belief.is_leaving()), (Condition::Up, true));
    belief.check(&answered, THRESHOLDS, begin + LEAVING_TIME);
    assert_eq!((belief.condition(), belief.is_leaving()), (Condition::Up, false));
}

#[test]
fn the_condition_keeps_the_time_of_its_beginning() {
    let begin = Instant::now();
    let mut belief = Belief::new(begin);
    let mut hear = |result: CheckResult, step: u32| {
        belief.check(&result, THRESHOLDS, begin + STEP * step);
        belief.since()
    };
    let answered =
        || CheckResult::Answered(Answer { writable: Some(Writable::Yes), view: View::Unasked, contact: None });
    assert_eq!(hear(answered(), 1), begin + STEP);
    assert_eq!(hear(answered(), 2), begin + STEP);
    assert_eq!(hear(CheckResult::Refused, 3), begin + STEP * 3);
    assert_eq!(hear(CheckResult::Reset, 4), begin + STEP * 3);
    assert_eq!(hear(answered(), 5), begin + STEP * 3);
    assert_eq!(hear(answered(), 6), begin + STEP * 6);
}
