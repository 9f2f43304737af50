//! Logging in: verifying a client, and answering a server.
//!
//! A client proves its password against our salt, and we prove it again against the server's. What we can prove
//! depends on what we hold: the password itself answers everything; the double SHA-1 of
//! `mysql_native_password` verifies a client, whose answer then gives the single SHA-1 that answers servers of
//! the same plugin; `caching_sha2_password` needs the password itself as soon as a server has forgotten the
//! user, which each restart makes it do.
//!
//! Secrets are wiped when dropped, compared in constant time, and never shown by `Debug`.

mod caching_sha2;
mod crypt;
mod ed25519;
mod login;
mod native;
mod parsec;
mod rsa;
mod secret;
mod verification;
mod verifier;

pub use crypt::Crypt;
pub use login::{Login, LoginStep, Obstacle};
pub use rsa::{RsaError, RsaKey, encrypt_password};
pub use secret::Secret;
pub use verification::{Authenticated, DenyReason, Verification, Verify, VerifyRequest};
pub use verifier::{ParsecKey, Verifier};

use base64::Engine as _;

/// A way to prove a password that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plugin {
    /// SHA-1 twice; MariaDB's default, gone from MySQL 9.
    NativePassword,
    /// SHA-256, and the password itself when the server has forgotten the user; MySQL's default.
    CachingSha2Password,
    /// The password itself each time, inside TLS or under RSA; MySQL's.
    Sha256Password,
    /// The password itself, inside TLS: for accounts that somebody else judges, like PAM or LDAP.
    ClearPassword,
    /// A signature under a key made of the password; MariaDB's.
    Ed25519,
    /// The same under a key that is stretched from it; of MariaDB since 11.6. Answered, but not asked for here.
    Parsec,
}

impl Plugin {
    const ALL: [Plugin; 6] = [
        Plugin::NativePassword,
        Plugin::CachingSha2Password,
        Plugin::Sha256Password,
        Plugin::ClearPassword,
        Plugin::Ed25519,
        Plugin::Parsec,
    ];

    /// The plugin of this name in packets.
    pub fn from_name(name: &[u8]) -> Option<Plugin> {
        Plugin::ALL.into_iter().find(|plugin| plugin.name() == name)
    }

    /// The name in packets.
    pub fn name(self) -> &'static [u8] {
        match self {
            Plugin::NativePassword => b"mysql_native_password",
            Plugin::CachingSha2Password => b"caching_sha2_password",
            Plugin::Sha256Password => b"sha256_password",
            Plugin::ClearPassword => b"mysql_clear_password",
            Plugin::Ed25519 => b"client_ed25519",
            Plugin::Parsec => b"parsec",
        }
    }
}

/// What can log in at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An account without a password.
    Empty,
    /// The password: answers every plugin.
    Cleartext(Secret),
    /// The single SHA-1 of the password, 20 bytes: answers `mysql_native_password` only.
    NativeStage1(Secret),
    /// The client signed: nothing that a server would take.
    NotKnown,
}

impl Credential {
    /// The credential of a password, which may be empty.
    pub fn of_password(password: Secret) -> Credential {
        if password.is_empty() { Credential::Empty } else { Credential::Cleartext(password) }
    }
}

/// What `ed25519` of MariaDB stores of a password.
pub fn stored_by_ed25519(password: &Secret) -> String {
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(ed25519::public_key(password.expose()))
}

/// Fuzz entry: a client or a server that sends anything gets a next step or an end, never a panic.
pub fn fuzz_auth(bytes: &[u8]) {
    verification::fuzz_verification(bytes);
    login::fuzz_login(bytes);
}
