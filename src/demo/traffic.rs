//! What an application would do: a few clients that write, a few that read, each on connections of its own.
//!
//! Clients do not retry a statement: what they see is what an application would see, and it is reported.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{READER, WRITER};

/// Clients of each user.
pub(super) const WRITERS: usize = 3;
pub(super) const READERS: usize = 4;
/// Between two turns of one client, so that a person can follow.
const WRITER_PAUSE: Duration = Duration::from_millis(400);
const READER_PAUSE: Duration = Duration::from_millis(250);
/// Before the next try, when there is no connection.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// A reader connects anew after so many turns, as short-lived clients do: that is when it is balanced.
const READER_TURNS: u32 = 12;
/// Reports on their way; a client waits when there are more.
const REPORTS_MAX: usize = 256;

/// Whose client it is, and so which pool its statements go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    Writer,
    Reader,
}

impl User {
    pub(super) fn name(self) -> &'static str {
        match self {
            User::Writer => WRITER.0,
            User::Reader => READER.0,
        }
    }

    fn password(self) -> &'static str {
        match self {
            User::Writer => WRITER.1,
            User::Reader => READER.1,
        }
    }
}

/// One client: its user and its number among that user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) user: User,
    pub(super) number: usize,
}

/// What a client was doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doing {
    Connect,
    /// A statement that changes nothing.
    Read(String),
    /// A statement that adds a row.
    Insert(String),
}

/// What a client has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) client: Client,
    pub(super) doing: Doing,
    pub(super) at: Instant,
    pub(super) news: News,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It has begun, and the client waits.
    Begun,
    /// It was answered by the server with this `@@server_id`; `None` where nothing says so.
    Answered {
        server_id: Option<u32>,
        took: Duration,
    },
    Failed {
        error: String,
        outcome: Outcome,
    },
}

/// What a failure says of the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server said no, or there was no server: it was not carried out.
    NotDone,
    /// The connection broke: it may have been carried out.
    Unknown,
}

/// Starts all clients against the balancer at `port`. They end when the set is dropped.
pub(super) fn start(port: u16) -> (JoinSet<()>, mpsc::Receiver<Report>) {
    let (sender, receiver) = mpsc::channel(REPORTS_MAX);
    let mut clients = JoinSet::new();
    for (user, count) in [(User::Writer, WRITERS), (User::Reader, READERS)] {
        for number in 0..count {
            let reporter = Reporter { client: Client { user, number }, reports: sender.clone() };
            clients.spawn(run(reporter, port));
        }
    }
    (clients, receiver)
}

/// Nobody listens to the reports any more: the demo is over.
struct Over;

async fn run(mut reporter: Reporter, port: u16) {
    // Not all at once: the clients share their pause evenly.
    let (pause, count) = match reporter.client.user {
        User::Writer => (WRITER_PAUSE, WRITERS),
        User::Reader => (READER_PAUSE, READERS),
    };
    tokio::time::sleep(pause * reporter.client.number as u32 / count as u32).await;
    let mut turn = 0;
    while let Ok(ended_well) = connection(&mut reporter, port, pause, &mut turn).await {
        if !ended_well {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// One connection from its login to its end; false when it ended with an error.
async fn connection(reporter: &mut Reporter, port: u16, pause: Duration, turn: &mut u32) -> Result<bool, Over> {
    let user = reporter.client.user;
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).prefer_socket(false);
    // With both sizes given, the driver has nothing to ask the server at login.
    let options = options.max_allowed_packet(Some(16 << 20)).wait_timeout(Some(28_800)).stmt_cache_size(0);
    let options = options.user(Some(user.name())).pass(Some(user.password()));
    let Some(mut connection) = reporter.watch(Doing::Connect, Conn::new(options), |_| None).await? else {
        return Ok(false);
    };
    let turns = match user {
        User::Writer => u32::MAX,
        User::Reader => READER_TURNS,
    };
    // An INSERT does not say where it went, so a writer asks first.
    if user == User::Writer && !read(reporter, &mut connection).await? {
        return Ok(false);
    }
    for _ in 0..turns {
        *turn += 1;
        let went_well = match user {
            User::Writer => write(reporter, &mut connection, *turn).await?,
            User::Reader => read(reporter, &mut connection).await?,
        };
        if !went_well {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
    }
    // The client is done with it; a failed farewell is no news.
    let _ = connection.disconnect().await;
    Ok(true)
}

/// Adds a row, and looks where it went.
async fn write(reporter: &mut Reporter, connection: &mut Conn, turn: u32) -> Result<bool, Over> {
    let note = format!("visit {turn} of writer {}", reporter.client.number + 1);
    let insert = format!("INSERT INTO demo.visits (server, note) VALUES (@@server_id, '{note}')");
    let doing = Doing::Insert(insert.clone());
    if reporter.watch(doing, connection.query_drop(insert), |()| None).await?.is_none() {
        return Ok(false);
    }
    read(reporter, connection).await
}

async fn read(reporter: &mut Reporter, connection: &mut Conn) -> Result<bool, Over> {
    let statement = "SELECT @@server_id, COUNT(*) FROM demo.visits";
    let answer = connection.query_first(statement);
    let server_of = |row: &Option<(u32, u64)>| row.map(|(server_id, _rows)| server_id);
    Ok(reporter.watch(Doing::Read(statement.into()), answer, server_of).await?.is_some())
}

struct Reporter {
    client: Client,
    reports: mpsc::Sender<Report>,
}

impl Reporter {
    /// Reports the beginning and the end of something; the result, if it went well.
    async fn watch<T>(
        &mut self,
        doing: Doing,
        work: impl Future<Output = mysql_async::Result<T>>,
        server_of: impl Fn(&T) -> Option<u32>,
    ) -> Result<Option<T>, Over> {
        let begun = Instant::now();
        self.report(doing.clone(), News::Begun).await?;
        let result = work.await;
        let (news, result) = match result {
            Ok(value) => (News::Answered { server_id: server_of(&value), took: begun.elapsed() }, Some(value)),
            Err(error) => (News::Failed { error: sentence(&error), outcome: outcome(&error) }, None),
        };
        self.report(doing, news).await?;
        Ok(result)
    }

    async fn report(&self, doing: Doing, news: News) -> Result<(), Over> {
        let report = Report { client: self.client, doing, at: Instant::now(), news };
        self.reports.send(report).await.map_err(|_| Over)
    }
}

/// An SQL state of class 08 says that the connection broke on the way.
fn outcome(error: &mysql_async::Error) -> Outcome {
    match error {
        mysql_async::Error::Server(error) if !error.state.starts_with("08") => Outcome::NotDone,
        _ => Outcome::Unknown,
    }
}

/// As the command line clients show it.
fn sentence(error: &mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(error) => format!("ERROR {} ({}): {}", error.code, error.state, error.message),
        mysql_async::Error::Io(_) => "the connection was closed".into(),
        other => other.to_string(),
    }
}
