//! How much a test does where Miri interprets it, which takes some hundred times as long as the processor does.

/// So many rounds; under Miri so few.
pub(crate) const fn rounds(usual: u64, interpreted: u64) -> u64 {
    if cfg!(miri) { interpreted } else { usual }
}

/// All of them; under Miri the first of each `share`.
pub(crate) fn sample<T>(all: Vec<T>, share: usize) -> Vec<T> {
    let step = if cfg!(miri) { share } else { 1 };
    all.into_iter().step_by(step).collect()
}
