//! Which node has the writes. One, so that transactions of two nodes do not undo each other at commit.
//!
//! Every balancer makes the same choice without talking to the others:
//! - Whoever has a writer keeps it while that is fit, so nothing flips back when an old one returns.
//! - Whoever has just started takes the node that is being written to: the others' choice shows in the cluster itself.
//! - Where that does not tell, or the writer is gone: the node that has run longest; all ask for the same `Uptime`. Of several
//!   that started together, the first in the configuration.
//! - Should two have chosen differently all the same, both see two nodes written to, and both take the one that comes first. Whoever
//!   chose while nobody wrote anywhere follows the first writes it sees, once.

use std::time::{Duration, Instant};

use super::standing::Standing;
use crate::config::RoleSetting;
use crate::topology::ServerId;

/// A node that may have the writes. Contenders are in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) id: ServerId,
    /// Primary or auto.
    pub(super) role: RoleSetting,
    pub(super) weight: u32,
    /// Synced, or a last resort.
    pub(super) standing: Standing,
    pub(super) started: Instant,
    /// Whether it is known if clients commit there.
    pub(super) writes_known: bool,
    pub(super) is_written_to: bool,
    pub(super) is_written_to_steadily: bool,
}

/// The choice of a balancer that has none yet.
pub(super) fn first(contenders: &[Contender]) -> Option<ServerId> {
    let fit = fit(contenders);
    let written_to: Vec<&Contender> = fit.iter().copied().filter(|contender| contender.is_written_to).collect();
    best(if written_to.is_empty() { &fit } else { &written_to })
}

/// What the choice of a writer rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ground {
    /// Nobody was seen to write anywhere; others may have chosen another one.
    #[default]
    Order,
    /// The writes of others, or a choice that all made at the same time.
    Seen,
}

/// The choice of a balancer whose writer is, or was, that one.
pub(super) fn next(contenders: &[Contender], writer: ServerId, ground: Ground) -> Option<ServerId> {
    let fit = fit(contenders);
    if fit.iter().all(|contender| contender.id != writer) {
        return best(&fit);
    }
    let mut disputed: Vec<&Contender> = fit.into_iter().filter(|contender| contender.is_written_to_steadily).collect();
    let is_written_to = disputed.iter().any(|contender| contender.id == writer);
    if disputed.is_empty() || (ground == Ground::Seen && !is_written_to) {
        disputed.extend(contenders.iter().filter(|contender| contender.id == writer));
        disputed.sort_by_key(|contender| contenders.iter().position(|other| other.id == contender.id));
    }
    foremost(&disputed)
}

/// Those in step; if nobody is, the last resorts: the last node keeps its clients. A primary that the configuration names
/// is the only choice while it is fit.
fn fit(contenders: &[Contender]) -> Vec<&Contender> {
    let of =
        |wanted: fn(&Contender) -> bool| contenders.iter().filter(|contender| wanted(contender)).collect::<Vec<_>>();
    let choices = [
        of(|contender| contender.standing == Standing::Synced && contender.role == RoleSetting::Primary),
        of(|contender| contender.standing == Standing::Synced),
        of(|_| true),
    ];
    choices.into_iter().find(|choice| !choice.is_empty()).unwrap_or_default()
}

/// The first in the configuration, which is the same for all who are at odds, while ages are heard by each at other moments. Spares
/// only where there is nobody else.
fn foremost(contenders: &[&Contender]) -> Option<ServerId> {
    contenders.iter().find(|contender| contender.weight > 0).or(contenders.first()).map(|contender| contender.id)
}

/// The first of those that have run longest. Spares only where there is nobody else.
fn best(contenders: &[&Contender]) -> Option<ServerId> {
    let has_others = contenders.iter().any(|contender| contender.weight > 0);
    let eager = contenders.iter().filter(|contender| contender.weight > 0 || !has_others);
    oldest(eager.map(|contender| (contender.id, contender.started)))
}

/// The first of those that have run longest; they come in the order of the configuration.
fn oldest(nodes: impl Iterator<Item = (ServerId, Instant)> + Clone) -> Option<ServerId> {
    let first = nodes.clone().map(|(_, started)| started).min()?;
    nodes.clone().find(|(_, started)| started.duration_since(first) < SAME_START).map(|(id, _)| id)
}

/// Nodes that started within this time are of one age: `Uptime` counts seconds, and answers come at different moments.
const SAME_START: Duration = Duration::from_secs(10);
