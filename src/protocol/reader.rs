//! A bounded cursor over a payload: the only way in which this module reads a peer's bytes.
//!
//! Each read names its field, so that a short or lying packet becomes an error that says where.

use std::fmt;

/// A payload does not hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field that was cut, too long or of an impossible value.
    pub field: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "malformed packet: {}", self.field)
    }
}

impl std::error::Error for Malformed {}

/// Reads fields from the front of a payload.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// What has not been read.
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Stands before the first byte of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// Nothing is left to read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next byte, left in place.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Everything that is left; the reader is empty afterwards.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed { field })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The next `N` bytes, by value.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed { field })?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// Passes over `length` bytes.
    pub fn skip(&mut self, length: usize, field: &'static str) -> Result<(), Malformed> {
        self.bytes(length, field).map(drop)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(field)?[0])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Three bytes, little-endian.
    pub fn u24(&mut self, field: &'static str) -> Result<u32, Malformed> {
        let [low, middle, high] = self.array(field)?;
        Ok(u32::from_le_bytes([low, middle, high, 0]))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A length-encoded integer: one byte below 0xFB, else a marker and 2, 3 or 8 bytes.
    /// The markers of NULL (0xFB) and of an error packet (0xFF) are malformed here.
    pub fn lenenc(&mut self, field: &'static str) -> Result<u64, Malformed> {
        match self.u8(field)? {
            0xFC => self.u16(field).map(u64::from),
            0xFD => self.u24(field).map(u64::from),
            0xFE => self.u64(field),
            0xFB | 0xFF => Err(Malformed { field }),
            short => Ok(u64::from(short)),
        }
    }

    /// Bytes behind their length-encoded length.
    pub fn lenenc_bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.lenenc(field)?;
        self.bytes(usize::try_from(length).map_err(|_| Malformed { field })?, field)
    }

    /// Like [`lenenc_bytes`](Self::lenenc_bytes), where 0xFB stands for NULL: a value of a text row.
    pub fn lenenc_bytes_or_null(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        if self.peek() == Some(0xFB) {
            self.skip(1, field)?;
            return Ok(None);
        }
        self.lenenc_bytes(field).map(Some)
    }

    /// Bytes up to the next NUL, which is passed over.
    pub fn nul_bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = memchr::memchr(0, self.rest).ok_or(Malformed { field })?;
        let bytes = self.bytes(length, field)?;
        self.skip(1, field)?;
        Ok(bytes)
    }

    /// Bytes up to the next NUL, or all that is left: some senders omit the last NUL of a packet.
    pub fn nul_bytes_or_rest(&mut self) -> &'a [u8] {
        self.nul_bytes("text").unwrap_or_else(|_| self.rest())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::writer::Writer;

    const CUT: Malformed = Malformed { field: "it" };

    #[test]
    fn integers_are_little_endian() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(reader.u8("a"), Ok(0x01));
        assert_eq!(reader.u16("b"), Ok(0x0302));
        assert_eq!(reader.u24("c"), Ok(0x06_0504));
        assert_eq!(reader.u32("d"), Ok(0x0A09_0807));
        assert_eq!(reader.u8("it"), Err(CUT));
        assert_eq!(Reader::new(&[1, 0, 0, 0, 0, 0, 0, 0x80]).u64("e"), Ok(0x8000_0000_0000_0001));
    }

    #[test]
    fn a_cut_field_names_itself_and_takes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32("it"), Err(CUT));
        assert_eq!(reader.len(), 3);
    }

    fn check_lenenc(bytes: &[u8], expected: Result<u64, Malformed>) {
        assert_eq!(Reader::new(bytes).lenenc("it"), expected, "{bytes:02x?}");
    }

    #[test]
    fn length_encoded_integers_have_four_widths_and_two_gaps() {
        check_lenenc(&[0xFA], Ok(250));
        check_lenenc(&[0xFC, 0xFB, 0x00], Ok(251));
        check_lenenc(&[0xFD, 0, 0, 1], Ok(65_536));
        check_lenenc(&[0xFE, 0, 0, 0, 1, 0, 0, 0, 0], Ok(1 << 24));
        check_lenenc(&[0xFE, 0, 0, 0, 1, 0, 0, 0], Err(CUT));
        check_lenenc(&[0xFB], Err(CUT));
        check_lenenc(&[0xFF, 1, 2], Err(CUT));
        check_lenenc(&[], Err(CUT));
    }

    #[test]
    fn a_length_that_lies_is_malformed() {
        assert_eq!(Reader::new(&[3, b'a', b'b']).lenenc_bytes("it"), Err(CUT));
        let endless = [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        assert_eq!(Reader::new(&endless).lenenc_bytes("it"), Err(CUT));
        assert_eq!(Reader::new(b"abc").nul_bytes("it"), Err(CUT));
    }

    #[test]
    fn null_is_not_an_empty_value() {
        let mut reader = Reader::new(&[0xFB, 0x00, 0x01, b'x']);
        assert_eq!(reader.lenenc_bytes_or_null("it"), Ok(None));
        assert_eq!(reader.lenenc_bytes_or_null("it"), Ok(Some(&b""[..])));
        assert_eq!(reader.lenenc_bytes_or_null("it"), Ok(Some(&b"x"[..])));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64, text: Vec<u8>) {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out);
            writer.lenenc(number);
            writer.lenenc_bytes(&text);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.lenenc("number"), Ok(number));
            prop_assert_eq!(reader.lenenc_bytes("text"), Ok(&text[..]));
            prop_assert!(reader.is_empty());
        }
    }
}
