//! sqluice in front of a set of servers with a user whose statements are split.

use super::servers::Server;
use super::sets::{Galera, Trio};

/// What user app does: reads to the replicas, everything else to the primary.
const SPLIT: &str = "pool = \"write\"";

/// Cluster `set` with roles as the servers say, and app/app.
pub(crate) fn split_trio(trio: &Trio) -> String {
    split("topology = \"replication\"", &trio.servers, |_| "")
}

/// Cluster `set` with the first node for writes, and app/app.
pub(crate) fn split_galera(galera: &Galera) -> String {
    split("topology = \"static\"", &galera.servers, |index| match index {
        0 => "role = \"primary\"\n",
        _ => "role = \"replica\"\n",
    })
}

fn split(topology: &str, servers: &[Server], role: impl Fn(usize) -> &'static str) -> String {
    let mut text = format!(
        "[cluster.set]\n{topology}\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
         check_interval = \"100ms\"\ncheck_timeout = \"5s\"\nhold_timeout = \"30s\"\n\n"
    );
    for (index, server) in servers.iter().enumerate() {
        text += &format!(
            "[[cluster.set.server]]\nname = \"db{}\"\naddress = \"{}\"\n{}\n",
            index + 1,
            server.address,
            role(index)
        );
    }
    text + "[pool.write]\ncluster = \"set\"\nrole = \"primary\"\n\n\
            [pool.read]\ncluster = \"set\"\nrole = \"replica\"\nfallback = \"write\"\n\n"
        + &format!("[[user]]\nname = \"app\"\npassword = \"app\"\n{SPLIT}\n\n")
}
