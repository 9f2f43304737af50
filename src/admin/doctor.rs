//! What is wrong with each cluster and what to do next, out of a status: for `sqluice doctor`, and a part of `sqluice status`.

use std::fmt::Write;

use super::shapes::{ClusterStatus, PoolStatus, ServerStatus, Status};

/// What a look at the clusters has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// For people.
    pub page: String,
    /// Whether anything needs an operator.
    pub outcome: Outcome,
}

/// Whether anything needs an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No.
    Well,
    /// Something does.
    NeedsOperator,
}

/// Looks at all clusters, or at the one of that name; `Err` if there is none.
pub fn examine(status: &Status, cluster: Option<&str>) -> Result<Diagnosis, String> {
    let wanted = |found: &&ClusterStatus| cluster.is_none_or(|name| found.name == name);
    let clusters: Vec<&ClusterStatus> = status.clusters.iter().filter(wanted).collect();
    if let (Some(name), []) = (cluster, clusters.as_slice()) {
        let known: Vec<&str> = status.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        return Err(format!("there is no cluster named {name:?}: write one of {}", known.join(", ")));
    }
    let mut diagnosis = Diagnosis { page: String::new(), outcome: Outcome::Well };
    for cluster in clusters {
        let findings = findings(status, cluster);
        if !findings.is_empty() {
            diagnosis.outcome = Outcome::NeedsOperator;
        }
        let steps: Vec<String> = cluster.advice.iter().cloned().chain(steps_back(status, cluster)).collect();
        diagnosis.page.push_str(&section(cluster, &findings, &steps));
    }
    Ok(diagnosis)
}

/// What has happened to the clusters that have a name for it, and the next steps: the alarms stand elsewhere in a status.
pub(super) fn told(status: &Status) -> String {
    let clusters = status.clusters.iter().filter(|cluster| !cluster.situation.is_empty());
    clusters.map(|cluster| section(cluster, &[], &cluster.advice)).collect()
}

fn section(cluster: &ClusterStatus, findings: &[String], steps: &[String]) -> String {
    let headline = match (cluster.situation.as_str(), findings) {
        ("", []) => "well",
        ("", _) => "needs a look",
        (situation, _) => situation,
    };
    let mut section = format!("cluster {}: {headline}\n", cluster.name);
    for finding in findings {
        let _ = writeln!(section, "  ! {finding}");
    }
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(section, "  {}. {step}", number + 1);
    }
    section
}

/// What the process says is wrong with a cluster; where its topology has no names for that, its servers one by one.
fn findings(status: &Status, cluster: &ClusterStatus) -> Vec<String> {
    let mut findings = cluster.alarms.clone();
    if cluster.situation.is_empty() {
        findings.extend(cluster.servers.iter().filter_map(ailment));
    }
    let empty = empty_pools(status, cluster).map(|pool| format!("pool {} has no server to use", pool.name));
    findings.extend(empty);
    findings
}

/// What an operator has taken out of use, where a pool has nobody else.
fn steps_back(status: &Status, cluster: &ClusterStatus) -> Vec<String> {
    let is_withdrawn = |server: &&ServerStatus| server.state == "up" && server.service != "in use";
    let is_missed = |server: &&ServerStatus| empty_pools(status, cluster).any(|pool| pool.role == server.role);
    let missed = cluster.servers.iter().filter(is_withdrawn).filter(is_missed);
    let step = |server: &ServerStatus| {
        let (name, service) = (format!("{}/{}", cluster.name, server.name), &server.service);
        let or_else = match &*server.role {
            "primary" => format!(
                ", or let another server take its writes: how that is done here is told by sqluice drain {name} --dry-run"
            ),
            _ => String::new(),
        };
        format!("{} is {service}: say sqluice enable {name}{or_else}", server.name)
    };
    missed.map(step).collect()
}

fn ailment(server: &ServerStatus) -> Option<String> {
    let serves = server.state == "up"
        && !matches!(&*server.fitness, "unfit" | "leaving")
        && matches!(&*server.role, "primary" | "replica");
    let ServerStatus { name, address, role, state, reason, .. } = server;
    (!serves).then(|| format!("{name} ({address}) is {state}, {role}: {reason}"))
}

