//! `parsec` of MariaDB 11.6 and later: a signature under a key that is stretched from the password.
//!
//! The server sends 32 random bytes, then how the key is stretched; the client signs these bytes and 32 of its own. What
//! a server keeps is the public key, with the salt. A signature logs in nowhere else.

use std::num::NonZeroU32;

use aws_lc_rs::{
    pbkdf2::{self, PBKDF2_HMAC_SHA512},
    signature::{Ed25519KeyPair, KeyPair},
};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

/// Bytes that each side adds to what is signed.
pub(super) const NONCE_LENGTH: usize = 32;

const SALT_LENGTH: usize = 18;

/// PBKDF2 with HMAC-SHA-512.
const PBKDF2: u8 = b'P';

/// Doublings of the least number of iterations that a server may ask for; its own bound.
const DOUBLINGS_MAX: u8 = 3;
const ITERATIONS_LEAST: u32 = 1024;

/// How a key is made of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretching {
    doublings: u8,
    salt: [u8; SALT_LENGTH],
}

impl Stretching {
    /// Reads what a server sends of it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Stretching> {
        let [PBKDF2, doublings @ 0..=DOUBLINGS_MAX, salt @ ..] = bytes else { return None };
        Some(Stretching { doublings: *doublings, salt: salt.try_into().ok()? })
    }

    /// The same from the parts of what a server keeps: the way with the number of doublings, and the salt.
    pub(super) fn of_parts(way: &str, salt: &[u8]) -> Option<Stretching> {
        let doublings = way.strip_prefix(char::from(PBKDF2))?.parse().ok()?;
        let salt = salt.try_into().ok()?;
        (doublings <= DOUBLINGS_MAX).then_some(Stretching { doublings, salt })
    }

    /// What a server keeps of a password, beside this. Takes some milliseconds, as does each signature.
    pub(super) fn public_key(&self, password: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(key_pair(&self.seed(password)).public_key().as_ref());
        key
    }

    /// The client's answer: its nonce and the signature of both.
    pub(super) fn answer(&self, password: &[u8], server_nonce: &[u8; NONCE_LENGTH]) -> Vec<u8> {
        let seed = self.seed(password);
        let own_nonce = own_nonce(&seed, server_nonce);
        let signature = key_pair(&seed).sign(&[&server_nonce[..], &own_nonce].concat());
        [&own_nonce[..], signature.as_ref()].concat()
    }

    fn seed(&self, password: &[u8]) -> Zeroizing<[u8; 32]> {
        let iterations = NonZeroU32::new(ITERATIONS_LEAST << self.doublings).expect("it is at least the least");
        let mut seed = Zeroizing::new([0; 32]);
        pbkdf2::derive(PBKDF2_HMAC_SHA512, iterations, &self.salt, password, &mut *seed);
        seed
    }
}

/// Keeps a server from choosing what is signed. It need not be random, only not be foreseen by who does not know the
/// password, and another one for each nonce of the server's; so it is made of these, as Ed25519 makes its own.
fn own_nonce(seed: &[u8; 32], server_nonce: &[u8; NONCE_LENGTH]) -> [u8; NONCE_LENGTH] {
    let digest =
        Sha512::new().chain_update(b"nonce of a client").chain_update(seed).chain_update(server_nonce).finalize();
    std::array::from_fn(|index| digest[index])
}

fn key_pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn stretching(doublings: u8) -> Option<Stretching> {
        Stretching::parse(&[&[PBKDF2, doublings], &[5; SALT_LENGTH][..]].concat())
    }

    #[test]
    #[cfg_attr(miri, ignore = "the signature is of the library in C")]
    fn an_answer_is_signed_under_the_key_that_the_server_keeps() {
        let stretching = stretching(1).unwrap();
        let answer = stretching.answer(b"secret", &[9; NONCE_LENGTH]);
        let (own_nonce, signature) = answer.split_at(NONCE_LENGTH);
        let signed = [&[9; NONCE_LENGTH], own_nonce].concat();
        let is_right = |password: &[u8]| {
            UnparsedPublicKey::new(&ED25519, stretching.public_key(password)).verify(&signed, signature).is_ok()
        };
        assert!(is_right(b"secret"));
        assert!(!is_right(b"other"));
    }

    #[test]
    fn a_server_cannot_ask_for_more_work_than_servers_do() {
        assert!(stretching(DOUBLINGS_MAX).is_some());
        assert_eq!(stretching(DOUBLINGS_MAX + 1), None);
        assert_eq!(stretching(0xFF), None);
        assert_eq!(Stretching::parse(&[b'Q'; 2 + SALT_LENGTH]), None);
        assert_eq!(Stretching::parse(&[PBKDF2, 0, 1]), None);
        assert_eq!(Stretching::parse(b""), None);
    }
}
