//! What an expression is worth, for one session and, behind FROM, for one row.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::execute::SessionState;
use super::refusal::Refusal;
use super::server::Server;
use super::statement::{Expression, StatusLines};
use super::store::{Row, Table, Value};
use super::variables::{MAX_ALLOWED_PACKET, status_variables, system_variable};

/// The longest SLEEP, so that a forgotten one does not outlive a test run.
const SLEEP_MAX: Duration = Duration::from_secs(600);
/// What REPEAT and CONCAT may make in one statement, in bytes.
const MADE_TEXT_MAX: usize = 2 * MAX_ALLOWED_PACKET;

/// What a session has set: `@user` variables and its own values of system variables. Names are in lower case.
#[derive(Debug)]
pub(super) struct Variables {
    pub(super) user: BTreeMap<String, Value>,
    pub(super) session: BTreeMap<String, Value>,
}

/// What one statement has asked for so far.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// The sum of its SLEEPs; at most [`SLEEP_MAX`].
    pub(super) delay: Duration,
    /// Bytes of text that its functions have made; at most [`MADE_TEXT_MAX`].
    made_text: usize,
}

impl Costs {
    /// A text that a function made. One text too long for a packet is NULL, as in MySQL; so is what goes beyond the
    /// bound for all of them.
    fn text(&mut self, length: Option<usize>, make: impl FnOnce() -> Vec<u8>) -> Value {
        let fitting = length.filter(|length| *length <= MAX_ALLOWED_PACKET && self.made_text + length <= MADE_TEXT_MAX);
        let Some(length) = fitting else {
            return Value::Null;
        };
        self.made_text += length;
        Value::text(make())
    }
}

/// Everything an expression can refer to.
pub(super) struct Scope<'a> {
    pub(super) parameters: &'a [Value],
    pub(super) session: &'a SessionState,
    pub(super) server: &'a Server,
    /// The table behind FROM, and the row, or all rows for an aggregate.
    pub(super) from: Option<(&'a Table, Option<&'a Row>)>,
    /// Grows by each SLEEP and by each long text.
    pub(super) costs: &'a mut Costs,
}

impl Expression {
    /// Whether the value is one for all rows: COUNT(*), MAX(column), MIN(column).
    pub(super) fn is_aggregate(&self) -> bool {
        match self {
            Expression::CountAll => true,
            Expression::Call { function, .. } => function == "MAX" || function == "MIN",
            _ => false,
        }
    }
}

