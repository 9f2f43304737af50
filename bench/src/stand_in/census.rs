//! Asks a stand-in server how often its tables were read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{CLIENT_DEPRECATE_EOF, command, first_packet, write_packet};

pub(super) const COM_STATISTICS: u8 = 0x09;
/// What stands before the number in the answer to [`COM_STATISTICS`].
pub(super) const READS: &str = "Table reads: ";

/// It answers from memory; longer than this only a server that has stopped takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often tables were read at this address of a stand-in server, since its start.
pub(crate) fn reads(address: SocketAddr) -> io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut received = Vec::new();
    let (_, greeted) = packet(&mut stream, &mut received)?;
    let mut response = Vec::new();
    write_packet(&mut response, greeted.wrapping_add(1), &CLIENT_DEPRECATE_EOF.to_le_bytes());
    stream.write_all(&response)?;
    packet(&mut stream, &mut received)?;
    stream.write_all(&command(COM_STATISTICS, b""))?;
    let (answer, _) = packet(&mut stream, &mut received)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let count = answer.strip_prefix(READS).and_then(|count| count.parse().ok());
    count.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("it says {answer:?} of its reads")))
}

/// The next packet and its sequence id.
fn packet(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<(Vec<u8>, u8)> {
    loop {
        if let Some((payload, sequence, length)) = first_packet(received) {
            let packet = (payload.to_vec(), sequence);
            received.drain(..length);
            return Ok(packet);
        }
        let mut chunk = [0; 1024];
        // A read with a timeout is interrupted by whatever concerns the thread, as the end of a ring that it made.
        let count = match stream.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(&chunk[..count]);
    }
}
