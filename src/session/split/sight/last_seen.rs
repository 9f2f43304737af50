//! What a session may have seen at a home that it left, or that was lost.
//!
//! A session of a user of replicas reads what its replica shows it, and nobody counts what that was. All of it is where the
//! replica is *after* the session heard from it last. One that was lost tells no more; but it had nothing that its primary
//! did not have before it, so all of it is where the primary is after the loss, too. The next home must have come as far:
//! until then the session waits.
//!
//! Nobody can be asked by a session that wrote at its replica, or where it is not certain who the primary is; and a primary
//! that has taken over since tells nothing of what the one before it had.

use std::time::Instant;

use crate::{
    config::Mobility,
    protocol::gtid::GtidPosition,
    session::{
        Session, Surroundings,
        split::{Split, lent::Lent},
    },
    topology::{RoutingTable, Seen, ServerEntry, ServerId, ServerRole},
};

use super::Needed;

/// Who can tell what a session may have seen at its last home.
#[derive(Debug)]
pub(in crate::session::split) struct LastSeen {
    /// When it saw no more of that.
    since: Instant,
    /// The home itself, where it goes on.
    home: Option<ServerId>,
    /// The primary that it followed.
    primary: Option<ServerId>,
    /// What it was last seen to have of the primary's.
    had: Option<GtidPosition>,
    /// That has been told, and counts among what the session has seen.
    is_counted: bool,
}

/// What they tell.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// All that may have been seen.
    Position(GtidPosition),
    /// Nothing yet.
    NotYet,
    /// Nobody ever will.
    Never,
}

impl LastSeen {
    /// At a home that was lost.
    fn of_lost(home: ServerId, table: &RoutingTable, now: Instant) -> LastSeen {
        let had = entry(home, table).and_then(|entry| entry.progress.last()).map(|seen| seen.applied.clone());
        LastSeen { since: now, home: None, primary: primary_of(home, table), had, is_counted: false }
    }

    /// At a home that is left while it goes on. Where roles are fixed nobody knows whom it follows.
    fn of_left(home: ServerId, mobility: Mobility, table: &RoutingTable, now: Instant) -> LastSeen {
        let primary = (mobility == Mobility::Reading).then(|| primary_of(home, table)).flatten();
        LastSeen { home: Some(home), primary, ..LastSeen::of_lost(home, table, now) }
    }

    /// What all of it comes to, by checks that were begun since.
    fn told(&self, table: &RoutingTable) -> Told {
        let primary = self.primary.filter(|primary| !has_successor(*primary, table));
        if primary.or(self.home).is_none() {
            return Told::Never;
        }
        let primary = primary.filter(|primary| is_primary(*primary, table));
        let seen = |server| entry(server, table)?.progress.last().filter(|seen| seen.asked >= self.since);
        let of_home = || self.home.and_then(seen).and_then(|seen| all_of(&seen));
        let of_primary = || primary.and_then(seen).and_then(|seen| all_of(&seen)).filter(|all| self.is_part_of(all));
        of_primary().or_else(of_home).map_or(Told::NotYet, Told::Position)
    }

    /// A replica of MySQL may have a transaction a moment before its primary counts it.
    fn is_part_of(&self, position: &GtidPosition) -> bool {
        self.had.as_ref().is_none_or(|had| position.covers(had))
    }
}

impl Split {
    /// Whether somebody will tell what the session may have seen at its home, if that is lost.
    pub(in crate::session::split) fn reads_on(&self) -> bool {
        let next_home_waits = self.replicas_wait;
        self.mobility == Mobility::Reading && (next_home_waits || !self.sight.has_written())
    }

    /// The session reads no more at a home that goes on: there, and at its primary, can be seen what it may have seen.
    pub(in crate::session::split) fn leaves_sight_of(&mut self, home: ServerId, table: &RoutingTable, now: Instant) {
        if self.mobility == Mobility::Free {
            return self.leaves_home_at(home, table);
        }
        if !self.replicas_wait {
            let left = || Box::new(LastSeen::of_left(home, self.mobility, table, now));
            self.last_seen.get_or_insert_with(left);
        }
    }

