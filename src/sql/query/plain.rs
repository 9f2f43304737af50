//! Goes past what says nothing: most tokens of a statement matter only as the one before the next.
//!
//! [`Query::token`] would take each of them to the same effect, only slower. What is not plain is left to it, so nothing
//! here has to be complete: a comment, a variable, a byte from 0x80, a number with an exponent, a word that tells.

use super::super::Span;
use super::super::classify::Reader;
use super::super::eight::{before_first, beyond_digits, eight_at};
use super::super::keyword::{self, Keyword};
use super::super::lexer::{Kind, Lexer, Token, is_name_byte};
use super::super::variable::is_server_schema;
use super::{Place, Previous, Query, Style, is_sequence_name, unquoted};

/// The last token that was passed, or the one before all of them.
#[derive(Clone, Copy)]
struct Passed {
    kind: Kind,
    place: Place,
    start: usize,
    /// Behind it; `start <= end <= text.len()`.
    end: usize,
}

impl Passed {
    fn of(previous: Previous) -> Passed {
        let Span { start, end } = previous.span;
        Passed { kind: previous.kind, place: previous.place, start: start as usize, end: end as usize }
    }

    fn span(self) -> Span {
        Span { start: self.start as u32, end: self.end as u32 }
    }

    /// Where a name behind it stands.
    #[inline]
    fn next_place(self) -> Place {
        match self.kind {
            Kind::Sign(b')') | Kind::Text => Place::Declared,
            _ => Place::Other,
        }
    }

    fn is_name(self) -> bool {
        matches!(self.kind, Kind::Word | Kind::QuotedName)
    }
}

impl Query {
    /// Moves the reader to the next token that is not plain, or to the end.
    #[inline]
    pub(in super::super) fn pass_plain(&mut self, reader: &mut Reader<'_>) {
        if self.awaits_anything() {
            self.pass(reader);
        }
    }

    /// Whether the last token does not change what the next one means, but for a name or call that it may be part of.
    fn awaits_anything(&self) -> bool {
        let is_quiet = matches!(self.previous.keyword, None | Some(Keyword::Structural | Keyword::Query));
        let is_read_alike = self.style != Style::Show && self.with_depth.is_none() && !self.is_in_last_insert_id;
        is_quiet && is_read_alike && self.previous.place.is_of_a_name() && self.previous.kind != Kind::Sign(b'.')
    }

    fn pass(&mut self, reader: &mut Reader<'_>) {
        let text = reader.lexer.text;
        let before = Passed::of(self.previous);
        let mut last = before;
        let mut at = reader.lexer.at;
        while let Some(&first) = text.get(at) {
            let passed = match STEPS[usize::from(first)] {
                Step::Blank => {
                    at += 1;
                    continue;
                }
                step @ (Step::Name | Step::TellingName) => {
                    let Some(end) = name_end(text, at) else { break };
                    if step == Step::TellingName && self.is_told(&text[at..end]) {
                        break;
                    }
                    last = Passed { kind: Kind::Word, place: last.next_place(), start: at, end };
                    at = end;
                    continue;
                }
                Step::Sign => Some(sign(first, at)),
                Step::Digit => number(text, at),
                Step::Text => string(&reader.lexer, at),
                Step::QuotedName => quoted_name(text, at, last.next_place()),
                Step::Dot => qualified(text, at, last),
                Step::CommentOrSign => (!begins_comment(text, at)).then(|| sign(first, at)),
                Step::Close => {
                    self.depth = self.depth.saturating_sub(1);
                    Some(sign(first, at))
                }
                Step::Open => {
                    self.open(reader, last, at);
                    last = sign(first, at);
                    at += 1;
                    if self.is_in_last_insert_id {
                        break;
                    }
                    continue;
                }
                Step::Other => None,
            };
            let Some(passed) = passed else { break };
            last = passed;
            at = passed.end;
        }
        reader.lexer.at = at;
        if last.end != before.end {
            self.previous = previous(last, text);
        }
    }

    /// Whether a word says something here.
    fn is_told(&self, word: &[u8]) -> bool {
        keyword::find_telling(word).is_some_and(|keyword| self.is_read() || keyword.tells_of_session())
    }

    /// A parenthesis behind `last`.
    fn open(&mut self, reader: &mut Reader<'_>, last: Passed, at: usize) {
        if last.is_name() || last.kind == Kind::Number {
            if last.end as u32 != self.previous.span.end {
                self.previous = previous(last, reader.lexer.text);
            }
            let parenthesis = sign(b'(', at);
            self.opens(reader, Token { kind: parenthesis.kind, span: parenthesis.span() });
        }
        self.depth += 1;
    }
}

