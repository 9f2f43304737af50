//! Prepared statements of a session with two servers: the client knows each by the number that its home server gave it,
//! and a replica learns it when it is first executed there.
//!
//! Where the home connection is lent, home's number means something on one connection only, and the client gets one of
//! ours. A connection that lacks a statement learns it before the first command that names it. A statement that is not
//! kept has the server's number for the client, too, and keeps its connection.

use std::sync::Arc;

use crate::{
    config::limits,
    protocol::{
        command::Command,
        packet::build_packet,
        reader::{Malformed, Reader},
        response::ErrPacket,
        statement::StatementId,
        writer::Writer,
    },
    sql::Classification,
};

use super::{numbers::LongExecution, reading::Reading};

/// Bytes of text and parameter types that a session keeps of its statements. Those beyond are executed at home.
const BYTES_MAX: usize = limits::SPLIT_STATEMENTS_BYTES;

/// Statements that a session has prepared at its replica at once; the one not used for longest makes room.
pub(super) const AT_REPLICA_MAX: usize = 128;

/// Statements that a home connection which is lent has at once.
pub(super) const AT_HOME_MAX: usize = 128;

/// Statements that home may not know yet to be closed.
const CLOSED_MAX: usize = 32;

/// Statements that are not kept and of which each is known.
const UNKEPT_MAX: usize = 256;

/// Servers count from 1: the number of no statement.
const NO_STATEMENT: StatementId = StatementId(0);

/// Where numbers of ours begin. Servers begin at 1 on each connection, and never come so far; drivers that read a signed
/// number find it positive.
const OWN_NUMBERS: u32 = 0x4000_0000;

/// EXECUTE flags that ask for a cursor.
const CURSOR_FLAGS: u8 = 0x07;

/// EXECUTE flag: a parameter count follows, and each type has a name.
const PARAMETER_COUNT_AVAILABLE: u8 = 0x08;

/// The statements that may be executed elsewhere.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// Invariant: in the order of their numbers, each of which is there once. Servers count up, so a new one is the last.
    list: Vec<Statement>,
    bytes: usize,
    /// Prepared, and not in the list for want of room.
    unkept: Unkept,
    /// Prepared at the replica and not needed there any more.
    closed: Vec<StatementId>,
    /// Prepared at home and not needed there any more.
    closed_at_home: Vec<StatementId>,
    /// Those of which home has what another connection would lack: see [`Statement::is_bound`].
    bound: Vec<StatementId>,
    /// Counts the numbers of ours that were given.
    given: u32,
    /// Prepared last: what MariaDB's clients mean by -1.
    last: Option<StatementId>,
    /// Counts executions where statements make room for each other.
    clock: u64,
}

/// Statements that keep the server's number for the client, and their connection.
#[derive(Debug, Default)]
struct Unkept {
    ids: Vec<StatementId>,
    /// There were more than are counted, and nobody knows when the last one is closed.
    are_uncounted: bool,
}

impl Unkept {
    fn add(&mut self, id: StatementId) {
        self.are_uncounted |= self.ids.len() == UNKEPT_MAX;
        if !self.are_uncounted {
            self.ids.push(id);
        }
    }

    fn close(&mut self, id: StatementId) {
        self.ids.retain(|known| *known != id);
    }

    fn are_any(&self) -> bool {
        self.are_uncounted || !self.ids.is_empty()
    }

    fn may_have(&self, id: StatementId) -> bool {
        self.are_uncounted || self.ids.contains(&id)
    }
}

/// One prepared statement.
#[derive(Debug)]
pub(super) struct Statement {
    /// For the client.
    pub(super) id: StatementId,
    pub(super) text: Vec<u8>,
    pub(super) classification: Classification,
    /// The journal's count of changes of meaning when it was prepared.
    pub(super) meaning: u32,
    /// Under what it was prepared, where home's connection may be another one.
    pub(super) origin: Option<Origin>,
    /// A hash of the definitions that the client was told.
    pub(super) definitions: u64,
    pub(super) parameters: u16,
    /// As the client bound them last.
    types: Vec<u8>,
    home: Option<AtServer>,
    /// Parts of parameters were sent home.
    pub(super) long_data: bool,
    /// It has a cursor at home, which its next execution closes.
    pub(super) has_cursor: bool,
    /// Home did not get parts of parameters, for this reason: the next execution is refused with it.
    pub(super) lost_data: Option<Box<ErrPacket>>,
    replica: Option<AtServer>,
    /// An execution told the definitions of its columns anew.
    pub(super) is_told_anew: bool,
    /// The replica did not prepare it, or not as home did.
    pub(super) is_unfit: bool,
    /// Bytes that it counts for.
    kept: usize,
}

