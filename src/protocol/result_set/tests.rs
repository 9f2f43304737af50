//! Replies in every framing and every cut, captured and made up.

use proptest::prelude::*;

use super::*;
use crate::protocol::{corpus, packet::write_packet, status::StatusFlags};

const EOF_MODE: Framing =
    Framing { deprecate_eof: false, optional_metadata: false, cache_metadata: false, progress: false };
const OK_MODE: Framing = Framing { deprecate_eof: true, ..EOF_MODE };

/// OK packet: nothing affected, this status, no warnings.
fn ok(header: u8, status: u8) -> Vec<u8> {
    vec![header, 0, 0, status, 0, 0, 0]
}

fn eof(status: u8) -> Vec<u8> {
    vec![0xFE, 0, 0, status, 0]
}

fn packets(payloads: &[&[u8]]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut sequence = 1;
    for payload in payloads {
        sequence = write_packet(&mut stream, sequence, payload);
    }
    stream
}

/// The reply must end with the last of the packets, with this status or error, in any cut. Rows are not looked at.
fn check(shape: ReplyShape, framing: Framing, payloads: &[&[u8]], expected: ReplyEnd) {
    let stream = packets(payloads);
    let whole = follow_all(Reply::new(shape, framing), &stream, usize::MAX);
    let found = whole.end.map_or_else(ReplyEnd::default, |(_, end, _)| end);
    let ReplyEnd { status, error, warnings, .. } = expected;
    let expected = ReplyEnd { status, error, warnings, ..found };
    let pieces = payloads.iter().map(|payload| payload.len() / PAYLOAD_MAX + 1).sum::<usize>() as u8;
    assert_eq!(whole.end, Some((stream.len(), expected, pieces.wrapping_add(1))), "{payloads:02x?}");
    for step in if stream.len() < 1000 { 1..40 } else { 65_535..65_537 } {
        assert_eq!(follow_all(Reply::new(shape, framing), &stream, step), whole, "in steps of {step}");
    }
}

fn check_error(shape: ReplyShape, framing: Framing, payloads: &[&[u8]], expected: ReplyError) {
    let stream = packets(payloads);
    for step in [usize::MAX, 1, 2, 3, 7] {
        let outcome = follow_all(Reply::new(shape, framing), &stream, step);
        assert_eq!((outcome.error, outcome.end), (Some(expected), None), "{payloads:02x?} in steps of {step}");
    }
}

fn status(bits: u16) -> ReplyEnd {
    ReplyEnd { status: Some(StatusFlags(bits)), ..ReplyEnd::default() }
}

const NO_STATUS: ReplyEnd = ReplyEnd {
    status: None,
    error: None,
    broke_off: false,
    warnings: 0,
    has_rows: false,
    had_rows: false,
    changed_rows: false,
    results: 0,
};

fn error(code: u16) -> ReplyEnd {
    ReplyEnd { error: Some(code), ..ReplyEnd::default() }
}

const SYNTAX_ERROR: &[u8] = b"\xFF\x28\x04#42000no";
const UNEXPECTED_ROW: ReplyError = ReplyError::Unexpected { first_byte: Some(0xFE) };

#[test]
fn warnings_are_those_of_the_last_result() {
    let with = |warnings| ReplyEnd { warnings, ..status(2) };
    let (eof, ok) = ([0xFE, 9, 1, 2, 0], [0, 0, 0, 2, 0, 9, 1]);
    check(ReplyShape::ResultSet, EOF_MODE, &[&[1], b"def", &[0xFE, 0, 0, 2, 0], &eof], with(265));
    check(ReplyShape::ResultSet, OK_MODE, &[&ok], with(265));
    check(ReplyShape::ResultSet, OK_MODE, &[&[0, 0, 0, 0x0A, 0, 9, 1], &[0, 0, 0, 2, 0, 0, 0]], with(0));
}

