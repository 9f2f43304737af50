//! Before a planned change: the candidate comes near the primary while everybody goes on writing.
//!
//! What it lacks when writes are held, they wait for. So nothing is held, the lock neither, before that is a small part of what
//! they may wait; and where a candidate does not come so near in time, nothing was changed.
//!
//! Judged by positions: as far behind as the time that it takes to have what the primary had. That counts also what the
//! candidate has not received yet, and asks no clock but ours.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mysql_async::Conn;
use tokio::time::{Instant, sleep};

use super::plan::{Kind, Plan, Refused};
use super::run::kind;
use super::state::Member;
use super::{CHANGED, Work, survey};
use crate::protocol::gtid::GtidPosition;
use crate::topology::{ServerEntry, ServerId};

/// How far behind a candidate may be for writes to be held, which wait as long as `hold_timeout` says.
pub(super) fn near(hold_timeout: Duration) -> Duration {
    (hold_timeout / NEAR_PART).clamp(NEAR_MIN, NEAR_MAX)
}

/// How long a candidate may take, when writes were held for `held_for`, to have everything: what is left of their patience,
/// without what the way back or the rest of the change takes. Who came near has the time for that in any case.
pub(super) fn left(hold_timeout: Duration, held_for: Duration) -> Duration {
    let end = hold_timeout - hold_timeout / REST_PART;
    end.saturating_sub(held_for).max(near(hold_timeout))
}

/// For people.
pub(super) fn seconds(time: Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 100.0).round() / 100.0)
}

/// How far a candidate is behind, measured by when it has what the primary had.
#[derive(Debug)]
struct Pursuit {
    /// Where the primary was, at that time or later; the candidate was not yet seen there. Absent before the first look.
    mark: Option<(Instant, GtidPosition)>,
    /// How long the mark before it took.
    last: Duration,
    near: Duration,
    end: Instant,
}

/// Where a pursuit stands. With how far behind the candidate is at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Near,
    Behind(Duration),
    /// It had as long as anybody waits.
    TooFar(Duration),
}

impl Pursuit {
    fn new(near: Duration, now: Instant) -> Pursuit {
        Pursuit { mark: None, last: Duration::ZERO, near, end: now + APPROACH_TIME_MAX }
    }

    /// Takes in where the two are, who were asked since `asked`: the time that the answers took counts as distance.
    fn look(&mut self, primary: &GtidPosition, candidate: &GtidPosition, asked: Instant, now: Instant) -> Stand {
        let (begun, mark) = self.mark.get_or_insert_with(|| (asked, primary.clone()));
        let since = now.saturating_duration_since(*begun);
        if candidate.covers(mark) {
            if since <= self.near {
                return Stand::Near;
            }
            (self.mark, self.last) = (Some((asked, primary.clone())), since);
        }
        let behind = since.max(self.last);
        if now >= self.end { Stand::TooFar(behind) } else { Stand::Behind(behind) }
    }
}

/// Candidates that are waited for, with what the status says of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Awaited(Arc<ArcSwap<HashMap<ServerId, String>>>);

impl Awaited {
    /// What there is to say now.
    pub(super) fn now(&self) -> Arc<HashMap<ServerId, String>> {
        self.0.load_full()
    }

    fn change(&self, change: impl Fn(&mut HashMap<ServerId, String>)) {
        self.0.rcu(|known| {
            let mut next = HashMap::clone(known);
            change(&mut next);
            next
        });
    }
}

/// One candidate on its way.
struct Approach<'a> {
    plan: &'a Plan,
    cluster: &'a str,
    /// Of the primary and of the candidate.
    names: [String; 2],
    /// The candidate, as the checks see it.
    entry: &'a ServerEntry,
    awaited: &'a Awaited,
    pursuit: Pursuit,
    said: Vec<String>,
}

