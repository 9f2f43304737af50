//! The configuration: a file as written, resolved into a proven [`Config`].
//!
//! The way of a file: `load` parses it; `read` walks the TOML tree and knows the form of every setting from
//! [`reference`](mod@reference); `file` holds what was written, each value with its place; `resolve` checks the values
//! against each other and makes the [`Config`]. Inside the process there is only the proven value: whoever holds one need not ask again
//! whether a pool exists or a password was given.
//!
//! What is *not* here: applying a configuration (`server`), and anything learned at run time (`topology`).

pub mod change;
mod checks;
mod credentials;
mod effective;
mod error;
mod exposure;
mod file;
mod follower;
mod instant_failover;
mod keys;
pub mod limits;
mod load;
mod network;
mod newcomers;
mod page;
pub mod password;
mod read;
pub mod reference;
mod resolve;
mod sections;
#[cfg(test)]
mod tests;
mod tls;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use change::{Change, changes};
pub use credentials::Environment;
pub use effective::print;
pub use error::{ConfigError, ConfigErrors, Place};
pub use exposure::exposed;
pub use follower::{Follower, Release};
pub use instant_failover::{Entrance, InstantFailover, RedirectMode, RedirectUrl};
pub use load::fuzz_config;
pub use network::{Access, Network};
pub use newcomers::{Newcomers, Source, SourceWord};
pub use tls::{Encryption, KeyPairFiles, ListenerTls, ServerDemand, ServerTls, TlsVersion};
pub(crate) use value::duration;
pub use value::redirect_target;

use crate::protocol::auth::{Secret, Verifier};

/// Everything an operator has decided, checked as a whole.
///
/// Invariant: every index points into its list, every pool can have a member, no fallback leads back to its own pool, no
/// cluster has two servers that are configured as its primary, and the names of listeners, clusters, pools, users, and of the servers of one cluster are unique.
#[derive(Debug)]
pub struct Config {
    /// The process itself: threads, limits on sessions, shutdown.
    pub process: Process,
    /// Where the log goes and how much of it there is.
    pub log: Log,
    /// The door for the operator's own commands.
    pub admin: Admin,
    /// Whether clients are sent elsewhere.
    pub instant_failover: InstantFailover,
    /// Addresses clients connect to, in the order of the file; at least one.
    pub listeners: Vec<Listener>,
    /// Clusters in the order of the file; at least one.
    pub clusters: Vec<Cluster>,
    /// Pools in the order of the file; at least one.
    pub pools: Vec<Pool>,
    /// Users in the order of the file; at least one, or there are newcomers.
    pub users: Vec<User>,
    /// Who else may log in; absent: nobody.
    pub newcomers: Option<Newcomers>,
    /// Bounds that an operator may move; the others are constants in [`limits`].
    pub limits: Limits,
    /// Files with secrets in them that everybody on the machine may read.
    pub exposed_files: Vec<PathBuf>,
}

/// `[process]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Data path threads; `1 ..= limits::WORKERS_MAX`. `"auto"` has become the number of online CPUs.
    pub workers: usize,
    /// Whether each worker stays on a CPU of its own.
    pub pin_workers: bool,
    /// Whether a worker with nothing to do looks a while for what comes next before it sleeps.
    pub busy_poll: bool,
    /// Which way to the kernel the workers take.
    pub io: IoEngine,
    /// Client connections of the whole process, over all workers.
    pub max_sessions: u32,
    /// How long SIGTERM waits for sessions to end by themselves.
    pub shutdown_timeout: Duration,
    /// The version told to clients; absent: that of the servers.
    pub server_version: Option<String>,
    /// Where what must outlive the process is kept: an absolute path.
    pub state_directory: PathBuf,
    /// Whether a crash may leave the process's memory behind in a file.
    pub core_dumps: bool,
}

/// How the workers do their I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoEngine {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    /// io_uring, or no start.
    IoUring,
    /// epoll, even where io_uring would work.
    Epoll,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least important line that is still written.
    pub level: LogLevel,
    /// For people or for a log collector.
    pub format: LogFormat,
}

