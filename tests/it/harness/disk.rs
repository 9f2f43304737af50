//! A disk that is soon full, by `tests/servers/disk`.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use super::script::in_tests;

/// A small file system of its own. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: TempDir,
    keeper: Child,
    /// The keeper takes the file system away when this closes, however the process ends.
    pipe: Option<ChildStdin>,
}

impl Disk {
    /// With so much room. Fails where it may not be made: no test is skipped for that.
    #[track_caller]
    pub(crate) fn start(mebibytes: u32) -> Disk {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut keeper = Command::new(in_tests("servers/disk"))
            .arg("hold")
            .arg(folder.path())
            .arg(mebibytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script can be run");
        let (pipe, output) = (keeper.stdin.take(), keeper.stdout.take().expect("stdout is piped"));
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said).expect("a pipe can be read");
        assert_eq!(said.trim(), "ready", "`tests/servers/disk hold` makes a disk, or has said why not");
        Disk { folder, keeper, pipe }
    }

    /// A file there.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The folder can be removed when nothing is mounted there any more.
        let _ = self.keeper.wait();
    }
}
