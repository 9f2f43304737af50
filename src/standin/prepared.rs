//! Prepared statements of one session: text and `?` in, bound values out.

use std::collections::BTreeMap;

use crate::protocol::Malformed;
use crate::protocol::reader::Reader;

use super::execute::describe;
use super::parser::{self, Parsed};
use super::refusal::Refusal;
use super::server::Server;
use super::store::Value;

/// Prepared statements of one session; the next one is refused with 1461.
const STATEMENTS_MAX: usize = 1024;
/// Bytes of all their texts together; the next one is refused in the same way.
const TEXT_BYTES_MAX: usize = 32 << 20;
/// `?` of one statement: the prepare reply counts them in 16 bits.
const PARAMETERS_MAX: usize = u16::MAX as usize;

/// Types of the binary protocol that a parameter may have, by the MySQL manual's `enum_field_types`.
mod parameter_type {
    pub(super) const TINY: u8 = 0x01;
    pub(super) const SHORT: u8 = 0x02;
    pub(super) const LONG: u8 = 0x03;
    pub(super) const FLOAT: u8 = 0x04;
    pub(super) const DOUBLE: u8 = 0x05;
    pub(super) const NULL: u8 = 0x06;
    pub(super) const LONG_LONG: u8 = 0x08;
    pub(super) const VARCHAR: u8 = 0x0F;
    /// From here on: decimals, enums, blobs and strings, all as length and bytes.
    pub(super) const FIRST_STRING: u8 = 0xF6;
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PreparedStatements {
    last_id: u32,
    statements: BTreeMap<u32, Held>,
}

#[derive(Debug)]
struct Held {
    text: Vec<u8>,
    parsed: Parsed,
    /// The parameters' types as last sent: a client may leave them out from the second time on.
    types: Vec<[u8; 2]>,
    /// COM_STMT_SEND_LONG_DATA was used, which is not supported: its next execution is refused.
    spoilt: bool,
}

/// What the reply to COM_STMT_PREPARE says.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: u32,
    pub(super) parameter_count: u16,
    pub(super) columns: Vec<String>,
}

/// A statement's text, the statement, and its parameters' values.
pub(super) type Bound = (Vec<u8>, Parsed, Vec<Value>);

impl PreparedStatements {
    pub(super) fn prepare(&mut self, text: &[u8], server: &Server) -> Result<Prepared, Refusal> {
        let held_bytes = self.statements.values().map(|held| held.text.len()).sum::<usize>();
        if self.statements.len() == STATEMENTS_MAX || held_bytes + text.len() > TEXT_BYTES_MAX {
            return Err(Refusal::too_many_prepared_statements());
        }
        let mut all = parser::parse(text).map_err(|error| Refusal::syntax_at(text, error.at))?;
        if all.len() > 1 {
            return Err(Refusal::syntax_at(text, text.len()));
        }
        let parsed = all.remove(0);
        if parsed.parameter_count > PARAMETERS_MAX {
            return Err(Refusal::wrong_arguments("PREPARE"));
        }
        let columns = describe(&parsed.statement, server)?;
        self.last_id += 1;
        let parameter_count = parsed.parameter_count as u16;
        let held = Held { text: text.to_vec(), parsed, types: Vec::new(), spoilt: false };
        self.statements.insert(self.last_id, held);
        Ok(Prepared { id: self.last_id, parameter_count, columns })
    }

    /// The body of COM_STMT_EXECUTE: id, flags, iteration count, then the parameters.
    pub(super) fn bind(&mut self, body: &[u8]) -> Result<Bound, Refusal> {
        let mut reader = Reader::new(body);
        let id = reader.u32("statement id").map_err(|_| Refusal::wrong_arguments("EXECUTE"))?;
        let held = self.statements.get_mut(&id).ok_or_else(|| Refusal::unknown_prepared_statement(id))?;
        if std::mem::take(&mut held.spoilt) {
            return Err(Refusal::wrong_arguments("EXECUTE: the stand-in server takes no long data"));
        }
        let parameters = held.parameters(&mut reader).map_err(|_| Refusal::wrong_arguments("EXECUTE"))?;
        Ok((held.text.clone(), held.parsed.clone(), parameters))
    }

    pub(super) fn close(&mut self, body: &[u8]) {
        if let Some(id) = statement_id(body) {
            self.statements.remove(&id);
        }
    }

    pub(super) fn reset(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let id = statement_id(body).unwrap_or(0);
        let held = self.statements.get_mut(&id).ok_or_else(|| Refusal::unknown_prepared_statement(id))?;
        held.spoilt = false;
        Ok(())
    }

