//! What an application would do: a few clients that write, a few that read, each on connections of its own.
//!
//! Clients do not retry a statement: what they see is what an application would see, and it is reported.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Failovers, READER, WRITER};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::redirect::{self, INSTANT_FAILOVER_CODES, Target};

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
/// Servers in a row that may send a client on.
const HOPS_MAX: usize = 8;
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
pub(super) fn start(port: u16, failovers: Failovers) -> (JoinSet<()>, mpsc::Receiver<Report>) {
    let (sender, receiver) = mpsc::channel(REPORTS_MAX);
    let mut clients = JoinSet::new();
    for (user, count) in [(User::Writer, WRITERS), (User::Reader, READERS)] {
        for number in 0..count {
            let reporter = Reporter { client: Client { user, number }, reports: sender.clone() };
            clients.spawn(run(reporter, Door { port, failovers }));
        }
    }
    (clients, receiver)
}

/// Where clients come in, and what they do when they are sent on.
#[derive(Debug, Clone, Copy)]
struct Door {
    port: u16,
    failovers: Failovers,
}

/// Logs in, and where that is answered with another address, goes there.
async fn log_in(mut options: OptsBuilder, failovers: Failovers) -> mysql_async::Result<Conn> {
    for _ in 0..HOPS_MAX {
        match Conn::new(options.clone()).await {
            Err(error) if failovers == Failovers::Follow => match elsewhere(&error) {
                Some(target) => options = options.ip_or_hostname(target.host()).tcp_port(target.port()),
                None => return Err(error),
            },
            other => return other,
        }
    }
    Conn::new(options).await
}

fn elsewhere(error: &mysql_async::Error) -> Option<Target> {
    let mysql_async::Error::Server(error) = error else { return None };
    let is_known = INSTANT_FAILOVER_CODES.contains(&ErrorCode(error.code));
    redirect::target_of_message(error.message.as_bytes()).filter(|_| is_known)
}

/// Nobody listens to the reports any more: the demo is over.
struct Over;

async fn run(mut reporter: Reporter, door: Door) {
    // Not all at once: the clients share their pause evenly.
    let (pause, count) = match reporter.client.user {
        User::Writer => (WRITER_PAUSE, WRITERS),
        User::Reader => (READER_PAUSE, READERS),
    };
    tokio::time::sleep(pause * reporter.client.number as u32 / count as u32).await;
    let mut turn = 0;
    while let Ok(ended_well) = connection(&mut reporter, door, pause, &mut turn).await {
        if !ended_well {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// One connection from its login to its end; false when it ended with an error.
async fn connection(reporter: &mut Reporter, door: Door, pause: Duration, turn: &mut u32) -> Result<bool, Over> {
    let user = reporter.client.user;
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(door.port).prefer_socket(false);
    // With both sizes given, the driver has nothing to ask the server at login.
    let options = options.max_allowed_packet(Some(16 << 20)).wait_timeout(Some(28_800)).stmt_cache_size(0);
    let options = options.user(Some(user.name())).pass(Some(user.password()));
    let Some(mut connection) = reporter.watch(Doing::Connect, log_in(options, door.failovers), |_| None).await? else {
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::protocol::capability::Capabilities;
    use crate::protocol::handshake::{Greeting, Salt};
    use crate::protocol::packet::write_packet;
    use crate::protocol::response::ErrPacket;
    use crate::protocol::status::StatusFlags;
    use crate::standin::{Account, Options, StandIn};

    /// Sends each client on.
    async fn send_on(to: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let greeting = Greeting {
            version: b"5.5.5-10.11.19-MariaDB".to_vec(),
            connection_id: 1,
            salt: Salt::from_random([9; 20]),
            capabilities: Capabilities(0x81ff_f7df),
            collation: 45,
            status: StatusFlags::AUTOCOMMIT,
            plugin: b"mysql_native_password".to_vec(),
        };
        let target = Target::new(&to.ip().to_string(), to.port()).expect("a target");
        let message = redirect::message("in maintenance", &target);
        let error = ErrPacket { code: ErrorCode(4196), state: Some(*b"08004"), message };
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (mut first, mut second) = (Vec::new(), Vec::new());
                greeting.encode(&mut first);
                error.encode(&mut second);
                let mut packets = [Vec::new(), Vec::new()];
                write_packet(&mut packets[0], 0, &first);
                write_packet(&mut packets[1], 2, &second);
                socket.write_all(&packets[0]).await.expect("a greeting");
                assert_ne!(socket.read(&mut [0; 1024]).await.expect("a login"), 0);
                socket.write_all(&packets[1]).await.expect("an error");
            }
        });
        address
    }

    fn options(address: SocketAddr) -> OptsBuilder {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(address.port()).prefer_socket(false);
        let options = options.max_allowed_packet(Some(16 << 20)).wait_timeout(Some(28_800)).stmt_cache_size(0);
        options.user(Some("app")).pass(Some("secret"))
    }

    #[tokio::test]
    async fn a_client_goes_where_it_is_sent_if_it_is_to() {
        let server = StandIn::start(Options::maria_db(1, vec![Account::native("app", "secret")])).expect("it starts");
        let first = send_on(send_on(server.address()).await).await;
        let told = log_in(options(first), Failovers::Tell).await.expect_err("it is told to go elsewhere");
        assert!(elsewhere(&told).is_some(), "{told}");
        log_in(options(first), Failovers::Follow).await.expect("it gets there").disconnect().await.expect("it ends");
    }

    #[tokio::test]
    async fn a_client_does_not_go_on_for_ever() {
        let end = send_on(SocketAddr::from(([127, 0, 0, 1], 1))).await;
        let mut way = end;
        for _ in 0..HOPS_MAX {
            way = send_on(way).await;
        }
        let error = log_in(options(way), Failovers::Follow).await.expect_err("nobody lets it in");
        assert!(elsewhere(&error).is_some_and(|target| target.port() == 1), "the last one is not asked: {error}");
    }
}
