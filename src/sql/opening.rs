//! What a statement is by its first words, and how these are taken.

use super::classification::{Class, Effects, Needs, Reason};
use super::lexer::{Kind, Lexer};

/// What is known of a statement by its first words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) class: Class,
    pub(super) reason: Reason,
    pub(super) effects: Effects,
    pub(super) needs: Needs,
    /// How its other words are to be read.
    pub(super) style: Style,
    /// It begins with WITH, so names with lists of columns follow.
    pub(super) has_with: bool,
}

impl Opening {
    /// A statement that may run on a replica unless its other words say no.
    pub(super) const READ: Opening = Opening {
        class: Class::Read,
        reason: Reason::PlainRead,
        effects: Effects::NONE,
        needs: Needs::NONE,
        style: Style::Query,
        has_with: false,
    };

    /// A statement for the primary.
    pub(super) const fn primary(reason: Reason, effects: Effects) -> Opening {
        Opening { class: Class::Primary, reason, effects, style: Style::Other, ..Opening::READ }
    }
}

/// How the tokens behind a first word are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// SELECT, EXPLAIN and the like: every word counts.
    Query,
    /// SHOW: as a query; a schema may be named without a dot.
    Show,
    /// A statement that runs on the primary whatever comes: only its effects count.
    Other,
    /// Like `Other`, and every user variable in it is assigned: LOAD DATA, GET DIAGNOSTICS.
    AssignsUserVariables,
    /// SET: what it assigns has been read already.
    Set,
}

/// The words behind the first, taken one by one if they are those asked for.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) lexer: Lexer<'a>,
}

impl Words<'_> {
    /// Takes the next word if it is this one, bare and in any case.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let mut ahead = self.lexer;
        let token = ahead.next();
        let is_it = token.kind == Kind::Word && ahead.bytes(token).eq_ignore_ascii_case(word.as_bytes());
        if is_it {
            self.lexer = ahead;
        }
        is_it
    }

    /// What comes next.
    pub(super) fn peek(&self) -> Kind {
        { self.lexer }.next().kind
    }

    /// Takes the next token, whatever it is; whether it was more than the statement's end.
    pub(super) fn skip(&mut self) -> bool {
        let token = self.lexer.next();
        !matches!(token.kind, Kind::End | Kind::Broken(_) | Kind::Sign(b';'))
    }

    /// Whether this word stands anywhere in the rest of the statement.
    pub(super) fn has(mut self, word: &str) -> bool {
        loop {
            if self.take(word) {
                return true;
            }
            if !self.skip() {
                return false;
            }
        }
    }
}
