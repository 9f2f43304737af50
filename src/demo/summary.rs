//! What is said at the end, and whether all went as it should.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::ledger::{Ledger, Outage};
use super::traffic::User;
use super::view::{count, seconds};
use super::{MEMBERS, READER, Traffic, WRITER};

/// Writes should go on this soon after the primary was started again; a shorter rest of the demo proves nothing.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// Errors shown word by word.
const ERRORS_SHOWN_MAX: usize = 5;

/// See the module.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    ledger: &'a Ledger,
    /// Rows that the primary has; `None` when it could not be asked.
    rows: Option<u64>,
    traffic: Traffic,
    ended: Instant,
}

impl<'a> Summary<'a> {
    pub(super) fn new(ledger: &'a Ledger, rows: Option<u64>, traffic: Traffic, ended: Instant) -> Summary<'a> {
        Summary { ledger, rows, traffic, ended }
    }

    /// A few lines for the terminal.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\nsqluice demo, {}\n", seconds(self.ended.duration_since(self.ledger.started)));
        if self.traffic == Traffic::None {
            return text;
        }
        let servers: Vec<String> = (0..MEMBERS).map(|index| self.server(index)).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  statements   {}", servers.join(", "));
        for user in [User::Writer, User::Reader] {
            let _ = writeln!(text, "  {:<11}  {}", user.name(), self.user(user));
        }
        for outage in &self.ledger.outages {
            let _ = writeln!(text, "  outage       {}", self.outage(outage));
        }
        let _ = writeln!(text, "  rows         {}", self.rows());
        for problem in self.ledger.errors.iter().take(ERRORS_SHOWN_MAX).rev() {
            let at = seconds(problem.at.duration_since(self.ledger.started));
            let _ = writeln!(text, "  error        {} at {at}: {}", problem.user.name(), problem.error);
        }
        text
    }

    fn server(&self, index: usize) -> String {
        format!("db{} {}", index + 1, self.ledger.servers[index].answered)
    }

    fn user(&self, user: User) -> String {
        let entry = self.ledger.user(user);
        let gap = seconds(entry.longest_gap(self.ended));
        format!("{} answered, {}, longest time without an answer {gap}", entry.answered, count(entry.failed, "error"))
    }

    fn outage(&self, outage: &Outage) -> String {
        let away = outage.revived_at.map_or("to the end".into(), |at| seconds(at.duration_since(outage.killed_at)));
        let since = |at: Instant| seconds(at.duration_since(outage.revived_at.unwrap_or(outage.killed_at)));
        match outage.first_write_at {
            Some(at) => format!("primary away {away}, first write answered {} after its start", since(at)),
            None => format!("primary away {away}, no write answered after that"),
        }
    }

    fn rows(&self) -> String {
        let Ledger { rows_acknowledged, rows_unknown, .. } = self.ledger;
        let there = self.rows.map_or("the primary could not be asked".into(), |rows| format!("{rows} there"));
        format!("{rows_acknowledged} acknowledged, {rows_unknown} of unknown outcome; {there}")
    }

    /// What did not go as it should.
    pub(super) fn surprises(&self) -> Vec<String> {
        if self.traffic == Traffic::None {
            return Vec::new();
        }
        let mut surprises = Vec::new();
        let ledger = self.ledger;
        for user in [User::Writer, User::Reader] {
            if ledger.user(user).answered == 0 {
                surprises.push(format!("no statement of {} was answered", user.name()));
            }
        }
        if ledger.readers.failed > 0 {
            surprises.push(format!("{} saw errors, though no replica died", READER.0));
        }
        if ledger.errors.iter().any(|problem| problem.user == User::Writer && !problem.during_outage) {
            surprises.push(format!("{} saw errors while the primary was there", WRITER.0));
        }
        if ledger.outages.iter().any(|outage| self.is_unrecovered(outage)) {
            surprises.push("writes did not go on after the primary came back".into());
        }
        surprises.extend(self.row_surprise());
        surprises
    }

