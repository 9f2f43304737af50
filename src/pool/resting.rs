//! Connections that rest between two sessions of their user.

use std::{collections::HashMap, time::Instant};

use crate::slab::{Key, Slab};

/// The resting connections of one worker. `K` says who may share a connection, `C` is the connection itself.
///
/// Invariant: `by_owner` has exactly the owners of the entries.
#[derive(Debug)]
pub struct Resting<K, C> {
    entries: Slab<Rest<K, C>>,
    by_owner: HashMap<Owner, Key>,
}

/// The session that had a connection last, and by which count it knows it: the connection is as that session left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The session's number.
    pub session: u32,
    /// The session's count of the connections that it gave back.
    pub count: u64,
}

/// A connection that rests.
#[derive(Debug)]
pub struct Rest<K, C> {
    /// Who had it last.
    pub owner: Owner,
    /// Who may share it.
    pub kind: K,
    /// Others than the last one may have it after a reset.
    pub is_for_others: bool,
    /// Since when it rests.
    pub since: Instant,
    /// The connection.
    pub connection: C,
}

impl<K: PartialEq, C> Default for Resting<K, C> {
    fn default() -> Self {
        Resting { entries: Slab::default(), by_owner: HashMap::new() }
    }
}

impl<K: PartialEq, C> Resting<K, C> {
    /// Connections that rest.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none rests.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lays a connection to rest. The name finds it until it is taken.
    pub(crate) fn push(&mut self, rest: Rest<K, C>) -> Key {
        let owner = rest.owner;
        let key = self.entries.insert(rest);
        self.by_owner.insert(owner, key);
        key
    }

    /// The one that its last session left, if `fits`.
    pub fn take_own(&mut self, owner: Owner, fits: impl Fn(&Rest<K, C>) -> bool) -> Option<Rest<K, C>> {
        let key = *self.by_owner.get(&owner)?;
        self.entries.get(key).filter(|rest| fits(rest))?;
        self.take(key)
    }

    /// Of those that fit, the one that has rested longest.
    pub fn take_longest(&mut self, fits: impl Fn(&Rest<K, C>) -> bool) -> Option<Rest<K, C>> {
        let fitting = self.entries.iter().filter(|(_, rest)| fits(rest));
        let (key, _) = fitting.min_by_key(|(_, rest)| rest.since)?;
        self.take(key)
    }

    /// Takes one out.
    pub(crate) fn take(&mut self, key: Key) -> Option<Rest<K, C>> {
        let rest = self.entries.remove(key)?;
        self.by_owner.remove(&rest.owner);
        Some(rest)
    }

    /// The connection of that name, to change.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut C> {
        self.entries.get_mut(key).map(|rest| &mut rest.connection)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Rest<K, C>> {
        self.entries.iter().map(|(_, rest)| rest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Owner, Rest, Resting};

    fn owner(session: u32) -> Owner {
        Owner { session, count: 1 }
    }

    fn resting(sessions: &[u32]) -> Resting<&'static str, u32> {
        let start = Instant::now();
        let mut resting = Resting::default();
        for (place, &session) in sessions.iter().enumerate() {
            let since = start + Duration::from_secs(place as u64);
            resting.push(Rest { owner: owner(session), kind: "app", is_for_others: true, since, connection: session });
        }
        resting
    }

    fn taken(rest: Option<Rest<&'static str, u32>>) -> Option<u32> {
        rest.map(|rest| rest.connection)
    }

    #[test]
    fn a_session_finds_its_own_and_nobody_finds_it_twice() {
        let mut resting = resting(&[1, 2, 3]);
        assert_eq!(taken(resting.take_own(owner(2), |_| true)), Some(2));
        assert_eq!(taken(resting.take_own(owner(2), |_| true)), None);
        assert_eq!(taken(resting.take_own(Owner { session: 1, count: 2 }, |_| true)), None);
        assert_eq!(resting.len(), 2);
    }

    #[test]
    fn others_get_the_one_that_has_rested_longest() {
        let mut resting = resting(&[5, 6, 7]);
        assert_eq!(taken(resting.take_longest(|rest| rest.owner.session != 5)), Some(6));
        assert_eq!(taken(resting.take_longest(|_| true)), Some(5));
        assert_eq!(taken(resting.take_own(owner(5), |_| true)), None);
        assert_eq!(taken(resting.take_longest(|rest| !rest.is_for_others)), None);
    }

    #[test]
    fn one_that_does_not_fit_stays() {
        let mut resting = resting(&[1]);
        assert_eq!(taken(resting.take_own(owner(1), |rest| rest.kind == "other")), None);
        assert_eq!(resting.len(), 1);
        assert!(!resting.is_empty());
    }
}