#[derive(Debug)]
struct AtServer {
    id: StatementId,
    has_types: bool,
    used: u64,
}

/// What a home connection that was set aside knows of the statements.
#[derive(Debug, Default)]
pub(super) struct NumbersAtHome {
    there: Vec<(StatementId, AtServer)>,
    closed: Vec<StatementId>,
}

/// A statement on its way to be one.
#[derive(Debug)]
pub(super) struct Preparation {
    pub(super) text: Vec<u8>,
    pub(super) classification: Classification,
    pub(super) meaning: u32,
    pub(super) origin: Option<Origin>,
    /// For the client.
    pub(super) id: Option<StatementId>,
    pub(super) at_home: Option<StatementId>,
    pub(super) parameters: u16,
    pub(super) definitions: Definitions,
}

/// What decides how a text is read when it is prepared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) schema: Option<Vec<u8>>,
    pub(super) reading: Arc<Reading>,
}

impl Preparation {
    /// Bytes that the statement will count for.
    fn bytes(&self) -> usize {
        let schema = self.origin.as_ref().and_then(|origin| origin.schema.as_ref()).map_or(0, Vec::len);
        self.text.len() + schema + 2 * usize::from(self.parameters) + size_of::<Statement>() + size_of::<Reading>()
    }
}

/// A hash of what a prepare reply says of parameters and columns: FNV-1a, so that cuts do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Definitions(pub(super) u64);

impl Default for Definitions {
    fn default() -> Self {
        Definitions(0xCBF2_9CE4_8422_2325)
    }
}

impl Definitions {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

impl Statements {
    /// Keeps a statement, if there is room.
    pub(super) fn prepared(&mut self, preparation: Preparation) {
        let Some(id) = preparation.id else { return };
        self.last = Some(id);
        let bytes = preparation.bytes();
        // The server has given the number anew.
        self.close(id);
        if self.bytes + bytes > BYTES_MAX {
            self.unkept.add(id);
            return;
        }
        self.bytes += bytes;
        self.clock += 1;
        let statement = Statement {
            id,
            text: preparation.text,
            classification: preparation.classification,
            meaning: preparation.meaning,
            origin: preparation.origin,
            definitions: preparation.definitions.0,
            parameters: preparation.parameters,
            types: Vec::new(),
            home: preparation.at_home.map(|id| AtServer { id, has_types: false, used: self.clock }),
            long_data: false,
            has_cursor: false,
            lost_data: None,
            replica: None,
            is_told_anew: false,
            is_unfit: false,
            kept: bytes,
        };
        if let Err(place) = self.place(id) {
            self.list.insert(place, statement);
        }
    }

    /// A number of ours for a statement that will be kept; `None` for one that there is no room for.
    pub(super) fn number_for(&mut self, preparation: &Preparation) -> Option<StatementId> {
        if self.bytes + preparation.bytes() > BYTES_MAX {
            return None;
        }
        loop {
            self.given = (self.given + 1) % OWN_NUMBERS;
            let id = StatementId(OWN_NUMBERS + self.given);
            if self.place(id).is_err() {
                return Some(id);
            }
        }
    }

    /// Where it is in the list, or else would be.
    fn place(&self, id: StatementId) -> Result<usize, usize> {
        self.list.binary_search_by_key(&id.0, |statement| statement.id.0)
    }

    /// Whether a home connection has what cannot be prepared on another one.
    pub(super) fn bind_home(&self) -> bool {
        self.unkept.are_any() || !self.bound.is_empty()
    }

