//! What the next process must know of this one: the primaries of the clusters, and what operators have ordered.
//!
//! Two small files in a folder that only one process has. Where they cannot be kept the process goes on, and says what is
//! lost by that. They are read once; primaries are written when one has changed, orders before they are acknowledged.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch as latest};

use super::record::Record;
use crate::topology::Orders;
use crate::topology::replication::Pasts;

/// The files, while no other process has them.
#[derive(Debug)]
pub struct Chronicle {
    primaries: Record,
    orders: Record,
    /// What the file of orders says.
    found: Orders,
    /// Held as long as anything of this lives.
    lock: Arc<File>,
}

/// What the process before has left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memoir {
    /// Of the clusters' primaries.
    pub pasts: Pasts,
    /// Of its operators.
    pub orders: Orders,
}

/// Whether an operator's order outlives this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembrance {
    /// It is on the disk.
    Kept,
    /// A restart forgets it; the text says why.
    UntilRestart(String),
}

impl Chronicle {
    /// Takes the files of a folder, which is made if need be, and reads what is there. Without a folder that can be written,
    /// or that another process has, there is none, and a warning says what that means.
    pub fn open(folder: &Path) -> Option<(Chronicle, Memoir)> {
        match Chronicle::take(folder) {
            Ok(mut chronicle) => {
                let memoir = chronicle.read();
                chronicle.found = memoir.orders.clone();
                Some((chronicle, memoir))
            }
            Err(error) => {
                tracing::warn!(
                    "{}: {error}: who was replaced as a primary, and which servers an operator took out of use, is \
                     forgotten when this process ends, and what an earlier one knew of it is not known; give it a folder \
                     of its own that it can write, as `[process] state_directory`",
                    folder.display()
                );
                None
            }
        }
    }

    fn take(folder: &Path) -> io::Result<Chronicle> {
        fs::create_dir_all(folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK_NAME))?;
        match lock.try_lock() {
            Ok(()) => Ok(Chronicle {
                primaries: Record::new(folder, PRIMARIES_NAME),
                orders: Record::new(folder, ORDERS_NAME),
                found: Orders::default(),
                lock: Arc::new(lock),
            }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("another process uses it")),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn read(&self) -> Memoir {
        let pasts = self.primaries.read().unwrap_or_else(|why| {
            tracing::warn!(
                "{}: {why}: who was replaced as a primary before is not known",
                self.primaries.path().display()
            );
            Pasts::default()
        });
        let orders = self.orders.read().unwrap_or_else(|why| {
            tracing::error!(
                "{}: {why}: which servers were drained or disabled before the start, and where clients were sent, is not \
                 known: all servers are used, and clients are treated as the file says; say it again where need be",
                self.orders.path().display()
            );
            Orders::default()
        });
        Memoir { pasts, orders }
    }

    /// Keeps what changes from now on. Must be called inside a tokio runtime.
    pub(super) fn keep(self, known: Pasts) -> Pen {
        let Chronicle { primaries, orders, found, lock } = self;
        let (pasts, changes) = latest::channel(known);
        tokio::spawn(keep_primaries(primaries, changes, Arc::clone(&lock)));
        let (given, inbox) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(keep_orders(orders, inbox, lock));
        Pen { pasts, found, orders: given }
    }
}

/// Writes for the next process.
#[derive(Debug)]
pub(super) struct Pen {
    /// The latest of the primaries.
    pub(super) pasts: latest::Sender<Pasts>,
    /// The orders that the process before has left.
    pub(super) found: Orders,
    orders: mpsc::Sender<(Orders, oneshot::Sender<Remembrance>)>,
}

impl Pen {
    /// Writes all orders down; `done` hears what came of that.
    pub(super) fn write_orders(&self, orders: Orders, done: oneshot::Sender<Remembrance>) {
        if let Err(refused) = self.orders.try_send((orders, done)) {
            let (_, done) = refused.into_inner();
            // Who gave the order may have gone away.
            let _ = done.send(Remembrance::UntilRestart("orders before it are still being written".to_owned()));
        }
    }
}

async fn keep_primaries(record: Record, mut pasts: latest::Receiver<Pasts>, _lock: Arc<File>) {
    while pasts.changed().await.is_ok() {
        let now = pasts.borrow_and_update().clone();
        if let Err(error) = record.write(&now).await {
            tracing::warn!("{}: {error}: this change of a primary is not remembered", record.path().display());
        }
    }
}

async fn keep_orders(
    record: Record,
    mut orders: mpsc::Receiver<(Orders, oneshot::Sender<Remembrance>)>,
    _lock: Arc<File>,
) {
    while let Some((now, done)) = orders.recv().await {
        let remembrance = match record.write(&now).await {
            Ok(()) => Remembrance::Kept,
            Err(error) => {
                let why = format!("{}: {error}", record.path().display());
                tracing::warn!("{why}: this order is forgotten at a restart");
                Remembrance::UntilRestart(why)
            }
        };
        // As above.
        let _ = done.send(remembrance);
    }
}

const PRIMARIES_NAME: &str = "primaries.json";
const ORDERS_NAME: &str = "orders.json";
/// Of both files.
const LOCK_NAME: &str = "primaries.lock";

/// Orders that wait to be written.
const ORDERS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::topology::replication::Past;
    use crate::topology::testing::config;
    use crate::topology::{Beliefs, Moment, Service};

