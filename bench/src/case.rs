//! What is asked: the cases, and the tables that their statements read.

use crate::program;
use crate::reply::Shape;

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
    /// Point selects, updates, inserts and a transaction, statement by statement
    ReadWrite,
}

impl Case {
    pub(crate) const ALL: [Case; 8] = [
        Case::PointSelect,
        Case::Prepared,
        Case::Row4K,
        Case::Result64K,
        Case::Result1M,
        Case::Short,
        Case::Idle,
        Case::ReadWrite,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::PointSelect => "point-select",
            Case::Prepared => "prepared",
            Case::Row4K => "row-4k",
            Case::Result64K => "result-64k",
            Case::Result1M => "result-1m",
            Case::Short => "short",
            Case::Idle => "idle",
            Case::ReadWrite => "read-write",
        }
    }

    /// Whether a full run also measures it in an open loop: where the latency of a single statement is what counts.
    pub(crate) fn has_open_pass(self) -> bool {
        match self {
            Case::PointSelect | Case::Prepared | Case::Row4K | Case::ReadWrite => true,
            Case::Result64K | Case::Result1M | Case::Short | Case::Idle => false,
        }
    }

    /// Which part of the reads stands outside of transactions.
    pub(crate) fn free_reads(self) -> f64 {
        match self {
            Case::ReadWrite => program::SELECTS as f64 / (program::SELECTS + 1) as f64,
            Case::PointSelect
            | Case::Prepared
            | Case::Row4K
            | Case::Result64K
            | Case::Result1M
            | Case::Short
            | Case::Idle => 1.0,
        }
    }

    pub(crate) fn table(self) -> Table {
        match self {
            Case::PointSelect | Case::Prepared | Case::Short | Case::Idle | Case::ReadWrite => Table::Point,
            Case::Row4K => Table::Row4K,
            Case::Result64K => Table::Rows64K,
            Case::Result1M => Table::Rows1M,
        }
    }
}

/// What the server holds: each has one statement with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Point,
    Row4K,
    Rows64K,
    Rows1M,
}

impl Table {
    pub(crate) const ALL: [Table; 4] = [Table::Point, Table::Row4K, Table::Rows64K, Table::Rows1M];

    /// The id of a table's first row at a real server; the others follow it.
    pub(crate) const FIRST_ROW: usize = 4711;

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
            Table::Rows64K => b"SELECT c FROM rows64k WHERE id>=?",
            Table::Rows1M => b"SELECT c FROM rows1m WHERE id>=?",
        }
    }

    /// The same id on each connection: the answer does not depend on what was prepared before.
    /// (The stand-in server's; others choose their own.)
    pub(crate) fn statement_id(self) -> u32 {
        self as u32 + 1
    }

    pub(crate) fn of_statement_id(id: u32) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.statement_id() == id)
    }

    /// Name, number of rows and bytes in each.
    pub(crate) fn size(self) -> (&'static str, u32, usize) {
        match self {
            Table::Point => ("point", 1, 100),
            Table::Row4K => ("row4k", 1, 4096),
            Table::Rows64K => ("rows64k", 64, 1024),
            Table::Rows1M => ("rows1m", 1024, 1024),
        }
    }

    /// Of the reply to [`Table::statement`], from any server.
    pub(crate) fn text_shape(self) -> Shape {
        self.rows_shape(0)
    }

    /// Of the reply to its execution. A binary row has a header byte and a byte of NULL bits before its one value.
    pub(crate) fn binary_shape(self) -> Shape {
        self.rows_shape(2)
    }

    pub(crate) fn prepare_shape(self) -> Shape {
        Shape::Prepared { parameters: 1, columns: 1 }
    }

    fn rows_shape(self, row_head: usize) -> Shape {
        let (_, rows, length) = self.size();
        // The value's length stands before it, in one byte or behind a marker in two.
        let length_of_length = if length <= 0xFA { 1 } else { 3 };
        Shape::Rows { rows, bytes: u64::from(rows) * (row_head + length_of_length + length) as u64 }
    }

    pub(crate) fn rows(self) -> impl Iterator<Item = Vec<u8>> {
        let (_, count, length) = self.size();
        (0..count as usize).map(move |row| value(row, length))
    }
}

/// Text whose digits differ from row to row and from place to place, so that a shift or a swap is seen.
fn value(row: usize, length: usize) -> Vec<u8> {
    (0..length).map(|place| b"0123456789-"[(row * 3 + place * 7 + place / 11) % 11]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_differ_from_each_other() {
        let rows: std::collections::HashSet<_> = Table::Rows64K.rows().collect();
        assert!(rows.len() > 8);
    }
}
