//! What of a cluster's line of writers must outlive the process. In words: names and GTIDs mean the same to the next one.
//!
//! Without it, a primary that came back after its successor took over would be taken for the primary by a process that has
//! just started, as soon as the successor is away. But between two processes nobody looked, and an operator may have made
//! the old one the primary again. So a fence that is recalled also falls when the successor takes no writes and has nothing
//! that the old one lacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::line::{Line, Replaced};
use super::memory::{Fence, Origin};
use crate::protocol::gtid::GtidHistory;
use crate::topology::standing::Member;
use crate::topology::{Condition, ServerId, Writable};

/// The pasts of clusters, by their names.
pub type Pasts = BTreeMap<String, Past>;

/// The past of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The server that was the certain primary last.
    pub writer: String,
    /// Those before it that were not seen to take no writes since, each with the GTIDs that it was seen to have.
    pub fenced: BTreeMap<String, Option<String>>,
    /// The server in whose place this balancer put the writer, until that follows it.
    #[serde(default)]
    pub replaced: Option<String>,
}

impl Line {
    /// What the next process must know; nothing before there was a primary.
    pub(in crate::topology) fn past(&self, members: &[Member<'_>]) -> Option<Past> {
        let name = |id: ServerId| members.iter().find(|member| member.id == id).map(|member| &member.server.name);
        let writer = self.writer.and_then(name)?.clone();
        let fenced = self.memories.iter().filter_map(|(id, memory)| {
            let had = memory.fence.as_ref()?.had.as_ref().map(ToString::to_string);
            Some((name(*id)?.clone(), had))
        });
        let replaced = self.replaced.filter(|replaced| Some(replaced.new) == self.writer);
        let replaced = replaced.and_then(|replaced| name(replaced.old)).cloned();
        Some(Past { writer, fenced: fenced.collect(), replaced })
    }

    /// Takes up what the process before has left. With a writer that is no longer configured it means nothing.
    pub(in crate::topology) fn recall(&mut self, members: &[Member<'_>], past: &Past) {
        let id = |name: &str| members.iter().find(|member| member.server.name == name).map(|member| member.id);
        let Some(writer) = id(&past.writer) else { return };
        self.writer = Some(writer);
        let replaced = past.replaced.as_deref().and_then(id);
        self.replaced = replaced.map(|old| Replaced { old, new: writer });
        for (name, had) in &past.fenced {
            let Some(fenced) = id(name).filter(|fenced| *fenced != writer) else { continue };
            let had = had.as_ref().and_then(|text| GtidHistory::parse(text.as_bytes()).ok()).map(Arc::new);
            self.memories.entry(fenced).or_default().fence = Some(Fence { had, origin: Origin::Recalled });
        }
    }

    /// Lets those go that were made the primary again while nobody looked.
    pub(super) fn forgive(&mut self, members: &[Member<'_>]) {
        let up = |member: &&Member<'_>| member.belief.condition() == Condition::Up;
        let writer = members.iter().filter(up).find(|member| Some(member.id) == self.writer);
        let Some(writer) = writer.filter(|writer| writer.belief.writable() == Some(Writable::No)) else { return };
        let Some(theirs) = self.memories.get(&writer.id).and_then(|memory| memory.last()).cloned() else { return };
        for member in members.iter().filter(up) {
            let Some(memory) = self.memories.get_mut(&member.id) else { continue };
            let is_recalled = memory.fence.as_ref().is_some_and(|fence| fence.origin == Origin::Recalled);
            if is_recalled && memory.last().is_some_and(|mine| mine.covers(&theirs)) {
                memory.fence = None;
            }
        }
    }
}
