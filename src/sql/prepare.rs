//! Which statements a text prepares and deallocates by name.

use super::{
    Dialect, Span,
    comment::{Comments, Versioned},
    lexer::{Kind, Lexer},
};

/// A PREPARE or DEALLOCATE PREPARE, with the statement's name; its quotes belong to the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedStatement {
    /// `PREPARE name FROM`. A statement that had the name is gone.
    Prepared(Span),
    /// `DEALLOCATE PREPARE name`, or `DROP PREPARE name`.
    Deallocated(Span),
}

/// Those of a text, in order.
pub fn named_statements(text: &[u8], dialect: Dialect) -> impl Iterator<Item = NamedStatement> {
    let mut lexer = Lexer::new(text, dialect, Comments::new(Versioned::Code));
    let mut is_given_up = false;
    std::iter::from_fn(move || {
        loop {
            let token = lexer.next();
            let is = |word: &[u8]| token.kind == Kind::Word && token.span.of(text).eq_ignore_ascii_case(word);
            let gives_up = is(b"deallocate") || is(b"drop");
            match token.kind {
                Kind::End | Kind::Broken(_) => return None,
                _ if is(b"prepare") => {
                    let mut ahead = lexer;
                    let name = ahead.next();
                    let is_name = matches!(name.kind, Kind::Word | Kind::QuotedName);
                    match (is_name, is_given_up) {
                        (true, true) => return Some(NamedStatement::Deallocated(name.span)),
                        (true, false) => return Some(NamedStatement::Prepared(name.span)),
                        (false, _) => {}
                    }
                }
                _ => {}
            }
            is_given_up = gives_up;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{ClientCharset, Family};

    #[test]
    fn statements_are_prepared_and_deallocated_by_name() {
        let dialect = Dialect {
            no_backslash_escapes: false,
            ansi_quotes: false,
            family: Family::MariaDb { version: 101_119 },
            charset: ClientCharset::Utf8,
        };
        let text = b"PREPARE a FROM 'PREPARE x'; deallocate /* x */ prepare `b`; DROP PREPARE c; prepare d from @e";
        let found: Vec<(bool, &[u8])> = named_statements(text, dialect)
            .map(|statement| match statement {
                NamedStatement::Prepared(name) => (true, name.of(text)),
                NamedStatement::Deallocated(name) => (false, name.of(text)),
            })
            .collect();
        assert_eq!(found, [(true, &b"a"[..]), (false, b"`b`"), (false, b"c"), (true, b"d")]);
    }
}
