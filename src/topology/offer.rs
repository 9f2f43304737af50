//! What is promised to clients in the greeting, before it is known who they are and where they will go.
//!
//! A promise must hold at every server a session may reach: bytes are relayed as they are, so both ends must have
//! agreed on the same form of them.

use super::GreetingFacts;
use crate::protocol::auth::Plugin;
use crate::protocol::capability::Capabilities;
use crate::protocol::collation;
use crate::protocol::version::Family;

/// The greeting that clients get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What every known server can do and the relay understands.
    pub capabilities: Capabilities,
    /// As configured, or that of the oldest server.
    pub version: Vec<u8>,
    /// The low byte of the default collation.
    pub collation: u8,
    /// The plugin that clients should begin with.
    pub plugin: Plugin,
}

impl Offer {
    /// What holds for all `servers`. `version` is that of the configuration.
    pub(super) fn new<'a>(version: Option<&str>, servers: impl Iterator<Item = &'a GreetingFacts> + Clone) -> Offer {
        let oldest = servers.clone().min_by_key(|facts| &facts.version);
        let version = match (version, oldest) {
            (Some(version), _) => version.as_bytes().to_vec(),
            (None, Some(oldest)) => oldest.version_text.clone(),
            (None, None) => VERSION_UNKNOWN.to_vec(),
        };
        Offer {
            capabilities: capabilities(servers.clone()),
            version,
            collation: collation(oldest, servers.clone()),
            plugin: plugin(servers),
        }
    }
}

/// What is said while no server has told its version. No session can be served then; it only decides how a client
/// logs in before it waits, so: old enough that no driver expects anything new.
const VERSION_UNKNOWN: &[u8] = b"5.7.0-sqluice";

/// What the relay does not carry, whatever the servers offer: compression hides the packet heads it follows, TLS ends
/// on each side by itself, the others change the login or concern the client alone.
const NEVER: Capabilities = Capabilities::COMPRESS
    .with(Capabilities::ZSTD_COMPRESSION)
    .with(Capabilities::SSL)
    .with(Capabilities::MULTI_FACTOR_AUTHENTICATION)
    .with(Capabilities::CAPABILITY_EXTENSION)
    .with(Capabilities::REMEMBER_OPTIONS)
    .with(Capabilities::SSL_VERIFY_SERVER_CERT);

/// What only one of the two families has in its low 32 bits, so that it is not promised before a server is known.
const MYSQL_ONLY: Capabilities = Capabilities::OPTIONAL_RESULTSET_METADATA.with(Capabilities::QUERY_ATTRIBUTES);

/// MariaDB's extended capabilities that the relay follows.
const MARIADB_ONLY: Capabilities = Capabilities::MARIADB_PROGRESS
    .with(Capabilities::MARIADB_STMT_BULK_OPERATIONS)
    .with(Capabilities::MARIADB_EXTENDED_METADATA)
    .with(Capabilities::MARIADB_CACHE_METADATA)
    .with(Capabilities::MARIADB_BULK_UNIT_RESULTS);

/// What all servers have and the relay understands.
///
/// Bit 0 speaks of the families, not of an ability: it is clear, and MariaDB's extended capabilities are offered, only
/// where every server is MariaDB.
fn capabilities<'a>(servers: impl Iterator<Item = &'a GreetingFacts> + Clone) -> Capabilities {
    let low = Capabilities::ALL_MYSQL.without(NEVER).without(Capabilities::LONG_PASSWORD);
    if servers.clone().next().is_none() {
        return low.without(MYSQL_ONLY) | Capabilities::LONG_PASSWORD;
    }
    let common = servers.clone().fold(low | MARIADB_ONLY, |common, facts| common & facts.capabilities);
    if servers.clone().all(|facts| facts.family() == Family::MariaDb) {
        common
    } else {
        common.without(MARIADB_ONLY) | Capabilities::LONG_PASSWORD
    }
}

/// That of the oldest server, where all have it.
fn collation<'a>(oldest: Option<&GreetingFacts>, mut servers: impl Iterator<Item = &'a GreetingFacts>) -> u8 {
    let wanted = oldest.map_or(collation::UTF8MB4_GENERAL_CI, |oldest| oldest.collation);
    let is_known_to_all = servers.all(|facts| collation::for_server(facts.family(), wanted) == wanted);
    if is_known_to_all { wanted } else { collation::UTF8MB4_GENERAL_CI }
}

/// Clients begin with the plugin that gives what the most demanding server asks for.
fn plugin<'a>(mut servers: impl Iterator<Item = &'a GreetingFacts>) -> Plugin {
    if servers.any(GreetingFacts::needs_cleartext) { Plugin::CachingSha2Password } else { Plugin::NativePassword }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::greeting::captured::{mariadb_10_11, mariadb_11_8, mysql_9_7};

    fn offer(servers: &[GreetingFacts]) -> Offer {
        Offer::new(None, servers.iter())
    }

    #[test]
    fn mariadb_alone_is_offered_as_it_is() {
        let offer = offer(&[mariadb_11_8(), mariadb_10_11()]);
        assert_eq!(offer.version, b"5.5.5-10.11.19-MariaDB-0+deb12u1");
        assert_eq!(offer.plugin, Plugin::NativePassword);
        assert_eq!(offer.capabilities.extended(), 0x1D, "BULK_UNIT_RESULTS is not in 10.11");
        assert!(!offer.capabilities.contains(Capabilities::LONG_PASSWORD));
        assert!(offer.capabilities.contains(Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK));
        assert!(!offer.capabilities.intersects(NEVER | MYSQL_ONLY));
    }

    #[test]
    fn mysql_alone_is_offered_with_what_only_mysql_has() {
        let offer = offer(&[mysql_9_7()]);
        assert_eq!((offer.version.as_slice(), offer.collation), (b"9.7.4-2".as_slice(), 255));
        assert_eq!(offer.plugin, Plugin::CachingSha2Password);
        assert!(offer.capabilities.contains(MYSQL_ONLY | Capabilities::LONG_PASSWORD));
        assert!(!offer.capabilities.intersects(NEVER));
    }

    #[test]
    fn a_mixed_set_is_offered_what_both_have() {
        let offer = offer(&[mysql_9_7(), mariadb_11_8()]);
        assert_eq!((offer.version.as_slice(), offer.collation), (b"9.7.4-2".as_slice(), 45));
        assert_eq!(offer.plugin, Plugin::CachingSha2Password);
        assert!(offer.capabilities.contains(Capabilities::LONG_PASSWORD | Capabilities::DEPRECATE_EOF));
        assert!(!offer.capabilities.intersects(NEVER | MYSQL_ONLY | MARIADB_ONLY));
    }

    #[test]
    fn before_a_server_is_known_only_what_all_have_is_offered() {
        let offer = offer(&[]);
        assert!(
            offer
                .capabilities
                .contains(Capabilities::PROTOCOL_41 | Capabilities::PLUGIN_AUTH | Capabilities::LONG_PASSWORD)
        );
        assert!(!offer.capabilities.intersects(NEVER | MYSQL_ONLY | MARIADB_ONLY));
    }

    #[test]
    fn a_configured_version_wins() {
        assert_eq!(Offer::new(Some("8.0.36"), [mysql_9_7()].iter()).version, b"8.0.36");
    }
}
