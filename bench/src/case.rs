//! What is asked and what must come back: the cases, their statements, and the exact bytes of each reply.
//!
//! The stand-in server answers with these bytes and the load generator compares with them, so a candidate that loses,
//! doubles or changes one byte is found at once.

use std::rc::Rc;

use crate::wire::{ColumnType, ReplyWriter, ResultEnd, command};

const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;

/// What a measurement does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// One row of 100 bytes by a text statement
    PointSelect,
    /// The same row by a prepared statement
    Prepared,
    /// One row of 4 KiB
    #[value(name = "row-4k")]
    Row4K,
    /// 64 rows of 1 KiB
    #[value(name = "result-64k")]
    Result64K,
    /// 1024 rows of 1 KiB
    #[value(name = "result-1m")]
    Result1M,
    /// Connect, log in, one point select, quit: all of it is one request
    Short,
    /// One connection with point selects beside idle ones
    Idle,
}

impl Case {
    pub(crate) const ALL: [Case; 7] =
        [Case::PointSelect, Case::Prepared, Case::Row4K, Case::Result64K, Case::Result1M, Case::Short, Case::Idle];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::PointSelect => "point-select",
            Case::Prepared => "prepared",
            Case::Row4K => "row-4k",
            Case::Result64K => "result-64k",
            Case::Result1M => "result-1m",
            Case::Short => "short",
            Case::Idle => "idle",
        }
    }

    pub(crate) fn table(self) -> Table {
        match self {
            Case::PointSelect | Case::Prepared | Case::Short | Case::Idle => Table::Point,
            Case::Row4K => Table::Row4K,
            Case::Result64K => Table::Rows64K,
            Case::Result1M => Table::Rows1M,
        }
    }
}

/// What the stand-in server holds: each has one statement with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Point,
    Row4K,
    Rows64K,
    Rows1M,
}

impl Table {
    pub(crate) const ALL: [Table; 4] = [Table::Point, Table::Row4K, Table::Rows64K, Table::Rows1M];

    pub(crate) fn statement(self) -> &'static [u8] {
        match self {
            Table::Point => b"SELECT c FROM point WHERE id=4711",
            Table::Row4K => b"SELECT c FROM row4k WHERE id=4711",
            Table::Rows64K => b"SELECT c FROM rows64k",
            Table::Rows1M => b"SELECT c FROM rows1m",
        }
    }

    /// The statement with a parameter in place of the key.
    pub(crate) fn prepared_statement(self) -> &'static [u8] {
        match self {
            Table::Point => b"SELECT c FROM point WHERE id=?",
            Table::Row4K => b"SELECT c FROM row4k WHERE id=?",
            Table::Rows64K => b"SELECT c FROM rows64k WHERE id>?",
            Table::Rows1M => b"SELECT c FROM rows1m WHERE id>?",
        }
    }

    /// The same id on each connection: the answer does not depend on what was prepared before.
    pub(crate) fn statement_id(self) -> u32 {
        self as u32 + 1
    }

    pub(crate) fn of_statement_id(id: u32) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.statement_id() == id)
    }

    fn rows(self) -> impl Iterator<Item = Vec<u8>> {
        let (count, length) = match self {
            Table::Point => (1, 100),
            Table::Row4K => (1, 4096),
            Table::Rows64K => (64, 1024),
            Table::Rows1M => (1024, 1024),
        };
        (0..count).map(move |row| value(row, length))
    }
}

/// Text whose digits differ from row to row and from place to place, so that a shift or a swap is seen.
fn value(row: usize, length: usize) -> Vec<u8> {
    (0..length).map(|place| b"0123456789-"[(row * 3 + place * 7 + place / 11) % 11]).collect()
}

/// All replies for one way of ending a result set. Shared and never copied: answering allocates nothing.
pub(crate) struct Replies {
    text: [Rc<[u8]>; 4],
    prepare: [Rc<[u8]>; 4],
    binary: [Rc<[u8]>; 4],
}

impl Replies {
    pub(crate) fn new(end: ResultEnd) -> Replies {
        Replies {
            text: Table::ALL.map(|table| text_reply(table, end)),
            prepare: Table::ALL.map(|table| prepare_reply(table, end)),
            binary: Table::ALL.map(|table| binary_reply(table, end)),
        }
    }

    pub(crate) fn text(&self, table: Table) -> &Rc<[u8]> {
        &self.text[table as usize]
    }

    pub(crate) fn prepare(&self, table: Table) -> &Rc<[u8]> {
        &self.prepare[table as usize]
    }

    pub(crate) fn binary(&self, table: Table) -> &Rc<[u8]> {
        &self.binary[table as usize]
    }
}

