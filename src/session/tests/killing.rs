//! KILL, here and at other servers.

use super::*;
use crate::protocol::{error_code::Error, response::ErrPacket};

#[test]
fn a_kill_at_the_same_server_carries_the_servers_own_number() {
    let id = SessionId::new(0, 5);
    let target = || Found::At(KillTargets::one(ServerId(0), 4711));
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("KILL QUERY {id} -- now")));
    assert!(matches!(stage.wishes[..], [Output::FindSession { id: found, .. }] if found == id));
    stage.tell(Input::SessionFound(id, target()));
    assert_eq!(stage.take_server(), query("KILL QUERY 4711 -- now"));
    stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    assert_eq!(stage.session.activity(), "idle");

    stage.show(Side::Client, &command(0x0C, &id.0.to_le_bytes()));
    stage.tell(Input::SessionFound(id, target()));
    assert_eq!(stage.take_server(), command(0x0C, &4711_u32.to_le_bytes()));
}

#[test]
fn a_kill_of_a_servers_own_number_passes_as_it_is() {
    let mut stage = Stage::working();
    stage.show(Side::Client, &query("KILL 12"));
    assert_eq!(stage.take_server(), query("KILL 12"));
}

#[test]
fn a_kill_of_a_session_that_is_gone_is_answered_like_a_servers() {
    let id = SessionId::new(0, 5);
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("kill {id}")));
    stage.tell(Input::SessionFound(id, Found::Nobody));
    assert_eq!(error_of(&stage.take_client()), (1, 1094, format!("Unknown thread id: {id}")));
    assert_eq!(stage.session.activity(), "idle");
}

#[test]
fn a_kill_of_a_session_without_a_server_is_for_its_own_user() {
    let id = SessionId::new(0, 5);
    let killed = |stage: &Stage| stage.wishes.iter().any(|wish| matches!(wish, Output::KillHomeless(of) if *of == id));
    let homeless = |user: &[u8]| Input::SessionFound(id, Found::Homeless(user.into()));
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("KILL QUERY {id}")));
    stage.tell(homeless(b"app"));
    assert_eq!(stage.take_client(), packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    assert!(!killed(&stage), "nothing of it runs anywhere");
    stage.show(Side::Client, &query(&format!("KILL {id}")));
    stage.tell(homeless(b"other"));
    assert_eq!(error_of(&stage.take_client()), (1, 1095, format!("You are not owner of thread {id}")));
    assert!(!killed(&stage));
    stage.show(Side::Client, &query(&format!("KILL {id}")));
    stage.tell(homeless(b"app"));
    assert_eq!(stage.take_client(), packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    assert!(killed(&stage));
    stage.tell(Input::Killed);
    assert_eq!(stage.ending(), Some(Ending::Killed));
}

#[test]
fn a_kill_of_a_read_without_a_home_is_said_at_its_replica_and_of_its_session_here() {
    let id = SessionId::new(0, 5);
    let reading = |user: &[u8]| {
        Input::SessionFound(id, Found::Reading(user.into(), KillTarget { server: ServerId(1), thread_id: 99 }))
    };
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("KILL QUERY {id}")));
    stage.tell(reading(b"other"));
    assert_eq!(error_of(&stage.take_client()), (1, 1095, format!("You are not owner of thread {id}")));
    stage.show(Side::Client, &query(&format!("KILL {id}")));
    stage.tell(reading(b"app"));
    assert_eq!(stage.take_client(), packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    assert!(matches!(stage.wishes.last(), Some(Output::KillHomeless(of)) if *of == id));
    stage.show(Side::Client, &query(&format!("KILL QUERY {id}")));
    stage.tell(reading(b"app"));
    assert!(matches!(stage.wishes.last(), Some(Output::Errand(ServerId(1)))));
    stage.tell(Input::ErrandConnected(facts(1)));
    stage.show(Side::Errand, &greeting_packet());
    stage.show(Side::Errand, &packet(2, &ok(StatusFlags::AUTOCOMMIT)));
    assert!(stage.to_errand.ends_with(&query("KILL QUERY 99")));
}

