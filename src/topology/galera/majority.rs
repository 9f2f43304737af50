//! Which view of the group counts, when nodes have different ones.
//!
//! A node that hung, or that is cut off and has not noticed, goes on saying Primary and Synced with the view it had. Only the
//! others' newer view tells. But nodes are not asked at the same moment: whoever was asked before a new view was first
//! heard of does not contradict it.

use std::collections::VecDeque;
use std::time::Instant;

use super::view::Group;

/// One node's word about its group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) group: &'a Group,
    pub(super) at: Instant,
}

/// The views of the primary component that were heard of lately, the one first heard of last at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups(VecDeque<(Group, Instant)>);

/// What the words of all nodes come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody is in a primary component.
    Nobody,
    /// This view counts.
    One(Group),
    /// Each of these has the majority of its own members: the group was made to go on twice.
    Rivals(Vec<Group>),
}

impl Groups {
    /// Takes a view in, and says whether it was not known before.
    pub(super) fn note(&mut self, group: &Group, now: Instant) -> bool {
        if self.0.iter().any(|(known, _)| known == group) {
            return false;
        }
        if self.0.len() == GROUPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((group.clone(), now));
        true
    }

    /// Whether a word was heard before the newest view was: then it does not speak against that.
    pub(super) fn is_outdated(&self, at: Instant) -> bool {
        self.0.back().is_some_and(|(_, first)| at < *first)
    }

    /// The view that most of its own members are known to share, by words that could have been others; else the newest.
    ///
    /// Members are counted by the size that the nodes themselves say, so arbitrators and nodes that are not configured count.
    pub(super) fn verdict(&self, words: &[Word<'_>]) -> Verdict {
        let mut distinct: Vec<&Group> = Vec::new();
        for word in words {
            if !distinct.contains(&word.group) {
                distinct.push(word.group);
            }
        }
        let has_majority = |group: &&Group| {
            let sharers = words.iter().filter(|word| word.group == *group && !self.is_outdated(word.at)).count();
            sharers * 2 > group.size as usize
        };
        let certain: Vec<&Group> = distinct.iter().copied().filter(has_majority).collect();
        match certain.as_slice() {
            [] => distinct
                .into_iter()
                .reduce(|one, other| self.newer(one, other))
                .map_or(Verdict::Nobody, |newest| Verdict::One(newest.clone())),
            [one] => Verdict::One((*one).clone()),
            several => Verdict::Rivals(several.iter().map(|&group| group.clone()).collect()),
        }
    }

    /// Numbers grow within one life of the group; where they cannot be compared, what was first heard of later is newer.
    fn newer<'a>(&self, one: &'a Group, other: &'a Group) -> &'a Group {
        let first = |group: &Group| self.0.iter().position(|(known, _)| known == group);
        let is_newer = match one.history == other.history {
            true => other.number > one.number,
            false => first(other) > first(one),
        };
        if is_newer { other } else { one }
    }
}

/// More changes of the group than that are forgotten.
const GROUPS_MAX: usize = 16;
