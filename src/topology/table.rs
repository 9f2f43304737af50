//! The routing table: one immutable value that every worker decides by until the next one is published.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{
    ClusterEntry, Condition, Endpoint, Fitness, GreetingFacts, Health, Offer, Progress, Redirect, Registry, ServerId,
    ServerIndex, ServerLoad, ServerRole, Service, UserIndex, UserLoad,
};
use crate::config::{Cluster, ClusterIndex, Config, PoolIndex, Role, User};
use crate::protocol::capability::Capabilities;
use crate::protocol::version::ServerVersion;

/// Users, pools, servers and their health, swapped as a whole.
///
/// Invariant: `pools` is parallel to the pools of `config`, `servers` to the servers of its clusters one cluster after
/// the other; every index in here points into this table.
#[derive(Debug)]
pub struct RoutingTable {
    /// Counts the tables of this process; a higher one replaces a lower one.
    pub epoch: u64,
    /// The configuration this table was made of.
    pub config: Arc<Config>,
    /// All servers, one cluster after the other.
    pub servers: Vec<ServerEntry>,
    /// What is to be said of each cluster, in the order of the configuration.
    pub clusters: Vec<ClusterEntry>,
    /// All pools, in the order of the configuration.
    pub pools: Vec<PoolEntry>,
    /// What clients are greeted with.
    pub offer: Offer,
    /// Whether clients are sent elsewhere.
    pub redirect: Arc<Redirect>,
    users: Arc<Users>,
    /// By [`ServerId`].
    places: Vec<Option<ServerIndex>>,
}

/// One server as it is believed to be now.
#[derive(Debug, Clone)]
pub struct ServerEntry {
    /// The same in every table.
    pub id: ServerId,
    /// Its name in its cluster.
    pub name: Arc<str>,
    /// Its cluster.
    pub cluster: ClusterIndex,
    /// Where to connect to; absent until its name has been looked up.
    pub endpoint: Option<Endpoint>,
    /// Its share of the sessions; 0: only when nothing else is left.
    pub weight: u32,
    /// Connections that this process opens to it at most; 0: unlimited.
    pub max_connections: u32,
    /// Whether an operator lets it be used.
    pub service: Service,
    /// Whether it is used, and for what.
    pub health: Health,
    /// How it introduced itself; absent until it did.
    pub greeting: Option<Arc<GreetingFacts>>,
    /// Its counters, shared by all tables.
    pub load: Arc<ServerLoad>,
    /// How far it was seen to have come, shared by all tables.
    pub progress: Arc<Progress>,
}

/// One pool as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolEntry {
    /// All servers of the pool's cluster: a range of [`RoutingTable::servers`].
    candidates: Range<usize>,
    /// Those in use that are up, have the pool's role and are fit; if there are none, the last resorts.
    pub members: Vec<ServerIndex>,
    /// What a member is, at least.
    least: Fitness,
    needs_cleartext: bool,
}

/// Who may log in. Stays the same while the configuration does.
#[derive(Debug)]
pub(super) struct Users {
    by_name: HashMap<Box<[u8]>, UserIndex>,
    /// Who stands for all that have no name here.
    newcomers: Option<UserIndex>,
    /// Of the named ones, then of the newcomers all together.
    loads: Vec<Arc<UserLoad>>,
}

impl RoutingTable {
    /// Puts a table together. `servers` and `clusters` are those of `config`, in its order.
    pub(super) fn new(
        epoch: u64,
        config: Arc<Config>,
        servers: Vec<ServerEntry>,
        clusters: Vec<ClusterEntry>,
        redirect: Arc<Redirect>,
        users: Arc<Users>,
    ) -> RoutingTable {
        let pools = (0..config.pools.len()).map(|pool| PoolEntry::new(PoolIndex(pool), &config, &servers)).collect();
        let offer = Offer::new(config.process.server_version.as_deref(), known_greetings(&config, &servers));
        let places = places(&servers);
        RoutingTable { epoch, config, servers, clusters, pools, offer, redirect, users, places }
    }

