//! A certificate that signs itself, made for a run, and what trusts it alone.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Whom the certificate is for.
pub(crate) const HOST: &str = "bench.invalid";
/// Sessions that can be gone on with, remembered for one connection.
const REMEMBERED: usize = 8;

/// Of the usual kind: ECDSA over P-256.
pub(crate) struct Certificate {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: Vec<u8>,
    key_pem: String,
}

/// Where its files are.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one, as HAProxy wants it.
    pub(crate) both: PathBuf,
}

impl Certificate {
    pub(crate) fn make() -> Result<Certificate, rcgen::Error> {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        Ok(Certificate {
            certificate: made.cert.der().clone(),
            certificate_pem: made.cert.pem(),
            key: made.signing_key.serialize_der(),
            key_pem: made.signing_key.serialize_pem(),
        })
    }

    pub(crate) fn write(&self, directory: &Path) -> io::Result<Files> {
        let file = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).map(|()| path)
        };
        Ok(Files {
            certificate: file("certificate.pem", &self.certificate_pem)?,
            key: file("key.pem", &self.key_pem)?,
            both: file("both.pem", &format!("{}{}", self.certificate_pem, self.key_pem))?,
        })
    }

    /// Of a server that has it.
    pub(crate) fn for_server(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let config = ServerConfig::builder().with_no_client_auth();
        config.with_single_cert(vec![self.certificate.clone()], key).map(Arc::new)
    }

    /// Of a client that takes nobody else's, and begins anew each time.
    pub(crate) fn for_client(&self) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// The same client, which goes on with its own last sessions.
pub(crate) fn remembering(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::in_memory_sessions(REMEMBERED);
    Arc::new(config)
}
