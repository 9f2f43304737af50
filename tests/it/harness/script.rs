//! Drivers and command-line clients, each in a process of its own.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::deadline::{WAIT_MAX, within};
use super::servers::Flavour;

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Its output; panics with everything it said unless it succeeded.
    #[track_caller]
    pub(crate) fn expect_success(self, what: &str) -> String {
        assert!(self.success, "{what} failed\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// The folder that `tests/servers/install` fills.
pub(crate) fn in_cache(path: &str) -> PathBuf {
    let cache = match std::env::var_os("SQLUICE_SERVERS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/sqluice-servers"),
    };
    cache.join(path)
}

/// A file of this crate's `tests` folder.
pub(super) fn in_tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// Runs a script of `tests/it/clients` with the Python drivers.
pub(crate) fn python(script: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(in_cache("venv/bin/python"));
    run(command.arg(in_tests("it/clients").join(script)).args(arguments))
}

/// Runs a script of `tests/it/clients` with the Node drivers, which it finds through `DRIVERS`.
pub(crate) fn node(script: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new("node");
    command.env("DRIVERS", in_cache("node/"));
    run(command.arg(in_tests("it/clients").join(script)).args(arguments))
}

/// Runs a script of `tests/it/clients` with PHP and its drivers.
pub(crate) fn php(script: &str, arguments: &[&str]) -> Finished {
    run(Command::new("php").arg(in_tests("it/clients").join(script)).args(arguments))
}

/// The command-line client of a flavour.
pub(crate) fn client_cli(flavour: Flavour, arguments: &[&str]) -> Finished {
    let mut command = Command::new(in_tests("servers/server"));
    run(command.arg("client").arg(flavour.name()).args(arguments))
}

/// Runs a program to its end with its output collected; one that hangs is killed and counts as failed.
pub(crate) fn run(command: &mut Command) -> Finished {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started ({error}); was tests/servers/install run?"));
    let stdout = collect(child.stdout.take().expect("stdout is piped"));
    let stderr = collect(child.stderr.take().expect("stderr is piped"));
    let status = within(WAIT_MAX * 2, || child.try_wait().expect("the child is ours"));
    if status.is_none() {
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
    }
    let hung = if status.is_none() { "\n(killed: it did not end)" } else { "" };
    Finished {
        success: status.is_some_and(|status| status.success()),
        stdout: stdout.join().expect("reading does not panic"),
        stderr: stderr.join().expect("reading does not panic") + hung,
    }
}

/// Reads a pipe beside the wait, so that a program with much to say does not block.
fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