    /// Settings that a text is read with now; the same piece of memory as for the statement before, if they are the same.
    pub(super) fn share(&self, reading: Reading) -> Arc<Reading> {
        let last = self.list.last().and_then(|statement| statement.origin.as_ref());
        match last.filter(|origin| *origin.reading == reading) {
            Some(origin) => Arc::clone(&origin.reading),
            None => Arc::new(reading),
        }
    }

    /// A statement was not prepared, or not seen: none is the last one.
    pub(super) fn forget_last(&mut self) {
        self.last = None;
    }

    /// The number of the last statement that was prepared counts also when the statement itself is not kept.
    pub(super) fn resolve(&self, id: StatementId) -> StatementId {
        match self.last {
            Some(last) if id == StatementId::LAST_PREPARED => last,
            _ => id,
        }
    }

    pub(super) fn find(&self, id: StatementId) -> Option<&Statement> {
        let place = self.place(self.resolve(id)).ok()?;
        Some(&self.list[place])
    }

    /// The number of a statement that the client has prepared, kept or not.
    pub(super) fn known(&self, id: StatementId) -> Option<StatementId> {
        let id = self.resolve(id);
        (self.place(id).is_ok() || self.unkept.may_have(id)).then_some(id)
    }

    /// Changes what is known of a statement, if it is.
    pub(super) fn change<T>(&mut self, id: StatementId, change: impl FnOnce(&mut Statement) -> T) -> Option<T> {
        let statement = self.find_mut(id)?;
        let changed = change(statement);
        let (id, is_bound) = (statement.id, statement.is_bound());
        match self.bound.iter().position(|known| *known == id) {
            Some(place) if !is_bound => drop(self.bound.swap_remove(place)),
            None if is_bound => self.bound.push(id),
            Some(_) | None => {}
        }
        Some(changed)
    }

    pub(super) fn find_mut(&mut self, id: StatementId) -> Option<&mut Statement> {
        let place = self.place(self.resolve(id)).ok()?;
        Some(&mut self.list[place])
    }

    /// The client closes a statement.
    pub(super) fn close(&mut self, id: StatementId) {
        let id = self.resolve(id);
        match self.place(id) {
            Ok(place) => {
                let statement = self.list.remove(place);
                self.bytes -= statement.kept;
                self.bound.retain(|known| *known != statement.id);
                self.closed.extend(statement.replica.map(|replica| replica.id));
            }
            Err(_) => self.unkept.close(id),
        }
    }

    /// The commands that close at the replica what is not needed there any more.
    pub(super) fn take_closed(&mut self) -> Vec<u8> {
        closing(self.closed.drain(..))
    }

    /// The same for a home connection that is lent.
    pub(super) fn take_closed_at_home(&mut self) -> Vec<u8> {
        closing(self.closed_at_home.drain(..))
    }

    /// The client closes a statement of ours, which home learns later.
    pub(super) fn close_later(&mut self, id: StatementId) {
        let home = self.find(id).and_then(|statement| statement.home.as_ref());
        self.closed_at_home.extend(home.map(|home| home.id));
        self.close(id);
    }

    /// Home has more statements that nobody needs than it should.
    pub(super) fn must_close_at_home(&self) -> bool {
        self.closed_at_home.len() >= CLOSED_MAX
    }

    /// The number that home's connection knows a statement by; `None` if it does not know it. A number that the client was
    /// not given must not name a statement that is there under it.
    pub(super) fn at_home(&self, id: StatementId) -> Option<StatementId> {
        if let Some(statement) = self.find(id) {
            return statement.home.as_ref().map(|home| home.id);
        }
        let id = self.resolve(id);
        let is_known = self.unkept.may_have(id) || (OWN_NUMBERS..2 * OWN_NUMBERS).contains(&id.0);
        Some(if is_known { id } else { NO_STATEMENT })
    }

    /// A command at home names it.
    pub(super) fn used_at_home(&mut self, id: StatementId) {
        self.clock += 1;
        let used = self.clock;
        if let Some(home) = self.find_mut(id).and_then(|statement| statement.home.as_mut()) {
            home.used = used;
        }
    }

