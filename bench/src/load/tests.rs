//! The generator against servers that do what is told of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::reply::Replies;
use crate::wire::{OK_PAYLOAD, ResultEnd, SessionState, first_packet, write_packet};

/// Serves one connection after its login: `answer` gets the number of each command, from 0, and gives its reply.
fn serve(mut answer: impl FnMut(u64, &[u8]) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        socket.write_all(&crate::stand_in::greeting(1)).expect("a greeting");
        read_packet(&mut socket).expect("a login");
        let mut ok = Vec::new();
        write_packet(&mut ok, 2, &OK_PAYLOAD);
        socket.write_all(&ok).expect("a welcome");
        for number in 0.. {
            match read_packet(&mut socket) {
                Some(command) if command != [0x01] => socket.write_all(&answer(number, &command)).expect("a reply"),
                Some(_) | None => return,
            }
        }
    });
    address
}

fn read_packet(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some((payload, _, _)) = first_packet(&bytes) {
            return Some(payload.to_vec());
        }
        let mut byte = [0];
        match socket.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            Ok(_) | Err(_) => return None,
        }
    }
}

fn point_reply() -> Vec<u8> {
    Replies::new(ResultEnd::OkPacket, SessionState::Autocommit).text(crate::dataset::Table::Point).to_vec()
}

/// Measures one connection for a while.
fn measure(address: SocketAddr, mode: Mode, window: Duration) -> (Result<Tally, Fault>, Duration) {
    let load = Load { target: Target::stand_in(address), case: Case::PointSelect, mode, connections: 1 };
    let cpus = crate::launch::usable_cpus().expect("a CPU");
    let generator = Generator::start(&load, &cpus[..1]).expect("a login");
    generator.open_window();
    let opened = Instant::now();
    generator.run_for(window).expect("no failure");
    generator.close_window();
    let length = opened.elapsed();
    (generator.finish(), length)
}

/// A server that stops for a while and is fast again: one request is slow, and so are all that were due meanwhile.
fn stall_once(stall: Duration) -> SocketAddr {
    let reply = point_reply();
    serve(move |number, _| {
        if number == 10 {
            thread::sleep(stall);
        }
        reply.clone()
    })
}

#[test]
fn an_open_loop_charges_a_stall_to_every_request_that_was_due_in_it() {
    let stall = Duration::from_millis(300);
    let mode = Mode::Open { rate: 500.0, arrivals: Arrivals::Constant };
    let (tally, length) = measure(stall_once(stall), mode, Duration::from_millis(800));
    let tally = tally.expect("right replies");
    // Every request that was due in the window is in the histogram, each once.
    let due = length.as_secs_f64() * 500.0;
    assert!((tally.latency.len() as f64 - due).abs() <= due / 20.0, "{} of {due}", tally.latency.len());
    // 150 requests were due in the stall; half of them waited for more than half of it.
    let long = tally.latency.count_between(150_000_000, 10_000_000_000);
    assert!(long >= 70, "{long}");
}

#[test]
fn a_closed_loop_charges_a_stall_to_one_request_only() {
    let (tally, _) = measure(stall_once(Duration::from_millis(300)), Mode::Closed, Duration::from_millis(800));
    let tally = tally.expect("right replies");
    // One request met the stall, and after it there is time for one more at most that a busy machine makes as slow.
    assert!(tally.latency.count_between(300_000_000, 10_000_000_000) <= 2);
    assert!(tally.latency.max() >= 299_000_000);
}

#[test]
fn a_rate_that_cannot_be_held_is_seen_and_its_backlog_is_bounded() {
    let reply = point_reply();
    let address = serve(move |_, _| {
        thread::sleep(Duration::from_millis(10));
        reply.clone()
    });
    let mode = Mode::Open { rate: 1000.0, arrivals: Arrivals::Poisson };
    let (tally, length) = measure(address, mode, Duration::from_millis(2500));
    let tally = tally.expect("right replies");
    assert!(!tally.is_rate_held(1));
    assert!(tally.dropped > 0, "what is due for longer than the bound is dropped");
    assert!(tally.replies as f64 <= length.as_secs_f64() * 100.0 + 1.0, "{}", tally.replies);
}

#[test]
fn a_slow_timetable_does_not_keep_the_end_waiting() {
    let reply = point_reply();
    let address = serve(move |_, _| reply.clone());
    let mode = Mode::Open { rate: 0.001, arrivals: Arrivals::Constant };
    let (tally, _) = measure(address, mode, Duration::from_millis(20));
    assert_eq!(tally.expect("no failure").dropped, 0);
}

#[test]
fn one_wrong_byte_is_found() {
    let reply = point_reply();
    let address = serve(move |number, _| {
        let mut reply = reply.clone();
        if number == 20 {
            reply[80] ^= 1;
        }
        reply
    });
    let load = Load { target: Target::stand_in(address), case: Case::PointSelect, mode: Mode::Closed, connections: 1 };
    let cpus = crate::launch::usable_cpus().expect("a CPU");
    let generator = Generator::start(&load, &cpus[..1]).expect("a login");
    let fault = generator.run_for(Duration::from_secs(10)).expect_err("the byte is seen");
    assert!(fault.to_string().contains("wrong from byte 80 on"), "{fault}");
}
