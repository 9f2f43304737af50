//! What a session has seen of the data, and what a replica must therefore have before the session reads there: so that a
//! session sees its own writes, and never an older state than it saw before.

mod hidden;
pub(super) mod last_seen;
mod snapshot;
mod views;

use std::time::{Duration, Instant};

use crate::{
    config::Freshness,
    protocol::gtid::{GtidPosition, Unmergeable},
};

/// Reads that stay at home, before it is worth asking home for its position and waiting for that elsewhere.
const HOME_READS: u32 = 3;

/// How long a replica is not waited for again after a wait that was in vain.
const REST: Duration = Duration::from_millis(250);

/// How long a read waits at a replica for what its session has seen.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// What a session has seen.
#[derive(Debug)]
pub(super) struct Sight {
    freshness: Freshness,
    seen: Seen,
    /// Counts changes of `seen`.
    version: u32,
    last_write: Option<Instant>,
    resting_until: Option<Instant>,
}

#[derive(Debug)]
enum Seen {
    /// Nothing that a replica might lack.
    Nothing,
    /// This, and nothing after it.
    Position(GtidPosition),
    /// Something at home, of which no position is known. So many reads went there since; and before them, this was seen.
    Unknown { reads: u32, before: Option<GtidPosition> },
}

/// What must happen before a read may run at a replica.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Demand<'a> {
    /// Nothing.
    Nothing,
    /// The replica must have this.
    Position(&'a GtidPosition),
    /// Home must say where it is.
    AskHome,
    /// The read stays at home.
    StayHome,
}

/// What another home must have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Needed<'a> {
    /// Nothing.
    Nothing,
    /// This.
    Position(&'a GtidPosition),
    /// The session wrote, and was told of no position: nothing was written, or nothing is known of positions at all.
    AnyPosition,
}

impl Sight {
    pub(super) fn new(freshness: Freshness) -> Sight {
        Sight { freshness, seen: Seen::Nothing, version: 1, last_write: None, resting_until: None }
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// A transaction of the session was committed as this.
    ///
    /// MariaDB orders transactions within a domain only, MySQL those of one source only, and not at every replica: what
    /// was seen before must be there, too.
    pub(super) fn committed(&mut self, position: GtidPosition) {
        let seen = match self.take_position() {
            None => Seen::Position(position),
            Some(mut all) => match all.merge(&position) {
                Ok(()) => Seen::Position(all),
                // Too many domains or sources to keep: home is asked where it is.
                Err(Unmergeable) => Seen::Unknown { reads: HOME_READS, before: None },
            },
        };
        self.see(seen);
    }

    /// What was seen last of which a position is known.
    fn take_position(&mut self) -> Option<GtidPosition> {
        match std::mem::replace(&mut self.seen, Seen::Nothing) {
            Seen::Position(position) => Some(position),
            Seen::Unknown { before, .. } => before,
            Seen::Nothing => None,
        }
    }

    /// A transaction of the session was committed now.
    pub(super) fn wrote(&mut self, now: Instant) {
        self.last_write = Some(now);
    }

    /// A statement ran at home that may have read or written.
    pub(super) fn looked_home(&mut self, is_write: bool, now: Instant) {
        if is_write {
            self.last_write = Some(now);
        }
        match &mut self.seen {
            Seen::Unknown { reads, .. } => *reads = reads.saturating_add(1),
            Seen::Nothing | Seen::Position(_) => {
                let before = self.take_position();
                self.see(Seen::Unknown { reads: 0, before });
            }
        }
    }

    /// A replica that the session has read from is left: the next one may be behind it.
    pub(super) fn left_replica(&mut self) {
        if !matches!(self.seen, Seen::Unknown { .. }) {
            let before = self.take_position();
            self.see(Seen::Unknown { reads: HOME_READS, before });
        }
    }

    /// Home says where it is: at or after all that the session has seen.
    pub(super) fn home_is_at(&mut self, position: GtidPosition) {
        self.see(Seen::Position(position));
    }

    /// Waiting at a replica, or asking home, was in vain.
    pub(super) fn in_vain(&mut self, now: Instant) {
        self.resting_until = Some(now + REST);
    }

    fn see(&mut self, seen: Seen) {
        self.seen = seen;
        self.version = self.version.wrapping_add(1);
    }

    /// What was seen, where that is known.
    pub(super) fn position(&self) -> Option<GtidPosition> {
        match &self.seen {
            Seen::Position(position) if self.freshness == Freshness::OwnWrites => Some(position.clone()),
            Seen::Position(_) | Seen::Nothing | Seen::Unknown { .. } => None,
        }
    }

    /// What another server must have before the session may go on there: all that it is known to have written and seen.
    pub(super) fn needs_of_another_home(&self) -> Needed<'_> {
        match (&self.seen, self.last_write) {
            (Seen::Position(position) | Seen::Unknown { before: Some(position), .. }, _) => Needed::Position(position),
            (Seen::Nothing | Seen::Unknown { before: None, .. }, None) => Needed::Nothing,
            (Seen::Nothing | Seen::Unknown { before: None, .. }, Some(_)) => Needed::AnyPosition,
        }
    }

