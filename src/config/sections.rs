//! Every setting there is, table by table. [`reference`](super::reference) says what the columns mean.

use std::time::Duration;

use super::limits;
use super::reference::{Absent, Form, Reload, Section, Setting};
use super::value::words;
use super::{
    Balance, DonorReads, Encryption, Failover, FollowRedirects, IoEngine, LogFormat, LogLevel, RedirectMode,
    RedirectUrl, Reuse, Role, RoleSetting, SendProxy, ServerDemand, SourceWord, TlsVersion, Topology,
};

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

static PROCESS: Section = Section {
    title: "[process]",
    noun: "process",
    doc: "The process itself.",
    settings: &[
        Setting {
            name: "workers",
            form: Form::CountOrAuto { max: limits::WORKERS_MAX as u32 },
            absent: Absent::Is("\"auto\""),
            reload: Reload::NextStart,
            doc: "Data path threads. `\"auto\"`: one per online CPU.",
        },
        Setting {
            name: "pin_workers",
            form: Form::Boolean,
            absent: Absent::Is("true"),
            reload: Reload::NextStart,
            doc: "Each worker stays on a CPU of its own.",
        },
        Setting {
            name: "busy_poll",
            form: Form::Boolean,
            absent: Absent::Is("true"),
            reload: Reload::NextStart,
            doc: "A worker with nothing to do looks for what comes next before it sleeps: for twice the time that a wake-up takes, \
                  measured at start, and 100 µs at most. It stops where that does not pay; looks in vain take less than 2 % of a \
                  CPU. Replies to a few busy clients come much sooner, above all on virtual machines.",
        },
        Setting {
            name: "io",
            form: Form::Choice { words: words::<IoEngine>, not_yet: &[] },
            absent: Absent::Is("\"auto\""),
            reload: Reload::NextStart,
            doc: "The way to the kernel. `\"auto\"`: io_uring where the kernel allows it, else epoll; the log says which.",
        },
        Setting {
            name: "max_sessions",
            form: Form::Count { min: 1, max: limits::SESSIONS_MAX },
            absent: Absent::Is("10000"),
            reload: Reload::NextStart,
            doc: "Client connections of the whole process; further clients get error 1040. The memory for it is printed at start.",
        },
        Setting {
            name: "shutdown_timeout",
            form: Form::Duration { min: Duration::ZERO, max: DAY },
            absent: Absent::Is("\"30s\""),
            reload: Reload::AtOnce,
            doc: "How long SIGTERM lets sessions come to an end of their transactions before they are closed.",
        },
        Setting {
            name: "server_version",
            form: Form::Text { bytes_max: limits::SERVER_VERSION_BYTES_MAX },
            absent: Absent::Means("that of the servers"),
            reload: Reload::NewSessions,
            doc: "The version that clients are told. Some connectors choose their dialect by it.",
        },
        Setting {
            name: "state_directory",
            form: Form::Folder,
            absent: Absent::Is("\"/var/lib/sqluice\""),
            reload: Reload::NextStart,
            doc: "Where what must outlive the process is kept: the self-signed certificate, which servers of topology \
                  `\"replication\"` were replaced as primaries, and what operators have said by `sqluice drain`, `disable` and \
                  `failover`. Made at start if it can be. Where it cannot be written, the log \
                  says what is lost by that.",
        },
        Setting {
            name: "core_dumps",
            form: Form::Boolean,
            absent: Absent::Is("false"),
            reload: Reload::NextStart,
            doc: "Whether a crash may leave the memory of the process, with passwords and keys in it, behind in a file. With `false` \
                  it also cannot be looked into by others than root (`PR_SET_DUMPABLE`): not by `gdb` or `strace` of its own user.",
        },
    ],
};

static LOG: Section = Section {
    title: "[log]",
    noun: "log",
    doc: "The log goes to stderr.",
    settings: &[
        Setting {
            name: "level",
            form: Form::Choice { words: words::<LogLevel>, not_yet: &[] },
            absent: Absent::Is("\"info\""),
            reload: Reload::AtOnce,
            doc: "The least important line that is still written.",
        },
        Setting {
            name: "format",
            form: Form::Choice { words: words::<LogFormat>, not_yet: &[] },
            absent: Absent::Is("\"text\""),
            reload: Reload::NextStart,
            doc: "For people or for a log collector.",
        },
        Setting {
            name: "access",
            form: Form::Only("off"),
            absent: Absent::Is("\"off\""),
            reload: Reload::AtOnce,
            doc: "A file with one line a session: not available yet.",
        },
    ],
};

