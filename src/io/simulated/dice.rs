//! Numbers by seed: a run that failed can be had again.

use std::time::Duration;

/// Repeatable pseudo-random numbers (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) % bound.max(1) as u64) as usize
    }

    /// True once in `count` times.
    pub(crate) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A time up to `most`, mostly a short one.
    pub(crate) fn delay(&mut self, most: Duration) -> Duration {
        match self.below(3) {
            0 => Duration::ZERO,
            1 => most / 100,
            _ => most * self.below(100) as u32 / 100,
        }
    }
}