    /// It was prepared on a home connection that did not know it.
    pub(super) fn prepared_at_home(&mut self, id: StatementId, at_home: StatementId) {
        self.clock += 1;
        let used = self.clock;
        self.change(id, |statement| statement.home = Some(AtServer { id: at_home, has_types: false, used }));
        self.make_room_at_home();
    }

    /// It is not to be used there.
    pub(super) fn leave_home(&mut self, id: StatementId) {
        let there = self.change(id, |statement| statement.home.take()).flatten();
        self.closed_at_home.extend(there.map(|home| home.id));
    }

    /// The statement that was not used for longest makes room, but for those that are bound.
    pub(super) fn make_room_at_home(&mut self) {
        let there = self.list.iter().filter(|statement| statement.home.is_some());
        if there.count() <= AT_HOME_MAX {
            return;
        }
        let may_go = |statement: &&mut Statement| statement.home.is_some() && !statement.is_bound();
        let last_use = |statement: &&mut Statement| statement.home.as_ref().map_or(u64::MAX, |home| home.used);
        if let Some(oldest) = self.list.iter_mut().filter(may_go).min_by_key(last_use) {
            self.closed_at_home.extend(oldest.home.take().map(|home| home.id));
        }
    }

    /// The home connection is another one.
    pub(super) fn forget_home(&mut self) {
        for statement in &mut self.list {
            statement.home = None;
            (statement.long_data, statement.has_cursor) = (false, false);
        }
        self.bound.clear();
        self.closed_at_home.clear();
        self.unkept = Unkept::default();
    }

    /// The home connection stands by while another one is made ready: what it knows is kept for it.
    pub(super) fn set_home_aside(&mut self) -> NumbersAtHome {
        let there = self.list.iter_mut().filter_map(|statement| Some((statement.id, statement.home.take()?)));
        let kept = NumbersAtHome { there: there.collect(), closed: std::mem::take(&mut self.closed_at_home) };
        self.forget_home();
        kept
    }

    /// The home connection is the one again that was set aside.
    pub(super) fn return_home(&mut self, kept: NumbersAtHome) {
        self.forget_home();
        for (id, home) in kept.there {
            self.change(id, |statement| statement.home = Some(home));
        }
        self.closed_at_home = kept.closed;
    }

    /// The replica is gone, and what was prepared there.
    pub(super) fn forget_replica(&mut self) {
        for statement in &mut self.list {
            statement.replica = None;
            statement.is_unfit = false;
        }
        self.closed.clear();
    }

    /// A statement was prepared at the replica. The one not used for longest makes room.
    pub(super) fn prepared_at_replica(&mut self, id: StatementId, at_replica: StatementId) {
        self.clock += 1;
        let used = self.clock;
        if let Some(statement) = self.find_mut(id) {
            statement.replica = Some(AtServer { id: at_replica, has_types: false, used });
        }
        let there = self.list.iter_mut().filter(|statement| statement.replica.is_some());
        if there.count() <= AT_REPLICA_MAX {
            return;
        }
        let last_use = |statement: &&mut Statement| statement.replica.as_ref().map_or(u64::MAX, |replica| replica.used);
        if let Some(oldest) = self.list.iter_mut().min_by_key(last_use) {
            self.closed.extend(oldest.replica.take().map(|replica| replica.id));
        }
    }

    /// A statement is not for the replica, where it may have been prepared.
    pub(super) fn is_unfit(&mut self, id: StatementId) {
        if let Some(statement) = self.find_mut(id) {
            statement.is_unfit = true;
            let there = statement.replica.take().map(|replica| replica.id);
            self.closed.extend(there);
        }
    }

    /// What the replica must get of an execution; `None` if the statement is not there.
    pub(super) fn for_replica(&mut self, id: StatementId, payload: &[u8], execution: &Execution) -> Option<ForReplica> {
        self.clock += 1;
        let clock = self.clock;
        let statement = self.find_mut(id)?;
        let replica = statement.replica.as_mut()?;
        replica.used = clock;
        let must_add = !execution.binds && !replica.has_types && statement.parameters > 0;
        replica.has_types = true;
        Some(match must_add {
            true => ForReplica::Payload(execution.write(payload, replica.id, &statement.types)),
            false => ForReplica::Number(replica.id),
        })
    }

