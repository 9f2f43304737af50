//! The configurations of what is measured: one thread, one server that never changes, limits above any load of the bench,
//! and otherwise each as it comes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Candidate;
use crate::certificate::Files;
use crate::target::{Account, Target};

/// No pinning of its own (the bench pins the process), and servers that never change: one, or with a split two, of which
/// the second gets the reads.
pub(crate) fn sqluice(
    candidate: Candidate,
    workers: usize,
    address: SocketAddr,
    server: &Target,
    directory: &Path,
    certificate: Option<&Files>,
) -> String {
    let Account { user, password } = &server.account;
    let engine = candidate.engine();
    let tls = certificate.map_or_else(|| "tls = \"disabled\"".to_owned(), required);
    let server_tls = if candidate == Candidate::SqluiceTlsBoth { "required" } else { "disabled" };
    let socket = admin_socket(directory);
    let primary = listed("primary", server.address);
    let replica = server.replica.filter(|_| candidate.splits()).map(|replica| listed("replica", replica));
    let destination = match &replica {
        Some(_) => r#"split = { write = "primary", read = "replica" }"#,
        None => r#"pool = "primary""#,
    };
    let servers = format!("{primary}{}", replica.unwrap_or_default());
    format!(
        r#"[process]
workers = {workers}
pin_workers = false
io = "{engine}"

[log]
level = "warn"

[admin]
socket = "{socket}"

[[listener]]
name = "bench"
address = "{address}"
{tls}

[cluster.bench]
topology = "static"
tls = "{server_tls}"
monitor = {{ user = "{user}", password = "{password}" }}
{servers}
[[user]]
name = "{user}"
password = "{password}"
{destination}
"#,
        socket = socket.display(),
    )
}

/// TLS at a listener.
fn required(files: &Files) -> String {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    format!("tls = \"required\"\ntls_certificate = \"{certificate}\"\ntls_key = \"{key}\"")
}

/// Many clusters, each of the one server and its replica, and one user, who is led to the first.
pub(crate) fn monitored(
    clusters: usize,
    interval: Duration,
    address: SocketAddr,
    server: &Target,
    directory: &Path,
) -> String {
    let Account { user, password } = &server.account;
    let socket = admin_socket(directory);
    let interval_ms = interval.as_millis();
    let replica = server.replica.unwrap_or(server.address);
    let cluster = |number| {
        format!(
            r#"
[cluster.c{number}]
topology = "replication"
check_interval = "{interval_ms}ms"
monitor = {{ user = "{user}", password = "{password}" }}

[[cluster.c{number}.server]]
name = "primary"
address = "{primary}"

[[cluster.c{number}.server]]
name = "replica"
address = "{replica}"
"#,
            primary = server.address,
        )
    };
    format!(
        r#"[process]
workers = 1
pin_workers = false
io = "epoll"

[log]
level = "warn"

[admin]
socket = "{socket}"

[[listener]]
name = "bench"
address = "{address}"
tls = "disabled"

[pool.first]
cluster = "c0"
role = "primary"

[[user]]
name = "{user}"
password = "{password}"
pool = "first"
{clusters}"#,
        socket = socket.display(),
        clusters = (0..clusters).map(cluster).collect::<String>(),
    )
}

/// A server of this role, and a pool of the same name.
fn listed(role: &str, address: SocketAddr) -> String {
    format!(
        r#"
[[cluster.bench.server]]
name = "{role}"
address = "{address}"
role = "{role}"
max_connections = 10000

[pool.{role}]
cluster = "bench"
role = "{role}"
"#
    )
}

pub(super) fn admin_socket(directory: &Path) -> PathBuf {
    directory.join("admin.sock")
}

/// TCP mode with one thread and least connections, and TLS if there is a certificate. Without timeouts it warns; these
/// are longer than any run.
pub(super) fn haproxy(address: SocketAddr, server: SocketAddr, certificate: Option<&Path>) -> String {
    let tls = certificate.map_or_else(String::new, |file| format!(" ssl crt {}", file.display()));
    format!(
        "global
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend bench
    bind {address}{tls}
    default_backend servers
backend servers
    balance leastconn
    server stand-in {server}
"
    )
}

