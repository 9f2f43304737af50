//! Packets: the four-byte header, logical packets of several pieces, and their boundaries in a byte stream.
//!
//! A logical packet of 16 MiB - 1 bytes or more is cut into pieces of exactly [`PAYLOAD_MAX`] bytes and ends
//! with a shorter piece, possibly an empty one. Only the first byte of the first piece tells what a packet
//! is; a later piece starts with data. Compressed packets are not known here.

use super::writer::Writer;

/// Bytes of a packet header: three of payload length, one of sequence id.
pub const HEADER_LENGTH: usize = 4;

/// The longest payload of one piece. A piece of this length is followed by another one.
pub const PAYLOAD_MAX: usize = 0xFF_FFFF;

/// The head of each piece of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that follow this header; `0 <= payload_length <= PAYLOAD_MAX`.
    pub payload_length: u32,
    /// Counts pieces in both directions since the command began, modulo 256.
    pub sequence: u8,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` if there are fewer than four.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        bytes.first_chunk().map(|head| Header::from_bytes(*head))
    }

    /// Reads a header from its four bytes.
    #[inline]
    pub fn from_bytes(head: [u8; HEADER_LENGTH]) -> Header {
        let word = u32::from_le_bytes(head);
        Header { payload_length: word & 0xFF_FFFF, sequence: (word >> 24) as u8 }
    }

    /// The four bytes on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        debug_assert!(self.payload_length as usize <= PAYLOAD_MAX);
        (self.payload_length & 0xFF_FFFF | u32::from(self.sequence) << 24).to_le_bytes()
    }

    /// Whether another piece of the same packet follows this one.
    pub fn is_continued(self) -> bool {
        self.payload_length as usize == PAYLOAD_MAX
    }
}

/// Appends `payload` as one logical packet, in as many pieces as it needs; returns the next sequence id.
pub fn write_packet(out: &mut Vec<u8>, sequence: u8, payload: &[u8]) -> u8 {
    let mut sequence = sequence;
    let mut rest = payload;
    loop {
        let (piece, after) = rest.split_at(rest.len().min(PAYLOAD_MAX));
        out.extend_from_slice(&Header { payload_length: piece.len() as u32, sequence }.to_bytes());
        out.extend_from_slice(piece);
        sequence = sequence.wrapping_add(1);
        rest = after;
        if piece.len() < PAYLOAD_MAX {
            return sequence;
        }
    }
}

/// Appends one logical packet whose payload `build` writes in place; returns the next sequence id.
pub fn build_packet(out: &mut Vec<u8>, sequence: u8, build: impl FnOnce(&mut Writer<'_>)) -> u8 {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LENGTH]);
    build(&mut Writer::new(out));
    let payload_length = out.len() - start - HEADER_LENGTH;
    if payload_length >= PAYLOAD_MAX {
        let payload = out.split_off(start + HEADER_LENGTH);
        out.truncate(start);
        return write_packet(out, sequence, &payload);
    }
    let header = Header { payload_length: payload_length as u32, sequence };
    out[start..start + HEADER_LENGTH].copy_from_slice(&header.to_bytes());
    sequence.wrapping_add(1)
}

/// Gathers a header whose bytes may be cut anywhere.
///
/// Invariant: `held < HEADER_LENGTH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeaderParts {
    bytes: [u8; HEADER_LENGTH],
    /// How many of `bytes` are there.
    held: u8,
}

impl HeaderParts {
    /// Takes what is missing from the start of `bytes`: how many bytes, and the header when it is whole.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Option<Header>) {
        let held = usize::from(self.held);
        let taken = bytes.len().min(HEADER_LENGTH - held);
        self.bytes[held..held + taken].copy_from_slice(&bytes[..taken]);
        if held + taken < HEADER_LENGTH {
            self.held = (held + taken) as u8;
            return (taken, None);
        }
        self.held = 0;
        (taken, Some(Header::from_bytes(self.bytes)))
    }

    /// No byte of an unfinished header is held.
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }
}

/// Follows one logical packet with all its pieces through a byte stream, however the bytes are cut.
///
/// After [`Walked::finished`] it stands between packets and may follow the next one.
///
/// Invariant: `payload_left > 0` only when no part of a header is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walker {
    header: HeaderParts,
    /// The last piece was a full one: the next piece belongs to the same packet.
    is_continued: bool,
    /// Sequence id of the last whole header.
    last_sequence: u8,
    /// Bytes of the current piece that have not gone by.
    payload_left: u32,
}

