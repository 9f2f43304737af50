//! Where a command goes: home, unless it is certainly a read that a replica answers as home would.

use crate::{
    protocol::{
        command::{Command, ReplyShape},
        error_code::Error,
        packet::{HEADER_LENGTH, Header, write_packet},
        statement::StatementId,
        status::StatusFlags,
    },
    sql::{self, Class, Classification, Effects, Findings, Hint, Needs, Reason},
    topology::ServerId,
};

use super::{
    super::{Side, Step, Surroundings, moves::Move, relay::Relay},
    COMMAND_MAX, Current, FoundRows, Kind, Split,
    journal::trackers,
    statements::{
        Definitions, Preparation, Statement,
        execution::{Execution, ForReplica},
    },
    stay::{Bond, Stay},
};

/// What is said of a command that was not looked into.
pub(super) const UNSEEN: Classification = Classification {
    class: Class::Primary,
    reason: Reason::TooLong,
    token: sql::Span { start: 0, end: 0 },
    hint: None,
    effects: Effects::UNSEEN,
    needs: Needs::NONE,
    statements: 1,
};

/// What is said of a command that only concerns the connection.
const NOTHING: Classification = Classification { effects: Effects::NONE, reason: Reason::Administration, ..UNSEEN };

/// What a statement may need of the statement before it.
pub(super) const OF_THE_LAST: Needs = Needs::FOUND_ROWS.with(Needs::ROW_COUNT).with(Needs::WARNINGS);

/// Effects that the session keeps the text for.
pub(super) const TOLD_BY_TEXT: Effects = Effects::USER_VARIABLES
    .with(Effects::COMPUTED_USER_VARIABLES)
    .with(Effects::SESSION_VARIABLES)
    .with(Effects::CHARACTER_SETS)
    .with(Effects::CREATES_TEMPORARY_TABLE)
    .with(Effects::SERVER_BOUND)
    .with(Effects::TAKES_USER_LOCK)
    .with(Effects::RELEASES_USER_LOCK)
    .with(Effects::PREPARES)
    .with(Effects::DEALLOCATES)
    .with(Effects::ROLE);

