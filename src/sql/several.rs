//! What the statements of one text leave, one by one: each has those before it in the text behind it, and when one of them
//! fails, those before it have run.

use super::{
    Dialect, Needs,
    classify::classify,
    comment::{Comments, Versioned, Versions},
    leavings::{Finding, finding, holds_statements},
    lexer::{Kind, Lexer},
};

/// What the statements of a text make of FOUND_ROWS() when they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Findings {
    /// So many statements at the beginning leave it as it was.
    kept: usize,
    /// What the one behind these does; `Kept` if there is none.
    next: Finding,
    /// Some statement surely finds rows.
    finds: bool,
}

/// What became of a text, as far as its replies tell.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    /// Results that came to their end; 255 stands for more.
    pub results: u8,
    /// One of them had rows.
    pub had_rows: bool,
    /// The last one counts rows that were changed.
    pub changed_rows: bool,
    /// An error ended it.
    pub has_failed: bool,
    /// It may have come when the statement had begun to work.
    pub may_have_begun: bool,
}

impl Findings {
    /// Of a text that nobody has looked into.
    pub const UNSEEN: Findings = Findings { kept: 0, next: Finding::Unknown, finds: false };

    /// Of a text of comments alone.
    pub const NOTHING: Findings = Findings { kept: 0, next: Finding::Kept, finds: false };

    /// Of a text of one statement.
    pub fn of_one(text: &[u8], dialect: Dialect) -> Findings {
        Findings::NOTHING.and(finding(Lexer::new(text, dialect, Comments::new(Versioned::Code))))
    }

    /// Of a text of any number of statements.
    pub fn of(text: &[u8], dialect: Dialect) -> Findings {
        let mut findings = Findings::NOTHING;
        for statement in Statements::of(text, dialect) {
            let Some(statement) = statement else { return findings.and(Finding::Unknown) };
            findings = findings.and(finding(statement.lexer));
            if holds_statements(statement.lexer) && !statement.is_last {
                return findings.and(Finding::Unknown);
            }
        }
        findings
    }

    fn and(self, finding: Finding) -> Findings {
        let finds = self.finds || finding == Finding::Found;
        match self.next {
            Finding::Kept if finding == Finding::Kept => Findings { kept: self.kept + 1, ..self },
            Finding::Kept => Findings { next: finding, finds, ..self },
            Finding::Found | Finding::WithRows | Finding::Unknown => Findings { finds, ..self },
        }
    }

    /// Whether it is left as it was, whatever of the text runs.
    pub fn keep(self) -> bool {
        self.next == Finding::Kept
    }

    /// What became of it.
    pub fn behind(self, ran: Ran) -> Finding {
        let results = usize::from(ran.results);
        let counts_no_further = ran.results == u8::MAX && self.kept >= results;
        let fails_inside =
            ran.has_failed && results == self.kept && (ran.may_have_begun || self.next == Finding::Unknown);
        match self.next {
            Finding::Kept => Finding::Kept,
            _ if counts_no_further || fails_inside => Finding::Unknown,
            _ if results <= self.kept => Finding::Kept,
            Finding::Found => Finding::Found,
            _ if self.finds && !ran.has_failed => Finding::Found,
            // The rows are those of such code.
            Finding::Unknown if self.kept == 0 && ran.had_rows => Finding::Found,
            Finding::WithRows if self.kept == 0 && results == 1 && ran.changed_rows => Finding::Found,
            Finding::WithRows | Finding::Unknown => Finding::Unknown,
        }
    }
}

/// Which counts of rows of the statements before a text are asked for in it. ROW_COUNT() is of the statement right before
/// its own; FOUND_ROWS() of the last one that found rows.
pub fn counts_of_before(text: &[u8], dialect: Dialect) -> Needs {
    const COUNTS: Needs = Needs::FOUND_ROWS.with(Needs::ROW_COUNT);
    let mut asked = Needs::NONE;
    for (place, statement) in Statements::of(text, dialect).enumerate() {
        let Some(statement) = statement else { return COUNTS };
        let needs = classify(statement.text(), dialect, true).needs;
        let of_others = if place == 0 { COUNTS } else { Needs::FOUND_ROWS };
        asked = asked.with(needs.without(needs.without(of_others)));
        if holds_statements(statement.lexer) {
            return COUNTS;
        }
        if finding(statement.lexer) == Finding::Found {
            return asked;
        }
    }
    asked
}

