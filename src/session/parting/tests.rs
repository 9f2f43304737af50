//! Clients that are sent to another balancer, between two fake ends.

use super::{
    super::{Admission, Ending, Input, Side, stage::*},
    *,
};
use crate::{
    config::{Entrance, RedirectMode},
    protocol::status::StatusFlags,
    topology::{Existing, RoutingTable},
};

/// A table by which clients are sent elsewhere.
fn redirecting(mode: RedirectMode, existing: Existing) -> RoutingTable {
    let mut beliefs = beliefs(&server_greeting());
    redirect(&mut beliefs, mode, existing);
    beliefs.table()
}

const FAREWELL: &str = "|This load balancer is in maintenance, please connect to|lb2:3307";

impl Stage {
    /// Sessions are recalled, or not any more.
    fn recall(&mut self, mode: RedirectMode) {
        self.table = redirecting(mode, Existing::Leave);
        self.tell(Input::Recall);
    }

    fn begin(&mut self) {
        self.show(Side::Client, &query("BEGIN"));
        self.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT | StatusFlags::IN_TRANS)));
        self.take_client();
        self.take_server();
    }
}

#[test]
fn a_client_is_sent_elsewhere_after_it_said_who_it_is_and_before_its_password_counts() {
    for password in ["secret", "wrong"] {
        let mut stage = Stage::between(redirecting(RedirectMode::On, Existing::Stay), Admission::Welcome);
        let heard = stage.log_in("app", password, None);
        assert_eq!(error_of(&heard), (2, 4196, FAREWELL.to_owned()));
        assert_eq!(ErrPacket::parse(&heard[HEADER_LENGTH..]).unwrap().state, Some(*b"08004"));
        assert_eq!(stage.ending(), Some(Ending::Redirected));
        assert!(stage.leases().is_empty());
    }
}

#[test]
fn a_full_or_ending_process_sends_elsewhere_too() {
    for admission in [Admission::Full, Admission::Closing] {
        let mut stage = Stage::between(redirecting(RedirectMode::On, Existing::Stay), admission);
        assert_eq!(error_of(&stage.log_in("app", "secret", None)).1, 4196, "{admission:?}");
    }
}

#[test]
fn administrators_are_let_in_unless_everybody_is_sent() {
    for (mode, entrance, is_sent) in [
        (RedirectMode::Off, Entrance::Ordinary, false),
        (RedirectMode::On, Entrance::Ordinary, true),
        (RedirectMode::On, Entrance::Exempt, false),
        (RedirectMode::All, Entrance::Exempt, true),
    ] {
        let mut stage = Stage::between(redirecting(mode, Existing::Stay), Admission::Welcome);
        stage.session.entrance = entrance;
        let heard = stage.log_in("app", "secret", None);
        assert_eq!(heard.is_empty(), !is_sent, "{mode:?} {entrance:?}");
        assert_eq!(stage.leases().len(), usize::from(!is_sent));
    }
}

#[test]
fn who_was_greeted_before_and_answers_afterwards_is_sent_elsewhere() {
    let mut stage = Stage::new();
    stage.table = redirecting(RedirectMode::On, Existing::Stay);
    assert_eq!(error_of(&stage.log_in("app", "secret", None)).1, 4196);
}

#[test]
fn sessions_that_are_not_recalled_go_on() {
    let mut stage = Stage::working();
    stage.table = redirecting(RedirectMode::All, Existing::Stay);
    stage.tell(Input::Recall);
    stage.show(Side::Client, &query("SELECT 1"));
    assert_eq!(stage.take_server(), query("SELECT 1"));
}

#[test]
fn a_recalled_session_hears_where_to_go_in_answer_to_its_next_command() {
    for cut in [1, 5, usize::MAX] {
        let mut stage = Stage::working();
        stage.recall(RedirectMode::On);
        assert_eq!((stage.session.activity(), stage.ending()), ("leaving", None));
        assert_eq!((stage.take_client(), stage.take_server()), (vec![], vec![]));
        stage.cut = cut;
        assert_eq!(stage.show(Side::Client, &query("SELECT 1")), b"");
        assert_eq!(stage.take_server(), command(0x01, b""), "the server hears a goodbye, and no command");
        let heard = stage.take_client();
        assert_eq!(error_of(&heard), (1, 4196, FAREWELL.to_owned()));
        assert_eq!(ErrPacket::parse(&heard[HEADER_LENGTH..]).unwrap().state, Some(*b"08S01"));
        assert_eq!(stage.ending(), Some(Ending::Redirected));
    }
}

