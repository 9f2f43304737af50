//! Servers: they let everybody in, do each statement once, and fail in every way, by seed.

use std::{
    collections::HashSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    super::Greeting,
    line::{COLUMN, END, Line, OK, Statement, packet},
};
use crate::{
    io::{Dice, End, Far, Network},
    protocol::{handshake::Salt, packet::HEADER_LENGTH, status::StatusFlags},
    topology::captured,
};

pub(super) struct Servers {
    pub(super) addresses: Vec<SocketAddr>,
    dice: Dice,
    visits: Vec<Visit>,
    /// Writes that were done: none is done twice.
    done: HashSet<u32>,
    /// When the servers' luck changes.
    changes_at: Instant,
}

/// A connection to a server.
struct Visit {
    address: SocketAddr,
    line: Line,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Greeted,
    Serving,
    /// It says and hears nothing any more, and keeps its connection.
    Hanging,
    Over,
}

impl Servers {
    pub(super) fn new(seed: u64, network: &Network) -> Servers {
        Servers {
            addresses: (1..=3).map(|number| SocketAddr::from(([10, 0, 0, number], 3306))).collect(),
            dice: Dice::new(seed ^ 0x5E7),
            visits: Vec::new(),
            done: HashSet::new(),
            changes_at: network.now(),
        }
    }

    pub(super) fn wakes(&self) -> impl Iterator<Item = Instant> {
        self.visits
            .iter()
            .flat_map(|visit| visit.line.wakes())
            .chain((!self.visits.is_empty()).then_some(self.changes_at))
    }

    pub(super) fn act(&mut self, network: &Network) {
        let now = network.now();
        if now >= self.changes_at {
            self.change(network);
        }
        while let Some((address, far)) = network.called() {
            self.visits.push(Visit::begin(address, far, &mut self.dice, now));
        }
        for visit in &mut self.visits {
            visit.act(now, &mut self.dice, &mut self.done);
        }
        self.visits.retain(|visit| visit.stage != Stage::Over);
    }

    /// One of the servers refuses, is silent, dies, or is well again.
    fn change(&mut self, network: &Network) {
        self.changes_at = network.now() + Duration::from_millis(500) + self.dice.delay(Duration::from_secs(10));
        let server = self.addresses[self.dice.below(self.addresses.len())];
        network.refuse(server, self.dice.once_in(8));
        network.silence(server, self.dice.once_in(8));
        if self.dice.once_in(8) {
            self.visits.iter_mut().filter(|visit| visit.address == server).for_each(|visit| visit.end(End::Reset));
        }
    }
}

impl Visit {
    fn begin(address: SocketAddr, far: Far, dice: &mut Dice, now: Instant) -> Visit {
        let mut visit = Visit { address, line: Line::new(far), stage: Stage::Greeted };
        match dice.below(30) {
            0 => visit.stage = Stage::Hanging,
            1 => visit.end(End::Reset),
            2 => visit.line.say(&packet(0, b"\xff\x10\x04Too many connections")),
            _ => visit.line.say(&greeting()),
        }
        if dice.once_in(10) {
            visit.line.sends_at = Some(now + dice.delay(Duration::from_secs(5)));
        }
        visit
    }

    fn end(&mut self, end: End) {
        self.line.hang_up(end);
        self.stage = Stage::Over;
    }

    fn act(&mut self, now: Instant, dice: &mut Dice, done: &mut HashSet<u32>) {
        self.line.move_bytes(now);
        while let Some(bytes) = self.line.packet() {
            match self.stage {
                Stage::Greeted => {
                    assert_eq!(bytes[3], 1, "an answer to the greeting");
                    self.line.say(&packet(2, OK));
                    self.stage = Stage::Serving;
                }
                Stage::Serving => self.serve(&bytes, now, dice, done),
                Stage::Hanging | Stage::Over => {}
            }
        }
        match self.line.over() {
            Some(end) if self.stage != Stage::Over => self.end(end),
            Some(_) | None => {}
        }
    }

    fn serve(&mut self, bytes: &[u8], now: Instant, dice: &mut Dice, done: &mut HashSet<u32>) {
        assert_eq!(bytes[3], 0, "a command begins");
        assert!(self.line.has_said_all(), "a command before the reply to the last one");
        let (code, rest) = bytes[HEADER_LENGTH..].split_first().expect("a command has a code");
        match code {
            0x01 => return self.end(End::Finished),
            0x03 => {}
            other => panic!("nobody sends command {other}"),
        }
        let text = std::str::from_utf8(rest).expect("clients send text");
        let Some(statement) = Statement::parse(text) else { return self.line.say(&answer_about_session(text)) };
        if dice.once_in(40) {
            // The server dies before it does anything.
            return self.end(End::Reset);
        }
        if let Statement::Write(number) = statement {
            assert!(done.insert(number), "write {number} is done twice");
        }
        let reply = statement.reply().concat();
        match dice.below(40) {
            0 => self.end(End::Reset),
            1 => {
                // As much of the reply as there is room for, and no more.
                self.line.say(&reply[..dice.below(reply.len())]);
                self.line.move_bytes(now);
                self.end(End::Finished);
            }
            2 => self.stage = Stage::Hanging,
            _ => self.line.say(&reply),
        }
        if dice.once_in(10) {
            self.line.sends_at = Some(now + dice.delay(Duration::from_secs(4)));
        }
    }
}

/// What the session itself says, to be able to leave: all its variables are 0.
fn answer_about_session(text: &str) -> Vec<u8> {
    if !text.starts_with("SELECT ") {
        return packet(1, OK);
    }
    let columns = text.matches("@@SESSION.").count().max(1);
    let definitions = (0..columns).map(|_| COLUMN.to_vec());
    let payloads = [vec![columns as u8]].into_iter().chain(definitions).chain([b"\x010".repeat(columns), END.to_vec()]);
    payloads.enumerate().flat_map(|(place, payload)| packet(place as u8 + 1, &payload)).collect()
}

fn greeting() -> Vec<u8> {
    let facts = captured::mariadb_10_11();
    let greeting = Greeting {
        version: facts.version_text,
        connection_id: 7,
        salt: Salt::from_random([9; 20]),
        capabilities: facts.capabilities,
        collation: facts.collation,
        status: StatusFlags::AUTOCOMMIT,
        plugin: facts.plugin,
    };
    let mut payload = Vec::new();
    greeting.encode(&mut payload);
    packet(0, &payload)
}
