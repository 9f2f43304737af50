//! What `tuning/` offers to operators is what the programs it is for take.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Finished, run};

fn tuning(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(name)
}

/// What systemd complains of in a unit; it may complain of others of the machine, too.
fn complaints(unit: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sqluice.service");
    // systemd looks for the program that a unit names.
    fs::write(&path, unit.replace("/usr/bin/sqluice", env!("CARGO_BIN_EXE_sqluice"))).expect("it can be written");
    let said = run(Command::new("systemd-analyze").arg("verify").arg(path));
    assert!(said.success, "{said:?}");
    said.stderr.lines().filter(|line| line.contains("sqluice.service")).map(str::to_owned).collect()
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let unit = fs::read_to_string(tuning("sqluice.service")).expect("it is there");
    assert_eq!(complaints(&unit), Vec::<String>::new());
    let wrong = unit.replace("WatchdogSec=30s", "WatchdogSec=soon").replace("ProtectClock=", "ProtectClok=");
    assert_eq!(complaints(&wrong).len(), 2, "{:?}", complaints(&wrong));
}

#[test]
fn prometheus_takes_the_alert_rules_and_they_fire_when_they_must() {
    for (what, file) in [("check", "prometheus-alerts.yml"), ("test", "prometheus-alerts-test.yml")] {
        run(Command::new("promtool").args([what, "rules"]).arg(tuning(file))).expect_success(file);
    }
}

/// A network card with two queues, as the kernel shows one.
struct Card(tempfile::TempDir);

impl Card {
    fn new() -> Card {
        let card = Card(tempfile::tempdir().expect("a folder"));
        for (file, text) in [
            ("sys/class/net/eth9/queues/rx-0/rps_cpus", "0"),
            ("sys/class/net/eth9/queues/rx-0/rps_flow_cnt", "0"),
            ("sys/class/net/eth9/queues/rx-1/rps_cpus", "0"),
            ("sys/class/net/eth9/queues/rx-1/rps_flow_cnt", "0"),
            ("sys/devices/system/cpu/online", "0-3"),
            ("proc/sys/net/core/rps_sock_flow_entries", "0"),
            ("proc/interrupts", " 40:  17  4711  PCI-MSI  eth9\n"),
            ("proc/irq/40/smp_affinity_list", "0-1"),
        ] {
            let path = card.0.path().join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        card
    }

    fn steer(&self, arguments: &[&str]) -> Finished {
        let mut script = Command::new(tuning("receive-steering"));
        script.args(arguments).env("SYS", self.0.path().join("sys")).env("PROC", self.0.path().join("proc"));
        run(&mut script)
    }
}

#[test]
fn received_packets_are_steered_to_the_cpus_that_are_asked_for() {
    let card = Card::new();
    let shown = |flows: u32, each: u32, cpus: &str| {
        format!(
            "flows of all queues: {flows}\nrx-0: CPUs {cpus}, flows {each}\nrx-1: CPUs {cpus}, flows {each}\n\
             interrupt 40: eth9: CPUs 0-1\n"
        )
    };
    for (arguments, expected) in [
        (&["on", "eth9"][..], shown(32_768, 16_384, "0000000f")),
        (&["on", "eth9", "0-1,6,33"], shown(32_768, 16_384, "00000002,00000043")),
        (&["off", "eth9"], shown(0, 0, "0")),
    ] {
        card.steer(arguments).expect_success("receive-steering");
        assert_eq!(card.steer(&["show", "eth9"]).expect_success("receive-steering show"), expected, "{arguments:?}");
    }
    for wrong in [&["on", "eth9", "x-3"][..], &["on", "eth9", "3-1"], &["on", "eth8"], &["up", "eth9"], &["show"]] {
        let said = card.steer(wrong);
        assert!(!said.success && said.stderr.starts_with("receive-steering: "), "{wrong:?}: {said:?}");
    }
    assert_eq!(card.steer(&["show", "eth9"]).stdout, shown(0, 0, "0"), "what is wrong changes nothing");
}
