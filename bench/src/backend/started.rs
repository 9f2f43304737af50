//! A real server that the bench starts for itself, with the scripts of the integration tests.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use super::Family;
use crate::launch::{self, Cpu, free_address, last_words};
use crate::reply::Comparison;
use crate::target::{Account, Target};

/// A running server and its data, both gone when this value is, or when the bench is killed.
pub(super) struct Started {
    /// Waits for its standard input to close, ends the server by its process id, and deletes the folder.
    keeper: Child,
    input: Option<ChildStdin>,
}

impl Started {
    pub(super) fn start(family: Family, cpu: Cpu) -> io::Result<(Started, Target)> {
        let folder = TempDir::with_prefix("sqluice-bench-")?.keep();
        let started = Started::keep(&folder)?;
        let address = free_address()?;
        let flavour = match family {
            Family::MariaDb => "mariadb10",
            Family::MySql => "mysql97",
        };
        let log = folder.join("start.log");
        let server = folder.join("server");
        let status = launch::command(cpu, &script())?
            .args(["start", flavour])
            .arg(&server)
            .arg(address.port().to_string())
            .args(["--skip-log-bin", "--performance-schema=OFF"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .status()?;
        if !status.success() {
            let why = last_words(&log);
            return Err(io::Error::other(format!(
                "{flavour} did not start (`tests/servers/install` installs it): {why}"
            )));
        }
        // Of the scripts: may do everything but what only administrators do.
        let account = Account { user: "app".to_owned(), password: "app".to_owned() };
        Ok((started, Target { comparison: Comparison::Shape, account, ..Target::stand_in(address) }))
    }

    fn keep(folder: &Path) -> io::Result<Started> {
        let mut keeper =
            Command::new(script()).arg("keep").arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let input = keeper.stdin.take();
        Ok(Started { keeper, input })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.input.take());
        // It fails only when the keeper has ended before, and then there is nothing left to wait for.
        let _ = self.keeper.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/servers/server")
}
