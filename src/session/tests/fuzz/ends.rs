//! The four connections of a session, and what must be true of the bytes on them, whoever says what:
//!
//! - what goes to a server is whole packets, and begins with a command;
//! - sequence ids are continuous on each connection, as long as the ends themselves keep to that;
//! - a server hears no command before it has let the session in;
//! - a write goes to a server once, unless that server has refused it;
//! - rows come to the client in their order, each once.

use std::collections::{BTreeMap, VecDeque};

use super::super::Side;
use crate::protocol::{
    packet::{HEADER_LENGTH, Header},
    status::StatusFlags,
};

/// A connection, seen from its other end.
pub(super) struct Connection {
    /// Received, and not used yet.
    inbox: Vec<u8>,
    /// Of what the other end said: an unfinished packet.
    said: Vec<u8>,
    /// Of what it was sent: an unfinished packet.
    heard: Vec<u8>,
    /// Of the last packet either way.
    sequence: Option<u8>,
    /// The other end does not keep to the order of sequence ids: nothing follows from them any more.
    lies: bool,
    has_hung_up: bool,
    /// The header of the unfinished packet in `said` was looked at.
    is_within: bool,
    /// It was told an error that it did not ask for.
    has_parted: bool,
    /// A server that has not said OK to a login: it would take a command for the answer to its greeting.
    is_at_door: bool,
    /// The commands that were sent here and have no answer yet. Several may be said in one breath.
    asked: VecDeque<Vec<u8>>,
    /// What a good server says of the session behind each answer.
    status: StatusFlags,
}

impl Connection {
    fn new(is_at_door: bool) -> Connection {
        Connection {
            inbox: Vec::new(),
            said: Vec::new(),
            heard: Vec::new(),
            sequence: None,
            lies: false,
            has_hung_up: false,
            is_within: false,
            has_parted: false,
            is_at_door,
            asked: VecDeque::new(),
            status: StatusFlags::AUTOCOMMIT,
        }
    }

    pub(super) fn hang_up(&mut self) {
        self.has_hung_up = true;
    }

    pub(super) fn is_whole(&self) -> bool {
        !self.has_hung_up
    }

    /// A good server runs this, and says of the session what it came to.
    fn runs(&mut self, command: &[u8]) -> StatusFlags {
        const IN_TRANSACTION: StatusFlags = StatusFlags(StatusFlags::IN_TRANS.0 | StatusFlags::IN_TRANS_READONLY.0);
        let status = self.status;
        self.status = match command {
            b"\x03BEGIN" => StatusFlags(status.0 | StatusFlags::IN_TRANS.0),
            b"\x03START TRANSACTION READ ONLY" => StatusFlags(status.0 | IN_TRANSACTION.0),
            b"\x03COMMIT" | b"\x03ROLLBACK" => status.without(IN_TRANSACTION),
            b"\x03SET autocommit = 0" => status.without(StatusFlags::AUTOCOMMIT),
            b"\x1f" => StatusFlags::AUTOCOMMIT,
            _ => status,
        };
        self.status
    }

    /// Takes out the next whole packet that the other end has said: a command, if it `begins`.
    fn next_said(&mut self, begins: bool) -> Option<(u8, Vec<u8>)> {
        let sequence = Header::parse(&self.said)?.sequence;
        if !self.is_within {
            // The answer to what was asked behind something else begins anew.
            let answers_the_next = sequence == 1 && !self.asked.is_empty();
            self.lies |= !answers_the_next && sequence != if begins { 0 } else { self.next_sequence() };
            self.sequence = Some(sequence);
        }
        let packet = take_packet(&mut self.said);
        self.is_within = packet.is_none();
        packet
    }

    /// The commands that a packet answers: one, with its first packet, or whatever was asked of an end that lies.
    fn answered(&mut self, sequence: u8) -> Vec<Vec<u8>> {
        match self.lies {
            true => self.asked.drain(..).collect(),
            false if sequence == 1 => self.asked.pop_front().into_iter().collect(),
            false => Vec::new(),
        }
    }

    fn next_sequence(&self) -> u8 {
        self.sequence.map_or(0, |last| last.wrapping_add(1))
    }