#[test]
fn a_reply_tells_whether_its_last_result_had_rows() {
    let has_rows = |framing, payloads: &[&[u8]]| {
        let outcome = follow_all(Reply::new(ReplyShape::ResultSet, framing), &packets(payloads), usize::MAX);
        outcome.end.map(|(_, end, _)| end.has_rows)
    };
    assert_eq!(has_rows(EOF_MODE, &[&[1], b"def", &eof(2), &eof(2)]), Some(true));
    assert_eq!(has_rows(OK_MODE, &[&[1], b"def", &ok(0xFE, 2)]), Some(true));
    assert_eq!(has_rows(OK_MODE, &[&ok(0, 2)]), Some(false));
    assert_eq!(has_rows(OK_MODE, &[SYNTAX_ERROR]), Some(false));
}

#[test]
fn a_reply_tells_what_ended_before_an_error() {
    let behind = |framing, payloads: &[&[u8]]| {
        let outcome = follow_all(Reply::new(ReplyShape::ResultSet, framing), &packets(payloads), usize::MAX);
        outcome.end.map(|(_, end, _)| (end.results, end.had_rows, end.error.is_some()))
    };
    const MORE: u8 = 0x0A;
    let report: &[u8] = b"\xFF\xFF\xFF\x01\x01\x01\0\0\0\x01a";
    let reports = Framing { progress: true, ..OK_MODE };
    for (framing, payloads, expected) in [
        (OK_MODE, &[SYNTAX_ERROR][..], (0, false, true)),
        (OK_MODE, &[&ok(0, MORE), SYNTAX_ERROR], (1, false, true)),
        (OK_MODE, &[&[1], b"def", &ok(0xFE, MORE), SYNTAX_ERROR], (1, true, true)),
        (EOF_MODE, &[&[1], b"def", &eof(MORE), &eof(MORE), SYNTAX_ERROR], (1, true, true)),
        (OK_MODE, &[&[1], b"def", &ok(0xFE, MORE), &ok(0, MORE), SYNTAX_ERROR], (2, true, true)),
        (OK_MODE, &[&[1], b"def", SYNTAX_ERROR], (0, false, true)),
        (EOF_MODE, &[&[1], b"def", &eof(2), b"\x01a", SYNTAX_ERROR], (0, false, true)),
        (OK_MODE, &[&[1], b"def", &ok(0xFE, MORE), &ok(0, 2)], (2, true, false)),
        (reports, &[report, &ok(0, MORE), report, SYNTAX_ERROR], (1, false, true)),
    ] {
        assert_eq!(behind(framing, payloads), Some(expected), "{payloads:02x?}");
    }
    let breaks_off = |payloads: &[&[u8]]| {
        let outcome = follow_all(Reply::new(ReplyShape::ResultSet, OK_MODE), &packets(payloads), usize::MAX);
        outcome.end.map(|(_, end, _)| end.broke_off)
    };
    assert_eq!(breaks_off(&[&[1], b"def", SYNTAX_ERROR]), Some(true));
    assert_eq!(breaks_off(&[&[1], b"def", b"\x01a", SYNTAX_ERROR]), Some(true));
    assert_eq!(breaks_off(&[&[1], b"def", &ok(0xFE, MORE), SYNTAX_ERROR]), Some(false));
    assert_eq!(breaks_off(&[SYNTAX_ERROR]), Some(false));
    let results: Vec<Vec<u8>> = std::iter::repeat_n(ok(0, MORE), 300).collect();
    let payloads: Vec<&[u8]> = results.iter().map(Vec::as_slice).chain([SYNTAX_ERROR]).collect();
    assert_eq!(behind(OK_MODE, &payloads), Some((255, false, true)));
}

