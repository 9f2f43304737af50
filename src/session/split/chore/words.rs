//! The statements of our own: what is said to a server for a chore.

use std::time::Instant;

use crate::{
    protocol::{command::Command, gtid::GtidPosition, packet::HEADER_LENGTH, status::StatusFlags},
    session::split::{
        Home, Split, Tracking,
        journal::variables::compared,
        sight::{Demand, PATIENCE},
    },
    sql,
};

use super::{Chore, Unsayable};

/// What MySQL is asked to tell of: naming all would have it tell the number of every statement. Other variables that a
/// statement sets keep the session's reads at home.
const TRACKED_BY_MYSQL: &str = "autocommit,character_set_client,character_set_connection,character_set_results,\
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

/// Has a Galera node run a read when it has all that the cluster had committed before: bit 1 is for SELECT and the begin
/// of a transaction, bit 8 for SHOW and DESCRIBE, which are reads as well.
const CAUSAL_READS: &str = "SESSION wsrep_sync_wait=9";

/// Is answered by MariaDB when a Galera node has all that the cluster had committed before, as [`CAUSAL_READS`] are.
const CAUSAL_QUESTION: &[u8] = b"SET STATEMENT wsrep_sync_wait=1 FOR SELECT 1";

impl Split {
    /// What is said for a chore; `None` if nothing needs to be.
    pub(in crate::session::split) fn words(
        &mut self,
        chore: Chore,
        status: StatusFlags,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, Unsayable> {
        let attributes = self.query_attributes;
        let query = |text: &[u8]| Some(com_query(attributes, text));
        Ok(match chore {
            Chore::Reset => Some(vec![Command::ResetConnection.byte()]),
            Chore::HomeValues => query(self.values_statement(&self.tracking_variables()).as_bytes()),
            Chore::HomeChanges | Chore::ReplicaValues => query(self.values_statement(&[]).as_bytes()),
            Chore::Tracking | Chore::ReturnTracking => match &self.home {
                Home::Silent(tracking) => query(self.tracking_statement(&self.more_than(tracking)).as_bytes()),
                Home::Telling(tracking) if self.may_not_speak_of_gtids(status) => {
                    query(reporting_statement(tracking).as_bytes())
                }
                Home::Telling(tracking) => query(self.tracking_statement(tracking).as_bytes()),
                Home::Owing(tracking) => query(format!("SET {}", gtids_setting(tracking)).as_bytes()),
                Home::Unknown | Home::Returned | Home::Unable => return Err(Unsayable),
            },
            Chore::Schema => Some([&[Command::InitDb.byte()], self.journal.schema().unwrap_or_default()].concat()),
            Chore::Settings => {
                let values = self.replicas.get().and_then(|replica| replica.values.as_ref());
                let lacks_autocommit = self.replicas.get().is_some_and(|replica| replica.lacks_autocommit);
                let extra =
                    [self.replicas_wait.then_some(CAUSAL_READS), lacks_autocommit.then_some("SESSION autocommit=1")];
                let statement = self.journal.settings(values, extra.into_iter().flatten()).map_err(|_| Unsayable)?;
                query(&self.guarded(statement))
            }
            Chore::Role => query(self.journal.role().unwrap_or(b"SET ROLE NONE")),
            Chore::Begin => query(b"START TRANSACTION READ ONLY"),
            Chore::Commit => query(b"COMMIT"),
            Chore::RollBack => query(b"ROLLBACK"),
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
            Chore::Repeat => Some(self.repetition(self.repetition_before()).split_off(HEADER_LENGTH)),
            Chore::HomeWait => match self.family {
                sql::Family::MariaDb { .. } => query(CAUSAL_QUESTION),
                sql::Family::MySql { .. } => query(b"SELECT 1"),
            },
            Chore::HomeWaits => query(b"SET SESSION wsrep_sync_wait=1"),
            Chore::HomeWaitsNoMore => query(b"SET SESSION wsrep_sync_wait=DEFAULT"),
            Chore::HomeReset => Some(vec![Command::ResetConnection.byte()]),
            Chore::Collation | Chore::HomeCollation => query(collation_statement(self.login.collation).as_bytes()),
            Chore::HomeSchema => Some([&[Command::InitDb.byte()], self.schema_for_home().unwrap_or_default()].concat()),
            Chore::HomeTheirs => query(self.values_statement(&[]).as_bytes()),
            Chore::HomeSettings => query(&self.home_settings(status).map_err(|_| Unsayable)?),
            Chore::HomeRole => query(self.journal.role().unwrap_or(b"SET ROLE NONE")),
            Chore::HomeReading(id) => query(&self.reading_statement(id).ok_or(Unsayable)?),
            Chore::HomePrepare(id) => {
                let text = self.text_to_prepare(id).ok_or(Unsayable)?;
                Some([&[Command::StmtPrepare.byte()], text].concat())
            }
            Chore::InsertId => query(b"SELECT LAST_INSERT_ID()"),
            Chore::Stock | Chore::Proof => query(&self.stock_question()),
        })
    }

    /// What has home wait until it has all that the cluster had committed before. MySQL knows no SET STATEMENT, and as a hint
    /// (SET_VAR) Percona XtraDB Cluster heeds the variable from 8.0.26 on: there it is set around a question. On a connection
    /// that is new to the session, whose settings come afterwards.
    pub(in crate::session::split) fn wait_for_cluster(&self) -> Chore {
        match self.family {
            sql::Family::MariaDb { .. } => Chore::HomeWait,
            sql::Family::MySql { .. } => Chore::HomeWaits,
        }
    }

    /// What home is asked to tell of: what the client asked for, so that this is told as to the client, and the rest.
    fn more_than(&self, asked: &Tracking) -> Tracking {
        let ours: &str = match self.family {
            sql::Family::MariaDb { .. } => "*",
            sql::Family::MySql { .. } => TRACKED_BY_MYSQL,
        };
        // MySQL takes all only alone.
        let others = ours.split(',').filter(|name| asked.names().all(|known| known != *name && known != "*"));
        let variables = asked.names().chain(others).collect::<Vec<_>>().join(",").into_bytes();
        let gtids = if asked.has_gtids() { asked.gtids.clone() } else { b"OWN_GTID".to_vec() };
        Tracking { variables, schema: true, state_change: true, gtids }
    }

    /// What home is asked to tell of while it tells all that the session needs.
    pub(in crate::session::split) fn full_tracking_statement(&self) -> String {
        let asked = match &self.home {
            Home::Silent(tracking) | Home::Telling(tracking) => tracking.clone(),
            Home::Unknown | Home::Returned | Home::Owing(_) | Home::Unable => Tracking::default(),
        };
        self.tracking_statement(&self.more_than(&asked))
    }

    fn tracking_statement(&self, tracking: &Tracking) -> String {
        let statement = reporting_statement(tracking);
        match self.knows_gtid_tracker() {
            true => format!("{statement}, {}", gtids_setting(tracking)),
            false => statement,
        }
    }

    /// MariaDB tells of its positions as of a system variable.
    pub(in crate::session::split) fn knows_gtid_tracker(&self) -> bool {
        matches!(self.family, sql::Family::MySql { .. })
    }

    /// What home is asked for before the variables that are compared.
    fn tracking_variables(&self) -> Vec<&'static str> {
        const VARIABLES: [&str; 4] = [
            "session_track_system_variables",
            "session_track_schema",
            "session_track_state_change",
            "session_track_gtids",
        ];
        let told = if self.knows_gtid_tracker() { &VARIABLES[..] } else { &VARIABLES[..3] };
        told.iter().copied().chain(self.waiting.variable()).collect()
    }

