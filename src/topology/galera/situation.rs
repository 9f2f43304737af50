//! What has happened to a Galera cluster, by name: what its nodes say, and how those left that say nothing any more.

use std::fmt;

use super::departure::{Absence, Departure};
use super::majority::Verdict;
use super::memory::{Configured, Memory};
use super::standing::Standing;
use super::view::{LocalState, View};
use crate::topology::Condition;

/// What has happened to a Galera cluster. The next step depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// Some node has not been asked yet, and none has answered.
    Unseen,
    /// Every configured node is in the group.
    Whole,
    /// A node receives what it lacks; else all are in the group.
    Joining,
    /// Nodes have just gone, and it is not known yet how.
    Leaving,
    /// So many nodes were stopped well. The rest goes on.
    Stopped(usize),
    /// One after the other was stopped, to the last.
    AllStopped,
    /// So many nodes were lost: crashed, hung, or out of reach. The rest goes on.
    Crashed(usize),
    /// So many nodes were lost that the rest has no majority, and waits.
    NoQuorum {
        /// Nodes that do not answer.
        gone: usize,
        /// Nodes that answer, and refuse statements.
        left: usize,
    },
    /// Several were lost at once, and none is left.
    AllCrashed,
    /// No node answers, and none has since this process started: how they left is not known.
    AllDown,
    /// So many nodes have never answered. The rest goes on.
    Missing(usize),
    /// So many nodes answer, and are not in the group of the others, which goes on.
    CutOff(usize),
    /// So many nodes are not reached from here, and are in the group all the same.
    OutOfReach(usize),
    /// Nodes answer that do not reach each other, and no part has a majority.
    SplitBrain,
    /// Two parts go on without each other, each with writes of its own.
    TwoPrimaries,
}

impl fmt::Display for Situation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Situation::Unseen => out.write_str("not asked yet"),
            Situation::Whole => out.write_str("all nodes in the group"),
            Situation::Joining => out.write_str("a node is joining"),
            Situation::Leaving => out.write_str("a node has just gone"),
            Situation::Stopped(count) => write!(out, "{} stopped", nodes(count)),
            Situation::AllStopped => out.write_str("all nodes stopped"),
            Situation::Crashed(count) => write!(out, "{} crashed", nodes(count)),
            Situation::NoQuorum { gone: 0, left } => write!(out, "no majority: {} non-Primary", nodes(left)),
            Situation::NoQuorum { gone, left } => {
                write!(out, "{} crashed, {} left non-Primary", nodes(gone), number(left))
            }
            Situation::AllCrashed => out.write_str("all nodes crashed"),
            Situation::AllDown => out.write_str("no node answers"),
            Situation::Missing(count) => write!(out, "{} never reached", nodes(count)),
            Situation::CutOff(count) => write!(out, "{} cut off", nodes(count)),
            Situation::OutOfReach(count) => write!(out, "{} out of reach from here", nodes(count)),
            Situation::SplitBrain => out.write_str("split brain: no part has a majority"),
            Situation::TwoPrimaries => out.write_str("split brain: two parts take writes"),
        }
    }
}

fn nodes(count: usize) -> String {
    format!("{} node{}", number(count), if count == 1 { "" } else { "s" })
}

fn number(count: usize) -> String {
    const WORDS: [&str; 4] = ["no", "one", "two", "three"];
    WORDS.get(count).map_or_else(|| count.to_string(), |word| (*word).to_owned())
}

/// A cluster at one moment: every configured node, and what it is known to be.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) verdict: Verdict,
}

/// A configured node at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) configured: Configured<'a>,
    pub(super) presence: Presence<'a>,
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Presence<'a> {
    /// It has not been asked, or asking says nothing yet.
    Unheard,
    /// It is down and was never heard.
    Missing,
    /// It answers.
    Here(&'a View, Standing),
    /// It is down. What it said last.
    Gone(&'a Absence, &'a View),
}