impl Relay {
    /// The first bytes of a command of a session with two servers.
    pub(in crate::session) fn split_command(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Move {
        let Some(split) = self.split.as_deref_mut() else { unreachable!("the caller looked") };
        let (payload, named): (&[u8], _) = match whole_command(bytes) {
            Beginning::Whole(payload) => (payload, payload),
            Beginning::Cut { at_least } => return Move::Pass(Step::NeedBytes { at_least }),
            // What its statement is decides, however long the values are.
            Beginning::Unseen(head) if split.knows_statement_of_ours(head) => (head, head),
            Beginning::Unseen(head) => (&[], head),
        };
        if let Some(id) = split.statement_to_close(payload) {
            return self.close_statement(id, HEADER_LENGTH + payload.len());
        }
        if payload.is_empty() {
            split.note_unseen(named);
        }
        let shape = split.look(payload, self.status);
        split.note_named(named);
        if split.is_farewell(payload) {
            return self.command(bytes);
        }
        let head = bytes.get(HEADER_LENGTH..).unwrap_or_default();
        if split.is_of_lost_transaction(head, self.status) {
            return self.refuse_lost_transaction(bytes);
        }
        let side = match split.ready.take() {
            // What the view does was not known when its replica was chosen.
            Some(Side::Replica) if split.reads_hidden_view(payload) => {
                split.stay = Some(Stay::Read(Bond::View));
                Side::Server
            }
            Some(side) => side,
            None => match split.destination(payload, self.status, surroundings) {
                goal if split.is_ready(goal, self.status, surroundings) => goal,
                goal => return Move::Ready(goal),
            },
        };
        if let Some(why) = split.refuses_statement() {
            split.refusal = Some(why);
            return self.refuse(bytes, Error::NEEDS_PREPARE);
        }
        if side == Side::Server
            && let Some(why) = split.loss_of_the_last()
        {
            split.refusal = Some(why);
            split.has_missed |= !split.has_lost_the_last();
            return self.refuse(bytes, Error::NOT_SUPPORTED_YET);
        }
        if side == Side::Server && split.would_read_anew(payload, head) {
            return self.refuse_transaction(bytes);
        }
        split.count(side);
        match side {
            Side::Replica => self.begin_at_replica(shape, payload),
            _ => {
                split.awake.heard(surroundings.now);
                self.begin_at_home(payload, bytes)
            }
        }
    }

    fn begin_at_home(&mut self, payload: &[u8], bytes: &[u8]) -> Move {
        let Some(split) = self.split.as_deref_mut() else { unreachable!("the caller looked") };
        split.current.at = Side::Server;
        split.current.changes_unseen = split.may_change_unseen(payload);
        split.retain_for_home(payload);
        split.keep_for_another_home(payload, self.status);
        if let Some(id) = split.long_execution(payload) {
            return self.begin_long_execution(id, bytes);
        }
        match split.bound_elsewhere(payload) {
            Some(rewritten) => {
                let shape = self.execute_shape(payload);
                Move::Say { side: Side::Server, packet: rewritten, shape, length: HEADER_LENGTH + payload.len() }
            }
            None => self.begin_under_number(bytes),
        }
    }

    fn begin_at_replica(&mut self, shape: ReplyShape, payload: &[u8]) -> Move {
        let Some(split) = self.split.as_deref_mut() else { unreachable!("the caller looked") };
        split.current.at = Side::Replica;
        split.current.changes_unseen = split.sets_what_is_not_told(payload);
        split.retain_for_repetition(payload);
        let length = HEADER_LENGTH + payload.len();
        let execution = match split.current.kind {
            Kind::Execute => split.execution_for_replica(payload),
            _ => None,
        };
        let step = match execution {
            Some(ForReplica::Payload(rewritten)) => {
                return Move::Say { side: Side::Replica, packet: packet(&rewritten), shape, length };
            }
            Some(ForReplica::Number(id)) => {
                let at = HEADER_LENGTH + StatementId::OFFSET;
                Step::Renumber { to: Side::Replica, length, at, number: id.0.to_le_bytes() }
            }
            None => Step::Forward { to: Side::Replica, length },
        };
        self.begin_whole(Side::Replica, shape);
        Move::Begin(step)
    }

    fn execute_shape(&self, payload: &[u8]) -> ReplyShape {
        const FLAGS: usize = 5;
        const CURSOR_FLAGS: u8 = 0x07;
        match payload.get(FLAGS) {
            Some(flags) if flags & CURSOR_FLAGS != 0 => ReplyShape::Cursor,
            Some(_) | None => ReplyShape::ResultSet,
        }
    }
}

/// What is there of a command.
enum Beginning<'a> {
    Whole(&'a [u8]),
    Cut {
        at_least: usize,
    },
    /// Too long, or nothing to look into: this much of it is there.
    Unseen(&'a [u8]),
}

/// What is needed of a command to know which prepared statement it is about.
const STATEMENT_HEAD: usize = StatementId::OFFSET + 4;

fn whole_command(bytes: &[u8]) -> Beginning<'_> {
    let Some(header) = Header::parse(bytes) else { return Beginning::Cut { at_least: HEADER_LENGTH } };
    let length = HEADER_LENGTH + header.payload_length as usize;
    let Some(&code) = bytes.get(HEADER_LENGTH).filter(|_| header.payload_length > 0) else {
        return if header.payload_length == 0 {
            Beginning::Unseen(&[])
        } else {
            Beginning::Cut { at_least: HEADER_LENGTH + 1 }
        };
    };
    let length_of_head = length.min(HEADER_LENGTH + STATEMENT_HEAD);
    let tells_by_head =
        matches!(Command::from(code), Command::StmtFetch | Command::StmtBulkExecute | Command::SetOption);
    if header.sequence == 0 && tells_by_head {
        return bytes
            .get(HEADER_LENGTH..length_of_head)
            .map_or(Beginning::Cut { at_least: length_of_head }, Beginning::Whole);
    }
    let is_looked_into = matches!(
        Command::from(code),
        Command::Query
            | Command::StmtPrepare
            | Command::StmtExecute
            | Command::StmtSendLongData
            | Command::StmtClose
            | Command::StmtReset
            | Command::InitDb
            | Command::Ping
            | Command::ResetConnection
    );
    if header.sequence != 0 || !is_looked_into || length > COMMAND_MAX {
        if !is_looked_into && header.sequence == 0 {
            // The first byte is enough to tell of most.
            return Beginning::Whole(&bytes[HEADER_LENGTH..=HEADER_LENGTH]);
        }
        return bytes
            .get(HEADER_LENGTH..length_of_head)
            .map_or(Beginning::Cut { at_least: length_of_head }, Beginning::Unseen);
    }
    match bytes.get(HEADER_LENGTH..length) {
        Some(payload) => Beginning::Whole(payload),
        None => Beginning::Cut { at_least: length },
    }
}

impl Split {
    fn count(&self, side: Side) {
        match (side, self.stay) {
            (Side::Replica, _) => self.counts.count_replica(),
            (_, Some(why)) => self.counts.count_home(why),
            (_, None) => self.counts.count_home(Stay::Read(Bond::NotFresh)),
        }
    }

