//! The JSON of the admin API, as types: what the process answers and what the commands read.
//!
//! Names are stable: a field may be added, none changes its meaning. Times are seconds, addresses are written as in
//! the configuration, and nothing here can hold a password or a statement's literal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/status`: the whole process at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The process itself.
    pub process: ProcessStatus,
    /// Sessions now, and how many there may be.
    pub sessions: SessionCount,
    /// Where the statements of split users ran since the start; absent where no user is split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitCounts>,
    /// Whether clients are sent to another balancer; absent in answers of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instant_failover: Option<InstantFailoverStatus>,
    /// Addresses clients connect to, in the order of the configuration.
    pub listeners: Vec<ListenerStatus>,
    /// Clusters with their servers, in the order of the configuration.
    pub clusters: Vec<ClusterStatus>,
    /// Pools, in the order of the configuration.
    pub pools: Vec<PoolStatus>,
    /// The latest changes of primaries, the last one last.
    #[serde(default)]
    pub successions: Vec<SuccessionStatus>,
}

/// How one change of a primary went. Times are in seconds after its first moment that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SuccessionStatus {
    /// The cluster.
    pub cluster: String,
    /// Which change of this cluster it is since the start, from 1.
    #[serde(default)]
    pub number: u64,
    /// The old primary.
    pub from: String,
    /// The new primary.
    pub to: String,
    /// How long ago writes went to the new one.
    pub seconds_ago: u64,
    /// The old one's last answer to a check before it was taken out of use; 0, or `null` if there was none.
    pub last_good_reply: Option<f64>,
    /// The old one was taken out of use.
    pub detected: f64,
    /// This process began to make another one the primary; `null` if somebody else did.
    pub decided: Option<f64>,
    /// Writes went to the new one.
    pub rerouted: f64,
    /// The new one's first answer to a check after that.
    pub first_reply: Option<f64>,
}

/// The process itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProcessStatus {
    /// The release, as in `sqluice --version`.
    pub version: String,
    /// The process id.
    pub pid: u32,
    /// What the process is doing.
    pub phase: Phase,
    /// Time since the start.
    pub uptime_seconds: u64,
    /// The I/O engine in use and, where it is not the wished one, why.
    pub engine: String,
    /// Worker threads.
    pub workers: usize,
    /// How many routing tables were published: it grows with each reload and each change of a server's health.
    pub table_epoch: u64,
    /// The address of the status page; `null` when there is none.
    #[serde(default)]
    pub http: Option<String>,
}

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Clients are accepted.
    Serving,
    /// No new clients; sessions end at their next transaction end.
    Draining,
}

/// Sessions now, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionCount {
    /// Sessions logged in at this moment.
    pub current: u64,
    /// `max_sessions`.
    pub max: u64,
    /// Those of `current` that each worker has, by the worker's number.
    pub by_worker: Vec<u64>,
}

/// Where the statements of split users ran since the start, and why. Only reasons that were met are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SplitCounts {
    /// Reads that replicas ran.
    pub reads_at_replicas: u64,
    /// Reads that a replica did not run, so that the primary ran them in its place; they count there, too.
    pub reads_repeated: u64,
    /// Reads that the primary ran, by what kept them there.
    pub reads_at_primary: BTreeMap<String, u64>,
    /// Statements that are no reads by their text, by the rule that decided.
    pub other_statements: BTreeMap<String, u64>,
}

impl SplitCounts {
    /// How many of a hundred reads replicas ran; none before the first read.
    pub fn share_at_replicas(&self) -> Option<f64> {
        let reads = self.reads_at_replicas + self.reads_at_primary.values().sum::<u64>();
        (reads > 0).then(|| self.reads_at_replicas as f64 * 100.0 / reads as f64)
    }
}

/// Whether clients are sent to another balancer; also the answer to
/// `POST /v1/failover?mode=M[&target=HOST:PORT][&existing=drain]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstantFailoverStatus {
    /// Who is sent.
    pub mode: FailoverMode,
    /// Where to; kept while nobody is sent.
    pub target: Option<String>,
    /// The error that tells them.
    pub error_code: u16,
    /// What becomes of the sessions of clients that would be sent if they came now.
    pub existing: ExistingSessions,
    /// Who decided it.
    pub origin: FailoverOrigin,
    /// Clients that were sent since the start.
    pub sent: u64,
    /// What else there is to know of an order, a sentence or two each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Who is sent to another balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailoverMode {
    /// Nobody.
    Off,
    /// Clients of listeners that are neither `extra` nor UNIX sockets.
    On,
    /// Everybody.
    All,
}

