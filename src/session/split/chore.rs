//! What we say to a server ourselves, between two commands of the client, and what it answers.

mod answers;
pub(super) mod missing;
pub(super) mod readying;
pub(super) mod words;

use std::collections::VecDeque;

use crate::protocol::{
    command::ReplyShape,
    packet::{HEADER_LENGTH, Header},
    reader::Reader,
    response::{EOF_HEADER, ERR_HEADER, ErrPacket, OK_HEADER},
    result_set::{Framing, Progress, Reply},
    statement::{Prepared, StatementId},
    status::StatusFlags,
};

use super::{super::Side, statements::Definitions};

/// The most that is kept of an answer.
const ANSWER_MAX: usize = 256 << 10;

/// Something of ours to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// Ask home for its values and for what it tells clients of changes.
    HomeValues,
    /// Ask home for its values again: some may have changed unseen.
    HomeChanges,
    /// Have home tell of changes.
    Tracking,
    /// Have home tell what the client asked for, and nothing else.
    ReturnTracking,
    /// Make the replica's connection as after its login, as home's was made.
    Reset,
    /// Give a replica's connection that was another session's the character set that the client logged in with.
    Collation,
    /// Ask the replica for its values.
    ReplicaValues,
    /// Give the replica the session's schema.
    Schema,
    /// Give it the session's variables.
    Settings,
    /// Give it the session's role.
    Role,
    /// Begin a read-only transaction on it, in step with home's.
    Begin,
    /// End that.
    Commit,
    /// Ask home for its position.
    Position,
    /// Wait at the replica for what the session has seen.
    Wait,
    /// Ask the replica for views that do more than read.
    Views,
    /// Roll back at home a transaction whose snapshot is at the replica.
    RollBack,
    /// Prepare a statement of the client there.
    Prepare(StatementId),
    /// Show home that the session is not idle, while it reads elsewhere.
    Ping,
    /// Run the last read at home, too: a statement asks what it left behind.
    Repeat,
    /// Have home, a node that knows no positions, wait until it has all that the cluster had committed before.
    HomeWait,
    /// Have such a home wait on this connection, where no statement alone can be told to.
    HomeWaits,
    /// Have it wait on this connection no more than on others.
    HomeWaitsNoMore,
    /// Take another session's state off a home connection that was lent.
    HomeReset,
    /// Give it the character set that the client logged in with.
    HomeCollation,
    /// Give it the session's schema.
    HomeSchema,
    /// Ask it for its values.
    HomeTheirs,
    /// Have it tell of changes, and give it the session's variables.
    HomeSettings,
    /// Give it the session's role.
    HomeRole,
    /// Have it read texts as when a statement of the client was prepared.
    HomeReading(StatementId),
    /// Prepare a statement of the client on a home connection that was lent.
    HomePrepare(StatementId),
    /// Ask home for LAST_INSERT_ID(), before its connection goes.
    InsertId,
    /// Ask home for all that the session has set, before the session leaves for another one.
    Stock,
    /// Ask the next home for the same.
    Proof,
}

impl Chore {
    pub(super) fn side(self) -> Side {
        match self {
            Chore::HomeValues
            | Chore::HomeChanges
            | Chore::Tracking
            | Chore::ReturnTracking
            | Chore::Position
            | Chore::Ping
            | Chore::RollBack
            | Chore::Repeat
            | Chore::HomeWait
            | Chore::HomeWaits
            | Chore::HomeWaitsNoMore
            | Chore::HomeReset
            | Chore::HomeCollation
            | Chore::HomeSchema
            | Chore::HomeTheirs
            | Chore::HomeSettings
            | Chore::HomeRole
            | Chore::HomeReading(_)
            | Chore::HomePrepare(_)
            | Chore::InsertId
            | Chore::Stock
            | Chore::Proof => Side::Server,
            Chore::Reset
            | Chore::Collation
            | Chore::ReplicaValues
            | Chore::Schema
            | Chore::Settings
            | Chore::Role
            | Chore::Begin
            | Chore::Commit
            | Chore::Wait
            | Chore::Views
            | Chore::Prepare(_) => Side::Replica,
        }
    }

    /// Whether it is a query, which takes the place of the last one.
    pub(super) fn is_question(self) -> bool {
        matches!(
            self,
            Chore::HomeValues
                | Chore::HomeChanges
                | Chore::ReplicaValues
                | Chore::Position
                | Chore::Wait
                | Chore::Views
                | Chore::HomeWait
                | Chore::HomeTheirs
                | Chore::InsertId
                | Chore::Stock
                | Chore::Proof
        )
    }

