//! Every fuzz entry of the protocol by name: the targets that libFuzzer runs, and that a plain test feeds with
//! seeded and mutated bytes.

/// A function that takes hostile bytes and panics when a claim about them does not hold.
pub type Target = fn(&[u8]);

/// All entries, each beside its parser.
pub const TARGETS: [(&str, Target); 8] = [
    ("packet", super::packet::fuzz_packet),
    ("handshake", super::handshake::fuzz_handshake),
    ("attributes", super::attributes::fuzz_attributes),
    ("response", super::response::fuzz_response),
    ("reply", super::result_set::fuzz_reply),
    ("session_track", super::session_track::fuzz_session_track),
    ("kill", super::kill::fuzz_kill),
    ("auth", super::auth::fuzz_auth),
];
