//! What a session promises whoever it serves, between two fake ends.

#[path = "tests/doors.rs"]
mod doors;
#[path = "tests/files.rs"]
mod files;
#[path = "tests/killing.rs"]
mod killing;
#[path = "tests/newcomers.rs"]
mod newcomers;
#[path = "tests/timing.rs"]
mod timing;
#[path = "tests/tls.rs"]
mod tls;

use std::time::Duration;

use super::{stage::*, *};
use crate::{
    protocol::{
        auth::Login as ServerLogin,
        packet::{HEADER_LENGTH, Header},
        response::{OK_HEADER, OkPacket},
        status::StatusFlags,
    },
    testing::rounds,
    topology::{Failure, ServerId},
};

#[test]
fn a_session_id_tells_its_worker_and_is_not_a_servers_own() {
    let id = SessionId::new(7, 123);
    assert_eq!(id.worker(), 7);
    assert_eq!(SessionId::from_kill(u64::from(id.0)), Some(id));
    assert_eq!(SessionId::from_kill(123), None);
    assert_eq!(SessionId::from_kill(u64::from(id.0) << 8), None);
    assert_ne!(SessionId::new(7, 124), id);
}

#[test]
fn a_client_logs_in_and_its_server_sees_the_same_login() {
    let mut stage = Stage::new();
    assert_eq!(stage.log_in("app", "secret", Some("shop")), b"", "OK comes from the server");
    assert_eq!(stage.leases(), [None]);
    stage.leased(0);
    let response = stage.server_lets_in();
    assert_eq!(response.user, b"app");
    assert_eq!(response.database.as_deref(), Some(&b"shop"[..]));
    let address = crate::protocol::attributes::find(&response.attributes, b"_sqluice_client_address");
    assert_eq!(address, Some(&b"10.1.2.3"[..]));
    assert_eq!(stage.take_client(), packet(2, &ok(StatusFlags::AUTOCOMMIT)));
    assert_eq!(stage.session.activity(), "idle");
    assert!(stage.session.poll_timeout().is_none(), "an idle session has no deadline");
}

#[test]
fn the_double_hash_of_a_password_is_enough_to_log_in_at_a_native_server() {
    let mut stage = Stage::new();
    assert_eq!(stage.log_in("hashed", "secret", None), b"");
    stage.leased(0);
    stage.show(Side::Server, &greeting_packet());
    let ours = read_response(&stage.take_server()).auth_response;
    let (_, _, direct) = ServerLogin::begin(&server_greeting(), &credential("secret"));
    assert_eq!(ours, direct, "the same proof that the client itself would give");
}

#[test]
fn a_mapped_user_has_another_name_and_password_at_the_server() {
    let mut stage = Stage::new();
    stage.log_in("mapped", "secret", None);
    stage.leased(0);
    let response = stage.server_lets_in();
    assert_eq!(response.user, b"other");
    let elsewhere = credential("elsewhere");
    assert_eq!(response.auth_response, ServerLogin::begin(&server_greeting(), &elsewhere).2);
    assert_eq!(stage.session.user(), Some(&b"app"[..]).map(|_| &b"mapped"[..]));
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    for user in ["app", "nobody"] {
        let mut stage = Stage::new();
        let heard = stage.log_in(user, "wrong", None);
        let text = format!("Access denied for user '{user}'@'10.1.2.3' (using password: YES)");
        assert_eq!(error_of(&heard), (2, 1045, text));
        assert_eq!(stage.ending(), Some(Ending::LoginDenied));
        assert!(stage.leases().is_empty());
    }
}

#[test]
fn a_full_process_says_so_after_the_client_has_said_who_it_is() {
    let mut stage = Stage::admitted(Admission::Full);
    let heard = stage.log_in("app", "secret", None);
    assert_eq!(error_of(&heard), (2, 1040, "Too many connections".into()));
    assert_eq!(stage.ending(), Some(Ending::Limit));
}

#[test]
fn a_server_that_is_full_or_gone_is_reported_and_another_is_tried() {
    for (greeting, failure) in [
        (Some(packet(0, b"\xff\x10\x04Too many connections")), Failure::LoginRefused { code: 1040 }),
        (None, Failure::Reset),
        (Some(packet(0, b"HTTP/1.1 400 Bad Request")), Failure::Malformed),
    ] {
        let mut stage = Stage::new();
        stage.log_in("app", "secret", None);
        stage.leased(0);
        match greeting {
            Some(bytes) => drop(stage.show(Side::Server, &bytes)),
            None => stage.tell(Input::Closed(Side::Server)),
        }
        let reported =
            stage.wishes.iter().any(|wish| matches!(wish, Output::Report(ServerId(0), what) if *what == failure));
        assert!(reported, "{failure:?} in {:?}", stage.wishes);
        assert_eq!(stage.leases(), [None, Some(ServerId(0))]);
        assert_eq!(stage.to_client, b"", "the client does not notice");
        stage.leased(1);
        stage.server_lets_in();
        assert_eq!(stage.session.activity(), "idle");
    }
}

