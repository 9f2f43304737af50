//! Every bound of the process, in one place: its name, its value, its unit, and what it keeps from happening.
//!
//! Most are constants: an operator would not know a better value, and code may rely on them. Those worth moving are
//! settings. [`worst_case_bytes`] adds up what all of them allow together, line by line, so that the sum printed at
//! start can be compared with the machine's memory before the machine does it.

use std::{fmt, time::Duration};

use super::{Config, Encryption, Mobility, ServerDemand, SourceWord};

// What may be written in a configuration.

/// Bytes of a configuration file. A hundred thousand users fit; a device or a log named by mistake does not.
pub const CONFIG_FILE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a `password_file`. A file this large holds something else than a password.
pub const PASSWORD_FILE_BYTES_MAX: usize = 4096;
/// Errors reported for one configuration file; the others are only counted.
pub const CONFIG_ERRORS_MAX: usize = 50;
/// Data path threads: a session's number has room for this many.
pub const WORKERS_MAX: usize = 256;
/// Sessions of the process: twice this many sockets must stay below the largest `nofile` limit in use (2^30).
pub const SESSIONS_MAX: u32 = 1_000_000;
/// Addresses to listen on. Each has a socket on every worker.
pub const LISTENERS_MAX: usize = 64;
/// Clusters of one configuration.
pub const CLUSTERS_MAX: usize = 256;
/// Servers of one cluster. Each has its own health check.
pub const SERVERS_PER_CLUSTER_MAX: usize = 128;
/// Pools of one configuration.
pub const POOLS_MAX: usize = 1024;
/// Users of one configuration.
pub const USERS_MAX: usize = 100_000;
/// A server's weight. Higher ones would only make rounding visible.
pub const WEIGHT_MAX: u32 = 1000;
/// A server's priority at promotions.
pub const PRIORITY_MAX: u32 = 1000;
/// Bytes of the name of a listener, cluster, server or pool.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of a user's name: MariaDB allows 128 characters, MySQL 32.
pub const USER_NAME_BYTES_MAX: usize = 128;
/// Bytes of a password: the most that `caching_sha2_password` accepts.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Bytes of a host's name, as DNS bounds it.
pub const HOST_NAME_BYTES_MAX: usize = 253;
/// Bytes of an advertised server version.
pub const SERVER_VERSION_BYTES_MAX: usize = 64;
/// Bytes of the path of a UNIX socket: `sun_path` without its closing NUL.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Bytes of the words with which clients are sent elsewhere: with the longest address they fit a message of any connector.
pub const REDIRECT_TEXT_BYTES_MAX: usize = 200;

/// Networks of one list; each is looked at when a client comes.
pub const NETWORKS_MAX: usize = 256;

/// Connectors that are said to follow `redirect_url`; each is looked at when a client of another balancer logs in.
pub const FOLLOWERS_MAX: usize = 32;

// What a worker holds. The rings' buffers are allocated once; everything else grows to its bound and no further.

/// Small ring buffers of a worker: enough for every busy session's command of one turn, and they stay in the CPU's cache.
pub const SMALL_BUFFERS: usize = 512;
/// Bytes of a small ring buffer.
pub const SMALL_BUFFER_BYTES: usize = 4 << 10;
/// Large ring buffers of a worker, for sockets that stream.
pub const LARGE_BUFFERS: usize = 64;
/// Bytes of a large ring buffer.
pub const LARGE_BUFFER_BYTES: usize = 32 << 10;
/// Spans of one send: more would not go out in one call anyway.
pub const SEND_SPANS_MAX: usize = 16;
/// Bytes a connection keeps for a peer that does not read; above it, the other end is not read either.
pub const OVERFLOW_HIGH_WATER: usize = 128 << 10;
/// Bytes of it left when the other end is read again. A gap between the two keeps a slow peer from flapping.
pub const OVERFLOW_LOW_WATER: usize = 32 << 10;
/// Bytes that one turn may bring of one socket before it can be stopped: all the free buffers of a group.
pub const BURST_BYTES: usize = SMALL_BUFFERS * SMALL_BUFFER_BYTES;
/// Bytes of one packet of a login: 64 KiB of connection attributes and 1 KiB of all the rest. No connection keeps more
/// bytes that its session cannot use yet.
pub const LOGIN_PACKET_MAX: usize = (64 << 10) + (1 << 10);
/// Servers that a session is connected to where its user's statements are split: the primary and a replica.
pub const SPLIT_SERVERS: usize = 2;
/// Bytes of the prepared statements that a session with two servers keeps to prepare them at the second; further ones
/// stay at the first.
pub const SPLIT_STATEMENTS_BYTES: usize = 256 << 10;
/// Bytes of the variables that such a session has changed; one with more stays at its first server.
pub const SPLIT_SETTINGS_BYTES: usize = 16 << 10;
/// Bytes of the longest command that such a session looks into, and keeps until the next one, to say it again.
pub const SPLIT_COMMAND_BYTES: usize = LOGIN_PACKET_MAX;
/// Sessions of a worker that may wait for a server at once; the next one is refused.
pub const WAITERS_MAX: usize = 16 << 10;
/// Sessions of a worker that log in at one server at once; the next ones wait, so that a server that has just become the
/// primary is not met by all of them together.
pub const LOGINS_AT_SERVER_MAX: usize = 64;
/// Those that take longer do not count among them.
pub const LOGIN_PACE_TIME: Duration = Duration::from_secs(1);
/// So long a login may take in any case. Where places are wanted, by a newcomer of a process that is full or half full of
/// clients that have not logged in, the one that has been at it longest is closed.
pub const LOGIN_TIME_MIN: Duration = Duration::from_secs(1);
/// Addresses whose failed logins are remembered; of more, those are forgotten that owe least.
pub const FAILING_ADDRESSES_MAX: usize = 32 << 10;
/// Of those, the ones among which a new one finds its place.
pub const FAILING_ADDRESSES_OF_A_SET: usize = 8;
/// Orders from the control thread that a worker may have unread.
pub const MAILBOX_ORDERS: usize = 1024;
/// Reports from all workers that the health checks may have unread; further ones are dropped, as checks find out anyway.
pub const REPORTS_MAX: usize = 1024;