#[test]
fn a_reply_tells_whether_rows_were_changed() {
    let changed = |payloads: &[&[u8]]| {
        let outcome = follow_all(Reply::new(ReplyShape::ResultSet, OK_MODE), &packets(payloads), usize::MAX);
        outcome.end.map(|(_, end, _)| end.changed_rows)
    };
    assert_eq!(changed(&[&[0, 0, 7, 2, 0, 0, 0]]), Some(false), "an insert id is no count");
    assert_eq!(changed(&[&[0, 3, 7, 2, 0, 0, 0]]), Some(true));
    assert_eq!(changed(&[&[0, 3, 7, 0x0A, 0, 0, 0], &[0, 0, 0, 2, 0, 0, 0]]), Some(false), "it is the last one's");
    assert_eq!(changed(&[&[1], b"def", &[0xFE, 3, 0, 2, 0, 0, 0]]), Some(false));
}

#[test]
fn captured_replies_end_with_their_last_byte() {
    let replies = corpus::replies();
    assert!(cfg!(miri) || replies.len() > 500, "the corpus is there: {}", replies.len());
    for reply in replies {
        let start = Reply::new(reply.shape, reply.framing);
        let whole = follow_all(start.clone(), &reply.bytes, usize::MAX);
        let end = whole.end.unwrap_or_else(|| panic!("{} did not end: {whole:?}", reply.title));
        assert_eq!(end.0, reply.bytes.len(), "{} {:?}", reply.title, reply.framing);
        assert_eq!(!whole.files.is_empty(), reply.title == "LOAD_DATA_LOCAL", "{}", reply.title);
    }
}

#[test]
fn captured_replies_end_alike_in_every_cut() {
    for reply in corpus::replies() {
        let start = Reply::new(reply.shape, reply.framing);
        let whole = follow_all(start.clone(), &reply.bytes, usize::MAX);
        for step in (1..40).chain([61, 127, 251]) {
            assert_eq!(follow_all(start.clone(), &reply.bytes, step), whole, "{} in steps of {step}", reply.title);
        }
    }
}

#[test]
fn bytes_behind_a_captured_reply_are_left() {
    for reply in corpus::replies() {
        let mut bytes = reply.bytes.clone();
        bytes.extend_from_slice(&[7, 0, 0, 1, 0xFE, 0xFF, 0]);
        let outcome = follow_all(Reply::new(reply.shape, reply.framing), &bytes, usize::MAX);
        assert_eq!(outcome.end.map(|end| end.0), Some(reply.bytes.len()), "{}", reply.title);
    }
}

#[test]
fn one_packet_is_a_whole_reply() {
    for framing in [EOF_MODE, OK_MODE] {
        check(ReplyShape::Simple, framing, &[&ok(0, 2)], status(2));
        check(ReplyShape::Simple, framing, &[&ok(0xFE, 2)], status(2));
        check(ReplyShape::Simple, framing, &[&eof(2)], status(2));
        check(ReplyShape::Simple, framing, &[SYNTAX_ERROR], error(1064));
        check(ReplyShape::Statistics, framing, &[b"Uptime: 1"], NO_STATUS);
        check(ReplyShape::Statistics, framing, &[b""], NO_STATUS);
        check(ReplyShape::ResultSet, framing, &[&ok(0, 3)], status(3));
    }
}

#[test]
fn rows_end_in_the_way_that_was_agreed_on() {
    check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"\x03def", &eof(2), b"\x011", &eof(0x22)], status(0x22));
    check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"\x03def", b"\x011", &ok(0xFE, 0x22)], status(0x22));
    check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"\x03def", &ok(0xFE, 2)], status(2));
}

#[test]
fn the_status_is_found_behind_numbers_of_any_width() {
    let wide = [&[0xFE][..], &[0xFE; 9], &[0xFE; 9], &[0x21, 0x40, 0, 0], b"\x00\x03abc"].concat();
    check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"\x03def", &wide], status(0x4021));
}

