//! Passwords in their several forms: written, in a file, in the environment, or as a hash.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::error::Complaints;
use super::file::PasswordForms;
use super::limits::PASSWORD_FILE_BYTES_MAX;
use super::read::{self, At};
use super::value::{Problem, either, quoted};
use crate::protocol::auth::{Secret, Verifier};

/// What a configuration may take from outside its file, as arguments, so that reading one is a pure function.
pub struct Environment<'e> {
    /// What `workers = "auto"` stands for.
    pub online_cpus: usize,
    /// The value of an environment variable.
    pub variable: &'e dyn Fn(&str) -> Option<String>,
    /// The content of a file, at most `limits::PASSWORD_FILE_BYTES_MAX` + 1 bytes of it; a relative path is relative to
    /// the configuration file.
    pub file: &'e dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

impl fmt::Debug for Environment<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Environment").field("online_cpus", &self.online_cpus).finish_non_exhaustive()
    }
}

/// A password as it was given.
pub(crate) enum Password {
    Clear(Secret),
    Hash(Verifier),
}

impl Password {
    pub(crate) fn into_verifier(self) -> Verifier {
        match self {
            Password::Clear(secret) => Verifier::Cleartext(secret),
            Password::Hash(verifier) => verifier,
        }
    }

    /// The password itself. A table without a hash among its forms always has it.
    pub(crate) fn into_clear(self) -> Option<Secret> {
        match self {
            Password::Clear(secret) => Some(secret),
            Password::Hash(_) => None,
        }
    }
}

/// The password of `who`, which must be given in exactly one form. Nothing: there was a complaint.
pub(crate) fn required(
    forms: PasswordForms,
    table: &Range<usize>,
    who: &str,
    environment: &Environment<'_>,
    complaints: &Complaints<'_>,
) -> Option<Password> {
    if forms.written.is_empty() {
        complaints.missing(table, format!("{who} has no password: write one of {}", either(forms.names)));
        return None;
    }
    optional(forms, environment, complaints)?
}

/// A password in at most one form. Nothing outside: there was a complaint.
pub(crate) fn optional(
    forms: PasswordForms,
    environment: &Environment<'_>,
    complaints: &Complaints<'_>,
) -> Option<Option<Password>> {
    if let [first, (second, place), ..] = forms.written.as_slice() {
        complaints.at(place, format!("`{}` and `{second}` are two passwords: write only one of them", first.0));
        return None;
    }
    if let Some(hash) = forms.hash {
        return Some(Some(Password::Hash(hash.into_inner())));
    }
    let clear = forms.clear.map(At::into_inner);
    let from_file = forms.file.map(|path| complained(&path, from_file(&path, environment), complaints));
    let from_variable = forms.variable.map(|name| complained(&name, from_variable(&name, environment), complaints));
    match (clear, from_file, from_variable) {
        (Some(secret), _, _) | (_, Some(Some(secret)), _) | (_, _, Some(Some(secret))) => {
            Some(Some(Password::Clear(secret)))
        }
        (None, None, None) if forms.written.is_empty() => Some(None),
        (None, _, _) => None,
    }
}

fn complained(written: &At<String>, secret: Result<Secret, Problem>, complaints: &Complaints<'_>) -> Option<Secret> {
    secret.map_err(|problem| complaints.at(&written.span(), problem)).ok()
}

fn from_file(path: &At<String>, environment: &Environment<'_>) -> Result<Secret, Problem> {
    let shown = quoted(path.get_ref());
    let mut content = (environment.file)(Path::new(path.get_ref())).map_err(|error| {
        format!("the password file {shown} cannot be read ({error}): write the path of a readable file")
    })?;
    if content.len() > PASSWORD_FILE_BYTES_MAX {
        return Err(format!(
            "the password file {shown} has more than {PASSWORD_FILE_BYTES_MAX} bytes: write only a password to it"
        ));
    }
    without_newline(&mut content);
    if content.is_empty() {
        return Err(format!("the password file {shown} is empty: write a password to it"));
    }
    read::password(content).map_err(|problem| format!("the password in file {shown} {problem}"))
}

fn from_variable(name: &At<String>, environment: &Environment<'_>) -> Result<Secret, Problem> {
    let shown = quoted(name.get_ref());
    match (environment.variable)(name.get_ref()) {
        None => {
            Err(format!("the environment variable {shown} is not set: set it for the process, or use `password_file`"))
        }
        Some(empty) if empty.is_empty() => {
            Err(format!("the environment variable {shown} is empty: set it to a password"))
        }
        Some(value) => {
            read::password(value.into_bytes()).map_err(|problem| format!("the password in variable {shown} {problem}"))
        }
    }
}

/// Takes off the newline that editors and `echo` put at the end.
pub(crate) fn without_newline(content: &mut Vec<u8>) {
    if content.last() == Some(&b'\n') {
        content.pop();
        if content.last() == Some(&b'\r') {
            content.pop();
        }
    }
}
