//! Asks the servers of a cluster what a promotion has to know, over connections that the promotion then works with.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Caller;
use super::state::{Applier, Link, Member, Sighting, Source, State};
use crate::config::{Account, Cluster, Server, ServerAddress};
use crate::protocol::gtid::{GtidHistory, GtidPosition};
use crate::protocol::version::Family;
use crate::reach::{Way, login_failure, look_up};
use crate::topology::CheckResult;

/// Connects to every server of the cluster and asks it. The connections are parallel to the members.
pub(super) async fn survey(cluster: &Cluster, caller: &Caller) -> (Vec<Member>, Vec<Option<Conn>>) {
    let mut visits = JoinSet::new();
    for (index, server) in cluster.servers.iter().enumerate() {
        let (name, server, caller) = (cluster.name.clone(), server.clone(), caller.clone());
        let patience = patience(cluster);
        visits.spawn(async move { (index, visit(&name, &server, &caller, patience).await) });
    }
    let mut visited = visits.join_all().await;
    visited.sort_by_key(|(index, _)| *index);
    let seen = visited.into_iter().zip(&cluster.servers);
    seen.map(|((_, (sighting, connection)), server)| (member(server, sighting), connection)).unzip()
}

/// Asks over the connections that there are; what was seen of the others stays. One that does not answer is given up.
pub(super) async fn survey_again(members: &mut [Member], connections: &mut [Option<Conn>], patience: Duration) {
    for (member, slot) in members.iter_mut().zip(connections) {
        let Some(connection) = slot else { continue };
        let why = match timeout(patience, ask(connection)).await {
            Ok(Ok(state)) => {
                member.sighting = Sighting::Told(Box::new(state));
                continue;
            }
            Ok(Err(why)) => why,
            Err(_) => format!("nothing within {patience:?}"),
        };
        (member.sighting, *slot) = (Sighting::Silent(why), None);
    }
}

fn member(server: &Server, sighting: Sighting) -> Member {
    let (host, port) = match &server.address {
        ServerAddress::Tcp { host, port } => (host.clone(), *port),
        // No configuration that promotes has one.
        ServerAddress::Unix(path) => (path.display().to_string(), 0),
    };
    Member { name: server.name.clone(), host, port, priority: server.priority, sighting }
}

async fn visit(cluster: &str, server: &Server, caller: &Caller, patience: Duration) -> (Sighting, Option<Conn>) {
    let mut connection = match timeout(patience, connect(cluster, server, caller)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(CheckResult::Refused)) => return (Sighting::Dead, None),
        Ok(Err(failure)) => return (Sighting::Silent(failure.to_string()), None),
        Err(_) => return (Sighting::Silent(format!("nothing within {patience:?}")), None),
    };
    match timeout(patience, ask(&mut connection)).await {
        Ok(Ok(state)) => (Sighting::Told(Box::new(state)), Some(connection)),
        Ok(Err(why)) => (Sighting::Silent(why), None),
        Err(_) => (Sighting::Silent(format!("nothing within {patience:?}")), None),
    }
}

