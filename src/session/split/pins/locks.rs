//! Locks by GET_LOCK, as far as statements tell: nobody reads the results that say which were taken and released.

use crate::sql::{self, Dialect, LockCall};

/// Locks that the session may hold. When in doubt, it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session::split) struct Locks {
    /// The literals that named them, each as often as it was taken.
    named: Vec<Vec<u8>>,
    /// Those whose names only the server knows.
    others: u32,
}

impl Locks {
    /// More than this are not told apart any more.
    const MAX: usize = 64;

    pub(super) fn any(&self) -> bool {
        self.others > 0 || !self.named.is_empty()
    }

    pub(super) fn all_released(&mut self) {
        *self = Locks::default();
    }

    /// A statement with these calls was executed.
    pub(in crate::session::split) fn called(&mut self, text: &[u8], dialect: Dialect) {
        for call in sql::lock_calls(text, dialect) {
            match call {
                LockCall::Takes(Some(name)) if self.named.len() < Self::MAX => {
                    self.named.push(name.of(text).to_ascii_lowercase());
                }
                LockCall::Takes(_) => self.took_some(),
                LockCall::Releases(Some(name)) => {
                    let name = name.of(text).to_ascii_lowercase();
                    // Of another name, it released none that is known to be held.
                    if let Some(place) = self.named.iter().position(|known| *known == name) {
                        self.named.swap_remove(place);
                    }
                }
                LockCall::Releases(None) => self.released_some(),
            }
        }
    }

    /// A lock was taken by a statement that cannot be read.
    pub(in crate::session::split) fn took_some(&mut self) {
        self.others = self.others.saturating_add(1);
    }

    /// A lock was released by a statement that cannot be read.
    fn released_some(&mut self) {
        self.others = self.others.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{ClientCharset, Family};

    fn holds(texts: &[&str]) -> bool {
        let dialect = Dialect {
            no_backslash_escapes: false,
            ansi_quotes: false,
            family: Family::MariaDb { version: 101_119 },
            charset: ClientCharset::Utf8,
        };
        let mut locks = Locks::default();
        texts.iter().for_each(|text| locks.called(text.as_bytes(), dialect));
        locks.any()
    }

    #[test]
    fn a_lock_is_held_until_one_of_its_name_is_released() {
        assert!(holds(&["SELECT GET_LOCK('a', 0)"]));
        assert!(!holds(&["SELECT GET_LOCK('a', 0)", "DO release_lock('A')"]));
        assert!(holds(&["SELECT GET_LOCK('a', 0)", "SELECT RELEASE_LOCK('other')"]));
        assert!(holds(&["SELECT GET_LOCK('a', 0), GET_LOCK('a', 0)", "SELECT RELEASE_LOCK('a')"]));
        assert!(!holds(&["SELECT GET_LOCK('a', 0), GET_LOCK('b', 0)", "SELECT RELEASE_LOCK('b'), RELEASE_LOCK('a')"]));
        assert!(holds(&["SELECT GET_LOCK('a', 0)", "SELECT RELEASE_LOCK(@name)"]), "perhaps of another name");
    }

    #[test]
    fn locks_whose_names_are_not_known_are_counted() {
        assert!(!holds(&["SELECT GET_LOCK(?, ?)", "SELECT RELEASE_LOCK(?)"]));
        assert!(holds(&["SELECT GET_LOCK(CONCAT('a', 'b'), 0)", "SELECT RELEASE_LOCK('ab')"]));
        assert!(!holds(&["SELECT RELEASE_LOCK(?)"]));
        assert!(holds(&["SELECT GET_LOCK('a' 'b', 0)", "SELECT RELEASE_LOCK('a')"]));
    }
}
