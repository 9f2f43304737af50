//! SET: what it assigns. The session journals what it can set again on another server.

use super::Span;
use super::comment::{Comments, Versioned};
use super::dialect::Dialect;
use super::lexer::{Kind, Lexer, Token};
use super::opening::Words;
use super::quoted::unquoted;
use super::variable;

mod opening;

pub(super) use opening::{Set, open};

/// Whose variable is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A system variable of the session.
    Session,
    /// A system variable of the server; also one without a scope behind a GLOBAL, as versions differ there.
    Global,
    /// PERSIST and PERSIST_ONLY.
    Persist,
    /// The characteristics of the next transaction.
    OneShotTransaction,
    /// A user variable.
    User,
    /// The default role or the password of an account.
    Account,
}

/// What is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A string, a number, or for a system variable a word: the same wherever it is said again. A string is read with
    /// the character sets and the `sql_mode` of the time.
    Literal(Span),
    /// `SET NAMES`: the character set, in quotes or not, and the collation. `DEFAULT` is an expression.
    Names {
        /// As written.
        charset: Span,
        /// As written.
        collation: Option<Span>,
    },
    /// `SET CHARACTER SET`: the character set, in quotes or not.
    CharacterSet(Span),
    /// `SET [SESSION] TRANSACTION`: all behind that word.
    Characteristics(Span),
    /// `SET ROLE`: all behind that word.
    Role(Span),
    /// Anything whose value only the server knows.
    Expression(Span),
}

impl ValueKind {
    /// Where it stands; of SET NAMES the character set.
    pub fn span(self) -> Span {
        match self {
            ValueKind::Literal(span) | ValueKind::CharacterSet(span) | ValueKind::Characteristics(span) => span,
            ValueKind::Role(span) | ValueKind::Expression(span) | ValueKind::Names { charset: span, .. } => span,
        }
    }
}

/// One assignment of a SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Whose.
    pub scope: Scope,
    /// The name as written: of a user variable with its `@` and quotes, of a system variable without `@@` and scope. Of
    /// `NAMES`, `CHARACTER SET`, `TRANSACTION`, `ROLE`, `PASSWORD` that word.
    pub name: Span,
    /// What.
    pub value: ValueKind,
}

/// The assignments of a text whose first statement is a SET; of any other none, nor of SET STATEMENT, which lasts for a
/// statement only. Executable comments with a version count as code.
pub fn assignments(text: &[u8], dialect: Dialect) -> Assignments<'_> {
    let mut words = Words { lexer: Lexer::new(text, dialect, Comments::new(Versioned::Code)) };
    let is_set = words.take("set") && !(is_mariadb(dialect) && is_set_statement(words));
    Assignments { lexer: words.lexer, scope: None, is_at_end: !is_set, is_understood: true }
}

/// The variables that a SET STATEMENT sets as long as its statement runs, as written; none of any other text.
pub fn variables_for_a_statement(text: &[u8], dialect: Dialect) -> impl Iterator<Item = Span> {
    let mut words = Words { lexer: Lexer::new(text, dialect, Comments::new(Versioned::Code)) };
    let is_any = words.take("set") && is_mariadb(dialect) && is_set_statement(words) && words.take("statement");
    let mut lexer = words.lexer;
    let names = std::iter::from_fn(move || {
        loop {
            let token = lexer.next();
            let is_for = token.kind == Kind::Word && token.span.of(text).eq_ignore_ascii_case(b"for");
            let mut ahead = lexer;
            match token.kind {
                Kind::End | Kind::Broken(_) => return None,
                _ if is_for => return None,
                Kind::Word | Kind::QuotedName if is_assignment(ahead.next().kind) => return Some(token.span),
                _ => {}
            }
        }
    });
    names.take(if is_any { usize::MAX } else { 0 })
}

/// Whether a text whose first statement is a SET has one assignment in it: where that fails, nothing was set.
pub fn is_one_assignment(text: &[u8], dialect: Dialect) -> bool {
    let mut assignments = assignments(text, dialect);
    assignments.next().is_some() && assignments.next().is_none() && assignments.is_understood
}

/// See [`assignments`].
#[derive(Clone, Debug)]
pub struct Assignments<'a> {
    lexer: Lexer<'a>,
    /// The last scope that a keyword gave.
    scope: Option<Scope>,
    is_at_end: bool,
    /// Every part so far had a known form.
    is_understood: bool,
}

impl Iterator for Assignments<'_> {
    type Item = Assignment;

    fn next(&mut self) -> Option<Assignment> {
        if self.is_at_end {
            return None;
        }
        let assignment = self.assignment();
        if assignment.is_none() {
            self.is_at_end = true;
            self.is_understood = false;
        }
        assignment
    }
}

/// How a name is written, which decides its scope.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// `SESSION name`, `name`
    Word,
    /// `@@name`
    At,
    /// `@@session.name`
    AtScope(Scope),
}

