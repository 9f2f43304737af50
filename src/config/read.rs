//! Reads one table of the TOML tree as its section of the reference says: names, forms, bounds, defaults.
//!
//! Opening a table complains about everything in it that can be seen without knowing the rest of the file.
//! Reading a setting gives its value with its place, or nothing: not written, or complained about.

use std::cell::RefCell;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Complaints;
use super::limits::{NAME_BYTES_MAX, PASSWORD_BYTES_MAX};
use super::reference::{Absent, Form, ROOT, Section, Setting};
use super::value::{self, Choice, DurationText, Problem, either, quoted};
use super::{Freshness, ListenAddress, Release, ServerAddress, keys};
use crate::protocol::auth::{Secret, Verifier};
use crate::protocol::redirect::Target;

/// A value and where it was written.
pub(crate) type At<T> = Spanned<T>;

/// What `check --print` writes in place of a secret. No secret may be this, or a printed configuration put to use
/// would have a password that everyone knows.
pub(crate) const MASKED: &str = "<masked>";

/// One table of the file.
pub(crate) struct Reader<'r> {
    section: &'static Section,
    table: &'r DeTable<'r>,
    place: Range<usize>,
    complaints: &'r Complaints<'r>,
    /// The settings that were asked for, to find those that nobody reads.
    asked: RefCell<Vec<&'static str>>,
}