    /// How a user is served, by the name that the client sent: by its own entry, or as newcomers are.
    pub fn user(&self, name: &[u8]) -> Option<UserIndex> {
        self.named_user(name).or(self.users.newcomers)
    }

    /// The user that the configuration has an entry for.
    pub fn named_user(&self, name: &[u8]) -> Option<UserIndex> {
        self.users.by_name.get(name).copied()
    }

    /// What the configuration says of a user.
    pub fn user_config(&self, user: UserIndex) -> &User {
        let newcomers = || &self.config.newcomers.as_ref().expect("an index that is no user's is the newcomers'").route;
        self.config.users.get(user.0).unwrap_or_else(newcomers)
    }

    /// The counter of a user's sessions.
    pub fn user_load(&self, user: UserIndex) -> &Arc<UserLoad> {
        &self.users.loads[user.0]
    }

    /// The server at that place of this table.
    pub fn server(&self, index: ServerIndex) -> &ServerEntry {
        &self.servers[index.0]
    }

    /// Where a server that was met in an earlier table is in this one; none if it is no longer configured.
    pub fn place(&self, id: ServerId) -> Option<ServerIndex> {
        self.places.get(id.0 as usize).copied().flatten()
    }

    /// The pool at that place of this table's configuration.
    pub fn pool(&self, index: PoolIndex) -> &PoolEntry {
        &self.pools[index.0]
    }

    /// Whether some server that the pool or its fallbacks may lead to asks for a password in the clear, which a hash
    /// cannot give: then a client's password must be learnt when it logs in.
    pub fn needs_cleartext(&self, pool: PoolIndex) -> bool {
        self.chain(pool).any(|pool| self.pool(pool).needs_cleartext)
    }

    /// The lowest version among the servers of a pool's cluster; absent until one has introduced itself. What a server of
    /// this version has, all have.
    pub fn lowest_version(&self, pool: PoolIndex) -> Option<ServerVersion> {
        let servers = self.pool(pool).candidates().map(|server| self.server(server));
        servers.filter_map(|server| server.greeting.as_ref()).map(|greeting| greeting.version).min()
    }

    /// A pool, its fallback, the fallback of that, and so on. Ends: no chain is longer than there are pools.
    pub fn chain(&self, first: PoolIndex) -> impl Iterator<Item = PoolIndex> + '_ {
        self.config.chain(first)
    }

    /// What somebody hears who has named a server that is not there.
    pub fn no_server(&self, name: &str) -> String {
        let full_name = |server: &ServerEntry| format!("{}/{}", self.config.cluster(server.cluster).name, server.name);
        let mut known: Vec<String> = self.servers.iter().take(NAMED_MAX).map(full_name).collect();
        if self.servers.len() > NAMED_MAX {
            known.push("another that `sqluice status` shows".to_owned());
        }
        format!("there is no server {name}: write one of {}", known.join(", "))
    }

    /// Whether this table says the same of the servers as `other`, counts aside.
    pub fn agrees_with(&self, other: &RoutingTable) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
            && self.redirect == other.redirect
            && self.clusters == other.clusters
            && self.servers.len() == other.servers.len()
            && self.servers.iter().zip(&other.servers).all(|(mine, theirs)| mine.agrees_with(theirs))
    }

    /// What happened to the servers since `old`, for the log.
    pub fn changes_since(&self, old: &RoutingTable) -> Vec<Change> {
        let appeared_or_turned = self.servers.iter().filter_map(|server| {
            let before = old.place(server.id).map(|place| old.server(place));
            let to = server.health.to_string();
            let from = before.map_or_else(|| "new".to_owned(), |before| before.health.to_string());
            (from != to).then(|| self.change(server, from, to))
        });
        let gone = old.servers.iter().filter(|server| self.place(server.id).is_none());
        let gone = gone.map(|server| old.change(server, server.health.to_string(), "removed".to_owned()));
        appeared_or_turned.chain(gone).collect()
    }

    /// Clusters that something else is to be said of than in `old`, with their names; of new ones, if it is something at all.
    pub fn news_since(&self, old: &RoutingTable) -> Vec<(&str, &ClusterEntry)> {
        let named = |table: &RoutingTable, name: &str| {
            let place = table.config.clusters.iter().position(|cluster| cluster.name == name);
            place.map(|place| table.clusters[place].clone())
        };
        let clusters = self.config.clusters.iter().zip(&self.clusters);
        let is_news = |(cluster, entry): &(&Cluster, &ClusterEntry)| {
            let before = named(old, &cluster.name).unwrap_or_else(|| ClusterEntry::unnamed(&[]));
            (before.situation, before.alarms) != (entry.situation, entry.alarms.clone())
        };
        clusters.filter(is_news).map(|(cluster, entry)| (cluster.name.as_str(), entry)).collect()
    }

    fn change(&self, server: &ServerEntry, from: String, to: String) -> Change {
        let cluster = self.config.cluster(server.cluster).name.clone();
        Change {
            id: server.id,
            cluster,
            server: Arc::clone(&server.name),
            condition: server.health.condition,
            role: server.health.role,
            from,
            to,
            reason: Arc::clone(&server.health.reason),
        }
    }
}

