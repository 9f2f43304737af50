//! TLS of a seed: towards clients, towards servers, both, or mostly none. The far ends have terms of their own, read from
//! files as those of the worker are.

use std::{
    fs,
    sync::{Arc, LazyLock},
};

use arc_swap::ArcSwap;
use tempfile::TempDir;

use super::super::testing;
use crate::{
    config::Config,
    tls::{Back, Front, Keeper, Terms},
};

pub(super) struct Sealing {
    folder: TempDir,
    /// The worker offers it to clients.
    pub(super) clients: bool,
    /// Most servers offer it to the worker, which wants it.
    pub(super) servers: bool,
}

/// What clients and servers have of TLS.
#[derive(Clone)]
pub(super) struct FarTerms {
    pub(super) front: Arc<Front>,
    pub(super) back: Arc<Back>,
}

/// A certificate and its key. Signatures of this kind are all of one length, so that a seed tells the same story each time.
static PAIR: LazyLock<[String; 2]> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let parameters = rcgen::CertificateParams::new(vec!["sqluice".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    [certificate.pem(), key.serialize_pem()]
});

impl Sealing {
    pub(super) fn of(seed: u64) -> Sealing {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let [certificate, key] = &*PAIR;
        fs::write(folder.path().join("own.pem"), certificate).expect("the file can be written");
        fs::write(folder.path().join("own.key"), key).expect("the file can be written");
        let place = seed % 6;
        Sealing { folder, clients: matches!(place, 3 | 5), servers: matches!(place, 4 | 5) }
    }

    /// What a configuration says of the listener.
    pub(super) fn of_listener(&self) -> String {
        match self.clients {
            true => self.pair(),
            false => "tls = \"disabled\"\n".to_owned(),
        }
    }

    /// The same of each server.
    pub(super) fn of_server(&self) -> &'static str {
        if self.servers { "tls = \"preferred\"\n" } else { "" }
    }

    fn pair(&self) -> String {
        let folder = self.folder.path().display();
        format!("tls = \"preferred\"\ntls_certificate = \"{folder}/own.pem\"\ntls_key = \"{folder}/own.key\"\n")
    }

    /// Those that a configuration asks for.
    pub(super) fn terms(&self, config: &Config) -> Arc<ArcSwap<Terms>> {
        let terms = Keeper::new(self.folder.path().to_owned()).prove(config).expect("good files");
        Arc::new(ArcSwap::from_pointee(terms))
    }

    pub(super) fn far_terms(&self) -> FarTerms {
        let pair = self.pair();
        let config = testing::parse(&format!(
            "[[listener]]\nname = \"far\"\naddress = \"127.0.0.1:0\"\n{pair}\
             [cluster.far]\ntopology = \"static\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n\
             [[cluster.far.server]]\nname = \"db\"\naddress = \"127.0.0.1:1\"\nrole = \"replica\"\ntls = \"required\"\n\
             [pool.main]\ncluster = \"far\"\nrole = \"replica\"\n\
             [[user]]\nname = \"app\"\npassword = \"secret\"\npool = \"main\"\n"
        ));
        let terms = self.terms(&config).load_full();
        let front = terms.front(&config.listeners[0].mark()).expect("the listener has TLS");
        let back = terms.back("far", "db").expect("the server has TLS");
        FarTerms { front: front.clone(), back: back.clone() }
    }
}
