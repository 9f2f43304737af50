//! Clients that are sent elsewhere.

use super::*;

#[test]
fn clients_are_sent_where_they_can_be_told_of_and_not_back() {
    let settings =
        right(&format!("{MINIMAL}[instant_failover]\nmode = \"on\"\ntarget = \"lb2:3307\"\n")).instant_failover;
    assert_eq!((settings.mode, settings.error_code), (RedirectMode::On, 4196));
    assert_eq!(settings.target.map(|target| target.to_string()).as_deref(), Some("lb2:3307"));
    assert_eq!(right(MINIMAL).instant_failover.mode, RedirectMode::Off);

    let added = |line: &str| format!("[instant_failover]\n{line}\n");
    check_added(
        &added("mode = \"all\""),
        "21:8: clients are to be sent elsewhere: write `target = \"host:port\"`, or \"off\"",
    );
    let advice = "write a host name or an IPv4 address and a port, like \"lb2.example.com:3306\"";
    for target in ["unix:/run/lb2.sock", "[2001:db8::2]:3306"] {
        check_added(
            &added(&format!("mode = \"on\"\ntarget = \"{target}\"")),
            &format!("22:10: `target` cannot be \"{target}\", which no client takes: {advice}"),
        );
    }
    for (target, why) in [("lb2", "has no port in"), ("::1:0", "has no port from 1 to 65535 in")] {
        check_added(
            &added(&format!("target = \"{target}\"")),
            &format!("21:10: `target` {why} \"{target}\": {advice}"),
        );
    }
    check_added(
        &added("target = \"0.0.0.0:3306\""),
        "21:10: a listener of this file has the address \"0.0.0.0:3306\": write another one",
    );
    check_added(&added("text = \"go | to\""), "21:8: `text` cannot have a |, which ends it for clients: leave it out");
}

#[test]
fn connectors_that_follow_a_url_are_those_that_are_known_or_those_that_are_listed() {
    let of = |added: &str| right(&format!("{MINIMAL}[instant_failover]\n{added}\n")).instant_failover;
    let names = |settings: &InstantFailover| {
        settings.followers.iter().map(|follower| follower.name.clone()).collect::<Vec<_>>()
    };
    let known = of("redirect_url = \"followers\"");
    assert_eq!((known.redirect_url, names(&known).len()), (RedirectUrl::Followers, 2));
    let listed = of("follower = [{ name = \"MySqlConnector\", from = \"2.4\" }]");
    assert_eq!(names(&listed), ["MySqlConnector"]);
    assert_eq!(listed.followers[0].from.map(|from| from.to_string()).as_deref(), Some("2.4.0"));
    check_added(
        "[[instant_failover.follower]]\nname = \"x\"\nfrom = \"new\"\n",
        "22:8: `from` cannot be \"new\": write the numbers of a release, like \"3.4.0\"",
    );
}

#[test]
fn only_a_user_of_one_server_can_be_handed_on_to_it() {
    assert_eq!(right(&format!("{MINIMAL}handoff = true\n")).users[0].handoff, Handoff::ToServer);
    assert_eq!(right(MINIMAL).users[0].handoff, Handoff::Never);
    let problem =
        |what: &str| format!("clients that are sent on to a server cannot have {what}: leave one of the two out");
    check_added(
        "handoff = true\nbackend_reuse = \"transaction\"\n",
        &format!("20:11: {}", problem("`backend_reuse = \"transaction\"`, which needs us between the two")),
    );
    check(
        "pool = \"write\"\n",
        "split = { write = \"write\", read = \"write\" }\nhandoff = true\n",
        &format!("20:11: {}", problem("`split`, which needs two servers")),
    );
}

#[test]
fn clients_of_extra_listeners_and_unix_sockets_come_in_by_another_way() {
    let entrance =
        |written: &str| right(&MINIMAL.replacen("address = \"0.0.0.0:3306\"", written, 1)).listeners[0].entrance();
    assert_eq!(entrance("address = \"0.0.0.0:3306\""), Entrance::Ordinary);
    assert_eq!(entrance("address = \"0.0.0.0:3306\"\nextra = true"), Entrance::Exempt);
    assert_eq!(entrance("address = \"unix:/run/my.sock\""), Entrance::Exempt);
}
