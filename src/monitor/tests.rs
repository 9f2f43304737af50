//! The monitor against stand-in servers over TCP.

mod distance;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::standin::{Account, Fault, Options, StandIn};
use crate::topology::testing::config_with;
use crate::topology::{Condition, Failure, Health, ServerRole};

/// A monitor of some stand-ins, and what it publishes.
struct Watching {
    monitor: Monitor,
    table: Arc<ArcSwap<RoutingTable>>,
    reports: mpsc::Sender<Report>,
    /// Gets the count of tables so far after each one.
    news: latest::Receiver<usize>,
}

/// How long anything here may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(30);

impl Watching {
    fn start(config: Arc<Config>) -> Watching {
        let mut beliefs = Beliefs::new(config, Instant::now());
        let table = Arc::new(ArcSwap::from_pointee(beliefs.table()));
        let (reports, inbox) = mpsc::channel(8);
        let (published, news) = latest::channel(0);
        let count = AtomicUsize::new(0);
        let wake = move || {
            published.send_replace(count.fetch_add(1, Ordering::Relaxed) + 1);
        };
        let monitor = Monitor::start(beliefs, None, Ways::default(), Arc::clone(&table), wake, inbox);
        Watching { monitor, table, reports, news }
    }

    fn health(&self, server: usize) -> Health {
        self.table.load().servers[server].health.clone()
    }

    /// Waits for a table in which a server is like that.
    async fn until(&self, server: usize, is_so: impl Fn(&Health) -> bool) -> Health {
        let mut news = self.news.clone();
        let seen = news.wait_for(|_| is_so(&self.health(server)));
        let result = tokio::time::timeout(PATIENCE, seen).await;
        assert!(matches!(result, Ok(Ok(_))), "never came true: {:?}", self.health(server));
        self.health(server)
    }

    async fn until_role(&self, server: usize, role: ServerRole) {
        self.until(server, |health| health.condition == Condition::Up && health.role == role).await;
    }

    async fn until_down(&self, server: usize) -> String {
        self.until(server, |health| health.condition == Condition::Down).await.reason.to_string()
    }

    async fn report(&self, server: usize, failure: Failure) {
        let server = self.table.load().servers[server].id;
        self.reports.send(Report { server, failure }).await.expect("the keeper takes reports");
    }
}

fn accounts() -> Vec<Account> {
    vec![Account::native("monitor", "watches")]
}

fn primary() -> StandIn {
    StandIn::start(Options::maria_db(1, accounts())).unwrap()
}

fn replica() -> StandIn {
    StandIn::start(Options { read_only: true, ..Options::maria_db(2, accounts()) }).unwrap()
}

fn server(name: &str, standin: &StandIn) -> String {
    format!("name = \"{name}\"\naddress = \"{}\"", standin.address())
}

/// A replication cluster of these servers, checked so often that a test need not wait, with the given password.
fn shop_as(password: &str, servers: &[String]) -> Arc<Config> {
    shop_every("20ms", password, servers)
}

fn shop_every(interval: &str, password: &str, servers: &[String]) -> Arc<Config> {
    let cluster = format!(
        "topology = \"replication\"\nmonitor = {{ user = \"monitor\", password = \"{password}\" }}\n\
         check_interval = \"{interval}\"\ncheck_timeout = \"1s\""
    );
    config_with(&cluster, &servers.iter().map(String::as_str).collect::<Vec<_>>())
}

fn shop(servers: &[&StandIn]) -> Arc<Config> {
    let servers = servers.iter().enumerate().map(|(index, standin)| server(&format!("db{index}"), standin));
    shop_as("watches", &servers.collect::<Vec<_>>())
}

#[tokio::test]
async fn servers_introduce_themselves_and_say_who_writes() {
    let (db0, db1) = (primary(), replica());
    let watching = Watching::start(shop(&[&db0, &db1]));
    assert!(watching.monitor.ready(PATIENCE).await);
    watching.until_role(0, ServerRole::Primary).await;
    watching.until_role(1, ServerRole::Replica).await;
    let table = watching.table.load();
    let greeting = table.servers[0].greeting.as_ref().expect("it has introduced itself");
    assert_eq!(greeting.version_text, b"5.5.5-10.11.0-MariaDB-standin");
    assert_eq!(table.offer.version, greeting.version_text);
    assert_eq!(table.servers[0].endpoint, Some(crate::topology::Endpoint::Tcp(db0.address())));
}