#[test]
fn a_kill_at_another_server_is_said_there_by_the_same_user() {
    let id = SessionId::new(0, 5);
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("KILL {id}")));
    stage.tell(Input::SessionFound(id, Found::At(KillTargets::one(ServerId(1), 99))));
    assert!(stage.wishes.iter().any(|wish| matches!(wish, Output::Errand(ServerId(1)))));
    stage.tell(Input::ErrandConnected(facts(1)));
    stage.show(Side::Errand, &greeting_packet());
    assert_eq!(read_response(&std::mem::take(&mut stage.to_errand)).user, b"app");
    stage.show(Side::Errand, &packet(2, &ok(StatusFlags::AUTOCOMMIT)));
    assert_eq!(std::mem::take(&mut stage.to_errand), query("KILL 99"));
    stage.show(Side::Errand, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    assert_eq!(stage.take_client(), packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    assert!(matches!(stage.wishes.last(), Some(Output::EndErrand)));
    assert_eq!(stage.session.activity(), "idle");
    assert!(stage.session.poll_timeout().is_none());
}

#[test]
fn a_kill_is_recognised_however_it_is_cut() {
    let id = SessionId::new(0, 5);
    for cut in 1..12 {
        let mut stage = Stage::working();
        stage.cut = cut;
        stage.show(Side::Client, &query(&format!("KILL {id}")));
        assert_eq!(stage.take_server(), b"", "cut at {cut}: our number is not for the server");
        assert!(matches!(stage.wishes[..], [Output::FindSession { id: found, .. }] if found == id), "cut at {cut}");
    }
}

#[test]
fn what_follows_a_short_command_is_not_taken_for_a_part_of_it() {
    let id = SessionId::new(0, 1);
    let short_kill = [command(0x0C, b""), id.0.to_le_bytes().to_vec()].concat();
    let mut stage = Stage::working();
    stage.show(Side::Client, &short_kill);
    assert!(stage.wishes.is_empty(), "{:?}", stage.wishes);
    assert_eq!(stage.take_server(), command(0x0C, b""), "the server says what it thinks of it");

    // With attributes the text begins two bytes further, which an empty command does not have.
    let mut stage = Stage::working();
    stage.session.state = State::Relay(Relay::new(Capabilities::QUERY_ATTRIBUTES, StatusFlags::AUTOCOMMIT, None));
    stage.show(Side::Client, &[query(""), vec![0, 0, b' ', 0]].concat());
    assert_eq!(stage.take_server(), query(""));
}

#[test]
fn a_late_answer_to_an_earlier_kill_does_not_kill_the_wrong_session() {
    let (first, second) = (SessionId::new(1, 5), SessionId::new(1, 6));
    let at = |thread_id| KillTargets::one(ServerId(0), thread_id);
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("KILL {first}")));
    stage.now = stage.session.poll_timeout().expect("another worker may not answer");
    stage.tell(Input::Timeout);
    assert_eq!(error_of(&stage.take_client()).1, 1094);

    stage.show(Side::Client, &query(&format!("KILL {second}")));
    stage.tell(Input::SessionFound(first, Found::At(at(50))));
    stage.tell(Input::SessionFound(first, Found::Nobody));
    assert_eq!((stage.take_server(), stage.take_client()), (vec![], vec![]));
    stage.tell(Input::SessionFound(second, Found::At(at(60))));
    assert_eq!(stage.take_server(), query("KILL 60"));
}

#[test]
fn a_server_lost_during_a_kill_elsewhere_is_an_answer_to_it() {
    let id = SessionId::new(0, 5);
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("KILL {id}")));
    stage.tell(Input::SessionFound(id, Found::At(KillTargets::one(ServerId(1), 99))));
    stage.tell(Input::Closed(Side::Server));
    let (sequence, code, _) = error_of(&stage.take_client());
    assert_eq!((sequence, code), (1, 1158));
    assert_eq!(stage.ending(), Some(Ending::ServerGone));
}

/// The sessions that are told that they are not killed.
fn spared(stage: &Stage) -> Vec<SessionId> {
    let read = |wish: &Output| if let Output::KillRefused(id) = wish { Some(*id) } else { None };
    stage.wishes.iter().filter_map(read).collect()
}

/// A session that wants to kill this one by such a statement, and knows where it is.
fn killing(statement: &str, id: SessionId, server: u32) -> Stage {
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("{statement} {id}")));
    stage.tell(Input::SessionFound(id, Found::At(KillTargets::one(ServerId(server), 99))));
    stage
}

