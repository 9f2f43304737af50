//! The arithmetic of `mysql_native_password`.
//!
//! `stage1 = SHA1(password)`, `stage2 = SHA1(stage1)`, and the proof is `stage1 xor SHA1(salt . stage2)`.
//! Whoever knows stage2 can take stage1 out of a proof, check it, and prove with it to anybody else.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::protocol::handshake::Salt;

/// A SHA-1, wiped when dropped.
pub(super) type Digest20 = Zeroizing<[u8; 20]>;

/// The proof for a salt.
pub(super) fn prove(stage1: &[u8; 20], salt: &Salt) -> [u8; 20] {
    let stage2 = sha1(stage1);
    xor(stage1, &mask(salt, &stage2))
}

/// The stage 1 inside a proof, if it is one for the password behind `stage2`.
pub(super) fn stage1_of_proof(proof: &[u8; 20], salt: &Salt, stage2: &[u8; 20]) -> Option<Digest20> {
    let stage1 = Zeroizing::new(xor(proof, &mask(salt, stage2)));
    bool::from(sha1(&stage1[..]).ct_eq(stage2)).then_some(stage1)
}

/// The single hash of a password.
pub(super) fn stage1(password: &[u8]) -> Digest20 {
    sha1(password)
}

/// The double hash of a password, as servers store it.
pub(super) fn stage2(password: &[u8]) -> Digest20 {
    sha1(&sha1(password)[..])
}

fn mask(salt: &Salt, stage2: &[u8; 20]) -> [u8; 20] {
    Sha1::new().chain_update(salt.0).chain_update(stage2).finalize().into()
}

fn sha1(bytes: &[u8]) -> Digest20 {
    Zeroizing::new(Sha1::digest(bytes).into())
}

fn xor(left: &[u8; 20], right: &[u8; 20]) -> [u8; 20] {
    std::array::from_fn(|index| left[index] ^ right[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_gives_its_stage_1_to_whoever_knows_stage_2() {
        let salt = Salt([7; 20]);
        let proof = prove(&stage1(b"secret"), &salt);
        let found = stage1_of_proof(&proof, &salt, &stage2(b"secret"));
        assert_eq!(found, Some(stage1(b"secret")));
        assert_eq!(stage1_of_proof(&proof, &Salt([8; 20]), &stage2(b"secret")), None);
        assert_eq!(stage1_of_proof(&proof, &salt, &stage2(b"other")), None);
    }

    #[test]
    fn stage_2_is_what_servers_store() {
        // SELECT PASSWORD('app') on MariaDB 10.11.
        let stored = stage2(b"app").iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        assert_eq!(stored, "5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3");
    }
}
