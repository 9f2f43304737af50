//! Cuts a statement into tokens as the servers do, without copying: names, strings, numbers, variables, signs.
//!
//! Where two servers, two versions or two readings of the bytes could differ, the token is [`Kind::Broken`], and what
//! holds it is not judged. What words mean is decided elsewhere.

use super::comment::Comments;
use super::dialect::{Dialect, Family};
use super::{ClientCharset, Span};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bare word: a keyword, a name, a function.
    Word,
    /// A name in backticks, or in `"` with ANSI_QUOTES; never a keyword.
    QuotedName,
    /// A string in quotes, without what stands before them (`N`, `x`, `_utf8mb4`).
    Text,
    /// A number, or a name that begins with digits, or `\N`.
    Number,
    /// `@name` in all its spellings.
    UserVariable,
    /// The `@@` before the name of a system variable.
    SystemVariable,
    /// `:=`
    Assign,
    /// Any other single byte.
    Sign(u8),
    /// Nothing is left.
    End,
    /// Nothing behind this can be read for certain.
    Broken(Broken),
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A string, a name in quotes or a comment without an end.
    Unterminated,
    /// Bytes that mean different things to different servers, or nothing in this character set.
    Bytes,
    /// An executable comment in another, or with a number that versions read differently.
    Comment,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Not empty but for `End`.
    pub(super) span: Span,
}