/// What [`Walker::walk`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Bytes that belong to the packet: all of those given, unless `finished`.
    pub consumed: usize,
    /// The packet's last byte was among them.
    pub finished: bool,
}

impl Walker {
    /// Stands before a packet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes through `bytes` up to the end of the packet, or through all of them.
    pub fn walk(&mut self, bytes: &[u8]) -> Walked {
        let mut consumed = 0;
        while consumed < bytes.len() {
            if self.payload_left == 0 {
                let (taken, header) = self.header.take(&bytes[consumed..]);
                consumed += taken;
                let Some(header) = header else { break };
                self.begin_piece(header);
            }
            let skipped = (bytes.len() - consumed).min(self.payload_left as usize);
            self.payload_left -= skipped as u32;
            consumed += skipped;
            if self.is_between_packets() {
                return Walked { consumed, finished: true };
            }
        }
        Walked { consumed, finished: false }
    }

    /// Sequence id of the last piece whose whole header went by; 0 before the first.
    pub fn last_sequence(&self) -> u8 {
        self.last_sequence
    }

    /// No byte of an unfinished packet has gone by.
    pub fn is_between_packets(&self) -> bool {
        self.header.is_empty() && self.payload_left == 0 && !self.is_continued
    }

    fn begin_piece(&mut self, header: Header) {
        self.payload_left = header.payload_length;
        self.is_continued = header.is_continued();
        self.last_sequence = header.sequence;
    }
}

/// What stands at the start of some bytes; see [`peek_packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeked<'a> {
    /// A whole packet of one piece.
    Complete {
        /// What follows the header.
        payload: &'a [u8],
        /// The sequence id in the header.
        sequence: u8,
        /// Bytes of header and payload.
        length: usize,
    },
    /// The packet is cut: look again when there are this many bytes, counted from the same start.
    NeedBytes {
        /// More than were given; at most `HEADER_LENGTH + payload_max`.
        at_least: usize,
    },
    /// The payload is longer than allowed.
    TooLong,
}

/// Looks for a whole packet of one piece at the start of `bytes`.
///
/// Meant for the login phase, where every packet is small: a packet of several pieces is
/// [`Peeked::TooLong`] whatever `payload_max` says, so that a caller never gathers more than
/// `HEADER_LENGTH + payload_max` bytes.
pub fn peek_packet(bytes: &[u8], payload_max: usize) -> Peeked<'_> {
    let Some(header) = Header::parse(bytes) else {
        return Peeked::NeedBytes { at_least: HEADER_LENGTH };
    };
    let payload_length = header.payload_length as usize;
    if header.is_continued() || payload_length > payload_max {
        return Peeked::TooLong;
    }
    let length = HEADER_LENGTH + payload_length;
    match bytes.get(HEADER_LENGTH..length) {
        Some(payload) => Peeked::Complete { payload, sequence: header.sequence, length },
        None => Peeked::NeedBytes { at_least: length },
    }
}

/// Fuzz entry: the first two bytes choose where the rest is cut; cutting must not change what is found.
pub fn fuzz_packet(bytes: &[u8]) {
    let Some((step, stream)) = bytes.split_first() else {
        return;
    };
    assert_eq!(walk_all(stream, stream.len().max(1)), walk_all(stream, usize::from(*step).max(1)));
    if let Peeked::NeedBytes { at_least } = peek_packet(stream, 1 << 16) {
        assert!(at_least > stream.len() && at_least <= HEADER_LENGTH + (1 << 16));
    }
}

