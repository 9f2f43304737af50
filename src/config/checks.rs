//! What has to fit together in a file and can be seen before anything is resolved: names, addresses, fallbacks, members.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::iter;
use std::ops::Range;

use super::error::Complaints;
use super::file::{
    ClusterSection, File, InstantFailoverSection, ListenerSection, NewcomersSection, PoolSection, ServerSection,
    SplitSection, UserSection,
};
use super::read::At;
use super::value::quoted;
use super::{Failover, ListenAddress, RedirectMode, Reuse, Role, RoleSetting, ServerAddress, SourceWord, Topology};

/// Complains about everything that does not fit.
pub(super) fn check(file: &File, complaints: &Complaints<'_>) {
    check_listeners(file, complaints);
    check_redirect(file, complaints);
    for cluster in &file.clusters {
        check_servers(cluster, complaints);
        check_primaries(cluster, complaints);
        check_failover(cluster, complaints);
    }
    check_fallbacks(&file.pools, complaints);
    for pool in &file.pools {
        check_members(pool, &file.clusters, complaints);
    }
    check_newcomers(&file.newcomers, file.users.is_empty(), complaints);
    check_split(file.newcomers.pool.as_ref(), file.newcomers.split.as_ref(), &file.pools, complaints);
    check_names("user", file.users.iter().map(|user| &user.name), complaints);
    for user in &file.users {
        check_unsplit(user, complaints);
        check_split(user.pool.as_ref(), user.split.as_ref(), &file.pools, complaints);
        check_handoff(user, complaints);
    }
}

fn check_listeners(file: &File, complaints: &Complaints<'_>) {
    check_names("listener", file.listeners.iter().map(|listener| &listener.name), complaints);
    let addresses = || file.listeners.iter().filter_map(|listener| listener.address.as_ref());
    // Port 0 is another port each time.
    let is_fixed = |at: &&At<ListenAddress>| !matches!(at.get_ref(), ListenAddress::Tcp(tcp) if tcp.port() == 0);
    for (address, place) in repeated(addresses().filter(is_fixed)) {
        complaints.at(&place, format!("another listener has the address \"{address}\": write another one"));
    }
    let is_admin_socket = |address: &ListenAddress| match (address, &file.admin.socket) {
        (ListenAddress::Unix(path), Some(socket)) => path == socket.get_ref(),
        (ListenAddress::Unix(_), None) | (ListenAddress::Tcp(_), _) => false,
    };
    for address in addresses().filter(|address| is_admin_socket(address.get_ref())) {
        let problem = format!("\"{}\" is the socket of [admin]: write another path", address.get_ref());
        complaints.at(&address.span(), problem);
    }
}

/// Whoever is sent elsewhere is sent somewhere, and not back to where it was told so.
fn check_redirect(file: &File, complaints: &Complaints<'_>) {
    let InstantFailoverSection { mode, target, has_target, .. } = &file.instant_failover;
    if let Some(mode) = mode.as_ref().filter(|mode| *mode.get_ref() != RedirectMode::Off && !has_target) {
        complaints
            .missing(&mode.span(), "clients are to be sent elsewhere: write `target = \"host:port\"`, or \"off\"");
    }
    let Some(target) = target else { return };
    let is_own = |listener: &ListenerSection| {
        let address = listener.address.as_ref().map(|address| address.get_ref().to_string());
        address.is_some_and(|address| address == target.get_ref().to_string())
    };
    if file.listeners.iter().any(is_own) {
        let problem = format!("a listener of this file has the address \"{}\": write another one", target.get_ref());
        complaints.at(&target.span(), problem);
    }
}

fn check_servers(cluster: &ClusterSection, complaints: &Complaints<'_>) {
    check_names("server of this cluster", cluster.servers.iter().map(|server| &server.name), complaints);
    // One server under two names would be counted, and in a failover believed, twice.
    for (address, place) in repeated(cluster.servers.iter().filter_map(|server| server.address.as_ref())) {
        let problem = format!("another server of this cluster has the address \"{address}\": write another one");
        complaints.at(&place, problem);
    }
}

/// Writes reach exactly one server, so no two may be told to take them.
fn check_primaries(cluster: &ClusterSection, complaints: &Complaints<'_>) {
    let roles = cluster.servers.iter().filter_map(|server| server.role.as_ref());
    for role in roles.filter(|role| *role.get_ref() == RoleSetting::Primary).skip(1) {
        let problem = "another server of this cluster is the primary, and writes go to one: write `role = \"replica\"`";
        complaints.at(&role.span(), problem);
    }
}