    /// That of an answer: a packet may be refused for its length before its own number has come.
    fn answers_sequence(&self) -> u8 {
        let has_begun = !self.said.is_empty() && !self.is_within;
        self.next_sequence().wrapping_add(u8::from(has_begun))
    }
}

/// What became of the numbered writes and rows.
#[derive(Default)]
pub(super) struct Journal {
    writes: BTreeMap<u32, Fate>,
    last_row: u32,
}

/// How a write stands.
#[derive(PartialEq)]
enum Fate {
    /// It may have been done.
    Sent,
    /// Its server said that it was not.
    Refused,
}

/// A read of the client.
const READ: &[u8] = b"\x03SELECT a FROM t";

const WRITE: &str = "INSERT INTO t VALUES (";
const ROW: &[u8] = b"row ";

impl Journal {
    /// The text of a write.
    pub(super) fn write(number: u32) -> String {
        format!("{WRITE}{number})")
    }

    /// The payload of a row.
    pub(super) fn row(number: u32) -> Vec<u8> {
        let text = [ROW, &number.to_le_bytes()].concat();
        [&[text.len() as u8][..], &text].concat()
    }

    fn number_of_write(payload: &[u8]) -> Option<u32> {
        let text = std::str::from_utf8(payload.strip_prefix(b"\x03")?).ok()?;
        text.strip_prefix(WRITE)?.strip_suffix(')')?.parse().ok()
    }

    fn number_of_row(payload: &[u8]) -> Option<u32> {
        let text = payload.split_first()?.1.strip_prefix(ROW)?;
        Some(u32::from_le_bytes(text.try_into().ok()?))
    }

    fn sent(&mut self, number: u32) {
        let before = self.writes.insert(number, Fate::Sent);
        assert!(before.is_none_or(|fate| fate == Fate::Refused), "write {number} may have run, and is sent again");
    }

    fn shown(&mut self, payload: &[u8]) {
        let Some(number) = Journal::number_of_row(payload) else { return };
        assert!(number > self.last_row, "row {number} comes after row {}", self.last_row);
        self.last_row = number;
    }
}

/// All connections of a session.
pub(super) struct Ends {
    /// By `Side`; the client's is always there.
    connections: [Option<Connection>; 4],
    journal: Journal,
    /// Reads of the client that went to a replica.
    pub(super) reads_at_replica: usize,
    /// No command is under way: what the client is told now, it did not ask for.
    pub(super) is_idle: bool,
}

impl Ends {
    pub(super) fn new() -> Ends {
        Ends {
            connections: [Some(Connection::new(false)), None, None, None],
            journal: Journal::default(),
            reads_at_replica: 0,
            is_idle: false,
        }
    }

    fn get(&mut self, side: Side) -> Option<&mut Connection> {
        self.connections[side as usize].as_mut()
    }

    /// A new connection to a server.
    pub(super) fn open(&mut self, side: Side) {
        self.connections[side as usize] = Some(Connection::new(true));
    }

    /// A connection that another session, or this one, has used before.
    pub(super) fn lend(&mut self, side: Side) {
        self.connections[side as usize] = Some(Connection::new(false));
    }

    pub(super) fn close(&mut self, side: Side) {
        self.connections[side as usize] = None;
    }

    pub(super) fn detach(&mut self, side: Side) -> Option<Connection> {
        self.connections[side as usize].take()
    }

    pub(super) fn attach(&mut self, side: Side, connection: Connection) {
        self.connections[side as usize] = Some(connection);
    }

    pub(super) fn is_open(&self, side: Side) -> bool {
        self.connections[side as usize].as_ref().is_some_and(Connection::is_whole)
    }

    /// False if it is closed already.
    pub(super) fn hangs_up(&mut self, side: Side) -> bool {
        let is_open = self.is_open(side);
        if let Some(connection) = self.get(side) {
            connection.hang_up();
        }
        is_open
    }

    /// The commands that wait there for an answer, if the session has used all that was said there.
    pub(super) fn asked(&self, side: Side) -> Option<&VecDeque<Vec<u8>>> {
        let connection = self.connections[side as usize].as_ref()?;
        connection.inbox.is_empty().then_some(&connection.asked)
    }

    pub(super) fn runs(&mut self, side: Side, command: &[u8]) -> StatusFlags {
        self.get(side).map_or(StatusFlags::AUTOCOMMIT, |connection| connection.runs(command))
    }

