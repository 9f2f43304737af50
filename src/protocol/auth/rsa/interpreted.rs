//! In place of the library in C, for tests that Miri interprets: the same face, lengths and refusals, and nothing is hidden.

const MODULUS_BYTES: usize = 256;

/// What OAEP with SHA-1 leaves room for.
const PLAINTEXT_MAX: usize = MODULUS_BYTES - 42;

/// What every public key looks like: as long as a real one.
const DER: &[u8] = &[0x30; 294];

/// What every ciphertext begins with; behind it is the length of what is inside.
const MARK: u8 = 0x0C;

pub(super) const OAEP_SHA1_MGF1SHA1: Oaep = Oaep;

pub(super) struct Oaep;

pub(super) enum KeySize {
    Rsa2048,
}

#[derive(Debug)]
pub(super) struct Unspecified;

pub(super) struct PrivateDecryptingKey;

impl PrivateDecryptingKey {
    pub(super) fn generate(_: KeySize) -> Result<Self, Unspecified> {
        Ok(PrivateDecryptingKey)
    }

    pub(super) fn public_key(&self) -> PublicEncryptingKey {
        PublicEncryptingKey
    }
}

pub(super) struct PublicEncryptingKey;

impl PublicEncryptingKey {
    pub(super) fn from_der(der: &[u8]) -> Result<Self, Unspecified> {
        if der == DER { Ok(PublicEncryptingKey) } else { Err(Unspecified) }
    }

    pub(super) fn as_der(&self) -> Result<&'static [u8], Unspecified> {
        Ok(DER)
    }
}

pub(super) struct OaepPrivateDecryptingKey;

impl OaepPrivateDecryptingKey {
    pub(super) fn new(_: PrivateDecryptingKey) -> Result<Self, Unspecified> {
        Ok(OaepPrivateDecryptingKey)
    }

    pub(super) fn key_size_bytes(&self) -> usize {
        MODULUS_BYTES
    }

    pub(super) fn min_output_size(&self) -> usize {
        MODULUS_BYTES
    }

    pub(super) fn decrypt<'o>(
        &self,
        _: &Oaep,
        ciphertext: &[u8],
        output: &'o mut [u8],
        _label: Option<&[u8]>,
    ) -> Result<&'o mut [u8], Unspecified> {
        let [MARK, length, rest @ ..] = ciphertext else { return Err(Unspecified) };
        let length = usize::from(*length);
        if ciphertext.len() != MODULUS_BYTES || length > PLAINTEXT_MAX {
            return Err(Unspecified);
        }
        output[..length].copy_from_slice(&rest[..length]);
        Ok(&mut output[..length])
    }
}

pub(super) struct OaepPublicEncryptingKey;

impl OaepPublicEncryptingKey {
    pub(super) fn new(_: PublicEncryptingKey) -> Result<Self, Unspecified> {
        Ok(OaepPublicEncryptingKey)
    }

    pub(super) fn ciphertext_size(&self) -> usize {
        MODULUS_BYTES
    }

    pub(super) fn encrypt<'o>(
        &self,
        _: &Oaep,
        plaintext: &[u8],
        output: &'o mut [u8],
        _label: Option<&[u8]>,
    ) -> Result<&'o mut [u8], Unspecified> {
        if plaintext.len() > PLAINTEXT_MAX {
            return Err(Unspecified);
        }
        output[..2].copy_from_slice(&[MARK, plaintext.len() as u8]);
        output[2..][..plaintext.len()].copy_from_slice(plaintext);
        Ok(&mut output[..MODULUS_BYTES])
    }
}
