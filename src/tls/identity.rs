//! A certificate with its key: read from files, or made here where none is configured.
//!
//! What is made here is kept in the state directory, so that clients which remember it find the same one after a restart.
//! It does not expire: nobody would renew what nobody has made.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::{Refusal, Stamps, read};
use crate::config::KeyPairFiles;

/// Who we are to the other side.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    is_made_here: bool,
    subject: String,
    expires: i64,
}

impl Identity {
    /// Reads a certificate, with those between it and its authority behind it, and its key.
    pub(super) fn load(files: &KeyPairFiles, stamps: &mut Stamps) -> Result<Identity, Refusal> {
        let chain = certificates(&files.certificate, stamps)?;
        let key = Zeroizing::new(read(&files.key, stamps)?);
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| Refusal::of(&files.key, format_args!("has no usable key ({error}): write a PEM file")))?;
        Identity::new(chain, key, false).map_err(|why| Refusal::of(&files.certificate, why))
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        is_made_here: bool,
    ) -> Result<Identity, String> {
        let leaf = chain.first().ok_or("has no certificate: write a PEM file with one")?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| format!("is no certificate ({error})"))?;
        let (subject, expires) = (parsed.subject().to_string(), parsed.validity().not_after.timestamp());
        Ok(Identity { chain, key, is_made_here, subject, expires })
    }

    /// The identity that is kept in the state directory, made now if there is none. Where it cannot be kept, clients see
    /// another one after each start, which is warned of.
    pub(super) fn own(state_directory: &Path) -> Result<Identity, Refusal> {
        let path = state_directory.join(OWN_FILE);
        match fs::read(&path).map(Zeroizing::new) {
            Ok(pem) => match Identity::from_own(&pem) {
                Ok(identity) => return Ok(identity),
                Err(why) => tracing::warn!("{} {why}: another certificate takes its place", path.display()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("{} cannot be read: {error}", path.display()),
        }
        let pem = make().map_err(|error| Refusal(format!("no certificate can be made: {error}")))?;
        match keep(&path, &pem) {
            Ok(()) => tracing::info!("made a self-signed certificate, kept in {}", path.display()),
            Err(error) => tracing::warn!(
                "the self-signed certificate cannot be kept in {} ({error}), so clients see another one after each start: \
                 make the folder of `[process] state_directory` writable, or give each listener `tls_certificate` and \
                 `tls_key`",
                path.display()
            ),
        }
        Identity::from_own(&pem).map_err(|why| Refusal(format!("the certificate made here {why}")))
    }

    /// One like those that are made here, kept nowhere.
    pub(super) fn passing() -> Result<Identity, Refusal> {
        let pem = make().map_err(|error| Refusal(format!("no certificate can be made: {error}")))?;
        Identity::from_own(&pem).map_err(|why| Refusal(format!("the certificate made here {why}")))
    }

    fn from_own(pem: &[u8]) -> Result<Identity, String> {
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("has no usable certificate ({error})"))?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("has no usable key ({error})"))?;
        Identity::new(chain, key, true)
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// SHA-256 of the certificate, by which clients of MariaDB know a self-signed one.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.chain[0]).into()
    }

    /// Nobody has given it to us: it was made here, now or by an earlier process.
    pub fn is_made_here(&self) -> bool {
        self.is_made_here
    }

    /// Whom it names.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When it is not valid any more, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.expires
    }

    /// Whole days until then; below zero afterwards.
    pub fn days_left(&self) -> i64 {
        const DAY: i64 = 24 * 3600;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
        (self.expires - now).div_euclid(DAY)
    }
}

/// The certificates of a PEM file; at least one.
pub(super) fn certificates(path: &Path, stamps: &mut Stamps) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let pem = read(path, stamps)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| Refusal::of(path, format_args!("has no usable certificate ({error})")))?;
    match found.is_empty() {
        true => Err(Refusal::of(path, "has no certificate: write a PEM file with one")),
        false => Ok(found),
    }
}

/// In the state directory: the certificate and its key, in PEM.
const OWN_FILE: &str = "self-signed.pem";

/// A new key and a certificate of it, in PEM.
fn make() -> Result<Zeroizing<Vec<u8>>, rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(vec!["sqluice".to_owned()])?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "sqluice self-signed");
    let certificate = parameters.self_signed(&key)?;
    let pem = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new([certificate.pem().as_bytes(), pem.as_bytes()].concat()))
}

/// Puts the file there whole or not at all, for the owner of the process alone.
fn keep(path: &Path, pem: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("a file in a folder has one");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    // One that an earlier process of the same number has left.
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(pem)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
