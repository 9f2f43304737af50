//! Asks one server, again and again, and never learns what it means.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::asking::{Extent, Told};
use super::connection::{self, Connection};
use super::target::Target;
use crate::reach::Ways;
use crate::topology::{Answer, CheckResult, Contact, Seen, ServerId};

/// What one check found.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) server: ServerId,
    /// The watcher that found it.
    pub(super) task: Id,
    /// When the server was asked.
    pub(super) begun: std::time::Instant,
    pub(super) result: CheckResult,
    /// How far the server says it is, if it answered and can tell.
    pub(super) seen: Option<Seen>,
}

/// Checks one server.
pub(super) struct Watcher {
    target: Target,
    ways: Ways,
    poke: Arc<Notify>,
    findings: mpsc::Sender<Finding>,
    link: Link,
    /// Logins refused in a row.
    refusals: u32,
    /// Checks in a row that had no answer.
    silent_checks: u32,
    /// When it last answered.
    answered: Option<Instant>,
    /// How much the next check asks.
    extent: Extent,
    /// Checks since one was cut short, while they ask less; 0: none was.
    unheard: u32,
}

/// The way to the server.
enum Link {
    Closed,
    /// A connection is being made, since then. It is not given up when the check that began it is over: a server that
    /// hangs and comes back would find nothing but broken handshakes, and lock this host out for everybody.
    Opening(JoinSet<Result<Connection, CheckResult>>, Instant),
    /// The connection that all checks use.
    Open(Connection),
}

impl Watcher {
    pub(super) fn new(target: Target, ways: Ways, poke: Arc<Notify>, findings: mpsc::Sender<Finding>) -> Watcher {
        Watcher {
            target,
            ways,
            poke,
            findings,
            link: Link::Closed,
            refusals: 0,
            silent_checks: 0,
            answered: None,
            extent: Extent::Everything,
            unheard: 0,
        }
    }

    /// Runs until it is stopped.
    pub(super) async fn run(mut self, delay: Duration) {
        tokio::time::sleep(delay).await;
        loop {
            let begun = Instant::now();
            let (result, seen) = self.check(self.deadline(begun)).await;
            self.note_silence(&result);
            self.refusals = if connection::is_refused_account(&result) { self.refusals.saturating_add(1) } else { 0 };
            let pause = self.pause(&result);
            let finding =
                Finding { server: self.target.server, task: tokio::task::id(), begun: begun.into_std(), result, seen };
            if self.findings.send(finding).await.is_err() {
                return;
            }
            self.wait(begun + pause).await;
        }
    }

    /// When a check has failed. The one behind a first silent one ends when the server has been silent for twice that time.
    fn deadline(&self, begun: Instant) -> Instant {
        let usual = begun + self.target.timeout;
        let limit =
            self.answered.filter(|_| self.silent_checks == 1).map(|answered| answered + self.target.timeout * 2);
        limit.filter(|limit| *limit > begun + self.target.timeout / 4).map_or(usual, |limit| limit.min(usual))
    }

    fn note_silence(&mut self, result: &CheckResult) {
        match result {
            CheckResult::TimedOut => self.silent_checks = self.silent_checks.saturating_add(1),
            CheckResult::Answered(_) => (self.silent_checks, self.answered) = (0, Some(Instant::now())),
            _ => self.silent_checks = 0,
        }
    }

    async fn check(&mut self, deadline: Instant) -> (CheckResult, Option<Seen>) {
        if let Link::Open(connection) = &mut self.link {
            match connection.ask(self.extent, deadline.into_std()).await {
                Ok(told) => {
                    if told.is_cut_short || connection.is_outdated() {
                        self.link = Link::Closed;
                    }
                    return self.answered(told, None);
                }
                // Somebody may have killed this connection; only a new one tells whether the server lives.
                Err(CheckResult::Reset) => self.link = Link::Closed,
                Err(failure) => {
                    self.link = Link::Closed;
                    return (failure, None);
                }
            }
        }
        self.open(deadline).await
    }

    async fn open(&mut self, deadline: Instant) -> (CheckResult, Option<Seen>) {
        let (mut attempt, since) = match std::mem::replace(&mut self.link, Link::Closed) {
            Link::Opening(attempt, since) => (attempt, since),
            Link::Closed | Link::Open(_) => (self.attempt(), Instant::now()),
        };
        match timeout_at(deadline, attempt.join_next()).await {
            Ok(Some(Ok(Ok(connection)))) => self.first_answer(connection, deadline).await,
            Ok(Some(Ok(Err(failure)))) => (failure, None),
            // Whatever an answer did there, it took only the task of the attempt along.
            Ok(Some(Err(_)) | None) => (CheckResult::Malformed("its answer could not be handled".to_owned()), None),
            Err(_) => {
                if since.elapsed() < ATTEMPT_TIME_MAX {
                    self.link = Link::Opening(attempt, since);
                }
                (CheckResult::TimedOut, None)
            }
        }
    }