/// A connection that waits for no lock longer than a promotion may, and takes texts as they are quoted here.
pub(super) async fn connect(cluster: &str, server: &Server, caller: &Caller) -> Result<Conn, CheckResult> {
    let mut failure = CheckResult::Unreachable("its name has no address".to_owned());
    for endpoint in look_up(&server.address).await? {
        let way = caller.ways.to(cluster, &server.name, endpoint, server.send_proxy);
        match log_in(&way, &caller.account).await {
            Ok(connection) => return Ok(connection),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

/// How long a way to a server may take.
pub(super) const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

async fn log_in(way: &Way, account: &Account) -> Result<Conn, CheckResult> {
    let options = way.library(&account.user, &account.password, CONNECT_TIME_MAX).await?;
    let options = options
        // Known values, so that the library does not ask for them.
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(28_800))
        .init(vec!["SET SESSION lock_wait_timeout = 5, SESSION sql_mode = ''"]);
    Conn::new(options).await.map_err(login_failure)
}

/// What a server says of itself, or why that cannot be understood.
pub(super) async fn ask(connection: &mut Conn) -> Result<State, String> {
    let version: Option<String> = connection.query_first("SELECT VERSION()").await.map_err(|error| legible(&error))?;
    let family = match version.unwrap_or_default().contains("MariaDB") {
        true => Family::MariaDb,
        false => Family::MySql,
    };
    let own: Row = one(connection, own_question(family)).await?;
    let followed = match family {
        Family::MariaDb => "SHOW ALL SLAVES STATUS",
        Family::MySql => "SHOW REPLICA STATUS",
    };
    let sources: Vec<Row> = connection.query(followed).await.map_err(|error| legible(&error))?;
    let history = position(family, &text(&own, "history")?)?;
    let applied = position(family, &text(&own, "applied")?)?;
    let transactions = match family {
        Family::MariaDb => {
            GtidHistory::parse_mariadb(text(&own, "transactions")?.as_bytes(), text(&own, "applied")?.as_bytes())
        }
        Family::MySql => GtidHistory::parse_mysql(text(&own, "transactions")?.as_bytes()),
    };
    let transactions = transactions.map_err(|malformed| format!("its history cannot be read: {malformed}"))?;
    let link = match sources.as_slice() {
        [] => Link::None,
        [row] => Link::One(source(family, row, applied, heartbeat(connection, family, row).await)?),
        _ => Link::Several,
    };
    Ok(State {
        family,
        server_id: number(&own, "id")?,
        read_only: is_on(&own, "read_only")?,
        keeps_history: is_on(&own, "keeps_history")?,
        history,
        transactions,
        link,
    })
}

fn own_question(family: Family) -> &'static str {
    match family {
        Family::MariaDb => {
            "SELECT @@server_id AS id, @@read_only AS read_only, @@log_bin AND @@log_slave_updates AS keeps_history, \
             @@GLOBAL.gtid_current_pos AS history, @@GLOBAL.gtid_binlog_state AS transactions, @@GLOBAL.gtid_slave_pos AS applied"
        }
        Family::MySql => {
            "SELECT @@server_id AS id, @@GLOBAL.read_only OR @@GLOBAL.super_read_only AS read_only, \
             @@log_bin AND @@log_replica_updates AND @@GLOBAL.gtid_mode = 'ON' AS keeps_history, \
             @@GLOBAL.gtid_executed AS history, @@GLOBAL.gtid_executed AS transactions, @@GLOBAL.gtid_executed AS applied"
        }
    }
}

fn source(family: Family, row: &Row, applied: GtidPosition, heartbeat: Option<Duration>) -> Result<Source, String> {
    let names = match family {
        Family::MariaDb => &MARIADB,
        Family::MySql => &MYSQL,
    };
    let mut received = applied;
    let more = position(family, &text(row, names.received)?)?;
    received.merge(&more).map_err(|_| "its position has too many parts".to_owned())?;
    let applier = match text(row, names.applies)?.as_str() {
        "Yes" => Applier::Runs,
        _ => Applier::Stopped(text(row, "Last_SQL_Error")?),
    };
    let gtid = text(row, names.gtid)?;
    Ok(Source {
        host: text(row, names.host)?,
        port: number(row, names.port)?,
        server_id: number(row, names.server_id)?,
        receives: text(row, names.receives)? == "Yes",
        link_error: number(row, "Last_IO_Errno")?,
        pulse: pulse(row, names)?,
        heartbeat,
        applier,
        uses_gtid: !(gtid.eq_ignore_ascii_case("No") || gtid == "0"),
        received,
        delay: number(row, "SQL_Delay")?,
    })
}

/// Heartbeats count only where they are told of, and where no other event comes.
fn pulse(row: &Row, names: &Columns) -> Result<String, String> {
    let beats = text(row, HEARTBEATS).unwrap_or_default();
    Ok(format!("{} {} {beats}", text(row, names.file)?, text(row, names.place)?))
}

/// MySQL tells of it only in `performance_schema`, where the account may have nothing to look for.
async fn heartbeat(connection: &mut Conn, family: Family, row: &Row) -> Option<Duration> {
    let seconds: f64 = match family {
        Family::MariaDb => number(row, "Slave_heartbeat_period").ok()?,
        Family::MySql => connection.query_first(HEARTBEAT_INTERVAL).await.ok()??,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|period| !period.is_zero())
}

const HEARTBEAT_INTERVAL: &str =
    "SELECT HEARTBEAT_INTERVAL FROM performance_schema.replication_connection_configuration WHERE CHANNEL_NAME = ''";

/// A column of MariaDB's.
const HEARTBEATS: &str = "Slave_received_heartbeats";

/// What the two families call the columns of a replica's status.
struct Columns {
    host: &'static str,
    port: &'static str,
    server_id: &'static str,
    receives: &'static str,
    applies: &'static str,
    gtid: &'static str,
    received: &'static str,
    /// Where in the source's log it has received up to.
    file: &'static str,
    place: &'static str,
}

static MARIADB: Columns = Columns {
    host: "Master_Host",
    port: "Master_Port",
    server_id: "Master_Server_Id",
    receives: "Slave_IO_Running",
    applies: "Slave_SQL_Running",
    gtid: "Using_Gtid",
    received: "Gtid_IO_Pos",
    file: "Master_Log_File",
    place: "Read_Master_Log_Pos",
};

static MYSQL: Columns = Columns {
    host: "Source_Host",
    port: "Source_Port",
    server_id: "Source_Server_Id",
    receives: "Replica_IO_Running",
    applies: "Replica_SQL_Running",
    gtid: "Auto_Position",
    received: "Retrieved_Gtid_Set",
    file: "Source_Log_File",
    place: "Read_Source_Log_Pos",
};

fn position(family: Family, text: &str) -> Result<GtidPosition, String> {
    let parsed = match family {
        Family::MariaDb => GtidPosition::parse_mariadb(text.as_bytes()),
        Family::MySql => GtidPosition::parse_mysql(text.as_bytes()),
    };
    parsed.map_err(|malformed| format!("its position cannot be read: {malformed}"))
}

async fn one(connection: &mut Conn, sql: &str) -> Result<Row, String> {
    let row = connection.query_first(sql).await.map_err(|error| legible(&error))?;
    row.ok_or_else(|| "no row where there must be one".to_owned())
}

/// A column's text; empty for NULL.
fn text(row: &Row, column: &str) -> Result<String, String> {
    match row.get_opt::<Option<String>, _>(column) {
        Some(Ok(text)) => Ok(text.unwrap_or_default()),
        Some(Err(_)) | None => Err(format!("it does not tell its {column}")),
    }
}

/// A number, or in later versions of MariaDB one of several words, of which all but OFF forbid writes.
fn is_on(row: &Row, column: &str) -> Result<bool, String> {
    let text = text(row, column)?;
    Ok(!(text.is_empty() || text == "0" || text.eq_ignore_ascii_case("OFF")))
}

fn number<T: std::str::FromStr + Default>(row: &Row, column: &str) -> Result<T, String> {
    let text = text(row, column)?;
    if text.is_empty() {
        return Ok(T::default());
    }
    text.parse().map_err(|_| format!("its {column} is no number that can be"))
}

/// How long a server may take for one answer before it counts as silent.
pub(super) fn patience(cluster: &Cluster) -> Duration {
    cluster.check_timeout.max(cluster.connect_timeout)
}

/// A failure in one line that is not long.
pub(super) fn legible(error: &Error) -> String {
    let words = match error {
        Error::Server(error) => format!("ERROR {}: {}", error.code, error.message),
        other => other.to_string(),
    };
    words.chars().take(WORDS_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Letters of a server's message in our reasons and logs.
const WORDS_MAX: usize = 256;
