//! A server that is taken out of use, as an operator sees it: who is still there, who could leave, and what holds the rest.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::shapes::{DrainStatus, SessionStatus, Staying};
use super::table::{self, Side};
use crate::config::{Cluster, PoolIndex, Role, Topology, duration};
use crate::topology::{RoutingTable, ServerEntry, ServerId, ServerIndex, ServerRole, Service};

/// What an operator does with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// Nothing: it is only looked at.
    Look,
    /// Takes it out of use; whoever is there has this time to leave.
    Drain(Duration),
    /// Takes it out of use at once.
    Disable,
    /// Takes it into use again.
    Enable,
}

impl Upkeep {
    /// What the server, with so many connections, is from `now` on; none if that stays as it is.
    pub fn service(self, connections: u32, now: Instant) -> Option<Service> {
        match self {
            Upkeep::Look => None,
            Upkeep::Drain(budget) => Some(Service::draining(budget, connections, now)),
            Upkeep::Disable => Some(Service::OutOfUse { since: now }),
            Upkeep::Enable => Some(Service::InUse),
        }
    }
}

/// Reads the time that a server's sessions are given to leave.
///
/// # Errors
/// What is wrong with the text, and what to write instead.
pub fn budget(text: &str) -> Result<Duration, String> {
    let budget = duration(text).map_err(|problem| format!("a budget {problem}"))?;
    match budget <= Service::BUDGET_MAX {
        true => Ok(budget),
        false => Err(format!("a budget of {text} is too long: at most {} hours", Service::BUDGET_MAX.as_secs() / 3600)),
    }
}

/// The server of that name: `NAME` or `CLUSTER/NAME`.
///
/// # Errors
/// Why there is no such server, in words.
pub fn find(table: &RoutingTable, name: &str) -> Result<ServerId, String> {
    let (of, own) = name.split_once('/').map_or((None, name), |(cluster, name)| (Some(cluster), name));
    let is_it = |server: &&ServerEntry| {
        let cluster = &table.config.cluster(server.cluster).name;
        *server.name == *own && of.is_none_or(|of| of == cluster)
    };
    let found: Vec<&ServerEntry> = table.servers.iter().filter(is_it).collect();
    match found.as_slice() {
        [one] => Ok(one.id),
        [] => Err(table.no_server(name)),
        _ => Err(format!("several clusters have a server {own}: write CLUSTER/{own}")),
    }
}

/// A session that has a connection to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The session.
    pub session: SessionStatus,
    /// What it has there.
    pub stake: Stake,
}

/// What a session has at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stake {
    /// It is at home there.
    Home,
    /// It reads there.
    Reads,
}

/// The server and its guests at `now`.
pub fn status(table: &RoutingTable, index: ServerIndex, guests: Vec<Guest>, now: Instant) -> DrainStatus {
    let entry = table.server(index);
    let (free, staying): (Vec<Guest>, Vec<Guest>) = guests.into_iter().partition(|guest| ties(guest).is_empty());
    DrainStatus {
        cluster: table.config.cluster(entry.cluster).name.clone(),
        server: entry.name.to_string(),
        role: entry.health.role.to_string(),
        service: entry.service.to_string(),
        seconds_left: seconds_left(entry.service, now),
        connections: entry.load.connections(),
        could_leave: free.len() as u64,
        staying: staying.into_iter().map(staying_of).collect(),
        turned_out: entry.load.turned_out(),
        notes: notes(table, index),
    }
}

/// Time until a server that is being taken out is out.
pub fn seconds_left(service: Service, now: Instant) -> Option<u64> {
    service.ends().map(|until| until.saturating_duration_since(now).as_secs())
}

/// What holds a guest. A read leaves behind itself, but for one in a transaction that has its snapshot there.
fn ties(guest: &Guest) -> Vec<String> {
    match guest.stake {
        Stake::Home => guest.session.ties.clone(),
        Stake::Reads => guest.session.pins.iter().filter(|pin| *pin == "transaction").cloned().collect(),
    }
}

fn staying_of(guest: Guest) -> Staying {
    let why = ties(&guest);
    let Guest { session, stake } = guest;
    Staying {
        id: session.id,
        user: session.user,
        address: session.address,
        reads_only: stake == Stake::Reads,
        why,
        seconds: session.tied_seconds,
    }
}

/// What an operator should know of the server before it goes.
fn notes(table: &RoutingTable, index: ServerIndex) -> Vec<String> {
    let entry = table.server(index);
    let cluster = table.config.cluster(entry.cluster);
    let pools = table.config.pools.iter().enumerate().filter(|(_, pool)| pool.cluster == entry.cluster);
    let left: Vec<_> = pools.filter(|(at, _)| !has_others(table, PoolIndex(*at), index)).collect();
    let mut notes = Vec::new();
    if left.iter().any(|(_, pool)| pool.role == Role::Primary) && is_writer(entry) {
        notes.push(format!(
            "{} has the writes of {}: what begins there waits up to hold_timeout ({:?}) for another server that takes \
             them. {}",
            entry.name,
            cluster.name,
            cluster.hold_timeout,
            next_writer(table, index, cluster)
        ));
    }
    for (_, pool) in left.iter().filter(|(_, pool)| pool.role == Role::Replica) {
        notes.push(format!("pool {} has no other server: its sessions wait up to hold_timeout", pool.name));
    }
    notes
}

