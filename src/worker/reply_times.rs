//! Where the sessions of one worker count how long servers took to reply: by pool and server.
//!
//! A session is given its histogram with its server, and counts into it without looking anything up. The lock is taken
//! when a session gets a server and when somebody reads, never while commands pass.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{latency::Histogram, topology::ServerId};

/// The histograms of one worker. Only its sessions write them; anyone may read them.
#[derive(Debug, Default)]
pub struct ReplyTimes {
    /// A server has few pools, and each is found by its name: places in a configuration change with it.
    by_server: Mutex<HashMap<ServerId, Vec<OfPool>>>,
}

#[derive(Debug)]
struct OfPool {
    pool: String,
    times: Arc<Histogram>,
}

impl ReplyTimes {
    /// Where a session counts that a pool gave this server.
    pub(super) fn of(&self, pool: &str, server: ServerId) -> Arc<Histogram> {
        let mut by_server = self.lock();
        let pools = by_server.entry(server).or_default();
        if let Some(known) = pools.iter().find(|known| known.pool == pool) {
            return Arc::clone(&known.times);
        }
        let times = Arc::<Histogram>::default();
        pools.push(OfPool { pool: pool.to_owned(), times: Arc::clone(&times) });
        times
    }

    /// Forgets what nobody counts into any more and nobody asks about, so that reloads with ever new names do not pile up.
    pub(super) fn forget_unused(&self, is_configured: impl Fn(&str, ServerId) -> bool) {
        self.lock().retain(|server, pools| {
            pools.retain(|known| Arc::strong_count(&known.times) > 1 || is_configured(&known.pool, *server));
            !pools.is_empty()
        });
    }

    /// Shows each pool and server with its times.
    pub fn for_each(&self, mut show: impl FnMut(&str, ServerId, &Histogram)) {
        for (server, pools) in self.lock().iter() {
            pools.iter().for_each(|known| show(&known.pool, *server, &known.times));
        }
    }

    /// Nothing is left half done under the lock, so a panic under it has broken nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Vec<OfPool>>> {
        self.by_server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Distribution;

    fn counted(times: &ReplyTimes) -> Vec<(String, ServerId, u64)> {
        let mut rows = Vec::new();
        times.for_each(|pool, server, histogram| {
            let mut sum = Distribution::default();
            sum.add(histogram);
            rows.push((pool.to_owned(), server, sum.len()));
        });
        rows.sort();
        rows
    }

    #[test]
    fn sessions_of_one_pool_and_server_count_together_and_others_apart() {
        let times = ReplyTimes::default();
        for (pool, server) in [("read", 1), ("read", 1), ("read", 2), ("write", 1)] {
            times.of(pool, ServerId(server)).count(1_000);
        }
        let expected = [("read", 1, 2), ("read", 2, 1), ("write", 1, 1)];
        assert_eq!(counted(&times), expected.map(|(pool, server, count)| (pool.to_owned(), ServerId(server), count)));
    }

    #[test]
    fn only_what_is_neither_configured_nor_in_use_is_forgotten() {
        let times = ReplyTimes::default();
        let _in_use = times.of("old", ServerId(1));
        times.of("old", ServerId(2));
        times.of("new", ServerId(2));
        times.forget_unused(|pool, _| pool == "new");
        let kept: Vec<_> = counted(&times).into_iter().map(|(pool, server, _)| (pool, server)).collect();
        assert_eq!(kept, [("new".to_owned(), ServerId(2)), ("old".to_owned(), ServerId(1))]);
    }
}
