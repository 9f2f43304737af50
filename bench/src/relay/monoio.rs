//! A relay on monoio as its users would write it: a task for each direction of a connection, one buffer each.
//!
//! It passes bytes without looking at packets. The ring has the flags that monoio's way of waiting allows and that make
//! completions cheap on a single thread; the balancer's own ring has the same.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::tcp::{TcpOwnedReadHalf, TcpOwnedWriteHalf};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::{BUFFER_LENGTH, RING_ENTRIES, announce, listen};

pub(super) fn serve(server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).uring_builder(ring);
    runtime.build()?.block_on(accept_all(server))
}

async fn accept_all(server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = listen()?;
    announce(&listener)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (client, _) = listener.accept().await?;
        monoio::spawn(async move {
            if let Err(error) = relay(client, server).await {
                eprintln!("a connection: {error}");
            }
        });
    }
}

async fn relay(client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_addr(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let upward = monoio::spawn(pass_on(from_client, to_server));
    let downward = pass_on(from_server, to_client).await;
    upward.await.and(downward)
}

/// Until `source` ends; then its end is passed on too.
async fn pass_on(mut source: TcpOwnedReadHalf, mut target: TcpOwnedWriteHalf) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_LENGTH);
    loop {
        let (received, filled) = source.read(buffer).await;
        if received? == 0 {
            return target.shutdown().await;
        }
        let (written, emptied) = target.write_all(filled).await;
        written?;
        buffer = emptied;
    }
}
