//! One MySQL connection: login, and requests whose reply is known to the last byte.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use sqluice::protocol::auth::{Credential, Login, LoginStep, Plugin, Secret};
use sqluice::protocol::capability::Capabilities;
use sqluice::protocol::handshake::{Greeting, HandshakeResponse, ServerHello};

use crate::case::{Exchange, STATEMENT_ID_IN_REPLY};
use crate::wire::{command, first_packet, write_packet};

/// Bytes taken from the socket at once, at most.
const CHUNK_MAX: usize = 256 * 1024;
/// Enough for a greeting, and for what an error has to say.
const CHUNK_MIN: usize = 1024;
/// The largest packet of a login that is waited for.
const LOGIN_PACKET_MAX: usize = 64 * 1024;

/// Who the load generator is; the candidates that authenticate know it.
pub(crate) const USER: &str = "bench";
pub(crate) const PASSWORD: &str = "bench-password";

/// Why a connection of the load generator did not get what it asked for.
#[derive(Debug)]
pub(crate) enum Fault {
    Socket {
        doing: &'static str,
        error: io::Error,
    },
    /// The other side closed the connection.
    Closed {
        doing: &'static str,
    },
    /// An ERR packet where there should have been a reply.
    Refused {
        code: u16,
        message: String,
    },
    /// What stands in a login's place is not understood.
    StrangeLogin(String),
    /// Bytes that are not those the server sent, from this place in the reply on.
    WrongReply {
        place: usize,
        length: usize,
    },
    NoReply,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Socket { doing, error } => write!(f, "{doing}: {error}"),
            Fault::Closed { doing } => write!(f, "connection closed while {doing}"),
            Fault::Refused { code, message } => write!(f, "error {code}: {message}"),
            Fault::StrangeLogin(what) => write!(f, "login: {what}"),
            Fault::WrongReply { place, length } => {
                write!(f, "reply of {length} bytes is wrong from byte {place} on")
            }
            Fault::NoReply => write!(f, "no reply"),
        }
    }
}

pub(super) struct Client {
    stream: TcpStream,
    /// Where the socket's bytes go; empty while a read is in flight.
    chunk: Vec<u8>,
}

impl Client {
    /// `reply_length` is that of the replies to come: they are taken in as few reads as they come in.
    pub(super) async fn log_in(address: SocketAddr, reply_length: usize) -> Result<Client, Fault> {
        let stream =
            TcpStream::connect_addr(address).await.map_err(|error| Fault::Socket { doing: "connecting", error })?;
        stream.set_nodelay(true).map_err(|error| Fault::Socket { doing: "connecting", error })?;
        // One byte more than the reply, so that surplus bytes are seen in the same read.
        let chunk = Vec::with_capacity((reply_length + 1).clamp(CHUNK_MIN, CHUNK_MAX));
        let mut client = Client { stream, chunk };
        client.authenticate().await?;
        Ok(client)
    }

    /// Sends the request and compares every byte of what comes back.
    pub(super) async fn exchange(&mut self, exchange: &mut Exchange) -> Result<(), Fault> {
        exchange.request = self.send(std::mem::take(&mut exchange.request)).await?;
        let mut expected = &exchange.reply[..];
        while !expected.is_empty() {
            self.receive("reading a reply").await?;
            match expected.strip_prefix(&self.chunk[..]) {
                Some(rest) => expected = rest,
                None => {
                    return Err(self.explain(&exchange.reply, exchange.reply.len() - expected.len()));
                }
            }
        }
        Ok(())
    }

    /// Prepares a statement; returns the id it got, which is all that may differ from the expected reply.
    pub(super) async fn prepare(&mut self, exchange: Exchange) -> Result<u32, Fault> {
        self.send(exchange.request).await?;
        let mut reply = Vec::new();
        while reply.len() < exchange.reply.len() {
            self.receive("preparing a statement").await?;
            reply.extend_from_slice(&self.chunk);
            if reply.get(4) == Some(&0xFF) {
                return Err(self.explain(&exchange.reply, 0));
            }
        }
        let id: [u8; 4] = reply[STATEMENT_ID_IN_REPLY].try_into().expect("four bytes");
        reply[STATEMENT_ID_IN_REPLY].copy_from_slice(&exchange.reply[STATEMENT_ID_IN_REPLY]);
        match first_difference(&exchange.reply, &reply) {
            None => Ok(u32::from_le_bytes(id)),
            Some(place) => Err(Fault::WrongReply { place, length: exchange.reply.len() }),
        }
    }

