//! Plays a program to a server, or to sqluice in front of it, and keeps what a client can see.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::program::{Rows, Step, Types, Value};
use super::schema::HERE;
use crate::harness::wire::{append_lenenc_bytes, capability as cap, query_payload};
use crate::harness::{Account, Client, Flavour, Reply, ServerError, Shape, with_sorted_trackers};

/// A session that plays steps.
pub(super) struct Player {
    client: Client,
    database: String,
    /// What each place for prepared statements holds.
    statements: Vec<Prepared>,
    plugin: Option<&'static str>,
    flavour: Flavour,
    /// The session has had its server track transactions.
    tracks_transactions: bool,
}

#[derive(Clone, Default)]
struct Prepared {
    /// As the server or sqluice calls it; no statement is called 0.
    id: u32,
    parameters: usize,
    /// An execution has asked for a cursor.
    had_cursor: bool,
    /// An execution has said the types of the parameters; no client relies on them before.
    has_types: bool,
    /// What it was first executed with. What servers make of a parameter can depend on the types of all executions before,
    /// also where a parameter's type is another one now; so all have those of the first.
    first: Vec<Value>,
}

/// Where and how a session plays.
pub(super) struct Way<'a> {
    pub(super) address: SocketAddr,
    pub(super) flavour: Flavour,
    pub(super) database: &'a str,
    pub(super) capabilities: u64,
}

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing answers this command.
    Silence,
    Packets(Vec<Vec<u8>>),
    /// Whether the new user was let in.
    Changed(Result<Vec<u8>, ServerError>),
    /// The connection has ended.
    Ended(io::ErrorKind),
    /// The reply does not keep to the protocol.
    Broken(String),
}

/// More places than programs have.
const PLACES_MAX: usize = 8;

impl Player {
    /// A step that is not answered for as long as `patience` is a hang.
    pub(super) fn login(way: &Way<'_>, patience: Duration) -> Player {
        let account = Account::new("app", "app").database(way.database).capabilities(way.capabilities);
        let client = Client::login(way.address, &account).unwrap_or_else(|error| panic!("app logs in: {error}"));
        client.socket().set_read_timeout(Some(patience)).expect("a socket takes a timeout");
        let plugin = match client.greeting.plugin.as_str() {
            "caching_sha2_password" => Some("caching_sha2_password"),
            _ => None,
        };
        let statements = vec![Prepared::default(); PLACES_MAX];
        Player {
            client,
            database: way.database.to_owned(),
            statements,
            plugin,
            flavour: way.flavour,
            tracks_transactions: false,
        }
    }