impl<'r> Reader<'r> {
    /// The whole file.
    pub(crate) fn root(table: &'r DeTable<'r>, complaints: &'r Complaints<'r>) -> Reader<'r> {
        Reader::open(&ROOT, table, 0..0, complaints)
    }

    fn open(
        section: &'static Section,
        table: &'r DeTable<'r>,
        place: Range<usize>,
        complaints: &'r Complaints<'r>,
    ) -> Reader<'r> {
        let reader = Reader { section, table, place, complaints, asked: RefCell::default() };
        keys::check(section, table, &reader.place, complaints);
        reader
    }

    /// Where the table is.
    pub(crate) fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    /// Where the setting was written, in whatever form.
    pub(crate) fn place_of(&self, name: &str) -> Option<Range<usize>> {
        self.table.get(name).map(At::span)
    }

    pub(crate) fn text(&self, name: &'static str) -> Option<At<String>> {
        self.read(name, |form, value| {
            let Form::Text { bytes_max } = form else { unreachable!("`{name}` is read as the text it is") };
            let text = string(value)?;
            printable(text, bytes_max)?;
            Ok(text.to_owned())
        })
    }

    pub(crate) fn name(&self, name: &'static str) -> Option<At<String>> {
        self.read(name, |_, value| Ok(identifier(string(value)?)?.to_owned()))
    }

    pub(crate) fn boolean(&self, name: &'static str) -> Option<At<bool>> {
        self.read(name, |_, value| {
            value.as_bool().ok_or_else(|| format!("is {}: write true or false, without quotes", kind(value)))
        })
    }

    pub(crate) fn count(&self, name: &'static str) -> Option<At<u32>> {
        self.read(name, |form, value| {
            let Form::Count { min, max } = form else { unreachable!("`{name}` is read as the count it is") };
            count(value, min, max)
        })
    }

    /// A count; nothing in it stands for `"auto"`.
    pub(crate) fn count_or_auto(&self, name: &'static str) -> Option<At<Option<u32>>> {
        self.read(name, |form, value| {
            let Form::CountOrAuto { max } = form else { unreachable!("`{name}` is read as the count it is") };
            match value.as_str() {
                Some("auto") => Ok(None),
                Some(other) => Err(format!(
                    "cannot be {}: write \"auto\", or a number from 1 to {max} without quotes",
                    quoted(other)
                )),
                None => count(value, 1, max).map(Some),
            }
        })
    }

    pub(crate) fn duration(&self, name: &'static str) -> Option<At<Duration>> {
        self.read(name, |form, value| {
            let Form::Duration { min, max } = form else { unreachable!("`{name}` is read as the duration it is") };
            duration(value, min, max)
        })
    }

    /// `true`, `false`, or a table with a duration.
    pub(crate) fn freshness(&self, name: &'static str) -> Option<At<Freshness>> {
        self.read(name, |form, value| {
            let Form::Freshness { min, max } = form else { unreachable!("`{name}` is read as the freshness it is") };
            match value {
                DeValue::Boolean(true) => Ok(Freshness::OwnWrites),
                DeValue::Boolean(false) => Ok(Freshness::Any),
                DeValue::Table(table) => within(table, min, max).map(Freshness::Within),
                other => Err(format!("is {}: write true, false or {{ within = \"200ms\" }}", kind(other))),
            }
        })
    }

    pub(crate) fn choice<T: Choice>(&self, name: &'static str) -> Option<At<T>> {
        self.read(name, |form, value| {
            let Form::Choice { not_yet, .. } = form else { unreachable!("`{name}` is read as the choice it is") };
            let text = string(value)?;
            if let Some((_, value)) = T::ALL.iter().find(|(word, _)| *word == text) {
                return Ok(*value);
            }
            let words: Vec<String> = value::words::<T>().iter().map(|word| format!("\"{word}\"")).collect();
            match not_yet.contains(&text) {
                true => Err(format!("cannot be \"{text}\": that is not available yet; write {}", either(&words))),
                false => Err(format!("cannot be {}: write {}", quoted(text), either(&words))),
            }
        })
    }

    /// A setting that has only one value in this release; there is nothing to know but complaints.
    pub(crate) fn only(&self, name: &'static str) {
        self.read(name, |form, value| {
            let Form::Only(word) = form else { unreachable!("`{name}` is read as the one word it is") };
            match value.as_str() == Some(word) {
                true => Ok(()),
                false => Err(format!("is not available yet: write `{name} = \"{word}\"` or leave it out")),
            }
        });
    }

    pub(crate) fn listen_address(&self, name: &'static str) -> Option<At<ListenAddress>> {
        self.read(name, |_, value| value::listen_address(string(value)?))
    }

    pub(crate) fn tcp_address(&self, name: &'static str) -> Option<At<std::net::SocketAddr>> {
        self.read(name, |_, value| value::tcp_address(string(value)?))
    }

    pub(crate) fn server_address(&self, name: &'static str) -> Option<At<ServerAddress>> {
        self.read(name, |_, value| value::server_address(string(value)?))
    }

    pub(crate) fn redirect_target(&self, name: &'static str) -> Option<At<Target>> {
        self.read(name, |_, value| value::redirect_target(string(value)?))
    }

    pub(crate) fn release(&self, name: &'static str) -> Option<At<Release>> {
        self.read(name, |_, value| value::release(string(value)?))
    }

    /// Words for a message in which `|` parts them from what follows.
    pub(crate) fn unbarred_text(&self, name: &'static str) -> Option<At<String>> {
        let text = self.text(name)?;
        if text.get_ref().contains('|') {
            self.complaints
                .at(&text.span(), format!("`{name}` cannot have a |, which ends it for clients: leave it out"));
            return None;
        }
        Some(text)
    }

    pub(crate) fn socket_path(&self, name: &'static str) -> Option<At<PathBuf>> {
        self.read(name, |_, value| value::socket_path(string(value)?))
    }

    /// The path of a file, relative to the configuration file.
    pub(crate) fn file(&self, name: &'static str) -> Option<At<PathBuf>> {
        self.read(name, |_, value| {
            let text = string(value)?;
            printable(text, SOURCE_BYTES_MAX)?;
            Ok(PathBuf::from(text))
        })
    }

    /// The absolute path of a folder.
    pub(crate) fn folder(&self, name: &'static str) -> Option<At<PathBuf>> {
        self.read(name, |_, value| {
            let text = string(value)?;
            printable(text, SOURCE_BYTES_MAX)?;
            match text.starts_with('/') {
                true => Ok(PathBuf::from(text)),
                false => Err(format!("cannot be {}: write an absolute path", quoted(text))),
            }
        })
    }

    /// A password in clear. Its complaints never show it.
    pub(crate) fn password(&self, name: &'static str) -> Option<At<Secret>> {
        self.read(name, |_, value| {
            let text = string(value)?;
            unmasked(text)?;
            password(text.as_bytes().to_vec())
        })
    }

    /// A hash of a password. Its complaints never show it, as it may be a password put in the wrong place.
    pub(crate) fn password_hash(&self, name: &'static str) -> Option<At<Verifier>> {
        self.read(name, |_, value| {
            let text = string(value)?;
            unmasked(text)?;
            let advice = "is none that a server stores: write what `sqluice hash-password` prints, or use `password`";
            Verifier::parse_hash(text).ok_or_else(|| advice.to_owned())
        })
    }

    /// The path of a file or the name of a variable, from which a password is to be read.
    pub(crate) fn password_source(&self, name: &'static str) -> Option<At<String>> {
        self.read(name, |_, value| {
            let text = string(value)?;
            printable(text, SOURCE_BYTES_MAX)?;
            Ok(text.to_owned())
        })
    }

    /// A table that is there once; one that is not written is empty.
    pub(crate) fn table<T>(&self, name: &'static str, read: impl FnOnce(Reader<'_>) -> T) -> T {
        let Form::Table(section) = self.setting(name).form else { unreachable!("`{name}` is read as the table it is") };
        match self.table.get(name).map(|written| (written.span(), self.as_table(name, section, written))) {
            Some((place, Some(table))) => read(Reader::open(section, table, place, self.complaints)),
            Some((_, None)) | None => read(Reader::open(section, &DeTable::new(), self.place(), self.complaints)),
        }
    }

    /// A table that means something by being there.
    pub(crate) fn optional_table<T>(&self, name: &'static str, read: impl FnOnce(Reader<'_>) -> T) -> Option<T> {
        let Form::Table(section) = self.setting(name).form else { unreachable!("`{name}` is read as the table it is") };
        let written = self.table.get(name)?;
        let table = self.as_table(name, section, written)?;
        Some(read(Reader::open(section, table, written.span(), self.complaints)))
    }

    /// A list of tables, `[[name]]`; of too many, only as many as there may be.
    pub(crate) fn tables<T>(&self, name: &'static str, read: impl Fn(Reader<'_>) -> T) -> Vec<T> {
        let Form::Tables { section, max } = self.setting(name).form else {
            unreachable!("`{name}` is read as the tables it is")
        };
        let Some(written) = self.table.get(name) else { return Vec::new() };
        let Some(list) = written.get_ref().as_array() else {
            let problem =
                format!("`{name}` is {}: write {} above its settings", kind(written.get_ref()), section.title);
            self.complaints.at(&written.span(), problem);
            return Vec::new();
        };
        self.complain_of_count(section, list.len(), max, &written.span());
        let tables =
            list.iter().take(max).filter_map(|element| Some((element.span(), self.as_table(name, section, element)?)));
        tables.map(|(place, table)| read(Reader::open(section, table, place, self.complaints))).collect()
    }

    /// Tables by name, `[name.NAME]`, in the order of the file; of too many, only as many as there may be.
    pub(crate) fn named_tables<T>(&self, name: &'static str, read: impl Fn(At<String>, Reader<'_>) -> T) -> Vec<T> {
        let Form::NamedTables { section, max } = self.setting(name).form else {
            unreachable!("`{name}` is read as the tables it is")
        };
        let Some(written) = self.table.get(name) else { return Vec::new() };
        let Some(tables) = self.as_table(name, section, written) else { return Vec::new() };
        self.complain_of_count(section, tables.len(), max, &written.span());
        let mut in_order: Vec<_> = tables.iter().collect();
        in_order.sort_by_key(|(key, _)| key.span().start);
        let named = in_order.into_iter().take(max).filter_map(|(key, written)| {
            let name = At::new(key.span(), key.get_ref().to_string());
            if let Err(problem) = identifier(name.get_ref()) {
                self.complaints.at(&key.span(), format!("the name of a {} {problem}", section.noun));
                return None;
            }
            let table = self.as_table(name.get_ref(), section, written)?;
            Some(read(name, Reader::open(section, table, key.span(), self.complaints)))
        });
        named.collect()
    }

    /// The reader is done with the table.
    ///
    /// # Panics
    /// In debug builds, if a setting of the reference was not read: it would be accepted and do nothing.
    pub(crate) fn finish(self) {
        let asked = self.asked.into_inner();
        for setting in self.section.settings {
            let is_read = asked.contains(&setting.name) || setting.is_not_yet();
            debug_assert!(
                is_read,
                "{} `{}` is in the reference, but nobody reads it",
                self.section.title, setting.name
            );
        }
    }

    /// The setting's value, written or by default.
    fn read<T>(
        &self,
        name: &'static str,
        convert: impl FnOnce(Form, &DeValue<'_>) -> Result<T, Problem>,
    ) -> Option<At<T>> {
        let setting = self.setting(name);
        let (place, converted) = match (self.table.get(name), setting.absent) {
            (Some(written), _) => (written.span(), convert(setting.form, written.get_ref())),
            (None, Absent::Is(default)) => (self.place(), convert(setting.form, &default_value(default))),
            (None, Absent::Refused | Absent::RefusedWithout(_) | Absent::Means(_)) => return None,
        };
        match converted {
            Ok(value) => Some(At::new(place, value)),
            Err(problem) => {
                self.complaints.at(&place, format!("`{name}` {problem}"));
                None
            }
        }
    }

    fn setting(&self, name: &'static str) -> &'static Setting {
        self.asked.borrow_mut().push(name);
        let setting = self.section.setting(name);
        setting.unwrap_or_else(|| unreachable!("{} `{name}` is read, but not in the reference", self.section.title))
    }

    fn as_table(&self, name: &str, section: &Section, written: &'r At<DeValue<'r>>) -> Option<&'r DeTable<'r>> {
        let table = written.get_ref().as_table();
        if table.is_none() {
            let keys: Vec<&str> =
                section.settings.iter().filter(|setting| !setting.is_not_yet()).map(|setting| setting.name).collect();
            let problem = format!("`{name}` is {}: write a table with {}", kind(written.get_ref()), either(&keys));
            self.complaints.at(&written.span(), problem);
        }
        table
    }

    fn complain_of_count(&self, section: &Section, count: usize, max: usize, written: &Range<usize>) {
        if count == 0 {
            self.complaints.at(written, keys::none_of(section));
        }
        if count > max {
            self.complaints.at(written, format!("there are {count} {}: write at most {max}", section.title));
        }
    }
}

/// Bytes of the path of a password file, or of a variable's name: `PATH_MAX` of Linux.
const SOURCE_BYTES_MAX: usize = 4095;

fn default_value(toml: &'static str) -> DeValue<'static> {
    DeValue::parse(toml).expect("a default of the reference is TOML").into_inner()
}

/// What a value is, as one says it.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn string<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Problem> {
    value.as_str().ok_or_else(|| format!("is {}: write a text in quotes", kind(value)))
}

fn count(value: &DeValue<'_>, min: u32, max: u32) -> Result<u32, Problem> {
    let advice = format!("write a number from {min} to {max}, without quotes");
    let number = value.as_integer().ok_or_else(|| format!("is {}: {advice}", kind(value)))?;
    match i128::from_str_radix(number.as_str(), number.radix()).map(u32::try_from) {
        Ok(Ok(number)) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("is out of range: {advice}")),
    }
}