/// A place in a text. A copy of it looks ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexer<'a> {
    pub(super) text: &'a [u8],
    /// The next byte to look at; `at <= text.len()`.
    pub(super) at: usize,
    pub(super) dialect: Dialect,
    pub(super) comments: Comments,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], dialect: Dialect, comments: Comments) -> Lexer<'a> {
        // Places are 32-bit numbers. A packet cannot be this long at any setting of the servers.
        let text = &text[..text.len().min(u32::MAX as usize)];
        Lexer { text, at: 0, dialect, comments }
    }

    /// The next token; `End` and `Broken` for ever once they were met.
    #[inline]
    pub(super) fn next(&mut self) -> Token {
        loop {
            let Some(&first) = self.text.get(self.at) else {
                return self.end();
            };
            match CLASSES[usize::from(first)] {
                Class::Blank => self.at += 1,
                Class::Name => {
                    let start = self.at;
                    let kind = self.word();
                    return self.token(start, kind);
                }
                Class::Sign => {
                    let start = self.at;
                    self.at += 1;
                    return Token { kind: Kind::Sign(first), span: self.span(start) };
                }
                Class::Comment => match self.skip_comment() {
                    Ok(true) => {}
                    Ok(false) => {
                        let start = self.at;
                        self.at += 1;
                        return Token { kind: Kind::Sign(first), span: self.span(start) };
                    }
                    Err(broken) => return self.broken(broken),
                },
                class => return self.other(class, first),
            }
        }
    }

    /// The next token where a word is expected, which needs no more than a look at its bytes.
    #[inline]
    pub(super) fn next_word(&mut self) -> Token {
        let start = self.at;
        let is_letter = self.text.get(start).is_some_and(u8::is_ascii_alphabetic);
        match if is_letter { ascii_name_end(self.text, start) } else { None } {
            Some(end) => {
                self.at = end;
                Token { kind: Kind::Word, span: self.span(start) }
            }
            None => self.next(),
        }
    }

    /// A token of a rarer kind.
    fn other(&mut self, class: Class, first: u8) -> Token {
        let start = self.at;
        let kind = match class {
            Class::Digit => self.number(),
            Class::Quote => self.quoted(first),
            Class::Dot if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) => self.fraction(),
            Class::At => self.variable(),
            Class::Colon if self.peek(1) == Some(b'=') => self.take(2, Kind::Assign),
            Class::Backslash if self.peek(1) == Some(b'N') => self.take(2, Kind::Number),
            // MySQL 8.1 and later take `$$` and `$tag$` for the quotes of a program; MariaDB for a name.
            Class::Dollar if matches!(self.dialect.family, Family::MariaDb { .. }) => self.word(),
            Class::Dollar | Class::Backslash | Class::Odd => Kind::Broken(Broken::Bytes),
            Class::Blank | Class::Name | Class::Sign | Class::Comment | Class::Dot | Class::Colon => {
                self.take(1, Kind::Sign(first))
            }
        };
        self.token(start, kind)
    }

    /// What was just taken, from `start`.
    #[inline]
    fn token(&self, start: usize, kind: Kind) -> Token {
        match kind {
            Kind::Broken(broken) => self.broken(broken),
            kind => Token { kind, span: self.span(start) },
        }
    }

    /// What is behind the last token of the text.
    pub(super) fn end(&self) -> Token {
        if self.comments.is_inside {
            return self.broken(Broken::Unterminated);
        }
        Token { kind: Kind::End, span: self.span(self.at) }
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(super) fn bytes(&self, token: Token) -> &'a [u8] {
        token.span.of(self.text)
    }

    /// Whether the token is this word, in any case and without quotes.
    pub(super) fn is_word(&self, token: Token, word: &str) -> bool {
        token.kind == Kind::Word && self.bytes(token).eq_ignore_ascii_case(word.as_bytes())
    }

    pub(super) fn is_one_of(&self, token: Token, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(token, word))
    }

    fn span(&self, start: usize) -> Span {
        Span { start: start as u32, end: self.at as u32 }
    }

    fn broken(&self, broken: Broken) -> Token {
        let end = self.text.len().min(self.at + 1);
        Token { kind: Kind::Broken(broken), span: Span { start: self.at as u32, end: end as u32 } }
    }

    pub(super) fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn take(&mut self, length: usize, kind: Kind) -> Kind {
        self.at += length;
        kind
    }

    /// A bare word, all of it.
    #[inline]
    fn word(&mut self) -> Kind {
        let start = self.at;
        if self.text[start].is_ascii()
            && let Some(end) = ascii_name_end(self.text, start)
        {
            self.at = end;
            return Kind::Word;
        }
        let high = self.skip_name_bytes();
        if high && !self.is_certain_name(&self.text[start..self.at]) {
            self.at = start;
            return Kind::Broken(Broken::Bytes);
        }
        Kind::Word
    }

    /// Goes past the bytes of a name; whether one of them is not ASCII.
    #[inline]
    fn skip_name_bytes(&mut self) -> bool {
        let mut seen = 0;
        let mut at = self.at;
        while let Some(&byte) = self.text.get(at) {
            if !is_name_byte(byte) {
                break;
            }
            seen |= byte;
            at += 1;
        }
        self.at = at;
        seen >= 0x80
    }

    /// Whether all servers see the same characters in a name: those of utf8mb3 in UTF-8, else only ASCII.
    pub(super) fn is_certain_name(&self, name: &[u8]) -> bool {
        let is_utf8 = self.dialect.charset == ClientCharset::Utf8;
        name.is_ascii() || is_utf8 && std::str::from_utf8(name).is_ok() && !name.iter().any(|byte| *byte >= 0xF0)
    }

    /// Digits with a fraction or an exponent, hexadecimal, or a name that begins with a digit.
    ///
    /// The servers end `1.5` and `1e5` where the digits end, so `1.5for update` has three words behind the number's
    /// end; but `1for` is a name.
    fn number(&mut self) -> Kind {
        let start = self.at;
        self.skip_digits();
        match self.peek(0) {
            Some(b'.') => {
                self.at += 1;
                self.skip_digits();
                self.skip_exponent();
            }
            Some(b'e' | b'E') if self.skip_exponent() => {}
            Some(byte) if is_name_byte(byte) => {
                self.at = start;
                return match self.word() {
                    Kind::Word => Kind::Number,
                    broken => broken,
                };
            }
            _ => {}
        }
        Kind::Number
    }

    /// `.5`
    fn fraction(&mut self) -> Kind {
        self.at += 1;
        self.skip_digits();
        self.skip_exponent();
        Kind::Number
    }

    fn skip_digits(&mut self) {
        while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    /// Goes past `e5`, `e+5` or `e-5`; whether one is there.
    fn skip_exponent(&mut self) -> bool {
        if !matches!(self.peek(0), Some(b'e' | b'E')) {
            return false;
        }
        let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
        let is_there = self.peek(1 + sign).is_some_and(|byte| byte.is_ascii_digit());
        if is_there {
            self.at += 1 + sign;
            self.skip_digits();
        }
        is_there
    }

    /// Anything that begins with `@`.
    fn variable(&mut self) -> Kind {
        match self.peek(1) {
            Some(b'@') => self.take(2, Kind::SystemVariable),
            Some(quote @ (b'\'' | b'"' | b'`')) => {
                self.at += 1;
                match self.quoted(quote) {
                    Kind::Broken(broken) => Kind::Broken(broken),
                    _ => Kind::UserVariable,
                }
            }
            Some(byte) if byte == b'.' || is_name_byte(byte) => self.bare_user_variable(),
            _ => Kind::Broken(Broken::Bytes),
        }
    }

    /// `@name`, whose name may hold dots.
    fn bare_user_variable(&mut self) -> Kind {
        let start = self.at;
        self.at += 1;
        while self.peek(0).is_some_and(|byte| byte == b'.' || is_name_byte(byte)) {
            self.at += 1;
        }
        if self.is_certain_name(&self.text[start..self.at]) { Kind::UserVariable } else { Kind::Broken(Broken::Bytes) }
    }
}

