//! The client's half of the login plugins, written from their definitions.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// `SHA1(password) XOR SHA1(salt . SHA1(SHA1(password)))`; empty for an empty password.
pub(super) fn native_response(password: &str, salt: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let stage1 = Sha1::digest(password.as_bytes());
    let stage2 = Sha1::digest(stage1);
    let mask = Sha1::new().chain_update(salt).chain_update(stage2).finalize();
    xor(&stage1, &mask)
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)) . salt)`; empty for an empty password.
pub(super) fn caching_sha2_response(password: &str, salt: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let stage1 = Sha256::digest(password.as_bytes());
    let stage2 = Sha256::digest(stage1);
    let mask = Sha256::new().chain_update(stage2).chain_update(salt).finalize();
    xor(&stage1, &mask)
}

/// The wish for the server's key, or the NUL of an empty password.
pub(super) fn sha256_opening(password: &str) -> Vec<u8> {
    vec![u8::from(!password.is_empty())]
}

/// The signature under the key that SHA-512 makes of the password; nothing of an empty one.
pub(super) fn ed25519_response(password: &str, nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let key = ExpandedSecretKey::from_bytes(&Sha512::digest(password.as_bytes()).into());
    raw_sign::<Sha512>(&key, nonce, &VerifyingKey::from(&key)).to_bytes().to_vec()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right.iter().cycle()).map(|(left, right)| left ^ right).collect()
}

/// The password and a zero byte, XORed with the repeated salt, encrypted with the server's public key.
pub(super) fn encrypted_password(pem: &[u8], password: &str, salt: &[u8]) -> Vec<u8> {
    let mut plain = password.as_bytes().to_vec();
    plain.push(0);
    let masked = xor(&plain, salt);
    let key = PublicEncryptingKey::from_der(&der(pem)).expect("the server sends a public key");
    let key = OaepPublicEncryptingKey::new(key).expect("the key is RSA");
    let mut encrypted = vec![0; key.ciphertext_size()];
    let encrypted = key.encrypt(&OAEP_SHA1_MGF1SHA1, &masked, &mut encrypted, None).expect("the password fits the key");
    encrypted.to_vec()
}

/// The bytes inside a PEM.
fn der(pem: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(pem);
    let digits = text.lines().filter(|line| !line.starts_with("-----")).flat_map(str::bytes);
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
            buffer &= (1 << bits) - 1;
        }
    }
    bytes
}