#[test]
fn first_bytes_of_rows_mean_nothing_but_the_end() {
    // An empty value or a binary row, a NULL, and a value of 64 KiB.
    let long = [&[0xFD, 0, 0, 1][..], &[b'x'; 1 << 16]].concat();
    check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(2), b"\x00", b"\xFB", &long, &eof(2)], status(2));
    check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"d", b"\x00", b"\xFB", &long, &ok(0xFE, 2)], status(2));
}

#[test]
#[cfg_attr(miri, ignore = "32 MiB of row")]
fn a_row_of_16_mib_is_not_the_end_though_it_begins_like_it() {
    let mut row = vec![0xFF; PAYLOAD_MAX + 9];
    row[..9].copy_from_slice(&[0xFE, 0, 0, 0, 1, 0, 0, 0, 0]);
    check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"d", &row, b"\x01x", &ok(0xFE, 2)], status(2));
    row.truncate(PAYLOAD_MAX);
    check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(2), &row, &eof(2)], status(2));
    // A later piece begins with data, here with what would be an error.
    row.resize(2 * PAYLOAD_MAX, 0xFF);
    check(ReplyShape::Fetch, OK_MODE, &[&row, &ok(0xFE, 0x80)], status(0x80));
}

#[test]
fn a_cursor_ends_a_reply_behind_its_column_definitions() {
    check(ReplyShape::Cursor, EOF_MODE, &[b"\x01", b"d", &eof(0x42)], status(0x42));
    check(ReplyShape::Cursor, OK_MODE, &[b"\x01", b"d", &ok(0xFE, 0x42)], status(0x42));
    check(ReplyShape::Fetch, EOF_MODE, &[b"\x00\x00", &eof(0xC2)], status(0xC2));
    check(ReplyShape::Fetch, EOF_MODE, &[SYNTAX_ERROR], error(1064));
}

#[test]
fn an_ok_behind_column_definitions_ends_a_result() {
    check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &ok(0, 2)], status(2));
}

#[test]
fn rows_follow_while_a_stored_program_has_a_cursor_of_its_own() {
    let call: [&[u8]; 6] = [b"\x01", b"d", &eof(0x4A), b"\x011", &eof(0x4A), &ok(0, 2)];
    for shape in [ReplyShape::ResultSet, ReplyShape::Cursor] {
        check(shape, EOF_MODE, &call, status(2));
    }
    check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(0x42), b"\x011", &eof(0x42)], status(0x42));
}

#[test]
fn results_follow_each_other_while_more_are_announced() {
    let call: [&[u8]; 7] = [b"\x01", b"d", b"\x011", &ok(0xFE, 0x0A), &ok(0, 0x0A), b"\x01", b"d"];
    let end = ok(0xFE, 0x0A);
    let ok = ok(0, 2);
    check(ReplyShape::ResultSet, OK_MODE, &[&call[..], &[&end, &ok]].concat(), status(2));
    check(ReplyShape::ResultSet, OK_MODE, &[&call[..], &[&end, SYNTAX_ERROR]].concat(), error(1064));
    // A status announces results only where there can be some.
    check(ReplyShape::Simple, OK_MODE, &[&[0, 0, 0, 0x0A, 0, 0, 0]], status(0x0A));
}

#[test]
fn a_result_behind_output_parameters_is_announced_before_them() {
    // MySQL 9.7; MariaDB announces it twice.
    let announcement = [0xFE, 0, 0, 0x0A, 0x10];
    for end in [eof(2), announcement.to_vec()] {
        let payloads: [&[u8]; 6] = [b"\x01", b"d", &announcement, b"\0\0\x07", &end, &ok(0, 2)];
        check(ReplyShape::ResultSet, EOF_MODE, &payloads, status(2));
    }
}

