//! Numbers of ours for the prepared statements of a session whose home connection is lent: a server's number means
//! something on one connection only.
//!
//! A command that names a statement gets, in place, the number that it has on the connection where it runs. A connection
//! that does not know the statement has it prepared before, under the schema that it was prepared under for the client,
//! and is told the types of its parameters with the next execution.

use crate::{
    protocol::{
        command::{Command, ReplyShape},
        error_code::Error,
        packet::{HEADER_LENGTH, Header, PAYLOAD_MAX, Walker},
        response::ErrPacket,
        result_set::Reply,
        statement::StatementId,
        status::StatusFlags,
    },
    session::{
        Side, Step, errors,
        exchange::{Busy, Exchange, Upload},
        moves::Move,
        relay::Relay,
        split::{
            Home, Kind, Split,
            chore::{Chore, Unsayable, missing::Next},
            journal::reading::Reading,
            lent::Lent,
        },
    },
    sql::{Effects, Needs},
};

use super::{Definitions, Origin, Preparation, Statement, execution::LongExecution};

impl Relay {
    /// The client closes a statement, in a packet of this length: home hears of it now, or when there is a
    /// connection that knows it.
    pub(in crate::session::split) fn close_statement(&mut self, id: StatementId, length: usize) -> Move {
        let Some(split) = self.split.as_deref_mut() else { unreachable!("the caller looked") };
        let at_home = split.statements.at_home(id).filter(|_| split.has_home());
        if at_home.is_none() {
            split.statements.leave_home(id);
        }
        split.close_or_put_aside(id);
        match at_home {
            Some(number) => Move::Silent(Step::Forward { to: Side::Server, length }).under(number),
            None => Move::Silent(Step::Consume { length }),
        }
    }

    /// A command goes home as it is, but for the number of its statement.
    pub(in crate::session::split) fn begin_under_number(&mut self, bytes: &[u8]) -> Move {
        let number = self.split.as_deref_mut().and_then(Split::number_at_home);
        let is_lent = self.split.as_deref().is_some_and(|split| split.lent.is_some());
        let begun = match self.command(bytes) {
            // Nothing answers it: it is over at once, and what it leaves may bind the connection that was only held.
            Move::Begin(step) if is_lent && self.is_idle() => Move::Silent(step),
            begun => begun,
        };
        match number {
            Some(number) => begun.under(number),
            None => begun,
        }
    }

    /// An execution of which only the beginning is looked at: it is long, or of many rows. Types that home lacks are put
    /// in behind that.
    pub(in crate::session::split) fn begin_long_execution(&mut self, id: StatementId, bytes: &[u8]) -> Move {
        let Some(split) = self.split.as_deref_mut() else { unreachable!("the caller looked") };
        let Some(header) = Header::parse(bytes) else { unreachable!("the caller has seen a whole head") };
        let Some(statement) = split.statements.find(id) else { return self.begin_under_number(bytes) };
        let there = &bytes[HEADER_LENGTH..bytes.len().min(HEADER_LENGTH + header.payload_length as usize)];
        let beginning = LongExecution::parse(there, statement.parameters, split.query_attributes);
        let Ok(execution) = beginning else {
            if there.len() < header.payload_length as usize && there.len() <= LongExecution::LENGTH_MAX {
                return Move::Pass(Step::NeedBytes { at_least: bytes.len() + 1 });
            }
            split.keep_types(id);
            split.statements.change(id, Statement::bound_unseen);
            return self.begin_under_number(bytes);
        };
        split.keep_types(id);
        let types = split.statements.change(id, |statement| statement.bind_long(there, &execution)).flatten();
        let (Some(types), Some(number)) = (types, split.statements.at_home(id)) else {
            return self.begin_under_number(bytes);
        };
        let length = header.payload_length as usize + types.len();
        if length >= PAYLOAD_MAX {
            // It comes in several packets, which would all have to be cut anew.
            split.refusal = Some(errors::needs_prepare());
            return self.refuse(bytes, Error::NEEDS_PREPARE);
        }
        split.statements.change(id, |statement| statement.told_home(true));
        split.statements.used_at_home(id);
        let mut packet = Header { payload_length: length as u32, sequence: 0 }.to_bytes().to_vec();
        execution.write(there, number, &types, &mut packet);
        self.begin_with_head(packet, &bytes[..HEADER_LENGTH + execution.values], execution.shape(there))
    }

    /// Home gets `packet` for the beginning of a command, and the rest of that as it is.
    fn begin_with_head(&mut self, packet: Vec<u8>, beginning: &[u8], shape: ReplyShape) -> Move {
        let mut walker = Walker::new();
        let is_whole = walker.walk(beginning).finished;
        let upload = if is_whole { Upload::done(&walker) } else { Upload::Command(walker) };
        let reply = Some(Reply::new(shape, self.framing));
        self.exchange = Exchange::Busy(Busy { at: Side::Server, upload, reply, is_answered: false });
        Move::Head { packet, length: beginning.len() }
    }
}

