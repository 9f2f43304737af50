//! From a text to its [`Classification`]: statement after statement, each by its first word and then token by token.

use super::Span;
use super::classification::{Class, Classification, Effects, Reason};
use super::comment::{Comments, Versioned, Versions};
use super::dialect::Dialect;
use super::lexer::{Broken, Kind, Lexer, Token};
use super::opening::Opening;
use super::query::Query;
use super::reader::Reader;
use super::statement;

/// Says where the text of a COM_QUERY or COM_STMT_PREPARE may run. `complete` is whether `text` is all of it.
///
/// A text with executable comments that name a version has two readings, as servers of different versions may have
/// them; it is a read only if both are, and has the effects of both.
pub fn classify(text: &[u8], dialect: Dialect, complete: bool) -> Classification {
    let mut reader = Reader::of_all(text, dialect, Versioned::Code);
    if reader.lexer.comments.versions != Versions::None {
        reader.found = read_again(reader.found, reader.lexer.comments.versions, text, dialect);
    }
    if complete { reader.found } else { cut(reader.found, text) }
}

/// Joins the first reading with the one of a server that takes versioned comments for comments.
#[cold]
fn read_again(first: Classification, versions: Versions, text: &[u8], dialect: Dialect) -> Classification {
    let mut found = stricter(first, Reader::of_all(text, dialect, Versioned::Comment).found);
    if versions == Versions::Several && found.class != Class::Primary {
        found.class = Class::Primary;
        found.reason = Reason::ExecutableComment;
    }
    found
}

/// What is left to say when there is more of the text than was seen.
#[cold]
fn cut(mut found: Classification, text: &[u8]) -> Classification {
    if found.class != Class::Primary {
        let end = text.len().min(u32::MAX as usize) as u32;
        found.class = Class::Primary;
        found.reason = Reason::TooLong;
        found.token = Span { start: end, end };
    }
    found.effects |= Effects::UNSEEN;
    found
}

fn stricter(one: Classification, other: Classification) -> Classification {
    let strict = if other.class > one.class { other } else { one };
    Classification {
        effects: one.effects | other.effects,
        needs: one.needs | other.needs,
        hint: one.hint.or(other.hint),
        statements: one.statements.max(other.statements),
        ..strict
    }
}

/// What ended a statement.
#[derive(PartialEq, Eq)]
enum Stop {
    Semicolon,
    Text,
}

impl<'a> Reader<'a> {
    /// That has read the text.
    #[inline]
    fn of_all(text: &'a [u8], dialect: Dialect, versioned: Versioned) -> Reader<'a> {
        let mut reader = Reader::new(Lexer::new(text, dialect, Comments::new(versioned)));
        while reader.statement() {}
        reader.finish();
        reader
    }

    /// Reads one statement with its semicolon; whether there may be another.
    #[inline]
    fn statement(&mut self) -> bool {
        let mut first = self.lexer.next_word();
        let mut depth = 0;
        while first.kind == Kind::Sign(b'(') {
            depth += 1;
            first = self.lexer.next();
        }
        match first.kind {
            Kind::End if depth == 0 => return false,
            Kind::Sign(b';') if depth == 0 => return true,
            _ => {}
        }
        self.found.statements += 1;
        self.note_more_statements();
        let opening = statement::open(self, first);
        self.strengthen(opening.class, opening.reason, first.span);
        self.found.effects |= opening.effects;
        self.found.needs |= opening.needs;
        self.rest(first, opening, depth) == Stop::Semicolon
    }

    /// A SET before this statement may change how the server reads it, but not how it is read here.
    #[inline]
    fn note_more_statements(&mut self) {
        let changed = Effects::CHARACTER_SETS.with(Effects::SQL_MODE);
        if self.found.statements > 1 && self.found.effects.intersects(changed) {
            self.found.effects |= Effects::ANYTHING;
        }
    }

    /// Reads the tokens of a statement behind its first.
    #[inline]
    fn rest(&mut self, first: Token, opening: Opening, depth: u32) -> Stop {
        if let Kind::Broken(broken) = first.kind {
            return self.broken(broken, first.span);
        }
        let mut query = Query::new(opening, first, depth);
        loop {
            query.pass_plain(self);
            let token = if self.lexer.is_at_end() { self.lexer.end() } else { self.lexer.next() };
            match token.kind {
                Kind::Sign(b';') => {
                    query.end(self, token.span);
                    return Stop::Semicolon;
                }
                Kind::End => {
                    query.end(self, token.span);
                    return Stop::Text;
                }
                Kind::Broken(broken) => return self.broken(broken, token.span),
                _ => query.token(self, token),
            }
        }
    }

    #[cold]
    fn broken(&mut self, broken: Broken, span: Span) -> Stop {
        let reason = match broken {
            Broken::Unterminated => Reason::Unterminated,
            Broken::Bytes => Reason::Bytes,
            Broken::Comment => Reason::ExecutableComment,
        };
        self.primary(reason, span);
        self.found.effects |= Effects::UNSEEN;
        Stop::Text
    }

    #[inline]
    fn finish(&mut self) {
        let end = self.lexer.text.len() as u32;
        let end = Span { start: end, end };
        if self.found.statements == 0 {
            self.primary(Reason::Empty, end);
        }
        if self.found.statements > 1 {
            if self.found.class == Class::ReadOnlyTransaction {
                self.primary(Reason::Transaction, end);
            }
            if self.found.effects.contains(Effects::USER_VARIABLES) {
                // One of the statements may fail, and the rest is not executed then.
                self.found.effects |= Effects::COMPUTED_USER_VARIABLES;
            }
        }
        self.found.hint = self.lexer.comments.hint;
    }
}
