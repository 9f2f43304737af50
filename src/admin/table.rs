//! What the commands print for people: aligned columns of a status, of sessions, of an explanation.

use std::fmt::Write;

use super::doctor;
use super::shapes::{
    ExistingSessions, Explanation, FailoverMode, FailoverOrigin, InstantFailoverStatus, ListenerStatus, Phase,
    Reloaded, ServerStatus, SessionStatus, SplitCounts, StatementExplanation, Status, Verdict,
};

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

use Side::{Left, Right};

/// The whole status: the process and its I/O in a line each, then listeners, servers and pools.
pub fn status(status: &Status) -> String {
    let mut page = process_lines(status);
    page.push_str("\n\n");
    page.extend(status.split.as_ref().map(split));
    page.extend(
        status
            .instant_failover
            .as_ref()
            .filter(|now| is_worth_telling(now))
            .map(|now| format!("{}\n", instant_failover(now))),
    );
    page.push_str(&listeners(status));
    page.push('\n');
    page.push_str(&servers(status));
    page.push_str(&alarms(status));
    page.push('\n');
    page.push_str(&told(status));
    page.push_str(&pools(status));
    page.push_str(&successions(status));
    page
}

/// What the clusters have to say of themselves, and a line between that and the next table.
fn told(status: &Status) -> String {
    match doctor::told(status) {
        told if told.is_empty() => told,
        told => format!("{told}\n"),
    }
}

fn process_lines(status: &Status) -> String {
    let process = &status.process;
    let phase = match process.phase {
        Phase::Serving => "serving",
        Phase::Draining => "draining",
    };
    format!(
        "sqluice {} {phase}, pid {}, up {}, {} of {} sessions, {}\n{}",
        process.version,
        process.pid,
        duration(process.uptime_seconds),
        status.sessions.current,
        status.sessions.max,
        workers(status),
        process.engine,
    )
}

/// What is wrong with the clusters, a line each.
fn alarms(status: &Status) -> String {
    let alarms = status.clusters.iter().flat_map(|cluster| cluster.alarms.iter().map(move |alarm| (cluster, alarm)));
    alarms.fold(String::new(), |mut lines, (cluster, alarm)| {
        let _ = writeln!(lines, "ALARM    {}: {alarm}", cluster.name);
        lines
    })
}

/// Whether it is used, how fit it is for that where it could be fitter, and whether an operator takes it out of use.
fn state(server: &ServerStatus) -> String {
    let state = match (&*server.state, &*server.fitness) {
        ("up", fitness) if fitness != "fit" && !fitness.is_empty() => format!("up, {fitness}"),
        (state, _) => state.to_owned(),
    };
    match (&*server.service, server.drain_seconds_left) {
        ("in use" | "", _) => state,
        (service, Some(left)) => format!("{state}, {service} ({} left)", duration(left)),
        (service, None) => format!("{state}, {service}"),
    }
}

/// Where the reads of split users ran, and what kept the others at the primary: the most frequent reason first.
fn split(counts: &SplitCounts) -> String {
    let Some(share) = counts.share_at_replicas() else { return "no reads of split users yet\n\n".to_owned() };
    let mut line = format!("{share:.0} % of the reads of split users ran at replicas");
    let mut reasons: Vec<_> = counts.reads_at_primary.iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), reason.as_str()));
    let reasons: Vec<_> = reasons.into_iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if !reasons.is_empty() {
        let _ = write!(line, "; the others did not: {}", reasons.join(", "));
    }
    line.push_str("\n\n");
    line
}

/// Nobody was ever sent elsewhere: nothing to tell.
fn is_worth_telling(now: &InstantFailoverStatus) -> bool {
    now.mode != FailoverMode::Off || now.origin == FailoverOrigin::Command || now.sent > 0
}

