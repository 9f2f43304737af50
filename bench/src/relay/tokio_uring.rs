//! A relay on tokio-uring as its users would write it: a task for each direction of a connection, one buffer each.
//!
//! It passes bytes without looking at packets. tokio-uring sleeps in epoll and takes completions without entering the
//! kernel, so their work cannot be deferred to a wait for them: the ring has the next cheaper flags, which leave the work
//! to whatever system call comes next instead of interrupting the thread.

use std::error::Error;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

use super::{BUFFER_LENGTH, RING_ENTRIES, announce, listen};

pub(super) fn serve(server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_single_issuer().setup_coop_taskrun();
    tokio_uring::builder().entries(RING_ENTRIES).uring_builder(&ring).start(accept_all(server))
}

async fn accept_all(server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = listen()?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener);
    loop {
        let (client, _) = listener.accept().await?;
        tokio_uring::spawn(async move {
            if let Err(error) = relay(client, server).await {
                eprintln!("a connection: {error}");
            }
        });
    }
}

async fn relay(client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client, server) = (Rc::new(client), Rc::new(server));
    let upward = tokio_uring::spawn(pass_on(client.clone(), server.clone()));
    let downward = pass_on(server, client).await;
    upward.await.map_err(io::Error::other)?.and(downward)
}

/// Until `source` ends; then its end is passed on too.
async fn pass_on(source: Rc<TcpStream>, target: Rc<TcpStream>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_LENGTH);
    loop {
        let (received, filled) = source.read(buffer).await;
        let length = received?;
        if length == 0 {
            return target.shutdown(Shutdown::Write);
        }
        let (written, slice) = target.write_all(filled.slice(..length)).await;
        written?;
        buffer = slice.into_inner();
    }
}
