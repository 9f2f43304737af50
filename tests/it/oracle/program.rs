//! A program is what one session does, a command a step. Each step can be left out without the others losing their
//! meaning, which is what makes it possible to shrink a program that fails.

use std::fmt;

/// One command of a session.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Query(Vec<u8>),
    /// COM_STMT_PREPARE into one of the program's places for statements; what was there stays open and is forgotten.
    Prepare {
        place: usize,
        sql: String,
    },
    Execute {
        place: usize,
        rows: Rows,
        parameters: Vec<Value>,
        types: Types,
    },
    LongData {
        place: usize,
        parameter: u16,
        bytes: Vec<u8>,
    },
    Fetch {
        place: usize,
        count: u32,
    },
    Reset {
        place: usize,
    },
    Close {
        place: usize,
    },
    InitDb(String),
    FieldList(String),
    MultiStatements(bool),
    Ping,
    ResetConnection,
    ChangeUser {
        database: Option<String>,
    },
    /// Another session of the user may take the connection, if this one has given it back.
    GiveWay,
    /// The replicas come to have what the primary has.
    CatchUp,
}

/// How COM_STMT_EXECUTE wants its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    AtOnce,
    Cursor,
}

/// Whether COM_STMT_EXECUTE says the types of its parameters, or relies on what it said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Types {
    Said,
    AsBefore,
}

/// A parameter of COM_STMT_EXECUTE.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Tiny(i8),
    Long(i32),
    LongLong(i64),
    Double(f64),
    Text(String),
    Blob(Vec<u8>),
    /// Year, month and day.
    Date(u16, u8, u8),
    /// What COM_STMT_SEND_LONG_DATA sent.
    Sent,
}

/// The steps of a session that can be told from no other by its seed.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) seed: u64,
    pub(super) steps: Vec<Step>,
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "seed {}, {} steps:", self.seed, self.steps.len())?;
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(formatter, "  {index:3}  {step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Query(sql) => write!(formatter, "{}", String::from_utf8_lossy(sql)),
            Step::Prepare { place, sql } => write!(formatter, "[prepare #{place}] {sql}"),
            Step::Execute { place, rows, parameters, types } => {
                write!(formatter, "[execute #{place}, {rows:?}, types {types:?}] {parameters:?}")
            }
            Step::LongData { place, parameter, bytes } => {
                write!(formatter, "[long data #{place}.{parameter}] {} bytes", bytes.len())
            }
            other => write!(formatter, "[{other:?}]"),
        }
    }
}