#[tokio::test]
async fn a_server_that_knows_no_positions_is_asked_for_its_role_alone() {
    for options in [Options::maria_db(1, accounts()), Options::mysql(1, accounts())] {
        let db0 = StandIn::start(options).unwrap();
        let watching = Watching::start(shop(&[&db0]));
        watching.until_role(0, ServerRole::Primary).await;
        db0.set_read_only(true);
        watching.until_role(0, ServerRole::Replica).await;
        assert_eq!(watching.table.load().servers[0].progress.last(), None);
    }
}

#[tokio::test]
async fn a_mysql_server_is_asked_in_its_own_words() {
    let accounts = vec![Account::caching_sha2("monitor", "watches")];
    let db0 = StandIn::start(Options { read_only: true, ..Options::mysql(1, accounts) }).unwrap();
    let watching = Watching::start(shop(&[&db0]));
    watching.until_role(0, ServerRole::Replica).await;
    let table = watching.table.load();
    assert!(table.needs_cleartext(table.config.pool_by_name("read").unwrap()));
}

#[tokio::test]
async fn roles_follow_the_servers() {
    let (db0, db1) = (primary(), replica());
    let watching = Watching::start(shop(&[&db0, &db1]));
    watching.until_role(0, ServerRole::Primary).await;
    db1.set_read_only(false);
    watching.until_role(0, ServerRole::Contested).await;
    watching.until_role(1, ServerRole::Contested).await;
    db0.set_read_only(true);
    watching.until_role(0, ServerRole::Replica).await;
    watching.until_role(1, ServerRole::Primary).await;
}

#[tokio::test]
async fn a_dead_server_is_down_and_comes_back() {
    let db0 = primary();
    let watching = Watching::start(shop(&[&db0]));
    watching.until_role(0, ServerRole::Primary).await;
    db0.fail();
    assert_eq!(watching.until_down(0).await, "connection refused");
    db0.recover().unwrap();
    watching.until_role(0, ServerRole::Primary).await;
}

#[tokio::test]
async fn a_hanging_server_is_down_and_finds_no_broken_handshakes_afterwards() {
    let db0 = primary();
    let watching = Watching::start(shop(&[&db0]));
    watching.until_role(0, ServerRole::Primary).await;
    let connections = db0.connection_count();
    db0.hang();
    let reason = watching.until_down(0).await;
    assert!(reason.starts_with("no answer for "), "{reason}");
    db0.recover().unwrap();
    watching.until_role(0, ServerRole::Primary).await;
    // One attempt outlived all the checks.
    assert_eq!(db0.connection_count() - connections, 1);
}

#[tokio::test]
async fn a_hanging_server_is_down_long_before_many_checks_have_failed() {
    let db0 = primary();
    let mut config = Arc::into_inner(shop(&[&db0])).expect("nobody else has it yet");
    config.clusters[0].fall = 100;
    let watching = Watching::start(Arc::new(config));
    watching.until_role(0, ServerRole::Primary).await;
    db0.hang();
    // 100 checks would take longer than anything here may.
    let reason = watching.until_down(0).await;
    assert!(reason.starts_with("no answer for "), "{reason}");
}

/// To log in takes three times the way, and the answer twice or more; a check has less than both together.
#[tokio::test]
async fn a_server_far_away_is_asked_even_if_its_login_leaves_a_check_little_time() {
    let db0 = primary();
    let address = distance::before(db0.address(), Duration::from_millis(950)).await;
    let config = shop_as("watches", &[format!("name = \"db0\"\naddress = \"{address}\"")]);
    let mut config = Arc::into_inner(config).expect("nobody else has it");
    config.clusters[0].check_timeout = Duration::from_secs(5);
    let watching = Watching::start(Arc::new(config));
    watching.until_role(0, ServerRole::Primary).await;
    assert_eq!(db0.connection_count(), 1);
}

