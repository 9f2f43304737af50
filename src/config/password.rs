//! `sqluice hash-password`: from a password to the forms in which a configuration may hold it.

use std::fmt::Write as _;

use sha1::{Digest, Sha1};

use super::credentials::without_newline;
use super::limits::PASSWORD_BYTES_MAX;
use super::read;
use crate::protocol::auth::{Secret, stored_by_ed25519};

/// Bytes of input worth reading: the longest password, its newline, and one to know that it was longer.
pub const INPUT_BYTES_MAX: usize = PASSWORD_BYTES_MAX + 3;

/// Why there is no hash of this input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordRefused {
    /// Nothing but perhaps a newline was given.
    Empty,
    /// It has a NUL byte or more bytes than any server takes.
    Unusable,
}

/// The lines to print for a password as it was read from the standard input, where one newline ends it.
pub fn forms(mut input: Vec<u8>) -> Result<String, PasswordRefused> {
    without_newline(&mut input);
    match read::password(input) {
        Ok(secret) if secret.is_empty() => Err(PasswordRefused::Empty),
        Ok(secret) => Ok(printed(&secret)),
        Err(_) => Err(PasswordRefused::Unusable),
    }
}

fn printed(secret: &Secret) -> String {
    let mut lines = String::new();
    writeln!(lines, "password_hash = \"{}\"", native_hash(secret)).expect("a String takes everything");
    lines.push_str("# Enough where the account at the servers uses mysql_native_password. For the others the servers need the password\n");
    lines.push_str("# itself: write `password_file` or `password_env` instead, or let clients use TLS. For clients that sign with\n");
    lines.push_str("# client_ed25519, where `backend_password` logs in at the servers:\n");
    writeln!(lines, "# password_hash = \"{}\"", stored_by_ed25519(secret)).expect("a String takes everything");
    lines
}

/// The hash that `mysql_native_password` keeps of a password: `*` and the SHA-1 of its SHA-1, in hex.
fn native_hash(secret: &Secret) -> String {
    let digest = Sha1::digest(Sha1::digest(secret.expose()));
    digest.iter().fold("*".to_owned(), |mut hash, byte| {
        write!(hash, "{byte:02X}").expect("a String takes everything");
        hash
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], expected: Result<&str, PasswordRefused>) {
        let printed = forms(input.to_vec());
        let hash = printed.as_ref().map(|lines| lines.lines().next().expect("the hash comes first"));
        assert_eq!(hash.map_err(|refused| *refused), expected);
    }

    #[test]
    fn the_hash_is_that_of_the_password_without_its_newline() {
        // SELECT PASSWORD('password') on MariaDB 10.11.
        let hash = Ok("password_hash = \"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19\"");
        check(b"password", hash);
        check(b"password\n", hash);
        check(b"password\r\n", hash);
        // A second newline belongs to the password.
        check(b"\n", Err(PasswordRefused::Empty));
        check(b"", Err(PasswordRefused::Empty));
        check(b"a\0b", Err(PasswordRefused::Unusable));
        check(&[b'x'; PASSWORD_BYTES_MAX + 1], Err(PasswordRefused::Unusable));
    }
}
