//! What a SET does to its session, and what statement a SET STATEMENT is for.

use super::super::Span;
use super::super::classification::{Effects, Reason};
use super::super::lexer::{Kind, Token};
use super::super::opening::{Opening, Style, Words};
use super::super::quoted::unquoted;
use super::super::reader::Reader;
use super::super::variable;
use super::{Assignment, Assignments, Scope, ValueKind, is_mariadb, is_set_statement};

/// What a SET is.
pub(in crate::sql) enum Set {
    /// A statement of its own.
    Itself(Opening),
    /// Behind a SET STATEMENT the reader goes on with the statement that it is for, which has this for its first word. That
    /// is no SET STATEMENT, however many stand before it.
    For(Token),
}

/// What a SET is, by what stands behind it.
pub(in crate::sql) fn open(reader: &mut Reader<'_>) -> Set {
    let words = Words { lexer: reader.lexer };
    if is_mariadb(reader.lexer.dialect) && is_set_statement(words) {
        return statement_for(reader);
    }
    let mut effects = Effects::NONE;
    let mut assignments = Assignments { lexer: reader.lexer, scope: None, is_at_end: false, is_understood: true };
    for assignment in assignments.by_ref() {
        effects |= effects_of(assignment, reader.lexer.text);
    }
    if !assignments.is_understood {
        effects |= Effects::ANYTHING;
    }
    Set::Itself(Opening { style: Style::Set, ..Opening::primary(Reason::ChangesSession, effects) })
}

fn effects_of(assignment: Assignment, text: &[u8]) -> Effects {
    let is_literal = !matches!(assignment.value, ValueKind::Expression(_));
    match assignment.scope {
        Scope::Global | Scope::Persist => Effects::GLOBAL_VARIABLES,
        Scope::OneShotTransaction => Effects::NEXT_TRANSACTION,
        Scope::Account => Effects::ACCOUNT,
        Scope::User if is_literal => Effects::USER_VARIABLES,
        Scope::User => Effects::COMPUTED_USER_VARIABLES,
        Scope::Session => {
            let computed = if is_literal { Effects::NONE } else { Effects::COMPUTED_VARIABLES };
            computed | effects_on_session(assignment, unquoted(assignment.name.of(text)))
        }
    }
}

fn effects_on_session(assignment: Assignment, name: &[u8]) -> Effects {
    match assignment.value {
        ValueKind::Role(_) => return Effects::ROLE,
        ValueKind::Names { .. } | ValueKind::CharacterSet(_) => return Effects::CHARACTER_SETS,
        ValueKind::Literal(_) | ValueKind::Characteristics(_) | ValueKind::Expression(_) => {}
    }
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    if is(b"names") || is(b"charset") || is(b"character") || is(b"char") {
        Effects::CHARACTER_SETS
    } else if is(b"role") {
        Effects::ROLE
    } else if is(b"autocommit") {
        Effects::AUTOCOMMIT
    } else if is(b"sql_mode") {
        Effects::SESSION_VARIABLES | Effects::SQL_MODE
    } else if is(b"character_set_client") {
        Effects::SESSION_VARIABLES | Effects::CHARACTER_SETS
    } else if variable::is_server_bound(name) {
        Effects::SERVER_BOUND
    } else {
        Effects::SESSION_VARIABLES
    }
}

/// `SET STATEMENT name = value, … FOR`: then the class is that of what follows, if each variable is harmless and each
/// value a literal.
fn statement_for(reader: &mut Reader<'_>) -> Set {
    let mut words = Words { lexer: reader.lexer };
    let _ = words.take("statement");
    reader.lexer = words.lexer;
    loop {
        let name = reader.lexer.next();
        let is_harmless = variable::is_harmless_for_statement(reader.bytes(name.span));
        let equals = reader.lexer.next();
        let value = reader.lexer.next();
        if !is_harmless || equals.kind != Kind::Sign(b'=') || !matches!(value.kind, Kind::Number | Kind::Text) {
            return refused(reader, name.span);
        }
        let mut words = Words { lexer: reader.lexer };
        if words.take("for") {
            reader.lexer = words.lexer;
            let mut first = reader.lexer.next();
            while first.kind == Kind::Sign(b'(') {
                first = reader.lexer.next();
            }
            let mut words = Words { lexer: reader.lexer };
            if !reader.lexer.is_word(first, "set") || !is_set_statement(words) {
                return Set::For(first);
            }
            let _ = words.take("statement");
            reader.lexer = words.lexer;
            continue;
        }
        if reader.lexer.next().kind != Kind::Sign(b',') {
            return refused(reader, name.span);
        }
    }
}

/// The statement that it is for is still read, but for the primary: it may do anything.
fn refused(reader: &mut Reader<'_>, token: Span) -> Set {
    reader.primary(Reason::SetStatement, token);
    Set::Itself(Opening::primary(Reason::SetStatement, Effects::ANYTHING))
}
