//! Users who have no entry in the configuration: what is known of them.
//!
//! The accounts of the servers are read on the control thread ([`read_on`]) and put in place as a whole; what clients gave and
//! a server accepted is kept beside them. Workers ask ([`Directory::look_up`]) when somebody logs in, never in between.
//! Nothing here decides whether somebody may log in: the session judges, and then the server does, which also knows
//! whether an account is locked or expired.

mod learnt;
mod reader;
mod roster;
mod stored;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

pub use reader::read_on;

use crate::config::{Newcomers, Source};
use crate::protocol::auth::{Secret, Verifier};
use learnt::Learnt;
use roster::Roster;

/// A reading that is older is made again when somebody is not found in it; a name that nobody has must not make us ask the
/// servers with each login.
const FRESH: Duration = Duration::from_secs(2);

/// What is known of users without an entry, for all workers.
#[derive(Debug, Default)]
pub struct Directory {
    reading: ArcSwap<Reading>,
    learnt: Mutex<Learnt>,
    /// Somebody was missed or not believed.
    wanted: Notify,
}

/// The accounts, as they were read.
#[derive(Debug, Default)]
struct Reading {
    /// When there was nothing newer to be had; absent before the first reading.
    current: Option<Instant>,
    /// How often whoever waited was to be answered: at the end of each reading, and during one that takes long.
    count: u64,
    roster: Arc<Roster>,
}

/// What a look at the directory gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Judge by this; of a user that is not known, something that no password matches.
    Judge(Verifier),
    /// The accounts are being read again: ask once more when [`Directory::readings`] says another number.
    Later,
}

impl Directory {
    /// What is known of a user that says it is `user`, and comes from `host`.
    pub fn look_up(&self, newcomers: &Newcomers, user: &[u8], host: &str, now: Instant) -> Answer {
        match &newcomers.source {
            Source::Learn => {
                let accepted = self.learnt().of(user, now).map(|(password, _)| password);
                Answer::Judge(Verifier::ByServer(accepted))
            }
            Source::Servers { .. } => self.look_up_account(user, host, now),
        }
    }

    fn look_up_account(&self, user: &[u8], host: &str, now: Instant) -> Answer {
        let reading = self.reading.load();
        match reading.roster.find(user, host) {
            Some(account) => {
                let mut learnt = self.learnt();
                // What was accepted counts as long as the same is stored of it.
                let accepted = learnt.of(user, now).filter(|(_, stored)| *stored == Some(&account.verifier));
                let accepted = accepted.map(|(password, _)| Verifier::Cleartext(password));
                Answer::Judge(accepted.unwrap_or_else(|| account.verifier.clone()))
            }
            None if reading.is_fresh(now) => Answer::Judge(reading.impostor(user)),
            None => {
                self.wanted.notify_one();
                Answer::Later
            }
        }
    }

    /// What a user is judged by that is not known.
    pub fn impostor(&self, user: &[u8]) -> Verifier {
        self.reading.load().impostor(user)
    }

    /// Somebody was not believed: if the last reading is old, there is another soon.
    pub fn doubt(&self, now: Instant) {
        if !self.reading.load().is_fresh(now) {
            self.wanted.notify_one();
        }
    }

    /// A server has let a user in, from `host` to us, with this password.
    pub fn learn(&self, newcomers: &Newcomers, user: &[u8], host: &str, password: &Secret, now: Instant) {
        let stored = match newcomers.source {
            Source::Learn => None,
            Source::Servers { .. } => {
                let reading = self.reading.load();
                let Some(account) = reading.roster.find(user, host) else { return };
                Some(account.verifier.clone())
            }
        };
        self.learnt().keep(user, password, stored, newcomers.learn_ttl, now);
    }

    /// A server does not let a user in with this password.
    pub fn unlearn(&self, user: &[u8], password: &Secret) {
        self.learnt().forget(user, password);
    }

    /// How often the accounts were read, or could not be, or not soon enough.
    pub fn readings(&self) -> u64 {
        self.reading.load().count
    }

    fn put(&self, roster: Roster, now: Instant) {
        self.put_shared(Arc::new(roster), now);
    }

    /// A reading failed, or takes long: who waits for it is judged by the one before.
    fn keep_old(&self, now: Instant) {
        self.put_shared(Arc::clone(&self.reading.load().roster), now);
    }

    fn put_shared(&self, roster: Arc<Roster>, now: Instant) {
        let count = self.readings() + 1;
        self.reading.store(Arc::new(Reading { current: Some(now), count, roster }));
    }

    /// Whether any account was ever read.
    fn knows_anybody(&self) -> bool {
        self.reading.load().roster.len() > 0
    }

