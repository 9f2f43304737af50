//! The rows that the servers of one cluster share: a write to the primary is on the replicas at once.
//!
//! Tables live in memory, are read whole and never sorted by an index; bounds keep a test or a demo from growing
//! without end. A transaction keeps its changes to itself until it commits, so a rollback forgets them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::refusal::Refusal;

/// Tables in one store.
const TABLES_MAX: usize = 64;
/// Databases in one store.
const DATABASES_MAX: usize = 64;
/// Columns of one table.
const COLUMNS_MAX: usize = 64;
/// Rows of one table; the next insert is refused with 1114, "The table is full".
const ROWS_MAX: usize = 100_000;
/// Bytes of text in one table; the next insert is refused in the same way.
const TABLE_BYTES_MAX: usize = 64 << 20;
/// Bytes in one text value; a longer one is refused with 1406.
const TEXT_MAX: usize = 1 << 20;

/// A value in a row or a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(Arc<[u8]>),
}

impl Value {
    pub(super) fn text(text: impl AsRef<[u8]>) -> Value {
        Value::Text(text.as_ref().into())
    }

    /// The value as the text protocol carries it; `None` is NULL.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Value::Null => None,
            Value::Integer(number) => Some(number.to_string().into_bytes()),
            Value::Text(text) => Some(text.to_vec()),
        }
    }

    /// Whether `self = other` holds in SQL: NULL equals nothing, `1` equals `'1'`.
    pub(super) fn equals(&self, other: &Value) -> bool {
        matches!((self.to_bytes(), other.to_bytes()), (Some(left), Some(right)) if left == right)
    }
}

/// One row, with a value for each column of its table.
pub(super) type Row = Vec<Value>;

/// `column = value`, with the column as its place in the row.
#[derive(Debug, Clone)]
pub(super) struct Match {
    pub(super) column: usize,
    pub(super) value: Value,
}

fn text_bytes(rows: &[Row]) -> usize {
    let length = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Null | Value::Integer(_) => 0,
    };
    rows.iter().flatten().map(length).sum()
}

/// What one statement does to one table.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Insert(Vec<Row>),
    Update { values: Vec<(usize, Value)>, condition: Option<Match> },
    Delete { condition: Option<Match> },
}

impl Change {
    /// Bytes of text that it holds on its own: an update shares one value among all its rows.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Change::Insert(rows) => text_bytes(rows),
            Change::Update { values, .. } => text_bytes(&[values.iter().map(|(_, value)| value.clone()).collect()]),
            Change::Delete { .. } => 0,
        }
    }
}

/// A table's columns and rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// The last number given to a first column that was left out or NULL.
    last_id: i64,
    /// What the inserted texts need; counted anew by each delete.
    text_bytes: usize,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Result<usize, Refusal> {
        let place = self.columns.iter().position(|column| column.eq_ignore_ascii_case(name));
        place.ok_or_else(|| Refusal::unknown_column(name))
    }

    /// Carries out `change`; says how many rows it touched.
    pub(super) fn apply(&mut self, change: &Change) -> Result<u64, Refusal> {
        match change {
            Change::Insert(rows) => {
                let added = change.text_bytes();
                if self.rows.len() + rows.len() > ROWS_MAX || self.text_bytes + added > TABLE_BYTES_MAX {
                    return Err(Refusal::table_full());
                }
                self.text_bytes += added;
                self.rows.extend_from_slice(rows);
                Ok(rows.len() as u64)
            }
            Change::Update { values, condition } => {
                let mut touched = 0;
                for row in self.rows.iter_mut().filter(|row| matches(row, condition.as_ref())) {
                    for (column, value) in values {
                        row[*column] = value.clone();
                    }
                    touched += 1;
                }
                Ok(touched)
            }
            Change::Delete { condition } => {
                let before = self.rows.len();
                self.rows.retain(|row| !matches(row, condition.as_ref()));
                self.text_bytes = text_bytes(&self.rows);
                Ok((before - self.rows.len()) as u64)
            }
        }
    }

    /// Numbers the rows whose first column is NULL, as AUTO_INCREMENT does; says the first number given.
    pub(super) fn number(&mut self, rows: &mut [Row]) -> Option<i64> {
        let mut first_given = None;
        for row in rows {
            match row[0] {
                Value::Integer(given) => self.last_id = self.last_id.max(given),
                Value::Null => {
                    self.last_id = self.last_id.saturating_add(1);
                    row[0] = Value::Integer(self.last_id);
                    first_given = first_given.or(Some(self.last_id));
                }
                Value::Text(_) => {}
            }
        }
        first_given
    }
}

fn matches(row: &Row, condition: Option<&Match>) -> bool {
    condition.is_none_or(|condition| row[condition.column].equals(&condition.value))
}

/// All tables and databases. Cloning shares them: give each server of a cluster a clone.
#[derive(Debug, Clone)]
pub struct Store {
    contents: Arc<Mutex<Contents>>,
}

#[derive(Debug)]
pub(super) struct Contents {
    databases: BTreeSet<String>,
    tables: BTreeMap<String, Table>,
}

impl Store {
    /// An empty store with the databases `information_schema`, `mysql`, `test` and no table.
    pub fn new() -> Store {
        let databases = ["information_schema", "mysql", "test"].map(String::from).into();
        let contents = Contents { databases, tables: BTreeMap::new() };
        Store { contents: Arc::new(Mutex::new(contents)) }
    }

