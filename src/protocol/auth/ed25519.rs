//! `client_ed25519` of MariaDB: a signature under a key that is made of the password.
//!
//! It is Ed25519 but for one thing: where RFC 8032 hashes a seed of 32 bytes to the scalar and the prefix of a key, MariaDB
//! hashes the password itself. A server keeps the public key. A signature logs in nowhere else.

use ed25519_dalek::{
    Signature, VerifyingKey,
    hazmat::{ExpandedSecretKey, raw_sign},
};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

/// Bytes of a signature.
pub(super) const SIGNATURE_LENGTH: usize = 64;

/// Bytes of a public key.
pub(super) const KEY_LENGTH: usize = 32;

/// The signature of a message under a password's key.
pub(super) fn sign(password: &[u8], message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
    let secret = secret_key(password);
    raw_sign::<Sha512>(&secret, message, &VerifyingKey::from(&secret)).to_bytes()
}

/// What a server keeps of a password.
pub(super) fn public_key(password: &[u8]) -> [u8; KEY_LENGTH] {
    VerifyingKey::from(&secret_key(password)).to_bytes()
}

/// Whether a signature of a message is one under this public key. A key that is none has no signatures.
pub(super) fn is_signature(signature: &[u8; SIGNATURE_LENGTH], message: &[u8], key: &[u8; KEY_LENGTH]) -> bool {
    let key = VerifyingKey::from_bytes(key);
    key.is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

fn secret_key(password: &[u8]) -> ExpandedSecretKey {
    let expanded: Zeroizing<[u8; 64]> = Zeroizing::new(Sha512::digest(password).into());
    ExpandedSecretKey::from_bytes(&expanded)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

    use super::*;

    #[test]
    fn the_public_key_is_what_a_server_keeps() {
        // CREATE USER … IDENTIFIED VIA ed25519 USING PASSWORD('secret'), as the manual of the plugin shows it.
        let kept = STANDARD_NO_PAD.encode(public_key(b"secret"));
        assert_eq!(kept, "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY");
    }

    #[test]
    #[cfg_attr(miri, ignore = "many signatures, of which each takes half a minute")]
    fn a_signature_is_of_its_message_and_its_password() {
        let key = public_key(b"secret");
        let signature = sign(b"secret", &[7; 32]);
        assert!(is_signature(&signature, &[7; 32], &key));
        assert!(!is_signature(&signature, &[8; 32], &key));
        assert!(!is_signature(&sign(b"other", &[7; 32]), &[7; 32], &key));
        assert!(!is_signature(&[0; SIGNATURE_LENGTH], &[7; 32], &key));
        assert!(!is_signature(&signature, &[7; 32], &[0xFF; KEY_LENGTH]));
    }
}
