//! Servers that send us elsewhere: in answer to a login, by an error whose message has an address.
//!
//! Such a server is leaving, and the monitor hears so. If it names another configured server of its cluster, the login
//! goes there, as long as that may serve the session; with `follow_redirects = "any"` it also goes to an address that is
//! not configured, where the session is an ordinary one: its reads are not split off, it shares no connections and does not
//! move. Else any other server is tried. Clients never see the address: it would lead them past us.
//!
//! A circle may also lead through other balancers, and back to this one. So each login that was sent on tells the next
//! server how often (`_sqluice_hops`), and who is told so goes on counting.

use std::sync::Arc;

use crate::{
    config::{ClusterIndex, FollowRedirects, ServerAddress},
    protocol::{attributes, redirect::Target, response::ErrPacket},
    topology::{Failure, RoutingTable, ServerId},
};

use super::{Lead, ServerFacts, Session, State, Surroundings, errors};

/// The way of a login from server to server.
#[derive(Default)]
pub(super) struct Hops {
    /// How often it was sent on before it came to us.
    before: usize,
    /// Those that sent it on, in order, the first a configured one; at most [`HOPS_MAX`] and one.
    visited: Vec<(ServerId, Arc<str>)>,
    /// Where the last one sent it.
    next: Option<Lead>,
}

/// Servers in a row that may send a login on.
const HOPS_MAX: usize = 8;

/// The connection attribute that says how often a login was sent on.
const ATTRIBUTE: &[u8] = b"_sqluice_hops";

impl Hops {
    /// Of a login with these connection attributes.
    pub(super) fn told_by(attributes: &[u8]) -> Hops {
        let told =
            attributes::find(attributes, ATTRIBUTE).and_then(|told| std::str::from_utf8(told).ok()?.parse().ok());
        // Whoever says more than can be has no hop left.
        Hops { before: told.map_or(0, |told: usize| told.min(HOPS_MAX)), ..Hops::default() }
    }

    /// Where the login is to go, if it was sent anywhere.
    pub(super) fn next(&self) -> Option<&Lead> {
        self.next.as_ref()
    }

    /// The attributes of the login for the next server.
    pub(super) fn tell(&self, attributes: &[u8]) -> Vec<u8> {
        match self.before + self.visited.len() {
            0 => attributes.to_vec(),
            count => {
                let mut told = attributes::without(attributes, ATTRIBUTE);
                attributes::append(&mut told, ATTRIBUTE, count.to_string().as_bytes());
                told
            }
        }
    }

    /// `from` sends the login to `target`. The error says why it does not go there.
    fn sent(&mut self, from: &ServerFacts, target: &Target, table: &RoutingTable) -> Result<(), String> {
        self.visited.push((from.id, Arc::clone(&from.name)));
        let found = self.follow(from, target, table);
        self.next = found.as_ref().ok().cloned();
        if found.is_err() {
            self.visited.clear();
        }
        found.map(drop)
    }

    fn follow(&self, from: &ServerFacts, target: &Target, table: &RoutingTable) -> Result<Lead, String> {
        let next = self.lead(from, target, table)?;
        let way: Vec<&str> = self.visited.iter().map(|(_, name)| &**name).collect();
        let way = way.join(" to ");
        if let Some((_, again)) = self.visited.iter().find(|visited| is_at(visited, &next)) {
            return Err(format!("servers send their clients in a circle: {way} to {again}"));
        }
        match self.before {
            before if self.visited.len() + before <= HOPS_MAX => Ok(next),
            0 => Err(format!("more than {HOPS_MAX} servers in a row send their clients on: {way}")),
            before => Err(format!(
                "more than {HOPS_MAX} servers in a row send their clients on: {way}, and {before} before this balancer; \
                 they may send them in a circle"
            )),
        }
    }

    /// Where a target leads, if it may be followed.
    fn lead(&self, from: &ServerFacts, target: &Target, table: &RoutingTable) -> Result<Lead, String> {
        let (sent_by, _) = self.visited[0];
        let Some(cluster) = table.place(sent_by).map(|place| table.server(place).cluster) else {
            return Err(format!("{} sends its clients to {target}, and is not configured any more", from.name));
        };
        match (server_at(target, cluster, table), table.config.cluster(cluster).follow_redirects) {
            (Some(server), _) => Ok(Lead::Configured(server)),
            (None, FollowRedirects::Any) => Ok(Lead::Outside { target: target.clone(), sent_by }),
            (None, FollowRedirects::Configured) => {
                Err(format!("{} sends its clients to {target}, which is no server of its cluster here", from.name))
            }
        }
    }
}

/// Whether a server that was visited is the one that a lead names.
fn is_at((id, name): &(ServerId, Arc<str>), lead: &Lead) -> bool {
    match lead {
        Lead::Configured(server) => server == id,
        Lead::Outside { target, .. } => id.is_outside() && name.eq_ignore_ascii_case(&target.to_string()),
    }
}

/// The configured server of a cluster at that address.
fn server_at(target: &Target, cluster: ClusterIndex, table: &RoutingTable) -> Option<ServerId> {
    let is_there = |address: &ServerAddress| match address {
        ServerAddress::Tcp { host, port } => host.eq_ignore_ascii_case(target.host()) && *port == target.port(),
        ServerAddress::Unix(_) => false,
    };
    let found = table.config.cluster(cluster).servers.iter().find(|server| is_there(&server.address))?;
    let mut entries = table.servers.iter().filter(|entry| entry.cluster == cluster);
    entries.find(|entry| *entry.name == *found.name).map(|entry| entry.id)
}

impl Session {
    /// A server refused a login: whether it does so because it sends its clients elsewhere.
    pub(super) fn is_sent_on(error: &ErrPacket, surroundings: Surroundings<'_>) -> bool {
        way_of(error, surroundings).is_some()
    }

    /// The server at whose door we are sends us elsewhere. `false`: it does not.
    pub(super) fn sent_on(&mut self, error: &ErrPacket, surroundings: Surroundings<'_>) -> bool {
        let (Some(target), Some(server)) = (way_of(error, surroundings), self.server.clone()) else { return false };
        let State::Entering(entry) = &mut self.state else { return false };
        let followed = entry.hops.sent(&server, &target, surroundings.table);
        entry.login.attributes = entry.hops.tell(&entry.login.attributes);
        // What the client hears if nobody else serves it.
        entry.refusal = match (followed, entry.hops.next()) {
            (Err(why), _) => Some(errors::no_server(&why)),
            (Ok(()), Some(Lead::Outside { .. })) => Some(errors::no_server(&format!(
                "{} sends its clients to {target}, where nobody lets them in",
                server.name
            ))),
            (Ok(()), Some(Lead::Configured(_)) | None) => entry.refusal.take(),
        };
        self.report(Failure::Leaving);
        self.search_on();
        true
    }
}

fn way_of(error: &ErrPacket, surroundings: Surroundings<'_>) -> Option<Target> {
    surroundings.table.redirect.settings.target_in(error.code, &error.message)
}

#[cfg(test)]
mod tests;
