//! A table from words to values, made at compile time, looked up in any case in a few nanoseconds.

/// Open addressing over entries that stand in the source in readable order.
///
/// Invariant: at least half of the slots are empty, so a search for an unknown word ends soon.
pub(super) struct WordTable<T: 'static, const SLOTS: usize> {
    entries: &'static [(&'static str, T)],
    slots: [Slot; SLOTS],
    /// For each first letter the lengths of its words, one bit each: most words that are looked for are not there.
    lengths: [u32; 32],
}

/// A word as numbers, and one more than the index of its entry; 0 is empty.
#[derive(Clone, Copy)]
struct Slot {
    key: Key,
    index: u16,
}

/// A word of up to 16 bytes as two numbers that are the same for both cases; of a longer one the first and the last
/// eight bytes.
///
/// The bit 0x20 makes letters lower case. It leaves digits alone, and makes equal only what no name holds beside.
#[derive(Clone, Copy)]
struct Key {
    head: u64,
    tail: u64,
    length: usize,
}

impl<T: Copy, const SLOTS: usize> WordTable<T, SLOTS> {
    /// The words are in lower case and not empty, and none stands there twice.
    pub(super) const fn new(entries: &'static [(&'static str, T)]) -> WordTable<T, SLOTS> {
        assert!(SLOTS.is_power_of_two() && entries.len() * 2 <= SLOTS);
        let mut slots = [Slot { key: Key { head: 0, tail: 0, length: 0 }, index: 0 }; SLOTS];
        let mut lengths = [0; 32];
        let mut index = 0;
        while index < entries.len() {
            let word = entries[index].0.as_bytes();
            let key = Key::of(word);
            let mut slot = key.slot() & (SLOTS - 1);
            while slots[slot].index != 0 {
                assert!(!slots[slot].key.is(key), "a word stands there twice");
                slot = (slot + 1) & (SLOTS - 1);
            }
            slots[slot] = Slot { key, index: index as u16 + 1 };
            lengths[letter(word)] |= length_bit(word);
            index += 1;
        }
        WordTable { entries, slots, lengths }
    }

    /// The words in the order of the source.
    pub(super) const fn entry(&self, index: usize) -> Option<(&'static str, T)> {
        if index < self.entries.len() { Some(self.entries[index]) } else { None }
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
        let key = Key::of(word);
        let mut slot = key.slot() & (SLOTS - 1);
        loop {
            let index = usize::from(self.slots[slot].index).checked_sub(1)?;
            if self.slots[slot].key.is(key) {
                let (known, value) = &self.entries[index];
                let is_it = word.len() <= 16 || known.as_bytes().eq_ignore_ascii_case(word);
                return is_it.then_some(*value);
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
    }
}

impl Key {
    #[inline]
    const fn of(word: &[u8]) -> Key {
        let length = word.len();
        let (head, tail) = if let (Some(head), Some(tail)) = (word.first_chunk(), word.last_chunk()) {
            (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
        } else if let (Some(head), Some(tail)) = (word.first_chunk(), word.last_chunk()) {
            (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64)
        } else {
            (word[0] as u64 | (word[length / 2] as u64) << 8, word[length - 1] as u64)
        };
        let (head, tail) = (head | LOWER_CASE, tail | LOWER_CASE);
        Key { head, tail, length }
    }

    #[inline]
    const fn is(self, other: Key) -> bool {
        self.head == other.head && self.tail == other.tail && self.length == other.length
    }

    #[inline]
    const fn slot(self) -> usize {
        let mixed = self.head ^ self.tail.rotate_left(29) ^ (self.length as u64) << 56;
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize
    }
}

/// What makes the letters among eight bytes lower case.
const LOWER_CASE: u64 = 0x2020_2020_2020_2020;

/// The same for both cases of a letter.
#[inline]
const fn letter(word: &[u8]) -> usize {
    (word[0] & 31) as usize
}

/// Long words share a bit.
#[inline]
const fn length_bit(word: &[u8]) -> u32 {
    1 << if word.len() < 31 { word.len() } else { 31 }
}
