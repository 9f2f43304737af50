//! Variables by name: which are compared between the servers of a session, and which bind it to one of them.

use crate::sql::Family;

/// Variables that decide what results and errors look like, and whose defaults may differ from server to server. Compared
/// at login, and made the same where a session reads.
///
/// `optimizer_switch` is not among them: it decides how rows are found and not which, and servers of two versions do not
/// have the same switches to set.
const OF_BOTH: [&str; 20] = [
    "sql_mode",
    "time_zone",
    "character_set_client",
    "character_set_results",
    // This sets the next one anew.
    "character_set_connection",
    "collation_connection",
    "lc_time_names",
    "lc_messages",
    "div_precision_increment",
    "group_concat_max_len",
    "sql_select_limit",
    "default_week_format",
    "sql_auto_is_null",
    "max_sort_length",
    // This sets the next one anew.
    "max_join_size",
    "sql_big_selects",
    "sql_safe_updates",
    "sql_quote_show_create",
    "sql_notes",
    // Clients are told of the transactions of the server that they read from.
    "session_track_transaction_info",
];

/// Those of MariaDB, from 10.2 on.
const OF_MARIADB: [&str; 4] = ["old_mode", "max_statement_time", "max_recursive_iterations", "standard_compliant_cte"];

/// Those of MySQL, from 5.7 on.
const OF_MYSQL: [&str; 5] = [
    "transaction_isolation",
    "max_execution_time",
    "block_encryption_mode",
    "end_markers_in_json",
    "show_create_table_verbosity",
];

/// Those that MySQL has since 8.0.11.
const OF_MYSQL_8: [&str; 3] =
    ["cte_max_recursion_depth", "windowing_use_high_precision", "default_collation_for_utf8mb4"];

/// The names of the variables that servers of a family are compared by.
pub(in crate::session::split) fn compared(family: Family) -> impl Iterator<Item = &'static str> {
    const MYSQL_8: u32 = 80_011;
    let (own, newer): (&[&str], &[&str]) = match family {
        Family::MariaDb { .. } if has_new_names(family) => (&OF_MARIADB, &["transaction_isolation"]),
        Family::MariaDb { .. } => (&OF_MARIADB, &["tx_isolation"]),
        Family::MySql { version } if version >= MYSQL_8 => (&OF_MYSQL, &OF_MYSQL_8),
        Family::MySql { .. } => (&OF_MYSQL, &[]),
    };
    OF_BOTH.iter().chain(own).chain(newer).copied()
}

/// Whether servers have `transaction_isolation` and `transaction_read_only`, and warn of the names that these had before.
/// What no server is known of is new.
pub(in crate::session::split) fn has_new_names(family: Family) -> bool {
    match family {
        Family::MariaDb { version } => version >= 110_101,
        Family::MySql { version } => version == 0 || version >= 50_720,
    }
}

/// Whether setting another variable sets this one anew: it must be set behind that.
pub(super) fn is_set_by_another(name: &[u8]) -> bool {
    is_one_of(&["collation_connection", "sql_big_selects"], name)
}

/// Whether SET NAMES sets a variable.
pub(super) fn is_set_by_names(name: &[u8]) -> bool {
    name == b"collation_connection"
        || is_one_of(&["character_set_client", "character_set_connection", "character_set_results"], name)
}

/// Variables whose value means something at one server, or for one statement, only.
const SERVER_BOUND: [&str; 24] = [
    "auto_increment_increment",
    "auto_increment_offset",
    "binlog_format",
    "binlog_row_image",
    "gtid_domain_id",
    "gtid_next",
    "gtid_seq_no",
    "identity",
    "insert_id",
    "last_insert_id",
    "proxy_user",
    "pseudo_slave_mode",
    "pseudo_replica_mode",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "server_id",
    "skip_replication",
    "sql_log_bin",
    "sql_log_off",
    "timestamp",
    "wsrep_on",
    "wsrep_osu_method",
    "wsrep_sync_wait",
];

/// Whether a value of this variable binds a session to the server where it was set.
pub(super) fn is_server_bound(name: &[u8]) -> bool {
    is_one_of(&SERVER_BOUND, name)
}

/// Whether a session is as before once the variable has its default again. Others leave something behind: what was written
/// without `sql_log_bin` is at no replica, `rand_seed1` has numbers follow that no other server would give.
pub(in crate::session::split) fn is_released_by_default(name: &[u8]) -> bool {
    const RELEASED: [&str; 7] = [
        "timestamp",
        "auto_increment_increment",
        "auto_increment_offset",
        "binlog_format",
        "sql_log_off",
        "sql_auto_is_null",
        "wsrep_sync_wait",
    ];
    is_one_of(&RELEASED, name)
}

fn is_one_of(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}