#[test]
fn an_error_ends_a_reply_anywhere() {
    let packets: [&[u8]; 4] = [b"\x02", b"d", b"d", b"\x00\x00"];
    for before in 0..=packets.len() {
        let payloads = [&packets[..before], &[SYNTAX_ERROR]].concat();
        check(ReplyShape::ResultSet, OK_MODE, &payloads, error(1064));
    }
    check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", SYNTAX_ERROR], error(1064));
    check(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(2), b"\x00", SYNTAX_ERROR], error(1064));
    check(ReplyShape::Prepare, EOF_MODE, &[SYNTAX_ERROR], error(1064));
    check(ReplyShape::FieldList, OK_MODE, &[SYNTAX_ERROR], error(1064));
    check(ReplyShape::Statistics, OK_MODE, &[SYNTAX_ERROR], error(1064));
}

#[test]
fn progress_reports_are_passed_over_only_if_agreed_on() {
    let report = b"\xFF\xFF\xFF\x01\x01\x02\xC4\x09\x00\x04copy";
    let framing = Framing { progress: true, ..OK_MODE };
    check(ReplyShape::ResultSet, framing, &[report, report, &ok(0, 2)], status(2));
    check(ReplyShape::Simple, framing, &[report, SYNTAX_ERROR], error(1064));
    check(ReplyShape::ResultSet, framing, &[b"\x01", report, b"d", report, b"\x011", report, &eof(2)], status(2));
    check(ReplyShape::ResultSet, OK_MODE, &[report], error(0xFFFF));
}

#[test]
fn definitions_may_be_left_out() {
    let framing = Framing { cache_metadata: true, ..OK_MODE };
    check(ReplyShape::ResultSet, framing, &[b"\x01\x00", b"\x011", &ok(0xFE, 2)], status(2));
    check(ReplyShape::ResultSet, framing, &[b"\x01\x01", b"d", b"\x011", &ok(0xFE, 2)], status(2));
    let framing = Framing { optional_metadata: true, ..EOF_MODE };
    check(ReplyShape::ResultSet, framing, &[b"\x01\x00", &eof(2), b"\x011", &eof(2)], status(2));
    check(ReplyShape::ResultSet, framing, &[&ok(0, 2)], status(2));
}

/// First packet of a prepare reply.
fn prepared(columns: u8, parameters: u8) -> Vec<u8> {
    vec![0, 1, 0, 0, 0, columns, 0, parameters, 0, 0, 0, 0]
}

#[test]
fn a_prepare_reply_is_counted() {
    let eof = &eof(2)[..];
    check(ReplyShape::Prepare, OK_MODE, &[&prepared(0, 0)], NO_STATUS);
    check(ReplyShape::Prepare, EOF_MODE, &[&prepared(0, 0)], NO_STATUS);
    check(ReplyShape::Prepare, OK_MODE, &[&prepared(2, 0), b"c", b"c"], NO_STATUS);
    check(ReplyShape::Prepare, OK_MODE, &[&prepared(0, 1), b"p"], NO_STATUS);
    check(ReplyShape::Prepare, OK_MODE, &[&prepared(1, 2), b"p", b"p", b"c"], NO_STATUS);
    check(ReplyShape::Prepare, EOF_MODE, &[&prepared(2, 0), b"c", b"c", eof], status(2));
    check(ReplyShape::Prepare, EOF_MODE, &[&prepared(0, 1), b"p", eof], status(2));
    check(ReplyShape::Prepare, EOF_MODE, &[&prepared(1, 2), b"p", b"p", eof, b"c", eof], status(2));
}

#[test]
fn a_prepare_reply_without_definitions_keeps_its_eofs() {
    let hidden = |columns, parameters| [prepared(columns, parameters), vec![0]].concat();
    let framing = Framing { optional_metadata: true, ..EOF_MODE };
    let eof = &eof(2)[..];
    check(ReplyShape::Prepare, framing, &[&hidden(0, 0)], NO_STATUS);
    check(ReplyShape::Prepare, framing, &[&hidden(1, 0), eof], status(2));
    check(ReplyShape::Prepare, framing, &[&hidden(1, 3), eof, eof], status(2));
    let framing = Framing { deprecate_eof: true, ..framing };
    check(ReplyShape::Prepare, framing, &[&hidden(1, 3)], NO_STATUS);
}

