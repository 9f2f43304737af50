//! What the configuration holds to tell a user's right password from a wrong one.

use std::fmt;

use subtle::ConstantTimeEq;

use super::Secret;

/// What is known of a user's password.
#[derive(Clone)]
pub enum Verifier {
    /// The password; empty for a user without one.
    Cleartext(Secret),
    /// `SHA1(SHA1(password))`, as `mysql_native_password` stores it behind a star.
    DoubleSha1([u8; 20]),
}

impl Verifier {
    /// Reads a stored hash: a star and 40 hexadecimal digits.
    pub fn parse_hash(text: &str) -> Option<Verifier> {
        let digits: &[u8; 40] = text.strip_prefix('*')?.as_bytes().try_into().ok()?;
        let mut hash = [0; 20];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = [hex_digit(pair[0])?, hex_digit(pair[1])?];
            *byte = high << 4 | low;
        }
        Some(Verifier::DoubleSha1(hash))
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
            Verifier::Cleartext(_) => Self::impostor(seed),
            Verifier::DoubleSha1(_) => Verifier::DoubleSha1(seed),
        }
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

impl PartialEq for Verifier {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Verifier::Cleartext(left), Verifier::Cleartext(right)) => left == right,
            (Verifier::DoubleSha1(left), Verifier::DoubleSha1(right)) => left.ct_eq(right).into(),
            (Verifier::Cleartext(_), Verifier::DoubleSha1(_)) | (Verifier::DoubleSha1(_), Verifier::Cleartext(_)) => {
                false
            }
        }
    }
}

impl Eq for Verifier {}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Verifier::Cleartext(_) => "Cleartext(..)",
            Verifier::DoubleSha1(_) => "DoubleSha1(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_hash_is_a_star_and_forty_digits() {
        let Some(Verifier::DoubleSha1(hash)) = Verifier::parse_hash("*5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3") else {
            panic!("a hash")
        };
        assert_eq!((hash[0], hash[19]), (0x5B, 0xD3));
        for wrong in [
            "",
            "*",
            "5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3",
            "*5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D",
            "*+BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3",
        ] {
            assert_eq!(Verifier::parse_hash(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_verifier_does_not_show_its_content() {
        assert_eq!(format!("{:?}", Verifier::Cleartext(Secret::new(*b"hunter2"))), "Cleartext(..)");
        assert_eq!(format!("{:?}", Verifier::DoubleSha1([1; 20])), "DoubleSha1(..)");
    }
}
