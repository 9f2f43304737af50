//! As much SQL as routing needs: may a statement run on a replica, and what does it do to its session?
//!
//! [`classify`] reads a text once, as the servers' own lexers do, without allocating and without building anything.
//! It is no parser: text that a server would refuse may get any class, since its refusal changes nothing. What it does
//! promise: a text is only [`Class::Read`] when every word of it is known to be harmless, to both families, whatever the
//! server's version. **Unknown means primary.**
//!
//! It does not know which tables are temporary, which variables a session has set, or what a trigger or a view does
//! behind a name; [`Effects`] and [`Needs`] tell the session what to ask itself. Views may call stored functions that
//! write: a server marked read-only refuses these, and the caller runs the statement again on the primary.

mod classification;
mod classify;
mod comment;
mod dialect;
mod eight;
mod function;
mod fuzz;
mod hint;
mod keyword;
mod leavings;
mod lexer;
mod lock;
mod opening;
mod prepare;
mod query;
mod quoted;
mod reader;
mod set;
mod several;
mod show;
mod statement;
mod table;
#[cfg(test)]
mod tests;
mod variable;
mod words;

pub use classification::{Class, Classification, Effects, Needs, Reason};
pub use classify::classify;
pub use dialect::{ClientCharset, Dialect, Family};
pub use function::telling_functions;
pub use fuzz::fuzz_sql;
pub use hint::Hint;
pub use leavings::{Finding, finds_one_row, may_use_a_table};
pub use lock::{LockCall, lock_calls};
pub use prepare::{NamedStatement, StatementText, named_statements, needs_of_string};
pub use quoted::unquoted;
pub use set::{Assignment, Assignments, Scope, ValueKind, assignments, is_one_assignment, variables_for_a_statement};
pub use several::{Findings, Ran, counts_of_before};
pub use table::{TableName, TablesNamed, names, tables_named};
pub use variable::{UserVariables, is_server_bound, is_server_schema, user_variables};

/// A part of a text. Invariant: `start <= end <= text.len()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes, of the text that the span was made from.
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }

    /// For slicing.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}
