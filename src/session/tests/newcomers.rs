//! Users without an entry: what is asked about them, and what a server's word on them leads to.

use super::*;
use crate::config::Encryption;
use crate::protocol::auth::{Secret, Verifier};

fn newcomer() -> Stage {
    let mut stage = Stage::between(open_table(), Admission::Welcome);
    assert_eq!(stage.log_in("newcomer", "secret", None), b"", "nothing is said before it is known who this may be");
    assert!(matches!(stage.wishes[..], [Output::Inquire]));
    assert_eq!(stage.session.inquirer(), Some(&b"newcomer"[..]));
    stage.wishes.clear();
    stage
}

fn known(password: &str) -> Verifier {
    Verifier::Cleartext(Secret::new(password))
}

/// In the greeting's way, which is the native one.
fn let_in(verifier: Verifier) -> Stage {
    let mut stage = newcomer();
    stage.tell(Input::Inquired(verifier));
    assert_eq!(stage.leases(), [None]);
    stage.leased(0);
    stage
}

#[test]
fn a_user_without_an_entry_is_judged_by_what_is_found_of_it() {
    let mut stage = let_in(known("secret"));
    assert_eq!(stage.server_lets_in().user, b"newcomer");
    assert_eq!(stage.take_client(), packet(2, &ok(StatusFlags::AUTOCOMMIT)));
    let is_learnt = |wish: &Output| matches!(wish, Output::Learnt { user, password } if user == b"newcomer" && *password == Secret::new("secret"));
    assert!(stage.wishes.iter().any(is_learnt), "what a server accepted is told: {:?}", stage.wishes);
}

#[test]
fn what_does_not_match_is_refused_like_any_wrong_password_and_makes_the_accounts_doubted() {
    let mut stage = newcomer();
    stage.tell(Input::Inquired(known("other")));
    let text = "Access denied for user 'newcomer'@'10.1.2.3' (using password: YES)".to_owned();
    assert_eq!(error_of(&stage.take_client()), (2, 1045, text));
    assert!(matches!(stage.wishes[..], [Output::Doubt, Output::Close(Ending::LoginDenied)]), "{:?}", stage.wishes);
}

#[test]
fn what_a_server_is_to_judge_is_not_taken_in_clear() {
    let mut stage = newcomer();
    stage.tell(Input::Inquired(Verifier::ByServer(None)));
    let switch = stage.take_client();
    assert!(switch[HEADER_LENGTH..].starts_with(b"\xFEcaching_sha2_password\0"));
    stage.show(Side::Client, &packet(3, &[7; 32]));
    let (_, code, text) = error_of(&stage.take_client());
    assert_eq!(code, 3159);
    assert!(text.contains("let the client use TLS"), "{text}");
}

#[test]
fn a_password_that_its_server_refuses_is_told_and_is_no_fault_of_the_server() {
    for (code, is_told) in [(1045_u16, true), (1049, false)] {
        let mut stage = let_in(known("secret"));
        stage.show(Side::Server, &greeting_packet());
        let [low, high] = code.to_le_bytes();
        stage.show(Side::Server, &packet(2, &[&[0xFF, low, high], &b"#28000no"[..]].concat()));
        assert_eq!(error_of(&stage.take_client()), (2, code, "no".to_owned()), "in the server's words");
        let told = stage.wishes.iter().any(|wish| matches!(wish, Output::Unlearnt { user, .. } if user == b"newcomer"));
        assert_eq!(told, is_told, "{code}");
        assert!(stage.wishes.iter().any(|wish| matches!(wish, Output::Doubt)), "the account may be another one now");
        assert!(!stage.wishes.iter().any(|wish| matches!(wish, Output::Report(..))), "{:?}", stage.wishes);
    }
}

