//! How the control thread gets to a server: behind a PROXY header and inside TLS where that is asked for, as sessions do.
//!
//! Health checks ask over the very connection that is logged in to here. Promotions and the reading of accounts ask with a
//! client library that makes its own socket, and whose TLS judges certificates otherwise than ours. So wherever there is more
//! to a way than an address, the login is made here for them, too, and the library is led over a bridge to the connection
//! that came of it.
//!
//! | file | what is in it |
//! |---|---|
//! | `introduction` | one complete login, which also tells how a server introduces itself |
//! | `inquiry` | questions over the connection of such a login |
//! | `wire` | packets over a stream, in clear or inside TLS |
//! | `bridge` | the server that the library believes to talk to |
//! | `failure` | what errors say of the server |
//!
//! What is *not* here: what is asked (`monitor`, `failover`, `accounts`).

mod bridge;
mod failure;
mod inquiry;
mod introduction;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mysql_async::OptsBuilder;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use crate::config::{SendProxy, ServerAddress, ServerDemand};
use crate::protocol::auth::{Credential, Secret};
use crate::protocol::proxy::{Header, Version};
use crate::tls::{Back, Terms};
use crate::topology::{CheckResult, Endpoint};

pub use failure::{failure_of, legible, login_failure};
pub use inquiry::Inquiry;
pub use introduction::{Entered, Introduction};

/// The ways to all servers: the TLS that is in force.
#[derive(Debug, Clone, Default)]
pub struct Ways(Arc<ArcSwap<Terms>>);

/// The way to one server.
#[derive(Debug, Clone)]
pub struct Way {
    endpoint: Endpoint,
    tls: Option<Arc<Back>>,
    /// What the server is told of a connection that is for no client.
    header: Option<Vec<u8>>,
}

impl Ways {
    /// Those of these terms, and of whatever is put in their place.
    pub fn new(terms: Arc<ArcSwap<Terms>>) -> Ways {
        Ways(terms)
    }

    /// The way to an endpoint of a server, as it is now.
    pub fn to(&self, cluster: &str, server: &str, endpoint: Endpoint, send_proxy: SendProxy) -> Way {
        let tls = self.0.load().back(cluster, server).cloned();
        match endpoint {
            Endpoint::Unix(_) => Way { endpoint, tls: None, header: None },
            Endpoint::Tcp(_) => Way { endpoint, tls, header: own_header(send_proxy) },
        }
    }
}

impl Way {
    /// Logs in once, to hear how the server introduces itself; only the connecting has this much time. A login that
    /// succeeded is to be ended, or gone on with.
    ///
    /// # Errors
    /// When there was no login at all: nobody there, no TLS, not the protocol. A login that was refused is no error.
    pub async fn introduce(
        &self,
        user: &str,
        credential: &Credential,
        patience: Duration,
    ) -> Result<Introduction, CheckResult> {
        let Endpoint::Tcp(address) = &self.endpoint else {
            return introduction::introduce(self.socket().await?, self, user, credential).await;
        };
        let mut stream = connect(*address, patience).await?;
        if let Some(header) = &self.header {
            stream.write_all(header).await.map_err(|error| failure_of(&error))?;
        }
        introduction::introduce(Box::new(stream), self, user, credential).await
    }

    async fn socket(&self) -> Result<wire::Stream, CheckResult> {
        let Endpoint::Unix(path) = &self.endpoint else { unreachable!("TCP is connected to above") };
        let stream = UnixStream::connect(path).await.map_err(|error| failure_of(&error))?;
        Ok(Box::new(stream))
    }

    /// Where the client library has to connect to, and as whom, to speak to the server.
    ///
    /// # Errors
    /// Whatever keeps this account from logging in, where that is seen before the library tries, and when this machine cannot
    /// make a bridge.
    pub async fn library(&self, user: &str, password: &Secret, patience: Duration) -> Result<OptsBuilder, CheckResult> {
        if self.is_plain() {
            return self.direct(user, password);
        }
        let credential = Credential::of_password(password.clone());
        let entered = self.introduce(user, &credential, patience).await?.login?;
        bridge::build(entered).await.map_err(|error| failure_of(&error))
    }

    /// The library can go it alone.
    fn is_plain(&self) -> bool {
        self.tls.is_none() && self.header.is_none()
    }

    fn direct(&self, user: &str, password: &Secret) -> Result<OptsBuilder, CheckResult> {
        let password = std::str::from_utf8(password.expose());
        let password = password.map_err(|_| CheckResult::Malformed(format!("the password of {user} is not UTF-8")))?;
        let options = library_options().user(Some(user)).pass(Some(password));
        Ok(match &self.endpoint {
            Endpoint::Tcp(address) => options.ip_or_hostname(address.ip().to_string()).tcp_port(address.port()),
            Endpoint::Unix(path) => options.socket(Some(path.display().to_string())),
        })
    }

    /// Whether a server that offers TLS, or does not, is spoken to in it; nothing where it must offer it.
    fn tls_with(&self, is_offered: bool) -> Option<Option<&Back>> {
        match &self.tls {
            Some(back) if is_offered => Some(Some(back)),
            Some(back) if back.demand() != ServerDemand::Preferred => None,
            Some(_) | None => Some(None),
        }
    }

    fn is_unix_socket(&self) -> bool {
        matches!(self.endpoint, Endpoint::Unix(_))
    }
}

/// What is the same for everybody who asks with the library.
fn library_options() -> OptsBuilder {
    OptsBuilder::default().prefer_socket(false).stmt_cache_size(0)
}

/// The endpoints that an address leads to.
///
/// # Errors
/// When its name cannot be looked up.
pub async fn look_up(address: &ServerAddress) -> Result<Vec<Endpoint>, CheckResult> {
    match address {
        ServerAddress::Unix(path) => Ok(vec![Endpoint::Unix(path.clone())]),
        ServerAddress::Tcp { host, port } => {
            let found = lookup_host((host.as_str(), *port)).await;
            let found =
                found.map_err(|error| CheckResult::Unreachable(format!("{host} cannot be looked up: {error}")))?;
            Ok(found.take(ADDRESSES_MAX).map(Endpoint::Tcp).collect())
        }
    }
}

/// Only this part may be given up when it takes too long: the server has not begun to count a handshake yet.
async fn connect(address: SocketAddr, patience: Duration) -> Result<TcpStream, CheckResult> {
    match timeout(patience, TcpStream::connect(address)).await {
        Ok(connected) => connected.and_then(tuned).map_err(|error| failure_of(&error)),
        Err(_) => Err(CheckResult::TimedOut),
    }
}

fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(stream)
}

fn own_header(send_proxy: SendProxy) -> Option<Vec<u8>> {
    match send_proxy {
        SendProxy::Off => None,
        SendProxy::V1 => Some(Header::Local.encode(Version::V1)),
        SendProxy::V2 => Some(Header::Local.encode(Version::V2)),
    }
}

/// So that a connection whose other end has vanished is closed in the end.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