    /// Asks for these variables and for those that are [`compared`].
    fn values_statement(&self, first: &[&'static str]) -> String {
        let names = first.iter().copied().chain(compared(self.family));
        let names: Vec<String> = names.map(|name| format!("@@SESSION.{name}")).collect();
        format!("SELECT {}", names.join(", "))
    }

    fn position_statement(&self) -> &'static str {
        match self.family {
            sql::Family::MariaDb { .. } => "SELECT @@GLOBAL.gtid_binlog_pos",
            sql::Family::MySql { .. } => "SELECT @@GLOBAL.gtid_executed",
        }
    }

    pub(in crate::session::split) fn parse_position(&self, text: &[u8]) -> Option<GtidPosition> {
        let position = match self.family {
            sql::Family::MariaDb { .. } => GtidPosition::parse_mariadb(text),
            sql::Family::MySql { .. } => GtidPosition::parse_mysql(text),
        };
        position.ok().filter(|position| !position.is_empty())
    }
}

/// What is said of everything but positions.
fn reporting_statement(tracking: &Tracking) -> String {
    let switch = |is_on| if is_on { "ON" } else { "OFF" };
    format!(
        "SET SESSION session_track_system_variables='{}', SESSION session_track_schema={}, \
         SESSION session_track_state_change={}",
        tracking.names().collect::<Vec<_>>().join(","),
        switch(tracking.schema),
        switch(tracking.state_change),
    )
}

fn gtids_setting(tracking: &Tracking) -> String {
    format!("SESSION session_track_gtids='{}'", String::from_utf8_lossy(&tracking.gtids))
}

/// What a login with this collation does to a session.
fn collation_statement(collation: u16) -> String {
    format!("SET character_set_client={collation}, character_set_results={collation}, collation_connection={collation}")
}

pub(in crate::session::split) fn com_query(query_attributes: bool, text: &[u8]) -> Vec<u8> {
    let attributes: &[u8] = if query_attributes { &[0, 1] } else { &[] };
    [&[Command::Query.byte()], attributes, text].concat()
}
