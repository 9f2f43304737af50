//! All TLS that is in force: read and proven as a whole, and put in the place of the one before as a whole.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::{Back, Front, Identity, Refusal, Stamps};
use crate::config::{Config, Encryption};

/// What listeners say, by their marks ([`Listener::mark`](crate::config::Listener::mark)), and what servers are asked, by their names.
#[derive(Debug, Default)]
pub struct Terms {
    fronts: HashMap<String, (String, Arc<Front>)>,
    backs: HashMap<(String, String), Arc<Back>>,
    stamps: Stamps,
}

impl Terms {
    /// What a listener says; nothing where it has no TLS.
    pub fn front(&self, mark: &str) -> Option<&Arc<Front>> {
        self.fronts.get(mark).map(|(_, front)| front)
    }

    /// What a server of a cluster is asked; nothing where it is spoken to in clear.
    pub fn back(&self, cluster: &str, server: &str) -> Option<&Arc<Back>> {
        self.backs.get(&(cluster.to_owned(), server.to_owned()))
    }
}

/// Makes the terms, and keeps those in force.
#[derive(Debug)]
pub struct Keeper {
    state_directory: PathBuf,
    /// Made when the first listener needs it, and the same from then on.
    own: OnceLock<Arc<Identity>>,
    terms: Arc<ArcSwap<Terms>>,
    /// The files of these terms as they were when they were looked at last.
    seen: Stamps,
}

impl Keeper {
    /// None in force yet.
    pub fn new(state_directory: PathBuf) -> Keeper {
        Keeper { state_directory, own: OnceLock::new(), terms: Arc::default(), seen: Stamps::default() }
    }

    /// Those in force, now and later.
    pub fn terms(&self) -> Arc<ArcSwap<Terms>> {
        Arc::clone(&self.terms)
    }

    /// Reads every file that a configuration names.
    ///
    /// # Errors
    /// The first that cannot be used; nothing has changed.
    pub fn prove(&self, config: &Config) -> Result<Terms, Refusal> {
        prove(config, || self.own())
    }

    fn own(&self) -> Result<Arc<Identity>, Refusal> {
        if let Some(own) = self.own.get() {
            return Ok(Arc::clone(own));
        }
        let made = Arc::new(Identity::own(&self.state_directory)?);
        Ok(Arc::clone(self.own.get_or_init(|| made)))
    }

    /// Puts proven terms in force: for connections that begin now. Those that stand keep what they have agreed on.
    pub fn put_in_force(&mut self, terms: Terms) {
        warn_of_expiry(&terms);
        self.seen = terms.stamps.clone();
        self.terms.store(Arc::new(terms));
    }

    /// Reads the files again if any of them has changed since. What cannot be used changes nothing, and is warned of once.
    pub fn look_at_files(&mut self, config: &Config) {
        let now = self.seen.now();
        if now == self.seen {
            return;
        }
        self.seen = now;
        match self.prove(config) {
            Ok(terms) => {
                self.put_in_force(terms);
                tracing::info!("certificates or keys have changed: new connections get the new ones");
            }
            Err(refusal) => tracing::warn!("{refusal}; the certificates of before stay in use"),
        }
    }

    /// Says which certificates of listeners are about to expire, or have.
    pub fn remind(&self) {
        warn_of_expiry(&self.terms.load());
    }
}

/// Reads every file that a configuration names, and neither keeps nor makes any. Gives what an operator should know of them.
///
/// # Errors
/// The first that cannot be used.
pub fn check(config: &Config) -> Result<Vec<String>, Refusal> {
    let terms = prove(config, || Identity::passing().map(Arc::new))?;
    let about = |(name, front): &(String, Arc<Front>)| {
        expiry(front.identity().days_left()).map(|words| format!("listener {name}: {words}"))
    };
    Ok(terms.fronts.values().filter_map(about).collect())
}

/// `own` is what listeners show that have no certificate configured.
fn prove(config: &Config, own: impl Fn() -> Result<Arc<Identity>, Refusal>) -> Result<Terms, Refusal> {
    let mut terms = Terms::default();
    for listener in config.listeners.iter().filter(|listener| listener.tls.demand != Encryption::Disabled) {
        let identity = match &listener.tls.identity {
            Some(files) => Arc::new(Identity::load(files, &mut terms.stamps)?),
            None => own()?,
        };
        let front = Front::load(&listener.tls, identity, &mut terms.stamps)?;
        terms.fronts.insert(listener.mark(), (listener.name.clone(), Arc::new(front)));
    }
    for cluster in &config.clusters {
        for server in &cluster.servers {
            if let Some(back) = Back::load(&server.tls, &server.address, &mut terms.stamps)? {
                terms.backs.insert((cluster.name.clone(), server.name.clone()), Arc::new(back));
            }
        }
    }
    Ok(terms)
}

fn warn_of_expiry(terms: &Terms) {
    for (listener, front) in terms.fronts.values() {
        let days = front.identity().days_left();
        match expiry(days) {
            Some(words) if days < 0 => tracing::error!(listener, "{words}"),
            Some(words) => tracing::warn!(listener, "{words}"),
            None => {}
        }
    }
}

/// What is to be said of a certificate with so many days left.
fn expiry(days: i64) -> Option<String> {
    match days {
        ..0 => Some("its certificate has expired: clients that verify it turn away".to_owned()),
        0..EXPIRY_WARNING_DAYS => Some(format!("its certificate expires soon: whole days left: {days}")),
        EXPIRY_WARNING_DAYS.. => None,
    }
}

/// Certificates that are valid for fewer days are warned of: public ones last 90, and are renewed 30 before their end.
const EXPIRY_WARNING_DAYS: i64 = 21;
