//! Operators' questions and orders, as they come from the admin API.
//!
//! What waits for anything is answered in a task of its own: the loop of the control thread does not wait for it.
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::control::Control;
use super::mail::session_rows;
use super::status::{instant_failover_status, session_status};
use crate::admin::drain::{self, Guest, Stake, Upkeep};
use crate::admin::explain::{self, Asked};
use crate::admin::shapes::{DrainStatus, InstantFailoverStatus, SessionStatus};
use crate::admin::{self, Question};
use crate::config::RedirectMode;
use crate::monitor::Remembrance;
use crate::protocol::redirect::Target;
use crate::topology::{Existing, Redirect, RoutingTable, ServerId};
use crate::worker::SessionRow;

impl Control {
    /// Who asked may have gone away meanwhile; an answer that nobody reads is dropped.
    pub(super) async fn answer(&mut self, question: Question) {
        match question {
            Question::Status(answer) => drop(answer.send(self.status())),
            Question::Sessions { limit, answer } => self.collect_sessions(limit, answer),
            Question::Explain { user, sql, answer } => {
                let asked = Asked { user: &user, sql: sql.as_deref() };
                let explained = explain::online(&self.table.load(), &asked);
                drop(answer.send(explained.map_err(|unknown| unknown.to_string())));
            }
            Question::Reload(answer) => drop(answer.send(self.reload().await)),
            Question::Switchover { server, mode, answer } => {
                let promoter = self.promoter.clone();
                // It takes its time, and the loop does not wait for it.
                tokio::spawn(async move { drop(answer.send(promoter.switchover(&server, mode).await)) });
            }
            Question::Upkeep { server, what, answer } => self.keep_up(&server, what, answer),
            Question::InstantFailover { mode, target, existing, answer } => {
                self.instant_failover(mode, target, existing, answer);
            }
            Question::Health(answer) => drop(answer.send(self.shown_phase())),
            Question::Metrics(answer) => drop(answer.send(self.metrics())),
        }
    }

    /// Sends clients elsewhere, or not any more, as an operator says; in a task of its own: the loop does not wait for a disk.
    fn instant_failover(
        &self,
        mode: RedirectMode,
        target: Option<Target>,
        existing: Existing,
        answer: oneshot::Sender<Result<InstantFailoverStatus, String>>,
    ) {
        let Some(settings) = self.table.load().redirect.settings.commanded(mode, target) else {
            let why = "nobody says where to: give --target HOST:PORT, or write it in the file";
            return drop(answer.send(Err(why.to_owned())));
        };
        let (table, steering) = (Arc::clone(&self.table), self.monitor.steering());
        let handles = self.workers.handles().to_vec();
        tokio::spawn(async move {
            let remembrance = steering.redirect(Redirect::commanded(settings, existing)).await;
            let status = InstantFailoverStatus {
                notes: forgotten(remembrance).into_iter().collect(),
                ..instant_failover_status(&table.load(), &handles)
            };
            tracing::info!("{}", admin::table::instant_failover(&status).trim_end());
            drop(answer.send(Ok(status)));
        });
    }

    /// Asks every worker, in a task of its own: the loop does not wait for them.
    fn collect_sessions(&self, limit: usize, answer: oneshot::Sender<Vec<SessionStatus>>) {
        let handles = self.workers.handles().to_vec();
        tokio::spawn(async move {
            let rows = session_rows(&handles, limit).await;
            drop(answer.send(rows.into_iter().map(session_status).collect()));
        });
    }

    /// Takes a server out of use or into it, and tells who is there; in a task of its own, as above.
    fn keep_up(&self, server: &str, what: Upkeep, answer: oneshot::Sender<Result<DrainStatus, String>>) {
        let id = match drain::find(&self.table.load(), server) {
            Ok(id) => id,
            Err(unknown) => return drop(answer.send(Err(unknown))),
        };
        let (table, steering) = (Arc::clone(&self.table), self.monitor.steering());
        let handles = self.workers.handles().to_vec();
        tokio::spawn(async move {
            let forgotten = match what.service(connections_to(&table.load(), id), Instant::now()) {
                Some(service) => forgotten(steering.serve(id, service).await),
                None => None,
            };
            let guests =
                session_rows(&handles, usize::MAX).await.into_iter().filter_map(|row| guest(row, id)).collect();
            let table = table.load();
            let place = table.place(id).ok_or_else(|| "a reload has removed the server".to_owned());
            drop(answer.send(place.map(|place| {
                let mut status = drain::status(&table, place, guests, Instant::now());
                status.notes.extend(forgotten);
                status
            })));
        });
    }
}

fn connections_to(table: &RoutingTable, server: ServerId) -> u32 {
    table.place(server).map_or(0, |place| table.server(place).load.connections())
}

/// What an operator should know of an order that the next process will not.
fn forgotten(remembrance: Option<Remembrance>) -> Option<String> {
    match remembrance? {
        Remembrance::Kept => None,
        Remembrance::UntilRestart(why) => Some(format!("a restart of sqluice forgets this: {why}")),
    }
}

/// The session as a guest of a server, if it is one.
fn guest(row: SessionRow, server: ServerId) -> Option<Guest> {
    let stake = match (row.home, row.reads_at) {
        (Some(home), _) if home == server => Stake::Home,
        (_, Some(replica)) if replica == server => Stake::Reads,
        _ => return None,
    };
    Some(Guest { session: session_status(row), stake })
}
