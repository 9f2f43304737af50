//! From the file as written to the proven [`Config`]: names become indexes, and what does not fit together is refused.
//!
//! Every part is looked at, also after a complaint, so that one look at the file finds everything that is wrong with it.

use std::collections::HashMap;
use std::path::PathBuf;

use super::credentials::{self, Environment};
use super::error::Complaints;
use super::file::{
    AccessSection, AccountSection, AdminSection, ClusterSection, File, FollowerSection, IdentitySection,
    InstantFailoverSection, LimitsSection, ListenerSection, NewcomersSection, PoolSection, ServerSection,
    ServerTlsSection, SplitSection, UserSection,
};
use super::limits::WORKERS_MAX;
use super::read::At;
use super::value::{Choice, quoted};
use super::{
    Access, Account, Admin, Cluster, ClusterIndex, Config, Failover, Follower, Freshness, Handoff, InstantFailover,
    KeyPairFiles, Limits, Listener, ListenerTls, Log, Newcomers, Pool, PoolIndex, Process, Promotion, Reuse,
    RoleSetting, Server, ServerTls, Source, SourceWord, Split, Topology, User, checks,
};
use crate::protocol::auth::Verifier;

/// The configuration that the file means; nothing, if there was a complaint.
pub(crate) fn resolve(file: File, environment: &Environment<'_>, complaints: &Complaints<'_>) -> Option<Config> {
    let resolver = Resolver { environment, complaints };
    checks::check(&file, complaints);

    let (clusters, pools) = (names(file.clusters.iter().map(|c| &c.name)), names(file.pools.iter().map(|p| &p.name)));
    let process = resolver.process(&file);
    let log = Log::resolve(&file);
    let instant_failover = InstantFailover::resolve(file.instant_failover);
    let resolved_pools: Vec<_> = file.pools.into_iter().map(|pool| resolver.pool(pool, &clusters, &pools)).collect();
    let newcomers = resolver.newcomers(file.newcomers, &pools);
    let users: Vec<_> = file.users.into_iter().map(|user| resolver.user(user, &pools)).collect();
    let resolved_clusters: Vec<_> = file.clusters.into_iter().map(|cluster| resolver.cluster(cluster)).collect();
    let listeners: Vec<_> = file.listeners.into_iter().map(|listener| resolver.listener(listener)).collect();
    Some(Config {
        process: process?,
        log: log?,
        admin: Admin::resolve(file.admin)?,
        instant_failover: instant_failover?,
        listeners: all(listeners)?,
        clusters: all(resolved_clusters)?,
        pools: all(resolved_pools)?,
        users: all(users)?,
        newcomers: newcomers?,
        limits: Limits::resolve(file.limits)?,
        exposed_files: Vec::new(),
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

/// The parts, each from its section.
impl Resolver<'_> {
    fn process(&self, file: &File) -> Option<Process> {
        let written = &file.process;
        let workers = *written.workers.as_ref()?.get_ref();
        Some(Process {
            workers: workers.map_or(self.environment.online_cpus, |workers| workers as usize).clamp(1, WORKERS_MAX),
            pin_workers: *written.pin_workers.as_ref()?.get_ref(),
            busy_poll: *written.busy_poll.as_ref()?.get_ref(),
            io: *written.io.as_ref()?.get_ref(),
            max_sessions: *written.max_sessions.as_ref()?.get_ref(),
            shutdown_timeout: *written.shutdown_timeout.as_ref()?.get_ref(),
            server_version: written.server_version.as_ref().map(|version| version.get_ref().clone()),
            state_directory: written.state_directory.as_ref()?.get_ref().clone(),
            core_dumps: *written.core_dumps.as_ref()?.get_ref(),
        })
    }

    fn cluster(&self, written: ClusterSection) -> Option<Cluster> {
        let topology = inner(written.topology);
        if let Some(topology @ (Topology::Replication | Topology::GroupReplication | Topology::Galera)) = topology
            && !written.has_monitor
        {
            let problem = format!(
                "topology \"{}\" needs an account for the health checks: \
                 write `monitor = {{ user = \"…\", password = \"…\" }}`, or make the topology \"static\"",
                topology.word()
            );
            self.complaints.missing(&written.name.span(), problem);
        }
        let account = |written: Option<AccountSection>, what| written.map(|account| self.account(account, what));
        let monitor = account(written.monitor, "the monitor");
        let admin = account(written.admin, "admin");
        let replication = account(written.replication, "replication");
        let failover = inner(written.failover);
        let tls = self.server_tls(written.tls, None);
        let servers: Vec<_> =
            written.servers.into_iter().map(|server| self.server(server, topology, tls.as_ref())).collect();
        Some(Cluster {
            name: written.name.into_inner(),
            topology: topology?,
            promotion: promotion(failover?, admin, monitor.as_ref(), replication)?,
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
            donor_reads: inner(written.donor_reads)?,
            follow_redirects: inner(written.follow_redirects)?,
            connect_timeout: inner(written.connect_timeout)?,
            tls: tls?,
            server_timeout: inner(written.server_timeout)?,
            servers: all(servers)?,
        })
    }

    fn listener(&self, written: ListenerSection) -> Option<Listener> {
        let identity = self.identity(written.identity);
        if let (Some(required), None) = (&written.require_client_certificate, &written.tls_client_ca)
            && *required.get_ref()
        {
            let problem =
                "without `tls_client_ca` no certificate of a client can be believed: write it, or leave this out";
            self.complaints.at(&required.span(), format!("`require_client_certificate`: {problem}"));
        }
        Some(Listener {
            name: inner(written.name)?,
            address: inner(written.address)?,
            extra: inner(written.extra)?,
            tls: ListenerTls {
                demand: inner(written.tls)?,
                identity: identity?,
                minimum: inner(written.tls_minimum)?,
                client_ca: inner(written.tls_client_ca),
                require_client_certificate: inner(written.require_client_certificate)?,
            },
            proxies: inner(written.proxies).unwrap_or_default(),
            access: Access::resolve(written.access),
        })
    }

    /// Nothing outside: there was a complaint.
    fn identity(&self, written: IdentitySection) -> Option<Option<KeyPairFiles>> {
        match (written.certificate, written.key) {
            (Some(certificate), Some(key)) => {
                Some(Some(KeyPairFiles { certificate: certificate.into_inner(), key: key.into_inner() }))
            }
            (None, None) => Some(None),
            (Some(written), None) => self.half(&written, "a certificate needs its key: write `tls_key`, too"),
            (None, Some(written)) => self.half(&written, "a key needs its certificate: write `tls_certificate`, too"),
        }
    }

    fn half(&self, written: &At<PathBuf>, problem: &str) -> Option<Option<KeyPairFiles>> {
        self.complaints.at(&written.span(), problem);
        None
    }

    /// What is written of TLS towards a server, or holds for its cluster. The demand of a cluster is always written.
    fn server_tls(&self, written: ServerTlsSection, cluster: Option<&ServerTls>) -> Option<ServerTls> {
        let identity = self.identity(written.identity)?;
        Some(ServerTls {
            demand: inner(written.demand).or(cluster.map(|cluster| cluster.demand))?,
            ca: inner(written.ca).or_else(|| cluster.and_then(|cluster| cluster.ca.clone())),
            identity: identity.or_else(|| cluster.and_then(|cluster| cluster.identity.clone())),
        })
    }

    fn account(&self, written: AccountSection, what: &str) -> Option<Account> {
        let password = credentials::required(written.password, &written.place, what, self.environment, self.complaints);
        Some(Account { user: inner(written.user)?, password: password?.into_clear()? })
    }

    fn server(
        &self,
        written: ServerSection,
        topology: Option<Topology>,
        cluster_tls: Option<&ServerTls>,
    ) -> Option<Server> {
        if let (Some(topology @ Topology::Static), Some(role)) = (topology, &written.role)
            && *role.get_ref() == RoleSetting::Auto
        {
            let problem = format!("topology \"{}\" asks no server for its role", topology.word());
            self.complaints.at(&role.span(), format!("{problem}: write `role = \"primary\"` or `role = \"replica\"`"));
        }
        Some(Server {
            name: inner(written.name)?,
            address: inner(written.address)?,
            weight: inner(written.weight)?,
            role: inner(written.role)?,
            max_connections: inner(written.max_connections)?,
            priority: inner(written.priority)?,
            tls: self.server_tls(written.tls, cluster_tls)?,
            extra_port: u16::try_from(inner(written.extra_port)?).ok().filter(|port| *port > 0),
            send_proxy: inner(written.send_proxy)?,
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

    /// Nothing outside: there was a complaint.
    fn newcomers(&self, written: NewcomersSection, pools: &Names) -> Option<Option<Newcomers>> {
        let source = *written.source.as_ref()?.get_ref();
        if source == SourceWord::Config {
            return Some(None);
        }
        let route = self.route(&written, pools);
        let account = written.account.map(|account| self.account(account, "the account that reads accounts"));
        let source = match source {
            SourceWord::Servers => {
                Source::Servers { account: account??, refresh_interval: inner(written.refresh_interval)? }
            }
            SourceWord::Config | SourceWord::Learn => Source::Learn,
        };
        Some(Some(Newcomers { source, route: route?, learn_ttl: inner(written.learn_ttl)? }))
    }

    /// How somebody without an entry is served.
    fn route(&self, written: &NewcomersSection, pools: &Names) -> Option<User> {
        let (pool, split) =
            self.destination(written.pool.as_ref(), written.split.as_ref(), Some(Freshness::OwnWrites), pools)?;
        Some(User {
            name: String::new(),
            verifier: Verifier::ByServer(None),
            backend_user: None,
            backend_password: None,
            pool,
            split,
            reuse: Reuse::Session,
            handoff: Handoff::Never,
            max_connections: None,
            access: Access::default(),
        })
    }

    fn user(&self, written: UserSection, pools: &Names) -> Option<User> {
        let who =
            written.name.as_ref().map_or("this user".to_owned(), |name| format!("user {}", quoted(name.get_ref())));
        let freshness = written.freshness.as_ref().map(|freshness| *freshness.get_ref());
        let destination = self.destination(written.pool.as_ref(), written.split.as_ref(), freshness, pools);
        let password = credentials::required(written.password, &written.place, &who, self.environment, self.complaints);
        let backend_password = credentials::optional(written.backend_password, self.environment, self.complaints);
        let (pool, split) = destination?;
        Some(User {
            name: inner(written.name)?,
            verifier: password?.into_verifier(),
            backend_user: inner(written.backend_user),
            backend_password: match backend_password? {
                Some(password) => Some(password.into_clear()?),
                None => None,
            },
            pool,
            split,
            reuse: inner(written.reuse)?,
            handoff: if inner(written.handoff)? { Handoff::ToServer } else { Handoff::Never },
            max_connections: inner(written.max_connections).filter(|count| *count > 0),
            access: Access::resolve(written.access),
        })
    }

    /// Where a user's statements go: to one pool, or to two.
    fn destination(
        &self,
        pool: Option<&At<String>>,
        split: Option<&SplitSection>,
        freshness: Option<Freshness>,
        pools: &Names,
    ) -> Option<(PoolIndex, Option<Split>)> {
        let find = |name: &At<String>| self.find("pool", name, pools).map(PoolIndex);
        let Some(split) = split else {
            return pool.and_then(find).map(|pool| (pool, None));
        };
        let (write, read) = (split.write.as_ref().and_then(find), split.read.as_ref().and_then(find));
        Some((write?, Some(Split { read: read?, freshness: freshness? })))
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

/// Nothing outside where there was a complaint, nothing inside where nobody promotes.
fn promotion(
    failover: Failover,
    admin: Option<Option<Account>>,
    monitor: Option<&Option<Account>>,
    replication: Option<Option<Account>>,
) -> Option<Option<Promotion>> {
    if failover == Failover::Off {
        return Some(None);
    }
    let admin = match admin {
        Some(admin) => admin?,
        None => monitor?.clone()?,
    };
    Some(Some(Promotion { failover, admin, replication: replication?? }))
}

impl Limits {
    fn resolve(written: LimitsSection) -> Option<Limits> {
        Some(Limits {
            login_timeout: inner(written.login_timeout)?,
            failed_logins: Some(inner(written.failed_logins)?).filter(|count| *count > 0),
            connections_per_address: Some(inner(written.connections_per_address)?).filter(|count| *count > 0),
        })
    }
}

impl Access {
    fn resolve(written: AccessSection) -> Access {
        Access { allow: inner(written.allow).unwrap_or_default(), deny: inner(written.deny).unwrap_or_default() }
    }
}

impl Log {
    fn resolve(file: &File) -> Option<Log> {
        Some(Log { level: *file.log.level.as_ref()?.get_ref(), format: *file.log.format.as_ref()?.get_ref() })
    }
}

impl Admin {
    fn resolve(written: AdminSection) -> Option<Admin> {
        let AdminSection { socket, http, http_host } = written;
        Some(Admin { socket: inner(socket)?, http: inner(http), http_host: inner(http_host) })
    }
}

impl InstantFailover {
    fn resolve(written: InstantFailoverSection) -> Option<InstantFailover> {
        Some(InstantFailover {
            mode: inner(written.mode)?,
            target: inner(written.target),
            error_code: u16::try_from(inner(written.error_code)?).ok()?,
            text: inner(written.text)?,
            redirect_url: inner(written.redirect_url)?,
            followers: match written.followers {
                Some(followers) => all(followers.into_iter().map(Follower::resolve).collect())?,
                None => Follower::known(),
            },
        })
    }
}

impl Follower {
    fn resolve(written: FollowerSection) -> Option<Follower> {
        Some(Follower { name: inner(written.name)?, from: inner(written.from), before: inner(written.before) })
    }
}
