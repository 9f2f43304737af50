//! Whether a candidate that splits reads from the rest does: the stand-in server counts what is read at each address.

use crate::candidate::Candidate;
use crate::case::Case;
use crate::stand_in;
use crate::target::Target;

/// The part of the reads outside of transactions that must go to the replica. Not all of them: after a write, a read
/// stays at the primary where the replica cannot be waited for in time.
const PART_MIN: f64 = 0.95;

/// Reads at a stand-in server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reads {
    at_primary: u64,
    at_replica: u64,
}

/// Measures; of a candidate that splits also whether its reads went to the replica meanwhile, without which what was
/// measured is something else.
pub(crate) fn watched<T>(
    candidate: Candidate,
    target: &Target,
    case: Case,
    measure: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    if !candidate.splits() {
        return measure();
    }
    let before = Reads::of(target)?;
    let measured = measure()?;
    let meanwhile = Reads::of(target)?.since(before);
    if meanwhile.are_split(case.free_reads()) {
        return Ok(measured);
    }
    let Reads { at_primary, at_replica } = meanwhile;
    Err(format!("reads did not go to the replica: {at_primary} went to the primary, {at_replica} to the replica"))
}

impl Reads {
    fn of(target: &Target) -> Result<Reads, String> {
        let at = |address| stand_in::reads(address).map_err(|error| format!("what the stand-in server read: {error}"));
        let replica = target.replica.ok_or("there is no replica whose reads could be counted")?;
        Ok(Reads { at_primary: at(target.primary)?, at_replica: at(replica)? })
    }

    fn since(self, before: Reads) -> Reads {
        Reads {
            at_primary: self.at_primary.saturating_sub(before.at_primary),
            at_replica: self.at_replica.saturating_sub(before.at_replica),
        }
    }

    fn are_split(self, free_reads: f64) -> bool {
        let all = (self.at_primary + self.at_replica) as f64;
        self.at_replica > 0 && self.at_replica as f64 >= all * free_reads * PART_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(case: Case, at_primary: u64, at_replica: u64, expected: bool) {
        let reads = Reads { at_primary, at_replica };
        assert_eq!(reads.are_split(case.free_reads()), expected, "{case:?} {reads:?}");
    }

    #[test]
    fn reads_at_the_primary_count_as_a_failure_outside_of_transactions() {
        check(Case::PointSelect, 0, 100, true);
        check(Case::PointSelect, 10, 90, false);
        check(Case::PointSelect, 100, 0, false);
        check(Case::PointSelect, 0, 0, false);
        check(Case::ReadWrite, 12, 88, true);
        check(Case::ReadWrite, 50, 50, false);
    }
}