    /// What goes wrong with it concerns the statement, and not the connection.
    pub(super) fn is_of_statement(self) -> bool {
        matches!(self, Chore::HomeReading(_) | Chore::HomePrepare(_))
    }

    /// The client would wait for it as long.
    pub(super) fn may_take_long(self) -> bool {
        matches!(self, Chore::Repeat | Chore::HomePrepare(_))
    }

    pub(super) fn shape(self) -> ReplyShape {
        match self {
            Chore::Reset | Chore::Schema | Chore::Ping | Chore::HomeReset | Chore::HomeSchema => ReplyShape::Simple,
            Chore::Prepare(_) | Chore::HomePrepare(_) => ReplyShape::Prepare,
            _ => ReplyShape::ResultSet,
        }
    }
}

/// A chore that cannot be said, or was answered so that the replica is of no use.
pub(super) struct Unsayable;

/// A chore that was said, and its answer so far.
pub(super) struct Asked {
    pub(super) chore: Chore,
    /// What was said in the same breath, and is answered behind it.
    behind: VecDeque<Chore>,
    reply: Reply,
    framing: Framing,
    answer: Vec<u8>,
    /// Of a prepared statement, what the packets behind the first come to.
    definitions: Definitions,
    overflowed: bool,
    /// What the server says of the session at the end.
    pub(super) status: Option<StatusFlags>,
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// OK, or rows that nobody wants.
    Done,
    /// The values of the first row.
    Row(Vec<Option<Vec<u8>>>),
    /// The first values of all rows.
    Column(Vec<Vec<u8>>),
    /// A statement is prepared.
    Prepared { id: StatementId, parameters: u16, definitions: Definitions },
    /// An error.
    Refused(u16),
    /// What cannot be.
    Malformed,
}

impl Asked {
    pub(super) fn new(chore: Chore, behind: VecDeque<Chore>, framing: Framing) -> Asked {
        let reply = Reply::new(chore.shape(), framing);
        Asked {
            chore,
            behind,
            reply,
            framing,
            answer: Vec::new(),
            definitions: Definitions::default(),
            overflowed: false,
            status: None,
        }
    }

    /// What is answered next, when this is answered.
    pub(super) fn next(&mut self) -> Option<Asked> {
        let chore = self.behind.pop_front()?;
        Some(Asked::new(chore, std::mem::take(&mut self.behind), self.framing))
    }

    /// The error that the server answered with.
    pub(super) fn refusal(&self) -> Option<ErrPacket> {
        packets(&self.answer).next().and_then(|payload| ErrPacket::parse(payload).ok())
    }

    /// Takes in bytes of the server: how many, and the answer when it is complete.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> (usize, Option<Answer>) {
        let Ok(followed) = self.reply.follow(bytes) else { return (bytes.len(), Some(Answer::Malformed)) };
        self.keep(&bytes[..followed.consumed]);
        match followed.progress {
            Progress::More if followed.consumed == 0 => (bytes.len(), Some(Answer::Malformed)),
            Progress::More => (followed.consumed, None),
            Progress::LocalInfile => (bytes.len(), Some(Answer::Malformed)),
            Progress::Done(end) => {
                self.status = end.status;
                let answer = end.error.map_or_else(|| self.read(), Answer::Refused);
                (followed.consumed, Some(answer))
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = match self.chore {
            Chore::Prepare(_) | Chore::HomePrepare(_) => self.keep_first(bytes),
            _ => bytes,
        };
        let wanted = self.chore != Chore::Repeat && self.answer.len() + bytes.len() <= ANSWER_MAX;
        self.overflowed |= !wanted;
        if !self.overflowed {
            self.answer.extend_from_slice(bytes);
        }
    }

    /// Of what the first packet of a prepare reply still lacks, and of no more; the rest may be long. Gives that much.
    fn keep_first<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = match Header::parse(&self.answer) {
            Some(header) => HEADER_LENGTH + header.payload_length as usize,
            None => {
                let header: Vec<u8> = self.answer.iter().chain(bytes).take(HEADER_LENGTH).copied().collect();
                Header::parse(&header).map_or(usize::MAX, |header| HEADER_LENGTH + header.payload_length as usize)
            }
        };
        let (first, rest) = bytes.split_at(bytes.len().min(end.saturating_sub(self.answer.len())));
        self.definitions.add(rest);
        first
    }

