//! Asks one server, again and again, and never learns what it means.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::Id;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::asking::{Extent, Told};
use super::attempt::{Attempt, Opened, Outcome};
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
    /// The server was asked then, or later.
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
    /// A connection is being made, and asked for the first time.
    Opening(Attempt),
    /// What became of that between two checks.
    Ended(Outcome),
    /// The connection that all checks use.
    Open(Connection),
}

/// What one check has heard.
struct Heard {
    result: CheckResult,
    seen: Option<Seen>,
    /// When that was asked, where an earlier check may have begun it.
    asked: Option<Instant>,
}

impl Link {
    /// Until something has become of an attempt. That its time is over says nothing that its check has not said.
    async fn ended(&mut self) {
        if let Link::Opening(attempt) = self {
            match attempt.outcome().await {
                Err(CheckResult::TimedOut) => *self = Link::Closed,
                outcome => return *self = Link::Ended(outcome),
            }
        }
        pending().await
    }
}

impl From<CheckResult> for Heard {
    fn from(failure: CheckResult) -> Heard {
        Heard { result: failure, seen: None, asked: None }
    }
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
            let finding = self.check(begun).await;
            let pause = self.pause(&finding.result);
            if self.findings.send(finding).await.is_err() {
                return;
            }
            self.wait(begun + pause).await;
        }
    }

    async fn check(&mut self, begun: Instant) -> Finding {
        let Heard { result, seen, asked } = self.hear(self.deadline(begun)).await;
        self.note_silence(&result);
        self.refusals = if connection::is_refused_account(&result) { self.refusals.saturating_add(1) } else { 0 };
        let begun = asked.map_or(begun, |asked| asked.min(begun)).into_std();
        Finding { server: self.target.server, task: tokio::task::id(), begun, result, seen }
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

    async fn hear(&mut self, deadline: Instant) -> Heard {
        if let Link::Open(connection) = &mut self.link {
            match connection.ask(self.extent, deadline.into_std()).await {
                Ok(told) => {
                    if told.is_cut_short || connection.is_outdated() {
                        self.link = Link::Closed;
                    }
                    return self.answered(told, None, None);
                }
                // Somebody may have killed this connection; only a new one tells whether the server lives.
                Err(CheckResult::Reset) => self.link = Link::Closed,
                Err(failure) => {
                    self.link = Link::Closed;
                    return failure.into();
                }
            }
        }
        self.open(deadline).await
    }

    async fn open(&mut self, deadline: Instant) -> Heard {
        let outcome = match std::mem::replace(&mut self.link, Link::Closed) {
            Link::Ended(outcome) => outcome,
            Link::Opening(attempt) => match self.follow(attempt, deadline).await {
                // Its first question had its time. That of this check is not over.
                Err(CheckResult::TimedOut) if Instant::now() < deadline => self.begin(deadline).await,
                outcome => outcome,
            },
            Link::Closed | Link::Open(_) => self.begin(deadline).await,
        };
        self.take_up(outcome)
    }

    async fn begin(&mut self, deadline: Instant) -> Outcome {
        let attempt = Attempt::begin(self.target.clone(), self.ways.clone(), self.extent);
        self.follow(attempt, deadline).await
    }

    /// Waits for what becomes of an attempt, as long as the check lasts.
    async fn follow(&mut self, mut attempt: Attempt, deadline: Instant) -> Outcome {
        match timeout_at(deadline, attempt.outcome()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                if !attempt.is_too_old() {
                    self.link = Link::Opening(attempt);
                }
                Err(CheckResult::TimedOut)
            }
        }
    }

    fn take_up(&mut self, outcome: Outcome) -> Heard {
        match outcome {
            Ok(Opened { connection, told, asked }) => {
                let contact = Some(connection.contact().clone());
                if connection.can_ask() && !told.is_cut_short {
                    self.link = Link::Open(connection);
                }
                self.answered(told, contact, Some(asked))
            }
            Err(failure) => failure.into(),
        }
    }

    /// What did not come in time is not asked for in each of the next checks: every try costs its connection.
    fn answered(&mut self, told: Told, contact: Option<Contact>, asked: Option<Instant>) -> Heard {
        self.unheard = match (told.is_cut_short, self.extent) {
            (true, _) => 1,
            (false, Extent::Everything) => 0,
            (false, Extent::Essentials) => (self.unheard + 1) % ASKED_AGAIN_AFTER,
        };
        self.extent = if self.unheard == 0 { Extent::Everything } else { Extent::Essentials };
        let answer = Answer { writable: told.writable, view: told.view, contact };
        Heard { result: CheckResult::Answered(answer), seen: told.seen, asked }
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

    /// Waits for the next check's time, or less when somebody pokes or a slow server has answered: an answer does not get old
    /// here. But never asks without any pause, and never sooner than planned while the account is refused.
    async fn wait(&mut self, next: Instant) {
        let soonest = Instant::now() + PAUSE_MIN;
        if self.refusals == 0 {
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.poke.notified() => {}
                () = self.link.ended() => {}
            }
        } else {
            sleep_until(next).await;
        }
        sleep_until(soonest).await;
    }
}

