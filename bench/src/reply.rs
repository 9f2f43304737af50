//! What must come back: the exact bytes where the stand-in server answers, the shape where a real one does.
//!
//! The stand-in server answers with these bytes and the load generator compares with them, so a candidate that loses,
//! doubles or changes one byte is found at once.

use std::rc::Rc;

use crate::dataset::{Shape, Table};
use crate::wire::{ColumnType, ReplyWriter, ResultEnd, SessionState};

/// What must come back.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// From the stand-in server, or through something in front of it: these bytes and no others.
    Bytes(Rc<[u8]>),
    /// From a real server, whose exact bytes are its own.
    Shape(Shape),
}

/// How replies are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The stand-in server's, to the last byte.
    Bytes,
    /// A real server's.
    Shape,
}

/// Knows what comes back, in a session with CLIENT_DEPRECATE_EOF.
pub(crate) struct Oracle {
    comparison: Comparison,
    autocommit: Replies,
    in_transaction: Replies,
}

impl Oracle {
    pub(crate) fn new(comparison: Comparison) -> Oracle {
        let replies = |state| Replies::new(ResultEnd::OkPacket, state);
        Oracle {
            comparison,
            autocommit: replies(SessionState::Autocommit),
            in_transaction: replies(SessionState::InTransaction),
        }
    }

    /// To [`Table::statement`], in a session of this state.
    pub(crate) fn text(&self, table: Table, state: SessionState) -> Expected {
        self.expected(self.replies(state).text(table), table.text_shape())
    }

    pub(crate) fn prepare(&self, table: Table) -> Expected {
        self.expected(self.autocommit.prepare(table), table.prepare_shape())
    }

    pub(crate) fn binary(&self, table: Table) -> Expected {
        self.expected(self.autocommit.binary(table), table.binary_shape())
    }

    /// To a statement without rows that leaves the session in this state.
    pub(crate) fn done(&self, affected: u8, state: SessionState) -> Expected {
        self.expected(&done_reply(affected, state), Shape::Done { affected: Some(affected) })
    }

    fn replies(&self, state: SessionState) -> &Replies {
        match state {
            SessionState::Autocommit => &self.autocommit,
            SessionState::InTransaction => &self.in_transaction,
        }
    }

    fn expected(&self, bytes: &Rc<[u8]>, shape: Shape) -> Expected {
        match self.comparison {
            Comparison::Bytes => Expected::Bytes(bytes.clone()),
            Comparison::Shape => Expected::Shape(shape),
        }
    }
}

/// The stand-in server's replies for one way of ending a result set and one state of a session. Shared and never copied:
/// answering allocates nothing.
pub(crate) struct Replies {
    text: [Rc<[u8]>; 4],
    prepare: [Rc<[u8]>; 4],
    binary: [Rc<[u8]>; 4],
}

impl Replies {
    pub(crate) fn new(end: ResultEnd, state: SessionState) -> Replies {
        let writer = || ReplyWriter::new(end).leaving(state);
        Replies {
            text: Table::ALL.map(|table| text_reply(table, writer())),
            prepare: Table::ALL.map(|table| prepare_reply(table, writer())),
            binary: Table::ALL.map(|table| binary_reply(table, writer())),
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

fn text_reply(table: Table, mut writer: ReplyWriter) -> Rc<[u8]> {
    write_columns(&mut writer);
    for row in table.rows() {
        writer.text_row(&[&row]);
    }
    writer.rows_end();
    writer.into_bytes().into()
}

fn binary_reply(table: Table, mut writer: ReplyWriter) -> Rc<[u8]> {
    write_columns(&mut writer);
    for row in table.rows() {
        writer.binary_row(&row);
    }
    writer.rows_end();
    writer.into_bytes().into()
}

fn write_columns(writer: &mut ReplyWriter) {
    writer.column_count(1);
    writer.column(b"c", ColumnType::Text);
    writer.columns_end();
}

/// One parameter, one column. Where the statement id stands: [`STATEMENT_ID_IN_REPLY`].
fn prepare_reply(table: Table, mut writer: ReplyWriter) -> Rc<[u8]> {
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

/// The stand-in server's OK to a statement without rows.
pub(crate) fn done_reply(affected: u8, state: SessionState) -> Rc<[u8]> {
    let mut writer = ReplyWriter::new(ResultEnd::OkPacket).leaving(state);
    writer.done(affected);
    writer.into_bytes().into()
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
        let replies = Replies::new(ResultEnd::OkPacket, SessionState::Autocommit);
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
    fn a_prepare_reply_carries_the_id_where_it_is_read() {
        for end in [ResultEnd::OkPacket, ResultEnd::EofPackets] {
            let replies = Replies::new(end, SessionState::Autocommit);
            for table in Table::ALL {
                let id = replies.prepare(table)[STATEMENT_ID_IN_REPLY].try_into().expect("four bytes");
                assert_eq!(Table::of_statement_id(u32::from_le_bytes(id)), Some(table));
            }
        }
    }
}
