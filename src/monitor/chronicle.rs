//! The primaries of the clusters in a small file, so that a process that starts knows whom the one before it did not trust.
//!
//! Always replaced as a whole: a reader finds the old text or the new one. Where it cannot be kept the process goes on, and
//! says what is lost by that. It is read once, and written when a primary has changed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tokio::sync::watch as latest;
use tokio::task::spawn_blocking;

use crate::topology::replication::Pasts;

/// The file, while no other process has it.
#[derive(Debug)]
pub struct Chronicle {
    path: PathBuf,
    /// Held as long as this lives.
    _lock: File,
}

impl Chronicle {
    /// Takes the file of a folder, which is made if need be, and reads what is there. Without a folder that can be written,
    /// or that another process has, there is none, and a warning says what that means.
    pub fn open(folder: &Path) -> Option<(Chronicle, Pasts)> {
        match Chronicle::take(folder) {
            Ok(chronicle) => {
                let pasts = chronicle.read();
                Some((chronicle, pasts))
            }
            Err(error) => {
                tracing::warn!(
                    "{}: {error}: who was replaced as a primary is forgotten when this process ends; give it a folder of \
                     its own that it can write, as `[process] state_directory`",
                    folder.display()
                );
                None
            }
        }
    }

    fn take(folder: &Path) -> io::Result<Chronicle> {
        fs::create_dir_all(folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK_NAME))?;
        match lock.try_lock() {
            Ok(()) => Ok(Chronicle { path: folder.join(NAME), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("another process uses it")),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What the process before has left; nothing, where that cannot be read.
    fn read(&self) -> Pasts {
        let told = match read_bounded(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Pasts::new(),
            Err(error) => Err(error.to_string()),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
        };
        told.unwrap_or_else(|why| {
            tracing::warn!("{}: {why}: who was replaced as a primary before is not known", self.path.display());
            Pasts::new()
        })
    }

    /// Keeps each latest state from now on. Must be called inside a tokio runtime.
    pub(super) fn keep(self, known: Pasts) -> latest::Sender<Pasts> {
        let (sender, mut pasts) = latest::channel(known);
        tokio::spawn(async move {
            while pasts.changed().await.is_ok() {
                let text = serde_json::to_vec_pretty(&*pasts.borrow_and_update()).expect("names and texts are JSON");
                let path = self.path.clone();
                let written = spawn_blocking(move || replace(&path, &text)).await;
                if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                    tracing::warn!("{}: {error}: this change of a primary is not remembered", self.path.display());
                }
            }
        });
        sender
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

/// Puts a text in the place of a file, on the disk as well when this returns.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

const NAME: &str = "primaries.json";
const LOCK_NAME: &str = "primaries.lock";

/// 256 clusters with the longest GTIDs of a few former primaries each.
const BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::replication::Past;

    fn pasts() -> Pasts {
        let fenced = [("db1".to_owned(), Some("0-1-9".to_owned())), ("db3".to_owned(), None)].into();
        [("shop".to_owned(), Past { writer: "db2".to_owned(), fenced, replaced: Some("db1".to_owned()) })].into()
    }

    #[tokio::test]
    async fn what_is_kept_is_there_for_the_next_process_and_for_one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("made/now");
        let (chronicle, known) = Chronicle::open(&folder).expect("it can be made");
        assert_eq!(known, Pasts::new());
        assert!(Chronicle::open(&folder).is_none(), "it is taken");
        let sender = chronicle.keep(known);
        sender.send_replace(pasts());
        while !folder.join(NAME).exists() {
            tokio::task::yield_now().await;
        }
        drop(sender);
        let next = loop {
            match Chronicle::open(&folder) {
                Some((_, known)) => break known,
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(next, pasts());
    }

    #[test]
    fn a_text_that_means_nothing_is_as_good_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["", "{", "[]", "{\"shop\": 1}"] {
            fs::write(folder.path().join(NAME), text).expect("it can be written");
            let (_, known) = Chronicle::open(folder.path()).expect("the folder is free again");
            assert_eq!(known, Pasts::new(), "{text}");
        }
    }
}
