//! HandshakeV10: the server's first packet.

use std::fmt;

use crate::protocol::{
    capability::Capabilities,
    reader::{Malformed, Reader},
    response::ErrPacket,
    status::StatusFlags,
    writer::Writer,
};

/// The 20 bytes that a login is proved with. Ours hold no byte that a peer could take for something else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 20]);

impl Salt {
    /// Makes a salt of any bytes, mapped to `1..=127` without `$`: clients treat the salt as text that a NUL
    /// ends, and servers keep `$` out because it separates the parts of a stored caching_sha2_password hash.
    pub fn from_random(bytes: [u8; 20]) -> Salt {
        Salt(bytes.map(|byte| match byte & 0x7F {
            0 => 0x01,
            b'$' => b'%',
            usable => usable,
        }))
    }

    /// Reads the salt of a greeting or an AuthSwitchRequest: 20 bytes and, mostly, a NUL.
    pub fn parse(data: &[u8]) -> Result<Salt, Malformed> {
        let field = "authentication salt";
        match data {
            [salt @ .., 0] if salt.len() == 20 => salt.try_into(),
            salt => salt.try_into(),
        }
        .map(Salt)
        .map_err(|_| Malformed { field })
    }

    /// The form in packets: the bytes and a NUL.
    pub fn to_bytes(self) -> [u8; 21] {
        let mut bytes = [0; 21];
        bytes[..20].copy_from_slice(&self.0);
        bytes
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Salt(..)")
    }
}

/// What a server says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The version string, without its NUL; MariaDB before 11.0.1 puts `5.5.5-` in front.
    pub version: Vec<u8>,
    /// The server's number for the connection, as KILL wants it.
    pub connection_id: u32,
    /// What the client must prove its password with.
    pub salt: Salt,
    /// What the server can do.
    pub capabilities: Capabilities,
    /// The low byte of the server's default collation id.
    pub collation: u8,
    /// Mostly AUTOCOMMIT alone.
    pub status: StatusFlags,
    /// The plugin that the salt is meant for; empty from a server without PLUGIN_AUTH.
    pub plugin: Vec<u8>,
}

/// A server's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerHello {
    /// The server talks to us.
    Greeting(Greeting),
    /// The server refuses before it knows who we are: too many connections, a blocked host.
    /// The packet has no SQL state, because the client's capabilities are not known yet.
    Refused(ErrPacket),
}

impl Greeting {
    /// Reads a server's first packet.
    pub fn parse(payload: &[u8]) -> Result<ServerHello, Malformed> {
        let mut reader = Reader::new(payload);
        match reader.u8("protocol version")? {
            0x0A => Self::parse_v10(reader).map(ServerHello::Greeting),
            0xFF => ErrPacket::parse(payload).map(ServerHello::Refused),
            _ => Err(Malformed { field: "protocol version" }),
        }
    }

    fn parse_v10(mut reader: Reader<'_>) -> Result<Greeting, Malformed> {
        let version = reader.nul_bytes("server version")?.to_vec();
        let connection_id = reader.u32("connection id")?;
        let salt_front: [u8; 8] = reader.array("first part of the salt")?;
        reader.skip(1, "filler")?;
        let low = reader.u16("capabilities")?;
        let collation = reader.u8("collation")?;
        let status = StatusFlags(reader.u16("status flags")?);
        let high = reader.u16("upper capabilities")?;
        let salt_length = usize::from(reader.u8("length of the salt")?);
        reader.skip(6, "reserved")?;
        let extended = reader.u32("extended capabilities")?;
        // Any salt takes at least 13 bytes here, its NUL among them, whatever its length says.
        let salt_back = reader.bytes(salt_length.saturating_sub(8).max(13), "second part of the salt")?;
        let plugin = reader.nul_bytes_or_rest().to_vec();
        let mut salt = [0; 20];
        salt[..8].copy_from_slice(&salt_front);
        salt[8..].copy_from_slice(&salt_back[..12]);
        let capabilities = Capabilities::from_wire(u32::from(low) | u32::from(high) << 16, extended);
        Ok(Greeting { version, connection_id, salt: Salt(salt), capabilities, collation, status, plugin })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [low_0, low_1, high_0, high_1] = self.capabilities.low().to_le_bytes();
        let salt = self.salt.to_bytes();
        let mut writer = Writer::new(out);
        writer.u8(0x0A);
        writer.nul_bytes(&self.version);
        writer.u32(self.connection_id);
        writer.bytes(&salt[..8]);
        writer.u8(0);
        writer.bytes(&[low_0, low_1]);
        writer.u8(self.collation);
        writer.u16(self.status.0);
        writer.bytes(&[high_0, high_1]);
        writer.u8(salt.len() as u8);
        writer.zeros(6);
        writer.u32(self.capabilities.extended());
        writer.bytes(&salt[8..]);
        writer.nul_bytes(&self.plugin);
    }
}

