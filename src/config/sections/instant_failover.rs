//! Where clients are sent while the balancer is in maintenance: `[instant_failover]`.

use crate::config::limits;
use crate::config::reference::{Absent, Form, Reload, Section, Setting};
use crate::config::value::words;
use crate::config::{RedirectMode, RedirectUrl};

pub(super) static INSTANT_FAILOVER: Section = Section {
    title: "[instant_failover]",
    noun: "instant failover",
    doc: "The balancer's own maintenance: new clients are told to go elsewhere at once. `sqluice failover` changes mode \
          and target while the process runs; that holds, also over a restart, until the next such command, or a file in \
          which this section is another one (at a start: another mode or target).",
    settings: &[
        Setting {
            name: "mode",
            form: Form::Choice { words: words::<RedirectMode>, not_yet: &[] },
            absent: Absent::Is("\"off\""),
            reload: Reload::AtOnce,
            doc: "Who is sent elsewhere when it logs in. `\"on\"`: the clients of all listeners but `extra` ones and UNIX \
                  sockets. `\"all\"`: everybody. Sessions that are there stay.",
        },
        Setting {
            name: "target",
            form: Form::RedirectTarget,
            absent: Absent::Means("none"),
            reload: Reload::AtOnce,
            doc: "Where clients are sent. Needed with `mode = \"on\"` and `\"all\"`.",
        },
        Setting {
            name: "error_code",
            form: Form::Count { min: 1, max: 65_535 },
            absent: Absent::Is("4196"),
            reload: Reload::AtOnce,
            doc: "The error that carries the target, as `|text|host:port`: ER_INSTANT_FAILOVER as first proposed in MDEV-34009; \
                  a later branch used 4200.",
        },
        Setting {
            name: "text",
            form: Form::Text { bytes_max: limits::REDIRECT_TEXT_BYTES_MAX },
            absent: Absent::Is("\"This load balancer is in maintenance, please connect to\""),
            reload: Reload::AtOnce,
            doc: "The words for people in that error, in front of the target; without `|`.",
        },
        Setting {
            name: "redirect_url",
            form: Form::Choice { words: words::<RedirectUrl>, not_yet: &[] },
            absent: Absent::Is("\"off\""),
            reload: Reload::AtOnce,
            doc: "`\"followers\"`: clients that would get the error, and whose connector follows MariaDB's `redirect_url`, are \
                  let in instead and told where to go in the OK of their login.",
        },
        Setting {
            name: "follower",
            form: Form::Tables { section: &FOLLOWER, max: limits::FOLLOWERS_MAX },
            absent: Absent::Means("MariaDB Connector/J from 3.4.0, before 3.5.3; MariaDB Connector/R2DBC from 1.2.0"),
            reload: Reload::AtOnce,
            doc: "The connectors that follow `redirect_url`, also for `handoff`. Connector/J from 3.5.3 on does so only with \
                  `permitRedirect=true` and fails without; MySqlConnector from 2.4.0 on with `Server Redirection Mode=Preferred`.",
        },
    ],
};

static FOLLOWER: Section = Section {
    title: "[[instant_failover.follower]]",
    noun: "follower",
    doc: "Releases of a connector that do what MariaDB's `redirect_url` says. Only clients that ask for session tracking count.",
    settings: &[
        Setting {
            name: "name",
            form: Form::Text { bytes_max: limits::NAME_BYTES_MAX },
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "Its connection attribute `_client_name`, like `MariaDB Connector/J`, `mariadb` (R2DBC) or `MySqlConnector`.",
        },
        Setting {
            name: "from",
            form: Form::Release,
            absent: Absent::Means("every release"),
            reload: Reload::AtOnce,
            doc: "The first release that follows, by `_client_version`.",
        },
        Setting {
            name: "before",
            form: Form::Release,
            absent: Absent::Means("no end"),
            reload: Reload::AtOnce,
            doc: "The first release after that which does not.",
        },
    ],
};
