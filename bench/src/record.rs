//! A run as a file: everything that was measured and what it was measured on, as JSON.
//!
//! Everything that is shown of a run (table, picture, targets, the README's figures) is made from this value, so a file
//! gives the same again. Units are in the names; a name keeps its meaning, and a change of one raises [`FORMAT`].

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::by_name;
use crate::candidate::Candidate;
use crate::case::Case;
use crate::load::Mode;
use crate::machine::Machine;
use crate::parts::Parts;
use crate::run::{Findings, Outcome, Party, Plan, Row};
use crate::statistics::{Figures, summary};

/// Of the file's shape.
const FORMAT: u32 = 1;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    /// When it ended, in UTC.
    pub(crate) date: String,
    /// Of the sources it was built from, `-dirty` where they had changed since; nothing outside a git repository.
    pub(crate) commit: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) window_seconds: f64,
    /// Whose CPU time the ratios compare with.
    #[serde(with = "by_name")]
    pub(crate) base: Candidate,
    pub(crate) rows: Vec<Row>,
    /// Of a recorded run: a row for each party of each comparison.
    #[serde(default)]
    pub(crate) comparisons: Vec<Vec<Row>>,
    /// What is not a table of requests; only of a recorded or smoked run.
    #[serde(default)]
    pub(crate) parts: Option<Parts>,
}

