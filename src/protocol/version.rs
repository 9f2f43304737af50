//! A server's version string: which family it belongs to, and its numbers.

use std::fmt;

/// The two servers that speak this protocol, with their differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// MySQL, Percona Server and their relatives.
    MySql,
    /// MariaDB, and Galera clusters of it.
    MariaDb,
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Family::MySql => "MySQL",
            Family::MariaDb => "MariaDB",
        })
    }
}

/// Family and numbers of a server. Versions of the same family are in order; those of two families never mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion {
    /// Who made it.
    pub family: Family,
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
    /// The third number; 0 if there is none.
    pub patch: u16,
}

impl ServerVersion {
    /// Reads a version string as it stands in the greeting; `None` without two numbers in front.
    ///
    /// MariaDB before 11.0.1 puts `5.5.5-` in front of its own version, so that old replicas do not
    /// take 10 for 1; later ones are known by the word in the string.
    pub fn parse(text: &[u8]) -> Option<ServerVersion> {
        let stripped = text.strip_prefix(b"5.5.5-");
        let is_mariadb = stripped.is_some() || memchr::memmem::find(text, b"MariaDB").is_some();
        let family = if is_mariadb { Family::MariaDb } else { Family::MySql };
        let mut numbers = stripped.unwrap_or(text).splitn(3, |byte| *byte == b'.');
        let major = leading_number(numbers.next()?)?;
        let minor = leading_number(numbers.next()?)?;
        let patch = numbers.next().and_then(leading_number).unwrap_or(0);
        Some(ServerVersion { family, major, minor, patch })
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}.{}.{}", self.family, self.major, self.minor, self.patch)
    }
}

/// The number at the start of `text`; `None` if there is none, or one that no version has.
fn leading_number(text: &[u8]) -> Option<u16> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let version = ServerVersion::parse(text.as_bytes()).map(|version| version.to_string());
        assert_eq!(version.as_deref().unwrap_or("none"), expected, "{text}");
    }

    #[test]
    fn versions_of_real_servers() {
        check("5.5.5-10.11.19-MariaDB-0+deb12u1", "MariaDB 10.11.19");
        check("11.8.6-MariaDB-0+deb13u1 from Debian", "MariaDB 11.8.6");
        check("9.7.4-2", "MySQL 9.7.4");
        check("8.0.36-28.1", "MySQL 8.0.36");
        check("5.5.5-10.6.4", "MariaDB 10.6.4");
        check("8.4", "MySQL 8.4.0");
    }

    #[test]
    fn what_is_no_version_is_none() {
        check("", "none");
        check("mysql", "none");
        check("99999999.1", "none");
    }

    #[test]
    fn versions_are_in_order() {
        let parse = |text: &str| ServerVersion::parse(text.as_bytes()).unwrap();
        assert!(parse("8.0.9") < parse("8.0.36"));
        assert!(parse("10.11.1-MariaDB") < parse("11.0.0-MariaDB"));
    }
}
