//! Which system calls a candidate makes for a request, counted by strace in a pass of its own: under it every call is many
//! times as dear, so nothing else is measured meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ChildStderr;

use serde::{Deserialize, Serialize};

use crate::candidate::find_program;
use crate::launch::{Cpu, Process};
use crate::usage;

/// How many names a table has room for.
const NAMED_MAX: usize = 3;

/// What strace found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SystemCalls {
    Counted {
        per_request: f64,
        /// The most frequent, in order.
        most: Vec<Named>,
    },
    /// Why there is no count.
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) per_request: f64,
}

impl SystemCalls {
    pub(crate) fn of(calls: &BTreeMap<String, u64>, requests: u64) -> SystemCalls {
        let all: u64 = calls.values().sum();
        if all == 0 || requests == 0 {
            return SystemCalls::Unknown(format!("strace saw {all} calls and {requests} replies"));
        }
        let per_request = |calls: u64| calls as f64 / requests as f64;
        let mut by_count: Vec<_> = calls.iter().collect();
        by_count.sort_by_key(|(_, calls)| std::cmp::Reverse(**calls));
        let most = by_count.into_iter().take(NAMED_MAX);
        SystemCalls::Counted {
            per_request: per_request(all),
            most: most.map(|(name, calls)| Named { name: name.clone(), per_request: per_request(*calls) }).collect(),
        }
    }
}

/// An strace at work on a process, all its threads and children.
pub(crate) struct Tracer {
    strace: Process,
    /// Open as long as strace may write there.
    _messages: BufReader<ChildStderr>,
    summary: PathBuf,
}

impl Tracer {
    /// Returns when every thread is traced, or says why none is.
    pub(crate) fn attach(process: u32, cpu: Cpu, directory: &Path) -> Result<Tracer, String> {
        let program = find_program(Path::new("strace")).ok_or("strace is not installed")?;
        let summary = directory.join("strace");
        let processes = usage::tree(process).map_err(|error| error.to_string())?;
        let ids: Vec<_> = processes.iter().map(u32::to_string).collect();
        let mut arguments = vec!["-c", "-f", "-o", summary.to_str().expect("made from UTF-8")];
        arguments.extend(ids.iter().flat_map(|id| ["-p", id]));
        let (strace, messages) =
            Process::start_heard(cpu, &program, &arguments).map_err(|error| format!("strace: {error}"))?;
        let mut messages = BufReader::new(messages);
        for _ in processes {
            await_attached(&mut messages)?;
        }
        Ok(Tracer { strace, _messages: messages, summary })
    }

    /// Ends the count: calls by name since [`Tracer::attach`] returned.
    pub(crate) fn detach(mut self) -> Result<BTreeMap<String, u64>, String> {
        self.strace.interrupt().map_err(|error| format!("strace: {error}"))?;
        let text = fs::read_to_string(&self.summary).map_err(|error| format!("strace's summary: {error}"))?;
        Ok(parse_summary(&text))
    }
}

/// strace says so once for each process, before it counts; anything else is its reason not to.
fn await_attached(messages: &mut impl BufRead) -> Result<(), String> {
    let mut line = String::new();
    messages.read_line(&mut line).map_err(|error| format!("strace: {error}"))?;
    if line.contains(" attached") {
        return Ok(());
    }
    Err(if line.is_empty() { "strace ended at once".to_owned() } else { line.trim().to_owned() })
}

/// Calls by name in a table of `strace -c`: `% time  seconds  usecs/call  calls  [errors]  syscall`.
fn parse_summary(text: &str) -> BTreeMap<String, u64> {
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.split_ascii_whitespace().collect();
        cells.first()?.parse::<f64>().ok()?;
        let name = *cells.last().filter(|name| **name != "total")?;
        Some((name.to_owned(), cells.get(3)?.parse().ok()?))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 64.20    0.126543          12     10012           sendto
 30.00    0.050000           2     20100     10000 recvfrom
  5.80    0.010000          10      1000           epoll_wait
  0.00    0.000001           1         1           close
------ ----------- ----------- --------- --------- ----------------
100.00    0.186544           5     31113     10000 total
";

    #[test]
    fn calls_are_read_with_and_without_errors_and_the_total_is_no_call() {
        let calls = parse_summary(SUMMARY);
        let expected = [("sendto", 10_012), ("recvfrom", 20_100), ("epoll_wait", 1000), ("close", 1)];
        assert_eq!(calls, expected.map(|(name, calls)| (name.to_owned(), calls)).into());
    }

    #[test]
    fn the_most_frequent_are_named_in_order() {
        let SystemCalls::Counted { per_request, most } = SystemCalls::of(&parse_summary(SUMMARY), 10_000) else {
            panic!("there are calls");
        };
        assert!((per_request - 3.1113).abs() < 1e-9);
        let names: Vec<_> = most.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["recvfrom", "sendto", "epoll_wait"]);
    }

    #[test]
    fn a_refusal_of_strace_is_passed_on() {
        let refusal = "strace: attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted\n";
        assert_eq!(await_attached(&mut refusal.as_bytes()), Err(refusal.trim().to_owned()));
        assert_eq!(await_attached(&mut "strace: Process 7 attached with 3 threads\n".as_bytes()), Ok(()));
        assert!(await_attached(&mut "".as_bytes()).is_err());
    }
}
