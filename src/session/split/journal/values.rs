//! What a server said of the variables that are compared. A session keeps it as long as it lives, of each of its servers:
//! all values are one piece of memory, and servers that said the same share it.

use std::sync::Arc;

use crate::{
    protocol::{reader::Reader, writer::Writer},
    sql::Family,
};

use super::variables::compared;

/// A server's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session::split) struct Values {
    /// Decides which variables are [`compared`].
    family: Family,
    /// Of these variables in that order, each behind its length; of fewer, the rest is empty.
    values: Arc<[u8]>,
}

impl Values {
    pub(in crate::session::split) fn new(family: Family, values: impl Iterator<Item = Vec<u8>>) -> Values {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for (_, value) in compared(family).zip(values) {
            writer.lenenc_bytes(&value);
        }
        Values { family, values: bytes.into() }
    }

    /// Each name with its value.
    pub(in crate::session::split) fn iterate(&self) -> impl Iterator<Item = (&'static [u8], &[u8])> {
        let mut reader = Reader::new(&self.values);
        compared(self.family).map(move |name| {
            let value = reader.lenenc_bytes("value").unwrap_or_default();
            (name.as_bytes(), value)
        })
    }

    pub(super) fn of(&self, wanted: &[u8]) -> Option<&[u8]> {
        self.iterate().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// Forgets its own memory where `other` has the same values.
    pub(in crate::session::split) fn share(&mut self, other: Option<&Values>) {
        if let Some(other) = other.filter(|other| *other == self) {
            self.clone_from(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: Family = Family::MariaDb { version: 101_119 };

    fn values(list: &[&[u8]]) -> Values {
        Values::new(FAMILY, list.iter().map(|value| value.to_vec()))
    }

    #[test]
    fn each_name_has_its_value() {
        let long = [b'x'; 300];
        let values = values(&[&long, b"SYSTEM"]);
        assert_eq!(values.of(b"sql_mode"), Some(&long[..]));
        assert_eq!(values.of(b"time_zone"), Some(&b"SYSTEM"[..]));
        assert_eq!(values.of(b"max_sort_length"), Some(&b""[..]));
        assert_eq!(values.of(b"other"), None);
        assert_eq!(values.iterate().count(), compared(FAMILY).count());
    }

    #[test]
    fn servers_that_say_the_same_share_it() {
        let home = values(&[b"ANSI", b"UTC"]);
        let mut other = values(&[b"ANSI", b"SYSTEM"]);
        other.share(Some(&home));
        assert_eq!(other, values(&[b"ANSI", b"SYSTEM"]));
        let mut same = values(&[b"ANSI", b"UTC"]);
        assert!(!Arc::ptr_eq(&same.values, &home.values));
        same.share(Some(&home));
        assert!(Arc::ptr_eq(&same.values, &home.values));
    }
}
