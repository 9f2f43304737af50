//! Carries out a statement: no waiting, no bytes, only the session, the server and the shared rows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::{Answer, Cell, Done, Rows};
use super::evaluate::{Costs, Scope, Variables};
use super::node::Maintenance;
use super::refusal::Refusal;
use super::server::Server;
use super::statement::{Assignment, Condition, Definition, Expression, Item, Select, Show, Statement, Target};
use super::store::{Change, Contents, Match, Row, Table, Value, check_length};
use super::variables::{is_like, status_variables, system_variable, system_variables};

/// Changes that one transaction may hold back; the next one is refused with 1114.
const PENDING_MAX: usize = 10_000;
/// Bytes of text in them.
const PENDING_BYTES_MAX: usize = 64 << 20;
/// User and session variables that one session may set.
const VARIABLES_MAX: usize = 256;
/// Rows of a `seq_1_to_…` result.
const SEQUENCE_MAX: u64 = 100_000_000;

/// What a session remembers between two statements.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) id: u32,
    pub(super) user: String,
    pub(super) host: String,
    pub(super) database: Option<String>,
    pub(super) autocommit: bool,
    /// True from BEGIN, or with autocommit off from the first statement on a table, to COMMIT or ROLLBACK.
    pub(super) in_transaction: bool,
    pub(super) variables: Variables,
    pub(super) last_insert_id: u64,
    /// What the transaction did so far; empty outside of one.
    pending: Vec<(String, Change)>,
}

impl SessionState {
    pub(super) fn new(id: u32, user: String, host: String) -> SessionState {
        SessionState {
            id,
            user,
            host,
            database: None,
            autocommit: true,
            in_transaction: false,
            variables: Variables { user: BTreeMap::new(), session: BTreeMap::new() },
            last_insert_id: 0,
            pending: Vec::new(),
        }
    }

    /// COM_RESET_CONNECTION: rolls back and forgets; user and database stay.
    pub(super) fn reset(&mut self) {
        let database = self.database.take();
        *self = SessionState { database, ..SessionState::new(self.id, self.user.clone(), self.host.clone()) };
    }

    /// Whether the client has asked to be told of changes of a system variable.
    fn is_told_of(&self, name: &str) -> bool {
        let asked = self.variables.session.get("session_track_system_variables").and_then(Value::to_bytes);
        let asked = asked.unwrap_or_default();
        asked.split(|byte| *byte == b',').any(|asked| asked.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// USE and COM_INIT_DB.
    pub(super) fn choose_database(&mut self, name: &str, server: &Server) -> Result<Done, Refusal> {
        if !server.options.store.contents().has_database(name) {
            return Err(Refusal::unknown_database(name));
        }
        self.database = Some(name.into());
        Ok(Done { schema: Some(name.into()), ..Done::default() })
    }
}

/// What came of a statement, and how long it is to take (SLEEP).
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) answer: Answer,
    pub(super) delay: Duration,
}

/// Carries out `statement` for `session` on `server`.
pub(super) fn execute(
    statement: &Statement,
    parameters: &[Value],
    session: &mut SessionState,
    server: &Server,
) -> Result<Outcome, Refusal> {
    let mut executor = Executor { parameters, session, server, costs: Costs::default() };
    let answer = executor.execute(statement)?;
    Ok(Outcome { answer, delay: executor.costs.delay })
}

/// The column names a statement will answer with, for COM_STMT_PREPARE; empty for one without rows.
pub(super) fn describe(statement: &Statement, server: &Server) -> Result<Vec<String>, Refusal> {
    match statement {
        Statement::Select(select) => {
            let mut contents = server.options.store.contents();
            let columns = match &select.table {
                Some(name) if sequence(name).is_none() => contents.table(name)?.columns.clone(),
                _ => vec!["seq".into()],
            };
            Ok(column_names(&select.items, &columns))
        }
        _ => Ok(Vec::new()),
    }
}

struct Executor<'a> {
    parameters: &'a [Value],
    session: &'a mut SessionState,
    server: &'a Server,
    costs: Costs,
}

