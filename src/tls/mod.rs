//! TLS towards clients and servers: rustls, between two buffers.
//!
//! | file | what is in it |
//! |---|---|
//! | `channel` | one connection's TLS: records in, plaintext out, and the other way round; no I/O |
//! | `identity` | a certificate and its key: from files, or made here and kept |
//! | `front` | what a listener says in a handshake |
//! | `back` | what a server is asked to prove |
//! | `terms` | all of it that is in force, read from the files of a configuration |
//!
//! Invariant: a [`Terms`] holds what was read and proven; whoever has one meets no bad file any more.
//!
//! What is *not* here: sockets (`worker` moves the records), and what is said inside (`session`).

mod back;
mod channel;
mod front;
mod identity;
mod terms;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use back::Back;
pub use channel::{Channel, Received};
pub use front::Front;
pub use identity::Identity;
pub use terms::{Keeper, Terms, check};

/// Why a file, or what is in it, cannot be used. The sentence says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    fn of(path: &Path, why: impl fmt::Display) -> Refusal {
        Refusal(format!("{}: {why}", path.display()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The same library that does RSA for `caching_sha2_password`.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// Bytes of a file of certificates or keys. A bundle of all public authorities has 250 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The content of a file, and what tells that it has changed.
fn read(path: &Path, stamps: &mut Stamps) -> Result<Vec<u8>, Refusal> {
    // Looked at first: a change between the two is seen as one the next time.
    stamps.0.push((path.to_path_buf(), Stamp::of(path)));
    let length = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(Refusal::of(path, format_args!("has more than {FILE_BYTES_MAX} bytes: name a PEM file")));
    }
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Refusal {
    Refusal::of(path, format_args!("cannot be read ({error}): write the path of a readable PEM file"))
}

/// The files that something was read from, as they were then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stamps(Vec<(PathBuf, Stamp)>);

impl Stamps {
    /// The same files as they are now.
    fn now(&self) -> Stamps {
        Stamps(self.0.iter().map(|(path, _)| (path.clone(), Stamp::of(path))).collect())
    }
}

/// What changes with a file's content, also where a symbolic link on the way is turned to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        let facts = |file: std::fs::Metadata| (file.ino(), file.size(), file.mtime(), file.mtime_nsec());
        Stamp(std::fs::metadata(path).ok().map(facts))
    }
}
