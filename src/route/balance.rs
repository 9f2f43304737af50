//! One of several usable servers.
//!
//! Each way takes the candidates as an iterator that can be run again instead of a list, so that nothing is allocated.
//! The connection counts move between two runs; a pick is then one that was right a moment ago.

use std::cmp::Ordering;

use super::freshness::Sight;
use crate::config::Balance;
use crate::topology::ServerIndex;

/// A server that may be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) server: ServerIndex,
    pub(super) connections: u32,
    /// Its share; 0: only when no candidate has more.
    pub(super) weight: u32,
    /// Whether it is known to have what the session must see.
    pub(super) sight: Sight,
}

/// Picks one of those that are known to be fresh, else of those that are not known to be behind, else of all; none only of none.
/// `tie_break` is the caller's turn counter.
pub(super) fn pick(
    balance: Balance,
    candidates: impl Iterator<Item = Candidate> + Clone,
    tie_break: u32,
) -> Option<Candidate> {
    let candidates = with_shares(candidates);
    let fresh = candidates.clone().filter(|candidate| candidate.sight.is_fresh());
    let near = candidates.clone().filter(|candidate| candidate.sight != Sight::Behind);
    balanced(balance, fresh, tie_break)
        .or_else(|| balanced(balance, near, tie_break))
        .or_else(|| balanced(balance, candidates, tie_break))
}

/// Those that take part: the spares only where there is nobody else, and then all alike.
pub(super) fn with_shares(
    candidates: impl Iterator<Item = Candidate> + Clone,
) -> impl Iterator<Item = Candidate> + Clone {
    let spares_only = candidates.clone().all(|candidate| candidate.weight == 0);
    candidates.filter_map(move |candidate| match (candidate.weight, spares_only) {
        (0, true) => Some(Candidate { weight: 1, ..candidate }),
        (0, false) => None,
        _ => Some(candidate),
    })
}

fn balanced(
    balance: Balance,
    candidates: impl Iterator<Item = Candidate> + Clone,
    tie_break: u32,
) -> Option<Candidate> {
    match balance {
        Balance::LeastConnections => least_connections(candidates, tie_break),
        Balance::RoundRobin => round_robin(candidates, tie_break),
        Balance::Random => random(candidates, tie_break),
    }
}

/// The one that would be loaded least with one connection more; of equals the `tie_break`-th, going round.
fn least_connections(candidates: impl Iterator<Item = Candidate> + Clone, tie_break: u32) -> Option<Candidate> {
    let best = candidates.clone().min_by(compare_load)?;
    let equals = candidates.filter(|candidate| compare_load(candidate, &best) == Ordering::Equal);
    let turn = tie_break as usize % equals.clone().count().max(1);
    equals.clone().nth(turn).or(Some(best))
}

/// `(connections + 1) / weight`, compared exactly: a / b < c / d is a * d < c * b.
pub(super) fn compare_load(one: &Candidate, other: &Candidate) -> Ordering {
    let load = |candidate: &Candidate, weight: u32| (u64::from(candidate.connections) + 1) * u64::from(weight);
    load(one, other.weight).cmp(&load(other, one.weight))
}

/// Each as often as its weight says, and not one after the other as often: turns are spread over the whole round.
fn round_robin(candidates: impl Iterator<Item = Candidate> + Clone, turn: u32) -> Option<Candidate> {
    let divisor =
        candidates.clone().fold(0, |divisor, candidate| greatest_common_divisor(divisor, u64::from(candidate.weight)));
    let round = total_weight(candidates.clone()) / divisor.max(1);
    if round == 0 {
        return None;
    }
    // Without a common divisor, a round of such strides meets every slot exactly once.
    let slot = u64::from(turn) % round * stride(round) % round;
    at_weight(candidates, slot * divisor)
}

fn random(candidates: impl Iterator<Item = Candidate> + Clone, turn: u32) -> Option<Candidate> {
    let total = total_weight(candidates.clone());
    at_weight(candidates, (u64::from(scatter(turn)) * total) >> u32::BITS)
}

/// Another number for each number, in no order that shows: the finalizer of MurmurHash3. Turns count up by one, and
/// small numbers would all fall on the first candidate.
fn scatter(turn: u32) -> u32 {
    let mixed = (turn ^ turn >> 16).wrapping_mul(0x85EB_CA6B);
    let mixed = (mixed ^ mixed >> 13).wrapping_mul(0xC2B2_AE35);
    mixed ^ mixed >> 16
}

/// The candidate that covers `point` when their weights are laid end to end; the last one when it lies beyond.
fn at_weight(candidates: impl Iterator<Item = Candidate> + Clone, point: u64) -> Option<Candidate> {
    let mut end = 0;
    let covers = |candidate: &Candidate| {
        end += u64::from(candidate.weight);
        point < end
    };
    candidates.clone().find(covers).or_else(|| candidates.last())
}

fn total_weight(candidates: impl Iterator<Item = Candidate>) -> u64 {
    candidates.map(|candidate| u64::from(candidate.weight)).sum()
}

