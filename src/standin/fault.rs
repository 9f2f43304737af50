//! What can be made to go wrong with one statement.

use std::time::Duration;

/// Strikes once, at the next statement that contains the text it was armed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The statement is carried out, and the connection ends without a byte of the reply.
    CloseAfterCommand,
    /// The statement is read and not carried out, and the connection ends.
    CloseBeforeCommand,
    /// The connection ends after this many rows of the result.
    CloseAfterRows(u64),
    /// The connection ends in the middle of the packet behind this many rows.
    CloseInsideRow(u64),
    /// An ERR packet comes instead of the rest after this many rows.
    ErrorAfterRows(u64),
    /// A pause before each row, and before the OK of a statement without rows.
    SlowRows(Duration),
    /// The connection stays open and nothing is answered until it is closed or killed.
    NoReply,
}

/// A fault that waits for its statement.
#[derive(Debug, Clone)]
pub(super) struct Armed {
    pub(super) text: String,
    pub(super) fault: Fault,
}

impl Armed {
    /// Whether `statement` contains the text. An empty text is in every statement.
    pub(super) fn is_for(&self, statement: &[u8]) -> bool {
        memchr::memmem::find(statement, self.text.as_bytes()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_for_the_statements_with_its_text() {
        let armed = Armed { text: "strike".into(), fault: Fault::NoReply };
        assert!(armed.is_for(b"SELECT 'strike here'"));
        assert!(!armed.is_for(b"SELECT 1"));
        assert!(!armed.is_for(b"stri"));
    }
}
