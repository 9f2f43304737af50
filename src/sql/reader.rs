//! One reading of a text, and what it has found so far.

use super::Span;
use super::classification::{Class, Classification, Effects, Needs, Reason};
use super::lexer::Lexer;

/// One reading of a text.
pub(super) struct Reader<'a> {
    pub(super) lexer: Lexer<'a>,
    pub(super) found: Classification,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(lexer: Lexer<'a>) -> Reader<'a> {
        let end = lexer.text.len() as u32;
        let found = Classification {
            class: Class::Read,
            reason: Reason::PlainRead,
            token: Span { start: end, end },
            hint: None,
            effects: Effects::NONE,
            needs: Needs::NONE,
            statements: 0,
        };
        Reader { lexer, found }
    }

    /// The text needs the primary; the first reason stays.
    pub(super) fn primary(&mut self, reason: Reason, token: Span) {
        self.strengthen(Class::Primary, reason, token);
    }

    /// The text needs at least this class.
    #[inline]
    pub(super) fn strengthen(&mut self, class: Class, reason: Reason, token: Span) {
        // A function whose name is not known may be called before a write shows itself, and is the lesser reason.
        if class > self.found.class || reason == Reason::HoldsAWrite && class == self.found.class {
            self.found.class = class;
            self.found.reason = reason;
            self.found.token = token;
        }
    }

    pub(super) fn affects(&mut self, effects: Effects) {
        self.found.effects |= effects;
    }

    pub(super) fn needs(&mut self, needs: Needs) {
        self.found.needs |= needs;
    }

    pub(super) fn bytes(&self, span: Span) -> &'a [u8] {
        span.of(self.lexer.text)
    }
}