/// Pools of the cluster that lead nowhere, not even over a fallback.
fn empty_pools<'s>(status: &'s Status, cluster: &'s ClusterStatus) -> impl Iterator<Item = &'s PoolStatus> {
    let next = |pool: &&PoolStatus| status.pools.iter().find(|next| Some(&next.name) == pool.fallback.as_ref());
    let chain = move |pool| std::iter::successors(Some(pool), next).take(status.pools.len());
    let of_cluster = status.pools.iter().filter(|pool| pool.cluster == cluster.name);
    of_cluster.filter(move |pool| chain(*pool).all(|pool| pool.usable.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::shapes::tests::a_status;
    use super::*;

    fn galera(situation: &str, alarms: &[&str], advice: &[&str]) -> Status {
        let lines = |lines: &[&str]| lines.iter().map(|line| line.to_string()).collect();
        let mut status = a_status();
        status.clusters[0] = ClusterStatus {
            topology: "galera".into(),
            situation: situation.into(),
            alarms: lines(alarms),
            advice: lines(advice),
            ..status.clusters[0].clone()
        };
        status
    }

    #[test]
    fn steps_are_numbered_under_what_is_wrong() {
        let status = galera("one node stopped", &["n3 does not answer"], &["start it", "wait"]);
        let page = "cluster shop: one node stopped\n  ! n3 does not answer\n  1. start it\n  2. wait\n";
        let expected = Diagnosis { page: page.to_owned(), outcome: Outcome::NeedsOperator };
        assert_eq!(examine(&status, Some("shop")), Ok(expected.clone()));
        assert_eq!(examine(&status, None), Ok(expected));
        assert_eq!(told(&status), page.replace("  ! n3 does not answer\n", ""));
    }

    #[test]
    fn only_what_is_wrong_needs_an_operator() {
        let status = galera("a node is joining", &[], &["wait"]);
        let page = "cluster shop: a node is joining\n  1. wait\n".to_owned();
        assert_eq!(examine(&status, None), Ok(Diagnosis { page, outcome: Outcome::Well }));
    }

    #[test]
    fn without_a_name_for_what_has_happened_the_servers_are_told_one_by_one() {
        let mut status = a_status();
        status.clusters[0].alarms.clear();
        let page =
            "cluster shop: needs a look\n  ! db2 (10.0.0.12:3306) is unknown, unknown: not checked yet\n".to_owned();
        assert_eq!(examine(&status, None), Ok(Diagnosis { page, outcome: Outcome::NeedsOperator }));
        assert_eq!(told(&status), "");
        status.clusters[0].servers.truncate(1);
        let page = "cluster shop: well\n".to_owned();
        assert_eq!(examine(&status, None), Ok(Diagnosis { page, outcome: Outcome::Well }));
    }

    #[test]
    fn a_pool_without_any_server_in_its_fallbacks_is_told() {
        let mut status = galera("all nodes in the group", &[], &[]);
        status.pools[0].usable.clear();
        let page = "cluster shop: all nodes in the group\n  ! pool write has no server to use\n  ! pool read has no server to use\n";
        let expected = Diagnosis { page: page.to_owned(), outcome: Outcome::NeedsOperator };
        assert_eq!(examine(&status, None), Ok(expected));
    }

    #[test]
    fn where_a_pool_is_empty_by_an_operators_order_the_way_back_is_told() {
        let mut status = galera("", &[], &[]);
        status.pools[0].usable.clear();
        let servers = &mut status.clusters[0].servers;
        servers.truncate(1);
        servers[0].service = "out of use".into();
        let told = examine(&status, None).expect("it is there").page;
        let expected = "cluster shop: needs a look\n  ! pool write has no server to use\n  ! pool read has no server to use\n  \
                        1. db1 is out of use: say sqluice enable shop/db1, or let another server take its writes: how that is done \
                        here is told by sqluice drain shop/db1 --dry-run\n";
        assert_eq!(told, expected);
        // One that is down is not missed because of an order; and of another role nobody misses it.
        let changes: [fn(&mut ServerStatus); 2] =
            [|server| server.state = "down".into(), |server| server.role = "unknown".into()];
        for change in changes {
            let mut status = status.clone();
            change(&mut status.clusters[0].servers[0]);
            let told = examine(&status, None).expect("it is there").page;
            assert!(told.contains("pool write has no server to use") && !told.contains("1. "), "{told}");
        }
        status.pools[0].usable = vec!["db2".into()];
        assert_eq!(examine(&status, None).map(|diagnosis| diagnosis.page), Ok("cluster shop: well\n".to_owned()));
    }

    #[test]
    fn an_unknown_cluster_is_refused_with_the_known_ones() {
        let refused = examine(&a_status(), Some("shp")).expect_err("there is none of that name");
        assert_eq!(refused, "there is no cluster named \"shp\": write one of shop");
    }
}
