//! Sessions that wait for a server: who is served when, and who gives up.

use crate::{
    pool::Served,
    route::{self, Explanation, Question, Refusal},
    session::LeaseFailure,
    slab::Key,
    topology::{Failure, Report},
};

use super::{
    counters,
    lease::{Miss, REST, RETRY},
    turn::Worker,
};

/// Servers of one cluster that are looked at more often while somebody waits for one.
const AWAITED_MAX: usize = 16;

impl Worker {
    /// Offers the servers to the waiting, first come, first served.
    pub(super) fn serve_waiters(&mut self) {
        self.serve_soon = false;
        if self.waiters.is_empty() {
            return;
        }
        let empty = crate::pool::Waiters::new(crate::config::limits::WAITERS_MAX);
        let mut waiters = std::mem::replace(&mut self.waiters, empty);
        let now = self.now;
        waiters.serve(|waiting| {
            if let Some(search) = self.tenants.get_mut(waiting.session).and_then(|tenant| tenant.lease.search.as_mut())
            {
                search.tried.retain(|(_, at)| *at + REST > now);
            }
            // A session that ends by a fault is served, too: it waits no more.
            let mut found = Ok(());
            self.guarded(Some(waiting.session), |worker| found = worker.find(waiting.session));
            match found {
                Ok(()) => Served::Yes,
                Err(Miss::Paced) => Served::Nobody,
                Err(Miss::Refused)
                    if route::decide(&self.table, &Question::without_a_session(waiting.pool)).is_ok() =>
                {
                    Served::NotThis
                }
                Err(Miss::Refused) => Served::Nobody,
            }
        });
        self.waiters = waiters;
        while let Some((key, input)) = self.found.pop() {
            self.guarded(Some(key), |worker| worker.tell(key, input));
        }
    }

    /// With another table the waiting may belong elsewhere, or wait for other servers: they queue again, in their order.
    pub(super) fn requeue_waiters(&mut self) {
        for key in self.waiters.take_all() {
            self.guarded(Some(key), |worker| worker.wait(key));
        }
    }

    /// The deadlines of the waiting, and their retry.
    pub(super) fn waiters_due(&mut self) {
        let is_retry = self.waiters_retry.is_some_and(|at| at <= self.now);
        if is_retry || self.serve_soon {
            self.serve_waiters();
        }
        if is_retry {
            self.ask_for_checks();
            self.waiters_retry = (!self.waiters.is_empty()).then_some(self.now + RETRY);
        }
        if std::mem::take(&mut self.asks_others) || (is_retry && !self.waiters.is_empty()) {
            self.ask_for_places();
        }
        if self.waiters_deadline.is_none_or(|at| at > self.now) {
            return;
        }
        let expired = self.waiters.expire(self.now);
        self.waiters_deadline = self.waiters.next_deadline();
        counters::add(&self.mailbox.counters.waits_expired, expired.len() as u64);
        for key in expired {
            let failure = self.failure(key);
            let input = self.failed_search(key, failure);
            self.guarded(Some(key), |worker| worker.tell(key, input));
        }
    }

    /// Where no server can be used, those who wait for one have its cluster looked at more often than at each interval.
    fn ask_for_checks(&self) {
        for pool in self.waiters.pools() {
            if route::decide(&self.table, &Question::without_a_session(pool)) != Err(Refusal::NoServer) {
                continue;
            }
            for server in self.table.pool(pool).candidates().take(AWAITED_MAX) {
                let report = Report { server: self.table.server(server).id, failure: Failure::Awaited };
                // When the monitor has no room for more it has enough to check.
                let _ = self.company.settings.reports.try_send(report);
            }
        }
    }

    /// Why a session has found no server, in words.
    pub(super) fn failure(&self, key: Key) -> LeaseFailure {
        let search = self.tenants.get(key).and_then(|tenant| tenant.lease.search.as_ref());
        let (Some(search), Some(pool)) = (search, self.pool_of(key)) else { return LeaseFailure::UserGone };
        let question = Question { required: search.want.required, ..Question::without_a_session(pool) };
        let why = in_one_line(&route::explain(&self.table, &question));
        match route::decide(&self.table, &question) {
            Err(Refusal::AllFull) => LeaseFailure::ServersFull(why),
            Ok(_) | Err(Refusal::NoServer) => LeaseFailure::NoServer(why),
        }
    }
}

/// An explanation as an error message has it: each pool with its servers and why each was not used.
fn in_one_line(explanation: &Explanation) -> String {
    let mut line = String::new();
    for step in &explanation.steps {
        let separator = if line.is_empty() { "" } else { "; " };
        line += &format!("{separator}pool {}", step.pool);
        for (place, explained) in step.servers.iter().enumerate() {
            let separator = if place == 0 { ": " } else { ", " };
            line += &format!("{separator}{} {} ({})", explained.server, explained.verdict, explained.heard);
        }
    }
    line
}