/// What a cluster needs whose primary may be made here.
fn check_failover(cluster: &ClusterSection, complaints: &Complaints<'_>) {
    let Some(failover) = cluster.failover.as_ref().filter(|failover| *failover.get_ref() != Failover::Off) else {
        return;
    };
    let place = failover.span();
    let topology = cluster.topology.as_ref().map(At::get_ref);
    if topology.is_some_and(|topology| *topology != Topology::Replication) {
        let problem = "only replicas can be promoted: write `topology = \"replication\"`, or leave `failover` out";
        complaints.at(&place, problem);
    }
    if !cluster.has_replication {
        let problem = "a former primary has to follow the new one: \
                       write `replication = { user = \"…\", password = \"…\" }`, the account that replicas use";
        complaints.missing(&place, problem);
    }
    if *failover.get_ref() == Failover::Automatic && (1..3).contains(&cluster.servers.len()) {
        let problem = "without its primary a cluster of two has no majority that could decide: \
                       write \"manual\", or add a server";
        complaints.at(&place, problem);
    }
    cluster.servers.iter().for_each(|server| check_promotable(server, complaints));
}

/// What a server needs that may be promoted, or follow one that was.
fn check_promotable(server: &ServerSection, complaints: &Complaints<'_>) {
    if let Some(address) = server.address.as_ref().filter(|address| is_local(address.get_ref())) {
        let problem = "no replica can follow a UNIX socket: write a host and a port, or leave `failover` out";
        complaints.at(&address.span(), problem);
    }
    if let Some(role) = server.role.as_ref().filter(|role| *role.get_ref() != RoleSetting::Auto) {
        let problem = "with `failover` no server has a role for ever: leave `role` out, or write `priority = 0`";
        complaints.at(&role.span(), problem);
    }
}

fn is_local(address: &ServerAddress) -> bool {
    matches!(address, ServerAddress::Unix(_))
}

/// TOML itself refuses two clusters or pools of one name.
fn check_names<'f>(what: &str, written: impl Iterator<Item = &'f Option<At<String>>>, complaints: &Complaints<'_>) {
    for (name, place) in repeated(written.flatten()) {
        complaints.at(&place, format!("there is another {what} named {}: write another name", quoted(name)));
    }
}

/// Following the fallbacks of a pool must end. A circle is complained about at each pool that is part of it.
fn check_fallbacks(pools: &[PoolSection], complaints: &Complaints<'_>) {
    let next: HashMap<&String, &String> =
        pools.iter().filter_map(|pool| Some((pool.name.get_ref(), pool.fallback.as_ref()?.get_ref()))).collect();
    for pool in pools {
        let (start, Some(fallback)) = (pool.name.get_ref(), &pool.fallback) else { continue };
        // A way longer than there are pools has come into a circle that this pool is not part of.
        let mut way = iter::successors(Some(fallback.get_ref()), |at| next.get(at).copied()).take(pools.len());
        if way.any(|at| at == start) {
            let problem =
                format!("the fallback of pool {} leads back to it: write another pool, or none", quoted(start));
            complaints.at(&fallback.span(), problem);
        }
    }
}

/// The pool has at least one server that can be its member.
fn check_members(pool: &PoolSection, clusters: &[ClusterSection], complaints: &Complaints<'_>) {
    let (Some(cluster_name), Some(role)) = (&pool.cluster, &pool.role) else { return };
    let Some(cluster) = clusters.iter().find(|cluster| cluster.name == *cluster_name) else { return };
    let can_be_member = |server: &ServerSection| match &server.role {
        Some(setting) => can_have(*setting.get_ref(), *role.get_ref()),
        // There was a complaint about the server's role, and it may well be that of the pool.
        None => true,
    };
    // There was a complaint about a cluster without servers.
    if !cluster.servers.is_empty() && !cluster.servers.iter().any(can_be_member) {
        let (pool, cluster) = (quoted(pool.name.get_ref()), quoted(cluster_name.get_ref()));
        let problem = format!("pool {pool} would always be empty: no server of cluster {cluster} can have this role");
        complaints.at(&role.span(), format!("{problem}; change it here, or the `role` of a server"));
    }
}

/// Whether a server that is configured so can ever be a member of a pool with this role.
fn can_have(setting: RoleSetting, role: Role) -> bool {
    match setting {
        RoleSetting::Auto => true,
        RoleSetting::Primary => role == Role::Primary,
        RoleSetting::Replica => role == Role::Replica,
    }
}

fn check_unsplit(user: &UserSection, complaints: &Complaints<'_>) {
    for (name, place) in user.written_for_split.iter().filter(|_| !user.has_split) {
        complaints.at(place, format!("`{name}` means nothing without `split`: leave it out, or write `split`"));
    }
}

