//! The first words of a statement: what kind it is, and what it does to the session.

use super::classification::{Class, Effects, Needs, Reason};
use super::lexer::{Kind, Token};
use super::opening::{Opening, Style, Words};
use super::reader::Reader;
use super::set::Set;
use super::words::WordTable;
use super::{set, show};

/// The first word of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Query,
    With,
    Show,
    Explain,
    Set,
    Use,
    Begin,
    Start,
    End,
    Savepoint,
    Release,
    Xa,
    Lock,
    Unlock,
    Flush,
    Backup,
    Prepare,
    Execute,
    Deallocate,
    Handler,
    Program,
    Do,
    Create,
    Drop,
    Definition,
    Change,
    Load,
    Administration,
    Diagnostics,
    Analyze,
}

static VERBS: WordTable<Verb, 256> = WordTable::new(&[
    ("select", Verb::Query),
    ("values", Verb::Query),
    ("table", Verb::Query),
    ("with", Verb::With),
    ("show", Verb::Show),
    ("explain", Verb::Explain),
    ("describe", Verb::Explain),
    ("desc", Verb::Explain),
    ("set", Verb::Set),
    ("use", Verb::Use),
    ("begin", Verb::Begin),
    ("start", Verb::Start),
    ("commit", Verb::End),
    ("rollback", Verb::End),
    ("savepoint", Verb::Savepoint),
    ("release", Verb::Release),
    ("xa", Verb::Xa),
    ("lock", Verb::Lock),
    ("unlock", Verb::Unlock),
    ("flush", Verb::Flush),
    ("backup", Verb::Backup),
    ("prepare", Verb::Prepare),
    ("execute", Verb::Execute),
    ("deallocate", Verb::Deallocate),
    ("handler", Verb::Handler),
    ("call", Verb::Program),
    ("do", Verb::Do),
    ("if", Verb::Program),
    ("case", Verb::Program),
    ("loop", Verb::Program),
    ("while", Verb::Program),
    ("repeat", Verb::Program),
    ("declare", Verb::Program),
    ("signal", Verb::Program),
    ("resignal", Verb::Program),
    ("create", Verb::Create),
    ("drop", Verb::Drop),
    ("alter", Verb::Definition),
    ("rename", Verb::Definition),
    ("truncate", Verb::Definition),
    ("grant", Verb::Definition),
    ("revoke", Verb::Definition),
    ("optimize", Verb::Definition),
    ("repair", Verb::Definition),
    ("check", Verb::Definition),
    ("install", Verb::Definition),
    ("uninstall", Verb::Definition),
    ("import", Verb::Definition),
    ("analyze", Verb::Analyze),
    ("insert", Verb::Change),
    ("replace", Verb::Change),
    ("update", Verb::Change),
    ("delete", Verb::Change),
    ("load", Verb::Load),
    ("get", Verb::Diagnostics),
    ("cache", Verb::Administration),
    ("checksum", Verb::Administration),
    ("reset", Verb::Administration),
    ("change", Verb::Administration),
    ("stop", Verb::Administration),
    ("purge", Verb::Administration),
    ("kill", Verb::Administration),
    ("shutdown", Verb::Administration),
    ("restart", Verb::Administration),
    ("clone", Verb::Administration),
    ("help", Verb::Administration),
]);

/// What a statement is, by its first word and those that the lexer has next. They are only looked at, except for those
/// of a SET STATEMENT, behind which another first word stands.
pub(super) fn open(reader: &mut Reader<'_>, first: Token) -> Opening {
    if first.kind != Kind::Word {
        return Opening::primary(Reason::UnknownStatement, Effects::ANYTHING);
    }
    let Some(verb) = VERBS.find(reader.lexer.bytes(first)) else {
        return Opening::primary(Reason::UnknownStatement, Effects::ANYTHING);
    };
    // A copy for each that asks: most statements have told all by now.
    let next = || Words { lexer: reader.lexer };
    match verb {
        Verb::Query => Opening::READ,
        Verb::With => Opening { has_with: true, ..Opening::READ },
        Verb::Show => show::open(next()),
        Verb::Explain => explain(next()),
        Verb::Analyze if next().take("table") || next().take("local") || next().take("no_write_to_binlog") => {
            Opening::primary(Reason::NotARead, Effects::IMPLICIT_COMMIT)
        }
        Verb::Analyze => Opening::primary(Reason::ExplainExecutes, Effects::STORED_CODE),
        Verb::Set => match set::open(reader) {
            Set::Itself(opening) => opening,
            // Which is no other SET STATEMENT.
            Set::For(first) => open(reader, first),
        },
        Verb::Use => Opening::primary(Reason::ChangesSession, Effects::SCHEMA),
        Verb::Begin if next().take("not") => Opening::primary(Reason::Program, Effects::ANYTHING),
        Verb::Begin => Opening::primary(Reason::Transaction, Effects::BEGINS_TRANSACTION),
        Verb::Start => start(next()),
        Verb::End => end_of_transaction(next()),
        Verb::Savepoint | Verb::Release => Opening::primary(Reason::Transaction, Effects::NONE),
        Verb::Xa => Opening::primary(Reason::Transaction, Effects::XA),
        Verb::Lock => lock(next()),
        Verb::Unlock if next().take("instance") => Opening::primary(Reason::ChangesSession, Effects::UNLOCKS_INSTANCE),
        Verb::Unlock => Opening::primary(Reason::ChangesSession, Effects::UNLOCKS_TABLES),
        Verb::Flush => flush(next()),
        Verb::Backup => backup(next()),
        Verb::Prepare => Opening::primary(Reason::ChangesSession, Effects::PREPARES),
        Verb::Execute => Opening::primary(Reason::Program, Effects::EXECUTES.with(Effects::ANYTHING)),
        Verb::Deallocate => Opening::primary(Reason::ChangesSession, Effects::DEALLOCATES),
        Verb::Handler => handler(next()),
        Verb::Program => Opening::primary(Reason::Program, Effects::ANYTHING),
        Verb::Do => Opening::primary(Reason::Evaluates, Effects::ANYTHING),
        Verb::Create => create(next()),
        Verb::Drop => drop(next()),
        Verb::Definition => Opening::primary(Reason::NotARead, Effects::IMPLICIT_COMMIT),
        Verb::Change => Opening::primary(Reason::NotARead, Effects::STORED_CODE),
        Verb::Load if next().take("index") => Opening::primary(Reason::Administration, Effects::IMPLICIT_COMMIT),
        Verb::Load => {
            Opening { style: Style::AssignsUserVariables, ..Opening::primary(Reason::NotARead, Effects::STORED_CODE) }
        }
        Verb::Administration => Opening::primary(Reason::Administration, Effects::IMPLICIT_COMMIT),
        Verb::Diagnostics => Opening {
            needs: Needs::WARNINGS.with(Needs::ROW_COUNT),
            style: Style::AssignsUserVariables,
            ..Opening::primary(Reason::PreviousStatement, Effects::NONE)
        },
    }
}