    /// The session was reset. A number that was given before still means nothing else.
    pub(super) fn clear(&mut self) {
        *self = Statements { given: self.given, ..Statements::default() };
    }
}

impl Statement {
    pub(super) fn is_at_replica(&self) -> bool {
        self.replica.is_some()
    }

    pub(super) fn is_at_home(&self) -> bool {
        self.home.is_some()
    }

    /// Home has what another connection would lack: parts of parameters, a cursor, types that nobody saw. Or it has told
    /// definitions that another would not know the client to have.
    fn is_bound(&self) -> bool {
        let has_unseen_types = self.parameters > 0 && self.types.is_empty() && self.home_has_types();
        self.long_data || self.has_cursor || has_unseen_types || self.is_told_anew
    }

    pub(super) fn home_has_types(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.has_types)
    }

    pub(super) fn told_home(&mut self, has_types: bool) {
        if let Some(home) = &mut self.home {
            home.has_types = has_types;
        }
    }

    /// An execution goes home that cannot be read: it may have bound any types, and opened a cursor.
    pub(super) fn bound_unseen(&mut self) {
        self.types.clear();
        self.told_home(true);
        self.long_data = false;
        self.has_cursor = true;
    }

    /// An execution goes home of which only the beginning was looked at. Gives the types that home must be told with it.
    pub(super) fn bind_long(&mut self, payload: &[u8], execution: &LongExecution) -> Option<Vec<u8>> {
        if execution.is_unseen {
            self.bound_unseen();
            return None;
        }
        self.long_data = false;
        self.has_cursor = execution.wants_cursor(payload);
        if execution.binds {
            self.types.clear();
            self.types.extend_from_slice(execution.types_in(payload));
            self.told_home(true);
            if let Some(replica) = &mut self.replica {
                replica.has_types = false;
            }
            return None;
        }
        (!self.home_has_types() && !self.types.is_empty()).then(|| self.types.clone())
    }

    /// An execution without types cannot go elsewhere, as nobody saw those that home was told.
    pub(super) fn lacks_types(&self, execution: &Execution) -> bool {
        self.parameters > 0 && !execution.binds && self.types.is_empty()
    }

    /// An execution goes out, to home or elsewhere: remembers the types that it binds. Gives the payload that home must
    /// get instead, where the types were told to the replica only.
    pub(super) fn bind(&mut self, payload: &[u8], execution: &Execution, goes_home: bool) -> Option<Vec<u8>> {
        if execution.binds {
            self.types.clear();
            self.types.extend_from_slice(&payload[execution.types.clone()]);
            self.told_home(goes_home);
            if let Some(replica) = &mut self.replica {
                replica.has_types = !goes_home;
            }
            return None;
        }
        if !goes_home || self.home_has_types() || self.types.is_empty() {
            return None;
        }
        self.told_home(true);
        let id = self.home.as_ref().map_or(self.id, |home| home.id);
        Some(execution.write(payload, id, &self.types))
    }
}

/// The commands that close these statements.
fn closing(ids: impl Iterator<Item = StatementId>) -> Vec<u8> {
    let mut packets = Vec::new();
    for id in ids {
        build_packet(&mut packets, 0, |writer| {
            writer.u8(Command::StmtClose.byte());
            writer.u32(id.0);
        });
    }
    packets
}

/// What a replica must get of a client's execution.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ForReplica {
    /// The same, with this number in it.
    Number(StatementId),
    /// This payload, with types that the client has not sent this time.
    Payload(Vec<u8>),
}

/// Where the parts of a COM_STMT_EXECUTE are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Execution {
    pub(super) wants_cursor: bool,
    /// Behind the flags and counts: where the NULL bits begin.
    bitmap: std::ops::Range<usize>,
    /// The types of the parameters are in it.
    binds: bool,
    types: std::ops::Range<usize>,
    /// Where the values begin.
    values: usize,
}

