//! Servers: they let everybody in, do each statement once, and fail in every way, by seed.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::Greeting,
    Way,
    line::{Asked, COLUMN, Line, STATEMENTS_MAX, Statement, end, packet, packets},
    sealing::Sealing,
};
use crate::{
    io::{Dice, End, Far, Network},
    protocol::{capability::Capabilities, handshake::Salt, packet::HEADER_LENGTH, status::StatusFlags},
    tls::{Channel, Front},
    topology::captured,
};

pub(super) struct Servers {
    pub(super) addresses: Vec<SocketAddr>,
    way: Way,
    dice: Dice,
    visits: Vec<Visit>,
    /// Writes that were done: none is done twice.
    done: HashSet<u32>,
    /// When the servers' luck changes.
    changes_at: Instant,
    /// Most connections are offered TLS.
    front: Option<Arc<Front>>,
    pub(super) tally: Tally,
}

/// What all servers were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Reads where nothing is written.
    pub(super) reads_at_replicas: usize,
    /// Statements that found the variable of their session.
    pub(super) signed: usize,
    /// Statements that found no variable, where their client has set none.
    pub(super) unsigned: usize,
    /// Statements of transactions.
    pub(super) within: usize,
    /// Connections that were cleared for another session.
    pub(super) resets: usize,
    /// Logins inside TLS.
    pub(super) sealed: usize,
}