/// How important a line must be to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what an operator must act on.
    Error,
    /// And what may become a problem.
    Warn,
    /// And what changed.
    Info,
    /// And each session.
    Debug,
    /// And each step of it.
    Trace,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The UNIX socket (mode 0600) that `sqluice status` and its siblings speak to; an absolute path.
    pub socket: PathBuf,
    /// Where the status page and the metrics are to be had over TCP; port 0 lets the kernel choose one.
    pub http: Option<SocketAddr>,
    /// The host's name there, beside its IP addresses and `localhost`.
    pub http_host: Option<String>,
}

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Unique among the listeners.
    pub name: String,
    /// Where it listens; no other listener has the same.
    pub address: ListenAddress,
    /// Whether this is an administrative port, exempt from instant failover mode "on".
    pub extra: bool,
    /// Encryption towards its clients.
    pub tls: ListenerTls,
    /// From where balancers connect that say in a header of the PROXY protocol whose connection it is.
    pub proxies: Vec<Network>,
    /// From where its clients may come.
    pub access: Access,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 lets the kernel choose one.
    Tcp(SocketAddr),
    /// An absolute path, short enough for `sun_path`.
    Unix(PathBuf),
}

/// `[cluster.NAME]`: servers that replicate one data set.
#[derive(Debug)]
pub struct Cluster {
    /// Unique among the clusters.
    pub name: String,
    /// Where the servers' roles come from.
    pub topology: Topology,
    /// The account the health checks use; always there but with [`Topology::Static`].
    pub monitor: Option<Account>,
    /// Who may make another server the primary, and how; absent: nobody here does.
    pub promotion: Option<Promotion>,
    /// From the start of one check of a server to the start of the next.
    pub check_interval: Duration,
    /// When a check that has not answered has failed.
    pub check_timeout: Duration,
    /// Failed checks in a row after which a server is down; at least 1.
    pub fall: u32,
    /// Good checks in a row after which it is up again; at least 1.
    pub rise: u32,
    /// A replica further behind than this is to get no statements.
    pub max_replica_lag: Duration,
    /// How long a statement waits for a usable server before it gets an error.
    pub hold_timeout: Duration,
    /// When a Galera node gets reads that gives another one its data; of no meaning in other topologies.
    pub donor_reads: DonorReads,
    /// Where a server may send its clients so that sessions go there.
    pub follow_redirects: FollowRedirects,
    /// How long a connection to a server may take to stand, up to the server's greeting.
    pub connect_timeout: Duration,
    /// Encryption towards its servers, where they have no settings of their own.
    pub tls: ServerTls,
    /// How long sessions that cannot leave a server stay while it is down.
    pub server_timeout: Duration,
    /// The members in the order of the file; at least one, names and addresses unique.
    pub servers: Vec<Server>,
}

/// Where the roles of a cluster's servers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Asynchronous or semi-synchronous replication: the servers' own `read_only` tells.
    Replication,
    /// Group Replication: the members of the group tell.
    GroupReplication,
    /// The configuration tells: each server's `role` is primary or replica.
    Static,
    /// The nodes of a Galera cluster: their `wsrep_` status tells which of them are in step. All could take writes, one does,
    /// and a read may wait at any of them until it has what the others committed.
    Galera,
}

/// `donor_reads`: when a Galera node gets reads that may be behind, because it gives another one its data, or was taken out of
/// step by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DonorReads {
    /// Only when no node in step is left, in the pool or its fallbacks.
    LastResort,
    /// As if it were in step.
    Always,
}

/// `follow_redirects`: where a session goes that a server sends elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowRedirects {
    /// To another server of the cluster.
    Configured,
    /// To any address.
    Any,
}

/// An account at the servers.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name there.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// `failover` of a `[cluster.NAME]` with [`Topology::Replication`], and what it needs.
#[derive(Debug, Clone)]
pub struct Promotion {
    /// Who decides.
    pub failover: Failover,
    /// Whose account stops and starts replication and changes `read_only`.
    pub admin: Account,
    /// Whose account a former primary follows the new one with.
    pub replication: Account,
}

/// Who decides that another server becomes the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    /// Nobody: roles are found, never made.
    Off,
    /// An operator, with `sqluice switchover`.
    Manual,
    /// An operator, and this process when the primary has certainly failed.
    Automatic,
}

