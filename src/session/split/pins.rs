//! Why a session may not leave its home server, and why its reads may not.

mod locks;
mod one_shot;
pub(super) mod text_statements;

use crate::sql::Effects;

use super::{journal::variables::is_released_by_default, stay::Bond};

use locks::Locks;
use one_shot::OneShot;
use text_statements::TextStatements;

/// State that exists on the home server's connection and nowhere else. Each ends when its cause ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pins {
    temporary_tables: TemporaryTables,
    locked_tables: bool,
    locked_instance: bool,
    pub(super) user_locks: Locks,
    pub(super) text_statements: TextStatements,
    handlers: u32,
    next_transaction: OneShot,
    xa: bool,
    server_bound: Bound,
    own_tracking: bool,
    hidden: bool,
}

/// Variables that mean something at this server only, as the session has set them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bound {
    /// Until they have their defaults again.
    names: Vec<Vec<u8>>,
    /// For good.
    is_for_good: bool,
}

/// Temporary tables that the session has made: names with their schema, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TemporaryTables {
    names: Vec<Vec<u8>>,
    /// There may be some under other names.
    unknown: bool,
}

impl TemporaryTables {
    /// More than this are not told apart any more.
    const MAX: usize = 64;

    fn any(&self) -> bool {
        self.unknown || !self.names.is_empty()
    }

    fn made(&mut self, name: Vec<u8>) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        self.unknown |= self.names.len() > Self::MAX;
        self.names.truncate(Self::MAX);
    }

    /// ALTER and RENAME give a table another name.
    fn may_be_renamed(&mut self, effects: Effects) {
        let keeps_names = Effects::CREATES_TEMPORARY_TABLE.with(Effects::DROPS_TABLE);
        self.unknown |= self.any() && effects.contains(Effects::IMPLICIT_COMMIT) && !effects.intersects(keeps_names);
    }
}

impl Pins {
    /// A statement with these effects was executed.
    pub(super) fn executed(&mut self, effects: Effects) {
        let has = |effect| effects.contains(effect);
        self.temporary_tables.may_be_renamed(effects);
        self.locked_tables = (self.locked_tables || has(Effects::LOCKS_TABLES)) && !has(Effects::UNLOCKS_TABLES);
        self.locked_instance =
            (self.locked_instance || has(Effects::LOCKS_INSTANCE)) && !has(Effects::UNLOCKS_INSTANCE);
        if has(Effects::RELEASES_ALL_USER_LOCKS) {
            self.user_locks.all_released();
        }
        count(&mut self.handlers, has(Effects::OPENS_HANDLER), has(Effects::CLOSES_HANDLER));
        self.xa |= has(Effects::XA);
        self.server_bound.is_for_good |= has(Effects::LAST_INSERT_ID);
    }

    /// What a statement was to transactions: whether it set what the next one is like, whether one is open behind it,
    /// whether one certainly ended with it. An XA transaction that still needs its session counts as open.
    pub(super) fn transaction(&mut self, is_for_next: bool, is_open: bool, has_ended: bool) {
        match is_for_next {
            true => self.next_transaction = OneShot::Waiting,
            false => self.next_transaction.executed(is_open, has_ended),
        }
        self.xa &= is_open;
    }

    pub(super) fn temporary_table_made(&mut self, name: Vec<u8>) {
        self.temporary_tables.made(name);
    }

    pub(super) fn table_dropped(&mut self, name: &[u8]) {
        self.temporary_tables.names.retain(|known| known != name);
    }

    /// Whether it matters which tables a DROP names.
    pub(super) fn has_temporary_tables(&self) -> bool {
        self.temporary_tables.any()
    }

    /// A variable was set that means something at this server only.
    pub(super) fn bind_to_server(&mut self, name: &[u8]) {
        match is_released_by_default(name) {
            true if self.server_bound.names.iter().any(|known| known.eq_ignore_ascii_case(name)) => {}
            true => self.server_bound.names.push(name.to_vec()),
            false => self.bind_for_good(),
        }
    }

    /// Something was set that no other server has, nor will have.
    pub(super) fn bind_for_good(&mut self) {
        self.server_bound.is_for_good = true;
    }

