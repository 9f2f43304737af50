//! What a connection sends over and over: one statement, or a mix in an order of its own.

use fastrand::Rng;

use crate::dataset::{Shape, Table};
use crate::reply::{Expected, Oracle};
use crate::wire::{SessionState, command};

const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;

/// The update of the read-write mix; the number of the row follows.
pub(crate) const UPDATE: &[u8] = b"UPDATE point SET k=k+1 WHERE id=";
pub(crate) const INSERT: &[u8] = b"INSERT INTO journal (c) VALUES ('0123456789-0123456789-0123456789-0123456789')";
/// The first row that a connection of the mix updates; each has its own, so that they do not wait for each other.
pub(crate) const FIRST_UPDATED_ROW: usize = 10_000;

/// Point selects outside the transaction in one turn of the mix.
pub(crate) const SELECTS: usize = 8;

/// A command and what must come back.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) expected: Expected,
}

impl Exchange {
    pub(crate) fn query(table: Table, oracle: &Oracle) -> Exchange {
        Exchange::select(table, SessionState::Autocommit, oracle)
    }

    pub(crate) fn prepare(table: Table, oracle: &Oracle) -> Exchange {
        Exchange { request: command(COM_STMT_PREPARE, table.prepared_statement()), expected: oracle.prepare(table) }
    }

    /// With the id that the prepare reply gave: a balancer may hand out ids of its own.
    pub(crate) fn execute(table: Table, statement_id: u32, oracle: &Oracle) -> Exchange {
        let mut body = statement_id.to_le_bytes().to_vec();
        body.extend_from_slice(&[0x00, 1, 0, 0, 0]); // no cursor, one iteration
        body.extend_from_slice(&[0x00, 0x01, 0x08, 0x00]); // not NULL, types follow: BIGINT
        body.extend_from_slice(&4711_u64.to_le_bytes());
        Exchange { request: command(COM_STMT_EXECUTE, &body), expected: oracle.binary(table) }
    }

    /// A text statement that gives no rows.
    pub(crate) fn statement(statement: &[u8], affected: u8, state: SessionState, oracle: &Oracle) -> Exchange {
        Exchange { request: command(COM_QUERY, statement), expected: oracle.done(affected, state) }
    }

    /// A statement before the load, at a server of any kind.
    pub(crate) fn setup(statement: &[u8]) -> Exchange {
        Exchange { request: command(COM_QUERY, statement), expected: Expected::Shape(Shape::Done { affected: None }) }
    }

    fn select(table: Table, state: SessionState, oracle: &Oracle) -> Exchange {
        Exchange { request: command(COM_QUERY, table.statement()), expected: oracle.text(table, state) }
    }
}

/// Exchanges in an order, from the beginning again at the end.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    exchanges: Vec<Exchange>,
    next: usize,
}

impl Program {
    pub(crate) fn repeat(exchange: Exchange) -> Program {
        Program { exchanges: vec![exchange], next: 0 }
    }

    /// The read-write mix of connection `index`: eight point selects, an update, an insert and a transaction with a
    /// select and an update in it, in an order that depends on nothing but the index.
    pub(crate) fn read_write(index: usize, oracle: &Oracle) -> Program {
        use SessionState::{Autocommit, InTransaction};
        let update = [UPDATE, (FIRST_UPDATED_ROW + index).to_string().as_bytes()].concat();
        let select = |state| Exchange::select(Table::Point, state, oracle);
        let change = |statement: &[u8], affected, state| Exchange::statement(statement, affected, state, oracle);
        let mut units = vec![vec![select(Autocommit)]; SELECTS];
        units.push(vec![change(&update, 1, Autocommit)]);
        units.push(vec![change(INSERT, 1, Autocommit)]);
        units.push(vec![
            change(b"BEGIN", 0, InTransaction),
            select(InTransaction),
            change(&update, 1, InTransaction),
            change(b"COMMIT", 0, Autocommit),
        ]);
        Rng::with_seed(index as u64).shuffle(&mut units);
        Program { exchanges: units.into_iter().flatten().collect(), next: 0 }
    }

    pub(crate) fn next(&mut self) -> &mut Exchange {
        let current = self.next;
        self.next = (current + 1) % self.exchanges.len();
        &mut self.exchanges[current]
    }

    /// Bytes of the longest reply, as far as they are known.
    pub(crate) fn longest_reply(&self) -> usize {
        let length = |exchange: &Exchange| match &exchange.expected {
            Expected::Bytes(bytes) => bytes.len(),
            Expected::Shape(Shape::Rows { bytes, .. }) => usize::try_from(*bytes).expect("a length of this bench"),
            Expected::Shape(Shape::Done { .. } | Shape::Prepared { .. }) => 0,
        };
        self.exchanges.iter().map(length).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Comparison;

    fn statements(index: usize) -> Vec<String> {
        let mut program = Program::read_write(index, &Oracle::new(Comparison::Bytes));
        let turn = program.exchanges.len();
        (0..turn).map(|_| String::from_utf8_lossy(&program.next().request[5..]).into_owned()).collect()
    }

    #[test]
    fn a_mix_has_its_parts_and_keeps_its_transaction_together() {
        for index in 0..64 {
            let statements = statements(index);
            let count = |verb| statements.iter().filter(|statement| statement.starts_with(verb)).count();
            assert_eq!((count("SELECT"), count("UPDATE"), count("INSERT"), statements.len()), (9, 2, 1, 14));
            let begin = statements.iter().position(|statement| statement == "BEGIN").expect("a transaction");
            assert!(statements[begin + 1].starts_with("SELECT") && statements[begin + 2].starts_with("UPDATE"));
            assert_eq!(statements[begin + 3], "COMMIT");
        }
    }

    #[test]
    fn mixes_differ_between_connections_and_not_between_runs() {
        assert_eq!(statements(3), statements(3));
        let orders: std::collections::HashSet<_> = (0..16).map(statements).collect();
        assert!(orders.len() > 8);
    }
}
