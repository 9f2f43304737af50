//! Reads the accounts of the servers, on a timer and when somebody is missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio::time::{sleep_until, timeout};

use super::roster::Roster;
use super::{Directory, FRESH, stored};
use crate::config::{Account, ClusterIndex, Role, Server, Source};
use crate::protocol::version::Family;
use crate::reach::{Way, Ways, login_failure};
use crate::topology::{CheckResult, Condition, RoutingTable, ServerEntry};

/// How long a server may take to tell all its accounts.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether the configuration wants accounts now, where it did not.
const IDLE: Duration = Duration::from_secs(1);

const OF_MARIADB: &str = "SELECT User, Host, Priv FROM mysql.global_priv";
const OF_MYSQL: &str = "SELECT User, Host, plugin, authentication_string FROM mysql.user";

/// Reads the accounts as the configuration of `table` says, for as long as the process runs. `wake` is called after each
/// reading, also after one that failed: whoever waits for it must hear of it.
pub async fn read_on(directory: Arc<Directory>, ways: Ways, table: Arc<ArcSwap<RoutingTable>>, wake: impl Fn()) {
    let mut reader = Reader { directory, ways, table, has_failed: false };
    loop {
        let begun = Instant::now();
        let pause = match reader.read(begun).await {
            Some(interval) => {
                wake();
                interval
            }
            None => IDLE,
        };
        reader.pause(begun, pause).await;
    }
}

struct Reader {
    directory: Arc<Directory>,
    ways: Ways,
    table: Arc<ArcSwap<RoutingTable>>,
    /// The last reading failed, and an operator was told so.
    has_failed: bool,
}

impl Reader {
    /// Until the next reading is due, or is wanted; two are never closer than `FRESH`.
    async fn pause(&self, begun: Instant, pause: Duration) {
        let due = begun + pause;
        tokio::select! {
            () = sleep_until(due.into()) => {}
            () = self.directory.wanted.notified() => sleep_until((begun + FRESH).min(due).into()).await,
        }
        self.directory.learnt().forget_old(Instant::now());
    }

    /// One reading, if the configuration wants it; gives the interval that it wants.
    async fn read(&mut self, begun: Instant) -> Option<Duration> {
        let table = self.table.load_full();
        let newcomers = table.config.newcomers.as_ref()?;
        let Source::Servers { account, refresh_interval } = &newcomers.source else { return None };
        let cluster = table.config.pool(newcomers.route.pool).cluster;
        match read_from_cluster(&table, cluster, account, &self.ways).await {
            Ok(roster) => self.succeeded(roster, begun),
            Err(reason) => self.failed(&reason, begun),
        }
        Some(*refresh_interval)
    }

    fn succeeded(&mut self, roster: Roster, begun: Instant) {
        if self.directory.readings() == 0 || self.has_failed {
            tracing::info!("read {} accounts from the servers", roster.len());
        }
        self.has_failed = false;
        self.directory.put(roster, begun);
    }

    /// What was read before stays.
    fn failed(&mut self, reason: &str, begun: Instant) {
        if !self.has_failed {
            tracing::warn!("the accounts of the servers cannot be read, those read before stay: {reason}");
        }
        self.has_failed = true;
        self.directory.keep_old(begun);
    }
}

/// From the primary, where there is one; any other member has the same accounts, perhaps later.
async fn read_from_cluster(
    table: &RoutingTable,
    cluster: ClusterIndex,
    account: &Account,
    ways: &Ways,
) -> Result<Roster, String> {
    let config = table.config.cluster(cluster);
    let entries = table.servers.iter().filter(|entry| entry.cluster == cluster);
    let mut servers: Vec<(&ServerEntry, &Server)> =
        entries.zip(&config.servers).filter(|(entry, _)| entry.health.condition == Condition::Up).collect();
    servers.sort_by_key(|(entry, _)| !entry.serves(Role::Primary));
    let mut failure = "no server of the cluster is up".to_owned();
    for (entry, server) in servers {
        let (Some(endpoint), Some(greeting)) = (&entry.endpoint, &entry.greeting) else { continue };
        let way = ways.to(&config.name, &server.name, endpoint.clone(), server.send_proxy);
        match timeout(PATIENCE, read_over(way, greeting.family(), account)).await {
            Ok(Ok(roster)) => return Ok(roster),
            Ok(Err(reason)) => failure = format!("{}: {reason}", server.name),
            Err(_) => failure = format!("{}: it did not answer in {PATIENCE:?}", server.name),
        }
    }
    Err(failure)
}

async fn read_over(way: Way, family: Family, account: &Account) -> Result<Roster, CheckResult> {
    let options = way.library(&account.user, &account.password, PATIENCE).await?;
    let mut connection = Conn::new(options).await.map_err(login_failure)?;
    let statement = match family {
        Family::MariaDb => OF_MARIADB,
        Family::MySql => OF_MYSQL,
    };
    let rows: Vec<Row> = connection.query(statement).await.map_err(login_failure)?;
    // The server counts a connection that just breaks off.
    let _ = connection.disconnect().await;
    Ok(roster(family, rows))
}

fn roster(family: Family, rows: Vec<Row>) -> Roster {
    let mut roster = Roster::default();
    for mut row in rows {
        let mut column = |index| row.take::<Option<Vec<u8>>, _>(index).flatten().unwrap_or_default();
        let (user, host) = (column(0), column(1));
        let host = String::from_utf8_lossy(&host);
        let account = match family {
            Family::MariaDb => stored::of_mariadb(&host, &column(2)),
            Family::MySql => stored::of_mysql(&host, &String::from_utf8_lossy(&column(2)), &column(3)),
        };
        // An account without a name is for everybody who has none: nobody is meant to be found by it here.
        let Some(account) = account.filter(|_| !user.is_empty()) else { continue };
        if !roster.add(&user, account) {
            tracing::warn!("the servers have more than {} accounts: those beyond cannot log in here", roster.len());
            break;
        }
    }
    roster
}
