//! One complete login, to learn how a server introduces itself.
//!
//! The client library that asks for health keeps the greeting to itself, and what clients are promised is made of it.
//! The login is finished and ended by COM_QUIT: a server counts every broken handshake against this host.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::connection::{failure_of, legible};
use crate::protocol::auth::{Credential, Login, LoginStep, Obstacle, Plugin};
use crate::protocol::capability::Capabilities;
use crate::protocol::collation;
use crate::protocol::command::Command;
use crate::protocol::handshake::{Greeting, HandshakeResponse, ServerHello};
use crate::protocol::packet::{HEADER_LENGTH, Header, write_packet};
use crate::protocol::response::ErrPacket;
use crate::protocol::version::{Family, ServerVersion};
use crate::topology::{CheckResult, Endpoint, GreetingFacts};

/// A server that has introduced itself.
#[derive(Debug)]
pub(super) struct Introduction {
    pub(super) facts: Arc<GreetingFacts>,
    /// What became of the login: it was accepted, or the server refused it.
    pub(super) login: Result<(), CheckResult>,
}

/// Logs in over a new connection to `endpoint` and quits.
pub(super) async fn introduce(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: &Endpoint,
    user: &str,
    credential: &Credential,
) -> Result<Introduction, CheckResult> {
    let mut wire = Wire { stream, next_sequence: 0 };
    let greeting = match Greeting::parse(&wire.receive().await?) {
        Ok(ServerHello::Greeting(greeting)) => greeting,
        Ok(ServerHello::Refused(refusal)) => return Err(refused(&refusal)),
        Err(malformed) => return Err(CheckResult::Malformed(malformed.to_string())),
    };
    let facts = Arc::new(facts(&greeting)?);
    let (login, plugin, auth_response) = Login::begin(&greeting, credential);
    let login = match endpoint {
        Endpoint::Tcp(_) => login,
        Endpoint::Unix(_) => login.over_unix_socket(),
    };
    let response = response(&facts, user, plugin, auth_response);
    let login = log_in(&mut wire, login, response, credential).await;
    match &login {
        Ok(()) => wire.quit().await?,
        // The server has finished the handshake by its refusal, and closes.
        Err(CheckResult::LoginRefused { .. }) => {}
        Err(failure) => return Err(failure.clone()),
    }
    Ok(Introduction { facts, login })
}

fn response(facts: &GreetingFacts, user: &str, plugin: Plugin, auth_response: Vec<u8>) -> HandshakeResponse {
    HandshakeResponse {
        capabilities: capabilities(facts),
        max_packet: 1 << 24,
        collation: collation::UTF8MB4_GENERAL_CI,
        user: user.as_bytes().to_vec(),
        auth_response,
        database: None,
        plugin: Some(plugin.name().to_vec()),
        attributes: Vec::new(),
    }
}

async fn log_in(
    wire: &mut Wire<impl AsyncRead + AsyncWrite + Unpin>,
    mut login: Login,
    response: HandshakeResponse,
    credential: &Credential,
) -> Result<(), CheckResult> {
    let mut payload = Vec::new();
    response.encode(&mut payload);
    wire.send(&payload).await?;
    for _ in 0..LOGIN_PACKETS_MAX {
        match login.receive(&wire.receive().await?, credential, response.capabilities) {
            LoginStep::Send(payload) => wire.send(&payload).await?,
            LoginStep::Wait => {}
            LoginStep::Accepted(_) => return Ok(()),
            LoginStep::Refused(refusal) => return Err(refused(&refusal)),
            LoginStep::Unanswerable { plugin, why } => return Err(give_up(wire, &plugin, why).await?),
            LoginStep::Malformed => {
                return Err(CheckResult::Malformed("a packet that has no place in a login".to_owned()));
            }
        }
    }
    Err(CheckResult::Malformed("its login does not end".to_owned()))
}

/// Ends a login that cannot succeed by an empty answer, so that the server finishes the handshake by refusing it.
///
/// MySQL also asks for some plugin when it does not know the account, so this may be no more than a wrong name.
async fn give_up(
    wire: &mut Wire<impl AsyncRead + AsyncWrite + Unpin>,
    plugin: &[u8],
    why: Obstacle,
) -> Result<CheckResult, CheckResult> {
    wire.send(&[]).await?;
    let asked = format!("it asked for the plugin {}: {why}", legible(plugin));
    Ok(match ErrPacket::parse(&wire.receive().await?) {
        Ok(refusal) => CheckResult::LoginRefused {
            code: refusal.code.0,
            message: format!("{} ({asked})", legible(&refusal.message)),
        },
        Err(_) => CheckResult::Malformed(asked),
    })
}

fn facts(greeting: &Greeting) -> Result<GreetingFacts, CheckResult> {
    let version = ServerVersion::parse(&greeting.version)
        .ok_or_else(|| CheckResult::Malformed(format!("no version: {}", legible(&greeting.version))))?;
    Ok(GreetingFacts {
        version_text: greeting.version.clone(),
        version,
        capabilities: greeting.capabilities,
        collation: greeting.collation,
        plugin: greeting.plugin.clone(),
    })
}

/// The least that a login needs. MariaDB takes the absence of bit 0 for a client of its own.
fn capabilities(facts: &GreetingFacts) -> Capabilities {
    let wanted = Capabilities::PROTOCOL_41
        | Capabilities::LONG_FLAG
        | Capabilities::TRANSACTIONS
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH;
    let own = match facts.family() {
        Family::MySql => Capabilities::LONG_PASSWORD,
        Family::MariaDb => Capabilities::NONE,
    };
    (wanted & facts.capabilities) | own
}

fn refused(refusal: &ErrPacket) -> CheckResult {
    CheckResult::LoginRefused { code: refusal.code.0, message: legible(&refusal.message) }
}

/// Whole packets over a stream.
struct Wire<Stream> {
    stream: Stream,
    next_sequence: u8,
}

impl<Stream: AsyncRead + AsyncWrite + Unpin> Wire<Stream> {
    async fn receive(&mut self) -> Result<Vec<u8>, CheckResult> {
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

    async fn send(&mut self, payload: &[u8]) -> Result<(), CheckResult> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH + payload.len());
        self.next_sequence = write_packet(&mut bytes, self.next_sequence, payload);
        self.stream.write_all(&bytes).await.map_err(|error| failure_of(&error))
    }

    async fn quit(&mut self) -> Result<(), CheckResult> {
        self.next_sequence = 0;
        self.send(&[Command::Quit.byte()]).await
    }
}

/// Packets of one login that a server may send; a real one sends at most five.
const LOGIN_PACKETS_MAX: usize = 16;

/// Of one packet in a login; an RSA key has less than 1 KiB.
const LOGIN_PACKET_BYTES_MAX: usize = 64 << 10;
