//! Bytes: all of them, in order, unchanged, however they are cut, and no faster than the other side reads.

use std::io::Write;
use std::thread;

use super::*;

/// Passes bytes from one socket to another as a worker does: a try first, what is left is copied and written out.
struct Relay {
    from: SocketId,
    to: SocketId,
    /// Received, not yet given to a send.
    spans: VecDeque<Span>,
    sending: bool,
    /// Bytes of the try under way.
    tried: usize,
    ended: bool,
    passed: usize,
    written_out: usize,
    dice: Dice,
}

impl Relay {
    const BACKLOG_MAX: usize = 20;

    fn run(driver: &mut Driver, from: SocketId, to: SocketId, seed: u64) -> Relay {
        let mut relay = Relay {
            from,
            to,
            spans: VecDeque::new(),
            sending: false,
            tried: 0,
            ended: false,
            passed: 0,
            written_out: 0,
            dice: Dice::new(seed),
        };
        driver.io.receive(from);
        while !(relay.ended && relay.spans.is_empty() && !relay.sending) {
            let event = driver.next();
            relay.handle(driver, event);
        }
        relay
    }

    fn handle(&mut self, driver: &mut Driver, event: Event) {
        match event {
            Event::Received { id, mut span } => {
                assert_eq!(id, self.from);
                while self.dice.below(3) == 0 && span.len() > 1 {
                    let length = 1 + self.dice.below(span.len() - 1);
                    self.spans.push_back(span.split_to(length));
                }
                self.spans.push_back(span);
                if self.spans.len() > Self::BACKLOG_MAX {
                    driver.io.pause(self.from);
                }
            }
            Event::Sent { id, unsent } => {
                assert_eq!(id, self.to);
                self.passed += self.tried - length_of(&unsent);
                self.sending = false;
                if !unsent.is_empty() {
                    let bytes: Vec<u8> = unsent.iter().flat_map(|span| span.bytes().to_vec()).collect();
                    self.written_out += bytes.len();
                    self.sending = true;
                    driver.io.send_bytes(self.to, bytes);
                }
            }
            Event::SentBytes { result, buffer, .. } => {
                result.expect("the reader is there");
                self.passed += buffer.len();
                self.sending = false;
            }
            Event::Ended { id } => {
                assert_eq!(id, self.from);
                self.ended = true;
            }
            other => panic!("unexpected: {other:?}"),
        }
        if !self.sending && !self.spans.is_empty() {
            self.sending = true;
            let count = 1 + self.dice.below(self.spans.len().min(SEND_SPANS_MAX));
            self.tried = length_of(self.spans.make_contiguous().split_at(count).0);
            for span in self.spans.drain(..count) {
                driver.io.send(self.to, span).expect("no more than a turn takes");
            }
            assert!(driver.io.await_sent(self.to));
        }
        if self.spans.len() < Self::BACKLOG_MAX / 2 {
            driver.io.receive(self.from);
        }
    }
}

/// What the byte at this place of the stream is.
fn pattern(place: usize) -> u8 {
    (place ^ (place >> 8) ^ (place >> 16)) as u8
}

/// A writer with random pieces, a relay with random cuts, a slow reader with random pieces.
fn check_relay(limits: IoLimits, total: usize, seed: u64) {
    on_both_engines(limits, |driver| {
        let (mut source, from) = driver.pair();
        let (mut target, to) = driver.pair();
        let writer = thread::spawn(move || {
            let mut dice = Dice::new(seed + 1);
            let bytes: Vec<u8> = (0..total).map(pattern).collect();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(1 + dice.below(30_000)));
                source.write_all(now).expect("the relay reads");
                rest = later;
            }
        });
        let reader = thread::spawn(move || {
            let mut dice = Dice::new(seed + 2);
            let mut buffer = vec![0; 50_000];
            let mut place = 0;
            while place < total {
                let length = 1 + dice.below(buffer.len());
                let read = target.read(&mut buffer[..length]).expect("the relay writes");
                assert!(read > 0, "the end after {place} of {total} bytes");
                for (offset, byte) in buffer[..read].iter().enumerate() {
                    assert_eq!(*byte, pattern(place + offset), "byte {}", place + offset);
                }
                place += read;
            }
        });
        let relay = Relay::run(driver, from, to, seed);
        writer.join().expect("the writer is content");
        reader.join().expect("the reader is content");
        assert_eq!(relay.passed, total);
    });
}