impl Execution {
    /// Reads a payload. `None` for one with attributes of the query's own, or that is no execution of such a statement.
    pub(super) fn parse(payload: &[u8], parameters: u16, query_attributes: bool) -> Option<Execution> {
        Self::read(payload, parameters, query_attributes).ok().flatten()
    }

    fn read(payload: &[u8], parameters: u16, query_attributes: bool) -> Result<Option<Execution>, Malformed> {
        let mut reader = Reader::new(payload);
        let at = |reader: &Reader<'_>| payload.len() - reader.len();
        reader.skip(5, "command and statement id")?;
        let flags = reader.u8("flags")?;
        reader.skip(4, "iteration count")?;
        // With query attributes agreed on, a statement that has parameters always gives their count and names.
        let has_names = query_attributes && (parameters > 0 || flags & PARAMETER_COUNT_AVAILABLE != 0);
        if has_names && reader.lenenc("parameter count")? != u64::from(parameters) {
            return Ok(None);
        }
        let wants_cursor = flags & CURSOR_FLAGS != 0;
        let start = at(&reader);
        if parameters == 0 {
            let nowhere = start..start;
            return Ok(Some(Execution {
                wants_cursor,
                bitmap: nowhere.clone(),
                binds: false,
                types: nowhere,
                values: start,
            }));
        }
        reader.skip(usize::from(parameters).div_ceil(8), "NULL bits")?;
        let bitmap = start..at(&reader);
        let binds = reader.u8("new parameters bound")? != 0;
        let first_type = at(&reader);
        for _ in 0..if binds { parameters } else { 0 } {
            reader.skip(2, "parameter type")?;
            if has_names {
                reader.lenenc_bytes("parameter name")?;
            }
        }
        let values = at(&reader);
        Ok(Some(Execution { wants_cursor, bitmap, binds, types: first_type..values, values }))
    }

