//! What is believed of one server: results of checks and failures that workers met go in, its health comes out.
//!
//! The rules, and why:
//! - *Silence is not an answer.* A check without an answer changes nothing that is known of the server; after `fall`
//!   of them in a row, or twice the time that a check may take, it is down. A silent primary does not become a replica.
//! - *A refused connection is an answer* of the host: nobody listens. It counts at once.
//! - *One broken connection says little*: it may have been killed by its number. It causes a check.
//! - *A full server is not an ill one*, and a wrong password is the operator's trouble, not the server's.
//! - Who was down must answer `rise` times in a row before it is used again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Endpoint, GreetingFacts, ServerId, ServerRole, galera, group, replication};

/// Whether a server is used, for what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether it is used.
    pub condition: Condition,
    /// For what.
    pub role: ServerRole,
    /// How well it can do that.
    pub fitness: Fitness,
    /// A phrase for people: what was last heard of it, or why it is not fit. Never empty. It holds no measure that
    /// changes with each check, since a change of it makes a new routing table.
    pub reason: Arc<str>,
    /// Since when it is in this condition.
    pub since: Instant,
}

impl fmt::Display for Health {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.condition {
            Condition::Up => match self.fitness {
                Fitness::Fit => write!(out, "{}, {}", self.condition, self.role),
                Fitness::LastResort | Fitness::Unfit => {
                    write!(out, "{}, {}, {}", self.condition, self.role, self.fitness)
                }
            },
            Condition::Unknown | Condition::Down => self.condition.fmt(out),
        }
    }
}

/// Whether a server is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Nothing certain was heard yet; not used.
    Unknown,
    /// Answers; used.
    Up,
    /// Does not answer, or answers that it cannot serve; not used.
    Down,
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Condition::Unknown => "unknown",
            Condition::Up => "up",
            Condition::Down => "down",
        })
    }
}

/// How well a server that is up can do what its role asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fitness {
    /// It would only do harm: its data are old, or it does not let itself be used. Never a member of a pool.
    Unfit,
    /// A member of its pools only where nobody is fit.
    LastResort,
    /// Nothing speaks against it.
    Fit,
}

impl fmt::Display for Fitness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Fitness::Unfit => "unfit",
            Fitness::LastResort => "last resort",
            Fitness::Fit => "fit",
        })
    }
}

/// What one check of a server found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// It answered.
    Answered(Answer),
    /// Nobody listens at its address.
    Refused,
    /// The connection broke.
    Reset,
    /// No answer within `check_timeout`.
    TimedOut,
    /// Its name cannot be looked up, or there is no way to its network.
    Unreachable(String),
    /// It refused our login.
    LoginRefused {
        /// The server's error code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// It let us in and refused to answer.
    StatementFailed {
        /// The server's error code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// TLS with it failed: one of the two was not believed, or does not have it.
    Unbelieved(String),
    /// It said something that is not the protocol.
    Malformed(String),
}

impl fmt::Display for CheckResult {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckResult::Answered(_) => out.write_str("answered"),
            CheckResult::Refused => out.write_str("connection refused"),
            CheckResult::Reset => out.write_str("connection broken"),
            CheckResult::TimedOut => out.write_str("no answer in time"),
            CheckResult::Unreachable(why) => out.write_str(why),
            CheckResult::LoginRefused { code, message } => write!(out, "login refused: ERROR {code}: {message}"),
            CheckResult::StatementFailed { code, message } => write!(out, "check refused: ERROR {code}: {message}"),
            CheckResult::Unbelieved(why) => write!(out, "TLS failed: {why}"),
            CheckResult::Malformed(why) => write!(out, "not understood: {why}"),
        }
    }
}

/// A server's answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it takes writes; absent where the cluster has no monitor account to ask with.
    pub writable: Option<Writable>,
    /// How it sees the servers it belongs to.
    pub view: View,
    /// What a new connection to it told; absent when an old one was asked.
    pub contact: Option<Contact>,
}

/// How a server sees itself among the others of its cluster; what it is asked for depends on the cluster's topology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum View {
    /// It was not asked, or its cluster's topology has nothing to ask for.
    #[default]
    Unasked,
    /// A node of a Galera cluster.
    Galera(Box<galera::View>),
    /// Whom it replicates from.
    Replication(replication::View),
    /// The group that it is a member of.
    Group(group::View),
}

/// Whether a server says that it takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writable {
    /// Neither `read_only` nor `super_read_only`.
    Yes,
    /// One of them is on.
    No,
}

/// What is learnt with each new connection to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Where the name led to.
    pub endpoint: Endpoint,
    /// How the server introduced itself.
    pub greeting: Arc<GreetingFacts>,
}

/// A worker's report of a server that failed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Which server.
    pub server: ServerId,
    /// What happened.
    pub failure: Failure,
}

