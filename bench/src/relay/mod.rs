//! Relays: what passing bytes on costs without knowledge of MySQL, on the balancer's own ring and on the runtimes that it
//! could have stood on instead. Their candidates run each as a process of its own, with one thread.

mod bare;
mod monoio;
mod tokio_uring;

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use sqluice::io::Engine;

use crate::launch::LISTENING;

/// Bytes of one direction of a connection that are under way in a relay on a foreign runtime: room for a small reply in
/// one read, little enough that many connections' buffers stay in the cache. Only what is used is ever touched.
const BUFFER_LENGTH: usize = 32 * 1024;
/// Operations that a foreign runtime's ring takes at once.
const RING_ENTRIES: u32 = 4096;

/// What a relay stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Runtime {
    /// The balancer's own ring
    #[value(name = "io_uring")]
    IoUring,
    /// The balancer's own epoll engine
    Epoll,
    Monoio,
    TokioUring,
}

impl Runtime {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Runtime::IoUring => "io_uring",
            Runtime::Epoll => "epoll",
            Runtime::Monoio => "monoio",
            Runtime::TokioUring => "tokio-uring",
        }
    }
}

/// Serves until the process is ended.
pub(crate) fn serve(server: SocketAddr, runtime: Runtime) -> Result<(), Box<dyn Error>> {
    match runtime {
        Runtime::IoUring => bare::serve(server, Engine::IoUring),
        Runtime::Epoll => bare::serve(server, Engine::Epoll),
        Runtime::Monoio => monoio::serve(server),
        Runtime::TokioUring => tokio_uring::serve(server),
    }
}

/// Where a relay on a foreign runtime accepts, with room for a burst of connections.
fn listen() -> io::Result<TcpListener> {
    Ok(sqluice::io::socket::listen_tcp((Ipv4Addr::LOCALHOST, 0).into())?.into())
}

/// Tells the bench that the relay accepts.
fn announce(listener: &TcpListener) -> io::Result<()> {
    writeln!(io::stdout(), "{LISTENING}{}", listener.local_addr()?)
}
