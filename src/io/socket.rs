//! Making sockets: listeners, and the outgoing side towards servers. Whatever the kernel's options are called, this is
//! where they are set.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::event::Errno;

/// Connections that may wait to be accepted. The system's `net.core.somaxconn` lowers it.
const BACKLOG: i32 = 4096;

/// Silence after which the kernel begins to ask whether the other host is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Unanswered questions that end the connection.
const KEEPALIVE_PROBES: u32 = 3;

/// The longest pause between two attempts to send what the other host has not acknowledged. It is given up after 15 attempts
/// (`net.ipv4.tcp_retries2`): with this, after half a minute in place of a quarter of an hour. Whoever acknowledges and does
/// not read for a while is waited for, which TCP_USER_TIMEOUT would not do.
const RESEND_PAUSE_MAX: Duration = Duration::from_secs(2);

/// TCP_RTO_MAX_MS of Linux 6.15.
const TCP_RTO_MAX_MS: libc::c_int = 44;

/// A listener on a TCP address, whose clients are without delays and watched for a lost peer. IPv4 or IPv6 (then IPv6 only). Each worker makes its own for the same address: the
/// kernel spreads the clients over them (SO_REUSEPORT). Port 0 takes a free one.
pub fn listen_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Linux gives a client's socket the options of its listener: this saves some calls for each client.
    set_tcp_options(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes of a listener that somebody else has opened one like our own. It is not passed on to other programs.
pub fn adopt_listener(listener: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_cloexec(true)?;
    if !socket.local_addr()?.is_unix() {
        set_tcp_options(&socket)?;
    }
    Ok(())
}

/// A listener on a UNIX socket file with these permission bits. A file that a process left behind without listening on
/// it any more is replaced; one that is in use, or is not a socket, is an error (EADDRINUSE).
pub fn listen_unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path, &address) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether the file is a socket that nobody listens on.
fn is_left_behind(path: &Path, address: &SockAddr) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return false;
    }
    let Ok(caller) = Socket::new(Domain::UNIX, Type::STREAM, None) else {
        return false;
    };
    // A listener with a full backlog must not make us wait; it answers EAGAIN, which is not a refusal.
    caller.set_nonblocking(true).is_ok()
        && caller.connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A socket to connect to `address` with: nonblocking, and for TCP without delays and watched for a lost peer.
pub fn outgoing(address: &SockAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(address.domain(), Type::STREAM.nonblocking(), None)?;
    if !address.is_unix() {
        set_tcp_options(&SockRef::from(&socket))?;
    }
    Ok(socket.into())
}

/// Where a client's socket comes from: `None` for a UNIX socket.
pub fn client_address(socket: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    let address = SockRef::from(socket).peer_addr()?.as_socket();
    Ok(address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port())))
}

/// Where a client has connected to; nothing for a UNIX socket.
pub fn own_address(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(socket).local_addr().ok()?.as_socket()
}

fn set_tcp_options(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    match set_resend_pause_max(socket, RESEND_PAUSE_MAX) {
        // An older kernel gives up as the whole host is told to.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        result => result,
    }
}

fn set_resend_pause_max(socket: &SockRef<'_>, pause: Duration) -> io::Result<()> {
    let milliseconds = pause.as_millis() as libc::c_int;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads an int, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            (&raw const milliseconds).cast(),
            length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Begins a connect on a nonblocking socket. EINPROGRESS is the ordinary answer for TCP.
pub(super) fn connect_now(socket: &OwnedFd, address: &SockAddr) -> Result<(), Errno> {
    SockRef::from(socket).connect(address).map_err(Errno::from)
}

/// The error that a connect in progress ended with, if it did.
pub(super) fn take_error(socket: &OwnedFd) -> Result<(), Errno> {
    match SockRef::from(socket).take_error() {
        Ok(None) => Ok(()),
        Ok(Some(error)) | Err(error) => Err(Errno::from(error)),
    }
}

/// Ends our direction. An error means that the connection is gone already, which a receive or a send tells.
pub(super) fn shutdown_write(socket: &OwnedFd) {
    let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Write);
}

