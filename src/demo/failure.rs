//! Why the demo could not go on: a sentence for the person who started it.

use std::fmt;

/// One sentence, from what was tried to why it did not work.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
}

impl Failure {
    pub(super) fn new(sentence: impl Into<String>) -> Failure {
        Failure { sentence: sentence.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// Puts what was tried before why it failed.
pub(super) trait Trying<T> {
    fn trying(self, what: &str) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Trying<T> for Result<T, E> {
    fn trying(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
