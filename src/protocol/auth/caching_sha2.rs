//! The arithmetic of `caching_sha2_password`, and the bytes of its longer exchange.
//!
//! `h1 = SHA256(password)`, `h2 = SHA256(h1)`, and the proof is `h1 xor SHA256(h2 . salt)`. A server that does
//! not have h2 in its memory asks for the password itself: in clear where nobody can listen, or under RSA.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::protocol::handshake::Salt;

/// First byte of each packet of the exchange that is neither OK nor ERR.
pub(super) const MORE_DATA: u8 = 0x01;
/// Behind `MORE_DATA`: the proof was right; an OK packet follows.
pub(super) const FAST_OK: u8 = 0x03;
/// Behind `MORE_DATA`: the password itself is wanted.
pub(super) const FULL_WANTED: u8 = 0x04;
/// A client's wish for the public key, a packet of its own.
pub(super) const KEY_WANTED: u8 = 0x02;

/// The proof for a salt.
pub(super) fn prove(password: &[u8], salt: &Salt) -> [u8; 32] {
    let h1 = sha256(password);
    let h2 = sha256(&h1[..]);
    let mask = Sha256::new().chain_update(&h2[..]).chain_update(salt.0).finalize();
    std::array::from_fn(|index| h1[index] ^ mask[index])
}

/// Whether a proof is one for this password.
pub(super) fn is_proof(proof: &[u8], password: &[u8], salt: &Salt) -> bool {
    prove(password, salt).ct_eq(proof).into()
}

fn sha256(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        corpus,
        handshake::{ClientHello, Greeting, ServerHello},
    };

    #[test]
    fn a_proof_that_mysql_accepted_is_one() {
        let mut count = 0;
        for opening in corpus::openings() {
            let Ok(ServerHello::Greeting(greeting)) = Greeting::parse(&opening.greeting) else { panic!("a greeting") };
            let Ok(ClientHello::Response(response)) = ClientHello::parse(&opening.response, opening.offered) else {
                panic!("a response")
            };
            if greeting.plugin == b"caching_sha2_password" {
                assert!(is_proof(&response.auth_response, b"app", &greeting.salt));
                assert!(!is_proof(&response.auth_response, b"App", &greeting.salt));
                count += 1;
            }
        }
        assert!(count > 0, "the corpus has logins at MySQL");
    }
}
