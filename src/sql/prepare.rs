//! Which statements a text prepares, executes and deallocates by name, and what the texts of such statements ask for.

use super::{
    Dialect, Needs, Span,
    classify::classify,
    comment::{Comments, Versioned},
    lexer::{Kind, Lexer},
};

/// What a text does with statements that are themselves texts. Quotes of a name belong to its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedStatement {
    /// `PREPARE name FROM text`. A statement that had the name is gone.
    Prepared {
        /// Its name from now on.
        name: Span,
        /// Behind FROM.
        text: StatementText,
    },
    /// `EXECUTE name`.
    Executed(Span),
    /// `EXECUTE IMMEDIATE text`.
    ExecutedText(StatementText),
    /// `DEALLOCATE PREPARE name`, or `DROP PREPARE name`.
    Deallocated(Span),
}

/// Where the text of such a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementText {
    /// A string, with its quotes.
    String(Span),
    /// A user variable, with its `@`.
    Variable(Span),
    /// The value of an expression.
    Computed,
}

/// Those of a text, in order.
pub fn named_statements(text: &[u8], dialect: Dialect) -> impl Iterator<Item = NamedStatement> {
    let mut lexer = Lexer::new(text, dialect, Comments::new(Versioned::Code));
    let mut is_given_up = false;
    std::iter::from_fn(move || {
        loop {
            let token = lexer.next();
            if matches!(token.kind, Kind::End | Kind::Broken(_)) {
                return None;
            }
            let was_given_up = std::mem::replace(&mut is_given_up, lexer.is_one_of(token, &["deallocate", "drop"]));
            let found = if lexer.is_word(token, "prepare") {
                prepared(lexer, was_given_up)
            } else if lexer.is_word(token, "execute") {
                executed(lexer)
            } else {
                None
            };
            if found.is_some() {
                return found;
            }
        }
    })
}

/// By what is left behind PREPARE.
fn prepared(mut rest: Lexer<'_>, is_given_up: bool) -> Option<NamedStatement> {
    let name = name(&mut rest)?;
    if is_given_up {
        return Some(NamedStatement::Deallocated(name));
    }
    let from = rest.next();
    let text = if rest.is_word(from, "from") { statement_text(rest) } else { StatementText::Computed };
    Some(NamedStatement::Prepared { name, text })
}

/// By what is left behind EXECUTE.
fn executed(mut rest: Lexer<'_>) -> Option<NamedStatement> {
    let mut behind_first = rest;
    let first = behind_first.next();
    if rest.is_word(first, "immediate") {
        return Some(NamedStatement::ExecutedText(statement_text(behind_first)));
    }
    name(&mut rest).map(NamedStatement::Executed)
}

fn name(rest: &mut Lexer<'_>) -> Option<Span> {
    let token = rest.next();
    matches!(token.kind, Kind::Word | Kind::QuotedName).then_some(token.span)
}

fn statement_text(mut rest: Lexer<'_>) -> StatementText {
    let token = rest.next();
    let next = rest.next();
    let is_all = matches!(next.kind, Kind::End | Kind::Sign(b';')) || rest.is_word(next, "using");
    match token.kind {
        Kind::Text if is_all => StatementText::String(token.span),
        Kind::UserVariable if is_all => StatementText::Variable(token.span),
        _ => StatementText::Computed,
    }
}

/// What the statement in a string asks for, which has its quotes.
pub fn needs_of_string(string: &[u8], dialect: Dialect) -> Needs {
    classify(&content(string, dialect), dialect, true).needs
}

/// A string without its quotes, with what its escapes stand for, as far as that matters between words.
fn content(string: &[u8], dialect: Dialect) -> Vec<u8> {
    let Some((&quote, inner)) = string.split_first() else { return Vec::new() };
    let inner = inner.strip_suffix(&[quote]).unwrap_or(inner);
    let mut content = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        content.push(match byte {
            b'\\' if !dialect.no_backslash_escapes => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r' | b't') => b' ',
                Some(other) => other,
                None => byte,
            },
            _ if byte == quote => bytes.next_if_eq(&quote).unwrap_or(byte),
            _ => byte,
        });
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{ClientCharset, Family};

    const DIALECT: Dialect = Dialect {
        no_backslash_escapes: false,
        ansi_quotes: false,
        family: Family::MariaDb { version: 101_119 },
        charset: ClientCharset::Utf8,
    };

    fn shown(text: &str) -> Vec<String> {
        let of = |span: Span| String::from_utf8_lossy(span.of(text.as_bytes())).into_owned();
        let text_of = |text: StatementText| match text {
            StatementText::String(span) | StatementText::Variable(span) => of(span),
            StatementText::Computed => "?".to_owned(),
        };
        named_statements(text.as_bytes(), DIALECT)
            .map(|statement| match statement {
                NamedStatement::Prepared { name, text } => format!("+{} {}", of(name), text_of(text)),
                NamedStatement::Executed(name) => format!("!{}", of(name)),
                NamedStatement::ExecutedText(text) => format!("! {}", text_of(text)),
                NamedStatement::Deallocated(name) => format!("-{}", of(name)),
            })
            .collect()
    }

    #[test]
    fn statements_are_prepared_executed_and_deallocated_by_name() {
        let text = "PREPARE a FROM 'PREPARE x'; deallocate /* x */ prepare `b`; DROP PREPARE c; prepare d from @e";
        assert_eq!(shown(text), ["+a 'PREPARE x'", "-`b`", "-c", "+d @e"]);
        assert_eq!(shown("PREPARE a FROM CONCAT('b', @c); EXECUTE a USING @b"), ["+a ?", "!a"]);
        assert_eq!(shown("PREPARE a FROM 'b' 'c'"), ["+a ?"]);
        assert_eq!(shown("execute immediate 'SELECT ?' USING @b; EXECUTE `a`"), ["! 'SELECT ?'", "!`a`"]);
        assert_eq!(shown("EXECUTE IMMEDIATE CONCAT(@a)"), ["! ?"]);
        assert_eq!(shown("EXECUTE"), [""; 0]);
    }

    #[test]
    fn what_a_string_asks_for_is_found_behind_its_quotes() {
        for (string, expected) in [
            ("'SELECT FOUND_ROWS()'", Needs::FOUND_ROWS),
            ("\"SELECT ROW_COUNT()\"", Needs::ROW_COUNT),
            (r"'SELECT \'FOUND_ROWS()\', ROW_COUNT()'", Needs::ROW_COUNT),
            ("'SELECT ''FOUND_ROWS()'', ROW_COUNT()'", Needs::ROW_COUNT),
            (r"'-- both\nSELECT\tROW_COUNT()'", Needs::ROW_COUNT),
            ("'SHOW WARNINGS'", Needs::WARNINGS),
            ("'SELECT 1'", Needs::NONE),
            ("''", Needs::NONE),
        ] {
            assert_eq!(needs_of_string(string.as_bytes(), DIALECT), expected, "{string}");
        }
    }
}
