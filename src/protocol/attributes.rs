//! Connection attributes: pairs of name and value by which a client says what it is.
//!
//! They are kept as they came, and read only where something is looked for.

use super::{reader::Reader, writer::Writer};

/// Servers take no more than this many bytes of attributes, and lose or refuse longer ones.
pub const ATTRIBUTES_MAX: usize = 64 * 1024;

/// Appends a pair to raw attributes, if they then still fit into [`ATTRIBUTES_MAX`]; says whether it did.
pub fn append(attributes: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
    let before = attributes.len();
    let mut writer = Writer::new(attributes);
    writer.lenenc_bytes(name);
    writer.lenenc_bytes(value);
    let fits = attributes.len() <= ATTRIBUTES_MAX;
    if !fits {
        attributes.truncate(before);
    }
    fits
}

/// The pairs of raw attributes, up to the first malformed one.
pub fn iterate(attributes: &[u8]) -> Pairs<'_> {
    Pairs { reader: Reader::new(attributes) }
}

/// The value of the first pair of this name.
pub fn find<'a>(attributes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    iterate(attributes).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Raw attributes but for pairs of this name, and for what is malformed.
pub fn without(attributes: &[u8], name: &[u8]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(attributes.len());
    iterate(attributes)
        .filter(|(found, _)| *found != name)
        .for_each(|(name, value)| _ = append(&mut rest, name, value));
    rest
}

/// Iterator over pairs of name and value.
pub struct Pairs<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.reader.lenenc_bytes("attribute name").ok();
        let value = self.reader.lenenc_bytes("attribute value").ok();
        if value.is_none() {
            self.reader.rest();
        }
        name.zip(value)
    }
}

/// Fuzz entry: reading stops, and pairs written again are read again.
pub fn fuzz_attributes(bytes: &[u8]) {
    let mut again = Vec::new();
    let kept = iterate(bytes).take_while(|(name, value)| append(&mut again, name, value)).count();
    assert!(kept <= bytes.len());
    assert!(iterate(&again).eq(iterate(bytes).take(kept)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_appended_and_found() {
        let mut attributes = b"\x03_os\x05Linux".to_vec();
        assert!(append(&mut attributes, b"program_name", b"sqluice"));
        assert_eq!(find(&attributes, b"_os"), Some(&b"Linux"[..]));
        assert_eq!(find(&attributes, b"program_name"), Some(&b"sqluice"[..]));
        assert_eq!(find(&attributes, b"_pid"), None);
    }

    #[test]
    fn reading_stops_at_a_pair_that_is_cut() {
        let attributes = b"\x01a\x01b\x01c\x09d";
        assert_eq!(iterate(attributes).collect::<Vec<_>>(), [(&b"a"[..], &b"b"[..])]);
        assert_eq!(iterate(b"\xFF\x01a\x01b").count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut attributes = vec![0; ATTRIBUTES_MAX - 5];
        assert!(!append(&mut attributes, b"ab", b"cd"));
        assert_eq!(attributes.len(), ATTRIBUTES_MAX - 5);
        assert!(append(&mut attributes, b"ab", b"c"));
        assert_eq!(attributes.len(), ATTRIBUTES_MAX);
    }

    proptest! {
        #[test]
        fn hostile_attributes_are_read_to_their_end(bytes: Vec<u8>) {
            fuzz_attributes(&bytes);
        }
    }
}
