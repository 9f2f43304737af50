//! The owner of what is believed: findings, reports and configurations come in, routing tables go out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, oneshot, watch as latest};
use tokio::task::{Id, JoinError, JoinSet};

use super::chronicle::{Pen, Remembrance};
use super::target::Target;
use super::this_moment;
use super::watch::{Finding, Watcher};
use crate::config::Config;
use crate::reach::Ways;
use crate::topology::{
    Beliefs, Blame, Change, CheckResult, ClusterEntry, Condition, Failure, FollowUp, Orders, Publication, Redirect,
    Report, RoutingTable, ServerId, ServerRole, Service, Succession, Successions,
};

/// What the rest of the process may ask for.
#[derive(Debug)]
pub(super) enum Order {
    /// Go on with another configuration; answered when its table is published.
    Apply(Arc<Config>, oneshot::Sender<()>),
    /// Let nobody begin to write in the cluster of that name; answered when the table says so.
    HoldWrites(String, oneshot::Sender<()>),
    /// Let them write again, after this change of the primary, if there was one; answered as above.
    LetWrite(String, Option<(ServerId, ServerId)>, oneshot::Sender<()>),
    /// Take a server into use or out of it; answered when the table says so, and the order is written down.
    Serve(ServerId, Service, oneshot::Sender<Remembrance>),
    /// Send clients elsewhere, or not any more; answered as above.
    Redirect(Box<Redirect>, oneshot::Sender<Remembrance>),
    /// Ask these servers; answered when each was asked after this came.
    CheckAgain(Vec<ServerId>, oneshot::Sender<()>),
}

/// Servers that somebody wants to hear of again.
struct Awaited {
    since: Instant,
    servers: Vec<ServerId>,
    done: oneshot::Sender<()>,
}

/// Owns the beliefs and publishes tables.
///
/// Invariant: there is one watcher for each server of the configuration in force, and no other.
pub(super) struct Keeper<Wake> {
    beliefs: Beliefs,
    /// What the next process will be told, where it is kept for it.
    pen: Option<Pen>,
    /// What it was told last of operators' orders.
    written: Orders,
    /// To the servers.
    ways: Ways,
    publication: Publication,
    wake: Wake,
    checked: latest::Sender<bool>,
    watched: HashMap<ServerId, Watched>,
    watchers: JoinSet<()>,
    findings: mpsc::Sender<Finding>,
    inbox: mpsc::Receiver<Finding>,
    awaited: Vec<Awaited>,
    history: Successions,
    /// What is kept of it, for whoever asks.
    kept: Arc<ArcSwap<Vec<Succession>>>,
}

/// A server that is being watched.
struct Watched {
    target: Target,
    /// The watcher's task. A finding of another task is of an earlier configuration.
    task: Id,
    stop: tokio::task::AbortHandle,
    /// Asks the watcher for a check now.
    poke: Arc<Notify>,
    /// When an operator was last told that credentials are wrong.
    alarmed: Option<Instant>,
    /// Whether its last word to a check was an error.
    refused: bool,
}

