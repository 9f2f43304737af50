//! The three small packets that end things: OK, ERR and EOF.

use super::{
    capability::Capabilities,
    error_code::{Error, ErrorCode},
    reader::{Malformed, Reader},
    status::StatusFlags,
    writer::Writer,
};

/// First byte of an OK packet.
pub const OK_HEADER: u8 = 0x00;

/// First byte of an EOF packet, and of the OK packet that takes its place with DEPRECATE_EOF.
pub const EOF_HEADER: u8 = 0xFE;

/// First byte of an ERR packet.
pub const ERR_HEADER: u8 = 0xFF;

/// Success, and what became of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OkPacket {
    /// Rows changed, or found with FOUND_ROWS.
    pub affected: u64,
    /// The first generated AUTO_INCREMENT value.
    pub insert_id: u64,
    /// The session's status after the statement.
    pub status: StatusFlags,
    /// How many warnings there are.
    pub warnings: u16,
    /// A sentence for people; MariaDB 11.4 puts a proof of its certificate here when a login ends.
    pub info: Vec<u8>,
    /// Changes of session state, to be read with [`session_track`](super::session_track). `None` without SESSION_STATE_CHANGED.
    pub trackers: Option<Vec<u8>>,
}

impl OkPacket {
    /// Reads the payload, header byte included (0x00 or 0xFE). `capabilities` are those of this connection.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if !matches!(reader.u8("packet header")?, OK_HEADER | EOF_HEADER) {
            return Err(Malformed { field: "packet header" });
        }
        let affected = reader.lenenc("affected rows")?;
        let insert_id = reader.lenenc("insert id")?;
        let status = StatusFlags(reader.u16("status flags")?);
        let warnings = reader.u16("warnings")?;
        let ok = Self { affected, insert_id, status, warnings, ..Self::default() };
        // The manuals have it without a length where no session is tracked; all servers write one.
        let info = if reader.is_empty() { &[][..] } else { reader.lenenc_bytes("info")? };
        let is_tracked = capabilities.contains(Capabilities::SESSION_TRACK);
        let has_trackers = is_tracked && status.contains(StatusFlags::SESSION_STATE_CHANGED) && !reader.is_empty();
        let trackers = if has_trackers { Some(reader.lenenc_bytes("session state changes")?.to_vec()) } else { None };
        Ok(Self { info: info.to_vec(), trackers, ..ok })
    }

    /// Appends the payload, with [`OK_HEADER`] or [`EOF_HEADER`] in front.
    ///
    /// The status flag of trackers follows `trackers`, and a client without SESSION_TRACK gets none.
    pub fn encode(&self, header: u8, capabilities: Capabilities, out: &mut Vec<u8>) {
        let trackers = self.trackers.as_deref().filter(|_| capabilities.contains(Capabilities::SESSION_TRACK));
        let plain = self.status.without(StatusFlags::SESSION_STATE_CHANGED);
        let status = if trackers.is_some() { plain | StatusFlags::SESSION_STATE_CHANGED } else { plain };
        let mut writer = Writer::new(out);
        writer.u8(header);
        writer.lenenc(self.affected);
        writer.lenenc(self.insert_id);
        writer.u16(status.0);
        writer.u16(self.warnings);
        if trackers.is_some() || !self.info.is_empty() {
            writer.lenenc_bytes(&self.info);
        }
        if let Some(trackers) = trackers {
            writer.lenenc_bytes(trackers);
        }
    }
}

/// Failure, with a number for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrPacket {
    /// The number.
    pub code: ErrorCode,
    /// The SQL state; `None` in an error that comes in place of a greeting.
    pub state: Option<[u8; 5]>,
    /// The sentence.
    pub message: Vec<u8>,
}

impl ErrPacket {
    /// An error of our own, with its SQL state.
    pub fn new(error: Error, message: impl Into<Vec<u8>>) -> Self {
        Self { code: error.code, state: Some(error.state), message: message.into() }
    }

    /// Reads the payload, header byte included.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8("packet header")? != ERR_HEADER {
            return Err(Malformed { field: "packet header" });
        }
        let code = ErrorCode(reader.u16("error code")?);
        let state = match reader.peek() {
            Some(b'#') if reader.len() > 5 => {
                reader.skip(1, "SQL state")?;
                Some(reader.array("SQL state")?)
            }
            _ => None,
        };
        Ok(Self { code, state, message: reader.rest().to_vec() })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u8(ERR_HEADER);
        writer.u16(self.code.0);
        if let Some(state) = &self.state {
            writer.u8(b'#');
            writer.bytes(state);
        }
        writer.bytes(&self.message);
    }
}

/// The end of column definitions or rows, from a server and to a client without DEPRECATE_EOF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EofPacket {
    /// How many warnings there are.
    pub warnings: u16,
    /// The session's status.
    pub status: StatusFlags,
}

