//! Reads the accounts of the servers, on a timer and when somebody is missed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio::time::{sleep_until, timeout};

use super::roster::Roster;
use super::{Directory, FRESH, stored};
use crate::config::{Account, ClusterIndex, Role, Server, Source};
use crate::protocol::version::Family;
use crate::reach::{Way, Ways, login_failure};
use crate::topology::{CheckResult, Condition, RoutingTable, ServerEntry};

/// How long a server may take over its accounts.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// To let us in and begin, and then between two of them. It is looked whether one came as often as that, so silence may last
    /// up to twice as long.
    silence: Duration,
    /// For all of them.
    whole: Duration,
}

/// As many accounts as are read (`limits::ACCOUNTS_MAX`, of `limits::ACCOUNT_BYTES`) have come in by then over 1.5 Mbit/s.
const PATIENCE: Patience = Patience { silence: Duration::from_secs(10), whole: Duration::from_secs(300) };

/// How often it is looked whether the configuration wants accounts now, where it did not.
const IDLE: Duration = Duration::from_secs(1);

const OF_MARIADB: &str = "SELECT User, Host, Priv FROM mysql.global_priv";
const OF_MYSQL: &str = "SELECT User, Host, plugin, authentication_string FROM mysql.user";

/// Reads the accounts as the configuration of `table` says, for as long as the process runs. `wake` is called after each
/// reading, also after one that failed, and during one that takes long: whoever waits for it must hear of it.
pub async fn read_on(directory: Arc<Directory>, ways: Ways, table: Arc<ArcSwap<RoutingTable>>, wake: impl Fn()) {
    Reader { directory, ways, table, patience: PATIENCE, has_failed: false, wake }.run().await;
}

struct Reader<Wake> {
    directory: Arc<Directory>,
    ways: Ways,
    table: Arc<ArcSwap<RoutingTable>>,
    patience: Patience,
    /// The last reading failed, and an operator was told so.
    has_failed: bool,
    wake: Wake,
}

impl<Wake: Fn()> Reader<Wake> {
    async fn run(mut self) {
        loop {
            let pause = self.read().await.unwrap_or(IDLE);
            self.pause(Instant::now(), pause).await;
        }
    }

    /// Until the next reading is due, or is wanted; from the end of one to the beginning of the next it is never less than
    /// `FRESH`, however long the one took.
    async fn pause(&self, ended: Instant, pause: Duration) {
        let due = ended + pause;
        tokio::select! {
            () = sleep_until(due.into()) => {}
            () = self.directory.wanted.notified() => sleep_until((ended + FRESH).min(due).into()).await,
        }
        self.directory.learnt().forget_old(Instant::now());
    }

    /// One reading, if the configuration wants it; gives the interval that it wants.
    async fn read(&mut self) -> Option<Duration> {
        let table = self.table.load_full();
        let newcomers = table.config.newcomers.as_ref()?;
        let Source::Servers { account, refresh_interval } = &newcomers.source else { return None };
        let cluster = table.config.pool(newcomers.route.pool).cluster;
        let reading = read_from_cluster(&table, cluster, account, &self.ways, self.patience);
        match self.answer_meanwhile(reading, table.config.limits.login_timeout / 2).await {
            Ok(roster) => self.succeeded(roster),
            Err(reason) => self.failed(&reason),
        }
        (self.wake)();
        Some(*refresh_interval)
    }

    /// Whoever waits for a reading that takes so long is judged by the one before, and not kept until the login's time is over. Where
    /// nobody is known yet, that would refuse everybody.
    async fn answer_meanwhile<Reading: Future>(&self, reading: Reading, wait_max: Duration) -> Reading::Output {
        let mut reading = pin!(reading);
        loop {
            match timeout(wait_max, &mut reading).await {
                Ok(outcome) => return outcome,
                Err(_) if self.directory.knows_anybody() => {
                    self.directory.keep_old(Instant::now());
                    (self.wake)();
                }
                Err(_) => {}
            }
        }
    }

