//! What the figures were measured on: without it a figure means nothing.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::candidate::{Programs, find_program};
use crate::launch::{Cpu, Placement};

pub(crate) struct Machine {
    kernel: String,
    processor: String,
    cpus: usize,
    memory: String,
    /// Of TCP: some pace what is sent, also on loopback.
    congestion_control: String,
    placement: Placement,
    /// First line of what each program says of its version.
    versions: Vec<String>,
}

impl Machine {
    pub(crate) fn describe(cpus: &[Cpu], placement: &Placement, programs: &Programs) -> Machine {
        Machine {
            kernel: read("/proc/sys/kernel/osrelease"),
            processor: field("/proc/cpuinfo", "model name"),
            cpus: cpus.len(),
            memory: field("/proc/meminfo", "MemTotal"),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
            placement: placement.clone(),
            versions: [
                (Some(&programs.sqluice), "--version"),
                (Some(&programs.haproxy), "-v"),
                (programs.proxysql.as_ref(), "--version"),
                (programs.mysql_router.as_ref(), "--version"),
            ]
            .into_iter()
            .filter_map(|(program, flag)| version(program?, flag))
            .collect(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Placement { candidate, stand_in, generators } = &self.placement;
        let generators: Vec<_> = generators.iter().map(|cpu| cpu.0.to_string()).collect();
        writeln!(f, "kernel     {}, TCP {}", self.kernel, self.congestion_control)?;
        writeln!(f, "processor  {} x {}, {}", self.cpus, self.processor, self.memory)?;
        writeln!(
            f,
            "placement  candidate on CPU {}, server on CPU {}, load on CPU {}",
            candidate.0,
            stand_in.0,
            generators.join(",")
        )?;
        writeln!(f, "versions   sqluice-bench {}", env!("CARGO_PKG_VERSION"))?;
        for version in &self.versions {
            writeln!(f, "           {version}")?;
        }
        Ok(())
    }
}

/// Other work on the machine: the load averages of the last minutes, and how much runs now.
pub(crate) fn other_load() -> String {
    read("/proc/loadavg")
}

fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(find_program(program)?).arg(flag).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
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
}
