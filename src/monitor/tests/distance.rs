//! A long way to a stand-in: whatever either end says arrives later.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Where the long way to a server begins. A round trip takes twice `each_way`. It is there for as long as the test runs.
pub(super) async fn before(server: SocketAddr, each_way: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut ways = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(server).await.expect("the stand-in listens");
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            ways.spawn(carry(from_near, to_far, each_way));
            ways.spawn(carry(from_far, to_near, each_way));
        }
    });
    address
}

/// Neither end says anything before it has heard the other, so one message at a time is under way.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, time: Duration) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(time).await;
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
