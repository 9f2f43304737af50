//! Packets on a socket: whole ones in, a buffer of whole ones out.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::protocol::packet::{HEADER_LENGTH, Header, PAYLOAD_MAX, write_packet};

/// Output is sent on when it has grown to this, so that a long result needs no memory.
const OUTPUT_HIGH: usize = 64 << 10;

/// A connection's bytes.
#[derive(Debug)]
pub(super) struct Wire {
    stream: BufReader<TcpStream>,
    /// The sequence id of the next packet in either direction.
    sequence: u8,
    /// Packets not sent yet. Grows over [`OUTPUT_HIGH`] by one packet at most, if its owner looks at `is_full`.
    output: Vec<u8>,
}

/// Why there is no packet.
#[derive(Debug)]
pub(super) enum NoPacket {
    /// The peer has closed the connection, or it broke.
    Closed,
    /// The payload would be longer than allowed.
    TooLarge,
    /// A sequence id that does not continue the last one.
    OutOfOrder,
}

impl From<io::Error> for NoPacket {
    fn from(_: io::Error) -> NoPacket {
        NoPacket::Closed
    }
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Wire {
        Wire { stream: BufReader::new(stream), sequence: 0, output: Vec::new() }
    }

    /// The next command: sequence ids begin anew.
    pub(super) async fn receive_command(&mut self, payload_max: usize) -> Result<Vec<u8>, NoPacket> {
        self.sequence = 0;
        self.receive(payload_max).await
    }

    /// The next packet of the exchange, put together from its 16 MiB pieces.
    pub(super) async fn receive(&mut self, payload_max: usize) -> Result<Vec<u8>, NoPacket> {
        let mut payload = Vec::new();
        loop {
            let mut head = [0; HEADER_LENGTH];
            self.stream.read_exact(&mut head).await?;
            let header = Header::from_bytes(head);
            let length = header.payload_length as usize;
            if header.sequence != self.sequence {
                return Err(NoPacket::OutOfOrder);
            }
            self.sequence = self.sequence.wrapping_add(1);
            if payload.len() + length > payload_max {
                return Err(NoPacket::TooLarge);
            }
            let start = payload.len();
            payload.resize(start + length, 0);
            self.stream.read_exact(&mut payload[start..]).await?;
            if length < PAYLOAD_MAX {
                return Ok(payload);
            }
        }
    }

    /// Puts a packet into the output.
    pub(super) fn put(&mut self, payload: &[u8]) {
        self.sequence = write_packet(&mut self.output, self.sequence, payload);
    }

    /// Puts the first half of a packet into the output: the connection is to end inside it.
    pub(super) fn put_half(&mut self, payload: &[u8]) {
        let start = self.output.len();
        self.put(payload);
        let length = self.output.len() - start;
        self.output.truncate(start + length / 2);
    }

    /// Whether the output should be flushed before more is put.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= OUTPUT_HIGH
    }

    /// Sends the output.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        self.output.shrink_to(2 * OUTPUT_HIGH);
        Ok(())
    }
}
