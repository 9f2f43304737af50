//! Whether a session may stay where it is, or would do better elsewhere by now.

use super::balance::{self, Candidate};
use super::decision::{Obstacle, Question, Verdict, verdict};
use super::freshness::Sight;
use crate::config::PoolIndex;
use crate::topology::{RoutingTable, ServerIndex};

/// Whether a session of `pool` that holds a connection to `server` may keep it: the server can still be used, and no other
/// one would clearly be less loaded if the session went there. False only asks for a new decision, which may be the same.
///
/// Without allocation, and a few loads for each server of the cluster.
pub fn is_fair(table: &RoutingTable, pool: PoolIndex, server: ServerIndex) -> bool {
    let question = Question::without_a_session(pool);
    for pool in table.chain(pool) {
        let verdicts = table.pool(pool).candidates().map(|other| (other, verdict(table, pool, other, &question)));
        let others = verdicts.clone().filter(|(other, _)| *other != server);
        let others = others.filter_map(|(other, verdict)| verdict.candidate(other));
        let held =
            verdicts.clone().find(|(other, _)| *other == server).and_then(|(_, verdict)| held(table, server, verdict));
        match held {
            Some(held) => return is_balanced(held, others),
            // The pool has members again, and this server is no longer one, or only stood in for them.
            None if others.clone().next().is_some() => return false,
            None => {}
        }
    }
    false
}

/// The server that the session has, if it may be used: when it is full, the session is one of those that fill it.
fn held(table: &RoutingTable, server: ServerIndex, verdict: Verdict) -> Option<Candidate> {
    let entry = table.server(server);
    let full = Candidate { server, connections: entry.load.in_use(), weight: entry.weight, sight: Sight::Anything };
    match verdict {
        Verdict::Usable { .. } => verdict.candidate(server),
        Verdict::Unusable(Obstacle::Full { .. }) => Some(full),
        Verdict::Unusable(_) => None,
    }
}

/// Whether no other one would have clearly less than `held` has, if the session went there.
fn is_balanced(held: Candidate, others: impl Iterator<Item = Candidate> + Clone) -> bool {
    let all = balance::with_shares(others.chain([held]));
    let Some(held) = all.clone().find(|candidate| candidate.server == held.server) else {
        // It is a spare, and there are others.
        return false;
    };
    all.filter(|other| other.server != held.server).all(|other| !is_clearly_better(&other, &held))
}

/// With the session, the other one would have less than four fifths of what `held` has now, each for its weight. Less of
/// a gap is not worth a move, and would have sessions move in circles.
fn is_clearly_better(other: &Candidate, held: &Candidate) -> bool {
    let with_session = (u64::from(other.connections) + 1) * u64::from(held.weight);
    let now = u64::from(held.connections) * u64::from(other.weight);
    5 * with_session < 4 * now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::{answers, config, table};
    use crate::topology::{CheckResult, Place, Writable};

    /// `db0` is the primary; of the others `servers` gives connections and settings. Whether who is at `held` may stay.
    fn check(servers: &[(u32, &str)], held: usize, expected: bool) {
        check_with(servers, &vec![answers(Writable::No); servers.len()], held, expected);
    }

    fn check_with(servers: &[(u32, &str)], results: &[CheckResult], held: usize, expected: bool) {
        let all = [&[(0, "")], servers].concat();
        let text: Vec<String> = all
            .iter()
            .enumerate()
            .map(|(index, (_, more))| format!("name = \"db{index}\"\naddress = \"db{index}:3306\"\n{more}"))
            .collect();
        let results = [&[answers(Writable::Yes)], results].concat();
        let table = table(config(&text.iter().map(String::as_str).collect::<Vec<_>>()), &results);
        let load = |(entry, (count, _)): (&crate::topology::ServerEntry, &(u32, &str))| -> Vec<Place> {
            (0..*count).map(|_| entry.load.reserve(0).expect("there is no bound")).collect()
        };
        let _places: Vec<Vec<Place>> = table.servers.iter().zip(&all).map(load).collect();
        let read = table.config.pool_by_name("read").unwrap();
        assert_eq!(is_fair(&table, read, ServerIndex(held)), expected, "{servers:?}, at {held}");
    }

    #[test]
    fn a_session_stays_while_its_server_has_about_as_much_as_others() {
        check(&[(1, "")], 1, true);
        check(&[(1, ""), (0, "")], 1, true);
        check(&[(2, ""), (0, "")], 1, false);
        check(&[(2, ""), (1, "")], 1, true);
        check(&[(10, ""), (7, "")], 1, true);
        check(&[(11, ""), (7, "")], 1, false);
        check(&[(11, ""), (7, "")], 2, true);
        check(&[(300, ""), (250, ""), (230, "")], 1, false);
    }

    #[test]
    fn connections_count_by_weight() {
        check(&[(8, "weight = 200"), (4, "weight = 100")], 1, true);
        check(&[(8, "weight = 100"), (8, "weight = 200")], 1, false);
        check(&[(16, "weight = 200"), (4, "weight = 100")], 1, false);
        check(&[(1, "weight = 0"), (9, "")], 1, false);
        check(&[(1, "weight = 0"), (1, "weight = 0")], 1, true);
    }

    #[test]
    fn a_full_server_keeps_those_who_fill_it() {
        check(&[(2, "max_connections = 2"), (2, "")], 1, true);
        check(&[(9, ""), (1, "max_connections = 1")], 1, true);
    }

    #[test]
    fn a_session_leaves_a_server_that_is_no_longer_used() {
        let (up, down) = (answers(Writable::No), CheckResult::Refused);
        check_with(&[(1, ""), (9, "")], &[down.clone(), up.clone()], 1, false);
        check_with(&[(1, ""), (1, "")], &[down.clone(), down.clone()], 1, false);
        // The primary stands in for the replicas while there is none.
        check_with(&[(1, ""), (1, "")], &[down.clone(), down], 0, true);
        check_with(&[(9, ""), (9, "")], &[up.clone(), up], 0, false);
    }
}
