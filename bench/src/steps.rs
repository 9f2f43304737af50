//! What each step of the data path takes, in instructions and in time.
//!
//! Valgrind counts the instructions: the same on a busy machine as on a quiet one. The program runs itself under callgrind
//! twice for each step, with few and with many repetitions; the difference is the step's alone, whatever the start and the
//! preparation took. So no symbol has to survive inlining, and nothing but valgrind has to be installed. The time is that of
//! the fastest batch.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use micro::{CASES, Case};
use serde::{Deserialize, Serialize};

use crate::candidate::find_program;

/// Repetitions that are timed together, so that reading the clock costs nothing beside them.
const BATCH: u32 = 1000;
/// How often all steps are timed in turns: a shared processor is slow for seconds on end, and then not all of them should fall on one step.
const PASSES: u32 = 5;
/// Repetitions under callgrind.
const FEW: u64 = 100;
const MANY: u64 = 1100;

/// Of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) step: String,
    /// Of one repetition, in the fastest batch.
    pub(crate) nanoseconds: f64,
    pub(crate) instructions: Instructions,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Instructions {
    /// Of one repetition.
    Counted(f64),
    /// This machine cannot count them.
    Absent(String),
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<26} {:>10.1} ns, ", self.step, self.nanoseconds)?;
        match &self.instructions {
            Instructions::Counted(instructions) => write!(f, "{instructions:>10.1} instructions"),
            Instructions::Absent(why) => write!(f, "instructions skipped: {why}"),
        }
    }
}

/// The first `steps` of all, each timed for about `time`.
pub(crate) fn measure(steps: usize, time: Duration) -> Result<Vec<Row>, Box<dyn Error>> {
    let valgrind = find_program(Path::new("valgrind"));
    let instructions = |case| match &valgrind {
        Some(valgrind) => count(valgrind, case).map(Instructions::Counted),
        None => Ok(Instructions::Absent("valgrind is not installed".to_owned())),
    };
    let cases: Vec<Case> = CASES.into_iter().take(steps).collect();
    let mut nanoseconds = vec![f64::INFINITY; cases.len()];
    for _ in 0..PASSES {
        for (case, fastest) in cases.iter().zip(&mut nanoseconds) {
            *fastest = fastest.min(time_of_fastest(*case, time / PASSES));
        }
    }
    let row = |(case, nanoseconds): (Case, f64)| {
        Ok(Row { step: case.name.to_owned(), nanoseconds, instructions: instructions(case)? })
    };
    cases.into_iter().zip(nanoseconds).map(row).collect()
}

/// Nanoseconds of one repetition.
fn time_of_fastest(case: Case, time: Duration) -> f64 {
    let mut step = (case.prepare)();
    let deadline = Instant::now() + time;
    let mut fastest = Duration::MAX;
    // At least once, however long it takes.
    loop {
        let start = Instant::now();
        (0..BATCH).for_each(|_| step());
        fastest = fastest.min(start.elapsed());
        if Instant::now() > deadline {
            return fastest.as_secs_f64() * 1e9 / f64::from(BATCH);
        }
    }
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
