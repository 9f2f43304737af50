//! What has happened so far: counted, and honest about errors. No clock of its own: each entry brings its time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::MEMBERS;
use super::traffic::{Client, Doing, News, Outcome, READERS, Report, User, WRITERS};

/// Statements kept for the list of the latest.
const LATEST_MAX: usize = 64;
/// Errors kept word by word; all are counted.
const ERRORS_MAX: usize = 32;
/// Rates are those of the last second.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// A client that was idle all through an outage notices its broken connection a little later.
const WAKE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) started: Instant,
    /// By server, the primary first.
    pub(super) servers: [ServerEntry; MEMBERS],
    pub(super) writers: UserEntry,
    pub(super) readers: UserEntry,
    /// The newest last; at most [`LATEST_MAX`].
    pub(super) latest: VecDeque<Line>,
    /// The oldest last; at most [`ERRORS_MAX`].
    pub(super) errors: VecDeque<Problem>,
    pub(super) outages: Vec<Outage>,
    /// Rows that a server has said it added.
    pub(super) rows_acknowledged: u64,
    /// Rows that may have been added: the connection broke before the answer.
    pub(super) rows_unknown: u64,
}

/// What one server did.
#[derive(Debug, Default)]
pub(super) struct ServerEntry {
    pub(super) answered: u64,
    /// Times of the answers within the last [`RATE_WINDOW`], the oldest first.
    recent: VecDeque<Instant>,
}

/// What one user's clients saw.
#[derive(Debug)]
pub(super) struct UserEntry {
    pub(super) answered: u64,
    pub(super) failed: u64,
    /// The longest time between two answers, to whichever of the clients.
    longest_gap: Duration,
    last_answer: Option<Instant>,
    clients: Vec<ClientState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct ClientState {
    /// Since when it waits for an answer.
    waits_since: Option<Instant>,
    /// Whether what it waits for adds a row.
    inserts: bool,
    /// The server that its connection was last known to be on.
    server_id: Option<u32>,
}

/// One answered or failed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) user: &'static str,
    pub(super) statement: String,
    pub(super) result: LineResult,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LineResult {
    Answered { server_id: Option<u32>, took: Duration },
    Failed(String),
}

/// An error that a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) at: Instant,
    pub(super) user: User,
    pub(super) error: String,
    /// Whether it came while the primary was away, or in its wake.
    pub(super) during_outage: bool,
}

/// One death of the primary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    pub(super) killed_at: Instant,
    pub(super) revived_at: Option<Instant>,
    /// The first write that was answered after its return.
    pub(super) first_write_at: Option<Instant>,
}

impl Ledger {
    pub(super) fn new(started: Instant) -> Ledger {
        Ledger {
            started,
            servers: Default::default(),
            writers: UserEntry::new(WRITERS),
            readers: UserEntry::new(READERS),
            latest: VecDeque::new(),
            errors: VecDeque::new(),
            outages: Vec::new(),
            rows_acknowledged: 0,
            rows_unknown: 0,
        }
    }

    pub(super) fn killed(&mut self, now: Instant) {
        self.outages.push(Outage { killed_at: now, revived_at: None, first_write_at: None });
    }

    pub(super) fn revived(&mut self, now: Instant) {
        if let Some(outage) = self.outages.last_mut() {
            outage.revived_at = Some(now);
        }
    }

    /// The outage that is not over yet: no write has been answered since the primary died.
    pub(super) fn open_outage(&self) -> Option<&Outage> {
        self.outages.last().filter(|outage| outage.first_write_at.is_none())
    }

    /// Rows that clients were about to add when the last report came.
    pub(super) fn inserts_under_way(&self) -> u64 {
        self.writers.clients.iter().filter(|client| client.inserts).count() as u64
    }

    /// Takes a client's report. The line it makes, if it is one to show.
    pub(super) fn enter(&mut self, report: &Report) -> Option<Line> {
        let Client { user, number } = report.client;
        match &report.news {
            News::Begun => {
                let client = &mut self.user_mut(user).clients[number];
                client.waits_since = Some(report.at);
                client.inserts = matches!(report.doing, Doing::Insert(_));
                None
            }
            News::Answered { server_id, took } => {
                let client = &mut self.user_mut(user).clients[number];
                client.waits_since = None;
                client.inserts = false;
                self.answered(report, *server_id, *took)
            }
            News::Failed { error, outcome } => {
                self.user_mut(user).clients[number] = ClientState::default();
                Some(self.failed(report, error, *outcome))
            }
        }
    }

