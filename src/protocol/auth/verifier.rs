//! What tells a user's right password from a wrong one.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use subtle::ConstantTimeEq;

use super::{Plugin, Secret, crypt::Crypt, ed25519, native, parsec::Stretching};

/// What is known of a user's password: the password, or what a server keeps of it.
#[derive(Clone, PartialEq, Eq)]
pub enum Verifier {
    /// The password; empty for a user without one.
    Cleartext(Secret),
    /// `SHA1(SHA1(password))`, as `mysql_native_password` stores it behind a star.
    DoubleSha1([u8; 20]),
    /// The public key of the password, as `ed25519` of MariaDB stores it.
    Ed25519([u8; 32]),
    /// What `caching_sha2_password` and `sha256_password` of MySQL store. Only the password itself can be judged by it.
    Sha256Crypt(Crypt),
    /// What `parsec` of MariaDB stores. Only the password itself can be judged by it here.
    Parsec(ParsecKey),
    /// Nothing certain: whoever gives a password is judged by the server that we log in to with it. There may be one that a
    /// server has accepted before; who can prove that need not give it.
    ByServer(Option<Secret>),
}

/// A public key, and how it is made of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ParsecKey {
    stretching: Stretching,
    key: [u8; 32],
}

impl Verifier {
    /// Reads what a server stores: a star and 40 hexadecimal digits; 43 digits in base64; `P`, a digit, a salt and a key
    /// with colons between; or what begins with `$`, also in hexadecimal behind `0x`, because its salt need not be printable.
    pub fn parse_hash(text: &str) -> Option<Verifier> {
        Self::parse_stored(text.as_bytes())
    }

    /// The same from the bytes that are in a server's table.
    pub fn parse_stored(stored: &[u8]) -> Option<Verifier> {
        match stored {
            [b'*', digits @ ..] => hex(digits)?.try_into().ok().map(Verifier::DoubleSha1),
            [b'$', ..] => Crypt::parse(stored).map(Verifier::Sha256Crypt),
            [b'0', b'x' | b'X', digits @ ..] => Crypt::parse(&hex(digits)?).map(Verifier::Sha256Crypt),
            [b'P', b'0'..=b'9', b':', ..] => ParsecKey::parse(std::str::from_utf8(stored).ok()?).map(Verifier::Parsec),
            key => STANDARD_NO_PAD.decode(key).ok()?.try_into().ok().map(Verifier::Ed25519),
        }
    }

    /// Whether there is no password.
    pub fn is_without_password(&self) -> bool {
        match self {
            Verifier::Cleartext(password) => password.is_empty(),
            Verifier::DoubleSha1(_)
            | Verifier::Ed25519(_)
            | Verifier::Sha256Crypt(_)
            | Verifier::Parsec(_)
            | Verifier::ByServer(_) => false,
        }
    }

    /// Whether to judge a password by it takes long, as it is meant to.
    pub(super) fn is_slow(&self) -> bool {
        match self {
            Verifier::Sha256Crypt(_) | Verifier::Parsec(_) => true,
            Verifier::Cleartext(_) | Verifier::DoubleSha1(_) | Verifier::Ed25519(_) | Verifier::ByServer(_) => false,
        }
    }

    /// Whether this may be the password. Takes some milliseconds where it is stored in a way that is meant to take long.
    pub(super) fn is_of(&self, password: &Secret) -> bool {
        let bytes = password.expose();
        match self {
            Verifier::Cleartext(expected) => expected == password,
            Verifier::DoubleSha1(expected) => native::stage2(bytes).ct_eq(expected).into(),
            Verifier::Ed25519(expected) => ed25519::public_key(bytes).ct_eq(expected).into(),
            Verifier::Sha256Crypt(crypt) => crypt.is_of(bytes),
            Verifier::Parsec(parsec) => parsec.stretching.public_key(bytes).ct_eq(&parsec.key).into(),
            // Whoever has no password is let in by its host, and the host that the server sees is not the client's.
            Verifier::ByServer(_) => !password.is_empty(),
        }
    }

    /// The plugin whose proof tells whether the password is right, without the password; nothing where any will do, or none.
    pub(super) fn own_plugin(&self) -> Option<Plugin> {
        match self {
            Verifier::DoubleSha1(_) => Some(Plugin::NativePassword),
            Verifier::Ed25519(_) => Some(Plugin::Ed25519),
            Verifier::Cleartext(_) | Verifier::Sha256Crypt(_) | Verifier::Parsec(_) | Verifier::ByServer(_) => None,
        }
    }

