//! How each change of a primary went, as this process lived through it: kept for whoever asks afterwards.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Instant;

use super::{Condition, RoutingTable, ServerId, ServerRole};
use crate::config::ClusterIndex;

/// One change of a cluster's primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The cluster's name.
    pub cluster: String,
    /// Which change of its cluster it is since the start, from 1.
    pub number: u64,
    /// The old primary's name.
    pub from: String,
    /// The new primary's name.
    pub to: String,
    /// When what happened.
    pub phases: Phases,
}

/// The moments of a change, in this order where all are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases {
    /// The old primary answered a check for the last time before it was taken out of use.
    pub last_good_reply: Option<Instant>,
    /// It was taken out of use.
    pub detected: Instant,
    /// This process began to make another server the primary; absent if somebody else did.
    pub decided: Option<Instant>,
    /// Writes went to the new one.
    pub rerouted: Instant,
    /// The new one answered a client's statement after that; absent until it does.
    pub first_reply: Option<Instant>,
}

/// What is kept, and what has begun.
#[derive(Debug, Default)]
pub struct Successions {
    done: VecDeque<Succession>,
    /// By the cluster's name.
    reigns: HashMap<String, Reign>,
}

/// The primary of a cluster, or the last one while there is none.
#[derive(Debug)]
struct Reign {
    id: ServerId,
    name: String,
    answered: Option<Instant>,
    /// When it was taken out of use; absent while it is the primary.
    lost: Option<Instant>,
    decided: Option<Instant>,
}

impl Successions {
    /// Nothing has changed yet.
    pub fn new() -> Successions {
        Successions::default()
    }

    /// Takes in a new table. True when a primary was replaced.
    pub fn publish(&mut self, table: &RoutingTable, now: Instant) -> bool {
        let count = self.done.len();
        let before = self.done.back().cloned();
        for (index, cluster) in table.config.clusters.iter().enumerate() {
            match primary(table, ClusterIndex(index)) {
                Some((id, name)) => self.reigns_now(&cluster.name, id, name, now),
                None => self.nobody_reigns(&cluster.name, now),
            }
        }
        self.reigns.retain(|name, _| table.config.clusters.iter().any(|cluster| cluster.name == *name));
        self.done.len() != count || self.done.back() != before.as_ref()
    }

    /// A server answered a check.
    pub fn checked(&mut self, server: ServerId, now: Instant) {
        let reign = self.reigns.values_mut().find(|reign| reign.id == server && reign.lost.is_none());
        reign.into_iter().for_each(|reign| reign.answered = Some(now));
    }

    /// A server answered a client's statement for the first time since it became the primary. True when that ends a change.
    pub fn answered(&mut self, server: ServerId, now: Instant) -> bool {
        let reign = self.reigns.iter().find(|(_, reign)| reign.id == server && reign.lost.is_none());
        let Some((cluster, reign)) = reign else { return false };
        let last = self.done.iter_mut().rev().find(|change| change.cluster == *cluster && change.to == reign.name);
        let Some(change) = last.filter(|change| change.phases.first_reply.is_none()) else { return false };
        change.phases.first_reply = Some(now);
        true
    }

    /// This process begins to make another server the primary of a cluster.
    pub fn decided(&mut self, cluster: &str, now: Instant) {
        if let Some(reign) = self.reigns.get_mut(cluster) {
            reign.decided = Some(now);
        }
    }

    /// The changes that are kept, the latest last.
    pub fn kept(&self) -> Vec<Succession> {
        self.done.iter().cloned().collect()
    }

    fn reigns_now(&mut self, cluster: &str, id: ServerId, name: &str, now: Instant) {
        let new = Reign { id, name: name.to_owned(), answered: None, lost: None, decided: None };
        let Some(old) = self.reigns.get_mut(cluster) else {
            self.reigns.insert(cluster.to_owned(), new);
            return;
        };
        if old.id == id {
            (old.lost, old.decided) = (None, old.decided.filter(|_| old.lost.is_none()));
            return;
        }
        let old = std::mem::replace(old, new);
        let phases = Phases {
            last_good_reply: old.answered,
            detected: old.lost.unwrap_or(now),
            decided: old.decided,
            rerouted: now,
            first_reply: None,
        };
        let of_cluster = || self.done.iter().filter(|change| change.cluster == cluster);
        let number = of_cluster().next_back().map_or(1, |last| last.number + 1);
        if of_cluster().count() == KEPT_MAX {
            let oldest = self.done.iter().position(|change| change.cluster == cluster);
            oldest.and_then(|oldest| self.done.remove(oldest));
        }
        let (cluster, to) = (cluster.to_owned(), name.to_owned());
        self.done.push_back(Succession { cluster, number, from: old.name, to, phases });
    }

    fn nobody_reigns(&mut self, cluster: &str, now: Instant) {
        if let Some(reign) = self.reigns.get_mut(cluster) {
            reign.lost = reign.lost.or(Some(now));
        }
    }
}

