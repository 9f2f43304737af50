//! The accounts of a cluster's servers: who there is, from where, and what is stored of the passwords.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::limits::ACCOUNTS_MAX;
use crate::protocol::auth::Verifier;

/// Accounts by name, those of one name with the closest host first.
#[derive(Debug, Default)]
pub(super) struct Roster {
    by_name: HashMap<Box<[u8]>, Vec<Account>>,
    count: usize,
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) host: HostPattern,
    pub(super) verifier: Verifier,
}

/// From where an account may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPattern(Box<str>);

impl Roster {
    /// Takes an account in. False when there are as many as there may be.
    pub(super) fn add(&mut self, name: &[u8], account: Account) -> bool {
        if self.count >= ACCOUNTS_MAX {
            return false;
        }
        self.count += 1;
        let accounts = self.by_name.entry(name.into()).or_default();
        let place = accounts.partition_point(|other| other.host.closeness() >= account.host.closeness());
        accounts.insert(place, account);
        true
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The account that a client from `host` has, as a server finds it: that with the closest host.
    pub(super) fn find(&self, name: &[u8], host: &str) -> Option<&Account> {
        self.by_name.get(name)?.iter().find(|account| account.host.matches(host))
    }

    /// Some account, always the same one for a number while the roster does not change.
    pub(super) fn any(&self, number: usize) -> Option<&Account> {
        let names = self.by_name.len().max(1);
        self.by_name.values().nth(number % names)?.first()
    }
}

impl HostPattern {
    pub(super) fn new(pattern: &str) -> HostPattern {
        HostPattern(if pattern.is_empty() { "%" } else { pattern }.into())
    }

    /// A server takes the host without wildcards before one with them, and of these the one that has its first one furthest back.
    fn closeness(&self) -> usize {
        self.0.find(['%', '_']).unwrap_or(usize::MAX)
    }

    /// Whether a client at this address, or at `localhost`, is meant. A host with a name is nobody's: names are not looked up
    /// here, and the servers do not see the client's.
    fn matches(&self, host: &str) -> bool {
        match self.0.split_once('/') {
            Some((network, mask)) => is_in_network(host, network, mask),
            None => is_like(host.as_bytes(), self.0.as_bytes()),
        }
    }
}

/// `192.0.2.0/255.255.255.0` or, of MySQL, `192.0.2.0/24`.
fn is_in_network(host: &str, network: &str, mask: &str) -> bool {
    let (Ok(host), Ok(network)) = (host.parse(), network.parse()) else { return false };
    let (bits, host, network) = match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => (32, u128::from(host.to_bits()), u128::from(network.to_bits())),
        (IpAddr::V6(host), IpAddr::V6(network)) => (128, host.to_bits(), network.to_bits()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let mask = match (mask.parse(), mask.parse::<u32>()) {
        (Ok(IpAddr::V4(mask)), _) => u128::from(mask.to_bits()),
        (Ok(IpAddr::V6(mask)), _) => mask.to_bits(),
        (Err(_), Ok(length)) if length <= bits => !(u128::MAX.checked_shr(128 - bits + length).unwrap_or(0)),
        (Err(_), _) => return false,
    };
    host & mask == network & mask
}

/// SQL's LIKE without regard to case: `%` is any text, `_` any character. Linear in the texts but for one step back.
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Where to go on if the last `%` has to take one more.
    let mut again = None;
    while at < text.len() {
        match pattern.get(of) {
            Some(b'%') => {
                again = Some((at, of + 1));
                of += 1;
            }
            Some(wanted) if *wanted == b'_' || wanted.eq_ignore_ascii_case(&text[at]) => {
                (at, of) = (at + 1, of + 1);
            }
            Some(_) | None => match again {
                Some((from, behind)) => {
                    again = Some((from + 1, behind));
                    (at, of) = (from + 1, behind);
                }
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|rest| *rest == b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(host: &str, mark: u8) -> Account {
        Account { host: HostPattern::new(host), verifier: Verifier::DoubleSha1([mark; 20]) }
    }

    #[test]
    fn hosts_are_matched_as_servers_do() {
        let check = |pattern: &str, host: &str, expected| {
            assert_eq!(HostPattern::new(pattern).matches(host), expected, "{host} by {pattern}");
        };
        check("%", "10.0.0.7", true);
        check("", "10.0.0.7", true);
        check("localhost", "localhost", true);
        check("LocalHost", "localhost", true);
        check("localhost", "127.0.0.1", false);
        check("10.0.%", "10.0.0.7", true);
        check("10.0.%", "10.1.0.7", false);
        check("10.0.0._", "10.0.0.7", true);
        check("10.0.0._", "10.0.0.70", false);
        check("%.0.7", "10.0.0.7", true);
        check("1%0%7", "10.0.0.7", true);
        check("1%0%8", "10.0.0.7", false);
        check("10.0.0.0/255.255.255.0", "10.0.0.7", true);
        check("10.0.0.0/255.255.255.0", "10.0.1.7", false);
        check("10.0.0.0/24", "10.0.0.7", true);
        check("10.0.0.0/24", "10.0.1.7", false);
        check("0.0.0.0/0", "10.0.1.7", true);
        check("10.0.0.7/32", "10.0.0.7", true);
        check("10.0.0.7/32", "10.0.0.6", false);
        check("10.0.0.0/33", "10.0.0.7", false);
        check("10.0.0.0/x", "10.0.0.7", false);
        check("2001:db8::/32", "2001:db8::7", true);
        check("2001:db8::/32", "2001:db9::7", false);
        check("2001:db8::/32", "10.0.0.7", false);
        check("app.example.com", "10.0.0.7", false);
    }

    #[test]
    fn of_several_accounts_of_a_name_the_closest_counts() {
        let mut roster = Roster::default();
        for (host, mark) in [("%", 1), ("10.0.0.7", 2), ("10.%", 3), ("10.0.%", 4)] {
            assert!(roster.add(b"app", account(host, mark)));
        }
        let found = |host| roster.find(b"app", host).map(|account| account.verifier.clone());
        for (host, mark) in [("10.0.0.7", 2), ("10.0.9.9", 4), ("10.9.9.9", 3), ("192.0.2.1", 1)] {
            assert_eq!(found(host), Some(Verifier::DoubleSha1([mark; 20])), "{host}");
        }
        assert_eq!(roster.find(b"other", "10.0.0.7"), None);
        assert!(roster.any(7).is_some() && Roster::default().any(7).is_none());
    }

    #[test]
    fn there_is_a_bound() {
        let mut roster = Roster { count: ACCOUNTS_MAX - 1, ..Roster::default() };
        assert!(roster.add(b"last", account("%", 1)));
        assert!(!roster.add(b"one more", account("%", 1)));
        assert_eq!(roster.len(), ACCOUNTS_MAX);
    }
}