// What one of each takes, in bytes. The modules that own the values check their size against these.

/// One session with its connections between two commands: states, pins, names, places in lists.
pub const SESSION_STATE_BYTES: usize = 4 << 10;
/// The TLS of one connection: its keys, and what it has of a handshake or of a record that has not come whole.
pub const TLS_BYTES: usize = 80 << 10;
/// All buffers of a worker; where there is TLS, as many again for plaintext and records.
pub const BUFFERS_BYTES: usize = SMALL_BUFFERS * SMALL_BUFFER_BYTES + LARGE_BUFFERS * LARGE_BUFFER_BYTES;
/// A worker's ring: 512 submissions of 64 bytes and 4096 completions of 16, and where the buffers are on offer.
pub const RING_BYTES: usize = 512 * 64 + 4096 * 16 + (SMALL_BUFFERS + LARGE_BUFFERS) * 16;
/// What a session that uses several servers keeps beside that: of commands the last read at its replica, the query whose rows
/// may be asked for behind that, what is under way at home, and the same for another home.
pub const SPLIT_BYTES: usize = SPLIT_STATEMENTS_BYTES + SPLIT_SETTINGS_BYTES + 4 * SPLIT_COMMAND_BYTES;
/// One order in a mailbox.
pub const ORDER_BYTES: usize = 128;
/// One report to the health checks.
pub const REPORT_BYTES: usize = 64;
/// One waiting session's place in the queue.
pub const WAITER_BYTES: usize = 64;
/// One address whose logins have failed.
pub const FAILING_ADDRESS_BYTES: usize = 32;
/// One user of the routing table, with a name and a password of ordinary length.
pub const USER_BYTES: usize = 1024;

/// Accounts that are read from the servers; further ones cannot log in, and the log says so.
pub const ACCOUNTS_MAX: usize = 100_000;

/// Bytes of an account that was read: its name, its host and what is stored of its password.
pub const ACCOUNT_BYTES: usize = 512;

/// Passwords that are learnt; whoever was learnt longest ago makes room for the next. Each has a page of its own that is
/// kept out of swap, and together they stay below the 8 MiB that a process may lock without being asked.
pub const LEARNT_MAX: usize = 1024;

/// Logins of one worker that wait for the accounts to be read; further ones get the answer that there is.
pub const INQUIRERS_MAX: usize = 1024;

/// Servers outside of the configuration that sessions are at; a session that is sent to one more goes to a configured one.
pub const OUTSIDE_SERVERS_MAX: usize = 256;

/// Names of such servers that are being looked up, or were of late; a further one is not.
pub const OUTSIDE_NAMES_MAX: usize = 64;

/// Sessions of one worker that wait for such a name; further ones go to a configured server.
pub const TRAVELLERS_MAX: usize = 1024;

/// Routing tables alive at once: the one in use, the next one, and one that a worker has not let go of yet.
pub const TABLES_ALIVE: usize = 3;

/// One constant bound, for the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// What is bounded.
    pub name: &'static str,
    /// The bound itself.
    pub value: usize,
    /// What it counts.
    pub unit: &'static str,
    /// What happens at the bound.
    pub at_the_bound: &'static str,
}

