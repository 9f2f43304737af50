//! What is wrong with a configuration file, and where: all of it, not only the first thing.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;

use super::limits::CONFIG_ERRORS_MAX;

/// Why a file is not a configuration. Printed, it is one line an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// What is wrong, in the order of the file; `1 ..= CONFIG_ERRORS_MAX` of them.
    pub errors: Vec<ConfigError>,
    /// How many more there are.
    pub not_shown: usize,
}

/// One thing that is wrong. Printed as `file:line:column: what is wrong, and what to write instead`.
///
/// Never holds a secret, not even a malformed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as it was named.
    pub file: String,
    /// Where in it; absent when the file as a whole could not be read.
    pub place: Option<Place>,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

/// A place in a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The first line is 1.
    pub line: usize,
    /// In characters; the first of a line is 1.
    pub column: usize,
}

impl ConfigErrors {
    /// The whole file is unusable, for one reason.
    pub(crate) fn of_file(file: &str, problem: String) -> ConfigErrors {
        let error = ConfigError { file: file.to_owned(), place: None, problem };
        ConfigErrors { errors: vec![error], not_shown: 0 }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(out, "{separator}{error}")?;
        }
        match self.not_shown {
            0 => Ok(()),
            more => write!(out, "\nand {more} more errors"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(out, "{}:{}:{}: {}", self.file, place.line, place.column, self.problem),
            None => write!(out, "{}: {}", self.file, self.problem),
        }
    }
}

/// Collects the errors of one file while it is read.
///
/// Shared by all who read parts of the file, so it can be added to through a shared reference.
pub(crate) struct Complaints<'t> {
    file: &'t str,
    text: &'t str,
    /// Byte offsets and problems, in the order of discovery; at most [`CONFIG_ERRORS_MAX`].
    found: RefCell<Vec<(usize, String)>>,
    not_shown: Cell<usize>,
    /// Lines that are not TOML. What is on them, and what seems to be missing, is not complained about again.
    broken_lines: Vec<usize>,
}

impl<'t> Complaints<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Complaints<'t> {
        let (found, not_shown) = Default::default();
        Complaints { file, text, found, not_shown, broken_lines: Vec::new() }
    }

    /// The text is not TOML there.
    pub(crate) fn syntax(&mut self, offset: usize, problem: String) {
        self.push(offset, problem);
        // Only lines that are shown matter, so the list has the same bound as they.
        if self.broken_lines.len() < CONFIG_ERRORS_MAX {
            self.broken_lines.push(place(self.text, offset).line);
        }
    }

    /// The value written at `written` is wrong.
    pub(crate) fn at(&self, written: &Range<usize>, problem: impl Into<String>) {
        let line = || place(self.text, written.start).line;
        if self.is_whole() || self.is_full() || !self.broken_lines.contains(&line()) {
            self.push(written.start, problem.into());
        }
    }

    /// Something is missing from the table at `table`. In a file with broken lines, one of them may have been it.
    pub(crate) fn missing(&self, table: &Range<usize>, problem: impl Into<String>) {
        if self.is_whole() {
            self.push(table.start, problem.into());
        }
    }

    /// Whether further complaints are only counted, so that their text is not worth any work.
    pub(crate) fn is_full(&self) -> bool {
        self.found.borrow().len() == CONFIG_ERRORS_MAX
    }

    /// Whether every line was TOML.
    pub(crate) fn is_whole(&self) -> bool {
        self.broken_lines.is_empty()
    }

    /// The value that was made meanwhile, if nothing was wrong.
    pub(crate) fn verdict<T>(self, made: Option<T>) -> Result<T, ConfigErrors> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(made.expect("a part is only absent after a complaint about it"));
        }
        found.sort_by_key(|(offset, _)| *offset);
        let error = |(offset, problem)| ConfigError {
            file: self.file.to_owned(),
            place: Some(place(self.text, offset)),
            problem,
        };
        Err(ConfigErrors { errors: found.into_iter().map(error).collect(), not_shown: self.not_shown.get() })
    }

    fn push(&self, offset: usize, problem: String) {
        match self.is_full() {
            true => self.not_shown.set(self.not_shown.get() + 1),
            false => self.found.borrow_mut().push((offset, problem)),
        }
    }
}

/// The line and column of a byte of the text. One past its end is a place too: something may be missing there.
pub(crate) fn place(text: &str, offset: usize) -> Place {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let is_character_start = |byte: &&u8| **byte & 0xC0 != 0x80;
    Place {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: before[line_start..].iter().filter(is_character_start).count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let check = |text: &str, offset, line, column| assert_eq!(place(text, offset), Place { line, column });
        check("", 0, 1, 1);
        check("", 9, 1, 1);
        check("ab\ncd", 0, 1, 1);
        check("ab\ncd", 2, 1, 3);
        check("ab\ncd", 3, 2, 1);
        check("ab\ncd", 5, 2, 3);
        check("é = 1\r\nx", 3, 1, 3);
        check("é = 1\r\nx", 8, 2, 1);
    }

    #[test]
    fn errors_come_in_the_order_of_the_file_and_those_beyond_the_bound_are_counted() {
        let text = "x".repeat(100);
        let complaints = Complaints::new("f.toml", &text);
        for offset in (0..CONFIG_ERRORS_MAX + 7).rev() {
            complaints.at(&(offset..offset + 1), "wrong");
        }
        let errors = complaints.verdict::<()>(None).expect_err("there were complaints");
        assert_eq!((errors.errors.len(), errors.not_shown), (CONFIG_ERRORS_MAX, 7));
        assert!(errors.errors.is_sorted_by_key(|error| error.place));
        assert!(errors.to_string().ends_with("wrong\nand 7 more errors"));
    }

    #[test]
    fn a_broken_line_is_complained_about_once_and_nothing_is_missing_from_a_broken_file() {
        let mut complaints = Complaints::new("f.toml", "a = \nb = 1\n");
        complaints.syntax(4, "not TOML".to_owned());
        complaints.at(&(0..1), "on the broken line");
        complaints.at(&(9..10), "on another line");
        complaints.missing(&(0..0), "perhaps on the broken line");
        let errors = complaints.verdict::<()>(None).expect_err("there were complaints");
        assert_eq!(errors.to_string(), "f.toml:1:5: not TOML\nf.toml:2:5: on another line");
    }
}