    fn read(&self) -> Answer {
        if self.chore == Chore::Repeat {
            return Answer::Done;
        }
        if self.overflowed {
            return Answer::Malformed;
        }
        match (self.chore, packets(&self.answer).next()) {
            (Chore::Prepare(_) | Chore::HomePrepare(_), Some(first)) => self.read_prepared(first),
            (_, Some([OK_HEADER, ..])) => Answer::Done,
            (_, Some([ERR_HEADER, ..]) | None) => Answer::Malformed,
            (_, Some(first)) => self.read_rows(first).unwrap_or(Answer::Malformed),
        }
    }

    fn read_prepared(&self, first: &[u8]) -> Answer {
        let Ok(prepared) = Prepared::parse(first) else { return Answer::Malformed };
        Answer::Prepared { id: prepared.id, parameters: prepared.parameters, definitions: self.definitions }
    }

    fn read_rows(&self, first: &[u8]) -> Option<Answer> {
        let mut head = Reader::new(first);
        let columns = head.lenenc("column count").ok()?;
        let has_flag = self.framing.optional_metadata || self.framing.cache_metadata;
        let definitions = if has_flag && head.u8("metadata flag") == Ok(0) { 0 } else { columns };
        let skipped = 1 + definitions as usize + usize::from(!self.framing.deprecate_eof);
        let rows = packets(&self.answer).skip(skipped);
        if self.chore == Chore::Views {
            let rows = rows.take_while(|row| row.first() != Some(&EOF_HEADER));
            let values = rows.map(|row| Reader::new(row).lenenc_bytes("value").map(<[u8]>::to_vec));
            return values.collect::<Result<_, _>>().ok().map(Answer::Column);
        }
        let row = { rows }.next()?;
        if row.first() == Some(&EOF_HEADER) {
            // No row: the session may have limited what a SELECT gives.
            return Some(Answer::Done);
        }
        let mut row = Reader::new(row);
        let value = |row: &mut Reader<'_>| match row.peek() {
            Some(0xFB) => row.skip(1, "NULL").ok().map(|()| None),
            _ => row.lenenc_bytes("value").ok().map(|value| Some(value.to_vec())),
        };
        (0..columns).map(|_| value(&mut row)).collect::<Option<_>>().map(Answer::Row)
    }
}

/// The payloads of packets that are there as a whole.
fn packets(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = Header::parse(bytes)?;
        let end = HEADER_LENGTH + header.payload_length as usize;
        let payload = bytes.get(HEADER_LENGTH..end)?;
        bytes = &bytes[end..];
        Some(payload)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::packet::write_packet;

    fn stream(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut sequence = 1;
        for payload in payloads {
            sequence = write_packet(&mut bytes, sequence, payload);
        }
        bytes
    }

    fn hear(chore: Chore, deprecate_eof: bool, payloads: &[&[u8]]) -> Option<Answer> {
        let framing = Framing { deprecate_eof, ..Framing::default() };
        let stream = stream(payloads);
        let mut asked = Asked::new(chore, VecDeque::new(), framing);
        let mut answer = None;
        for byte in stream.chunks(1) {
            let (taken, heard) = asked.hear(byte);
            assert_eq!(taken, 1);
            answer = answer.or(heard);
        }
        answer
    }

    #[test]
    fn a_row_is_read_in_both_framings() {
        let row = Some(Answer::Row(vec![Some(b"a".to_vec()), None]));
        let (definition, values): (&[u8], &[u8]) = (b"\x03def and so on", b"\x01a\xFB");
        let ok: &[u8] = b"\xFE\0\0\x02\0\0\0";
        assert_eq!(hear(Chore::HomeValues, true, &[b"\x02", definition, definition, values, ok]), row);
        let eof: &[u8] = b"\xFE\0\0\x02\0";
        assert_eq!(hear(Chore::HomeValues, false, &[b"\x02", definition, definition, eof, values, eof]), row);
    }

    #[test]
    fn ok_error_and_prepared_are_told_apart() {
        assert_eq!(hear(Chore::Settings, true, &[b"\0\0\0\x02\0\0\0"]), Some(Answer::Done));
        assert_eq!(hear(Chore::Settings, true, &[b"\xFF\xA9\x04#42000no"]), Some(Answer::Refused(1193)));
        let prepared = hear(Chore::Prepare(StatementId(1)), true, &[&[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]);
        assert_eq!(
            prepared,
            Some(Answer::Prepared { id: StatementId(9), parameters: 0, definitions: Definitions::default() })
        );
    }
}