/// Whether calls on the socket wait. Only accept and connect look at it: all others say for each call.
pub(super) fn set_nonblocking(socket: &OwnedFd, nonblocking: bool) -> io::Result<()> {
    SockRef::from(socket).set_nonblocking(nonblocking)
}

/// Accepts a client that waits at a listener, sends it `words` and closes it; false if nobody waits, or it cannot be taken.
pub(super) fn refuse_waiting(listener: &OwnedFd, words: &[u8]) -> bool {
    let socket = SockRef::from(listener);
    // Another worker may take the one who waits: nobody may be waited for here.
    let was_nonblocking = socket.nonblocking().unwrap_or(true);
    let accepted = socket.set_nonblocking(true).and_then(|()| socket.accept());
    let _ = socket.set_nonblocking(was_nonblocking);
    let Ok((client, _)) = accepted else { return false };
    // A new socket has room for it. It has said nothing yet that the close would make the kernel reset it for.
    let _ = client.send_with_flags(words, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    true
}

/// Whether a failed accept says something about that one client, so that the next may be accepted at once. All other
/// errors (descriptors or memory are short) would only come again.
pub(super) fn is_one_clients_error(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EINTR
            | libc::EAGAIN
            | libc::EPROTO
            | libc::ECANCELED
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ETIMEDOUT
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn bound_address(listener: &OwnedFd) -> SocketAddr {
        let address = SockRef::from(listener).local_addr().expect("bound");
        address.as_socket().expect("an IP address")
    }

    #[test]
    fn two_workers_listen_on_the_same_tcp_address() {
        for host in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
            let first = match listen_tcp(host) {
                Ok(first) => first,
                // A host without IPv6.
                Err(_) if host.is_ipv6() => continue,
                Err(error) => panic!("{host}: {error}"),
            };
            let bound = bound_address(&first);
            assert_ne!(bound.port(), 0);
            listen_tcp(bound).expect("a second listener on the same address");
        }
    }

    #[test]
    fn both_sides_are_without_delay_and_watched_for_a_lost_peer() {
        let listener = listen_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("listen");
        let address = SockAddr::from(bound_address(&listener));
        let client = outgoing(&address).expect("socket");
        // In progress: the accept below waits for it.
        let _ = SockRef::from(&client).connect(&address);
        let (accepted, _) = SockRef::from(&listener).accept().expect("accept");
        let accepted = OwnedFd::from(accepted);
        let address = client_address(&accepted).expect("connected").expect("a TCP address");
        assert_eq!(Some(address), SockRef::from(&client).local_addr().expect("bound").as_socket());
        for socket in [&client, &accepted] {
            let socket = SockRef::from(socket);
            assert!(socket.tcp_nodelay().expect("option"));
            assert!(socket.keepalive().expect("option"));
            assert_eq!(socket.tcp_keepalive_time().expect("option"), KEEPALIVE_IDLE);
            assert_eq!(socket.tcp_user_timeout().expect("option"), None, "who does not read for a while is waited for");
        }
    }

    #[test]
    fn a_client_on_a_unix_socket_has_no_address() {
        let (ours, _theirs) = UnixStream::pair().expect("pair");
        assert_eq!(client_address(&ours.into()).expect("connected"), None);
    }

    #[test]
    fn a_socket_file_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mysql.sock");
        drop(UnixListener::bind(&path).expect("the process that died"));
        let listener = listen_unix(&path, 0o777).expect("takes over");
        UnixStream::connect(&path).expect("reachable");
        let error = listen_unix(&path, 0o777).expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).expect("still reachable");
        drop(listener);
    }

    #[test]
    fn a_socket_file_has_the_permissions_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let _listener = listen_unix(&path, 0o600).expect("listen");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        fs::write(&path, "keep me").expect("written");
        listen_unix(&path, 0o777).expect_err("not a socket");
        assert_eq!(fs::read(&path).expect("still there"), b"keep me");
    }
}
