//! Sessions that wait for a server: first come, first served, each with a deadline.

use std::{collections::VecDeque, time::Instant};

use crate::topology::Waiter;

/// The waiting sessions of one worker, in the order in which they came.
///
/// `K` names a session, `P` the pool it waits for.
#[derive(Debug)]
pub struct Waiters<K, P> {
    queue: VecDeque<Waiting<K, P>>,
    waiters_max: usize,
}

/// One session that waits.
#[derive(Debug)]
pub struct Waiting<K, P> {
    /// Which session.
    pub session: K,
    /// Where it wants to go.
    pub pool: P,
    /// When it gives up.
    pub deadline: Instant,
    /// Its marks at the servers that are full, so that whoever leaves one of them knows that somebody waits.
    pub marks: Vec<Waiter>,
}

/// What came of offering the servers to one who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It got what it waits for.
    Yes,
    /// It cannot use what there is. Others who wait for the same pool may.
    NotThis,
    /// There is nothing: others who wait for the same pool are not asked in this round.
    Nobody,
}

/// As many sessions wait as may.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyWait;

impl<K: Copy + PartialEq, P: Copy + PartialEq> Waiters<K, P> {
    /// An empty queue with room for `waiters_max`.
    pub fn new(waiters_max: usize) -> Self {
        Waiters { queue: VecDeque::new(), waiters_max }
    }

    /// Sessions waiting.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts a session at the end.
    ///
    /// # Errors
    /// When `waiters_max` wait already.
    pub fn push(&mut self, waiting: Waiting<K, P>) -> Result<(), TooManyWait> {
        if self.queue.len() >= self.waiters_max {
            return Err(TooManyWait);
        }
        self.queue.push_back(waiting);
        Ok(())
    }

    /// Takes all out, in their order.
    pub fn take_all(&mut self) -> Vec<K> {
        self.queue.drain(..).map(|waiting| waiting.session).collect()
    }

    /// Takes one session out, wherever it stands.
    pub fn remove(&mut self, session: K) {
        self.queue.retain(|waiting| waiting.session != session);
    }

    /// Whether somebody waits for this pool.
    pub fn any_for(&self, pool: P) -> bool {
        self.queue.iter().any(|waiting| waiting.pool == pool)
    }

    /// The pools that anybody waits for, each once.
    pub fn pools(&self) -> Vec<P> {
        let mut pools = Vec::new();
        for waiting in &self.queue {
            if !pools.contains(&waiting.pool) {
                pools.push(waiting.pool);
            }
        }
        pools
    }

    /// Offers the servers to the waiting in their order. Who is not served keeps its place.
    pub fn serve(&mut self, mut serve: impl FnMut(&Waiting<K, P>) -> Served) {
        let mut refused: Vec<P> = Vec::new();
        self.queue.retain(|waiting| {
            if refused.contains(&waiting.pool) {
                return true;
            }
            let served = serve(waiting);
            if served == Served::Nobody {
                refused.push(waiting.pool);
            }
            served != Served::Yes
        });
    }

    /// Takes out who has waited long enough.
    pub fn expire(&mut self, now: Instant) -> Vec<K> {
        let mut expired = Vec::new();
        self.queue.retain(|waiting| {
            let stays = waiting.deadline > now;
            if !stays {
                expired.push(waiting.session);
            }
            stays
        });
        expired
    }

    /// When the next one gives up.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.iter().map(|waiting| waiting.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Served, TooManyWait, Waiters, Waiting};

    fn waiting(session: u32, pool: u8, deadline: Instant) -> Waiting<u32, u8> {
        Waiting { session, pool, deadline, marks: Vec::new() }
    }

    #[test]
    fn who_came_first_is_served_first() {
        let later = Instant::now() + Duration::from_secs(10);
        let mut waiters = Waiters::new(8);
        for session in 1..=4 {
            waiters.push(waiting(session, 0, later)).unwrap();
        }
        let mut places = 2;
        let mut served = Vec::new();
        waiters.serve(|waiting| {
            let gets_one = places > 0;
            if gets_one {
                places -= 1;
                served.push(waiting.session);
            }
            if gets_one { Served::Yes } else { Served::Nobody }
        });
        assert_eq!(served, [1, 2]);
        assert_eq!(waiters.len(), 2);
    }

    #[test]
    fn a_full_pool_does_not_hold_up_another_and_is_asked_once() {
        let later = Instant::now() + Duration::from_secs(10);
        let mut waiters = Waiters::new(8);
        for (session, pool) in [(1, 0), (2, 0), (3, 1)] {
            waiters.push(waiting(session, pool, later)).unwrap();
        }
        let mut asked = Vec::new();
        waiters.serve(|waiting| {
            asked.push(waiting.session);
            if waiting.pool == 1 { Served::Yes } else { Served::Nobody }
        });
        assert_eq!(asked, [1, 3]);
        assert_eq!(waiters.len(), 2);
        assert!(waiters.any_for(0) && !waiters.any_for(1));
        assert_eq!(waiters.pools(), [0]);
    }

    #[test]
    fn who_cannot_use_what_there_is_does_not_hold_up_who_can() {
        let later = Instant::now() + Duration::from_secs(10);
        let mut waiters = Waiters::new(8);
        for session in 1..=3 {
            waiters.push(waiting(session, 0, later)).unwrap();
        }
        waiters.serve(|waiting| if waiting.session == 1 { Served::NotThis } else { Served::Yes });
        assert_eq!(waiters.take_all(), [1]);
    }

    #[test]
    fn a_full_queue_refuses_and_the_late_are_taken_out() {
        let now = Instant::now();
        let mut waiters = Waiters::new(2);
        waiters.push(waiting(1, 0, now)).unwrap();
        waiters.push(waiting(2, 0, now + Duration::from_secs(1))).unwrap();
        assert_eq!(waiters.push(waiting(3, 0, now)), Err(TooManyWait));
        assert_eq!(waiters.expire(now), [1]);
        assert_eq!(waiters.next_deadline(), Some(now + Duration::from_secs(1)));
        waiters.remove(2);
        assert!(waiters.is_empty());
    }
}
