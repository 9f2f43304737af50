//! Role, position and replication of a server: two statements in one round trip.
//!
//! `SHOW REPLICA STATUS` can wait inside a server as long as a `STOP REPLICA` does. The first statement has told by then
//! that the server lives, so such a server is one that does not tell of its replication, not one that hangs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::role::{self, Role};
use super::{Extent, Told, ask_for_row, first_row, number};
use crate::protocol::gtid::GtidPosition;
use crate::protocol::response::ErrPacket;
use crate::protocol::text_answer::{Outcome, Rows, Value};
use crate::protocol::version::{Family, ServerVersion};
use crate::reach::{Inquiry, legible};
use crate::topology::replication::{Channel, Identity, Receiving, Sources, View as ReplicationView};
use crate::topology::{CheckResult, View};

/// The question for role, position and replication.
#[derive(Debug)]
pub(in crate::monitor) struct Replication {
    role: Role,
    version: ServerVersion,
    /// Both statements.
    question: String,
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

impl Replication {
    pub(super) fn new(version: ServerVersion) -> Replication {
        let role = Role::new(version);
        Replication { question: question(version, &role), role, version, columns: None, denied: None }
    }

    /// Whether a new connection may be allowed more than this one: privileges count from the login on.
    pub(super) fn is_outdated(&self) -> bool {
        self.denied.as_ref().is_some_and(|denied| denied.since.elapsed() > DENIAL_HOLDS)
    }

    pub(super) async fn ask(
        &mut self,
        inquiry: &mut Inquiry,
        extent: Extent,
        deadline: Instant,
    ) -> Result<Told, CheckResult> {
        match self.ask_once(inquiry, extent, deadline).await {
            Err(failure) if self.role.forgoes(&failure) => {
                self.question = question(self.version, &self.role);
                self.ask_once(inquiry, extent, deadline).await
            }
            answer => answer,
        }
    }

    async fn ask_once(
        &mut self,
        inquiry: &mut Inquiry,
        extent: Extent,
        deadline: Instant,
    ) -> Result<Told, CheckResult> {
        let asked = Instant::now();
        let left_out = match (&self.denied, extent) {
            (Some(denied), _) => Sources::Denied(Arc::clone(&denied.words)),
            (None, Extent::Essentials) => Sources::Silent,
            (None, Extent::Everything) => return self.ask_both(inquiry, asked, deadline).await,
        };
        let values = ask_for_row(inquiry, self.role.question(), deadline).await?;
        self.told(&values, left_out, asked)
    }

    async fn ask_both(
        &mut self,
        inquiry: &mut Inquiry,
        asked: Instant,
        deadline: Instant,
    ) -> Result<Told, CheckResult> {
        let outcome = inquiry.ask(&self.question, deadline).await.map(drop);
        let mut heard = inquiry.heard();
        let first = heard.next();
        let (sources, is_cut_short) = match (outcome, &first) {
            (Err(CheckResult::TimedOut), Some(_)) => (Sources::Silent, true),
            (Err(failure), _) => return Err(failure),
            (Ok(()), _) => (self.sources(heard.next()), false),
        };
        Ok(Told { is_cut_short, ..self.told(&first_row(first)?, sources, asked)? })
    }

    /// What the row of the first statement says, beside what the second one told.
    fn told(&self, values: &[Value<'_>], sources: Sources, asked: Instant) -> Result<Told, CheckResult> {
        let told = self.role.read(values, asked)?;
        let view = Self::identity(values).map(|identity| {
            let history = self.role.history(values).map(Arc::new);
            View::Replication(ReplicationView { asked, identity, history, sources })
        });
        Ok(Told { view: view.unwrap_or_default(), ..told })
    }

    fn sources(&mut self, status: Option<Outcome<'_>>) -> Sources {
        match status {
            Some(Outcome::Rows(rows)) => Sources::Told(self.channels(rows)),
            Some(Outcome::Refused(error)) => self.note_denial(&error),
            Some(Outcome::Done) | None => Sources::Told(Vec::new()),
        }
    }

    fn channels(&mut self, rows: Rows<'_>) -> Vec<Channel> {
        let mut channels = rows.values().peekable();
        if channels.peek().is_none() {
            return Vec::new();
        }
        let columns = self.columns.get_or_insert_with(|| Box::new(Columns::of(&rows.names().collect::<Vec<_>>())));
        channels.filter_map(|row| channel(&row, columns, self.version.family)).collect()
    }

    fn note_denial(&mut self, error: &ErrPacket) -> Sources {
        let words: Arc<str> = format!("ERROR {}: {}", error.code.0, legible(&error.message)).into();
        self.denied = Some(Denied { words: Arc::clone(&words), since: Instant::now() });
        Sources::Denied(words)
    }

    fn identity(values: &[Value<'_>]) -> Option<Identity> {
        let [server_id, uuid] = role::identity(values)?;
        let server_id = u32::try_from(number(server_id)?).ok()?;
        Some(Identity { server_id, uuid: uuid.map(|uuid| String::from_utf8_lossy(uuid).into()) })
    }
}

fn question(version: ServerVersion, role: &Role) -> String {
    format!("{}; {}", role.question(), status_question(version))
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
    fn of(names: &[&[u8]]) -> Columns {
        let place = |wanted: &[&str]| names.iter().position(|name| wanted.iter().any(|one| one.as_bytes() == *name));
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
fn channel(row: &[Value<'_>], columns: &Columns, family: Family) -> Option<Channel> {
    let value = |place: Option<usize>| row.get(place?).copied().flatten();
    let words = |place| value(place).map(String::from_utf8_lossy).unwrap_or_default();
    let count = |place| number(value(place));
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

/// How long a refusal is taken for an answer. Then a new connection is made, which costs a login.
const DENIAL_HOLDS: Duration = Duration::from_secs(60);