impl Split {
    /// The statement that a COM_STMT_CLOSE is about, where home is lent.
    pub(in crate::session::split) fn statement_to_close(&self, payload: &[u8]) -> Option<StatementId> {
        let is_close = payload.first().is_some_and(|code| Command::from(*code) == Command::StmtClose);
        let id = StatementId::of_command(payload).filter(|_| is_close && self.lent.is_some())?;
        self.statements.known(id)
    }

    /// Whether this is the head of an execution of a statement that is kept.
    pub(in crate::session::split) fn knows_statement_of_ours(&self, head: &[u8]) -> bool {
        let is_execution = head.first().is_some_and(|code| Command::from(*code) == Command::StmtExecute);
        let id = StatementId::of_command(head).filter(|_| is_execution && self.lent.is_some());
        id.is_some_and(|id| self.statements.find(id).is_some())
    }

    /// Takes note of the statement that a command names, where home is lent.
    pub(in crate::session::split) fn note_named(&mut self, head: &[u8]) {
        if self.lent.is_none() {
            return;
        }
        let command = head.first().map(|code| Command::from(*code));
        self.current.statement = StatementId::of_command(head);
        self.current.is_one_way = matches!(command, Some(Command::StmtClose | Command::StmtSendLongData));
    }

    /// The number by which home gets the statement that is named, if it is another than the client's.
    fn number_at_home(&mut self) -> Option<StatementId> {
        let id = self.current.statement?;
        self.statements.used_at_home(id);
        self.statements.at_home(id).filter(|number| *number != id)
    }

    /// Puts home's number into a command that was kept as the client sent it.
    pub(in crate::session::split) fn renumber(&self, packet: &mut [u8]) {
        const AT: usize = HEADER_LENGTH + StatementId::OFFSET;
        let named = StatementId::of_command(&packet[HEADER_LENGTH..]).filter(|_| self.lent.is_some());
        if let Some(number) = named.and_then(|id| self.statements.at_home(id)) {
            packet[AT..AT + 4].copy_from_slice(&number.0.to_le_bytes());
        }
    }

    /// The statement whose execution is not looked into as a whole.
    pub(in crate::session::split) fn long_execution(&self, payload: &[u8]) -> Option<StatementId> {
        const HEAD: usize = StatementId::OFFSET + 4;
        let id = self.current.statement?;
        let is_long = match Command::from(*payload.first()?) {
            Command::StmtBulkExecute => true,
            Command::StmtExecute => payload.len() == HEAD,
            _ => false,
        };
        is_long.then_some(id)
    }

    /// What decides how a text is read that is prepared now.
    pub(in crate::session::split) fn origin(&self) -> Option<Origin> {
        self.lent.as_ref()?;
        let reading = self.statements.share(Reading::of(&self.journal));
        Some(Origin { schema: self.journal.schema().map(<[u8]>::to_vec), reading })
    }

    /// A statement of the client was prepared at home.
    pub(in crate::session::split) fn prepared_by_client(&mut self, preparation: Preparation) {
        let assigns = Effects::USER_VARIABLES.with(Effects::COMPUTED_USER_VARIABLES);
        if preparation.classification.effects.intersects(assigns) {
            self.journal.may_have_made(&preparation.text, self.reading);
        }
        self.statements.prepared(preparation);
        if self.lent.is_some() {
            self.statements.make_room_at_home();
        }
    }

    /// The statement that home has to know for what it will be told next, and does not.
    pub(in crate::session::split) fn missing_at_home(&self) -> Option<&Statement> {
        self.lent.as_ref()?;
        let id = match self.repeats_before() {
            true => StatementId::of_command(self.repeated(self.repetition_before())),
            false => self.current.statement,
        };
        self.statements.find(id?).filter(|statement| !statement.is_at_home())
    }

    /// Home is to prepare a statement under another schema than the session's.
    pub(in crate::session::split) fn prepares_elsewhere(&self) -> bool {
        self.schema_for_home() != self.journal.schema()
    }

    /// The schema that home's connection must have for what comes next. A text without one names all of its tables in full.
    pub(in crate::session::split) fn schema_for_home(&self) -> Option<&[u8]> {
        let origin = self.missing_at_home().and_then(|statement| statement.origin.as_ref());
        origin.and_then(|origin| origin.schema.as_deref()).or(self.journal.schema())
    }