impl<'a> Picture<'a> {
    pub(super) fn new(memory: &'a Memory, configured: &[Configured<'a>]) -> Picture<'a> {
        let node =
            |configured: &Configured<'a>| Node { configured: *configured, presence: presence(memory, configured) };
        Picture { nodes: configured.iter().map(node).collect(), verdict: memory.verdict() }
    }

    /// The nodes that answer.
    pub(super) fn here(&self) -> impl Iterator<Item = (&Node<'a>, &'a View, Standing)> + Clone + '_ {
        self.nodes.iter().filter_map(|node| match node.presence {
            Presence::Here(view, standing) => Some((node, view, standing)),
            Presence::Unheard | Presence::Missing | Presence::Gone(..) => None,
        })
    }

    /// The nodes that were there once and are down.
    pub(super) fn gone(&self) -> impl Iterator<Item = (&Node<'a>, &'a Absence, &'a View)> + Clone + '_ {
        self.nodes.iter().filter_map(|node| match node.presence {
            Presence::Gone(absence, view) => Some((node, absence, view)),
            Presence::Unheard | Presence::Missing | Presence::Here(..) => None,
        })
    }

    /// The nodes that are down and were never heard.
    pub(super) fn missing(&self) -> impl Iterator<Item = &Node<'a>> + Clone + '_ {
        self.nodes.iter().filter(|node| matches!(node.presence, Presence::Missing))
    }

    /// The nodes that give another one its data.
    pub(super) fn donors(&self) -> impl Iterator<Item = &Node<'a>> + Clone + '_ {
        self.here().filter(|(_, view, _)| view.is_donor()).map(|(node, ..)| node)
    }

    /// The nodes that receive their data: by their own word, or because the group counts a member that does not answer yet
    /// while another gives one its data. Until it has them, a joiner's port is closed.
    pub(super) fn joiners(&self) -> Vec<&Node<'a>> {
        let mut joiners: Vec<&Node<'a>> = self.of_standing(Standing::Joining).collect();
        if self.donors().next().is_some() && self.silent_members() > joiners.len() {
            let gone = self.gone().filter(|(_, absence, _)| !self.still_counts(absence)).map(|(node, ..)| node);
            joiners.extend(gone.chain(self.missing()));
        }
        joiners
    }

    pub(super) fn of_standing(&self, wanted: Standing) -> impl Iterator<Item = &Node<'a>> + Clone + '_ {
        self.here().filter(move |(_, _, standing)| *standing == wanted).map(|(node, ..)| node)
    }

    /// Whether the group has not noticed yet that this node is gone.
    pub(super) fn still_counts(&self, absence: &Absence) -> bool {
        matches!((&self.verdict, &absence.group), (Verdict::One(now), Some(then)) if now == then)
    }

    /// Members that the group counts and that do not say so themselves.
    pub(super) fn silent_members(&self) -> usize {
        let Verdict::One(group) = &self.verdict else { return 0 };
        let known = self.here().filter(|(_, view, _)| view.primary_group() == Some(group)).count();
        (group.size as usize).saturating_sub(known)
    }

    pub(super) fn situation(&self) -> Situation {
        if self.here().next().is_none() {
            return self.nobody_here();
        }
        match &self.verdict {
            Verdict::Rivals(_) => Situation::TwoPrimaries,
            Verdict::Nobody => self.no_majority(),
            Verdict::One(_) => self.going_on(),
        }
    }

    fn nobody_here(&self) -> Situation {
        if self.nodes.iter().any(|node| matches!(node.presence, Presence::Unheard)) {
            return Situation::Unseen;
        }
        let open = self.gone().filter(|(_, absence, _)| absence.departure == Departure::Open);
        let is_lost = |absence: &Absence| matches!(absence.departure, Departure::Lost | Departure::OutOfReach);
        let lost = self.gone().any(|(_, absence, _)| is_lost(absence));
        // Nobody is left to say how the last one went. It was alone if the group had no other member when it was last heard.
        let was_alone = |absence: &Absence| absence.group.as_ref().is_some_and(|group| group.size == 1);
        match (open.clone().next(), open.count()) {
            _ if self.gone().next().is_none() => Situation::AllDown,
            (Some((_, last, _)), 1) if was_alone(last) || !lost => Situation::AllStopped,
            (None, _) if !lost => Situation::AllStopped,
            _ => Situation::AllCrashed,
        }
    }

    fn no_majority(&self) -> Situation {
        let waiting = self.here().filter(|(_, view, _)| view.lacks_majority());
        let mut parts: Vec<&[Box<str>]> = waiting.clone().map(|(_, view, _)| view.group.members.as_slice()).collect();
        parts.sort_unstable();
        parts.dedup();
        // Addresses that nobody has configured can be the same word at every node.
        let more_than_one = waiting.clone().any(|(_, view, _)| waiting.clone().count() > view.group.size as usize);
        match parts.len() {
            0 if self.of_standing(Standing::Joining).next().is_some() => Situation::Joining,
            0 => Situation::Leaving,
            1 if !more_than_one => {
                Situation::NoQuorum { gone: self.gone().count() + self.missing().count(), left: waiting.count() }
            }
            1.. => Situation::SplitBrain,
        }
    }

    fn going_on(&self) -> Situation {
        let joiners: Vec<_> = self.joiners().iter().map(|node| node.configured.id).collect();
        let away = self.gone().filter(|(node, ..)| !joiners.contains(&node.configured.id));
        let left = |how: Departure| away.clone().filter(|(_, absence, _)| absence.departure == how).count();
        let missing = self.missing().filter(|node| !joiners.contains(&node.configured.id)).count();
        let is_cut_off =
            |standing| matches!(standing, Standing::NonPrimary | Standing::Disconnected | Standing::OtherView);
        let cut_off = self.here().filter(|(_, _, standing)| is_cut_off(*standing)).count();
        match (left(Departure::Lost), cut_off, left(Departure::Open), left(Departure::Stopped)) {
            (lost @ 1.., ..) => Situation::Crashed(lost),
            (_, cut_off @ 1.., ..) => Situation::CutOff(cut_off),
            (_, _, 1.., _) => Situation::Leaving,
            _ if left(Departure::OutOfReach) > 0 => Situation::OutOfReach(left(Departure::OutOfReach)),
            (.., stopped @ 1..) => Situation::Stopped(stopped),
            _ if missing > 0 => Situation::Missing(missing),
            _ if !joiners.is_empty() => Situation::Joining,
            _ => Situation::Whole,
        }
    }
}

fn presence<'a>(memory: &'a Memory, configured: &Configured<'_>) -> Presence<'a> {
    let past = memory.past(configured.id);
    let view = past.and_then(|past| past.heard.as_ref()).map(|(view, _)| view);
    let absence = past.and_then(|past| past.absence.as_ref());
    match (configured.condition, absence, view, past.and_then(|past| past.standing())) {
        (Condition::Down, Some(absence), Some(view), _) => Presence::Gone(absence, view),
        (Condition::Down, _, None, _) => Presence::Missing,
        (_, _, Some(view), Some(standing)) => Presence::Here(view, standing),
        _ => Presence::Unheard,
    }
}

impl Node<'_> {
    /// Its name and address, for sentences.
    pub(super) fn label(&self) -> String {
        format!("{} ({})", self.configured.name, self.configured.address)
    }

    /// Whether it found that its data differ from the group's.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.presence, Presence::Here(view, _) if view.state == LocalState::Broken)
    }
}
