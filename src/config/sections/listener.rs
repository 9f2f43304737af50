//! Where clients connect to, and from where they may: `[[listener]]`.

use crate::config::reference::{Absent, Form, Reload, Section, Setting};
use crate::config::value::words;
use crate::config::{Encryption, TlsVersion};

pub(super) static LISTENER: Section = Section {
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
pub(super) const fn allow_from(doc: &'static str) -> Setting {
    Setting {
        name: "allow_from",
        form: Form::Networks,
        absent: Absent::Means("every network"),
        reload: Reload::NewSessions,
        doc,
    }
}

/// Who may not.
pub(super) const fn deny_from(doc: &'static str) -> Setting {
    Setting { name: "deny_from", absent: Absent::Means("none"), ..allow_from(doc) }
}
