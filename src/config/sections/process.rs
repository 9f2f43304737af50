//! The process as a whole: `[process]`, `[log]`, `[admin]`, `[limits]`.

use std::time::Duration;

use super::{DAY, HOUR};
use crate::config::limits;
use crate::config::reference::{Absent, Form, Reload, Section, Setting};
use crate::config::value::words;
use crate::config::{IoEngine, LogFormat, LogLevel};

pub(super) static PROCESS: Section = Section {
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
            doc: "How long SIGTERM lets sessions come to an end of their transactions before they are closed. As long a client \
                  that is told to leave, then or by a reload, has to read a reply that its server has finished.",
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

pub(super) static LOG: Section = Section {
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

pub(super) static ADMIN: Section = Section {
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

pub(super) static LIMITS: Section = Section {
    title: "[limits]",
    noun: "limits",
    doc: "Bounds that a site may have to move. The others are constants, below.",
    settings: &[
        Setting {
            name: "login_timeout",
            form: Form::Duration { min: Duration::from_millis(100), max: HOUR },
            absent: Absent::Is("\"10s\""),
            reload: Reload::NewSessions,
            doc: "From a client's connection to its finished login; then it is closed. A second is enough for that where a newcomer \
                  wants the place: when there are `max_sessions`, or half as many clients that have not logged in. A server \
                  that has greeted has as long to let a session in: PAM, or MySQL's connection control, may take its time.",
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