    /// What home lacks of prepared statements.
    pub(in crate::session::split) fn home_lacks_statement(&self) -> Option<Next> {
        self.lent.as_ref()?;
        match self.missing_at_home() {
            // Only with what it tells of can home be made as it was.
            Some(statement) if !self.reads_as(statement) && matches!(self.home, Home::Telling(_)) => {
                Some(Next::Say(Chore::HomeReading(statement.id)))
            }
            Some(statement) => Some(Next::Say(Chore::HomePrepare(statement.id))),
            None if self.statements.must_close_at_home() && self.is_void() => Some(Next::Say(Chore::Ping)),
            None => None,
        }
    }

    /// The statement that home can be told of before what it is told besides has been answered.
    pub(in crate::session::split) fn preparable_at_home(&self) -> Option<Chore> {
        let statement = self.missing_at_home().filter(|statement| self.reads_as(statement))?;
        let is_like_now = self.lent.as_deref().is_some_and(|lent| lent.reading().is_none());
        is_like_now.then_some(Chore::HomePrepare(statement.id))
    }

    /// Whether home would read a statement's text now as it did when the client prepared it.
    fn reads_as(&self, statement: &Statement) -> bool {
        let Some(origin) = &statement.origin else { return true };
        match self.lent.as_deref().and_then(Lent::reading) {
            Some(reading) => *reading == *origin.reading,
            None => *origin.reading == Reading::of(&self.journal),
        }
    }

    /// The text of a statement, if home would read it as it did.
    pub(in crate::session::split) fn text_to_prepare(&self, id: StatementId) -> Option<&[u8]> {
        let statement = self.statements.find(id)?;
        self.reads_as(statement).then_some(&*statement.text)
    }

    /// The statement that has home read a text as it did when the client prepared it.
    pub(in crate::session::split) fn reading_statement(&self, id: StatementId) -> Option<Vec<u8>> {
        self.statements.find(id)?.origin.as_ref()?.reading.statement().ok()
    }

    /// Home was told how to read a text. If it did not take that on, nobody knows how it reads texts now.
    pub(in crate::session::split) fn home_reads_as(&mut self, id: StatementId, is_done: bool) -> Result<(), Unsayable> {
        let origin = self.statements.find(id).and_then(|statement| statement.origin.clone()).ok_or(Unsayable)?;
        self.with_lent(|lent| lent.has_reading(origin.reading));
        if !is_done {
            self.with_lent(Lent::is_done_with_reading);
            return Err(Unsayable);
        }
        Ok(())
    }

    /// Home has prepared a statement that the client knows already. What the client was told of it must still be true,
    /// where it will not be told again with each result.
    pub(in crate::session::split) fn prepared_for_home(
        &mut self,
        id: StatementId,
        there: StatementId,
        parameters: u16,
        definitions: Definitions,
    ) -> Result<(), Unsayable> {
        // Preparing it has taken away the warnings that it asks for.
        if self.current.classification.needs.contains(Needs::WARNINGS) {
            self.with_lent(Lent::lost_warnings);
        }
        let told = self.statements.find(id).ok_or(Unsayable)?;
        let is_as_told = told.parameters == parameters && (!self.caches_metadata || told.definitions == definitions.0);
        self.statements.prepared_at_home(id, there);
        if !is_as_told {
            self.statements.leave_home(id);
            return Err(Unsayable);
        }
        Ok(())
    }

    /// An execution or a fetch at home is over: a cursor is open behind it, or not any more.
    pub(in crate::session::split) fn note_cursor(&mut self, error: Option<u16>, status: StatusFlags) {
        let Some(id) = self.current.statement else { return };
        let has_cursor = match self.current.kind {
            Kind::Execute => error.is_none() && status.contains(StatusFlags::CURSOR_EXISTS),
            Kind::Fetch => error.is_none() && !status.contains(StatusFlags::LAST_ROW_SENT),
            Kind::Query | Kind::Prepare(_) | Kind::Reset | Kind::Other | Kind::Unseen => return,
        };
        if self.statements.find(id).is_some_and(|statement| statement.has_cursor) {
            self.statements.change(id, |statement| statement.has_cursor = has_cursor);
        }
    }

    /// Why the command is refused whose statement cannot be executed.
    pub(in crate::session::split) fn refuses_statement(&mut self) -> Option<ErrPacket> {
        let id = self.current.statement.filter(|_| matches!(self.current.kind, Kind::Execute))?;
        self.statements.change(id, |statement| statement.lost_data.take()).flatten().map(|why| *why)
    }

    /// The command that waits is refused. One that nobody answers leaves that to the next execution of its statement.
    pub(in crate::session::split) fn refuse_with(&mut self, error: ErrPacket) {
        match self.current.statement.filter(|_| self.current.is_one_way) {
            Some(id) => {
                self.statements.change(id, |statement| {
                    statement.long_data = false;
                    statement.lost_data = Some(Box::new(error));
                });
            }
            None => self.refusal = Some(error),
        }
    }

    /// The client does not wait for an answer to the command that is refused.
    pub(in crate::session) fn is_silent(&self) -> bool {
        self.current.is_one_way
    }
}