#[test]
fn a_field_list_has_no_count() {
    check(ReplyShape::FieldList, EOF_MODE, &[b"\x03def", b"\x03def", &eof(2)], status(2));
    check(ReplyShape::FieldList, OK_MODE, &[&ok(0xFE, 2)], status(2));
}

#[test]
fn a_file_is_asked_for_once_and_more_results_may_follow() {
    let mut reply = Reply::new(ReplyShape::ResultSet, OK_MODE);
    let request = packets(&[b"\xFBname", b"next"]);
    let followed = Followed { consumed: 9, progress: Progress::LocalInfile };
    assert_eq!(reply.follow(&request), Ok(followed));
    assert_eq!(reply.next_sequence(), 2);
    assert_eq!(reply.follow(&request[9..]), Ok(Followed { consumed: 0, ..followed }), "not before the file");
    reply.infile_sent();
    reply.set_sequence(4);
    assert_eq!(reply.next_sequence(), 4);
    let outcome = follow_all(reply, &packets(&[&ok(0, 0x0A), &ok(0, 2)]), 3);
    assert_eq!(outcome.end.unwrap().1, ReplyEnd { results: 2, ..status(2) });
    // A NULL in the first column of a row is no request.
    check(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"d", b"\xFB", &ok(0xFE, 2)], status(2));
}

#[test]
fn what_cannot_be_is_an_error() {
    let empty = ReplyError::Unexpected { first_byte: None };
    let cut = |field| ReplyError::Malformed(Malformed { field });
    check_error(ReplyShape::ResultSet, OK_MODE, &[b""], empty);
    check_error(ReplyShape::ResultSet, OK_MODE, &[b"\x01", b"d", b""], empty);
    check_error(ReplyShape::Simple, OK_MODE, &[b"\x01"], ReplyError::Unexpected { first_byte: Some(1) });
    check_error(ReplyShape::Prepare, OK_MODE, &[b"\x01"], ReplyError::Unexpected { first_byte: Some(1) });
    check_error(ReplyShape::Prepare, OK_MODE, &[b"\x00\x01"], cut("statement id"));
    check_error(ReplyShape::ResultSet, OK_MODE, &[b"\x00\x00"], cut("insert id"));
    check_error(ReplyShape::ResultSet, OK_MODE, &[b"\xFF\x01"], cut("error code"));
    check_error(ReplyShape::ResultSet, OK_MODE, &[b"\xFD\x00\x00\x01"], cut("column count"));
    check_error(
        ReplyShape::ResultSet,
        EOF_MODE,
        &[b"\x01", b"d", b"d"],
        ReplyError::Unexpected { first_byte: Some(b'd') },
    );
    check_error(ReplyShape::ResultSet, EOF_MODE, &[b"\x01", b"d", &eof(2), &ok(0xFE, 2)], UNEXPECTED_ROW);
}

#[test]
fn an_error_can_be_put_behind_whole_packets_only() {
    let stream = packets(&[b"\x01", b"d", b"\x011"]);
    let mut reply = Reply::new(ReplyShape::ResultSet, OK_MODE);
    assert_eq!((reply.next_sequence(), reply.is_inside_packet()), (1, false));
    reply.follow(&stream).unwrap();
    assert_eq!((reply.next_sequence(), reply.is_inside_packet()), (4, false));
    for cut in [1, 4, 5] {
        let mut reply = reply.clone();
        reply.follow(&[2, 0, 0, 4, 1, b'x'][..cut]).unwrap();
        assert!(reply.is_inside_packet(), "{cut} bytes of a row went by");
    }
    reply.follow(&[0xFF, 0xFF, 0xFF, 4, 1]).unwrap();
    reply.follow(&vec![0; PAYLOAD_MAX - 1]).unwrap();
    assert!(reply.is_inside_packet(), "a full piece is followed by another");
    reply.follow(&[0, 0, 0, 5]).unwrap();
    assert_eq!((reply.next_sequence(), reply.is_inside_packet()), (6, false));
}