static ADMIN: Section = Section {
    title: "[admin]",
    noun: "admin",
    doc: "The door for the operator's own commands, like `sqluice status`.",
    settings: &[
        Setting {
            name: "socket",
            form: Form::SocketPath,
            absent: Absent::Is("\"/run/sqluice/admin.sock\""),
            reload: Reload::NextStart,
            doc: "A UNIX socket (mode 0600) that speaks HTTP and JSON.",
        },
        Setting {
            name: "http",
            form: Form::TcpAddress,
            absent: Absent::Means("none"),
            reload: Reload::AtOnce,
            doc: "Where browsers get a status page and Prometheus gets `/metrics`. Nothing can be changed there, and everybody \
                  who reaches it may read: names of users, addresses of clients and servers, but no password and no statement.",
        },
        Setting {
            name: "http_host",
            form: Form::Text { bytes_max: limits::HOST_NAME_BYTES_MAX },
            absent: Absent::Means("none"),
            reload: Reload::AtOnce,
            doc: "The name by which browsers and scrapers ask for `http`, like `lb1.example.com`. By others than this, IP \
                  addresses and `localhost` they are refused, so that no web page can read it through a name of its own.",
        },
    ],
};

static INSTANT_FAILOVER: Section = Section {
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

static LISTENER: Section = Section {
    title: "[[listener]]",
    noun: "listener",
    doc: "An address clients connect to. At least one. A reload opens and closes listeners; sessions stay.",
    settings: &[
        Setting {
            name: "name",
            form: Form::Name,
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "Unique among the listeners.",
        },
        Setting {
            name: "address",
            form: Form::ListenAddress,
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "Where it listens. Port 0 lets the kernel choose.",
        },
        Setting {
            name: "extra",
            form: Form::Boolean,
            absent: Absent::Is("false"),
            reload: Reload::AtOnce,
            doc: "An administrative port, exempt from instant failover mode `\"on\"`.",
        },
        Setting {
            name: "tls",
            form: Form::Choice { words: words::<Encryption>, not_yet: &[] },
            absent: Absent::Is("\"preferred\""),
            reload: Reload::NewSessions,
            doc: "Encryption towards clients. `\"preferred\"`: for those that ask for it. `\"required\"`: whoever does not gets \
                  error 3159, but over a UNIX socket. `\"disabled\"`: not offered; clients of MariaDB 11.4 and later then \
                  need `--skip-ssl`.",
        },
        Setting {
            name: "tls_certificate",
            form: Form::PemFile,
            absent: Absent::Means("a self-signed one, made at the first start and kept in `state_directory`"),
            reload: Reload::NewSessions,
            doc: "The certificate that clients see, in PEM, with those between it and its authority behind it. This file and \
                  the others of TLS are read at start, at each reload, and within seconds after they have changed. To the \
                  self-signed one stock clients of MariaDB 11.4 and later need not be told anything: they know by \
                  their own password that it is the right one.",
        },
        Setting {
            name: "tls_key",
            form: Form::PemFile,
            absent: Absent::Means("that of the self-signed certificate"),
            reload: Reload::NewSessions,
            doc: "Its key, in PEM, without a password.",
        },
        Setting {
            name: "tls_minimum",
            form: Form::Choice { words: words::<TlsVersion>, not_yet: &[] },
            absent: Absent::Is("\"1.2\""),
            reload: Reload::NewSessions,
            doc: "The oldest version of TLS that is spoken with clients.",
        },
        Setting {
            name: "tls_client_ca",
            form: Form::PemFile,
            absent: Absent::Means("clients are not asked for a certificate"),
            reload: Reload::NewSessions,
            doc: "The authorities of clients' certificates, in PEM. A certificate of anybody else ends the connection.",
        },
        Setting {
            name: "require_client_certificate",
            form: Form::Boolean,
            absent: Absent::Is("false"),
            reload: Reload::NewSessions,
            doc: "With `tls_client_ca`: a client that uses TLS must have a certificate. With `tls = \"required\"`, every one.",
        },
        Setting {
            name: "proxy_protocol_from",
            form: Form::Networks,
            absent: Absent::Means("none"),
            reload: Reload::NewSessions,
            doc: "The networks of balancers in front of this one. Whoever connects from there has to begin with a header of the \
                  PROXY protocol (v1 or v2; HAProxy: `send-proxy`, `send-proxy-v2`), and its client's address is then the one \
                  in it: for all lists of networks and limits, the log, `sqluice sessions` and the servers' `send_proxy`. A \
                  connection from there without a right header is closed. From elsewhere no header is believed: it is \
                  a broken login.",
        },
        allow_from("Only clients from these networks may connect; others get error 1130. Not for UNIX sockets."),
        deny_from("Clients from these networks may not, also where they are in `allow_from`."),
    ],
};

/// Who may come: a list that lets in.
const fn allow_from(doc: &'static str) -> Setting {
    Setting {
        name: "allow_from",
        form: Form::Networks,
        absent: Absent::Means("every network"),
        reload: Reload::NewSessions,
        doc,
    }
}

/// Who may not.
const fn deny_from(doc: &'static str) -> Setting {
    Setting { name: "deny_from", absent: Absent::Means("none"), ..allow_from(doc) }
}

static CLUSTER: Section = Section {
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
                  is followed. `\"manual\"`: an operator, with `sqluice switchover SERVER`. `\"automatic\"`: also this \
                  process, when the primary is down after `fall` checks, no replica receives from it any more, and more \
                  than half of the servers can be locked; three servers at least. The servers must reach each other at \
                  the addresses that stand here.",
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
            doc: "When a check without an answer has failed.",
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
            doc: "How long a connection to a server may take, up to the server's greeting.",
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
                  with `tls` as for the server that sent it, for the name it was sent to. So whoever can answer in the place of \
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

static ADMIN_ACCOUNT: Section = Section {
    title: "[cluster.NAME] admin",
    noun: "admin account",
    doc: "The account that promotions are made with. MariaDB: `GRANT REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, REPLICA MONITOR, READ_ONLY \
          ADMIN, CONNECTION ADMIN, PROCESS, RELOAD ON *.*`, and `GRANT SELECT ON mysql.*`, by which those are known, and \
          ended, who may write in spite of `read_only`. MySQL: `GRANT REPLICATION CLIENT, REPLICATION_SLAVE_ADMIN, \
          SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, PROCESS, RELOAD ON *.*`, and `SYSTEM_USER` if clients have it.",
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

/// Passwords come in several forms, of which the sections say how many are needed.
const fn password(name: &'static str, form: Form, doc: &'static str) -> Setting {
    Setting { name, form, absent: Absent::Means("another form"), reload: Reload::NewSessions, doc }
}

/// A file of TLS towards servers.
const fn server_tls(name: &'static str, absent: &'static str, doc: &'static str) -> Setting {
    Setting { name, form: Form::PemFile, absent: Absent::Means(absent), reload: Reload::NewSessions, doc }
}

/// The health checks are not a session: they use the new one for their next login.
const fn monitor_password(name: &'static str, form: Form, doc: &'static str) -> Setting {
    Setting { reload: Reload::AtOnce, ..password(name, form, doc) }
}

const fn backend_password(name: &'static str, form: Form, doc: &'static str) -> Setting {
    Setting { absent: Absent::Means("the client's own"), ..password(name, form, doc) }
}

static SERVER: Section = Section {
    title: "[[cluster.NAME.server]]",
    noun: "server",
    doc: "One mysqld or mariadbd. Sessions on a server that a reload removes end there after their current transaction.",
    settings: &[
        Setting {
            name: "name",
            form: Form::Name,
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "Unique in its cluster; commands and the log say `NAME` or `CLUSTER/NAME`.",
        },
        Setting {
            name: "address",
            form: Form::ServerAddress,
            absent: Absent::Refused,
            reload: Reload::AtOnce,
            doc: "Unique in its cluster.",
        },
        Setting {
            name: "weight",
            form: Form::Count { min: 0, max: limits::WEIGHT_MAX },
            absent: Absent::Is("100"),
            reload: Reload::NewSessions,
            doc: "Its share of the sessions compared to the other members of a pool. 0: a spare, only used when no usable member \
                  has more.",
        },
        Setting {
            name: "role",
            form: Form::Choice { words: words::<RoleSetting>, not_yet: &[] },
            absent: Absent::Is("\"auto\""),
            reload: Reload::AtOnce,
            doc: "`\"auto\"`: the server itself tells. Topology `\"static\"` needs one of the others. One server of a cluster at \
                  most can be `\"primary\"`; a Galera node that is has the writes whenever it is in step, also when it comes back, \
                  and one that is `\"replica\"` never has them.",
        },
        Setting {
            name: "max_connections",
            form: Form::Count { min: 0, max: limits::SESSIONS_MAX },
            absent: Absent::Is("0"),
            reload: Reload::NewSessions,
            doc: "Connections that this process opens to it at most. 0: unlimited.",
        },
        Setting {
            name: "priority",
            form: Form::Count { min: 0, max: limits::PRIORITY_MAX },
            absent: Absent::Is("100"),
            reload: Reload::AtOnce,
            doc: "With `failover`: of replicas that are equally far the one with the most is promoted. 0: never.",
        },
        Setting {
            name: "extra_port",
            form: Form::Count { min: 0, max: u16::MAX as u32 },
            absent: Absent::Is("0"),
            reload: Reload::AtOnce,
            doc: "MariaDB's `extra_port`: health checks log in there while the server refuses them with 1040, since all of its \
                  `max_connections` are taken. 0: it has none. Sessions never use it.",
        },
        Setting {
            name: "send_proxy",
            form: Form::Choice { words: words::<SendProxy>, not_yet: &[] },
            absent: Absent::Is("\"off\""),
            reload: Reload::NewSessions,
            doc: "Whether each connection to it begins with a header of the PROXY protocol that names the client's address, so \
                  that accounts by host and the server's own lists are about that. For MariaDB with \
                  `proxy_protocol_networks`, Percona Server, and balancers; others take it for a broken login. Health checks say \
                  that they are for nobody (`LOCAL`, v1: `UNKNOWN`), promotions connect without. Not over UNIX sockets. Connections that are lent \
                  (`backend_reuse`) are lent to sessions of the same client address only.",
        },
        Setting {
            name: "tls",
            form: Form::Choice { words: words::<ServerDemand>, not_yet: &[] },
            absent: Absent::Means("that of its cluster"),
            reload: Reload::NewSessions,
            doc: "Encryption towards this server, as above.",
        },
        server_tls("tls_ca", "that of its cluster", "The authorities of its certificate."),
        server_tls("tls_certificate", "that of its cluster", "The certificate that we show to it."),
        server_tls("tls_key", "that of its cluster", "Its key."),
    ],
};

static POOL: Section = Section {
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

static USER: Section = Section {
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

static USERS: Section = Section {
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
                  somebody is not found or not believed, at most every 2 s. Whether an account is locked or expired its server says at \
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
            doc: "With source `\"servers\"`: how often the accounts are read when nobody is missed.",
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

static LIMITS: Section = Section {
    title: "[limits]",
    noun: "limits",
    doc: "Bounds that a site may have to move. The others are constants, below.",
    settings: &[
        Setting {
            name: "login_timeout",
            form: Form::Duration { min: Duration::from_millis(100), max: HOUR },
            absent: Absent::Is("\"10s\""),
            reload: Reload::NewSessions,
            doc: "From a client's connection to its finished login; then it is closed.",
        },
        Setting {
            name: "failed_logins",
            form: Form::Count { min: 0, max: 1_000_000 },
            absent: Absent::Is("600"),
            reload: Reload::NewSessions,
            doc: "Logins of one address that may fail in a minute, of one IPv6 network of 64 bits together. Beyond them its \
                  new connections get error 1129 until enough of the minute has passed; sessions that are there stay. Where clients come \
                  through one address, a balancer's or a gateway's, one of them can use up what all have: see \
                  `proxy_protocol_from`. 0: any number. Not for UNIX sockets.",
        },
        Setting {
            name: "connections_per_address",
            form: Form::Count { min: 0, max: limits::SESSIONS_MAX },
            absent: Absent::Is("0"),
            reload: Reload::NewSessions,
            doc: "Connections that one address, or one IPv6 network of 64 bits, may have at once; the next one gets error 1040. \
                  0: any number. Not for UNIX sockets.",
        },
    ],
};

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
