//! What a statement's tokens say behind its first word: what makes a read unsafe, which functions are called, which
//! variables are read.

use super::Span;
use super::classification::{Class, Effects, Needs, Reason};
use super::keyword::{self, Keyword};
use super::lexer::{Kind, Token};
use super::opening::{Opening, Style};
use super::quoted::unquoted;
use super::reader::Reader;
use super::variable::{self, Variable, is_server_schema};

mod call;
mod plain;

/// The state of reading one statement.
pub(super) struct Query {
    style: Style,
    previous: Previous,
    /// Open parentheses.
    depth: u32,
    /// Where the names of common table expressions stand, while they do.
    with_depth: Option<u32>,
    /// Parts of an INTO list may be user variables.
    is_behind_into: bool,
    /// LAST_INSERT_ID( was just opened.
    is_in_last_insert_id: bool,
}

/// The token before the one at hand.
#[derive(Clone, Copy)]
struct Previous {
    kind: Kind,
    span: Span,
    /// What a bare word means; of names in quotes and behind a dot nothing.
    keyword: Option<Keyword>,
    place: Place,
    /// It is the first word of the statement.
    is_first: bool,
}

/// Where a name stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind a dot.
    Qualified,
    /// Where the grammar has no call: behind AS, behind a parenthesis or a string (`AGAINST (`, `COLUMNS (`), in a
    /// list of common table expressions.
    Declared,
    /// Behind `@@`, or behind `@@session.`
    SystemVariable,
    /// The same in a SET, where it is assigned and not read.
    Target,
    Other,
}

impl Place {
    /// It is no part of a system variable's name.
    fn is_of_a_name(self) -> bool {
        matches!(self, Place::Qualified | Place::Declared | Place::Other)
    }
}

impl Query {
    /// Behind a first word, and behind the parentheses before it.
    pub(super) fn new(opening: Opening, first: Token, depth: u32) -> Query {
        let keyword = Some(Keyword::Structural);
        let previous = Previous { kind: first.kind, span: first.span, keyword, place: Place::Other, is_first: true };
        Query {
            style: opening.style,
            previous,
            depth,
            with_depth: opening.has_with.then_some(depth),
            is_behind_into: false,
            is_in_last_insert_id: false,
        }
    }

    fn is_read(&self) -> bool {
        matches!(self.style, Style::Query | Style::Show)
    }

    /// Takes the next token, which is none that ends a statement.
    #[inline]
    pub(super) fn token(&mut self, reader: &mut Reader<'_>, token: Token) {
        if self.is_in_last_insert_id {
            self.is_in_last_insert_id = false;
            if token.kind != Kind::Sign(b')') {
                reader.affects(Effects::LAST_INSERT_ID);
            }
        }
        if self.previous.keyword == Some(Keyword::InsertOrReplace) && token.kind != Kind::Sign(b'(') {
            self.unsafe_read(reader, Reason::HoldsAWrite, self.previous.span);
        }
        let mut keyword = None;
        let mut place = Place::Other;
        match token.kind {
            Kind::Word => {
                place = self.place();
                if !(place == Place::Qualified && self.previous.span.end == token.span.start) {
                    keyword = keyword::find(reader.bytes(token.span));
                }
                self.word(reader, token, keyword, place);
            }
            Kind::QuotedName => {
                place = self.place();
                self.name(reader, token, place);
            }
            Kind::Sign(b'(') => {
                self.opens(reader, token);
                self.depth += 1;
            }
            Kind::Sign(b')') => self.closes(),
            Kind::Sign(b'.') => {
                place = self.dot(reader);
            }
            Kind::SystemVariable if self.is_target() => place = Place::Target,
            Kind::SystemVariable => place = Place::SystemVariable,
            Kind::UserVariable => self.user_variable(reader),
            Kind::Assign => self.assign(reader, token),
            _ => {}
        }
        self.previous = Previous { kind: token.kind, span: token.span, keyword, place, is_first: false };
    }

