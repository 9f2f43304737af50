//! Cuts a statement into tokens: words, quoted text, numbers, signs.
//!
//! Knows MySQL's quotes, comments and executable comments (`/*!40101 … */`, whose contents count), and nothing
//! of what the words mean. It does not follow `sql_mode`: a backslash always escapes, `"` always quotes text.

/// What a token is. Words keep their case; comparisons ignore it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bare word: a keyword, a name, a function.
    Word(String),
    /// A name in backticks, which is never a keyword.
    QuotedName(String),
    /// A string literal, with its escapes undone.
    Text(Vec<u8>),
    /// Digits, perhaps with a fraction: kept as written, as the reader decides what fits.
    Number(String),
    /// Any other single byte: `,` `(` `@` `=` `?` `*` `;` …
    Sign(u8),
}

/// One token and where it stands in the statement, so that a column without an alias can be named by its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Offset of the first byte; `start < end <= statement.len()`.
    pub(super) start: usize,
    /// Offset behind the last byte.
    pub(super) end: usize,
}

/// A quote or comment that is never closed: where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclosed {
    pub(super) at: usize,
}

/// All tokens of `statement`. Bounded by its length: each token takes at least one byte.
pub(super) fn tokens(statement: &[u8]) -> Result<Vec<Token>, Unclosed> {
    let mut lexer = Lexer { statement, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    statement: &'a [u8],
    /// The next byte to look at; `0 <= at <= statement.len()`.
    at: usize,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Result<Option<Token>, Unclosed> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(first) = self.peek(0) else {
            return Ok(None);
        };
        let kind = match first {
            b'`' => Kind::QuotedName(text_of(self.quoted(b'`')?)),
            b'\'' | b'"' => Kind::Text(self.quoted(first)?),
            b'0'..=b'9' => Kind::Number(self.run_of(|byte| byte.is_ascii_digit() || byte == b'.')),
            _ if is_word_byte(first) => Kind::Word(self.run_of(is_word_byte)),
            _ => {
                self.at += 1;
                Kind::Sign(first)
            }
        };
        Ok(Some(Token { kind, start, end: self.at }))
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.statement.get(self.at + ahead).copied()
    }

    fn starts_with(&self, text: &[u8]) -> bool {
        self.statement[self.at..].starts_with(text)
    }

    fn run_of(&mut self, belongs: impl Fn(u8) -> bool) -> String {
        let rest = &self.statement[self.at..];
        let length = rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len());
        self.at += length;
        text_of(rest[..length].to_vec())
    }

    fn skip_blanks(&mut self) -> Result<(), Unclosed> {
        while let Some(byte) = self.peek(0) {
            if byte.is_ascii_whitespace() {
                self.at += 1;
            } else if self.starts_with(b"/*!") || self.starts_with(b"/*M!") {
                self.enter_executable_comment();
            } else if self.starts_with(b"/*") {
                self.skip_past(b"*/")?;
            } else if self.starts_with(b"*/") {
                // The end of an executable comment: what stood in it has been read as ordinary tokens.
                self.at += 2;
            } else if byte == b'#' || self.starts_with(b"-- ") {
                self.skip_line();
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Passes `/*!40101` or `/*M!100101`, so that what follows is read as statement.
    fn enter_executable_comment(&mut self) {
        self.at += if self.starts_with(b"/*M!") { 4 } else { 3 };
        while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn skip_past(&mut self, end: &[u8]) -> Result<(), Unclosed> {
        let at = self.at;
        let body = &self.statement[at + 2..];
        let length = body.windows(end.len()).position(|window| window == end).ok_or(Unclosed { at })?;
        self.at = at + 2 + length + end.len();
        Ok(())
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    /// What stands between two `quote`s; a doubled quote stands for one.
    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, Unclosed> {
        let opened_at = self.at;
        let mut content = Vec::new();
        self.at += 1;
        loop {
            let byte = self.peek(0).ok_or(Unclosed { at: opened_at })?;
            self.at += 1;
            if byte == quote {
                if self.peek(0) != Some(quote) {
                    return Ok(content);
                }
                self.at += 1;
                content.push(quote);
            } else if byte == b'\\' && quote != b'`' {
                content.push(unescaped(self.peek(0).ok_or(Unclosed { at: opened_at })?));
                self.at += 1;
            } else {
                content.push(byte);
            }
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What `\x` stands for in a string literal, by the MySQL manual's table of escape sequences.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(statement: &str) -> Vec<Kind> {
        tokens(statement.as_bytes()).expect("closed").into_iter().map(|token| token.kind).collect()
    }

    fn word(text: &str) -> Kind {
        Kind::Word(text.into())
    }

    #[test]
    fn quotes_hide_what_looks_like_sql() {
        let expected = [word("SELECT"), Kind::Text(b"it's; -- \"x".to_vec()), Kind::Sign(b';')];
        assert_eq!(kinds(r#"SELECT 'it''s; -- \"x';"#), expected);
        assert_eq!(kinds("`a``b`"), [Kind::QuotedName("a`b".into())]);
    }

    #[test]
    fn comments_vanish_and_executable_comments_stay() {
        assert_eq!(kinds("/* a */ SELECT -- b\n 1 # c"), [word("SELECT"), Kind::Number("1".into())]);
        assert_eq!(kinds("/*!40101 SET NAMES utf8 */"), [word("SET"), word("NAMES"), word("utf8")]);
        assert_eq!(kinds("/*M!100101 SET x */"), [word("SET"), word("x")]);
    }

    #[test]
    fn an_unclosed_quote_or_comment_is_named_by_its_place() {
        assert_eq!(tokens(b"SELECT 'abc"), Err(Unclosed { at: 7 }));
        assert_eq!(tokens(b"SELECT 'abc\\"), Err(Unclosed { at: 7 }));
        assert_eq!(tokens(b"/* abc"), Err(Unclosed { at: 0 }));
        assert_eq!(tokens(b"/*/"), Err(Unclosed { at: 0 }));
    }

    #[test]
    fn any_bytes_end_in_tokens_or_an_error() {
        let seeds: [&[u8]; 5] = [b"/*", b"/*!", b"'\\", b"@@a.b", &[0xFF, 0x00, 0x80]];
        for seed in seeds {
            for cut in 0..=seed.len() {
                if let Ok(found) = tokens(&seed[..cut]) {
                    assert!(found.iter().all(|token| token.start < token.end && token.end <= cut));
                }
            }
        }
    }
}
