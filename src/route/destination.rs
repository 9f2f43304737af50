//! Which of a session's two pools a statement is for, by its text alone.

use crate::sql::{Class, Classification, Effects, Hint, Reason};

/// Where a statement of a session whose reads are split is to run, as far as its text tells. The session's own state may
/// still keep it at home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// At home.
    Home,
    /// On any replica.
    Replica,
    /// Where the statement before it ran.
    LikeTheLast,
}

/// Where a statement is for. A hint for the primary always holds. One for a replica holds for what begins like a read and
/// is only not known to be harmless: never for a write, whatever its author asks, since a replica may take it.
pub fn destination(classification: &Classification) -> Destination {
    match (classification.class, classification.hint) {
        (_, Some(Hint::Primary)) => Destination::Home,
        (Class::Read, _) => Destination::Replica,
        (_, Some(Hint::Replica)) if may_be_forced(classification) => Destination::Replica,
        (Class::ReadOfConnection, _) => Destination::LikeTheLast,
        (Class::ReadOnlyTransaction | Class::Primary, _) => Destination::Home,
    }
}

fn may_be_forced(classification: &Classification) -> bool {
    let Classification { reason, effects, statements, .. } = *classification;
    let is_doubtful_read = match reason {
        Reason::PlainRead
        | Reason::UnknownFunction
        | Reason::StoredFunction
        | Reason::BlankBeforeParenthesis
        | Reason::ServerFunction
        | Reason::ServerVariable
        | Reason::ServerSchema
        | Reason::ServerShow => true,
        Reason::Empty
        | Reason::NotARead
        | Reason::ChangesSession
        | Reason::Transaction
        | Reason::ReadOnlyTransaction
        | Reason::UnknownStatement
        | Reason::Program
        | Reason::Evaluates
        | Reason::Administration
        | Reason::ForUpdate
        | Reason::ForShare
        | Reason::LockInShareMode
        | Reason::Into
        | Reason::HoldsAWrite
        | Reason::Procedure
        | Reason::Assignment
        | Reason::Sequence
        | Reason::ConnectionFunction
        | Reason::UserLock
        | Reason::LastInsertId
        | Reason::PreviousStatement
        | Reason::ExplainExecutes
        | Reason::ExplainConnection
        | Reason::SetStatement
        | Reason::Unterminated
        | Reason::Bytes
        | Reason::ExecutableComment
        | Reason::TooLong => false,
    };
    // What it does to its session would be missed at home.
    is_doubtful_read && statements == 1 && effects.without(Effects::STORED_CODE).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{ClientCharset, Dialect, Family, classify};

    fn check(text: &str, expected: Destination) {
        let family = Family::MariaDb { version: 101_100 };
        let dialect = Dialect { no_backslash_escapes: false, ansi_quotes: false, family, charset: ClientCharset::Utf8 };
        assert_eq!(destination(&classify(text.as_bytes(), dialect, true)), expected, "{text}");
    }

    #[test]
    fn reads_are_for_replicas_and_all_else_for_home() {
        check("SELECT * FROM t", Destination::Replica);
        check("SELECT * FROM t FOR UPDATE", Destination::Home);
        check("UPDATE t SET a = 1", Destination::Home);
        check("START TRANSACTION READ ONLY", Destination::Home);
        check("SHOW WARNINGS", Destination::LikeTheLast);
    }

    #[test]
    fn the_author_of_a_statement_may_know_better() {
        check("/* sqluice: primary */ SELECT * FROM t", Destination::Home);
        check("/* sqluice: replica */ SELECT stored(a) FROM t", Destination::Replica);
        check("/* sqluice: replica */ SHOW GLOBAL STATUS", Destination::Replica);
        check("/* sqluice: replica */ SELECT @@server_id", Destination::Replica);
        check("/* sqluice: replica */ SELECT GET_LOCK('a', 1)", Destination::Home);
        check("/* sqluice: replica */ SELECT stored(1); SELECT stored(2)", Destination::Home);
    }

    #[test]
    fn no_hint_makes_a_write_go_to_a_replica() {
        for write in [
            "UPDATE t SET a = 1",
            "INSERT INTO t SELECT stored(1)",
            "WITH x AS (SELECT stored(1)) DELETE FROM t",
            "WITH x AS (SELECT 1) UPDATE t SET a = 1",
            "EXPLAIN ANALYZE UPDATE t SET a = 1",
            "ANALYZE DELETE FROM t",
            "SELECT 1 INTO OUTFILE 'x'",
            "SELECT NEXT VALUE FOR s",
            "SET STATEMENT max_statement_time = 1 FOR INSERT INTO t VALUES (1)",
            "CALL p()",
            "DO stored(1)",
        ] {
            check(&format!("/* sqluice: replica */ {write}"), Destination::Home);
        }
    }
}
