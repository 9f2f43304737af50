//! The addresses that clients connect to, over the life of the process: bound before anything is given up, kept as long
//! as their address is configured, closed last.
//!
//! The control thread keeps every listening socket and hands the workers copies. A socket that only changes hands (a
//! listener with a new name) so keeps the clients that wait in its queue.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use socket2::{Domain, SockRef, Socket, Type};

use super::activation::Handed;
use super::socket_file::SocketFile;
use crate::config::{ListenAddress, Listener};
use crate::io::socket::listen_tcp;

/// Everybody on the machine may connect: who may log in is decided by name and password, as with a TCP port.
const UNIX_SOCKET_MODE: u32 = 0o777;

/// The open listeners, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Listeners {
    workers: usize,
    handed: Handed,
    next_key: u32,
    open: Vec<Open>,
}

/// One open listener.
#[derive(Debug)]
struct Open {
    /// Its number at the workers; never used again for another one.
    key: u32,
    settings: Listener,
    /// The configured address, with the port that the kernel gave for port 0.
    bound: ListenAddress,
    /// One socket a worker on a TCP address. A UNIX socket, or one that the service manager has opened, is served by one
    /// worker for all: those who come are shared out behind the door.
    sockets: Vec<OwnedFd>,
    /// The file of a UNIX socket; removed with the listener.
    _file: Option<SocketFile>,
}

/// An address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The listener's name.
    pub listener: String,
    /// The address.
    pub address: ListenAddress,
    /// Why not.
    pub error: io::Error,
}

impl BindError {
    fn new(settings: &Listener, error: io::Error) -> BindError {
        BindError { listener: settings.name.clone(), address: settings.address.clone(), error }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "listener {}: cannot listen on {}: {}", self.listener, self.address, self.error)
    }
}

impl std::error::Error for BindError {}

/// What will be open, and the copies for the workers: everything that can fail is done.
#[derive(Debug)]
pub(super) struct Plan {
    next: Vec<Planned>,
}

#[derive(Debug)]
enum Planned {
    /// The open listener of that number stays open, under whatever name.
    Kept { key: u32, settings: Listener },
    /// Is new.
    Opened { open: Open, copies: Vec<OwnedFd> },
}

/// What one worker must be told.
#[derive(Debug)]
pub(super) enum Notice {
    /// Accept clients on this socket.
    Listen { worker: usize, key: u32, mark: Arc<str>, socket: OwnedFd },
    /// Accept no more under this number. Goes to every worker.
    Stop { key: u32 },
}

impl Listeners {
    /// None yet. What the service manager has opened already is not opened again.
    pub(super) fn new(workers: usize, handed: Handed) -> Listeners {
        Listeners { workers, handed, next_key: 0, open: Vec::new() }
    }

