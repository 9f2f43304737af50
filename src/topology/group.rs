//! Group Replication of MySQL: who is in the group, who of them takes the writes.
//!
//! The group decides for itself, by majority. A member that is cut off takes some seconds to notice, and says until then
//! what was so before. So a member counts only while it sees a majority of its group online, and the writer is the one that
//! most of these name. Where all members are primaries, one of them gets the writes, and keeps them while it is one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::heard::View as AnyView;
use super::replication::{Gauge, Track};
use super::standing::{Member, Standing};
use super::writer::own_role;
use super::{Belief, Condition, Fitness, Seen, ServerId, ServerRole};
use crate::config::{Cluster, RoleSetting};

/// A server's view of its group at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// When it was asked.
    pub asked: Instant,
    /// Its own `@@server_uuid`.
    pub uuid: Box<str>,
    /// The members that it knows, itself among them; or why it does not show them.
    pub members: Result<Vec<GroupMember>, Arc<str>>,
}

/// One row of `performance_schema.replication_group_members`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// `MEMBER_ID`.
    pub uuid: Box<str>,
    /// `MEMBER_STATE`.
    pub state: State,
    /// Whether `MEMBER_ROLE` is `PRIMARY`.
    pub is_primary: bool,
}

/// The state of a member in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes part.
    Online,
    /// It gets what it has missed.
    Recovering,
    /// It is not in the group.
    Offline,
    /// It was expelled, or cannot apply what the group has agreed on.
    Error,
    /// Nobody hears it.
    Unreachable,
}

impl State {
    /// By the word of the server; none for one that is not known.
    pub fn of_word(word: &str) -> Option<State> {
        [State::Online, State::Recovering, State::Offline, State::Error, State::Unreachable]
            .into_iter()
            .find(|state| state.to_string() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            State::Online => "ONLINE",
            State::Recovering => "RECOVERING",
            State::Offline => "OFFLINE",
            State::Error => "ERROR",
            State::Unreachable => "UNREACHABLE",
        })
    }
}

impl View {
    /// Why it may not be used; none if it is online in a majority.
    fn objection(&self) -> Option<String> {
        let members = match &self.members {
            Ok(members) => members,
            Err(words) => return Some(format!("does not show its group: {words}")),
        };
        let own = members.iter().find(|member| member.uuid == self.uuid).map_or(State::Offline, |member| member.state);
        let online = members.iter().filter(|member| member.state == State::Online).count();
        match own {
            State::Online if online * 2 > members.len() => None,
            State::Online => Some(format!("sees no majority of its group: {online} of {} online", members.len())),
            other => Some(format!("is {other} in its group")),
        }
    }

    fn names_as_primary(&self, uuid: &str) -> bool {
        let members = self.members.as_deref().unwrap_or_default();
        members.iter().any(|member| *member.uuid == *uuid && member.is_primary && member.state == State::Online)
    }
}

/// What is remembered of a group.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Who had the writes last.
    writer: Option<ServerId>,
    track: Track,
    gauges: HashMap<ServerId, Gauge>,
    alarms: Vec<String>,
}

impl Memory {
    /// Takes in what a server has just answered. `seen` is its position.
    pub(super) fn hear(&mut self, cluster: &Cluster, member: &Member<'_>, seen: Option<&Seen>) {
        let Some(view) = view_of(member.belief) else { return };
        let Some(seen) = seen.filter(|seen| seen.asked == view.asked) else { return };
        if self.writer == Some(member.id) {
            self.track.note(&seen.applied, view.asked, cluster.max_replica_lag);
        } else {
            let lag = self.track.lag(&seen.applied, view.asked);
            self.gauges.entry(member.id).or_default().note(lag, cluster.max_replica_lag);
        }
    }

