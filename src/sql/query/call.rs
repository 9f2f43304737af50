//! Parentheses: whether what stands before one is called, and what calling it tells.

use super::super::Span;
use super::super::classification::{Effects, Needs, Reason};
use super::super::function::{self, Call, Function};
use super::super::keyword::Keyword;
use super::super::lexer::{Kind, Token};
use super::super::reader::Reader;
use super::{Place, Query, Style};

impl Query {
    /// A parenthesis opens: what stands before it may be called.
    pub(super) fn opens(&mut self, reader: &mut Reader<'_>, token: Token) {
        let name = self.previous;
        if name.kind == Kind::Sign(b')') && self.with_depth == Some(self.depth) {
            // The query itself, in parentheses.
            self.with_depth = None;
        }
        match (name.kind, name.place) {
            (Kind::Word | Kind::QuotedName, Place::Qualified) => self.stored_function(reader, name.span),
            (Kind::Word | Kind::QuotedName, Place::SystemVariable | Place::Target | Place::Declared) => {}
            (Kind::Word, _) if name.keyword.is_some_and(may_stand_before_parenthesis) => {}
            (Kind::Word, _) => self.call(reader, token),
            (Kind::QuotedName, _) => self.stored_function(reader, name.span),
            // A name that begins with a digit.
            (Kind::Number, _) => self.stored_function(reader, name.span),
            _ => {}
        }
    }

    fn stored_function(&self, reader: &mut Reader<'_>, span: Span) {
        self.calls_unknown(reader, Reason::StoredFunction, span);
    }

    fn calls_unknown(&self, reader: &mut Reader<'_>, reason: Reason, span: Span) {
        if self.is_read() || self.style == Style::Set {
            reader.affects(Effects::STORED_CODE);
            reader.primary(reason, span);
        }
    }

    fn call(&mut self, reader: &mut Reader<'_>, parenthesis: Token) {
        let span = self.previous.span;
        let Some(function) = function::find(reader.bytes(span), reader.lexer.dialect.family) else {
            return self.calls_unknown(reader, Reason::UnknownFunction, span);
        };
        if function.is_direct && parenthesis.span.start != span.end {
            return self.calls_unknown(reader, Reason::BlankBeforeParenthesis, span);
        }
        self.known_call(reader, function, span);
    }

    fn known_call(&mut self, reader: &mut Reader<'_>, function: Function, span: Span) {
        let (reason, effects, needs) = match function.call {
            Call::Harmless => return,
            Call::OfServer => (Reason::ServerFunction, Effects::NONE, Needs::SERVER),
            Call::OfConnection => (Reason::ConnectionFunction, Effects::NONE, Needs::CONNECTION),
            Call::TakesUserLock => (Reason::UserLock, Effects::TAKES_USER_LOCK, Needs::CONNECTION),
            Call::ReleasesUserLock => (Reason::UserLock, Effects::RELEASES_USER_LOCK, Needs::CONNECTION),
            Call::ReleasesAllUserLocks => (Reason::UserLock, Effects::RELEASES_ALL_USER_LOCKS, Needs::CONNECTION),
            Call::AsksForUserLock => (Reason::UserLock, Effects::NONE, Needs::SERVER),
            Call::Sequence => (Reason::Sequence, Effects::NONE, Needs::CONNECTION),
            Call::LastInsertId => {
                self.is_in_last_insert_id = true;
                (Reason::LastInsertId, Effects::NONE, Needs::LAST_INSERT_ID)
            }
            Call::FoundRows => {
                reader.needs(Needs::FOUND_ROWS);
                return self.about_previous(reader, span);
            }
            Call::RowCount => {
                reader.needs(Needs::ROW_COUNT);
                return self.about_previous(reader, span);
            }
        };
        reader.affects(effects);
        reader.needs(needs);
        self.unsafe_read(reader, reason, span);
    }
}

/// Whether a parenthesis behind this keyword is not that of a call.
fn may_stand_before_parenthesis(keyword: Keyword) -> bool {
    match keyword {
        Keyword::As | Keyword::Query | Keyword::For | Keyword::InsertOrReplace | Keyword::Structural => true,
        // Each of these has its own reason already.
        Keyword::Update | Keyword::Delete | Keyword::Into | Keyword::Lock | Keyword::Procedure => true,
        Keyword::Analyze | Keyword::Current | Keyword::With => true,
        Keyword::Share | Keyword::Connection | Keyword::NextOrPrevious | Keyword::Value => false,
    }
}
