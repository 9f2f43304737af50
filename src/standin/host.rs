//! A stand-in's thread: it accepts, it fails and recovers on request, and its handle.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc as orders;
use tokio::task::JoinSet;

use crate::protocol::auth::{RsaError, RsaKey};

use super::fault::Fault;
use super::server::Server;
use super::session;
use super::{Options, Store};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// All stand-ins of a process share a key: making one takes longer than all else at a start.
static KEY: LazyLock<Result<RsaKey, RsaError>> = LazyLock::new(RsaKey::generate);

/// A running stand-in. Dropping it stops the server.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    server: Arc<Server>,
    /// Unbounded, but never longer than its callers are many: each waits for its order to be carried out.
    orders: orders::UnboundedSender<Request>,
    thread: Option<JoinHandle<()>>,
}

/// An order, and where its outcome goes.
type Request = (Order, mpsc::Sender<io::Result<()>>);

#[derive(Debug)]
enum Order {
    Fail,
    Recover,
    Stop,
}

impl StandIn {
    /// Starts a server on a thread of its own. It accepts connections when this returns.
    pub fn start(options: Options) -> io::Result<StandIn> {
        let reserved = bound(options.address)?;
        let address = reserved.local_addr()?.as_socket().expect("an IP socket was bound");
        let listener = listening(address)?;
        let key = KEY.as_ref().map_err(|error| io::Error::other(error.to_string()))?;
        let server = Arc::new(Server::new(options, address.port()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, receiver) = orders::unbounded_channel();
        let mut host = Host { address, server: Arc::clone(&server), key, listener: None, sessions: JoinSet::new() };
        let run = move || {
            runtime.block_on(async move {
                host.listener = Some(TcpListener::from_std(listener).expect("the runtime takes a fresh listener"));
                host.run(receiver).await;
            });
            // Held to the end, so that nobody else gets the port while the server has failed.
            drop(reserved);
        };
        let thread = std::thread::Builder::new().name(format!("standin {}", server.options.server_id)).spawn(run)?;
        Ok(StandIn { address, server, orders: sender, thread: Some(thread) })
    }

    /// Where it listens. The same after [`StandIn::recover`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was started with.
    pub fn options(&self) -> &Options {
        &self.server.options
    }

    /// Its rows.
    pub fn store(&self) -> &Store {
        &self.server.options.store
    }

    /// Dies as by `kill -9`: the listener and all sessions are gone when this returns, open transactions with them.
    /// The port stays reserved, so that connects are refused.
    pub fn fail(&self) {
        self.order(Order::Fail).expect("closing sockets cannot fail");
    }

    /// Comes back after [`StandIn::fail`], on the same port, or speaks again after [`StandIn::hang`].
    ///
    /// # Errors
    /// The system's, when it does not give a listener.
    pub fn recover(&self) -> io::Result<()> {
        self.server.set_silent(false);
        self.order(Order::Recover)
    }

    /// Hangs as by `kill -STOP`: accepts and reads, and says nothing until [`StandIn::recover`].
    pub fn hang(&self) {
        self.server.set_silent(true);
    }

    /// Makes nodes of one Percona XtraDB Cluster of these: they tell their `wsrep_` variables, and `@@pxc_maint_mode` can be
    /// set. Give them the same store.
    pub fn form_group(nodes: &[StandIn]) {
        let members: Vec<SocketAddr> = nodes.iter().map(StandIn::address).collect();
        nodes.iter().for_each(|node| node.server.join(members.clone()));
    }

    /// Turns `@@read_only`. Open transactions that have written cannot commit on a read-only server.
    pub fn set_read_only(&self, read_only: bool) {
        self.server.set_read_only(read_only);
    }

    /// Whether `@@read_only` is on.
    pub fn is_read_only(&self) -> bool {
        self.server.is_read_only()
    }

    /// Waits this long before each greeting from now on.
    pub fn set_login_delay(&self, delay: Duration) {
        self.server.set_login_delay(delay);
    }

    /// Arms `fault` for the next statement whose text contains `text`, so that no health check triggers it.
    ///
    /// # Panics
    /// With more than 64 faults waiting.
    pub fn arm(&self, text: &str, fault: Fault) {
        self.server.arm(text, fault);
    }

    /// Connections accepted since the start, with those of health checks.
    pub fn connection_count(&self) -> u64 {
        self.server.connection_count()
    }

    /// Sessions connected now.
    pub fn session_count(&self) -> usize {
        self.server.session_count()
    }

    /// Sessions of `user` connected and logged in now.
    pub fn session_count_of(&self, user: &str) -> usize {
        self.server.sessions().iter().filter(|(_, connected)| connected.user == user).count()
    }

    /// Statements received since the start, with those of health checks.
    pub fn statement_count(&self) -> u64 {
        self.server.statement_count()
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let (done, is_done) = mpsc::channel();
        let gone = || io::Error::other("the stand-in's thread has ended");
        self.orders.send((order, done)).map_err(|_| gone())?;
        is_done.recv().map_err(|_| gone())?
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Either error says that the thread is gone already.
        let _ = self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What runs on the thread.
struct Host {
    address: SocketAddr,
    server: Arc<Server>,
    key: &'static RsaKey,
    /// `None` while the server has failed.
    listener: Option<TcpListener>,
    sessions: JoinSet<()>,
}

impl Host {
    async fn run(&mut self, mut orders: orders::UnboundedReceiver<Request>) {
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => {
                    let Some((order, done)) = order else { break };
                    let stops = matches!(order, Order::Stop);
                    let result = self.carry_out(order).await;
                    // A caller that no longer waits has been dropped with its thread.
                    let _ = done.send(result);
                    if stops {
                        break;
                    }
                }
                accepted = accept(self.listener.as_ref()) => self.admit(accepted),
                Some(_ended) = self.sessions.join_next() => {}
            }
        }
    }

    async fn carry_out(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Fail | Order::Stop => {
                self.listener = None;
                self.sessions.shutdown().await;
                self.server.forget_logins();
            }
            Order::Recover if self.listener.is_none() => {
                self.listener = Some(TcpListener::from_std(listening(self.address)?)?);
            }
            Order::Recover => {}
        }
        Ok(())
    }

    fn admit(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        // An accept fails for a peer that is gone again or for want of descriptors: the next one shows.
        let Ok((stream, peer)) = accepted else { return };
        self.sessions.spawn(session::serve(stream, peer, Arc::clone(&self.server), self.key));
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let accepted = listener.accept().await;
    if accepted.is_err() {
        // Want of descriptors: without a pause the next accept fails, too, and the thread does nothing else.
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    accepted
}

/// A socket on `address` that may share it with the listener: reserves the port without answering on it.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listening(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
