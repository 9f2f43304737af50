//! Who may log in, and where what they do goes: `[[user]]` and `[users]`.

use std::time::Duration;

use super::cluster::ADMIN_ACCOUNT;
use super::listener::{allow_from, deny_from};
use super::{DAY, HOUR, MILLISECOND, password};
use crate::config::limits;
use crate::config::reference::{Absent, Form, Reload, Section, Setting};
use crate::config::value::words;
use crate::config::{Reuse, SourceWord};

pub(super) static USER: Section = Section {
    title: "[[user]]",
    noun: "user",
    doc: "Someone who may log in. At least one, but with another `source` of `[users]` than `\"config\"`. Sessions of a user that a reload removes end after their current \
          transaction. Exactly one of `password`, `password_file`, `password_env` and \
          `password_hash`; the same account with the same password must exist at the servers, unless `backend_user` names another.",
    settings: &[
        Setting {
            name: "name",
            form: Form::Text { bytes_max: limits::USER_NAME_BYTES_MAX },
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "As the client sends it; unique.",
        },
        password("password", Form::Password, "The password in clear. Works with every server."),
        password("password_file", Form::PasswordFile, "A file that holds it; one newline at its end does not count."),
        password(
            "password_env",
            Form::PasswordVariable,
            "An environment variable that holds it, read at start and at each reload.",
        ),
        password(
            "password_hash",
            Form::PasswordHash,
            "What a server stores of the password, or `sqluice hash-password` prints. `*` and 40 hex digits, of \
             `mysql_native_password`, also log in at servers where the account uses that. With the others (43 digits of `ed25519`, \
             `P0:…` of `parsec`, `$A$…` and `$5$…` of MySQL, also in hex behind `0x`) clients are asked for the password itself, \
             inside TLS or under RSA, and it is what logs in; but with `backend_password` a client of `client_ed25519` need only sign.",
        ),
        Setting {
            name: "pool",
            form: Form::NameOf("pool"),
            absent: Absent::RefusedWithout("split"),
            reload: Reload::NewSessions,
            doc: "Where everything this user does goes. Either this or `split`.",
        },
        Setting {
            name: "max_connections",
            form: Form::Count { min: 0, max: limits::SESSIONS_MAX },
            absent: Absent::Is("0"),
            reload: Reload::NewSessions,
            doc: "Sessions this user may have at once; the next one gets error 1226. 0: unlimited.",
        },
        Setting {
            name: "backend_user",
            form: Form::Text { bytes_max: limits::USER_NAME_BYTES_MAX },
            absent: Absent::Means("the client's own name"),
            reload: Reload::NewSessions,
            doc: "The account to use at the servers.",
        },
        backend_password("backend_password", Form::Password, "Its password there, when it is not the client's own."),
        backend_password("backend_password_file", Form::PasswordFile, "A file that holds it."),
        backend_password("backend_password_env", Form::PasswordVariable, "An environment variable that holds it."),
        Setting {
            name: "split",
            form: Form::Table(&SPLIT),
            absent: Absent::Means("none"),
            reload: Reload::NewSessions,
            doc: "Reads to one pool, everything else to another.",
        },
        Setting {
            name: "read_your_writes",
            form: Form::Freshness { min: MILLISECOND, max: HOUR },
            absent: Absent::Is("true"),
            reload: Reload::NewSessions,
            doc: "With `split`: how much a read on a replica must see of what its session has written, and has seen before. \
                  `true`: all of it. `{ within = \"200ms\" }`: for that long after a write, reads stay at the primary; \
                  then any replica will do. `false`: any replica will do.",
        },
        Setting {
            name: "handoff",
            form: Form::Boolean,
            absent: Absent::Is("false"),
            reload: Reload::NewSessions,
            doc: "Clients whose connector follows `redirect_url` (`[[instant_failover.follower]]`) log in here and are then \
                  sent on to the server that was chosen, at the host and port that stand here for it. Others are served as ever.",
        },
        Setting {
            name: "backend_reuse",
            form: Form::Choice { words: words::<Reuse>, not_yet: &[] },
            absent: Absent::Is("\"session\""),
            reload: Reload::NewSessions,
            doc: "How long a session keeps its connections. `\"transaction\"`: until the end of \
                  its transaction or statement; then other sessions of the user get it, after COM_RESET_CONNECTION, and a \
                  session's schema, variables and role are put on the next one. So many sessions share the \
                  `max_connections` of a server; who waits for one longer than `hold_timeout` gets error 1040. With \
                  `split` the same holds for the replicas: a read waits for half of `hold_timeout` where all of their \
                  connections are taken, and goes to the primary then. Connections to nodes of a Galera cluster that are \
                  only read from are not reset, as MariaDB would not wait for the cluster on them any more: there, \
                  another session gets a new one. A \
                  client's prepared statements (not those of PREPARE as text) are prepared again where they are executed; \
                  clients of MariaDB that keep definitions of columns get error 1615 when those are others by then. What \
                  cannot be put on keeps the connection: temporary tables, locks, open cursors, parts of parameters, \
                  statements of PREPARE as text, computed user variables and others, which `sqluice sessions` shows. User \
                  variables that triggers assign without SET are not carried. With `pool` as well as with `split`.",
        },
        allow_from(
            "Only from these networks may it log in; elsewhere its password is wrong (1045). Not for UNIX sockets.",
        ),
        deny_from("From these networks it may not, also where they are in `allow_from`."),
    ],
};

