//! Clients that come through a balancer in front of us, until it has said whose connection it is.
//!
//! They have a socket and no session. What a header may take is bounded in bytes and by the time that a login may take, or
//! ends when others want the place (`strangers`); whoever sends none, or a wrong one, is closed without a word: it is no client
//! of MySQL's protocol that listens.

use std::net::SocketAddr;

use crate::{
    io::Span,
    protocol::proxy::{Header, PeekedHeader, peek_header},
    session::Side,
    slab::Key,
};

use super::{
    reception::Guest,
    strangers::Stranger,
    turn::{Owner, Timer, Worker},
    turning_away::TurnedAway,
};

/// A connection of a balancer.
#[derive(Debug)]
pub(super) struct Introduced {
    guest: Guest,
    balancer: SocketAddr,
    /// What it has sent so far: not yet a header, and so shorter than one may be.
    heard: Vec<u8>,
}

impl Worker {
    /// A balancer has connected: its header comes first.
    pub(super) fn await_header(&mut self, guest: Guest, balancer: SocketAddr) {
        self.make_way();
        if self.admission().is_none() {
            return self.turn_away(guest, Some(balancer), TurnedAway::Full);
        }
        let (socket, since) = (guest.socket, guest.since);
        let due = since + self.table.config.limits.login_timeout;
        let key = self.anteroom.insert(Introduced { guest, balancer, heard: Vec::new() });
        self.stranger_came(Stranger::Introduced(key), since);
        self.own(socket, Owner::Introduced(key));
        self.timers.set(due, Timer::Introduced(key));
        self.io.receive(socket);
    }

    /// A balancer says whose connection it is.
    pub(super) fn header_received(&mut self, key: Key, span: &Span) {
        let Some(introduced) = self.anteroom.get_mut(key) else { return };
        introduced.heard.extend_from_slice(span.bytes());
        match peek_header(&introduced.heard) {
            PeekedHeader::NeedBytes { .. } => {}
            PeekedHeader::Malformed(malformed) => self.not_introduced(key, malformed.field),
            PeekedHeader::Complete { header, length } => self.introduced(key, header, length),
        }
    }

    fn introduced(&mut self, key: Key, header: Header, length: usize) {
        let Some(Introduced { guest, balancer, mut heard }) = self.leave_anteroom(key) else { return };
        let socket = guest.socket;
        self.disown(socket);
        match header {
            Header::Proxied(route) => {
                let destination = guest.destination.map(|_| route.destination);
                self.seat(Guest { destination, ..guest }, Some(canonical(route.source)));
            }
            Header::Local => self.seat(guest, Some(balancer)),
        }
        heard.drain(..length);
        if let Some(Owner::Session(session, Side::Client)) = self.owner(socket).filter(|_| !heard.is_empty()) {
            if let Some(tenant) = self.tenants.get_mut(session) {
                tenant.client.inbox.push(&heard);
            }
            self.pump(session);
        }
    }

    /// The balancer has gone, or took too long.
    pub(super) fn not_introduced(&mut self, key: Key, why: &'static str) {
        let Some(Introduced { guest, balancer, .. }) = self.leave_anteroom(key) else { return };
        self.turn_away(guest, Some(balancer), TurnedAway::NotIntroduced { why });
    }

    fn leave_anteroom(&mut self, key: Key) -> Option<Introduced> {
        let introduced = self.anteroom.remove(key)?;
        self.no_stranger_any_more(Stranger::Introduced(key), introduced.guest.since);
        Some(introduced)
    }
}

/// IPv4 in IPv6's clothes as IPv4, as it is for clients that come directly.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
