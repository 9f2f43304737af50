//! What is different between two configurations, one line a change, for the log and for `sqluice reload`.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::Config;
use super::effective::{self, Entry, Shown};
use super::reference::{Absent, Reload, Setting};

/// One difference. Printed, it is a line like `server shop/db3: weight 100 -> 50`; secrets are never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about, like `server shop/db3` or `process`.
    pub subject: String,
    /// What happened to it, like `added` or `weight 100 -> 50`.
    pub what: String,
    /// From when on it holds.
    pub holds: Reload,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what.as_str() {
            "added" | "removed" => write!(out, "{} {}", self.subject, self.what)?,
            _ => write!(out, "{}: {}", self.subject, self.what)?,
        }
        match self.holds {
            Reload::AtOnce => Ok(()),
            Reload::NewSessions => out.write_str(" (for new sessions)"),
            Reload::NextStart => out.write_str(" (from the next start on)"),
        }
    }
}

/// All differences, in the order of the file: first what is new or different, then what is gone.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let (old, new) = (effective::entries(old), effective::entries(new));
    let before: HashMap<&str, &Entry<'_>> = old.iter().map(|entry| (entry.label.as_str(), entry)).collect();
    let after: HashSet<&str> = new.iter().map(|entry| entry.label.as_str()).collect();
    let new_or_different = new.iter().flat_map(|entry| match before.get(entry.label.as_str()) {
        Some(before) => differences(before, entry),
        None => vec![whole(entry, "added")],
    });
    let gone = old.iter().filter(|entry| !after.contains(entry.label.as_str())).map(|entry| whole(entry, "removed"));
    new_or_different.chain(gone).collect()
}

fn whole(entry: &Entry<'_>, what: &str) -> Change {
    Change { subject: entry.label.clone(), what: what.to_owned(), holds: Reload::AtOnce }
}

/// The settings that differ between two tables of one label, in the order of the reference.
fn differences(old: &Entry<'_>, new: &Entry<'_>) -> Vec<Change> {
    let settings = new.section.settings.iter();
    let differing = settings.filter_map(|setting| {
        let (old, new) = (value(old, setting), value(new, setting));
        if old == new { None } else { Some((setting, what_changed(setting, old, new))) }
    });
    let mut changes: Vec<Change> =
        differing.map(|(setting, what)| Change { subject: new.label.clone(), what, holds: setting.reload }).collect();
    // A password that was in clear and is now a hash is one change, not two.
    changes.dedup();
    changes
}

fn value<'e>(entry: &'e Entry<'_>, setting: &Setting) -> Option<&'e Shown<'e>> {
    entry.settings.iter().find(|(known, _)| known.name == setting.name).map(|(_, value)| value)
}

fn what_changed(setting: &Setting, old: Option<&Shown<'_>>, new: Option<&Shown<'_>>) -> String {
    let name = if setting.name == "password_hash" { "password" } else { setting.name };
    if old.or(new).is_some_and(Shown::is_secret) {
        return format!("{name} changed");
    }
    let absent = match setting.absent {
        Absent::Means(meaning) => meaning,
        Absent::Is(_) | Absent::Refused | Absent::RefusedWithout(_) => "none",
    };
    let shown = |value: Option<&Shown<'_>>| value.map_or(absent.to_owned(), |value| value.to_string());
    format!("{name} {} -> {}", shown(old), shown(new))
}
