//! Role, position and replication of a server: two statements in one round trip.
//!
//! `SHOW REPLICA STATUS` can wait inside a server as long as a `STOP REPLICA` does. The first statement has told by then
//! that the server lives, so such a server is one that does not tell of its replication, not one that hangs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Row, Value};
use tokio::time::timeout_at;

use super::role::{self, Role};
use super::{Extent, Told};
use crate::monitor::connection::statement_failure;
use crate::protocol::gtid::GtidPosition;
use crate::protocol::version::{Family, ServerVersion};
use crate::reach::legible;
use crate::topology::replication::{Channel, Identity, Receiving, Sources, View as ReplicationView};
use crate::topology::{CheckResult, View};

/// The question for role, position and replication.
#[derive(Debug)]
pub(in crate::monitor) struct Replication {
    role: Role,
    version: ServerVersion,
    /// Known from the first row on: over one connection they are the same in each answer, and there are sixty of them.
    columns: Option<Box<Columns>>,
    /// Why the status is not asked for on this connection any more.
    denied: Option<Denied>,
}

/// Where those columns of the status stand that are read; each family has its own words for most, and not all of them.
#[derive(Debug, Clone, Copy)]
struct Columns {
    channel: Option<usize>,
    host: Option<usize>,
    port: Option<usize>,
    server_id: Option<usize>,
    uuid: Option<usize>,
    receiving: Option<usize>,
    applying: Option<usize>,
    behind: Option<usize>,
    delay: Option<usize>,
    received: Option<usize>,
    errors: [Option<usize>; 2],
    heartbeat: Option<usize>,
}

/// The server refused to show its status.
#[derive(Debug)]
struct Denied {
    words: Arc<str>,
    since: Instant,
}

/// What came back.
struct Answer {
    /// The row of the first statement.
    values: Vec<Value>,
    /// What the second one told.
    sources: Sources,
    /// Whether the second one has not ended.
    is_cut_short: bool,
}

impl Replication {
    pub(super) fn new(version: ServerVersion) -> Replication {
        Replication { role: Role::new(version), version, columns: None, denied: None }
    }

    /// Whether a new connection may be allowed more than this one: privileges count from the login on.
    pub(super) fn is_outdated(&self) -> bool {
        self.denied.as_ref().is_some_and(|denied| denied.since.elapsed() > DENIAL_HOLDS)
    }

    pub(super) async fn ask(
        &mut self,
        client: &mut Conn,
        extent: Extent,
        deadline: Instant,
    ) -> Result<Told, CheckResult> {
        let asked = Instant::now();
        let answer = match self.ask_once(client, extent, deadline).await {
            Err(error) if self.role.forgoes(&error) => self.ask_once(client, extent, deadline).await,
            answer => answer,
        };
        let Answer { values, sources, is_cut_short } = answer.map_err(statement_failure)?;
        let told = self.role.read(&values, asked)?;
        let view = Self::identity(&values).map(|identity| {
            let history = self.role.history(&values).map(Arc::new);
            View::Replication(ReplicationView { asked, identity, history, sources })
        });
        Ok(Told { view: view.unwrap_or_default(), is_cut_short, ..told })
    }

    async fn ask_once(
        &mut self,
        client: &mut Conn,
        extent: Extent,
        deadline: Instant,
    ) -> Result<Answer, mysql_async::Error> {
        let left_out = match (&self.denied, extent) {
            (Some(denied), _) => Sources::Denied(Arc::clone(&denied.words)),
            (None, Extent::Essentials) => Sources::Silent,
            (None, Extent::Everything) => return self.ask_both(client, deadline).await,
        };
        let row: Option<Row> = client.query_first(self.role.question()).await?;
        Ok(Answer { values: row.map(Row::unwrap).unwrap_or_default(), sources: left_out, is_cut_short: false })
    }

    async fn ask_both(&mut self, client: &mut Conn, deadline: Instant) -> Result<Answer, mysql_async::Error> {
        let question = format!("{}; {}", self.role.question(), status_question(self.version));
        let mut answer = client.query_iter(question).await?;
        let (mut values, mut rows) = (Vec::new(), Vec::new());
        let outcome = timeout_at(deadline.into(), async {
            // The refusal of the second statement comes in place of the end of the first one.
            while let Some(row) = answer.next().await? {
                values = row.unwrap();
            }
            while let Some(row) = answer.next().await? {
                rows.push(row);
            }
            Ok(())
        });
        let (sources, is_cut_short) = match outcome.await {
            Ok(Ok(())) => (Sources::Told(self.channels(&rows)), false),
            Ok(Err(mysql_async::Error::Server(error))) if !values.is_empty() => (self.note_denial(&error), false),
            Ok(Err(error)) => return Err(error),
            Err(_) if values.is_empty() => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            Err(_) => (Sources::Silent, true),
        };
        Ok(Answer { values, sources, is_cut_short })
    }

