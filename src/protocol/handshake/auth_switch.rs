//! AuthSwitchRequest: the server asks for another plugin, with a new salt.

use crate::protocol::{
    reader::{Malformed, Reader},
    writer::Writer,
};

/// A server's wish to be answered in the way of another plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSwitch {
    /// The plugin's name.
    pub plugin: Vec<u8>,
    /// What the plugin is given: mostly 20 bytes of salt and a NUL.
    pub data: Vec<u8>,
}

impl AuthSwitch {
    /// First byte of the payload.
    pub const HEADER: u8 = 0xFE;

    /// Reads the payload. A lone 0xFE asks for the password hash of 4.0 and is malformed here.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8("packet header")? != Self::HEADER {
            return Err(Malformed { field: "packet header" });
        }
        let plugin = reader.nul_bytes("plugin")?.to_vec();
        Ok(Self { plugin, data: reader.rest().to_vec() })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u8(Self::HEADER);
        writer.nul_bytes(&self.plugin);
        writer.bytes(&self.data);
    }
}

/// What was understood is understood again after it was written.
pub(super) fn check_round_trip(payload: &[u8]) {
    if let Ok(switch) = AuthSwitch::parse(payload) {
        let mut out = Vec::new();
        switch.encode(&mut out);
        assert_eq!(AuthSwitch::parse(&out), Ok(switch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_to_the_hash_of_old_servers_is_refused() {
        assert_eq!(AuthSwitch::parse(&[0xFE]), Err(Malformed { field: "plugin" }));
    }
}
