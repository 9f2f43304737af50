//! One MySQL connection, and requests whose reply is known: to the last byte, or in its shape.

use std::net::SocketAddr;

use monoio::net::TcpStream;
use rustls::HandshakeKind;

use super::fault::{Fault, refusal};
use super::shape::{Follower, Progress};
use super::stream::Stream;
use crate::dataset::Shape;
use crate::program::Exchange;
use crate::reply::{Comparison, Expected, STATEMENT_ID_IN_REPLY};
use crate::target::{Begin, Encryption, Failovers, SCHEMA, Target};
use crate::wire::{command, first_packet};

/// Bytes taken from the socket at once, at most.
const CHUNK_MAX: usize = 256 * 1024;
/// Servers in a row that may send a login on.
const HOPS_MAX: usize = 8;
/// Enough for a greeting, and for what an error has to say.
const CHUNK_MIN: usize = 1024;

pub(super) struct Client {
    stream: Stream,
    /// Where the socket's bytes go; empty while a read is in flight.
    chunk: Vec<u8>,
}

impl Client {
    /// `reply_length` is that of the replies to come: they are taken in as few reads as they come in.
    pub(super) async fn log_in(target: &Target, reply_length: usize) -> Result<Client, Fault> {
        let database = match target.comparison {
            Comparison::Bytes => None,
            Comparison::Shape => Some(SCHEMA.as_bytes()),
        };
        Client::log_in_with(target, database, reply_length).await
    }

    pub(super) async fn log_in_with(
        target: &Target,
        database: Option<&[u8]>,
        reply_length: usize,
    ) -> Result<Client, Fault> {
        let mut address = target.address;
        for _ in 0..=HOPS_MAX {
            let login = Client::log_in_at(address, target, database, reply_length).await;
            let elsewhere = login.as_ref().err().and_then(Fault::elsewhere);
            match elsewhere.filter(|_| target.failovers == Failovers::Follow) {
                Some(elsewhere) => address = elsewhere?,
                None => return login,
            }
        }
        Err(Fault::StrangeLogin(format!("more than {HOPS_MAX} servers in a row send it on, the last one to {address}")))
    }

    async fn log_in_at(
        address: SocketAddr,
        target: &Target,
        database: Option<&[u8]>,
        reply_length: usize,
    ) -> Result<Client, Fault> {
        let stream =
            TcpStream::connect_addr(address).await.map_err(|error| Fault::Socket { doing: "connecting", error })?;
        stream.set_nodelay(true).map_err(|error| Fault::Socket { doing: "connecting", error })?;
        // One byte more than the reply, so that surplus bytes are seen in the same read.
        let chunk = Vec::with_capacity((reply_length + 1).clamp(CHUNK_MIN, CHUNK_MAX));
        let mut client = Client { stream: Stream::Clear(stream), chunk };
        let mut later = target.encryption.as_ref();
        if let Some(encryption) = later.take_if(|encryption| encryption.begin == Begin::AtOnce) {
            client = client.encrypt(encryption).await?;
        }
        client.authenticate(&target.account, database, later).await
    }

    pub(super) async fn encrypt(self, encryption: &Encryption) -> Result<Client, Fault> {
        let encrypted = self.stream.encrypt(encryption).await;
        let stream = encrypted.map_err(|error| Fault::Socket { doing: "beginning TLS", error })?;
        Ok(Client { stream, ..self })
    }

    /// Sends the request and judges what comes back.
    pub(super) async fn exchange(&mut self, exchange: &mut Exchange) -> Result<(), Fault> {
        exchange.request = self.send(std::mem::take(&mut exchange.request)).await?;
        match &exchange.expected {
            Expected::Bytes(reply) => self.compare(reply).await,
            Expected::Shape(shape) => self.follow(*shape).await.map(drop),
        }
    }

    async fn compare(&mut self, reply: &[u8]) -> Result<(), Fault> {
        let mut expected = reply;
        while !expected.is_empty() {
            let chunk = self.receive("reading a reply").await?;
            match expected.strip_prefix(chunk) {
                Some(rest) => expected = rest,
                None => return Err(explain(chunk, reply, reply.len() - expected.len())),
            }
        }
        Ok(())
    }