fn text_reply(table: Table, end: ResultEnd) -> Rc<[u8]> {
    let mut writer = one_column_head(end);
    for row in table.rows() {
        writer.text_row(&[&row]);
    }
    writer.rows_end();
    writer.into_bytes().into()
}

fn binary_reply(table: Table, end: ResultEnd) -> Rc<[u8]> {
    let mut writer = one_column_head(end);
    for row in table.rows() {
        writer.binary_row(&row);
    }
    writer.rows_end();
    writer.into_bytes().into()
}

fn one_column_head(end: ResultEnd) -> ReplyWriter {
    let mut writer = ReplyWriter::new(end);
    writer.column_count(1);
    writer.column(b"c", ColumnType::Text);
    writer.columns_end();
    writer
}

/// One parameter, one column. Where the statement id stands: [`STATEMENT_ID_IN_REPLY`].
fn prepare_reply(table: Table, end: ResultEnd) -> Rc<[u8]> {
    let mut writer = ReplyWriter::new(end);
    let mut payload = vec![0x00];
    payload.extend_from_slice(&table.statement_id().to_le_bytes());
    payload.extend_from_slice(&[1, 0, 1, 0, 0x00, 0, 0]);
    writer.packet(&payload);
    writer.column(b"?", ColumnType::Integer);
    writer.columns_end();
    writer.column(b"c", ColumnType::Text);
    writer.columns_end();
    writer.into_bytes().into()
}

/// Behind the packet header and the `00` of a prepare reply.
pub(crate) const STATEMENT_ID_IN_REPLY: std::ops::Range<usize> = 5..9;

/// A command and the bytes that must come back.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) reply: Rc<[u8]>,
}

impl Exchange {
    pub(crate) fn query(table: Table, replies: &Replies) -> Exchange {
        Exchange { request: command(COM_QUERY, table.statement()), reply: replies.text(table).clone() }
    }

    pub(crate) fn prepare(table: Table, replies: &Replies) -> Exchange {
        Exchange {
            request: command(COM_STMT_PREPARE, table.prepared_statement()),
            reply: replies.prepare(table).clone(),
        }
    }

    /// With the id that the prepare reply gave: a balancer may hand out ids of its own.
    pub(crate) fn execute(table: Table, statement_id: u32, replies: &Replies) -> Exchange {
        let mut body = statement_id.to_le_bytes().to_vec();
        body.extend_from_slice(&[0x00, 1, 0, 0, 0]); // no cursor, one iteration
        body.extend_from_slice(&[0x00, 0x01, 0x08, 0x00]); // not NULL, types follow: BIGINT
        body.extend_from_slice(&4711_u64.to_le_bytes());
        Exchange { request: command(COM_STMT_EXECUTE, &body), reply: replies.binary(table).clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::first_packet;

    /// Packets of a reply, whose sequence ids must go up from 1.
    fn packets(mut reply: &[u8]) -> Vec<&[u8]> {
        let mut packets = Vec::new();
        while let Some((payload, sequence, length)) = first_packet(reply) {
            packets.push(payload);
            assert_eq!(usize::from(sequence), packets.len() % 256);
            reply = &reply[length..];
        }
        assert!(reply.is_empty(), "bytes behind the last packet");
        packets
    }

    #[test]
    fn every_table_answers_with_its_size_in_rows() {
        let replies = Replies::new(ResultEnd::OkPacket);
        for (table, rows, bytes) in [
            (Table::Point, 1, 100),
            (Table::Row4K, 1, 4096),
            (Table::Rows64K, 64, 65_536),
            (Table::Rows1M, 1024, 1 << 20),
        ] {
            // Around the rows: the column count, one definition, and the last packet.
            assert_eq!(packets(replies.text(table)).len(), rows + 3);
            assert!(replies.text(table).len() > bytes);
            assert_eq!(packets(replies.binary(table)).len(), rows + 3);
        }
    }

    #[test]
    fn rows_differ_from_each_other() {
        let rows: std::collections::HashSet<_> = Table::Rows64K.rows().collect();
        assert!(rows.len() > 8);
    }

    #[test]
    fn a_prepare_reply_carries_the_id_where_it_is_read() {
        for end in [ResultEnd::OkPacket, ResultEnd::EofPackets] {
            let replies = Replies::new(end);
            for table in Table::ALL {
                let id = replies.prepare(table)[STATEMENT_ID_IN_REPLY].try_into().expect("four bytes");
                assert_eq!(Table::of_statement_id(u32::from_le_bytes(id)), Some(table));
            }
        }
    }
}