impl<Wake: Fn() + Send + 'static> Keeper<Wake> {
    pub(super) fn new(
        beliefs: Beliefs,
        pen: Option<Pen>,
        ways: Ways,
        publish: Arc<ArcSwap<RoutingTable>>,
        wake: Wake,
        checked: latest::Sender<bool>,
        kept: Arc<ArcSwap<Vec<Succession>>>,
    ) -> Keeper<Wake> {
        let (findings, inbox) = mpsc::channel(FINDINGS_MAX);
        let (watched, watchers) = (HashMap::new(), JoinSet::new());
        let publication = Publication::new(publish);
        let mut keeper = Keeper {
            written: pen.as_ref().map(|pen| pen.found.clone()).unwrap_or_default(),
            beliefs,
            pen,
            ways,
            publication,
            wake,
            checked,
            watched,
            watchers,
            findings,
            inbox,
            awaited: Vec::new(),
            history: Successions::new(),
            kept,
        };
        keeper.watch_all();
        // What was found may name servers that are not configured any more.
        keeper.write_changed_orders();
        keeper
    }

    /// Runs until nobody can give orders any more.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut reports: mpsc::Receiver<Report>) {
        loop {
            let retirement = self.beliefs.next_retirement();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                Some(finding) = self.inbox.recv() => self.take_finding(finding),
                Some(report) = reports.recv() => self.take_report(report),
                Some(ended) = self.watchers.join_next_with_id() => self.replace_watcher(ended),
                () = moment(retirement) => self.retire(),
            }
        }
    }

    /// Who gave an order may have gone away; the order holds all the same.
    fn obey(&mut self, order: Order) {
        match order {
            Order::Apply(config, done) => {
                self.apply(config);
                let _ = done.send(());
            }
            Order::HoldWrites(cluster, done) => {
                self.history.decided(&cluster, Instant::now());
                self.beliefs.hold_writes(&cluster);
                self.publish_changes();
                let _ = done.send(());
            }
            Order::LetWrite(cluster, change, done) => {
                self.beliefs.let_write(&cluster, change);
                self.publish_changes();
                let _ = done.send(());
            }
            Order::Serve(server, service, done) => {
                self.serve(server, service);
                self.write_orders(done);
            }
            Order::Redirect(redirect, done) => {
                self.beliefs.redirect(*redirect);
                self.publish_changes();
                self.write_orders(done);
            }
            Order::CheckAgain(servers, done) => {
                servers.iter().for_each(|&server| self.poke(server));
                self.awaited.push(Awaited { since: Instant::now(), servers, done });
                self.answer_awaited(None);
            }
        }
    }

    fn serve(&mut self, server: ServerId, service: Service) {
        if let Some(watched) = self.watched.get(&server) {
            tracing::info!("server {}: {service}, as an operator says", watched.target);
        }
        self.beliefs.serve(server, service);
        self.publish_changes();
    }

    /// The time that some server was given for its sessions is over.
    fn retire(&mut self) {
        let retired = self.beliefs.retire(Instant::now());
        for Watched { target, .. } in retired.iter().filter_map(|server| self.watched.get(server)) {
            tracing::info!("server {target}: the time for draining it is over; whoever is still there is ended");
        }
        self.publish_changes();
    }

    /// Tells those who waited for a check of this server, and whoever waits for nobody any more.
    fn answer_awaited(&mut self, checked: Option<(ServerId, Instant)>) {
        for awaited in std::mem::take(&mut self.awaited) {
            let Awaited { since, mut servers, done } = awaited;
            let is_new = |server: ServerId| checked.is_some_and(|(of, begun)| of == server && begun >= since);
            servers.retain(|&server| self.watched.contains_key(&server) && !is_new(server));
            if servers.is_empty() {
                let _ = done.send(());
            } else if !done.is_closed() {
                self.awaited.push(Awaited { since, servers, done });
            }
        }
    }

    fn apply(&mut self, config: Arc<Config>) {
        self.beliefs.apply(config, Instant::now());
        self.watch_all();
        self.publish_changes();
        // Servers may have gone with their orders, and the file may have spoken later than an operator.
        self.write_changed_orders();
    }

    fn write_changed_orders(&mut self) {
        if self.beliefs.orders(this_moment()) != self.written {
            let (nobody_waits, _) = oneshot::channel();
            self.write_orders(nobody_waits);
        }
    }

    /// Writes down what operators have ordered, for the next process.
    fn write_orders(&mut self, done: oneshot::Sender<Remembrance>) {
        self.written = self.beliefs.orders(this_moment());
        match &self.pen {
            Some(pen) => pen.write_orders(self.written.clone(), done),
            None => {
                let why = "nothing can be kept in `[process] state_directory`, as the log said at the start";
                let _ = done.send(Remembrance::UntilRestart(why.to_owned()));
            }
        }
    }

    fn take_finding(&mut self, mut finding: Finding) {
        // A reload may be the last change for days, and what it took away is not to stay in memory so long.
        self.publication.free_unused();
        let is_current = self.watched.get(&finding.server).is_some_and(|watched| watched.task == finding.task);
        if !is_current {
            return;
        }
        if let CheckResult::Answered(_) = finding.result {
            self.history.checked(finding.server, Instant::now());
            self.beliefs.see(finding.server, finding.seen.take());
        }
        self.beliefs.check(finding.server, &finding.result, Instant::now());
        self.publish_changes();
        self.ask_again();
        self.note_refusal(&finding);
        self.answer_awaited(Some((finding.server, finding.begun)));
        if !*self.checked.borrow() {
            self.note_checked();
        }
    }

    /// Whether all were asked: once they were, that changes only by a new configuration.
    fn note_checked(&self) {
        let all_checked = self.beliefs.all_checked();
        self.checked.send_if_modified(|checked| std::mem::replace(checked, all_checked) != all_checked);
    }

    /// The first reply of a new primary to a client ends the story of its coming.
    fn note_first_reply(&mut self, server: ServerId) {
        if self.history.answered(server, Instant::now()) {
            let kept = self.history.kept();
            let complete = kept.iter().rev().find(|change| change.phases.first_reply.is_some());
            complete.into_iter().for_each(|change| tracing::info!("{change}"));
            self.kept.store(Arc::new(kept));
        }
    }

    /// Tells an operator, once, that a server is alive and does not let itself be asked: its role is not known any more.
    fn note_refusal(&mut self, finding: &Finding) {
        let Some(watched) = self.watched.get_mut(&finding.server) else { return };
        match &finding.result {
            CheckResult::Answered(_) if std::mem::take(&mut watched.refused) => {
                tracing::info!("server {}: the check is let in again", watched.target);
            }
            CheckResult::Unbelieved(why) if !std::mem::replace(&mut watched.refused, true) => {
                tracing::warn!("server {}: the check has no TLS with it: {why}", watched.target);
            }
            CheckResult::LoginRefused { code, message } | CheckResult::StatementFailed { code, message } => {
                let is_news = !std::mem::replace(&mut watched.refused, true);
                if is_news && matches!(Blame::of(*code), Blame::Full | Blame::Credentials) {
                    tracing::warn!("server {}: the check is refused: ERROR {code}: {message}", watched.target);
                }
            }
            _ => {}
        }
    }

    fn take_report(&mut self, report: Report) {
        if report.failure == Failure::Answered {
            return self.note_first_reply(report.server);
        }
        match self.beliefs.report(report.server, report.failure, Instant::now()) {
            FollowUp::Nothing => {}
            FollowUp::Check => self.poke(report.server),
            FollowUp::Alarm => self.alarm(report),
        }
        self.publish_changes();
    }

    /// Publishes what is believed now, if that is anything new.
    fn publish_changes(&mut self) -> bool {
        let current = self.publication.current();
        let Some(next) = self.beliefs.next_table(&current) else { return false };
        let changes = next.changes_since(&current);
        changes.iter().for_each(log);
        next.news_since(&current).into_iter().for_each(|(name, entry)| log_cluster(name, entry));
        let concerned: Vec<ServerId> = concerned_by_news(&current, &next).collect();
        if self.history.publish(&next, Instant::now()) {
            let kept = self.history.kept();
            kept.last().into_iter().for_each(|change| tracing::warn!("{change}"));
            self.kept.store(Arc::new(kept));
        }
        self.publication.publish(next);
        self.note_past();
        (self.wake)();
        concerned.into_iter().for_each(|server| self.poke(server));
        true
    }

    fn note_past(&self) {
        if let Some(pen) = &self.pen {
            let now = self.beliefs.pasts();
            pen.pasts.send_if_modified(|known| (*known != now).then(|| *known = now).is_some());
        }
    }

    /// Those whose last answer is older than something that changes what it means.
    fn ask_again(&mut self) {
        let outdated = self.beliefs.take_outdated();
        outdated.into_iter().for_each(|server| self.poke(server));
    }

    fn poke(&self, server: ServerId) {
        if let Some(watched) = self.watched.get(&server) {
            watched.poke.notify_one();
        }
    }

    /// Tells an operator that a server refuses sessions because of their credentials; not for every one of them.
    fn alarm(&mut self, report: Report) {
        let Some(watched) = self.watched.get_mut(&report.server) else { return };
        let now = Instant::now();
        if watched.alarmed.is_some_and(|alarmed| now.duration_since(alarmed) < ALARM_INTERVAL) {
            return;
        }
        watched.alarmed = Some(now);
        if let Failure::LoginRefused { code } = report.failure {
            tracing::warn!(
                "server {} refused a session's login with error {code}: the credentials held here are not its own",
                watched.target
            );
        }
    }

    /// Makes the watchers those of the configuration in force. A watcher whose server stays as it was goes on.
    fn watch_all(&mut self) {
        let targets = Target::all(self.beliefs.config(), self.beliefs.ids());
        let mut old = std::mem::take(&mut self.watched);
        for target in targets {
            let kept = old.remove(&target.server).filter(|watched| watched.target == target);
            let watched = kept.unwrap_or_else(|| self.watch(target, Duration::ZERO));
            self.watched.insert(watched.target.server, watched);
        }
        // The rest belongs to servers that are gone or have changed.
        old.into_values().for_each(|watched| watched.stop.abort());
    }

    fn watch(&mut self, target: Target, delay: Duration) -> Watched {
        let poke = Arc::new(Notify::new());
        let watcher = Watcher::new(target.clone(), self.ways.clone(), Arc::clone(&poke), self.findings.clone());
        let stop = self.watchers.spawn(watcher.run(delay));
        Watched { target, task: stop.id(), stop, poke, alarmed: None, refused: false }
    }

    /// A watcher ends only when it is stopped, or by a panic, which must not leave its server unwatched.
    fn replace_watcher(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match &ended {
            Ok((task, ())) => *task,
            Err(error) => error.id(),
        };
        let Some(target) =
            self.watched.values().find(|watched| watched.task == task).map(|watched| watched.target.clone())
        else {
            return;
        };
        tracing::error!("the health check of server {target} ended by itself and is started again");
        let delay = target.interval;
        let watched = self.watch(target, delay);
        self.watched.insert(watched.target.server, watched);
    }
}