fn primary(table: &RoutingTable, cluster: ClusterIndex) -> Option<(ServerId, &str)> {
    let is_it = |health: &super::Health| health.condition == Condition::Up && health.role == ServerRole::Primary;
    let server = table.servers.iter().find(|server| server.cluster == cluster && is_it(&server.health))?;
    Some((server.id, &server.name))
}

impl fmt::Display for Succession {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Succession { cluster, number: _, from, to, phases } = self;
        write!(out, "primary of cluster {cluster}: {from} -> {to}")?;
        let begin = phases.last_good_reply.unwrap_or(phases.detected);
        for (what, moment) in phases.named() {
            match moment {
                Some(moment) => {
                    write!(out, ", {what} +{:.3} s", moment.saturating_duration_since(begin).as_secs_f64())?
                }
                None => write!(out, ", {what} -")?,
            }
        }
        Ok(())
    }
}

impl Phases {
    /// The moments with their names.
    pub fn named(&self) -> [(&'static str, Option<Instant>); 5] {
        [
            ("last good reply", self.last_good_reply),
            ("detected", Some(self.detected)),
            ("decided", self.decided),
            ("rerouted", Some(self.rerouted)),
            ("first reply", self.first_reply),
        ]
    }
}

/// Changes that are kept of a cluster.
const KEPT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::topology::testing::{answers, config};
    use crate::topology::{Beliefs, CheckResult, Writable};

    const SERVERS: [&str; 2] =
        ["name = \"db1\"\naddress = \"10.0.0.1:3306\"", "name = \"db2\"\naddress = \"10.0.0.2:3306\""];

    /// A set of two whose every table goes into the history.
    struct Set {
        beliefs: Beliefs,
        ids: Vec<ServerId>,
        history: Successions,
        begin: Instant,
    }

    impl Set {
        fn new() -> Set {
            let begin = Instant::now();
            let beliefs = Beliefs::new(config(&SERVERS), begin);
            let ids = beliefs.ids().collect();
            Set { beliefs, ids, history: Successions::new(), begin }
        }

        fn at(&self, second: u64) -> Instant {
            self.begin + Duration::from_secs(second)
        }

        /// A check that ended in that second.
        fn check(&mut self, server: usize, result: &CheckResult, second: u64) {
            let now = self.at(second);
            self.beliefs.check(self.ids[server], result, now);
            let table = self.beliefs.table();
            self.history.publish(&table, now);
            if matches!(result, CheckResult::Answered(_)) {
                self.history.checked(self.ids[server], now);
            }
        }
    }

    #[test]
    fn a_change_is_kept_with_its_moments() {
        let mut set = Set::new();
        set.check(1, &answers(Writable::No), 1);
        set.check(0, &answers(Writable::Yes), 2);
        set.check(0, &answers(Writable::Yes), 3);
        set.check(0, &CheckResult::Refused, 5);
        let decided = set.at(6);
        set.history.decided("shop", decided);
        assert!(set.history.kept().is_empty(), "nobody has taken its place yet");
        set.check(1, &answers(Writable::Yes), 7);
        let told = |history: &Successions| {
            let [change] = <[Succession; 1]>::try_from(history.kept()).expect("one change");
            change.to_string()
        };
        let text = "primary of cluster shop: db1 -> db2, last good reply +0.000 s, detected +2.000 s, decided +3.000 s, \
                    rerouted +4.000 s, first reply ";
        assert_eq!(told(&set.history), format!("{text}-"), "a check is no client");
        assert!(!set.history.answered(set.ids[0], set.at(8)), "the old one is of no interest");
        assert!(set.history.answered(set.ids[1], set.at(9)));
        assert!(!set.history.answered(set.ids[1], set.at(10)), "only the first counts");
        assert_eq!(told(&set.history), format!("{text}+6.000 s"));
    }

    #[test]
    fn a_primary_that_comes_back_is_no_change() {
        let mut set = Set::new();
        set.check(1, &answers(Writable::No), 1);
        set.check(0, &answers(Writable::Yes), 1);
        set.check(0, &CheckResult::Refused, 2);
        set.check(0, &answers(Writable::Yes), 3);
        set.check(0, &answers(Writable::Yes), 4);
        assert!(set.history.kept().is_empty());
    }

    #[test]
    fn only_the_latest_changes_are_kept() {
        let mut set = Set::new();
        for second in 0..40 {
            let (new, old) = if second % 2 == 0 { (0, 1) } else { (1, 0) };
            set.check(old, &answers(Writable::No), second);
            set.check(new, &answers(Writable::Yes), second);
        }
        let kept = set.history.kept();
        assert_eq!((kept.len(), kept.last().map(|change| change.to.as_str())), (KEPT_MAX, Some("db2")));
        let numbers: Vec<u64> = kept.iter().map(|change| change.number).collect();
        assert_eq!(numbers, (24..=39).collect::<Vec<_>>(), "of all 39, the latest");
    }
}
