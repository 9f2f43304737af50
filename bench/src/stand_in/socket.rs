//! One connection's bytes, in clear or, from the moment that a client asks for it, inside TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, Stream};

pub(super) struct Socket {
    tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Socket {
        Socket { tcp, tls: None }
    }

    /// What comes from here on is TLS, as is what goes. `early` is what has come of it.
    pub(super) fn encrypt(&mut self, config: Arc<ServerConfig>, mut early: &[u8]) -> io::Result<()> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        while !early.is_empty() {
            tls.read_tls(&mut early)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.tcp)?;
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.read(bytes),
            Some(tls) => Stream::new(tls.as_mut(), &mut self.tcp).read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.write(bytes),
            Some(tls) => Stream::new(tls.as_mut(), &mut self.tcp).write(bytes),
        }
    }

    /// `WouldBlock` while TLS has records left for which the socket has no room.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => Stream::new(tls.as_mut(), &mut self.tcp).flush(),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}
