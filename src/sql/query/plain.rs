//! Goes past what says nothing: most tokens of a statement matter only as the one before the next.
//!
//! [`Query::token`] would take each of them to the same effect, only slower. What is not plain is left to it, so nothing
//! here has to be complete: a comment, a variable, a byte from 0x80, a number with an exponent, a word that tells.

use std::ops::Range;

use super::super::Span;
use super::super::keyword::{self, Keyword};
use super::super::lexer::{Kind, Lexer, Token, ascii_name_end, is_name_byte};
use super::super::opening::Style;
use super::super::quoted::unquoted;
use super::super::reader::Reader;
use super::super::variable::is_server_schema;
use super::{Place, Previous, Query, is_sequence_name};

/// A token that was passed, or the one before all of them.
#[derive(Clone, Copy)]
struct Passed {
    what: What,
    start: usize,
    /// Behind it; `start <= end <= text.len()`.
    end: usize,
}

/// A token's kind and, of a name, its place: in one byte, so that the loop keeps all that it knows in registers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Name,
    DeclaredName,
    QualifiedName,
    QuotedName,
    DeclaredQuotedName,
    QualifiedQuotedName,
    Number,
    Sign,
    /// A token before all that are passed; never one of these.
    Other,
    Text,
    Close,
    /// Behind a name, with no blank between.
    Dot,
}

impl What {
    fn of(previous: &Previous) -> What {
        match (previous.kind, previous.place) {
            (Kind::Word, Place::Qualified) => What::QualifiedName,
            (Kind::Word, Place::Declared) => What::DeclaredName,
            (Kind::Word, _) => What::Name,
            (Kind::QuotedName, Place::Qualified) => What::QualifiedQuotedName,
            (Kind::QuotedName, Place::Declared) => What::DeclaredQuotedName,
            (Kind::QuotedName, _) => What::QuotedName,
            (Kind::Number, _) => What::Number,
            (Kind::Text, _) => What::Text,
            (Kind::Sign(b')'), _) => What::Close,
            _ => What::Other,
        }
    }

    fn kind(self, first: u8) -> Kind {
        match self {
            What::Name | What::DeclaredName | What::QualifiedName => Kind::Word,
            What::QuotedName | What::DeclaredQuotedName | What::QualifiedQuotedName => Kind::QuotedName,
            What::Number => Kind::Number,
            What::Text => Kind::Text,
            What::Sign | What::Close | What::Dot | What::Other => Kind::Sign(first),
        }
    }

    fn place(self) -> Place {
        match self {
            What::QualifiedName | What::QualifiedQuotedName => Place::Qualified,
            What::DeclaredName | What::DeclaredQuotedName => Place::Declared,
            What::Name | What::QuotedName | What::Number | What::Text => Place::Other,
            What::Sign | What::Close | What::Dot | What::Other => Place::Other,
        }
    }

    /// Whether the place of a name behind it is a special one.
    #[inline]
    fn places_names(self) -> bool {
        matches!(self, What::Text | What::Close | What::Dot)
    }

    /// A bare name behind it.
    #[inline]
    fn then_name(self) -> What {
        match self {
            What::Dot => What::QualifiedName,
            What::Close | What::Text => What::DeclaredName,
            _ => What::Name,
        }
    }

    /// A name in backticks behind it.
    fn then_quoted_name(self) -> What {
        match self {
            What::Dot => What::QualifiedQuotedName,
            What::Close | What::Text => What::DeclaredQuotedName,
            _ => What::QuotedName,
        }
    }

    #[inline]
    fn is_name(self) -> bool {
        matches!(
            self,
            What::Name
                | What::DeclaredName
                | What::QualifiedName
                | What::QuotedName
                | What::DeclaredQuotedName
                | What::QualifiedQuotedName
        )
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
        let before = self.previous.span;
        // Not as one value: its parts would be moved in memory for each token.
        let (mut what, mut start, mut end) = (What::of(&self.previous), before.start as usize, before.end as usize);
        let mut at = reader.lexer.at;
        while let Some(&first) = text.get(at) {
            let (next, next_end) = match STEPS[usize::from(first)] {
                Step::Name => {
                    let Some(end) = ascii_name_end(text, at) else { break };
                    let name = if what.places_names() { what.then_name() } else { What::Name };
                    let is_told = if name == What::QualifiedName {
                        is_sequence_name(&text[at..end])
                    } else {
                        keyword::may_tell(first, end - at) && self.is_told(&text[at..end])
                    };
                    if is_told {
                        break;
                    }
                    (name, end)
                }
                Step::Blank => {
                    at += 1;
                    continue;
                }
                Step::Sign => (What::Sign, at + 1),
                Step::Dot if what.is_name() && end == at && qualifies(text, start..end) => {
                    (what, start, end) = (What::Dot, at, at + 1);
                    at += 1;
                    continue;
                }
                Step::Digit => match number_end(text, at) {
                    Some(end) => (What::Number, end),
                    None => break,
                },
                Step::Open => {
                    self.open(reader, Passed { what, start, end }, at);
                    if self.is_in_last_insert_id {
                        (what, start, end) = (What::Sign, at, at + 1);
                        at += 1;
                        break;
                    }
                    (What::Sign, at + 1)
                }
                step @ (Step::Text | Step::QuotedName | Step::CommentOrSign | Step::Close) => {
                    match self.rarer(&reader.lexer, step, what, at) {
                        Some(passed) => passed,
                        None => break,
                    }
                }
                Step::Dot | Step::Other => break,
            };
            (what, start, end) = (next, at, next_end);
            // Most tokens have one blank behind them.
            at = end + usize::from(text.get(end) == Some(&b' '));
        }
        reader.lexer.at = at;
        // At the end there is no next token to ask for it.
        if at < text.len() && end != before.end as usize {
            self.previous = previous(Passed { what, start, end }, text);
        }
    }

