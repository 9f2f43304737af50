//! The generator against servers that do what is told of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::reply::Replies;
use crate::target::Failovers;
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

/// What a measurement of one connection gave.
struct Measured {
    tally: Result<Tally, Fault>,
    /// Of the window, in seconds. How long exactly nobody outside can tell: a busy machine stops this thread anywhere.
    window: RangeInclusive<f64>,
    /// From before the login to the end.
    elapsed: Duration,
}

/// Measures one connection for a while; `begun` is called with the window open.
fn measure(address: SocketAddr, mode: Mode, window: Duration, begun: impl FnOnce()) -> Measured {
    let start = Instant::now();
    let load = Load { target: Target::stand_in(address), case: Case::PointSelect, mode, connections: 1 };
    let cpus = crate::launch::usable_cpus().expect("a CPU");
    let generator = Generator::start(&load, &cpus[..1]).expect("a login");
    let closed = Instant::now();
    generator.open_window();
    let opened = Instant::now();
    begun();
    generator.run_for(window).expect("no failure");
    let shortest = opened.elapsed();
    generator.close_window();
    let longest = closed.elapsed();
    let tally = generator.finish();
    Measured { tally, window: shortest.as_secs_f64()..=longest.as_secs_f64(), elapsed: start.elapsed() }
}

/// A server that stops for a while when it is told to and is fast again: one request is slow, and so are all that were
/// due meanwhile.
fn stall_once(stall: Duration) -> (SocketAddr, Arc<AtomicBool>) {
    let reply = point_reply();
    let stalls = Arc::new(AtomicBool::new(false));
    let told = stalls.clone();
    let address = serve(move |_, _| {
        if told.swap(false, Ordering::Relaxed) {
            thread::sleep(stall);
        }
        reply.clone()
    });
    (address, stalls)
}

fn measure_stall(mode: Mode) -> Measured {
    let (address, stalls) = stall_once(Duration::from_millis(300));
    measure(address, mode, Duration::from_millis(800), || stalls.store(true, Ordering::Relaxed))
}

#[test]
fn an_open_loop_charges_a_stall_to_every_request_that_was_due_in_it() {
    let rate = 500.0;
    let measured = measure_stall(Mode::Open { rate, arrivals: Arrivals::Constant });
    let tally = measured.tally.expect("right replies");
    // Every request that was due in the window is in the histogram, each once.
    let counted = (tally.latency.len() + tally.dropped) as f64;
    let (least, most) = (measured.window.start() * rate - 1.0, measured.window.end() * rate + 1.0);
    assert!((least..=most).contains(&counted), "{counted} of {least} to {most}");
    // 150 requests were due in the stall; half of them waited for more than half of it.
    let long = tally.latency.count_between(150_000_000, 10_000_000_000);
    assert!(long >= 70, "{long}");
}

#[test]
fn a_closed_loop_charges_a_stall_to_one_request_only() {
    let measured = measure_stall(Mode::Closed);
    let tally = measured.tally.expect("right replies");
    assert!(tally.latency.max() >= 299_000_000);
    // One connection waits for one reply at a time: all waits together are no longer than the measurement.
    let waited = tally.latency.mean() * tally.latency.len() as f64 / 1e9;
    assert!(waited <= measured.elapsed.as_secs_f64() * 1.01, "{waited} s");
}

#[test]
fn a_rate_that_cannot_be_held_is_seen_and_its_backlog_is_bounded() {
    let reply = point_reply();
    let address = serve(move |_, _| {
        thread::sleep(Duration::from_millis(10));
        reply.clone()
    });
    let mode = Mode::Open { rate: 1000.0, arrivals: Arrivals::Poisson };
    let measured = measure(address, mode, Duration::from_millis(2500), || {});
    let tally = measured.tally.expect("right replies");
    assert!(!tally.is_rate_held(1));
    assert!(tally.dropped > 0, "what is due for longer than the bound is dropped");
    assert!(tally.replies as f64 <= measured.window.end() * 100.0 + 1.0, "{}", tally.replies);
}

#[test]
fn a_slow_timetable_does_not_keep_the_end_waiting() {
    let reply = point_reply();
    let address = serve(move |_, _| reply.clone());
    let mode = Mode::Open { rate: 0.001, arrivals: Arrivals::Constant };
    let measured = measure(address, mode, Duration::from_millis(20), || {});
    assert_eq!(measured.tally.expect("no failure").dropped, 0);
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

/// Sends each client on with such an error; `message` is told its own address.
fn send_on(message: impl Fn(SocketAddr) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let message = message(address);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a client");
            socket.write_all(&crate::stand_in::greeting(1)).expect("a greeting");
            read_packet(&mut socket).expect("a login");
            let mut error = Vec::new();
            let payload = [&4196_u16.to_le_bytes()[..], b"#HY000", message.as_bytes()].concat();
            write_packet(&mut error, 2, &[&[0xFF], &payload[..]].concat());
            socket.write_all(&error).expect("an error");
        }
    });
    address
}

fn log_in(target: &Target) -> Result<(), Fault> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new().build().expect("a runtime");
    runtime.block_on(client::Client::log_in(target, 0)).map(drop)
}

#[test]
fn a_login_goes_where_it_is_sent_if_it_is_to() {
    let server = serve(|_, _| point_reply());
    let second = send_on(|_| format!("|in maintenance|{server}"));
    let first = send_on(|_| format!("|in maintenance|{second}"));
    let refusing = Target { failovers: Failovers::Refuse, ..Target::stand_in(first) };
    assert!(matches!(log_in(&refusing), Err(Fault::Refused { code: 4196, .. })));
    log_in(&Target::stand_in(first)).expect("the second one's server lets it in");
}

#[test]
fn a_login_that_is_sent_in_a_circle_ends() {
    let circle = send_on(|itself| format!("|in maintenance|{itself}"));
    assert!(matches!(log_in(&Target::stand_in(circle)), Err(Fault::StrangeLogin(_))));
}
