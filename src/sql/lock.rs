//! Which user locks a text takes and releases.

use super::{
    Dialect, Span,
    comment::{Comments, Versioned},
    lexer::{Kind, Lexer},
};

/// A call of GET_LOCK or RELEASE_LOCK, with the lock's name where that is one literal; its quotes belong to the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockCall {
    /// GET_LOCK.
    Takes(Option<Span>),
    /// RELEASE_LOCK.
    Releases(Option<Span>),
}

/// The calls in a text, in order.
pub fn lock_calls(text: &[u8], dialect: Dialect) -> impl Iterator<Item = LockCall> {
    let mut lexer = Lexer::new(text, dialect, Comments::new(Versioned::Code));
    std::iter::from_fn(move || {
        loop {
            let token = lexer.next();
            let is = |word: &[u8]| token.kind == Kind::Word && token.span.of(text).eq_ignore_ascii_case(word);
            match token.kind {
                Kind::End | Kind::Broken(_) => return None,
                _ if is(b"get_lock") => return Some(LockCall::Takes(name(lexer))),
                _ if is(b"release_lock") => return Some(LockCall::Releases(name(lexer))),
                _ => {}
            }
        }
    })
}

/// The first argument, if it is one literal.
fn name(mut lexer: Lexer<'_>) -> Option<Span> {
    let opens = lexer.next().kind == Kind::Sign(b'(');
    let name = lexer.next();
    let ends = matches!(lexer.next().kind, Kind::Sign(b',' | b')'));
    (opens && name.kind == Kind::Text && ends).then_some(name.span)
}
