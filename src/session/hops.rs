//! Servers that send us elsewhere: in answer to a login, by an error whose message has an address.
//!
//! Such a server is leaving, and the monitor hears so. If it names another configured server of its cluster, the login
//! goes there, as long as that may serve the session; else any other server is tried. Clients never see the address: it
//! would lead them past us.

use std::sync::Arc;

use crate::{
    config::ServerAddress,
    protocol::{redirect::Target, response::ErrPacket},
    topology::{Failure, RoutingTable, ServerId},
};

use super::{ServerFacts, Session, State, Surroundings, errors};

/// The way of a login from server to server.
#[derive(Default)]
pub(super) struct Hops {
    /// Those that sent it on, in order; at most [`HOPS_MAX`] and one.
    visited: Vec<(ServerId, Arc<str>)>,
    /// Where the last one sent it.
    next: Option<ServerId>,
}

/// Servers in a row that may send a login on.
const HOPS_MAX: usize = 8;

impl Hops {
    /// Where the login is to go, if it was sent anywhere.
    pub(super) fn next(&self) -> Option<ServerId> {
        self.next
    }

    /// `from` sends the login to `target`. The error says why it does not go there.
    fn sent(&mut self, from: &ServerFacts, target: &Target, table: &RoutingTable) -> Result<(), String> {
        self.visited.push((from.id, Arc::clone(&from.name)));
        let found = self.follow(from, target, table);
        self.next = found.as_ref().ok().copied();
        if found.is_err() {
            self.visited.clear();
        }
        found.map(drop)
    }

    fn follow(&self, from: &ServerFacts, target: &Target, table: &RoutingTable) -> Result<ServerId, String> {
        let Some(next) = server_at(target, from.id, table) else {
            return Err(format!("{} sends its clients to {target}, which is no server of its cluster here", from.name));
        };
        let way: Vec<&str> = self.visited.iter().map(|(_, name)| &**name).collect();
        let way = way.join(" to ");
        if let Some((_, again)) = self.visited.iter().find(|(id, _)| *id == next) {
            return Err(format!("servers send their clients in a circle: {way} to {again}"));
        }
        if self.visited.len() > HOPS_MAX {
            return Err(format!("more than {HOPS_MAX} servers in a row send their clients on: {way}"));
        }
        Ok(next)
    }
}

/// The configured server at that address, in the cluster of another one.
fn server_at(target: &Target, beside: ServerId, table: &RoutingTable) -> Option<ServerId> {
    let cluster = table.server(table.place(beside)?).cluster;
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
        if let Err(why) = entry.hops.sent(&server, &target, surroundings.table) {
            entry.refusal = Some(errors::no_server(&why));
        }
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
