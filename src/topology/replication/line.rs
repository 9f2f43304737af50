//! The line of a cluster's writers: who was the primary last, what it had, and so who may be the next one.
//!
//! Rule: no certain writer, no writes. A server is a writer only while it is the only one that can be, and one that takes
//! writes without being that is never picked: which of two histories counts is for an operator to say. Three things
//! make more than the servers' `read_only` certain:
//! - *Who follows whom.* A replica that takes writes is a replica all the same, as long as its source has all it has.
//! - *Who was there before.* A primary that vanished and came back after another took over is not used before it was seen
//!   to take no writes: its clients may still be writing to it.
//! - *Whose history goes on.* If it came back with transactions that the new one lacks, there is no certain writer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::memory::{Fence, Memory, Origin};
use super::track::Track;
use super::{View, fitness, graph};
use crate::config::{Cluster, RoleSetting};
use crate::topology::heard::View as AnyView;
use crate::topology::standing::{Member, Standing};
use crate::topology::writer::own_role;
use crate::topology::{Belief, Condition, Seen, ServerId, ServerRole, Writable};

/// What is remembered of a cluster's servers.
#[derive(Debug, Default)]
pub(in crate::topology) struct Line {
    /// Who was the certain primary last.
    pub(super) writer: Option<ServerId>,
    /// Who is the certain primary by the judgement before this one. Unlike `writer` not recalled from another process.
    reigning: Option<ServerId>,
    /// Whom this process made the primary in another one's place.
    pub(super) replaced: Option<Replaced>,
    /// A change that this process makes now.
    hand_over: Option<HandOver>,
    track: Track,
    pub(super) memories: HashMap<ServerId, Memory>,
    alarms: Vec<String>,
}

/// A change that this process made: which of the two counts was decided, whatever the old one still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replaced {
    pub(super) old: ServerId,
    pub(super) new: ServerId,
}

/// A change of the primary that this process makes, until everybody was heard of after it.
#[derive(Debug, Default)]
struct HandOver {
    /// When the last one was asked of those that all took writes by what they had said, if there were any: an answer to an
    /// earlier question may be out of date.
    contested: Option<Instant>,
}

impl Line {
    /// This process begins to make another server the primary: until [`Line::let_write`] nobody begins to write.
    pub(in crate::topology) fn hold_writes(&mut self) {
        self.hand_over.get_or_insert_default();
    }

    /// That is over. `change` says whom this process made the primary: in whose place, and who.
    pub(in crate::topology) fn let_write(&mut self, change: Option<(ServerId, ServerId)>) {
        self.hand_over = None;
        if let Some((old, new)) = change {
            self.replaced = Some(Replaced { old, new });
        }
    }

