//! Clients that get no session: what they are told, and what the log and the counters say of them.
//!
//! A flood must not become one of lines: each worker writes at most one line a second for each reason, with the number of
//! those that it left out.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{
    io::Errno,
    protocol::{error_code::Error, packet::write_packet, response::ErrPacket},
};

use super::{counters, reception::Guest, turn::Worker};

/// Why a client gets no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// A balancer did not say whose connection it is.
    NotIntroduced { why: &'static str },
    /// Clients from there may not connect to this listener.
    NotAllowed,
    /// Too many logins from there have failed.
    FailedLogins { wait: Duration },
    /// There are as many connections from there as there may be.
    AddressFull,
    /// The process has all the sessions that it may have, and enough of those that are told so after their login.
    Full,
}

/// Names of the reasons, for counters; `TurnedAway::index` is a place here. The last is counted where clients are
/// accepted: there is no descriptor left to take one in.
pub const REASONS: [&str; 6] =
    ["proxy_header", "not_allowed", "failed_logins", "connections_per_address", "max_sessions", "no_descriptor"];

/// The place of `no_descriptor`.
const NO_DESCRIPTOR: usize = 5;

impl TurnedAway {
    fn index(self) -> usize {
        match self {
            TurnedAway::NotIntroduced { .. } => 0,
            TurnedAway::NotAllowed => 1,
            TurnedAway::FailedLogins { .. } => 2,
            TurnedAway::AddressFull => 3,
            TurnedAway::Full => 4,
        }
    }

    /// What the client is told in place of a greeting; nothing, where nobody would understand.
    fn words(self, host: Option<IpAddr>) -> Option<ErrPacket> {
        let host = host.map_or("localhost".to_owned(), |host| host.to_string());
        let (error, message) = match self {
            TurnedAway::NotIntroduced { .. } => return None,
            TurnedAway::NotAllowed => {
                (Error::HOST_NOT_ALLOWED, format!("Host '{host}' is not allowed to connect to this server"))
            }
            TurnedAway::FailedLogins { wait } => {
                let seconds = wait.as_secs() + 1;
                let message =
                    format!("Host '{host}' is blocked because of many failed logins; try again in {seconds} seconds");
                (Error::HOST_BLOCKED, message)
            }
            TurnedAway::AddressFull => (Error::TOO_MANY_CONNECTIONS, format!("Too many connections from '{host}'")),
            TurnedAway::Full => return Some(too_many()),
        };
        // Before the greeting an error has no SQL state.
        Some(ErrPacket { state: None, ..ErrPacket::new(error, message) })
    }
}

fn too_many() -> ErrPacket {
    ErrPacket { state: None, ..ErrPacket::new(Error::TOO_MANY_CONNECTIONS, "Too many connections") }
}

/// The packet that a server with no place left sends in place of its greeting.
pub(super) fn no_place_left() -> Vec<u8> {
    packet(&too_many())
}

fn packet(error: &ErrPacket) -> Vec<u8> {
    let (mut payload, mut bytes) = (Vec::new(), Vec::new());
    error.encode(&mut payload);
    write_packet(&mut bytes, 0, &payload);
    bytes
}

/// When a line was last written for each reason, and how many were left out since.
#[derive(Debug, Default)]
pub(super) struct Lines([(Option<Instant>, u64); REASONS.len()]);

/// Between two lines of one reason.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

impl Lines {
    /// Whether a line may be written now, with the number of those left out before; else this one is left out.
    pub(super) fn may_write(&mut self, reason: usize, now: Instant) -> Option<u64> {
        let (last, left_out) = &mut self.0[reason];
        if last.is_some_and(|last| now < last + LINE_INTERVAL) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

impl Worker {
    /// Lets a client go that gets no session.
    pub(super) fn turn_away(&mut self, guest: Guest, origin: Option<SocketAddr>, why: TurnedAway) {
        if let Some(error) = why.words(origin.map(|origin| origin.ip())) {
            self.say_and_close(&guest, &packet(&error));
        }
        self.shut(guest.socket);
        self.strike_out();
        counters::add(&self.mailbox.counters.turned_away[why.index()], 1);
        let client = origin.map_or("a UNIX socket".to_owned(), |origin| origin.to_string());
        if let Some(left_out) = self.lines.may_write(why.index(), self.now) {
            let listener = self.listener_of(&guest).map_or("?", |listener| &listener.name);
            info!(reason = ?why, client, listener, left_out, "client turned away");
        }
    }

    /// The client has not said anything yet that would be lost to it by a close: what goes out is what it reads.
    fn say_and_close(&mut self, guest: &Guest, bytes: &[u8]) {
        let span = self.io.compose(bytes.len(), |room| {
            room[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        if let Some(span) = span {
            // A new socket has room for it.
            let _ = self.io.send(guest.socket, span);
        }
    }

    /// The system has no descriptor or no memory for another client. Those who wait were told so, as far as that went.
    pub(super) fn accept_failed(&mut self, key: u32, error: Errno, told: u32) {
        counters::add(&self.mailbox.counters.accepts_failed, 1);
        counters::add(&self.mailbox.counters.turned_away[NO_DESCRIPTOR], told.into());
        if let Some(left_out) = self.lines.may_write(NO_DESCRIPTOR, self.now) {
            let listener = self.listeners.get(&key).and_then(|mark| self.listener_marked(mark));
            let listener = listener.map_or("?", |listener| &listener.name);
            warn!(listener, %error, left_out, "cannot accept clients, and tells them so; raise the limit of open files");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_gets_a_line_a_second_that_says_how_many_were_left_out() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(lines.may_write(0, at(0)), Some(0));
        assert_eq!(lines.may_write(0, at(1)), None);
        assert_eq!(lines.may_write(0, at(999)), None);
        assert_eq!(lines.may_write(1, at(999)), Some(0), "each reason has lines of its own");
        assert_eq!(lines.may_write(0, at(1000)), Some(2));
        assert_eq!(lines.may_write(0, at(2000)), Some(0));
    }

    #[test]
    fn whoever_is_turned_away_reads_an_error_as_before_a_greeting() {
        let host = Some(IpAddr::from([192, 0, 2, 1]));
        let check = |why: TurnedAway, code: u16, expected: &str| {
            let bytes = packet(&why.words(host).expect("words"));
            assert_eq!(bytes[3..5], [0, 0xFF]);
            assert_eq!(u16::from_le_bytes([bytes[5], bytes[6]]), code);
            assert_eq!(std::str::from_utf8(&bytes[7..]), Ok(expected));
        };
        check(TurnedAway::NotAllowed, 1130, "Host '192.0.2.1' is not allowed to connect to this server");
        check(
            TurnedAway::FailedLogins { wait: Duration::from_millis(2500) },
            1129,
            "Host '192.0.2.1' is blocked because of many failed logins; try again in 3 seconds",
        );
        check(TurnedAway::AddressFull, 1040, "Too many connections from '192.0.2.1'");
        check(TurnedAway::Full, 1040, "Too many connections");
        assert_eq!(TurnedAway::NotIntroduced { why: "" }.words(host), None);
    }
}
