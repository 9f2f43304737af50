//! The mirror of [`Reader`](super::reader::Reader): appends fields to a payload.

/// Appends fields to a buffer.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends behind what `out` already holds.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// As many zero bytes.
    pub fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// A length-encoded integer in its shortest form.
    pub fn lenenc(&mut self, value: u64) {
        let bytes = value.to_le_bytes();
        match value {
            0..=0xFA => self.u8(bytes[0]),
            0xFB..=0xFFFF => self.marked(0xFC, &bytes[..2]),
            0x1_0000..=0xFF_FFFF => self.marked(0xFD, &bytes[..3]),
            0x100_0000.. => self.marked(0xFE, &bytes),
        }
    }

    /// Bytes behind their length-encoded length.
    pub fn lenenc_bytes(&mut self, bytes: &[u8]) {
        self.lenenc(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// Bytes and a NUL. Bytes from an inner NUL on are left out: the reader of the packet would take them
    /// for the next field.
    pub fn nul_bytes(&mut self, bytes: &[u8]) {
        let length = memchr::memchr(0, bytes).unwrap_or(bytes.len());
        self.bytes(&bytes[..length]);
        self.u8(0);
    }

    fn marked(&mut self, marker: u8, bytes: &[u8]) {
        self.u8(marker);
        self.bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lenenc(value: u64, expected: &[u8]) {
        let mut out = Vec::new();
        Writer::new(&mut out).lenenc(value);
        assert_eq!(out, expected, "{value}");
    }

    #[test]
    fn length_encoded_integers_take_their_shortest_form() {
        check_lenenc(250, &[0xFA]);
        check_lenenc(251, &[0xFC, 0xFB, 0x00]);
        check_lenenc(0xFFFF, &[0xFC, 0xFF, 0xFF]);
        check_lenenc(0x1_0000, &[0xFD, 0, 0, 1]);
        check_lenenc(0xFF_FFFF, &[0xFD, 0xFF, 0xFF, 0xFF]);
        check_lenenc(0x100_0000, &[0xFE, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_nul_inside_a_text_cannot_begin_another_field() {
        let mut out = Vec::new();
        Writer::new(&mut out).nul_bytes(b"app\0root");
        assert_eq!(out, b"app\0");
    }
}