#[test]
fn an_error_about_the_account_or_the_schema_is_the_clients_to_read() {
    let mut stage = Stage::new();
    stage.log_in("app", "secret", Some("nowhere"));
    stage.leased(0);
    stage.show(Side::Server, &greeting_packet());
    stage.show(Side::Server, &packet(2, b"\xff\x19\x04#42000Unknown database 'nowhere'"));
    assert_eq!(error_of(&stage.take_client()), (2, 1049, "Unknown database 'nowhere'".into()));
    assert_eq!(stage.ending(), Some(Ending::ServerDenied));
}

#[test]
fn commands_and_replies_pass_unchanged_however_they_are_cut() {
    for cut in 1..rounds(40, 6) as usize {
        let mut stage = Stage::working();
        stage.cut = cut;
        assert_eq!(stage.show(Side::Client, &query("SELECT a FROM t")), b"");
        assert_eq!(stage.take_server(), query("SELECT a FROM t"), "cut at {cut}");
        assert_eq!(stage.show(Side::Server, &result()), b"");
        assert_eq!(stage.take_client(), result(), "cut at {cut}");
        assert_eq!(stage.session.activity(), "idle");
    }
}

/// MariaDB's status says "cursor" also when the cursor is a stored program's own; only the command tells them apart.
#[test]
fn a_cursor_is_one_only_if_the_client_asked_for_it() {
    let opened: Vec<u8> = (1..).zip([&b"\x01"[..], b"d", b"\xFE\0\0\x42\0"]).flat_map(|(n, p)| packet(n, p)).collect();
    let rows: Vec<u8> = (4..).zip([&b"\0\x011"[..], b"\xFE\0\0\x42\0"]).flat_map(|(n, p)| packet(n, p)).collect();
    for cut in [1, usize::MAX] {
        for (flags, is_over) in [(0, false), (1, true), (8, false), (9, true)] {
            let mut stage = Stage::working_without(Capabilities::DEPRECATE_EOF);
            stage.cut = cut;
            assert_eq!(stage.show(Side::Client, &command(0x17, &[1, 0, 0, 0, flags, 1, 0, 0, 0])), b"");
            stage.show(Side::Server, &opened);
            assert_eq!(stage.session.pins().is_empty(), is_over, "flags {flags}");
            if !is_over {
                stage.show(Side::Server, &rows);
            }
            assert_eq!(stage.session.activity(), "idle");
            assert_eq!(stage.ending(), None);
        }
    }
}

#[test]
fn a_command_sent_early_waits_for_the_reply_before_it() {
    let mut stage = Stage::working();
    let both = [query("SELECT 1"), query("SELECT 2")].concat();
    let waiting = stage.show(Side::Client, &both);
    assert_eq!(waiting, query("SELECT 2"));
    stage.show(Side::Server, &result());
    assert_eq!(stage.show(Side::Client, &waiting), b"");
    assert_eq!(stage.take_server(), both);
}

#[test]
fn a_command_without_reply_does_not_make_the_next_one_wait() {
    let mut stage = Stage::working();
    let close = command(0x19, &[1, 0, 0, 0]);
    assert_eq!(stage.show(Side::Client, &[close.clone(), query("SELECT 1")].concat()), b"");
    assert_eq!(stage.take_server(), [close, query("SELECT 1")].concat());
}

#[test]
fn a_server_lost_before_or_inside_a_reply_gives_an_error_with_the_right_sequence_id() {
    for (packets, sequence) in [(0, 1), (1, 2), (3, 4)] {
        let mut stage = Stage::working();
        stage.show(Side::Client, &query("SELECT 1"));
        let reply = result();
        let mut length = 0;
        for _ in 0..packets {
            length += HEADER_LENGTH + Header::parse(&reply[length..]).unwrap().payload_length as usize;
        }
        stage.show(Side::Server, if length == 0 { b"" } else { &reply[..length] });
        stage.take_client();
        stage.tell(Input::Closed(Side::Server));
        let (seen, code, text) = error_of(&stage.take_client());
        assert_eq!((seen, code), (sequence, 1158), "{text}");
        assert_eq!(stage.ending(), Some(Ending::ServerGone));
    }
}

#[test]
fn no_error_is_put_into_the_middle_of_a_packet() {
    let mut stage = Stage::working();
    stage.show(Side::Client, &query("SELECT 1"));
    let reply = result();
    stage.show(Side::Server, &reply[..reply.len() - 3]);
    stage.take_client();
    stage.tell(Input::Closed(Side::Server));
    assert_eq!(stage.take_client(), b"");
    assert_eq!(stage.ending(), Some(Ending::ServerGone));
}

