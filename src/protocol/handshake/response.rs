//! SSLRequest and HandshakeResponse41: the client's first packet.

use std::fmt;

use crate::protocol::{
    capability::Capabilities,
    reader::{Malformed, Reader},
    writer::Writer,
};

/// Bytes of an SSLRequest: those of a response in front of the user's name.
const SSL_REQUEST_LENGTH: usize = 32;

/// A client's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientHello {
    /// TLS begins with the next byte; the response comes inside it.
    SslRequest,
    /// The client says who it is.
    Response(HandshakeResponse),
}

/// Who a client is, what it can do, and the first proof of its password.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// What both ends can do: a parsed response holds nothing that was not offered.
    pub capabilities: Capabilities,
    /// The longest packet that the client takes; servers do not keep to it.
    pub max_packet: u32,
    /// The low byte of the client's collation id.
    pub collation: u8,
    /// The user's name, without NUL.
    pub user: Vec<u8>,
    /// The answer to the salt, in the way of `plugin`. Empty means: no password.
    pub auth_response: Vec<u8>,
    /// The database to begin in.
    pub database: Option<Vec<u8>>,
    /// The plugin of `auth_response`; `None` from a client without PLUGIN_AUTH.
    pub plugin: Option<Vec<u8>>,
    /// Connection attributes as they came, without their total length; see [`attributes`](crate::protocol::attributes).
    pub attributes: Vec<u8>,
}

impl ClientHello {
    /// Reads a client's first packet.
    ///
    /// Which fields there are depends on what both ends can do: libmysqlclient sets the flag of the
    /// attributes even when the server did not offer it, and then leaves them out.
    pub fn parse(payload: &[u8], offered: Capabilities) -> Result<ClientHello, Malformed> {
        let mut reader = Reader::new(payload);
        let flags = reader.u32("capabilities")?;
        if !Capabilities(u64::from(flags)).contains(Capabilities::PROTOCOL_41) {
            return Err(Malformed { field: "protocol 4.1 capability" });
        }
        let max_packet = reader.u32("longest packet")?;
        let collation = reader.u8("collation")?;
        reader.skip(19, "reserved")?;
        let extended = reader.u32("extended capabilities")?;
        let sent = Capabilities::from_wire(flags, extended);
        if payload.len() == SSL_REQUEST_LENGTH && sent.contains(Capabilities::SSL) {
            return Ok(ClientHello::SslRequest);
        }
        let capabilities = sent & offered;
        HandshakeResponse::parse_names(reader, capabilities, max_packet, collation).map(ClientHello::Response)
    }
}

impl HandshakeResponse {
    fn parse_names(
        mut reader: Reader<'_>,
        capabilities: Capabilities,
        max_packet: u32,
        collation: u8,
    ) -> Result<Self, Malformed> {
        let user = reader.nul_bytes("user")?.to_vec();
        let auth_response = parse_auth_response(&mut reader, capabilities)?.to_vec();
        let has = |capability| capabilities.contains(capability);
        let database =
            (has(Capabilities::CONNECT_WITH_DB) && !reader.is_empty()).then(|| reader.nul_bytes_or_rest().to_vec());
        let plugin =
            (has(Capabilities::PLUGIN_AUTH) && !reader.is_empty()).then(|| reader.nul_bytes_or_rest().to_vec());
        let attributes = match has(Capabilities::CONNECT_ATTRS) && !reader.is_empty() {
            true => reader.lenenc_bytes("connection attributes")?.to_vec(),
            false => Vec::new(),
        };
        // What may follow is a level of compression, in one byte or four.
        Ok(Self { capabilities, max_packet, collation, user, auth_response, database, plugin, attributes })
    }

    /// Appends the payload of the SSLRequest that goes before this response, if it is to be said inside TLS.
    pub fn encode_ssl_request(&self, out: &mut Vec<u8>) {
        self.encode_opening(&mut Writer::new(out));
    }

    /// What response and SSLRequest begin with.
    fn encode_opening(&self, writer: &mut Writer<'_>) {
        writer.u32(self.capabilities.low());
        writer.u32(self.max_packet);
        writer.u8(self.collation);
        writer.zeros(19);
        writer.u32(self.capabilities.extended());
    }

    /// Appends the payload. `capabilities` says which fields are written; they must suit what the server offered.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let has = |capability| self.capabilities.contains(capability);
        let mut writer = Writer::new(out);
        self.encode_opening(&mut writer);
        writer.nul_bytes(&self.user);
        encode_auth_response(&mut writer, self.capabilities, &self.auth_response);
        if has(Capabilities::CONNECT_WITH_DB) {
            writer.nul_bytes(self.database.as_deref().unwrap_or_default());
        }
        if has(Capabilities::PLUGIN_AUTH) {
            writer.nul_bytes(self.plugin.as_deref().unwrap_or_default());
        }
        if has(Capabilities::CONNECT_ATTRS) {
            writer.lenenc_bytes(&self.attributes);
        }
    }
}

fn parse_auth_response<'a>(reader: &mut Reader<'a>, capabilities: Capabilities) -> Result<&'a [u8], Malformed> {
    let field = "authentication response";
    if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
        return reader.lenenc_bytes(field);
    }
    if capabilities.contains(Capabilities::SECURE_CONNECTION) {
        let length = reader.u8(field)?;
        return reader.bytes(usize::from(length), field);
    }
    reader.nul_bytes(field)
}

fn encode_auth_response(writer: &mut Writer<'_>, capabilities: Capabilities, response: &[u8]) {
    if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
        writer.lenenc_bytes(response);
    } else if capabilities.contains(Capabilities::SECURE_CONNECTION) {
        let length = u8::try_from(response.len()).expect("no plugin's first answer is longer than 64 bytes");
        writer.u8(length);
        writer.bytes(response);
    } else {
        writer.nul_bytes(response);
    }
}

