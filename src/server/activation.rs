//! Listening sockets that the service manager has opened for us: sd_listen_fds(3), `.socket` units.
//!
//! A socket belongs to the listener whose name it has (`FileDescriptorName=`), or else whose address. The manager keeps it
//! open when this process ends: clients that come meanwhile wait in its queue instead of being refused. Here, too, it is
//! kept for as long as the process lives, whatever a reload makes of its listener.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use socket2::{SockRef, Type};

use crate::config::{ListenAddress, Listener};
use crate::io::{inherited_files, socket};

/// The sockets that were handed to this process, each with the name that the manager gave it.
#[derive(Debug, Default)]
pub(super) struct Handed {
    sockets: Vec<HandedSocket>,
}

#[derive(Debug)]
struct HandedSocket {
    name: String,
    address: ListenAddress,
    socket: OwnedFd,
}

/// A socket was handed over that cannot be used.
#[derive(Debug)]
pub struct HandedOver {
    what: String,
    why: String,
}

impl fmt::Display for HandedOver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the service manager hands over {}, {}", self.what, self.why)
    }
}

impl Handed {
    /// Those of `$LISTEN_FDS`; none where it is for another process, or for nobody.
    pub(super) fn from_environment() -> Result<Handed, HandedOver> {
        let variable = |name| std::env::var(name).ok();
        let count = count(variable("LISTEN_FDS").as_deref(), variable("LISTEN_PID").as_deref(), std::process::id());
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        Handed::of(inherited_files(count), &names)
    }

    /// Sockets, and their names with `:` in between.
    fn of(files: Vec<OwnedFd>, names: &str) -> Result<Handed, HandedOver> {
        let names = names.split(':').chain(std::iter::repeat(""));
        let sockets = files.into_iter().zip(names).map(|(file, name)| HandedSocket::new(file, name));
        Ok(Handed { sockets: sockets.collect::<Result<_, _>>()? })
    }

    /// Whether each belongs to one of these listeners: nobody would ever take the clients of another one.
    pub(super) fn check(&self, wanted: &[Listener]) -> Result<(), HandedOver> {
        match self.sockets.iter().find(|handed| !wanted.iter().any(|listener| self.is_of(handed, listener))) {
            None => Ok(()),
            Some(handed) => Err(HandedOver {
                what: handed.to_string(),
                why: "and no [[listener]] has that name or address: add one, or take it out of the .socket unit".into(),
            }),
        }
    }

    /// Whether the manager has opened a socket for a listener.
    pub(super) fn has(&self, listener: &Listener) -> bool {
        self.sockets.iter().any(|handed| self.is_of(handed, listener))
    }

    /// Copies of the sockets of a listener, with the address that they have; nothing, if it has to open its own.
    pub(super) fn copies(&self, listener: &Listener) -> io::Result<Option<(Vec<OwnedFd>, ListenAddress)>> {
        let mut mine = self.sockets.iter().filter(|handed| self.is_of(handed, listener)).peekable();
        let Some(address) = mine.peek().map(|handed| handed.address.clone()) else { return Ok(None) };
        let copies = mine.map(|handed| handed.socket.try_clone()).collect::<io::Result<_>>()?;
        Ok(Some((copies, address)))
    }

    /// A name counts before an address: it may be there for a listener whose address the manager has changed.
    fn is_of(&self, handed: &HandedSocket, listener: &Listener) -> bool {
        let is_named = self.sockets.iter().any(|handed| handed.name == listener.name);
        if is_named { handed.name == listener.name } else { handed.address == listener.address }
    }
}

impl HandedSocket {
    fn new(socket: OwnedFd, name: &str) -> Result<HandedSocket, HandedOver> {
        let refused = |why: String| HandedOver { what: format!("a descriptor named \"{name}\""), why };
        let found = SockRef::from(&socket);
        let is_listening =
            found.r#type().is_ok_and(|kind| kind == Type::STREAM) && found.is_listener().unwrap_or(false);
        if !is_listening {
            return Err(refused("which does not listen for streams: write ListenStream= and Accept=no".into()));
        }
        let address = address_of(&found).ok_or_else(|| refused("which has no address that clients have".into()))?;
        socket::adopt_listener(&socket).map_err(|error| refused(format!("which cannot be set up: {error}")))?;
        Ok(HandedSocket { name: name.to_owned(), address, socket })
    }
}

impl fmt::Display for HandedSocket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a socket named \"{}\" that listens on {}", self.name, self.address)
    }
}

fn address_of(socket: &SockRef<'_>) -> Option<ListenAddress> {
    let address = socket.local_addr().ok()?;
    let tcp = || address.as_socket().map(ListenAddress::Tcp);
    let unix = || address.as_pathname().map(|path| ListenAddress::Unix(PathBuf::from(path)));
    tcp().or_else(unix)
}

/// How many descriptors are for this process, as sd_listen_fds(3) reads the two variables.
fn count(number: Option<&str>, pid: Option<&str>, own: u32) -> usize {
    let is_ours = pid.is_some_and(|pid| pid.parse() == Ok(own));
    number.filter(|_| is_ours).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn listening() -> (OwnedFd, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (listener.into(), address)
    }

    fn listener(name: &str, address: SocketAddr) -> Listener {
        Listener { address: ListenAddress::Tcp(address), ..crate::server::listeners::tests::tcp(name, 1) }
    }

    #[test]
    fn descriptors_are_taken_by_the_process_that_they_are_for() {
        assert_eq!(count(Some("2"), Some("7"), 7), 2);
        for (number, pid) in [(Some("2"), Some("8")), (Some("2"), None), (None, Some("7")), (Some("x"), Some("7"))] {
            assert_eq!(count(number, pid, 7), 0, "{number:?} {pid:?}");
        }
    }

    #[test]
    fn a_socket_belongs_to_the_listener_with_its_name_or_else_with_its_address() {
        let ((first, at_first), (second, at_second)) = (listening(), listening());
        let handed = Handed::of(vec![first, second], "app:other").expect("both listen");
        let taken = |listener: &Listener| {
            let copies = handed.copies(listener).expect("they can be copied");
            copies.map(|(copies, address)| (copies.len(), address.to_string()))
        };
        assert_eq!(taken(&listener("app", at_second)), Some((1, at_first.to_string())), "by its name");
        assert_eq!(taken(&listener("x", at_second)), Some((1, at_second.to_string())), "by its address");
        assert_eq!(taken(&listener("y", (Ipv4Addr::LOCALHOST, 1).into())), None);
        assert!(handed.check(&[listener("app", at_second), listener("x", at_second)]).is_ok());
        let error = handed.check(&[listener("app", at_first)]).expect_err("nobody takes the second one's clients");
        assert!(error.to_string().contains(&format!("named \"other\" that listens on {at_second}")), "{error}");
        TcpStream::connect(at_first).expect("it is open as long as the process lives");
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let error = Handed::of(vec![datagrams.into()], "app").expect_err("no streams come from it");
        assert!(error.to_string().contains("does not listen for streams"), "{error}");
    }
}
