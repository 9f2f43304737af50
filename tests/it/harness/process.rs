//! What the kernel says about a process, and signals to it.

use std::fs;
use std::process::Command;
use std::time::Duration;

/// A process that this test run started, by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Resident memory in KiB.
    pub(crate) fn resident_kib(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).expect("the process lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("every process has VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("VmRSS is a number of kB")
    }

    /// What the threads that it has now have computed, to the nanosecond.
    pub(crate) fn cpu_time(self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).expect("the process lives");
        // A thread may end between the listing and here.
        let texts = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
        let computed = |text: String| text.split_whitespace().next().and_then(|field| field.parse().ok());
        texts.map(|text| Duration::from_nanos(computed(text).expect("the first field is nanoseconds"))).sum()
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).expect("the process lives").count()
    }

    /// Until its last thread has ended: the first one may be dead while others still hold the ports and the files.
    pub(crate) fn is_running(self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.0)) else {
            return false;
        };
        // The state follows the name, which is in brackets and may hold anything; the number of threads is 17 fields on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.first() != Some(&"Z") || fields.get(17).is_some_and(|threads| *threads != "1" && *threads != "0")
    }
}

/// Sends a signal by name (`TERM`, `HUP`, `KILL` …). A process that has ended already is fine.
pub(crate) fn signal(process: Process, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.0.to_string()).status();
    status.expect("kill(1) is there");
}
