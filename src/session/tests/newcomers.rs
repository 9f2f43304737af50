//! Users without an entry: what is asked about them, and what a server's word on them leads to.

use super::*;
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
