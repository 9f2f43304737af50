//! What the kernel says about a process, and signals to it.

use std::fs;
use std::process::Command;

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

    /// Open file descriptors.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).expect("the process lives").count()
    }

    pub(crate) fn is_running(self) -> bool {
        match fs::read_to_string(format!("/proc/{}/stat", self.0)) {
            // The state follows the name, which is in brackets and may hold anything.
            Ok(stat) => !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'),
            Err(_) => false,
        }
    }
}

/// Sends a signal by name (`TERM`, `HUP`, `KILL` …). A process that has ended already is fine.
pub(crate) fn signal(process: Process, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.0.to_string()).status();
    status.expect("kill(1) is there");
}
