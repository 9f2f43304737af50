//! What a server is asked to prove, and who we are to it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::{Identity, Refusal, Stamps, front, identity, provider};
use crate::config::{ServerAddress, ServerDemand, ServerTls};

/// Our side of TLS towards a server.
#[derive(Debug)]
pub struct Back {
    config: Arc<ClientConfig>,
    demand: ServerDemand,
    name: ServerName<'static>,
}

impl Back {
    /// Nothing for a server that is not to be spoken to so, or is reached over a UNIX socket.
    pub(super) fn load(
        settings: &ServerTls,
        address: &ServerAddress,
        stamps: &mut Stamps,
    ) -> Result<Option<Back>, Refusal> {
        let ServerAddress::Tcp { host, .. } = address else { return Ok(None) };
        if settings.demand == ServerDemand::Disabled {
            return Ok(None);
        }
        let name = name(host, settings.demand)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Refusal(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Judge::load(settings, stamps)?));
        let config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let identity = Identity::load(files, stamps)?;
                let config = builder.with_client_auth_cert(identity.chain(), identity.key());
                config.map_err(|error| Refusal::of(&files.certificate, format_args!("cannot be used: {error}")))?
            }
        };
        Ok(Some(Back { config: Arc::new(config), demand: settings.demand, name }))
    }

    /// The same towards another host, which has to prove its own name.
    ///
    /// # Errors
    /// No certificate can be for that host, where one is asked for.
    pub fn towards(&self, host: &str) -> Result<Back, Refusal> {
        Ok(Back { config: Arc::clone(&self.config), demand: self.demand, name: name(host, self.demand)? })
    }

    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// What holds if the server cannot do it.
    pub fn demand(&self) -> ServerDemand {
        self.demand
    }
}

/// The name that a certificate must have, and that the server is told.
fn name(host: &str, demand: ServerDemand) -> Result<ServerName<'static>, Refusal> {
    match ServerName::try_from(host.to_owned()) {
        Ok(name) => Ok(name),
        Err(_) if demand == ServerDemand::VerifyFull => Err(Refusal(format!(
            "no certificate can be for the host {host:?}: write its name in the DNS, or `tls = \"verify-ca\"`"
        ))),
        Err(_) => Ok(ServerName::from(IpAddr::from([0, 0, 0, 0]))),
    }
}

/// Decides whether a server is the one that is meant.
#[derive(Debug)]
enum Judge {
    /// Nobody is asked: what is said is hidden from those who listen, not from one who stands between.
    Anybody,
    /// Whoever has a certificate of these authorities, or one of these certificates itself.
    Known { verifier: Arc<WebPkiServerVerifier>, pinned: Vec<CertificateDer<'static>>, naming: Naming },
}

/// Whether the certificate must be for the configured host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    Any,
    Exact,
}

impl Judge {
    fn load(settings: &ServerTls, stamps: &mut Stamps) -> Result<Judge, Refusal> {
        let naming = match settings.demand {
            ServerDemand::Disabled | ServerDemand::Preferred | ServerDemand::Required => return Ok(Judge::Anybody),
            ServerDemand::VerifyCa => Naming::Any,
            ServerDemand::VerifyFull => Naming::Exact,
        };
        let authorities = settings.ca.as_deref().unwrap_or(Path::new(SYSTEM_AUTHORITIES));
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(front::roots(authorities, stamps)?), provider());
        let verifier = verifier.build().map_err(|error| Refusal::of(authorities, error))?;
        Ok(Judge::Known { verifier, pinned: identity::certificates(authorities, stamps)?, naming })
    }
}

/// Where Debian and its kin keep the public authorities, for a server whose certificate one of them has signed.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Judge::Known { verifier, pinned, naming } = self else { return Ok(ServerCertVerified::assertion()) };
        // A server's own certificate that stands in the file needs nobody's word; an authority's rules do not fit it.
        if pinned.iter().any(|known| known == leaf) {
            return match naming {
                Naming::Any => Ok(ServerCertVerified::assertion()),
                Naming::Exact => verify_server_name(&ParsedCertificate::try_from(leaf)?, name)
                    .map(|()| ServerCertVerified::assertion()),
            };
        }
        // The chain is looked at before the name.
        match (verifier.verify_server_cert(leaf, intermediates, name, ocsp, now), naming) {
            (Err(Error::InvalidCertificate(error)), Naming::Any) if is_about_name(&error) => {
                Ok(ServerCertVerified::assertion())
            }
            (verdict, _) => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            // Nothing is known of the key, so its signature says nothing.
            Judge::Anybody => Ok(HandshakeSignatureValid::assertion()),
            Judge::Known { verifier, .. } => verifier.verify_tls12_signature(message, certificate, signature),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Judge::Anybody => Ok(HandshakeSignatureValid::assertion()),
            Judge::Known { verifier, .. } => verifier.verify_tls13_signature(message, certificate, signature),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn is_about_name(error: &CertificateError) -> bool {
    matches!(error, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}
