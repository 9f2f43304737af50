//! COM_CHANGE_USER: a new login on an old connection.

use std::fmt;

use crate::protocol::{
    capability::Capabilities,
    command::Command,
    reader::{Malformed, Reader},
    writer::Writer,
};

/// A client's wish to be somebody else.
#[derive(Clone, PartialEq, Eq)]
pub struct ChangeUser {
    /// The new user's name.
    pub user: Vec<u8>,
    /// An answer to the salt of the first login. MariaDB never takes it: it sends an AuthSwitchRequest with a new salt.
    pub auth_response: Vec<u8>,
    /// The database to be in afterwards.
    pub database: Option<Vec<u8>>,
    /// The whole collation id; 0 if the packet ends before it.
    pub collation: u16,
    /// The plugin of `auth_response`; `None` from a client without PLUGIN_AUTH.
    pub plugin: Option<Vec<u8>>,
    /// Connection attributes as they came, without their total length.
    pub attributes: Vec<u8>,
}

impl ChangeUser {
    /// Reads the payload, its command byte included. `capabilities` are those agreed on in the handshake.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if Command::from(reader.u8("command")?) != Command::ChangeUser {
            return Err(Malformed { field: "command" });
        }
        let user = reader.nul_bytes("user")?.to_vec();
        let auth_response = match capabilities.contains(Capabilities::SECURE_CONNECTION) {
            true => {
                let length = reader.u8("authentication response")?;
                reader.bytes(usize::from(length), "authentication response")?.to_vec()
            }
            false => reader.nul_bytes("authentication response")?.to_vec(),
        };
        let database = Some(reader.nul_bytes_or_rest().to_vec()).filter(|name| !name.is_empty());
        let collation = if reader.is_empty() { 0 } else { reader.u16("collation")? };
        let plugin = (capabilities.contains(Capabilities::PLUGIN_AUTH) && !reader.is_empty())
            .then(|| reader.nul_bytes_or_rest().to_vec());
        let attributes = match capabilities.contains(Capabilities::CONNECT_ATTRS) && !reader.is_empty() {
            true => reader.lenenc_bytes("connection attributes")?.to_vec(),
            false => Vec::new(),
        };
        Ok(Self { user, auth_response, database, collation, plugin, attributes })
    }

    /// Appends the payload, its command byte included.
    pub fn encode(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u8(Command::ChangeUser.byte());
        writer.nul_bytes(&self.user);
        if capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let length =
                u8::try_from(self.auth_response.len()).expect("no plugin's first answer is longer than 64 bytes");
            writer.u8(length);
            writer.bytes(&self.auth_response);
        } else {
            writer.nul_bytes(&self.auth_response);
        }
        writer.nul_bytes(self.database.as_deref().unwrap_or_default());
        writer.u16(self.collation);
        if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            writer.nul_bytes(self.plugin.as_deref().unwrap_or_default());
        }
        if capabilities.contains(Capabilities::CONNECT_ATTRS) {
            writer.lenenc_bytes(&self.attributes);
        }
    }
}

impl fmt::Debug for ChangeUser {
    /// Leaves out the proof of the password and the attributes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChangeUser")
            .field("user", &self.user.escape_ascii().to_string())
            .field("collation", &self.collation)
            .finish_non_exhaustive()
    }
}

/// What was understood is understood again after it was written.
pub(super) fn check_round_trip(payload: &[u8], capabilities: Capabilities) {
    let Ok(change) = ChangeUser::parse(payload, capabilities) else {
        return;
    };
    if change.auth_response.len() > 255 {
        return;
    }
    let mut out = Vec::new();
    change.encode(capabilities, &mut out);
    let again = ChangeUser::parse(&out, capabilities).expect("what was written must be read");
    assert_eq!(again.plugin.clone().unwrap_or_default(), change.plugin.clone().unwrap_or_default());
    assert_eq!(ChangeUser { plugin: None, ..again }, ChangeUser { plugin: None, ..change });
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABILITIES: Capabilities =
        Capabilities::SECURE_CONNECTION.with(Capabilities::PLUGIN_AUTH).with(Capabilities::CONNECT_ATTRS);

    #[test]
    fn every_field_is_read_and_written() {
        let payload = b"\x11app\0\x02ab\x74est\0\x2D\x00mysql_native_password\0\x06\x01a\x03b12";
        let change = ChangeUser::parse(payload, CAPABILITIES).unwrap();
        assert_eq!((&change.user[..], &change.auth_response[..]), (&b"app"[..], &b"ab"[..]));
        assert_eq!((change.database.as_deref(), change.collation), (Some(&b"test"[..]), 45));
        assert_eq!(change.plugin.as_deref(), Some(&b"mysql_native_password"[..]));
        let mut out = Vec::new();
        change.encode(CAPABILITIES, &mut out);
        assert_eq!(out, payload);
    }

    #[test]
    fn the_packet_may_end_behind_the_database() {
        let change = ChangeUser::parse(b"\x11app\0\x00\0", CAPABILITIES).unwrap();
        assert_eq!((change.database, change.collation, change.plugin), (None, 0, None));
    }

    #[test]
    fn a_cut_packet_is_malformed() {
        let cut = |payload: &[u8]| ChangeUser::parse(payload, CAPABILITIES).unwrap_err().field;
        assert_eq!(cut(b"\x11app"), "user");
        assert_eq!(cut(b"\x11app\0\x14ab"), "authentication response");
        assert_eq!(cut(b"\x11app\0\x00db\0\x2D"), "collation");
        assert_eq!(cut(b"\x03app\0"), "command");
    }
}
