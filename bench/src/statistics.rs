//! From rounds to figures: medians, ratios round by round, and how far the rounds lie apart.
//!
//! A machine's speed changes from minute to minute more than two candidates differ. So candidates take turns within a
//! round, a ratio compares only what was measured in the same round, and of all rounds the median counts.

use serde::{Deserialize, Serialize};

/// One measurement, in the units of the table. What a candidate without a process of its own does not have is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_us_per_request: Option<f64>,
    /// 0 to 1.
    pub(crate) kernel_share: Option<f64>,
    pub(crate) voluntary_switches_per_request: Option<f64>,
    pub(crate) latency_us: Latency,
    pub(crate) peak_memory_mib: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

/// The middle of the rounds by each figure; of the longest latencies and of memory peaks, the largest.
pub(crate) fn summary(rounds: &[Figures]) -> Option<Figures> {
    let all = |figure: fn(&Figures) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
    let known = |figure: fn(&Figures) -> Option<f64>| median(&rounds.iter().filter_map(figure).collect::<Vec<_>>());
    Some(Figures {
        requests_per_second: all(|round| round.requests_per_second)?,
        cpu_us_per_request: known(|round| round.cpu_us_per_request),
        kernel_share: known(|round| round.kernel_share),
        voluntary_switches_per_request: known(|round| round.voluntary_switches_per_request),
        latency_us: Latency {
            p50: all(|round| round.latency_us.p50)?,
            p90: all(|round| round.latency_us.p90)?,
            p99: all(|round| round.latency_us.p99)?,
            p99_9: all(|round| round.latency_us.p99_9)?,
            max: rounds.iter().map(|round| round.latency_us.max).fold(0.0, f64::max),
        },
        peak_memory_mib: rounds.iter().filter_map(|round| round.peak_memory_mib).reduce(f64::max),
    })
}

/// CPU per request of one candidate by that of another, round by round.
pub(crate) fn cpu_ratios(rounds: &[Figures], base: &[Figures]) -> Vec<f64> {
    let ratios = rounds.iter().zip(base).filter_map(|(round, base)| {
        let base = base.cpu_us_per_request.filter(|base| *base > 0.0)?;
        Some(round.cpu_us_per_request? / base)
    });
    ratios.collect()
}

/// The middle of them.
pub(crate) fn cpu_ratio(rounds: &[Figures], base: &[Figures]) -> Option<f64> {
    median(&cpu_ratios(rounds, base))
}

/// Requests a second of one candidate by those of another, round by round.
pub(crate) fn throughput_ratios(rounds: &[Figures], base: &[Figures]) -> Vec<f64> {
    rounds.iter().zip(base).map(|(round, base)| round.requests_per_second / base.requests_per_second).collect()
}

/// Median latency of one candidate by that of another, round by round.
pub(crate) fn p50_ratios(rounds: &[Figures], base: &[Figures]) -> Vec<f64> {
    rounds.iter().zip(base).map(|(round, base)| round.latency_us.p50 / base.latency_us.p50).collect()
}

/// What one candidate adds to the median latency of a direct connection by what another adds, round by round.
pub(crate) fn added_p50_ratios(rounds: &[Figures], base: &[Figures], direct: &[Figures]) -> Vec<f64> {
    let added = |round: &Figures, direct: &Figures| round.latency_us.p50 - direct.latency_us.p50;
    let ratios = rounds.iter().zip(base).zip(direct);
    ratios.map(|((round, base), direct)| added(round, direct) / added(base, direct)).collect()
}

/// How far the rounds' CPU per request lie apart, as a part of their median: a figure that differs by less is no figure.
pub(crate) fn cpu_spread(rounds: &[Figures]) -> Option<f64> {
    let values: Vec<_> = rounds.iter().filter_map(|round| round.cpu_us_per_request).collect();
    let middle = median(&values).filter(|middle| *middle > 0.0 && values.len() > 1)?;
    let largest = values.iter().copied().fold(f64::MIN, f64::max);
    let smallest = values.iter().copied().fold(f64::MAX, f64::min);
    Some((largest - smallest) / middle)
}

/// The bounds of the values' middle half: where a repetition would lie more often than not.
pub(crate) fn middle_half(values: &[f64]) -> Option<(f64, f64)> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    Some((*values.get(quarter)?, *values.get(values.len() - 1 - quarter)?))
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cpu: Option<f64>) -> Figures {
        let latency_us = Latency { p50: 1.0, p90: 2.0, p99: 3.0, p99_9: 4.0, max: 5.0 };
        Figures {
            requests_per_second: 100.0,
            cpu_us_per_request: cpu,
            kernel_share: None,
            voluntary_switches_per_request: None,
            latency_us,
            peak_memory_mib: cpu,
        }
    }

    fn rounds(cpu: &[f64]) -> Vec<Figures> {
        cpu.iter().map(|cpu| round(Some(*cpu))).collect()
    }

    #[test]
    fn the_median_does_not_mind_order_or_one_bad_round() {
        assert_eq!(median(&[3.0, 1.0, 1000.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_middle_half_leaves_a_quarter_out_at_each_end() {
        assert_eq!(middle_half(&[9.0, 1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0]), Some((3.0, 6.0)));
        assert_eq!(middle_half(&[2.0, 1.0]), Some((1.0, 2.0)));
        assert_eq!(middle_half(&[]), None);
    }

    /// A machine that is twice as slow in every other round changes the figures, not their ratio.
    #[test]
    fn a_ratio_compares_within_a_round() {
        assert_eq!(cpu_ratio(&rounds(&[9.0, 18.0, 9.0]), &rounds(&[6.0, 12.0, 6.0])), Some(1.5));
        assert_eq!(cpu_ratio(&[round(None)], &rounds(&[6.0])), None);
        assert_eq!(cpu_ratio(&rounds(&[6.0]), &rounds(&[0.0])), None);
    }

    #[test]
    fn a_summary_takes_the_largest_of_what_is_a_peak() {
        let all = summary(&rounds(&[9.0, 7.0, 8.0])).expect("three rounds");
        assert_eq!(all.cpu_us_per_request, Some(8.0));
        assert_eq!(all.peak_memory_mib, Some(9.0));
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn spread_is_relative_and_needs_two_rounds() {
        assert_eq!(cpu_spread(&rounds(&[8.0, 10.0, 12.0])), Some(0.4));
        assert_eq!(cpu_spread(&rounds(&[8.0])), None);
    }

    #[test]
    fn latencies_are_compared_round_by_round() {
        let rounds = |p50: [f64; 3]| {
            p50.map(|p50| Figures { latency_us: Latency { p50, ..round(None).latency_us }, ..round(None) })
        };
        // The machine was three times as slow in the last round.
        let (one, other, direct) =
            (rounds([30.0, 50.0, 90.0]), rounds([50.0, 50.0, 150.0]), rounds([10.0, 10.0, 30.0]));
        assert_eq!(p50_ratios(&one, &other), [0.6, 1.0, 0.6]);
        assert_eq!(added_p50_ratios(&one, &other, &direct), [0.5, 1.0, 0.5]);
    }
}