/// What each source needs, and what means nothing for it.
fn check_newcomers(newcomers: &NewcomersSection, nobody_is_named: bool, complaints: &Complaints<'_>) {
    let Some(source) = &newcomers.source else { return };
    let without = |names: &[&str], reason: &str| {
        for (name, place) in newcomers.written.iter().filter(|(name, _)| names.contains(name)) {
            complaints.at(place, format!("`{name}` means nothing {reason}: leave it out, or write another `source`"));
        }
    };
    match source.get_ref() {
        SourceWord::Config => {
            without(&["account", "pool", "split"], "with source \"config\"");
            // That neither is written has been complained about.
            if nobody_is_named && !newcomers.place.is_empty() {
                complaints.missing(&newcomers.place, "nobody may log in: add a [[user]], or write another `source`");
            }
            return;
        }
        SourceWord::Learn => without(&["account"], "with source \"learn\""),
        SourceWord::Servers if !newcomers.has_account => {
            let problem =
                "the accounts have to be read by somebody: write `account = { user = \"…\", password = \"…\" }`";
            complaints.missing(&source.span(), problem);
        }
        SourceWord::Servers => {}
    }
    if !newcomers.written.iter().any(|(name, _)| matches!(*name, "pool" | "split")) {
        let problem = "who has no [[user]] entry has to be served somewhere: write `pool` or `split`";
        complaints.missing(&source.span(), problem);
    }
}

/// Statements go to one pool or to two, and the two are of one cluster: a session sees one data set.
fn check_split(
    pool: Option<&At<String>>,
    split: Option<&SplitSection>,
    pools: &[PoolSection],
    complaints: &Complaints<'_>,
) {
    let Some(split) = split else { return };
    if pool.is_some() {
        complaints.at(&split.place, "`pool` and `split` are two destinations: write only one of them");
    }
    let (Some(write), Some(read)) = (&split.write, &split.read) else { return };
    let Some(home) = find(pools, write.get_ref()) else { return };
    for pool in chain(pools, read.get_ref()).filter(|pool| is_elsewhere(pool, home)) {
        let problem = format!("reads would leave the cluster of {}", quoted(write.get_ref()));
        complaints.at(&read.span(), format!("{problem}: {}", advice_for(pool, read)));
    }
    for pool in chain(pools, write.get_ref()).filter(|pool| is_elsewhere(pool, home) || !takes_writes(pool)) {
        let problem = "writes would go to servers that are not this cluster's primary";
        complaints.at(&write.span(), format!("{problem}: {}", advice_for(pool, write)));
    }
}

/// Whoever leaves for one server must not need more than one.
fn check_handoff(user: &UserSection, complaints: &Complaints<'_>) {
    let Some(handoff) = user.handoff.as_ref().filter(|handoff| *handoff.get_ref()) else { return };
    let shares = user.reuse.as_ref().is_some_and(|reuse| *reuse.get_ref() == Reuse::Transaction);
    let what = match (user.has_split, shares) {
        (true, _) => "`split`, which needs two servers",
        (false, true) => "`backend_reuse = \"transaction\"`, which needs us between the two",
        (false, false) => return,
    };
    complaints.at(
        &handoff.span(),
        format!("clients that are sent on to a server cannot have {what}: leave one of the two out"),
    );
}

fn find<'f>(pools: &'f [PoolSection], name: &str) -> Option<&'f PoolSection> {
    pools.iter().find(|pool| pool.name.get_ref() == name)
}

/// A pool with its fallbacks. A circle of them is complained about elsewhere, and ends here.
fn chain<'f>(pools: &'f [PoolSection], first: &str) -> impl Iterator<Item = &'f PoolSection> {
    let next = |pool: &&'f PoolSection| find(pools, pool.fallback.as_ref()?.get_ref());
    iter::successors(find(pools, first), next).take(pools.len())
}

/// Whether a pool is surely of another cluster than `home`. Of one without a cluster there was a complaint.
fn is_elsewhere(pool: &PoolSection, home: &PoolSection) -> bool {
    matches!((&pool.cluster, &home.cluster), (Some(one), Some(other)) if one.get_ref() != other.get_ref())
}

fn takes_writes(pool: &PoolSection) -> bool {
    pool.role.as_ref().is_none_or(|role| *role.get_ref() == Role::Primary)
}

fn advice_for(pool: &PoolSection, named: &At<String>) -> String {
    let name = quoted(pool.name.get_ref());
    match pool.name == *named {
        true => format!("write another pool than {name}"),
        false => format!("take {name} from the fallbacks of {}, or write another pool", quoted(named.get_ref())),
    }
}

/// Values that were there before, with the places of the later ones.
fn repeated<'f, T: Eq + Hash + 'f>(written: impl Iterator<Item = &'f At<T>>) -> Vec<(&'f T, Range<usize>)> {
    let mut seen = HashSet::new();
    written.filter(|value| !seen.insert(value.get_ref())).map(|value| (value.get_ref(), value.span())).collect()
}
