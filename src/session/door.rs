//! The login at a server, without the session around it: packets of the server in, what to answer out.
//!
//! It is made with what the client was promised: its capabilities, its schema, its collation, its attributes.

use crate::{
    config::ServerDemand,
    protocol::{
        attributes,
        auth::{Credential, Login as ServerLogin, LoginStep},
        capability::Capabilities,
        collation,
        command::Command,
        handshake::{Greeting, HandshakeResponse, ServerHello},
        response::{ErrPacket, OkPacket},
        version::{Family, ServerVersion},
    },
};

use super::{ServerWay, login::Login};

/// What a client was promised, and what the server must therefore be able to do.
///
/// These change how packets read or statements behave; the others concern one connection only, ours or the server's.
const PROMISED: Capabilities = Capabilities::FOUND_ROWS
    .with(Capabilities::LONG_PASSWORD)
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::NO_SCHEMA)
    .with(Capabilities::ODBC)
    .with(Capabilities::LOCAL_FILES)
    .with(Capabilities::IGNORE_SPACE)
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::INTERACTIVE)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::MULTI_STATEMENTS)
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PS_MULTI_RESULTS)
    .with(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS)
    .with(Capabilities::SESSION_TRACK)
    .with(Capabilities::DEPRECATE_EOF)
    .with(Capabilities::OPTIONAL_RESULTSET_METADATA)
    .with(Capabilities::QUERY_ATTRIBUTES)
    .with(Capabilities::MARIADB_PROGRESS)
    .with(Capabilities::MARIADB_STMT_BULK_OPERATIONS)
    .with(Capabilities::MARIADB_EXTENDED_METADATA)
    .with(Capabilities::MARIADB_CACHE_METADATA)
    .with(Capabilities::MARIADB_BULK_UNIT_RESULTS);

/// What we use at a server that has it, whatever the client can do.
const LOGIN_ONLY: Capabilities =
    Capabilities::PLUGIN_AUTH.with(Capabilities::PLUGIN_AUTH_LENENC).with(Capabilities::CONNECT_ATTRS);

/// What the session needs of its server: its promises, but for bit 0, by which a client only says of which family it is.
pub(super) fn required(capabilities: Capabilities) -> Capabilities {
    (capabilities & PROMISED).without(Capabilities::LONG_PASSWORD)
}

/// How far we are at a server's door. Used for the session's server and for an errand's.
pub(super) enum Door {
    /// Nothing is connected.
    Closed,
    /// Connected: the server greets first.
    Connected,
    /// The plugin's exchange goes on.
    Knocking { login: ServerLogin, thread_id: u32, capabilities: Capabilities },
    /// Logged in; the collation that did not fit the handshake is being set.
    Settling { ok: OkPacket, thread_id: u32 },
}

/// What a packet of a server led to.
pub(super) enum Knock {
    /// Say this, and go on.
    Answer(Answer),
    /// We are in.
    Open { ok: OkPacket, thread_id: u32 },
    /// The server said no.
    Refused(ErrPacket),
    /// The server cannot serve this session; the text says why.
    Unusable(String),
    /// These are not the bytes of a MySQL server.
    Malformed,
}

/// What is said to a server that has not let us in yet. All are payloads.
pub(super) enum Answer {
    /// The answer to its greeting: where TLS is asked for first, what is written after it is written inside.
    Introduction { tls_request: Option<Vec<u8>>, response: Vec<u8> },
    /// The next packet of the exchange.
    Word(Vec<u8>),
    /// A command, which starts a new exchange.
    Command(Vec<u8>),
    /// The server goes on speaking.
    Nothing,
}

/// What is told to a server at its door.
pub(super) struct Introduction<'a> {
    pub(super) user: &'a [u8],
    pub(super) credential: &'a Credential,
    pub(super) login: &'a Login,
    /// What client and we agreed on.
    pub(super) capabilities: Capabilities,
    pub(super) required: Capabilities,
    pub(super) host: &'a str,
    pub(super) way: ServerWay,
}

