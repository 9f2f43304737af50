//! Eight bytes looked at as one number: most strings are short, and of any length, so that a loop over their
//! bytes ends where the processor does not expect it.
//!
//! A mark is the top bit of a byte; the lowest mark belongs to the first byte.

/// One bit in each byte.
const EACH: u64 = u64::from_le_bytes([1; 8]);
const TOPS: u64 = EACH << 7;

/// The eight bytes from a place on, with zeros for those behind the end.
#[inline]
pub(super) fn eight_at(text: &[u8], at: usize) -> u64 {
    if let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        return u64::from_le_bytes(*chunk);
    }
    last_at(text, at)
}

/// Fewer than eight bytes are left.
#[cold]
fn last_at(text: &[u8], at: usize) -> u64 {
    let missing = (at + 8).saturating_sub(text.len()).min(8) as u32;
    match text.last_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk).checked_shr(8 * missing).unwrap_or(0),
        None => text.iter().skip(at).rev().fold(0, |bytes, byte| (bytes << 8) | u64::from(*byte)),
    }
}

/// How many bytes stand before the first mark; 8 without one.
#[inline]
pub(super) fn before_first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Marks the first byte of this value; marks behind it mean nothing.
#[inline]
pub(super) fn equal(bytes: u64, byte: u8) -> u64 {
    let differs = bytes ^ (EACH * u64::from(byte));
    differs.wrapping_sub(EACH) & !differs & TOPS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte at each place, among bytes that are marked and bytes that are not.
    fn check(marks: fn(u64) -> u64, is_marked: fn(u8) -> bool) {
        for around in [b'a', b'7', b' ', 0, 0xFF] {
            for byte in 0..=255 {
                for place in 0..8 {
                    let mut bytes = [around; 8];
                    bytes[place] = byte;
                    let expected = bytes.iter().position(|byte| is_marked(*byte)).unwrap_or(8);
                    assert_eq!(before_first(marks(u64::from_le_bytes(bytes))), expected, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_byte_of_a_kind_is_found() {
        check(|bytes| equal(bytes, b'\''), |byte| byte == b'\'');
        check(|bytes| equal(bytes, 0xFF) | equal(bytes, b'a'), |byte| byte == 0xFF || byte == b'a');
    }

    #[test]
    fn zeros_stand_behind_the_end() {
        let text = b"0123456789";
        for length in 0..=text.len() {
            for at in 0..=length {
                let mut expected = [0; 8];
                let there = &text[at..length.min(at + 8)];
                expected[..there.len()].copy_from_slice(there);
                assert_eq!(eight_at(&text[..length], at).to_le_bytes(), expected, "{at} of {length}");
            }
        }
    }
}