#[test]
fn what_comes_before_a_broken_packet_is_good() {
    let stream = packets(&[b"\x01", b"d", b"\x011", &[0xFE, 0]]);
    let mut reply = Reply::new(ReplyShape::ResultSet, OK_MODE);
    let good = stream.len() - 6;
    assert_eq!(reply.follow(&stream), Ok(Followed { consumed: good, progress: Progress::More }));
    assert_eq!(reply.follow(&stream[good..]), Err(ReplyError::Malformed(Malformed { field: "warnings" })));
    assert_eq!((reply.next_sequence(), reply.is_inside_packet()), (4, false));
}

/// Payloads of one result, without what ends it.
fn any_result(framing: Framing) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let has_flag = framing.optional_metadata || framing.cache_metadata;
    let row =
        (0u8..0xFC, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(first, rest)| [vec![first], rest].concat());
    let definition = prop::collection::vec(any::<u8>(), 0..40).prop_map(|rest| [vec![3], rest].concat());
    (any::<bool>(), prop::collection::vec(definition, 1..5), prop::collection::vec(row, 0..8)).prop_map(
        move |(hidden, definitions, rows)| {
            let hidden = hidden && has_flag;
            let mut payloads = vec![vec![definitions.len() as u8]];
            if has_flag {
                payloads[0].push(u8::from(!hidden));
            }
            payloads.extend(if hidden { Vec::new() } else { definitions });
            if !framing.deprecate_eof {
                payloads.push(eof(2));
            }
            payloads.extend(rows);
            payloads
        },
    )
}

fn any_framing() -> impl Strategy<Value = Framing> {
    any::<[bool; 4]>().prop_map(|[deprecate_eof, optional_metadata, cache_metadata, progress]| Framing {
        deprecate_eof,
        optional_metadata,
        cache_metadata,
        progress,
    })
}

fn any_results() -> impl Strategy<Value = (Framing, Vec<Vec<Vec<u8>>>)> {
    any_framing().prop_flat_map(|framing| (Just(framing), prop::collection::vec(any_result(framing), 1..4)))
}

proptest! {
    #[test]
    fn any_results_are_followed_to_their_end_in_any_cut(
        (framing, results) in any_results(),
        step in 1usize..100,
    ) {
        let end = |status| if framing.deprecate_eof { ok(0xFE, status) } else { eof(status) };
        let count = results.len();
        let mut payloads = Vec::new();
        for (place, result) in results.into_iter().enumerate() {
            payloads.extend(result);
            payloads.push(end(if place + 1 < count { 0x0A } else { 0x02 }));
        }
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let stream = packets(&payloads);
        let outcome = follow_all(Reply::new(ReplyShape::ResultSet, framing), &stream, step);
        prop_assert_eq!(outcome.error, None);
        let results = count as u8;
        let expected = ReplyEnd { has_rows: true, had_rows: true, results, ..status(2) };
        prop_assert_eq!(outcome.end.map(|end| (end.0, end.1)), Some((stream.len(), expected)));
    }

    #[test]
    fn hostile_replies_are_followed_alike_in_every_cut(bytes: Vec<u8>) {
        fuzz_reply(&bytes);
    }

    #[test]
    fn hostile_packets_are_followed_alike_in_every_cut(
        choice: u8,
        step: u8,
        payloads in prop::collection::vec(prop::collection::vec(
            prop_oneof![Just(0u8), Just(1), Just(2), Just(0xFB), Just(0xFE), Just(0xFF), any::<u8>()], 0..30), 0..8),
    ) {
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        fuzz_reply(&[vec![choice, step], packets(&payloads)].concat());
    }
}