/// What becomes of sessions whose clients would be sent elsewhere if they came now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExistingSessions {
    /// They go on.
    #[default]
    Stay,
    /// They leave at the end of their transactions.
    Drain,
}

/// Who decided whether clients are sent elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailoverOrigin {
    /// The file.
    Configuration,
    /// `sqluice failover`, since the file was read.
    Command,
}

/// One address clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListenerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The address it is bound to: with port 0 in the configuration, the port the kernel gave.
    pub address: String,
    /// An administrative port.
    pub extra: bool,
    /// `disabled`, `preferred` or `required`.
    pub tls: String,
    /// What its clients see in TLS; absent where it has none.
    pub certificate: Option<CertificateStatus>,
}

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateStatus {
    /// Whom it names.
    pub subject: String,
    /// Made here, because none is configured.
    pub is_self_signed: bool,
    /// Its end, in seconds since 1970.
    pub expires: i64,
    /// Whole days until then; below zero when it has expired.
    pub days_left: i64,
}

/// Servers that replicate one data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    /// Its name in the configuration.
    pub name: String,
    /// How roles are found: `replication`, `static`, …
    pub topology: String,
    /// What has happened to it, by name, where its topology has names for that: `one node stopped`, `split brain…`, …
    #[serde(default)]
    pub situation: String,
    /// What is wrong with it, a sentence each; empty when nothing is.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// The next steps for an operator, in order; empty when there is nothing to do.
    #[serde(default)]
    pub advice: Vec<String>,
    /// Its servers, in the order of the configuration.
    pub servers: Vec<ServerStatus>,
}

/// One server and what is believed of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its address in the configuration.
    pub address: String,
    /// `primary`, `replica` or `unknown`.
    pub role: String,
    /// `up`, `down`, `unknown`, …
    pub state: String,
    /// How well it does what its role asks: `fit`, `last resort` (used where nobody is fit), `leaving` (not used any more, and left by
    /// sessions as in a drain) or `unfit` (not used).
    #[serde(default)]
    pub fitness: String,
    /// Why this state, role and fitness are believed, in words.
    pub reason: String,
    /// How long they have been believed.
    pub since_seconds: u64,
    /// Whether an operator lets it be used: `in use`, `draining` or `out of use`.
    #[serde(default)]
    pub service: String,
    /// While it is draining: until whoever is still there is ended.
    #[serde(default)]
    pub drain_seconds_left: Option<u64>,
    /// While it is draining: how long it has been.
    #[serde(default)]
    pub drain_seconds: Option<u64>,
    /// While it is draining: its connections when that began. None is what a process begins with that was restarted meanwhile.
    #[serde(default)]
    pub drain_connections: Option<u32>,
    /// Its share of the connections, relative to the other servers of a pool.
    pub weight: u32,
    /// Connections to it that stand or are being made.
    pub connections: u32,
    /// Of those, the ones that rest between two sessions, where connections are shared.
    #[serde(default)]
    pub resting: u32,
    /// Sessions that wait for one of its connections to become free.
    pub waiting: u32,
    /// How many connections it may be given; `null` is no bound.
    pub max_connections: Option<u32>,
    /// The version it announces; `null` until it was reached once.
    pub version: Option<String>,
    /// The GTIDs it was last seen to have: of a replica what it has applied, of others all that is in their history.
    /// `null` when it cannot tell, or since it was last in trouble.
    pub position: Option<String>,
    /// How far it is behind its primary, beyond what it is meant to be; `null` where that cannot be measured.
    #[serde(default)]
    pub lag_seconds: Option<f64>,
    /// Its replies of the last minute; `null` when there were none.
    #[serde(default)]
    pub replies: Option<ReplyTimes>,
}

/// How long a server took to reply of late: from the moment a command was passed on to the end of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplyTimes {
    /// The time that is looked at: up to a minute.
    pub seconds: f64,
    /// Replies in that time.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_seconds: f64,
    /// 95 of 100 took no longer.
    pub p95_seconds: f64,
    /// 99 of 100 took no longer.
    pub p99_seconds: f64,
}

/// The members of a cluster with one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its cluster.
    pub cluster: String,
    /// The role its members have.
    pub role: String,
    /// How one of them is picked.
    pub balance: String,
    /// The pool used when this one has no usable member.
    pub fallback: Option<String>,
    /// Names of the members that can be picked now.
    pub usable: Vec<String>,
}