/// A connection to a server.
struct Visit {
    address: SocketAddr,
    /// It takes writes.
    is_primary: bool,
    line: Line,
    stage: Stage,
    /// TLS that is on offer, and has not begun.
    front: Option<Arc<Front>>,
    /// The number of the next packet of the login.
    sequence: u8,
    /// What the session on it has set, and whose transaction is open: that of the first statement in it.
    signature: Option<u32>,
    transaction: Option<Option<u32>>,
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
    pub(super) fn new(seed: u64, way: Way, sealing: &Sealing, network: &Network) -> Servers {
        Servers {
            addresses: (1..=3).map(|number| SocketAddr::from(([10, 0, 0, number], 3306))).collect(),
            dice: Dice::new(seed ^ 0x5E7),
            visits: Vec::new(),
            done: HashSet::new(),
            changes_at: network.now(),
            way,
            front: sealing.servers.then(|| sealing.far_terms().front),
            tally: Tally::default(),
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
            // Of a pool that is all there is, each server takes what comes.
            let is_primary = self.way == Way::Pooled || address == self.addresses[0];
            let front = self.front.clone().filter(|_| !self.dice.once_in(4));
            self.visits.push(Visit::begin(address, is_primary, far, front, &mut self.dice, now));
        }
        for visit in &mut self.visits {
            visit.act(now, &mut self.dice, &mut self.done, &mut self.tally);
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
    fn begin(
        address: SocketAddr,
        is_primary: bool,
        far: Far,
        front: Option<Arc<Front>>,
        dice: &mut Dice,
        now: Instant,
    ) -> Visit {
        let (line, stage) = (Line::new(far), Stage::Greeted);
        let greeting = greeting(front.is_some());
        let (signature, transaction) = (None, None);
        let mut visit = Visit { address, is_primary, line, stage, front, sequence: 1, signature, transaction };
        match dice.below(30) {
            0 => visit.stage = Stage::Hanging,
            1 => visit.end(End::Reset),
            2 => visit.line.say(&packet(0, b"\xff\x10\x04Too many connections")),
            _ => visit.line.say(&greeting),
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

    fn act(&mut self, now: Instant, dice: &mut Dice, done: &mut HashSet<u32>, tally: &mut Tally) {
        self.line.move_bytes(now);
        while let Some(bytes) = self.line.packet() {
            match self.stage {
                Stage::Greeted => self.log_in(&bytes, tally),
                Stage::Serving => self.serve(&bytes, now, dice, done, tally),
                Stage::Hanging | Stage::Over => {}
            }
        }
        match self.line.over() {
            Some(end) if self.stage != Stage::Over => self.end(end),
            Some(_) | None => {}
        }
    }

    /// An answer to the greeting: first the wish for TLS, wherever that is offered.
    fn log_in(&mut self, bytes: &[u8], tally: &mut Tally) {
        assert_eq!(bytes[3], self.sequence, "an answer to the greeting: {bytes:02x?}");
        self.sequence += 1;
        if let Some(front) = self.front.take() {
            assert_eq!(bytes.len(), HEADER_LENGTH + SSL_REQUEST_BYTES, "a login in clear, where TLS was offered");
            tally.sealed += 1;
            return self.line.begin_tls(Channel::accept(&front).expect("good terms"));
        }
        self.line.say(&packet(self.sequence, &end(0x00, StatusFlags::AUTOCOMMIT)));
        self.stage = Stage::Serving;
    }

    fn serve(&mut self, bytes: &[u8], now: Instant, dice: &mut Dice, done: &mut HashSet<u32>, tally: &mut Tally) {
        assert_eq!(bytes[3], 0, "a command begins");
        let (code, rest) = bytes[HEADER_LENGTH..].split_first().expect("a command has a code");
        match code {
            0x01 => return self.end(End::Finished),
            0x03 => {}
            0x0E => return self.say(vec![end(0x00, self.status())]),
            0x1F => {
                tally.resets += 1;
                (self.signature, self.transaction) = (None, None);
                return self.say(vec![end(0x00, self.status())]);
            }
            other => panic!("nobody sends command {other}"),
        }
        let text = std::str::from_utf8(rest).expect("clients send text");
        let Some(statement) = Statement::parse(text) else { return self.answer_about_session(text) };
        assert!(self.line.has_said_all(), "a command before the reply to the last one");
        if dice.once_in(40) {
            // The server dies before it does anything.
            return self.end(End::Reset);
        }
        self.run(statement, done, tally);
        let reply = statement.reply(self.status()).concat();
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

    /// Does what a statement says, where it may be done: once, by whom it is allowed, on the session that it depends on.
    fn run(&mut self, statement: Statement, done: &mut HashSet<u32>, tally: &mut Tally) {
        match statement {
            Statement::Write { number, within } => {
                assert!(done.insert(number), "write {number} is done twice");
                assert!(self.is_primary, "write {number} comes to a replica");
                assert_eq!(self.transaction.is_some(), within, "write {number} is within a transaction, or is not");
                self.count_within(number, tally);
            }
            Statement::Read { number, asks, .. } => {
                tally.reads_at_replicas += usize::from(!self.is_primary);
                let client = number / STATEMENTS_MAX;
                let expected = match asks {
                    Asked::Nothing => self.signature,
                    Asked::Number => Some(client),
                    Asked::Absence => None,
                };
                assert_eq!(self.signature, expected, "read {number} finds another's variable");
                tally.signed += usize::from(asks == Asked::Number);
                tally.unsigned += usize::from(asks == Asked::Absence);
                self.count_within(number, tally);
            }
            Statement::Begin => {
                assert_eq!(self.transaction, None, "a transaction within another");
                self.transaction = Some(None);
            }
            Statement::Commit => assert!(self.transaction.take().is_some(), "there is nothing to commit"),
            Statement::Sign(client) => self.signature = Some(client),
        }
    }

    /// All statements of a transaction are one client's.
    fn count_within(&mut self, number: u32, tally: &mut Tally) {
        if let Some(owner) = &mut self.transaction {
            let client = *owner.get_or_insert(number / STATEMENTS_MAX);
            assert_eq!(client, number / STATEMENTS_MAX, "statement {number} is in another client's transaction");
            tally.within += 1;
        }
    }

    fn status(&self) -> StatusFlags {
        let within = if self.transaction.is_some() { StatusFlags::IN_TRANS } else { StatusFlags::NONE };
        StatusFlags(StatusFlags::AUTOCOMMIT.0 | within.0)
    }

    fn say(&mut self, payloads: Vec<Vec<u8>>) {
        self.line.say(&packets(payloads).concat());
    }

    /// What is said for a session, to make a connection like another: it is asked for what it has, or told to have something.
    fn answer_about_session(&mut self, text: &str) {
        let Some(list) = text.strip_prefix("SELECT ") else {
            self.set(text);
            return self.say(vec![end(0x00, self.status())]);
        };
        let values: Vec<Vec<u8>> = list.split(", ").map(|item| self.value(item)).collect();
        let definitions = values.iter().map(|_| COLUMN.to_vec());
        let row = values.concat();
        let head = [vec![values.len() as u8]].into_iter().chain(definitions);
        self.say(head.chain([row, end(0xFE, self.status())]).collect());
    }

    fn set(&mut self, text: &str) {
        match text.split_once("@`s`=") {
            Some((_, value)) => {
                let number: String = value.chars().take_while(char::is_ascii_digit).collect();
                self.signature = Some(number.parse().expect("only numbers were set"));
            }
            None if text == "ROLLBACK" => self.transaction = None,
            None => {}
        }
    }

    /// As a value of a row. Variables of the server's are all 0, but for one.
    fn value(&self, item: &str) -> Vec<u8> {
        let text = match item {
            "DATABASE()" => return vec![0xFB],
            "@@SESSION.autocommit" => "1".to_owned(),
            "@`s`" => match self.signature {
                Some(client) => client.to_string(),
                None => return vec![0xFB],
            },
            _ => "0".to_owned(),
        };
        [&[text.len() as u8], text.as_bytes()].concat()
    }
}

/// A login that begins TLS first.
const SSL_REQUEST_BYTES: usize = 32;

fn greeting(offers_tls: bool) -> Vec<u8> {
    let facts = captured::mariadb_10_11();
    let tls = if offers_tls { Capabilities::SSL } else { Capabilities::NONE };
    let greeting = Greeting {
        version: facts.version_text,
        connection_id: 7,
        salt: Salt::from_random([9; 20]),
        capabilities: facts.capabilities | tls,
        collation: facts.collation,
        status: StatusFlags::AUTOCOMMIT,
        plugin: facts.plugin,
    };
    let mut payload = Vec::new();
    greeting.encode(&mut payload);
    packet(0, &payload)
}