    fn is_unrecovered(&self, outage: &Outage) -> bool {
        let time_left = outage.revived_at.map_or(Duration::ZERO, |at| self.ended.duration_since(at));
        outage.first_write_at.is_none() && time_left > RECOVERY_MAX
    }

    /// Every acknowledged row is there, and no row that nobody tried to add.
    fn row_surprise(&self) -> Option<String> {
        let rows = self.rows?;
        let least = self.ledger.rows_acknowledged;
        let most = least + self.ledger.rows_unknown + self.ledger.inserts_under_way();
        (rows < least || rows > most).then(|| format!("{rows} rows are there, and {least} to {most} should be"))
    }

    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let surprises = self.surprises();
        if surprises.is_empty() { Ok(()) } else { Err(Failure::new(surprises.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::traffic::{Client, Doing, News, Outcome, Report};
    use super::*;

    const ANSWERED: News = News::Answered { server_id: Some(1), took: Duration::ZERO };

    /// A demo of 30 seconds with one acknowledged row.
    struct Story {
        ledger: Ledger,
    }

    impl Story {
        fn begin() -> Story {
            let mut story = Story { ledger: Ledger::new(Instant::now()) };
            story.enter(1, User::Writer, Doing::Insert("INSERT".into()), ANSWERED);
            story.enter(1, User::Reader, Doing::Read("SELECT".into()), ANSWERED);
            story
        }

        fn at(&self, seconds: u64) -> Instant {
            self.ledger.started + Duration::from_secs(seconds)
        }

        fn enter(&mut self, seconds: u64, user: User, doing: Doing, news: News) {
            let at = self.at(seconds);
            self.ledger.enter(&Report { client: Client { user, number: 0 }, doing, at, news });
        }

        fn fail(&mut self, seconds: u64, user: User) {
            let news = News::Failed { error: "the connection was closed".into(), outcome: Outcome::Unknown };
            self.enter(seconds, user, Doing::Insert("INSERT".into()), news);
        }

        fn surprises(&self, rows: u64) -> Vec<String> {
            Summary::new(&self.ledger, Some(rows), Traffic::Own, self.at(30)).surprises()
        }
    }

    #[test]
    fn a_demo_in_which_all_went_well_has_no_surprises() {
        let mut story = Story::begin();
        let (killed, revived) = (story.at(10), story.at(12));
        story.ledger.killed(killed);
        story.fail(11, User::Writer);
        story.ledger.revived(revived);
        story.enter(13, User::Writer, Doing::Insert("INSERT".into()), ANSWERED);
        assert_eq!(story.surprises(2), Vec::<String>::new());
        // The broken insert may have been carried out.
        assert_eq!(story.surprises(3), Vec::<String>::new());
        let text = Summary::new(&story.ledger, Some(2), Traffic::Own, story.at(30)).text();
        assert!(text.contains("primary away 2.0 s, first write answered 1.0 s after its start"), "{text}");
        assert!(text.contains("2 acknowledged, 1 of unknown outcome; 2 there"), "{text}");
    }

    #[test]
    fn a_lost_row_and_a_row_too_many_are_surprises() {
        let story = Story::begin();
        assert_eq!(story.surprises(0), ["0 rows are there, and 1 to 1 should be"]);
        assert_eq!(story.surprises(2), ["2 rows are there, and 1 to 1 should be"]);
    }

    #[test]
    fn errors_of_readers_and_errors_without_an_outage_are_surprises() {
        let mut story = Story::begin();
        story.fail(5, User::Reader);
        assert_eq!(story.surprises(1).len(), 1);
        story.fail(6, User::Writer);
        assert_eq!(story.surprises(1).len(), 2);
    }

    #[test]
    fn writes_that_do_not_go_on_are_a_surprise_once_there_was_time_for_them() {
        let mut story = Story::begin();
        let killed = story.at(2);
        story.ledger.killed(killed);
        let late = story.at(25);
        story.ledger.revived(late);
        assert_eq!(story.surprises(1), Vec::<String>::new());
        let early = story.at(5);
        story.ledger.revived(early);
        assert_eq!(story.surprises(1), ["writes did not go on after the primary came back"]);
    }
}