#[test]
fn unknown_commands_are_answered_and_the_session_goes_on() {
    let mut stage = Stage::working();
    stage.show(Side::Client, &command(0xFE, b"whatever"));
    assert_eq!(error_of(&stage.take_client()), (1, 1047, "Unknown command".into()));
    stage.show(Side::Client, &query("SELECT 1"));
    assert_eq!(stage.take_server(), query("SELECT 1"));
    assert_eq!(stage.ending(), None);
}

#[test]
fn a_command_out_of_order_is_an_error_and_the_end() {
    let mut stage = Stage::working();
    stage.show(Side::Client, &packet(5, b"\x03SELECT 1"));
    assert_eq!(error_of(&stage.take_client()).1, 1156);
    assert_eq!(stage.ending(), Some(Ending::ClientProtocol));
}

#[test]
fn the_client_that_says_goodbye_is_followed_by_us() {
    let mut stage = Stage::working();
    stage.show(Side::Client, &command(0x01, b""));
    assert_eq!(stage.take_server(), command(0x01, b""));
    assert_eq!(stage.ending(), Some(Ending::Quit));
}

#[test]
fn the_reason_that_a_server_gives_before_it_hangs_up_reaches_the_client() {
    let goodbye = packet(0, b"\xff\xbf\x0f#HY000The client was disconnected by the server because of inactivity.");
    for cut in [1, 4, 5, usize::MAX] {
        let mut stage = Stage::working();
        stage.cut = cut;
        stage.show(Side::Server, &goodbye);
        assert_eq!(stage.take_client(), goodbye, "cut at {cut}");
        assert_eq!(stage.ending(), Some(Ending::ServerGone));
    }
}

#[test]
fn a_server_that_speaks_unasked_of_anything_else_is_not_heard() {
    for unasked in [packet(0, &ok(StatusFlags::AUTOCOMMIT)), packet(0, b""), packet(1, b"\xff")] {
        let mut stage = Stage::working();
        stage.show(Side::Server, &unasked);
        assert_eq!(stage.take_client(), b"");
        assert_eq!(stage.ending(), Some(Ending::ServerProtocol), "{unasked:?}");
    }
}

#[test]
fn a_drain_waits_for_the_end_of_the_transaction() {
    let mut stage = Stage::working();
    stage.show(Side::Client, &query("BEGIN"));
    stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT | StatusFlags::IN_TRANS)));
    assert_eq!(stage.session.pins(), ["transaction"]);
    stage.tell(Input::Drain(DrainReason::Shutdown));
    assert_eq!(stage.ending(), None);
    stage.show(Side::Client, &query("COMMIT"));
    stage.take_client();
    stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    assert_eq!(stage.take_client(), packet(1, &ok(StatusFlags::AUTOCOMMIT)), "the client hears that it committed");
    assert_eq!(stage.ending(), Some(Ending::Drained));
}

#[test]
fn change_user_proves_the_new_user_on_a_new_salt_and_gets_a_server_of_its_own() {
    let mut stage = Stage::working();
    stage.change_user("mapped", "secret");
    assert_eq!(stage.leases(), [None]);
    stage.leased(1);
    assert_eq!(stage.server_lets_in().user, b"other");
    assert_eq!(stage.take_client(), packet(3, &ok(StatusFlags::AUTOCOMMIT)));
}

#[test]
fn whether_a_text_may_hold_several_statements_is_kept_behind_a_change_of_user() {
    const MANY: Capabilities = Capabilities::MULTI_STATEMENTS;
    for (options, expected) in [
        (&[][..], true),
        (&[[1, 0]][..], false),
        (&[[1, 0], [0, 0]], true),
        // No server knows these.
        (&[[1, 0], [2, 0], [0, 1]], false),
    ] {
        for cut in [1, usize::MAX] {
            let mut stage = Stage::working();
            stage.cut = cut;
            for option in options {
                let chooses = packet(0, &[&[0x1B], &option[..]].concat());
                stage.show(Side::Client, &chooses);
                assert_eq!(stage.take_server(), chooses);
                stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
                stage.take_client();
            }
            stage.change_user("mapped", "secret");
            stage.leased(1);
            let login = stage.server_lets_in();
            assert_eq!(login.capabilities.contains(MANY), expected, "{options:?}, cut at {cut}");
        }
    }
}

