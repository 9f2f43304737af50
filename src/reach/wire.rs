//! Whole packets over a stream, in clear or inside TLS.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::failure::failure_of;
use crate::protocol::handshake::HandshakeResponse;
use crate::protocol::packet::{HEADER_LENGTH, Header, write_packet};
use crate::tls::Back;
use crate::topology::CheckResult;

/// A connection, whatever it is made of.
pub(super) type Stream = Box<dyn Duplex>;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Duplex for S {}

/// Whole packets over a stream.
pub(super) struct Wire {
    pub(super) stream: Stream,
    pub(super) next_sequence: u8,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Wire {
        Wire { stream, next_sequence: 0 }
    }

    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, CheckResult> {
        let mut head = [0; HEADER_LENGTH];
        self.stream.read_exact(&mut head).await.map_err(|error| failure_of(&error))?;
        let header = Header::from_bytes(head);
        let length = header.payload_length as usize;
        if length > LOGIN_PACKET_BYTES_MAX {
            return Err(CheckResult::Malformed(format!("a login packet of {length} bytes")));
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.map_err(|error| failure_of(&error))?;
        self.next_sequence = header.sequence.wrapping_add(1);
        Ok(payload)
    }

    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<(), CheckResult> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH + payload.len());
        self.next_sequence = write_packet(&mut bytes, self.next_sequence, payload);
        let written = async {
            self.stream.write_all(&bytes).await?;
            // TLS may keep records back.
            self.stream.flush().await
        };
        written.await.map_err(|error| failure_of(&error))
    }

    /// Goes on inside TLS; the response to the greeting comes first there.
    pub(super) async fn secure(mut self, response: &HandshakeResponse, back: &Back) -> Result<Wire, CheckResult> {
        let mut request = Vec::new();
        response.encode_ssl_request(&mut request);
        self.send(&request).await?;
        let connector = TlsConnector::from(Arc::clone(back.config()));
        let stream = connector.connect(back.name().clone(), self.stream).await.map_err(|error| tls_failure(&error))?;
        Ok(Wire { stream: Box::new(stream), next_sequence: self.next_sequence })
    }
}

/// What breaks is the connection; what TLS itself complains of comes as an error of its own.
fn tls_failure(error: &io::Error) -> CheckResult {
    match error.get_ref() {
        Some(of_tls) => CheckResult::Unbelieved(of_tls.to_string()),
        None => failure_of(error),
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Wire").field("next_sequence", &self.next_sequence).finish_non_exhaustive()
    }
}

/// Of one packet in a login; an RSA key has less than 1 KiB.
const LOGIN_PACKET_BYTES_MAX: usize = 64 << 10;
