//! From the file as written to the proven [`Config`]: names become indexes, and what does not fit together is refused.
//!
//! Every part is looked at, also after a complaint, so that one look at the file finds everything that is wrong with it.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use super::credentials::{self, Environment};
use super::error::Complaints;
use super::file::{ClusterSection, File, ListenerSection, MonitorSection, PoolSection, ServerSection, UserSection};
use super::limits::{CLUSTERS_MAX, LISTENERS_MAX, POOLS_MAX, SERVERS_PER_CLUSTER_MAX, USERS_MAX, WORKERS_MAX};
use super::read::At;
use super::value::quoted;
use super::{
    Admin, Cluster, ClusterIndex, Config, Limits, ListenAddress, Listener, Log, Monitor, Pool, PoolIndex, Process,
    Role, RoleSetting, Server, ServerAddress, Topology, User,
};

/// The configuration that the file means; nothing, if there was a complaint.
pub(crate) fn resolve(file: File, environment: &Environment<'_>, complaints: &Complaints<'_>) -> Option<Config> {
    let resolver = Resolver { environment, complaints };
    resolver.check_counts(&file)?;
    resolver.check_names(&file);
    resolver.check_addresses(&file);
    resolver.check_fallbacks(&file.pools);
    resolver.check_members(&file);

    let (clusters, pools) = (names(file.clusters.iter().map(|c| &c.name)), names(file.pools.iter().map(|p| &p.name)));
    let process = resolver.process(&file);
    let log = Log::resolve(&file);
    let resolved_pools: Vec<_> = file.pools.into_iter().map(|pool| resolver.pool(pool, &clusters, &pools)).collect();
    let users: Vec<_> = file.users.into_iter().map(|user| resolver.user(user, &pools)).collect();
    let resolved_clusters: Vec<_> = file.clusters.into_iter().map(|cluster| resolver.cluster(cluster)).collect();
    let listeners: Vec<_> = file.listeners.into_iter().map(Listener::resolve).collect();
    Some(Config {
        process: process?,
        log: log?,
        admin: Admin { socket: file.admin_socket?.into_inner() },
        listeners: all(listeners)?,
        clusters: all(resolved_clusters)?,
        pools: all(resolved_pools)?,
        users: all(users)?,
        limits: Limits { login_timeout: file.login_timeout?.into_inner() },
    })
}

/// Names in the order of the file, with their indexes.
type Names = HashMap<String, usize>;

fn names<'f>(written: impl Iterator<Item = &'f At<String>>) -> Names {
    written.enumerate().map(|(index, name)| (name.get_ref().clone(), index)).collect()
}

fn all<T>(parts: Vec<Option<T>>) -> Option<Vec<T>> {
    parts.into_iter().collect()
}

fn inner<T>(written: Option<At<T>>) -> Option<T> {
    written.map(At::into_inner)
}

struct Resolver<'r> {
    environment: &'r Environment<'r>,
    complaints: &'r Complaints<'r>,
}