/// After so many checks a server is asked again for what it did not answer in time.
const ASKED_AGAIN_AFTER: u32 = 10;

/// Between two checks of one server, however many failures the workers report.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Between two logins at most, while the account is refused.
const REFUSED_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Between two looks at the door of a server for which there is no account: each is a line in the server's error log.
const DOOR_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::config::{SendProxy, ServerAddress, ServerDemand, ServerTls, Topology};
    use crate::monitor::target::Account;
    use crate::protocol::auth::Secret;
    use crate::standin::{self, StandIn};
    use crate::topology::View;

    fn target(address: ServerAddress, account: bool) -> Target {
        let account = account.then(|| Account { user: "monitor".to_owned(), password: Secret::new(*b"watches") });
        Target {
            server: ServerId(0),
            cluster: "shop".to_owned(),
            name: "db1".to_owned(),
            address,
            extra_port: None,
            send_proxy: SendProxy::Off,
            tls: ServerTls { demand: ServerDemand::Disabled, ca: None, identity: None },
            topology: Topology::Replication,
            account,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(800),
        }
    }

    fn watcher(target: Target) -> Watcher {
        let (findings, _) = mpsc::channel(1);
        Watcher::new(target, Ways::default(), Arc::default(), findings)
    }

    /// The pause after `result`, `refusals` of which came in a row.
    fn check(account: bool, result: &CheckResult, refusals: u32, expected: Duration) {
        let target = target(ServerAddress::Unix("/run/db1.sock".into()), account);
        let watcher = Watcher { refusals, ..watcher(target) };
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

    /// Whoever waits for an answer that is newer than a moment between the two checks has not got it.
    #[tokio::test]
    async fn an_answer_that_comes_between_two_checks_is_taken_up_at_once_and_is_as_old_as_it_is() {
        let accounts = vec![standin::Account::native("monitor", "watches")];
        let db1 = StandIn::start(standin::Options::maria_db(1, accounts)).expect("a stand-in");
        db1.set_login_delay(Duration::from_millis(1200));
        let address = ServerAddress::Tcp { host: db1.address().ip().to_string(), port: db1.address().port() };
        let watching = async move {
            let mut watcher = watcher(target(address, true));
            assert_eq!(watcher.check(Instant::now()).await.result, CheckResult::TimedOut);
            watcher.wait(Instant::now() + Duration::from_secs(60)).await;
            let begun = Instant::now();
            let finding = watcher.check(begun).await;
            assert!(matches!(finding.result, CheckResult::Answered(_)), "{finding:?}");
            assert!(finding.begun < begun.into_std());
        };
        timeout(Duration::from_secs(30), tokio::spawn(watching)).await.expect("no pause").expect("no panic");
    }
}
