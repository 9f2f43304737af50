//! Clusters and pools: which servers can be a member, and who can become the primary.

use super::*;

#[test]
fn whoever_promotes_needs_replicas_that_can_be_promoted() {
    let promotes = |more: &str| format!("topology = \"replication\"\nfailover = \"manual\"\n{more}");
    let replication = "replication = { user = \"repl\", password = \"r\" }\n";
    let config = right(&MINIMAL.replacen("topology = \"replication\"", &promotes(replication), 1));
    let promotion = config.clusters[0].promotion.as_ref().expect("it is configured");
    assert_eq!((promotion.failover, promotion.admin.user.as_str()), (Failover::Manual, "monitor"));
    assert_eq!((promotion.replication.user.as_str(), config.clusters[0].servers[0].priority), ("repl", 100));
    assert!(right(MINIMAL).clusters[0].promotion.is_none());

    let topology = "topology = \"replication\"";
    let account = "write `replication = { user = \"…\", password = \"…\" }`, the account that replicas use";
    check(topology, &promotes(""), &format!("7:12: a former primary has to follow the new one: {account}"));
    let two = "[[cluster.shop.server]]\nname = \"db2\"\naddress = \"10.0.0.12:3306\"\n[[cluster.shop.server]]";
    let text = MINIMAL.replacen(topology, &promotes(replication), 1).replacen("[[cluster.shop.server]]", two, 1);
    let problem = "without its primary a cluster of two has no majority that could decide";
    let automatic = text.replacen("\"manual\"", "\"automatic\"", 1);
    assert_eq!(errors(&automatic), [format!("7:12: {problem}: write \"manual\", or add a server")]);
    let local = text.replacen("10.0.0.12:3306", "unix:/run/db2.sock", 1);
    let problem = "no replica can follow a UNIX socket: write a host and a port, or leave `failover` out";
    assert_eq!(errors(&local), [format!("13:11: {problem}")]);
    let fixed = text.replacen("10.0.0.12:3306\"", "10.0.0.12:3306\"\nrole = \"replica\"", 1);
    let problem = "with `failover` no server has a role for ever: leave `role` out, or write `priority = 0`";
    assert_eq!(errors(&fixed), [format!("14:8: {problem}")]);
}

#[test]
fn fallbacks_end() {
    check(
        "role = \"primary\"",
        "role = \"primary\"\nfallback = \"write\"",
        "15:12: the fallback of pool \"write\" leads back to it: write another pool, or none",
    );
    // `c` leads to the circle of `a` and `b`, but is not part of it.
    let circle = "[pool]\na = { cluster = \"shop\", role = \"replica\", fallback = \"b\" }\n\
                  b = { cluster = \"shop\", role = \"replica\", fallback = \"a\" }\n\
                  c = { cluster = \"shop\", role = \"replica\", fallback = \"a\" }\n";
    let minimal = MINIMAL
        .replace("[pool.write]", "[pool_write]")
        .replace("[pool_write]\ncluster = \"shop\"\nrole = \"primary\"\n", circle);
    assert_eq!(
        errors(&minimal.replace("pool = \"write\"", "pool = \"c\"")),
        [
            "13:54: the fallback of pool \"a\" leads back to it: write another pool, or none",
            "14:54: the fallback of pool \"b\" leads back to it: write another pool, or none",
        ]
    );
}

#[test]
fn every_pool_can_have_a_member() {
    check(
        "address = \"10.0.0.11:3306\"",
        "address = \"10.0.0.11:3306\"\nrole = \"replica\"",
        "15:8: pool \"write\" would always be empty: no server of cluster \"shop\" can have this role; change it here, or the `role` of a server",
    );
    check(
        "\"replication\"",
        "\"static\"",
        "8:1: topology \"static\" asks no server for its role: write `role = \"primary\"` or `role = \"replica\"`",
    );
    check(
        "topology = \"replication\"\nmonitor = { user = \"monitor\", password = \"m\" }\n",
        "topology = \"galera\"\n",
        "5:10: topology \"galera\" needs an account for the health checks: \
         write `monitor = { user = \"…\", password = \"…\" }`, or make the topology \"static\"",
    );
    check(
        "monitor = { user = \"monitor\", password = \"m\" }\n",
        "",
        "5:10: topology \"replication\" needs an account for the health checks: \
         write `monitor = { user = \"…\", password = \"…\" }`, or make the topology \"static\"",
    );
}

#[test]
fn a_cluster_has_one_primary_at_most() {
    let server = |name, role| {
        format!("[[cluster.shop.server]]\nname = \"{name}\"\naddress = \"{name}:3306\"\nrole = \"{role}\"\n")
    };
    check_added(
        &format!("{}{}{}", server("a", "primary"), server("b", "replica"), server("c", "primary")),
        "31:8: another server of this cluster is the primary, and writes go to one: write `role = \"replica\"`",
    );
}
