//! LOCAL INFILE: files that a client sends in the middle of a reply.

use super::*;

#[test]
fn a_file_is_sent_up_to_its_empty_packet_and_then_the_reply_goes_on() {
    for cut in [1, 3, 1000] {
        let mut stage = Stage::working();
        stage.cut = cut;
        stage.show(Side::Client, &query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"));
        stage.show(Side::Server, &packet(1, b"\xfbf"));
        stage.take_server();
        let file = [packet(2, b"a,b\n"), packet(3, b""), query("SELECT 1")].concat();
        let waiting = stage.show(Side::Client, &file);
        assert_eq!(waiting, query("SELECT 1"), "the next command waits");
        assert_eq!(stage.take_server(), file[..file.len() - waiting.len()]);
        stage.show(Side::Server, &packet(4, &ok(StatusFlags::AUTOCOMMIT)));
        assert_eq!(stage.session.activity(), "idle");
    }
}

#[test]
fn a_server_that_answers_before_it_has_the_whole_file_is_heard_and_the_rest_still_goes_to_it() {
    for cut in [1, 3, 1000] {
        let mut stage = Stage::working();
        stage.cut = cut;
        stage.show(Side::Client, &query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"));
        stage.show(Side::Server, &packet(1, b"\xfbf"));
        stage.show(Side::Client, &packet(2, b"a,b\n"));
        stage.take_client();
        stage.take_server();
        let error = packet(3, b"\xff\x7a\x04#42S02Table 'shop.t' doesn't exist");
        assert_eq!(stage.show(Side::Server, &error), b"");
        assert_eq!(stage.take_client(), error);
        let rest = [packet(3, b"c,d\n"), packet(4, b"")].concat();
        assert_eq!(stage.show(Side::Client, &[rest.clone(), query("SELECT 1")].concat()), b"");
        assert_eq!(stage.take_server(), [rest, query("SELECT 1")].concat(), "cut at {cut}");
        stage.show(Side::Server, &result());
        assert_eq!(stage.take_client(), result());
        assert_eq!(stage.ending(), None);
    }
}

#[test]
fn a_server_that_asks_for_a_file_out_of_turn_is_not_given_one() {
    let file_request = packet(1, b"\xfbf");
    let load = query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t");
    let mut twice = Stage::working();
    twice.show(Side::Client, &load);
    twice.show(Side::Server, &file_request);
    twice.show(Side::Server, &file_request);
    assert_eq!(twice.ending(), Some(Ending::ServerProtocol));

    let mut early = Stage::working();
    early.show(Side::Client, &load[..load.len() - 1]);
    early.show(Side::Server, &file_request);
    assert_eq!(early.ending(), Some(Ending::ServerProtocol));
}

#[test]
fn a_server_lost_after_it_got_a_file_gives_an_error_that_follows_the_files_packets() {
    let mut stage = Stage::working();
    stage.show(Side::Client, &query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"));
    stage.show(Side::Server, &packet(1, b"\xfbf"));
    stage.show(Side::Client, &[packet(2, b"a,b\n"), packet(3, b"c,d\n"), packet(4, b"")].concat());
    stage.take_client();
    stage.tell(Input::Closed(Side::Server));
    assert_eq!(error_of(&stage.take_client()).0, 5);
}
