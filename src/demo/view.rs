//! What the terminal shows: the whole screen again and again, or plain lines where there is no screen.
//!
//! Everything here makes text from values; writing it is up to `screen`.

use std::time::{Duration, Instant};

use super::ledger::{Ledger, Line, LineResult, UserEntry};
use super::traffic::User;
use super::{READER, WRITER};

/// The longest bar, in columns.
const BAR_MAX: usize = 24;

/// Colours of the sixteen that every terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Faint,
    Bold,
    Good,
    Warning,
    Bad,
}

/// A piece of a line in one tone.
pub(super) type Piece = (Tone, String);

/// What the balancer believes of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Belief {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) state: String,
    pub(super) is_up: bool,
    pub(super) connections: u32,
}

/// Everything there is to show at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) beliefs: &'a [Belief],
    pub(super) made_of: &'a str,
    pub(super) port: u16,
    /// Shows the balancer's status in a shell.
    pub(super) status_command: &'a str,
    /// Whether clients of the demo's own are at work.
    pub(super) has_traffic: bool,
    pub(super) now: Instant,
}

impl Scene<'_> {
    /// The screen, from top to bottom, in at most `height` lines.
    pub(super) fn screen(&self, height: usize) -> Vec<Vec<Piece>> {
        let mut lines = vec![self.title(), Vec::new(), self.headline(), Vec::new()];
        lines.extend(self.servers());
        lines.push(Vec::new());
        if self.has_traffic {
            lines.push(self.user(User::Writer));
            lines.push(self.user(User::Reader));
            lines.push(Vec::new());
        }
        let foot = self.how_to_connect();
        let room = height.saturating_sub(lines.len() + foot.len() + 2);
        if self.has_traffic && room > 0 {
            lines.push(vec![(Tone::Faint, "latest statements".into())]);
            lines.extend(self.latest(room));
        }
        lines.push(Vec::new());
        lines.extend(foot);
        lines.truncate(height);
        lines
    }

    /// What this is.
    pub(super) fn title(&self) -> Vec<Piece> {
        let seconds = self.now.duration_since(self.ledger.started).as_secs();
        vec![
            (Tone::Bold, "sqluice demo".into()),
            (Tone::Faint, format!(" · {seconds} s · {} · Ctrl-C ends it", self.made_of)),
        ]
    }

    /// What happens now, in one sentence.
    pub(super) fn headline(&self) -> Vec<Piece> {
        let primary = self.beliefs.first().map_or("db1", |belief| belief.name.as_str());
        let (tone, text) = match self.ledger.outages.last() {
            None if self.has_traffic => {
                (Tone::Good, format!("{} goes to the primary, {} to the replicas", WRITER.0, READER.0))
            }
            None => (Tone::Good, "The balancer waits for your clients".into()),
            Some(outage) => match (outage.revived_at, outage.first_write_at) {
                (_, Some(write)) => {
                    let took = seconds(write.duration_since(outage.killed_at));
                    (Tone::Good, format!("Writes go on: the first one was answered {took} after {primary} was killed"))
                }
                (None, None) => {
                    let ago = seconds(self.now.duration_since(outage.killed_at));
                    (
                        Tone::Bad,
                        format!("{primary}, the primary, was killed {ago} ago: writes wait for it, reads go on"),
                    )
                }
                (Some(revived), None) => {
                    let ago = seconds(self.now.duration_since(revived));
                    (Tone::Warning, format!("{primary} was started again {ago} ago: writes wait until it answers"))
                }
            },
        };
        vec![(tone, "● ".into()), (Tone::Bold, text)]
    }

    fn servers(&self) -> Vec<Vec<Piece>> {
        let heading = format!("{:<8}{:<10}{:<12}{:>9}  statements/s", "server", "role", "state", "sessions");
        let mut lines = vec![vec![(Tone::Faint, heading)]];
        let rates: Vec<usize> = self.ledger.servers.iter().map(|server| server.rate(self.now)).collect();
        let highest = rates.iter().copied().max().unwrap_or(0);
        for (belief, rate) in self.beliefs.iter().zip(rates) {
            let tone = if belief.is_up { Tone::Good } else { Tone::Bad };
            lines.push(vec![
                (Tone::Bold, format!("{:<8}", belief.name)),
                (Tone::Plain, format!("{:<10}", belief.role)),
                (tone, format!("{:<12}", belief.state)),
                (Tone::Plain, format!("{:>9}  ", belief.connections)),
                (tone, "█".repeat(bar(rate, highest))),
                (Tone::Plain, format!(" {rate}")),
            ]);
        }
        lines
    }

    fn user(&self, user: User) -> Vec<Piece> {
        let entry = self.ledger.user(user);
        let pool = match user {
            User::Writer => "write",
            User::Reader => "read",
        };
        let mut line = vec![(Tone::Plain, format!("{:<12}→ {pool:<6} {:>6} answered  ", user.name(), entry.answered))];
        line.push((if entry.failed > 0 { Tone::Bad } else { Tone::Faint }, count(entry.failed, "error")));
        line.extend(waiting(entry, self.now));
        line
    }

    fn latest(&self, room: usize) -> Vec<Vec<Piece>> {
        let skipped = self.ledger.latest.len().saturating_sub(room);
        self.ledger.latest.iter().skip(skipped).map(|line| self.statement(line)).collect()
    }

    /// One statement: who, where to, and what; what is long stands last, where a narrow terminal cuts it.
    pub(super) fn statement(&self, line: &Line) -> Vec<Piece> {
        let user = (Tone::Plain, format!("{:<12}", line.user));
        match &line.result {
            LineResult::Answered { server_id, took } => {
                let server = server_id.and_then(|id| self.beliefs.get((id as usize).checked_sub(1)?));
                let name = server.map_or("?", |belief| belief.name.as_str());
                let took = format!("{:>10}  ", milliseconds(*took));
                vec![
                    user,
                    (Tone::Bold, format!("→ {name}")),
                    (Tone::Faint, took),
                    (Tone::Plain, line.statement.clone()),
                ]
            }
            LineResult::Failed(error) => {
                vec![user, (Tone::Bad, format!("✗ {error}: ")), (Tone::Plain, line.statement.clone())]
            }
        }
    }

    /// The latest statement of each user, for output that is no terminal.
    pub(super) fn samples(&self) -> Vec<Vec<Piece>> {
        let latest = |user: &str| self.ledger.latest.iter().rev().find(|line| line.user == user);
        [WRITER.0, READER.0].into_iter().filter_map(latest).map(|line| self.statement(line)).collect()
    }

    /// What a person can type meanwhile.
    pub(super) fn how_to_connect(&self) -> Vec<Vec<Piece>> {
        let client =
            |user: &(&str, &str)| format!("  mariadb -h 127.0.0.1 -P {} -u {} -p{} demo", self.port, user.0, user.1);
        let heading = "try it from another terminal (mysql does as well as mariadb)";
        vec![
            vec![(Tone::Faint, heading.into())],
            vec![(Tone::Plain, client(&WRITER))],
            vec![(Tone::Plain, client(&READER))],
            vec![(Tone::Plain, format!("  {}", self.status_command))],
        ]
    }

    /// The state of all servers on one line, for output that is no terminal.
    pub(super) fn one_line(&self) -> String {
        let server = |(belief, rate): (&Belief, usize)| {
            let sessions = count(belief.connections.into(), "session");
            format!("{} {} {}, {sessions}, {rate}/s", belief.name, belief.role, belief.state)
        };
        let rates = self.ledger.servers.iter().map(|server| server.rate(self.now));
        let servers: Vec<String> = self.beliefs.iter().zip(rates).map(server).collect();
        servers.join(" | ")
    }
}

