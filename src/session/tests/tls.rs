//! TLS as a session knows it: who asks for it, who must have it, and what may be said inside.

use super::*;
use crate::{
    config::{Encryption, ServerDemand},
    protocol::{capability::Capabilities, response::OkPacket},
};

const FINGERPRINT: [u8; 32] = [7; 32];

fn offered(demand: Encryption, uses_tls: bool) -> Stage {
    let mut stage = Stage::offered(table(), Admission::Welcome, Some(TlsOffer { demand, fingerprint: FINGERPRINT }));
    stage.uses_tls = uses_tls;
    stage
}

/// The info of the OK that ends a login.
fn told(stage: &mut Stage) -> Vec<u8> {
    let bytes = stage.take_client();
    OkPacket::parse(&bytes[HEADER_LENGTH..], SERVER_CAPABILITIES).expect("an OK").info
}

#[test]
fn a_client_inside_tls_is_told_by_its_own_password_that_the_certificate_is_ours() {
    let mut stage = offered(Encryption::Preferred, true);
    stage.log_in("app", "secret", None);
    stage.leased(0);
    stage.server_lets_in();
    let info = told(&mut stage);
    assert_eq!((info.first(), info.len()), (Some(&1), 65));
    assert!(info[1..].iter().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(digit)));

    let mut stage = offered(Encryption::Preferred, false);
    stage.log_in("app", "secret", None);
    stage.leased(0);
    stage.server_lets_in();
    assert_eq!(told(&mut stage), b"", "there is no certificate to speak of");
}

#[test]
fn where_tls_is_required_nobody_logs_in_without() {
    let mut stage = offered(Encryption::Required, false);
    let (sequence, code, _) = error_of(&stage.log_in("app", "secret", None));
    assert_eq!((sequence, code), (2, 3159));
    assert_eq!(stage.ending(), Some(Ending::LoginDenied));

    let mut stage = offered(Encryption::Required, true);
    assert_eq!(stage.log_in("app", "secret", None), b"");
    assert_eq!(stage.leases(), [None]);
}

#[test]
fn tls_that_was_not_offered_or_has_begun_is_not_begun() {
    let request =
        packet(1, &[&(Capabilities::PROTOCOL_41 | Capabilities::SSL).low().to_le_bytes()[..], &[0; 28]].concat());
    let mut stage = Stage::new();
    stage.client_greeting();
    stage.show(Side::Client, &request);
    assert_eq!(error_of(&stage.take_client()).1, 1043);

    let mut stage = offered(Encryption::Preferred, true);
    assert!(stage.client_greeting().capabilities.contains(Capabilities::SSL));
    stage.show(Side::Client, &request);
    assert!(matches!(stage.wishes[..], [Output::StartTls(Side::Client)]));
    stage.show(Side::Client, &[&[32, 0, 0, 2], &request[HEADER_LENGTH..]].concat());
    assert_eq!(error_of(&stage.take_client()).1, 1043);
}

#[test]
fn a_failed_handshake_with_a_client_ends_its_session() {
    let mut stage = offered(Encryption::Preferred, true);
    stage.tell(Input::TlsFailed(Side::Client, "unknown authority".to_owned()));
    assert_eq!(stage.ending(), Some(Ending::ClientTls));
}

/// A session at the door of a server of which so much is asked, and that offers this.
fn at_door(demand: ServerDemand, offer: Capabilities) -> Stage {
    let mut stage = Stage::new();
    stage.log_in("app", "secret", None);
    stage.tell(Input::Leased(ServerFacts { way: ServerWay::Network(demand), ..facts(0) }));
    let mut greeting = server_greeting();
    greeting.capabilities |= offer;
    let mut payload = Vec::new();
    greeting.encode(&mut payload);
    stage.wishes.clear();
    stage.show(Side::Server, &packet(0, &payload));
    stage
}

#[test]
fn a_server_is_asked_for_tls_where_it_offers_it() {
    for demand in [ServerDemand::Preferred, ServerDemand::Required, ServerDemand::VerifyCa, ServerDemand::VerifyFull] {
        let mut stage = at_door(demand, Capabilities::SSL);
        assert!(matches!(stage.wishes[..], [Output::StartTls(Side::Server)]), "{demand:?}");
        let sent = stage.take_server();
        let (request, response) = sent.split_at(HEADER_LENGTH + 32);
        assert_eq!((request[3], response[3]), (1, 2), "the sequence goes on inside");
        let flags = u32::from_le_bytes(response[HEADER_LENGTH..][..4].try_into().expect("four bytes"));
        assert!(Capabilities(flags.into()).contains(Capabilities::SSL));
        assert_eq!(request[HEADER_LENGTH..], response[HEADER_LENGTH..HEADER_LENGTH + 32]);
        stage.show(Side::Server, &packet(3, &ok(StatusFlags::AUTOCOMMIT)));
        assert_eq!(stage.session.activity(), "idle");
    }
}

#[test]
fn a_server_without_tls_is_used_only_where_that_may_be() {
    for demand in [ServerDemand::Disabled, ServerDemand::Preferred] {
        let mut stage = at_door(demand, Capabilities::NONE);
        assert!(stage.wishes.is_empty());
        assert_eq!(read_response(&stage.take_server()).user, b"app");
    }
    let mut stage = at_door(ServerDemand::Required, Capabilities::NONE);
    assert_eq!(stage.take_server(), b"", "no proof of a password goes there");
    let (_, code, text) = error_of(&stage.take_client());
    assert_eq!((code, text.contains("does not offer TLS")), (1158, true), "{text}");
    let stage = at_door(ServerDemand::Disabled, Capabilities::SSL);
    assert!(stage.wishes.is_empty(), "nobody wants it");
}

#[test]
fn a_server_that_is_not_believed_is_left_for_another_and_the_client_hears_why_if_there_is_none() {
    let mut stage = at_door(ServerDemand::VerifyCa, Capabilities::SSL);
    stage.wishes.clear();
    stage.tell(Input::TlsFailed(Side::Server, "unknown issuer".to_owned()));
    assert_eq!(stage.leases(), [Some(ServerId(0))]);
    stage.tell(Input::LeaseFailed(LeaseFailure::NoServer("none".to_owned())));
    let (_, _, text) = error_of(&stage.take_client());
    assert!(text.contains("TLS failed: unknown issuer"), "{text}");
}

#[test]
fn a_password_in_clear_is_heard_inside_tls_only() {
    for uses_tls in [true, false] {
        let mut stage = offered(Encryption::Preferred, uses_tls);
        stage.opening = Some((b"mysql_clear_password".to_vec(), b"secret\0".to_vec()));
        let heard = stage.log_in("hashed", "", None);
        match uses_tls {
            true => assert_eq!(stage.leases(), [None], "it is the password of the hash"),
            false => assert_eq!(heard.get(HEADER_LENGTH), Some(&0xFE), "it is asked for a proof instead"),
        }
    }
}