    /// Returns the first bytes of the reply.
    async fn follow(&mut self, shape: Shape) -> Result<Vec<u8>, Fault> {
        let mut follower = Follower::new(shape);
        let mut start = Vec::new();
        loop {
            let chunk = self.receive("reading a reply").await?;
            let missing = STATEMENT_ID_IN_REPLY.end.saturating_sub(start.len());
            start.extend_from_slice(&chunk[..missing.min(chunk.len())]);
            if follower.take(chunk)? == Progress::Over {
                return Ok(start);
            }
        }
    }

    /// Prepares a statement; returns the id it got, which is all that may differ from the expected reply.
    pub(super) async fn prepare(&mut self, exchange: Exchange) -> Result<u32, Fault> {
        self.send(exchange.request).await?;
        let start = match exchange.expected {
            Expected::Bytes(reply) => self.compare_but_id(&reply).await?,
            Expected::Shape(shape) => self.follow(shape).await?,
        };
        let id = start[STATEMENT_ID_IN_REPLY].try_into().expect("four bytes");
        Ok(u32::from_le_bytes(id))
    }

    async fn compare_but_id(&mut self, expected: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut reply = Vec::new();
        while reply.len() < expected.len() {
            let chunk = self.receive("preparing a statement").await?;
            reply.extend_from_slice(chunk);
            if reply.get(4) == Some(&0xFF) {
                return Err(explain(&reply, expected, 0));
            }
        }
        let mut without_id = reply.clone();
        without_id[STATEMENT_ID_IN_REPLY].copy_from_slice(&expected[STATEMENT_ID_IN_REPLY]);
        match first_difference(expected, &without_id) {
            None => Ok(reply),
            Some(place) => Err(Fault::WrongReply { place, length: expected.len() }),
        }
    }

    pub(super) async fn quit(mut self) -> Result<(), Fault> {
        self.send(command(0x01, b"")).await?;
        Ok(())
    }

    /// Leaves a session whose TLS has to have gone on with an earlier one.
    pub(super) async fn quit_resumed(mut self) -> Result<(), Fault> {
        self.send(command(0x01, b"")).await?;
        match self.stream.into_handshake_kind() {
            Some(HandshakeKind::Resumed) => Ok(()),
            Some(_) | None => Err(Fault::NotResumed),
        }
    }

    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let (result, bytes) = self.stream.write_all(bytes).await;
        result.map_err(|error| Fault::Socket { doing: "sending", error })?;
        Ok(bytes)
    }

    /// What has come.
    pub(super) async fn receive(&mut self, doing: &'static str) -> Result<&[u8], Fault> {
        let (result, chunk) = self.stream.read(std::mem::take(&mut self.chunk)).await;
        self.chunk = chunk;
        match result {
            Ok(0) => Err(Fault::Closed { doing }),
            Ok(_) => Ok(&self.chunk),
            Err(error) => Err(Fault::Socket { doing, error }),
        }
    }
}

/// Why the chunk is not what stands at `start` of the reply.
fn explain(chunk: &[u8], reply: &[u8], start: usize) -> Fault {
    match first_packet(chunk) {
        Some((payload, _, _)) if start == 0 && payload.first() == Some(&0xFF) => refusal(payload),
        Some(_) | None => {
            let place = first_difference(&reply[start..], chunk).unwrap_or(reply.len() - start);
            Fault::WrongReply { place: start + place, length: reply.len() }
        }
    }
}

/// Where two byte strings part; `None` when they are equal.
fn first_difference(expected: &[u8], found: &[u8]) -> Option<usize> {
    let common = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    (common < expected.len() || common < found.len()).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_also_in_length() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"abd"), Some(2));
        assert_eq!(first_difference(b"abc", b"ab"), Some(2));
        assert_eq!(first_difference(b"abc", b"abcd"), Some(3));
    }

    #[test]
    fn an_error_is_told_with_and_without_its_state() {
        assert_eq!(refusal(b"\xFF\x15\x04#28000Access denied").to_string(), "error 1045: Access denied");
        assert_eq!(refusal(b"\xFF\x10\x04Too many connections").to_string(), "error 1040: Too many connections");
    }
}
