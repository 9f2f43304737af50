//! What is known of every setting: name, form, bounds, default, meaning, and what a reload does with it.
//!
//! `sections` is the one place where each stands. The reader takes names, bounds and defaults from there, the printer and
//! the differ speak of settings by these entries, and `CONFIGURATION.md` is made of them; so none of the four can know a
//! setting that the others do not.

use std::fmt;
use std::time::Duration;

use super::value::{DurationText, either};

pub use super::page::markdown;
pub use super::sections::ROOT;

/// One table of the file and its settings.
#[derive(Debug)]
pub struct Section {
    /// As its header is written, with `NAME` for a name the operator chooses.
    pub title: &'static str,
    /// What one of it is called in messages, like `server`.
    pub noun: &'static str,
    /// What it is about.
    pub doc: &'static str,
    /// In the order of the documentation; names are unique.
    pub settings: &'static [Setting],
}

/// One key of a table.
#[derive(Debug)]
pub struct Setting {
    /// The key.
    pub name: &'static str,
    /// What may be written.
    pub form: Form,
    /// What holds when it is not written.
    pub absent: Absent,
    /// What a reload does when it has changed.
    pub reload: Reload,
    /// What it decides.
    pub doc: &'static str,
}

/// What may be written as the value of a setting.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// A short name of letters, digits, `-`, `_` and `.`.
    Name,
    /// Free text of `1 ..= bytes_max` bytes, without control characters.
    Text {
        /// The longest text.
        bytes_max: usize,
    },
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Count {
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// A whole number from 1, or `"auto"`.
    CountOrAuto {
        /// The largest.
        max: u32,
    },
    /// A text like `"250ms"`.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// `true`, `false`, or a table with a duration, `{ within = "200ms" }`.
    Freshness {
        /// The shortest duration.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// One of some words.
    Choice {
        /// The words.
        words: fn() -> Vec<&'static str>,
        /// Words that a later release will take.
        not_yet: &'static [&'static str],
    },
    /// The only value there is in this release; others will come.
    Only(&'static str),
    /// An IP address and port, or `unix:/path`.
    ListenAddress,
    /// An IP address and port.
    TcpAddress,
    /// A host and port, or `unix:/path`.
    ServerAddress,
    /// A host and port that clients can be told of.
    RedirectTarget,
    /// The numbers of a release.
    Release,
    /// The absolute path of a UNIX socket.
    SocketPath,
    /// The absolute path of a folder.
    Folder,
    /// The name of something else in the file.
    NameOf(&'static str),
    /// A password.
    Password,
    /// `*` and 40 hex digits: the double SHA-1 of a password.
    PasswordHash,
    /// The path of a file in PEM, relative to the configuration file.
    PemFile,
    /// The path of a file that holds a password, relative to the configuration file.
    PasswordFile,
    /// The name of an environment variable that holds a password.
    PasswordVariable,
    /// A table.
    Table(&'static Section),
    /// Tables in a list.
    Tables {
        /// What each of them is.
        section: &'static Section,
        /// How many there may be.
        max: usize,
    },
    /// Tables by name.
    NamedTables {
        /// What each of them is.
        section: &'static Section,
        /// How many there may be.
        max: usize,
    },
    /// Nothing yet: the name is known, the feature is not here.
    NotYet {
        /// What to write instead.
        instead: &'static str,
    },
}

/// What holds when a setting is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The file is refused.
    Refused,
    /// The file is refused, unless that other setting of the table is written.
    RefusedWithout(&'static str),
    /// The same as this, in TOML.
    Is(&'static str),
    /// Something that cannot be written.
    Means(&'static str),
}

/// What a reload does with a changed setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It holds at once.
    AtOnce,
    /// It holds for sessions that begin afterwards.
    NewSessions,
    /// It holds after the next start; until then the running process keeps the old value.
    NextStart,
}

impl fmt::Display for Absent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absent::Refused => out.write_str("required"),
            Absent::RefusedWithout(other) => write!(out, "required without `{other}`"),
            Absent::Is(toml) => write!(out, "`{toml}`"),
            Absent::Means(meaning) => out.write_str(meaning),
        }
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Reload::AtOnce => "at once",
            Reload::NewSessions => "new sessions",
            Reload::NextStart => "next start",
        })
    }
}