    fn succeeded(&mut self, roster: Roster) {
        if self.directory.readings() == 0 || self.has_failed {
            tracing::info!("read {} accounts from the servers", roster.len());
        }
        self.has_failed = false;
        self.directory.put(roster, Instant::now());
    }

    /// What was read before stays.
    fn failed(&mut self, reason: &str) {
        if !self.has_failed {
            tracing::warn!("the accounts of the servers cannot be read, those read before stay: {reason}");
        }
        self.has_failed = true;
        self.directory.keep_old(Instant::now());
    }
}

/// From the primary, where there is one; any other member has the same accounts, perhaps later.
async fn read_from_cluster(
    table: &RoutingTable,
    cluster: ClusterIndex,
    account: &Account,
    ways: &Ways,
    patience: Patience,
) -> Result<Roster, String> {
    let config = table.config.cluster(cluster);
    let entries = table.servers.iter().filter(|entry| entry.cluster == cluster);
    let mut servers: Vec<(&ServerEntry, &Server)> =
        entries.zip(&config.servers).filter(|(entry, _)| entry.health.condition == Condition::Up).collect();
    servers.sort_by_key(|(entry, _)| !entry.serves(Role::Primary));
    let mut failure = "no server of the cluster is up".to_owned();
    for (entry, server) in servers {
        let (Some(endpoint), Some(greeting)) = (&entry.endpoint, &entry.greeting) else { continue };
        let way = ways.to(&config.name, &server.name, endpoint.clone(), server.send_proxy);
        match read_over(way, greeting.family(), account, patience).await {
            Ok(roster) => return Ok(roster),
            Err(reason) => failure = format!("{}: {reason}", server.name),
        }
    }
    Err(failure)
}

/// On a slow link the accounts may take long, as long as they keep coming.
async fn read_over(way: Way, family: Family, account: &Account, patience: Patience) -> Result<Roster, String> {
    let Patience { silence, whole } = patience;
    let heard = AtomicUsize::new(0);
    let reading = while_heard(read_all(way, family, account, silence, &heard), &heard, silence);
    match timeout(whole, reading).await {
        Ok(Some(Ok(roster))) => Ok(roster),
        Ok(Some(Err(failure))) => Err(failure.to_string()),
        Ok(None) => Err(format!("it did not answer for {silence:?}")),
        Err(_) => Err(format!("it has not told all its accounts in {whole:?}")),
    }
}

/// What `reading` comes to, unless `heard` stands still for so long.
async fn while_heard<Reading: Future>(
    reading: Reading,
    heard: &AtomicUsize,
    silence: Duration,
) -> Option<Reading::Output> {
    let mut reading = pin!(reading);
    loop {
        let before = heard.load(Ordering::Relaxed);
        match timeout(silence, &mut reading).await {
            Ok(outcome) => return Some(outcome),
            Err(_) if heard.load(Ordering::Relaxed) == before => return None,
            Err(_) => {}
        }
    }
}

/// Counts the rows in `heard`.
async fn read_all(
    way: Way,
    family: Family,
    account: &Account,
    patience: Duration,
    heard: &AtomicUsize,
) -> Result<Roster, CheckResult> {
    let options = way.library(&account.user, &account.password, patience).await?;
    let mut connection = Conn::new(options).await.map_err(login_failure)?;
    let statement = match family {
        Family::MariaDb => OF_MARIADB,
        Family::MySql => OF_MYSQL,
    };
    let (mut roster, mut has_room) = (Roster::default(), true);
    let mut rows = connection.query_iter(statement).await.map_err(login_failure)?;
    let told = rows.for_each(|row| {
        heard.fetch_add(1, Ordering::Relaxed);
        has_room = take_in(&mut roster, family, row) && has_room;
    });
    told.await.map_err(login_failure)?;
    drop(rows);
    if !has_room {
        tracing::warn!("the servers have more than {} accounts: those beyond cannot log in here", roster.len());
    }
    // The server counts a connection that just breaks off.
    let _ = connection.disconnect().await;
    Ok(roster)
}