impl fmt::Debug for HandshakeResponse {
    /// Leaves out the proof of the password and the attributes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HandshakeResponse")
            .field("capabilities", &self.capabilities)
            .field("collation", &self.collation)
            .field("user", &self.user.escape_ascii().to_string())
            .field("database", &self.database.as_ref().map(|name| name.escape_ascii().to_string()))
            .field("plugin", &self.plugin.as_ref().map(|name| name.escape_ascii().to_string()))
            .finish_non_exhaustive()
    }
}

/// What was understood is understood again after it was written.
pub(super) fn check_round_trip(payload: &[u8], offered: Capabilities) {
    let Ok(ClientHello::Response(response)) = ClientHello::parse(payload, offered) else {
        return;
    };
    assert!(offered.contains(response.capabilities));
    if !response.capabilities.intersects(Capabilities::PLUGIN_AUTH_LENENC) && response.auth_response.len() > 255 {
        return;
    }
    let mut out = Vec::new();
    response.encode(&mut out);
    if out.len() == SSL_REQUEST_LENGTH {
        return;
    }
    let Ok(ClientHello::Response(again)) = ClientHello::parse(&out, offered) else {
        panic!("a response that was written must be read")
    };
    assert_eq!(again.user, response.user);
    assert_eq!(again.auth_response, response.auth_response);
    assert_eq!(again.database.unwrap_or_default(), response.database.unwrap_or_default());
    assert_eq!(again.plugin.unwrap_or_default(), response.plugin.unwrap_or_default());
    assert_eq!(again.attributes, response.attributes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{attributes, corpus};

    fn parse(payload: &[u8], offered: Capabilities) -> HandshakeResponse {
        match ClientHello::parse(payload, offered) {
            Ok(ClientHello::Response(response)) => response,
            other => panic!("no response: {other:?}"),
        }
    }

    #[test]
    fn responses_that_servers_accepted_are_read_and_written_to_the_byte() {
        for opening in corpus::openings() {
            let response = parse(&opening.response, opening.offered);
            assert_eq!(response.user, b"app");
            assert_eq!(response.database.as_deref(), Some(&b"sqluice_corpus"[..]));
            assert_eq!(response.capabilities, opening.capabilities);
            assert_eq!(attributes::find(&response.attributes, b"_client_name"), Some(&b"sqluice"[..]));
            let mut out = Vec::new();
            response.encode(&mut out);
            assert_eq!(out, opening.response);
        }
    }

    #[test]
    fn what_was_not_offered_is_not_agreed_on() {
        let opening = &corpus::openings()[0];
        let without = opening.offered.without(Capabilities::DEPRECATE_EOF | Capabilities::LOCAL_FILES);
        let response = parse(&opening.response, without);
        assert!(!response.capabilities.intersects(Capabilities::DEPRECATE_EOF | Capabilities::LOCAL_FILES));
    }

    #[test]
    fn fields_that_were_not_offered_are_not_there() {
        // Capabilities with CONNECT_ATTRS, a name, no proof, a plugin; no attributes, as libmysqlclient does it.
        let flags = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
        let sent = flags | Capabilities::CONNECT_ATTRS | Capabilities::LONG_PASSWORD;
        let payload = [&sent.low().to_le_bytes()[..], &[0; 28], b"me\0\0mysql_native_password\0"].concat();
        let response = parse(&payload, flags);
        assert_eq!(response.plugin.as_deref(), Some(&b"mysql_native_password"[..]));
        assert!(response.attributes.is_empty() && response.database.is_none());
    }

    #[test]
    fn a_response_cut_inside_a_field_is_malformed() {
        let opening = &corpus::openings()[0];
        let length = opening.response.len();
        let check = |length, field| {
            let found = ClientHello::parse(&opening.response[..length], opening.offered);
            assert_eq!(found, Err(Malformed { field }), "{length}");
        };
        check(3, "capabilities");
        check(31, "extended capabilities");
        check(34, "user");
        check(40, "authentication response");
        check(length - 1, "connection attributes");
    }

    #[test]
    fn an_ssl_request_is_a_response_without_names() {
        let flags = (Capabilities::PROTOCOL_41 | Capabilities::SSL).low().to_le_bytes();
        let request = [&flags[..], &[0; 28]].concat();
        assert_eq!(ClientHello::parse(&request, Capabilities::NONE), Ok(ClientHello::SslRequest));
    }

    #[test]
    fn the_request_that_goes_before_a_response_is_read_as_one() {
        let mut response = parse(&corpus::openings()[0].response, Capabilities(u64::MAX));
        response.capabilities |= Capabilities::SSL;
        let (mut request, mut whole) = (Vec::new(), Vec::new());
        response.encode_ssl_request(&mut request);
        response.encode(&mut whole);
        assert_eq!(ClientHello::parse(&request, Capabilities::NONE), Ok(ClientHello::SslRequest));
        assert!(whole.starts_with(&request));
    }

    #[test]
    fn a_client_from_before_4_1_is_malformed() {
        let old = b"\x05\x00\x00\x00\x01root\0password\0";
        assert_eq!(
            ClientHello::parse(old, Capabilities::ALL_MYSQL),
            Err(Malformed { field: "protocol 4.1 capability" })
        );
    }

    #[test]
    fn a_response_does_not_show_its_proof() {
        let response = parse(&corpus::openings()[0].response, Capabilities(u64::MAX));
        let shown = format!("{response:?}");
        assert!(shown.contains("app") && !shown.contains("auth_response"), "{shown}");
    }
}
