//! Writes the server's half of the protocol, for replies that are known before anybody asks.
//!
//! Deliberately not the library's own writer: what the balancer passes on is compared byte by byte with what is
//! written here, so the two must not share a mistake. It knows small packets and one text column, nothing else.

/// How a result set ends, which the client chooses at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultEnd {
    /// EOF packets after the column definitions and after the rows.
    EofPackets,
    /// One OK packet with an EOF header after the rows (CLIENT_DEPRECATE_EOF).
    OkPacket,
}

/// The capability that chooses [`ResultEnd::OkPacket`].
pub(crate) const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;

/// With it, OK packets tell of changes of the session.
pub(crate) const CLIENT_SESSION_TRACK: u32 = 1 << 23;

/// What a server's status flags say of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    Autocommit,
    InTransaction,
}

impl SessionState {
    fn status(self) -> [u8; 2] {
        match self {
            SessionState::Autocommit => [0x02, 0x00],    // SERVER_STATUS_AUTOCOMMIT
            SessionState::InTransaction => [0x03, 0x00], // and SERVER_STATUS_IN_TRANS
        }
    }
}

/// Types of a column, as in its definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Integer = 0x08,
    Text = 0xFD,
}

/// Packets of one reply, in order.
pub(crate) struct ReplyWriter {
    bytes: Vec<u8>,
    /// Sequence id of the next packet; wraps at 256 as the protocol's does.
    sequence: u8,
    end: ResultEnd,
    status: [u8; 2],
}

impl ReplyWriter {
    /// A reply to a command: the command was packet 0.
    pub(crate) fn new(end: ResultEnd) -> ReplyWriter {
        ReplyWriter { bytes: Vec::new(), sequence: 1, end, status: SessionState::Autocommit.status() }
    }

