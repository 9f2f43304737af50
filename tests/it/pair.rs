//! Two balancers and one address, as `tuning/keepalived.conf` has it, in two network namespaces that are joined by a wire.
//!
//! Needs root, as namespaces do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Process, eventually, signal};

const ADDRESS: &str = "10.0.0.10";

/// Runs `ip` and gives what it says.
#[track_caller]
fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A host: a namespace with one wire, a sqluice and a keepalived.
struct Host {
    namespace: String,
    folder: tempfile::TempDir,
    sqluice: Option<Child>,
    keepalived: Option<Child>,
}

impl Host {
    fn new(name: &str) -> Host {
        let namespace = format!("sqluice-{}-{name}", std::process::id());
        ip(&format!("netns add {namespace}"));
        let folder = tempfile::tempdir().expect("a folder");
        Host { namespace, folder, sqluice: None, keepalived: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program in this host's network, with its output in a file.
    fn run(&self, log: &str, program: &Path, arguments: &[&str]) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.path(log)).expect("a log");
        let errors = log.try_clone().expect("a second handle");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("ip is installed")
    }

    fn start_sqluice(&mut self) {
        let config = self.path("sqluice.toml");
        let text = format!(
            "[process]\nworkers = 1\npin_workers = false\nshutdown_timeout = \"1m\"\n\
             [admin]\nsocket = \"{}\"\nhttp = \"127.0.0.1:9104\"\n\
             [[listener]]\nname = \"app\"\naddress = \"0.0.0.0:3306\"\n\
             [cluster.shop]\ntopology = \"static\"\nserver = [{{ name = \"db1\", address = \"127.0.0.1:1\", role = \"primary\" }}]\n\
             [pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\
             [[user]]\nname = \"app\"\npassword = \"app\"\npool = \"write\"\n",
            self.path("admin.sock").display()
        );
        fs::write(&config, text).expect("it can be written");
        let binary = Path::new(env!("CARGO_BIN_EXE_sqluice"));
        let sqluice = self.run("sqluice.log", binary, &["run", "--config", &config.to_string_lossy()]);
        self.sqluice = Some(sqluice);
        eventually("sqluice is healthy", || self.is_healthy().then_some(()));
    }

    fn is_healthy(&self) -> bool {
        let asked = ["--silent", "--fail", "--output", "/dev/null", "http://127.0.0.1:9104/v1/health"];
        self.run("curl.log", Path::new("curl"), &asked).wait().expect("it is ours").success()
    }

    /// The example with this host's priority.
    fn start_keepalived(&mut self, priority: u32) {
        let example = include_str!("../../tuning/keepalived.conf");
        let config = self.path("keepalived.conf");
        let changed = example.replace("priority 100", &format!("priority {priority}"));
        assert_eq!(changed == example, priority == 100, "the example has a priority to change");
        fs::write(&config, changed).expect("it can be written");
        let file = |name: &str| self.path(name).to_string_lossy().into_owned();
        let arguments = [
            "--dont-fork".to_owned(),
            "--log-console".to_owned(),
            "--vrrp".to_owned(),
            format!("--use-file={}", config.display()),
            format!("--pid={}", file("keepalived.pid")),
            format!("--vrrp_pid={}", file("vrrp.pid")),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.keepalived = Some(self.run("keepalived.log", Path::new("/usr/sbin/keepalived"), &arguments));
    }

    fn has_the_address(&self) -> bool {
        ip(&format!("-n {} -o address show dev eth0", self.namespace)).contains(&format!("{ADDRESS}/"))
    }

    /// Whether its keepalived has found sqluice well, and hears another host that has the address.
    fn is_waiting(&self) -> bool {
        self.logs().contains("Entering BACKUP STATE")
    }

    /// Whether a client of this host is greeted at the address.
    fn is_greeted(&self) -> bool {
        let greeting = format!("exec 3<>/dev/tcp/{ADDRESS}/3306 && head -c 5 <&3 >/dev/null");
        let client = self.run("client.log", Path::new("timeout"), &["5", "bash", "-c", &greeting]);
        client.wait_with_output().expect("it is ours").status.success()
    }

    fn logs(&self) -> String {
        ["keepalived.log", "sqluice.log"].map(|log| fs::read_to_string(self.path(log)).unwrap_or_default()).join("\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for mut child in [self.keepalived.take(), self.sqluice.take()].into_iter().flatten() {
            signal(Process(child.id()), "TERM");
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.namespace, self.logs());
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).status();
    }
}

#[test]
fn the_address_moves_to_the_other_balancer_when_one_is_told_to_end_or_is_killed() {
    let (mut first, mut second) = (Host::new("a"), Host::new("b"));
    ip(&format!("link add eth0 netns {} type veth peer name eth0 netns {}", first.namespace, second.namespace));
    for (host, address) in [(&first, "10.0.0.11/24"), (&second, "10.0.0.12/24")] {
        ip(&format!("-n {} address add {address} dev eth0", host.namespace));
        ip(&format!("-n {} link set lo up", host.namespace));
        ip(&format!("-n {} link set eth0 up", host.namespace));
    }
    let holds = |host: &Host, other: &Host| {
        (host.has_the_address() && !other.has_the_address() && host.is_greeted() && other.is_greeted()).then_some(())
    };
    first.start_sqluice();
    first.start_keepalived(100);
    eventually("the first has the address", || holds(&first, &second));
    second.start_sqluice();
    second.start_keepalived(90);
    eventually("the second waits for its turn", || second.is_waiting().then_some(()));

    let sqluice = first.sqluice.take().expect("it runs");
    signal(Process(sqluice.id()), "TERM");
    eventually("the second has the address", || holds(&second, &first));
    sqluice.wait_with_output().expect("it ends");

    first.start_sqluice();
    let other = second.sqluice.take().expect("it runs");
    signal(Process(other.id()), "KILL");
    other.wait_with_output().expect("it is ours");
    eventually("the first has the address again", || holds(&first, &second));
}