    fn answered(&mut self, report: &Report, told: Option<u32>, took: Duration) -> Option<Line> {
        let Client { user, number } = report.client;
        let entry = self.user_mut(user);
        if report.doing == Doing::Connect {
            entry.clients[number].server_id = None;
            return None;
        }
        let server_id = told.or(entry.clients[number].server_id);
        entry.clients[number].server_id = server_id;
        entry.answer(report.at);
        if let Some(server) = server_id.and_then(|id| self.servers.get_mut((id as usize).checked_sub(1)?)) {
            server.answer(report.at);
        }
        let statement = match &report.doing {
            Doing::Insert(statement) => {
                self.rows_acknowledged += 1;
                // Before that it is the last word of the primary that dies.
                if let Some(outage) = self.outages.last_mut().filter(|outage| outage.revived_at.is_some()) {
                    outage.first_write_at.get_or_insert(report.at);
                }
                statement
            }
            Doing::Read(statement) => statement,
            Doing::Connect => return None,
        };
        let result = LineResult::Answered { server_id, took };
        Some(self.show(Line { user: user.name(), statement: statement.clone(), result }))
    }

    fn failed(&mut self, report: &Report, error: &str, outcome: Outcome) -> Line {
        let user = report.client.user;
        self.user_mut(user).failed += 1;
        let statement = match &report.doing {
            Doing::Connect => "(connecting)".to_owned(),
            Doing::Read(statement) => statement.clone(),
            Doing::Insert(statement) => {
                self.rows_unknown += u64::from(outcome == Outcome::Unknown);
                statement.clone()
            }
        };
        let during_outage = self.outages.last().is_some_and(|outage| outage.explains_error_at(report.at));
        self.errors.push_front(Problem { at: report.at, user, error: error.into(), during_outage });
        self.errors.truncate(ERRORS_MAX);
        self.show(Line { user: user.name(), statement, result: LineResult::Failed(error.into()) })
    }

    fn show(&mut self, line: Line) -> Line {
        if self.latest.len() == LATEST_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back(line.clone());
        line
    }

    fn user_mut(&mut self, user: User) -> &mut UserEntry {
        match user {
            User::Writer => &mut self.writers,
            User::Reader => &mut self.readers,
        }
    }

    pub(super) fn user(&self, user: User) -> &UserEntry {
        match user {
            User::Writer => &self.writers,
            User::Reader => &self.readers,
        }
    }
}

impl Outage {
    fn explains_error_at(&self, at: Instant) -> bool {
        self.first_write_at.is_none_or(|write| at.duration_since(write) <= WAKE)
    }
}

impl ServerEntry {
    fn answer(&mut self, at: Instant) {
        self.answered += 1;
        self.recent.push_back(at);
        self.forget_before(at);
    }

    fn forget_before(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) > RATE_WINDOW) {
            self.recent.pop_front();
        }
    }

    /// Statements answered within the last second.
    pub(super) fn rate(&self, now: Instant) -> usize {
        self.recent.iter().filter(|at| now.duration_since(**at) <= RATE_WINDOW).count()
    }
}

impl UserEntry {
    fn new(clients: usize) -> UserEntry {
        UserEntry {
            answered: 0,
            failed: 0,
            longest_gap: Duration::ZERO,
            last_answer: None,
            clients: vec![ClientState::default(); clients],
        }
    }

    fn answer(&mut self, at: Instant) {
        if let Some(last) = self.last_answer {
            self.longest_gap = self.longest_gap.max(at.duration_since(last));
        }
        self.last_answer = Some(at);
        self.answered += 1;
    }

    /// The longest time without an answer to any of the clients; the last one may go on to `now`.
    pub(super) fn longest_gap(&self, now: Instant) -> Duration {
        self.last_answer.map_or(Duration::ZERO, |last| self.longest_gap.max(now.duration_since(last)))
    }