    /// Takes in what a server has just answered. `seen` is its position.
    pub(in crate::topology) fn hear(
        &mut self,
        cluster: &Cluster,
        members: &[Member<'_>],
        id: ServerId,
        seen: Option<&Seen>,
    ) {
        let Some(place) = members.iter().position(|member| member.id == id) else { return };
        let member = &members[place];
        let memory = self.memories.entry(id).or_default();
        let follows_the_writer = graph::sources(members, place).any(|source| Some(members[source].id) == self.writer);
        if member.belief.writable() == Some(Writable::No) || follows_the_writer {
            (memory.fence, memory.was_away) = (None, false);
        }
        if follows_the_writer && self.replaced.is_some_and(|replaced| replaced.old == id) {
            self.replaced = None;
        }
        let Some(view) = view_of(member.belief) else { return };
        memory.hear(view);
        let seen = seen.filter(|seen| seen.asked == view.asked);
        if self.writer != Some(id) {
            memory.measure(view, seen.map(|seen| &seen.applied), &self.track, cluster.max_replica_lag);
        } else if let Some(committed) = seen.and_then(|seen| seen.committed.as_ref()) {
            self.track.note(committed, view.asked, cluster.max_replica_lag);
        }
        if self.writer == Some(id) {
            self.compare_all(members, view);
        }
    }

    /// Looks for transactions that only some replica has.
    fn compare_all(&mut self, members: &[Member<'_>], primary: &View) {
        for member in members {
            if let (Some(view), Some(memory)) = (view_of(member.belief), self.memories.get_mut(&member.id)) {
                memory.compare(view, primary);
            }
        }
    }

    /// What each server is. Must be asked after everything that was heard: who becomes the primary is remembered.
    pub(in crate::topology) fn judge(&mut self, cluster: &Cluster, members: &[Member<'_>]) -> Vec<Standing> {
        self.memories.retain(|id, _| members.iter().any(|member| member.id == *id));
        self.forgive(members);
        let roles = members.iter().map(|member| own_role(cluster.topology, member.server.role, member.belief));
        let mut standings: Vec<Standing> = roles.map(Standing::new).collect();
        match members.iter().any(|member| member.server.role == RoleSetting::Primary) {
            true => keep_to_configured(members, &mut standings),
            false => self.elect(members, &mut standings),
        }
        let is_up = |place: &usize| members[*place].belief.condition() == Condition::Up;
        let primary = places(&standings, ServerRole::Primary).next().filter(is_up);
        self.reigning = primary.map(|place| members[place].id);
        if let Some(primary) = primary {
            self.succeed(members, primary);
        }
        let is_certain = primary.is_some();
        for (member, standing) in members.iter().zip(&mut standings) {
            if standing.role == ServerRole::Replica {
                self.judge_replica(cluster, member, standing, is_certain);
            }
        }
        if let Some(hand_over) = &mut self.hand_over {
            hand_over.hold(members, &mut standings);
        }
        self.alarms = self.raise(cluster, members, &standings);
        standings
    }

    /// What an operator must know, in words.
    pub(in crate::topology) fn alarms(&self) -> &[String] {
        &self.alarms
    }

    /// How far a replica is behind its primary.
    pub(in crate::topology) fn lag(&self, id: ServerId) -> Option<Duration> {
        self.memories.get(&id).filter(|_| self.writer != Some(id)).and_then(|memory| memory.gauge.lag())
    }

    /// Finds the one server that surely takes the writes, among those that say so.
    fn elect(&mut self, members: &[Member<'_>], standings: &mut [Standing]) {
        for place in places(standings, ServerRole::Primary).collect::<Vec<_>>() {
            if let Some(other) = self.reason_to_pass_over(members, place) {
                standings[place] = other;
            }
        }
        let claimants: Vec<usize> = places(standings, ServerRole::Primary).collect();
        match claimants.as_slice() {
            [] => {}
            // Who is the primary stays it while a server that a reload has added, or moved, is asked for the first time.
            [only]
                if self.reigning == Some(members[*only].id)
                    || members.iter().all(|member| member.belief.is_checked()) =>
            {
                if !self.goes_on(members, standings, *only) {
                    standings[*only] = Standing::new(ServerRole::Contested);
                }
            }
            // Somebody was not asked yet and may take writes too.
            [only] => standings[*only] = Standing::new(ServerRole::Unknown),
            _ => self.contest(members, standings, &claimants),
        }
    }

    /// Why a server that takes writes is no primary, whoever else takes them.
    fn reason_to_pass_over(&self, members: &[Member<'_>], place: usize) -> Option<Standing> {
        let memory = self.memory(members, place);
        if memory.is_some_and(|memory| memory.fence.is_some()) {
            return Some(deposed());
        }
        let source = graph::sources(members, place).find(|source| self.may_still_write(members, *source))?;
        let is_part = match (memory, self.memory(members, source)) {
            (Some(mine), Some(theirs)) => mine.is_part_of(theirs),
            _ => false,
        };
        let both_follow = graph::sources(members, source).any(|back| back == place);
        if both_follow || (members[source].belief.condition() == Condition::Up && !is_part) {
            return None;
        }
        let note = format!("takes writes, but replicates from {}, so it is no primary", members[source].server.name);
        Some(Standing::new(ServerRole::Replica).because(note))
    }

    /// Whether a server that others follow was last seen to take writes, or never heard. One that another has succeeded is
    /// no longer the source of anything.
    fn may_still_write(&self, members: &[Member<'_>], place: usize) -> bool {
        let is_fenced = self.memory(members, place).is_some_and(|memory| memory.fence.is_some());
        !is_fenced && members[place].belief.writable() != Some(Writable::No)
    }

    /// Several take writes: none does, unless one was the primary while all others were away, and has all they had.
    fn contest(&mut self, members: &[Member<'_>], standings: &mut [Standing], claimants: &[usize]) {
        let is_writer = |place: &usize| Some(members[*place].id) == self.writer;
        // Whoever was the primary need not stay it while this process makes another one that.
        let incumbent = claimants.iter().copied().find(is_writer).filter(|_| self.hand_over.is_none());
        let others = || claimants.iter().copied().filter(|place| Some(*place) != incumbent);
        let came_back = |place| self.memory(members, place).is_some_and(|memory| memory.was_away);
        let proven = incumbent.filter(|incumbent| {
            others().all(|other| {
                self.has_replaced(members, *incumbent, other)
                    || (came_back(other) && self.has_all(members, *incumbent, other))
            })
        });
        for place in claimants {
            standings[*place] = Standing::new(ServerRole::Contested);
        }
        if let Some(incumbent) = proven {
            for other in others().collect::<Vec<_>>() {
                self.fence(members[other].id);
                standings[other] = deposed();
            }
            if self.goes_on(members, standings, incumbent) {
                standings[incumbent] = Standing::new(ServerRole::Primary);
            }
        }
    }

    /// Whether a server has all that those have who took writes before it and do so again.
    fn goes_on(&self, members: &[Member<'_>], standings: &[Standing], place: usize) -> bool {
        let mut deposed = places(standings, ServerRole::Deposed);
        deposed.all(|old| self.has_replaced(members, place, old) || self.has_all(members, place, old))
    }

    /// Whether this process decided that one server goes on in another one's place.
    fn has_replaced(&self, members: &[Member<'_>], place: usize, other: usize) -> bool {
        self.replaced == Some(Replaced { old: members[other].id, new: members[place].id })
    }

    /// Whether it is proven that one server has every transaction that another was ever seen to have.
    fn has_all(&self, members: &[Member<'_>], place: usize, other: usize) -> bool {
        let (Some(mine), Some(theirs)) = (self.memory(members, place), self.memory(members, other)) else {
            return false;
        };
        let (Some(mine), Some(last)) = (mine.last(), theirs.last()) else { return false };
        let had = theirs.fence.as_ref().map_or(Some(last), |fence| fence.had.as_ref());
        had.is_some_and(|had| mine.covers(had) && mine.covers(last))
    }

    /// A server is the certain primary now. Whoever was it before, and may still take writes, is fenced.
    fn succeed(&mut self, members: &[Member<'_>], place: usize) {
        let id = members[place].id;
        if let Some(old) = self.writer.filter(|old| *old != id) {
            self.replaced = self.replaced.filter(|replaced| replaced.new == id);
            self.track.clear();
            let old = members.iter().position(|member| member.id == old);
            if let Some(old) = old.filter(|old| self.is_unaccounted(members, *old, place)) {
                self.fence(members[old].id);
            }
        }
        self.writer = Some(id);
        for member in members.iter().filter(|member| member.id != id && member.belief.condition() != Condition::Up) {
            self.memories.entry(member.id).or_default().was_away = true;
        }
    }

    /// Whether a former primary was neither seen to take no writes nor to follow the new one.
    fn is_unaccounted(&self, members: &[Member<'_>], old: usize, new: usize) -> bool {
        let follows = graph::sources(members, old).any(|source| source == new);
        members[old].server.role == RoleSetting::Auto
            && members[old].belief.writable() != Some(Writable::No)
            && !follows
    }

    fn fence(&mut self, id: ServerId) {
        let memory = self.memories.entry(id).or_default();
        if memory.fence.is_none() {
            memory.fence = Some(Fence { had: memory.last().cloned(), origin: Origin::Seen });
        }
    }

    fn judge_replica(&self, cluster: &Cluster, member: &Member<'_>, standing: &mut Standing, is_certain: bool) {
        let Some(view) = view_of(member.belief) else { return };
        let lags = self.memories.get(&member.id).is_some_and(|memory| memory.gauge.is_lagging());
        let (fitness, why) = fitness::of_replica(view, lags.then_some(cluster.max_replica_lag), is_certain);
        standing.fitness = fitness;
        if let Some(why) = why {
            standing.note = Some(why);
        }
    }

    fn memory(&self, members: &[Member<'_>], place: usize) -> Option<&Memory> {
        self.memories.get(&members[place].id)
    }

    fn raise(&self, cluster: &Cluster, members: &[Member<'_>], standings: &[Standing]) -> Vec<String> {
        let mut alarms = Vec::new();
        let name = |place: usize| members[place].server.name.as_str();
        let names = |role| places(standings, role).map(name).collect::<Vec<_>>();
        let contested = names(ServerRole::Contested);
        if !contested.is_empty() {
            let deposed = names(ServerRole::Deposed);
            let who: Vec<&str> = contested.iter().chain(&deposed).copied().collect();
            alarms.push(format!(
                "{} take writes, and it is not certain whose history counts: nothing is written. Say SET GLOBAL read_only = 1 \
                 at whichever is not to be the primary, or give one role = \"primary\"",
                who.join(" and ")
            ));
        }
        for (place, standing) in standings.iter().enumerate() {
            let (member, memory) = (&members[place], self.memory(members, place));
            if standing.role == ServerRole::Deposed && contested.is_empty() {
                alarms.push(format!(
                    "{} took writes before another server took over, and still does: it is not used until it was seen \
                     read-only. Say SET GLOBAL read_only = 1 there, then let it replicate from the new primary",
                    name(place)
                ));
            }
            if standing.role == ServerRole::Replica && member.belief.writable() == Some(Writable::Yes) {
                alarms
                    .push(format!("{} is a replica and takes writes: say SET GLOBAL read_only = 1 there", name(place)));
            }
            if let Some(errant) = memory.and_then(Memory::errant).filter(|_| standing.role == ServerRole::Replica) {
                alarms.push(format!(
                    "{} has transactions that the primary does not have: {}. It must not become the primary, and may break",
                    name(place),
                    fitness::short(&errant.to_string())
                ));
            }
            if let Some(words) = view_of(member.belief).and_then(View::denial) {
                alarms.push(format!(
                    "{} does not show its replication to the monitor's account ({words}): how far it is behind is measured \
                     by GTIDs alone. Say GRANT REPLICA MONITOR (MariaDB) or REPLICATION CLIENT (MySQL) ON *.* TO that account",
                    name(place)
                ));
            }
        }
        if cluster.promotion.is_some() {
            alarms.extend(members.iter().filter_map(slow_pulse));
        }
        alarms.truncate(ALARMS_MAX);
        alarms
    }
}

impl HandOver {
    /// Whoever takes writes gets no new ones. The new primary may be heard before the old one, which then seems to contest it by
    /// what it said before it was closed: that is no contest before the old one has said so again.
    fn hold(&mut self, members: &[Member<'_>], standings: &mut [Standing]) {
        let asked = |place: usize| view_of(members[place].belief).map(|view| view.asked);
        let contested: Vec<usize> = places(standings, ServerRole::Contested).collect();
        let begun = contested.iter().filter_map(|place| asked(*place)).max();
        self.contested = begun.map(|begun| self.contested.unwrap_or(begun));
        let is_old = |place: &usize| asked(*place).is_some_and(|asked| Some(asked) < self.contested);
        let is_doubted = contested.iter().any(is_old);
        let yielding = |standing: &&mut Standing| match standing.role {
            ServerRole::Primary => true,
            ServerRole::Contested => is_doubted,
            ServerRole::Unknown
            | ServerRole::Yielding
            | ServerRole::Replica
            | ServerRole::Deposed
            | ServerRole::ReadOnlyPrimary => false,
        };
        standings.iter_mut().filter(yielding).for_each(|standing| *standing = Standing::new(ServerRole::Yielding));
    }
}

/// What to do about a replica by which a primary that hangs would be known late.
fn slow_pulse(member: &Member<'_>) -> Option<String> {
    let slow = view_of(member.belief)?.channels().iter().find(|channel| channel.has_slow_pulse())?;
    Some(format!(
        "{} would notice late that its primary hangs (heartbeat period {} s, and 15 s at most is waited for): the primary \
         would not be replaced before slave_net_timeout. Say STOP SLAVE; CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 1; \
         START SLAVE there",
        member.server.name,
        slow.heartbeat.unwrap_or_default().as_secs_f32()
    ))
}

/// The operator has said who writes. Whoever else takes writes is a mistake waiting to be used.
fn keep_to_configured(members: &[Member<'_>], standings: &mut [Standing]) {
    let is_up = |place: usize| members[place].belief.condition() == Condition::Up;
    let is_other = |place: usize| members[place].server.role != RoleSetting::Primary;
    for place in places(standings, ServerRole::Primary).collect::<Vec<_>>() {
        if is_up(place) && is_other(place) {
            standings[place] = Standing::new(ServerRole::Contested);
        }
    }
}

fn deposed() -> Standing {
    Standing::new(ServerRole::Deposed)
        .because("took writes before another server did, and has not been seen read-only since")
}

fn places(standings: &[Standing], role: ServerRole) -> impl Iterator<Item = usize> + '_ {
    standings.iter().enumerate().filter(move |(_, standing)| standing.role == role).map(|(place, _)| place)
}

pub(super) fn view_of(belief: &Belief) -> Option<&View> {
    match belief.view() {
        AnyView::Replication(view) => Some(view),
        AnyView::Galera(_) | AnyView::Group(_) | AnyView::Unasked => None,
    }
}

/// Of one cluster.
const ALARMS_MAX: usize = 16;