    /// The payload with another statement id, and with `types` in place of those that it does not have.
    fn write(&self, payload: &[u8], id: StatementId, types: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + types.len());
        let mut writer = Writer::new(&mut out);
        writer.bytes(&payload[..1]);
        writer.u32(id.0);
        writer.bytes(&payload[5..self.bitmap.end]);
        writer.u8(1);
        writer.bytes(types);
        writer.bytes(&payload[self.values..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{self, ClientCharset, Dialect, Family};

    fn preparation(id: u32, text: &str, parameters: u16) -> Preparation {
        let dialect = Dialect {
            no_backslash_escapes: false,
            ansi_quotes: false,
            family: Family::MariaDb { version: 101_119 },
            charset: ClientCharset::Utf8,
        };
        Preparation {
            text: text.into(),
            classification: sql::classify(text.as_bytes(), dialect, true),
            meaning: 0,
            origin: None,
            id: Some(StatementId(id)),
            at_home: Some(StatementId(id)),
            parameters,
            definitions: Definitions::default(),
        }
    }

    /// One parameter, an INT of 7; with its type or without.
    fn execute(id: u32, binds: bool) -> Vec<u8> {
        let mut payload = vec![0x17];
        payload.extend(id.to_le_bytes());
        payload.extend([0, 1, 0, 0, 0, 0, u8::from(binds)]);
        if binds {
            payload.extend([3, 0]);
        }
        payload.extend(7u32.to_le_bytes());
        payload
    }

    fn one() -> Statements {
        let mut statements = Statements::default();
        statements.prepared(preparation(5, "SELECT ?", 1));
        statements
    }

    #[test]
    fn an_execution_goes_to_the_replica_under_its_number_there() {
        let mut statements = one();
        statements.prepared_at_replica(StatementId(5), StatementId(1));
        let payload = execute(5, true);
        let execution = Execution::parse(&payload, 1, false).unwrap();
        let sent = statements.for_replica(StatementId(5), &payload, &execution);
        assert_eq!(sent, Some(ForReplica::Number(StatementId(1))));
    }

    #[test]
    fn types_that_one_server_was_told_are_told_to_the_other() {
        let mut statements = one();
        let (binding, bare) = (execute(5, true), execute(5, false));
        let execution = Execution::parse(&binding, 1, false).unwrap();
        assert_eq!(statements.find_mut(StatementId(5)).unwrap().bind(&binding, &execution, true), None);
        statements.prepared_at_replica(StatementId(5), StatementId(1));
        let execution = Execution::parse(&bare, 1, false).unwrap();
        let mut sent = || statements.for_replica(StatementId(5), &bare, &execution);
        assert_eq!(sent(), Some(ForReplica::Payload(execute(1, true))));
        assert_eq!(sent(), Some(ForReplica::Number(StatementId(1))));
        // Bound anew at the replica: home has the old ones.
        let execution = Execution::parse(&binding, 1, false).unwrap();
        statements.find_mut(StatementId(5)).unwrap().bind(&binding, &execution, false);
        let execution = Execution::parse(&bare, 1, false).unwrap();
        assert_eq!(statements.find_mut(StatementId(5)).unwrap().bind(&bare, &execution, true), Some(execute(5, true)));
    }

    #[test]
    fn minus_one_is_the_statement_prepared_last() {
        let statements = one();
        assert_eq!(statements.find(StatementId::LAST_PREPARED).unwrap().id, StatementId(5));
    }

    #[test]
    fn each_statement_is_found_in_whatever_order_they_come_and_go() {
        let mut statements = Statements::default();
        for id in [5, 1, 9, 3, 7, 3] {
            statements.prepared(preparation(id, &format!("SELECT {id}"), 0));
        }
        statements.close(StatementId(5));
        let text = |id| statements.find(StatementId(id)).map(|statement| statement.text.clone());
        for id in [1, 3, 7, 9] {
            assert_eq!(text(id), Some(format!("SELECT {id}").into_bytes()));
        }
        assert_eq!((text(5), text(4), statements.list.len()), (None, None, 4));
        let kept: usize = statements.list.iter().map(|statement| statement.kept).sum();
        assert_eq!(statements.bytes, kept);
    }

    #[test]
    fn the_replica_keeps_a_bounded_number() {
        let mut statements = Statements::default();
        let count = AT_REPLICA_MAX as u32 + 1;
        for id in 1..=count {
            statements.prepared(preparation(id, "SELECT 1", 0));
        }
        for id in 1..=count {
            statements.prepared_at_replica(StatementId(id), StatementId(id + 1000));
        }
        assert_eq!(statements.take_closed(), [5, 0, 0, 0, 0x19, 0xE9, 3, 0, 0]);
    }

    #[test]
    fn text_that_does_not_fit_is_not_kept() {
        let mut statements = Statements::default();
        for id in 0..5 {
            statements.prepared(preparation(id, &"x".repeat(64 << 10), 0));
        }
        assert!(statements.find(StatementId(2)).is_some());
        assert!(statements.find(StatementId(4)).is_none());
        statements.close(StatementId(2));
        statements.prepared(preparation(9, &"x".repeat(64 << 10), 0));
        assert!(statements.find(StatementId(9)).is_some());
    }

    #[test]
    fn with_query_attributes_parameters_have_a_count_and_names() {
        let payload = [0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0xFE, 0, 0, 2, b'v', b'3'];
        let execution = Execution::parse(&payload, 1, true).unwrap();
        assert_eq!(execution.types, 13..16);
        let bare = [0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 2, b'v', b'3'];
        let mut sent = payload.to_vec();
        sent[1] = 7;
        let execution = Execution::parse(&bare, 1, true).unwrap();
        assert_eq!(execution.write(&bare, StatementId(7), &payload[13..16]), sent);
    }

    #[test]
    fn attributes_and_cursors_are_seen() {
        let payload = [0x17, 5, 0, 0, 0, 0x09, 1, 0, 0, 0, 0];
        assert!(Execution::parse(&payload, 0, true).unwrap().wants_cursor);
        let with_attribute = [0x17, 5, 0, 0, 0, 0x08, 1, 0, 0, 0, 1, 0, 1, 3, 0, 1, b'a'];
        assert_eq!(Execution::parse(&with_attribute, 0, true), None);
        assert_eq!(Execution::parse(&payload[..7], 0, false), None);
    }
}
