//! The figures in the README, made from the recorded run, so that nobody types one.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::candidate::Candidate;
use crate::load::Mode;
use crate::record::{Record, results_directory};
use crate::run::Row;
use crate::statistics::cpu_ratio;
use crate::targets;

const BEGIN: &str = "<!-- figures: begin (made by `sqluice-bench report --write-readme`) -->\n";
const END: &str = "<!-- figures: end -->";

/// The repository's front page.
pub(crate) fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

pub(crate) fn recorded() -> PathBuf {
    results_directory().join("latest.json")
}

pub(crate) fn recorded_plot() -> PathBuf {
    results_directory().join("latest.svg")
}

/// Replaces the figures in the README by those of this run.
pub(crate) fn write(record: &Record) -> Result<(), Box<dyn Error>> {
    let path = readme();
    let text = fs::read_to_string(&path)?;
    fs::write(&path, with_figures(&text, record)?)?;
    Ok(())
}

/// The text with these figures between its marks.
fn with_figures(text: &str, record: &Record) -> Result<String, String> {
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| format!("the README has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("the README has no {END}"))?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", figures(record)))
}

fn figures(record: &Record) -> String {
    let machine = &record.machine;
    let commit = record.commit.as_deref().map(|commit| format!(" (commit {commit})")).unwrap_or_default();
    format!(
        "Last full run: {date}{commit}, Linux {kernel}, {cpus} x {processor}; {versions}. Medians of {rounds} rounds of {seconds} s\n\
         with one worker each, before a stand-in server on loopback.\n\n\
         CPU time of the proxy per request in microseconds, in brackets by {base}'s in the same round:\n\n\
         {costs}\n{encrypted}{comparisons}{targets}\n![CPU time and latencies of all candidates](bench/results/latest.svg)\n",
        date = record.date.get(..10).unwrap_or(&record.date),
        kernel = machine.kernel,
        cpus = machine.cpus,
        processor = machine.processor,
        versions = machine.versions.join(", "),
        rounds = record.rounds,
        seconds = record.window_seconds,
        base = record.base.name(),
        costs = costs(record, |candidate| candidate.encrypts().is_none()),
        encrypted = encrypted(record),
        comparisons = comparisons(record),
        targets = targets::render(record),
    )
}

/// Where the ratios of the promises come from.
fn comparisons(record: &Record) -> String {
    let rounds = record.comparisons.iter().flatten().filter_map(|row| Some(row.measured()?.len())).max();
    rounds.map_or_else(String::new, |rounds| {
        format!(
            "The promises, where they are ratios, are medians of {rounds} rounds of their own, in which those who are compared\n\
             stand one right after the other:\n\n"
        )
    })
}

/// Those who have TLS, beside one who has not; nothing where they were not measured.
fn encrypted(record: &Record) -> String {
    let has_tls = |row: &&Row| row.candidate.encrypts().is_some() && row.measured().is_some();
    let Some(_) = record.rows.iter().find(has_tls) else { return String::new() };
    let costs = costs(record, |candidate| candidate.encrypts().is_some() || candidate == Candidate::Sqluice);
    format!(
        "With TLS towards the client, or on both sides; HAProxy's begins with the first byte, as it does not know where MySQL's does.\n\
         A core's handshakes a second are a million by a short connection's microseconds:\n\n{costs}\n"
    )
}

/// A line a load under which more than one of them was measured, a column a candidate. Of the closed loop alone: at a rate that all hold, a candidate that is quicker
/// sleeps more often, and the time of a request says less.
fn costs(record: &Record, stands: fn(Candidate) -> bool) -> String {
    let shown = |row: &&Row| row.mode == Mode::Closed && stands(row.candidate) && cpu(row).is_some();
    let measured: BTreeSet<_> = record.rows.iter().filter(shown).map(|row| row.candidate.name()).collect();
    let candidates: Vec<_> =
        Candidate::ALL.into_iter().filter(|candidate| measured.contains(candidate.name())).collect();
    let heads: Vec<_> = candidates.iter().map(|candidate| candidate.name()).collect();
    let mut text = format!("| load | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    let mut last: Option<&Row> = None;
    for row in record.rows.iter().filter(shown) {
        let is_next = !last.is_some_and(|last| last.is_like(row));
        last = Some(row);
        let beside = record.rows.iter().filter(shown).filter(|other| other.is_like(row));
        if !is_next || beside.count() < 2 {
            continue;
        }
        let cells: Vec<_> = candidates.iter().map(|candidate| cost(record, row, *candidate)).collect();
        text.push_str(&format!("| {} | {} |\n", row.load(), cells.join(" | ")));
    }
    text
}

fn cpu(row: &Row) -> Option<f64> {
    row.median()?.cpu_us_per_request
}

fn cost(record: &Record, like: &Row, candidate: Candidate) -> String {
    let Some(row) = record.beside(like, candidate) else { return "-".to_owned() };
    let Some(cpu_us) = cpu(row) else { return "-".to_owned() };
    let digits = if cpu_us < 100.0 { 1 } else { 0 };
    let base = record.beside(row, record.base).and_then(Row::measured);
    match base.zip(row.measured()).and_then(|(base, rounds)| cpu_ratio(rounds, base)) {
        Some(ratio) if candidate != record.base => format!("{cpu_us:.digits$} ({ratio:.2})"),
        Some(_) | None => format!("{cpu_us:.digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::plot;
    use crate::run::Outcome;
    use crate::testing::{figures, record, row};

    #[test]
    fn the_readme_and_the_picture_show_the_recorded_run() {
        let record = Record::read(&recorded()).expect("a recorded run");
        let text = fs::read_to_string(readme()).expect("the README");
        let expected = with_figures(&text, &record).expect("the marks");
        assert!(text == expected, "`sqluice-bench report --write-readme` brings the README's figures up to date");
        let picture = fs::read_to_string(recorded_plot()).expect("the picture");
        assert!(picture == plot::svg(&record), "`sqluice-bench report --write-readme` draws the picture anew");
    }

    #[test]
    fn figures_stand_between_the_marks_and_nothing_else_changes() {
        // One for all: a record has the time at which it was made.
        let record = record();
        let text = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let new = with_figures(&text, &record).expect("the marks are there");
        assert!(new.starts_with(&format!("before\n{BEGIN}")) && new.ends_with(&format!("{END}\nafter\n")));
        assert!(!new.contains("old\n"));
        assert!(new.contains("| 10.0 | 12.0 (1.20) | 15.0 (1.50) |"), "{new}");
        assert_eq!(with_figures(&new, &record), Ok(new));
        assert!(with_figures("no marks", &record).is_err());
    }

    #[test]
    fn tls_has_a_table_of_its_own() {
        let mut record = record();
        assert_eq!(encrypted(&record), "");
        let measured = Outcome::Measured(vec![figures(20.0)]);
        record.rows.push(row(Case::PointSelect, 64, Candidate::SqluiceTls, measured));
        assert!(!costs(&record, |candidate| candidate.encrypts().is_none()).contains("tls"));
        let table = encrypted(&record);
        assert!(table.contains("| load | sqluice | sqluice-tls |\n"), "{table}");
        assert!(table.contains("| 12.0 (1.20) | 20.0 (2.00) |"), "{table}");
    }

    #[test]
    fn the_rounds_of_comparisons_are_told_where_there_are_some() {
        let mut record = record();
        assert_eq!(comparisons(&record), "");
        record.comparisons = vec![record.rows.clone()];
        assert!(comparisons(&record).starts_with("The promises, where they are ratios, are medians of 1 rounds"));
    }
}
