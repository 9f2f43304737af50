//! What is believed of one server: results of checks and failures that workers met go in, its health comes out.
//!
//! The rules, and why:
//! - *Silence is not an answer.* A check without an answer changes nothing that is known of the server; after `fall`
//!   of them in a row, or twice the time that a check may take, it is down. A silent primary does not become a replica.
//! - *A refused connection is an answer* of the host: nobody listens. It counts at once.
//! - *One broken connection says little*: it may have been killed by its number. It causes a check.
//! - *A full server is not an ill one*, and a wrong password is the operator's trouble, not the server's.
//! - Who was down must answer `rise` times in a row before it is used again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CheckResult, Condition, Failure, View, Writable};

/// What a worker's report asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUp {
    /// Nothing.
    Nothing,
    /// A check now rather than at the next interval.
    Check,
    /// An operator: the credentials held here are not those of the server.
    Alarm,
}

/// How many results in a row decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Failed checks in a row that take a server out of use; at least 1.
    pub fall: u32,
    /// Good checks in a row that take a down server back; at least 1.
    pub rise: u32,
    /// So long after its last answer a server that does not answer is down, however many checks that were; two at least.
    pub silence: Duration,
}

/// What is believed of one server.
///
/// Invariant: `failures` and `successes` are never both above 0; `successes < rise` and only while down.
#[derive(Debug, Clone)]
pub struct Belief {
    condition: Condition,
    since: Instant,
    /// What was heard last, and so the reason for the condition.
    cause: Cause,
    reason: Arc<str>,
    /// What it last said of writes; silence does not change it.
    writable: Option<Writable>,
    /// How it last saw the others; silence does not change it.
    view: View,
    /// Failed checks in a row.
    failures: u32,
    /// Good checks in a row since it was down.
    successes: u32,
    /// When it last answered a check.
    answered: Option<Instant>,
    /// Whether any check has ended, well or not.
    checked: bool,
    /// When it was last heard to send its clients elsewhere.
    leaving: Option<Instant>,
}

/// What was heard last of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    NeverChecked,
    Answers,
    /// Answers again, but not often enough yet.
    Recovering {
        successes: u32,
        rise: u32,
    },
    /// An error that does not speak against the server.
    Excused {
        what: String,
    },
    /// A failure that is not certain enough yet.
    Doubtful {
        what: String,
        failures: u32,
        fall: u32,
    },
    /// No answer, often enough.
    Silent,
    Failed {
        what: String,
    },
}

impl Belief {
    /// Nothing was heard yet.
    pub fn new(now: Instant) -> Belief {
        Belief {
            condition: Condition::Unknown,
            since: now,
            cause: Cause::NeverChecked,
            reason: Arc::from("not checked yet"),
            writable: None,
            view: View::Unasked,
            failures: 0,
            successes: 0,
            answered: None,
            checked: false,
            leaving: None,
        }
    }

    /// Whether it is used.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// What it last said of writes.
    pub fn writable(&self) -> Option<Writable> {
        self.writable
    }

    /// How it last saw the others of its cluster.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whether any check has ended, well or not.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// Why it is in this condition.
    pub fn reason(&self) -> &Arc<str> {
        &self.reason
    }

    /// Since when it is in this condition.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether it sends its clients elsewhere. Nothing speaks against it but that: what is there may go on, and where
    /// nobody else is left it may change its mind.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Takes in that it sends its clients elsewhere: a session's, or a check's.
    pub fn leaves(&mut self, now: Instant) {
        self.checked = true;
        self.leaving = Some(now);
    }

    /// Takes in what a check found.
    pub fn check(&mut self, result: &CheckResult, thresholds: Thresholds, now: Instant) {
        self.checked = true;
        // Checks go on over a connection that is there, so they do not tell whether a login would be let in again.
        self.leaving.take_if(|heard| now.saturating_duration_since(*heard) >= LEAVING_TIME);
        if let CheckResult::Answered(answer) = result {
            self.view = answer.view.clone();
        }
        match weigh(result) {
            Weight::Good(writable) => self.succeed(writable, thresholds, now),
            Weight::Excused(what) => self.excuse(what, now),
            Weight::Silent => self.count_silence(thresholds, now),
            Weight::Doubtful(what) => self.count_failure(what, thresholds, now),
            Weight::Certain(what) => self.fail(Cause::Failed { what }, now),
        }
        self.check_invariants(thresholds);
    }

    /// Takes in that a session met a failure, and says what to do about it.
    pub fn report(&mut self, failure: Failure, now: Instant) -> FollowUp {
        match failure {
            Failure::Refused => self.fail_by_report("connection refused".to_owned(), now),
            Failure::Leaving => {
                self.leaves(now);
                FollowUp::Nothing
            }
            Failure::Reset
            | Failure::TimedOut
            | Failure::Malformed
            | Failure::StatementRefused { .. }
            | Failure::Awaited => FollowUp::Check,
            Failure::Answered => FollowUp::Nothing,
            Failure::LoginRefused { code } => match Blame::of(code) {
                Blame::Full => FollowUp::Nothing,
                Blame::Credentials => FollowUp::Alarm,
                Blame::Server => self.fail_by_report(format!("login refused with error {code}"), now),
                Blame::Unclear => FollowUp::Check,
            },
        }
    }

    fn fail_by_report(&mut self, what: String, now: Instant) -> FollowUp {
        self.fail(Cause::Failed { what }, now);
        FollowUp::Check
    }