/// `[[cluster.NAME.server]]`: one configured mysqld or mariadbd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Unique in its cluster.
    pub name: String,
    /// Unique in its cluster.
    pub address: ServerAddress,
    /// Share of the sessions compared to the other members, `0 ..= limits::WEIGHT_MAX`; 0: only when no usable one has more.
    pub weight: u32,
    /// What the configuration says of its role.
    pub role: RoleSetting,
    /// Connections that this process opens to it at most; 0: unlimited.
    pub max_connections: u32,
    /// Of servers that are equally far, the one with the most becomes primary, `0 ..= limits::PRIORITY_MAX`; 0: never.
    pub priority: u32,
    /// Encryption towards it.
    pub tls: ServerTls,
    /// Where health checks may still log in when all connections are taken.
    pub extra_port: Option<u16>,
    /// Whether, and how, it is told whose connection it is.
    pub send_proxy: SendProxy,
}

/// `send_proxy`: the header of the PROXY protocol that goes before everything else to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendProxy {
    /// None.
    Off,
    /// The line of text.
    V1,
    /// The binary form.
    V2,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A name or an address (IPv6 without brackets), and a port other than 0.
    Tcp {
        /// What to look up, or an IP address as text.
        host: String,
        /// `1 ..= 65535`.
        port: u16,
    },
    /// An absolute path.
    Unix(PathBuf),
}

/// What the configuration says of a server's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleSetting {
    /// The server itself tells; only with [`Topology::Replication`] and
    /// [`Topology::GroupReplication`].
    Auto,
    /// The primary, whatever it says.
    Primary,
    /// A replica, whatever it says.
    Replica,
}

/// `[pool.NAME]`: the members of a cluster with a role, from which one is picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Unique among the pools.
    pub name: String,
    /// Where its members come from.
    pub cluster: ClusterIndex,
    /// Which servers of the cluster are members.
    pub role: Role,
    /// How one of several usable members is picked.
    pub balance: Balance,
    /// The pool to use while this one has no usable member; following fallbacks always ends.
    pub fallback: Option<PoolIndex>,
}

/// What makes a user's sessions go on at another server than the one that they are at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mobility {
    /// Nothing: there is no other for them, and nobody follows what they set.
    Fixed,
    /// An operator who takes their server out of use: there is time to prove that nothing is lost with that.
    Ordered,
    /// That, and the loss of their server, which they read from: the primary tells what that can have shown at most.
    Reading,
    /// An operator, and the loss of their server or of its writes: another one becomes the primary.
    Free,
}

/// What a server is to its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes the writes.
    Primary,
    /// Follows the primary.
    Replica,
}

/// How one of several usable members is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The fewest connections for its weight.
    LeastConnections,
    /// One after the other, by weight.
    RoundRobin,
    /// By chance, by weight.
    Random,
}

/// `[[user]]`: someone who may log in, and where their statements go.
#[derive(Debug)]
pub struct User {
    /// As the client sends it; unique.
    pub name: String,
    /// What the client's answer is checked against.
    pub verifier: Verifier,
    /// The name to use at the servers, where it is another one.
    pub backend_user: Option<String>,
    /// The password to use at the servers, where it is another one.
    pub backend_password: Option<Secret>,
    /// Where everything this user does goes; with a split, where its sessions are at home and all but reads go.
    pub pool: PoolIndex,
    /// Where reads go; absent: where everything goes.
    pub split: Option<Split>,
    /// How long a session keeps its connections to the servers.
    pub reuse: Reuse,
    /// Whether its clients are sent on to the server that was chosen for them.
    pub handoff: Handoff,
    /// Sessions this user may have at once; absent: unlimited.
    pub max_connections: Option<u32>,
    /// From where it may log in.
    pub access: Access,
}

/// `handoff`: who stays between a client and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handoff {
    /// We do.
    Never,
    /// Nobody, where the client's connector follows `redirect_url`.
    ToServer,
}

/// `backend_reuse`: how long a session keeps a connection to a server before another one may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// As long as the session lasts.
    Session,
    /// As long as a transaction lasts, and as long as the connection has state that cannot be put on another one.
    Transaction,
}