    /// What a token is that begins as fewer do, and where it ends.
    #[inline(never)]
    fn rarer(&mut self, lexer: &Lexer<'_>, step: Step, last: What, at: usize) -> Option<(What, usize)> {
        let text = lexer.text;
        match step {
            Step::Text => Some((What::Text, lexer.plain_string_end(at)?)),
            Step::QuotedName => Some((last.then_quoted_name(), quoted_name_end(text, at)?)),
            Step::CommentOrSign => (!begins_comment(text, at)).then_some((What::Sign, at + 1)),
            Step::Close => {
                self.depth = self.depth.saturating_sub(1);
                Some((What::Close, at + 1))
            }
            Step::Name | Step::Digit | Step::Blank | Step::Sign | Step::Dot | Step::Open | Step::Other => None,
        }
    }

    /// Whether a word says something here.
    fn is_told(&self, word: &[u8]) -> bool {
        keyword::find_telling(word).is_some_and(|keyword| self.is_read() || keyword.tells_of_session())
    }

    /// A parenthesis behind `last`.
    fn open(&mut self, reader: &mut Reader<'_>, last: Passed, at: usize) {
        if last.what.is_name() || last.what == What::Number {
            if last.end as u32 != self.previous.span.end {
                self.previous = previous(last, reader.lexer.text);
            }
            let span = Span { start: at as u32, end: at as u32 + 1 };
            self.opens(reader, Token { kind: Kind::Sign(b'('), span });
        }
        self.depth += 1;
    }
}

/// As [`Query::token`] leaves it behind that token.
fn previous(last: Passed, text: &[u8]) -> Previous {
    let Passed { what, start, end } = last;
    let may_be_keyword = matches!(what, What::Name | What::DeclaredName);
    let keyword = if may_be_keyword { keyword::find(&text[start..end]) } else { None };
    let span = Span { start: start as u32, end: end as u32 };
    Previous { kind: what.kind(text[start]), span, keyword, place: what.place(), is_first: false }
}

/// Whether a dot behind a name makes it that of a table or of a schema with nothing to tell.
#[inline]
fn qualifies(text: &[u8], name: Range<usize>) -> bool {
    // Digits behind a dot are a fraction to the lexer.
    let is_before_name = text.get(name.end + 1).is_some_and(|byte| is_name_step(*byte));
    is_before_name && !is_server_schema(unquoted(&text[name]))
}

#[inline]
fn is_name_step(byte: u8) -> bool {
    matches!(STEPS[usize::from(byte)], Step::Name | Step::QuotedName)
}

/// Where a name in backticks ends that could stand there without them.
#[inline]
fn quoted_name_end(text: &[u8], start: usize) -> Option<usize> {
    let end = ascii_name_end(text, start)? + 1;
    let ends = text.get(end - 1) == Some(&b'`') && text.get(end) != Some(&b'`');
    ends.then_some(end)
}

/// Where digits end, perhaps with a fraction.
#[inline(never)]
fn number_end(text: &[u8], start: usize) -> Option<usize> {
    let mut end = digits_end(text, start);
    if text.get(end) == Some(&b'.') {
        end = digits_end(text, end + 1);
        if matches!(text.get(end), Some(b'e' | b'E')) {
            return None;
        }
    } else if text.get(end).is_some_and(|byte| is_name_byte(*byte)) {
        return None;
    }
    Some(end)
}

#[inline]
fn digits_end(text: &[u8], start: usize) -> usize {
    let rest = &text[start..];
    start + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
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
    QuotedName,
    Digit,
    Blank,
    Sign,
    Text,
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