/// `GET /v1/sessions`: one row a session, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionStatus {
    /// The connection id the client was given.
    pub id: u32,
    /// The worker that serves it.
    pub worker: usize,
    /// The user; empty until the login is done.
    pub user: String,
    /// The client's address.
    pub address: String,
    /// The server in use.
    pub server: Option<String>,
    /// The replica that its reads go to, where that is another one.
    #[serde(default)]
    pub replica: Option<String>,
    /// The server used before that one.
    pub last_server: Option<String>,
    /// What it is doing.
    pub state: String,
    /// Why it may not leave its server now.
    pub pins: Vec<String>,
    /// Why it could not go on at another server now, if its own was taken out of use; empty if it could.
    #[serde(default)]
    pub ties: Vec<String>,
    /// For how long something has tied it to its server.
    #[serde(default)]
    pub tied_seconds: Option<u64>,
    /// Commands so far.
    pub commands: u64,
    /// Time since the client connected.
    pub age_seconds: u64,
}

/// `GET /v1/explain?user=U[&sql=S]`: where this user's statement goes and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The user asked about.
    pub user: String,
    /// Which rule applied, in words.
    pub rule: String,
    /// The statement, if one was given and its text matters: that of a user whose reads are split.
    pub statement: Option<StatementExplanation>,
    /// The pool the rule names.
    pub pool: String,
    /// The pools looked at, in order: the one the rule names, then its fallbacks.
    pub pools: Vec<PoolExplanation>,
    /// The chosen server; `null` when there is none, or none that can be known.
    pub server: Option<String>,
    /// The result in words.
    pub outcome: String,
    /// What the answer does not take into account, in words.
    pub notes: Vec<String>,
}

/// What a statement's text says of where it may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementExplanation {
    /// What it is taken for.
    pub class: String,
    /// The rule that decided.
    pub reason: String,
    /// The part of the text that the rule met; empty where the whole decided.
    pub token: String,
    /// A hint in a comment of it.
    pub hint: Option<String>,
    /// What it does, or may do, to its session.
    pub effects: Vec<String>,
    /// What of its session it reads.
    pub needs: Vec<String>,
}

/// One pool of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolExplanation {
    /// Its name.
    pub pool: String,
    /// Whose servers they are, of which role, and how one is picked, in words.
    pub rule: String,
    /// Every server of its cluster, with the reason for or against it.
    pub candidates: Vec<CandidateExplanation>,
}

/// One server of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandidateExplanation {
    /// Its name.
    pub server: String,
    /// Whether it was chosen, could have been, or could not.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

/// What a routing decision says of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The one.
    Chosen,
    /// Usable, but another was better.
    Passed,
    /// Not usable.
    Excluded,
    /// It depends on what the servers say, which an offline answer cannot know.
    Open,
}

/// `POST /v1/reload`, when it worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What is different now, one line a change; empty when the file says what it said.
    pub changes: Vec<String>,
    /// What the file says but only a restart can do, one line each; the old value stays.
    pub needs_restart: Vec<String>,
    /// What became of operators' commands, one line each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// `POST /v1/switchover?server=S[&rehearse=true]`, when it worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Switchover {
    /// What was done, or would be, one line each.
    pub lines: Vec<String>,
}

/// `GET` or `POST /v1/drain?server=S`, `POST /v1/disable?server=S`, `POST /v1/enable?server=S`: a server and who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainStatus {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub server: String,
    /// `primary`, `replica`, …
    pub role: String,
    /// `in use`, `draining` or `out of use`.
    pub service: String,
    /// While it is draining: until whoever is still there is ended.
    pub seconds_left: Option<u64>,
    /// Connections to it that stand or are being made; with 0, nothing of this process is there any more.
    pub connections: u32,
    /// Sessions there that nothing holds.
    pub could_leave: u64,
    /// Sessions there that something holds.
    pub staying: Vec<Staying>,
    /// Sessions that were ended there because it was taken out of use, since the process began.
    pub turned_out: u32,
    /// What else there is to know, a sentence or two each.
    pub notes: Vec<String>,
}

/// A session that cannot leave a server now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Staying {
    /// The connection id the client was given.
    pub id: u32,
    /// The user.
    pub user: String,
    /// The client's address.
    pub address: String,
    /// It is at home elsewhere and only reads there.
    pub reads_only: bool,
    /// What holds it.
    pub why: Vec<String>,
    /// For how long something has held it.
    pub seconds: Option<u64>,
}

