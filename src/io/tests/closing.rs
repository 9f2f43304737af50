//! Closing: slot, descriptor and buffers come back exactly once, whatever is in flight.

use std::io::Write;

use super::*;

#[test]
fn a_close_with_everything_in_flight_gives_everything_back() {
    on_both_engines(tiny(8), |driver| {
        let all = driver.io.free_buffers();
        let (mut source_peer, source) = driver.pair();
        let (mut target_peer, target) = driver.pair();
        let (_, unsent) = fill(driver, &mut source_peer, source, target);
        drop(unsent);
        driver.io.send_bytes(target, vec![b'y'; 1_000_000]);
        driver.io.receive(target);
        driver.fence();
        // Bytes that come in the same moment.
        target_peer.write_all(b"too late").expect("room");
        driver.io.close(target);
        driver.io.close(source);
        driver.settle(0);
        assert!(driver.events.is_empty(), "{:?}", driver.events);
        assert_eq!(driver.io.free_buffers(), all);
        expect_closed(&mut target_peer);
        expect_closed(&mut source_peer);
    });
}

#[test]
fn a_send_asked_for_before_the_close_still_goes_out() {
    on_both_engines(tiny(8), |driver| {
        let (mut source_peer, source) = driver.pair();
        let (mut target_peer, target) = driver.pair();
        driver.io.receive(source);
        source_peer.write_all(b"goodbye").expect("room");
        let span = driver.received(source);
        driver.io.send(target, span).expect("the first");
        driver.io.close(target);
        driver.settle(1);
        let mut bytes = Vec::new();
        target_peer.read_to_end(&mut bytes).expect("closed");
        assert_eq!(bytes, b"goodbye");
        assert!(driver.events.is_empty(), "{:?}", driver.events);
    });
}

#[test]
fn an_old_name_does_nothing_to_the_socket_that_has_its_slot_now() {
    on_both_engines(tiny(8), |driver| {
        let all = driver.io.free_buffers();
        let (_old_peer, old) = driver.pair();
        driver.io.close(old);
        driver.settle(0);
        let (mut peer, new) = driver.pair();
        assert_eq!(new.slot(), old.slot());
        driver.io.receive(new);
        peer.write_all(b"one").expect("room");
        let span = driver.received(new);
        driver.io.send(old, span).expect("nothing is kept for it");
        driver.io.send_bytes(old, b"wrong".to_vec());
        driver.io.pause(old);
        driver.io.shutdown_write(old);
        driver.io.close(old);
        peer.write_all(b"two").expect("room");
        driver.expect_bytes(new, b"two");
        assert_eq!(driver.io.free_buffers(), all);
        peer.set_nonblocking(true).expect("option");
        let nothing = peer.read(&mut [0; 8]).expect_err("nothing was sent");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    });
}

#[test]
fn no_event_of_a_closed_socket_is_given_out() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        driver.io.receive(id);
        driver.fence();
        peer.write_all(b"bytes").expect("room");
        driver.io.send_bytes(id, b"reply".to_vec());
        driver.io.close(id);
        driver.settle(0);
        driver.fence();
        assert!(driver.events.is_empty(), "{:?}", driver.events);
        expect_closed(&mut peer);
    });
}

#[test]
fn a_full_engine_gives_the_descriptor_back() {
    let limits = IoLimits { sockets_max: 2, ..tiny(8) };
    on_both_engines(limits, |driver| {
        let (_first_peer, first) = driver.pair();
        let (_second_peer, _) = driver.pair();
        let (mut peer, ours) = UnixStream::pair().expect("pair");
        let (given_back, Full) = driver.io.adopt(ours.into()).expect_err("two is the limit");
        UnixStream::from(given_back).write_all(b"still open").expect("open");
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).expect("read");
        assert_eq!(bytes, b"still open");
        driver.io.close(first);
        driver.settle(1);
        driver.pair();
    });
}

#[test]
fn dropping_the_engine_closes_everything_and_ends_everything_in_flight() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        let (mut idle_peer, idle) = driver.pair();
        let (listening, address) = listener();
        driver.io.listen(7, listening);
        driver.io.receive(id);
        driver.io.receive(idle);
        peer.write_all(b"kept").expect("room");
        let span = driver.received(id);
        driver.io.send_bytes(id, vec![b'y'; 10_000_000]);
        driver.fence();
        let (other, _) = Io::new(Engine::Epoll, tiny(1)).expect("epoll");
        drop(std::mem::replace(&mut driver.io, other));
        expect_closed(&mut peer);
        expect_closed(&mut idle_peer);
        TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(span.bytes(), b"kept");
    });
}