    fn attempt(&self) -> JoinSet<Result<Connection, CheckResult>> {
        let mut attempt = JoinSet::new();
        attempt.spawn(connection::open(self.target.clone(), self.ways.clone()));
        attempt
    }

    async fn first_answer(&mut self, mut connection: Connection, deadline: Instant) -> (CheckResult, Option<Seen>) {
        let contact = Some(connection.contact().clone());
        match connection.ask(self.extent, deadline.into_std()).await {
            Ok(told) => {
                if connection.can_ask() && !told.is_cut_short {
                    self.link = Link::Open(connection);
                }
                self.answered(told, contact)
            }
            Err(failure) => (failure, None),
        }
    }

    /// What did not come in time is not asked for in each of the next checks: every try costs its connection.
    fn answered(&mut self, told: Told, contact: Option<Contact>) -> (CheckResult, Option<Seen>) {
        self.unheard = match (told.is_cut_short, self.extent) {
            (true, _) => 1,
            (false, Extent::Everything) => 0,
            (false, Extent::Essentials) => (self.unheard + 1) % ASKED_AGAIN_AFTER,
        };
        self.extent = if self.unheard == 0 { Extent::Everything } else { Extent::Essentials };
        (CheckResult::Answered(Answer { writable: told.writable, view: told.view, contact }), told.seen)
    }

    fn pause(&self, result: &CheckResult) -> Duration {
        let interval = self.target.interval;
        if self.refusals > 0 {
            let longer = interval.saturating_mul(1 << self.refusals.min(16));
            return longer.min(interval.max(REFUSED_INTERVAL_MAX));
        }
        match (result, &self.target.account) {
            (CheckResult::Answered(_), None) => interval.max(DOOR_INTERVAL),
            // Whether that was chance is asked at once.
            (CheckResult::TimedOut, _) if self.silent_checks == 1 => Duration::ZERO,
            _ => interval,
        }
    }

    /// Waits for the next check's time, or less when somebody pokes; but never asks without any pause, and never sooner
    /// than planned while the account is refused.
    async fn wait(&self, next: Instant) {
        let soonest = Instant::now() + PAUSE_MIN;
        if self.refusals == 0 {
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.poke.notified() => {}
            }
        } else {
            sleep_until(next).await;
        }
        sleep_until(soonest).await;
    }
}

/// After so many checks a server is asked again for what it did not answer in time.
const ASKED_AGAIN_AFTER: u32 = 10;

/// How long one attempt to connect may take, over several checks. Then the other end has most likely forgotten it.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(15);

/// Between two checks of one server, however many failures the workers report.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Between two logins at most, while the account is refused.
const REFUSED_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Between two looks at the door of a server for which there is no account: each is a line in the server's error log.
const DOOR_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SendProxy, ServerAddress, ServerDemand, ServerTls, Topology};
    use crate::monitor::target::Account;
    use crate::protocol::auth::Secret;
    use crate::topology::View;

    /// The pause after `result`, `refusals` of which came in a row.
    fn check(account: bool, result: &CheckResult, refusals: u32, expected: Duration) {
        let account = account.then(|| Account { user: "monitor".to_owned(), password: Secret::new(*b"watches") });
        let target = Target {
            server: ServerId(0),
            cluster: "shop".to_owned(),
            name: "db1".to_owned(),
            address: ServerAddress::Unix("/run/db1.sock".into()),
            extra_port: None,
            send_proxy: SendProxy::Off,
            tls: ServerTls { demand: ServerDemand::Disabled, ca: None, identity: None },
            topology: Topology::Replication,
            account,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(800),
        };
        let (findings, _inbox) = mpsc::channel(1);
        let watcher = Watcher { refusals, ..Watcher::new(target, Ways::default(), Arc::default(), findings) };
        assert_eq!(watcher.pause(result), expected, "{result:?} after {refusals}");
    }

    #[test]
    fn pauses_grow_while_the_account_is_refused() {
        let refused = CheckResult::LoginRefused { code: 1045, message: String::new() };
        let seconds = Duration::from_secs;
        check(true, &refused, 1, seconds(1));
        check(true, &refused, 2, seconds(2));
        check(true, &refused, 5, seconds(10));
        check(true, &refused, u32::MAX, seconds(10));
        check(true, &CheckResult::Refused, 0, Duration::from_millis(500));
    }

    #[test]
    fn a_door_is_looked_at_seldom_once_it_was_seen_open() {
        let answered = CheckResult::Answered(Answer { writable: None, view: View::Unasked, contact: None });
        check(false, &answered, 0, DOOR_INTERVAL);
        check(true, &answered, 0, Duration::from_millis(500));
        check(false, &CheckResult::Refused, 0, Duration::from_millis(500));
    }
}