    pub(super) fn status(&self, side: Side) -> StatusFlags {
        let connection = self.connections[side as usize].as_ref();
        connection.map_or(StatusFlags::AUTOCOMMIT, |connection| connection.status)
    }

    /// The sequence id of a packet that goes on with what was said last.
    pub(super) fn next_sequence(&mut self, side: Side) -> u8 {
        self.get(side).map_or(0, |connection| connection.next_sequence())
    }

    /// Bytes come from an end; false if it has none to say any more.
    pub(super) fn receive(&mut self, side: Side, bytes: &[u8]) -> bool {
        let is_open = self.is_open(side);
        if is_open && let Some(connection) = self.get(side) {
            connection.inbox.extend_from_slice(bytes);
        }
        is_open
    }

    pub(super) fn inbox(&mut self, side: Side) -> Vec<u8> {
        self.get(side).map(|connection| connection.inbox.clone()).unwrap_or_default()
    }

    /// Bytes that wait to be used.
    pub(super) fn waiting(&self) -> usize {
        self.connections.iter().flatten().map(|connection| connection.inbox.len()).sum()
    }

    /// The session has used bytes of that side.
    pub(super) fn used(&mut self, side: Side, length: usize) {
        assert!(length > 0, "a step makes progress");
        let Some(connection) = self.connections[side as usize].as_mut() else { panic!("{side:?} is not there") };
        let used: Vec<u8> = connection.inbox.drain(..length).collect();
        connection.said.extend(used);
        let begins = side == Side::Client && self.is_idle;
        while let Some((sequence, payload)) = connection.next_said(begins) {
            let is_error = payload.first() == Some(&0xFF);
            connection.is_at_door &= payload.first() != Some(&0x00);
            let answered = connection.answered(sequence);
            for number in answered.iter().filter_map(|asked| Journal::number_of_write(asked)).filter(|_| is_error) {
                self.journal.writes.insert(number, Fate::Refused);
            }
        }
    }

    /// Bytes go to that side.
    pub(super) fn write(&mut self, side: Side, bytes: &[u8]) {
        let an_end_lies = self.connections.iter().flatten().any(|connection| connection.lies);
        // An error may answer a command that has not been looked at yet, or the next one; else it is the last word.
        let is_farewell = |payload: &[u8]| side == Side::Client && self.is_idle && payload.first() == Some(&0xFF);
        let Some(connection) = self.connections[side as usize].as_mut() else { return };
        assert!(!connection.has_parted, "a farewell is the last word");
        connection.heard.extend_from_slice(bytes);
        while let Some((sequence, payload)) = take_packet(&mut connection.heard) {
            let next = connection.answers_sequence();
            let begins = side != Side::Client && sequence == 0;
            if !begins && sequence != next && !an_end_lies {
                assert!(is_farewell(&payload), "packet {sequence} to {side:?} in place of {next}: {payload:02x?}");
                connection.has_parted = sequence != 1;
            }
            connection.sequence = Some(sequence);
            if side == Side::Client {
                self.journal.shown(&payload);
            } else if sequence == 0 {
                assert!(
                    !connection.is_at_door || an_end_lies,
                    "a command to {side:?}, which has let nobody in: {payload:02x?}"
                );
                self.reads_at_replica += usize::from(side == Side::Replica && payload == READ);
                Journal::number_of_write(&payload).into_iter().for_each(|number| self.journal.sent(number));
                connection.asked.extend(Some(payload).filter(|payload| has_answer(payload)));
            }
        }
    }
}

/// Not so: COM_QUIT, COM_STMT_SEND_LONG_DATA, COM_STMT_CLOSE.
fn has_answer(command: &[u8]) -> bool {
    !matches!(command.first(), None | Some(0x01 | 0x18 | 0x19))
}

/// Takes the first packet out, if it is whole.
fn take_packet(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let header = Header::parse(bytes)?;
    let end = HEADER_LENGTH + header.payload_length as usize;
    if bytes.len() < end {
        return None;
    }
    let payload = bytes[HEADER_LENGTH..end].to_vec();
    bytes.drain(..end);
    Some((header.sequence, payload))
}