impl Executor<'_> {
    fn execute(&mut self, statement: &Statement) -> Result<Answer, Refusal> {
        let done = match statement {
            Statement::Nothing => Done::default(),
            Statement::Select(select) => return self.select(select).map(Answer::Rows),
            Statement::Show(show) => return Ok(Answer::Rows(self.show(show))),
            Statement::Set(assignments) => self.set(assignments)?,
            Statement::Use(name) => self.session.choose_database(name, self.server)?,
            Statement::Begin => self.begin()?,
            Statement::Commit => self.commit()?,
            Statement::Rollback => self.rollback(),
            Statement::Kill { id, query_only } => self.kill(id, *query_only)?,
            Statement::Insert { table, columns, rows } => self.insert(table, columns.as_deref(), rows)?,
            Statement::Update { table, changes, condition } => self.update(table, changes, condition.as_ref())?,
            Statement::Delete { table, condition } => self.delete(table, condition.as_ref())?,
            Statement::Truncate { table } => self.delete(table, None)?,
            Statement::Define(definition) => self.define(definition)?,
        };
        Ok(Answer::Done(done))
    }

    /// Data definition: commits what is open, as MySQL does it.
    fn define(&mut self, definition: &Definition) -> Result<Done, Refusal> {
        self.server.check_writable()?;
        self.commit()?;
        let mut contents = self.server.options.store.contents();
        let affected = match definition {
            Definition::CreateDatabase { name, if_not_exists } => contents.create_database(name, *if_not_exists)?,
            Definition::DropDatabase { name, if_exists } => contents.drop_database(name, *if_exists)?,
            Definition::CreateTable { table, columns, if_not_exists } => {
                contents.create_table(table, columns, *if_not_exists)?;
                0
            }
            Definition::DropTable { table, if_exists } => {
                contents.drop_table(table, *if_exists)?;
                0
            }
        };
        Ok(Done::affecting(affected))
    }

    fn begin(&mut self) -> Result<Done, Refusal> {
        let done = self.commit()?;
        self.session.in_transaction = true;
        Ok(done)
    }

    fn commit(&mut self) -> Result<Done, Refusal> {
        if !self.session.pending.is_empty() {
            // A server that turned read-only refuses the commit of what was written before, too.
            self.server.check_writable()?;
            let mut contents = self.server.options.store.contents();
            for (table, change) in self.session.pending.drain(..) {
                // A table dropped in the meantime took its rows with it.
                if let Ok(table) = contents.table(&table) {
                    table.apply(&change)?;
                }
            }
        }
        self.session.in_transaction = false;
        Ok(Done::default())
    }

    fn rollback(&mut self) -> Done {
        self.session.pending.clear();
        self.session.in_transaction = false;
        Done::default()
    }

    fn set(&mut self, assignments: &[Assignment]) -> Result<Done, Refusal> {
        let mut variables = Vec::new();
        for assignment in assignments {
            let value = self.value(&assignment.value)?;
            if let Target::Session(name) = &assignment.target
                && self.session.is_told_of(name)
            {
                variables.push((name.clone(), value.to_bytes().unwrap_or_default()));
            }
            match &assignment.target {
                Target::Ignored => {}
                Target::User(name) => remember(&mut self.session.variables.user, name, value)?,
                Target::Session(name) if name == "autocommit" => self.set_autocommit(&value)?,
                Target::Session(name) => remember(&mut self.session.variables.session, name, value)?,
                Target::Global(name) => self.set_global(name, &value)?,
            }
        }
        Ok(Done { variables, ..Done::default() })
    }

    fn set_autocommit(&mut self, value: &Value) -> Result<(), Refusal> {
        self.session.autocommit = switch(value).ok_or_else(|| Refusal::wrong_value("autocommit"))?;
        if self.session.autocommit { self.commit().map(drop) } else { Ok(()) }
    }

    /// The globals that matter to a balancer can be set; others are accepted when they exist.
    fn set_global(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        let name = name.to_ascii_lowercase();
        if system_variable(self.server, &name).is_none() {
            return Err(Refusal::unknown_variable(&name));
        }
        match name.as_str() {
            "read_only" | "super_read_only" => {
                self.server.set_read_only(switch(value).ok_or_else(|| Refusal::wrong_value(&name))?);
            }
            "pxc_maint_mode" => self.server.set_maintenance(Maintenance::of(value)?),
            _ => {}
        }
        Ok(())
    }

    fn kill(&mut self, id: &Expression, query_only: bool) -> Result<Done, Refusal> {
        let id = match self.value(id)? {
            Value::Integer(id) => u64::try_from(id).unwrap_or(u64::MAX),
            Value::Null | Value::Text(_) => return Err(Refusal::no_such_thread(0)),
        };
        self.server.kill(id, query_only)?;
        if id == u64::from(self.session.id) { Err(Refusal::interrupted()) } else { Ok(Done::default()) }
    }

    fn insert(&mut self, name: &str, columns: Option<&[String]>, rows: &[Vec<Expression>]) -> Result<Done, Refusal> {
        self.server.check_writable()?;
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            values.push(row.iter().map(|value| self.value(value)).collect::<Result<Row, _>>()?);
        }
        let mut contents = self.server.options.store.contents();
        let table = contents.table(name)?;
        let mut rows = values.into_iter().map(|row| arranged(table, columns, row)).collect::<Result<Vec<Row>, _>>()?;
        let first_given = table.number(&mut rows);
        let affected = self.change(&mut contents, name, Change::Insert(rows))?;
        let insert_id = first_given.map_or(0, |id| id.unsigned_abs());
        if insert_id != 0 {
            self.session.last_insert_id = insert_id;
        }
        Ok(Done { affected, insert_id, ..Done::default() })
    }

    fn update(
        &mut self,
        name: &str,
        changes: &[(String, Expression)],
        condition: Option<&Condition>,
    ) -> Result<Done, Refusal> {
        self.server.check_writable()?;
        let mut contents = self.server.options.store.contents();
        let table = contents.table(name)?;
        let condition = self.resolved(table, condition)?;
        let mut values = Vec::with_capacity(changes.len());
        for (column, value) in changes {
            let value = self.value(value)?;
            check_length(&value, column)?;
            values.push((table.column(column)?, value));
        }
        self.change(&mut contents, name, Change::Update { values, condition }).map(Done::affecting)
    }

    fn delete(&mut self, name: &str, condition: Option<&Condition>) -> Result<Done, Refusal> {
        self.server.check_writable()?;
        let mut contents = self.server.options.store.contents();
        let condition = self.resolved(contents.table(name)?, condition)?;
        self.change(&mut contents, name, Change::Delete { condition }).map(Done::affecting)
    }

    /// Makes the change at once, or with the transaction's commit.
    fn change(&mut self, contents: &mut Contents, name: &str, change: Change) -> Result<u64, Refusal> {
        self.touch_table();
        if !self.session.in_transaction {
            return contents.table(name)?.apply(&change);
        }
        let pending_bytes = self.session.pending.iter().map(|(_, change)| change.text_bytes()).sum::<usize>();
        if self.session.pending.len() == PENDING_MAX || pending_bytes + change.text_bytes() > PENDING_BYTES_MAX {
            return Err(Refusal::table_full());
        }
        // Tried on what the session sees, for the number of rows it will touch.
        let affected = self.seen(contents, name)?.apply(&change)?;
        self.session.pending.push((name.into(), change));
        Ok(affected)
    }

    /// With autocommit off, the first look at a table opens a transaction.
    fn touch_table(&mut self) {
        self.session.in_transaction |= !self.session.autocommit;
    }

    /// The table as this session sees it: what is committed, and its own changes.
    fn seen(&self, contents: &mut Contents, name: &str) -> Result<Table, Refusal> {
        let mut table = contents.table(name)?.clone();
        for (_, change) in self.session.pending.iter().filter(|(changed, _)| changed == name) {
            table.apply(change)?;
        }
        Ok(table)
    }

    fn resolved(&mut self, table: &Table, condition: Option<&Condition>) -> Result<Option<Match>, Refusal> {
        let Some(condition) = condition else {
            return Ok(None);
        };
        Ok(Some(Match { column: table.column(&condition.column)?, value: self.value(&condition.value)? }))
    }

    fn select(&mut self, select: &Select) -> Result<Rows, Refusal> {
        match &select.table {
            None => self.select_values(select),
            Some(name) => match sequence(name) {
                Some(range) => self.select_sequence(select, range),
                None => self.select_table(select, name),
            },
        }
    }

    fn select_values(&mut self, select: &Select) -> Result<Rows, Refusal> {
        let row = select.items.iter().map(|item| self.value(&item.expression)).collect::<Result<Row, _>>()?;
        let names = select.items.iter().map(|item| item.name.as_str());
        Ok(Rows::listed(names, if select.limit == Some(0) { Vec::new() } else { vec![row] }))
    }

    /// `seq_1_to_1000`, as MariaDB's sequence engine has it: rows without a table behind them.
    fn select_sequence(&mut self, select: &Select, (first, last): (i64, i64)) -> Result<Rows, Refusal> {
        let count = last.abs_diff(first).saturating_add(1).min(select.limit.unwrap_or(u64::MAX));
        if count > SEQUENCE_MAX {
            return Err(Refusal::table_full());
        }
        let mut cells = Vec::with_capacity(select.items.len());
        for item in &select.items {
            cells.push(match &item.expression {
                Expression::AllColumns => Cell::Number,
                Expression::Column(name) if name.eq_ignore_ascii_case("seq") => Cell::Number,
                other => Cell::Constant(self.value(other)?),
            });
        }
        Ok(Rows::counted(column_names(&select.items, &["seq".into()]), cells, first, count))
    }

    fn select_table(&mut self, select: &Select, name: &str) -> Result<Rows, Refusal> {
        let mut contents = self.server.options.store.contents();
        self.touch_table();
        let mut table = self.seen(&mut contents, name)?;
        drop(contents);
        if let Some(condition) = self.resolved(&table, select.condition.as_ref())? {
            table.rows.retain(|row| row[condition.column].equals(&condition.value));
        }
        if let Some(order) = &select.order {
            let column = table.column(&order.column)?;
            table.rows.sort_by(|left, right| sort_key(&left[column]).cmp(&sort_key(&right[column])));
            if order.descending {
                table.rows.reverse();
            }
        }
        let mut rows = self.projected(select, &table)?;
        rows.truncate(select.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
        let names = column_names(&select.items, &table.columns);
        Ok(Rows::listed(names.iter().map(String::as_str), rows))
    }

    /// One row for each of the table's, or a single one when the items count or compare all of them.
    fn projected(&mut self, select: &Select, table: &Table) -> Result<Vec<Row>, Refusal> {
        if select.items.iter().any(|item| item.expression.is_aggregate()) {
            return Ok(vec![self.projected_row(&select.items, table, None)?]);
        }
        table.rows.iter().map(|row| self.projected_row(&select.items, table, Some(row))).collect()
    }

    fn projected_row(&mut self, items: &[Item], table: &Table, row: Option<&Row>) -> Result<Row, Refusal> {
        let mut projected = Vec::with_capacity(items.len());
        for item in items {
            match (&item.expression, row) {
                (Expression::AllColumns, Some(row)) => projected.extend_from_slice(row),
                (expression, row) => projected.push(self.scope(Some((table, row))).value(expression)?),
            }
        }
        Ok(projected)
    }

    fn show(&self, show: &Show) -> Rows {
        let server = self.server;
        match show {
            Show::Variables { like } => named_values(self.shown_variables(), like.as_deref()),
            Show::Status { like } => named_values(status_variables(server), like.as_deref()),
            Show::Databases => {
                let contents = server.options.store.contents();
                Rows::listed(["Database"], contents.database_names().map(|name| vec![Value::text(name)]).collect())
            }
            Show::Tables => {
                let column = format!("Tables_in_{}", self.session.database.as_deref().unwrap_or("test"));
                let contents = server.options.store.contents();
                Rows::listed([column.as_str()], contents.table_names().map(|name| vec![Value::text(name)]).collect())
            }
            Show::Warnings => Rows::listed(["Level", "Code", "Message"], Vec::new()),
            Show::ProcessList => self.process_list(),
            Show::ReplicaStatus => self.replica_status(),
        }
    }

    fn shown_variables(&self) -> Vec<(&'static str, Value)> {
        let mut all = system_variables(self.server);
        for (name, value) in &mut all {
            if let Some(own) = self.session.variables.session.get(*name) {
                *value = own.clone();
            } else if *name == "autocommit" {
                *value = Value::text(if self.session.autocommit { "ON" } else { "OFF" });
            }
        }
        all
    }

    fn process_list(&self) -> Rows {
        let row =
            |id: u32, user: &str, host: &str| vec![Value::Integer(id.into()), Value::text(user), Value::text(host)];
        let sessions = self.server.sessions();
        let rows = sessions.iter().map(|(id, connected)| row(*id, &connected.user, &connected.host)).collect();
        Rows::listed(["Id", "User", "Host"], rows)
    }

    /// A read-only stand-in passes for a replica that is never behind: the store is shared.
    fn replica_status(&self) -> Rows {
        let columns = ["Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master"];
        let row = vec![Value::text("Yes"), Value::text("Yes"), Value::Integer(0)];
        Rows::listed(columns, if self.server.is_read_only() { vec![row] } else { Vec::new() })
    }

    fn value(&mut self, expression: &Expression) -> Result<Value, Refusal> {
        self.scope(None).value(expression)
    }

    fn scope<'s>(&'s mut self, from: Option<(&'s Table, Option<&'s Row>)>) -> Scope<'s> {
        Scope { parameters: self.parameters, session: self.session, server: self.server, from, costs: &mut self.costs }
    }
}

