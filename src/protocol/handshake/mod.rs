//! The packets of the connection phase, one a file.

mod auth_switch;
mod change_user;
mod greeting;
mod response;

pub use auth_switch::AuthSwitch;
pub use change_user::ChangeUser;
pub use greeting::{Greeting, Salt, ServerHello};
pub use response::{ClientHello, HandshakeResponse};

use super::capability::Capabilities;

/// Fuzz entry for all packets of this phase: no panic, and what was understood and written is understood again.
pub fn fuzz_handshake(bytes: &[u8]) {
    let Some((head, payload)) = bytes.split_first_chunk() else {
        return;
    };
    let capabilities = Capabilities(u64::from_le_bytes(*head)) | Capabilities::PROTOCOL_41;
    greeting::check_round_trip(payload);
    response::check_round_trip(payload, capabilities);
    auth_switch::check_round_trip(payload);
    change_user::check_round_trip(payload, capabilities);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::corpus;

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_understood(bytes: Vec<u8>) {
            fuzz_handshake(&bytes);
        }

        #[test]
        fn broken_captured_packets_are_refused_or_understood(
            which in 0usize..15,
            breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let opening = &corpus::openings()[which];
            for packet in [&opening.greeting, &opening.response] {
                let mut bytes = [&opening.offered.0.to_le_bytes()[..], packet].concat();
                for (place, byte) in &breaks {
                    let length = bytes.len();
                    bytes[place.index(length)] = *byte;
                }
                fuzz_handshake(&bytes);
            }
        }
    }
}