    /// Stands in for a user that is not known: behaves like a user with a password, which nobody can know because
    /// `seed` is random.
    pub fn impostor(seed: [u8; 20]) -> Verifier {
        Verifier::Cleartext(Secret::new(seed))
    }

    /// An impostor that asks for the same plugin and does the same work as `model`, a user that is known: where all
    /// users are of one kind, an unknown one cannot be told from them.
    pub fn impostor_like(model: &Verifier, seed: [u8; 20]) -> Verifier {
        match model {
            Verifier::Cleartext(_) | Verifier::ByServer(_) => Self::impostor(seed),
            Verifier::DoubleSha1(_) => Verifier::DoubleSha1(seed),
            Verifier::Ed25519(_) => Verifier::Ed25519(ed25519::public_key(&seed)),
            Verifier::Sha256Crypt(crypt) => Verifier::Sha256Crypt(crypt.impostor(seed)),
            Verifier::Parsec(parsec) => {
                Verifier::Parsec(ParsecKey { key: ed25519::public_key(&seed), stretching: parsec.stretching })
            }
        }
    }
}

impl ParsecKey {
    fn parse(text: &str) -> Option<ParsecKey> {
        let mut parts = text.split(':');
        let (way, salt, key) = (parts.next()?, parts.next()?, parts.next()?);
        let stretching = Stretching::of_parts(way, &base64_of(salt)?)?;
        let key = base64_of(key)?.try_into().ok()?;
        parts.next().is_none().then_some(ParsecKey { stretching, key })
    }
}

/// Servers leave the padding out, or not, as the length asks for.
fn base64_of(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text)).ok()
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let pairs = digits.chunks(2).map(|pair| match *pair {
        [high, low] => Some(hex_digit(high)? << 4 | hex_digit(low)?),
        _ => None,
    });
    pairs.collect()
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Verifier::Cleartext(_) => "Cleartext(..)",
            Verifier::DoubleSha1(_) => "DoubleSha1(..)",
            Verifier::Ed25519(_) => "Ed25519(..)",
            Verifier::Sha256Crypt(_) => "Sha256Crypt(..)",
            Verifier::Parsec(_) => "Parsec(..)",
            Verifier::ByServer(_) => "ByServer(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the servers of the tests stored of `app`, but for the parsec key, which is of `secret`.
    const DOUBLE_SHA1: &str = "*5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3";

    #[test]
    fn a_stored_hash_is_a_star_and_forty_digits() {
        let Some(Verifier::DoubleSha1(hash)) = Verifier::parse_hash(DOUBLE_SHA1) else { panic!("a hash") };
        assert_eq!((hash[0], hash[19]), (0x5B, 0xD3));
        for wrong in [
            "",
            "*",
            "5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3",
            "*5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D",
            "*+BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3",
            "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJ",
            "P0:c2FsdA:a2V5",
            "P0",
            "$A$005$",
            "0x2441",
            "a password",
        ] {
            assert_eq!(Verifier::parse_hash(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_public_key_is_43_digits() {
        let verifier = Verifier::parse_hash("ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY").unwrap();
        assert!(verifier.is_of(&Secret::new("secret")));
        assert!(!verifier.is_of(&Secret::new("Secret")));
    }

    #[test]
    #[cfg_attr(miri, ignore = "the key of parsec is of the library in C")]
    fn a_password_is_told_from_another_by_whatever_is_stored_of_it() {
        let parsec = Stretching::of_parts("P0", &[7; 18]).unwrap();
        let parsec = ParsecKey { stretching: parsec, key: parsec.public_key(b"app") };
        let verifiers = [
            Verifier::Cleartext(Secret::new("app")),
            Verifier::parse_hash(DOUBLE_SHA1).unwrap(),
            Verifier::Ed25519(ed25519::public_key(b"app")),
            Verifier::Parsec(parsec),
        ];
        for verifier in verifiers {
            assert!(verifier.is_of(&Secret::new("app")), "{verifier:?}");
            assert!(!verifier.is_of(&Secret::new("apq")), "{verifier:?}");
            assert!(!Verifier::impostor_like(&verifier, [1; 20]).is_of(&Secret::new("app")), "{verifier:?}");
        }
    }

    #[test]
    fn a_verifier_does_not_show_its_content() {
        assert_eq!(format!("{:?}", Verifier::Cleartext(Secret::new(*b"hunter2"))), "Cleartext(..)");
        assert_eq!(format!("{:?}", Verifier::DoubleSha1([1; 20])), "DoubleSha1(..)");
        assert_eq!(format!("{:?}", Verifier::Ed25519([1; 32])), "Ed25519(..)");
    }
}