/// The statements of a text; `None` where it cannot be known where one ends, and nothing behind it.
struct Statements<'a> {
    rest: Option<Lexer<'a>>,
}

/// One of them.
struct Statement<'a> {
    /// Before it, and ends with it.
    lexer: Lexer<'a>,
    is_last: bool,
}

impl<'a> Statements<'a> {
    fn of(text: &'a [u8], dialect: Dialect) -> Statements<'a> {
        Statements { rest: Some(Lexer::new(text, dialect, Comments::new(Versioned::Code))) }
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = Option<Statement<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest.take()?;
        let mut begun = rest;
        let mut is_empty = true;
        loop {
            let token = rest.next();
            let end = token.span.start as usize;
            match token.kind {
                Kind::Broken(_) => return Some(None),
                // Servers read it differently.
                _ if rest.comments.versions != Versions::None || begun.comments.is_inside => return Some(None),
                Kind::End if is_empty => return None,
                Kind::Sign(b';') if is_empty => begun = rest,
                Kind::End | Kind::Sign(b';') => {
                    let is_last = token.kind == Kind::End || { rest }.next().kind == Kind::End;
                    self.rest = (!is_last).then_some(rest);
                    begun.text = &begun.text[..end];
                    return Some(Some(Statement { lexer: begun, is_last }));
                }
                _ => is_empty = false,
            }
        }
    }
}

impl<'a> Statement<'a> {
    fn text(&self) -> &'a [u8] {
        &self.lexer.text[self.lexer.at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{ClientCharset, Family};

    const MARIADB: Dialect = Dialect {
        no_backslash_escapes: false,
        ansi_quotes: false,
        family: Family::MariaDb { version: 101_119 },
        charset: ClientCharset::Utf8,
    };

    #[test]
    fn rows_are_found_by_what_has_run() {
        use Finding::{Found, Kept, Unknown};
        let done =
            |results, had_rows| Ran { results, had_rows, changed_rows: false, has_failed: false, may_have_begun: true };
        let failed = |results, had_rows| Ran { has_failed: true, may_have_begun: false, ..done(results, had_rows) };
        let broken = |results| Ran { may_have_begun: true, ..failed(results, false) };
        let changed = |results| Ran { changed_rows: true, ..done(results, false) };
        for (text, ran, expected) in [
            ("SELECT 1", done(1, true), Found),
            ("SELECT 1", failed(0, false), Kept),
            ("SELECT a FROM t", broken(0), Unknown),
            ("INSERT INTO t VALUES (1)", broken(0), Kept),
            ("SET @a = 1; SELECT a FROM t", broken(1), Unknown),
            ("SELECT 1; SELECT a FROM t", broken(1), Found),
            ("# nothing", done(1, false), Kept),
            ("# nothing\n ;", done(1, false), Kept),
            ("BEGIN; INSERT INTO t VALUES (1); COMMIT;", done(3, false), Kept),
            ("BEGIN; INSERT INTO t VALUES (1); COMMIT", failed(1, false), Kept),
            ("SELECT 1; SELECT a FROM missing; SELECT 2", failed(1, true), Found),
            ("SET @a = 1; SELECT a FROM missing", failed(1, false), Kept),
            ("SET @a = 1; SELECT a; SELECT a FROM missing", failed(2, true), Found),
            ("SHOW CREATE TABLE t; SELECT a FROM missing", failed(1, true), Kept),
            ("INSERT INTO t SELECT 1; SELECT a FROM missing", failed(1, false), Found),
            ("DELETE FROM t WHERE a = (SELECT MAX(a) FROM t2)", changed(1), Found),
            ("DELETE FROM t WHERE a = (SELECT MAX(a) FROM t2)", done(1, false), Unknown),
            ("DELETE FROM t WHERE a = (SELECT MAX(a) FROM t2); DELETE FROM t", changed(2), Unknown),
            ("DELETE FROM t WHERE a IN (SELECT a FROM t2)", changed(1), Unknown),
            ("DELETE FROM t WHERE a IN (1, 2)", changed(1), Kept),
            ("INSERT INTO t VALUES ((SELECT MAX(a) FROM t2))", changed(1), Found),
            ("INSERT INTO t VALUES (IF(1, 2, (SELECT MAX(a) FROM t2)))", changed(1), Unknown),
            ("SET @a = @b OR (SELECT MAX(a) FROM t2)", done(1, false), Unknown),
            ("SET @a = IF(1, 2, 3)", done(1, false), Kept),
            ("CALL p()", changed(1), Unknown),
            ("CALL p()", done(1, false), Unknown),
            ("CALL p()", failed(0, false), Unknown),
            ("CALL p()", done(2, true), Found),
            ("CALL p()", failed(1, true), Found),
            ("SHOW CREATE TABLE t; CALL p()", done(2, true), Unknown),
            ("SHOW CREATE TABLE t; CALL p()", failed(0, false), Kept),
            ("CALL p(); SELECT 1", done(2, true), Found),
            ("CALL p(); SELECT a FROM missing", failed(1, false), Unknown),
            ("CREATE PROCEDURE p () BEGIN SELECT 1; END", done(1, false), Kept),
            ("CREATE PROCEDURE p () BEGIN SELECT 1; END; SELECT 1", done(2, true), Unknown),
            ("BEGIN NOT ATOMIC SELECT 1; END", done(2, true), Found),
            ("SET @a = 1; /*!110000 SELECT 1 */", done(2, true), Unknown),
        ] {
            assert_eq!(Findings::of(text.as_bytes(), MARIADB).behind(ran), expected, "{text}, {ran:?}");
        }
        assert_eq!(Findings::UNSEEN.behind(done(1, false)), Unknown);
        let many = "SET @a = 1;".repeat(300) + "SELECT 1; SELECT a FROM missing";
        assert_eq!(Findings::of(many.as_bytes(), MARIADB).behind(failed(255, true)), Unknown);
    }

    #[test]
    fn texts_that_leave_found_rows_are_known() {
        for (text, keeps) in [
            ("BEGIN; SHOW CREATE TABLE t;", true),
            ("COMMIT", true),
            ("BEGIN; SELECT 1", false),
            ("BEGIN NOT ATOMIC CALL p(); END", false),
            ("SET @a = 'open", false),
        ] {
            assert_eq!(Findings::of(text.as_bytes(), MARIADB).keep(), keeps, "{text}");
        }
    }

    #[test]
    fn a_text_asks_about_those_before_it_only_until_it_has_counts_of_its_own() {
        for (text, expected) in [
            ("SELECT FOUND_ROWS(); SELECT ROW_COUNT()", Needs::FOUND_ROWS),
            ("UPDATE t SET a = 1; SELECT ROW_COUNT()", Needs::NONE),
            ("SELECT ROW_COUNT(); SELECT FOUND_ROWS()", Needs::ROW_COUNT),
            ("SELECT a FROM t; SELECT FOUND_ROWS(), ROW_COUNT()", Needs::NONE),
            ("SET @a = 1; SELECT FOUND_ROWS(), ROW_COUNT()", Needs::FOUND_ROWS),
            ("CALL p(); SELECT FOUND_ROWS()", Needs::FOUND_ROWS),
            ("GET DIAGNOSTICS @a = ROW_COUNT; SELECT 1", Needs::ROW_COUNT),
            ("CREATE PROCEDURE p () BEGIN SELECT 1; END", Needs::FOUND_ROWS.with(Needs::ROW_COUNT)),
        ] {
            assert_eq!(counts_of_before(text.as_bytes(), MARIADB), expected, "{text}");
        }
    }
}