    /// Name, bound address and settings of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Listener, &ListenAddress)> {
        self.open.iter().map(|open| (&open.settings, &open.bound))
    }

    /// Binds whatever of `wanted` is not open. On an error nothing is different from before.
    pub(super) fn prepare(&mut self, wanted: &[Listener]) -> Result<Plan, BindError> {
        for settings in wanted {
            if self.handed.has(settings) {
                continue;
            }
            self.ask_for(&settings.address).map_err(|error| BindError::new(settings, error))?;
        }
        let next = wanted.iter().map(|settings| self.plan(settings).map_err(|error| BindError::new(settings, error)));
        Ok(Plan { next: next.collect::<Result<_, _>>()? })
    }

    /// Sockets with SO_REUSEPORT share an address with any other process of the same user: a second sqluice started by
    /// mistake would take half of the clients. A socket without it is refused if anybody listens there. Where one of
    /// ours has that port already (at this or another address) there is no way to ask.
    fn ask_for(&self, address: &ListenAddress) -> io::Result<()> {
        let ListenAddress::Tcp(address) = *address else { return Ok(()) };
        let ours = |open: &Open| matches!(open.bound, ListenAddress::Tcp(bound) if bound.port() == address.port());
        if address.port() == 0 || self.open.iter().any(ours) {
            return Ok(());
        }
        let question = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            question.set_only_v6(true)?;
        }
        // Connections of an earlier process that are not quite over do not count.
        question.set_reuse_address(true)?;
        question.bind(&address.into())
    }

    fn plan(&mut self, settings: &Listener) -> io::Result<Planned> {
        let settings = settings.clone();
        match self.open.iter().find(|open| open.is_that_of(&settings)) {
            Some(open) => Ok(Planned::Kept { key: open.key, settings }),
            None => {
                let open = self.open(settings)?;
                let copies = copies(&open.sockets)?;
                Ok(Planned::Opened { open, copies })
            }
        }
    }

    fn open(&mut self, settings: Listener) -> io::Result<Open> {
        if let Some((sockets, bound)) = self.handed.copies(&settings)? {
            if sockets.len() > self.workers {
                let (sockets, workers) = (sockets.len(), self.workers);
                let why = format!("{sockets} sockets of the service manager for {workers} workers: one each at most");
                return Err(io::Error::other(why));
            }
            return Ok(Open { key: self.take_key(), settings, bound, sockets, _file: None });
        }
        let (sockets, bound, file) = match &settings.address {
            ListenAddress::Tcp(address) => {
                let (sockets, bound) = listen_on_each(*address, self.workers)?;
                (sockets, ListenAddress::Tcp(bound), None)
            }
            ListenAddress::Unix(path) => {
                let (socket, file) = SocketFile::listen(path, UNIX_SOCKET_MODE)?;
                (vec![socket], settings.address.clone(), Some(file))
            }
        };
        Ok(Open { key: self.take_key(), settings, bound, sockets, _file: file })
    }

    /// Makes the plan the state, and says what the workers must be told, in order: the new first, then what is gone.
    pub(super) fn swap(&mut self, plan: Plan) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut before = std::mem::take(&mut self.open);
        for planned in plan.next {
            let mut take = |key: u32| {
                let place = before.iter().position(|open| open.key == key);
                before.remove(place.expect("a plan is carried out on the listeners it was made for"))
            };
            let open = match planned {
                Planned::Kept { key, settings } => Open { settings, ..take(key) },
                Planned::Opened { open, copies } => {
                    notices.extend(open.notices(copies));
                    open
                }
            };
            self.open.push(open);
        }
        notices.extend(before.iter().map(|open| Notice::Stop { key: open.key }));
        notices
    }

    /// Gives all of them up: clients are refused from now on.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }

    fn take_key(&mut self) -> u32 {
        let key = self.next_key;
        self.next_key = self.next_key.checked_add(1).expect("four billion listeners are not opened in one life");
        key
    }
}

impl Open {
    /// Whether this is the socket of a configured listener.
    fn is_that_of(&self, wanted: &Listener) -> bool {
        self.settings.mark() == wanted.mark()
    }

    fn notices(&self, copies: Vec<OwnedFd>) -> impl Iterator<Item = Notice> {
        let mark: Arc<str> = Arc::from(self.settings.mark());
        let key = self.key;
        copies.into_iter().enumerate().map(move |(worker, socket)| Notice::Listen {
            worker,
            key,
            mark: Arc::clone(&mark),
            socket,
        })
    }
}

fn copies(sockets: &[OwnedFd]) -> io::Result<Vec<OwnedFd>> {
    sockets.iter().map(OwnedFd::try_clone).collect()
}

