//! Variables and schemas by name: which follow a session, which belong to a server.

use super::Span;
use super::comment::{Comments, Versioned};
use super::dialect::Dialect;
use super::lexer::{Kind, Lexer};
use super::words::WordTable;

/// What reading a system variable tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// The session's own, equal on every server that the session was put on.
    OfSession,
    /// `last_insert_id` and `identity`.
    LastInsertId,
    /// `warning_count` and `error_count`.
    Warnings,
}

/// What a system variable is when a statement reads it. Those that are not here have a value of the server's, or one
/// that a server gave the session from its own configuration.
pub(super) fn find(name: &[u8]) -> Option<Variable> {
    READ.find(name)
}

/// Only those that a session is known to have alike everywhere: all else that a statement does rests on them.
static READ: WordTable<Variable, 64> = WordTable::new(&[
    ("autocommit", Variable::OfSession),
    ("character_set_client", Variable::OfSession),
    ("character_set_connection", Variable::OfSession),
    ("character_set_results", Variable::OfSession),
    ("collation_connection", Variable::OfSession),
    ("sql_mode", Variable::OfSession),
    ("time_zone", Variable::OfSession),
    ("last_insert_id", Variable::LastInsertId),
    ("identity", Variable::LastInsertId),
    ("warning_count", Variable::Warnings),
    ("error_count", Variable::Warnings),
]);

/// Whether setting a variable for a session binds it to the server where it is set: what the next events and rows get,
/// and what is written to the binary log.
pub fn is_server_bound(name: &[u8]) -> bool {
    let has_prefix = |prefix: &[u8]| name.len() >= prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix);
    SERVER_BOUND.find(name).is_some() || has_prefix(b"wsrep_") || has_prefix(b"debug")
}

static SERVER_BOUND: WordTable<(), 128> = WordTable::new(&[
    ("sql_log_bin", ()),
    ("sql_log_off", ()),
    ("gtid_next", ()),
    ("gtid_domain_id", ()),
    ("gtid_seq_no", ()),
    ("gtid_next_list", ()),
    ("server_id", ()),
    ("pseudo_thread_id", ()),
    ("pseudo_replica_mode", ()),
    ("pseudo_slave_mode", ()),
    ("original_commit_timestamp", ()),
    ("immediate_server_version", ()),
    ("original_server_version", ()),
    ("skip_replication", ()),
    ("skip_parallel_replication", ()),
    ("timestamp", ()),
    ("insert_id", ()),
    ("last_insert_id", ()),
    ("identity", ()),
    ("rand_seed1", ()),
    ("rand_seed2", ()),
    ("binlog_format", ()),
    ("binlog_row_image", ()),
    ("binlog_rows_query_log_events", ()),
    ("binlog_annotate_row_events", ()),
    ("binlog_direct_non_transactional_updates", ()),
    ("session_track_gtids", ()),
    ("session_track_schema", ()),
    ("session_track_state_change", ()),
    ("session_track_system_variables", ()),
    ("session_track_transaction_info", ()),
    ("profiling", ()),
    ("profiling_history_size", ()),
    ("storage_engine", ()),
    ("default_storage_engine", ()),
    ("default_tmp_storage_engine", ()),
]);

/// Whether a variable set for one statement only changes how its rows are found, not which.
pub(super) fn is_harmless_for_statement(name: &[u8]) -> bool {
    FOR_STATEMENT.find(name).is_some()
}

static FOR_STATEMENT: WordTable<(), 64> = WordTable::new(&[
    ("max_statement_time", ()),
    ("optimizer_switch", ()),
    ("optimizer_search_depth", ()),
    ("optimizer_prune_level", ()),
    ("optimizer_use_condition_selectivity", ()),
    ("join_buffer_size", ()),
    ("join_buffer_space_limit", ()),
    ("join_cache_level", ()),
    ("sort_buffer_size", ()),
    ("read_buffer_size", ()),
    ("read_rnd_buffer_size", ()),
    ("mrr_buffer_size", ()),
    ("tmp_table_size", ()),
    ("tmp_memory_table_size", ()),
    ("max_heap_table_size", ()),
    ("rowid_merge_buff_size", ()),
    ("eq_range_index_dive_limit", ()),
    ("in_predicate_conversion_threshold", ()),
    ("use_stat_tables", ()),
    ("long_query_time", ()),
    ("lock_wait_timeout", ()),
    ("net_read_timeout", ()),
    ("net_write_timeout", ()),
]);

/// Variables that `SET @@name = …` without a scope sets for the next transaction only.
pub(super) fn is_of_next_transaction(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"transaction_isolation", b"tx_isolation", b"transaction_read_only", b"tx_read_only"];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a schema holds what one server says of itself. A session with such a default schema reads from the primary,
/// as its statements need not name it.
#[inline]
pub fn is_server_schema(name: &[u8]) -> bool {
    // Told by the length alone of most names.
    matches!(name.len(), 3 | 5 | 18) && is_one_of_server_schemas(name)
}

fn is_one_of_server_schemas(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"information_schema", b"performance_schema", b"mysql", b"sys"];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The user variables that a text names, in order, each as often as it is named; `@` and quotes belong to the span.
///
/// They are those of [`super::classify`]'s first reading: executable comments with a version count as code.
pub fn user_variables(text: &[u8], dialect: Dialect) -> UserVariables<'_> {
    UserVariables { lexer: Lexer::new(text, dialect, Comments::new(Versioned::Code)) }
}

/// See [`user_variables`].
#[derive(Clone, Debug)]
pub struct UserVariables<'a> {
    lexer: Lexer<'a>,
}

impl Iterator for UserVariables<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        loop {
            let token = self.lexer.next();
            match token.kind {
                Kind::UserVariable => return Some(token.span),
                Kind::End | Kind::Broken(_) => return None,
                _ => {}
            }
        }
    }
}