    /// Plays one step; a reply that breaks the protocol is an outcome as well.
    pub(super) fn play(&mut self, step: &Step) -> Outcome {
        match catch_unwind(AssertUnwindSafe(|| self.send(step))) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Ended(error.kind()),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                Outcome::Broken(text.unwrap_or_else(|| "the reply does not keep to the protocol".to_owned()))
            }
        }
    }

    fn send(&mut self, step: &Step) -> io::Result<Outcome> {
        match step {
            Step::Query(sql) => {
                let mut payload = query_payload(self.client.capabilities, "");
                payload.extend_from_slice(&self.here(sql));
                self.tracks_transactions |=
                    sql.windows(TRANSACTION_TRACKER.len()).any(|part| part == TRANSACTION_TRACKER);
                self.ask(Shape::Results, &payload)
            }
            Step::Prepare { place, sql } => self.prepare(*place, sql),
            Step::Execute { place, rows, parameters, types } => {
                let rows = self.rows(*place, *rows);
                let types = self.types(*place, *types);
                let parameters = self.of_first_types(*place, parameters);
                let payload = self.execution(*place, rows, &parameters, types);
                self.ask(Shape::Results, &payload)
            }
            Step::LongData { place, parameter, bytes } => {
                let statement = &self.statements[*place];
                if statement.first.get(usize::from(*parameter)).is_some_and(|first| !is_like(first, &Value::Sent)) {
                    return Ok(Outcome::Silence);
                }
                // A parameter that does not exist: MariaDB and MySQL say nothing, and fail the execution.
                let mut payload = statement_command(0x18, statement.id);
                payload.extend_from_slice(&parameter.to_le_bytes());
                payload.extend_from_slice(bytes);
                self.client.try_command(&payload)?;
                Ok(Outcome::Silence)
            }
            Step::Fetch { place, count } => {
                let mut payload = statement_command(0x1C, self.statements[*place].id);
                payload.extend_from_slice(&count.to_le_bytes());
                self.ask(Shape::Rows, &payload)
            }
            Step::Reset { place } => self.ask(Shape::Single, &statement_command(0x1A, self.statements[*place].id)),
            Step::Close { place } => {
                self.client.try_command(&statement_command(0x19, self.statements[*place].id))?;
                Ok(Outcome::Silence)
            }
            Step::InitDb(name) => self.ask(Shape::Single, &[b"\x02", &self.here(name.as_bytes())[..]].concat()),
            Step::FieldList(table) => self.ask(Shape::FieldList, &[b"\x04", table.as_bytes(), b"\0"].concat()),
            Step::MultiStatements(on) => self.ask(Shape::Single, &[0x1B, u8::from(!on), 0]),
            Step::Ping => self.ask(Shape::Single, &[0x0E]),
            Step::ResetConnection => {
                self.statements.fill(Prepared::default());
                self.ask(Shape::Single, &[0x1F])
            }
            Step::ChangeUser { database } => Ok(self.change_user(database.as_deref())),
            Step::GiveWay | Step::CatchUp => Ok(Outcome::Silence),
        }
    }

    fn ask(&mut self, shape: Shape, payload: &[u8]) -> io::Result<Outcome> {
        self.client.try_command(payload)?;
        let reply = self.client.reply(shape)?;
        Ok(Outcome::Packets(self.comparable(shape, reply)))
    }

    fn prepare(&mut self, place: usize, sql: &str) -> io::Result<Outcome> {
        self.client.try_command(&[b"\x16", &self.here(sql.as_bytes())[..]].concat())?;
        let reply = self.client.reply(Shape::Prepare)?;
        self.statements[place] = match &reply.error {
            Some(_) => Prepared::default(),
            None => {
                let ok = &reply.packets[0];
                let id = u32::from_le_bytes([ok[1], ok[2], ok[3], ok[4]]);
                let parameters = usize::from(u16::from_le_bytes([ok[7], ok[8]]));
                Prepared { id, parameters, ..Prepared::default() }
            }
        };
        Ok(Outcome::Packets(self.comparable(Shape::Prepare, reply)))
    }

    /// Once a statement was executed with a cursor, MySQL 9.7 answers executions without one by definitions and then an
    /// OK in the place of the rows, also after a reset; no client can make sense of that, so there it stays with cursors.
    fn rows(&mut self, place: usize, rows: Rows) -> Rows {
        let statement = &mut self.statements[place];
        statement.had_cursor |= rows == Rows::Cursor;
        if statement.had_cursor && !self.flavour.is_mariadb() { Rows::Cursor } else { rows }
    }

    fn types(&mut self, place: usize, types: Types) -> Types {
        match std::mem::replace(&mut self.statements[place].has_types, true) {
            true => types,
            false => Types::Said,
        }
    }

    fn change_user(&mut self, database: Option<&str>) -> Outcome {
        self.statements.fill(Prepared::default());
        let database = database.map(|name| name.replace(HERE, &self.database));
        let mut account = Account::new("app", "app").capabilities(self.client.capabilities);
        account.database = database.as_deref();
        account.plugin = self.plugin;
        // What follows the warnings are trackers. MariaDB 11.8 tells all tracked variables in the OK of a login, but only
        // the schema in that of a change of user, which sqluice answers with a login.
        let changed = self.client.change_user(&account).map(|()| self.client.login_ok[..7].to_vec());
        if changed.is_ok() {
            // Behind that, sqluice has another connection, with another FOUND_ROWS() until something was read.
            self.client.execute("SELECT 'begun'");
        }
        Outcome::Changed(changed)
    }

    fn here(&self, text: &[u8]) -> Vec<u8> {
        replaced(text, HERE.as_bytes(), self.database.as_bytes())
    }

    /// Takes out what two sessions on one server do not have in common: the names of their schemas, which have one
    /// length, and the numbers of statements, which MariaDB counts over all connections that one of its threads served.
    /// Those are in the reply to a PREPARE and in the text of two errors, also where SHOW WARNINGS tells of them.
    fn comparable(&self, shape: Shape, mut reply: Reply) -> Vec<Vec<u8>> {
        match &reply.error {
            None if shape == Shape::Prepare => reply.packets[0][1..5].fill(0),
            Some(error) if matches!(error.code, 1243 | 1421) => reply.packets[0].truncate(9),
            // The same errors, told again.
            None if shape == Shape::Results => reply.packets.iter_mut().for_each(without_statement_number),
            _ => {}
        }
        if self.tracks_transactions && self.flavour.is_mariadb() && !self.tracks() {
            reply.packets.iter_mut().for_each(|packet| without_change_of_state(packet));
        }
        let placeholder = "?".repeat(self.database.len());
        let tracks = self.tracks();
        let same = |packet: &Vec<u8>| {
            let named = replaced(packet, self.database.as_bytes(), placeholder.as_bytes());
            if tracks { with_sorted_trackers(&named) } else { named }
        };
        reply.packets.iter().map(same).collect()
    }

    fn tracks(&self) -> bool {
        self.client.capabilities & cap::SESSION_TRACK != 0
    }

    /// As many values as the statement has parameters, each of the type that it had in the first execution.
    fn of_first_types(&mut self, place: usize, parameters: &[Value]) -> Vec<Value> {
        let statement = &mut self.statements[place];
        let values = parameters.iter().cloned().chain(std::iter::repeat(Value::Null)).take(statement.parameters);
        if statement.first.is_empty() {
            statement.first = values.collect();
            return statement.first.clone();
        }
        let like = |(value, first): (Value, &Value)| if is_like(&value, first) { value } else { first.clone() };
        values.zip(&statement.first).map(like).collect()
    }

    /// COM_STMT_EXECUTE; another number of values than the statement's would not be this protocol.
    fn execution(&self, place: usize, rows: Rows, values: &[Value], types: Types) -> Vec<u8> {
        let statement = &self.statements[place];
        let mut payload = statement_command(0x17, statement.id);
        payload.push(match rows {
            Rows::AtOnce => 0,
            Rows::Cursor => 1,
        });
        payload.extend_from_slice(&1_u32.to_le_bytes());
        if statement.parameters == 0 {
            return payload;
        }
        append_parameters(&mut payload, values, types, self.client.capabilities & cap::QUERY_ATTRIBUTES != 0);
        payload
    }
}