#[test]
fn a_recalled_session_ends_its_transaction_first() {
    let mut stage = Stage::working();
    stage.begin();
    stage.recall(RedirectMode::On);
    for (text, status) in [
        ("INSERT INTO t VALUES (1)", StatusFlags::AUTOCOMMIT | StatusFlags::IN_TRANS),
        ("COMMIT", StatusFlags::AUTOCOMMIT),
    ] {
        stage.show(Side::Client, &query(text));
        assert_eq!(stage.take_server(), query(text));
        stage.show(Side::Server, &packet(1, &ok(status)));
        assert_eq!(stage.take_client(), packet(1, &ok(status)));
    }
    assert_eq!(stage.ending(), None, "the client has not heard yet");
    stage.show(Side::Client, &query("BEGIN"));
    assert_eq!(error_of(&stage.take_client()).1, 4196);
}

#[test]
fn a_session_that_logs_in_while_it_is_recalled_hears_of_it_with_its_first_command() {
    let mut stage = Stage::new();
    stage.log_in("app", "secret", None);
    stage.leased(0);
    stage.recall(RedirectMode::On);
    stage.server_lets_in();
    assert_eq!(stage.take_client(), packet(2, &ok(StatusFlags::AUTOCOMMIT)));
    stage.show(Side::Client, &query("SELECT 1"));
    assert_eq!(error_of(&stage.take_client()).1, 4196);
}

#[test]
fn what_is_taken_back_before_the_next_command_never_happened() {
    let mut stage = Stage::working();
    stage.recall(RedirectMode::On);
    stage.recall(RedirectMode::Off);
    assert_eq!(stage.session.activity(), "idle");
    stage.show(Side::Client, &query("SELECT 1"));
    assert_eq!(stage.take_server(), query("SELECT 1"));
    stage.show(Side::Server, &result());
    assert_eq!((stage.take_client(), stage.ending()), (result(), None));
}

#[test]
fn what_is_taken_back_while_the_last_command_comes_is_an_answer_all_the_same() {
    let mut stage = Stage::working();
    stage.recall(RedirectMode::On);
    stage.show(Side::Client, &query("SELECT 1")[..6]);
    stage.table = table();
    stage.tell(Input::Recall);
    stage.show(Side::Client, &query("SELECT 1")[6..]);
    assert_eq!(error_of(&stage.take_client()).1, 1053);
    assert_eq!(stage.ending(), Some(Ending::Redirected));
}

#[test]
fn commands_without_an_answer_pass_and_a_goodbye_is_one() {
    let close = command(0x19, &[1, 0, 0, 0]);
    let long_data = command(0x18, &[1, 0, 0, 0, 0, 0, b'x']);
    for cut in [1, usize::MAX] {
        let mut stage = Stage::working();
        stage.recall(RedirectMode::On);
        stage.cut = cut;
        stage.show(Side::Client, &[close.clone(), long_data.clone()].concat());
        assert_eq!(stage.take_server(), [close.clone(), long_data.clone()].concat());
        assert_eq!((stage.session.activity(), stage.ending()), ("leaving", None));
        stage.show(Side::Client, &command(0x01, b""));
        assert_eq!((stage.take_client(), stage.ending()), (vec![], Some(Ending::Quit)));
    }
}

#[test]
fn a_shutdown_does_not_wait_for_the_command_of_a_recalled_session() {
    let mut stage = Stage::working();
    stage.recall(RedirectMode::On);
    stage.tell(Input::Drain(DrainReason::Shutdown));
    assert_eq!(stage.ending(), Some(Ending::Drained));
}

#[test]
fn a_recalled_session_whose_server_is_lost_or_whose_client_goes_is_over() {
    for (side, ending) in [(Side::Server, Ending::ServerGone), (Side::Client, Ending::ClientGone)] {
        let mut stage = Stage::working();
        stage.recall(RedirectMode::On);
        stage.tell(Input::Closed(side));
        assert_eq!(stage.ending(), Some(ending));
    }
}

#[test]
fn a_recalled_session_stays_recalled_as_another_user() {
    let mut stage = Stage::working();
    stage.begin();
    stage.recall(RedirectMode::On);
    stage.change_user("app", "secret");
    stage.leased(1);
    stage.server_lets_in();
    stage.take_client();
    stage.show(Side::Client, &query("SELECT 1"));
    assert_eq!(error_of(&stage.take_client()).1, 4196);
}
