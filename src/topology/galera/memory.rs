//! What is remembered of a Galera cluster between two answers: who was where when it was last heard, how it left, who writes.

use std::collections::BTreeMap;
use std::time::Instant;

use super::choice::{self, Contender, Ground};
use super::departure::{Absence, Departure, has_committed};
use super::majority::{Groups, Verdict, Word, is_shared_by_too_many};
use super::standing::{Accord, Standing};
use super::view::{Group, Status, View};
use crate::config::{RoleSetting, ServerAddress};
use crate::topology::standing::Member;
use crate::topology::{self, CheckResult, ClusterEntry, Condition, Failure, ServerId, Service, Writable};

/// The past of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// In a fixed order, so that what is said of them is the same each time.
    nodes: BTreeMap<ServerId, Past>,
    groups: Groups,
    /// Who had the writes last; may be unfit now.
    writer: Option<ServerId>,
    ground: Ground,
    /// Whose answer is older than the newest view of the group, and who was not told to ask again yet.
    to_ask: Vec<ServerId>,
    /// What followed from all this for the operator.
    pub(super) said: Option<ClusterEntry>,
}

/// What the configuration and the checks in general say of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Configured<'a> {
    pub(crate) id: ServerId,
    pub(crate) name: &'a str,
    pub(crate) address: &'a ServerAddress,
    pub(crate) role: RoleSetting,
    pub(crate) weight: u32,
    pub(crate) condition: Condition,
    /// Whether an operator lets it be used.
    pub(crate) service: Service,
    /// Whether any check has ended, well or not.
    pub(crate) checked: bool,
}

impl<'a> Configured<'a> {
    pub(crate) fn of(member: &Member<'a>) -> Configured<'a> {
        Configured {
            id: member.id,
            name: &member.server.name,
            address: &member.server.address,
            role: member.server.role,
            weight: member.server.weight,
            condition: member.belief.condition(),
            service: member.service,
            checked: member.belief.is_checked(),
        }
    }
}

/// One node's past.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// Its last answer, and when that came.
    pub(super) heard: Option<(View, Instant)>,
    /// The last view of a group that goes on which it was part of. A node that is being stopped shows one of itself alone.
    member_of: Option<Group>,
    /// Since its last answer, if something else than an answer was heard.
    pub(super) absence: Option<Absence>,
    accord: Option<Accord>,
    writes: Writes,
}

/// Where the writes of a cluster go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// There.
    At(ServerId),
    /// Nowhere yet: it has to be seen first where others write.
    NotChosen,
    /// Nowhere: no node may have them.
    Nowhere,
}

/// Whether clients commit at a node.
#[derive(Debug, Clone, Copy, Default)]
struct Writes {
    /// Answers that could tell, since it started.
    answers: u32,
    /// Of those, the ones that told of new commits, since it was last quiet.
    grown: u32,
    /// Answers in a row that told of none.
    quiet: u32,
}

impl Memory {
    /// Takes in the end of a check.
    pub(crate) fn check(&mut self, server: ServerId, result: &CheckResult, now: Instant) {
        match result {
            CheckResult::Answered(answer) => {
                if let topology::View::Galera(view) = &answer.view {
                    self.hear(server, view, now);
                }
            }
            CheckResult::Refused | CheckResult::Reset | CheckResult::TimedOut | CheckResult::Unreachable(_) => {
                self.nodes.entry(server).or_default().miss(now);
            }
            CheckResult::LoginRefused { .. }
            | CheckResult::StatementFailed { .. }
            | CheckResult::Unbelieved(_)
            | CheckResult::Malformed(_) => {}
        }
    }

    /// Takes in that a session met a failure.
    pub(crate) fn report(&mut self, server: ServerId, failure: Failure, now: Instant) {
        if failure == Failure::Refused {
            self.nodes.entry(server).or_default().miss(now);
        }
    }

