//! Carries a plan out, one step after the other, and takes it back if it does not come to its decisive step.

use std::fmt::Display;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

use super::lock::Majority;
use super::plan::{Kind, Plan};
use super::state::{Member, Sighting};
use super::steps::{self, Action, Sql, Stage, Step};
use super::survey::{CONNECT_TIME_MAX, ask, connect, legible};
use super::{Caller, approach};
use crate::config::Cluster;

/// A plan in the hands of whoever carries it out.
pub(super) struct Run<'r> {
    pub(super) cluster: &'r Cluster,
    pub(super) caller: Caller,
    pub(super) members: Vec<Member>,
    /// Parallel to the members; none where there is no answer, and none any more where one was given up.
    pub(super) connections: Vec<Option<Conn>>,
    pub(super) plan: Plan,
    pub(super) majority: Majority,
    /// Since when writes are held for it; absent until they are.
    pub(super) held: Option<Instant>,
    /// What was done, for people.
    pub(super) said: Vec<String>,
}

/// A step or a statement that did not do what it had to, in words.
pub(super) type Tried = Result<(), String>;

/// A step that was not done at a server: which one and why, in words.
struct Failure {
    at: usize,
    what: String,
}

/// What became of a statement, if that is known in time.
type Told = Result<Tried, Elapsed>;

