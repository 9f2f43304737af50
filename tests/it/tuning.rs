//! What `tuning/` offers to operators is what the programs it is for take.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Account, Client, Engine, Finished, Flavour, Server, Start, cluster, on_both_engines, run, user};

fn tuning(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(name)
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).expect("it is there")
}

/// What systemd complains of in a unit; it may complain of others of the machine, too.
fn complaints(name: &str, unit: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    // systemd looks for the program that a unit names, and for the service of a socket.
    for (file, text) in [("sqluice.service", &*read(tuning("sqluice.service"))), (name, unit)] {
        let text = text.replace("/usr/bin/sqluice", env!("CARGO_BIN_EXE_sqluice"));
        fs::write(folder.path().join(file), text).expect("it can be written");
    }
    let said = run(Command::new("systemd-analyze").arg("verify").arg(folder.path().join(name)));
    assert!(said.success, "{said:?}");
    said.stderr.lines().filter(|line| line.contains(name)).map(str::to_owned).collect()
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    for file in ["sqluice.service", "sqluice.socket"] {
        let unit = read(tuning(file));
        assert_eq!(complaints(file, &unit), Vec::<String>::new());
    }
    let unit = read(tuning("sqluice.service"));
    let wrong = unit.replace("WatchdogSec=30s", "WatchdogSec=soon").replace("ProtectClock=", "ProtectClok=");
    let complaints = complaints("sqluice.service", &wrong);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
}

#[test]
fn a_client_that_came_before_the_process_is_served_by_it() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine: Engine| {
        let body = cluster(server) + &user("app", "app");
        let sqluice = Start::new(engine, body).activated().run_with_servers_up(1);
        assert!(!sqluice.log().contains("cannot listen"), "the port is not asked for again");
        // All workers serve the one socket.
        let mut clients: Vec<Client> = (0..8).map(|_| sqluice.app()).collect();
        for client in &mut clients {
            assert_eq!(client.value("SELECT 1"), "1");
        }
        let workers: std::collections::BTreeSet<u32> =
            clients.iter().map(|client| client.greeting.connection_id >> 22).collect();
        assert!(workers.len() > 1, "{workers:?}");
        sqluice.command(&["reload"]).expect_success("reload");
        Client::login(sqluice.address, &Account::new("app", "app")).expect("it listens still").quit();
    });
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
