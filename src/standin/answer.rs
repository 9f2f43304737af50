//! What a statement comes to: a count of changed rows, or a result.

use super::store::{Row, Value};

/// The outcome of a statement that was not refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// Answered with an OK packet.
    Done(Done),
    /// Answered with a result set.
    Rows(Rows),
}

/// What the OK packet of a statement without rows says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) affected: u64,
    /// The first number an INSERT gave; 0 when it gave none.
    pub(super) insert_id: u64,
    /// The session's new database, for clients that track it.
    pub(super) schema: Option<String>,
    /// System variables with the values that the session gave them, of those that it asked to be told of.
    pub(super) variables: Vec<(String, Vec<u8>)>,
}

impl Done {
    pub(super) fn affecting(affected: u64) -> Done {
        Done { affected, ..Done::default() }
    }
}

/// A result set: made row by row while it is sent, so that a long one needs no memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    source: Source,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Listed(Vec<Row>),
    Counted { first: i64, count: u64, cells: Vec<Cell> },
}

/// What a column of a counted result holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// The row's own number.
    Number,
    /// The same value in each row.
    Constant(Value),
}

/// How a column's values are sent: its type in the column definition, and its form in binary rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Integer,
    Text,
}

impl Rows {
    pub(super) fn listed<'a>(columns: impl IntoIterator<Item = &'a str>, rows: Vec<Row>) -> Rows {
        Rows { columns: columns.into_iter().map(String::from).collect(), source: Source::Listed(rows) }
    }

    /// `count` rows, numbered from `first`.
    pub(super) fn counted(columns: Vec<String>, cells: Vec<Cell>, first: i64, count: u64) -> Rows {
        Rows { columns, source: Source::Counted { first, count, cells } }
    }

    /// The row at `index`; `None` behind the last one.
    pub(super) fn row(&self, index: u64) -> Option<Row> {
        match &self.source {
            Source::Listed(rows) => rows.get(usize::try_from(index).ok()?).cloned(),
            Source::Counted { first, count, cells } => {
                let number = first.checked_add_unsigned(index)?;
                (index < *count).then(|| cells.iter().map(|cell| cell.value(number)).collect())
            }
        }
    }

    /// A column is of integers when all its values are integers or NULL, and there is one.
    pub(super) fn kinds(&self) -> Vec<ColumnKind> {
        (0..self.columns.len()).map(|column| self.kind_of(column)).collect()
    }

    fn kind_of(&self, column: usize) -> ColumnKind {
        let is_integer = match &self.source {
            Source::Counted { cells, .. } => matches!(cells[column], Cell::Number | Cell::Constant(Value::Integer(_))),
            Source::Listed(rows) => {
                let mut values = rows.iter().map(|row| &row[column]).filter(|value| **value != Value::Null).peekable();
                values.peek().is_some() && values.all(|value| matches!(value, Value::Integer(_)))
            }
        };
        if is_integer { ColumnKind::Integer } else { ColumnKind::Text }
    }
}

impl Cell {
    fn value(&self, number: i64) -> Value {
        match self {
            Cell::Number => Value::Integer(number),
            Cell::Constant(value) => value.clone(),
        }
    }
}
