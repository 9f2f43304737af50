//! Both doors: networks and TLS towards clients and towards servers.

use super::*;

#[test]
fn servers_are_spoken_to_as_their_cluster_says_but_for_what_they_say_themselves() {
    let config = right(COMPLETE);
    let [first, second] = config.clusters[0].servers.as_slice() else { panic!("there are two") };
    assert_eq!(second.tls, config.clusters[0].tls);
    assert_eq!(second.tls.demand, ServerDemand::VerifyCa);
    assert_eq!(first.tls, ServerTls { demand: ServerDemand::VerifyFull, ..second.tls.clone() });
    let alone = right(MINIMAL);
    assert_eq!(
        alone.clusters[0].servers[0].tls,
        ServerTls { demand: ServerDemand::Disabled, ca: None, identity: None }
    );
    assert_eq!(alone.listeners[0].tls.demand, Encryption::Preferred);
}

#[test]
fn files_of_tls_come_in_pairs_and_with_what_they_are_for() {
    check(
        "address = \"0",
        "tls_certificate = \"a.pem\"\naddress = \"0",
        "3:19: a certificate needs its key: write `tls_key`, too",
    );
    check(
        "address = \"0",
        "tls_key = \"a.key\"\naddress = \"0",
        "3:11: a key needs its certificate: write `tls_certificate`, too",
    );
    check(
        "address = \"0",
        "require_client_certificate = true\naddress = \"0",
        "3:30: `require_client_certificate`: without `tls_client_ca` no certificate of a client can be believed: write it, \
         or leave this out",
    );
}

#[test]
fn relative_paths_of_tls_are_beside_the_configuration_file() {
    let config = right(COMPLETE).with_files_in(Path::new("/etc/sqluice"));
    let files = config.listeners[0].tls.identity.as_ref().expect("they were written");
    assert_eq!(files.certificate, Path::new("/etc/sqluice/tls/app.pem"));
    assert_eq!(config.listeners[0].tls.client_ca.as_deref(), Some(Path::new("/etc/sqluice/tls/clients.pem")));
    let server = &config.clusters[0].servers[0].tls;
    assert_eq!(server.ca.as_deref(), Some(Path::new("/etc/ssl/db-ca.pem")));
    assert_eq!(server.identity.as_ref().expect("of its cluster").key, Path::new("/etc/sqluice/tls/lb.key"));
}

#[test]
fn networks_are_a_list_of_texts() {
    let check = |written: &str, expected: &str| {
        check(
            "address = \"0",
            &format!("allow_from = {written}\naddress = \"0"),
            &format!("3:14: `allow_from` {expected}"),
        );
    };
    check("\"10.0.0.0/8\"", "is a text: write a list like [\"10.0.0.0/8\"]");
    check("[10]", "is a number: write a text in quotes");
    check("[\"ten\"]", "cannot be \"ten\": write networks like \"10.0.0.0/8\" or \"2001:db8::/32\"");
    let many = vec!["\"::1\""; limits::NETWORKS_MAX + 1].join(", ");
    check(&format!("[{many}]"), "has 257 networks: write at most 256");
}

#[test]
fn the_status_page_has_an_ip_address_and_a_port() {
    let admin = right(&format!("{MINIMAL}[admin]\nhttp = \"127.0.0.1:9104\"\nhttp_host = \"lb1\"\n")).admin;
    assert_eq!(admin.http, Some("127.0.0.1:9104".parse().expect("an address")));
    assert_eq!(admin.http_host.as_deref(), Some("lb1"));
    for wrong in ["localhost:9104", "127.0.0.1", "unix:/run/sqluice/http.sock"] {
        let expected = format!(
            "21:8: `http` needs an IP address and a port, not \"{wrong}\": write \"127.0.0.1:9104\" or \"[::1]:9104\""
        );
        check_added(&format!("[admin]\nhttp = \"{wrong}\"\n"), &expected);
    }
}