fn duration(value: &DeValue<'_>, min: Duration, max: Duration) -> Result<Duration, Problem> {
    let text = value.as_str().ok_or_else(|| match value.as_integer() {
        Some(number) => {
            format!("has no unit: write \"{number}s\" or \"{number}ms\", with the quotes")
        }
        None => format!("is {}: write a text like \"500ms\"", kind(value)),
    })?;
    let duration = value::duration(text)?;
    match (min..=max).contains(&duration) {
        true => Ok(duration),
        false => Err(format!("is out of range: write \"{}\" to \"{}\"", DurationText(min), DurationText(max))),
    }
}

/// The duration of `{ within = "200ms" }`.
fn within(table: &DeTable<'_>, min: Duration, max: Duration) -> Result<Duration, Problem> {
    match table.get("within") {
        Some(written) if table.len() == 1 => duration(written.get_ref(), min, max),
        _ => Err("has other keys than `within`: write { within = \"200ms\" }".to_owned()),
    }
}

/// A name that fits into a log line, an URL and a metric's label as it is.
fn identifier(text: &str) -> Result<&str, Problem> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed) {
        true => Ok(text),
        false => Err(format!(
            "cannot be {}: write 1 to {NAME_BYTES_MAX} letters, digits, \"-\", \"_\" or \".\"",
            quoted(text)
        )),
    }
}

fn printable(text: &str, bytes_max: usize) -> Result<(), Problem> {
    match (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!("cannot be {}: write 1 to {bytes_max} bytes without control characters", quoted(text))),
    }
}

/// A password that the protocol can carry: it ends there at the first NUL.
pub(crate) fn password(bytes: Vec<u8>) -> Result<Secret, Problem> {
    // From here on the only copy is one that is wiped.
    let secret = Secret::new(bytes);
    if secret.len() > PASSWORD_BYTES_MAX {
        return Err(format!("has {} bytes: no server takes more than {PASSWORD_BYTES_MAX}", secret.len()));
    }
    if secret.expose().contains(&0) {
        return Err("has a NUL byte, which no client can send: write another password".to_owned());
    }
    Ok(secret)
}

fn unmasked(text: &str) -> Result<(), Problem> {
    match text == MASKED {
        true => Err("is what `check --print` shows in place of a secret: write the secret itself".to_owned()),
        false => Ok(()),
    }
}
