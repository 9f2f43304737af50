//! How a server introduced itself.

use crate::protocol::auth::Plugin;
use crate::protocol::capability::Capabilities;
use crate::protocol::version::{Family, ServerVersion};

/// What a server's greeting says of it, as far as it matters beyond that one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GreetingFacts {
    /// The version as the server sent it, with the `5.5.5-` that MariaDB 10 puts before it.
    pub version_text: Vec<u8>,
    /// The same, understood.
    pub version: ServerVersion,
    /// What it offers.
    pub capabilities: Capabilities,
    /// The low byte of its default collation.
    pub collation: u8,
    /// The authentication plugin that it names first.
    pub plugin: Vec<u8>,
}

impl GreetingFacts {
    /// Which of the two families it belongs to.
    pub fn family(&self) -> Family {
        self.version.family
    }

    /// Whether its accounts are likely to ask for a password in the clear, which a hash cannot give.
    ///
    /// MySQL names the plugin of its new accounts here, and since 9.0 it has none that a hash would do for.
    pub fn needs_cleartext(&self) -> bool {
        self.family() == Family::MySql && self.plugin != Plugin::NativePassword.name()
    }
}

/// The greetings of real servers, for tests.
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code, reason = "the fuzz target needs a part of it"))]
pub(crate) mod captured {
    use super::*;

    pub(crate) fn mariadb_10_11() -> GreetingFacts {
        facts("5.5.5-10.11.19-MariaDB-0+deb12u1", 0x81FF_F7FE, 0x1D, 8, "mysql_native_password")
    }

    pub(crate) fn mariadb_11_8() -> GreetingFacts {
        facts("11.8.6-MariaDB-0+deb13u1 from Debian", 0x81FF_FFFE, 0x3D, 45, "mysql_native_password")
    }

    pub(crate) fn mysql_9_7() -> GreetingFacts {
        facts("9.7.4-2", 0xDFFF_FFFF, 0, 255, "caching_sha2_password")
    }

    fn facts(version: &str, flags: u32, extended: u32, collation: u8, plugin: &str) -> GreetingFacts {
        GreetingFacts {
            version_text: version.as_bytes().to_vec(),
            version: ServerVersion::parse(version.as_bytes()).expect("a version of a real server"),
            capabilities: Capabilities::from_wire(flags, extended),
            collation,
            plugin: plugin.as_bytes().to_vec(),
        }
    }
}
