//! What the server holds, and what can be said of its answers before they come.

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

/// What can be said of a reply without knowing its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An OK packet, with so many affected rows where that is known.
    Done { affected: Option<u8> },
    /// A result set with so many rows, whose packets have so many bytes together, without their heads.
    Rows { rows: u32, bytes: u64 },
    /// The reply to a prepare.
    Prepared { parameters: u8, columns: u8 },
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
