//! The salts of one session: each login of a session proves its password on a salt of its own.

use sha2::{Digest, Sha256};

use crate::protocol::handshake::Salt;

/// Derives any number of salts from one random seed, so that the session itself needs no randomness.
pub(super) struct Salts {
    seed: [u8; 32],
    drawn: u32,
}

impl Salts {
    /// `seed` must be random and used for this session only.
    pub(super) fn new(seed: [u8; 32]) -> Salts {
        Salts { seed, drawn: 0 }
    }

    /// The next salt; none comes twice.
    pub(super) fn draw(&mut self) -> Salt {
        Salt::from_random(self.bytes())
    }

    /// Random-looking bytes that do not serve as a salt, such as the password of a user that does not exist.
    pub(super) fn bytes(&mut self) -> [u8; 20] {
        let nonce = self.nonce();
        std::array::from_fn(|index| nonce[index])
    }

    /// The same, for plugins that sign what they are given.
    pub(super) fn nonce(&mut self) -> [u8; 32] {
        self.drawn += 1;
        Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_le_bytes()).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::Salts;

    #[test]
    fn no_salt_comes_twice() {
        let mut salts = Salts::new([7; 32]);
        let first = salts.draw();
        assert_ne!(first.0, salts.draw().0);
        assert_ne!(first.0, Salts::new([8; 32]).draw().0);
    }
}