    /// What was learnt is whole between any two calls, so that one that panicked has left nothing half done.
    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn is_fresh(&self, now: Instant) -> bool {
        self.current.is_some_and(|current| now.saturating_duration_since(current) < FRESH)
    }

    /// Like one of the accounts, always the same one for a name, so that the exchange does not tell which names there are.
    fn impostor(&self, user: &[u8]) -> Verifier {
        let mut seed = [0; 20];
        // Without randomness it is still the hash of no password that anybody knows.
        let _ = getrandom::fill(&mut seed);
        let number = user.iter().fold(0_usize, |hash, &byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        match self.roster.any(number) {
            Some(model) => Verifier::impostor_like(&model.verifier, seed),
            None => Verifier::DoubleSha1(seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::roster::{Account, HostPattern};
    use super::*;
    use crate::topology::testing::parse;

    const TTL: Duration = Duration::from_secs(600);

    fn newcomers(source: &str) -> Newcomers {
        let account = if source == "servers" { "account = { user = \"reader\", password = \"r\" }" } else { "" };
        let text = format!(
            "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n[cluster.c]\ntopology = \"static\"\n\
             [[cluster.c.server]]\nname = \"s\"\naddress = \"127.0.0.1:3306\"\nrole = \"primary\"\n\
             [pool.p]\ncluster = \"c\"\nrole = \"primary\"\n[users]\nsource = \"{source}\"\npool = \"p\"\n{account}\n"
        );
        Arc::into_inner(parse(&text)).expect("nobody else has it").newcomers.expect("they are configured")
    }

    fn hash(mark: u8) -> Verifier {
        Verifier::DoubleSha1([mark; 20])
    }

    fn put(directory: &Directory, name: &str, verifier: Verifier, now: Instant) {
        let mut roster = Roster::default();
        roster.add(name.as_bytes(), Account { host: HostPattern::new("10.%"), verifier });
        directory.put(roster, now);
    }

    #[test]
    fn who_is_not_found_has_the_accounts_read_again_but_not_each_time() {
        let (directory, servers, now) = (Directory::default(), newcomers("servers"), Instant::now());
        let look_up = |name: &str, host, now| directory.look_up(&servers, name.as_bytes(), host, now);
        assert_eq!(look_up("app", "10.0.0.7", now), Answer::Later);
        put(&directory, "app", hash(1), now);
        assert_eq!(directory.readings(), 1);
        assert_eq!(look_up("app", "10.0.0.7", now), Answer::Judge(hash(1)));
        for (name, host) in [("other", "10.0.0.7"), ("app", "192.0.2.1")] {
            assert!(
                matches!(look_up(name, host, now), Answer::Judge(Verifier::DoubleSha1(random)) if random != [1; 20])
            );
            assert_eq!(look_up(name, host, now + FRESH), Answer::Later);
        }
        assert_eq!(look_up("app", "10.0.0.7", now + FRESH), Answer::Judge(hash(1)), "who is found need not wait");
    }

    #[test]
    fn what_was_accepted_counts_while_the_same_is_stored_of_it() {
        let (directory, servers, now) = (Directory::default(), newcomers("servers"), Instant::now());
        let secret = Secret::new("secret");
        let look_up = || directory.look_up(&servers, b"app", "10.0.0.7", now);
        put(&directory, "app", hash(1), now);
        directory.learn(&servers, b"app", "10.0.0.7", &secret, now);
        assert_eq!(look_up(), Answer::Judge(Verifier::Cleartext(secret.clone())));
        put(&directory, "app", hash(2), now);
        assert_eq!(look_up(), Answer::Judge(hash(2)), "the password was changed");
        directory.learn(&servers, b"gone", "10.0.0.7", &secret, now);
        assert!(matches!(
            directory.look_up(&servers, b"gone", "10.0.0.7", now),
            Answer::Judge(Verifier::DoubleSha1(_))
        ));
    }

    #[test]
    fn what_is_learnt_is_known_until_a_server_refuses_it_or_its_time_is_over() {
        let (directory, learn, now) = (Directory::default(), newcomers("learn"), Instant::now());
        let secret = Secret::new("secret");
        let known = |now| match directory.look_up(&learn, b"app", "10.0.0.7", now) {
            Answer::Judge(Verifier::ByServer(accepted)) => accepted,
            other => panic!("{other:?}"),
        };
        assert_eq!(known(now), None);
        directory.learn(&learn, b"app", "10.0.0.7", &secret, now);
        assert_eq!(known(now), Some(secret.clone()));
        assert_eq!(known(now + TTL), None);
        directory.learn(&learn, b"app", "10.0.0.7", &secret, now);
        directory.unlearn(b"app", &secret);
        assert_eq!(known(now), None);
    }
}
