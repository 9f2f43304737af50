//! Prepared statements of a session with two servers: the client knows each by the number that its home server gave it,
//! and a replica learns it when it is first executed there.
//!
//! Where the home connection is lent, home's number means something on one connection only, and the client gets one of
//! ours. A connection that lacks a statement learns it before the first command that names it. A statement that is not
//! kept has the server's number for the client, too, and keeps its connection.

pub(super) mod execution;
mod numbers;
mod retold;

mod statement;

use std::sync::Arc;

use crate::{
    config::limits,
    protocol::{command::Command, packet::build_packet, statement::StatementId},
};

use super::journal::reading::Reading;

use execution::{Execution, ForReplica};
use statement::AtServer;

pub(super) use statement::{Definitions, Origin, Preparation, Statement};

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

/// What a home connection that was set aside knows of the statements.
#[derive(Debug, Default)]
pub(super) struct NumbersAtHome {
    there: Vec<(StatementId, AtServer)>,
    closed: Vec<StatementId>,
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

    /// The client closes a statement that home may have to execute again. No server keeps it.
    pub(super) fn put_aside(&mut self, id: StatementId, aside: StatementId) {
        let Ok(place) = self.place(id) else { return };
        let mut statement = self.list.remove(place);
        self.bound.retain(|known| *known != id);
        self.closed.extend(statement.replica.take().map(|replica| replica.id));
        (statement.id, statement.home) = (aside, None);
        // What was begun with it went with it.
        (statement.long_data, statement.has_cursor, statement.is_told_anew, statement.lost_data) =
            (false, false, false, None);
        if let Err(place) = self.place(aside) {
            self.list.insert(place, statement);
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

#[cfg(test)]
mod tests;
