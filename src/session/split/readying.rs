//! Brings a server to where the next command needs it, with commands of our own, while the client's waits.
//!
//! [`Split::next`] looks at what is missing and names one thing; that is done, and it looks again. Whatever goes wrong at
//! a replica sends the command home.

use std::time::{Duration, Instant};

use crate::{
    protocol::{
        capability::Capabilities,
        command::Command,
        gtid::GtidPosition,
        packet::{Peeked, peek_packet},
        status::StatusFlags,
    },
    sql::{self, Needs},
    topology::{Failure, ServerId},
};

use super::{
    super::{
        Ending, Output, ReplicaWant, Session, Side, State, Step, Surroundings,
        entering::{Door, Introduction, Knock, required},
        exchange::Exchange,
        frontend::LOGIN_PACKET_MAX,
        relay::Relay,
    },
    Home, Kind, Split, Tracking,
    chore::{Answer, Asked, Chore},
    journal::COMPARED,
    sight::{Demand, PATIENCE},
};

/// How long a server may take for one of our commands, beside what it is told to wait.
const CHORE_TIME: Duration = Duration::from_secs(5);

/// What MySQL is asked to tell of: naming all would have it tell the number of every statement. Other variables that a
/// statement sets keep the session's reads at home.
const TRACKED_BY_MYSQL: &str = "character_set_client,character_set_connection,character_set_results,\
    collation_connection,sql_mode,time_zone,lc_time_names,div_precision_increment,group_concat_max_len,\
    sql_select_limit,default_week_format,sql_auto_is_null,sql_safe_updates,sql_big_selects,max_join_size,\
    max_sort_length,optimizer_switch,optimizer_search_depth,optimizer_prune_level,transaction_isolation,\
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

/// A server is being made ready.
pub(in crate::session) struct Preparing {
    goal: Side,
    /// A command of the client waits for it.
    command_waits: bool,
    stage: Stage,
}

enum Stage {
    /// About to see what is missing.
    Looking,
    /// The worker looks for a replica.
    Leasing,
    /// A replica is connected; we log in.
    AtDoor(Box<Door>),
    /// One of our commands was said.
    Asking(Box<Asked>),
}

/// What is missing.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing: the command may go there.
    Ready(Side),
    /// A replica.
    Lease,
    /// The replica must go first.
    Leave,
    /// This must be said.
    Say(Chore),
    /// The replica cannot take the session on as it is now.
    Refuse,
}

impl Preparing {
    pub(in crate::session) fn command_waits(&self) -> bool {
        self.command_waits
    }
}

impl Split {
    /// Whether a command may go to `goal` at once.
    pub(super) fn is_ready(&mut self, goal: Side, status: StatusFlags, surroundings: Surroundings<'_>) -> bool {
        self.next(goal, status, surroundings) == Next::Ready(goal)
    }

    fn next(&mut self, goal: Side, status: StatusFlags, surroundings: Surroundings<'_>) -> Next {
        match self.home {
            Home::Unknown => return Next::Say(Chore::HomeValues),
            Home::Silent(_) => return Next::Say(Chore::Tracking),
            Home::Telling(_) | Home::Unable => {}
        }
        match goal {
            Side::Replica => self.next_at_replica(status, surroundings),
            _ => self.next_at_home(status),
        }
    }

    fn next_at_home(&self, status: StatusFlags) -> Next {
        let of_the_last = Needs::FOUND_ROWS.with(Needs::ROW_COUNT).with(Needs::WARNINGS);
        if self.last == Side::Replica && self.current.classification.needs.intersects(of_the_last) {
            return Next::Say(Chore::Repeat);
        }
        match self.replicas.get() {
            Some(replica) if replica.in_transaction && !status.contains(StatusFlags::IN_TRANS) => {
                Next::Say(Chore::Commit)
            }
            _ => Next::Ready(Side::Server),
        }
    }

