//! Servers outside of the configuration, to which configured ones have sent sessions (`follow_redirects = "any"`).
//!
//! A worker asks where such an address is ([`Outside::look_up`]); a name is looked up on the control thread
//! ([`resolve_on`]), and what came of that is believed for a while. Each address gets a number of its own, by which a `KILL`
//! from any worker finds it. Nobody asks these servers for their health: a session goes there because it was sent.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::config::limits::{OUTSIDE_NAMES_MAX, OUTSIDE_SERVERS_MAX};
use crate::protocol::redirect::Target;
use crate::topology::{ServerId, ServerLoad};

/// How long a look-up is believed, whatever came of it.
const FRESH: Duration = Duration::from_secs(10);

/// How long the look-up of a name may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that is not configured.
#[derive(Debug)]
pub struct OutsideServer {
    /// Never that of another one.
    pub id: ServerId,
    /// As it was named by who sent sessions here.
    pub target: Target,
    /// Where that is.
    pub address: SocketAddr,
    /// The configured server that sent sessions here: it is spoken to as that one is.
    pub sent_by: ServerId,
    /// Connections to it.
    pub load: Arc<ServerLoad>,
}

/// What is known of an address.
#[derive(Debug)]
pub enum Look {
    /// Connect there.
    Found(Arc<OutsideServer>),
    /// Nobody can go there; the text says why.
    Nowhere(String),
    /// Its name is being looked up: the workers are woken when that is over.
    Later,
}

/// What is known outside of the configuration, for all workers.
#[derive(Debug, Default)]
pub struct Outside {
    known: Mutex<Known>,
    /// Somebody wants a name to be looked up.
    wanted: Notify,
}

/// Invariant: at most `OUTSIDE_NAMES_MAX` names and `OUTSIDE_SERVERS_MAX` servers.
#[derive(Debug, Default)]
struct Known {
    names: Vec<Name>,
    servers: Vec<Arc<OutsideServer>>,
    /// Servers so far.
    count: u32,
}

#[derive(Debug)]
struct Name {
    host: String,
    found: Found,
}

#[derive(Debug, Clone)]
enum Found {
    /// Nobody has begun to look.
    Wanted,
    /// Somebody looks.
    Sought,
    /// So it was at that moment.
    Answer(Result<IpAddr, String>, Instant),
}

impl Outside {
    /// The server at an address to which `sent_by` has sent a session.
    pub fn look_up(&self, target: &Target, sent_by: ServerId, now: Instant) -> Look {
        let mut known = self.known();
        let address = match target.host().parse::<IpAddr>() {
            Ok(address) => Ok(address),
            Err(_) => match known.name(target.host(), now) {
                Ok(Found::Answer(answer, _)) => answer,
                Ok(Found::Wanted | Found::Sought) => {
                    self.wanted.notify_one();
                    return Look::Later;
                }
                Err(full) => Err(full),
            },
        };
        let server = address.and_then(|address| known.server(target, SocketAddr::new(address, target.port()), sent_by));
        server.map_or_else(Look::Nowhere, Look::Found)
    }

    /// A server by its number.
    pub fn server(&self, id: ServerId) -> Option<Arc<OutsideServer>> {
        self.known().servers.iter().find(|server| server.id == id).map(Arc::clone)
    }

    fn take_wanted(&self) -> Vec<String> {
        let mut known = self.known();
        let wanted = known.names.iter_mut().filter(|name| matches!(name.found, Found::Wanted));
        let taken = wanted.map(|name| {
            name.found = Found::Sought;
            name.host.clone()
        });
        taken.collect()
    }

    fn put(&self, host: &str, answer: Result<IpAddr, String>, now: Instant) {
        if let Some(name) = self.known().names.iter_mut().find(|name| name.host == host) {
            name.found = Found::Answer(answer, now);
        }
    }

    /// It is whole between any two calls, so that one that panicked has left nothing half done.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What is known of a name; one that nobody has looked up of late is wanted from now on. The error says why it is not.
    fn name(&mut self, host: &str, now: Instant) -> Result<Found, String> {
        let is_old =
            |found: &Found| matches!(found, Found::Answer(_, at) if now.saturating_duration_since(*at) >= FRESH);
        if let Some(name) = self.names.iter_mut().find(|name| name.host == host) {
            if is_old(&name.found) {
                name.found = Found::Wanted;
            }
            return Ok(name.found.clone());
        }
        if self.names.len() == OUTSIDE_NAMES_MAX {
            self.names.retain(|name| !is_old(&name.found));
        }
        if self.names.len() == OUTSIDE_NAMES_MAX {
            return Err(format!("{OUTSIDE_NAMES_MAX} other names are being looked up"));
        }
        self.names.push(Name { host: host.to_owned(), found: Found::Wanted });
        Ok(Found::Wanted)
    }

    fn server(
        &mut self,
        target: &Target,
        address: SocketAddr,
        sent_by: ServerId,
    ) -> Result<Arc<OutsideServer>, String> {
        let is_it = |server: &&Arc<OutsideServer>| {
            (&server.target, server.address, server.sent_by) == (target, address, sent_by)
        };
        if let Some(server) = self.servers.iter().find(is_it) {
            return Ok(Arc::clone(server));
        }
        if self.servers.len() == OUTSIDE_SERVERS_MAX {
            self.servers.retain(|server| server.load.connections() > 0);
        }
        if self.servers.len() == OUTSIDE_SERVERS_MAX {
            return Err(format!("sessions are at {OUTSIDE_SERVERS_MAX} other addresses outside of the configuration"));
        }
        let id = ServerId::outside(self.count).ok_or("no numbers are left for servers outside of the configuration")?;
        self.count += 1;
        let server = OutsideServer { id, target: target.clone(), address, sent_by, load: Arc::default() };
        self.servers.push(Arc::new(server));
        Ok(Arc::clone(self.servers.last().expect("it was just put there")))
    }
}

