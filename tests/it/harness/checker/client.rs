//! One client of the load: what it does, and what it writes down of the answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::judge::{Fault, Watermark};

/// All that one client did and was told.
#[derive(Debug, Default)]
pub(super) struct Diary {
    pub(super) client: u32,
    /// In the order of their numbers, which have no gaps.
    pub(super) writes: Vec<Write>,
    pub(super) acknowledged_at: Vec<Instant>,
    pub(super) errors: Vec<Refusal>,
    /// What its reads showed that they may not.
    pub(super) faults: Vec<Fault>,
    pub(super) reads: usize,
    pub(super) logins: usize,
}

impl Diary {
    pub(super) fn count(&self, fate: Fate, kind: Kind) -> usize {
        self.writes
            .iter()
            .filter(|write| write.fate == fate && write.kind == kind)
            .map(|write| write.rows as usize)
            .sum()
    }

    pub(super) fn count_fate(&self, fate: Fate) -> usize {
        self.count(fate, Kind::Alone) + self.count(fate, Kind::Transaction)
    }
}

/// Rows that are written together or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) first: u32,
    pub(super) rows: u32,
    pub(super) kind: Kind,
    pub(super) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One statement outside a transaction.
    Alone,
    /// Two statements between BEGIN and COMMIT.
    Transaction,
}

/// What a client knows of its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was told that it is done.
    Acknowledged,
    /// It was told, or can be sure, that it is not done and never will be.
    Refused,
    /// The answer is missing: it may be done or not.
    Unknown,
}

/// What a client was doing when it met an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Connecting and logging in.
    Login,
    /// An INSERT outside a transaction.
    Write,
    /// A SELECT outside a transaction.
    Read,
    /// BEGIN and the INSERTs behind it.
    Transaction,
    /// COMMIT.
    Commit,
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Phase::Login => "at a login",
            Phase::Write => "at a write outside transactions",
            Phase::Read => "at a read outside transactions",
            Phase::Transaction => "in a transaction",
            Phase::Commit => "at a COMMIT",
        })
    }
}

/// What a client was told instead of an answer.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) phase: Phase,
    /// Code and state of an ERR packet, or that the connection broke.
    pub(super) code: String,
    pub(super) message: String,
    /// Whether the session goes on.
    lives: bool,
    fate: Fate,
}

impl Refusal {
    /// States of class 08 speak of the connection: what became of the statement is not in them.
    fn new(phase: Phase, error: Error) -> Refusal {
        match error {
            Error::Server(error) => {
                let is_cut = error.state.starts_with("08");
                let is_known = !is_cut && error.code != ERROR_DURING_COMMIT;
                let fate = if is_known { Fate::Refused } else { Fate::Unknown };
                // Whoever is told that a server is read-only has lost its primary, and does well to log in again.
                let lives = !is_cut && !READ_ONLY.contains(&error.code);
                Refusal {
                    phase,
                    code: format!("{} ({})", error.code, error.state),
                    message: error.message,
                    lives,
                    fate,
                }
            }
            other => Refusal {
                phase,
                code: "connection lost".to_owned(),
                message: other.to_string(),
                lives: false,
                fate: Fate::Unknown,
            },
        }
    }

    fn no_answer(phase: Phase) -> Refusal {
        let message = format!("nothing within {ANSWER_TIME_MAX:?}");
        Refusal { phase, code: "no answer".to_owned(), message, lives: false, fate: Fate::Unknown }
    }
}

/// A Galera node that is cut off from its group while it commits: the others may have got the write before.
const ERROR_DURING_COMMIT: u16 = 1180;

/// How a client says what it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habit {
    user: &'static str,
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Text,
    Prepared,
    /// Its rows outside transactions go through a temporary table.
    Temporary,
}

impl Habit {
    pub(super) fn plain(_: u32) -> Habit {
        Habit { user: "app", way: Way::Text }
    }

    /// Each way with each user.
    pub(super) fn varied(client: u32) -> Habit {
        let way = [Way::Text, Way::Prepared, Way::Temporary][(client / 2 % 3) as usize];
        Habit { user: if client.is_multiple_of(2) { "app" } else { "other" }, way }
    }
}