    fn next_at_replica(&mut self, status: StatusFlags, surroundings: Surroundings<'_>) -> Next {
        let of_the_last = self.current.classification.class == sql::Class::ReadOfConnection;
        if self.replicas.get().is_none() {
            // What the last statement left behind went with its connection.
            return if of_the_last { Next::Ready(Side::Server) } else { Next::Lease };
        }
        if of_the_last {
            return Next::Ready(Side::Replica);
        }
        let is_another = |wanted| self.replica().is_some_and(|replica| replica.id != wanted);
        if self.wanted.is_some_and(is_another) || !self.may_keep_replica(surroundings) {
            return Next::Leave;
        }
        let in_transaction = status.contains(StatusFlags::IN_TRANS);
        let Some(replica) = self.replicas.get() else { return Next::Lease };
        if replica.refused == Some(self.journal.version()) {
            return Next::Refuse;
        }
        if replica.in_transaction && !in_transaction {
            return Next::Say(Chore::Commit);
        }
        if replica.values.is_none() {
            return Next::Say(Chore::ReplicaValues);
        }
        match self.journal.schema() {
            None if replica.schema.is_some() => return Next::Leave,
            schema if schema != replica.schema.as_deref() => return Next::Say(Chore::Schema),
            _ => {}
        }
        if replica.applied != Some(self.journal.version()) {
            return Next::Say(Chore::Settings);
        }
        if replica.role.as_deref() != self.journal.role() {
            return Next::Say(Chore::Role);
        }
        if !replica.in_transaction {
            match self.sight.demand(replica.had, surroundings.now) {
                Demand::Nothing => {}
                _ if self.replicas_wait => {}
                Demand::Position(position) if is_seen_past(surroundings, replica.facts.id, position) => {
                    self.replica_has_all();
                    return self.next_at_replica(status, surroundings);
                }
                Demand::Position(_) => return Next::Say(Chore::Wait),
                Demand::AskHome => return Next::Say(Chore::Position),
                Demand::StayHome => return Next::Ready(Side::Server),
            }
        }
        if in_transaction && !replica.in_transaction {
            return Next::Say(Chore::Begin);
        }
        match self.executed_statement() {
            Some(statement) if !statement.is_at_replica() => Next::Say(Chore::Prepare(statement.id)),
            _ => Next::Ready(Side::Replica),
        }
    }

    fn want_replica(&mut self, required: Capabilities, surroundings: Surroundings<'_>) -> Option<ReplicaWant> {
        let mut want = self.replicas.want(required, self.sight.position(), surroundings.now)?;
        if let Some(wanted) = self.wanted {
            let others = surroundings.table.servers.iter().map(|server| server.id).filter(|id| *id != wanted);
            want.avoid.extend(others);
        }
        Some(want)
    }

    fn may_keep_replica(&mut self, surroundings: Surroundings<'_>) -> bool {
        let table = surroundings.table;
        let user = table.user(&self.login.user).map(|user| table.user_config(user));
        match user.and_then(|user| user.split) {
            Some(split) => self.replicas.may_keep(table, split.read),
            None => true,
        }
    }

    /// What is said for a chore; `None` if nothing needs to be.
    fn words(&mut self, chore: Chore, now: Instant) -> Result<Option<Vec<u8>>, Unsayable> {
        let attributes = self.query_attributes;
        let query = |text: &[u8]| Some(com_query(attributes, text));
        Ok(match chore {
            Chore::HomeValues => query(values_statement(true).as_bytes()),
            Chore::ReplicaValues => query(values_statement(false).as_bytes()),
            Chore::Tracking => query(self.tracking_statement().as_bytes()),
            Chore::Schema => Some([&[Command::InitDb.byte()], self.journal.schema().unwrap_or_default()].concat()),
            Chore::Settings => {
                let values = self.replicas.get().and_then(|replica| replica.values.as_deref()).unwrap_or_default();
                let extra = self.replicas_wait.then_some("SESSION wsrep_sync_wait=1");
                let statement = self.journal.settings(values, extra).map_err(|_| Unsayable)?;
                statement.and_then(|statement| query(&statement))
            }
            Chore::Role => query(self.journal.role().unwrap_or(b"SET ROLE NONE")),
            Chore::Begin => query(b"START TRANSACTION READ ONLY"),
            Chore::Commit => query(b"COMMIT"),
            Chore::Position => query(self.position_statement().as_bytes()),
            Chore::Wait => match self.sight.demand(0, now) {
                Demand::Position(position) => query(position.wait_statement(PATIENCE).as_bytes()),
                Demand::Nothing | Demand::AskHome | Demand::StayHome => None,
            },
            Chore::Prepare(id) => {
                let statement = self.statements.find(id).ok_or(Unsayable)?;
                Some([&[Command::StmtPrepare.byte()], &*statement.text].concat())
            }
            Chore::Repeat => Some(self.retained.clone()),
        })
    }

