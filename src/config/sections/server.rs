//! One server of a cluster: `[[cluster.NAME.server]]`.

use crate::config::limits;
use crate::config::reference::{Absent, Form, Reload, Section, Setting};
use crate::config::value::words;
use crate::config::{RoleSetting, SendProxy, ServerDemand};

pub(super) static SERVER: Section = Section {
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
            doc: "Unique in its cluster. A name is looked up again with each new connection of the health checks. Of several addresses \
                  the first that answers is used, by sessions as well.",
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

/// A file of TLS towards servers.
pub(super) const fn server_tls(name: &'static str, absent: &'static str, doc: &'static str) -> Setting {
    Setting { name, form: Form::PemFile, absent: Absent::Means(absent), reload: Reload::NewSessions, doc }
}