/// Whether clients are sent elsewhere, who decided it, and for how long.
pub fn instant_failover(now: &InstantFailoverStatus) -> String {
    let target = now.target.as_deref().unwrap_or("nowhere");
    let code = now.error_code;
    let mut line = match now.mode {
        FailoverMode::Off => "instant failover off: clients are let in".to_owned(),
        FailoverMode::On => format!(
            "instant failover on: new clients are sent to {target} (error {code}), but those of extra listeners and UNIX sockets"
        ),
        FailoverMode::All => format!("instant failover all: every new client is sent to {target} (error {code})"),
    };
    let existing = match (now.mode, now.existing) {
        (FailoverMode::Off, _) => "",
        (_, ExistingSessions::Stay) => "; sessions that are there stay",
        (_, ExistingSessions::Drain) => "; sessions that are there go at the end of their transactions",
    };
    let until = match now.origin {
        FailoverOrigin::Configuration => "",
        FailoverOrigin::Command => "; by command, until the next, or a file with another [instant_failover]",
    };
    let _ = writeln!(line, "{existing}{until}; {} sent so far", now.sent);
    now.notes.iter().for_each(|note| _ = writeln!(line, "note: {note}"));
    line
}

/// How many workers, and how evenly the sessions lie on them.
fn workers(status: &Status) -> String {
    let count = counted(status.process.workers, "worker");
    match (status.sessions.by_worker.iter().min(), status.sessions.by_worker.iter().max()) {
        (Some(least), Some(most)) if least != most => format!("{count} with {least} to {most} each"),
        (Some(_), Some(each)) if status.process.workers > 1 => format!("{count} with {each} each"),
        _ => count,
    }
}

fn listeners(status: &Status) -> String {
    let rows = status.listeners.iter().map(|listener| {
        let use_for = if listener.extra { "administration" } else { "clients" };
        vec![listener.name.clone(), listener.address.clone(), use_for.to_string(), encryption(listener)]
    });
    columns(&[("LISTENER", Left), ("ADDRESS", Left), ("FOR", Left), ("TLS", Left)], rows)
}

/// Whether clients may or must, what they see, and how long that is valid.
fn encryption(listener: &ListenerStatus) -> String {
    let demand = &listener.tls;
    match &listener.certificate {
        None => demand.clone(),
        Some(certificate) if certificate.is_self_signed => format!("{demand}, self-signed"),
        Some(certificate) if certificate.days_left < 0 => format!("{demand}, {} HAS EXPIRED", certificate.subject),
        Some(certificate) => format!("{demand}, {}, {} days left", certificate.subject, certificate.days_left),
    }
}

fn servers(status: &Status) -> String {
    let header = [
        ("CLUSTER", Left),
        ("SERVER", Left),
        ("ADDRESS", Left),
        ("ROLE", Left),
        ("STATE", Left),
        ("SESSIONS", Right),
        ("MAX", Right),
        ("WEIGHT", Right),
        ("SINCE", Right),
        ("LAG", Right),
        ("POSITION", Left),
        ("REASON", Left),
    ];
    let rows = status.clusters.iter().flat_map(|cluster| {
        cluster.servers.iter().map(|server| {
            vec![
                cluster.name.clone(),
                server.name.clone(),
                server.address.clone(),
                server.role.clone(),
                state(server),
                connections(server),
                or_dash(server.max_connections),
                server.weight.to_string(),
                duration(server.since_seconds),
                or_dash(server.lag_seconds.map(|lag| duration(lag as u64))),
                or_dash(server.position.as_deref().map(short_position)),
                server.reason.clone(),
            ]
        })
    });
    columns(&header, rows)
}

/// How many connections, and what is not as with one for each session: those that rest, and sessions that wait for one.
fn connections(server: &ServerStatus) -> String {
    let more: Vec<String> = [(server.resting, "resting"), (server.waiting, "waiting")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    match more.as_slice() {
        [] => server.connections.to_string(),
        more => format!("{} ({})", server.connections, more.join(", ")),
    }
}

/// A position that fits a column: of a server's UUID the first part, and of many sources the first ones.
fn short_position(position: &str) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 40;
    let short = |source: &str| match source.split_once(':') {
        Some((uuid, numbers)) if uuid.len() == 36 => format!("{}…:{numbers}", uuid.get(..8).unwrap_or(uuid)),
        _ => source.to_owned(),
    };
    let sources = position.split(',').map(short).collect::<Vec<_>>().join(",");
    match sources.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &sources[..end]),
        None if sources.is_empty() => "none".to_owned(),
        None => sources,
    }
}