impl Door {
    /// Handles one packet of the server.
    pub(super) fn packet(&mut self, payload: &[u8], who: &Introduction<'_>) -> Knock {
        match std::mem::replace(self, Door::Closed) {
            Door::Connected => self.greeted(payload, who),
            Door::Knocking { mut login, thread_id, capabilities } => {
                let step = login.receive(payload, who.credential, capabilities);
                let knock = match step {
                    LoginStep::Send(payload) => Knock::Answer(Answer::Word(payload)),
                    LoginStep::Wait => Knock::Answer(Answer::Nothing),
                    LoginStep::Accepted(ok) => return self.accepted(ok, thread_id, who),
                    LoginStep::Refused(error) => return Knock::Refused(error),
                    LoginStep::Unanswerable { plugin, why } => {
                        return Knock::Unusable(format!(
                            "its account uses {}: {why}",
                            String::from_utf8_lossy(&plugin)
                        ));
                    }
                    LoginStep::Malformed => return Knock::Malformed,
                };
                *self = Door::Knocking { login, thread_id, capabilities };
                knock
            }
            Door::Settling { ok, thread_id } => match payload.first() {
                Some(0x00) => Knock::Open { ok, thread_id },
                Some(0xFF) => ErrPacket::parse(payload).map_or(Knock::Malformed, Knock::Refused),
                _ => Knock::Malformed,
            },
            Door::Closed => Knock::Malformed,
        }
    }

    fn greeted(&mut self, payload: &[u8], who: &Introduction<'_>) -> Knock {
        let greeting = match Greeting::parse(payload) {
            Ok(ServerHello::Greeting(greeting)) => greeting,
            Ok(ServerHello::Refused(error)) => return Knock::Refused(error),
            Err(_) => return Knock::Malformed,
        };
        if !greeting.capabilities.contains(who.required) {
            return Knock::Unusable("it lacks a protocol feature that the client was promised".into());
        }
        let Some(privacy) = privacy(&greeting, who.way) else {
            return Knock::Unusable("it does not offer TLS, which `tls` of the configuration asks for".into());
        };
        let (introduction, login) = introduce(&greeting, who, privacy);
        let mut response = Vec::with_capacity(256);
        introduction.encode(&mut response);
        let tls_request = (privacy == Privacy::Tls).then(|| {
            let mut request = Vec::new();
            introduction.encode_ssl_request(&mut request);
            request
        });
        *self = Door::Knocking { login, thread_id: greeting.connection_id, capabilities: introduction.capabilities };
        Knock::Answer(Answer::Introduction { tls_request, response })
    }

    fn accepted(&mut self, ok: OkPacket, thread_id: u32, who: &Introduction<'_>) -> Knock {
        if who.login.collation <= u16::from(u8::MAX) {
            return Knock::Open { ok, thread_id };
        }
        let statement = format!("SET collation_connection = {}", who.login.collation);
        let mut payload = vec![Command::Query.byte()];
        if who.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            payload.extend_from_slice(&[0, 1]);
        }
        payload.extend_from_slice(statement.as_bytes());
        *self = Door::Settling { ok, thread_id };
        Knock::Answer(Answer::Command(payload))
    }
}

/// Who could listen to a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privacy {
    Open,
    Tls,
    UnixSocket,
}

/// Nothing, where TLS is asked for and the server does not offer it.
fn privacy(greeting: &Greeting, way: ServerWay) -> Option<Privacy> {
    let is_offered = greeting.capabilities.contains(Capabilities::SSL);
    match way {
        ServerWay::UnixSocket => Some(Privacy::UnixSocket),
        ServerWay::Network(ServerDemand::Disabled) => Some(Privacy::Open),
        ServerWay::Network(_) if is_offered => Some(Privacy::Tls),
        ServerWay::Network(ServerDemand::Preferred) => Some(Privacy::Open),
        ServerWay::Network(ServerDemand::Required | ServerDemand::VerifyCa | ServerDemand::VerifyFull) => None,
    }
}

fn introduce(greeting: &Greeting, who: &Introduction<'_>, privacy: Privacy) -> (HandshakeResponse, ServerLogin) {
    let (login, plugin, auth_response) = ServerLogin::begin(greeting, who.credential);
    let login = if privacy == Privacy::Open { login } else { login.in_private() };
    let mut capabilities = (who.capabilities & PROMISED) | (greeting.capabilities & LOGIN_ONLY);
    if privacy == Privacy::Tls {
        capabilities |= Capabilities::SSL;
    }
    if who.login.database.is_some() {
        capabilities |= Capabilities::CONNECT_WITH_DB;
    }
    let mut attribute_bytes = who.login.attributes.clone();
    attributes::append(&mut attribute_bytes, b"_sqluice_client_address", who.host.as_bytes());
    let family = ServerVersion::parse(&greeting.version).map_or(Family::MySql, |version| version.family);
    // An id of two bytes does not fit here and is set once we are in; until then its character set is this one's.
    let collation = u8::try_from(who.login.collation).unwrap_or(collation::UTF8MB4_GENERAL_CI);
    let response = HandshakeResponse {
        capabilities,
        max_packet: who.login.max_packet,
        collation: collation::for_server(family, collation),
        user: who.user.to_vec(),
        auth_response,
        database: who.login.database.clone(),
        plugin: Some(plugin.name().to_vec()),
        attributes: attribute_bytes,
    };
    (response, login)
}
