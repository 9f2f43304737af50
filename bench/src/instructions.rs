//! Instructions that each step of the data path takes, counted by valgrind: the same on a busy machine as on a quiet one.
//!
//! The program runs itself under callgrind twice for each step, with few and with many repetitions; the difference is the
//! step's alone, whatever the start and the preparation took. So no symbol has to survive inlining, and nothing but
//! valgrind has to be installed.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::Command;

use micro::{CASES, Case};
use serde::{Deserialize, Serialize};

use crate::candidate::find_program;

const FEW: u64 = 100;
const MANY: u64 = 1100;

/// Of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) step: String,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Instructions of one repetition.
    Counted(f64),
    /// This machine cannot count them.
    Absent(String),
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<26} ", self.step)?;
        match &self.outcome {
            Outcome::Counted(instructions) => write!(f, "{instructions:>10.1}"),
            Outcome::Absent(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// The first `steps` of all.
pub(crate) fn count_all(steps: usize) -> Result<Vec<Row>, Box<dyn Error>> {
    let valgrind = find_program(Path::new("valgrind"));
    let outcome = |case| match &valgrind {
        Some(valgrind) => count(valgrind, case).map(Outcome::Counted),
        None => Ok(Outcome::Absent("valgrind is not installed".to_owned())),
    };
    let row = |case: Case| Ok(Row { step: case.name.to_owned(), outcome: outcome(case)? });
    CASES.into_iter().take(steps).map(row).collect()
}

/// What runs under callgrind.
pub(crate) fn repeat(name: &str, times: u64) -> Result<(), Box<dyn Error>> {
    let case = CASES.into_iter().find(|case| case.name == name).ok_or_else(|| format!("there is no step {name}"))?;
    let mut step = (case.prepare)();
    (0..times).for_each(|_| step());
    Ok(())
}

fn count(valgrind: &Path, case: Case) -> Result<f64, Box<dyn Error>> {
    let few = total(valgrind, case, FEW)?;
    let many = total(valgrind, case, MANY)?;
    Ok(many.saturating_sub(few) as f64 / (MANY - FEW) as f64)
}

fn total(valgrind: &Path, case: Case, times: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["repeat-step", "--step", case.name, "--times", &times.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    collected(&said).ok_or_else(|| format!("valgrind, {}: {said}", output.status).into())
}

/// The instructions in `==4711== Collected : 123456`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let said = "==7== Callgrind, a call-graph generating cache profiler\n==7== \n==7== Events    : Ir\n\
                    ==7== Collected : 1234567\n==7== \n==7== I   refs:      1,234,567\n";
        assert_eq!(collected(said), Some(1_234_567));
        assert_eq!(collected("==7== Valgrind: cannot run\n"), None);
    }

    #[test]
    fn an_unknown_step_is_an_error() {
        assert!(repeat("walk-statement", 2).is_ok());
        assert!(repeat("no-such-step", 2).is_err());
    }
}
