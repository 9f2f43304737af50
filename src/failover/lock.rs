//! Two balancers must not both change a primary: a named lock, held at more than half of the cluster's servers.
//!
//! Each server grants the lock to one connection and takes it back when that ends, so nothing is left behind by a balancer
//! that dies. Any two majorities have a server in common.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::time::timeout;

/// Locks at servers, by their place among the members.
#[derive(Debug)]
pub(super) struct Majority {
    name: String,
    held: Vec<usize>,
    /// Servers of the cluster, answering or not.
    servers: usize,
    patience: Duration,
}

impl Majority {
    /// Takes the lock of a cluster at every server that there is a connection to. In the same order by everybody: then who
    /// loses the race loses it early.
    pub(super) async fn take(
        cluster: &str,
        connections: &mut [Option<Conn>],
        patience: Duration,
    ) -> Result<Majority, String> {
        let name = format!("sqluice/{cluster}").chars().take(NAME_LETTERS_MAX).collect();
        let mut majority = Majority { name, held: Vec::new(), servers: connections.len(), patience };
        for (at, slot) in connections.iter_mut().enumerate() {
            let Some(connection) = slot else { continue };
            if majority.is_given(connection, "SELECT GET_LOCK(?, 0)").await {
                majority.held.push(at);
            }
        }
        if majority.is_enough(majority.held.len()) {
            return Ok(majority);
        }
        let (held, servers) = (majority.held.len(), majority.servers);
        majority.release(connections).await;
        Err(format!("another balancer works at it, or may: only {held} of {servers} servers gave the lock"))
    }

    /// Whether the lock is still held at a majority: a connection that broke has lost its own.
    pub(super) async fn holds(&self, connections: &mut [Option<Conn>]) -> bool {
        let mut count = 0;
        for &at in &self.held {
            let Some(connection) = &mut connections[at] else { continue };
            count += usize::from(self.is_given(connection, "SELECT IS_USED_LOCK(?) = CONNECTION_ID()").await);
        }
        self.is_enough(count)
    }

    /// Gives all of it back.
    pub(super) async fn release(self, connections: &mut [Option<Conn>]) {
        for &at in &self.held {
            let Some(connection) = &mut connections[at] else { continue };
            self.is_given(connection, "SELECT RELEASE_LOCK(?)").await;
        }
    }

    fn is_enough(&self, count: usize) -> bool {
        count * 2 > self.servers
    }

    /// Whether a question about the lock is answered with 1.
    async fn is_given(&self, connection: &mut Conn, question: &str) -> bool {
        let sql = question.replace('?', &format!("'{}'", self.name));
        let asked = connection.query_first::<Option<u8>, _>(sql);
        let answer: Result<Result<_, Error>, _> = timeout(self.patience, asked).await;
        matches!(answer, Ok(Ok(Some(Some(1)))))
    }
}

/// The longest name of a lock at MySQL.
const NAME_LETTERS_MAX: usize = 64;
