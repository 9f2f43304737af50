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
mod login;
mod native;
mod rsa;
mod secret;
mod verification;
mod verifier;

pub use login::{Login, LoginStep, Obstacle};
pub use rsa::{RsaError, RsaKey, encrypt_password};
pub use secret::Secret;
pub use verification::{Authenticated, DenyReason, Verification, Verify, VerifyRequest};
pub use verifier::Verifier;

/// A way to prove a password that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plugin {
    /// SHA-1 twice; MariaDB's default, gone from MySQL 9.
    NativePassword,
    /// SHA-256, and the password itself when the server has forgotten the user; MySQL's default.
    CachingSha2Password,
}

impl Plugin {
    /// The plugin of this name in packets.
    pub fn from_name(name: &[u8]) -> Option<Plugin> {
        [Plugin::NativePassword, Plugin::CachingSha2Password].into_iter().find(|plugin| plugin.name() == name)
    }

    /// The name in packets.
    pub fn name(self) -> &'static [u8] {
        match self {
            Plugin::NativePassword => b"mysql_native_password",
            Plugin::CachingSha2Password => b"caching_sha2_password",
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
}

impl Credential {
    /// The credential of a password, which may be empty.
    pub fn of_password(password: Secret) -> Credential {
        if password.is_empty() { Credential::Empty } else { Credential::Cleartext(password) }
    }
}

/// Fuzz entry: a client or a server that sends anything gets a next step or an end, never a panic.
pub fn fuzz_auth(bytes: &[u8]) {
    verification::fuzz_verification(bytes);
    login::fuzz_login(bytes);
}