    /// Looks into a command: sets `current`, and says what its reply looks like where it may run at a replica.
    fn look(&mut self, payload: &[u8], status: StatusFlags) -> ReplyShape {
        self.read_as_home(status);
        let mut is_about_tracking = false;
        let (kind, classification) = match payload.first().map(|code| Command::from(*code)) {
            Some(Command::Query) => {
                let text = self.text_in(payload);
                let classification = self.classify(text);
                is_about_tracking = trackers::is_about_tracking(text, &classification);
                (Kind::Query, classification)
            }
            Some(Command::StmtPrepare) => {
                let preparation = self.preparation(&payload[1..]);
                is_about_tracking = trackers::is_about_tracking(Some(&preparation.text), &preparation.classification);
                (Kind::Prepare(preparation), NOTHING)
            }
            Some(Command::StmtExecute) => (Kind::Execute, self.classification_of(payload)),
            Some(Command::StmtBulkExecute) if self.lent.is_some() => (Kind::Execute, self.classification_of(payload)),
            Some(Command::ResetConnection) => (Kind::Reset, NOTHING),
            Some(Command::StmtFetch) => (Kind::Fetch, NOTHING),
            Some(
                Command::InitDb
                | Command::Ping
                | Command::Statistics
                | Command::SetOption
                | Command::StmtReset
                | Command::StmtClose
                | Command::StmtSendLongData
                | Command::Quit,
            ) => (Kind::Other, NOTHING),
            Some(_) | None => (Kind::Unseen, UNSEEN),
        };
        self.chose_statements |= payload.first().is_some_and(|code| Command::from(*code) == Command::SetOption);
        self.note_statement(payload);
        self.executing = if let Kind::Execute = kind { StatementId::of_command(payload) } else { None };
        self.current = Current { is_about_tracking, ..Current::new(kind, classification) };
        self.note_recount(payload);
        self.note_counts_of_before(payload);
        self.note_asked_by_text(payload);
        self.current.sets_for_itself = self.sets_for_itself(payload);
        self.current.rolls_back = self.is_rollback(payload);
        self.current.keeps_conditions = self.keeps_conditions(payload);
        self.current.findings = self.findings(payload);
        self.current.finds_one_row = self.finds_one_row(payload);
        if self.may_change_home() {
            self.look_for_lent(payload);
        }
        ReplyShape::ResultSet
    }

    /// MySQL's answers to some commands that are no statements count the conditions of the statement before.
    fn note_recount(&mut self, payload: &[u8]) {
        let command = payload.first().map(|code| Command::from(*code));
        let is_mysql = matches!(self.family, sql::Family::MySql { .. });
        self.current.adds_conditions = is_mysql && self.may_add_its_error(payload);
        let counts = matches!(command, Some(Command::Ping | Command::InitDb | Command::SetOption));
        self.current.recounts = is_mysql && counts;
        self.current.ends_like_query = command == Some(Command::SetOption);
    }

    /// Whether a command is none that forgets conditions, and may fail: one for a schema, or for a statement or a cursor that
    /// is not there.
    fn may_add_its_error(&self, payload: &[u8]) -> bool {
        let statement = || StatementId::of_command(payload).and_then(|id| self.statements.find(id));
        match payload.first().map(|code| Command::from(*code)) {
            Some(Command::InitDb) => true,
            Some(Command::StmtExecute | Command::StmtReset) => statement().is_none(),
            Some(Command::StmtFetch) => statement().is_none_or(|statement| !statement.has_cursor),
            Some(_) | None => false,
        }
    }

    /// Whether conditions of the statements before this one outlive it, if it leaves none.
    fn keeps_conditions(&self, payload: &[u8]) -> bool {
        let may_outlive = matches!(self.family, sql::Family::MariaDb { .. });
        let needs = match &self.current.kind {
            Kind::Prepare(preparation) => preparation.classification.needs,
            _ => self.current.classification.needs,
        };
        if needs.contains(Needs::WARNINGS) && (may_outlive || !matches!(self.current.kind, Kind::Prepare(_))) {
            return true;
        }
        if matches!(self.current.kind, Kind::Fetch) {
            return true;
        }
        let may_keep = may_outlive && self.conditions.are_anywhere();
        let text = match self.current.kind {
            Kind::Query | Kind::Execute if may_keep => self.text_of_statement(payload),
            Kind::Prepare(_) if may_keep => payload.get(1..),
            Kind::Query | Kind::Execute | Kind::Prepare(_) => None,
            Kind::Reset | Kind::Fetch | Kind::Other | Kind::Unseen => None,
        };
        text.is_some_and(|text| !sql::may_use_a_table(text, self.reading))
    }

