//! The errors a statement can end with, in MySQL's own codes, states and words.

use crate::protocol::version::Family;

/// As much of a statement as a message shows; MySQL shows 80 bytes, too.
const SHOWN_MAX: usize = 80;

/// Why a statement was refused: what the ERR packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    code: u16,
    state: [u8; 5],
    message: String,
}

impl Refusal {
    fn new(code: u16, state: &[u8; 5], message: impl Into<String>) -> Refusal {
        Refusal { code, state: *state, message: message.into() }
    }

    pub(super) fn code(&self) -> u16 {
        self.code
    }

    pub(super) fn state(&self) -> [u8; 5] {
        self.state
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// `at` is the first byte that did not fit.
    pub(super) fn syntax_at(statement: &[u8], at: usize) -> Refusal {
        let rest = &statement[at.min(statement.len())..];
        let near = String::from_utf8_lossy(&rest[..rest.len().min(SHOWN_MAX)]);
        let message = format!("The stand-in server does not understand this statement, or not from here on: '{near}'");
        Refusal::new(1064, b"42000", message)
    }

    pub(super) fn read_only(product: Family, option: &str) -> Refusal {
        let message =
            format!("The {product} server is running with the {option} option so it cannot execute this statement");
        Refusal::new(1290, b"HY000", message)
    }

    pub(super) fn unknown_command() -> Refusal {
        Refusal::new(1047, b"08S01", "Unknown command")
    }

    pub(super) fn unknown_variable(name: &str) -> Refusal {
        Refusal::new(1193, b"HY000", format!("Unknown system variable '{name}'"))
    }

    pub(super) fn unknown_function(name: &str) -> Refusal {
        Refusal::new(1305, b"42000", format!("FUNCTION {name} does not exist"))
    }

    pub(super) fn unknown_column(name: &str) -> Refusal {
        Refusal::new(1054, b"42S22", format!("Unknown column '{name}' in 'field list'"))
    }

    pub(super) fn unknown_database(name: &str) -> Refusal {
        Refusal::new(1049, b"42000", format!("Unknown database '{name}'"))
    }

    pub(super) fn database_exists(name: &str) -> Refusal {
        Refusal::new(1007, b"HY000", format!("Can't create database '{name}'; database exists"))
    }

    pub(super) fn no_such_table(name: &str) -> Refusal {
        Refusal::new(1146, b"42S02", format!("Table '{name}' doesn't exist"))
    }

    pub(super) fn unknown_table(name: &str) -> Refusal {
        Refusal::new(1051, b"42S02", format!("Unknown table '{name}'"))
    }

    pub(super) fn table_exists(name: &str) -> Refusal {
        Refusal::new(1050, b"42S01", format!("Table '{name}' already exists"))
    }

    pub(super) fn table_full() -> Refusal {
        Refusal::new(1114, b"HY000", "The table is full: the stand-in server keeps no more")
    }

    pub(super) fn data_too_long(column: &str) -> Refusal {
        Refusal::new(1406, b"22001", format!("Data too long for column '{column}'"))
    }

    pub(super) fn column_count() -> Refusal {
        Refusal::new(1136, b"21S01", "Column count doesn't match value count at row 1")
    }

    pub(super) fn wrong_value(name: &str) -> Refusal {
        Refusal::new(1231, b"42000", format!("Variable '{name}' can't be set to this value"))
    }

    pub(super) fn no_such_thread(id: u64) -> Refusal {
        Refusal::new(1094, b"HY000", format!("Unknown thread id: {id}"))
    }

    pub(super) fn interrupted() -> Refusal {
        Refusal::new(1317, b"70100", "Query execution was interrupted")
    }

    pub(super) fn access_denied(user: &str, host: &str, with_password: bool) -> Refusal {
        let answer = if with_password { "YES" } else { "NO" };
        Refusal::new(1045, b"28000", format!("Access denied for user '{user}'@'{host}' (using password: {answer})"))
    }

    pub(super) fn bad_handshake() -> Refusal {
        Refusal::new(1043, b"08S01", "Bad handshake")
    }

    pub(super) fn too_many_connections() -> Refusal {
        Refusal::new(1040, b"08004", "Too many connections")
    }

    pub(super) fn packet_too_large() -> Refusal {
        Refusal::new(1153, b"08S01", "Got a packet bigger than 'max_allowed_packet' bytes")
    }

    pub(super) fn out_of_order() -> Refusal {
        Refusal::new(1156, b"08S01", "Got packets out of order")
    }

    pub(super) fn unknown_prepared_statement(id: u32) -> Refusal {
        Refusal::new(1243, b"HY000", format!("Unknown prepared statement handler ({id}) given to EXECUTE"))
    }

    pub(super) fn too_many_prepared_statements() -> Refusal {
        Refusal::new(1461, b"42000", "Can't create more than max_prepared_stmt_count statements")
    }

    pub(super) fn wrong_arguments(what: &str) -> Refusal {
        Refusal::new(1210, b"HY000", format!("Incorrect arguments to {what}"))
    }

    /// What a test asked a statement to end with, in the middle of its rows.
    pub(super) fn asked_for() -> Refusal {
        Refusal::new(1105, b"HY000", "Unknown error: asked for by the test")
    }
}
