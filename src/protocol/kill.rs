//! Recognises the statement `KILL [HARD | SOFT] [CONNECTION | QUERY [ID]] number`, because the number is ours
//! and not the server's.
//!
//! Not a parser: `KILL USER`, expressions, several statements and executable comments are left alone, and then
//! the server decides about the number as it stands.

use std::ops::Range;

/// Texts longer than this are no KILL statement; it bounds what a comment in front can cost.
pub const KILL_TEXT_MAX: usize = 256;

/// A statement that kills a connection or what it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillStatement {
    /// The number of a connection, or with `KILL QUERY ID` (MariaDB) of a query.
    pub id: u64,
    /// Where the digits stand in the text.
    pub id_range: Range<usize>,
    /// Only what runs is to be ended, not the connection.
    pub query_only: bool,
    /// The number is that of a query, which only the server knows.
    pub names_query: bool,
}

/// Looks whether `text`, a whole statement, is a KILL. Costs one comparison for a text that begins with another letter.
pub fn recognise(text: &[u8]) -> Option<KillStatement> {
    let first = *text.first()?;
    if first.is_ascii_alphabetic() && first | 0x20 != b'k' || text.len() > KILL_TEXT_MAX {
        return None;
    }
    let mut words = Words { text, at: 0 };
    if !words.take(b"KILL") {
        return None;
    }
    let _ = words.take(b"HARD") || words.take(b"SOFT");
    let query_only = words.take(b"QUERY");
    let names_query = query_only && words.take(b"ID");
    let _ = query_only || words.take(b"CONNECTION");
    let (id, id_range) = words.number()?;
    words.is_at_end().then_some(KillStatement { id, id_range, query_only, names_query })
}

/// Goes through a text word by word, over spaces and comments.
struct Words<'a> {
    text: &'a [u8],
    /// Where the next word or the space before it begins; `at <= text.len()`.
    at: usize,
}

impl Words<'_> {
    /// Takes the next word if it is this one, in any case.
    fn take(&mut self, word: &[u8]) -> bool {
        let start = self.next_word();
        let end = start + word.len();
        let found = self.text.get(start..end).is_some_and(|found| found.eq_ignore_ascii_case(word))
            && !self.text.get(end).is_some_and(|byte| is_name_byte(*byte));
        if found {
            self.at = end;
        }
        found
    }

    /// Takes the next word if it is a decimal number.
    fn number(&mut self) -> Option<(u64, Range<usize>)> {
        let start = self.next_word();
        let digits = self.text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let end = start + digits;
        if self.text.get(end).is_some_and(|byte| is_name_byte(*byte)) {
            return None;
        }
        let number = std::str::from_utf8(&self.text[start..end]).ok()?.parse().ok()?;
        self.at = end;
        Some((number, start..end))
    }

    /// Nothing but spaces, comments and semicolons is left.
    fn is_at_end(&mut self) -> bool {
        self.at = self.next_word();
        while self.text.get(self.at) == Some(&b';') {
            self.at += 1;
            self.at = self.next_word();
        }
        self.at == self.text.len()
    }

    /// Where the next word begins: behind spaces and comments.
    fn next_word(&self) -> usize {
        let mut at = self.at;
        loop {
            let rest = &self.text[at..];
            let skipped = match rest {
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0B => 1,
                [b'#', ..] => line_length(rest),
                [b'-', b'-'] => 2,
                [b'-', b'-', byte, ..] if byte.is_ascii_whitespace() || byte.is_ascii_control() => line_length(rest),
                // `/*!` and `/*M!` hold text that servers execute.
                [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..] => 0,
                [b'/', b'*', comment @ ..] => memchr::memmem::find(comment, b"*/").map_or(0, |length| length + 4),
                _ => 0,
            };
            if skipped == 0 {
                return at;
            }
            at += skipped;
        }
    }
}

/// Bytes of a line with its end, or of all that is left.
fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |length| length + 1)
}

/// Whether a byte could belong to a name or a longer number.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'@' | 0x80..)
}

/// Fuzz entry: the digits found are the number.
pub fn fuzz_kill(bytes: &[u8]) {
    if let Some(kill) = recognise(bytes) {
        let digits = std::str::from_utf8(&bytes[kill.id_range]).expect("digits are ASCII");
        assert_eq!(digits.parse(), Ok(kill.id));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Option<(u64, bool)>) {
        let found = recognise(text.as_bytes());
        fuzz_kill(text.as_bytes());
        assert_eq!(found.map(|kill| (kill.id, kill.query_only)), expected, "{text}");
    }

    #[test]
    fn every_form_of_the_statement_is_recognised() {
        check("KILL 5", Some((5, false)));
        check("kill 18446744073709551615;", Some((u64::MAX, false)));
        check("  /* why */ Kill\tConnection\n12 -- done", Some((12, false)));
        check("KILL QUERY 7", Some((7, true)));
        check("KILL HARD QUERY 7 ; ;", Some((7, true)));
        check("KILL SOFT CONNECTION 7", Some((7, false)));
        check("# a line\nkill/**/query/**/9#", Some((9, true)));
        check("-- a line\nkill 3", Some((3, false)));
        check("KILL QUERY ID 7", Some((7, true)));
    }

    #[test]
    fn what_the_server_must_judge_is_left_alone() {
        check("SELECT 1", None);
        check("KILLS 5", None);
        check("KILL", None);
        check("KILL USER app", None);
        check("KILL 5+1", None);
        check("KILL 5.0", None);
        check("KILL 0x10", None);
        check("KILL @id", None);
        check("KILL 18446744073709551616", None);
        check("KILL 5; SELECT 1", None);
        check("/*! KILL 5 */", None);
        check("/* KILL 5", None);
        check("", None);
        check(&format!("/*{}*/ KILL 5", "x".repeat(KILL_TEXT_MAX)), None);
    }

    #[test]
    fn the_id_of_a_query_is_told_apart_from_that_of_a_connection() {
        assert!(recognise(b"KILL QUERY ID 7").unwrap().names_query);
        assert!(!recognise(b"KILL QUERY 7").unwrap().names_query);
        assert_eq!(recognise(b"KILL CONNECTION ID 7"), None);
    }

    #[test]
    fn the_digits_are_found_in_their_place() {
        assert_eq!(recognise(b"KILL QUERY 42;").unwrap().id_range, 11..13);
    }

    proptest! {
        #[test]
        fn hostile_texts_are_looked_at_and_left(text in "[kKiIlL0-9 /*#;!\\-\\n]{0,300}") {
            fuzz_kill(text.as_bytes());
        }
    }
}