/// A line without its tones.
pub(super) fn plain(line: &[Piece]) -> String {
    line.iter().map(|(_, text)| text.as_str()).collect()
}

/// A line for a terminal of `width` columns: cut there, with escape codes for the tones.
pub(super) fn coloured(line: &[Piece], width: usize) -> String {
    let mut out = String::new();
    let mut room = width;
    for (tone, text) in line {
        let shown: String = text.chars().take(room).collect();
        room -= shown.chars().count();
        let code = match tone {
            Tone::Plain => "0",
            Tone::Faint => "2",
            Tone::Bold => "1",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
        };
        out.push_str(&format!("\x1b[{code}m{shown}\x1b[0m"));
    }
    out
}

fn waiting(entry: &UserEntry, now: Instant) -> Option<Piece> {
    let (clients, longest) = entry.waiting(now)?;
    Some((Tone::Warning, format!("  {} for {}", count(clients as u64, "client waiting"), seconds(longest))))
}

/// Columns of a bar: the highest rate fills it, and any rate shows.
fn bar(rate: usize, highest: usize) -> usize {
    if rate == 0 { 0 } else { (rate * BAR_MAX / highest.max(1)).max(1) }
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// `1 error`, `2 errors`; `2 clients waiting`.
pub(super) fn count(number: u64, what: &str) -> String {
    if number == 1 {
        return format!("1 {what}");
    }
    match what.split_once(' ') {
        Some((noun, rest)) => format!("{number} {noun}s {rest}"),
        None => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::traffic::{Client, Doing, News, Report};
    use super::*;

    fn beliefs() -> Vec<Belief> {
        let belief = |name: &str, role: &str, state: &str| Belief {
            name: name.into(),
            role: role.into(),
            state: state.into(),
            is_up: state == "up",
            connections: 3,
        };
        vec![belief("db1", "-", "down"), belief("db2", "replica", "up"), belief("db3", "replica", "up")]
    }

    fn ledger(answers: usize) -> Ledger {
        let at = Instant::now();
        let mut ledger = Ledger::new(at);
        for _ in 0..answers {
            let news = News::Answered { server_id: Some(2), took: Duration::from_micros(1_234) };
            let client = Client { user: User::Reader, number: 0 };
            ledger.enter(&Report { client, doing: Doing::Read("SELECT 1".into()), at, news });
        }
        ledger
    }

    fn scene<'a>(ledger: &'a Ledger, beliefs: &'a [Belief]) -> Scene<'a> {
        let now = ledger.started;
        let status_command = "sqluice status --config /x.toml";
        Scene { ledger, beliefs, made_of: "servers", port: 4000, status_command, has_traffic: true, now }
    }

    #[test]
    fn the_screen_has_the_servers_the_latest_statements_and_the_way_in() {
        let (ledger, beliefs) = (ledger(50), beliefs());
        let lines: Vec<String> = scene(&ledger, &beliefs).screen(24).iter().map(|line| plain(line)).collect();
        assert_eq!(lines.len(), 24);
        assert!(
            lines.contains(&format!("db2     replica   up                  3  {} 50", "█".repeat(BAR_MAX))),
            "{lines:#?}"
        );
        assert!(lines.contains(&"mysqlslave  → db2    1.2 ms  SELECT 1".to_owned()), "{lines:#?}");
        assert!(lines.contains(&"  mariadb -h 127.0.0.1 -P 4000 -u mysqlmaster -pdemo demo".to_owned()));
    }

    #[test]
    fn the_screen_fits_into_any_height() {
        let (ledger, beliefs) = (ledger(5), beliefs());
        for height in 0..60 {
            assert!(scene(&ledger, &beliefs).screen(height).len() <= height, "{height} lines");
        }
    }

    #[test]
    fn the_headline_says_what_happens_now() {
        let mut ledger = ledger(1);
        let beliefs = beliefs();
        let check = |ledger: &Ledger, expected: &str| {
            let headline = plain(&scene(ledger, &beliefs).headline());
            assert!(headline.contains(expected), "{headline}");
        };
        check(&ledger, "goes to the primary");
        let now = ledger.started;
        ledger.killed(now);
        check(&ledger, "writes wait for it, reads go on");
        ledger.revived(now);
        check(&ledger, "started again");
        ledger.outages[0].first_write_at = Some(now + Duration::from_secs(4));
        check(&ledger, "answered 4.0 s after db1 was killed");
    }

    #[test]
    fn a_coloured_line_is_cut_at_the_width_and_ends_its_colours() {
        let line = vec![(Tone::Bad, "→→→".to_owned()), (Tone::Plain, "abc".to_owned())];
        assert_eq!(coloured(&line, 4), "\x1b[31m→→→\x1b[0m\x1b[0ma\x1b[0m");
        assert_eq!(plain(&line), "→→→abc");
    }

    #[test]
    fn any_rate_shows_and_the_highest_fills_the_bar() {
        assert_eq!((bar(0, 100), bar(1, 100), bar(100, 100), bar(0, 0)), (0, 1, BAR_MAX, 0));
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1, "error"), "1 error");
        assert_eq!(count(2, "client waiting"), "2 clients waiting");
    }
}
