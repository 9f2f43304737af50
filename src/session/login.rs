//! What a client asked for when it logged in: the session says it again at each of its servers.

use crate::config::limits;

/// What a client's login asks for, apart from the proof.
pub(super) struct Login {
    pub(super) user: Vec<u8>,
    pub(super) database: Option<Vec<u8>>,
    pub(super) collation: u16,
    pub(super) max_packet: u32,
    pub(super) attributes: Vec<u8>,
}

/// The largest packet that a client may send before it is logged in: the connection attributes alone may have 64 KiB.
pub(super) const LOGIN_PACKET_MAX: usize = limits::LOGIN_PACKET_MAX;