    /// What each server is. Must be asked after everything that was heard: who gets the writes is remembered.
    pub(super) fn judge(&mut self, cluster: &Cluster, members: &[Member<'_>]) -> Vec<Standing> {
        self.gauges.retain(|id, _| members.iter().any(|member| member.id == *id));
        let mut standings: Vec<Standing> = members.iter().map(|member| self.of_itself(cluster, member)).collect();
        let primaries: Vec<usize> =
            (0..members.len()).filter(|place| standings[*place].role == ServerRole::Primary).collect();
        let chosen = self.choose(members, &standings, &primaries);
        let are_equal = chosen.is_some_and(|chosen| agree(members, &primaries, chosen));
        for place in primaries.into_iter().filter(|place| Some(*place) != chosen) {
            standings[place] = match are_equal {
                true => {
                    Standing::new(ServerRole::Replica).because("a primary of its group, where another has the writes")
                }
                false => Standing::new(ServerRole::Contested),
            };
        }
        if let Some(chosen) = chosen.map(|chosen| members[chosen].id)
            && self.writer.replace(chosen) != Some(chosen)
        {
            self.track.clear();
        }
        self.alarms = raise(members, &standings);
        standings
    }

    pub(super) fn alarms(&self) -> &[String] {
        &self.alarms
    }

    /// How far a server has fallen behind the writer.
    pub(super) fn lag(&self, id: ServerId) -> Option<Duration> {
        self.gauges.get(&id).filter(|_| self.writer != Some(id)).and_then(Gauge::lag)
    }

    /// What a server is by its own view.
    fn of_itself(&self, cluster: &Cluster, member: &Member<'_>) -> Standing {
        let Some(view) = view_of(member.belief) else { return Standing::new(ServerRole::Unknown) };
        if let Some(objection) = view.objection() {
            let unfit = Standing { fitness: Fitness::Unfit, ..Standing::new(ServerRole::Replica) };
            return unfit.because(objection);
        }
        let is_primary = view.names_as_primary(&view.uuid) && member.server.role != RoleSetting::Replica;
        let role = own_role(cluster.topology, RoleSetting::Auto, member.belief);
        let lags = self.gauges.get(&member.id).is_some_and(Gauge::is_lagging);
        match role {
            ServerRole::Primary if is_primary => Standing::new(ServerRole::Primary),
            ServerRole::Primary | ServerRole::Replica if lags && self.writer != Some(member.id) => {
                let unfit = Standing { fitness: Fitness::Unfit, ..Standing::new(ServerRole::Replica) };
                unfit.because("further behind its primary than max_replica_lag")
            }
            ServerRole::Primary | ServerRole::Replica => Standing::new(ServerRole::Replica),
            other => Standing::new(other),
        }
    }

    /// The primary that more than half of the usable members name; of several, whoever had the writes before.
    fn choose(&self, members: &[Member<'_>], standings: &[Standing], primaries: &[usize]) -> Option<usize> {
        let is_usable = |place: &usize| {
            members[*place].belief.condition() == Condition::Up && standings[*place].fitness != Fitness::Unfit
                || primaries.contains(place)
        };
        let voters: Vec<&View> =
            (0..members.len()).filter(is_usable).filter_map(|place| view_of(members[place].belief)).collect();
        let is_named = |place: &&usize| {
            let uuid = view_of(members[**place].belief).map_or("", |view| &*view.uuid);
            voters.iter().filter(|voter| voter.names_as_primary(uuid)).count() * 2 > voters.len()
        };
        let named = || primaries.iter().filter(is_named).copied();
        let in_use = || named().filter(|place| members[*place].service.is_in_use());
        let of_before = |place: &usize| Some(members[*place].id) == self.writer;
        // Who has the writes keeps them while a member that a reload has added, or moved, is asked for the first time.
        if !members.iter().all(|member| member.belief.is_checked()) {
            return named().find(of_before);
        }
        // In a group with one primary there is no other choice: then its writes wait.
        in_use()
            .find(of_before)
            .or_else(|| in_use().next())
            .or_else(|| named().find(of_before))
            .or_else(|| named().next())
    }
}

/// Whether the chosen one takes all others for primaries, too: then the group has several.
fn agree(members: &[Member<'_>], primaries: &[usize], chosen: usize) -> bool {
    let Some(chosen) = view_of(members[chosen].belief) else { return false };
    primaries.iter().filter_map(|place| view_of(members[*place].belief)).all(|view| chosen.names_as_primary(&view.uuid))
}

fn raise(members: &[Member<'_>], standings: &[Standing]) -> Vec<String> {
    let mut alarms = Vec::new();
    for (member, standing) in members.iter().zip(standings) {
        let name = &member.server.name;
        if standing.role == ServerRole::Contested {
            alarms.push(format!(
                "{name} takes writes for its group, and the other members do not say so: it is not used"
            ));
        }
        if view_of(member.belief).is_some_and(|view| view.members.is_err()) {
            alarms.push(format!(
                "{name} does not show its group to the monitor's account and is not used. Say GRANT SELECT ON \
                 performance_schema.replication_group_members TO that account"
            ));
        }
    }
    alarms.truncate(ALARMS_MAX);
    alarms
}

fn view_of(belief: &Belief) -> Option<&View> {
    match belief.view() {
        AnyView::Group(view) if belief.condition() == Condition::Up => Some(view),
        AnyView::Group(_) | AnyView::Galera(_) | AnyView::Replication(_) | AnyView::Unasked => None,
    }
}

/// Of one cluster.
const ALARMS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::config_with;
    use crate::topology::{Answer, Beliefs, CheckResult, Writable};

    const SERVERS: [&str; 3] = [
        "name = \"db1\"\naddress = \"10.0.0.1:3306\"",
        "name = \"db2\"\naddress = \"10.0.0.2:3306\"",
        "name = \"db3\"\naddress = \"10.0.0.3:3306\"",
    ];

    struct Set(Beliefs, Instant);

    impl Set {
        fn new() -> Set {
            let cluster = "topology = \"group-replication\"\nmonitor = { user = \"m\", password = \"m\" }";
            let now = Instant::now();
            Set(Beliefs::new(config_with(cluster, &SERVERS), now), now)
        }

        /// Each server says whether it takes writes, and of each member its letter: `P`rimary, `S`econdary, `r`ecovering,
        /// `u`nreachable, `e`rror; `-` is not there. An empty text is no answer.
        fn hear(&mut self, says: [(Writable, &str); 3]) {
            let ids: Vec<ServerId> = self.0.ids().collect();
            for (place, (writable, letters)) in says.into_iter().enumerate() {
                let result =
                    if letters.is_empty() { CheckResult::Refused } else { self.answer(place, writable, letters) };
                self.0.check(ids[place], &result, self.1);
            }
        }

        fn answer(&self, place: usize, writable: Writable, letters: &str) -> CheckResult {
            let member = |(place, letter): (usize, char)| {
                let (state, is_primary) = match letter {
                    'P' => (State::Online, true),
                    'S' => (State::Online, false),
                    'r' => (State::Recovering, false),
                    'u' => (State::Unreachable, false),
                    'e' => (State::Error, false),
                    _ => return None,
                };
                Some(GroupMember { uuid: format!("uuid{place}").into(), state, is_primary })
            };
            let members = Ok(letters.chars().enumerate().filter_map(member).collect());
            let view = View { asked: self.1, uuid: format!("uuid{place}").into(), members };
            CheckResult::Answered(Answer { writable: Some(writable), view: AnyView::Group(view), contact: None })
        }

        #[track_caller]
        fn expect(&mut self, expected: [(ServerRole, Fitness); 3]) {
            let table = self.0.table();
            let found: Vec<_> =
                table.servers.iter().map(|server| (server.health.role, server.health.fitness)).collect();
            assert_eq!(found, expected);
        }
    }

    use Fitness::{Fit, Unfit};
    use ServerRole::{Contested, Primary, Replica, Unknown};
    const YES: Writable = Writable::Yes;
    const NO: Writable = Writable::No;

    #[test]
    fn the_group_s_primary_is_the_primary() {
        let mut set = Set::new();
        set.hear([(YES, "PSS"), (NO, "PSS"), (NO, "PSS")]);
        set.expect([(Primary, Fit), (Replica, Fit), (Replica, Fit)]);
    }

    #[test]
    fn who_recovers_or_sees_no_majority_is_not_used() {
        let mut set = Set::new();
        set.hear([(YES, "PSr"), (NO, "PSr"), (NO, "PSr")]);
        set.expect([(Primary, Fit), (Replica, Fit), (Replica, Unfit)]);
        set.hear([(YES, "Puu"), (NO, "uPS"), (NO, "uPS")]);
        set.expect([(Replica, Unfit), (Replica, Fit), (Replica, Fit)]);
        let reason = set.0.table().servers[0].health.reason.to_string();
        assert_eq!(reason, "sees no majority of its group: 1 of 3 online");
        set.hear([(NO, "e--"), (YES, "-PS"), (NO, "-PS")]);
        set.expect([(Replica, Unfit), (Primary, Fit), (Replica, Fit)]);
    }

    #[test]
    fn a_primary_that_has_not_noticed_its_end_is_outvoted() {
        let mut set = Set::new();
        set.hear([(YES, "PSS"), (YES, "-PS"), (NO, "-PS")]);
        set.expect([(Contested, Fit), (Primary, Fit), (Replica, Fit)]);
        set.hear([(YES, "PSS"), (YES, "-PS"), (NO, "")]);
        let table = set.0.table();
        assert_eq!([0, 1].map(|place| table.servers[place].health.role), [Contested; 2], "one word against the other");
    }

    #[test]
    fn of_several_primaries_one_keeps_the_writes() {
        let mut set = Set::new();
        set.hear([(YES, "PPP"), (YES, "PPP"), (YES, "PPP")]);
        set.expect([(Primary, Fit), (Replica, Fit), (Replica, Fit)]);
        set.hear([(YES, ""), (YES, "-PP"), (YES, "-PP")]);
        set.expect([(Unknown, Fit), (Primary, Fit), (Replica, Fit)]);
        (0..2).for_each(|_| set.hear([(YES, "PPP"), (YES, "PPP"), (YES, "PPP")]));
        set.expect([(Replica, Fit), (Primary, Fit), (Replica, Fit)]);
    }

    #[test]
    fn words_of_the_server_are_states() {
        assert_eq!(State::of_word("RECOVERING"), Some(State::Recovering));
        assert_eq!(State::of_word("online"), None);
    }
}