/// Checks that need more than one part of the file.
impl Resolver<'_> {
    /// There is one of everything, and of nothing too many. Nothing: too many to look at each against each.
    fn check_counts(&self, file: &File) -> Option<()> {
        let whole_file = 0..0;
        let listeners = self.check_count("listener", "[[listener]]", file.listeners.len(), LISTENERS_MAX, &whole_file);
        let clusters = self.check_count("cluster", "[cluster.NAME]", file.clusters.len(), CLUSTERS_MAX, &whole_file);
        let pools = self.check_count("pool", "[pool.NAME]", file.pools.len(), POOLS_MAX, &whole_file);
        let users = self.check_count("user", "[[user]]", file.users.len(), USERS_MAX, &whole_file);
        let servers = |cluster: &ClusterSection| {
            let (header, count) = ("[[cluster.NAME.server]]", cluster.servers.len());
            self.check_count("server", header, count, SERVERS_PER_CLUSTER_MAX, &cluster.name.span())
        };
        file.clusters.iter().map(servers).fold(listeners.and(clusters).and(pools).and(users), Option::and)
    }

    fn check_count(
        &self,
        what: &str,
        header: &str,
        count: usize,
        count_max: usize,
        place: &Range<usize>,
    ) -> Option<()> {
        if count == 0 {
            self.complaints.missing(place, format!("there is no {what}: write at least one {header}"));
        }
        if count > count_max {
            self.complaints.missing(place, format!("there are {count} {header}: write at most {count_max}"));
        }
        (count <= count_max).then_some(())
    }

    /// TOML itself refuses two clusters or pools of one name.
    fn check_names(&self, file: &File) {
        self.check_unique("listener", file.listeners.iter().map(|listener| &listener.name));
        self.check_unique("user", file.users.iter().map(|user| &user.name));
        for cluster in &file.clusters {
            self.check_unique("server of this cluster", cluster.servers.iter().map(|server| &server.name));
        }
    }

    fn check_unique<'f>(&self, what: &str, written: impl Iterator<Item = &'f Option<At<String>>>) {
        for (name, place) in repeated(written.flatten()) {
            self.complaints.at(&place, format!("there is another {what} named {}: write another name", quoted(name)));
        }
    }

    fn check_addresses(&self, file: &File) {
        // Port 0 is another port each time.
        let is_fixed =
            |address: &&At<ListenAddress>| !matches!(address.get_ref(), ListenAddress::Tcp(tcp) if tcp.port() == 0);
        let listeners = file.listeners.iter().filter_map(|listener| listener.address.as_ref()).filter(is_fixed);
        for (address, place) in repeated(listeners) {
            self.complaints.at(&place, format!("another listener has the address \"{address}\": write another one"));
        }
        // One server under two names would be counted, and in a failover believed, twice.
        for cluster in &file.clusters {
            let servers = cluster.servers.iter().filter_map(|server| server.address.as_ref());
            for (address, place) in repeated::<ServerAddress>(servers) {
                let problem =
                    format!("another server of this cluster has the address \"{address}\": write another one");
                self.complaints.at(&place, problem);
            }
        }
        self.check_admin_socket(file);
    }

    fn check_admin_socket(&self, file: &File) {
        let Some(socket) = &file.admin_socket else {
            return;
        };
        for address in file.listeners.iter().filter_map(|listener| listener.address.as_ref()) {
            if matches!(address.get_ref(), ListenAddress::Unix(path) if path == socket.get_ref()) {
                let problem = "is the socket of [admin]: write another path";
                self.complaints.at(&address.span(), format!("\"{}\" {problem}", address.get_ref()));
            }
        }
    }

    /// Following the fallbacks of a pool must end. A circle is complained about once, at each pool that is part of it.
    fn check_fallbacks(&self, pools: &[PoolSection]) {
        let next: HashMap<&str, &At<String>> =
            pools.iter().filter_map(|pool| Some((pool.name.get_ref().as_str(), pool.fallback.as_ref()?))).collect();
        for pool in pools {
            let (start, mut at) = (pool.name.get_ref().as_str(), pool.name.get_ref().as_str());
            // A way longer than there are pools is a circle that this pool leads to and is not part of.
            for _ in 0..pools.len() {
                let Some(fallback) = next.get(at) else { break };
                at = fallback.get_ref();
                if at == start {
                    let problem =
                        format!("the fallback of pool {} leads back to it: write another pool, or none", quoted(start));
                    self.complaints.at(&next[start].span(), problem);
                    break;
                }
            }
        }
    }

    /// Each pool has at least one server that can be its member.
    fn check_members(&self, file: &File) {
        for pool in &file.pools {
            let (Some(cluster_name), Some(role)) = (&pool.cluster, &pool.role) else {
                continue;
            };
            let cluster = file.clusters.iter().find(|cluster| cluster.name == *cluster_name);
            let can_be_member = |server: &ServerSection| {
                server.role.as_ref().is_none_or(|setting| can_have(*setting.get_ref(), *role.get_ref()))
            };
            if let Some(cluster) = cluster
                && !cluster.servers.is_empty()
                && !cluster.servers.iter().any(can_be_member)
            {
                let problem = format!(
                    "pool {} would always be empty: no server of cluster {} can have this role; change it here, or the `role` of a server",
                    quoted(pool.name.get_ref()),
                    quoted(cluster_name.get_ref()),
                );
                self.complaints.at(&role.span(), problem);
            }
        }
    }
}

/// Whether a server that is configured so can ever be a member of a pool with this role.
fn can_have(setting: RoleSetting, role: Role) -> bool {
    match setting {
        RoleSetting::Auto => true,
        RoleSetting::Primary => role == Role::Primary,
        RoleSetting::Replica => role == Role::Replica,
    }
}

/// Values that were there before, with the places of the later ones.
fn repeated<'f, T: Eq + Hash + 'f>(written: impl Iterator<Item = &'f At<T>>) -> Vec<(&'f T, Range<usize>)> {
    let mut seen = std::collections::HashSet::new();
    written.filter(|value| !seen.insert(value.get_ref())).map(|value| (value.get_ref(), value.span())).collect()
}

