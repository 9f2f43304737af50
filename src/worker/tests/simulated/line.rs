//! Packets over an end of the network in memory, in clear or inside TLS, and what is said in them.

use std::{mem, time::Instant};

use crate::{
    io::{End, Far},
    protocol::{
        packet::{HEADER_LENGTH, Header, write_packet},
        status::StatusFlags,
    },
    tls::{Channel, Received},
};

/// One end.
pub(super) struct Line {
    far: Far,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// TLS has begun: what is received is what was inside, what is unsent are records.
    channel: Option<Box<Channel>>,
    /// The other end has said inside TLS that it says no more.
    is_closed: bool,
    /// Nothing is received, or sent, before.
    pub(super) receives_at: Option<Instant>,
    pub(super) sends_at: Option<Instant>,
}

impl Line {
    pub(super) fn new(far: Far) -> Line {
        Line {
            far,
            received: Vec::new(),
            unsent: Vec::new(),
            channel: None,
            is_closed: false,
            receives_at: None,
            sends_at: None,
        }
    }

    /// From here on all is said inside TLS; what has come behind the last packet are records.
    pub(super) fn begin_tls(&mut self, channel: Channel) {
        self.channel = Some(Box::new(channel));
        let records = mem::take(&mut self.received);
        self.take(&records);
    }

    /// Takes what has arrived, and sends on what there is room for.
    pub(super) fn move_bytes(&mut self, now: Instant) {
        self.receives_at.take_if(|at| *at <= now);
        self.sends_at.take_if(|at| *at <= now);
        if self.receives_at.is_none() {
            let bytes = self.far.receive();
            self.take(&bytes);
        }
        if self.sends_at.is_none() && !self.unsent.is_empty() {
            let sent = self.far.send(&self.unsent);
            self.unsent.drain(..sent);
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        let Some(channel) = &mut self.channel else { return self.received.extend_from_slice(bytes) };
        while !self.is_closed {
            match channel.receive(&mut bytes).expect("records are those that were made") {
                Received::Plaintext(0) => break,
                Received::Plaintext(length) => {
                    let end = self.received.len() + length;
                    while self.received.len() < end {
                        let mut some = vec![0; end - self.received.len()];
                        let taken = channel.take_plaintext(&mut some);
                        self.received.extend_from_slice(&some[..taken]);
                    }
                }
                Received::End => self.is_closed = true,
            }
        }
        assert!(bytes.is_empty(), "{} bytes behind the last record", bytes.len());
        self.write_records();
    }

    fn write_records(&mut self) {
        let Some(channel) = &mut self.channel else { return };
        while channel.has_records() {
            let mut some = [0; 1000];
            let length = channel.take_records(&mut some);
            self.unsent.extend_from_slice(&some[..length]);
        }
    }

    pub(super) fn wakes(&self) -> impl Iterator<Item = Instant> {
        self.receives_at.into_iter().chain(self.sends_at)
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        match &mut self.channel {
            None => self.unsent.extend_from_slice(bytes),
            Some(channel) => channel.seal(bytes),
        }
        self.write_records();
    }

    pub(super) fn has_said_all(&self) -> bool {
        self.unsent.is_empty()
    }

    /// The next whole packet, with its header.
    pub(super) fn packet(&mut self) -> Option<Vec<u8>> {
        let header = Header::parse(&self.received)?;
        let end = HEADER_LENGTH + header.payload_length as usize;
        (self.received.len() >= end).then(|| self.received.drain(..end).collect())
    }

    /// How the other end has ended, once all it said was read.
    pub(super) fn over(&self) -> Option<End> {
        self.far.over().filter(|_| self.receives_at.is_none())
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.channel.is_some()
    }

    /// Whether the other end said so before it ended in order, where that is said.
    pub(super) fn ended_well(&self) -> bool {
        self.channel.is_none() || self.is_closed
    }

    pub(super) fn hang_up(&mut self, end: End) {
        if let (End::Finished, Some(channel)) = (end, &mut self.channel) {
            channel.end();
            self.write_records();
            self.far.send(&self.unsent);
        }
        self.far.hang_up(end);
    }
}

pub(super) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_packet(&mut bytes, sequence, payload);
    bytes
}

