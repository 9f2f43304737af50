//! A table from words to values, made at compile time, looked up in any case in a few nanoseconds.

/// Open addressing over entries that stand in the source in readable order.
///
/// Invariant: at least half of the slots are empty, so a search for an unknown word ends soon.
pub(super) struct WordTable<T: 'static, const SLOTS: usize> {
    entries: &'static [(&'static str, T)],
    /// One more than the index of an entry; 0 is empty.
    slots: [u16; SLOTS],
    /// For each first letter the lengths of its words, one bit each: most words that are looked for are not there.
    lengths: [u32; 32],
}

impl<T: Copy, const SLOTS: usize> WordTable<T, SLOTS> {
    /// The words are in lower case and not empty, and none stands there twice.
    pub(super) const fn new(entries: &'static [(&'static str, T)]) -> WordTable<T, SLOTS> {
        assert!(SLOTS.is_power_of_two() && entries.len() * 2 <= SLOTS);
        let mut slots = [0; SLOTS];
        let mut lengths = [0; 32];
        let mut index = 0;
        while index < entries.len() {
            let word = entries[index].0.as_bytes();
            let mut slot = hash(word) & (SLOTS - 1);
            while slots[slot] != 0 {
                assert!(!is_same(entries[slots[slot] as usize - 1].0.as_bytes(), word), "a word stands there twice");
                slot = (slot + 1) & (SLOTS - 1);
            }
            slots[slot] = index as u16 + 1;
            lengths[letter(word)] |= length_bit(word);
            index += 1;
        }
        WordTable { entries, slots, lengths }
    }

    /// The value of a word in any case.
    #[inline]
    pub(super) fn find(&self, word: &[u8]) -> Option<T> {
        if word.is_empty() || self.lengths[letter(word)] & length_bit(word) == 0 {
            return None;
        }
        self.search(word)
    }

    fn search(&self, word: &[u8]) -> Option<T> {
        let mut slot = hash(word) & (SLOTS - 1);
        loop {
            let index = usize::from(self.slots[slot]).checked_sub(1)?;
            let (known, value) = &self.entries[index];
            if known.as_bytes().eq_ignore_ascii_case(word) {
                return Some(*value);
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
    }
}

/// The same for both cases of a letter.
const fn letter(word: &[u8]) -> usize {
    (word[0] & 31) as usize
}

/// Long words share a bit.
const fn length_bit(word: &[u8]) -> u32 {
    1 << if word.len() < 31 { word.len() } else { 31 }
}

/// Four bytes and the length tell most words apart; the bit 0x20 makes letters lower case and does no harm to the rest.
const fn hash(word: &[u8]) -> usize {
    let length = word.len();
    let picked = [word[0], word[length / 2], word[length - 1], word[length * 3 / 4]];
    let mixed = (u32::from_le_bytes(picked) | 0x2020_2020) ^ (length as u32).wrapping_mul(0x0101_4001);
    (mixed.wrapping_mul(0x9E37_79B1) >> 15) as usize
}

const fn is_same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}
