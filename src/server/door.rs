//! The address of the status page, over the life of the process: the next one is bound before the last one is given up.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::admin::{self, HostName, Question};
use crate::config::Admin;

/// The status page's address, if there is one.
#[derive(Debug)]
pub(super) struct Door {
    questions: mpsc::Sender<Question>,
    name: HostName,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// As configured.
    address: SocketAddr,
    /// With the port that the kernel gave for port 0.
    bound: SocketAddr,
    server: AbortHandle,
}

/// What will be open: all that can fail is done.
#[derive(Debug)]
pub(super) enum Plan {
    /// As it is.
    Same,
    /// Nothing.
    Closed,
    /// Another address, which is bound.
    Other(SocketAddr, TcpListener),
}

/// The address cannot be listened on.
#[derive(Debug)]
pub struct CannotOpen {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub error: io::Error,
}

impl fmt::Display for CannotOpen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[admin] http: cannot listen on {}: {}", self.address, self.error)
    }
}

impl std::error::Error for CannotOpen {}

impl Door {
    /// Closed.
    pub(super) fn new(questions: mpsc::Sender<Question>) -> Door {
        Door { questions, name: HostName::default(), open: None }
    }

    /// Binds what is to be opened.
    pub(super) fn prepare(&self, wanted: &Admin) -> Result<Plan, CannotOpen> {
        match wanted.http {
            None => Ok(Plan::Closed),
            Some(address) if self.open.as_ref().is_some_and(|open| open.address == address) => Ok(Plan::Same),
            Some(address) => match TcpListener::bind(address) {
                Ok(listener) => Ok(Plan::Other(address, listener)),
                Err(error) => Err(CannotOpen { address, error }),
            },
        }
    }

    /// Opens what was planned.
    pub(super) fn swap(&mut self, plan: Plan, wanted: &Admin) {
        self.name.store(wanted.http_host.clone().map(Arc::new));
        match plan {
            Plan::Same => {}
            Plan::Closed => self.open = None,
            Plan::Other(address, listener) => self.open = self.opened(address, listener),
        }
    }

    fn opened(&self, address: SocketAddr, listener: TcpListener) -> Option<Open> {
        let bound = listener.local_addr().unwrap_or(address);
        let served = admin::serve_http(listener, self.questions.clone(), Arc::clone(&self.name));
        let server = tokio::spawn(async move {
            // Without it, clients are still served.
            if let Err(error) = served.await {
                tracing::error!("the status page ended: {error}");
            }
        });
        tracing::info!("status page and metrics: http://{bound}/");
        Some(Open { address, bound, server: server.abort_handle() })
    }

    /// Where it is.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.open.as_ref().map(|open| open.bound)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.server.abort();
    }
}