impl Record {
    pub(crate) fn new(
        plan: &Plan,
        base: Candidate,
        machine: Machine,
        findings: Findings,
        parts: Option<Parts>,
    ) -> Record {
        Record {
            format: FORMAT,
            date: now(),
            commit: commit(),
            machine,
            rounds: plan.rounds,
            window_seconds: plan.window.as_secs_f64(),
            base,
            rows: findings.rows,
            comparisons: findings.comparisons,
            parts,
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Record, Box<dyn Error>> {
        let named = |error: &dyn Error| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| named(&error))?;
        let record: Record = serde_json::from_str(&text).map_err(|error| named(&error))?;
        if record.format != FORMAT {
            let format = record.format;
            return Err(format!("{}: format {format}, this program reads {FORMAT}", path.display()).into());
        }
        Ok(record)
    }

    /// The row of another candidate under the same load.
    pub(crate) fn beside(&self, row: &Row, candidate: Candidate) -> Option<&Row> {
        self.rows.iter().find(|other| other.candidate == candidate && other.is_like(row))
    }

    /// What was measured of the parties, in their order: in a comparison of just them, or else among all rows.
    pub(crate) fn compared<const N: usize>(&self, parties: [Party; N]) -> Option<[&[Figures]; N]> {
        let are_all =
            |rows: &&Vec<Row>| rows.len() == N && parties.iter().zip(rows.iter()).all(|(party, row)| party.is_of(row));
        let rows = self.comparisons.iter().find(are_all).unwrap_or(&self.rows);
        let measured = parties.map(|party| rows.iter().find(|row| party.is_of(row)).and_then(Row::measured));
        let measured: Vec<_> = measured.into_iter().collect::<Option<_>>()?;
        measured.try_into().ok()
    }

    /// A line a row, with the rounds' medians beside them for readers who do not want to make their own.
    pub(crate) fn to_json(&self) -> String {
        let head = Record { rows: Vec::new(), comparisons: Vec::new(), ..self.clone() };
        let head = serde_json::to_string_pretty(&head).expect("names and numbers");
        let comparisons: Vec<_> = self.comparisons.iter().map(|rows| format!("[\n{}\n]", lines(rows))).collect();
        let head = head.replace("\"rows\": []", &format!("\"rows\": [\n{}\n]", lines(&self.rows)));
        head.replace("\"comparisons\": []", &format!("\"comparisons\": [{}]", comparisons.join(",\n"))) + "\n"
    }
}

fn lines(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let mut written = serde_json::to_value(row).expect("names and numbers");
        written["median"] = serde_json::to_value(row.median()).expect("names and numbers");
        shorten(&mut written);
        written.to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join(",\n")
}

/// Takes digits from numbers that mean nothing: what is left of a microsecond or of a count is a tenth of a thousandth.
fn shorten(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(shorter) = number.as_f64().and_then(|long| Number::from_f64((long * 1e4).round() / 1e4))
                && number.is_f64()
            {
                *number = shorter;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

impl Row {
    /// Under the same load.
    pub(crate) fn is_like(&self, other: &Row) -> bool {
        (self.case, self.mode, self.connections) == (other.case, other.mode, other.connections)
    }

    /// What is asked, in words.
    pub(crate) fn load(&self) -> String {
        let connections = match (self.case, self.connections) {
            (Case::Idle, idle) => format!("1 connection beside {idle} idle"),
            (_, 1) => "1 connection".to_owned(),
            (_, many) => format!("{many} connections"),
        };
        match self.mode {
            Mode::Closed => format!("{}, {connections}", self.case.name()),
            Mode::Open { .. } => format!("{}, {connections}, {}", self.case.name(), self.mode),
        }
    }

    /// The middle of the rounds, where there are any.
    pub(crate) fn median(&self) -> Option<Figures> {
        summary(self.measured()?)
    }

    pub(crate) fn measured(&self) -> Option<&[Figures]> {
        match &self.outcome {
            Outcome::Measured(rounds) => Some(rounds),
            Outcome::Absent(_) | Outcome::RateNotHeld { .. } | Outcome::Failed(_) => None,
        }
    }
}

/// Where the last full run is kept.
pub(crate) fn results_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

fn commit() -> Option<String> {
    let arguments = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    let output = std::process::Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;
    use crate::testing::{figures, record, row};

    #[test]
    fn a_file_gives_back_what_was_measured() {
        let written = record();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("run.json");
        fs::write(&path, written.to_json()).expect("a file");
        let read = Record::read(&path).expect("what was written");
        assert_eq!(table::render(&read), table::render(&written));
        assert_eq!(read.to_json(), written.to_json());
    }

    #[test]
    fn medians_stand_beside_their_rounds() {
        let value: Value = serde_json::from_str(&record().to_json()).expect("JSON");
        let row = value["rows"].as_array().expect("a list").iter().find(|row| !row["median"].is_null());
        let row = row.expect("something was measured");
        assert!(row["median"]["cpu_us_per_request"].is_number());
        assert!(row["outcome"]["measured"][0]["latency_us"]["p99_9"].is_number());
        assert!(row["case"].is_string());
    }

    #[test]
    fn a_comparison_of_just_the_parties_comes_before_the_rows_of_the_round() {
        let mut record = record();
        let party = |candidate| Party { case: Case::PointSelect, connections: 64, candidate };
        let [balancer, relay] = [Candidate::Sqluice, Candidate::Relay].map(party);
        let cpu = |record: &Record| {
            let [one, other] = record.compared([balancer, relay])?;
            Some((one.to_vec(), other.to_vec()))
        };
        assert_eq!(cpu(&record), Some((vec![figures(12.0)], vec![figures(10.0)])));
        let measured = |party: Party, cpu| {
            row(party.case, party.connections, party.candidate, Outcome::Measured(vec![figures(cpu)]))
        };
        record.comparisons = vec![
            vec![measured(relay, 1.0), measured(balancer, 2.0)],
            vec![measured(balancer, 3.0), measured(relay, 4.0)],
        ];
        assert_eq!(cpu(&record), Some((vec![figures(3.0)], vec![figures(4.0)])));
        assert_eq!(record.compared([balancer, party(Candidate::SqluiceSplit)]), None);
    }

    #[test]
    fn another_format_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("run.json");
        fs::write(&path, record().to_json().replace("\"format\": 1", "\"format\": 999")).expect("a file");
        let error = Record::read(&path).expect_err("an unknown format").to_string();
        assert!(error.contains("format 999"), "{error}");
    }
}
