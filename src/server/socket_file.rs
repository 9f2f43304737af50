//! A listening UNIX socket and its file, which goes away with it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::io::socket::listen_unix;

/// The file of a bound socket, removed when this is dropped. It is known by its inode, so that the file of a
/// successor at the same path is never removed.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`. A missing last folder is made: `/run` is empty after each boot, and only systemd fills it.
    pub(super) fn listen(path: &Path, mode: u32) -> io::Result<(OwnedFd, SocketFile)> {
        make_folder(path)?;
        let socket = listen_unix(path, mode)?;
        let file = SocketFile { path: path.to_path_buf(), device_and_inode: device_and_inode(path)? };
        Ok((socket, file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if device_and_inode(&self.path).is_ok_and(|now| now == self.device_and_inode) {
            // Nothing to do about a failure: the next start finds a socket that nobody listens on and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn device_and_inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => fs::create_dir(folder),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_file_goes_away_with_the_socket_but_never_a_successors() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("made/admin.sock");
        let (socket, file) = SocketFile::listen(&path, 0o600).expect("free");
        UnixStream::connect(&path).expect("somebody listens");
        drop((socket, file));
        assert!(!path.exists());

        let (_first, file) = SocketFile::listen(&path, 0o600).expect("free again");
        fs::rename(&path, folder.path().join("moved")).expect("moved");
        let _second = SocketFile::listen(&path, 0o600).expect("free at that path");
        drop(file);
        assert!(path.exists(), "the successor's file stays");
    }
}
