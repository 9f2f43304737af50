//! All that is believed of all servers, and the routing table that follows from it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::table::Users;
use super::writer::{self, ServerRole};
use super::{
    Belief, CheckResult, Condition, Contact, Endpoint, Failure, FollowUp, Health, Registry, RoutingTable, ServerEntry,
    ServerId, ServerLoad, Thresholds,
};
use crate::config::{Cluster, ClusterIndex, Config, Server, ServerAddress};

/// What is believed of each configured server.
///
/// Invariant: `known` is parallel to the servers of `config`, one cluster after the other.
#[derive(Debug)]
pub struct Beliefs {
    config: Arc<Config>,
    registry: Registry,
    users: Arc<Users>,
    known: Vec<Known>,
    /// Of the table made last.
    epoch: u64,
}

/// One server and what is believed of it.
#[derive(Debug)]
struct Known {
    id: ServerId,
    cluster: ClusterIndex,
    name: Arc<str>,
    address: ServerAddress,
    thresholds: Thresholds,
    load: Arc<ServerLoad>,
    belief: Belief,
    contact: Option<Contact>,
}

impl Beliefs {
    /// Nothing is known of any server yet.
    pub fn new(config: Arc<Config>, now: Instant) -> Beliefs {
        let mut registry = Registry::new();
        let users = Arc::new(Users::new(&config, &mut registry));
        let known = known(&config, &mut registry, Vec::new(), now);
        Beliefs { config, registry, users, known, epoch: 0 }
    }

    /// Takes another configuration. What is known of a server is kept while its name and address stay the same.
    pub fn apply(&mut self, config: Arc<Config>, now: Instant) {
        self.users = Arc::new(Users::new(&config, &mut self.registry));
        self.known = known(&config, &mut self.registry, std::mem::take(&mut self.known), now);
        self.registry.forget_unused(&config);
        self.config = config;
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Takes in what a check of a server found. A server that is no longer configured is ignored.
    pub fn check(&mut self, server: ServerId, result: &CheckResult, now: Instant) {
        let Some(known) = self.find(server) else {
            return;
        };
        known.belief.check(result, known.thresholds, now);
        if let CheckResult::Answered(answer) = result
            && let Some(contact) = &answer.contact
        {
            known.contact = Some(contact.clone());
        }
    }

    /// Takes in that a server failed a session, and says what to do about it.
    pub fn report(&mut self, server: ServerId, failure: Failure, now: Instant) -> FollowUp {
        match self.find(server) {
            Some(known) => known.belief.report(failure, now),
            None => FollowUp::Nothing,
        }
    }

    /// The ids of all servers, in the order of the table.
    pub fn ids(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.known.iter().map(|known| known.id)
    }

    /// Whether every server has been asked at least once, whatever came of it.
    pub fn all_checked(&self) -> bool {
        self.known.iter().all(|known| known.belief.is_checked())
    }

    /// The table that follows from what is believed now.
    pub fn table(&mut self) -> RoutingTable {
        self.epoch += 1;
        RoutingTable::new(self.epoch, Arc::clone(&self.config), self.entries(), Arc::clone(&self.users))
    }

    /// The table that follows from what is believed now, if it says anything else than `current`.
    pub fn next_table(&mut self, current: &RoutingTable) -> Option<RoutingTable> {
        let next = self.table();
        if next.agrees_with(current) {
            self.epoch -= 1;
            return None;
        }
        Some(next)
    }

    fn find(&mut self, server: ServerId) -> Option<&mut Known> {
        self.known.iter_mut().find(|known| known.id == server)
    }

    fn entries(&self) -> Vec<ServerEntry> {
        let mut entries = Vec::with_capacity(self.known.len());
        for (index, cluster) in self.config.clusters.iter().enumerate() {
            let members: Vec<&Known> = self.known.iter().filter(|known| known.cluster == ClusterIndex(index)).collect();
            let roles = writer::roles(cluster, members.iter().map(|known| &known.belief));
            let servers = members.iter().zip(&cluster.servers).zip(&roles);
            entries.extend(servers.map(|((known, server), &role)| known.entry(server, role)));
        }
        entries
    }
}

impl Known {
    fn new(cluster: ClusterIndex, settings: &Cluster, server: &Server, registry: &mut Registry, now: Instant) -> Known {
        let (id, load) = registry.server(&settings.name, &server.name);
        Known {
            id,
            cluster,
            name: Arc::from(server.name.as_str()),
            address: server.address.clone(),
            thresholds: Thresholds { fall: settings.fall, rise: settings.rise },
            load,
            belief: Belief::new(now),
            contact: None,
        }
    }

    /// This server as the configuration has it now, and what was believed of it as far as it is still the same one.
    fn remember(self, old: Option<Known>) -> Known {
        match old {
            Some(old) if old.address == self.address => Known { belief: old.belief, contact: old.contact, ..self },
            Some(_) | None => self,
        }
    }

    fn entry(&self, server: &Server, role: ServerRole) -> ServerEntry {
        ServerEntry {
            id: self.id,
            name: Arc::clone(&self.name),
            cluster: self.cluster,
            endpoint: self
                .contact
                .as_ref()
                .map(|contact| contact.endpoint.clone())
                .or_else(|| literal_endpoint(&self.address)),
            weight: server.weight,
            max_connections: server.max_connections,
            health: self.health(role),
            greeting: self.contact.as_ref().map(|contact| Arc::clone(&contact.greeting)),
            load: Arc::clone(&self.load),
        }
    }

    fn health(&self, role: ServerRole) -> Health {
        let condition = self.belief.condition();
        let reason = match (condition, role) {
            (Condition::Up, ServerRole::Contested) => {
                Arc::from("takes writes, and is not the only one: no certain primary")
            }
            (Condition::Up, ServerRole::ReadOnlyPrimary) => Arc::from("configured as primary, but it says read_only"),
            (Condition::Up, ServerRole::Unknown) => {
                Arc::from("takes writes; waits until the other servers were asked too")
            }
            _ => Arc::clone(self.belief.reason()),
        };
        Health { condition, role, reason, since: self.belief.since() }
    }
}

/// The servers of `config`, with what `old` knew of them.
fn known(config: &Config, registry: &mut Registry, old: Vec<Known>, now: Instant) -> Vec<Known> {
    let mut old: Vec<Option<Known>> = old.into_iter().map(Some).collect();
    let mut known = Vec::new();
    for (index, cluster) in config.clusters.iter().enumerate() {
        for server in &cluster.servers {
            let new = Known::new(ClusterIndex(index), cluster, server, registry, now);
            let same = old.iter_mut().find(|old| old.as_ref().is_some_and(|old| old.id == new.id));
            known.push(new.remember(same.and_then(Option::take)));
        }
    }
    known
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
