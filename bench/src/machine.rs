//! What the figures were measured on: without it a figure means nothing.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::candidate::{Programs, find_program};
use crate::launch::{Cpu, Placement};

/// As in `MySQL Router Ver 9.7.4`.
const VERSION_WORDS_MAX: usize = 4;

/// The CPUs of the placement by number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    memory: String,
    /// Of TCP: some pace what is sent, also on loopback.
    tcp_congestion_control: String,
    candidate_cpu: usize,
    stand_in_cpu: usize,
    load_cpus: Vec<usize>,
    /// What each program says of its version.
    pub(crate) versions: Vec<String>,
    load_averages_before: String,
    load_averages_after: String,
}

impl Machine {
    pub(crate) fn describe(cpus: &[Cpu], placement: &Placement, programs: &Programs) -> Machine {
        let versions = [
            (Some(&programs.sqluice), "--version"),
            (Some(&programs.haproxy), "-v"),
            (programs.proxysql.as_ref(), "--version"),
            (programs.mysql_router.as_ref(), "--version"),
        ];
        Machine {
            kernel: read("/proc/sys/kernel/osrelease"),
            processor: field("/proc/cpuinfo", "model name"),
            cpus: cpus.len(),
            memory: field("/proc/meminfo", "MemTotal"),
            tcp_congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
            candidate_cpu: placement.candidate.0,
            stand_in_cpu: placement.stand_in.0,
            load_cpus: placement.generators.iter().map(|cpu| cpu.0).collect(),
            versions: versions.into_iter().filter_map(|(program, flag)| version(program?, flag)).collect(),
            load_averages_before: load_averages(),
            load_averages_after: String::new(),
        }
    }

    /// Called when the last figure is taken.
    pub(crate) fn run_is_over(&mut self) {
        self.load_averages_after = load_averages();
    }

    /// How quiet it was.
    pub(crate) fn load_averages(&self) -> String {
        format!("load averages before: {}; after: {}", self.load_averages_before, self.load_averages_after)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load_cpus: Vec<_> = self.load_cpus.iter().map(usize::to_string).collect();
        writeln!(f, "kernel     {}, TCP {}", self.kernel, self.tcp_congestion_control)?;
        writeln!(f, "processor  {} x {}, {}", self.cpus, self.processor, self.memory)?;
        writeln!(
            f,
            "placement  candidate on CPU {}, server on CPU {}, load on CPU {}",
            self.candidate_cpu,
            self.stand_in_cpu,
            load_cpus.join(",")
        )?;
        writeln!(f, "versions   sqluice-bench {}", env!("CARGO_PKG_VERSION"))?;
        for version in &self.versions {
            writeln!(f, "           {version}")?;
        }
        Ok(())
    }
}

/// Other work on the machine: the load averages of the last minutes, and how much runs now.
fn load_averages() -> String {
    read("/proc/loadavg")
}

fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(find_program(program)?).arg(flag).output().ok()?;
    let version = short_version(&String::from_utf8_lossy(&output.stdout));
    (!version.is_empty()).then_some(version)
}

/// Name, number and date: what stands behind them in the first line is an address or what it was built for.
fn short_version(text: &str) -> String {
    let words: Vec<_> = text.lines().next().unwrap_or_default().split_whitespace().take(VERSION_WORDS_MAX).collect();
    words.join(" ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn field(path: &str, name: &str) -> String {
    value_of(&read(path), name).unwrap_or("unknown").to_owned()
}

/// The first `name : value` of a text.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_of_a_name_counts() {
        let text = "processor\t: 0\nmodel name\t: One Fast CPU @ 3 GHz\nmodel name\t: Another\n";
        assert_eq!(value_of(text, "model name"), Some("One Fast CPU @ 3 GHz"));
        assert_eq!(value_of(text, "cache"), None);
    }

    #[test]
    fn a_version_is_a_name_a_number_and_a_date() {
        let text = "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: long-term\n";
        assert_eq!(short_version(text), "HAProxy version 2.6.12-1+deb12u4 2026/10/17");
        assert_eq!(short_version("sqluice 0.1.0\n"), "sqluice 0.1.0");
        assert_eq!(short_version(""), "");
    }
}
