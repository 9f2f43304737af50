//! `/* sqluice: primary */`, `/* sqluice: replica */`, `/* sqluice: server=NAME */`: what the author of a statement
//! knows better. Told to the caller; it does not change the class.

use std::ops::Range;

use super::Span;

/// What a comment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// `primary`: run it there though it looks like a read.
    Primary,
    /// `replica`: run it there though it does not look like a read.
    Replica,
    /// `server=NAME`: run it there; the name's place in the text.
    Server(Span),
}

/// The hint in the body of a comment, if it is one. Words that no hint has are no hint.
pub(super) fn find(text: &[u8], body: Range<usize>) -> Option<Hint> {
    let words = text[body.clone()].trim_ascii();
    let asked = strip_word(words, b"sqluice:")?.trim_ascii();
    if asked.eq_ignore_ascii_case(b"primary") {
        return Some(Hint::Primary);
    }
    if asked.eq_ignore_ascii_case(b"replica") {
        return Some(Hint::Replica);
    }
    let name = strip_word(asked, b"server=")?;
    let is_name = !name.is_empty() && !name.iter().any(u8::is_ascii_whitespace);
    let trailing = text[body.clone()].len() - text[body.clone()].trim_ascii_end().len();
    let end = body.end - trailing;
    is_name.then_some(Hint::Server(Span { start: (end - name.len()) as u32, end: end as u32 }))
}

fn strip_word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}