    /// Forgets nodes that are no longer configured, and draws the conclusions from all that was taken in: whose view counts, how those left who are gone, who writes.
    pub(crate) fn conclude(&mut self, configured: &[Configured<'_>]) {
        self.nodes.retain(|id, _| configured.iter().any(|node| node.id == *id));
        let verdict = self.verdict();
        self.judge_accord(&verdict, configured);
        self.judge_departures();
        self.choose_writer(configured);
    }

    /// Servers to ask again at once: the group has changed since their last answer.
    pub(crate) fn take_to_ask(&mut self) -> Vec<ServerId> {
        std::mem::take(&mut self.to_ask)
    }

    pub(super) fn past(&self, id: ServerId) -> Option<&Past> {
        self.nodes.get(&id)
    }

    /// Where writes go.
    pub(super) fn writing(&self, configured: &[Configured<'_>]) -> Writing {
        let mut contenders = configured.iter().filter(|node| self.contender(node).is_some());
        match self.writer {
            Some(writer) if contenders.any(|node| node.id == writer) => Writing::At(writer),
            None if contenders.next().is_some() => Writing::NotChosen,
            Some(_) | None => Writing::Nowhere,
        }
    }

    /// Whose view of the group counts.
    pub(super) fn verdict(&self) -> Verdict {
        self.groups.verdict(&self.words(), self.kept())
    }

    /// What the nodes that answer say of a group that goes on.
    fn words(&self) -> Vec<Word<'_>> {
        let present = self.nodes.iter().filter(|(_, past)| past.absence.is_none());
        let words = present.filter_map(|(id, past)| {
            let (group, at) = past.word()?;
            Some(Word { server: *id, group, at })
        });
        words.collect()
    }

    /// The view in which the writer is, or was when it last answered.
    fn kept(&self) -> Option<&Group> {
        self.nodes.get(&self.writer?)?.group()
    }

    fn hear(&mut self, server: ServerId, view: &View, now: Instant) {
        let is_news = view.primary_group().is_some_and(|group| self.groups.note(server, group, now));
        let past = self.nodes.entry(server).or_default();
        past.writes = match &past.heard {
            Some((before, _)) if before.uptime <= view.uptime => past.writes.after(before.replicated, view.replicated),
            Some(_) | None => Writes::default(),
        };
        let earlier = past.heard.replace((view.clone(), now));
        past.member_of = view.primary_group().or(past.member_of.as_ref()).cloned();
        past.absence = None;
        if let Some((_, since)) = earlier.filter(|(before, _)| has_committed(before, view)) {
            let absences = self.nodes.values_mut().filter_map(|past| past.absence.as_mut());
            absences.for_each(|absence| absence.hear_of_commits(view, since));
        }
        if is_news {
            self.to_ask = self.nodes.keys().copied().filter(|id| *id != server).collect();
        }
    }

    fn judge_accord(&mut self, verdict: &Verdict, configured: &[Configured<'_>]) {
        let used = self.used(verdict, configured).cloned();
        let alike = used.as_ref().filter(|used| is_shared_by_too_many(used, &self.words()));
        let certain = alike.map(|alike| self.certain_of_alike(alike, configured));
        for (id, past) in &mut self.nodes {
            let Some((group, at)) = past.word() else { continue };
            let is_used = used.as_ref() == Some(group) && certain.is_none_or(|certain| certain == Some(*id));
            past.accord = match verdict {
                Verdict::Nobody => continue,
                _ if is_used => Some(Accord::Same),
                Verdict::One(_) if past.absence.is_none() && self.groups.is_outdated(at) => continue,
                Verdict::One(_) => Some(Accord::Other),
                Verdict::Rivals(_) => Some(Accord::Rival),
            };
        }
    }

    /// The view that is used: of several that of the writer. Balancers with writers in different parts see both written to,
    /// and all take the same: one that counts for those as well who do not write there, then that of which most members answer,
    /// then that of the first in the configuration.
    fn used<'a>(&self, verdict: &'a Verdict, configured: &[Configured<'_>]) -> Option<&'a Group> {
        let parts = match verdict {
            Verdict::Nobody => return None,
            Verdict::One(one) => return Some(one),
            Verdict::Rivals(parts) => parts,
        };
        let own = parts.iter().find(|part| Some(*part) == self.kept())?;
        let members = |part: &Group| self.words().into_iter().filter(|word| word.group == part).collect::<Vec<_>>();
        let is_written_to = |part: &Group| members(part).iter().any(|word| self.is_written_to_steadily(word.server));
        let disputed = parts.iter().filter(|part| *part == own || is_written_to(part));
        let for_all = self.groups.verdict(&self.words(), None);
        let rank = |part: &Group| (for_all.counts(part), members(part).len());
        let highest = disputed.clone().map(rank).max()?;
        let largest: Vec<&Group> = disputed.filter(|part| rank(part) == highest).collect();
        let mut in_order = configured.iter().filter_map(|node| self.nodes.get(&node.id)?.group());
        in_order.find_map(|group| largest.iter().copied().find(|part| *part == group))
    }

    /// Of views that look alike, the one node that is certainly in the one that is used: the writer. Balancers with different
    /// writers see all of these written to, and all take the first in the configuration.
    fn certain_of_alike(&self, alike: &Group, configured: &[Configured<'_>]) -> Option<ServerId> {
        let is_disputed = |id| Some(id) == self.writer || self.is_written_to_steadily(id);
        let words = self.words();
        let disputed = words.iter().filter(|word| word.group == alike && is_disputed(word.server));
        let disputed: Vec<ServerId> = disputed.map(|word| word.server).collect();
        if !disputed.contains(&self.writer?) {
            return None;
        }
        configured.iter().map(|node| node.id).find(|id| disputed.contains(id))
    }

    /// Whoever stops its node well says good-bye: by the time its port is closed, the others have a smaller view. A node that
    /// was lost is still counted by them for seconds, and those who lose their majority with it have lost it too.
    fn judge_departures(&mut self) {
        let answers: Vec<(View, Instant)> =
            self.nodes.values().filter(|past| past.absence.is_none()).filter_map(|past| past.heard.clone()).collect();
        for absence in self.nodes.values_mut().filter_map(|past| past.absence.as_mut()) {
            answers.iter().for_each(|(view, at)| absence.hear(view, at.duration_since(absence.since)));
        }
    }

    fn choose_writer(&mut self, configured: &[Configured<'_>]) {
        let contenders: Vec<Contender> = configured.iter().filter_map(|node| self.contender(node)).collect();
        let all_checked = configured.iter().all(|node| node.checked);
        let all_tell = contenders.iter().all(|contender| contender.writes_known);
        let is_named = contenders.iter().any(|contender| contender.role == RoleSetting::Primary);
        let chosen = match self.writer {
            None if !is_named && (!all_checked || !all_tell) => return,
            None => choice::first(&contenders),
            Some(writer) => choice::next(&contenders, writer, self.ground),
        };
        let is_written_to = contenders.iter().any(|contender| Some(contender.id) == chosen && contender.is_written_to);
        if is_written_to || (chosen.is_some() && self.writer.is_some_and(|writer| chosen != Some(writer))) {
            self.ground = Ground::Seen;
        }
        if chosen.is_some() && chosen != self.writer {
            self.writer = chosen;
            self.nodes.values_mut().for_each(|past| past.writes.grown = 0);
        }
    }

    /// The node, if it may have the writes.
    fn contender(&self, node: &Configured<'_>) -> Option<Contender> {
        let past = self.nodes.get(&node.id)?;
        let (view, _) = past.heard.as_ref()?;
        let (standing, started) = (past.standing()?, past.started()?);
        let may_write = node.condition == Condition::Up
            && node.service.is_in_use()
            && node.role != RoleSetting::Replica
            && view.writable == Writable::Yes
            && (standing == Standing::Synced || standing.is_last_resort());
        may_write.then_some(Contender {
            id: node.id,
            role: node.role,
            weight: node.weight,
            standing,
            started,
            writes_known: past.writes.answers > 0,
            is_written_to: past.writes.grown > 0,
            is_written_to_steadily: past.writes.grown >= STEADY_ANSWERS,
        })
    }

    /// Whether clients keep committing at a node.
    pub(super) fn is_written_to_steadily(&self, id: ServerId) -> bool {
        self.nodes.get(&id).is_some_and(|past| past.writes.grown >= STEADY_ANSWERS)
    }
}

impl Past {
    /// What may be done with it; absent until it has answered.
    pub(super) fn standing(&self) -> Option<Standing> {
        let (view, _) = self.heard.as_ref()?;
        Some(Standing::of(view, self.accord.unwrap_or(Accord::Same)))
    }

    /// The view it said it has of a group that goes on.
    pub(super) fn group(&self) -> Option<&Group> {
        self.heard.as_ref()?.0.primary_group()
    }

    /// When it started, by what it said last. Of a machine that started after the server this cannot be known.
    fn started(&self) -> Option<Instant> {
        let (view, at) = self.heard.as_ref()?;
        Some(at.checked_sub(view.uptime).unwrap_or(*at))
    }

    fn word(&self) -> Option<(&Group, Instant)> {
        let (view, at) = self.heard.as_ref()?;
        Some((view.primary_group()?, *at))
    }

    fn miss(&mut self, now: Instant) {
        if self.absence.is_some() {
            return;
        }
        let said_goodbye = self.heard.as_ref().is_some_and(|(view, _)| view.status == Status::Disconnected);
        let departure = if said_goodbye { Departure::Stopped } else { Departure::Open };
        self.absence = Some(Absence { since: now, departure, group: self.member_of.clone() });
    }
}

impl Writes {
    fn after(self, before: u64, now: u64) -> Writes {
        let answers = self.answers.saturating_add(1);
        if now > before {
            return Writes { answers, grown: self.grown.saturating_add(1), quiet: 0 };
        }
        let quiet = self.quiet.saturating_add(1);
        let grown = if quiet >= QUIET_ANSWERS { 0 } else { self.grown };
        Writes { answers, grown, quiet }
    }
}

/// So many answers that tell of new commits are no accident.
const STEADY_ANSWERS: u32 = 5;

/// After so many answers in a row without new commits nobody writes there any more.
const QUIET_ANSWERS: u32 = 20;