/// A check that found the time of a first question over and did not ask anew would put that off by an interval and a check.
#[tokio::test]
async fn a_server_that_lets_checks_in_and_does_not_answer_is_down_after_twice_the_time_of_one() {
    let db0 = primary();
    let mut config = Arc::into_inner(shop_as("watches", &[server("db0", &db0)])).expect("nobody else has it");
    let cluster = &mut config.clusters[0];
    (cluster.check_interval, cluster.check_timeout) = (Duration::from_millis(3500), Duration::from_secs(5));
    cluster.fall = 100;
    let watching = Watching::start(Arc::new(config));
    watching.until_role(0, ServerRole::Primary).await;
    let answered = Instant::now();
    db0.arm("@@read_only", Fault::CloseBeforeCommand);
    (0..10).for_each(|_| db0.arm("@@read_only", Fault::NoReply));
    let reason = watching.until_down(0).await;
    assert!(reason.starts_with("no answer for "), "{reason}");
    // Put off, it would take 17 s.
    let time = answered.elapsed();
    assert!(time < Duration::from_secs(15), "{time:?}");
}

#[tokio::test]
async fn one_silent_server_delays_no_other() {
    let (db0, db1) = (primary(), replica());
    db0.hang();
    let watching = Watching::start(shop(&[&db0, &db1]));
    watching.until_role(1, ServerRole::Replica).await;
    db1.fail();
    watching.until_down(1).await;
}

#[tokio::test]
async fn a_refused_account_is_no_failure_of_the_server() {
    let db0 = primary();
    let watching = Watching::start(shop_as("wrong", &[server("db0", &db0)]));
    assert!(watching.monitor.ready(PATIENCE).await);
    let health = watching.health(0);
    assert_eq!(health.condition, Condition::Unknown);
    assert!(health.reason.starts_with("login refused: ERROR 1045"), "{}", health.reason);
}

#[tokio::test]
async fn a_report_of_a_worker_counts_before_the_next_check() {
    let db0 = primary();
    let watching = Watching::start(shop(&[&db0]));
    watching.until_role(0, ServerRole::Primary).await;
    watching.report(0, Failure::Refused).await;
    assert_eq!(watching.until_down(0).await, "connection refused");
    watching.until_role(0, ServerRole::Primary).await;
}

#[tokio::test]
async fn when_a_server_is_down_the_others_of_its_cluster_are_asked_at_once() {
    let (db0, db1) = (primary(), replica());
    let watching = Watching::start(shop_every("60s", "watches", &[server("db0", &db0), server("db1", &db1)]));
    watching.until_role(0, ServerRole::Primary).await;
    watching.until_role(1, ServerRole::Replica).await;
    db0.set_read_only(true);
    watching.report(1, Failure::Refused).await;
    watching.until_role(0, ServerRole::Replica).await;
}

#[tokio::test]
async fn another_configuration_is_in_force_when_apply_returns() {
    let (db0, db1) = (primary(), replica());
    let both = [server("db0", &db0), server("db1", &db1)];
    let watching = Watching::start(shop_as("watches", &both));
    watching.until_role(1, ServerRole::Replica).await;
    let (id, checks) = (watching.table.load().servers[1].id, db1.connection_count());
    watching.monitor.apply(shop_as("watches", &both[1..])).await;
    let table = watching.table.load_full();
    assert_eq!(table.servers.len(), 1);
    assert_eq!((table.servers[0].id, table.servers[0].health.condition), (id, Condition::Up));
    watching.report(0, Failure::Reset).await;
    watching.monitor.apply(shop_as("watches", &both)).await;
    watching.until_role(0, ServerRole::Primary).await;
    assert_eq!(db1.connection_count(), checks, "a server that stays keeps the connection it is asked over");
}

#[tokio::test]
async fn who_has_no_account_only_looks_at_the_door() {
    let db0 = primary();
    let role = format!("{}\nrole = \"primary\"", server("db0", &db0));
    let replica = "name = \"db1\"\naddress = \"127.0.0.1:1\"\nrole = \"replica\"";
    let watching = Watching::start(config_with("topology = \"static\"\ncheck_interval = \"20ms\"", &[&role, replica]));
    watching.until_role(0, ServerRole::Primary).await;
    assert!(watching.table.load().servers[0].greeting.is_some());
    assert_eq!(watching.until_down(1).await, "connection refused");
}