/// The parts, each from its section.
impl Resolver<'_> {
    fn process(&self, file: &File) -> Option<Process> {
        let written = &file.process;
        let workers = *written.workers.as_ref()?.get_ref();
        Some(Process {
            workers: workers.map_or(self.environment.online_cpus, |workers| workers as usize).clamp(1, WORKERS_MAX),
            pin_workers: *written.pin_workers.as_ref()?.get_ref(),
            io: *written.io.as_ref()?.get_ref(),
            max_sessions: *written.max_sessions.as_ref()?.get_ref(),
            shutdown_timeout: *written.shutdown_timeout.as_ref()?.get_ref(),
            server_version: written.server_version.as_ref().map(|version| version.get_ref().clone()),
        })
    }

    fn cluster(&self, written: ClusterSection) -> Option<Cluster> {
        let topology = inner(written.topology);
        if topology == Some(Topology::Replication) && !written.has_monitor {
            let problem = "topology \"replication\" needs an account for the health checks: \
                           write `monitor = { user = \"…\", password = \"…\" }`, or make the topology \"static\"";
            self.complaints.missing(&written.name.span(), problem);
        }
        let monitor = written.monitor.map(|monitor| self.monitor(monitor));
        let servers: Vec<_> = written.servers.into_iter().map(|server| self.server(server, topology)).collect();
        Some(Cluster {
            name: written.name.into_inner(),
            topology: topology?,
            monitor: match monitor {
                Some(monitor) => Some(monitor?),
                None => None,
            },
            check_interval: inner(written.check_interval)?,
            check_timeout: inner(written.check_timeout)?,
            fall: inner(written.fall)?,
            rise: inner(written.rise)?,
            max_replica_lag: inner(written.max_replica_lag)?,
            hold_timeout: inner(written.hold_timeout)?,
            connect_timeout: inner(written.connect_timeout)?,
            servers: all(servers)?,
        })
    }

    fn monitor(&self, written: MonitorSection) -> Option<Monitor> {
        let password =
            credentials::required(written.password, &written.place, "the monitor", self.environment, self.complaints);
        Some(Monitor { user: inner(written.user)?, password: password?.into_clear()? })
    }

    fn server(&self, written: ServerSection, topology: Option<Topology>) -> Option<Server> {
        if let (Some(Topology::Static), Some(role)) = (topology, &written.role)
            && *role.get_ref() == RoleSetting::Auto
        {
            let problem =
                "topology \"static\" asks no server for its role: write `role = \"primary\"` or `role = \"replica\"`";
            self.complaints.at(&role.span(), problem);
        }
        Some(Server {
            name: inner(written.name)?,
            address: inner(written.address)?,
            weight: inner(written.weight)?,
            role: inner(written.role)?,
            max_connections: inner(written.max_connections)?,
        })
    }

    fn pool(&self, written: PoolSection, clusters: &Names, pools: &Names) -> Option<Pool> {
        let cluster = written.cluster.and_then(|name| self.find("cluster", &name, clusters));
        let fallback = written.fallback.map(|name| self.find("pool", &name, pools));
        Some(Pool {
            name: written.name.into_inner(),
            cluster: ClusterIndex(cluster?),
            role: inner(written.role)?,
            balance: inner(written.balance)?,
            fallback: match fallback {
                Some(index) => Some(PoolIndex(index?)),
                None => None,
            },
        })
    }

    fn user(&self, written: UserSection, pools: &Names) -> Option<User> {
        let who =
            written.name.as_ref().map_or("this user".to_owned(), |name| format!("user {}", quoted(name.get_ref())));
        let pool = written.pool.and_then(|name| self.find("pool", &name, pools));
        let password = credentials::required(written.password, &written.place, &who, self.environment, self.complaints);
        let backend_password = credentials::optional(written.backend_password, self.environment, self.complaints);
        Some(User {
            name: inner(written.name)?,
            verifier: password?.into_verifier(),
            backend_user: inner(written.backend_user),
            backend_password: match backend_password? {
                Some(password) => Some(password.into_clear()?),
                None => None,
            },
            pool: PoolIndex(pool?),
            max_connections: inner(written.max_connections).filter(|count| *count > 0),
        })
    }

    /// The index of the part that was named.
    fn find(&self, what: &str, name: &At<String>, names: &Names) -> Option<usize> {
        let found = names.get(name.get_ref()).copied();
        if found.is_none() && !self.complaints.is_full() {
            let distance = |known: &&String| (strsim::damerau_levenshtein(name.get_ref(), known), (*known).clone());
            let advice = match names.keys().min_by_key(distance) {
                Some(nearest) => {
                    format!("write the name of one, like \"{nearest}\", or add [{what}.{}]", name.get_ref())
                }
                None => format!("add [{what}.{}]", name.get_ref()),
            };
            self.complaints
                .missing(&name.span(), format!("there is no {what} named {}: {advice}", quoted(name.get_ref())));
        }
        found
    }
}

impl Log {
    fn resolve(file: &File) -> Option<Log> {
        Some(Log { level: *file.log.level.as_ref()?.get_ref(), format: *file.log.format.as_ref()?.get_ref() })
    }
}

impl Listener {
    fn resolve(written: ListenerSection) -> Option<Listener> {
        Some(Listener { name: inner(written.name)?, address: inner(written.address)?, extra: inner(written.extra)? })
    }
}