    /// Rows in `table` now, without those of open transactions; `None` without such a table.
    pub fn row_count(&self, table: &str) -> Option<usize> {
        Some(self.contents().tables.get(table)?.rows.len())
    }

    /// The contents, for the length of one statement.
    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        // A panic of another session leaves whole rows behind, so the contents stay usable.
        self.contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Contents {
    pub(super) fn table(&mut self, name: &str) -> Result<&mut Table, Refusal> {
        self.tables.get_mut(name).ok_or_else(|| Refusal::no_such_table(name))
    }

    pub(super) fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub(super) fn database_names(&self) -> impl Iterator<Item = &str> {
        self.databases.iter().map(String::as_str)
    }

    pub(super) fn has_database(&self, name: &str) -> bool {
        self.databases.contains(name)
    }

    pub(super) fn create_database(&mut self, name: &str, if_not_exists: bool) -> Result<u64, Refusal> {
        if self.databases.contains(name) {
            return if if_not_exists { Ok(0) } else { Err(Refusal::database_exists(name)) };
        }
        if self.databases.len() == DATABASES_MAX {
            return Err(Refusal::table_full());
        }
        self.databases.insert(name.into());
        Ok(1)
    }

    pub(super) fn drop_database(&mut self, name: &str, if_exists: bool) -> Result<u64, Refusal> {
        if self.databases.remove(name) || if_exists { Ok(0) } else { Err(Refusal::unknown_database(name)) }
    }

    pub(super) fn create_table(&mut self, name: &str, columns: &[String], if_not_exists: bool) -> Result<(), Refusal> {
        if self.tables.contains_key(name) {
            return if if_not_exists { Ok(()) } else { Err(Refusal::table_exists(name)) };
        }
        if self.tables.len() == TABLES_MAX || columns.len() > COLUMNS_MAX {
            return Err(Refusal::table_full());
        }
        self.tables.insert(name.into(), Table { columns: columns.to_vec(), ..Table::default() });
        Ok(())
    }

    pub(super) fn drop_table(&mut self, name: &str, if_exists: bool) -> Result<(), Refusal> {
        if self.tables.remove(name).is_some() || if_exists { Ok(()) } else { Err(Refusal::unknown_table(name)) }
    }
}

/// Refuses a value that is too long to keep.
pub(super) fn check_length(value: &Value, column: &str) -> Result<(), Refusal> {
    match value {
        Value::Text(text) if text.len() > TEXT_MAX => Err(Refusal::data_too_long(column)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_of(rows: usize) -> Table {
        Table { columns: vec!["id".into()], rows: vec![vec![Value::Integer(1)]; rows], ..Table::default() }
    }

    #[test]
    fn a_clone_of_the_store_sees_the_same_rows() {
        let primary = Store::new();
        let replica = primary.clone();
        primary.contents().create_table("t", &["id".into()], false).expect("a new table");
        let insert = Change::Insert(vec![vec![Value::Integer(1)]]);
        primary.contents().table("t").expect("the table").apply(&insert).expect("room");
        assert_eq!(replica.row_count("t"), Some(1));
        assert_eq!(replica.row_count("u"), None);
    }

    #[test]
    fn a_full_table_refuses_a_row_and_keeps_the_others() {
        let mut table = table_of(ROWS_MAX);
        let refusal = table.apply(&Change::Insert(vec![vec![Value::Null]])).expect_err("full");
        assert_eq!(refusal.code(), 1114);
        assert_eq!(table.rows.len(), ROWS_MAX);
    }

    #[test]
    fn a_table_is_full_by_its_bytes_too_and_a_delete_makes_room() {
        let mut table = table_of(0);
        let long = Change::Insert(vec![vec![Value::text(vec![b'x'; TEXT_MAX])]]);
        while table.text_bytes + TEXT_MAX <= TABLE_BYTES_MAX {
            table.apply(&long).expect("room");
        }
        assert_eq!(table.apply(&long).expect_err("full").code(), 1114);
        table.apply(&Change::Delete { condition: None }).expect("no condition");
        assert_eq!(table.apply(&long), Ok(1));
    }

    #[test]
    fn numbers_go_on_behind_the_highest_one_given() {
        let mut table = table_of(0);
        let mut rows = vec![vec![Value::Null], vec![Value::Integer(9)], vec![Value::Null]];
        assert_eq!(table.number(&mut rows), Some(1));
        assert_eq!(rows, [[Value::Integer(1)], [Value::Integer(9)], [Value::Integer(10)]]);
    }

    #[test]
    fn null_equals_nothing_and_a_number_equals_its_text() {
        assert!(Value::Integer(7).equals(&Value::text("7")));
        assert!(!Value::Null.equals(&Value::Null));
    }

    #[test]
    fn the_number_of_tables_and_columns_is_bounded() {
        let store = Store::new();
        let mut contents = store.contents();
        let too_many = vec![String::from("c"); COLUMNS_MAX + 1];
        assert!(contents.create_table("wide", &too_many, false).is_err());
        for index in 0..TABLES_MAX {
            contents.create_table(&format!("t{index}"), &[], false).expect("room");
        }
        assert!(contents.create_table("one_more", &[], false).is_err());
    }
}
