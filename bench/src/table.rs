//! The result as aligned text.

use std::collections::BTreeSet;

use crate::record::Record;
use crate::run::{Outcome, Row};
use crate::statistics::{cpu_ratio, cpu_spread, summary};
use crate::system_calls::SystemCalls;

/// A row of the table before alignment. The first columns are names and stand left, the others are numbers.
struct Line {
    cells: Vec<String>,
    /// Stands in place of the figures, where there are none.
    note: Option<String>,
}

const NAMES: usize = 4;

const HEADS: [&str; 19] = [
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
    "calls",
    "most of them",
];

pub(crate) fn render(record: &Record) -> String {
    let base = record.base.name();
    let mut lines = vec![Line { cells: HEADS.map(|head| head.replace("base", base)).to_vec(), note: None }];
    lines.extend(record.rows.iter().map(|row| line(row, record.beside(row, record.base))));
    let mut text = align(&lines);
    for reason in uncounted(&record.rows) {
        text.push_str(&format!("system calls not counted: {reason}\n"));
    }
    text
}

/// Why system calls were not counted, each reason once.
fn uncounted(rows: &[Row]) -> BTreeSet<&str> {
    let reasons = rows.iter().filter_map(|row| match row.system_calls.as_ref()? {
        SystemCalls::Unknown(reason) => Some(reason.as_str()),
        SystemCalls::Counted { .. } => None,
    });
    reasons.collect()
}

fn line(row: &Row, base: Option<&Row>) -> Line {
    let mut cells = vec![
        row.case.name().to_owned(),
        row.mode.to_string(),
        row.connections.to_string(),
        row.candidate.name().to_owned(),
    ];
    let rounds = match &row.outcome {
        Outcome::Measured(rounds) => rounds,
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
    let Some(figures) = summary(rounds) else {
        return Line { cells, note: Some("no rounds".to_owned()) };
    };
    let ratio = base.and_then(Row::measured).and_then(|base| cpu_ratio(rounds, base));
    let latency = figures.latency_us;
    cells.extend([
        format!("{:.0}", figures.requests_per_second),
        number(figures.cpu_us_per_request, 2),
        number(ratio, 2),
        percent(cpu_spread(rounds)),
        percent(figures.kernel_share),
        number(figures.voluntary_switches_per_request, 3),
    ]);
    cells.extend([latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max].map(|us| format!("{us:.0}")));
    cells.extend([number(figures.peak_memory_mib, 1), rounds.len().to_string()]);
    cells.extend(system_call_cells(row.system_calls.as_ref()));
    Line { cells, note: None }
}

fn system_call_cells(calls: Option<&SystemCalls>) -> [String; 2] {
    match calls {
        Some(SystemCalls::Counted { per_request, most }) => {
            let most: Vec<_> = most.iter().map(|call| format!("{} {:.2}", call.name, call.per_request)).collect();
            [number(Some(*per_request), 2), most.join(", ")]
        }
        Some(SystemCalls::Unknown(_)) | None => [number(None, 2), String::new()],
    }
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
            if column < NAMES || column + 1 == HEADS.len() {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
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
    use crate::testing::record;

    #[test]
    fn figures_stand_below_their_heads_and_the_ratio_names_its_base() {
        let text = render(&record());
        let lines: Vec<_> = text.lines().collect();
        let end_of = |line: &str, what: &str| line.find(what).map(|start| start + what.len());
        let haproxy = lines.iter().find(|line| line.contains("haproxy")).expect("it was measured");
        assert_eq!(end_of(lines[0], "x relay"), end_of(haproxy, " 1.50"));
        assert_eq!(end_of(lines[0], "req/s"), end_of(lines[1], "12346"));
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let text = render(&record());
        assert!(text.contains("proxysql      skipped: not given\n"), "{text}");
        assert!(text.contains("mysql-router  FAILED: no reply\n"), "{text}");
        assert!(text.contains("system calls not counted: strace is not installed\n"), "{text}");
        assert!(text.contains(" 0.25  io_uring_enter 0.25\n"), "{text}");
    }
}
