//! MariaDB's `redirect_url` in the OK of a login, or of a command of a session that is recalled: where a client goes on
//! whose connector follows it.
//!
//! A server's own `redirect_url` never reaches a client: it would lead past us. Behind a login servers tell of it only if
//! the session itself sets it, so that says nothing of the server.

use crate::{
    config::{Handoff, RedirectUrl, ServerAddress},
    protocol::{
        capability::Capabilities,
        packet::{HEADER_LENGTH, write_packet},
        redirect::{self, REDIRECT_URL, Target},
        response::{OK_HEADER, OkPacket},
        session_track::{self, Tracker},
        status::StatusFlags,
        watch::{Event, Held, Watch},
    },
    topology::{Failure, RoutingTable},
};

use super::{ServerFacts, Session, Side, State, Step, Surroundings, exchange::Exchange, moves::Move, relay::Relay};

/// What the OK packets of a session tell of other servers.
#[derive(Debug, Default)]
pub(super) struct Onward {
    /// The session's server tells of its `redirect_url`.
    is_hidden: bool,
    /// Where the client is to go, and has not been told yet.
    due: Option<Target>,
    /// It was told with the command under way, or the last one.
    is_told: bool,
}

impl Onward {
    /// At a server that tells these trackers at the end of a login.
    pub(super) fn at(of_server: Option<&[u8]>) -> Onward {
        let is_hidden = of_server.is_some_and(|trackers| urls_in(trackers).next().is_some());
        Onward { is_hidden, ..Onward::default() }
    }

    /// Whether replies may have packets that are not passed on as they are.
    pub(super) fn is_watching(&self) -> bool {
        self.is_hidden || self.is_due()
    }

    /// Whether each OK is wanted, whatever it says.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Writes an OK that begins with `header` as the client must see it. A client is told of another server where it
    /// goes there at once: outside of a transaction, with nothing of the reply to come. Connectors do not look for that at
    /// the end of rows.
    pub(super) fn tell(&mut self, header: u8, ok: &mut OkPacket) {
        // An empty block says something, too: it stays as it is.
        if let Some(told) = ok.trackers.take_if(|told| urls_in(told).next().is_some()) {
            ok.trackers = Some(without_redirect(&told)).filter(|kept| !kept.is_empty());
        }
        let is_between = !ok.status.contains(StatusFlags::IN_TRANS) && !ok.status.contains(StatusFlags::MORE_RESULTS);
        if let Some(target) = self.due.take_if(|_| header == OK_HEADER && is_between) {
            let url = redirect::url(&target);
            session_track::append_variable(ok.trackers.get_or_insert_default(), REDIRECT_URL, url.as_bytes());
            self.is_told = true;
        }
    }
}

impl Relay {
    /// A reply's bytes, but for what its OK packets tell of other servers.
    pub(super) fn reply_onward(&mut self, bytes: &[u8]) -> Move {
        let Exchange::Busy(busy) = &mut self.exchange else { unreachable!("the caller looked at the exchange") };
        let Some(reply) = &mut busy.reply else { return Move::ServerFault };
        let watch = Watch { errors: false, changes_in_eof: false, counts: self.onward.is_due() };
        let Ok(watched) = reply.follow_watched(bytes, watch) else { return Move::ServerFault };
        match watched.event {
            Event::Progress(progress) => self.progressed(watched.consumed, progress),
            Event::Held { .. } | Event::NeedBytes { .. } if watched.consumed > 0 => {
                Move::Pass(Step::Forward { to: Side::Client, length: watched.consumed })
            }
            Event::NeedBytes { at_least } => Move::Pass(Step::NeedBytes { at_least }),
            Event::Held { length, packet } => self.held_onward(packet, &bytes[..length]),
        }
    }

    /// A whole packet that may tell of other servers.
    fn held_onward(&mut self, kind: Held, packet: &[u8]) -> Move {
        let (payload, capabilities) = (&packet[HEADER_LENGTH..], self.server_capabilities);
        let rewritten = match (kind, OkPacket::parse(payload, capabilities)) {
            (Held::Ok, Ok(mut ok)) => {
                self.onward.tell(payload[0], &mut ok);
                let mut rewritten = Vec::with_capacity(packet.len());
                ok.encode(payload[0], capabilities, &mut rewritten);
                Some(rewritten).filter(|rewritten| rewritten != payload)
            }
            (Held::Ok, Err(_)) => return Move::ServerFault,
            (Held::Eof | Held::Error | Held::Prepared, _) => None,
        };
        let Exchange::Busy(busy) = &mut self.exchange else { unreachable!("the caller looked at the exchange") };
        let followed = busy.reply.as_mut().and_then(|reply| reply.follow(packet).ok());
        let Some(followed) = followed else { return Move::ServerFault };
        let what = self.progressed(packet.len(), followed.progress);
        match rewritten {
            None => what,
            Some(payload) => {
                let mut out = Vec::with_capacity(HEADER_LENGTH + payload.len());
                write_packet(&mut out, packet[HEADER_LENGTH - 1], &payload);
                Move::Rewritten { length: packet.len(), packet: out, is_over: matches!(what, Move::Over(_)) }
            }
        }
    }
}

impl Session {
    /// Whether the client of a session that is recalled goes by itself when an OK says where to.
    pub(super) fn is_recalled_by_url(&self, table: &RoutingTable) -> bool {
        let is_at_work = matches!(self.state, State::Relay(_));
        is_at_work && self.is_follower && table.redirect.settings.redirect_url == RedirectUrl::Followers
    }

    /// The client is told where to go as soon as that can be.
    pub(super) fn tell_onward(&mut self, table: &RoutingTable) {
        if let State::Relay(relay) = &mut self.state {
            relay.onward.due = table.redirect.target_for(self.entrance).cloned();
        }
    }

    /// The client need not be told any more.
    pub(super) fn stay_here(&mut self) {
        if let State::Relay(relay) = &mut self.state {
            relay.onward.due = None;
        }
    }

    /// A command is over. Whether its client has been told with that where to go.
    pub(super) fn has_told_onward(&mut self) -> bool {
        let State::Relay(relay) = &mut self.state else { return false };
        std::mem::take(&mut relay.onward.is_told)
    }

    /// What the client said of itself when it logged in.
    pub(super) fn learn_of_client(&mut self, attributes: &[u8], table: &RoutingTable) {
        self.is_follower = self.follows(attributes, table);
    }

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
    urls_in(trackers).any(|url| redirect::target_of_url(url).is_some())
}

fn urls_in(trackers: &[u8]) -> impl Iterator<Item = &[u8]> {
    session_track::iterate(trackers).flatten().filter_map(|tracker| url_in(&tracker))
}

fn url_in<'a>(tracker: &Tracker<'a>) -> Option<&'a [u8]> {
    let Tracker::SystemVariables(changes) = tracker else { return None };
    changes.iterate().find(|(name, _)| *name == REDIRECT_URL).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
