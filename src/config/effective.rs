//! A configuration as the list of its settings: what `check --print` shows, and what two configurations are compared by.
//!
//! Printed, it is TOML again, with every default written out and every secret masked.

use std::fmt::{self, Write as _};

use super::read::MASKED;
use super::reference::{ROOT, Section, Setting};
use super::value::{Choice, DurationText};
use super::{
    Access, Cluster, Config, Failover, Follower, Freshness, Handoff, InstantFailover, KeyPairFiles, Listener, Network,
    Newcomers, Pool, Promotion, Role, Server, ServerTls, Source, Split, User,
};
use crate::protocol::auth::{Secret, Verifier};

/// One table of the configuration.
pub(crate) struct Entry<'c> {
    pub(crate) section: &'static Section,
    /// What it is called in messages, like `server shop/db1`.
    pub(crate) label: String,
    /// Its header in TOML.
    header: String,
    /// The settings that have a value.
    pub(crate) settings: Vec<(&'static Setting, Shown<'c>)>,
}

/// The value of a setting. Two are equal if they mean the same; secrets are compared, but never shown.
#[derive(PartialEq)]
pub(crate) enum Shown<'c> {
    Text(String),
    Count(u32),
    Boolean(bool),
    Secret(&'c Secret),
    Verifier(&'c Verifier),
    Account(&'c str, &'c Secret),
    Pools { write: &'c str, read: &'c str },
    Freshness(Freshness),
    Networks(&'c [Network]),
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Text(text) => out.write_str(&toml_text(text)),
            Shown::Count(count) => write!(out, "{count}"),
            Shown::Boolean(value) => write!(out, "{value}"),
            Shown::Pools { write, read } => {
                write!(out, "{{ write = {}, read = {} }}", toml_text(write), toml_text(read))
            }
            Shown::Freshness(Freshness::OwnWrites) => out.write_str("true"),
            Shown::Freshness(Freshness::Any) => out.write_str("false"),
            Shown::Freshness(Freshness::Within(duration)) => {
                write!(out, "{{ within = {} }}", toml_text(&DurationText(*duration).to_string()))
            }
            Shown::Networks(networks) => {
                let networks: Vec<String> = networks.iter().map(|network| toml_text(&network.to_string())).collect();
                write!(out, "[{}]", networks.join(", "))
            }
            Shown::Secret(_) | Shown::Verifier(_) => out.write_str(&toml_text(MASKED)),
            Shown::Account(user, _) => {
                write!(out, "{{ user = {}, password = {} }}", toml_text(user), toml_text(MASKED))
            }
        }
    }
}

impl Shown<'_> {
    fn of<T: Choice>(choice: T) -> Shown<'static> {
        Shown::Text(choice.word().to_owned())
    }

    fn duration(value: std::time::Duration) -> Shown<'static> {
        Shown::Text(DurationText(value).to_string())
    }

    fn display(value: impl fmt::Display) -> Shown<'static> {
        Shown::Text(value.to_string())
    }

    /// Whether nothing of the value may be shown.
    pub(crate) fn is_secret(&self) -> bool {
        match self {
            Shown::Secret(_) | Shown::Verifier(_) | Shown::Account(..) => true,
            Shown::Text(_)
            | Shown::Count(_)
            | Shown::Boolean(_)
            | Shown::Pools { .. }
            | Shown::Freshness(_)
            | Shown::Networks(_) => false,
        }
    }
}

/// A text as TOML writes it.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A name as part of a table's header: quoted where TOML would take a dot for a step inwards.
fn toml_key(name: &str) -> String {
    if name.contains('.') { toml_text(name) } else { name.to_owned() }
}

/// The effective settings as TOML.
pub fn print(config: &Config) -> String {
    let mut text = String::new();
    for entry in entries(config) {
        let separator = if text.is_empty() { "" } else { "\n" };
        writeln!(text, "{separator}{}", entry.header).expect("a String takes everything");
        for (setting, value) in &entry.settings {
            writeln!(text, "{} = {value}", setting.name).expect("a String takes everything");
        }
    }
    text
}