/// About the golden section of `round`, which spreads turns best, and without a common divisor with it.
fn stride(round: u64) -> u64 {
    let golden = (round * 618 / 1000).max(1);
    (1..=golden).rev().find(|&stride| greatest_common_divisor(stride, round) == 1).unwrap_or(1)
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(numbers: &[(u32, u32)]) -> Vec<Candidate> {
        let numbers = numbers.iter().enumerate();
        numbers
            .map(|(index, &(connections, weight))| Candidate {
                server: ServerIndex(index),
                connections,
                weight,
                sight: Sight::Anything,
            })
            .collect()
    }

    /// `numbers`: connections and weight of each candidate.
    fn check(balance: Balance, numbers: &[(u32, u32)], tie_breaks: &[u32], expected: &[usize]) {
        let candidates = candidates(numbers);
        let picked =
            tie_breaks.iter().map(|&tie_break| pick(balance, candidates.iter().copied(), tie_break).unwrap().server.0);
        assert_eq!(picked.collect::<Vec<_>>(), expected, "{balance:?} of {numbers:?}");
    }

    #[test]
    fn the_fewest_connections_win() {
        check(Balance::LeastConnections, &[(3, 100), (2, 100), (4, 100)], &[0, 1, 2], &[1, 1, 1]);
    }

    #[test]
    fn a_heavier_server_takes_more_connections() {
        check(Balance::LeastConnections, &[(2, 100), (4, 200)], &[0], &[1]);
        check(Balance::LeastConnections, &[(2, 100), (6, 200)], &[0], &[0]);
    }

    #[test]
    fn loads_are_compared_exactly() {
        // 3_000_000_001 / 3 and 1_000_000_000 / 1 are the same number for a 32-bit float.
        check(Balance::LeastConnections, &[(3_000_000_000, 3), (999_999_999, 1)], &[0, 1], &[1, 1]);
        check(Balance::LeastConnections, &[(u32::MAX, u32::MAX), (u32::MAX - 1, u32::MAX)], &[0], &[1]);
    }

    #[test]
    fn equals_take_turns() {
        check(Balance::LeastConnections, &[(1, 1), (9, 1), (1, 1), (3, 2)], &[0, 1, 2, 3], &[0, 2, 3, 0]);
    }

    #[test]
    fn weight_zero_is_for_when_nothing_else_is_left() {
        for balance in [Balance::LeastConnections, Balance::RoundRobin, Balance::Random] {
            check(balance, &[(0, 0), (500, 1), (0, 0)], &[0, 1, u32::MAX], &[1, 1, 1]);
        }
        check(Balance::LeastConnections, &[(7, 0), (5, 0)], &[0, 1], &[1, 1]);
        check(Balance::RoundRobin, &[(7, 0), (5, 0)], &[0, 1, 2], &[0, 1, 0]);
    }

    #[test]
    fn round_robin_spreads_its_turns_by_weight() {
        check(Balance::RoundRobin, &[(0, 100), (0, 100), (0, 100)], &[0, 1, 2, 3, 4], &[0, 1, 2, 0, 1]);
        check(Balance::RoundRobin, &[(0, 300), (0, 100)], &[0, 1, 2, 3, 4], &[0, 0, 0, 1, 0]);
        let heavy = candidates(&[(0, 101), (0, 99)]);
        let turns: Vec<usize> =
            (0..200).map(|turn| pick(Balance::RoundRobin, heavy.iter().copied(), turn).unwrap().server.0).collect();
        assert_eq!(turns.iter().filter(|&&server| server == 0).count(), 101);
        let longest = turns.chunk_by(|one, other| one == other).map(<[usize]>::len).max();
        assert!(longest <= Some(2), "{longest:?} turns in a row went to the same server");
    }

    #[test]
    fn turns_fall_on_servers_at_random_by_weight() {
        let candidates = candidates(&[(0, 1), (0, 3)]);
        let picks: Vec<_> = (1..=4000)
            .filter_map(|turn| pick(Balance::Random, candidates.iter().copied(), turn))
            .map(|picked| picked.server.0)
            .collect();
        let on_second = picks.iter().sum::<usize>();
        assert!((2900..3100).contains(&on_second), "{on_second} of 4000 at weight 3 of 4");
        let repeats = picks.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((2300..2700).contains(&repeats), "{repeats} picks like the one before: chance would give 2500");
    }

    /// `fresh`: the places of those that were seen.
    fn check_fresh(numbers: &[(u32, u32)], fresh: &[usize], expected: (usize, Sight)) {
        let mut candidates = candidates(numbers);
        for candidate in &mut candidates {
            candidate.sight = if fresh.contains(&candidate.server.0) { Sight::Seen } else { Sight::Unseen };
        }
        let picked = pick(Balance::LeastConnections, candidates.iter().copied(), 0).unwrap();
        assert_eq!((picked.server.0, picked.sight), expected, "{numbers:?}, fresh {fresh:?}");
    }

    #[test]
    fn who_was_seen_fresh_comes_before_who_has_fewer_connections() {
        check_fresh(&[(3, 100), (2, 100), (0, 100)], &[], (2, Sight::Unseen));
        check_fresh(&[(3, 100), (2, 100), (0, 100)], &[0, 1], (1, Sight::Seen));
        check_fresh(&[(3, 100), (2, 100), (0, 100)], &[0], (0, Sight::Seen));
        check_fresh(&[(3, 100), (0, 0)], &[1], (0, Sight::Unseen));
    }

    #[test]
    fn who_is_behind_comes_behind_all_others() {
        let mut two = candidates(&[(0, 100), (9, 1)]);
        let picked = |two: &[Candidate]| pick(Balance::LeastConnections, two.iter().copied(), 0).unwrap().server.0;
        (two[0].sight, two[1].sight) = (Sight::Behind, Sight::Unseen);
        assert_eq!(picked(&two), 1);
        two[1].sight = Sight::Behind;
        assert_eq!(picked(&two), 0, "where nobody is better, load decides");
    }

    #[test]
    fn of_none_none_is_picked() {
        for balance in [Balance::LeastConnections, Balance::RoundRobin, Balance::Random] {
            assert_eq!(pick(balance, std::iter::empty(), 7), None);
        }
    }
}