impl ServerEntry {
    /// Whether it may be used, is up and has that role. Whether it is fit for it decides whether a pool takes it.
    pub fn serves(&self, role: Role) -> bool {
        self.service.is_in_use() && self.health.condition == Condition::Up && self.health.role.serves(role)
    }

    /// Whether sessions may come to it and stay: neither an operator here takes it out of use, nor one there.
    pub fn keeps_sessions(&self) -> bool {
        self.service.is_in_use() && self.health.fitness != Fitness::Leaving
    }

    /// What it offers; absent until it was heard.
    pub fn capabilities(&self) -> Option<Capabilities> {
        self.greeting.as_ref().map(|greeting| greeting.capabilities)
    }

    fn agrees_with(&self, other: &ServerEntry) -> bool {
        self.id == other.id
            && self.endpoint == other.endpoint
            && self.health == other.health
            && self.service == other.service
            && self.greeting == other.greeting
    }
}

impl PoolEntry {
    fn new(pool: PoolIndex, config: &Config, servers: &[ServerEntry]) -> PoolEntry {
        let settings = config.pool(pool);
        let first = servers.partition_point(|server| server.cluster.0 < settings.cluster.0);
        let count = config.cluster(settings.cluster).servers.len();
        let candidates = first..first + count;
        let serving = candidates.clone().filter(|&index| servers[index].serves(settings.role));
        // Whoever is unfit is no member, also where nobody else is left.
        let least = best_fitness(pool, config, servers).max(Fitness::LastResort);
        let members = serving.filter(|&index| servers[index].health.fitness >= least).map(ServerIndex).collect();
        let mut greetings = servers[candidates.clone()].iter().filter_map(|server| server.greeting.as_ref());
        let needs_cleartext = greetings.any(|greeting| greeting.needs_cleartext());
        PoolEntry { candidates, members, least, needs_cleartext }
    }

    /// Whether a server of the pool's role that is up is a member now.
    pub fn takes(&self, fitness: Fitness) -> bool {
        fitness >= self.least
    }

    /// All servers of the pool's cluster, members or not.
    pub fn candidates(&self) -> impl ExactSizeIterator<Item = ServerIndex> + Clone + use<> {
        self.candidates.clone().map(ServerIndex)
    }
}

impl Users {
    pub(super) fn new(config: &Config, registry: &mut Registry) -> Users {
        let names = config.users.iter().enumerate();
        Users {
            by_name: names.map(|(index, user)| (user.name.as_bytes().into(), UserIndex(index))).collect(),
            newcomers: config.newcomers.as_ref().map(|_| UserIndex(config.users.len())),
            loads: config.routes().map(|user| registry.user(&user.name)).collect(),
        }
    }
}

