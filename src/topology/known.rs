//! The configured servers and what is believed of each, found by its id or its cluster without a look at all the others: there
//! may be a thousand of them, and each is checked several times a second.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use super::registry::Registered;
use super::standing::{Member, Standing};
use super::writer::ServerRole;
use super::{
    Belief, Condition, Contact, Endpoint, Fitness, Health, Registry, ServerEntry, ServerId, Service, Thresholds,
};
use crate::config::{Cluster, ClusterIndex, Config, Server, ServerAddress};

/// All servers of a configuration, in its order: one cluster after the other.
///
/// Invariant: `clusters` is parallel to the clusters of the configuration and has the places of each one's servers; `places`
/// has the place of every server.
#[derive(Debug, Default)]
pub(super) struct Servers {
    known: Vec<Known>,
    clusters: Vec<Range<usize>>,
    places: HashMap<ServerId, usize>,
}

/// One server and what is believed of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) registered: Registered,
    pub(super) cluster: ClusterIndex,
    pub(super) name: Arc<str>,
    address: ServerAddress,
    pub(super) thresholds: Thresholds,
    pub(super) belief: Belief,
    pub(super) contact: Option<Contact>,
    /// What an operator wants of it.
    pub(super) service: Service,
    /// What follows from all that was heard in its cluster.
    pub(super) standing: Standing,
}

impl Servers {
    /// The servers of `config`, with what `old` knew of them.
    pub(super) fn new(config: &Config, registry: &mut Registry, old: Servers, now: Instant) -> Servers {
        let mut old: HashMap<ServerId, Known> = old.known.into_iter().map(|known| (known.id(), known)).collect();
        let mut servers = Servers::default();
        for (index, cluster) in config.clusters.iter().enumerate() {
            let first = servers.known.len();
            for server in &cluster.servers {
                let new = Known::new(ClusterIndex(index), cluster, server, registry, now);
                let same = old.remove(&new.id());
                servers.places.insert(new.id(), servers.known.len());
                servers.known.push(new.remember(same));
            }
            servers.clusters.push(first..servers.known.len());
        }
        servers
    }

    pub(super) fn iter(&self) -> slice::Iter<'_, Known> {
        self.known.iter()
    }

    pub(super) fn get(&self, id: ServerId) -> Option<&Known> {
        self.places.get(&id).map(|&place| &self.known[place])
    }

    pub(super) fn get_mut(&mut self, id: ServerId) -> Option<&mut Known> {
        self.places.get(&id).map(|&place| &mut self.known[place])
    }

    /// The servers of a cluster.
    pub(super) fn of(&self, cluster: ClusterIndex) -> &[Known] {
        &self.known[self.clusters[cluster.0].clone()]
    }

    pub(super) fn of_mut(&mut self, cluster: ClusterIndex) -> &mut [Known] {
        &mut self.known[self.clusters[cluster.0].clone()]
    }

    /// The same, as their cluster judges them.
    pub(super) fn members<'a>(&'a self, cluster: ClusterIndex, settings: &'a Cluster) -> Vec<Member<'a>> {
        let member = |(known, server): (&'a Known, &'a Server)| Member {
            id: known.id(),
            server,
            belief: &known.belief,
            service: known.service,
        };
        self.of(cluster).iter().zip(&settings.servers).map(member).collect()
    }
}

impl Known {
    pub(super) fn id(&self) -> ServerId {
        self.registered.id
    }

    fn new(cluster: ClusterIndex, settings: &Cluster, server: &Server, registry: &mut Registry, now: Instant) -> Known {
        Known {
            registered: registry.server(&settings.name, &server.name),
            cluster,
            name: Arc::from(server.name.as_str()),
            address: server.address.clone(),
            thresholds: Thresholds {
                fall: settings.fall,
                rise: settings.rise,
                // The last check is cut short at twice its time, give or take what hearing of it takes.
                silence: settings.check_timeout * 2 - settings.check_timeout / 8,
            },
            belief: Belief::new(now),
            contact: None,
            service: Service::InUse,
            standing: Standing::new(ServerRole::Unknown),
        }
    }

    /// This server as the configuration has it now, and what was believed of it as far as it is still the same one.
    fn remember(self, old: Option<Known>) -> Known {
        match old {
            Some(old) if old.address == self.address => {
                Known { belief: old.belief, contact: old.contact, service: old.service, ..self }
            }
            Some(Known { service, .. }) => {
                self.registered.progress.note(None);
                Known { service, ..self }
            }
            None => {
                self.registered.progress.note(None);
                self
            }
        }
    }

    pub(super) fn entry(&self, server: &Server) -> ServerEntry {
        ServerEntry {
            id: self.registered.id,
            name: Arc::clone(&self.name),
            cluster: self.cluster,
            endpoint: self
                .contact
                .as_ref()
                .map(|contact| contact.endpoint.clone())
                .or_else(|| literal_endpoint(&self.address)),
            weight: server.weight,
            max_connections: server.max_connections,
            service: self.service,
            health: self.health(),
            greeting: self.contact.as_ref().map(|contact| Arc::clone(&contact.greeting)),
            load: Arc::clone(&self.registered.load),
            progress: Arc::clone(&self.registered.progress),
        }
    }

    pub(super) fn health(&self) -> Health {
        let condition = self.belief.condition();
        let Standing { role, fitness, note } = &self.standing;
        let reason = match (condition, note) {
            (Condition::Up, Some(note)) => Arc::clone(note),
            (Condition::Up, None) | (Condition::Unknown | Condition::Down, _) => Arc::clone(self.belief.reason()),
        };
        let health = Health { condition, role: *role, fitness: *fitness, reason, since: self.belief.since() };
        if self.belief.is_leaving() { leaving(health) } else { health }
    }
}

/// A server that sends its clients elsewhere gets some only where nobody else is left.
fn leaving(health: Health) -> Health {
    let reason = Arc::from("leaving: it sends its clients elsewhere");
    Health { fitness: health.fitness.min(Fitness::LastResort), reason, ..health }
}

/// The endpoint of an address that needs no look-up.
fn literal_endpoint(address: &ServerAddress) -> Option<Endpoint> {
    match address {
        ServerAddress::Tcp { host, port } => {
            let address: IpAddr = host.parse().ok()?;
            Some(Endpoint::Tcp(SocketAddr::new(address, *port)))
        }
        ServerAddress::Unix(path) => Some(Endpoint::Unix(path.clone())),
    }
}
