//! The few statements the stand-in understands, as values.
//!
//! What a health check, a driver's set-up, a demo's traffic and a test's claim need: one table at a time, one
//! condition on one column.

/// One statement, ready to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Statement {
    /// Only a comment: answered with OK, as MySQL does it.
    Nothing,
    Select(Select),
    Show(Show),
    Set(Vec<Assignment>),
    Use(String),
    Begin,
    Commit,
    Rollback,
    Define(Definition),
    Truncate {
        table: String,
    },
    Insert {
        table: String,
        columns: Option<Vec<String>>,
        rows: Vec<Vec<Expression>>,
    },
    Update {
        table: String,
        changes: Vec<(String, Expression)>,
        condition: Option<Condition>,
    },
    Delete {
        table: String,
        condition: Option<Condition>,
    },
    Kill {
        id: Expression,
        query_only: bool,
    },
}

/// A statement that makes or removes something rows are kept in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Definition {
    CreateDatabase { name: String, if_not_exists: bool },
    DropDatabase { name: String, if_exists: bool },
    CreateTable { table: String, columns: Vec<String>, if_not_exists: bool },
    DropTable { table: String, if_exists: bool },
}

/// `SELECT items [FROM table [WHERE column = value] [ORDER BY column [DESC]] [LIMIT n]]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Select {
    pub(super) items: Vec<Item>,
    pub(super) table: Option<String>,
    pub(super) condition: Option<Condition>,
    pub(super) order: Option<Order>,
    pub(super) limit: Option<u64>,
}

/// A column of the result: what it holds and what it is called.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) expression: Expression,
    /// The alias, or the expression as it was written.
    pub(super) name: String,
}

/// `WHERE column = value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) column: String,
    pub(super) value: Expression,
}

/// `ORDER BY column [DESC]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) column: String,
    pub(super) descending: bool,
}

/// Something with a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Null,
    Integer(i64),
    Text(Vec<u8>),
    SystemVariable {
        name: String,
        global: bool,
    },
    UserVariable(String),
    Column(String),
    AllColumns,
    CountAll,
    Call {
        function: String,
        arguments: Vec<Expression>,
    },
    /// `(SELECT variable_value FROM performance_schema.global_variables WHERE variable_name = 'name')`: NULL where there is
    /// none.
    GlobalVariable(String),
    /// The lines that [`StatusLines`] asks for.
    StatusLines(StatusLines),
    /// A `?` of a prepared statement, counted from 0.
    Parameter(usize),
}

/// `(SELECT GROUP_CONCAT(variable_name, '=', variable_value ORDER BY variable_name = 'last' SEPARATOR 'x') FROM
/// performance_schema.global_status WHERE variable_name IN ('a', 'b'))`: the question that health checks ask a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StatusLines {
    pub(super) names: Vec<Vec<u8>>,
    pub(super) last: Vec<u8>,
    pub(super) separator: Vec<u8>,
}

/// `SHOW …`, with the pattern of its LIKE.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Show {
    Variables {
        like: Option<Vec<u8>>,
    },
    Status {
        like: Option<Vec<u8>>,
    },
    Databases,
    Tables,
    Warnings,
    ProcessList,
    /// SHOW REPLICA STATUS, SHOW SLAVE STATUS, SHOW ALL SLAVES STATUS.
    ReplicaStatus,
}

/// One `name = value` of a SET.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    pub(super) target: Target,
    pub(super) value: Expression,
}

/// What a SET gives a value to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    User(String),
    Session(String),
    Global(String),
    /// SET NAMES, SET CHARACTER SET, SET TRANSACTION: accepted, without an effect here.
    Ignored,
}
