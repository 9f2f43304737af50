//! The file that the demo's balancer is started with: also an example of a first configuration.

use std::path::Path;
use std::time::Duration;

use super::{Accounts, READER, WRITER};

/// What the file is made of, apart from what is always the same.
#[derive(Debug)]
pub(super) struct Configuration<'a> {
    /// Where clients connect to, on 127.0.0.1.
    pub(super) port: u16,
    /// Where the admin socket goes.
    pub(super) folder: &'a Path,
    /// Of db1, db2 and db3.
    pub(super) server_ports: &'a [u16],
    pub(super) accounts: &'a Accounts,
    pub(super) hold_timeout: Duration,
}

impl Configuration<'_> {
    /// The TOML text.
    pub(super) fn text(&self) -> String {
        let socket = self.folder.join("admin.sock");
        let servers: String = self.server_ports.iter().enumerate().map(|(index, port)| server(index, *port)).collect();
        format!(
            r#"# What the demo's balancer runs with.

[process]
pin_workers = false
state_directory = "{folder}"

[admin]
socket = "{socket}"

[[listener]]
name = "demo"
address = "127.0.0.1:{port}"

# The health checks log in as `monitor` and ask each server whether it is read-only.
[cluster.demo]
topology = "replication"
monitor = {{ user = "monitor", password = "{monitor_password}" }}
check_interval = "200ms"
# Servers and clients share this machine: one that is busy is not down.
check_timeout = "5s"
hold_timeout = "{hold_timeout}ms"
{servers}
[pool.write]
cluster = "demo"
role = "primary"

[pool.read]
cluster = "demo"
role = "replica"
fallback = "write"
{writer}{reader}"#,
            folder = self.folder.display(),
            socket = socket.display(),
            port = self.port,
            monitor_password = self.accounts.service_password,
            hold_timeout = self.hold_timeout.as_millis(),
            writer = user(WRITER, "write"),
            reader = user(READER, "read"),
        )
    }
}

fn server(index: usize, port: u16) -> String {
    format!("\n[[cluster.demo.server]]\nname = \"db{}\"\naddress = \"127.0.0.1:{port}\"\n", index + 1)
}

fn user((name, password): (&str, &str), pool: &str) -> String {
    format!("\n[[user]]\nname = \"{name}\"\npassword = \"{password}\"\npool = \"{pool}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, ListenAddress, Role};

    #[test]
    fn the_file_is_a_configuration_with_a_pool_for_each_user() {
        let accounts = Accounts { service_password: "0123456789abcdef".into() };
        let configuration = Configuration {
            port: 4000,
            folder: Path::new("/tmp/demo"),
            server_ports: &[4001, 4002, 4003],
            accounts: &accounts,
            hold_timeout: Duration::from_millis(28_500),
        };
        let environment =
            Environment { online_cpus: 2, variable: &|_| None, file: &|_| Err(std::io::ErrorKind::NotFound.into()) };
        let config =
            Config::parse(&configuration.text(), "demo.toml", &environment).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.listeners[0].address, ListenAddress::Tcp("127.0.0.1:4000".parse().expect("an address")));
        let names: Vec<_> = config.clusters[0].servers.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["db1", "db2", "db3"]);
        assert_eq!(config.clusters[0].hold_timeout, Duration::from_millis(28_500));
        let role_of = |name: &str| config.user(name.as_bytes()).map(|user| config.pool(user.pool).role);
        assert_eq!((role_of(WRITER.0), role_of(READER.0)), (Some(Role::Primary), Some(Role::Replica)));
    }
}