    /// How many clients wait longer than a moment, and the longest wait.
    pub(super) fn waiting(&self, now: Instant) -> Option<(usize, Duration)> {
        /// An answer that takes this long is worth a word.
        const MOMENT: Duration = Duration::from_millis(500);
        let waits = self.clients.iter().filter_map(|client| client.waits_since).map(|since| now.duration_since(since));
        let waits: Vec<Duration> = waits.filter(|wait| *wait > MOMENT).collect();
        Some((waits.len(), waits.iter().max().copied()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Client = Client { user: User::Writer, number: 0 };

    struct Story {
        ledger: Ledger,
        started: Instant,
    }

    impl Story {
        fn begin() -> Story {
            let started = Instant::now();
            Story { ledger: Ledger::new(started), started }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.started + Duration::from_secs(seconds)
        }

        fn enter(&mut self, seconds: u64, doing: Doing, news: News) {
            let at = self.at(seconds);
            self.ledger.enter(&Report { client: WRITER, doing, at, news });
        }

        fn insert(&mut self, seconds: u64) {
            let news = News::Answered { server_id: None, took: Duration::ZERO };
            self.enter(seconds, Doing::Insert("INSERT".into()), news);
        }

        fn fail(&mut self, seconds: u64, outcome: Outcome) {
            self.enter(seconds, Doing::Insert("INSERT".into()), News::Failed { error: "gone".into(), outcome });
        }
    }

    #[test]
    fn an_insert_counts_for_the_server_that_its_connection_is_on() {
        let mut story = Story::begin();
        story.enter(0, Doing::Connect, News::Answered { server_id: None, took: Duration::ZERO });
        story.enter(0, Doing::Read("SELECT".into()), News::Answered { server_id: Some(1), took: Duration::ZERO });
        story.insert(1);
        assert_eq!(story.ledger.servers[0].answered, 2);
        // After a new login nobody knows where the connection leads.
        story.enter(2, Doing::Connect, News::Answered { server_id: None, took: Duration::ZERO });
        story.insert(3);
        assert_eq!(story.ledger.servers[0].answered, 2);
        assert_eq!(story.ledger.writers.answered, 3);
    }

    #[test]
    fn an_outage_lasts_to_the_first_answered_write_and_its_errors_are_marked() {
        let mut story = Story::begin();
        story.insert(1);
        story.ledger.killed(story.at(2));
        story.fail(2, Outcome::Unknown);
        story.ledger.revived(story.at(5));
        assert!(story.ledger.open_outage().is_some());
        story.insert(7);
        assert!(story.ledger.open_outage().is_none());
        story.fail(8, Outcome::NotDone);
        story.fail(12, Outcome::NotDone);
        assert_eq!(story.ledger.outages[0].first_write_at, Some(story.at(7)));
        let marks: Vec<bool> = story.ledger.errors.iter().map(|problem| problem.during_outage).collect();
        assert_eq!(marks, [false, true, true]);
        assert_eq!(story.ledger.writers.longest_gap(story.at(8)), Duration::from_secs(6));
        assert_eq!(story.ledger.writers.longest_gap(story.at(20)), Duration::from_secs(13));
        assert_eq!((story.ledger.rows_acknowledged, story.ledger.rows_unknown), (2, 1));
    }

    #[test]
    fn the_last_word_of_a_primary_that_dies_does_not_end_its_outage() {
        let mut story = Story::begin();
        story.ledger.killed(story.at(2));
        story.insert(2);
        assert!(story.ledger.open_outage().is_some());
        story.ledger.revived(story.at(5));
        story.insert(7);
        assert_eq!(story.ledger.outages[0].first_write_at, Some(story.at(7)));
    }

    #[test]
    fn a_client_waits_from_the_beginning_of_a_statement_to_its_end() {
        let mut story = Story::begin();
        story.enter(1, Doing::Read("SELECT".into()), News::Begun);
        assert_eq!(story.ledger.writers.waiting(story.at(1)), None);
        assert_eq!(story.ledger.writers.waiting(story.at(4)), Some((1, Duration::from_secs(3))));
        story.insert(4);
        assert_eq!(story.ledger.writers.waiting(story.at(9)), None);
    }

    #[test]
    fn rates_are_those_of_the_last_second_and_lists_are_bounded() {
        let mut story = Story::begin();
        for _ in 0..2 * LATEST_MAX {
            story.enter(0, Doing::Read("SELECT".into()), News::Answered { server_id: Some(2), took: Duration::ZERO });
            story.fail(0, Outcome::NotDone);
        }
        assert_eq!(story.ledger.servers[1].rate(story.at(0)), 2 * LATEST_MAX);
        assert_eq!(story.ledger.servers[1].rate(story.at(2)), 0);
        assert_eq!((story.ledger.latest.len(), story.ledger.errors.len()), (LATEST_MAX, ERRORS_MAX));
        assert_eq!(story.ledger.writers.failed, 2 * LATEST_MAX as u64);
    }
}
