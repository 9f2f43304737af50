//! Bytes that nobody else may see.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password or what stands for one: wiped when dropped, compared in constant time, not shown.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over. They must not have been moved about before: a buffer that grew left a copy behind.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes, for the one calculation that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes there are. Not secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none: no password.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    /// In a time that depends on the lengths only.
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_its_content() {
        let secret = Secret::new(*b"hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret, Secret::new(*b"hunter2"));
        assert_ne!(secret, Secret::new(*b"hunter3"));
        assert_ne!(secret, Secret::new(*b"hunter"));
    }
}