/// What was understood is understood again after it was written.
pub(super) fn check_round_trip(payload: &[u8]) {
    if let Ok(ServerHello::Greeting(greeting)) = Greeting::parse(payload) {
        let mut out = Vec::new();
        greeting.encode(&mut out);
        assert_eq!(Greeting::parse(&out), Ok(ServerHello::Greeting(greeting)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        corpus,
        error_code::ErrorCode,
        version::{Family, ServerVersion},
    };

    fn parse(payload: &[u8]) -> Greeting {
        match Greeting::parse(payload) {
            Ok(ServerHello::Greeting(greeting)) => greeting,
            other => panic!("no greeting: {other:?}"),
        }
    }

    #[test]
    fn captured_greetings_are_read_and_written_to_the_byte() {
        let openings = corpus::openings();
        assert_eq!(openings.len(), 15);
        for opening in openings {
            let greeting = parse(&opening.greeting);
            let mut out = Vec::new();
            greeting.encode(&mut out);
            assert_eq!(out, opening.greeting);
            assert_eq!(greeting.capabilities, opening.offered);
            let version = ServerVersion::parse(&greeting.version).unwrap();
            let is_mysql = greeting.capabilities.contains(Capabilities::LONG_PASSWORD);
            assert_eq!(version.family, if is_mysql { Family::MySql } else { Family::MariaDb });
        }
    }

    #[test]
    fn a_greeting_of_mariadb_10_11() {
        let greeting = parse(&corpus::openings()[0].greeting);
        assert_eq!(greeting.version, b"5.5.5-10.11.19-MariaDB-0+deb12u1");
        assert_eq!(greeting.collation, 8);
        assert_eq!(greeting.status, StatusFlags::AUTOCOMMIT);
        assert_eq!(greeting.plugin, b"mysql_native_password");
    }

    #[test]
    fn a_cut_greeting_is_malformed_at_every_byte() {
        let whole = &corpus::openings()[0].greeting;
        // Without the plugin's name it is the greeting of an old server.
        let needed = whole.len() - "mysql_native_password".len() - 1;
        for length in 0..needed {
            assert!(Greeting::parse(&whole[..length]).is_err(), "{length}");
        }
        assert_eq!(parse(&whole[..needed]).plugin, b"");
    }

    #[test]
    fn a_refusal_in_place_of_a_greeting_has_no_state() {
        // MariaDB 10.11 at max_connections.
        let refusal = ErrPacket { code: ErrorCode(1040), state: None, message: b"Too many connections".to_vec() };
        assert_eq!(Greeting::parse(b"\xFF\x10\x04Too many connections"), Ok(ServerHello::Refused(refusal)));
    }

    #[test]
    fn a_salt_holds_no_byte_that_ends_or_separates() {
        for start in (0..=255u8).step_by(20) {
            let salt = Salt::from_random(std::array::from_fn(|index| start.wrapping_add(index as u8)));
            assert!(salt.0.iter().all(|byte| (1..=127).contains(byte) && *byte != b'$'));
        }
    }

    #[test]
    fn a_salt_is_twenty_bytes_with_or_without_a_nul() {
        assert_eq!(Salt::parse(&[7; 20]), Ok(Salt([7; 20])));
        assert_eq!(Salt::parse(&Salt([7; 20]).to_bytes()), Ok(Salt([7; 20])));
        for length in [0, 19, 21, 32] {
            assert!(Salt::parse(&vec![7; length]).is_err(), "{length}");
        }
    }
}
