//! Making another server the primary: planned, or because the primary is gone.
//!
//! | file | what is in it |
//! |---|---|
//! | `state` | what the servers say of their replication |
//! | `plan` | from that to the steps, or to the reason why nothing may be done: pure |
//! | `steps` | each step's SQL, and the SQL that takes it back |
//! | `survey` | asks the servers |
//! | `approach` | waits, with nothing held yet, for a candidate that is behind |
//! | `lock` | keeps two balancers from doing it at once |
//! | `run` | carries a plan out, or takes it back |
//! | `silence` | finds out whether a primary that does not answer is gone |
//! | `ending` | ends the connections of those who could still write |
//! | `watch` | begins where nobody has to be asked: `failover = "automatic"` |
//!
//! Runs on the control thread, and only where the configuration says so. Routing is told twice: nobody begins to write
//! while the primary changes, and then whoever the servers themselves say is the primary gets the writes. So a mistake
//! here can cost writes, and never sends them to two servers.

mod approach;
mod ending;
mod lock;
mod plan;
mod run;
mod silence;
mod state;
mod steps;
mod survey;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mysql_async::Conn;
use tokio::time::{Instant, timeout};

use crate::config::{Account, Cluster, ClusterIndex, Promotion};
use crate::monitor::Steering;
use crate::reach::Ways;
use crate::topology::{RoutingTable, ServerEntry, ServerId};
use approach::Awaited;
use lock::Majority;
use plan::{Plan, Refused};
use run::Run;
use state::Member;

/// Changes primaries.
#[derive(Debug, Clone)]
pub struct Promoter {
    table: Arc<ArcSwap<RoutingTable>>,
    steering: Steering,
    ways: Ways,
    awaited: Awaited,
}

/// Whether it is done or only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is done.
    Act,
    /// Nothing is changed; the answer is what would be done.
    Rehearse,
}

/// Why a server did not become the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPromoted {
    /// There is no such server, or none that may be promoted.
    Unknown(String),
    /// It may not be done as things are, or it failed; with what was done before, a line each.
    Failed(Vec<String>),
}

impl Promoter {
    /// Works on the clusters of `table`, to whose servers `ways` lead.
    pub fn new(table: Arc<ArcSwap<RoutingTable>>, steering: Steering, ways: Ways) -> Promoter {
        Promoter { table, steering, ways, awaited: Awaited::default() }
    }

    /// Servers that are to be primaries and are waited for, with what there is to say of each.
    pub fn awaited(&self) -> Arc<HashMap<ServerId, String>> {
        self.awaited.now()
    }

    /// Looks after the clusters with `failover = "automatic"` from now on. Must be called inside a tokio runtime.
    pub fn watch(&self) {
        tokio::spawn(watch::watch(self.clone()));
    }

    /// The cluster at that place, if its primary may be changed.
    fn work<'w>(&'w self, table: &'w RoutingTable, index: ClusterIndex) -> Option<Work<'w>> {
        let promotion = table.config.cluster(index).promotion.as_ref()?;
        let Promoter { steering, ways, awaited, .. } = self;
        Some(Work { steering, ways, awaited, table, index, promotion })
    }

    /// Makes the server of that name (`NAME` or `CLUSTER/NAME`) the primary of its cluster. Tells what was done.
    pub async fn switchover(&self, server: &str, mode: Mode) -> Result<Vec<String>, NotPromoted> {
        let table = self.table.load_full();
        let (cluster, wanted) = find(&table, server)?;
        let Some(work) = self.work(&table, cluster) else {
            let name = &table.config.cluster(cluster).name;
            let advice = "write `failover = \"manual\"` and `replication = { … }` in the configuration";
            return Err(NotPromoted::Unknown(format!("nobody may change the primary of cluster {name}: {advice}")));
        };
        work.promote(Some(wanted), mode).await.map_err(NotPromoted::Failed)
    }
}

/// The server of that name, with its place in its cluster.
fn find(table: &RoutingTable, name: &str) -> Result<(ClusterIndex, usize), NotPromoted> {
    let (of, own) = name.split_once('/').map_or((None, name), |(cluster, name)| (Some(cluster), name));
    let mut found = Vec::new();
    for (index, cluster) in table.config.clusters.iter().enumerate() {
        let is_it = of.is_none_or(|of| of == cluster.name);
        let place = cluster.servers.iter().position(|server| is_it && server.name == own);
        found.extend(place.map(|place| (ClusterIndex(index), place)));
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(NotPromoted::Unknown(table.no_server(name))),
        _ => Err(NotPromoted::Unknown(format!("several clusters have a server {own}: write CLUSTER/{own}"))),
    }
}

/// Who speaks to the servers, and how it gets to them.
#[derive(Debug, Clone)]
struct Caller {
    account: Account,
    ways: Ways,
}

/// One attempt in one cluster.
struct Work<'w> {
    steering: &'w Steering,
    ways: &'w Ways,
    awaited: &'w Awaited,
    table: &'w RoutingTable,
    index: ClusterIndex,
    promotion: &'w Promotion,
}

