//! What a node of a Percona XtraDB Cluster tells of itself and of its group. Its rows are in the store that the stand-ins of
//! a cluster share, so every node is in step.

use std::net::SocketAddr;

use super::refusal::Refusal;
use super::server::Server;
use super::store::Value;

/// The history that all groups of stand-ins have.
const HISTORY: &str = "5f0d7a3e-c1a6-11f0-9c2b-3a8d5b1e7f42";

/// What sessions are compared by where they go from one node to another, as MySQL 8.4 has it.
const COMPARED: &[(&str, &str)] = &[
    ("block_encryption_mode", "aes-128-ecb"),
    ("cte_max_recursion_depth", "1000"),
    ("default_collation_for_utf8mb4", "utf8mb4_0900_ai_ci"),
    ("default_week_format", "0"),
    ("div_precision_increment", "4"),
    ("end_markers_in_json", "0"),
    ("group_concat_max_len", "1024"),
    ("lc_messages", "en_US"),
    ("lc_time_names", "en_US"),
    ("max_execution_time", "0"),
    ("max_join_size", "18446744073709551615"),
    ("max_sort_length", "1024"),
    ("session_track_gtids", "OFF"),
    ("session_track_schema", "1"),
    ("session_track_state_change", "0"),
    ("session_track_system_variables", "time_zone"),
    ("session_track_transaction_info", "OFF"),
    ("show_create_table_verbosity", "0"),
    ("sql_auto_is_null", "0"),
    ("sql_big_selects", "1"),
    ("sql_notes", "1"),
    ("sql_quote_show_create", "1"),
    ("sql_safe_updates", "0"),
    ("sql_select_limit", "18446744073709551615"),
    ("windowing_use_high_precision", "1"),
    ("wsrep_sync_wait", "0"),
];

/// A server that is the member of a group.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where clients reach the members, this one among them.
    pub(super) members: Vec<SocketAddr>,
    pub(super) maintenance: Maintenance,
}

/// `@@pxc_maint_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maintenance {
    Disabled,
    /// The node is being shut down: its own doing.
    Shutdown,
    /// An operator wants to work on it.
    ForWork,
}

impl Maintenance {
    const ALL: [Maintenance; 3] = [Maintenance::Disabled, Maintenance::Shutdown, Maintenance::ForWork];

    fn word(self) -> &'static str {
        match self {
            Maintenance::Disabled => "DISABLED",
            Maintenance::Shutdown => "SHUTDOWN",
            Maintenance::ForWork => "MAINTENANCE",
        }
    }

    /// What a SET says.
    pub(super) fn of(value: &Value) -> Result<Maintenance, Refusal> {
        let word = value.to_bytes().unwrap_or_default();
        let named = Maintenance::ALL.into_iter().find(|mode| mode.word().as_bytes().eq_ignore_ascii_case(&word));
        named.ok_or_else(|| Refusal::wrong_value("pxc_maint_mode"))
    }
}

impl Node {
    /// The system variables that other stand-ins do not have.
    pub(super) fn system_variable(&self, name: &str) -> Option<Value> {
        Some(match name {
            "pxc_maint_mode" => Value::text(self.maintenance.word()),
            "wsrep_desync" => Value::Integer(0),
            "wsrep_reject_queries" => Value::text("NONE"),
            _ => {
                let place = COMPARED.binary_search_by_key(&name, |(name, _)| name).ok()?;
                Value::text(COMPARED[place].1)
            }
        })
    }

    /// Its own status variables, in order.
    pub(super) fn status_variables(&self, server: &Server) -> Vec<(&'static str, Value)> {
        let members: Vec<String> = self.members.iter().map(SocketAddr::to_string).collect();
        let committed = Value::text(server.statement_count().to_string());
        vec![
            ("wsrep_cluster_conf_id", Value::text("1")),
            ("wsrep_cluster_size", Value::text(members.len().to_string())),
            ("wsrep_cluster_state_uuid", Value::text(HISTORY)),
            ("wsrep_cluster_status", Value::text("Primary")),
            ("wsrep_connected", Value::text("ON")),
            ("wsrep_incoming_addresses", Value::text(members.join(","))),
            ("wsrep_last_committed", committed),
            ("wsrep_local_state", Value::text("4")),
            ("wsrep_ready", Value::text("ON")),
            ("wsrep_replicated", Value::text("0")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_are_sorted_for_the_search() {
        assert!(COMPARED.is_sorted_by_key(|(name, _)| *name));
    }
}
