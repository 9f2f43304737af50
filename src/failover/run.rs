//! Carries a plan out, one step after the other, and takes it back if it does not come to its decisive step.

use std::fmt::Display;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep, timeout};

use super::lock::Majority;
use super::plan::{Kind, Plan};
use super::state::{Member, Sighting};
use super::steps::{self, Action, Sql, Stage, Step};
use super::survey::{ask, connect, legible};
use crate::config::{Account, Cluster};

/// A plan in the hands of whoever carries it out.
pub(super) struct Run<'r> {
    pub(super) cluster: &'r Cluster,
    pub(super) account: &'r Account,
    pub(super) members: Vec<Member>,
    /// Parallel to the members; none where there is no answer, and none any more where one was given up.
    pub(super) connections: Vec<Option<Conn>>,
    pub(super) plan: Plan,
    pub(super) majority: Majority,
    /// What was done, for people.
    pub(super) said: Vec<String>,
}

/// A step or a statement that did not do what it had to, in words.
pub(super) type Tried = Result<(), String>;

impl Run<'_> {
    /// All steps up to the decisive one. On an error everything was taken back that could be.
    pub(super) async fn turn(&mut self) -> Tried {
        let decisive = self.plan.steps.iter().position(|step| step.stage == Stage::Decisive);
        let decisive = decisive.expect("every plan has a decisive step");
        for index in 0..=decisive {
            let step = self.plan.steps[index].clone();
            let lost = index == decisive && !self.majority.holds(&mut self.connections).await;
            let tried = match lost {
                true => Err("the lock is not held at a majority any more".to_owned()),
                false => self.take(&step).await,
            };
            if let Err(why) = tried {
                let failed = format!("{}: {}: {why}", self.name(step.at), step.what);
                self.complain(&failed);
                // What failed may have been done in part, but for a step that was not even begun.
                let tried = if lost { index } else { index + 1 };
                let restored = self.take_back(tried).await;
                return Err(format!("{failed}; {restored}"));
            }
        }
        Ok(())
    }

    /// What is left to do once there is a new primary. Each failure is for an operator, and keeps only what is behind it at
    /// the same server from being done.
    pub(super) async fn tidy(&mut self) -> Vec<String> {
        let mut failures: Vec<(usize, String)> = Vec::new();
        let steps: Vec<Step> = self.plan.steps.iter().filter(|step| step.stage == Stage::After).cloned().collect();
        for step in steps {
            if failures.iter().any(|(at, _)| *at == step.at) {
                continue;
            }
            if let Err(why) = self.take(&step).await {
                let failed = format!("{}: {}: {why}", self.name(step.at), step.what);
                self.complain(&failed);
                failures.push((step.at, failed));
            }
        }
        failures.into_iter().map(|(_, failed)| failed).collect()
    }

    /// All steps, up to the first that fails.
    pub(super) async fn through(&mut self) -> Tried {
        for step in self.plan.steps.clone() {
            if let Err(why) = self.take(&step).await {
                let failed = format!("{}: {}: {why}", self.name(step.at), step.what);
                return Err(failed);
            }
        }
        Ok(())
    }

    /// Gives the locks back.
    pub(super) async fn end(mut self) -> Vec<String> {
        self.majority.release(&mut self.connections).await;
        self.said
    }

    async fn take(&mut self, step: &Step) -> Tried {
        let deadline = step.action.deadline();
        self.say(format_args!("{}: {}", self.name(step.at), step.what));
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
            Err(format!("not done within {deadline:?}"))
        })
    }

    pub(super) async fn run(&mut self, at: usize, statements: &[Sql], deadline: Duration) -> Tried {
        for sql in statements {
            self.say(format_args!("{}: {sql}", self.name(at)));
            let asked = connected(&mut self.connections[at])?.query_drop(sql.text());
            match timeout(deadline, asked).await {
                Ok(told) => told.map_err(|error| legible(&error))?,
                Err(_) => {
                    self.give_up(at).await;
                    return Err(format!("no answer within {deadline:?}"));
                }
            }
        }
        Ok(())
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
        let opened = timeout(CONNECT_TIME_MAX, connect(&self.cluster.servers[at], self.account)).await;
        let connection = match opened {
            Ok(connection) => connection.map_err(|error| legible(&error))?,
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
                _ => sleep(POLL_INTERVAL).await,
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

pub(super) fn connected(slot: &mut Option<Conn>) -> Result<&mut Conn, String> {
    slot.as_mut().ok_or_else(|| "no connection to it is left".to_owned())
}

/// Between two looks at something that no server tells by itself.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);
const KILL_TIME_MAX: Duration = Duration::from_secs(2);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
