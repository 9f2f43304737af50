//! Comments: what is skipped, what the server executes, and where a hint for sqluice stands.
//!
//! `/*! … */` holds code for both families, `/*M! … */` only for MariaDB. With a version in front (`/*!80034 … */`)
//! the contents are code for some servers and a comment for others, so the text has two readings; [`Versioned`]
//! says which one a lexer follows. Ordinary comments do not nest; a skipped versioned one may hold one other comment.

use super::dialect::Family;
use super::hint::{self, Hint};
use super::lexer::{Broken, Lexer, is_name_byte};

/// How an executable comment with a version is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versioned {
    /// As by a server that is new enough.
    Code,
    /// As by a server that is not.
    Comment,
}

/// What a lexer knows of comments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comments {
    versioned: Versioned,
    /// The text at hand is inside an executable comment.
    pub(super) is_inside: bool,
    /// Which versions executable comments have named so far.
    pub(super) versions: Versions,
    /// The first hint.
    pub(super) hint: Option<Hint>,
}

/// The versions in a text's executable comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    /// Every server reads the same text.
    None,
    /// Two readings.
    One(u32),
    /// More readings than two.
    Several,
}

impl Comments {
    pub(super) fn new(versioned: Versioned) -> Comments {
        Comments { versioned, is_inside: false, versions: Versions::None, hint: None }
    }
}

impl Lexer<'_> {
    /// Goes past a comment, or the mark at either end of an executable one; `false` if there is none here.
    #[cold]
    pub(super) fn skip_comment(&mut self) -> Result<bool, Broken> {
        match self.text[self.at..] {
            [b'#', ..] => self.skip_line(),
            [b'-', b'-'] => self.skip_line(),
            // Bytes from 0x80 are blanks or control characters in some character sets.
            [b'-', b'-', 0x80..=0xFF, ..] => return Err(Broken::Bytes),
            [b'-', b'-', 0..=0x20 | 0x7F, ..] => self.skip_line(),
            [b'/', b'*', b'!', ..] => self.enter(3, is_version_for_mysql_only)?,
            [b'/', b'*', b'M', b'!', ..] if self.is_mariadb() => self.enter(4, |_| false)?,
            [b'/', b'*', ..] => self.skip_plain_comment()?,
            [b'*', b'/', ..] if self.comments.is_inside => {
                self.comments.is_inside = false;
                self.at += 2;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn is_mariadb(&self) -> bool {
        matches!(self.dialect.family, Family::MariaDb { .. })
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |length| length + 1);
    }

    fn skip_plain_comment(&mut self) -> Result<(), Broken> {
        let start = self.at + 2;
        let length = memchr::memmem::find(&self.text[start..], b"*/").ok_or(Broken::Unterminated)?;
        if self.comments.hint.is_none() {
            self.comments.hint = hint::find(self.text, start..start + length);
        }
        self.at = start + length + 2;
        Ok(())
    }

    /// Begins to read the contents of an executable comment as code, or skips them, as its version says.
    fn enter(&mut self, mark: usize, is_skipped: fn(u32) -> bool) -> Result<(), Broken> {
        if self.comments.is_inside {
            return Err(Broken::Comment);
        }
        let start = self.at + mark;
        let digits = self.text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits < 5 {
            // Not a version: all of it is code.
            self.at = start;
            self.comments.is_inside = true;
            return Ok(());
        }
        let is_glued = digits == 6 && self.text.get(start + 6).is_some_and(|byte| is_name_byte(*byte));
        if digits > 6 || is_glued {
            // Some versions take five digits and leave the sixth to the code.
            return Err(Broken::Comment);
        }
        let version = self.text[start..start + digits].iter().fold(0, |all, digit| all * 10 + u32::from(digit - b'0'));
        self.at = start + digits;
        if self.is_mariadb() && is_skipped(version) {
            return self.skip_versioned_comment();
        }
        self.note_version(version);
        match self.comments.versioned {
            Versioned::Code => self.comments.is_inside = true,
            Versioned::Comment => self.skip_versioned_comment()?,
        }
        Ok(())
    }

    fn note_version(&mut self, version: u32) {
        self.comments.versions = match self.comments.versions {
            Versions::None => Versions::One(version),
            Versions::One(known) if known == version => Versions::One(version),
            Versions::One(_) | Versions::Several => Versions::Several,
        };
    }

    /// To the end of a comment that may hold one more comment.
    fn skip_versioned_comment(&mut self) -> Result<(), Broken> {
        loop {
            let rest = &self.text[self.at..];
            let at = memchr::memchr2(b'*', b'/', rest).ok_or(Broken::Unterminated)?;
            self.at += at;
            match rest[at..] {
                [b'*', b'/', ..] => {
                    self.at += 2;
                    return Ok(());
                }
                [b'/', b'*', ref inner @ ..] => {
                    self.at += 4 + memchr::memmem::find(inner, b"*/").ok_or(Broken::Unterminated)?;
                }
                _ => self.at += 1,
            }
        }
    }
}

/// MariaDB skips what MySQL 5.7 and later would execute: those are features that it does not have, or has differently.
fn is_version_for_mysql_only(version: u32) -> bool {
    (50_700..=99_999).contains(&version)
}