/// Puts a row's values in the order of the table's columns; those not named are NULL.
fn arranged(table: &Table, columns: Option<&[String]>, values: Row) -> Result<Row, Refusal> {
    let expected = columns.map_or(table.columns.len(), <[String]>::len);
    if values.len() != expected || table.columns.is_empty() {
        return Err(Refusal::column_count());
    }
    let mut row = vec![Value::Null; table.columns.len()];
    for (index, value) in values.into_iter().enumerate() {
        let place = match columns {
            Some(columns) => table.column(&columns[index])?,
            None => index,
        };
        check_length(&value, &table.columns[place])?;
        row[place] = value;
    }
    Ok(row)
}

fn column_names(items: &[Item], columns: &[String]) -> Vec<String> {
    let names = items.iter().flat_map(|item| match item.expression {
        Expression::AllColumns => columns.to_vec(),
        _ => vec![item.name.clone()],
    });
    names.collect()
}

/// The range of `seq_FIRST_to_LAST`.
fn sequence(table: &str) -> Option<(i64, i64)> {
    let (first, last) = table.strip_prefix("seq_")?.split_once("_to_")?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// NULL before numbers before texts.
fn sort_key(value: &Value) -> (u8, i64, &[u8]) {
    match value {
        Value::Null => (0, 0, b""),
        Value::Integer(number) => (1, *number, b""),
        Value::Text(text) => (2, 0, text),
    }
}

fn named_values(all: Vec<(&'static str, Value)>, like: Option<&[u8]>) -> Rows {
    let fitting = all.into_iter().filter(|(name, _)| like.is_none_or(|like| is_like(name.as_bytes(), like)));
    Rows::listed(["Variable_name", "Value"], fitting.map(|(name, value)| vec![Value::text(name), value]).collect())
}

fn remember(variables: &mut BTreeMap<String, Value>, name: &str, value: Value) -> Result<(), Refusal> {
    if variables.len() >= VARIABLES_MAX && !variables.contains_key(name) {
        return Err(Refusal::wrong_value(name));
    }
    check_length(&value, name)?;
    variables.insert(name.to_ascii_lowercase(), value);
    Ok(())
}

fn switch(value: &Value) -> Option<bool> {
    let text = value.to_bytes()?.to_ascii_uppercase();
    match text.as_slice() {
        b"1" | b"ON" | b"TRUE" => Some(true),
        b"0" | b"OFF" | b"FALSE" => Some(false),
        _ => None,
    }
}
