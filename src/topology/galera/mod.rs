//! Galera: which node of a cluster may be used for what, who has the writes, what has happened, and what to do about it.
//!
//! [`View`] is what a node says. `majority` tells whose view of the group counts, `standing` what a node may be used for,
//! `choice` who has the writes, `departure` how those left who are gone, `situation` what has happened, `advice` what to do.
//! `memory` holds what is remembered from one answer to the next.

mod advice;
mod choice;
mod departure;
mod majority;
mod memory;
mod situation;
mod standing;
mod view;

use std::sync::Arc;

pub use situation::Situation;
pub use view::{Connection, Desync, Group, LocalState, Queries, Readiness, Status, View};

pub(super) use memory::Memory;

use super::standing::{Member, Standing as Used};
use super::{ClusterEntry, Fitness, ServerId, ServerRole};
use crate::config::DonorReads;
use memory::{Configured, Writing};
use situation::{Picture, Presence};
use standing::Standing;

impl Memory {
    /// What each node is used for, by all that was taken in until now.
    pub(super) fn judge(&mut self, members: &[Member<'_>], donors: DonorReads) -> Vec<Used> {
        let configured: Vec<Configured<'_>> = members.iter().map(Configured::of).collect();
        self.conclude(&configured);
        let (used, entry) = judge(self, &configured, donors);
        self.said = Some(entry);
        used
    }

    /// What is to be said of the cluster.
    pub(super) fn entry(&self) -> ClusterEntry {
        self.said.clone().unwrap_or_else(|| ClusterEntry::unnamed(&[]))
    }
}

/// What each node is used for, in their order, and what is to be said of the whole cluster.
fn judge(memory: &Memory, configured: &[Configured<'_>], donors: DonorReads) -> (Vec<Used>, ClusterEntry) {
    let picture = Picture::new(memory, configured);
    let writing = memory.writing(configured);
    let judged = picture.nodes.iter().map(|node| match node.presence {
        Presence::Here(_, standing) => judged(standing, writing == Writing::At(node.configured.id), donors),
        Presence::Unheard | Presence::Missing | Presence::Gone(..) => {
            Used { role: ServerRole::Unknown, fitness: Fitness::Unfit, note: None }
        }
    });
    let is_beside = |id: &ServerId| writing != Writing::At(*id) && memory.is_written_to_steadily(*id);
    let beside: Vec<ServerId> = configured.iter().map(|node| node.id).filter(is_beside).collect();
    let alarms = advice::alarms(&picture, writing, &beside);
    let entry = ClusterEntry {
        situation: super::Situation::Galera(picture.situation()),
        alarms,
        advice: advice::steps(&picture, writing),
    };
    (judged.collect(), entry)
}

fn judged(standing: Standing, is_writer: bool, donors: DonorReads) -> Used {
    let note = Some(Arc::from(standing.to_string()));
    let fitness = match standing {
        Standing::Synced => Fitness::Fit,
        _ if standing.is_last_resort() && donors == DonorReads::Always => Fitness::Fit,
        _ if standing.is_last_resort() => Fitness::LastResort,
        Standing::Leaving => Fitness::Leaving,
        _ => Fitness::Unfit,
    };
    let role = match (is_writer, fitness) {
        (true, _) => ServerRole::Primary,
        (false, Fitness::Fit | Fitness::LastResort | Fitness::Leaving) => ServerRole::Replica,
        (false, Fitness::Unfit) => ServerRole::Unknown,
    };
    Used { role, fitness, note }
}

#[cfg(test)]
mod tests;