/// Of all that a pool and its fallbacks lead to: a last resort is taken when these have nobody better either.
fn best_fitness(pool: PoolIndex, config: &Config, servers: &[ServerEntry]) -> Fitness {
    let serving = config
        .chain(pool)
        .map(|pool| config.pool(pool))
        .flat_map(|pool| servers.iter().filter(|server| server.cluster == pool.cluster && server.serves(pool.role)));
    serving.map(|server| server.health.fitness).max().unwrap_or(Fitness::Fit)
}

/// The greetings of all servers that some pool may lead to.
fn known_greetings<'a>(
    config: &'a Config,
    servers: &'a [ServerEntry],
) -> impl Iterator<Item = &'a GreetingFacts> + Clone {
    let in_use = |cluster: ClusterIndex| config.pools.iter().any(|pool| pool.cluster == cluster);
    servers.iter().filter(move |server| in_use(server.cluster)).filter_map(|server| server.greeting.as_deref())
}

fn places(servers: &[ServerEntry]) -> Vec<Option<ServerIndex>> {
    let ids = servers.iter().map(|server| server.id.0 as usize + 1).max().unwrap_or(0);
    let mut places = vec![None; ids];
    for (index, server) in servers.iter().enumerate() {
        places[server.id.0 as usize] = Some(ServerIndex(index));
    }
    places
}

/// Servers that are named in place of one that is not there.
const NAMED_MAX: usize = 20;

/// A server's health or role is another than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which server.
    pub id: ServerId,
    /// Its cluster's name.
    pub cluster: String,
    /// Its name.
    pub server: Arc<str>,
    /// Whether it is used now.
    pub condition: Condition,
    /// For what.
    pub role: ServerRole,
    /// What it was.
    pub from: String,
    /// What it is.
    pub to: String,
    /// Why.
    pub reason: Arc<str>,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "server {}/{}: {} -> {}: {}", self.cluster, self.server, self.from, self.to, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Writable;
    use crate::topology::testing::{answers, config, table};

    /// The members of the pool of replicas, which falls back to the primary, when the three are that fit, the primary first.
    fn members(fitness: [Fitness; 3]) -> Vec<usize> {
        let servers = ["db0", "db1", "db2"].map(|name| format!("name = \"{name}\"\naddress = \"{name}:3306\""));
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let table = table(config(&servers), &[answers(Writable::Yes), answers(Writable::No), answers(Writable::No)]);
        let mut servers = table.servers.clone();
        servers.iter_mut().zip(fitness).for_each(|(server, fitness)| server.health.fitness = fitness);
        let table = RoutingTable::new(
            table.epoch,
            Arc::clone(&table.config),
            servers,
            table.clusters.clone(),
            Arc::clone(&table.redirect),
            Arc::clone(&table.users),
        );
        let read = table.config.pool_by_name("read").expect("it is in the configuration");
        table.pool(read).members.iter().map(|member| member.0).collect()
    }

    #[test]
    fn a_last_resort_serves_where_nobody_is_fit_and_the_unfit_nowhere() {
        use Fitness::{Fit, LastResort, Unfit};
        for primary in [Fit, LastResort, Unfit] {
            assert_eq!(members([primary, Fit, Fit]), [1, 2]);
            assert_eq!(members([primary, Fit, LastResort]), [1]);
            assert_eq!(members([primary, Unfit, Unfit]), [0_usize; 0]);
            assert_eq!(members([primary, Fit, Unfit]), [1]);
        }
        for primary in [LastResort, Unfit] {
            assert_eq!(members([primary, LastResort, Unfit]), [1]);
            assert_eq!(members([primary, LastResort, LastResort]), [1, 2]);
        }
    }

    #[test]
    fn a_fallback_with_somebody_fit_comes_before_a_last_resort() {
        use Fitness::{Fit, LastResort, Unfit};
        assert_eq!(members([Fit, LastResort, Unfit]), [0_usize; 0]);
        assert_eq!(members([Fit, LastResort, LastResort]), [0_usize; 0]);
    }
}