/// `split` of a `[[user]]`: reads may go to another pool.
///
/// Invariant: `read`, the user's own pool and all their fallbacks are pools of one cluster, and the user's own pool and
/// its fallbacks have the primary's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Where reads go.
    pub read: PoolIndex,
    /// How much a read must see.
    pub freshness: Freshness,
}

/// `read_your_writes`: how much a read must see of what its session has seen and written before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// All of it.
    OwnWrites,
    /// What it wrote, for that long, by reading at the primary; then whatever a replica has.
    Within(Duration),
    /// Whatever a replica has.
    Any,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From a client's connection to its finished login.
    pub login_timeout: Duration,
    /// Logins of one address that may fail in a minute; absent: any number.
    pub failed_logins: Option<u32>,
    /// Connections of one address at a time; absent: any number.
    pub connections_per_address: Option<u32>,
}

/// A place in [`Config::clusters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterIndex(pub usize);

/// A place in [`Config::pools`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolIndex(pub usize);

impl Config {
    /// The cluster at `index`, which came out of this configuration.
    pub fn cluster(&self, index: ClusterIndex) -> &Cluster {
        &self.clusters[index.0]
    }

    /// The pool at `index`, which came out of this configuration.
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[index.0]
    }

    /// What makes a user's sessions go on at another server than the one that they are at.
    pub fn mobility(&self, user: &User) -> Mobility {
        let pool = self.pool(user.pool);
        let has_fixed_roles = self.cluster(pool.cluster).topology == Topology::Static;
        match pool.role {
            Role::Primary if !has_fixed_roles => Mobility::Free,
            Role::Replica if !has_fixed_roles && self.leads_to_several(user.pool) => Mobility::Reading,
            Role::Primary | Role::Replica if self.leads_to_several(user.pool) => Mobility::Ordered,
            Role::Primary | Role::Replica => Mobility::Fixed,
        }
    }

    /// Whether a pool and its fallbacks may have more than one member.
    fn leads_to_several(&self, pool: PoolIndex) -> bool {
        let mut members = self.chain(pool).flat_map(|pool| {
            let Pool { cluster, role, .. } = *self.pool(pool);
            let Cluster { topology, servers, .. } = self.cluster(cluster);
            let may_be_one = move |server: &&Server| match (topology, server.role) {
                (Topology::Static, RoleSetting::Primary) => role == Role::Primary,
                (Topology::Static, RoleSetting::Replica) => role == Role::Replica,
                _ => true,
            };
            servers.iter().filter(may_be_one).map(move |server| (cluster, &server.name))
        });
        let first = members.next();
        members.any(|member| Some(member) != first)
    }

    /// A pool, its fallback, the fallback of that, and so on. Ends: no chain is longer than there are pools.
    pub fn chain(&self, first: PoolIndex) -> impl Iterator<Item = PoolIndex> + '_ {
        std::iter::successors(Some(first), |&pool| self.pool(pool).fallback).take(self.pools.len())
    }

    /// Whether any server is told whose connections it gets.
    pub fn sends_proxy_headers(&self) -> bool {
        self.clusters.iter().flat_map(|cluster| &cluster.servers).any(|server| server.send_proxy != SendProxy::Off)
    }

    /// The pool of that name.
    pub fn pool_by_name(&self, name: &str) -> Option<PoolIndex> {
        self.pools.iter().position(|pool| pool.name == name).map(PoolIndex)
    }

    /// The user of that name, or who stands for those that are not named. Names at the door are bytes; ours are UTF-8.
    pub fn user(&self, name: &[u8]) -> Option<&User> {
        let named = self.users.iter().find(|user| user.name.as_bytes() == name);
        named.or(self.newcomers.as_ref().map(|newcomers| &newcomers.route))
    }

    /// Every way to serve somebody: those of the users, and that of newcomers.
    pub fn routes(&self) -> impl Iterator<Item = &User> {
        self.users.iter().chain(self.newcomers.as_ref().map(|newcomers| &newcomers.route))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(out, "{address}"),
            ListenAddress::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Tcp { host, port } if host.contains(':') => {
                write!(out, "[{host}]:{port}")
            }
            ServerAddress::Tcp { host, port } => write!(out, "{host}:{port}"),
            ServerAddress::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}