fn pools(status: &Status) -> String {
    let header =
        [("POOL", Left), ("CLUSTER", Left), ("ROLE", Left), ("BALANCE", Left), ("FALLBACK", Left), ("USABLE", Left)];
    let rows = status.pools.iter().map(|pool| {
        vec![
            pool.name.clone(),
            pool.cluster.clone(),
            pool.role.clone(),
            pool.balance.clone(),
            or_dash(pool.fallback.as_deref()),
            if pool.usable.is_empty() { "none".to_string() } else { pool.usable.join(" ") },
        ]
    });
    columns(&header, rows)
}

/// How the changes of primaries went; nothing while there was none.
fn successions(status: &Status) -> String {
    if status.successions.is_empty() {
        return String::new();
    }
    let header = [
        ("NEW PRIMARY", Left),
        ("OF", Left),
        ("AFTER", Left),
        ("AGO", Right),
        ("LAST GOOD REPLY", Right),
        ("DETECTED", Right),
        ("DECIDED", Right),
        ("REROUTED", Right),
        ("FIRST REPLY", Right),
    ];
    let moment = |seconds: Option<f64>| or_dash(seconds.map(|seconds| format!("{seconds:.3} s")));
    let rows = status.successions.iter().map(|change| {
        vec![
            change.to.clone(),
            change.cluster.clone(),
            change.from.clone(),
            duration(change.seconds_ago),
            moment(change.last_good_reply),
            moment(Some(change.detected)),
            moment(change.decided),
            moment(Some(change.rerouted)),
            moment(change.first_reply),
        ]
    });
    format!("\n{}", columns(&header, rows))
}

/// One row a session.
pub fn sessions(sessions: &[SessionStatus]) -> String {
    let header = [
        ("ID", Right),
        ("USER", Left),
        ("ADDRESS", Left),
        ("SERVER", Left),
        ("REPLICA", Left),
        ("LAST SERVER", Left),
        ("STATE", Left),
        ("PINS", Left),
        ("COMMANDS", Right),
        ("AGE", Right),
        ("WORKER", Right),
    ];
    let rows = sessions.iter().map(|session| {
        vec![
            session.id.to_string(),
            if session.user.is_empty() { "-".to_string() } else { session.user.clone() },
            session.address.clone(),
            or_dash(session.server.as_deref()),
            or_dash(session.replica.as_deref()),
            or_dash(session.last_server.as_deref()),
            session.state.clone(),
            if session.pins.is_empty() { "-".to_string() } else { session.pins.join(",") },
            session.commands.to_string(),
            duration(session.age_seconds),
            session.worker.to_string(),
        ]
    });
    columns(&header, rows)
}

/// The result first, then how it came about.
pub fn explanation(explanation: &Explanation) -> String {
    let mut page = format!("{}\n{}\n", explanation.outcome, explanation.rule);
    page.extend(explanation.statement.as_ref().map(statement));
    for pool in &explanation.pools {
        let _ = writeln!(page, "\npool {}: {}", pool.pool, pool.rule);
        let rows = pool.candidates.iter().map(|candidate| {
            let verdict = match candidate.verdict {
                Verdict::Chosen => "chosen",
                Verdict::Passed => "usable",
                Verdict::Excluded => "not used",
                Verdict::Open => "depends",
            };
            vec![format!("  {}", candidate.server), verdict.to_string(), candidate.reason.clone()]
        });
        page.push_str(&columns(&[("  SERVER", Left), ("VERDICT", Left), ("WHY", Left)], rows));
    }
    for note in &explanation.notes {
        let _ = write!(page, "\nnote: {note}\n");
    }
    page
}