/// One worker thread, one host group with the one server, the one user, and no monitor. As the variables are documented
/// for ProxySQL 2: what is not named here (multiplexing, query digests, statistics) is as it comes.
pub(super) fn proxysql(address: SocketAddr, admin: SocketAddr, server: &Target, directory: &Path) -> String {
    let Account { user, password } = &server.account;
    format!(
        r#"datadir = "{directory}"
errorlog = "{directory}/proxysql.log"
admin_variables =
{{
    admin_credentials = "admin:{password}"
    mysql_ifaces = "{admin}"
}}
mysql_variables =
{{
    threads = 1
    interfaces = "{address}"
    max_connections = 20000
    monitor_enabled = false
}}
mysql_servers =
(
    {{ address = "{server_ip}", port = {server_port}, hostgroup = 0, max_connections = 10000 }}
)
mysql_users =
(
    {{ username = "{user}", password = "{password}", default_hostgroup = 0, max_connections = 10000, active = 1 }}
)
"#,
        directory = directory.display(),
        server_ip = server.address.ip(),
        server_port = server.address.port(),
    )
}

/// One I/O thread, one static destination, and connections passed through after the server's own greeting: the least
/// that Router can do.
pub(super) fn mysql_router(address: SocketAddr, server: SocketAddr, directory: &Path) -> String {
    format!(
        "[DEFAULT]
logging_folder = {directory}
runtime_folder = {directory}
data_folder = {directory}
keyring_path = {directory}/keyring
max_total_connections = 10000

[logger]
level = WARNING
sinks = consolelog

[io]
threads = 1

[routing:bench]
bind_address = {ip}
bind_port = {port}
protocol = classic
destinations = {server}
routing_strategy = round-robin
max_connections = 10000
max_connect_errors = 4294967295
client_ssl_mode = PASSTHROUGH
server_ssl_mode = AS_CLIENT
",
        directory = directory.display(),
        ip = address.ip(),
        port = address.port(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// The value of `name = value`, without quotes, wherever it stands.
    fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        text.split(['\n', ',', '{', '}']).find_map(|setting| {
            let (key, value) = setting.split_once('=')?;
            (key.trim() == name).then(|| value.trim().trim_matches('"'))
        })
    }

    #[test]
    fn proxysql_has_one_thread_and_the_one_server_and_user() {
        let text = proxysql(address(1001), address(1002), &Target::stand_in(address(1003)), Path::new("/tmp/bench"));
        for (name, expected) in [
            ("datadir", "/tmp/bench"),
            ("threads", "1"),
            ("interfaces", "127.0.0.1:1001"),
            ("mysql_ifaces", "127.0.0.1:1002"),
            ("address", "127.0.0.1"),
            ("port", "1003"),
            ("monitor_enabled", "false"),
            ("username", "bench"),
            ("password", "bench-password"),
        ] {
            assert_eq!(value(&text, name), Some(expected), "{name} in\n{text}");
        }
    }

    #[test]
    fn only_a_split_has_a_replica_and_sends_reads_there() {
        let server = Target { replica: Some(address(1004)), ..Target::stand_in(address(1003)) };
        let text = |candidate| sqluice(candidate, 1, address(1001), &server, Path::new("/tmp/bench"), None);
        let split = text(Candidate::SqluiceSplitEpoll);
        assert!(split.contains("127.0.0.1:1004") && value(&split, "read") == Some("replica"), "{split}");
        assert_eq!((value(&split, "io"), value(&split, "pool")), (Some("epoll"), None));
        let whole = text(Candidate::Sqluice);
        assert!(!whole.contains("127.0.0.1:1004") && !whole.contains("split"), "{whole}");
        assert_eq!((value(&whole, "io"), value(&whole, "pool")), (Some("io_uring"), Some("primary")));
    }

    /// ProxySQL reads with libconfig, which wants every bracket closed and every string ended.
    #[test]
    fn proxysql_gets_balanced_brackets_and_quotes() {
        let text = proxysql(address(1001), address(1002), &Target::stand_in(address(1003)), Path::new("/tmp/bench"));
        let count = |sign: char| text.matches(sign).count();
        assert_eq!(count('{'), count('}'));
        assert_eq!(count('('), count(')'));
        assert_eq!(count('"') % 2, 0);
    }

    #[test]
    fn router_has_one_thread_and_passes_connections_through() {
        let text = mysql_router(address(1001), address(1003), Path::new("/tmp/bench"));
        for (name, expected) in [
            ("threads", "1"),
            ("bind_port", "1001"),
            ("destinations", "127.0.0.1:1003"),
            ("client_ssl_mode", "PASSTHROUGH"),
            ("logging_folder", "/tmp/bench"),
        ] {
            assert_eq!(value(&text, name), Some(expected), "{name} in\n{text}");
        }
    }
}