/// All tables in the order they are printed.
pub(crate) fn entries(config: &Config) -> Vec<Entry<'_>> {
    let mut entries = vec![process(config), log(config), admin(config), limits(config), instant_failover(config)];
    entries.extend(config.instant_failover.followers.iter().enumerate().map(follower));
    entries.extend(config.listeners.iter().map(listener));
    for owner in &config.clusters {
        entries.push(cluster(owner));
        entries.extend(owner.servers.iter().map(|member| server(owner, member)));
    }
    entries.extend(config.pools.iter().map(|of| pool(config, of)));
    entries.extend(config.newcomers.as_ref().map(|newcomers| self::newcomers(config, newcomers)));
    entries.extend(config.users.iter().map(|of| user(config, of)));
    entries
}

/// A table there is one of.
fn single<'c>(key: &str, values: Vec<(&'static str, Shown<'c>)>) -> Entry<'c> {
    let section = section(&["", key]);
    Entry {
        section,
        label: section.noun.to_owned(),
        header: section.title.to_owned(),
        settings: settings(section, values),
    }
}

/// A table with a name of its own.
fn named<'c>(path: &[&str], name: &str, header: String, values: Vec<(&'static str, Shown<'c>)>) -> Entry<'c> {
    let section = section(path);
    Entry { section, label: format!("{} {name}", section.noun), header, settings: settings(section, values) }
}

fn section(path: &[&str]) -> &'static Section {
    path.iter().filter(|key| !key.is_empty()).fold(&ROOT, |outer, key| {
        outer.setting(key).and_then(|setting| setting.form.section()).expect("a printed table is in the reference")
    })
}

fn settings<'c>(
    section: &'static Section,
    values: Vec<(&'static str, Shown<'c>)>,
) -> Vec<(&'static Setting, Shown<'c>)> {
    let setting = |name| section.setting(name).expect("a printed setting is in the reference");
    values.into_iter().map(|(name, value)| (setting(name), value)).collect()
}

fn process(config: &Config) -> Entry<'_> {
    let process = &config.process;
    let workers = u32::try_from(process.workers).expect("there are at most limits::WORKERS_MAX workers");
    let mut values = vec![
        ("workers", Shown::Count(workers)),
        ("pin_workers", Shown::Boolean(process.pin_workers)),
        ("busy_poll", Shown::Boolean(process.busy_poll)),
        ("io", Shown::of(process.io)),
        ("max_sessions", Shown::Count(process.max_sessions)),
        ("shutdown_timeout", Shown::duration(process.shutdown_timeout)),
    ];
    values.extend(process.server_version.iter().map(|version| ("server_version", Shown::display(version))));
    values.push(("state_directory", Shown::display(process.state_directory.display())));
    values.push(("core_dumps", Shown::Boolean(process.core_dumps)));
    single("process", values)
}

fn log(config: &Config) -> Entry<'_> {
    single("log", vec![("level", Shown::of(config.log.level)), ("format", Shown::of(config.log.format))])
}

fn admin(config: &Config) -> Entry<'_> {
    let mut values = vec![("socket", Shown::display(config.admin.socket.display()))];
    values.extend(config.admin.http.iter().map(|address| ("http", Shown::display(address))));
    values.extend(config.admin.http_host.iter().map(|name| ("http_host", Shown::display(name))));
    single("admin", values)
}

fn instant_failover(config: &Config) -> Entry<'_> {
    let InstantFailover { mode, target, error_code, text, redirect_url, followers: _ } = &config.instant_failover;
    let mut values = vec![("mode", Shown::of(*mode))];
    values.extend(target.iter().map(|target| ("target", Shown::display(target))));
    values.push(("error_code", Shown::Count((*error_code).into())));
    values.push(("text", Shown::display(text)));
    values.push(("redirect_url", Shown::of(*redirect_url)));
    single("instant_failover", values)
}