fn statement(statement: &StatementExplanation) -> String {
    let StatementExplanation { class, reason, token, hint, effects, needs } = statement;
    let mut lines = format!("it is {class}: {reason}");
    if !token.is_empty() {
        let _ = write!(lines, ", at `{token}`");
    }
    lines.push('\n');
    for (what, list) in [("hint", hint.as_slice()), ("it does", effects), ("it reads of its session", needs)] {
        if !list.is_empty() {
            let _ = writeln!(lines, "{what}: {}", list.join(", "));
        }
    }
    lines
}

/// What a reload changed, one line each.
pub fn reloaded(reloaded: &Reloaded) -> String {
    let mut page = String::new();
    if reloaded.changes.is_empty() {
        page.push_str("nothing changed\n");
    }
    for change in &reloaded.changes {
        let _ = writeln!(page, "{change}");
    }
    for note in &reloaded.notes {
        let _ = writeln!(page, "{note}");
    }
    for setting in &reloaded.needs_restart {
        let _ = writeln!(page, "needs a restart: {setting}");
    }
    page
}

/// Rows under a header, each column as wide as its widest cell; the last one as long as it likes.
pub(super) fn columns(header: &[(&str, Side)], rows: impl Iterator<Item = Vec<String>>) -> String {
    let names = header.iter().map(|(name, _)| name.to_string()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(names).chain(rows).collect();
    let widths: Vec<usize> = (0..header.len()).map(|column| width(&rows, column)).collect();
    let mut page = String::new();
    for row in &rows {
        let mut line = String::new();
        for ((cell, (_, side)), &width) in row.iter().zip(header).zip(&widths) {
            let _ = match side {
                Left => write!(line, "{cell:<width$}  "),
                Right => write!(line, "{cell:>width$}  "),
            };
        }
        page.push_str(line.trim_end());
        page.push('\n');
    }
    page
}

fn width(rows: &[Vec<String>], column: usize) -> usize {
    rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
}

pub(super) fn or_dash<Value: ToString>(value: Option<Value>) -> String {
    value.map_or_else(|| "-".to_string(), |value| value.to_string())
}

pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The two largest units: `45s`, `3m 05s`, `2h 07m`, `4d 01h`.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shapes::tests::{a_session, a_status};
    use super::super::shapes::{CandidateExplanation, PoolExplanation};
    use super::*;

    #[test]
    fn a_status_reads_as_aligned_tables() {
        let expected = "\
sqluice 0.1.0 serving, pid 4242, up 1h 02m, 3 of 10000 sessions, 2 workers with 1 to 2 each
io_uring

97 % of the reads of split users ran at replicas; the others did not: transaction 25, user variable 5

LISTENER  ADDRESS         FOR             TLS
app       127.0.0.1:3306  clients         required, CN=db.example, 45 days left
extra     unix:/run/x     administration  disabled

CLUSTER  SERVER  ADDRESS         ROLE     STATE    SESSIONS  MAX  WEIGHT   SINCE  LAG  POSITION      REASON
shop     db1     10.0.0.11:3306  primary  up              3    -     100  1m 30s    -  0-1-4,1-1-20  read_only=0
shop     db2     10.0.0.12:3306  unknown  unknown         0  200      50      0s    -  -             not checked yet
ALARM    shop: db2 is a replica and takes writes

POOL   CLUSTER  ROLE     BALANCE            FALLBACK  USABLE
write  shop     primary  least-connections  -         db1
read   shop     replica  round-robin        write     none

NEW PRIMARY  OF    AFTER     AGO  LAST GOOD REPLY  DETECTED  DECIDED  REROUTED  FIRST REPLY
db1          shop  db2    1m 30s          0.000 s   0.250 s  1.000 s   1.500 s            -
";
        assert_eq!(status(&a_status()), expected);
    }

    #[test]
    fn connections_that_rest_and_sessions_that_wait_are_shown_where_there_are_any() {
        let mut server = a_status().clusters[0].servers[0].clone();
        assert_eq!(connections(&server), "3");
        server.waiting = 12;
        assert_eq!(connections(&server), "3 (12 waiting)");
        server.resting = 2;
        assert_eq!(connections(&server), "3 (2 resting, 12 waiting)");
    }

    #[test]
    fn a_server_that_an_operator_takes_out_shows_it() {
        let mut server = a_status().clusters[0].servers[0].clone();
        (server.service, server.drain_seconds_left) = ("draining".into(), Some(12));
        assert_eq!(state(&server), "up, draining (12s left)");
        (server.service, server.drain_seconds_left) = ("out of use".into(), None);
        assert_eq!(state(&server), "up, out of use");
    }

    #[test]
    fn a_session_without_server_or_pins_shows_dashes() {
        let expected = "\
ID  USER  ADDRESS          SERVER  REPLICA  LAST SERVER  STATE  PINS  COMMANDS  AGE  WORKER
 7  app   127.0.0.1:40112  db1     -        db1          idle   -           12  45s       1
 8  -     127.0.0.1:40113  -       -        -            login  -            0   0s       0
";
        let mut second = a_session();
        second.id = 8;
        second.user.clear();
        second.address = "127.0.0.1:40113".into();
        (second.server, second.last_server) = (None, None);
        second.state = "login".into();
        second.commands = 0;
        (second.age_seconds, second.worker) = (0, 0);
        assert_eq!(sessions(&[a_session(), second]), expected);
    }

    #[test]
    fn positions_fit_their_column() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert_eq!(short_position(""), "none");
        assert_eq!(short_position("0-13406-26"), "0-13406-26");
        assert_eq!(short_position(&format!("{uuid}:1-28")), "3e11fa47…:1-28");
        assert_eq!(short_position(&format!("{uuid}:1-28,{uuid}:tag:7")), "3e11fa47…:1-28,3e11fa47…:tag:7");
        let many = vec![format!("{uuid}:1-28"); 9].join(",");
        assert_eq!(short_position(&many), "3e11fa47…:1-28,3e11fa47…:1-28,3e11fa47…:…");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m 00s"), (3_599, "59m 59s"), (3_600, "1h 00m"), (90_061, "1d 01h")]
        {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn an_explanation_says_what_the_statement_is_taken_for() {
        let candidate = |server: &str, verdict, reason: &str| CandidateExplanation {
            server: server.into(),
            verdict,
            reason: reason.into(),
        };
        let explained = Explanation {
            user: "app".into(),
            rule: "user app is at home in pool write".into(),
            statement: Some(StatementExplanation {
                class: "a statement for the primary".into(),
                reason: "user lock".into(),
                token: "GET_LOCK".into(),
                hint: Some("replica".into()),
                effects: vec!["takes a user lock".into()],
                needs: vec![],
            }),
            pool: "write".into(),
            pools: vec![PoolExplanation {
                pool: "write".into(),
                rule: "the primary of cluster shop".into(),
                candidates: vec![
                    candidate("db1", Verdict::Chosen, "connections 1"),
                    candidate("db2", Verdict::Excluded, "replica"),
                ],
            }],
            server: Some("db1".into()),
            outcome: "the statement goes to server db1".into(),
            notes: vec!["a note".into()],
        };
        let expected = "\
the statement goes to server db1
user app is at home in pool write
it is a statement for the primary: user lock, at `GET_LOCK`
hint: replica
it does: takes a user lock

pool write: the primary of cluster shop
  SERVER  VERDICT   WHY
  db1     chosen    connections 1
  db2     not used  replica

note: a note
";
        assert_eq!(explanation(&explained), expected);
    }

    #[test]
    fn a_reload_without_effect_says_so() {
        let nothing = Reloaded { changes: vec![], needs_restart: vec![], notes: vec![] };
        assert_eq!(reloaded(&nothing), "nothing changed\n");
        let some = Reloaded {
            changes: vec!["listener `b` added".into()],
            needs_restart: vec!["workers: 2 to 4".into()],
            notes: vec!["instant failover: stays on".into()],
        };
        let expected = "listener `b` added\ninstant failover: stays on\nneeds a restart: workers: 2 to 4\n";
        assert_eq!(reloaded(&some), expected);
    }
}