/// One socket a worker, all on the same address: with port 0 the first one gets a port and the others follow.
fn listen_on_each(address: SocketAddr, workers: usize) -> io::Result<(Vec<OwnedFd>, SocketAddr)> {
    let first = listen_tcp(address)?;
    let bound = SockRef::from(&first).local_addr()?.as_socket().expect("a TCP socket has an IP address");
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(listen_tcp(bound)?);
    }
    Ok((sockets, bound))
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use super::*;
    use crate::config::{Access, Encryption, ListenerTls, TlsVersion};

    fn no_tls() -> ListenerTls {
        ListenerTls {
            demand: Encryption::Disabled,
            identity: None,
            minimum: TlsVersion::Tls12,
            client_ca: None,
            require_client_certificate: false,
        }
    }

    pub(in crate::server) fn tcp(name: &str, port: u16) -> Listener {
        let address = ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Listener {
            name: name.into(),
            address,
            extra: false,
            tls: no_tls(),
            proxies: Vec::new(),
            access: Access::default(),
        }
    }

    fn unix(name: &str, path: &Path) -> Listener {
        Listener { address: ListenAddress::Unix(path.to_path_buf()), ..tcp(name, 0) }
    }

    fn bound(listeners: &Listeners, name: &str) -> SocketAddr {
        let mut all = listeners.iter();
        match all.find(|(settings, _)| settings.name == name).expect("it is open").1 {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => panic!("{} is not a TCP address", path.display()),
        }
    }

    /// `+worker/key name` and `-key`, in order.
    fn shown(notices: &[Notice]) -> Vec<String> {
        let line = |notice: &Notice| match notice {
            Notice::Listen { worker, key, mark, .. } => format!("+{worker}/{key} {mark}"),
            Notice::Stop { key } => format!("-{key}"),
        };
        notices.iter().map(line).collect()
    }

    #[test]
    fn each_worker_gets_a_socket_of_a_tcp_listener_and_the_first_that_of_a_unix_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mysql.sock");
        let mut listeners = Listeners::new(2, Handed::default());
        let plan = listeners.prepare(&[tcp("a", 0), unix("b", &path)]).expect("free addresses");
        let notices = listeners.swap(plan);
        assert_eq!(
            shown(&notices),
            ["+0/0 a at 127.0.0.1:0", "+1/0 a at 127.0.0.1:0", &format!("+0/1 unix:{}", path.display())]
        );
        TcpStream::connect(bound(&listeners, "a")).expect("listens");
        UnixStream::connect(&path).expect("listens");
    }

    #[test]
    fn a_reload_keeps_what_is_still_wanted_opens_the_new_and_closes_the_rest_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let (kept, removed) = (folder.path().join("kept"), folder.path().join("removed"));
        let mut listeners = Listeners::new(1, Handed::default());
        let plan = listeners.prepare(&[unix("kept", &kept), unix("removed", &removed)]).expect("free");
        drop(listeners.swap(plan));
        let added = folder.path().join("added");
        let plan = listeners.prepare(&[unix("added", &added), unix("kept", &kept)]).expect("free");
        UnixStream::connect(&removed).expect("nothing is closed before the swap");
        assert_eq!(shown(&listeners.swap(plan)), [format!("+0/2 unix:{}", added.display()), "-1".to_owned()]);
        assert!(!removed.exists());
        let names: Vec<&str> = listeners.iter().map(|(settings, _)| settings.name.as_str()).collect();
        assert_eq!(names, ["added", "kept"]);
    }

    #[test]
    fn of_a_new_name_no_worker_has_to_be_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mysql.sock");
        let mut listeners = Listeners::new(1, Handed::default());
        let plan = listeners.prepare(&[unix("old", &path)]).expect("free");
        drop(listeners.swap(plan));
        let plan = listeners.prepare(&[unix("new", &path)]).expect("nothing to bind");
        assert!(shown(&listeners.swap(plan)).is_empty(), "so none knows the listener by another name than the table");
        let names: Vec<&str> = listeners.iter().map(|(settings, _)| settings.name.as_str()).collect();
        assert_eq!(names, ["new"]);
        UnixStream::connect(&path).expect("still open");
    }

    #[test]
    fn listeners_that_leave_the_port_to_the_kernel_are_told_apart_by_their_names() {
        let mut listeners = Listeners::new(1, Handed::default());
        let plan = listeners.prepare(&[tcp("a", 0), tcp("b", 0)]).expect("free ports");
        drop(listeners.swap(plan));
        let (a, b) = (bound(&listeners, "a"), bound(&listeners, "b"));
        assert_ne!(a, b);
        let plan = listeners.prepare(&[tcp("b", 0), tcp("c", 0)]).expect("a free port");
        assert_eq!(shown(&listeners.swap(plan)), ["+0/2 c at 127.0.0.1:0", "-0"]);
        assert_eq!(bound(&listeners, "b"), b);
    }

    #[test]
    fn an_address_of_another_process_is_refused_and_changes_nothing() {
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        // Even one that would share its port.
        SockRef::from(&stranger).set_reuse_port(true).expect("allowed");
        let taken = stranger.local_addr().expect("bound").port();
        let folder = tempfile::tempdir().expect("a folder");
        let (kept, new) = (folder.path().join("kept"), folder.path().join("new"));
        let mut listeners = Listeners::new(1, Handed::default());
        let plan = listeners.prepare(&[unix("kept", &kept)]).expect("free");
        drop(listeners.swap(plan));
        let error = listeners.prepare(&[unix("new", &new), tcp("taken", taken)]).expect_err("in use");
        assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("listener taken: cannot listen on 127.0.0.1:{taken}: ")));
        assert!(!new.exists(), "what was bound on the way is given up again");
        UnixStream::connect(&kept).expect("still open");
    }

    #[test]
    fn two_listeners_of_one_file_may_share_a_port() {
        let port =
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port").local_addr().expect("bound").port();
        let everywhere =
            Listener { address: ListenAddress::Tcp((Ipv4Addr::UNSPECIFIED, port).into()), ..tcp("b", port) };
        let mut listeners = Listeners::new(2, Handed::default());
        let plan = listeners.prepare(&[tcp("a", port), everywhere]).expect("nobody else listens there");
        assert_eq!(shown(&listeners.swap(plan)).len(), 4);
    }

    #[test]
    fn closed_listeners_refuse_clients() {
        let mut listeners = Listeners::new(1, Handed::default());
        let plan = listeners.prepare(&[tcp("a", 0)]).expect("a free port");
        drop(listeners.swap(plan));
        let address = bound(&listeners, "a");
        listeners.close();
        assert!(TcpStream::connect(address).is_err());
    }
}
