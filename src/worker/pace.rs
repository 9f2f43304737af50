//! How many sessions of a worker log in at one server at once: when a server becomes the primary, those who have waited
//! for one go there a few at a time, in their order.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Instant,
};

use crate::{config::limits::LOGIN_PACE_TIME, topology::ServerId};

/// Who logs in where.
#[derive(Debug)]
pub(super) struct Paces {
    /// Each server where anybody logs in, and some where nobody does any more.
    logins: HashMap<ServerId, Vec<Login>>,
    logins_max: usize,
}

/// A login, for as long as somebody has its place.
#[derive(Debug)]
struct Login {
    begun: Instant,
    place: Weak<()>,
}

/// A place among those who log in at a server, free when this is dropped.
#[derive(Debug)]
pub(super) struct LoginPlace {
    _mark: Arc<()>,
}

impl Paces {
    pub(super) fn new(logins_max: usize) -> Paces {
        Paces { logins: HashMap::new(), logins_max }
    }

    /// A place, unless all are taken. Logins that take long do not count: they wait for somebody's word, like PAM's, and would
    /// keep out whoever does not need that.
    pub(super) fn login(&mut self, server: ServerId, now: Instant) -> Option<LoginPlace> {
        if !self.logins.contains_key(&server) {
            // So there are never more than servers where somebody logs in, however many a configuration has had.
            self.logins.retain(|_, logins| logins.iter().any(|login| login.is_quick(now)));
        }
        let logins = self.logins.entry(server).or_default();
        logins.retain(|login| login.is_quick(now));
        (logins.len() < self.logins_max).then(|| {
            let mark = Arc::new(());
            logins.push(Login { begun: now, place: Arc::downgrade(&mark) });
            LoginPlace { _mark: mark }
        })
    }
}

impl Login {
    /// It goes on, and not for long yet.
    fn is_quick(&self, now: Instant) -> bool {
        self.place.strong_count() > 0 && now < self.begun + LOGIN_PACE_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_login_is_over() {
        let (mut paces, now) = (Paces::new(2), Instant::now());
        let (first, second) = (paces.login(ServerId(1), now), paces.login(ServerId(1), now));
        assert!(first.is_some() && second.is_some());
        assert!(paces.login(ServerId(1), now).is_none());
        assert!(paces.login(ServerId(2), now).is_some(), "each server has places of its own");
        drop(first);
        assert!(paces.login(ServerId(1), now).is_some());
    }

    #[test]
    fn a_server_where_nobody_logs_in_is_forgotten_with_the_next_one() {
        let (mut paces, now) = (Paces::new(2), Instant::now());
        let busy = paces.login(ServerId(0), now);
        (1..100).for_each(|server| drop(paces.login(ServerId(server), now)));
        assert_eq!((busy.is_some(), paces.logins.len()), (true, 2));
    }

    #[test]
    fn a_login_that_takes_long_keeps_nobody_out() {
        let (mut paces, now) = (Paces::new(2), Instant::now());
        let slow = [paces.login(ServerId(1), now), paces.login(ServerId(1), now)];
        let later = now + LOGIN_PACE_TIME;
        let quick = [paces.login(ServerId(1), later), paces.login(ServerId(1), later)];
        assert!(slow.iter().chain(&quick).all(Option::is_some));
        assert!(paces.login(ServerId(1), later).is_none());
        drop(slow);
        assert!(paces.login(ServerId(1), later).is_none(), "its place was not counted");
    }
}