/// The constant bounds an operator may run into, and what happens then.
pub const BOUNDS: &[Bound] = &[
    bound("configuration file", CONFIG_FILE_BYTES_MAX, "bytes", "the file is refused"),
    bound("password file", PASSWORD_FILE_BYTES_MAX, "bytes", "the configuration is refused"),
    bound("errors of a configuration", CONFIG_ERRORS_MAX, "errors", "further ones are only counted"),
    bound("listeners", LISTENERS_MAX, "listeners", "the configuration is refused"),
    bound("clusters", CLUSTERS_MAX, "clusters", "the configuration is refused"),
    bound("servers of a cluster", SERVERS_PER_CLUSTER_MAX, "servers", "the configuration is refused"),
    bound("pools", POOLS_MAX, "pools", "the configuration is refused"),
    bound("users", USERS_MAX, "users", "the configuration is refused"),
    bound("accounts that are read", ACCOUNTS_MAX, "accounts", "further ones cannot log in, and the log says so"),
    bound("passwords that are learnt", LEARNT_MAX, "passwords", "the one learnt longest ago is forgotten"),
    bound("logins of a worker waiting for accounts", INQUIRERS_MAX, "logins", "the next one is refused as unknown"),
    bound("servers outside of the configuration", OUTSIDE_SERVERS_MAX, "addresses", "nobody is sent to the next one"),
    bound(
        "names outside of the configuration being looked up",
        OUTSIDE_NAMES_MAX,
        "names",
        "nobody is sent to the next one",
    ),
    bound(
        "sessions of a worker waiting for such a name",
        TRAVELLERS_MAX,
        "sessions",
        "the next one goes to a configured server",
    ),
    bound(
        "time of a login while places are wanted",
        LOGIN_TIME_MIN.as_millis() as usize,
        "ms",
        "of a process that is full, or half full of clients that log in, the one at it longest is closed for a newcomer",
    ),
    bound("login packet", LOGIN_PACKET_MAX, "bytes", "the login is refused"),
    bound("sessions of a worker waiting for a server", WAITERS_MAX, "sessions", "the next one gets an error"),
    bound(
        "sessions of a worker logging in at one server",
        LOGINS_AT_SERVER_MAX,
        "sessions",
        "the next one waits until one is in, or has been at it for a second",
    ),
    bound(
        "addresses whose failed logins are remembered",
        FAILING_ADDRESSES_MAX,
        "addresses",
        "one that owes little is forgotten",
    ),
    bound("header of the PROXY protocol", crate::protocol::proxy::HEADER_MAX, "bytes", "the connection is closed"),
    bound(
        "bytes kept for a peer that does not read",
        OVERFLOW_HIGH_WATER,
        "bytes",
        "the other end is not read until 32768 bytes are left",
    ),
];

const fn bound(name: &'static str, value: usize, unit: &'static str, at_the_bound: &'static str) -> Bound {
    Bound { name, value, unit, at_the_bound }
}

const _: () =
    assert!(OVERFLOW_LOW_WATER < OVERFLOW_HIGH_WATER, "a paused peer must be resumed below the mark it was paused at");
const _: () = assert!(LARGE_BUFFER_BYTES <= OVERFLOW_LOW_WATER, "one receive must fit between the marks");
const _: () = assert!(LARGE_BUFFERS * LARGE_BUFFER_BYTES <= BURST_BYTES, "a burst may come in either group");

/// One line of the sum: so many, of so many bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// What takes the memory.
    pub what: &'static str,
    /// How many there can be.
    pub count: usize,
    /// What one of them takes at most.
    pub bytes_each: usize,
}

impl Share {
    /// `count * bytes_each`; a sum too large for the machine is still a number.
    pub fn bytes(&self) -> usize {
        self.count.saturating_mul(self.bytes_each)
    }
}

/// What the process can take at most, as a sum one can read. [`Display`](fmt::Display) prints a line a share and the total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorstCase {
    /// The parts, in the order of the data path.
    pub shares: Vec<Share>,
}

impl WorstCase {
    /// The sum of all shares.
    pub fn bytes(&self) -> usize {
        self.shares.iter().map(Share::bytes).fold(0, usize::saturating_add)
    }
}

