//! The file as written: each value has its form and its place, but nothing is known of how the values fit together.
//!
//! A part that is absent was either not written, or has been complained about by the reader.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::read::{At, Reader};
use super::{
    Balance, DonorReads, Encryption, Failover, FollowRedirects, Freshness, IoEngine, ListenAddress, LogFormat,
    LogLevel, Network, RedirectMode, RedirectUrl, Release, Reuse, Role, RoleSetting, SendProxy, ServerAddress,
    ServerDemand, SourceWord, TlsVersion, Topology,
};
use crate::protocol::auth::{Secret, Verifier};
use crate::protocol::redirect::Target;

pub(crate) struct File {
    pub(crate) process: ProcessSection,
    pub(crate) log: LogSection,
    pub(crate) admin: AdminSection,
    pub(crate) instant_failover: InstantFailoverSection,
    pub(crate) listeners: Vec<ListenerSection>,
    pub(crate) clusters: Vec<ClusterSection>,
    pub(crate) pools: Vec<PoolSection>,
    pub(crate) users: Vec<UserSection>,
    pub(crate) newcomers: NewcomersSection,
    pub(crate) limits: LimitsSection,
}

pub(crate) struct LimitsSection {
    pub(crate) login_timeout: Option<At<Duration>>,
    pub(crate) failed_logins: Option<At<u32>>,
    pub(crate) connections_per_address: Option<At<u32>>,
}

/// `allow_from` and `deny_from`.
pub(crate) struct AccessSection {
    pub(crate) allow: Option<At<Vec<Network>>>,
    pub(crate) deny: Option<At<Vec<Network>>>,
}