/// The targets that are no variables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    Names,
    CharacterSet,
    Transaction,
    Role,
    /// PASSWORD, DEFAULT ROLE, RESOURCE GROUP.
    Account,
}

impl Special {
    fn take(words: &mut Words<'_>) -> Option<Special> {
        const WORDS: [(&str, Special); 9] = [
            ("names", Special::Names),
            ("charset", Special::CharacterSet),
            ("character", Special::CharacterSet),
            ("char", Special::CharacterSet),
            ("transaction", Special::Transaction),
            ("role", Special::Role),
            ("password", Special::Account),
            ("default", Special::Account),
            ("resource", Special::Account),
        ];
        let (word, special) = *WORDS.iter().find(|(word, _)| words.take(word))?;
        if word.starts_with("char") && word != "charset" && !words.take("set") {
            return None;
        }
        Some(special)
    }
}

impl Assignments<'_> {
    fn assignment(&mut self) -> Option<Assignment> {
        self.scope_word();
        if let Some(special) = self.special() {
            return Some(special);
        }
        let (scope, name) = self.target()?;
        if !matches!(self.lexer.next().kind, Kind::Sign(b'=') | Kind::Assign) {
            return None;
        }
        Some(Assignment { scope, name, value: self.value(scope) })
    }

    /// GLOBAL, SESSION, LOCAL, PERSIST or PERSIST_ONLY before a name.
    fn scope_word(&mut self) {
        let mut words = Words { lexer: self.lexer };
        for (word, scope) in SCOPES {
            if words.take(word) && !is_assignment(words.peek()) {
                self.scope = Some(scope);
                self.lexer = Lexer { text: self.lexer.text, ..words.lexer };
                return;
            }
            words.lexer = self.lexer;
        }
    }

    /// The forms without `=` behind a variable's name.
    fn special(&mut self) -> Option<Assignment> {
        let mut words = Words { lexer: self.lexer };
        let name = { words.lexer }.next().span;
        let special = Special::take(&mut words)?;
        if special != Special::Account && is_assignment(words.peek()) {
            return None;
        }
        if special == Special::Names {
            return self.names(words, name);
        }
        self.lexer = Lexer { text: self.lexer.text, ..words.lexer };
        let (scope, value) = match special {
            Special::Names | Special::CharacterSet => (Scope::Session, self.character_set()),
            Special::Transaction => {
                let characteristics = ValueKind::Characteristics(self.rest_of_statement());
                (self.scope.unwrap_or(Scope::OneShotTransaction), characteristics)
            }
            Special::Role => (Scope::Session, ValueKind::Role(self.rest_of_statement())),
            Special::Account => (Scope::Account, ValueKind::Expression(self.rest_of_statement())),
        };
        Some(Assignment { scope, name, value })
    }

    fn character_set(&mut self) -> ValueKind {
        let value = self.tokens();
        if value.is_literal(self.lexer.text, Scope::Session) {
            ValueKind::CharacterSet(value.span)
        } else {
            ValueKind::Expression(value.span)
        }
    }

    /// `NAMES charset [COLLATE collation]`
    fn names(&mut self, words: Words<'_>, name: Span) -> Option<Assignment> {
        let mut lexer = Lexer { text: self.lexer.text, ..words.lexer };
        let charset = lexer.next();
        let is_default = charset.kind == Kind::Word && lexer.bytes(charset).eq_ignore_ascii_case(b"default");
        if matches!(charset.kind, Kind::Sign(_) | Kind::Assign | Kind::End | Kind::Broken(_)) {
            return None;
        }
        let mut words = Words { lexer };
        let collation = words.take("collate").then(|| words.lexer.next().span);
        self.lexer = Lexer { text: self.lexer.text, ..words.lexer };
        let rest = self.tokens();
        let value = if is_default || rest.count > 0 {
            ValueKind::Expression(charset.span)
        } else {
            ValueKind::Names { charset: charset.span, collation }
        };
        Some(Assignment { scope: Scope::Session, name, value })
    }

    /// The variable before the `=`.
    fn target(&mut self) -> Option<(Scope, Span)> {
        let first = self.lexer.next();
        match first.kind {
            Kind::UserVariable => Some((Scope::User, first.span)),
            Kind::SystemVariable => {
                let (spelling, name) = self.at_name()?;
                Some((self.scope_of(spelling, name), name))
            }
            Kind::Word | Kind::QuotedName => {
                let name = self.dotted(first.span);
                Some((self.scope_of(Spelling::Word, name), name))
            }
            _ => None,
        }
    }

    /// The name behind `@@`, with or without a scope.
    fn at_name(&mut self) -> Option<(Spelling, Span)> {
        let first = self.lexer.next();
        if !matches!(first.kind, Kind::Word | Kind::QuotedName) {
            return None;
        }
        let word = unquoted(self.lexer.bytes(first));
        let scope = SCOPES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(word));
        let Some((_, scope)) = scope else {
            return Some((Spelling::At, self.dotted(first.span)));
        };
        if self.lexer.next().kind != Kind::Sign(b'.') {
            return None;
        }
        let name = self.lexer.next().span;
        Some((Spelling::AtScope(*scope), self.dotted(name)))
    }

    /// A name with the parts behind its dots: `keycache.key_buffer_size`.
    fn dotted(&mut self, mut name: Span) -> Span {
        loop {
            let mut ahead = self.lexer;
            if ahead.next().kind != Kind::Sign(b'.') {
                return name;
            }
            name.end = ahead.next().span.end;
            self.lexer = ahead;
        }
    }

    fn scope_of(&self, spelling: Spelling, name: Span) -> Scope {
        match spelling {
            Spelling::Word => self.scope.unwrap_or(Scope::Session),
            Spelling::At if variable::is_of_next_transaction(unquoted(name.of(self.lexer.text))) => {
                Scope::OneShotTransaction
            }
            Spelling::At => Scope::Session,
            Spelling::AtScope(scope) => scope,
        }
    }

    fn value(&mut self, scope: Scope) -> ValueKind {
        let tokens = self.tokens();
        if tokens.is_literal(self.lexer.text, scope) {
            ValueKind::Literal(tokens.span)
        } else {
            ValueKind::Expression(tokens.span)
        }
    }

    /// All tokens up to the comma or the end, which are taken as well.
    fn tokens(&mut self) -> Value {
        let mut value = Value::new(self.lexer.at);
        let mut depth = 0_u32;
        loop {
            let token = self.lexer.next();
            match token.kind {
                Kind::Sign(b'(') => depth += 1,
                Kind::Sign(b')') => depth = depth.saturating_sub(1),
                Kind::Sign(b',') if depth == 0 => return value,
                Kind::Sign(b';') | Kind::End => {
                    self.is_at_end = true;
                    return value;
                }
                Kind::Broken(_) => {
                    self.is_at_end = true;
                    value.add(token);
                    value.count = u32::MAX;
                    return value;
                }
                _ => {}
            }
            value.add(token);
        }
    }

    /// All tokens up to the end, commas included.
    fn rest_of_statement(&mut self) -> Span {
        let mut span = self.tokens().span;
        while !self.is_at_end {
            span.end = self.tokens().span.end;
        }
        span
    }
}

