//! Logins that servers send on.

use super::{
    super::{Admission, Ending, Input, LeaseFailure, Output, Side, stage::*},
    *,
};
use crate::{
    config::RedirectMode,
    protocol::{error_code::ErrorCode, handshake::HandshakeResponse, session_track},
    topology::Existing,
};

/// An error that sends clients elsewhere.
fn refusal(code: u16, message: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    ErrPacket { code: ErrorCode(code), state: Some(*b"HY000"), message: message.into() }.encode(&mut payload);
    packet(2, &payload)
}

impl Stage {
    /// A login at this server, which answers with an error.
    fn refused_at(&mut self, server: u32, code: u16, message: &str) {
        self.leased(server);
        self.show(Side::Server, &greeting_packet());
        self.take_server();
        self.show(Side::Server, &refusal(code, message));
    }

    /// Where the last search is to go.
    fn lead(&self) -> Option<Lead> {
        let leads = |wish: &Output| match wish {
            Output::Lease(want) => Some(want.lead.clone()),
            _ => None,
        };
        self.wishes.iter().rev().find_map(leads).expect("a server is searched for")
    }

    /// The configured server where the last search is to go.
    fn preferred(&self) -> Option<ServerId> {
        match self.lead()? {
            Lead::Configured(server) => Some(server),
            Lead::Outside { target, .. } => panic!("outside, at {target}"),
        }
    }

    /// The connection that was asked for last stands.
    fn at_outside(&mut self, count: u32, target: &str) {
        let id = ServerId::outside(count).expect("a number");
        self.tell(Input::Leased(ServerFacts { id, name: target.into(), ..facts(0) }));
    }

    fn is_reported_leaving(&self, server: u32) -> bool {
        let is_it = |wish: &Output| matches!(wish, Output::Report(id, Failure::Leaving) if id.0 == server);
        self.wishes.iter().any(is_it)
    }

    /// What the client hears when no server is left.
    fn gives_up(&mut self) -> String {
        self.tell(Input::LeaseFailed(LeaseFailure::NoServer("none".to_owned())));
        let (_, code, text) = error_of(&self.take_client());
        assert_eq!((code, self.ending()), (1158, Some(Ending::ServerDenied)));
        text
    }
}

#[test]
fn a_login_goes_where_a_server_sends_it() {
    for code in [4196, 4200] {
        let mut stage = Stage::new();
        stage.log_in("app", "secret", None);
        stage.refused_at(0, code, "|in maintenance|127.0.0.1:3308");
        assert!(stage.is_reported_leaving(0));
        assert_eq!((stage.leases(), stage.preferred()), (vec![None, Some(ServerId(0))], Some(ServerId(1))));
        assert_eq!(stage.to_client, b"", "the client does not notice");
        stage.leased(1);
        stage.server_lets_in();
        assert_eq!(stage.session.activity(), "idle");
    }
}

#[test]
fn the_code_that_is_configured_counts_too_and_no_other() {
    let mut table = table();
    let mut redirect = (*table.redirect).clone();
    redirect.settings.error_code = 5000;
    table.redirect = Arc::new(redirect);
    let mut stage = Stage::between(table, Admission::Welcome);
    stage.log_in("app", "secret", None);
    stage.refused_at(0, 5000, "|in maintenance|127.0.0.1:3308");
    assert_eq!(stage.preferred(), Some(ServerId(1)));
    stage.refused_at(1, 5001, "|a|b");
    assert_eq!(error_of(&stage.take_client()), (2, 5001, "|a|b".to_owned()), "any other error is the client's to read");
}

#[test]
fn an_address_that_is_not_configured_is_not_followed_and_not_told() {
    let mut stage = Stage::new();
    stage.log_in("app", "secret", None);
    // The last one is a server of another cluster.
    for target in ["elsewhere:3306", "127.0.0.1", "127.0.0.1:3310"] {
        stage.refused_at(0, 4196, &format!("|in maintenance|{target}"));
        assert_eq!(stage.preferred(), None, "{target}");
    }
    let text = stage.gives_up();
    assert_eq!(
        text,
        "No server available: db1 sends its clients to 127.0.0.1:3310, which is no server of its cluster here"
    );
}

