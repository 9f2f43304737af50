//! The database that the load needs at a real server: the tables of [`Table`], and those that the mix writes to.

use crate::dataset::Table;
use crate::load::{self, Fault};
use crate::program::FIRST_UPDATED_ROW;
use crate::target::{SCHEMA, Target};

/// The error of a database that is there already.
const DATABASE_EXISTS: u16 = 1007;
/// Rows of one INSERT.
const ROWS_AT_ONCE: usize = 200;

/// The database. Dropping this value drops it at the server.
pub(super) struct Schema {
    target: Target,
}

impl Schema {
    /// `connections` is the number of rows that can be updated, one for each.
    pub(super) fn create(target: &Target, connections: usize) -> Result<Schema, String> {
        load::execute(target, [format!("CREATE DATABASE {SCHEMA}")]).map_err(|fault| match fault {
            Fault::Refused { code: DATABASE_EXISTS, .. } => {
                format!("the database {SCHEMA} is there already: another run uses it, or one was killed; then drop it")
            }
            other => format!("cannot make the database {SCHEMA}: {other}"),
        })?;
        let schema = Schema { target: target.clone() };
        load::execute(target, tables(connections)).map_err(|fault| format!("cannot fill {SCHEMA}: {fault}"))?;
        Ok(schema)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if let Err(fault) = load::execute(&self.target, [format!("DROP DATABASE {SCHEMA}")]) {
            eprintln!("the database {SCHEMA} was not dropped: {fault}");
        }
    }
}

fn tables(connections: usize) -> Vec<String> {
    let mut statements = vec![format!(
        "CREATE TABLE {SCHEMA}.journal (id BIGINT AUTO_INCREMENT PRIMARY KEY, c VARCHAR(100) CHARACTER SET ascii NOT NULL)"
    )];
    for table in Table::ALL {
        let (name, _, _) = table.size();
        statements.push(format!(
            "CREATE TABLE {SCHEMA}.{name} (id BIGINT PRIMARY KEY, k BIGINT NOT NULL, \
             c VARCHAR(4096) CHARACTER SET ascii NOT NULL)"
        ));
        let rows: Vec<_> =
            (Table::FIRST_ROW..).zip(table.rows().map(|value| String::from_utf8(value).expect("digits"))).collect();
        statements.extend(inserts(name, &rows));
    }
    let updated: Vec<_> = (FIRST_UPDATED_ROW..FIRST_UPDATED_ROW + connections).map(|id| (id, String::new())).collect();
    statements.extend(inserts("point", &updated));
    statements
}

fn inserts(table: &str, rows: &[(usize, String)]) -> impl Iterator<Item = String> {
    rows.chunks(ROWS_AT_ONCE).map(move |rows| {
        let values: Vec<_> = rows.iter().map(|(id, value)| format!("({id},0,'{value}')")).collect();
        format!("INSERT INTO {SCHEMA}.{table} VALUES {}", values.join(","))
    })
}
