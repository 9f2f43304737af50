//! Tries: all spans of a turn together at its end, told of only where there is something to tell.

use std::io::Write;

use super::*;

/// A received buffer with these bytes.
fn span_of(driver: &mut Driver, bytes: &[u8]) -> Span {
    let (mut peer, id) = driver.pair();
    driver.io.receive(id);
    peer.write_all(bytes).expect("room");
    let span = driver.received(id);
    driver.io.close(id);
    assert_eq!(span.bytes(), bytes);
    span
}

fn expect_read(peer: &mut UnixStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    peer.read_exact(&mut bytes).expect("all of it");
    assert_eq!(bytes, expected);
}

#[test]
fn what_is_written_completely_is_not_told_and_its_buffers_are_free() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        let mut first = span_of(driver, b"one after another");
        let all = driver.io.free_buffers();
        for length in [4, 6] {
            driver.io.send(id, first.split_to(length)).expect("room");
        }
        driver.io.send(id, first).expect("room");
        driver.fence();
        expect_read(&mut peer, b"one after another");
        assert!(driver.events.is_empty(), "{:?}", driver.events);
        let (small, large) = driver.io.free_buffers();
        assert_eq!((small, large), (all.0 + 1, all.1));
    });
}

#[test]
fn who_waits_for_the_end_of_a_try_hears_of_it_though_nothing_else_happens() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        assert!(!driver.io.await_sent(id), "nothing is to be tried");
        for _ in 0..3 {
            let span = span_of(driver, b"hear");
            assert!(driver.try_to_send(id, [span]).is_empty());
            assert!(!driver.io.await_sent(id), "the try is over");
            expect_read(&mut peer, b"hear");
        }
        let span = span_of(driver, b"not asked again");
        driver.io.send(id, span).expect("room");
        driver.fence();
        assert!(driver.events.is_empty(), "{:?}", driver.events);
    });
}

#[test]
fn more_spans_than_one_turn_takes_are_given_back() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        let bytes: Vec<u8> = (0..=SEND_SPANS_MAX as u8).collect();
        let mut span = span_of(driver, &bytes);
        for _ in 0..SEND_SPANS_MAX {
            driver.io.send(id, span.split_to(1)).expect("room");
        }
        let span = driver.io.send(id, span).expect_err("one too many");
        assert_eq!(span.bytes(), &bytes[SEND_SPANS_MAX..]);
        assert!(driver.io.await_sent(id));
        assert!(matches!(driver.next_of(id), Event::Sent { unsent, .. } if unsent.is_empty()));
        driver.io.send(id, span).expect("the next turn has room");
        driver.fence();
        expect_read(&mut peer, &bytes);
    });
}

#[test]
fn the_end_of_our_direction_and_a_close_come_behind_the_spans_of_the_same_turn() {
    on_both_engines(tiny(8), |driver| {
        for close in [Io::shutdown_write, Io::close] {
            let (mut peer, id) = driver.pair();
            let mut span = span_of(driver, b"first, second");
            driver.io.send(id, span.split_to(7)).expect("room");
            driver.io.send(id, span).expect("room");
            close(&mut driver.io, id);
            let soon = Instant::now();
            driver.io.turn(Some(soon), &mut driver.batch).expect("a turn");
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).expect("the end");
            assert_eq!(bytes, b"first, second");
        }
    });
}

/// Both halves of a stream cross in one turn: what was not written must be known before more is put behind it.
#[test]
fn what_was_not_written_is_told_before_anything_else_of_the_turn() {
    on_both_engines(tiny(64), |driver| {
        let (mut source_peer, source) = driver.pair();
        let (_target_peer, target) = driver.pair();
        let (_, unsent) = fill(driver, &mut source_peer, source, target);
        drop(unsent);
        for _ in 0..20 {
            source_peer.write_all(&[b'x'; 200]).expect("we read it");
            let span = driver.received(source);
            driver.io.send(target, span).expect("room");
            source_peer.write_all(b"more").expect("we read it");
            driver.turn();
            let first = driver.events.pop_front().expect("an event");
            assert!(matches!(first, Event::Sent { id, .. } if id == target), "{first:?}");
            driver.expect_bytes(source, b"more");
        }
    });
}

#[test]
fn a_starved_socket_gets_the_buffer_that_a_try_held() {
    on_both_engines(tiny(1), |driver| {
        let (mut source_peer, source) = driver.pair();
        let (mut starved_peer, starved) = driver.pair();
        let (mut target_peer, target) = driver.pair();
        driver.io.receive(source);
        source_peer.write_all(b"passes").expect("room");
        let span = driver.received(source);
        driver.io.pause(source);
        driver.io.receive(starved);
        starved_peer.write_all(b"waits").expect("room");
        // It runs into the empty pool.
        for _ in 0..4 {
            let soon = Instant::now() + Duration::from_millis(1);
            driver.io.turn(Some(soon), &mut driver.batch).expect("a turn");
        }
        assert!(driver.batch.is_empty(), "{:?}", driver.batch);
        driver.io.send(target, span).expect("room");
        driver.expect_bytes(starved, b"waits");
        expect_read(&mut target_peer, b"passes");
    });
}
