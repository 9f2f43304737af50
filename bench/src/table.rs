//! The result as aligned text.

use crate::run::{Outcome, Row};
use crate::statistics::{cpu_ratio, cpu_spread, summary};

/// A row of the table before alignment. The first columns are names and stand left, the others are numbers.
struct Line {
    cells: Vec<String>,
    /// Stands in place of the figures, where there are none.
    note: Option<String>,
}

const NAMES: usize = 4;

const HEADS: [&str; 17] = [
    "case",
    "loop",
    "conns",
    "candidate",
    "req/s",
    "CPU us/req",
    "x base",
    "spread",
    "kernel",
    "switches",
    "p50 us",
    "p90",
    "p99",
    "p99.9",
    "max",
    "peak MiB",
    "rounds",
];

/// `base` is the name of the candidate that the ratio column compares with.
pub(crate) fn render(rows: &[Row], base: &str) -> String {
    let mut lines = vec![Line { cells: HEADS.map(|head| head.replace("base", base)).to_vec(), note: None }];
    lines.extend(rows.iter().map(|row| line(row, base_of(rows, row, base))));
    align(&lines)
}

/// The row of the base candidate that was measured in the same rounds.
fn base_of<'a>(rows: &'a [Row], row: &Row, base: &str) -> Option<&'a Row> {
    rows.iter().find(|other| {
        other.candidate.name() == base
            && (other.case, other.mode, other.connections) == (row.case, row.mode, row.connections)
    })
}

fn line(row: &Row, base: Option<&Row>) -> Line {
    let mut cells = vec![
        row.case.name().to_owned(),
        row.mode.to_string(),
        row.connections.to_string(),
        row.candidate.name().to_owned(),
    ];
    let (rounds, figures) = match &row.outcome {
        Outcome::Measured(rounds) => (rounds, summary(rounds)),
        Outcome::Absent(why) => {
            return Line { cells, note: Some(format!("skipped: {why}")) };
        }
        Outcome::RateNotHeld { asked, reached } => {
            return Line { cells, note: Some(format!("rate not held: {reached:.0} of {asked:.0} a second")) };
        }
        Outcome::Failed(why) => {
            return Line { cells, note: Some(format!("FAILED: {why}")) };
        }
    };
    let Some(figures) = figures else {
        return Line { cells, note: Some("no rounds".to_owned()) };
    };
    let ratio = base.and_then(|base| match &base.outcome {
        Outcome::Measured(base) => cpu_ratio(rounds, base),
        Outcome::Absent(_) | Outcome::RateNotHeld { .. } | Outcome::Failed(_) => None,
    });
    let latency = figures.latency_us;
    cells.extend([
        format!("{:.0}", figures.requests_per_second),
        number(figures.cpu_us_per_request, 2),
        number(ratio, 2),
        percent(cpu_spread(rounds)),
        percent(figures.kernel_share),
        number(figures.switches_per_request, 3),
    ]);
    cells.extend([latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max].map(|us| format!("{us:.0}")));
    cells.extend([number(figures.peak_memory_mib, 1), rounds.len().to_string()]);
    Line { cells, note: None }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| "-".to_owned(), |part| format!("{:.0}%", part * 100.0))
}

fn align(lines: &[Line]) -> String {
    let width =
        |column: usize| lines.iter().filter_map(|line| line.cells.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEADS.len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.cells.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < NAMES { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let cells: Vec<_> = cells.chain(line.note.clone()).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Candidate;
    use crate::case::Case;
    use crate::load::Mode;
    use crate::statistics::{Figures, Latency};

    fn row(candidate: Candidate, outcome: Outcome) -> Row {
        Row { case: Case::PointSelect, mode: Mode::Closed, connections: 64, candidate, outcome }
    }

    fn measured(cpu: f64) -> Outcome {
        let latency_us = Latency { p50: 1.0, p90: 2.0, p99: 3.0, p99_9: 4.0, max: 5.0 };
        Outcome::Measured(vec![Figures {
            requests_per_second: 12_345.6,
            cpu_us_per_request: Some(cpu),
            kernel_share: Some(0.75),
            switches_per_request: Some(0.5),
            latency_us,
            peak_memory_mib: Some(3.25),
        }])
    }

    #[test]
    fn figures_stand_below_their_heads_and_the_ratio_names_its_base() {
        let rows = [row(Candidate::Relay, measured(6.0)), row(Candidate::Haproxy, measured(9.0))];
        let text = render(&rows, "relay");
        let lines: Vec<_> = text.lines().collect();
        let end_of = |line: &str, what: &str| line.find(what).map(|start| start + what.len());
        assert_eq!(end_of(lines[0], "x relay"), end_of(lines[2], " 1.50"));
        assert_eq!(end_of(lines[0], "req/s"), end_of(lines[1], "12346"));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let rows = [
            row(Candidate::Haproxy, Outcome::Absent("haproxy is not installed".to_owned())),
            row(Candidate::Sqluice, Outcome::Failed("no reply".to_owned())),
        ];
        let text = render(&rows, "relay");
        assert!(text.contains("haproxy    skipped: haproxy is not installed\n"));
        assert!(text.contains("FAILED: no reply\n"));
    }
}
