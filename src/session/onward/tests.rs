//! What the OK of a login tells clients whose connectors follow `redirect_url`.

use super::{
    super::{Admission, Input, Loan, Side, stage::*},
    *,
};
use crate::{
    config::RedirectMode,
    protocol::{
        attributes,
        packet::{HEADER_LENGTH, Header},
        response::{OK_HEADER, OkPacket},
        status::StatusFlags,
    },
    topology::{Existing, Redirect, RoutingTable},
};

/// New clients are sent to `lb2:3307`, followers by its address alone.
fn redirecting(redirect_url: RedirectUrl) -> RoutingTable {
    redirecting_with(redirect_url, Existing::Stay)
}

fn redirecting_with(redirect_url: RedirectUrl, existing: Existing) -> RoutingTable {
    let mut beliefs = beliefs(&server_greeting());
    let mut settings =
        beliefs.config().instant_failover.commanded(RedirectMode::On, Target::new("lb2", 3307)).expect("a target");
    settings.redirect_url = redirect_url;
    beliefs.redirect(Redirect::commanded(settings, existing));
    beliefs.table()
}

/// A client that says it is this.
fn client(table: RoutingTable, name: &str, version: &str) -> Stage {
    let mut stage = Stage::between(table, Admission::Welcome);
    attributes::append(&mut stage.attributes, b"_client_name", name.as_bytes());
    attributes::append(&mut stage.attributes, b"_client_version", version.as_bytes());
    stage
}

fn follower(table: RoutingTable) -> Stage {
    client(table, "MariaDB Connector/J", "3.4.1")
}

/// What the OK that ends a login says of `redirect_url`.
fn told(heard: &[u8]) -> Option<String> {
    let ok = OkPacket::parse(&heard[HEADER_LENGTH..], SERVER_CAPABILITIES).expect("an OK");
    let trackers = ok.trackers.unwrap_or_default();
    session_track::iterate(&trackers).find_map(|tracker| match tracker.expect("it is well formed") {
        Tracker::SystemVariables(changes) => {
            let (_, value) = changes.iterate().find(|(name, _)| *name == REDIRECT_URL)?;
            Some(String::from_utf8_lossy(value).into_owned())
        }
        _ => None,
    })
}

/// The end of a login at a server that says these trackers.
fn logs_in(stage: &mut Stage, user: &str, trackers: Option<&[u8]>) -> Vec<u8> {
    assert_eq!(stage.log_in(user, "secret", None), b"");
    stage.leased(0);
    stage.show(Side::Server, &greeting_packet());
    stage.take_server();
    let ok =
        OkPacket { status: StatusFlags::AUTOCOMMIT, trackers: trackers.map(<[u8]>::to_vec), ..OkPacket::default() };
    let mut payload = Vec::new();
    ok.encode(OK_HEADER, SERVER_CAPABILITIES, &mut payload);
    stage.show(Side::Server, &packet(2, &payload));
    stage.take_client()
}

#[test]
fn a_connector_that_follows_is_let_in_and_told_where_to_go() {
    let mut stage = follower(redirecting(RedirectUrl::Followers));
    assert_eq!(told(&logs_in(&mut stage, "app", None)).as_deref(), Some("mariadb://lb2:3307"));
    assert_eq!(stage.ending(), None, "going there is up to the client");
    stage.show(Side::Client, &query("SELECT 1"));
    assert_eq!(stage.take_server(), query("SELECT 1"));
}

#[test]
fn whoever_might_not_follow_gets_the_error() {
    let table = || redirecting(RedirectUrl::Followers);
    let mut untracked = follower(table());
    untracked.lacking = Capabilities::SESSION_TRACK;
    for mut stage in [
        untracked,
        client(table(), "MariaDB Connector/J", "3.5.3"),
        client(table(), "MariaDB connector/Node", "3.4.5"),
        Stage::between(table(), Admission::Welcome),
        follower(redirecting(RedirectUrl::Off)),
    ] {
        assert_eq!(error_of(&stage.log_in("app", "secret", None)).1, 4196);
    }
}

#[test]
fn nobody_is_told_anything_while_nobody_is_sent() {
    assert_eq!(told(&logs_in(&mut follower(table()), "app", None)), None);
}

#[test]
fn a_user_is_handed_on_to_the_server_that_was_chosen() {
    assert_eq!(told(&logs_in(&mut follower(table()), "handed", None)).as_deref(), Some("mariadb://127.0.0.1:3307"));
    assert_eq!(told(&logs_in(&mut client(table(), "libmariadb", "3.4.2"), "handed", None)), None);
    let mut leaving = follower(redirecting(RedirectUrl::Followers));
    let heard = logs_in(&mut leaving, "handed", None);
    assert_eq!(told(&heard).as_deref(), Some("mariadb://lb2:3307"), "the whole balancer is in maintenance");
}

