//! A small file that holds the latest state of something, for the next process.
//!
//! Always replaced as a whole, and on the disk when it is: a reader finds the old state or the new one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

/// The file.
#[derive(Debug, Clone)]
pub(super) struct Record {
    path: PathBuf,
}

impl Record {
    pub(super) fn new(folder: &Path, name: &str) -> Record {
        Record { path: folder.join(name) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the process before has left; nothing, if there is no such file.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn read<State: DeserializeOwned + Default>(&self) -> Result<State, String> {
        match read_bounded(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error.to_string()),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
        }
    }

    /// Puts a state in the place of the one before, on a thread of its own: a disk may take its time. Must be called inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// Why it is not on the disk.
    pub(super) async fn write(&self, state: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(state).expect("names and texts are JSON");
        let path = self.path.clone();
        let written = spawn_blocking(move || replace(&path, &text)).await;
        written.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut text)?;
    match text.len() as u64 > BYTES_MAX {
        true => Err(io::Error::other(format!("longer than {BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// 256 clusters with the longest GTIDs of a few former primaries each.
const BYTES_MAX: u64 = 64 << 20;