/// A server asks whom it has not, too, for the plugin of some account.
#[test]
fn who_is_asked_for_what_is_not_known_of_it_may_be_gone() {
    let hash = Verifier::parse_hash("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7").expect("of `secret`");
    let mut stage = let_in(hash);
    stage.show(Side::Server, &greeting_packet());
    stage.show(Side::Server, &packet(2, &[&b"\xFEclient_ed25519\0"[..], &[7; 32], &b"\0"[..]].concat()));
    let (_, code, text) = error_of(&stage.take_client());
    assert_eq!(code, 1158);
    assert!(text.contains("ed25519"), "{text}");
    assert!(stage.wishes.iter().any(|wish| matches!(wish, Output::Doubt)), "{:?}", stage.wishes);
    assert!(!stage.wishes.iter().any(|wish| matches!(wish, Output::Report(..))), "{:?}", stage.wishes);
}

#[test]
fn who_has_an_entry_is_not_asked_about() {
    let mut stage = Stage::between(open_table(), Admission::Welcome);
    stage.log_in("app", "secret", None);
    assert_eq!(stage.leases(), [None]);
    stage.leased(0);
    stage.server_lets_in();
    assert!(!stage.wishes.iter().any(|wish| matches!(wish, Output::Inquire | Output::Learnt { .. })));
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let mut stage = newcomer();
    stage.tell(Input::Closed(Side::Client));
    stage.wishes.clear();
    stage.tell(Input::Inquired(known("secret")));
    assert!(stage.wishes.is_empty(), "{:?}", stage.wishes);
}

/// A hash that is meant to take long, of no password.
fn slow() -> Verifier {
    Verifier::parse_hash(&format!("$A$005${}{}", "s".repeat(20), ".".repeat(43))).expect("the form of MySQL")
}

/// Asked for the password in clear, and given the key to encrypt it with.
fn with_key() -> Stage {
    let mut stage = newcomer();
    stage.tell(Input::Inquired(slow()));
    assert!(stage.take_client()[HEADER_LENGTH..].starts_with(b"\xFEcaching_sha2_password\0"));
    stage.show(Side::Client, &packet(3, &[7; 32]));
    assert_eq!(stage.take_client(), packet(4, &[1, 4]));
    stage.show(Side::Client, &packet(5, &[2]));
    assert!(stage.take_client()[HEADER_LENGTH..].starts_with(b"\x01-----BEGIN PUBLIC KEY"));
    stage
}

#[test]
fn what_takes_long_to_judge_waits_for_its_time() {
    let mut stage = with_key();
    stage.show(Side::Client, &packet(7, &[9; 256]));
    assert!(matches!(stage.wishes[..], [Output::Reckon]), "{:?}", stage.wishes);
    assert_eq!(stage.show(Side::Client, b"early"), b"early", "nothing is heard meanwhile");
    assert_eq!(stage.take_client(), b"");
    stage.tell(Input::Reckon);
    assert_eq!(error_of(&stage.take_client()).1, 1045);
}

#[test]
fn who_goes_before_its_time_has_come_is_not_judged() {
    let mut stage = with_key();
    stage.show(Side::Client, &packet(7, &[9; 256]));
    stage.tell(Input::Closed(Side::Client));
    stage.wishes.clear();
    stage.tell(Input::Reckon);
    assert!(stage.wishes.is_empty(), "{:?}", stage.wishes);
}

#[test]
fn a_password_inside_tls_waits_too_if_its_hash_is_slow() {
    for (verifier, is_put_off) in [(slow(), true), (known("secret"), false)] {
        let offer = TlsOffer { demand: Encryption::Preferred, fingerprint: [7; 32] };
        let mut stage = Stage::offered(open_table(), Admission::Welcome, Some(offer));
        stage.uses_tls = true;
        stage.opening = Some((b"mysql_clear_password".to_vec(), b"secret\0".to_vec()));
        stage.log_in("newcomer", "secret", None);
        stage.wishes.clear();
        stage.tell(Input::Inquired(verifier));
        assert_eq!(matches!(stage.wishes[..], [Output::Reckon]), is_put_off, "{:?}", stage.wishes);
    }
}
