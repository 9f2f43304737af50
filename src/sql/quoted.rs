//! Where strings and names in quotes end.

use super::ClientCharset;
use super::eight::{before_first, eight_at, equal};
use super::lexer::{Broken, Kind, Lexer};

impl Lexer<'_> {
    /// What begins with a quote: a string, or a name.
    pub(super) fn quoted(&mut self, quote: u8) -> Kind {
        let start = self.at;
        let is_name = quote == b'`' || quote == b'"' && self.dialect.ansi_quotes;
        let end = if is_name { self.name_end(quote) } else { self.string_end(quote) };
        let Some(end) = end else {
            return Kind::Broken(Broken::Unterminated);
        };
        if self.is_doubtful(&self.text[start..end], is_name) {
            return Kind::Broken(Broken::Bytes);
        }
        self.at = end;
        if is_name { Kind::QuotedName } else { Kind::Text }
    }

    /// Servers skip the length that the first byte of a character promises in a name, but look at all of its bytes in a
    /// string; so a name must be certain, and a string only of a known character set.
    fn is_doubtful(&self, quoted: &[u8], is_name: bool) -> bool {
        match self.dialect.charset {
            _ if is_name => !self.is_certain_name(quoted),
            ClientCharset::Unknown => !quoted.is_ascii(),
            _ => false,
        }
    }

    /// Where a name in quotes ends; a doubled quote stands for one.
    fn name_end(&self, quote: u8) -> Option<usize> {
        let mut at = self.at + 1;
        loop {
            at += memchr::memchr(quote, self.text.get(at..)?)? + 1;
            if self.text.get(at) != Some(&quote) {
                return Some(at);
            }
            at += 1;
        }
    }

    /// Where a string ends: at its quote, unless doubled, escaped, or the second byte of a character.
    fn string_end(&self, quote: u8) -> Option<usize> {
        if !self.dialect.charset.is_ascii_safe() {
            return self.string_end_bytewise(quote);
        }
        if self.dialect.no_backslash_escapes {
            return self.name_end(quote);
        }
        let mut at = self.at + 1;
        loop {
            at += memchr::memchr2(quote, b'\\', self.text.get(at..)?)?;
            if self.text[at] == b'\\' {
                at += 2;
                continue;
            }
            at += 1;
            if self.text.get(at) != Some(&quote) {
                return Some(at);
            }
            at += 1;
        }
    }

    /// Where a string in single quotes ends that begins at `start`; none if its bytes must be looked at one by one.
    #[inline]
    pub(super) fn plain_string_end(&self, start: usize) -> Option<usize> {
        if !self.dialect.charset.is_ascii_safe() {
            return None;
        }
        let escape = if self.dialect.no_backslash_escapes { b'\'' } else { b'\\' };
        let mut at = start + 1;
        loop {
            at = find_either(self.text, at, b'\'', escape)?;
            let is_escape = self.text[at] != b'\'';
            at += 1;
            if !is_escape && self.text.get(at) != Some(&b'\'') {
                return Some(at);
            }
            at += 1;
        }
    }

    fn string_end_bytewise(&self, quote: u8) -> Option<usize> {
        let charset = self.dialect.charset;
        let mut at = self.at + 1;
        loop {
            let byte = *self.text.get(at)?;
            let next = self.text.get(at + 1).copied();
            let joins = byte >= 0x80 && next.is_some_and(|second| charset.joins(byte, second));
            let escapes = byte == b'\\' && !self.dialect.no_backslash_escapes;
            let doubles = byte == quote && next == Some(quote);
            if joins || escapes || doubles {
                at += 2;
            } else if byte == quote {
                return Some(at + 1);
            } else {
                at += 1;
            }
        }
    }
}

/// Where the first of two bytes stands from `start` on. Most strings are shorter than the preparations of a search that
/// is made for long ones.
#[inline]
fn find_either(text: &[u8], start: usize, one: u8, other: u8) -> Option<usize> {
    let mut at = start;
    for _ in 0..6 {
        if at >= text.len() {
            return None;
        }
        let bytes = eight_at(text, at);
        let found = equal(bytes, one) | equal(bytes, other);
        if found != 0 {
            return Some(at + before_first(found));
        }
        at += 8;
    }
    Some(at + memchr::memchr2(one, other, text.get(at..)?)?)
}

/// A name without its quotes. One that holds a quote is none that is looked for.
pub fn unquoted(name: &[u8]) -> &[u8] {
    match name {
        [b'`' | b'"', inner @ .., b'`' | b'"'] => inner,
        bare => bare,
    }
}
