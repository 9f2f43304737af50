//! `[instant_failover]`: whether clients are told to connect somewhere else, who of them, and in which words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::value::Choice;
use super::{Follower, ListenAddress, Listener};
use crate::protocol::{
    attributes,
    error_code::ErrorCode,
    redirect::{self, INSTANT_FAILOVER_CODES, Target},
};

/// `[instant_failover]`
///
/// Invariant: with a mode other than [`RedirectMode::Off`] there is a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstantFailover {
    /// Who is sent elsewhere.
    pub mode: RedirectMode,
    /// Where clients are sent, or would be.
    pub target: Option<Target>,
    /// The number of the error that tells them; never 0.
    pub error_code: u16,
    /// The words for people in that error; without `|`.
    pub text: String,
    /// Whether connectors that follow one get `redirect_url` in place of the error.
    pub redirect_url: RedirectUrl,
    /// Which connectors those are.
    pub followers: Vec<Follower>,
}

/// `redirect_url` of `[instant_failover]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectUrl {
    /// Everybody gets the error.
    Off,
    /// The followers are let in, and told where to go in the OK of their login.
    Followers,
}

/// `mode` of `[instant_failover]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedirectMode {
    /// Nobody is sent elsewhere.
    Off,
    /// Clients of ordinary listeners are.
    On,
    /// Everybody is.
    All,
}

/// Which way a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// A listener for clients.
    Ordinary,
    /// An `extra` listener or a UNIX socket: only mode `"all"` closes it.
    Exempt,
}

impl fmt::Display for RedirectMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl InstantFailover {
    /// The same with what an operator commands; nothing, if clients are to be sent and nobody says where.
    pub fn commanded(&self, mode: RedirectMode, target: Option<Target>) -> Option<InstantFailover> {
        let target = target.or_else(|| self.target.clone());
        let is_possible = mode == RedirectMode::Off || target.is_some();
        is_possible.then(|| InstantFailover { mode, target, ..self.clone() })
    }

    /// Whether a client with these connection attributes does what `redirect_url` says.
    pub fn is_follower(&self, attributes: &[u8]) -> bool {
        let of_client = |name: &[u8]| attributes::find(attributes, name).unwrap_or_default();
        let (name, version) = (of_client(b"_client_name"), of_client(b"_client_version"));
        self.followers.iter().any(|follower| follower.is(name, version))
    }

    /// Where a server's error sends us, in the form of such an error. Servers may have the codes of either proposal, or
    /// the one that is configured here.
    pub fn target_in(&self, code: ErrorCode, message: &[u8]) -> Option<Target> {
        let is_known = INSTANT_FAILOVER_CODES.contains(&code) || code == ErrorCode(self.error_code);
        redirect::target_of_message(message).filter(|_| is_known)
    }

    /// Where a client is sent that came in this way, if it is.
    pub fn target_for(&self, entrance: Entrance) -> Option<&Target> {
        let is_sent = match (self.mode, entrance) {
            (RedirectMode::Off, _) | (RedirectMode::On, Entrance::Exempt) => false,
            (RedirectMode::On, Entrance::Ordinary) | (RedirectMode::All, _) => true,
        };
        self.target.as_ref().filter(|_| is_sent)
    }
}

impl Listener {
    /// What it is known by while it is open, whatever it is called then: its address, which no other has. Port 0 is not an
    /// address but a wish for one, which any number may have: there the name tells which one it is.
    pub fn mark(&self) -> String {
        match &self.address {
            ListenAddress::Tcp(wish) if wish.port() == 0 => format!("{} at {wish}", self.name),
            address => address.to_string(),
        }
    }

    /// Which way clients come in here.
    pub fn entrance(&self) -> Entrance {
        match self.address {
            ListenAddress::Tcp(_) if !self.extra => Entrance::Ordinary,
            ListenAddress::Tcp(_) | ListenAddress::Unix(_) => Entrance::Exempt,
        }
    }
}