impl Work<'_> {
    /// Waits until the candidate of a planned change is near. What was said, for people; on an error with the reason last.
    pub(super) async fn come_near(
        &self,
        first: &Plan,
        members: &mut [Member],
        connections: &mut [Option<Conn>],
        plan: impl Fn(&[Member]) -> Result<Plan, Refused>,
    ) -> Result<Vec<String>, Vec<String>> {
        if first.kind != Kind::Switchover {
            return Ok(Vec::new());
        }
        let patience = survey::patience(self.cluster());
        let mut approach = self.approach(first, members);
        loop {
            let asked = Instant::now();
            survey::survey_again(members, connections, patience).await;
            match plan(members) {
                Ok(now) if (now.kind, now.old, now.new) == (first.kind, first.old, first.new) => {}
                Ok(_) => return Err(approach.refused(CHANGED.to_owned())),
                Err(Refused(why)) => return Err(approach.refused(why)),
            }
            match approach.look(members, asked) {
                Stand::Near => return Ok(std::mem::take(&mut approach.said)),
                Stand::Behind(behind) => approach.tell(behind),
                Stand::TooFar(behind) => return Err(approach.refused(approach.too_far(behind))),
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn approach<'a>(&'a self, plan: &'a Plan, members: &[Member]) -> Approach<'a> {
        Approach {
            plan,
            cluster: &self.cluster().name,
            names: [plan.old, plan.new].map(|at| members[at].name.clone()),
            entry: self.entry(plan.new),
            awaited: self.awaited,
            pursuit: Pursuit::new(near(self.cluster().hold_timeout), Instant::now()),
            said: Vec::new(),
        }
    }

    /// How far the candidate of a planned change is behind, and what that means, for people.
    pub(super) fn distance(&self, plan: &Plan, members: &[Member]) -> Option<String> {
        if plan.kind != Kind::Switchover {
            return None;
        }
        let [old, new] = [plan.old, plan.new].map(|at| &members[at].name);
        let lag = match self.entry(plan.new).progress.lag() {
            _ if history(members, plan.new).covers(history(members, plan.old)) => {
                format!("{new} has all that {old} has")
            }
            Some(lag) => format!("{new} is {} behind {old}", seconds(lag)),
            None => format!("nobody knows how far {new} is behind {old}"),
        };
        let (near, time) = (seconds(near(self.cluster().hold_timeout)), seconds(APPROACH_TIME_MAX));
        Some(format!("{lag}; writes are held when it is at most {near} behind, which is waited for {time} at most"))
    }
}

impl Approach<'_> {
    fn look(&mut self, members: &[Member], asked: Instant) -> Stand {
        let [old, new] = [self.plan.old, self.plan.new].map(|at| history(members, at));
        // The checks have looked for longer.
        let seen = self.entry.progress.lag().unwrap_or_default();
        match self.pursuit.look(old, new, asked, Instant::now()) {
            Stand::Near => Stand::Near,
            Stand::Behind(behind) => Stand::Behind(behind.max(seen)),
            Stand::TooFar(behind) => Stand::TooFar(behind.max(seen)),
        }
    }

    /// Once in the log and to whoever asked for the change; in the status as it is now.
    fn tell(&mut self, behind: Duration) {
        let ([old, new], id) = (&self.names, self.entry.id);
        let (behind, near) = (seconds(behind), seconds(self.pursuit.near));
        let status = format!("to be the primary when it is at most {near} behind {old}; it is {behind} behind");
        self.awaited.change(|known| _ = known.insert(id, status.clone()));
        if self.said.is_empty() {
            let line = format!("{new}: come near {old}: {behind} behind, and {near} at most when writes are held");
            tracing::info!("{} of cluster {}: {line}", kind(self.plan.kind), self.cluster);
            self.said.push(line);
        }
    }

    fn too_far(&self, behind: Duration) -> String {
        let ([old, new], behind, near) = (&self.names, seconds(behind), seconds(self.pursuit.near));
        let time = seconds(APPROACH_TIME_MAX);
        format!(
            "{new} is {behind} behind {old}, and did not come within {near} of it in {time}: nothing was held or changed. \
             Take a replica that is nearer (LAG in `sqluice status`), or say it again when {new} has caught up"
        )
    }

    fn refused(&self, why: String) -> Vec<String> {
        tracing::warn!("{} of cluster {}: {why}", kind(self.plan.kind), self.cluster);
        self.said.iter().cloned().chain([why]).collect()
    }
}

/// However it ends, nobody is waited for any more.
impl Drop for Approach<'_> {
    fn drop(&mut self) {
        let id = self.entry.id;
        self.awaited.change(|known| _ = known.remove(&id));
    }
}