    fn tracking_statement(&self) -> String {
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

    /// Takes in an answer. An error sends the command home.
    fn answered(&mut self, chore: Chore, answer: Answer, now: Instant) -> Result<(), Unsayable> {
        match (chore, answer) {
            (Chore::HomeValues, Answer::Row(values)) => self.learn_home(values),
            (Chore::Tracking, Answer::Done) => {
                if let Home::Silent(tracking) = &mut self.home {
                    self.home = Home::Telling(std::mem::take(tracking));
                }
            }
            (Chore::HomeValues | Chore::Tracking, _) => self.home = Home::Unable,
            // An error of the repeated statement is what home has to tell of it.
            (Chore::Repeat, _) => self.last = Side::Server,
            (Chore::Position, Answer::Row(values)) => {
                match position_in(&values).and_then(|text| self.parse_position(text)) {
                    Some(position) => self.sight.home_is_at(position),
                    None => self.sight.in_vain(now),
                }
            }
            (Chore::Position, _) => self.sight.in_vain(now),
            (Chore::Wait, Answer::Row(values)) if values == [Some(b"0".to_vec())] => self.replica_has_all(),
            (Chore::Wait, Answer::Row(_)) => self.sight.in_vain(now),
            (Chore::Prepare(id), Answer::Prepared { id: there, definitions }) => {
                return self.prepared_there(id, there, definitions.0);
            }
            (_, answer) => return self.replica_answered(chore, answer),
        }
        Ok(())
    }

    fn replica_answered(&mut self, chore: Chore, answer: Answer) -> Result<(), Unsayable> {
        let (version, schema) = (self.journal.version(), self.journal.schema().map(<[u8]>::to_vec));
        let role = self.journal.role().map(<[u8]>::to_vec);
        let replica = self.replicas.get_mut().ok_or(Unsayable)?;
        match (chore, answer) {
            (Chore::ReplicaValues, Answer::Row(values)) => {
                replica.values = Some(values.into_iter().map(Option::unwrap_or_default).collect());
            }
            (Chore::Schema, Answer::Done) => replica.schema = schema,
            (Chore::Settings, Answer::Done) => replica.applied = Some(version),
            (Chore::Role, Answer::Done) => replica.role = role,
            (Chore::Begin, Answer::Done) => replica.in_transaction = true,
            (Chore::Commit, Answer::Done) => replica.in_transaction = false,
            // What it cannot take on now it may take on after the next change.
            (Chore::Schema | Chore::Settings | Chore::Role, Answer::Refused(_)) => replica.refused = Some(version),
            (Chore::Prepare(_), Answer::Refused(_)) => replica.refused = Some(version),
            _ => return Err(Unsayable),
        }
        Ok(())
    }

    fn learn_home(&mut self, values: Vec<Option<Vec<u8>>>) {
        let mut values = values.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        let (variables, schema, state_change) = (next(), next(), next());
        let is_on = |value: &[u8]| value == b"1" || value.eq_ignore_ascii_case(b"ON");
        let tracking = Tracking { variables, schema: is_on(&schema), state_change: is_on(&state_change) };
        self.journal.set_baseline(values.collect());
        self.home = Home::Silent(tracking);
    }

    fn replica_has_all(&mut self) {
        let version = self.sight.version();
        if let Some(replica) = self.replicas.get_mut() {
            replica.had = version;
        }
    }

    /// A statement whose result would look otherwise there than the client was told stays at home.
    fn prepared_there(
        &mut self,
        id: crate::protocol::statement::StatementId,
        there: crate::protocol::statement::StatementId,
        definitions: u64,
    ) -> Result<(), Unsayable> {
        let told = self.statements.find(id).map(|statement| statement.definitions);
        self.statements.prepared_at_replica(id, there);
        if told == Some(definitions) { Ok(()) } else { Err(Unsayable) }
    }

    fn executed_statement(&self) -> Option<&super::statements::Statement> {
        match self.current.kind {
            Kind::Execute => self.executing.and_then(|id| self.statements.find(id)),
            Kind::Query | Kind::Prepare(_) | Kind::Reset | Kind::Other | Kind::Unseen => None,
        }
    }
}

/// A chore that cannot be said, or was answered so that the replica is of no use.
struct Unsayable;

/// Whether the health checks saw a server past a position.
fn is_seen_past(surroundings: Surroundings<'_>, server: ServerId, position: &GtidPosition) -> bool {
    let table = surroundings.table;
    table.place(server).is_some_and(|place| table.server(place).progress.has_applied(position))
}

fn com_query(query_attributes: bool, text: &[u8]) -> Vec<u8> {
    let attributes: &[u8] = if query_attributes { &[0, 1] } else { &[] };
    [&[Command::Query.byte()], attributes, text].concat()
}

/// Asks for [`COMPARED`]; of home also for what it tells clients by itself.
fn values_statement(is_home: bool) -> String {
    let tracking = ["session_track_system_variables", "session_track_schema", "session_track_state_change"];
    let names = tracking.iter().filter(|_| is_home).chain(&COMPARED);
    let names: Vec<String> = names.map(|name| format!("@@SESSION.{name}")).collect();
    format!("SELECT {}", names.join(", "))
}

fn position_in(values: &[Option<Vec<u8>>]) -> Option<&[u8]> {
    values.first()?.as_deref()
}

impl Session {
    /// Makes a server ready; the client's command, if one waits, is shown again afterwards.
    pub(in crate::session) fn make_ready(&mut self, goal: Side, command_waits: bool, surroundings: Surroundings<'_>) {
        if let State::Relay(relay) = &mut self.state {
            let preparing = Preparing { goal, command_waits, stage: Stage::Looking };
            relay.exchange = Exchange::Preparing(Box::new(preparing));
            self.look_what_is_missing(surroundings);
        }
    }

