//! What errors say of the server that they are about.

use std::io;

use mysql_async::{DriverError, Error, IoError};

use crate::topology::CheckResult;

/// Why the client library could not log in.
pub fn login_failure(error: Error) -> CheckResult {
    match error {
        Error::Server(error) => {
            CheckResult::LoginRefused { code: error.code, message: legible(error.message.as_bytes()) }
        }
        other => library_failure(other),
    }
}

/// What went wrong in the client library, or under it.
fn library_failure(error: Error) -> CheckResult {
    match error {
        Error::Io(IoError::Io(error)) => failure_of(&error),
        Error::Driver(DriverError::ConnectionClosed) => CheckResult::Reset,
        other => CheckResult::Malformed(legible(other.to_string().as_bytes())),
    }
}

/// What an error of a socket says of the server behind it.
pub fn failure_of(error: &io::Error) -> CheckResult {
    match error.kind() {
        // No socket at a UNIX path means that nobody listens there.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => CheckResult::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => CheckResult::Reset,
        io::ErrorKind::TimedOut => CheckResult::TimedOut,
        _ => CheckResult::Unreachable(error.to_string()),
    }
}

/// A server's words as they may stand in a log: one line, printable, not long.
pub fn legible(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(WORDS_BYTES_MAX)]);
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Of a server's message in our reasons and logs.
const WORDS_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_s_error_says_what_it_means() {
        let check = |kind: io::ErrorKind, expected| assert_eq!(failure_of(&kind.into()), expected, "{kind}");
        check(io::ErrorKind::ConnectionRefused, CheckResult::Refused);
        check(io::ErrorKind::NotFound, CheckResult::Refused);
        check(io::ErrorKind::ConnectionReset, CheckResult::Reset);
        check(io::ErrorKind::UnexpectedEof, CheckResult::Reset);
        check(io::ErrorKind::TimedOut, CheckResult::TimedOut);
        check(io::ErrorKind::HostUnreachable, CheckResult::Unreachable("host unreachable".to_owned()));
    }

    #[test]
    fn a_server_s_words_stay_on_one_line() {
        assert_eq!(legible(b"one\ntwo\x1b[31m\xff"), "one two [31m\u{fffd}");
        assert_eq!(legible(&[b'a'; 1000]).len(), WORDS_BYTES_MAX);
    }
}