fn statement_command(command: u8, statement: u32) -> Vec<u8> {
    let mut payload = vec![command];
    payload.extend_from_slice(&statement.to_le_bytes());
    payload
}

fn append_parameters(payload: &mut Vec<u8>, values: &[Value], types: Types, has_attributes: bool) {
    if has_attributes {
        payload.push(values.len() as u8);
    }
    let mut nulls = vec![0_u8; values.len().div_ceil(8)];
    for (index, value) in values.iter().enumerate() {
        if *value == Value::Null {
            nulls[index / 8] |= 1 << (index % 8);
        }
    }
    payload.extend_from_slice(&nulls);
    payload.push(u8::from(types == Types::Said));
    if types == Types::Said {
        for value in values {
            payload.extend_from_slice(&[value_type(value), 0]);
            if has_attributes {
                payload.push(0);
            }
        }
    }
    for value in values {
        append_value(payload, value);
    }
}

fn is_like(value: &Value, other: &Value) -> bool {
    value_type(value) == value_type(other)
}

fn value_type(value: &Value) -> u8 {
    match value {
        Value::Null => 0x06,
        Value::Tiny(_) => 0x01,
        Value::Long(_) => 0x03,
        Value::LongLong(_) => 0x08,
        Value::Double(_) => 0x05,
        Value::Text(_) => 0xFD,
        Value::Blob(_) | Value::Sent => 0xFC,
        Value::Date(..) => 0x0A,
    }
}

fn append_value(payload: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null | Value::Sent => {}
        Value::Tiny(number) => payload.extend_from_slice(&number.to_le_bytes()),
        Value::Long(number) => payload.extend_from_slice(&number.to_le_bytes()),
        Value::LongLong(number) => payload.extend_from_slice(&number.to_le_bytes()),
        Value::Double(number) => payload.extend_from_slice(&number.to_le_bytes()),
        Value::Text(text) => append_lenenc_bytes(payload, text.as_bytes()),
        Value::Blob(bytes) => append_lenenc_bytes(payload, bytes),
        Value::Date(year, month, day) => {
            payload.push(4);
            payload.extend_from_slice(&year.to_le_bytes());
            payload.extend_from_slice(&[*month, *day]);
        }
    }
}

/// Takes the number out of a row that ends with "The statement (5) has no open cursor" or "Unknown prepared statement
/// handler (5) given to" and the name of a function.
fn without_statement_number(packet: &mut Vec<u8>) {
    for before in [&b"The statement ("[..], b"Unknown prepared statement handler ("] {
        let Some(at) = packet.windows(before.len()).position(|window| window == before) else { continue };
        let from = at + before.len();
        let digits = packet[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        packet.drain(from..from + digits);
        // The text's length stands before it.
        packet[at - 1] -= digits as u8;
    }
}

/// The variable that has a server track transactions.
const TRANSACTION_TRACKER: &[u8] = b"session_track_transaction_info";

/// MariaDB flags each EOF packet from the first change on that it would have to tell, if the client does not know of such
/// changes: it never comes to tell of it. The flag means nothing to this client, and its server has told sqluice.
fn without_change_of_state(packet: &mut [u8]) {
    if let [0xFE, _, _, _, high] = packet {
        *high &= !0x40;
    }
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