#[test]
fn a_circle_is_left_and_named() {
    let mut stage = Stage::new();
    stage.log_in("app", "secret", None);
    stage.refused_at(0, 4196, "||127.0.0.1:3308");
    stage.refused_at(1, 4196, "||127.0.0.1:3307");
    assert_eq!(stage.preferred(), None);
    assert_eq!(stage.gives_up(), "No server available: servers send their clients in a circle: db1 to db2 to db1");
}

#[test]
fn a_way_ends_after_eight_hops() {
    let server = |id: u32| ServerFacts { name: format!("s{id}").as_str().into(), ..facts(id) };
    let servers = (0..12).map(|id| {
        format!("[[cluster.shop.server]]\nname = \"s{id}\"\naddress = \"10.0.0.{id}:1\"\nrole = \"replica\"\n")
    });
    let text = format!(
        "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n[cluster.shop]\ntopology = \"static\"\n{}\
         [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\n[[user]]\nname = \"app\"\npassword = \"x\"\npool = \"read\"\n",
        servers.collect::<String>()
    );
    let table = crate::topology::testing::table_of(&text);
    let mut hops = Hops::default();
    for hop in 0..HOPS_MAX as u32 {
        let target = Target::new(&format!("10.0.0.{}", hop + 1), 1).expect("a target");
        assert_eq!(hops.sent(&server(hop), &target, &table), Ok(()));
        assert_eq!(hops.next(), Some(&Lead::Configured(ServerId(hop + 1))));
    }
    let target = Target::new("10.0.0.9", 1).expect("a target");
    let why = hops.sent(&server(8), &target, &table).expect_err("that is enough");
    assert_eq!(
        why,
        "more than 8 servers in a row send their clients on: s0 to s1 to s2 to s3 to s4 to s5 to s6 to s7 to s8"
    );
    assert_eq!(hops.next(), None);
}

#[test]
fn a_server_that_names_another_by_its_variable_is_leaving_and_used() {
    for (url, is_leaving) in [("mariadb://127.0.0.1:3308", true), ("", false), ("elsewhere", false)] {
        let mut stage = Stage::new();
        stage.log_in("app", "secret", None);
        stage.leased(0);
        stage.show(Side::Server, &greeting_packet());
        let mut trackers = Vec::new();
        session_track::append_variable(&mut trackers, b"redirect_url", url.as_bytes());
        stage.show(Side::Server, &packet(2, &ok_with_trackers(&trackers)));
        assert_eq!((stage.session.activity(), stage.is_reported_leaving(0)), ("idle", is_leaving), "{url}");
    }
}

#[test]
fn a_client_that_we_send_elsewhere_is_none_that_servers_send() {
    let mut beliefs = beliefs(&server_greeting());
    redirect(&mut beliefs, RedirectMode::On, Existing::Stay);
    let mut stage = Stage::between(beliefs.table(), Admission::Welcome);
    assert_eq!(error_of(&stage.log_in("app", "secret", None)).1, 4196);
    assert!(stage.leases().is_empty());
}

/// A login in a cluster that follows to any address.
fn following_anywhere() -> Stage {
    let text = CONFIG.replacen("[cluster.shop]\n", "[cluster.shop]\nfollow_redirects = \"any\"\n", 1);
    assert_ne!(text, CONFIG);
    Stage::between(beliefs_of(&text, &server_greeting()).table(), Admission::Welcome)
}

fn outside(host: &str, port: u16) -> Lead {
    Lead::Outside { target: Target::new(host, port).expect("a target"), sent_by: ServerId(0) }
}

