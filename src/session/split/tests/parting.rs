//! Sessions with several servers, or with none of their own, that are to go to another balancer.

use super::*;
use crate::{config::RedirectMode, topology::Existing};

impl Play {
    fn recall(&mut self, mode: RedirectMode) {
        redirect(&mut self.beliefs, mode, Existing::Leave);
        self.stage.table = self.beliefs.table();
        self.stage.tell(Input::Recall);
        self.serve();
    }

    /// The client's next command is answered with where to go.
    fn parts(&mut self) {
        assert_eq!((self.stage.session.activity(), self.stage.ending()), ("leaving", None));
        self.stage.take_client();
        self.send(&query("SELECT a FROM t"));
        assert_eq!(error_of(&self.stage.take_client()).1, 4196);
        assert_eq!(self.stage.ending(), Some(Ending::Redirected));
    }
}

#[test]
fn both_servers_of_a_split_session_hear_a_goodbye() {
    let mut play = Play::new();
    assert_eq!(play.goes(&query("SELECT 1 FROM t")), Side::Replica);
    play.reply(Side::Replica, &result());
    play.recall(RedirectMode::On);
    play.stage.take_server();
    play.stage.to_replica.clear();
    play.parts();
    let goodbye = command(0x01, b"");
    assert_eq!((play.stage.take_server(), &play.stage.to_replica), (goodbye.clone(), &goodbye));
}

#[test]
fn what_a_session_has_at_its_server_is_kept_until_its_client_knows() {
    let mut play = Play::new();
    play.at_home("SELECT GET_LOCK('l', 1)", AUTOCOMMIT, b"");
    play.recall(RedirectMode::On);
    assert_eq!(play.stage.take_server(), b"", "the lock is held as long as the client thinks so");
    play.recall(RedirectMode::Off);
    assert_eq!(play.goes(&query("DO RELEASE_LOCK('l')")), Side::Server);
}

#[test]
fn a_session_that_has_lent_its_connection_back_takes_none_to_say_farewell() {
    let mut play = Play::lent();
    play.recall(RedirectMode::On);
    play.parts();
    assert!(play.wants_home().is_none());
}

#[test]
fn a_connection_that_is_lent_goes_back_behind_the_transaction_of_a_recalled_session() {
    let mut play = Play::lent();
    play.runs_on(lending::Lender::Own, "BEGIN", TRANSACTION, b"");
    play.recall(RedirectMode::On);
    assert_eq!(play.goes(&query("COMMIT")), Side::Server);
    play.reply(Side::Server, &packet(1, &ok(AUTOCOMMIT)));
    assert!(play.parked().is_some());
    play.parts();
}

#[test]
fn a_home_that_is_demoted_or_lost_while_the_client_does_not_know_yet_is_no_other_reason_to_leave() {
    for why in [Displacement::Demoted, Displacement::Down] {
        let mut play = Play::of(Script { user: "followed", home: 3, ..Script::default() });
        play.recall(RedirectMode::On);
        play.stage.tell(Input::Displaced(why));
        play.parts();
    }
}
