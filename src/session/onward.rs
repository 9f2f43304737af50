//! MariaDB's `redirect_url` in the OK of a login: where a client goes on whose connector follows it.
//!
//! A server's own `redirect_url` never reaches a client: it would lead past us.

use crate::{
    config::{Handoff, RedirectUrl, ServerAddress},
    protocol::{
        capability::Capabilities,
        redirect::{self, REDIRECT_URL, Target},
        session_track::{self, Tracker},
    },
    topology::{Failure, RoutingTable},
};

use super::{ServerFacts, Session, Surroundings};

impl Session {
    /// Whether the client goes to another balancer by itself, if the OK of its login says so.
    pub(super) fn is_sent_by_url(&self, attributes: &[u8], table: &RoutingTable) -> bool {
        table.redirect.settings.redirect_url == RedirectUrl::Followers && self.follows(attributes, table)
    }

    fn follows(&self, attributes: &[u8], table: &RoutingTable) -> bool {
        self.capabilities.contains(Capabilities::SESSION_TRACK) && table.redirect.settings.is_follower(attributes)
    }

    /// A server that lets us in and names another one is leaving, too.
    pub(super) fn note_redirect(&mut self, of_server: Option<&[u8]>) {
        if of_server.is_some_and(sends_elsewhere) {
            self.report(Failure::Leaving);
        }
    }

    /// What the OK of a login tells of the session's state, for a client with these connection attributes.
    pub(super) fn told_at_login(
        &self,
        of_server: Option<&[u8]>,
        attributes: &[u8],
        surroundings: Surroundings<'_>,
    ) -> Option<Vec<u8>> {
        let mut trackers = of_server.map(without_redirect).unwrap_or_default();
        if let Some(target) = self.way_onward(attributes, surroundings.table) {
            session_track::append_variable(&mut trackers, REDIRECT_URL, redirect::url(&target).as_bytes());
        }
        (!trackers.is_empty()).then_some(trackers)
    }

    /// Where the client goes on: to another balancer, or to the server that was chosen for it.
    fn way_onward(&self, attributes: &[u8], table: &RoutingTable) -> Option<Target> {
        if !self.follows(attributes, table) {
            return None;
        }
        if let Some(target) = table.redirect.target_for(self.entrance) {
            return (table.redirect.settings.redirect_url == RedirectUrl::Followers).then(|| target.clone());
        }
        let user = table.user_config(table.user(self.user()?)?);
        match user.handoff {
            Handoff::Never => None,
            Handoff::ToServer => target_at(self.server.as_ref()?, table),
        }
    }
}

/// A server as its clients know it, if they can be told of it.
fn target_at(server: &ServerFacts, table: &RoutingTable) -> Option<Target> {
    let entry = table.server(table.place(server.id)?);
    let servers = &table.config.cluster(entry.cluster).servers;
    match &servers.iter().find(|configured| *configured.name == *entry.name)?.address {
        ServerAddress::Tcp { host, port } => Target::new(host, *port),
        ServerAddress::Unix(_) => None,
    }
}

/// Trackers but for a server's `redirect_url`.
fn without_redirect(trackers: &[u8]) -> Vec<u8> {
    session_track::filtered(trackers, |tracker| url_in(tracker).is_none())
}

/// A server's `redirect_url` leads somewhere; it is empty where there is no other server.
fn sends_elsewhere(trackers: &[u8]) -> bool {
    let mut trackers = session_track::iterate(trackers).flatten();
    trackers.any(|tracker| url_in(&tracker).and_then(redirect::target_of_url).is_some())
}

fn url_in<'a>(tracker: &Tracker<'a>) -> Option<&'a [u8]> {
    let Tracker::SystemVariables(changes) = tracker else { return None };
    changes.iterate().find(|(name, _)| *name == REDIRECT_URL).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
