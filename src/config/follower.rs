//! Connectors that follow MariaDB's `redirect_url`, told by what they say of themselves when they log in.

use std::fmt;

/// `[[instant_failover.follower]]`: releases of a connector that are told of another address in the OK of their login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Its connection attribute `_client_name`.
    pub name: String,
    /// The first release that follows; absent: every one.
    pub from: Option<Release>,
    /// The first release after that which does not; absent: none.
    pub before: Option<Release>,
}

/// The numbers of a release, like 3.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release([u16; 3]);

impl Follower {
    /// Whether a client is one that calls itself so.
    pub fn is(&self, name: &[u8], version: &[u8]) -> bool {
        if name != self.name.as_bytes() {
            return false;
        }
        let Some(release) = std::str::from_utf8(version).ok().and_then(Release::parse) else {
            return self.from.is_none() && self.before.is_none();
        };
        self.from.is_none_or(|from| release >= from) && self.before.is_none_or(|before| release < before)
    }

    /// Those that follow as they come. Not here: MariaDB Connector/J from 3.5.3 on, whose login fails where it was not
    /// told to follow; MariaDB's connector for Node, whose connection breaks; MySqlConnector, which stays if not told.
    pub(super) fn known() -> Vec<Follower> {
        let follower = |name: &str, from, before| Follower { name: name.to_owned(), from: Some(from), before };
        vec![
            follower("MariaDB Connector/J", Release([3, 4, 0]), Some(Release([3, 5, 3]))),
            // What MariaDB Connector/R2DBC calls itself.
            follower("mariadb", Release([1, 2, 0]), None),
        ]
    }
}

impl Release {
    /// Reads one to three numbers with dots between them; what follows behind another character does not matter.
    pub(super) fn parse(text: &str) -> Option<Release> {
        let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
        let mut release = Release([0; 3]);
        let mut parts = text[..end].trim_end_matches('.').split('.');
        for number in &mut release.0 {
            match parts.next() {
                Some(part) => *number = part.parse().ok()?,
                None => break,
            }
        }
        (end > 0).then_some(release)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(out, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_from_what_connectors_say() {
        let check =
            |text: &str, expected| assert_eq!(Release::parse(text).map(|release| release.0), expected, "{text}");
        check("3.4.1", Some([3, 4, 1]));
        check("3.5.3-SNAPSHOT", Some([3, 5, 3]));
        check("2.4", Some([2, 4, 0]));
        check("2.4.0.0", Some([2, 4, 0]));
        check("4", Some([4, 0, 0]));
        for wrong in ["", "x", ".", "-1", "3..4", "70000"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_connector_is_known_by_its_name_and_release() {
        let known = |name: &str, version: &str| {
            Follower::known().iter().any(|follower| follower.is(name.as_bytes(), version.as_bytes()))
        };
        for (name, version, expected) in [
            ("MariaDB Connector/J", "3.3.3", false),
            ("MariaDB Connector/J", "3.4.0", true),
            ("MariaDB Connector/J", "3.5.2", true),
            ("MariaDB Connector/J", "3.5.3", false),
            ("MariaDB Connector/J", "", false),
            ("mariadb", "1.2.1", true),
            ("MariaDB connector/Node", "3.4.5", false),
            ("libmariadb", "3.4.2", false),
        ] {
            assert_eq!(known(name, version), expected, "{name} {version}");
        }
        let any = Follower { name: "mine".to_owned(), from: None, before: None };
        assert!(any.is(b"mine", b"") && !any.is(b"other", b""));
    }
}