/// The same connector may be listed more than once, with other releases: its place tells which one is meant.
fn follower<'c>((place, follower): (usize, &Follower)) -> Entry<'c> {
    let mut values = vec![("name", Shown::display(&follower.name))];
    values.extend(follower.from.map(|from| ("from", Shown::display(from))));
    values.extend(follower.before.map(|before| ("before", Shown::display(before))));
    let name = format!("{} {}", place + 1, follower.name);
    named(&["instant_failover", "follower"], &name, "[[instant_failover.follower]]".to_owned(), values)
}

fn limits(config: &Config) -> Entry<'_> {
    let limits = &config.limits;
    let values = vec![
        ("login_timeout", Shown::duration(limits.login_timeout)),
        ("failed_logins", Shown::Count(limits.failed_logins.unwrap_or(0))),
        ("connections_per_address", Shown::Count(limits.connections_per_address.unwrap_or(0))),
    ];
    single("limits", values)
}

/// A list that says something.
fn networks<'c>(name: &'static str, networks: &'c [Network]) -> Option<(&'static str, Shown<'c>)> {
    (!networks.is_empty()).then_some((name, Shown::Networks(networks)))
}

fn access(access: &Access) -> impl Iterator<Item = (&'static str, Shown<'_>)> {
    networks("allow_from", &access.allow).into_iter().chain(networks("deny_from", &access.deny))
}

fn listener(listener: &Listener) -> Entry<'_> {
    let tls = &listener.tls;
    let mut values = vec![
        ("name", Shown::display(&listener.name)),
        ("address", Shown::display(&listener.address)),
        ("extra", Shown::Boolean(listener.extra)),
        ("tls", Shown::of(tls.demand)),
        ("tls_minimum", Shown::of(tls.minimum)),
        ("require_client_certificate", Shown::Boolean(tls.require_client_certificate)),
    ];
    values.extend(identity(tls.identity.as_ref()));
    values.extend(tls.client_ca.iter().map(|path| ("tls_client_ca", Shown::display(path.display()))));
    values.extend(networks("proxy_protocol_from", &listener.proxies));
    values.extend(access(&listener.access));
    named(&["listener"], &listener.name, "[[listener]]".to_owned(), values)
}

fn cluster(cluster: &Cluster) -> Entry<'_> {
    let mut values = vec![("topology", Shown::of(cluster.topology))];
    values.extend(cluster.monitor.iter().map(|monitor| ("monitor", Shown::Account(&monitor.user, &monitor.password))));
    let failover = cluster.promotion.as_ref().map_or(Failover::Off, |promotion| promotion.failover);
    values.push(("failover", Shown::of(failover)));
    if let Some(Promotion { admin, replication, .. }) = &cluster.promotion {
        values.push(("admin", Shown::Account(&admin.user, &admin.password)));
        values.push(("replication", Shown::Account(&replication.user, &replication.password)));
    }
    values.extend([
        ("check_interval", Shown::duration(cluster.check_interval)),
        ("check_timeout", Shown::duration(cluster.check_timeout)),
        ("fall", Shown::Count(cluster.fall)),
        ("rise", Shown::Count(cluster.rise)),
        ("connect_timeout", Shown::duration(cluster.connect_timeout)),
        ("server_timeout", Shown::duration(cluster.server_timeout)),
        ("max_replica_lag", Shown::duration(cluster.max_replica_lag)),
        ("hold_timeout", Shown::duration(cluster.hold_timeout)),
        ("donor_reads", Shown::of(cluster.donor_reads)),
        ("follow_redirects", Shown::of(cluster.follow_redirects)),
    ]);
    values.extend(server_tls(&cluster.tls));
    named(&["cluster"], &cluster.name, format!("[cluster.{}]", toml_key(&cluster.name)), values)
}

