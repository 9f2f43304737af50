//! How many sessions of a worker log in at one server at once: when a server becomes the primary, those who have waited
//! for one go there a few at a time, in their order.

use std::{collections::HashMap, sync::Arc};

use crate::topology::ServerId;

/// Who logs in where.
#[derive(Debug)]
pub(super) struct Paces {
    /// Each server where anybody logs in, and some where nobody does any more; whoever does has a copy of the mark.
    marks: HashMap<ServerId, Arc<()>>,
    logins_max: usize,
}

/// A place among those who log in at a server, free when this is dropped.
#[derive(Debug)]
pub(super) struct LoginPlace {
    _mark: Arc<()>,
}

impl Paces {
    pub(super) fn new(logins_max: usize) -> Paces {
        Paces { marks: HashMap::new(), logins_max }
    }

    /// A place, unless all are taken.
    pub(super) fn login(&mut self, server: ServerId) -> Option<LoginPlace> {
        if !self.marks.contains_key(&server) {
            // So there are never more than servers where somebody logs in, however many a configuration has had.
            self.marks.retain(|_, mark| Arc::strong_count(mark) > 1);
        }
        let mark = self.marks.entry(server).or_default();
        let logins = Arc::strong_count(mark) - 1;
        (logins < self.logins_max).then(|| LoginPlace { _mark: Arc::clone(mark) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_login_is_over() {
        let mut paces = Paces::new(2);
        let (first, second) = (paces.login(ServerId(1)), paces.login(ServerId(1)));
        assert!(first.is_some() && second.is_some());
        assert!(paces.login(ServerId(1)).is_none());
        assert!(paces.login(ServerId(2)).is_some(), "each server has places of its own");
        drop(first);
        assert!(paces.login(ServerId(1)).is_some());
    }

    #[test]
    fn a_server_where_nobody_logs_in_is_forgotten_with_the_next_one() {
        let mut paces = Paces::new(2);
        let busy = paces.login(ServerId(0));
        (1..100).for_each(|server| drop(paces.login(ServerId(server))));
        assert_eq!((busy.is_some(), paces.marks.len()), (true, 2));
    }
}