    /// The state that the session is in after the reply.
    pub(crate) fn leaving(self, state: SessionState) -> ReplyWriter {
        ReplyWriter { status: state.status(), ..self }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn packet(&mut self, payload: &[u8]) {
        write_packet(&mut self.bytes, self.sequence, payload);
        self.sequence = self.sequence.wrapping_add(1);
    }

    pub(crate) fn column_count(&mut self, count: u8) {
        self.packet(&[count]);
    }

    pub(crate) fn column(&mut self, name: &[u8], kind: ColumnType) {
        let mut payload = Vec::new();
        for text in [b"def".as_slice(), b"bench", b"bench", b"bench", name, name] {
            write_text(&mut payload, text);
        }
        payload.push(0x0C);
        payload.extend_from_slice(&[0x2D, 0x00]); // utf8mb4_general_ci
        payload.extend_from_slice(&0xFFFF_u32.to_le_bytes());
        payload.extend_from_slice(&[kind as u8, 0, 0, 0, 0, 0]);
        self.packet(&payload);
    }

    /// After the last column definition.
    pub(crate) fn columns_end(&mut self) {
        match self.end {
            ResultEnd::EofPackets => self.eof(),
            ResultEnd::OkPacket => {}
        }
    }

    pub(crate) fn text_row(&mut self, values: &[&[u8]]) {
        let mut payload = Vec::new();
        for value in values {
            write_text(&mut payload, value);
        }
        self.packet(&payload);
    }

    /// A row of COM_STMT_EXECUTE with one text column that is not NULL.
    pub(crate) fn binary_row(&mut self, value: &[u8]) {
        let mut payload = vec![0x00, 0x00];
        write_text(&mut payload, value);
        self.packet(&payload);
    }

    /// After the last row.
    pub(crate) fn rows_end(&mut self) {
        match self.end {
            ResultEnd::EofPackets => self.eof(),
            ResultEnd::OkPacket => {
                let [low, high] = self.status;
                self.packet(&[0xFE, 0x00, 0x00, low, high, 0x00, 0x00]);
            }
        }
    }

    /// After the last row of a result set that another one follows.
    pub(crate) fn rows_end_before_more(&mut self) {
        const MORE_RESULTS_EXIST: u8 = 0x08;
        self.status[0] |= MORE_RESULTS_EXIST;
        self.rows_end();
        self.status[0] &= !MORE_RESULTS_EXIST;
    }

    /// An OK packet for a statement without rows. Nothing inserted by a counter, no warnings.
    pub(crate) fn done(&mut self, affected: u8) {
        let [low, high] = self.status;
        self.packet(&[0x00, affected, 0x00, low, high, 0x00, 0x00]);
    }

    /// The same for a client with CLIENT_SESSION_TRACK whose statement was committed as this GTID.
    pub(crate) fn committed(&mut self, affected: u8, gtid: &[u8]) {
        const SESSION_STATE_CHANGED: u8 = 0x40;
        const GTIDS: u8 = 0x03;
        let mut set = vec![0x00]; // how the set is encoded: as text
        write_text(&mut set, gtid);
        let mut tracker = vec![GTIDS];
        write_text(&mut tracker, &set);
        let [low, high] = self.status;
        let mut payload = vec![0x00, affected, 0x00, low, high | SESSION_STATE_CHANGED, 0x00, 0x00];
        write_text(&mut payload, b"");
        write_text(&mut payload, &tracker);
        self.packet(&payload);
    }

    pub(crate) fn error(&mut self, code: u16, state: &[u8; 5], message: &str) {
        let mut payload = vec![0xFF];
        payload.extend_from_slice(&code.to_le_bytes());
        payload.push(b'#');
        payload.extend_from_slice(state);
        payload.extend_from_slice(message.as_bytes());
        self.packet(&payload);
    }

    fn eof(&mut self) {
        let [low, high] = self.status;
        self.packet(&[0xFE, 0x00, 0x00, low, high]);
    }
}

/// Nothing affected, nothing inserted, autocommit, no warnings.
pub(crate) const OK_PAYLOAD: [u8; 7] = [0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00];

/// One packet below 16 MiB - 1.
pub(crate) fn write_packet(bytes: &mut Vec<u8>, sequence: u8, payload: &[u8]) {
    assert!(payload.len() < 0xFF_FFFF, "the bench writes no packet that must be split");
    let length = u32::try_from(payload.len()).expect("checked above").to_le_bytes();
    bytes.extend_from_slice(&[length[0], length[1], length[2], sequence]);
    bytes.extend_from_slice(payload);
}

/// A packet that opens a command: sequence id 0, the command's byte, its body.
pub(crate) fn command(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut payload = vec![kind];
    payload.extend_from_slice(body);
    let mut bytes = Vec::new();
    write_packet(&mut bytes, 0, &payload);
    bytes
}

/// The payload, the sequence id and the whole length of the packet at the start of `bytes`, when all of it is there.
pub(crate) fn first_packet(bytes: &[u8]) -> Option<(&[u8], u8, usize)> {
    let header = bytes.first_chunk::<4>()?;
    let end = 4 + u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    Some((bytes.get(4..end)?, header[3], end))
}

/// Length-encoded text.
fn write_text(payload: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        short @ 0..=0xFA => payload.push(u8::try_from(short).expect("at most 0xFA")),
        long => {
            let length = u16::try_from(long).expect("the bench writes no text above 64 KiB").to_le_bytes();
            payload.extend_from_slice(&[0xFC, length[0], length[1]]);
        }
    }
    payload.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_set_ends_as_the_client_chose() {
        let reply = |end| {
            let mut writer = ReplyWriter::new(end);
            writer.column_count(1);
            writer.column(b"c", ColumnType::Text);
            writer.columns_end();
            writer.text_row(&[b"x"]);
            writer.rows_end();
            writer.into_bytes()
        };
        let with_ok = reply(ResultEnd::OkPacket);
        assert!(with_ok.ends_with(b"\x02\x00\x00\x03\x01x\x07\x00\x00\x04\xFE\x00\x00\x02\x00\x00\x00"));
        let with_eof = reply(ResultEnd::EofPackets);
        assert!(with_eof.ends_with(
            b"\x05\x00\x00\x03\xFE\x00\x00\x02\x00\x02\x00\x00\x04\x01x\x05\x00\x00\x05\xFE\x00\x00\x02\x00"
        ));
    }

    #[test]
    fn a_packet_is_found_only_when_all_of_it_is_there() {
        let bytes = command(0x03, b"SELECT 1");
        for cut in 0..bytes.len() {
            assert_eq!(first_packet(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(first_packet(&bytes), Some((b"\x03SELECT 1".as_slice(), 0, 13)));
    }
}
