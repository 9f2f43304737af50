//! What MySQL keeps of a password for `caching_sha2_password` and `sha256_password`: SHA-crypt with SHA-256, many times over.
//!
//! The way is Drepper's, with two differences that keep libraries for it from serving here: the salt has 20 bytes, of which
//! they would take 16, and the number of rounds stands elsewhere.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const SALT_LENGTH: usize = 20;

/// Characters of a digest.
const DIGEST_DIGITS: usize = 43;

/// Rounds of `sha256_password`, which does not say them.
const ROUNDS_USUAL: u32 = 5000;

/// The most rounds that are worked through for a login. MySQL 9.7 makes 10,000 of them, which take some milliseconds; its own
/// bound of 4,095,000 would hold up whoever else a worker serves.
const ROUNDS_MAX: u32 = 100_000;

/// What is kept of one password, and how it was made.
#[derive(Clone, PartialEq, Eq)]
pub struct Crypt {
    rounds: u32,
    salt: [u8; SALT_LENGTH],
    digest: [u8; 32],
}

impl Crypt {
    /// Reads `$A$005$` and the thousands of rounds in hex for `caching_sha2_password`, or `$5$` for `sha256_password`, then 20
    /// bytes of salt and 43 digits, the latter with a `$` between.
    pub(super) fn parse(kept: &[u8]) -> Option<Crypt> {
        if let Some(rest) = kept.strip_prefix(b"$A$") {
            let (thousands, rest) = rest.split_first_chunk::<3>()?;
            let thousands = u32::from_str_radix(std::str::from_utf8(thousands).ok()?, 16).ok()?;
            let (salt, digits) = rest.strip_prefix(b"$")?.split_first_chunk()?;
            return Crypt::of(thousands * 1000, *salt, digits);
        }
        let (salt, digits) = kept.strip_prefix(b"$5$")?.split_first_chunk()?;
        Crypt::of(ROUNDS_USUAL, *salt, digits.strip_prefix(b"$")?)
    }

    fn of(rounds: u32, salt: [u8; SALT_LENGTH], digits: &[u8]) -> Option<Crypt> {
        let digest = digest_of(digits.try_into().ok()?)?;
        (1..=ROUNDS_MAX).contains(&rounds).then_some(Crypt { rounds, salt, digest })
    }

    /// One that takes as long as this one, and that no password is known for.
    pub(super) fn impostor(&self, seed: [u8; 20]) -> Crypt {
        Crypt { digest: Sha256::digest(seed).into(), ..self.clone() }
    }

    /// Whether it was made of this password.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        stretched(password, &self.salt, self.rounds).ct_eq(&self.digest).into()
    }
}

type Digest32 = Zeroizing<[u8; 32]>;

fn stretched(password: &[u8], salt: &[u8], rounds: u32) -> Digest32 {
    let mixed = finish(Sha256::new().chain_update(password).chain_update(salt).chain_update(password));
    let mut start =
        Sha256::new().chain_update(password).chain_update(salt).chain_update(&*repeated(&mixed, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        start.update(if bits & 1 == 1 { &mixed[..] } else { password });
        bits >>= 1;
    }
    let mut digest = finish(start);
    let words = repeated(&finish(times(password, password.len())), password.len());
    let salts = repeated(&finish(times(salt, 16 + usize::from(digest[0]))), salt.len());
    for round in 0..rounds {
        digest = next(&digest, &words, &salts, round);
    }
    digest
}

fn next(digest: &[u8; 32], words: &[u8], salts: &[u8], round: u32) -> Digest32 {
    let is_odd = round % 2 == 1;
    let mut sum = Sha256::new().chain_update(if is_odd { words } else { &digest[..] });
    if !round.is_multiple_of(3) {
        sum.update(salts);
    }
    if !round.is_multiple_of(7) {
        sum.update(words);
    }
    finish(sum.chain_update(if is_odd { &digest[..] } else { words }))
}

fn finish(sum: Sha256) -> Digest32 {
    Zeroizing::new(sum.finalize().into())
}

fn times(bytes: &[u8], count: usize) -> Sha256 {
    let mut sum = Sha256::new();
    (0..count).for_each(|_| sum.update(bytes));
    sum
}

/// The digest over and over, up to a length.
fn repeated(digest: &[u8; 32], length: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(digest.iter().copied().cycle().take(length).collect())
}

/// The bytes behind the digits: four digits are three bytes, their lowest bits first.
fn digest_of(digits: &[u8; DIGEST_DIGITS]) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (digits, [high, middle, low]) in digits.chunks(4).zip(PLACES) {
        let mut bits = 0;
        for (count, digit) in digits.iter().enumerate() {
            bits |= DIGITS.iter().position(|known| known == digit)? << (6 * count);
        }
        let [lowest, second, third, _] = (bits as u32).to_le_bytes();
        (digest[high], digest[middle], digest[low]) = (third, second, lowest);
    }
    Some(digest)
}

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Where the three bytes of four digits belong, the highest first. The last three digits have no highest, and what stands for
/// it here is written over by the lowest.
const PLACES: [[usize; 3]; 11] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
    [30, 31, 30],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "5000 rounds of SHA-256")]
    fn the_digest_is_that_of_sha_crypt() {
        // The first of Drepper's test vectors, `$5$saltstring$…`, whose salt is shorter than MySQL's.
        let digits = b"5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        assert_eq!(*stretched(b"Hello world!", b"saltstring", 5000), digest_of(digits).unwrap());
    }

    #[test]
    fn what_is_no_kept_password_is_refused() {
        let digits = "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let salt = "s".repeat(SALT_LENGTH);
        let rounds = |kept: String| Crypt::parse(kept.as_bytes()).map(|crypt| crypt.rounds);
        assert_eq!(rounds(format!("$A$005${salt}{digits}")), Some(5000));
        assert_eq!(rounds(format!("$A$00A${salt}{digits}")), Some(10_000));
        assert_eq!(rounds(format!("$5${salt}${digits}")), Some(5000));
        for wrong in [
            String::new(),
            "$A$".to_owned(),
            format!("$A$000${salt}{digits}"),
            format!("$A$FFF${salt}{digits}"),
            format!("$A$0x5${salt}{digits}"),
            format!("$A$005${salt}{}", &digits[1..]),
            format!("$A$005${salt}{digits}8"),
            format!("$A$005${salt}!{}", &digits[1..]),
            format!("$5${salt}{digits}"),
            format!("$6${salt}${digits}"),
        ] {
            assert_eq!(rounds(wrong.clone()), None, "{wrong}");
        }
    }
}