    /// What a command makes of FOUND_ROWS(). Of no matter for one that runs at home behind a query there.
    fn findings(&self, payload: &[u8]) -> Findings {
        let Classification { class, statements, .. } = self.current.classification;
        let is_home_to_be_asked = self.journal.awaits_baseline();
        let are_lost = self.lent.as_deref().is_some_and(|lent| lent.has_lost(Needs::FOUND_ROWS));
        let is_not_known = matches!(self.found_there, FoundRows::OfQuestion | FoundRows::Unknown);
        let is_elsewhere = self.found == Side::Replica || are_lost || is_not_known;
        let may_matter = is_elsewhere || class <= Class::ReadOfConnection || is_home_to_be_asked;
        let text = self.text_of_statement(payload).filter(|_| may_matter);
        match (statements, text) {
            // Nothing but comments.
            (0, _) => Findings::NOTHING,
            (_, None) => Findings::UNSEEN,
            (1, Some(text)) => Findings::of_one(text, self.reading),
            (_, Some(text)) => Findings::of(text, self.reading),
        }
    }

    /// Of several statements in a text, those behind the first may ask about each other only.
    fn note_counts_of_before(&mut self, payload: &[u8]) {
        const COUNTS: Needs = Needs::FOUND_ROWS.with(Needs::ROW_COUNT);
        let Classification { needs, statements, .. } = self.current.classification;
        if statements < 2 || !needs.intersects(COUNTS) {
            return;
        }
        if let Some(text) = self.text_of_statement(payload) {
            let of_before = sql::counts_of_before(text, self.reading);
            self.current.classification.needs = needs.without(COUNTS.without(of_before));
        }
    }

    /// Whether a question of the client's finds a single row, as ours do.
    fn finds_one_row(&self, payload: &[u8]) -> bool {
        let Classification { class, statements, .. } = self.current.classification;
        let is_question = class == Class::ReadOfConnection && statements == 1;
        let text = if is_question { self.text_of_statement(payload) } else { None };
        text.is_some_and(|text| sql::finds_one_row(text, self.reading))
    }

    /// The text that a command runs.
    pub(super) fn text_of_statement<'a>(&'a self, payload: &'a [u8]) -> Option<&'a [u8]> {
        match self.current.kind {
            Kind::Query => self.text_in(payload),
            Kind::Execute => self.executing.and_then(|id| self.statements.find(id)).map(|known| known.text.as_slice()),
            Kind::Prepare(_) | Kind::Reset | Kind::Fetch | Kind::Other | Kind::Unseen => None,
        }
    }

    pub(super) fn only_asks(&self) -> bool {
        self.current.classification.class == Class::ReadOfConnection && self.current.keeps_conditions
    }

    /// Commands that change what is known of a statement.
    fn note_statement(&mut self, payload: &[u8]) {
        let Some(id) = StatementId::of_command(payload) else { return };
        match Command::from(payload[0]) {
            Command::StmtSendLongData | Command::StmtReset => {
                let has_parts = Command::from(payload[0]) == Command::StmtSendLongData;
                self.statements.change(id, |statement| {
                    statement.long_data = has_parts;
                    statement.has_cursor &= has_parts;
                    statement.lost_data.take_if(|_| !has_parts);
                });
            }
            Command::StmtClose => self.statements.close(id),
            _ => {}
        }
    }

    /// A command that is too long to be looked into may be about a statement that is known.
    fn note_unseen(&mut self, head: &[u8]) {
        match (head.first().map(|code| Command::from(*code)), StatementId::of_command(head)) {
            (Some(Command::StmtSendLongData), Some(id)) => {
                self.statements.change(id, |statement| statement.long_data = true);
            }
            (Some(Command::StmtExecute), Some(id)) => {
                self.keep_types(id);
                self.statements.change(id, Statement::bound_unseen);
            }
            (Some(Command::StmtPrepare), _) => self.statements.forget_last(),
            _ => {}
        }
    }

    fn classify(&self, text: Option<&[u8]>) -> Classification {
        text.map_or(UNSEEN, |text| sql::classify(text, self.reading, true))
    }

    fn preparation(&self, text: &[u8]) -> Preparation {
        Preparation {
            text: text.to_vec(),
            classification: self.classify(Some(text)),
            meaning: self.journal.meaning(),
            origin: self.origin(),
            id: None,
            at_home: None,
            parameters: 0,
            definitions: Definitions::default(),
        }
    }