impl Run<'_> {
    /// All steps up to the decisive one. On an error everything was taken back that could be.
    pub(super) async fn turn(&mut self) -> Tried {
        let steps = self.plan.steps.clone();
        let decisive = steps.iter().position(|step| step.stage == Stage::Decisive);
        let decisive = decisive.expect("every plan has a decisive step");
        let mut begun = 0;
        for abreast in steps[..=decisive].chunk_by(Step::goes_beside) {
            if begun == decisive && !self.majority.holds(&mut self.connections).await {
                return self.turn_back(begun, "the lock is not held at a majority any more".to_owned()).await;
            }
            begun += abreast.len();
            let failures = self.take(abreast).await;
            if !failures.is_empty() {
                // What failed may have been done in part.
                return self.turn_back(begun, in_words(failures)).await;
            }
        }
        Ok(())
    }

    async fn turn_back(&mut self, begun: usize, why: String) -> Tried {
        let restored = self.take_back(begun).await;
        Err(format!("{why}; {restored}"))
    }

    /// What is left to do once there is a new primary. Each failure is for an operator, and keeps only what is behind it at
    /// the same server from being done.
    pub(super) async fn tidy(&mut self) -> Vec<String> {
        let mut failures: Vec<Failure> = Vec::new();
        let steps: Vec<Step> = self.plan.steps.iter().filter(|step| step.stage == Stage::After).cloned().collect();
        for abreast in steps.chunk_by(Step::goes_beside) {
            let has_failed = |step: &&Step| failures.iter().any(|failure| failure.at == step.at);
            let left: Vec<Step> = abreast.iter().filter(|step| !has_failed(step)).cloned().collect();
            failures.extend(self.take(&left).await);
        }
        failures.into_iter().map(|failure| failure.what).collect()
    }

    /// All steps, up to the first that fails.
    pub(super) async fn through(&mut self) -> Tried {
        for abreast in self.plan.steps.clone().chunk_by(Step::goes_beside) {
            let failures = self.take(abreast).await;
            if !failures.is_empty() {
                return Err(in_words(failures));
            }
        }
        Ok(())
    }

    /// Gives the locks back.
    pub(super) async fn end(mut self) -> Vec<String> {
        self.majority.release(&mut self.connections).await;
        self.said
    }

    /// Takes steps that go beside each other, and tells of those that failed.
    async fn take(&mut self, abreast: &[Step]) -> Vec<Failure> {
        let Some(first) = abreast.first() else { return Vec::new() };
        abreast.iter().for_each(|step| self.say(format_args!("{}: {}", self.name(step.at), step.what)));
        let places: Vec<usize> = abreast.iter().map(|step| step.at).collect();
        let failed = match &first.action {
            Action::Run(statements) => self.run_at(&places, statements, first.action.deadline()).await,
            _ => self.wait(first).await.err().map(|why| (first.at, why)).into_iter().collect(),
        };
        let failed = failed.into_iter();
        let failures =
            failed.map(|(at, why)| Failure { at, what: format!("{}: {}: {why}", self.name(at), first.what) });
        let failures: Vec<Failure> = failures.collect();
        failures.iter().for_each(|failure| self.complain(&failure.what));
        failures
    }

    /// A step that is more than SQL.
    async fn wait(&mut self, step: &Step) -> Tried {
        let deadline = self.deadline(&step.action);
        let tried = match &step.action {
            Action::Run(statements) => return self.run(step.at, statements, deadline).await,
            Action::AwaitQuiet => timeout(deadline, self.await_quiet(step.at)).await,
            Action::EndSessions(whose) => timeout(deadline, self.end_sessions(step.at, *whose)).await,
            Action::ShutDoor => timeout(deadline, self.shut_door(step.at)).await,
            Action::AwaitHistoryOf(old) => timeout(deadline, self.await_history(step.at, *old)).await,
            Action::AwaitNoAnswerTo(callers) => timeout(deadline, self.await_no_answer(callers)).await,
            Action::AwaitSilence(linked, lasting) => timeout(deadline, self.await_silence(linked, *lasting)).await,
            Action::AwaitReceived => timeout(deadline, self.await_received(step.at)).await,
            Action::CheckHistory(primary) => timeout(deadline, self.check_history(step.at, *primary)).await,
        };
        tried.unwrap_or_else(|_| {
            // An answer may still be on its way there.
            self.connections[step.at] = None;
            Err(match &step.action {
                Action::AwaitHistoryOf(_) => {
                    format!("not done within {}, while writes are held", approach::seconds(deadline))
                }
                _ => format!("not done within {deadline:?}"),
            })
        })
    }

    /// When a step has failed. The one that writes wait for ends while they still do.
    fn deadline(&self, action: &Action) -> Duration {
        match (action, self.held) {
            (Action::AwaitHistoryOf(_), Some(held)) => {
                approach::left(self.cluster.hold_timeout, held.elapsed()).min(action.deadline())
            }
            _ => action.deadline(),
        }
    }

    pub(super) async fn run(&mut self, at: usize, statements: &[Sql], deadline: Duration) -> Tried {
        let failed = self.run_at(&[at], statements, deadline).await;
        failed.into_iter().next().map_or(Ok(()), |(_, why)| Err(why))
    }

    /// Runs each statement at all of these servers at once, then the next one where that was done: where a lost primary
    /// hangs, each replica may take seconds to leave it. Tells where they were not done, and why.
    async fn run_at(&mut self, places: &[usize], statements: &[Sql], deadline: Duration) -> Vec<(usize, String)> {
        let mut failed: Vec<(usize, String)> = Vec::new();
        let mut places = places.to_vec();
        for sql in statements {
            let mut asked = JoinSet::new();
            for &at in &places {
                self.say(format_args!("{}: {sql}", self.name(at)));
                match self.connections[at].take() {
                    Some(connection) => _ = asked.spawn(told(at, connection, sql.clone(), deadline)),
                    None => failed.push((at, NO_CONNECTION.to_owned())),
                }
            }
            for (at, connection, told) in asked.join_all().await {
                self.connections[at] = Some(connection);
                failed.extend(self.why_not(at, told, deadline).await.map(|why| (at, why)));
            }
            places.retain(|at| failed.iter().all(|(failed, _)| failed != at));
        }
        failed.sort_by_key(|(at, _)| *at);
        failed
    }

    async fn why_not(&mut self, at: usize, told: Told, deadline: Duration) -> Option<String> {
        match told {
            Ok(told) => told.err(),
            Err(_) => {
                self.give_up(at).await;
                Some(format!("no answer within {deadline:?}"))
            }
        }
    }

    /// Ends a connection on which a statement hangs, at the server as well: it must not take effect later.
    async fn give_up(&mut self, at: usize) {
        let Some(hanging) = self.connections[at].take() else { return };
        let kill = format!("KILL {}", hanging.id());
        drop(hanging);
        if self.connect_again(at).await.is_ok() {
            self.say(format_args!("{}: {kill}", self.name(at)));
            let killed = timeout(KILL_TIME_MAX, self.ask_drop(at, kill)).await;
            if !matches!(killed, Ok(Ok(()))) {
                self.complain(format_args!("{}: a statement that hangs there may still be done", self.name(at)));
            }
        }
    }

    async fn ask_drop(&mut self, at: usize, sql: String) -> Tried {
        connected(&mut self.connections[at])?.query_drop(sql).await.map_err(|error| legible(&error))
    }

    async fn connect_again(&mut self, at: usize) -> Tried {
        let opened =
            timeout(CONNECT_TIME_MAX, connect(&self.cluster.name, &self.cluster.servers[at], &self.caller)).await;
        let connection = match opened {
            Ok(connection) => connection.map_err(|failure| failure.to_string())?,
            Err(_) => return Err(format!("no connection within {CONNECT_TIME_MAX:?}")),
        };
        self.connections[at] = Some(connection);
        Ok(())
    }

    /// Takes the first `count` steps back, the last one first. Says what became of it.
    async fn take_back(&mut self, count: usize) -> String {
        let steps: Vec<Step> = self.plan.steps[..count].iter().rev().cloned().collect();
        let mut left = Vec::new();
        for step in steps.iter().filter(|step| !step.undo.is_empty()) {
            self.say(format_args!("{}: back from: {}", self.name(step.at), step.what));
            let Err(why) = self.undo(step).await else { continue };
            self.complain(format_args!("{}: back from: {}: {why}", self.name(step.at), step.what));
            if step.stage == Stage::Decisive {
                // With one that may take writes by now, no other one may.
                let name = self.name(step.at);
                return format!("{name} may take writes now, so nobody else was given them back: set read_only there");
            }
            left.push(format!(
                "{}: {}",
                self.name(step.at),
                step.undo.iter().map(Sql::to_string).collect::<Vec<_>>().join("; ")
            ));
        }
        match left.as_slice() {
            [] => "everything was taken back".to_owned(),
            left => format!("left to be done by hand: {}", left.join(", ")),
        }
    }

    async fn undo(&mut self, step: &Step) -> Tried {
        if self.connections[step.at].is_none() {
            self.connect_again(step.at).await?;
        }
        let tried = self.run(step.at, &step.undo, step.action.deadline()).await;
        if tried.is_ok() {
            return tried;
        }
        // The connection may have been what failed.
        self.connect_again(step.at).await?;
        let again = self.run(step.at, &step.undo, step.action.deadline()).await;
        match step.stage {
            // Whoever may not open a server may not close it either, and then it is still closed.
            Stage::Decisive if again.is_err() && self.is_closed(step.at).await => Ok(()),
            Stage::Before | Stage::Decisive | Stage::After => again,
        }
    }

    async fn is_closed(&mut self, at: usize) -> bool {
        let Ok(connection) = connected(&mut self.connections[at]) else { return false };
        matches!(timeout(CONNECT_TIME_MAX, ask(connection)).await, Ok(Ok(state)) if state.read_only)
    }

    async fn await_quiet(&mut self, at: usize) -> Tried {
        let end = Instant::now() + steps::QUIET_TIME_MAX;
        loop {
            let connection = connected(&mut self.connections[at])?;
            let open: Option<u64> =
                connection.query_first(steps::OPEN_TRANSACTIONS).await.map_err(|error| legible(&error))?;
            match open.unwrap_or(0) {
                0 => return Ok(()),
                open if Instant::now() >= end => {
                    self.complain(format_args!("{}: open transactions that are cut off: {open}", self.name(at)));
                    return Ok(());
                }
                _ => sleep(steps::TRANSACTIONS_KEPT).await,
            }
        }
    }

    /// Until `new` has what `old` has, which must stand still.
    async fn await_history(&mut self, new: usize, old: usize) -> Tried {
        loop {
            let wanted = ask(connected(&mut self.connections[old])?).await?;
            let position = wanted.history.to_string();
            self.await_position(new, &position).await?;
            let (now, mine) = (
                ask(connected(&mut self.connections[old])?).await?,
                ask(connected(&mut self.connections[new])?).await?,
            );
            if !wanted.history.covers(&now.history) {
                self.complain(format_args!(
                    "{}: somebody who need not mind read_only still writes there",
                    self.name(old)
                ));
                continue;
            }
            return match now.history.covers(&mine.history) {
                true => Ok(()),
                false => Err(format!("it has transactions that {} lacks: {}", self.name(old), mine.history)),
            };
        }
    }

    async fn await_position(&mut self, at: usize, position: &str) -> Tried {
        let family = self.members[at].state().map(|state| state.family).expect("whoever is promoted has told");
        let sql = steps::wait(family, position);
        self.say(format_args!("{}: {sql}", self.name(at)));
        loop {
            let connection = connected(&mut self.connections[at])?;
            let answer: Option<Option<i64>> = connection.query_first(&sql).await.map_err(|error| legible(&error))?;
            match answer.flatten() {
                Some(0) => return Ok(()),
                Some(_) => {}
                None => return Err("it does not apply what it has received".to_owned()),
            }
        }
    }

    /// Until `new` has applied all that it has received, which must be all that anybody has.
    async fn await_received(&mut self, new: usize) -> Tried {
        for (member, slot) in self.members.iter_mut().zip(&mut self.connections) {
            if let Some(connection) = slot {
                member.sighting = Sighting::Told(Box::new(ask(connection).await?));
            }
        }
        let received = self.members[new].source().map(|source| source.received.clone());
        let received = received.ok_or_else(|| "it follows nobody any more".to_owned())?;
        for member in &self.members {
            let Some(source) = member.source() else { continue };
            if source.receives || !received.covers(&source.received) {
                return Err(format!("{} has received more in the meantime", member.name));
            }
        }
        self.await_position(new, &received.to_string()).await
    }

    /// Whether `primary` has all that a server has that must not write any more.
    async fn check_history(&mut self, at: usize, primary: usize) -> Tried {
        let mine = ask(connected(&mut self.connections[at])?).await?;
        if !mine.read_only {
            return Err("it still takes writes".to_owned());
        }
        let theirs = ask(connected(&mut self.connections[primary])?).await?;
        match mine.transactions.beyond(&theirs.transactions) {
            None => Ok(()),
            Some(extra) => Err(format!(
                "it has transactions that {} lacks: {extra}; it takes no writes, and stays out until somebody has looked \
                 at them and made it anew",
                self.name(primary)
            )),
        }
    }

    pub(super) fn name(&self, at: usize) -> String {
        self.members[at].name.clone()
    }

    pub(super) fn say(&mut self, what: impl Display) {
        tracing::info!("{} of cluster {}: {what}", kind(self.plan.kind), self.cluster.name);
        self.said.push(what.to_string());
    }

    pub(super) fn complain(&mut self, what: impl Display) {
        tracing::warn!("{} of cluster {}: {what}", kind(self.plan.kind), self.cluster.name);
        self.said.push(what.to_string());
    }
}

/// For the log.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Switchover => "switchover",
        Kind::Failover => "failover",
        Kind::Rejoin => "rejoin",
    }
}

fn in_words(failures: Vec<Failure>) -> String {
    failures.into_iter().map(|failure| failure.what).collect::<Vec<_>>().join(", ")
}

/// Runs a statement at the server of that place, whose connection comes back.
async fn told(at: usize, mut connection: Conn, sql: Sql, deadline: Duration) -> (usize, Conn, Told) {
    let told = timeout(deadline, connection.query_drop(sql.text())).await;
    (at, connection, told.map(|told| told.map_err(|error| legible(&error))))
}

pub(super) fn connected(slot: &mut Option<Conn>) -> Result<&mut Conn, String> {
    slot.as_mut().ok_or_else(|| NO_CONNECTION.to_owned())
}

const NO_CONNECTION: &str = "no connection to it is left";

/// Between two looks at something that no server tells by itself.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);
const KILL_TIME_MAX: Duration = Duration::from_secs(2);