/// Runs every client until it is told to stop.
pub(super) fn run_all(
    address: SocketAddr,
    table: &str,
    habit: fn(u32) -> Habit,
    shared: &std::sync::Arc<Shared>,
) -> Vec<Diary> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for number in 0..shared.acknowledged.len() {
            let client = Client::new(number as u32, habit(number as u32), address, table);
            let shared = std::sync::Arc::clone(shared);
            clients.spawn(async move { client.run(&shared).await });
        }
        clients.join_all().await
    })
}

struct Client {
    address: SocketAddr,
    habit: Habit,
    table: String,
    diary: Diary,
    next: u32,
}

impl Client {
    fn new(client: u32, habit: Habit, address: SocketAddr, table: &str) -> Client {
        let diary = Diary { client, ..Diary::default() };
        Client { address, habit, table: table.to_owned(), diary, next: 1 }
    }

    /// Logs in again whenever its session has ended.
    async fn run(mut self, shared: &Shared) -> Diary {
        while !shared.stop.load(Ordering::Relaxed) {
            if let Some(session) = self.login().await {
                self.work(session, shared).await;
            } else {
                sleep(PAUSE).await;
            }
        }
        self.diary
    }

    async fn login(&mut self) -> Option<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.address.ip().to_string())
            .tcp_port(self.address.port())
            .user(Some(self.habit.user))
            .pass(Some(self.habit.user))
            .prefer_socket(false)
            // Known values, so that the library does not ask for them.
            .max_allowed_packet(Some(1 << 20))
            .wait_timeout(Some(28_800));
        let session = self.answered(Phase::Login, Conn::new(options)).await.ok()?;
        self.diary.logins += 1;
        Some(session)
    }

    /// Until the session ends or the load does.
    async fn work(&mut self, mut session: Conn, shared: &Shared) {
        let mut watermark = Watermark::default();
        while !shared.stop.load(Ordering::Relaxed) {
            let kind = if self.next.is_multiple_of(5) { Kind::Transaction } else { Kind::Alone };
            let done = match kind {
                Kind::Alone if self.habit.way == Way::Temporary => {
                    self.write_by_way(&mut session, &mut watermark).await
                }
                Kind::Alone => self.write(&mut session, &mut watermark).await,
                Kind::Transaction => self.transact(&mut session, &mut watermark).await,
            };
            shared.acknowledged[self.diary.client as usize]
                .store(self.diary.acknowledged_at.len() as u64, Ordering::Relaxed);
            let done = if done { self.read(&mut session, &mut watermark).await } else { done };
            if !done {
                return;
            }
            sleep(PAUSE).await;
        }
        // An orderly end; whatever comes of it changes nothing in the books.
        let _ = timeout(ANSWER_TIME_MAX, session.disconnect()).await;
    }

    /// One row outside a transaction. False when the session is over.
    async fn write(&mut self, session: &mut Conn, watermark: &mut Watermark) -> bool {
        let first = self.take_numbers(1);
        let told = self.say(Phase::Write, session, first).await;
        let fate = told.as_ref().map_or_else(|refusal| refusal.fate, |()| Fate::Acknowledged);
        self.note(Write { first, rows: 1, kind: Kind::Alone, fate }, watermark);
        told.map_or_else(|refusal| refusal.lives, |()| true)
    }

    /// The INSERT of one row.
    async fn say(&mut self, phase: Phase, session: &mut Conn, number: u32) -> Result<(), Refusal> {
        if self.habit.way != Way::Prepared {
            return self.answered(phase, session.query_drop(self.insert(number))).await;
        }
        let sql = format!("INSERT INTO {} (client, number) VALUES (?, ?)", self.table);
        self.answered(phase, session.exec_drop(sql, (self.diary.client, number))).await
    }

    /// One row by way of a temporary table. False when the session is over.
    async fn write_by_way(&mut self, session: &mut Conn, watermark: &mut Watermark) -> bool {
        let first = self.take_numbers(1);
        let write = |fate| Write { first, rows: 1, kind: Kind::Alone, fate };
        for sql in
            ["CREATE TEMPORARY TABLE test.by_way (number INT)", &format!("INSERT INTO test.by_way VALUES ({first})")]
        {
            if let Err(refusal) = self.answered(Phase::Write, session.query_drop(sql)).await {
                self.note(write(Fate::Refused), watermark);
                return refusal.lives;
            }
        }
        let client = self.diary.client;
        let sql = format!("INSERT INTO {} (client, number) SELECT {client}, number FROM test.by_way", self.table);
        let told = self.answered(Phase::Write, session.query_drop(sql)).await;
        self.note(write(told.as_ref().map_or_else(|refusal| refusal.fate, |()| Fate::Acknowledged)), watermark);
        let dropped = self.answered(Phase::Write, session.query_drop("DROP TEMPORARY TABLE test.by_way")).await;
        told.and(dropped).map_or_else(|refusal| refusal.lives, |()| true)
    }

    /// Two rows in a transaction. False when the session is over.
    async fn transact(&mut self, session: &mut Conn, watermark: &mut Watermark) -> bool {
        let first = self.take_numbers(2);
        let write = |fate| Write { first, rows: 2, kind: Kind::Transaction, fate };
        let mut said = self.answered(Phase::Transaction, session.query_drop("BEGIN")).await;
        for number in [first, first + 1] {
            if said.is_ok() {
                said = self.say(Phase::Transaction, session, number).await;
            }
        }
        if let Err(refusal) = said {
            // Nobody has said COMMIT, so nothing of it may ever be there.
            self.note(write(Fate::Refused), watermark);
            return refusal.lives && self.answered(Phase::Transaction, session.query_drop("ROLLBACK")).await.is_ok();
        }
        let told = self.answered(Phase::Commit, session.query_drop("COMMIT")).await;
        self.note(write(told.as_ref().map_or_else(|refusal| refusal.fate, |()| Fate::Acknowledged)), watermark);
        told.map_or_else(|refusal| refusal.lives, |()| true)
    }

    /// Reads its rows back. False when the session is over.
    async fn read(&mut self, session: &mut Conn, watermark: &mut Watermark) -> bool {
        let sql = |client: &str| {
            format!("SELECT COUNT(*), COALESCE(MAX(number), 0) FROM {} WHERE client = {client}", self.table)
        };
        let client = self.diary.client;
        let read = match self.habit.way {
            Way::Prepared => {
                let sql = sql("?");
                self.answered(Phase::Read, session.exec_first::<(u32, u32), _, _>(sql, (client,))).await
            }
            Way::Text | Way::Temporary => {
                let sql = sql(&client.to_string());
                self.answered(Phase::Read, session.query_first::<(u32, u32), _>(sql)).await
            }
        };
        match read {
            Ok(row) => {
                let (count, highest) = row.expect("an aggregate has one row");
                self.diary.reads += 1;
                self.diary.faults.extend(watermark.see(self.diary.client, count, highest));
                true
            }
            Err(refusal) => refusal.lives,
        }
    }

    /// An answer, or what came instead, which is written down.
    async fn answered<T>(&mut self, phase: Phase, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Refusal> {
        let refusal = match timeout(ANSWER_TIME_MAX, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Refusal::new(phase, error),
            Err(_) => {
                self.diary.faults.push(Fault::NoAnswer { client: self.diary.client, phase });
                Refusal::no_answer(phase)
            }
        };
        self.diary.errors.push(refusal.clone());
        Err(refusal)
    }

    fn note(&mut self, write: Write, watermark: &mut Watermark) {
        self.diary.writes.push(write);
        if write.fate == Fate::Acknowledged {
            let now = Instant::now();
            self.diary.acknowledged_at.extend((0..write.rows).map(|_| now));
            watermark.write(write.first + write.rows - 1);
        }
    }

    fn take_numbers(&mut self, count: u32) -> u32 {
        let first = self.next;
        self.next += count;
        first
    }

    fn insert(&self, number: u32) -> String {
        format!("INSERT INTO {} (client, number) VALUES ({}, {number})", self.table, self.diary.client)
    }
}

/// What servers say that take no writes: `ER_OPTION_PREVENTS_STATEMENT` and `ER_READ_ONLY_MODE`.
const READ_ONLY: [u16; 2] = [1290, 1836];

/// Between two turns of a client, so that a load leaves something of the machine to the servers.
const PAUSE: Duration = Duration::from_millis(5);

/// Longer than anything may be held: who waits longer is forgotten.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
