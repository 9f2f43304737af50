//! How long things took, counted in fixed buckets: written by one thread, read by any, and added up where it is read.
//!
//! Up to 15 µs each microsecond has a bucket, from there on each doubling has eight: a quantile is at most an eighth too
//! high. Counting costs a subtraction, a shift and two additions, and allocates nothing.
//!
//! Nothing here reads a clock: whoever counts has the two moments already, as [`Tick`]s.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Each doubling has two to the power of this many buckets.
const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;
/// Times of more bits of microseconds than this, 71 minutes, count as the longest.
const BITS_MAX: u32 = 32;
/// How many buckets there are.
pub const BUCKETS: usize = STEPS * (BITS_MAX - STEP_BITS + 1) as usize;

/// A moment: whole microseconds since one that its thread began with. Two of them are subtracted in one instruction, where
/// two `Instant`s take a borrow between seconds and nanoseconds and a division.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// The moment that is so long after the beginning.
    pub fn after_beginning(elapsed: Duration) -> Tick {
        // As long as the process could run it fits; `as_micros` would divide 128 bits.
        Tick(elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros()))
    }

    /// Microseconds since `earlier`.
    pub fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Times that one thread counts.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    microseconds: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [const { AtomicU64::new(0) }; BUCKETS], microseconds: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one time. Only one thread may do so: what two count at once is lost.
    pub fn count(&self, microseconds: u64) {
        add(&self.buckets[bucket(microseconds)], 1);
        add(&self.microseconds, microseconds);
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

fn bucket(microseconds: u64) -> usize {
    let microseconds = microseconds.min((1 << BITS_MAX) - 1);
    let bits = u64::BITS - (microseconds | 1).leading_zeros();
    let shift = bits.saturating_sub(STEP_BITS + 1);
    (shift as usize * STEPS) + (microseconds >> shift) as usize
}

/// The lowest time of a bucket, in microseconds; the bucket before it ends there.
fn lowest(bucket: usize) -> u64 {
    match bucket / STEPS {
        0 | 1 => bucket as u64,
        doubling => ((STEPS + bucket % STEPS) as u64) << (doubling - 1),
    }
}

/// Times that were counted, of one thread or of many together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    buckets: Box<[u64; BUCKETS]>,
    microseconds: u64,
}

impl Default for Distribution {
    fn default() -> Distribution {
        Distribution { buckets: Box::new([0; BUCKETS]), microseconds: 0 }
    }
}

impl Distribution {
    /// Takes in what a thread has counted so far.
    pub fn add(&mut self, counted: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&counted.buckets) {
            *sum = sum.wrapping_add(bucket.load(Ordering::Relaxed));
        }
        self.microseconds = self.microseconds.wrapping_add(counted.microseconds.load(Ordering::Relaxed));
    }

    /// Takes in what others have counted.
    pub fn merge(&mut self, other: &Distribution) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *sum = sum.wrapping_add(*count);
        }
        self.microseconds = self.microseconds.wrapping_add(other.microseconds);
    }

    /// What was counted since `earlier`, which is the same distribution at another time.
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        let mut rest = self.clone();
        for (count, before) in rest.buckets.iter_mut().zip(earlier.buckets.iter()) {
            *count = count.saturating_sub(*before);
        }
        rest.microseconds = rest.microseconds.saturating_sub(earlier.microseconds);
        rest
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them together, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.microseconds as f64 / 1e6
    }

    /// The time that this share of them, 0 to 1, does not exceed: the end of the bucket of the last of them. None of none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.len();
        let wanted = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let found = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= wanted
        })?;
        Some(Duration::from_micros(lowest(found + 1)))
    }

    /// How many took less than 2^`from` microseconds, how many from there to less than the next power of two, and so on up
    /// to 2^`to`, each with its end; last, without an end, all longer ones. Exact, since buckets end at powers of two.
    pub fn by_powers_of_two(&self, from: u32, to: u32) -> Vec<(Option<Duration>, u64)> {
        let ends = (from..=to).map(|power| (Some(Duration::from_micros(1 << power)), bucket(1 << power)));
        let mut begin = 0;
        let mut count_to = |(end, place): (Option<Duration>, usize)| {
            let count = self.buckets[begin..place].iter().sum();
            begin = place;
            (end, count)
        };
        ends.chain([(None, BUCKETS)]).map(&mut count_to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(microseconds: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        microseconds.iter().for_each(|&time| histogram.count(time));
        let mut distribution = Distribution::default();
        distribution.add(&histogram);
        distribution
    }

    #[test]
    fn each_time_is_in_the_bucket_that_begins_at_or_below_it_and_ends_above_it() {
        let times = (0..40).flat_map(|bits| [1_u64 << bits, (1 << bits) - 1, (1 << bits) + 1, (1 << bits) * 5 / 3]);
        for time in times.chain(0..crate::testing::rounds(5000, 100)).filter(|time| *time < 1 << BITS_MAX) {
            let bucket = bucket(time);
            assert!(lowest(bucket) <= time && time < lowest(bucket + 1), "{time} is in bucket {bucket}");
        }
    }

    #[test]
    fn no_bucket_is_wider_than_an_eighth_of_where_it_begins() {
        for bucket in 0..BUCKETS {
            let (begin, end) = (lowest(bucket), lowest(bucket + 1));
            assert!(
                end > begin && (end - begin == 1 || (end - begin) * 8 <= begin),
                "bucket {bucket}: {begin} to {end}"
            );
        }
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(counted(&[1 << 50]).quantile(1.0), Some(Duration::from_micros(1 << BITS_MAX)));
    }

    #[test]
    fn quantiles_are_the_ends_of_the_buckets_they_fall_into() {
        let micros = |time| Some(Duration::from_micros(time));
        assert_eq!(counted(&[]).quantile(0.5), None);
        assert_eq!(counted(&[7]).quantile(0.0), micros(8));
        let times: Vec<u64> = (1..=100).collect();
        let distribution = counted(&times);
        assert_eq!(distribution.quantile(0.5), micros(52), "50 is in the bucket from 48 to 52");
        assert_eq!(distribution.quantile(0.99), micros(104), "99 is in the bucket from 96 to 104");
        assert_eq!(distribution.quantile(1.0), micros(104));
    }

    #[test]
    fn counts_by_powers_of_two_are_exact() {
        let distribution = counted(&[0, 63, 64, 65, 127, 128, 1 << 20]);
        let micros = |time| Some(Duration::from_micros(time));
        let expected = [(micros(64), 2), (micros(128), 3), (micros(256), 1), (None, 1)];
        assert_eq!(distribution.by_powers_of_two(6, 8), expected);
        assert_eq!(distribution.len(), 7);
        assert!((distribution.sum_seconds() - 1.049_023).abs() < 1e-9);
    }

    #[test]
    fn threads_are_added_up_and_an_earlier_time_is_taken_off() {
        let earlier = counted(&[10, 1000]);
        let mut both = counted(&[10, 1000, 1000]);
        assert_eq!(both.since(&earlier), counted(&[1000]));
        both.merge(&earlier);
        assert_eq!(both, counted(&[10, 10, 1000, 1000, 1000]));
    }
}