    fn look_what_is_missing(&mut self, surroundings: Surroundings<'_>) {
        loop {
            let Some((relay, goal)) = self.preparing() else { return };
            let status = relay.status;
            let Some(split) = relay.split.as_deref_mut() else { return };
            match split.next(goal, status, surroundings) {
                Next::Ready(side) => return self.ready(side),
                Next::Lease => return self.lease_replica(surroundings),
                Next::Leave => self.leave_replica(),
                Next::Refuse => return self.ready(Side::Server),
                Next::Say(chore) => match split.words(chore, surroundings.now) {
                    Ok(Some(words)) => return self.say(chore, &words, surroundings),
                    Ok(None) => {
                        let _ = split.replica_answered(chore, Answer::Done);
                    }
                    Err(Unsayable) => return self.ready(Side::Server),
                },
            }
        }
    }

    fn preparing(&mut self) -> Option<(&mut Relay, Side)> {
        match &mut self.state {
            State::Relay(relay) => match &relay.exchange {
                Exchange::Preparing(preparing) => {
                    let goal = preparing.goal;
                    Some((relay, goal))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let State::Relay(relay) = &mut self.state
            && let Exchange::Preparing(preparing) = &mut relay.exchange
        {
            preparing.stage = stage;
        }
    }

    /// Nothing is missing: the command that waits is shown again, and goes there.
    fn ready(&mut self, side: Side) {
        self.deadline = None;
        if let State::Relay(relay) = &mut self.state
            && let Exchange::Preparing(preparing) = &relay.exchange
        {
            let command_waits = preparing.command_waits;
            if let Some(split) = relay.split.as_deref_mut() {
                split.ready = command_waits.then_some(side);
            }
            relay.exchange = Exchange::Idle;
        }
        // A command that has been waited for is answered before anybody leaves.
        if self.split().is_some_and(|split| split.ready.is_none()) {
            self.leave_if_asked();
        }
    }

    fn say(&mut self, chore: Chore, words: &[u8], surroundings: Surroundings<'_>) {
        if let State::Relay(relay) = &mut self.state {
            let asked = Asked::new(chore, relay.framing);
            if let Some(split) = relay.split.as_deref_mut()
                && chore.side() == Side::Replica
            {
                let closed = split.statements.take_closed();
                if !closed.is_empty() {
                    self.outputs.push_back(Output::Send(Side::Replica, closed));
                }
            }
            self.set_stage(Stage::Asking(Box::new(asked)));
        }
        self.send_packet(chore.side(), 0, words);
        self.deadline = Some(surroundings.now + CHORE_TIME);
    }

    fn lease_replica(&mut self, surroundings: Surroundings<'_>) {
        let required = required(self.capabilities);
        let want = self.split_mut().and_then(|split| split.want_replica(required, surroundings));
        match want {
            Some(want) => {
                self.set_stage(Stage::Leasing);
                self.outputs.push_back(Output::LeaseReplica(want));
            }
            None => self.ready(Side::Server),
        }
    }

    /// A replica is connected.
    pub(in crate::session) fn replica_leased(
        &mut self,
        facts: super::super::ServerFacts,
        surroundings: Surroundings<'_>,
    ) {
        let is_awaited = match &self.state {
            State::Relay(Relay { exchange: Exchange::Preparing(preparing), .. }) => {
                matches!(preparing.stage, Stage::Leasing)
            }
            _ => false,
        };
        if !is_awaited {
            return self.outputs.push_back(Output::ReleaseReplica);
        }
        self.deadline = Some(surroundings.now + facts.login_timeout);
        if let Some(split) = self.split_mut() {
            let schema = split.journal.schema().map(<[u8]>::to_vec);
            split.login.database.clone_from(&schema);
            split.replicas.leased(facts, schema, surroundings.table);
        }
        self.set_stage(Stage::AtDoor(Box::new(Door::Connected)));
    }

    /// There is no replica now.
    pub(in crate::session) fn no_replica(&mut self, surroundings: Surroundings<'_>) {
        if let Some(split) = self.split_mut() {
            split.replicas.none_found(surroundings.now);
        }
        if self.preparing().is_some() {
            self.ready(Side::Server);
        }
    }

    /// A server's bytes while something is made ready.
    pub(in crate::session) fn preparing_step(
        &mut self,
        from: Side,
        bytes: &[u8],
        surroundings: Surroundings<'_>,
    ) -> Step {
        let State::Relay(Relay { exchange: Exchange::Preparing(preparing), .. }) = &mut self.state else {
            unreachable!("the caller looked at the exchange")
        };
        match &mut preparing.stage {
            Stage::Asking(asked) if asked.chore.side() == from => {
                let (length, answer) = asked.hear(bytes);
                let chore = asked.chore;
                if let Some(answer) = answer {
                    self.chore_answered(chore, answer, surroundings);
                }
                Step::Consume { length }
            }
            Stage::AtDoor(_) if from == Side::Replica => self.door_step(bytes, surroundings),
            _ if from == Side::Server => {
                self.server_left(Ending::ServerGone);
                Step::Consume { length: bytes.len() }
            }
            _ => {
                self.replica_lost(surroundings);
                Step::Consume { length: bytes.len() }
            }
        }
    }

    fn chore_answered(&mut self, chore: Chore, answer: Answer, surroundings: Surroundings<'_>) {
        if chore.side() == Side::Server && answer == Answer::Malformed {
            return self.server_left(Ending::ServerProtocol);
        }
        let outcome = match self.split_mut() {
            Some(split) => split.answered(chore, answer, surroundings.now),
            None => return,
        };
        match outcome {
            Ok(()) => {
                self.set_stage(Stage::Looking);
                self.look_what_is_missing(surroundings);
            }
            Err(Unsayable) => self.replica_lost(surroundings),
        }
    }

    fn door_step(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        match peek_packet(bytes, LOGIN_PACKET_MAX) {
            Peeked::NeedBytes { at_least } => Step::NeedBytes { at_least },
            Peeked::TooLong => {
                self.replica_failed(Some(Failure::Malformed), surroundings);
                Step::Consume { length: bytes.len() }
            }
            Peeked::Complete { payload, sequence, length } => {
                self.door_packet(payload, sequence, surroundings);
                Step::Consume { length }
            }
        }
    }

    fn door_packet(&mut self, payload: &[u8], sequence: u8, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &mut self.state else { return };
        let Exchange::Preparing(preparing) = &mut relay.exchange else { return };
        let Stage::AtDoor(door) = &mut preparing.stage else { return };
        let Some(split) = relay.split.as_deref() else { return };
        let account = self.account.as_ref().expect("a session in its command phase has an account");
        let who = Introduction {
            user: account.name_at_server(),
            credential: &account.credential,
            login: &split.login,
            capabilities: relay.server_capabilities,
            required: required(self.capabilities),
            host: &self.host,
            is_local: split.replica().is_some_and(|replica| replica.is_local),
        };
        match door.packet(payload, &who) {
            Knock::Say(payload) => {
                self.send_packet(Side::Replica, sequence.wrapping_add(1), &payload);
            }
            Knock::Command(payload) => {
                self.send_packet(Side::Replica, 0, &payload);
            }
            Knock::Listen => {}
            Knock::Open { thread_id, .. } => {
                if let Some(replica) = self.split_mut().and_then(|split| split.replicas.get_mut()) {
                    replica.facts.thread_id = thread_id;
                }
                self.set_stage(Stage::Looking);
                self.look_what_is_missing(surroundings);
            }
            Knock::Refused(error) => {
                self.replica_failed(Some(Failure::LoginRefused { code: error.code.0 }), surroundings)
            }
            Knock::Unusable(_) => self.replica_failed(None, surroundings),
            Knock::Malformed => self.replica_failed(Some(Failure::Malformed), surroundings),
        }
    }

    /// A replica is of no use to the session, for now; the monitor hears why.
    fn replica_failed(&mut self, failure: Option<Failure>, surroundings: Surroundings<'_>) {
        let server = self.split().and_then(Split::replica).map(|replica| replica.id);
        if let (Some(server), Some(failure)) = (server, failure) {
            self.outputs.push_back(Output::Report(server, failure));
        }
        self.replica_lost(surroundings);
    }

    /// The replica is gone: another one next time.
    pub(in crate::session) fn give_up_replica(&mut self, surroundings: Surroundings<'_>) {
        if let Some(split) = self.split_mut()
            && let Some(server) = split.replica().map(|replica| replica.id)
        {
            split.replicas.has_failed(server, surroundings.now);
        }
        self.leave_replica();
    }

    /// The replica is gone, or must go. What was to be made ready there goes home.
    fn replica_lost(&mut self, surroundings: Surroundings<'_>) {
        self.give_up_replica(surroundings);
        if self.preparing().is_some() {
            self.ready(Side::Server);
        }
    }

    /// Gives up the replica.
    pub(in crate::session) fn leave_replica(&mut self) {
        let Some(split) = self.split_mut() else { return };
        let Some(replica) = split.replicas.take() else { return };
        split.statements.forget_replica();
        if replica.was_read {
            split.sight.left_replica();
        }
        split.looked_in_transaction |= replica.in_transaction;
        const COM_QUIT: [u8; 5] = [1, 0, 0, 0, 0x01];
        self.outputs.push_back(Output::Send(Side::Replica, COM_QUIT.to_vec()));
        self.outputs.push_back(Output::ReleaseReplica);
    }

    /// The replica's connection was closed.
    pub(in crate::session) fn replica_closed(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &self.state else { return };
        if relay.is_busy_at(Side::Replica) {
            return self.read_failed(surroundings);
        }
        self.replica_lost(surroundings);
    }

    /// A server took too long to be made ready.
    pub(in crate::session) fn preparing_timed_out(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(Relay { exchange: Exchange::Preparing(preparing), .. }) = &self.state else { return };
        match &preparing.stage {
            Stage::Asking(asked) if asked.chore.side() == Side::Server => self.server_left(Ending::ServerGone),
            Stage::AtDoor(_) => self.replica_failed(Some(Failure::TimedOut), surroundings),
            Stage::Asking(_) | Stage::Looking | Stage::Leasing => self.replica_lost(surroundings),
        }
    }

    pub(in crate::session) fn split(&self) -> Option<&Split> {
        match &self.state {
            State::Relay(relay) => relay.split.as_deref(),
            _ => None,
        }
    }

    pub(in crate::session) fn split_mut(&mut self) -> Option<&mut Split> {
        match &mut self.state {
            State::Relay(relay) => relay.split.as_deref_mut(),
            _ => None,
        }
    }
}
