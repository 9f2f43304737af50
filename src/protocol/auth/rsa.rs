//! RSA for `caching_sha2_password` without TLS: the password, hidden from whoever listens, though not from
//! whoever stands in between.
//!
//! What is encrypted is the password with its NUL, xored with the salt over and over, under OAEP with SHA-1.

#[cfg(all(test, miri))]
mod interpreted;

use std::fmt;

#[cfg(not(all(test, miri)))]
use aws_lc_rs::{
    encoding::AsDer,
    rsa::{
        KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
        PublicEncryptingKey,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::Secret;
use crate::protocol::handshake::Salt;

#[cfg(all(test, miri))]
use self::interpreted::*;

/// The longest public key that is read, as PEM: more than one of 16384 bits needs.
const PEM_MAX: usize = 4096;

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// Why RSA did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaError {
    /// The server's public key cannot be read.
    PublicKey,
    /// The password does not fit into one block of the key.
    PasswordTooLong,
    /// The library could not make a key.
    Generation,
}

impl fmt::Display for RsaError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RsaError::PublicKey => "the server's RSA public key cannot be read",
            RsaError::PasswordTooLong => "the password is too long for the server's RSA key",
            RsaError::Generation => "no RSA key could be made",
        })
    }
}

impl std::error::Error for RsaError {}

/// Our key pair, for clients that send their password.
pub struct RsaKey {
    private: OaepPrivateDecryptingKey,
    public_pem: Vec<u8>,
}

impl RsaKey {
    /// Makes a key of 2048 bits, as MySQL does. Takes some tenths of a second and the system's randomness: once, at start.
    pub fn generate() -> Result<RsaKey, RsaError> {
        Self::from_private(PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| RsaError::Generation)?)
    }

    fn from_private(private: PrivateDecryptingKey) -> Result<RsaKey, RsaError> {
        let der = private.public_key().as_der().map_err(|_| RsaError::Generation)?;
        let public_pem = to_pem(der.as_ref());
        let private = OaepPrivateDecryptingKey::new(private).map_err(|_| RsaError::Generation)?;
        Ok(RsaKey { private, public_pem })
    }

    /// The public half as clients want it.
    pub fn public_key_pem(&self) -> &[u8] {
        &self.public_pem
    }

    /// Bytes of everything encrypted for this key.
    pub fn ciphertext_length(&self) -> usize {
        self.private.key_size_bytes()
    }

    /// What was encrypted; `None` if it was not encrypted for this key.
    pub fn decrypt(&self, ciphertext: &[u8]) -> Option<Secret> {
        let mut plaintext = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let found = self.private.decrypt(&OAEP_SHA1_MGF1SHA1, ciphertext, &mut plaintext, None).ok()?;
        Some(Secret::new(&*found))
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RsaKey(..)")
    }
}

/// Encrypts a password for a server's key, as it answers a full authentication.
pub fn encrypt_password(pem: &[u8], password: &Secret, salt: &Salt) -> Result<Vec<u8>, RsaError> {
    let der = from_pem(pem).ok_or(RsaError::PublicKey)?;
    let public = PublicEncryptingKey::from_der(&der).map_err(|_| RsaError::PublicKey)?;
    let key = OaepPublicEncryptingKey::new(public).map_err(|_| RsaError::PublicKey)?;
    let plaintext = with_nul(password.expose());
    let plaintext = xor_with_salt(plaintext.expose(), salt);
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let written = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, plaintext.expose(), &mut ciphertext, None)
        .map_err(|_| RsaError::PasswordTooLong)?
        .len();
    ciphertext.truncate(written);
    Ok(ciphertext)
}

/// The password with its NUL, as it is sent in a full authentication.
pub(super) fn with_nul(password: &[u8]) -> Secret {
    let mut bytes = Vec::with_capacity(password.len() + 1);
    bytes.extend_from_slice(password);
    bytes.push(0);
    Secret::new(bytes)
}

/// Hides or shows a password: the same operation both ways.
pub(super) fn xor_with_salt(bytes: &[u8], salt: &Salt) -> Secret {
    let xored: Vec<u8> = bytes.iter().zip(salt.0.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Secret::new(xored)
}

fn to_pem(der: &[u8]) -> Vec<u8> {
    const LINE_LENGTH: usize = 64;
    let text = STANDARD.encode(der);
    let mut pem = format!("{PEM_BEGIN}\n");
    for line in text.as_bytes().chunks(LINE_LENGTH) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str(PEM_END);
    pem.push('\n');
    pem.into_bytes()
}

fn from_pem(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok().filter(|text| text.len() <= PEM_MAX)?;
    let (_, body) = text.split_once(PEM_BEGIN)?;
    let (body, _) = body.split_once(PEM_END)?;
    let body: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(body).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// One key for all tests: making one is slow.
    pub(in super::super) static KEY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate().expect("a key"));

    #[test]
    fn a_password_is_encrypted_and_found_again() {
        let (password, salt) = (Secret::new(*b"pass word"), Salt([0x55; 20]));
        let ciphertext = encrypt_password(KEY.public_key_pem(), &password, &salt).unwrap();
        assert_eq!(ciphertext.len(), KEY.ciphertext_length());
        let plaintext = KEY.decrypt(&ciphertext).unwrap();
        assert_eq!(xor_with_salt(plaintext.expose(), &salt), Secret::new(*b"pass word\0"));
    }

    #[test]
    fn what_was_not_encrypted_for_this_key_is_not_found() {
        assert_eq!(KEY.decrypt(&[0x42; 256]), None);
        assert_eq!(KEY.decrypt(&[]), None);
        assert_eq!(KEY.decrypt(&[0; 4096]), None);
    }

    #[test]
    fn a_password_longer_than_the_key_is_refused() {
        let error = encrypt_password(KEY.public_key_pem(), &Secret::new([b'x'; 214]), &Salt([1; 20]));
        assert_eq!(error, Err(RsaError::PasswordTooLong));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let encrypt = |pem: &[u8]| encrypt_password(pem, &Secret::new(*b"x"), &Salt([1; 20]));
        assert_eq!(encrypt(b""), Err(RsaError::PublicKey));
        assert_eq!(encrypt(b"-----BEGIN PUBLIC KEY-----AAAA-----END PUBLIC KEY-----"), Err(RsaError::PublicKey));
        assert_eq!(encrypt(&KEY.public_key_pem()[..200]), Err(RsaError::PublicKey));
    }
}
