//! A way for the client library to a server that wants a header of the PROXY protocol first: the library makes its own
//! socket, so it connects to one of ours, and what it says goes on behind the header.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::config::SendProxy;
use crate::protocol::proxy::{Header, Version};

/// What a server of these settings is told of a connection that is for no client.
pub(super) fn own_header(send_proxy: SendProxy) -> Option<Vec<u8>> {
    match send_proxy {
        SendProxy::Off => None,
        SendProxy::V1 => Some(Header::Local.encode(Version::V1)),
        SendProxy::V2 => Some(Header::Local.encode(Version::V2)),
    }
}

/// Connects to a server, says the header, and gives the address of a socket that leads there, for one connection.
pub(super) async fn bridge(server: SocketAddr, header: &[u8], patience: Duration) -> io::Result<SocketAddr> {
    let mut server = timeout(patience, TcpStream::connect(server)).await??;
    server.set_nodelay(true)?;
    server.write_all(header).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        if let Ok(Ok((mut library, _))) = timeout(patience, listener.accept()).await {
            let _ = library.set_nodelay(true);
            // Either end closing ends both, and the library sees what the server did.
            let _ = copy_bidirectional(&mut library, &mut server).await;
        }
    });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_said_over_a_bridge_comes_behind_the_header_and_is_answered() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let header = own_header(SendProxy::V1).expect("one is sent");
        let patience = Duration::from_secs(30);
        let (bridged, accepted) = tokio::join!(bridge(address, &header, patience), listener.accept());
        let (mut server, _) = accepted.expect("the bridge connects");
        let mut library = TcpStream::connect(bridged.expect("a bridge")).await.expect("it listens");
        library.write_all(b"hello").await.expect("it is open");
        let mut heard = vec![0; header.len() + 5];
        server.read_exact(&mut heard).await.expect("all of it");
        assert_eq!(heard, b"PROXY UNKNOWN\r\nhello");
        server.write_all(b"world").await.expect("it is open");
        drop(server);
        let mut answer = String::new();
        library.read_to_string(&mut answer).await.expect("up to the end");
        assert_eq!(answer, "world");
    }
}