/// The places where packets end in `stream`, when it arrives in slices of `step` bytes.
fn walk_all(stream: &[u8], step: usize) -> Vec<usize> {
    let mut walker = Walker::new();
    let mut ends = Vec::new();
    let mut offset = 0;
    for mut slice in stream.chunks(step) {
        while !slice.is_empty() {
            let walked = walker.walk(slice);
            offset += walked.consumed;
            slice = &slice[walked.consumed..];
            if walked.finished {
                ends.push(offset);
            }
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_is_three_bytes_of_length_and_one_of_sequence() {
        let header = Header::parse(&[0x07, 0x01, 0x00, 0x02, 0xFF]).unwrap();
        assert_eq!(header, Header { payload_length: 0x107, sequence: 2 });
        assert_eq!(header.to_bytes(), [0x07, 0x01, 0x00, 0x02]);
        assert_eq!(Header::parse(&[1, 0, 0]), None);
    }

    /// Lengths of the pieces that a payload of this length is cut into.
    fn check_pieces(payload_length: usize, expected: &[usize]) {
        let payload = vec![0x5A; payload_length];
        let mut out = vec![0xEE];
        let next = write_packet(&mut out, 0xFF, &payload);
        let mut built = vec![0xEE];
        assert_eq!(build_packet(&mut built, 0xFF, |writer| writer.bytes(&payload)), next);
        assert!(built == out, "written in place and copied must be the same");
        let mut pieces = Vec::new();
        let mut rest = &out[1..];
        while let Some(header) = Header::parse(rest) {
            assert_eq!(header.sequence, 0xFFu8.wrapping_add(pieces.len() as u8));
            pieces.push(header.payload_length as usize);
            rest = &rest[HEADER_LENGTH + header.payload_length as usize..];
        }
        assert_eq!(pieces, expected);
        assert_eq!(next, 0xFFu8.wrapping_add(pieces.len() as u8));
        assert_eq!(walk_all(&out[1..], 4096), [out.len() - 1]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "80 MiB of payload")]
    fn a_long_payload_is_cut_and_always_ends_with_a_short_piece() {
        check_pieces(0, &[0]);
        check_pieces(PAYLOAD_MAX - 1, &[PAYLOAD_MAX - 1]);
        check_pieces(PAYLOAD_MAX, &[PAYLOAD_MAX, 0]);
        check_pieces(PAYLOAD_MAX + 1, &[PAYLOAD_MAX, 1]);
        check_pieces(2 * PAYLOAD_MAX, &[PAYLOAD_MAX, PAYLOAD_MAX, 0]);
    }

    #[test]
    fn a_walker_stops_behind_its_packet() {
        let mut walker = Walker::new();
        assert!(walker.is_between_packets());
        assert_eq!(walker.walk(&[2, 0]), Walked { consumed: 2, finished: false });
        assert!(!walker.is_between_packets());
        assert_eq!(walker.walk(&[0, 9, 0xAA]), Walked { consumed: 3, finished: false });
        assert_eq!(walker.walk(&[0xBB, 1, 0, 0, 0, 1]), Walked { consumed: 1, finished: true });
        assert!(walker.is_between_packets());
        assert_eq!(walker.last_sequence(), 9);
    }

    #[test]
    fn an_empty_packet_ends_with_its_header() {
        let mut walker = Walker::new();
        assert_eq!(walker.walk(&[0, 0, 0, 3, 1]), Walked { consumed: 4, finished: true });
    }

    #[test]
    fn a_packet_is_peeked_only_when_whole_and_short_enough() {
        let bytes = [3, 0, 0, 1, b'a', b'b', b'c', b'd'];
        assert_eq!(peek_packet(&bytes, 3), Peeked::Complete { payload: b"abc", sequence: 1, length: 7 });
        assert_eq!(peek_packet(&bytes[..6], 3), Peeked::NeedBytes { at_least: 7 });
        assert_eq!(peek_packet(&bytes[..2], 3), Peeked::NeedBytes { at_least: 4 });
        assert_eq!(peek_packet(&bytes[..4], 2), Peeked::TooLong);
        assert_eq!(peek_packet(&[0xFF, 0xFF, 0xFF, 0], usize::MAX), Peeked::TooLong);
    }

    proptest! {
        #[test]
        fn packet_boundaries_do_not_depend_on_how_the_bytes_arrive(
            lengths in prop::collection::vec(0usize..40, 0..20),
            step in 1usize..50,
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for length in lengths {
                write_packet(&mut stream, 0, &vec![0xFF; length]);
                expected.push(stream.len());
            }
            prop_assert_eq!(walk_all(&stream, step), expected);
        }

        #[test]
        fn hostile_bytes_are_walked_alike_in_every_cut(bytes: Vec<u8>) {
            fuzz_packet(&bytes);
        }
    }
}