    /// Whether the session may have written anything.
    pub(super) fn has_written(&self) -> bool {
        self.last_write.is_some()
    }

    /// Home is left, which was at this position: the session may have seen all of it.
    pub(super) fn left_home(&mut self, position: GtidPosition) {
        if self.freshness == Freshness::OwnWrites {
            self.committed(position);
        }
    }

    /// What a read demands at a replica that is known to have what was seen at version `had`.
    pub(super) fn demand(&self, had: u32, now: Instant) -> Demand<'_> {
        match self.freshness {
            Freshness::Any => return Demand::Nothing,
            Freshness::Within(time) if self.last_write.is_some_and(|at| at + time > now) => return Demand::StayHome,
            Freshness::Within(_) => return Demand::Nothing,
            Freshness::OwnWrites => {}
        }
        match &self.seen {
            _ if had == self.version => Demand::Nothing,
            Seen::Nothing => Demand::Nothing,
            _ if self.resting_until.is_some_and(|until| until > now) => Demand::StayHome,
            Seen::Position(position) => Demand::Position(position),
            Seen::Unknown { reads, .. } if *reads < HOME_READS => Demand::StayHome,
            Seen::Unknown { .. } => Demand::AskHome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> GtidPosition {
        GtidPosition::parse_mariadb(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_fresh_session_reads_anywhere() {
        let sight = Sight::new(Freshness::OwnWrites);
        assert_eq!(sight.demand(0, Instant::now()), Demand::Nothing);
    }

    #[test]
    fn a_write_is_waited_for_once() {
        let mut sight = Sight::new(Freshness::OwnWrites);
        let now = Instant::now();
        sight.looked_home(true, now);
        sight.committed(position("0-1-4"));
        assert_eq!(sight.demand(0, now), Demand::Position(&position("0-1-4")));
        assert_eq!(sight.demand(sight.version(), now), Demand::Nothing);
    }

    #[test]
    fn a_write_in_one_domain_does_not_make_one_in_another_forgotten() {
        let mut sight = Sight::new(Freshness::OwnWrites);
        sight.committed(position("0-1-5"));
        sight.committed(position("1-1-9"));
        assert_eq!(sight.position(), Some(position("0-1-5,1-1-9")));
    }

    #[test]
    fn a_look_at_home_does_not_make_what_was_written_before_it_forgotten() {
        let mut sight = Sight::new(Freshness::OwnWrites);
        sight.committed(position("0-1-5"));
        sight.looked_home(false, Instant::now());
        sight.committed(position("1-1-9"));
        assert_eq!(sight.position(), Some(position("0-1-5,1-1-9")));
        sight.left_replica();
        sight.committed(position("1-1-10"));
        assert_eq!(sight.position(), Some(position("0-1-5,1-1-10")));
    }

    #[test]
    #[cfg_attr(miri, ignore = "2000 transactions, to get past the bound")]
    fn own_transactions_of_all_sources_are_waited_for_and_their_number_is_bounded() {
        const HOMES: [&str; 2] = ["3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"];
        let parse = |text: String| GtidPosition::parse_mysql(text.as_bytes()).unwrap();
        let mut sight = Sight::new(Freshness::OwnWrites);
        for home in HOMES {
            for count in 0..1000 {
                sight.committed(parse(format!("{home}:{}", 10 + 2 * count)));
            }
        }
        let all = sight.position().expect("it is known");
        for home in HOMES {
            assert!(all.covers(&parse(format!("{home}:10"))) && all.covers(&parse(format!("{home}:2008"))));
        }
        assert!(all.to_string().len() < 4000, "{all}");
    }

    #[test]
    fn another_home_must_have_what_was_written_and_seen() {
        let mut sight = Sight::new(Freshness::OwnWrites);
        let now = Instant::now();
        assert_eq!(sight.needs_of_another_home(), Needed::Nothing);
        sight.looked_home(false, now);
        assert_eq!(sight.needs_of_another_home(), Needed::Nothing, "nobody can tell what a reader saw");
        sight.looked_home(true, now);
        assert_eq!(sight.needs_of_another_home(), Needed::AnyPosition);
        sight.committed(position("0-1-4"));
        sight.looked_home(false, now);
        assert_eq!(sight.needs_of_another_home(), Needed::Position(&position("0-1-4")));
        sight.left_home(position("0-1-6"));
        assert_eq!(sight.needs_of_another_home(), Needed::Position(&position("0-1-6")));
    }

    #[test]
    fn after_a_read_at_home_only_home_knows_what_was_seen() {
        let mut sight = Sight::new(Freshness::OwnWrites);
        let now = Instant::now();
        sight.committed(position("0-1-4"));
        for _ in 0..=HOME_READS {
            sight.looked_home(false, now);
        }
        assert_eq!(sight.demand(0, now), Demand::AskHome);
        sight.home_is_at(position("0-1-9"));
        assert_eq!(sight.demand(0, now), Demand::Position(&position("0-1-9")));
    }

    #[test]
    fn the_first_reads_after_one_at_home_stay_there() {
        let mut sight = Sight::new(Freshness::OwnWrites);
        let now = Instant::now();
        sight.looked_home(false, now);
        assert_eq!(sight.demand(0, now), Demand::StayHome);
    }

    #[test]
    fn a_wait_in_vain_is_not_tried_again_at_once() {
        let mut sight = Sight::new(Freshness::OwnWrites);
        let now = Instant::now();
        sight.committed(position("0-1-4"));
        sight.in_vain(now);
        assert_eq!(sight.demand(0, now), Demand::StayHome);
        assert_eq!(sight.demand(0, now + REST), Demand::Position(&position("0-1-4")));
    }

    #[test]
    fn another_replica_must_have_what_the_first_one_showed() {
        let mut sight = Sight::new(Freshness::OwnWrites);
        sight.left_replica();
        assert_eq!(sight.demand(0, Instant::now()), Demand::AskHome);
    }

    #[test]
    fn with_a_time_only_young_writes_keep_reads_at_home() {
        let mut sight = Sight::new(Freshness::Within(Duration::from_millis(200)));
        let now = Instant::now();
        sight.looked_home(true, now);
        assert_eq!(sight.demand(0, now), Demand::StayHome);
        assert_eq!(sight.demand(0, now + Duration::from_millis(200)), Demand::Nothing);
        let any = Sight::new(Freshness::Any);
        assert_eq!(any.demand(0, now), Demand::Nothing);
    }
}