    /// Whether what the session may have seen at its home can be told at all.
    pub(in crate::session::split) fn is_seen_of(&self, home: ServerId, table: &RoutingTable) -> bool {
        let is_known = |server| entry(server, table).is_some_and(|entry| entry.progress.is_known());
        let is_exempt = self.mobility == Mobility::Free || self.replicas_wait;
        is_exempt || is_known(home) || primary_of(home, table).is_some_and(is_known)
    }

    /// Takes in what has been told of the last home. `false` if nobody will ever tell.
    pub(in crate::session::split) fn hear_of_last_home(&mut self, table: &RoutingTable) -> bool {
        let Some(last) = self.last_seen.as_deref_mut().filter(|last| !last.is_counted) else { return true };
        match last.told(table) {
            Told::Never => return false,
            Told::NotYet => {}
            Told::Position(position) => {
                last.is_counted = true;
                self.sight.left_home(position);
            }
        }
        true
    }

    /// What it is known to have written and seen, or else what its last home was last seen to have, of a session that has
    /// left one: the next home had better be there.
    pub(in crate::session::split) fn had_at_last_home(&self) -> Option<GtidPosition> {
        let last = self.last_seen.as_deref()?;
        match self.sight.needs_of_another_home() {
            Needed::Position(position) if last.is_counted => Some(position.clone()),
            Needed::Position(_) | Needed::Nothing | Needed::AnyPosition => last.had.clone(),
        }
    }

    /// Whether it is still to be told what the session may have seen.
    pub(in crate::session::split) fn awaits_word_of_last_home(&self) -> bool {
        self.last_seen.as_deref().is_some_and(|last| !last.is_counted)
    }
}

impl Session {
    /// The home is lost. `false` if the session is with that, because nobody can tell what it has seen there.
    pub(in crate::session::split) fn survives_loss(&mut self, surroundings: Surroundings<'_>) -> bool {
        let Some(home) = self.server.as_ref().map(|server| server.id) else { return true };
        let Some(split) = self.split_mut().filter(|split| split.mobility == Mobility::Reading) else { return true };
        let is_at_home = split.lent.as_deref().is_some_and(|lent| Lent::is_here(lent) && !lent.goes_back());
        if split.replicas_wait || !is_at_home || split.is_moving() {
            return true;
        }
        let lost = || Box::new(LastSeen::of_lost(home, surroundings.table, surroundings.now));
        split.last_seen.get_or_insert_with(lost);
        split.hear_of_last_home(surroundings.table)
    }
}

fn entry(server: ServerId, table: &RoutingTable) -> Option<&ServerEntry> {
    table.place(server).map(|place| table.server(place))
}

/// All that a server had when it was asked: its own history, and what it has applied.
fn all_of(seen: &Seen) -> Option<GtidPosition> {
    let mut all = seen.committed.clone()?;
    all.merge(&seen.applied).ok()?;
    Some(all)
}

/// The primary of a replica's cluster, where there is one and no other.
fn primary_of(replica: ServerId, table: &RoutingTable) -> Option<ServerId> {
    let cluster = entry(replica, table)?.cluster;
    let mut members = table.servers.iter().filter(|entry| entry.cluster == cluster && entry.id != replica);
    let primary = members.find(|entry| entry.health.role == ServerRole::Primary)?.id;
    (!has_successor(primary, table)).then_some(primary)
}

fn is_primary(server: ServerId, table: &RoutingTable) -> bool {
    entry(server, table).is_some_and(|entry| entry.health.role == ServerRole::Primary)
}

/// Whether another one is a primary of its cluster, too, or instead.
fn has_successor(primary: ServerId, table: &RoutingTable) -> bool {
    let Some(cluster) = entry(primary, table).map(|entry| entry.cluster) else { return true };
    let is_other = |other: &&ServerEntry| other.cluster == cluster && other.id != primary;
    table.servers.iter().filter(is_other).any(|other| other.health.role == ServerRole::Primary)
}
