//! The configuration as an operator meets it: a text in, a configuration or errors out.

mod clusters;
mod doors;
mod errors;
mod printed;
mod sending_on;
mod users;
mod whole;

use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::reference::{Absent, Form, ROOT};
use super::*;

/// A file that is right, without anything optional; line numbers in the tests count from its first line.
const MINIMAL: &str = r#"[[listener]]
name = "app"
address = "0.0.0.0:3306"

[cluster.shop]
topology = "replication"
monitor = { user = "monitor", password = "m" }
[[cluster.shop.server]]
name = "db1"
address = "10.0.0.11:3306"

[pool.write]
cluster = "shop"
role = "primary"

[[user]]
name = "app"
password = "hunter2"
pool = "write"
"#;

fn variable(name: &str) -> Option<String> {
    match name {
        "APP_PASSWORD" => Some("from the environment".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn file(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some("app.password") => Ok(b"from the file\n".to_vec()),
        Some("empty.password") => Ok(b"\n".to_vec()),
        Some("large.password") => Ok(vec![b'x'; limits::PASSWORD_FILE_BYTES_MAX + 1]),
        Some("long.password") => Ok(vec![b'x'; limits::PASSWORD_BYTES_MAX + 1]),
        Some("nul.password") => Ok(b"a\0b".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, "f", &Environment { online_cpus: 4, variable: &variable, file: &file })
}

fn right(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The errors of a text, a line each, without the file's name.
fn errors(text: &str) -> Vec<String> {
    let errors = parse(text).err().map(|errors| errors.errors).unwrap_or_default();
    errors.iter().map(|error| error.to_string().strip_prefix("f:").expect("errors name the file").to_owned()).collect()
}

/// [`MINIMAL`] with one part of it written differently has exactly this error.
fn check(part: &str, written: &str, expected: &str) {
    assert!(MINIMAL.contains(part), "{part:?} is to be replaced");
    assert_eq!(errors(&MINIMAL.replacen(part, written, 1)), [expected], "with {written:?}");
}

/// [`MINIMAL`] with something added at its end has exactly this error. The addition starts on line 20.
fn check_added(added: &str, expected: &str) {
    assert_eq!(errors(&format!("{MINIMAL}{added}")), [expected], "with {added:?}");
}

/// Everything there is, written other than its default.
const COMPLETE: &str = r#"
[process]
workers = 2
pin_workers = false
busy_poll = false
io = "epoll"
max_sessions = 1_000
shutdown_timeout = "1m"
server_version = "8.4.3-sqluice"
state_directory = "/srv/sqluice"
core_dumps = true

[log]
level = "debug"
format = "json"
access = "off"

[admin]
socket = "/tmp/admin.sock"
http = "[::1]:9104"
http_host = "lb1.example.com"

[instant_failover]
mode = "all"
target = "lb2.example.com:3306"
error_code = 4200
text = "Please go to"
redirect_url = "off"

[users]
source = "servers"
account = { user = "reads", password = "reads-it" }
pool = "write"
refresh_interval = "1m"
learn_ttl = "1h"

[limits]
login_timeout = "5s"
failed_logins = 0
connections_per_address = 20

[[listener]]
name = "app"
address = "[::]:3306"
tls = "required"
tls_certificate = "tls/app.pem"
tls_key = "tls/app.key"
tls_minimum = "1.3"
tls_client_ca = "tls/clients.pem"
require_client_certificate = true
proxy_protocol_from = ["10.0.0.5", "2001:db8::/32"]
allow_from = ["10.0.0.0/8"]
deny_from = ["10.9.0.0/16"]
[[listener]]
name = "local"
address = "unix:/run/sqluice/mysql.sock"
extra = true

[cluster.shop]
topology = "replication"
monitor = { user = "monitor", password_env = "APP_PASSWORD" }
check_interval = "1s"
check_timeout = "2s"
fall = 5
rise = 4
connect_timeout = "3s"
max_replica_lag = "1h"
hold_timeout = "0s"
donor_reads = "always"
follow_redirects = "any"
tls = "verify-ca"
tls_ca = "/etc/ssl/db-ca.pem"
tls_certificate = "tls/lb.pem"
tls_key = "tls/lb.key"
[[cluster.shop.server]]
name = "db1"
address = "db1.example.com:3306"
weight = 1
role = "auto"
max_connections = 100
tls = "verify-full"
send_proxy = "v2"
[[cluster.shop.server]]
name = "db2"
address = "[2001:db8::12]:3306"
role = "replica"

[cluster."a.rchive"]
topology = "static"
server = [{ name = "old", address = "unix:/run/mysqld.sock", role = "primary" }]

[cluster.orders]
topology = "replication"
monitor = { user = "monitor", password = "m" }
failover = "manual"
admin = { user = "failover", password = "f" }
replication = { user = "repl", password_env = "APP_PASSWORD" }
server = [{ name = "o1", address = "10.0.0.21:3306" }, { name = "o2", address = "10.0.0.22:3306", priority = 0 }]

[pool.write]
cluster = "shop"
role = "primary"
[pool.read]
cluster = "shop"
role = "replica"
balance = "round-robin"
fallback = "write"
[pool.archive]
cluster = "a.rchive"
role = "primary"
balance = "random"

[[user]]
name = "a \"quoted\" name"
password_hash = "*2470c0c06dee42fd1618bb99005adca2ec9d1e19"
pool = "read"
max_connections = 500
backend_user = "reader"
allow_from = ["10.0.0.0/8"]
deny_from = ["10.9.0.0/16"]
backend_password_file = "app.password"
[[user]]
name = "app"
password_env = "APP_PASSWORD"
split = { write = "write", read = "read" }
read_your_writes = { within = "200ms" }
backend_password = "other"
[[user]]
name = "archive"
password_file = "app.password"
pool = "archive"
backend_password_env = "APP_PASSWORD"
[[user]]
name = "nobody"
password = ""
pool = "archive"
"#;

/// All sections with the settings they have in the documentation of the first releases, one of them not available yet.
const DOCUMENTED: &str = r#"
[process]
workers = "auto"              # threads; default: one per online CPU
pin_workers = true            # each to its own CPU
io = "auto"                   # auto | io_uring | epoll
max_sessions = 10000
shutdown_timeout = "30s"

[log]
level = "info"                # error | warn | info | debug | trace
format = "text"               # text | json
access = "off"

[admin]
socket = "/run/sqluice/admin.sock"

[instant_failover]
mode = "off"
target = "lb2.example.com:3306"
error_code = 4196
redirect_url = "off"

[[listener]]
name = "app"
address = "0.0.0.0:3306"
extra = false

[cluster.shop]
topology = "replication"
monitor = { user = "monitor", password = "..." }
check_interval = "500ms"
check_timeout = "800ms"
max_replica_lag = "10s"
hold_timeout = "10s"

[[cluster.shop.server]]
name = "db1"
address = "10.0.0.11:3306"
weight = 100
role = "auto"

[pool.write]
cluster = "shop"
role = "primary"

[pool.read]
cluster = "shop"
role = "replica"
balance = "least-connections"
fallback = "write"

[[user]]
name = "mysqlmaster"
password_hash = "*B17453F89631AE57EFC1B401AD1C7A59EFD547E5"
pool = "write"

[[user]]
name = "mysqlslave"
password_hash = "*14521EA7B4C66AE94E6CFF753453F89631AE57EF"
pool = "read"

[[user]]
name = "app"
password = "..."
split = { write = "write", read = "read" }
read_your_writes = true
max_connections = 500

[users]
source = "config"
"#;

/// [`DOCUMENTED`] with one part written differently has exactly these errors.
fn check_documented(part: &str, written: &str, expected: &[&str]) {
    assert!(DOCUMENTED.contains(part), "{part:?} is to be replaced");
    assert_eq!(errors(&DOCUMENTED.replacen(part, written, 1)), expected, "with {written:?}");
}