    pub(super) async fn quit(mut self) -> Result<(), Fault> {
        self.send(command(0x01, b"")).await?;
        Ok(())
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let (result, bytes) = self.stream.write_all(bytes).await;
        result.map_err(|error| Fault::Socket { doing: "sending", error })?;
        Ok(bytes)
    }

    /// Takes what has come into `chunk`, in place of what was there.
    async fn receive(&mut self, doing: &'static str) -> Result<(), Fault> {
        let (result, chunk) = self.stream.read(std::mem::take(&mut self.chunk)).await;
        self.chunk = chunk;
        match result {
            Ok(0) => Err(Fault::Closed { doing }),
            Ok(_) => Ok(()),
            Err(error) => Err(Fault::Socket { doing, error }),
        }
    }

    /// Why the chunk is not what stands at `start` of the reply.
    fn explain(&self, reply: &[u8], start: usize) -> Fault {
        match first_packet(&self.chunk) {
            Some((payload, _, _)) if start == 0 && payload.first() == Some(&0xFF) => refusal(payload),
            Some(_) | None => {
                let place = first_difference(&reply[start..], &self.chunk).unwrap_or(reply.len() - start);
                Fault::WrongReply { place: start + place, length: reply.len() }
            }
        }
    }

    async fn authenticate(&mut self) -> Result<(), Fault> {
        let mut received = Vec::new();
        let (payload, mut sequence) = self.login_packet(&mut received).await?;
        let greeting = match Greeting::parse(&payload) {
            Ok(ServerHello::Greeting(greeting)) => greeting,
            Ok(ServerHello::Refused(_)) => return Err(refusal(&payload)),
            Err(malformed) => return Err(Fault::StrangeLogin(malformed.to_string())),
        };
        let credential = Credential::Cleartext(Secret::new(PASSWORD));
        let (mut login, plugin, auth_response) = Login::begin(&greeting, &credential);
        let mut answer = Vec::new();
        response(plugin, auth_response).encode(&mut answer);
        loop {
            let mut packet = Vec::new();
            write_packet(&mut packet, sequence.wrapping_add(1), &answer);
            self.send(packet).await?;
            answer = loop {
                let payload;
                (payload, sequence) = self.login_packet(&mut received).await?;
                match login.receive(&payload, &credential, CAPABILITIES) {
                    LoginStep::Send(answer) => break answer,
                    LoginStep::Wait => {}
                    LoginStep::Accepted(_) => return Ok(()),
                    LoginStep::Refused(_) => return Err(refusal(&payload)),
                    LoginStep::Unanswerable { why, .. } => {
                        return Err(Fault::StrangeLogin(why.to_string()));
                    }
                    LoginStep::Malformed => {
                        return Err(Fault::StrangeLogin("not a login packet".to_owned()));
                    }
                }
            };
        }
    }

    /// The next packet of the login, taken out of `received`, with its sequence id.
    async fn login_packet(&mut self, received: &mut Vec<u8>) -> Result<(Vec<u8>, u8), Fault> {
        loop {
            if let Some((payload, sequence, length)) = first_packet(received) {
                let packet = (payload.to_vec(), sequence);
                received.drain(..length);
                return if packet.0.first() == Some(&0xFF) { Err(refusal(&packet.0)) } else { Ok(packet) };
            }
            if received.len() > LOGIN_PACKET_MAX {
                return Err(Fault::StrangeLogin("a packet without end".to_owned()));
            }
            self.receive("logging in").await?;
            received.extend_from_slice(&self.chunk);
        }
    }
}

/// What a current client says of itself. [`ResultEnd::OkPacket`](crate::wire::ResultEnd) goes with it.
const CAPABILITIES: Capabilities = Capabilities::LONG_PASSWORD
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PS_MULTI_RESULTS)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::DEPRECATE_EOF);

fn response(plugin: Plugin, auth_response: Vec<u8>) -> HandshakeResponse {
    HandshakeResponse {
        capabilities: CAPABILITIES,
        max_packet: 0x0100_0000,
        collation: 45, // utf8mb4_general_ci, which both families have
        user: USER.as_bytes().to_vec(),
        auth_response,
        database: None,
        plugin: Some(plugin.name().to_vec()),
        attributes: Vec::new(),
    }
}

/// What an ERR packet says.
fn refusal(payload: &[u8]) -> Fault {
    let code = payload.get(1..3).map_or(0, |code| u16::from_le_bytes([code[0], code[1]]));
    let text = payload.get(3..).unwrap_or_default();
    // `#` and five characters of SQLSTATE stand before the message, except before the login.
    let message = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
    Fault::Refused { code, message: String::from_utf8_lossy(message).into_owned() }
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