/// What a token may begin with.
#[derive(Clone, Copy)]
enum Class {
    Blank,
    Name,
    /// A comment may begin or end here.
    Comment,
    Digit,
    Quote,
    At,
    Dot,
    Colon,
    Backslash,
    Dollar,
    Sign,
    /// A control character, which no server takes.
    Odd,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Sign; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Name,
            b'0'..=b'9' => Class::Digit,
            b'\'' | b'"' | b'`' => Class::Quote,
            b'@' => Class::At,
            b'.' => Class::Dot,
            b':' => Class::Colon,
            b'\\' => Class::Backslash,
            b'$' => Class::Dollar,
            b' ' | b'\t'..=b'\r' => Class::Blank,
            b'/' | b'-' | b'#' | b'*' => Class::Comment,
            0..0x20 | 0x7F => Class::Odd,
            _ => Class::Sign,
        };
        byte += 1;
    }
    classes
};

/// ASCII bytes that go on with a bare name.
static NAME_BYTES: [bool; 256] = {
    let mut is_name = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        is_name[byte] = matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$');
        byte += 1;
    }
    is_name
};

/// Whether a byte goes on with a bare name.
#[inline]
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte >= 0x80 || NAME_BYTES[usize::from(byte)]
}

/// Where a name ends whose first byte was looked at; none if bytes from 0x80 go on with it.
#[inline(always)]
pub(super) fn ascii_name_end(text: &[u8], start: usize) -> Option<usize> {
    let mut rest = text.get(start + 1..)?;
    while let Some((four, tail)) = rest.split_first_chunk::<4>() {
        for (length, &byte) in four.iter().enumerate() {
            if !NAME_BYTES[usize::from(byte)] {
                return (byte < 0x80).then_some(text.len() - rest.len() + length);
            }
        }
        rest = tail;
    }
    last_name_end(text, text.len() - rest.len())
}

/// Fewer than four bytes are left.
#[inline(never)]
fn last_name_end(text: &[u8], start: usize) -> Option<usize> {
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        if !NAME_BYTES[usize::from(byte)] {
            return (byte < 0x80).then_some(end);
        }
        end += 1;
    }
    Some(end)
}