    /// The body of COM_STMT_SEND_LONG_DATA, which has no reply, even on error.
    pub(super) fn spoil(&mut self, body: &[u8]) {
        if let Some(held) = statement_id(body).and_then(|id| self.statements.get_mut(&id)) {
            held.spoilt = true;
        }
    }
}

fn statement_id(body: &[u8]) -> Option<u32> {
    body.first_chunk().map(|id| u32::from_le_bytes(*id))
}

impl Held {
    fn parameters(&mut self, reader: &mut Reader<'_>) -> Result<Vec<Value>, Malformed> {
        reader.skip(1, "cursor flags")?;
        reader.skip(4, "iteration count")?;
        let count = self.parsed.parameter_count;
        if count == 0 {
            return Ok(Vec::new());
        }
        let nulls = reader.bytes(count.div_ceil(8), "null bitmap")?;
        if reader.u8("new parameters bound")? == 1 {
            self.types = (0..count).map(|_| reader.array("parameter type")).collect::<Result<_, _>>()?;
        }
        if self.types.len() != count {
            return Err(Malformed { field: "parameter types" });
        }
        let is_null = |index: usize| nulls[index / 8] & (1 << (index % 8)) != 0;
        let values = self.types.iter().enumerate();
        values.map(|(index, kind)| if is_null(index) { Ok(Value::Null) } else { value(reader, *kind) }).collect()
    }
}

fn value(reader: &mut Reader<'_>, [kind, _unsigned]: [u8; 2]) -> Result<Value, Malformed> {
    Ok(match kind {
        parameter_type::NULL => Value::Null,
        parameter_type::TINY => Value::Integer(i64::from(i8::from_le_bytes(reader.array("tiny")?))),
        parameter_type::SHORT => Value::Integer(i64::from(i16::from_le_bytes(reader.array("short")?))),
        parameter_type::LONG => Value::Integer(i64::from(i32::from_le_bytes(reader.array("long")?))),
        parameter_type::LONG_LONG => Value::Integer(i64::from_le_bytes(reader.array("long long")?)),
        parameter_type::FLOAT => Value::text(f32::from_le_bytes(reader.array("float")?).to_string()),
        parameter_type::DOUBLE => Value::text(f64::from_le_bytes(reader.array("double")?).to_string()),
        parameter_type::VARCHAR | parameter_type::FIRST_STRING.. => Value::text(reader.lenenc_bytes("text")?),
        _ => return Err(Malformed { field: "parameter type" }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Options, server::Server};
    use super::*;

    fn server() -> Server {
        Server::new(Options::maria_db(1, Vec::new()), 3306)
    }

    /// `EXECUTE 1` with a long long, a text and a NULL, as mysql_async sends it.
    const EXECUTE: &[u8] = b"\x01\0\0\0\x00\x01\0\0\0\x04\x01\x08\0\xFD\0\x06\0\x07\0\0\0\0\0\0\0\x02ab";

    #[test]
    fn parameters_are_read_by_their_types_and_the_types_are_remembered() {
        let mut all = PreparedStatements::default();
        let prepared = all.prepare(b"SELECT ?, ?, ?", &server()).expect("a statement");
        assert_eq!((prepared.id, prepared.parameter_count, prepared.columns.len()), (1, 3, 3));
        let expected = [Value::Integer(7), Value::text("ab"), Value::Null];
        assert_eq!(all.bind(EXECUTE).expect("parameters").2, expected);
        let again = b"\x01\0\0\0\x00\x01\0\0\0\x04\x00\x07\0\0\0\0\0\0\0\x02ab";
        assert_eq!(all.bind(again).expect("parameters").2, expected);
    }

    #[test]
    fn a_cut_execute_is_refused_at_each_place() {
        let mut all = PreparedStatements::default();
        all.prepare(b"SELECT ?, ?, ?", &server()).expect("a statement");
        for cut in 0..EXECUTE.len() {
            assert!(all.bind(&EXECUTE[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_number_of_statements_is_bounded_and_a_closed_one_makes_room() {
        let server = server();
        let mut all = PreparedStatements::default();
        for _ in 0..STATEMENTS_MAX {
            all.prepare(b"SELECT 1", &server).expect("room");
        }
        assert_eq!(all.prepare(b"SELECT 1", &server).expect_err("full").code(), 1461);
        all.close(&1_u32.to_le_bytes());
        assert_eq!(all.prepare(b"SELECT 1", &server).expect("room").id, STATEMENTS_MAX as u32 + 1);
        assert_eq!(all.bind(EXECUTE).expect_err("closed").code(), 1243);
    }
}
