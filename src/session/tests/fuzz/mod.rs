//! A whole session between ends that do whatever bytes say: the fuzz target, and its promises.
//!
//! Each byte is an act: a client that logs in, sends commands or garbage; a server that greets, answers or lies; what the
//! worker tells a session, in answer to its wishes or out of the blue; a connection that is cut, time that passes. Letters
//! name the acts, so that an input can be read and written by hand (`tests/corpus/sessions.txt`).
//!
//! `client`, `server` and `worker` are who acts; `wishes` carries out what the session asks for, as a worker does; `ends` has
//! the four connections with what must be true of the bytes on them. Here is the play, in which a script calls them up.

mod client;
mod ends;
mod server;
mod wishes;
mod worker;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{stage::*, *};
use crate::{
    protocol::{
        auth::{Login as ServerLogin, Secret, Verifier},
        handshake::{Greeting, HandshakeResponse, ServerHello},
        packet::HEADER_LENGTH,
        watch::HELD_MAX,
    },
    topology::{RoutingTable, ServerId},
};

use ends::{Ends, Journal};
use wishes::Wishes;

/// Fuzz entry: nothing that clients, servers and the worker do breaks a session or its promises.
#[cfg_attr(test, allow(unreachable_pub, reason = "libFuzzer calls it"))]
pub fn fuzz_session(bytes: &[u8]) {
    let mut play = Play::new(bytes);
    while let Some(act) = play.script.next() {
        play.act(act);
        play.check();
    }
    play.close();
}

/// What a session may ask for at once. The most that one input leads to is a dozen.
const OUTPUTS_MAX: usize = 64;

/// What one side may be asked to keep, while the session waits for the rest of a packet.
const INBOX_MAX: usize = HELD_MAX;

const SIDES: [Side; 4] = [Side::Client, Side::Server, Side::Replica, Side::Errand];

/// What the letters stand for. Bytes that are none of them stand for one as well, so that no byte of a fuzzer is wasted.
const ACTS: &[u8] = b"lcwpxGoredbgkuhtfnDSyqazmRv";

/// The bytes that are left of an input.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A choice among `count`; the first one at the end of the script. Digits choose by their value, for readers.
    fn choice(&mut self, count: usize) -> usize {
        let byte = self.next().unwrap_or(b'0');
        usize::from(byte.wrapping_sub(b'0')) % count
    }

    /// Some bytes, as many as the next one says.
    fn bytes(&mut self) -> Vec<u8> {
        let length = self.choice(64).min(self.0.len());
        let (first, rest) = self.0.split_at(length);
        self.0 = rest;
        first.to_vec()
    }
}

struct Play<'a> {
    script: Script<'a>,
    session: Session,
    table: &'static RoutingTable,
    now: Instant,
    began: Instant,
    ends: Ends,
    wishes: Wishes,
    /// The home connection that stands by; broken ones are known to be so when they are taken back.
    aside: Option<ends::Connection>,
    ending: Option<Ending>,
    /// Bytes that a side is shown at once.
    cut: usize,
    greeting: Option<Greeting>,
    /// Writes so far, each with a number of its own; the same for rows.
    numbered: u32,
}

impl<'a> Play<'a> {
    fn new(bytes: &'a [u8]) -> Play<'a> {
        let mut script = Script(bytes);
        let (table, now) = (shared_table(), Instant::now());
        let tls = TlsOffer { demand: crate::config::Encryption::Preferred, fingerprint: [7; 32] };
        let birth = Birth {
            id: SessionId::new(0, 1),
            host: "10.1.2.3".into(),
            origin: Some(IpAddr::from([10, 1, 2, 3])),
            seed: [3; 32],
            since: now,
            login_timeout: Duration::from_secs(10),
            counts: Arc::default(),
            entrance: Entrance::Ordinary,
            admission: [Admission::Welcome, Admission::Full, Admission::Closing][script.choice(3)],
            way: ClientWay::Open,
            tls: (script.choice(2) == 1).then_some(tls),
        };
        let session = Session::new(birth, Surroundings { table, rsa: rsa(), now, tick: Tick::default() });
        let mut play = Play {
            script,
            session,
            table,
            now,
            began: now,
            ends: Ends::new(),
            wishes: Wishes::default(),
            aside: None,
            ending: None,
            cut: usize::MAX,
            greeting: None,
            numbered: 0,
        };
        play.carry_out();
        play
    }

    fn surroundings(&self) -> Surroundings<'static> {
        let tick = Tick::after_beginning(self.now - self.began);
        Surroundings { table: self.table, rsa: rsa(), now: self.now, tick }
    }

    fn act(&mut self, byte: u8) {
        let letter = if ACTS.contains(&byte) { byte } else { ACTS[usize::from(byte) % ACTS.len()] };
        match letter {
            b'l' => self.log_in(),
            b'c' => self.command(),
            b'w' => self.numbered_write(),
            b'p' => self.clients_packet(),
            b'x' => self.raw(Side::Client),
            b'G' => self.with_server(|play, side| play.says(side, &greeting_packet())),
            b'o' => self.with_server(Play::ok),
            b'r' => self.with_server(Play::rows),
            b'e' => self.with_server(Play::error),
            b'd' => self.with_server(Play::servers_packet),
            b'b' => self.with_server(Play::raw),
            b'g' => self.grant(),
            b'k' => self.lend(),
            b'u' => self.refuse(),
            b'h' => self.hang_up(),
            b't' => self.time_out(),
            b'f' => self.now += Duration::from_millis(self.script.choice(64) as u64 * 7),
            b'n' => self.find(),
            b'D' => self.drain(),
            b'S' => self.displace(),
            b'y' => self.answer_yield(),
            b'q' => self.says(Side::Client, &command(0x01, b"")),
            b'a' => self.lose_aside(),
            b'z' => self.cut = [usize::MAX, 1, 2, 3, 5, 17][self.script.choice(6)],
            b'm' => self.server_lets_in(),
            b'v' => SIDES[1..].iter().for_each(|side| self.answers_well(*side)),
            _ => self.reckon(),
        }
    }

    // What must be true.

    /// Whatever a listing asks of a session has an answer, at any moment.
    fn check(&mut self) {
        let _ = (self.session.activity(), self.session.pins(), self.session.ties(), self.session.works_at().is_some());
        if self.ending.is_some() {
            assert!(self.session.poll_timeout().is_none(), "nothing is awaited after the end");
        }
    }

    /// The client leaves, and with it the session.
    fn close(&mut self) {
        if self.ending.is_none() {
            self.answer(Input::Closed(Side::Client));
        }
        assert!(self.ending.is_some(), "a session ends with its client");
        for side in SIDES {
            let step = self.session.step(side, b"whatever", self.surroundings());
            assert_eq!(step, Step::Consume { length: 8 }, "an ended session hears nothing");
        }
        assert!(self.session.poll_output().is_none(), "an ended session says nothing");
    }
}

#[cfg(test)]
mod tests;