/// Looks up the names that are wanted, for as long as the process runs. `wake` is called after each.
pub async fn resolve_on(outside: Arc<Outside>, wake: impl Fn() + Clone + Send + 'static) {
    loop {
        outside.wanted.notified().await;
        for host in outside.take_wanted() {
            let (outside, wake) = (Arc::clone(&outside), wake.clone());
            // Side by side: one that nobody answers for must not keep the others waiting.
            tokio::spawn(async move {
                let answer = resolve(&host).await;
                outside.put(&host, answer, Instant::now());
                wake();
            });
        }
    }
}

/// Of several addresses the first of IPv4: servers that listen on both have that, and others have nothing else.
async fn resolve(host: &str) -> Result<IpAddr, String> {
    match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 0))).await {
        Ok(Ok(addresses)) => {
            let first = addresses.map(|address| address.ip()).min_by_key(IpAddr::is_ipv6);
            first.ok_or_else(|| format!("{host} has no address"))
        }
        Ok(Err(error)) => Err(format!("{host} cannot be looked up: {error}")),
        Err(_) => Err(format!("{host} cannot be looked up within {PATIENCE:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: ServerId = ServerId(3);

    fn target(host: &str) -> Target {
        Target::new(host, 3306).expect("a target")
    }

    fn found(look: Look) -> Arc<OutsideServer> {
        match look {
            Look::Found(server) => server,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_has_one_number_for_each_who_sends_there() {
        let (outside, now) = (Outside::default(), Instant::now());
        let first = found(outside.look_up(&target("10.0.0.9"), SENDER, now));
        assert_eq!(first.address, "10.0.0.9:3306".parse().expect("an address"));
        assert_eq!(found(outside.look_up(&target("10.0.0.9"), SENDER, now)).id, first.id);
        let other = found(outside.look_up(&target("10.0.0.9"), ServerId(4), now));
        assert!(other.id != first.id && other.id.is_outside() && first.id.is_outside());
        assert_eq!(outside.server(other.id).map(|server| server.sent_by), Some(ServerId(4)));
    }

    #[test]
    fn there_are_no_more_servers_than_the_bound_and_who_is_in_use_stays() {
        let (outside, now) = (Outside::default(), Instant::now());
        let address = |index: usize| target(&format!("10.0.{}.{}", index / 256, index % 256));
        let used = found(outside.look_up(&address(0), SENDER, now));
        let place = used.load.reserve(0);
        for index in 1..=OUTSIDE_SERVERS_MAX {
            found(outside.look_up(&address(index), SENDER, now));
        }
        assert!(outside.server(used.id).is_some());
        drop(place);

        let places: Vec<_> = (0..OUTSIDE_SERVERS_MAX)
            .map(|index| found(outside.look_up(&address(index), SENDER, now)).load.reserve(0))
            .collect();
        let look = outside.look_up(&target("10.9.9.9"), SENDER, now);
        assert!(matches!(&look, Look::Nowhere(why) if why.contains("other addresses")), "{look:?}");
        drop(places);
        found(outside.look_up(&target("10.9.9.9"), SENDER, now));
    }

    #[test]
    fn a_name_is_looked_up_once_and_again_when_that_is_old() {
        let (outside, now) = (Outside::default(), Instant::now());
        let look_up = |now| outside.look_up(&target("lb2"), SENDER, now);
        assert!(matches!(look_up(now), Look::Later) && matches!(look_up(now), Look::Later));
        assert_eq!(outside.take_wanted(), ["lb2"]);
        assert!(outside.take_wanted().is_empty() && matches!(look_up(now), Look::Later), "somebody looks");
        outside.put("lb2", Err("nobody knows lb2".to_owned()), now);
        assert!(matches!(look_up(now), Look::Nowhere(why) if why == "nobody knows lb2"));
        assert!(matches!(look_up(now + FRESH), Look::Later));
        outside.put("lb2", Ok(IpAddr::from([10, 0, 0, 2])), now + FRESH);
        assert_eq!(found(look_up(now + FRESH)).address.ip(), IpAddr::from([10, 0, 0, 2]));
    }

    #[test]
    fn no_more_names_are_looked_up_at_once_than_the_bound() {
        let (outside, now) = (Outside::default(), Instant::now());
        let name = |index: usize| target(&format!("lb{index}"));
        for index in 0..OUTSIDE_NAMES_MAX {
            assert!(matches!(outside.look_up(&name(index), SENDER, now), Look::Later));
        }
        let one_more = || outside.look_up(&name(OUTSIDE_NAMES_MAX), SENDER, now + FRESH);
        assert!(matches!(one_more(), Look::Nowhere(_)));
        outside.put("lb0", Ok(IpAddr::from([10, 0, 0, 2])), now);
        assert!(matches!(one_more(), Look::Later), "the old one has made room");
    }

    #[tokio::test]
    async fn a_name_is_looked_up_on_the_control_thread() {
        let outside = Arc::new(Outside::default());
        let (woken, mut waking) = tokio::sync::mpsc::unbounded_channel();
        let resolving = tokio::spawn(resolve_on(Arc::clone(&outside), move || woken.send(()).expect("somebody waits")));
        let look_up = || outside.look_up(&target("localhost"), SENDER, Instant::now());
        assert!(matches!(look_up(), Look::Later));
        waking.recv().await.expect("it wakes");
        assert!(found(look_up()).address.ip().is_loopback());
        resolving.abort();
    }
}
