//! A login as drivers do it, also at a server that wants the password under its RSA key.

use sqluice::protocol::auth::{Credential, Login, LoginStep, Plugin, Secret};
use sqluice::protocol::capability::Capabilities;
use sqluice::protocol::handshake::{Greeting, HandshakeResponse, ServerHello};

use super::client::Client;
use super::fault::{Fault, refusal};
use crate::target::{Account, Encryption};
use crate::wire::{first_packet, write_packet};

/// The largest packet of a login that is waited for.
const LOGIN_PACKET_MAX: usize = 64 * 1024;

impl Client {
    /// With `encryption`, what comes after the greeting is said inside TLS.
    pub(super) async fn authenticate(
        mut self,
        account: &Account,
        database: Option<&[u8]>,
        encryption: Option<&Encryption>,
    ) -> Result<Client, Fault> {
        let mut received = Vec::new();
        let (payload, mut sequence) = self.login_packet(&mut received).await?;
        let greeting = match Greeting::parse(&payload) {
            Ok(ServerHello::Greeting(greeting)) => greeting,
            Ok(ServerHello::Refused(_)) => return Err(refusal(&payload)),
            Err(malformed) => return Err(Fault::StrangeLogin(malformed.to_string())),
        };
        if !greeting.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            return Err(Fault::StrangeLogin(
                "the server has no CLIENT_DEPRECATE_EOF, on which the bench stands".to_owned(),
            ));
        }
        let credential = Credential::of_password(Secret::new(account.password.as_bytes()));
        let (mut login, plugin, auth_response) = Login::begin(&greeting, &credential);
        let mut response = response(account, database, plugin, auth_response);
        if let Some(encryption) = encryption {
            response.capabilities = response.capabilities.with(Capabilities::SSL);
            sequence = sequence.wrapping_add(1);
            self.send(ssl_request(&response, sequence)).await?;
            self = self.encrypt(encryption).await?;
        }
        let capabilities = response.capabilities;
        let mut answer = Vec::new();
        response.encode(&mut answer);
        loop {
            let mut packet = Vec::new();
            write_packet(&mut packet, sequence.wrapping_add(1), &answer);
            self.send(packet).await?;
            answer = loop {
                let payload;
                (payload, sequence) = self.login_packet(&mut received).await?;
                match login.receive(&payload, &credential, capabilities) {
                    LoginStep::Send(answer) => break answer,
                    LoginStep::Wait => {}
                    LoginStep::Accepted(_) => return Ok(self),
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
            received.extend_from_slice(self.receive("logging in").await?);
        }
    }
}

fn ssl_request(response: &HandshakeResponse, sequence: u8) -> Vec<u8> {
    let (mut payload, mut packet) = (Vec::new(), Vec::new());
    response.encode_ssl_request(&mut payload);
    write_packet(&mut packet, sequence, &payload);
    packet
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

fn response(account: &Account, database: Option<&[u8]>, plugin: Plugin, auth_response: Vec<u8>) -> HandshakeResponse {
    let with_database = if database.is_some() { Capabilities::CONNECT_WITH_DB } else { Capabilities::NONE };
    HandshakeResponse {
        capabilities: CAPABILITIES.with(with_database),
        max_packet: 0x0100_0000,
        collation: 45, // utf8mb4_general_ci, which both families have
        user: account.user.as_bytes().to_vec(),
        auth_response,
        database: database.map(<[u8]>::to_vec),
        plugin: Some(plugin.name().to_vec()),
        attributes: Vec::new(),
    }
}
