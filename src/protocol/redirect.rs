//! How a server tells a client to connect somewhere else.
//!
//! Two ways are known, and neither is a packet of its own: an error whose message has the address behind words for
//! people (MDEV-34009, "instant failover"), and the session variable `redirect_url` (MariaDB 11.3, MDEV-15935).

use std::{fmt, str};

use super::error_code::ErrorCode;

/// Codes of such an error: ER_INSTANT_FAILOVER as it was first proposed, and as a later branch of the connector has it.
/// In released servers both mean something else, so the form of the message has to be right, too.
pub const INSTANT_FAILOVER_CODES: [ErrorCode; 2] = [ErrorCode(4196), ErrorCode(4200)];

/// Where a client is to connect to.
///
/// Invariant: the host has 1 to 253 letters, digits, `.`, `-` and `_`, and no `:`, at which clients part it from the port;
/// the port is not 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    host: String,
    port: u16,
}

impl Target {
    /// A host and a port, if clients can be told of them.
    pub fn new(host: &str, port: u16) -> Option<Target> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_host = (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(is_of_name);
        (is_host && port > 0).then(|| Target { host: host.to_owned(), port })
    }

    /// Reads `host` or `host:port`.
    fn parse(text: &str) -> Option<Target> {
        let Some((host, port)) = text.split_once(':') else { return Target::new(text, DEFAULT_PORT) };
        // `parse` would take a sign.
        let digits = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        Target::new(host, digits?.parse().ok()?)
    }

    /// A name or an IPv4 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

/// The message of an error that sends a client to `target`. `words` are for people and have no `|`.
pub fn message(words: &str, target: &Target) -> Vec<u8> {
    debug_assert!(!words.contains('|'), "a client would look for the address in the words");
    format!("|{words}|{target}").into_bytes()
}

/// The variable by which a server tells clients to go elsewhere, in a tracker of an OK packet.
pub const REDIRECT_URL: &[u8] = b"redirect_url";

/// The value of `redirect_url` that sends a client to `target`. Connectors do not take one that ends with a slash.
pub fn url(target: &Target) -> String {
    format!("mariadb://{target}")
}

/// Where a value of `redirect_url` sends to, if it does.
pub fn target_of_url(url: &[u8]) -> Option<Target> {
    let url = str::from_utf8(url).ok()?;
    Target::parse(url.strip_prefix("mariadb://").or_else(|| url.strip_prefix("mysql://"))?)
}

/// Where an error's message sends to, if it has the form of such a message.
pub fn target_of_message(message: &[u8]) -> Option<Target> {
    let (_, target) = str::from_utf8(message).ok()?.strip_prefix('|')?.split_once('|')?;
    Target::parse(target)
}

/// The longest host name that DNS knows.
const HOST_BYTES_MAX: usize = 253;

/// Where an address without a port leads.
const DEFAULT_PORT: u16 = 3306;

/// Fuzz entry: whatever is understood is written in a form that is understood again.
pub fn fuzz_redirect(bytes: &[u8]) {
    if let Some(target) = target_of_message(bytes) {
        assert_eq!(target_of_message(&message("", &target)), Some(target));
    }
    if let Some(target) = target_of_url(bytes) {
        assert_eq!(target_of_url(url(&target).as_bytes()), Some(target));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(message: &str, expected: Option<(&str, u16)>) {
        let found = target_of_message(message.as_bytes());
        assert_eq!(found.as_ref().map(|target| (target.host(), target.port())), expected, "{message}");
    }

    #[test]
    fn the_address_stands_behind_the_second_bar() {
        check("|in maintenance|lb2.example.com:3307", Some(("lb2.example.com", 3307)));
        check("||10.0.0.2:1", Some(("10.0.0.2", 1)));
        check("|no port|lb_2", Some(("lb_2", 3306)));
    }

    #[test]
    fn another_message_sends_nowhere() {
        for message in [
            "",
            "|",
            "||",
            "Unknown database 'a|b|c:1'",
            "|in maintenance|",
            "|in maintenance|:3306",
            "|in maintenance|lb2:",
            "|in maintenance|lb2:0",
            "|in maintenance|lb2:+1",
            "|in maintenance|lb2:65536",
            "|in maintenance|lb2:1:2",
            "|in maintenance|[::1]:3306",
            "|in maintenance|lb 2:3306",
            "|in maintenance|lb2|lb3:3306",
        ] {
            check(message, None);
        }
        assert_eq!(target_of_message(b"|\xff|lb2:1"), None);
        assert_eq!(target_of_message(format!("||{}:1", "x".repeat(254)).as_bytes()), None);
    }

    #[test]
    fn a_target_is_told_as_it_is_read() {
        let target = Target::new("lb2", 3307).expect("a host and a port");
        assert_eq!(message("in maintenance", &target), b"|in maintenance|lb2:3307");
        assert_eq!(target_of_message(&message("in maintenance", &target)), Some(target));
    }

    #[test]
    fn a_url_is_told_as_it_is_read() {
        let target = Target::new("lb2", 3307).expect("a host and a port");
        assert_eq!(url(&target), "mariadb://lb2:3307");
        assert_eq!(target_of_url(b"mariadb://lb2:3307"), Some(target.clone()));
        assert_eq!(target_of_url(b"mysql://lb2:3307"), Some(target));
        assert_eq!(target_of_url(b"mysql://lb2").map(|target| target.port()), Some(3306));
        for url in
            [&b""[..], b"lb2:3307", b"mariadb://", b"mariadb://lb2:3307/", b"http://lb2:3307", b"mariadb://u@lb2:1"]
        {
            assert_eq!(target_of_url(url), None, "{}", url.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn hostile_messages_are_no_trouble(bytes: Vec<u8>) {
            fuzz_redirect(&bytes);
            fuzz_redirect(&[b"|x|", &bytes[..]].concat());
            fuzz_redirect(&[b"mariadb://", &bytes[..]].concat());
        }
    }
}
