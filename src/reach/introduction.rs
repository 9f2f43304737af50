//! One complete login, to learn how a server introduces itself.
//!
//! The client library keeps the greeting to itself, and what clients are promised is made of it. The login is finished, and
//! ended by COM_QUIT or gone on with: a server counts every broken handshake against this host.

use std::sync::Arc;

use super::Way;
use super::failure::legible;
use super::wire::{Stream, Wire};
use crate::protocol::auth::{Credential, Login, LoginStep, Obstacle, Plugin};
use crate::protocol::capability::Capabilities;
use crate::protocol::collation;
use crate::protocol::command::Command;
use crate::protocol::handshake::{Greeting, HandshakeResponse, ServerHello};
use crate::protocol::response::ErrPacket;
use crate::protocol::version::{Family, ServerVersion};
use crate::topology::{CheckResult, GreetingFacts};

/// A server that has introduced itself.
#[derive(Debug)]
pub struct Introduction {
    /// What it said of itself.
    pub facts: Arc<GreetingFacts>,
    /// What became of the login: it was accepted, or the server refused it.
    pub login: Result<Entered, CheckResult>,
}

/// A login that was accepted.
#[derive(Debug)]
pub struct Entered {
    pub(super) wire: Wire,
    pub(super) greeting: Greeting,
    /// What both ends do.
    pub(super) capabilities: Capabilities,
}

impl Entered {
    /// Ends it.
    ///
    /// # Errors
    /// When the server did not hear of it.
    pub async fn quit(mut self) -> Result<(), CheckResult> {
        self.wire.next_sequence = 0;
        self.wire.send(&[Command::Quit.byte()]).await
    }
}

/// Logs in over a new connection.
pub(super) async fn introduce(
    stream: Stream,
    way: &Way,
    user: &str,
    credential: &Credential,
) -> Result<Introduction, CheckResult> {
    let mut wire = Wire::new(stream);
    let greeting = match Greeting::parse(&wire.receive().await?) {
        Ok(ServerHello::Greeting(greeting)) => greeting,
        Ok(ServerHello::Refused(refusal)) => return Err(refused(&refusal)),
        Err(malformed) => return Err(CheckResult::Malformed(malformed.to_string())),
    };
    let facts = Arc::new(facts(&greeting)?);
    let tls = way.tls_with(greeting.capabilities.contains(Capabilities::SSL)).ok_or_else(no_tls)?;
    let (login, plugin, auth_response) = Login::begin(&greeting, credential);
    let login = if tls.is_some() || way.is_unix_socket() { login.in_private() } else { login };
    let mut response = response(&facts, user, plugin, auth_response);
    let capabilities = response.capabilities;
    if let Some(back) = tls {
        response.capabilities |= Capabilities::SSL;
        wire = wire.secure(&response, back).await?;
    }
    match log_in(&mut wire, login, response, credential).await {
        Ok(()) => Ok(Introduction { facts, login: Ok(Entered { wire, greeting, capabilities }) }),
        // The server has finished the handshake by its refusal, and closes.
        Err(refusal @ CheckResult::LoginRefused { .. }) => Ok(Introduction { facts, login: Err(refusal) }),
        Err(failure) => Err(failure),
    }
}

fn no_tls() -> CheckResult {
    CheckResult::Unbelieved("the server does not offer it: give it a certificate, or change its `tls` here".to_owned())
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
    wire: &mut Wire,
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
async fn give_up(wire: &mut Wire, plugin: &[u8], why: Obstacle) -> Result<CheckResult, CheckResult> {
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

/// What a login needs, what the client library does with a connection, and several statements to a question. MariaDB takes the absence of bit 0 for a client of
/// its own.
fn capabilities(facts: &GreetingFacts) -> Capabilities {
    let wanted = Capabilities::PROTOCOL_41
        | Capabilities::LONG_FLAG
        | Capabilities::TRANSACTIONS
        | Capabilities::SECURE_CONNECTION
        | Capabilities::MULTI_STATEMENTS
        | Capabilities::MULTI_RESULTS
        | Capabilities::PS_MULTI_RESULTS
        | Capabilities::DEPRECATE_EOF
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

/// Packets of one login that a server may send; a real one sends at most five.
const LOGIN_PACKETS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::protocol::auth::Secret;
    use crate::protocol::packet::{HEADER_LENGTH, Header, build_packet};
    use crate::topology::Endpoint;

    /// The greeting of MariaDB 10.11.19, without its header.
    const GREETING: &[u8] = b"\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\0\x05\0\0\0ABCDEFGH\0\xfe\xf7\x08\x02\0\xff\x81\x15\
                              \0\0\0\0\0\0\x1d\0\0\0IJKLMNOPQRST\0mysql_native_password\0";
    const OK: &[u8] = b"\0\0\0\x02\0\0\0";
    const DENIED: &[u8] = b"\xff\x15\x04#28000Access denied";
    const QUIT: &[u8] = b"\x01\0\0\0\x01";

    /// What a server said of itself, and what became of the login.
    type Visited = Result<(Arc<GreetingFacts>, Result<(), CheckResult>), CheckResult>;

    /// Lets a server say these packets, one after each packet of ours, and gives what we made of it and the last bytes
    /// that we sent.
    async fn visit(says: &[&[u8]]) -> (Visited, Vec<u8>) {
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
        let credential = Credential::of_password(Secret::new(*b"watches"));
        let visitor = async {
            let introduction = introduce(Box::new(ours), &way(), "monitor", &credential).await?;
            let login = match introduction.login {
                Ok(entered) => entered.quit().await,
                Err(refusal) => Err(refusal),
            };
            Ok((introduction.facts, login))
        };
        tokio::join!(visitor, server)
    }

    fn way() -> Way {
        Way { endpoint: Endpoint::Tcp(([127, 0, 0, 1], 3306).into()), tls: None, header: None }
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
        assert_eq!(result.and_then(|(_, login)| login), Err(expected));
        assert_eq!(last, last_sent);
    }

    #[tokio::test]
    async fn a_visit_learns_the_greeting_and_quits() {
        let (introduction, last) = visit(&[GREETING, OK]).await;
        let (facts, login) = introduction.unwrap();
        assert_eq!(login, Ok(()));
        assert_eq!(*facts, crate::topology::captured::mariadb_10_11());
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
        assert_eq!(introduction.unwrap().1, Err(refused));
        assert_eq!(last, b"", "a refused login is over");
    }

    #[tokio::test]
    async fn a_login_that_cannot_succeed_is_finished_by_an_empty_answer() {
        let (introduction, _) =
            visit(&[GREETING, b"\xfeauth_gssapi_client\0ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", DENIED]).await;
        let login = introduction.unwrap().1;
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
            let result = result.map(|(_, login)| login);
            assert!(matches!(result, Err(CheckResult::Malformed(_))), "{what}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_packet_that_is_too_long_is_not_waited_for() {
        let (ours, mut theirs) = duplex(64);
        theirs.write_all(b"\xff\xff\xff\0").await.unwrap();
        let result = introduce(Box::new(ours), &way(), "monitor", &Credential::Empty).await;
        assert_eq!(result.unwrap_err(), CheckResult::Malformed("a login packet of 16777215 bytes".to_owned()));
    }

    #[tokio::test]
    async fn an_end_instead_of_a_greeting_is_a_broken_connection() {
        check_failure(&[], CheckResult::Reset, &[]).await;
    }
}
