//! The UNIX socket of the admin API: made so that nobody but its owner can connect at any moment, and removed again.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use axum::Router;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// Connections waiting to be accepted; operators and scrapers, never many.
const BACKLOG: i32 = 16;

/// Why the socket cannot be made.
#[derive(Debug)]
pub enum SocketError {
    /// Another process answers there.
    InUse(PathBuf),
    /// Something that is not a socket stands there; it is left alone.
    NotASocket(PathBuf),
    /// The operating system says no.
    System(PathBuf, io::Error),
}

impl std::fmt::Display for SocketError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SocketError::InUse(path) => {
                write!(
                    formatter,
                    "admin socket {}: another process answers there; is sqluice running already?",
                    path.display()
                )
            }
            SocketError::NotASocket(path) => {
                write!(
                    formatter,
                    "admin socket {}: a file that is not a socket is in the way",
                    path.display()
                )
            }
            SocketError::System(path, error) => {
                write!(formatter, "admin socket {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for SocketError {}

/// A socket that listens; its file goes away with it.
#[derive(Debug)]
pub struct AdminSocket {
    listener: std::os::unix::net::UnixListener,
    file: SocketFile,
}

/// The file of a bound socket, known by its inode so that a successor's file at the same path is never removed.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl AdminSocket {
    /// Listens at `path` with mode 0600. A missing last folder is made; a file that a dead process left is replaced.
    pub fn bind(path: &Path) -> Result<AdminSocket, SocketError> {
        let system = |error| SocketError::System(path.to_path_buf(), error);
        make_folder(path).map_err(system)?;
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(system)?;
        socket
            .bind(&SockAddr::unix(path).map_err(system)?)
            .map_err(system)?;
        // Until `listen` every connect is refused, so no one gets in between the two steps.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(system)?;
        socket.listen(BACKLOG).map_err(system)?;
        socket.set_nonblocking(true).map_err(system)?;
        let file = SocketFile {
            path: path.to_path_buf(),
            inode: inode(path).map_err(system)?,
        };
        Ok(AdminSocket {
            listener: socket.into(),
            file,
        })
    }

    /// Serves `router` until the future is dropped; the file is removed then. Needs a tokio runtime.
    pub async fn serve(self, router: Router) -> io::Result<()> {
        let AdminSocket { listener, file } = self;
        let _removed_at_the_end = file;
        axum::serve(UnixListener::from_std(listener)?, router).await
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Nothing to do about a failure: the next start finds a stale socket and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// `/run/sqluice` is on a file system that is empty after each boot; systemd makes the folder, a hand does not.
fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            fs::create_dir(folder)
        }
        _ => Ok(()),
    }
}

/// Removes a socket that nobody listens on. Only a refused connection proves that: any other answer leaves the file.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_path_buf()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| SocketError::System(path.to_path_buf(), error))
        }
        Ok(_) => Err(SocketError::InUse(path.to_path_buf())),
        Err(error) => Err(SocketError::System(path.to_path_buf(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_can_connect() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("made/admin.sock");
        let _socket = AdminSocket::bind(&path).expect("free");
        let mode = fs::symlink_metadata(&path)
            .expect("bound")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_socket_that_answers_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let _first = AdminSocket::bind(&path).expect("free");
        assert!(matches!(
            AdminSocket::bind(&path),
            Err(SocketError::InUse(_))
        ));
        UnixStream::connect(&path).expect("the first still listens");
    }

    #[test]
    fn a_socket_left_by_a_dead_process_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("free"));
        assert!(path.exists(), "the standard library leaves the file");
        AdminSocket::bind(&path).expect("stale files are replaced");
    }

    #[test]
    fn a_file_that_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        fs::write(&path, "precious").expect("written");
        assert!(matches!(
            AdminSocket::bind(&path),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    }

    #[test]
    fn the_file_goes_away_with_the_socket_but_never_a_successors() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        drop(AdminSocket::bind(&path).expect("free"));
        assert!(!path.exists());

        let first = AdminSocket::bind(&path).expect("free");
        fs::rename(&path, folder.path().join("moved")).expect("moved");
        let _second = AdminSocket::bind(&path).expect("free");
        drop(first);
        assert!(path.exists(), "the second one's file stays");
    }
}