/// Any answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What is wrong, for people; for a bad configuration one `file:line:column: …` line each.
    pub errors: Vec<String>,
}

/// `GET /v1/health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// What the process is doing; 200 while serving, 503 while draining.
    pub phase: Phase,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn a_status() -> Status {
        let server = |name: &str, address: &str| ServerStatus {
            name: name.into(),
            address: address.into(),
            role: "primary".into(),
            state: "up".into(),
            fitness: "fit".into(),
            reason: "read_only=0".into(),
            since_seconds: 90,
            service: "in use".into(),
            drain_seconds_left: None,
            drain_seconds: None,
            drain_connections: None,
            weight: 100,
            connections: 3,
            resting: 0,
            waiting: 0,
            max_connections: None,
            version: Some("10.11.19-MariaDB".into()),
            position: Some("0-1-4,1-1-20".into()),
            lag_seconds: None,
            replies: None,
        };
        let pool = |name: &str, role: &str| PoolStatus {
            name: name.into(),
            cluster: "shop".into(),
            role: role.into(),
            balance: "least-connections".into(),
            fallback: None,
            usable: vec!["db1".into()],
        };
        let listener = |name: &str, address: &str, certificate: Option<CertificateStatus>| ListenerStatus {
            name: name.into(),
            address: address.into(),
            extra: certificate.is_none(),
            tls: if certificate.is_some() { "required" } else { "disabled" }.into(),
            certificate,
        };
        let certificate = CertificateStatus {
            subject: "CN=db.example".into(),
            is_self_signed: false,
            expires: 1_800_000_000,
            days_left: 45,
        };
        Status {
            process: ProcessStatus {
                version: "0.1.0".into(),
                pid: 4242,
                phase: Phase::Serving,
                uptime_seconds: 3_725,
                engine: "io_uring".into(),
                workers: 2,
                table_epoch: 9,
                http: None,
            },
            sessions: SessionCount { current: 3, max: 10_000, by_worker: vec![2, 1] },
            split: Some(SplitCounts {
                reads_at_replicas: 970,
                reads_repeated: 1,
                reads_at_primary: BTreeMap::from([("transaction".into(), 25), ("user variable".into(), 5)]),
                other_statements: BTreeMap::from([("not a read".into(), 40)]),
            }),
            instant_failover: Some(InstantFailoverStatus {
                mode: FailoverMode::Off,
                target: None,
                error_code: 4196,
                existing: ExistingSessions::Stay,
                origin: FailoverOrigin::Configuration,
                sent: 0,
                notes: Vec::new(),
            }),
            listeners: vec![
                listener("app", "127.0.0.1:3306", Some(certificate)),
                listener("extra", "unix:/run/x", None),
            ],
            clusters: vec![ClusterStatus {
                name: "shop".into(),
                topology: "replication".into(),
                situation: String::new(),
                alarms: vec!["db2 is a replica and takes writes".into()],
                advice: vec![],
                servers: vec![
                    server("db1", "10.0.0.11:3306"),
                    ServerStatus {
                        role: "unknown".into(),
                        state: "unknown".into(),
                        reason: "not checked yet".into(),
                        since_seconds: 0,
                        weight: 50,
                        connections: 0,
                        max_connections: Some(200),
                        version: None,
                        position: None,
                        ..server("db2", "10.0.0.12:3306")
                    },
                ],
            }],
            pools: vec![
                pool("write", "primary"),
                PoolStatus {
                    balance: "round-robin".into(),
                    fallback: Some("write".into()),
                    usable: vec![],
                    ..pool("read", "replica")
                },
            ],
            successions: vec![SuccessionStatus {
                cluster: "shop".into(),
                number: 1,
                from: "db2".into(),
                to: "db1".into(),
                seconds_ago: 90,
                last_good_reply: Some(0.0),
                detected: 0.25,
                decided: Some(1.0),
                rerouted: 1.5,
                first_reply: None,
            }],
        }
    }

    pub(crate) fn a_session() -> SessionStatus {
        SessionStatus {
            id: 7,
            worker: 1,
            user: "app".into(),
            address: "127.0.0.1:40112".into(),
            server: Some("db1".into()),
            replica: None,
            last_server: Some("db1".into()),
            state: "idle".into(),
            pins: vec![],
            ties: vec![],
            tied_seconds: None,
            commands: 12,
            age_seconds: 45,
        }
    }
}