/// False when there is no room for an account.
fn take_in(roster: &mut Roster, family: Family, mut row: Row) -> bool {
    let mut column = |index| row.take::<Option<Vec<u8>>, _>(index).flatten().unwrap_or_default();
    let (user, host) = (column(0), column(1));
    let host = String::from_utf8_lossy(&host);
    let account = match family {
        Family::MariaDb => stored::of_mariadb(&host, &column(2)),
        Family::MySql => stored::of_mysql(&host, &String::from_utf8_lossy(&column(2)), &column(3)),
    };
    // An account without a name is for everybody who has none: nobody is meant to be found by it here.
    account.filter(|_| !user.is_empty()).is_none_or(|account| roster.add(&user, account))
}

#[cfg(test)]
mod tests {
    use mysql_async::OptsBuilder;
    use tokio::sync::mpsc;

    use super::*;
    use crate::accounts::Answer;
    use crate::protocol::auth::Secret;
    use crate::standin::{self, Fault, Options, StandIn};
    use crate::topology::captured::mariadb_10_11;
    use crate::topology::testing::parse;
    use crate::topology::{Answer as Answered, Beliefs, Contact, Endpoint, View, Writable};

    const ACCOUNTS: usize = 30;

    /// How long anything here may take before it counts as never.
    const NEVER: Duration = Duration::from_secs(60);

    /// A server with accounts that can be read.
    async fn server() -> StandIn {
        let server = StandIn::start(Options::maria_db(1, vec![standin::Account::native("reader", "r")]));
        let server = server.expect("a stand-in");
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(server.address().port());
        let options = options.user(Some("reader")).pass(Some("r")).prefer_socket(false);
        let mut connection = Conn::new(options).await.expect("a login");
        let table = "CREATE TABLE global_priv (User VARCHAR(80), Host VARCHAR(255), Priv LONGTEXT)";
        connection.query_drop(table).await.expect("a table");
        let stored = "{\"plugin\":\"mysql_native_password\",\"authentication_string\":\"*B8546E3706273EAEE03EA092C89A38847ECC0C51\"}";
        for number in 0..ACCOUNTS {
            let row = format!("INSERT INTO global_priv (User, Host, Priv) VALUES ('u{number}', '%', '{stored}')");
            connection.query_drop(row).await.expect("a row");
        }
        connection.disconnect().await.expect("an end");
        server
    }

    fn patience(silence_ms: u64, whole: Duration) -> Patience {
        Patience { silence: Duration::from_millis(silence_ms), whole }
    }

    /// What a reading comes to, of which something goes wrong.
    async fn read(fault: Fault, patience: Patience) -> Result<usize, String> {
        let server = server().await;
        server.arm("FROM mysql.global_priv", fault);
        let way = Ways::default().to("c", "s", Endpoint::Tcp(server.address()), crate::config::SendProxy::Off);
        let account = Account { user: "reader".to_owned(), password: Secret::new(*b"r") };
        read_over(way, Family::MariaDb, &account, patience).await.map(|roster| roster.len())
    }

    #[tokio::test]
    async fn accounts_may_take_long_while_they_keep_coming() {
        let slow = Fault::SlowRows(Duration::from_millis(200));
        assert_eq!(read(slow, patience(3000, NEVER)).await, Ok(ACCOUNTS));
        let bounded = read(slow, patience(3000, Duration::from_millis(1500))).await;
        assert_eq!(bounded, Err("it has not told all its accounts in 1.5s".to_owned()));
        assert_eq!(read(Fault::NoReply, patience(300, NEVER)).await, Err("it did not answer for 300ms".to_owned()));
    }

    /// A reader at work, and a sign each time that it wakes whoever waits.
    struct Stage {
        directory: Arc<Directory>,
        table: Arc<ArcSwap<RoutingTable>>,
        woken: mpsc::UnboundedReceiver<()>,
    }