    /// The statement ends.
    pub(super) fn end(&mut self, reader: &mut Reader<'_>, span: Span) {
        if self.previous.keyword == Some(Keyword::InsertOrReplace) {
            self.unsafe_read(reader, Reason::HoldsAWrite, span);
        }
    }

    fn unsafe_read(&self, reader: &mut Reader<'_>, reason: Reason, span: Span) {
        if self.is_read() {
            reader.primary(reason, span);
            if writes(reason) {
                reader.affects(Effects::WRITES);
            }
        }
    }

    fn place(&self) -> Place {
        match self.previous.kind {
            Kind::Sign(b'.') | Kind::SystemVariable if self.previous.place != Place::Other => self.previous.place,
            Kind::Sign(b'.') => Place::Qualified,
            Kind::Sign(b')') | Kind::Text => Place::Declared,
            Kind::Word if self.previous.keyword == Some(Keyword::As) => Place::Declared,
            _ if self.with_depth == Some(self.depth) => Place::Declared,
            _ => Place::Other,
        }
    }

    #[inline]
    fn word(&mut self, reader: &mut Reader<'_>, token: Token, keyword: Option<Keyword>, place: Place) {
        if let Some(keyword) = keyword {
            self.leave_with_list(keyword);
            if keyword != Keyword::Structural {
                self.keyword(reader, token, keyword);
            }
        }
        self.name(reader, token, place);
    }

    /// Between WITH and its query stand only names, AS and parentheses; no name there is a keyword.
    fn leave_with_list(&mut self, keyword: Keyword) {
        if keyword != Keyword::As && self.with_depth == Some(self.depth) {
            self.with_depth = None;
        }
    }

    fn closes(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.with_depth.is_some_and(|depth| depth > self.depth) {
            self.with_depth = None;
        }
    }

    fn keyword(&mut self, reader: &mut Reader<'_>, token: Token, keyword: Keyword) {
        let before = self.previous.keyword;
        let reason = match keyword {
            Keyword::As | Keyword::Structural | Keyword::For | Keyword::InsertOrReplace => return,
            Keyword::NextOrPrevious => return,
            Keyword::With => {
                if self.previous.kind == Kind::Sign(b'(') {
                    self.with_depth = Some(self.depth);
                }
                return;
            }
            Keyword::Query => return,
            Keyword::Update if before == Some(Keyword::For) => Reason::ForUpdate,
            Keyword::Update | Keyword::Delete => Reason::HoldsAWrite,
            Keyword::Share if before == Some(Keyword::For) => Reason::ForShare,
            Keyword::Connection if before == Some(Keyword::For) => Reason::ExplainConnection,
            Keyword::Share | Keyword::Connection => return,
            Keyword::Into => {
                self.is_behind_into = true;
                Reason::Into
            }
            Keyword::Lock => Reason::LockInShareMode,
            Keyword::Procedure if self.style == Style::Show => return,
            Keyword::Procedure => Reason::Procedure,
            Keyword::Analyze => Reason::ExplainExecutes,
            Keyword::Value if before == Some(Keyword::NextOrPrevious) => Reason::Sequence,
            Keyword::Value => return,
            Keyword::Current => {
                self.unsafe_read(reader, Reason::ConnectionFunction, token.span);
                reader.needs(Needs::CONNECTION);
                return;
            }
        };
        self.unsafe_read(reader, reason, token.span);
    }

    /// A name that may be a variable's, a schema's or a sequence's.
    #[inline]
    fn name(&mut self, reader: &mut Reader<'_>, token: Token, place: Place) {
        if place != Place::Other || self.style == Style::Show {
            self.telling_name(reader, token, place);
        }
    }

    fn telling_name(&mut self, reader: &mut Reader<'_>, token: Token, place: Place) {
        match place {
            Place::SystemVariable => self.system_variable(reader, token),
            Place::Qualified => {
                if is_sequence_name(reader.bytes(token.span)) {
                    self.unsafe_read(reader, Reason::Sequence, token.span);
                }
            }
            Place::Declared | Place::Target | Place::Other => {}
        }
        if self.style == Style::Show && is_server_schema(unquoted(reader.bytes(token.span))) {
            reader.primary(Reason::ServerSchema, token.span);
        }
    }