    fn succeed(&mut self, writable: Option<Writable>, thresholds: Thresholds, now: Instant) {
        self.failures = 0;
        self.answered = Some(now);
        self.writable = writable.or(self.writable);
        if self.condition == Condition::Down && self.successes + 1 < thresholds.rise {
            self.successes += 1;
            self.turn(Condition::Down, Cause::Recovering { successes: self.successes, rise: thresholds.rise }, now);
        } else {
            self.successes = 0;
            self.turn(Condition::Up, Cause::Answers, now);
        }
    }

    /// It answered, but could not tell anything of itself: neither good nor bad.
    fn excuse(&mut self, what: String, now: Instant) {
        self.failures = 0;
        self.successes = 0;
        self.turn(self.condition, Cause::Excused { what }, now);
    }

    fn count_silence(&mut self, thresholds: Thresholds, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let silence = self.answered.map(|answered| now.saturating_duration_since(answered));
        let has_lasted = self.failures > 1 && silence.is_some_and(|silence| silence >= thresholds.silence);
        if self.failures >= thresholds.fall || has_lasted || self.condition == Condition::Down {
            self.fail(Cause::Silent, now);
        } else {
            self.doubt("no answer".to_owned(), thresholds, now);
        }
    }

    /// Where nothing good was heard yet, there is no reason to doubt a failure: the server is not in use.
    fn count_failure(&mut self, what: String, thresholds: Thresholds, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= thresholds.fall || self.condition != Condition::Up {
            self.fail(Cause::Failed { what }, now);
        } else {
            self.doubt(what, thresholds, now);
        }
    }

    fn doubt(&mut self, what: String, thresholds: Thresholds, now: Instant) {
        self.turn(self.condition, Cause::Doubtful { what, failures: self.failures, fall: thresholds.fall }, now);
    }

    fn fail(&mut self, cause: Cause, now: Instant) {
        self.successes = 0;
        self.turn(Condition::Down, cause, now);
    }

    /// The only place where condition, cause and reason change. The reason is written once a change: a text with a
    /// duration in it would otherwise make a new routing table of every check.
    fn turn(&mut self, condition: Condition, cause: Cause, now: Instant) {
        if condition != self.condition {
            self.since = now;
        }
        if cause != self.cause {
            self.reason =
                Arc::from(phrase(&cause, self.answered.map(|answered| now.saturating_duration_since(answered))));
        }
        self.condition = condition;
        self.cause = cause;
    }

    fn check_invariants(&self, thresholds: Thresholds) {
        debug_assert!(self.failures == 0 || self.successes == 0);
        debug_assert!(self.successes < thresholds.rise);
        debug_assert!(self.successes == 0 || self.condition == Condition::Down);
    }
}

/// How a check's result weighs.
enum Weight {
    Good(Option<Writable>),
    /// Says nothing against the server.
    Excused(String),
    Silent,
    /// May be chance; counts up to `fall`.
    Doubtful(String),
    /// Leaves no doubt.
    Certain(String),
}

fn weigh(result: &CheckResult) -> Weight {
    match result {
        CheckResult::Answered(answer) => Weight::Good(answer.writable),
        CheckResult::Refused => Weight::Certain(result.to_string()),
        CheckResult::TimedOut => Weight::Silent,
        CheckResult::Reset | CheckResult::Unreachable(_) | CheckResult::Unbelieved(_) | CheckResult::Malformed(_) => {
            Weight::Doubtful(result.to_string())
        }
        CheckResult::LoginRefused { code, .. } | CheckResult::StatementFailed { code, .. } => {
            weigh_error(*code, result.to_string())
        }
    }
}

fn weigh_error(code: u16, what: String) -> Weight {
    match Blame::of(code) {
        Blame::Full | Blame::Credentials => Weight::Excused(what),
        Blame::Server => Weight::Certain(what),
        Blame::Unclear => Weight::Doubtful(what),
    }
}

/// Who an error at a server's door speaks against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nobody: there are too many connections just now.
    Full,
    /// The account: its password or its method is not what we hold, or it may not ask.
    Credentials,
    /// The server: it lets nobody in from this host, or it is going away.
    Server,
    /// Not known.
    Unclear,
}

impl Blame {
    /// Whose fault an error with that code is, when it comes instead of an accepted login.
    pub fn of(code: u16) -> Blame {
        match code {
            // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
            1040 | 1203 | 1226 => Blame::Full,
            // Access denied (also to a database, for a socket-only account, to a statement), authentication methods
            // that the two sides do not share, and expired or locked accounts.
            1044 | 1045 | 1227 | 1251 | 1524 | 1698 | 1820 | 1862 | 3118 | 3159 | 4151 => Blame::Credentials,
            // The host is blocked or not allowed; shutdown in progress; offline mode; Galera without a quorum says 1047.
            1047 | 1053 | 1129 | 1130 | 3032 => Blame::Server,
            _ => Blame::Unclear,
        }
    }
}

/// So long a server that sent a client elsewhere is asked by no other while there is one to ask. Then one client finds out.
const LEAVING_TIME: Duration = Duration::from_secs(10);

fn phrase(cause: &Cause, silence: Option<Duration>) -> String {
    match cause {
        Cause::NeverChecked => "not checked yet".to_owned(),
        Cause::Answers => "answers".to_owned(),
        Cause::Recovering { successes, rise } => format!("answers again ({successes} of {rise})"),
        Cause::Excused { what } | Cause::Failed { what } => what.clone(),
        Cause::Doubtful { what, failures, fall } => format!("{what} ({failures} of {fall})"),
        Cause::Silent => match silence {
            Some(silence) => format!("no answer for {:.1} s", silence.as_secs_f32()),
            None => "no answer".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