const SCOPES: [(&str, Scope); 5] = [
    ("global", Scope::Global),
    ("session", Scope::Session),
    ("local", Scope::Session),
    ("persist", Scope::Persist),
    ("persist_only", Scope::Persist),
];

/// The tokens of a value: the first two, and how many.
struct Value {
    span: Span,
    first: [Option<Token>; 2],
    count: u32,
}

impl Value {
    fn new(at: usize) -> Value {
        Value { span: Span { start: at as u32, end: at as u32 }, first: [None; 2], count: 0 }
    }

    fn add(&mut self, token: Token) {
        match self.first {
            [None, _] => {
                self.first[0] = Some(token);
                self.span.start = token.span.start;
            }
            [_, None] => self.first[1] = Some(token),
            _ => {}
        }
        self.count = self.count.saturating_add(1);
        self.span.end = token.span.end;
    }

    /// Whether the value is the same wherever it is said.
    fn is_literal(&self, text: &[u8], scope: Scope) -> bool {
        let [Some(first), second] = self.first else {
            return false;
        };
        let word = first.span.of(text);
        match (first.kind, second.map(|token| token.kind), self.count) {
            (Kind::Text | Kind::Number, None, 1) => true,
            (Kind::Word, None, 1) if scope == Scope::User => is_constant(word),
            (Kind::Word, None, 1) => !word.eq_ignore_ascii_case(b"default"),
            (Kind::Sign(b'-' | b'+'), Some(Kind::Number), 2) => true,
            (Kind::Word, Some(Kind::Text), 2) => is_introducer(word),
            _ => false,
        }
    }
}

fn is_constant(word: &[u8]) -> bool {
    [&b"null"[..], b"true", b"false"].iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// `N'…'`, `x'…'`, `b'…'`, `_utf8mb4'…'`
fn is_introducer(word: &[u8]) -> bool {
    matches!(word, [b'n' | b'N' | b'x' | b'X' | b'b' | b'B'] | [b'_', ..])
}

/// Whether what follows a word makes it a variable's name.
fn is_assignment(next: Kind) -> bool {
    matches!(next, Kind::Sign(b'=' | b'.') | Kind::Assign)
}

fn is_set_statement(mut words: Words<'_>) -> bool {
    words.take("statement") && !is_assignment(words.peek())
}

fn is_mariadb(dialect: Dialect) -> bool {
    matches!(dialect.family, super::Family::MariaDb { .. })
}