/// How often the server is told that the login was sent on.
fn told(response: &HandshakeResponse) -> Vec<&[u8]> {
    let pairs = attributes::iterate(&response.attributes).filter(|(name, _)| *name == ATTRIBUTE);
    pairs.map(|(_, value)| value).collect()
}

#[test]
fn a_login_goes_outside_of_the_configuration_where_that_is_wanted() {
    for code in [4196, 4200] {
        let mut stage = following_anywhere();
        stage.log_in("app", "secret", None);
        stage.refused_at(0, code, "|in maintenance|elsewhere:3306");
        assert!(stage.is_reported_leaving(0));
        assert_eq!(stage.lead(), Some(outside("elsewhere", 3306)));
        stage.at_outside(0, "elsewhere:3306");
        let response = stage.server_lets_in();
        assert_eq!((stage.session.activity(), told(&response)), ("idle", vec![&b"1"[..]]));
        assert_eq!(stage.session.ties(), ["its server is not configured"], "it is not split");
    }
}

#[test]
fn who_was_sent_outside_may_be_sent_on_and_back_to_a_configured_server() {
    let mut stage = following_anywhere();
    stage.log_in("app", "secret", None);
    stage.refused_at(0, 4196, "||elsewhere:1");
    for (count, name, next, lead) in [
        (0, "elsewhere:1", "Farther:2", outside("Farther", 2)),
        (1, "Farther:2", "127.0.0.1:3308", Lead::Configured(ServerId(1))),
    ] {
        stage.at_outside(count, name);
        stage.show(Side::Server, &greeting_packet());
        stage.take_server();
        stage.show(Side::Server, &refusal(4196, &format!("||{next}")));
        assert_eq!(stage.lead(), Some(lead));
    }
    stage.leased(1);
    assert_eq!(told(&stage.server_lets_in()), [b"3"]);
}

#[test]
fn a_circle_through_addresses_that_are_not_configured_is_named() {
    let mut stage = following_anywhere();
    stage.log_in("app", "secret", None);
    stage.refused_at(0, 4196, "||elsewhere:1");
    stage.at_outside(0, "elsewhere:1");
    stage.show(Side::Server, &greeting_packet());
    stage.take_server();
    stage.show(Side::Server, &refusal(4196, "||ELSEWHERE:1"));
    assert_eq!(stage.lead(), None);
    let text = stage.gives_up();
    assert_eq!(text, "No server available: servers send their clients in a circle: db1 to elsewhere:1 to elsewhere:1");
}

#[test]
fn hops_before_this_balancer_count() {
    let mut stage = following_anywhere();
    attributes::append(&mut stage.attributes, ATTRIBUTE, b"7");
    stage.log_in("app", "secret", None);
    stage.refused_at(0, 4196, "||elsewhere:1");
    stage.at_outside(0, "elsewhere:1");
    stage.show(Side::Server, &greeting_packet());
    stage.take_server();
    stage.show(Side::Server, &refusal(4196, "||farther:1"));
    assert_eq!(
        stage.gives_up(),
        "No server available: more than 8 servers in a row send their clients on: db1 to elsewhere:1, and 7 before this \
         balancer; they may send them in a circle"
    );
    for (attribute, expected) in [(&b"8"[..], 8), (b"99999999999999999999", 0), (b"9", 8), (b"x", 0), (b"-1", 0)] {
        let mut attributes = Vec::new();
        attributes::append(&mut attributes, ATTRIBUTE, attribute);
        assert_eq!(Hops::told_by(&attributes).before, expected, "{}", attribute.escape_ascii());
    }
}

#[test]
fn an_address_where_nobody_answers_is_named_when_nobody_else_serves() {
    let mut stage = following_anywhere();
    stage.log_in("app", "secret", None);
    stage.refused_at(0, 4196, "||elsewhere:1");
    let text = stage.gives_up();
    assert_eq!(text, "No server available: db1 sends its clients to elsewhere:1, where nobody lets them in");
}
