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
        Endpoint::Unix(_) => login.in_private(),
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

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::protocol::auth::Secret;
    use crate::protocol::packet::build_packet;

    /// The greeting of MariaDB 10.11.19, without its header.
    const GREETING: &[u8] = b"\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\0\x05\0\0\0ABCDEFGH\0\xfe\xf7\x08\x02\0\xff\x81\x15\
                              \0\0\0\0\0\0\x1d\0\0\0IJKLMNOPQRST\0mysql_native_password\0";
    const OK: &[u8] = b"\0\0\0\x02\0\0\0";
    const DENIED: &[u8] = b"\xff\x15\x04#28000Access denied";
    const QUIT: &[u8] = b"\x01\0\0\0\x01";

    /// Lets a server say these packets, one after each packet of ours, and gives what we made of it and the last bytes
    /// that we sent.
    async fn visit(says: &[&[u8]]) -> (Result<Introduction, CheckResult>, Vec<u8>) {
        let (ours, mut theirs) = duplex(1 << 16);
        let server = async move {
            let mut last = Vec::new();
            for (number, payload) in says.iter().enumerate() {
                let mut bytes = Vec::new();
                build_packet(&mut bytes, 2 * number as u8, |writer| writer.bytes(payload));
                theirs.write_all(&bytes).await.expect("we still listen");
                last = receive(&mut theirs).await;
            }
            last
        };
        let endpoint = Endpoint::Tcp(([127, 0, 0, 1], 3306).into());
        let credential = Credential::of_password(Secret::new(*b"watches"));
        tokio::join!(introduce(ours, &endpoint, "monitor", &credential), server)
    }

    /// One packet with its header, or nothing at the end of the stream.
    async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LENGTH];
        if stream.read_exact(&mut bytes).await.is_err() {
            return Vec::new();
        }
        let length = Header::parse(&bytes).expect("four bytes").payload_length as usize;
        bytes.resize(HEADER_LENGTH + length, 0);
        stream.read_exact(&mut bytes[HEADER_LENGTH..]).await.expect("the rest of the packet");
        bytes
    }

    async fn check_failure(says: &[&[u8]], expected: CheckResult, last_sent: &[u8]) {
        let (result, last) = visit(says).await;
        assert_eq!(result.map(|introduction| introduction.login).and_then(|login| login), Err(expected));
        assert_eq!(last, last_sent);
    }

    #[tokio::test]
    async fn a_visit_learns_the_greeting_and_quits() {
        let (introduction, last) = visit(&[GREETING, OK]).await;
        let introduction = introduction.unwrap();
        assert_eq!(introduction.login, Ok(()));
        assert_eq!(*introduction.facts, crate::topology::captured::mariadb_10_11());
        assert_eq!(last, QUIT);
    }

    #[tokio::test]
    async fn a_refusal_before_the_greeting_has_no_sql_state() {
        let message = "Too many connections".to_owned();
        check_failure(&[b"\xff\x10\x04Too many connections"], CheckResult::LoginRefused { code: 1040, message }, &[])
            .await;
    }

    #[tokio::test]
    async fn a_refused_login_still_tells_who_refused() {
        let (introduction, last) = visit(&[GREETING, DENIED]).await;
        let refused = CheckResult::LoginRefused { code: 1045, message: "Access denied".to_owned() };
        assert_eq!(introduction.unwrap().login, Err(refused));
        assert_eq!(last, b"", "a refused login is over");
    }

    #[tokio::test]
    async fn a_login_that_cannot_succeed_is_finished_by_an_empty_answer() {
        let (introduction, _) =
            visit(&[GREETING, b"\xfeauth_gssapi_client\0ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", DENIED]).await;
        let login = introduction.unwrap().login;
        let Err(CheckResult::LoginRefused { code: 1045, message }) = login else { panic!("{login:?}") };
        assert!(message.starts_with("Access denied (it asked for the plugin auth_gssapi_client"), "{message}");
    }

    #[tokio::test]
    async fn what_is_not_a_login_is_malformed() {
        for (says, what) in [
            (vec![&b"HTTP/1.1 400"[..]], "the first packet"),
            (vec![GREETING, b"\x42"], "the reply to the login"),
            (vec![&GREETING[..40]], "the greeting's end"),
        ] {
            let (result, _) = visit(&says).await;
            let result = result.map(|introduction| introduction.login);
            assert!(matches!(result, Err(CheckResult::Malformed(_))), "{what}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_packet_that_is_too_long_is_not_waited_for() {
        let (ours, mut theirs) = duplex(64);
        theirs.write_all(b"\xff\xff\xff\0").await.unwrap();
        let endpoint = Endpoint::Tcp(([127, 0, 0, 1], 3306).into());
        let result = introduce(ours, &endpoint, "monitor", &Credential::Empty).await;
        assert_eq!(result.unwrap_err(), CheckResult::Malformed("a login packet of 16777215 bytes".to_owned()));
    }

    #[tokio::test]
    async fn an_end_instead_of_a_greeting_is_a_broken_connection() {
        check_failure(&[], CheckResult::Reset, &[]).await;
    }
}
