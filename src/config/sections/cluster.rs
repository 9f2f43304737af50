//! Servers that hold one data set, and the accounts that sqluice has there: `[cluster.NAME]`.

use std::time::Duration;

use super::server::{SERVER, server_tls};
use super::{DAY, HOUR, MILLISECOND, password};
use crate::config::limits;
use crate::config::reference::{Absent, Form, Reload, Section, Setting};
use crate::config::value::words;
use crate::config::{DonorReads, Failover, FollowRedirects, ServerDemand, Topology};

pub(super) static CLUSTER: Section = Section {
    title: "[cluster.NAME]",
    noun: "cluster",
    doc: "Servers that replicate one data set. At least one cluster.",
    settings: &[
        Setting {
            name: "topology",
            form: Form::Choice { words: words::<Topology>, not_yet: &[] },
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "Where roles come from. `\"replication\"`: the servers' own `read_only`, and who replicates from whom. `\"static\"`: each server's `role`. \
                  `\"galera\"`: the nodes' own `wsrep_` status; of those in step with the majority one takes the writes, so that \
                  two never conflict. `\"group-replication\"`: the members of a group of MySQL servers.",
        },
        Setting {
            name: "monitor",
            form: Form::Table(&MONITOR),
            absent: Absent::Means("none: a check ends with the server's greeting"),
            reload: Reload::AtOnce,
            doc: "The account of the health checks. Needed with every topology but `\"static\"`.",
        },
        Setting {
            name: "failover",
            form: Form::Choice { words: words::<Failover>, not_yet: &[] },
            absent: Absent::Is("\"off\""),
            reload: Reload::AtOnce,
            doc: "Who may make another server the primary, by GTIDs. `\"off\"`: nobody here; a promotion by another tool \
                  is followed. `\"manual\"`: an operator, with `sqluice switchover SERVER`, for which writes are held only \
                  when that server is at most an eighth of `hold_timeout` behind (250 ms to 5 s); if it is not within 30 s, \
                  nothing is changed. `\"automatic\"`: also this process, when the primary is down after `fall` checks, no \
                  replica receives from it any more, and more than half of the servers can be locked; three servers at \
                  least. The servers must reach each other at the addresses that stand here.",
        },
        Setting {
            name: "admin",
            form: Form::Table(&ADMIN_ACCOUNT),
            absent: Absent::Means("the account of `monitor`"),
            reload: Reload::AtOnce,
            doc: "The account that `failover` works with.",
        },
        Setting {
            name: "replication",
            form: Form::Table(&REPLICATION_ACCOUNT),
            absent: Absent::Means("none; needed with `failover`"),
            reload: Reload::AtOnce,
            doc: "The account that a former primary follows the new one with. The other replicas keep the one they have.",
        },
        Setting {
            name: "check_interval",
            form: Form::Duration { min: Duration::from_millis(10), max: HOUR },
            absent: Absent::Is("\"500ms\""),
            reload: Reload::AtOnce,
            doc: "From the start of one check of a server to the start of the next.",
        },
        Setting {
            name: "check_timeout",
            form: Form::Duration { min: Duration::from_millis(10), max: HOUR },
            absent: Absent::Is("\"800ms\""),
            reload: Reload::AtOnce,
            doc: "When a check without an answer has failed. A login that takes longer goes on, for 15 s at most, and the first \
                  question behind it has this time for itself: a server far away is up if it answers one question in it.",
        },
        Setting {
            name: "fall",
            form: Form::Count { min: 1, max: 100 },
            absent: Absent::Is("3"),
            reload: Reload::AtOnce,
            doc: "Failed checks in a row after which a server is down. One that does not answer at all is down after `check_timeout` \
                  twice, if that is sooner.",
        },
        Setting {
            name: "rise",
            form: Form::Count { min: 1, max: 100 },
            absent: Absent::Is("2"),
            reload: Reload::AtOnce,
            doc: "Good checks in a row after which it is up again.",
        },
        Setting {
            name: "connect_timeout",
            form: Form::Duration { min: MILLISECOND, max: HOUR },
            absent: Absent::Is("\"2s\""),
            reload: Reload::NewSessions,
            doc: "How long a connection to a server may take, and then the server to greet. What comes behind that has \
                  `login_timeout`.",
        },
        Setting {
            name: "server_timeout",
            form: Form::Duration { min: Duration::ZERO, max: DAY },
            absent: Absent::Is("\"30s\""),
            reload: Reload::AtOnce,
            doc: "How long a session that cannot leave it, with an open transaction, a temporary table or a lock, stays at a \
                  server that is down: it may go on with them. After that, and at once when another server has become the \
                  primary, the session is told that they are lost, or ended. A statement under way gets its error as soon \
                  as the server is down. A server that answers its checks does not hang: a statement may take there as \
                  long as it likes.",
        },
        Setting {
            name: "max_replica_lag",
            form: Form::Duration { min: Duration::ZERO, max: DAY },
            absent: Absent::Is("\"10s\""),
            reload: Reload::AtOnce,
            doc: "A replica further behind than this, beyond the delay it is configured with, gets no statements until it is closer than \
                  half of it. Measured by what the replica says and by its GTIDs.",
        },
        Setting {
            name: "hold_timeout",
            form: Form::Duration { min: Duration::ZERO, max: HOUR },
            absent: Absent::Is("\"10s\""),
            reload: Reload::AtOnce,
            doc: "How long a session waits for a usable server before it gets an error.",
        },
        Setting {
            name: "donor_reads",
            form: Form::Choice { words: words::<DonorReads>, not_yet: &[] },
            absent: Absent::Is("\"last-resort\""),
            reload: Reload::AtOnce,
            doc: "Topology `\"galera\"`: whether a node gets reads while it gives another one its data, or is out of step by \
                  `wsrep_desync`: it may be behind. `\"last-resort\"`: only when no other node is left, in the pool or its \
                  fallbacks. `\"always\"`: like the others. Writes go there only when it is the last.",
        },
        Setting {
            name: "follow_redirects",
            form: Form::Choice { words: words::<FollowRedirects>, not_yet: &[] },
            absent: Absent::Is("\"configured\""),
            reload: Reload::AtOnce,
            doc: "Where a session goes that a server sends elsewhere when it logs in. `\"configured\"`: to another server of \
                  the cluster. `\"any\"`: also to an address that is not in this file, with the same proof of its password, and \
                  with `tls` as for the server that sent it, for the name it was sent to (of several addresses of that, the first of IPv4 is \
                  the one). So whoever can answer in the place of \
                  a server chooses who gets the logins: have `\"verify-full\"` with it. Sessions there are not split, share \
                  no connections, and do not move.",
        },
        Setting {
            name: "server",
            form: Form::Tables { section: &SERVER, max: limits::SERVERS_PER_CLUSTER_MAX },
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "The members, one `[[cluster.NAME.server]]` each.",
        },
        Setting {
            name: "tls",
            form: Form::Choice { words: words::<ServerDemand>, not_yet: &[] },
            absent: Absent::Is("\"disabled\""),
            reload: Reload::NewSessions,
            doc: "Encryption towards the servers. `\"preferred\"`: if a server offers it. `\"required\"`: always, whoever answers. \
                  `\"verify-ca\"`: and its certificate is of an authority in `tls_ca`. `\"verify-full\"`: and for the host of \
                  its `address`. Over a UNIX socket never. It holds for sessions, health \
                  checks, promotions and the reading of accounts.",
        },
        server_tls(
            "tls_ca",
            "the authorities of the system",
            "The authorities of the servers' certificates, in PEM. A server's own certificate may stand there, too.",
        ),
        server_tls(
            "tls_certificate",
            "none",
            "The certificate that we show to servers, in PEM; see `REQUIRE X509` of their accounts.",
        ),
        server_tls("tls_key", "none", "Its key, in PEM, without a password."),
    ],
};