    /// A dot behind a name: of a scope, of a schema.
    fn dot(&mut self, reader: &mut Reader<'_>) -> Place {
        let is_name = matches!(self.previous.kind, Kind::Word | Kind::QuotedName);
        if !is_name {
            return Place::Other;
        }
        let name = unquoted(reader.bytes(self.previous.span));
        match self.previous.place {
            Place::Target => return Place::Target,
            Place::SystemVariable if is_session_scope(name) => return Place::SystemVariable,
            // Of the server, and told already.
            Place::SystemVariable => return Place::Other,
            Place::Qualified | Place::Declared | Place::Other => {}
        }
        if is_server_schema(name) {
            self.unsafe_read(reader, Reason::ServerSchema, self.previous.span);
        }
        Place::Other
    }

    /// A word behind `@@`: a scope before a dot, or the variable.
    fn system_variable(&mut self, reader: &mut Reader<'_>, token: Token) {
        let name = unquoted(reader.bytes(token.span));
        if is_session_scope(name) && self.previous.kind == Kind::SystemVariable && next_is_dot(reader) {
            return;
        }
        match variable::find(name) {
            Some(Variable::OfSession) => reader.needs(Needs::SESSION_VARIABLES),
            Some(Variable::LastInsertId) => {
                reader.needs(Needs::LAST_INSERT_ID);
                self.unsafe_read(reader, Reason::LastInsertId, token.span);
            }
            Some(Variable::Warnings) => {
                reader.needs(Needs::WARNINGS);
                self.about_previous(reader, token.span);
            }
            None => {
                reader.needs(Needs::SERVER);
                self.unsafe_read(reader, Reason::ServerVariable, token.span);
            }
        }
    }

    fn about_previous(&self, reader: &mut Reader<'_>, span: Span) {
        reader.strengthen(Class::ReadOfConnection, Reason::PreviousStatement, span);
    }

    fn user_variable(&mut self, reader: &mut Reader<'_>) {
        if self.is_target() {
            return;
        }
        reader.needs(Needs::USER_VARIABLES);
        let is_assigned = self.is_behind_into && self.is_read() || self.style == Style::AssignsUserVariables;
        if is_assigned {
            reader.affects(Effects::COMPUTED_USER_VARIABLES);
        }
    }

    /// Whether the variable at hand is one that a SET assigns.
    fn is_target(&self) -> bool {
        let is_first = self.previous.is_first || self.previous.kind == Kind::Sign(b',');
        self.style == Style::Set && self.depth == 0 && is_first
    }

    fn assign(&mut self, reader: &mut Reader<'_>, token: Token) {
        self.unsafe_read(reader, Reason::Assignment, token.span);
        if self.previous.kind == Kind::UserVariable && self.style != Style::Set {
            reader.affects(Effects::COMPUTED_USER_VARIABLES);
        }
    }
}

/// Whether this stands for more than a question: it is told also where another reason came first.
fn writes(reason: Reason) -> bool {
    use Reason::{ExplainExecutes, ForShare, ForUpdate, HoldsAWrite, Into, LockInShareMode, Procedure, Sequence};
    matches!(
        reason,
        ForUpdate | ForShare | LockInShareMode | Into | HoldsAWrite | Procedure | Sequence | ExplainExecutes
    )
}

/// What stands behind the name of a sequence and its dot.
#[inline]
fn is_sequence_name(name: &[u8]) -> bool {
    // Told by the length alone of most names.
    name.len() == 7 && is_one_of_sequence_names(name)
}

fn is_one_of_sequence_names(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"nextval") || name.eq_ignore_ascii_case(b"currval")
}

fn is_session_scope(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"session") || name.eq_ignore_ascii_case(b"local")
}

fn next_is_dot(reader: &Reader<'_>) -> bool {
    { reader.lexer }.next().kind == Kind::Sign(b'.')
}