impl Section {
    /// The setting of that name.
    pub fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// This table and all tables in it, from the outside in.
    pub fn with_inner(&'static self) -> Vec<&'static Section> {
        let inner = self.settings.iter().filter_map(|setting| setting.form.section());
        std::iter::once(self).chain(inner.flat_map(Section::with_inner)).collect()
    }
}

impl Setting {
    /// Whether only its name is known in this release.
    pub fn is_not_yet(&self) -> bool {
        matches!(self.form, Form::NotYet { .. })
    }
}

impl Form {
    /// The table that this form is about.
    pub fn section(self) -> Option<&'static Section> {
        match self {
            Form::Table(section) | Form::Tables { section, .. } | Form::NamedTables { section, .. } => Some(section),
            Form::Name
            | Form::Text { .. }
            | Form::Boolean
            | Form::Count { .. }
            | Form::CountOrAuto { .. }
            | Form::Duration { .. }
            | Form::Freshness { .. }
            | Form::Choice { .. }
            | Form::Only(_)
            | Form::ListenAddress
            | Form::TcpAddress
            | Form::ServerAddress
            | Form::RedirectTarget
            | Form::Release
            | Form::SocketPath
            | Form::PemFile
            | Form::Folder
            | Form::NameOf(_)
            | Form::Password
            | Form::PasswordHash
            | Form::PasswordFile
            | Form::PasswordVariable
            | Form::NotYet { .. } => None,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Name => out.write_str("name"),
            Form::Text { bytes_max } => write!(out, "text, at most {bytes_max} bytes"),
            Form::Boolean => out.write_str("`true` or `false`"),
            Form::Count { min, max } => write!(out, "number, {min} to {max}"),
            Form::CountOrAuto { max } => write!(out, "`\"auto\"` or number, 1 to {max}"),
            Form::Duration { min, max } => {
                write!(out, "duration, {} to {}", DurationText(*min), DurationText(*max))
            }
            Form::Freshness { min, max } => {
                let (min, max) = (DurationText(*min), DurationText(*max));
                write!(out, "`true`, `false` or `{{ within = \"…\" }}`, {min} to {max}")
            }
            Form::Choice { words, .. } => {
                let quoted: Vec<String> = words().iter().map(|word| format!("`\"{word}\"`")).collect();
                out.write_str(&either(&quoted))
            }
            Form::Only(word) => write!(out, "`\"{word}\"`"),
            Form::ListenAddress => out.write_str("`\"IP:port\"` or `\"unix:/path\"`"),
            Form::TcpAddress => out.write_str("`\"IP:port\"`"),
            Form::ServerAddress => out.write_str("`\"host:port\"` or `\"unix:/path\"`"),
            Form::RedirectTarget => out.write_str("`\"host:port\"`, no IPv6 address"),
            Form::Release => out.write_str("`\"1.2.3\"`"),
            Form::SocketPath | Form::Folder => out.write_str("absolute path"),
            Form::PemFile => out.write_str("path"),
            Form::NameOf(what) => write!(out, "name of a {what}"),
            Form::Password => out.write_str("text"),
            Form::PasswordHash => out.write_str("`\"*\"` and 40 hex digits"),
            Form::PasswordFile => out.write_str("path"),
            Form::PasswordVariable => out.write_str("name of an environment variable"),
            Form::Table(_) => out.write_str("table"),
            Form::Tables { max, .. } => write!(out, "list of tables, at most {max}"),
            Form::NamedTables { max, .. } => write!(out, "tables by name, at most {max}"),
            Form::NotYet { .. } => out.write_str("not available yet"),
        }
    }
}
