//! SHOW: which of its forms say the same on every server.

use super::classification::{Class, Effects, Needs, Reason};
use super::opening::{Opening, Style, Words};

/// By the words behind SHOW. What is not known to be alike everywhere is the primary's.
pub(super) fn open(mut next: Words<'_>) -> Opening {
    let read = Opening { style: Style::Show, ..Opening::READ };
    // LIMIT may follow; COUNT(*) stands before.
    if next.take("warnings") || next.take("errors") || next.take("count") {
        return Opening {
            class: Class::ReadOfConnection,
            reason: Reason::PreviousStatement,
            needs: Needs::WARNINGS,
            ..read
        };
    }
    let _ = next.take("extended");
    let _ = next.take("full");
    if ALIKE.iter().any(|word| next.take(word)) {
        return read;
    }
    if next.take("create") && ALIKE_CREATE.iter().any(|word| next.take(word)) {
        return read;
    }
    Opening { style: Style::Show, ..Opening::primary(Reason::ServerShow, Effects::NONE) }
}

/// Names and columns of what is replicated.
///
/// Not here, as they differ from server to server: TABLE STATUS, INDEX (row counts and cardinalities are estimates of each
/// server), OPEN TABLES, ENGINES, PLUGINS, CHARACTER SET and COLLATION (the version's), VARIABLES, STATUS, PROCESSLIST,
/// PROFILE, all about the replication, TRIGGERS, EVENTS, PROCEDURE STATUS (times of creation; events are disabled on
/// replicas), GRANTS and PRIVILEGES (accounts need not be replicated).
const ALIKE: [&str; 5] = ["databases", "schemas", "tables", "columns", "fields"];

/// Not TABLE, which names the next AUTO_INCREMENT (a failed INSERT takes a number on the primary only); not EVENT, which
/// is disabled on a replica; not TRIGGER, which has a time of creation; not USER.
const ALIKE_CREATE: [&str; 7] = ["database", "schema", "view", "procedure", "function", "sequence", "package"];