/// Whether a pool or its fallbacks have another member.
fn has_others(table: &RoutingTable, pool: PoolIndex, index: ServerIndex) -> bool {
    table.chain(pool).any(|pool| table.pool(pool).members.iter().any(|member| *member != index))
}

fn is_writer(entry: &ServerEntry) -> bool {
    matches!(entry.health.role, ServerRole::Primary | ServerRole::Yielding)
}

/// How another server gets the writes.
fn next_writer(table: &RoutingTable, index: ServerIndex, cluster: &Cluster) -> String {
    let entry = table.server(index);
    let others = table.servers.iter().filter(|other| other.cluster == entry.cluster && other.id != entry.id);
    let usable: Vec<&str> = others.filter(|other| other.serves(Role::Replica)).map(|other| &*other.name).collect();
    let names = if usable.is_empty() { "NAME".to_owned() } else { usable.join(" or ") };
    match cluster.topology {
        Topology::Replication if cluster.promotion.is_some() => format!("Say `sqluice switchover {names}`"),
        Topology::Replication => format!(
            "Make {names} the primary (`sqluice switchover` does, with `failover = \"manual\"` in the configuration)"
        ),
        Topology::GroupReplication => format!("Say group_replication_set_as_primary() for {names}"),
        Topology::Galera => "No other node is in step".to_owned(),
        Topology::Static => "Roles are fixed there: give it to another one in the configuration".to_owned(),
    }
}

/// How far a server is on its way out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Sessions leave.
    Going,
    /// The time is over, and what is left ends.
    Ending,
    /// Nobody is there any more.
    Done,
    /// Somebody has taken it into use again.
    TakenBack,
}

/// How far the server is on its way out of use.
pub fn progress(status: &DrainStatus) -> Progress {
    match (&*status.service, status.connections) {
        ("in use", _) => Progress::TakenBack,
        (_, 0) => Progress::Done,
        ("out of use", _) => Progress::Ending,
        _ => Progress::Going,
    }
}

/// The status without what changes as time goes by.
pub fn without_times(status: &DrainStatus) -> DrainStatus {
    let timeless = |session: &Staying| Staying { seconds: None, ..session.clone() };
    DrainStatus { seconds_left: None, staying: status.staying.iter().map(timeless).collect(), ..status.clone() }
}

/// The status for people: a line of counts, who stays and why, and what else there is to know.
pub fn page(status: &DrainStatus) -> String {
    let mut page = news(status);
    for note in &status.notes {
        let _ = writeln!(page, "\nnote: {note}");
    }
    page
}

/// The same for who has read what else there is to know: counts, and who stays.
pub fn news(status: &DrainStatus) -> String {
    let mut news = summary(status);
    news.push('\n');
    if !status.staying.is_empty() {
        news.push('\n');
        news.push_str(&staying(&status.staying));
    }
    news
}

/// What became of those who were there `before`.
pub fn outcome(before: &DrainStatus, now: &DrainStatus) -> String {
    let sessions = |status: &DrainStatus| status.could_leave + status.staying.len() as u64;
    let ended = u64::from(now.turned_out.saturating_sub(before.turned_out));
    let (there, remaining) = (sessions(before), sessions(now));
    let left = there.saturating_sub(ended + remaining);
    let counted = |count: u64| table::counted(count as usize, "session");
    let mut outcome = format!("{}: {left} left, {ended} ended with error 1053", counted(there));
    if remaining > 0 {
        let _ = write!(outcome, ", {remaining} still there");
    }
    outcome.push('\n');
    outcome
}

/// A server that is used again: nobody is to leave it, and nothing waits.
pub fn in_use(status: &DrainStatus) -> String {
    let connections = table::counted(status.connections as usize, "connection");
    format!("{}/{} ({}) is {}: {connections}\n", status.cluster, status.server, status.role, status.service)
}

/// Counts in one line.
pub fn summary(status: &DrainStatus) -> String {
    let stay = if status.staying.len() == 1 { "stays" } else { "stay" };
    let left = status.seconds_left.map_or_else(String::new, |seconds| format!(", {} left", table::duration(seconds)));
    format!(
        "{}/{} ({}) is {}{left}: {}, {} could leave now, {} {stay}",
        status.cluster,
        status.server,
        status.role,
        status.service,
        table::counted(status.connections as usize, "connection"),
        table::counted(status.could_leave as usize, "session"),
        status.staying.len(),
    )
}