#[test]
fn a_servers_own_redirect_never_reaches_a_client() {
    let mut trackers = Vec::new();
    session_track::append_variable(&mut trackers, b"autocommit", b"ON");
    let kept = trackers.clone();
    session_track::append_variable(&mut trackers, REDIRECT_URL, b"mariadb://elsewhere:1");
    for mut stage in [follower(table()), Stage::new()] {
        let heard = logs_in(&mut stage, "app", Some(&trackers));
        let ok = OkPacket::parse(&heard[HEADER_LENGTH..], SERVER_CAPABILITIES).expect("an OK");
        assert_eq!(ok.trackers.as_deref(), Some(&kept[..]));
    }
    let mut stage = follower(redirecting(RedirectUrl::Followers));
    assert_eq!(told(&logs_in(&mut stage, "app", Some(&trackers))).as_deref(), Some("mariadb://lb2:3307"));
}

#[test]
fn a_change_of_user_hands_nobody_on() {
    let mut stage = follower(table());
    logs_in(&mut stage, "app", None);
    stage.change_user("handed", "secret");
    stage.leased(1);
    stage.server_lets_in();
    assert_eq!(told(&stage.take_client()), None);
}

#[test]
fn who_is_lent_a_connection_at_once_is_told_all_the_same() {
    let mut stage = follower(redirecting(RedirectUrl::Followers));
    assert_eq!(stage.log_in("lent", "secret", None), b"");
    stage.tell(Input::Lent(Loan { side: Side::Server, facts: facts(2), is_own: false, schema: None }));
    // The connection is made like a fresh one before the login is over.
    for _ in 0..10 {
        let said = stage.take_server();
        let mut rest = &said[..];
        while let Some(header) = Header::parse(rest) {
            stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
            rest = &rest[HEADER_LENGTH + header.payload_length as usize..];
        }
    }
    assert_eq!(told(&stage.take_client()).as_deref(), Some("mariadb://lb2:3307"));
}

/// A follower that works here, until its balancer says that sessions are to leave.
fn recalled(user: &str) -> Stage {
    let mut stage = follower(table());
    logs_in(&mut stage, user, None);
    stage.table = redirecting_with(RedirectUrl::Followers, Existing::Leave);
    stage.tell(Input::Recall);
    assert_eq!(stage.take_client(), b"", "nothing is said unasked");
    stage
}

/// A command that the server answers with an OK: what the client hears.
fn says(stage: &mut Stage, text: &str, status: StatusFlags, trackers: &[u8]) -> Vec<u8> {
    stage.show(Side::Client, &query(text));
    let trackers = (!trackers.is_empty()).then(|| trackers.to_vec());
    let mut payload = Vec::new();
    OkPacket { status, trackers, ..OkPacket::default() }.encode(OK_HEADER, SERVER_CAPABILITIES, &mut payload);
    stage.show(Side::Server, &packet(1, &payload));
    stage.take_server();
    stage.take_client()
}

const IN_TRANSACTION: StatusFlags = StatusFlags(StatusFlags::AUTOCOMMIT.0 | StatusFlags::IN_TRANS.0);

#[test]
fn a_recalled_follower_hears_where_to_go_with_the_next_ok_outside_a_transaction_and_then_no_more() {
    for cut in [usize::MAX, 1, 5] {
        let mut stage = recalled("app");
        stage.cut = cut;
        stage.show(Side::Client, &query("SELECT a FROM t"));
        stage.show(Side::Server, &result());
        assert_eq!(stage.take_client(), result(), "rows are not touched");
        assert_eq!(told(&says(&mut stage, "BEGIN", IN_TRANSACTION, b"")), None);
        let more = StatusFlags::AUTOCOMMIT | StatusFlags::MORE_RESULTS;
        assert_eq!(told(&says(&mut stage, "COMMIT; DO 1", more, b"")), None);
        stage.show(Side::Server, &packet(2, &ok(StatusFlags::AUTOCOMMIT)));
        assert_eq!(told(&stage.take_client()).as_deref(), Some("mariadb://lb2:3307"));
        assert_eq!(stage.ending(), None, "going there is up to the client");
        stage.show(Side::Client, &query("DO 2"));
        assert_eq!(error_of(&stage.take_client()).1, 4196, "it has not gone");
    }
}

#[test]
fn a_follower_that_is_kept_before_it_heard_anything_hears_nothing() {
    let mut stage = recalled("app");
    stage.table = table();
    stage.tell(Input::Recall);
    for _ in 0..2 {
        assert_eq!(told(&says(&mut stage, "DO 1", StatusFlags::AUTOCOMMIT, b"")), None);
    }
}

#[test]
fn what_a_session_sets_of_redirects_itself_leads_nowhere() {
    let mut of_server = Vec::new();
    session_track::append_variable(&mut of_server, REDIRECT_URL, b"");
    let mut trackers = Vec::new();
    session_track::append_variable(&mut trackers, REDIRECT_URL, b"mariadb://elsewhere:1");
    session_track::append_variable(&mut trackers, b"autocommit", b"ON");
    let mut stage = follower(table());
    logs_in(&mut stage, "app", Some(&of_server));
    let heard = says(
        &mut stage,
        "SET redirect_url = 'mariadb://elsewhere:1', autocommit = 1",
        StatusFlags::AUTOCOMMIT,
        &trackers,
    );
    let ok = OkPacket::parse(&heard[HEADER_LENGTH..], SERVER_CAPABILITIES).expect("an OK");
    let mut kept = Vec::new();
    session_track::append_variable(&mut kept, b"autocommit", b"ON");
    assert_eq!(ok.trackers, Some(kept));
}