    fn channels(&mut self, rows: &[Row]) -> Vec<Channel> {
        let Some(first) = rows.first() else { return Vec::new() };
        let columns = self.columns.get_or_insert_with(|| Box::new(Columns::of(first.columns_ref())));
        rows.iter().filter_map(|row| channel(row, columns, self.version.family)).collect()
    }

    fn note_denial(&mut self, error: &mysql_async::ServerError) -> Sources {
        let words: Arc<str> = format!("ERROR {}: {}", error.code, legible(error.message.as_bytes())).into();
        self.denied = Some(Denied { words: Arc::clone(&words), since: Instant::now() });
        Sources::Denied(words)
    }

    fn identity(values: &[Value]) -> Option<Identity> {
        let [server_id, uuid] = role::identity(values)?;
        let server_id = u32::try_from(number(server_id)?).ok()?;
        Some(Identity { server_id, uuid: role::text(uuid).map(|uuid| String::from_utf8_lossy(uuid).into()) })
    }
}

/// All channels, one row each.
fn status_question(version: ServerVersion) -> &'static str {
    match version.family {
        Family::MariaDb => "SHOW ALL SLAVES STATUS",
        Family::MySql if (version.major, version.minor, version.patch) >= (8, 0, 22) => "SHOW REPLICA STATUS",
        Family::MySql => "SHOW SLAVE STATUS",
    }
}

impl Columns {
    fn of(columns: &[Column]) -> Columns {
        let place = |names: &[&str]| columns.iter().position(|column| names.contains(&&*column.name_str()));
        Columns {
            channel: place(&["Channel_Name", "Connection_name"]),
            host: place(&["Source_Host", "Master_Host"]),
            port: place(&["Source_Port", "Master_Port"]),
            server_id: place(&["Source_Server_Id", "Master_Server_Id"]),
            uuid: place(&["Source_UUID", "Master_UUID"]),
            receiving: place(&["Replica_IO_Running", "Slave_IO_Running"]),
            applying: place(&["Replica_SQL_Running", "Slave_SQL_Running"]),
            behind: place(&["Seconds_Behind_Source", "Seconds_Behind_Master"]),
            delay: place(&["SQL_Delay"]),
            received: place(&["Retrieved_Gtid_Set", "Gtid_IO_Pos"]),
            errors: [place(&["Last_IO_Error"]), place(&["Last_SQL_Error"])],
            heartbeat: place(&["Slave_heartbeat_period"]),
        }
    }
}

/// One row of the status; none for the channels by which the members of a group talk.
fn channel(row: &Row, columns: &Columns, family: Family) -> Option<Channel> {
    let value = |place: Option<usize>| place.and_then(|place| row.as_ref(place));
    let words = |place| value(place).and_then(role::text).map(String::from_utf8_lossy).unwrap_or_default();
    let count = |place| value(place).and_then(number);
    if words(columns.channel).starts_with("group_replication_") {
        return None;
    }
    let seconds = |place| count(place).map(Duration::from_secs);
    let parse = match family {
        Family::MariaDb => GtidPosition::parse_mariadb,
        Family::MySql => GtidPosition::parse_mysql,
    };
    let error = columns.errors.into_iter().map(words).find(|error| !error.is_empty()).unwrap_or_default();
    Some(Channel {
        host: words(columns.host).into_owned(),
        port: count(columns.port).and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        source: source(count(columns.server_id), words(columns.uuid).into_owned()),
        receiving: receiving(&words(columns.receiving)),
        applying: words(columns.applying) == "Yes",
        behind: seconds(columns.behind),
        delay: seconds(columns.delay).unwrap_or_default(),
        received: parse(words(columns.received).as_bytes()).ok(),
        error: legible(error.as_bytes()),
        heartbeat: heartbeat(&words(columns.heartbeat)),
    })
}

/// The number is 0 and the UUID empty until the source was reached.
fn source(server_id: Option<u64>, uuid: String) -> Option<Identity> {
    let server_id = u32::try_from(server_id?).ok().filter(|id| *id > 0)?;
    Some(Identity { server_id, uuid: Some(uuid.into_boxed_str()).filter(|uuid| !uuid.is_empty()) })
}

/// In seconds with decimals; MySQL tells it elsewhere.
fn heartbeat(seconds: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
}

fn receiving(word: &str) -> Receiving {
    match word {
        "Yes" => Receiving::Connected,
        // "Preparing" is MariaDB's word for the moment before.
        "Connecting" | "Preparing" => Receiving::Connecting,
        _ => Receiving::Stopped,
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::UInt(number) => Some(*number),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::NULL | Value::Float(_) | Value::Double(_) | Value::Date(..) | Value::Time(..) => None,
    }
}

/// How long a refusal is taken for an answer. Then a new connection is made, which costs a login.
const DENIAL_HOLDS: Duration = Duration::from_secs(60);
