//! What is configured of TLS, on both sides. The files that are named are read by `tls`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Config, value::Choice};

/// `tls` of a `[[listener]]` and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Whether clients may, or must.
    pub demand: Encryption,
    /// The certificate that clients see; absent: one that is made here.
    pub identity: Option<KeyPairFiles>,
    /// The oldest version that is spoken.
    pub minimum: TlsVersion,
    /// Whose word counts for clients' certificates; absent: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is turned away; only with `client_ca`.
    pub require_client_certificate: bool,
}

/// Whether a listener's clients use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// It is not offered.
    Disabled,
    /// It is offered.
    Preferred,
    /// Whoever does not use it is refused, but over a UNIX socket.
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// Of 2008.
    Tls12,
    /// Of 2018.
    Tls13,
}

/// `tls` of a cluster or a server and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// What is asked of a server.
    pub demand: ServerDemand,
    /// Whose word counts for its certificate; absent: the authorities of the system.
    pub ca: Option<PathBuf>,
    /// Who we are to it; absent: nobody in particular.
    pub identity: Option<KeyPairFiles>,
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerDemand {
    /// Nothing: it is spoken to in clear.
    Disabled,
    /// TLS if it can.
    Preferred,
    /// TLS, with whoever answers.
    Required,
    /// And a certificate of an authority that is known.
    VerifyCa,
    /// And one for its host.
    VerifyFull,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPairFiles {
    /// The certificate, and behind it those between it and its authority.
    pub certificate: PathBuf,
    /// Its key, without a password.
    pub key: PathBuf,
}

impl Choice for Encryption {
    const ALL: &'static [(&'static str, Self)] =
        &[("disabled", Encryption::Disabled), ("preferred", Encryption::Preferred), ("required", Encryption::Required)];
}

impl Choice for TlsVersion {
    const ALL: &'static [(&'static str, Self)] = &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
}

impl Choice for ServerDemand {
    const ALL: &'static [(&'static str, Self)] = &[
        ("disabled", ServerDemand::Disabled),
        ("preferred", ServerDemand::Preferred),
        ("required", ServerDemand::Required),
        ("verify-ca", ServerDemand::VerifyCa),
        ("verify-full", ServerDemand::VerifyFull),
    ];
}

impl fmt::Display for Encryption {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl Config {
    /// Takes relative paths of certificates and keys to be relative to this folder, that of the configuration file.
    pub(super) fn with_files_in(mut self, folder: &Path) -> Config {
        for listener in &mut self.listeners {
            place(&mut listener.tls.identity, &mut listener.tls.client_ca, folder);
        }
        for server in self.clusters.iter_mut().flat_map(|cluster| &mut cluster.servers) {
            place(&mut server.tls.identity, &mut server.tls.ca, folder);
        }
        self
    }
}

fn place(identity: &mut Option<KeyPairFiles>, authorities: &mut Option<PathBuf>, folder: &Path) {
    let paths = identity.iter_mut().flat_map(|files| [&mut files.certificate, &mut files.key]).chain(authorities);
    for path in paths {
        *path = folder.join(&*path);
    }
}