    fn classification_of(&self, payload: &[u8]) -> Classification {
        let statement = StatementId::of_command(payload).and_then(|id| self.statements.find(id));
        statement.map_or(UNSEEN, |statement| statement.classification)
    }

    /// Where the command should run.
    fn destination(&mut self, payload: &[u8], status: StatusFlags, surroundings: Surroundings<'_>) -> Side {
        self.stay = self.reason_to_stay(payload, status, surroundings);
        self.wanted = self.wanted_server(payload, surroundings);
        if self.wanted.is_none() && matches!(self.current.classification.hint, Some(Hint::Server(_))) {
            self.stay = Some(Stay::Read(Bond::Hint));
        }
        if self.stay.is_some() { Side::Server } else { Side::Replica }
    }

    /// The replica that the statement's author names, if there is one of that name.
    fn wanted_server(&self, payload: &[u8], surroundings: Surroundings<'_>) -> Option<ServerId> {
        let Some(Hint::Server(name)) = self.current.classification.hint else { return None };
        let text = self.text_of_command(payload)?;
        let name = name.of(text);
        let table = surroundings.table;
        let pool = table.user_config(table.user(&self.login.user)?).split?.read;
        let members = table.pool(pool).members.iter().map(|member| table.server(*member));
        members.filter(|server| server.name.as_bytes() == name).map(|server| server.id).next()
    }

    /// The text of a query, or of the statement that is executed.
    pub(super) fn text_of_command<'a>(&'a self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let prepared = self.executing.and_then(|id| self.statements.find(id));
        prepared.map_or_else(|| self.text_in(payload), |statement| Some(statement.text.as_slice()))
    }

    fn text_in<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        text_of(payload, self.query_attributes)
    }

    /// Keeps what the reply's end will need.
    fn retain_for_home(&mut self, payload: &[u8]) {
        let effects = self.current.classification.effects;
        let drops = effects.contains(Effects::DROPS_TABLE) && self.pins.has_temporary_tables();
        let is_told = drops || effects.intersects(TOLD_BY_TEXT) || self.current.sets_for_itself;
        if matches!(self.current.kind, Kind::Query) && is_told {
            self.at_home.clear();
            self.at_home.extend_from_slice(payload);
        }
    }

    /// The payload that home must get in place of an EXECUTE without types, where only the replica was told them.
    fn bound_elsewhere(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let is_execution = payload.first().is_some_and(|code| Command::from(*code) == Command::StmtExecute);
        let id = StatementId::of_command(payload).filter(|_| is_execution)?;
        let statement = self.statements.find(id)?;
        let Some(execution) = Execution::parse(payload, statement.parameters, self.query_attributes) else {
            self.keep_types(id);
            self.statements.change(id, Statement::bound_unseen);
            return None;
        };
        if statement.is_bound_otherwise_by(payload, &execution) {
            self.keep_types(id);
        }
        let rewritten = self.statements.change(id, |statement| {
            statement.long_data = false;
            statement.has_cursor = execution.wants_cursor;
            statement.bind(payload, &execution, true)
        });
        rewritten.flatten().map(|rewritten| packet(&rewritten))
    }

    fn execution_for_replica(&mut self, payload: &[u8]) -> Option<ForReplica> {
        let id = StatementId::of_command(payload)?;
        let statement = self.statements.find(id)?;
        let execution = Execution::parse(payload, statement.parameters, self.query_attributes)?;
        if statement.is_bound_otherwise_by(payload, &execution) {
            self.keep_types(id);
        }
        self.statements.change(id, |statement| statement.bind(payload, &execution, false));
        self.statements.for_replica(id, payload, &execution)
    }

    /// What home must get of a command that was kept as the client sent it.
    pub(super) fn for_home(&mut self, payload: &[u8]) -> Vec<u8> {
        self.bound_elsewhere(payload).unwrap_or_else(|| self.renumbered(payload))
    }
}

/// A command that is no longer than those that are looked into.
pub(super) fn packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER_LENGTH + payload.len());
    write_packet(&mut packet, 0, payload);
    packet
}

/// The text in a COM_QUERY. Where there are attributes, only a command without any is looked into.
pub(super) fn text_of(payload: &[u8], query_attributes: bool) -> Option<&[u8]> {
    match (query_attributes, payload.get(1..)?) {
        (false, text) => Some(text),
        (true, [0, _, text @ ..]) => Some(text),
        (true, _) => None,
    }
}
