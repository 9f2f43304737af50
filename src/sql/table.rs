//! Which tables a CREATE TEMPORARY TABLE makes and a DROP TABLE removes, and what other names a text has.

use super::{
    Dialect, Span,
    comment::{Comments, Versioned},
    lexer::{Kind, Lexer},
};

/// A table as a statement names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableName {
    /// In front of the dot, quotes included.
    pub schema: Option<Span>,
    /// Quotes included.
    pub table: Span,
}

/// The tables that stand behind the word TABLE or TABLES: those that a DROP TABLE names, and the one of a CREATE TABLE.
/// Of other statements it gives nothing of use.
pub fn tables_named(text: &[u8], dialect: Dialect) -> TablesNamed<'_> {
    let mut lexer = Lexer::new(text, dialect, Comments::new(Versioned::Code));
    let is_at_end = !skip_to_names(&mut lexer);
    TablesNamed { lexer, is_at_end }
}

/// Everything in a text that may be a name: bare words, and words in quotes, with these.
pub fn names(text: &[u8], dialect: Dialect) -> impl Iterator<Item = Span> {
    let mut lexer = Lexer::new(text, dialect, Comments::new(Versioned::Code));
    std::iter::from_fn(move || {
        loop {
            let token = lexer.next();
            match token.kind {
                Kind::Word | Kind::QuotedName => return Some(token.span),
                Kind::End | Kind::Broken(_) => return None,
                _ => {}
            }
        }
    })
}

/// See [`tables_named`].
#[derive(Clone, Debug)]
pub struct TablesNamed<'a> {
    lexer: Lexer<'a>,
    is_at_end: bool,
}

/// To behind `TABLE [IF [NOT] EXISTS]`.
fn skip_to_names(lexer: &mut Lexer<'_>) -> bool {
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End | Kind::Broken(_) => return false,
            _ if lexer.is_word(token, "table") || lexer.is_word(token, "tables") => break,
            _ => {}
        }
    }
    loop {
        let mut ahead = *lexer;
        let token = ahead.next();
        if !["if", "not", "exists"].iter().any(|word| ahead.is_word(token, word)) {
            return true;
        }
        *lexer = ahead;
    }
}

impl Iterator for TablesNamed<'_> {
    type Item = TableName;

    fn next(&mut self) -> Option<TableName> {
        if self.is_at_end {
            return None;
        }
        let name = self.name();
        self.is_at_end = name.is_none() || !self.takes(b',');
        name
    }
}

impl TablesNamed<'_> {
    fn name(&mut self) -> Option<TableName> {
        let first = self.part()?;
        if !self.takes(b'.') {
            return Some(TableName { schema: None, table: first });
        }
        Some(TableName { schema: Some(first), table: self.part()? })
    }

    fn part(&mut self) -> Option<Span> {
        let token = self.lexer.next();
        matches!(token.kind, Kind::Word | Kind::QuotedName | Kind::Number).then_some(token.span)
    }

    fn takes(&mut self, sign: u8) -> bool {
        let mut ahead = self.lexer;
        let is_there = ahead.next().kind == Kind::Sign(sign);
        if is_there {
            self.lexer = ahead;
        }
        is_there
    }
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

    fn check(text: &str, expected: &[(Option<&str>, &str)]) {
        let part = |span: Span| std::str::from_utf8(span.of(text.as_bytes())).unwrap();
        let found: Vec<_> =
            tables_named(text.as_bytes(), DIALECT).map(|name| (name.schema.map(part), part(name.table))).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn names_stand_behind_the_word_table() {
        check("CREATE TEMPORARY TABLE a (b INT)", &[(None, "a")]);
        check("create /* x */ temporary\ttable if not exists s . `a b` AS SELECT 1, 2", &[(Some("s"), "`a b`")]);
        check("DROP TABLE a, s.b , c RESTRICT", &[(None, "a"), (Some("s"), "b"), (None, "c")]);
        check("DROP TEMPORARY TABLES IF EXISTS a", &[(None, "a")]);
        check("SELECT 1", &[]);
        check("DROP TABLE", &[]);
    }
}
