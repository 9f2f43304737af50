//! Turns: when they wait, and what ends the wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

#[test]
fn a_turn_ends_when_its_time_has_come_and_not_before() {
    on_both_engines(tiny(1), |driver| {
        for milliseconds in [0, 1, 5] {
            let until = Instant::now() + Duration::from_millis(milliseconds);
            while driver.io.now() < until {
                driver.io.turn(Some(until), &mut driver.batch).expect("a turn");
                assert!(driver.batch.is_empty());
            }
        }
    });
}

#[test]
fn a_turn_whose_time_is_over_gives_out_what_is_there() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        driver.io.receive(id);
        std::io::Write::write_all(&mut peer, b"here").expect("room");
        let past = Instant::now();
        while driver.batch.is_empty() {
            driver.io.turn(Some(past), &mut driver.batch).expect("a turn");
        }
        assert!(matches!(driver.batch.pop(), Some(Event::Received { .. })));
    });
}

#[test]
fn another_thread_ends_the_wait_and_no_message_is_overlooked() {
    const MESSAGES: usize = 20_000;
    on_both_engines(tiny(1), |driver| {
        let mailbox = Arc::new(AtomicUsize::new(0));
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let handle = driver.io.wake_handle();
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || {
                    for _ in 0..MESSAGES {
                        mailbox.fetch_add(1, Ordering::Relaxed);
                        handle.wake();
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < MESSAGES * 2 {
            assert!(matches!(driver.next(), Event::Woken));
            seen += mailbox.swap(0, Ordering::Relaxed);
        }
        for sender in senders {
            sender.join().expect("content");
        }
    });
}

#[test]
fn a_wake_after_the_engine_is_gone_does_no_harm() {
    on_both_engines(tiny(1), |driver| {
        let handle = driver.io.wake_handle();
        let (other, _) = Io::new(Engine::Epoll, tiny(1)).expect("epoll");
        drop(std::mem::replace(&mut driver.io, other));
        handle.wake();
        handle.wake();
    });
}

#[test]
fn limits_that_cannot_be_are_refused() {
    let odd = IoLimits { small: GroupLimits { buffers: 3, size: 4096 }, ..IoLimits::default() };
    let large = IoLimits { large: GroupLimits { buffers: 2, size: BUFFER_SIZE_MAX + 1 }, ..IoLimits::default() };
    for limits in [odd, large] {
        assert!(matches!(Io::new(Engine::Epoll, limits), Err(EngineError::Limits(_))));
    }
}

#[test]
fn the_automatic_choice_always_gives_an_engine() {
    let (_, report) = Io::new(Engine::Auto, tiny(1)).expect("an engine");
    assert!(["io_uring", "epoll"].contains(&report.engine_name()));
    assert_eq!(report.engine_name() == "epoll", report.refusal().is_some());
}