/// The same, and that server has let it in.
fn asking(statement: &str, id: SessionId) -> Stage {
    let mut stage = killing(statement, id, 1);
    stage.tell(Input::ErrandConnected(facts(1)));
    stage.show(Side::Errand, &greeting_packet());
    stage.show(Side::Errand, &packet(2, &ok(StatusFlags::AUTOCOMMIT)));
    assert!(stage.to_errand.ends_with(&query(&format!("{statement} 99"))));
    stage
}

fn refusal(code: Error) -> Vec<u8> {
    let mut payload = Vec::new();
    ErrPacket::new(code, "no").encode(&mut payload);
    packet(1, &payload)
}

#[test]
fn whom_a_server_refuses_to_kill_is_told_so() {
    let id = SessionId::new(0, 5);
    for (code, is_refused) in [
        (Error::KILL_DENIED, true),
        (Error::NO_SUCH_THREAD, true),
        (Error::SPECIFIC_ACCESS_DENIED, true),
        // It has killed itself.
        (Error::QUERY_INTERRUPTED, false),
    ] {
        let expected = if is_refused { vec![id] } else { vec![] };
        let mut stage = killing("KILL", id, 0);
        stage.show(Side::Server, &refusal(code));
        assert_eq!((spared(&stage), stage.session.activity()), (expected.clone(), "idle"), "{code:?}");
        let mut stage = asking("KILL", id);
        stage.show(Side::Errand, &refusal(code));
        assert_eq!((spared(&stage), stage.session.activity()), (expected, "idle"), "{code:?}");
        let mut stage = killing("KILL QUERY", id, 0);
        stage.show(Side::Server, &refusal(code));
        assert_eq!(spared(&stage), [], "its statement was meant");
        let mut stage = asking("KILL QUERY", id);
        stage.show(Side::Errand, &refusal(code));
        assert_eq!(spared(&stage), [], "its statement was meant");
    }
}

#[test]
fn whom_a_server_kills_hears_nothing_of_a_later_error() {
    let id = SessionId::new(0, 5);
    let mut stage = killing("KILL", id, 0);
    stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    stage.show(Side::Client, &query("KILL 12"));
    stage.show(Side::Server, &refusal(Error::NO_SUCH_THREAD));
    assert_eq!(spared(&stage), []);
    let mut stage = asking("KILL", id);
    stage.show(Side::Errand, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    stage.tell(Input::Closed(Side::Client));
    assert_eq!(spared(&stage), []);
}

#[test]
fn whom_no_server_was_asked_to_kill_is_told_so() {
    let id = SessionId::new(1, 5);
    type Happens = fn(&mut Stage);
    let fates: [(&str, Happens); 5] = [
        ("the server cannot be reached", |stage| stage.tell(Input::ErrandFailed)),
        ("its client is gone", |stage| stage.tell(Input::Closed(Side::Client))),
        ("its own server is gone", |stage| stage.tell(Input::Closed(Side::Server))),
        ("it is not let in", |stage| {
            stage.tell(Input::ErrandConnected(facts(1)));
            stage.show(Side::Errand, &greeting_packet());
            stage.show(Side::Errand, &refusal(Error::TOO_MANY_CONNECTIONS));
        }),
        ("it is not let in in time", |stage| {
            stage.tell(Input::ErrandConnected(facts(1)));
            stage.now = stage.session.poll_timeout().expect("a login has a deadline");
            stage.tell(Input::Timeout);
        }),
    ];
    for (what, happens) in fates {
        let mut stage = killing("KILL", id, 1);
        happens(&mut stage);
        assert_eq!(spared(&stage), [id], "{what}");
        let mut stage = killing("KILL QUERY", id, 1);
        happens(&mut stage);
        assert_eq!(spared(&stage), [], "{what}");
    }
    // The worker of that session answers too late.
    let mut stage = Stage::working();
    stage.show(Side::Client, &query(&format!("KILL {id}")));
    stage.now = stage.session.poll_timeout().expect("another worker may not answer");
    stage.tell(Input::Timeout);
    assert_eq!(spared(&stage), [id]);
    // The server was asked, and nobody knows what it does.
    let mut stage = asking("KILL", id);
    stage.tell(Input::Closed(Side::Errand));
    assert_eq!(spared(&stage), []);
}
