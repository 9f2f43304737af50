//! What to check, as whom, how often.

use std::fmt;
use std::time::Duration;

use crate::config::{self, Cluster, Config, SendProxy, Server, ServerAddress, ServerTls, Topology};
use crate::protocol::auth::Secret;
use crate::reach::{Way, Ways};
use crate::topology::{Endpoint, ServerId};

/// One server, as the checks need to know it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) server: ServerId,
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) address: ServerAddress,
    /// Another port of the same host, for when that one is full.
    pub(super) extra_port: Option<u16>,
    /// Whether it wants to be told whose connection it gets.
    pub(super) send_proxy: SendProxy,
    /// What it is asked to prove; a connection that was made before a change of it has not.
    pub(super) tls: ServerTls,
    /// What the server is asked about.
    pub(super) topology: Topology,
    /// Absent where roles are configured and nobody gave an account: then only the door is looked at.
    pub(super) account: Option<Account>,
    /// From the start of one check to the start of the next.
    pub(super) interval: Duration,
    /// When a check that has not answered has failed.
    pub(super) timeout: Duration,
}

/// Who the checks log in as.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: Secret,
}

impl Target {
    /// The servers of `config`; `ids` are theirs, in the same order.
    pub(super) fn all(config: &Config, ids: impl Iterator<Item = ServerId>) -> Vec<Target> {
        let servers =
            config.clusters.iter().flat_map(|cluster| cluster.servers.iter().map(move |server| (cluster, server)));
        servers.zip(ids).map(|((cluster, server), id)| Target::new(cluster, server, id)).collect()
    }

    fn new(cluster: &Cluster, server: &Server, id: ServerId) -> Target {
        let account =
            |monitor: &config::Account| Account { user: monitor.user.clone(), password: monitor.password.clone() };
        Target {
            server: id,
            cluster: cluster.name.clone(),
            name: server.name.clone(),
            address: server.address.clone(),
            extra_port: server.extra_port,
            send_proxy: server.send_proxy,
            tls: server.tls.clone(),
            topology: cluster.topology,
            account: cluster.monitor.as_ref().map(account),
            interval: cluster.check_interval,
            timeout: cluster.check_timeout,
        }
    }

    /// The way to one of its endpoints.
    pub(super) fn way(&self, ways: &Ways, endpoint: Endpoint) -> Way {
        ways.to(&self.cluster, &self.name, endpoint, self.send_proxy)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.cluster, self.name)
    }
}
