//! What outlives a routing table: the ids of the servers, their progress, and the loads of servers and users, by name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Progress, ServerId, ServerLoad, UserLoad};
use crate::config::Config;

/// Ids, loads and progress by name.
///
/// Invariant: no two names share an id, and an id is never given a second time.
#[derive(Debug, Default)]
pub struct Registry {
    servers: HashMap<ServerName, Registered>,
    users: HashMap<String, Arc<UserLoad>>,
    next_id: u32,
}

/// What all tables share of one server.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) id: ServerId,
    pub(super) load: Arc<ServerLoad>,
    pub(super) progress: Arc<Progress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ServerName {
    cluster: String,
    server: String,
}

impl Registry {
    /// Nothing known yet.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// The server of that name in that cluster: as it was known before, or new.
    pub(super) fn server(&mut self, cluster: &str, server: &str) -> Registered {
        let name = ServerName { cluster: cluster.to_owned(), server: server.to_owned() };
        let next_id = &mut self.next_id;
        let registered = self.servers.entry(name).or_insert_with(|| {
            let id = ServerId(*next_id);
            *next_id += 1;
            Registered { id, load: Arc::default(), progress: Arc::default() }
        });
        registered.clone()
    }

    /// The load of the user of that name: as it was known before, or new.
    pub(super) fn user(&mut self, name: &str) -> Arc<UserLoad> {
        Arc::clone(self.users.entry(name.to_owned()).or_default())
    }

    /// Forgets who is neither in `config` nor in use any more, so that reloads with ever new names do not pile up.
    ///
    /// Who is still in use keeps id and counts: the name may come back while old connections drain.
    pub(super) fn forget_unused(&mut self, config: &Config) {
        let clusters = config.clusters.iter();
        let servers = clusters
            .flat_map(|cluster| cluster.servers.iter().map(|server| (cluster.name.as_str(), server.name.as_str())));
        let servers: HashSet<(&str, &str)> = servers.collect();
        let users: HashSet<&str> = config.routes().map(|user| user.name.as_str()).collect();
        let is_configured = |name: &ServerName| servers.contains(&(name.cluster.as_str(), name.server.as_str()));
        self.servers.retain(|name, server| server.load.connections() > 0 || is_configured(name));
        self.users.retain(|name, load| load.sessions() > 0 || users.contains(name.as_str()));
    }
}
