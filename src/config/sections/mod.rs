//! Every setting there is, table by table: a file here for each subject. [`reference`](super::reference) says what the
//! columns mean.

mod cluster;
mod instant_failover;
mod listener;
mod pool;
mod process;
mod server;
mod user;

use std::time::Duration;

use super::limits;
use super::reference::{Absent, Form, Reload, Section, Setting};
use cluster::CLUSTER;
use instant_failover::INSTANT_FAILOVER;
use listener::LISTENER;
use pool::POOL;
use process::{ADMIN, LIMITS, LOG, PROCESS};
use user::{USER, USERS};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The whole file.
pub static ROOT: Section = Section {
    title: "the file",
    noun: "file",
    doc: "",
    settings: &[
        table("process", Form::Table(&PROCESS)),
        table("log", Form::Table(&LOG)),
        table("admin", Form::Table(&ADMIN)),
        table("instant_failover", Form::Table(&INSTANT_FAILOVER)),
        required_tables("listener", Form::Tables { section: &LISTENER, max: limits::LISTENERS_MAX }),
        required_tables("cluster", Form::NamedTables { section: &CLUSTER, max: limits::CLUSTERS_MAX }),
        required_tables("pool", Form::NamedTables { section: &POOL, max: limits::POOLS_MAX }),
        Setting {
            absent: Absent::RefusedWithout("users"),
            ..table("user", Form::Tables { section: &USER, max: limits::USERS_MAX })
        },
        table("users", Form::Table(&USERS)),
        table("limits", Form::Table(&LIMITS)),
    ],
};

/// A setting that is a table has its meaning, default and reload in the table's own settings.
const fn table(name: &'static str, form: Form) -> Setting {
    Setting { name, form, absent: Absent::Means("the defaults of its settings"), reload: Reload::AtOnce, doc: "" }
}

/// Of these there must be at least one.
const fn required_tables(name: &'static str, form: Form) -> Setting {
    Setting { absent: Absent::Refused, ..table(name, form) }
}

/// Passwords come in several forms, of which the sections say how many are needed.
pub(super) const fn password(name: &'static str, form: Form, doc: &'static str) -> Setting {
    Setting { name, form, absent: Absent::Means("another form"), reload: Reload::NewSessions, doc }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_setting_is_named_once_and_documented() {
        for section in ROOT.with_inner() {
            let names: HashSet<&str> = section.settings.iter().map(|setting| setting.name).collect();
            assert_eq!(names.len(), section.settings.len(), "{}", section.title);
            for setting in section.settings.iter().filter(|setting| setting.form.section().is_none()) {
                assert!(setting.doc.ends_with('.'), "{} `{}` has no sentence", section.title, setting.name);
            }
        }
    }
}