#[test]
fn bytes_arrive_complete_and_in_order_with_ordinary_buffers() {
    check_relay(IoLimits::default(), 20_000_000, 1);
}

#[test]
fn bytes_arrive_complete_and_in_order_with_tiny_buffers_that_run_out() {
    for seed in 10..13 {
        check_relay(tiny(4), 500_000, seed);
    }
}

#[test]
fn a_paused_socket_gives_no_bytes_and_loses_none() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        driver.io.receive(id);
        peer.write_all(b"before").expect("room");
        driver.expect_bytes(id, b"before");
        driver.io.pause(id);
        driver.fence();
        peer.write_all(b"meanwhile").expect("room");
        driver.fence();
        assert!(driver.events.is_empty(), "{:?}", driver.events);
        driver.io.receive(id);
        driver.expect_bytes(id, b"meanwhile");
    });
}

#[test]
fn a_pause_taken_back_at_once_changes_nothing() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        for round in 0..100_u8 {
            driver.io.receive(id);
            driver.io.pause(id);
            driver.io.receive(id);
            driver.io.pause(id);
            driver.io.receive(id);
            peer.write_all(&[round]).expect("room");
            driver.expect_bytes(id, &[round]);
            driver.io.pause(id);
        }
    });
}

#[test]
fn a_send_that_does_not_fit_comes_back_and_is_written_when_the_peer_reads() {
    on_both_engines(tiny(8), |driver| {
        let (mut source_peer, source) = driver.pair();
        let (mut target_peer, target) = driver.pair();
        let (filled, unsent) = fill(driver, &mut source_peer, source, target);
        let rest: Vec<u8> = unsent.iter().flat_map(|span| span.bytes().to_vec()).collect();
        drop(unsent);
        let extra = [&rest[..], &[b'y'; 1_000_000]].concat();
        driver.io.send_bytes(target, extra.clone());
        driver.fence();
        assert!(driver.events.is_empty(), "the peer has not read: {:?}", driver.events);
        let expected = filled + extra.len();
        let reader = thread::spawn(move || {
            let mut bytes = vec![0; expected];
            target_peer.read_exact(&mut bytes).expect("all of it");
            bytes
        });
        match driver.next_of(target) {
            Event::SentBytes { result, buffer, .. } => {
                result.expect("written");
                assert_eq!(buffer, extra);
            }
            other => panic!("{other:?}"),
        }
        let bytes = reader.join().expect("the reader is content");
        assert!(bytes[..filled].iter().all(|byte| *byte == b'x'));
        assert_eq!(&bytes[filled..], extra);
    });
}

#[test]
fn several_spans_that_do_not_fit_come_back_in_order() {
    on_both_engines(tiny(64), |driver| {
        let (mut source_peer, source) = driver.pair();
        let (mut target_peer, target) = driver.pair();
        let (filled, unsent) = fill(driver, &mut source_peer, source, target);
        drop(unsent);
        // Make a little room: a part of what follows fits.
        let mut some = vec![0; filled / 2];
        target_peer.read_exact(&mut some).expect("filled");
        let mut sent_total = 0;
        let mut wanted = Vec::new();
        loop {
            source_peer.write_all(&(0..160).collect::<Vec<u8>>()).expect("room");
            let mut span = driver.received(source);
            let pieces: Vec<Span> = (0..SEND_SPANS_MAX).map(|_| span.split_to(10)).collect();
            assert!(span.is_empty());
            wanted.extend(0..160_u8);
            let unsent = driver.try_to_send(target, pieces);
            let sent = 160 - length_of(&unsent);
            sent_total += sent;
            if !unsent.is_empty() {
                let left: Vec<u8> = unsent.iter().flat_map(|span| span.bytes().to_vec()).collect();
                assert_eq!(left, wanted[sent_total..], "what was not written, in order");
                break;
            }
            assert_eq!(sent, 160);
        }
        let mut rest = vec![0; filled - filled / 2 + sent_total];
        target_peer.read_exact(&mut rest).expect("all that was sent");
        assert_eq!(&rest[filled - filled / 2..], &wanted[..sent_total]);
    });
}

