//! The bytes of one connection, in clear or inside TLS.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use monoio_rustls::{ClientTlsStream, TlsConnector};
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;

use crate::certificate::HOST;
use crate::target::Encryption;

pub(super) enum Stream {
    Clear(TcpStream),
    Encrypted(Box<ClientTlsStream<TcpStream>>),
}

impl Stream {
    /// Begins TLS.
    pub(super) async fn encrypt(self, encryption: &Encryption) -> io::Result<Stream> {
        let Stream::Clear(stream) = self else { return Err(io::Error::other("TLS within TLS")) };
        let host = ServerName::try_from(HOST).expect("a good name");
        let connected = TlsConnector::from(encryption.config.clone()).connect(host, stream).await;
        connected.map(|stream| Stream::Encrypted(Box::new(stream))).map_err(io::Error::other)
    }

    pub(super) async fn write_all(&mut self, bytes: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Stream::Clear(stream) => stream.write_all(bytes).await,
            Stream::Encrypted(stream) => {
                let (written, bytes) = stream.write_all(bytes).await;
                match written {
                    Ok(count) => (stream.flush().await.map(|()| count), bytes),
                    Err(error) => (Err(error), bytes),
                }
            }
        }
    }

    pub(super) async fn read(&mut self, bytes: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Stream::Clear(stream) => stream.read(bytes).await,
            Stream::Encrypted(stream) => stream.read(bytes).await,
        }
    }

    /// How TLS began, if it did.
    pub(super) fn into_handshake_kind(self) -> Option<HandshakeKind> {
        match self {
            Stream::Clear(_) => None,
            Stream::Encrypted(stream) => stream.into_parts().1.handshake_kind(),
        }
    }
}