/// All that a member has which a plan counts on.
fn history(members: &[Member], at: usize) -> &GtidPosition {
    &members[at].state().expect("whoever is in a planned change has told").history
}

/// Of `hold_timeout`: what a candidate may be behind when writes are held.
const NEAR_PART: u32 = 8;
/// Below this, what looks like distance is the time that a look takes.
const NEAR_MIN: Duration = Duration::from_millis(250);
const NEAR_MAX: Duration = Duration::from_secs(5);

/// Of `hold_timeout`: what is kept for the steps behind the candidate's last transaction, or for those back.
const REST_PART: u32 = 4;

/// How long a candidate is waited for before anything is held.
const APPROACH_TIME_MAX: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn position(number: u64) -> GtidPosition {
        GtidPosition::parse_mariadb(format!("0-1-{number}").as_bytes()).expect("a position")
    }

    /// A primary that commits ten transactions a second, and a candidate that has come so far after so many seconds: where it
    /// stands at the end, which is the first look that decides.
    #[track_caller]
    fn check(candidate: impl Fn(f64) -> f64, expected: Stand, at_second: f64) {
        let begin = Instant::now();
        let primary = |at: f64| position(1000 + (at * 10.0) as u64);
        let mut pursuit = Pursuit::new(Duration::from_secs(1), begin);
        for tick in 0_u32.. {
            let at = f64::from(tick) / 4.0;
            let has = position((1000.0 + candidate(at) * 10.0) as u64);
            let now = begin + Duration::from_secs_f64(at);
            match pursuit.look(&primary(at), &has, now, now) {
                Stand::Behind(_) => assert!(at < 60.0, "nobody waits for ever"),
                stand => return assert_eq!((stand, at), (expected, at_second)),
            }
        }
    }

    #[test]
    fn a_candidate_is_near_when_it_soon_has_what_the_primary_had() {
        check(|at| at, Stand::Near, 0.0);
        check(|at| at - 0.5, Stand::Near, 0.5);
        // It catches up: ten seconds behind, and twice as fast.
        check(|at| (2.0 * at - 10.0).min(at), Stand::Near, 9.5);
        // What kept it is over, and it has everything at once.
        check(|at| if at < 20.0 { -5.0 } else { at }, Stand::Near, 20.25);
    }

    #[test]
    fn who_does_not_come_near_is_given_up_with_how_far_it_is_behind() {
        let seconds = Duration::from_secs;
        check(|_| -25.0, Stand::TooFar(seconds(30)), 30.0);
        check(|at| at - 4.0, Stand::TooFar(seconds(4)), 30.0);
        check(|at| at / 2.0 - 10.0, Stand::TooFar(seconds(20)), 30.0);
    }

    #[test]
    fn an_answer_that_took_long_is_not_taken_for_nearness() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut pursuit = Pursuit::new(second, begin);
        assert_eq!(pursuit.look(&position(1), &position(1), begin, begin + second * 2), Stand::Behind(second * 2));
        let asked = begin + second * 3;
        assert_eq!(pursuit.look(&position(2), &position(1), asked, asked), Stand::Behind(second * 3));
    }

    #[test]
    fn a_candidate_may_be_a_small_part_of_what_writes_wait_behind() {
        let check = |hold: u64, expected: u64| {
            assert_eq!(near(Duration::from_millis(hold)), Duration::from_millis(expected), "{hold}");
        };
        check(10_000, 1250);
        check(0, 250);
        check(3_600_000, 5000);
    }

    #[test]
    fn writes_that_are_held_get_no_error_while_a_candidate_is_waited_for() {
        let check = |hold: u64, held: u64, expected: u64| {
            let (hold, held) = (Duration::from_millis(hold), Duration::from_millis(held));
            assert_eq!(left(hold, held), Duration::from_millis(expected), "{hold:?} {held:?}");
        };
        check(10_000, 0, 7500);
        check(10_000, 5000, 2500);
        // Who was near is waited for all the same: what is lost by then was not lost by lag.
        check(10_000, 9000, 1250);
        check(0, 5000, 250);
    }
}