/// How a server failed a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens at its address.
    Refused,
    /// A connection broke.
    Reset,
    /// No answer in time.
    TimedOut,
    /// It refused a session's login.
    LoginRefused {
        /// The server's error code.
        code: u16,
    },
    /// It said something that is not the protocol.
    Malformed,
    /// It refused a statement in a way that says something of its role.
    StatementRefused {
        /// The server's error code.
        code: u16,
    },
    /// It sends its clients elsewhere.
    Leaving,
    /// It did not fail: sessions wait for a server, and it may be the next one that takes them.
    Awaited,
    /// It did not fail: it has become the primary, and answered a client's statement for the first time since.
    Answered,
}

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
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { fall: 3, rise: 2, silence: Duration::from_secs(60) };
    /// Between two steps of a test.
    const STEP: Duration = Duration::from_millis(500);

    /// Something that is heard of a server.
    enum Heard {
        Check(CheckResult),
        Report(Failure, FollowUp),
    }

    fn writable() -> Heard {
        answer(Writable::Yes)
    }

    fn read_only() -> Heard {
        answer(Writable::No)
    }

    fn answer(writable: Writable) -> Heard {
        Heard::Check(CheckResult::Answered(Answer { writable: Some(writable), view: View::Unasked, contact: None }))
    }

    fn silence() -> Heard {
        Heard::Check(CheckResult::TimedOut)
    }

    fn refused() -> Heard {
        Heard::Check(CheckResult::Refused)
    }

    fn reset() -> Heard {
        Heard::Check(CheckResult::Reset)
    }

    fn login_refused(code: u16) -> Heard {
        Heard::Check(CheckResult::LoginRefused { code, message: "no".to_owned() })
    }

    /// Hears one thing a step and expects condition, what is known of writes, and the reason after each.
    fn check(steps: &[(Heard, Condition, Option<Writable>, &str)]) {
        let begin = Instant::now();
        let mut belief = Belief::new(begin);
        for (number, (heard, condition, writable, reason)) in steps.iter().enumerate() {
            let now = begin + STEP * number as u32;
            match heard {
                Heard::Check(result) => belief.check(result, THRESHOLDS, now),
                Heard::Report(failure, follow_up) => {
                    assert_eq!(belief.report(*failure, now), *follow_up, "step {number}")
                }
            }
            let found = (belief.condition(), belief.writable(), &**belief.reason());
            assert_eq!(found, (*condition, *writable, *reason), "step {number}");
        }
    }

    use Condition::{Down, Unknown, Up};
    const YES: Option<Writable> = Some(Writable::Yes);
    const NO: Option<Writable> = Some(Writable::No);

    #[test]
    fn the_first_answer_brings_a_server_up() {
        check(&[(writable(), Up, YES, "answers"), (read_only(), Up, NO, "answers")]);
    }

    #[test]
    fn silence_keeps_what_is_known_until_it_has_lasted() {
        check(&[
            (writable(), Up, YES, "answers"),
            (silence(), Up, YES, "no answer (1 of 3)"),
            (silence(), Up, YES, "no answer (2 of 3)"),
            (silence(), Down, YES, "no answer for 1.5 s"),
            (silence(), Down, YES, "no answer for 1.5 s"),
            (writable(), Down, YES, "answers again (1 of 2)"),
            (read_only(), Up, NO, "answers"),
        ]);
    }

    #[test]
    fn silence_that_lasts_takes_a_server_down_before_many_checks_have_failed() {
        let begin = Instant::now();
        let patient = Thresholds { fall: 100, silence: STEP * 3, ..THRESHOLDS };
        let mut belief = Belief::new(begin);
        let silent = |belief: &mut Belief, step: u32| {
            belief.check(&CheckResult::TimedOut, patient, begin + STEP * step);
            belief.condition()
        };
        assert_eq!((silent(&mut belief, 5), silent(&mut belief, 9)), (Unknown, Unknown), "it has never answered");
        let answer = Answer { writable: Some(Writable::Yes), view: View::Unasked, contact: None };
        belief.check(&CheckResult::Answered(answer), patient, begin + STEP * 10);
        assert_eq!((silent(&mut belief, 14), silent(&mut belief, 15)), (Up, Down), "one check may be chance");
        assert_eq!(&**belief.reason(), "no answer for 2.5 s");
    }

    #[test]
    fn an_answer_ends_the_count_of_failures() {
        check(&[
            (read_only(), Up, NO, "answers"),
            (silence(), Up, NO, "no answer (1 of 3)"),
            (reset(), Up, NO, "connection broken (2 of 3)"),
            (read_only(), Up, NO, "answers"),
            (silence(), Up, NO, "no answer (1 of 3)"),
        ]);
    }

    #[test]
    fn a_refused_connection_counts_at_once() {
        check(&[
            (writable(), Up, YES, "answers"),
            (refused(), Down, YES, "connection refused"),
            (writable(), Down, YES, "answers again (1 of 2)"),
            (refused(), Down, YES, "connection refused"),
            (writable(), Down, YES, "answers again (1 of 2)"),
            (writable(), Up, YES, "answers"),
        ]);
    }

    #[test]
    fn a_server_never_heard_is_not_called_down_for_being_slow() {
        check(&[
            (silence(), Unknown, None, "no answer (1 of 3)"),
            (silence(), Unknown, None, "no answer (2 of 3)"),
            (silence(), Down, None, "no answer"),
        ]);
    }

    #[test]
    fn a_server_never_heard_is_down_by_its_first_failure() {
        check(&[(refused(), Down, None, "connection refused")]);
        check(&[(reset(), Down, None, "connection broken")]);
        let unreachable = CheckResult::Unreachable("db1 cannot be looked up: no such name".to_owned());
        check(&[(Heard::Check(unreachable), Down, None, "db1 cannot be looked up: no such name")]);
    }

    #[test]
    fn a_full_server_and_a_refused_account_are_not_ill() {
        for code in [1040, 1203, 1226, 1045, 1698] {
            let reason = format!("login refused: ERROR {code}: no");
            check(&[
                (login_refused(code), Unknown, None, &reason),
                (writable(), Up, YES, "answers"),
                (silence(), Up, YES, "no answer (1 of 3)"),
                (login_refused(code), Up, YES, &reason),
                (silence(), Up, YES, "no answer (1 of 3)"),
                (refused(), Down, YES, "connection refused"),
                (login_refused(code), Down, YES, &reason),
            ]);
        }
    }

    #[test]
    fn a_server_that_sends_everybody_away_is_down_at_once() {
        for code in [1129, 1130, 1053, 3032] {
            let reason = format!("login refused: ERROR {code}: no");
            check(&[(writable(), Up, YES, "answers"), (login_refused(code), Down, YES, &reason)]);
        }
    }

    #[test]
    fn an_unclear_error_counts_like_a_broken_connection() {
        let failed = || Heard::Check(CheckResult::StatementFailed { code: 1105, message: "oh".to_owned() });
        check(&[
            (writable(), Up, YES, "answers"),
            (failed(), Up, YES, "check refused: ERROR 1105: oh (1 of 3)"),
            (failed(), Up, YES, "check refused: ERROR 1105: oh (2 of 3)"),
            (failed(), Down, YES, "check refused: ERROR 1105: oh"),
        ]);
    }

    #[test]
    fn a_worker_that_was_refused_takes_the_server_down() {
        check(&[
            (writable(), Up, YES, "answers"),
            (Heard::Report(Failure::Refused, FollowUp::Check), Down, YES, "connection refused"),
            (writable(), Down, YES, "answers again (1 of 2)"),
            (writable(), Up, YES, "answers"),
        ]);
    }

    #[test]
    fn one_broken_session_causes_a_check_and_no_more() {
        for failure in [Failure::Reset, Failure::TimedOut, Failure::Malformed, Failure::LoginRefused { code: 1105 }] {
            check(&[(writable(), Up, YES, "answers"), (Heard::Report(failure, FollowUp::Check), Up, YES, "answers")]);
        }
    }

    #[test]
    fn refused_sessions_are_judged_by_the_error() {
        let report = |code, follow_up| Heard::Report(Failure::LoginRefused { code }, follow_up);
        check(&[
            (writable(), Up, YES, "answers"),
            (report(1040, FollowUp::Nothing), Up, YES, "answers"),
            (report(1226, FollowUp::Nothing), Up, YES, "answers"),
            (report(1045, FollowUp::Alarm), Up, YES, "answers"),
            (report(1129, FollowUp::Check), Down, YES, "login refused with error 1129"),
        ]);
    }

    #[test]
    fn who_sends_its_clients_elsewhere_is_up_and_leaving_for_a_while() {
        let begin = Instant::now();
        let mut belief = Belief::new(begin);
        let answered =
            CheckResult::Answered(Answer { writable: Some(Writable::Yes), view: View::Unasked, contact: None });
        belief.check(&answered, THRESHOLDS, begin);
        assert_eq!(belief.report(Failure::Leaving, begin), FollowUp::Nothing);
        belief.check(&answered, THRESHOLDS, begin + LEAVING_TIME - STEP);
        assert_eq!((belief.condition(), belief.is_leaving()), (Condition::Up, true));
        belief.check(&answered, THRESHOLDS, begin + LEAVING_TIME);
        assert_eq!((belief.condition(), belief.is_leaving()), (Condition::Up, false));
    }

    #[test]
    fn the_condition_keeps_the_time_of_its_beginning() {
        let begin = Instant::now();
        let mut belief = Belief::new(begin);
        let mut hear = |result: CheckResult, step: u32| {
            belief.check(&result, THRESHOLDS, begin + STEP * step);
            belief.since()
        };
        let answered =
            || CheckResult::Answered(Answer { writable: Some(Writable::Yes), view: View::Unasked, contact: None });
        assert_eq!(hear(answered(), 1), begin + STEP);
        assert_eq!(hear(answered(), 2), begin + STEP);
        assert_eq!(hear(CheckResult::Refused, 3), begin + STEP * 3);
        assert_eq!(hear(CheckResult::Reset, 4), begin + STEP * 3);
        assert_eq!(hear(answered(), 5), begin + STEP * 3);
        assert_eq!(hear(answered(), 6), begin + STEP * 6);
    }
}