    /// A variable has its default again.
    pub(super) fn release_from_server(&mut self, name: &[u8]) {
        self.server_bound.names.retain(|known| !known.eq_ignore_ascii_case(name));
    }

    /// The client chooses what its server tells of the session.
    pub(super) fn own_tracking(&mut self) {
        self.own_tracking = true;
    }

    /// The server says that something changed, and nothing says what.
    pub(super) fn hidden(&mut self) {
        self.hidden = true;
    }

    /// Why reads stay at home, if they must.
    pub(super) fn binding_reads(&self) -> Option<Bond> {
        let binding = [
            (self.temporary_tables.any(), Bond::TemporaryTable),
            (self.locked_tables, Bond::LockedTables),
            (self.locked_instance, Bond::LockedInstance),
            (self.user_locks.any(), Bond::UserLock),
            (self.next_transaction.is_set(), Bond::NextTransaction),
            (self.xa, Bond::Xa),
            (self.server_bound.is_for_good || !self.server_bound.names.is_empty(), Bond::ServerBound),
            (self.own_tracking, Bond::OwnTracking),
            (self.hidden, Bond::Hidden),
        ];
        binding.into_iter().find_map(|(is_set, bond)| is_set.then_some(bond))
    }

    /// What keeps questions about the last read at home, which use no table and begin no transaction.
    pub(super) fn binding_questions(&self) -> Option<Bond> {
        let bond = self.binding_reads()?;
        let is_of_server = self.server_bound.is_for_good || !self.server_bound.names.is_empty();
        (is_of_server || self.own_tracking || self.hidden).then_some(bond)
    }

    /// Why a session that gives its home connection back between transactions must keep it.
    pub(super) fn binding_home(&self) -> Option<Bond> {
        let others = [(self.text_statements.any(), Bond::PreparedStatement), (self.handlers > 0, Bond::OpenHandler)];
        self.binding_reads().or_else(|| others.into_iter().find_map(|(is_set, bond)| is_set.then_some(bond)))
    }

    /// All of them, for listings.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let others = [(self.text_statements.any(), "prepared statement"), (self.handlers > 0, "open handler")];
        let binding = self.binding_reads().map(Bond::text);
        binding.into_iter().chain(others.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)))
    }
}

fn count(counter: &mut u32, up: bool, down: bool) {
    if up {
        *counter = counter.saturating_add(1);
    }
    if down {
        *counter = counter.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(effects: &[Effects]) -> Option<Bond> {
        let mut pins = Pins::default();
        for effect in effects {
            pins.executed(*effect);
        }
        pins.binding_reads()
    }

    #[test]
    fn a_pin_ends_when_its_cause_ends() {
        assert_eq!(after(&[Effects::LOCKS_TABLES]), Some(Bond::LockedTables));
        assert_eq!(after(&[Effects::LOCKS_TABLES, Effects::UNLOCKS_TABLES]), None);
    }

    #[test]
    fn temporary_tables_are_counted_by_name() {
        let mut pins = Pins::default();
        pins.temporary_table_made(b"shop.a".to_vec());
        pins.temporary_table_made(b"shop.b".to_vec());
        pins.table_dropped(b"shop.a");
        assert_eq!(pins.binding_reads(), Some(Bond::TemporaryTable));
        pins.table_dropped(b"shop.b");
        assert_eq!(pins.binding_reads(), None);
    }

    #[test]
    fn a_temporary_table_under_another_name_is_not_forgotten() {
        let mut pins = Pins::default();
        pins.temporary_table_made(b"shop.a".to_vec());
        pins.executed(Effects::IMPLICIT_COMMIT);
        pins.table_dropped(b"shop.a");
        assert_eq!(pins.binding_reads(), Some(Bond::TemporaryTable));
    }

    #[test]
    fn what_lives_at_home_but_hides_nothing_from_reads_does_not_bind_them() {
        assert_eq!(after(&[Effects::PREPARES, Effects::OPENS_HANDLER]), None);
        let mut pins = Pins::default();
        pins.text_statements.prepared_some();
        assert_eq!(pins.names().collect::<Vec<_>>(), ["prepared statement"]);
    }
}
