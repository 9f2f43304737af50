//! Which servers of a cluster take the same work: `[pool.NAME]`.

use crate::config::reference::{Absent, Form, Reload, Section, Setting};
use crate::config::value::words;
use crate::config::{Balance, Role};

pub(super) static POOL: Section = Section {
    title: "[pool.NAME]",
    noun: "pool",
    doc: "The members of a cluster with a role, from which one is picked. At least one pool.",
    settings: &[
        Setting {
            name: "cluster",
            form: Form::NameOf("cluster"),
            absent: Absent::Refused,
            reload: Reload::NewSessions,
            doc: "Where its members come from.",
        },
        Setting {
            name: "role",
            form: Form::Choice { words: words::<Role>, not_yet: &[] },
            absent: Absent::Refused,
            reload: Reload::NewSessions,
            doc: "Which servers of the cluster are members.",
        },
        Setting {
            name: "balance",
            form: Form::Choice { words: words::<Balance>, not_yet: &[] },
            absent: Absent::Is("\"least-connections\""),
            reload: Reload::NewSessions,
            doc: "How one of several usable members is picked, always by weight.",
        },
        Setting {
            name: "fallback",
            form: Form::NameOf("pool"),
            absent: Absent::Means("none"),
            reload: Reload::NewSessions,
            doc: "The pool to use while this one has no usable member.",
        },
    ],
};
