//! Why a connection of the load generator did not get what it asked for.

use std::net::{SocketAddr, ToSocketAddrs};
use std::{fmt, io};

use sqluice::protocol::error_code::ErrorCode;
use sqluice::protocol::redirect::{self, INSTANT_FAILOVER_CODES};

/// Why a connection of the load generator did not get what it asked for.
#[derive(Debug)]
pub(crate) enum Fault {
    Socket {
        doing: &'static str,
        error: io::Error,
    },
    /// The other side closed the connection.
    Closed {
        doing: &'static str,
    },
    /// An ERR packet where there should have been a reply.
    Refused {
        code: u16,
        message: String,
    },
    /// What stands in a login's place is not understood.
    StrangeLogin(String),
    /// Bytes that are not those the server sent, from this place in the reply on.
    WrongReply {
        place: usize,
        length: usize,
    },
    /// A reply of a real server that is not what the statement has to give.
    WrongShape(String),
    /// TLS began anew where an earlier session was there to go on with.
    NotResumed,
    NoReply,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Socket { doing, error } => write!(f, "{doing}: {error}"),
            Fault::Closed { doing } => write!(f, "connection closed while {doing}"),
            Fault::Refused { code, message } => write!(f, "error {code}: {message}"),
            Fault::StrangeLogin(what) => write!(f, "login: {what}"),
            Fault::WrongReply { place, length } => {
                write!(f, "reply of {length} bytes is wrong from byte {place} on")
            }
            Fault::WrongShape(what) => write!(f, "wrong reply: {what}"),
            Fault::NotResumed => write!(f, "the TLS session was not resumed"),
            Fault::NoReply => write!(f, "no reply"),
        }
    }
}

impl Fault {
    /// Where a refused login is told to go, if it is; an error if that has no address.
    pub(super) fn elsewhere(&self) -> Option<Result<SocketAddr, Fault>> {
        let Fault::Refused { code, message } = self else { return None };
        let is_known = INSTANT_FAILOVER_CODES.contains(&ErrorCode(*code));
        let target = redirect::target_of_message(message.as_bytes()).filter(|_| is_known)?;
        let found = (target.host(), target.port()).to_socket_addrs().map(|mut found| found.next());
        Some(found.ok().flatten().ok_or_else(|| Fault::StrangeLogin(format!("{target} has no address"))))
    }
}

/// What an ERR packet says.
pub(super) fn refusal(payload: &[u8]) -> Fault {
    let code = payload.get(1..3).map_or(0, |code| u16::from_le_bytes([code[0], code[1]]));
    let text = payload.get(3..).unwrap_or_default();
    // `#` and five characters of SQLSTATE stand before the message, except before the login.
    let message = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
    Fault::Refused { code, message: String::from_utf8_lossy(message).into_owned() }
}