#[test]
fn behind_a_change_of_user_nothing_is_told_of_variables() {
    let of_variables = [0, 4, 1, b'a', 1, b'1'];
    let of_schema = [1, 5, 4, b's', b'h', b'o', b'p'];
    for (sent, expected) in [(of_variables.to_vec(), None), ([&of_variables[..], &of_schema].concat(), Some(of_schema))]
    {
        let mut stage = Stage::working();
        stage.change_user("mapped", "secret");
        stage.leased(1);
        stage.show(Side::Server, &greeting_packet());
        stage.take_client();
        let ok = |trackers| {
            let mut payload = Vec::new();
            let ok = OkPacket { status: StatusFlags::AUTOCOMMIT, trackers, ..OkPacket::default() };
            ok.encode(OK_HEADER, SERVER_CAPABILITIES, &mut payload);
            payload
        };
        stage.show(Side::Server, &packet(2, &ok(Some(sent))));
        assert_eq!(stage.take_client(), packet(3, &ok(expected.map(|trackers| trackers.to_vec()))));
    }
}

#[test]
fn a_client_that_does_not_finish_its_login_is_told_and_closed() {
    let mut stage = Stage::new();
    stage.take_client();
    let deadline = stage.session.poll_timeout().expect("a login has a deadline");
    assert_eq!(deadline, stage.now + Duration::from_secs(10));
    stage.now = deadline;
    stage.tell(Input::Timeout);
    assert_eq!(error_of(&stage.take_client()).1, 1159);
    assert_eq!(stage.ending(), Some(Ending::LoginTimeout));
}

#[test]
fn a_session_without_server_says_why() {
    let mut stage = Stage::new();
    stage.log_in("app", "secret", None);
    stage.tell(Input::LeaseFailed(LeaseFailure::NoServer("db1 down: refused".into())));
    let (sequence, code, text) = error_of(&stage.take_client());
    assert_eq!((sequence, code), (2, 1158));
    assert!(text.contains("db1 down: refused"), "{text}");
    assert_eq!(stage.ending(), Some(Ending::NoServer));
}

proptest::proptest! {
    #[test]
    fn hostile_bytes_end_a_session_at_worst(
        client in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..400),
        server in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..400),
        cut in 1_usize..50,
    ) {
        let mut login = Stage::new();
        login.cut = cut;
        login.show(Side::Client, &client);
        let mut entering = Stage::new();
        entering.log_in("app", "secret", None);
        entering.leased(0);
        entering.cut = cut;
        entering.show(Side::Server, &server);
        let mut working = Stage::working();
        working.cut = cut;
        working.show(Side::Client, &client);
        working.show(Side::Server, &server);
        working.show(Side::Client, &query("SELECT 1"));
        working.show(Side::Server, &server);
    }
}

#[test]
fn a_drain_asked_for_while_a_command_passes_is_obeyed_when_its_last_byte_has_passed() {
    let long_data = command(0x18, &[1, 0, 0, 0, 0, 0, b'x']);
    let mut stage = Stage::working();
    stage.show(Side::Client, &long_data[..8]);
    stage.tell(Input::Drain(DrainReason::Shutdown));
    assert_eq!(stage.ending(), None, "a command is not cut off");
    stage.show(Side::Client, &long_data[8..]);
    assert_eq!(stage.take_server(), [long_data, command(0x01, b"")].concat());
    assert_eq!(stage.ending(), Some(Ending::Drained));

    // The server answers before it has the whole command.
    let text = query("INSERT INTO t VALUES (1)");
    let mut stage = Stage::working();
    stage.show(Side::Client, &text[..9]);
    stage.tell(Input::Drain(DrainReason::Shutdown));
    stage.show(Side::Server, &packet(1, b"\xff\x7a\x04#42S02Table 'shop.t' doesn't exist"));
    assert_eq!(stage.ending(), None);
    stage.show(Side::Client, &text[9..]);
    assert_eq!(stage.ending(), Some(Ending::Drained));
}

#[test]
fn a_login_at_a_server_that_leaves_the_configuration_goes_on_at_another() {
    let mut stage = Stage::new();
    stage.log_in("app", "secret", None);
    stage.leased(0);
    stage.tell(Input::Drain(DrainReason::ServerRemoved));
    assert_eq!(stage.leases(), [None, Some(ServerId(0))]);
    assert!(!stage.wishes.iter().any(|wish| matches!(wish, Output::Report(..))), "the server did nothing wrong");
    stage.leased(1);
    stage.server_lets_in();
    assert_eq!((stage.session.activity(), stage.ending()), ("idle", None));
}

#[test]
fn who_left_the_removed_server_as_another_user_is_not_sent_away_from_the_next_one() {
    let mut stage = Stage::working();
    stage.show(Side::Client, &query("BEGIN"));
    stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT | StatusFlags::IN_TRANS)));
    stage.tell(Input::Drain(DrainReason::ServerRemoved));
    stage.take_client();
    stage.take_server();
    stage.change_user("app", "secret");
    stage.leased(1);
    stage.server_lets_in();
    assert_eq!((stage.session.activity(), stage.ending()), ("idle", None));
}