/// `[users]`
pub(crate) struct NewcomersSection {
    pub(crate) place: Range<usize>,
    pub(crate) source: Option<At<SourceWord>>,
    pub(crate) account: Option<AccountSection>,
    /// Whether one was written at all: one that was refused is not missing.
    pub(crate) has_account: bool,
    pub(crate) pool: Option<At<String>>,
    pub(crate) split: Option<SplitSection>,
    /// Settings of those who have no entry, with their places.
    pub(crate) written: Vec<(&'static str, Range<usize>)>,
    pub(crate) refresh_interval: Option<At<Duration>>,
    pub(crate) learn_ttl: Option<At<Duration>>,
}

pub(crate) struct ProcessSection {
    /// Nothing inside: `"auto"`.
    pub(crate) workers: Option<At<Option<u32>>>,
    pub(crate) pin_workers: Option<At<bool>>,
    pub(crate) busy_poll: Option<At<bool>>,
    pub(crate) io: Option<At<IoEngine>>,
    pub(crate) max_sessions: Option<At<u32>>,
    pub(crate) shutdown_timeout: Option<At<Duration>>,
    pub(crate) server_version: Option<At<String>>,
    pub(crate) state_directory: Option<At<PathBuf>>,
    pub(crate) core_dumps: Option<At<bool>>,
}

pub(crate) struct LogSection {
    pub(crate) level: Option<At<LogLevel>>,
    pub(crate) format: Option<At<LogFormat>>,
}

pub(crate) struct AdminSection {
    pub(crate) socket: Option<At<PathBuf>>,
    pub(crate) http: Option<At<SocketAddr>>,
    pub(crate) http_host: Option<At<String>>,
}

pub(crate) struct InstantFailoverSection {
    pub(crate) mode: Option<At<RedirectMode>>,
    pub(crate) target: Option<At<Target>>,
    /// Whether a target was written at all: one that was refused is not missing.
    pub(crate) has_target: bool,
    pub(crate) error_code: Option<At<u32>>,
    pub(crate) text: Option<At<String>>,
    pub(crate) redirect_url: Option<At<RedirectUrl>>,
    /// Absent: those that are known.
    pub(crate) followers: Option<Vec<FollowerSection>>,
}

pub(crate) struct FollowerSection {
    pub(crate) name: Option<At<String>>,
    pub(crate) from: Option<At<Release>>,
    pub(crate) before: Option<At<Release>>,
}

pub(crate) struct ListenerSection {
    pub(crate) name: Option<At<String>>,
    pub(crate) address: Option<At<ListenAddress>>,
    pub(crate) extra: Option<At<bool>>,
    pub(crate) tls: Option<At<Encryption>>,
    pub(crate) identity: IdentitySection,
    pub(crate) tls_minimum: Option<At<TlsVersion>>,
    pub(crate) tls_client_ca: Option<At<PathBuf>>,
    pub(crate) require_client_certificate: Option<At<bool>>,
    pub(crate) proxies: Option<At<Vec<Network>>>,
    pub(crate) access: AccessSection,
}

/// `tls_certificate` and `tls_key`, of which none or both are written.
pub(crate) struct IdentitySection {
    pub(crate) certificate: Option<At<PathBuf>>,
    pub(crate) key: Option<At<PathBuf>>,
}

/// TLS towards servers, of a cluster or of one of them.
pub(crate) struct ServerTlsSection {
    pub(crate) demand: Option<At<ServerDemand>>,
    pub(crate) ca: Option<At<PathBuf>>,
    pub(crate) identity: IdentitySection,
}

pub(crate) struct ClusterSection {
    pub(crate) name: At<String>,
    pub(crate) topology: Option<At<Topology>>,
    pub(crate) monitor: Option<AccountSection>,
    /// Whether a monitor was written at all: one that was refused is not missing.
    pub(crate) has_monitor: bool,
    pub(crate) failover: Option<At<Failover>>,
    pub(crate) admin: Option<AccountSection>,
    pub(crate) replication: Option<AccountSection>,
    /// Whether it was written at all, as above.
    pub(crate) has_replication: bool,
    pub(crate) check_interval: Option<At<Duration>>,
    pub(crate) check_timeout: Option<At<Duration>>,
    pub(crate) fall: Option<At<u32>>,
    pub(crate) rise: Option<At<u32>>,
    pub(crate) connect_timeout: Option<At<Duration>>,
    pub(crate) server_timeout: Option<At<Duration>>,
    pub(crate) max_replica_lag: Option<At<Duration>>,
    pub(crate) hold_timeout: Option<At<Duration>>,
    pub(crate) donor_reads: Option<At<DonorReads>>,
    pub(crate) follow_redirects: Option<At<FollowRedirects>>,
    pub(crate) tls: ServerTlsSection,
    pub(crate) servers: Vec<ServerSection>,
}

pub(crate) struct AccountSection {
    pub(crate) place: Range<usize>,
    pub(crate) user: Option<At<String>>,
    pub(crate) password: PasswordForms,
}

pub(crate) struct ServerSection {
    pub(crate) name: Option<At<String>>,
    pub(crate) address: Option<At<ServerAddress>>,
    pub(crate) weight: Option<At<u32>>,
    pub(crate) role: Option<At<RoleSetting>>,
    pub(crate) max_connections: Option<At<u32>>,
    pub(crate) priority: Option<At<u32>>,
    pub(crate) tls: ServerTlsSection,
    pub(crate) extra_port: Option<At<u32>>,
    pub(crate) send_proxy: Option<At<SendProxy>>,
}

pub(crate) struct PoolSection {
    pub(crate) name: At<String>,
    pub(crate) cluster: Option<At<String>>,
    pub(crate) role: Option<At<Role>>,
    pub(crate) balance: Option<At<Balance>>,
    pub(crate) fallback: Option<At<String>>,
}

pub(crate) struct UserSection {
    pub(crate) place: Range<usize>,
    pub(crate) name: Option<At<String>>,
    pub(crate) password: PasswordForms,
    pub(crate) pool: Option<At<String>>,
    pub(crate) split: Option<SplitSection>,
    /// Whether a split was written at all: one that was refused is not missing.
    pub(crate) has_split: bool,
    pub(crate) freshness: Option<At<Freshness>>,
    /// Settings that mean nothing without a split, with their places.
    pub(crate) written_for_split: Vec<(&'static str, Range<usize>)>,
    pub(crate) reuse: Option<At<Reuse>>,
    pub(crate) handoff: Option<At<bool>>,
    pub(crate) max_connections: Option<At<u32>>,
    pub(crate) backend_user: Option<At<String>>,
    pub(crate) backend_password: PasswordForms,
    pub(crate) access: AccessSection,
}

pub(crate) struct SplitSection {
    pub(crate) place: Range<usize>,
    pub(crate) write: Option<At<String>>,
    pub(crate) read: Option<At<String>>,
}

/// The ways a password can be given, of which one may be used.
pub(crate) struct PasswordForms {
    /// The names that the forms have in this table.
    pub(crate) names: &'static [&'static str],
    /// Those that were written and where, also if their value was refused.
    pub(crate) written: Vec<(&'static str, Range<usize>)>,
    pub(crate) clear: Option<At<Secret>>,
    pub(crate) file: Option<At<String>>,
    pub(crate) variable: Option<At<String>>,
    pub(crate) hash: Option<At<Verifier>>,
}

impl File {
    pub(crate) fn read(root: Reader<'_>) -> File {
        let file = File {
            process: root.table("process", ProcessSection::read),
            log: root.table("log", LogSection::read),
            admin: root.table("admin", AdminSection::read),
            instant_failover: root.table("instant_failover", InstantFailoverSection::read),
            listeners: root.tables("listener", ListenerSection::read),
            clusters: root.named_tables("cluster", ClusterSection::read),
            pools: root.named_tables("pool", PoolSection::read),
            users: root.tables("user", UserSection::read),
            newcomers: root.table("users", NewcomersSection::read),
            limits: root.table("limits", LimitsSection::read),
        };
        root.finish();
        file
    }
}

impl ProcessSection {
    fn read(table: Reader<'_>) -> ProcessSection {
        let section = ProcessSection {
            workers: table.count_or_auto("workers"),
            pin_workers: table.boolean("pin_workers"),
            busy_poll: table.boolean("busy_poll"),
            io: table.choice("io"),
            max_sessions: table.count("max_sessions"),
            shutdown_timeout: table.duration("shutdown_timeout"),
            server_version: table.text("server_version"),
            state_directory: table.folder("state_directory"),
            core_dumps: table.boolean("core_dumps"),
        };
        table.finish();
        section
    }
}

impl LogSection {
    fn read(table: Reader<'_>) -> LogSection {
        let section = LogSection { level: table.choice("level"), format: table.choice("format") };
        table.only("access");
        table.finish();
        section
    }
}

impl AdminSection {
    fn read(table: Reader<'_>) -> AdminSection {
        let section = AdminSection {
            socket: table.socket_path("socket"),
            http: table.tcp_address("http"),
            http_host: table.text("http_host"),
        };
        table.finish();
        section
    }
}

impl NewcomersSection {
    fn read(table: Reader<'_>) -> NewcomersSection {
        let section = NewcomersSection {
            place: table.place(),
            source: table.choice("source"),
            account: table.optional_table("account", AccountSection::read),
            has_account: table.place_of("account").is_some(),
            pool: table.name("pool"),
            split: table.optional_table("split", SplitSection::read),
            written: written(&table, &["account", "pool", "split"]),
            refresh_interval: table.duration("refresh_interval"),
            learn_ttl: table.duration("learn_ttl"),
        };
        table.finish();
        section
    }
}

impl LimitsSection {
    fn read(table: Reader<'_>) -> LimitsSection {
        let section = LimitsSection {
            login_timeout: table.duration("login_timeout"),
            failed_logins: table.count("failed_logins"),
            connections_per_address: table.count("connections_per_address"),
        };
        table.finish();
        section
    }
}

impl AccessSection {
    fn read(table: &Reader<'_>) -> AccessSection {
        AccessSection { allow: table.networks("allow_from"), deny: table.networks("deny_from") }
    }
}

impl InstantFailoverSection {
    fn read(table: Reader<'_>) -> InstantFailoverSection {
        let section = InstantFailoverSection {
            mode: table.choice("mode"),
            target: table.redirect_target("target"),
            has_target: table.place_of("target").is_some(),
            error_code: table.count("error_code"),
            text: table.unbarred_text("text"),
            redirect_url: table.choice("redirect_url"),
            followers: followers(&table),
        };
        table.finish();
        section
    }
}

fn followers(table: &Reader<'_>) -> Option<Vec<FollowerSection>> {
    let followers = table.tables("follower", FollowerSection::read);
    table.place_of("follower").map(|_| followers)
}

impl FollowerSection {
    fn read(table: Reader<'_>) -> FollowerSection {
        let section =
            FollowerSection { name: table.text("name"), from: table.release("from"), before: table.release("before") };
        table.finish();
        section
    }
}

impl ListenerSection {
    fn read(table: Reader<'_>) -> ListenerSection {
        let section = ListenerSection {
            name: table.name("name"),
            address: table.listen_address("address"),
            extra: table.boolean("extra"),
            tls: table.choice("tls"),
            identity: IdentitySection::read(&table),
            tls_minimum: table.choice("tls_minimum"),
            tls_client_ca: table.file("tls_client_ca"),
            require_client_certificate: table.boolean("require_client_certificate"),
            proxies: table.networks("proxy_protocol_from"),
            access: AccessSection::read(&table),
        };
        table.finish();
        section
    }
}

impl IdentitySection {
    fn read(table: &Reader<'_>) -> IdentitySection {
        IdentitySection { certificate: table.file("tls_certificate"), key: table.file("tls_key") }
    }
}

impl ServerTlsSection {
    fn read(table: &Reader<'_>) -> ServerTlsSection {
        ServerTlsSection {
            demand: table.choice("tls"),
            ca: table.file("tls_ca"),
            identity: IdentitySection::read(table),
        }
    }
}

impl ClusterSection {
    fn read(name: At<String>, table: Reader<'_>) -> ClusterSection {
        let section = ClusterSection {
            name,
            topology: table.choice("topology"),
            monitor: table.optional_table("monitor", AccountSection::read),
            has_monitor: table.place_of("monitor").is_some(),
            failover: table.choice("failover"),
            admin: table.optional_table("admin", AccountSection::read),
            replication: table.optional_table("replication", AccountSection::read),
            has_replication: table.place_of("replication").is_some(),
            check_interval: table.duration("check_interval"),
            check_timeout: table.duration("check_timeout"),
            fall: table.count("fall"),
            rise: table.count("rise"),
            connect_timeout: table.duration("connect_timeout"),
            server_timeout: table.duration("server_timeout"),
            max_replica_lag: table.duration("max_replica_lag"),
            hold_timeout: table.duration("hold_timeout"),
            donor_reads: table.choice("donor_reads"),
            follow_redirects: table.choice("follow_redirects"),
            tls: ServerTlsSection::read(&table),
            servers: table.tables("server", ServerSection::read),
        };
        table.finish();
        section
    }
}

impl AccountSection {
    fn read(table: Reader<'_>) -> AccountSection {
        let section =
            AccountSection { place: table.place(), user: table.text("user"), password: PasswordForms::read(&table) };
        table.finish();
        section
    }
}

impl ServerSection {
    fn read(table: Reader<'_>) -> ServerSection {
        let section = ServerSection {
            name: table.name("name"),
            address: table.server_address("address"),
            weight: table.count("weight"),
            role: table.choice("role"),
            max_connections: table.count("max_connections"),
            priority: table.count("priority"),
            tls: ServerTlsSection::read(&table),
            extra_port: table.count("extra_port"),
            send_proxy: table.choice("send_proxy"),
        };
        table.finish();
        section
    }
}

impl PoolSection {
    fn read(name: At<String>, table: Reader<'_>) -> PoolSection {
        let section = PoolSection {
            name,
            cluster: table.name("cluster"),
            role: table.choice("role"),
            balance: table.choice("balance"),
            fallback: table.name("fallback"),
        };
        table.finish();
        section
    }
}

impl UserSection {
    fn read(table: Reader<'_>) -> UserSection {
        let section = UserSection {
            place: table.place(),
            name: table.text("name"),
            password: PasswordForms::read_with_hash(&table),
            pool: table.name("pool"),
            split: table.optional_table("split", SplitSection::read),
            has_split: table.place_of("split").is_some(),
            freshness: table.freshness("read_your_writes"),
            written_for_split: written(&table, &["read_your_writes"]),
            reuse: table.choice("backend_reuse"),
            handoff: table.boolean("handoff"),
            max_connections: table.count("max_connections"),
            backend_user: table.text("backend_user"),
            backend_password: PasswordForms::read_backend(&table),
            access: AccessSection::read(&table),
        };
        table.finish();
        section
    }
}

impl SplitSection {
    fn read(table: Reader<'_>) -> SplitSection {
        let section = SplitSection { place: table.place(), write: table.name("write"), read: table.name("read") };
        table.finish();
        section
    }
}

impl PasswordForms {
    const NAMES: &'static [&'static str] = &["password", "password_file", "password_env"];
    const NAMES_WITH_HASH: &'static [&'static str] = &["password", "password_file", "password_env", "password_hash"];
    const BACKEND_NAMES: &'static [&'static str] =
        &["backend_password", "backend_password_file", "backend_password_env"];

    fn read(table: &Reader<'_>) -> PasswordForms {
        PasswordForms {
            names: Self::NAMES,
            written: written(table, Self::NAMES),
            clear: table.password("password"),
            file: table.password_source("password_file"),
            variable: table.password_source("password_env"),
            hash: None,
        }
    }

    /// Also a hash: enough to check a client, and for some servers also to log in there.
    fn read_with_hash(table: &Reader<'_>) -> PasswordForms {
        PasswordForms {
            names: Self::NAMES_WITH_HASH,
            written: written(table, Self::NAMES_WITH_HASH),
            hash: table.password_hash("password_hash"),
            ..PasswordForms::read(table)
        }
    }

    fn read_backend(table: &Reader<'_>) -> PasswordForms {
        PasswordForms {
            names: Self::BACKEND_NAMES,
            written: written(table, Self::BACKEND_NAMES),
            clear: table.password("backend_password"),
            file: table.password_source("backend_password_file"),
            variable: table.password_source("backend_password_env"),
            hash: None,
        }
    }
}

fn written(table: &Reader<'_>, names: &'static [&'static str]) -> Vec<(&'static str, Range<usize>)> {
    names.iter().filter_map(|name| Some((*name, table.place_of(name)?))).collect()
}