/// EXPLAIN, DESCRIBE, DESC: of a table, a read, or something else, which the other words tell.
fn explain(mut next: Words<'_>) -> Opening {
    if next.take("analyze") {
        return Opening::primary(Reason::ExplainExecutes, Effects::STORED_CODE);
    }
    Opening::READ
}

fn start(mut next: Words<'_>) -> Opening {
    if !next.take("transaction") {
        return Opening::primary(Reason::Administration, Effects::IMPLICIT_COMMIT);
    }
    let begins = Opening::primary(Reason::Transaction, Effects::BEGINS_TRANSACTION);
    let mut is_read_only = false;
    loop {
        if next.take("read") {
            is_read_only = next.take("only");
            if !is_read_only {
                return begins;
            }
        } else if next.take("with") {
            // Its snapshot is of this moment, and of this server.
            return begins;
        } else if !next.skip() {
            break;
        }
    }
    if is_read_only {
        return Opening { class: Class::ReadOnlyTransaction, reason: Reason::ReadOnlyTransaction, ..begins };
    }
    begins
}

/// COMMIT and ROLLBACK with all that may stand behind them.
fn end_of_transaction(mut next: Words<'_>) -> Opening {
    let _ = next.take("work");
    if next.take("to") {
        return Opening::primary(Reason::Transaction, Effects::NONE);
    }
    let mut effects = Effects::ENDS_TRANSACTION;
    if next.take("and") && !next.take("no") {
        effects |= Effects::BEGINS_TRANSACTION;
    }
    let _ = next.take("chain");
    if next.take("release") {
        effects |= Effects::DISCONNECTS;
    }
    Opening::primary(Reason::Transaction, effects)
}

fn lock(mut next: Words<'_>) -> Opening {
    if next.take("instance") {
        return Opening::primary(Reason::ChangesSession, Effects::LOCKS_INSTANCE);
    }
    Opening::primary(Reason::ChangesSession, Effects::LOCKS_TABLES.with(Effects::IMPLICIT_COMMIT))
}

/// FLUSH TABLES … WITH READ LOCK and FOR EXPORT hold locks; what else is flushed, is not the session's.
fn flush(next: Words<'_>) -> Opening {
    let effects = if next.has("lock") || next.has("export") { Effects::LOCKS_TABLES } else { Effects::NONE };
    Opening::primary(Reason::Administration, effects.with(Effects::IMPLICIT_COMMIT))
}

fn backup(mut next: Words<'_>) -> Opening {
    let is_end = next.take("unlock") || next.take("stage") && next.take("end");
    let effects = if is_end { Effects::UNLOCKS_INSTANCE } else { Effects::LOCKS_INSTANCE };
    Opening::primary(Reason::ChangesSession, effects)
}

/// HANDLER table OPEN, READ or CLOSE; the table may be called like one of these.
fn handler(next: Words<'_>) -> Opening {
    let closes = next.has("close") && !next.has("open");
    let effects = if closes { Effects::CLOSES_HANDLER } else { Effects::OPENS_HANDLER };
    Opening::primary(Reason::NotARead, effects)
}

fn create(mut next: Words<'_>) -> Opening {
    if next.take("or") {
        let _ = next.take("replace");
    }
    if next.take("temporary") {
        return Opening::primary(Reason::NotARead, Effects::CREATES_TEMPORARY_TABLE);
    }
    Opening::primary(Reason::NotARead, Effects::IMPLICIT_COMMIT.with(Effects::STORED_CODE))
}

fn drop(mut next: Words<'_>) -> Opening {
    if next.take("temporary") {
        return Opening::primary(Reason::NotARead, Effects::DROPS_TABLE);
    }
    if next.take("prepare") {
        return Opening::primary(Reason::ChangesSession, Effects::DEALLOCATES);
    }
    let is_table = next.take("table") || next.take("tables") || next.take("sequence");
    let effects = if is_table { Effects::DROPS_TABLE } else { Effects::NONE };
    Opening::primary(Reason::NotARead, effects.with(Effects::IMPLICIT_COMMIT))
}
