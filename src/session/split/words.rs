//! The statements of our own: what is said to a server for a chore.

use std::time::Instant;

use crate::{
    protocol::{command::Command, gtid::GtidPosition, packet::HEADER_LENGTH, status::StatusFlags},
    sql,
};

use super::{
    Split,
    chore::{Chore, Unsayable},
    sight::{Demand, PATIENCE},
    variables::compared,
};

/// What MySQL is asked to tell of: naming all would have it tell the number of every statement. Other variables that a
/// statement sets keep the session's reads at home.
const TRACKED_BY_MYSQL: &str = "character_set_client,character_set_connection,character_set_results,\
    collation_connection,sql_mode,time_zone,lc_time_names,div_precision_increment,group_concat_max_len,\
    sql_select_limit,default_week_format,sql_auto_is_null,sql_safe_updates,sql_big_selects,max_join_size,\
    max_sort_length,optimizer_switch,optimizer_search_depth,optimizer_prune_level,transaction_isolation,lc_messages,\
    transaction_read_only,foreign_key_checks,unique_checks,sort_buffer_size,join_buffer_size,read_buffer_size,\
    read_rnd_buffer_size,tmp_table_size,max_heap_table_size,max_execution_time,lock_wait_timeout,\
    innodb_lock_wait_timeout,wait_timeout,interactive_timeout,net_read_timeout,net_write_timeout,max_error_count,\
    sql_warnings,sql_notes,sql_quote_show_create,sql_buffer_result,updatable_views_with_limit,\
    default_storage_engine,range_optimizer_max_mem_size,cte_max_recursion_depth,windowing_use_high_precision,\
    explicit_defaults_for_timestamp,end_markers_in_json,eq_range_index_dive_limit,max_seeks_for_key,\
    block_encryption_mode,show_create_table_verbosity,explain_format,default_collation_for_utf8mb4,\
    session_track_system_variables,session_track_schema,session_track_state_change,session_track_gtids,timestamp";

/// Whether MySQL tells of a variable when it is set.
pub(super) fn is_told_by_mysql(name: &[u8]) -> bool {
    TRACKED_BY_MYSQL.split(',').any(|told| told.as_bytes().eq_ignore_ascii_case(name))
}

impl Split {
    /// What is said for a chore; `None` if nothing needs to be.
    pub(super) fn words(
        &mut self,
        chore: Chore,
        status: StatusFlags,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, Unsayable> {
        let attributes = self.query_attributes;
        let query = |text: &[u8]| Some(com_query(attributes, text));
        Ok(match chore {
            Chore::HomeValues => query(values_statement(self.family, true).as_bytes()),
            Chore::ReplicaValues => query(values_statement(self.family, false).as_bytes()),
            Chore::Tracking => query(self.tracking_statement().as_bytes()),
            Chore::Schema => Some([&[Command::InitDb.byte()], self.journal.schema().unwrap_or_default()].concat()),
            Chore::Settings => {
                let values = self.replicas.get().and_then(|replica| replica.values.as_deref()).unwrap_or_default();
                let lacks_autocommit = self.replicas.get().is_some_and(|replica| replica.lacks_autocommit);
                let extra = [
                    self.replicas_wait.then_some("SESSION wsrep_sync_wait=1"),
                    lacks_autocommit.then_some("SESSION autocommit=1"),
                ];
                let statement = self.journal.settings(values, extra.into_iter().flatten()).map_err(|_| Unsayable)?;
                query(&self.guarded(statement))
            }
            Chore::Role => query(self.journal.role().unwrap_or(b"SET ROLE NONE")),
            Chore::Begin => query(b"START TRANSACTION READ ONLY"),
            Chore::Commit => query(b"COMMIT"),
            Chore::Ping => Some(vec![Command::Ping.byte()]),
            Chore::Position => query(self.position_statement().as_bytes()),
            Chore::Wait => match self.sight.demand(0, now) {
                Demand::Position(position) => query(position.wait_statement(PATIENCE).as_bytes()),
                Demand::Nothing | Demand::AskHome | Demand::StayHome => None,
            },
            Chore::Views => query(self.views_question().as_bytes()),
            Chore::Prepare(id) => {
                let statement = self.statements.find(id).ok_or(Unsayable)?;
                Some([&[Command::StmtPrepare.byte()], &*statement.text].concat())
            }
            Chore::Repeat => Some(self.repetition().split_off(HEADER_LENGTH)),
            Chore::HomeReset => Some(vec![Command::ResetConnection.byte()]),
            Chore::HomeCollation => query(collation_statement(self.login.collation).as_bytes()),
            Chore::HomeSchema => Some([&[Command::InitDb.byte()], self.journal.schema().unwrap_or_default()].concat()),
            Chore::HomeTheirs => query(values_statement(self.family, false).as_bytes()),
            Chore::HomeSettings => query(&self.home_settings(status).map_err(|_| Unsayable)?),
            Chore::HomeRole => query(self.journal.role().unwrap_or(b"SET ROLE NONE")),
            Chore::InsertId => query(b"SELECT LAST_INSERT_ID()"),
        })
    }

    pub(super) fn tracking_statement(&self) -> String {
        let (variables, gtids) = match self.family {
            sql::Family::MariaDb { .. } => ("*", ""),
            sql::Family::MySql { .. } => (TRACKED_BY_MYSQL, ", SESSION session_track_gtids='OWN_GTID'"),
        };
        format!(
            "SET SESSION session_track_system_variables='{variables}', SESSION session_track_schema=ON, \
             SESSION session_track_state_change=ON{gtids}"
        )
    }

    fn position_statement(&self) -> &'static str {
        match self.family {
            sql::Family::MariaDb { .. } => "SELECT @@GLOBAL.gtid_binlog_pos",
            sql::Family::MySql { .. } => "SELECT @@GLOBAL.gtid_executed",
        }
    }

    pub(super) fn parse_position(&self, text: &[u8]) -> Option<GtidPosition> {
        let position = match self.family {
            sql::Family::MariaDb { .. } => GtidPosition::parse_mariadb(text),
            sql::Family::MySql { .. } => GtidPosition::parse_mysql(text),
        };
        position.ok().filter(|position| !position.is_empty())
    }
}

/// What a login with this collation does to a session.
fn collation_statement(collation: u16) -> String {
    format!("SET character_set_client={collation}, character_set_results={collation}, collation_connection={collation}")
}

fn com_query(query_attributes: bool, text: &[u8]) -> Vec<u8> {
    let attributes: &[u8] = if query_attributes { &[0, 1] } else { &[] };
    [&[Command::Query.byte()], attributes, text].concat()
}

/// Asks for the variables that are [`compared`]; of home also for what it tells clients by itself.
fn values_statement(family: sql::Family, is_home: bool) -> String {
    let tracking = ["session_track_system_variables", "session_track_schema", "session_track_state_change"];
    let names = tracking.into_iter().filter(|_| is_home).chain(compared(family));
    let names: Vec<String> = names.map(|name| format!("@@SESSION.{name}")).collect();
    format!("SELECT {}", names.join(", "))
}
