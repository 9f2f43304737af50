//! How many connections each address has, and how many of its logins have failed of late: for the whole process.
//!
//! Looked at when a connection begins or ends, never while commands pass, and only for limits that are set. Both tables are bounded:
//! connections by those that there are, failures by a table that forgets who owes least.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::config::limits::{FAILING_ADDRESSES_MAX, FAILING_ADDRESSES_OF_A_SET};

/// Who counts together: an IPv4 address, or the 64 bits of an IPv6 address that a provider gives to one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Visitor {
    V4(u32),
    V6(u64),
}

impl Visitor {
    pub(super) fn of(address: IpAddr) -> Visitor {
        match address.to_canonical() {
            IpAddr::V4(address) => Visitor::V4(address.to_bits()),
            IpAddr::V6(address) => Visitor::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// What all workers know of visitors.
#[derive(Debug)]
pub(super) struct Gate {
    present: Mutex<HashMap<Visitor, u32>>,
    failures: Mutex<Failures>,
}

impl Gate {
    /// `seed` is random: who knows it could choose addresses that push each other out.
    pub(super) fn new(seed: u64) -> Gate {
        Gate { present: Mutex::default(), failures: Mutex::new(Failures::new(seed)) }
    }

    /// Counts one more connection of a visitor, for as long as the guard lives; none, if it has `max`.
    pub(super) fn enter(self: &Arc<Gate>, visitor: Visitor, max: u32) -> Option<Presence> {
        let mut present = locked(&self.present);
        let count = present.entry(visitor).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Presence { gate: Arc::clone(self), visitor })
    }

    /// A login of a visitor has failed, of which `per_minute` may.
    pub(super) fn login_failed(&self, visitor: Visitor, per_minute: u32, now: Instant) {
        locked(&self.failures).add(visitor, per_minute, now);
    }

    /// How long a visitor has to wait whose logins have failed too often; nothing, if it has not.
    pub(super) fn wait(&self, visitor: Visitor, per_minute: u32, now: Instant) -> Option<Duration> {
        locked(&self.failures).wait(visitor, per_minute, now)
    }
}

/// A worker that panicked here has left whole values behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection of a visitor; not counted any more when this is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    gate: Arc<Gate>,
    visitor: Visitor,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut present = locked(&self.gate.present);
        if let Some(count) = present.get_mut(&self.visitor) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.visitor);
            }
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// What visitors owe for failed logins. Each failure costs its part of a minute; who owes a whole one waits.
///
/// A table of sets: a visitor has a place in one of them, and a new one takes the place of the one in it that owes least.
#[derive(Debug)]
struct Failures {
    seed: u64,
    /// When each is free of debt. Made with the first failure.
    places: Vec<Option<(Visitor, Instant)>>,
}

impl Failures {
    fn new(seed: u64) -> Failures {
        Failures { seed, places: Vec::new() }
    }

    fn add(&mut self, visitor: Visitor, per_minute: u32, now: Instant) {
        if self.places.is_empty() {
            self.places.resize(FAILING_ADDRESSES_MAX, None);
        }
        let place = self.place(visitor);
        let debt_until = place.filter(|(known, _)| *known == visitor).map_or(now, |(_, until)| until.max(now));
        // A whole minute and one failure is the most: who goes on failing does not wait longer for it.
        let cost = MINUTE / per_minute.max(1);
        *place = Some((visitor, (debt_until + cost).min(now + MINUTE + cost)));
    }

    fn wait(&mut self, visitor: Visitor, per_minute: u32, now: Instant) -> Option<Duration> {
        if self.places.is_empty() {
            return None;
        }
        let (_, until) = (*self.place(visitor)).filter(|(known, _)| *known == visitor)?;
        let cost = MINUTE / per_minute.max(1);
        // One more must fit. Parts of a minute are rounded down, so that the sum of all may be a little less than one.
        let owed = until.saturating_duration_since(now) + cost;
        owed.checked_sub(MINUTE).filter(|wait| !wait.is_zero())
    }

    /// The visitor's place, or the one that it would take.
    fn place(&mut self, visitor: Visitor) -> &mut Option<(Visitor, Instant)> {
        let mut hasher = DefaultHasher::new();
        (self.seed, visitor).hash(&mut hasher);
        let sets = (FAILING_ADDRESSES_MAX / FAILING_ADDRESSES_OF_A_SET) as u64;
        let first = (hasher.finish() % sets) as usize * FAILING_ADDRESSES_OF_A_SET;
        let set = &mut self.places[first..first + FAILING_ADDRESSES_OF_A_SET];
        let own = set.iter().position(|place| place.is_some_and(|(known, _)| known == visitor));
        let least = (0..set.len()).min_by_key(|&place| set[place].map(|(_, until)| until));
        &mut set[own.or(least).expect("a set has places")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(number: u32) -> Visitor {
        Visitor::V4(number)
    }

    #[test]
    fn an_ipv6_customer_is_one_visitor_and_an_ipv4_address_is_another() {
        let of = |text: &str| Visitor::of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_visitor_has_at_most_its_connections_and_leaves_nothing_behind() {
        let gate = Arc::new(Gate::new(1));
        let first = gate.enter(visitor(1), 2);
        let second = gate.enter(visitor(1), 2);
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter(visitor(1), 2).is_none());
        assert!(gate.enter(visitor(2), 2).is_some(), "each visitor has its own");
        drop(first);
        assert!(gate.enter(visitor(1), 2).is_some());
        drop(second);
        assert!(locked(&gate.present).is_empty());
    }

    #[test]
    fn who_failed_as_often_as_it_may_waits_for_its_part_of_the_minute() {
        let (gate, start) = (Gate::new(1), Instant::now());
        for failed in 0..6 {
            assert_eq!(gate.wait(visitor(1), 6, start), None, "{failed}");
            gate.login_failed(visitor(1), 6, start);
        }
        assert_eq!(gate.wait(visitor(1), 6, start), Some(Duration::from_secs(10)));
        assert_eq!(gate.wait(visitor(2), 6, start), None, "each visitor has its own");
        assert_eq!(gate.wait(visitor(1), 6, start + Duration::from_secs(10)), None, "one more may fail");
        gate.login_failed(visitor(1), 6, start + Duration::from_secs(10));
        assert!(gate.wait(visitor(1), 6, start + Duration::from_secs(10)).is_some());
    }

    #[test]
    fn who_goes_on_failing_never_waits_longer_than_a_minute() {
        let (gate, start) = (Gate::new(1), Instant::now());
        (0..1000).for_each(|_| gate.login_failed(visitor(1), 6, start));
        let wait = gate.wait(visitor(1), 6, start).expect("it failed too often");
        assert!(wait <= MINUTE, "{wait:?}");
    }

    #[test]
    fn more_visitors_than_the_table_holds_push_out_those_that_owe_least() {
        let (mut failures, start) = (Failures::new(1), Instant::now());
        let worst = visitor(u32::MAX);
        (0..6).for_each(|_| failures.add(worst, 6, start));
        (0..4 * FAILING_ADDRESSES_MAX as u32).for_each(|number| failures.add(visitor(number), 600, start));
        assert_eq!(failures.places.len(), FAILING_ADDRESSES_MAX);
        assert!(failures.wait(worst, 6, start).is_some(), "who owes most is not forgotten");
    }
}
