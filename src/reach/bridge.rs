//! The server that the client library believes to talk to: it greets as the real one did, lets in whoever knows a password that
//! was made for this one connection, and from then on passes bytes between the two.
//!
//! Invariant: nobody but the library of this process gets to the server, though anybody on this machine can connect.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use mysql_async::OptsBuilder;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::introduction::Entered;
use super::library_options;
use super::wire::Wire;
use crate::protocol::auth::{Plugin, Secret, Verification, Verifier, Verify, VerifyRequest};
use crate::protocol::handshake::{ClientHello, Greeting, Salt};
use crate::protocol::response::{OK_HEADER, OkPacket};
use crate::protocol::status::StatusFlags;
use crate::topology::CheckResult;

/// Leads to the server that was logged in to. The bridge is gone when either end closes, or when the library does not come.
pub(super) async fn build(entered: Entered) -> io::Result<OptsBuilder> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let password: String = random::<20>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let toll = Toll { verifier: Verifier::Cleartext(Secret::new(password.as_bytes())), salt: salt()? };
    tokio::spawn(serve(listener, entered, toll));
    let options = library_options().ip_or_hostname(Ipv4Addr::LOCALHOST.to_string()).tcp_port(port);
    Ok(options.user(Some(PASSENGER)).pass(Some(password)))
}

/// What the library proves itself by.
struct Toll {
    verifier: Verifier,
    salt: Salt,
}

async fn serve(listener: TcpListener, mut entered: Entered, toll: Toll) {
    match timeout(PATIENCE, library(&listener, &entered, &toll)).await {
        Ok(Ok(mut library)) => {
            // Either end closing ends both, and the library sees what the server did.
            let _ = copy_bidirectional(&mut library.stream, &mut entered.wire.stream).await;
        }
        // The server counts a connection that just breaks off.
        Ok(Err(_)) | Err(_) => _ = entered.quit().await,
    }
}

/// Waits for the library. Whoever else connects is turned away.
async fn library(listener: &TcpListener, entered: &Entered, toll: &Toll) -> io::Result<Wire> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut wire = Wire::new(Box::new(stream));
        if let Ok(true) = let_in(&mut wire, entered, toll).await {
            return Ok(wire);
        }
    }
}

async fn let_in(wire: &mut Wire, entered: &Entered, toll: &Toll) -> Result<bool, CheckResult> {
    let plugin = Plugin::NativePassword.name().to_vec();
    let capabilities = entered.capabilities;
    let greeting = Greeting { salt: toll.salt, capabilities, plugin, ..entered.greeting.clone() };
    wire.send(&encoded(|out| greeting.encode(out))).await?;
    let Ok(ClientHello::Response(hello)) = ClientHello::parse(&wire.receive().await?, capabilities) else {
        return Ok(false);
    };
    let request = VerifyRequest {
        verifier: &toll.verifier,
        salt: toll.salt,
        fresh_salt: toll.salt,
        nonce: [0; 32],
        client_plugin: hello.plugin.as_deref(),
        response: &hello.auth_response,
        plugin_auth: true,
        learn_cleartext: false,
        in_private: false,
        force_switch: false,
    };
    let is_library = matches!(Verification::begin(request).1, Verify::Accept(_));
    if is_library {
        let ok = OkPacket { status: StatusFlags::AUTOCOMMIT, ..OkPacket::default() };
        wire.send(&encoded(|out| ok.encode(OK_HEADER, capabilities, out))).await?;
    }
    Ok(is_library)
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn salt() -> io::Result<Salt> {
    random().map(Salt::from_random)
}

fn random<const LENGTH: usize>() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Who the library logs in as at a bridge.
const PASSENGER: &str = "sqluice";

/// How long the library may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use mysql_async::Conn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::protocol::capability::Capabilities;
    use crate::topology::captured;

    /// A bridge to a server of which the other end is given.
    async fn bridge() -> (OptsBuilder, DuplexStream) {
        let (ours, theirs) = duplex(1 << 16);
        let facts = captured::mariadb_10_11();
        let greeting = Greeting {
            version: facts.version_text,
            connection_id: 1807,
            salt: Salt([1; 20]),
            capabilities: facts.capabilities,
            collation: facts.collation,
            status: StatusFlags::AUTOCOMMIT,
            plugin: facts.plugin,
        };
        let capabilities = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
        let entered = Entered { wire: Wire::new(Box::new(ours)), greeting, capabilities };
        (build(entered).await.expect("a bridge"), theirs)
    }

    fn told_nothing(options: OptsBuilder) -> OptsBuilder {
        options.max_allowed_packet(Some(1 << 20)).wait_timeout(Some(28_800))
    }

    #[tokio::test]
    async fn the_library_comes_over_and_is_told_the_server_s_own_number() {
        let (options, mut server) = bridge().await;
        let mut library = Conn::new(told_nothing(options)).await.expect("it knows the password");
        assert_eq!(library.id(), 1807);
        let ping = tokio::spawn(async move { mysql_async::prelude::Queryable::ping(&mut library).await });
        let mut heard = [0; 5];
        server.read_exact(&mut heard).await.expect("a ping");
        assert_eq!(heard, [1, 0, 0, 0, 0x0E]);
        server.write_all(&[7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]).await.expect("it is open");
        ping.await.expect("no panic").expect("an OK");
    }

    #[tokio::test]
    async fn whoever_else_comes_is_turned_away_and_the_library_let_in_behind_it() {
        let (options, _server) = bridge().await;
        let stranger = Conn::new(told_nothing(options.clone()).pass(Some("guessed"))).await;
        assert!(stranger.is_err(), "it does not know the password");
        Conn::new(told_nothing(options)).await.expect("the library comes later");
    }
}
