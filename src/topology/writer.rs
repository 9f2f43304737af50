//! What a server is used for, and what its own words and the configuration make it. What the other servers of its cluster
//! make of that is decided where they are compared.

use std::fmt;

use super::{Belief, Condition, Writable};
use crate::config::{Role, RoleSetting, Topology};

/// What a server is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerRole {
    /// Not known; used for nothing.
    Unknown,
    /// The only one that takes writes.
    Primary,
    /// The only one that takes writes, and about to hand them over to another: it gets no new ones.
    Yielding,
    /// Takes no writes.
    Replica,
    /// Takes writes, and is not alone in that; used for nothing.
    Contested,
    /// Was the primary until another server took over, and still says that it takes writes; used for nothing.
    Deposed,
    /// The configuration says primary and the server says `read_only`; used for nothing.
    ReadOnlyPrimary,
}

impl ServerRole {
    /// Whether a server of this role belongs to a pool of that one.
    pub fn serves(self, role: Role) -> bool {
        match self {
            ServerRole::Primary => role == Role::Primary,
            ServerRole::Replica => role == Role::Replica,
            ServerRole::Unknown
            | ServerRole::Yielding
            | ServerRole::Contested
            | ServerRole::Deposed
            | ServerRole::ReadOnlyPrimary => false,
        }
    }
}

impl fmt::Display for ServerRole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            ServerRole::Unknown => "unknown",
            ServerRole::Primary => "primary",
            ServerRole::Yielding => "primary that hands over",
            ServerRole::Replica => "replica",
            ServerRole::Contested => "contested primary",
            ServerRole::Deposed => "deposed primary",
            ServerRole::ReadOnlyPrimary => "read-only primary",
        })
    }
}