/// As [`Query::token`] leaves it behind that token.
fn previous(last: Passed, text: &[u8]) -> Previous {
    let may_be_keyword = last.kind == Kind::Word && last.place != Place::Qualified;
    let keyword = if may_be_keyword { keyword::find(&text[last.start..last.end]) } else { None };
    Previous { kind: last.kind, span: last.span(), keyword, place: last.place, is_first: false }
}

#[inline]
fn sign(byte: u8, at: usize) -> Passed {
    Passed { kind: Kind::Sign(byte), place: Place::Other, start: at, end: at + 1 }
}

/// Where the bytes of an ASCII name end; none if bytes from 0x80 go on with it.
#[inline]
fn name_end(text: &[u8], start: usize) -> Option<usize> {
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        if !GOES_ON[usize::from(byte)] {
            let is_odd = byte >= 0x80 || byte == b'$';
            return (!is_odd).then_some(end);
        }
        end += 1;
    }
    Some(end)
}

/// `.name` behind a name, and no blank between.
#[inline]
fn qualified(text: &[u8], dot: usize, last: Passed) -> Option<Passed> {
    if !last.is_name() || last.end != dot || is_server_schema(unquoted(&text[last.start..dot])) {
        return None;
    }
    let start = dot + 1;
    match STEPS[usize::from(*text.get(start)?)] {
        Step::Name | Step::TellingName => {
            let end = name_end(text, start)?;
            let passed = Passed { kind: Kind::Word, place: Place::Qualified, start, end };
            (!is_sequence_name(&text[start..end])).then_some(passed)
        }
        Step::QuotedName => quoted_name(text, start, Place::Qualified),
        _ => None,
    }
}

/// A name in backticks that could stand there without them.
#[inline]
fn quoted_name(text: &[u8], start: usize, place: Place) -> Option<Passed> {
    let end = name_end(text, start + 1)? + 1;
    let ends = text.get(end - 1) == Some(&b'`') && text.get(end) != Some(&b'`');
    ends.then_some(Passed { kind: Kind::QuotedName, place, start, end })
}

/// Digits, perhaps with a fraction.
#[inline]
fn number(text: &[u8], start: usize) -> Option<Passed> {
    let mut end = digits_end(text, start);
    if text.get(end) == Some(&b'.') {
        end = digits_end(text, end + 1);
        if matches!(text.get(end), Some(b'e' | b'E')) {
            return None;
        }
    } else if text.get(end).is_some_and(|byte| is_name_byte(*byte)) {
        return None;
    }
    Some(Passed { kind: Kind::Number, place: Place::Other, start, end })
}

#[inline]
fn digits_end(text: &[u8], start: usize) -> usize {
    let mut end = start;
    loop {
        let length = before_first(beyond_digits(eight_at(text, end)));
        end += length;
        if length < 8 {
            return end;
        }
    }
}

#[inline]
fn string(lexer: &Lexer<'_>, start: usize) -> Option<Passed> {
    let end = lexer.plain_string_end(start)?;
    Some(Passed { kind: Kind::Text, place: Place::Other, start, end })
}

/// Whether the sign, with the one behind it, may begin or end a comment.
#[inline]
fn begins_comment(text: &[u8], at: usize) -> bool {
    matches!(text[at..], [b'#', ..] | [b'-', b'-', ..] | [b'/', b'*', ..] | [b'*', b'/', ..])
}

/// What to do where a token begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Name,
    /// Words that tell begin so.
    TellingName,
    Digit,
    Blank,
    Sign,
    Text,
    QuotedName,
    Dot,
    CommentOrSign,
    Open,
    Close,
    /// Leave it.
    Other,
}

static STEPS: [Step; 256] = {
    let mut steps = [Step::Other; 256];
    let mut byte = 0;
    while byte < 128 {
        steps[byte] = match byte as u8 {
            letter @ (b'a'..=b'z' | b'A'..=b'Z') if keyword::may_tell(letter) => Step::TellingName,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Step::Name,
            b'0'..=b'9' => Step::Digit,
            b' ' | b'\t'..=b'\r' => Step::Blank,
            b'\'' => Step::Text,
            b'`' => Step::QuotedName,
            b'.' => Step::Dot,
            b'/' | b'-' | b'#' | b'*' => Step::CommentOrSign,
            b'(' => Step::Open,
            b')' => Step::Close,
            b'"' | b'@' | b':' | b';' | b'\\' | b'$' | 0..0x20 | 0x7F => Step::Other,
            _ => Step::Sign,
        };
        byte += 1;
    }
    steps
};

/// Whether a byte goes on with an ASCII name.
static GOES_ON: [bool; 256] = {
    let mut goes_on = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        goes_on[byte] = matches!(STEPS[byte], Step::Name | Step::TellingName | Step::Digit);
        byte += 1;
    }
    goes_on
};
