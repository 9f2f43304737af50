//! What a session costs a candidate in memory while it waits: both its sides, in the candidate's own process.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::by_name;
use crate::candidate::{self, Candidate, NotStarted, Running, Surroundings};
use crate::case::Case;
use crate::load;
use crate::target::Target;
use crate::usage::private_memory;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(with = "by_name")]
    pub(crate) candidate: Candidate,
    pub(crate) sessions: usize,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Bytes that belong to the process alone, before the first session and beside the idle ones.
    Measured {
        #[serde(rename = "before_bytes")]
        before: u64,
        #[serde(rename = "beside_bytes")]
        beside: u64,
    },
    Absent(String),
    Failed(String),
}

impl Row {
    /// Bytes a session; negative where the process gave back more than the sessions took.
    pub(crate) fn per_session(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Measured { before, beside } => Some((beside as f64 - before as f64) / self.sessions as f64),
            Outcome::Absent(_) | Outcome::Failed(_) => None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18} {:>6} sessions", self.candidate.name(), self.sessions)?;
        match &self.outcome {
            Outcome::Measured { before, beside } => {
                let (before, beside) = (before / 1024, beside / 1024);
                let each = self.per_session().unwrap_or_default() / 1024.0;
                write!(f, ", {before:>7} KiB without, {beside:>7} KiB with, {each:>7.2} KiB a session")
            }
            Outcome::Absent(why) => write!(f, "  skipped: {why}"),
            Outcome::Failed(why) => write!(f, "  FAILED: {why}"),
        }
    }
}

/// Each candidate is started anew. A session logs in, asks once, and waits.
pub(crate) fn measure_all(candidates: &[Candidate], sessions: usize, surroundings: &Surroundings<'_>) -> Vec<Row> {
    let row = |&candidate: &Candidate| {
        let outcome = match candidate::start(candidate, surroundings) {
            Ok(running) => measure(&running, sessions, surroundings.server).unwrap_or_else(Outcome::Failed),
            Err(NotStarted::Absent(why)) => Outcome::Absent(why),
            Err(NotStarted::Failed(why)) => Outcome::Failed(why),
        };
        Row { candidate, sessions, outcome }
    };
    candidates.iter().map(row).collect()
}

fn measure(running: &Running, sessions: usize, server: &Target) -> Result<Outcome, String> {
    let Some(process) = running.process_id() else {
        return Ok(Outcome::Absent("there is no process between".to_owned()));
    };
    let memory = || private_memory(process).map_err(|error| format!("the memory of the process: {error}"));
    let before = memory()?;
    let beside = load::hold(&running.target(server), Case::PointSelect, sessions, memory)
        .map_err(|fault| fault.to_string())??;
    Ok(Outcome::Measured { before, beside })
}
