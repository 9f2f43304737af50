//! A configuration and what is believed of its servers, in few words, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::greeting::captured;
use super::{
    Answer, Beliefs, CheckResult, Contact, Endpoint, GreetingFacts, RoutingTable, Seen, ServerId, View, Writable,
};
use crate::config::{Config, Environment};
use crate::protocol::gtid::GtidPosition;

/// A cluster `shop` with `servers` (TOML, one line each inside `[[cluster.shop.server]]`), the pools `write` and `read`
/// (which falls back to `write`), and the user `app` of `read`.
pub(crate) fn config(servers: &[&str]) -> Arc<Config> {
    config_with("topology = \"replication\"\nmonitor = { user = \"m\", password = \"m\" }", servers)
}

/// The same with `cluster` for the cluster's own settings.
pub(crate) fn config_with(cluster: &str, servers: &[&str]) -> Arc<Config> {
    let servers: String = servers.iter().map(|server| format!("[[cluster.shop.server]]\n{server}\n")).collect();
    parse(&format!(
        "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n\
         [cluster.shop]\n{cluster}\nfall = 2\nrise = 2\n{servers}\
         [pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\
         [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\nfallback = \"write\"\n\
         [[user]]\nname = \"app\"\npassword = \"secret\"\npool = \"read\"\n"
    ))
}

/// The table of a configuration of which nothing is known.
pub(crate) fn table_of(text: &str) -> RoutingTable {
    Beliefs::new(parse(text), Instant::now()).table()
}

/// Where Miri interprets it, that takes longer than most tests: each text is read once there.
pub(crate) fn parse(text: &str) -> Arc<Config> {
    if cfg!(miri) { parse_once(text) } else { read_config(text) }
}

fn parse_once(text: &str) -> Arc<Config> {
    static READ: Mutex<BTreeMap<String, Arc<Config>>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(read.entry(text.to_owned()).or_insert_with_key(|text| read_config(text)))
}

fn read_config(text: &str) -> Arc<Config> {
    let nothing = std::io::ErrorKind::NotFound;
    let environment = Environment { online_cpus: 1, variable: &|_| None, file: &|_| Err(nothing.into()) };
    match Config::parse(text, "test.toml", &environment) {
        Ok(config) => Arc::new(config),
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

/// An answer over a new connection to MariaDB 10.11.
pub(crate) fn answers(writable: Writable) -> CheckResult {
    introduces(writable, captured::mariadb_10_11())
}

pub(crate) fn introduces(writable: Writable, greeting: GreetingFacts) -> CheckResult {
    answer(writable, View::Unasked, greeting)
}

/// An answer of MariaDB 10.11 with how it sees its cluster.
pub(crate) fn introduces_with(writable: Writable, view: View) -> CheckResult {
    answer(writable, view, captured::mariadb_10_11())
}

fn answer(writable: Writable, view: View, greeting: GreetingFacts) -> CheckResult {
    let endpoint = Endpoint::Tcp("127.0.0.1:3306".parse().expect("a literal address"));
    CheckResult::Answered(Answer {
        writable: Some(writable),
        view,
        contact: Some(Contact { endpoint, greeting: Arc::new(greeting) }),
    })
}

/// The table of a configuration whose servers have each answered once, in their order.
pub(crate) fn table(config: Arc<Config>, results: &[CheckResult]) -> RoutingTable {
    table_at(config, results, &vec![None; results.len()])
}

/// The same, and each server was seen to have applied so many transactions; none: it cannot tell.
pub(crate) fn table_at(config: Arc<Config>, results: &[CheckResult], applied: &[Option<u64>]) -> RoutingTable {
    let now = Instant::now();
    let mut beliefs = Beliefs::new(config, now);
    let ids: Vec<ServerId> = beliefs.ids().collect();
    assert_eq!([results.len(), applied.len()], [ids.len(); 2], "one result and one position a server");
    ids.iter().zip(results).for_each(|(&id, result)| beliefs.check(id, result, now));
    let seen = |count| Seen { asked: now, applied: position(count), committed: None };
    ids.iter().zip(applied).for_each(|(&id, applied)| beliefs.see(id, applied.map(seen)));
    beliefs.table()
}

/// The position behind the first `count` transactions.
pub(crate) fn position(count: u64) -> GtidPosition {
    GtidPosition::parse_mariadb(format!("0-1-{count}").as_bytes()).expect("a position")
}