fn staying(staying: &[Staying]) -> String {
    let header =
        [("ID", Side::Right), ("USER", Side::Left), ("ADDRESS", Side::Left), ("FOR", Side::Right), ("WHY", Side::Left)];
    let rows = staying.iter().map(|session| {
        vec![
            session.id.to_string(),
            session.user.clone(),
            session.address.clone(),
            table::or_dash(session.seconds.map(table::duration)),
            session.why.join(", "),
        ]
    });
    table::columns(&header, rows)
}

#[cfg(test)]
mod tests {
    use super::super::shapes::tests::a_session;
    use super::*;
    use crate::topology::testing::{answers, config, table};
    use crate::topology::{Beliefs, Writable};

    const DB1: &str = "name = \"db1\"\naddress = \"10.0.0.1:3306\"";
    const DB2: &str = "name = \"db2\"\naddress = \"10.0.0.2:3306\"";

    fn guest(id: u32, stake: Stake, ties: &[&str]) -> Guest {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let session = SessionStatus { id, pins: texts(ties), ties: texts(ties), tied_seconds: Some(75), ..a_session() };
        Guest { session, stake }
    }

    #[test]
    fn who_could_leave_is_told_from_who_stays_and_why() {
        let table = table(config(&[DB1, DB2]), &[answers(Writable::Yes), answers(Writable::No)]);
        let guests = vec![
            guest(7, Stake::Home, &[]),
            guest(8, Stake::Home, &["transaction", "temporary table"]),
            guest(9, Stake::Reads, &["command"]),
            guest(10, Stake::Reads, &["transaction"]),
        ];
        let status = status(&table, ServerIndex(0), guests, Instant::now());
        assert_eq!(status.could_leave, 2);
        let expected = "\
shop/db1 (primary) is in use: 0 connections, 2 sessions could leave now, 2 stay

ID  USER  ADDRESS             FOR  WHY
 8  app   127.0.0.1:40112  1m 15s  transaction, temporary table
10  app   127.0.0.1:40112  1m 15s  transaction

note: db1 has the writes of shop: what begins there waits up to hold_timeout (10s) for another server that takes them. \
Make db2 the primary (`sqluice switchover` does, with `failover = \"manual\"` in the configuration)
";
        assert_eq!(page(&status), expected);
    }

    #[test]
    fn a_server_that_is_taken_back_leaves_nothing_to_be_said_of_leaving_it() {
        let table = table(config(&[DB1, DB2]), &[answers(Writable::Yes), answers(Writable::No)]);
        let status = status(&table, ServerIndex(0), vec![guest(8, Stake::Home, &["transaction"])], Instant::now());
        assert_eq!(in_use(&status), "shop/db1 (primary) is in use: 0 connections\n");
        assert!(summary(&status).ends_with("0 sessions could leave now, 1 stays"), "{}", summary(&status));
    }

    #[test]
    fn at_its_end_a_drain_says_what_became_of_those_who_were_there() {
        let table = table(config(&[DB1, DB2]), &[answers(Writable::Yes), answers(Writable::No)]);
        let now = Instant::now();
        let status = |guests: &[(u32, &[&str])]| {
            let guests = guests.iter().map(|(id, ties)| guest(*id, Stake::Home, ties)).collect();
            super::status(&table, ServerIndex(0), guests, now)
        };
        table.servers[0].load.turn_out();
        let before = status(&[(7, &[]), (8, &["transaction"]), (9, &["temporary table"])]);
        table.servers[0].load.turn_out();
        assert_eq!(outcome(&before, &status(&[])), "3 sessions: 2 left, 1 ended with error 1053\n");
        let remaining = status(&[(9, &["temporary table"])]);
        assert_eq!(outcome(&before, &remaining), "3 sessions: 1 left, 1 ended with error 1053, 1 still there\n");
        assert_eq!(outcome(&remaining, &status(&[])), "1 session: 1 left, 0 ended with error 1053\n");
    }

    #[test]
    fn a_server_with_others_beside_it_needs_no_note() {
        let table = table(config(&[DB1, DB2]), &[answers(Writable::Yes), answers(Writable::No)]);
        // Its readers fall back to the primary.
        assert_eq!(status(&table, ServerIndex(1), Vec::new(), Instant::now()).notes, [""; 0]);
    }

    #[test]
    fn a_server_is_found_by_its_name_alone_or_with_its_cluster() {
        let beliefs = Beliefs::new(config(&[DB1, DB2]), Instant::now()).table();
        assert_eq!(find(&beliefs, "db2"), find(&beliefs, "shop/db2"));
        let known = "write one of shop/db1, shop/db2";
        assert_eq!(find(&beliefs, "db3"), Err(format!("there is no server db3: {known}")));
        assert_eq!(find(&beliefs, "other/db2"), Err(format!("there is no server other/db2: {known}")));
    }

    #[test]
    fn a_budget_is_a_duration_of_a_day_at_most() {
        assert_eq!(budget("30s"), Ok(Duration::from_secs(30)));
        assert!(budget("25h").is_err());
        assert!(budget("30").is_err_and(|why| why.starts_with("a budget cannot be \"30\": write a whole number")));
    }
}
