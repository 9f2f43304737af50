//! Which view of the group counts, when nodes have different ones.
//!
//! A node that hung, or that is cut off and has not noticed, goes on saying Primary and Synced with the view it had. Only the
//! others' newer view tells. But nodes are not asked at the same moment: whoever was asked before a new view was first
//! heard of does not contradict it.
//!
//! A view ends when its members go on to another. A majority elsewhere says nothing against it as long as none of them was
//! seen to go: that may be nodes which an operator made a group of their own.

use std::time::Instant;

use super::view::Group;
use crate::topology::ServerId;

/// One node's word about its group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) server: ServerId,
    pub(super) group: &'a Group,
    pub(super) at: Instant,
}

/// The views of the primary component that were heard of lately, the one first heard of last at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups(Vec<Known>);

#[derive(Debug, Clone)]
struct Known {
    group: Group,
    first: Instant,
    last: Instant,
    /// Who has ever said that it is in it.
    said_by: Vec<ServerId>,
}

/// What the words of all nodes come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody is in a primary component.
    Nobody,
    /// This view counts.
    One(Group),
    /// None of these is known to have followed another: the group was made to go on twice.
    Rivals(Vec<Group>),
}

impl Verdict {
    pub(super) fn counts(&self, group: &Group) -> bool {
        match self {
            Verdict::Nobody => false,
            Verdict::One(one) => one == group,
            Verdict::Rivals(parts) => parts.contains(group),
        }
    }
}

impl Groups {
    /// Takes in that a node is in a view, and says whether that view was not known before.
    pub(super) fn note(&mut self, server: ServerId, group: &Group, now: Instant) -> bool {
        if let Some(known) = self.0.iter_mut().find(|known| known.group == *group) {
            known.last = now;
            if !known.said_by.contains(&server) {
                known.said_by.push(server);
            }
            return false;
        }
        if self.0.len() == GROUPS_MAX {
            self.forget_one();
        }
        self.0.push(Known { group: group.clone(), first: now, last: now, said_by: vec![server] });
        true
    }

    /// The one that nobody has said for longest: a view that a node is still in must not become news again.
    fn forget_one(&mut self) {
        let oldest = self.0.iter().enumerate().min_by_key(|(_, known)| known.last);
        if let Some((place, _)) = oldest {
            self.0.remove(place);
        }
    }

    /// Whether a word was heard before the newest view was: then it does not speak against that.
    pub(super) fn is_outdated(&self, at: Instant) -> bool {
        self.0.last().is_some_and(|newest| at < newest.first)
    }

    /// Of each history the view that most of its own members are known to share, by words that could have been others; else
    /// the newest. `kept` is the view in which the writer is: it counts until a node has gone from it to another.
    ///
    /// Members are counted by the size that the nodes themselves say, so arbitrators and nodes that are not configured count.
    pub(super) fn verdict(&self, words: &[Word<'_>], kept: Option<&Group>) -> Verdict {
        let mut distinct: Vec<&Group> = Vec::new();
        for word in words {
            if !distinct.contains(&word.group) {
                distinct.push(word.group);
            }
        }
        let mut parts: Vec<&Group> = Vec::new();
        for group in &distinct {
            if parts.iter().all(|part| part.history != group.history) {
                parts.extend(self.going_on(&group.history, &distinct, words));
            }
        }
        let kept = distinct.iter().find(|group| Some(**group) == kept && !parts.contains(group));
        parts.extend(kept.filter(|group| !self.is_left(group, words)));
        match parts.as_slice() {
            [] => Verdict::Nobody,
            [one] if !is_shared_by_too_many(one, words) => Verdict::One((*one).clone()),
            several => Verdict::Rivals(several.iter().map(|&group| group.clone()).collect()),
        }
    }

    /// The views of one history that count.
    fn going_on<'a>(&self, history: &str, distinct: &[&'a Group], words: &[Word<'_>]) -> Vec<&'a Group> {
        let of_it = distinct.iter().copied().filter(|group| *group.history == *history);
        let has_majority = |group: &&Group| {
            let sharers = words.iter().filter(|word| word.group == *group && !self.is_outdated(word.at)).count();
            sharers * 2 > group.size as usize
        };
        let certain: Vec<&Group> = of_it.clone().filter(has_majority).collect();
        if !certain.is_empty() {
            return certain;
        }
        // Numbers grow within one life of the group. Who has gone from a view to another one tells what was later.
        let newest = of_it.max_by_key(|group| (!self.is_left(group, words), group.number));
        newest.into_iter().collect()
    }

    /// Whether a node that was in a view is in another one now.
    fn is_left(&self, group: &Group, words: &[Word<'_>]) -> bool {
        let known = self.0.iter().find(|known| known.group == *group);
        let was_there = |server| known.is_some_and(|known| known.said_by.contains(&server));
        words.iter().any(|word| word.group != group && was_there(word.server))
    }
}

/// More nodes than a view has members: there are two views that look alike.
pub(super) fn is_shared_by_too_many(group: &Group, words: &[Word<'_>]) -> bool {
    words.iter().filter(|word| word.group == group).count() > group.size as usize
}

/// More views than that are forgotten. Each node can be in one of its own.
const GROUPS_MAX: usize = 64;