static MONITOR: Section = Section {
    title: "[cluster.NAME] monitor",
    noun: "monitor",
    doc: "The account that health checks log in with, usually written on one line: \
          `monitor = { user = \"monitor\", password_file = \"monitor.password\" }`. Exactly one of the passwords. \
          With topology `\"replication\"` it needs `REPLICA MONITOR` \
          (MariaDB) or `REPLICATION CLIENT` (MySQL) to see how far replicas are behind; else only to log in.",
    settings: &[
        Setting {
            name: "user",
            form: Form::Text { bytes_max: limits::USER_NAME_BYTES_MAX },
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "Its name at the servers.",
        },
        monitor_password("password", Form::Password, "Its password."),
        monitor_password("password_file", Form::PasswordFile, "A file that holds its password."),
        monitor_password("password_env", Form::PasswordVariable, "An environment variable that holds its password."),
    ],
};

pub(super) static ADMIN_ACCOUNT: Section = Section {
    title: "[cluster.NAME] admin",
    noun: "admin account",
    doc: "The account that promotions are made with. MariaDB: `GRANT REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, REPLICA MONITOR, READ_ONLY \
          ADMIN, CONNECTION ADMIN, PROCESS, RELOAD ON *.*`, and `GRANT SELECT ON mysql.*`, by which those are known, and \
          ended, who may write in spite of `read_only`. MySQL: `GRANT REPLICATION CLIENT, REPLICATION_SLAVE_ADMIN, \
          SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, PROCESS, RELOAD ON *.*`, `SYSTEM_USER` if clients have it, and `GRANT SELECT ON \
          performance_schema.replication_connection_configuration`, without which a heartbeat that was set there becomes one of a second.",
    settings: &[
        Setting {
            name: "user",
            form: Form::Text { bytes_max: limits::USER_NAME_BYTES_MAX },
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "Its name at the servers.",
        },
        monitor_password("password", Form::Password, "Its password."),
        monitor_password("password_file", Form::PasswordFile, "A file that holds its password."),
        monitor_password("password_env", Form::PasswordVariable, "An environment variable that holds its password."),
    ],
};

static REPLICATION_ACCOUNT: Section = Section {
    title: "[cluster.NAME] replication",
    noun: "replication account",
    doc: "The account that replicas log in with at their primary. It needs `REPLICATION SLAVE`.",
    settings: ADMIN_ACCOUNT.settings,
};

/// The health checks are not a session: they use the new one for their next login.
const fn monitor_password(name: &'static str, form: Form, doc: &'static str) -> Setting {
    Setting { reload: Reload::AtOnce, ..password(name, form, doc) }
}