/// What a server is by what is said of it alone.
pub(super) fn own_role(topology: Topology, setting: RoleSetting, belief: &Belief) -> ServerRole {
    match (topology, setting, belief.writable()) {
        (_, RoleSetting::Replica, _) => ServerRole::Replica,
        (Topology::Replication, RoleSetting::Primary, Some(Writable::No)) => ServerRole::ReadOnlyPrimary,
        (_, RoleSetting::Primary, _) => ServerRole::Primary,
        // What a server that is not up said before it went away may not be so any more when it comes back.
        (_, RoleSetting::Auto, _) if belief.condition() != Condition::Up => ServerRole::Unknown,
        (_, RoleSetting::Auto, Some(Writable::Yes)) => ServerRole::Primary,
        (_, RoleSetting::Auto, Some(Writable::No)) => ServerRole::Replica,
        (_, RoleSetting::Auto, None) => ServerRole::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::{answers, config, config_with, table};
    use crate::topology::{CheckResult, RoutingTable};

    const AUTO: [&str; 2] = [
        r#"name = "db1"
address = "10.0.0.1:3306""#,
        r#"name = "db2"
address = "10.0.0.2:3306""#,
    ];

    fn with_role(role: &str) -> [String; 2] {
        [format!("{}\nrole = \"{role}\"", AUTO[0]), AUTO[1].to_owned()]
    }

    fn check(table: &RoutingTable, expected: [ServerRole; 2], writers: &[usize]) {
        let roles: Vec<ServerRole> = table.servers.iter().map(|server| server.health.role).collect();
        assert_eq!(roles, expected);
        let write = table.config.pool_by_name("write").unwrap();
        let members: Vec<usize> = table.pool(write).members.iter().map(|member| member.0).collect();
        assert_eq!(members, writers);
    }

    #[test]
    fn the_servers_say_who_is_who() {
        let table = table(config(&AUTO), &[answers(Writable::Yes), answers(Writable::No)]);
        check(&table, [ServerRole::Primary, ServerRole::Replica], &[0]);
    }

    #[test]
    fn of_two_that_take_writes_neither_is_used() {
        let table = table(config(&AUTO), &[answers(Writable::Yes), answers(Writable::Yes)]);
        check(&table, [ServerRole::Contested, ServerRole::Contested], &[]);
        let reason = &table.servers[0].health.reason;
        assert_eq!(&**reason, "takes writes, and is not the only one: no certain primary");
    }

    #[test]
    fn a_server_that_is_down_contests_nothing() {
        let table = table(config(&AUTO), &[answers(Writable::Yes), CheckResult::Refused]);
        check(&table, [ServerRole::Primary, ServerRole::Unknown], &[0]);
    }

    #[test]
    fn a_silent_writer_still_contests() {
        let now = std::time::Instant::now();
        let mut beliefs = crate::topology::Beliefs::new(config(&AUTO), now);
        let ids: Vec<_> = beliefs.ids().collect();
        beliefs.check(ids[0], &answers(Writable::Yes), now);
        beliefs.check(ids[1], &answers(Writable::No), now);
        beliefs.check(ids[0], &CheckResult::TimedOut, now);
        beliefs.check(ids[1], &answers(Writable::Yes), now);
        check(&beliefs.table(), [ServerRole::Contested, ServerRole::Contested], &[]);
        beliefs.check(ids[0], &CheckResult::TimedOut, now);
        check(&beliefs.table(), [ServerRole::Unknown, ServerRole::Primary], &[1]);
    }

    #[test]
    fn a_question_for_read_only_that_is_not_answered_in_time_makes_no_replica_of_the_primary() {
        let now = std::time::Instant::now();
        let mut beliefs = crate::topology::Beliefs::new(config(&AUTO), now);
        let ids: Vec<_> = beliefs.ids().collect();
        let check_readers = |table: &RoutingTable, readers: &[usize]| {
            let read = table.config.pool_by_name("read").unwrap();
            let members: Vec<usize> = table.pool(read).members.iter().map(|member| member.0).collect();
            assert_eq!(members, readers);
        };
        beliefs.check(ids[0], &answers(Writable::Yes), now);
        beliefs.check(ids[1], &answers(Writable::No), now);
        beliefs.check(ids[0], &CheckResult::TimedOut, now);
        let after_one = beliefs.table();
        check(&after_one, [ServerRole::Primary, ServerRole::Replica], &[0]);
        check_readers(&after_one, &[1]);
        // Silent for too long, it is unknown, and used for nothing: it was not seen to be a replica.
        beliefs.check(ids[0], &CheckResult::TimedOut, now);
        let after_two = beliefs.table();
        check(&after_two, [ServerRole::Unknown, ServerRole::Replica], &[]);
        check_readers(&after_two, &[1]);
    }

    #[test]
    fn nobody_writes_before_all_were_asked() {
        let now = std::time::Instant::now();
        let mut beliefs = crate::topology::Beliefs::new(config(&AUTO), now);
        let ids: Vec<_> = beliefs.ids().collect();
        beliefs.check(ids[0], &answers(Writable::Yes), now);
        check(&beliefs.table(), [ServerRole::Unknown, ServerRole::Unknown], &[]);
        beliefs.check(ids[1], &CheckResult::TimedOut, now);
        check(&beliefs.table(), [ServerRole::Primary, ServerRole::Unknown], &[0]);
    }

    #[test]
    fn a_configured_primary_is_the_only_one() {
        let servers = with_role("primary");
        let config = config(&[&servers[0], &servers[1]]);
        let both_write = table(config.clone(), &[answers(Writable::Yes), answers(Writable::Yes)]);
        check(&both_write, [ServerRole::Primary, ServerRole::Contested], &[0]);
        let other_writes = table(config, &[CheckResult::Refused, answers(Writable::Yes)]);
        check(&other_writes, [ServerRole::Primary, ServerRole::Contested], &[]);
    }

    #[test]
    fn a_configured_primary_that_is_read_only_takes_no_writes() {
        let servers = with_role("primary");
        let table = table(config(&[&servers[0], &servers[1]]), &[answers(Writable::No), answers(Writable::No)]);
        check(&table, [ServerRole::ReadOnlyPrimary, ServerRole::Replica], &[]);
    }

    #[test]
    fn a_configured_replica_never_writes() {
        let servers = with_role("replica");
        let table = table(config(&[&servers[0], &servers[1]]), &[answers(Writable::Yes), answers(Writable::Yes)]);
        check(&table, [ServerRole::Replica, ServerRole::Primary], &[1]);
    }

    #[test]
    fn in_a_static_cluster_the_configuration_is_all_that_counts() {
        let servers = [format!("{}\nrole = \"primary\"", AUTO[0]), format!("{}\nrole = \"replica\"", AUTO[1])];
        let config = config_with("topology = \"static\"", &[&servers[0], &servers[1]]);
        let table = table(config, &[answers(Writable::No), answers(Writable::Yes)]);
        check(&table, [ServerRole::Primary, ServerRole::Replica], &[0]);
    }
}
