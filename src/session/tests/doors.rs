//! How long servers have at their doors: a short time to greet, the time of a login to judge one.

use std::time::Duration;

use super::*;

const GREETING_TIME: Duration = Duration::from_secs(2);
const LOGIN_TIME: Duration = Duration::from_secs(10);

/// What the session still waits for.
fn patience(stage: &Stage) -> Option<Duration> {
    Some(stage.session.poll_timeout()? - stage.now)
}

fn entering() -> Stage {
    let mut stage = Stage::new();
    stage.log_in("app", "secret", None);
    stage.leased(0);
    stage.wishes.clear();
    stage
}

fn wants_another(stage: &Stage) -> bool {
    let has_told = |wish: &Output| matches!(wish, Output::Report(ServerId(0), Failure::TimedOut));
    stage.wishes.iter().any(has_told) && stage.leases() == [Some(ServerId(0))]
}

#[test]
fn a_server_that_does_not_greet_is_left_for_another() {
    let mut stage = entering();
    assert_eq!(patience(&stage), Some(GREETING_TIME));
    stage.now += GREETING_TIME;
    stage.tell(Input::Timeout);
    assert!(wants_another(&stage), "{:?}", stage.wishes);
}

#[test]
fn a_server_that_has_greeted_may_take_a_logins_time_to_judge_one() {
    let mut stage = entering();
    stage.show(Side::Server, &greeting_packet());
    assert_eq!(patience(&stage), Some(LOGIN_TIME));
    stage.now += LOGIN_TIME - Duration::from_millis(1);
    stage.show(Side::Server, &packet(2, &ok(StatusFlags::AUTOCOMMIT)));
    assert_eq!(stage.take_client(), packet(2, &ok(StatusFlags::AUTOCOMMIT)));
    assert_eq!(patience(&stage), None);
}

/// Packets in between do not make the time longer.
#[test]
fn a_server_that_goes_on_asking_is_left_when_the_time_is_over() {
    let mut stage = entering();
    stage.show(Side::Server, &greeting_packet());
    stage.now += LOGIN_TIME / 2;
    let switch = [&b"\xfemysql_native_password\0"[..], &[7; 20], &[0]].concat();
    stage.show(Side::Server, &packet(2, &switch));
    assert_eq!(patience(&stage), Some(LOGIN_TIME / 2));
    stage.now += LOGIN_TIME / 2;
    stage.tell(Input::Timeout);
    assert!(wants_another(&stage), "{:?}", stage.wishes);
}

/// It may be asked of others in the name of all servers, and counts: another is asked only in the time that there is.
#[test]
fn who_was_not_judged_in_time_hears_so_if_there_is_no_time_for_another() {
    let is_bounded = |stage: &mut Stage| match stage.wishes.pop() {
        Some(Output::Lease(want)) => want.is_bounded,
        other => panic!("{other:?}"),
    };
    let mut stage = entering();
    stage.now += GREETING_TIME;
    stage.tell(Input::Timeout);
    assert!(!is_bounded(&mut stage), "that one was not asked");
    stage.leased(1);
    stage.show(Side::Server, &greeting_packet());
    stage.now += LOGIN_TIME;
    stage.tell(Input::Timeout);
    assert!(is_bounded(&mut stage));
    stage.tell(Input::LeaseFailed(LeaseFailure::NoServer("pool main".to_owned())));
    let (_, code, words) = error_of(&stage.take_client());
    assert_eq!((code, words.as_str()), (1158, "Cannot use server 'db2': it has not judged the login in time"));
}

#[test]
fn a_server_that_is_asked_to_kill_has_the_same_times() {
    let id = SessionId::new(0, 5);
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("KILL {id}")));
    stage.tell(Input::SessionFound(id, Found::At(KillTargets::one(ServerId(1), 99))));
    stage.tell(Input::ErrandConnected(facts(1)));
    assert_eq!(patience(&stage), Some(GREETING_TIME));
    stage.show(Side::Errand, &greeting_packet());
    assert_eq!(patience(&stage), Some(LOGIN_TIME));
    stage.now += LOGIN_TIME;
    stage.tell(Input::Timeout);
    assert_eq!(error_of(&stage.take_client()).1, 1094);
}