/// A statement of a client; those with a number have one of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Statement {
    Write {
        number: u32,
        /// It belongs to a transaction.
        within: bool,
    },
    Read {
        number: u32,
        rows: usize,
        bytes: usize,
        asks: Asked,
    },
    Begin,
    Commit,
    /// The client leaves its number in a variable of its session.
    Sign(u32),
}

/// What a read asks of the variable of its session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Asked {
    Nothing,
    /// The client's number, which it has left there.
    Number,
    /// The client has never set it: nobody else's number is there.
    Absence,
}

impl Asked {
    /// Each with what the statement says.
    const ALL: [(Asked, &str); 3] =
        [(Asked::Nothing, ""), (Asked::Number, " AND s = @s"), (Asked::Absence, " AND @s IS NULL")];
}

/// Between the number of a client and that of its statement.
pub(super) const STATEMENTS_MAX: u32 = 10_000;

impl Statement {
    pub(super) fn text(self) -> String {
        match self {
            Statement::Write { number, within } => format!("INSERT INTO t VALUES ({number}, {})", u32::from(within)),
            Statement::Read { number, rows, bytes, asks } => {
                let (_, condition) = Asked::ALL[asks as usize];
                format!("SELECT a FROM t WHERE n IN ({number}, {rows}, {bytes}){condition}")
            }
            Statement::Begin => "BEGIN".to_owned(),
            Statement::Commit => "COMMIT".to_owned(),
            Statement::Sign(client) => format!("SET @s = {client}"),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Statement> {
        match text {
            "BEGIN" => return Some(Statement::Begin),
            "COMMIT" => return Some(Statement::Commit),
            _ => {}
        }
        if let Some(client) = text.strip_prefix("SET @s = ") {
            return client.parse().ok().map(Statement::Sign);
        }
        let (head, rest) = text.split_once('(')?;
        let (list, condition) = rest.split_once(')')?;
        let numbers: Vec<u32> = list.split(", ").map_while(|number| number.parse().ok()).collect();
        match (head, &numbers[..]) {
            ("INSERT INTO t VALUES ", &[number, within]) => Some(Statement::Write { number, within: within == 1 }),
            ("SELECT a FROM t WHERE n IN ", &[number, rows, bytes]) => {
                let (asks, _) = Asked::ALL.into_iter().find(|(_, text)| *text == condition)?;
                Some(Statement::Read { number, rows: rows as usize, bytes: bytes as usize, asks })
            }
            _ => None,
        }
    }

    /// What a server answers, and says of the session: whole packets.
    pub(super) fn reply(self, status: StatusFlags) -> Vec<Vec<u8>> {
        let payloads = match self {
            Statement::Write { .. } | Statement::Begin | Statement::Commit | Statement::Sign(_) => {
                vec![end(0x00, status)]
            }
            Statement::Read { number, rows, bytes, .. } => {
                let head = [vec![1], COLUMN.to_vec()];
                let rows = (0..rows).map(|row| row_of(number, row, bytes));
                head.into_iter().chain(rows).chain([end(0xFE, status)]).collect()
            }
        };
        packets(payloads)
    }
}

/// Payloads as the packets of one answer.
pub(super) fn packets(payloads: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    payloads.iter().enumerate().map(|(place, payload)| packet(place as u8 + 1, payload)).collect()
}

/// OK, or the end of a result.
pub(super) fn end(header: u8, status: StatusFlags) -> Vec<u8> {
    [&[header, 0, 0][..], &status.0.to_le_bytes(), &[0, 0]].concat()
}

/// The definition of a column.
pub(super) const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0";

/// No two rows are the same.
fn row_of(number: u32, row: usize, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0xFC];
    payload.extend_from_slice(&(bytes as u16).to_le_bytes());
    payload.extend_from_slice(&number.to_le_bytes());
    payload.extend_from_slice(&(row as u32).to_le_bytes());
    payload.resize(3 + bytes.max(8), (number as usize + row) as u8);
    payload
}
