//! Why a connection of the load generator did not get what it asked for.

use std::{fmt, io};

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
            Fault::NoReply => write!(f, "no reply"),
        }
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