#[test]
fn a_stream_uses_large_buffers_and_a_conversation_small_ones() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        driver.io.receive(id);
        let total = 100 * 1024;
        let writer = thread::spawn(move || {
            peer.write_all(&vec![b's'; total]).expect("read");
            peer
        });
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < total {
            sizes.push(driver.received(id).len());
        }
        assert!(sizes.contains(&1024), "{sizes:?}");
        let mut peer = writer.join().expect("written");
        for _ in 0..20 {
            peer.write_all(b"short").expect("room");
            driver.expect_bytes(id, b"short");
        }
        let large_before = driver.io.free_buffers().1;
        peer.write_all(b"held").expect("room");
        let held = driver.received(id);
        assert_eq!(driver.io.free_buffers().1, large_before, "a small buffer holds {held:?}");
    });
}

#[test]
fn without_free_buffers_sockets_wait_and_get_their_turn() {
    const SOCKETS: usize = 8;
    const ROUNDS: usize = 400;
    on_both_engines(tiny(2), |driver| {
        let pairs: Vec<(UnixStream, SocketId)> = (0..SOCKETS).map(|_| driver.pair()).collect();
        for (peer, id) in &pairs {
            // Enough to be ready at all times.
            let mut peer = peer.try_clone().expect("clone");
            peer.write_all(&[b'z'; 100_000]).expect("room");
            driver.io.receive(*id);
        }
        let mut counts = [0_usize; SOCKETS];
        let mut held = VecDeque::new();
        for _ in 0..ROUNDS {
            if driver.io.free_buffers() == (0, 0) || driver.events.is_empty() {
                // All buffers are held here: the sockets starve until one returns.
                held.pop_front();
            }
            let Event::Received { id, span } = driver.next() else {
                panic!("only bytes come");
            };
            let place = pairs.iter().position(|(_, other)| *other == id).expect("one of ours");
            counts[place] += 1;
            held.push_back(span);
            if held.len() == 2 {
                held.pop_front();
            }
        }
        let least = *counts.iter().min().expect("some");
        assert!(least * SOCKETS * 4 >= ROUNDS, "unfair: {counts:?}");
    });
}

#[test]
fn a_starved_socket_can_be_paused_resumed_and_closed() {
    on_both_engines(tiny(1), |driver| {
        let (mut holder_peer, holder) = driver.pair();
        let (mut starved_peer, starved) = driver.pair();
        let (mut closed_peer, closed) = driver.pair();
        driver.io.receive(holder);
        holder_peer.write_all(b"held").expect("room");
        let held = driver.received(holder);
        driver.io.pause(holder);
        for id in [starved, closed] {
            driver.io.receive(id);
        }
        starved_peer.write_all(b"waits").expect("room");
        closed_peer.write_all(b"never read").expect("room");
        // Both run into the empty pool: some turns that end by themselves.
        for _ in 0..4 {
            let soon = Instant::now() + Duration::from_millis(1);
            driver.io.turn(Some(soon), &mut driver.batch).expect("a turn");
        }
        assert!(driver.batch.is_empty(), "{:?}", driver.batch);
        driver.io.pause(starved);
        driver.io.receive(starved);
        driver.io.close(closed);
        drop(held);
        driver.expect_bytes(starved, b"waits");
        driver.settle(2);
        expect_closed(&mut closed_peer);
    });
}