/// The most memory that a process with this configuration allocates for its data path, whatever its peers do.
///
/// Not in it: the program itself, the control thread's libraries, and what the kernel keeps for each socket.
pub fn worst_case_bytes(config: &Config) -> WorstCase {
    let sessions = config.process.max_sessions as usize;
    let workers = config.process.workers;
    let waiters = sessions.min(workers.saturating_mul(WAITERS_MAX));
    // A session has its client's connection and its servers', and now and then one more to log in or to kill.
    let is_split = config.routes().any(|user| user.split.is_some());
    let servers = if is_split { SPLIT_SERVERS } else { 1 };
    let splits =
        if is_split || config.routes().any(|user| config.mobility(user) != Mobility::Fixed) { sessions } else { 0 };
    let (connections, logins) = (sessions.saturating_mul(1 + servers), sessions.saturating_mul(2 + servers));
    let newcomers = config.newcomers.as_ref();
    let reads_accounts = newcomers.is_some_and(|newcomers| newcomers.source.word() == SourceWord::Servers);
    let share = |what, count, bytes_each| Share { what, count, bytes_each };
    let shares = vec![
        share("small ring buffers", workers.saturating_mul(SMALL_BUFFERS), SMALL_BUFFER_BYTES),
        share("large ring buffers", workers.saturating_mul(LARGE_BUFFERS), LARGE_BUFFER_BYTES),
        share("rings", workers, RING_BYTES),
        share("sessions", sessions, SESSION_STATE_BYTES),
        share("packets of logins", logins, LOGIN_PACKET_MAX),
        share("TLS of connections", sealed_connections(config), TLS_BYTES),
        share(
            "buffers that TLS opens and seals in",
            if sealed_connections(config) > 0 { workers } else { 0 },
            BUFFERS_BYTES,
        ),
        share("bytes for peers that do not read", connections, OVERFLOW_HIGH_WATER),
        // What comes up to the mark in one turn is kept as a whole.
        share("the same, behind a burst of a turn", connections, BURST_BYTES),
        share("statements and settings of sessions that use several servers", splits, SPLIT_BYTES),
        share("sessions waiting for a server", waiters, WAITER_BYTES),
        share("orders to workers", workers.saturating_mul(MAILBOX_ORDERS), ORDER_BYTES),
        share("addresses whose logins have failed", FAILING_ADDRESSES_MAX, FAILING_ADDRESS_BYTES),
        share("reports to the health checks", REPORTS_MAX, REPORT_BYTES),
        // The next reading stands beside the one before.
        share(
            "accounts that are read from the servers",
            if reads_accounts { 2 * ACCOUNTS_MAX } else { 0 },
            ACCOUNT_BYTES,
        ),
        share("passwords that are learnt", if config.newcomers.is_some() { LEARNT_MAX } else { 0 }, 4096),
        share("users, in each routing table alive", config.users.len().saturating_mul(TABLES_ALIVE), USER_BYTES),
    ];
    WorstCase { shares }
}

/// Connections that may use TLS: those of all clients, if a listener has it, and those to servers, if one does.
fn sealed_connections(config: &Config) -> usize {
    let sessions = config.process.max_sessions as usize;
    let servers = config.clusters.iter().flat_map(|cluster| &cluster.servers);
    let with_clients = config.listeners.iter().any(|listener| listener.tls.demand != Encryption::Disabled);
    let with_servers = servers.into_iter().any(|server| server.tls.demand != ServerDemand::Disabled);
    let is_split = config.routes().any(|user| user.split.is_some());
    let each = usize::from(with_clients) + if with_servers { if is_split { SPLIT_SERVERS } else { 1 } } else { 0 };
    sessions.saturating_mul(each)
}

impl fmt::Display for WorstCase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for share in &self.shares {
            let (total, each) = (Bytes(share.bytes()), Bytes(share.bytes_each));
            writeln!(out, "{:>10}  {} x {} {}", total.to_string(), share.count, each, share.what)?;
        }
        write!(out, "{:>10}  at most", Bytes(self.bytes()).to_string())
    }
}

/// A number of bytes as people read it, in the largest unit that leaves at least one digit before the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(usize, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) if self.0.is_multiple_of(*size) => write!(out, "{} {unit}", self.0 / size),
            Some((size, unit)) => write!(out, "{:.1} {unit}", self.0 as f64 / *size as f64),
            None => write!(out, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_printed_in_the_largest_fitting_unit() {
        let printed = |bytes| Bytes(bytes).to_string();
        assert_eq!(printed(0), "0 B");
        assert_eq!(printed(1023), "1023 B");
        assert_eq!(printed(4096), "4 KiB");
        assert_eq!(printed(65 << 10), "65 KiB");
        assert_eq!(printed(3 << 29), "1.5 GiB");
        assert_eq!(printed(1 << 41), "2 TiB");
    }

    #[test]
    fn the_sum_is_that_of_its_lines_and_an_impossible_one_saturates() {
        let share = |count, bytes_each| Share { what: "things", count, bytes_each };
        let worst = WorstCase { shares: vec![share(3, 1024), share(1, 1024)] };
        assert_eq!(worst.bytes(), 4096);
        assert_eq!(
            worst.to_string(),
            "     3 KiB  3 x 1 KiB things\n     1 KiB  1 x 1 KiB things\n     4 KiB  at most"
        );
        assert_eq!(WorstCase { shares: vec![share(usize::MAX, 2), share(1, 1)] }.bytes(), usize::MAX);
    }
}
