//! What a listener says in a handshake.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::{Identity, Refusal, Stamps, identity, provider};
use crate::config::{Encryption, ListenerTls, TlsVersion};

/// A listener's side of TLS.
#[derive(Debug)]
pub struct Front {
    config: Arc<ServerConfig>,
    demand: Encryption,
    identity: Arc<Identity>,
    fingerprint: [u8; 32],
}

impl Front {
    pub(super) fn load(settings: &ListenerTls, identity: Arc<Identity>, stamps: &mut Stamps) -> Result<Front, Refusal> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(settings.minimum))
            .map_err(|error| Refusal(error.to_string()))?;
        let builder = match client_verifier(settings, stamps)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(identity.chain(), identity.key()).map_err(|error| {
            Refusal(format!("the certificate of {} and its key cannot be used: {error}", identity.subject()))
        })?;
        // A ticket holds the session's secrets under a key of ours: nothing is kept here, and any worker resumes it.
        config.ticketer = Ticketer::new().map_err(|error| Refusal(error.to_string()))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Clients of this protocol open one connection by one.
        config.send_tls13_tickets = 1;
        let fingerprint = identity.fingerprint();
        Ok(Front { config: Arc::new(config), demand: settings.demand, identity, fingerprint })
    }

    pub(super) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Whether a client may do without it.
    pub fn demand(&self) -> Encryption {
        self.demand
    }

    /// The certificate that clients see.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// SHA-256 of that certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

fn client_verifier(
    settings: &ListenerTls,
    stamps: &mut Stamps,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Refusal> {
    let Some(authorities) = &settings.client_ca else { return Ok(None) };
    let roots = Arc::new(roots(authorities, stamps)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = match settings.require_client_certificate {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    builder.build().map(Some).map_err(|error| Refusal::of(authorities, error))
}

/// The authorities of a PEM file.
pub(super) fn roots(path: &std::path::Path, stamps: &mut Stamps) -> Result<RootCertStore, Refusal> {
    let mut roots = RootCertStore::empty();
    for certificate in identity::certificates(path, stamps)? {
        roots.add(certificate).map_err(|error| Refusal::of(path, format_args!("has no usable authority: {error}")))?;
    }
    Ok(roots)
}

fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match minimum {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &BOTH[..1],
    }
}
