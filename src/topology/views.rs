//! Views whose reading may do more than read, as one user's sessions have found them out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

/// How long an answer holds. A view that somebody makes elsewhere meanwhile is taken for one that only reads.
const HOLDS: Duration = Duration::from_secs(60);

/// What is known of the views that a user may read: which of them call stored functions, take locks, or ask the server
/// about itself. One session asks, and all of the user's sessions know.
#[derive(Debug, Default)]
pub struct Views {
    known: ArcSwapOption<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    /// Without quotes and schemas, ASCII letters in lower case.
    names: Arc<[Vec<u8>]>,
    asked: Instant,
}

impl Views {
    /// Whether the servers have to be asked. Of the sessions that find an old answer, one is told so, and the others go
    /// on with that answer meanwhile.
    pub fn must_be_asked(&self, now: Instant) -> bool {
        let known = self.known.load();
        match known.as_ref() {
            None => true,
            Some(known) if known.asked + HOLDS > now => false,
            Some(old) => {
                let claimed = Known { asked: now, ..Known::clone(old) };
                let before = self.known.compare_and_swap(&*known, Some(Arc::new(claimed)));
                before.as_ref().is_some_and(|before| Arc::ptr_eq(before, old))
            }
        }
    }

    /// The names of the views that may do more than read.
    pub fn found(&self, names: impl Iterator<Item = Vec<u8>>, now: Instant) {
        let names = names.map(|name| name.to_ascii_lowercase()).collect();
        self.known.store(Some(Arc::new(Known { names, asked: now })));
    }

    /// The servers do not answer: what was known holds for another while.
    pub fn not_found(&self, now: Instant) {
        let names = self.known.load().as_ref().map(|known| Arc::clone(&known.names)).unwrap_or_default();
        self.known.store(Some(Arc::new(Known { names, asked: now })));
    }

    /// Whether there are any such views.
    pub fn any(&self) -> bool {
        self.known.load().as_ref().is_some_and(|known| !known.names.is_empty())
    }

    /// Whether a name, as it stands in a statement without quotes, may be that of such a view. Letters beyond ASCII are
    /// not compared: there any name may be.
    pub fn has(&self, name: &[u8]) -> bool {
        let is_it = |known: &Vec<u8>| known.eq_ignore_ascii_case(name) || !(known.is_ascii() || name.is_ascii());
        self.known.load().as_ref().is_some_and(|known| known.names.iter().any(is_it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], now: Instant) -> Views {
        let views = Views::default();
        views.found(names.iter().map(|name| name.as_bytes().to_vec()), now);
        views
    }

    #[test]
    fn names_are_found_in_any_case() {
        let views = found(&["V_Set", "größe"], Instant::now());
        assert!(views.has(b"v_set") && views.has(b"V_SET") && views.has("größe".as_bytes()));
        assert!(views.has("Größe".as_bytes()) && views.has(b"gr\xF6\xDFe"), "whatever the character set");
        assert!(!views.has(b"v_se") && !views.has(b"t"));
        assert!(!found(&["v"], Instant::now()).has("größe".as_bytes()));
    }

    #[test]
    fn of_many_sessions_one_asks_again() {
        let now = Instant::now();
        assert!(Views::default().must_be_asked(now), "nobody knows");
        let views = found(&["v"], now);
        assert!(!views.must_be_asked(now));
        let later = now + HOLDS;
        assert!(views.must_be_asked(later));
        assert!(!views.must_be_asked(later), "one asks already");
        assert!(views.has(b"v"), "and the old answer holds");
        views.not_found(later);
        assert!(views.has(b"v") && !views.must_be_asked(later));
    }
}
