//! Health: what the servers say of themselves, turned into the next routing table.
//!
//! One task a server asks it again and again (`watch`); one task owns what is believed of all of them (`keeper`),
//! and is the only one to publish tables. All of it runs on the control thread. What an answer means is decided in
//! `topology`, without a socket; nothing here decides.
//!
//! A monitor can do harm: servers count broken handshakes of a host and lock it out for everybody (`max_connect_errors`,
//! ERROR 1129), and each refused login is a line in a server's error log. So: one connection a server that stays, every
//! handshake finished and every connection ended by COM_QUIT, one login attempt at a time, never given up in its middle
//! because a check is over, and pauses that grow while a server refuses the account.

mod asking;
mod attempt;
mod chronicle;
mod connection;
mod keeper;
mod record;
mod target;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch as latest};

pub use chronicle::{Chronicle, Memoir, Remembrance};

use crate::config::Config;
use crate::reach::Ways;
use crate::topology::{Beliefs, Moment, Redirect, Report, RoutingTable, ServerId, Service, Succession};
use keeper::{Keeper, Order};

/// The health checks of all servers. They end when this is dropped.
#[derive(Debug)]
pub struct Monitor {
    orders: mpsc::Sender<Order>,
    checked: latest::Receiver<bool>,
    kept: Arc<ArcSwap<Vec<Succession>>>,
}

impl Monitor {
    /// Begins to check the servers of `beliefs` and publishes a table each time something changes. Must be called inside
    /// a tokio runtime.
    ///
    /// `wake` is called after each new table. `reports` is what workers tell of servers that failed them. `chronicle` is
    /// where changes of primaries and operators' orders are kept for the next process. `ways` lead to the servers.
    pub fn start(
        beliefs: Beliefs,
        chronicle: Option<Chronicle>,
        ways: Ways,
        publish: Arc<ArcSwap<RoutingTable>>,
        wake: impl Fn() + Send + 'static,
        reports: mpsc::Receiver<Report>,
    ) -> Monitor {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (checked_sender, checked) = latest::channel(false);
        let kept = Arc::default();
        let pen = chronicle.map(|chronicle| chronicle.keep(beliefs.pasts()));
        let keeper = Keeper::new(beliefs, pen, ways, publish, wake, checked_sender, Arc::clone(&kept));
        tokio::spawn(keeper.run(inbox, reports));
        Monitor { orders, checked, kept }
    }

    /// Takes another configuration; its table is published when this returns. What is known of servers that stay is kept.
    pub async fn apply(&self, config: Arc<Config>) {
        self.order(|done| Order::Apply(config, done)).await;
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, obeyed) = oneshot::channel();
        self.orders.send(order(done)).await.expect("the keeper lives as long as its orders can come");
        obeyed.await.expect("the keeper answers every order");
    }

    /// The latest changes of primaries, the last one last.
    pub fn successions(&self) -> Arc<Vec<Succession>> {
        self.kept.load_full()
    }

    /// For whoever changes the primary of a cluster, or gives an operator's order.
    pub fn steering(&self) -> Steering {
        Steering { orders: self.orders.downgrade() }
    }

    /// Waits until every server was asked once, whatever came of it. False when that took longer than `timeout`.
    pub async fn ready(&self, timeout: Duration) -> bool {
        let mut checked = self.checked.clone();
        let all = checked.wait_for(|checked| *checked);
        matches!(tokio::time::timeout(timeout, all).await, Ok(Ok(_)))
    }
}

/// What somebody who changes the primary of a cluster, or gives an operator's order, tells the monitor. Does not keep the
/// monitor alive.
#[derive(Debug, Clone)]
pub struct Steering {
    orders: mpsc::WeakSender<Order>,
}

impl Steering {
    /// No server of the cluster of that name gets new writes from now on, until [`Steering::let_write`]. True when the
    /// table that says so is published.
    pub async fn hold_writes(&self, cluster: &str) -> bool {
        let cluster = cluster.to_owned();
        self.order(|done| Order::HoldWrites(cluster, done)).await
    }

    /// Whoever is the primary of that cluster gets its writes again. `change` says in whose place a server was made that, and
    /// which.
    pub async fn let_write(&self, cluster: &str, change: Option<(ServerId, ServerId)>) -> bool {
        let cluster = cluster.to_owned();
        self.order(|done| Order::LetWrite(cluster, change, done)).await
    }

    /// Takes a server into use, or out of it. When this returns the table that says so is published, and the order written
    /// down for the next process, if that is possible. Nothing, if the monitor has ended.
    pub async fn serve(&self, server: ServerId, service: Service) -> Option<Remembrance> {
        self.ask(|done| Order::Serve(server, service, done)).await
    }

    /// Sends clients elsewhere, or not any more; as above.
    pub async fn redirect(&self, redirect: Redirect) -> Option<Remembrance> {
        self.ask(|done| Order::Redirect(Box::new(redirect), done)).await
    }

    /// Asks these servers again now; true when each was asked after this began, whatever it answered.
    pub async fn check_again(&self, servers: Vec<ServerId>) -> bool {
        self.order(|done| Order::CheckAgain(servers, done)).await
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) -> bool {
        self.ask(order).await.is_some()
    }

    async fn ask<Answer>(&self, order: impl FnOnce(oneshot::Sender<Answer>) -> Order) -> Option<Answer> {
        let orders = self.orders.upgrade()?;
        let (done, obeyed) = oneshot::channel();
        orders.send(order(done)).await.ok()?;
        drop(orders);
        obeyed.await.ok()
    }
}

/// This moment by both clocks.
pub fn this_moment() -> Moment {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment { instant: Instant::now(), wall }
}

/// Orders that wait for the keeper; who sends one more waits too.
const ORDERS_MAX: usize = 8;

#[cfg(test)]
mod tests;