static SPLIT: Section = Section {
    title: "[[user]] split",
    noun: "split",
    doc: "Two pools of one cluster, usually written on one line: `split = { write = \"write\", read = \"read\" }`. \
          What is surely a read that any replica can answer goes to `read`, everything else to `write`.\n\n\
          Views over stored code are read at home. A session knows those that it makes itself; those that others make, \
          after at most a minute (it asks `information_schema.views` as its user; a view whose text the user may not see \
          counts as one of them). Until then a write hidden in such a view is refused by the replica and run at home, and \
          a change of the session is repeated there.\n\n\
          A READ ONLY transaction reads one snapshot. If it has read at a replica and comes to a statement that only the \
          primary can run, it is rolled back with error 1213 (SQLSTATE 40001), which clients answer by running it again; \
          the user's READ ONLY transactions stay at the primary from then on.",
    settings: &[
        Setting {
            name: "write",
            form: Form::NameOf("pool"),
            absent: Absent::Refused,
            reload: Reload::NewSessions,
            doc: "Where a session is at home. It and its fallbacks have the role `\"primary\"`.",
        },
        Setting {
            name: "read",
            form: Form::NameOf("pool"),
            absent: Absent::Refused,
            reload: Reload::NewSessions,
            doc: "Where reads go. It and its fallbacks are of the cluster of `write`.",
        },
    ],
};

const fn backend_password(name: &'static str, form: Form, doc: &'static str) -> Setting {
    Setting { absent: Absent::Means("the client's own"), ..password(name, form, doc) }
}

pub(super) static USERS: Section = Section {
    title: "[users]",
    noun: "users",
    doc: "Who may log in without a `[[user]]` entry, and how all of those are served. An entry always comes first.",
    settings: &[
        Setting {
            name: "source",
            form: Form::Choice { words: words::<SourceWord>, not_yet: &[] },
            absent: Absent::Is("\"config\""),
            reload: Reload::NewSessions,
            doc: "`\"config\"`: nobody. `\"servers\"`: who has an account at the servers of the cluster of `pool` or `split`, from \
                  where it has one. Names, hosts and stored passwords are read with `account`, each `refresh_interval`, and when \
                  somebody is not found or not believed, but not within 2 s of the last reading. Over a slow link a reading \
                  may take 5 min, and the server may be silent for 10 s in it; who is not found meanwhile waits for half of \
                  `login_timeout` and is refused then (1045), once any accounts are known. Whether an account is locked or expired its server says at \
                  the login that follows. `\"learn\"`: whoever a server lets in. A client that is not known \
                  is asked for its password, inside TLS only, and a server judges it; accounts without one are refused, as the server \
                  would let them in by this host.",
        },
        Setting {
            name: "account",
            form: Form::Table(&ACCOUNTS_READER),
            absent: Absent::Means("none"),
            reload: Reload::AtOnce,
            doc: "Who reads the accounts; with source `\"servers\"`.",
        },
        Setting {
            name: "pool",
            form: Form::NameOf("pool"),
            absent: Absent::Means("none"),
            reload: Reload::NewSessions,
            doc: "Where everything goes that they do. With another source than `\"config\"` either this or `split`.",
        },
        Setting {
            name: "split",
            form: Form::Table(&NEWCOMERS_SPLIT),
            absent: Absent::Means("none"),
            reload: Reload::NewSessions,
            doc: "Reads to one pool, everything else to another, as for a `[[user]]`.",
        },
        Setting {
            name: "refresh_interval",
            form: Form::Duration { min: Duration::from_secs(1), max: DAY },
            absent: Absent::Is("\"30s\""),
            reload: Reload::AtOnce,
            doc: "With source `\"servers\"`: from the end of one reading of the accounts to the next when nobody is missed.",
        },
        Setting {
            name: "learn_ttl",
            form: Form::Duration { min: Duration::from_secs(1), max: DAY },
            absent: Absent::Is("\"10m\""),
            reload: Reload::NewSessions,
            doc: "How long a password that a server has accepted is kept, so that the next logins need not give it again: in memory \
                  that is neither swapped nor dumped, 1024 of them at most, and no longer than until a server says 1045.",
        },
    ],
};

static NEWCOMERS_SPLIT: Section = Section {
    title: "[users] split",
    noun: "split",
    doc: "Two pools of one cluster, as in `[[user]] split`.",
    settings: SPLIT.settings,
};

static ACCOUNTS_READER: Section = Section {
    title: "[users] account",
    noun: "account that reads accounts",
    doc: "Usually written on one line: `account = { user = \"sqluice\", password_file = \"sqluice.password\" }`. MariaDB: \
          `GRANT SELECT ON mysql.global_priv`; MySQL: `GRANT SELECT ON mysql.user`. Exactly one of the passwords. What is stored of the \
          passwords is sent to this host: over a network that others see, ask for TLS by `tls` of the cluster.",
    settings: ADMIN_ACCOUNT.settings,
};
