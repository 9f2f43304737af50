//! sqluice in front of a set of servers with a user whose statements are split.

use std::net::SocketAddr;

use super::sets::{Galera, Trio};

/// What user app does: reads to the replicas, everything else to the primary.
const SPLIT: &str = "split = { write = \"write\", read = \"read\" }";

/// Cluster `set` with roles as the servers say, and app/app.
pub(crate) fn split_trio(trio: &Trio) -> String {
    split_at(&trio.servers.each_ref().map(|server| server.address))
}

/// [`split_trio`] with so many connections to the primary, which sessions give back between transactions.
pub(crate) fn lend_trio(trio: &Trio, connections: usize) -> String {
    let limit = format!("max_connections = {connections}\n");
    let addresses = trio.servers.each_ref().map(|server| server.address);
    split("topology = \"replication\"", &addresses, |index| if index == 0 { &limit } else { "" })
        + "backend_reuse = \"transaction\"\n"
}

/// [`split_trio`] with the servers reached at other addresses than their own.
pub(crate) fn split_at(addresses: &[SocketAddr]) -> String {
    split("topology = \"replication\"", addresses, |_| "")
}

/// Cluster `set` with the first node for writes, and app/app. A node that a test holds back with a lock is out of step, and
/// is to be read from all the same.
pub(crate) fn split_galera(galera: &Galera) -> String {
    split(
        "topology = \"galera\"\ndonor_reads = \"always\"",
        &galera.servers.each_ref().map(|server| server.address),
        |index| match index {
            0 => "role = \"primary\"\n",
            _ => "role = \"replica\"\n",
        },
    )
}

/// The same, of nodes of which each may have the writes.
pub(crate) fn split_galera_of_equals(galera: &Galera) -> String {
    split_group(&galera.servers.each_ref().map(|server| server.address))
}

/// The same of nodes at these addresses.
pub(crate) fn split_group(addresses: &[SocketAddr]) -> String {
    split("topology = \"galera\"", addresses, |_| "")
}

fn split<'a>(topology: &str, addresses: &[SocketAddr], role: impl Fn(usize) -> &'a str) -> String {
    let mut text = format!(
        "[cluster.set]\n{topology}\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
         check_interval = \"100ms\"\ncheck_timeout = \"5s\"\nhold_timeout = \"30s\"\n\n"
    );
    for (index, address) in addresses.iter().enumerate() {
        text +=
            &format!("[[cluster.set.server]]\nname = \"db{}\"\naddress = \"{address}\"\n{}\n", index + 1, role(index));
    }
    text + "[pool.write]\ncluster = \"set\"\nrole = \"primary\"\n\n\
            [pool.read]\ncluster = \"set\"\nrole = \"replica\"\nfallback = \"write\"\n\n"
        + &format!("[[user]]\nname = \"app\"\npassword = \"app\"\n{SPLIT}\n")
}