/// Waits until then; for ever, where there is nothing to wait for.
async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn log(change: &Change) {
    match (change.condition, change.role) {
        (Condition::Down, _) => tracing::warn!("{change}"),
        (_, ServerRole::Contested | ServerRole::Deposed | ServerRole::ReadOnlyPrimary) => tracing::warn!("{change}"),
        (Condition::Unknown | Condition::Up, _) => tracing::info!("{change}"),
    }
}

fn log_cluster(name: &str, entry: &ClusterEntry) {
    let ClusterEntry { situation, alarms, .. } = entry;
    let (situation, alarms) = (situation.to_string(), alarms.join("; "));
    match (situation.as_str(), alarms.as_str()) {
        ("", "") => tracing::info!("cluster {name}: no alarm any more"),
        (situation, "") => tracing::info!("cluster {name}: {situation}"),
        ("", alarms) => tracing::warn!("cluster {name}: {alarms} (`sqluice doctor` tells what to do)"),
        (situation, alarms) => {
            tracing::warn!("cluster {name}: {situation}: {alarms} (`sqluice doctor` tells what to do)");
        }
    }
}

/// Servers of clusters in which somebody has just become one of several that take writes, or is down. In a change of
/// primaries the old one may have been asked a moment too early: asking all again ends that sooner than the next interval.
/// And whoever has read at one that is lost waits to hear how far its primary was after that.
fn concerned_by_news<'a>(old: &'a RoutingTable, new: &'a RoutingTable) -> impl Iterator<Item = ServerId> + 'a {
    let state = |table: &RoutingTable, id: ServerId| {
        let health = table.place(id).map(|place| &table.server(place).health);
        health.map(|health| (health.role == ServerRole::Contested, health.condition == Condition::Down))
    };
    let clusters: Vec<_> = new
        .servers
        .iter()
        .filter(|server| {
            let [(was_contested, was_down), (is_contested, is_down)] =
                [old, new].map(|table| state(table, server.id).unwrap_or_default());
            (is_contested && !was_contested) || (is_down && !was_down)
        })
        .map(|server| server.cluster)
        .collect();
    new.servers.iter().filter(move |server| clusters.contains(&server.cluster)).map(|server| server.id)
}

/// Findings that wait for the keeper; a watcher that has one more waits, and checks later.
const FINDINGS_MAX: usize = 256;

/// Between two alarms about the credentials of one server.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);
