//! Passwords that servers have accepted of users who have no entry in the configuration.
//!
//! Invariant: at most `limits::LEARNT_MAX` of them, each in locked memory, none longer than it may be kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::config::limits::LEARNT_MAX;
use crate::io::Locked;
use crate::protocol::auth::{Secret, Verifier};

/// By the names of the users.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    passwords: HashMap<Box<[u8]>, Password>,
    /// An operator was told that no more can be locked.
    has_complained: bool,
}

#[derive(Debug)]
struct Password {
    locked: Locked,
    until: Instant,
    /// What was stored of it at the servers, where that was known.
    stored: Option<Verifier>,
}

impl Learnt {
    /// What a server has accepted of this user, if it is still to be believed, and what was stored of it then.
    pub(super) fn of(&mut self, user: &[u8], now: Instant) -> Option<(Secret, Option<&Verifier>)> {
        self.forget_old(now);
        let password = self.passwords.get(user)?;
        Some((Secret::new(password.locked.expose()), password.stored.as_ref()))
    }

    /// Keeps a password for `ttl`. Memory that cannot be locked keeps nothing: the user is asked again.
    pub(super) fn keep(
        &mut self,
        user: &[u8],
        password: &Secret,
        stored: Option<Verifier>,
        ttl: Duration,
        now: Instant,
    ) {
        self.forget_old(now);
        if !self.passwords.contains_key(user) && self.passwords.len() >= LEARNT_MAX {
            self.make_room();
        }
        match Locked::new(password.expose()) {
            Ok(locked) => {
                self.passwords.insert(user.into(), Password { locked, until: now + ttl, stored });
            }
            Err(error) if !self.has_complained => {
                self.has_complained = true;
                tracing::warn!(
                    "no memory can be locked for a learnt password ({error}), so it is asked for each time: raise LimitMEMLOCK= \
                     of the unit, or `ulimit -l`"
                );
            }
            Err(_) => {}
        }
    }

    /// Forgets this password of a user; another one that was accepted meanwhile stays.
    pub(super) fn forget(&mut self, user: &[u8], password: &Secret) {
        let is_it = |kept: &Password| Secret::new(kept.locked.expose()) == *password;
        if self.passwords.get(user).is_some_and(is_it) {
            self.passwords.remove(user);
        }
    }

    /// They are wiped when their time is over, not when somebody asks for them next.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.passwords.retain(|_, password| password.until > now);
    }

    fn make_room(&mut self) {
        let oldest = self.passwords.iter().min_by_key(|(_, password)| password.until).map(|(user, _)| user.clone());
        if let Some(user) = oldest {
            self.passwords.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[test]
    fn a_password_is_known_until_its_time_is_over() {
        let (mut learnt, now) = (Learnt::default(), Instant::now());
        learnt.keep(b"app", &secret("one"), None, TTL, now);
        assert_eq!(learnt.of(b"app", now).map(|(password, _)| password), Some(secret("one")));
        assert_eq!(learnt.of(b"other", now), None);
        learnt.keep(b"app", &secret("two"), None, TTL, now + TTL / 2);
        assert_eq!(learnt.of(b"app", now + TTL).map(|(password, _)| password), Some(secret("two")));
        assert_eq!(learnt.of(b"app", now + TTL + TTL / 2), None);
        assert!(learnt.passwords.is_empty(), "nothing of it is left");
    }

    #[test]
    fn only_the_password_that_was_refused_is_forgotten() {
        let (mut learnt, now) = (Learnt::default(), Instant::now());
        learnt.keep(b"app", &secret("right"), None, TTL, now);
        learnt.forget(b"app", &secret("guessed"));
        assert!(learnt.of(b"app", now).is_some(), "who guesses does not make others be asked again");
        learnt.forget(b"app", &secret("right"));
        assert_eq!(learnt.of(b"app", now), None);
    }

    #[test]
    fn the_oldest_makes_room_for_the_next() {
        let (mut learnt, now) = (Learnt::default(), Instant::now());
        for count in 0..=LEARNT_MAX {
            let at = now + Duration::from_millis(count as u64);
            learnt.keep(count.to_string().as_bytes(), &secret("x"), None, TTL, at);
        }
        assert_eq!(learnt.passwords.len(), LEARNT_MAX);
        assert_eq!(learnt.of(b"0", now), None);
        assert!(learnt.of(b"1", now).is_some());
    }
}
