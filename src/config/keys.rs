//! Which keys a table has: unknown ones with what was probably meant, those not available yet, and missing ones.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::DeTable;

use super::error::Complaints;
use super::limits::NAME_BYTES_MAX;
use super::reference::{Absent, ROOT, Section, Setting};
use super::value::{Problem, quoted};

/// Complains about the keys of one table; `place` is that of the table itself.
pub(super) fn check(section: &'static Section, table: &DeTable<'_>, place: &Range<usize>, complaints: &Complaints<'_>) {
    // A key that stands for a missing one has already been told to become that.
    let mut meant = HashSet::new();
    for (key, _) in table {
        match section.setting(key.get_ref()) {
            None if complaints.is_full() => complaints.at(&key.span(), ""),
            None => {
                complaints.at(&key.span(), unknown(key.get_ref(), section));
                meant.extend(meant_by(key.get_ref(), section).map(|setting| setting.name));
            }
            Some(_) => {}
        }
    }
    let is_written = |name: &str| table.contains_key(name) || meant.contains(name);
    for setting in section.settings {
        let is_needed = match setting.absent {
            Absent::Refused => true,
            Absent::RefusedWithout(other) => !is_written(other),
            Absent::Is(_) | Absent::Means(_) => false,
        };
        if is_needed && !is_written(setting.name) {
            complaints.missing(place, missing(setting, section));
        }
    }
}

/// There must be at least one table of this section.
pub(super) fn none_of(section: &Section) -> Problem {
    format!("there is no {}: write at least one {}", section.noun, section.title)
}

fn missing(setting: &Setting, section: &Section) -> Problem {
    let Setting { name, form, absent, .. } = setting;
    match (form.section(), absent) {
        (Some(inner), _) => none_of(inner),
        (None, Absent::RefusedWithout(other)) => format!("{} needs `{name}` or `{other}`", section.title),
        (None, Absent::Refused | Absent::Is(_) | Absent::Means(_)) => {
            format!("{} needs `{name}`: {form}", section.title)
        }
    }
}

fn unknown(key: &str, section: &'static Section) -> Problem {
    let problem = format!("unknown key {} in {}", quoted(key), section.title);
    if let Some(meant) = meant_by(key, section) {
        return format!("{problem}: write `{}`", meant.name);
    }
    let elsewhere = ROOT.with_inner().into_iter().skip(1).find(|other| other.setting(key).is_some());
    match (nearest(key, section), elsewhere) {
        (Some((nearest, _)), Some(other)) => {
            format!("{problem}: it belongs in {}; the nearest here is `{}`", other.title, nearest.name)
        }
        (Some((nearest, _)), None) => format!("{problem}: the nearest known one is `{}`", nearest.name),
        (None, _) => format!("{problem}: leave it out"),
    }
}

/// The setting that was probably meant: a typing error or two away.
fn meant_by(key: &str, section: &'static Section) -> Option<&'static Setting> {
    let (setting, distance) = nearest(key, section)?;
    (distance <= 1 + setting.name.len() / 3).then_some(setting)
}

/// The setting with the most similar name, and how many typing errors it is away.
fn nearest(key: &str, section: &'static Section) -> Option<(&'static Setting, usize)> {
    // A key this long is no typing error, and comparing it would take long.
    if key.len() > NAME_BYTES_MAX {
        return None;
    }
    let distances = section.settings.iter().map(|setting| (setting, strsim::damerau_levenshtein(key, setting.name)));
    distances.min_by_key(|(_, distance)| *distance)
}