impl Work<'_> {
    async fn promote(&self, wanted: Option<usize>, mode: Mode) -> Result<Vec<String>, Vec<String>> {
        let cluster = self.cluster();
        let plan = |members: &[Member]| plan::plan(members, wanted, &self.promotion.replication);
        let (mut members, mut connections) = survey::survey(cluster, &self.caller()).await;
        self.pass_over_drained(&mut members);
        let first = plan(&members).map_err(reason)?;
        if mode == Mode::Rehearse {
            return Ok(told(&first, &members, self.distance(&first, &members)));
        }
        let mut said = self.come_near(&first, &mut members, &mut connections, plan).await?;
        match self.locked(members, connections, first, |members| plan(members).map(Some)).await {
            Ok(run) => self.carry_out(Run { said, ..run }).await,
            Err(why) => {
                said.extend(why);
                Err(said)
            }
        }
    }

    /// Whoever is taken out of use is not promoted, unless it is named.
    fn pass_over_drained(&self, members: &mut [Member]) {
        let servers = self.table.servers.iter().filter(|server| server.cluster == self.index);
        let drained = members.iter_mut().zip(servers).filter(|(_, server)| !server.service.is_in_use());
        drained.for_each(|(member, _)| member.priority = 0);
    }

    /// Makes a replica of a server that came back; of one at a time, the others wait for the next look.
    async fn rejoin(&self) -> Result<Vec<String>, Vec<String>> {
        let (cluster, replication) = (self.cluster(), &self.promotion.replication);
        let (members, connections) = survey::survey(cluster, &self.caller()).await;
        let Some(plan) = plan::rejoin(&members, replication).map_err(reason)? else { return Ok(Vec::new()) };
        let mut run = self.locked(members, connections, plan, |members| plan::rejoin(members, replication)).await?;
        let done = run.through().await;
        let mut said = run.end().await;
        match done {
            Ok(()) => Ok(said),
            Err(why) => {
                said.push(why);
                Err(said)
            }
        }
    }

    /// The plan with the locks: and still the same plan, as what was seen before may have been the work of whoever had them.
    async fn locked(
        &self,
        mut members: Vec<Member>,
        mut connections: Vec<Option<Conn>>,
        first: Plan,
        plan: impl Fn(&[Member]) -> Result<Option<Plan>, Refused>,
    ) -> Result<Run<'_>, Vec<String>> {
        let (cluster, caller, held) = (self.cluster(), self.caller(), None);
        let patience = survey::patience(cluster);
        let majority = Majority::take(&cluster.name, &mut connections, patience).await.map_err(|why| vec![why])?;
        survey::survey_again(&mut members, &mut connections, patience).await;
        match plan(&members) {
            Ok(Some(plan)) if (plan.old, plan.new) == (first.old, first.new) => {
                Ok(Run { cluster, caller, members, connections, plan, majority, held, said: Vec::new() })
            }
            other => {
                majority.release(&mut connections).await;
                Err(other.err().map_or_else(|| vec![CHANGED.to_owned()], reason))
            }
        }
    }

    async fn carry_out(&self, mut run: Run<'_>) -> Result<Vec<String>, Vec<String>> {
        let (new, old) = (run.plan.new, run.plan.old);
        run.held = Some(Instant::now());
        self.steering.hold_writes(&self.cluster().name).await;
        let turned = run.turn().await;
        let turn_seen = self.steering.check_again(vec![self.id(new), self.id(old)]);
        // One of the two may be dead, and what the other one says is enough then.
        let _ = timeout(SEEN_TIME_MAX, turn_seen).await;
        let change = turned.is_ok().then(|| (self.id(old), self.id(new)));
        self.steering.let_write(&self.cluster().name, change).await;
        let failures = match &turned {
            Ok(()) => run.tidy().await,
            Err(_) => Vec::new(),
        };
        // Whoever asks next how things are is not to hear how they were in the middle of it.
        let all = self.table.servers.iter().filter(|server| server.cluster == self.index).map(|server| server.id);
        let _ = timeout(SEEN_TIME_MAX, self.steering.check_again(all.collect())).await;
        let (name, notes) = (run.members[new].name.clone(), run.plan.notes.clone());
        let mut said = run.end().await;
        if let Err(why) = turned {
            said.push(format!("{name} did not become the primary: {why}"));
            return Err(said);
        }
        said.push(format!("{name} is the primary"));
        said.extend(notes);
        match failures.is_empty() {
            true => Ok(said),
            false => {
                said.push(format!("left to be done by hand: {}", failures.join(", ")));
                Err(said)
            }
        }
    }

    fn caller(&self) -> Caller {
        Caller { account: self.promotion.admin.clone(), ways: self.ways.clone() }
    }

    fn cluster(&self) -> &Cluster {
        self.table.config.cluster(self.index)
    }

    fn id(&self, place: usize) -> ServerId {
        self.entry(place).id
    }

    /// The server at that place of the cluster.
    fn entry(&self, place: usize) -> &ServerEntry {
        let mut servers = self.table.servers.iter().filter(|server| server.cluster == self.index);
        servers.nth(place).expect("a table has every server of its configuration")
    }
}

fn reason(refused: Refused) -> Vec<String> {
    vec![refused.0]
}

/// A plan for people to read, with how far the new primary is behind.
fn told(plan: &Plan, members: &[Member], distance: Option<String>) -> Vec<String> {
    let mut lines = vec![format!("{} -> {}", members[plan.old].name, members[plan.new].name)];
    lines.extend(distance);
    for (number, step) in plan.steps.iter().enumerate() {
        let family = members[step.at].state().map(|state| state.family);
        lines.push(format!("{}. {}: {}", number + 1, members[step.at].name, step.what));
        let shown = family.map(|family| step.action.shown(family)).unwrap_or_default();
        lines.extend(shown.into_iter().map(|sql| format!("   {sql};")));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    lines
}

/// Why a plan is not carried out that was made a moment ago.
const CHANGED: &str = "the servers have changed their roles meanwhile: look at their status";

/// How long the checks may take to see a change that was made.
const SEEN_TIME_MAX: Duration = Duration::from_secs(2);