    impl Stage {
        /// A login has 200 ms.
        fn start(server: &StandIn, patience: Patience) -> Stage {
            let table = Arc::new(ArcSwap::from_pointee(table(server)));
            let (directory, (signs, woken)) = (Arc::<Directory>::default(), mpsc::unbounded_channel());
            let wake = move || signs.send(()).expect("the test listens");
            let (ways, has_failed) = (Ways::default(), false);
            let (kept, seen) = (Arc::clone(&directory), Arc::clone(&table));
            let reader = Reader { directory: kept, ways, table: seen, patience, has_failed, wake };
            tokio::spawn(reader.run());
            Stage { directory, table, woken }
        }

        async fn wake(&mut self) {
            timeout(NEVER, self.woken.recv()).await.expect("in time").expect("the reader lives");
        }

        fn look_up(&self, user: &str) -> Answer {
            let table = self.table.load();
            let newcomers = table.config.newcomers.as_ref().expect("they are configured");
            self.directory.look_up(newcomers, user.as_bytes(), "127.0.0.1", Instant::now())
        }

        fn is_judged(&self, user: &str) -> bool {
            matches!(self.look_up(user), Answer::Judge(_))
        }
    }

    fn table(server: &StandIn) -> RoutingTable {
        let text = format!(
            "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n[limits]\nlogin_timeout = \"200ms\"\n\
             [cluster.c]\ntopology = \"static\"\n\
             [[cluster.c.server]]\nname = \"s\"\naddress = \"{}\"\nrole = \"primary\"\n\
             [pool.p]\ncluster = \"c\"\nrole = \"primary\"\n\
             [users]\nsource = \"servers\"\npool = \"p\"\nrefresh_interval = \"1h\"\n\
             account = {{ user = \"reader\", password = \"r\" }}\n",
            server.address()
        );
        let mut beliefs = Beliefs::new(parse(&text), Instant::now());
        let contact = Contact { endpoint: Endpoint::Tcp(server.address()), greeting: Arc::new(mariadb_10_11()) };
        let answer = Answered { writable: Some(Writable::Yes), view: View::Unasked, contact: Some(contact) };
        let id = beliefs.ids().next().expect("a server");
        beliefs.check(id, &CheckResult::Answered(answer), Instant::now());
        beliefs.table()
    }

    /// The reading took longer than `FRESH` until it failed.
    #[tokio::test]
    async fn a_reading_that_failed_is_followed_by_a_pause_however_long_it_took() {
        let server = server().await;
        server.arm("FROM mysql.global_priv", Fault::NoReply);
        let mut stage = Stage::start(&server, patience(2500, NEVER));
        stage.wake().await;
        let failed = Instant::now();
        assert!(stage.is_judged("nobody"), "whoever waited is told that nobody is known");
        stage.directory.wanted.notify_one();
        stage.wake().await;
        assert!(stage.directory.knows_anybody());
        // Without a pause it is milliseconds. The test may hear late of the first one.
        assert!(failed.elapsed() >= FRESH / 2, "{:?}", failed.elapsed());
    }

    #[tokio::test]
    async fn who_waits_for_a_reading_that_takes_long_is_judged_by_the_one_before() {
        let server = server().await;
        let mut stage = Stage::start(&server, PATIENCE);
        stage.wake().await;
        server.arm("FROM mysql.global_priv", Fault::NoReply);
        tokio::time::sleep(FRESH).await;
        assert_eq!(stage.look_up("nobody"), Answer::Later);
        let asked = Instant::now();
        stage.wake().await;
        assert!(asked.elapsed() < PATIENCE.silence, "the reading goes on");
        assert!(stage.is_judged("nobody") && stage.is_judged("u7"));
    }

    #[tokio::test]
    async fn while_nobody_is_known_nobody_is_refused_for_a_reading_that_takes_long() {
        let server = server().await;
        server.arm("FROM mysql.global_priv", Fault::SlowRows(Duration::from_millis(50)));
        let mut stage = Stage::start(&server, PATIENCE);
        assert_eq!(stage.look_up("u7"), Answer::Later);
        stage.wake().await;
        assert!(stage.directory.knows_anybody(), "nobody was woken before");
    }
}
