//! `SET TRANSACTION …` without a scope: it holds for the next transaction, whatever statement that is.

/// Where it is. A read of a table with transactions is one itself, a read of anything else is not, and the text does not
/// tell which it was: then it waits on, and reads stay at home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OneShot {
    /// There is none.
    #[default]
    None,
    /// The next transaction has not begun, as far as is known.
    Waiting,
    /// Its transaction is open.
    Begun,
}

impl OneShot {
    pub(super) fn is_set(self) -> bool {
        self != OneShot::None
    }

    /// A statement was executed: whether a transaction is open after it, and whether one certainly ended with it.
    pub(in crate::session::split) fn executed(&mut self, is_open: bool, has_ended: bool) {
        *self = match self {
            OneShot::None => OneShot::None,
            OneShot::Waiting | OneShot::Begun if is_open => OneShot::Begun,
            OneShot::Waiting if !has_ended => OneShot::Waiting,
            OneShot::Waiting | OneShot::Begun => OneShot::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_transaction_that_it_is_for() {
        let mut one_shot = OneShot::Waiting;
        one_shot.executed(false, false);
        assert!(one_shot.is_set(), "perhaps a read of no table");
        one_shot.executed(true, false);
        one_shot.executed(true, false);
        assert!(one_shot.is_set());
        one_shot.executed(false, true);
        assert!(!one_shot.is_set());
        one_shot.executed(true, true);
        assert!(!one_shot.is_set());
        let mut one_shot = OneShot::Waiting;
        one_shot.executed(false, true);
        assert!(!one_shot.is_set(), "one write is a transaction");
    }
}