impl Scope<'_> {
    pub(super) fn value(&mut self, expression: &Expression) -> Result<Value, Refusal> {
        match expression {
            Expression::Null => Ok(Value::Null),
            Expression::Integer(number) => Ok(Value::Integer(*number)),
            Expression::Text(text) => Ok(Value::text(text)),
            Expression::SystemVariable { name, global } => self.system_variable(name, *global),
            Expression::UserVariable(name) => {
                let value = self.session.variables.user.get(&name.to_ascii_lowercase());
                Ok(value.cloned().unwrap_or(Value::Null))
            }
            Expression::Parameter(index) => {
                self.parameters.get(*index).cloned().ok_or_else(|| Refusal::wrong_arguments("EXECUTE"))
            }
            Expression::GlobalVariable(name) => Ok(system_variable(self.server, name).unwrap_or(Value::Null)),
            Expression::StatusLines(lines) => Ok(self.status_lines(lines)),
            Expression::Column(name) => self.column(name),
            Expression::CountAll => Ok(self.count()),
            Expression::AllColumns => Err(Refusal::unknown_column("*")),
            Expression::Call { function, arguments } => self.call(function, arguments),
        }
    }

    fn system_variable(&self, name: &str, global: bool) -> Result<Value, Refusal> {
        let own = self.session.variables.session.get(name);
        if let (Some(own), false) = (own, global) {
            return Ok(own.clone());
        }
        if name == "autocommit" && !global {
            return Ok(Value::Integer(self.session.autocommit.into()));
        }
        system_variable(self.server, name).ok_or_else(|| Refusal::unknown_variable(name))
    }

    /// Where none of them is there, GROUP_CONCAT is NULL.
    fn status_lines(&self, asked: &StatusLines) -> Value {
        let is = |name: &str, other: &[u8]| name.as_bytes().eq_ignore_ascii_case(other);
        let mut all = status_variables(self.server);
        all.retain(|(name, _)| asked.names.iter().any(|asked| is(name, asked)));
        all.sort_by_key(|(name, _)| is(name, &asked.last));
        let line =
            |(name, value): &(&str, Value)| [name.as_bytes(), b"=", &value.to_bytes().unwrap_or_default()].concat();
        let lines: Vec<Vec<u8>> = all.iter().map(line).collect();
        if lines.is_empty() { Value::Null } else { Value::text(lines.join(&asked.separator[..])) }
    }

    fn column(&self, name: &str) -> Result<Value, Refusal> {
        match self.from {
            Some((table, Some(row))) => Ok(row[table.column(name)?].clone()),
            _ => Err(Refusal::unknown_column(name)),
        }
    }

    fn count(&self) -> Value {
        // Without FROM there is one row: the empty one.
        Value::Integer(self.from.map_or(1, |(table, _)| table.rows.len() as i64))
    }

    fn call(&mut self, function: &str, arguments: &[Expression]) -> Result<Value, Refusal> {
        let session = self.session;
        match (function, arguments) {
            ("CONNECTION_ID", []) => Ok(Value::Integer(session.id.into())),
            ("USER" | "SESSION_USER" | "SYSTEM_USER", []) => {
                Ok(Value::text(format!("{}@{}", session.user, session.host)))
            }
            ("CURRENT_USER", []) => Ok(Value::text(format!("{}@%", session.user))),
            ("DATABASE" | "SCHEMA", []) => Ok(session.database.as_ref().map_or(Value::Null, Value::text)),
            ("VERSION", []) => Ok(Value::text(&self.server.options.version)),
            ("LAST_INSERT_ID", []) => Ok(integer(session.last_insert_id)),
            ("UNIX_TIMESTAMP", []) => {
                // A clock before 1970 is a broken machine, not a reason to stop.
                Ok(integer(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()))
            }
            ("SLEEP", [seconds]) => self.sleep(seconds),
            ("LENGTH" | "CHAR_LENGTH", [text]) => {
                Ok(self.value(text)?.to_bytes().map_or(Value::Null, |bytes| integer(bytes.len() as u64)))
            }
            ("REPEAT", [text, count]) => self.repeat(text, count),
            ("CONCAT", parts) => self.concat(parts),
            ("MAX" | "MIN", [Expression::Column(name)]) => self.extreme(function, name),
            _ => Err(Refusal::unknown_function(function)),
        }
    }

    fn sleep(&mut self, seconds: &Expression) -> Result<Value, Refusal> {
        let text = self.value(seconds)?.to_bytes().unwrap_or_default();
        let seconds: f64 = String::from_utf8_lossy(&text).parse().unwrap_or(0.0);
        let delay = Duration::try_from_secs_f64(seconds).map_err(|_| Refusal::wrong_arguments("SLEEP"))?;
        self.costs.delay = (self.costs.delay + delay.min(SLEEP_MAX)).min(SLEEP_MAX);
        Ok(Value::Integer(0))
    }

    fn repeat(&mut self, text: &Expression, count: &Expression) -> Result<Value, Refusal> {
        let (text, count) = (self.value(text)?.to_bytes(), self.value(count)?);
        let (Some(text), Value::Integer(count)) = (text, count) else {
            return Ok(Value::Null);
        };
        let count = usize::try_from(count).unwrap_or(0);
        Ok(self.costs.text(text.len().checked_mul(count), || text.repeat(count)))
    }

    fn concat(&mut self, parts: &[Expression]) -> Result<Value, Refusal> {
        let mut texts = Vec::with_capacity(parts.len());
        for part in parts {
            let Some(bytes) = self.value(part)?.to_bytes() else {
                return Ok(Value::Null);
            };
            texts.push(bytes);
        }
        Ok(self.costs.text(Some(texts.iter().map(Vec::len).sum()), || texts.concat()))
    }

    fn extreme(&self, function: &str, name: &str) -> Result<Value, Refusal> {
        let Some((table, _)) = self.from else {
            return Err(Refusal::unknown_column(name));
        };
        let column = table.column(name)?;
        let numbers = table.rows.iter().filter_map(|row| match row[column] {
            Value::Integer(number) => Some(number),
            Value::Null | Value::Text(_) => None,
        });
        let found = if function == "MAX" { numbers.max() } else { numbers.min() };
        Ok(found.map_or(Value::Null, Value::Integer))
    }
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
