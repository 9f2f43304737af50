//! Counters that outlive a routing table: how much each server and each user is in use.
//!
//! All workers count into the same values, so least-connections and `max_connections` hold for the process and
//! not for a thread, and a reload or a change of health loses nothing. A count is only changed through a guard
//! that takes it back when it is dropped: a session that ends by a panic gives its place back too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::Views;

/// How much of a server this process uses.
///
/// A pair of cache lines of its own (the prefetcher loads lines in pairs): workers that count at one server do not
/// disturb those that count at another.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ServerLoad {
    /// Connections that stand or are being made; `<= max_connections` where that is not 0.
    connections: AtomicU32,
    /// Of those, the ones that rest between two sessions.
    resting: AtomicU32,
    /// Sessions that wait for one of those connections to become free.
    waiting: AtomicU32,
    /// Sessions that were ended because an operator took the server out of use, since this process began.
    turned_out: AtomicU32,
}

impl ServerLoad {
    /// Connections that stand or are being made.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that rest between two sessions: no session has them.
    pub fn resting(&self) -> u32 {
        self.resting.load(Ordering::Relaxed)
    }

    /// Connections that are in use, or are being made.
    pub fn in_use(&self) -> u32 {
        self.connections().saturating_sub(self.resting())
    }

    /// Counts one connection among those that rest, for as long as the guard lives.
    pub fn rest(self: &Arc<Self>) -> Resting {
        self.resting.fetch_add(1, Ordering::Relaxed);
        Resting(Arc::clone(self))
    }

    /// Sessions that were ended because an operator took the server out of use, since this process began.
    pub fn turned_out(&self) -> u32 {
        self.turned_out.load(Ordering::Relaxed)
    }

    /// One more session is ended for that reason.
    pub fn turn_out(&self) {
        self.turned_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Sessions that wait for a place here.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes the place of one connection; none when `max` are taken (0: unlimited).
    pub fn reserve(self: &Arc<Self>, max: u32) -> Option<Place> {
        increment_below(&self.connections, max).then(|| Place(Arc::clone(self)))
    }

    /// Counts one session among those who wait, for as long as the guard lives.
    pub fn wait(self: &Arc<Self>) -> Waiter {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiter(Arc::clone(self))
    }
}

/// The place of one connection at a server; free again when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Place(Arc<ServerLoad>);

impl Place {
    /// Gives the place back and says how many sessions wait for one, so that the caller wakes them only when there are any.
    pub fn release(self) -> u32 {
        let load = Arc::clone(&self.0);
        drop(self);
        // A waiter counts itself first and tries once more before it sleeps; with both sides sequentially
        // consistent, either it finds the free place or we find it waiting.
        load.waiting.load(Ordering::SeqCst)
    }

    /// The counters of the server this place is at.
    pub fn load(&self) -> &Arc<ServerLoad> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        decrement(&self.0.connections);
    }
}

/// One session that waits for a place at a server; does not wait any more when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Waiter(Arc<ServerLoad>);

impl Drop for Waiter {
    fn drop(&mut self) {
        decrement(&self.0.waiting);
    }
}

/// One connection that rests; in use again, or gone, when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Resting(Arc<ServerLoad>);

impl Drop for Resting {
    fn drop(&mut self) {
        decrement(&self.0.resting);
    }
}

/// How many sessions a user has in this process, and what they have found out.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct UserLoad {
    /// Logged-in sessions; `<= max_connections` of the user where that is set.
    sessions: AtomicU32,
    views: Views,
    transactions_stay_home: AtomicBool,
}

impl UserLoad {
    /// What this user's sessions have found out about views.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Logged-in sessions of this user.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// One of this user's read-only transactions needed its snapshot at the primary, and had it at a replica.
    pub fn keep_transactions_home(&self) {
        self.transactions_stay_home.store(true, Ordering::Relaxed);
    }

    /// Whether read-only transactions of this user do all their reads at the primary.
    pub fn keeps_transactions_home(&self) -> bool {
        self.transactions_stay_home.load(Ordering::Relaxed)
    }

    /// Takes the place of one session; none when `max` are taken (absent: unlimited).
    pub fn reserve(self: &Arc<Self>, max: Option<u32>) -> Option<Seat> {
        match max {
            Some(0) => None,
            Some(max) => increment_below(&self.sessions, max).then(|| Seat(Arc::clone(self))),
            None => increment_below(&self.sessions, 0).then(|| Seat(Arc::clone(self))),
        }
    }
}

/// The place of one session of a user; free again when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Seat(Arc<UserLoad>);

impl Drop for Seat {
    fn drop(&mut self) {
        decrement(&self.0.sessions);
    }
}

/// Adds one unless that would exceed `max` (0: no bound); never exceeds it, not even for a moment.
fn increment_below(counter: &AtomicU32, max: u32) -> bool {
    let bound = if max == 0 { u32::MAX } else { max };
    counter.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |count| (count < bound).then_some(count + 1)).is_ok()
}

fn decrement(counter: &AtomicU32) {
    let before = counter.fetch_sub(1, Ordering::SeqCst);
    assert!(before > 0, "a place was given back twice");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_never_has_more_connections_than_its_bound() {
        let load = Arc::new(ServerLoad::default());
        let places: Vec<Place> = (0..3).filter_map(|_| load.reserve(2)).collect();
        assert_eq!(places.len(), 2);
        assert_eq!(load.connections(), 2);
        drop(places);
        assert_eq!(load.connections(), 0);
    }

    #[test]
    fn many_threads_together_never_exceed_the_bound() {
        let load = Arc::new(ServerLoad::default());
        let highest = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..crate::testing::rounds(2_000, 20) {
                        if let Some(place) = load.reserve(3) {
                            highest.fetch_max(load.connections(), Ordering::Relaxed);
                            place.release();
                        }
                    }
                });
            }
        });
        assert!((1..=3).contains(&highest.into_inner()));
        assert_eq!(load.connections(), 0);
    }

    #[test]
    fn a_bound_of_zero_is_no_bound() {
        let load = Arc::new(ServerLoad::default());
        let places: Vec<Place> = (0..100).filter_map(|_| load.reserve(0)).collect();
        assert_eq!(places.len(), 100);
    }

    #[test]
    fn who_gives_a_place_back_learns_that_somebody_waits() {
        let load = Arc::new(ServerLoad::default());
        let (first, second) = (load.reserve(2).unwrap(), load.reserve(2).unwrap());
        assert_eq!(first.release(), 0);
        let waiter = load.wait();
        assert_eq!(second.release(), 1);
        drop(waiter);
        assert_eq!(load.waiting(), 0);
    }

    #[test]
    fn a_user_has_at_most_its_bound_of_sessions() {
        let load = Arc::new(UserLoad::default());
        let seat = load.reserve(Some(1)).unwrap();
        assert!(load.reserve(Some(1)).is_none());
        drop(seat);
        assert!(load.reserve(Some(1)).is_some());
        assert!(load.reserve(Some(0)).is_none());
        assert!(load.reserve(None).is_some());
    }

    #[test]
    fn counters_of_two_servers_share_no_cache_line() {
        assert_eq!(align_of::<ServerLoad>(), 128);
        assert_eq!(size_of::<ServerLoad>(), 128);
    }
}