fn server<'c>(cluster: &Cluster, server: &'c Server) -> Entry<'c> {
    let mut values = vec![
        ("name", Shown::display(&server.name)),
        ("address", Shown::display(&server.address)),
        ("weight", Shown::Count(server.weight)),
        ("role", Shown::of(server.role)),
        ("max_connections", Shown::Count(server.max_connections)),
        ("priority", Shown::Count(server.priority)),
        ("extra_port", Shown::Count(server.extra_port.unwrap_or(0).into())),
        ("send_proxy", Shown::of(server.send_proxy)),
    ];
    values.extend(server_tls(&server.tls));
    let header = format!("[[cluster.{}.server]]", toml_key(&cluster.name));
    named(&["cluster", "server"], &format!("{}/{}", cluster.name, server.name), header, values)
}

/// A certificate and its key.
fn identity(files: Option<&KeyPairFiles>) -> Vec<(&'static str, Shown<'static>)> {
    let shown = |files: &KeyPairFiles| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        vec![("tls_certificate", Shown::display(certificate)), ("tls_key", Shown::display(key))]
    };
    files.map_or_else(Vec::new, shown)
}

fn server_tls(tls: &ServerTls) -> Vec<(&'static str, Shown<'static>)> {
    let mut values = vec![("tls", Shown::of(tls.demand))];
    values.extend(tls.ca.iter().map(|path| ("tls_ca", Shown::display(path.display()))));
    values.extend(identity(tls.identity.as_ref()));
    values
}

fn pool<'c>(config: &'c Config, pool: &'c Pool) -> Entry<'c> {
    let mut values = vec![
        ("cluster", Shown::display(&config.cluster(pool.cluster).name)),
        ("role", Shown::of::<Role>(pool.role)),
        ("balance", Shown::of(pool.balance)),
    ];
    values.extend(pool.fallback.map(|fallback| ("fallback", Shown::display(&config.pool(fallback).name))));
    named(&["pool"], &pool.name, format!("[pool.{}]", toml_key(&pool.name)), values)
}

fn user<'c>(config: &'c Config, user: &'c User) -> Entry<'c> {
    let password = match &user.verifier {
        Verifier::Cleartext(_) => "password",
        Verifier::DoubleSha1(_)
        | Verifier::Ed25519(_)
        | Verifier::Sha256Crypt(_)
        | Verifier::Parsec(_)
        | Verifier::ByServer(_) => "password_hash",
    };
    let mut values = vec![("name", Shown::display(&user.name)), (password, Shown::Verifier(&user.verifier))];
    values.extend(destination(config, user));
    values.push(("backend_reuse", Shown::of(user.reuse)));
    values.push(("handoff", Shown::Boolean(user.handoff == Handoff::ToServer)));
    values.push(("max_connections", Shown::Count(user.max_connections.unwrap_or(0))));
    values.extend(user.backend_user.iter().map(|name| ("backend_user", Shown::display(name))));
    values.extend(user.backend_password.iter().map(|secret| ("backend_password", Shown::Secret(secret))));
    values.extend(access(&user.access));
    named(&["user"], &user.name, "[[user]]".to_owned(), values)
}

fn newcomers<'c>(config: &'c Config, newcomers: &'c Newcomers) -> Entry<'c> {
    let mut values = vec![("source", Shown::of(newcomers.source.word()))];
    if let Source::Servers { account, refresh_interval } = &newcomers.source {
        values.push(("account", Shown::Account(&account.user, &account.password)));
        values.push(("refresh_interval", Shown::duration(*refresh_interval)));
    }
    // How much a read must see is not theirs to say.
    values.extend(destination(config, &newcomers.route).into_iter().filter(|(name, _)| *name != "read_your_writes"));
    values.push(("learn_ttl", Shown::duration(newcomers.learn_ttl)));
    single("users", values)
}

fn destination<'c>(config: &'c Config, user: &User) -> Vec<(&'static str, Shown<'c>)> {
    let home = config.pool(user.pool).name.as_str();
    match user.split {
        None => vec![("pool", Shown::display(home))],
        Some(Split { read, freshness }) => vec![
            ("split", Shown::Pools { write: home, read: &config.pool(read).name }),
            ("read_your_writes", Shown::Freshness(freshness)),
        ],
    }
}