    fn pasts() -> Pasts {
        let fenced = [("db1".to_owned(), Some("0-1-9".to_owned())), ("db3".to_owned(), None)].into();
        [("shop".to_owned(), Past { writer: "db2".to_owned(), fenced, replaced: Some("db1".to_owned()) })].into()
    }

    /// Somebody has taken the only server out of use.
    fn orders() -> Orders {
        let now = Moment { instant: Instant::now(), wall: Duration::from_secs(1_000) };
        let mut beliefs = Beliefs::new(config(&["name = \"db1\"\naddress = \"10.0.0.1:3306\""]), now.instant);
        let server = beliefs.ids().next().expect("there is one");
        beliefs.serve(server, Service::OutOfUse { since: now.instant });
        beliefs.orders(now)
    }

    async fn opened(folder: &Path) -> Memoir {
        loop {
            match Chronicle::open(folder) {
                Some((_, memoir)) => return memoir,
                None => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_there_for_the_next_process_and_for_one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("made/now");
        let (chronicle, known) = Chronicle::open(&folder).expect("it can be made");
        assert_eq!(known, Memoir::default());
        assert!(Chronicle::open(&folder).is_none(), "it is taken");
        let pen = chronicle.keep(known.pasts);
        pen.pasts.send_replace(pasts());
        let (done, written) = oneshot::channel();
        pen.write_orders(orders(), done);
        assert_eq!(written.await, Ok(Remembrance::Kept));
        while !folder.join(PRIMARIES_NAME).exists() {
            tokio::task::yield_now().await;
        }
        drop(pen);
        assert_eq!(opened(&folder).await, Memoir { pasts: pasts(), orders: orders() });
    }

    #[tokio::test]
    async fn an_order_that_cannot_be_written_is_said_to_be_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let (chronicle, known) = Chronicle::open(folder.path()).expect("it can be made");
        let pen = chronicle.keep(known.pasts);
        // Not even root writes into a file's place where a folder stands.
        fs::create_dir_all(folder.path().join("orders.new")).expect("a folder");
        let (done, written) = oneshot::channel();
        pen.write_orders(orders(), done);
        let remembrance = written.await.expect("it is answered");
        assert!(matches!(&remembrance, Remembrance::UntilRestart(why) if why.contains(ORDERS_NAME)), "{remembrance:?}");
    }

    #[test]
    fn a_text_that_means_nothing_is_as_good_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["", "{", "[]", "{\"shop\": 1}", "{\"servers\": 1}"] {
            for name in [PRIMARIES_NAME, ORDERS_NAME] {
                fs::write(folder.path().join(name), text).expect("it can be written");
            }
            let (_, memoir) = Chronicle::open(folder.path()).expect("the folder is free again");
            assert_eq!(memoir, Memoir::default(), "{text}");
        }
    }
}