impl EofPacket {
    /// Bytes of the payload. A longer one that begins with the same byte is a row or an OK packet.
    pub const LENGTH: usize = 5;

    /// Reads the payload, header byte included.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8("packet header")? != EOF_HEADER || payload.len() > Self::LENGTH {
            return Err(Malformed { field: "packet header" });
        }
        let warnings = reader.u16("warnings")?;
        Ok(Self { warnings, status: StatusFlags(reader.u16("status flags")?) })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u8(EOF_HEADER);
        writer.u16(self.warnings);
        writer.u16(self.status.0);
    }
}

/// Fuzz entry: no panic, and what was understood and written is understood again.
pub fn fuzz_response(bytes: &[u8]) {
    let Some((choice, payload)) = bytes.split_first() else {
        return;
    };
    let tracking = if choice & 1 == 0 { Capabilities::NONE } else { Capabilities::SESSION_TRACK };
    let mut out = Vec::new();
    if let Ok(ok) = OkPacket::parse(payload, tracking) {
        ok.encode(payload[0], tracking, &mut out);
        let again = OkPacket::parse(&out, tracking).expect("what was written must be read");
        assert_eq!(OkPacket { status: ok.status, ..again }, ok);
    }
    if let Ok(error) = ErrPacket::parse(payload) {
        out.clear();
        error.encode(&mut out);
        assert_eq!(out, payload);
    }
    if let Ok(eof) = EofPacket::parse(payload) {
        out.clear();
        eof.encode(&mut out);
        assert_eq!(out, payload);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{
        corpus,
        session_track::{self, Tracker},
    };

    #[test]
    fn captured_logins_end_with_an_ok_that_is_written_to_the_byte() {
        for opening in corpus::openings() {
            let payload = &opening.login[4..];
            let ok = OkPacket::parse(payload, opening.capabilities).unwrap();
            assert!(ok.status.contains(StatusFlags::AUTOCOMMIT));
            let mut out = Vec::new();
            ok.encode(OK_HEADER, opening.capabilities, &mut out);
            assert_eq!(out, payload);
        }
    }

    #[test]
    fn a_login_with_a_database_tells_the_schema() {
        let tracking = |opening: &corpus::Opening| opening.capabilities.contains(Capabilities::SESSION_TRACK);
        let opening = corpus::openings().into_iter().find(tracking).unwrap();
        let ok = OkPacket::parse(&opening.login[4..], opening.capabilities).unwrap();
        let trackers = ok.trackers.unwrap();
        let schema = session_track::iterate(&trackers).find(|tracker| matches!(tracker, Ok(Tracker::Schema(_))));
        assert_eq!(schema, Some(Ok(Tracker::Schema(b"sqluice_corpus"))));
    }

    #[test]
    fn a_client_without_tracking_gets_no_trackers() {
        let ok = OkPacket {
            info: b"done".to_vec(),
            status: StatusFlags::AUTOCOMMIT,
            trackers: Some(b"\x02\x011".to_vec()),
            ..OkPacket::default()
        };
        let mut out = Vec::new();
        ok.encode(OK_HEADER, Capabilities::NONE, &mut out);
        assert_eq!(out, b"\0\0\0\x02\0\0\0\x04done");
        out.clear();
        ok.encode(OK_HEADER, Capabilities::SESSION_TRACK, &mut out);
        assert_eq!(out, b"\0\0\0\x02\x40\0\0\x04done\x03\x02\x011");
    }

    #[test]
    fn an_error_has_a_state_only_behind_a_hash() {
        let error = ErrPacket::parse(b"\xFF\x15\x04#28000Access denied").unwrap();
        assert_eq!((error.code, error.state), (ErrorCode(1045), Some(*b"28000")));
        assert_eq!(error, ErrPacket::new(Error::ACCESS_DENIED, "Access denied"));
        let bare = ErrPacket::parse(b"\xFF\x10\x04Too many").unwrap();
        assert_eq!((bare.state, &bare.message[..]), (None, &b"Too many"[..]));
        assert_eq!(ErrPacket::parse(b"\xFF\x10"), Err(Malformed { field: "error code" }));
    }

    #[test]
    fn an_eof_is_never_longer_than_five_bytes() {
        let eof = EofPacket { warnings: 1, status: StatusFlags::AUTOCOMMIT };
        assert_eq!(EofPacket::parse(&[0xFE, 1, 0, 2, 0]), Ok(eof));
        assert!(EofPacket::parse(&[0xFE, 0, 0, 2, 0, 0, 0]).is_err());
        assert!(EofPacket::parse(&[0xFE, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_understood(
            choice: u8,
            header in prop_oneof![Just(0u8), Just(0xFE), Just(0xFF), any::<u8>()],
            rest: Vec<u8>,
        ) {
            fuzz_response(&[vec![choice, header], rest].concat());
        }
    }
}
